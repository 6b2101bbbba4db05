/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what takes seconds, beside the thread that embeds: building the index of the vectors.
 * Invariants: one build at a time, on this thread. It ends soon after `stop` is set.
 * Threading: upkeep.lock is a leaf; it is not held while `index` is.
 * Failure:   what cannot be done is tried again when it is poked after RETRY_S; searches scan until then.
 */
#include "core/memory/memory_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { RETRY_S = 30 };

static int build_if_due(struct memory *mem)
{
	struct collection_build *build = NULL;
	int rc = 0;

	if (!mem->vectors)
		return 0;
	pthread_rwlock_rdlock(&mem->index);
	if (collection_wants_build(mem->vectors))
		rc = collection_build_begin(mem->vectors, &build);
	pthread_rwlock_unlock(&mem->index);
	if (!build)
		return rc;
	rc = collection_build_run(build, 1, &mem->upkeep.stop);
	pthread_rwlock_wrlock(&mem->index);
	rc = collection_build_end(mem->vectors, build, rc);
	pthread_rwlock_unlock(&mem->index);
	return rc;
}

static int is_stopping(struct memory *mem)
{
	return atomic_load_explicit(&mem->upkeep.stop, memory_order_relaxed);
}

/* Waits until there may be something to do, after a failure at least RETRY_S. */
static void upkeep_wait(struct memory *mem, int failed)
{
	struct upkeep *u = &mem->upkeep;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RETRY_S;
	pthread_mutex_lock(&u->lock);
	while (failed && !is_stopping(mem) &&
	       pthread_cond_timedwait(&u->wake, &u->lock, &until) == 0)
		continue;
	while (!u->due && !is_stopping(mem))
		pthread_cond_wait(&u->wake, &u->lock);
	u->due = 0;
	pthread_mutex_unlock(&u->lock);
}

static void *upkeep_main(void *arg)
{
	struct memory *mem = arg;
	int rc = 0;

	for (;;) {
		upkeep_wait(mem, rc != 0);
		if (is_stopping(mem))
			return NULL;
		rc = build_if_due(mem);
		if (rc && rc != -ECANCELED)
			fprintf(stderr, "mneme: the index of the vectors could not be built (%s)\n",
				strerror(-rc));
	}
}

void memory_upkeep_poke(struct memory *mem)
{
	pthread_mutex_lock(&mem->upkeep.lock);
	mem->upkeep.due = 1;
	pthread_cond_signal(&mem->upkeep.wake);
	pthread_mutex_unlock(&mem->upkeep.lock);
}

int memory_upkeep_start(struct memory *mem)
{
	int rc = memory_thread_start(upkeep_main, mem, &mem->upkeep.thread);

	mem->upkeep.has_thread = rc == 0;
	return rc;
}

void memory_upkeep_stop(struct memory *mem)
{
	if (!mem->upkeep.has_thread)
		return;
	atomic_store_explicit(&mem->upkeep.stop, 1, memory_order_relaxed);
	memory_upkeep_poke(mem);
	pthread_join(mem->upkeep.thread, NULL);
}
