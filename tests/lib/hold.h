/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   low work on a bridge that takes as long as a test likes, and as many workers as it gets:
 *            what is done nevertheless does not wait for it.
 * Threading: one thread holds and lets go.
 * Failure:   ends the program.
 */
#ifndef MNEME_TESTS_LIB_HOLD_H
#define MNEME_TESTS_LIB_HOLD_H

#include "core/bridge/bridge.h"
#include "pool/check.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int hold_over, hold_inside;

static inline void hold_nap(void)
{
	struct timespec t = {0, 1000000};

	nanosleep(&t, NULL);
}

static inline void hold_run(void *arg, int status)
{
	(void)arg;
	atomic_fetch_add(&hold_inside, 1);
	while (!status && !atomic_load(&hold_over))
		hold_nap();
	atomic_fetch_sub(&hold_inside, 1);
}

/* Takes all workers that low work may have, and has more waiting. */
static inline void hold_low(struct bridge *bridge)
{
	unsigned workers = bridge_workers(bridge), slots = workers > 2 ? workers - 2 : 1;

	atomic_store(&hold_over, 0);
	for (unsigned i = 0; i < slots + 5; i++)
		CHECK(!bridge_call(bridge, hold_run, NULL, BRIDGE_LOW, 0, 0));
	while (atomic_load(&hold_inside) < (int)slots)
		hold_nap();
}

static inline void hold_end(void)
{
	atomic_store(&hold_over, 1);
}

#endif
