/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   builds the tree of a damaged shard anew from what can be read of it.
 * Invariants: leaves are taken in key order. A leaf in which everything is right stays where it is; of
 *            one in which something is not, the rest is written to a new page. Inner pages are all
 *            written anew, from the leaves up. Where an inner page cannot be read, the leaves below it
 *            are looked for among the pages that the space map says are in use and that nothing refers
 *            to: such a page is what it says it is (checksum, place, shard), and nothing else can have
 *            the keys that it has. What is lost is told key by key or as a range.
 * Threading: one thread.
 */
#include "core/store/check_inside.h"
#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <stdlib.h>

/* A leaf that was found again. */
struct check_leaf {
	uint64_t page, birth;
	uint32_t shard;
	uint16_t length;
	uint8_t first[FMT_KEY_MAX];
};

/* An inner page being filled. */
struct level {
	struct fmt_page *page;
	uint8_t first[FMT_KEY_MAX]; /* the key that leads to it */
	uint32_t first_length;
};

struct rebuild {
	struct check *c;
	struct io_file *heap;
	uint64_t generation;
	uint32_t shard;
	int rc;
	struct level levels[TREE_HEIGHT_MAX + 1];
	struct fmt_page *leaf;     /* the rest of a damaged one */
	uint8_t last[FMT_KEY_MAX]; /* the last key that was taken */
	uint32_t last_length;
};

/* ---- pages found again ---- */

static int leaf_compare(const void *a, const void *b)
{
	const struct check_leaf *x = a, *y = b;
	int order = page_key_compare((struct page_key){x->first, x->length},
				     (struct page_key){y->first, y->length});

	return order ? order : (x->birth < y->birth) - (x->birth > y->birth);
}

static int leaf_add(struct check *c, const struct fmt_page *page)
{
	struct page_key first = page_key_at(page, 0);

	if (c->leaves_count == c->leaves_capacity) {
		uint64_t capacity = c->leaves_capacity ? 2 * c->leaves_capacity : 16;
		void *more = alloc_resize(c->leaves, capacity * sizeof c->leaves[0]);
		if (!more)
			return -ENOMEM;
		c->leaves = more;
		c->leaves_capacity = capacity;
	}
	struct check_leaf *leaf = &c->leaves[c->leaves_count++];
	leaf->page = page->self;
	leaf->birth = page->birth;
	leaf->shard = page->shard;
	leaf->length = first.length;
	memcpy(leaf->first, first.bytes, first.length);
	return 0;
}

static int page_is_leaf(const struct check *c, const struct fmt_page *page, uint64_t number)
{
	return page->self == number && page->level == 0 && page->count &&
	       page->shard < c->super.shards && page->birth && page->birth <= c->super.generation &&
	       crc32c(0, (const uint8_t *)page + 4, FMT_PAGE_SIZE - 4) == page->crc &&
	       !check_inside(page);
}

static int group_salvage(struct check *c, uint32_t group)
{
	struct fmt_page *page = (struct fmt_page *)check_buffer(c, 0);
	uint64_t begin = (uint64_t)group * FMT_GROUP_PAGES;
	uint32_t extent = heap_group_extent(c->pages, group);

	for (uint32_t i = FMT_GROUP_FIRST; i < extent; i++) {
		uint64_t number = begin + i;
		if (!(c->bitmap.bits[i / 8] >> (i % 8) & 1) ||
		    c->before[number / 64] >> (number % 64) & 1)
			continue;
		if (check_read(c, page, FMT_PAGE_SIZE, number * FMT_PAGE_SIZE) < 0 ||
		    !page_is_leaf(c, page, number))
			continue;
		int rc = leaf_add(c, page);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int check_salvage_begin(struct check *c)
{
	int rc = 0;

	for (uint32_t g = 0; c->lost && g < c->super.space_groups && rc == 0; g++)
		if (!check_bitmap(c, g))
			rc = group_salvage(c, g);
	if (c->leaves_count)
		qsort(c->leaves, c->leaves_count, sizeof c->leaves[0], leaf_compare);
	return rc;
}

void check_salvage_end(struct check *c)
{
	alloc_free(c->leaves);
	c->leaves = NULL;
	c->leaves_count = c->leaves_capacity = 0;
}

/* ---- writing ---- */

static void page_write(struct rebuild *r, struct fmt_page *page, uint64_t *reference)
{
	uint64_t number = 0;

	if (r->rc == 0)
		r->rc = check_take_page(r->c, &number);
	if (r->rc < 0)
		return;
	page->self = number;
	memset((uint8_t *)page + sizeof *page + page->count * sizeof(struct fmt_slot), 0,
	       page->top - sizeof *page - page->count * sizeof(struct fmt_slot));
	page->crc = crc32c(0, (uint8_t *)page + 4, FMT_PAGE_SIZE - 4);
	*reference = fmt_reference(number, page->crc);
	r->rc = io_write_full(r->heap, r->c->io, page, FMT_PAGE_SIZE, number * FMT_PAGE_SIZE);
}

static int level_begin(struct rebuild *r, struct level *l)
{
	if (!l->page)
		l->page = alloc_get(FMT_PAGE_SIZE);
	if (!l->page) {
		r->rc = -ENOMEM;
		return 0;
	}
	page_format(l->page, l - r->levels, r->shard, r->generation);
	return 1;
}

/* Puts a child at the end of the inner page of that level; a full page is written and goes into the
 * level above. Recursion: as deep as the tree gets. */
static void child_add(struct rebuild *r, unsigned level, struct page_key key, uint64_t reference)
{
	static const struct page_key none = {(const uint8_t *)"", 0};
	struct level *l = &r->levels[level];
	uint64_t full = 0;

	if (level > TREE_HEIGHT_MAX)
		r->rc = -EUCLEAN;
	if (r->rc < 0 || (!l->page && !level_begin(r, l)))
		return;
	if (l->page->count) {
		if (page_insert(l->page, l->page->count, key, &reference, NULL, 0))
			return;
		page_write(r, l->page, &full);
		child_add(r, level + 1, (struct page_key){l->first, l->first_length}, full);
		if (r->rc < 0 || !level_begin(r, l))
			return;
	}
	page_insert(l->page, 0, none, &reference, NULL, 0);
	memcpy(l->first, key.bytes, key.length);
	l->first_length = key.length;
}

/* Writes what is left of every level: the root. */
static void levels_end(struct rebuild *r, uint64_t *root)
{
	*root = 0;
	for (unsigned level = 1; level <= TREE_HEIGHT_MAX && r->rc == 0; level++) {
		struct level *l = &r->levels[level];
		int top = level == TREE_HEIGHT_MAX || !r->levels[level + 1].page;
		uint64_t reference = 0;
		if (!l->page)
			return;
		if (top && l->page->count == 1) {
			*root = page_child(l->page, 0);
			return;
		}
		page_write(r, l->page, &reference);
		if (r->rc == 0)
			child_add(r, level + 1, (struct page_key){l->first, l->first_length},
				  reference);
	}
}

/* ---- leaves ---- */

static void tell_key(struct rebuild *r, struct page_key key)
{
	char text[CHECK_KEY_TEXT];

	check_key_text(key, text);
	check_find(r->c, CHECK_TREE, "lost: %s", text);
}

static void tell_range(struct rebuild *r, const struct check_step *step, unsigned again)
{
	char low[CHECK_KEY_TEXT] = "the first key", high[CHECK_KEY_TEXT] = "the end";

	if (step->bounds.low.bytes)
		check_key_text(step->bounds.low, low);
	if (step->bounds.high.bytes)
		check_key_text(step->bounds.high, high);
	if (again)
		check_find(r->c, CHECK_TREE,
			   "lost: in shard %u what was between %s and %s, but for %u leaves that "
			   "were found again",
			   r->shard, low, high, again);
	else
		check_find(r->c, CHECK_TREE, "lost: in shard %u everything between %s and %s",
			   r->shard, low, high);
}

/* Whether a cell can be kept; marks its value. */
static int cell_keeps(struct rebuild *r, const struct check_step *step, const struct fmt_page *leaf,
		      unsigned position, int *soft)
{
	struct page_key key = page_key_at(leaf, position);
	struct check_seen seen;
	struct fmt_value v;
	uint32_t length;
	enum page_kind kind;

	if (!check_key_fits(r->c, step, key) ||
	    (r->last_length &&
	     page_key_compare(key, (struct page_key){r->last, r->last_length}) <= 0))
		return 0;
	r->c->mute = 1;
	check_value(r->c, leaf, position, &seen);
	r->c->mute = 0;
	*soft |= seen.problem && seen.soft;
	if (!seen.problem || seen.soft)
		return 1;
	if (seen.marked) {
		memcpy(&v, page_value(leaf, position, &length, &kind), sizeof v);
		check_unmark_value(r->c, &v);
	}
	return 0;
}

static void cell_copy(struct rebuild *r, const struct fmt_page *leaf, unsigned position)
{
	uint32_t length;
	enum page_kind kind;
	const uint8_t *value = page_value(leaf, position, &length, &kind);
	struct fmt_value v;

	if (kind == PAGE_INDIRECT) {
		memcpy(&v, value, sizeof v);
		if (!v.birth || v.birth > r->c->super.generation)
			v.birth = r->c->super.generation;
		value = (const uint8_t *)&v;
	}
	page_insert(r->leaf, r->leaf->count, page_key_at(leaf, position), page_cell(leaf, position),
		    value, length);
}

/* Takes what is right of a leaf. `soft`: its head is not. The page itself is marked. */
static void leaf_take(struct rebuild *r, const struct check_step *step, const struct fmt_page *leaf,
		      int soft)
{
	unsigned kept = 0;
	struct page_key first;
	uint64_t reference = fmt_reference(leaf->self, leaf->crc);

	page_format(r->leaf, 0, r->shard, r->generation);
	for (unsigned i = 0; i < leaf->count; i++) {
		struct page_key key = page_key_at(leaf, i);
		if (!cell_keeps(r, step, leaf, i, &soft)) {
			tell_key(r, key);
			continue;
		}
		cell_copy(r, leaf, i);
		memcpy(r->last, key.bytes, key.length);
		r->last_length = key.length;
		kept++;
	}
	if (kept < leaf->count || soft || !kept)
		check_unmark(r->c, leaf->self, 1);
	if (!kept)
		return;
	first = page_key_at(r->leaf, 0);
	if (kept < leaf->count || soft)
		page_write(r, r->leaf, &reference);
	child_add(r, 1, first, reference);
}

/* Leaves of the shard that were found again and belong between the bounds. */
static unsigned leaves_take(struct rebuild *r, const struct check_step *step)
{
	struct check *c = r->c;
	struct fmt_page *page = (struct fmt_page *)check_buffer(c, step->depth);
	unsigned taken = 0;

	for (uint64_t i = 0; i < c->leaves_count && r->rc == 0; i++) {
		const struct check_leaf *leaf = &c->leaves[i];
		struct page_key first = {leaf->first, leaf->length};
		if (leaf->shard != r->shard || check_reached(c, leaf->page) ||
		    !check_key_fits(c, step, first) ||
		    check_read(c, page, FMT_PAGE_SIZE, leaf->page * FMT_PAGE_SIZE) < 0 ||
		    !page_is_leaf(c, page, leaf->page))
			continue;
		c->reached[leaf->page / 64] |= 1ull << (leaf->page % 64);
		leaf_take(r, step, page, 0);
		taken++;
	}
	return taken;
}

static void rebuild_walk(struct rebuild *r, const struct check_step *step)
{
	struct check *c = r->c;
	const struct fmt_page *page = (const void *)check_buffer(c, step->depth);
	struct check_seen seen;

	if (r->rc < 0)
		return;
	c->mute = 1;
	check_page(c, step, &seen);
	c->mute = 0;
	if (seen.problem && !seen.soft) {
		if (seen.marked)
			check_unmark(c, step->reference & FMT_ADDRESS_MASK, 1);
		tell_range(r, step, step->level == 0 ? 0 : leaves_take(r, step));
		return;
	}
	if (!page->level) {
		leaf_take(r, step, page, !page->birth || page->birth > c->super.generation);
		return;
	}
	for (unsigned i = 0; i < page->count; i++) {
		struct check_step below = check_child(step, page, i);
		below.birth = c->super.generation;
		rebuild_walk(r, &below);
	}
	check_unmark(c, page->self, 1);
}

int check_rebuild(struct check *c, struct io_file *heap, uint32_t shard, uint64_t generation,
		  uint64_t *root)
{
	struct check_step top = {.reference = c->super.roots[shard],
				 .birth = c->super.generation,
				 .level = -1,
				 .shard = shard};
	struct rebuild *r = alloc_zeroed(1, sizeof *r);

	if (!r)
		return -ENOMEM;
	r->c = c;
	r->heap = heap;
	r->generation = generation;
	r->shard = shard;
	r->leaf = alloc_get(FMT_PAGE_SIZE);
	if (!r->leaf)
		r->rc = -ENOMEM;
	rebuild_walk(r, &top);
	levels_end(r, root);
	for (unsigned i = 0; i <= TREE_HEIGHT_MAX; i++)
		alloc_free(r->levels[i].page);
	alloc_free(r->leaf);
	int rc = r->rc;
	alloc_free(r);
	return rc;
}
