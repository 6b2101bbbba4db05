/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   gives each thread a small integer, its slot, so that a pool finds "my cache" or "my
 *            counter row" with one thread-local load and one index, for any number of pools.
 * Invariants: a slot has at most one owner at a time: the thread that it was given to, or, after
 *            that thread's end, a borrower (thread_slot_borrow) that clears up what was left in
 *            it.
 * Threading: taking a slot is an acquire compare-and-swap on taken[slot]; giving it back is a
 *            release store. So whatever the last owner wrote into per-slot data, without atomics,
 *            is visible to the next owner.
 * Failure:   beyond THREAD_SLOTS threads at once thread_slot() is negative: callers then use
 *            their shared path, which is slower and always correct.
 */
#ifndef MNEME_POOL_THREAD_H
#define MNEME_POOL_THREAD_H

enum { THREAD_SLOTS = 256, CACHE_LINE = 64 };

/* 0: not asked yet; > 0: slot + 1; -1: none left, or the thread is ending. */
extern _Thread_local int thread_slot_state __attribute__((tls_model("initial-exec")));

int thread_slot_take(void);

/* The calling thread's slot (0 .. THREAD_SLOTS - 1), or negative. Stable until the thread ends. */
static inline int thread_slot(void)
{
	int state = thread_slot_state;

	return __builtin_expect(state > 0, 1) ? state - 1 : thread_slot_take();
}

/* Number of slots that were ever in use: per-slot data above it was never touched. */
int thread_slots_used(void);

/* Claims a slot that no thread owns; 0, or -EBUSY while it has an owner. Hold it briefly and give
 * it back with thread_slot_return(). */
int thread_slot_borrow(int slot);
void thread_slot_return(int slot);

/* Tells the processor that this is a spin loop. */
static inline void thread_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
