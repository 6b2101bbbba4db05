/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the scalar kernels, and the choice of a table for the processor at hand.
 */
#include "core/memory/encoder_kernels.h"

#include "simd/simd.h"

#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static void product_scalar(const struct kernel_product *p)
{
	const struct model_packed *w = p->w;
	const uint32_t quads = w->rows / 4;

	for (uint32_t r = 0; r < p->rows; r++) {
		const uint8_t *a = p->a + (size_t)r * w->rows;
		float *out = p->out + (size_t)r * p->stride;

		for (uint32_t block = 0; block < w->cols; block += 16) {
			const int8_t *b = w->data + (size_t)block * w->rows;
			int32_t sum[16] = {0};

			for (uint32_t q = 0; q < quads; q++, b += 64)
				for (uint32_t c = 0; c < 64; c++)
					sum[c / 4] += a[4 * q + c % 4] * b[c];
			for (uint32_t c = 0; c < 16; c++) {
				const uint32_t at = block + c;
				const float v = (float)(sum[c] - p->zero * w->sum[at]) *
							(p->scale[r] * w->scale[at]) +
						p->bias[at];

				if (p->store == KERNEL_STORE_ADD)
					out[at] += v;
				else
					out[at] = p->store == KERNEL_STORE_RELU ? fmaxf(v, 0) : v;
			}
		}
	}
}

/* Bytes of one row whose largest magnitude is `top`, with `steps` steps for it. */
static float quantise_row(const float *x, uint32_t width, float top, float steps, int zero,
			  uint8_t *out)
{
	const float factor = top > 0 ? steps / top : 0;

	for (uint32_t i = 0; i < width; i++)
		out[i] = (uint8_t)(lrintf(x[i] * factor) + zero);
	return top / steps;
}

static void quantise_scalar(const float *x, uint32_t rows, uint32_t width, uint8_t *out,
			    float *out_scale)
{
	for (uint32_t r = 0; r < rows; r++, x += width, out += width) {
		float top = 0;

		for (uint32_t i = 0; i < width; i++)
			top = fmaxf(top, fabsf(x[i]));
		out_scale[r] = quantise_row(x, width, top, 127, 128, out);
	}
}

static void quantise_positive_scalar(const float *x, uint32_t rows, uint32_t width, uint8_t *out,
				     float *out_scale)
{
	for (uint32_t r = 0; r < rows; r++, x += width, out += width) {
		float top = 0;

		for (uint32_t i = 0; i < width; i++)
			top = fmaxf(top, x[i]);
		out_scale[r] = quantise_row(x, width, top, 255, 0, out);
	}
}

static void norm_scalar(const float *x, uint32_t rows, uint32_t width, const float *scale,
			const float *bias, uint8_t *out, float *out_scale)
{
	static _Thread_local float y[MODEL_WIDTH]; /* handlers have 3 KiB of stack */

	for (uint32_t r = 0; r < rows; r++, x += width, out += width) {
		float mean = 0, variance = 0;

		for (uint32_t i = 0; i < width; i++)
			mean += x[i];
		mean /= (float)width;
		for (uint32_t i = 0; i < width; i++)
			variance += (x[i] - mean) * (x[i] - mean);
		const float inverse = 1 / sqrtf(variance / (float)width + 1e-6f);
		for (uint32_t i = 0; i < width; i++)
			y[i] = (x[i] - mean) * inverse * scale[i] + bias[i];
		quantise_scalar(y, 1, width, out, out_scale + r);
	}
}

static void attend_row(const float *qkv, uint32_t row, uint32_t tokens, uint32_t width,
		       uint32_t head, float *weight, float *out)
{
	const uint32_t dim = width / MODEL_HEADS, stride = 3 * width;
	const float *q = qkv + (size_t)row * stride + head, factor = 1 / sqrtf((float)dim);
	float top = -INFINITY, sum = 0;

	for (uint32_t t = 0; t < tokens; t++) {
		const float *k = qkv + (size_t)t * stride + width + head;
		float dot = 0;

		for (uint32_t d = 0; d < dim; d++)
			dot += q[d] * k[d];
		weight[t] = dot * factor;
		top = fmaxf(top, weight[t]);
	}
	for (uint32_t t = 0; t < tokens; t++)
		sum += weight[t] = expf(weight[t] - top);
	memset(out, 0, dim * sizeof(*out));
	for (uint32_t t = 0; t < tokens; t++) {
		const float *v = qkv + (size_t)t * stride + 2 * width + head;

		for (uint32_t d = 0; d < dim; d++)
			out[d] += weight[t] / sum * v[d];
	}
}

static void attention_scalar(const float *qkv, uint32_t tokens, uint32_t width,
			     struct kernel_attention *scratch, float *out)
{
	for (uint32_t head = 0; head < width; head += width / MODEL_HEADS)
		for (uint32_t row = 0; row < tokens; row++)
			attend_row(qkv, row, tokens, width, head, scratch->weights,
				   out + (size_t)row * width + head);
}

static void mean_scalar(const float *x, uint32_t rows, uint32_t width, float *out)
{
	memset(out, 0, width * sizeof(*out));
	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t i = 0; i < width; i++)
			out[i] += x[(size_t)r * width + i];
	for (uint32_t i = 0; i < width; i++)
		out[i] /= (float)rows;
}

const struct encoder_kernels encoder_kernels_scalar = {
	.name = "scalar",
	.product = product_scalar,
	.norm = norm_scalar,
	.quantise = quantise_scalar,
	.quantise_positive = quantise_positive_scalar,
	.attention = attention_scalar,
	.mean = mean_scalar,
};

#if defined(__x86_64__)
static int runs_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

enum { LEAF7_1_EAX_AVXVNNI = 1 << 4 }; /* some compilers have no name for it */

static int runs_avxvnni(void)
{
	unsigned eax, ebx, ecx, edx;

	return runs_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) &&
	       (eax & LEAF7_1_EAX_AVXVNNI);
}

static int runs_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512vnni");
}
#endif

static int runs_always(void)
{
	return 1;
}

const struct encoder_kernels *encoder_kernels_get(const char *name)
{
	static const struct {
		const struct encoder_kernels *kernels;
		int (*runs)(void);
		enum simd_level level;
	} tables[] = {
#if defined(__x86_64__)
		{&encoder_kernels_avx512, runs_avx512, SIMD_AVX512},
		{&encoder_kernels_avxvnni, runs_avxvnni, SIMD_AVX2},
		{&encoder_kernels_avx2, runs_avx2, SIMD_AVX2},
#endif
		{&encoder_kernels_scalar, runs_always, SIMD_SCALAR},
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (tables[i].runs() && (name ? !strcmp(name, tables[i].kernels->name)
					      : tables[i].level <= simd_active->level))
			return tables[i].kernels;
	return NULL;
}
