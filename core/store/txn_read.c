/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what a transaction reads: the tree, its own writes on top, and validation; see txn.h.
 */
#include "core/store/txn_inside.h"
#include "core/store/heap_fault.h"
#include "core/store/value.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_ABSENT 0x5bd1e995a5a5a5a5ull

static _Thread_local uint8_t key_bytes[FMT_KEY_MAX]; /* not on the stack: handlers have 3 KiB */

int txn_tree_get(struct mneme *m, const struct mneme_key *key, const void **value, size_t *length)
{
	struct page_key encoded = {key_bytes, store_encode_key(key, key_bytes)};
	struct tree_path path;
	uint32_t n = 0;
	uint64_t faults = heap_faults(&m->heap);
	int error = 0, rc = tree_find(m, store_shard(m, key->inode), encoded, &path);

	if (rc < 0)
		return store_read_fault(m, faults, rc);
	if (!path.depth || !path.found)
		return store_read_fault(m, faults, -ENOENT);
	*value = value_read(m, path.pages[path.depth - 1], path.positions[path.depth - 1], &n,
			    &error);
	*length = n;
	return store_read_fault(m, faults, *value ? 0 : error);
}

/* The leaf of a scan, when it is a copy: `each` may read another one in its transaction. Taken by the
 * thread's outermost scan; one inside reads its leaves in place. Not on the stack: handlers have
 * 3 KiB. */
static _Thread_local _Alignas(8) uint8_t scan_leaf[FMT_PAGE_SIZE];
static _Thread_local int scan_leaf_taken;

static const struct fmt_page *scan_leaf_of(struct tree_path *path)
{
	struct fmt_page **leaf = &path->pages[path->depth - 1];

	if (heap_page_is_brief(*leaf))
		*leaf = memcpy(scan_leaf, *leaf, FMT_PAGE_SIZE);
	return *leaf;
}

int txn_tree_scan(struct mneme *m, const struct mneme_key *first, const struct mneme_key *last,
		  int last_inclusive, uint64_t limit, mneme_scan_each *each, void *arg,
		  uint64_t *hash)
{
	struct page_key from = {key_bytes, store_encode_key(first, key_bytes)};
	struct tree_path path;
	uint64_t faults = heap_faults(&m->heap), given = 0;
	int brief = !scan_leaf_taken, early = 0;
	struct shard *shard = store_shard(m, first->inode);
	int rc = brief ? tree_find(m, shard, from, &path) : tree_seek(m, shard, from, &path);

	if (rc < 0)
		return store_read_fault(m, faults, rc);
	scan_leaf_taken = 1;
	for (rc = tree_settle(m, &path); rc > 0; rc = tree_next(m, &path)) {
		const struct fmt_page *leaf = scan_leaf_of(&path);
		unsigned position = path.positions[path.depth - 1];
		struct page_key at = page_key_at(leaf, position);
		struct mneme_key key;
		store_decode_key(at, &key);
		/* `last` as it is given: keys lie in the order of their encodings */
		int order = txn_key_compare(&key, last);
		early = 1;
		rc = 0;
		if (order > 0 || (order == 0 && !last_inclusive))
			break;
		uint32_t length;
		int error = 0;
		const void *value = value_read(m, leaf, position, &length, &error);
		rc = store_read_fault(m, faults, value ? 0 : error);
		if (rc)
			break;
		if (hash)
			*hash = txn_hash(txn_hash(*hash, at.bytes, at.length), value, length);
		rc = each(arg, &key, value, length);
		if (rc || (limit && ++given == limit))
			break;
		early = 0;
	}
	if (brief)
		scan_leaf_taken = 0;
	return early ? rc : store_read_fault(m, faults, rc);
}

/* ---- own writes ---- */

static uint8_t *composed_buffer(struct mneme_txn *txn)
{
	if (!txn->composed)
		txn->composed = alloc_get(FMT_VALUE_MAX);
	return txn->composed;
}

/* A range has the keys of one shard, though others lie between its ends. */
static int op_touches(const struct mneme_txn *txn, const struct commit_op *op,
		      const struct mneme_key *key)
{
	if (op->kind != FMT_OP_DELETE_RANGE)
		return txn_key_compare(&op->key, key) == 0;
	return !((op->key.inode ^ key->inode) & txn->m->shard_mask) &&
	       txn_key_compare(&op->key, key) <= 0 && txn_key_compare(key, &op->last) < 0;
}

int txn_overlay(struct mneme_txn *txn, const struct mneme_key *key, const void *base,
		size_t base_length, const void **value, size_t *length)
{
	*value = base;
	*length = base ? base_length : 0;
	if (!txn->has_range && !(txn->filter & txn_key_bit(key)))
		return base != NULL;
	for (uint32_t i = 0; i < txn->count; i++) {
		const struct commit_op *op = &txn->ops[i];
		if (!op_touches(txn, op, key))
			continue;
		switch (op->kind) {
		case FMT_OP_PUT:
			*value = op->length ? op->value : "";
			*length = op->length;
			break;
		case FMT_OP_TRUNCATE:
			if (*value && *length > op->offset)
				*length = op->offset;
			break;
		case FMT_OP_PATCH: {
			uint8_t *buffer = composed_buffer(txn);
			size_t end = op->offset + op->length;
			if (!buffer)
				return -ENOMEM;
			if (*value && *value != buffer)
				memcpy(buffer, *value, *length);
			if (op->offset > *length)
				memset(buffer + *length, 0, op->offset - *length);
			if (op->length)
				memcpy(buffer + op->offset, op->value, op->length);
			*length = end > *length ? end : *length;
			*value = buffer;
			break;
		}
		default:
			*value = NULL;
			*length = 0;
		}
	}
	return *value != NULL;
}

/* ---- reads ---- */

int txn_read_note(struct mneme_txn *txn, const struct mneme_key *first,
		  const struct mneme_key *last, int last_inclusive, uint64_t hash)
{
	if (txn->reads_count == txn->reads_size) {
		uint32_t size = txn->reads_size ? 2 * txn->reads_size : 16;
		void *more = alloc_resize(txn->reads, size * sizeof txn->reads[0]);
		if (!more)
			return -ENOMEM;
		txn->reads = more;
		txn->reads_size = size;
	}
	struct txn_read *r = &txn->reads[txn->reads_count];
	*r = (struct txn_read){
		.hash = hash, .is_scan = last != NULL, .last_inclusive = last_inclusive};
	int rc = txn_copy_key(txn, first, &r->first);
	if (rc == 0 && last)
		rc = txn_copy_key(txn, last, &r->last);
	if (rc < 0)
		return rc;
	txn->read_bits |= 1ull << (first->inode & txn->m->shard_mask);
	txn->reads_count++;
	return 0;
}

static int no_op(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	(void)arg, (void)key, (void)value, (void)length;
	return 0;
}

int txn_validate(struct mneme_txn *txn)
{
	uint64_t seed = txn->m->txns->hash_seed;

	for (uint32_t i = 0; i < txn->reads_count; i++) {
		const struct txn_read *r = &txn->reads[i];
		uint64_t hash = seed;
		int rc;
		if (r->is_scan) {
			rc = txn_tree_scan(txn->m, &r->first, &r->last, r->last_inclusive, 0, no_op,
					   NULL, &hash);
		} else {
			const void *value;
			size_t length;
			rc = txn_tree_get(txn->m, &r->first, &value, &length);
			hash = rc == 0 ? txn_hash(seed, value, length) : HASH_ABSENT;
			if (rc == -ENOENT)
				rc = 0;
		}
		if (rc < 0)
			return rc;
		if (hash != r->hash && !SEEDED_BUG(10))
			return -EAGAIN;
	}
	return 0;
}

static int shard_enter(struct mneme_txn *txn, uint64_t inode)
{
	if (txn->is_locked)
		return txn->lock_bits >> (inode & txn->m->shard_mask) & 1 ? 0 : -EINVAL;
	lock_read(&store_shard(txn->m, inode)->lock);
	return 0;
}

static void shard_leave(struct mneme_txn *txn, uint64_t inode)
{
	if (!txn->is_locked)
		lock_read_done(&store_shard(txn->m, inode)->lock);
}

int mneme_txn_get(struct mneme_txn *txn, const struct mneme_key *key, void *value, size_t capacity,
		  size_t *length)
{
	const void *base = NULL, *seen;
	size_t base_length = 0;
	int rc = txn && length ? txn_key_check(txn->m, key) : -EINVAL;

	if (rc == 0)
		rc = txn_bytes_check(value, capacity);
	if (rc == 0)
		rc = shard_enter(txn, key->inode);
	if (rc < 0)
		return rc;
	rc = txn_tree_get(txn->m, key, &base, &base_length);
	uint64_t hash = HASH_ABSENT;
	if (rc == 0 && !txn->is_locked)
		hash = txn_hash(txn->m->txns->hash_seed, base, base_length);
	if (rc == 0 || rc == -ENOENT)
		rc = txn_overlay(txn, key, rc == 0 ? base : NULL, base_length, &seen, length);
	if (rc == 1) {
		rc = 0;
		if (capacity && *length > capacity)
			rc = -ERANGE;
		else if (capacity && *length)
			memcpy(value, seen, *length);
	} else if (rc == 0) {
		rc = -ENOENT;
	}
	shard_leave(txn, key->inode);
	if (!txn->is_locked && (rc == 0 || rc == -ENOENT || rc == -ERANGE)) {
		int noted = txn_read_note(txn, key, NULL, 0, hash);
		if (noted < 0)
			return noted;
	}
	return rc;
}

int mneme_txn_borrow(struct mneme_txn *txn, const struct mneme_key *key, const void **value,
		     size_t *length)
{
	const void *base = NULL;
	size_t base_length = 0;
	int rc = txn && txn->is_locked && value && length ? txn_key_check(txn->m, key) : -EINVAL;

	if (rc == 0)
		rc = shard_enter(txn, key->inode);
	if (rc == 0)
		rc = txn_tree_get(txn->m, key, &base, &base_length);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	rc = txn_overlay(txn, key, base, base_length, value, length);
	return rc == 1 ? 0 : rc == 0 ? -ENOENT : rc;
}

/* ---- scan: the tree's keys merged with the own ones ---- */

struct merge {
	struct mneme_txn *txn;
	mneme_scan_each *each;
	void *arg;
	const struct mneme_key **own; /* own keys of the range, in order, each once */
	uint32_t own_count, own_at;
	uint64_t limit, given;
	struct mneme_key end; /* the last key looked at, copied */
	int ended;            /* the limit is reached */
	int early;            /* the tree's scan stopped at `end` */
	int stopped;          /* by `each` */
};

static int own_compare(const void *a, const void *b)
{
	return txn_key_compare(*(const struct mneme_key *const *)a,
			       *(const struct mneme_key *const *)b);
}

static int own_collect(struct merge *g, const struct mneme_key *first, const struct mneme_key *last)
{
	struct mneme_txn *txn = g->txn;

	if (!txn->count)
		return 0;
	g->own = txn_alloc(txn, txn->count * sizeof g->own[0]);
	if (!g->own)
		return -ENOMEM;
	for (uint32_t i = 0; i < txn->count; i++) {
		const struct mneme_key *key = &txn->ops[i].key;
		if ((txn->ops[i].kind == FMT_OP_PUT || txn->ops[i].kind == FMT_OP_PATCH) &&
		    (key->inode & txn->m->shard_mask) == (first->inode & txn->m->shard_mask) &&
		    txn_key_compare(first, key) <= 0 && txn_key_compare(key, last) < 0)
			g->own[g->own_count++] = key;
	}
	qsort(g->own, g->own_count, sizeof g->own[0], own_compare);
	uint32_t kept = 0;
	for (uint32_t i = 0; i < g->own_count; i++)
		if (!kept || txn_key_compare(g->own[kept - 1], g->own[i]) != 0)
			g->own[kept++] = g->own[i];
	g->own_count = kept;
	return 0;
}

/* Gives one key on, as the own writes leave it. */
static int merge_give(struct merge *g, const struct mneme_key *key, const void *base, size_t length)
{
	const void *value;
	int rc = txn_overlay(g->txn, key, base, length, &value, &length);

	if (rc <= 0)
		return rc;
	rc = g->each(g->arg, key, value, length);
	g->stopped = rc != 0;
	if (rc == 0 && g->limit && ++g->given == g->limit)
		g->ended = 1;
	return rc;
}

static int merge_own_before(struct merge *g, const struct mneme_key *key)
{
	while (g->own_at < g->own_count && !g->ended &&
	       (!key || txn_key_compare(g->own[g->own_at], key) < 0)) {
		int rc = merge_give(g, g->own[g->own_at++], NULL, 0);
		if (rc)
			return rc;
	}
	return 0;
}

static int merge_tree_key(struct merge *g, const struct mneme_key *key, const void *value,
			  size_t length)
{
	int rc = merge_own_before(g, key);

	if (rc)
		return rc;
	if (g->ended)
		return 1;
	if (g->own_at < g->own_count && txn_key_compare(g->own[g->own_at], key) == 0)
		g->own_at++;
	rc = merge_give(g, key, value, length);
	return rc ? rc : g->ended;
}

static int merge_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct merge *g = arg;
	int rc = merge_tree_key(g, key, value, length);

	if (rc && !g->txn->is_locked) {
		int noted = txn_copy_key(g->txn, key, &g->end);
		if (noted < 0) {
			g->stopped = 0;
			return noted;
		}
		g->early = 1;
	}
	return rc;
}

int mneme_txn_scan(struct mneme_txn *txn, const struct mneme_key *first,
		   const struct mneme_key *last, uint64_t limit, mneme_scan_each *each, void *arg)
{
	struct merge g = {.txn = txn, .each = each, .arg = arg, .limit = limit};
	int rc = txn && each ? txn_key_check(txn->m, first) : -EINVAL;

	if (rc == 0)
		rc = txn_key_check(txn->m, last);
	if (rc == 0)
		rc = own_collect(&g, first, last);
	if (rc == 0)
		rc = shard_enter(txn, first->inode);
	if (rc < 0)
		return rc;
	uint64_t hash = txn->m->txns->hash_seed;
	rc = txn_tree_scan(txn->m, first, last, 0, 0, merge_each, &g,
			   txn->is_locked ? NULL : &hash);
	if (rc == 0)
		rc = merge_own_before(&g, NULL);
	shard_leave(txn, first->inode);
	if (rc > 0 && g.ended)
		rc = 0;
	if (!txn->is_locked && (rc >= 0 || g.stopped)) {
		/* Ended early: what lies behind the last key seen is nobody's business. */
		int noted = txn_read_note(txn, first, g.early ? &g.end : last, g.early, hash);
		if (noted < 0)
			return noted;
	}
	return rc;
}
