/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   4-bit product quantisation: a vector's dimensions fall into groups, each group is
 *            replaced by the nearest of 16 trained values. Inner products of a query with 32 codes
 *            at a time come from register look-ups.
 * Source:    Jegou, Douze, Schmid (2011); Andre, Kermarrec, Le Scouarnec (2015); the correction of
 *            the length as in RaBitQ (Gao and Long, 2024).
 * Invariants: codes lie in blocks of 32 vectors as simd's pq4_scan() wants them. With r a vector
 *            and c what its code stands for, `scale` = |r|^2 / <r, c> makes scale * <q, c> an
 *            estimate of <q, r> that is exact for q along r.
 * Threading: a trained quantiser is immutable.
 * Failure:   -ENOMEM; -EINVAL.
 */
#ifndef MNEME_CORE_SEARCH_PQ4_H
#define MNEME_CORE_SEARCH_PQ4_H

#include <stddef.h>
#include <stdint.h>

enum { PQ4_GROUPS_MAX = 256, PQ4_VALUES = 16, PQ4_BLOCK = 32, PQ4_WIDTH_MAX = 64 };

struct pq4 {
	uint32_t dim, groups;
	uint32_t *starts; /* groups + 1: first dimension of each group */
	float *values;    /* of dimension d, value j: at PQ4_VALUES * d + j */
};

/* Trains on `count` >= 1 points. `width`: dimensions of a group (the last may have fewer); so that
 * there are at most PQ4_GROUPS_MAX groups. */
int pq4_train(const float *points, size_t stride, uint32_t count, uint32_t dim, uint32_t width,
	      unsigned threads, struct pq4 *out);
void pq4_free(struct pq4 *pq);

static inline size_t pq4_block_bytes(const struct pq4 *pq)
{
	return (size_t)pq->groups * 16;
}

/* Codes of one vector: a byte 0..15 for each group. */
void pq4_encode(const struct pq4 *pq, const float *vector, uint8_t *codes);
/* What the codes stand for. */
void pq4_decode(const struct pq4 *pq, const uint8_t *codes, float *vector);
/* Puts the codes into, and takes them from, slot 0..31 of a block. */
void pq4_block_put(const struct pq4 *pq, uint8_t *block, unsigned slot, const uint8_t *codes);
void pq4_block_get(const struct pq4 *pq, const uint8_t *block, unsigned slot, uint8_t *codes);

/* A query's table in bytes: <q, c> is about step * (sum of bytes) + offset. */
struct pq4_table {
	float step, offset;
	uint8_t *bytes; /* 16 x groups, the caller's, 64-byte aligned */
};
/* scratch: 16 x groups floats. */
void pq4_table_fill(const struct pq4 *pq, const float *query, float *scratch,
		    struct pq4_table *table);

#endif
