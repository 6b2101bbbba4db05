/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   chunk.h.
 */
#include "fs/chunk.h"

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

int chunk_write(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, const void *data,
		uint64_t offset, size_t length)
{
	const uint8_t *at = data;
	int64_t filled = 0;
	uint8_t sub[8];

	while (length) {
		size_t part = part_of(offset, length), old;
		size_t inside = offset % MNEME_CHUNK_SIZE;
		struct mneme_key key = chunk_key(ino, offset, sub);
		int there;
		int err = chunk_length(txn, &key, &old, &there);
		if (err)
			return err;
		if (there && !old) {
			err = fill_reserved(txn, &key, at, inside, part);
			filled++;
		} else {
			err = inside + part >= old && !inside
				      ? mneme_txn_put_borrowed(txn, &key, at, part)
				      : mneme_txn_patch_borrowed(txn, &key, inside, at, part);
			if (inside + part > old)
				inode->allocated +=
					counted(inside + part) - (there ? counted(old) : 0);
		}
		if (err)
			return err;
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
		if (!there || (old && old < offset % MNEME_CHUNK_SIZE + part))
			return -ENOSPC;
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

	if (first_index >= last_index || !inode->allocated)
		return 0;
	struct mneme_key first = names_key_number(ino, MNEME_TYPE_CHUNK, first_index, first_sub);
	struct mneme_key last = names_key_number(ino, MNEME_TYPE_CHUNK, last_index, last_sub);
	int err = mneme_txn_scan(txn, &first, &last, 0, each_counted, &removed);
	if (err)
		return err;
	if (!removed.bytes)
		return 0;
	inode->allocated -= removed.bytes < inode->allocated ? removed.bytes : inode->allocated;
	err = mneme_txn_delete_range(txn, &first, &last);
	return err || !removed.reserved ? err : mneme_txn_reserve(txn, ino, -removed.reserved);
}

int chunk_give_back(struct fs *fs, struct mneme_txn *txn, uint64_t ino,
		    const struct names_inode *inode)
{
	uint8_t first_sub[8], last_sub[8];
	struct mneme_key record = names_key(fs_shard_of(fs, ino), MNEME_TYPE_RESERVED);
	struct mneme_key first = names_key_number(ino, MNEME_TYPE_CHUNK, 0, first_sub);
	struct mneme_key last = names_key_number(ino, MNEME_TYPE_CHUNK, UINT64_MAX, last_sub);
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

int chunk_reserve(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint64_t offset,
		  uint64_t end, uint64_t bytes_max, uint64_t *done)
{
	uint64_t made = 0;
	int64_t reserved = 0;
	uint8_t sub[8];

	while (offset < end && made < bytes_max) {
		size_t part = part_of(offset, end - offset), old;
		size_t until = offset % MNEME_CHUNK_SIZE + part;
		struct mneme_key key = chunk_key(ino, offset, sub);
		int there;
		int err = chunk_length(txn, &key, &old, &there);
		if (err)
			return err;
		if (!there) {
			err = mneme_txn_put(txn, &key, "", 0);
			inode->allocated += counted(0);
			made += MNEME_CHUNK_SIZE;
			reserved++;
		} else if (old && old < until) {
			/* up to the file's end in the chunk: zeros from the old end on */
			err = mneme_txn_patch_borrowed(txn, &key, old, zeros, until - old);
			inode->allocated += counted(until) - counted(old);
			made += until - old;
		}
		if (err)
			return err;
		offset += part;
	}
	*done = offset;
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
