/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the worker threads: what to do next, when to spin, when to sleep, whom to wake. The
 *            proof that no wake-up is lost is in internal.h.
 */
#include "core/bridge/internal.h"
#include "core/bridge/futex.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <limits.h>
#include <string.h>

_Thread_local struct worker *worker_self;

static const uint32_t credit_full[BRIDGE_PRIORITIES] = {64, 16, 4, 1};

enum { PAUSES_A_LOOK = 16 };

static uint64_t slot_weight(enum bridge_priority priority)
{
	return priority == BRIDGE_LOW      ? SLOT_BACKGROUND + SLOT_LOW
	       : priority == BRIDGE_NORMAL ? SLOT_BACKGROUND
					   : 0;
}

static int slot_open(const struct bridge *bridge, uint64_t slots, enum bridge_priority priority)
{
	if (priority < BRIDGE_NORMAL)
		return 1;
	return slots >> 32 < bridge->slots_background &&
	       (priority < BRIDGE_LOW || (uint32_t)slots < bridge->slots_low);
}

static int slot_take(struct bridge *bridge, enum bridge_priority priority)
{
	uint64_t slots = atomic_load_explicit(&bridge->slots, memory_order_relaxed);

	if (priority < BRIDGE_NORMAL)
		return 1;
	do {
		if (!slot_open(bridge, slots, priority))
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(
		&bridge->slots, &slots, slots + slot_weight(priority), memory_order_acq_rel,
		memory_order_relaxed));
	return 1;
}

static void slot_give(struct bridge *bridge, enum bridge_priority priority)
{
	/* acq_rel: before this worker's next pass of `idle`, see internal.h */
	if (priority >= BRIDGE_NORMAL)
		atomic_fetch_sub_explicit(&bridge->slots, slot_weight(priority),
					  memory_order_acq_rel);
}

/* Is there a task that could start now? */
static int work_waits(struct bridge *bridge)
{
	uint64_t slots = atomic_load_explicit(&bridge->slots, memory_order_acquire);

	for (unsigned p = 0; p < BRIDGE_PRIORITIES; p++)
		if (ring_ready(&bridge->ring[p]) && slot_open(bridge, slots, p))
			return 1;
	return 0;
}

/* Turns a sleeper into a spinner, unless `enough` look for work already. */
static void worker_wake(struct bridge *bridge, uint64_t enough)
{
	uint64_t idle = atomic_load_explicit(&bridge->idle, memory_order_relaxed);

	do {
		if (SPINNERS(idle) >= enough || !SLEEPERS(idle))
			return;
	} while (!atomic_compare_exchange_weak_explicit(
		&bridge->idle, &idle, idle - SLEEPER_ONE + SPINNER_ONE, memory_order_acq_rel,
		memory_order_relaxed));
	/* release: pairs with the acquire in ticket_take() */
	atomic_fetch_add_explicit(&bridge->tickets, 1, memory_order_release);
	futex_wake(&bridge->tickets, 1);
	atomic_fetch_add_explicit(&bridge->wakes, 1, memory_order_relaxed);
}

void workers_signal(struct bridge *bridge, enum bridge_priority priority)
{
	uint64_t idle = atomic_fetch_add_explicit(&bridge->idle, 0, memory_order_acq_rel);

	if (!SLEEPERS(idle))
		return;
	/* One who looks is enough for one task. More waiting than lookers: the scheduler may have
	 * taken the core from a looker, and the others should not wait for its return. */
	uint64_t enough = ring_depth(&bridge->ring[priority]);
	if (!enough)
		enough = 1;
	if (SPINNERS(idle) >= enough)
		return;
	uint64_t slots = atomic_load_explicit(&bridge->slots, memory_order_acquire);
	if (slot_open(bridge, slots, priority))
		worker_wake(bridge, enough);
}

/* Wakes a worker if there is a task that could start and nobody looks for it. */
static void workers_look(struct bridge *bridge)
{
	uint64_t idle = atomic_fetch_add_explicit(&bridge->idle, 0, memory_order_acq_rel);

	if (!SPINNERS(idle) && SLEEPERS(idle) && work_waits(bridge))
		worker_wake(bridge, 1);
}

static struct bridge_task *pick_with_credit(struct worker *worker, enum bridge_priority *priority)
{
	struct bridge *bridge = worker->bridge;

	for (unsigned p = 0; p < BRIDGE_PRIORITIES; p++) {
		if (!worker->credit[p] || !ring_ready(&bridge->ring[p]) || !slot_take(bridge, p))
			continue;
		struct bridge_task *task = ring_pop(&bridge->ring[p]);
		if (!task) {
			slot_give(bridge, p);
			continue;
		}
		worker->credit[p]--;
		*priority = p;
		return task;
	}
	return NULL;
}

/* The next task by weight, with its slot taken. */
static struct bridge_task *pick(struct worker *worker, enum bridge_priority *priority)
{
	struct bridge_task *task = pick_with_credit(worker, priority);

	if (task)
		return task;
	memcpy(worker->credit, credit_full, sizeof(worker->credit));
	return pick_with_credit(worker, priority);
}

void worker_note_latency(struct worker *worker, const struct bridge_task *task,
			 enum bridge_priority priority, uint64_t now)
{
	/* clocks of two cores may differ by a little */
	histogram_record_owned(&worker->latency[priority],
			       now > task->queued_ns ? now - task->queued_ns : 0);
}

void worker_finish(struct worker *worker, struct bridge_task *task, enum bridge_priority priority,
		   int status)
{
	count_owned(status == -ETIME       ? &worker->expired[priority]
		    : status == -ECANCELED ? &worker->canceled[priority]
					   : &worker->run[priority]);
	task->run(task, status);
}

static void task_do(struct worker *worker, struct bridge_task *task, enum bridge_priority priority)
{
	struct bridge *bridge = worker->bridge;

	if (task_is_token(task)) {
		queue_turn(worker, task);
		return;
	}
	if (!task_is_periodic(task))
		gate_leave(&bridge->gate[priority], 1);
	uint64_t now = bridge_now_ns();
	int status = 0;
	if (atomic_load_explicit(&bridge->cancel, memory_order_relaxed))
		status = -ECANCELED;
	else if (task->deadline_ns && now > task->deadline_ns)
		status = -ETIME;
	worker_note_latency(worker, task, priority, now);
	worker_finish(worker, task, priority, status);
	inflight_leave(bridge, 1);
}

/* From spinning to working. The last spinner leaves a successor if there is more to do. */
static void spin_end(struct worker *worker, const struct bridge_task *task)
{
	struct bridge *bridge = worker->bridge;
	uint64_t idle = atomic_fetch_sub_explicit(&bridge->idle, SPINNER_ONE, memory_order_acq_rel);

	worker->gap_ns =
		task->queued_ns > worker->idle_since ? task->queued_ns - worker->idle_since : 0;
	if (SPINNERS(idle) == 1 && SLEEPERS(idle) && work_waits(bridge))
		worker_wake(bridge, 1);
}

/* From working to spinning. It pays to look around only when work comes in quick succession: when
 * the last time it came within spin_ns. And one who does is enough. */
static void spin_begin(struct worker *worker)
{
	struct bridge *bridge = worker->bridge;
	uint64_t idle = atomic_fetch_add_explicit(&bridge->idle, SPINNER_ONE, memory_order_acq_rel);

	worker->idle_since = bridge_now_ns();
	worker->spin_until = worker->idle_since;
	if (!SPINNERS(idle) && worker->gap_ns < bridge->spin_ns)
		worker->spin_until += bridge->spin_ns;
}

/* Takes a ticket, sleeping until there is one. */
static void ticket_take(struct bridge *bridge)
{
	uint32_t tickets = atomic_load_explicit(&bridge->tickets, memory_order_relaxed);

	for (;;) {
		if (!tickets) {
			futex_sleep(&bridge->tickets, 0, 0);
			tickets = atomic_load_explicit(&bridge->tickets, memory_order_relaxed);
		} else if (atomic_compare_exchange_weak_explicit(&bridge->tickets, &tickets,
								 tickets - 1, memory_order_acquire,
								 memory_order_relaxed)) {
			return;
		}
	}
}

/* A sleeper that found work after all counts itself as a spinner again. Returns 0 if a waker has
 * already done so: then a ticket is there or on its way. */
static int sleep_cancel(struct bridge *bridge)
{
	uint64_t idle = atomic_load_explicit(&bridge->idle, memory_order_relaxed);

	do {
		if (!SLEEPERS(idle))
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(
		&bridge->idle, &idle, idle - SLEEPER_ONE + SPINNER_ONE, memory_order_acq_rel,
		memory_order_relaxed));
	return 1;
}

/* From spinning to sleeping and back to spinning. */
static void worker_sleep(struct worker *worker)
{
	struct bridge *bridge = worker->bridge;

	atomic_fetch_add_explicit(&bridge->idle, SLEEPER_ONE - SPINNER_ONE, memory_order_acq_rel);
	if ((work_waits(bridge) || atomic_load_explicit(&bridge->quit, memory_order_acquire)) &&
	    sleep_cancel(bridge))
		return;
	count_owned(&worker->sleeps);
	ticket_take(bridge);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct bridge *bridge = worker->bridge;
	enum bridge_priority priority = BRIDGE_CRITICAL;
	int spinning = 1;

	worker_self = worker;
	spin_begin(worker);
	while (!atomic_load_explicit(&bridge->quit, memory_order_acquire)) {
		enum bridge_priority before = priority;
		struct bridge_task *task = pick(worker, &priority);
		if (task) {
			if (spinning)
				spin_end(worker, task);
			else if (before >= BRIDGE_NORMAL && before != priority)
				workers_look(bridge); /* the slot given back is open for others */
			spinning = 0;
			task_do(worker, task, priority);
			slot_give(bridge, priority);
		} else if (!spinning) {
			spin_begin(worker);
			spinning = 1;
		} else if (bridge_now_ns() < worker->spin_until) {
			for (int i = 0; i < PAUSES_A_LOOK; i++)
				thread_pause();
		} else {
			worker_sleep(worker);
		}
	}
	return NULL;
}

int workers_start(struct bridge *bridge)
{
	size_t bytes = bridge->workers_count * sizeof(struct worker);

	bridge->workers = alloc_aligned(CACHE_LINE, bytes);
	if (!bridge->workers)
		return -ENOMEM;
	memset((void *)bridge->workers, 0, bytes);
	for (unsigned i = 0; i < bridge->workers_count; i++) {
		struct worker *worker = &bridge->workers[i];
		worker->bridge = bridge;
		int error = pthread_create(&worker->thread, NULL, worker_main, worker);
		if (error) {
			bridge->workers_count = i;
			workers_stop(bridge);
			return -error;
		}
	}
	return 0;
}

void workers_stop(struct bridge *bridge)
{
	/* release: pairs with the acquire loads in worker_main() and worker_sleep() */
	atomic_store_explicit(&bridge->quit, 1, memory_order_release);
	atomic_fetch_add_explicit(&bridge->tickets, BRIDGE_WORKERS_MAX, memory_order_release);
	futex_wake(&bridge->tickets, INT_MAX);
	for (unsigned i = 0; i < bridge->workers_count; i++)
		pthread_join(bridge->workers[i].thread, NULL);
	alloc_free(bridge->workers);
	bridge->workers = NULL;
}
