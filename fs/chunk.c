/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   chunk.h.
 */
#include "fs/chunk.h"

#include "fs/unwritten.h"
#include "pool/check.h"

#include <errno.h>
#include <string.h>

static const uint8_t zeros[MNEME_CHUNK_SIZE];

/* What a chunk's value counts for: one without bytes is reserved. */
static uint64_t counted(size_t length)
{
	return length ? ((uint64_t)length + 511) & ~UINT64_C(511) : MNEME_CHUNK_SIZE;
}

static uint64_t index_of(uint64_t offset)
{
	return offset / MNEME_CHUNK_SIZE;
}

/* Bytes of [offset, offset + length) that are in offset's chunk. */
static size_t part_of(uint64_t offset, uint64_t length)
{
	uint64_t room = MNEME_CHUNK_SIZE - offset % MNEME_CHUNK_SIZE;

	return length < room ? (size_t)length : (size_t)room;
}

static struct mneme_key chunk_key(uint64_t ino, uint64_t offset, uint8_t sub[8])
{
	return names_key_number(ino, MNEME_TYPE_CHUNK, index_of(offset), sub);
}

/* Copies from a chunk's value, zeros behind its end. */
static void copy_out(uint8_t *out, const uint8_t *value, size_t value_length, size_t at,
		     size_t length)
{
	size_t there = at < value_length ? value_length - at : 0;

	if (there > length)
		there = length;
	if (there)
		memcpy(out, value + at, there);
	if (there < length)
		memset(out + there, 0, length - there);
}

int chunk_read(struct fs *fs, uint64_t ino, void *out, uint64_t offset, size_t length)
{
	uint8_t *at = out, sub[8];

	while (length) {
		size_t part = part_of(offset, length), value_length = 0;
		struct mneme_key key = chunk_key(ino, offset, sub);
		const void *value = NULL;
		int err = mneme_view_begin(fs->engine, ino);
		if (err)
			return err;
		err = mneme_view_get(fs->engine, &key, &value, &value_length);
		if (!err || err == -ENOENT)
			copy_out(at, value, err ? 0 : value_length, offset % MNEME_CHUNK_SIZE,
				 part);
		mneme_view_end(fs->engine, ino);
		if (err && err != -ENOENT)
			return err;
		at += part;
		offset += part;
		length -= part;
	}
	return 0;
}

int chunk_txn_read(struct mneme_txn *txn, uint64_t ino, void *out, uint64_t offset, size_t length)
{
	uint8_t *at = out, sub[8];
	uint8_t *whole = op_temporary(MNEME_CHUNK_SIZE);

	if (!whole)
		return -ENOMEM;
	while (length) {
		size_t part = part_of(offset, length), value_length = 0;
		struct mneme_key key = chunk_key(ino, offset, sub);
		int err = mneme_txn_get(txn, &key, whole, MNEME_CHUNK_SIZE, &value_length);
		if (err && err != -ENOENT)
			return err == -ERANGE ? -EUCLEAN : err;
		copy_out(at, whole, err ? 0 : value_length, offset % MNEME_CHUNK_SIZE, part);
		at += part;
		offset += part;
		length -= part;
	}
	return 0;
}

/* Length of a chunk's value, 0 for a hole; *there says which. */
static int chunk_length(struct mneme_txn *txn, const struct mneme_key *key, size_t *length,
			int *there)
{
	int err = mneme_txn_get(txn, key, NULL, 0, length);

	*there = !err;
	if (err == -ENOENT) {
		*length = 0;
		return 0;
	}
	return err;
}

/* Bytes for a chunk that room is set aside for: it takes all of that, so that whatever is written to it
 * later overwrites. */
static int fill_reserved(struct mneme_txn *txn, const struct mneme_key *key, const void *data,
			 size_t inside, size_t length)
{
	if (length == MNEME_CHUNK_SIZE)
		return mneme_txn_put_borrowed(txn, key, data, length);
	int err = mneme_txn_patch_borrowed(txn, key, MNEME_CHUNK_SIZE - 1, zeros, 1);
	return err ? err : mneme_txn_patch_borrowed(txn, key, inside, data, length);
}

/* Writes to one chunk. `set_aside`: it is in a range of those that room is set aside for. Returns 1
 * where that room is used now, 0 or -errno. */
static int write_part(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode,
		      const void *data, uint64_t offset, size_t part, int set_aside)
{
	size_t inside = offset % MNEME_CHUNK_SIZE, old;
	uint8_t sub[8];
	struct mneme_key key = chunk_key(ino, offset, sub);
	int there;
	int err = chunk_length(txn, &key, &old, &there);

	if (err)
		return err;
	if (!old && (there || set_aside)) {
		err = fill_reserved(txn, &key, data, inside, part);
		return err ? err : 1;
	}
	if (inside + part > old)
		inode->allocated += counted(inside + part) - (there ? counted(old) : 0);
	return inside + part >= old && !inside
		       ? mneme_txn_put_borrowed(txn, &key, data, part)
		       : mneme_txn_patch_borrowed(txn, &key, inside, data, part);
}

int chunk_write(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, const void *data,
		uint64_t offset, size_t length)
{
	const uint8_t *at = data;
	int64_t filled = 0;
	struct unwritten_cut cut = {.first = index_of(offset),
				    .end = index_of(offset + length - 1) + 1};

	if (!length)
		return 0;
	DCHECK(cut.end - cut.first <= UNWRITTEN_MAP);
	int err = unwritten_cut(txn, ino, inode, &cut);
	if (err)
		return err;
	while (length) {
		size_t part = part_of(offset, length);
		int got = write_part(txn, ino, inode, at, offset, part,
				     unwritten_was(&cut, index_of(offset)));
		if (got < 0)
			return got;
		filled += got;
		at += part;
		offset += part;
		length -= part;
	}
	return filled ? mneme_txn_reserve(txn, ino, -filled) : 0;
}

int chunk_has_room(struct mneme_txn *txn, uint64_t ino, uint64_t offset, size_t length)
{
	uint8_t sub[8];

	while (length) {
		size_t part = part_of(offset, length), old;
		struct mneme_key key = chunk_key(ino, offset, sub);
		int there;
		int err = chunk_length(txn, &key, &old, &there);
		if (err)
			return err;
		if (!there) {
			err = unwritten_has(txn, ino, index_of(offset));
			if (err <= 0)
				return err ? err : -ENOSPC;
		} else if (old && old < offset % MNEME_CHUNK_SIZE + part) {
			return -ENOSPC;
		}
		offset += part;
		length -= part;
	}
	return 0;
}

/* Zeros part of one chunk. */
static int zero_part(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode,
		     uint64_t offset, size_t length)
{
	uint8_t sub[8];
	struct mneme_key key = chunk_key(ino, offset, sub);
	size_t inside = offset % MNEME_CHUNK_SIZE, old;
	int there;
	int err = chunk_length(txn, &key, &old, &there);

	if (err || inside >= old)
		return err;
	if (inside + length < old)
		return mneme_txn_patch_borrowed(txn, &key, inside, zeros, length);
	inode->allocated -= counted(old) - (inside ? counted(inside) : 0);
	return inside ? mneme_txn_truncate(txn, &key, inside) : mneme_txn_delete(txn, &key);
}

struct removed {
	uint64_t bytes;   /* as `allocated` counts them */
	int64_t reserved; /* chunks */
};

static int each_counted(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct removed *removed = arg;
	uint64_t first, end;

	if (key->type == MNEME_TYPE_UNWRITTEN) {
		if (unwritten_parse(key, value, length, &first, &end))
			return -EUCLEAN;
		removed->reserved += (int64_t)(end - first);
		return 0;
	}
	removed->bytes += counted(length);
	removed->reserved += !length;
	return 0;
}

/* Removes whole chunks [first_index, last_index). */
static int remove_chunks(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode,
			 uint64_t first_index, uint64_t last_index)
{
	uint8_t first_sub[8], last_sub[8];
	struct removed removed = {0};
	struct unwritten_cut cut = {.first = first_index, .end = last_index};

	if (first_index >= last_index || !inode->allocated)
		return 0;
	struct mneme_key first = names_key_number(ino, MNEME_TYPE_CHUNK, first_index, first_sub);
	struct mneme_key last = names_key_number(ino, MNEME_TYPE_CHUNK, last_index, last_sub);
	int err = mneme_txn_scan(txn, &first, &last, 0, each_counted, &removed);
	if (!err && removed.bytes)
		err = mneme_txn_delete_range(txn, &first, &last);
	if (!err)
		err = unwritten_cut(txn, ino, inode, &cut);
	if (err)
		return err;
	removed.bytes += cut.count * counted(0);
	removed.reserved += (int64_t)cut.count;
	inode->allocated -= removed.bytes < inode->allocated ? removed.bytes : inode->allocated;
	return removed.reserved ? mneme_txn_reserve(txn, ino, -removed.reserved) : 0;
}

int chunk_give_back(struct fs *fs, struct mneme_txn *txn, uint64_t ino,
		    const struct names_inode *inode)
{
	struct mneme_key record = names_key(fs_shard_of(fs, ino), MNEME_TYPE_RESERVED);
	struct mneme_key first = names_key(ino, MNEME_TYPE_CHUNK);
	struct mneme_key last = names_key(ino, MNEME_TYPE_UNWRITTEN + 1);
	struct removed removed = {0};
	size_t length;

	if (inode->allocated < counted(0))
		return 0;
	int err = mneme_txn_get(txn, &record, NULL, 0, &length);
	if (err) /* nothing is set aside: the chunks need not be looked at */
		return err == -ENOENT ? 0 : err;
	err = mneme_txn_scan(txn, &first, &last, 0, each_counted, &removed);
	return err || !removed.reserved ? err : mneme_txn_reserve(txn, ino, -removed.reserved);
}

int chunk_zero(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint64_t offset,
	       uint64_t length)
{
	uint64_t end = offset + length;
	int err;

	if (index_of(offset) == index_of(end) && offset % MNEME_CHUNK_SIZE)
		return length ? zero_part(txn, ino, inode, offset, (size_t)length) : 0;
	if (offset % MNEME_CHUNK_SIZE) {
		size_t part = part_of(offset, length);
		err = zero_part(txn, ino, inode, offset, part);
		if (err)
			return err;
		offset += part;
	}
	err = remove_chunks(txn, ino, inode, index_of(offset), index_of(end));
	if (err || !(end % MNEME_CHUNK_SIZE) || end <= offset)
		return err;
	return zero_part(txn, ino, inode, end - end % MNEME_CHUNK_SIZE, end % MNEME_CHUNK_SIZE);
}

int chunk_cut(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint64_t size)
{
	if (size % MNEME_CHUNK_SIZE) {
		int err = zero_part(txn, ino, inode, size,
				    MNEME_CHUNK_SIZE - size % MNEME_CHUNK_SIZE);
		if (err)
			return err;
	}
	return remove_chunks(txn, ino, inode, index_of(size + MNEME_CHUNK_SIZE - 1),
			     NAMES_FILE_SIZE_MAX / MNEME_CHUNK_SIZE + 1);
}

/* ---- setting room aside ---- */

enum { SURVEY_PARTS = 128, SURVEY_KEYS = 1024, SURVEY_BYTES = 4 << 20 };

/* What there is to do for a range: chunks [first, end) without a key, or one chunk (first == end)
 * that has `length` bytes and is to have more. */
struct survey_part {
	uint64_t first, end;
	size_t length;
};

struct survey {
	uint64_t at;    /* chunks before it were looked at */
	uint64_t until; /* byte behind the range */
	size_t bytes;   /* to be made */
	unsigned keys, count;
	struct survey_part parts[SURVEY_PARTS];
};

/* How much of a chunk the range wants to be there. */
static size_t survey_wants(const struct survey *survey, uint64_t index)
{
	uint64_t rest = survey->until - index * MNEME_CHUNK_SIZE;

	return rest < MNEME_CHUNK_SIZE ? (size_t)rest : MNEME_CHUNK_SIZE;
}

static void survey_gap(struct survey *survey, uint64_t end)
{
	if (end > survey->at)
		survey->parts[survey->count++] =
			(struct survey_part){.first = survey->at, .end = end};
}

static int each_surveyed(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct survey *survey = arg;
	uint64_t index = names_get_be64(key->sub);
	size_t wants = survey_wants(survey, index);

	survey_gap(survey, index);
	if (length && length < wants) {
		survey->parts[survey->count++] =
			(struct survey_part){.first = index, .end = index, .length = length};
		survey->bytes += wants - length;
	}
	survey->at = index + 1;
	/* a key adds two parts at most, and a last one follows */
	return ++survey->keys == SURVEY_KEYS || survey->count > SURVEY_PARTS - 3 ||
	       survey->bytes >= SURVEY_BYTES;
}

static int reserve_part(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode,
			const struct survey *survey, const struct survey_part *part,
			int64_t *reserved)
{
	uint8_t sub[8];
	struct mneme_key key = names_key_number(ino, MNEME_TYPE_CHUNK, part->first, sub);
	size_t wants = survey_wants(survey, part->first);
	uint64_t added;

	if (part->first < part->end) {
		int err = unwritten_add(txn, ino, inode, part->first, part->end, &added);
		inode->allocated += err ? 0 : added * counted(0);
		*reserved += err ? 0 : (int64_t)added;
		return err;
	}
	/* up to the range's end in the chunk: zeros from the old end on */
	inode->allocated += counted(wants) - counted(part->length);
	return mneme_txn_patch_borrowed(txn, &key, part->length, zeros, wants - part->length);
}

int chunk_reserve(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint64_t offset,
		  uint64_t end, uint64_t *done)
{
	uint8_t first_sub[8], last_sub[8];
	uint64_t index_end = index_of(end - 1) + 1;
	struct mneme_key first = chunk_key(ino, offset, first_sub);
	struct mneme_key last = names_key_number(ino, MNEME_TYPE_CHUNK, index_end, last_sub);
	struct survey *survey = op_temporary(sizeof(*survey));
	int64_t reserved = 0;

	if (!survey)
		return -ENOMEM;
	memset(survey, 0, offsetof(struct survey, parts));
	survey->at = index_of(offset);
	survey->until = end;
	int got = mneme_txn_scan(txn, &first, &last, 0, each_surveyed, survey);
	if (got < 0)
		return got;
	if (!got) {
		survey_gap(survey, index_end);
		survey->at = index_end;
	}
	for (unsigned i = 0; i < survey->count; i++) {
		int err = reserve_part(txn, ino, inode, survey, &survey->parts[i], &reserved);
		if (err)
			return err;
	}
	*done = survey->at * MNEME_CHUNK_SIZE;
	if (*done > end)
		*done = end;
	return reserved ? mneme_txn_reserve(txn, ino, reserved) : 0;
}

struct seek {
	uint64_t at; /* everything before is of the other kind */
	int hole;
};

static int each_seen(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct seek *seek = arg;
	uint64_t start = names_get_be64(key->sub) * MNEME_CHUNK_SIZE;

	if (!length && !seek->hole)
		return 0; /* reserved, not written */
	if (!seek->hole) {
		if (start > seek->at)
			seek->at = start;
		return 1;
	}
	if (start > seek->at || !length)
		return 1; /* a missing chunk before this one, or this one */
	seek->at = start + MNEME_CHUNK_SIZE;
	return 0;
}

int chunk_seek(struct fs *fs, uint64_t ino, uint64_t size, uint64_t offset, int hole, uint64_t *out)
{
	uint8_t first_sub[8], last_sub[8];
	struct mneme_key first = chunk_key(ino, offset, first_sub);
	struct mneme_key last =
		names_key_number(ino, MNEME_TYPE_CHUNK, index_of(size) + 1, last_sub);
	struct seek seek = {.at = offset, .hole = hole};
	int got = mneme_scan(fs->engine, &first, &last, 0, each_seen, &seek);

	if (got < 0)
		return got;
	if (!hole && !got)
		seek.at = size;
	*out = seek.at < size ? seek.at : size;
	return 0;
}
