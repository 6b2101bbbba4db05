/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   recall_request.h: what a wish says.
 */
#include "core/memory/recall_request.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_MS_MAX = 60000 };

static int refuse(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refuse(char *why, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(why, RECALL_WHY, format, list);
	va_end(list);
	return -EINVAL;
}

/* ---- parameters ---- */

static const struct number {
	const char *name;
	double least, most;
	int whole;
} numbers[] = {
	{"decay", 0, 1, 0},
	{"threshold", 1e-9, 1, 0},
	{"hops", 1, SPREAD_HOPS_MAX, 1},
	{"fan_out", 0, UINT32_MAX, 1},
	{"nodes", 1, RECALL_NODES_MAX, 1},
	{"deadline_ms", 0, DEADLINE_MS_MAX, 0},
	{"limit", 1, RECALL_RESULTS_MAX, 1},
};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

int recall_request_number(struct recall_query *q, const char *name, double value, char *why)
{
	struct spread_params *p = &q->spread;
	int i = 0;

	while (i < NUMBERS && strcmp(numbers[i].name, name))
		i++;
	if (i == NUMBERS)
		return refuse(why, "there is no parameter '%.80s'", name);
	if (!(value >= numbers[i].least && value <= numbers[i].most) ||
	    (numbers[i].whole && value != floor(value)))
		return refuse(why, "%s wants a %snumber from %.10g to %.10g", name,
			      numbers[i].whole ? "whole " : "", numbers[i].least, numbers[i].most);
	switch (i) {
	case 0:
		p->decay = (float)value;
		break;
	case 1:
		p->threshold = (float)value;
		break;
	case 2:
		p->hops_max = (uint32_t)value;
		break;
	case 3:
		p->fan_out = (uint32_t)value;
		break;
	case 4:
		p->nodes_max = (uint32_t)value;
		break;
	case 5:
		p->deadline_ns = (uint64_t)(value * 1e6);
		break;
	default:
		p->limit = (uint32_t)value;
	}
	return 0;
}

static int direction_take(struct recall_query *q, const json_t *value, char *why)
{
	const char *text = json_string_value(value);

	if (text && !strcmp(text, "out"))
		q->spread.direction = SPREAD_OUT;
	else if (text && !strcmp(text, "in"))
		q->spread.direction = SPREAD_IN;
	else if (text && !strcmp(text, "both"))
		q->spread.direction = SPREAD_BOTH;
	else
		return refuse(why, "direction wants out, in or both");
	return 0;
}

static int kind_take(struct recall_query *q, const json_t *value, char *why)
{
	static const struct {
		const char *name;
		enum graph_type type;
	} kinds[] = {{"explicit", GRAPH_EXPLICIT},   {"wiki", GRAPH_WIKI},
		     {"markdown", GRAPH_MARKDOWN},   {"symlink", GRAPH_SYMLINK},
		     {"neighbour", GRAPH_NEIGHBOUR}, {"coaccess", GRAPH_COACCESS}};
	const char *text = json_string_value(value);

	for (int i = 0; i < GRAPH_TYPES && text; i++)
		if (!strcmp(kinds[i].name, text)) {
			q->spread.types |= 1u << kinds[i].type;
			return 0;
		}
	return refuse(why,
		      "kinds are explicit, wiki, markdown, symlink, neighbour and coaccess%s%.80s",
		      text ? ", not " : "", text ? text : "");
}

/* ---- files ---- */

int recall_request_from(struct recall_query *q, uint64_t inode)
{
	for (uint32_t i = 0; i < q->count; i++)
		if (q->from[i].id == inode)
			return 0;
	if (q->count == RECALL_SEEDS_MAX)
		return -E2BIG;
	q->from[q->count++].id = inode;
	for (uint32_t i = 0; i < q->count; i++)
		q->from[i].activation = 1 / (float)q->count;
	return 0;
}

struct wish {
	recall_find *find;
	void *arg;
	struct recall_query *q;
	char *why;
};

/* 1: they are no digits of a path. */
static int hex_read(const char *text, char *path)
{
	size_t length = strlen(text);

	if (!length || length % 2 || length / 2 >= MEMORY_PATH_MAX ||
	    strspn(text, "0123456789abcdefABCDEF") != length)
		return 1;
	for (size_t i = 0; i < length / 2; i++) {
		char two[3] = {text[2 * i], text[2 * i + 1], 0};
		path[i] = (char)strtoul(two, NULL, 16);
	}
	path[length / 2] = 0;
	return 0;
}

static int file_take(struct wish *wish, const json_t *value, int hex)
{
	static _Thread_local char path[MEMORY_PATH_MAX]; /* handlers have 3 KiB of stack */
	const char *text = json_string_value(value);
	uint64_t inode;

	if (!text || !*text || (!hex && strlen(text) >= sizeof path) ||
	    (hex && hex_read(text, path)))
		return refuse(wish->why, "\"%s\" wants the path of a file, or an array of them",
			      hex ? "recall_hex" : "recall");
	if (!hex)
		strcpy(path, text);
	int rc = wish->find(wish->arg, path, &inode);
	if (rc == 0)
		rc = recall_request_from(wish->q, inode);
	return rc == -E2BIG
		       ? refuse(wish->why, "more than %d files to begin with", RECALL_SEEDS_MAX)
		       : rc;
}

/* ---- the object ---- */

static int one_take(struct wish *wish, const char *name, const json_t *value)
{
	if (!strcmp(name, "recall") || !strcmp(name, "recall_hex"))
		return file_take(wish, value, name[6] != 0);
	if (!strcmp(name, "kinds"))
		return kind_take(wish->q, value, wish->why);
	if (!strcmp(name, "direction"))
		return direction_take(wish->q, value, wish->why);
	if (!json_is_number(value))
		return refuse(wish->why, "'%.80s' is no parameter with a number", name);
	return recall_request_number(wish->q, name, json_number_value(value), wish->why);
}

static int member_take(struct wish *wish, const char *name, const json_t *value)
{
	int rc = 0;

	if (!strcmp(name, "kinds"))
		wish->q->spread.types = 0;
	if (!json_is_array(value))
		return one_take(wish, name, value);
	if (!json_array_size(value))
		return refuse(wish->why, "\"%.80s\" is an empty array", name);
	for (size_t i = 0; i < json_array_size(value) && rc == 0; i++)
		rc = one_take(wish, name, json_array_get(value, i));
	return rc;
}

int recall_request_is(const char *line, size_t length)
{
	if (!length || line[0] != '{' || !memmem(line, length, "\"recall", 7))
		return 0;
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	int is = json_object_get(object, "recall") || json_object_get(object, "recall_hex");
	json_decref(object);
	return is;
}

int recall_request_parse(const char *line, size_t length, recall_find *find, void *arg,
			 struct recall_query *q, char *why)
{
	struct wish wish = {.find = find, .arg = arg, .q = q, .why = why};
	json_error_t error;
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
	int rc = 0;

	*why = 0;
	if (!json_is_object(object))
		rc = refuse(why, "no JSON object: %.120s", error.text);
	for (void *at = json_object_iter(object); at && rc == 0;
	     at = json_object_iter_next(object, at))
		rc = member_take(&wish, json_object_iter_key(at), json_object_iter_value(at));
	json_decref(object);
	if (rc == 0 && !q->count)
		rc = refuse(why, "\"recall\" names no file");
	if (rc == 0 && q->spread.nodes_max < q->count)
		rc = refuse(why, "nodes is less than the files to begin with");
	return rc;
}
