/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   looking up, preparing, putting and removing one key; see tree.h.
 */
#include "core/store/tree.h"
#include "core/store/heap_fault.h"
#include "core/store/named.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>

const struct fmt_page *tree_page(struct mneme *m, uint64_t reference, int brief, int *error)
{
	if (reference & FMT_DIRTY)
		return dirty_memory(&m->dirty, dirty_slot_of(reference));
	return heap_page(&m->heap, reference, brief, error);
}

/* ---- reading ---- */

static int descend(struct mneme *m, uint64_t reference, struct page_key key, struct tree_path *path)
{
	int error = 0;

	for (;;) {
		const struct fmt_page *page = tree_page(m, reference, path->brief, &error);
		if (!page)
			return error;
		if (path->depth == TREE_HEIGHT_MAX ||
		    (path->depth && page->level + 1 != path->pages[path->depth - 1]->level))
			return -EUCLEAN;
		path->pages[path->depth] = (struct fmt_page *)page;
		if (page->level == 0) {
			path->positions[path->depth++] = page_find(page, key, &path->found);
			return 0;
		}
		unsigned position = page_find_child(page, key);
		path->positions[path->depth++] = position;
		reference = page_child(page, position);
	}
}

static int seek(struct mneme *m, struct shard *s, struct page_key key, int brief,
		struct tree_path *path)
{
	path->depth = 0;
	path->found = 0;
	path->brief = brief;
	return s->root ? descend(m, s->root, key, path) : 0;
}

int tree_seek(struct mneme *m, struct shard *s, struct page_key key, struct tree_path *path)
{
	return seek(m, s, key, 0, path);
}

int tree_find(struct mneme *m, struct shard *s, struct page_key key, struct tree_path *path)
{
	return seek(m, s, key, 1, path);
}

/* Goes to the first key of the next leaf. */
static int next_leaf(struct mneme *m, struct tree_path *path)
{
	uint32_t level = path->depth - 1;
	int error = 0;

	while (level > 0 && path->positions[level - 1] + 1u >= path->pages[level - 1]->count)
		level--;
	if (level == 0)
		return 0;
	path->positions[level - 1]++;
	for (; level < path->depth; level++) {
		const struct fmt_page *above = path->pages[level - 1];
		const struct fmt_page *page = tree_page(
			m, page_child(above, path->positions[level - 1]), path->brief, &error);
		if (!page)
			return error;
		if (page->level + 1 != above->level)
			return -EUCLEAN;
		path->pages[level] = (struct fmt_page *)page;
		path->positions[level] = 0;
	}
	return 1;
}

int tree_settle(struct mneme *m, struct tree_path *path)
{
	if (!path->depth)
		return 0;
	while (path->positions[path->depth - 1] >= path->pages[path->depth - 1]->count) {
		int rc = next_leaf(m, path);
		if (rc <= 0)
			return rc;
	}
	return 1;
}

int tree_next(struct mneme *m, struct tree_path *path)
{
	path->positions[path->depth - 1]++;
	return tree_settle(m, path);
}

static int previous_leaf(struct mneme *m, struct tree_path *path)
{
	uint32_t level = path->depth - 1;
	int error = 0;

	while (level > 0 && path->positions[level - 1] == 0)
		level--;
	if (level == 0)
		return 0;
	path->positions[level - 1]--;
	for (; level < path->depth; level++) {
		const struct fmt_page *above = path->pages[level - 1];
		const struct fmt_page *page = tree_page(
			m, page_child(above, path->positions[level - 1]), path->brief, &error);
		if (!page)
			return error;
		if (page->level + 1 != above->level)
			return -EUCLEAN;
		path->pages[level] = (struct fmt_page *)page;
		path->positions[level] = page->count ? page->count - 1 : 0;
	}
	return 1;
}

int tree_check_neighbours(struct mneme *m, const struct tree_path *at)
{
	struct tree_path path;

	if (!at->depth)
		return 0;
	path = *at;
	int rc = next_leaf(m, &path);
	if (rc >= 0) {
		path = *at;
		rc = previous_leaf(m, &path);
	}
	return rc < 0 ? rc : 0;
}

/* ---- slots and freed pages ---- */

int tree_reserve_freed(struct shard *s, uint64_t items)
{
	struct freed_list *f = &s->freed;
	uint64_t capacity = f->capacity ? f->capacity : 64;

	while (capacity < f->count + items)
		capacity *= 2;
	if (capacity == f->capacity)
		return 0;
	void *more = alloc_resize(f->items, capacity * sizeof f->items[0]);
	if (!more)
		return -ENOMEM;
	f->items = more;
	f->capacity = capacity;
	return 0;
}

static void freed_push(struct shard *s, uint64_t item)
{
	CHECK(s->freed.count < s->freed.capacity);
	s->freed.items[s->freed.count++] = item;
}

uint32_t tree_take_slot(struct mneme *m, struct shard *s, enum dirty_kind kind, unsigned order,
			struct budget *budget)
{
	CHECK(budget->pages >= 1u << order);
	budget->pages -= 1u << order;
	if (order) {
		CHECK(budget->lists >= 1);
		budget->lists--;
	}
	return dirty_alloc(&m->dirty, &s->open, kind, order, store_epoch(m), s->index);
}

/* What a slot of the open epoch was promised can be used again by the operation that drops it: so one
 * that removes a whole range needs no more than a few pages at a time. */
static void slot_drop(struct mneme *m, struct shard *s, uint32_t slot, struct budget *budget)
{
	struct dirty_slot *d = &m->dirty.slots[slot];

	if (d->epoch == store_epoch(m)) {
		if (s->cursor == slot)
			s->cursor = d->next;
		if (d->aside) { /* its pages are the promise */
			(void)heap_promise(&m->heap, 1u << d->order, INT64_MIN);
			aside_give(&m->aside, &m->heap, 1);
		}
		budget->pages += 1u << d->order;
		budget->lists += d->order > 0 && !d->aside;
		dirty_free(&m->dirty, &s->open, slot);
	} else {
		freed_push(s, FMT_DIRTY | slot);
	}
}

void tree_free_page(struct mneme *m, struct shard *s, uint64_t reference, struct budget *budget)
{
	s->shape++;
	if (reference & FMT_DIRTY)
		slot_drop(m, s, dirty_slot_of(reference), budget);
	else
		freed_push(s, (reference & FMT_ADDRESS_MASK) | 1ull << 40);
}

void tree_free_value(struct mneme *m, struct shard *s, const struct fmt_value *value,
		     struct budget *budget)
{
	if (value->address & FMT_DIRTY)
		slot_drop(m, s, dirty_slot_of(value->address), budget);
	else if (!m->named || !named_has(m->named, value->address) || SEEDED_BUG(25))
		freed_push(s, value->address | (uint64_t)fmt_value_pages(value) << 40);
}

/* The page of *reference in a form that can be written; *reference then names the copy. */
static struct fmt_page *page_own(struct mneme *m, struct shard *s, uint64_t *reference,
				 struct budget *budget, int *error)
{
	uint64_t old = *reference;

	if (old & FMT_DIRTY && m->dirty.slots[dirty_slot_of(old)].epoch == store_epoch(m))
		return dirty_memory(&m->dirty, dirty_slot_of(old));
	const struct fmt_page *from = tree_page(m, old, 1, error);
	if (!from)
		return NULL;
	uint32_t slot = tree_take_slot(m, s, DIRTY_PAGE, 0, budget);
	struct fmt_page *page = dirty_memory(&m->dirty, slot);
	memcpy(page, from, FMT_PAGE_SIZE);
	page->birth = store_era(m);
	*reference = FMT_DIRTY | slot;
	tree_free_page(m, s, old, budget);
	return page;
}

static struct fmt_page *page_new(struct mneme *m, struct shard *s, uint8_t level,
				 struct budget *budget, uint64_t *reference)
{
	uint32_t slot = tree_take_slot(m, s, DIRTY_PAGE, 0, budget);
	struct fmt_page *page = dirty_memory(&m->dirty, slot);

	page_format(page, level, s->index, store_era(m));
	*reference = FMT_DIRTY | slot;
	s->shape++;
	return page;
}

/* ---- preparing ---- */

int tree_prepare(struct mneme *m, struct shard *s, struct page_key key, struct budget *budget,
		 struct tree_path *path)
{
	int error = 0;

	path->depth = 0;
	path->found = 0;
	path->brief = 0;
	if (!s->root) {
		page_new(m, s, 0, budget, &s->root);
		s->height = 1;
	}
	for (uint64_t reference = s->root;;) {
		struct fmt_page *page = page_own(m, s, &reference, budget, &error);
		uint32_t depth = path->depth;
		if (!page)
			return error;
		if (depth)
			page_set_child(path->pages[depth - 1], path->positions[depth - 1],
				       reference);
		else
			s->root = reference;
		if (depth == TREE_HEIGHT_MAX ||
		    (depth && page->level + 1 != path->pages[depth - 1]->level))
			return -EUCLEAN;
		path->pages[depth] = page;
		path->depth++;
		if (page->level == 0) {
			path->positions[depth] = page_find(page, key, &path->found);
			return 0;
		}
		struct dirty_slot *slot = &m->dirty.slots[dirty_slot_of(reference)];
		if (slot->stamp != budget->stamp && budget->stamp) {
			slot->stamp = budget->stamp;
			budget->kept += TREE_PAGES_MET;
		}
		path->positions[depth] = page_find_child(page, key);
		reference = page_child(page, path->positions[depth]);
	}
}

int tree_is_own(struct mneme *m, const struct shard *s, const struct tree_path *path)
{
	if (!path->depth)
		return 0;
	/* The pages above are what leads to it: they were copied before. */
	unsigned above = path->depth - 2;
	uint64_t leaf =
		path->depth == 1 ? s->root : page_child(path->pages[above], path->positions[above]);
	return leaf & FMT_DIRTY && m->dirty.slots[dirty_slot_of(leaf)].epoch == store_epoch(m);
}

void tree_find_in_leaf(struct tree_path *path, struct page_key key)
{
	unsigned leaf = path->depth - 1;

	path->positions[leaf] = page_find(path->pages[leaf], key, &path->found);
}

/* ---- putting ---- */

/* The key that leads to `right`: for leaves the shortest one that is greater than the last key of
 * `left`. It points into `right`. */
static struct page_key separator(const struct fmt_page *left, const struct fmt_page *right)
{
	struct page_key low = page_key_at(left, left->count - 1);
	struct page_key high = page_key_at(right, 0);
	uint32_t i = 0;

	if (left->level)
		return high;
	while (i < low.length && low.bytes[i] == high.bytes[i])
		i++;
	high.length = i + 1;
	return high;
}

/* Adds a root above the present one. */
static void root_grow(struct mneme *m, struct shard *s, struct tree_path *path,
		      struct budget *budget)
{
	struct page_key none = {(const uint8_t *)"", 0};
	uint64_t old = s->root;
	struct fmt_page *root = page_new(m, s, path->pages[0]->level + 1, budget, &s->root);

	CHECK(path->depth < TREE_HEIGHT_MAX);
	page_insert(root, 0, none, &old, NULL, 0);
	memmove(&path->pages[1], &path->pages[0], path->depth * sizeof path->pages[0]);
	memmove(&path->positions[1], &path->positions[0], path->depth * sizeof path->positions[0]);
	path->pages[0] = root;
	path->positions[0] = 0;
	path->depth++;
	s->height++;
}

/* Puts a cell into the leaf of the path, splitting full pages upwards. */
static void insert_up(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
		      const void *head, const void *payload, uint32_t length, struct budget *budget)
{
	uint64_t child;
	int level = path->depth - 1;

	while (!page_insert(path->pages[level], path->positions[level], key, head, payload,
			    length)) {
		if (level == 0) {
			root_grow(m, s, path, budget);
			level = 1;
		}
		struct fmt_page *left = path->pages[level];
		unsigned position = path->positions[level];
		unsigned cell = page_cell_head(left) + key.length + length;
		unsigned at = page_split_position(left, position, cell);
		uint64_t reference;
		struct fmt_page *right = page_new(m, s, left->level, budget, &reference);
		page_split(left, at, right);
		int goes_right = position > at || right->count == 0;
		CHECK(goes_right ? page_insert(right, position - at, key, head, payload, length)
				 : page_insert(left, position, key, head, payload, length));
		/* The new half goes into the page above, right behind its left half. The separator
		 * points into `right`, which does not change any more. */
		key = separator(left, right);
		child = reference;
		head = &child;
		payload = NULL;
		length = 0;
		level--;
		path->positions[level]++;
	}
}

void tree_put(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
	      const void *payload, uint32_t length, enum page_kind kind, struct budget *budget)
{
	struct fmt_page *leaf = path->pages[path->depth - 1];
	unsigned position = path->positions[path->depth - 1];
	uint16_t head = page_head(kind, length);

	if (path->found) {
		uint32_t old_length;
		enum page_kind old_kind;
		uint8_t *old = (uint8_t *)page_value(leaf, position, &old_length, &old_kind);
		if (old_kind == PAGE_INDIRECT) {
			struct fmt_value value;
			memcpy(&value, old, sizeof value);
			tree_free_value(m, s, &value, budget);
		}
		if (old_kind == kind && old_length == length) {
			memcpy(old, payload, length);
			return;
		}
		page_remove(leaf, position);
	}
	insert_up(m, s, path, key, &head, payload, length, budget);
}

/* ---- removing ---- */

static void root_shrink(struct mneme *m, struct shard *s, struct budget *budget)
{
	int error = 0;

	for (;;) {
		const struct fmt_page *root = tree_page(m, s->root, 1, &error);
		if (!root || root->level == 0 || root->count > 1)
			return;
		uint64_t child = page_child(root, 0);
		if (!tree_page(m, child, 1, &error))
			return;
		tree_free_page(m, s, s->root, budget);
		s->root = child;
		s->height--;
	}
}

/* Joins the page with its right or left neighbour below the same parent where both fit in one. It is
 * an optimisation: when the neighbour cannot be read, or no copy is in the budget, nothing happens. */
static void merge_neighbour(struct mneme *m, struct shard *s, struct tree_path *path, int level,
			    struct budget *budget)
{
	struct fmt_page *parent = path->pages[level - 1];
	struct fmt_page *page = path->pages[level];
	unsigned position = path->positions[level - 1];
	unsigned left = position + 1 < parent->count ? position : position - 1;
	uint64_t faults = heap_faults(&m->heap);
	int error = 0;

	if (parent->count < 2 || page->count == 0)
		return;
	uint64_t left_reference = page_child(parent, left);
	uint64_t right_reference = page_child(parent, left + 1);
	/* At most one of them is a leaf of the heap: the other is the path's own. */
	const struct fmt_page *a = tree_page(m, left_reference, 1, &error);
	const struct fmt_page *b = tree_page(m, right_reference, 1, &error);
	if (!a || !b || a->level != page->level || b->level != page->level ||
	    faults != heap_faults(&m->heap))
		return;
	unsigned lead = 0;
	struct page_key first = page_key_at(b, 0);
	if (b->level) { /* the separator comes down as the key of b's first child */
		first = page_key_at(parent, left + 1);
		lead = FMT_KEY_MAX;
	}
	if (page_room(a) < page_used(b) + lead || budget->pages < 1)
		return;
	struct fmt_page *target = page_own(m, s, &left_reference, budget, &error);
	if (!target)
		return;
	page_set_child(parent, left, left_reference);
	if (b->level) {
		for (unsigned i = 0; i < b->count; i++) {
			uint64_t child = page_child(b, i);
			CHECK(page_insert(target, target->count, i ? page_key_at(b, i) : first,
					  &child, NULL, 0));
		}
	} else {
		CHECK(page_merge(target, b));
	}
	page_remove(parent, left + 1);
	tree_free_page(m, s, right_reference, budget);
}

/* After cells went away at `level`: an empty page goes, a thin one joins a neighbour. */
static void rebalance(struct mneme *m, struct shard *s, struct tree_path *path, int level,
		      struct budget *budget)
{
	for (; level > 0; level--) {
		struct fmt_page *page = path->pages[level];
		struct fmt_page *parent = path->pages[level - 1];
		if (page->count == 0) {
			tree_free_page(m, s, page_child(parent, path->positions[level - 1]),
				       budget);
			page_remove(parent, path->positions[level - 1]);
		} else if (page_used(page) < FMT_PAGE_SIZE / 4) {
			merge_neighbour(m, s, path, level, budget);
		} else {
			return;
		}
	}
	struct fmt_page *root = path->pages[0];
	if (root->level && root->count == 0) {
		tree_free_page(m, s, s->root, budget);
		s->root = 0;
		s->height = 0;
		return;
	}
	root_shrink(m, s, budget);
}

void tree_remove(struct mneme *m, struct shard *s, struct tree_path *path, struct budget *budget)
{
	struct fmt_page *leaf = path->pages[path->depth - 1];
	unsigned position = path->positions[path->depth - 1];
	uint32_t length;
	enum page_kind kind;

	CHECK(path->found);
	const uint8_t *old = page_value(leaf, position, &length, &kind);
	if (kind == PAGE_INDIRECT) {
		struct fmt_value value;
		memcpy(&value, old, sizeof value);
		tree_free_value(m, s, &value, budget);
	}
	page_remove(leaf, position);
	rebalance(m, s, path, path->depth - 1, budget);
}

/* ---- separators ---- */

/* Level of the page that has the separator left of the path's leaf; -1: it is the shard's first leaf. */
static int separator_level(const struct tree_path *path)
{
	int level = (int)path->depth - 2;

	while (level >= 0 && path->positions[level] == 0)
		level--;
	return level;
}

/* Bytes that it shares with the leaf's first key. */
static unsigned separator_shared(const struct tree_path *path, int level, struct page_key *first)
{
	struct page_key was = page_key_at(path->pages[level], path->positions[level]);
	unsigned i = 0;

	*first = page_key_at(path->pages[path->depth - 1], 0);
	while (i < was.length && i < first->length && was.bytes[i] == first->bytes[i])
		i++;
	return i;
}

int tree_separator_is_stale(const struct tree_path *path)
{
	int level = separator_level(path);
	struct page_key first;

	if (level < 0 || path->pages[path->depth - 1]->count == 0)
		return 0;
	return separator_shared(path, level, &first) <
	       page_key_at(path->pages[level], path->positions[level]).length;
}

void tree_separator_renew(struct tree_path *path)
{
	int level = separator_level(path);
	struct page_key first;

	if (!tree_separator_is_stale(path))
		return;
	struct fmt_page *page = path->pages[level];
	unsigned position = path->positions[level];
	uint64_t child = page_child(page, position);
	/* It is smaller than the key, so up to the first other byte the key is greater than it, and so
	 * than all that is left of it. That is no longer than it was. */
	unsigned shared = separator_shared(path, level, &first);
	first.length = shared + 1;
	page_remove(page, position);
	CHECK(page_insert(page, position, first, &child, NULL, 0));
}

/* ---- ranges ---- */

int tree_range_measure(struct mneme *m, struct shard *s, struct page_key first,
		       struct page_key last, uint64_t keys_max, struct tree_range *out)
{
	struct tree_path path;
	int rc = tree_seek(m, s, first, &path);

	*out = (struct tree_range){0};
	if (rc < 0)
		return rc;
	const struct fmt_page *leaf = NULL;
	uint64_t leaves = 0;
	for (rc = tree_settle(m, &path); rc > 0; rc = tree_next(m, &path)) {
		const struct fmt_page *page = path.pages[path.depth - 1];
		struct page_key key = page_key_at(page, path.positions[path.depth - 1]);
		if (page_key_compare(key, last) >= 0)
			break;
		if (page != leaf) {
			leaf = page;
			leaves++;
		}
		if (++out->keys > keys_max)
			return -E2BIG;
	}
	/* Every leaf is copied and dropped once with its path, whose old pages go; each key may free a
	 * value. Copies that live at one time: the ways to both ends of the range, and the next one
	 * while it is made; a page that is joined with its neighbour gives as much as it takes. */
	out->items = out->keys + 2 * (leaves + 1) * tree_pages_needed(s);
	out->pages = 2 * tree_pages_needed(s);
	return rc < 0 ? rc : 0;
}

int tree_range_remove(struct mneme *m, struct shard *s, struct page_key first, struct page_key last,
		      struct budget *budget)
{
	struct tree_path path;

	for (;;) {
		/* Is there anything left? Looked up first, so that nothing is copied in vain. */
		int rc = tree_seek(m, s, first, &path);
		if (rc == 0)
			rc = tree_settle(m, &path);
		if (rc <= 0)
			return rc;
		struct page_key key =
			page_key_at(path.pages[path.depth - 1], path.positions[path.depth - 1]);
		if (page_key_compare(key, last) >= 0)
			return 0;
		if (!tree_is_own(m, s, &path)) {
			static _Thread_local uint8_t copy[FMT_KEY_MAX]; /* 3 KiB of stack */
			memcpy(copy, key.bytes, key.length);
			key.bytes = copy;
			rc = tree_prepare(m, s, key, budget, &path);
			if (rc < 0)
				return rc;
		}
		struct fmt_page *leaf = path.pages[path.depth - 1];
		unsigned begin = path.positions[path.depth - 1], end = begin;
		for (; end < leaf->count && page_key_compare(page_key_at(leaf, end), last) < 0;
		     end++) {
			uint32_t length;
			enum page_kind kind;
			const uint8_t *value = page_value(leaf, end, &length, &kind);
			if (kind == PAGE_INDIRECT) {
				struct fmt_value v;
				memcpy(&v, value, sizeof v);
				tree_free_value(m, s, &v, budget);
			}
		}
		int is_last = end < leaf->count; /* the leaf has a key behind the range */
		page_remove_range(leaf, begin, end);
		rebalance(m, s, &path, path.depth - 1, budget);
		if (is_last)
			return 0;
	}
}
