/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the check of what lies in a store as a filesystem: names, link counts, directories, and
 *            the bytes of files (core/names.h has the format).
 * Invariants: reads in one pass over all keys with a batch of them in memory. With STORE_CHECK_REPAIR
 *            each repair is one transaction of the engine.
 * Threading: one thread; nobody else may change the store meanwhile.
 * Failure:   0 when everything could be read, else -errno.
 */
#ifndef MNEME_CORE_STORE_CHECK_NAMES_H
#define MNEME_CORE_STORE_CHECK_NAMES_H

#include "core/mneme.h"

/* A store without a root directory has no names: nothing is checked then. Adds to *result. */
int check_names(struct mneme *m, unsigned flags, mneme_check_report *report, void *arg,
		struct mneme_check_result *result);

#endif
