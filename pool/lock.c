/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the slow paths of lock.h: spin a while, then sleep on the futex.
 * Invariants: LOCK_SLEEPERS is set before a thread sleeps on the word with that value, and cleared
 *            only together with a wake-up of all sleepers, so no wake-up is lost: the kernel compares
 *            the word once more before it puts the thread to sleep.
 */
#include "pool/lock.h"
#include "pool/check.h"

#include <linux/futex.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPIN_ROUNDS = 200 };

static void cpu_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void lock_init(struct lock *lk, uint32_t rank)
{
	atomic_store_explicit(&lk->word, 0, memory_order_relaxed);
	atomic_store_explicit(&lk->writers, 0, memory_order_relaxed);
	lk->rank = rank;
}

static void word_sleep(struct lock *lk, uint32_t seen)
{
	if (!(seen & LOCK_SLEEPERS)) {
		if (!atomic_compare_exchange_strong_explicit(&lk->word, &seen, seen | LOCK_SLEEPERS,
							     memory_order_relaxed,
							     memory_order_relaxed))
			return;
		seen |= LOCK_SLEEPERS;
	}
	syscall(SYS_futex, &lk->word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

void lock_wake(struct lock *lk)
{
	atomic_fetch_and_explicit(&lk->word, ~LOCK_SLEEPERS, memory_order_relaxed);
	syscall(SYS_futex, &lk->word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void lock_write_slow(struct lock *lk)
{
	atomic_fetch_add_explicit(&lk->writers, 1, memory_order_relaxed);
	for (unsigned round = 0;; round++) {
		uint32_t seen = atomic_load_explicit(&lk->word, memory_order_relaxed);
		if (!(seen & (LOCK_WRITER | LOCK_READERS))) {
			/* keeps LOCK_SLEEPERS: whoever sleeps is woken when this writer leaves */
			if (atomic_compare_exchange_weak_explicit(&lk->word, &seen,
								  seen | LOCK_WRITER,
								  memory_order_acquire,
								  memory_order_relaxed))
				break;
		} else if (round < SPIN_ROUNDS) {
			cpu_pause();
		} else {
			word_sleep(lk, seen);
		}
	}
	atomic_fetch_sub_explicit(&lk->writers, 1, memory_order_relaxed);
}

void lock_read_slow(struct lock *lk)
{
	for (unsigned round = 0;; round++) {
		uint32_t seen = atomic_load_explicit(&lk->word, memory_order_relaxed);
		int writers = atomic_load_explicit(&lk->writers, memory_order_relaxed) != 0;

		/* A reader that has waited long enough passes the waiting writers: no starvation. */
		if (!(seen & LOCK_WRITER) && (!writers || round > SPIN_ROUNDS)) {
			if (atomic_compare_exchange_weak_explicit(&lk->word, &seen, seen + 1,
								  memory_order_acquire,
								  memory_order_relaxed))
				return;
		} else if (round < SPIN_ROUNDS) {
			cpu_pause();
		} else if (seen & LOCK_WRITER) {
			word_sleep(lk, seen);
		}
	}
}

#ifdef MNEME_DEBUG_CHECKS
enum { RANKS_HELD_MAX = 80 };
static _Thread_local uint32_t ranks_held[RANKS_HELD_MAX];
static _Thread_local unsigned ranks_count;

void lock_rank_enter(const struct lock *lk)
{
	for (unsigned i = 0; i < ranks_count; i++)
		CHECK(ranks_held[i] < lk->rank);
	CHECK(ranks_count < RANKS_HELD_MAX);
	ranks_held[ranks_count++] = lk->rank;
}

void lock_rank_leave(const struct lock *lk)
{
	for (unsigned i = ranks_count; i-- > 0;)
		if (ranks_held[i] == lk->rank) {
			ranks_held[i] = ranks_held[--ranks_count];
			return;
		}
	CHECK(!"a lock is released that is not held");
}
#endif
