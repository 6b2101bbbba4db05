/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the int8 forward pass over a group of passages whose tokens lie one after the other
 *            as rows, so that a pass over the weights serves them all. encoder_f32.c has the
 *            formulas.
 * Invariants: a group has at most GROUP_ROWS rows and GROUP_TEXTS passages; only attention and the
 *            means look at passages, everything else at rows. The last feed-forward's second
 *            matrix is linear and only its mean over a passage is wanted: it is applied once, to
 *            the mean.
 */
#include "core/memory/encoder.h"

#include "core/memory/encoder_kernels.h"
#include "core/memory/tokenizer.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

enum { GROUP_ROWS = 192, GROUP_TEXTS = 64 };

struct encoder {
	const struct model *model;
	const struct encoder_kernels *kernels;
	float timing[MODEL_TOKENS_MAX * MODEL_EMBEDDING_DIM];
};

struct encoder_scratch {
	_Alignas(64) float x[GROUP_ROWS * MODEL_WIDTH];
	_Alignas(64) float input[GROUP_ROWS * MODEL_EMBEDDING_DIM];
	_Alignas(64) float wide[GROUP_ROWS * MODEL_HIDDEN]; /* q, k, v; then the hidden layer */
	_Alignas(64) float heads[GROUP_ROWS * MODEL_WIDTH];
	_Alignas(64) uint8_t bytes[GROUP_ROWS * MODEL_HIDDEN];
	_Alignas(64) float scale[GROUP_ROWS];
	_Alignas(64) float mean[GROUP_TEXTS * MODEL_WIDTH];
	_Alignas(64) float mean_hidden[GROUP_TEXTS * MODEL_HIDDEN];
	struct kernel_attention attention;
	struct tokenizer_scratch tokenizer;
	uint32_t ids[GROUP_ROWS];
	uint32_t rows;
	uint32_t texts;
	uint32_t begin[GROUP_TEXTS + 1]; /* first row of each passage */
	size_t which[GROUP_TEXTS];       /* and its place in the caller's batch */
};

static_assert(3 * MODEL_WIDTH <= MODEL_HIDDEN, "q, k and v fit where the hidden layer goes");

int encoder_new(const struct model *model, const char *kernels, struct encoder **out)
{
	const struct encoder_kernels *table = encoder_kernels_get(kernels);
	struct encoder *e;

	if (!table)
		return -ENOTSUP;
	e = alloc_aligned(64, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->model = model;
	e->kernels = table;
	for (uint32_t r = 0; r < MODEL_TOKENS_MAX; r++) {
		float *t = e->timing + r * MODEL_EMBEDDING_DIM;

		for (uint32_t i = 0; i < MODEL_EMBEDDING_DIM / 2; i++) {
			const float angle = (float)r * model->f32[MODEL_TIMING][i];

			t[i] = sinf(angle);
			t[i + MODEL_EMBEDDING_DIM / 2] = cosf(angle);
		}
	}
	*out = e;
	return 0;
}

void encoder_free(struct encoder *e)
{
	alloc_free(e);
}

const char *encoder_kernels_name(const struct encoder *e)
{
	return e->kernels->name;
}

struct encoder_scratch *encoder_scratch_new(void)
{
	struct encoder_scratch *s = alloc_aligned(64, sizeof(*s));

	if (s)
		s->rows = s->texts = 0;
	return s;
}

void encoder_scratch_free(struct encoder_scratch *s)
{
	alloc_free(s);
}

uint32_t encoder_count(const struct encoder *e, struct encoder_scratch *s, const char *text,
		       size_t len)
{
	return tokenizer_count(e->model, &s->tokenizer, text, len);
}

/* out = bytes (quantised before, s->scale) by a matrix of the model */
static void apply(const struct encoder *e, struct encoder_scratch *s, uint32_t matrix,
		  uint32_t bias, int32_t zero, uint32_t rows, float *out, enum kernel_store store)
{
	const struct kernel_product p = {
		.w = &e->model->packed[matrix],
		.bias = e->model->f32[bias],
		.a = s->bytes,
		.scale = s->scale,
		.zero = zero,
		.rows = rows,
		.out = out,
		.stride = e->model->packed[matrix].cols,
		.store = store,
	};

	e->kernels->product(&p);
}

static void embed_rows(const struct encoder *e, struct encoder_scratch *s)
{
	const float *table = e->model->f32[MODEL_EMBEDDING];

	for (uint32_t t = 0; t < s->texts; t++) {
		for (uint32_t r = s->begin[t]; r < s->begin[t + 1]; r++) {
			const float *in = table + (size_t)s->ids[r] * MODEL_EMBEDDING_DIM;
			const float *timing = e->timing + (r - s->begin[t]) * MODEL_EMBEDDING_DIM;
			float *x = s->input + (size_t)r * MODEL_EMBEDDING_DIM;

			for (uint32_t i = 0; i < MODEL_EMBEDDING_DIM; i++)
				x[i] = 2 * in[i] + timing[i];
		}
	}
}

static void attend(const struct encoder *e, struct encoder_scratch *s, uint32_t layer,
		   const float *x, uint32_t width)
{
	const struct encoder_kernels *k = e->kernels;
	const uint32_t base = layer * MODEL_LAYER_TENSORS;

	k->norm(x, s->rows, width, e->model->f32[base + MODEL_NORM1_SCALE],
		e->model->f32[base + MODEL_NORM1_BIAS], s->bytes, s->scale);
	apply(e, s, base + MODEL_QKV, base + MODEL_QKV_BIAS, 128, s->rows, s->wide, KERNEL_STORE);
	for (uint32_t t = 0; t < s->texts; t++)
		k->attention(s->wide + (size_t)s->begin[t] * 3 * width,
			     s->begin[t + 1] - s->begin[t], width, &s->attention,
			     s->heads + (size_t)s->begin[t] * width);
	k->quantise(s->heads, s->rows, width, s->bytes, s->scale);
	apply(e, s, base + MODEL_OUT, base + MODEL_OUT_BIAS, 128, s->rows, s->x, KERNEL_STORE_ADD);
}

/* Leaves relu(W1 norm x) in s->wide. */
static void feed_forward_first(const struct encoder *e, struct encoder_scratch *s, uint32_t layer)
{
	const uint32_t base = layer * MODEL_LAYER_TENSORS;

	e->kernels->norm(s->x, s->rows, MODEL_WIDTH, e->model->f32[base + MODEL_NORM2_SCALE],
			 e->model->f32[base + MODEL_NORM2_BIAS], s->bytes, s->scale);
	apply(e, s, base + MODEL_FFN1, base + MODEL_FFN1_BIAS, 128, s->rows, s->wide,
	      KERNEL_STORE_RELU);
}

/* Adds W2 hidden to out, a row for each of hidden's. */
static void feed_forward_second(const struct encoder *e, struct encoder_scratch *s, uint32_t layer,
				const float *hidden, uint32_t rows, float *out)
{
	const uint32_t base = layer * MODEL_LAYER_TENSORS;

	e->kernels->quantise_positive(hidden, rows, MODEL_HIDDEN, s->bytes, s->scale);
	apply(e, s, base + MODEL_FFN2, base + MODEL_FFN2_BIAS, 0, rows, out, KERNEL_STORE_ADD);
}

static void run_layers(const struct encoder *e, struct encoder_scratch *s)
{
	const struct encoder_kernels *k = e->kernels;

	embed_rows(e, s);
	k->quantise(s->input, s->rows, MODEL_EMBEDDING_DIM, s->bytes, s->scale);
	apply(e, s, MODEL_RESIDUAL, MODEL_RESIDUAL_BIAS, 128, s->rows, s->x, KERNEL_STORE);
	attend(e, s, 0, s->input, MODEL_EMBEDDING_DIM);
	feed_forward_first(e, s, 0);
	feed_forward_second(e, s, 0, s->wide, s->rows, s->x);
	attend(e, s, 1, s->x, MODEL_WIDTH);
	feed_forward_first(e, s, 1);
	for (uint32_t t = 0; t < s->texts; t++) {
		const size_t begin = s->begin[t];
		const uint32_t rows = s->begin[t + 1] - s->begin[t];

		k->mean(s->x + begin * MODEL_WIDTH, rows, MODEL_WIDTH, s->mean + t * MODEL_WIDTH);
		k->mean(s->wide + begin * MODEL_HIDDEN, rows, MODEL_HIDDEN,
			s->mean_hidden + t * MODEL_HIDDEN);
	}
	feed_forward_second(e, s, 1, s->mean_hidden, s->texts, s->mean);
}

static void finish_vector(const float *in, float *vector)
{
	float length = 0;

	for (uint32_t i = 0; i < MODEL_DIM; i++) {
		vector[i] = tanhf(in[i]);
		length += vector[i] * vector[i];
	}
	length = sqrtf(fmaxf(length, 1e-12f));
	for (uint32_t i = 0; i < MODEL_DIM; i++)
		vector[i] /= length;
}

/* Embeds what the group holds, and empties it. */
static void run_group(const struct encoder *e, struct encoder_scratch *s, float *vectors)
{
	if (s->texts) {
		run_layers(e, s);
		e->kernels->quantise(s->mean, s->texts, MODEL_WIDTH, s->bytes, s->scale);
		apply(e, s, MODEL_FINAL, MODEL_FINAL_BIAS, 128, s->texts, s->heads, KERNEL_STORE);
		for (uint32_t t = 0; t < s->texts; t++)
			finish_vector(s->heads + (size_t)t * MODEL_DIM,
				      vectors + s->which[t] * MODEL_DIM);
	}
	s->rows = s->texts = 0;
	s->begin[0] = 0;
}

void encoder_embed(const struct encoder *e, struct encoder_scratch *s, const char *const *texts,
		   const size_t *lens, size_t n, float *vectors)
{
	s->rows = s->texts = 0;
	s->begin[0] = 0;
	for (size_t i = 0; i < n; i++) {
		if (s->rows + MODEL_TOKENS_MAX > GROUP_ROWS || s->texts == GROUP_TEXTS)
			run_group(e, s, vectors);
		const uint32_t tokens = tokenizer_encode(e->model, &s->tokenizer, texts[i], lens[i],
							 s->ids + s->rows, NULL, MODEL_TOKENS_MAX);
		if (!tokens) {
			memset(vectors + i * MODEL_DIM, 0, MODEL_DIM * sizeof(float));
			continue;
		}
		s->which[s->texts++] = i;
		s->rows += tokens;
		s->begin[s->texts] = s->rows;
	}
	run_group(e, s, vectors);
}
