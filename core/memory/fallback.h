/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   an embedder without a model: hashed words and character 3- to 5-grams (feature
 *            hashing, Weinberger and others 2009), log tf x idf, length 1.
 * Invariants: pure function of the text; the same on every machine.
 * Threading: thread-safe with a scratch for each thread; no allocation.
 * Failure:   none: a text without words gives the zero vector.
 */
#ifndef MNEME_CORE_MEMORY_FALLBACK_H
#define MNEME_CORE_MEMORY_FALLBACK_H

#include <stddef.h>
#include <stdint.h>

#include "core/memory/text.h"

enum {
	FALLBACK_DIM = 512,
	FALLBACK_WORD_MAX = 64,   /* characters of a word that count */
	FALLBACK_SLOTS = 1 << 13, /* distinct features of a text that count */
};

/* Weight of the feature with this hash; NULL stands for 1. */
typedef float (*fallback_idf)(void *context, uint64_t feature);

struct fallback_slot {
	uint64_t feature;
	uint32_t stamp; /* of the text that the slot belongs to */
	uint32_t count;
};

struct fallback_scratch {
	struct text_reader reader;
	struct fallback_slot slot[FALLBACK_SLOTS];
	uint32_t used[FALLBACK_SLOTS / 2];
	uint32_t used_count;
	uint32_t stamp;
	uint32_t word[FALLBACK_WORD_MAX + 2];
	uint32_t word_len;
};

struct fallback_scratch *fallback_scratch_new(void);
void fallback_scratch_free(struct fallback_scratch *s);

/* vector[FALLBACK_DIM] of a text. */
void fallback_embed(struct fallback_scratch *s, const char *text, size_t len, fallback_idf idf,
		    void *context, float *vector);

#endif
