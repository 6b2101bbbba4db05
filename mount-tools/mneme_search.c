/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme search: memories for a question.
 */
#include "mount-tools/mneme_tool.h"

#include <stdio.h>
#include <string.h>

enum { QUESTION_MAX = 4096 };

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
	return answer_show(options->directory ? options->directory : ".", "search", question,
			   options);
}

const struct tool_verb verb_search = {
	.name = "search",
	.accepts = "Cnjeg",
	.usage = "  search [-C DIR] [-n N] [--grep|--explain|--json] QUESTION...\n"
		 "                memories for a question, the best first\n",
	.words_min = 1,
	.words_max = 1000,
	.run = run,
};
