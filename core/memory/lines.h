/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what a line of a text is (heading, list item, code fence), where sentences end, and
 *            whether bytes are text at all. Markdown as in CommonMark 0.31 where it matters for
 *            cutting; other texts simply have none of it.
 * Threading: pure functions.
 * Failure:   none; any bytes are a line of some kind.
 */
#ifndef MNEME_CORE_MEMORY_LINES_H
#define MNEME_CORE_MEMORY_LINES_H

#include <stddef.h>
#include <stdint.h>

enum line_kind { LINE_BLANK, LINE_HEADING, LINE_ITEM, LINE_FENCE, LINE_INDENTED, LINE_PROSE };

struct line {
	enum line_kind kind;
	uint32_t level; /* of a heading: 1 to 6; of a fence: its length */
	char fence;     /* '`' or '~' */
	int bare;       /* fence: nothing but the fence, so it can close one */
	size_t text;    /* heading, item: where its text begins */
};

/* Classifies a line, given without its line end. */
struct line line_classify(const char *text, size_t len);

/* The end of the sentence text[0..]: the offset just after its last byte, or 0 if no mark in
 * [from, most) ends it. The end of the text ends a sentence only after a mark that can. */
size_t line_sentence_end(const char *text, size_t len, size_t from, size_t most);

/* Where to cut text that is too long, at most at `most` (> 0, < len): the last line end, else the
 * last space, else the last boundary between characters, each in the latter half. */
size_t line_cut(const char *text, size_t len, size_t most);

/* NULL if the beginning of a file looks like text, else why it does not (a constant sentence). */
const char *line_binary_reason(const char *bytes, size_t len);

#endif
