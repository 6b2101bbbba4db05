/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   bf16 dot and cosine by AVX512_BF16. The instruction takes subnormal elements as zero;
 *            the header says so. L2 needs differences and stays with avx512.c.
 */
#include "simd/avx512.h"

enum { BLOCK_Q = 4, BLOCK_R = 4, BLOCK_COS_Q = 4, BLOCK_COS_R = 3, COS_UNROLL = 2 };

#define TILE_WITHOUT_L2
#define TYPE bf16
#define VEC __m512i
#define ACC __m512
#define VEC_BYTES 64
#define DIM_BYTES(d) ((d)*2)
#define LOAD(p) _mm512_loadu_si512(p)
#define LOAD_TAIL(p, left, total) _mm512_maskz_loadu_epi16(mask32((left) / 2), p)
#define MAC_DOT(acc, q, r) _mm512_dpbf16_ps(acc, (__m512bh)(q), (__m512bh)(r))
#define MAC_L2(acc, q, r) (acc)
#define MAC_NORM(acc, v) _mm512_dpbf16_ps(acc, (__m512bh)(v), (__m512bh)(v))
#define ACC_ADD(a, b) _mm512_add_ps(a, b)
#define SUM sum_ps
#define PAIR_UNROLL 4
#define ACC_REGS 1
#include "simd/tile.h"

void simd_avx512_use_bf16(struct simd_kernels *k)
{
	k->pair[SIMD_BF16][SIMD_DOT] = pair_dot_bf16;
	k->pair[SIMD_BF16][SIMD_COS] = pair_cos_bf16;
	k->many[SIMD_BF16][SIMD_DOT] = many_dot_bf16;
	k->many[SIMD_BF16][SIMD_COS] = many_cos_bf16;
	k->block[SIMD_BF16][SIMD_DOT] = block_dot_bf16;
	k->block[SIMD_BF16][SIMD_COS] = block_cos_bf16;
}
