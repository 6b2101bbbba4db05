/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the copy-on-write B+tree of a shard.
 * Invariants: store.h. All paths have the same length; a leaf may be empty only as the root.
 * Threading: readers hold the shard for reading, the others for writing.
 * Failure:   prepare functions: -EUCLEAN, -EIO, -ENOMEM; nothing has changed in content then. The
 *            functions that apply cannot fail after they were prepared with a sufficient budget.
 */
#ifndef MNEME_CORE_STORE_TREE_H
#define MNEME_CORE_STORE_TREE_H

#include "core/store/store.h"

/* A way down: page and position in it at each level, [0] is the root. */
struct tree_path {
	struct fmt_page *pages[TREE_HEIGHT_MAX];
	uint16_t positions[TREE_HEIGHT_MAX];
	uint32_t depth; /* pages in the path; 0: empty tree */
	int found;      /* the leaf's position holds the key itself */
	int brief;      /* leaves are valid until the thread's next brief one (heap_page) */
};

/* Worst case of pages that an operation takes: copies of the path, splits, a new root. */
static inline uint32_t tree_pages_needed(const struct shard *s)
{
	return 2 * s->height + 4;
}

/* What applying n puts may take, none of which removes a page, however high the tree becomes: each
 * splits at most one leaf. An inner page that a split has left has room for one more key at least
 * (page_split_position), so above the leaves there is a split for each page that was met, which may
 * have been full, and for every second one of the level below: together at most 2 for each put and
 * 2 for each inner page met. And a root for each level. */
enum { TREE_PAGES_PUT = 2, TREE_PAGES_MET = 2, TREE_PAGES_ROOTS = TREE_HEIGHT_MAX };

/* A page of the arena or of the heap, as heap_page(). */
const struct fmt_page *tree_page(struct mneme *m, uint64_t reference, int brief, int *error);

/* Position of the first key >= `key`. 0 or -errno. Pages are for reading only. */
int tree_seek(struct mneme *m, struct shard *s, struct page_key key, struct tree_path *path);
/* The same for who has done with the leaf before he, or tree_next, reads another one. */
int tree_find(struct mneme *m, struct shard *s, struct page_key key, struct tree_path *path);
/* Moves to the next key: 1, 0 at the end, -errno. */
int tree_next(struct mneme *m, struct tree_path *path);
/* Makes sure that the path's position is a key (it may be behind the last of a leaf): as tree_next.
 * */
int tree_settle(struct mneme *m, struct tree_path *path);

/* Reads the leaves before and behind that of `at`: the keys of a leaf that is removed go there. The
 * leaf of a path of tree_find is not to be read afterwards, unless the path is owned. */
int tree_check_neighbours(struct mneme *m, const struct tree_path *at);

/* As tree_seek, and every page of the path can be written afterwards. With a stamp in the budget
 * inner pages are counted there that have another one. */
int tree_prepare(struct mneme *m, struct shard *s, struct page_key key, struct budget *budget,
		 struct tree_path *path);
/* Whether every page of that path can be written already: tree_prepare would find the same one. */
int tree_is_own(struct mneme *m, const struct shard *s, const struct tree_path *path);
/* Finds the key of that path again: keys came and went since, but no page (shard.shape). */
void tree_find_in_leaf(struct tree_path *path, struct page_key key);
/* Puts a cell with a payload of that kind. `path` comes from tree_prepare of that key with no
 * change since. Frees the value it replaces. */
void tree_put(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
	      const void *payload, uint32_t length, enum page_kind kind, struct budget *budget);
/* Removes the path's key; path->found must be set. */
void tree_remove(struct mneme *m, struct shard *s, struct tree_path *path, struct budget *budget);

/* Walks first <= key < last once: verifies every page, reports the keys, and what removing them may
 * take: pages of budget and items of the freed list. -E2BIG above `keys_max` keys. */
struct tree_range {
	uint64_t keys;
	uint64_t items;
	uint32_t pages;
};
int tree_range_measure(struct mneme *m, struct shard *s, struct page_key first,
		       struct page_key last, uint64_t keys_max, struct tree_range *out);
/* Removes them; the range was measured, budget and freed list were provided for. */
int tree_range_remove(struct mneme *m, struct shard *s, struct page_key first, struct page_key last,
		      struct budget *budget);

/* The separator above a path to the first key of a leaf, the one left of that leaf: whether it has bytes
 * that this key has not (of keys that are gone). */
int tree_separator_is_stale(const struct tree_path *path);
/* Then makes it of that key. Its page can be written. */
void tree_separator_renew(struct tree_path *path);

/* Room for that many more items on the shard's freed list: 0 or -ENOMEM. */
int tree_reserve_freed(struct shard *s, uint64_t items);
void tree_free_page(struct mneme *m, struct shard *s, uint64_t reference, struct budget *budget);
void tree_free_value(struct mneme *m, struct shard *s, const struct fmt_value *value,
		     struct budget *budget);
uint32_t tree_take_slot(struct mneme *m, struct shard *s, enum dirty_kind kind, unsigned order,
			struct budget *budget);

#endif
