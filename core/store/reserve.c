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

static int64_t pages_of(int64_t values)
{
	return values * dirty_places(dirty_order(MNEME_CHUNK_SIZE));
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

int64_t reserve_change(struct mneme *m, const struct commit_op *ops, uint32_t count)
{
	int64_t values = 0;

	for (uint32_t i = 0; i < count; i++)
		if (is_record(&ops[i]))
			values += (int64_t)(record_read(ops[i].value, ops[i].length) -
					    store_shard(m, ops[i].key.inode)->reserved);
	return pages_of(values);
}

void reserve_settle(struct mneme *m, const struct commit_op *ops, uint32_t count, int64_t pages)
{
	for (uint32_t i = 0; i < count; i++)
		if (is_record(&ops[i]))
			store_shard(m, ops[i].key.inode)->reserved =
				record_read(ops[i].value, ops[i].length);
	heap_reserve(&m->heap, pages);
	if (pages > 0)
		heap_unpromise(&m->heap, (uint64_t)pages);
}

int reserve_load(struct mneme *m)
{
	int64_t pages = 0;

	for (uint32_t i = 0; i < m->shard_count && !m->read_only; i++) {
		struct mneme_key key = {.inode = i, .type = MNEME_TYPE_RESERVED};
		const void *value = NULL;
		size_t length = 0;
		int rc = txn_tree_get(m, &key, &value, &length);
		if (rc < 0 && rc != -ENOENT)
			return rc;
		m->shards[i].reserved = rc ? 0 : record_read(value, length);
		pages += pages_of((int64_t)m->shards[i].reserved);
	}
	/* The file has them: it may only be larger than the superblock knows. */
	if (pages)
		(void)heap_grow(&m->heap, (uint64_t)pages);
	heap_reserve(&m->heap, pages);
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
