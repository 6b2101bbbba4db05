/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   hashed words and character n-grams, see fallback.h.
 * Invariants: a word is written ^word$; features are the word itself and its 3-, 4- and 5-grams.
 *            Each distinct feature adds sign * weight * (1 + log count) * idf to one of the
 *            dimensions, both taken from its hash. A word counts WORD_WEIGHT n-grams. The table is
 *            at most half full; features beyond are left out.
 */
#include "core/memory/fallback.h"

#include "pool/alloc.h"

#include <math.h>
#include <string.h>

enum { GRAM_MIN = 3, GRAM_MAX = 5, WORD_BEGIN = '^', WORD_END = '$' };

static const float word_weight = 2.0f;

struct fallback_scratch *fallback_scratch_new(void)
{
	return alloc_zeroed(1, sizeof(struct fallback_scratch));
}

void fallback_scratch_free(struct fallback_scratch *s)
{
	alloc_free(s);
}

/* The finaliser of splitmix64 (Steele and others 2014): a bijection that mixes well. */
static uint64_t mix(uint64_t h)
{
	h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
	h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
	return h ^ (h >> 31);
}

static void count_feature(struct fallback_scratch *s, uint64_t feature)
{
	uint32_t at = (uint32_t)(feature >> 40) & (FALLBACK_SLOTS - 1);

	while (s->slot[at].stamp == s->stamp) {
		if (s->slot[at].feature == feature) {
			s->slot[at].count++;
			return;
		}
		at = (at + 1) & (FALLBACK_SLOTS - 1);
	}
	if (s->used_count == FALLBACK_SLOTS / 2)
		return;
	s->slot[at] = (struct fallback_slot){feature, s->stamp, 1};
	s->used[s->used_count++] = at;
}

/* The lowest bit of a feature tells words from n-grams. */
static void count_word(struct fallback_scratch *s)
{
	const uint32_t len = s->word_len + 1;
	uint64_t whole = 0;

	s->word[len] = WORD_END;
	for (uint32_t i = 0; i <= len; i++) {
		uint64_t gram = 0;

		whole = mix(whole + s->word[i] + 0x9e3779b97f4a7c15u);
		for (uint32_t n = 1; n <= GRAM_MAX && i + n <= len + 1; n++) {
			gram = gram * 0x100000001b3u + s->word[i + n - 1] + 1;
			if (n >= GRAM_MIN)
				count_feature(s, mix(gram + n) | 1);
		}
	}
	count_feature(s, whole & ~(uint64_t)1);
	s->word_len = 0;
}

static void count_words(struct fallback_scratch *s, const char *text, size_t len)
{
	struct text_char c;

	text_reader_init(&s->reader, text, len);
	s->word[0] = WORD_BEGIN;
	s->word_len = 0;
	while (text_next(&s->reader, &c)) {
		if (!text_is_word(c.code)) {
			if (s->word_len)
				count_word(s);
		} else if (s->word_len < FALLBACK_WORD_MAX) {
			s->word[++s->word_len] = text_lower(c.code);
		}
	}
	if (s->word_len)
		count_word(s);
}

static float log_count(uint32_t count)
{
	static const float small[8] = {0,          1,          1.6931472f, 2.0986123f,
				       2.3862944f, 2.6094379f, 2.7917595f, 2.9459101f};

	return count < 8 ? small[count] : 1 + logf((float)count);
}

void fallback_embed(struct fallback_scratch *s, const char *text, size_t len, fallback_idf idf,
		    void *context, float *vector)
{
	float length = 0;

	if (++s->stamp == 0) { /* stamps start again: no slot may look current */
		memset(s->slot, 0, sizeof(s->slot));
		s->stamp = 1;
	}
	s->used_count = 0;
	count_words(s, text, len);
	memset(vector, 0, FALLBACK_DIM * sizeof(*vector));
	for (uint32_t i = 0; i < s->used_count; i++) {
		const struct fallback_slot *slot = &s->slot[s->used[i]];
		const uint64_t bits = mix(slot->feature);
		float v = log_count(slot->count) * (slot->feature & 1 ? 1 : word_weight);

		if (idf)
			v *= idf(context, slot->feature);
		vector[bits % FALLBACK_DIM] += bits >> 63 ? -v : v;
	}
	for (uint32_t i = 0; i < FALLBACK_DIM; i++)
		length += vector[i] * vector[i];
	if (length == 0)
		return;
	length = 1 / sqrtf(length);
	for (uint32_t i = 0; i < FALLBACK_DIM; i++)
		vector[i] *= length;
}
