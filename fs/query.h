/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the file `.mneme/query`: a request is written to it, the answer is read behind it.
 * Format:    one request an open: a line (words and options, or a JSON object) that ends with a newline:
 *            the answer is JSON, {"error": why, "errno": N} if there is none; or a struct
 *            mneme_ioc_search with its tail: the answer is such a struct with all results. The
 *            file's bytes are the request, then the answer, so whoever writes and goes on reading
 *            gets the answer, and what the kernel has cached stays true.
 * Invariants: a request is asked with the rights of who writes its last byte. It takes its place once.
 * Threading: one lock in each.
 * Failure:   writes: -EINVAL not behind what was written, or behind the answer; -EFBIG more than
 *            REQUEST_LINE_MAX; -ENOMEM.
 */
#ifndef MNEME_FS_QUERY_H
#define MNEME_FS_QUERY_H

#include "fs/fs.h"

struct query;

struct query *query_new(uint64_t directory); /* NULL: no memory */
void query_free(struct query *q);            /* accepts NULL */
/* 0, and the request is answered when it is complete. */
int query_write(struct op *op, struct query *q, const void *data, size_t length, uint64_t offset);
size_t query_size(struct query *q);
/* Copies up to `size` bytes at `offset`: how many. */
size_t query_read(struct query *q, void *out, size_t size, uint64_t offset);

#endif
