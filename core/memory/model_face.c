/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the public face of models (core/mneme.h): convert, describe, embed one text.
 * Threading: pure but for files; each call opens and closes the model.
 */
#include "core/mneme.h"

#include "core/memory/encoder.h"
#include "core/memory/model.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static_assert((int)MNEME_MESSAGE_SIZE >= (int)MODEL_WHY, "a model's sentence fits a message");

/* Where the sentence goes: the caller's, or nowhere. */
static char *sentence_of(struct mneme_error *error, struct mneme_error *unheard)
{
	struct mneme_error *e = error ? error : unheard;

	e->message[0] = 0;
	return e->message;
}

static int refuse(char *why)
{
	snprintf(why, MNEME_MESSAGE_SIZE, "an argument is missing");
	return -EINVAL;
}

int mneme_model_convert(const char *package_directory, const char *path, struct mneme_error *error)
{
	struct mneme_error unheard;
	char *why = sentence_of(error, &unheard);

	return package_directory && path ? model_convert(package_directory, path, why)
					 : refuse(why);
}

int mneme_model_describe(const char *path, struct mneme_model_info *out, struct mneme_error *error)
{
	struct mneme_error unheard;
	char *why = sentence_of(error, &unheard);
	struct model *m;

	if (!path || !out)
		return refuse(why);
	const int rc = model_open(path, MODEL_WANT_ALL, &m, why);
	if (rc)
		return rc;
	*out = (struct mneme_model_info){
		.dimensions = MODEL_DIM,
		.tokens_max = MODEL_TOKENS_MAX,
		.pieces = m->pieces,
		.bytes = m->map_len,
	};
	memcpy(out->name, m->name, sizeof(out->name));
	memcpy(out->licence, m->licence, sizeof(out->licence));
	memcpy(out->source, m->source, sizeof(out->source));
	memcpy(out->sha256, m->sha256, sizeof(out->sha256));
	model_close(m);
	return 0;
}

int mneme_model_embed(const char *path, const char *text, size_t length, float *vector,
		      uint32_t *tokens, struct mneme_error *error)
{
	struct encoder_scratch *scratch = NULL;
	struct encoder *encoder = NULL;
	struct mneme_error unheard;
	char *why = sentence_of(error, &unheard);
	struct model *m;

	if (!path || (length && !text) || !vector)
		return refuse(why);
	int rc = model_open(path, MODEL_WANT_I8, &m, why);
	if (rc)
		return rc;
	scratch = encoder_scratch_new();
	rc = scratch ? encoder_new(m, NULL, &encoder) : -ENOMEM;
	if (rc) {
		snprintf(why, MNEME_MESSAGE_SIZE, "cannot make the encoder: %s", strerror(-rc));
	} else {
		encoder_embed(encoder, scratch, &text, &length, 1, vector);
		if (tokens)
			*tokens = encoder_count(encoder, scratch, text, length);
	}
	encoder_free(encoder);
	encoder_scratch_free(scratch);
	model_close(m);
	return rc;
}
