/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a wish to recall, as `.mneme/query`, libmneme and the ioctl take it: the one place where its
 *            parameters are understood, and what the answer looks like.
 * Format:    a JSON object:
 *              "recall"     path of a file from the directory, or an array of up to RECALL_SEEDS_MAX
 *                           ("recall_hex": the bytes of a path that is no UTF-8, as digits)
 *              "decay"      lost at each link: 0 to 1 (0.3)
 *              "threshold"  least activation that goes on and is listed: above 0, up to 1 (0.01)
 *              "hops"       1 to SPREAD_HOPS_MAX (5)
 *              "fan_out"    strongest links of a memory that are followed, each way; 0: all (64)
 *              "nodes"      memories that may be reached: up to RECALL_NODES_MAX (RECALL_NODES)
 *              "deadline_ms"  0: none; up to a minute (0)
 *              "direction"  "out", "in", "both" ("both")
 *              "kinds"      of links: "explicit", "wiki", "markdown", "symlink", one or an array (all)
 *              "limit"      results: 1 to RECALL_RESULTS_MAX (the door's)
 *            Of n files each begins with 1/n: the attention there is, shared out (ACT-R, Anderson 1983).
 * Threading: plain data.
 * Failure:   -EINVAL with a sentence in `why` (RECALL_WHY bytes, else ""); -ENOMEM; what `find` gives.
 */
#ifndef MNEME_CORE_MEMORY_RECALL_REQUEST_H
#define MNEME_CORE_MEMORY_RECALL_REQUEST_H

#include "core/memory/recall.h"

/* The file that a path from the directory leads to, which the caller may read. May change `path`. */
typedef int recall_find(void *arg, char *path, uint64_t *inode);

/* 1: it is a JSON object that has "recall" or "recall_hex". */
int recall_request_is(const char *line, size_t length);
/* Fills in a query that has its defaults. */
int recall_request_parse(const char *line, size_t length, recall_find *find, void *arg,
			 struct recall_query *q, char *why);
/* Another file to begin with; the same one again counts once. -E2BIG: RECALL_SEEDS_MAX. */
int recall_request_from(struct recall_query *q, uint64_t inode);
/* Sets a parameter by its name above; not "direction" and "kinds". */
int recall_request_number(struct recall_query *q, const char *name, double value, char *why);

/* activation, path, hops and what led there ("a.md > b.md"); tabs between; a line a result. */
int recall_write_text(const struct recall_answer *answer, char **text, size_t *length);
/* {"narrowed": false, ..., "results": [{"path": ..., "activation": ..., "hops": ..., "via": [...]}]} */
int recall_write_json(const struct recall_answer *answer, char **text, size_t *length);
/* As answer_write_links(). */
int recall_write_links(const struct recall_answer *answer, char **text, size_t *length);
/* Of the paths, what led to them and their order: the same while the answer is. */
uint64_t recall_digest(const struct recall_answer *answer);

#endif
