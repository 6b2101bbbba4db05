/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see pq4.h. */
#include "core/search/quant/pq4.h"
#include "core/search/clones.h"
#include "core/search/parallel.h"
#include "core/search/quant/kmeans.h"
#include "pool/alloc.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { TRAIN_ITERATIONS = 12 };

struct train_job {
	const float *points;
	size_t stride;
	uint32_t count;
	struct pq4 *pq;
	_Atomic int failed; /* [A] relaxed: read after the join */
};

static void train_body(void *arg, uint64_t low, uint64_t high)
{
	struct train_job *job = arg;
	float centroids[PQ4_VALUES * PQ4_WIDTH_MAX];

	for (uint64_t g = low; g < high; g++) {
		uint32_t start = job->pq->starts[g], width = job->pq->starts[g + 1] - start;
		if (kmeans_train(job->points + start, job->stride, job->count, width, PQ4_VALUES,
				 TRAIN_ITERATIONS, 1, centroids))
			atomic_store_explicit(&job->failed, 1, memory_order_relaxed);
		for (uint32_t d = 0; d < width; d++)
			for (unsigned j = 0; j < PQ4_VALUES; j++)
				job->pq->values[PQ4_VALUES * (start + d) + j] =
					centroids[j * width + d];
	}
}

int pq4_train(const float *points, size_t stride, uint32_t count, uint32_t dim, uint32_t width,
	      unsigned threads, struct pq4 *out)
{
	*out = (struct pq4){.dim = dim};
	if (!dim || !width || width > PQ4_WIDTH_MAX || !count)
		return -EINVAL;
	out->groups = (dim + width - 1) / width;
	if (out->groups > PQ4_GROUPS_MAX)
		return -EINVAL;
	out->starts = alloc_get((out->groups + 1) * sizeof(*out->starts));
	out->values = alloc_get((size_t)PQ4_VALUES * dim * sizeof(*out->values));
	struct train_job job = {.points = points, .stride = stride, .count = count, .pq = out};
	int rc = -ENOMEM;
	if (out->starts && out->values) {
		for (uint32_t g = 0; g <= out->groups; g++)
			out->starts[g] = g * width < dim ? g * width : dim;
		rc = parallel_run(out->groups, 1, threads, train_body, &job);
	}
	if (!rc && atomic_load_explicit(&job.failed, memory_order_relaxed))
		rc = -ENOMEM;
	if (rc)
		pq4_free(out);
	return rc;
}

void pq4_free(struct pq4 *pq)
{
	alloc_free(pq->starts);
	alloc_free(pq->values);
	*pq = (struct pq4){0};
}

static void encode_group(const float *vector, const float *values, uint32_t width, uint8_t *code)
{
	float distance[PQ4_VALUES] = {0};
	unsigned best = 0;

	for (uint32_t d = 0; d < width; d++)
		for (unsigned j = 0; j < PQ4_VALUES; j++) {
			float off = vector[d] - values[PQ4_VALUES * d + j];
			distance[j] += off * off;
		}
	for (unsigned j = 1; j < PQ4_VALUES; j++)
		if (distance[j] < distance[best])
			best = j;
	*code = (uint8_t)best;
}

void pq4_encode(const struct pq4 *pq, const float *vector, uint8_t *codes)
{
	for (uint32_t g = 0; g < pq->groups; g++)
		encode_group(vector + pq->starts[g], pq->values + PQ4_VALUES * pq->starts[g],
			     pq->starts[g + 1] - pq->starts[g], &codes[g]);
}

void pq4_decode(const struct pq4 *pq, const uint8_t *codes, float *vector)
{
	for (uint32_t g = 0; g < pq->groups; g++)
		for (uint32_t d = pq->starts[g]; d < pq->starts[g + 1]; d++)
			vector[d] = pq->values[PQ4_VALUES * d + codes[g]];
}

void pq4_block_put(const struct pq4 *pq, uint8_t *block, unsigned slot, const uint8_t *codes)
{
	unsigned shift = slot < 16 ? 0 : 4;

	block += slot & 15;
	for (uint32_t g = 0; g < pq->groups; g++)
		block[16 * g] = (uint8_t)((block[16 * g] & (0xf0 >> shift)) | codes[g] << shift);
}

void pq4_block_get(const struct pq4 *pq, const uint8_t *block, unsigned slot, uint8_t *codes)
{
	unsigned shift = slot < 16 ? 0 : 4;

	block += slot & 15;
	for (uint32_t g = 0; g < pq->groups; g++)
		codes[g] = block[16 * g] >> shift & 15;
}

SEARCH_CLONES
static void table_products(const struct pq4 *pq, const float *query, float *products, float *least,
			   float *range)
{
	float widest = 0;

	for (uint32_t g = 0; g < pq->groups; g++) {
		float sum[PQ4_VALUES] = {0};
		for (uint32_t d = pq->starts[g]; d < pq->starts[g + 1]; d++)
			for (unsigned j = 0; j < PQ4_VALUES; j++)
				sum[j] += query[d] * pq->values[PQ4_VALUES * d + j];
		float low = sum[0], high = sum[0];
		for (unsigned j = 0; j < PQ4_VALUES; j++) {
			low = sum[j] < low ? sum[j] : low;
			high = sum[j] > high ? sum[j] : high;
		}
		for (unsigned j = 0; j < PQ4_VALUES; j++)
			products[PQ4_VALUES * g + j] = sum[j] - low;
		least[g] = low;
		widest = high - low > widest ? high - low : widest;
	}
	*range = widest;
}

SEARCH_CLONES
static void table_round(const float *products, uint32_t count, float inverse, uint8_t *bytes)
{
	for (uint32_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)(int)(products[i] * inverse + 0.5f);
}

void pq4_table_fill(const struct pq4 *pq, const float *query, float *scratch,
		    struct pq4_table *table)
{
	float least[PQ4_GROUPS_MAX], range;

	table_products(pq, query, scratch, least, &range);
	table->offset = 0;
	for (uint32_t g = 0; g < pq->groups; g++)
		table->offset += least[g];
	table->step = range > 0 ? range / 255 : 1;
	table_round(scratch, pq->groups * PQ4_VALUES, 1 / table->step, table->bytes);
}
