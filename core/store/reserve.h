/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   room that is set aside for values to come (fallocate): how many a shard's record says, and
 *            what that is in pages of the heap.
 * Invariants: the record of shard s is (s, RESERVED, -): a number of values of MNEME_CHUNK_SIZE, 8 bytes
 *            little-endian; none: 0. It changes in the transaction that makes or fills those places, so
 *            the log has it, and `reserved` of the shard is what the tree says. For each value there is a
 *            run of pages that nobody else gets (aside.h) or, where no run was free, as many pages as a
 *            scattered value may need are kept free of other promises (heap.h): these are `loose`. A
 *            transaction that lowers the number has what it gives up for its own values; what it does
 *            not need is free. Besides, a page for MNEME_RESERVE_LEAF values is kept free for the leaves
 *            that they will be in; who fills one may have all of these, and so never takes for good what
 *            the heap keeps back for deletes.
 * Threading: the caller holds the shards for writing; reserve_load: nobody else has the store yet.
 * Failure:   -ENOSPC, -EUCLEAN.
 */
#ifndef MNEME_CORE_STORE_RESERVE_H
#define MNEME_CORE_STORE_RESERVE_H

#include "core/store/commit.h"

/* How a transaction changes what is set aside. */
struct reserve {
	int64_t values;  /* negative: so many fewer */
	uint64_t quads;  /* of them, with a run */
	uint64_t loose;  /* and without */
	uint64_t leaves; /* pages for leaves: what it adds, or may have */
	uint64_t wanted; /* pages that it adds */
};

/* Before the operations are prepared: takes the room of values that they add, keeping `keep` back
 * (heap_promise), or claims that of those that they take away. 0 or -ENOSPC. */
int reserve_begin(struct mneme *m, const struct commit_op *ops, uint32_t count, int64_t keep,
		  struct reserve *r);
/* Pages that the transaction may promise beyond others, for what it takes away. */
uint64_t reserve_handed(const struct reserve *r);
/* They were not applied. */
void reserve_undo(struct mneme *m, const struct reserve *r);
/* They were applied; `left` of the quads that were claimed are not used. */
void reserve_settle(struct mneme *m, const struct commit_op *ops, uint32_t count,
		    const struct reserve *r, uint64_t left);
/* After recovery: sets aside what the records say. A heap that has less than that gives nothing to
 * others until it has. */
int reserve_load(struct mneme *m);

#endif
