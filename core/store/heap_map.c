/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   pieces of the heap's map and copies of inner pages; see heap_map.h.
 */
#include "core/store/heap_map.h"
#include "core/store/heap.h"
#include "pool/alloc.h"

#include <errno.h>
#include <string.h>

enum {
	RUN_OF_MISSES = 4,     /* in one piece, one behind the other: a thread that reads on */
	MISSES_TO_ADMIT = 512, /* dropping and mapping a piece costs as much as 50 copies */
	DROPS_AT_ONCE = 4,
	FRAMES_MAX = HEAP_COPIES_BYTES / FMT_PAGE_SIZE,
};

static uint64_t pieces_bytes(const struct heap *h)
{
	return (h->reserve + HEAP_PIECE_BYTES - 1) / HEAP_PIECE_BYTES * sizeof h->map.pieces[0];
}

int heap_map_init(struct heap *h)
{
	struct heap_map *map = &h->map;

	lock_init(&map->lock, LOCK_HEAP_MAP);
	map->frames_end = 1;
	map->pieces = alloc_range(pieces_bytes(h));
	map->frames = alloc_range(HEAP_COPIES_BYTES);
	return map->pieces && map->frames ? 0 : -ENOMEM;
}

/* Pieces of the file as it is. */
static uint64_t pieces_now(const struct heap *h)
{
	return (atomic_load_explicit(&((struct heap *)h)->pages, memory_order_relaxed) +
		HEAP_PIECE_PAGES - 1) /
	       HEAP_PIECE_PAGES;
}

void heap_map_fini(struct heap *h)
{
	struct heap_map *map = &h->map;

	for (uint64_t i = 0; map->pieces && i < pieces_now(h); i++)
		alloc_free(
			(void *)atomic_load_explicit(&map->pieces[i].copies, memory_order_relaxed));
	alloc_range_free(map->pieces, pieces_bytes(h));
	alloc_range_free(map->frames, HEAP_COPIES_BYTES);
}

/* ---- pieces ---- */

static struct heap_piece *piece_of(struct heap *h, uint64_t page)
{
	return &h->map.pieces[page / HEAP_PIECE_PAGES];
}

/* Drops mapped pieces, in turn, until there are `most`. [lock] */
static void pieces_drop(struct heap *h, uint64_t most)
{
	struct heap_map *map = &h->map;
	uint64_t end = pieces_now(h);
	int drops = 0;

	for (uint64_t looked = 0; looked < end && drops < DROPS_AT_ONCE &&
				  atomic_load_explicit(&map->mapped, memory_order_relaxed) > most;
	     looked++) {
		uint64_t at = map->hand++ % end;
		if (!atomic_exchange_explicit(&map->pieces[at].mapped, 0, memory_order_relaxed))
			continue;
		atomic_fetch_sub_explicit(&map->mapped, 1, memory_order_relaxed);
		h->io->ops->map_drop(h->file, at * HEAP_PIECE_BYTES, HEAP_PIECE_BYTES);
		drops++;
	}
}

void heap_map_limit(struct heap *h, uint64_t bytes)
{
	struct heap_map *map = &h->map;
	uint64_t most = bytes / HEAP_PIECE_BYTES;

	/* relaxed: a limit and a count, both looked at again at the next piece */
	if (atomic_load_explicit(&map->most, memory_order_relaxed) != most)
		atomic_store_explicit(&map->most, most, memory_order_relaxed);
	if (__builtin_expect(atomic_load_explicit(&map->mapped, memory_order_relaxed) <= most, 1))
		return;
	lock_write(&map->lock);
	pieces_drop(h, most);
	lock_write_done(&map->lock);
}

void heap_map_use(struct heap *h, uint64_t page)
{
	struct heap_map *map = &h->map;

	if (heap_mapped(h, page))
		return;
	lock_write(&map->lock);
	if (!atomic_load_explicit(&piece_of(h, page)->mapped, memory_order_relaxed)) {
		uint64_t most = atomic_load_explicit(&map->most, memory_order_relaxed);
		pieces_drop(h, most ? most - 1 : 0);
		atomic_store_explicit(&piece_of(h, page)->mapped, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&map->mapped, 1, memory_order_relaxed);
	}
	lock_write_done(&map->lock);
}

int heap_map_admits(struct heap *h, uint64_t page)
{
	static _Thread_local uint64_t last;
	static _Thread_local unsigned run, misses;
	struct heap_map *map = &h->map;
	uint64_t piece = page / HEAP_PIECE_PAGES;
	uint64_t most = atomic_load_explicit(&map->most, memory_order_relaxed);

	run = piece == last ? run + 1 : 1;
	last = piece;
	if (!most || (atomic_load_explicit(&map->mapped, memory_order_relaxed) >= most &&
		      run < RUN_OF_MISSES && ++misses % MISSES_TO_ADMIT)) {
		atomic_fetch_add_explicit(&map->copied, 1, memory_order_relaxed);
		return 0;
	}
	heap_map_use(h, page);
	return 1;
}

/* ---- copies of inner pages ---- */

static struct fmt_page *frame_at(const struct heap_map *map, uint32_t frame)
{
	return (struct fmt_page *)(map->frames + (uint64_t)frame * FMT_PAGE_SIZE);
}

/* [lock] 0: none is left. */
static uint32_t frame_take(struct heap_map *map)
{
	uint32_t frame = map->frame_free;

	if (frame)
		memcpy(&map->frame_free, frame_at(map, frame), sizeof map->frame_free);
	else if (map->frames_end < FRAMES_MAX)
		frame = map->frames_end++;
	return frame;
}

/* [lock] */
static void frame_give(struct heap_map *map, uint32_t frame)
{
	memcpy(frame_at(map, frame), &map->frame_free, sizeof map->frame_free);
	map->frame_free = frame;
}

const struct fmt_page *heap_copy_find(struct heap *h, uint64_t page)
{
	/* acquire: pairs with the release in heap_copy_keep() */
	_Atomic uint32_t *copies =
		atomic_load_explicit(&piece_of(h, page)->copies, memory_order_acquire);
	uint32_t frame = copies ? atomic_load_explicit(&copies[page % HEAP_PIECE_PAGES],
						       memory_order_acquire)
				: 0;

	return frame ? frame_at(&h->map, frame) : NULL;
}

/* [lock] The piece's table of copies. NULL: no memory. */
static _Atomic uint32_t *copies_of(struct heap_piece *piece)
{
	_Atomic uint32_t *copies = atomic_load_explicit(&piece->copies, memory_order_relaxed);

	if (!copies) {
		copies = alloc_zeroed(HEAP_PIECE_PAGES, sizeof copies[0]);
		/* release: pairs with the acquire in heap_copy_find() */
		atomic_store_explicit(&piece->copies, copies, memory_order_release);
	}
	return copies;
}

const struct fmt_page *heap_copy_keep(struct heap *h, uint64_t page, const struct fmt_page *from)
{
	struct heap_map *map = &h->map;
	uint32_t frame = 0;

	lock_write(&map->lock);
	_Atomic uint32_t *copies = copies_of(piece_of(h, page));
	if (copies) {
		_Atomic uint32_t *at = &copies[page % HEAP_PIECE_PAGES];
		frame = atomic_load_explicit(at, memory_order_relaxed);
		if (!frame && (frame = frame_take(map))) {
			memcpy(frame_at(map, frame), from, FMT_PAGE_SIZE);
			/* release: pairs with the acquire in heap_copy_find() */
			atomic_store_explicit(at, frame, memory_order_release);
		}
	}
	lock_write_done(&map->lock);
	return frame ? frame_at(map, frame) : NULL;
}

void heap_copies_forget(struct heap *h, uint64_t page, uint32_t count)
{
	struct heap_map *map = &h->map;

	for (uint64_t p = page; p < page + count; p++) {
		/* acquire: pairs with the release in copies_of() */
		_Atomic uint32_t *copies =
			atomic_load_explicit(&piece_of(h, p)->copies, memory_order_acquire);
		if (!copies ||
		    !atomic_load_explicit(&copies[p % HEAP_PIECE_PAGES], memory_order_relaxed))
			continue;
		lock_write(&map->lock);
		frame_give(map, atomic_exchange_explicit(&copies[p % HEAP_PIECE_PAGES], 0,
							 memory_order_relaxed));
		lock_write_done(&map->lock);
	}
}
