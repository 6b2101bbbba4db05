/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the frame of a request: begin, reply, measure (fs.h).
 * Invariants: the thread's arena is given back after the reply, never before. No thread is cancelled
 *            in a handler. What can be handed over (later.h) replies between op_sending() and op_sent().
 * Failure:   a reply that the kernel does not take (the request was interrupted, the mount is gone) is
 *            not an error of ours; references that it carried are taken back.
 */
#include "fs/fs.h"

#include "fs/later.h"
#include "fs/reaper.h"
#include "fs/scheduling.h"
#include "fs/stack.h"
#include "fs/uring.h"
#include "fs/virtual.h"
#include "pool/check.h"
#include "pool/frame.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

/* Of requests that change something, their commits: the disk is waited for once, before the answer, by
 * which time others may have come whose commits it takes along. */
static _Thread_local struct {
	int is_open;  /* a request of such a kind is served */
	uint64_t lsn; /* has to be durable; 0: nothing */
} commits;

static const uint8_t changes[METRICS_OPS] = {
	[METRICS_SETATTR] = 1,    [METRICS_MKNOD] = 1,   [METRICS_MKDIR] = 1,
	[METRICS_UNLINK] = 1,     [METRICS_RMDIR] = 1,   [METRICS_SYMLINK] = 1,
	[METRICS_RENAME] = 1,     [METRICS_LINK] = 1,    [METRICS_WRITE] = 1,
	[METRICS_SETXATTR] = 1,   [METRICS_CREATE] = 1,  [METRICS_FALLOCATE] = 1,
	[METRICS_COPY_RANGE] = 1, [METRICS_TMPFILE] = 1, [METRICS_REMOVEXATTR] = 1,
};

struct op op_begin(fuse_req_t req, enum metrics_op kind)
{
	/* At the end of the session libfuse cancels the threads of its rings wherever they are: one
	 * that held a lock, or the log's turn, would keep the store from closing. They leave by
	 * themselves. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	stack_enter();
	sched_serves();
	commits.is_open = changes[kind];
	return (struct op){
		.req = req, .fs = fuse_req_userdata(req), .start_ns = metrics_now(), .kind = kind};
}

void op_end(struct op *op, int error)
{
	struct arena *arena = arena_of_thread();

	DCHECK(!commits.lsn);
	commits.is_open = 0;
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

static void send_error(struct op *op, int error)
{
	if (!op_sending(op)) {
		fuse_reply_err(op->req, -error);
		op_sent(op);
	}
	op_end(op, error);
}

/* ---- commits that the answer waits for ---- */

int op_commit(struct fs *fs, uint64_t lsn)
{
	if (!commits.is_open)
		return mneme_sync_to(fs->engine, lsn);
	commits.lsn = lsn > commits.lsn ? lsn : commits.lsn;
	return 0;
}

int op_settle(struct op *op)
{
	uint64_t lsn = commits.lsn;

	if (!lsn)
		return 0;
	commits.lsn = 0;
	uring_flush();
	return mneme_sync_to(op->fs->engine, lsn);
}

struct reply {
	enum { REPLY_ERROR, REPLY_WRITE, REPLY_ENTRY, REPLY_CREATE, REPLY_ATTR } kind;
	size_t written;
	uint64_t lsn, ino;
	struct names_inode inode;
	struct fuse_file_info fi;
};

static void reply_run(struct op *op, const void *args)
{
	struct reply reply = *(const struct reply *)args;
	int err = mneme_sync_to(op->fs->engine, reply.lsn);

	if (err || reply.kind == REPLY_ERROR)
		op_reply_error(op, err);
	else if (reply.kind == REPLY_WRITE)
		op_reply_write(op, reply.written);
	else if (reply.kind == REPLY_ENTRY)
		op_reply_entry(op, reply.ino, &reply.inode);
	else if (reply.kind == REPLY_CREATE)
		op_reply_create(op, reply.ino, &reply.inode, &reply.fi);
	else
		op_reply_attr(op, reply.ino, &reply.inode);
}

/* 1: the answer is given already, or later: where other requests wait for this thread, they are served
 * while the disk is. 0: it can be given. */
static OWN_FRAME int reply_settle(struct op *op, const struct reply *given,
				  const struct names_inode *inode, const struct fuse_file_info *fi)
{
	struct reply reply = *given;

	reply.lsn = commits.lsn;
	if (inode)
		reply.inode = *inode;
	if (fi)
		reply.fi = *fi;
	if (uring_has_more() && later_run(op, reply_run, &reply, sizeof(reply))) {
		commits.lsn = 0;
		return 1;
	}
	int err = op_settle(op);
	if (err)
		send_error(op, err);
	return err != 0;
}

/* ---- replies ---- */

void op_reply_error(struct op *op, int error)
{
	if (error)
		commits.lsn = 0;
	if (commits.lsn && reply_settle(op, &(struct reply){.kind = REPLY_ERROR}, NULL, NULL))
		return;
	send_error(op, error);
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
	if (commits.lsn &&
	    reply_settle(op, &(struct reply){.kind = REPLY_WRITE, .written = written}, NULL, NULL))
		return;
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

	if (commits.lsn &&
	    reply_settle(op, &(struct reply){.kind = REPLY_ENTRY, .ino = ino}, inode, NULL))
		return;
	int err = node_ref(op->fs->nodes, ino);
	if (err) {
		op_reply_error(op, err);
		return;
	}
	entry_fill(op->fs, ino, inode, &entry);
	err = op_sending(op);
	if (!err) {
		err = fuse_reply_entry(op->req, &entry);
		op_sent(op);
	}
	if (err < 0)
		entry_undo(op->fs, ino);
	op_end(op, 0);
}

void op_reply_create(struct op *op, uint64_t ino, const struct names_inode *inode,
		     struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;

	if (commits.lsn &&
	    reply_settle(op, &(struct reply){.kind = REPLY_CREATE, .ino = ino}, inode, fi))
		return;
	int err = node_ref(op->fs->nodes, ino);
	if (err) {
		op_reply_error(op, err);
		return;
	}
	if (!inode->nlink)
		node_set_orphan(op->fs->nodes, ino, 1);
	entry_fill(op->fs, ino, inode, &entry);
	err = op_sending(op);
	if (!err) {
		err = fuse_reply_create(op->req, &entry, fi);
		op_sent(op);
	}
	if (err < 0)
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

	if (commits.lsn &&
	    reply_settle(op, &(struct reply){.kind = REPLY_ATTR, .ino = ino}, inode, NULL))
		return;
	inode_to_stat(op->fs, ino, inode, &st);
	if (!op_sending(op)) {
		fuse_reply_attr(op->req, &st, timeout_of(op->fs));
		op_sent(op);
	}
	op_end(op, 0);
}

void fs_invalidate_attr(struct fs *fs, uint64_t ino)
{
	/* a negative offset leaves the cached bytes alone; -ENOENT: not known to the kernel */
	fuse_lowlevel_notify_inval_inode(fs->session, fs_nodeid(fs, ino), -1, 0);
}
