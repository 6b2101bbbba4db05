/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   JSON of remote embedders, see embedder_json.h. Answers are hostile input.
 */
#include "core/memory/embedder_json.h"

#include "core/memory/embedder_private.h"
#include "core/memory/text.h"
#include "pool/alloc.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

/* A JSON string of bytes that may not be UTF-8. */
static json_t *string_of(const char *text, size_t len)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + len;
	json_t *string = json_stringn(text, len);
	size_t used = 0;

	if (string)
		return string;
	char *clean = alloc_get(3 * len + 1);
	if (!clean)
		return NULL;
	while (at < end) {
		uint32_t code;

		at += text_decode(at, end, &code);
		used += text_encode(code, clean + used);
	}
	string = json_stringn(clean, used);
	alloc_free(clean);
	return string;
}

/* The JSON as a string by alloc_get(). */
static char *dump(const json_t *root)
{
	const size_t len = json_dumpb(root, NULL, 0, JSON_COMPACT);
	char *out = len ? alloc_get(len + 1) : NULL;

	if (out)
		out[json_dumpb(root, out, len, JSON_COMPACT)] = 0;
	return out;
}

char *embedder_json_request(const char *model, const char *const *texts, const size_t *lens,
			    size_t n)
{
	json_t *root = json_object(), *input = json_array();
	char *out = NULL;
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		rc |= json_array_append_new(input, string_of(texts[i], lens[i]));
	if (model)
		rc |= json_object_set_new(root, "model", string_of(model, strlen(model)));
	rc |= json_object_set_new(root, "encoding_format", json_string("float"));
	rc |= json_object_set(root, "input", input);
	if (!rc)
		out = dump(root);
	json_decref(input);
	json_decref(root);
	return out;
}

char *embedder_json_line(const char *text, size_t len)
{
	json_t *root = json_object();
	char *out = NULL;

	if (!json_object_set_new(root, "text", string_of(text, len)))
		out = dump(root);
	json_decref(root);
	return out;
}

static int take_vector(json_t *list, float *vector, uint32_t *dim, char *why)
{
	const size_t came = json_array_size(list);
	json_t *value;
	size_t i;

	if (!json_is_array(list) || !came)
		return embedder_fail(why, -EPROTO, "the answer holds no embedding");
	if (came > EMBEDDER_DIM_MAX)
		return embedder_fail(why, -EMEDIUMTYPE,
				     "the answer has %zu dimensions, at most %d are possible", came,
				     EMBEDDER_DIM_MAX);
	if (*dim && came != *dim)
		return embedder_fail(why, -EMEDIUMTYPE,
				     "the answer has %zu dimensions instead of %u: this is another "
				     "model, and its vectors are not mixed with those stored",
				     came, *dim);
	*dim = (uint32_t)came;
	json_array_foreach(list, i, value)
	{
		const float number = (float)json_number_value(value);

		if (!json_is_number(value) || !isfinite(number))
			return embedder_fail(why, -EPROTO, "an embedding holds what is no number");
		if (vector)
			vector[i] = number;
	}
	return 0;
}

static int take_answer(json_t *root, size_t n, float *vectors, uint32_t *dim, char *why)
{
	json_t *data = json_object_get(root, "data"), *entry;
	size_t i, seen = 0;

	if (!json_is_array(data) || json_array_size(data) != n)
		return embedder_fail(why, -EPROTO, "the answer does not hold %zu embeddings", n);
	uint8_t *taken = alloc_zeroed(n ? n : 1, 1);
	if (!taken)
		return embedder_fail(why, -ENOMEM, "out of memory");
	int rc = 0;
	json_array_foreach(data, i, entry)
	{
		json_t *index = json_object_get(entry, "index");
		const json_int_t at =
			json_is_integer(index) ? json_integer_value(index) : (json_int_t)i;

		if (at < 0 || (uint64_t)at >= n || taken[at]) {
			rc = embedder_fail(why, -EPROTO, "the answer's indexes are not 0 to %zu",
					   n - 1);
			break;
		}
		taken[at] = 1;
		/* the first vector tells the dimension of the others, where none is wanted */
		rc = take_vector(json_object_get(entry, "embedding"),
				 vectors ? vectors + (size_t)at * *dim : NULL, dim, why);
		if (rc)
			break;
		seen++;
	}
	alloc_free(taken);
	return rc ? rc : seen == n ? 0 : -EPROTO;
}

static json_t *parse(const char *json, size_t len, char *why)
{
	json_error_t error;
	json_t *root = json_loadb(json, len, 0, &error);

	if (!root)
		embedder_fail(why, -EPROTO, "the answer is not JSON: line %d: %.100s", error.line,
			      error.text);
	return root;
}

int embedder_json_answer(const char *json, size_t len, size_t n, float *vectors, uint32_t *dim,
			 char *why)
{
	json_t *root = parse(json, len, why);

	if (!root)
		return -EPROTO;
	const int rc = take_answer(root, n, *dim ? vectors : NULL, dim, why);
	json_decref(root);
	return rc;
}

int embedder_json_vector(const char *json, size_t len, float *vector, uint32_t *dim, char *why)
{
	json_t *root = parse(json, len, why);

	if (!root)
		return -EPROTO;
	const int rc = take_vector(json_is_object(root) ? json_object_get(root, "embedding") : root,
				   *dim ? vector : NULL, dim, why);
	json_decref(root);
	return rc;
}

void embedder_json_error(const char *json, size_t len, char *out, size_t size)
{
	json_error_t error;
	json_t *root = json_loadb(json, len, 0, &error);
	json_t *what = json_object_get(root, "error");
	const char *text =
		json_string_value(json_is_object(what) ? json_object_get(what, "message") : what);
	const char *from = text ? text : json;
	const size_t left = text ? strlen(text) : len;
	size_t used = 0;

	for (size_t i = 0; i < left && used + 1 < size; i++)
		out[used++] = (uint8_t)from[i] < ' ' || from[i] == 0x7f ? ' ' : from[i];
	out[used] = 0;
	json_decref(root);
}
