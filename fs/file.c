/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the bytes of files: open, read, write, fsync.
 * Invariants: a write is one transaction: its bytes, the size and the times. fsync returns when the log
 *            is durable up to the last change of the inode.
 * Threading: any handler thread. Nothing here waits but fsync and synchronous writes: for the disk in the
 *            handler, where one log sync serves all that wait at the same time; for an embedder in a
 *            thread of later.h.
 * Failure:   0 or -errno to the kernel.
 */
#include "core/memory/memory.h"
#include "fs/durability.h"
#include "fs/fs.h"

#include "fs/chunk.h"
#include "fs/later.h"
#include "fs/proc.h"
#include "fs/reaper.h"
#include "fs/uring.h"
#include "fs/virtual.h"
#include "pool/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>

static int check_open(const struct names_inode *inode, int flags)
{
	int writes = (flags & O_ACCMODE) != O_RDONLY;

	if (writes && inode->flags & FS_IMMUTABLE_FL)
		return -EPERM;
	if (inode->flags & FS_APPEND_FL && ((writes && !(flags & O_APPEND)) || flags & O_TRUNC))
		return -EPERM;
	return 0;
}

static void handle_open(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_OPEN);
	uint64_t ino = fs_inode_number(op.fs, nodeid);
	struct names_inode inode;
	int err;

	if (op.fs->zero_open) {
		op_reply_error(&op, -ENOSYS);
		return;
	}
	if (virtual_is(ino)) {
		fi->direct_io = 1;
	} else {
		err = inode_read(op.fs, ino, &inode);
		if (!err)
			err = check_open(&inode, fi->flags);
		if (err) {
			op_reply_error(&op, err);
			return;
		}
		/* with strictatime the first read of each open is to be seen */
		fi->keep_cache = op.fs->options.atime != FS_ATIME_STRICT;
		fi->noflush = 1;
	}
	fuse_reply_open(req, fi);
	op_end(&op, 0);
}

static void handle_release(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_RELEASE);

	op_reply_error(&op, 0);
}

static void read_and_reply(struct op *op, uint64_t ino, size_t size, uint64_t offset)
{
	struct fs *fs = op->fs;
	struct names_inode inode;
	struct buffer *buffer = NULL;
	int err = inode_read(fs, ino, &inode);

	if (!err && S_ISDIR(inode.mode))
		err = -EISDIR;
	if (err) {
		op_reply_error(op, err);
		return;
	}
	if (offset >= inode.size)
		size = 0;
	else if (size > inode.size - offset)
		size = (size_t)(inode.size - offset);
	if (size)
		inode_touch_atime(fs, ino, &inode);
	void *data = NULL;
	if (size) {
		buffer = buffers_get(fs->buffers, size);
		data = buffer ? buffer->data : op_temporary(size);
		err = data ? chunk_read(fs, ino, data, offset, size) : -ENOMEM;
	}
	if (err)
		op_reply_error(op, err);
	else
		op_reply_buffer(op, data, size);
	buffers_put(fs->buffers, buffer);
}

static void handle_read(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
			struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_READ);
	uint64_t ino = fs_inode_number(op.fs, nodeid);

	if (virtual_is(ino))
		virtual_read(&op, ino, size, offset);
	else
		read_and_reply(&op, ino, size, (uint64_t)offset);
}

struct write {
	uint64_t ino;
	const void *data;
	uint64_t offset;
	size_t length;
	int flags;               /* of the open file */
	int in_place;            /* only where chunk_has_room() */
	fuse_req_t unprivileged; /* NULL: the caller may keep suid and sgid */
	int dropped;             /* result: suid or sgid were cleared */
};

OWN_FRAME static int write_inside(struct mneme_txn *txn, struct write *write,
				  enum mneme_durability *how)
{
	struct names_inode inode;
	uint64_t end = write->offset + write->length;
	int err = inode_load(txn, write->ino, &inode);

	if (err)
		return err;
	if (!S_ISREG(inode.mode))
		return S_ISDIR(inode.mode) ? -EISDIR : -EINVAL;
	if (inode.flags & FS_IMMUTABLE_FL ||
	    (inode.flags & FS_APPEND_FL && write->offset < inode.size))
		return -EPERM;
	if (end > NAMES_FILE_SIZE_MAX)
		return -EFBIG;
	if (write->unprivileged) {
		write->dropped =
			inode_drop_privileges(txn, write->ino, &inode, write->unprivileged);
		if (write->dropped < 0)
			return write->dropped;
	}
	if (write->in_place)
		err = chunk_has_room(txn, write->ino, write->offset, write->length);
	if (!err)
		err = chunk_write(txn, write->ino, &inode, write->data, write->offset,
				  write->length);
	if (err)
		return err;
	if (end > inode.size)
		inode.size = end;
	inode.mtime_ns = inode.ctime_ns = fs_now();
	inode.version++;
	*how = inode.flags & FS_SYNC_FL || write->flags & (O_SYNC | O_DSYNC)
		       ? MNEME_DURABILITY_STRICT
		       : MNEME_DURABILITY_DEFAULT;
	return inode_store(txn, write->ino, &inode);
}

static int write_once(struct fs *fs, struct write *write)
{
	enum mneme_durability how = MNEME_DURABILITY_DEFAULT;
	struct mneme_txn *txn;
	int err = fs_begin(fs, write->in_place ? MNEME_TXN_MAY_FILL : 0, &write->ino, 1, &txn);

	if (err)
		return err;
	err = write_inside(txn, write, &how);
	if (err) {
		mneme_txn_abort(txn);
		return err;
	}
	err = fs_commit(fs, txn, how, &write->ino, 1);
	if (!err)
		fs_touch(fs, write->ino);
	return err;
}

static int write_try(struct fs *fs, struct write *write)
{
	int err = -EAGAIN;

	for (int i = 0; i < FS_TRIES && err == -EAGAIN; i++)
		err = write_once(fs, write);
	return err;
}

/* On a full disk: what is there can be overwritten, and what fallocate has set aside be filled. Each
 * chunk by itself: a checkpoint gives back what one took for its new version, and all may not fit at
 * once. Lowers `length` to what was written. */
OWN_FRAME static int write_full_disk(struct fs *fs, struct write *write)
{
	struct write part = *write;
	uint64_t end = write->offset + write->length;
	int err = 0;

	part.in_place = 1;
	while (!err && part.offset < end) {
		size_t room = MNEME_CHUNK_SIZE - part.offset % MNEME_CHUNK_SIZE;
		part.length = room < end - part.offset ? room : (size_t)(end - part.offset);
		err = write_try(fs, &part);
		write->dropped |= part.dropped;
		if (!err) {
			part.offset += part.length;
			part.data = (const uint8_t *)part.data + part.length;
		}
	}
	if (part.offset == write->offset)
		return err;
	write->length = (size_t)(part.offset - write->offset);
	return 0;
}

static void handle_write(fuse_req_t req, fuse_ino_t nodeid, const char *data, size_t length,
			 off_t offset, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_WRITE);
	struct write write = {
		.ino = fs_inode_number(op.fs, nodeid),
		.data = data,
		.offset = (uint64_t)offset,
		.length = length,
		.flags = fi->flags,
		/* pages written back later were judged when they were written */
		.unprivileged = fi->writepage ? NULL : fs_unprivileged(req),
	};

	/* libfuse takes a request's word for its length */
	if (length > FS_REQUEST_MAX || offset < 0) {
		op_reply_error(&op, -EINVAL);
		return;
	}
	if (virtual_is(write.ino)) {
		if (fi->writepage) /* nobody's rights */
			op_reply_error(&op, -EPERM);
		else
			virtual_write(&op, write.ino, data, length, offset);
		return;
	}
	int err = write_try(op.fs, &write);
	if (err == -ENOSPC)
		err = write_full_disk(op.fs, &write);
	/* the kernel does not look at how much of a page was written back */
	if (!err && fi->writepage && write.length < length)
		err = -ENOSPC;
	/* an immutable file has been changed through a map: others are not to go on reading that */
	if (err == -EPERM && fi->writepage)
		reaper_invalidate(op.fs, write.ino);
	if (err) {
		op_reply_error(&op, err);
		return;
	}
	if (write.dropped)
		fs_invalidate_attr(op.fs, write.ino);
	op_reply_write(&op, write.length);
}

static int caller_has_gone(void *arg)
{
	const struct op *op = arg;

	return proc_is_killed(fuse_req_ctx(op->req)->pid);
}

/* What was saved is searchable, too, when fsync returns. Bytes that cannot be indexed are durable all the
 * same: user.mneme.state says why. `ino` 0: of all files. */
static int sync_memory(struct op *op, uint64_t ino)
{
	struct memory *memory = op->fs->memory;
	int err = memory ? memory_sync_for(memory, ino, caller_has_gone, op) : 0;

	return err == -EIO || err == -EROFS || err == -EUCLEAN || err == -EINTR ? err : 0;
}

/* An embedder has to be waited for. For the disk alone no other thread is taken: that would cost as much
 * as many a sync does. */
static int is_behind(struct fs *fs, uint64_t ino)
{
	return fs->memory && !virtual_is(ino) && memory_is_behind(fs->memory, ino);
}

static int sync_inode(struct op *op, uint64_t ino)
{
	struct fs *fs = op->fs;

	if (virtual_is(ino))
		return 0;
	uint64_t lsn = node_get_lsn(fs->nodes, ino);
	/* on a mount with durability=memory what it needs may be in no log */
	int is_mixed = lsn && atomic_load_explicit(&fs->has_durabilities, memory_order_relaxed) &&
		       durability_of(fs, &ino, 1) != MNEME_DURABILITY_DEFAULT;

	if (fs->memory && lsn) {
		int err = sync_memory(op, ino);
		if (err)
			return err;
		lsn = mneme_lsn_last(fs->engine) > lsn ? mneme_lsn_last(fs->engine) : lsn;
	}
	if (is_mixed)
		return mneme_sync(fs->engine);
	if (lsn && lsn <= mneme_lsn_durable(fs->engine))
		return 0;
	return lsn ? mneme_sync_to(fs->engine, lsn) : 0;
}

static void fsync_run(struct op *op, const void *args)
{
	const uint64_t *ino = args;

	op_reply_error(op, sync_inode(op, *ino));
}

static void handle_fsync(fuse_req_t req, fuse_ino_t nodeid, int datasync, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_FSYNC);
	uint64_t ino = fs_inode_number(op.fs, nodeid);

	uring_flush();
	if (!is_behind(op.fs, ino) || !later_run(&op, fsync_run, &ino, sizeof(ino)))
		fsync_run(&op, &ino);
}

static void fsyncdir_run(struct op *op, const void *args)
{
	int err = sync_memory(op, 0);

	op_reply_error(op, err ? err : mneme_sync(op->fs->engine));
}

static void handle_fsyncdir(fuse_req_t req, fuse_ino_t nodeid, int datasync,
			    struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_FSYNCDIR);

	uring_flush();
	if (!is_behind(op.fs, 0) || !later_run(&op, fsyncdir_run, NULL, 0))
		fsyncdir_run(&op, NULL);
}

void file_set_handlers(struct fuse_lowlevel_ops *ops)
{
	ops->open = handle_open;
	ops->release = handle_release;
	ops->read = handle_read;
	ops->write = handle_write;
	ops->fsync = handle_fsync;
	ops->fsyncdir = handle_fsyncdir;
}
