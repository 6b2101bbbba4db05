/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   ioctls: file flags as lsattr/chattr know them, the label, and core/mneme_ioctl.h.
 * Invariants: nothing outside the lengths that the caller gave is read or filled; reserved fields must
 *            be zero.
 * Threading: any handler thread.
 * Failure:   0 or -errno to the kernel.
 */
#include "fs/fs.h"

#include "fs/ioctl.h"
#include "fs/label.h"
#include "fs/later.h"
#include "fs/search.h"
#include "fs/virtual.h"
#include "pool/frame.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#define FLAGS_SETTABLE                                                                             \
	((uint32_t)(FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_SYNC_FL |   \
		    FS_DIRSYNC_FL))

/* ---- file flags ---- */

static const struct {
	uint32_t flag, xflag;
} flag_names[] = {
	{FS_IMMUTABLE_FL, FS_XFLAG_IMMUTABLE}, {FS_APPEND_FL, FS_XFLAG_APPEND},
	{FS_SYNC_FL, FS_XFLAG_SYNC},           {FS_NOATIME_FL, FS_XFLAG_NOATIME},
	{FS_NODUMP_FL, FS_XFLAG_NODUMP},
};
enum { FLAG_NAMES = sizeof(flag_names) / sizeof(flag_names[0]) };

/* From the next mount on, open(2) asks: only then can it be refused. */
static int note_guarded(struct fs *fs, struct mneme_txn *txn)
{
	struct names_inode root;
	int err = inode_load(txn, fs->root, &root);

	if (err || root.state & NAMES_GUARDED)
		return err;
	root.state |= NAMES_GUARDED;
	return inode_store(txn, fs->root, &root);
}

static int set_flags_try(struct op *op, uint64_t ino, uint32_t flags, uint32_t mask)
{
	struct fs *fs = op->fs;
	uint32_t guarded = FS_IMMUTABLE_FL | FS_APPEND_FL;
	uid_t uid = fuse_req_ctx(op->req)->uid;
	uint64_t inodes[] = {ino, fs->root};
	struct names_inode inode;
	struct mneme_txn *txn;

	if (flags & ~mask)
		return -EOPNOTSUPP;
	int err = fs_begin(fs, 0, inodes, 2, &txn);
	if (err)
		return err;
	err = inode_load(txn, ino, &inode);
	if (!err && uid != 0 && uid != inode.uid)
		err = -EACCES;
	if (!err && uid != 0 && (inode.flags ^ flags) & mask & guarded)
		err = -EPERM;
	if (!err) {
		inode.flags = (inode.flags & ~mask) | flags;
		inode.ctime_ns = fs_now();
		err = inode_store(txn, ino, &inode);
	}
	if (!err && flags & guarded)
		err = note_guarded(fs, txn);
	if (err) {
		mneme_txn_abort(txn);
		return err;
	}
	err = fs_commit(fs, txn, MNEME_DURABILITY_DEFAULT, &ino, 1);
	if (!err)
		fs_invalidate_attr(fs, ino);
	return err;
}

static int set_flags(struct op *op, uint64_t ino, uint32_t flags, uint32_t mask)
{
	int err = -EAGAIN;

	for (int i = 0; i < FS_TRIES && err == -EAGAIN; i++)
		err = set_flags_try(op, ino, flags, mask);
	return err;
}

static int get_fsx(const struct names_inode *inode, struct fsxattr *out)
{
	memset(out, 0, sizeof(*out));
	for (int i = 0; i < FLAG_NAMES; i++) {
		if (inode->flags & flag_names[i].flag)
			out->fsx_xflags |= flag_names[i].xflag;
	}
	return 0;
}

static int set_fsx(struct op *op, uint64_t ino, const struct fsxattr *in)
{
	uint32_t flags = 0, mask = 0, left = in->fsx_xflags & ~(uint32_t)FS_XFLAG_HASATTR;

	for (int i = 0; i < FLAG_NAMES; i++) {
		mask |= flag_names[i].flag;
		if (left & flag_names[i].xflag)
			flags |= flag_names[i].flag;
		left &= ~flag_names[i].xflag;
	}
	if (left || in->fsx_extsize || in->fsx_projid || in->fsx_cowextsize)
		return -EOPNOTSUPP;
	return set_flags(op, ino, flags, mask);
}

/* Returns 1 when the command was one of these and was answered. */
OWN_FRAME static int answer_flags(struct op *op, uint64_t ino, unsigned command, const void *in,
				  size_t in_size)
{
	union {
		uint32_t flags;
		uint32_t generation;
		struct fsxattr fsx;
	} value;
	struct names_inode inode;
	size_t out_size = sizeof(uint32_t);
	int err = inode_read(op->fs, ino, &inode);

	memset(&value, 0, sizeof(value));
	switch (command) {
	case FS_IOC_GETFLAGS:
	case FS_IOC32_GETFLAGS:
		value.flags = inode.flags;
		break;
	case FS_IOC_GETVERSION:
	case FS_IOC32_GETVERSION:
		value.generation = inode.generation;
		break;
	case FS_IOC_FSGETXATTR:
		get_fsx(&inode, &value.fsx);
		out_size = sizeof(value.fsx);
		break;
	case FS_IOC_SETFLAGS:
	case FS_IOC32_SETFLAGS:
	case FS_IOC_FSSETXATTR:
		out_size = 0;
		if (err)
			break;
		if (in_size < (command == FS_IOC_FSSETXATTR ? sizeof(value.fsx) : 4u)) {
			err = -EINVAL;
			break;
		}
		memcpy(&value, in, command == FS_IOC_FSSETXATTR ? sizeof(value.fsx) : 4u);
		err = command == FS_IOC_FSSETXATTR
			      ? set_fsx(op, ino, &value.fsx)
			      : set_flags(op, ino, value.flags, FLAGS_SETTABLE);
		break;
	default:
		return 0;
	}
	if (err) {
		op_reply_error(op, err);
		return 1;
	}
	op_reply_ioctl(op, 0, &value, out_size);
	return 1;
}

/* ---- identity and stats ---- */

OWN_FRAME static void answer_identity(struct op *op, uint64_t ino, size_t out_size)
{
	struct mneme_ioc_identity out = {
		.version = MNEME_IOC_VERSION, .shards = op->fs->shards, .inode = ino};
	struct names_inode inode;

	if (out_size < sizeof(out)) {
		op_reply_error(op, -EINVAL);
		return;
	}
	mneme_uuid(op->fs->engine, out.uuid);
	if (!inode_read(op->fs, ino, &inode))
		out.file_version = inode.version;
	op_reply_ioctl(op, 0, &out, sizeof(out));
}

OWN_FRAME static void answer_stats(struct op *op, size_t out_size)
{
	struct mneme_stats in;
	struct mneme_ioc_stats out = {.version = MNEME_IOC_VERSION};

	if (out_size < sizeof(out)) {
		op_reply_error(op, -EINVAL);
		return;
	}
	mneme_get_stats(op->fs->engine, &in);
	out.read_only = (uint32_t)in.read_only;
	if (!out.read_only && atomic_load_explicit(&op->fs->read_only, memory_order_relaxed))
		out.read_only = EROFS;
	out.heap_bytes = in.heap_bytes;
	out.heap_free_bytes = in.heap_free_bytes;
	out.disk_free_bytes = in.disk_free_bytes;
	out.disk_total_bytes = in.disk_total_bytes;
	out.dirty_bytes = in.dirty_bytes;
	out.dirty_bytes_max = in.dirty_bytes_max;
	out.lsn_next = in.lsn_next;
	out.lsn_durable = in.lsn_durable;
	out.lsn_checkpoint = in.lsn_checkpoint;
	out.epoch = in.epoch;
	out.commits = in.commits;
	out.conflicts = in.conflicts;
	out.log_bytes = in.log_bytes;
	out.log_flushes = in.log_flushes;
	out.checkpoints = in.checkpoints;
	out.checkpoint_pages = in.checkpoint_pages;
	out.checkpoint_ns_last = in.checkpoint_ns_last;
	out.freeze_ns_last = in.freeze_ns_last;
	out.freeze_ns_max = in.freeze_ns_max;
	out.inodes_known = node_count(op->fs->nodes);
	op_reply_ioctl(op, 0, &out, sizeof(out));
}

/* ---- the rest of our own ---- */

int ioctl_durability(uint8_t durability, enum mneme_durability *out)
{
	if (durability > MNEME_IOC_DURABILITY_STRICT)
		return -EINVAL;
	*out = (enum mneme_durability)durability;
	return 0;
}

static int answer_data(struct op *op, uint64_t ino, unsigned number, void *data, size_t size)
{
	switch (number) {
	case MNEME_IOC_NR_KV_GET:
	case MNEME_IOC_NR_KV_PUT:
	case MNEME_IOC_NR_KV_SWAP:
	case MNEME_IOC_NR_KV_DELETE:
		return ioctl_kv(op, number, data, size);
	case MNEME_IOC_NR_KV_SCAN:
		return ioctl_scan(op, data, size);
	case MNEME_IOC_NR_LOG_APPEND:
	case MNEME_IOC_NR_LOG_VERIFY:
	case MNEME_IOC_NR_LOG_REPLAY:
		return ioctl_log(op, number, data, size);
	case MNEME_IOC_NR_WRITE:
		return ioctl_write(op, ino, data, size);
	case MNEME_IOC_NR_SEARCH:
		return ioctl_search(op, ino, data, size);
	case MNEME_IOC_NR_SEARCH_BATCH:
		return ioctl_search_batch(op, ino, data, size);
	case MNEME_IOC_NR_LINK:
	case MNEME_IOC_NR_UNLINK:
		return ioctl_link(op, ino, number, data, size);
	case MNEME_IOC_NR_LINKS:
		return ioctl_links(op, ino, data, size);
	case MNEME_IOC_NR_RECALL:
		return ioctl_recall(op, ino, data, size);
	case MNEME_IOC_NR_COMPACT:
		return ioctl_compact(op, data, size);
	default:
		return -ENOTTY;
	}
}

struct own {
	uint64_t ino;
	unsigned number;
	const void *in;
	size_t size;
};

static void own_run(struct op *op, const void *args)
{
	const struct own *own = args;
	/* a copy of its own: aligned, and filled in place for the answer */
	void *data = op_temporary(own->size);

	if (!data) {
		op_reply_error(op, -ENOMEM);
		return;
	}
	memcpy(data, own->in, own->size);
	int err = answer_data(op, own->ino, own->number, data, own->size);
	if (err && !(err == -EUCLEAN && own->number == MNEME_IOC_NR_LOG_VERIFY)) {
		op_reply_error(op, err);
		return;
	}
	op_reply_ioctl(op, err, data, own->size); /* the kernel gives the caller both */
}

/* Others of this core are not to wait for it. */
static int is_long(struct fs *fs, unsigned number)
{
	return number == MNEME_IOC_NR_COMPACT ||
	       ((number == MNEME_IOC_NR_SEARCH || number == MNEME_IOC_NR_SEARCH_BATCH) &&
		search_is_elsewhere(fs));
}

static void answer_own(struct op *op, uint64_t ino, unsigned command, const void *in,
		       size_t in_size, size_t out_size)
{
	unsigned number = _IOC_NR(command);

	if (number == MNEME_IOC_NR_IDENTITY) {
		answer_identity(op, ino, out_size);
		return;
	}
	if (number == MNEME_IOC_NR_STATS) {
		answer_stats(op, out_size);
		return;
	}
	if (in_size != out_size || in_size > MNEME_IOC_SIZE_MAX || in_size < 8) {
		op_reply_error(op, -EINVAL);
		return;
	}
	struct own own = {ino, number, in, in_size};
	if (!is_long(op->fs, number) || !later_run(op, own_run, &own, sizeof(own)))
		own_run(op, &own);
}

static void handle_ioctl(fuse_req_t req, fuse_ino_t nodeid, unsigned command, void *arg,
			 struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
			 size_t out_size)
{
	struct op op = op_begin(req, METRICS_IOCTL);
	uint64_t ino = fs_inode_number(op.fs, nodeid);

	if (flags & FUSE_IOCTL_COMPAT || virtual_is(ino)) {
		op_reply_error(&op, -ENOTTY);
		return;
	}
	if (_IOC_TYPE(command) == MNEME_IOC_MAGIC) {
		answer_own(&op, ino, command, in, in_size, out_size);
		return;
	}
	if (!answer_flags(&op, ino, command, in, in_size) &&
	    !label_answer(&op, command, in, in_size, out_size))
		op_reply_error(&op, -ENOTTY);
}

void ioctl_set_handlers(struct fuse_lowlevel_ops *ops)
{
	ops->ioctl = handle_ioctl;
}
