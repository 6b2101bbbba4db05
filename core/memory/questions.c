/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   questions.h.
 */
#include "core/memory/questions.h"
#include "pool/alloc.h"

#include <string.h>

static void question_clear(struct question *kept)
{
	alloc_free(kept->text);
	alloc_free(kept->vector);
	memset(kept, 0, sizeof *kept);
}

void questions_init(struct questions *q)
{
	memset(q, 0, sizeof *q);
	pthread_mutex_init(&q->lock, NULL);
}

void questions_free(struct questions *q)
{
	for (unsigned i = 0; i < QUESTIONS_MAX; i++)
		question_clear(&q->kept[i]);
	pthread_mutex_destroy(&q->lock);
}

/* [lock] */
static struct question *find(struct questions *q, const char *text, size_t length)
{
	for (unsigned i = 0; i < QUESTIONS_MAX; i++) {
		struct question *kept = &q->kept[i];
		if (kept->text && kept->length == length && !memcmp(kept->text, text, length))
			return kept;
	}
	return NULL;
}

int questions_find(struct questions *q, const char *text, size_t length, float *vector, uint32_t dim)
{
	pthread_mutex_lock(&q->lock);
	struct question *kept = find(q, text, length);
	if (kept) {
		kept->used = ++q->clock;
		memcpy(vector, kept->vector, dim * sizeof *vector);
	}
	pthread_mutex_unlock(&q->lock);
	return kept != NULL;
}

/* In the place of the one not used for longest. [lock] */
static void put(struct questions *q, const char *text, size_t length, const float *vector,
		uint32_t dim)
{
	struct question *oldest = &q->kept[0];

	for (unsigned i = 1; i < QUESTIONS_MAX; i++)
		if (q->kept[i].used < oldest->used)
			oldest = &q->kept[i];
	question_clear(oldest);
	oldest->text = alloc_get(length + 1);
	oldest->vector = alloc_get(dim * sizeof *vector);
	if (!oldest->text || !oldest->vector) {
		question_clear(oldest);
		return;
	}
	memcpy(oldest->text, text, length);
	memcpy(oldest->vector, vector, dim * sizeof *vector);
	oldest->length = length;
	oldest->used = ++q->clock;
}

void questions_keep(struct questions *q, const char *text, size_t length, const float *vector,
		    uint32_t dim)
{
	if (length > QUESTIONS_LENGTH_MAX)
		return;
	pthread_mutex_lock(&q->lock);
	if (!find(q, text, length))
		put(q, text, length, vector, dim);
	pthread_mutex_unlock(&q->lock);
}
