/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what may a caller do with an inode, as the kernel would decide: for what the kernel does
 *            not check, which is search results and the ioctls of core/mneme_ioctl.h.
 * Invariants: owner, group, other and ACLs as in acl(5), then the caller's capabilities; user 0 without
 *            them is a user as any other. What a search returns wants read on the file and search (x)
 *            on every directory from the root to the name that is shown. Nobody writes to a mount
 *            that is read-only, or to an immutable inode.
 * Threading: reads single records; a decision is as of the moment when each was read.
 */
#ifndef MNEME_FS_PERMISSION_H
#define MNEME_FS_PERMISSION_H

#include "fs/fs.h"

enum { PERMISSION_GROUPS_MAX = 1024, PERMISSION_VERDICTS = 64 };
/* As the bits of a mode. */
enum permission_want { PERMISSION_SEARCH = 1, PERMISSION_WRITE = 2, PERMISSION_READ = 4 };

/* A caller, for one request. Groups and capabilities are asked for when they matter. */
struct permission {
	struct fs *fs;
	fuse_req_t req;
	uid_t uid; /* from here to `groups`: permission_identity() */
	gid_t gid;
	int overrides; /* what capabilities grant, of enum permission_want; -1: not asked for yet */
	int groups_count; /* -1: not asked for yet */
	gid_t groups[PERMISSION_GROUPS_MAX];
	/* Directories that were asked for last, by a hash: searches meet the same ones again. */
	struct {
		uint64_t directory; /* 0: none */
		int may_search;
	} verdicts[PERMISSION_VERDICTS];
};

/* Valid until the reply. */
void permission_of(struct permission *p, struct fs *fs, fuse_req_t req);
/* 0: all of `want` is granted. -EACCES; -EROFS, -EPERM: nobody may write to it; else as inode_read(). */
int permission_ask(struct permission *p, uint64_t ino, unsigned want);
/* permission_ask() for the caller of an operation that asks once. */
int permission_check(struct op *op, uint64_t ino, unsigned want);
/* All that its verdicts depend on but what the store holds: bytes that live as long as it. */
const void *permission_identity(struct permission *p, size_t *length);
/* 1: may read whatever there is, so that nothing need be asked. */
int permission_may_all(struct permission *p);
/* 1: may look names up in the directory and get there. */
int permission_may_search(struct permission *p, uint64_t directory);
/* 1: may read the file, and, if `directory` is not 0, get to its name there. */
int permission_may_read(struct permission *p, uint64_t ino, uint64_t directory);

#endif
