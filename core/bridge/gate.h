/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   bounds the number of waiting tasks, and makes submitters wait for room: back-pressure.
 * Invariants: depth <= limit, always. Depth and the number of waiters live in one word, so that
 *            "still full, I wait" is one compare-and-swap, and whoever leaves learns of waiters
 *            in the same instruction: no wake-up is lost.
 * Threading: any thread. Waiters read `turn` before they register; a leaver that finds waiters
 *            changes `turn` (release, pairs with the acquire of the waiters' next look) and wakes
 *            them all. That is done once the depth is at three quarters, so that waiters do not
 *            wake for one place each; it passes that point before it is 0, so nobody waits
 *            forever.
 * Failure:   -EAGAIN full; -ETIME the deadline passed.
 */
#ifndef MNEME_CORE_BRIDGE_GATE_H
#define MNEME_CORE_BRIDGE_GATE_H

#include "pool/thread.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

struct gate {
	alignas(CACHE_LINE) _Atomic uint64_t word; /* [A] waiters << 32 | depth */
	_Atomic uint32_t depth_max;                /* [A] */
	_Atomic uint32_t turn;                     /* [A] futex */
	uint32_t limit;                            /* [I] */
};

void gate_init(struct gate *gate, uint32_t limit);
/* Takes a place; waits for one if `wait`, at most until deadline_ns (0: no end). */
int gate_enter(struct gate *gate, int wait, uint64_t deadline_ns);
/* Gives `count` places back. */
void gate_leave(struct gate *gate, uint32_t count);

static inline uint32_t gate_depth(const struct gate *gate)
{
	return (uint32_t)atomic_load_explicit(&gate->word, memory_order_relaxed);
}

#endif
