/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   spaces.h.
 */
#include "core/memory/spaces.h"
#include "core/search/collection.h"
#include "pool/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

struct space {
	uint32_t dim;
	enum vectors_metric metric;
	struct collection *vectors;
};

struct spaces {
	pthread_rwlock_t lock;
	_Atomic uint64_t changes;        /* [A] */
	unsigned count;                  /* [lock] */
	struct space spaces[SPACES_MAX]; /* [lock] */
};

int spaces_new(struct spaces **out)
{
	struct spaces *s = alloc_zeroed(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_rwlock_init(&s->lock, NULL);
	*out = s;
	return 0;
}

void spaces_free(struct spaces *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->count; i++)
		collection_free(s->spaces[i].vectors);
	pthread_rwlock_destroy(&s->lock);
	alloc_free(s);
}

static struct space *find(struct spaces *s, uint32_t dim, enum vectors_metric metric)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->spaces[i].dim == dim && s->spaces[i].metric == metric)
			return &s->spaces[i];
	return NULL;
}

static int find_or_make(struct spaces *s, uint32_t dim, enum vectors_metric metric,
			struct space **out)
{
	struct vectors_config config = {.dim = dim, .metric = metric, .type = VECTORS_F32};

	*out = find(s, dim, metric);
	if (*out)
		return 0;
	if (s->count == SPACES_MAX)
		return -ENOSPC;
	struct space *fresh = &s->spaces[s->count];
	*fresh = (struct space){.dim = dim, .metric = metric};
	int rc = collection_new(&config, &fresh->vectors);
	if (rc == 0) {
		s->count++;
		*out = fresh;
	}
	return rc;
}

/* Before all that is put, too. [lock for writing] */
static void remove_locked(struct spaces *s, uint64_t inode)
{
	/* release: who reads this number (acquire) and then takes the lock sees the change */
	atomic_fetch_add_explicit(&s->changes, 1, memory_order_release);
	for (unsigned i = 0; i < s->count; i++)
		collection_delete(s->spaces[i].vectors, inode);
}

int spaces_put(struct spaces *s, uint32_t dim, enum vectors_metric metric, uint64_t inode,
	       uint64_t version, const float *vectors, uint32_t rows)
{
	struct space *space;

	pthread_rwlock_wrlock(&s->lock);
	remove_locked(s, inode);
	int rc = find_or_make(s, dim, metric, &space);
	for (uint32_t i = 0; i < rows && rc == 0; i++)
		rc = collection_put(space->vectors, inode, i, version, vectors + (size_t)i * dim);
	if (rc < 0)
		remove_locked(s, inode);
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

void spaces_remove(struct spaces *s, uint64_t inode)
{
	pthread_rwlock_wrlock(&s->lock);
	remove_locked(s, inode);
	pthread_rwlock_unlock(&s->lock);
}

uint64_t spaces_changes(struct spaces *s)
{
	return atomic_load_explicit(&s->changes, memory_order_acquire);
}

int spaces_have(struct spaces *s, uint32_t dim)
{
	int found = 0;

	pthread_rwlock_rdlock(&s->lock);
	for (unsigned i = 0; i < s->count; i++)
		found |= s->spaces[i].dim == dim;
	pthread_rwlock_unlock(&s->lock);
	return found;
}

int spaces_search(struct spaces *s, uint32_t dim, enum vectors_metric metric, const float *vector,
		  const struct search_filter *filter, unsigned limit, struct search_hit *hits,
		  unsigned *count, int *partial)
{
	struct index_query query = {.vector = vector, .limit = limit, .filter = filter};
	int rc = 0;

	*count = 0;
	pthread_rwlock_rdlock(&s->lock);
	const struct space *space = find(s, dim, metric);
	if (space)
		rc = collection_search(space->vectors, &query, hits, count, partial);
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

void spaces_get_stats(struct spaces *s, uint64_t *vectors, uint64_t *bytes)
{
	*vectors = *bytes = 0;
	pthread_rwlock_rdlock(&s->lock);
	for (unsigned i = 0; i < s->count; i++) {
		struct vectors_stats stats;
		vectors_get_stats(collection_vectors(s->spaces[i].vectors), &stats);
		*vectors += stats.alive;
		*bytes += stats.bytes;
	}
	pthread_rwlock_unlock(&s->lock);
}
