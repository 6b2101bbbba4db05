/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme compact: takes what was deleted or overwritten out of the store's files.
 */
#include "core/mneme.h"
#include "core/mneme_ioctl.h"
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int refused(const char *what, int error)
{
	if (error == ENOTTY)
		return tool_fail("%s is not in a mounted mnemefs; -S STORE is for a store that is "
				 "not mounted",
				 what);
	if (error == EPERM)
		return tool_fail("%s: only root, and who owns the root directory of the mount, may "
				 "compact it",
				 what);
	if (error == ENOSPC)
		return tool_fail("%s: the disk has no room for what has to be written first; make "
				 "room and run it again",
				 what);
	return tool_fail("%s: it was not finished (%s); nothing is lost, run it again", what,
			 strerror(error));
}

/* What was deleted before is told first: a file that was written last is on its way yet. */
int compact_mount(const char *directory, struct mneme_ioc_compact *out)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return tool_fail("%s: %s", directory, strerror(errno));
	out->version = MNEME_IOC_VERSION;
	if (fsync(fd) || ioctl(fd, MNEME_IOC_SIZED(MNEME_IOC_NR_COMPACT, sizeof(*out)), out))
		error = errno;
	close(fd);
	return error ? refused(directory, error) : TOOL_FOUND;
}

static int compact_store(const char *store, struct mneme_ioc_compact *out)
{
	struct mneme_compacted done;
	struct mneme_error error;
	struct mneme *engine;

	if (mneme_open(store, NULL, &engine, &error))
		return tool_fail("%s", error.message);
	int rc = mneme_compact(engine, NULL, &done);
	int closed = mneme_close(engine);
	if (rc || closed)
		return refused(store, rc ? -rc : -closed);
	out->cleaned_bytes = done.cleaned_bytes;
	out->kept_bytes = done.kept_bytes;
	return TOOL_FOUND;
}

int compact_conclude(const struct mneme_ioc_compact *done)
{
	if (done->open_files)
		return tool_fail("%llu deleted files are still open: what they hold is there until "
				 "they are closed; then run mneme compact",
				 (unsigned long long)done->open_files);
	if (done->kept_bytes)
		return tool_fail("%.1f MiB are kept for programs that have the store open "
				 "read-only: run mneme compact when they have ended",
				 (double)done->kept_bytes / (1 << 20));
	return TOOL_FOUND;
}

static int run(const struct tool_options *options)
{
	const char *directory = options->words_count ? options->words[0] : ".";
	struct mneme_ioc_compact done = {0};

	if (options->store && options->words_count)
		return tool_fail("give DIR or -S STORE, not both");
	int status = options->store ? compact_store(options->store, &done)
				    : compact_mount(directory, &done);
	if (status != TOOL_FOUND)
		return status;
	printf("%.1f MiB overwritten\n", (double)done.cleaned_bytes / (1 << 20));
	return compact_conclude(&done);
}

const struct tool_verb verb_compact = {
	.name = "compact",
	.accepts = "S",
	.usage = "  compact [DIR]\n"
		 "                take what was deleted or overwritten out of the store's files\n",
	.words_min = 0,
	.words_max = 1,
	.run = run,
};
