/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the queueing latency of the bridge at 3,000 operations a second, idle and with
 *            background work that keeps every core busy; its ceiling in operations a second with
 *            1, 2 and 4 submitters, for tasks and for a batch queue; beside a plain pool of as
 *            many threads with one mutex and condition variable, in the same run.
 * Invariants: the subjects take turns, round by round.
 * Failure:   prints what failed and exits with 1.
 * Usage:     bench_bridge [--json] [--quick]
 */
#include "core/bridge/bridge.h"
#include "tests/bench/table.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { OPS_A_SECOND = 3000, SUBMITTERS_MAX = 4, PEER_DEPTH = 4096 };

static struct table table;
static int rounds = 5, paced_ops = 3000, flood_ops = 200000;
static struct bridge *bridge;

static void must(int error, const char *what)
{
	if (error) {
		fprintf(stderr, "bench_bridge: %s: %s\n", what, strerror(-error));
		exit(1);
	}
}

/* ---- the peer: one mutex, two condition variables, a circular buffer ---- */

struct peer_task {
	void (*fn)(void *arg, int status);
	void *arg;
	uint64_t queued_ns;
};

static struct peer {
	pthread_mutex_t mutex;
	pthread_cond_t some, room;
	struct peer_task task[PEER_DEPTH];
	unsigned head, count, running, quit;
	pthread_t thread[BRIDGE_WORKERS_MAX];
	struct histogram latency;
} peer = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER};

static void *peer_main(void *arg)
{
	pthread_mutex_lock(&peer.mutex);
	for (;;) {
		while (!peer.count && !peer.quit)
			pthread_cond_wait(&peer.some, &peer.mutex);
		if (!peer.count)
			break;
		struct peer_task task = peer.task[peer.head];
		peer.head = (peer.head + 1) % PEER_DEPTH;
		peer.count--;
		peer.running++;
		pthread_cond_signal(&peer.room);
		pthread_mutex_unlock(&peer.mutex);
		histogram_record(&peer.latency, bridge_now_ns() - task.queued_ns);
		task.fn(task.arg, 0);
		pthread_mutex_lock(&peer.mutex);
		peer.running--;
		if (!peer.running && !peer.count)
			pthread_cond_broadcast(&peer.room);
	}
	pthread_mutex_unlock(&peer.mutex);
	return arg;
}

static void peer_call(void (*fn)(void *arg, int status), void *arg)
{
	pthread_mutex_lock(&peer.mutex);
	while (peer.count == PEER_DEPTH)
		pthread_cond_wait(&peer.room, &peer.mutex);
	peer.task[(peer.head + peer.count++) % PEER_DEPTH] =
		(struct peer_task){fn, arg, bridge_now_ns()};
	pthread_cond_signal(&peer.some);
	pthread_mutex_unlock(&peer.mutex);
}

static void peer_drain(void)
{
	pthread_mutex_lock(&peer.mutex);
	while (peer.count || peer.running)
		pthread_cond_wait(&peer.room, &peer.mutex);
	pthread_mutex_unlock(&peer.mutex);
}

/* ---- the work ---- */

static _Atomic uint64_t work_done;

static void work_small(void *arg, int status)
{
	atomic_fetch_add_explicit(&work_done, 1, memory_order_relaxed);
}

/* About 2 microseconds, so that a paced operation is not nothing. */
static void work_paced(void *arg, int status)
{
	for (volatile int i = 0; i < 1000; i++)
		;
	work_small(arg, status);
}

static _Atomic int background_stop;

static void work_background(void *arg, int status)
{
	uint64_t end = bridge_now_ns() + 4000000; /* as long as the embedding of a passage */

	while (bridge_now_ns() < end)
		;
	if (!atomic_load(&background_stop) && !status)
		bridge_call(bridge, work_background, arg, BRIDGE_LOW, 0, 0);
}

/* ---- paced ---- */

static void latency_since(enum bridge_priority priority, struct histogram *before,
			  struct histogram *out)
{
	static struct histogram now;

	memset((void *)&now, 0, sizeof(now));
	bridge_merge_latency(bridge, priority, &now);
	memset((void *)out, 0, sizeof(*out));
	for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
		out->bucket[b] = now.bucket[b] - before->bucket[b];
	out->sum = now.sum - before->sum;
	out->max = now.max;
}

static void pace(uint64_t *next)
{
	*next += 1000000000 / OPS_A_SECOND;
	uint64_t now = bridge_now_ns();
	if (*next > now) {
		struct timespec gap = {0, (long)(*next - now)};
		nanosleep(&gap, NULL);
	}
}

static void add_latency(const char *what, const struct histogram *h)
{
	static const struct {
		const char *name;
		double q;
	} parts[] = {{"p50", 0.5}, {"p99", 0.99}};
	char name[56];

	snprintf(name, sizeof(name), "%s: mean", what);
	table_add(&table, name, "us", histogram_mean(h) / 1e3);
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s: %s", what, parts[i].name);
		table_add(&table, name, "us", (double)histogram_quantile(h, parts[i].q) / 1e3);
	}
}

/* 70 % critical and high, the rest normal and low: all priorities are in use. */
static void paced_bridge(const char *what)
{
	static const enum bridge_priority mix[10] = {0, 0, 0, 0, 1, 1, 1, 2, 2, 3};
	static struct histogram before[BRIDGE_PRIORITIES], one, all;
	char name[56];
	uint64_t next = bridge_now_ns();

	memset((void *)before, 0, sizeof(before));
	memset((void *)&all, 0, sizeof(all));
	for (int p = 0; p < BRIDGE_PRIORITIES; p++)
		bridge_merge_latency(bridge, p, &before[p]);
	for (int i = 0; i < paced_ops; i++) {
		pace(&next);
		must(bridge_call(bridge, work_paced, NULL, mix[i % 10], 0, BRIDGE_WAIT), "call");
	}
	for (int p = 0; p < BRIDGE_PRIORITIES; p++) {
		latency_since(p, &before[p], &one);
		if (p == BRIDGE_CRITICAL) {
			snprintf(name, sizeof(name), "%s, critical", what);
			add_latency(name, &one);
		}
		if (p != BRIDGE_LOW)
			histogram_merge(&all, &one);
	}
	snprintf(name, sizeof(name), "%s, all but low", what);
	add_latency(name, &all);
}

static void paced_peer(const char *what)
{
	uint64_t next = bridge_now_ns();

	memset((void *)&peer.latency, 0, sizeof(peer.latency));
	for (int i = 0; i < paced_ops; i++) {
		pace(&next);
		peer_call(work_paced, NULL);
	}
	peer_drain();
	add_latency(what, &peer.latency);
}

static void bench_paced(void)
{
	for (int round = 0; round < rounds; round++) {
		paced_bridge("3,000/s");
		paced_peer("3,000/s, mutex pool");
		bridge_drain(bridge);
		atomic_store(&background_stop, 0);
		for (unsigned i = 0; i < bridge_workers(bridge); i++)
			must(bridge_call(bridge, work_background, NULL, BRIDGE_LOW, 0, 0), "call");
		paced_bridge("3,000/s, cores busy");
		atomic_store(&background_stop, 1);
		bridge_drain(bridge);
	}
	table_hold(&table, "3,000/s, all but low: mean", "target", 1000, 1);
	table_hold(&table, "3,000/s, cores busy, all but low: mean", "target", 1000, 1);
	table_hold(&table, "3,000/s, mutex pool: mean", "bridge",
		   table_median(&table, "3,000/s, all but low: mean"), 0);
}

/* ---- ceiling ---- */

enum subject { TASKS, QUEUE, PEER };
struct flooder {
	enum subject subject;
	int ops;
	struct bridge_queue *queue;
	struct bridge_task *task; /* for the queue: `ops` of them */
};

static void task_done(struct bridge_task *task, int status)
{
	work_small(task, status);
}

static void *flood_main(void *arg)
{
	struct flooder *flooder = arg;

	for (int i = 0; i < flooder->ops; i++)
		if (flooder->subject == TASKS)
			must(bridge_call(bridge, work_small, NULL, BRIDGE_CRITICAL, 0, BRIDGE_WAIT),
			     "call");
		else if (flooder->subject == QUEUE)
			must(bridge_queue_submit(flooder->queue, &flooder->task[i], BRIDGE_WAIT),
			     "queue");
		else
			peer_call(work_small, NULL);
	return NULL;
}

static double flood(enum subject subject, int submitters, struct bridge_queue *queue)
{
	pthread_t thread[SUBMITTERS_MAX];
	struct flooder flooder[SUBMITTERS_MAX];
	int each = flood_ops / submitters;

	for (int i = 0; i < submitters; i++) {
		flooder[i] = (struct flooder){subject, each, queue,
					      calloc((size_t)each, sizeof(struct bridge_task))};
		must(flooder[i].task ? 0 : -ENOMEM, "memory");
		for (int k = 0; k < each; k++)
			flooder[i].task[k].run = task_done;
	}
	double begin = table_now_ns();
	for (int i = 0; i < submitters; i++)
		must(-pthread_create(&thread[i], NULL, flood_main, &flooder[i]), "thread");
	for (int i = 0; i < submitters; i++)
		pthread_join(thread[i], NULL);
	if (subject == PEER)
		peer_drain();
	else
		bridge_drain(bridge);
	double spent = table_now_ns() - begin;
	for (int i = 0; i < submitters; i++)
		free(flooder[i].task);
	return submitters * each / spent * 1e9;
}

static int handle_nothing(void *ctx, struct bridge_task **tasks, unsigned n)
{
	return 0;
}

static void bench_ceiling(void)
{
	static const char *const names[] = {"tasks", "batch queue", "mutex pool"};
	const struct bridge_queue_config config = {
		.name = "bench",
		.priority = BRIDGE_CRITICAL,
		.item_bytes = 256,
		.handle = handle_nothing,
	};
	struct bridge_queue *queue;
	struct bridge_queue_stats stats;
	char name[56];

	must(bridge_queue_new(bridge, &config, &queue), "queue");
	for (int submitters = 1; submitters <= SUBMITTERS_MAX; submitters *= 2) {
		for (int round = 0; round < rounds; round++)
			for (int s = TASKS; s <= PEER; s++) {
				snprintf(name, sizeof(name), "ceiling, %d submitters: %s",
					 submitters, names[s]);
				table_add(&table, name, "ops/s", flood(s, submitters, queue));
			}
		for (int subject = TASKS; subject < PEER; subject++) {
			snprintf(name, sizeof(name), "ceiling, %d submitters: %s", submitters,
				 names[subject]);
			table_hold(&table, name, "target", OPS_A_SECOND, 0);
		}
		snprintf(name, sizeof(name), "ceiling, %d submitters: tasks", submitters);
		double ours = table_median(&table, name);
		snprintf(name, sizeof(name), "ceiling, %d submitters: mutex pool", submitters);
		table_hold(&table, name, "tasks", ours, 1);
	}
	must(bridge_queue_read_stats(bridge, 0, &stats, NULL), "stats");
	table_add(&table, "batch queue: tasks a batch", "",
		  (double)stats.submitted / (double)stats.batches);
}

int main(int argc, char **argv)
{
	struct bridge_config config = {0};

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--spin-ns") && i + 1 < argc) {
			config.spin_ns = (uint32_t)strtoul(argv[++i], NULL, 10);
		} else if (!strcmp(argv[i], "--json")) {
			table.json = 1;
		} else if (!strcmp(argv[i], "--quick")) {
			rounds = 1;
			paced_ops = 1000;
			flood_ops = 20000;
		} else {
			fprintf(stderr, "usage: bench_bridge [--json] [--quick] [--spin-ns N]\n");
			return 2;
		}
	}
	must(bridge_new(&config, &bridge), "bridge_new");
	unsigned workers = bridge_workers(bridge);
	for (unsigned i = 0; i < workers; i++)
		must(-pthread_create(&peer.thread[i], NULL, peer_main, NULL), "thread");
	bench_paced();
	bench_ceiling();
	table_print(&table);

	pthread_mutex_lock(&peer.mutex);
	peer.quit = 1;
	pthread_cond_broadcast(&peer.some);
	pthread_mutex_unlock(&peer.mutex);
	for (unsigned i = 0; i < workers; i++)
		pthread_join(peer.thread[i], NULL);
	bridge_free(bridge, 0);
	return 0;
}
