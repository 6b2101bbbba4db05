/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   writes the dirty arena to the heap; when, is decided in background.h.
 * Invariants: one checkpoint at a time. Order of writing: pages and values, bitmaps, sync of the heap,
 *            space table and superblock, sync of those; only then are freed pages and log segments used
 *            again. Superblock, space table and bitmaps each exist twice, and the copy that counts is
 *            not touched.
 * Threading: all functions are thread-safe and must be called without a shard lock.
 * Failure:   a failed write or sync makes the store read-only and is not repeated, whatever the error.
 */
#ifndef MNEME_CORE_STORE_CHECKPOINT_H
#define MNEME_CORE_STORE_CHECKPOINT_H

#include "core/store/store.h"

struct checkpoint_stats {
	uint64_t count, pages, ns_last, freeze_ns_last, freeze_ns_max, log_begin;
};

int checkpoint_new(struct mneme *m);
void checkpoint_free(struct mneme *m);

/* Runs a checkpoint that covers everything before the call, or waits for one that does. */
int checkpoint_run(struct mneme *m);
/* Makes room in the arena alone, by a spill: writes it to the heap without making that durable, so that
 * neither the disk is waited for nor the log gets shorter. Pages that the last durable superblock does
 * not reach are free when they are given up; the others wait for the next checkpoint. Or waits for a
 * spill or checkpoint that begins after the call. */
int checkpoint_spill(struct mneme *m);
/* Bytes of log since the last checkpoint, and of the runs that it names. */
uint64_t checkpoint_log_bytes(struct mneme *m);
/* Waits for the checkpoint that runs now, if one does: its result, or that of the last one. */
int checkpoint_wait(struct mneme *m);
/* The same to get space back: -ENOSPC when nothing came of it. */
int checkpoint_reclaim(struct mneme *m);
void checkpoint_get_stats(struct mneme *m, struct checkpoint_stats *out);

#endif
