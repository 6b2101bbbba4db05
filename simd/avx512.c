/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the kernels for AVX-512 F, BW, DQ and VL: the primitives of 512 bits, from which
 *            tile.h and batch.h make the rest. avx512vnni.c, avx512vpopcntdq.c and avx512bf16.c
 *            replace some where the processor has more.
 * Invariants: the end of a vector is read by masked loads, which touch nothing beyond it.
 */
#include "simd/avx512.h"

enum { BLOCK_Q = 4, BLOCK_R = 4, BLOCK_COS_Q = 4, BLOCK_COS_R = 3, COS_UNROLL = 2 };

#define PS __m512
#define PS_BYTES 64
#define FMA(acc, a, b) _mm512_fmadd_ps(a, b, acc)
#define F32_LOAD(p) _mm512_loadu_ps((const void *)(p))
#define F32_TAIL(p, left, total) _mm512_maskz_loadu_ps(mask16((left) / 4), (const void *)(p))
#define F16_LOAD(p) _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p)))
#define F16_TAIL(p, left, total)                                                                   \
	_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask16((left) / 2), (const void *)(p)))
#define WORDS __m512i
#define WORDS_LOAD(p) _mm512_loadu_si512(p)
#define WORDS_TAIL(p, left, total) _mm512_maskz_loadu_epi16(mask32((left) / 2), p)
#define EVEN(words) _mm512_castsi512_ps(_mm512_slli_epi32(words, 16))
#define ODD(words) _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32((int)0xffff0000u)))
#define BF16_PAIR_UNROLL 4
#include "simd/floats.h"

/* Bytes are widened to 16 bits; a pair of products goes to 32. Lanes wrap modulo 2^32, and so does
 * their sum: the result is right as long as it fits, which SIMD_DIM_MAX sees to. */
static inline __m512i mac_epi16(__m512i acc, __m512i a, __m512i b)
{
	return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b));
}

static inline __m512i mac_l2_epi16(__m512i acc, __m512i q, __m512i r)
{
	__m512i d = _mm512_sub_epi16(q, r);

	return mac_epi16(acc, d, d);
}

#define TYPE i8
#define VEC __m512i
#define ACC __m512i
#define VEC_BYTES 32
#define DIM_BYTES(d) (d)
#define LOAD(p) _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)(p)))
#define LOAD_TAIL(p, left, total)                                                                  \
	_mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask32(left), (const void *)(p)))
#define MAC_DOT(acc, q, r) mac_epi16(acc, q, r)
#define MAC_L2(acc, q, r) mac_l2_epi16(acc, q, r)
#define MAC_NORM(acc, v) mac_epi16(acc, v, v)
#define ACC_ADD(a, b) _mm512_add_epi32(a, b)
#define SUM sum_u32
#define SUM_DOT sum_i32
#define PAIR_UNROLL 4
#define ACC_REGS 1
#include "simd/tile.h"

#define TYPE u8
#define VEC __m512i
#define ACC __m512i
#define VEC_BYTES 32
#define DIM_BYTES(d) (d)
#define LOAD(p) _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)(p)))
#define LOAD_TAIL(p, left, total)                                                                  \
	_mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask32(left), (const void *)(p)))
#define MAC_DOT(acc, q, r) mac_epi16(acc, q, r)
#define MAC_L2(acc, q, r) mac_l2_epi16(acc, q, r)
#define MAC_NORM(acc, v) mac_epi16(acc, v, v)
#define ACC_ADD(a, b) _mm512_add_epi32(a, b)
#define SUM sum_u32
#define PAIR_UNROLL 4
#define ACC_REGS 1
#include "simd/tile.h"

/* The ones of each 64-bit lane, by a table of nibbles (Mula, Kurz, Lemire, 2018). */
static inline __m512i popcount_epi64(__m512i v)
{
	const __m512i ones = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
	const __m512i nibble = _mm512_set1_epi8(15);
	__m512i low = _mm512_shuffle_epi8(ones, _mm512_and_si512(v, nibble));
	__m512i high = _mm512_shuffle_epi8(ones, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble));

	return _mm512_sad_epu8(_mm512_add_epi8(low, high), _mm512_setzero_si512());
}

#define POPCOUNT(v) popcount_epi64(v)
#include "simd/avx512bits.h"

static void f32_to_f16(const float *in, uint16_t *out, size_t n)
{
	for (size_t i = 0; i < n; i += 16) {
		__mmask16 live = n - i < 16 ? mask16(n - i) : 0xffff;
		_mm256_mask_storeu_epi16(out + i, live,
					 _mm512_cvtps_ph(_mm512_maskz_loadu_ps(live, in + i),
							 _MM_FROUND_TO_NEAREST_INT));
	}
}

static void f16_to_f32(const uint16_t *in, float *out, size_t n)
{
	for (size_t i = 0; i < n; i += 16) {
		__mmask16 live = n - i < 16 ? mask16(n - i) : 0xffff;
		_mm512_mask_storeu_ps(out + i, live,
				      _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(live, in + i)));
	}
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
		for (int lane = 0; lane < 64; lane += 16)                                          \
			word_ |= (uint64_t)_mm512_cmp_ps_mask(_mm512_loadu_ps((values) + lane),    \
							      _mm512_set1_ps(bound),               \
							      COMPARE_PS(op))                      \
				 << lane;                                                          \
		word_;                                                                             \
	})
#define COMPARE_EPI64(op)                                                                          \
	((op) == SIMD_LT   ? _MM_CMPINT_LT                                                         \
	 : (op) == SIMD_LE ? _MM_CMPINT_LE                                                         \
	 : (op) == SIMD_GT ? _MM_CMPINT_NLE                                                        \
	 : (op) == SIMD_GE ? _MM_CMPINT_NLT                                                        \
	 : (op) == SIMD_EQ ? _MM_CMPINT_EQ                                                         \
			   : _MM_CMPINT_NE)
#define MASK64_I64(values, op, bound)                                                              \
	({                                                                                         \
		uint64_t word_ = 0;                                                                \
		for (int lane = 0; lane < 64; lane += 8)                                           \
			word_ |= (uint64_t)_mm512_cmp_epi64_mask(                                  \
					 _mm512_loadu_si512((values) + lane),                      \
					 _mm512_set1_epi64(bound), COMPARE_EPI64(op))              \
				 << lane;                                                          \
		word_;                                                                             \
	})

/* The four 128-bit lanes of 16-bit sums, added. */
static inline __m128i fold_epi16(__m512i v)
{
	__m256i h = _mm256_add_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));

	return _mm_add_epi16(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

/* Adds four sub-quantizers at a time. Bytes are summed in 16-bit lanes: `even` gets whole words,
 * which carry the odd bytes times 256; subtracting those at the end leaves the even bytes. */
static void pq4_scan(const uint8_t *codes, size_t blocks, size_t m, const uint8_t *lut,
		     uint16_t *out)
{
	const __m512i nibble = _mm512_set1_epi8(15);

	for (; blocks; blocks--, codes += 16 * m, out += 32) {
		__m512i even[2] = {{0}}, odd[2] = {{0}};
		for (size_t s = 0; s < m; s += 4) {
			__mmask8 live = m - s < 4 ? (__mmask8)((1u << 2 * (m - s)) - 1) : 0xff;
			__m512i c = _mm512_maskz_loadu_epi64(live, codes + 16 * s);
			__m512i table = _mm512_maskz_loadu_epi64(live, lut + 16 * s);
			__m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(c, nibble));
			__m512i high = _mm512_shuffle_epi8(
				table, _mm512_and_si512(_mm512_srli_epi16(c, 4), nibble));
			even[0] = _mm512_add_epi16(even[0], low);
			odd[0] = _mm512_add_epi16(odd[0], _mm512_srli_epi16(low, 8));
			even[1] = _mm512_add_epi16(even[1], high);
			odd[1] = _mm512_add_epi16(odd[1], _mm512_srli_epi16(high, 8));
		}
		for (int half = 0; half < 2; half++) {
			__m128i o = fold_epi16(odd[half]);
			__m128i e = _mm_sub_epi16(fold_epi16(even[half]), _mm_slli_epi16(o, 8));
			_mm_storeu_si128((void *)(out + 16 * half), _mm_unpacklo_epi16(e, o));
			_mm_storeu_si128((void *)(out + 16 * half + 8), _mm_unpackhi_epi16(e, o));
		}
	}
}

#include "simd/batch.h"

const struct simd_kernels simd_kernels_avx512 = {
	.level = SIMD_AVX512, .name = "avx512", .features = "", KERNEL_ENTRIES};
