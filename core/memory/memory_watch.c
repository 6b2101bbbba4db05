/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   tells once that answers may have changed, soon after it happened (memory_options.changed).
 * Invariants: who called memory_watch() and then searched is told of what the search did not see: either
 *            the change sees `wanted`, or the search the change (Dekker: a fence on both sides).
 * Threading: any; the call comes from a worker of the bridge, without any lock.
 * Failure:   none.
 */
#include "core/memory/memory_inside.h"
#include "core/store/background.h"

#include <errno.h>

enum { SETTLE_NS = 20 * 1000000 }; /* changes that come together are told together */

static void tell(void *arg, int status)
{
	struct memory_watch *w = arg;

	(void)status;
	if (atomic_exchange_explicit(&w->wanted, 0, memory_order_seq_cst))
		w->changed(w->arg);
}

void memory_watch(struct memory *mem)
{
	atomic_store_explicit(&mem->watch.wanted, 1, memory_order_seq_cst);
	/* seq_cst: see the head of this file */
	atomic_thread_fence(memory_order_seq_cst);
}

void memory_changed(struct memory *mem)
{
	struct memory_watch *w = &mem->watch;

	memory_expire(mem);
	/* seq_cst: see the head of this file */
	atomic_thread_fence(memory_order_seq_cst);
	if (w->alarm && atomic_load_explicit(&w->wanted, memory_order_relaxed))
		bridge_periodic_at(w->alarm, bridge_now_ns() + SETTLE_NS);
}

int memory_watch_start(struct memory *mem, const struct memory_options *options)
{
	struct bridge *bridge = background_bridge(mem->engine);

	if (!options->changed)
		return 0;
	mem->watch.changed = options->changed;
	mem->watch.arg = options->changed_arg;
	return bridge ? bridge_periodic_new(bridge, 0, BRIDGE_NORMAL, tell, &mem->watch,
					    &mem->watch.alarm)
		      : -EINVAL;
}

void memory_watch_stop(struct memory *mem)
{
	if (mem->watch.alarm)
		bridge_periodic_stop(mem->watch.alarm);
	mem->watch.alarm = NULL;
}
