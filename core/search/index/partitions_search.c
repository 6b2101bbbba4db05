/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   partitions: a search. Cells in order of promise, codes scanned block-wise, a buffer of
 *            the best candidates whose bar rises as it fills, exact comparison of those at the end;
 *            where there are finer codes, of those that may belong to the best by them.
 * Threading: all state is in one scratch block of the call.
 */
#include "core/search/clones.h"
#include "core/search/index/partitions.h"
#include "pool/alloc.h"
#include "pool/frame.h"
#include "simd/simd.h"
#include "simd/topk.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { SCAN_BLOCKS = 16, SCAN_ROWS = SCAN_BLOCKS * PQ4_BLOCK, AHEAD = 4 };

/* A row is compared exactly unless it is so many deviations below what is needed. */
static const float fine_deviations = 2.5f;
/* Of sums of floats, where vectors lie close together and far from the origin. */
static const float rounding = 1e-6f;

struct candidate {
	float estimate;
	uint32_t row;
	uint32_t cell; /* 2 x its place in `order`, 1 more where it was added */
	union {
		uint32_t slot; /* in the cell */
		float error;   /* of the refined estimate */
	};
};
_Static_assert(sizeof(struct candidate) == 16, "candidate");

struct scan {
	const struct partitions *p;
	const struct vectors *v;
	const struct search_filter *filter;
	struct pq4_table table;
	struct quantizer_query bytes; /* the query for the centroids, then for finer codes */
	float *query;                 /* dim floats, of length 1 for cosine */
	float square;                 /* |query|^2 */
	const void *exact;            /* the query as the rows are stored */
	float exact_scale;            /* of it */
	float *scratch;               /* 16 x groups, dim and padding at least */
	float *products;              /* <q, c> of each cell, then less |c|^2 / 2 */
	struct topk_entry *order; /* the most promising cells: less half the centroid's square */
	struct topk_entry *pool;  /* those that may be */
	uint32_t *ids;            /* of the pool */
	struct candidate *found;  /* room for 2 x rerank + SCAN_ROWS */
	uint32_t rerank, count;
	float bar; /* an estimate must be above it */
	uint16_t sums[SCAN_ROWS];
	float estimates[SCAN_ROWS];
	uint64_t above[SCAN_ROWS / 64];
};

/* Moves the `keep` greatest to the front; returns the least of them. */
OWN_FRAME static float candidates_select(struct candidate *a, uint32_t count, uint32_t keep)
{
	uint32_t low = 0, high = count;

	while (high - low > 1) {
		float x = a[low].estimate, y = a[low + (high - low) / 2].estimate,
		      z = a[high - 1].estimate;
		float pivot = x > y ? (y > z ? y : (x > z ? z : x)) : (x > z ? x : (y > z ? z : y));
		uint32_t i = low, j = high - 1;
		for (;;) {
			while (a[i].estimate > pivot)
				i++;
			while (a[j].estimate < pivot)
				j--;
			if (i >= j)
				break;
			struct candidate t = a[i];
			a[i++] = a[j];
			a[j--] = t;
		}
		uint32_t split = j + 1; /* [low, split) >= pivot >= [split, high) */
		if (split == high)
			split--;
		if (keep <= split)
			high = split;
		else
			low = split;
	}
	float least = a[0].estimate;
	for (uint32_t i = 1; i < keep; i++)
		least = a[i].estimate < least ? a[i].estimate : least;
	return least;
}

SEARCH_CLONES
static void estimates_fill(const uint16_t *sums, const float *scales, const float *adds,
			   uint32_t count, float step, float offset, float base, float *out)
{
	for (uint32_t i = 0; i < count; i++)
		out[i] = base + adds[i] + scales[i] * (step * (float)sums[i] + offset);
}

static void candidate_add(struct scan *s, const struct candidate *c)
{
	if (rows_is_dead(&s->v->rows, c->row) || !search_filter_row(s->filter, c->row))
		return;
	s->found[s->count++] = *c;
}

/* number: as candidate.cell */
static void cell_scan(struct scan *s, const struct cell *c, uint32_t number, float base)
{
	const struct pq4 *pq = &s->p->pq;
	uint32_t used = (c->count + PQ4_BLOCK - 1) / PQ4_BLOCK;

	for (uint32_t b = 0; b < used; b += SCAN_BLOCKS) {
		uint32_t blocks = used - b < SCAN_BLOCKS ? used - b : SCAN_BLOCKS;
		uint32_t first = b * PQ4_BLOCK, count = blocks * PQ4_BLOCK;
		const uint32_t *rows = cell_rows(pq, c) + first;
		simd_active->pq4_scan(c->data + b * pq4_block_bytes(pq), blocks, pq->groups,
				      s->table.bytes, s->sums);
		estimates_fill(s->sums, cell_scales(pq, c) + first, cell_adds(pq, c) + first, count,
			       s->table.step, s->table.offset, base, s->estimates);
		if (!simd_active->filter_f32(s->estimates, count, SIMD_GT, s->bar, s->above))
			continue;
		for (uint32_t w = 0; w < (count + 63) / 64; w++)
			for (uint64_t bits = s->above[w]; bits; bits &= bits - 1) {
				uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);
				candidate_add(
					s, &(struct candidate){
						   s->estimates[i], rows[i], number, {first + i}});
			}
		if (s->count >= 2 * s->rerank) {
			s->bar = candidates_select(s->found, s->count, s->rerank);
			s->count = s->rerank;
		}
	}
}

/* ---- candidates ---- */

static void bytes_prefetch(const void *at, size_t bytes)
{
	for (size_t i = 0; i < bytes && i < 1024; i += 64)
		__builtin_prefetch((const char *)at + i);
}

/* Of the cell that a candidate was found in: <q, c>. */
static float cell_base(const struct scan *s, uint32_t at)
{
	float half = s->p->metric == VECTORS_DOT ? 0 : s->p->halves[s->order[at].id];

	return s->order[at].value + half;
}

static const uint8_t *candidate_fine(const struct scan *s, const struct candidate *c)
{
	const struct partitions *p = s->p;
	uint32_t cell = s->order[c->cell / 2].id;

	return cell_fine(p, c->cell & 1 ? &p->added[cell] : &p->built[cell], c->slot);
}

/* Estimates all candidates anew by the finer codes. */
static void candidates_refine(struct scan *s)
{
	const struct partitions *p = s->p;
	float lean = fabsf(p->fine_mean) + fine_deviations * p->fine_deviation;

	quantizer_query_fill(&p->fine, s->query, s->scratch, &s->bytes);
	for (uint32_t i = 0; i < s->count; i++) {
		struct candidate *c = &s->found[i];
		struct fine_head head;
		const uint8_t *fine = candidate_fine(s, c);
		if (i + AHEAD < s->count)
			bytes_prefetch(candidate_fine(s, c + AHEAD), p->fine_bytes);
		float base = cell_base(s, c->cell / 2);
		float away = s->square - 2 * base + 2 * p->halves[s->order[c->cell / 2].id];
		memcpy(&head, fine, sizeof(head));
		float estimate = fine_estimate(p, &s->bytes, base, fine);
		c->estimate = estimate > PARTITIONS_NO_BAR ? estimate : PARTITIONS_NO_BAR;
		c->error = lean * head.error * sqrtf(away > 0 ? away : 0) +
			   rounding * (s->square + fabsf(base));
	}
}

/* Compares the candidates [from, to) exactly, in memory order as found. */
OWN_FRAME static void candidates_compare(const struct scan *s, uint32_t from, uint32_t to,
					 struct search_heap *heap)
{
	const struct vectors *v = s->v;
	enum simd_metric metric = v->config.metric == VECTORS_L2 ? SIMD_L2 : SIMD_DOT;
	enum simd_type type = v->config.type == VECTORS_F16 ? SIMD_F16 : SIMD_F32;

	heap->compared += to - from;
	for (uint32_t k = from; k < from + AHEAD && k < to; k++)
		bytes_prefetch(vectors_row(v, s->found[k].row), v->stride);
	for (uint32_t i = from; i < to; i++) {
		uint32_t row = s->found[i].row;
		if (i + AHEAD < to)
			bytes_prefetch(vectors_row(v, s->found[i + AHEAD].row), v->stride);
		float raw = simd_pair(type, metric, s->exact, vectors_row(v, row), v->config.dim);
		if (v->config.metric == VECTORS_COSINE)
			raw *= s->exact_scale * v->scales[row];
		else if (v->config.metric == VECTORS_L2)
			raw = -raw;
		struct search_hit hit = {v->rows.owners[row], v->rows.parts[row], row, raw};
		if (raw >= search_heap_bar(heap) &&
		    search_filter_accept(s->filter, hit.owner, hit.part))
			search_heap_push(heap, &hit);
	}
}

/* Moves what may still get into the heap behind the first `keep`; returns the end of it. */
OWN_FRAME static uint32_t candidates_narrow(struct scan *s, uint32_t keep,
					    const struct search_heap *heap)
{
	float bar = search_heap_bar(heap);
	uint32_t end = keep;

	if (s->p->metric == VECTORS_L2) /* -|q - x|^2 becomes <q, x> - |x|^2 / 2 */
		bar = (bar + s->square) / 2;
	for (uint32_t i = keep; i < s->count; i++)
		if (!(s->found[i].estimate + s->found[i].error < bar))
			s->found[end++] = s->found[i];
	return end;
}

/* The best by their estimates, and the query as the rows are stored. */
OWN_FRAME static void candidates_prepare(struct scan *s, const float *query)
{
	if (s->count > s->rerank) {
		candidates_select(s->found, s->count, s->rerank);
		s->count = s->rerank;
	}
	if (s->p->fine_bytes)
		candidates_refine(s);
	s->exact = query;
	s->exact_scale = s->p->metric == VECTORS_COSINE ? vectors_scale(s->v, query) : 1;
	if (s->v->config.type == VECTORS_F16) {
		simd_active->f32_to_f16(query, (uint16_t *)s->scratch, s->v->config.dim);
		s->exact = s->scratch;
	}
}

/* With finer codes first as many as are wanted, then what may still get in. */
static void candidates_finish(struct scan *s, struct search_heap *heap)
{
	uint32_t first = s->count;

	if (s->p->fine_bytes && heap->limit < s->count) {
		first = heap->limit;
		candidates_select(s->found, s->count, first);
	}
	candidates_compare(s, 0, first, heap);
	if (first < s->count)
		candidates_compare(s, first, candidates_narrow(s, first, heap), heap);
}

static size_t align64(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

/* Cells that are compared exactly where `cells` are wanted. */
static uint32_t pool_size(uint32_t cells)
{
	return cells + cells / 4 + 16;
}

OWN_FRAME static int scan_new(const struct partitions *p, const struct vectors *v,
			      const float *query, uint32_t cells, uint32_t rerank,
			      struct scan **out)
{
	size_t entries = (size_t)p->pq.groups * PQ4_VALUES;
	size_t floats = entries > p->dim + QUANTIZER_PADDING ? entries : p->dim + QUANTIZER_PADDING;
	uint32_t pool = pool_size(cells);
	size_t parts[] = {sizeof(struct scan),
			  entries,
			  p->dim * 4,
			  floats * 4,
			  p->cells * 4ull,
			  cells * sizeof(struct topk_entry),
			  p->dim + QUANTIZER_PADDING,
			  p->dim + QUANTIZER_PADDING,
			  pool * sizeof(struct topk_entry),
			  pool * sizeof(uint32_t),
			  (2ull * rerank + SCAN_ROWS) * sizeof(struct candidate)};
	size_t bytes = 0;

	for (unsigned i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		bytes += align64(parts[i]);
	uint8_t *at = alloc_aligned(64, bytes);
	if (!at)
		return -ENOMEM;
	struct scan *s = (struct scan *)at;
	s->p = p;
	s->v = v;
	s->table.bytes = at += align64(parts[0]);
	s->query = (float *)(at += align64(parts[1]));
	s->scratch = (float *)(at += align64(parts[2]));
	s->products = (float *)(at += align64(parts[3]));
	s->order = (struct topk_entry *)(at += align64(parts[4]));
	s->bytes.values = (int8_t *)(at += align64(parts[5]));
	s->bytes.unpacked = (int8_t *)(at += align64(parts[6]));
	s->pool = (struct topk_entry *)(at += align64(parts[7]));
	s->ids = (uint32_t *)(at += align64(parts[8]));
	s->found = (struct candidate *)(at += align64(parts[9]));
	s->rerank = rerank;
	s->count = 0;
	s->bar = PARTITIONS_NO_BAR;
	float scale = p->metric == VECTORS_COSINE ? vectors_scale(v, query) : 1;
	for (uint32_t d = 0; d < p->dim; d++)
		s->query[d] = query[d] * scale;
	s->square = simd_pair(SIMD_F32, SIMD_DOT, s->query, s->query, p->dim);
	*out = s;
	return 0;
}

SEARCH_CLONES
static void products_scale(float *products, float step, float offset, uint32_t count)
{
	for (uint32_t c = 0; c < count; c++)
		products[c] = products[c] * step + offset;
}

SEARCH_CLONES
static void products_lower(float *products, const float *halves, uint32_t count)
{
	for (uint32_t c = 0; c < count; c++)
		products[c] -= halves[c];
}

static void products_finish(const struct scan *s)
{
	if (s->p->metric != VECTORS_DOT)
		products_lower(s->products, s->p->halves, s->p->cells);
}

/* The cells that the centroids' bytes say to be near; how many. */
static uint32_t pool_fill(struct scan *s, uint32_t wanted)
{
	const struct partitions *p = s->p;
	struct topk best;

	quantizer_query_fill(&p->coarse, s->query, s->scratch, &s->bytes);
	simd_many(SIMD_I8, SIMD_DOT, s->bytes.values, p->coarse_codes, p->coarse_stride, NULL,
		  p->cells, p->dim, s->products);
	products_scale(s->products, s->bytes.step, s->bytes.offset, p->cells);
	products_finish(s);
	topk_init(&best, s->pool, wanted, true);
	topk_push_many(&best, s->products, NULL, 0, p->cells);
	return (uint32_t)topk_finish(&best);
}

/* Fills `order` with the `cells` most promising; how many. */
static uint32_t cells_choose(struct scan *s, uint32_t cells)
{
	const struct partitions *p = s->p;
	size_t stride = p->dim * sizeof(float);
	uint32_t wanted = pool_size(cells);
	struct topk best;

	topk_init(&best, s->order, cells, true);
	if (!p->coarse_codes || wanted > p->cells / 2) { /* not worth two steps */
		simd_many(SIMD_F32, SIMD_DOT, s->query, p->centroids, stride, NULL, p->cells,
			  p->dim, s->products);
		products_finish(s);
		topk_push_many(&best, s->products, NULL, 0, p->cells);
		return (uint32_t)topk_finish(&best);
	}
	wanted = pool_fill(s, wanted);
	for (uint32_t i = 0; i < wanted; i++)
		s->ids[i] = s->pool[i].id;
	simd_many(SIMD_F32, SIMD_DOT, s->query, p->centroids, stride, s->ids, wanted, p->dim,
		  s->products);
	for (uint32_t i = 0; i < wanted; i++) {
		float half = p->metric == VECTORS_DOT ? 0 : p->halves[s->ids[i]];
		topk_push(&best, s->products[i] - half, s->ids[i]);
	}
	return (uint32_t)topk_finish(&best);
}

/* 1: the deadline passed. */
OWN_FRAME static int cells_scan(struct scan *s, uint32_t cells)
{
	const struct partitions *p = s->p;

	cells = cells_choose(s, cells);
	pq4_table_fill(&p->pq, s->query, s->scratch, &s->table);
	for (uint32_t i = 0; i < cells; i++) {
		uint32_t c = s->order[i].id;
		float base = cell_base(s, i);

		if (i % 16 == 0 && search_deadline_passed(s->filter))
			return 1;
		if (i + 1 < cells)
			for (unsigned line = 0; line < 8; line++)
				__builtin_prefetch(p->built[s->order[i + 1].id].data + 64 * line);
		cell_scan(s, &p->built[c], 2 * i, base);
		if (p->added[c].count)
			cell_scan(s, &p->added[c], 2 * i + 1, base);
	}
	return 0;
}

int partitions_search(const struct partitions *p, const struct vectors *v, const float *query,
		      uint32_t cells, uint32_t rerank, const struct search_filter *filter,
		      struct search_heap *heap, int *partial)
{
	struct scan *s;
	int rc = scan_new(p, v, query, cells < p->cells ? cells : p->cells, rerank, &s);

	if (rc)
		return rc;
	s->filter = filter;
	if (cells_scan(s, cells < p->cells ? cells : p->cells))
		*partial = 1;
	candidates_prepare(s, query);
	candidates_finish(s, heap);
	alloc_free(s);
	return 0;
}
