/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   attributes: getattr, statx, setattr (chmod, chown, truncate, utimes), statfs.
 * Invariants: one transaction an operation; the mode and an access ACL always agree.
 * Threading: any handler thread.
 * Failure:   0 or -errno to the kernel. Permissions were checked by the kernel (default_permissions).
 */
#include "fs/fs.h"

#include "fs/acl.h"
#include "fs/chunk.h"
#include "fs/reaper.h"
#include "fs/virtual.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

enum { NS = 1000000000, STATFS_SCARCE_BYTES = 1 << 30, STATFS_SETTLE_MS = 1000 };
/* A transaction removes 4 million keys (COMMIT_RANGE_KEYS_MAX); a chunk is a key, and counts at least 512
 * bytes as allocated. */
#define CUT_PIECE_BYTES (UINT64_C(32) << 30)
#define CUT_AT_ONCE_ALLOCATED (UINT64_C(1) << 30)

static void handle_getattr(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_GETATTR);
	uint64_t ino = fs_inode_number(op.fs, nodeid);
	struct names_inode inode;

	if (virtual_is(ino)) {
		virtual_getattr(&op, ino);
		return;
	}
	int err = inode_read(op.fs, ino, &inode);
	if (err)
		op_reply_error(&op, err);
	else
		op_reply_attr(&op, ino, &inode);
}

#if FUSE_VERSION >= 318
static struct statx_timestamp statx_time(int64_t ns)
{
	int64_t seconds = ns / NS, rest = ns % NS;

	if (rest < 0) {
		seconds--;
		rest += NS;
	}
	return (struct statx_timestamp){.tv_sec = seconds, .tv_nsec = (uint32_t)rest};
}

static void fill_statx(uint64_t ino, const struct names_inode *inode, struct statx *out)
{
	memset(out, 0, sizeof(*out));
	out->stx_mask = STATX_BASIC_STATS | STATX_BTIME;
	out->stx_blksize = MNEME_CHUNK_SIZE;
	out->stx_nlink = inode->nlink;
	out->stx_uid = inode->uid;
	out->stx_gid = inode->gid;
	out->stx_mode = (uint16_t)inode->mode;
	out->stx_ino = ino;
	out->stx_size = inode->size;
	out->stx_blocks = inode->allocated / 512;
	out->stx_rdev_major = major(inode->rdev);
	out->stx_rdev_minor = minor(inode->rdev);
	out->stx_atime = statx_time(inode->atime_ns);
	out->stx_mtime = statx_time(inode->mtime_ns);
	out->stx_ctime = statx_time(inode->ctime_ns);
	out->stx_btime = statx_time(inode->btime_ns);
	out->stx_attributes_mask = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP;
	out->stx_attributes = inode->flags & out->stx_attributes_mask;
}

static void handle_statx(fuse_req_t req, fuse_ino_t nodeid, int flags, int mask,
			 struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_STATX);
	uint64_t ino = fs_inode_number(op.fs, nodeid);
	struct names_inode inode;
	struct statx st;

	if (virtual_is(ino)) {
		op_reply_error(&op, -ENOSYS);
		return;
	}
	int err = inode_read(op.fs, ino, &inode);
	if (err) {
		op_reply_error(&op, err);
		return;
	}
	fill_statx(ino, &inode, &st);
	fuse_reply_statx(req, 0, &st, op.fs->options.ask_often ? 0 : 86400);
	op_end(&op, 0);
}
#endif

/* ---- setattr ---- */

static int64_t ns_of(const struct timespec *time)
{
	int64_t ns;

	/* years 1678 to 2262; a time outside is the nearest one inside */
	if (__builtin_mul_overflow((int64_t)time->tv_sec, (int64_t)NS, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)time->tv_nsec, &ns))
		return time->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

static int set_mode(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint32_t mode)
{
	struct mneme_key key = {.inode = ino,
				.type = MNEME_TYPE_XATTR,
				.sub = ACL_ACCESS_NAME,
				.sub_length = sizeof(ACL_ACCESS_NAME) - 1};
	size_t length = 0;

	inode->mode = (inode->mode & S_IFMT) | (mode & 07777);
	if (!(inode->state & NAMES_HAS_ACL_ACCESS))
		return 0;
	void *acl = op_temporary(ACL_SIZE_MAX);
	if (!acl)
		return -ENOMEM;
	int err = mneme_txn_get(txn, &key, acl, ACL_SIZE_MAX, &length);
	if (err || acl_check(acl, length))
		return err ? err : -EUCLEAN;
	acl_from_mode(acl, length, inode->mode);
	return mneme_txn_put(txn, &key, acl, length);
}

static int set_size(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint64_t size)
{
	if (S_ISDIR(inode->mode))
		return -EISDIR;
	if (!S_ISREG(inode->mode))
		return -EINVAL;
	if (size > NAMES_FILE_SIZE_MAX)
		return -EFBIG;
	if (size < inode->size) {
		int err = chunk_cut(txn, ino, inode, size);
		if (err)
			return err;
	}
	inode->size = size;
	inode->version++;
	return 0;
}

static void set_times(struct names_inode *inode, const struct stat *attr, int valid, int64_t now)
{
	if (valid & FUSE_SET_ATTR_ATIME_NOW)
		inode->atime_ns = now;
	else if (valid & FUSE_SET_ATTR_ATIME)
		inode->atime_ns = ns_of(&attr->st_atim);
	if (valid & FUSE_SET_ATTR_MTIME_NOW)
		inode->mtime_ns = now;
	else if (valid & FUSE_SET_ATTR_MTIME)
		inode->mtime_ns = ns_of(&attr->st_mtim);
	else if (valid & FUSE_SET_ATTR_SIZE)
		inode->mtime_ns = now;
	inode->ctime_ns = now;
}

/* What an immutable or append-only file refuses. */
static int check_setattr_flags(const struct names_inode *inode, int valid)
{
	int explicit_time = (valid & FUSE_SET_ATTR_ATIME && !(valid & FUSE_SET_ATTR_ATIME_NOW)) ||
			    (valid & FUSE_SET_ATTR_MTIME && !(valid & FUSE_SET_ATTR_MTIME_NOW));
	int append = valid & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
			      FUSE_SET_ATTR_SIZE);

	return inode_check_flags(inode, append || explicit_time);
}

static int setattr_inside(struct mneme_txn *txn, uint64_t ino, const struct stat *attr, int valid,
			  fuse_req_t unprivileged, struct names_inode *inode)
{
	int err = inode_load(txn, ino, inode);
	int owner = valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID);
	int asked = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
		    FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME |
		    FUSE_SET_ATTR_CTIME;

	if (!err)
		err = check_setattr_flags(inode, valid);
	if (err)
		return err;
	/* a request for nothing is the kernel's "drop suid and sgid": before a write, or chown(-1, -1) */
	if (owner || !(valid & asked) || (valid & FUSE_SET_ATTR_SIZE && unprivileged)) {
		int dropped = inode_drop_privileges(txn, ino, inode, unprivileged);
		if (dropped < 0)
			return dropped;
	}
	if (valid & FUSE_SET_ATTR_UID)
		inode->uid = attr->st_uid;
	if (valid & FUSE_SET_ATTR_GID)
		inode->gid = attr->st_gid;
	if (valid & FUSE_SET_ATTR_MODE)
		err = set_mode(txn, ino, inode, attr->st_mode);
	if (!err && valid & FUSE_SET_ATTR_SIZE)
		err = set_size(txn, ino, inode, (uint64_t)attr->st_size);
	if (err)
		return err;
	set_times(inode, attr, valid, fs_now());
	return inode_store(txn, ino, inode);
}

static int setattr_try(struct op *op, uint64_t ino, const struct stat *attr, int valid,
		       struct names_inode *inode)
{
	unsigned flags = valid & FUSE_SET_ATTR_SIZE ? MNEME_TXN_MAY_FILL : 0;
	struct mneme_txn *txn;
	int err = fs_begin(op->fs, flags, &ino, 1, &txn);

	if (err)
		return err;
	err = setattr_inside(txn, ino, attr, valid, fs_unprivileged(op->req), inode);
	if (err) {
		mneme_txn_abort(txn);
		return err;
	}
	return fs_commit(op->fs, txn, MNEME_DURABILITY_DEFAULT, &ino, 1);
}

/* What a transaction cannot remove at once is cut off in pieces, from the end: a crash in between leaves
 * a shorter file. */
static int cut_long(struct op *op, uint64_t ino, uint64_t size)
{
	struct stat attr = {0};
	struct names_inode inode;
	int err = inode_read(op->fs, ino, &inode);

	while (!err && S_ISREG(inode.mode) && inode.size > size &&
	       inode.size - size > CUT_PIECE_BYTES && inode.allocated > CUT_AT_ONCE_ALLOCATED) {
		attr.st_size = (off_t)(inode.size - CUT_PIECE_BYTES);
		err = setattr_try(op, ino, &attr, FUSE_SET_ATTR_SIZE, &inode);
	}
	return err;
}

static void handle_setattr(fuse_req_t req, fuse_ino_t nodeid, struct stat *attr, int valid,
			   struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_SETATTR);
	uint64_t ino = fs_inode_number(op.fs, nodeid);
	struct names_inode inode;
	int err = -EAGAIN;

	if (virtual_is(ino)) {
		virtual_setattr(&op, ino, attr, valid);
		return;
	}
	for (int i = 0; i < FS_TRIES && err == -EAGAIN; i++) {
		err = valid & FUSE_SET_ATTR_SIZE ? cut_long(&op, ino, (uint64_t)attr->st_size) : 0;
		if (!err)
			err = setattr_try(&op, ino, attr, valid, &inode);
	}
	if (!err && valid & FUSE_SET_ATTR_SIZE)
		fs_touch(op.fs, ino);
	if (err)
		op_reply_error(&op, err);
	else
		op_reply_attr(&op, ino, &inode);
}

static void handle_statfs(fuse_req_t req, fuse_ino_t nodeid)
{
	struct op op = op_begin(req, METRICS_STATFS);
	struct statvfs out = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAMES_NAME_MAX};
	struct mneme_stats stats;

	mneme_get_stats(op.fs->engine, &stats);
	uint64_t free_bytes = fs_free_bytes(&stats);
	/* when space is scarce, people ask what a deletion has brought */
	if (free_bytes < STATFS_SCARCE_BYTES && !stats.read_only &&
	    free_bytes < (stats.heap_bytes + free_bytes - stats.heap_free_bytes) / 2 &&
	    reaper_settle(op.fs->reaper, 1, STATFS_SETTLE_MS)) {
		mneme_get_stats(op.fs->engine, &stats);
		free_bytes = fs_free_bytes(&stats);
	}
	uint64_t total_bytes = stats.heap_bytes + free_bytes - stats.heap_free_bytes;
	out.f_blocks = total_bytes / out.f_frsize;
	out.f_bfree = free_bytes / out.f_frsize;
	out.f_bavail = fs_available_bytes(&stats) / out.f_frsize;
	/* an inode needs about this much: a record, a name and its way back */
	out.f_files = total_bytes / 512;
	out.f_ffree = out.f_favail = free_bytes / 512;
	fuse_reply_statfs(req, &out);
	op_end(&op, 0);
}

void attr_set_handlers(struct fuse_lowlevel_ops *ops)
{
	ops->getattr = handle_getattr;
	ops->setattr = handle_setattr;
	ops->statfs = handle_statfs;
#if FUSE_VERSION >= 318
	ops->statx = handle_statx;
#endif
}
