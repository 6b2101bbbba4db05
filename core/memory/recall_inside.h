/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: what recall.c (runs) and recall_graph.c (the graph of the store) share. */
#ifndef MNEME_CORE_MEMORY_RECALL_INSIDE_H
#define MNEME_CORE_MEMORY_RECALL_INSIDE_H

#include "core/memory/memory_inside.h"
#include "core/memory/recall.h"

/* Room for one run; kept for the next one. All of its owner's, but for what is tagged. */
struct recall_run {
	struct bridge_task task; /* first member */
	struct recall *recall;   /* [I] */
	const struct recall_query *query;
	uint64_t begin_ns;
	struct spread_hit *hits;       /* RECALL_RESULTS_MAX */
	struct recall_result *results; /* as many */
	size_t (*offsets)[2];          /* as many: path and via of a result in names */
	char *names;
	size_t names_size, names_used;
	char path[1 + MEMORY_PATH_MAX];
	uint64_t used[RECALL_SEEDS_MAX + USE_BEST];
	struct recall_answer answer;
	int status, done; /* [lock] */
	int is_busy;      /* [lock] it has an owner */
};

struct recall {
	struct memory *mem;            /* [I] */
	struct bridge *bridge;         /* [I] */
	struct graph_live *live;       /* [I] */
	struct bridge_periodic *alarm; /* [I] */
	_Atomic uint64_t armed_ms;     /* [A] as in memory_work.c */
	struct pending touched;        /* whose links are to be read again */
	_Atomic int lost;              /* [A] some are not in `touched`: there was no room */

	pthread_mutex_t merging; /* one at a time; before `lock` */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	int is_built, build_error; /* [lock] */
	struct spreader *spreader; /* [lock] NULL: not made yet; then it stays */
	struct recall_run runs[RECALL_RUNS];
	uint64_t refused; /* [lock] */
	struct histogram latency;
};

/* Waits until the graph has been built. Its error, if that failed last time. */
int recall_wait(struct recall *recall);
/* Merges what waits, if the graph is small. */
int recall_freshen(struct recall *recall);
int recall_make_spreader(struct recall *recall);

#endif
