/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   answers as text, JSON and lists of links: the same bytes through all doors.
 * Threading: plain data.
 * Failure:   -ENOMEM. *text is of alloc_get(); the caller frees it.
 */
#ifndef MNEME_CORE_MEMORY_ANSWER_H
#define MNEME_CORE_MEMORY_ANSWER_H

#include "core/memory/memory.h"

/* score, path:line of the match, bytes begin-end, snippet; tabs between; a line a result. `explain`: a
 * second line, indented by a tab, with the parts of the score. */
int answer_write_text(const struct memory_answer *answer, int explain, char **text, size_t *length);
/* {"partial": false, ..., "results": [{...}]}; a path that is no UTF-8 has U+FFFD for its bad bytes and
 * "path_hex" beside it, and of a search with associate:yes each has "links_part". */
int answer_write_json(const struct memory_answer *answer, char **text, size_t *length);
/* {"error": why, "errno": error}; what the errno says where `why` is "". */
int answer_write_error(int error, const char *why, char **text, size_t *length);
/* For each result a name ("001 0.873 note.md") and a target ("../../../note.md"), each ended by a zero
 * byte. */
int answer_write_links(const struct memory_answer *answer, char **text, size_t *length);

#endif
