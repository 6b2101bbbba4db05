/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see flat.h. Rows are scored in batches of one segment, then offered to the heap. */
#include "core/search/flat.h"
#include "pool/alloc.h"
#include "simd/simd.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { BATCH = 1024, AHEAD = 6, PREFETCHED = 1024 };

/* Rows that lie apart are waited for from memory otherwise. */
static void row_prefetch(const struct vectors *v, uint32_t row)
{
	const char *at = vectors_row(v, row);
	size_t bytes = v->stride < PREFETCHED ? v->stride : PREFETCHED;

	for (size_t i = 0; i < bytes; i += 64)
		__builtin_prefetch(at + i);
}

/* A query prepared for a collection. */
struct flat_query {
	const struct vectors *v;
	const void *values; /* in the element type of the collection */
	enum simd_type type;
	enum simd_metric metric;
	float scale; /* of the query itself */
	/* one batch: off the stack, which is small where this runs */
	uint32_t wanted[BATCH], ids[BATCH];
	float raw[BATCH];
	uint16_t half[];
};

static int query_new(const struct vectors *v, const float *query, struct flat_query **out)
{
	int half = v->config.type == VECTORS_F16;

	for (uint32_t i = 0; i < v->config.dim; i++)
		if (!isfinite(query[i]))
			return -EINVAL;
	struct flat_query *q =
		alloc_get(sizeof(*q) + (half ? v->config.dim * sizeof(*q->half) : 0));
	if (!q)
		return -ENOMEM;
	q->v = v;
	q->values = half ? (const void *)q->half : query;
	q->type = half ? SIMD_F16 : SIMD_F32;
	q->metric = v->config.metric == VECTORS_L2 ? SIMD_L2 : SIMD_DOT;
	q->scale = vectors_scale(v, query);
	if (half)
		simd_active->f32_to_f16(query, q->half, v->config.dim);
	*out = q;
	return 0;
}

static float score_from(const struct flat_query *q, float raw, uint32_t row)
{
	switch (q->v->config.metric) {
	case VECTORS_COSINE:
		return raw * q->scale * q->v->scales[row];
	case VECTORS_L2:
		return -raw;
	default:
		return raw;
	}
}

static void offer(const struct flat_query *q, struct search_heap *heap,
		  const struct search_filter *filter, uint32_t row, float score)
{
	const struct rows *rows = &q->v->rows;
	struct search_hit hit = {rows->owners[row], rows->parts[row], row, score};

	if (score > search_heap_bar(heap) && search_filter_accept(filter, hit.owner, hit.part))
		search_heap_push(heap, &hit);
}

/* Collects the rows of [low, high) that live and pass the filter's bitmap. */
static unsigned rows_wanted(const struct vectors *v, const struct search_filter *filter,
			    uint32_t low, uint32_t high, uint32_t *wanted)
{
	unsigned count = 0;

	for (uint32_t row = low; row < high; row++) {
		wanted[count] = row;
		count += !rows_is_dead(&v->rows, row) && search_filter_row(filter, row);
	}
	return count;
}

static void batch_search(struct flat_query *q, struct search_heap *heap,
			 const struct search_filter *filter, uint32_t low, uint32_t high)
{
	const struct vectors *v = q->v;
	uint32_t first = low & ~((1u << v->shift) - 1);
	unsigned count = rows_wanted(v, filter, low, high, q->wanted);
	int all = count == high - low;

	if (!count)
		return;
	for (unsigned i = 0; i < count; i++)
		q->ids[i] = q->wanted[i] - first;
	simd_many(q->type, q->metric, q->values, vectors_row(v, all ? low : first), v->stride,
		  all ? NULL : q->ids, count, v->config.dim, q->raw);
	for (unsigned i = 0; i < count; i++) {
		float score = score_from(q, q->raw[i], q->wanted[i]);
		if (score > search_heap_bar(heap))
			offer(q, heap, filter, q->wanted[i], score);
	}
}

int flat_search_from(const struct vectors *v, uint32_t low, const float *query,
		     const struct search_filter *filter, struct search_heap *heap, int *partial)
{
	struct flat_query *q;
	int rc = query_new(v, query, &q);

	if (partial)
		*partial = 0;
	if (rc)
		return rc;
	while (heap->limit && low < v->rows.count) {
		uint32_t end = (low | ((1u << v->shift) - 1)) + 1; /* of the segment */
		uint32_t high = low + BATCH < end ? low + BATCH : end;
		if (high > v->rows.count)
			high = v->rows.count;
		if (search_deadline_passed(filter)) {
			if (partial)
				*partial = 1;
			break;
		}
		batch_search(q, heap, filter, low, high);
		low = high;
	}
	alloc_free(q);
	return 0;
}

int flat_search(const struct vectors *v, const float *query, const struct search_filter *filter,
		unsigned limit, struct search_hit *hits, unsigned *count, int *partial)
{
	struct search_heap heap = {.hits = hits, .limit = limit};
	int rc = flat_search_from(v, 0, query, filter, &heap, partial);

	search_heap_finish(&heap);
	*count = heap.count;
	return rc;
}

int flat_score_rows(const struct vectors *v, const float *query, const uint32_t *rows,
		    unsigned count, float *scores)
{
	struct flat_query *q;
	int rc = query_new(v, query, &q);

	if (rc)
		return rc;
	for (unsigned i = 0; i < count; i++) {
		if (i + 4 < count)
			__builtin_prefetch(vectors_row(v, rows[i + 4]));
		scores[i] = score_from(q,
				       simd_pair(q->type, q->metric, q->values,
						 vectors_row(v, rows[i]), v->config.dim),
				       rows[i]);
	}
	alloc_free(q);
	return 0;
}

int flat_score(const struct vectors *v, const float *query, struct search_hit *hits, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		hits[i].row = rows_find(&v->rows, hits[i].owner, hits[i].part);
		hits[i].score = -INFINITY;
		if (hits[i].row == ROWS_NONE)
			continue;
		int rc = flat_score_rows(v, query, &hits[i].row, 1, &hits[i].score);
		if (rc)
			return rc;
	}
	return 0;
}

/* Scores q->wanted[0..count), of which q->ids[i] says whose it is. */
static void owners_score(struct flat_query *q, unsigned count, struct search_hit *hits)
{
	const struct vectors *v = q->v;

	for (unsigned i = 0; i < count; i++) {
		if (i + AHEAD < count)
			row_prefetch(v, q->wanted[i + AHEAD]);
		uint32_t row = q->wanted[i];
		struct search_hit *hit = &hits[q->ids[i]];
		float raw = simd_pair(q->type, q->metric, q->values, vectors_row(v, row),
				      v->config.dim);
		float score = score_from(q, raw, row);
		if (score > hit->score)
			*hit = (struct search_hit){hit->owner, v->rows.parts[row], row, score};
	}
}

int flat_score_owners(const struct vectors *v, const float *query, struct search_hit *hits,
		      unsigned count)
{
	struct flat_query *q;
	unsigned held = 0;
	int rc = query_new(v, query, &q);

	if (rc)
		return rc;
	for (unsigned i = 0; i < count; i++) {
		hits[i].score = -INFINITY;
		hits[i].row = ROWS_NONE;
		for (uint32_t row = rows_latest(&v->rows, hits[i].owner); row != ROWS_NONE;
		     row = rows_before(&v->rows, row)) {
			if (rows_is_dead(&v->rows, row))
				continue;
			q->wanted[held] = row;
			q->ids[held++] = i;
			if (held < BATCH)
				continue;
			owners_score(q, held, hits);
			held = 0;
		}
	}
	owners_score(q, held, hits);
	alloc_free(q);
	return 0;
}

int flat_background(const struct vectors *v, const float *query, float *mean, float *deviation)
{
	struct flat_query *q;
	double sum = 0, squares = 0;
	unsigned count = 0;
	int rc = query_new(v, query, &q);

	if (rc)
		return rc;
	uint32_t step = v->rows.count / FLAT_SAMPLE + 1;
	for (uint32_t row = 0; row < v->rows.count; row += step) {
		if (row + (uint64_t)AHEAD * step < v->rows.count)
			row_prefetch(v, row + AHEAD * step);
		if (rows_is_dead(&v->rows, row))
			continue;
		float raw = simd_pair(q->type, q->metric, q->values, vectors_row(v, row),
				      v->config.dim);
		double score = score_from(q, raw, row);
		sum += score;
		squares += score * score;
		count++;
	}
	double center = count ? sum / count : 0;
	double variance = count ? squares / count - center * center : 0;
	*mean = (float)center;
	*deviation = (float)(variance > 0 ? sqrt(variance) : 0);
	alloc_free(q);
	return 0;
}
