/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme near: memories like a file.
 */
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `path` below `directory`, both real; NULL if it is not. */
static const char *below(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	return !strncmp(path, directory, n) && path[n] == '/' ? path + n + 1 : NULL;
}

/* A path that JSON cannot hold goes as digits. */
static json_t *like(const char *path)
{
	char digits[2 * PATH_MAX + 1];
	json_t *request = json_pack("{s:s}", "like", path);
	size_t n = 0;

	if (request)
		return request;
	for (; path[n] && n < PATH_MAX; n++)
		snprintf(digits + 2 * n, 3, "%02x", (unsigned char)path[n]);
	return json_pack("{s:s}", "like_hex", digits);
}

static int run(const struct tool_options *options)
{
	char file[PATH_MAX], root[PATH_MAX], scope[PATH_MAX];

	if (options->store)
		return answer_show(options->directory ? options->directory : "",
				   like(options->words[0]), options);
	if (!realpath(options->words[0], file))
		return tool_fail("%s: %s", options->words[0], strerror(errno));
	if (!options->directory && door_root(options->words[0], root, sizeof(root)) != TOOL_FOUND)
		return TOOL_ERROR;
	const char *directory = options->directory ? options->directory : root;
	if (!realpath(directory, scope))
		return tool_fail("%s: %s", directory, strerror(errno));
	const char *name = below(file, scope);
	if (!name)
		return tool_fail("%s does not lie in %s", options->words[0], directory);
	return answer_show(directory, like(name), options);
}

const struct tool_verb verb_near = {
	.name = "near",
	.accepts = "CSnjegf",
	.usage = "  near [-C DIR] [-n N] [--grep|--explain|--json] [FILTER]... FILE\n"
		 "                memories like FILE\n",
	.words_min = 1,
	.words_max = 1,
	.run = run,
};
