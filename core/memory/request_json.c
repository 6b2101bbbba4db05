/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   request.h: the JSON object.
 */
#include "core/memory/request_inside.h"
#include "pool/alloc.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int vector_take(struct request *r, const json_t *array)
{
	size_t dim = json_array_size(array);

	if (!json_is_array(array) || !dim || dim > MEMORY_DIM_MAX)
		return request_refuse(r, "\"vector\" wants an array of 1 to %d numbers",
				      MEMORY_DIM_MAX);
	float *vector = alloc_get(dim * sizeof *vector);
	int rc = vector ? 0 : -ENOMEM;
	for (size_t i = 0; i < dim && rc == 0; i++) {
		const json_t *number = json_array_get(array, i);
		if (!json_is_number(number))
			rc = request_refuse(r, "\"vector\" holds something that is no number");
		else
			vector[i] = (float)json_number_value(number);
	}
	if (rc == 0)
		rc = request_vector(r, vector, (uint32_t)dim);
	alloc_free(vector);
	return rc;
}

static int like_take(struct request *r, const json_t *path)
{
	const char *text = json_string_value(path);

	if (!text || !*text || strlen(text) >= sizeof r->like)
		return request_refuse(r, "\"like\" wants the path of a file");
	strcpy(r->like, text);
	return 0;
}

/* For a path that is no UTF-8: its bytes as digits. */
static int like_hex_take(struct request *r, const json_t *digits)
{
	const char *text = json_string_value(digits);
	size_t length = text ? strlen(text) : 0;

	if (!length || length % 2 || length / 2 >= sizeof r->like ||
	    strspn(text, "0123456789abcdefABCDEF") != length)
		return request_refuse(r, "\"like_hex\" wants the bytes of a path as digits");
	for (size_t i = 0; i < length / 2; i++) {
		char two[3] = {text[2 * i], text[2 * i + 1], 0};
		r->like[i] = (char)strtoul(two, NULL, 16);
	}
	r->like[length / 2] = 0;
	return 0;
}

/* A value of an option: string, number or boolean. */
static int option_take(struct request *r, const char *name, const json_t *value)
{
	char number[32];

	if (json_is_string(value))
		return request_option(r, name, json_string_value(value));
	if (json_is_boolean(value))
		return request_option(r, name, json_is_true(value) ? "yes" : "no");
	if (!json_is_integer(value))
		return request_refuse(r, "\"%.80s\" has a value of the wrong kind", name);
	snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
	return request_option(r, name, number);
}

static int member_take(struct request *r, const char *name, const json_t *value)
{
	int rc = 0;

	if (!strcmp(name, "query") || !strcmp(name, "text")) {
		if (!json_is_string(value))
			return request_refuse(r, "\"%s\" wants a string", name);
		const char *text = json_string_value(value);
		return *name == 'q' ? request_parse_line(r, text, json_string_length(value))
				    : request_words(r, text, json_string_length(value));
	}
	if (!strcmp(name, "vector"))
		return vector_take(r, value);
	if (!strcmp(name, "like"))
		return like_take(r, value);
	if (!strcmp(name, "like_hex"))
		return like_hex_take(r, value);
	if (!json_is_array(value))
		return option_take(r, name, value);
	for (size_t i = 0; i < json_array_size(value) && rc == 0; i++)
		rc = option_take(r, name, json_array_get(value, i));
	return rc;
}

int request_parse_json(struct request *r, const char *line, size_t length)
{
	json_error_t error;
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error), *value;
	const char *name;
	int rc = 0;

	if (!json_is_object(object))
		rc = request_refuse(r, "no JSON object: %.120s", error.text);
	for (void *at = json_object_iter(object); at && rc == 0;
	     at = json_object_iter_next(object, at)) {
		name = json_object_iter_key(at);
		value = json_object_iter_value(at);
		rc = member_take(r, name, value);
	}
	json_decref(object);
	return rc;
}
