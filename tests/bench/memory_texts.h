/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the notes and questions that bench_memory asks with: random words, or real text.
 * Threading: one thread.
 * Failure:   a sentence, and the program ends.
 */
#ifndef MNEME_TESTS_BENCH_MEMORY_TEXTS_H
#define MNEME_TESTS_BENCH_MEMORY_TEXTS_H

#include <stddef.h>

enum { TEXTS_NOTE_MAX = 8192, TEXTS_QUESTION_MAX = 512, TEXTS_QUESTION_WORDS = 10 };

/* `folder` NULL: words of this project's documents (below $MNEME_SOURCE), the commoner the nearer to
 * the front. Else: all text files below it, in the order of their names. */
void texts_load(const char *folder);
/* Note number n, which is the same in each run: its bytes, about five passages. Where the real texts are
 * at their end they come again, with every fifth word replaced by one from elsewhere in them. */
size_t texts_note(unsigned n, char out[TEXTS_NOTE_MAX]);
/* Another question each time: ten random words; of real text every other word of a place in one of the
 * first `notes` notes. No '/', '%' or character that is not ASCII. */
void texts_question(unsigned notes, char out[TEXTS_QUESTION_MAX]);
/* Sentences of `count` words, for texts whose bytes do not matter. */
size_t texts_words(char *out, unsigned count);
unsigned texts_random(void);

#endif
