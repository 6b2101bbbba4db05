/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: what the writers of answers share: a text of a size that is known before. */
#ifndef MNEME_CORE_MEMORY_ANSWER_INSIDE_H
#define MNEME_CORE_MEMORY_ANSWER_INSIDE_H

#include "core/memory/answer.h"

struct answer_writer {
	char *text;
	size_t used, size;
};

/* Room for `size` bytes; what does not fit is left out. */
int writer_begin(struct answer_writer *w, size_t size);
/* The text, which is the caller's. 0. */
int writer_end(struct answer_writer *w, char **text, size_t *length);
void writer_put(struct answer_writer *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* At most 6 bytes for each. */
void writer_put_escaped(struct answer_writer *w, const char *s, int json);
/* A path that JSON cannot hold, byte by byte besides. The string before it is still open. */
void writer_put_exact(struct answer_writer *w, const char *path);
/* The name and the target of one link of answer_write_links(). */
void writer_put_link(struct answer_writer *w, uint32_t number, float score, const char *path);

#endif
