/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   node.h: hash chains in NODE_PARTS parts, each with its own lock, buckets and free list.
 * Invariants: a part's buckets double when it holds more nodes than buckets. `lsn_gone` is at least the
 *            lsn of every node that was dropped, so that a node that comes again starts from it.
 */
#include "fs/node.h"

#include "pool/alloc.h"
#include "pool/check.h"
#include "pool/lock.h"

#include <errno.h>

enum { NODE_PARTS = 64, NODE_BUCKETS_FIRST = 64, NODE_SLAB = 64 };

struct node {
	struct node *next;
	uint64_t ino;
	uint64_t lookups;
	uint64_t lsn;
	int orphan;
};

struct node_slab {
	struct node_slab *next;
	struct node nodes[NODE_SLAB];
};

/* All fields: lock. */
struct node_part {
	struct lock lock;
	struct node **buckets;
	uint64_t buckets_count; /* power of two */
	uint64_t count;
	uint64_t lsn_gone;
	struct node *free;
	struct node_slab *slabs;
} __attribute__((aligned(64)));

struct node_table {
	struct node_part parts[NODE_PARTS];
};

static uint64_t hash_of(uint64_t ino)
{
	return ino * UINT64_C(0x9E3779B97F4A7C15);
}

static struct node_part *part_of(struct node_table *table, uint64_t ino)
{
	return &table->parts[hash_of(ino) >> 58];
}

static struct node **bucket_of(struct node_part *part, uint64_t ino)
{
	return &part->buckets[hash_of(ino) >> 20 & (part->buckets_count - 1)];
}

static struct node *find(struct node_part *part, uint64_t ino)
{
	struct node *node = *bucket_of(part, ino);

	while (node && node->ino != ino)
		node = node->next;
	return node;
}

int node_table_new(struct node_table **out)
{
	struct node_table *table = alloc_aligned(64, sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (int i = 0; i < NODE_PARTS; i++) {
		struct node_part *part = &table->parts[i];
		*part = (struct node_part){.buckets_count = NODE_BUCKETS_FIRST};
		lock_init(&part->lock, LOCK_LEAF);
		part->buckets = alloc_zeroed(NODE_BUCKETS_FIRST, sizeof(*part->buckets));
		if (!part->buckets) {
			while (i--)
				alloc_free(table->parts[i].buckets);
			alloc_free(table);
			return -ENOMEM;
		}
	}
	*out = table;
	return 0;
}

void node_table_free(struct node_table *table)
{
	if (!table)
		return;
	for (int i = 0; i < NODE_PARTS; i++) {
		struct node_slab *slab = table->parts[i].slabs;
		while (slab) {
			struct node_slab *next = slab->next;
			alloc_free(slab);
			slab = next;
		}
		alloc_free(table->parts[i].buckets);
	}
	alloc_free(table);
}

/* Doubles the buckets; without memory the chains just stay longer. */
static void grow(struct node_part *part)
{
	uint64_t old_count = part->buckets_count;
	struct node **old = part->buckets;
	struct node **buckets = alloc_zeroed(old_count * 2, sizeof(*buckets));

	if (!buckets)
		return;
	part->buckets = buckets;
	part->buckets_count = old_count * 2;
	for (uint64_t i = 0; i < old_count; i++) {
		for (struct node *node = old[i], *next; node; node = next) {
			struct node **bucket = bucket_of(part, node->ino);
			next = node->next;
			node->next = *bucket;
			*bucket = node;
		}
	}
	alloc_free(old);
}

static struct node *take_free(struct node_part *part)
{
	if (!part->free) {
		struct node_slab *slab = alloc_get(sizeof(*slab));
		if (!slab)
			return NULL;
		slab->next = part->slabs;
		part->slabs = slab;
		for (int i = 0; i < NODE_SLAB; i++) {
			slab->nodes[i].next = part->free;
			part->free = &slab->nodes[i];
		}
	}
	struct node *node = part->free;
	part->free = node->next;
	return node;
}

int node_ref(struct node_table *table, uint64_t ino)
{
	struct node_part *part = part_of(table, ino);
	int err = 0;

	lock_write(&part->lock);
	struct node *node = find(part, ino);
	if (node) {
		node->lookups++;
		goto out;
	}
	node = take_free(part);
	if (!node) {
		err = -ENOMEM;
		goto out;
	}
	if (part->count++ >= part->buckets_count)
		grow(part);
	struct node **bucket = bucket_of(part, ino);
	*node = (struct node){.next = *bucket, .ino = ino, .lookups = 1, .lsn = part->lsn_gone};
	*bucket = node;
out:
	lock_write_done(&part->lock);
	return err;
}

int node_unref(struct node_table *table, uint64_t ino, uint64_t count)
{
	struct node_part *part = part_of(table, ino);
	int reap = 0;

	lock_write(&part->lock);
	struct node **link = bucket_of(part, ino);
	while (*link && (*link)->ino != ino)
		link = &(*link)->next;
	struct node *node = *link;
	if (node) {
		node->lookups -= count < node->lookups ? count : node->lookups;
		if (node->lookups == 0) {
			reap = node->orphan;
			if (node->lsn > part->lsn_gone)
				part->lsn_gone = node->lsn;
			*link = node->next;
			node->next = part->free;
			part->free = node;
			part->count--;
		}
	}
	lock_write_done(&part->lock);
	return reap;
}

int node_set_orphan(struct node_table *table, uint64_t ino, int orphan)
{
	struct node_part *part = part_of(table, ino);

	lock_write(&part->lock);
	struct node *node = find(part, ino);
	if (node)
		node->orphan = orphan;
	lock_write_done(&part->lock);
	return orphan && !node;
}

void node_set_lsn(struct node_table *table, uint64_t ino, uint64_t lsn)
{
	struct node_part *part = part_of(table, ino);

	lock_write(&part->lock);
	struct node *node = find(part, ino);
	uint64_t *kept = node ? &node->lsn : &part->lsn_gone;
	if (*kept < lsn)
		*kept = lsn;
	lock_write_done(&part->lock);
}

uint64_t node_get_lsn(struct node_table *table, uint64_t ino)
{
	struct node_part *part = part_of(table, ino);

	lock_read(&part->lock);
	struct node *node = find(part, ino);
	uint64_t lsn = node ? node->lsn : part->lsn_gone;
	lock_read_done(&part->lock);
	return lsn;
}

uint64_t node_count(struct node_table *table)
{
	uint64_t count = 0;

	for (int i = 0; i < NODE_PARTS; i++) {
		lock_read(&table->parts[i].lock);
		count += table->parts[i].count;
		lock_read_done(&table->parts[i].lock);
	}
	return count;
}
