/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   counters that many threads raise and few read: each thread has a row of its own,
 *            padded to cache lines, so raising is an ordinary add in a line that no other core
 *            writes.
 * Invariants: row s is written by the owner of thread slot s alone; threads without a slot share
 *            the last row with atomic adds. The sum over rows never goes back for a counter that
 *            is only raised.
 * Threading: any thread may add and sum. A sum taken while others add is some value in between.
 * Failure:   none after counters_init().
 */
#ifndef MNEME_POOL_COUNTERS_H
#define MNEME_POOL_COUNTERS_H

#include "pool/thread.h"

#include <stdatomic.h>
#include <stdint.h>

struct counters {
	_Atomic uint64_t *cells; /* [I] rows of `stride` cells */
	uint32_t stride;         /* [I] cells a row: whole cache lines */
	uint32_t count;          /* [I] counters */
};

/* Makes `count` (1 .. 4096) counters, all 0. -EINVAL, -ENOMEM. */
int counters_init(struct counters *counters, uint32_t count);
void counters_destroy(struct counters *counters);

/* Adds `n` (also negative, as two's complement) to counter `which` < count. */
static inline void counters_add(struct counters *counters, uint32_t which, uint64_t n)
{
	int slot = thread_slot();

	if (__builtin_expect(slot >= 0, 1)) {
		_Atomic uint64_t *cell =
			&counters->cells[(uint32_t)slot * counters->stride + which];
		/* one writer: no locked instruction needed */
		atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n,
				      memory_order_relaxed);
	} else {
		atomic_fetch_add_explicit(&counters->cells[THREAD_SLOTS * counters->stride + which],
					  n, memory_order_relaxed);
	}
}

uint64_t counters_sum(const struct counters *counters, uint32_t which);

#endif
