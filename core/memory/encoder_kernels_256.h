/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: what the two tables of 256 bits share; vi_dot is the including file's. */
#include <immintrin.h>
#include <stdint.h>

#define VW 8

typedef __m256 vf;
typedef int32_t vi __attribute__((vector_size(32), may_alias));
typedef int32_t quad __attribute__((may_alias, aligned(1)));

#define vf_load(p) _mm256_loadu_ps(p)
#define vf_store(p, v) _mm256_storeu_ps(p, v)
#define vf_set1(x) _mm256_set1_ps(x)
#define vf_max(a, b) _mm256_max_ps(a, b)
#define vf_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define vf_to_i(a) ((vi)_mm256_cvtps_epi32(a))
#define vf_exponent(n) ((vf)(((n) + 127) << 23))
#define vi_zero() ((vi)_mm256_setzero_si256())
#define vi_load(p) ((vi)_mm256_loadu_si256((const __m256i *)(p)))
#define vi_set1(x) ((vi)_mm256_set1_epi32(x))
#define vi_to_f(a) _mm256_cvtepi32_ps((__m256i)(a))
#define vi_quad(p) ((vi)_mm256_set1_epi32(*(const quad *)(p)))

static inline float vf_sum(vf a)
{
	__m128 v = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	v = _mm_add_ps(v, _mm_movehl_ps(v, v));
	return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
}

static inline float vf_top(vf a)
{
	__m128 v = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	v = _mm_max_ps(v, _mm_movehl_ps(v, v));
	return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
}

static inline void vi_store_bytes(uint8_t *out, vi a)
{
	const __m128i low = _mm256_castsi256_si128((__m256i)a);
	const __m128i words = _mm_packus_epi32(low, _mm256_extracti128_si256((__m256i)a, 1));

	_mm_storel_epi64((__m128i *)out, _mm_packus_epi16(words, words));
}
