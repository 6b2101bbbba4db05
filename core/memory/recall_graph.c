/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   recall.h: the graph of a store's links, from the tree and in line with it.
 * Invariants: a file is in `touched` from before its change may be seen by who asks, until a merge has
 *            taken it out and read its links from the tree: nothing is told of a change but whose it
 *            is. What a merge could not do is done by reading all links again.
 * Threading: `merging` for a whole merge.
 */
#include "core/edges.h"
#include "core/memory/recall_inside.h"
#include "core/store/background.h"
#include "pool/alloc.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 30000 };

_Static_assert((int)NAMES_WEIGHT_ONE == (int)GRAPH_WEIGHT_ONE, "weights");
static const uint8_t types[NAMES_LINK_KINDS] = {
	[NAMES_LINK_EXPLICIT] = GRAPH_EXPLICIT,
	[NAMES_LINK_WIKI] = GRAPH_WIKI,
	[NAMES_LINK_MARKDOWN] = GRAPH_MARKDOWN,
	[NAMES_LINK_SYMLINK] = GRAPH_SYMLINK,
};

static uint64_t now_ms(void)
{
	return bridge_now_ns() / 1000000;
}

/* ---- the links of a file ---- */

static int is_link(const struct link *link)
{
	return link->to && link->kind > 0 && link->kind < NAMES_LINK_KINDS && link->weight &&
	       link->weight <= NAMES_WEIGHT_ONE;
}

static const uint8_t edge_types[NAMES_EDGE_KINDS] = {
	[NAMES_EDGE_NEIGHBOUR] = GRAPH_NEIGHBOUR, [NAMES_EDGE_COACCESS] = GRAPH_COACCESS};

/* By target and kind, the strongest last: the graph believes the last one. */
static int compare_links(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	if (x->to != y->to)
		return x->to < y->to ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return (x->weight > y->weight) - (x->weight < y->weight);
}

static int file_load(struct recall *recall, uint64_t from, struct links *out)
{
	int rc = links_load(recall->mem->engine, from, out);

	if (rc == 0 && out->count)
		qsort(out->list, out->count, sizeof out->list[0], compare_links);
	return rc;
}

static int edges_tell(uint64_t from, const struct edges *edges, graph_take *take, void *arg)
{
	int rc = 0;

	for (uint32_t i = 0; i < edges->count && rc == 0; i++) {
		const struct edge *e = &edges->list[i];
		struct graph_change change = {.link = {.from = from,
						       .to = e->to,
						       .weight = e->weight,
						       .type = edge_types[e->kind]}};
		if (e->weight && e->weight <= NAMES_WEIGHT_ONE)
			rc = take(arg, &change);
	}
	return rc;
}

static int has_edge(const struct edges *edges, uint64_t to, uint8_t type)
{
	for (uint32_t i = 0; i < edges->count; i++)
		if (edges->list[i].to == to && edge_types[edges->list[i].kind] == type)
			return 1;
	return 0;
}

static int file_tell(uint64_t from, const struct links *links, graph_take *take, void *arg)
{
	int rc = 0;

	for (uint32_t i = 0; i < links->count && rc == 0; i++) {
		const struct link *link = &links->list[i];
		if (!is_link(link))
			continue;
		struct graph_change change = {.link = {.from = from,
						       .to = link->to,
						       .weight = link->weight,
						       .type = types[link->kind]}};
		rc = take(arg, &change);
	}
	return rc;
}

static int has_link(const struct links *links, uint64_t to, uint8_t type)
{
	for (uint32_t i = 0; i < links->count; i++)
		if (links->list[i].to == to && is_link(&links->list[i]) &&
		    types[links->list[i].kind] == type)
			return 1;
	return 0;
}

/* What is known of a memory besides its links, where it is not what the graph has. */
static int node_tell(struct recall *recall, const struct graph *old, uint64_t inode,
		     graph_take *take, void *arg)
{
	uint32_t n = old ? graph_find(old, inode) : GRAPH_NONE;
	uint16_t confidence = n == GRAPH_NONE ? GRAPH_WEIGHT_ONE : old->nodes[n].confidence;
	uint8_t flags = n == GRAPH_NONE ? 0 : old->nodes[n].flags;
	struct graph_change change = {.is_memory = 1, .memory = {.id = inode}};
	double value;
	int pinned;

	use_describe(recall->mem, inode, &value, &pinned);
	change.memory.confidence = (uint16_t)lrint(value * GRAPH_WEIGHT_ONE);
	change.memory.flags = pinned ? GRAPH_PINNED : 0;
	if (change.memory.confidence == confidence && change.memory.flags == flags)
		return 0;
	return take(arg, &change);
}

static int live_take(void *arg, const struct graph_change *change)
{
	return graph_live_change(arg, change);
}

/* Of a file that has changed, and of what it leads to that comes into the graph by that. */
static int nodes_tell(struct recall *recall, const struct graph *old, uint64_t from,
		      const struct links *links, const struct edges *edges)
{
	int is_there = graph_find(old, from) != GRAPH_NONE || links->count || edges->count;
	int rc = is_there ? node_tell(recall, old, from, live_take, recall->live) : 0;

	for (uint32_t i = 0; i < links->count && rc == 0; i++)
		if (links->list[i].to && graph_find(old, links->list[i].to) == GRAPH_NONE)
			rc = node_tell(recall, old, links->list[i].to, live_take, recall->live);
	for (uint32_t i = 0; i < edges->count && rc == 0; i++)
		if (graph_find(old, edges->list[i].to) == GRAPH_NONE)
			rc = node_tell(recall, old, edges->list[i].to, live_take, recall->live);
	return rc;
}

/* What the file says now, and that what it does not say any more is gone. */
static int file_merge(struct recall *recall, const struct graph *old, uint64_t from)
{
	struct links links = {0};
	uint32_t n = graph_find(old, from);
	struct edges edges = {.count = 0};
	int rc = file_load(recall, from, &links);

	if (rc == 0)
		rc = edges_load(recall->mem->engine, from, &edges);

	for (uint32_t k = 0; rc == 0 && n != GRAPH_NONE && k < old->nodes[n].out_count; k++) {
		const struct graph_edge *edge = graph_out(old, &old->nodes[n], k);
		struct graph_change change = {
			.link = {.from = from, .to = old->nodes[edge->to].id, .type = edge->type}};
		if (!has_link(&links, change.link.to, edge->type) &&
		    !has_edge(&edges, change.link.to, edge->type))
			rc = graph_live_change(recall->live, &change);
	}
	if (rc == 0)
		rc = file_tell(from, &links, live_take, recall->live);
	if (rc == 0)
		rc = edges_tell(from, &edges, live_take, recall->live);
	if (rc == 0)
		rc = nodes_tell(recall, old, from, &links, &edges);
	links_fini(&links);
	return rc;
}

/* ---- all of them ---- */

struct files {
	uint64_t *list;
	size_t count, capacity;
	int rc;
};

static void file_note(void *arg, uint64_t from)
{
	struct files *files = arg;

	if (files->count == files->capacity) {
		size_t capacity = files->capacity ? 2 * files->capacity : 1024;
		uint64_t *more = alloc_resize(files->list, capacity * sizeof *more);
		if (!more) {
			files->rc = -ENOMEM;
			return;
		}
		files->list = more;
		files->capacity = capacity;
	}
	files->list[files->count++] = from;
}

static int compare_files(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void files_sort(struct files *files)
{
	size_t kept = 0;

	if (files->count)
		qsort(files->list, files->count, sizeof files->list[0], compare_files);
	for (size_t i = 0; i < files->count; i++)
		if (!i || files->list[i] != files->list[i - 1])
			files->list[kept++] = files->list[i];
	files->count = kept;
}

/* Hands links on, and notes what is at their ends. */
struct ends {
	graph_take *take;
	void *arg;
	struct files files;
};

static int ends_take(void *arg, const struct graph_change *change)
{
	struct ends *ends = arg;

	file_note(&ends->files, change->link.from);
	file_note(&ends->files, change->link.to);
	return ends->files.rc ? ends->files.rc : ends->take(ends->arg, change);
}

static int source_file(struct recall *recall, uint64_t from, graph_take *take, void *arg)
{
	struct links links = {0};
	struct edges edges = {.count = 0};
	int rc = file_load(recall, from, &links);

	if (rc == 0)
		rc = file_tell(from, &links, take, arg);
	if (rc == 0)
		rc = edges_load(recall->mem->engine, from, &edges);
	if (rc == 0)
		rc = edges_tell(from, &edges, take, arg);
	links_fini(&links);
	return rc;
}

/* Every link that is written has a name in its label, so the mentions know all files that have one. */
static int source(void *arg, graph_take *take, void *take_arg)
{
	struct recall *recall = arg;
	const _Atomic int *stop = &recall->mem->upkeep.stop;
	int described = atomic_load_explicit(&recall->mem->use.described, memory_order_relaxed);
	struct ends ends = {.take = take, .arg = take_arg};
	struct files files = {0};
	int rc = links_mentions(recall->mem->engine, file_note, &files);

	if (rc >= 0)
		rc = edges_sources(recall->mem->engine, file_note, &files);
	rc = rc < 0 ? rc : files.rc;
	files_sort(&files);
	for (size_t i = 0; i < files.count && rc == 0; i++) {
		rc = described ? source_file(recall, files.list[i], ends_take, &ends)
			       : source_file(recall, files.list[i], take, take_arg);
		if (atomic_load_explicit(stop, memory_order_relaxed))
			rc = -ECANCELED;
	}
	files_sort(&ends.files);
	for (size_t i = 0; i < ends.files.count && rc == 0; i++)
		rc = node_tell(recall, NULL, ends.files.list[i], take, take_arg);
	alloc_free(ends.files.list);
	alloc_free(files.list);
	return rc;
}

/* ---- merging ---- */

/* `merging` is held. */
static int merge_now(struct recall *recall)
{
	struct graph *old = graph_live_get(recall->live);
	uint64_t inode, next;
	int rc = 0;

	if (atomic_exchange_explicit(&recall->lost, 0, memory_order_acquire))
		graph_live_rescan(recall->live);
	while (rc == 0 && (inode = pending_take(&recall->touched, UINT64_MAX, &next))) {
		rc = file_merge(recall, old, inode);
		if (rc < 0)
			atomic_store_explicit(&recall->lost, 1, memory_order_release);
	}
	graph_put(old);
	return rc < 0 ? rc : graph_live_merge(recall->live);
}

static void arm(struct recall *recall, uint64_t due_ms)
{
	uint64_t armed = atomic_load_explicit(&recall->armed_ms, memory_order_relaxed);

	if (armed && armed <= due_ms)
		return;
	atomic_store_explicit(&recall->armed_ms, due_ms, memory_order_relaxed);
	bridge_periodic_at(recall->alarm, due_ms * 1000000);
}

/* In the background: first to build, then after changes. */
static void alarm_off(void *arg, int status)
{
	struct recall *recall = arg;
	struct graph_live_stats stats;

	(void)status;
	/* seq_cst: see the head of memory_work.c */
	atomic_store_explicit(&recall->armed_ms, 0, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&recall->mem->upkeep.stop, memory_order_relaxed))
		return;
	pthread_mutex_lock(&recall->merging);
	int rc = merge_now(recall);
	pthread_mutex_unlock(&recall->merging);
	graph_live_read_stats(recall->live, &stats);
	if (rc == 0 && stats.links)
		rc = recall_make_spreader(recall);
	pthread_mutex_lock(&recall->lock);
	recall->is_built |= rc == 0;
	recall->build_error = rc;
	pthread_cond_broadcast(&recall->changed);
	pthread_mutex_unlock(&recall->lock);
	if (rc < 0)
		arm(recall, now_ms() + RETRY_MS);
	else
		memory_changed(recall->mem);
}

int recall_wait(struct recall *recall)
{
	pthread_mutex_lock(&recall->lock);
	while (!recall->is_built && !recall->build_error)
		pthread_cond_wait(&recall->changed, &recall->lock);
	int rc = recall->is_built ? 0 : recall->build_error;
	pthread_mutex_unlock(&recall->lock);
	return rc;
}

int recall_freshen(struct recall *recall)
{
	struct graph *graph = graph_live_get(recall->live);
	int small = (uint64_t)graph->count + graph->links <= RECALL_FRESH, rc = 0;

	graph_put(graph);
	if (!small)
		return 0;
	/* also when nothing waits: a merge that has taken it out may be on its way */
	pthread_mutex_lock(&recall->merging);
	if (atomic_load_explicit(&recall->touched.count, memory_order_acquire) ||
	    atomic_load_explicit(&recall->lost, memory_order_acquire))
		rc = merge_now(recall);
	pthread_mutex_unlock(&recall->merging);
	return rc;
}

void recall_touch(struct memory *mem, uint64_t inode)
{
	struct recall *recall = mem->recall;
	uint64_t due = now_ms() + RECALL_STALE_MS;

	if (!recall)
		return;
	if (pending_add(&recall->touched, inode, 0) < 0)
		atomic_store_explicit(&recall->lost, 1, memory_order_release);
	/* seq_cst: see the head of memory_work.c */
	atomic_thread_fence(memory_order_seq_cst);
	arm(recall, due);
}

/* ---- start and end ---- */

int recall_make_spreader(struct recall *recall)
{
	/* doors always ask for permission, and a run that does is one thread's */
	const struct spreader_config config = {
		.threads = 1, .concurrent = RECALL_RUNS, .nodes_max = RECALL_NODES_MAX};
	int rc = 0;

	pthread_mutex_lock(&recall->lock);
	if (!recall->spreader)
		rc = spreader_new(&config, &recall->spreader);
	pthread_mutex_unlock(&recall->lock);
	return rc;
}

int recall_start(struct memory *mem)
{
	struct recall *recall = alloc_zeroed(1, sizeof *recall);

	if (!recall)
		return -ENOMEM;
	recall->mem = mem;
	recall->bridge = background_bridge(mem->engine);
	pthread_mutex_init(&recall->merging, NULL);
	pthread_mutex_init(&recall->lock, NULL);
	pthread_cond_init(&recall->changed, NULL);
	for (int i = 0; i < RECALL_RUNS; i++)
		recall->runs[i].recall = recall;
	mem->recall = recall;
	const struct graph_live_config config = {.source = source, .arg = recall, .later = 1};
	int rc = pending_init(&recall->touched);
	if (rc == 0)
		rc = graph_live_new(&config, &recall->live);
	if (rc == 0)
		rc = recall->bridge ? bridge_periodic_new(recall->bridge, 0, BRIDGE_LOW, alarm_off,
							  recall, &recall->alarm)
				    : -EINVAL;
	if (rc == 0)
		arm(recall, now_ms());
	return rc;
}

void recall_stop(struct memory *mem)
{
	struct recall *recall = mem->recall;

	if (!recall)
		return;
	if (recall->alarm)
		bridge_periodic_stop(recall->alarm);
	for (int i = 0; i < RECALL_RUNS; i++) {
		alloc_free(recall->runs[i].hits);
		alloc_free(recall->runs[i].results);
		alloc_free(recall->runs[i].offsets);
		alloc_free(recall->runs[i].names);
	}
	spreader_free(recall->spreader);
	graph_live_free(recall->live);
	pending_fini(&recall->touched);
	pthread_cond_destroy(&recall->changed);
	pthread_mutex_destroy(&recall->lock);
	pthread_mutex_destroy(&recall->merging);
	alloc_free(recall);
	mem->recall = NULL;
}
