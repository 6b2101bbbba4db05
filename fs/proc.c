/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   proc.h.
 * Source:    proc(5), signal(7): of a signal that ends a process the kernel makes a SIGKILL that waits
 *            for each of its threads.
 */
#include "fs/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* By hand, for printf wants half of the stack that a handler has. */
void proc_path(char out[PROC_PATH], pid_t pid, const char *file)
{
	char digits[12], *at = digits + sizeof(digits);

	*--at = 0;
	do
		*--at = (char)('0' + pid % 10);
	while (pid /= 10);
	strcpy(stpcpy(stpcpy(stpcpy(out, "/proc/"), at), "/"), file);
}

size_t proc_read(pid_t pid, const char *file, char *out, size_t size)
{
	char path[PROC_PATH];
	size_t used = 0;
	ssize_t n;

	out[0] = 0;
	if (pid <= 0)
		return 0;
	proc_path(path, pid, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	while ((n = read(fd, out + used, size - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	out[used] = 0;
	return used;
}

int proc_is_killed(pid_t tid)
{
	static const char name[] = "\nSigPnd:";
	static _Thread_local char status[PROC_STATUS_SIZE]; /* not on the stack */

	proc_read(tid, "status", status, sizeof(status));
	const char *at = strstr(status, name);
	return at && strtoull(at + sizeof(name) - 1, NULL, 16) >> (SIGKILL - 1) & 1;
}
