/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   pages of the heap that are taken out of it in memory alone, four in a run each, so that a
 *            value of MNEME_CHUNK_SIZE that room is set aside for finds a run whatever becomes of the
 *            other free pages, and needs no page for a list of them.
 * Invariants: a run here is out of use for everybody else, and free by the bitmap that the next
 *            checkpoint writes: a crash forgets what was here, and opening the store sets it aside anew
 *            (reserve.h). `quads` of them stand for records; what is here beyond that stands for slots of
 *            values that no checkpoint has placed yet (struct dirty_slot: `aside`), one each.
 * Threading: everything has the mutex, which aside_clean() holds over I/O. Taken below the shards' locks;
 *            the heap's lock is taken inside.
 * Failure:   none: where no run is free, aside_take() takes fewer.
 */
#ifndef MNEME_CORE_STORE_ASIDE_H
#define MNEME_CORE_STORE_ASIDE_H

#include "core/store/heap.h"

enum { ASIDE_PAGES = 4 };

struct aside {
	pthread_mutex_t mutex;
	uint64_t *runs; /* [mutex] page in bits 0 to 39, how many quads of it from bit 40 on */
	uint64_t count, capacity; /* [mutex] of runs */
	uint64_t cursor;          /* [mutex] page where the last search ended */
	uint64_t quads;           /* [mutex] that no slot was given */
};

void aside_init(struct aside *a);
void aside_fini(struct aside *a);
/* Takes up to `quads` of free pages, of ASIDE_PAGES each that were promised (heap_promise): how many.
 * Their promises are used up, and the caller has them as if he had claimed them. */
uint64_t aside_take(struct aside *a, struct heap *h, uint64_t quads);
/* The caller may give up to `quads` of them to slots, or give them back: how many there are. */
uint64_t aside_claim(struct aside *a, uint64_t quads);
/* Those that were claimed and given to no slot stand for records again. */
void aside_unclaim(struct aside *a, uint64_t quads);
/* Those that were claimed, or given to a slot that is dropped, are free pages of the heap. */
void aside_give(struct aside *a, struct heap *h, uint64_t quads);
/* The first pages of a quad that a slot was given are used by the checkpoint under way, the others free.
 * Returns the first page. [checkpoint] */
uint64_t aside_use(struct aside *a, struct heap *h, uint32_t pages);
/* Calls `clean` for each run of pages, while nobody takes it: the first error ends it. */
int aside_clean(struct aside *a, int (*clean)(void *arg, uint64_t page, uint32_t count), void *arg);

#endif
