/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   sequences of operations on a store on the simulated disk, and what a crash may leave
 *            of them.
 * Rule:      a crash leaves the state at a checkpoint c (every operation before it), and then those
 *            of the operations c <= i < p that are logged: all but MNEME_DURABILITY_MEMORY, and of
 *            those the ones that the engine says it logged, behind a conflict with a logged one. A
 *            strict operation that returned raises the least p; a sync, checkpoint, compaction or
 *            close that returned raises the least c and p. A pack or spill changes nothing and
 *            promises nothing. So without memory operations the state is a prefix of the history.
 * Threading: one thread.
 */
#ifndef MNEME_TESTS_CRASH_HISTORY_H
#define MNEME_TESTS_CRASH_HISTORY_H

#include "core/store/io_sim.h"
#include "tests/crash/model.h"

enum { OP_EFFECTS_MAX = 48, HISTORY_MAX = 48 };

enum op_kind {
	OP_PUT,
	OP_PATCH,
	OP_TRUNCATE,
	OP_DELETE,
	OP_RANGE,
	OP_TXN,    /* optimistic, both shards */
	OP_LOCKED, /* locked, both shards */
	OP_SWAP,   /* compare-and-swap; `wrong` expects another value */
	OP_PACK,   /* changes no key; small values go into their leaves */
	OP_SPILL,  /* changes no key; the arena goes to the heap, not durably */
	OP_SYNC,
	OP_CHECKPOINT,
	OP_COMPACT, /* a checkpoint, and more that changes no key */
	OP_REOPEN,
};

struct op {
	enum op_kind kind;
	enum mneme_durability durability;
	int wrong;
	uint32_t count;
	struct effect effects[OP_EFFECTS_MAX];
};

struct history {
	struct sim *disk;
	struct mneme *m; /* NULL: could not be opened */
	struct model base;
	uint32_t count;
	struct op ops[HISTORY_MAX];
	uint64_t begun[HISTORY_MAX]; /* events of the disk before and after an operation */
	uint64_t returned[HISTORY_MAX];
	int acknowledged[HISTORY_MAX]; /* it returned 0 */
	int logged[HISTORY_MAX];
	uint64_t opened;                                 /* events when the first open returned */
	uint64_t sums[HISTORY_MAX + 1][HISTORY_MAX + 1]; /* [c][p] */
};

/* Opens `io` with the small sizes that the tests use. */
int history_open(struct sim *disk, struct mneme **out, struct mneme_error *error);
int history_create(struct sim *disk);
/* From now on stores are opened with an arena of that many bytes; 0: the usual one. */
void history_arena(uint64_t bytes);
/* Gives a store its dictionary, if it has none, and writes it: what packing needs. */
int history_adopt(struct mneme *m);
/* A disk like this one with everything durable and no history. NULL: no memory. */
struct sim *disk_settled(const struct sim *disk);

/* Templates 0 .. op_templates() - 1 cover each kind with each durability. Values come from `seed`.
 * */
uint32_t op_templates(void);
void op_make(struct op *op, uint32_t template, uint64_t seed);
/* The first template of that kind with so many effects. */
uint32_t op_template(enum op_kind kind, uint32_t effects_least);
const char *op_name(const struct op *op);

/* Takes the disk over and opens it; `base` is what it holds. Ends the test when that fails. */
void history_begin(struct history *h, struct sim *disk, const struct model *base);
/* Runs one operation and checks what it returns. */
void history_run(struct history *h, const struct op *op);
/* The same while faults are about: returns what the operation did. One that failed because of a
 * fault is kept in the history if the open store shows that it was applied; *faulted says that it
 * failed so. With a failed reopen h->m is NULL. */
int history_try(struct history *h, const struct op *op, int *faulted);
/* Puts values of 2,000 bytes and has them written: what a pack takes. */
void history_rest(struct history *h);
/* Packs; at least one value has to be taken. */
void history_pack(struct history *h);
/* Computes what crashes may leave. */
void history_compute(struct history *h);
/* Frees the store without closing it. */
void history_abandon(struct history *h);
void history_end(struct history *h);

/* Is `sum` a state that a crash behind event `point` may leave? 1; *c and *p receive the cut. */
int history_allows(const struct history *h, uint64_t point, uint64_t sum, uint32_t *c, uint32_t *p);
/* The state for a cut. */
void history_model(const struct history *h, uint32_t c, uint32_t p, struct model *out);
void history_print(const struct history *h, uint64_t point);

#endif
