/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the graph of memories while it changes: keeps the newest snapshot, takes changes, and
 *            merges them into the next snapshot in the background.
 * Invariants: whoever takes the snapshot gets a whole one: links change between snapshots, never inside
 *            one. No change is lost: when more wait than there is room for, they are dropped, and the
 *            next snapshot is made from the source, which has them. So the source must show a
 *            change before graph_live_change() tells of it.
 *            Staleness: a change is in the snapshot at most `period_ns` and the time of two merges
 *            after it was told (the merge that runs when it comes misses it, the next one has it).
 * Threading: all functions from any thread. Taking a snapshot takes no lock: the pointer is read
 *            inside an epoch (pool/epoch.h), and counted before the epoch is left.
 * Failure:   a merge that fails leaves the snapshot as it was, and the next one reads the source.
 *            `merge_errors` counts it.
 */
#ifndef MNEME_CORE_MEMORY_GRAPH_LIVE_H
#define MNEME_CORE_MEMORY_GRAPH_LIVE_H

#include "core/memory/graph_build.h"

struct bridge;

/* Where all links can be read. Calls take(take_arg, change) for each link and each memory that
 * is not as graph_build.h supposes; stops with what take returns when that is not 0. */
typedef int graph_take(void *take_arg, const struct graph_change *change);
typedef int graph_source(void *arg, graph_take *take, void *take_arg);

struct graph_live_config {
	graph_source *source; /* not NULL */
	void *arg;
	struct bridge
		*bridge; /* merges on it, with low priority; NULL: graph_live_merge() alone does */
	uint64_t period_ns;   /* 0: 500 ms */
	uint32_t changes_max; /* that wait; 0: 65536 */
	int later;            /* 1: begins empty; the first merge reads the source */
};

struct graph_live;

/* Reads the source (but see `later`) and makes the first snapshot. Owned by the caller; the bridge must
 * outlive it. */
int graph_live_new(const struct graph_live_config *config, struct graph_live **out);
/* Stops merging. Snapshots that were taken stay with those who have them. Accepts NULL. */
void graph_live_free(struct graph_live *live);
/* The newest snapshot, to be given back with graph_put(). */
struct graph *graph_live_get(struct graph_live *live);
/* From now on this is so. Cheap; never fails but with -EINVAL. */
int graph_live_change(struct graph_live *live, const struct graph_change *change);
/* Merges now what waits: what was told before is in the snapshot when it returns. */
int graph_live_merge(struct graph_live *live);

/* The next merge reads the source, for changes that were not told. */
void graph_live_rescan(struct graph_live *live);

struct graph_live_stats {
	uint64_t nodes, links, bytes; /* of the newest snapshot */
	uint64_t types[GRAPH_TYPES];  /* its links by type */
	uint64_t generation, waiting, merges, rescans, merge_errors, merge_ns_last;
};
void graph_live_read_stats(struct graph_live *live, struct graph_live_stats *out);

#endif
