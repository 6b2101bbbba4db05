/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the template of all distance kernels of one element type and instruction set. A file
 *            includes it once a type, after defining
 *              TYPE          f32, f16, ..: the suffix of the functions made
 *              VEC, ACC      types of loaded elements and of an accumulator (an ACC of zeros is 0)
 *              VEC_BYTES     bytes of a vector that one VEC holds
 *              DIM_BYTES(d)  bytes of a vector of d elements
 *              LOAD(p)       VEC of VEC_BYTES bytes at p
 *              LOAD_TAIL(p, left, total)  VEC of the `left` < VEC_BYTES last bytes of a vector of
 *                            `total` bytes, the other elements zero
 *              MAC_DOT(acc, q, r), MAC_L2(acc, q, r), MAC_NORM(acc, v)   multiply, accumulate
 *              ACC_ADD(a, b), REDUCE_DOT(acc), REDUCE_L2(acc), REDUCE_NORM(acc)   to float
 *            and once per file
 *              BLOCK_Q, BLOCK_R          queries and rows of a register tile of the block kernels
 *              BLOCK_COS_Q, BLOCK_COS_R  the same for the cosine, which also keeps the norms
 *            All of the former are undefined again at its end.
 * Invariants: a tile is nq x nr pairs, with `unroll` accumulators each so that the latency of one
 *            addition hides behind the others; rows are taken four at a time so that a load of the
 *            query serves four rows. Pair, many and block differ in these constants alone.
 */
#include "simd/kernels.h"

#ifndef SIMD_TILE_ONCE
#define SIMD_TILE_ONCE
#define TILE_JOIN2(a, b) a##_##b
#define TILE_JOIN(a, b) TILE_JOIN2(a, b)
#define TILE_INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")
enum { TILE_MAX = 16, ROWS_AT_ONCE = 4, LINE = 64 };

/* Asks for the lines of a row that is needed soon. Long rows are left to the hardware after their
 * first kilobyte. */
TILE_INLINE void row_prefetch(const uint8_t *row, size_t bytes)
{
	for (size_t i = 0; i < bytes && i < 1024; i += LINE)
		__builtin_prefetch(row + i, 0, 3);
}
#endif
#define FN(name) TILE_JOIN(name, TYPE)

struct FN(tile) {
	ACC dot[TILE_MAX], query_norm[TILE_MAX], row_norm[TILE_MAX];
};

TILE_INLINE void FN(tile_step)(struct FN(tile) * t, const int metric, const int nq, const int nr,
			       const int unroll, const int u, const VEC *q, const VEC *r)
{
	UNROLLED for (int i = 0; i < nq; i++)
	{
		UNROLLED for (int j = 0; j < nr; j++)
		{
			ACC *acc = &t->dot[(i * nr + j) * unroll + u];
			*acc = metric == SIMD_L2 ? MAC_L2(*acc, q[i], r[j])
						 : MAC_DOT(*acc, q[i], r[j]);
		}
		if (metric == SIMD_COS)
			t->query_norm[i * unroll + u] =
				MAC_NORM(t->query_norm[i * unroll + u], q[i]);
	}
	if (metric == SIMD_COS) {
		UNROLLED for (int j = 0; j < nr; j++) t->row_norm[j * unroll + u] =
			MAC_NORM(t->row_norm[j * unroll + u], r[j]);
	}
}

TILE_INLINE ACC FN(tile_total)(const ACC *acc, const int unroll)
{
	ACC total = acc[0];

	UNROLLED for (int u = 1; u < unroll; u++) total = ACC_ADD(total, acc[u]);
	return total;
}

/* out[i * out_stride + j] = metric(q[i], r[j]), all loops over constants. */
TILE_INLINE void FN(tile)(const int metric, const int nq, const int nr, const int unroll,
			  const uint8_t *const *q, const uint8_t *const *r, size_t bytes,
			  float *out, size_t out_stride)
{
	struct FN(tile) t;
	VEC qv[TILE_MAX], rv[TILE_MAX];
	size_t at = 0;

	UNROLLED for (int i = 0; i < nq * nr * unroll; i++) t.dot[i] = (ACC){0};
	UNROLLED for (int i = 0; i < nq * unroll; i++) t.query_norm[i] = (ACC){0};
	UNROLLED for (int i = 0; i < nr * unroll; i++) t.row_norm[i] = (ACC){0};
	for (; at + (size_t)unroll * VEC_BYTES <= bytes; at += (size_t)unroll * VEC_BYTES) {
		UNROLLED for (int u = 0; u < unroll; u++)
		{
			size_t here = at + (size_t)u * VEC_BYTES;
			UNROLLED for (int i = 0; i < nq; i++) qv[i] = LOAD(q[i] + here);
			UNROLLED for (int j = 0; j < nr; j++) rv[j] = LOAD(r[j] + here);
			FN(tile_step)(&t, metric, nq, nr, unroll, u, qv, rv);
		}
	}
	if (unroll > 1) {
		for (; at + VEC_BYTES <= bytes; at += VEC_BYTES) {
			UNROLLED for (int i = 0; i < nq; i++) qv[i] = LOAD(q[i] + at);
			UNROLLED for (int j = 0; j < nr; j++) rv[j] = LOAD(r[j] + at);
			FN(tile_step)(&t, metric, nq, nr, unroll, 0, qv, rv);
		}
	}
	if (at < bytes) {
		UNROLLED for (int i = 0; i < nq; i++) qv[i] =
			LOAD_TAIL(q[i] + at, bytes - at, bytes);
		UNROLLED for (int j = 0; j < nr; j++) rv[j] =
			LOAD_TAIL(r[j] + at, bytes - at, bytes);
		FN(tile_step)(&t, metric, nq, nr, unroll, 0, qv, rv);
	}
	UNROLLED for (int i = 0; i < nq; i++)
	{
		UNROLLED for (int j = 0; j < nr; j++)
		{
			ACC total = FN(tile_total)(&t.dot[(i * nr + j) * unroll], unroll);
			float *o = &out[(size_t)i * out_stride + j];
			*o = metric == SIMD_L2 ? REDUCE_L2(total) : REDUCE_DOT(total);
			if (metric != SIMD_COS)
				continue;
			ACC aa = FN(tile_total)(&t.query_norm[i * unroll], unroll);
			ACC bb = FN(tile_total)(&t.row_norm[j * unroll], unroll);
			*o = cos_finish(*o, REDUCE_NORM(aa), REDUCE_NORM(bb));
		}
	}
}

TILE_INLINE float FN(pair)(const int metric, const void *a, const void *b, size_t dim)
{
	const uint8_t *q = a, *r = b;
	float out;

	FN(tile)(metric, 1, 1, metric == SIMD_COS ? 2 : 4, &q, &r, DIM_BYTES(dim), &out, 0);
	return out;
}

TILE_INLINE void FN(many)(const int metric, const void *query, const void *base, size_t stride,
			  const uint32_t *ids, size_t count, size_t dim, float *out)
{
	const uint8_t *q = query, *rows = base, *r[ROWS_AT_ONCE];
	size_t bytes = DIM_BYTES(dim), i = 0;

#define ROW(i) (rows + (ids ? ids[i] : (i)) * stride)
	for (size_t ahead = 0; ids && ahead < count && ahead < ROWS_AT_ONCE; ahead++)
		row_prefetch(ROW(ahead), bytes);
	for (; i + ROWS_AT_ONCE <= count; i += ROWS_AT_ONCE) {
		UNROLLED for (int j = 0; j < ROWS_AT_ONCE; j++)
		{
			r[j] = ROW(i + j);
			if (ids && i + ROWS_AT_ONCE + j < count)
				row_prefetch(ROW(i + ROWS_AT_ONCE + j), bytes);
		}
		FN(tile)
		(metric, 1, ROWS_AT_ONCE, metric == SIMD_COS ? 1 : 2, &q, r, bytes, out + i, 0);
	}
	for (; i < count; i++)
		out[i] = FN(pair)(metric, q, ROW(i), dim);
#undef ROW
}

TILE_INLINE void FN(block)(const int metric, const int nq, const int nr, const uint8_t *queries,
			   size_t query_stride, size_t query_count, const uint8_t *rows,
			   size_t row_stride, size_t row_count, size_t dim, float *out,
			   size_t out_stride)
{
	const uint8_t *q[TILE_MAX], *r[TILE_MAX];
	size_t i = 0, bytes = DIM_BYTES(dim);

	for (; i + nq <= query_count; i += nq) {
		size_t j = 0;
		UNROLLED for (int n = 0; n < nq; n++) q[n] = queries + (i + n) * query_stride;
		for (; j + nr <= row_count; j += nr) {
			UNROLLED for (int n = 0; n < nr; n++) r[n] = rows + (j + n) * row_stride;
			FN(tile)
			(metric, nq, nr, 1, q, r, bytes, out + i * out_stride + j, out_stride);
		}
		for (; j < row_count; j++)
			UNROLLED for (int n = 0; n < nq; n++) out[(i + n) * out_stride + j] =
				FN(pair)(metric, q[n], rows + j * row_stride, dim);
	}
	for (; i < query_count; i++)
		FN(many)
	(metric, queries + i * query_stride, rows, row_stride, NULL, row_count, dim,
	 out + i * out_stride);
}

#define TILE_KERNELS(metric, name, nq, nr)                                                         \
	static float FN(pair_##name)(const void *a, const void *b, size_t dim)                     \
	{                                                                                          \
		return FN(pair)(metric, a, b, dim);                                                \
	}                                                                                          \
	static void FN(many_##name)(const void *query, const void *base, size_t stride,            \
				    const uint32_t *ids, size_t count, size_t dim, float *out)     \
	{                                                                                          \
		FN(many)(metric, query, base, stride, ids, count, dim, out);                       \
	}                                                                                          \
	static void FN(block_##name)(const void *queries, size_t query_stride, size_t query_count, \
				     const void *rows, size_t row_stride, size_t row_count,        \
				     size_t dim, float *out, size_t out_stride)                    \
	{                                                                                          \
		FN(block)                                                                          \
		(metric, nq, nr, queries, query_stride, query_count, rows, row_stride, row_count,  \
		 dim, out, out_stride);                                                            \
	}
#ifndef TILE_WITHOUT_L2
TILE_KERNELS(SIMD_L2, l2, BLOCK_Q, BLOCK_R)
#endif
TILE_KERNELS(SIMD_DOT, dot, BLOCK_Q, BLOCK_R)
TILE_KERNELS(SIMD_COS, cos, BLOCK_COS_Q, BLOCK_COS_R)

#undef TILE_KERNELS
#undef FN
#undef TYPE
#undef VEC
#undef ACC
#undef VEC_BYTES
#undef DIM_BYTES
#undef LOAD
#undef LOAD_TAIL
#undef MAC_DOT
#undef MAC_L2
#undef MAC_NORM
#undef ACC_ADD
#undef REDUCE_DOT
#undef REDUCE_L2
#undef REDUCE_NORM
