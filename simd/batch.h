/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the template of the batch kernels that need no care of their own in each instruction
 *            set: loops over independent lanes, which the compiler turns into the vectors of the
 *            file that includes it. The file defines before
 *              MASK64_F32(values, op, bound)   64 comparisons as a word, all operands inlined
 *              MASK64_I64(values, op, bound)
 *            and makes pq4_scan(), b1_planes(), f32_to_f16(), f16_to_f32() itself.
 * Invariants: LANES partial results, so that no order of additions stands in the way.
 */
#include "simd/kernels.h"

enum { LANES = 32 };

static void f32_to_bf16(const float *in, uint16_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = bf16_from_f32(in[i]);
}

static void bf16_to_f32(const uint16_t *in, float *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f32_from_bf16(in[i]);
}

#define COMPARE(v, op, bound)                                                                      \
	((op) == SIMD_LT   ? (v) < (bound)                                                         \
	 : (op) == SIMD_LE ? (v) <= (bound)                                                        \
	 : (op) == SIMD_GT ? (v) > (bound)                                                         \
	 : (op) == SIMD_GE ? (v) >= (bound)                                                        \
	 : (op) == SIMD_EQ ? (v) == (bound)                                                        \
			   : (v) != (bound))

/* A comparison is a literal in each, as the vector instructions want it. */
#define BATCH_FILTER_AS(name, type, MASK64, op)                                                    \
	static size_t filter_##name##_##op(const type *values, size_t n, type bound,               \
					   uint64_t *bitmap)                                       \
	{                                                                                          \
		size_t ones = 0, i = 0;                                                            \
		for (; i + 64 <= n; i += 64) {                                                     \
			uint64_t word = MASK64(values + i, op, bound);                             \
			*bitmap++ = word;                                                          \
			ones += (size_t)__builtin_popcountll(word);                                \
		}                                                                                  \
		if (i < n) {                                                                       \
			uint64_t word = 0;                                                         \
			for (size_t bit = 0; i + bit < n; bit++)                                   \
				word |= (uint64_t)COMPARE(values[i + bit], op, bound) << bit;      \
			*bitmap = word;                                                            \
			ones += (size_t)__builtin_popcountll(word);                                \
		}                                                                                  \
		return ones;                                                                       \
	}

#define BATCH_FILTER(name, type, MASK64)                                                           \
	BATCH_FILTER_AS(name, type, MASK64, SIMD_LT)                                               \
	BATCH_FILTER_AS(name, type, MASK64, SIMD_LE)                                               \
	BATCH_FILTER_AS(name, type, MASK64, SIMD_GT)                                               \
	BATCH_FILTER_AS(name, type, MASK64, SIMD_GE)                                               \
	BATCH_FILTER_AS(name, type, MASK64, SIMD_EQ)                                               \
	BATCH_FILTER_AS(name, type, MASK64, SIMD_NE)                                               \
	static size_t filter_##name(const type *values, size_t n, enum simd_compare op,            \
				    type bound, uint64_t *bitmap)                                  \
	{                                                                                          \
		switch (op) {                                                                      \
		case SIMD_LT:                                                                      \
			return filter_##name##_SIMD_LT(values, n, bound, bitmap);                  \
		case SIMD_LE:                                                                      \
			return filter_##name##_SIMD_LE(values, n, bound, bitmap);                  \
		case SIMD_GT:                                                                      \
			return filter_##name##_SIMD_GT(values, n, bound, bitmap);                  \
		case SIMD_GE:                                                                      \
			return filter_##name##_SIMD_GE(values, n, bound, bitmap);                  \
		case SIMD_EQ:                                                                      \
			return filter_##name##_SIMD_EQ(values, n, bound, bitmap);                  \
		default:                                                                           \
			return filter_##name##_SIMD_NE(values, n, bound, bitmap);                  \
		}                                                                                  \
	}                                                                                          \
	static void minmax_##name(const type *values, size_t n, type *min, type *max)              \
	{                                                                                          \
		type low[LANES], high[LANES];                                                      \
		size_t i = 0;                                                                      \
		for (int k = 0; k < LANES; k++) {                                                  \
			low[k] = MOST_##type;                                                      \
			high[k] = LEAST_##type;                                                    \
		}                                                                                  \
		for (; i + LANES <= n; i += LANES) {                                               \
			for (int k = 0; k < LANES; k++)                                            \
				low[k] = values[i + k] < low[k] ? values[i + k] : low[k];          \
			for (int k = 0; k < LANES; k++)                                            \
				high[k] = values[i + k] > high[k] ? values[i + k] : high[k];       \
		}                                                                                  \
		for (; i < n; i++) {                                                               \
			low[0] = values[i] < low[0] ? values[i] : low[0];                          \
			high[0] = values[i] > high[0] ? values[i] : high[0];                       \
		}                                                                                  \
		*min = low[0];                                                                     \
		*max = high[0];                                                                    \
		for (int k = 1; k < LANES; k++) {                                                  \
			*min = low[k] < *min ? low[k] : *min;                                      \
			*max = high[k] > *max ? high[k] : *max;                                    \
		}                                                                                  \
	}
#define MOST_float INFINITY
#define LEAST_float -INFINITY
#define MOST_int64_t INT64_MAX
#define LEAST_int64_t INT64_MIN
BATCH_FILTER(f32, float, MASK64_F32)
BATCH_FILTER(i64, int64_t, MASK64_I64)

static double sum_f32(const float *values, size_t n)
{
	double part[LANES] = {0}, sum = 0;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (int k = 0; k < LANES; k++)
			part[k] += values[i + k];
	for (; i < n; i++)
		sum += values[i];
	for (int k = 0; k < LANES; k++)
		sum += part[k];
	return sum;
}

static int64_t sum_i64(const int64_t *values, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (uint64_t)values[i];
	return (int64_t)sum;
}

#include "simd/bitmap.h"

#define KERNEL_SET(form, type)                                                                     \
	{                                                                                          \
		form##_l2_##type, form##_dot_##type, form##_cos_##type                             \
	}
#define KERNEL_TABLE(form)                                                                         \
	{                                                                                          \
		KERNEL_SET(form, f32), KERNEL_SET(form, f16), KERNEL_SET(form, bf16),              \
			KERNEL_SET(form, i8), KERNEL_SET(form, u8), KERNEL_SET(form, b1)           \
	}
/* Every entry but level, name and features. */
#define KERNEL_ENTRIES                                                                             \
	.pair = KERNEL_TABLE(pair), .many = KERNEL_TABLE(many), .block = KERNEL_TABLE(block),      \
	.f32_to_f16 = f32_to_f16, .f16_to_f32 = f16_to_f32, .f32_to_bf16 = f32_to_bf16,            \
	.bf16_to_f32 = bf16_to_f32, .filter_f32 = filter_f32, .filter_i64 = filter_i64,            \
	.minmax_f32 = minmax_f32, .minmax_i64 = minmax_i64, .sum_f32 = sum_f32,                    \
	.sum_i64 = sum_i64, .bitmap_count = bitmap_count, .bitmap_and = bitmap_and,                \
	.bitmap_or = bitmap_or, .bitmap_andnot = bitmap_andnot, .pq4_scan = pq4_scan,              \
	.b1_planes = b1_planes
