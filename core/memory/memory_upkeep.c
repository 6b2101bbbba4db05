/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what takes seconds: building the index of the vectors, compacting that of the words, and
 *            keeping both in files, as low work of the engine's bridge.
 * Invariants: one build at a time. It ends soon after `stop` is set.
 * Threading: started before and stopped after everything that pokes.
 * Failure:   what cannot be done is tried again when it is poked after RETRY_S; searches scan until then.
 */
#include "core/memory/memory_inside.h"
#include "core/store/background.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { RETRY_S = 30 };

/* A model that has no text any more lets its vectors go. [index, writing] */
static void empty_free(struct memory *mem, struct memory_model *m)
{
	if (m == mem->models.standard || memory_model_rows(m))
		return;
	collection_free(m->vectors);
	m->vectors = NULL;
	mem->changes++; /* so its files go, too */
	memory_expire(mem);
}

static int model_build(struct memory *mem, struct memory_model *m, int always)
{
	pthread_rwlock_wrlock(&mem->index);
	if (m->vectors)
		empty_free(mem, m);
	struct collection *c = m->vectors; /* who makes one pokes, once it is worth work */
	pthread_rwlock_unlock(&mem->index);
	int rc = c ? collection_tend(c, &mem->index, always, &mem->upkeep.stop) : 0;
	if (rc > 0)
		memory_expire(mem);
	return rc < 0 ? rc : 0;
}

int memory_index_build(struct memory *mem, int always)
{
	int rc = 0;

	for (unsigned i = 0; i < mem->models.count && rc == 0; i++)
		rc = model_build(mem, &mem->models.all[i], always);
	return rc == 0 ? spaces_tend(mem->spaces, always, &mem->upkeep.stop) : rc;
}

static void upkeep_run(void *arg, int status)
{
	struct memory *mem = arg;
	struct upkeep *u = &mem->upkeep;

	(void)status;
	if (atomic_load_explicit(&u->stop, memory_order_relaxed))
		return;
	pthread_mutex_lock(&u->run);
	memory_index_compact_if_due(mem);
	if (memory_snapshot_is_due(
		    mem)) /* what is in files needs no memory while an index is built */
		memory_snapshot_save(mem, 0);
	int rc = memory_index_build(mem, 0);
	if (!rc && memory_snapshot_is_due(mem))
		memory_snapshot_save(mem, 0);
	pthread_mutex_unlock(&u->run);
	if (!rc || rc == -ECANCELED)
		return;
	fprintf(stderr, "mneme: the index of the vectors could not be built (%s)\n", strerror(-rc));
	atomic_store_explicit(&u->not_before_ns, bridge_now_ns() + RETRY_S * 1000000000ull,
			      memory_order_relaxed);
}

void memory_upkeep_poke(struct memory *mem)
{
	struct upkeep *u = &mem->upkeep;
	uint64_t at = atomic_load_explicit(&u->not_before_ns, memory_order_relaxed);

	if (u->alarm)
		bridge_periodic_at(u->alarm, at ? at : bridge_now_ns());
}

int memory_upkeep_start(struct memory *mem)
{
	struct bridge *bridge = background_bridge(mem->engine);
	int rc = bridge ? bridge_periodic_new(bridge, 0, BRIDGE_LOW, upkeep_run, mem,
					      &mem->upkeep.alarm)
			: -EINVAL;

	if (rc == 0)
		memory_upkeep_poke(mem);
	return rc;
}

void memory_upkeep_stop(struct memory *mem)
{
	if (mem->upkeep.alarm)
		bridge_periodic_stop(mem->upkeep.alarm);
	mem->upkeep.alarm = NULL;
}
