/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   epoch-based reclamation; the proof is in epoch.h.
 */
#include "pool/epoch.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <string.h>

enum { COLLECT_EVERY = 64 }; /* retirements between two tries to advance */

/* The fence of proof step (1). */
static void announce_fence(void)
{
#if defined(__SANITIZE_THREAD__)
	/* The thread sanitizer does not follow fences: one location that both sides change gives it
	 * (and the C11 model) the same order, at the price of a shared cache line. */
	static _Atomic unsigned order;

	atomic_fetch_add_explicit(&order, 1, memory_order_seq_cst);
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

int epoch_new(struct epoch **out)
{
	struct epoch *epoch = alloc_aligned(CACHE_LINE, sizeof(*epoch));

	if (!epoch)
		return -ENOMEM;
	memset(epoch, 0, sizeof(*epoch));
	for (int slot = 0; slot < THREAD_SLOTS; slot++)
		atomic_store_explicit(&epoch->slot[slot].announced, EPOCH_OUTSIDE,
				      memory_order_relaxed);
	*out = epoch;
	return 0;
}

static uint64_t list_release(struct epoch *epoch, struct epoch_node *node)
{
	uint64_t count = 0;

	while (node) {
		struct epoch_node *next = node->next;
		node->release(node);
		node = next;
		count++;
	}
	atomic_fetch_sub_explicit(&epoch->pending, count, memory_order_relaxed);
	atomic_fetch_add_explicit(&epoch->released, count, memory_order_relaxed);
	return count;
}

void epoch_free(struct epoch *epoch)
{
	if (!epoch)
		return;
	for (unsigned i = 0; i < 3; i++)
		list_release(epoch, atomic_exchange_explicit(&epoch->limbo[i], NULL,
							     memory_order_acquire));
	alloc_free(epoch);
}

void epoch_enter(struct epoch *epoch)
{
	int slot = thread_slot();

	if (slot < 0) {
		atomic_fetch_add_explicit(&epoch->guests, 1, memory_order_relaxed);
		announce_fence();
		return;
	}
	struct epoch_slot *mine = &epoch->slot[slot];
	if (mine->depth++)
		return;
	/* acquire: pairs with the advance: entering at e means seeing what was unlinked before e */
	uint64_t now = atomic_load_explicit(&epoch->global, memory_order_acquire);
	atomic_store_explicit(&mine->announced, now, memory_order_relaxed);
	announce_fence();
}

void epoch_leave(struct epoch *epoch)
{
	int slot = thread_slot();

	if (slot < 0) {
		/* release: pairs with the acquire in all_announced() */
		atomic_fetch_sub_explicit(&epoch->guests, 1, memory_order_release);
		return;
	}
	struct epoch_slot *mine = &epoch->slot[slot];
	CHECK(mine->depth);
	if (--mine->depth)
		return;
	/* release: pairs with the acquire in all_announced() */
	atomic_store_explicit(&mine->announced, EPOCH_OUTSIDE, memory_order_release);
}

/* Is every thread that is inside at `now`? */
static int all_announced(struct epoch *epoch, uint64_t now)
{
	announce_fence();
	if (atomic_load_explicit(&epoch->guests, memory_order_acquire))
		return 0;
	for (int slot = 0; slot < thread_slots_used(); slot++) {
		uint64_t seen =
			atomic_load_explicit(&epoch->slot[slot].announced, memory_order_acquire);
		if (seen != EPOCH_OUTSIDE && seen != now)
			return 0;
	}
	return 1;
}

uint64_t epoch_collect(struct epoch *epoch)
{
	struct epoch_node *list = NULL;

	/* A guest has no announcement that would hold g as proof step (5) needs. */
	if (thread_slot() < 0)
		return 0;
	epoch_enter(epoch);
	/* This thread's announcement, maybe of an outer entry. */
	uint64_t now =
		atomic_load_explicit(&epoch->slot[thread_slot()].announced, memory_order_relaxed);
	/* acq_rel: release publishes what was seen unlinked to readers that enter at now + 1 */
	if (all_announced(epoch, now) &&
	    atomic_compare_exchange_strong_explicit(&epoch->global, &now, now + 1,
						    memory_order_acq_rel, memory_order_relaxed))
		list = atomic_exchange_explicit(&epoch->limbo[(now + 2) % 3], NULL,
						memory_order_acquire);
	epoch_leave(epoch);
	return list_release(epoch, list);
}

void epoch_retire(struct epoch *epoch, struct epoch_node *node,
		  void (*release)(struct epoch_node *node))
{
	node->release = release;
	epoch_enter(epoch);
	announce_fence(); /* the unlinking comes before the tag is read */
	uint64_t tag = atomic_load_explicit(&epoch->global, memory_order_acquire);
	_Atomic(struct epoch_node *) *limbo = &epoch->limbo[tag % 3];

	node->next = atomic_load_explicit(limbo, memory_order_relaxed);
	/* release: pairs with the acquire exchange in epoch_collect() */
	while (!atomic_compare_exchange_weak_explicit(limbo, &node->next, node,
						      memory_order_release, memory_order_relaxed))
		;
	uint64_t waiting = atomic_fetch_add_explicit(&epoch->pending, 1, memory_order_relaxed) + 1;
	epoch_leave(epoch);
	if (waiting % COLLECT_EVERY == 0)
		epoch_collect(epoch);
}

uint64_t epoch_pending(const struct epoch *epoch)
{
	return atomic_load_explicit(&epoch->pending, memory_order_relaxed);
}
