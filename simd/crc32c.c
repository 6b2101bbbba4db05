/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   CRC-32C by table (the oracle), by three interleaved streams of the CRC32 instruction,
 *            and the start of the choice between these and crc32cfold.c.
 * Invariants: bit n of a reflected 32-bit word is the coefficient of x^(31 - n). A state that has
 *            to pass over L bytes is multiplied by x^(8 L): a carry-less product of two such words,
 *            given to the CRC32 instruction as 8 bytes, is their product times x^33, so the factor
 *            is x^(8 L - 33).
 * Threading: crc32c_start() runs in the constructor of dispatch.c; the rest is pure.
 */
#include "simd/crc32cfold.h"

#include <string.h>

#define POLY_REFLECTED 0x82f63b78u

static uint32_t table[256];

uint32_t crc32c_scalar(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (len--)
		crc = (crc >> 8) ^ table[(crc ^ *p++) & 0xff];
	return ~crc;
}

static uint32_t times_x(uint32_t c)
{
	return (c >> 1) ^ (c & 1 ? POLY_REFLECTED : 0);
}

uint32_t crc32c_power(unsigned exponent)
{
	uint32_t c = 0x80000000u;

	while (exponent--)
		c = times_x(c);
	return c;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Three long streams and 16 bytes make a page of 4096. */
enum { LONG = 1360, SHORT = 128 };
static uint32_t over_long[2], over_short[2]; /* factors that pass over one and two streams */

__attribute__((target("sse4.2"))) static uint32_t one_stream(uint32_t state, const uint8_t *p,
							     size_t len)
{
	uint64_t c = state;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		c = _mm_crc32_u64(c, word);
	}
	for (; len; len--, p++)
		c = _mm_crc32_u8((uint32_t)c, *p);
	return (uint32_t)c;
}

__attribute__((target("sse4.2,pclmul"))) static uint64_t pass_over(uint64_t state, uint32_t factor)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)state),
					       _mm_cvtsi32_si128((int)factor), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

/* The state after 3 * part bytes; part is a multiple of 8. */
__attribute__((target("sse4.2,pclmul"))) static uint32_t
three_streams(uint32_t state, const uint8_t *p, size_t part, const uint32_t *over)
{
	uint64_t a = state, b = 0, c = 0;

	for (size_t i = 0; i < part; i += 8) {
		uint64_t x, y, z;
		memcpy(&x, p + i, 8);
		memcpy(&y, p + part + i, 8);
		memcpy(&z, p + 2 * part + i, 8);
		a = _mm_crc32_u64(a, x);
		b = _mm_crc32_u64(b, y);
		c = _mm_crc32_u64(c, z);
	}
	return (uint32_t)(pass_over(a, over[1]) ^ pass_over(b, over[0]) ^ c);
}

static uint32_t crc_streams(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; len >= 3 * LONG; len -= 3 * LONG, p += 3 * LONG)
		crc = three_streams(crc, p, LONG, over_long);
	for (; len >= 3 * SHORT; len -= 3 * SHORT, p += 3 * SHORT)
		crc = three_streams(crc, p, SHORT, over_short);
	return ~one_stream(crc, p, len);
}

static void streams_start(void)
{
	over_long[0] = crc32c_power(8 * LONG - 33);
	over_long[1] = crc32c_power(16 * LONG - 33);
	over_short[0] = crc32c_power(8 * SHORT - 33);
	over_short[1] = crc32c_power(16 * SHORT - 33);
}

_Alignas(64) uint64_t crc32c_fold_factors[CRC32C_DISTANCES][8];

static void fold_carry(enum crc32c_distance distance, unsigned lane, unsigned bits)
{
	crc32c_fold_factors[distance][2 * lane] = (uint64_t)crc32c_power(bits + 63) << 32;
	crc32c_fold_factors[distance][2 * lane + 1] = (uint64_t)crc32c_power(bits - 1) << 32;
}

static void fold_start(void)
{
	for (unsigned lane = 0; lane < 4; lane++) {
		fold_carry(CRC32C_OVER_WIDE, lane, 8 * CRC32C_FOLD_WIDE);
		fold_carry(CRC32C_OVER_STEP, lane, 8 * CRC32C_FOLD_STEP);
		if (lane < 3)
			fold_carry(CRC32C_OVER_LANES, lane, 128 * (3 - lane));
	}
}
#endif

crc32c_fn *crc32c_get(enum crc32c_form form)
{
#if defined(__x86_64__)
	if (form == CRC32C_FOLD)
		return crc32c_fold;
	if (form == CRC32C_STREAMS)
		return crc_streams;
#endif
	return form == CRC32C_TABLE ? crc32c_scalar : NULL;
}

void crc32c_start(enum crc32c_form form)
{
	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = times_x(table[i]);
	}
#if defined(__x86_64__)
	streams_start();
	fold_start();
#endif
	crc32c_active = crc32c_get(form);
}
