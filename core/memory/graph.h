/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a snapshot of the graph of memories, laid out for walking: compact adjacency (CSR) with
 *            the strongest links of a node inside the node's own cache line.
 *
 *   nodes[n]   64 bytes each:  id | out count, begin | in count, begin | attributes | near[4]
 *   out[]      links past the first GRAPH_NEAR of each node, at nodes[n].out_begin
 *   in[]       all links that end at a node, at nodes[n].in_begin; `to` is where they come from
 *   index[]    open addressing, id -> n
 *
 *   A walk that fires a node reads one line, and a second one only for its fifth link on. What
 *   depends on a walk (activation, hops) is not here but in the walk's records (spread.h): a
 *   snapshot never changes, so any number of walks share it. Names, texts and counts stay in the
 *   tree, under the id.
 *   Nodes are in the order of a breadth-first walk that begins at the best connected one, so what
 *   a node points at lies close together and what is visited most lies in the first pages.
 *
 * Invariants: links of a node are ordered by weight, strongest first, then by the other end's id, then
 *            by type; from, to and type together are unique; weight is 1 .. GRAPH_WEIGHT_ONE. What a
 *            walk finds depends on the links alone, not on the order of the nodes.
 * Threading: immutable once made. graph_get() and graph_put() from any thread.
 * Failure:   -ENOMEM; -E2BIG past 2^32 - 2 nodes or 2^31 - 1 links.
 */
#ifndef MNEME_CORE_MEMORY_GRAPH_H
#define MNEME_CORE_MEMORY_GRAPH_H

#include "pool/epoch.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GRAPH_NEAR = 4,
	GRAPH_WEIGHT_ONE = 1 << 15, /* the weight 1.0 */
	GRAPH_DEGREE_BINS = 33,     /* 0, 1, 2..3, 4..7, ... */
	GRAPH_WEIGHT_BINS = 16,
};
#define GRAPH_NONE UINT32_MAX

enum graph_type {
	GRAPH_EXPLICIT,  /* user.mneme.link.NAME, mneme link */
	GRAPH_WIKI,      /* [[name]] in a text */
	GRAPH_MARKDOWN,  /* [text](path) in a text */
	GRAPH_SYMLINK,   /* ln -s; names that ln makes are one memory, and need no link */
	GRAPH_NEIGHBOUR, /* near by meaning */
	GRAPH_COACCESS,  /* used together */
	GRAPH_TYPES,
};

/* Which cache the node's place in the order would fit into. */
enum graph_tier { GRAPH_HOT, GRAPH_WARM, GRAPH_COLD, GRAPH_TIERS };

/* What is known of a memory besides. */
enum graph_flags { GRAPH_PINNED = 1 };

struct graph_edge {
	uint32_t to;     /* node */
	uint16_t weight; /* 1 .. GRAPH_WEIGHT_ONE */
	uint8_t type;    /* enum graph_type */
	uint8_t zero;
};
static_assert(sizeof(struct graph_edge) == 8, "eight links a cache line");

struct graph_node {
	uint64_t id;
	uint32_t out_count, out_begin; /* all links out; where those past near[] are in out[] */
	uint32_t in_count, in_begin;
	uint16_t confidence; /* GRAPH_WEIGHT_ONE is 1.0; carried, as are the flags */
	uint8_t tier;        /* enum graph_tier */
	uint8_t flags;       /* enum graph_flags */
	uint32_t zero;
	struct graph_edge near[GRAPH_NEAR];
};
static_assert(sizeof(struct graph_node) == 64, "a node is one cache line");

/* What the graph looks like on the whole, for estimating a walk before it is made. */
struct graph_profile {
	uint32_t nodes[GRAPH_DEGREE_BINS][GRAPH_DEGREE_BINS]; /* by bin of in-, of out-degree */
	uint64_t in_sum[GRAPH_DEGREE_BINS];                   /* of the in-degrees in a bin */
	uint64_t out_sum[GRAPH_DEGREE_BINS];
	uint32_t in_nodes[GRAPH_DEGREE_BINS], out_nodes[GRAPH_DEGREE_BINS];
	uint64_t weight[GRAPH_WEIGHT_BINS]; /* links by weight */
	uint64_t type[GRAPH_TYPES];         /* links by type */
	uint64_t target_tier[GRAPH_TIERS];  /* links by the tier of their end */
};

struct graph {
	struct graph_node *nodes;
	struct graph_edge *out, *in;
	uint32_t *index; /* node + 1, or 0 */
	uint64_t index_mask;
	uint32_t count;      /* nodes */
	uint32_t out_length; /* entries of out[] */
	uint32_t links;      /* entries of in[]: all links */
	uint32_t ordered;    /* nodes that were there when they were put in order */
	uint64_t bytes;      /* resident when all is touched */
	uint64_t generation; /* grows by one with each snapshot of a live graph */
	struct graph_profile profile;
	_Atomic uint32_t references; /* [A] */
	struct epoch_node retired;
};

static inline const struct graph_edge *graph_out(const struct graph *graph,
						 const struct graph_node *node, uint32_t k)
{
	return k < GRAPH_NEAR ? &node->near[k] : &graph->out[node->out_begin + k - GRAPH_NEAR];
}

/* The node of this id, or GRAPH_NONE. */
uint32_t graph_find(const struct graph *graph, uint64_t id);
/* One more owner; the last graph_put() frees it. put accepts NULL. */
struct graph *graph_get(struct graph *graph);
void graph_put(struct graph *graph);
/* 0, or -EUCLEAN when an invariant above does not hold. -ENOMEM. */
int graph_validate(const struct graph *graph);

static inline unsigned graph_degree_bin(uint32_t degree)
{
	return degree ? 32 - (unsigned)__builtin_clz(degree) : 0;
}

#endif
