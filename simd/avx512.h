/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the files of AVX-512 and its extensions share: masks of the first lanes, sums
 *            across lanes.
 */
#ifndef MNEME_SIMD_AVX512_H
#define MNEME_SIMD_AVX512_H

#include "simd/kernels.h"

#include <immintrin.h>

/* The first n lanes; n is less than the lanes of the mask. */
static inline __mmask16 mask16(size_t n)
{
	return (__mmask16)_bzhi_u32(0xffff, (uint32_t)n);
}

static inline __mmask32 mask32(size_t n)
{
	return _bzhi_u32(~UINT32_C(0), (uint32_t)n);
}

static inline __mmask64 mask64(size_t n)
{
	return _bzhi_u64(~UINT64_C(0), n);
}

static inline float sum_ps(__m512 v)
{
	__m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline __m128i fold_epi32(__m512i v)
{
	__m256i h = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

/* Modulo 2^32, as the vector additions: the intrinsic of that name adds signed numbers. */
static inline uint32_t add_epi32(__m512i v)
{
	__m128i s = fold_epi32(v);

	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, _MM_SHUFFLE(1, 0, 3, 2)));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, _MM_SHUFFLE(2, 3, 0, 1)));
	return (uint32_t)_mm_cvtsi128_si32(s);
}

static inline float sum_u32(__m512i v)
{
	return (float)add_epi32(v);
}

static inline float sum_i32(__m512i v)
{
	return (float)(int32_t)add_epi32(v);
}

static inline float sum_u64(__m512i v)
{
	return (float)(uint64_t)_mm512_reduce_add_epi64(v);
}

/* The sums of four registers, in order: two transposing additions, then the lanes are folded. */
static inline void sum_ps_four(float *out, const __m512 *v)
{
	__m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
	__m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
	__m512 s = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
	__m256 h = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));

	_mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}

static inline __m128i add_epi32_four(const __m512i *v)
{
	__m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]),
				      _mm512_unpackhi_epi32(v[0], v[1]));
	__m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]),
				      _mm512_unpackhi_epi32(v[2], v[3]));

	return fold_epi32(
		_mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd)));
}

static inline void sum_u32_four(float *out, const __m512i *v)
{
	_mm_storeu_ps(out, _mm_cvtepu32_ps(add_epi32_four(v)));
}

static inline void sum_i32_four(float *out, const __m512i *v)
{
	_mm_storeu_ps(out, _mm_cvtepi32_ps(add_epi32_four(v)));
}

/* For sums below 2^31. */
static inline void sum_u64_four(float *out, const __m512i *v)
{
	__m512i ab = _mm512_add_epi64(_mm512_unpacklo_epi64(v[0], v[1]),
				      _mm512_unpackhi_epi64(v[0], v[1]));
	__m512i cd = _mm512_add_epi64(_mm512_unpacklo_epi64(v[2], v[3]),
				      _mm512_unpackhi_epi64(v[2], v[3]));
	__m512 low = _mm512_shuffle_ps(_mm512_castsi512_ps(ab), _mm512_castsi512_ps(cd), 0x88);

	_mm_storeu_ps(out, _mm_cvtepi32_ps(fold_epi32(_mm512_castps_si512(low))));
}

#endif
