/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme config: the settings of a directory's collection.
 */
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LINES_MAX = 4096, WHY_MAX = 256 };

/* All lines in one write, so that all of them count or none. */
static int lines_make(const struct tool_options *options, char *lines, size_t *length)
{
	for (int i = 0; i < options->words_count; i++) {
		size_t n = strlen(options->words[i]);
		if (strchr(options->words[i], '\n'))
			return tool_fail("a setting is one line");
		if (n + 1 > LINES_MAX - *length)
			return tool_fail("that is too long");
		memcpy(lines + *length, options->words[i], n);
		lines[*length + n] = '\n';
		*length += n + 1;
	}
	return TOOL_FOUND;
}

static int set(const char *directory, const char *path, const struct tool_options *options)
{
	char lines[LINES_MAX], why[WHY_MAX];
	size_t length = 0;
	int status = lines_make(options, lines, &length);

	if (status != TOOL_FOUND)
		return status;
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && (errno == EROFS || errno == EACCES))
		return tool_fail("%s: %s", directory, strerror(errno));
	if (fd < 0)
		return door_open(directory, path) < 0 ? TOOL_ERROR
						      : tool_fail("%s: %s", path, strerror(errno));
	if (write(fd, lines, length) != (ssize_t)length) {
		int err = errno;
		ssize_t n = fgetxattr(fd, "user.mneme.why", why, sizeof(why) - 1);
		why[n > 0 ? n : 0] = 0;
		status = tool_fail("%s: %s", directory, n > 0 ? why : strerror(err));
	}
	close(fd);
	return status;
}

static int run(const struct tool_options *options)
{
	const char *directory = options->directory ? options->directory : ".";
	char path[TOOL_PATH_MAX];

	snprintf(path, sizeof(path), "%s/.mneme/config", directory);
	return options->words_count ? set(directory, path, options) : door_print(directory, path);
}

const struct tool_verb verb_config = {
	.name = "config",
	.accepts = "C",
	.usage = "  config [-C DIR] [NAME=VALUE]...\n"
		 "                shows the settings of DIR, or sets some; NAME= takes one away\n",
	.words_min = 0,
	.words_max = 16,
	.run = run,
};
