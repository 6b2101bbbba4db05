/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   text to pieces of the encoder's vocabulary: the unigram language model of
 *            SentencePiece (Kudo 2018), best segmentation by Viterbi over the trie of the model
 *            file.
 * Invariants: words are split at white space, each begins with U+2581, runs of white space count
 *            once. No piece of the vocabulary spans words, so words are segmented one by one. A
 *            character that no piece covers is piece 0; neighbours of that kind merge.
 * Threading: a tokenizer_scratch belongs to one thread; the model is shared. No allocation.
 * Failure:   none: any bytes give some pieces.
 */
#ifndef MNEME_CORE_MEMORY_TOKENIZER_H
#define MNEME_CORE_MEMORY_TOKENIZER_H

#include "core/memory/model.h"
#include "core/memory/text.h"

enum { TOKENIZER_WORD_MAX = 512 }; /* bytes of a word segmented at once; longer ones are cut */

struct tokenizer_scratch {
	struct text_reader reader;
	uint32_t word_len;
	char word[TOKENIZER_WORD_MAX + 8];
	uint32_t source[TOKENIZER_WORD_MAX +
			8]; /* where the byte's character begins in the source */
	double best[TOKENIZER_WORD_MAX + 9];
	uint32_t piece[TOKENIZER_WORD_MAX + 9];  /* last piece of the best path to here */
	uint16_t length[TOKENIZER_WORD_MAX + 9]; /* and its length in bytes */
	uint32_t stack[TOKENIZER_WORD_MAX + 9];
};

/* Writes at most `max` pieces of `text` to ids, and, where offset is not NULL, the source byte at
 * which each begins. Returns how many; text beyond them is left out. */
uint32_t tokenizer_encode(const struct model *m, struct tokenizer_scratch *s, const char *text,
			  size_t len, uint32_t *ids, uint32_t *offset, uint32_t max);
/* How many pieces the whole text has. */
uint32_t tokenizer_count(const struct model *m, struct tokenizer_scratch *s, const char *text,
			 size_t len);

#endif
