/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a search without a question, by its filters alone: the texts that they let through,
 *            newest first.
 * Invariants: what the caller may not see takes no place (memory_place). A file is asked for only
 *            when it would be among the results so far, because that costs most.
 * Threading: `index` for reading, held by the caller.
 * Failure:   -ENOMEM.
 */
#include "core/memory/filter.h"
#include "core/memory/memory_inside.h"
#include "pool/alloc.h"

#include <errno.h>
#include <string.h>

enum { LOOK_EVERY = 256 }; /* files, at the deadline */

struct listing {
	struct memory *mem;
	const struct memory_query *query;
	struct memory_newest *best; /* newest first */
	uint32_t limit, count;
	uint32_t seen;
	int partial;
	char path[MEMORY_PATH_MAX];
};

static int is_before(const struct memory_newest *a, const struct memory_newest *b)
{
	return a->mtime_ns != b->mtime_ns ? a->mtime_ns > b->mtime_ns : a->inode < b->inode;
}

static int take(void *arg, uint64_t inode)
{
	struct listing *l = arg;
	struct memory_newest new = {.inode = inode};
	struct names_inode record;
	uint32_t at = l->count;

	if (++l->seen % LOOK_EVERY == 0 && l->query->deadline_ns &&
	    memory_now_ns() > l->query->deadline_ns)
		return l->partial = 1;
	if (memory_inode(l->mem->engine, inode, &record) < 0)
		return 0;
	new.mtime_ns = record.mtime_ns;
	while (at && is_before(&new, &l->best[at - 1]))
		at--;
	if (at == l->limit || memory_place(l->mem, inode, l->query, l->path, sizeof l->path) < 0 ||
	    !filter_file(l->mem, l->query, inode))
		return 0;
	uint32_t moved = l->count < l->limit ? l->count++ - at : l->limit - 1 - at;
	memmove(&l->best[at + 1], &l->best[at], moved * sizeof new);
	l->best[at] = new;
	return 0;
}

int memory_newest(struct memory *mem, const struct memory_query *query, uint32_t limit,
		  struct memory_newest *out, uint32_t *count, int *partial)
{
	struct listing *l = alloc_zeroed(1, sizeof *l);

	if (!l)
		return -ENOMEM;
	l->mem = mem;
	l->query = query;
	l->best = out;
	l->limit = limit;
	(void)lexical_each(mem->lexical, take, l);
	*count = l->count;
	*partial = l->partial;
	alloc_free(l);
	return 0;
}
