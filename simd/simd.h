/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   distances between vectors, and the batch operations that the engine and the search
 *            indexes are made of, in the fastest form that the processor has.
 * Invariants: a kernel reads exactly the bytes of its operands, at any alignment, and writes only
 *            its results. Every level gives what the scalar level gives, within the error stated
 *            here; integer and bit kernels, filters, bitmaps, conversions and scans are exact.
 * Threading: all kernels are pure and thread-safe. The table is chosen once, before main().
 * Failure:   none. Sizes are the caller's business: dim <= SIMD_DIM_MAX is a precondition.
 *
 * Levels. The highest that the processor and the operating system support is used; the environment
 * variable MNEME_SIMD=scalar|avx2|avx512|neon asks for another one. One that this machine lacks, or
 * that does not exist, is answered by a sentence on standard error and the best level is used.
 *
 * Error of the floating-point kernels, u = 2^-24, g(dim) = (dim / 16 + 16) * u, against exact
 * arithmetic on the stored elements:
 *   L2   |error| <= g * result + tiny             dot  |error| <= g * sum|a_i * b_i| + tiny
 *   cos  |error| <= 4 * g
 * where tiny = dim * 2^-126 covers what underflows; for the same reason cos may be anything in
 * [0, 2] where a squared norm is below dim * 2^-100, but for a vector of zeros. If one of the sums
 * (dot: of |a_i * b_i|, cos: a squared norm) passes FLT_MAX the result may be infinite or NaN. A
 * NaN among the elements gives NaN, infinities follow IEEE 754, in every level. bf16 dot and cos
 * may take subnormal elements as zero (AVX512_BF16 does). Integer kernels sum exactly and round to
 * float once.
 */
#ifndef MNEME_SIMD_SIMD_H
#define MNEME_SIMD_SIMD_H

#include <stddef.h>
#include <stdint.h>

enum { SIMD_DIM_MAX = 65536 };

/* Elements of a vector. f16 is IEEE binary16, bf16 the upper half of binary32; both little-endian
 * uint16_t. b1 packs bits, the first in bit 0 of byte 0; dim counts bits, a vector takes
 * (dim + 7) / 8 bytes and the unused bits of its last byte must be zero. */
enum simd_type { SIMD_F32, SIMD_F16, SIMD_BF16, SIMD_I8, SIMD_U8, SIMD_B1, SIMD_TYPES };

enum simd_metric {
	SIMD_L2,  /* squared Euclidean distance; on bits this is the Hamming distance */
	SIMD_DOT, /* inner product (greater is nearer); on bits the number of common ones */
	SIMD_COS, /* cosine distance 1 - cos, in [0, 2]; exactly 1 if either squared norm is below
		   * FLT_MIN (so for zero vectors); NaN if either is not finite */
	SIMD_METRICS
};

enum simd_level {
	SIMD_SCALAR,
	SIMD_AVX2,   /* AVX2, FMA, F16C, POPCNT */
	SIMD_AVX512, /* AVX-512 F BW DQ VL; with VNNI, VPOPCNTDQ and BF16 where found */
	SIMD_NEON,
	SIMD_LEVELS
};

enum simd_compare { SIMD_LT, SIMD_LE, SIMD_GT, SIMD_GE, SIMD_EQ, SIMD_NE, SIMD_COMPARES };

/* One to one. */
typedef float simd_pair_fn(const void *a, const void *b, size_t dim);

/* One to many: out[i] = metric(query, row i) for i < count. Row i lies at base + i * stride, or,
 * where `ids` is not NULL, at base + ids[i] * stride; rows to come are prefetched. `stride` in
 * bytes. */
typedef void simd_many_fn(const void *query, const void *base, size_t stride, const uint32_t *ids,
			  size_t count, size_t dim, float *out);

/* Many to many: out[i * out_stride + j] = metric(query i, row j); out_stride in floats. */
typedef void simd_block_fn(const void *queries, size_t query_stride, size_t query_count,
			   const void *rows, size_t row_stride, size_t row_count, size_t dim,
			   float *out, size_t out_stride);

/* What one level offers. */
struct simd_kernels {
	enum simd_level level;
	const char *name;     /* as in MNEME_SIMD */
	const char *features; /* the extensions in use beyond the level's base, "" if none */

	simd_pair_fn *pair[SIMD_TYPES][SIMD_METRICS];
	simd_many_fn *many[SIMD_TYPES][SIMD_METRICS];
	simd_block_fn *block[SIMD_TYPES][SIMD_METRICS];

	/* Conversions, round to nearest even; NaN stays NaN, overflow gives infinity. */
	void (*f32_to_f16)(const float *in, uint16_t *out, size_t n);
	void (*f16_to_f32)(const uint16_t *in, float *out, size_t n);
	void (*f32_to_bf16)(const float *in, uint16_t *out, size_t n);
	void (*bf16_to_f32)(const uint16_t *in, float *out, size_t n);

	/* Bit i of bitmap = values[i] OP bound, with C's rules for NaN. Writes (n + 63) / 64 words,
	 * the unused bits of the last one zero. Returns the number of ones. */
	size_t (*filter_f32)(const float *values, size_t n, enum simd_compare op, float bound,
			     uint64_t *bitmap);
	size_t (*filter_i64)(const int64_t *values, size_t n, enum simd_compare op, int64_t bound,
			     uint64_t *bitmap);
	/* Least and greatest, NaN passed over; +infinity and -infinity if there is none. */
	void (*minmax_f32)(const float *values, size_t n, float *min, float *max);
	void (*minmax_i64)(const int64_t *values, size_t n, int64_t *min, int64_t *max);
	/* Sum in double: |error| <= n * 2^-53 * sum|values|. The i64 one wraps. */
	double (*sum_f32)(const float *values, size_t n);
	int64_t (*sum_i64)(const int64_t *values, size_t n);

	/* Bitmaps of `words` 64-bit words; `out` may be `a` or `b`. All return the ones in the
	 * result. */
	size_t (*bitmap_count)(const uint64_t *a, size_t words);
	size_t (*bitmap_and)(const uint64_t *a, const uint64_t *b, uint64_t *out, size_t words);
	size_t (*bitmap_or)(const uint64_t *a, const uint64_t *b, uint64_t *out, size_t words);
	size_t (*bitmap_andnot)(const uint64_t *a, const uint64_t *b, uint64_t *out, size_t words);

	/* Fast scan of 4-bit product quantizer codes (Andre, Kermarrec, Le Scouarnec, VLDB 2015),
	 * 32 vectors a block. A block holds, for each of the m <= 256 sub-quantizers, 16 bytes:
	 * byte i has the code of vector i in its low nibble and of vector i + 16 in its high one.
	 * `lut` has 16 bytes for each sub-quantizer. out[32 * block + v] = sum over s of lut[16 * s
	 * + code]. */
	void (*pq4_scan)(const uint8_t *codes, size_t blocks, size_t m, const uint8_t *lut,
			 uint16_t *out);

	/* Inner products of 1-bit codes with a query of `planes` <= 8 bits an element (RaBitQ,
	 * SIGMOD 2024): out[i] = sum over p of 2^p * popcount(code i & plane p). A code and a plane
	 * take `bytes` bytes, the planes lie one after the other; base, stride, ids as in
	 * simd_many_fn. */
	void (*b1_planes)(const void *query, size_t planes, const void *base, size_t stride,
			  const uint32_t *ids, size_t count, size_t bytes, uint32_t *out);
};

/* The table in use, set before main() and never changed but by simd_level_force(). */
extern const struct simd_kernels *simd_active;

/* The table of one level, or NULL if this machine or this build lacks it. */
const struct simd_kernels *simd_level_get(enum simd_level level);
/* Finds a level by its name in MNEME_SIMD; -EINVAL if there is none. */
int simd_level_parse(const char *name, enum simd_level *level);
/* Makes a level the active one, for tests and benchmarks; -ENOTSUP if this machine lacks it. Not
 * thread-safe. */
int simd_level_force(enum simd_level level);

/* Bytes that a vector of `dim` elements takes. */
static inline size_t simd_vector_bytes(enum simd_type type, size_t dim)
{
	static const uint8_t bits[SIMD_TYPES] = {32, 16, 16, 8, 8, 1};

	return (dim * bits[type] + 7) / 8;
}

static inline float simd_pair(enum simd_type type, enum simd_metric metric, const void *a,
			      const void *b, size_t dim)
{
	return simd_active->pair[type][metric](a, b, dim);
}

static inline void simd_many(enum simd_type type, enum simd_metric metric, const void *query,
			     const void *base, size_t stride, const uint32_t *ids, size_t count,
			     size_t dim, float *out)
{
	simd_active->many[type][metric](query, base, stride, ids, count, dim, out);
}

static inline void simd_block(enum simd_type type, enum simd_metric metric, const void *queries,
			      size_t query_stride, size_t query_count, const void *rows,
			      size_t row_stride, size_t row_count, size_t dim, float *out,
			      size_t out_stride)
{
	simd_active->block[type][metric](queries, query_stride, query_count, rows, row_stride,
					 row_count, dim, out, out_stride);
}

#endif
