/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: how much the tests do: less with MNEME_SHORT=1 or a sanitizer, all with MNEME_LONG=1. */
#ifndef MNEME_TESTS_TIER_H
#define MNEME_TESTS_TIER_H

#include <stdint.h>
#include <stdlib.h>

static inline int tier_asks(const char *variable)
{
	const char *text = getenv(variable);

	return text && *text == '1';
}

static inline int tier_is_long(void)
{
	return tier_asks("MNEME_LONG");
}

static inline int tier_is_short(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return 1;
#else
	return tier_asks("MNEME_SHORT");
#endif
}

static inline uint64_t tier_count(uint64_t few, uint64_t usual, uint64_t many)
{
	return tier_is_long() ? many : tier_is_short() ? few : usual;
}

/* The seed of the random parts: MNEME_SEED, or always the same. */
static inline uint64_t tier_seed(void)
{
	const char *text = getenv("MNEME_SEED");

	return text ? strtoull(text, NULL, 0) : 1;
}

#endif
