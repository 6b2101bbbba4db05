/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   exact search: every living row of a collection is compared with the query.
 * Invariants: scores, higher is better: cosine: the cosine; dot: the inner product; L2: minus the
 *            squared distance. Ties: the lower row first.
 * Threading: reads only.
 * Failure:   -ENOMEM; -EINVAL for a query that is not finite.
 */
#ifndef MNEME_CORE_SEARCH_FLAT_H
#define MNEME_CORE_SEARCH_FLAT_H

#include "core/search/search.h"
#include "core/search/vectors.h"

/* `query` has config.dim floats; `filter` may be NULL; hits has room for `limit`. *partial (may be
 * NULL): 1 when the filter's deadline ended the search early: then the best of what was seen. */
int flat_search(const struct vectors *v, const float *query, const struct search_filter *filter,
		unsigned limit, struct search_hit *hits, unsigned *count, int *partial);
/* The same for rows from `low` on, offered to a heap. */
int flat_search_from(const struct vectors *v, uint32_t low, const float *query,
		     const struct search_filter *filter, struct search_heap *heap, int *partial);
/* Scores of rows; scores has room for `count`. Dead rows are scored like others. */
int flat_score_rows(const struct vectors *v, const float *query, const uint32_t *rows,
		    unsigned count, float *scores);
/* Scores of given (owner, part); fills score and row. One that is not there: score -INFINITY, row
 * ROWS_NONE. */
int flat_score(const struct vectors *v, const float *query, struct search_hit *hits,
	       unsigned count);
/* Of each hit's owner the best part: fills score, part and row; score -INFINITY when the owner has
 * none. */
int flat_score_owners(const struct vectors *v, const float *query, struct search_hit *hits,
		      unsigned count);
/* Mean and standard deviation of the query's scores over the collection, from at most FLAT_SAMPLE
 * rows spread evenly. */
enum { FLAT_SAMPLE = 512 };
int flat_background(const struct vectors *v, const float *query, float *mean, float *deviation);

#endif
