/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the files of the instruction sets share, and the tables that they provide.
 *            Private to simd/.
 */
#ifndef MNEME_SIMD_KERNELS_H
#define MNEME_SIMD_KERNELS_H

#include "simd/simd.h"

#include <float.h>
#include <math.h>
#include <string.h>

extern const struct simd_kernels simd_kernels_scalar, simd_kernels_avx2, simd_kernels_avx512,
	simd_kernels_neon;

/* Each replaces the entries that its extension makes faster. */
void simd_avx512_use_vnni(struct simd_kernels *k);
void simd_avx512_use_vpopcntdq(struct simd_kernels *k);
void simd_avx512_use_bf16(struct simd_kernels *k);

static inline uint32_t bits_of_float(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

static inline float float_of_bits(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

/* 1 - ab / sqrt(aa * bb) with the special cases of SIMD_COS. */
static inline float cos_finish(float ab, float aa, float bb)
{
	if (!(aa <= FLT_MAX && bb <= FLT_MAX))
		return NAN;
	if (aa < FLT_MIN || bb < FLT_MIN)
		return 1.0f;
	double distance = 1.0 - ab / sqrt((double)aa * bb);
	if (distance < 0)
		return 0;
	return distance > 2 ? 2 : (float)distance;
}

static inline float f32_from_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;

	if (exponent == 31)
		return float_of_bits(sign | 0x7f800000 | fraction << 13 |
				     (fraction ? 0x400000 : 0));
	if (exponent)
		return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
	float tiny = (float)fraction * 0x1p-24f;
	return sign ? -tiny : tiny;
}

static inline uint16_t f16_from_f32(float f)
{
	uint32_t u = bits_of_float(f), sign = u >> 16 & 0x8000;

	u &= 0x7fffffff;
	if (u > 0x7f800000)
		return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x3ff));
	if (u >= 0x477ff000)
		return (uint16_t)(sign | 0x7c00);
	if (u < 0x38800000) /* below 2^-14: adding 0.5 makes the FPU round at bit 2^-24 */
		return (uint16_t)(sign | (bits_of_float(float_of_bits(u) + 0.5f) - 0x3f000000));
	return (uint16_t)(sign | (((u + 0xfff + (u >> 13 & 1)) >> 13) - (112u << 10)));
}

static inline float f32_from_bf16(uint16_t h)
{
	return float_of_bits((uint32_t)h << 16);
}

static inline uint16_t bf16_from_f32(float f)
{
	uint32_t u = bits_of_float(f), rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;

	return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? u >> 16 | 0x40 : rounded);
}

#endif
