/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   pages that no durable state of the writer reaches any more, but a read-only open of an
 *            older state may: they are held back until it is closed.
 * Protocol:  a reader takes the mark IO_MARK_OPENING before it reads a superblock, and that superblock's
 *            generation in its place when it has opened. A writer asks for marks after its new
 *            superblock, generation g, can be read, and before it gives away what checkpoint g freed:
 *            with a mark below g these pages are a batch of the queue, given away by the first
 *            checkpoint that finds no mark below g. Who takes a mark later finds superblock g or a
 *            newer one. A reader that stays open holds what was freed since its state; one that
 *            opened later holds none of that.
 *            A writer that opens beside readers of older states does not know what they reach: all that
 *            is free is the first batch.
 * Invariants: the pages of a batch are set in the heap's `bits` and clear in `disk`.
 * Threading: one thread: that of the checkpoint, or the one that opens or closes the store.
 * Failure:   without memory for a batch, or an answer from the lock file, its pages stay in use until the
 *            store is opened again.
 */
#ifndef MNEME_CORE_STORE_HELD_H
#define MNEME_CORE_STORE_HELD_H

#include "core/store/store.h"

struct held_batch {
	struct held_batch *next;
	uint64_t generation; /* readers of older states may reach it */
	struct freed_list pages;
};

struct held {
	struct held_batch *first, *last;
};

/* Gives the pages of a list to `give`. Those of a scatter list that cannot be read stay in use. */
void freed_give(struct heap *h, const struct freed_list *freed,
		void (*give)(struct heap *, uint64_t page, uint32_t count));

/* At the opening of a writer: -ENOMEM. */
int held_begin(struct mneme *m);
/* Takes what the closed epoch freed into the queue and returns 1; 0 when no reader reaches it. */
int held_add_freed(struct mneme *m);
/* Gives away what no reader reaches any more. */
void held_release(struct mneme *m);
/* How many pages are held. */
uint64_t held_pages(const struct held *h);
void held_free(struct held *h);

#endif
