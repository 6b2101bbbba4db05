/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the runs of the heap that the log names (runs.h), while it is replayed.
 * Invariants: from before anything is placed in the heap until the log was applied, every run that a
 *            record names is out of use, whatever the bitmaps say: so the record finds its bytes, in this
 *            recovery and in the next one. Meanwhile a value that gives its run up frees nothing: parts
 *            of the log may be applied twice, by a recovery after a crash in this one, and a run that
 *            was given up may then be a value's again. In the end, and before each checkpoint on the
 *            way, the tree tells: a run belongs to the value of the key that it was named with, if
 *            that lies there, and else to nobody. Then it is freed like any other, behind the next
 *            checkpoint.
 * Threading: one thread; named_has() is for those that apply the log.
 * Failure:   -EUCLEAN, -EIO, -ENOMEM.
 */
#ifndef MNEME_CORE_STORE_NAMED_H
#define MNEME_CORE_STORE_NAMED_H

#include "core/store/store.h"

/* Looks through the log. A reader, who writes nothing, needs none of it. */
int named_begin(struct mneme *m);
/* A checkpoint follows: what belongs to nobody is not in its bitmaps. */
int named_settle(struct mneme *m);
/* The log was applied. */
int named_end(struct mneme *m);
void named_free(struct mneme *m);
/* Whether a run begins there. */
int named_has(const struct named *n, uint64_t page);

/* What an operation FMT_OP_PUT_RUN names, `length` bytes at `bytes`: 0, or -EUCLEAN where that cannot
 * be. */
int named_decode(const void *bytes, uint32_t length, struct fmt_run *run);

#endif
