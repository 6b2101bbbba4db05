/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   graph: choice of edges, building in batches, adding.
 *
 * A new vertex walks to its own place; of the vertices that it visits it keeps as neighbours the
 * nearest that no nearer neighbour lies closer to (by the factor SPREAD), filled up with the
 * nearest of the rest. Then each neighbour is offered the edge back, by the same rule.
 *
 * Building does that for a batch of rows at once: all walk in the graph as it was before the batch,
 * then all edges are written, so that the result does not depend on the threads. The rows come in
 * random order; the first are where walks begin. A second pass over all rows mends what the first
 * could not know.
 */
#include "core/search/index/vgraph.h"
#include "core/search/parallel.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
	WIDTH_FIRST = 48, /* of a walk to a vertex's place, in the first pass and later */
	WIDTH = 96,
	CANDIDATES = 320, /* considered as neighbours */
	BATCH_SHARE = 40, /* a batch is at most that part of all rows */
	MEAN_SAMPLE = 4096,
	GRAIN = 32,
};
#define SPREAD 1.1f /* of squared distances */

struct edit {
	struct vgraph *g;
	const struct vectors *v;
	struct walk *walk;
	float *row, *from, *to; /* dim, 2 x padded, 2 x padded */
	uint32_t ids[VGRAPH_DEGREE];
	struct vgraph_near candidates[CANDIDATES + VGRAPH_DEGREE];
};

static int edit_new(struct vgraph *g, const struct vectors *v, struct edit **out)
{
	size_t bytes = (sizeof(struct edit) + 63) & ~(size_t)63;
	size_t row = (g->dim * sizeof(float) + 63) & ~(size_t)63;
	uint8_t *at = alloc_aligned(64, bytes + row + 4 * g->padded * sizeof(float));
	struct edit *e = (struct edit *)at;

	if (!at)
		return -ENOMEM;
	e->g = g;
	e->v = v;
	e->row = (float *)(at + bytes);
	e->from = (float *)(at + bytes + row);
	e->to = e->from + 2 * g->padded;
	int rc = vgraph_walk_new(g, v, WIDTH, &e->walk);
	if (rc)
		alloc_free(e);
	else
		*out = e;
	return rc;
}

static void edit_free(struct edit *e)
{
	if (e)
		vgraph_walk_free(e->walk);
	alloc_free(e);
}

static void rotated(struct edit *e, uint32_t row, float *out)
{
	vgraph_load(e->g, e->v, row, e->row);
	vgraph_rotate(e->g, e->row, out);
}

static unsigned degree(const uint32_t *ids)
{
	unsigned count = 0;

	while (count < VGRAPH_DEGREE && ids[count] != VGRAPH_NONE)
		count++;
	return count;
}

static int compare_near(const void *a, const void *b)
{
	const struct vgraph_near *x = a, *y = b;

	if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* Whether a neighbour that was chosen before leads to the candidate. */
static int is_covered(const struct edit *e, const struct vgraph_near *candidate,
		      const uint32_t *ids, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (SPREAD * vgraph_distance(e->g, e->v, candidate->id, ids[i]) <
		    candidate->distance)
			return 1;
	return 0;
}

/* From e->candidates, sorted, into ids. */
static unsigned neighbours_choose(struct edit *e, uint32_t count, uint32_t *ids)
{
	uint32_t rest[VGRAPH_DEGREE];
	unsigned chosen = 0, left = 0;

	for (uint32_t i = 0; i < count && chosen < VGRAPH_DEGREE; i++) {
		const struct vgraph_near *c = &e->candidates[i];
		if (!is_covered(e, c, ids, chosen))
			ids[chosen++] = c->id;
		else if (left < VGRAPH_DEGREE)
			rest[left++] = c->id;
	}
	for (unsigned i = 0; i < left && chosen < VGRAPH_DEGREE; i++)
		ids[chosen++] = rest[i] | VGRAPH_SPARE;
	for (unsigned i = chosen; i < VGRAPH_DEGREE; i++)
		ids[i] = VGRAPH_NONE;
	return chosen;
}

static uint32_t candidates_keep(struct edit *e, uint32_t row, uint32_t count)
{
	uint32_t kept = 0, living = 0;

	for (uint32_t i = 0; i < count; i++)
		living += !rows_is_dead(&e->v->rows, e->candidates[i].id);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t id = e->candidates[i].id;
		int wanted = living < VGRAPH_DEGREE / 2 || !rows_is_dead(&e->v->rows, id);
		if (id != row && wanted && (!kept || e->candidates[kept - 1].id != id))
			e->candidates[kept++] = e->candidates[i];
	}
	return kept;
}

/* The neighbours that a row should have; those that it has are considered too. */
static void neighbours_find(struct edit *e, uint32_t row, uint32_t width, uint32_t *ids)
{
	uint32_t count = vgraph_visit(e->walk, row, width, e->candidates, CANDIDATES);

	const uint32_t *now = row < e->g->count ? vgraph_ids(vgraph_block(e->g, row)) : NULL;
	for (unsigned i = 0; now && i < VGRAPH_DEGREE && now[i] != VGRAPH_NONE; i++)
		e->candidates[count++] = (struct vgraph_near){
			vgraph_distance(e->g, e->v, row, now[i] & ~VGRAPH_SPARE),
			now[i] & ~VGRAPH_SPARE};
	qsort(e->candidates, count, sizeof(*e->candidates), compare_near);
	neighbours_choose(e, candidates_keep(e, row, count), ids);
}

/* Writes all edges of a vertex. */
static void edges_write(struct edit *e, uint32_t row, uint8_t *block, const uint32_t *ids)
{
	rotated(e, row, e->from);
	vgraph_edges_clear(e->g, block);
	for (unsigned i = 0; i < VGRAPH_DEGREE && ids[i] != VGRAPH_NONE; i++) {
		rotated(e, ids[i] & ~VGRAPH_SPARE, e->to);
		vgraph_edge_put(e->g, block, i, e->from, e->to, ids[i]);
	}
}

/* The spare slot that leads furthest, further than `least`; or VGRAPH_DEGREE. */
static unsigned spare_furthest(const uint32_t *ids, const float *distances, float least)
{
	unsigned furthest = VGRAPH_DEGREE;

	for (unsigned i = 0; i < VGRAPH_DEGREE; i++)
		if (ids[i] & VGRAPH_SPARE && distances[i] > least) {
			least = distances[i];
			furthest = i;
		}
	return furthest;
}

/* The slot that an edge from `from` to `to` takes, or VGRAPH_DEGREE: none. Neighbours that it covers
 * become spare; it is itself when one of them covers it. */
static unsigned edge_slot(const struct edit *e, uint32_t from, uint32_t to, uint32_t *ids,
			  uint32_t *spare)
{
	unsigned count = degree(ids), furthest = VGRAPH_DEGREE;
	float distances[VGRAPH_DEGREE], own = vgraph_distance(e->g, e->v, from, to), most = own;

	*spare = 0;
	for (unsigned i = 0; i < count; i++) {
		uint32_t id = ids[i] & ~VGRAPH_SPARE;
		if (id == to)
			return VGRAPH_DEGREE;
		distances[i] = vgraph_distance(e->g, e->v, from, id);
		if (id != ids[i])
			continue;
		float between = SPREAD * vgraph_distance(e->g, e->v, to, id);
		if (distances[i] < own && between < own)
			*spare = VGRAPH_SPARE;
		else if (distances[i] > own && between < distances[i])
			ids[i] |= VGRAPH_SPARE;
		else if (distances[i] > most) {
			most = distances[i];
			furthest = i;
		}
	}
	if (count < VGRAPH_DEGREE)
		return count;
	unsigned slot = spare_furthest(ids, distances, *spare ? own : 0);
	return slot < VGRAPH_DEGREE || *spare ? slot : furthest;
}

/* Offers an edge; e->from is `from`, rotated. Returns 1 when it is taken. */
static int edge_offer(struct edit *e, uint32_t from, uint8_t *block, uint32_t to)
{
	uint32_t spare;
	unsigned slot = edge_slot(e, from, to, vgraph_ids(block), &spare);

	if (slot == VGRAPH_DEGREE)
		return 0;
	rotated(e, to, e->to);
	vgraph_edge_put(e->g, block, slot, e->from, e->to, to | spare);
	return 1;
}

/* Some edge must lead to each vertex. */
static void edge_force(struct edit *e, uint32_t from, uint8_t *block, unsigned slot, uint32_t to)
{
	rotated(e, from, e->from);
	rotated(e, to, e->to);
	vgraph_edge_put(e->g, block, slot, e->from, e->to, to);
}

/* ---- one row ---- */

static int edges_back(struct edit *e, uint32_t row)
{
	unsigned taken = 0;
	uint8_t *block;
	int rc = 0;

	for (unsigned i = 0; !rc && i < VGRAPH_DEGREE && e->ids[i] != VGRAPH_NONE; i++) {
		uint32_t id = e->ids[i] & ~VGRAPH_SPARE;
		rc = vgraph_block_own(e->g, id, &block);
		if (rc)
			break;
		rotated(e, id, e->from);
		taken += (unsigned)edge_offer(e, id, block, row);
	}
	if (!rc && !taken && e->ids[0] != VGRAPH_NONE) {
		uint32_t id = e->ids[0] & ~VGRAPH_SPARE;
		edge_force(e, id, vgraph_block(e->g, id), VGRAPH_DEGREE - 1, row);
	}
	return rc;
}

int vgraph_add(struct vgraph *g, const struct vectors *v, uint32_t row)
{
	struct edit *e;
	uint8_t *block;
	int rc = edit_new(g, v, &e);

	if (rc)
		return rc;
	neighbours_find(e, row, WIDTH, e->ids);
	rc = vgraph_extend(g, row);
	if (!rc)
		rc = vgraph_block_own(g, row, &block);
	if (!rc) {
		edges_write(e, row, block, e->ids);
		g->rows++;
		rc = edges_back(e, row);
	}
	edit_free(e);
	return rc;
}

/* ---- many rows ---- */

struct build {
	struct vgraph *g;
	const struct vectors *v;
	uint32_t *order; /* living rows */
	uint32_t low;    /* the batch begins there in order */
	uint32_t batch_max, width;
	uint32_t *lists;  /* VGRAPH_DEGREE ids for each row of the batch */
	uint32_t *heads;  /* for each row: 1 + its first edge back, an index into lists */
	uint32_t *chains; /* for each edge: 1 + the next one with the same target */
	uint32_t *targets, targets_count;
	_Atomic int failed; /* [A] relaxed: read after the join */
};

static struct edit *body_begin(struct build *b)
{
	struct edit *e;

	if (edit_new(b->g, b->v, &e) == 0)
		return e;
	atomic_store_explicit(&b->failed, 1, memory_order_relaxed);
	return NULL;
}

static void find_body(void *arg, uint64_t low, uint64_t high)
{
	struct build *b = arg;
	struct edit *e = body_begin(b);

	for (uint64_t i = low; e && i < high; i++)
		neighbours_find(e, b->order[b->low + i], b->width, b->lists + i * VGRAPH_DEGREE);
	edit_free(e);
}

static void write_body(void *arg, uint64_t low, uint64_t high)
{
	struct build *b = arg;
	struct edit *e = body_begin(b);

	for (uint64_t i = low; e && i < high; i++) {
		uint32_t row = b->order[b->low + i];
		edges_write(e, row, vgraph_block(b->g, row), b->lists + i * VGRAPH_DEGREE);
	}
	edit_free(e);
}

static void back_body(void *arg, uint64_t low, uint64_t high)
{
	struct build *b = arg;
	struct edit *e = body_begin(b);

	for (uint64_t i = low; e && i < high; i++) {
		uint32_t target = b->targets[i];
		rotated(e, target, e->from);
		for (uint32_t edge = b->heads[target]; edge; edge = b->chains[edge - 1])
			edge_offer(e, target, vgraph_block(b->g, target),
				   b->order[b->low + (edge - 1) / VGRAPH_DEGREE]);
		b->heads[target] = 0;
	}
	edit_free(e);
}

static void backs_gather(struct build *b, uint32_t count)
{
	b->targets_count = 0;
	for (uint32_t edge = count * VGRAPH_DEGREE; edge-- > 0;) {
		uint32_t target = b->lists[edge];
		if (target == VGRAPH_NONE)
			continue;
		target &= ~VGRAPH_SPARE;
		if (!b->heads[target])
			b->targets[b->targets_count++] = target;
		b->chains[edge] = b->heads[target];
		b->heads[target] = edge + 1;
	}
}

static int batch_failed(const struct build *b, int rc)
{
	return !rc && atomic_load_explicit(&b->failed, memory_order_relaxed) ? -ENOMEM : rc;
}

/* Writes b->lists of a batch, and offers the edges back. */
static int batch_write(struct build *b, uint32_t count, unsigned threads)
{
	int rc = batch_failed(b, parallel_run(count, GRAIN, threads, write_body, b));

	backs_gather(b, count);
	if (!rc)
		rc = parallel_run(b->targets_count, GRAIN, threads, back_body, b);
	return batch_failed(b, rc);
}

static int batch_run(struct build *b, uint32_t low, uint32_t count, unsigned threads)
{
	b->low = low;
	int rc = parallel_run(count, GRAIN, threads, find_body, b);

	return batch_failed(b, rc) ? batch_failed(b, rc) : batch_write(b, count, threads);
}

/* The first rows, which walks begin at: each sees all. */
static void first_body(void *arg, uint64_t low, uint64_t high)
{
	struct build *b = arg;
	struct vgraph *g = b->g;
	struct edit *e = body_begin(b);
	struct vgraph_near *all = alloc_get(g->entries_count * sizeof(*all));

	for (uint64_t i = low; e && all && i < high; i++) {
		uint32_t count = 0;
		for (uint32_t k = 0; k < g->entries_count; k++)
			if (k != i)
				all[count++] = (struct vgraph_near){
					vgraph_distance(g, b->v, b->order[i], b->order[k]),
					b->order[k]};
		qsort(all, count, sizeof(*all), compare_near);
		count = count < CANDIDATES ? count : CANDIDATES;
		memcpy(e->candidates, all, count * sizeof(*all));
		neighbours_choose(e, count, b->lists + i * VGRAPH_DEGREE);
	}
	if (!all)
		atomic_store_explicit(&b->failed, 1, memory_order_relaxed);
	alloc_free(all);
	edit_free(e);
}

/* ---- mending ---- */

struct mend {
	struct vgraph *g;
	uint32_t *incoming; /* edges to each vertex */
	uint32_t *queue;    /* vertices reached; each once */
	uint64_t *reached;  /* bitmap */
	uint32_t head, tail;
};

static int is_reached(const struct mend *m, uint32_t vertex)
{
	return m->reached[vertex / 64] >> vertex % 64 & 1;
}

static void reach(struct mend *m, uint32_t vertex)
{
	if (is_reached(m, vertex))
		return;
	m->reached[vertex / 64] |= 1ull << vertex % 64;
	m->queue[m->tail++] = vertex;
}

/* Goes on from all that is reached. */
static void reach_all(struct mend *m)
{
	while (m->head < m->tail) {
		const uint32_t *ids = vgraph_ids(vgraph_block(m->g, m->queue[m->head++]));
		for (unsigned i = 0; i < VGRAPH_DEGREE && ids[i] != VGRAPH_NONE; i++)
			reach(m, ids[i] & ~VGRAPH_SPARE);
	}
}

/* Has a reached neighbour lead to the vertex, in the place of an edge that is not the only one to
 * its target. */
static void vertex_mend(struct mend *m, struct edit *e, uint32_t vertex)
{
	const uint32_t *ids = vgraph_ids(vgraph_block(m->g, vertex));

	for (unsigned i = 0; i < VGRAPH_DEGREE && ids[i] != VGRAPH_NONE; i++) {
		uint32_t from = ids[i] & ~VGRAPH_SPARE;
		uint8_t *block = vgraph_block(m->g, from);
		if (!is_reached(m, from))
			continue;
		for (unsigned slot = VGRAPH_DEGREE; slot-- > 0;) {
			uint32_t old = vgraph_ids(block)[slot];
			if (old != VGRAPH_NONE && m->incoming[old & ~VGRAPH_SPARE] < 3)
				continue;
			if (old != VGRAPH_NONE)
				m->incoming[old & ~VGRAPH_SPARE]--;
			m->incoming[vertex]++;
			edge_force(e, from, block,
				   old == VGRAPH_NONE ? degree(vgraph_ids(block)) : slot, vertex);
			reach(m, vertex);
			return;
		}
	}
}

static void mend_run(struct mend *m, struct edit *e, const uint32_t *rows, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t *ids = vgraph_ids(vgraph_block(m->g, rows[i]));
		for (unsigned k = 0; k < VGRAPH_DEGREE && ids[k] != VGRAPH_NONE; k++)
			m->incoming[ids[k] & ~VGRAPH_SPARE]++;
	}
	for (uint32_t i = 0; i < m->g->entries_count; i++)
		reach(m, m->g->entries[i]);
	reach_all(m);
	for (uint32_t i = 0; i < count; i++) {
		if (is_reached(m, rows[i]))
			continue;
		vertex_mend(m, e, rows[i]);
		reach_all(m);
	}
}

/* Makes vertices reachable that no walk comes to. */
static int graph_mend(struct build *b, uint32_t count)
{
	struct mend m = {.g = b->g};
	struct edit *e = NULL;

	m.incoming = alloc_zeroed(b->g->count, sizeof(*m.incoming));
	m.queue = alloc_get(b->g->count * sizeof(*m.queue));
	m.reached = alloc_zeroed(b->g->count / 64 + 1ull, sizeof(*m.reached));
	int rc = m.incoming && m.queue && m.reached ? edit_new(b->g, b->v, &e) : -ENOMEM;
	if (!rc)
		mend_run(&m, e, b->order, count);
	alloc_free(m.incoming);
	alloc_free(m.queue);
	alloc_free(m.reached);
	edit_free(e);
	return rc;
}

static void shuffle(uint32_t *rows, uint32_t count)
{
	uint64_t seed = 0x9e3779b97f4a7c15ull;

	for (uint32_t i = count; i > 1; i--) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		uint32_t k = (uint32_t)((seed >> 32) * i >> 32), t = rows[i - 1];
		rows[i - 1] = rows[k];
		rows[k] = t;
	}
}

static int mean_and_entries(struct build *b, uint32_t count)
{
	struct vgraph *g = b->g;
	float *row = alloc_get(g->dim * sizeof(*row));
	uint32_t sample = count < MEAN_SAMPLE ? count : MEAN_SAMPLE;

	if (!row)
		return -ENOMEM;
	for (uint32_t i = 0; i < sample; i++) {
		vgraph_load(g, b->v, b->order[i], row);
		for (uint32_t d = 0; d < g->dim; d++)
			g->mean[d] += row[d] / (float)sample;
	}
	uint32_t entries = (uint32_t)sqrt((double)count) + 1;
	entries = entries < VGRAPH_ENTRIES_MAX ? entries : VGRAPH_ENTRIES_MAX;
	g->entries_count = entries < count ? entries : count;
	for (uint32_t i = 0; i < g->entries_count; i++) {
		g->entries[i] = b->order[i];
		vgraph_load(g, b->v, b->order[i], g->entries_rows + (size_t)i * g->dim);
	}
	alloc_free(row);
	return 0;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static int passes_run(struct build *b, uint32_t count, unsigned threads)
{
	uint32_t first = b->g->entries_count;
	int rc = batch_failed(b, parallel_run(first, GRAIN, threads, first_body, b));

	b->low = 0;
	b->width = WIDTH_FIRST;
	if (!rc)
		rc = batch_write(b, first, threads);
	for (uint32_t low = first, size; !rc && low < count; low += size) {
		size = least(least(b->batch_max, low), count - low);
		rc = batch_run(b, low, size, threads);
	}
	b->width = WIDTH;
	for (uint32_t low = 0, size; !rc && low < count; low += size) {
		size = least(b->batch_max, count - low);
		rc = batch_run(b, low, size, threads);
	}
	return rc;
}

static int build_run(struct build *b, uint32_t count, unsigned threads)
{
	struct vgraph *g = b->g;

	b->batch_max =
		count / BATCH_SHARE > VGRAPH_ENTRIES_MAX ? count / BATCH_SHARE : VGRAPH_ENTRIES_MAX;
	size_t edges = (size_t)b->batch_max * VGRAPH_DEGREE;
	for (uint32_t i = 0; i < vgraph_region_bytes(g, g->count) / g->block_bytes; i++)
		vgraph_edges_clear(g, vgraph_block(g, i));
	g->rows = count;
	b->lists = alloc_get(edges * sizeof(*b->lists));
	b->chains = alloc_get(edges * sizeof(*b->chains));
	b->heads = alloc_zeroed(g->count, sizeof(*b->heads));
	b->targets = alloc_get(g->count * sizeof(*b->targets));
	int rc = b->lists && b->chains && b->heads && b->targets ? mean_and_entries(b, count)
								 : -ENOMEM;
	if (!rc)
		rc = passes_run(b, count, threads);
	if (!rc)
		rc = graph_mend(b, count);
	alloc_free(b->lists);
	alloc_free(b->chains);
	alloc_free(b->heads);
	alloc_free(b->targets);
	return rc;
}

int vgraph_build(const struct vectors *v, const struct index_options *options, struct vgraph **out)
{
	struct build b = {.v = v};
	uint32_t count = 0;

	b.order = alloc_get((v->rows.count + 1ull) * sizeof(*b.order));
	if (!b.order)
		return -ENOMEM;
	for (uint32_t row = 0; row < v->rows.count; row++)
		if (!rows_is_dead(&v->rows, row))
			b.order[count++] = row;
	shuffle(b.order, count);
	int rc = count ? vgraph_new(v, v->rows.count, NULL, &b.g) : -EINVAL;
	if (!rc)
		rc = build_run(&b, count, options->threads);
	alloc_free(b.order);
	if (rc)
		vgraph_free(b.g);
	else
		*out = b.g;
	return rc;
}
