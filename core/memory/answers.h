/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the answers to the questions that were asked last, so that one that is asked again, of
 *            a store that has not changed, need not be found again.
 * Invariants: an answer is kept under all that was asked, who asked, and the version of everything
 *            that it was found from, which was read before it was looked for. It is given out under
 *            the same three only, so none is given that is of before a change. Bounded: ANSWERS_MAX,
 *            and ANSWERS_BYTES_MAX of them and their questions together.
 * Threading: all functions; its own lock, under which nothing else is taken. An answer is read only.
 * Failure:   what cannot be kept is not.
 */
#ifndef MNEME_CORE_MEMORY_ANSWERS_H
#define MNEME_CORE_MEMORY_ANSWERS_H

#include "core/memory/memory.h"

#include <pthread.h>

enum { ANSWERS_MAX = 512, ANSWERS_KEY_MAX = 24 << 10, ANSWERS_BYTES_MAX = 8 << 20 };

struct answers_kept {
	struct memory_answer *answer; /* NULL: none */
	uint8_t *key;
	size_t key_length, bytes;
	uint64_t version, used;
};

struct answers {
	pthread_mutex_t lock;
	struct answers_kept kept[ANSWERS_MAX]; /* [lock] */
	uint64_t clock, hits;                  /* [lock] */
	size_t bytes;                          /* [lock] */
};

void answers_init(struct answers *a);
void answers_fini(struct answers *a);

/* What is asked and by whom, in bytes of alloc_get() that are the caller's; NULL: an answer to it
 * cannot be kept. */
uint8_t *answers_key(const struct memory_query *q, size_t *length);
/* The answer, for memory_answer_free(), or NULL. */
struct memory_answer *answers_find(struct answers *a, const uint8_t *key, size_t length,
				   uint64_t version);
/* Keeps it; it remains the caller's as well. */
void answers_keep(struct answers *a, const uint8_t *key, size_t length, uint64_t version,
		  struct memory_answer *answer, size_t bytes);
uint64_t answers_hits(struct answers *a);

#endif
