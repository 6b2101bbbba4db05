/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   makes snapshots: from all links, or from an older snapshot and what changed since.
 *            A merge keeps the order of the nodes and copies what did not change, so it costs about as
 *            much as copying the snapshot; new nodes come at the end, until they are an eighth of
 *            all, when everything is put in order again.
 * Threading: any thread; the snapshot that is made belongs to the caller alone.
 * Failure:   -ENOMEM, -E2BIG, -EINVAL (a weight above one, an unknown type); then there is no new
 *            snapshot and the old one is as it was.
 */
#ifndef MNEME_CORE_MEMORY_GRAPH_BUILD_H
#define MNEME_CORE_MEMORY_GRAPH_BUILD_H

#include "core/memory/graph.h"

/* A link as its source knows it. */
struct graph_link {
	uint64_t from, to; /* ids */
	uint16_t weight;   /* 1 .. GRAPH_WEIGHT_ONE; 0: there is no such link (any more) */
	uint8_t type;      /* enum graph_type */
};

/* What ranking may want to know of a memory. */
struct graph_memory {
	uint64_t id;
	uint16_t
		confidence; /* GRAPH_WEIGHT_ONE is 1.0, and what a node has that nobody described */
	uint8_t flags;      /* enum graph_flags */
};

/* One change: the state of a link or of a memory from now on. */
struct graph_change {
	union {
		struct graph_link link;
		struct graph_memory memory;
	};
	uint8_t is_memory;
};

/* Are weights and types within their bounds? */
int graph_change_is_sound(const struct graph_change *change);
/* From n changes in the order in which they came (the last one on a thing counts), beginning with
 * nothing. A link from a memory to itself is left out. */
int graph_build(const struct graph_change *changes, size_t n, struct graph **out);
/* The same beginning with `old`. A node without any link stays until the next ordering. */
int graph_merge(const struct graph *old, const struct graph_change *changes, size_t n,
		struct graph **out);

#endif
