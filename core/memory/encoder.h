/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the built-in sentence encoder: text to a vector of MODEL_DIM floats of length 1, by
 *            int8 kernels for the processor at hand. Cosine is the measure of similarity.
 * Invariants: a text's vector does not depend on what else is in the batch. Texts beyond
 *            MODEL_TOKENS_MAX pieces are cut there: passages.h makes passages that are not.
 * Threading: an encoder is immutable and shared; a scratch belongs to one thread. Nothing is
 *            allocated after encoder_scratch_new().
 * Failure:   -errno when made; embedding cannot fail: a text without pieces gives the zero vector.
 */
#ifndef MNEME_CORE_MEMORY_ENCODER_H
#define MNEME_CORE_MEMORY_ENCODER_H

#include "core/memory/model.h"

struct encoder;
struct encoder_scratch;

/* `model` is open with MODEL_WANT_I8 and outlives the encoder. `kernels` names a table of
 * encoder_kernels_get(), NULL takes the best. -ENOTSUP if the processor lacks it. */
int encoder_new(const struct model *model, const char *kernels, struct encoder **out);
void encoder_free(struct encoder *e);
/* The name of the kernels in use. */
const char *encoder_kernels_name(const struct encoder *e);

/* About 6 MB. */
struct encoder_scratch *encoder_scratch_new(void);
void encoder_scratch_free(struct encoder_scratch *s);

/* vectors[n][MODEL_DIM] of the texts. */
void encoder_embed(const struct encoder *e, struct encoder_scratch *s, const char *const *texts,
		   const size_t *lens, size_t n, float *vectors);
/* How many pieces a text has, for those who cut texts into passages. */
uint32_t encoder_count(const struct encoder *e, struct encoder_scratch *s, const char *text,
		       size_t len);

#endif
