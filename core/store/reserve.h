/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   room that is set aside for values to come (fallocate): how many a shard's record says, and
 *            what that is in pages of the heap.
 * Invariants: the record of shard s is (s, RESERVED, -): a number of values of MNEME_CHUNK_SIZE, 8 bytes
 *            little-endian; none: 0. It changes in the transaction that makes or fills those places, so
 *            the log has it, and `reserved` of the shard is what the tree says. The heap keeps the pages
 *            of all shards free of other promises (heap.h). A transaction that lowers the number may
 *            promise that much more; what it does not need is free.
 * Threading: the caller holds the shards for writing; reserve_load: nobody else has the store yet.
 * Failure:   -ENOSPC, -EUCLEAN.
 */
#ifndef MNEME_CORE_STORE_RESERVE_H
#define MNEME_CORE_STORE_RESERVE_H

#include "core/store/commit.h"

/* By how many pages the operations change what is set aside. */
int64_t reserve_change(struct mneme *m, const struct commit_op *ops, uint32_t count);
/* They were applied. Of what they add, the pages were promised. */
void reserve_settle(struct mneme *m, const struct commit_op *ops, uint32_t count, int64_t pages);
/* After recovery: sets aside what the records say. A heap that has less than that gives nothing to
 * others until it has. */
int reserve_load(struct mneme *m);

#endif
