/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the check of links: LINK, BACKLINK and MENTION keys say the same (core/names.h).
 * Invariants: a link is what counts: what does not fit it is made anew or removed. A link is removed only
 *            where it is none, or its file is not there. All of it follows from what files say, so no
 *            repair loses anything.
 */
#include "core/links.h"
#include "core/store/check_names_inside.h"
#include "pool/alloc.h"

#include <errno.h>

#define REPAIR(n, action) (names_repairs(n) ? (action) : 1)

struct stored {
	struct names_link record;
	char label[NAMES_LABEL_MAX];
	size_t label_length;
};

/* -EUCLEAN: it is no link. */
static int link_get(struct names_check *n, const struct mneme_key *key, struct stored *out)
{
	uint8_t value[sizeof out->record + NAMES_LABEL_MAX];
	const uint8_t *sub = key->sub;
	size_t length = 0;
	int rc = mneme_get(n->m, key, value, sizeof value, &length);

	if (rc < 0)
		return rc == -ERANGE ? -EUCLEAN : rc;
	if (key->sub_length != NAMES_LINK_SUB || !sub[0] || sub[0] >= NAMES_LINK_KINDS ||
	    length <= sizeof out->record)
		return -EUCLEAN;
	memcpy(&out->record, value, sizeof out->record);
	out->label_length = length - sizeof out->record;
	memcpy(out->label, value + sizeof out->record, out->label_length);
	uint64_t place = names_position(n->uuid, out->label, out->label_length);
	return (names_get_be64(sub + 1) & ~0xffull) == place && out->record.weight &&
			       out->record.weight <= NAMES_WEIGHT_ONE
		       ? 0
		       : -EUCLEAN;
}

static int has_record(struct names_check *n, uint64_t inode)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);

	return names_has(n, &key);
}

/* The link leads nowhere from now on. */
static int link_cut(struct names_check *n, const struct mneme_key *key, struct stored *link)
{
	uint8_t value[sizeof link->record + NAMES_LABEL_MAX];

	link->record.to = 0;
	memcpy(value, &link->record, sizeof link->record);
	memcpy(value + sizeof link->record, link->label, link->label_length);
	return mneme_put(n->m, key, value, sizeof link->record + link->label_length,
			 MNEME_DURABILITY_DEFAULT);
}

static void see_mentions(struct names_check *n, uint64_t from, const struct stored *link)
{
	uint64_t positions[LINKS_MENTIONS];
	uint8_t sub[NAMES_MENTION_SUB];
	unsigned count = links_positions(n->uuid, link->label, link->label_length, positions);

	for (unsigned i = 0; i < count; i++) {
		struct mneme_key key = names_key_mention(n->shards, positions[i], from, sub);
		if (!names_has(n, &key))
			names_find(n, REPAIR(n, names_put_empty(n, &key)),
				   "inode %llu: a name in the link '%.*s' is not watched for",
				   (unsigned long long)from, (int)link->label_length, link->label);
	}
}

static void see_link(struct names_check *n, const struct names_row *row)
{
	unsigned long long inode = row->key.inode;
	uint8_t sub[NAMES_BACKLINK_SUB];
	struct stored link;
	int rc = link_get(n, &row->key, &link);

	if (rc < 0 || !has_record(n, inode)) {
		names_find(n, REPAIR(n, names_delete(n, &row->key)),
			   "inode %llu has a link that %s", inode,
			   rc < 0 ? "is none" : "belongs to no file");
		return;
	}
	see_mentions(n, inode, &link);
	if (!link.record.to)
		return;
	if (!has_record(n, link.record.to)) {
		names_find(n, REPAIR(n, link_cut(n, &row->key, &link)),
			   "inode %llu: the link '%.*s' leads to an inode that is not there", inode,
			   (int)link.label_length, link.label);
		return;
	}
	struct mneme_key back = names_key_backlink(link.record.to, inode, row->sub[0],
						   names_get_be64(row->sub + 1), sub);
	if (!names_has(n, &back))
		names_find(
			n, REPAIR(n, names_put_empty(n, &back)),
			"inode %llu does not know that the link '%.*s' of inode %llu leads to it",
			(unsigned long long)link.record.to, (int)link.label_length, link.label,
			inode);
}

static void see_backlink(struct names_check *n, const struct names_row *row)
{
	struct stored link;
	uint8_t sub[NAMES_LINK_SUB];

	if (row->key.sub_length == NAMES_BACKLINK_SUB) {
		struct mneme_key key = names_key_link(names_get_be64(row->sub), row->sub[8],
						      names_get_be64(row->sub + 9), sub);
		if (link_get(n, &key, &link) == 0 && link.record.to == row->key.inode &&
		    has_record(n, key.inode))
			return;
	}
	names_find(n, REPAIR(n, names_delete(n, &row->key)),
		   "inode %llu notes a link from somewhere that does not lead to it",
		   (unsigned long long)row->key.inode);
}

struct wanted {
	const struct names_check *n;
	uint64_t position;
};

static int has_position(void *arg, const struct link *link, const char *label)
{
	const struct wanted *w = arg;
	uint64_t positions[LINKS_MENTIONS];
	unsigned count = links_positions(w->n->uuid, label, link->label_length, positions);
	int there = 0;

	for (unsigned i = 0; i < count; i++)
		there |= positions[i] == w->position;
	return there;
}

static void see_mention(struct names_check *n, const struct names_row *row)
{
	if (row->key.sub_length == NAMES_MENTION_SUB) {
		struct wanted w = {.n = n, .position = names_get_be64(row->sub)};
		if ((w.position >> 8 & (n->shards - 1)) == row->key.inode &&
		    links_of(n->m, names_get_be64(row->sub + 8), 0, has_position, &w) == 1)
			return;
	}
	names_find(n, REPAIR(n, names_delete(n, &row->key)),
		   "a name is watched for that is in no link");
}

/* It is there at both ends, and both are files. */
static void see_edge(struct names_check *n, const struct names_row *row)
{
	uint8_t sub[NAMES_EDGE_SUB];

	if (row->key.sub_length == NAMES_EDGE_SUB) {
		uint64_t inode = names_get_be64(row->sub), other = names_get_be64(row->sub + 9);
		uint8_t kind = row->sub[8] & ~NAMES_EDGE_BACK;
		struct mneme_key end =
			names_key_edge(n->shards, other, row->sub[8] ^ NAMES_EDGE_BACK, inode, sub);
		size_t length = row->sub[8] & NAMES_EDGE_BACK ? 0 : sizeof(struct names_edge);
		if (kind && kind < NAMES_EDGE_KINDS && row->value_length == length &&
		    (inode & (n->shards - 1)) == row->key.inode && names_has(n, &end) &&
		    has_record(n, inode) && has_record(n, other))
			return;
	}
	names_find(n, REPAIR(n, names_delete(n, &row->key)),
		   "a link of use or meaning has one end only");
}

void check_links_row(struct names_check *n, const struct names_row *row)
{
	if (n->records_only)
		return;
	if (row->key.type == MNEME_TYPE_MENTION)
		see_mention(n, row);
	else if (row->key.type == MNEME_TYPE_EDGE)
		see_edge(n, row);
	else if (row->key.type == MNEME_TYPE_LINK)
		see_link(n, row);
	else if (row->key.type == MNEME_TYPE_BACKLINK)
		see_backlink(n, row);
}
