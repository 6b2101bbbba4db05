/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the frame of a request: begin, reply, measure (fs.h).
 * Invariants: the thread's arena is given back after the reply, never before. No thread is cancelled
 *            in a handler. What can be handed over (later.h) replies between op_sending() and op_sent().
 * Failure:   a reply that the kernel does not take (the request was interrupted, the mount is gone) is
 *            not an error of ours; references that it carried are taken back.
 */
#include "fs/fs.h"

#include "fs/reaper.h"
#include "fs/scheduling.h"
#include "fs/stack.h"
#include "fs/uring.h"
#include "fs/virtual.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct op op_begin(fuse_req_t req, enum metrics_op kind)
{
	/* At the end of the session libfuse cancels the threads of its rings wherever they are: one
	 * that held a lock, or the log's turn, would keep the store from closing. They leave by
	 * themselves. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	stack_enter();
	sched_serves();
	return (struct op){
		.req = req, .fs = fuse_req_userdata(req), .start_ns = metrics_now(), .kind = kind};
}

void op_end(struct op *op, int error)
{
	struct arena *arena = arena_of_thread();

	metrics_record(op->fs->metrics, op->kind, metrics_now() - op->start_ns, error);
	if (arena)
		arena_reset(arena);
	stack_leave();
}

void *op_temporary(size_t size)
{
	struct arena *arena = arena_of_thread();

	return arena ? arena_get(arena, size) : NULL;
}

int op_sending(struct op *op)
{
	return op->ring ? uring_enter(op->ring) : 0;
}

void op_sent(struct op *op)
{
	if (op->ring)
		uring_leave(op->ring);
}

void op_reply_error(struct op *op, int error)
{
	if (!op_sending(op)) {
		fuse_reply_err(op->req, -error);
		op_sent(op);
	}
	op_end(op, error);
}

void op_reply_none(struct op *op)
{
	fuse_reply_none(op->req);
	op_end(op, 0);
}

void op_reply_buffer(struct op *op, const void *data, size_t length)
{
	if (!op_sending(op)) {
		fuse_reply_buf(op->req, data, length);
		op_sent(op);
	}
	op_end(op, 0);
}

void op_reply_write(struct op *op, size_t written)
{
	if (!op_sending(op)) {
		fuse_reply_write(op->req, written);
		op_sent(op);
	}
	op_end(op, 0);
}

void op_reply_xattr_size(struct op *op, size_t size)
{
	if (!op_sending(op)) {
		fuse_reply_xattr(op->req, size);
		op_sent(op);
	}
	op_end(op, 0);
}

void op_reply_ioctl(struct op *op, int result, const void *data, size_t size)
{
	if (!op_sending(op)) {
		fuse_reply_ioctl(op->req, result, data, size);
		op_sent(op);
	}
	op_end(op, result);
}

static double timeout_of(const struct fs *fs)
{
	return fs->options.ask_often ? 0 : 86400;
}

static void entry_fill(const struct fs *fs, uint64_t ino, const struct names_inode *inode,
		       struct fuse_entry_param *out)
{
	memset(out, 0, sizeof(*out));
	out->ino = fs_nodeid(fs, ino);
	out->generation = inode->generation;
	inode_to_stat(fs, ino, inode, &out->attr);
	out->attr_timeout = out->entry_timeout = timeout_of(fs);
}

static void entry_undo(struct fs *fs, uint64_t ino)
{
	if (node_unref(fs->nodes, ino, 1))
		reaper_remove(fs, ino);
}

void op_reply_entry(struct op *op, uint64_t ino, const struct names_inode *inode)
{
	struct fuse_entry_param entry;
	int err = node_ref(op->fs->nodes, ino);

	if (err) {
		op_reply_error(op, err);
		return;
	}
	entry_fill(op->fs, ino, inode, &entry);
	if (fuse_reply_entry(op->req, &entry) < 0)
		entry_undo(op->fs, ino);
	op_end(op, 0);
}

void op_reply_create(struct op *op, uint64_t ino, const struct names_inode *inode,
		     struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;
	int err = node_ref(op->fs->nodes, ino);

	if (err) {
		op_reply_error(op, err);
		return;
	}
	if (!inode->nlink)
		node_set_orphan(op->fs->nodes, ino, 1);
	entry_fill(op->fs, ino, inode, &entry);
	if (fuse_reply_create(op->req, &entry, fi) < 0)
		entry_undo(op->fs, ino);
	op_end(op, 0);
}

void op_reply_negative(struct op *op)
{
	struct fuse_entry_param entry;

	memset(&entry, 0, sizeof(entry));
	entry.entry_timeout = timeout_of(op->fs);
	if (entry.entry_timeout > 0)
		fuse_reply_entry(op->req, &entry);
	else
		fuse_reply_err(op->req, ENOENT);
	op_end(op, -ENOENT);
}

void op_reply_attr(struct op *op, uint64_t ino, const struct names_inode *inode)
{
	struct stat st;

	inode_to_stat(op->fs, ino, inode, &st);
	fuse_reply_attr(op->req, &st, timeout_of(op->fs));
	op_end(op, 0);
}

void fs_invalidate_attr(struct fs *fs, uint64_t ino)
{
	/* a negative offset leaves the cached bytes alone; -ENOENT: not known to the kernel */
	fuse_lowlevel_notify_inval_inode(fs->session, fs_nodeid(fs, ino), -1, 0);
}
