/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   makes, frees and sums the counters of counters.h.
 */
#include "pool/counters.h"
#include "pool/alloc.h"

#include <errno.h>
#include <string.h>

enum { CELLS_A_LINE = CACHE_LINE / sizeof(uint64_t), COUNTERS_MAX = 4096 };

int counters_init(struct counters *counters, uint32_t count)
{
	memset(counters, 0, sizeof(*counters));
	if (!count || count > COUNTERS_MAX)
		return -EINVAL;
	counters->count = count;
	counters->stride = (count + CELLS_A_LINE - 1) / CELLS_A_LINE * CELLS_A_LINE;
	size_t bytes = (size_t)(THREAD_SLOTS + 1) * counters->stride * sizeof(uint64_t);
	counters->cells = alloc_aligned(CACHE_LINE, bytes);
	if (!counters->cells)
		return -ENOMEM;
	memset((void *)counters->cells, 0, bytes);
	return 0;
}

void counters_destroy(struct counters *counters)
{
	alloc_free((void *)counters->cells);
	memset(counters, 0, sizeof(*counters));
}

uint64_t counters_sum(const struct counters *counters, uint32_t which)
{
	uint64_t sum = atomic_load_explicit(
		&counters->cells[THREAD_SLOTS * counters->stride + which], memory_order_relaxed);

	for (int slot = 0; slot < thread_slots_used(); slot++)
		sum += atomic_load_explicit(
			&counters->cells[(uint32_t)slot * counters->stride + which],
			memory_order_relaxed);
	return sum;
}
