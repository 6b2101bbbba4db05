/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   prints the answer to a question: for people, for editors, for programs.
 */
#include "mount-tools/mneme_tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT = 10 /* of results where nothing is said */, REQUEST_MAX = 64 << 10 };

struct look {
	const char *score, *path, *line, *off;
};

static const struct look plain = {"", "", "", ""};
static const struct look coloured = {"\033[2m", "\033[35m", "\033[32m", "\033[0m"};

static const struct look *look_choose(void)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_color && *no_color) && term && strcmp(term, "dumb")
		       ? &coloured
		       : &plain;
}

void answer_put_bytes(const void *bytes, size_t length)
{
	for (const unsigned char *c = bytes; length--; c++) {
		if (*c < ' ' || *c == 0x7f)
			printf("\\x%02x", *c);
		else
			putchar(*c);
	}
}

void answer_put(const char *text)
{
	answer_put_bytes(text, strlen(text));
}

/* The path's bytes: JSON holds UTF-8 only, so others come as digits besides. */
static const char *path_of(const json_t *result, char *bytes)
{
	const char *digits = json_string_value(json_object_get(result, "path_hex"));
	const char *path = json_string_value(json_object_get(result, "path"));
	size_t n = 0;

	if (!digits)
		return path ? path : "";
	for (; digits[0] && digits[1] && n + 1 < TOOL_PATH_MAX; digits += 2) {
		char two[3] = {digits[0], digits[1], 0};
		bytes[n++] = (char)strtoul(two, NULL, 16);
	}
	bytes[n] = 0;
	return bytes;
}

static double number(const json_t *result, const char *name)
{
	return json_number_value(json_object_get(result, name));
}

/* The parts of a score; ranks are of reciprocal rank fusion. */
static void show_parts(const json_t *result)
{
	printf("         meaning %+.3f (cosine %.3f, rank %.0f), words %+.3f (BM25 %.3f, rank "
	       "%.0f)\n"
	       "         lines %.0f to %.0f, bytes %.0f to %.0f\n",
	       number(result, "cosine_part"), number(result, "cosine"),
	       number(result, "cosine_rank"), number(result, "bm25_part"), number(result, "bm25"),
	       number(result, "bm25_rank"), number(result, "line"), number(result, "line_end"),
	       number(result, "begin"), number(result, "end"));
	if (json_object_get(result, "links_part"))
		printf("         links %+.3f\n", number(result, "links_part"));
	if (json_object_get(result, "fade_part"))
		printf("         faded %+.3f\n", number(result, "fade_part"));
}

static void show_one(const json_t *result, const char *prefix, const struct tool_options *options,
		     const struct look *look)
{
	char bytes[TOOL_PATH_MAX];
	const char *path = path_of(result, bytes);
	const char *snippet = json_string_value(json_object_get(result, "snippet"));

	if (!options->grep)
		printf("%s%7.3f%s  ", look->score, number(result, "score"), look->off);
	printf("%s", look->path);
	answer_put(prefix);
	answer_put(path);
	printf("%s:%s%d%s", look->off, look->line, (int)number(result, "line_match"), look->off);
	printf(options->grep ? ":" : "\n");
	if (options->explain)
		show_parts(result);
	if (!options->grep)
		printf("         ");
	answer_put(snippet ? snippet : "");
	putchar('\n');
}

/* What came to mind, and over what. */
static void show_recalled(const json_t *result, const char *prefix, const struct look *look)
{
	char bytes[TOOL_PATH_MAX];
	const json_t *via = json_object_get(result, "via");

	printf("%s%7.3f%s  %s", look->score, number(result, "activation"), look->off, look->path);
	answer_put(prefix);
	answer_put(path_of(result, bytes));
	printf("%s\n         ", look->off);
	for (size_t i = 0; i < json_array_size(via); i++) {
		fputs(i ? " > " : "via ", stdout);
		answer_put(json_string_value(json_array_get(via, i)));
	}
	putchar('\n');
}

static void say_what_is_missing(const json_t *answer)
{
	if (json_is_true(json_object_get(answer, "partial")) ||
	    json_is_true(json_object_get(answer, "cut")))
		fprintf(stderr, "mneme: the time was up; there may be better ones\n");
	if (json_is_true(json_object_get(answer, "narrowed")))
		fprintf(stderr,
			"mneme: to keep the deadline, only %.0f links of each file and %.0f hops "
			"were "
			"followed\n",
			number(answer, "fan_out"), number(answer, "hops"));
	if (json_is_true(json_object_get(answer, "budget")))
		fprintf(stderr, "mneme: there is more than --nodes lets it reach\n");
	if (number(answer, "left_out") > 0)
		fprintf(stderr, "mneme: %.0f more are left out: their paths are too long\n",
			number(answer, "left_out"));
}

static int show(json_t *answer, const char *prefix, const struct tool_options *options)
{
	json_t *results = json_object_get(answer, "results");
	const struct look *look = look_choose();

	if (!json_is_array(results))
		return tool_fail("the mount's answer has no results");
	if (options->json) {
		json_dumpf(answer, stdout,
			   JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
		putchar('\n');
	}
	for (size_t i = 0; !options->json && i < json_array_size(results); i++) {
		const json_t *result = json_array_get(results, i);
		if (json_object_get(result, "via"))
			show_recalled(result, prefix, look);
		else
			show_one(result, prefix, options, look);
	}
	say_what_is_missing(answer);
	return json_array_size(results) ? TOOL_FOUND : TOOL_NOTHING;
}

/* The request with what the options add to it, as text. Of two limits the later one counts: a limit in
 * the question goes before the usual one, and -n before that. */
static int request_text(json_t *request, const struct tool_options *options, char *text,
			size_t size)
{
	json_t *whole = json_object();

	if (!options->count)
		json_object_set_new(whole, "limit", json_integer(COUNT));
	json_object_update(whole, request);
	json_object_update(whole, options->filters);
	if (options->count)
		json_object_set_new(whole, "limit", json_integer(options->count));
	size_t length = json_dumpb(whole, text, size - 1, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(whole);
	if (!length || length >= size)
		return tool_fail(length ? "the question is too long" : "the question is no UTF-8");
	text[length] = 0;
	return TOOL_FOUND;
}

int answer_show(const char *directory, json_t *request, const struct tool_options *options)
{
	static char text[REQUEST_MAX];
	char prefix[TOOL_PATH_MAX] = "";
	int made = request_text(request, options, text, sizeof(text));

	json_decref(request);
	if (made != TOOL_FOUND)
		return made;
	json_t *answer = options->store ? store_ask(options->store, directory, text)
					: door_ask(directory, text);
	if (!answer)
		return TOOL_ERROR;
	if (strcmp(directory, options->store ? "" : "."))
		snprintf(prefix, sizeof(prefix), "%s%s", directory,
			 directory[strlen(directory) - 1] == '/' ? "" : "/");
	int status = show(answer, prefix, options);
	json_decref(answer);
	return status;
}
