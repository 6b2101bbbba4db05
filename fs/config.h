/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   `D/.mneme/config`: the settings of the collection that a directory belongs to, as lines
 *            NAME=VALUE, and changing them by writing such lines. A setting is an attribute of the
 *            directory; what counts is the nearest one upwards.
 * Threading: any handler thread.
 * Failure:   -EINVAL and a sentence; -EACCES, -EROFS, -EPERM: the caller may not write to the directory;
 *            -EOPNOTSUPP: the mount has no memories.
 */
#ifndef MNEME_FS_CONFIG_H
#define MNEME_FS_CONFIG_H

#include "fs/fs.h"

enum { CONFIG_WHY = 256, CONFIG_WRITE_MAX = 4096 };

/* *text is of alloc_get(). */
int config_write_text(struct fs *fs, uint64_t directory, char **text, size_t *length);
/* Whole lines; all are looked at before the first one counts. `why` gets a sentence with a failure. */
int config_change(struct op *op, uint64_t directory, const char *lines, size_t length,
		  char why[CONFIG_WHY]);

#endif
