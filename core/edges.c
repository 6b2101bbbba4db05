/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see edges.h.
 */
#include "core/edges.h"
#include "pool/alloc.h"
#include "pool/frame.h"

#include <errno.h>

enum { TRIES = 8, BATCH = 16, STEP = 10 };

/* ---- keys ---- */

/* All that an inode has of them lies between the two. */
static void range_of(uint32_t shards, uint64_t inode, uint8_t sub[2][8], struct mneme_key out[2])
{
	for (int i = 0; i < 2; i++) {
		out[i] = names_key_number(inode & (shards - 1), MNEME_TYPE_EDGE,
					  inode + (uint64_t)i, sub[i]);
	}
}

static int edge_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct edges *out = arg;
	const uint8_t *sub = key->sub;
	struct names_edge record;

	if (key->sub_length != NAMES_EDGE_SUB || sub[8] & NAMES_EDGE_BACK)
		return 0;
	if (length != sizeof record || !sub[8] || sub[8] >= NAMES_EDGE_KINDS ||
	    out->count == sizeof out->list / sizeof out->list[0])
		return -EUCLEAN;
	memcpy(&record, value, sizeof record);
	out->list[out->count++] = (struct edge){.to = names_get_be64(sub + 9),
						.count = record.count,
						.weight = record.weight,
						.kind = sub[8]};
	return 0;
}

int edges_load(struct mneme *m, uint64_t from, struct edges *out)
{
	uint8_t sub[2][8];
	struct mneme_key range[2];

	out->count = 0;
	range_of(mneme_shards(m), from, sub, range);
	return mneme_scan(m, &range[0], &range[1], 0, edge_take, out);
}

/* ---- one link ---- */

static int has_name(struct mneme_txn *txn, uint64_t inode)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);
	struct names_inode record;
	size_t length = 0;
	int rc = mneme_txn_get(txn, &key, &record, sizeof record, &length);

	return rc < 0 ? rc : record.nlink ? 0 : -ENOENT;
}

/* What becomes of a link: weight 0: it goes; `times`: it grows; else it is set. */
struct change {
	uint64_t from, to;
	uint32_t times;
	uint16_t weight;
	uint8_t kind;
};

static void grow(struct names_edge *record, uint32_t times)
{
	for (uint32_t i = 0; i < times && i < 100; i++)
		record->weight += (uint16_t)((NAMES_WEIGHT_ONE - record->weight + STEP - 1) / STEP);
	record->count += times;
}

OWN_FRAME static int change_inside(struct mneme_txn *txn, uint32_t shards, const struct change *c)
{
	uint8_t sub[2][NAMES_EDGE_SUB];
	struct mneme_key key = names_key_edge(shards, c->from, c->kind, c->to, sub[0]);
	struct mneme_key back =
		names_key_edge(shards, c->to, c->kind | NAMES_EDGE_BACK, c->from, sub[1]);
	struct names_edge record = {0};
	size_t length = 0;
	int rc = 0;

	if (!c->times && !c->weight) {
		rc = mneme_txn_delete(txn, &key);
		return rc == 0 ? mneme_txn_delete(txn, &back) : rc;
	}
	rc = has_name(txn, c->from);
	if (rc == 0)
		rc = has_name(txn, c->to);
	if (rc < 0)
		return rc;
	rc = mneme_txn_get(txn, &key, &record, sizeof record, &length);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (c->times)
		grow(&record, c->times);
	else
		record.weight = c->weight;
	rc = mneme_txn_put(txn, &key, &record, sizeof record);
	return rc == 0 ? mneme_txn_put(txn, &back, "", 0) : rc;
}

static int change_make(struct mneme *m, const struct change *c)
{
	uint64_t inodes[2] = {c->from, c->to};
	int rc = -EAGAIN;

	for (int i = 0; i < TRIES && rc == -EAGAIN; i++) {
		struct mneme_txn *txn;
		rc = mneme_txn_begin_locked(m, c->times || c->weight ? 0 : MNEME_TXN_MAY_FILL,
					    inodes, 2, &txn);
		if (rc < 0)
			return rc;
		rc = change_inside(txn, mneme_shards(m), c);
		if (rc < 0)
			mneme_txn_abort(txn);
		else
			rc = mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT);
	}
	return rc;
}

/* ---- several ---- */

/* Makes room for one more of that kind, unless it is there. */
static int room_make(struct mneme *m, uint64_t from, uint64_t to, uint8_t kind)
{
	const struct edge *weakest = NULL;
	struct edges edges;
	uint32_t count = 0;
	int rc = edges_load(m, from, &edges);

	for (uint32_t i = 0; i < edges.count && rc == 0; i++) {
		const struct edge *e = &edges.list[i];
		if (e->kind != kind)
			continue;
		if (e->to == to)
			return 0;
		count++;
		if (!weakest || e->weight < weakest->weight)
			weakest = e;
	}
	if (rc < 0 || count < EDGES_MAX)
		return rc;
	return change_make(m, &(struct change){.from = from, .to = weakest->to, .kind = kind});
}

int edges_strengthen(struct mneme *m, uint64_t from, uint64_t to, uint32_t times)
{
	const struct change c = {
		.from = from, .to = to, .times = times, .kind = NAMES_EDGE_COACCESS};
	int rc = from == to || !times ? -EINVAL : room_make(m, from, to, c.kind);

	return rc == 0 ? change_make(m, &c) : rc;
}

static const struct edge *edge_find(const struct edge *list, uint32_t count, uint64_t to)
{
	for (uint32_t i = 0; i < count; i++)
		if (list[i].to == to)
			return &list[i];
	return NULL;
}

int edges_set(struct mneme *m, uint64_t from, enum names_edge_kind kind, const struct edge *list,
	      uint32_t count)
{
	struct edges old;
	int rc = count > EDGES_MAX ? -E2BIG : edges_load(m, from, &old), changed = 0;

	for (uint32_t i = 0; rc == 0 && i < old.count; i++) {
		const struct edge *e = &old.list[i];
		if (e->kind != kind || edge_find(list, count, e->to))
			continue;
		rc = change_make(m, &(struct change){.from = from, .to = e->to, .kind = kind});
		changed = 1;
	}
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		const struct edge *had = NULL;
		for (uint32_t k = 0; k < old.count; k++)
			if (old.list[k].kind == kind && old.list[k].to == list[i].to)
				had = &old.list[k];
		if (had && had->weight == list[i].weight)
			continue;
		rc = change_make(m, &(struct change){.from = from,
						     .to = list[i].to,
						     .weight = list[i].weight,
						     .kind = kind});
		if (rc == -ENOENT)
			rc = 0; /* it went meanwhile */
		changed = 1;
	}
	return rc < 0 ? rc : changed;
}

/* ---- an inode that goes ---- */

struct ends {
	struct change list[BATCH];
	uint32_t count;
};

static int end_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct ends *ends = arg;
	const uint8_t *sub = key->sub;

	(void)value;
	(void)length;
	if (key->sub_length != NAMES_EDGE_SUB)
		return 0;
	uint64_t own = names_get_be64(sub), other = names_get_be64(sub + 9);
	int is_back = sub[8] & NAMES_EDGE_BACK;
	ends->list[ends->count++] = (struct change){.from = is_back ? other : own,
						    .to = is_back ? own : other,
						    .kind = sub[8] & ~NAMES_EDGE_BACK};
	return ends->count == BATCH;
}

/* The next ones. 1: there may be more. */
OWN_FRAME static int forget_some(struct mneme *m, uint64_t inode, struct ends *ends,
				 edges_each *each, void *arg)
{
	uint8_t sub[2][8];
	struct mneme_key range[2];

	ends->count = 0;
	range_of(mneme_shards(m), inode, sub, range);
	int rc = mneme_scan(m, &range[0], &range[1], 0, end_take, ends);
	for (uint32_t i = 0; i < ends->count && rc >= 0; i++) {
		const struct change *c = &ends->list[i];
		int one = change_make(m, c);
		if (one < 0)
			rc = one;
		else if (each)
			each(arg, c->from == inode ? c->to : c->from);
	}
	return rc;
}

int edges_forget(struct mneme *m, uint64_t inode, edges_each *each, void *arg)
{
	struct ends *ends = alloc_get(sizeof *ends); /* handlers have 3 KiB of stack */
	int rc = ends ? 1 : -ENOMEM;

	while (rc > 0)
		rc = forget_some(m, inode, ends, each, arg);
	alloc_free(ends);
	return rc;
}

struct sources {
	edges_each *each;
	void *arg;
};

static int source_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	const struct sources *s = arg;
	const uint8_t *sub = key->sub;

	(void)value;
	(void)length;
	if (key->sub_length == NAMES_EDGE_SUB && !(sub[8] & NAMES_EDGE_BACK))
		s->each(s->arg, names_get_be64(sub));
	return 0;
}

int edges_sources(struct mneme *m, edges_each *each, void *arg)
{
	struct sources s = {each, arg};
	int rc = 0;

	for (uint32_t shard = 0; shard < mneme_shards(m) && rc == 0; shard++) {
		struct mneme_key first = names_key(shard, MNEME_TYPE_EDGE);
		struct mneme_key last = names_key(shard, MNEME_TYPE_EDGE + 1);
		rc = mneme_scan(m, &first, &last, 0, source_take, &s);
	}
	return rc;
}

int edges_any(struct mneme_txn *txn, uint32_t shards, uint64_t inode)
{
	uint8_t sub[2][8];
	struct mneme_key range[2];

	range_of(shards, inode, sub, range);
	return names_any(txn, &range[0], &range[1]);
}
