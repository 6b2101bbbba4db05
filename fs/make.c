/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   everything that makes an inode: create, mknod, mkdir, symlink, O_TMPFILE; make.h.
 * Invariants: a new object belongs to the caller (its group to a setgid directory), is inside its
 *            directory's shard unless it is a directory itself, and is made in one transaction with
 *            its name.
 * Threading: any handler thread.
 * Failure:   0 or -errno to the kernel.
 */
#include "fs/fs.h"

#include "fs/acl.h"
#include "fs/dentry.h"
#include "fs/make.h"
#include "fs/virtual.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>

/* What is to be made. */
struct make {
	uint64_t directory;
	const char *name;   /* NULL: without a name (O_TMPFILE) */
	const char *target; /* of a symlink, else NULL */
	uint32_t mode;      /* type and permissions asked for */
	uint32_t rdev;
	uint64_t ino;             /* result */
	struct names_inode inode; /* result */
};

static int put_acl(struct mneme_txn *txn, uint64_t ino, const char *name, const void *acl,
		   size_t length)
{
	struct mneme_key key = {.inode = ino,
				.type = MNEME_TYPE_XATTR,
				.sub = name,
				.sub_length = (uint16_t)strlen(name)};

	return mneme_txn_put(txn, &key, acl, length);
}

/* Mode and ACLs of the new inode from the umask or the directory's default ACL. */
static int inherit_permissions(struct mneme_txn *txn, const struct fuse_ctx *caller,
			       const struct names_inode *directory, struct make *make)
{
	struct mneme_key key = {.inode = make->directory,
				.type = MNEME_TYPE_XATTR,
				.sub = ACL_DEFAULT_NAME,
				.sub_length = sizeof(ACL_DEFAULT_NAME) - 1};
	struct names_inode *inode = &make->inode;
	size_t length = 0;

	if (S_ISLNK(inode->mode))
		return 0;
	if (!(directory->state & NAMES_HAS_ACL_DEFAULT)) {
		inode->mode &= ~(uint32_t)(caller->umask & 0777);
		return 0;
	}
	void *acl = op_temporary(ACL_SIZE_MAX);
	if (!acl)
		return -ENOMEM;
	int err = mneme_txn_get(txn, &key, acl, ACL_SIZE_MAX, &length);
	if (err || acl_check(acl, length))
		return err ? err : -EUCLEAN;
	if (S_ISDIR(inode->mode)) {
		err = put_acl(txn, make->ino, ACL_DEFAULT_NAME, acl, length);
		if (err)
			return err;
		inode->state |= NAMES_HAS_ACL_DEFAULT;
	}
	if (acl_inherit(acl, length, &inode->mode))
		return 0;
	inode->state |= NAMES_HAS_ACL_ACCESS;
	return put_acl(txn, make->ino, ACL_ACCESS_NAME, acl, length);
}

static void init_inode(const struct fuse_ctx *caller, const struct names_inode *directory,
		       struct make *make, int64_t now)
{
	struct names_inode *inode = &make->inode;
	int is_dir = S_ISDIR(make->mode);

	*inode = (struct names_inode){
		.mode = make->mode,
		.nlink = !make->name ? 0
			 : is_dir    ? 2
				     : 1,
		.uid = caller->uid,
		.gid = caller->gid,
		.atime_ns = now,
		.mtime_ns = now,
		.ctime_ns = now,
		.btime_ns = now,
		.parent = make->directory,
		.rdev = make->rdev,
		/* flags that a directory hands down */
		.flags = directory->flags &
			 (FS_NODUMP_FL | FS_NOATIME_FL | FS_SYNC_FL | (is_dir ? FS_DIRSYNC_FL : 0)),
		.generation = ((uint32_t)(now / 1000) & 0x7fffffff) | NAMES_GENERATION_MIN,
	};
	if (directory->mode & S_ISGID) {
		inode->gid = directory->gid;
		if (is_dir)
			inode->mode |= S_ISGID;
	}
	if (make->target) {
		inode->size = strlen(make->target);
		inode->mode = S_IFLNK | 0777;
	}
}

void make_whiteout(const struct fuse_ctx *caller, uint64_t directory,
		   const struct names_inode *directory_inode, int64_t now, struct names_inode *out)
{
	struct make make = {.directory = directory, .name = "", .mode = S_IFCHR};

	init_inode(caller, directory_inode, &make, now);
	*out = make.inode;
}

static int put_name(struct fs *fs, struct mneme_txn *txn, struct make *make,
		    struct names_inode *directory, int64_t now)
{
	struct dentry dentry;
	int err = dentry_find(fs, txn, make->directory, make->name, &dentry);

	if (err)
		return err;
	if (dentry.inode)
		return -EEXIST;
	err = dentry_put(txn, make->directory, dentry.position, make->name, make->ino,
			 make->inode.mode);
	if (err)
		return err;
	directory->size++;
	directory->nlink += S_ISDIR(make->mode);
	directory->mtime_ns = directory->ctime_ns = now;
	return inode_store(txn, make->directory, directory);
}

static int put_orphan(struct fs *fs, struct mneme_txn *txn, uint64_t ino)
{
	uint8_t sub[8];
	struct mneme_key key = names_key_number(fs_shard_of(fs, ino), MNEME_TYPE_ORPHAN, ino, sub);

	return mneme_txn_put(txn, &key, "", 0);
}

static int fill(struct fs *fs, struct mneme_txn *txn, const struct fuse_ctx *caller,
		struct make *make)
{
	struct names_inode directory;
	int64_t now = fs_now();
	int err = inode_load(txn, make->directory, &directory);

	if (err)
		return err;
	if (!S_ISDIR(directory.mode))
		return -ENOTDIR;
	if (!directory.nlink)
		return -ENOENT; /* removed while it was open */
	err = inode_check_flags(&directory, 0);
	if (err)
		return err;
	init_inode(caller, &directory, make, now);
	err = inherit_permissions(txn, caller, &directory, make);
	if (err)
		return err;
	err = make->name ? put_name(fs, txn, make, &directory, now)
			 : put_orphan(fs, txn, make->ino);
	if (err)
		return err;
	if (make->target) {
		struct mneme_key key = names_key(make->ino, MNEME_TYPE_SYMLINK);
		err = mneme_txn_put_borrowed(txn, &key, make->target, make->inode.size);
		if (err)
			return err;
	}
	return inode_store(txn, make->ino, &make->inode);
}

static enum mneme_durability durability_of(const struct names_inode *inode)
{
	return inode->flags & (FS_SYNC_FL | FS_DIRSYNC_FL) ? MNEME_DURABILITY_STRICT
							   : MNEME_DURABILITY_DEFAULT;
}

static int make_try(struct op *op, struct make *make)
{
	struct fs *fs = op->fs;
	struct mneme_txn *txn;

	if (virtual_is(make->directory))
		return -EPERM;
	if (make->name && virtual_is_name(make->name))
		return -EPERM;
	uint32_t shard = S_ISDIR(make->mode) ? atomic_fetch_add_explicit(&fs->next_shard, 1,
									 memory_order_relaxed) &
						       (fs->shards - 1)
					     : fs_shard_of(fs, make->directory);
	make->ino = mneme_inode_new(fs->engine, shard);
	uint64_t inodes[] = {make->directory, make->ino};
	int err = fs_begin(fs, 0, inodes, 2, &txn);
	if (err)
		return err;
	err = fill(fs, txn, fuse_req_ctx(op->req), make);
	if (err) {
		mneme_txn_abort(txn);
		return err;
	}
	return fs_commit(fs, txn, durability_of(&make->inode), inodes, 2);
}

static int make_inode(struct op *op, struct make *make)
{
	int err = -EAGAIN;

	for (int i = 0; i < FS_TRIES && err == -EAGAIN; i++)
		err = make_try(op, make);
	return err;
}

static void make_and_reply(struct op *op, struct make *make)
{
	int err = make_inode(op, make);

	if (err) {
		op_reply_error(op, err);
		return;
	}
	if (make->target)
		fs_touch(op->fs, make->ino);
	fs_named(op->fs, make->name);
	op_reply_entry(op, make->ino, &make->inode);
}

static void handle_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			 dev_t rdev)
{
	struct op op = op_begin(req, METRICS_MKNOD);
	struct make make = {.directory = fs_inode_number(op.fs, parent),
			    .name = name,
			    .mode = mode,
			    .rdev = (uint32_t)rdev};

	make_and_reply(&op, &make);
}

static void handle_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct op op = op_begin(req, METRICS_MKDIR);
	struct make make = {.directory = fs_inode_number(op.fs, parent),
			    .name = name,
			    .mode = S_IFDIR | (mode & 07777)};

	if (virtual_is(make.directory) && !virtual_is_name(name))
		virtual_mkdir(&op, make.directory, name);
	else
		make_and_reply(&op, &make);
}

static void handle_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, METRICS_SYMLINK);
	struct make make = {.directory = fs_inode_number(op.fs, parent),
			    .name = name,
			    .target = target,
			    .mode = S_IFLNK | 0777};

	if (strlen(target) > NAMES_TARGET_MAX)
		op_reply_error(&op, -ENAMETOOLONG);
	else
		make_and_reply(&op, &make);
}

/* A handle that writes past the page cache saves the kernel's question for security.capability before
 * the first write. Not for readers (they want the cache) nor for synchronous or mapped use. */
static int wants_direct(const struct fs *fs, int flags)
{
	return fs->direct_create && (flags & O_ACCMODE) == O_WRONLY &&
	       !(flags & (O_SYNC | O_DSYNC | O_APPEND));
}

static void create_and_reply(struct op *op, struct make *make, struct fuse_file_info *fi)
{
	int err = make_inode(op, make);

	if (err) {
		op_reply_error(op, err);
		return;
	}
	if (make->name)
		fs_named(op->fs, make->name);
	fi->keep_cache = 1;
	fi->direct_io = wants_direct(op->fs, fi->flags) ? 1 : 0;
	fi->noflush = 1;
	op_reply_create(op, make->ino, &make->inode, fi);
}

static void handle_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			  struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_CREATE);
	struct make make = {.directory = fs_inode_number(op.fs, parent),
			    .name = name,
			    .mode = S_IFREG | (mode & 07777)};

	create_and_reply(&op, &make, fi);
}

#ifdef FS_HAVE_TMPFILE
static void handle_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode,
			   struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_TMPFILE);
	struct make make = {.directory = fs_inode_number(op.fs, parent),
			    .mode = S_IFREG | (mode & 07777)};

	create_and_reply(&op, &make, fi);
}
#endif

void make_set_handlers(struct fuse_lowlevel_ops *ops)
{
	ops->mknod = handle_mknod;
	ops->mkdir = handle_mkdir;
	ops->symlink = handle_symlink;
	ops->create = handle_create;
#ifdef FS_HAVE_TMPFILE
	ops->tmpfile = handle_tmpfile;
#endif
}
