/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   may a caller read a file, as the kernel would decide: for search results, which the kernel
 *            does not check.
 * Invariants: the caller needs read on the file and search (x) on every directory from the root to
 *            the name that search shows. Owner, group, other and ACLs as in acl(5); user 0 may read
 *            everything if it has the capability for it.
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
	int reads_all;
	int groups_count;
	gid_t groups[PERMISSION_GROUPS_MAX];
};

void permission_of(struct permission *p, struct fs *fs, fuse_req_t req);
/* 1: may look names up in the directory and get there. */
int permission_may_search(struct permission *p, uint64_t directory);
/* 1: may read the file, and, if `directory` is not 0, get to its name there. */
int permission_may_read(struct permission *p, uint64_t ino, uint64_t directory);

#endif
