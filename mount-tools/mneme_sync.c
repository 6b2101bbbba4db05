/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme sync: waits until all that was saved is on the disk and can be found.
 */
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int run(const struct tool_options *options)
{
	const char *directory = options->words_count ? options->words[0] : ".";
	char root[TOOL_PATH_MAX];
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status = TOOL_FOUND;

	if (fd < 0)
		return tool_fail("%s: %s", directory, strerror(errno));
	snprintf(root, sizeof(root), "%s/.mneme", directory);
	if (access(root, F_OK))
		status = tool_fail("%s is not in a mounted mnemefs", directory);
	else if (fsync(fd))
		status = tool_fail("%s: %s", directory, strerror(errno));
	close(fd);
	return status;
}

const struct tool_verb verb_sync = {
	.name = "sync",
	.accepts = "",
	.usage = "  sync [DIR]    wait until all that was saved is on the disk and can be found\n",
	.words_min = 0,
	.words_max = 1,
	.run = run,
};
