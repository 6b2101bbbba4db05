/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   CHECK() for invariants, always on; DCHECK() for costly ones, debug builds only.
 * Failure:   prints file:line and the condition to standard error, then aborts. Bad input from
 *            outside is never an assertion: it is an errno.
 */
#ifndef MNEME_POOL_CHECK_H
#define MNEME_POOL_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			check_failed(__FILE__, __LINE__, #cond);                                   \
	} while (0)

#ifdef MNEME_DEBUG_CHECKS
#define DCHECK(cond) CHECK(cond)
#else
#define DCHECK(cond) ((void)sizeof(!(cond)))
#endif

/* A numbered defect of the test option `seeded_bug`; always false in a normal build. */
#ifdef MNEME_SEEDED_BUG
#define SEEDED_BUG(n) (MNEME_SEEDED_BUG == (n))
#else
#define SEEDED_BUG(n) 0
#endif

static inline _Noreturn void check_failed(const char *file, int line, const char *cond)
{
	fprintf(stderr, "mneme: %s:%d: invariant broken: %s\n", file, line, cond);
	abort();
}

#endif
