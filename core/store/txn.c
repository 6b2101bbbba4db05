/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the life of a transaction: pool, write set, locks, commit, retry; see txn.h. Reading is
 *            in txn_read.c.
 */
#include "core/store/txn_inside.h"
#include "core/store/checkpoint.h"
#include "core/store/ranges.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "pool/layers.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

enum { RETRIES_BEFORE_ESCALATION = 8, TRIES_MAX = 64 };
enum { BACKOFF_NS_FIRST = 2000, BACKOFF_NS_MAX = 1000000 };
enum { ADMIT_PAGES = 512 };

/* ---- pool ---- */

int txn_pool_new(struct mneme *m)
{
	struct txn_pool *pool = alloc_zeroed(1, sizeof *pool);

	if (!pool)
		return -ENOMEM;
	lock_init(&pool->lock, LOCK_LEAF);
	if (getrandom(&pool->hash_seed, sizeof pool->hash_seed, 0) < 0)
		pool->hash_seed = (uintptr_t)pool;
	m->txns = pool;
	return 0;
}

static void txn_destroy(struct mneme_txn *txn)
{
	while (txn->blocks) {
		struct txn_block *next = txn->blocks->next;
		alloc_free(txn->blocks);
		txn->blocks = next;
	}
	alloc_free(txn->ops);
	alloc_free(txn->reads);
	alloc_free(txn->composed);
	alloc_free(txn);
}

void txn_pool_free(struct mneme *m)
{
	if (!m->txns)
		return;
	while (m->txns->free) {
		struct mneme_txn *next = m->txns->free->next;
		txn_destroy(m->txns->free);
		m->txns->free = next;
	}
	alloc_free(m->txns);
	m->txns = NULL;
}

static struct mneme_txn *txn_take(struct mneme *m)
{
	struct txn_pool *pool = m->txns;

	lock_write(&pool->lock);
	struct mneme_txn *txn = pool->free;
	if (txn)
		pool->free = txn->next;
	lock_write_done(&pool->lock);
	if (!txn) {
		txn = alloc_zeroed(1, sizeof *txn);
		if (!txn)
			return NULL;
		txn->m = m;
	}
	return txn;
}

/* Keeps the first blocks, so that a warm transaction allocates nothing. */
static void txn_reset(struct mneme_txn *txn)
{
	int kept = 0;

	for (struct txn_block **link = &txn->blocks; *link;) {
		struct txn_block *block = *link;
		if (kept < TXN_BLOCKS_KEPT && block->size == TXN_BLOCK_BYTES) {
			block->used = 0;
			kept++;
			link = &block->next;
		} else {
			*link = block->next;
			alloc_free(block);
		}
	}
	txn->count = txn->reads_count = 0;
	txn->lock_bits = txn->read_bits = txn->write_bits = 0;
	txn->filter = txn->bytes = 0;
	txn->has_range = 0;
}

static void txn_give(struct mneme_txn *txn)
{
	struct txn_pool *pool = txn->m->txns;

	txn_reset(txn);
	lock_write(&pool->lock);
	txn->next = pool->free;
	pool->free = txn;
	lock_write_done(&pool->lock);
}

void *txn_alloc(struct mneme_txn *txn, uint32_t size)
{
	size = (size + 15) & ~15u;
	for (struct txn_block *b = txn->blocks; b; b = b->next)
		if (b->size - b->used >= size) {
			b->used += size;
			return b->bytes + b->used - size;
		}
	uint32_t room = size > TXN_BLOCK_BYTES ? size : TXN_BLOCK_BYTES;
	struct txn_block *b = alloc_get(sizeof *b + room);
	if (!b)
		return NULL;
	*b = (struct txn_block){.next = txn->blocks, .size = room, .used = size};
	txn->blocks = b;
	return b->bytes;
}

/* ---- keys ---- */

int txn_key_check(const struct mneme *m, const struct mneme_key *key)
{
	(void)m;
	if (!key)
		return -EINVAL;
	if (key->sub_length > MNEME_SUBKEY_MAX)
		return -ENAMETOOLONG;
	return key->sub_length && !key->sub ? -EINVAL : 0;
}

int txn_key_compare(const struct mneme_key *a, const struct mneme_key *b)
{
	if (a->inode != b->inode)
		return a->inode < b->inode ? -1 : 1;
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	/* the key of an inode has no rest, and may say so by NULL */
	struct page_key x = {a->sub ? a->sub : "", a->sub_length},
			y = {b->sub ? b->sub : "", b->sub_length};
	return page_key_compare(x, y);
}

int txn_copy_key(struct mneme_txn *txn, const struct mneme_key *key, struct mneme_key *out)
{
	*out = *key;
	if (!key->sub_length)
		return 0;
	uint8_t *sub = txn_alloc(txn, key->sub_length);
	if (!sub)
		return -ENOMEM;
	memcpy(sub, key->sub, key->sub_length);
	out->sub = sub;
	return 0;
}

uint64_t txn_hash(uint64_t seed, const void *data, size_t length)
{
	const uint8_t *p = data;
	uint64_t h = seed ^ length * 0x9e3779b97f4a7c15ull;

	for (; length >= 8; length -= 8, p += 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		__uint128_t x = (__uint128_t)(h ^ word) * 0xd6e8feb86659fd93ull;
		h = (uint64_t)x ^ (uint64_t)(x >> 64) ^ 0x2545f4914f6cdd1dull;
	}
	uint64_t tail = 0;
	if (length) /* an empty sub-key may be NULL */
		memcpy(&tail, p, length);
	__uint128_t x = (__uint128_t)(h ^ tail ^ 0xa0761d6478bd642full) * 0xe7037ed1a0b428dbull;
	return (uint64_t)x ^ (uint64_t)(x >> 64);
}

uint64_t txn_key_bit(const struct mneme_key *key)
{
	uint64_t h = txn_hash(key->inode * 256 + key->type, key->sub, key->sub_length);

	return 1ull << (h >> 58);
}

/* ---- beginning ---- */

/* Before locks are taken for a short operation: is there room for it? */
static int admit(struct mneme *m, unsigned flags)
{
	uint64_t pages =
		m->dirty.budget_max / 4 < ADMIT_PAGES ? m->dirty.budget_max / 4 : ADMIT_PAGES;
	uint64_t keep = flags & MNEME_TXN_MAY_FILL ? 0 : m->keep_pages + ADMIT_PAGES / 4;
	int rc = store_writable(m);

	if (rc == 0 &&
	    atomic_load_explicit(&m->wal.pending, memory_order_relaxed) > WAL_BUFFER_SOFT)
		rc = commit_make_room(m, -EAGAIN);
	if (rc == 0 && atomic_load_explicit(&m->dirty.budget, memory_order_relaxed) + pages >
			       m->dirty.budget_max)
		rc = commit_make_arena_room(m);
	if (rc == 0 && heap_spare(&m->heap) < (int64_t)keep)
		rc = commit_make_heap_room(m, keep);
	return rc == -ENOSPC && flags & MNEME_TXN_MAY_FILL ? 0 : rc;
}

int mneme_txn_begin(struct mneme *m, unsigned flags, struct mneme_txn **out)
{
	struct mneme_txn *txn;

	if (!out || flags & ~(unsigned)(MNEME_TXN_READ_ONLY | MNEME_TXN_MAY_FILL))
		return -EINVAL;
	LAYER(snapshot, txn = txn_take(m));
	if (!txn)
		return -ENOMEM;
	txn->flags = flags;
	txn->is_locked = 0;
	*out = txn;
	return 0;
}

static void locks_take(struct mneme_txn *txn, uint64_t bits, uint64_t shared)
{
	for (uint64_t left = bits; left; left &= left - 1) {
		int i = __builtin_ctzll(left);
		if (shared >> i & 1)
			lock_read(&txn->m->shards[i].lock);
		else
			lock_write(&txn->m->shards[i].lock);
	}
	txn->lock_bits = bits;
}

static void locks_drop(struct mneme_txn *txn, uint64_t shared)
{
	for (uint64_t left = txn->lock_bits; left; left &= left - 1) {
		int i = __builtin_ctzll(left);
		if (shared >> i & 1)
			lock_read_done(&txn->m->shards[i].lock);
		else
			lock_write_done(&txn->m->shards[i].lock);
	}
	txn->lock_bits = 0;
}

static int begin_bits(struct mneme *m, unsigned flags, uint64_t bits, struct mneme_txn **out)
{
	struct mneme_txn *txn;
	int rc = flags & MNEME_TXN_READ_ONLY ? 0 : admit(m, flags);

	if (rc == 0)
		rc = mneme_txn_begin(m, flags, &txn);
	if (rc < 0)
		return rc;
	txn->is_locked = 1;
	LAYER(lock, locks_take(txn, bits, flags & MNEME_TXN_READ_ONLY ? ~0ull : 0));
	for (uint64_t left = bits; left; left &= left - 1) {
		int i = __builtin_ctzll(left);
		txn->versions[i] = m->shards[i].version;
	}
	*out = txn;
	return 0;
}

int mneme_txn_begin_locked(struct mneme *m, unsigned flags, const uint64_t *inodes, unsigned count,
			   struct mneme_txn **out)
{
	uint64_t bits = 0;

	if (!out || (count && !inodes))
		return -EINVAL;
	for (unsigned i = 0; i < count; i++)
		bits |= 1ull << (inodes[i] & m->shard_mask);
	return begin_bits(m, flags, bits, out);
}

/* ---- write set ---- */

static int op_add(struct mneme_txn *txn, const struct commit_op *op, int copy_value)
{
	int rc = txn ? txn_key_check(txn->m, &op->key) : -EINVAL;

	if (rc == 0 && op->kind != FMT_OP_DELETE_RANGE)
		rc = txn_bytes_check(op->value, op->length);
	if (rc < 0)
		return rc;
	if (txn->flags & MNEME_TXN_READ_ONLY)
		return -EROFS;
	uint64_t bit = 1ull << (op->key.inode & txn->m->shard_mask);
	if (txn->is_locked && !(txn->lock_bits & bit))
		return -EINVAL;
	if ((uint64_t)op->offset + op->length > MNEME_VALUE_MAX || txn->count >= COMMIT_OPS_MAX ||
	    txn->bytes + op->length > COMMIT_BYTES_MAX)
		return -E2BIG;
	if (txn->count == txn->ops_size) {
		uint32_t size = txn->ops_size ? 2 * txn->ops_size : 16;
		void *more = alloc_resize(txn->ops, size * sizeof txn->ops[0]);
		if (!more)
			return -ENOMEM;
		txn->ops = more;
		txn->ops_size = size;
	}
	struct commit_op *own = &txn->ops[txn->count];
	*own = *op;
	rc = txn_copy_key(txn, &op->key, &own->key);
	if (rc == 0 && op->kind == FMT_OP_DELETE_RANGE)
		rc = txn_copy_key(txn, &op->last, &own->last);
	if (rc == 0 && copy_value && op->length) {
		void *value = txn_alloc(txn, op->length);
		if (!value)
			return -ENOMEM;
		memcpy(value, op->value, op->length);
		own->value = value;
	}
	if (rc < 0)
		return rc;
	txn->bytes += op->length;
	txn->write_bits |= bit;
	txn->filter |= txn_key_bit(&op->key);
	txn->has_range |= op->kind == FMT_OP_DELETE_RANGE;
	txn->count++;
	return 0;
}

int mneme_txn_put(struct mneme_txn *txn, const struct mneme_key *key, const void *value,
		  size_t length)
{
	if (!key)
		return -EINVAL;
	if (length > MNEME_VALUE_MAX)
		return -E2BIG;
	struct commit_op op = {.kind = FMT_OP_PUT, .key = *key, .value = value, .length = length};
	return op_add(txn, &op, 1);
}

int mneme_txn_put_borrowed(struct mneme_txn *txn, const struct mneme_key *key, const void *value,
			   size_t length)
{
	if (!key)
		return -EINVAL;
	if (length > MNEME_VALUE_MAX)
		return -E2BIG;
	struct commit_op op = {.kind = FMT_OP_PUT, .key = *key, .value = value, .length = length};
	return op_add(txn, &op, 0);
}

int mneme_txn_put_parts(struct mneme_txn *txn, const struct mneme_key *key, const void *head,
			size_t head_length, const void *tail, size_t tail_length)
{
	if (!txn)
		return -EINVAL;
	if (head_length > MNEME_VALUE_MAX || tail_length > MNEME_VALUE_MAX - head_length)
		return -E2BIG;
	if (txn_bytes_check(head, head_length) || txn_bytes_check(tail, tail_length))
		return -EINVAL;
	uint8_t *value = txn_alloc(txn, head_length + tail_length);
	if (!value)
		return -ENOMEM;
	if (head_length)
		memcpy(value, head, head_length);
	if (tail_length)
		memcpy(value + head_length, tail, tail_length);
	return mneme_txn_put_borrowed(txn, key, value, head_length + tail_length);
}

int mneme_txn_patch_borrowed(struct mneme_txn *txn, const struct mneme_key *key, size_t offset,
			     const void *data, size_t length)
{
	if (!key)
		return -EINVAL;
	if (offset > MNEME_VALUE_MAX || length > MNEME_VALUE_MAX)
		return -E2BIG;
	struct commit_op op = {.kind = FMT_OP_PATCH,
			       .key = *key,
			       .value = data,
			       .length = length,
			       .offset = offset};
	return op_add(txn, &op, 0);
}

int mneme_txn_truncate(struct mneme_txn *txn, const struct mneme_key *key, size_t length)
{
	if (!key)
		return -EINVAL;
	if (length > MNEME_VALUE_MAX)
		return -E2BIG;
	struct commit_op op = {.kind = FMT_OP_TRUNCATE, .key = *key, .offset = length};
	return op_add(txn, &op, 0);
}

int mneme_txn_delete(struct mneme_txn *txn, const struct mneme_key *key)
{
	if (!key)
		return -EINVAL;
	struct commit_op op = {.kind = FMT_OP_DELETE, .key = *key};
	return op_add(txn, &op, 0);
}

int mneme_txn_delete_range(struct mneme_txn *txn, const struct mneme_key *first,
			   const struct mneme_key *last)
{
	int rc = txn && first ? txn_key_check(txn->m, last) : -EINVAL;

	if (rc < 0)
		return rc;
	struct commit_op op = {.kind = FMT_OP_DELETE_RANGE, .key = *first, .last = *last};
	return op_add(txn, &op, 0);
}

/* ---- commit ---- */

static int versions_unchanged(const struct mneme_txn *txn, uint64_t bits)
{
	for (uint32_t i = 0; i < txn->m->shard_count; i++)
		if (bits >> i & 1 && txn->versions[i] != txn->m->shards[i].version)
			return 0;
	return 1;
}

/* The last inode of which the range can have a key. */
static uint64_t range_last_inode(const struct commit_op *op)
{
	const struct mneme_key *last = &op->last;

	if (last->inode > op->key.inode && !last->type && !last->sub_length)
		return last->inode - 1;
	return last->inode;
}

static enum mneme_durability txn_durability(struct mneme_txn *txn, enum mneme_durability asked)
{
	enum mneme_durability most = asked;

	if (asked != MNEME_DURABILITY_DEFAULT)
		return asked;
	/* The strictest of its keys: all of it is one record. */
	for (uint32_t i = 0; i < txn->count; i++) {
		const struct commit_op *op = &txn->ops[i];
		uint64_t first = op->key.inode;
		uint64_t last = op->kind == FMT_OP_DELETE_RANGE ? range_last_inode(op) : first;
		enum mneme_durability d = ranges_durability(txn->m, first, last, asked);
		if (d > most)
			most = d;
		if (!atomic_load_explicit(&txn->m->ranges_used, memory_order_relaxed))
			break;
	}
	return most;
}

/* One try with the locks held; drops them. */
static int commit_try(struct mneme_txn *txn, enum mneme_durability durability, uint64_t shared,
		      uint64_t *lsn)
{
	struct mneme *m = txn->m;
	int rc = 0;

	if (!txn->is_locked)
		LAYER(snapshot, rc = txn_validate(txn));
	*lsn = 0;
	if (rc < 0) {
		atomic_fetch_add_explicit(&m->conflicts, 1, memory_order_relaxed);
	} else if (txn->count) {
		rc = commit_apply(m, txn->ops, txn->count, txn->flags,
				  durability != MNEME_DURABILITY_MEMORY, lsn);
		if (rc == -EAGAIN) /* the log's buffer: not a conflict */
			rc = -EXFULL;
	}
	locks_drop(txn, shared);
	return rc;
}

int mneme_txn_commit_async(struct mneme_txn *txn, enum mneme_durability asked, uint64_t *wait_for)
{
	*wait_for = 0;
	if (!txn)
		return -EINVAL;
	if (!commit_durability_is_known(asked)) {
		mneme_txn_abort(txn);
		return -EINVAL;
	}
	struct mneme *m = txn->m;
	uint64_t bits = txn->is_locked ? txn->lock_bits : txn->read_bits | txn->write_bits;
	uint64_t shared = txn->is_locked ? (txn->flags & MNEME_TXN_READ_ONLY ? ~0ull : 0)
					 : bits & ~txn->write_bits;
	enum mneme_durability durability = txn_durability(txn, asked);
	uint64_t lsn;
	int rc, full = 0;

	for (;;) {
		if (!txn->is_locked)
			LAYER(lock, locks_take(txn, bits, shared));
		rc = commit_try(txn, durability, shared, &lsn);
		/* a checkpoint that frees a little each time does not make a full disk larger */
		if (rc == -ENOSPC && commit_gives_up(++full))
			break;
		if (rc == -EXFULL || rc == -ENOBUFS || rc == -EINPROGRESS || rc == -ENOSPC) {
			rc = commit_make_room(m, rc == -EXFULL ? -EAGAIN : rc);
			if (rc < 0)
				break;
			if (txn->is_locked) {
				locks_take(txn, bits, shared);
				if (!versions_unchanged(txn, bits)) {
					locks_drop(txn, shared);
					rc = -EAGAIN;
					break;
				}
			}
			continue;
		}
		break;
	}
	int wrote = txn->count != 0;
	txn_give(txn);
	if (rc < 0 || !wrote)
		return rc;
	commit_done(m, lsn);
	*wait_for = durability == MNEME_DURABILITY_STRICT ? lsn : 0;
	return 0;
}

int mneme_txn_commit(struct mneme_txn *txn, enum mneme_durability asked)
{
	struct mneme *m = txn ? txn->m : NULL;
	uint64_t wait_for;
	int rc = mneme_txn_commit_async(txn, asked, &wait_for);

	if (rc == 0 && wait_for)
		LAYER(log, rc = mneme_sync_to(m, wait_for));
	return rc;
}

void mneme_txn_abort(struct mneme_txn *txn)
{
	if (!txn)
		return;
	locks_drop(txn, txn->flags & MNEME_TXN_READ_ONLY ? ~0ull : 0);
	txn_give(txn);
}

/* ---- retry ---- */

static void backoff(unsigned attempt, uint64_t *random)
{
	uint64_t most = (uint64_t)BACKOFF_NS_FIRST << (attempt < 9 ? attempt : 9);

	if (most > BACKOFF_NS_MAX)
		most = BACKOFF_NS_MAX;
	*random = *random * 6364136223846793005ull + 1442695040888963407ull;
	struct timespec t = {0, most / 2 + (*random >> 33) % (most / 2)};
	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

int mneme_txn_run(struct mneme *m, mneme_txn_body *body, void *arg,
		  enum mneme_durability durability)
{
	uint64_t random = (uintptr_t)&random ^ (uintptr_t)arg, all = ~0ull >> (64 - m->shard_count);

	if (!body)
		return -EINVAL;
	for (unsigned attempt = 0; attempt < TRIES_MAX; attempt++) {
		struct mneme_txn *txn;
		int rc = attempt < RETRIES_BEFORE_ESCALATION ? mneme_txn_begin(m, 0, &txn)
							     : begin_bits(m, 0, all, &txn);
		if (rc == 0) {
			rc = body(txn, arg);
			if (rc < 0)
				mneme_txn_abort(txn);
			else
				rc = mneme_txn_commit(txn, durability);
		}
		if (rc != -EAGAIN)
			return rc;
		backoff(attempt, &random);
	}
	return -EAGAIN;
}
