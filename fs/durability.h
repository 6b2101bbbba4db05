/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   when a change of a file is on the disk, as its directory says: user.mneme.durability is
 *            buffered or strict, of a file or of all that is below a directory; the nearest one
 *            upwards counts, of a file with several names above its first one. There is no `memory`:
 *            what refers to a file (links, passages) is in the log, where the file then would not be.
 * Invariants: a change of several inodes (a rename, a new name) takes the strongest of theirs; what
 *            has none is as the mount. What is asked for with the change itself (O_SYNC, an ioctl)
 *            goes first.
 * Threading: any handler thread, without a transaction.
 * Failure:   -EINVAL: no such mode.
 */
#ifndef MNEME_FS_DURABILITY_H
#define MNEME_FS_DURABILITY_H

#include "fs/fs.h"

#define DURABILITY_ATTRIBUTE "user.mneme.durability"

/* Whether this store has, or had, such a directory: else nothing is looked for. */
void durability_open(struct fs *fs);
/* Before the attribute is set. */
int durability_prepare(struct fs *fs, const void *value, size_t length);
/* After it was set or removed: what was changed until now is durable, whatever the mount is. */
int durability_changed(struct fs *fs);
/* For a change of these inodes. MNEME_DURABILITY_DEFAULT: as the mount. */
enum mneme_durability durability_of(struct fs *fs, const uint64_t *inodes, unsigned count);

#endif
