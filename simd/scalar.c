/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   every kernel in plain C: the oracle of the others, and the fallback. Compiled without
 *            vectorisation. Sums of floats are kept in double, so that the error is the final
 *            rounding's.
 */
#include "simd/kernels.h"

#define LOAD_AS(type, p, i, to)                                                                    \
	({                                                                                         \
		type element_;                                                                     \
		memcpy(&element_, (const uint8_t *)(p) + (i) * sizeof(type), sizeof(type));        \
		to(element_);                                                                      \
	})
#define AS_IS(x) (x)

/* The three sums of each type; `sum` is wide enough for SIMD_DIM_MAX elements. */
#define SUMS(name, sum, get)                                                                       \
	static sum dot_##name(const void *a, const void *b, size_t dim)                            \
	{                                                                                          \
		sum s = 0;                                                                         \
		for (size_t i = 0; i < dim; i++)                                                   \
			s += (sum)get(a, i) * (sum)get(b, i);                                      \
		return s;                                                                          \
	}                                                                                          \
	static sum l2_##name(const void *a, const void *b, size_t dim)                             \
	{                                                                                          \
		sum s = 0;                                                                         \
		for (size_t i = 0; i < dim; i++) {                                                 \
			sum d = (sum)get(a, i) - (sum)get(b, i);                                   \
			s += d * d;                                                                \
		}                                                                                  \
		return s;                                                                          \
	}

#define GET_F32(p, i) LOAD_AS(float, p, i, AS_IS)
#define GET_F16(p, i) LOAD_AS(uint16_t, p, i, f32_from_f16)
#define GET_BF16(p, i) LOAD_AS(uint16_t, p, i, f32_from_bf16)
#define GET_I8(p, i) (((const int8_t *)(p))[i])
#define GET_U8(p, i) (((const uint8_t *)(p))[i])
#define GET_B1(p, i) (((const uint8_t *)(p))[(i) / 8] >> (i) % 8 & 1)

#define SCALAR_KERNELS(name)                                                                       \
	static float pair_l2_##name(const void *a, const void *b, size_t dim)                      \
	{                                                                                          \
		return (float)l2_##name(a, b, dim);                                                \
	}                                                                                          \
	static float pair_dot_##name(const void *a, const void *b, size_t dim)                     \
	{                                                                                          \
		return (float)dot_##name(a, b, dim);                                               \
	}                                                                                          \
	static float pair_cos_##name(const void *a, const void *b, size_t dim)                     \
	{                                                                                          \
		return cos_finish((float)dot_##name(a, b, dim), (float)dot_##name(a, a, dim),      \
				  (float)dot_##name(b, b, dim));                                   \
	}                                                                                          \
	SCALAR_MANY(l2, name)                                                                      \
	SCALAR_MANY(dot, name)                                                                     \
	SCALAR_MANY(cos, name)

#define SCALAR_MANY(metric, name)                                                                  \
	static void many_##metric##_##name(const void *query, const void *base, size_t stride,     \
					   const uint32_t *ids, size_t count, size_t dim,          \
					   float *out)                                             \
	{                                                                                          \
		for (size_t i = 0; i < count; i++)                                                 \
			out[i] = pair_##metric##_##name(                                           \
				query, (const uint8_t *)base + (ids ? ids[i] : i) * stride, dim);  \
	}                                                                                          \
	static void block_##metric##_##name(                                                       \
		const void *queries, size_t query_stride, size_t query_count, const void *rows,    \
		size_t row_stride, size_t row_count, size_t dim, float *out, size_t out_stride)    \
	{                                                                                          \
		for (size_t i = 0; i < query_count; i++)                                           \
			many_##metric##_##name((const uint8_t *)queries + i * query_stride, rows,  \
					       row_stride, NULL, row_count, dim,                   \
					       out + i * out_stride);                              \
	}

SUMS(f32, double, GET_F32)
SUMS(f16, double, GET_F16)
SUMS(bf16, double, GET_BF16)
SUMS(i8, int64_t, GET_I8)
SUMS(u8, int64_t, GET_U8)
SUMS(b1, int64_t, GET_B1)
SCALAR_KERNELS(f32)
SCALAR_KERNELS(f16)
SCALAR_KERNELS(bf16)
SCALAR_KERNELS(i8)
SCALAR_KERNELS(u8)
SCALAR_KERNELS(b1)

static void f32_to_f16(const float *in, uint16_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f16_from_f32(in[i]);
}

static void f16_to_f32(const uint16_t *in, float *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f32_from_f16(in[i]);
}

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

#define FILTER(name, type)                                                                         \
	static size_t filter_##name(const type *values, size_t n, enum simd_compare op,            \
				    type bound, uint64_t *bitmap)                                  \
	{                                                                                          \
		size_t ones = 0;                                                                   \
		memset(bitmap, 0, (n + 63) / 64 * 8);                                              \
		for (size_t i = 0; i < n; i++) {                                                   \
			type v = values[i];                                                        \
			int hit = op == SIMD_LT   ? v < bound                                      \
				  : op == SIMD_LE ? v <= bound                                     \
				  : op == SIMD_GT ? v > bound                                      \
				  : op == SIMD_GE ? v >= bound                                     \
				  : op == SIMD_EQ ? v == bound                                     \
						  : v != bound;                                    \
			bitmap[i / 64] |= (uint64_t)hit << i % 64;                                 \
			ones += (size_t)hit;                                                       \
		}                                                                                  \
		return ones;                                                                       \
	}                                                                                          \
	static void minmax_##name(const type *values, size_t n, type *min, type *max)              \
	{                                                                                          \
		*min = MOST_##type;                                                                \
		*max = LEAST_##type;                                                               \
		for (size_t i = 0; i < n; i++) {                                                   \
			*min = values[i] < *min ? values[i] : *min;                                \
			*max = values[i] > *max ? values[i] : *max;                                \
		}                                                                                  \
	}
#define MOST_float INFINITY
#define LEAST_float -INFINITY
#define MOST_int64_t INT64_MAX
#define LEAST_int64_t INT64_MIN
FILTER(f32, float)
FILTER(i64, int64_t)

static double sum_f32(const float *values, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += values[i];
	return sum;
}

static int64_t sum_i64(const int64_t *values, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (uint64_t)values[i];
	return (int64_t)sum;
}

static size_t bitmap_count(const uint64_t *a, size_t words)
{
	size_t ones = 0;

	for (size_t i = 0; i < words; i++)
		ones += (size_t)__builtin_popcountll(a[i]);
	return ones;
}

#define BITMAP(name, expression)                                                                   \
	static size_t bitmap_##name(const uint64_t *a, const uint64_t *b, uint64_t *out,           \
				    size_t words)                                                  \
	{                                                                                          \
		size_t ones = 0;                                                                   \
		for (size_t i = 0; i < words; i++) {                                               \
			out[i] = expression;                                                       \
			ones += (size_t)__builtin_popcountll(out[i]);                              \
		}                                                                                  \
		return ones;                                                                       \
	}
BITMAP(and, a[i] & b[i])
BITMAP(or, a[i] | b[i])
BITMAP(andnot, a[i] & ~b[i])

static void pq4_scan(const uint8_t *codes, size_t blocks, size_t m, const uint8_t *lut,
		     uint16_t *out)
{
	for (size_t block = 0; block < blocks; block++, codes += 16 * m, out += 32) {
		memset(out, 0, 32 * sizeof(*out));
		for (size_t s = 0; s < m; s++)
			for (size_t v = 0; v < 32; v++) {
				uint8_t two = codes[16 * s + v % 16];
				out[v] += lut[16 * s + (v < 16 ? two & 15 : two >> 4)];
			}
	}
}

static void b1_planes(const void *query, size_t planes, const void *base, size_t stride,
		      const uint32_t *ids, size_t count, size_t bytes, uint32_t *out)
{
	for (size_t i = 0; i < count; i++) {
		const uint8_t *code = (const uint8_t *)base + (ids ? ids[i] : i) * stride;
		out[i] = 0;
		for (size_t p = 0; p < planes; p++)
			for (size_t k = 0; k < bytes; k++) {
				unsigned common = code[k] & ((const uint8_t *)query)[p * bytes + k];
				out[i] += (uint32_t)__builtin_popcount(common) << p;
			}
	}
}

#define SCALAR_SET(form, name)                                                                     \
	{                                                                                          \
		form##_l2_##name, form##_dot_##name, form##_cos_##name                             \
	}
#define SCALAR_TABLE(form)                                                                         \
	{                                                                                          \
		SCALAR_SET(form, f32), SCALAR_SET(form, f16), SCALAR_SET(form, bf16),              \
			SCALAR_SET(form, i8), SCALAR_SET(form, u8), SCALAR_SET(form, b1)           \
	}

const struct simd_kernels simd_kernels_scalar = {
	.level = SIMD_SCALAR,
	.name = "scalar",
	.features = "",
	.pair = SCALAR_TABLE(pair),
	.many = SCALAR_TABLE(many),
	.block = SCALAR_TABLE(block),
	.f32_to_f16 = f32_to_f16,
	.f16_to_f32 = f16_to_f32,
	.f32_to_bf16 = f32_to_bf16,
	.bf16_to_f32 = bf16_to_f32,
	.filter_f32 = filter_f32,
	.filter_i64 = filter_i64,
	.minmax_f32 = minmax_f32,
	.minmax_i64 = minmax_i64,
	.sum_f32 = sum_f32,
	.sum_i64 = sum_i64,
	.bitmap_count = bitmap_count,
	.bitmap_and = bitmap_and,
	.bitmap_or = bitmap_or,
	.bitmap_andnot = bitmap_andnot,
	.pq4_scan = pq4_scan,
	.b1_planes = b1_planes,
};
