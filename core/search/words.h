/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   text to terms: word boundaries, folding and stemming, the same for what is indexed and
 *            for what is asked.
 * Invariants: a word is a run of letters, digits and marks, with single apostrophes inside;
 *            ideographs and kana are words of one character. A term is the word case-folded, Latin,
 *            Greek and Cyrillic freed of diacritics, English stemmed (Snowball "english"); at most
 *            WORDS_TERM_MAX bytes (a longer one is represented by its beginning). Bytes that are no
 *            valid UTF-8 separate words.
 * Threading: a struct words belongs to one thread at a time; it caches stems.
 * Failure:   -ENOMEM, or what the callback returns.
 */
#ifndef MNEME_CORE_SEARCH_WORDS_H
#define MNEME_CORE_SEARCH_WORDS_H

#include <stddef.h>
#include <stdint.h>

enum { WORDS_TERM_MAX = 64 };

struct words;

int words_new(struct words **out);
void words_free(struct words *w); /* accepts NULL */

struct words_token {
	const char *term;     /* borrowed until the callback returns; not NUL-terminated */
	uint32_t term_length; /* 1..WORDS_TERM_MAX */
	uint32_t offset;      /* bytes from the start of the text */
	uint32_t length;      /* bytes of the word as written */
};

/* Called for each word in order; non-zero ends the walk and is what words_each returns. */
typedef int words_each_token(void *arg, const struct words_token *token);
/* `length` < 4 GiB. */
int words_each(struct words *w, const char *text, size_t length, words_each_token *each, void *arg);

/* The distinct terms of a text with their counts. Zero-initialise; words_bag_reset() to reuse it,
 * words_bag_free() at the end. */
struct words_term {
	uint32_t hash;   /* words_hash() of the term */
	uint32_t offset; /* into bytes */
	uint32_t length;
	uint32_t count; /* occurrences, >= 1 */
};
struct words_bag {
	struct words_term *terms; /* in order of first occurrence */
	char *bytes;              /* the terms' characters */
	uint32_t *slots;          /* hash table of 1 + index into terms; 0: free */
	uint32_t count, capacity, bytes_used, bytes_capacity, slots_mask;
	uint32_t tokens; /* words of the text */
};

/* Adds the words of a text to the bag. */
int words_count(struct words *w, const char *text, size_t length, struct words_bag *bag);
/* Adds one word: a words_each_token, whose `arg` is the bag. */
int words_bag_add(void *bag, const struct words_token *token);
/* 1 + the index of a term in `terms`, or 0. */
uint32_t words_bag_find(const struct words_bag *bag, const char *term, uint32_t length);
void words_bag_reset(struct words_bag *bag);
void words_bag_free(struct words_bag *bag);

uint32_t words_hash(const char *term, size_t length);

#endif
