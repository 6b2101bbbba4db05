/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: what the files of the graph share: hashing, the order of links, making room. */
#ifndef MNEME_CORE_MEMORY_GRAPH_INSIDE_H
#define MNEME_CORE_MEMORY_GRAPH_INSIDE_H

#include "core/memory/graph.h"

static inline uint64_t graph_hash(uint64_t id)
{
	id *= 0x9E3779B97F4A7C15u;
	return id ^ id >> 32;
}

/* An empty one with one owner, or NULL. */
struct graph *graph_new(void);
/* The order of the links of one node; < 0: a comes first. */
int graph_edge_compare(const struct graph_node *nodes, const struct graph_edge *a,
		       const struct graph_edge *b);
/* Memory for random access, on huge pages where the system has them. Freed by alloc_free(). */
void *graph_room(size_t count, size_t size);
/* Asks for huge pages where memory that is there already has whole ones. */
void graph_room_advise(void *room, size_t bytes);
/* Fills the index from the nodes' ids. */
int graph_make_index(struct graph *graph);
/* The same graph with its nodes in the order of graph.h and without those that nothing describes. */
int graph_order(const struct graph *graph, struct graph **out);
/* Tiers and profile, from the rest: the last step of making a snapshot. */
void graph_describe(struct graph *graph);

#endif
