/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   links of the graph that follow from use and from meaning. Off unless a directory says
 *            otherwise: user.mneme.learn (used together), user.mneme.neighbours (near by meaning).
 *
 *   Files are used together when they are among the TOGETHER_BEST first of one use (use.h). The link
 *   has no direction: it leads from the older file to the newer one, and each such use takes its weight a
 *   tenth of the way to 1 (Hebb 1949). A file has links to its N nearest, with the cosine as weight,
 *   found when it was embedded, or N was set.
 *
 * Invariants: no read commits anything: pairs wait in a table of TOGETHER_MAX, and are written with
 *            the uses. Neighbours are found one file at a time, as low work of the bridge.
 * Threading: all functions; its own lock, under which nothing else is taken.
 * Failure:   what cannot be written or has no room is dropped; of neighbours tried after the next change.
 */
#ifndef MNEME_CORE_MEMORY_TOGETHER_H
#define MNEME_CORE_MEMORY_TOGETHER_H

#include <pthread.h>
#include <stdint.h>

enum { TOGETHER_BEST = 5, TOGETHER_MAX = 4096 };

struct memory;
struct bridge_periodic;
struct use_stats;

struct together_pair {
	uint64_t from, to; /* from 0: none */
	uint32_t times;
};

struct memory_together {
	pthread_mutex_t lock;
	struct together_pair *waiting;          /* [lock] TOGETHER_MAX slots; NULL: none waits */
	struct bridge_periodic *alarm;          /* [I] NULL: read-only */
	_Atomic int all;                        /* [A] the neighbours of all files are due */
	uint64_t pairs, dropped;                /* [lock] noted; without room */
	_Atomic uint64_t written, near_written; /* [A] links */
};

/* Those of its fields that are of pairs and neighbours. */
void together_read_stats(struct memory *mem, struct use_stats *out);
int together_start(struct memory *mem);
void together_stop(struct memory *mem);
/* These were used now, the best first. */
void together_note(struct memory *mem, const uint64_t *inodes, unsigned count);
/* Writes the pairs that wait. */
void together_write(struct memory *mem);
/* The file was embedded: its neighbours are looked for. 0: all files. Cheap. */
void together_embedded(struct memory *mem, uint64_t inode);

#endif
