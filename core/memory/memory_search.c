/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a query from text to ranked files with their paths; see memory.h.
 * Invariants: scope and permission are checked for whatever would be returned, before it counts as a
 *            result, so what the caller may not see takes no place either.
 * Threading: `query` while the text is embedded, then `index` for reading, then neither.
 */
#include "core/memory/filter.h"
#include "core/memory/memory_inside.h"
#include "core/memory/spaces.h"
#include "core/memory/use.h"
#include "core/search/flat.h"
#include "core/store/commit.h"
#include "pool/alloc.h"
#include "pool/frame.h"
#include "pool/layers.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* SURE: times the results that are shown: passages that the list of meaning is to have by the index'
 * recall; those behind them only fill places. */
enum { CANDIDATES = 200, SURE = 2, ASSOCIATED = 100, VERDICTS_LOG2 = 10, LIMIT = 10 };
#define BROUGHT 0x80000000u /* in a hit's row: of a vector that a user brought */

/* Whether a file may be a result, kept for a search: it is asked for each of its passages. */
struct verdict {
	uint64_t owner; /* 0: none yet */
	int allowed;
};

/* A model whose vectors the query is compared with. */
struct asked {
	struct memory_model *model;
	float *vector;      /* of the query */
	float scale, shift; /* of its scores, to those of the first one */
};

struct search {
	struct memory *mem;
	const struct memory_query *query;
	struct asked asked[MEMORY_MODELS_MAX]; /* the one with most passages first */
	unsigned asked_count, unasked;
	float *vector; /* of a query without words, or NULL */
	uint32_t dim;  /* of it */
	int raw;       /* scores are similarities: vectors that were brought are among the hits */
	struct words_bag bag;
	float *weights; /* of its terms */
	struct fuse_background background;
	struct search_hit hits[2][CANDIDATES];
	struct search_hit missing[2 * CANDIDATES], rest[2 * CANDIDATES];
	struct fuse_hit fused[2 * CANDIDATES + ASSOCIATED];
	unsigned counts[2], count;
	struct search_filter filter;
	struct index_query index;
	int partial, fades;
	struct verdict verdicts[1 << VERDICTS_LOG2]; /* the last one of each hash */
	struct memory_places places;
	char path[MEMORY_PATH_MAX];
	size_t paths_used;
	size_t path_at[MEMORY_RESULTS_MAX]; /* of each result, in the answer's paths */
};

static int is_allowed(struct search *s, uint64_t owner)
{
	/* Fibonacci hashing: inode numbers are a whole number of shards apart */
	uint64_t hash = owner * 0x9e3779b97f4a7c15u >> (64 - VERDICTS_LOG2);
	struct verdict *v = &s->verdicts[hash];

	if (v->owner == owner)
		return v->allowed;
	v->owner = owner;
	if (s->query->filters_count)
		v->allowed = memory_place(s->mem, owner, s->query, s->path, sizeof s->path) == 0 &&
			     filter_file(s->mem, s->query, owner);
	else
		v->allowed = memory_is_placed(s->mem, owner, s->query, &s->places);
	return v->allowed;
}

/* Non-zero: not the file that was asked about. */
static int accept_other(void *arg, uint64_t owner, uint32_t part)
{
	const struct search *s = arg;

	(void)part;
	return owner != s->query->like;
}

static int accept_hit(void *arg, uint64_t owner, uint32_t part)
{
	return accept_other(arg, owner, part) && is_allowed(arg, owner);
}

/* ---- what is asked of which model ---- */

static struct asked *asked_add(struct search *s, struct memory_model *m)
{
	struct asked *a = &s->asked[s->asked_count];

	a->model = m;
	a->scale = 1;
	a->shift = 0;
	a->vector = alloc_zeroed(memory_model_dim(m), sizeof *a->vector);
	s->asked_count += a->vector != NULL;
	return a->vector ? a : NULL;
}

/* The words of a question by one model. -ENOMEM; of an embedder that fails: its texts are not asked. */
static int asked_embed(struct search *s, struct memory_model *m, const char *text, size_t length,
		       char *why)
{
	if (!m->embedder || memory_model_rests(m)) {
		s->unasked++;
		return -EAGAIN;
	}
	struct asked *a = asked_add(s, m);
	if (!a)
		return -ENOMEM;
	int rc = memory_model_ask(m, text, length, a->vector, why);
	if (rc < 0) {
		alloc_free(a->vector);
		s->asked_count--;
		s->unasked++;
	}
	return rc;
}

/* A text by every model that has vectors but those that are asked already. `models`: a bit for each that
 * has. */
static int text_embed(struct search *s, uint32_t models, const char *text, size_t length)
{
	static _Thread_local char why[EMBEDDER_WHY]; /* handlers have 3 KiB of stack */
	struct memory *mem = s->mem;
	int failed = 0;

	for (unsigned i = 0; i < mem->models.count; i++) {
		struct memory_model *m = &mem->models.all[i];
		if (!(models >> i & 1) || (s->asked_count && s->asked[0].model == m))
			continue;
		int rc = asked_embed(s, m, text, length, why);
		if (rc == -ENOMEM)
			return rc;
		failed = rc < 0 ? rc : failed;
	}
	return s->asked_count ? 0 : failed;
}

static OWN_FRAME struct memory_model *model_of_vector(struct search *s)
{
	char reason[MEMORY_REASON_MAX + 1];
	struct memory_state state;
	struct memory *mem = s->mem;
	struct memory_model *m = mem->models.standard;

	if (s->query->like && memory_state_get(mem, s->query->like, &state, reason) == 0 &&
	    state.model != MEMORY_MODEL_ROWS && state.dim == s->dim)
		m = memory_model_find(mem, state.model);
	for (unsigned i = 0; i < mem->models.count && (!m || memory_model_dim(m) != s->dim); i++)
		m = &mem->models.all[i];
	return m && memory_model_dim(m) == s->dim ? m : NULL;
}

/* The first passage of the file that others are to be like, for the models that it has no vector of. */
static OWN_FRAME int like_embed(struct search *s, uint32_t models)
{
	struct memory *mem = s->mem;
	uint64_t inode = s->query->like;
	struct names_inode record;
	struct memory_part part;
	uint8_t sub[4];
	size_t length;
	struct mneme_key key = memory_key(inode, MNEME_TYPE_PASSAGE, 0, sub);

	if (s->asked_count)
		models &= ~(1u << (s->asked[0].model - mem->models.all));
	if (!models || mneme_get(mem->engine, &key, &part, sizeof part, &length) < 0 ||
	    length != sizeof part || memory_inode(mem->engine, inode, &record) < 0)
		return 0;
	length =
		part.end - part.begin < MEMORY_QUERY_MAX ? part.end - part.begin : MEMORY_QUERY_MAX;
	char *text = alloc_get(length + 1);
	if (!text)
		return -ENOMEM;
	int n = memory_read(mem->engine, inode, record.size, part.begin, text, length);
	int rc = n > 0 ? text_embed(s, models, text, (size_t)n) : 0;
	alloc_free(text);
	return rc == -ENOMEM ? rc : 0;
}

/* The vector of a query without words. */
static int vector_prepare(struct search *s, uint32_t models)
{
	const struct memory_query *q = s->query;
	int rc = 0;

	s->vector = alloc_get(MEMORY_DIM_MAX * sizeof *s->vector);
	if (!s->vector)
		return -ENOMEM;
	if (q->like)
		rc = memory_vector_shown(s->mem, q->like, s->vector, MEMORY_DIM_MAX, &s->dim);
	else if (q->dim > MEMORY_DIM_MAX)
		return -EINVAL;
	else
		memcpy(s->vector, q->vector, (s->dim = q->dim) * sizeof *s->vector);
	if (rc < 0)
		return rc;
	struct memory_model *m = model_of_vector(s);
	if (m && models >> (m - s->mem->models.all) & 1) {
		struct asked *a = asked_add(s, m);
		if (!a)
			return -ENOMEM;
		memcpy(a->vector, s->vector, s->dim * sizeof *a->vector);
	}
	if (q->like)
		return like_embed(s, models);
	return m || spaces_have(s->mem->spaces, s->dim) ? 0 : -EINVAL;
}

/* By filters alone. */
static int is_listing(const struct memory_query *q)
{
	return !q->like && !q->vector && !q->length && q->filters_count;
}

static int words_prepare(struct search *s)
{
	struct bench *bench = &s->mem->query;

	pthread_mutex_lock(&bench->lock);
	int rc = words_count(bench->words, s->query->text, s->query->length, &s->bag);
	pthread_mutex_unlock(&bench->lock);
	return rc;
}

/* The query's vectors and words. */
static OWN_FRAME int query_prepare(struct search *s, uint32_t models)
{
	const struct memory_query *q = s->query;
	int rc = q->text ? words_prepare(s) : 0;

	if (rc < 0)
		return rc;
	if (q->vector || q->like)
		return vector_prepare(s, models);
	if (q->mode == MEMORY_LEXICAL || is_listing(q))
		return 0;
	rc = text_embed(s, models, q->text, q->length);
	/* words remain */
	return rc == -ENOMEM || q->mode == MEMORY_VECTOR || q->mode == MEMORY_SIMILAR ? rc : 0;
}

/* ---- finding ---- */

/* Keeps the best of the list of meaning and of `count` others. */
OWN_FRAME static void hits_merge(struct search *s, const struct search_hit *others, unsigned count)
{
	struct search_heap best = {.hits = s->missing, .limit = CANDIDATES};

	for (unsigned i = 0; i < s->counts[1]; i++)
		search_heap_push(&best, &s->hits[1][i]);
	for (unsigned i = 0; i < count; i++)
		search_heap_push(&best, &others[i]);
	search_heap_finish(&best);
	memcpy(s->hits[1], best.hits, best.count * sizeof best.hits[0]);
	s->counts[1] = best.count;
}

/* What an index is asked for: s->index. */
OWN_FRAME static struct index_query *index_ask(struct search *s, const float *vector)
{
	uint32_t shown = s->query->limit ? s->query->limit : LIMIT;

	s->index =
		(struct index_query){.vector = vector,
				     .limit = CANDIDATES,
				     .sure = SURE * shown < CANDIDATES ? SURE * shown : CANDIDATES,
				     .filter = &s->filter};
	return &s->index;
}

/* Adds vectors that users brought to those of the models: of a query by vector or by a file. */
static OWN_FRAME int brought_search(struct search *s)
{
	enum vectors_metric metric;
	unsigned count;
	uint32_t dim;
	int partial = 0;

	memory_collection_of(s->mem, s->query->scope, &dim, &metric);
	int rc = spaces_search(s->mem->spaces, s->dim, metric, index_ask(s, s->vector), &s->filter,
			       s->rest, &count, &partial);
	s->partial |= partial;
	if (rc < 0 || !count)
		return rc;
	s->raw = 1;
	for (unsigned i = 0; i < count; i++)
		s->rest[i].row |= BROUGHT;
	hits_merge(s, s->rest, count);
	return 0;
}

/* Scores of two models are compared by how far they lie above what is usual in each, and given in the
 * scale of the one with most passages. Of very few passages nothing is usual: they count as the mean. */
static OWN_FRAME int scales_settle(struct search *s)
{
	struct fuse_background *b = &s->background;
	unsigned most = 0;
	int rc = 0;

	for (unsigned i = 1; i < s->asked_count; i++)
		if (memory_model_rows(s->asked[i].model) > memory_model_rows(s->asked[most].model))
			most = i;
	struct asked first = s->asked[most];
	s->asked[most] = s->asked[0];
	s->asked[0] = first;
	b->vector_mean = 0;
	b->vector_deviation = 1;
	for (unsigned i = 0; i < s->asked_count && rc == 0; i++) {
		struct asked *a = &s->asked[i];
		float mean = 0, deviation = 0;
		if (a->model->vectors)
			rc = flat_background(collection_vectors(a->model->vectors), a->vector,
					     &mean, &deviation);
		if (i == 0) {
			b->vector_mean = mean;
			b->vector_deviation = deviation;
			continue;
		}
		a->scale = deviation > 0 ? b->vector_deviation / deviation : 0;
		a->shift = b->vector_mean - a->scale * mean;
	}
	return rc;
}

static OWN_FRAME int asked_search(struct search *s, const struct asked *a)
{
	int is_first = a == s->asked, partial = 0;
	struct search_hit *hits = is_first ? s->hits[1] : s->rest;
	unsigned count = 0;

	if (!a->model->vectors)
		return 0;
	int rc = collection_search(a->model->vectors, index_ask(s, a->vector), hits, &count,
				   &partial);
	s->partial |= partial;
	if (is_first)
		s->counts[1] = count;
	if (rc < 0 || is_first)
		return rc;
	for (unsigned i = 0; i < count; i++)
		hits[i].score = a->shift + a->scale * hits[i].score;
	hits_merge(s, hits, count);
	return 0;
}

static int vectors_search(struct search *s)
{
	int rc = 0;

	for (unsigned i = 0; i < s->asked_count && rc == 0; i++)
		rc = asked_search(s, &s->asked[i]);
	return rc == 0 && s->vector ? brought_search(s) : rc;
}

static int asks_words(const struct memory_query *q)
{
	return q->mode == MEMORY_HYBRID || q->mode == MEMORY_LEXICAL;
}

/* Rows that were brought stand for themselves, a text for its best passage. */
static void raw_collect(struct search *s)
{
	const struct search_hit *hits = s->hits[1];

	for (unsigned i = 0; i < s->counts[1]; i++) {
		unsigned seen = 0;
		while (seen < i && (hits[seen].owner != hits[i].owner || hits[seen].row & BROUGHT))
			seen++;
		if (seen < i && !(hits[i].row & BROUGHT))
			continue;
		s->fused[s->count] = (struct fuse_hit){.owner = hits[i].owner,
						       .known = FUSE_VECTOR,
						       .vector_at = hits[i].part,
						       .vector = hits[i].score,
						       .lexical = -INFINITY,
						       .vector_rank = s->count + 1};
		s->count++;
	}
}

static int lists_find(struct search *s, search_accept *accept)
{
	int rc = 0;

	s->filter = (struct search_filter){
		.accept = accept, .arg = s, .deadline_ns = s->query->deadline_ns};
	s->partial = 0;
	s->counts[0] = s->counts[1] = 0;
	s->raw = s->query->vector && !s->query->like;
	if (asks_words(s->query) && s->bag.count)
		rc = lexical_search(s->mem->lexical, &s->bag, &s->filter, CANDIDATES, s->hits[0],
				    &s->counts[0], &s->partial);
	return rc == 0 ? vectors_search(s) : rc;
}

/* For a caller who may read everything there is nothing to ask, unless something is opted out: what went
 * away has no path, and is left out of the results. */
static int all_allowed(struct search *s)
{
	if (!s->query->allow && !atomic_load_explicit(&s->mem->hides, memory_order_relaxed))
		return 1;
	for (int side = 0; side < 2; side++)
		for (unsigned i = 0; i < s->counts[side]; i++)
			if (!is_allowed(s, s->hits[side][i].owner))
				return 0;
	return 1;
}

/* Both lists, and for hybrid the side that is missing for each candidate. `index` is held.
 * To ask for each candidate whether it is in scope and may be read costs more than to score it. A
 * search of everything therefore asks only for what it has found: if all of it is allowed, asking
 * first would have found the same; if not, the search is done again asking first. */
static int candidates_find(struct search *s)
{
	const struct memory_query *q = s->query;
	int everything = q->scope == names_root(mneme_shards(s->mem->engine)) && !q->filters_count;
	int rc = lists_find(s, everything ? accept_other : accept_hit);

	if (rc == 0 && everything && !all_allowed(s))
		rc = lists_find(s, accept_hit);
	if (rc < 0)
		return rc;
	if (s->raw)
		raw_collect(s);
	else
		s->count =
			fuse_collect(s->hits[0], s->counts[0], s->hits[1], s->counts[1], s->fused);
	return 0;
}

/* What the missing mean to the question: each is in one model's collection at most. */
static OWN_FRAME int meaning_fill(struct search *s, unsigned missing)
{
	int rc = 0;

	for (unsigned i = 0; i < missing; i++)
		s->missing[i].score = -INFINITY;
	for (unsigned k = 0; k < s->asked_count && rc == 0; k++) {
		const struct asked *a = &s->asked[k];
		unsigned count = 0;
		if (!a->model->vectors)
			continue;
		for (unsigned i = 0; i < missing; i++)
			if (!isfinite(s->missing[i].score))
				s->rest[count++] = s->missing[i];
		rc = flat_score_owners(collection_vectors(a->model->vectors), a->vector, s->rest,
				       count);
		for (unsigned i = 0, at = 0; i < missing && rc == 0; i++) {
			if (isfinite(s->missing[i].score))
				continue;
			s->missing[i] = s->rest[at++];
			if (isfinite(s->missing[i].score))
				s->missing[i].score = a->shift + a->scale * s->missing[i].score;
		}
	}
	return rc;
}

/* Scores the best part of every candidate that the other side alone has found. */
static int side_fill(struct search *s, enum fuse_known side)
{
	unsigned missing = 0;
	int rc;

	for (unsigned i = 0; i < s->count; i++)
		if (!(s->fused[i].known & side))
			s->missing[missing++] = (struct search_hit){.owner = s->fused[i].owner};
	if (!missing)
		return 0;
	rc = side == FUSE_LEXICAL
		     ? lexical_score_owners(s->mem->lexical, &s->bag, s->missing, missing)
		     : meaning_fill(s, missing);
	for (unsigned i = 0, k = 0; i < s->count && rc == 0; i++) {
		struct fuse_hit *f = &s->fused[i];
		if (f->known & side)
			continue;
		f->known |= side;
		if (side == FUSE_LEXICAL) {
			f->lexical = s->missing[k].score;
			f->lexical_at = s->missing[k++].part;
		} else {
			f->vector = s->missing[k].score;
			f->vector_at = s->missing[k++].part;
		}
	}
	return rc;
}

/* Does the side of words say more for this memory than that of meaning? */
static int words_say_more(const struct fuse_hit *f)
{
	int has_words = f->known & FUSE_LEXICAL && isfinite(f->lexical);
	int has_vector = f->known & FUSE_VECTOR && isfinite(f->vector);

	return has_words && (!has_vector || f->lexical_part >= f->vector_part);
}

static int rank(struct search *s)
{
	struct memory *mem = s->mem;
	const struct memory_query *q = s->query;
	struct fuse_options options = {.method = q->rank_fusion ? FUSE_RANK : FUSE_STANDARD};
	int has_words = asks_words(q) && s->bag.count;
	int has_vector = s->asked_count || s->raw, rc = 0;

	for (unsigned i = 0; i < s->count; i++) { /* a side that is not asked says nothing */
		s->fused[i].lexical = has_words ? s->fused[i].lexical : -INFINITY;
		s->fused[i].vector = has_vector ? s->fused[i].vector : -INFINITY;
	}
	if (has_words)
		rc = side_fill(s, FUSE_LEXICAL);
	if (rc == 0 && has_vector && !s->raw)
		rc = side_fill(s, FUSE_VECTOR);
	if (rc < 0)
		return rc;
	if (has_words)
		lexical_background(mem->lexical, &s->bag, &s->background.lexical_mean,
				   &s->background.lexical_deviation);
	options.lexical_weight = has_words;
	options.vector_weight = has_vector;
	if (q->mode == MEMORY_SIMILAR || s->raw) /* the score is the similarity itself */
		s->background = (struct fuse_background){0, 1, 0, 1};
	fuse_rank(s->fused, s->count, &s->background, &options);
	return rc;
}

static __attribute__((noinline)) int result_fill(struct search *s, const struct fuse_hit *hit,
						 struct memory_result *r)
{
	struct memory *mem = s->mem;
	struct memory_sought sought = {.bag = &s->bag, .weights = s->weights};
	int rc = memory_place(mem, hit->owner, s->query, s->path, sizeof s->path);

	if (rc < 0)
		return rc;
	r->inode = hit->owner;
	r->score = hit->score;
	r->cosine = hit->known & FUSE_VECTOR && isfinite(hit->vector) ? hit->vector : 0;
	r->words = hit->known & FUSE_LEXICAL && isfinite(hit->lexical) ? hit->lexical : 0;
	r->cosine_part = hit->vector_part;
	r->words_part = hit->lexical_part;
	r->links_part = hit->links_part;
	r->fade_part = hit->fade_part;
	r->cosine_rank = hit->vector_rank;
	r->words_rank = hit->lexical_rank;
	if (s->raw) {
		rc = memory_rows_locate(mem, hit->owner, hit->vector_at, r);
		if (rc <= 0)
			return rc;
	}
	return memory_result_locate(
		mem, &sought,
		words_say_more(hit) || !(hit->known & FUSE_VECTOR) ? -1 : (int64_t)hit->vector_at,
		r);
}

static int weights_make(struct search *s)
{
	s->weights = alloc_zeroed(s->bag.count + 1, sizeof *s->weights);
	if (!s->weights)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->bag.count; i++) {
		const struct words_term *t = &s->bag.terms[i];
		s->weights[i] = lexical_idf(s->mem->lexical, s->bag.bytes + t->offset, t->length);
	}
	return 0;
}

OWN_FRAME static int associate(struct search *s)
{
	const struct memory_ranking ranking = {.hits = s->fused,
					       .count = &s->count,
					       .capacity = sizeof s->fused / sizeof s->fused[0],
					       .accept = accept_hit,
					       .arg = s};

	return memory_associate(s->mem, s->query, &ranking);
}

/* Without a question there is nothing to score by. `index` is held. */
OWN_FRAME static int newest_collect(struct search *s)
{
	struct memory_newest *files = alloc_zeroed(2 * CANDIDATES, sizeof *files);
	uint32_t limit = s->query->limit ? s->query->limit : LIMIT, count = 0;
	int rc = -ENOMEM;

	if (limit > 2 * CANDIDATES)
		limit = 2 * CANDIDATES;
	if (files)
		rc = memory_newest(s->mem, s->query, limit, files, &count, &s->partial);
	for (; rc == 0 && s->count < count; s->count++)
		s->fused[s->count] = (struct fuse_hit){.owner = files[s->count].inode,
						       .known = FUSE_VECTOR, /* its first passage */
						       .vector = -INFINITY,
						       .lexical = -INFINITY};
	alloc_free(files);
	return rc;
}

/* [index] */
static uint32_t models_with_rows(const struct memory *mem)
{
	uint32_t models = 0;

	for (unsigned i = 0; i < mem->models.count; i++)
		if (memory_model_rows(&mem->models.all[i]))
			models |= 1u << i;
	return models;
}

static int search_run(struct search *s)
{
	struct memory *mem = s->mem;
	int rc;

	pthread_rwlock_rdlock(&mem->index);
	uint32_t models = models_with_rows(mem);
	pthread_rwlock_unlock(&mem->index);
	rc = query_prepare(s, models);
	if (rc < 0)
		return rc;
	pthread_rwlock_rdlock(&mem->index);
	rc = weights_make(s);
	if (rc == 0 && is_listing(s->query)) {
		rc = newest_collect(s);
	} else if (rc == 0) {
		rc = scales_settle(s);
		if (rc == 0)
			LAYER(index, rc = candidates_find(s));
		if (rc == 0)
			rc = rank(s);
	}
	pthread_rwlock_unlock(&mem->index);
	if (rc == 0 && s->query->associate && !is_listing(s->query))
		rc = associate(s);
	if (rc == 0 && !is_listing(s->query))
		s->fades = use_rank(mem, s->fused, s->count);
	return rc;
}

static size_t answer_bytes(uint32_t limit)
{
	return sizeof(struct memory_answer) + limit * sizeof(struct memory_result);
}

/* s->path for the result that comes next. */
static int path_keep(struct search *s, struct memory_answer *answer)
{
	size_t length = strlen(s->path) + 1;

	if (s->paths_used + length > answer->paths_size) {
		size_t size = 2 * answer->paths_size + length + 1024;
		char *more = alloc_resize(answer->paths, size);
		if (!more)
			return -ENOMEM;
		answer->paths = more;
		answer->paths_size = size;
	}
	memcpy(answer->paths + s->paths_used, s->path, length);
	s->path_at[answer->count] = s->paths_used;
	s->paths_used += length;
	return 0;
}

/* Results of the best hits. A file that went away since it was found is left out. */
static int results_fill(struct search *s, struct memory_answer *answer, uint32_t limit)
{
	for (unsigned i = 0; i < s->count && answer->count < limit; i++) {
		if (result_fill(s, &s->fused[i], &answer->results[answer->count]))
			continue;
		if (path_keep(s, answer))
			return -ENOMEM;
		answer->count++;
	}
	for (uint32_t i = 0; i < answer->count; i++)
		answer->results[i].path = answer->paths + s->path_at[i];
	return 0;
}

static int answer_make(struct memory *mem, const struct memory_query *query, uint32_t limit,
		       struct memory_answer **out)
{
	struct memory_answer *answer = NULL;
	struct search *s = alloc_zeroed(1, sizeof *s);

	if (!s)
		return -ENOMEM;
	s->mem = mem;
	s->query = query;
	int rc = search_run(s);
	if (rc == 0) {
		if (limit > s->count)
			limit = s->count;
		answer = alloc_zeroed(1, answer_bytes(limit));
		rc = answer ? results_fill(s, answer, limit) : -ENOMEM;
	}
	if (answer)
		atomic_init(&answer->holders, 1);
	if (rc == 0) {
		answer->partial = s->partial;
		answer->fades = s->fades;
		answer->unasked = s->unasked;
		answer->mode = query->mode;
		answer->rank_fusion = query->rank_fusion;
		answer->associate = query->associate;
		answer->words_mean = s->background.lexical_mean;
		answer->words_deviation = s->background.lexical_deviation;
		answer->cosine_mean = s->background.vector_mean;
		answer->cosine_deviation = s->background.vector_deviation;
		*out = answer;
	} else {
		memory_answer_free(answer);
	}
	for (unsigned i = 0; i < s->asked_count; i++)
		alloc_free(s->asked[i].vector);
	alloc_free(s->vector);
	alloc_free(s->weights);
	words_bag_free(&s->bag);
	alloc_free(s);
	return rc;
}

/* Of all that an answer is found from. Each part only grows, so their sum is the same only while nothing
 * changes. What changes does so under a lock that finding takes later: a version of after it sees it. */
static uint64_t memory_version(struct memory *mem)
{
	return commit_count(mem->engine) + spaces_changes(mem->spaces) +
	       /* acquire: memory_expire() */
	       atomic_load_explicit(&mem->generation, memory_order_acquire);
}

int memory_search(struct memory *mem, const struct memory_query *query, struct memory_answer **out)
{
	uint32_t limit = query->limit ? query->limit : LIMIT;
	uint64_t begin = memory_now_ns();
	size_t length;
	int rc = 0;

	if (limit > MEMORY_RESULTS_MAX ||
	    (!query->like && !query->vector && (!query->text || !query->length) &&
	     !query->filters_count) ||
	    query->length > MEMORY_QUERY_MAX)
		return -EINVAL;
	uint8_t *key = answers_key(query, &length);
	uint64_t version = memory_version(mem);
	struct memory_answer *answer =
		key ? answers_find(&mem->answers, key, length, version) : NULL;
	if (!answer) {
		rc = answer_make(mem, query, limit, &answer);
		if (rc == 0 && key && !answer->partial && !answer->unasked && !answer->fades)
			answers_keep(&mem->answers, key, length, version, answer,
				     answer_bytes(answer->count) + answer->paths_size);
	}
	if (rc == 0) {
		if (!query->uncounted)
			use_note_answer(mem, query->like, answer);
		*out = answer;
	}
	alloc_free(key);
	atomic_fetch_add_explicit(&mem->searches, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&mem->search_ns, memory_now_ns() - begin, memory_order_relaxed);
	return rc;
}

void memory_answer_share(struct memory_answer *answer)
{
	/* relaxed: who shares it holds it */
	atomic_fetch_add_explicit(&answer->holders, 1, memory_order_relaxed);
}

void memory_answer_free(struct memory_answer *answer)
{
	/* release, then acquire by the last one: all reading is done before it is freed */
	if (!answer || atomic_fetch_sub_explicit(&answer->holders, 1, memory_order_acq_rel) > 1)
		return;
	alloc_free(answer->paths);
	alloc_free(answer);
}
