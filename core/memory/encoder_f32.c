/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the forward pass, one formula a function: Universal Sentence Encoder Lite (Cer and
 *            others 2018), two pre-norm transformer layers (Vaswani and others 2017).
 *
 *     x      = 2 E[id] + timing(position)
 *     layer 0: h = R x + attention(norm x), layer 1: h = h + attention(norm h)
 *     each:    h = h + FFN(norm h), FFN(y) = W2 relu(W1 y)
 *     vector = tanh(F mean(h)), scaled to length 1
 */
#include "core/memory/encoder_f32.h"

#include <math.h>
#include <string.h>

/* out[rows][cols] = in[rows][depth] * w[depth][cols] + bias */
static void dense(const float *in, uint32_t rows, uint32_t depth, const float *w, const float *bias,
		  uint32_t cols, float *out)
{
	for (uint32_t r = 0; r < rows; r++) {
		float *o = out + (size_t)r * cols;

		memcpy(o, bias, cols * sizeof(*o));
		for (uint32_t d = 0; d < depth; d++) {
			const float v = in[(size_t)r * depth + d];
			const float *row = w + (size_t)d * cols;

			for (uint32_t c = 0; c < cols; c++)
				o[c] += v * row[c];
		}
	}
}

static void layer_norm(const float *in, uint32_t rows, uint32_t width, const float *scale,
		       const float *bias, float *out)
{
	for (uint32_t r = 0; r < rows; r++, in += width, out += width) {
		float mean = 0, variance = 0;

		for (uint32_t i = 0; i < width; i++)
			mean += in[i];
		mean /= (float)width;
		for (uint32_t i = 0; i < width; i++)
			variance += (in[i] - mean) * (in[i] - mean);
		const float inverse = 1 / sqrtf(variance / (float)width + 1e-6f);
		for (uint32_t i = 0; i < width; i++)
			out[i] = (in[i] - mean) * inverse * scale[i] + bias[i];
	}
}

static void softmax(float *v, uint32_t count)
{
	float top = v[0], sum = 0;

	for (uint32_t i = 1; i < count; i++)
		top = fmaxf(top, v[i]);
	for (uint32_t i = 0; i < count; i++)
		sum += v[i] = expf(v[i] - top);
	for (uint32_t i = 0; i < count; i++)
		v[i] /= sum;
}

/* qkv: [rows][3 * width] -> heads: [rows][width] */
static void attention(struct encoder_f32_scratch *s, uint32_t rows, uint32_t width)
{
	const uint32_t dim = width / MODEL_HEADS, stride = 3 * width;
	const float factor = 1 / sqrtf((float)dim);

	memset(s->heads, 0, (size_t)rows * width * sizeof(float));
	for (uint32_t head = 0; head < width; head += dim) {
		for (uint32_t r = 0; r < rows; r++) {
			const float *q = s->qkv + (size_t)r * stride + head;
			float *out = s->heads + (size_t)r * width + head;

			for (uint32_t t = 0; t < rows; t++) {
				const float *k = s->qkv + (size_t)t * stride + width + head;
				float dot = 0;

				for (uint32_t d = 0; d < dim; d++)
					dot += q[d] * k[d];
				s->weight[t] = dot * factor;
			}
			softmax(s->weight, rows);
			for (uint32_t t = 0; t < rows; t++) {
				const float *v = s->qkv + (size_t)t * stride + 2 * width + head;

				for (uint32_t d = 0; d < dim; d++)
					out[d] += s->weight[t] * v[d];
			}
		}
	}
}

static void layer(const struct model *m, struct encoder_f32_scratch *s, uint32_t number,
		  uint32_t rows, uint32_t width)
{
	const float *const *w = m->f32 + number * MODEL_LAYER_TENSORS;
	const size_t values = (size_t)rows * MODEL_WIDTH;

	layer_norm(s->x, rows, width, w[MODEL_NORM1_SCALE], w[MODEL_NORM1_BIAS], s->norm);
	dense(s->norm, rows, width, w[MODEL_QKV], w[MODEL_QKV_BIAS], 3 * width, s->qkv);
	attention(s, rows, width);
	if (number == 0) {
		memcpy(s->norm, s->x, (size_t)rows * width * sizeof(float));
		dense(s->norm, rows, width, m->f32[MODEL_RESIDUAL], m->f32[MODEL_RESIDUAL_BIAS],
		      MODEL_WIDTH, s->x);
	}
	dense(s->heads, rows, width, w[MODEL_OUT], w[MODEL_OUT_BIAS], MODEL_WIDTH, s->out);
	for (size_t i = 0; i < values; i++)
		s->x[i] += s->out[i];
	layer_norm(s->x, rows, MODEL_WIDTH, w[MODEL_NORM2_SCALE], w[MODEL_NORM2_BIAS], s->norm);
	dense(s->norm, rows, MODEL_WIDTH, w[MODEL_FFN1], w[MODEL_FFN1_BIAS], MODEL_HIDDEN,
	      s->hidden);
	for (size_t i = 0; i < (size_t)rows * MODEL_HIDDEN; i++)
		s->hidden[i] = fmaxf(s->hidden[i], 0);
	dense(s->hidden, rows, MODEL_HIDDEN, w[MODEL_FFN2], w[MODEL_FFN2_BIAS], MODEL_WIDTH,
	      s->out);
	for (size_t i = 0; i < values; i++)
		s->x[i] += s->out[i];
}

static void embed_pieces(const struct model *m, struct encoder_f32_scratch *s, const uint32_t *ids,
			 uint32_t count)
{
	const uint32_t half = MODEL_EMBEDDING_DIM / 2;

	for (uint32_t r = 0; r < count; r++) {
		const float *e = m->f32[MODEL_EMBEDDING] + (size_t)ids[r] * MODEL_EMBEDDING_DIM;
		float *x = s->x + (size_t)r * MODEL_EMBEDDING_DIM;

		for (uint32_t i = 0; i < half; i++) {
			const float angle = (float)r * m->f32[MODEL_TIMING][i];

			x[i] = 2 * e[i] + sinf(angle);
			x[i + half] = 2 * e[i + half] + cosf(angle);
		}
	}
}

void encoder_f32_embed(const struct model *m, struct encoder_f32_scratch *s, const uint32_t *ids,
		       uint32_t count, float *vector)
{
	float mean[MODEL_WIDTH] = {0}, length = 0;

	memset(vector, 0, MODEL_DIM * sizeof(float));
	if (!count)
		return;
	embed_pieces(m, s, ids, count);
	layer(m, s, 0, count, MODEL_EMBEDDING_DIM);
	layer(m, s, 1, count, MODEL_WIDTH);
	for (uint32_t r = 0; r < count; r++)
		for (uint32_t i = 0; i < MODEL_WIDTH; i++)
			mean[i] += s->x[(size_t)r * MODEL_WIDTH + i] / (float)count;
	dense(mean, 1, MODEL_WIDTH, m->f32[MODEL_FINAL], m->f32[MODEL_FINAL_BIAS], MODEL_DIM,
	      vector);
	for (uint32_t i = 0; i < MODEL_DIM; i++) {
		vector[i] = tanhf(vector[i]);
		length += vector[i] * vector[i];
	}
	length = sqrtf(fmaxf(length, 1e-12f));
	for (uint32_t i = 0; i < MODEL_DIM; i++)
		vector[i] /= length;
}
