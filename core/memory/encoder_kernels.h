/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the inner loops of the encoder, one table of functions for each instruction set. The
 *            scalar table is the oracle of the others.
 * Invariants: activations are quantised by row to unsigned bytes: byte = value / scale + zero,
 *            where zero is 128 for signed values and 0 for those that are never negative. The
 *            integer part of a product is exact in every table. Attention is f32 in the scalar
 *            table and quantised in the others; elsewhere they differ by f32 rounding alone.
 * Threading: pure functions.
 */
#ifndef MNEME_CORE_MEMORY_ENCODER_KERNELS_H
#define MNEME_CORE_MEMORY_ENCODER_KERNELS_H

#include "core/memory/model.h"

enum {
	KERNEL_PAD = 64, /* tokens of a passage are padded to this in attention's scratch */
	KERNEL_HEAD_MAX = MODEL_WIDTH / MODEL_HEADS,
};

enum kernel_store {
	KERNEL_STORE,      /* out = product + bias */
	KERNEL_STORE_RELU, /* out = max(product + bias, 0) */
	KERNEL_STORE_ADD,  /* out += product + bias */
};

/* out[rows][w->cols] (rows `stride` apart) from bytes a[rows][w->rows], 64-byte aligned both. */
struct kernel_product {
	const struct model_packed *w;
	const float *bias; /* [w->cols] */
	const uint8_t *a;
	const float *scale; /* [rows] of a */
	int32_t zero;       /* 0 or 128, of a */
	uint32_t rows;
	float *out;
	uint32_t stride; /* floats from a row of out to the next */
	enum kernel_store store;
};

/* Scratch of attention, for one head: keys and values are quantised and packed as weights are. */
struct kernel_attention {
	_Alignas(64) float weights[MODEL_TOKENS_MAX * MODEL_TOKENS_MAX];
	_Alignas(64)
		uint8_t bytes[MODEL_TOKENS_MAX * MODEL_TOKENS_MAX + 16]; /* queries, then weights */
	_Alignas(64) int8_t packed[MODEL_TOKENS_MAX * KERNEL_HEAD_MAX];  /* keys, then values */
	_Alignas(64) float packed_scale[MODEL_TOKENS_MAX];
	_Alignas(64) int32_t packed_sum[MODEL_TOKENS_MAX];
	_Alignas(64) float scale[MODEL_TOKENS_MAX];
	_Alignas(64) uint8_t row[KERNEL_HEAD_MAX];
};

struct encoder_kernels {
	const char *name;
	void (*product)(const struct kernel_product *p);
	/* Layer norm of x[rows][width] by scale and bias [width], quantised (zero 128). */
	void (*norm)(const float *x, uint32_t rows, uint32_t width, const float *scale,
		     const float *bias, uint8_t *out, float *out_scale);
	/* Quantises x[rows][width], zero 128. */
	void (*quantise)(const float *x, uint32_t rows, uint32_t width, uint8_t *out,
			 float *out_scale);
	/* The same for values that are not negative, zero 0. */
	void (*quantise_positive)(const float *x, uint32_t rows, uint32_t width, uint8_t *out,
				  float *out_scale);
	/* qkv[tokens][3 * width] of one passage -> out[tokens][width], MODEL_HEADS heads. */
	void (*attention)(const float *qkv, uint32_t tokens, uint32_t width,
			  struct kernel_attention *scratch, float *out);
	/* out[width] = mean of the rows of x. */
	void (*mean)(const float *x, uint32_t rows, uint32_t width, float *out);
};

extern const struct encoder_kernels encoder_kernels_scalar;
#if defined(__x86_64__)
extern const struct encoder_kernels encoder_kernels_avx2;
extern const struct encoder_kernels encoder_kernels_avxvnni;
extern const struct encoder_kernels encoder_kernels_avx512;
#endif

/* The best table that this processor can run, within the level of simd.h (MNEME_SIMD lowers it); with
 * a name ("scalar", "avx2", "avxvnni", "avx512vnni") that one. NULL if it cannot run or there is none
 * of that name. */
const struct encoder_kernels *encoder_kernels_get(const char *name);

#endif
