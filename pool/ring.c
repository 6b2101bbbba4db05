/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   makes, frees and validates the ring of ring.h.
 */
#include "pool/ring.h"
#include "pool/alloc.h"

#include <string.h>

int ring_init(struct ring *ring, uint32_t size)
{
	uint64_t rounded = 2;

	memset(ring, 0, sizeof(*ring));
	if (size < 2 || size > 1u << 26)
		return -EINVAL;
	while (rounded < size)
		rounded *= 2;
	ring->cells = alloc_aligned(CACHE_LINE, rounded * sizeof(*ring->cells));
	if (!ring->cells)
		return -ENOMEM;
	ring->mask = rounded - 1;
	for (uint64_t i = 0; i < rounded; i++)
		atomic_store_explicit(&ring->cells[i].sequence, i, memory_order_relaxed);
	return 0;
}

void ring_destroy(struct ring *ring)
{
	alloc_free(ring->cells);
	ring->cells = NULL;
}

int ring_validate(const struct ring *ring)
{
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);

	if (tail < head || tail - head > ring->mask + 1)
		return -EUCLEAN;
	for (uint64_t pos = head; pos <= head + ring->mask; pos++) {
		const struct ring_cell *cell = &ring->cells[pos & ring->mask];
		uint64_t sequence = atomic_load_explicit(&cell->sequence, memory_order_acquire);
		if (sequence != (pos < tail ? pos + 1 : pos))
			return -EUCLEAN;
	}
	return 0;
}
