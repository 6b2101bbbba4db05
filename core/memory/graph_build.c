/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   makes a snapshot from an older one (or none) and changes; see graph_build.h.
 *
 *   1. The ids that the old snapshot lacks are sorted and get the numbers past its nodes.
 *   2. The changes become entries (from, to, type, sequence, weight) by number; sorted, so that the
 *      last of each link stands alone and those of one node stand together.
 *   3. The links out of each node: copied, or merged with its entries and sorted.
 *   4. The entries are turned (to, from) and the links in are made the same way.
 */
#include "core/memory/graph_build.h"
#include "core/memory/graph_inside.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ORDER_AGAIN_PART = 8 }; /* an eighth of the nodes are new */

struct entry {
	uint32_t at, other; /* the node whose list it changes, the other end */
	uint32_t sequence;
	uint16_t weight;
	uint8_t type;
};

struct merge {
	const struct graph *old;
	struct graph *graph;
	struct entry *entries;
	size_t entries_count;
	struct graph_edge *list; /* the links of one node */
	uint32_t list_capacity;
};

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	if (x->other != y->other)
		return x->other < y->other ? -1 : 1;
	if (x->type != y->type)
		return x->type < y->type ? -1 : 1;
	return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

int graph_change_is_sound(const struct graph_change *change)
{
	if (change->is_memory)
		return change->memory.confidence <= GRAPH_WEIGHT_ONE;
	return change->link.weight <= GRAPH_WEIGHT_ONE && change->link.type < GRAPH_TYPES;
}

/* A removal makes no nodes, nor does a link to itself. */
static int change_names_nodes(const struct graph_change *change)
{
	return change->is_memory || (change->link.weight && change->link.from != change->link.to);
}

static size_t note_new(const struct graph *old, uint64_t id, uint64_t *ids, size_t count)
{
	if (!old || graph_find(old, id) == GRAPH_NONE)
		ids[count++] = id;
	return count;
}

/* Step 1: the nodes of the new snapshot, without links, and its index. */
static int make_nodes(struct merge *merge, const struct graph_change *changes, size_t n)
{
	const struct graph *old = merge->old;
	struct graph *graph = merge->graph;
	uint64_t *ids = alloc_get((2 * n + 1) * sizeof(*ids));
	size_t found = 0, unique = 0, before = old ? old->count : 0;
	int error = -E2BIG;

	if (!ids)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!change_names_nodes(&changes[i]))
			continue;
		if (changes[i].is_memory) {
			found = note_new(old, changes[i].memory.id, ids, found);
			continue;
		}
		found = note_new(old, changes[i].link.from, ids, found);
		found = note_new(old, changes[i].link.to, ids, found);
	}
	qsort(ids, found, sizeof(*ids), compare_ids);
	for (size_t i = 0; i < found; i++)
		if (!i || ids[i] != ids[i - 1])
			ids[unique++] = ids[i];
	if (before + unique >= GRAPH_NONE)
		goto out;
	error = -ENOMEM;
	graph->count = (uint32_t)(before + unique);
	graph->nodes = graph_room(graph->count, sizeof(*graph->nodes));
	if (!graph->nodes)
		goto out;
	if (before)
		memcpy(graph->nodes, old->nodes, before * sizeof(*graph->nodes));
	for (size_t i = 0; i < unique; i++)
		graph->nodes[before + i] =
			(struct graph_node){.id = ids[i], .confidence = GRAPH_WEIGHT_ONE};
	error = graph_make_index(graph);
out:
	alloc_free(ids);
	return error;
}

/* Step 2. What is said about memories is done at once. */
static void make_entries(struct merge *merge, const struct graph_change *changes, size_t n)
{
	struct graph *graph = merge->graph;
	size_t count = 0, unique = 0;

	for (size_t i = 0; i < n; i++) {
		if (changes[i].is_memory) {
			const struct graph_memory *memory = &changes[i].memory;
			struct graph_node *node = &graph->nodes[graph_find(graph, memory->id)];
			node->confidence = memory->confidence;
			node->flags = memory->flags;
			continue;
		}
		const struct graph_link *link = &changes[i].link;
		uint32_t from = graph_find(graph, link->from), to = graph_find(graph, link->to);
		if (from == to || from == GRAPH_NONE || to == GRAPH_NONE)
			continue;
		merge->entries[count++] = (struct entry){.at = from,
							 .other = to,
							 .sequence = (uint32_t)i,
							 .weight = link->weight,
							 .type = link->type};
	}
	struct entry *entries = merge->entries;
	qsort(entries, count, sizeof(*entries), compare_entries);
	for (size_t i = 0; i < count; i++)
		if (i + 1 == count || entries[i].at != entries[i + 1].at ||
		    entries[i].other != entries[i + 1].other ||
		    entries[i].type != entries[i + 1].type)
			entries[unique++] = entries[i];
	merge->entries_count = unique;
}

static int list_room(struct merge *merge, size_t count)
{
	if (count <= merge->list_capacity)
		return 0;
	if (count >= GRAPH_NONE)
		return -E2BIG;
	struct graph_edge *grown = alloc_resize(merge->list, count * 2 * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	merge->list = grown;
	merge->list_capacity = (uint32_t)(count * 2 < GRAPH_NONE ? count * 2 : GRAPH_NONE - 1);
	return 0;
}

static int compare_edges(const void *a, const void *b, void *nodes)
{
	return graph_edge_compare(nodes, a, b);
}

static void list_sort(const struct graph_node *nodes, struct graph_edge *list, uint32_t count)
{
	if (count > 32) {
		qsort_r(list, count, sizeof(*list), compare_edges, (void *)nodes);
		return;
	}
	for (uint32_t i = 1; i < count; i++) {
		struct graph_edge edge = list[i];
		uint32_t k = i;
		for (; k && graph_edge_compare(nodes, &edge, &list[k - 1]) < 0; k--)
			list[k] = list[k - 1];
		list[k] = edge;
	}
}

static int entry_overrides(const struct entry *entries, size_t n, const struct graph_edge *edge)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct entry *entry = &entries[middle];
		if (entry->other == edge->to && entry->type == edge->type)
			return 1;
		if (entry->other < edge->to ||
		    (entry->other == edge->to && entry->type < edge->type))
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

/* The new links of a node, from its old ones and its entries, into merge->list. */
static uint32_t list_merge(struct merge *merge, uint32_t old_count, const struct entry *entries,
			   size_t n)
{
	uint32_t count = 0;

	for (uint32_t k = 0; k < old_count; k++)
		if (!entry_overrides(entries, n, &merge->list[k]))
			merge->list[count++] = merge->list[k];
	for (size_t i = 0; i < n; i++)
		if (entries[i].weight)
			merge->list[count++] = (struct graph_edge){.to = entries[i].other,
								   .weight = entries[i].weight,
								   .type = entries[i].type};
	list_sort(merge->graph->nodes, merge->list, count);
	return count;
}

/* The old links of node n, in or out, into merge->list, with room for `more`. */
static int list_load(struct merge *merge, uint32_t n, int in, size_t more, uint32_t *count)
{
	const struct graph *old = merge->old;

	*count = 0;
	if (!old || n >= old->count)
		return list_room(merge, more);
	const struct graph_node *node = &old->nodes[n];
	uint32_t length = in ? node->in_count : node->out_count;
	int error = list_room(merge, length + more);
	if (error)
		return error;
	for (uint32_t k = 0; k < length; k++)
		merge->list[k] = in ? old->in[node->in_begin + k] : *graph_out(old, node, k);
	*count = length;
	return 0;
}

static void list_store(struct graph *graph, uint32_t n, int in, const struct graph_edge *list,
		       uint32_t count)
{
	struct graph_node *node = &graph->nodes[n];
	uint32_t near = count < GRAPH_NEAR ? count : GRAPH_NEAR;

	if (in) {
		node->in_begin = graph->links;
		node->in_count = count;
		memcpy(graph->in + graph->links, list, count * sizeof(*list));
		graph->links += count;
		return;
	}
	node->out_begin = graph->out_length;
	node->out_count = count;
	memset(node->near, 0, sizeof(node->near));
	memcpy(node->near, list, near * sizeof(*list));
	memcpy(graph->out + graph->out_length, list + near, (count - near) * sizeof(*list));
	graph->out_length += count - near;
}

/* Steps 3 and 4. */
static int make_lists(struct merge *merge, int in)
{
	size_t low = 0, n = merge->entries_count;

	for (uint32_t node = 0; node < merge->graph->count; node++) {
		size_t high = low;
		uint32_t count;

		while (high < n && merge->entries[high].at == node)
			high++;
		int error = list_load(merge, node, in, high - low, &count);
		if (error)
			return error;
		if (high > low)
			count = list_merge(merge, count, merge->entries + low, high - low);
		list_store(merge->graph, node, in, merge->list, count);
		low = high;
	}
	return 0;
}

static void entries_turn(struct merge *merge)
{
	for (size_t i = 0; i < merge->entries_count; i++) {
		struct entry *entry = &merge->entries[i];
		uint32_t at = entry->at;
		entry->at = entry->other;
		entry->other = at;
	}
	qsort(merge->entries, merge->entries_count, sizeof(*merge->entries), compare_entries);
}

static int merge_run(struct merge *merge, const struct graph_change *changes, size_t n)
{
	struct graph *graph = merge->graph;
	uint64_t links = (merge->old ? merge->old->links : 0) + (uint64_t)n;
	uint64_t rest = (merge->old ? merge->old->out_length : 0) + (uint64_t)n;

	if (links >= GRAPH_NONE / 2)
		return -E2BIG;
	int error = make_nodes(merge, changes, n);
	if (error)
		return error;
	merge->entries = alloc_get((n ? n : 1) * sizeof(*merge->entries));
	graph->out = graph_room(rest, sizeof(*graph->out));
	graph->in = graph_room(links, sizeof(*graph->in));
	if (!merge->entries || !graph->out || !graph->in)
		return -ENOMEM;
	make_entries(merge, changes, n);
	error = list_room(merge, GRAPH_NEAR); /* so there is a list, also one of no links */
	if (!error)
		error = make_lists(merge, 0);
	if (error)
		return error;
	entries_turn(merge);
	return make_lists(merge, 1);
}

int graph_merge(const struct graph *old, const struct graph_change *changes, size_t n,
		struct graph **out)
{
	struct merge merge = {.old = old, .graph = graph_new()};
	int error = merge.graph ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && !error; i++)
		if (!graph_change_is_sound(&changes[i]))
			error = -EINVAL;
	if (error)
		goto out;
	error = merge_run(&merge, changes, n);
	if (error)
		goto out;
	merge.graph->ordered = old ? old->ordered : 0;
	if (merge.graph->count - merge.graph->ordered > merge.graph->count / ORDER_AGAIN_PART) {
		struct graph *ordered;
		error = graph_order(merge.graph, &ordered);
		if (error)
			goto out;
		graph_put(merge.graph);
		merge.graph = ordered;
	}
	graph_describe(merge.graph);
	merge.graph->generation = old ? old->generation + 1 : 1;
	*out = merge.graph;
	merge.graph = NULL;
out:
	alloc_free(merge.entries);
	alloc_free(merge.list);
	graph_put(merge.graph);
	return error;
}

int graph_build(const struct graph_change *changes, size_t n, struct graph **out)
{
	return graph_merge(NULL, changes, n, out);
}
