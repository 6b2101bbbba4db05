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
	return (__mmask16)((1u << n) - 1);
}

static inline __mmask32 mask32(size_t n)
{
	return (__mmask32)((UINT64_C(1) << n) - 1);
}

static inline __mmask64 mask64(size_t n)
{
	return (UINT64_C(1) << n) - 1;
}

static inline float reduce_ps(__m512 v)
{
	__m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline uint32_t reduce_epi32(__m512i v)
{
	return (uint32_t)_mm512_reduce_add_epi32(v);
}

static inline uint64_t reduce_epi64(__m512i v)
{
	return (uint64_t)_mm512_reduce_add_epi64(v);
}

#endif
