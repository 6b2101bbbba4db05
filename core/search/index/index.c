/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see index.h: the choice of the index, how far a search goes, and what it measures of
 *            itself.
 * Invariants: `levels` ascend in recall and in effort.
 */
#include "core/search/flat.h"
#include "core/search/index/index_private.h"
#include "core/search/parallel.h"
#include "pool/alloc.h"
#include "pool/frame.h"
#include "simd/simd.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { PROBES = 100, PROBE_LIMIT = 10, RETRIES = 3, EFFORTS = 28, RERANKS = 8 };

static const float wanted_levels[INDEX_LEVELS] = {.90f, .95f, .99f};

/* Costs in nanoseconds, for comparing alternatives only: a row scanned by its code, a row compared
 * exactly (a cache miss and its bytes). */
static double cost_scan(const struct partitions *p)
{
	return 0.25 + 0.008 * (double)pq4_block_bytes(&p->pq) / PQ4_BLOCK;
}

static double cost_exact(const struct vectors *v)
{
	return 30 + 0.06 * (double)v->stride;
}

/* A candidate: of those with finer codes few are compared exactly. */
static double cost_candidate(const struct partitions *p, const struct vectors *v)
{
	return p->fine_bytes ? 30 + 0.1 * (double)p->fine_bytes : cost_exact(v);
}

static double cost_of(const struct partitions *p, const struct vectors *v, uint32_t cells,
		      uint32_t rerank)
{
	return cells * (20 + 0.1 * p->dim + cost_scan(p) * (double)p->rows / p->cells) +
	       rerank * cost_candidate(p, v);
}

void index_free(struct index *ix)
{
	if (!ix)
		return;
	partitions_free(ix->partitions);
	alloc_free(ix);
}

/* ---- how far a search goes ---- */

OWN_FRAME static void effort_of(const struct index *ix, const struct index_query *query,
				uint32_t *cells, uint32_t *rerank)
{
	float wanted = query->recall > 0 ? query->recall : wanted_levels[1];
	unsigned i = 0, sure = query->sure ? query->sure : query->limit;

	while (i + 1 < INDEX_LEVELS && ix->levels[i].wanted < wanted)
		i++;
	double more = wanted > ix->levels[i].wanted ? 2 : 1; /* beyond the last level */
	double wide = sure > PROBE_LIMIT ? (double)sure / PROBE_LIMIT : 1;
	*cells = (uint32_t)ceil(ix->levels[i].cells * more * sqrt(wide));
	*rerank = (uint32_t)ceil(ix->levels[i].rerank * more * wide);
	if (query->cells)
		*cells = query->cells;
	if (query->rerank)
		*rerank = query->rerank;
	if (*rerank < query->limit + query->limit / 4)
		*rerank = query->limit + query->limit / 4;
	if (*cells > ix->partitions->cells)
		*cells = ix->partitions->cells;
	if (*rerank > ix->partitions->rows)
		*rerank = (uint32_t)ix->partitions->rows;
}

/* Living rows that the filter's bitmap allows. */
static uint64_t rows_allowed(const struct vectors *v, const struct search_filter *f)
{
	uint64_t rows = f->bitmap_rows < v->rows.count ? f->bitmap_rows : v->rows.count, sum = 0;

	for (uint64_t w = 0; w < rows / 64; w++)
		sum += (uint64_t)__builtin_popcountll(f->bitmap[w] & ~v->rows.dead[w]);
	if (rows % 64)
		sum += (uint64_t)__builtin_popcountll(f->bitmap[rows / 64] &
						      ~v->rows.dead[rows / 64] &
						      ((1ull << rows % 64) - 1));
	return sum;
}

/* The nearest of a share of the rows lie further out: as many cells more. Returns 1 when an exact
 * scan of the allowed rows is cheaper. */
OWN_FRAME static int effort_widen(const struct index *ix, const struct vectors *v,
				  const struct search_filter *f, uint32_t *cells, uint32_t rerank)
{
	if (!f || !f->bitmap)
		return 0;
	uint64_t allowed = rows_allowed(v, f), alive = v->rows.count - v->rows.dead_count;
	double share = alive ? (double)allowed / (double)alive : 0;
	double wanted = share > 0 ? *cells / share : ix->partitions->cells;
	if (wanted > ix->partitions->cells)
		wanted = ix->partitions->cells;
	*cells = (uint32_t)wanted;
	return (double)allowed * cost_exact(v) < cost_of(ix->partitions, v, *cells, rerank);
}

/* The nearest that are let through are among so many more candidates. Returns 1 as above. */
static int effort_share(const struct index *ix, const struct vectors *v, float share,
			uint32_t *cells, uint32_t *rerank)
{
	double wanted = *cells / (double)share, more = *rerank / (double)share;

	*cells = wanted < ix->partitions->cells ? (uint32_t)wanted : ix->partitions->cells;
	*rerank = more < (double)ix->partitions->rows ? (uint32_t)more
						      : (uint32_t)ix->partitions->rows;
	return (double)(v->rows.count - v->rows.dead_count) * cost_exact(v) <
	       cost_of(ix->partitions, v, *cells, *rerank);
}

OWN_FRAME static int effort_choose(const struct index *ix, const struct vectors *v,
				   const struct index_query *query, uint32_t *cells,
				   uint32_t *rerank)
{
	effort_of(ix, query, cells, rerank);
	if (effort_widen(ix, v, query->filter, cells, *rerank))
		return 1;
	return query->share > 0 && query->share < 1 &&
	       effort_share(ix, v, query->share, cells, rerank);
}

OWN_FRAME static int query_finite(const struct vectors *v, const float *query)
{
	for (uint32_t d = 0; d < v->config.dim; d++)
		if (!isfinite(query[d]))
			return 0;
	return 1;
}

int index_search(const struct index *ix, const struct vectors *v, const struct index_query *query,
		 struct search_hit *hits, unsigned *count, int *partial)
{
	struct search_heap heap = {.hits = hits, .limit = query->limit};
	unsigned enough = query->sure && query->sure < query->limit ? query->sure : query->limit;
	uint32_t cells, rerank;
	int unused, rc = 0;

	if (!partial)
		partial = &unused;
	*partial = 0;
	*count = 0;
	if (!query_finite(v, query->vector))
		return -EINVAL;
	int exact = ix->kind == INDEX_FLAT || query->recall >= 1;
	if (!exact)
		exact = effort_choose(ix, v, query, &cells, &rerank);
	for (unsigned try = 0; !exact; try++) {
		heap.count = 0;
		rc = partitions_search(ix->partitions, v, query->vector, cells, rerank,
				       query->filter, &heap, partial);
		/* A filter that refuses much leaves too few: look further, then everywhere. */
		if (rc || *partial || heap.count >= enough || !query->filter ||
		    !query->filter->accept)
			break;
		exact = try == RETRIES ||
			(cells == ix->partitions->cells && rerank >= ix->partitions->rows);
		cells = cells * 4 < ix->partitions->cells ? cells * 4 : ix->partitions->cells;
		rerank = rerank * 4ull < ix->partitions->rows ? rerank * 4
							      : (uint32_t)ix->partitions->rows;
	}
	if (exact)
		return flat_search(v, query->vector, query->filter, query->limit, hits, count,
				   partial);
	if (query->compared)
		*query->compared += heap.compared;
	search_heap_finish(&heap);
	*count = heap.count;
	return rc;
}

/* ---- measuring ---- */

struct probe {
	uint32_t row;
	unsigned count;
	float bar; /* the score of the last of the true nearest */
};

struct probes {
	unsigned count;
	float *vectors; /* count x dim */
	struct probe probes[];
};

static void probes_free(struct probes *s)
{
	if (s)
		alloc_free(s->vectors);
	alloc_free(s);
}

/* Rows taken as queries, spread evenly, with the scores of their exact neighbours. */
static int probes_new(const struct vectors *v, unsigned wanted, struct probes **out)
{
	struct probes *s = alloc_zeroed(1, sizeof(*s) + wanted * sizeof(s->probes[0]));
	struct search_hit hits[PROBE_LIMIT + 1];
	int rc = s ? 0 : -ENOMEM;

	if (s) {
		s->vectors = alloc_get((wanted + 1ull) * v->config.dim * sizeof(float));
		rc = s->vectors ? 0 : -ENOMEM;
	}
	for (unsigned i = 0; !rc && i < wanted; i++) {
		uint32_t row = (uint32_t)((2 * i + 1ull) * v->rows.count / (2ull * wanted));
		float *to = s->vectors + (size_t)s->count * v->config.dim;
		unsigned found;
		if (row >= v->rows.count || rows_is_dead(&v->rows, row))
			continue;
		memcpy(to, vectors_row_f32(v, row, to), v->config.dim * sizeof(float));
		rc = flat_search(v, to, NULL, PROBE_LIMIT + 1, hits, &found, NULL);
		struct probe *probe = &s->probes[s->count];
		probe->row = row;
		for (unsigned k = 0; !rc && k < found && probe->count < PROBE_LIMIT; k++)
			if (hits[k].row != row) {
				probe->count++;
				probe->bar = hits[k].score;
			}
		s->count += probe->count > 0;
	}
	if (rc)
		probes_free(s);
	else
		*out = s;
	return rc;
}

/* Ties count as found. */
static int probes_recall(const struct index *ix, const struct vectors *v, const struct probes *s,
			 const struct index_query *how, float *recall)
{
	struct search_hit hits[PROBE_LIMIT + 1];
	uint64_t found = 0, all = 0;

	for (unsigned i = 0; i < s->count; i++) {
		const struct probe *probe = &s->probes[i];
		struct index_query query = *how;
		unsigned count, good = 0;
		query.vector = s->vectors + (size_t)i * v->config.dim;
		query.limit = PROBE_LIMIT + 1;
		int rc = index_search(ix, v, &query, hits, &count, NULL);
		if (rc)
			return rc;
		for (unsigned k = 0; k < count; k++)
			good += hits[k].row != probe->row &&
				hits[k].score >= probe->bar - fabsf(probe->bar) * 1e-6f;
		found += good < probe->count ? good : probe->count;
		all += probe->count;
	}
	*recall = all ? (float)((double)found / (double)all) : 1;
	return 0;
}

int index_measure(const struct index *ix, const struct vectors *v, float recall, unsigned probes,
		  float *measured)
{
	struct index_query how = {.recall = recall};
	struct probes *s;
	int rc = probes_new(v, probes, &s);

	if (rc)
		return rc;
	rc = probes_recall(ix, v, s, &how, measured);
	probes_free(s);
	return rc;
}

/* 1, 2, 3, 4, 6, 8, 12, 16 ... up to most, which is the last. */
static unsigned steps_fill(uint32_t first, uint32_t most, uint32_t *steps, unsigned room)
{
	unsigned count = 0;

	for (uint32_t at = first; at < most && count + 1 < room;) {
		steps[count++] = at;
		at = at & (at - 1) ? (at / 3) * 4 : at + (at + 1) / 2;
	}
	steps[count++] = most;
	return count;
}

/* For one level: the cheapest pair of cells and rerank that reaches it. More cells need fewer
 * candidates, so the search walks along that border. */
static int level_find(struct index *ix, const struct vectors *v, const struct probes *s,
		      struct index_level *level)
{
	uint32_t efforts[EFFORTS], reranks[RERANKS];
	unsigned efforts_count = steps_fill(1, ix->partitions->cells, efforts, EFFORTS),
		 reranks_count;
	/* What a sample shows is uncertain, and the best of many settings is flattered by it. */
	double enough =
		level->wanted + 0.5 * sqrt(level->wanted * (1 - level->wanted) / (s->count + 1));
	double best = INFINITY;
	int rc = 0;

	for (reranks_count = 0; reranks_count < RERANKS; reranks_count++)
		reranks[reranks_count] = 16u << reranks_count;
	level->cells = ix->partitions->cells;
	level->rerank = reranks[RERANKS - 1] * 4;
	unsigned r = RERANKS - 1;
	for (unsigned e = 0; !rc && e < efforts_count; e++)
		for (;;) {
			if (parallel_is_canceled())
				return -ECANCELED;
			struct index_query how = {.cells = efforts[e], .rerank = reranks[r]};
			double cost = cost_of(ix->partitions, v, efforts[e], reranks[r]);
			float recall = 0;
			if (cost < best)
				rc = probes_recall(ix, v, s, &how, &recall);
			if (rc || (cost < best && recall < enough))
				break;
			if (cost < best) {
				best = cost;
				level->cells = efforts[e];
				level->rerank = reranks[r];
				level->measured = recall;
			}
			if (!r)
				break;
			r--;
		}
	return rc;
}

static int levels_measure(struct index *ix, const struct vectors *v, unsigned wanted)
{
	struct probes *s;
	int rc = probes_new(v, wanted ? wanted : PROBES, &s);

	if (rc)
		return rc;
	for (unsigned i = 0; !rc && i < INDEX_LEVELS; i++) {
		ix->levels[i].wanted = wanted_levels[i];
		rc = level_find(ix, v, s, &ix->levels[i]);
	}
	probes_free(s);
	return rc;
}

/* ---- making and changing ---- */

int index_build(const struct vectors *v, const struct index_options *options, struct index **out)
{
	static const struct index_options defaults;
	struct index *ix = alloc_zeroed(1, sizeof(*ix));
	int rc = 0;

	if (!ix)
		return -ENOMEM;
	if (!options)
		options = &defaults;
	parallel_cancel_by(options->cancel);
	ix->kind = options->kind;
	if (ix->kind == INDEX_AUTO)
		ix->kind = v->rows.count - v->rows.dead_count < INDEX_FLAT_ROWS ? INDEX_FLAT
										: INDEX_PARTITIONS;
	if (ix->kind == INDEX_PARTITIONS)
		rc = partitions_build(v, options, &ix->partitions);
	if (!rc && ix->kind == INDEX_PARTITIONS)
		rc = levels_measure(ix, v, options->probes);
	parallel_cancel_by(NULL);
	if (rc)
		index_free(ix);
	else
		*out = ix;
	return rc;
}

int index_add(struct index *ix, const struct vectors *v, uint32_t row)
{
	return ix->kind == INDEX_PARTITIONS ? partitions_add(ix->partitions, v, row) : 0;
}

int index_clean(const struct index *ix, const struct vectors *v, struct index **out)
{
	struct index *to = alloc_get(sizeof(*to));
	int rc = 0;

	if (!to)
		return -ENOMEM;
	*to = *ix;
	to->partitions = NULL;
	if (ix->kind == INDEX_PARTITIONS)
		rc = partitions_clean(ix->partitions, v, &to->partitions);
	if (rc)
		index_free(to);
	else
		*out = to;
	return rc;
}

void index_get_stats(const struct index *ix, struct index_stats *out)
{
	const struct partitions *p = ix->partitions;

	*out = (struct index_stats){.kind = ix->kind, .bytes = sizeof(*ix)};
	if (!p)
		return;
	out->rows = p->rows;
	out->cells = p->cells;
	out->bytes += sizeof(*p) + p->memory_bytes + p->added_bytes +
		      p->cells * (p->dim * 4ull + p->coarse_stride + 4 + 2 * sizeof(struct cell)) +
		      (PQ4_VALUES + 1ull) * p->dim * 4;
	out->quantizer = p->fine.kind;
	out->error_mean = p->fine_mean;
	out->error_deviation = p->fine_deviation;
	memcpy(out->levels, ix->levels, sizeof(out->levels));
}
