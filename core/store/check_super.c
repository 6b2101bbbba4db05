/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   checks the superblocks, the space table and, at last, the bitmaps against what the trees
 *            reach.
 * Invariants: the superblock that counts is chosen as opening chooses it: the newest whole one whose
 *            space table is whole.
 */
#include "core/store/check_inside.h"
#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>

struct super_seen {
	struct fmt_super super;
	const char *problem; /* NULL: whole */
	int empty;
};

/* What is wrong with a superblock whose checksum is right; NULL if nothing. */
static const char *super_problem(const struct fmt_super *s)
{
	if (!s->shards || s->shards & (s->shards - 1) || s->shards > FMT_SHARDS_MAX)
		return "its number of shards is not possible";
	if (s->segment_bytes < 65536 || s->segment_bytes % 4096)
		return "its segment size is not possible";
	if (!s->space_groups || s->space_groups > FMT_SPACE_MAX ||
	    s->space_groups != (s->heap_pages + FMT_GROUP_PAGES - 1) / FMT_GROUP_PAGES)
		return "its heap size and its number of groups do not fit together";
	if (!s->durability || s->durability > MNEME_DURABILITY_STRICT)
		return "its durability is not possible";
	if (!s->generation)
		return "its generation is not possible";
	if (s->lsn % 8)
		return "its log position is not possible";
	return NULL;
}

static int super_read(struct check *c, uint32_t copy, struct super_seen *out)
{
	uint8_t *page = (uint8_t *)&c->bitmap; /* not in use yet */
	int rc = io_read_full(c->super_file, c->io, page, FMT_PAGE_SIZE,
			      (uint64_t)copy * FMT_PAGE_SIZE);

	memset(out, 0, sizeof *out);
	if (rc < 0) {
		c->unread += rc != -ENODATA;
		out->problem = rc == -ENODATA ? "the file ends before it" : "it cannot be read";
		return rc == -ENOMEM ? rc : 0;
	}
	out->empty = 1;
	for (uint32_t i = 0; i < FMT_PAGE_SIZE && out->empty; i++)
		out->empty = !page[i];
	memcpy(&out->super, page, sizeof out->super);
	if (out->super.magic != FMT_SUPER_MAGIC) {
		out->problem = out->empty ? "it is empty" : "it does not begin as one";
		return 0;
	}
	((struct fmt_super *)page)->crc = 0;
	if (crc32c(0, page, FMT_PAGE_SIZE) != out->super.crc)
		out->problem = "its checksum is wrong";
	else if (out->super.version != FMT_VERSION)
		return check_refuse(c, -EPROTONOSUPPORT,
				    "the store has format %u, this program knows format %d; use "
				    "%s one",
				    out->super.version, FMT_VERSION,
				    out->super.version > FMT_VERSION ? "a newer" : "an older");
	else
		out->problem = super_problem(&out->super);
	return 0;
}

/* The space table of a superblock: NULL and *problem where it is damaged. */
static struct fmt_space *table_read(struct check *c, const struct fmt_super *s,
				    const char **problem)
{
	uint64_t bytes = s->space_groups * sizeof(struct fmt_space);
	struct fmt_space *table = alloc_get(bytes);

	*problem = NULL;
	if (!table)
		return NULL;
	int rc = io_read_full(c->super_file, c->io, table, bytes,
			      FMT_SPACE_OFFSET * (1 + (s->generation & 1)));
	c->unread += rc < 0 && rc != -ENODATA;
	if (rc < 0)
		*problem = "it cannot be read";
	else if (crc32c(0, table, bytes) != s->space_crc)
		*problem = "its checksum is wrong";
	if (!*problem)
		return table;
	alloc_free(table);
	return NULL;
}

static const char *name_of(uint32_t copy)
{
	return copy ? "B" : "A";
}

/* Compares the superblock that does not count with the one that does. */
static void compare_other(struct check *c, const struct super_seen *other, uint32_t copy)
{
	const struct fmt_super *a = &c->super, *b = &other->super;

	if (c->flags & STORE_CHECK_CRASHED && other->problem)
		return;
	if (other->empty && c->super.generation == 1)
		return; /* never written */
	if (other->problem) {
		check_find(c, CHECK_SUPER, "superblock %s is damaged: %s; superblock %s is used",
			   name_of(copy), other->problem, name_of(!copy));
		return;
	}
	if (memcmp(a->uuid, b->uuid, sizeof a->uuid) || a->shards != b->shards ||
	    a->segment_bytes != b->segment_bytes)
		check_find(c, CHECK_SUPER, "superblocks A and B belong to different stores");
	else if (b->generation == a->generation && memcmp(a, b, sizeof *a) != 0)
		check_find(c, CHECK_SUPER,
			   "superblocks A and B have one generation and are not the same");
	else if (b->generation > a->generation + 1 || a->generation > b->generation + 1)
		check_find(c, CHECK_SUPER,
			   "superblock %s has generation %llu beside generation %llu",
			   name_of(copy), (unsigned long long)b->generation,
			   (unsigned long long)a->generation);
}

/* The newest superblock is whole, but its space table is not. The pages that it reaches were durable
 * before it was written, so the space map can be built anew from them. The copies of the bitmaps that
 * the other superblock names are kept. */
static int table_lost(struct check *c, const struct super_seen *seen,
		      const struct super_seen *other)
{
	const char *problem;
	struct fmt_space *old = other->problem ? NULL : table_read(c, &other->super, &problem);

	c->super = seen->super;
	c->have_super = c->table_lost = 1;
	c->table = alloc_zeroed(c->super.space_groups, sizeof c->table[0]);
	for (uint32_t g = 0; c->table && old && g < c->super.space_groups; g++)
		c->table[g].copy = g < other->super.space_groups && old[g].copy;
	alloc_free(old);
	return c->table ? 0 : check_refuse(c, -ENOMEM, "out of memory");
}

static int choose(struct check *c, const struct super_seen seen[2])
{
	uint32_t newer = !seen[1].problem &&
			 (seen[0].problem || seen[1].super.generation > seen[0].super.generation);

	for (int turn = 0; turn < 2; turn++, newer ^= 1) {
		const char *problem;
		if (seen[newer].problem)
			continue;
		c->super = seen[newer].super;
		c->super_copy = newer;
		c->table = table_read(c, &c->super, &problem);
		if (c->table) {
			c->have_super = 1;
			compare_other(c, &seen[!newer], !newer);
			return 0;
		}
		if (!problem)
			return check_refuse(c, -ENOMEM, "out of memory");
		if (c->flags & STORE_CHECK_CRASHED)
			continue;
		check_find(c, CHECK_SPACE, "the space table of superblock %s is damaged: %s",
			   name_of(newer), problem);
		return table_lost(c, &seen[newer], &seen[!newer]);
	}
	check_find(c, CHECK_BEYOND,
		   "no superblock is whole (A: %s; B: %s): this is no mnemefs store, or it is "
		   "damaged beyond what can be checked; restore it from a backup",
		   seen[0].problem ? seen[0].problem : "its space table is damaged",
		   seen[1].problem ? seen[1].problem : "its space table is damaged");
	return 0;
}

static int all_zero(const void *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (((const uint8_t *)bytes)[i])
			return 0;
	return 1;
}

int check_supers(struct check *c)
{
	struct super_seen seen[2];

	for (uint32_t i = 0; i < 2; i++) {
		int rc = super_read(c, i, &seen[i]);
		if (rc < 0)
			return rc;
	}
	int rc = choose(c, seen);
	if (rc < 0 || !c->have_super)
		return rc;
	if (c->super.incompatible & ~(uint64_t)FMT_INCOMPAT_KNOWN)
		return check_refuse(c, -EPROTONOSUPPORT,
				    "the store uses features (%#llx) that this program does not "
				    "know; use a newer one",
				    (unsigned long long)(c->super.incompatible &
							 ~(uint64_t)FMT_INCOMPAT_KNOWN));
	if (c->super.compression > MNEME_COMPRESSION_ZSTD)
		return check_refuse(c, -EPROTONOSUPPORT,
				    "the store has compression %u, which this program does not "
				    "know; use a newer one",
				    c->super.compression);
	if (!all_zero(c->super.reserved, sizeof c->super.reserved))
		check_find(c, CHECK_SUPER, "the superblock's reserved bytes are not zero");
	if (c->heap_file && c->pages < c->super.heap_pages)
		check_find(c, CHECK_SPACE,
			   "the heap file has %llu pages, the superblock speaks of %llu",
			   (unsigned long long)c->pages, (unsigned long long)c->super.heap_pages);
	return 0;
}

/* ---- bitmaps ---- */

const char *check_bitmap(struct check *c, uint32_t group)
{
	struct fmt_bitmap *b = &c->bitmap;
	uint64_t page = (uint64_t)group * FMT_GROUP_PAGES + (c->table[group].copy ? 1 : 0);
	const struct fmt_space *space = &c->table[group];

	if (c->table_lost)
		return "the space table does not say which copy counts";
	if (space->copy > 1)
		return "its entry in the space table names no page";
	if (page >= c->pages || check_read(c, b, sizeof *b, page * FMT_PAGE_SIZE) < 0)
		return "it cannot be read";
	if (crc32c(0, (uint8_t *)b + 4, FMT_PAGE_SIZE - 4) != b->crc)
		return "its checksum is wrong";
	if (b->crc != space->crc)
		return "it is not the one that the space table names";
	if (b->group != group)
		return "it belongs to another group";
	if (b->generation > c->super.generation || !all_zero(b->reserved, sizeof b->reserved))
		return "its head is nonsense";
	return NULL;
}

static int in_use(const struct fmt_bitmap *b, uint32_t i)
{
	return b->bits[i / 8] >> (i % 8) & 1;
}

/* Reports the pages of a run that are marked as used, or free, against what the trees reach. */
static void report_run(struct check *c, uint32_t group, uint32_t first, uint32_t end, int used)
{
	unsigned long long page = (uint64_t)group * FMT_GROUP_PAGES + first;

	if (used)
		check_find(c, CHECK_SPACE,
			   "pages %llu to %llu are marked as used, but nothing refers to them",
			   page, page + (end - first) - 1);
	else
		check_find(c, CHECK_SPACE, "pages %llu to %llu are in use, but marked as free",
			   page, page + (end - first) - 1);
}

static void bitmap_compare(struct check *c, uint32_t group)
{
	uint64_t begin = (uint64_t)group * FMT_GROUP_PAGES;
	uint32_t extent = heap_group_extent(c->pages, group), used = 0, run = 0, i;
	int kind = -1; /* of the run: -1 none, 0 free but reached, 1 used but not reached */

	if (!in_use(&c->bitmap, 0) || !in_use(&c->bitmap, 1))
		check_find(c, CHECK_SPACE, "group %u: its bitmap pages are marked as free", group);
	for (i = 0; i < extent; i++)
		used += in_use(&c->bitmap, i);
	if (extent - used != c->table[group].free)
		check_find(c, CHECK_SPACE, "group %u has %u free pages, the space table says %u",
			   group, extent - used, c->table[group].free);
	for (i = FMT_GROUP_FIRST; i < FMT_GROUP_PAGES; i++) {
		int bit = in_use(&c->bitmap, i);
		int now = bit == (i < extent && check_reached(c, begin + i)) ? -1 : bit;
		if (now == kind)
			continue;
		if (kind >= 0)
			report_run(c, group, run, i, kind);
		kind = now;
		run = i;
	}
	if (kind >= 0)
		report_run(c, group, run, i, kind);
}

int check_space(struct check *c)
{
	for (uint32_t g = 0; g < c->super.space_groups; g++) {
		uint64_t page = (uint64_t)g * FMT_GROUP_PAGES + (c->table[g].copy ? 1 : 0);
		const char *problem = check_bitmap(c, g);
		if (problem)
			check_find(c, CHECK_SPACE,
				   "the bitmap of group %u (page %llu) is damaged: %s", g,
				   (unsigned long long)page, problem);
		else if (c->lost)
			continue; /* what is in use cannot be known */
		else
			bitmap_compare(c, g);
		c->result->pages++;
	}
	return 0;
}
