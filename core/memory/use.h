/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   how memories are used, and how those that are not used fade in the ranking. Off unless a
 *            directory says otherwise (user.mneme.learn, user.mneme.decay; the nearest above a file).
 *
 *   A memory is used when it is among the USE_BEST first of an answer that somebody got (search, near,
 *   recall), or is the file that the question was about; several times within USE_ONCE_MS are once. That
 *   a file is read is not seen: the kernel has its bytes.
 *
 *   Its activation at rest (Ebbinghaus 1885 for the form; that retrieval slows forgetting: Anderson and
 *   Schooler 1991), with t since it was used or changed last, n uses and the half-life h of its
 *   directory:
 *
 *     activation = confidence * 2^(-t / (h * (1 + ln(1 + n))))      pinned: = confidence
 *
 *   A score above 0 is multiplied by (1 + activation) / 2, one below 0 is divided by it: nothing loses
 *   more than half of its score, and nothing that was found is left out for it.
 *
 * Records:   (i, USE, -): struct names_use.
 * Invariants: no read commits anything: uses are counted in a table of USE_MAX memories, and written
 *            together USE_WRITE_S later and at the close. A crash loses those of that time; what the
 *            table has no room for is not counted (`dropped`).
 * Threading: all functions; its own lock, under which nothing else is taken.
 * Failure:   a count that cannot be written is dropped.
 */
#ifndef MNEME_CORE_MEMORY_USE_H
#define MNEME_CORE_MEMORY_USE_H

#include "core/memory/memory.h"
#include "core/search/fuse.h"

#include <pthread.h>

enum { USE_MAX = 16384, USE_BEST = 10, USE_ONCE_MS = 1000, USE_WRITE_S = 30 };

struct use_entry {
	uint64_t inode; /* 0: none */
	uint64_t count;
	int64_t last_ns; /* since 1970, UTC */
};

struct bridge_periodic;

struct memory_use {
	_Atomic int on;                /* [A] some directory learns or lets fade, or did */
	_Atomic int described;         /* [A] some file has, or had, a confidence or a pin */
	struct bridge_periodic *alarm; /* [I] NULL: read-only */
	pthread_mutex_t lock;
	struct use_entry *waiting; /* [lock] 2 * USE_MAX slots, NULL: none waits */
	uint32_t count;            /* [lock] */
	uint64_t counted, dropped; /* [lock] */
};

struct use_stats {
	uint64_t counted, dropped, waiting; /* uses; memories whose uses are not written yet */
	/* Pairs used together that were noted; that found no room; links written for them; and links
	 * to what is near by meaning. Since the open. */
	uint64_t pairs, pairs_dropped, pairs_written, neighbours_written;
};
void use_read_stats(struct memory *mem, struct use_stats *out);

int use_start(struct memory *mem);
/* Writes what waits; nothing is noted any more. */
void use_stop(struct memory *mem);

/* These were used now, as far as their directories learn. */
void use_note(struct memory *mem, const uint64_t *inodes, unsigned count);
void use_note_answer(struct memory *mem, uint64_t asked, const struct memory_answer *answer);
/* The file is gone. */
void use_drop(struct memory *mem, uint64_t inode);
/* What its attributes say: confidence, 0 .. 1, and whether it is pinned. Cheap where no file says so. */
void use_describe(struct memory *mem, uint64_t inode, double *confidence, int *is_pinned);
/* Scores as said above, and in order. 1: some depend on the time. */
int use_rank(struct memory *mem, struct fuse_hit *hits, unsigned count);

#endif
