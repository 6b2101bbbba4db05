/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the vector kernels, written once over the few operations that an including file
 *            defines for its instruction set:
 *
 *     VW, TILE_ROWS, TILE_VECS           lanes; the tile that fits the registers
 *     vf, vi                             VW floats / int32 (operators + - * work on them)
 *     vf_load vf_store vf_set1 vf_max vf_abs vf_sum vf_top vf_exponent   f32 operations
 *     vi_zero vi_load vi_set1 vi_quad vi_to_f vf_to_i vi_store_bytes     int32 operations
 *     vi_dot(acc, bytes, weights)        acc + four-byte dot products, unsigned * signed, exact
 *
 * Invariants: tiles are functions with constant bounds, inlined, so that accumulators live in
 *            registers.
 */
#include "core/memory/encoder_kernels.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Stores one vector of a product: scales, bias, and what p->store says. */
INLINE void finish_vector(const struct kernel_product *p, vi sum, uint32_t row, uint32_t col)
{
	const vf scale = vf_load(p->w->scale + col) * vf_set1(p->scale[row]);
	const vi offset = vi_load(p->w->sum + col) * vi_set1(p->zero);
	float *out = p->out + (size_t)row * p->stride + col;
	vf v = vi_to_f(sum - offset) * scale + vf_load(p->bias + col);

	if (p->store == KERNEL_STORE_ADD)
		v = v + vf_load(out);
	else if (p->store == KERNEL_STORE_RELU)
		v = vf_max(v, vf_set1(0));
	vf_store(out, v);
}

/* rows [row, row + R) by columns [col, col + V * VW) */
INLINE void product_tile(const struct kernel_product *p, uint32_t row, uint32_t col, const int R,
			 const int V)
{
	const uint32_t depth = p->w->rows;
	const int per_block = 16 / VW;
	const uint8_t *a = p->a + (size_t)row * depth;
	const int8_t *b = p->w->data + (size_t)col * depth;
	vi acc[TILE_ROWS][TILE_VECS];

#pragma GCC unroll 16
	for (int i = 0; i < R; i++)
#pragma GCC unroll 16
		for (int j = 0; j < V; j++)
			acc[i][j] = vi_zero();
	for (uint32_t q = 0; q < depth; q += 4) {
		vi w[TILE_VECS];

#pragma GCC unroll 16
		for (int j = 0; j < V; j++)
			w[j] = vi_load((const int32_t *)(b + (size_t)(j / per_block) * 16 * depth +
							 (size_t)q * 16 + j % per_block * VW * 4));
#pragma GCC unroll 16
		for (int i = 0; i < R; i++) {
			const vi bytes = vi_quad(a + (size_t)i * depth + q);

#pragma GCC unroll 16
			for (int j = 0; j < V; j++)
				acc[i][j] = vi_dot(acc[i][j], bytes, w[j]);
		}
	}
#pragma GCC unroll 16
	for (int i = 0; i < R; i++)
#pragma GCC unroll 16
		for (int j = 0; j < V; j++)
			finish_vector(p, acc[i][j], row + i, col + j * VW);
}

/* The rows that do not fill a tile. */
INLINE void product_rest(const struct kernel_product *p, uint32_t row, uint32_t col)
{
	switch (p->rows - row) {
#if TILE_ROWS > 5
	case 5:
		product_tile(p, row, col, 5, TILE_VECS);
		break;
#endif
#if TILE_ROWS > 4
	case 4:
		product_tile(p, row, col, 4, TILE_VECS);
		break;
#endif
#if TILE_ROWS > 3
	case 3:
		product_tile(p, row, col, 3, TILE_VECS);
		break;
#endif
	case 2:
		product_tile(p, row, col, 2, TILE_VECS);
		break;
	case 1:
		product_tile(p, row, col, 1, TILE_VECS);
		break;
	default:
		break;
	}
}

static void product(const struct kernel_product *p)
{
	for (uint32_t col = 0; col < p->w->cols; col += TILE_VECS * VW) {
		uint32_t row = 0;

		for (; row + TILE_ROWS <= p->rows; row += TILE_ROWS)
			product_tile(p, row, col, TILE_ROWS, TILE_VECS);
		product_rest(p, row, col);
	}
}

/* Bytes of one row, of which `tops` has the largest magnitudes by lane. Returns its scale. */
INLINE float quantise_row(const float *x, uint32_t width, vf tops, float steps, int zero,
			  uint8_t *out)
{
	const float top = vf_top(tops);
	const vf factor = vf_set1(top > 0 ? steps / top : 0);

	for (uint32_t i = 0; i < width; i += VW)
		vi_store_bytes(out + i, vf_to_i(vf_load(x + i) * factor) + vi_set1(zero));
	return top / steps;
}

static void quantise(const float *x, uint32_t rows, uint32_t width, uint8_t *out, float *out_scale)
{
	for (uint32_t r = 0; r < rows; r++, x += width, out += width) {
		vf top = vf_set1(0);

		for (uint32_t i = 0; i < width; i += VW)
			top = vf_max(top, vf_abs(vf_load(x + i)));
		out_scale[r] = quantise_row(x, width, top, 127, 128, out);
	}
}

static void quantise_positive(const float *x, uint32_t rows, uint32_t width, uint8_t *out,
			      float *out_scale)
{
	for (uint32_t r = 0; r < rows; r++, x += width, out += width) {
		vf top = vf_set1(0);

		for (uint32_t i = 0; i < width; i += VW)
			top = vf_max(top, vf_load(x + i));
		out_scale[r] = quantise_row(x, width, top, 255, 0, out);
	}
}

static void norm(const float *x, uint32_t rows, uint32_t width, const float *scale,
		 const float *bias, uint8_t *out, float *out_scale)
{
	static _Thread_local _Alignas(64) float y[MODEL_WIDTH]; /* handlers have 3 KiB of stack */

	for (uint32_t r = 0; r < rows; r++, x += width, out += width) {
		vf sum = vf_set1(0), squares = vf_set1(0), top = vf_set1(0);

		for (uint32_t i = 0; i < width; i += VW)
			sum = sum + vf_load(x + i);
		const vf mean = vf_set1(vf_sum(sum) / (float)width);
		for (uint32_t i = 0; i < width; i += VW) {
			const vf v = vf_load(x + i) - mean;

			squares = squares + v * v;
		}
		const vf inverse = vf_set1(1 / sqrtf(vf_sum(squares) / (float)width + 1e-6f));
		for (uint32_t i = 0; i < width; i += VW) {
			const vf v = (vf_load(x + i) - mean) * inverse * vf_load(scale + i) +
				     vf_load(bias + i);

			vf_store(y + i, v);
			top = vf_max(top, vf_abs(v));
		}
		out_scale[r] = quantise_row(y, width, top, 127, 128, out);
	}
}

/* e^v for v <= 0, relative error below 2e-7: 2^n by the exponent's bits, the rest by a polynomial.
 */
INLINE vf exp_vector(vf v)
{
	const vf x = vf_max(v, vf_set1(-87));
	const vi n = vf_to_i(x * vf_set1(1.44269504f));
	const vf whole = vi_to_f(n);
	const vf r = x - whole * vf_set1(0.693359375f) + whole * vf_set1(2.12194440e-4f);
	vf poly = vf_set1(1.9875691500e-4f);

	poly = poly * r + vf_set1(1.3981999507e-3f);
	poly = poly * r + vf_set1(8.3334519073e-3f);
	poly = poly * r + vf_set1(4.1665795894e-2f);
	poly = poly * r + vf_set1(1.6666665459e-1f);
	poly = poly * r + vf_set1(5.0000001201e-1f);
	poly = poly * r * r + r + vf_set1(1);
	return poly * vf_exponent(n);
}

/* A row's weights, e^(factor * (score - largest)), as bytes of which the largest is 255; up to VW - 1
 * zeros follow them. Returns what a byte stands for, so that the weights' sum is 1. */
INLINE float softmax_bytes(float *score, uint32_t tokens, float factor, uint8_t *out)
{
	const uint32_t padded = (tokens + VW - 1) / VW * VW;
	vf tops = vf_set1(-INFINITY), sums = vf_set1(0);

	for (uint32_t t = tokens; t < padded; t++)
		score[t] = -INFINITY;
	for (uint32_t t = 0; t < padded; t += VW)
		tops = vf_max(tops, vf_load(score + t));
	const vf top = vf_set1(vf_top(tops) * factor), by = vf_set1(factor);
	for (uint32_t t = 0; t < padded; t += VW) {
		const vi bytes = vf_to_i(exp_vector(vf_load(score + t) * by - top) * vf_set1(255));

		vi_store_bytes(out + t, bytes);
		sums = sums + vi_to_f(bytes);
	}
	return 1 / vf_sum(sums);
}

/* Quantises the head's queries, rows `stride` floats apart. */
INLINE void quantise_queries(const float *q, uint32_t tokens, uint32_t dim, size_t stride,
			     struct kernel_attention *s)
{
	for (uint32_t t = 0; t < tokens; t++, q += stride) {
		vf top = vf_set1(0);

		for (uint32_t i = 0; i < dim; i += VW)
			top = vf_max(top, vf_abs(vf_load(q + i)));
		s->scale[t] = quantise_row(q, dim, top, 127, 128, s->bytes + (size_t)t * dim);
	}
}

/* Packs the keys as a matrix [dim][padded]: a token is a column. */
INLINE void pack_keys(const float *k, uint32_t tokens, uint32_t padded, uint32_t dim, size_t stride,
		      struct kernel_attention *s)
{
	const uint32_t flip = 0x80808080u; /* from unsigned with zero 128 to signed */

	/* the padding's scores are of no account, but must be numbers */
	for (uint32_t t = tokens; t < padded; t++) {
		s->packed_scale[t] = 0;
		s->packed_sum[t] = 0;
	}
	for (uint32_t t = 0; t < tokens; t++, k += stride) {
		int8_t *column = s->packed + (size_t)(t / 16) * 16 * dim + t % 16 * 4;
		vf top = vf_set1(0), sum = vf_set1(0);

		for (uint32_t i = 0; i < dim; i += VW)
			top = vf_max(top, vf_abs(vf_load(k + i)));
		s->packed_scale[t] = quantise_row(k, dim, top, 127, 128, s->row);
		const vf factor = vf_set1(vf_top(top) > 0 ? 127 / vf_top(top) : 0);
		for (uint32_t i = 0; i < dim; i += VW)
			sum = sum + vi_to_f(vf_to_i(vf_load(k + i) * factor));
		s->packed_sum[t] = (int32_t)vf_sum(sum);
		for (uint32_t i = 0; i < dim; i += 4) {
			uint32_t four;

			memcpy(&four, s->row + i, 4);
			four ^= flip;
			memcpy(column + (size_t)i * 16, &four, 4);
		}
	}
}

/* Packs the values as a matrix [depth][dim], quantised by column; rows beyond `tokens` are 0. */
INLINE void pack_values(const float *v, uint32_t tokens, uint32_t depth, uint32_t dim,
			size_t stride, struct kernel_attention *s)
{
	for (uint32_t c = 0; c < dim; c += VW) {
		int8_t *block = s->packed + (size_t)(c / 16) * 16 * depth + c % 16 * 4;
		const vf tiny = vf_set1(1e-30f);
		vf top = tiny;
		vi sum = vi_zero();

		for (uint32_t t = 0; t < tokens; t++)
			top = vf_max(top, vf_abs(vf_load(v + t * stride + c)));
		const vf factor = vf_set1(127) / top;
		vf_store(s->packed_scale + c, top / vf_set1(127));
		for (uint32_t t = 0; t < depth; t += 4) {
			vi four = vi_zero();

			for (uint32_t i = 0; i < 4 && t + i < tokens; i++) {
				const vi byte = vf_to_i(vf_load(v + (t + i) * stride + c) * factor);

				sum = sum + byte;
				four = four | (byte & 255) << 8 * i;
			}
			memcpy(block + (size_t)t * 16, &four, sizeof(four));
		}
		memcpy(s->packed_sum + c, &sum, sizeof(sum));
	}
}

static void attention(const float *qkv, uint32_t tokens, uint32_t width, struct kernel_attention *s,
		      float *out)
{
	static const float no_bias[MODEL_TOKENS_MAX];
	const uint32_t dim = width / MODEL_HEADS, stride = 3 * width;
	const uint32_t padded = (tokens + KERNEL_PAD - 1) / KERNEL_PAD * KERNEL_PAD;
	const uint32_t depth = (tokens + 3) / 4 * 4;
	const float factor = 1 / sqrtf((float)dim);

	for (uint32_t head = 0; head < width; head += dim) {
		const float *keys = qkv + width + head, *values = keys + width;
		const struct model_packed k = {s->packed, s->packed_scale, s->packed_sum, dim,
					       padded};
		const struct model_packed v = {s->packed, s->packed_scale, s->packed_sum, depth,
					       dim};

		quantise_queries(qkv + head, tokens, dim, stride, s);
		pack_keys(keys, tokens, padded, dim, stride, s);
		product(&(struct kernel_product){&k, no_bias, s->bytes, s->scale, 128, tokens,
						 s->weights, padded, KERNEL_STORE});
		for (uint32_t t = 0; t < tokens; t++)
			s->scale[t] = softmax_bytes(s->weights + (size_t)t * padded, tokens, factor,
						    s->bytes + (size_t)t * depth);
		pack_values(values, tokens, depth, dim, stride, s);
		product(&(struct kernel_product){&v, no_bias, s->bytes, s->scale, 0, tokens,
						 out + head, width, KERNEL_STORE});
	}
}

static void mean(const float *x, uint32_t rows, uint32_t width, float *out)
{
	const vf inverse = vf_set1(1 / (float)rows);

	for (uint32_t i = 0; i < width; i += VW) {
		vf sum = vf_set1(0);

		for (uint32_t r = 0; r < rows; r++)
			sum = sum + vf_load(x + (size_t)r * width + i);
		vf_store(out + i, sum * inverse);
	}
}
