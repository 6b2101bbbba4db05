/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   writes what the check found damaged anew, as a checkpoint would: new pages and bitmaps
 *            into places that the superblock which counts does not reach, then the other superblock.
 * Invariants: nothing is guessed: a page is kept because its checksum, its place and its keys say what
 *            it is. Until the superblock is durable the store is as it was; a repair that was cut off
 *            can be made again. The log is cut only after that.
 * Failure:   -ENOSPC when there is no free page, -EIO, -ENOMEM; then nothing was repaired.
 */
#include "core/store/check_inside.h"
#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>

struct repair {
	struct check *c;
	uint32_t classes;
	struct io_file *heap, *super_file;
	struct fmt_super super;
	struct fmt_space *table;
};

static uint64_t words(const struct check *c)
{
	return c->pages / 64 + 1;
}

/* Pages of the old state are busy: those that the trees reach, and those that the space map and the log
 * name. */
static int busy_get(struct check *c)
{
	c->busy = alloc_zeroed(words(c), sizeof c->busy[0]);
	c->before = alloc_get(words(c) * sizeof c->before[0]);
	if (!c->busy || !c->before)
		return -ENOMEM;
	memcpy(c->before, c->reached, words(c) * sizeof c->before[0]);
	memcpy(c->busy, c->reached, words(c) * sizeof c->busy[0]);
	for (uint64_t i = 0; c->named && i < words(c); i++)
		c->busy[i] |= c->named[i];
	for (uint32_t g = 0; g < c->super.space_groups; g++) {
		uint64_t begin = (uint64_t)g * FMT_GROUP_PAGES;
		uint32_t extent = heap_group_extent(c->pages, g);
		if (check_bitmap(c, g))
			continue;
		for (uint32_t i = 0; i < extent; i++)
			if (c->bitmap.bits[i / 8] >> (i % 8) & 1)
				c->busy[(begin + i) / 64] |= 1ull << ((begin + i) % 64);
	}
	return 0;
}

int check_take_page(struct check *c, uint64_t *page)
{
	for (uint64_t p = c->cursor; p < c->pages; p++) {
		uint64_t bit = 1ull << (p % 64);
		if (p % FMT_GROUP_PAGES < FMT_GROUP_FIRST ||
		    (c->busy[p / 64] | c->reached[p / 64]) & bit)
			continue;
		c->busy[p / 64] |= bit;
		c->reached[p / 64] |= bit;
		c->cursor = p + 1;
		*page = p;
		return 0;
	}
	return -ENOSPC;
}

/* ---- trees ---- */

/* What the sound shards reach, then the others anew. */
static int trees_repair(struct repair *r)
{
	struct check *c = r->c;
	uint64_t damaged = c->damaged;
	int rc = check_salvage_begin(c);

	memset(c->reached, 0, words(c) * sizeof c->reached[0]);
	c->mute = 1;
	if (rc == 0)
		rc = check_dictionary(c);
	for (uint32_t i = 0; i < c->super.shards; i++)
		if (!(damaged >> i & 1))
			check_shard(c, i);
	c->mute = 0;
	for (uint32_t i = 0; i < c->super.shards && rc == 0; i++)
		if (damaged >> i & 1)
			rc = check_rebuild(c, r->heap, i, r->super.generation, &r->super.roots[i]);
	return rc;
}

/* ---- space map ---- */

static int group_write(struct repair *r, uint32_t group)
{
	struct check *c = r->c;
	uint64_t begin = (uint64_t)group * FMT_GROUP_PAGES;
	uint32_t extent = heap_group_extent(r->super.heap_pages, group), used = FMT_GROUP_FIRST;
	uint8_t copy = c->table[group].copy ? 0 : 1; /* the one that does not count */
	struct fmt_bitmap *b = &c->bitmap;

	memset(b, 0, sizeof *b);
	b->bits[0] = (1 << FMT_GROUP_FIRST) - 1;
	for (uint32_t i = FMT_GROUP_FIRST; i < extent; i++) {
		if (!check_reached(c, begin + i))
			continue;
		b->bits[i / 8] |= 1u << (i % 8);
		used++;
	}
	b->group = group;
	b->generation = r->super.generation;
	b->crc = crc32c(0, (uint8_t *)b + 4, FMT_PAGE_SIZE - 4);
	r->table[group] = (struct fmt_space){.crc = b->crc, .free = extent - used, .copy = copy};
	return io_write_full(r->heap, c->io, b, sizeof *b, (begin + copy) * FMT_PAGE_SIZE);
}

static int space_repair(struct repair *r)
{
	struct check *c = r->c;
	int rc = 0;

	/* A heap that was cut off ends where its file ends. */
	if (c->pages % FMT_GROUP_PAGES && c->pages % FMT_GROUP_PAGES <= FMT_GROUP_FIRST)
		return -ENOSPC;
	r->super.heap_pages = c->pages;
	r->super.space_groups = (c->pages + FMT_GROUP_PAGES - 1) / FMT_GROUP_PAGES;
	if (!r->super.space_groups)
		return -ENOSPC;
	for (uint32_t g = 0; g < r->super.space_groups && rc == 0; g++)
		rc = group_write(r, g);
	return rc;
}

/* ---- superblock ---- */

static int super_write(struct repair *r)
{
	const struct io_ops *ops = r->c->io->ops;
	uint32_t table = r->super.generation & 1;
	uint64_t bytes = r->super.space_groups * sizeof r->table[0];
	uint8_t *page = (uint8_t *)&r->c->bitmap;

	r->super.space_crc = crc32c(0, r->table, bytes);
	int rc = io_write_full(r->super_file, r->c->io, r->table, bytes,
			       (uint64_t)FMT_SPACE_OFFSET * (1 + table));
	if (rc < 0)
		return rc;
	r->super.crc = 0;
	memset(page, 0, FMT_PAGE_SIZE);
	memcpy(page, &r->super, sizeof r->super);
	r->super.crc = crc32c(0, page, FMT_PAGE_SIZE);
	memcpy(page, &r->super, sizeof r->super);
	/* Into both places, that of the one in use last. */
	rc = ops->write_sync(r->super_file, page, FMT_PAGE_SIZE,
			     (uint64_t)!r->c->super_copy * FMT_PAGE_SIZE);
	return rc < 0 ? rc
		      : ops->write_sync(r->super_file, page, FMT_PAGE_SIZE,
					(uint64_t)r->c->super_copy * FMT_PAGE_SIZE);
}

static void super_plan(struct repair *r)
{
	struct check *c = r->c;

	r->super = c->super;
	do /* above what the log knows, and with the other space table */
		r->super.generation += r->super.generation == c->super.generation ? 1 : 2;
	while (r->super.generation < c->log_generation);
	memset(r->super.reserved, 0, sizeof r->super.reserved);
	for (uint32_t i = 0; i < 2; i++)
		if (c->copies_damaged >> i & 1) /* the engine writes it anew */
			r->super.dictionary[i] = (struct fmt_value){0};
	memset(&r->super.roots[c->super.shards], 0,
	       (FMT_SHARDS_MAX - c->super.shards) * sizeof r->super.roots[0]);
	if (!(r->classes >> CHECK_LOG & 1))
		return;
	uint64_t end = c->log_begins ? c->log_at : c->super.lsn;
	if (r->super.log_durable > end)
		r->super.log_durable = end;
	r->super.clean = 0;
}

/* The runs of damaged copies of the dictionary are free now. */
static void copies_unmark(struct check *c)
{
	for (uint32_t i = 0; i < 2; i++)
		if (c->copies_damaged & c->copies_marked & 1u << i)
			check_unmark(c, c->super.dictionary[i].address,
				     fmt_value_pages(&c->super.dictionary[i]));
}

static int repair_write(struct repair *r)
{
	struct check *c = r->c;
	int rc = busy_get(c);

	if (rc == 0 && c->damaged)
		rc = trees_repair(r);
	copies_unmark(c);
	if (rc == 0 && c->unread)
		rc = -EIO; /* nothing that can be read another time is given up */
	if (rc == 0)
		rc = space_repair(r);
	if (rc == 0)
		rc = c->io->ops->sync(r->heap);
	if (rc == 0)
		rc = super_write(r);
	if (rc == 0 && r->classes >> CHECK_LOG & 1)
		rc = check_log_cut(c);
	return rc;
}

int check_repair(struct check *c, uint32_t classes)
{
	struct repair r = {.c = c, .classes = classes};
	int rc;

	super_plan(&r);
	r.table = alloc_zeroed(c->super.space_groups, sizeof r.table[0]);
	if (!r.table)
		return check_refuse(c, -ENOMEM, "out of memory");
	rc = c->io->ops->open(c->io, "heap", IO_WRITE, &r.heap);
	if (rc == 0)
		rc = c->io->ops->open(c->io, "super", IO_WRITE, &r.super_file);
	if (rc == 0)
		rc = repair_write(&r);
	if (r.heap)
		c->io->ops->close(r.heap);
	if (r.super_file)
		c->io->ops->close(r.super_file);
	alloc_free(r.table);
	if (rc == 0)
		c->repaired |= classes;
	if (rc == -ENOSPC) {
		check_find(c, CHECK_BEYOND,
			   "nothing was repaired: the heap has no free page for it");
		return 0;
	}
	return rc < 0 ? check_refuse(c, rc, "the repair could not be written: %s", strerror(-rc))
		      : 0;
}
