/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the single operations, views, durability and state of core/mneme.h.
 */
#include "core/store/checkpoint.h"
#include "core/store/commit.h"
#include "core/store/packer.h"
#include "core/store/txn_inside.h"
#include "pool/check.h"
#include "pool/layers.h"

#include <errno.h>
#include <stdio.h>

int mneme_create(const char *directory, const struct mneme_create_options *options,
		 struct mneme_error *error)
{
	struct io *io;

	if (!directory)
		return store_refuse(error, -EINVAL, "no directory was given");
	int rc = store_create_check(options, error);
	if (rc < 0) /* before a directory is made */
		return rc;
	rc = io_posix_new(directory, 1, &io);
	if (rc < 0) {
		if (error)
			snprintf(error->message, sizeof error->message, "%s: %s", directory,
				 strerror(-rc));
		return rc;
	}
	rc = store_create(io, options, error);
	io->ops->destroy(io);
	return rc;
}

int mneme_open(const char *directory, const struct mneme_options *options, struct mneme **out,
	       struct mneme_error *error)
{
	const char *which = options ? options->io : NULL;
	struct io *io;
	int rc;

	if (!directory || !out)
		return store_refuse(error, -EINVAL,
				    directory ? "no place for the store's handle was given (out)"
					      : "no directory was given");
	if (which && strcmp(which, "posix") && strcmp(which, "uring"))
		return store_refuse(error, -EINVAL,
				    "the option io is \"%s\": it can be posix, uring or NULL",
				    which);
	if (options && !commit_durability_is_known(options->durability))
		return store_refuse(error, -EINVAL,
				    "the option durability is %d, which is not known",
				    (int)options->durability);
	if (which && !strcmp(which, "posix"))
		rc = io_posix_new(directory, 0, &io);
	else if (which)
		rc = io_uring_new(directory, 0, &io);
	else
		rc = io_open_directory(directory, 0, &io);
	if (rc < 0) {
		if (error)
			snprintf(error->message, sizeof error->message, "%s: %s%s", directory,
				 strerror(-rc),
				 rc == -ENOENT ? "; mkfs.mnemefs makes a store" : "");
		return rc;
	}
	return store_open(io, options, NULL, out, error);
}

uint32_t mneme_shards(const struct mneme *m)
{
	return m->shard_count;
}

uint64_t mneme_inode_new(struct mneme *m, uint32_t shard)
{
	struct shard *s = &m->shards[shard & m->shard_mask];
	/* relaxed: only uniqueness counts */
	uint64_t sequence = atomic_fetch_add_explicit(&s->inode_next, 1, memory_order_relaxed);

	return sequence * m->shard_count + s->index;
}

/* ---- single operations ---- */

int mneme_get(struct mneme *m, const struct mneme_key *key, void *value, size_t capacity,
	      size_t *length)
{
	const void *seen;
	int rc = length ? txn_key_check(m, key) : -EINVAL;

	if (rc == 0)
		rc = txn_bytes_check(value, capacity);
	if (rc < 0)
		return rc;
	struct shard *s = store_shard(m, key->inode);
	LAYER(lock, lock_read(&s->lock));
	rc = txn_tree_get(m, key, &seen, length);
	if (rc == 0 && capacity && *length > capacity)
		rc = -ERANGE;
	else if (rc == 0 && capacity && *length)
		memcpy(value, seen, *length);
	lock_read_done(&s->lock);
	return rc;
}

int mneme_put(struct mneme *m, const struct mneme_key *key, const void *value, size_t length,
	      enum mneme_durability durability)
{
	int rc = txn_key_check(m, key);

	if (rc < 0)
		return rc;
	if (length > MNEME_VALUE_MAX)
		return -E2BIG;
	if (txn_bytes_check(value, length))
		return -EINVAL;
	struct commit_op op = {.kind = FMT_OP_PUT, .key = *key, .value = value, .length = length};
	return commit_single(m, &op, durability);
}

/* A change that depends on the present value, in one short locked transaction. */
static int change_locked(struct mneme *m, const struct mneme_key *key, unsigned flags,
			 int (*change)(struct mneme_txn *txn, const struct mneme_key *key,
				       void *arg),
			 void *arg, enum mneme_durability durability)
{
	int rc;

	if (!commit_durability_is_known(durability))
		return -EINVAL;
	do {
		struct mneme_txn *txn;
		rc = mneme_txn_begin_locked(m, flags, &key->inode, 1, &txn);
		if (rc < 0)
			return rc;
		rc = change(txn, key, arg);
		if (rc < 0) {
			mneme_txn_abort(txn);
			return rc;
		}
		rc = mneme_txn_commit(txn, durability);
	} while (rc == -EAGAIN);
	return rc;
}

static int delete_present(struct mneme_txn *txn, const struct mneme_key *key, void *arg)
{
	size_t length;
	int rc = mneme_txn_get(txn, key, NULL, 0, &length);

	(void)arg;
	return rc < 0 ? rc : mneme_txn_delete(txn, key);
}

int mneme_delete(struct mneme *m, const struct mneme_key *key, enum mneme_durability durability)
{
	int rc = txn_key_check(m, key);

	return rc < 0 ? rc
		      : change_locked(m, key, MNEME_TXN_MAY_FILL, delete_present, NULL, durability);
}

struct swap {
	const void *expected, *value;
	size_t expected_length, length;
};

static int swap_if_equal(struct mneme_txn *txn, const struct mneme_key *key, void *arg)
{
	const struct swap *w = arg;
	const void *seen;
	size_t length;
	int rc = txn_tree_get(txn->m, key, &seen, &length);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (w->expected
		    ? rc < 0 || length != w->expected_length || memcmp(seen, w->expected, length)
		    : rc == 0)
		return -ESTALE;
	return mneme_txn_put_borrowed(txn, key, w->value, w->length);
}

int mneme_compare_and_swap(struct mneme *m, const struct mneme_key *key, const void *expected,
			   size_t expected_length, const void *value, size_t length,
			   enum mneme_durability durability)
{
	struct swap w = {expected, value, expected_length, length};
	int rc = txn_key_check(m, key);

	return rc < 0 ? rc : change_locked(m, key, 0, swap_if_equal, &w, durability);
}

/* ---- scan ---- */

struct batch {
	mneme_scan_each *each;
	void *arg;
	uint8_t last[FMT_KEY_MAX]; /* sub-key of the last key given */
	struct mneme_key at;
	uint64_t given, limit;
	int rc;
};

enum { SCAN_BATCH = 64 };

static int batch_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct batch *b = arg;

	memcpy(b->last, key->sub, key->sub_length);
	b->at = *key;
	b->at.sub = b->last;
	b->given++;
	b->rc = b->each(b->arg, key, value, length);
	return b->rc ? b->rc : b->given % SCAN_BATCH == 0 || b->given == b->limit;
}

int mneme_scan(struct mneme *m, const struct mneme_key *first, const struct mneme_key *last,
	       uint64_t limit, mneme_scan_each *each, void *arg)
{
	struct batch b = {.each = each, .arg = arg, .limit = limit};
	int rc = each ? txn_key_check(m, first) : -EINVAL;

	if (rc == 0)
		rc = txn_key_check(m, last);
	if (rc < 0)
		return rc;
	struct shard *s = store_shard(m, first->inode);
	struct mneme_key from = *first;
	while (rc == 0) {
		lock_read(&s->lock);
		rc = txn_tree_scan(m, &from, last, 0, 0, batch_each, &b, NULL);
		lock_read_done(&s->lock);
		if (b.rc)
			return b.rc;
		if (rc <= 0 || (limit && b.given >= limit))
			return rc < 0 ? rc : 0;
		from = b.at;
		if (!store_key_after(&from)) {
			if (from.inode > UINT64_MAX - m->shard_count)
				return 0; /* there is none behind it */
			from = (struct mneme_key){.inode = from.inode + m->shard_count};
		}
		rc = 0;
	}
	return rc;
}

/* ---- views ---- */

int mneme_view_begin(struct mneme *m, uint64_t inode)
{
	LAYER(lock, lock_read(&store_shard(m, inode)->lock));
	return 0;
}

int mneme_view_get(struct mneme *m, const struct mneme_key *key, const void **value, size_t *length)
{
	int rc = value && length ? txn_key_check(m, key) : -EINVAL;

	return rc < 0 ? rc : txn_tree_get(m, key, value, length);
}

int mneme_view_scan(struct mneme *m, const struct mneme_key *first, const struct mneme_key *last,
		    uint64_t limit, mneme_scan_each *each, void *arg)
{
	int rc = each ? txn_key_check(m, first) : -EINVAL;

	if (rc == 0)
		rc = txn_key_check(m, last);
	return rc < 0 ? rc : txn_tree_scan(m, first, last, 0, limit, each, arg, NULL);
}

void mneme_view_end(struct mneme *m, uint64_t inode)
{
	lock_read_done(&store_shard(m, inode)->lock);
}

/* ---- durability ---- */

enum { UNLOGGED_CLOSED = 1, UNLOGGED_OPEN = 2 };

/* Which changes are in no log and not durable yet: of a checkpoint that runs, of the era since. */
static unsigned unlogged(struct mneme *m)
{
	unsigned found = 0;

	for (uint32_t i = 0; i < m->shard_count; i++) {
		struct shard *s = &m->shards[i];
		lock_read(&s->lock);
		/* relaxed: an older one only makes somebody wait */
		uint64_t durable = atomic_load_explicit(&m->wal.generation, memory_order_relaxed);
		if (unlogged_in(&s->unlogged, store_era(m)))
			found |= UNLOGGED_OPEN;
		else if (unlogged_any(&s->unlogged, durable))
			found |= UNLOGGED_CLOSED;
		lock_read_done(&s->lock);
	}
	return found;
}

int mneme_sync_to(struct mneme *m, uint64_t lsn)
{
	int rc;

	if (m->read_only)
		return 0;
	if (lsn > wal_next(&m->wal)) /* nobody was given that position */
		return -EINVAL;
	rc = wal_sync_to(&m->wal, lsn);
	if (rc == -ENOSPC || rc == -ENOMEM) /* no room for the log; a checkpoint makes it durable */
		return checkpoint_run(m);
	return rc < 0 ? store_fail(m, rc, "the log could not be written") : 0;
}

int mneme_sync(struct mneme *m)
{
	if (m->read_only)
		return 0;
	int failed = atomic_load_explicit(&m->failed, memory_order_acquire);
	if (failed)
		return -failed;
	unsigned found = unlogged(m);
	int rc = found & UNLOGGED_OPEN ? checkpoint_run(m) : found ? checkpoint_wait(m) : 0;
	return rc < 0 || found & UNLOGGED_OPEN ? rc : mneme_sync_to(m, wal_next(&m->wal));
}

uint64_t mneme_lsn_durable(const struct mneme *m)
{
	return atomic_load_explicit(&((struct mneme *)m)->wal.durable, memory_order_acquire);
}

int mneme_checkpoint(struct mneme *m)
{
	return m->read_only ? -EROFS : checkpoint_run(m);
}

/* ---- state ---- */

void mneme_uuid(const struct mneme *m, uint8_t out[16])
{
	if (out)
		memcpy(out, m->super.uuid, 16);
}

static uint64_t load(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void mneme_get_stats(const struct mneme *m, struct mneme_stats *out)
{
	struct mneme *inside = (struct mneme *)m; /* for the counters, which are atomic */
	struct checkpoint_stats c;
	struct packer_stats packed;
	uint64_t free_bytes = 0, total_bytes = 0, commits = 0;

	if (!out)
		return;
	for (uint32_t i = 0; i < m->shard_count; i++)
		commits += load(&inside->shards[i].commits);
	checkpoint_get_stats(inside, &c);
	packer_get_stats(m, &packed);
	m->io->ops->space(m->io, &free_bytes, &total_bytes);
	*out = (struct mneme_stats){
		.heap_bytes = load(&inside->heap.pages) * FMT_PAGE_SIZE,
		.disk_free_bytes = free_bytes,
		.log_free_bytes = m->read_only ? 0 : wal_free_bytes(&inside->wal),
		.kept_bytes = m->keep_pages * FMT_PAGE_SIZE,
		.disk_total_bytes = total_bytes,
		.dirty_bytes = load(&inside->dirty.live) * FMT_PAGE_SIZE,
		.dirty_bytes_max = m->dirty.budget_max * FMT_PAGE_SIZE,
		.lsn_next = load(&inside->wal.next),
		.lsn_durable = load(&inside->wal.durable),
		.lsn_checkpoint = c.log_begin,
		.epoch = load(&inside->epoch),
		.commits = commits,
		.conflicts = load(&inside->conflicts),
		.log_bytes = load(&inside->wal.bytes),
		.log_flushes = load(&inside->wal.flushes),
		.checkpoints = c.count,
		.checkpoint_pages = c.pages,
		.checkpoint_ns_last = c.ns_last,
		.freeze_ns_last = c.freeze_ns_last,
		.freeze_ns_max = c.freeze_ns_max,
		.pages_verified = load(&inside->heap.checked),
		.replayed_records = m->replayed_records,
		.replayed_bytes = m->replayed_bytes,
		.open_ns = m->open_ns,
		.packed_values = packed.values,
		.packed_saved_bytes = packed.saved_bytes,
		.read_only = m->read_only
				     ? EROFS
				     : atomic_load_explicit(&inside->failed, memory_order_relaxed),
	};
	int64_t spare = heap_spare(&m->heap);
	if (!m->read_only)
		out->heap_free_bytes = (spare > 0 ? (uint64_t)spare : 0) * FMT_PAGE_SIZE;
	snprintf(out->io, sizeof out->io, "%s", m->io->ops->name);
}
