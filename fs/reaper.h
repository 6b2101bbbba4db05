/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   background work of the mount: removes inodes that have no name and that nobody has open,
 *            small ones at once, large ones piece by piece on a thread of its own, and those that a
 *            crash left over at the mount.
 * Invariants: an inode is removed only if its nlink is 0; its ORPHAN key goes with the last piece, so
 *            an interrupted removal is taken up at the next mount.
 * Threading: thread-safe.
 * Failure:   what cannot be removed now stays an orphan until the next mount.
 */
#ifndef MNEME_FS_REAPER_H
#define MNEME_FS_REAPER_H

#include <stdint.h>

struct fs;
struct reaper;

/* Starts the thread. */
int reaper_new(struct fs *fs, struct reaper **out);
/* Ends the thread; what is still queued waits for the next mount. Accepts NULL. */
void reaper_free(struct reaper *reaper);
/* Removes the inode if it has no name; a large one later. */
void reaper_remove(struct fs *fs, uint64_t ino);
/* Soon afterwards, tells the kernel to drop the pages that it caches of the inode. Not from the handler:
 * the kernel would wait for a page whose read may stand in line behind that handler. */
void reaper_invalidate(struct fs *fs, uint64_t ino);
/* At the mount: removes everything that was left over. Returns 0 or -errno. */
int reaper_recover(struct fs *fs);

/* One more with each piece that was removed: who was refused for want of room, and sees another figure
 * than before his try, may try again. */
uint64_t reaper_removals(const struct reaper *reaper);

/* Files without a name that are still there; waits up to `timeout_ms` until there are none. -errno. */
int64_t reaper_orphans(struct fs *fs, unsigned timeout_ms);

/* Waits, but at most `timeout_ms`, until what was handed to the thread so far is removed, and, if
 * `checkpoint` is not 0, until a checkpoint has given its space back. Returns 1 if there was something to
 * wait for and it is done, else 0. */
int reaper_settle(struct reaper *reaper, int checkpoint, unsigned timeout_ms);

#endif
