/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see kmeans.h. The nearest centroid maximises <x, c> - |c|^2 / 2; inner products of a
 *            tile of points with a tile of centroids come from one block kernel call.
 */
#include "core/search/quant/kmeans.h"
#include "core/search/parallel.h"
#include "pool/alloc.h"
#include "simd/simd.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
	TILE_POINTS = 32,
	TILE_CENTROIDS = 256,
	TILE_LEAST = 8,
	LANES = 8,
	TILE_BYTES = 16 << 10,
	SMALL_DIM = 8,
	SMALL_WIDE = 16,
	POINTS_OF_JOB = 1024,
};

struct assign_job {
	const float *points, *centroids, *halves; /* halves: |c|^2 / 2 */
	size_t stride;
	uint32_t dim, k;
	uint32_t *nearest;
	_Atomic int failed; /* [A] relaxed: read after the join */
};

/* Inner products to scores; the greatest. In lanes, which the compiler makes a vector of. */
static float scores_finish(float *scores, const float *halves, uint32_t width)
{
	float most[LANES], greatest = -INFINITY;
	uint32_t c = 0;

	for (int l = 0; l < LANES; l++)
		most[l] = -INFINITY;
	for (; c + LANES <= width; c += LANES)
		for (int l = 0; l < LANES; l++) {
			scores[c + l] -= halves[c + l];
			most[l] = scores[c + l] > most[l] ? scores[c + l] : most[l];
		}
	for (; c < width; c++) {
		scores[c] -= halves[c];
		greatest = scores[c] > greatest ? scores[c] : greatest;
	}
	for (int l = 0; l < LANES; l++)
		greatest = most[l] > greatest ? most[l] : greatest;
	return greatest;
}

/* The first of them with that score. */
static uint32_t score_find(const float *scores, float score, uint32_t width)
{
	uint32_t c = 0;

	while (c + 1 < width && scores[c] != score)
		c++;
	return c;
}

/* SMALL_WIDE centroids from `first` on, dimension by dimension; those that there are not are never
 * near. */
static void small_turn(const struct assign_job *job, uint32_t first, float *turned, float *halves)
{
	for (uint32_t c = 0; c < SMALL_WIDE; c++) {
		uint32_t of = first + c < job->k ? first + c : job->k - 1;
		halves[c] = first + c < job->k ? job->halves[of] : INFINITY;
		for (uint32_t d = 0; d < job->dim; d++)
			turned[d * SMALL_WIDE + c] = job->centroids[(size_t)of * job->dim + d];
	}
}

/* Of few dimensions a product is too short for a kernel: many centroids at once instead. */
static void assign_small(const struct assign_job *job, uint64_t low, uint64_t high)
{
	float turned[SMALL_DIM * SMALL_WIDE], halves[SMALL_WIDE], best[POINTS_OF_JOB];

	for (uint64_t i = low; i < high; i++)
		best[i - low] = -INFINITY;
	for (uint32_t first = 0; first < job->k; first += SMALL_WIDE) {
		small_turn(job, first, turned, halves);
		for (uint64_t i = low; i < high; i++) {
			const float *x = job->points + i * job->stride;
			float scores[SMALL_WIDE] = {0};
			for (uint32_t d = 0; d < job->dim; d++)
				for (uint32_t c = 0; c < SMALL_WIDE; c++)
					scores[c] += x[d] * turned[d * SMALL_WIDE + c];
			float most = scores_finish(scores, halves, SMALL_WIDE);
			if (!(most > best[i - low]))
				continue;
			best[i - low] = most;
			job->nearest[i] = first + score_find(scores, most, SMALL_WIDE);
		}
	}
}

/* Centroids of a tile: as many as lie in half of a first-level cache while all points pass. */
static uint32_t tile_width(uint32_t dim)
{
	uint32_t width = TILE_BYTES / (dim * (uint32_t)sizeof(float)) / LANES * LANES;

	return width < TILE_LEAST ? TILE_LEAST : width > TILE_CENTROIDS ? TILE_CENTROIDS : width;
}

static void assign_tile(const struct assign_job *job, uint64_t low, uint32_t rows, float *tile)
{
	uint32_t wide = tile_width(job->dim);
	float best[TILE_POINTS];

	for (uint32_t i = 0; i < rows; i++)
		best[i] = -INFINITY;
	for (uint32_t first = 0; first < job->k; first += wide) {
		uint32_t width = job->k - first < wide ? job->k - first : wide;
		simd_block(SIMD_F32, SIMD_DOT, job->points + low * job->stride,
			   job->stride * sizeof(float), rows,
			   job->centroids + (size_t)first * job->dim, job->dim * sizeof(float),
			   width, job->dim, tile, TILE_CENTROIDS);
		for (uint32_t i = 0; i < rows; i++) {
			float *scores = tile + (size_t)i * TILE_CENTROIDS;
			float most = scores_finish(scores, job->halves + first, width);
			if (!(most > best[i]))
				continue;
			best[i] = most;
			job->nearest[low + i] = first + score_find(scores, most, width);
		}
	}
}

static void assign_body(void *arg, uint64_t low, uint64_t high)
{
	struct assign_job *job = arg;

	for (uint64_t i = low; i < high; i++)
		job->nearest[i] = 0;
	if (job->dim <= SMALL_DIM) {
		assign_small(job, low, high);
		return;
	}
	float *tile = alloc_aligned(64, TILE_POINTS * TILE_CENTROIDS * sizeof(*tile));
	if (!tile) {
		atomic_store_explicit(&job->failed, 1, memory_order_relaxed);
		return;
	}
	for (; low < high; low += TILE_POINTS)
		assign_tile(job, low,
			    (uint32_t)(high - low < TILE_POINTS ? high - low : TILE_POINTS), tile);
	alloc_free(tile);
}

int kmeans_assign(const float *points, size_t stride, uint32_t count, uint32_t dim,
		  const float *centroids, const float *halves, uint32_t k, unsigned threads,
		  uint32_t *nearest)
{
	float *own = halves ? NULL : alloc_get(k * sizeof(*own));
	struct assign_job job = {.points = points,
				 .centroids = centroids,
				 .halves = halves ? halves : own,
				 .stride = stride,
				 .dim = dim,
				 .k = k,
				 .nearest = nearest};

	if (!job.halves)
		return -ENOMEM;
	for (uint32_t c = 0; own && c < k; c++) {
		const float *at = centroids + (size_t)c * dim;
		own[c] = simd_pair(SIMD_F32, SIMD_DOT, at, at, dim) / 2;
	}
	int rc = parallel_run(count, POINTS_OF_JOB, threads, assign_body, &job);
	alloc_free(own);
	return rc ? rc : atomic_load_explicit(&job.failed, memory_order_relaxed) ? -ENOMEM : 0;
}

/* An empty cluster takes half of the largest one: its centroid, moved a little. */
static void split_largest(float *centroids, uint32_t *sizes, uint32_t k, uint32_t dim,
			  uint32_t empty)
{
	uint32_t largest = 0;

	for (uint32_t c = 1; c < k; c++)
		if (sizes[c] > sizes[largest])
			largest = c;
	for (uint32_t d = 0; d < dim; d++) {
		float value = centroids[(size_t)largest * dim + d],
		      off = d & 1 ? 1 / 1024.f : -1 / 1024.f;
		centroids[(size_t)empty * dim + d] = value * (1 + off);
		centroids[(size_t)largest * dim + d] = value * (1 - off);
	}
	sizes[empty] = sizes[largest] / 2;
	sizes[largest] -= sizes[empty];
}

static void update(const float *points, size_t stride, uint32_t count, uint32_t dim, uint32_t k,
		   const uint32_t *nearest, uint32_t *sizes, float *centroids)
{
	memset(sizes, 0, k * sizeof(*sizes));
	memset(centroids, 0, (size_t)k * dim * sizeof(*centroids));
	for (uint32_t i = 0; i < count; i++) {
		float *to = centroids + (size_t)nearest[i] * dim;
		const float *from = points + (size_t)i * stride;
		for (uint32_t d = 0; d < dim; d++)
			to[d] += from[d];
		sizes[nearest[i]]++;
	}
	for (uint32_t c = 0; c < k; c++)
		for (uint32_t d = 0; sizes[c] && d < dim; d++)
			centroids[(size_t)c * dim + d] /= (float)sizes[c];
	for (uint32_t c = 0; c < k; c++)
		if (!sizes[c])
			split_largest(centroids, sizes, k, dim, c);
}

int kmeans_train(const float *points, size_t stride, uint32_t count, uint32_t dim, uint32_t k,
		 unsigned iterations, unsigned threads, float *centroids)
{
	uint32_t *nearest = alloc_get(count * sizeof(*nearest));
	uint32_t *sizes = alloc_get(k * sizeof(*sizes));
	int rc = nearest && sizes ? 0 : -ENOMEM;

	/* Spread over the points by a step that is prime to any count that matters. */
	for (uint32_t c = 0; !rc && c < k; c++)
		memcpy(centroids + (size_t)c * dim,
		       points + (size_t)((uint64_t)c * 2654435761u % count) * stride,
		       dim * sizeof(*centroids));
	for (unsigned i = 0; !rc && i < iterations; i++) {
		rc = kmeans_assign(points, stride, count, dim, centroids, NULL, k, threads,
				   nearest);
		if (!rc)
			update(points, stride, count, dim, k, nearest, sizes, centroids);
	}
	alloc_free(nearest);
	alloc_free(sizes);
	return rc;
}
