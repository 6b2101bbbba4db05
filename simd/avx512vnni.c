/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   i8 and u8 kernels by AVX512_VNNI, whose only fast product is unsigned by signed bytes.
 * Invariants: with x ^ 128 the other view of a byte (x + 128 as unsigned, x - 128 as signed):
 *              i8 dot    q * r = q * (r + 128) - 128 * q
 *              u8 dot    q * r = q * (r - 128) + 128 * q
 *              norm      the same with q = r
 *              L2        d = |q - r| is unsigned in both, d * d = d * (d - 128) + 128 * d
 *            `main` sums the products, `bias` the second terms, both modulo 2^32, so that the
 *            result is right as long as it fits, which SIMD_DIM_MAX sees to. A lane that is zero in
 *            both operands adds nothing.
 */
#include "simd/avx512.h"

enum { BLOCK_Q = 4, BLOCK_R = 4, BLOCK_COS_Q = 4, BLOCK_COS_R = 2, COS_UNROLL = 1 };

struct biased {
	__m512i main, bias;
};

static inline __m512i other_view(__m512i v)
{
	return _mm512_xor_si512(v, _mm512_set1_epi8((char)128));
}

static inline struct biased biased_add(struct biased a, struct biased b)
{
	return (struct biased){_mm512_add_epi32(a.main, b.main), _mm512_add_epi32(a.bias, b.bias)};
}

static inline struct biased i8_dot(struct biased acc, __m512i q, __m512i r)
{
	return (struct biased){_mm512_dpbusd_epi32(acc.main, other_view(r), q),
			       _mm512_dpbusd_epi32(acc.bias, _mm512_set1_epi8((char)128), q)};
}

static inline struct biased u8_dot(struct biased acc, __m512i q, __m512i r)
{
	return (struct biased){_mm512_dpbusd_epi32(acc.main, q, other_view(r)),
			       _mm512_dpbusd_epi32(acc.bias, q, _mm512_set1_epi8(64))};
}

static inline struct biased square(struct biased acc, __m512i d)
{
	return (struct biased){_mm512_dpbusd_epi32(acc.main, d, other_view(d)),
			       _mm512_dpbusd_epi32(acc.bias, d, _mm512_set1_epi8(64))};
}

static inline struct biased i8_l2(struct biased acc, __m512i q, __m512i r)
{
	return square(acc, _mm512_sub_epi8(_mm512_max_epi8(q, r), _mm512_min_epi8(q, r)));
}

static inline struct biased u8_l2(struct biased acc, __m512i q, __m512i r)
{
	return square(acc, _mm512_sub_epi8(_mm512_max_epu8(q, r), _mm512_min_epu8(q, r)));
}

/* main - bias: where bias holds 128 * q. */
static inline __m512i less_bias(struct biased acc)
{
	return _mm512_sub_epi32(acc.main, acc.bias);
}

/* main + 2 * bias: where bias holds 64 * q, as 128 is no signed byte. */
static inline __m512i plus_bias(struct biased acc)
{
	return _mm512_add_epi32(acc.main, _mm512_slli_epi32(acc.bias, 1));
}

#define SUM_BIASED(by, kind)                                                                       \
	static inline float sum_##by##_##kind(struct biased acc)                                   \
	{                                                                                          \
		return sum_##kind(by##_bias(acc));                                                 \
	}                                                                                          \
	static inline void sum_##by##_##kind##_four(float *out, const struct biased *acc)          \
	{                                                                                          \
		__m512i v[4];                                                                      \
		for (int i = 0; i < 4; i++)                                                        \
			v[i] = by##_bias(acc[i]);                                                  \
		sum_##kind##_four(out, v);                                                         \
	}
SUM_BIASED(less, i32)
SUM_BIASED(less, u32)
SUM_BIASED(plus, u32)

#define TYPE i8
#define VEC __m512i
#define ACC struct biased
#define VEC_BYTES 64
#define DIM_BYTES(d) (d)
#define LOAD(p) _mm512_loadu_si512(p)
#define LOAD_TAIL(p, left, total) _mm512_maskz_loadu_epi8(mask64(left), p)
#define MAC_DOT(acc, q, r) i8_dot(acc, q, r)
#define MAC_L2(acc, q, r) i8_l2(acc, q, r)
#define MAC_NORM(acc, v) i8_dot(acc, v, v)
#define ACC_ADD(a, b) biased_add(a, b)
#define SUM_DOT sum_less_i32
#define SUM_L2 sum_plus_u32
#define SUM_NORM sum_less_u32
#define PAIR_UNROLL 2
#define ACC_REGS 2
#include "simd/tile.h"

#define TYPE u8
#define VEC __m512i
#define ACC struct biased
#define VEC_BYTES 64
#define DIM_BYTES(d) (d)
#define LOAD(p) _mm512_loadu_si512(p)
#define LOAD_TAIL(p, left, total) _mm512_maskz_loadu_epi8(mask64(left), p)
#define MAC_DOT(acc, q, r) u8_dot(acc, q, r)
#define MAC_L2(acc, q, r) u8_l2(acc, q, r)
#define MAC_NORM(acc, v) u8_dot(acc, v, v)
#define ACC_ADD(a, b) biased_add(a, b)
#define SUM sum_plus_u32
#define PAIR_UNROLL 2
#define ACC_REGS 2
#include "simd/tile.h"

#define USE(type, TYPE)                                                                            \
	k->pair[TYPE][SIMD_L2] = pair_l2_##type;                                                   \
	k->pair[TYPE][SIMD_DOT] = pair_dot_##type;                                                 \
	k->pair[TYPE][SIMD_COS] = pair_cos_##type;                                                 \
	k->many[TYPE][SIMD_L2] = many_l2_##type;                                                   \
	k->many[TYPE][SIMD_DOT] = many_dot_##type;                                                 \
	k->many[TYPE][SIMD_COS] = many_cos_##type;                                                 \
	k->block[TYPE][SIMD_L2] = block_l2_##type;                                                 \
	k->block[TYPE][SIMD_DOT] = block_dot_##type;                                               \
	k->block[TYPE][SIMD_COS] = block_cos_##type

void simd_avx512_use_vnni(struct simd_kernels *k)
{
	USE(i8, SIMD_I8);
	USE(u8, SIMD_U8);
}
