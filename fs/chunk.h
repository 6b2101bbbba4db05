/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the bytes of a file as 16 KiB chunks: read, write, zero, cut, find data and holes.
 * Invariants: `allocated` of the inode record follows every change. A chunk that a range has
 *            (unwritten.h), or in older stores one without bytes, has room set aside
 *            (mneme_txn_reserve), and the first write to it makes all of it. Bytes
 *            of a chunk behind the file's size are zeros (fallocate can make them) or do not exist:
 *            whatever shrinks a file cuts.
 * Threading: changes inside the caller's transaction; the caller stores the inode record.
 * Failure:   0 or -errno.
 */
#ifndef MNEME_FS_CHUNK_H
#define MNEME_FS_CHUNK_H

#include "fs/fs.h"

/* Copies file bytes [offset, offset + length) into `out`; holes and missing ends are zeros. The range
 * must be inside the file. Takes views of its own, chunk by chunk. */
int chunk_read(struct fs *fs, uint64_t ino, void *out, uint64_t offset, size_t length);
/* The same inside a transaction. */
int chunk_txn_read(struct mneme_txn *txn, uint64_t ino, void *out, uint64_t offset, size_t length);
/* `data` must stay valid until commit. Does not change inode->size. */
int chunk_write(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, const void *data,
		uint64_t offset, size_t length);
/* Is there room for these bytes whatever else the disk has: because they are there, or it is set aside?
 * 0 or -ENOSPC. */
int chunk_has_room(struct mneme_txn *txn, uint64_t ino, uint64_t offset, size_t length);
/* Zeros a range: whole chunks become holes, parts of chunks that are there are overwritten. */
int chunk_zero(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint64_t offset,
	       uint64_t length);
/* Removes everything from `size` on. Does not change inode->size. */
int chunk_cut(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint64_t size);
/* Gives back what is set aside for the file, before all its chunks are removed. */
int chunk_give_back(struct fs *fs, struct mneme_txn *txn, uint64_t ino,
		    const struct names_inode *inode);
/* Sets room aside for the missing chunks of [offset, end), which is not empty, and fills short ones
 * up with zeros, as far as one transaction goes: *done receives the end of what is there now. However
 * long the range is, what counts is how many chunks are in it. */
int chunk_reserve(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint64_t offset,
		  uint64_t end, uint64_t *done);
/* The first offset >= `offset` that is data (hole 0) or hole (hole 1), or `size` if there is none. */
int chunk_seek(struct fs *fs, uint64_t ino, uint64_t size, uint64_t offset, int hole,
	       uint64_t *out);

#endif
