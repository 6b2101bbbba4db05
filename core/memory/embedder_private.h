/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what embedder.c and its ways of embedding share; private to core/memory.
 * Threading: everything in struct embedder is constant after opening but the atomics.
 */
#ifndef MNEME_CORE_MEMORY_EMBEDDER_PRIVATE_H
#define MNEME_CORE_MEMORY_EMBEDDER_PRIVATE_H

#include "core/memory/embedder.h"
#include "core/memory/encoder.h"

#include <stdatomic.h>

/* One way of embedding. A worker's state is made on first use. */
struct embedder_way {
	const char *kind;
	int is_elsewhere; /* another process embeds */
	int (*open)(struct embedder *e, const struct embedder_settings *s, char *why);
	void (*close)(struct embedder *e);
	void *(*worker_new)(struct embedder *e);
	void (*worker_free)(void *state);
	/* At most e->batch texts. *dim is what is wanted (0: whatever comes, and `vectors` is
	 * NULL); on success it is what came. */
	int (*embed)(struct embedder *e, void *state, const char *const *texts, const size_t *lens,
		     size_t n, float *vectors, uint32_t *dim, char *why);
	uint32_t (*count)(struct embedder *e, void *state, const char *text, size_t len);
};

struct embedder {
	const struct embedder_way *way;
	char name[EMBEDDER_NAME];
	char note[EMBEDDER_WHY];
	uint32_t batch;
	uint32_t timeout_ms;
	uint32_t attempts;
	uint32_t backoff_ms;
	_Atomic uint32_t dim; /* [A] 0 until known */
	_Atomic int stopped;  /* [A] */

	struct model *model; /* builtin */
	struct encoder *encoder;
	char *model_name; /* http */
	char *url;
	char *key;
	char **argv; /* command: NULL-terminated, one allocation */
};

struct embedder_worker {
	struct embedder *e;
	void *state;
};

extern const struct embedder_way embedder_way_http;
extern const struct embedder_way embedder_way_command;

/* Writes a sentence to why and returns err. */
int embedder_fail(char *why, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A copy of a string by alloc_get(), NULL out of memory. */
char *embedder_copy(const char *text);
/* Waits, in short pieces: -ECANCELED once the embedder is stopped. */
int embedder_wait(struct embedder *e, uint64_t milliseconds);

static inline int embedder_is_stopped(struct embedder *e)
{
	return atomic_load_explicit(&e->stopped, memory_order_relaxed);
}

#endif
