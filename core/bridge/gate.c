/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   bounded depth with back-pressure; see gate.h.
 */
#include "core/bridge/gate.h"
#include "core/bridge/futex.h"
#include "pool/check.h"

#include <limits.h>

#define WAITER_ONE ((uint64_t)1 << 32)

void gate_init(struct gate *gate, uint32_t limit)
{
	atomic_store_explicit(&gate->word, 0, memory_order_relaxed);
	atomic_store_explicit(&gate->depth_max, 0, memory_order_relaxed);
	atomic_store_explicit(&gate->turn, 0, memory_order_relaxed);
	gate->limit = limit;
}

static void depth_note(struct gate *gate, uint32_t depth)
{
	uint32_t max = atomic_load_explicit(&gate->depth_max, memory_order_relaxed);

	while (max < depth &&
	       !atomic_compare_exchange_weak_explicit(&gate->depth_max, &max, depth,
						      memory_order_relaxed, memory_order_relaxed))
		;
}

int gate_enter(struct gate *gate, int wait, uint64_t deadline_ns)
{
	for (;;) {
		/* acquire: pairs with the release in gate_leave(); read before `word` is looked at
		 */
		uint32_t turn = atomic_load_explicit(&gate->turn, memory_order_acquire);
		uint64_t word = atomic_load_explicit(&gate->word, memory_order_relaxed);

		while ((uint32_t)word < gate->limit)
			if (atomic_compare_exchange_weak_explicit(&gate->word, &word, word + 1,
								  memory_order_relaxed,
								  memory_order_relaxed)) {
				depth_note(gate, (uint32_t)word + 1);
				return 0;
			}
		if (!wait)
			return -EAGAIN;
		/* acq_rel: the read of `turn` above stays before, and the leaver that sees this
		 * waiter changes `turn` after it */
		if (!atomic_compare_exchange_strong_explicit(&gate->word, &word, word + WAITER_ONE,
							     memory_order_acq_rel,
							     memory_order_relaxed))
			continue;
		int error = futex_sleep(&gate->turn, turn, deadline_ns);
		atomic_fetch_sub_explicit(&gate->word, WAITER_ONE, memory_order_relaxed);
		if (error)
			return error;
	}
}

void gate_leave(struct gate *gate, uint32_t count)
{
	/* acq_rel: pairs with the waiter's registration in gate_enter() */
	uint64_t old = atomic_fetch_sub_explicit(&gate->word, count, memory_order_acq_rel);

	DCHECK((uint32_t)old >= count);
	if (__builtin_expect(old < WAITER_ONE, 1))
		return;
	if ((uint32_t)old - count <= gate->limit - (gate->limit + 3) / 4) {
		/* release: pairs with the acquire in gate_enter() */
		atomic_fetch_add_explicit(&gate->turn, 1, memory_order_release);
		futex_wake(&gate->turn, INT_MAX);
	}
}
