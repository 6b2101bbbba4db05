/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   unwritten.h.
 */
#include "fs/unwritten.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

static struct mneme_key key_of(uint64_t ino, uint64_t end, uint8_t sub[8])
{
	return names_key_number(ino, MNEME_TYPE_UNWRITTEN, end, sub);
}

int unwritten_parse(const struct mneme_key *key, const void *value, size_t length, uint64_t *first,
		    uint64_t *end)
{
	if (key->sub_length != 8 || length != sizeof *first)
		return -EUCLEAN;
	memcpy(first, value, sizeof *first);
	*first = le64toh(*first);
	*end = names_get_be64(key->sub);
	return *first < *end ? 0 : -EUCLEAN;
}

/* Gives the ranges that end at chunk `from` or behind it, until `each` has enough. */
static int scan(struct mneme_txn *txn, uint64_t ino, uint64_t from, mneme_scan_each *each,
		void *arg)
{
	uint8_t sub[8];
	struct mneme_key first = key_of(ino, from, sub);
	struct mneme_key last = names_key(ino, MNEME_TYPE_UNWRITTEN + 1);
	int got = mneme_txn_scan(txn, &first, &last, 0, each, arg);

	return got < 0 ? got : 0;
}

static int put(struct mneme_txn *txn, uint64_t ino, uint64_t first, uint64_t end)
{
	uint8_t sub[8];
	struct mneme_key key = key_of(ino, end, sub);
	uint64_t value = htole64(first);

	return mneme_txn_put(txn, &key, &value, sizeof value);
}

/* Deletes the records whose ends are from `first` to before `end`. */
static int drop(struct mneme_txn *txn, uint64_t ino, uint64_t first, uint64_t end)
{
	uint8_t first_sub[8], last_sub[8];
	struct mneme_key from = key_of(ino, first, first_sub);
	struct mneme_key to = key_of(ino, end, last_sub);

	return mneme_txn_delete_range(txn, &from, &to);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

struct adding {
	uint64_t first, end; /* asked for */
	uint64_t from, to;   /* with the ranges that it touches */
	uint64_t there;      /* chunks of it that are in one */
	uint64_t count;      /* of those ranges */
	uint64_t last;       /* the end of the last one */
};

static int each_touching(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct adding *adding = arg;
	uint64_t first, end;

	if (unwritten_parse(key, value, length, &first, &end))
		return -EUCLEAN;
	if (first > adding->end)
		return 1;
	uint64_t from = most(first, adding->first), to = least(end, adding->end);
	adding->there += to > from ? to - from : 0;
	adding->from = least(first, adding->from);
	adding->to = most(end, adding->to);
	adding->count++;
	adding->last = end;
	return 0;
}

int unwritten_add(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint64_t first,
		  uint64_t end, uint64_t *added)
{
	struct adding adding = {.first = first, .end = end, .from = first, .to = end};
	int err = 0;

	if (inode->state & NAMES_HAS_UNWRITTEN)
		err = scan(txn, ino, first, each_touching, &adding);
	*added = end - first - adding.there;
	if (err || !*added) /* ranges do not touch: all of it is in one */
		return err;
	/* the record that ends where the new range does is written over */
	if (adding.count > (adding.last == adding.to))
		err = drop(txn, ino, first, adding.to);
	if (!err)
		err = put(txn, ino, adding.from, adding.to);
	inode->state |= NAMES_HAS_UNWRITTEN;
	return err;
}

struct cutting {
	struct unwritten_cut *cut;
	uint64_t left_first; /* of the part that stays before the cut */
	uint64_t right_end;  /* of the one behind it */
	uint64_t ended;      /* ranges that end in the cut */
	int has_left;
};

static void note_map(struct unwritten_cut *cut, uint64_t from, uint64_t to)
{
	for (uint64_t bit = from - cut->first; bit < to - cut->first && bit < UNWRITTEN_MAP; bit++)
		cut->map[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static int each_cut(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct cutting *cutting = arg;
	struct unwritten_cut *cut = cutting->cut;
	uint64_t first, end;

	if (unwritten_parse(key, value, length, &first, &end))
		return -EUCLEAN;
	if (first >= cut->end)
		return 1;
	uint64_t from = most(first, cut->first), to = least(end, cut->end);
	cut->count += to - from;
	note_map(cut, from, to);
	if (first < cut->first) {
		cutting->left_first = first;
		cutting->has_left = 1;
	}
	if (end > cut->end) {
		cutting->right_end = end;
		return 1;
	}
	cutting->ended++;
	return 0;
}

static int each_any(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	*(int *)arg = 1;
	return 1;
}

int unwritten_cut(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode,
		  struct unwritten_cut *cut)
{
	struct cutting cutting = {.cut = cut};
	int any = 0;

	cut->count = 0;
	memset(cut->map, 0, sizeof cut->map);
	if (!(inode->state & NAMES_HAS_UNWRITTEN) || cut->first >= cut->end)
		return 0;
	int err = scan(txn, ino, cut->first + 1, each_cut, &cutting);
	if (err || !cut->count)
		return err;
	if (cutting.ended)
		err = drop(txn, ino, cut->first + 1, cut->end + 1);
	if (!err && cutting.has_left)
		err = put(txn, ino, cutting.left_first, cut->first);
	if (!err && cutting.right_end)
		err = put(txn, ino, cut->end, cutting.right_end);
	if (err || cutting.has_left || cutting.right_end)
		return err;
	err = scan(txn, ino, 0, each_any, &any);
	if (!err && !any)
		inode->state &= ~(uint32_t)NAMES_HAS_UNWRITTEN;
	return err;
}

struct finding {
	uint64_t index;
	int found;
};

static int each_holding(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct finding *finding = arg;
	uint64_t first, end;

	if (unwritten_parse(key, value, length, &first, &end))
		return -EUCLEAN;
	finding->found = first <= finding->index;
	return 1;
}

int unwritten_has(struct mneme_txn *txn, uint64_t ino, uint64_t index)
{
	struct finding finding = {.index = index};
	int err = scan(txn, ino, index + 1, each_holding, &finding);

	return err ? err : finding.found;
}
