/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the index kind `partitions`: cells around centroids, 4-bit codes of residuals.
 *
 * A row x (of length 1 where the metric is cosine) belongs to the cell of its nearest centroid c;
 * its residual r = x - c is coded as e. Then
 *     <q, x> = <q, c> + <q, r>  and  <q, r> is about s <q, e> + (<c, r> - s <c, e>),
 * with s = |r|^2 / <r, e>: exact where q - c lies along r, and the second part does not depend on
 * q. So one table of the query serves all cells, and a row costs its look-ups, one multiplication
 * and one addition. `adds` holds the second part (for L2 less |x|^2 / 2, so that greater is
 * nearer).
 *
 * A cell's rows lie in a region of memory:
 *     codes: blocks x 16 x groups bytes; scales: f32 x 32 x blocks; adds: as many; rows: u32, as many
 * The region made by building (or mapped from a file) never changes; rows added later go to a
 * second region of the cell, which grows.
 *
 * Threading: as index.h.
 */
#ifndef MNEME_CORE_SEARCH_PARTITIONS_H
#define MNEME_CORE_SEARCH_PARTITIONS_H

#include "core/search/index/index.h"
#include "core/search/quant/pq4.h"

/* The add of an unused slot, and a bar that it never passes. */
#define PARTITIONS_NEVER (-3e38f)
#define PARTITIONS_NO_BAR (-1e38f)

struct cell {
	uint8_t *data;          /* aligned to 64 */
	uint32_t count, blocks; /* rows in it; room */
};

struct partitions {
	enum vectors_metric metric;
	uint32_t dim, cells;
	float *centroids; /* cells x dim */
	float *halves;    /* |c|^2 / 2; 0 where the metric is dot */
	struct pq4 pq;
	struct cell *built, *added; /* one for each cell */
	uint8_t *memory;            /* all regions of `built`; NULL when they are mapped */
	struct search_reader file;  /* when mapped */
	uint64_t memory_bytes, added_bytes, rows;
};

enum { PARTITIONS_CELLS_MAX = 1 << 16 };

/* Untrained: centroids are to be filled, then partitions_finish() called. */
int partitions_new(const struct vectors *v, uint32_t cells, struct partitions **out);
void partitions_finish(struct partitions *p);
int partitions_build(const struct vectors *v, const struct index_options *options,
		     struct partitions **out);
void partitions_free(struct partitions *p);
int partitions_add(struct partitions *p, const struct vectors *v, uint32_t row);
int partitions_clean(const struct partitions *p, const struct vectors *v, struct partitions **out);
/* Visits the `cells` most promising cells, compares the best `rerank` candidates exactly and pushes
 * those that the filter accepts. *partial is set to 1 when the deadline passes. */
int partitions_search(const struct partitions *p, const struct vectors *v, const float *query,
		      uint32_t cells, uint32_t rerank, const struct search_filter *filter,
		      struct search_heap *heap, int *partial);

static inline uint64_t cell_bytes(const struct pq4 *pq, uint32_t blocks)
{
	return ((uint64_t)blocks * (pq4_block_bytes(pq) + PQ4_BLOCK * 12) + 63) & ~63ull;
}

static inline float *cell_scales(const struct pq4 *pq, const struct cell *c)
{
	return (float *)(c->data + c->blocks * pq4_block_bytes(pq));
}

static inline float *cell_adds(const struct pq4 *pq, const struct cell *c)
{
	return cell_scales(pq, c) + (size_t)c->blocks * PQ4_BLOCK;
}

static inline uint32_t *cell_rows(const struct pq4 *pq, const struct cell *c)
{
	return (uint32_t *)(cell_adds(pq, c) + (size_t)c->blocks * PQ4_BLOCK);
}

#endif
