/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   pages held for readers; see held.h.
 */
#include "core/store/held.h"
#include "core/store/checkpoint_inside.h"
#include "pool/alloc.h"

#include <errno.h>

void freed_give(struct heap *h, const struct freed_list *freed,
		void (*give)(struct heap *, uint64_t page, uint32_t count))
{
	for (uint64_t k = 0; k < freed->count; k++) {
		uint64_t page = freed->items[k] & FMT_ADDRESS_MASK;
		uint32_t count = freed->items[k] >> 40 & 0xffff;
		const struct fmt_scatter *list = NULL;
		int error = 0;
		if (!(freed->items[k] & FMT_SCATTERED)) {
			give(h, page, count);
			continue;
		}
		list = heap_scatter(h, page, count, &error);
		if (!list)
			continue;
		for (uint32_t n = 0; n < count; n++)
			give(h, list->pages[n], 1);
		give(h, page, 1);
	}
}

/* Whether a reader may reach what checkpoint `generation` freed; also when that cannot be known. */
static int is_reached(struct mneme *m, uint64_t generation)
{
	return m->io->ops->marked(m->io, IO_MARK_OPENING, generation - 1) != 0;
}

/* An empty batch with room for `count` items, not in the queue; NULL without memory. */
static struct held_batch *batch_new(const struct mneme *m, uint64_t count)
{
	struct held_batch *b = alloc_zeroed(1, sizeof *b);

	if (!b)
		return NULL;
	b->generation = m->super.generation;
	b->pages.capacity = count;
	b->pages.items = alloc_get(count * sizeof b->pages.items[0]);
	if (b->pages.items)
		return b;
	alloc_free(b);
	return NULL;
}

static void batch_append(struct held *h, struct held_batch *b)
{
	if (h->last)
		h->last->next = b;
	else
		h->first = b;
	h->last = b;
}

static void batch_remove_first(struct held *h)
{
	struct held_batch *b = h->first;

	h->first = b->next;
	if (!h->first)
		h->last = NULL;
	alloc_free(b->pages.items);
	alloc_free(b);
}

int held_begin(struct mneme *m)
{
	if (!is_reached(m, m->super.generation))
		return 0;
	uint64_t count = heap_free_runs(&m->heap, NULL);
	if (!count)
		return 0;
	struct held_batch *b = batch_new(m, count);
	if (!b)
		return -ENOMEM;
	b->pages.count = heap_free_runs(&m->heap, b->pages.items);
	freed_give(&m->heap, &b->pages, heap_take);
	batch_append(&m->checkpoint->held, b);
	return 0;
}

int held_add_freed(struct mneme *m)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < m->shard_count; i++)
		count += m->shards[i].closed_freed.count;
	if (!count || !is_reached(m, m->super.generation))
		return 0;
	struct held_batch *b = batch_new(m, count);
	for (uint32_t i = 0; i < m->shard_count; i++) {
		struct freed_list *f = &m->shards[i].closed_freed;
		if (b && f->count)
			memcpy(b->pages.items + b->pages.count, f->items,
			       f->count * sizeof f->items[0]);
		if (b)
			b->pages.count += f->count;
		f->count = 0;
	}
	if (b)
		batch_append(&m->checkpoint->held, b);
	return 1;
}

void held_release(struct mneme *m)
{
	struct held *h = &m->checkpoint->held;

	while (h->first && !is_reached(m, h->first->generation)) {
		freed_give(&m->heap, &h->first->pages, heap_free_now);
		batch_remove_first(h);
	}
}

uint64_t held_pages(const struct held *h)
{
	uint64_t pages = 0;

	for (const struct held_batch *b = h->first; b; b = b->next)
		for (uint64_t k = 0; k < b->pages.count; k++)
			pages += (b->pages.items[k] >> 40 & 0xffff) +
				 !!(b->pages.items[k] & FMT_SCATTERED);
	return pages;
}

void held_free(struct held *h)
{
	while (h->first)
		batch_remove_first(h);
}
