/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   opens embedders by their settings, cuts work into batches, and holds the ways that
 *            need no partner: builtin, hash, none.
 */
#include "core/memory/embedder.h"

#include "core/memory/embedder_private.h"
#include "core/memory/fallback.h"
#include "core/memory/passages.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int embedder_fail(char *why, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, EMBEDDER_WHY, fmt, args);
	va_end(args);
	return err;
}

char *embedder_copy(const char *text)
{
	const size_t size = strlen(text) + 1;
	char *copy = alloc_get(size);

	if (copy)
		memcpy(copy, text, size);
	return copy;
}

int embedder_wait(struct embedder *e, uint64_t milliseconds)
{
	const uint64_t piece = 20;

	for (uint64_t waited = 0; waited < milliseconds; waited += piece) {
		struct timespec t = {0, (long)(piece * 1000000)};

		if (embedder_is_stopped(e))
			return -ECANCELED;
		nanosleep(&t, NULL);
	}
	return embedder_is_stopped(e) ? -ECANCELED : 0;
}

static int builtin_open(struct embedder *e, const struct embedder_settings *s, char *why)
{
	char model_why[MODEL_WHY];
	int rc;

	if (!s->model)
		return embedder_fail(why, -ENOENT, "no model file is set for the builtin embedder");
	rc = model_open(s->model, MODEL_WANT_I8, &e->model, model_why);
	if (rc)
		return embedder_fail(why, rc, "%s", model_why);
	rc = encoder_new(e->model, NULL, &e->encoder);
	if (rc)
		return embedder_fail(why, rc, "the encoder cannot be made: %s", strerror(-rc));
	snprintf(e->name, sizeof(e->name), "builtin:%s", e->model->name);
	atomic_init(&e->dim, MODEL_DIM);
	return 0;
}

static void builtin_close(struct embedder *e)
{
	encoder_free(e->encoder);
	model_close(e->model);
}

static void *builtin_worker_new(struct embedder *e)
{
	return encoder_scratch_new();
}

static void builtin_worker_free(void *state)
{
	encoder_scratch_free(state);
}

static int builtin_embed(struct embedder *e, void *state, const char *const *texts,
			 const size_t *lens, size_t n, float *vectors, uint32_t *dim, char *why)
{
	encoder_embed(e->encoder, state, texts, lens, n, vectors);
	return 0;
}

static uint32_t builtin_count(struct embedder *e, void *state, const char *text, size_t len)
{
	return encoder_count(e->encoder, state, text, len);
}

static int hash_open(struct embedder *e, const struct embedder_settings *s, char *why)
{
	snprintf(e->name, sizeof(e->name), "hash:%d", FALLBACK_DIM);
	atomic_init(&e->dim, FALLBACK_DIM);
	return 0;
}

static void *hash_worker_new(struct embedder *e)
{
	return fallback_scratch_new();
}

static void hash_worker_free(void *state)
{
	fallback_scratch_free(state);
}

static int hash_embed(struct embedder *e, void *state, const char *const *texts, const size_t *lens,
		      size_t n, float *vectors, uint32_t *dim, char *why)
{
	for (size_t i = 0; i < n; i++)
		fallback_embed(state, texts[i], lens[i], NULL, NULL, vectors + i * FALLBACK_DIM);
	return 0;
}

static int none_open(struct embedder *e, const struct embedder_settings *s, char *why)
{
	snprintf(e->name, sizeof(e->name), "none");
	return 0;
}

static int none_embed(struct embedder *e, void *state, const char *const *texts, const size_t *lens,
		      size_t n, float *vectors, uint32_t *dim, char *why)
{
	return embedder_fail(why, -ENOTSUP, "no embedder is set here");
}

static const struct embedder_way way_builtin = {
	.kind = "builtin",
	.open = builtin_open,
	.close = builtin_close,
	.worker_new = builtin_worker_new,
	.worker_free = builtin_worker_free,
	.embed = builtin_embed,
	.count = builtin_count,
};

static const struct embedder_way way_hash = {
	.kind = "hash",
	.open = hash_open,
	.worker_new = hash_worker_new,
	.worker_free = hash_worker_free,
	.embed = hash_embed,
};

static const struct embedder_way way_none = {
	.kind = "none",
	.open = none_open,
	.embed = none_embed,
};

static const struct embedder_way *way_of(const char *kind)
{
	static const struct embedder_way *const ways[] = {
		&way_builtin, &way_hash, &embedder_way_http, &embedder_way_command, &way_none,
	};

	for (size_t i = 0; kind && i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(kind, ways[i]->kind))
			return ways[i];
	return NULL;
}

static int check_dim(struct embedder *e, const struct embedder_settings *s, char *why)
{
	const uint32_t dim = embedder_dim(e);

	if (!s->dim)
		return 0;
	if (s->dim > EMBEDDER_DIM_MAX)
		return embedder_fail(why, -EINVAL,
				     "%u dimensions are too many, at most %d are possible", s->dim,
				     EMBEDDER_DIM_MAX);
	if (dim && dim != s->dim)
		return embedder_fail(
			why, -EMEDIUMTYPE,
			"%s has %u dimensions, but %u are wanted: its vectors cannot be "
			"mixed with those stored",
			e->name, dim, s->dim);
	atomic_store_explicit(&e->dim, s->dim, memory_order_relaxed);
	return 0;
}

int embedder_open(const struct embedder_settings *s, struct embedder **out, char *why)
{
	const struct embedder_way *way = way_of(s->kind);
	struct embedder *e;
	int rc;

	if (!way)
		return embedder_fail(
			why, -EINVAL,
			"there is no embedder '%.40s': builtin, hash, http, command, none",
			s->kind ? s->kind : "");
	e = alloc_zeroed(1, sizeof(*e));
	if (!e)
		return embedder_fail(why, -ENOMEM, "out of memory");
	e->way = way;
	e->batch = s->batch ? s->batch : 32;
	e->timeout_ms = s->timeout_ms ? s->timeout_ms : 30000;
	e->attempts = s->attempts ? s->attempts : 5;
	e->backoff_ms = s->backoff_ms ? s->backoff_ms : 250;
	rc = way->open(e, s, why);
	if (rc && way == &way_builtin && s->or_hash) {
		snprintf(e->note, sizeof(e->note), "%.300s; hashed words are used instead", why);
		builtin_close(e);
		e->encoder = NULL;
		e->model = NULL;
		e->way = &way_hash;
		rc = hash_open(e, s, why);
	}
	if (!rc)
		rc = check_dim(e, s, why);
	if (rc) {
		embedder_close(e);
		return rc;
	}
	*out = e;
	return 0;
}

void embedder_close(struct embedder *e)
{
	if (!e)
		return;
	if (e->way->close)
		e->way->close(e);
	alloc_free(e);
}

const char *embedder_name(const struct embedder *e)
{
	return e->name;
}

int embedder_is_elsewhere(const struct embedder *e)
{
	return e->way->is_elsewhere;
}

uint32_t embedder_dim(const struct embedder *e)
{
	return atomic_load_explicit(&e->dim, memory_order_relaxed);
}

const char *embedder_note(const struct embedder *e)
{
	return e->note;
}

void embedder_stop(struct embedder *e)
{
	atomic_store_explicit(&e->stopped, 1, memory_order_relaxed);
}

struct embedder_worker *embedder_worker_new(struct embedder *e)
{
	struct embedder_worker *w = alloc_zeroed(1, sizeof(*w));

	if (!w)
		return NULL;
	w->e = e;
	if (!e->way->worker_new)
		return w;
	w->state = e->way->worker_new(e);
	if (!w->state) {
		alloc_free(w);
		return NULL;
	}
	return w;
}

void embedder_worker_free(struct embedder_worker *w)
{
	if (!w)
		return;
	if (w->e->way->worker_free)
		w->e->way->worker_free(w->state);
	alloc_free(w);
}

/* The first answer settles the dimension; of two threads that learn it at once the first wins. */
static int settle_dim(struct embedder *e, uint32_t came, char *why)
{
	uint32_t known = 0;

	/* relaxed: the number alone is shared */
	if (atomic_compare_exchange_strong_explicit(&e->dim, &known, came, memory_order_relaxed,
						    memory_order_relaxed) ||
	    known == came)
		return 0;
	return embedder_fail(why, -EMEDIUMTYPE, "%s answers with %u and with %u dimensions",
			     e->name, known, came);
}

static int embed_a_word(struct embedder_worker *w, float *vector, uint32_t *dim, char *why)
{
	const char *text = "memory";
	const size_t len = strlen(text);

	return w->e->way->embed(w->e, w->state, &text, &len, 1, vector, dim, why);
}

int embedder_probe(struct embedder_worker *w, char *why)
{
	uint32_t dim = 0;

	if (embedder_dim(w->e))
		return 0;
	const int rc = embed_a_word(w, NULL, &dim, why);
	return rc ? rc : settle_dim(w->e, dim, why);
}

enum { BATCH_MAX = 256 };

/* A batch that is refused: because of all, or of some? -EBADMSG, if one of them alone is refused and
 * another text is not. */
static int embed_one_by_one(struct embedder_worker *w, const char *const *texts, const size_t *lens,
			    size_t n, float *vectors, uint32_t dim, char *why)
{
	static _Thread_local char unused[EMBEDDER_WHY]; /* handlers have 3 KiB of stack */
	int rc = -EBADMSG;

	if (embed_a_word(w, vectors, &dim, unused))
		return -EAGAIN;
	for (size_t i = 0; i < n && (i == 0 || !rc); i++)
		rc = w->e->way->embed(w->e, w->state, texts + i, lens + i, 1, vectors + i * dim,
				      &dim, why);
	return rc;
}

int embedder_embed(struct embedder_worker *w, const char *const *texts, const size_t *lens,
		   size_t n, float *vectors, char *why)
{
	struct embedder *e = w->e;
	uint32_t dim = embedder_dim(e);
	static _Thread_local size_t cut[BATCH_MAX]; /* handlers have 3 KiB of stack */
	size_t batch = e->batch < BATCH_MAX ? e->batch : BATCH_MAX;
	int rc = 0;

	if (!dim && e->way != &way_none)
		return embedder_fail(why, -EINVAL, "the dimensions of %s are not known yet",
				     e->name);
	for (size_t at = 0; at < n && !rc; at += batch) {
		if (batch > n - at)
			batch = n - at;
		for (size_t i = 0; i < batch; i++)
			cut[i] =
				lens[at + i] < EMBEDDER_TEXT_MAX ? lens[at + i] : EMBEDDER_TEXT_MAX;
		if (embedder_is_stopped(e))
			return embedder_fail(why, -ECANCELED, "the embedder is being stopped");
		rc = e->way->embed(e, w->state, texts + at, cut, batch, vectors + at * dim, &dim,
				   why);
		if (rc == -EBADMSG)
			rc = embed_one_by_one(w, texts + at, cut, batch, vectors + at * dim, dim,
					      why);
	}
	return rc;
}

uint32_t embedder_count(void *worker, const char *text, size_t len)
{
	struct embedder_worker *w = worker;

	if (w->e->way->count)
		return w->e->way->count(w->e, w->state, text, len);
	return passage_estimate(NULL, text, len);
}
