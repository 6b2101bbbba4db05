/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see search.h. */
#include "core/search/search.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

int search_deadline_passed(const struct search_filter *f)
{
	struct timespec now;

	if (!f || !f->deadline_ns)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec >= f->deadline_ns;
}

/* a is worse than b */
static int hit_worse(const struct search_hit *a, const struct search_hit *b)
{
	return a->score < b->score || (a->score == b->score && a->row > b->row);
}

float search_heap_bar(const struct search_heap *h)
{
	return h->count < h->limit ? -INFINITY : h->hits[0].score;
}

static void heap_sink(struct search_heap *h, const struct search_hit *hit)
{
	unsigned at = 0;

	for (;;) {
		unsigned child = 2 * at + 1;
		if (child >= h->count)
			break;
		if (child + 1 < h->count && hit_worse(&h->hits[child + 1], &h->hits[child]))
			child++;
		if (!hit_worse(&h->hits[child], hit))
			break;
		h->hits[at] = h->hits[child];
		at = child;
	}
	h->hits[at] = *hit;
}

void search_heap_push(struct search_heap *h, const struct search_hit *hit)
{
	if (h->count == h->limit) {
		if (h->limit && hit_worse(&h->hits[0], hit))
			heap_sink(h, hit);
		return;
	}
	unsigned at = h->count++;
	while (at && hit_worse(hit, &h->hits[(at - 1) / 2])) {
		h->hits[at] = h->hits[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	h->hits[at] = *hit;
}

static int compare_best_first(const void *a, const void *b)
{
	return hit_worse(a, b) - hit_worse(b, a);
}

void search_heap_finish(struct search_heap *h)
{
	if (h->count > 1)
		qsort(h->hits, h->count, sizeof(*h->hits), compare_best_first);
}
