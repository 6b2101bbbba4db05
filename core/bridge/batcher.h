/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   decides how many tasks make a batch. A pure controller: it reads no clock and owns no
 *            thread, so a test can drive it with a simulated one.
 *
 *   The bound.  limit = min(L2 / 2, L3 / 2 / cores) / item_bytes: what a batch touches should
 *               stay in half of the core's L2, and in half of its share of the L3. And at most
 *               batch_max.
 *   The signal. backlog = smoothed number of waiting tasks at the start of a batch, divided by
 *               the servers, the workers that take from the same backlog (a batch should leave
 *               the others their share): an average with weight 1/8.
 *   The move.   backlog > size: increase, by size / 4 but at least 1.
 *               backlog < size / 4: decrease, by size / 8 but at least 1.
 *               in between: stay. The signal must fall to a quarter before the size follows it:
 *               so a step of the load makes one climb and no hunting.
 *   The budget. With budget_ns, the size is held under budget / (smoothed time a task), for one
 *               long batch is what the tasks behind it wait for. The time's average has weight
 *               1/8 too, and an increase stops 1/8 before the bound: the bound's own noise moves
 *               nothing.
 *
 * Invariants: min <= size <= limit.
 * Threading: one thread at a time (the bridge: whoever has the queue's turn); size may be read by
 *            others.
 * Failure:   none.
 */
#ifndef MNEME_CORE_BRIDGE_BATCHER_H
#define MNEME_CORE_BRIDGE_BATCHER_H

#include "core/bridge/machine.h"

#include <stdatomic.h>
#include <stdint.h>

struct batcher_config {
	uint32_t item_bytes; /* > 0 */
	uint32_t batch_min;  /* >= 1 */
	uint32_t batch_max;  /* >= batch_min */
	uint32_t servers;    /* >= 1 */
	uint64_t budget_ns;  /* 0: none */
};

struct batcher {
	_Atomic uint32_t size;        /* [A] */
	uint32_t min, limit, servers; /* [I] */
	uint64_t budget_ns;           /* [I] */
	uint64_t backlog_q8;          /* smoothed, times 256 */
	uint64_t item_ns_q8;          /* smoothed, times 256; 0: not known yet */
};

void batcher_init(struct batcher *batcher, const struct batcher_config *config,
		  const struct machine_facts *machine);

/* Most tasks to take now. */
static inline uint32_t batcher_size(const struct batcher *batcher)
{
	return atomic_load_explicit(&batcher->size, memory_order_relaxed);
}

/* After a batch: `waiting` tasks were there when it began, `taken` (>= 1) were handled in
 * `spent_ns`. */
void batcher_observe(struct batcher *batcher, uint64_t waiting, uint32_t taken, uint64_t spent_ns);

#endif
