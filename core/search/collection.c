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
#include "pool/frame.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum { DEAD_ROWS_LEAST = 1024, FOLLOW_ROWS = 256, AT_ONCE = 64, DEAD_SHARE = 8 };

struct collection {
	struct vectors *vectors;
	struct index *index;   /* NULL: none */
	uint32_t trained_rows; /* living rows when the index was built */
	uint32_t indexed;      /* living rows from here on are not in the index, and scanned */
	enum quantizer_kind quantizer;
	uint32_t settled; /* rows from here on are staged: dead, as far as others see */
};

struct collection_build {
	enum quantizer_kind quantizer;
	struct vectors view;
	struct vectors *vectors; /* the result; NULL: the collection's own, as no row moves */
	struct index *index;
	const _Atomic int *cancel; /* NULL: nobody does */
	uint32_t trained;          /* rows that the index was built of */
	uint32_t followed;         /* rows of the collection up to here are in the result */
	/* Where rows move: of those up to `followed` a bit for each that is not in the result, as it is
	 * dead, and where each of the others went. */
	uint64_t *gone;
	uint32_t *moved;
	int moves;
};

/* An index has all that lives of the first rows: of how many, as many as it has say. */
static uint32_t rows_indexed(const struct vectors *v, const struct index *ix)
{
	struct index_stats stats = {0};
	uint32_t row = 0;

	if (ix)
		index_get_stats(ix, &stats);
	for (uint64_t alive = 0; row < v->rows.count && alive < stats.rows; row++)
		alive += !rows_is_dead(&v->rows, row);
	return row;
}

int collection_adopt(struct vectors *v, struct index *ix, struct collection **out)
{
	struct collection *c = alloc_get(sizeof(*c));

	if (!c)
		return -ENOMEM;
	*c = (struct collection){.vectors = v,
				 .index = ix,
				 .trained_rows = v->rows.count - v->rows.dead_count,
				 .indexed = rows_indexed(v, ix),
				 .settled = v->rows.count};
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

/* Without an index all is scanned. */
static void index_give_up(struct collection *c)
{
	index_free(c->index);
	c->index = NULL;
}

int collection_put(struct collection *c, uint64_t owner, uint32_t part, uint64_t version,
		   const float *vector)
{
	uint32_t row;

	CHECK(c->settled == c->vectors->rows.count);
	int rc = vectors_put(c->vectors, owner, part, version, vector, &row);
	if (rc)
		return rc;
	c->settled = row + 1;
	if (c->index && c->indexed == row && collection_follow(c, 1))
		index_give_up(c);
	return 0;
}

int collection_stage(struct collection *c, uint64_t owner, uint32_t part, uint64_t version,
		     const float *vectors, uint32_t count)
{
	struct vectors *v = c->vectors;
	int rc = 0;

	for (uint32_t i = 0; i < count && !rc; i++) {
		uint32_t row;
		rc = vectors_append(v, owner, part + i, version,
				    vectors + (size_t)i * v->config.dim, &row);
		if (!rc)
			rows_kill(&v->rows, row);
	}
	return rc;
}

uint32_t collection_staged(const struct collection *c)
{
	return c->vectors->rows.count - c->settled;
}

void collection_stage_end(struct collection *c, int keep)
{
	uint32_t count = c->vectors->rows.count, first = c->settled;

	for (uint32_t row = first; keep && row < count; row++)
		rows_revive(&c->vectors->rows, row);
	c->settled = count;
	if (c->index && c->indexed == first && count - first <= AT_ONCE &&
	    collection_follow(c, AT_ONCE))
		index_give_up(c);
}

int collection_follow(struct collection *c, uint32_t most)
{
	int rc = 0;

	for (; c->index && most && c->indexed < c->settled && !rc; c->indexed += !rc)
		if (!rows_is_dead(&c->vectors->rows, c->indexed)) {
			rc = index_add(c->index, c->vectors, c->indexed);
			most--;
		}
	return rc ? rc : collection_behind(c) > 0;
}

unsigned collection_delete(struct collection *c, uint64_t owner)
{
	return vectors_delete(c->vectors, owner);
}

unsigned collection_delete_part(struct collection *c, uint64_t owner, uint32_t part)
{
	return vectors_delete_part(c->vectors, owner, part);
}

/* Adds the best of the rows that the index does not have. It may have scanned them, too, where that was
 * cheaper than to use what it has. */
OWN_FRAME static int rest_search(const struct collection *c, const struct index_query *query,
				 struct search_hit *hits, unsigned *count, int *partial)
{
	struct search_heap heap = {.hits = hits, .limit = query->limit};
	int cut = 0;

	for (unsigned i = 0; i < *count; i++) {
		struct search_hit hit = hits[i]; /* the heap grows into what was read already */
		if (hit.row < c->indexed)
			search_heap_push(&heap, &hit);
	}
	int rc =
		flat_search_from(c->vectors, c->indexed, query->vector, query->filter, &heap, &cut);
	search_heap_finish(&heap);
	*count = heap.count;
	if (partial)
		*partial |= cut;
	return rc;
}

int collection_search(const struct collection *c, const struct index_query *query,
		      struct search_hit *hits, unsigned *count, int *partial)
{
	if (!c->index)
		return flat_search(c->vectors, query->vector, query->filter, query->limit, hits,
				   count, partial);
	int rc = index_search(c->index, c->vectors, query, hits, count, partial);
	return !rc && collection_behind(c) ? rest_search(c, query, hits, count, partial) : rc;
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

uint32_t collection_dead(const struct collection *c)
{
	return c->vectors->rows.dead_count - collection_staged(c);
}

void collection_set_quantizer(struct collection *c, enum quantizer_kind quantizer)
{
	c->quantizer = quantizer;
}

/* Coarser ones than it has are not worth a build of their own. */
static int wants_finer_codes(const struct collection *c)
{
	struct index_stats stats;

	index_get_stats(c->index, &stats);
	return stats.quantizer < c->quantizer;
}

int collection_wants_build(const struct collection *c)
{
	uint32_t dead = collection_dead(c), alive = c->settled - dead;

	if (dead > DEAD_ROWS_LEAST && dead > alive / 2)
		return 1;
	return alive >= INDEX_FLAT_ROWS &&
	       (!c->index || alive / 2 >= c->trained_rows || wants_finer_codes(c));
}

uint32_t collection_behind(const struct collection *c)
{
	return c->index ? c->settled - c->indexed : 0;
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

/* Enough of the collection to read its first rows; no way from owners to rows. */
static int view_make(const struct vectors *v, uint32_t rows, struct vectors *view)
{
	*view = (struct vectors){.config = v->config,
				 .stride = v->stride,
				 .shift = v->shift,
				 .next_id = v->next_id,
				 .segments_count = v->segments_count,
				 .scales_capacity = rows};
	view->rows.count = rows;
	view->rows.capacity = rows;
	view->rows.dead_count = v->rows.dead_count - (v->rows.count - rows); /* staged ones */
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

int collection_build_begin(const struct collection *c, int always, struct collection_build **out)
{
	struct collection_build *b = alloc_zeroed(1, sizeof(*b));
	int rc = b ? view_make(c->vectors, c->settled, &b->view) : -ENOMEM;

	if (rc) {
		alloc_free(b);
		return rc;
	}
	b->moves = always || collection_dead(c) > c->settled / DEAD_SHARE;
	b->followed = c->settled;
	b->quantizer = c->quantizer;
	*out = b;
	return 0;
}

/* The index of a small collection is not kept: there is nothing in it. */
static void index_settle(struct collection_build *b)
{
	struct index_stats stats;

	b->trained = b->view.rows.count - b->view.rows.dead_count;
	index_get_stats(b->index, &stats);
	if (stats.kind != INDEX_FLAT)
		return;
	index_free(b->index);
	b->index = NULL;
}

/* A copy of what lives, and where each row went. */
static int rows_move(struct collection_build *b)
{
	uint32_t rows = b->view.rows.count;

	b->gone = copy(b->view.rows.dead, (rows + 63ull) / 64 * sizeof(*b->gone));
	b->moved = alloc_get((rows + 1ull) * sizeof(*b->moved));
	if (!b->gone || !b->moved)
		return -ENOMEM;
	if (rows % 64) /* what is staged is not dead by then */
		b->gone[rows / 64] &= (UINT64_C(1) << rows % 64) - 1;
	for (uint32_t row = 0, to = 0; row < rows; row++)
		b->moved[row] = rows_is_dead(&b->view.rows, row) ? ROWS_NONE : to++;
	return vectors_compact(&b->view, &b->vectors);
}

int collection_build_run(struct collection_build *b, unsigned threads, const _Atomic int *cancel)
{
	struct index_options options = {
		.quantizer = b->quantizer, .threads = threads, .cancel = cancel};
	int rc = 0;

	b->cancel = cancel;
	if (b->moves)
		rc = rows_move(b);
	if (!rc)
		rc = index_build(b->moves ? b->vectors : &b->view, &options, &b->index);
	if (!rc)
		index_settle(b);
	return rc;
}

/* Room for `rows` rows, which are not gone. */
static int moved_grow(struct collection_build *b, uint32_t rows)
{
	size_t had = (b->followed + 63ull) / 64, words = (rows + 63ull) / 64;
	uint64_t *gone = alloc_resize(b->gone, (words + 1) * sizeof(*gone));

	if (!gone)
		return -ENOMEM;
	memset(gone + had, 0, (words + 1 - had) * sizeof(*gone));
	b->gone = gone;
	uint32_t *moved = alloc_resize(b->moved, (rows + 1ull) * sizeof(*moved));
	if (!moved)
		return -ENOMEM;
	b->moved = moved;
	return 0;
}

/* Rows of the result that have died since. */
static void deaths_bring(const struct rows *now, struct collection_build *b)
{
	for (uint32_t word = 0; word * 64ull < b->followed; word++) {
		uint64_t bits = now->dead[word] & ~b->gone[word];
		if (b->followed - word * 64 < 64)
			bits &= (UINT64_C(1) << (b->followed - word * 64)) - 1;
		for (b->gone[word] |= bits; bits; bits &= bits - 1)
			rows_kill(&b->vectors->rows,
				  b->moved[word * 64 + (uint32_t)__builtin_ctzll(bits)]);
	}
}

/* A row of the collection, to the end of the result. */
static int row_move(const struct vectors *from, uint32_t row, struct vectors *to, float *buffer,
		    uint32_t *at)
{
	return vectors_append(to, from->rows.owners[row], from->rows.parts[row],
			      from->versions[row], vectors_row_f32(from, row, buffer), at);
}

/* Brings what changed, and of the new rows at most `most`. Locked as a search. */
static int changes_bring(const struct collection *c, struct collection_build *b, uint32_t most)
{
	const struct vectors *from = c->vectors;
	const struct rows *now = &from->rows;
	uint32_t end = c->settled - b->followed < most ? c->settled : b->followed + most;
	float *buffer = alloc_get(from->config.dim * sizeof(*buffer));
	int rc = !buffer ? -ENOMEM : b->moves ? moved_grow(b, end) : 0;

	if (!rc && b->moves)
		deaths_bring(now, b);
	for (; !rc && b->followed < end; b->followed += !rc) {
		uint32_t row = b->followed, to = row;
		if (b->cancel && atomic_load_explicit(b->cancel, memory_order_relaxed)) {
			rc = -ECANCELED;
		} else if (rows_is_dead(now, row)) {
			if (b->moves)
				b->gone[row / 64] |= UINT64_C(1) << row % 64;
		} else {
			if (b->moves)
				rc = row_move(from, row, b->vectors, buffer, &to);
			if (!rc && b->moves)
				b->moved[row] = to;
			if (!rc && b->index)
				rc = index_add(b->index, b->moves ? b->vectors : from, to);
		}
	}
	alloc_free(buffer);
	return rc;
}

int collection_build_follow(struct collection_build *b, const struct collection *c)
{
	int rc = changes_bring(c, b, FOLLOW_ROWS);

	return rc ? rc : b->followed < c->settled;
}

/* Rows that are staged, which stay so. */
static int staged_move(const struct collection *c, struct collection_build *b)
{
	const struct vectors *from = c->vectors;
	float *buffer = alloc_get(from->config.dim * sizeof(*buffer));
	int rc = buffer ? 0 : -ENOMEM;

	for (uint32_t row = c->settled, to; row < from->rows.count && !rc; row++) {
		rc = row_move(from, row, b->vectors, buffer, &to);
		if (!rc)
			rows_kill(&b->vectors->rows, to);
	}
	alloc_free(buffer);
	return rc;
}

static void index_exchange(struct collection *c, struct collection_build *b, uint32_t settled)
{
	struct vectors *vectors = c->vectors;
	struct index *index = c->index;

	if (b->moves) {
		c->vectors = b->vectors;
		b->vectors = vectors;
	}
	c->index = b->index;
	b->index = index;
	c->trained_rows = b->trained;
	c->indexed = c->settled = settled;
}

int collection_build_end(struct collection *c, struct collection_build *b, int error)
{
	uint32_t settled = c->settled;
	int rc = error;

	if (!rc)
		rc = changes_bring(c, b, UINT32_MAX);
	if (!rc && b->moves) {
		settled = b->vectors->rows.count;
		rc = staged_move(c, b);
	}
	if (!rc)
		index_exchange(c, b, settled);
	alloc_free(b->gone);
	alloc_free(b->moved);
	view_free(&b->view);
	index_free(b->index);
	vectors_free(b->vectors);
	alloc_free(b);
	return rc;
}
