/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the caller's recalls on the mount: asks core/memory/recall.h with the caller's permissions.
 * Invariants: what the caller could not read by path is in no answer, and leads nowhere (permission.h).
 * Threading: any handler thread. It waits for a worker of the store's bridge.
 * Failure:   -EOPNOTSUPP: the mount has no memories (-o memory=off); -EAGAIN: too many at once.
 */
#ifndef MNEME_FS_RECALL_H
#define MNEME_FS_RECALL_H

#include "core/memory/recall_request.h"
#include "fs/fs.h"

/* A query with its defaults, in memory of the request; NULL without any. */
struct recall_query *recall_door_query(uint32_t limit);
/* Adds the file that `path` leads to from `directory`. -EACCES: the caller may not read it; -EISDIR.
 * Changes `path`. */
int recall_door_from(struct op *op, uint64_t directory, char *path, struct recall_query *q);
/* Adds what a JSON request says. After -EINVAL `why` (RECALL_WHY bytes) has a sentence. */
int recall_door_parse(struct op *op, uint64_t directory, const char *line, size_t length,
		      struct recall_query *q, char *why);
/* What lies below `directory` of what comes to mind. The caller ends it with recall_end(). */
int recall_door_ask(struct op *op, uint64_t directory, struct recall_query *q,
		    const struct recall_answer **out);

#endif
