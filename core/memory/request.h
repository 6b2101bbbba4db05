/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a search request, as every door takes it: the one place where its words and options are
 *            understood.
 * Format:    a line of words and options, in any order:
 *              mode:hybrid|vector|lexical|similar   fuse:standard|rank   limit:N   explain:yes
 *              associate:yes    what the best results bring to mind counts, too (memory_associate.c)
 *              name:GLOB        of the file's name, or of its path below the directory if it has a '/'
 *              tag:TAG          user.xdg.tags, or `tags:` of a markdown front matter; case is ignored
 *              attr:NAME=VALUE  extended attribute user.NAME (NAME may begin with user.)
 *              after:TIME before:TIME   time of the last change; YYYY[-MM[-DD[THH:MM[:SS]]]] in UTC, or
 *                               a span back from now: 30m 12h 7d 2w 6M 1y
 *            A value with white space stands in double quotes: tag:"two words". Of several names one
 *            has to fit, of everything else all. What stands in double quotes, or is none of these, is
 *            a word of the question.
 *            Or a JSON object (its first character is '{'): "query" (a line as above), "text" (the
 *            question as it is), "vector" (array of numbers), "like" (path of a file; "like_hex" for
 *            one that is no UTF-8), and the options by their names; "name", "tag" and "attr" may be
 *            arrays of strings. Of an option that is said twice (no filter) the later one counts.
 * Invariants: what is not understood is an error with a sentence, never ignored.
 * Threading: plain data.
 * Failure:   -EINVAL or -E2BIG with the sentence; -ENOMEM.
 */
#ifndef MNEME_CORE_MEMORY_REQUEST_H
#define MNEME_CORE_MEMORY_REQUEST_H

#include "core/memory/memory.h"

enum {
	REQUEST_WHY = 200,          /* bytes of a sentence */
	REQUEST_VALUE_MAX = 511,    /* bytes of an option's value */
	REQUEST_LINE_MAX = 1 << 20, /* bytes of a request */
	REQUEST_LIMIT = 20,         /* results where it does not say */
	REQUEST_LIMIT_JSON = 100,   /* the same, where the answer is JSON */
};

struct request {
	struct memory_query query; /* points into this; the door adds scope, like and allow */
	int explain;
	uint32_t text_length;
	char text[MEMORY_QUERY_MAX + 1]; /* the words of the question */
	char like[MEMORY_PATH_MAX];      /* path from the directory; "" : none */
	struct memory_filter filters[MEMORY_FILTERS_MAX];
	char values[MEMORY_FILTERS_MAX][REQUEST_VALUE_MAX + 1];
	float *vector;         /* owned, or NULL */
	char why[REQUEST_WHY]; /* after a failure */
};

/* An empty request, or NULL; request_free() accepts NULL. */
struct request *request_new(void);
void request_free(struct request *r);

/* Adds what a line or a JSON object says (`length` bytes, no NUL needed). */
int request_parse(struct request *r, const char *line, size_t length);
/* Adds one option, as NAME:VALUE of a line would. */
int request_option(struct request *r, const char *name, const char *value);
/* Adds words to the question as they are. */
int request_words(struct request *r, const char *words, size_t length);
/* Takes a copy of the query's vector. */
int request_vector(struct request *r, const float *vector, uint32_t dim);
/* Is it complete? -EINVAL: it asks for nothing, or for two things at once. Then the door finds the file
 * `like`, and completes it: scope, permission, and what follows where the request did not say. */
int request_check(struct request *r);
void request_complete(struct request *r, uint64_t scope, uint32_t limit, memory_allow *allow,
		      void *allow_arg);

#endif
