/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fallocate, SEEK_DATA/SEEK_HOLE, copy_file_range.
 * Invariants: a copy, or a reservation where there is much, is done in pieces, each a transaction,
 *            so that no shard is held for long; punch is one transaction, zero another one before its
 *            reservation.
 * Threading: any handler thread.
 * Failure:   0 or -errno to the kernel. Collapse and insert: -EOPNOTSUPP.
 */
#include "fs/fs.h"

#include "fs/chunk.h"
#include "fs/virtual.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <unistd.h>

enum { COPY_PIECE = 256 << 10, COPY_MAX = 8 << 20 };

struct range {
	uint64_t ino;
	uint64_t offset, end;
	int mode;
	fuse_req_t unprivileged; /* NULL: the caller may keep suid and sgid */
	int dropped;             /* result */
};

static int check_range(const struct names_inode *inode, const struct range *range)
{
	if (!S_ISREG(inode->mode))
		return S_ISDIR(inode->mode) ? -EISDIR : -ENODEV;
	if (inode_check_flags(inode, 0))
		return -EPERM;
	if (inode->flags & FS_APPEND_FL && range->mode & ~FALLOC_FL_KEEP_SIZE)
		return -EPERM;
	return range->end > NAMES_FILE_SIZE_MAX ? -EFBIG : 0;
}

static int fallocate_inside(struct mneme_txn *txn, struct range *range, uint64_t *done)
{
	struct names_inode inode;
	uint64_t length = range->end - range->offset;
	int err = inode_load(txn, range->ino, &inode);

	if (!err)
		err = check_range(&inode, range);
	if (err)
		return err;
	if (range->unprivileged) {
		range->dropped |=
			inode_drop_privileges(txn, range->ino, &inode, range->unprivileged);
		if (range->dropped < 0)
			return range->dropped;
	}
	*done = range->end;
	if (range->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		err = chunk_zero(txn, range->ino, &inode, range->offset, length);
	} else {
		err = chunk_reserve(txn, range->ino, &inode, range->offset, range->end, done);
	}
	if (err)
		return err;
	if (!(range->mode & FALLOC_FL_KEEP_SIZE) && *done > inode.size)
		inode.size = *done;
	inode.mtime_ns = inode.ctime_ns = fs_now();
	inode.version++;
	return inode_store(txn, range->ino, &inode);
}

/* Is there room for a reservation? A quick look, so that one of far too much makes nothing; setting it
 * aside tells. A chunk may take a page besides its own, where no run of free ones is left. */
static int check_room(struct fs *fs, const struct range *range)
{
	struct mneme_stats stats;
	struct names_inode inode;
	uint64_t needed = range->end - range->offset;
	int err = inode_read(fs, range->ino, &inode);

	if (err || range->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return err;
	mneme_get_stats(fs->engine, &stats);
	uint64_t room = fs_available_bytes(&stats) + inode.allocated;
	return needed > room ? -ENOSPC : 0;
}

static int fallocate_range(struct fs *fs, struct range *range)
{
	unsigned flags = range->mode & FALLOC_FL_PUNCH_HOLE ? MNEME_TXN_MAY_FILL : 0;
	struct arena *arena = arena_of_thread();
	int tries = 0;

	if (!arena)
		return -ENOMEM;
	struct arena_mark mark = arena_get_mark(arena);
	while (range->offset < range->end) {
		struct mneme_txn *txn;
		uint64_t done = 0;
		int err = fs_begin(fs, flags, &range->ino, 1, &txn);
		if (err)
			return err;
		err = fallocate_inside(txn, range, &done);
		arena_rewind(arena, mark);
		if (err) {
			mneme_txn_abort(txn);
			return err;
		}
		err = fs_commit(fs, txn, MNEME_DURABILITY_DEFAULT, &range->ino, 1);
		if (!err) {
			fs_touch(fs, range->ino);
			if (range->mode & FALLOC_FL_ZERO_RANGE) /* then it is set aside */
				range->mode &= ~FALLOC_FL_ZERO_RANGE;
			else
				range->offset = done;
		} else if (err != -EAGAIN || ++tries == FS_TRIES) {
			return err;
		}
	}
	return 0;
}

static void handle_fallocate(fuse_req_t req, fuse_ino_t nodeid, int mode, off_t offset,
			     off_t length, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_FALLOCATE);
	struct range range = {.ino = fs_inode_number(op.fs, nodeid),
			      .offset = (uint64_t)offset,
			      .end = (uint64_t)offset + (uint64_t)length,
			      .mode = mode,
			      .unprivileged = fs_unprivileged(req)};
	int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	int err;

	if (virtual_is(range.ino))
		err = -EPERM;
	else if (mode & ~known)
		err = -EOPNOTSUPP;
	else if (offset < 0 || length <= 0 || range.end < range.offset)
		err = -EINVAL;
	else if (range.end > NAMES_FILE_SIZE_MAX && !(mode & FALLOC_FL_PUNCH_HOLE))
		err = -EFBIG;
	else
		err = check_room(op.fs, &range);
	if (!err)
		err = fallocate_range(op.fs, &range);
	if (!err && range.dropped)
		fs_invalidate_attr(op.fs, range.ino);
	op_reply_error(&op, err);
}

static void handle_lseek(fuse_req_t req, fuse_ino_t nodeid, off_t offset, int whence,
			 struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_LSEEK);
	uint64_t ino = fs_inode_number(op.fs, nodeid), found = 0;
	struct names_inode inode;
	int err = virtual_is(ino) ? -EINVAL : inode_read(op.fs, ino, &inode);

	if (!err && whence != SEEK_DATA && whence != SEEK_HOLE)
		err = -EINVAL;
	if (!err && (offset < 0 || (uint64_t)offset >= inode.size))
		err = -ENXIO;
	if (!err)
		err = chunk_seek(op.fs, ino, inode.size, (uint64_t)offset, whence == SEEK_HOLE,
				 &found);
	if (!err && whence == SEEK_DATA && found >= inode.size)
		err = -ENXIO;
	if (err) {
		op_reply_error(&op, err);
		return;
	}
	fuse_reply_lseek(req, (off_t)found);
	op_end(&op, 0);
}

/* ---- copy_file_range ---- */

struct copy {
	uint64_t from, to; /* inodes */
	uint64_t from_offset, to_offset;
	size_t length;
	void *buffer;            /* COPY_PIECE bytes */
	fuse_req_t unprivileged; /* NULL: the caller may keep suid and sgid */
	int dropped;             /* result */
};

/* Copies one piece; returns its bytes, 0 at the end of the source, or -errno. */
static int copy_inside(struct mneme_txn *txn, struct copy *copy)
{
	struct names_inode from, to;
	int err = inode_load(txn, copy->from, &from);

	if (!err)
		err = inode_load(txn, copy->to, &to);
	if (err)
		return err;
	if (!S_ISREG(from.mode) || !S_ISREG(to.mode))
		return -EINVAL;
	if (inode_check_flags(&to, 1))
		return -EPERM;
	if (copy->from_offset >= from.size)
		return 0;
	size_t length = copy->length < COPY_PIECE ? copy->length : COPY_PIECE;
	if (length > from.size - copy->from_offset)
		length = (size_t)(from.size - copy->from_offset);
	if (copy->to_offset + length > NAMES_FILE_SIZE_MAX)
		return -EFBIG;
	if (copy->unprivileged) {
		copy->dropped |= inode_drop_privileges(txn, copy->to, &to, copy->unprivileged);
		if (copy->dropped < 0)
			return copy->dropped;
	}
	err = chunk_txn_read(txn, copy->from, copy->buffer, copy->from_offset, length);
	if (!err)
		err = chunk_write(txn, copy->to, &to, copy->buffer, copy->to_offset, length);
	if (err)
		return err;
	if (copy->to_offset + length > to.size)
		to.size = copy->to_offset + length;
	to.mtime_ns = to.ctime_ns = fs_now();
	to.version++;
	err = inode_store(txn, copy->to, &to);
	return err ? err : (int)length;
}

static int copy_piece(struct fs *fs, struct copy *copy)
{
	uint64_t inodes[] = {copy->from, copy->to};
	struct mneme_txn *txn;
	int err = fs_begin(fs, 0, inodes, 2, &txn);

	if (err)
		return err;
	int got = copy_inside(txn, copy);
	if (got <= 0) {
		mneme_txn_abort(txn);
		return got;
	}
	err = fs_commit(fs, txn, MNEME_DURABILITY_DEFAULT, inodes + 1, 1);
	if (err)
		return err;
	fs_touch(fs, copy->to);
	return got;
}

static int copy_range(struct fs *fs, struct copy *copy, size_t *copied)
{
	struct arena *arena = arena_of_thread();

	if (!arena)
		return -ENOMEM;
	copy->buffer = arena_get(arena, COPY_PIECE);
	if (!copy->buffer)
		return -ENOMEM;
	struct arena_mark mark = arena_get_mark(arena);
	int tries = 0;

	while (copy->length) {
		int got = copy_piece(fs, copy);
		arena_rewind(arena, mark);
		if (got == -EAGAIN && ++tries < FS_TRIES)
			continue;
		if (got <= 0)
			return *copied ? 0 : got;
		copy->from_offset += (unsigned)got;
		copy->to_offset += (unsigned)got;
		copy->length -= (unsigned)got;
		*copied += (unsigned)got;
	}
	return 0;
}

static void handle_copy_range(fuse_req_t req, fuse_ino_t from, off_t from_offset,
			      struct fuse_file_info *from_fi, fuse_ino_t to, off_t to_offset,
			      struct fuse_file_info *to_fi, size_t length, int flags)
{
	struct op op = op_begin(req, METRICS_COPY_RANGE);
	struct copy copy = {.from = fs_inode_number(op.fs, from),
			    .to = fs_inode_number(op.fs, to),
			    .from_offset = (uint64_t)from_offset,
			    .to_offset = (uint64_t)to_offset,
			    .length = length < COPY_MAX ? length : COPY_MAX,
			    .unprivileged = fs_unprivileged(req)};
	size_t copied = 0;
	int err;

	if (virtual_is(copy.from) || virtual_is(copy.to))
		err = -EXDEV; /* the kernel then reads and writes */
	else
		err = flags ? -EINVAL : copy_range(op.fs, &copy, &copied);
	if (err) {
		op_reply_error(&op, err);
		return;
	}
	if (copy.dropped)
		fs_invalidate_attr(op.fs, copy.to);
	op_reply_write(&op, copied);
}

void space_set_handlers(struct fuse_lowlevel_ops *ops)
{
	ops->fallocate = handle_fallocate;
	ops->lseek = handle_lseek;
	ops->copy_file_range = handle_copy_range;
}
