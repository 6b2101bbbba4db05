/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   stands between the layers that want work done and the threads that do it. Work comes
 *            as tasks with a priority and maybe a deadline, or into a batch queue, whose handler
 *            gets as many tasks at a time as the adaptive batcher finds right (the log's group
 *            commit).
 * Invariants: a task that was accepted is finished exactly once: its `run` is called with a
 *            status, on a worker thread. Waiting tasks are bounded by `depth` for each priority
 *            and each queue. Nothing is allocated by a submit or a run once warm. Priorities are
 *            weighted, not absolute: while all are waiting, a worker's picks go 64 : 16 : 4 : 1,
 *            so the lowest gets at least one pick in 85. Of W workers at most W - 1 do normal or
 *            low work at a time, and at most W - 2 low work (at least one each), so long
 *            background work never keeps the log waiting for a thread. Within a priority, and
 *            within a queue, tasks start in the order of their submits.
 * Threading: all functions may be called from any thread unless they say otherwise. A queue's
 *            handler is called by one worker at a time. Tasks may submit tasks, but never wait
 *            for room: on a worker BRIDGE_WAIT is ignored, for its waiting could be for itself.
 * Failure:   a submit that is refused leaves the task with the caller: -EAGAIN (no room), -ETIME
 *            (the deadline passed while waiting for room), -ESHUTDOWN (the bridge is stopping).
 */
#ifndef MNEME_CORE_BRIDGE_H
#define MNEME_CORE_BRIDGE_H

#include "pool/histogram.h"

#include <stdint.h>

enum bridge_priority {
	BRIDGE_CRITICAL, /* the log */
	BRIDGE_HIGH,     /* reads that miss */
	BRIDGE_NORMAL,   /* index inserts */
	BRIDGE_LOW,      /* embedding, checkpoint, compaction, sealing */
	BRIDGE_PRIORITIES,
};

enum bridge_flags {
	BRIDGE_WAIT = 1, /* block until there is room, at most until the task's deadline */
};

enum {
	BRIDGE_WORKERS_MAX = 64,
	BRIDGE_QUEUES_MAX = 32,
	BRIDGE_PERIODICS_MAX = 32,
	BRIDGE_BATCH_MAX = 1024,
};

struct bridge;
struct bridge_queue;
struct bridge_periodic;

/* Embedded in what is to be done. From an accepted submit until `run` is called it belongs to the
 * bridge; `run` may free or submit it again. */
struct bridge_task {
	/* status: 0; -ETIME: picked up after the deadline, not done; -ECANCELED: the bridge was
	 * stopped without draining; in a queue: what the handler returned. */
	void (*run)(struct bridge_task *task, int status);
	uint64_t deadline_ns; /* by bridge_now_ns(); 0: none */
	uint64_t queued_ns;   /* the bridge's: when it was submitted */
};

struct bridge_config {
	unsigned workers;                  /* threads; 0: cores + 2 */
	uint32_t depth[BRIDGE_PRIORITIES]; /* most waiting tasks; 0: 4096 */
	uint32_t spin_ns; /* while work comes within this time after the last, an idle
			   * worker looks around for it instead of sleeping;
			   * 0: 10 us where there is more than one core */
};

/* Nanoseconds of the monotonic clock, the clock of deadlines. */
uint64_t bridge_now_ns(void);

/* Starts the threads, which take no signals but those of faults. config may be NULL.
 * -EINVAL, -ENOMEM, -EAGAIN (no thread).
 * Owned by the caller until bridge_free(). */
int bridge_new(const struct bridge_config *config, struct bridge **out);
/* Refuses further submits, stops the periodic tasks, then finishes what waits: with `cancel` set by
 * run(task, -ECANCELED), otherwise by doing it. Joins the threads; frees queues and periodics too.
 * Not from a worker; all calls of other threads must have returned before.
 * Accepts NULL. */
void bridge_free(struct bridge *bridge, int cancel);
/* Waits until nothing waits and nothing runs, of what was submitted before and meanwhile.
 * Not from a worker (-EDEADLK). */
int bridge_drain(struct bridge *bridge);
/* The number of worker threads. */
unsigned bridge_workers(const struct bridge *bridge);

/* Queues a task, which is the bridge's until its function is called. With BRIDGE_WAIT it waits for
 * room in a full queue (not in a worker), otherwise a full queue is -EAGAIN. */
int bridge_submit(struct bridge *bridge, struct bridge_task *task, enum bridge_priority priority,
		  unsigned flags);
/* The same with a pooled record instead of an own one: calls fn(arg, status). */
int bridge_call(struct bridge *bridge, void (*fn)(void *arg, int status), void *arg,
		enum bridge_priority priority, uint64_t deadline_ns, unsigned flags);

/* A batch queue. */
struct bridge_queue_config {
	const char *name; /* for the metrics; kept by reference */
	enum bridge_priority priority;
	uint32_t depth;      /* most waiting tasks; 0: 4096 */
	uint32_t item_bytes; /* memory that one task's handling touches; 0: 4096 */
	uint32_t batch_min;  /* 0: 1 */
	uint32_t batch_max;  /* 0: BRIDGE_BATCH_MAX, and never above it */
	uint64_t budget_ns;  /* a batch should not take longer; 0: no such bound */
	/* Does the work of n (>= 1) tasks; tasks[0] is the oldest. The result goes to the `run` of
	 * each. Tasks past their deadlines are not among them. */
	int (*handle)(void *ctx, struct bridge_task **tasks, unsigned n);
	void *ctx;
};

/* -EINVAL, -ENOMEM, -ENOSPC (BRIDGE_QUEUES_MAX). Lives as long as the bridge. */
int bridge_queue_new(struct bridge *bridge, const struct bridge_queue_config *config,
		     struct bridge_queue **out);
/* The same as bridge_submit(), into the queue. */
int bridge_queue_submit(struct bridge_queue *queue, struct bridge_task *task, unsigned flags);

/* Calls fn(arg, 0) on a worker each `period_ns` (>= 1 ms), first after one period. A call that is
 * still waiting or running when the next is due makes that one be left out. With period 0 it is an
 * alarm: fn is called only as bridge_periodic_at() asks. -EINVAL, -ENOSPC (BRIDGE_PERIODICS_MAX). */
int bridge_periodic_new(struct bridge *bridge, uint64_t period_ns, enum bridge_priority priority,
			void (*fn)(void *arg, int status), void *arg, struct bridge_periodic **out);
/* Changes the period; counts from now. */
int bridge_periodic_set(struct bridge_periodic *periodic, uint64_t period_ns);
/* Makes the next call come at `when_ns` (bridge_now_ns()), unless it comes earlier anyway. It is never
 * left out: a call that has begun before is followed by another one. May be called from fn. */
void bridge_periodic_at(struct bridge_periodic *periodic, uint64_t when_ns);
/* Ends it; when this returns fn does not run and never will again. Not from fn itself (-EDEADLK).
 */
int bridge_periodic_stop(struct bridge_periodic *periodic);

struct bridge_priority_stats {
	uint64_t submitted; /* accepted, queues' tasks included */
	uint64_t run;       /* finished with the work done */
	uint64_t refused;   /* -EAGAIN, -ETIME, -ESHUTDOWN at submit */
	uint64_t expired;   /* finished with -ETIME */
	uint64_t canceled;  /* finished with -ECANCELED by the bridge */
	uint64_t depth;     /* waiting now */
	uint64_t
		depth_max; /* high-water mark of a single gate: the priority's own or one queue's */
};

struct bridge_stats {
	struct bridge_priority_stats priority[BRIDGE_PRIORITIES];
	uint64_t inflight; /* accepted and not finished */
	uint64_t wakes;    /* system calls to wake a worker */
	uint64_t sleeps;   /* times that a worker went to sleep */
	uint64_t periodic_left_out;
	unsigned workers;
	unsigned queues;
};

struct bridge_queue_stats {
	const char *name;
	uint64_t depth, depth_max; /* tasks */
	uint64_t submitted, refused, batches;
	unsigned batch_now, batch_limit; /* the batcher's size and its bound by caches */
};

void bridge_read_stats(struct bridge *bridge, struct bridge_stats *out);
/* Adds the queueing latencies (submit to start, ns) of a priority to `into`. */
void bridge_merge_latency(struct bridge *bridge, enum bridge_priority priority,
			  struct histogram *into);
/* The index-th queue (0 .. stats.queues - 1): -ENOENT beyond. `sizes`, if not NULL, gets the
 * histogram of batch sizes added. */
int bridge_queue_read_stats(struct bridge *bridge, unsigned index, struct bridge_queue_stats *out,
			    struct histogram *sizes);

#endif
