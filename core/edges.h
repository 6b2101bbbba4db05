/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   links between files that nobody has written: used together, near by meaning. Records as
 *            core/names.h has them: one of the link at the file that it comes from, one without a value
 *            at the file that it leads to.
 * Invariants: both records change in one transaction, which finds a name of both files; at most
 *            EDGES_MAX of a kind lead out of a file.
 * Threading: transactions as in core/mneme.h.
 * Failure:   0 or -errno; -ENOENT: one of the files has no name.
 */
#ifndef MNEME_CORE_EDGES_H
#define MNEME_CORE_EDGES_H

#include "core/names.h"

enum { EDGES_MAX = 16 };

struct edge {
	uint64_t to;
	uint32_t count;
	uint16_t weight;
	uint8_t kind; /* enum names_edge_kind */
};

/* Those that lead out of a file, of all kinds. */
struct edges {
	struct edge list[EDGES_MAX * (NAMES_EDGE_KINDS - 1)];
	uint32_t count;
};

int edges_load(struct mneme *m, uint64_t from, struct edges *out);
/* Used together `times` times more: the weight goes that often a tenth of the way to 1. A new one takes
 * the place of the weakest where there are EDGES_MAX. */
int edges_strengthen(struct mneme *m, uint64_t from, uint64_t to, uint32_t times);
/* These are the file's links of that kind from now on. 1: some are others than before. */
int edges_set(struct mneme *m, uint64_t from, enum names_edge_kind kind, const struct edge *list,
	      uint32_t count);
/* Removes all from and to a file, telling which files are at the other ends. */
typedef void edges_each(void *arg, uint64_t other);
int edges_forget(struct mneme *m, uint64_t inode, edges_each *each, void *arg);
/* The files that some lead out of, in any order, some more than once. */
int edges_sources(struct mneme *m, edges_each *each, void *arg);
/* 1: there are some from or to it (or -errno). Inside of a transaction that holds its shard. */
int edges_any(struct mneme_txn *txn, uint32_t shards, uint64_t inode);

#endif
