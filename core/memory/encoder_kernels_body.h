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
 * registers.
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
	float *out = p->out + (size_t)row * p->w->cols + col;
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
	_Alignas(64) float y[MODEL_WIDTH];

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

/* out[R][V * VW] = a[R][depth] * b[depth][V * VW], strides in floats */
INLINE void dense_tile(const float *a, size_t a_stride, const float *b, size_t b_stride,
		       uint32_t depth, float *out, size_t out_stride, const int R, const int V)
{
	vf acc[TILE_ROWS][TILE_VECS];

#pragma GCC unroll 16
	for (int i = 0; i < R; i++)
#pragma GCC unroll 16
		for (int j = 0; j < V; j++)
			acc[i][j] = vf_set1(0);
	for (uint32_t d = 0; d < depth; d++) {
		vf w[TILE_VECS];

#pragma GCC unroll 16
		for (int j = 0; j < V; j++)
			w[j] = vf_load(b + d * b_stride + j * VW);
#pragma GCC unroll 16
		for (int i = 0; i < R; i++) {
			const vf v = vf_set1(a[i * a_stride + d]);

#pragma GCC unroll 16
			for (int j = 0; j < V; j++)
				acc[i][j] = acc[i][j] + v * w[j];
		}
	}
#pragma GCC unroll 16
	for (int i = 0; i < R; i++)
#pragma GCC unroll 16
		for (int j = 0; j < V; j++)
			vf_store(out + i * out_stride + j * VW, acc[i][j]);
}

/* out[rows][cols] = a[rows][depth] * b[depth][cols]; cols a multiple of VW */
INLINE void dense(const float *a, size_t a_stride, uint32_t rows, const float *b, size_t b_stride,
		  uint32_t depth, float *out, size_t out_stride, uint32_t cols)
{
	uint32_t col = 0;

	for (; col + TILE_VECS * VW <= cols; col += TILE_VECS * VW) {
		uint32_t row = 0;

		for (; row + TILE_ROWS <= rows; row += TILE_ROWS)
			dense_tile(a + row * a_stride, a_stride, b + col, b_stride, depth,
				   out + row * out_stride + col, out_stride, TILE_ROWS, TILE_VECS);
		for (; row < rows; row++)
			dense_tile(a + row * a_stride, a_stride, b + col, b_stride, depth,
				   out + row * out_stride + col, out_stride, 1, TILE_VECS);
	}
	for (; col < cols; col += VW) {
		uint32_t row = 0;

		for (; row + TILE_ROWS <= rows; row += TILE_ROWS)
			dense_tile(a + row * a_stride, a_stride, b + col, b_stride, depth,
				   out + row * out_stride + col, out_stride, TILE_ROWS, 1);
		for (; row < rows; row++)
			dense_tile(a + row * a_stride, a_stride, b + col, b_stride, depth,
				   out + row * out_stride + col, out_stride, 1, 1);
	}
}

/* Weights of one row: softmax over `tokens` of `padded`; the padding becomes 0. */
INLINE void softmax_row(float *weight, uint32_t tokens, uint32_t padded, float factor)
{
	vf tops = vf_set1(-INFINITY), sums = vf_set1(0);

	for (uint32_t t = tokens; t < padded; t++)
		weight[t] = -INFINITY;
	for (uint32_t t = 0; t < padded; t += VW)
		tops = vf_max(tops, vf_load(weight + t));
	const vf top = vf_set1(vf_top(tops) * factor), by = vf_set1(factor);
	for (uint32_t t = 0; t < padded; t += VW) {
		const vf e = exp_vector(vf_load(weight + t) * by - top);

		vf_store(weight + t, e);
		sums = sums + e;
	}
	float sum = vf_sum(sums);
	for (uint32_t t = tokens; t < padded; t++)
		sum -= weight[t];
	const vf inverse = vf_set1(1 / sum);
	for (uint32_t t = 0; t < padded; t += VW)
		vf_store(weight + t, vf_load(weight + t) * inverse);
}

static void attention(const float *qkv, uint32_t tokens, uint32_t width, struct kernel_attention *s,
		      float *out)
{
	const uint32_t dim = width / MODEL_HEADS, stride = 3 * width;
	const uint32_t padded = (tokens + KERNEL_PAD - 1) / KERNEL_PAD * KERNEL_PAD;
	const float factor = 1 / sqrtf((float)dim);

	for (uint32_t head = 0; head < width; head += dim) {
		const float *keys = qkv + width + head, *values = keys + width;

		for (uint32_t t = 0; t < padded; t++)
			for (uint32_t d = 0; d < dim; d++)
				s->keys[d * padded + t] =
					t < tokens ? keys[(size_t)t * stride + d] : 0;
		dense(qkv + head, stride, tokens, s->keys, padded, dim, s->weights, padded, padded);
		for (uint32_t r = 0; r < tokens; r++)
			softmax_row(s->weights + (size_t)r * padded, tokens, padded, factor);
		dense(s->weights, padded, tokens, values, stride, tokens, out + head, width, dim);
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
