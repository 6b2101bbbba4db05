/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   puts the nodes of a graph in order, and says what it looks like; see graph.h.
 */
#include "core/bridge/machine.h"
#include "core/memory/graph_inside.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

void graph_room_advise(void *room, size_t bytes)
{
	uintptr_t begin = ((uintptr_t)room + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
	uintptr_t end = ((uintptr_t)room + bytes) & ~(uintptr_t)(HUGE_PAGE - 1);

	if (begin < end) /* advice: refused, the walk is slower */
		madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

void *graph_room(size_t count, size_t size)
{
	if (count > SIZE_MAX / 2 / size)
		return NULL;
	size_t bytes = count * size;
	if (bytes < HUGE_PAGE)
		return alloc_aligned(64, bytes ? (bytes + 63) & ~(size_t)63 : 64);
	bytes = (bytes + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
	void *room = alloc_aligned(HUGE_PAGE, bytes);
	if (room)
		graph_room_advise(room, bytes);
	return room;
}

int graph_make_index(struct graph *graph)
{
	uint64_t size = 64;

	while (size < (uint64_t)graph->count * 2)
		size *= 2;
	graph->index = graph_room(size, sizeof(*graph->index));
	if (!graph->index)
		return -ENOMEM;
	memset(graph->index, 0, size * sizeof(*graph->index));
	graph->index_mask = size - 1;
	for (uint32_t n = 0; n < graph->count; n++) {
		uint64_t at = graph_hash(graph->nodes[n].id);
		while (graph->index[at & graph->index_mask])
			at++;
		graph->index[at & graph->index_mask] = n + 1;
	}
	return 0;
}

static int is_linked(const struct graph_node *node)
{
	return node->out_count || node->in_count;
}

/* Nodes by the bin of their degree, the best connected first. */
static void order_by_degree(const struct graph *graph, uint32_t *by_degree)
{
	uint32_t begin[GRAPH_DEGREE_BINS + 1] = {0}, at = 0;

	for (uint32_t n = 0; n < graph->count; n++)
		begin[graph_degree_bin(graph->nodes[n].out_count + graph->nodes[n].in_count)]++;
	for (unsigned b = GRAPH_DEGREE_BINS; b-- > 0;) {
		uint32_t count = begin[b];
		begin[b] = at;
		at += count;
	}
	for (uint32_t n = 0; n < graph->count; n++) {
		const struct graph_node *node = &graph->nodes[n];
		by_degree[begin[graph_degree_bin(node->out_count + node->in_count)]++] = n;
	}
}

static void visit(uint32_t node, uint32_t *place, uint32_t *order, uint32_t *end)
{
	if (place[node] != GRAPH_NONE)
		return;
	place[node] = *end;
	order[(*end)++] = node;
}

/* The breadth-first order; place[old] = new or GRAPH_NONE. Returns how many nodes are in it. */
static uint32_t order_find(const struct graph *graph, uint32_t *roots, uint32_t *place,
			   uint32_t *order)
{
	uint32_t begin = 0, end = 0;

	memset(place, 0xff, graph->count * sizeof(*place));
	order_by_degree(graph, roots);
	for (uint32_t root = 0; root < graph->count; root++) {
		if (is_linked(&graph->nodes[roots[root]]))
			visit(roots[root], place, order, &end);
		for (; begin < end; begin++) {
			const struct graph_node *node = &graph->nodes[order[begin]];
			for (uint32_t k = 0; k < node->out_count; k++)
				visit(graph_out(graph, node, k)->to, place, order, &end);
			for (uint32_t k = 0; k < node->in_count; k++)
				visit(graph->in[node->in_begin + k].to, place, order, &end);
		}
	}
	return end;
}

static void copy_links(struct graph *graph, const struct graph *old, const uint32_t *place,
		       const uint32_t *order)
{
	for (uint32_t n = 0; n < graph->count; n++) {
		const struct graph_node *from = &old->nodes[order[n]];
		struct graph_node *node = &graph->nodes[n];

		*node = *from;
		node->out_begin = graph->out_length;
		node->in_begin = graph->links;
		for (uint32_t k = 0; k < node->out_count; k++) {
			struct graph_edge edge = *graph_out(old, from, k);
			edge.to = place[edge.to];
			if (k < GRAPH_NEAR)
				node->near[k] = edge;
			else
				graph->out[graph->out_length++] = edge;
		}
		for (uint32_t k = 0; k < node->in_count; k++) {
			struct graph_edge edge = old->in[from->in_begin + k];
			edge.to = place[edge.to];
			graph->in[graph->links++] = edge;
		}
	}
}

int graph_order(const struct graph *old, struct graph **out)
{
	size_t count = old->count ? old->count : 1;
	uint32_t *scratch = alloc_get(count * 3 * sizeof(*scratch));
	struct graph *graph = graph_new();
	int error = -ENOMEM;

	if (!scratch || !graph)
		goto out;
	uint32_t *place = scratch + count, *order = place + count;
	graph->count = order_find(old, scratch, place, order);
	graph->ordered = graph->count;
	graph->nodes = graph_room(graph->count, sizeof(*graph->nodes));
	graph->out = graph_room(old->out_length, sizeof(*graph->out));
	graph->in = graph_room(old->links, sizeof(*graph->in));
	if (!graph->nodes || !graph->out || !graph->in)
		goto out;
	copy_links(graph, old, place, order);
	error = graph_make_index(graph);
out:
	alloc_free(scratch);
	if (error)
		graph_put(graph);
	else
		*out = graph;
	return error;
}

void graph_describe(struct graph *graph)
{
	const struct machine_facts *machine = machine_facts();
	struct graph_profile *profile = &graph->profile;
	uint64_t line =
		sizeof(struct graph_node) +
		(graph->count ? graph->out_length * sizeof(struct graph_edge) / graph->count : 0);

	memset(profile, 0, sizeof(*profile));
	for (uint32_t n = 0; n < graph->count; n++) {
		struct graph_node *node = &graph->nodes[n];
		unsigned in = graph_degree_bin(node->in_count);
		unsigned out = graph_degree_bin(node->out_count);
		uint64_t before = n * line;

		node->tier = before < machine->l2_bytes / 2   ? GRAPH_HOT
			     : before < machine->l3_bytes / 2 ? GRAPH_WARM
							      : GRAPH_COLD;
		profile->nodes[in][out]++;
		profile->in_nodes[in]++;
		profile->out_nodes[out]++;
		profile->in_sum[in] += node->in_count;
		profile->out_sum[out] += node->out_count;
		profile->target_tier[node->tier] += node->in_count;
		for (uint32_t k = 0; k < node->in_count; k++) {
			const struct graph_edge *edge = &graph->in[node->in_begin + k];
			profile->weight[(edge->weight - 1) * GRAPH_WEIGHT_BINS /
					GRAPH_WEIGHT_ONE]++;
			profile->type[edge->type]++;
		}
	}
	graph->bytes = sizeof(*graph) + (uint64_t)graph->count * sizeof(struct graph_node) +
		       ((uint64_t)graph->out_length + graph->links) * sizeof(struct graph_edge) +
		       (graph->index_mask + 1) * sizeof(*graph->index);
}
