/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the simulated disk behind io.h: a small filesystem in memory that knows, for every file
 *            and directory, what is durable and what is merely written. It fails any call on demand
 *            and builds the states that a power loss could leave.
 * Invariants: model of a disk: data written and not synced may, after a crash, be there or not, in
 *            any subset of writes, and a write may be torn at 512-byte sectors. Sizes, names and
 *            data are separate: a file may have its new size without the data (zeros), a created or
 *            renamed name may be missing until its directory is synced. sync makes data and size of
 *            one file durable; sync_dir makes the names of one directory durable.
 * Threading: one big lock; safe, not fast.
 * Failure:   as io.h. sim_* functions return 0 or -errno (-ENOMEM).
 */
#ifndef MNEME_CORE_STORE_IO_SIM_H
#define MNEME_CORE_STORE_IO_SIM_H

#include "core/store/io.h"

struct sim; /* the simulated disk; outlives the io's that are opened on it */

int sim_new(struct sim **out);
void sim_free(struct sim *sim);
/* A new io bound to the disk (as a process that opens the store directory). */
int sim_io_new(struct sim *sim, struct io **out);

/* Kinds of sites, for faults. */
enum sim_site {
	SIM_OPEN,
	SIM_READ,
	SIM_WRITE,
	SIM_SYNC,
	SIM_SYNC_DIR,
	SIM_TRUNCATE,
	SIM_ALLOCATE,
	SIM_RENAME,
	SIM_UNLINK,
	SIM_MKDIR,
	SIM_MAP,
	SIM_SITES
};

enum sim_effect {
	SIM_FAIL,           /* return the error, do nothing */
	SIM_SHORT,          /* read/write: transfer only half (at least 1 byte), no error */
	SIM_HALF_THEN_FAIL, /* write: half of it reaches the cache, then the error */
};

/* Fails the nth call from now (1 = the next) of any kind in `sites` (a bit mask of 1 << enum
 * sim_site) with `error` (an errno, positive), once or for good. nth 0 disarms. */
void sim_fail(struct sim *sim, uint32_t sites, uint64_t nth, int error, enum sim_effect effect,
	      int for_good);
/* Calls seen of the kinds in `sites` since the disk was made. */
uint64_t sim_calls(const struct sim *sim, uint32_t sites);
/* Syncs tried again on a file after its sync failed (must stay 0). */
uint64_t sim_syncs_after_failure(const struct sim *sim);

/* Recording: every change since sim_new is kept as a history of events. A crash point is a prefix of
 * it: 0 .. sim_events(). */
uint64_t sim_events(const struct sim *sim);

enum sim_crash {
	SIM_CRASH_NONE_KEPT,  /* nothing un-synced survives */
	SIM_CRASH_ALL_KEPT,   /* everything written survives */
	SIM_CRASH_SUBSET,     /* a random subset of un-synced writes, sizes and names survives */
	SIM_CRASH_TORN,       /* the same, and surviving writes lose random 512-byte sectors */
	SIM_CRASH_SIZE_ONLY,  /* new sizes survive, the data is zeros */
	SIM_CRASH_NAMES_LOST, /* data survives, un-synced directory entries do not */
	SIM_CRASH_KINDS
};

/* Builds a new disk: the state of `sim` after a power loss just behind event `point`. `seed` chooses
 * the subset. The caller frees it. The new disk starts with that state durable and no history. */
int sim_crash(const struct sim *sim, uint64_t point, enum sim_crash kind, uint64_t seed,
	      struct sim **out);
/* A full copy of the disk as it is now (cache and durable state), for corruption tests. */
int sim_clone(const struct sim *sim, struct sim **out);

/* Direct access to a file's present bytes, for corruption tests: size, and a pointer valid until the
 * next change. -ENOENT. */
int sim_file(struct sim *sim, const char *name, uint8_t **bytes, uint64_t *size);
/* Calls each with every file name of the disk. */
void sim_each_file(struct sim *sim, void (*each)(void *arg, const char *name, uint64_t size),
		   void *arg);
/* Makes every io of the disk believe in a reader with that mark, or in none. The marks of its own readers
 * are not seen. */
void sim_set_reader(struct sim *sim, int present, uint64_t mark);
/* Total allocated bytes at which allocate, truncate-grow and extending writes give -ENOSPC (0: no
 * limit). */
void sim_limit(struct sim *sim, uint64_t bytes);

#endif
