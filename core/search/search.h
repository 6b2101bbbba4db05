/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what all searches share: a hit, a filter, and the heap of the best k.
 * Threading: plain data.
 */
#ifndef MNEME_CORE_SEARCH_SEARCH_H
#define MNEME_CORE_SEARCH_SEARCH_H

#include <stdint.h>

/* One result. Scores: higher is better. */
struct search_hit {
	uint64_t owner; /* file id */
	uint32_t part;  /* passage of the file */
	uint32_t row;   /* where the searched structure keeps it; valid until it changes */
	float score;
};

/* Non-zero: this one may be returned. Called only for what would otherwise be returned, so it may
 * cost something (permission checks). It must not call back into the searched structure. */
typedef int search_accept(void *arg, uint64_t owner, uint32_t part);

struct search_filter {
	search_accept *accept; /* NULL: everything */
	void *arg;
	const uint64_t *bitmap; /* rows allowed, one bit each, or NULL; rows past its end are not */
	uint64_t bitmap_rows;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
};

static inline int search_filter_row(const struct search_filter *f, uint32_t row)
{
	return !f || !f->bitmap ||
	       (row < f->bitmap_rows && (f->bitmap[row >> 6] >> (row & 63) & 1));
}

static inline int search_filter_accept(const struct search_filter *f, uint64_t owner, uint32_t part)
{
	return !f || !f->accept || f->accept(f->arg, owner, part);
}

/* Non-zero when the filter's deadline has passed. */
int search_deadline_passed(const struct search_filter *f);

/* The best `limit` hits: a binary heap whose root is the worst one kept. Ties: lower row wins. */
struct search_heap {
	struct search_hit *hits; /* room for limit */
	unsigned limit, count;
	uint64_t compared; /* vectors read for it, by who counts them */
};

/* The score that a new hit must beat; -INFINITY while there is room. */
float search_heap_bar(const struct search_heap *h);
void search_heap_push(struct search_heap *h, const struct search_hit *hit);
/* Sorts hits best first; the heap is then spent. */
void search_heap_finish(struct search_heap *h);

#endif
