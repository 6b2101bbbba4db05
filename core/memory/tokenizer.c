/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   unigram segmentation of words, see tokenizer.h.
 * Invariants: Viterbi runs forward over the bytes of a word; positions inside a character are never
 *            reached, since both pieces and unknown characters are whole ones.
 */
#include "core/memory/tokenizer.h"

#include "pool/check.h"

#include <string.h>

static const char word_mark[3] = {'\xe2', '\x96', '\x81'}; /* U+2581 */

/* Below every piece's score (they are above -15), so that unknown is the last resort. */
static const double unknown_score = -30;
static const double unreached = -1e300;

struct token_sink {
	uint32_t *ids;    /* NULL: count only */
	uint32_t *offset; /* may be NULL */
	uint32_t max;
	uint32_t count;
	int unknown_before;
};

static void relax(struct tokenizer_scratch *s, uint32_t from, uint32_t len, double score,
		  uint32_t piece)
{
	const double total = s->best[from] + score;

	if (total >= s->best[from + len]) {
		s->best[from + len] = total;
		s->piece[from + len] = piece;
		s->length[from + len] = (uint16_t)len;
	}
}

static void relax_pieces(const struct model *m, struct tokenizer_scratch *s, uint32_t from)
{
	const uint8_t *word = (const uint8_t *)s->word;
	uint32_t slot = 0, code;
	int covered = 0;
	const uint32_t first = text_decode(word + from, word + s->word_len, &code);

	for (uint32_t at = from; at < s->word_len; at++) {
		const uint32_t next = (uint32_t)m->trie[slot].base + word[at];

		if (next >= m->trie_slots || m->trie[next].check != slot)
			break;
		slot = next;
		if (m->trie[slot].piece >= 0) {
			const uint32_t piece = (uint32_t)m->trie[slot].piece, len = at + 1 - from;

			covered |= len == first;
			relax(s, from, len, m->piece_score[piece], piece);
		}
	}
	if (!covered)
		relax(s, from, first, unknown_score, 0);
}

static int sink_full(const struct token_sink *sink)
{
	return sink->ids && sink->count == sink->max;
}

static void sink_add(struct token_sink *sink, uint32_t piece, uint32_t offset)
{
	if (sink_full(sink) || (piece == 0 && sink->unknown_before))
		return;
	if (sink->ids)
		sink->ids[sink->count] = piece;
	if (sink->offset)
		sink->offset[sink->count] = offset;
	sink->count++;
	sink->unknown_before = piece == 0;
}

static void segment_word(const struct model *m, struct tokenizer_scratch *s,
			 struct token_sink *sink)
{
	const uint32_t len = s->word_len;
	uint32_t depth = 0;

	for (uint32_t i = 1; i <= len; i++)
		s->best[i] = unreached;
	s->best[0] = 0;
	for (uint32_t i = 0; i < len; i++)
		if (s->best[i] != unreached)
			relax_pieces(m, s, i);
	for (uint32_t at = len; at;) {
		CHECK(s->best[at] != unreached && s->length[at] && s->length[at] <= at);
		s->stack[depth++] = at;
		at -= s->length[at];
	}
	while (depth) {
		const uint32_t at = s->stack[--depth];

		sink_add(sink, s->piece[at], s->source[at - s->length[at]]);
	}
	s->word_len = 0;
}

static void word_add(struct tokenizer_scratch *s, const char *bytes, uint32_t len, size_t source)
{
	for (uint32_t i = 0; i < len; i++) {
		s->source[s->word_len] = (uint32_t)source;
		s->word[s->word_len++] = bytes[i];
	}
}

static void tokenize(const struct model *m, struct tokenizer_scratch *s, const char *text,
		     size_t len, struct token_sink *sink)
{
	struct text_char c;
	int in_word = 0;

	text_reader_init(&s->reader, text, len);
	s->word_len = 0;
	while (!sink_full(sink) && text_next(&s->reader, &c)) {
		char utf8[4];

		if (c.code == TEXT_SPACE) {
			segment_word(m, s, sink);
			in_word = 0;
			continue;
		}
		if (!in_word)
			word_add(s, word_mark, sizeof(word_mark), c.begin);
		in_word = 1;
		word_add(s, utf8, text_encode(c.code, utf8), c.begin);
		if (s->word_len > TOKENIZER_WORD_MAX)
			segment_word(m, s, sink);
	}
	segment_word(m, s, sink);
}

uint32_t tokenizer_encode(const struct model *m, struct tokenizer_scratch *s, const char *text,
			  size_t len, uint32_t *ids, uint32_t *offset, uint32_t max)
{
	struct token_sink sink = {.ids = ids, .offset = offset, .max = max};

	tokenize(m, s, text, len, &sink);
	return sink.count;
}

uint32_t tokenizer_count(const struct model *m, struct tokenizer_scratch *s, const char *text,
			 size_t len)
{
	struct token_sink sink = {0};

	tokenize(m, s, text, len, &sink);
	return sink.count;
}
