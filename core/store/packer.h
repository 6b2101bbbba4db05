/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   packs small values back into their leaf, off the hot path: decides which, when, and
 *            trains the dictionary for it.
 *
 * A value of more than FMT_CELL_MAX bytes has pages of its own, so one of 1,001 to 4,096 bytes
 *            takes 4,096. In a store made with zstd a pass walks the leaves, and puts such a value
 *            into its leaf where it fits after compression. Values are taken only when a checkpoint
 *            has written them and they have not changed since; a subtree that is older than the
 *            last pass is skipped. The first passes only collect samples; when there are enough,
 *            the dictionary is trained.
 * Invariants: what a key holds never changes. A pack is an ordinary change of the tree, but without
 *            a log record: a crash before the next checkpoint leaves the value where it was. The
 *            original is given up only after the packed form was read again and compared
 *            (packing_make()).
 * Threading: one step at a time. A step takes a few leaves of one shard under its lock for reading,
 *            compresses without a lock, and puts each value under the lock for writing
 *            (commit_pack()).
 * Failure:   a step without room is -EBUSY (the arena is in use: later) or -ENOSPC, -ENOBUFS,
 *            -ENOMEM, -EIO, -EROFS: the pass is given up, nothing is lost. Values that cannot be
 *            read stay as they are.
 */
#ifndef MNEME_CORE_STORE_PACKER_H
#define MNEME_CORE_STORE_PACKER_H

#include "core/store/store.h"

struct packer;

struct packer_stats {
	uint64_t values, saved_bytes; /* since the store was opened */
};

/* Of a store without compression, or one that is only read: none is made. 0, -ENOMEM. */
int packer_new(struct mneme *m);
void packer_free(struct mneme *m);
/* Until packer_release() no step does anything (-EBUSY); one that runs ends first. */
void packer_hold(struct mneme *m);
void packer_release(struct mneme *m);
/* What it remembers of values that it saw, samples too, goes: all are tried again. [held] */
void packer_forget(struct mneme *m);
/* One bounded step of a pass: 1 when there is more to do, 0 when there is not until another
 * checkpoint is durable, -errno as above. */
int packer_step(struct mneme *m);
/* All steps, with checkpoints for the room that they need: for tests and benchmarks. */
int packer_run(struct mneme *m);
/* What the superblock keeps: values born up to that epoch were tried. */
uint64_t packer_until(const struct mneme *m);
void packer_get_stats(const struct mneme *m, struct packer_stats *out);

#endif
