/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   looking up, owning and checking a snapshot; see graph.h.
 */
#include "core/memory/graph_inside.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <string.h>

uint32_t graph_find(const struct graph *graph, uint64_t id)
{
	if (!graph->index)
		return GRAPH_NONE;
	for (uint64_t at = graph_hash(id);; at++) {
		uint32_t slot = graph->index[at & graph->index_mask];

		if (!slot)
			return GRAPH_NONE;
		if (graph->nodes[slot - 1].id == id)
			return slot - 1;
	}
}

struct graph *graph_new(void)
{
	struct graph *graph = alloc_zeroed(1, sizeof(*graph));

	if (graph)
		atomic_store_explicit(&graph->references, 1, memory_order_relaxed);
	return graph;
}

struct graph *graph_get(struct graph *graph)
{
	/* relaxed: whoever calls it has an owner that keeps the snapshot alive */
	atomic_fetch_add_explicit(&graph->references, 1, memory_order_relaxed);
	return graph;
}

void graph_put(struct graph *graph)
{
	/* acq_rel: all uses by other owners come before the memory goes */
	if (!graph || atomic_fetch_sub_explicit(&graph->references, 1, memory_order_acq_rel) != 1)
		return;
	alloc_free(graph->nodes);
	alloc_free(graph->out);
	alloc_free(graph->in);
	alloc_free(graph->index);
	alloc_free(graph);
}

int graph_edge_compare(const struct graph_node *nodes, const struct graph_edge *a,
		       const struct graph_edge *b)
{
	if (a->weight != b->weight)
		return a->weight > b->weight ? -1 : 1;
	if (a->to != b->to)
		return nodes[a->to].id < nodes[b->to].id ? -1 : 1;
	return (a->type > b->type) - (a->type < b->type);
}

static int edge_is_sound(const struct graph *graph, const struct graph_edge *edge)
{
	return edge->to < graph->count && edge->weight && edge->weight <= GRAPH_WEIGHT_ONE &&
	       edge->type < GRAPH_TYPES && !edge->zero;
}

/* Is there a link from `from` to `edge->to` of the same weight and type? */
static int twin_exists(const struct graph *graph, uint32_t from, const struct graph_edge *edge)
{
	const struct graph_node *to = &graph->nodes[edge->to];

	for (uint32_t k = 0; k < to->in_count; k++) {
		const struct graph_edge *in = &graph->in[to->in_begin + k];
		if (in->to == from && in->type == edge->type && in->weight == edge->weight)
			return 1;
	}
	return 0;
}

static int node_validate(const struct graph *graph, uint32_t n)
{
	const struct graph_node *node = &graph->nodes[n];
	uint32_t rest = node->out_count > GRAPH_NEAR ? node->out_count - GRAPH_NEAR : 0;

	if (graph_find(graph, node->id) != n || node->tier >= GRAPH_TIERS ||
	    (uint64_t)node->out_begin + rest > graph->out_length ||
	    (uint64_t)node->in_begin + node->in_count > graph->links)
		return -EUCLEAN;
	for (uint32_t k = 0; k < node->out_count; k++) {
		const struct graph_edge *edge = graph_out(graph, node, k);
		if (!edge_is_sound(graph, edge) || edge->to == n || !twin_exists(graph, n, edge) ||
		    (k &&
		     graph_edge_compare(graph->nodes, graph_out(graph, node, k - 1), edge) >= 0))
			return -EUCLEAN;
	}
	for (uint32_t k = 0; k < node->in_count; k++) {
		const struct graph_edge *edge = &graph->in[node->in_begin + k];
		if (!edge_is_sound(graph, edge) ||
		    (k && graph_edge_compare(graph->nodes, edge - 1, edge) >= 0))
			return -EUCLEAN;
	}
	return 0;
}

int graph_validate(const struct graph *graph)
{
	uint64_t out = 0, in = 0;

	for (uint32_t n = 0; n < graph->count; n++) {
		int error = node_validate(graph, n);
		if (error)
			return error;
		out += graph->nodes[n].out_count;
		in += graph->nodes[n].in_count;
	}
	/* each link out has its twin, and there are as many links in: so the two sets are one */
	return out == in && in == graph->links ? 0 : -EUCLEAN;
}
