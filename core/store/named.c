/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   runs that the log names; see named.h.
 */
#include "core/store/named.h"
#include "core/store/tree.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <stdlib.h>

struct named_run {
	uint64_t page;
	uint64_t key; /* where it begins in `keys` */
	uint32_t pages, key_length;
};

struct named {
	struct mneme *m;
	struct named_run *runs; /* by page, when all are known */
	uint64_t count, capacity;
	uint8_t *keys;
	uint64_t keys_used, keys_capacity;
};

int named_decode(const void *bytes, uint32_t length, struct fmt_run *run)
{
	if (length != sizeof *run)
		return -EUCLEAN;
	memcpy(run, bytes, sizeof *run);
	uint64_t first = run->page % FMT_GROUP_PAGES;
	return run->page > FMT_ADDRESS_MASK || first < FMT_GROUP_FIRST || run->length == 0 ||
			       run->length > FMT_VALUE_MAX || run->length % FMT_PAGE_SIZE ||
			       first + run->length / FMT_PAGE_SIZE > FMT_GROUP_PAGES
		       ? -EUCLEAN
		       : 0;
}

/* Room for `more` items of `size` behind the `used` ones. */
static int grow(void **items, uint64_t *capacity, uint64_t used, uint64_t more, size_t size)
{
	uint64_t wanted = 2 * (used + more);

	if (used + more <= *capacity)
		return 0;
	void *bytes = alloc_resize(*items, wanted * size);
	if (!bytes)
		return -ENOMEM;
	*items = bytes;
	*capacity = wanted;
	return 0;
}

static int run_add(struct named *n, const struct fmt_op *op, const uint8_t *sub)
{
	struct mneme_key key = {
		.inode = op->inode, .type = op->type, .sub = sub, .sub_length = op->sub_length};
	struct fmt_run run;
	int rc = named_decode(sub + op->sub_length, op->value_length, &run);

	if (rc == 0 && op->sub_length > MNEME_SUBKEY_MAX)
		rc = -EUCLEAN;
	if (rc == 0)
		rc = grow((void **)&n->runs, &n->capacity, n->count, 1, sizeof n->runs[0]);
	if (rc == 0)
		rc = grow((void **)&n->keys, &n->keys_capacity, n->keys_used, FMT_KEY_MAX, 1);
	if (rc < 0)
		return rc;
	struct named_run *r = &n->runs[n->count];
	r->page = run.page;
	r->pages = run.length / FMT_PAGE_SIZE;
	r->key = n->keys_used;
	r->key_length = store_encode_key(&key, n->keys + n->keys_used);
	rc = heap_reach(&n->m->heap, r->page + r->pages, 0);
	if (rc < 0)
		return rc;
	if (!SEEDED_BUG(22))
		heap_set_aside(&n->m->heap, r->page, r->pages);
	n->keys_used += r->key_length;
	n->count++;
	return 0;
}

static int each_record(void *arg, uint64_t lsn_end, const struct fmt_record *record)
{
	(void)lsn_end;
	if (!record)
		return 0;
	const uint8_t *at = (const uint8_t *)(record + 1);
	uint64_t left = record->length - sizeof *record;
	for (uint32_t i = 0; i < record->count; i++) {
		struct fmt_op op;
		if (left < sizeof op)
			return -EUCLEAN;
		memcpy(&op, at, sizeof op);
		uint64_t bytes = sizeof op + op.sub_length + (uint64_t)op.value_length;
		if (left < bytes)
			return -EUCLEAN;
		int rc = op.kind == FMT_OP_PUT_RUN ? run_add(arg, &op, at + sizeof op) : 0;
		if (rc < 0)
			return rc;
		at += bytes;
		left -= bytes;
	}
	return 0;
}

static int run_compare(const void *a, const void *b)
{
	const struct named_run *x = a, *y = b;

	return (x->page > y->page) - (x->page < y->page);
}

int named_begin(struct mneme *m)
{
	uint64_t end, sequence;

	if (m->read_only || !(m->super.incompatible & FMT_INCOMPAT_RUNS))
		return 0;
	m->named = alloc_zeroed(1, sizeof *m->named);
	if (!m->named)
		return -ENOMEM;
	m->named->m = m;
	int rc = wal_replay(&m->wal, m->super.lsn, m->super.log_durable, m->super.generation,
			    WAL_REPLAY_LOOK, each_record, m->named, &end, &sequence);
	if (rc == 0 && m->named->count)
		qsort(m->named->runs, m->named->count, sizeof m->named->runs[0], run_compare);
	else
		named_free(m);
	return rc;
}

int named_has(const struct named *n, uint64_t page)
{
	struct named_run wanted = {.page = page};

	return bsearch(&wanted, n->runs, n->count, sizeof n->runs[0], run_compare) != NULL;
}

/* 1: the value of its key lies in the run; 0: it does not. */
static int run_is_owned(struct named *n, const struct named_run *r, struct shard **shard)
{
	struct page_key key = {n->keys + r->key, r->key_length};
	struct mneme_key decoded;
	struct tree_path path;
	struct fmt_value v;
	enum page_kind kind;
	uint32_t length;

	store_decode_key(key, &decoded);
	*shard = store_shard(n->m, decoded.inode);
	int rc = tree_find(n->m, *shard, key, &path);
	if (rc < 0 || !path.depth || !path.found)
		return rc < 0 ? rc : 0;
	const uint8_t *cell = page_value(path.pages[path.depth - 1], path.positions[path.depth - 1],
					 &length, &kind);
	if (kind != PAGE_INDIRECT)
		return 0;
	memcpy(&v, cell, sizeof v);
	return v.address == r->page;
}

int named_settle(struct mneme *m)
{
	struct named *n = m->named;
	struct shard *s;
	int rc = 0;

	for (uint64_t i = 0; n && i < n->count && rc >= 0; i++) {
		rc = run_is_owned(n, &n->runs[i], &s);
		if (rc == 0 && !SEEDED_BUG(26))
			heap_free_on_disk(&m->heap, n->runs[i].page, n->runs[i].pages);
	}
	return rc < 0 ? rc : 0;
}

int named_end(struct mneme *m)
{
	struct named *n = m->named;
	struct shard *s;
	int rc = 0;

	m->named = NULL; /* what is freed from now on is */
	for (uint64_t i = 0; n && i < n->count && rc >= 0; i++) {
		struct fmt_value v = {.address = n->runs[i].page,
				      .stored = n->runs[i].pages * FMT_PAGE_SIZE};
		rc = run_is_owned(n, &n->runs[i], &s);
		if (rc != 0)
			continue;
		rc = tree_reserve_freed(s, 1);
		if (rc == 0)
			tree_free_value(m, s, &v, NULL);
	}
	m->named = n;
	named_free(m);
	return rc < 0 ? rc : 0;
}

void named_free(struct mneme *m)
{
	if (!m->named)
		return;
	alloc_free(m->named->runs);
	alloc_free(m->named->keys);
	alloc_free(m->named);
	m->named = NULL;
}
