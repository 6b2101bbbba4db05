/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   saved searches of a directory: a name and a query. Each is the attribute
 *            user.mneme.saved.NAME of the directory, the value is the query: so it lasts, is copied
 *            with the directory by what copies attributes, and who may write to the directory may
 *            make it.
 * Threading: any handler thread.
 * Failure:   0 or -errno. -EACCES, -EROFS, -EPERM: the caller may not write to the directory.
 */
#ifndef MNEME_FS_SAVED_H
#define MNEME_FS_SAVED_H

#include "fs/fs.h"

#define SAVED_PREFIX "user.mneme.saved."
#define SAVED_QUERY "user.mneme.query"
enum { SAVED_QUERY_MAX = 4096, SAVED_LIST_MAX = 65536 };

/* The query (SAVED_QUERY_MAX + 1 bytes) called by the first `length` bytes of a name. -ENOENT. */
int saved_get(struct op *op, uint64_t directory, const char *name, size_t length, char *query);
/* A new one without a query. -EEXIST; -EINVAL: a name that ends in .txt or .json. */
int saved_make(struct op *op, uint64_t directory, const char *name);
/* -EINVAL: it is no query. */
int saved_set(struct op *op, uint64_t directory, const char *name, const char *query,
	      size_t length);
int saved_remove(struct op *op, uint64_t directory, const char *name);
/* The names one behind the other, each ended by a zero: *text is of op_temporary(). */
int saved_list(struct op *op, uint64_t directory, char **text, size_t *length);
/* 1: the caller is inside of mkdir(2). The kernel looks a name up before it has it made, and does not say
 * why; but a name that is found, as every question is, cannot be made. */
int saved_is_being_made(struct op *op);

#endif
