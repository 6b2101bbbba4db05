/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   requests and answers of remote embedders as JSON, by jansson.
 * Threading: pure functions.
 * Failure:   -EPROTO for an answer that is not one, -EMEDIUMTYPE for another dimension, -ENOMEM;
 *            and a sentence.
 */
#ifndef MNEME_CORE_MEMORY_EMBEDDER_JSON_H
#define MNEME_CORE_MEMORY_EMBEDDER_JSON_H

#include <stddef.h>
#include <stdint.h>

/* {"model": .., "input": [..], "encoding_format": "float"}; model may be NULL. Malformed UTF-8
 * becomes U+FFFD. The string is to be released with alloc_free(); NULL out of memory. */
char *embedder_json_request(const char *model, const char *const *texts, const size_t *lens,
			    size_t n);
/* {"text": ..} and a line end; the same ownership. */
char *embedder_json_line(const char *text, size_t len);

/* The n vectors of an answer {"data": [{"index": i, "embedding": [..]}, ..]} in the order of their
 * indexes (of the list where they have none). *dim is what is wanted or 0, then what came.
 * vectors[n][*dim] may be NULL. */
int embedder_json_answer(const char *json, size_t len, size_t n, float *vectors, uint32_t *dim,
			 char *why);
/* One vector: [..] or {"embedding": [..]}. */
int embedder_json_vector(const char *json, size_t len, float *vector, uint32_t *dim, char *why);
/* What an error answer says, {"error": {"message": ..}} or {"error": ..}, else its first bytes;
 * made printable, at most `size` with the zero. */
void embedder_json_error(const char *json, size_t len, char *out, size_t size);

#endif
