/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   collection_tend() of collection.h: when a collection's work is done, and in which pieces.
 * Invariants: who searches or changes the collection waits for one piece at most.
 * Threading: see there.
 * Failure:   the collection stays as it was.
 */
#include "core/search/collection.h"
#include "core/bridge/machine.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

/* FOLLOW: rows that an index takes in some 2 ms; nobody can search meanwhile. */
enum { FOLLOW = 64, PAUSE_US = 1000 };

static int is_canceled(const _Atomic int *cancel)
{
	return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

static int build(struct collection *c, pthread_rwlock_t *lock, int always,
		 const _Atomic int *cancel)
{
	struct collection_build *b = NULL;
	int rc = 0;

	pthread_rwlock_rdlock(lock);
	if (always || collection_wants_build(c))
		rc = collection_build_begin(c, always, &b);
	pthread_rwlock_unlock(lock);
	if (!b)
		return rc;
	rc = collection_build_run(b, machine_facts()->cores, cancel);
	/* in pieces, beside searches: after a large import it is more than what the index was built of */
	for (int more = 1; rc == 0 && more;) {
		pthread_rwlock_rdlock(lock);
		more = collection_build_follow(b, c);
		pthread_rwlock_unlock(lock);
		rc = more < 0 ? more : 0;
		if (more > 0)
			usleep(PAUSE_US); /* who changes the index gets his turn */
	}
	pthread_rwlock_wrlock(lock);
	rc = collection_build_end(c, b, rc);
	pthread_rwlock_unlock(lock);
	return rc ? rc : 1;
}

static int follow(struct collection *c, pthread_rwlock_t *lock, const _Atomic int *cancel)
{
	int more = 1;

	while (more > 0 && !is_canceled(cancel)) {
		pthread_rwlock_wrlock(lock);
		more = collection_wants_build(c) ? 0 : collection_follow(c, FOLLOW);
		pthread_rwlock_unlock(lock);
		if (more > 0)
			usleep(PAUSE_US);
	}
	return more < 0 ? more : 0;
}

int collection_tend(struct collection *c, pthread_rwlock_t *lock, int always,
		    const _Atomic int *cancel)
{
	int built = build(c, lock, always, cancel);

	pthread_rwlock_rdlock(lock);
	uint32_t behind = collection_behind(c);
	pthread_rwlock_unlock(lock);
	int rc = built >= 0 && behind ? follow(c, lock, cancel) : 0;
	return built < 0 ? built : rc ? rc : built;
}
