/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   lets one build have all the seeded defects: included before everything else
 *            (-include), it makes SEEDED_BUG(n) ask the environment, MNEME_SEEDED_BUG=n.
 */
#ifndef MNEME_TESTS_CRASH_SEEDED_H
#define MNEME_TESTS_CRASH_SEEDED_H

#include <stdlib.h>

static inline int seeded_bug_chosen(void)
{
	static int chosen = -1;

	if (chosen < 0) {
		const char *text = getenv("MNEME_SEEDED_BUG");
		chosen = text ? atoi(text) : 0;
	}
	return chosen;
}

#define MNEME_SEEDED_BUG seeded_bug_chosen()

#endif
