/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the hidden `.mneme`: directories and files that are made when they are looked up. Found by
 *            lookup, never listed by its parent.
 * Invariants: every lookup makes a node of its own, with a number that is not used again (stat(2) gives
 *            another one, which stays) and
 *            a text that stays as it is until the kernel forgets it: so the page cache needs no
 *            invalidation and a reader sees one picture, although files are opened without a message.
 *            Names and attributes of these nodes are never cached by the kernel.
 * Threading: any handler thread.
 * Failure:   -ENOENT; -ENFILE when VIRTUAL_NODES are in use at once; -ENOMEM.
 */
#ifndef MNEME_FS_VIRTUAL_H
#define MNEME_FS_VIRTUAL_H

#include "fs/fs.h"

#include <string.h>

enum { VIRTUAL_NODES = 4096 };
#define VIRTUAL_BIT (UINT64_C(1) << 62)
#define VIRTUAL_NAME ".mneme"
#define VIRTUAL_WHY "user.mneme.why" /* of an open config: why the last write was refused */

int virtual_new(struct fs *fs);
void virtual_free(struct fs *fs);

static inline int virtual_is(uint64_t ino)
{
	return (ino & VIRTUAL_BIT) != 0;
}

static inline int virtual_is_name(const char *name)
{
	return name[0] == '.' && !strcmp(name, VIRTUAL_NAME);
}

/* The handlers of virtual inodes; they reply. */
void virtual_lookup(struct op *op, uint64_t directory, const char *name);
void virtual_getattr(struct op *op, uint64_t ino);
void virtual_readlink(struct op *op, uint64_t ino);
/* The one change of attributes that there is: cutting an empty `.mneme/query` to nothing when it is
 * opened. */
void virtual_setattr(struct op *op, uint64_t ino, const struct stat *attr, int valid);
void virtual_read(struct op *op, uint64_t ino, size_t size, off_t offset);
void virtual_write(struct op *op, uint64_t ino, const void *data, size_t length, off_t offset);
void virtual_list(struct op *op, uint64_t ino, size_t size, off_t offset, int plus);
/* Saved searches (saved.h): made and removed as directories of `.mneme/search`, with user.mneme.query on
 * them. */
void virtual_mkdir(struct op *op, uint64_t directory, const char *name);
int virtual_rmdir(struct op *op, uint64_t directory, const char *name);
void virtual_getxattr(struct op *op, uint64_t ino, const char *name, size_t size);
void virtual_listxattr(struct op *op, uint64_t ino, size_t size);
/* `value` NULL: removes it. */
int virtual_setxattr(struct op *op, uint64_t ino, const char *name, const void *value,
		     size_t length);
/* What poll(2) gives: of an answer nothing, until it would be another one now, then POLLIN and
 * POLLPRI. Keeps `handle` (NULL: nobody waits) until then. Other scores alone are no other answer:
 * those depend on all texts there are. */
int virtual_poll(struct op *op, uint64_t ino, struct fuse_pollhandle *handle, unsigned *events);
/* Something has changed that answers may follow from: who polls looks again. */
void virtual_changed(struct fs *fs);
/* Before the session goes: nobody is told from now on. */
void virtual_end(struct fs *fs);
void virtual_forget(struct fs *fs, uint64_t ino, uint64_t count);

#endif
