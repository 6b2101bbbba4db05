/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the kernel says of a caller besides what comes with its request: proc(5).
 * Invariants: a caller waits for its answer, so its id is not another one's meanwhile. Who is of a pid
 *            namespace that the mount does not see has the id 0: of it nothing is known.
 * Threading: any thread.
 * Failure:   what cannot be read is as if it were empty.
 */
#ifndef MNEME_FS_PROC_H
#define MNEME_FS_PROC_H

#include <stddef.h>
#include <sys/types.h>

enum { PROC_PATH = 32, PROC_STATUS_SIZE = 16384 };

/* "/proc/PID/FILE"; FILE has up to 12 bytes. */
void proc_path(char out[PROC_PATH], pid_t pid, const char *file);
/* Reads /proc/PID/FILE, up to `size` - 1 bytes, and ends it with a zero: how many. */
size_t proc_read(pid_t pid, const char *file, char *out, size_t size);
/* 1: the thread was killed (SIGKILL, or a signal whose default action ends it) and ends as soon as it
 * has its answer. */
int proc_is_killed(pid_t tid);

#endif
