/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the set of files that wait to be embedded; see memory_inside.h.
 * Invariants: linear probing, at most half full; removal closes the gap.
 */
#include "core/memory/memory_inside.h"
#include "pool/alloc.h"

#include <errno.h>

enum { PENDING_FIRST = 1024 };

int pending_init(struct pending *p)
{
	lock_init(&p->lock, LOCK_LEAF);
	p->size = PENDING_FIRST;
	p->inodes = alloc_zeroed(p->size, sizeof p->inodes[0]);
	p->due_ms = alloc_zeroed(p->size, sizeof p->due_ms[0]);
	return p->inodes && p->due_ms ? 0 : -ENOMEM;
}

void pending_fini(struct pending *p)
{
	alloc_free(p->inodes);
	alloc_free(p->due_ms);
}

static uint32_t home_of(const struct pending *p, uint64_t inode)
{
	return (uint32_t)(inode * 0x9e3779b97f4a7c15ull >> 32) & (p->size - 1);
}

static uint32_t find(const struct pending *p, uint64_t inode)
{
	uint32_t at = home_of(p, inode);

	while (p->inodes[at] && p->inodes[at] != inode)
		at = (at + 1) & (p->size - 1);
	return at;
}

static int grow(struct pending *p)
{
	struct pending bigger = {.size = 2 * p->size};

	bigger.inodes = alloc_zeroed(bigger.size, sizeof p->inodes[0]);
	bigger.due_ms = alloc_zeroed(bigger.size, sizeof p->due_ms[0]);
	if (!bigger.inodes || !bigger.due_ms) {
		pending_fini(&bigger);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < p->size; i++)
		if (p->inodes[i]) {
			uint32_t at = find(&bigger, p->inodes[i]);
			bigger.inodes[at] = p->inodes[i];
			bigger.due_ms[at] = p->due_ms[i];
		}
	pending_fini(p);
	p->inodes = bigger.inodes;
	p->due_ms = bigger.due_ms;
	p->size = bigger.size;
	return 0;
}

int pending_add(struct pending *p, uint64_t inode, uint64_t due_ms)
{
	int rc = 0;

	lock_write(&p->lock);
	uint32_t at = find(p, inode);
	if (!p->inodes[at]) {
		uint32_t count = atomic_load_explicit(&p->count, memory_order_relaxed);
		if (2 * (count + 1) > p->size) {
			rc = grow(p);
			at = find(p, inode);
		}
		if (rc == 0) {
			p->inodes[at] = inode;
			atomic_store_explicit(&p->count, count + 1, memory_order_relaxed);
		}
	}
	if (rc == 0)
		p->due_ms[at] = due_ms;
	lock_write_done(&p->lock);
	return rc;
}

static void take_out(struct pending *p, uint32_t hole)
{
	uint32_t mask = p->size - 1;

	atomic_fetch_sub_explicit(&p->count, 1, memory_order_relaxed);
	for (uint32_t at = (hole + 1) & mask; p->inodes[at]; at = (at + 1) & mask) {
		uint32_t home = home_of(p, p->inodes[at]);
		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		p->inodes[hole] = p->inodes[at];
		p->due_ms[hole] = p->due_ms[at];
		hole = at;
	}
	p->inodes[hole] = 0;
}

int pending_remove(struct pending *p, uint64_t inode)
{
	lock_write(&p->lock);
	uint32_t at = find(p, inode);
	int there = p->inodes[at] != 0;
	if (there)
		take_out(p, at);
	lock_write_done(&p->lock);
	return there;
}

int pending_has(struct pending *p, uint64_t inode)
{
	lock_read(&p->lock);
	int there = p->inodes[find(p, inode)] != 0;
	lock_read_done(&p->lock);
	return there;
}

int pending_list(struct pending *p, uint64_t **out, uint32_t *count)
{
	lock_read(&p->lock);
	uint32_t room = atomic_load_explicit(&p->count, memory_order_relaxed);
	*count = 0;
	*out = alloc_get((room + 1ull) * sizeof **out);
	for (uint32_t at = 0; *out && at < p->size; at++)
		if (p->inodes[at])
			(*out)[(*count)++] = p->inodes[at];
	lock_read_done(&p->lock);
	return *out ? 0 : -ENOMEM;
}

/* The entry of one that is due, or `size`. [lock] */
static uint32_t find_due(struct pending *p, uint64_t now_ms, uint64_t *next_ms)
{
	uint32_t mask = p->size - 1;

	*next_ms = 0;
	for (uint32_t i = 0; i < p->size; i++) {
		uint32_t at = (p->cursor + i) & mask;
		if (!p->inodes[at])
			continue;
		if (p->due_ms[at] <= now_ms) {
			p->cursor = at;
			return at;
		}
		if (!*next_ms || p->due_ms[at] < *next_ms)
			*next_ms = p->due_ms[at];
	}
	return p->size;
}

uint64_t pending_take(struct pending *p, uint64_t now_ms, uint64_t *next_ms)
{
	uint64_t inode = 0;

	*next_ms = 0;
	if (!atomic_load_explicit(&p->count, memory_order_relaxed))
		return 0;
	lock_write(&p->lock);
	uint32_t at = find_due(p, now_ms, next_ms);
	if (at < p->size) {
		inode = p->inodes[at];
		take_out(p, at);
	}
	lock_write_done(&p->lock);
	return inode;
}

int pending_due(struct pending *p, uint64_t now_ms, uint64_t *next_ms)
{
	*next_ms = 0;
	if (!atomic_load_explicit(&p->count, memory_order_relaxed))
		return 0;
	lock_write(&p->lock);
	int there = find_due(p, now_ms, next_ms) < p->size;
	lock_write_done(&p->lock);
	return there;
}
