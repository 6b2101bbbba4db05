/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme pin, mneme unpin: memories that stay. The mark is an attribute, user.mneme.pinned.
 */
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static int fail(const char *path, int err)
{
	return tool_fail("%s: %s", path, strerror(err));
}

static int pin(const char *path, int wanted)
{
	char root[TOOL_PATH_MAX], hidden[TOOL_PATH_MAX + 8];
	struct stat st;

	if (stat(path, &st))
		return fail(path, errno);
	if (!S_ISREG(st.st_mode))
		return tool_fail("%s is no file", path);
	if (door_root(path, root, sizeof(root)) != TOOL_FOUND)
		return TOOL_ERROR;
	snprintf(hidden, sizeof(hidden), "%s/.mneme", root);
	if (access(hidden, F_OK))
		return tool_fail("%s is not in a mounted mnemefs", path);
	if (wanted && setxattr(path, TOOL_PINNED, "1", 1, 0))
		return fail(path, errno);
	if (!wanted && removexattr(path, TOOL_PINNED) && errno != ENODATA)
		return fail(path, errno);
	return TOOL_FOUND;
}

static int all(const struct tool_options *options, int wanted)
{
	int status = TOOL_FOUND;

	for (int i = 0; i < options->words_count; i++)
		if (pin(options->words[i], wanted) != TOOL_FOUND)
			status = TOOL_ERROR;
	return status;
}

static int run_pin(const struct tool_options *options)
{
	return all(options, 1);
}

static int run_unpin(const struct tool_options *options)
{
	return all(options, 0);
}

const struct tool_verb verb_pin = {
	.name = "pin",
	.accepts = "",
	.usage = "  pin FILE...   they do not fade (see decay in docs/search.md), and forget wants "
		 "--force\n",
	.words_min = 1,
	.words_max = 1 << 20,
	.run = run_pin,
};

const struct tool_verb verb_unpin = {
	.name = "unpin",
	.accepts = "",
	.usage = "  unpin FILE... takes that back\n",
	.words_min = 1,
	.words_max = 1 << 20,
	.run = run_unpin,
};
