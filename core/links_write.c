/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   links.h: changing links, at both their ends.
 */
#include "core/links.h"
#include "core/edges.h"
#include "pool/alloc.h"
#include "pool/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FORGET_BATCH = 256 };

/* ---- shards ---- */

static uint64_t bit(struct mneme *m, uint64_t inode)
{
	return 1ull << (inode & (mneme_shards(m) - 1));
}

static uint64_t shards_of(struct mneme *m, const struct links *l)
{
	uint64_t bits = 0, positions[LINKS_MENTIONS];
	uint8_t hash_key[16], sub[NAMES_MENTION_SUB];

	mneme_uuid(m, hash_key);
	for (uint32_t i = 0; i < l->count; i++) {
		const struct link *link = &l->list[i];
		unsigned count = links_positions(hash_key, l->labels + link->label,
						 link->label_length, positions);
		if (link->to)
			bits |= bit(m, link->to);
		for (unsigned k = 0; k < count; k++)
			bits |= bit(m,
				    names_key_mention(mneme_shards(m), positions[k], 0, sub).inode);
	}
	return bits;
}

uint64_t links_shards(struct mneme *m, uint64_t from, const struct links *old,
		      const struct links *new)
{
	return bit(m, from) | shards_of(m, old) | shards_of(m, new);
}

int links_begin(struct mneme *m, uint64_t shards, unsigned flags, struct mneme_txn **out)
{
	static _Thread_local uint64_t inodes[MNEME_SHARDS_MAX]; /* handlers have 3 KiB of stack */
	unsigned count = 0;

	for (uint64_t shard = 0; shard < MNEME_SHARDS_MAX; shard++)
		if (shards >> shard & 1)
			inodes[count++] = shard;
	return mneme_txn_begin_locked(m, flags, inodes, count, out);
}

/* ---- mentions ---- */

struct positions {
	uint64_t *list;
	uint32_t count;
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The positions that labels are mentioned under, sorted, each once. */
static int positions_of(struct mneme *m, const struct links *l, struct positions *out)
{
	uint8_t hash_key[16];
	uint32_t unique = 0;

	mneme_uuid(m, hash_key);
	out->count = 0;
	out->list = alloc_get((l->count + 1ull) * LINKS_MENTIONS * sizeof out->list[0]);
	if (!out->list)
		return -ENOMEM;
	for (uint32_t i = 0; i < l->count; i++)
		out->count += links_positions(hash_key, l->labels + l->list[i].label,
					      l->list[i].label_length, out->list + out->count);
	if (out->count)
		qsort(out->list, out->count, sizeof out->list[0], compare);
	for (uint32_t i = 0; i < out->count; i++)
		if (!unique || out->list[unique - 1] != out->list[i])
			out->list[unique++] = out->list[i];
	out->count = unique;
	return 0;
}

/* Puts (or deletes) what is in `these` and not in `others`. */
static int mentions_change(struct mneme *m, struct mneme_txn *txn, uint64_t from,
			   const struct positions *these, const struct positions *others, int put)
{
	uint8_t sub[NAMES_MENTION_SUB];
	int rc = 0;

	for (uint32_t i = 0; i < these->count && rc == 0; i++) {
		if (others->count && bsearch(&these->list[i], others->list, others->count,
					     sizeof others->list[0], compare))
			continue;
		struct mneme_key key =
			names_key_mention(mneme_shards(m), these->list[i], from, sub);
		rc = put ? mneme_txn_put(txn, &key, "", 0) : mneme_txn_delete(txn, &key);
	}
	return rc;
}

static int mentions_write(struct mneme *m, struct mneme_txn *txn, uint64_t from,
			  const struct links *old, const struct links *new)
{
	struct positions before = {0}, after = {0};
	int rc = positions_of(m, old, &before);

	if (rc == 0)
		rc = positions_of(m, new, &after);
	if (rc == 0)
		rc = mentions_change(m, txn, from, &before, &after, 0);
	if (rc == 0)
		rc = mentions_change(m, txn, from, &after, &before, 1);
	alloc_free(before.list);
	alloc_free(after.list);
	return rc;
}

/* ---- links ---- */

/* 1: it is there and has a name. */
static int has_name(struct mneme_txn *txn, uint64_t inode)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);
	struct names_inode record;
	size_t length;
	int rc = mneme_txn_get(txn, &key, &record, sizeof record, &length);

	return rc == -ENOENT ? 0 : rc < 0 ? rc : record.nlink != 0;
}

static int record_put(struct mneme_txn *txn, uint64_t from, const struct link *link, uint64_t to,
		      const char *label)
{
	struct names_link record = {.to = to, .weight = link->weight};
	uint8_t sub[NAMES_LINK_SUB];
	struct mneme_key key = names_key_link(from, link->kind, link->place, sub);

	return mneme_txn_put_parts(txn, &key, &record, sizeof record, label, link->label_length);
}

static int backlink_delete(struct mneme_txn *txn, uint64_t from, const struct link *link)
{
	uint8_t sub[NAMES_BACKLINK_SUB];
	struct mneme_key key = names_key_backlink(link->to, from, link->kind, link->place, sub);

	return link->to ? mneme_txn_delete(txn, &key) : 0;
}

/* `was`: the same link as it is stored, or NULL. */
static int link_put(struct mneme_txn *txn, uint64_t from, const struct link *link,
		    const struct link *was, const char *label)
{
	uint8_t sub[NAMES_BACKLINK_SUB];
	int leads = link->to ? has_name(txn, link->to) : 0;
	uint64_t to = leads > 0 ? link->to : 0;
	struct mneme_key back = names_key_backlink(to, from, link->kind, link->place, sub);
	int rc = leads < 0 ? leads : 0;

	if (rc == 0 && was && was->to == to && was->weight == link->weight)
		return 0;
	if (rc == 0 && was && was->to != to)
		rc = backlink_delete(txn, from, was);
	if (rc == 0 && to)
		rc = mneme_txn_put(txn, &back, "", 0);
	return rc == 0 ? record_put(txn, from, link, to, label) : rc;
}

static int link_delete(struct mneme_txn *txn, uint64_t from, const struct link *link)
{
	uint8_t sub[NAMES_LINK_SUB];
	struct mneme_key key = names_key_link(from, link->kind, link->place, sub);
	int rc = backlink_delete(txn, from, link);

	return rc == 0 ? mneme_txn_delete(txn, &key) : rc;
}

/* A link of the same key with another label is another link. */
static int links_change(struct mneme_txn *txn, uint64_t from, const struct links *old,
			const struct links *new)
{
	int rc = 0;

	for (uint32_t i = 0; i < old->count && rc == 0; i++)
		if (!links_find(new, old, &old->list[i]))
			rc = link_delete(txn, from, &old->list[i]);
	for (uint32_t i = 0; i < new->count &&rc == 0; i++)
		rc = link_put(txn, from, &new->list[i], links_find(old, new, &new->list[i]),
			      new->labels + new->list[i].label);
	return rc;
}

int links_write(struct mneme *m, struct mneme_txn *txn, uint64_t from, const struct links *old,
		const struct links *new)
{
	struct links stored = {0};
	int rc = links_load_inside(txn, from, &stored);

	if (rc == 0 && !links_equal(&stored, old))
		rc = -EAGAIN;
	links_fini(&stored);
	if (rc == 0)
		rc = links_change(txn, from, old, new);
	return rc == 0 ? mentions_write(m, txn, from, old, new) : rc;
}

/* ---- an inode that goes ---- */

/* A link that led to it. */
struct end {
	uint64_t from, place;
	uint8_t kind;
};

struct ends {
	struct end list[FORGET_BATCH];
	uint32_t count;
};

static int end_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct ends *ends = arg;
	const uint8_t *sub = key->sub;

	(void)value;
	(void)length;
	if (key->type != MNEME_TYPE_BACKLINK || key->sub_length != NAMES_BACKLINK_SUB)
		return 0;
	ends->list[ends->count++] = (struct end){
		.from = names_get_be64(sub), .kind = sub[8], .place = names_get_be64(sub + 9)};
	return ends->count == FORGET_BATCH;
}

/* The link leads nowhere from now on. */
OWN_FRAME static int end_cut(struct mneme_txn *txn, uint64_t inode, const struct end *end)
{
	static _Thread_local uint8_t
		value[sizeof(struct names_link) + NAMES_LABEL_MAX]; /* a handler's stack */
	uint8_t sub[NAMES_BACKLINK_SUB];
	struct mneme_key key = names_key_link(end->from, end->kind, end->place, sub);
	struct names_link record;
	size_t length;
	int rc = mneme_txn_get(txn, &key, value, sizeof value, &length);

	if (rc == 0 && length >= sizeof record) {
		memcpy(&record, value, sizeof record);
		if (record.to == inode) {
			memset(value, 0, sizeof record.to);
			rc = mneme_txn_put(txn, &key, value, length);
		}
	}
	if (rc < 0 && rc != -ENOENT)
		return rc;
	key = names_key_backlink(inode, end->from, end->kind, end->place, sub);
	return mneme_txn_delete(txn, &key);
}

OWN_FRAME static int forget_inside(struct mneme *m, struct mneme_txn *txn, uint64_t inode,
				   const struct links *own, const struct ends *ends)
{
	const struct links none = {0};
	int rc = has_name(txn, inode);

	if (rc)
		return rc < 0 ? rc : -EEXIST;
	rc = links_write(m, txn, inode, own, &none);
	for (uint32_t i = 0; i < ends->count && rc == 0; i++)
		rc = end_cut(txn, inode, &ends->list[i]);
	return rc;
}

OWN_FRAME static int forget_some(struct mneme *m, uint64_t inode, const struct links *own,
				 struct ends *ends)
{
	uint64_t shards = links_shards(m, inode, own, own);
	struct mneme_txn *txn;

	for (uint32_t i = 0; i < ends->count; i++)
		shards |= bit(m, ends->list[i].from);
	int rc = links_begin(m, shards, MNEME_TXN_MAY_FILL, &txn);
	if (rc < 0)
		return rc;
	rc = forget_inside(m, txn, inode, own, ends);
	if (rc == 0)
		return mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT);
	mneme_txn_abort(txn);
	return rc;
}

int links_forget(struct mneme *m, uint64_t inode, links_each_from *each, void *arg)
{
	struct mneme_key first = names_key(inode, MNEME_TYPE_LINK);
	struct mneme_key last = names_key(inode, MNEME_TYPE_BACKLINK + 1);
	struct ends *ends = alloc_get(sizeof *ends);
	int rc = ends ? edges_forget(m, inode, each, arg) : -ENOMEM;

	if (rc == 0)
		rc = -EAGAIN;

	while (rc == -EAGAIN) {
		struct links own = {0};
		ends->count = 0;
		rc = mneme_scan(m, &first, &last, 0, end_take, ends);
		int more = rc > 0;
		if (rc >= 0)
			rc = links_load(m, inode, &own);
		if (rc == 0 && (own.count || ends->count))
			rc = forget_some(m, inode, &own, ends);
		for (uint32_t i = 0; i < ends->count && rc == 0 && each; i++)
			each(arg, ends->list[i].from);
		links_fini(&own);
		if (rc == 0 && more)
			rc = -EAGAIN;
	}
	alloc_free(ends);
	return rc;
}

int links_any(struct mneme_txn *txn, uint32_t shards, uint64_t inode)
{
	struct mneme_key first = names_key(inode, MNEME_TYPE_LINK);
	struct mneme_key last = names_key(inode, MNEME_TYPE_BACKLINK + 1);

	int rc = names_any(txn, &first, &last);

	return rc == 0 ? edges_any(txn, shards, inode) : rc;
}
