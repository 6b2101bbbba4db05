/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a lock-free stack of small integers (indexes of records or buffers), popped and pushed
 *            several at a time with one compare-and-swap.
 * Invariants: head = tag (36 bits) | index of the top (28 bits, FREELIST_NIL when empty). next[i]
 *            is the index below i, and is written only while i is not in the stack.
 * Threading: any thread, any time.
 *
 * Why it is right
 *   Every change of `head` is a read-modify-write that adds one to the tag. A popper loads (tag,
 *   top), walks next[] for up to `want` items and swings head to the item below. If that
 *   compare-and-swap succeeds, the head had the same tag from the load to the swap, so nothing
 *   was pushed or popped in between; the items under the top change only after the top was
 *   popped; so the walk saw the stack as it is. If the head did change, the walk may have read
 *   anything that was ever stored in next[]: always an index in range or NIL, never memory that
 *   is gone, since next[] lives as long as the stack; the compare-and-swap then fails and the
 *   walk is thrown away. ABA would need a thread that sleeps between load and swap while exactly
 *   a multiple of 2^36 changes pass: at 50 million a second, 23 minutes, hit to the very change.
 *   The push's release pairs with the acquire of the pop that takes the item: it publishes next[]
 *   and the item's content. The item may lie deep: all changes in between are read-modify-writes,
 *   so they continue the push's release sequence and the acquire still synchronises with it.
 * Failure:   pop returns fewer than wanted when the stack runs out.
 */
#ifndef MNEME_POOL_FREELIST_H
#define MNEME_POOL_FREELIST_H

#include "pool/thread.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define FREELIST_NIL ((uint32_t)((1u << 28) - 1))
#define FREELIST_INDEX_MASK ((uint64_t)FREELIST_NIL)
#define FREELIST_TAG_ONE ((uint64_t)FREELIST_NIL + 1)

struct freelist {
	alignas(CACHE_LINE) _Atomic uint64_t head;  /* [A] */
	alignas(CACHE_LINE) _Atomic uint32_t *next; /* [I] array owned by the embedding pool */
};

/* `next` needs no initial values: an entry is written before it is read. */
static inline void freelist_init(struct freelist *list, _Atomic uint32_t *next)
{
	atomic_store_explicit(&list->head, FREELIST_NIL, memory_order_relaxed);
	list->next = next;
}

/* Pops up to `want` indexes into `out`, the top first. Returns how many. */
static inline unsigned freelist_pop(struct freelist *list, uint32_t *out, unsigned want)
{
	uint64_t head = atomic_load_explicit(&list->head, memory_order_acquire);

	for (;;) {
		uint32_t at = (uint32_t)(head & FREELIST_INDEX_MASK);
		unsigned count = 0;

		while (at != FREELIST_NIL && count < want) {
			out[count++] = at;
			at = atomic_load_explicit(&list->next[at], memory_order_relaxed);
		}
		if (!count)
			return 0;
		uint64_t below = ((head + FREELIST_TAG_ONE) & ~FREELIST_INDEX_MASK) | at;
		/* acquire: pairs with the release in freelist_push() */
		if (atomic_compare_exchange_weak_explicit(
			    &list->head, &head, below, memory_order_acquire, memory_order_acquire))
			return count;
	}
}

/* Pushes `count` (> 0) indexes; items[0] becomes the top. */
static inline void freelist_push(struct freelist *list, const uint32_t *items, unsigned count)
{
	uint64_t head = atomic_load_explicit(&list->head, memory_order_relaxed);
	uint64_t top;

	for (unsigned i = 0; i + 1 < count; i++)
		atomic_store_explicit(&list->next[items[i]], items[i + 1], memory_order_relaxed);
	do {
		atomic_store_explicit(&list->next[items[count - 1]],
				      (uint32_t)(head & FREELIST_INDEX_MASK), memory_order_relaxed);
		top = ((head + FREELIST_TAG_ONE) & ~FREELIST_INDEX_MASK) | items[0];
		/* release: pairs with the acquire in freelist_pop() */
	} while (!atomic_compare_exchange_weak_explicit(
		&list->head, &head, top, memory_order_release, memory_order_relaxed));
}

/* Counts the items; -1 if an index is out of [0, limit) or the chain is longer than `limit`.
 * The validator of the tests: only while no other thread is at work. */
static inline int64_t freelist_validate(struct freelist *list, uint32_t limit)
{
	uint32_t at = (uint32_t)(atomic_load_explicit(&list->head, memory_order_acquire) &
				 FREELIST_INDEX_MASK);
	int64_t count = 0;

	for (; at != FREELIST_NIL; count++) {
		if (at >= limit || count >= limit)
			return -1;
		at = atomic_load_explicit(&list->next[at], memory_order_relaxed);
	}
	return count;
}

#endif
