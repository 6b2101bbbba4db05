/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   gives the slots of a closed epoch their place in the heap and writes them.
 * Invariants: values first, then pages from the leaves up, because a page holds the addresses of its
 *            values and the checksums of its children. The slots themselves do not change (readers
 *            and the open epoch use them): pages are completed in a copy.
 * Threading: one checkpoint at a time.
 */
#include "core/store/checkpoint_inside.h"
#include "core/store/packing.h"
#include "pool/check.h"
#include "simd/crc32c.h"

#include <errno.h>

enum { EXTENT_PAGES_MAX = 4096 };

static int stage_flush(struct mneme *m, struct stage *st)
{
	if (!st->used)
		return 0;
	int rc = io_write_full(m->heap.file, m->io, st->bytes, st->used, st->page * FMT_PAGE_SIZE);
	st->used = 0;
	st->failed |= rc < 0;
	return rc;
}

static void extent_return(struct mneme *m, struct stage *st)
{
	if (st->extent_left)
		heap_return(&m->heap, st->extent, st->extent_left);
	st->extent_left = 0;
}

/* Where the bytes of a run go. */
static int stage_go(struct mneme *m, struct stage *st, uint64_t page, uint32_t pages,
		    uint8_t **bytes)
{
	if (st->used && (st->page + st->used / FMT_PAGE_SIZE != page ||
			 st->used + pages * FMT_PAGE_SIZE > STAGE_BYTES)) {
		int rc = stage_flush(m, st);
		if (rc < 0)
			return rc;
	}
	if (!st->used)
		st->page = page;
	*bytes = st->bytes + st->used;
	st->used += pages * FMT_PAGE_SIZE;
	return 0;
}

/* A run of `pages`: its first page, and where its bytes go. */
static int stage_take(struct mneme *m, struct stage *st, uint32_t pages, uint64_t *page,
		      uint8_t **bytes)
{
	int rc = 0;

	if (st->extent_left < pages) {
		extent_return(m, st);
		uint64_t want = st->wanted > pages ? st->wanted : pages;
		rc = heap_alloc(&m->heap, want < EXTENT_PAGES_MAX ? want : EXTENT_PAGES_MAX, pages,
				&st->extent);
		if (rc == -ENOSPC && !st->full) { /* enough pages, but no run of that length */
			st->full = heap_extend(&m->heap, pages) < 0;
			rc = heap_alloc(&m->heap, pages, pages, &st->extent);
		}
		if (rc < 0)
			return rc;
		st->extent_left = rc;
	}
	rc = stage_go(m, st, st->extent, pages, bytes);
	if (rc < 0)
		return rc;
	*page = st->extent;
	heap_use(&m->heap, pages);
	st->extent += pages;
	st->extent_left -= pages;
	st->wanted -= st->wanted > pages ? pages : st->wanted;
	return 0;
}

/* Places a value page by page, where no run is to be had, and then the list of its pages. */
static int place_scattered(struct mneme *m, struct dirty_slot *d, const uint8_t *from)
{
	struct stage *st = &m->checkpoint->stage;
	uint32_t count = fmt_value_pages(&d->value);
	struct fmt_scatter list = {.count = count, .birth = m->checkpoint->birth};
	uint8_t *bytes;
	int rc = 0;

	for (uint32_t i = 0, at = 0; i < count && rc == 0; i++, at += FMT_PAGE_SIZE) {
		uint32_t left = d->value.stored - at;
		uint32_t part = left < FMT_PAGE_SIZE ? left : FMT_PAGE_SIZE;
		rc = stage_take(m, st, 1, &list.pages[i], &bytes);
		if (rc < 0)
			break;
		memcpy(bytes, from + at, part);
		memset(bytes + part, 0, FMT_PAGE_SIZE - part);
	}
	if (rc == 0)
		rc = stage_take(m, st, 1, &list.self, &bytes);
	if (rc < 0)
		return rc;
	memset(bytes, 0, FMT_PAGE_SIZE);
	memcpy(bytes, &list, sizeof list);
	list.crc = crc32c(0, bytes + 4, FMT_PAGE_SIZE - 4);
	memcpy(bytes, &list.crc, sizeof list.crc);
	d->value.address = list.self | FMT_SCATTERED;
	st->scattered = 1;
	return 0;
}

static int place_value(struct mneme *m, uint32_t number)
{
	struct checkpoint *c = m->checkpoint;
	struct dirty_slot *d = &m->dirty.slots[number];
	const uint8_t *from = dirty_memory(&m->dirty, number);
	struct fmt_value *v = &d->value;
	uint8_t *bytes;
	uint64_t page;

	v->crc_plain = crc32c(0, from, v->length);
	v->stored = v->length;
	if (m->compression == MNEME_COMPRESSION_ZSTD) {
		uint32_t stored = value_compress(from, v->length, c->compressed);
		if (stored) {
			v->stored = stored;
			from = c->compressed;
		}
	}
	v->crc_stored = v->stored == v->length ? v->crc_plain : crc32c(0, from, v->stored);
	v->birth = c->birth;
	uint32_t pages = fmt_value_pages(v);
	int rc;
	if (d->aside) {
		page = aside_use(&m->aside, &m->heap, pages);
		rc = stage_go(m, &c->stage, page, pages, &bytes);
	} else {
		rc = stage_take(m, &c->stage, pages, &page, &bytes);
	}
	if (rc == -ENOSPC && pages > 1 && !c->stage.failed) {
		rc = place_scattered(m, d, from);
	} else if (rc == 0) {
		memcpy(bytes, from, v->stored);
		memset(bytes + v->stored, 0, pages * FMT_PAGE_SIZE - v->stored);
		v->address = page;
	}
	if (rc == 0 && !d->aside)
		heap_unpromise(&m->heap, dirty_places(d->order));
	return rc;
}

int place_dictionary(struct mneme *m, struct fmt_super *super)
{
	struct stage *st = &m->checkpoint->stage;
	uint32_t length;
	const uint8_t *from = packing_unwritten(m, super, &length);
	uint8_t *bytes;
	uint64_t page;
	int rc = 0;

	st->wanted = 0;
	st->full = 0;
	for (int copy = 0; copy < 2 && from && rc == 0; copy++) {
		struct fmt_value v = {
			.length = length, .stored = length, .birth = super->generation};
		uint32_t pages = fmt_value_pages(&v);
		if (super->dictionary[copy].address)
			continue;
		rc = stage_take(m, st, pages, &page, &bytes);
		if (rc < 0)
			break;
		memcpy(bytes, from, length);
		memset(bytes + length, 0, pages * FMT_PAGE_SIZE - length);
		v.address = page;
		v.crc_plain = v.crc_stored = crc32c(0, from, length);
		super->dictionary[copy] = v;
		super->incompatible |= FMT_INCOMPAT_PACKED;
		heap_unpromise(&m->heap, pages);
	}
	if (rc == -ENOSPC && !st->failed) /* no run is free: a later checkpoint may find one */
		rc = 0;
	if (rc == 0)
		rc = stage_flush(m, st);
	extent_return(m, st);
	return rc;
}

/* Replaces references to slots by their places. Runs that the log alone named until now are the tree's
 * from here on. */
static void page_complete(struct mneme *m, struct fmt_page *page)
{
	for (unsigned i = 0; i < page->count; i++) {
		if (page->level) {
			uint64_t child = page_child(page, i);
			if (child & FMT_DIRTY)
				page_set_child(page, i,
					       m->dirty.slots[dirty_slot_of(child)].value.address);
			continue;
		}
		uint32_t length;
		enum page_kind kind;
		uint8_t *cell = (uint8_t *)page_value(page, i, &length, &kind);
		struct fmt_value v;
		if (kind != PAGE_INDIRECT)
			continue;
		memcpy(&v, cell, sizeof v);
		if (v.address & FMT_DIRTY)
			memcpy(cell, &m->dirty.slots[dirty_slot_of(v.address)].value, sizeof v);
		else if (!(v.address & FMT_SCATTERED) && v.birth == m->checkpoint->birth &&
			 !SEEDED_BUG(24))
			heap_use_on_disk(&m->heap, v.address, fmt_value_pages(&v));
	}
}

static int place_page(struct mneme *m, uint32_t number)
{
	struct dirty_slot *d = &m->dirty.slots[number];
	uint8_t *bytes;
	uint64_t self;
	int rc = stage_take(m, &m->checkpoint->stage, 1, &self, &bytes);

	if (rc < 0)
		return rc;
	struct fmt_page *page = (struct fmt_page *)bytes;
	memcpy(page, dirty_memory(&m->dirty, number), FMT_PAGE_SIZE);
	page_complete(m, page);
	page_squeeze(page);
	/* What lies between slots and cells is left over from older keys: nothing of it is kept. */
	memset(bytes + sizeof *page + page->count * sizeof(struct fmt_slot), 0,
	       page->top - sizeof *page - page->count * sizeof(struct fmt_slot));
	page->self = self;
	page->crc = crc32c(0, bytes + 4, FMT_PAGE_SIZE - 4);
	d->value.address = fmt_reference(self, page->crc);
	heap_unpromise(&m->heap, 1);
	return 0;
}

/* Lengths of values are in their leaves: they are collected from there. */
static void collect_values(struct mneme *m, const struct fmt_page *leaf)
{
	for (unsigned i = 0; i < leaf->count; i++) {
		uint32_t length;
		enum page_kind kind;
		const uint8_t *cell = page_value(leaf, i, &length, &kind);
		struct fmt_value v;
		if (kind != PAGE_INDIRECT)
			continue;
		memcpy(&v, cell, sizeof v);
		if (v.address & FMT_DIRTY)
			m->dirty.slots[dirty_slot_of(v.address)].value.length = v.length;
	}
}

int place_shard(struct mneme *m, struct shard *s, uint64_t *root)
{
	struct checkpoint *c = m->checkpoint;
	struct dirty_slot *slots = m->dirty.slots;
	uint64_t per_level[TREE_HEIGHT_MAX + 1] = {0};
	int rc = 0;

	c->stage.wanted = 0;
	c->stage.full = 0;
	for (uint32_t n = s->closed.first; n; n = slots[n].next) {
		c->stage.wanted += 1u << slots[n].order;
		if (slots[n].kind != DIRTY_PAGE)
			continue;
		const struct fmt_page *page = dirty_memory(&m->dirty, n);
		per_level[page->level]++;
		if (page->level == 0)
			collect_values(m, page);
	}
	for (uint32_t n = s->closed.first; n && rc == 0; n = slots[n].next)
		if (slots[n].kind == DIRTY_VALUE)
			rc = place_value(m, n);
	for (int level = 0; level <= TREE_HEIGHT_MAX && rc == 0; level++) {
		uint64_t left = per_level[level];
		for (uint32_t n = s->closed.first; n && left && rc == 0; n = slots[n].next) {
			const struct fmt_page *page = dirty_memory(&m->dirty, n);
			if (slots[n].kind != DIRTY_PAGE || page->level != level)
				continue;
			rc = place_page(m, n);
			left--;
			c->stats.pages++;
		}
	}
	if (rc == 0)
		rc = stage_flush(m, &c->stage);
	extent_return(m, &c->stage);
	*root = s->closed_root;
	if (*root & FMT_DIRTY)
		*root = slots[dirty_slot_of(*root)].value.address;
	return rc;
}
