/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   room that is set aside; see reserve.h.
 */
#include "core/store/reserve.h"
#include "core/store/txn_inside.h"
#include "core/store/value.h"

#include <endian.h>

/* No heap has room for more, and so the sum over all shards is a number. */
#define VALUES_MOST (UINT64_C(1) << 40)

static_assert(MNEME_CHUNK_SIZE == ASIDE_PAGES * FMT_PAGE_SIZE, "a quad is a value's run");

static uint64_t loose_pages(uint64_t values)
{
	return values * dirty_places(dirty_order(MNEME_CHUNK_SIZE));
}

/* For the cells in leaves that so many values will have: some 60 bytes each, in leaves that may be half
 * empty. */
static uint64_t leaf_pages(uint64_t values)
{
	return (values + MNEME_RESERVE_LEAF - 1) / MNEME_RESERVE_LEAF;
}

/* What a record says; 0 where it is none. */
static uint64_t record_read(const void *value, size_t length)
{
	uint64_t number = 0;

	if (length == sizeof number)
		memcpy(&number, value, sizeof number);
	number = le64toh(number);
	return number < VALUES_MOST ? number : VALUES_MOST;
}

static int is_record(const struct commit_op *op)
{
	return op->key.type == MNEME_TYPE_RESERVED && op->kind == FMT_OP_PUT;
}

static int64_t change(struct mneme *m, const struct commit_op *ops, uint32_t count)
{
	int64_t values = 0;

	for (uint32_t i = 0; i < count; i++)
		if (is_record(&ops[i]))
			values += (int64_t)(record_read(ops[i].value, ops[i].length) -
					    store_shard(m, ops[i].key.inode)->reserved);
	return values;
}

/* Runs as far as there are; the others may need a page more each. */
static int take(struct mneme *m, int64_t keep, struct reserve *r)
{
	uint64_t values = (uint64_t)r->values;

	r->leaves = leaf_pages(values);
	r->wanted = values * ASIDE_PAGES + r->leaves;
	if (heap_promise(&m->heap, r->wanted, keep) < 0)
		return -ENOSPC;
	r->quads = aside_take(&m->aside, &m->heap, values);
	r->loose = values - r->quads;
	if (!r->loose)
		return 0;
	uint64_t more = loose_pages(r->loose) - r->loose * ASIDE_PAGES;
	r->wanted += more;
	if (heap_promise(&m->heap, more, keep) == 0)
		return 0;
	aside_give(&m->aside, &m->heap, r->quads);
	heap_unpromise(&m->heap, r->loose * ASIDE_PAGES + r->leaves);
	return -ENOSPC;
}

int reserve_begin(struct mneme *m, const struct commit_op *ops, uint32_t count, int64_t keep,
		  struct reserve *r)
{
	*r = (struct reserve){.values = change(m, ops, count)};
	if (r->values > 0)
		return take(m, keep, r);
	if (r->values < 0) {
		r->quads = aside_claim(&m->aside, (uint64_t)-r->values);
		r->loose = (uint64_t)-r->values - r->quads;
		/* relaxed: a count; those of other shards may just have had theirs */
		r->leaves =
			leaf_pages(atomic_load_explicit(&m->reserved_values, memory_order_relaxed));
	}
	return 0;
}

uint64_t reserve_handed(const struct reserve *r)
{
	return r->values < 0 ? loose_pages(r->loose) + r->leaves : 0;
}

void reserve_undo(struct mneme *m, const struct reserve *r)
{
	if (r->values < 0) {
		aside_unclaim(&m->aside, r->quads);
		return;
	}
	aside_give(&m->aside, &m->heap, r->quads);
	heap_unpromise(&m->heap, loose_pages(r->loose) + r->leaves);
}

/* The values that are set aside are more by so many now: by how many pages their leaves are. */
static int64_t leaves_change(struct mneme *m, int64_t values)
{
	/* relaxed: a count */
	uint64_t before = atomic_fetch_add_explicit(&m->reserved_values, (uint64_t)values,
						    memory_order_relaxed);

	return (int64_t)leaf_pages(before + (uint64_t)values) - (int64_t)leaf_pages(before);
}

void reserve_settle(struct mneme *m, const struct commit_op *ops, uint32_t count,
		    const struct reserve *r, uint64_t left)
{
	int64_t pages = (int64_t)loose_pages(r->loose);

	for (uint32_t i = 0; i < count; i++)
		if (is_record(&ops[i]))
			store_shard(m, ops[i].key.inode)->reserved =
				record_read(ops[i].value, ops[i].length);
	heap_reserve(&m->heap, leaves_change(m, r->values) + (r->values > 0 ? pages : -pages));
	if (r->values > 0) {
		heap_unpromise(&m->heap, (uint64_t)pages + r->leaves);
		aside_unclaim(&m->aside, r->quads);
	}
	aside_give(&m->aside, &m->heap, left);
}

int reserve_load(struct mneme *m)
{
	uint64_t values = 0;

	for (uint32_t i = 0; i < m->shard_count && !m->read_only; i++) {
		struct mneme_key key = {.inode = i, .type = MNEME_TYPE_RESERVED};
		const void *value = NULL;
		size_t length = 0;
		int rc = txn_tree_get(m, &key, &value, &length);
		if (rc < 0 && rc != -ENOENT)
			return rc;
		m->shards[i].reserved = rc ? 0 : record_read(value, length);
		values += m->shards[i].reserved;
	}
	if (!values)
		return 0;
	/* The file has them: it may only be larger than the superblock knows. */
	(void)heap_grow(&m->heap, values * ASIDE_PAGES + leaf_pages(values));
	(void)heap_promise(&m->heap, values * ASIDE_PAGES, INT64_MIN);
	uint64_t quads = aside_take(&m->aside, &m->heap, values);
	heap_unpromise(&m->heap, (values - quads) * ASIDE_PAGES);
	aside_unclaim(&m->aside, quads);
	heap_reserve(&m->heap,
		     leaves_change(m, (int64_t)values) + (int64_t)loose_pages(values - quads));
	return 0;
}

int mneme_txn_reserve(struct mneme_txn *txn, uint64_t inode, int64_t values)
{
	if (!txn)
		return -EINVAL;
	struct mneme_key key = {.inode = inode & txn->m->shard_mask, .type = MNEME_TYPE_RESERVED};
	uint64_t record;
	size_t length = 0;
	int rc = mneme_txn_get(txn, &key, &record, sizeof record, &length);

	if (rc < 0 && rc != -ENOENT)
		return rc == -ERANGE ? -EUCLEAN : rc;
	uint64_t number = rc ? 0 : record_read(&record, length);
	if (values < 0 && number < (uint64_t)-values)
		number = 0; /* the record is wrong: fsck tells */
	else
		number += (uint64_t)values;
	record = htole64(number);
	for (uint32_t i = 0; i < txn->count; i++) /* a shard's record comes once */
		if (is_record(&txn->ops[i]) && txn->ops[i].key.inode == key.inode &&
		    txn->ops[i].length == sizeof record) {
			memcpy((void *)(uintptr_t)txn->ops[i].value, &record, sizeof record);
			return 0;
		}
	return mneme_txn_put(txn, &key, &record, sizeof record);
}
