/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme search: memories for a question.
 */
#include "mount-tools/mneme_tool.h"

#include <stdio.h>
#include <string.h>

enum { QUESTION_MAX = 4096 };

/* Bytes of the UTF-8 character at `s`, 0 if it is none. */
static size_t character(const char *s)
{
	for (size_t n = 1; n <= 4 && strnlen(s, n) == n; n++) {
		json_t *one = json_stringn(s, n);
		json_decref(one);
		if (one)
			return n;
	}
	return 0;
}

/* The question as JSON; what is no UTF-8 is no part of a word. */
static json_t *ask(char *question)
{
	for (char *c = question; *c;) {
		size_t n = character(c);
		if (!n)
			*c = '?';
		c += n ? n : 1;
	}
	return json_pack("{s:s}", "query", question);
}

static int run(const struct tool_options *options)
{
	char question[QUESTION_MAX] = "";
	size_t used = 0;

	for (int i = 0; i < options->words_count; i++) {
		size_t room = sizeof(question) - used;
		int n = snprintf(question + used, room, "%s%s", i ? " " : "", options->words[i]);
		if (n < 0 || (size_t)n >= room)
			return tool_fail("the question is too long");
		used += (size_t)n;
	}
	if (!used)
		return tool_fail("the question is empty");
	return answer_show(options->directory ? options->directory
			   : options->store   ? ""
					      : ".",
			   ask(question), options);
}

const struct tool_verb verb_search = {
	.name = "search",
	.accepts = "CSnjegfa",
	.usage = "  search [-C DIR] [-n N] [--grep|--explain|--json] [FILTER]... QUESTION...\n"
		 "                memories for a question, the best first; options may also stand "
		 "in\n"
		 "                the question: tag:work name:*.md after:7d mode:lexical\n",
	.words_min = 1,
	.words_max = 1000,
	.run = run,
};
