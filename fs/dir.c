/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   names: lookup, forget, link, unlink, rmdir, readlink.
 * Invariants: an inode that loses its last name gets an ORPHAN key in the same transaction, and is
 *            removed when the kernel forgets it: nobody can have it open any more then.
 * Threading: any handler thread. Which inode a name leads to is known only under the lock, so a removal
 *            locks the directory, and starts over with both if the inode is not in the same shard.
 * Failure:   0 or -errno to the kernel.
 */
#include "fs/fs.h"

#include "fs/dentry.h"
#include "fs/reaper.h"
#include "fs/virtual.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <time.h>

/* An inode handle of NFS: "." is the inode itself, ".." its directory. */
static int lookup_dot(struct fs *fs, uint64_t ino, const char *name, struct dentry *out,
		      struct names_inode *inode)
{
	int err = inode_read(fs, ino, inode);

	if (err)
		return err;
	out->inode = ino;
	if (!strcmp(name, "."))
		return 0;
	out->inode = inode->parent;
	return inode_read(fs, inode->parent, inode);
}

static int lookup_name(struct fs *fs, uint64_t directory, const char *name, struct dentry *out,
		       struct names_inode *inode)
{
	int inside = 0;

	if (directory < fs->root)
		return -ESTALE;
	int err = mneme_view_begin(fs->engine, directory);
	if (err)
		return err;
	err = dentry_find(fs, NULL, directory, name, out);
	if (!err && out->inode && fs_shard_of(fs, out->inode) == fs_shard_of(fs, directory)) {
		err = inode_view(fs, out->inode, inode);
		inside = 1;
	}
	mneme_view_end(fs->engine, directory);
	if (err || inside || !out->inode)
		return err;
	return inode_read(fs, out->inode, inode);
}

#if FUSE_VERSION >= 318
static void note_transport(struct fs *fs, fuse_req_t req)
{
	if (!atomic_load_explicit(&fs->over_uring, memory_order_relaxed) && fuse_req_is_uring(req))
		atomic_store_explicit(&fs->over_uring, 1, memory_order_relaxed);
}
#else
static void note_transport(struct fs *fs, fuse_req_t req)
{
}
#endif

static void handle_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, METRICS_LOOKUP);
	uint64_t directory = fs_inode_number(op.fs, parent);
	struct names_inode inode;
	struct dentry dentry = {0};
	int err;

	note_transport(op.fs, req);
	if (virtual_is(directory) || virtual_is_name(name)) {
		virtual_lookup(&op, directory, name);
		return;
	}
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		err = lookup_dot(op.fs, directory, name, &dentry, &inode);
	else
		err = lookup_name(op.fs, directory, name, &dentry, &inode);
	if (err)
		op_reply_error(&op, err);
	else if (!dentry.inode)
		op_reply_negative(&op);
	else
		op_reply_entry(&op, dentry.inode, &inode);
}

static void forget_one(struct fs *fs, fuse_ino_t nodeid, uint64_t count)
{
	uint64_t ino = fs_inode_number(fs, nodeid);

	if (virtual_is(ino))
		virtual_forget(fs, ino, count);
	else if (node_unref(fs->nodes, ino, count))
		reaper_remove(fs, ino);
}

/* Over io_uring the threads of /dev/fuse have forgets only. A removal sends one, and the kernel wakes a
 * thread for it if one waits, on another core at best; it costs the caller more than all else about a
 * forget. Not to wait for a moment lets them come in one request. */
static void gather_forgets(const struct fs *fs)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	if (atomic_load_explicit(&fs->over_uring, memory_order_relaxed))
		nanosleep(&moment, NULL);
}

static void handle_forget(fuse_req_t req, fuse_ino_t nodeid, uint64_t count)
{
	struct op op = op_begin(req, METRICS_FORGET);

	forget_one(op.fs, nodeid, count);
	op_reply_none(&op);
	gather_forgets(op.fs);
}

static void handle_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct op op = op_begin(req, METRICS_FORGET);

	for (size_t i = 0; i < count && i < FS_REQUEST_MAX / sizeof(*forgets); i++)
		forget_one(op.fs, forgets[i].ino, forgets[i].nlookup);
	op_reply_none(&op);
	gather_forgets(op.fs);
}

static void handle_readlink(fuse_req_t req, fuse_ino_t nodeid)
{
	struct op op = op_begin(req, METRICS_READLINK);
	uint64_t ino = fs_inode_number(op.fs, nodeid);
	struct mneme_key key = names_key(ino, MNEME_TYPE_SYMLINK);
	struct names_inode inode;
	size_t length = 0;

	if (virtual_is(ino)) {
		virtual_readlink(&op, ino);
		return;
	}
	char *target = op_temporary(NAMES_TARGET_MAX + 1);
	int err = target ? inode_read(op.fs, ino, &inode) : -ENOMEM;
	if (!err && !S_ISLNK(inode.mode))
		err = -EINVAL;
	if (!err)
		err = mneme_get(op.fs->engine, &key, target, NAMES_TARGET_MAX, &length);
	if (err) {
		op_reply_error(&op, err == -ENOENT ? -EUCLEAN : err);
		return;
	}
	target[length] = 0;
	inode_touch_atime(op.fs, ino, &inode);
	fuse_reply_readlink(op.req, target);
	op_end(&op, 0);
}

/* ---- link ---- */

static int link_inside(struct fs *fs, struct mneme_txn *txn, uint64_t ino, uint64_t parent,
		       const char *name, struct names_inode *inode)
{
	struct names_inode directory;
	struct dentry dentry;
	int64_t now = fs_now();
	uint8_t sub[8];
	int err = inode_load(txn, ino, inode);

	if (!err)
		err = inode_load(txn, parent, &directory);
	if (err)
		return err;
	if (S_ISDIR(inode->mode))
		return -EPERM;
	if (!S_ISDIR(directory.mode))
		return -ENOTDIR;
	if (!directory.nlink)
		return -ENOENT;
	if (inode->nlink >= NAMES_LINK_MAX)
		return -EMLINK;
	if (inode_check_flags(inode, 1) || inode_check_flags(&directory, 0))
		return -EPERM;
	err = dentry_find(fs, txn, parent, name, &dentry);
	if (err)
		return err;
	if (dentry.inode)
		return -EEXIST;
	if (!inode->nlink) {
		struct mneme_key key =
			names_key_number(fs_shard_of(fs, ino), MNEME_TYPE_ORPHAN, ino, sub);
		err = mneme_txn_delete(txn, &key);
		if (err)
			return err;
	}
	inode->nlink++;
	inode->ctime_ns = now;
	inode->parent = parent;
	directory.size++;
	directory.mtime_ns = directory.ctime_ns = now;
	err = dentry_put(txn, parent, dentry.position, name, ino, inode->mode);
	if (!err)
		err = inode_store(txn, ino, inode);
	return err ? err : inode_store(txn, parent, &directory);
}

static int link_try(struct fs *fs, const uint64_t *inodes, const char *name,
		    struct names_inode *inode)
{
	struct mneme_txn *txn;
	int err = fs_begin(fs, 0, inodes, 2, &txn);

	if (err)
		return err;
	err = link_inside(fs, txn, inodes[0], inodes[1], name, inode);
	if (err) {
		mneme_txn_abort(txn);
		return err;
	}
	return fs_commit(fs, txn, MNEME_DURABILITY_DEFAULT, inodes, 2);
}

static void handle_link(fuse_req_t req, fuse_ino_t nodeid, fuse_ino_t newparent, const char *name)
{
	struct op op = op_begin(req, METRICS_LINK);
	uint64_t inodes[] = {fs_inode_number(op.fs, nodeid), fs_inode_number(op.fs, newparent)};
	struct names_inode inode;
	int err = -EAGAIN;

	if (virtual_is(inodes[0]) || virtual_is(inodes[1]) || virtual_is_name(name))
		err = -EPERM;
	for (int i = 0; i < FS_TRIES && err == -EAGAIN; i++)
		err = link_try(op.fs, inodes, name, &inode);
	if (err) {
		op_reply_error(&op, err);
		return;
	}
	node_set_orphan(op.fs->nodes, inodes[0], 0);
	fs_named(op.fs, name);
	op_reply_entry(&op, inodes[0], &inode);
}

/* ---- unlink and rmdir ---- */

struct removal {
	uint64_t directory;
	const char *name;
	int of_directory; /* rmdir */
	uint64_t ino;     /* of the name, as it was seen; 0: not yet */
	int gone;         /* result: it has no name any more */
};

/* Most files are in the shard of their directory, so that this is enough to lock. */
static int is_locked(const struct fs *fs, const struct removal *removal, uint64_t ino)
{
	uint32_t shard = fs_shard_of(fs, ino);

	return shard == fs_shard_of(fs, removal->directory) ||
	       (removal->ino && shard == fs_shard_of(fs, removal->ino));
}

static int check_removal(const struct removal *removal, const struct names_inode *directory,
			 const struct names_inode *inode)
{
	if (inode_check_flags(directory, 1) || inode_check_flags(inode, 1))
		return -EPERM;
	if (!removal->of_directory)
		return S_ISDIR(inode->mode) ? -EISDIR : 0;
	if (!S_ISDIR(inode->mode))
		return -ENOTDIR;
	return inode->size ? -ENOTEMPTY : 0;
}

/* -EAGAIN: the name leads to an inode that is not locked. */
static int remove_inside(struct fs *fs, struct mneme_txn *txn, struct removal *removal)
{
	struct names_inode directory, inode;
	struct dentry dentry;
	int64_t now = fs_now();
	uint8_t sub[8];
	int err = dentry_find(fs, txn, removal->directory, removal->name, &dentry);

	if (err)
		return err;
	if (!dentry.inode)
		return -ENOENT;
	int locked = is_locked(fs, removal, dentry.inode);
	removal->ino = dentry.inode;
	if (!locked)
		return -EAGAIN;
	err = inode_load(txn, removal->directory, &directory);
	if (!err)
		err = inode_load(txn, removal->ino, &inode);
	if (!err)
		err = check_removal(removal, &directory, &inode);
	if (!err)
		err = dentry_remove(txn, removal->directory, dentry.position, removal->ino);
	if (err)
		return err;
	directory.size -= directory.size > 0;
	directory.nlink -= removal->of_directory;
	directory.mtime_ns = directory.ctime_ns = now;
	inode.nlink = removal->of_directory || !inode.nlink ? 0 : inode.nlink - 1;
	inode.ctime_ns = now;
	removal->gone = inode.nlink == 0;
	if (removal->gone) {
		struct mneme_key key = names_key_number(fs_shard_of(fs, removal->ino),
							MNEME_TYPE_ORPHAN, removal->ino, sub);
		err = mneme_txn_put(txn, &key, "", 0);
	}
	if (!err)
		err = inode_store(txn, removal->ino, &inode);
	return err ? err : inode_store(txn, removal->directory, &directory);
}

static int remove_try(struct fs *fs, struct removal *removal)
{
	struct mneme_txn *txn;
	uint64_t inodes[] = {removal->directory, removal->ino};
	int err = fs_begin(fs, MNEME_TXN_MAY_FILL, inodes, removal->ino ? 2 : 1, &txn);

	if (err)
		return err;
	err = remove_inside(fs, txn, removal);
	if (err) {
		mneme_txn_abort(txn);
		return err;
	}
	inodes[1] = removal->ino;
	return fs_commit(fs, txn, MNEME_DURABILITY_DEFAULT, inodes, 2);
}

static void remove_and_reply(struct op *op, struct removal *removal)
{
	struct fs *fs = op->fs;
	int err = -EAGAIN;

	if (virtual_is(removal->directory) || virtual_is_name(removal->name)) {
		int known = removal->of_directory && virtual_is(removal->directory);
		op_reply_error(op, known ? virtual_rmdir(op, removal->directory, removal->name)
					 : -EPERM);
		return;
	}
	for (int i = 0; i < FS_TRIES && err == -EAGAIN; i++)
		err = remove_try(fs, removal);
	if (!err && removal->gone && node_set_orphan(fs->nodes, removal->ino, 1))
		reaper_remove(fs, removal->ino);
	op_reply_error(op, err);
}

static void handle_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, METRICS_UNLINK);
	struct removal removal = {.directory = fs_inode_number(op.fs, parent), .name = name};

	remove_and_reply(&op, &removal);
}

static void handle_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, METRICS_RMDIR);
	struct removal removal = {
		.directory = fs_inode_number(op.fs, parent), .name = name, .of_directory = 1};

	remove_and_reply(&op, &removal);
}

void dir_set_handlers(struct fuse_lowlevel_ops *ops)
{
	ops->lookup = handle_lookup;
	ops->forget = handle_forget;
	ops->forget_multi = handle_forget_multi;
	ops->readlink = handle_readlink;
	ops->link = handle_link;
	ops->unlink = handle_unlink;
	ops->rmdir = handle_rmdir;
}
