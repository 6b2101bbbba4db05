/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   sleeping on and waking by a 32-bit word, private to the process.
 * Failure:   futex_sleep() may return without a reason: callers look at the word again. -ETIME
 *            after the deadline.
 */
#ifndef MNEME_CORE_BRIDGE_FUTEX_H
#define MNEME_CORE_BRIDGE_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleeps while *word == seen, at most until deadline_ns of the monotonic clock (0: no end). */
static inline int futex_sleep(_Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(deadline_ns / 1000000000u),
		.tv_nsec = (long)(deadline_ns % 1000000000u),
	};
	long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, seen,
			      deadline_ns ? &until : NULL, NULL, FUTEX_BITSET_MATCH_ANY);

	return result < 0 && errno == ETIMEDOUT ? -ETIME : 0;
}

static inline void futex_wake(_Atomic uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, NULL, NULL, 0);
}

#endif
