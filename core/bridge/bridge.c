/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the life of a bridge and the submit path; the whole is described in internal.h.
 */
#include "core/bridge/internal.h"
#include "core/bridge/futex.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

enum { DEPTH_DEFAULT = 4096, DEPTH_MAX = 1 << 24, SPIN_DEFAULT_NS = 10000, CALLS_SPARE = 8192 };

struct call {
	struct bridge_task task;
	struct bridge *bridge;
	void (*fn)(void *arg, int status);
	void *arg;
};

uint64_t bridge_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int config_apply(struct bridge *bridge, const struct bridge_config *config)
{
	static const struct bridge_config defaults;
	unsigned cores = machine_facts()->cores;
	uint32_t calls = CALLS_SPARE;
	int error;

	if (!config)
		config = &defaults;
	bridge->workers_count = config->workers ? config->workers : cores + 2;
	if (!config->workers && bridge->workers_count > BRIDGE_WORKERS_MAX)
		bridge->workers_count = BRIDGE_WORKERS_MAX;
	if (bridge->workers_count > BRIDGE_WORKERS_MAX)
		return -EINVAL;
	bridge->spin_ns = config->spin_ns ? config->spin_ns : cores > 1 ? SPIN_DEFAULT_NS : 0;
	bridge->slots_background = bridge->workers_count > 1 ? bridge->workers_count - 1 : 1;
	bridge->slots_low = bridge->workers_count > 2 ? bridge->workers_count - 2 : 1;
	for (unsigned p = 0; p < BRIDGE_PRIORITIES; p++) {
		uint32_t depth = config->depth[p] ? config->depth[p] : DEPTH_DEFAULT;
		if (depth > DEPTH_MAX)
			return -EINVAL;
		gate_init(&bridge->gate[p], depth);
		error = ring_init(&bridge->ring[p],
				  depth + BRIDGE_QUEUES_MAX + BRIDGE_PERIODICS_MAX);
		if (error)
			return error;
		calls += depth;
	}
	error = counters_init(&bridge->counts, COUNT_ALL);
	return error ? error : records_new(sizeof(struct call), calls, &bridge->calls);
}

static void bridge_destroy(struct bridge *bridge)
{
	queues_free(bridge);
	for (unsigned p = 0; p < BRIDGE_PRIORITIES; p++)
		ring_destroy(&bridge->ring[p]);
	if (bridge->counts.cells)
		counters_destroy(&bridge->counts);
	records_free(bridge->calls);
	pthread_mutex_destroy(&bridge->mutex);
	alloc_free(bridge);
}

/* Signals are the program's business, not these threads'. */
static int threads_start(struct bridge *bridge)
{
	sigset_t all, old;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int error = workers_start(bridge);
	if (!error) {
		error = timer_start(bridge);
		if (error)
			workers_stop(bridge);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

int bridge_new(const struct bridge_config *config, struct bridge **out)
{
	struct bridge *bridge = alloc_aligned(CACHE_LINE, sizeof(*bridge));
	int error;

	if (!bridge)
		return -ENOMEM;
	memset(bridge, 0, sizeof(*bridge));
	pthread_mutex_init(&bridge->mutex, NULL);
	error = config_apply(bridge, config);
	if (!error)
		error = threads_start(bridge);
	if (error)
		bridge_destroy(bridge);
	else
		*out = bridge;
	return error;
}

/* Waits for inflight == 0. */
static void inflight_wait(struct bridge *bridge)
{
	for (;;) {
		/* acquire: pairs with the release in inflight_leave(); read before the count */
		uint32_t seen = atomic_load_explicit(&bridge->drained, memory_order_acquire);
		uint64_t word = atomic_load_explicit(&bridge->inflight, memory_order_acquire);

		if (!INFLIGHT_TASKS(word))
			return;
		/* acq_rel: registered in the word of the count, so the leaver that makes it 0 knows
		 */
		if (!atomic_compare_exchange_strong_explicit(
			    &bridge->inflight, &word, word + INFLIGHT_WAITER, memory_order_acq_rel,
			    memory_order_relaxed))
			continue;
		futex_sleep(&bridge->drained, seen, 0);
		atomic_fetch_sub_explicit(&bridge->inflight, INFLIGHT_WAITER, memory_order_relaxed);
	}
}

void bridge_free(struct bridge *bridge, int cancel)
{
	if (!bridge)
		return;
	CHECK(!worker_self || worker_self->bridge != bridge);
	timer_stop(bridge);
	atomic_store_explicit(&bridge->cancel, cancel, memory_order_relaxed);
	/* acq_rel: on the word that each submit changes, so no submit slips in unseen */
	atomic_fetch_or_explicit(&bridge->inflight, INFLIGHT_STOPPING, memory_order_acq_rel);
	inflight_wait(bridge);
	workers_stop(bridge);
	bridge_destroy(bridge);
}

int bridge_drain(struct bridge *bridge)
{
	if (worker_self && worker_self->bridge == bridge)
		return -EDEADLK;
	inflight_wait(bridge);
	return 0;
}

unsigned bridge_workers(const struct bridge *bridge)
{
	return bridge->workers_count;
}

int inflight_enter(struct bridge *bridge)
{
	uint64_t old = atomic_fetch_add_explicit(&bridge->inflight, 1, memory_order_acq_rel);

	if (__builtin_expect(!(old & INFLIGHT_STOPPING), 1))
		return 0;
	inflight_leave(bridge, 1);
	return -ESHUTDOWN;
}

void inflight_leave(struct bridge *bridge, uint32_t count)
{
	/* acq_rel: what the tasks did is seen by whoever waits for 0 */
	uint64_t old = atomic_fetch_sub_explicit(&bridge->inflight, count, memory_order_acq_rel);

	DCHECK(INFLIGHT_TASKS(old) >= count);
	if (__builtin_expect(INFLIGHT_TASKS(old) == count && INFLIGHT_WAITERS(old), 0)) {
		/* release: pairs with the acquire in inflight_wait() */
		atomic_fetch_add_explicit(&bridge->drained, 1, memory_order_release);
		futex_wake(&bridge->drained, INT_MAX);
	}
}

void ring_put(struct ring *ring, void *item)
{
	/* The gate left room, so a full ring means a consumer that was interrupted half-way. */
	while (ring_push(ring, item))
		sched_yield();
}

int bridge_submit(struct bridge *bridge, struct bridge_task *task, enum bridge_priority priority,
		  unsigned flags)
{
	int wait = (flags & BRIDGE_WAIT) && !worker_self;
	int error = inflight_enter(bridge);

	if (error)
		goto refused;
	error = gate_enter(&bridge->gate[priority], wait, task->deadline_ns);
	if (error) {
		inflight_leave(bridge, 1);
		goto refused;
	}
	counters_add(&bridge->counts, COUNT_SUBMITTED + priority, 1);
	task->queued_ns = bridge_now_ns();
	ring_put(&bridge->ring[priority], task);
	workers_signal(bridge, priority);
	return 0;
refused:
	counters_add(&bridge->counts, COUNT_REFUSED + priority, 1);
	return error;
}

static void call_run(struct bridge_task *task, int status)
{
	struct call call = *(struct call *)task;

	records_release(call.bridge->calls, task);
	call.fn(call.arg, status);
}

int bridge_call(struct bridge *bridge, void (*fn)(void *arg, int status), void *arg,
		enum bridge_priority priority, uint64_t deadline_ns, unsigned flags)
{
	struct call *call = records_acquire(bridge->calls);

	if (!call) {
		counters_add(&bridge->counts, COUNT_REFUSED + priority, 1);
		return -EAGAIN;
	}
	*call = (struct call){
		.task = {.run = call_run, .deadline_ns = deadline_ns},
		.bridge = bridge,
		.fn = fn,
		.arg = arg,
	};
	int error = bridge_submit(bridge, &call->task, priority, flags);
	if (error)
		records_release(bridge->calls, call);
	return error;
}
