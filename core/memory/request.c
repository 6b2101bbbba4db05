/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   request.h: the line of words and options; times.
 */
#include "core/memory/request.h"
#include "core/memory/request_inside.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OPTION_NAME_MAX = 16 };

struct request *request_new(void)
{
	struct request *r = alloc_zeroed(1, sizeof *r);

	if (r) {
		r->query.filters = r->filters;
		r->query.text = r->text;
	}
	return r;
}

void request_free(struct request *r)
{
	if (r)
		alloc_free(r->vector);
	alloc_free(r);
}

int request_refuse(struct request *r, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(r->why, sizeof r->why, format, list);
	va_end(list);
	return -EINVAL;
}

/* ---- times ---- */

static const char *number_read(const char *s, int digits, int *out)
{
	*out = 0;
	for (int i = 0; i < digits; i++, s++) {
		if (*s < '0' || *s > '9')
			return NULL;
		*out = 10 * *out + (*s - '0');
	}
	return s;
}

/* YYYY[-MM[-DD[THH:MM[:SS]]]][Z] */
static int date_read(const char *s, int64_t *ns)
{
	static const struct {
		char before;
		int digits, least, most;
	} parts[] = {{0, 4, 1, 9999}, {'-', 2, 1, 12}, {'-', 2, 1, 31},
		     {'T', 2, 0, 23}, {':', 2, 0, 59}, {':', 2, 0, 60}};
	int values[6] = {0, 1, 1, 0, 0, 0}, n = 0;

	for (; n < 6 && s; n++) {
		if (n && *s != parts[n].before)
			break;
		s = number_read(s + (n != 0), parts[n].digits, &values[n]);
		if (!s || values[n] < parts[n].least || values[n] > parts[n].most)
			return -EINVAL;
	}
	if (n == 4 || (*s == 'Z' ? s[1] : *s))
		return -EINVAL;
	struct tm t = {.tm_year = values[0] - 1900,
		       .tm_mon = values[1] - 1,
		       .tm_mday = values[2],
		       .tm_hour = values[3],
		       .tm_min = values[4],
		       .tm_sec = values[5]};
	time_t seconds = timegm(&t);
	if (t.tm_mday != values[2] && values[5] != 60)
		return -EINVAL; /* the 31st of a shorter month */
	*ns = (int64_t)seconds * 1000000000;
	return 0;
}

/* A date, or a span back from now. */
static int time_read(const char *s, int64_t *ns)
{
	static const char units[] = "mhdwMy";
	static const int64_t seconds[] = {60, 3600, 86400, 604800, 2629746, 31556952};
	struct timespec now;
	char *end;
	long n = strtol(s, &end, 10);
	const char *unit = *end && !end[1] ? strchr(units, *end) : NULL;

	if (end == s || !unit || n < 0 || n > 1000000)
		return date_read(s, ns);
	clock_gettime(CLOCK_REALTIME, &now);
	*ns = ((int64_t)now.tv_sec - n * seconds[unit - units]) * 1000000000 + now.tv_nsec;
	return 0;
}

/* ---- options ---- */

static int choose(struct request *r, const char *name, const char *value,
		  const char *const *choices, int *out)
{
	for (int i = 0; choices[i]; i++)
		if (!strcmp(choices[i], value)) {
			*out = i;
			return 0;
		}
	return request_refuse(r, "there is no %s '%.80s'", name, value);
}

static int filter_add(struct request *r, enum memory_filter_kind kind, const char *prefix,
		      const char *value, int64_t time_ns)
{
	unsigned at = r->query.filters_count;

	if (at == MEMORY_FILTERS_MAX)
		return request_refuse(r, "more than %d filters", MEMORY_FILTERS_MAX);
	if (!*value)
		return request_refuse(r, "a filter is empty");
	if (strlen(prefix) + strlen(value) > REQUEST_VALUE_MAX)
		return request_refuse(r, "a filter is longer than %d bytes", REQUEST_VALUE_MAX);
	strcpy(stpcpy(r->values[at], prefix), value);
	r->filters[at] =
		(struct memory_filter){.kind = kind, .value = r->values[at], .time_ns = time_ns};
	r->query.filters_count = at + 1;
	return 0;
}

/* NAME=VALUE; "user." is put in front of the name if it is not there. */
static int attribute_add(struct request *r, const char *value)
{
	const char *equals = strchr(value, '=');
	int has_space = !strncmp(value, "user.", 5);

	if (!equals || equals == value + (has_space ? 5 : 0))
		return request_refuse(r, "attr wants NAME=VALUE, not '%.80s'", value);
	return filter_add(r, MEMORY_FILTER_ATTRIBUTE, has_space ? "" : "user.", value, 0);
}

static int limit_set(struct request *r, const char *value)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (end == value || *end || n < 1 || n > MEMORY_RESULTS_MAX)
		return request_refuse(r, "limit wants a number from 1 to %d, not '%.80s'",
				      MEMORY_RESULTS_MAX, value);
	r->query.limit = (uint32_t)n;
	return 0;
}

int request_option(struct request *r, const char *name, const char *value)
{
	static const char *const modes[] = {"hybrid", "vector", "lexical", "similar", NULL};
	static const char *const fusions[] = {"standard", "rank", NULL};
	static const char *const answers[] = {"no", "yes", NULL};
	int chosen = 0, rc;

	if (!strcmp(name, "mode")) {
		rc = choose(r, name, value, modes, &chosen);
		if (rc == 0)
			r->query.mode = (enum memory_mode)chosen;
		return rc;
	}
	if (!strcmp(name, "fuse"))
		return choose(r, name, value, fusions, &r->query.rank_fusion);
	if (!strcmp(name, "explain"))
		return choose(r, name, value, answers, &r->explain);
	if (!strcmp(name, "associate"))
		return choose(r, name, value, answers, &r->query.associate);
	if (!strcmp(name, "limit"))
		return limit_set(r, value);
	if (!strcmp(name, "name"))
		return filter_add(r, MEMORY_FILTER_NAME, "", value, 0);
	if (!strcmp(name, "tag"))
		return filter_add(r, MEMORY_FILTER_TAG, "", value, 0);
	if (!strcmp(name, "attr"))
		return attribute_add(r, value);
	if (!strcmp(name, "after") || !strcmp(name, "before")) {
		int64_t ns;
		if (time_read(value, &ns) < 0)
			return request_refuse(r,
					      "'%.80s' is no time: 2026-01-31, 2026-01-31T12:00 "
					      "or a span like 7d",
					      value);
		return filter_add(r, *name == 'a' ? MEMORY_FILTER_AFTER : MEMORY_FILTER_BEFORE, "",
				  value, ns);
	}
	return request_refuse(r, "there is no option '%.80s'", name);
}

int request_words(struct request *r, const char *words, size_t length)
{
	size_t gap = r->text_length && length;

	if (r->text_length + gap + length > MEMORY_QUERY_MAX) {
		request_refuse(r, "the question is longer than %d bytes", MEMORY_QUERY_MAX);
		return -E2BIG;
	}
	if (gap)
		r->text[r->text_length++] = ' ';
	memcpy(r->text + r->text_length, words, length);
	r->text_length += length;
	r->text[r->text_length] = 0;
	r->query.length = r->text_length;
	return 0;
}

int request_vector(struct request *r, const float *vector, uint32_t dim)
{
	if (!dim || dim > MEMORY_DIM_MAX)
		return request_refuse(r, "a vector has 1 to %d numbers", MEMORY_DIM_MAX);
	float *copy = alloc_get(dim * sizeof *copy);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, vector, dim * sizeof *copy);
	alloc_free(r->vector);
	r->vector = copy;
	r->query.vector = copy;
	r->query.dim = dim;
	return 0;
}

int request_check(struct request *r)
{
	int asked = (r->text_length != 0) + (r->vector != NULL) +
		    (r->like[0] != 0 || r->query.like != 0);

	if (!asked && !r->query.filters_count)
		return request_refuse(r, "the question is empty");
	if (asked > 1)
		return request_refuse(r, "text, vector and like exclude each other");
	return 0;
}

void request_complete(struct request *r, uint64_t scope, uint32_t limit, memory_allow *allow,
		      void *allow_arg)
{
	struct memory_query *q = &r->query;

	if ((q->like || q->vector) && q->mode == MEMORY_HYBRID)
		q->mode = MEMORY_VECTOR; /* there are no words */
	if (!q->limit)
		q->limit = limit;
	q->scope = scope;
	q->allow = allow;
	q->allow_arg = allow_arg;
}

/* ---- lines ---- */

static int is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The end of the word that begins at `at`; quotes hold white space inside. */
static size_t word_end(const char *line, size_t length, size_t at)
{
	int quoted = 0;

	for (; at < length && (quoted || !is_space(line[at])); at++)
		quoted ^= line[at] == '"';
	return at;
}

static int is_option(const char *name, size_t length)
{
	static const char *const names[] = {"mode", "fuse", "explain", "limit",  "name",
					    "tag",  "attr", "after",   "before", "associate"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strlen(names[i]) == length && !memcmp(names[i], name, length))
			return 1;
	return 0;
}

static int option_take(struct request *r, const char *word, size_t length, size_t colon)
{
	char name[OPTION_NAME_MAX], value[REQUEST_VALUE_MAX + 1];
	size_t n = 0;

	memcpy(name, word, colon);
	name[colon] = 0;
	for (size_t i = colon + 1; i < length; i++) {
		if (word[i] == '"')
			continue;
		if (n == REQUEST_VALUE_MAX || !word[i])
			return request_refuse(r, "the value of %s is too long", name);
		value[n++] = word[i];
	}
	value[n] = 0;
	return request_option(r, name, value);
}

int request_parse_line(struct request *r, const char *line, size_t length)
{
	int rc = 0;

	for (size_t at = 0; at < length && rc == 0;) {
		if (is_space(line[at])) {
			at++;
			continue;
		}
		size_t end = word_end(line, length, at);
		const char *colon = memchr(line + at, ':', end - at);
		if (colon && is_option(line + at, (size_t)(colon - line) - at))
			rc = option_take(r, line + at, end - at, (size_t)(colon - line) - at);
		else
			rc = request_words(r, line + at, end - at);
		at = end;
	}
	return rc;
}

int request_parse(struct request *r, const char *line, size_t length)
{
	if (length > REQUEST_LINE_MAX) {
		request_refuse(r, "a request is at most %d bytes long", REQUEST_LINE_MAX);
		return -E2BIG;
	}
	return length && line[0] == '{' ? request_parse_json(r, line, length)
					: request_parse_line(r, line, length);
}
