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

void questions_free(struct questions *q)
{
	for (unsigned i = 0; i < QUESTIONS_MAX; i++)
		question_clear(&q->kept[i]);
}

int questions_find(struct questions *q, const char *text, size_t length, float *vector, uint32_t dim)
{
	for (unsigned i = 0; i < QUESTIONS_MAX; i++) {
		struct question *kept = &q->kept[i];
		if (!kept->text || kept->length != length || memcmp(kept->text, text, length))
			continue;
		kept->used = ++q->clock;
		memcpy(vector, kept->vector, dim * sizeof *vector);
		return 1;
	}
	return 0;
}

void questions_keep(struct questions *q, const char *text, size_t length, const float *vector,
		    uint32_t dim)
{
	struct question *oldest = &q->kept[0];

	if (length > QUESTIONS_LENGTH_MAX)
		return;
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
