/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   links.h: sets of links, and reading them.
 */
#include "core/links.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdlib.h>

void links_fini(struct links *l)
{
	alloc_free(l->list);
	alloc_free(l->labels);
	*l = (struct links){0};
}

static int room(struct links *l, size_t length)
{
	if (l->count == l->capacity) {
		uint32_t capacity = l->capacity ? 2 * l->capacity : 16;
		void *more = alloc_resize(l->list, capacity * sizeof l->list[0]);
		if (!more)
			return -ENOMEM;
		l->list = more;
		l->capacity = capacity;
	}
	if (l->used + length > l->size) {
		uint32_t size = 2 * l->size + (uint32_t)length + 256;
		void *more = alloc_resize(l->labels, size);
		if (!more)
			return -ENOMEM;
		l->labels = more;
		l->size = size;
	}
	return 0;
}

static int append(struct links *l, const struct link *link, const char *label)
{
	int rc = room(l, link->label_length);

	if (rc < 0)
		return rc;
	if (link->label_length)
		memcpy(l->labels + l->used, label, link->label_length);
	l->list[l->count] = *link;
	l->list[l->count++].label = l->used;
	l->used += link->label_length;
	return 0;
}

int links_add(struct links *l, const uint8_t hash_key[16], enum names_link_kind kind,
	      uint16_t weight, const char *label, size_t length)
{
	struct link link = {.kind = kind, .weight = weight, .label_length = (uint16_t)length};

	if (!length || length > NAMES_LABEL_MAX)
		return -EINVAL;
	link.place = names_position(hash_key, label, length);
	for (uint32_t i = 0; i < l->count; i++) {
		const struct link *other = &l->list[i];
		if (other->place != link.place || other->kind != kind)
			continue;
		if (other->label_length == length &&
		    !memcmp(l->labels + other->label, label, length))
			return 0;
		link.place++; /* another label with this hash: practically never */
		i = UINT32_MAX;
	}
	return l->count == LINKS_MAX ? -E2BIG : append(l, &link, label);
}

static int compare(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

void links_sort(struct links *l)
{
	if (l->count)
		qsort(l->list, l->count, sizeof l->list[0], compare);
}

const struct link *links_find(const struct links *l, const struct links *in,
			      const struct link *wanted)
{
	const struct link *found =
		l->count ? bsearch(wanted, l->list, l->count, sizeof *wanted, compare) : NULL;

	return found && found->label_length == wanted->label_length &&
			       !memcmp(l->labels + found->label, in->labels + wanted->label,
				       found->label_length)
		       ? found
		       : NULL;
}

int links_equal(const struct links *a, const struct links *b)
{
	if (a->count != b->count)
		return 0;
	for (uint32_t i = 0; i < a->count; i++) {
		const struct link *same = links_find(b, a, &a->list[i]);
		if (!same || same->to != a->list[i].to || same->weight != a->list[i].weight)
			return 0;
	}
	return 1;
}

/* ---- names in labels ---- */

/* Without an ending that may be left out in a link. */
static size_t stem(const char *name, size_t length)
{
	if (length > 3 && !memcmp(name + length - 3, ".md", 3))
		return length - 3;
	return length > 4 && !memcmp(name + length - 4, ".txt", 4) ? length - 4 : length;
}

static uint64_t position_of(const uint8_t hash_key[16], const char *name, size_t length)
{
	return names_position(hash_key, name, stem(name, length));
}

unsigned links_positions(const uint8_t hash_key[16], const char *label, size_t length,
			 uint64_t out[LINKS_MENTIONS])
{
	unsigned count = 0;

	while (length && count < LINKS_MENTIONS) {
		const char *slash = memrchr(label, '/', length);
		const char *name = slash ? slash + 1 : label;
		size_t n = length - (size_t)(name - label);
		if (n && n <= NAMES_NAME_MAX && !(name[0] == '.' && n == 1) &&
		    !(n == 2 && name[0] == '.' && name[1] == '.'))
			out[count++] = position_of(hash_key, name, n);
		length = slash ? (size_t)(slash - label) : 0;
	}
	if (count == LINKS_MENTIONS && out[0] == out[1])
		count--;
	return count;
}

struct mentions {
	links_each_from *each;
	void *arg;
	int any;
};

static int mention_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct mentions *s = arg;

	(void)value;
	(void)length;
	if (key->sub_length != NAMES_MENTION_SUB)
		return -EUCLEAN;
	s->any = 1;
	if (!s->each)
		return 1;
	s->each(s->arg, names_get_be64((const uint8_t *)key->sub + 8));
	return 0;
}

int links_mentioned(struct mneme *m, const char *name, links_each_from *each, void *arg)
{
	uint8_t hash_key[16], sub[2][NAMES_MENTION_SUB];
	struct mentions s = {.each = each, .arg = arg};

	mneme_uuid(m, hash_key);
	uint64_t position = position_of(hash_key, name, strlen(name));
	struct mneme_key first = names_key_mention(mneme_shards(m), position, 0, sub[0]);
	struct mneme_key last = names_key_mention(mneme_shards(m), position, UINT64_MAX, sub[1]);
	int rc = mneme_scan(m, &first, &last, 0, mention_take, &s);
	return rc < 0 ? rc : s.any;
}

int links_mentions(struct mneme *m, links_each_from *each, void *arg)
{
	struct mentions s = {.each = each, .arg = arg};
	int rc = 0;

	for (uint32_t shard = 0; shard < mneme_shards(m) && rc == 0; shard++) {
		struct mneme_key first = names_key(shard, MNEME_TYPE_MENTION);
		struct mneme_key last = names_key(shard, MNEME_TYPE_MENTION + 1);
		rc = mneme_scan(m, &first, &last, 0, mention_take, &s);
	}
	return rc < 0 ? rc : s.any;
}

/* ---- reading ---- */

static int link_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	const uint8_t *sub = key->sub;
	struct names_link record;

	if (key->sub_length != NAMES_LINK_SUB || length <= sizeof record ||
	    length > sizeof record + NAMES_LABEL_MAX)
		return -EUCLEAN;
	memcpy(&record, value, sizeof record);
	struct link link = {.to = record.to,
			    .weight = record.weight,
			    .kind = sub[0],
			    .place = names_get_be64(sub + 1),
			    .label_length = (uint16_t)(length - sizeof record)};
	return append(arg, &link, (const char *)value + sizeof record);
}

int links_load(struct mneme *m, uint64_t from, struct links *out)
{
	struct mneme_key first = names_key(from, MNEME_TYPE_LINK);
	struct mneme_key last = names_key(from, MNEME_TYPE_LINK + 1);

	return mneme_scan(m, &first, &last, 0, link_take, out);
}

int links_load_inside(struct mneme_txn *txn, uint64_t from, struct links *out)
{
	struct mneme_key first = names_key(from, MNEME_TYPE_LINK);
	struct mneme_key last = names_key(from, MNEME_TYPE_LINK + 1);

	return mneme_txn_scan(txn, &first, &last, 0, link_take, out);
}

static int back_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	const uint8_t *sub = key->sub;

	(void)value;
	(void)length;
	if (key->sub_length != NAMES_BACKLINK_SUB)
		return -EUCLEAN;
	struct link link = {
		.to = names_get_be64(sub), .kind = sub[8], .place = names_get_be64(sub + 9)};
	return append(arg, &link, "");
}

/* Weight and label are where the link comes from. -ENOENT: it went meanwhile. */
static int back_complete(struct mneme *m, struct link *link, char label[NAMES_LABEL_MAX])
{
	static _Thread_local uint8_t value[sizeof(struct names_link) + NAMES_LABEL_MAX];
	uint8_t sub[NAMES_LINK_SUB];
	struct mneme_key key = names_key_link(link->to, link->kind, link->place, sub);
	struct names_link record;
	size_t length;
	int rc = mneme_get(m, &key, value, sizeof value, &length);

	if (rc < 0 || length <= sizeof record)
		return rc < 0 ? rc : -EUCLEAN;
	memcpy(&record, value, sizeof record);
	link->weight = record.weight;
	link->label_length = (uint16_t)(length - sizeof record);
	memcpy(label, value + sizeof record, link->label_length);
	return 0;
}

int links_of(struct mneme *m, uint64_t inode, int back, links_each *each, void *arg)
{
	struct mneme_key first = names_key(inode, MNEME_TYPE_BACKLINK);
	struct mneme_key last = names_key(inode, MNEME_TYPE_BACKLINK + 1);
	static _Thread_local char label[NAMES_LABEL_MAX]; /* handlers have 3 KiB of stack */
	struct links l = {0};
	int rc = back ? mneme_scan(m, &first, &last, 0, back_take, &l) : links_load(m, inode, &l);

	for (uint32_t i = 0; i < l.count && rc == 0; i++) {
		const char *text = l.labels + l.list[i].label;
		if (back) {
			text = label;
			rc = back_complete(m, &l.list[i], label);
		}
		if (rc == 0)
			rc = each(arg, &l.list[i], text);
		else if (rc == -ENOENT)
			rc = 0;
	}
	links_fini(&l);
	return rc;
}
