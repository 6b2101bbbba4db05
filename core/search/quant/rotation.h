/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a random rotation of vectors that costs a few additions an element: signs that are
 *            flipped at random, fast Hadamard transforms, and a mixing of the halves, some rounds.
 * Source:    Ailon and Chazelle (2009), Andoni et al. (2015).
 * Invariants: linear, and keeps lengths. The same for the same dimension, everywhere and always:
 *            codes made of rotated vectors lie in files.
 * Threading: plain data.
 */
#ifndef MNEME_CORE_SEARCH_ROTATION_H
#define MNEME_CORE_SEARCH_ROTATION_H

#include <stdint.h>

enum { ROTATION_ROUNDS = 4 };

struct rotation {
	uint32_t dim;   /* a multiple of 16 */
	uint32_t power; /* the greatest power of two in it */
	float *signs;   /* ROTATION_ROUNDS x dim, each 1 or -1, scaled */
};

/* -ENOMEM */
int rotation_init(struct rotation *r, uint32_t dim);
void rotation_free(struct rotation *r);
/* In place; `vector` has dim floats and room for as many behind them. */
void rotation_apply(const struct rotation *r, float *vector);

#endif
