/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme near: memories like a file.
 */
#include "mount-tools/mneme_tool.h"

static json_t *like(const char *path)
{
	const char *member;
	json_t *value = door_path(path, &member, "like", "like_hex");

	return json_pack("{s:o}", member, value);
}

static int run(const struct tool_options *options)
{
	static char root[TOOL_PATH_MAX], name[TOOL_PATH_MAX];

	if (options->store)
		return answer_show(options->directory ? options->directory : "",
				   like(options->words[0]), options);
	if (door_below(options->words[0], options->directory, root, name) != TOOL_FOUND)
		return TOOL_ERROR;
	return answer_show(root, like(name), options);
}

const struct tool_verb verb_near = {
	.name = "near",
	.accepts = "CSnjegfa",
	.usage = "  near [-C DIR] [-n N] [--grep|--explain|--json] [FILTER]... FILE\n"
		 "                memories like FILE\n",
	.words_min = 1,
	.words_max = 1,
	.run = run,
};
