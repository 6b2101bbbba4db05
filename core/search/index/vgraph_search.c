/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   graph: a walk. The beam holds the `width` least estimates, sorted; the nearest one that
 *            was not visited is visited next: compared exactly, offered as a hit, its neighbours
 *            estimated. The walk ends when all of the beam is visited.
 * Invariants: a vertex may be in the beam several times, with estimates from several neighbours; it
 *            is visited once.
 * Threading: all state is in one scratch block of the call.
 */
#include "core/search/index/vgraph.h"
#include "pool/alloc.h"
#include "simd/topk.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STARTS = 4, VISITED = 1u << 31, DEADLINE_EVERY = 16, TABLE_MAX = 255 };

struct walk {
	const struct vgraph *g;
	const struct vectors *v;
	const struct search_filter *filter;
	struct search_heap *heap; /* or NULL */
	const void *query;        /* as rows are stored */
	enum simd_type type;
	float scale; /* of a score, for cosine */
	struct simd_line line;
	uint32_t width, count, next; /* of the beam; where the first may be that was not visited */
	uint32_t seen_mask, visits, visits_max;
	uint32_t allowed, asked, accepted; /* by life and bitmap; by the filter's function */
	float *unit;    /* the query as vgraph_load() gives rows */
	float *stored;  /* a row that is the query */
	float *rotated;                    /* 2 x padded */
	uint16_t *half;                    /* the query as f16 */
	uint8_t *table;                    /* 16 x padded / 4 */
	float *starts;                     /* distances of the entries */
	struct vgraph_near *beam;
	uint32_t *seen;              /* 1 + visited vertex; open addressing */
	struct vgraph_near *visited; /* where wanted */
	float estimates[64];
};

static size_t align64(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static uint32_t seen_slots(uint32_t visits)
{
	uint32_t slots = 256;

	while (slots < 2 * visits)
		slots *= 2;
	return slots;
}

int vgraph_walk_new(const struct vgraph *g, const struct vectors *v, uint32_t width,
		    struct walk **out)
{
	uint32_t slots = seen_slots(2 * width + 128);
	size_t parts[] = {sizeof(struct walk),
			  g->dim * sizeof(float),
			  g->dim * sizeof(float),
			  2ull * g->padded * sizeof(float),
			  g->dim * sizeof(uint16_t),
			  4ull * g->padded,
			  VGRAPH_ENTRIES_MAX * sizeof(float),
			  (width + 1ull) * sizeof(struct vgraph_near),
			  slots * sizeof(uint32_t)};
	size_t bytes = 0;

	for (unsigned i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		bytes += align64(parts[i]);
	uint8_t *at = alloc_aligned(64, bytes);
	if (!at)
		return -ENOMEM;
	struct walk *w = (struct walk *)at;
	*w = (struct walk){.g = g, .v = v};
	w->unit = (float *)(at += align64(parts[0]));
	w->stored = (float *)(at += align64(parts[1]));
	w->rotated = (float *)(at += align64(parts[2]));
	w->half = (uint16_t *)(at += align64(parts[3]));
	w->table = at += align64(parts[4]);
	w->starts = (float *)(at += align64(parts[5]));
	w->beam = (struct vgraph_near *)(at += align64(parts[6]));
	w->seen = (uint32_t *)(at += align64(parts[7]));
	*out = w;
	return 0;
}

/* The sums of 4 rotated elements with each of 16 signs, as bytes; a code's bit means plus. */
static void table_fill(struct walk *w)
{
	uint32_t groups = w->g->padded / 4;
	unsigned most = groups * TABLE_MAX > UINT16_MAX ? UINT16_MAX / groups : TABLE_MAX;
	float range = 0, total = 0;

	for (uint32_t i = 0; i < groups; i++) {
		const float *x = w->rotated + 4ull * i;
		float sum = fabsf(x[0]) + fabsf(x[1]) + fabsf(x[2]) + fabsf(x[3]);
		range = sum > range ? sum : range;
		total += sum;
	}
	w->line.step = range > 0 ? 2 * range / (float)most : 1;
	w->line.offset = -total;
	float inverse = 1 / w->line.step;
	for (uint32_t i = 0; i < groups; i++) {
		const float *x = w->rotated + 4ull * i;
		float sums[16] = {fabsf(x[0]) + fabsf(x[1]) + fabsf(x[2]) + fabsf(x[3])};
		sums[0] += -x[0] - x[1] - x[2] - x[3];
		for (unsigned k = 0; k < 4; k++)
			for (unsigned j = 0; j < 1u << k; j++)
				sums[j | 1u << k] = sums[j] + 2 * x[k];
		for (unsigned j = 0; j < 16; j++)
			w->table[16ull * i + j] = (uint8_t)(int)(sums[j] * inverse + 0.5f);
	}
}

static void query_set(struct walk *w, const float *query)
{
	const struct vgraph *g = w->g;
	float scale = g->metric == VECTORS_COSINE ? vectors_scale(w->v, query) : 1;

	for (uint32_t d = 0; d < g->dim; d++)
		w->unit[d] = query[d] * scale;
	w->scale = scale;
	w->query = query;
	w->type = SIMD_F32;
	if (w->v->config.type == VECTORS_F16) {
		simd_active->f32_to_f16(query, w->half, g->dim);
		w->query = w->half;
		w->type = SIMD_F16;
	}
	vgraph_rotate(g, w->unit, w->rotated);
	table_fill(w);
}

/* Into the sorted beam; where it is full the last one falls out. */
static void beam_put(struct walk *w, float distance, uint32_t id)
{
	uint32_t low = 0, high = w->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (w->beam[middle].distance <= distance)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == w->width)
		return;
	uint32_t kept = w->count < w->width ? w->count : w->width - 1;
	memmove(w->beam + low + 1, w->beam + low, (kept - low) * sizeof(*w->beam));
	w->beam[low] = (struct vgraph_near){distance, id};
	w->count = kept + 1;
	if (low < w->next)
		w->next = low;
}

static uint32_t *seen_slot(const struct walk *w, uint32_t id)
{
	uint32_t at = id * 0x9e3779b1u >> 7 & w->seen_mask;

	while (w->seen[at] && w->seen[at] != id + 1)
		at = (at + 1) & w->seen_mask;
	return &w->seen[at];
}

static void vertex_prefetch(const struct walk *w, uint32_t id)
{
	const uint8_t *block = vgraph_block(w->g, id);
	const char *row = vectors_row(w->v, id);
	size_t bytes = w->v->stride < 1024 ? w->v->stride : 1024;

	for (size_t i = 0; i < bytes; i += 64)
		__builtin_prefetch(row + i);
	for (size_t i = 0; i < w->g->block_bytes && i < 1024; i += 64)
		__builtin_prefetch(block + i);
}

static void starts_put(struct walk *w, uint32_t apart)
{
	const struct vgraph *g = w->g;
	struct topk_entry best[STARTS + 1];
	struct topk top;

	simd_many(SIMD_F32, SIMD_L2, w->unit, g->entries_rows, g->dim * sizeof(float), NULL,
		  g->entries_count, g->dim, w->starts);
	topk_init(&top, best, STARTS + 1, false);
	topk_push_many(&top, w->starts, NULL, 0, g->entries_count);
	size_t count = topk_finish(&top);
	for (size_t i = 0; i < count; i++)
		if (g->entries[best[i].id] != apart)
			beam_put(w, best[i].value, g->entries[best[i].id]);
}

static void hit_offer(struct walk *w, uint32_t id, float score)
{
	const struct rows *rows = &w->v->rows;

	if (rows_is_dead(rows, id) || !search_filter_row(w->filter, id))
		return;
	w->allowed++;
	if (score < search_heap_bar(w->heap))
		return;
	struct search_hit hit = {rows->owners[id], rows->parts[id], id, score};
	w->asked++;
	if (!search_filter_accept(w->filter, hit.owner, hit.part))
		return;
	w->accepted++;
	search_heap_push(w->heap, &hit);
}

/* The exact distance; the hit too where hits are wanted. */
static float vertex_visit(struct walk *w, uint32_t id)
{
	const struct vectors *v = w->v;
	int is_l2 = w->g->metric == VECTORS_L2;
	float raw = simd_pair(w->type, is_l2 ? SIMD_L2 : SIMD_DOT, w->query, vectors_row(v, id),
			      w->g->dim);
	float score = is_l2 ? -raw : raw * w->scale * v->scales[id];
	float distance = is_l2 ? raw : 2 - 2 * score;

	if (w->visited)
		w->visited[w->visits] = (struct vgraph_near){distance, id};
	if (w->heap)
		hit_offer(w, id, score);
	return distance;
}

static void neighbours_put(struct walk *w, uint8_t *block)
{
	const uint32_t *ids = vgraph_ids(block);
	uint32_t near = simd_active->pq4_near(block + VGRAPH_CODES, w->g->padded / 4, w->table,
					      vgraph_adds(block), vgraph_scales(block), &w->line,
					      w->estimates);

	for (; near; near &= near - 1) {
		unsigned i = (unsigned)__builtin_ctz(near);
		if (w->count == w->width && w->estimates[i] >= w->beam[w->count - 1].distance)
			continue;
		uint32_t id = ids[i] & ~VGRAPH_SPARE;
		if (!*seen_slot(w, id))
			beam_put(w, w->estimates[i], id);
	}
}

void vgraph_walk_free(struct walk *w)
{
	alloc_free(w);
}

/* Before each walk; `width` is at most that of vgraph_walk_new(). */
static void walk_begin(struct walk *w, uint32_t width)
{
	w->width = width;
	w->count = w->next = w->visits = 0;
	w->visits_max = 2 * width + 128;
	w->seen_mask = seen_slots(w->visits_max) - 1;
	memset(w->seen, 0, (w->seen_mask + 1ull) * sizeof(*w->seen));
}

/* Returns 1 when the deadline passed. */
static int walk_run(struct walk *w, uint32_t apart)
{
	if (apart != ROWS_NONE)
		*seen_slot(w, apart) = apart + 1;
	starts_put(w, apart);
	while (w->next < w->count && w->visits < w->visits_max) {
		struct vgraph_near *at = &w->beam[w->next++];
		uint32_t id = at->id;
		if (id & VISITED)
			continue;
		at->id |= VISITED;
		uint32_t *slot = seen_slot(w, id);
		if (*slot)
			continue;
		*slot = id + 1;
		vertex_prefetch(w, id);
		if (w->visits % DEADLINE_EVERY == 0 && search_deadline_passed(w->filter))
			return 1;
		w->line.base = vertex_visit(w, id);
		w->visits++;
		w->line.bar = w->count < w->width ? VGRAPH_NO_BAR : w->beam[w->count - 1].distance;
		neighbours_put(w, vgraph_block(w->g, id));
	}
	return 0;
}

int vgraph_search(const struct vgraph *g, const struct vectors *v, const float *query,
		  uint32_t width, uint32_t apart, const struct search_filter *filter,
		  struct search_heap *heap, int *partial, uint32_t *passed)
{
	struct walk *w;
	int rc = vgraph_walk_new(g, v, width, &w);

	if (rc)
		return rc;
	w->filter = filter;
	w->heap = heap;
	query_set(w, query);
	walk_begin(w, width);
	if (walk_run(w, apart))
		*partial = 1;
	*passed = w->asked ? (uint32_t)((uint64_t)w->allowed * w->accepted / w->asked) : 0;
	alloc_free(w);
	return 0;
}

uint32_t vgraph_visit(struct walk *w, uint32_t row, uint32_t width, struct vgraph_near *visited,
		      uint32_t limit)
{
	walk_begin(w, width);
	w->visited = visited;
	if (w->visits_max > limit)
		w->visits_max = limit;
	vgraph_load(w->g, w->v, row, w->stored);
	query_set(w, w->stored);
	walk_run(w, row);
	return w->visits;
}
