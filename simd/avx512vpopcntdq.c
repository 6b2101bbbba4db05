/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   bit kernels by AVX512_VPOPCNTDQ, which counts ones in one instruction.
 */
#include "simd/avx512.h"

enum { BLOCK_Q = 4, BLOCK_R = 4, BLOCK_COS_Q = 4, BLOCK_COS_R = 3, COS_UNROLL = 1 };

#define POPCOUNT(v) _mm512_popcnt_epi64(v)
#include "simd/avx512bits.h"
#include "simd/bitmap.h"

void simd_avx512_use_vpopcntdq(struct simd_kernels *k)
{
	simd_pair_fn *const pair[] = {pair_l2_b1, pair_dot_b1, pair_cos_b1};
	simd_many_fn *const many[] = {many_l2_b1, many_dot_b1, many_cos_b1};
	simd_block_fn *const block[] = {block_l2_b1, block_dot_b1, block_cos_b1};

	memcpy(k->pair[SIMD_B1], pair, sizeof(pair));
	memcpy(k->many[SIMD_B1], many, sizeof(many));
	memcpy(k->block[SIMD_B1], block, sizeof(block));
	k->b1_planes = b1_planes;
	k->bitmap_count = bitmap_count;
	k->bitmap_and = bitmap_and;
	k->bitmap_or = bitmap_or;
	k->bitmap_andnot = bitmap_andnot;
}
