/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: the encoder's kernels for AVX-512 with VNNI: 6 x 64 tiles in 24 of the 32 registers. */
#include <immintrin.h>
#include <stdint.h>

#define VW 16
#define TILE_ROWS 6
#define TILE_VECS 4

typedef __m512 vf;
typedef int32_t vi __attribute__((vector_size(64), may_alias));

#define vf_load(p) _mm512_loadu_ps(p)
#define vf_store(p, v) _mm512_storeu_ps(p, v)
#define vf_set1(x) _mm512_set1_ps(x)
#define vf_max(a, b) _mm512_max_ps(a, b)
#define vf_abs(a) _mm512_abs_ps(a)
#define vf_sum(a) _mm512_reduce_add_ps(a)
#define vf_top(a) _mm512_reduce_max_ps(a)
#define vf_to_i(a) ((vi)_mm512_cvtps_epi32(a))
#define vf_exponent(n) ((vf)(((n) + 127) << 23))
#define vi_zero() ((vi)_mm512_setzero_si512())
#define vi_load(p) ((vi)_mm512_loadu_si512(p))
#define vi_set1(x) ((vi)_mm512_set1_epi32(x))
#define vi_to_f(a) _mm512_cvtepi32_ps((__m512i)(a))
#define vi_quad(p) ((vi)_mm512_set1_epi32(*(const quad *)(p)))
#define vi_store_bytes(p, a) _mm_storeu_si128((__m128i *)(p), _mm512_cvtepi32_epi8((__m512i)(a)))
#define vi_dot(acc, a, b) ((vi)_mm512_dpbusd_epi32((__m512i)(acc), (__m512i)(a), (__m512i)(b)))

typedef int32_t quad __attribute__((may_alias, aligned(1)));

#include "core/memory/encoder_kernels_body.h"

const struct encoder_kernels encoder_kernels_avx512 = {
	.name = "avx512vnni",
	.product = product,
	.norm = norm,
	.quantise = quantise,
	.quantise_positive = quantise_positive,
	.attention = attention,
	.mean = mean,
};
