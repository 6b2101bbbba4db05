/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what /.mneme/metrics and /.mneme/stats show: for each operation count, errors and a
 *            latency histogram; stack watermark; and the engine's and the pools' figures.
 * Invariants: recording allocates nothing.
 * Threading: any thread may record; texts are made from a picture that may be some records apart.
 * Failure:   metrics_new(): -ENOMEM. Texts: -ENOSPC when the buffer is too small.
 */
#ifndef MNEME_FS_METRICS_H
#define MNEME_FS_METRICS_H

#include <stddef.h>
#include <stdint.h>

enum metrics_op {
	METRICS_LOOKUP,
	METRICS_FORGET,
	METRICS_GETATTR,
	METRICS_SETATTR,
	METRICS_READLINK,
	METRICS_MKNOD,
	METRICS_MKDIR,
	METRICS_UNLINK,
	METRICS_RMDIR,
	METRICS_SYMLINK,
	METRICS_RENAME,
	METRICS_LINK,
	METRICS_OPEN,
	METRICS_READ,
	METRICS_WRITE,
	METRICS_FLUSH,
	METRICS_RELEASE,
	METRICS_FSYNC,
	METRICS_OPENDIR,
	METRICS_READDIR,
	METRICS_READDIRPLUS,
	METRICS_RELEASEDIR,
	METRICS_FSYNCDIR,
	METRICS_STATFS,
	METRICS_SETXATTR,
	METRICS_GETXATTR,
	METRICS_LISTXATTR,
	METRICS_REMOVEXATTR,
	METRICS_CREATE,
	METRICS_IOCTL,
	METRICS_FALLOCATE,
	METRICS_COPY_RANGE,
	METRICS_LSEEK,
	METRICS_TMPFILE,
	METRICS_STATX,
	METRICS_POLL,
	METRICS_OPS,
};

struct fs;
struct metrics;

int metrics_new(struct metrics **out);
void metrics_free(struct metrics *metrics);
const char *metrics_op_name(enum metrics_op op);
/* `error` is 0 or -errno. */
void metrics_record(struct metrics *metrics, enum metrics_op op, uint64_t ns, int error);
/* Monotonic nanoseconds. */
uint64_t metrics_now(void);

/* Writes the text (Prometheus exposition format, or for people) into `buffer`; *length receives its
 * length without a terminating NUL. */
int metrics_write_prometheus(struct fs *fs, char *buffer, size_t capacity, size_t *length);
int metrics_write_stats(struct fs *fs, char *buffer, size_t capacity, size_t *length);

#endif
