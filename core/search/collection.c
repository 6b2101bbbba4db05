/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see collection.h.
 * Invariants: a build works on a view: copies of the row tables, and the vectors' bytes in place,
 *            which do not move or change as long as nothing is saved or compacted. What happens to
 *            the collection after build_begin() is found again by comparing it with the view: rows
 *            past the view's end, and rows that the view has alive and the collection dead.
 */
#include "core/search/collection.h"
#include "core/search/flat.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum { DEAD_ROWS_LEAST = 1024, FOLLOW_ROWS = 256 };

struct collection {
	struct vectors *vectors;
	struct index *index;   /* NULL: none */
	uint32_t trained_rows; /* living rows when the index was built */
};

struct collection_build {
	struct vectors view;
	struct vectors *vectors; /* the result */
	struct index *index;
	const _Atomic int *cancel; /* NULL: nobody does */
	uint32_t trained;          /* rows that the index was built of */
	/* Rows of the collection up to here are in the result; of these, a bit for each that is not,
	 * as it is dead. */
	uint32_t followed;
	uint64_t *gone;
};

int collection_adopt(struct vectors *v, struct index *ix, struct collection **out)
{
	struct collection *c = alloc_get(sizeof(*c));

	if (!c)
		return -ENOMEM;
	*c = (struct collection){v, ix, v->rows.count - v->rows.dead_count};
	*out = c;
	return 0;
}

int collection_new(const struct vectors_config *config, struct collection **out)
{
	struct vectors *v;
	int rc = vectors_new(config, &v);

	if (rc)
		return rc;
	rc = collection_adopt(v, NULL, out);
	if (rc)
		vectors_free(v);
	return rc;
}

void collection_free(struct collection *c)
{
	if (!c)
		return;
	index_free(c->index);
	vectors_free(c->vectors);
	alloc_free(c);
}

int collection_put(struct collection *c, uint64_t owner, uint32_t part, uint64_t version,
		   const float *vector)
{
	uint32_t row;
	int rc = vectors_put(c->vectors, owner, part, version, vector, &row);

	if (!rc && c->index && index_add(c->index, c->vectors, row)) {
		index_free(c->index);
		c->index = NULL;
	}
	return rc;
}

unsigned collection_delete(struct collection *c, uint64_t owner)
{
	return vectors_delete(c->vectors, owner);
}

unsigned collection_delete_part(struct collection *c, uint64_t owner, uint32_t part)
{
	return vectors_delete_part(c->vectors, owner, part);
}

int collection_search(const struct collection *c, const struct index_query *query,
		      struct search_hit *hits, unsigned *count, int *partial)
{
	if (!c->index)
		return flat_search(c->vectors, query->vector, query->filter, query->limit, hits,
				   count, partial);
	return index_search(c->index, c->vectors, query, hits, count, partial);
}

void collection_seal_end(struct collection *c, struct vectors_seal *seal, int error)
{
	vectors_seal_end(c->vectors, seal, error);
}

const struct vectors *collection_vectors(const struct collection *c)
{
	return c->vectors;
}

const struct index *collection_index(const struct collection *c)
{
	return c->index;
}

int collection_wants_build(const struct collection *c)
{
	uint32_t dead = c->vectors->rows.dead_count, alive = c->vectors->rows.count - dead;

	if (dead > DEAD_ROWS_LEAST && dead > alive / 2)
		return 1;
	return alive >= INDEX_FLAT_ROWS && (!c->index || alive / 2 >= c->trained_rows);
}

static void view_free(struct vectors *view)
{
	alloc_free(view->rows.owners);
	alloc_free(view->rows.parts);
	alloc_free(view->rows.dead);
	alloc_free(view->scales);
	alloc_free(view->versions);
	alloc_free(view->segments);
}

static void *copy(const void *from, size_t bytes)
{
	void *to = alloc_get(bytes + 1);

	if (to && bytes)
		memcpy(to, from, bytes);
	return to;
}

/* Enough of the collection to read its rows; no way from owners to rows. */
static int view_make(const struct vectors *v, struct vectors *view)
{
	uint32_t rows = v->rows.count;

	*view = (struct vectors){.config = v->config,
				 .stride = v->stride,
				 .shift = v->shift,
				 .next_id = v->next_id,
				 .segments_count = v->segments_count,
				 .scales_capacity = rows};
	view->rows.count = rows;
	view->rows.capacity = rows;
	view->rows.dead_count = v->rows.dead_count;
	view->rows.owners = copy(v->rows.owners, rows * sizeof(*v->rows.owners));
	view->rows.parts = copy(v->rows.parts, rows * sizeof(*v->rows.parts));
	view->rows.dead = copy(v->rows.dead, (rows + 63ull) / 64 * sizeof(*v->rows.dead));
	view->scales = copy(v->scales, rows * sizeof(*v->scales));
	view->versions = copy(v->versions, rows * sizeof(*v->versions));
	view->segments = copy(v->segments, v->segments_count * sizeof(*v->segments));
	if (view->rows.owners && view->rows.parts && view->rows.dead && view->scales &&
	    view->versions && view->segments)
		return 0;
	view_free(view);
	return -ENOMEM;
}

int collection_build_begin(const struct collection *c, struct collection_build **out)
{
	struct collection_build *b = alloc_zeroed(1, sizeof(*b));
	int rc = b ? view_make(c->vectors, &b->view) : -ENOMEM;

	if (rc) {
		alloc_free(b);
		return rc;
	}
	b->followed = b->view.rows.count;
	*out = b;
	return 0;
}

/* The index of a small collection is not kept: there is nothing in it. */
static void index_settle(struct collection_build *b)
{
	struct index_stats stats;

	b->trained = b->vectors->rows.count;
	index_get_stats(b->index, &stats);
	if (stats.kind != INDEX_FLAT)
		return;
	index_free(b->index);
	b->index = NULL;
}

int collection_build_run(struct collection_build *b, unsigned threads, const _Atomic int *cancel)
{
	struct index_options options = {.threads = threads, .cancel = cancel};

	b->cancel = cancel;
	int rc = vectors_compact(&b->view, &b->vectors);
	if (!rc)
		rc = index_build(b->vectors, &options, &b->index);
	if (!rc)
		index_settle(b);
	return rc;
}

/* Room for the bits of `rows` rows. */
static int gone_grow(struct collection_build *b, uint32_t rows)
{
	size_t had = b->gone ? (b->followed + 63ull) / 64 : 0, words = (rows + 63ull) / 64;
	uint64_t *more = alloc_resize(b->gone, (words + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	memset(more + had, 0, (words + 1 - had) * sizeof(*more));
	if (!b->gone)
		memcpy(more, b->view.rows.dead, (b->followed + 63ull) / 64 * sizeof(*more));
	b->gone = more;
	return 0;
}

/* Rows of the result that have died since. The one that took a row's place is not in the result yet: it
 * came later, and this is done first each time. */
static void deaths_bring(const struct rows *now, struct collection_build *b)
{
	for (uint32_t word = 0; word * 64ull < b->followed; word++) {
		uint64_t bits = now->dead[word] & ~b->gone[word];
		if (b->followed - word * 64 < 64)
			bits &= (UINT64_C(1) << (b->followed - word * 64)) - 1;
		for (b->gone[word] |= bits; bits; bits &= bits - 1) {
			uint32_t row = word * 64 + (uint32_t)__builtin_ctzll(bits);
			vectors_delete_part(b->vectors, now->owners[row], now->parts[row]);
		}
	}
}

/* Brings what changed, and of the new rows at most `most`. Locked as a search. */
static int changes_bring(const struct vectors *from, struct collection_build *b, uint32_t most)
{
	const struct rows *now = &from->rows;
	uint32_t end = now->count - b->followed < most ? now->count : b->followed + most;
	float *buffer = alloc_get(from->config.dim * sizeof(*buffer));
	int rc = buffer ? gone_grow(b, end) : -ENOMEM;

	if (!rc)
		deaths_bring(now, b);
	for (; !rc && b->followed < end; b->followed += !rc) {
		uint32_t row = b->followed, to;
		if (b->cancel && atomic_load_explicit(b->cancel, memory_order_relaxed)) {
			rc = -ECANCELED;
		} else if (rows_is_dead(now, row)) {
			b->gone[row / 64] |= UINT64_C(1) << row % 64;
		} else {
			rc = vectors_put(b->vectors, now->owners[row], now->parts[row],
					 from->versions[row], vectors_row_f32(from, row, buffer),
					 &to);
			if (!rc && b->index)
				rc = index_add(b->index, b->vectors, to);
		}
	}
	alloc_free(buffer);
	return rc;
}

int collection_build_follow(struct collection_build *b, const struct collection *c)
{
	int rc = changes_bring(c->vectors, b, FOLLOW_ROWS);

	return rc ? rc : b->followed < c->vectors->rows.count;
}

int collection_build_end(struct collection *c, struct collection_build *b, int error)
{
	struct vectors *old_vectors = c->vectors;
	struct index *old_index = c->index;
	int rc = error;

	if (!rc)
		rc = changes_bring(c->vectors, b, UINT32_MAX);
	if (!rc) {
		c->vectors = b->vectors;
		c->index = b->index;
		c->trained_rows = b->trained;
		b->vectors = old_vectors;
		b->index = old_index;
	}
	alloc_free(b->gone);
	view_free(&b->view);
	index_free(b->index);
	vectors_free(b->vectors);
	alloc_free(b);
	return rc;
}
