/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the encoder's kernels for AVX2 without VNNI. A product of bytes summed in pairs would
 *            overflow 16 bits (255 * 127 * 2), so even and odd bytes are widened and summed apart:
 *            exact, at half the rate.
 */
#define TILE_ROWS 4
#define TILE_VECS 2
#define vi_dot(acc, a, b) dot_widened(acc, a, b)

#include "core/memory/encoder_kernels_256.h"

static inline __attribute__((always_inline)) vi dot_widened(vi acc, vi a, vi b)
{
	const __m256i bytes = (__m256i)a, weights = (__m256i)b;
	const __m256i even = _mm256_madd_epi16(_mm256_and_si256(bytes, _mm256_set1_epi16(255)),
					       _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8));
	const __m256i odd =
		_mm256_madd_epi16(_mm256_srli_epi16(bytes, 8), _mm256_srai_epi16(weights, 8));

	return acc + (vi)even + (vi)odd;
}

#include "core/memory/encoder_kernels_body.h"

const struct encoder_kernels encoder_kernels_avx2 = {
	.name = "avx2",
	.product = product,
	.norm = norm,
	.quantise = quantise,
	.quantise_positive = quantise_positive,
	.attention = attention,
	.mean = mean,
};
