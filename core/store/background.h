/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the store's background work, and the bridge that it runs on: the one place that decides
 *            what is done when, and by whom.
 *
 *   What                            Priority   When
 *   flush of the log                critical   flush_ms after a commit, or at flush_bytes
 *   spare log segment               normal     when the last one was taken into use
 *   empty arena given back          low        a second after the last commit, and after a checkpoint
 *                                              that came later or ran then
 *   pieces of the map dropped       -          after a commit that made the arena larger, by the
 *                                              committer; else by who maps another (heap_map.h)
 *   checkpoint                      low        many segments are in use; or checkpoint_ms after the
 *                                              first change
 *   spill (checkpoint.h)            low        half of the arena is in use, and no checkpoint is due
 *   either of them that is late     high       it was not begun within a second, or three quarters
 *                                              of the arena or of the segments are in use
 *   a step of packing (packer.h)    low        after a checkpoint, then a tenth of the time
 *                                              until the pass is over; later where the arena is in use
 *
 *            Who waits for the log writes it: a `strict` commit or a sync leads or follows in
 *            wal_sync_to() on its own thread, because to wake another thread costs half of what the
 *            sync itself takes. What nobody waits for is the bridge's. A committer that finds
 *            no room at all runs the checkpoint itself, or waits for the one that runs.
 * Invariants: each kind of work is queued at most once. Committers only set flags, and wake a thread
 *            when a flag changes.
 * Threading: background_poke() from any thread without a shard lock; the others while opening
 *            and closing.
 * Failure:   background_start(): -ENOMEM, -EAGAIN (no thread). Work that fails turns the store
 *            read-only, see store_fail().
 */
#ifndef MNEME_CORE_STORE_BACKGROUND_H
#define MNEME_CORE_STORE_BACKGROUND_H

struct bridge;
struct mneme;

/* Makes the bridge. Without it checkpoints run only when asked for. */
int background_start(struct mneme *m);
/* Finishes what is queued and stops the threads; nobody else may use the bridge any more. */
void background_stop(struct mneme *m);
/* After a commit: sees to it that what is due will be done. Cheap. */
void background_poke(struct mneme *m);
/* The arena is full, or soon will be: spills it, or makes a checkpoint where one is due anyway. Also
 * without background_start(). No lock held. */
int background_make_room(struct mneme *m);
/* The store's bridge, for the layers above; they drain what is theirs before the store is closed. NULL
 * in tests that want no threads. Borrowed. */
struct bridge *background_bridge(const struct mneme *m);

#endif
