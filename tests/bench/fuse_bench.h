/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the parts of the mount's benchmark share: the places that they measure, and the table.
 * Invariants: the first place is mnemefs, the second the local filesystem below its store; a part runs
 *            round by round, all places in turn in each, and adds the ratio of each round to the table.
 */
#ifndef MNEME_TESTS_BENCH_FUSE_BENCH_H
#define MNEME_TESTS_BENCH_FUSE_BENCH_H

#include "tests/bench/table.h"

enum { CLIENTS_MAX = 16, PLACES_MAX = 6, SAMPLE_BYTES = 512, FUSE_PATH = 600 };

struct place {
	char name[24];
	char dir[480];
};

struct fuse_bench {
	struct table table;
	struct place places[PLACES_MAX];
	char work[256]; /* our folder on the disk */
	const char *transport, *memory;
	unsigned rounds;
	int place_count, clients, files;
	int floor;      /* its place; 0: there is none */
	int mebibytes;  /* of the large file */
	int tree_files; /* of the tree */
};

/* Mounts a new store of that durability at `dir`, which is made: 0 or -1. */
int fuse_mount(const struct fuse_bench *b, const char *name, const char *durability,
	       const char *dir);
int fuse_unmount(const char *dir);

/* Adds a figure of a place in this round; of the others the ratio of mnemefs to it too. Rates are better
 * when high, times when low. `mine` is what mnemefs had. */
void fuse_add(struct fuse_bench *b, const char *what, int place, const char *unit, double value,
	      double mine);
/* Holds the ratio to that place, if it was there. */
void fuse_hold(struct fuse_bench *b, const char *what, const char *place, double target,
	       int lower_is_good);

/* Each: 0, or -1 after a message. */
int fuse_small(struct fuse_bench *b);
int fuse_strict(struct fuse_bench *b);
int fuse_bulk(struct fuse_bench *b);
int fuse_tree(struct fuse_bench *b);

#endif
