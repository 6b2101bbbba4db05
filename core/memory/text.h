/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   reads text as normalised characters: UTF-8 decoded, NFKC, white space and control
 *            characters as one kind of space. Both embedders see text through it.
 * Invariants: always advances; a malformed byte reads as U+FFFD and takes one byte. A run of
 *            characters that combine is normalised at most TEXT_RUN at a time, so memory is
 *            bounded whatever comes.
 * Threading: a reader belongs to one thread. No allocation.
 * Failure:   none.
 */
#ifndef MNEME_CORE_MEMORY_TEXT_H
#define MNEME_CORE_MEMORY_TEXT_H

#include <stddef.h>
#include <stdint.h>

enum {
	TEXT_RUN = 48,        /* characters normalised together */
	TEXT_DECOMPOSED = 18, /* most characters that one becomes in compatibility decomposition */
	TEXT_SPACE = ' ',     /* what every space, line end and control character reads as */
	TEXT_REPLACEMENT = 0xfffd,
};

struct text_reader {
	const uint8_t *bytes;
	size_t len;
	size_t at;
	uint32_t queued; /* characters of the run that is being handed out */
	uint32_t next;
	size_t run_begin; /* where that run begins in the source; it ends at `at` */
	int32_t run[TEXT_RUN * TEXT_DECOMPOSED];
};

struct text_char {
	uint32_t code;
	size_t begin; /* source bytes; of the whole run where normalisation changed it */
	size_t end;
};

/* Begins to read text[len], which stays the caller's. */
void text_reader_init(struct text_reader *r, const char *text, size_t len);
/* 1 and the next character, or 0 at the end. */
int text_next(struct text_reader *r, struct text_char *out);

/* Decodes one character of [at, end): its length, >= 1. Malformed or cut: U+FFFD and 1. */
uint32_t text_decode(const uint8_t *at, const uint8_t *end, uint32_t *code);
/* Writes `code` (a Unicode scalar value) as UTF-8: 1 to 4 bytes. */
uint32_t text_encode(uint32_t code, char out[4]);
/* Letter, digit, mark or underscore: what words are made of. */
int text_is_word(uint32_t code);
/* Lower case of a character, itself if it has none. */
uint32_t text_lower(uint32_t code);

#endif
