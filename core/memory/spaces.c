/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   spaces.h.
 */
#include "core/memory/spaces_inside.h"
#include "pool/alloc.h"
#include "pool/frame.h"

#include <errno.h>
#include <stdatomic.h>

/* OWNERS_FEW: files of a space up to which each is asked for before a search, else SAMPLE rows are. */
enum { OWNERS_FEW = 1024, SAMPLE = 256 };

int spaces_new(struct spaces **out)
{
	struct spaces *s = alloc_zeroed(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->put, NULL);
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
	pthread_mutex_destroy(&s->put);
	pthread_rwlock_destroy(&s->lock);
	alloc_free(s);
}

/* ---- putting ---- */

static struct space *find(struct spaces *s, uint32_t dim, enum vectors_metric metric)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->spaces[i].is.dim == dim && s->spaces[i].is.metric == metric)
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
	*fresh = (struct space){.is = {dim, metric}};
	int rc = collection_new(&config, &fresh->vectors);
	if (rc == 0) {
		s->count++;
		*out = fresh;
	}
	return rc;
}

/* [lock for writing] */
static void changes_add(struct spaces *s, uint64_t count)
{
	/* release: who reads this number (acquire) and then takes the lock sees the change */
	atomic_fetch_add_explicit(&s->changes, count, memory_order_release);
}

/* [lock for writing] */
static void remove_locked(struct spaces *s, uint64_t inode)
{
	unsigned gone = 0;

	for (unsigned i = 0; i < s->count; i++)
		gone += collection_delete(s->spaces[i].vectors, inode);
	changes_add(s, gone);
	if (s->putting == inode)
		s->putting = 0;
}

int spaces_put_begin(struct spaces *s, uint32_t dim, enum vectors_metric metric, uint64_t inode)
{
	pthread_mutex_lock(&s->put);
	pthread_rwlock_wrlock(&s->lock);
	remove_locked(s, inode);
	int rc = find_or_make(s, dim, metric, &s->into);
	if (rc == 0)
		s->putting = inode;
	pthread_rwlock_unlock(&s->lock);
	if (rc < 0)
		pthread_mutex_unlock(&s->put);
	return rc;
}

int spaces_put_rows(struct spaces *s, uint64_t version, uint32_t part, const float *vectors,
		    uint32_t rows)
{
	int rc = 0;

	pthread_rwlock_wrlock(&s->lock);
	if (s->putting)
		rc = collection_stage(s->into->vectors, s->putting, part, version, vectors, rows);
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

int spaces_put_end(struct spaces *s, int error)
{
	pthread_rwlock_wrlock(&s->lock);
	int keep = !error && s->putting;
	changes_add(s, keep ? collection_staged(s->into->vectors) : 0);
	collection_stage_end(s->into->vectors, keep);
	s->putting = 0;
	pthread_rwlock_unlock(&s->lock);
	pthread_mutex_unlock(&s->put);
	return error;
}

void spaces_remove(struct spaces *s, uint64_t inode)
{
	pthread_rwlock_wrlock(&s->lock);
	remove_locked(s, inode);
	pthread_rwlock_unlock(&s->lock);
}

/* ---- asking ---- */

uint64_t spaces_changes(struct spaces *s)
{
	return atomic_load_explicit(&s->changes, memory_order_acquire);
}

void spaces_want_codes(struct spaces *s, uint32_t dim, enum vectors_metric metric,
		       enum quantizer_kind quantizer)
{
	pthread_rwlock_wrlock(&s->lock);
	struct space *space = find(s, dim, metric);
	if (space && space->quantizer < quantizer) {
		space->quantizer = quantizer;
		collection_set_quantizer(space->vectors, quantizer);
	}
	pthread_rwlock_unlock(&s->lock);
}

void spaces_want_no_codes(struct spaces *s)
{
	pthread_rwlock_wrlock(&s->lock);
	for (unsigned i = 0; i < s->count; i++) {
		s->spaces[i].quantizer = QUANTIZER_NONE;
		collection_set_quantizer(s->spaces[i].vectors, QUANTIZER_NONE);
	}
	pthread_rwlock_unlock(&s->lock);
}

int spaces_have(struct spaces *s, uint32_t dim)
{
	int found = 0;

	pthread_rwlock_rdlock(&s->lock);
	for (unsigned i = 0; i < s->count; i++)
		found |= s->spaces[i].is.dim == dim;
	pthread_rwlock_unlock(&s->lock);
	return found;
}

int spaces_hold(struct spaces *s, uint32_t dim, enum vectors_metric metric, uint64_t inode,
		uint64_t version, uint32_t rows)
{
	int holds = 0;

	pthread_rwlock_rdlock(&s->lock);
	const struct space *space = find(s, dim, metric);
	if (space) { /* they came together, in order: the last one stands for all */
		const struct vectors *v = collection_vectors(space->vectors);
		uint32_t row = rows_latest(&v->rows, inode);
		holds = row != ROWS_NONE && !rows_is_dead(&v->rows, row) &&
			v->versions[row] == version && v->rows.parts[row] + 1 == rows;
	}
	pthread_rwlock_unlock(&s->lock);
	return holds;
}

/* The end of the rows of one file that begin with `row`. */
static uint32_t file_end(const struct rows *r, uint32_t row)
{
	uint64_t owner = r->owners[row];
	uint32_t last = row, step = 1;

	/* a file's rows have their parts in order, with no other's between them */
	for (; step; step /= 2)
		while (step < r->count - last && r->owners[last + step] == owner &&
		       r->parts[last + step] == r->parts[row] + (last - row) + step) {
			last += step;
			step *= 2;
		}
	return last + 1;
}

int spaces_each(struct spaces *s, int (*take)(void *arg, uint64_t inode), void *arg)
{
	int rc = 0;

	pthread_rwlock_rdlock(&s->lock);
	for (unsigned i = 0; i < s->count; i++) {
		const struct rows *r = &collection_vectors(s->spaces[i].vectors)->rows;
		for (uint32_t row = 0; row < r->count && rc == 0; row = file_end(r, row))
			if (!rows_is_dead(r, row))
				rc = take(arg, r->owners[row]);
	}
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

static void bits_set(uint64_t *bitmap, uint32_t low, uint32_t high)
{
	for (; low < high && low % 64; low++)
		bitmap[low / 64] |= UINT64_C(1) << low % 64;
	for (; high - low >= 64; low += 64)
		bitmap[low / 64] = UINT64_MAX;
	for (; low < high; low++)
		bitmap[low / 64] |= UINT64_C(1) << low % 64;
}

/* Which rows the filter lets through, file by file: *out NULL: all. */
static int allowed_rows(const struct rows *r, const struct search_filter *filter, uint64_t **out)
{
	uint64_t *bitmap = alloc_zeroed(r->count / 64 + 1, sizeof(*bitmap));
	int refused = 0;

	*out = NULL;
	if (!bitmap)
		return -ENOMEM;
	for (uint32_t row = 0, end; row < r->count; row = end) {
		end = file_end(r, row);
		if (rows_is_dead(r, row))
			continue;
		if (filter->accept(filter->arg, r->owners[row], r->parts[row]))
			bits_set(bitmap, row, end);
		else
			refused = 1;
	}
	if (refused)
		*out = bitmap;
	else
		alloc_free(bitmap);
	return 0;
}

/* Which share of the rows it lets through, of a sample. */
static float allowed_share(const struct rows *r, const struct search_filter *filter)
{
	unsigned asked = 0, allowed = 0;

	for (uint64_t i = 0; i < SAMPLE; i++) {
		uint32_t row = (uint32_t)(i * r->count / SAMPLE);
		if (rows_is_dead(r, row))
			continue;
		asked++;
		allowed += !!filter->accept(filter->arg, r->owners[row], r->parts[row]);
	}
	return allowed ? (float)allowed / (float)asked : 0;
}

/* An index is told how much of it is asked for: what few rows are let through is scanned, and for what is
 * between it goes further. *bitmap is the caller's. [lock] */
OWN_FRAME static int scope_tell(const struct space *space, struct index_query *query,
				struct search_filter *filter, uint64_t **bitmap)
{
	const struct rows *r = &collection_vectors(space->vectors)->rows;

	*bitmap = NULL;
	if (!filter || !filter->accept || !collection_index(space->vectors))
		return 0;
	if (r->owners_count <= OWNERS_FEW) {
		int rc = allowed_rows(r, filter, bitmap);
		filter->bitmap = *bitmap;
		filter->bitmap_rows = *bitmap ? r->count : 0;
		return rc;
	}
	query->share = allowed_share(r, filter);
	if (!query->share)
		query->recall = 1;
	return 0;
}

int spaces_search(struct spaces *s, uint32_t dim, enum vectors_metric metric,
		  struct index_query *query, struct search_filter *filter, struct search_hit *hits,
		  unsigned *count, int *partial)
{
	uint64_t *bitmap = NULL;
	int rc = 0;

	*count = 0;
	pthread_rwlock_rdlock(&s->lock);
	const struct space *space = find(s, dim, metric);
	if (space)
		rc = scope_tell(space, query, filter, &bitmap);
	if (space && rc == 0)
		rc = collection_search(space->vectors, query, hits, count, partial);
	pthread_rwlock_unlock(&s->lock);
	if (bitmap) {
		filter->bitmap = NULL;
		alloc_free(bitmap);
	}
	return rc;
}

void spaces_get_stats(struct spaces *s, struct spaces_stats *out)
{
	*out = (struct spaces_stats){0};
	pthread_rwlock_rdlock(&s->lock);
	for (unsigned i = 0; i < s->count; i++) {
		const struct collection *c = s->spaces[i].vectors;
		struct vectors_stats rows;
		struct index_stats index = {0};
		vectors_get_stats(collection_vectors(c), &rows);
		if (collection_index(c))
			index_get_stats(collection_index(c), &index);
		out->vectors += rows.alive;
		out->bytes += rows.bytes + index.bytes;
		out->mapped += rows.mapped;
		out->cells += index.cells;
		out->coded += index.quantizer ? index.rows : 0;
		out->scanned += collection_index(c) ? collection_behind(c) : rows.alive;
	}
	pthread_rwlock_unlock(&s->lock);
}

/* ---- upkeep ---- */

static unsigned spaces_count(struct spaces *s)
{
	pthread_rwlock_rdlock(&s->lock);
	unsigned count = s->count;
	pthread_rwlock_unlock(&s->lock);
	return count;
}

int spaces_want(struct spaces *s)
{
	int want = 0;

	pthread_rwlock_rdlock(&s->lock);
	for (unsigned i = 0; i < s->count; i++)
		want |= collection_wants_build(s->spaces[i].vectors) ||
			collection_behind(s->spaces[i].vectors);
	pthread_rwlock_unlock(&s->lock);
	return want;
}

int spaces_tend(struct spaces *s, int always, const _Atomic int *cancel)
{
	unsigned count = spaces_count(s);
	int rc = 0;

	for (unsigned i = 0; i < count && rc >= 0; i++) {
		struct collection *c = s->spaces[i].vectors;
		pthread_rwlock_rdlock(&s->lock);
		int any = always && collection_dead(c);
		pthread_rwlock_unlock(&s->lock);
		rc = collection_tend(c, &s->lock, any, cancel);
		if (rc > 0)
			changes_add(s, 1);
	}
	return rc < 0 ? rc : 0;
}
