/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the inode that a rename with RENAME_WHITEOUT leaves where the name was.
 * Invariants: none of its own.
 * Threading: any thread.
 * Failure:   cannot fail.
 */
#ifndef MNEME_FS_MAKE_H
#define MNEME_FS_MAKE_H

#include "fs/fs.h"

/* The record of a whiteout (the character device 0:0 without permissions, rename(2)) of `caller`, made
 * at `now` in `directory`, whose record is `directory_inode`. */
void make_whiteout(const struct fuse_ctx *caller, uint64_t directory,
		   const struct names_inode *directory_inode, int64_t now, struct names_inode *out);

#endif
