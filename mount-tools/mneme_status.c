/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme status: what is searchable, of the mount or of single files.
 */
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

enum { STATE_MAX = 512 };

static int show_file(const char *file)
{
	char state[STATE_MAX];
	ssize_t n = getxattr(file, "user.mneme.state", state, sizeof(state) - 1);

	if (n < 0 && (errno == ENODATA || errno == EOPNOTSUPP))
		return tool_fail("%s is no file of a mounted mnemefs that remembers", file);
	if (n < 0)
		return tool_fail("%s: %s", file, strerror(errno));
	state[n] = 0;
	answer_put(file);
	printf(": ");
	answer_put(state);
	putchar('\n');
	return strcmp(state, "indexed") ? TOOL_NOTHING : TOOL_FOUND;
}

static int show_mount(const char *directory)
{
	char path[TOOL_PATH_MAX];

	snprintf(path, sizeof(path), "%s/.mneme/status", directory);
	return door_print(directory, path);
}

static int run(const struct tool_options *options)
{
	int status = TOOL_FOUND;

	if (!options->words_count)
		return show_mount(options->directory ? options->directory : ".");
	if (options->directory)
		return tool_fail("status takes -C DIR or files, not both");
	for (int i = 0; i < options->words_count; i++) {
		int one = show_file(options->words[i]);
		status = one > status ? one : status;
	}
	return status;
}

const struct tool_verb verb_status = {
	.name = "status",
	.accepts = "C",
	.usage =
		"  status [-C DIR] | status FILE...\n"
		"                how many memories there are and wait, by which model; or of each\n"
		"                FILE: "
		"indexed, pending, skipped: why, error: why (1: not all are indexed)\n",
	.words_min = 0,
	.words_max = 100000,
	.run = run,
};
