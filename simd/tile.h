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
 *              ACC_ADD(a, b)
 *              SUM           a function: the float that an ACC comes to; SUM_four(out, acc) does it
 *                            for four at once. SUM_DOT, SUM_L2, SUM_NORM where they differ
 *              PAIR_UNROLL   independent accumulators of a pair
 *              ACC_REGS      registers that an ACC takes; tiles are so much smaller
 *            and once per file
 *              BLOCK_Q, BLOCK_R          queries and rows of a register tile of the block kernels
 *              BLOCK_COS_Q, BLOCK_COS_R  the same for the cosine, which also keeps the norms
 *              COS_UNROLL                accumulators a row of one-to-many cosines
 *            All of the former are undefined again at its end.
 * Invariants: a tile is nq x nr pairs, with `unroll` accumulators each so that the latency of one
 *            addition hides behind the others; rows are taken four at a time so that a load of the
 *            query serves four rows. Pair, many and block differ in these constants alone.
 */
#include "simd/kernels.h"

#include <stdbool.h>

#ifndef SIMD_TILE_ONCE
#define SIMD_TILE_ONCE
#define TILE_JOIN2(a, b) a##_##b
#define TILE_JOIN(a, b) TILE_JOIN2(a, b)
#define TILE_FOUR(function) TILE_JOIN(function, four)
#define TILE_INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")
enum { TILE_MAX = 16, ROWS_AT_ONCE = 4, LINE = 64 };

/* A scan of more than half of a usual second-level cache is bound by memory. Rows of SCAN_LONG bytes
 * are taken one by one then, as the hardware follows one stream best, also when others use the
 * memory; of shorter ones four at a time, the lines asked for SCAN_AHEAD bytes before. */
enum { SCAN_BYTES = 512 << 10, SCAN_LONG = 384, SCAN_AHEAD = 8192 };

/* Asks for the lines of a row that is needed soon. Long rows are left to the hardware after their
 * first kilobyte. */
TILE_INLINE void row_prefetch(const uint8_t *row, size_t bytes)
{
	for (size_t i = 0; i < bytes && i < 1024; i += LINE)
		__builtin_prefetch(row + i, 0, 3);
}

/* cos_finish() in single precision and without branches, so that four go at once. */
TILE_INLINE float cos_finish_fast(float ab, float aa, float bb)
{
	float d = 1.0f - ab / (sqrtf(aa) * sqrtf(bb));

	d = d < 0 ? 0 : d;
	d = d > 2 ? 2 : d;
	d = (aa < FLT_MIN) | (bb < FLT_MIN) ? 1 : d;
	return (aa <= FLT_MAX) & (bb <= FLT_MAX) ? d : NAN;
}
#endif
#ifndef SUM_DOT
#define SUM_DOT SUM
#endif
#ifndef SUM_L2
#define SUM_L2 SUM
#endif
#ifndef SUM_NORM
#define SUM_NORM SUM
#endif
#define FN(name) TILE_JOIN(name, TYPE)
#define CALL(name, ...) FN(name)(__VA_ARGS__)

struct FN(tile) {
	ACC dot[TILE_MAX], query_norm[TILE_MAX], row_norm[TILE_MAX];
};

TILE_INLINE void FN(tile_step)(struct FN(tile) * t, const int metric, const int nq, const int nr,
			       const int unroll, const int u, const bool own_norm, const VEC *q,
			       const VEC *r)
{
	UNROLLED for (int i = 0; i < nq; i++)
	{
		UNROLLED for (int j = 0; j < nr; j++)
		{
			ACC *acc = &t->dot[(i * nr + j) * unroll + u];
			*acc = metric == SIMD_L2 ? MAC_L2(*acc, q[i], r[j])
						 : MAC_DOT(*acc, q[i], r[j]);
		}
		if (own_norm)
			t->query_norm[i * unroll + u] =
				MAC_NORM(t->query_norm[i * unroll + u], q[i]);
	}
	if (metric == SIMD_COS) {
		UNROLLED for (int j = 0; j < nr; j++)
		{
			ACC *acc = &t->row_norm[j * unroll + u];
			*acc = MAC_NORM(*acc, r[j]);
		}
	}
}

TILE_INLINE ACC FN(tile_total)(const ACC *acc, const int unroll)
{
	ACC total = acc[0];

	UNROLLED for (int u = 1; u < unroll; u++) total = ACC_ADD(total, acc[u]);
	return total;
}

/* Brings the sums of a tile into `out`. `query_norm` is for the cosine; NULL: the tile has it. */
TILE_INLINE void FN(tile_finish)(struct FN(tile) * t, const int metric, const int nq, const int nr,
				 const int unroll, const float *query_norm, float *out,
				 size_t out_stride)
{
	float row_norm[TILE_MAX];
	ACC total[TILE_MAX];

	if (metric == SIMD_COS) {
		UNROLLED for (int j = 0; j < nr; j++) total[j] =
			CALL(tile_total, &t->row_norm[j * unroll], unroll);
		if (nr == ROWS_AT_ONCE)
			TILE_FOUR(SUM_NORM)(row_norm, total);
		else
			UNROLLED for (int j = 0; j < nr; j++) row_norm[j] = SUM_NORM(total[j]);
	}
	UNROLLED for (int i = 0; i < nq; i++)
	{
		float *o = out + (size_t)i * out_stride, aa = 0;
		if (query_norm)
			aa = query_norm[i];
		else if (metric == SIMD_COS)
			aa = SUM_NORM(CALL(tile_total, &t->query_norm[i * unroll], unroll));
		UNROLLED for (int j = 0; j < nr; j++) total[j] =
			CALL(tile_total, &t->dot[(i * nr + j) * unroll], unroll);
		if (nr == ROWS_AT_ONCE && metric == SIMD_L2)
			TILE_FOUR(SUM_L2)(o, total);
		else if (nr == ROWS_AT_ONCE)
			TILE_FOUR(SUM_DOT)(o, total);
		else
			UNROLLED for (int j = 0; j < nr; j++) o[j] =
				metric == SIMD_L2 ? SUM_L2(total[j]) : SUM_DOT(total[j]);
		if (metric == SIMD_COS)
			for (int j = 0; j < nr; j++)
				o[j] = cos_finish_fast(o[j], aa, row_norm[j]);
	}
}

/* out[i * out_stride + j] = metric(q[i], r[j]), all loops over constants. `ahead`: how many bytes
 * before its use a line is asked for, 0 for not at all. */
TILE_INLINE void FN(tile)(const int metric, const int nq, const int nr, const int unroll,
			  const uint8_t *const *q, const uint8_t *const *r, size_t bytes,
			  const float *query_norm, const size_t ahead, float *out,
			  size_t out_stride)
{
	const bool own_norm = metric == SIMD_COS && !query_norm;
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
			UNROLLED for (int j = 0; j < nr; j++)
			{
				rv[j] = LOAD(r[j] + here);
				if (ahead && j * VEC_BYTES % LINE == 0)
					__builtin_prefetch(r[0] + ahead + nr * here + j * VEC_BYTES,
							   0, 3);
			}
			CALL(tile_step, &t, metric, nq, nr, unroll, u, own_norm, qv, rv);
		}
	}
	if (unroll > 1) {
		for (; at + VEC_BYTES <= bytes; at += VEC_BYTES) {
			UNROLLED for (int i = 0; i < nq; i++) qv[i] = LOAD(q[i] + at);
			UNROLLED for (int j = 0; j < nr; j++) rv[j] = LOAD(r[j] + at);
			CALL(tile_step, &t, metric, nq, nr, unroll, 0, own_norm, qv, rv);
		}
	}
	if (at < bytes) {
		UNROLLED for (int i = 0; i < nq; i++) qv[i] =
			LOAD_TAIL(q[i] + at, bytes - at, bytes);
		UNROLLED for (int j = 0; j < nr; j++)
		{
			rv[j] = LOAD_TAIL(r[j] + at, bytes - at, bytes);
			if (ahead && j * VEC_BYTES % LINE == 0)
				__builtin_prefetch(r[0] + ahead + nr * at + j * VEC_BYTES, 0, 3);
		}
		CALL(tile_step, &t, metric, nq, nr, unroll, 0, own_norm, qv, rv);
	}
	CALL(tile_finish, &t, metric, nq, nr, unroll, query_norm, out, out_stride);
}

/* Accumulators a row of one-to-many. */
enum {
	FN(MANY_UNROLL) = 2 / ACC_REGS,
	FN(MANY_COS_UNROLL) = COS_UNROLL > ACC_REGS ? COS_UNROLL / ACC_REGS : 1,
};

TILE_INLINE float FN(pair)(const int metric, const void *a, const void *b, size_t dim)
{
	const int unroll = metric == SIMD_COS ? (PAIR_UNROLL + 1) / 2 : PAIR_UNROLL;
	const uint8_t *q = a, *r = b;
	float out;

	CALL(tile, metric, 1, 1, unroll, &q, &r, DIM_BYTES(dim), NULL, 0, &out, 0);
	return out;
}

/* The squared norm that a cosine needs of a query; it must be there even for no dimensions. */
TILE_INLINE float FN(norm)(const uint8_t *q, size_t bytes)
{
	struct FN(tile) t = {0};
	VEC v;
	size_t at = 0;

	for (; at + VEC_BYTES <= bytes; at += VEC_BYTES) {
		v = LOAD(q + at);
		t.row_norm[0] = MAC_NORM(t.row_norm[0], v);
	}
	if (at < bytes) {
		v = LOAD_TAIL(q + at, bytes - at, bytes);
		t.row_norm[0] = MAC_NORM(t.row_norm[0], v);
	}
	return SUM_NORM(t.row_norm[0]);
}

/* `base` and all that follows it lies in order: `ahead` as in tile(). */
TILE_INLINE void FN(scan)(const int metric, const uint8_t *q, const uint8_t *rows, size_t stride,
			  size_t count, size_t bytes, const float *norm, const size_t ahead,
			  float *out)
{
	const uint8_t *r[ROWS_AT_ONCE];

	for (size_t i = 0; i < count; i += ROWS_AT_ONCE) {
		UNROLLED for (int j = 0; j < ROWS_AT_ONCE; j++) r[j] = rows + (i + j) * stride;
		CALL(tile, metric, 1, ROWS_AT_ONCE,
		     metric == SIMD_COS ? FN(MANY_COS_UNROLL) : FN(MANY_UNROLL), &q, r, bytes, norm,
		     ahead, out + i, 0);
	}
}

TILE_INLINE void FN(scan_long)(const int metric, const uint8_t *q, const uint8_t *rows,
			       size_t stride, size_t count, size_t bytes, const float *norm,
			       float *out)
{
	const int unroll = metric == SIMD_COS ? (PAIR_UNROLL + 1) / 2 : PAIR_UNROLL;

	for (size_t i = 0; i < count; i++, rows += stride)
		CALL(tile, metric, 1, 1, unroll, &q, &rows, bytes, norm, 0, out + i, 0);
}

/* The rows that `ids` names; those of the next step are asked for before this one's are summed. */
TILE_INLINE void FN(gather)(const int metric, const uint8_t *q, const uint8_t *rows, size_t stride,
			    const uint32_t *ids, size_t count, size_t bytes, const float *norm,
			    float *out)
{
	const uint8_t *r[ROWS_AT_ONCE];

	for (size_t i = 0; i < count; i += ROWS_AT_ONCE) {
		UNROLLED for (int j = 0; j < ROWS_AT_ONCE; j++)
		{
			r[j] = rows + ids[i + j] * stride;
			if (i + ROWS_AT_ONCE < count)
				row_prefetch(rows + ids[i + ROWS_AT_ONCE + j] * stride, bytes);
		}
		CALL(tile, metric, 1, ROWS_AT_ONCE,
		     metric == SIMD_COS ? FN(MANY_COS_UNROLL) : FN(MANY_UNROLL), &q, r, bytes, norm,
		     0, out + i, 0);
	}
}

TILE_INLINE void FN(many)(const int metric, const void *query, const void *base, size_t stride,
			  const uint32_t *ids, size_t count, size_t dim, float *out)
{
	size_t bytes = DIM_BYTES(dim), whole = count / ROWS_AT_ONCE * ROWS_AT_ONCE;
	const float norm = metric == SIMD_COS && whole ? CALL(norm, query, bytes) : 0;
	const uint8_t *rows = base;

	if (ids) {
		for (size_t i = 0; i < count && i < ROWS_AT_ONCE; i++)
			row_prefetch(rows + ids[i] * stride, bytes);
		CALL(gather, metric, query, rows, stride, ids, whole, bytes, &norm, out);
	} else if (whole * stride > SCAN_BYTES && bytes >= SCAN_LONG) {
		CALL(scan_long, metric, query, rows, stride, whole, bytes, &norm, out);
	} else if (whole * stride > SCAN_BYTES) {
		CALL(scan, metric, query, rows, stride, whole, bytes, &norm, SCAN_AHEAD, out);
	} else {
		CALL(scan, metric, query, rows, stride, whole, bytes, &norm, 0, out);
	}
	for (size_t i = whole; i < count; i++)
		out[i] = CALL(pair, metric, query, rows + (ids ? ids[i] : i) * stride, dim);
}

TILE_INLINE void FN(block)(const int metric, const int nq, const int nr, const uint8_t *queries,
			   size_t query_stride, size_t query_count, const uint8_t *rows,
			   size_t row_stride, size_t row_count, size_t dim, float *out,
			   size_t out_stride)
{
	const uint8_t *q[TILE_MAX], *r[TILE_MAX];
	size_t i = 0, bytes = DIM_BYTES(dim);
	float norm[TILE_MAX];

	for (; i + nq <= query_count; i += nq) {
		size_t j = 0;
		for (int n = 0; n < nq; n++) {
			q[n] = queries + (i + n) * query_stride;
			norm[n] = metric == SIMD_COS ? CALL(norm, q[n], bytes) : 0;
		}
		for (; j + nr <= row_count; j += nr) {
			UNROLLED for (int n = 0; n < nr; n++) r[n] = rows + (j + n) * row_stride;
			CALL(tile, metric, nq, nr, 1, q, r, bytes, norm, 0,
			     out + i * out_stride + j, out_stride);
		}
		for (; j < row_count; j++)
			for (int n = 0; n < nq; n++)
				out[(i + n) * out_stride + j] =
					CALL(pair, metric, q[n], rows + j * row_stride, dim);
	}
	for (; i < query_count; i++)
		CALL(many, metric, queries + i * query_stride, rows, row_stride, NULL, row_count,
		     dim, out + i * out_stride);
}

#define TILE_KERNELS(metric, name, nq, nr)                                                         \
	static float FN(pair_##name)(const void *a, const void *b, size_t dim)                     \
	{                                                                                          \
		return CALL(pair, metric, a, b, dim);                                              \
	}                                                                                          \
	static void FN(many_##name)(const void *query, const void *base, size_t stride,            \
				    const uint32_t *ids, size_t count, size_t dim, float *out)     \
	{                                                                                          \
		CALL(many, metric, query, base, stride, ids, count, dim, out);                     \
	}                                                                                          \
	static void FN(block_##name)(const void *queries, size_t query_stride, size_t query_count, \
				     const void *rows, size_t row_stride, size_t row_count,        \
				     size_t dim, float *out, size_t out_stride)                    \
	{                                                                                          \
		CALL(block, metric, nq, nr, queries, query_stride, query_count, rows, row_stride,  \
		     row_count, dim, out, out_stride);                                             \
	}
#ifndef TILE_WITHOUT_L2
TILE_KERNELS(SIMD_L2, l2, BLOCK_Q / ACC_REGS, BLOCK_R)
#endif
TILE_KERNELS(SIMD_DOT, dot, BLOCK_Q / ACC_REGS, BLOCK_R)
TILE_KERNELS(SIMD_COS, cos, BLOCK_COS_Q / ACC_REGS, BLOCK_COS_R)

#undef TILE_KERNELS
#undef FN
#undef CALL
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
#undef SUM
#undef SUM_DOT
#undef SUM_L2
#undef SUM_NORM
#undef PAIR_UNROLL
#undef ACC_REGS
