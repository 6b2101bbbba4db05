/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the check of a store's structure below the public mneme_check(): over any implementation
 *            of the I/O seam, so that tests can ask it about a simulated disk.
 * Invariants: without STORE_CHECK_REPAIR nothing is written: no file is opened for writing. It takes
 *            any bytes: every length is compared with its limit before it is used, every page is
 *            entered at most once, and memory is a bit a heap page and a few buffers.
 * Threading: one thread; nobody else may write to the store meanwhile.
 * Failure:   0 when the store could be checked (the findings are in the result), else -errno and a
 *            sentence: -ENOENT no store here, -EPROTONOSUPPORT a newer format, -ENOMEM, -EIO.
 */
#ifndef MNEME_CORE_STORE_CHECK_H
#define MNEME_CORE_STORE_CHECK_H

#include "core/mneme.h"
#include "core/store/io.h"

enum store_check_flags {
	STORE_CHECK_REPAIR = MNEME_CHECK_REPAIR,
	/* What a power loss may leave is no finding: a superblock or its space table that was being
	 * written beside the one that counts. */
	STORE_CHECK_CRASHED = 1 << 8,
};

/* Superblocks, space map, trees, values and the log of the store behind `io`, which stays the
 * caller's. `report`, `result` and `error` may be NULL. */
int store_check(struct io *io, unsigned flags, mneme_check_report *report, void *arg,
		struct mneme_check_result *result, struct mneme_error *error);

#endif
