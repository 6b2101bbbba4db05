/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   answers.h.
 */
#include "core/memory/answers.h"
#include "pool/alloc.h"

#include <string.h>

void answers_init(struct answers *a)
{
	memset(a, 0, sizeof *a);
	pthread_mutex_init(&a->lock, NULL);
}

/* [lock] */
static void kept_clear(struct answers *a, struct answers_kept *kept)
{
	memory_answer_free(kept->answer);
	alloc_free(kept->key);
	a->bytes -= kept->bytes;
	*kept = (struct answers_kept){0};
}

void answers_fini(struct answers *a)
{
	for (unsigned i = 0; i < ANSWERS_MAX; i++)
		kept_clear(a, &a->kept[i]);
	pthread_mutex_destroy(&a->lock);
}

/* ---- keys ---- */

/* What of a query is plain numbers. */
struct head {
	uint64_t like, scope;
	uint32_t text, dim, mode, rank_fusion, limit, filters, caller, is_asked_for;
};

static size_t key_size(const struct memory_query *q)
{
	size_t size = sizeof(struct head) + (q->text ? q->length : 0) +
		      (q->vector ? q->dim * sizeof *q->vector : 0) + q->caller_length;

	for (unsigned i = 0; i < q->filters_count; i++)
		size += sizeof q->filters[i].kind + sizeof q->filters[i].time_ns + sizeof size +
			(q->filters[i].value ? strlen(q->filters[i].value) : 0);
	return size;
}

static uint8_t *bytes_put(uint8_t *at, const void *bytes, size_t length)
{
	if (length)
		memcpy(at, bytes, length);
	return at + length;
}

uint8_t *answers_key(const struct memory_query *q, size_t *length)
{
	/* a caller whose rights nobody can name; links, which follow changes later */
	if ((q->allow && !q->caller_length) || q->associate)
		return NULL;
	*length = key_size(q);
	uint8_t *key = *length <= ANSWERS_KEY_MAX ? alloc_get(*length) : NULL;
	if (!key)
		return NULL;
	struct head head = {.like = q->like,
			    .scope = q->scope,
			    .text = q->text ? (uint32_t)q->length + 1 : 0,
			    .dim = q->vector ? q->dim : 0,
			    .mode = q->mode,
			    .rank_fusion = (uint32_t)q->rank_fusion,
			    .limit = q->limit,
			    .filters = q->filters_count,
			    .caller = (uint32_t)q->caller_length,
			    .is_asked_for = q->allow != NULL};
	uint8_t *at = bytes_put(key, &head, sizeof head);
	at = bytes_put(at, q->text, q->text ? q->length : 0);
	at = bytes_put(at, q->vector, q->vector ? q->dim * sizeof *q->vector : 0);
	at = bytes_put(at, q->caller, q->caller_length);
	for (unsigned i = 0; i < q->filters_count; i++) {
		const struct memory_filter *f = &q->filters[i];
		size_t value = f->value ? strlen(f->value) : 0;
		at = bytes_put(at, &f->kind, sizeof f->kind);
		at = bytes_put(at, &f->time_ns, sizeof f->time_ns);
		at = bytes_put(at, &value, sizeof value);
		at = bytes_put(at, f->value, value);
	}
	return key;
}

/* ---- keeping ---- */

/* [lock] */
static struct answers_kept *find(struct answers *a, const uint8_t *key, size_t length)
{
	for (unsigned i = 0; i < ANSWERS_MAX; i++)
		if (a->kept[i].answer && a->kept[i].key_length == length &&
		    !memcmp(a->kept[i].key, key, length))
			return &a->kept[i];
	return NULL;
}

struct memory_answer *answers_find(struct answers *a, const uint8_t *key, size_t length,
				   uint64_t version)
{
	struct memory_answer *answer = NULL;

	pthread_mutex_lock(&a->lock);
	struct answers_kept *kept = find(a, key, length);
	if (kept && kept->version == version) {
		kept->used = ++a->clock;
		a->hits++;
		answer = kept->answer;
		memory_answer_share(answer);
	}
	pthread_mutex_unlock(&a->lock);
	return answer;
}

/* The place that was used longest ago; with `is_held` of those that hold an answer (there is one).
 * [lock] */
static struct answers_kept *oldest(struct answers *a, int is_held)
{
	struct answers_kept *found = NULL;

	for (unsigned i = 0; i < ANSWERS_MAX; i++)
		if ((a->kept[i].answer || !is_held) && (!found || a->kept[i].used < found->used))
			found = &a->kept[i];
	return found;
}

void answers_keep(struct answers *a, const uint8_t *key, size_t length, uint64_t version,
		  struct memory_answer *answer, size_t bytes)
{
	uint8_t *copy;

	if (bytes + length > ANSWERS_BYTES_MAX / 4 || !(copy = alloc_get(length)))
		return;
	memcpy(copy, key, length);
	pthread_mutex_lock(&a->lock);
	struct answers_kept *kept = find(a, key, length);
	if (!kept)
		kept = oldest(a, 0);
	kept_clear(a, kept);
	while (a->bytes + bytes + length > ANSWERS_BYTES_MAX)
		kept_clear(a, oldest(a, 1));
	memory_answer_share(answer);
	*kept = (struct answers_kept){.answer = answer,
				      .key = copy,
				      .key_length = length,
				      .bytes = bytes + length,
				      .version = version,
				      .used = ++a->clock};
	a->bytes += kept->bytes;
	pthread_mutex_unlock(&a->lock);
}

uint64_t answers_hits(struct answers *a)
{
	pthread_mutex_lock(&a->lock);
	uint64_t hits = a->hits;
	pthread_mutex_unlock(&a->lock);
	return hits;
}
