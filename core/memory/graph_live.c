/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see graph_live.h.
 * Threading: `merging` is held for a whole merge, so there is one at a time; `lock` only to add
 *            a change or to take them all. merging comes before lock.
 */
#include "core/memory/graph_live.h"
#include "core/bridge/bridge.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "pool/lock.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { CHANGES_MAX = 65536, PERIOD_MS = 500 };

struct graph_live {
	_Atomic(struct graph *) newest; /* [A] owns one reference */
	struct epoch *epoch;
	graph_source *source; /* [I] */
	void *arg;            /* [I] */
	struct bridge_periodic *periodic;
	uint32_t changes_max; /* [I] */

	struct lock lock;
	struct graph_change *waiting; /* lock; changes_max of them */
	uint32_t waiting_count;       /* lock */
	int rescan;                   /* lock: more came than there was room for */

	pthread_mutex_t merging;
	struct graph_change *taken; /* merging; the other buffer of changes_max */

	_Atomic uint64_t merges, rescans, merge_errors, merge_ns; /* [A] */
};

struct collected {
	struct graph_change *changes;
	size_t count, capacity;
};

static int collect(void *arg, const struct graph_change *change)
{
	struct collected *all = arg;

	if (all->count == all->capacity) {
		size_t capacity = all->capacity ? all->capacity * 2 : 1024;
		struct graph_change *grown =
			alloc_resize(all->changes, capacity * sizeof(*all->changes));
		if (!grown)
			return -ENOMEM;
		all->changes = grown;
		all->capacity = capacity;
	}
	all->changes[all->count++] = *change;
	return 0;
}

static int build_from_source(struct graph_live *live, struct graph **out)
{
	struct collected all = {NULL, 0, 0};
	int error = live->source(live->arg, collect, &all);

	if (!error)
		error = graph_build(all.changes, all.count, out);
	alloc_free(all.changes);
	return error;
}

static void release_retired(struct epoch_node *node)
{
	graph_put((struct graph *)((char *)node - offsetof(struct graph, retired)));
}

/* Only with `merging` held, or before anybody else knows of it. */
static void publish(struct graph_live *live, struct graph *graph)
{
	/* release: pairs with the acquire in graph_live_get() */
	struct graph *old = atomic_exchange_explicit(&live->newest, graph, memory_order_acq_rel);

	epoch_retire(live->epoch, &old->retired, release_retired);
	/* two advances free it, unless somebody is about to count it: then the next merge does */
	for (int i = 0; i < 3; i++)
		epoch_collect(live->epoch);
}

struct graph *graph_live_get(struct graph_live *live)
{
	epoch_enter(live->epoch);
	/* acquire: pairs with the release in publish() */
	struct graph *graph = graph_get(atomic_load_explicit(&live->newest, memory_order_acquire));
	epoch_leave(live->epoch);
	return graph;
}

int graph_live_change(struct graph_live *live, const struct graph_change *change)
{
	if (!graph_change_is_sound(change))
		return -EINVAL;
	lock_write(&live->lock);
	if (live->waiting_count == live->changes_max) {
		live->waiting_count = 0;
		live->rescan = 1;
	}
	/* also after an overflow: a source that is read at this moment may lack this one */
	live->waiting[live->waiting_count++] = *change;
	lock_write_done(&live->lock);
	return 0;
}

/* Takes all that waits; *rescan: and the source has to be read. */
static uint32_t take_waiting(struct graph_live *live, int *rescan)
{
	lock_write(&live->lock);
	struct graph_change *taken = live->waiting;
	uint32_t count = live->waiting_count;
	live->waiting = live->taken;
	live->waiting_count = 0;
	*rescan = live->rescan;
	live->rescan = 0;
	lock_write_done(&live->lock);
	live->taken = taken;
	return count;
}

void graph_live_rescan(struct graph_live *live)
{
	lock_write(&live->lock);
	live->rescan = 1;
	lock_write_done(&live->lock);
}

/* A merge failed: the changes are lost to this object, the source has them. */
static void ask_for_rescan(struct graph_live *live)
{
	graph_live_rescan(live);
	atomic_fetch_add_explicit(&live->merge_errors, 1, memory_order_relaxed);
}

static int merge_taken(struct graph_live *live, uint32_t count, int rescan)
{
	struct graph *old = atomic_load_explicit(&live->newest, memory_order_relaxed);
	struct graph *from_source = NULL, *graph;
	int error = 0;

	if (rescan) {
		error = build_from_source(live, &from_source);
		atomic_fetch_add_explicit(&live->rescans, 1, memory_order_relaxed);
	}
	if (!error)
		error = graph_merge(from_source ? from_source : old, live->taken, count, &graph);
	graph_put(from_source);
	if (error)
		return error;
	graph->generation = old->generation + 1;
	publish(live, graph);
	return 0;
}

int graph_live_merge(struct graph_live *live)
{
	int rescan, error = 0;

	pthread_mutex_lock(&live->merging);
	uint32_t count = take_waiting(live, &rescan);
	if (count || rescan) {
		uint64_t begin = bridge_now_ns();
		error = merge_taken(live, count, rescan);
		if (error)
			ask_for_rescan(live);
		atomic_fetch_add_explicit(&live->merges, 1, memory_order_relaxed);
		atomic_store_explicit(&live->merge_ns, bridge_now_ns() - begin,
				      memory_order_relaxed);
	}
	pthread_mutex_unlock(&live->merging);
	return error;
}

static void merge_periodically(void *arg, int status)
{
	if (!status)
		graph_live_merge(arg);
}

int graph_live_new(const struct graph_live_config *config, struct graph_live **out)
{
	struct graph_live *live = alloc_zeroed(1, sizeof(*live));
	struct graph *first = NULL;

	if (!live)
		return -ENOMEM;
	live->source = config->source;
	live->arg = config->arg;
	live->rescan = config->later;
	live->changes_max = config->changes_max ? config->changes_max : CHANGES_MAX;
	lock_init(&live->lock, LOCK_LEAF);
	pthread_mutex_init(&live->merging, NULL);
	live->waiting = alloc_get(live->changes_max * sizeof(*live->waiting));
	live->taken = alloc_get(live->changes_max * sizeof(*live->taken));
	int error = live->waiting && live->taken ? epoch_new(&live->epoch) : -ENOMEM;
	if (!error)
		error = config->later ? graph_build(NULL, 0, &first)
				      : build_from_source(live, &first);
	atomic_store_explicit(&live->newest, first, memory_order_release);
	if (!error && config->bridge)
		error = bridge_periodic_new(config->bridge,
					    config->period_ns ? config->period_ns
							      : PERIOD_MS * 1000000ull,
					    BRIDGE_LOW, merge_periodically, live, &live->periodic);
	if (error) {
		graph_live_free(live);
		return error;
	}
	*out = live;
	return 0;
}

void graph_live_free(struct graph_live *live)
{
	if (!live)
		return;
	if (live->periodic)
		bridge_periodic_stop(live->periodic);
	graph_put(atomic_load_explicit(&live->newest, memory_order_acquire));
	epoch_free(live->epoch);
	pthread_mutex_destroy(&live->merging);
	alloc_free(live->waiting);
	alloc_free(live->taken);
	alloc_free(live);
}

void graph_live_read_stats(struct graph_live *live, struct graph_live_stats *out)
{
	struct graph *graph = graph_live_get(live);

	*out = (struct graph_live_stats){
		.nodes = graph->count,
		.links = graph->links,
		.bytes = graph->bytes,
		.generation = graph->generation,
		.merges = atomic_load_explicit(&live->merges, memory_order_relaxed),
		.rescans = atomic_load_explicit(&live->rescans, memory_order_relaxed),
		.merge_errors = atomic_load_explicit(&live->merge_errors, memory_order_relaxed),
		.merge_ns_last = atomic_load_explicit(&live->merge_ns, memory_order_relaxed),
	};
	memcpy(out->types, graph->profile.type, sizeof(out->types));
	graph_put(graph);
	lock_read(&live->lock);
	out->waiting = live->waiting_count;
	lock_read_done(&live->lock);
}
