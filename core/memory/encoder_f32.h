/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the sentence encoder in plain f32: the oracle of encoder.h.
 * Threading: pure; a scratch belongs to one thread.
 */
#ifndef MNEME_CORE_MEMORY_ENCODER_F32_H
#define MNEME_CORE_MEMORY_ENCODER_F32_H

#include "core/memory/model.h"

struct encoder_f32_scratch {
	float x[MODEL_TOKENS_MAX * MODEL_WIDTH];
	float norm[MODEL_TOKENS_MAX * MODEL_WIDTH];
	float qkv[MODEL_TOKENS_MAX * 3 * MODEL_WIDTH];
	float heads[MODEL_TOKENS_MAX * MODEL_WIDTH];
	float out[MODEL_TOKENS_MAX * MODEL_WIDTH];
	float hidden[MODEL_TOKENS_MAX * MODEL_HIDDEN];
	float weight[MODEL_TOKENS_MAX];
};

/* Embeds `count` pieces (at most MODEL_TOKENS_MAX) to vector[MODEL_DIM], of length 1; all zero for
 * no pieces. The model is open with MODEL_WANT_F32. Every id is < model->pieces. */
void encoder_f32_embed(const struct model *m, struct encoder_f32_scratch *s, const uint32_t *ids,
		       uint32_t count, float *vector);

#endif
