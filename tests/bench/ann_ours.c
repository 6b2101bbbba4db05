/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see ann_ours.h. */
#include "tests/bench/ann_ours.h"
#include "tests/bench/ann_data.h"

#include <stdlib.h>

struct ann_ours_options ann_ours_options;

struct ours {
	struct vectors *v;
	struct index *ix;
};

static void put(struct ours *o, const float *vector, uint32_t id, uint32_t *row)
{
	if (vectors_put(o->v, id, 0, 0, vector, row))
		ann_fail("a vector cannot be put");
}

static void *build(const float *base, size_t count, size_t room, size_t dim, unsigned threads)
{
	struct vectors_config config = {.dim = (uint32_t)dim,
					.metric = VECTORS_L2,
					.type = ann_ours_options.half ? VECTORS_F16 : VECTORS_F32};
	struct index_options options = {.kind = INDEX_PARTITIONS,
					.quantizer = ann_ours_options.quantizer,
					.threads = threads};
	struct ours *o = calloc(1, sizeof(*o));

	(void)room;
	if (!o || vectors_new(&config, &o->v))
		ann_fail("no memory");
	for (size_t i = 0; i < count; i++)
		put(o, base + i * dim, (uint32_t)i, NULL);
	if (index_build(o->v, &options, &o->ix))
		ann_fail("the index cannot be built");
	return o;
}

static void search(struct ours *o, struct index_query *query, uint32_t *ids)
{
	struct search_hit hits[ANN_K];
	unsigned count;

	query->limit = ANN_K;
	if (index_search(o->ix, o->v, query, hits, &count, NULL))
		ann_fail("search");
	for (unsigned i = 0; i < ANN_K; i++)
		ids[i] = i < count ? hits[i].row : UINT32_MAX;
}

static void search_effort(void *index, const float *query, unsigned k, unsigned effort,
			  unsigned rerank, uint32_t *ids)
{
	struct index_query q = {.vector = query, .cells = effort, .rerank = rerank};

	(void)k;
	search(index, &q, ids);
}

void ann_ours_search_level(void *index, const float *query, unsigned level, uint32_t *ids,
			   uint64_t *compared)
{
	struct ours *o = index;
	struct index_stats stats;

	index_get_stats(o->ix, &stats);
	struct index_query q = {
		.vector = query, .recall = stats.levels[level].wanted, .compared = compared};
	search(o, &q, ids);
}

static void add(void *index, const float *vector, uint32_t id)
{
	struct ours *o = index;
	uint32_t row;

	put(o, vector, id, &row);
	if (index_add(o->ix, o->v, row))
		ann_fail("the index cannot take a row");
}

static void release(void *index)
{
	struct ours *o = index;

	index_free(o->ix);
	vectors_free(o->v);
	free(o);
}

void ann_ours_stats(void *index, struct index_stats *out, uint64_t *vectors_bytes)
{
	struct ours *o = index;
	struct vectors_stats stats;

	index_get_stats(o->ix, out);
	vectors_get_stats(o->v, &stats);
	*vectors_bytes = stats.bytes;
}

static size_t bytes(void *index)
{
	struct index_stats stats;
	uint64_t vectors;

	ann_ours_stats(index, &stats, &vectors);
	return stats.bytes + vectors;
}

static const unsigned efforts[] = {1,  2,  3,   4,   6,   8,   12,  16,  24,   32,   48,
				   64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 0};
static const unsigned reranks[] = {20, 40, 80, 160, 320, 640, 0};

const struct ann_peer ann_ours = {"ours",  build, search_effort, add,
				  release, bytes, efforts,       reranks};
