/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   codes of some bits a dimension from which the inner product of a vector with any query
 *            is estimated, between the codes that are scanned (pq4.h) and the vector itself.
 *              bits 1 to 8  a vector is rotated at random and rounded to a grid of 2^bits values a
 *                           dimension, stretched so that it points where the vector does; nothing is
 *                           trained
 *              sq8          a byte for each dimension, between bounds that were trained for it
 * Source:    RaBitQ (Gao and Long, SIGMOD 2024), its extension to more bits (Gao et al., SIGMOD 2025).
 *            The rotation is made of sign changes, fast Hadamard transforms and Kac's steps.
 * Invariants: with r a vector and e what its code stands for, <q, r> is about |r|^2 / <r, e> * <q, e>:
 *            of no bias where the rotation is random, and exact for q along r. The deviation is
 *            |q| |r| sqrt((1 - c^2) / c^2 / (dim - 1)), c the cosine of r and e; less where q lies
 *            near r. Codes may be any bytes.
 * Threading: a trained quantizer is immutable.
 * Failure:   -ENOMEM; -EINVAL.
 */
#ifndef MNEME_CORE_SEARCH_QUANTIZER_H
#define MNEME_CORE_SEARCH_QUANTIZER_H

#include <stddef.h>
#include <stdint.h>

/* Stored. 1 to 8 are bits a dimension. */
enum quantizer_kind {
	QUANTIZER_NONE = 0,
	QUANTIZER_BITS_MAX = 8,
	QUANTIZER_SQ8 = 9,
	QUANTIZER_KINDS,
};

enum { QUANTIZER_PADDING = 64 };

struct quantizer {
	enum quantizer_kind kind;
	uint32_t dim, bits;
	float *middles, *steps; /* sq8: of each dimension */
	float *signs;           /* bits: rounds x dim, each 1 or -1 */
	unsigned rounds;
};

/* "none", "binary", "rabitq2" to "rabitq8", "sq8"; -EINVAL. */
int quantizer_parse(const char *name, size_t length, enum quantizer_kind *out);
const char *quantizer_name(enum quantizer_kind kind);

/* points: `count` >= 1 rows of `dim` floats, `stride` floats apart. Not QUANTIZER_NONE. */
int quantizer_train(enum quantizer_kind kind, const float *points, size_t stride, uint32_t count,
		    uint32_t dim, struct quantizer *out);
/* The same without training: sq8's middles and steps are to be filled. */
int quantizer_new(enum quantizer_kind kind, uint32_t dim, struct quantizer *out);
int quantizer_copy(const struct quantizer *q, struct quantizer *out);
void quantizer_free(struct quantizer *q); /* leaves it zero, of kind none */

/* Bytes of a code. */
size_t quantizer_code_bytes(const struct quantizer *q);
/* Floats that encode and query_fill want as scratch. */
static inline size_t quantizer_scratch(const struct quantizer *q)
{
	return q->dim + QUANTIZER_PADDING;
}

/* `decoded` (dim floats): what the code stands for. */
void quantizer_encode(const struct quantizer *q, const float *vector, float *scratch, uint8_t *code,
		      float *decoded);
void quantizer_decode(const struct quantizer *q, const uint8_t *code, float *scratch,
		      float *decoded);

/* A query in bytes: <q, e> is about step * <values, code> + offset. */
struct quantizer_query {
	float step, offset;
	int8_t *values;   /* dim + QUANTIZER_PADDING, the caller's, 64-byte aligned */
	int8_t *unpacked; /* as many */
};
void quantizer_query_fill(const struct quantizer *q, const float *query, float *scratch,
			  struct quantizer_query *out);
/* About <q, e>. Changes `unpacked`. */
float quantizer_product(const struct quantizer *q, const struct quantizer_query *query,
			const uint8_t *code);

#endif
