/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: the time of a clock of clock_gettime(2), in nanoseconds. */
#ifndef MNEME_CORE_STORE_CLOCK_H
#define MNEME_CORE_STORE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

#endif
