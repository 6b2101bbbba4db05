/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   may a caller read a file, as the kernel would decide: for search results, which the kernel
 *            does not check.
 * Invariants: the caller needs read on the file and search (x) on every directory from the root to it,
 *            by at least one of its names' paths (the one that search shows: the first). Owner, group,
 *            other and ACLs as in acl(5); user 0 may read everything.
 * Threading: reads single records; a decision is as of the moment when each was read.
 */
#ifndef MNEME_FS_PERMISSION_H
#define MNEME_FS_PERMISSION_H

#include "fs/fs.h"

enum { PERMISSION_GROUPS_MAX = 1024 };

/* Ids of a caller, taken once a request. */
struct permission {
	struct fs *fs;
	uid_t uid;
	gid_t gid;
	int groups_count;
	gid_t groups[PERMISSION_GROUPS_MAX];
};

void permission_of(struct permission *p, struct fs *fs, fuse_req_t req);
/* 1: may look names up in the directory and get there. */
int permission_may_search(struct permission *p, uint64_t directory);
/* 1: may read the file by its first name's path. */
int permission_may_read(struct permission *p, uint64_t ino);

#endif
