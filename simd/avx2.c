/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the kernels for AVX2, FMA, F16C and POPCNT: the primitives of 256 bits, from which
 *            tile.h and batch.h make the rest.
 * Invariants: the end of a vector is read by a load that ends with it and overlaps what is already
 *            summed; the overlap is masked to zero. A vector shorter than one load is copied.
 */
#include "simd/kernels.h"

#include <immintrin.h>

enum { BLOCK_Q = 2, BLOCK_R = 4, BLOCK_COS_Q = 2, BLOCK_COS_R = 2, COS_UNROLL = 1 };

/* 32 zeros, then ones: a load from 32 - x + .. keeps the last bytes of a vector. */
static const uint8_t keep_last[64] = {[32] = 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
				      255,        255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
				      255,        255, 255, 255, 255, 255, 255, 255, 255, 255};

/* The last `left` < 32 bytes of a vector of `total`, which end at p + left, in the upper lanes;
 * zeros below. A short vector comes in the lower lanes. */
static inline __m256i tail32(const uint8_t *p, size_t left, size_t total)
{
	if (total >= 32)
		return _mm256_and_si256(_mm256_loadu_si256((const void *)(p + left - 32)),
					_mm256_loadu_si256((const void *)(keep_last + left)));
	uint8_t copy[32] = {0};
	for (size_t i = 0; i < left; i++)
		copy[i] = p[i];
	return _mm256_loadu_si256((const void *)copy);
}

static inline __m128i tail16(const uint8_t *p, size_t left, size_t total)
{
	if (total >= 16)
		return _mm_and_si128(_mm_loadu_si128((const void *)(p + left - 16)),
				     _mm_loadu_si128((const void *)(keep_last + 16 + left)));
	uint8_t copy[16] = {0};
	for (size_t i = 0; i < left; i++)
		copy[i] = p[i];
	return _mm_loadu_si128((const void *)copy);
}

static inline float sum_ps(__m256 v)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline uint32_t add_epi32(__m256i v)
{
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static inline float sum_u32(__m256i v)
{
	return (float)add_epi32(v);
}

static inline float sum_i32(__m256i v)
{
	return (float)(int32_t)add_epi32(v);
}

static inline float sum_u64(__m256i v)
{
	__m128i s = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

	return (float)(uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(s, _mm_unpackhi_epi64(s, s)));
}

/* The sums of four registers, in order. */
static inline void sum_ps_four(float *out, const __m256 *v)
{
	__m256 s = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));

	_mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}

static inline __m128i add_epi32_four(const __m256i *v)
{
	__m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));

	return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* Unsigned, by halves of 16 bits, each exact; the last addition rounds once. */
static inline __m128 cvtepu32_ps(__m128i v)
{
	__m128 high = _mm_cvtepi32_ps(_mm_srli_epi32(v, 16));
	__m128 low = _mm_cvtepi32_ps(_mm_and_si128(v, _mm_set1_epi32(0xffff)));

	return _mm_fmadd_ps(high, _mm_set1_ps(65536), low);
}

static inline void sum_u32_four(float *out, const __m256i *v)
{
	_mm_storeu_ps(out, cvtepu32_ps(add_epi32_four(v)));
}

static inline void sum_i32_four(float *out, const __m256i *v)
{
	_mm_storeu_ps(out, _mm_cvtepi32_ps(add_epi32_four(v)));
}

/* For sums below 2^31. */
static inline void sum_u64_four(float *out, const __m256i *v)
{
	__m256i ab = _mm256_add_epi64(_mm256_unpacklo_epi64(v[0], v[1]),
				      _mm256_unpackhi_epi64(v[0], v[1]));
	__m256i cd = _mm256_add_epi64(_mm256_unpacklo_epi64(v[2], v[3]),
				      _mm256_unpackhi_epi64(v[2], v[3]));
	__m256i s = _mm256_castps_si256(
		_mm256_shuffle_ps(_mm256_castsi256_ps(ab), _mm256_castsi256_ps(cd), 0x88));

	_mm_storeu_ps(out, _mm_cvtepi32_ps(_mm_add_epi32(_mm256_castsi256_si128(s),
							 _mm256_extracti128_si256(s, 1))));
}

#define PS __m256
#define PS_BYTES 32
#define FMA(acc, a, b) _mm256_fmadd_ps(a, b, acc)
#define F32_LOAD(p) _mm256_loadu_ps((const void *)(p))
#define F32_TAIL(p, left, total) _mm256_castsi256_ps(tail32(p, left, total))
#define F16_LOAD(p) _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p)))
#define F16_TAIL(p, left, total) _mm256_cvtph_ps(tail16(p, left, total))
#define WORDS __m256i
#define WORDS_LOAD(p) _mm256_loadu_si256((const void *)(p))
#define WORDS_TAIL(p, left, total) tail32(p, left, total)
#define EVEN(words) _mm256_castsi256_ps(_mm256_slli_epi32(words, 16))
#define ODD(words) _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32((int)0xffff0000u)))
#define BF16_PAIR_UNROLL 4
#include "simd/floats.h"

/* Bytes are widened to 16 bits; a pair of products goes to 32. Lanes wrap modulo 2^32, and so does
 * their sum: the result is right as long as it fits, which SIMD_DIM_MAX sees to. */
static inline __m256i mac_epi16(__m256i acc, __m256i a, __m256i b)
{
	return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}

static inline __m256i mac_l2_epi16(__m256i acc, __m256i q, __m256i r)
{
	__m256i d = _mm256_sub_epi16(q, r);

	return mac_epi16(acc, d, d);
}

#define TYPE i8
#define VEC __m256i
#define ACC __m256i
#define VEC_BYTES 16
#define DIM_BYTES(d) (d)
#define LOAD(p) _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(p)))
#define LOAD_TAIL(p, left, total) _mm256_cvtepi8_epi16(tail16(p, left, total))
#define MAC_DOT(acc, q, r) mac_epi16(acc, q, r)
#define MAC_L2(acc, q, r) mac_l2_epi16(acc, q, r)
#define MAC_NORM(acc, v) mac_epi16(acc, v, v)
#define ACC_ADD(a, b) _mm256_add_epi32(a, b)
#define SUM sum_u32
#define SUM_DOT sum_i32
#define PAIR_UNROLL 4
#define ACC_REGS 1
#include "simd/tile.h"

#define TYPE u8
#define VEC __m256i
#define ACC __m256i
#define VEC_BYTES 16
#define DIM_BYTES(d) (d)
#define LOAD(p) _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)(p)))
#define LOAD_TAIL(p, left, total) _mm256_cvtepu8_epi16(tail16(p, left, total))
#define MAC_DOT(acc, q, r) mac_epi16(acc, q, r)
#define MAC_L2(acc, q, r) mac_l2_epi16(acc, q, r)
#define MAC_NORM(acc, v) mac_epi16(acc, v, v)
#define ACC_ADD(a, b) _mm256_add_epi32(a, b)
#define SUM sum_u32
#define PAIR_UNROLL 4
#define ACC_REGS 1
#include "simd/tile.h"

/* The ones of each 64-bit lane, by a table of nibbles (Mula, Kurz, Lemire, 2018). */
static inline __m256i popcount_epi64(__m256i v)
{
	const __m256i ones = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1,
					      1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
	const __m256i nibble = _mm256_set1_epi8(15);
	__m256i low = _mm256_shuffle_epi8(ones, _mm256_and_si256(v, nibble));
	__m256i high = _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));

	return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

#define TYPE b1
#define VEC __m256i
#define ACC __m256i
#define VEC_BYTES 32
#define DIM_BYTES(d) (((d) + 7) / 8)
#define LOAD(p) _mm256_loadu_si256((const void *)(p))
#define LOAD_TAIL(p, left, total) tail32(p, left, total)
#define MAC_DOT(acc, q, r) _mm256_add_epi64(acc, popcount_epi64(_mm256_and_si256(q, r)))
#define MAC_L2(acc, q, r) _mm256_add_epi64(acc, popcount_epi64(_mm256_xor_si256(q, r)))
#define MAC_NORM(acc, v) _mm256_add_epi64(acc, popcount_epi64(v))
#define ACC_ADD(a, b) _mm256_add_epi64(a, b)
#define SUM sum_u64
#define PAIR_UNROLL 1
#define ACC_REGS 1
#include "simd/tile.h"

static void f32_to_f16(const float *in, uint16_t *out, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((void *)(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(in + i),
								    _MM_FROUND_TO_NEAREST_INT));
	for (; i < n; i++)
		out[i] = f16_from_f32(in[i]);
}

static void f16_to_f32(const uint16_t *in, float *out, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(in + i))));
	for (; i < n; i++)
		out[i] = f32_from_f16(in[i]);
}

#define COMPARE_PS(op)                                                                             \
	((op) == SIMD_LT   ? _CMP_LT_OQ                                                            \
	 : (op) == SIMD_LE ? _CMP_LE_OQ                                                            \
	 : (op) == SIMD_GT ? _CMP_GT_OQ                                                            \
	 : (op) == SIMD_GE ? _CMP_GE_OQ                                                            \
	 : (op) == SIMD_EQ ? _CMP_EQ_OQ                                                            \
			   : _CMP_NEQ_UQ)
#define MASK64_F32(values, op, bound)                                                              \
	({                                                                                         \
		uint64_t word_ = 0;                                                                \
		for (int lane = 0; lane < 64; lane += 8)                                           \
			word_ |= (uint64_t)_mm256_movemask_ps(                                     \
					 _mm256_cmp_ps(_mm256_loadu_ps((values) + lane),           \
						       _mm256_set1_ps(bound), COMPARE_PS(op)))     \
				 << lane;                                                          \
		word_;                                                                             \
	})

/* Only > and == exist: the others are these with operands swapped or the answer negated. */
static inline __attribute__((always_inline)) uint64_t
mask64_i64(const int64_t *values, const enum simd_compare op, int64_t bound)
{
	const __m256i b = _mm256_set1_epi64x(bound);
	uint64_t word = 0;

	for (int lane = 0; lane < 64; lane += 4) {
		__m256i v = _mm256_loadu_si256((const void *)(values + lane));
		__m256i hit = op == SIMD_LT || op == SIMD_GE   ? _mm256_cmpgt_epi64(b, v)
			      : op == SIMD_GT || op == SIMD_LE ? _mm256_cmpgt_epi64(v, b)
							       : _mm256_cmpeq_epi64(v, b);
		word |= (uint64_t)_mm256_movemask_pd(_mm256_castsi256_pd(hit)) << lane;
	}
	return op == SIMD_GE || op == SIMD_LE || op == SIMD_NE ? ~word : word;
}
#define MASK64_I64(values, op, bound) mask64_i64(values, op, bound)

/* Adds two sub-quantizers at a time. Bytes are summed in 16-bit lanes: `even` gets whole words,
 * which carry the odd bytes times 256; subtracting those at the end leaves the even bytes. */
static void pq4_block(const uint8_t *codes, size_t m, const uint8_t *lut, uint16_t *out)
{
	const __m256i nibble = _mm256_set1_epi8(15);
	__m256i even[2] = {{0}}, odd[2] = {{0}};

	for (size_t s = 0; s < m; s += 2) {
		__m256i c, table;
		if (s + 2 <= m) {
			c = _mm256_loadu_si256((const void *)(codes + 16 * s));
			table = _mm256_loadu_si256((const void *)(lut + 16 * s));
		} else {
			c = _mm256_zextsi128_si256(_mm_loadu_si128((const void *)(codes + 16 * s)));
			table = _mm256_zextsi128_si256(
				_mm_loadu_si128((const void *)(lut + 16 * s)));
		}
		__m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(c, nibble));
		__m256i high = _mm256_shuffle_epi8(
			table, _mm256_and_si256(_mm256_srli_epi16(c, 4), nibble));
		even[0] = _mm256_add_epi16(even[0], low);
		odd[0] = _mm256_add_epi16(odd[0], _mm256_srli_epi16(low, 8));
		even[1] = _mm256_add_epi16(even[1], high);
		odd[1] = _mm256_add_epi16(odd[1], _mm256_srli_epi16(high, 8));
	}
	for (int half = 0; half < 2; half++) {
		__m256i e = _mm256_sub_epi16(even[half], _mm256_slli_epi16(odd[half], 8));
		__m128i e8 =
			_mm_add_epi16(_mm256_castsi256_si128(e), _mm256_extracti128_si256(e, 1));
		__m128i o8 = _mm_add_epi16(_mm256_castsi256_si128(odd[half]),
					   _mm256_extracti128_si256(odd[half], 1));
		_mm_storeu_si128((void *)(out + 16 * half), _mm_unpacklo_epi16(e8, o8));
		_mm_storeu_si128((void *)(out + 16 * half + 8), _mm_unpackhi_epi16(e8, o8));
	}
}

static void pq4_scan(const uint8_t *codes, size_t blocks, size_t m, const uint8_t *lut,
		     uint16_t *out)
{
	for (size_t i = 0; i < blocks; i++)
		pq4_block(codes + i * 16 * m, m, lut, out + i * 32);
}

static uint32_t planes_one(const uint8_t *query, size_t planes, const uint8_t *code, size_t bytes)
{
	uint64_t sum = 0;

	for (size_t p = 0; p < planes; p++, query += bytes) {
		uint64_t ones = 0;
		size_t k = 0;
		for (; k + 8 <= bytes; k += 8) {
			uint64_t c, q;
			memcpy(&c, code + k, 8);
			memcpy(&q, query + k, 8);
			ones += (uint64_t)__builtin_popcountll(c & q);
		}
		for (; k < bytes; k++)
			ones += (uint64_t)__builtin_popcount(code[k] & query[k]);
		sum += ones << p;
	}
	return (uint32_t)sum;
}

static void b1_planes(const void *query, size_t planes, const void *base, size_t stride,
		      const uint32_t *ids, size_t count, size_t bytes, uint32_t *out)
{
	for (size_t i = 0; i < count; i++) {
		if (ids && i + 4 < count)
			row_prefetch((const uint8_t *)base + ids[i + 4] * stride, bytes);
		out[i] = planes_one(query, planes,
				    (const uint8_t *)base + (ids ? ids[i] : i) * stride, bytes);
	}
}

#include "simd/batch.h"

const struct simd_kernels simd_kernels_avx2 = {
	.level = SIMD_AVX2, .name = "avx2", .features = "", KERNEL_ENTRIES};
