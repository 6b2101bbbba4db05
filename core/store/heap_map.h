/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   which pieces of the heap are read in place, through its map, and which by copying.
 *            What is read through a map stays resident, with as much around it as the kernel likes to
 *            map at once (up to a page table, 2 MiB); so the map is cut into pieces of that size, and at
 *            most `most` of them are in use at a time. Of the others, leaves and values are copied for
 *            the one call, and inner pages are kept as copies, because every operation passes them.
 * Invariants: a page that lies in no mapped piece is not touched through the map, but by a thread that
 *            got its pointer before the piece was dropped. A copy is there only while its page may be
 *            read: it goes when the page is freed or handed out again.
 * Threading: all functions from any thread that holds the shard of the page, or, for forgetting, when
 *            nobody can reach it any more.
 * Failure:   none to see: without memory for a copy the piece is mapped, if need be above the limit.
 */
#ifndef MNEME_CORE_STORE_HEAP_MAP_H
#define MNEME_CORE_STORE_HEAP_MAP_H

#include "core/store/fmt.h"
#include "pool/lock.h"

#include <stdatomic.h>
#include <stdint.h>

struct heap;

enum { HEAP_PIECE_PAGES = 512 };
#define HEAP_PIECE_BYTES ((uint64_t)HEAP_PIECE_PAGES * FMT_PAGE_SIZE)
/* Of inner pages, all together: those of 6 GiB of leaves. */
#define HEAP_COPIES_BYTES (64ull << 20)

struct heap_piece {
	_Atomic(_Atomic uint32_t *)
		copies;          /* [A] the frame of each page's copy, 0: none; or NULL */
	_Atomic uint32_t mapped; /* [A] */
};

struct heap_map {
	struct heap_piece *pieces; /* [I] address range */
	_Atomic uint64_t most;     /* [A] pieces that may be mapped; 0: only what has to be */
	_Atomic uint64_t mapped;   /* [A] that are */
	_Atomic uint64_t copied;   /* [A] pages and values that were copied, for statistics */
	struct lock lock;
	uint64_t hand;       /* [lock] where the next piece to drop is looked for */
	uint8_t *frames;     /* [I] address range: copies of inner pages, numbered from 1 */
	uint32_t frames_end; /* [lock] the first frame that was never used */
	uint32_t frame_free; /* [lock] list through the frames' first bytes, 0: end */
};

/* For h->reserve bytes of map. 0 or -ENOMEM; fini also after that. */
int heap_map_init(struct heap *h);
void heap_map_fini(struct heap *h);

/* Sets how many bytes may be mapped, and drops some pieces when there are more. */
void heap_map_limit(struct heap *h, uint64_t bytes);
/* Makes the piece of the page a mapped one. */
void heap_map_use(struct heap *h, uint64_t page);
/* A page of an unmapped piece is wanted: 1 when the piece is mapped now, because there is room, or this
 * thread keeps coming to it, or it was time to let another one in. 0: copy. */
int heap_map_admits(struct heap *h, uint64_t page);

/* The copy of an inner page; NULL: there is none. Until the shard is unlocked. */
const struct fmt_page *heap_copy_find(struct heap *h, uint64_t page);
/* Keeps a copy of it; NULL: no memory. */
const struct fmt_page *heap_copy_keep(struct heap *h, uint64_t page, const struct fmt_page *from);
void heap_copies_forget(struct heap *h, uint64_t page, uint32_t count);

#endif
