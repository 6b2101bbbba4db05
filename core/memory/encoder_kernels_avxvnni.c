/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: the encoder's kernels for AVX2 with AVX-VNNI: 6 x 16 tiles in 12 of the 16 registers. */
#define TILE_ROWS 6
#define TILE_VECS 2
#define vi_dot(acc, a, b) ((vi)_mm256_dpbusd_avx_epi32((__m256i)(acc), (__m256i)(a), (__m256i)(b)))

#include "core/memory/encoder_kernels_256.h"

#include "core/memory/encoder_kernels_body.h"

const struct encoder_kernels encoder_kernels_avxvnni = {
	.name = "avxvnni",
	.product = product,
	.norm = norm,
	.quantise = quantise,
	.quantise_positive = quantise_positive,
	.attention = attention,
	.mean = mean,
};
