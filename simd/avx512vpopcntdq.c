/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   bit kernels by AVX512_VPOPCNTDQ, which counts ones in one instruction.
 */
#include "simd/avx512.h"

enum { BLOCK_Q = 4, BLOCK_R = 4, BLOCK_COS_Q = 4, BLOCK_COS_R = 3, COS_UNROLL = 1 };

#define TYPE b1
#define VEC __m512i
#define ACC __m512i
#define VEC_BYTES 64
#define DIM_BYTES(d) (((d) + 7) / 8)
#define LOAD(p) _mm512_loadu_si512(p)
#define LOAD_TAIL(p, left, total) _mm512_maskz_loadu_epi8(mask64(left), p)
#define MAC_DOT(acc, q, r) _mm512_add_epi64(acc, _mm512_popcnt_epi64(_mm512_and_si512(q, r)))
#define MAC_L2(acc, q, r) _mm512_add_epi64(acc, _mm512_popcnt_epi64(_mm512_xor_si512(q, r)))
#define MAC_NORM(acc, v) _mm512_add_epi64(acc, _mm512_popcnt_epi64(v))
#define ACC_ADD(a, b) _mm512_add_epi64(a, b)
#define REDUCE_DOT(acc) ((float)reduce_epi64(acc))
#define REDUCE_L2(acc) ((float)reduce_epi64(acc))
#define REDUCE_NORM(acc) ((float)reduce_epi64(acc))
#define REDUCE4_DOT(out, acc) _mm_storeu_ps(out, reduce4_epi64(acc))
#define REDUCE4_L2(out, acc) _mm_storeu_ps(out, reduce4_epi64(acc))
#define REDUCE4_NORM(out, acc) _mm_storeu_ps(out, reduce4_epi64(acc))
#define PAIR_UNROLL 1
#define ACC_REGS 1
#include "simd/tile.h"

#define POPCOUNT(v) _mm512_popcnt_epi64(v)
#include "simd/planes.h"

static size_t bitmap_count(const uint64_t *a, size_t words)
{
	size_t ones = 0;

	for (size_t i = 0; i < words; i++)
		ones += (size_t)__builtin_popcountll(a[i]);
	return ones;
}

#define BITMAP(name, expression)                                                                   \
	static size_t bitmap_##name(const uint64_t *a, const uint64_t *b, uint64_t *out,           \
				    size_t words)                                                  \
	{                                                                                          \
		size_t ones = 0;                                                                   \
		for (size_t i = 0; i < words; i++) {                                               \
			uint64_t word = expression;                                                \
			out[i] = word;                                                             \
			ones += (size_t)__builtin_popcountll(word);                                \
		}                                                                                  \
		return ones;                                                                       \
	}
BITMAP(and, a[i] & b[i])
BITMAP(or, a[i] | b[i])
BITMAP(andnot, a[i] & ~b[i])

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
