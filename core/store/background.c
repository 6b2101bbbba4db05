/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see background.h.
 * Invariants: `flush_armed`, `old_armed`: 1 from the arming of the alarm until it has gone off. Who
 *            sees 1 relies on the alarm to see his commit: he passes a fence after it, the alarm's
 *            handler one between clearing the flag and looking (Dekker).
 *            `checkpoint`: IDLE -> ASKED (a task waits) -> URGENT (and the late alarm was brought
 *            forward) -> RUNNING -> IDLE. Of the task and the late alarm, the first to come runs it.
 */
#include "core/store/background.h"
#include "core/bridge/bridge.h"
#include "core/store/checkpoint_inside.h"
#include "core/store/packer.h"
#include "pool/alloc.h"

#include <errno.h>

enum {
	LOG_SEGMENTS_BEFORE_CHECKPOINT = 16,
	LOG_SEGMENTS_URGENT = 24,
	LATE_MS = 1000,
	REST_MS = 1000,
	REST_SHARE = 8, /* of the arena: not kept for the next checkpoint's turn */
	PACK_REST = 9,  /* times the length of a step: the rest before the next one */
	PACK_REST_MS = 10,
	PACK_CROWDED_MS = 1000,
};
#define MS 1000000ull

enum { IDLE, ASKED, URGENT, RUNNING };

struct work {
	struct bridge_task task; /* first member */
	struct background *owner;
};

struct background {
	struct bridge *bridge;                     /* [I] */
	struct bridge_periodic *flush_alarm;       /* [I] */
	struct bridge_periodic *old, *late, *pack; /* [I] */
	struct bridge_periodic *rest;              /* [I] */
	struct work flush_task, spare_task, checkpoint_task;
	struct mneme *m;               /* [I] */
	uint64_t rest_commits;         /* [rest's alarm] made when it looked last */
	_Atomic int flush_armed;       /* [A] */
	_Atomic int flush_queued;      /* [A] flush_task is the bridge's */
	_Atomic int spare_queued;      /* [A] spare_task is */
	_Atomic int old_armed;         /* [A] */
	_Atomic int rest_armed;        /* [A] */
	_Atomic int checkpoint;        /* [A] */
	_Atomic int checkpoint_queued; /* [A] checkpoint_task is the bridge's */
	_Atomic uint64_t checkpointed; /* [A] ns; end of the last one */
	_Atomic int stop;              /* [A] */
};

static int flag_raise(_Atomic int *flag)
{
	return !atomic_load_explicit(flag, memory_order_relaxed) &&
	       !atomic_exchange_explicit(flag, 1, memory_order_acq_rel);
}

static int flag_move(_Atomic int *flag, int from, int to)
{
	return atomic_compare_exchange_strong_explicit(flag, &from, to, memory_order_acq_rel,
						       memory_order_relaxed);
}

/* ---- the log ---- */

static void spare_run(struct bridge_task *task, int status)
{
	struct background *b = ((struct work *)task)->owner;

	(void)status;
	/* A failure is met again, and decided on, by who needs the segment. */
	if (!atomic_load_explicit(&b->stop, memory_order_relaxed))
		(void)wal_prepare(&b->m->wal);
	atomic_store_explicit(&b->spare_queued, 0, memory_order_release);
}

static void spare_ask(struct background *b)
{
	if (wal_wants_spare(&b->m->wal) && flag_raise(&b->spare_queued) &&
	    bridge_submit(b->bridge, &b->spare_task.task, BRIDGE_NORMAL, 0) < 0)
		atomic_store_explicit(&b->spare_queued, 0, memory_order_release);
}

static void flush_arm(struct background *b)
{
	if (flag_raise(&b->flush_armed))
		bridge_periodic_at(b->flush_alarm, bridge_now_ns() + b->m->options.flush_ms * MS);
}

static void flush(struct background *b)
{
	struct mneme *m = b->m;
	uint64_t next = wal_next(&m->wal);

	if (next > atomic_load_explicit(&m->wal.durable, memory_order_relaxed)) {
		int rc = wal_sync_to(&m->wal, next);
		if (rc == -ENOSPC || rc == -ENOMEM)
			checkpoint_run(m);
		else if (rc < 0)
			store_fail(m, rc, "the log could not be written");
		spare_ask(b);
	}
	/* What came meanwhile, or found no segment. */
	if (atomic_load_explicit(&m->wal.pending, memory_order_relaxed) && store_writable(m) == 0)
		flush_arm(b);
}

static void flush_run(struct bridge_task *task, int status)
{
	struct background *b = ((struct work *)task)->owner;

	(void)status;
	atomic_store_explicit(&b->flush_queued, 0, memory_order_seq_cst);
	flush(b);
}

static void flush_due(void *arg, int status)
{
	struct background *b = arg;

	(void)status;
	/* seq_cst: see the head of this file */
	atomic_store_explicit(&b->flush_armed, 0, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	flush(b);
}

/* ---- checkpoints ---- */

/* 0: not due; 1: due; 2: urgent. */
static int checkpoint_need(struct mneme *m)
{
	uint64_t budget = atomic_load_explicit(&m->dirty.budget, memory_order_relaxed);
	uint64_t log = checkpoint_log_bytes(m), segment = m->wal.segment_bytes;

	if (budget > m->dirty.budget_max / 4 * 3 || log > segment * LOG_SEGMENTS_URGENT)
		return 2;
	return budget > m->dirty.budget_max / 2 || log > segment * LOG_SEGMENTS_BEFORE_CHECKPOINT;
}

static void checkpoint_ask(struct background *b)
{
	int need = checkpoint_need(b->m);

	if (!need)
		return;
	int now = atomic_load_explicit(&b->checkpoint, memory_order_relaxed);
	if (now == IDLE && flag_move(&b->checkpoint, IDLE, ASKED)) {
		/* The task of the one before may still wait, overtaken by the late alarm: it does. */
		if (flag_raise(&b->checkpoint_queued) &&
		    bridge_submit(b->bridge, &b->checkpoint_task.task, BRIDGE_LOW, 0) < 0)
			atomic_store_explicit(&b->checkpoint_queued, 0, memory_order_release);
		bridge_periodic_at(b->late, bridge_now_ns() + LATE_MS * MS);
	} else if (need == 2 && now == ASKED && flag_move(&b->checkpoint, ASKED, URGENT)) {
		bridge_periodic_at(b->late, bridge_now_ns());
	}
}

/* When a checkpoint has to be due at the latest, ns. */
static uint64_t checkpoint_due(struct background *b)
{
	return atomic_load_explicit(&b->checkpointed, memory_order_relaxed) +
	       b->m->options.checkpoint_ms * MS;
}

int background_make_room(struct mneme *m)
{
	struct background *b = m->background;
	int rc;

	if (checkpoint_log_bytes(m) <= m->wal.segment_bytes * LOG_SEGMENTS_BEFORE_CHECKPOINT &&
	    (!b || bridge_now_ns() < checkpoint_due(b)))
		return checkpoint_spill(m);
	rc = checkpoint_run(m);
	if (b)
		atomic_store_explicit(&b->checkpointed, bridge_now_ns(), memory_order_relaxed);
	return rc;
}

/* Does what was asked for, unless somebody does. */
static void checkpoint_take(struct background *b)
{
	struct mneme *m = b->m;

	if (!flag_move(&b->checkpoint, ASKED, RUNNING) &&
	    !flag_move(&b->checkpoint, URGENT, RUNNING))
		return;
	if (!atomic_load_explicit(&b->stop, memory_order_acquire) && store_writable(m) == 0) {
		(void)background_make_room(m);
		if (m->packer)
			bridge_periodic_at(b->pack, bridge_now_ns());
	}
	atomic_store_explicit(&b->checkpoint, IDLE, memory_order_release);
}

static void checkpoint_task_run(struct bridge_task *task, int status)
{
	struct background *b = ((struct work *)task)->owner;

	(void)status;
	atomic_store_explicit(&b->checkpoint_queued, 0, memory_order_release);
	checkpoint_take(b);
}

static void checkpoint_late(void *arg, int status)
{
	(void)status;
	checkpoint_take(arg);
}

static void rest_arm(struct background *b)
{
	if (flag_raise(&b->rest_armed))
		bridge_periodic_at(b->rest, bridge_now_ns() + REST_MS * MS);
}

static int is_durable(const struct mneme *m)
{
	return !atomic_load_explicit(&((struct mneme *)m)->dirty.live, memory_order_relaxed) &&
	       !atomic_load_explicit(&m->checkpoint->spilled, memory_order_relaxed);
}

/* A dirty store that nothing else made a checkpoint of. */
static void checkpoint_old(void *arg, int status)
{
	struct background *b = arg;
	struct mneme *m = b->m;
	uint64_t due = checkpoint_due(b);

	(void)status;
	if (bridge_now_ns() < due) {
		bridge_periodic_at(b->old, due);
		return;
	}
	/* seq_cst: see the head of this file */
	atomic_store_explicit(&b->old_armed, 0, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	if (!is_durable(m) && flag_move(&b->checkpoint, IDLE, ASKED)) {
		checkpoint_take(b);
		(void)wal_trim(&m->wal);
		rest_arm(b);
	}
	/* A spill that was under way made nothing durable, and perhaps nothing more is committed. */
	if (!is_durable(m) && store_writable(m) == 0 && flag_raise(&b->old_armed))
		bridge_periodic_at(b->old, bridge_now_ns() + REST_MS * MS);
}

/* Nothing was committed for a while: what the arena keeps for the next burst serves better as map. */
static void arena_rest(void *arg, int status)
{
	struct background *b = arg;
	struct mneme *m = b->m;
	uint64_t commits = 0;

	(void)status;
	atomic_store_explicit(&b->rest_armed, 0, memory_order_relaxed);
	for (uint32_t i = 0; i < m->shard_count; i++)
		commits += atomic_load_explicit(&m->shards[i].commits, memory_order_relaxed);
	/* acquire: what a checkpoint that is not over empties, comes next time */
	if (commits == b->rest_commits &&
	    atomic_load_explicit(&b->checkpoint, memory_order_acquire) == IDLE) {
		if (atomic_load_explicit(&m->dirty.live, memory_order_relaxed) >
			    m->dirty.budget_max / REST_SHARE &&
		    flag_move(&b->checkpoint, IDLE, ASKED))
			checkpoint_take(b);
		dirty_trim(&m->dirty);
		heap_map_limit(&m->heap, store_map_bytes(m));
	} else {
		rest_arm(b);
	}
	b->rest_commits = commits;
}

/* ---- packing ---- */

/* One step of a pass. A pass that lacks room is given up: it begins again after another checkpoint. */
static void pack_due(void *arg, int status)
{
	struct background *b = arg;
	uint64_t begin = bridge_now_ns();

	(void)status;
	if (atomic_load_explicit(&b->stop, memory_order_acquire))
		return;
	int rc = packer_step(b->m);
	uint64_t now = bridge_now_ns(), rest = PACK_REST * (now - begin);
	if (rc == -EBUSY)
		rest = PACK_CROWDED_MS * MS;
	else if (rest < PACK_REST_MS * MS)
		rest = PACK_REST_MS * MS;
	if (rc > 0 || rc == -EBUSY)
		bridge_periodic_at(b->pack, now + rest);
}

void background_poke(struct mneme *m)
{
	struct background *b = m->background;

	if (!b)
		return;
	uint64_t pending = atomic_load_explicit(&m->wal.pending, memory_order_relaxed);
	/* seq_cst: see the head of this file */
	atomic_thread_fence(memory_order_seq_cst);
	if (pending > m->options.flush_bytes && flag_raise(&b->flush_queued) &&
	    bridge_submit(b->bridge, &b->flush_task.task, BRIDGE_CRITICAL, 0) < 0)
		atomic_store_explicit(&b->flush_queued, 0, memory_order_release);
	if (pending)
		flush_arm(b);
	spare_ask(b);
	checkpoint_ask(b);
	if (flag_raise(&b->old_armed))
		bridge_periodic_at(b->old, bridge_now_ns() + m->options.checkpoint_ms * MS);
	rest_arm(b);
	heap_map_limit(&m->heap, store_map_bytes(m));
}

/* ---- start and end ---- */

static int alarms_make(struct background *b)
{
	struct bridge *bridge = b->bridge;
	int rc = bridge_periodic_new(bridge, 0, BRIDGE_CRITICAL, flush_due, b, &b->flush_alarm);

	if (rc == 0)
		rc = bridge_periodic_new(bridge, 0, BRIDGE_LOW, checkpoint_old, b, &b->old);
	if (rc == 0)
		rc = bridge_periodic_new(bridge, 0, BRIDGE_HIGH, checkpoint_late, b, &b->late);
	if (rc == 0)
		rc = bridge_periodic_new(bridge, 0, BRIDGE_LOW, pack_due, b, &b->pack);
	if (rc == 0)
		rc = bridge_periodic_new(bridge, 0, BRIDGE_LOW, arena_rest, b, &b->rest);
	return rc;
}

int background_start(struct mneme *m)
{
	struct background *b = alloc_zeroed(1, sizeof *b);
	int rc = b ? bridge_new(NULL, &b->bridge) : -ENOMEM;

	if (rc < 0) {
		alloc_free(b);
		return rc;
	}
	b->m = m;
	b->checkpointed = bridge_now_ns();
	b->flush_task = (struct work){{.run = flush_run}, b};
	b->spare_task = (struct work){{.run = spare_run}, b};
	b->checkpoint_task = (struct work){{.run = checkpoint_task_run}, b};
	rc = alarms_make(b);
	if (rc < 0) {
		bridge_free(b->bridge, 1);
		alloc_free(b);
		return rc;
	}
	m->background = b;
	if (m->packer) /* what the last pass of an earlier time did not reach */
		bridge_periodic_at(b->pack, bridge_now_ns() + m->options.checkpoint_ms * MS);
	return 0;
}

void background_stop(struct mneme *m)
{
	struct background *b = m->background;

	if (!b)
		return;
	atomic_store_explicit(&b->stop, 1, memory_order_release);
	bridge_free(b->bridge, 0);
	alloc_free(b);
	m->background = NULL;
}

struct bridge *background_bridge(const struct mneme *m)
{
	return m->background ? m->background->bridge : NULL;
}
