/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   applying and logging operations; see commit.h.
 */
#include "core/store/commit.h"
#include "core/store/background.h"
#include "core/store/checkpoint.h"
#include "core/store/heap_fault.h"
#include "core/store/ranges.h"
#include "core/store/record.h"
#include "core/store/reserve.h"
#include "core/store/runs.h"
#include "core/store/value.h"
#include "pool/check.h"
#include "pool/layers.h"
#include "simd/crc32c.h"

#include <errno.h>

enum { GROW_SLACK_PAGES = 1024 };

/* The keys of the operation at hand. Not on the stack: handlers have 3 KiB. */
static _Thread_local uint8_t key_bytes[FMT_KEY_MAX];
static _Thread_local uint8_t last_bytes[FMT_KEY_MAX];
/* The ways that preparing found, of the first operations: where no page came or went since, applying
 * need not look for them again. */
enum { WAYS = 8 };
static _Thread_local struct way {
	struct tree_path path;
	uint64_t shape; /* of the shard; 0: the path is not to be used */
} ways[WAYS];
static _Thread_local struct {
	uint64_t lsn;
	uint64_t heap; /* number of the heap that it was committed to; 0: nothing was */
} last_commit;
static _Thread_local uint64_t wanted_pages; /* by this thread's last transaction that lacked room */
static _Thread_local unsigned wanted_flags; /* its MNEME_TXN_ flags */
static _Thread_local uint64_t
	wanted_later; /* by its operations that were not yet looked at, about */

/* ---- promises ---- */

/* A shard keeps some pages promised in advance, so that small commits to different shards do not meet
 * at the counters: taken and given back in batches. Where the arena is small, and for what deletes may
 * take beyond the rest, nothing is kept. */
enum {
	CREDIT_BATCH = 64,
	CREDIT_ARENA_MIN = 16384,                /* pages */
	CREDIT_STRANDED_MAX = 16 * CREDIT_BATCH, /* in the shards that one transaction met */
};

/* What to take in advance for a transaction that was promised this much. */
static uint32_t credit_batch(const struct mneme *m, const struct budget *budget)
{
	return !budget->handed && budget->promised <= CREDIT_BATCH &&
			       m->dirty.budget_max >= CREDIT_ARENA_MIN
		       ? CREDIT_BATCH
		       : 0;
}

static int arena_promise(struct mneme *m, struct shard *s, uint32_t pages, uint32_t batch)
{
	if (!batch || s->arena_credit < pages) {
		if (!batch || dirty_promise(&m->dirty, pages + batch) < 0)
			return dirty_promise(&m->dirty, pages) < 0 ? -ENOBUFS : 0;
		s->arena_credit += pages + batch;
	}
	s->arena_credit -= pages;
	return 0;
}

/* What heap_promise() is to keep back. */
static int64_t room_keep(const struct mneme *m, unsigned flags, const struct budget *budget)
{
	return (int64_t)(flags & MNEME_TXN_MAY_FILL ? 0 : m->keep_pages) - (int64_t)budget->handed;
}

static int room_promise(struct mneme *m, struct shard *s, uint32_t pages, unsigned flags,
			const struct budget *budget, uint32_t batch)
{
	uint64_t kept = flags & MNEME_TXN_MAY_FILL ? 0 : m->keep_pages;
	int64_t keep = room_keep(m, flags, budget);

	if (!kept || !batch || s->heap_credit < pages) {
		if (!kept || !batch || heap_promise(&m->heap, pages + batch, keep) < 0)
			return heap_promise(&m->heap, pages, keep);
		s->heap_credit += pages + batch;
	}
	s->heap_credit -= pages;
	return 0;
}

/* Down to what a shard may keep. */
static void credit_trim(struct mneme *m, struct shard *s, uint64_t keep)
{
	if (s->arena_credit > 2 * keep) {
		dirty_unpromise(&m->dirty, s->arena_credit - keep);
		s->arena_credit = keep;
	}
	if (s->heap_credit > 2 * keep) {
		heap_unpromise(&m->heap, s->heap_credit - keep);
		s->heap_credit = keep;
	}
}

static void pages_give_back(struct mneme *m, struct shard *s, uint64_t arena, uint64_t room,
			    unsigned flags, uint32_t batch)
{
	if (batch)
		s->arena_credit += arena;
	else
		dirty_unpromise(&m->dirty, arena);
	if (batch && !(flags & MNEME_TXN_MAY_FILL))
		s->heap_credit += room;
	else
		heap_unpromise(&m->heap, room);
	credit_trim(m, s, CREDIT_BATCH);
}

/* Before anybody is refused: what all shards have kept. */
static void credits_return(struct mneme *m)
{
	for (uint32_t i = 0; i < m->shard_count; i++) {
		lock_write(&m->shards[i].lock);
		credit_trim(m, &m->shards[i], 0);
		lock_write_done(&m->shards[i].lock);
	}
}

/* Promises arena and heap pages together: every slot needs its place on disk, each of the `values`
 * slots of values a list besides (dirty_places). */
static int pages_promise(struct mneme *m, struct shard *s, uint32_t pages, uint32_t values,
			 unsigned flags, struct budget *budget)
{
	budget->promised += pages + values;
	wanted_pages = budget->promised;
	wanted_flags = flags;
	uint32_t batch = credit_batch(m, budget);
	int rc = arena_promise(m, s, pages, batch);
	if (rc < 0)
		return rc;
	rc = room_promise(m, s, pages + values, flags, budget, batch);
	if (rc < 0) {
		pages_give_back(m, s, pages, 0, flags, batch);
		return rc;
	}
	budget->pages += pages;
	budget->lists += values;
	return 0;
}

/* The same for an operation with a new value of so many of the pages (0: none), which may have its place
 * in a quad that is set aside. */
static int value_promise(struct mneme *m, struct shard *s, uint32_t pages, uint32_t value,
			 unsigned flags, struct budget *budget)
{
	if (!value || value > ASIDE_PAGES || budget->covered == budget->covers)
		return pages_promise(m, s, pages, value != 0, flags, budget);
	int rc = pages_promise(m, s, pages - value, 0, flags, budget);
	if (rc < 0)
		return rc;
	budget->promised += value;
	wanted_pages = budget->promised;
	rc = arena_promise(m, s, value, credit_batch(m, budget));
	if (rc < 0)
		return rc;
	budget->pages += value;
	budget->bare += value;
	budget->covered++;
	return 0;
}

/* What the transaction sets aside, or takes of that for itself. */
static int room_reserve(struct mneme *m, const struct commit_op *ops, uint32_t count,
			unsigned flags, struct budget *budget, struct reserve *reserve)
{
	int rc = reserve_begin(m, ops, count, room_keep(m, flags, budget), reserve);

	budget->promised += reserve->wanted;
	if (rc < 0) {
		wanted_pages = reserve->wanted;
		wanted_flags = flags;
	} else if (reserve->values < 0) {
		budget->handed = reserve_handed(reserve);
		budget->covers = reserve->quads;
	}
	return rc;
}

/* Gives back what preparing an operation did not need and applying will not. */
static void pages_trim(struct mneme *m, struct shard *s, unsigned flags, struct budget *budget)
{
	CHECK(budget->pages >= budget->kept);
	uint32_t pages = budget->pages - budget->kept;

	pages_give_back(m, s, pages, pages, flags, 0);
	budget->pages -= pages;
	budget->promised -= pages;
}

static void pages_unpromise(struct mneme *m, struct shard *s, unsigned flags, struct budget *budget)
{
	int64_t room = (int64_t)(budget->pages + budget->lists) - budget->bare;

	CHECK(room >= 0);
	pages_give_back(m, s, budget->pages, (uint64_t)room, flags, credit_batch(m, budget));
	budget->pages = budget->lists = 0;
	budget->bare = 0;
}

/* What the operations of a transaction may free adds up until they are applied. */
static int freed_reserve(struct shard *s, uint64_t items, struct budget *budget)
{
	budget->freed += items;
	return tree_reserve_freed(s, budget->freed);
}

/* The value of a patched or cut key has to be in the arena before anything is applied. */
static int op_prepare_value(struct mneme *m, struct shard *s, const struct commit_op *op,
			    struct tree_path *path, unsigned flags, struct budget *budget)
{
	uint32_t length, end = op->kind == FMT_OP_PATCH ? op->offset + op->length : 0;
	enum page_kind kind;
	int error = 0;

	if (!path->found)
		return 0;
	const uint8_t *cell = page_value(path->pages[path->depth - 1],
					 path->positions[path->depth - 1], &length, &kind);
	if (kind == PAGE_PLAIN)
		return 0;
	length = value_length(cell, kind);
	if (length > FMT_VALUE_MAX)
		return -EUCLEAN;
	if (length < end)
		length = end;
	int rc = pages_promise(m, s, value_pages(length), 1, flags, budget);
	if (rc < 0)
		return rc;
	return value_own(m, s, path, length, budget, &error) ? 0 : error;
}

static int range_prepare(struct mneme *m, struct shard *s, const struct commit_op *op,
			 struct page_key key, unsigned flags, struct budget *budget,
			 struct tree_path *path)
{
	struct page_key last = {last_bytes, store_encode_key(&op->last, last_bytes)};
	struct tree_range range;
	int rc = tree_find(m, s, key, path);

	if (rc == 0)
		rc = tree_check_neighbours(m, path);
	if (rc == 0)
		rc = tree_range_measure(m, s, key, last, COMMIT_RANGE_KEYS_MAX, &range);
	if (rc == 0)
		rc = freed_reserve(s, range.items, budget);
	return rc < 0 ? rc : pages_promise(m, s, range.pages, 0, flags, budget);
}

static void range_apply(struct mneme *m, struct shard *s, const struct commit_op *op,
			struct page_key key, struct budget *budget)
{
	struct page_key last = {last_bytes, store_encode_key(&op->last, last_bytes)};
	int rc = tree_range_remove(m, s, key, last, budget);

	CHECK(rc == 0);
}

/* One of many puts: what it may take while it is prepared, a copy of its path and all that is kept. */
static uint32_t put_pages(const struct shard *s, uint32_t value, struct budget *budget)
{
	uint32_t kept = budget->kept;

	budget->kept += TREE_PAGES_PUT + value;
	if (!(budget->shards >> s->index & 1)) {
		budget->shards |= 1ull << s->index;
		budget->kept += TREE_PAGES_ROOTS;
	}
	return budget->kept - kept - value + s->height + 1 + TREE_PAGES_MET * s->height;
}

static int op_prepare(struct mneme *m, struct shard *s, const struct commit_op *op,
		      struct page_key key, unsigned flags, struct budget *budget,
		      struct tree_path *path)
{
	uint32_t value = 0;
	int rc, own = 0;

	if (op->kind == FMT_OP_DELETE_RANGE)
		return range_prepare(m, s, op, key, flags, budget, path);
	if (op->kind == FMT_OP_DELETE || op->kind == FMT_OP_TRUNCATE) {
		rc = tree_find(m, s, key, path);
		/* Operations behind a delete may meet the leaves beside it. */
		if (rc == 0 && op->kind == FMT_OP_DELETE && budget->count > 1)
			rc = tree_check_neighbours(m, path);
		if (rc < 0 || !path->found)
			return rc;
		own = !budget->stamp && tree_is_own(m, s, path);
	}
	if (op->kind == FMT_OP_PUT && !op->run && value_is_indirect(key.length, op->length))
		value = value_pages(op->length);
	if (op->kind == FMT_OP_PATCH) { /* room for a value that is inline now, or not there */
		uint32_t end = op->offset + op->length;
		value = value_pages(end > FMT_CELL_MAX ? end : FMT_CELL_MAX);
	}
	rc = freed_reserve(s, 4 * s->height + 12, budget);
	uint32_t pages =
		value + (budget->stamp ? put_pages(s, value, budget) : tree_pages_needed(s));
	if (rc == 0)
		rc = value_promise(m, s, pages, value, flags, budget);
	if (rc == 0 && !own)
		rc = tree_prepare(m, s, key, budget, path);
	if (rc == 0 && (op->kind == FMT_OP_PATCH || op->kind == FMT_OP_TRUNCATE))
		rc = op_prepare_value(m, s, op, path, flags, budget);
	if (rc == 0 && budget->stamp)
		pages_trim(m, s, flags, budget);
	return rc;
}

/* `path` is that of op_prepare if it `is_prepared`, and leads to the key. */
static void op_apply(struct mneme *m, struct shard *s, const struct commit_op *op,
		     struct page_key key, struct budget *budget, struct tree_path *path,
		     int is_prepared)
{
	int rc = 0;

	if (op->kind == FMT_OP_DELETE_RANGE) {
		range_apply(m, s, op, key, budget);
		return;
	}
	if (!is_prepared) {
		rc = tree_find(m, s, key, path);
		if (rc == 0 && !tree_is_own(m, s, path) &&
		    (path->found || op->kind == FMT_OP_PUT || op->kind == FMT_OP_PATCH))
			rc = tree_prepare(m, s, key, budget, path);
		CHECK(rc == 0);
	}
	switch (op->kind) {
	case FMT_OP_PUT:
		if (op->run)
			value_put_run(m, s, path, key, op, budget);
		else
			value_put(m, s, path, key, op->value, op->length, budget);
		break;
	case FMT_OP_PATCH:
		value_patch(m, s, path, key, op->offset, op->value, op->length, budget);
		break;
	case FMT_OP_TRUNCATE:
		value_truncate(m, s, path, key, op->offset, budget);
		break;
	default:
		if (path->found)
			tree_remove(m, s, path, budget);
	}
}

/* Many operations, none of which can make a page go; or none of which can split one, so that what is
 * kept serves to join them, as far as it goes. */
static int ops_are_alike(const struct commit_op *ops, uint32_t count)
{
	uint32_t deletes = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (ops[i].kind == FMT_OP_DELETE)
			deletes++;
		else if (ops[i].kind != FMT_OP_PUT && ops[i].kind != FMT_OP_PATCH)
			return 0;
	}
	return count > 1 && (deletes == 0 || deletes == count);
}

static uint32_t stamp_new(struct mneme *m)
{
	uint32_t stamp;

	do /* 0 is none */
		stamp = atomic_fetch_add_explicit(&m->stamp, 1, memory_order_relaxed) + 1;
	while (!stamp);
	return stamp;
}

/* What operations may take that were not yet looked at: their values, each with a list, and leaves. */
static uint64_t ops_pages(const struct commit_op *ops, uint32_t count)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < count; i++)
		pages += TREE_PAGES_PUT + 2 + ops[i].length / FMT_PAGE_SIZE;
	return pages;
}

/* The last one serves all operations that are left, and only while each is at hand. */
static struct way *way_of(uint32_t i)
{
	return &ways[i < WAYS ? i : WAYS - 1];
}

static int ops_prepare(struct mneme *m, const struct commit_op *ops, uint32_t count, unsigned flags,
		       struct budget *budget)
{
	uint32_t i = 0;
	int rc = 0;

	budget->count = count;
	if (ops_are_alike(ops, count))
		budget->stamp = stamp_new(m);
	for (; i < count && rc == 0; i++) {
		struct page_key key = {key_bytes, store_encode_key(&ops[i].key, key_bytes)};
		struct shard *s = store_shard(m, ops[i].key.inode);
		struct way *way = way_of(i);
		rc = op_prepare(m, s, &ops[i], key, flags, budget, &way->path);
		int is_own = rc == 0 && i < WAYS - 1 && ops[i].kind != FMT_OP_DELETE_RANGE &&
			     tree_is_own(m, s, &way->path);
		way->shape = is_own ? s->shape : 0;
	}
	if (rc == -ENOSPC)
		wanted_later = ops_pages(ops + i, count - i);
	return rc;
}

static void ops_apply(struct mneme *m, const struct commit_op *ops, uint32_t count,
		      struct budget *budget)
{
	for (uint32_t i = 0; i < count; i++) {
		struct page_key key = {key_bytes, store_encode_key(&ops[i].key, key_bytes)};
		struct shard *s = store_shard(m, ops[i].key.inode);
		struct way *way = way_of(i);
		int is_known = i < WAYS - 1 && way->shape && way->shape == s->shape;
		if (is_known && i > 0)
			tree_find_in_leaf(&way->path, key);
		op_apply(m, s, &ops[i], key, budget, &way->path, is_known);
	}
}

static uint32_t key_hash(const struct mneme_key *key)
{
	return crc32c(0, key_bytes, store_encode_key(key, key_bytes));
}

/* Whether a shard logs its changes for the time being, whatever their durability. */
static int ops_are_logged(struct mneme *m, const struct commit_op *ops, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (store_shard(m, ops[i].key.inode)->unlogged.logged_until >= store_era(m))
			return 1;
	return 0;
}

/* What is to be logged goes ahead of no unlogged change of the same key. What takes a key away depends
 * on nothing that was there. */
static int ops_wait(struct mneme *m, const struct commit_op *ops, uint32_t count)
{
	/* relaxed: an older one only makes somebody wait */
	uint64_t durable = atomic_load_explicit(&m->wal.generation, memory_order_relaxed);
	int rc = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct unlogged *u = &store_shard(m, ops[i].key.inode)->unlogged;
		if (!unlogged_any(u, durable) || ops[i].kind == FMT_OP_DELETE ||
		    ops[i].kind == FMT_OP_DELETE_RANGE)
			continue;
		if (unlogged_may_have(u, durable, key_hash(&ops[i].key))) {
			u->logged_until = store_era(m) + 1;
			u->waited = 1;
			rc = -EINPROGRESS;
		}
	}
	return rc;
}

static void op_note_unlogged(struct mneme *m, struct shard *s, const struct commit_op *op)
{
	if (op->kind == FMT_OP_DELETE_RANGE)
		unlogged_note_all(&s->unlogged, store_era(m));
	else
		unlogged_note(&s->unlogged, store_era(m), key_hash(&op->key));
}

int commit_apply(struct mneme *m, struct commit_op *ops, uint32_t count, unsigned flags, int log,
		 uint64_t *lsn)
{
	struct budget budget = {0};
	uint32_t record_bytes = 0, promised;
	int rc = store_writable(m);

	*lsn = 0;
	for (uint32_t i = 0; i < count; i++)
		ops[i].run = 0;
	if (rc == 0)
		rc = record_measure(ops, count, &record_bytes);
	if (rc < 0 || count == 0)
		return rc;
	log |= ops_are_logged(m, ops, count);
	if (log)
		rc = ops_wait(m, ops, count);
	if (rc < 0)
		return rc;
	promised = (record_bytes + 7) & ~7u;
	if (log) {
		rc = wal_promise(&m->wal, promised);
		if (rc < 0)
			return rc;
	}
	struct shard *first = store_shard(m, ops[0].key.inode);
	uint64_t faults = heap_faults(&m->heap);
	struct reserve reserve;
	rc = room_reserve(m, ops, count, flags, &budget, &reserve);
	int is_reserved = rc == 0;
	if (rc == 0 && log)
		rc = runs_write(m, ops, count, room_keep(m, flags, &budget));
	if (rc == 0)
		LAYER(apply, rc = ops_prepare(m, ops, count, flags, &budget));
	else
		wanted_later = ops_pages(ops, count);
	rc = store_read_fault(m, faults, rc);
	if (rc < 0) {
		uint64_t taken = runs_give_up(m, ops, count);
		wanted_pages +=
			rc == -ENOSPC ? taken : 0; /* for the next try, which takes them again */
		pages_unpromise(m, first, flags, &budget);
		if (is_reserved)
			reserve_undo(m, &reserve);
		if (log)
			wal_unpromise(&m->wal, promised);
		return rc;
	}
	budget.aside = budget.covers;
	LAYER(apply, ops_apply(m, ops, count, &budget));
	pages_unpromise(m, first, flags, &budget);
	rc = store_read_fault(m, faults, 0); /* a neighbour of what was deleted */
	if (rc < 0) {
		if (log)
			wal_unpromise(&m->wal, promised);
		return rc;
	}
	if (log)
		LAYER(log, *lsn = record_append(m, ops, count, promised));
	for (uint32_t i = 0; i < count; i++) {
		struct shard *s = store_shard(m, ops[i].key.inode);
		s->version++;
		if (!log)
			op_note_unlogged(m, s, &ops[i]);
	}
	if (reserve.values)
		reserve_settle(m, ops, count, &reserve, budget.aside);
	/* relaxed: a statistic; only this thread writes it now */
	atomic_store_explicit(&first->commits,
			      atomic_load_explicit(&first->commits, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	return 0;
}

uint64_t commit_count(struct mneme *m)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < m->shard_count; i++)
		/* relaxed: who saw the change took the lock under which it was counted */
		count += atomic_load_explicit(&m->shards[i].commits, memory_order_relaxed);
	return count;
}

int commit_replay(struct mneme *m, const struct commit_op *op)
{
	struct budget budget = {0};
	int rc = ops_prepare(m, op, 1, MNEME_TXN_MAY_FILL, &budget);

	if (rc == 0)
		ops_apply(m, op, 1, &budget);
	pages_unpromise(m, store_shard(m, op->key.inode), MNEME_TXN_MAY_FILL, &budget);
	return rc;
}

/* ---- changes that no user asked for: of one key's form, not of what it says ---- */

static struct shard *form_begin(struct mneme *m, struct page_key key, uint64_t *faults)
{
	struct mneme_key decoded;

	store_decode_key(key, &decoded);
	struct shard *s = store_shard(m, decoded.inode);
	lock_write(&s->lock);
	*faults = heap_faults(&m->heap);
	return s;
}

static int form_end(struct mneme *m, struct shard *s, uint64_t faults, struct budget *budget,
		    int rc)
{
	rc = store_read_fault(m, faults, rc);
	pages_unpromise(m, s, 0, budget);
	lock_write_done(&s->lock);
	return rc;
}

/* The pages of the path to a key that is there become this epoch's. */
static int path_own(struct mneme *m, struct shard *s, struct page_key key, struct budget *budget,
		    struct tree_path *path)
{
	int rc = freed_reserve(s, 4 * s->height + 12, budget);

	if (rc == 0)
		rc = pages_promise(m, s, tree_pages_needed(s), 0, 0, budget);
	return rc == 0 ? tree_prepare(m, s, key, budget, path) : rc;
}

/* Puts the packed form in the value's place where that still is as it was. */
static int pack_apply(struct mneme *m, struct shard *s, struct page_key key,
		      const struct fmt_value *was, const void *packed, uint32_t length,
		      struct budget *budget)
{
	struct tree_path path;
	uint32_t present;
	enum page_kind kind;
	int rc = tree_find(m, s, key, &path);

	if (rc < 0 || !path.depth || !path.found)
		return rc < 0 ? rc : -ESTALE;
	const uint8_t *cell = page_value(path.pages[path.depth - 1], path.positions[path.depth - 1],
					 &present, &kind);
	if (kind != PAGE_INDIRECT || memcmp(cell, was, sizeof *was))
		return -ESTALE;
	rc = path_own(m, s, key, budget, &path);
	if (rc == 0)
		tree_put(m, s, &path, key, packed, length, PAGE_PACKED, budget);
	return rc;
}

int commit_pack(struct mneme *m, struct page_key key, const struct fmt_value *was,
		const void *packed, uint32_t length)
{
	struct budget budget = {0};
	uint64_t faults;
	struct shard *s = form_begin(m, key, &faults);
	int rc = store_writable(m);

	if (rc == 0)
		rc = pack_apply(m, s, key, was, packed, length, &budget);
	return form_end(m, s, faults, &budget, rc);
}

static int renew_apply(struct mneme *m, struct shard *s, struct page_key key, struct budget *budget)
{
	struct tree_path path;
	enum page_kind kind;
	uint32_t length;
	int rc = tree_find(m, s, key, &path), error = 0;

	if (rc < 0 || !path.depth || !path.found)
		return rc;
	rc = path_own(m, s, key, budget, &path);
	if (rc < 0)
		return rc;
	if (path.positions[path.depth - 1] == 0)
		tree_separator_renew(&path);
	const uint8_t *cell = page_value(path.pages[path.depth - 1], path.positions[path.depth - 1],
					 &length, &kind);
	if (kind != PAGE_PACKED)
		return 0;
	length = value_length(cell, kind);
	if (length > FMT_VALUE_MAX)
		return -EUCLEAN;
	rc = pages_promise(m, s, value_pages(length), 1, 0, budget);
	if (rc == 0 && !value_own(m, s, &path, length, budget, &error))
		rc = error;
	return rc;
}

int commit_renew(struct mneme *m, struct page_key key)
{
	struct budget budget = {0};
	uint64_t faults;
	struct shard *s = form_begin(m, key, &faults);
	int rc = store_writable(m);

	if (rc == 0)
		rc = renew_apply(m, s, key, &budget);
	return form_end(m, s, faults, &budget, rc);
}

/* ---- room ---- */

int commit_make_arena_room(struct mneme *m)
{
	credits_return(m);
	return background_make_room(m);
}

int commit_make_heap_room(struct mneme *m, uint64_t pages)
{
	/* Other threads promise and give back meanwhile: only some more than what is wanted makes sure
	 * that the next try succeeds. */
	int rc = heap_grow(&m->heap, pages + GROW_SLACK_PAGES);

	if (rc == -ENOSPC) {
		credits_return(m);
		rc = heap_grow(&m->heap, pages);
	}
	if (rc == -ENOSPC && wal_trim(&m->wal))
		rc = heap_grow(&m->heap, pages);

	if (rc != -ENOSPC)
		return rc;
	/* What others take and give back meanwhile must not refuse a delete, which makes room. */
	rc = wanted_flags & MNEME_TXN_MAY_FILL ? checkpoint_run(m) : checkpoint_reclaim(m);
	if (rc && rc != -ENOSPC)
		return rc;
	/* The log has segments to spare now, and another checkpoint may have ended before this began. */
	(void)wal_trim(&m->wal);
	return heap_grow_to_the_last(&m->heap, pages) == 0 ? 0 : rc;
}

/* Between a try and the next a checkpoint or a larger heap has given room, that others may take. */
int commit_gives_up(int tries)
{
	enum { TRIES = 16 };

	return tries == TRIES;
}

int commit_make_room(struct mneme *m, int why)
{
	uint64_t pages = wanted_pages, later = wanted_later;
	int rc;

	switch (why) {
	case -EAGAIN:
		rc = wal_drain(&m->wal);
		if (rc == -ENOSPC) /* no room for a segment: a checkpoint gives some back */
			rc = checkpoint_run(m);
		break;
	case -EINPROGRESS:
		rc = checkpoint_run(m);
		break;
	case -ENOBUFS:
		if (m->dirty.budget_max >= CREDIT_ARENA_MIN)
			pages += CREDIT_STRANDED_MAX;
		rc = pages > m->dirty.budget_max ? -E2BIG : commit_make_arena_room(m);
		break;
	case -ENOSPC:
		/* If it can be had, all of it at once, but no more than the arena could hold. */
		if (later > m->dirty.budget_max)
			later = m->dirty.budget_max;
		rc = commit_make_heap_room(m, m->keep_pages + pages + later);
		if (rc == -ENOSPC && later)
			rc = heap_grow_to_the_last(&m->heap, m->keep_pages + pages);
		break;
	default:
		return why;
	}
	return rc;
}

void commit_done(struct mneme *m, uint64_t lsn)
{
	last_commit.lsn = lsn;
	last_commit.heap = m->heap.number;
	background_poke(m);
}

uint64_t mneme_lsn_last(const struct mneme *m)
{
	/* One place is kept: what was committed here before something elsewhere lies before the end. */
	if (last_commit.heap && last_commit.heap != m->heap.number)
		return wal_next(&((struct mneme *)m)->wal);
	return last_commit.lsn;
}

int commit_single(struct mneme *m, struct commit_op *op, enum mneme_durability asked)
{
	struct shard *s = store_shard(m, op->key.inode);

	if (!commit_durability_is_known(asked))
		return -EINVAL;
	enum mneme_durability durability =
		ranges_durability(m, op->key.inode, op->key.inode, asked);
	uint64_t lsn;
	int rc, full = 0;

	do {
		LAYER(lock, lock_write(&s->lock));
		rc = commit_apply(m, op, 1, 0, durability != MNEME_DURABILITY_MEMORY, &lsn);
		lock_write_done(&s->lock);
		if (rc == 0)
			break;
	} while ((rc == -EAGAIN || rc == -ENOBUFS || rc == -EINPROGRESS ||
		  (rc == -ENOSPC && !commit_gives_up(++full))) &&
		 (rc = commit_make_room(m, rc)) == 0);
	if (rc < 0)
		return rc;
	commit_done(m, lsn);
	if (durability == MNEME_DURABILITY_STRICT && lsn)
		LAYER(log, rc = mneme_sync_to(m, lsn));
	return rc;
}
