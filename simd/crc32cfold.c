/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   CRC-32C by carry-less multiplication of 512 bits (V. Gopal and others, "Fast CRC
 *            Computation Using PCLMULQDQ", 2009, widened by VPCLMULQDQ).
 * Invariants: a 128-bit lane is V = L x^64 + H, L its low half, reflected (bit n is x^(127 - n)).
 *            A carry-less product of reflected halves is the product of polynomials times x, so
 *            V x^D is L (x^(D + 63)) + H (x^(D - 1)), both factors reduced modulo the polynomial
 *            and placed in the upper 32 bits of a half. What remains at the end, V, is given to the
 *            CRC32 instruction, which multiplies by x^32 and reduces. Nothing here runs before the
 *            choice of dispatch.c: the factors are made in crc32c.c, which any processor can run.
 */
#include "simd/crc32cfold.h"

#include <immintrin.h>
#include <string.h>

enum { STEP = CRC32C_FOLD_STEP, WIDE = CRC32C_FOLD_WIDE };

static inline __m512i factors(enum crc32c_distance distance)
{
	return _mm512_load_si512(crc32c_fold_factors[distance]);
}

/* v carried over the distance of `over`, plus `data`. */
static inline __m512i fold(__m512i v, __m512i over, __m512i data)
{
	return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(v, over, 0x00),
					 _mm512_clmulepi64_epi128(v, over, 0x11), data, 0x96);
}

static inline uint32_t reduce_lanes(__m512i v)
{
	__m512i last = _mm512_maskz_mov_epi64(0xc0, v);
	__m512i sum = fold(v, factors(CRC32C_OVER_LANES), last);
	__m256i h =
		_mm256_xor_si256(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
	__m128i lane = _mm_xor_si128(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
	uint64_t c = _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(lane));

	return (uint32_t)_mm_crc32_u64(c, (uint64_t)_mm_extract_epi64(lane, 1));
}

uint32_t crc32c_fold(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	if (len >= WIDE) {
		const __m512i over_wide = factors(CRC32C_OVER_WIDE);
		const __m512i over_step = factors(CRC32C_OVER_STEP);
		__m512i v[4];
		for (int i = 0; i < 4; i++)
			v[i] = _mm512_loadu_si512(p + STEP * i);
		v[0] = _mm512_xor_si512(v[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
		for (p += WIDE, len -= WIDE; len >= WIDE; p += WIDE, len -= WIDE)
			for (int i = 0; i < 4; i++)
				v[i] = fold(v[i], over_wide, _mm512_loadu_si512(p + STEP * i));
		for (int i = 1; i < 4; i++)
			v[i] = fold(v[i - 1], over_step, v[i]);
		for (; len >= STEP; p += STEP, len -= STEP)
			v[3] = fold(v[3], over_step, _mm512_loadu_si512(p));
		crc = reduce_lanes(v[3]);
	}
	uint64_t c = crc;
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		c = _mm_crc32_u64(c, word);
	}
	for (; len; p++, len--)
		c = _mm_crc32_u8((uint32_t)c, *p);
	return ~(uint32_t)c;
}
