/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   large values that are written once: straight from the caller's bytes to a run of pages of
 *            the heap, which the tree refers to and the log only names.
 * Invariants: the bytes are in the heap's file before the commit applies, and durable before the block
 *            of the log that names them is written (wal.h). Until the checkpoint that closes the
 *            value's epoch the run is the log's: no bitmap on the disk has it (place.c: page_complete),
 *            and once given up it is free only behind a durable checkpoint, not behind a spill
 *            (it is never `young`), so what a record names stays as it was as long as the record may be
 *            replayed. What recovery makes of it: named.h.
 * Threading: the caller holds the shards of the operations for writing.
 * Failure:   where no run is to be had, or it is not worth it, the values go the way of all others. A
 *            failed write makes the store read-only.
 */
#ifndef MNEME_CORE_STORE_RUNS_H
#define MNEME_CORE_STORE_RUNS_H

#include "core/store/commit.h"

/* Gives the large values of a transaction that is logged their runs (op->run) and writes them; `keep` is
 * what the heap keeps back (heap_promise). */
int runs_write(struct mneme *m, struct commit_op *ops, uint32_t count, int64_t keep);
/* The transaction is not applied: gives the runs back. Returns how many pages they were. */
uint64_t runs_give_up(struct mneme *m, struct commit_op *ops, uint32_t count);
/* Says whether the log may name runs: whether the durable superblock tells older programs of it. */
void runs_allow(struct mneme *m, const struct fmt_super *super);

#endif
