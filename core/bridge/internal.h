/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the files of the bridge share.
 *
 *   submit: inflight + 1 -> gate (depth + 1) -> ring push -> signal
 *   worker: pick (credits, slots) -> ring pop -> gate (depth - 1) -> run -> inflight - 1
 *   queue: its own gate and ring; a token of the queue in its priority's ring stands for "has
 *           work", and a worker that picks the token takes one batch, then puts the token back
 *           behind the others.
 *
 * Sleeping without lost wake-ups
 *   `idle` counts spinners (workers that look for work) and sleepers in one word. A submitter
 *   pushes, then passes a read-modify-write of `idle`; if there is a spinner for each waiting
 *   task it does nothing more, else it turns one sleeper into a spinner and posts a ticket for
 *   it. A worker that stops spinning, to sleep or because it found work, passes a
 *   read-modify-write of `idle` too and looks at all rings after it (in the second case only as
 *   the last spinner, to wake another). All are acq_rel on one word, so of the two one is later:
 *   the worker's, then its look sees the push; or the submitter's, then it sees the counts
 *   without that spinner and wakes somebody. A look counts only what may start now (a free slot
 *   of its class), and a submitter wakes nobody for a task that has no slot. Whoever gives a slot
 *   back picks that task next, or, having picked another kind, looks for the others' sake after
 *   one more pass of `idle`: again one of the two is later.
 */
#ifndef MNEME_CORE_BRIDGE_INTERNAL_H
#define MNEME_CORE_BRIDGE_INTERNAL_H

#include "core/bridge/batcher.h"
#include "core/bridge/bridge.h"
#include "core/bridge/gate.h"
#include "pool/counters.h"
#include "pool/records.h"
#include "pool/ring.h"

#include <pthread.h>

enum { COUNT_SUBMITTED = 0, COUNT_REFUSED = BRIDGE_PRIORITIES, COUNT_ALL = 2 * BRIDGE_PRIORITIES };

/* bridge->idle */
#define SPINNER_ONE ((uint64_t)1)
#define SLEEPER_ONE ((uint64_t)1 << 32)
#define SPINNERS(word) ((uint32_t)(word))
#define SLEEPERS(word) ((uint32_t)((word) >> 32))

/* bridge->inflight: stopping | waiters for drain (31 bits) | tasks (32 bits) */
#define INFLIGHT_STOPPING ((uint64_t)1 << 63)
#define INFLIGHT_WAITER ((uint64_t)1 << 32)
#define INFLIGHT_TASKS(word) ((uint32_t)(word))
#define INFLIGHT_WAITERS(word) ((uint32_t)(((word) & ~INFLIGHT_STOPPING) >> 32))

/* bridge->slots: workers at normal or low work | of these, at low work */
#define SLOT_LOW ((uint64_t)1)
#define SLOT_BACKGROUND ((uint64_t)1 << 32)

struct worker {
	struct bridge *bridge;              /* [I] */
	pthread_t thread;                   /* [I] */
	uint32_t credit[BRIDGE_PRIORITIES]; /* the worker's */
	uint64_t idle_since;                /* ns, the worker's */
	uint64_t spin_until;                /* ns, the worker's: look around before, sleep after */
	uint64_t gap_ns;         /* the worker's: how long it was idle last before work came */
	_Atomic uint64_t sleeps; /* [A] written by the worker alone, as all below */
	_Atomic uint64_t run[BRIDGE_PRIORITIES];
	_Atomic uint64_t expired[BRIDGE_PRIORITIES];
	_Atomic uint64_t canceled[BRIDGE_PRIORITIES];
	struct histogram latency[BRIDGE_PRIORITIES]; /* ns from submit to start */
};

struct bridge_queue {
	struct bridge_task token;          /* stands in the priority's ring; see `scheduled` */
	struct bridge *bridge;             /* [I] */
	struct bridge_queue_config config; /* [I] defaults filled in */
	struct gate gate;
	struct ring ring;
	_Atomic uint32_t scheduled;          /* [A] 1: the token is in a ring or has its turn */
	struct batcher batcher;              /* the turn's */
	struct bridge_task **batch;          /* the turn's; batcher.limit entries */
	struct histogram sizes;              /* [A] written in the turn alone */
	_Atomic uint64_t submitted, refused; /* [A] */
};

struct bridge_periodic {
	struct bridge_task task;           /* [I] */
	struct bridge *bridge;             /* [I] */
	void (*fn)(void *arg, int status); /* timer mutex */
	void *arg;                         /* timer mutex */
	uint64_t period_ns;                /* timer mutex */
	uint64_t due_ns;                   /* timer mutex */
	int asked;                         /* timer mutex: due by bridge_periodic_at() */
	enum bridge_priority priority;     /* timer mutex */
	int active;                        /* timer mutex: calls are wanted */
	int busy;                          /* timer mutex: waits or runs */
};

struct timer {
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* the timer's thread sleeps here */
	pthread_cond_t rested;  /* bridge_periodic_stop() sleeps here */
	pthread_t thread;
	int quit;                                              /* mutex */
	uint64_t next_ns;                                      /* mutex: until when it sleeps */
	uint64_t left_out;                                     /* mutex */
	struct bridge_periodic periodic[BRIDGE_PERIODICS_MAX]; /* mutex */
};

struct bridge {
	unsigned workers_count;    /* [I] */
	uint32_t spin_ns;          /* [I] */
	uint32_t slots_background; /* [I] most workers at normal or low work */
	uint32_t slots_low;        /* [I] most at low work */
	struct worker *workers;    /* [I] */
	struct records *calls;     /* bridge_call() records */
	struct counters counts;    /* COUNT_... */
	struct ring ring[BRIDGE_PRIORITIES];
	struct gate gate[BRIDGE_PRIORITIES];
	alignas(CACHE_LINE) _Atomic uint64_t idle;      /* [A] */
	alignas(CACHE_LINE) _Atomic uint64_t inflight;  /* [A] */
	_Atomic uint32_t drained;                       /* [A] futex of bridge_drain() */
	alignas(CACHE_LINE) _Atomic uint64_t slots;     /* [A] */
	alignas(CACHE_LINE) _Atomic uint32_t tickets;   /* [A] futex: one a woken sleeper */
	_Atomic uint64_t wakes;                         /* [A] */
	_Atomic int cancel;                             /* [A] set before stopping */
	_Atomic int quit;                               /* [A] workers end */
	pthread_mutex_t mutex;                          /* making queues */
	_Atomic uint32_t queues_count;                  /* [A] raised under mutex */
	struct bridge_queue *queues[BRIDGE_QUEUES_MAX]; /* [I] below queues_count */
	struct timer timer;
};

/* worker.c */
extern _Thread_local struct worker *worker_self;
int workers_start(struct bridge *bridge);
void workers_stop(struct bridge *bridge);
/* After a push: makes sure that somebody will look. */
void workers_signal(struct bridge *bridge, enum bridge_priority priority);
/* Counts and calls a finished task. */
void worker_finish(struct worker *worker, struct bridge_task *task, enum bridge_priority priority,
		   int status);
void worker_note_latency(struct worker *worker, const struct bridge_task *task,
			 enum bridge_priority priority, uint64_t now);

/* bridge.c */
/* Counts one more task; -ESHUTDOWN if the bridge is stopping. */
int inflight_enter(struct bridge *bridge);
void inflight_leave(struct bridge *bridge, uint32_t count);
/* Puts a task or token into its priority's ring, past the gate. */
void ring_put(struct ring *ring, void *item);

/* queue.c */
int task_is_token(const struct bridge_task *task);
/* Takes one batch of the queue that the token stands for. */
void queue_turn(struct worker *worker, struct bridge_task *token);
void queues_free(struct bridge *bridge);

/* periodic.c */
int task_is_periodic(const struct bridge_task *task);
int timer_start(struct bridge *bridge);
void timer_stop(struct bridge *bridge);

static inline void count_owned(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

#endif
