/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what else some memories bring to mind: keeps the graph of the links of a store in line with
 *            the tree, and spreads activation over it (spread.h) with the rights of the caller.
 *
 *   The links are those of core/links.h, by what they say: explicit, wiki, markdown, symbolic. Of several
 *   of one kind between the same two files the strongest counts. Names that ln(1) makes are one
 *   memory: a link to or from any of them is its link, without a hop between them.
 *   Whoever has changed the links of a file tells recall_touch() after the commit. What the file says
 *   by then is read from the tree when the next snapshot is made, so the order in which changes are
 *   told does not matter.
 *
 * Invariants: Staleness: a change of links is in the answers that are asked for after
 *            RECALL_STALE_MS and the time of two merges; in a graph of up to RECALL_FRESH nodes and
 *            links, in those that are asked for after it was committed.
 *            The graph is built in the background when a store is opened; who asks before it is there
 *            waits for it.
 *            What the caller could not read by some name, or is opted out of search, does not exist for
 *            the run: it is no result, on no path, and takes no place from others.
 * Memory:    the graph (some 100 bytes a memory and 16 a link); RECALL_RUNS runs, reserved by the first
 *            that come. A run more is -EAGAIN. A run allocates nothing once warm.
 * Threading: all functions from any thread that holds no lock of the engine. A run is a task of the
 *            store's bridge with high priority, because a spread wants more stack than a handler has.
 * Failure:   -errno; -EAGAIN: too many runs; -ENOMEM.
 */
#ifndef MNEME_CORE_MEMORY_RECALL_H
#define MNEME_CORE_MEMORY_RECALL_H

#include "core/memory/graph_live.h"
#include "core/memory/memory.h"
#include "core/memory/spread.h"
#include "pool/histogram.h"

enum {
	RECALL_RUNS = 4,
	RECALL_SEEDS_MAX = 64,
	RECALL_RESULTS_MAX = MEMORY_RESULTS_MAX,
	RECALL_NODES = 4096, /* budget where nothing is said */
	RECALL_NODES_MAX = 32768,
	RECALL_STALE_MS = 200,
	RECALL_FRESH = 65536,
	RECALL_WHY = 200, /* bytes of a sentence */
};

/* recall_request.h makes one from what a caller wrote. */
struct recall_query {
	struct spread_seed from[RECALL_SEEDS_MAX];
	uint32_t count;
	/* Its `limit` is of results, its deadline_ns from the start of the run. `allow` is ours. */
	struct spread_params spread;
	uint64_t scope;      /* directory inode: what is listed lies below it */
	int without_paths;   /* 1: results are inodes only */
	memory_allow *allow; /* NULL: everything */
	void *allow_arg;
};

struct recall_result {
	uint64_t inode;
	float activation;
	float confidence; /* user.mneme.confidence, 0 .. 1 */
	uint32_t hops;
	int is_pinned;
	const char *path; /* from the scope */
	/* The strongest path that led here, from a seed on: via_count names, each ended by a zero
	 * byte; from the scope, or with a / in front from the root of the mount. */
	const char *via;
	uint32_t via_count;
};

struct recall_answer {
	uint32_t count;
	uint32_t left_out;           /* found, but their paths do not fit the memory of a run */
	struct spread_report report; /* count, active: with what is below the scope alone */
	const struct recall_result *results; /* strongest first */
};

/* What a query has where nothing is said: spread_defaults(), but both directions, RECALL_NODES,
 * 20 results. */
void recall_defaults(struct recall_query *q);
/* *out is the run's memory, until recall_end(). -EINVAL: a parameter is out of its bounds. */
int recall_ask(struct memory *mem, const struct recall_query *q, const struct recall_answer **out);
void recall_end(struct memory *mem, const struct recall_answer *answer);
/* The links of this file, or the file, may have changed: the graph follows. Cheap. */
void recall_touch(struct memory *mem, uint64_t inode);

struct recall_stats {
	struct graph_live_stats graph;
	struct spreader_stats spreader; /* all 0 before the first run */
	uint64_t refused;               /* for want of a run */
	uint32_t busy;                  /* runs under way */
};
void recall_read_stats(struct memory *mem, struct recall_stats *out);
/* How far off predictions were; NULL before the first run. Valid as long as `mem`. */
const struct spreader_off *recall_off(const struct memory *mem);
/* How long runs took, from being asked for to the answer, in ns. Valid as long as `mem`. */
const struct histogram *recall_latency(const struct memory *mem);

/* Starts to build, on the store's bridge; and ends it. No run is under way. */
int recall_start(struct memory *mem);
void recall_stop(struct memory *mem);

#endif
