/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   finds the links in a text: [[wiki links]], markdown links and their definitions.
 * Source:    CommonMark 0.31 for [text](path "title"), <path with spaces>, [id]: path, code spans and
 *            fenced code, in which nothing is a link; [[name|text]] and [[name#heading]] as wikis and
 *            note takers have them. A link lies within one line.
 * Invariants: labels have 1..NAMES_LABEL_MAX bytes, no control characters, and are no URLs; %XX is
 *            decoded, what follows # or ? is cut off. Any bytes are safe.
 * Threading: a scanner belongs to one thread; it allocates nothing.
 * Failure:   what the callback returns, if not 0, ends the scan.
 */
#ifndef MNEME_CORE_MEMORY_LINKS_TEXT_H
#define MNEME_CORE_MEMORY_LINKS_TEXT_H

#include "core/names.h"

enum { LINKS_TEXT_LINE = 16 << 10 }; /* bytes of a line; a longer one counts as several */

/* `label` is borrowed. */
typedef int links_text_each(void *arg, enum names_link_kind kind, const char *label, size_t length);

struct links_text {
	links_text_each *each;
	void *arg;
	char fence; /* '`' or '~' in fenced code; 0 outside */
	unsigned fence_length;
	size_t held; /* bytes of a line that is not complete */
	char line[LINKS_TEXT_LINE];
};

void links_text_begin(struct links_text *s, links_text_each *each, void *arg);
int links_text_feed(struct links_text *s, const char *text, size_t length);
int links_text_end(struct links_text *s);
/* 1: links are looked for in a file of that name: .md, .markdown, .txt, or without an ending. */
int links_text_is_name(const char *name);

#endif
