/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the vectors of the questions asked last: to ask one again costs no encoding.
 * Threading: all functions are thread-safe.
 */
#ifndef MNEME_CORE_MEMORY_QUESTIONS_H
#define MNEME_CORE_MEMORY_QUESTIONS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

enum { QUESTIONS_MAX = 64, QUESTIONS_LENGTH_MAX = 1024 };

struct question {
	char *text; /* owned; NULL: free */
	float *vector;
	size_t length;
	uint64_t used; /* the clock's value then */
};

struct questions {
	pthread_mutex_t lock;
	struct question kept[QUESTIONS_MAX];
	uint64_t clock;
};

void questions_init(struct questions *q);
void questions_free(struct questions *q);
/* 1: `vector` is that of this text; 0: it is not known. All vectors are of one dimension. */
int questions_find(struct questions *q, const char *text, size_t length, float *vector,
		   uint32_t dim);
/* Keeps a copy in the place of the one not used for longest; of long texts, or without memory, it
 * keeps none. */
void questions_keep(struct questions *q, const char *text, size_t length, const float *vector,
		    uint32_t dim);

#endif
