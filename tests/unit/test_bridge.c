/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of the bridge: order, weights, deadlines, back-pressure, queues, periodics, stop;
 * and of its batcher under a simulated clock. */
#include "core/bridge/batcher.h"
#include "core/bridge/bridge.h"
#include "pool/alloc.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define MS 1000000ull

static void nap(uint64_t ns)
{
	struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

	nanosleep(&t, NULL);
}

static struct bridge *bridge_make(unsigned workers, uint32_t depth)
{
	struct bridge_config config = {.workers = workers, .depth = {depth, depth, depth, depth}};
	struct bridge *bridge;

	ck_assert_int_eq(bridge_new(&config, &bridge), 0);
	return bridge;
}

/* A gate that holds workers until it is opened. */
static _Atomic int hold_open, hold_inside;

static void hold(void *arg, int status)
{
	atomic_fetch_add(&hold_inside, 1);
	while (!atomic_load(&hold_open))
		nap(MS / 10);
}

static void hold_worker(struct bridge *bridge, enum bridge_priority priority)
{
	int before = atomic_load(&hold_inside);

	ck_assert_int_eq(bridge_call(bridge, hold, NULL, priority, 0, 0), 0);
	while (atomic_load(&hold_inside) == before)
		nap(MS / 10);
}

static _Atomic int ran, ran_status;

static void note_run(void *arg, int status)
{
	atomic_store(&ran_status, status);
	atomic_fetch_add(&ran, 1);
	if (arg)
		*(int *)arg = atomic_load(&ran);
}

START_TEST(test_bridge_runs_what_is_submitted_and_frees_everything)
{
	struct bridge *bridge;
	struct bridge_stats stats;

	ck_assert_int_eq(bridge_new(NULL, &bridge), 0);
	ck_assert_uint_ge(bridge_workers(bridge), 3);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(bridge_call(bridge, note_run, NULL, i % 4, 0, BRIDGE_WAIT), 0);
	ck_assert_int_eq(bridge_drain(bridge), 0);
	ck_assert_int_eq(ran, 1000);
	ck_assert_int_eq(ran_status, 0);
	bridge_read_stats(bridge, &stats);
	for (int p = 0; p < BRIDGE_PRIORITIES; p++) {
		static struct histogram latency;
		memset((void *)&latency, 0, sizeof(latency));
		ck_assert_uint_eq(stats.priority[p].submitted, 250);
		ck_assert_uint_eq(stats.priority[p].run, 250);
		ck_assert_uint_eq(stats.priority[p].depth, 0);
		bridge_merge_latency(bridge, p, &latency);
		ck_assert_uint_eq(histogram_count(&latency), 250);
	}
	bridge_free(bridge, 0);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_bridge_survives_every_failed_allocation)
{
	struct bridge *bridge = NULL;
	int nth = 0, error;

	do {
		alloc_fail_arm(++nth, 0);
		error = bridge_new(NULL, &bridge);
		alloc_fail_arm(0, 0);
		if (error) {
			ck_assert_int_eq(error, -ENOMEM);
			ck_assert_int_eq(alloc_count_live(), 0);
		}
	} while (error);
	ck_assert_int_gt(nth, 5);
	bridge_free(bridge, 0);
	struct bridge_config bad = {.workers = BRIDGE_WORKERS_MAX + 1};
	ck_assert_int_eq(bridge_new(&bad, &bridge), -EINVAL);
}
END_TEST

START_TEST(test_bridge_prefers_higher_priorities_but_starves_none)
{
	enum { EACH = 200 };
	struct bridge *bridge = bridge_make(1, EACH);
	static int order[BRIDGE_PRIORITIES][EACH];
	double mean[BRIDGE_PRIORITIES] = {0};

	hold_worker(bridge, BRIDGE_CRITICAL);
	for (int p = BRIDGE_PRIORITIES; p-- > 0;)
		for (int i = 0; i < EACH; i++)
			ck_assert_int_eq(bridge_call(bridge, note_run, &order[p][i], p, 0, 0), 0);
	atomic_store(&hold_open, 1);
	bridge_drain(bridge);
	for (int p = 0; p < BRIDGE_PRIORITIES; p++)
		for (int i = 0; i < EACH; i++) {
			mean[p] += (double)order[p][i] / EACH;
			if (i)
				ck_assert_int_gt(order[p][i], order[p][i - 1]);
		}
	for (int p = 1; p < BRIDGE_PRIORITIES; p++)
		ck_assert_double_gt(mean[p], mean[p - 1]);
	/* 64 + 16 + 4 + 1: while all wait, one of the lowest in each 85 */
	ck_assert_int_le(order[BRIDGE_LOW][0], 86);
	ck_assert_int_le(order[BRIDGE_LOW][1], 171);
	ck_assert_int_gt(order[BRIDGE_LOW][0], 64);
	bridge_free(bridge, 0);
}
END_TEST

static _Atomic int endless_stop;
static struct bridge *endless_bridge;

static void endless(void *arg, int status)
{
	if (!atomic_load(&endless_stop) && !status)
		bridge_call(endless_bridge, endless, arg, BRIDGE_CRITICAL, 0, 0);
}

START_TEST(test_bridge_low_work_advances_under_an_endless_critical_load)
{
	endless_bridge = bridge_make(2, 256);
	for (int i = 0; i < 64; i++)
		ck_assert_int_eq(bridge_call(endless_bridge, endless, NULL, BRIDGE_CRITICAL, 0, 0),
				 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(bridge_call(endless_bridge, note_run, NULL, BRIDGE_LOW, 0, 0), 0);
	for (int i = 0; i < 20000 && atomic_load(&ran) < 100; i++)
		nap(MS);
	ck_assert_int_eq(ran, 100);
	atomic_store(&endless_stop, 1);
	bridge_free(endless_bridge, 0);
}
END_TEST

START_TEST(test_bridge_keeps_workers_for_the_log_while_background_work_is_long)
{
	struct bridge *bridge = bridge_make(3, 64);

	/* two of three workers may do background work, one of them low work */
	hold_worker(bridge, BRIDGE_LOW);
	hold_worker(bridge, BRIDGE_NORMAL);
	ck_assert_int_eq(bridge_call(bridge, hold, NULL, BRIDGE_LOW, 0, 0), 0);
	ck_assert_int_eq(bridge_call(bridge, hold, NULL, BRIDGE_NORMAL, 0, 0), 0);
	for (int i = 0; i < 100; i++) {
		int before = atomic_load(&ran);
		ck_assert_int_eq(bridge_call(bridge, note_run, NULL, BRIDGE_CRITICAL, 0, 0), 0);
		for (int ms = 0; ms < 10000 && atomic_load(&ran) == before; ms++)
			nap(MS / 10);
		ck_assert_int_eq(ran, before + 1);
	}
	ck_assert_int_eq(hold_inside, 2);
	atomic_store(&hold_open, 1);
	bridge_drain(bridge);
	ck_assert_int_eq(hold_inside, 4);
	bridge_free(bridge, 0);
}
END_TEST

START_TEST(test_bridge_task_past_its_deadline_is_not_done)
{
	struct bridge *bridge = bridge_make(1, 16);
	struct bridge_stats stats;

	hold_worker(bridge, BRIDGE_CRITICAL);
	uint64_t now = bridge_now_ns();
	ck_assert_int_eq(bridge_call(bridge, note_run, NULL, BRIDGE_HIGH, now + MS, 0), 0);
	nap(3 * MS);
	atomic_store(&hold_open, 1);
	bridge_drain(bridge);
	ck_assert_int_eq(ran, 1);
	ck_assert_int_eq(ran_status, -ETIME);
	ck_assert_int_eq(
		bridge_call(bridge, note_run, NULL, BRIDGE_HIGH, bridge_now_ns() + 60000 * MS, 0),
		0);
	bridge_drain(bridge);
	ck_assert_int_eq(ran_status, 0);
	bridge_read_stats(bridge, &stats);
	ck_assert_uint_eq(stats.priority[BRIDGE_HIGH].expired, 1);
	ck_assert_uint_eq(stats.priority[BRIDGE_HIGH].run, 1);
	bridge_free(bridge, 0);
}
END_TEST

static void *open_later(void *arg)
{
	nap(20 * MS);
	atomic_store(&hold_open, 1);
	return arg;
}

START_TEST(test_bridge_full_refuses_or_waits)
{
	struct bridge *bridge = bridge_make(1, 8);
	struct bridge_stats stats;
	pthread_t opener;

	hold_worker(bridge, BRIDGE_CRITICAL);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(bridge_call(bridge, note_run, NULL, BRIDGE_NORMAL, 0, 0), 0);
	ck_assert_int_eq(bridge_call(bridge, note_run, NULL, BRIDGE_NORMAL, 0, 0), -EAGAIN);
	ck_assert_int_eq(bridge_call(bridge, note_run, NULL, BRIDGE_NORMAL,
				     bridge_now_ns() + 2 * MS, BRIDGE_WAIT),
			 -ETIME);
	ck_assert_int_eq(bridge_call(bridge, note_run, NULL, BRIDGE_HIGH, 0, 0), 0);
	ck_assert_int_eq(pthread_create(&opener, NULL, open_later, NULL), 0);
	ck_assert_int_eq(bridge_call(bridge, note_run, NULL, BRIDGE_NORMAL, 0, BRIDGE_WAIT), 0);
	ck_assert_int_eq(hold_open, 1); /* it did wait */
	pthread_join(opener, NULL);
	bridge_drain(bridge);
	ck_assert_int_eq(ran, 10);
	bridge_read_stats(bridge, &stats);
	ck_assert_uint_eq(stats.priority[BRIDGE_NORMAL].refused, 2);
	ck_assert_uint_eq(stats.priority[BRIDGE_NORMAL].depth_max, 8);
	bridge_free(bridge, 0);
}
END_TEST

enum { FLOOD_THREADS = 4, FLOOD_EACH = 20000 };
static _Atomic int flood_errors;

static void *flood(void *arg)
{
	for (int i = 0; i < FLOOD_EACH; i++)
		if (bridge_call(arg, note_run, NULL, i % BRIDGE_PRIORITIES, 0, BRIDGE_WAIT))
			atomic_fetch_add(&flood_errors, 1);
	return NULL;
}

START_TEST(test_bridge_flood_with_back_pressure_loses_nothing)
{
	struct bridge *bridge = bridge_make(3, 16);
	pthread_t thread[FLOOD_THREADS];

	for (int i = 0; i < FLOOD_THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, flood, bridge), 0);
	for (int i = 0; i < FLOOD_THREADS; i++)
		pthread_join(thread[i], NULL);
	bridge_drain(bridge);
	ck_assert_int_eq(flood_errors, 0);
	ck_assert_int_eq(ran, FLOOD_THREADS * FLOOD_EACH);
	bridge_free(bridge, 0);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

/* One at a time, with pauses of all lengths around the spinning time: the submits meet the worker
 * at every point of its way to sleep. A wake-up that is lost here shows as a task that nobody does.
 */
enum { LONELY_ROUNDS = 20000, LONELY_LONGEST_NS = 15000 };
static _Atomic int lonely_done;

static void lonely_pause(int round)
{
	uint64_t until = bridge_now_ns() + (uint64_t)round * 7 % LONELY_LONGEST_NS;

	while (bridge_now_ns() < until)
		;
}

static int lonely_await(int round)
{
	uint64_t end = bridge_now_ns() + 10000 * MS;

	while (atomic_load(&lonely_done) != round && bridge_now_ns() < end)
		sched_yield();
	return atomic_load(&lonely_done) == round;
}

static void lonely_task(struct bridge_task *task, int status)
{
	atomic_fetch_add(&lonely_done, 1);
}

static int lonely_handle(void *ctx, struct bridge_task **tasks, unsigned n)
{
	return 0;
}

START_TEST(test_bridge_wakes_a_worker_for_every_lonely_task)
{
	static const unsigned workers[] = {1, 3};
	struct bridge_task task = {.run = lonely_task};

	for (size_t w = 0; w < 2; w++) {
		struct bridge *bridge = bridge_make(workers[w], 16);
		uint64_t end = bridge_now_ns() + 1500 * MS;

		atomic_store(&lonely_done, 0);
		for (int i = 1; i <= LONELY_ROUNDS && bridge_now_ns() < end; i++) {
			ck_assert_int_eq(bridge_submit(bridge, &task, i % 4, 0), 0);
			ck_assert(lonely_await(i));
			lonely_pause(i);
		}
		bridge_free(bridge, 0);
	}
}
END_TEST

START_TEST(test_bridge_queue_gets_its_turn_for_every_lonely_task)
{
	struct bridge *bridge = bridge_make(2, 16);
	struct bridge_task task = {.run = lonely_task};
	struct bridge_queue *queue;
	struct bridge_queue_config config = {
		.name = "lonely",
		.priority = BRIDGE_HIGH,
		.handle = lonely_handle,
	};
	uint64_t end = bridge_now_ns() + 1500 * MS;

	ck_assert_int_eq(bridge_queue_new(bridge, &config, &queue), 0);
	for (int i = 1; i <= LONELY_ROUNDS && bridge_now_ns() < end; i++) {
		ck_assert_int_eq(bridge_queue_submit(queue, &task, 0), 0);
		ck_assert(lonely_await(i));
		if (i % 2)
			lonely_pause(i % 100);
	}
	bridge_free(bridge, 0);
}
END_TEST

START_TEST(test_bridge_warm_submits_allocate_nothing)
{
	struct bridge *bridge = bridge_make(2, 64);

	for (int i = 0; i < 200; i++)
		bridge_call(bridge, note_run, NULL, i % 4, 0, BRIDGE_WAIT);
	bridge_drain(bridge);
	uint64_t before = alloc_count_total();
	for (int i = 0; i < 20000; i++)
		ck_assert_int_eq(bridge_call(bridge, note_run, NULL, i % 4, 0, BRIDGE_WAIT), 0);
	bridge_drain(bridge);
	/* a magazine for a worker that did nothing before is all there may be */
	ck_assert_uint_le(alloc_count_total(), before + 2);
	bridge_free(bridge, 0);
}
END_TEST

struct item {
	struct bridge_task task;
	int number, status, done;
};
struct sink {
	_Atomic int inside, overlaps, seen, disorder, last;
	_Atomic unsigned largest;
};

static void item_done(struct bridge_task *task, int status)
{
	struct item *item = (struct item *)task;

	item->status = status;
	item->done++;
}

static int sink_handle(void *ctx, struct bridge_task **tasks, unsigned n)
{
	struct sink *sink = ctx;

	if (atomic_fetch_add(&sink->inside, 1))
		atomic_fetch_add(&sink->overlaps, 1);
	for (unsigned i = 0; i < n; i++) {
		struct item *item = (struct item *)tasks[i];
		if (item->number != atomic_load(&sink->last) + 1)
			atomic_fetch_add(&sink->disorder, 1);
		atomic_store(&sink->last, item->number);
		atomic_fetch_add(&sink->seen, 1);
	}
	if (n > atomic_load(&sink->largest))
		atomic_store(&sink->largest, n);
	nap(50000);
	atomic_fetch_sub(&sink->inside, 1);
	return -7;
}

START_TEST(test_bridge_queue_batches_in_order_one_at_a_time)
{
	enum { ITEMS = 5000 };
	static struct item items[ITEMS];
	static struct histogram sizes;
	struct sink sink = {0};
	struct bridge *bridge = bridge_make(3, 16);
	struct bridge_queue *queue;
	struct bridge_queue_config config = {
		.name = "sink",
		.priority = BRIDGE_CRITICAL,
		.depth = 512,
		.handle = sink_handle,
		.ctx = &sink,
		.batch_max = 128,
	};
	struct bridge_queue_stats stats;

	ck_assert_int_eq(bridge_queue_new(bridge, &config, &queue), 0);
	for (int i = 0; i < ITEMS; i++) {
		items[i] = (struct item){.task = {.run = item_done}, .number = i + 1};
		ck_assert_int_eq(bridge_queue_submit(queue, &items[i].task, BRIDGE_WAIT), 0);
	}
	bridge_drain(bridge);
	ck_assert_int_eq(sink.seen, ITEMS);
	ck_assert_int_eq(sink.overlaps, 0);
	ck_assert_int_eq(sink.disorder, 0);
	for (int i = 0; i < ITEMS; i++)
		ck_assert(items[i].done == 1 && items[i].status == -7);
	ck_assert_int_eq(bridge_queue_read_stats(bridge, 0, &stats, &sizes), 0);
	ck_assert_int_eq(bridge_queue_read_stats(bridge, 1, &stats, NULL), -ENOENT);
	ck_assert_uint_eq(stats.submitted, ITEMS);
	ck_assert_uint_eq(histogram_sum(&sizes), ITEMS);
	ck_assert_uint_eq(histogram_count(&sizes), stats.batches);
	/* the backlog made the batches grow, within the bound */
	ck_assert_uint_gt(sink.largest, 16);
	ck_assert_uint_le(sink.largest, 128);
	ck_assert_uint_lt(stats.batches, ITEMS / 8);
	bridge_free(bridge, 0);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_bridge_queue_refuses_when_full_and_expires)
{
	struct sink sink = {0};
	struct item items[9];
	struct bridge *bridge = bridge_make(1, 16);
	struct bridge_queue *queue;
	struct bridge_queue_config config = {
		.name = "sink",
		.priority = BRIDGE_NORMAL,
		.depth = 8,
		.handle = sink_handle,
		.ctx = &sink,
	};

	hold_worker(bridge, BRIDGE_CRITICAL);
	ck_assert_int_eq(bridge_queue_new(bridge, &config, &queue), 0);
	for (int i = 0; i < 9; i++) {
		items[i] = (struct item){.task = {.run = item_done}, .number = i + 1};
		if (i == 5)
			items[i].task.deadline_ns = bridge_now_ns() + MS;
		ck_assert_int_eq(bridge_queue_submit(queue, &items[i].task, 0),
				 i < 8 ? 0 : -EAGAIN);
	}
	nap(3 * MS);
	atomic_store(&hold_open, 1);
	bridge_drain(bridge);
	ck_assert_int_eq(sink.seen, 7);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(items[i].status, i == 5 ? -ETIME : -7);
	ck_assert_int_eq(items[8].done, 0);
	config.handle = NULL;
	ck_assert_int_eq(bridge_queue_new(bridge, &config, &queue), -EINVAL);
	bridge_free(bridge, 0);
}
END_TEST

START_TEST(test_bridge_free_cancels_or_finishes_what_waits)
{
	for (int cancel = 0; cancel < 2; cancel++) {
		struct bridge *bridge = bridge_make(1, 64);
		pthread_t opener;

		atomic_store(&ran, 0);
		atomic_store(&hold_open, 0);
		hold_worker(bridge, BRIDGE_CRITICAL);
		for (int i = 0; i < 40; i++)
			ck_assert_int_eq(bridge_call(bridge, note_run, NULL, i % 4, 0, 0), 0);
		ck_assert_int_eq(pthread_create(&opener, NULL, open_later, NULL), 0);
		bridge_free(bridge, cancel);
		pthread_join(opener, NULL);
		ck_assert_int_eq(ran, 40);
		ck_assert_int_eq(ran_status, cancel ? -ECANCELED : 0);
	}
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

static void drain_inside(void *arg, int status)
{
	*(int *)arg = bridge_drain(endless_bridge);
}

START_TEST(test_bridge_drain_on_a_worker_is_refused)
{
	int result = 0;

	endless_bridge = bridge_make(1, 4);
	ck_assert_int_eq(bridge_call(endless_bridge, drain_inside, &result, BRIDGE_HIGH, 0, 0), 0);
	bridge_drain(endless_bridge);
	ck_assert_int_eq(result, -EDEADLK);
	bridge_free(endless_bridge, 0);
}
END_TEST

START_TEST(test_bridge_periodic_keeps_its_period_and_stops)
{
	struct bridge *bridge = bridge_make(2, 4);
	struct bridge_periodic *periodic;

	ck_assert_int_eq(bridge_periodic_new(bridge, 1000, BRIDGE_HIGH, note_run, NULL, &periodic),
			 -EINVAL);
	ck_assert_int_eq(
		bridge_periodic_new(bridge, 5 * MS, BRIDGE_HIGH, note_run, NULL, &periodic), 0);
	uint64_t begin = bridge_now_ns();
	nap(200 * MS);
	int count = atomic_load(&ran);
	uint64_t periods = (bridge_now_ns() - begin) / (5 * MS);
	ck_assert_int_ge(count, 10); /* the machine may be busy, but not that busy */
	ck_assert_uint_le((uint64_t)count, periods + 1);
	ck_assert_int_eq(bridge_periodic_set(periodic, 3600000 * MS), 0);
	bridge_drain(bridge);
	ck_assert_int_eq(bridge_periodic_stop(periodic), 0);
	count = atomic_load(&ran);
	nap(20 * MS);
	ck_assert_int_eq(ran, count);
	for (int i = 0; i < BRIDGE_PERIODICS_MAX; i++)
		ck_assert_int_eq(bridge_periodic_new(bridge, 1000 * MS, BRIDGE_LOW, note_run, NULL,
						     &periodic),
				 0);
	ck_assert_int_eq(bridge_periodic_new(bridge, MS, BRIDGE_LOW, note_run, NULL, &periodic),
			 -ENOSPC);
	bridge_free(bridge, 0);
}
END_TEST

START_TEST(test_bridge_periodic_that_is_slow_is_left_out_not_piled_up)
{
	struct bridge *bridge = bridge_make(2, 4);
	struct bridge_periodic *periodic;
	struct bridge_stats stats;

	ck_assert_int_eq(bridge_periodic_new(bridge, MS, BRIDGE_LOW, hold, NULL, &periodic), 0);
	nap(50 * MS);
	ck_assert_int_eq(hold_inside, 1);
	bridge_read_stats(bridge, &stats);
	ck_assert_uint_gt(stats.periodic_left_out, 0);
	atomic_store(&hold_open, 1);
	ck_assert_int_eq(bridge_periodic_stop(periodic), 0);
	bridge_free(bridge, 0);
}
END_TEST

static struct bridge_periodic *again;

static void ask_again(void *arg, int status)
{
	if (atomic_fetch_add(&ran, 1) < 2)
		bridge_periodic_at(again, bridge_now_ns());
	if (arg)
		hold(NULL, status);
}

START_TEST(test_bridge_alarm_goes_off_once_for_each_asking)
{
	struct bridge *bridge = bridge_make(2, 4);

	ck_assert_int_eq(bridge_periodic_new(bridge, 0, BRIDGE_HIGH, ask_again, NULL, &again), 0);
	nap(20 * MS);
	ck_assert_int_eq(ran, 0);
	bridge_periodic_at(again, bridge_now_ns() + 3600000 * MS);
	bridge_periodic_at(again, bridge_now_ns() + 30 * MS); /* the earlier one counts */
	bridge_periodic_at(again, bridge_now_ns() + 7200000 * MS);
	ck_assert_int_eq(ran, 0);
	while (atomic_load(&ran) < 3) /* itself asks for two more */
		nap(MS);
	nap(20 * MS);
	ck_assert_int_eq(ran, 3);
	ck_assert_int_eq(bridge_periodic_stop(again), 0);
	bridge_free(bridge, 0);
}
END_TEST

START_TEST(test_bridge_alarm_asked_for_while_it_runs_is_not_left_out)
{
	struct bridge *bridge = bridge_make(2, 4);
	struct bridge_stats stats;

	atomic_store(&ran, 100); /* asks for nothing itself */
	ck_assert_int_eq(bridge_periodic_new(bridge, 0, BRIDGE_HIGH, ask_again, bridge, &again), 0);
	bridge_periodic_at(again, bridge_now_ns());
	while (!atomic_load(&hold_inside))
		nap(MS / 10);
	bridge_periodic_at(again, bridge_now_ns());
	nap(20 * MS);
	ck_assert_int_eq(ran, 101);
	atomic_store(&hold_open, 1);
	while (atomic_load(&ran) < 102)
		nap(MS);
	bridge_read_stats(bridge, &stats);
	ck_assert_uint_eq(stats.periodic_left_out, 0);
	bridge_free(bridge, 0);
}
END_TEST

/* A simulated server: a batch of n takes fixed + n * each ns, give or take `noise` percent; tasks
 * come evenly, `rate` a second. */
struct simulation {
	struct batcher batcher;
	uint64_t now, waiting, random;
	double arrived;
	double fixed_ns, each_ns, noise;
};

static double noise(struct simulation *sim)
{
	sim->random = sim->random * 6364136223846793005u + 1442695040888963407u;
	return 1 + sim->noise * ((double)(sim->random >> 40) / (1 << 23) - 1);
}

static void simulate(struct simulation *sim, double rate, double seconds, unsigned *least,
		     unsigned *most, unsigned *turns)
{
	uint64_t end = sim->now + (uint64_t)(seconds * 1e9);
	int direction = 0;

	*least = UINT32_MAX;
	*most = *turns = 0;
	while (sim->now < end) {
		uint32_t size = batcher_size(&sim->batcher);
		uint64_t waiting = sim->waiting, spent = 1000;

		if (waiting) {
			uint32_t n = waiting < size ? (uint32_t)waiting : size;
			spent = (uint64_t)((sim->fixed_ns + n * sim->each_ns) * noise(sim));
			sim->waiting -= n;
			batcher_observe(&sim->batcher, waiting, n, spent);
		}
		sim->now += spent;
		sim->arrived += rate * (double)spent / 1e9 * noise(sim);
		sim->waiting += (uint64_t)sim->arrived;
		sim->arrived -= (double)(uint64_t)sim->arrived;
		uint32_t after = batcher_size(&sim->batcher);
		if (after != size && (after > size ? 1 : -1) != direction) {
			direction = after > size ? 1 : -1;
			++*turns;
		}
		*least = after < *least ? after : *least;
		*most = after > *most ? after : *most;
	}
}

static void simulation_init(struct simulation *sim, uint64_t budget_ns, double noise_part)
{
	static const struct machine_facts machine = {32 << 10, 1 << 20, 32 << 20, 2};
	const struct batcher_config config = {
		.item_bytes = 512,
		.batch_min = 1,
		.batch_max = 1024,
		.servers = 1,
		.budget_ns = budget_ns,
	};

	memset((void *)sim, 0, sizeof(*sim));
	batcher_init(&sim->batcher, &config, &machine);
	sim->random = 42;
	sim->fixed_ns = 100000;
	sim->each_ns = 2000;
	sim->noise = noise_part;
}

START_TEST(test_batcher_follows_a_step_of_the_load_without_oscillating)
{
	static const double noises[] = {0, 0.1, 0.3};

	for (size_t i = 0; i < sizeof(noises) / sizeof(noises[0]); i++) {
		struct simulation sim;
		unsigned least, most, turns;

		simulation_init(&sim, 0, noises[i]);
		simulate(&sim, 3000, 1, &least, &most, &turns);
		ck_assert_uint_le(most, 8);
		/* 3,000 -> 300,000 a second: in balance a batch holds 75 */
		simulate(&sim, 300000, 1, &least, &most, &turns);
		ck_assert_uint_le(turns, 2); /* one climb, at most one correction */
		ck_assert_uint_lt(sim.waiting, 1000);
		simulate(&sim, 300000, 2, &least, &most, &turns);
		ck_assert_uint_ge(least, 50);
		ck_assert_uint_le(turns, 1); /* at rest, or settling in one direction */
		ck_assert_uint_le(most, least + least / 4);
		/* and back */
		simulate(&sim, 3000, 1, &least, &most, &turns);
		ck_assert_uint_le(turns, 1);
		ck_assert_uint_le(batcher_size(&sim.batcher), 8);
	}
}
END_TEST

START_TEST(test_batcher_holds_the_time_budget_under_noise)
{
	struct simulation sim;
	unsigned least, most, turns;

	simulation_init(&sim, 500000, 0.1);
	sim.fixed_ns = 1000;
	simulate(&sim, 600000, 1, &least, &most, &turns); /* more than it can do */
	simulate(&sim, 600000, 1, &least, &most, &turns);
	ck_assert_uint_ge(least, 180); /* 500 us / 2 us = 250 */
	ck_assert_uint_le(most, 260);
	ck_assert_uint_le(turns, 2);
}
END_TEST

START_TEST(test_batcher_bound_follows_caches_and_cores)
{
	struct machine_facts machine = {32 << 10, 256 << 10, 2 << 20, 2};
	struct batcher_config config = {
		.item_bytes = 1024,
		.batch_min = 2,
		.batch_max = 1024,
		.servers = 1,
	};
	struct batcher batcher;

	batcher_init(&batcher, &config, &machine);
	ck_assert_uint_eq(batcher.limit, 128); /* half of the L2 */
	machine.cores = 16;
	batcher_init(&batcher, &config, &machine);
	ck_assert_uint_eq(batcher.limit, 64); /* half of a sixteenth of the L3 */
	config.item_bytes = 1 << 20;
	batcher_init(&batcher, &config, &machine);
	ck_assert_uint_eq(batcher.limit, 2);
	ck_assert_uint_gt(machine_facts()->l2_bytes, 64 << 10);
	ck_assert_uint_gt(machine_facts()->cores, 0);
}
END_TEST

UNIT_MAIN("bridge", test_bridge_runs_what_is_submitted_and_frees_everything,
	  test_bridge_survives_every_failed_allocation,
	  test_bridge_prefers_higher_priorities_but_starves_none,
	  test_bridge_low_work_advances_under_an_endless_critical_load,
	  test_bridge_keeps_workers_for_the_log_while_background_work_is_long,
	  test_bridge_task_past_its_deadline_is_not_done, test_bridge_full_refuses_or_waits,
	  test_bridge_flood_with_back_pressure_loses_nothing,
	  test_bridge_wakes_a_worker_for_every_lonely_task,
	  test_bridge_queue_gets_its_turn_for_every_lonely_task,
	  test_bridge_warm_submits_allocate_nothing,
	  test_bridge_queue_batches_in_order_one_at_a_time,
	  test_bridge_queue_refuses_when_full_and_expires,
	  test_bridge_free_cancels_or_finishes_what_waits, test_bridge_drain_on_a_worker_is_refused,
	  test_bridge_periodic_keeps_its_period_and_stops,
	  test_bridge_periodic_that_is_slow_is_left_out_not_piled_up,
	  test_bridge_alarm_goes_off_once_for_each_asking,
	  test_bridge_alarm_asked_for_while_it_runs_is_not_left_out,
	  test_batcher_follows_a_step_of_the_load_without_oscillating,
	  test_batcher_holds_the_time_budget_under_noise,
	  test_batcher_bound_follows_caches_and_cores)
