/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   text to vectors, one interface over five ways:
 *
 *     builtin  the sentence encoder (encoder.h) with a converted model file
 *     hash     hashed words and n-grams (fallback.h), no model
 *     http     a server that speaks POST {url}/embeddings as OpenAI's does:
 *              {"model": .., "input": [..]} in, {"data": [{"index", "embedding": [..]}]} out
 *     command  a program that is kept running: a line {"text": ".."} in, a line [0.1, ..] out for
 *              each, in order and flushed. Its words are separated by spaces, no shell sees them.
 *     none     nothing is embedded
 *
 * Invariants: an embedder has one name and, once known, one dimension; an answer with another one
 *            is refused. Keys appear in no name and no sentence. Values are finite and as they
 *            came.
 * Threading: an embedder is shared; a worker belongs to one thread. embedder_stop() may be called
 *            from any thread and makes every wait end soon with -ECANCELED.
 * Failure:   -errno and a sentence in `why` (EMBEDDER_WHY bytes). -EAGAIN, -ETIMEDOUT: it may go
 *            better later (retries are used up); -ENOTSUP: none; -EPROTO: an answer that is not
 *            one; -EMEDIUMTYPE: another dimension; -EACCES: refused by the server; -EBADMSG: one of
 *            the texts is refused, others are not.
 */
#ifndef MNEME_CORE_MEMORY_EMBEDDER_H
#define MNEME_CORE_MEMORY_EMBEDDER_H

#include <stddef.h>
#include <stdint.h>

enum {
	EMBEDDER_WHY = 384,
	EMBEDDER_NAME = 128,
	EMBEDDER_DIM_MAX = 4096,
	EMBEDDER_TEXT_MAX = 64 << 10, /* bytes of one text; the rest is left out */
};

/* NULL and 0 take the value in brackets. The strings are copied. */
struct embedder_settings {
	const char *kind;
	const char *model; /* builtin: path of the model file; http: the model's name [none sent] */
	const char *url;   /* http: up to and with the version, "http://127.0.0.1:8080/v1" */
	const char *key_file; /* http: file that holds the key [no key] */
	const char *key_env;  /* http: environment variable that holds it, where there is no file */
	const char *command;
	uint32_t dim;        /* what must come [whatever comes first] */
	uint32_t batch;      /* texts a request [32] */
	uint32_t timeout_ms; /* of one request [30,000] */
	uint32_t attempts;   /* http: of one request [5] */
	uint32_t backoff_ms; /* http: before the second one, doubled for each further [250] */
	int or_hash;         /* builtin without a usable model: open `hash`, and say so */
};

struct embedder;
struct embedder_worker;

/* On success *out is to be closed with embedder_close(), after its workers. Sends nothing. */
int embedder_open(const struct embedder_settings *settings, struct embedder **out, char *why);
void embedder_close(struct embedder *e);

/* What makes vectors comparable: kind and model, e.g. "builtin:use-lite-en". */
const char *embedder_name(const struct embedder *e);
/* 1: a process other than this one embeds; it may take any time. */
int embedder_is_elsewhere(const struct embedder *e);
/* Dimensions, 0 while not known (http, command: until the first answer) and for `none`. */
uint32_t embedder_dim(const struct embedder *e);
/* Why this is `hash` though `builtin` was asked for, "" otherwise. */
const char *embedder_note(const struct embedder *e);
/* Ends waits now and from now on. */
void embedder_stop(struct embedder *e);

/* NULL: out of memory. */
struct embedder_worker *embedder_worker_new(struct embedder *e);
void embedder_worker_free(struct embedder_worker *w);

/* Learns the dimension, if need be by embedding a word. */
int embedder_probe(struct embedder_worker *w, char *why);
/* vectors[n][embedder_dim()]; the dimension must be known (-EINVAL). All of them or an error. */
int embedder_embed(struct embedder_worker *w, const char *const *texts, const size_t *lens,
		   size_t n, float *vectors, char *why);
/* Tokens of a text as this embedder counts them (an estimate where it has no vocabulary). Its
 * first parameter is a struct embedder_worker *: a passage_counter. */
uint32_t embedder_count(void *worker, const char *text, size_t len);

#endif
