/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   k-means over many points of some dimensions (Lloyd's iterations, empty clusters split
 *            the largest ones), for partitions and codebooks.
 * Threading: pure; may use several threads inside.
 * Failure:   -ENOMEM, -ECANCELED (parallel_cancel_by()).
 */
#ifndef MNEME_CORE_SEARCH_KMEANS_H
#define MNEME_CORE_SEARCH_KMEANS_H

#include <stddef.h>
#include <stdint.h>

/* points: count rows of dim floats, `stride` floats apart; centroids: k rows of dim floats, filled.
 * count >= 1; with count < k some centroids coincide. */
int kmeans_train(const float *points, size_t stride, uint32_t count, uint32_t dim, uint32_t k,
		 unsigned iterations, unsigned threads, float *centroids);
/* The nearest centroid of each point. halves: |c|^2 / 2 of each centroid; NULL: not known yet. */
int kmeans_assign(const float *points, size_t stride, uint32_t count, uint32_t dim,
		  const float *centroids, const float *halves, uint32_t k, unsigned threads,
		  uint32_t *nearest);

#endif
