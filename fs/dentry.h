/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   directory entries: find, add, replace, remove, together with the PARENT reference that
 *            leads back (core/names.h has the format).
 * Invariants: a dentry and its PARENT key are made and removed in one transaction.
 * Threading: within the caller's transaction or view.
 * Failure:   -ENOENT, -EEXIST, -EUCLEAN (bad record), -ENOSPC (256 names with one hash).
 */
#ifndef MNEME_FS_DENTRY_H
#define MNEME_FS_DENTRY_H

#include "fs/fs.h"

struct dentry {
	uint64_t
		position; /* of the entry; if it was not found: where a new one goes, 0 if nowhere */
	uint64_t inode;   /* 0: not found */
	uint8_t type;     /* DT_* */
};

/* Looks `name` up in `directory`: inside `txn`, or, if that is NULL, inside a view of the shard.
 * 0 also when it is not there (out->inode is 0). -ENAMETOOLONG. */
int dentry_find(struct fs *fs, struct mneme_txn *txn, uint64_t directory, const char *name,
		struct dentry *out);
/* The same with a view of its own. */
int dentry_peek(struct fs *fs, uint64_t directory, const char *name, struct dentry *out);
/* Puts the entry at `position` (a new one or in place of another) and the PARENT key of `ino`. */
int dentry_put(struct mneme_txn *txn, uint64_t directory, uint64_t position, const char *name,
	       uint64_t ino, uint32_t mode);
/* Removes the PARENT key that leads from `ino` to this entry. */
int dentry_drop_parent(struct mneme_txn *txn, uint64_t directory, uint64_t position, uint64_t ino);
/* Removes the entry and the PARENT key. */
int dentry_remove(struct mneme_txn *txn, uint64_t directory, uint64_t position, uint64_t ino);

#endif
