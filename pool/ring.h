/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a bounded queue of pointers for any number of producers and consumers, first in, first
 *            out, without locks and without allocation.
 * Invariants: `size` is a power of two. Cell i serves the positions i, i + size, i + 2 size, ...
 *            Its sequence number says whose turn it is: == pos: free for the producer of pos; ==
 *            pos + 1: filled, for the consumer of pos; == pos + size: free for the next round.
 * Threading: any thread, any time. The design is Dmitry Vyukov's bounded MPMC queue.
 *
 * Why it is right
 *   A producer owns position p once its compare-and-swap moved `tail` from p to p + 1; no other
 *   thread gets the same p, positions being 64 bits wide and never repeated. It had seen sequence
 *   == p by an acquire load, which pairs with the release store of p by the consumer of p - size
 *   (or the initialiser): that consumer has finished reading the cell. It writes the item, then
 *   stores p + 1 with release. The consumer that owns p (by `head`) saw p + 1 with the acquire
 *   load that pairs with it: it reads the item that was written. The moves of head and tail may
 *   be relaxed: they decide ownership only, all data flows through the cell's sequence number.
 *   Not linearizable as "empty": a pop says empty while a push that began earlier is not
 *   finished, even when a later push is. A consumer that sleeps must therefore be woken after
 *   each push ended.
 * Failure:   push: -EAGAIN when full. pop: NULL when empty.
 */
#ifndef MNEME_POOL_RING_H
#define MNEME_POOL_RING_H

#include "pool/thread.h"

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ring_cell {
	_Atomic uint64_t sequence; /* [A] */
	void *item;                /* whose turn it is by `sequence` */
};

struct ring {
	struct ring_cell *cells;                   /* [I] */
	uint64_t mask;                             /* [I] size - 1 */
	alignas(CACHE_LINE) _Atomic uint64_t tail; /* [A] next position to fill */
	alignas(CACHE_LINE) _Atomic uint64_t head; /* [A] next position to empty */
};

/* Makes a ring for at least `size` items (2 .. 2^26; rounded up to a power of two). -EINVAL,
 * -ENOMEM. */
int ring_init(struct ring *ring, uint32_t size);
/* Frees the cells; items still inside are the caller's. */
void ring_destroy(struct ring *ring);

/* Adds an item (not NULL): 0, or -EAGAIN when the ring is full. */
static inline int ring_push(struct ring *ring, void *item)
{
	uint64_t pos = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	for (;;) {
		struct ring_cell *cell = &ring->cells[pos & ring->mask];
		/* acquire: pairs with the release in ring_pop() of the round before */
		uint64_t sequence = atomic_load_explicit(&cell->sequence, memory_order_acquire);
		int64_t ahead = (int64_t)(sequence - pos);

		if (ahead == 0) {
			if (!atomic_compare_exchange_weak_explicit(&ring->tail, &pos, pos + 1,
								   memory_order_relaxed,
								   memory_order_relaxed))
				continue;
			cell->item = item;
			/* release: pairs with the acquire in ring_pop() */
			atomic_store_explicit(&cell->sequence, pos + 1, memory_order_release);
			return 0;
		}
		if (ahead < 0)
			return -EAGAIN;
		pos = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	}
}

/* Takes the oldest item, or NULL when there is none. */
static inline void *ring_pop(struct ring *ring)
{
	uint64_t pos = atomic_load_explicit(&ring->head, memory_order_relaxed);

	for (;;) {
		struct ring_cell *cell = &ring->cells[pos & ring->mask];
		/* acquire: pairs with the release in ring_push() */
		uint64_t sequence = atomic_load_explicit(&cell->sequence, memory_order_acquire);
		int64_t ahead = (int64_t)(sequence - (pos + 1));

		if (ahead == 0) {
			if (!atomic_compare_exchange_weak_explicit(&ring->head, &pos, pos + 1,
								   memory_order_relaxed,
								   memory_order_relaxed))
				continue;
			void *item = cell->item;
			/* release: pairs with the acquire in ring_push() of the next round */
			atomic_store_explicit(&cell->sequence, pos + ring->mask + 1,
					      memory_order_release);
			return item;
		}
		if (ahead < 0)
			return NULL;
		pos = atomic_load_explicit(&ring->head, memory_order_relaxed);
	}
}

/* Would a pop find something? It does not if the oldest push is not finished, even when later ones
 * are. */
static inline int ring_ready(const struct ring *ring)
{
	uint64_t pos = atomic_load_explicit(&ring->head, memory_order_relaxed);

	return (int64_t)(atomic_load_explicit(&ring->cells[pos & ring->mask].sequence,
					      memory_order_acquire) -
			 (pos + 1)) >= 0;
}

/* Items inside, as of some moment; exact when no thread is at work. */
static inline uint64_t ring_depth(const struct ring *ring)
{
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	return tail > head ? tail - head : 0;
}

/* 0, or -EUCLEAN if a cell's sequence number does not fit head and tail. Only while no other thread
 * is at work. */
int ring_validate(const struct ring *ring);

#endif
