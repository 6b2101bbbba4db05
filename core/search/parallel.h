/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   work on ranges of numbers by several threads, for building indexes.
 * Threading: the body is called from several threads at once, each time with another range.
 * Failure:   with fewer threads than asked for, the work is done by those that there are.
 */
#ifndef MNEME_CORE_SEARCH_PARALLEL_H
#define MNEME_CORE_SEARCH_PARALLEL_H

#include <stdint.h>

enum { PARALLEL_THREADS_MAX = 64 };

typedef void parallel_body(void *arg, uint64_t low, uint64_t high);

/* Calls body for consecutive ranges of at most `grain` that cover [0, count); returns when all are
 * done. threads 0 or 1: in this thread alone; the others have a nice value of 10. -ECANCELED: some
 * were left out. */
int parallel_run(uint64_t count, uint64_t grain, unsigned threads, parallel_body *body, void *arg);
/* Runs that this thread starts from now on end early once *cancel is not 0. NULL: they do not. */
void parallel_cancel_by(const _Atomic int *cancel);
int parallel_is_canceled(void);

#endif
