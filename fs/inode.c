/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   inode records: load, store, show as attributes, and the rules that many operations share
 *            (flags, privileges, access times).
 * Invariants: a record is changed only inside a transaction that holds its shard.
 * Threading: any thread.
 * Failure:   -ENOENT: no such inode; -EUCLEAN: the record has a wrong length.
 */
#include "fs/durability.h"
#include "fs/fs.h"
#include "core/memory/memory.h"
#include "fs/reaper.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <time.h>

enum { NS = 1000000000, ATIME_RELATIVE_S = 24 * 3600, GROUPS_MAX = 256, SETTLE_MS = 2000 };

int64_t fs_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * NS + now.tv_nsec;
}

uint32_t fs_shard_of(const struct fs *fs, uint64_t ino)
{
	return (uint32_t)(ino & (fs->shards - 1));
}

/* A full store: what was deleted may still be on its way out, or have gone while the try that ended with
 * `err` looked for room; then another one is worth while. `seen` are the removals before it. */
static int after_deletions(struct fs *fs, int err, uint64_t seen)
{
	if (err != -ENOSPC)
		return err;
	return reaper_settle(fs->reaper, 0, SETTLE_MS) || reaper_removals(fs->reaper) != seen
		       ? -EAGAIN
		       : err;
}

/* Of the transaction that this thread has begun: it is looked up before the shards are locked. */
static _Thread_local enum mneme_durability wanted;

int fs_begin(struct fs *fs, unsigned flags, const uint64_t *inodes, unsigned count,
	     struct mneme_txn **out)
{
	*out = NULL;
	if (atomic_load_explicit(&fs->read_only, memory_order_relaxed))
		return -EROFS;
	for (unsigned i = 0; i < count; i++) {
		if (inodes[i] < fs->root)
			return -ESTALE; /* the engine's own */
	}
	wanted = durability_of(fs, inodes, count);
	uint64_t seen = reaper_removals(fs->reaper);
	int err = mneme_txn_begin_locked(fs->engine, flags, inodes, count, out);

	/* what frees space is not to wait for the thread that it may run on */
	return flags & MNEME_TXN_MAY_FILL ? err : after_deletions(fs, err, seen);
}

int fs_commit(struct fs *fs, struct mneme_txn *txn, enum mneme_durability durability,
	      const uint64_t *inodes, unsigned count)
{
	uint64_t seen = reaper_removals(fs->reaper);
	uint64_t wait_for;
	int err = mneme_txn_commit_async(txn, durability ? durability : wanted, &wait_for);

	if (!err && wait_for)
		err = op_commit(fs, wait_for);
	if (err)
		return after_deletions(fs, err, seen);
	uint64_t lsn = mneme_lsn_last(fs->engine);
	for (unsigned i = 0; i < count; i++)
		node_set_lsn(fs->nodes, inodes[i], lsn);
	return 0;
}

void fs_touch(struct fs *fs, uint64_t ino)
{
	if (fs->memory)
		memory_touch(fs->memory, ino);
}

void fs_named(struct fs *fs, const char *name)
{
	if (fs->memory)
		memory_named(fs->memory, name);
}

int inode_load(struct mneme_txn *txn, uint64_t ino, struct names_inode *out)
{
	struct mneme_key key = names_key(ino, MNEME_TYPE_INODE);
	size_t length = 0;
	int err = mneme_txn_get(txn, &key, out, sizeof(*out), &length);

	if (err)
		return err == -ERANGE ? -EUCLEAN : err;
	return length == sizeof(*out) ? 0 : -EUCLEAN;
}

int inode_store(struct mneme_txn *txn, uint64_t ino, const struct names_inode *inode)
{
	struct mneme_key key = names_key(ino, MNEME_TYPE_INODE);

	return mneme_txn_put(txn, &key, inode, sizeof(*inode));
}

int inode_view(struct fs *fs, uint64_t ino, struct names_inode *out)
{
	struct mneme_key key = names_key(ino, MNEME_TYPE_INODE);
	const void *value;
	size_t length;
	int err = mneme_view_get(fs->engine, &key, &value, &length);

	if (err)
		return err;
	if (length != sizeof(*out))
		return -EUCLEAN;
	memcpy(out, value, sizeof(*out));
	return 0;
}

int inode_read(struct fs *fs, uint64_t ino, struct names_inode *out)
{
	if (ino < fs->root)
		return -ESTALE;
	int err = mneme_view_begin(fs->engine, ino);

	if (err)
		return err;
	err = inode_view(fs, ino, out);
	mneme_view_end(fs->engine, ino);
	return err;
}

static struct timespec timespec_of(int64_t ns)
{
	int64_t seconds = ns / NS, rest = ns % NS;

	if (rest < 0) {
		seconds--;
		rest += NS;
	}
	return (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
}

void inode_to_stat(const struct fs *fs, uint64_t ino, const struct names_inode *inode,
		   struct stat *out)
{
	memset(out, 0, sizeof(*out));
	out->st_ino = ino;
	out->st_mode = inode->mode;
	out->st_nlink = inode->nlink;
	out->st_uid = inode->uid;
	out->st_gid = inode->gid;
	out->st_rdev = inode->rdev;
	out->st_size = (off_t)inode->size;
	out->st_blksize = MNEME_CHUNK_SIZE;
	out->st_blocks = (blkcnt_t)(inode->allocated / 512);
	out->st_atim = timespec_of(inode->atime_ns);
	out->st_mtim = timespec_of(inode->mtime_ns);
	out->st_ctim = timespec_of(inode->ctime_ns);
}

int inode_check_flags(const struct names_inode *inode, int append)
{
	uint32_t mask = FS_IMMUTABLE_FL | (append ? FS_APPEND_FL : 0);

	return inode->flags & mask ? -EPERM : 0;
}

int fs_caller_in_group(fuse_req_t req, gid_t group)
{
	gid_t groups[GROUPS_MAX];

	if (fuse_req_ctx(req)->gid == group)
		return 1;
	int count = fuse_req_getgroups(req, GROUPS_MAX, groups);
	for (int i = 0; i < count && i < GROUPS_MAX; i++) {
		if (groups[i] == group)
			return 1;
	}
	return 0;
}

/* Without group execution setgid once meant mandatory locking: members of the group keep it. */
static int loses_sgid(const struct names_inode *inode, fuse_req_t caller)
{
	if (!(inode->mode & S_ISGID))
		return 0;
	return inode->mode & S_IXGRP || (caller && !fs_caller_in_group(caller, inode->gid));
}

int inode_drop_privileges(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode,
			  fuse_req_t caller)
{
	int dropped = 0;

	if (S_ISDIR(inode->mode) || S_ISLNK(inode->mode))
		return 0;
	if (inode->mode & S_ISUID) {
		inode->mode &= ~(uint32_t)S_ISUID;
		dropped = 1;
	}
	if (loses_sgid(inode, caller)) {
		inode->mode &= ~(uint32_t)S_ISGID;
		dropped = 1;
	}
	if (inode->state & NAMES_HAS_CAPABILITY) {
		static const char name[] = "security.capability";
		struct mneme_key key = {.inode = ino,
					.type = MNEME_TYPE_XATTR,
					.sub = name,
					.sub_length = sizeof(name) - 1};
		int err = mneme_txn_delete(txn, &key);
		if (err)
			return err;
		inode->state &= ~(uint32_t)NAMES_HAS_CAPABILITY;
		dropped = 1;
	}
	return dropped;
}

static int atime_is_due(const struct fs *fs, const struct names_inode *inode, int64_t now)
{
	if (inode->flags & FS_NOATIME_FL)
		return 0;
	switch (fs->options.atime) {
	case FS_ATIME_NEVER:
		return 0;
	case FS_ATIME_STRICT:
		return 1;
	case FS_ATIME_RELATIVE:
		break;
	}
	return inode->atime_ns <= inode->mtime_ns || inode->atime_ns <= inode->ctime_ns ||
	       now - inode->atime_ns >= (int64_t)ATIME_RELATIVE_S * NS;
}

void inode_touch_atime(struct fs *fs, uint64_t ino, const struct names_inode *seen)
{
	struct names_inode inode;
	struct mneme_txn *txn;
	int64_t now = fs_now();

	if (!atime_is_due(fs, seen, now))
		return;
	if (fs_begin(fs, 0, &ino, 1, &txn))
		return; /* a read never fails for its time */
	if (inode_load(txn, ino, &inode) || inode.atime_ns >= now) {
		mneme_txn_abort(txn);
		return;
	}
	inode.atime_ns = now;
	if (inode_store(txn, ino, &inode)) {
		mneme_txn_abort(txn);
		return;
	}
	/* in `strict` a read does not wait for the disk */
	mneme_txn_commit(txn, fs->options.durability == MNEME_DURABILITY_MEMORY
				      ? MNEME_DURABILITY_MEMORY
				      : MNEME_DURABILITY_BUFFERED);
}
