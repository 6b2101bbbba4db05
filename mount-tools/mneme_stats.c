/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme stats: what the filesystem did, for people.
 */
#include "mount-tools/mneme_tool.h"

#include <stdio.h>

static int run(const struct tool_options *options)
{
	const char *directory = options->words_count ? options->words[0] : ".";
	char root[TOOL_PATH_MAX], path[TOOL_PATH_MAX + 16];

	if (door_root(directory, root, sizeof(root)) != TOOL_FOUND)
		return TOOL_ERROR;
	snprintf(path, sizeof(path), "%s/.mneme/stats", root);
	return door_print(directory, path);
}

const struct tool_verb verb_stats = {
	.name = "stats",
	.accepts = "",
	.usage = "  stats [DIR]   operations, latencies, store and log of the mount\n",
	.words_min = 0,
	.words_max = 1,
	.run = run,
};
