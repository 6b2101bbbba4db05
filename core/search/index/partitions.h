/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the index kind `partitions`: cells around centroids, 4-bit codes of residuals, and where
 *            a quantizer is chosen finer codes of them, which spare reading the vectors themselves.
 *
 * A row x (of length 1 where the metric is cosine) belongs to the cell of its nearest centroid c;
 * its residual r = x - c is coded as e. Then
 *     <q, x> = <q, c> + <q, r>  and  <q, r> is about s <q, e> + (<c, r> - s <c, e>),
 * with s = |r|^2 / <r, e>: exact where q - c lies along r, and the second part does not depend on
 * q. So one table of the query serves all cells, and a row costs its look-ups, one multiplication
 * and one addition. `adds` holds the second part (for L2 less |x|^2 / 2, so that greater is
 * nearer). Finer codes work the same way, each with a scale and an add of its own, and with the
 * deviation of its estimate for a query at distance 1 from the centroid.
 *
 * A cell's rows lie in a region of memory:
 *     codes: blocks x 16 x groups bytes; scales: f32 x 32 x blocks; adds: as many; rows: u32, as many;
 *     fine: fine_bytes x 32 x blocks: each struct fine_head and a code (quantizer.h), to 4 bytes
 * The region made by building (or mapped from a file) never changes; rows added later go to a
 * second region of the cell, which grows.
 *
 * Threading: as index.h.
 */
#ifndef MNEME_CORE_SEARCH_PARTITIONS_H
#define MNEME_CORE_SEARCH_PARTITIONS_H

#include "core/search/index/index.h"
#include "core/search/quant/pq4.h"
#include "core/search/quant/quantizer.h"

/* The add of an unused slot, and a bar that it never passes. */
#define PARTITIONS_NEVER (-3e38f)
#define PARTITIONS_NO_BAR (-1e38f)

struct cell {
	uint8_t *data;          /* aligned to 64 */
	uint32_t count, blocks; /* rows in it; room */
};

struct fine_head {
	float scale, add, error;
};
_Static_assert(sizeof(struct fine_head) == 12, "fine head");

struct partitions {
	enum vectors_metric metric;
	uint32_t dim, cells;
	float *centroids; /* cells x dim */
	float *halves;    /* |c|^2 / 2 */
	/* Bytes of the centroids (sq8), by which a search finds the few that it compares, where they are
	 * large: made of them, not stored. NULL: it compares all. */
	struct quantizer coarse;
	uint8_t *coarse_codes; /* cells x coarse_stride */
	size_t coarse_stride;
	struct pq4 pq;
	struct quantizer fine; /* of kind none: there are no finer codes */
	size_t fine_bytes;     /* of a row: head and code; 0 */
	/* Of the estimates' errors, each divided by the deviation that its code states. */
	float fine_mean, fine_deviation;
	struct cell *built, *added; /* one for each cell */
	uint8_t *memory;            /* all regions of `built`; NULL when they are mapped */
	struct search_reader file;  /* when mapped */
	uint64_t memory_bytes, added_bytes, rows;
};

enum { PARTITIONS_CELLS_MAX = 1 << 16 };

/* Untrained: centroids are to be filled, then partitions_finish() called. */
int partitions_new(const struct vectors *v, uint32_t cells, struct partitions **out);
int partitions_finish(struct partitions *p);
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

/* A row's codes being made. One allocation. */
struct coder {
	float *x; /* dim: the row, then its residual */
	float *decoded, *scratch;
	uint8_t *fine; /* fine_bytes */
	float scale, add;
	uint8_t codes[PQ4_GROUPS_MAX];
};
int coder_new(const struct partitions *p, struct coder **out); /* free: alloc_free() */
/* Codes e->x against a centroid. */
void coder_run(const struct partitions *p, const float *centroid, struct coder *e);
/* After the training of p->fine. */
void partitions_fine_finish(struct partitions *p);
/* Fills fine_mean and fine_deviation from rows and their neighbours in the cell. */
int partitions_fine_measure(struct partitions *p, const struct vectors *v);
/* The row as the index sees it: floats, of length 1 for cosine. */
void partitions_row(const struct vectors *v, uint32_t row, float *out);

static inline uint64_t cell_bytes(const struct partitions *p, uint32_t blocks)
{
	uint64_t block = pq4_block_bytes(&p->pq) + PQ4_BLOCK * (12 + p->fine_bytes);

	return (blocks * block + 63) & ~63ull;
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

static inline uint8_t *cell_fine(const struct partitions *p, const struct cell *c, uint32_t slot)
{
	return (uint8_t *)(cell_rows(&p->pq, c) + (size_t)c->blocks * PQ4_BLOCK) +
	       slot * p->fine_bytes;
}

/* What a row's inner product with the query is estimated to be (L2: less half its square); base:
 * the query's with the centroid. */
static inline float fine_estimate(const struct partitions *p, const struct quantizer_query *query,
				  float base, const uint8_t *fine)
{
	struct fine_head head;

	__builtin_memcpy(&head, fine, sizeof(head));
	return base + head.add +
	       head.scale * quantizer_product(&p->fine, query, fine + sizeof(head));
}

#endif
