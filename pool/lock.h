/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a small reader-writer lock for critical sections of a microsecond or so, with the one
 *            ranked table of all locks of the engine. It spins for a bounded time before it sleeps,
 *            because a sleep and a wake-up cost tens of microseconds.
 * Invariants: a thread that holds a lock of rank r takes only locks of a higher rank (for shards:
 *            rank LOCK_SHARD + index, ascending). Debug builds (-Ddebug_checks=true) assert it.
 *            A waiting writer holds new readers back, so writers do not starve; a writer that
 *            leaves lets sleeping readers and writers compete, so readers do not starve either.
 * Threading: word: bit 31 writer inside, bit 30 somebody sleeps, bits 0..29 readers inside.
 * Failure:   none; not recursive.
 */
#ifndef MNEME_POOL_LOCK_H
#define MNEME_POOL_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

/* Rank order: lower is taken first. */
enum lock_rank {
	LOCK_ESCALATION = 1,  /* txn: gives one starved transaction the right of way */
	LOCK_CHECKPOINT = 2,  /* one checkpoint at a time */
	LOCK_SHARD = 16,      /* + shard index, up to 64 shards */
	LOCK_ARENA = 96,      /* dirty arena: slot allocation */
	LOCK_HEAP = 100,      /* heap: space map */
	LOCK_HEAP_MAP = 104,  /* heap: pieces of the map, copies of pages */
	LOCK_WAL_FLUSH = 110, /* wal: one flusher at a time */
	LOCK_WAL_APPEND = 112,/* wal: log buffer tail */
	LOCK_LEAF = 200,      /* whatever takes no other lock inside */
};

struct lock {
	_Atomic uint32_t word;    /* [A] */
	_Atomic uint32_t writers; /* [A] writers that wait */
	uint32_t rank;            /* [I] */
};

void lock_init(struct lock *lk, uint32_t rank);
void lock_read_slow(struct lock *lk);
void lock_write_slow(struct lock *lk);
void lock_wake(struct lock *lk);

#define LOCK_WRITER (1u << 31)
#define LOCK_SLEEPERS (1u << 30)
#define LOCK_READERS (LOCK_SLEEPERS - 1)

#ifdef MNEME_DEBUG_CHECKS
void lock_rank_enter(const struct lock *lk);
void lock_rank_leave(const struct lock *lk);
#else
#define lock_rank_enter(lk) ((void)0)
#define lock_rank_leave(lk) ((void)0)
#endif

static inline void lock_write(struct lock *lk)
{
	uint32_t free_word = 0;

	lock_rank_enter(lk);
	/* acquire: pairs with the releases in lock_write_done() and lock_read_done() */
	if (!atomic_compare_exchange_strong_explicit(&lk->word, &free_word, LOCK_WRITER,
						     memory_order_acquire, memory_order_relaxed))
		lock_write_slow(lk);
}

static inline void lock_write_done(struct lock *lk)
{
	lock_rank_leave(lk);
	/* release: what was changed inside is seen by the next acquire */
	uint32_t old = atomic_exchange_explicit(&lk->word, 0, memory_order_release);
	if (__builtin_expect(old & LOCK_SLEEPERS, 0))
		lock_wake(lk);
}

static inline void lock_read(struct lock *lk)
{
	uint32_t word = atomic_load_explicit(&lk->word, memory_order_relaxed);

	lock_rank_enter(lk);
	/* acquire: pairs with the release in lock_write_done() */
	if (__builtin_expect((word & (LOCK_WRITER | LOCK_SLEEPERS)) ||
			     atomic_load_explicit(&lk->writers, memory_order_relaxed), 0) ||
	    !atomic_compare_exchange_strong_explicit(&lk->word, &word, word + 1,
						     memory_order_acquire, memory_order_relaxed))
		lock_read_slow(lk);
}

static inline void lock_read_done(struct lock *lk)
{
	lock_rank_leave(lk);
	/* release: a writer that enters next sees that the reading is over */
	uint32_t old = atomic_fetch_sub_explicit(&lk->word, 1, memory_order_release);
	if (__builtin_expect((old & LOCK_SLEEPERS) && (old & LOCK_READERS) == 1, 0))
		lock_wake(lk);
}

#endif
