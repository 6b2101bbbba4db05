/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: how much the tests of this folder do: less under a sanitizer, all with MNEME_LONG=1. */
#ifndef MNEME_TESTS_CRASH_TIER_H
#define MNEME_TESTS_CRASH_TIER_H

#include <stdint.h>
#include <stdlib.h>

static inline int tier_is_long(void)
{
	const char *text = getenv("MNEME_LONG");

	return text && *text == '1';
}

static inline int tier_is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return 1;
#else
	return 0;
#endif
}

static inline uint64_t tier_count(uint64_t sanitized, uint64_t usual, uint64_t many)
{
	return tier_is_long() ? many : tier_is_sanitized() ? sanitized : usual;
}

/* The seed of the random parts: MNEME_SEED, or always the same. */
static inline uint64_t tier_seed(void)
{
	const char *text = getenv("MNEME_SEED");

	return text ? strtoull(text, NULL, 0) : 1;
}

#endif
