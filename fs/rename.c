/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   rename, with NOREPLACE, EXCHANGE and WHITEOUT.
 * Invariants: one transaction over both directories and both inodes: after a crash either all or nothing
 *            of it has happened. A directory never becomes its own descendant.
 * Threading: any handler thread. Within one directory its shard is enough to lock when the inodes are in
 *            it; else what the names lead to is looked up before, and all of it is locked. The kernel
 *            lets one rename of a directory happen at a time, so the walk up for the loop check sees a
 *            tree that stays as it is.
 * Failure:   0 or -errno to the kernel.
 */
#include "fs/fs.h"

#include "core/memory/memory.h"

#include "fs/dentry.h"
#include "fs/make.h"
#include "fs/reaper.h"
#include "fs/virtual.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 65536 };

/* One end of the rename. */
struct end {
	uint64_t directory;
	const char *name;
	struct dentry dentry;
	struct names_inode inode;   /* of the dentry, if it is there */
	struct names_inode *parent; /* both ends' point to one record when it is one directory */
	struct names_inode parent_storage;
};

struct rename {
	struct end from, to;
	unsigned flags;
	int looks; /* where the names lead, before anything is locked */
	int64_t now;
	fuse_req_t caller;
	uint64_t whiteout; /* inode that takes the name that was left, or 0 */
	uint64_t gone;     /* result: an inode that lost its last name, or 0 */
};

/* Finds what the name leads to. `seen`: what it led to when r->looks, and now. -EAGAIN: elsewhere, or it
 * is not locked. */
static int load_end(struct fs *fs, struct mneme_txn *txn, struct rename *r, struct end *end,
		    uint64_t *seen)
{
	int err = dentry_find(fs, txn, end->directory, end->name, &end->dentry);

	if (err)
		return err;
	uint64_t ino = end->dentry.inode;
	if (r->looks && ino != *seen)
		return -EAGAIN;
	if (!r->looks && ino && fs_shard_of(fs, ino) != fs_shard_of(fs, end->directory)) {
		r->looks = 1;
		return -EAGAIN;
	}
	*seen = ino;
	return ino ? inode_load(txn, ino, &end->inode) : 0;
}

static int check_flags(const struct rename *r)
{
	if (inode_check_flags(r->from.parent, 1) || inode_check_flags(&r->from.inode, 1) ||
	    inode_check_flags(r->to.parent, 0))
		return -EPERM;
	if (!r->to.dentry.inode)
		return 0;
	return inode_check_flags(r->to.parent, 1) ? -EPERM : inode_check_flags(&r->to.inode, 1);
}

static int check_types(const struct rename *r)
{
	int from_dir = S_ISDIR(r->from.inode.mode), to_dir = S_ISDIR(r->to.inode.mode);

	if (!r->from.dentry.inode)
		return -ENOENT;
	if (!S_ISDIR(r->from.parent->mode) || !S_ISDIR(r->to.parent->mode))
		return -ENOTDIR;
	if (!r->to.parent->nlink)
		return -ENOENT;
	if (!r->to.dentry.inode)
		return r->flags & RENAME_EXCHANGE ? -ENOENT : 0;
	if (r->flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (r->flags & RENAME_EXCHANGE)
		return 0;
	if (from_dir && !to_dir)
		return -ENOTDIR;
	if (!from_dir && to_dir)
		return -EISDIR;
	return to_dir && r->to.inode.size ? -ENOTEMPTY : 0;
}

/* The target that is replaced loses this name. */
static int drop_target(struct fs *fs, struct mneme_txn *txn, struct rename *r)
{
	struct end *to = &r->to;
	uint64_t ino = to->dentry.inode;
	uint8_t sub[8];
	int err = dentry_drop_parent(txn, to->directory, to->dentry.position, ino);

	if (err)
		return err;
	if (S_ISDIR(to->inode.mode)) {
		to->parent->nlink--;
		to->inode.nlink = 0;
	} else if (to->inode.nlink) {
		to->inode.nlink--;
	}
	to->inode.ctime_ns = r->now;
	if (!to->inode.nlink) {
		struct mneme_key key =
			names_key_number(fs_shard_of(fs, ino), MNEME_TYPE_ORPHAN, ino, sub);
		r->gone = ino;
		err = mneme_txn_put(txn, &key, "", 0);
		if (err)
			return err;
	}
	return inode_store(txn, ino, &to->inode);
}

/* The name that the move leaves goes, or becomes a whiteout's. */
static int leave_source(struct mneme_txn *txn, struct rename *r)
{
	struct end *from = &r->from;
	uint64_t ino = from->dentry.inode;
	struct names_inode whiteout;

	if (!r->whiteout) {
		from->parent->size -= from->parent->size > 0;
		return dentry_remove(txn, from->directory, from->dentry.position, ino);
	}
	int err = dentry_drop_parent(txn, from->directory, from->dentry.position, ino);
	if (err)
		return err;
	make_whiteout(fuse_req_ctx(r->caller), from->directory, from->parent, r->now, &whiteout);
	err = dentry_put(txn, from->directory, from->dentry.position, from->name, r->whiteout,
			 whiteout.mode);
	return err ? err : inode_store(txn, r->whiteout, &whiteout);
}

static int move(struct fs *fs, struct mneme_txn *txn, struct rename *r)
{
	struct end *from = &r->from, *to = &r->to;
	uint64_t ino = from->dentry.inode;
	int err = leave_source(txn, r);

	if (err)
		return err;
	if (to->dentry.inode) {
		err = drop_target(fs, txn, r);
		if (err)
			return err;
	} else {
		to->parent->size++;
	}
	if (S_ISDIR(from->inode.mode)) {
		from->parent->nlink--;
		to->parent->nlink++;
	}
	from->inode.parent = to->directory;
	from->inode.ctime_ns = r->now;
	err = dentry_put(txn, to->directory, to->dentry.position, to->name, ino, from->inode.mode);
	return err ? err : inode_store(txn, ino, &from->inode);
}

static int exchange(struct mneme_txn *txn, struct rename *r)
{
	struct end *from = &r->from, *to = &r->to;
	int moved = S_ISDIR(from->inode.mode) - S_ISDIR(to->inode.mode);
	int err =
		dentry_drop_parent(txn, from->directory, from->dentry.position, from->dentry.inode);

	if (!err)
		err = dentry_drop_parent(txn, to->directory, to->dentry.position, to->dentry.inode);
	if (!err)
		err = dentry_put(txn, from->directory, from->dentry.position, from->name,
				 to->dentry.inode, to->inode.mode);
	if (!err)
		err = dentry_put(txn, to->directory, to->dentry.position, to->name,
				 from->dentry.inode, from->inode.mode);
	if (err)
		return err;
	from->parent->nlink -= (uint32_t)moved;
	to->parent->nlink += (uint32_t)moved;
	from->inode.parent = to->directory;
	to->inode.parent = from->directory;
	from->inode.ctime_ns = to->inode.ctime_ns = r->now;
	err = inode_store(txn, from->dentry.inode, &from->inode);
	return err ? err : inode_store(txn, to->dentry.inode, &to->inode);
}

static int rename_inside(struct fs *fs, struct mneme_txn *txn, struct rename *r, uint64_t *inodes)
{
	struct end *from = &r->from, *to = &r->to;
	int err = inode_load(txn, from->directory, &from->parent_storage);

	from->parent = &from->parent_storage;
	to->parent = from->parent;
	if (!err && to->directory != from->directory) {
		to->parent = &to->parent_storage;
		err = inode_load(txn, to->directory, to->parent);
	}
	if (!err)
		err = load_end(fs, txn, r, from, &inodes[2]);
	if (!err)
		err = load_end(fs, txn, r, to, &inodes[3]);
	if (!err)
		err = check_types(r);
	if (!err)
		err = check_flags(r);
	if (err)
		return err;
	if (from->dentry.inode == to->dentry.inode)
		return -ECANCELED; /* two names of one inode: nothing to do, says POSIX */
	err = r->flags & RENAME_EXCHANGE ? exchange(txn, r) : move(fs, txn, r);
	if (err)
		return err;
	from->parent->mtime_ns = from->parent->ctime_ns = r->now;
	to->parent->mtime_ns = to->parent->ctime_ns = r->now;
	err = inode_store(txn, from->directory, from->parent);
	if (!err && to->parent != from->parent)
		err = inode_store(txn, to->directory, to->parent);
	return err;
}

/* -EINVAL if `ino` is `directory` or above it. */
static int check_loop(struct fs *fs, uint64_t directory, uint64_t ino)
{
	struct names_inode inode;

	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		if (directory == ino)
			return -EINVAL;
		if (directory == fs->root)
			return 0;
		int err = inode_read(fs, directory, &inode);
		if (err)
			return err;
		directory = inode.parent;
	}
	return -ELOOP;
}

/* Where the names lead, to lock that too; and whether the move would make a loop. */
static int look(struct fs *fs, const struct rename *r, uint64_t *from_ino, uint64_t *to_ino)
{
	struct dentry from, to;
	int err = dentry_peek(fs, r->from.directory, r->from.name, &from);

	if (!err)
		err = dentry_peek(fs, r->to.directory, r->to.name, &to);
	if (err)
		return err;
	if (!from.inode)
		return -ENOENT;
	*from_ino = from.inode;
	*to_ino = to.inode;
	if (r->from.directory == r->to.directory)
		return 0;
	if (from.type == S_IFDIR >> 12)
		err = check_loop(fs, r->to.directory, from.inode);
	if (!err && to.inode && to.type == S_IFDIR >> 12 && r->flags & RENAME_EXCHANGE)
		err = check_loop(fs, r->from.directory, to.inode);
	if (!err && to.inode == r->from.directory)
		err = -ENOTEMPTY;
	return err;
}

static int rename_try(struct fs *fs, struct rename *r)
{
	uint64_t inodes[] = {r->from.directory, r->to.directory, 0, 0};
	struct mneme_txn *txn;
	unsigned count = 2;
	int err = 0;

	if (r->looks) {
		err = look(fs, r, &inodes[2], &inodes[3]);
		if (err)
			return err;
		count = inodes[3] ? 4 : 3;
	}
	if (r->flags & RENAME_WHITEOUT) /* in the shard of its directory, which is locked */
		r->whiteout = mneme_inode_new(fs->engine, fs_shard_of(fs, r->from.directory));
	err = fs_begin(fs, 0, inodes, count, &txn);
	if (err)
		return err;
	err = rename_inside(fs, txn, r, inodes);
	if (err) {
		mneme_txn_abort(txn);
		return err;
	}
	return fs_commit(fs, txn, MNEME_DURABILITY_DEFAULT, inodes, inodes[3] ? 4 : 3);
}

/* What new names and places mean to the memories. */
static void memory_follow(struct fs *fs, const struct rename *r)
{
	const struct end *from = &r->from, *to = &r->to;

	if (from->directory != to->directory)
		memory_opt(fs->memory, 1);
	if (memory_is_vector_name(from->name) || memory_is_vector_name(to->name)) {
		fs_touch(fs, from->dentry.inode); /* what it holds follows from its name */
		if (to->dentry.inode)
			fs_touch(fs, to->dentry.inode);
	}
	memory_named(fs->memory, to->name);
	memory_moved(fs->memory, from->dentry.inode);
	if (r->flags & RENAME_EXCHANGE) {
		memory_named(fs->memory, from->name);
		memory_moved(fs->memory, to->dentry.inode);
	}
}

static void handle_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
			  const char *newname, unsigned flags)
{
	struct op op = op_begin(req, METRICS_RENAME);
	struct fs *fs = op.fs;
	struct rename *r = op_temporary(sizeof(*r)); /* a third of a handler's stack */
	int err = -EAGAIN;

	if (!r) {
		op_reply_error(&op, -ENOMEM);
		return;
	}
	memset(r, 0, sizeof(*r));
	r->from.directory = fs_inode_number(fs, parent);
	r->from.name = name;
	r->to.directory = fs_inode_number(fs, newparent);
	r->to.name = newname;
	r->flags = flags;
	r->looks = r->from.directory != r->to.directory;
	r->now = fs_now();
	r->caller = req;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) ||
	    (flags & RENAME_EXCHANGE && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT))) {
		op_reply_error(&op, -EINVAL);
		return;
	}
	if (virtual_is(r->from.directory) || virtual_is(r->to.directory) || virtual_is_name(name) ||
	    virtual_is_name(newname)) {
		op_reply_error(&op, -EPERM);
		return;
	}
	for (int i = 0; i < FS_TRIES && err == -EAGAIN; i++)
		err = rename_try(fs, r);
	if (err == -ECANCELED)
		err = 0;
	if (!err && fs->memory)
		memory_follow(fs, r);
	if (!err && r->gone && node_set_orphan(fs->nodes, r->gone, 1))
		reaper_remove(fs, r->gone);
	op_reply_error(&op, err);
}

void rename_set_handlers(struct fuse_lowlevel_ops *ops)
{
	ops->rename = handle_rename;
}
