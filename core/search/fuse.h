/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   one ranking out of two: by words (BM25) and by meaning (vectors).
 * Invariants: FUSE_STANDARD adds standardised scores: how many standard deviations a passage lies
 *            above the mean of the collection, for each side, times the side's weight. Both sides
 *            must be scored for every candidate (fuse_collect() says which are missing).
 *            FUSE_RANK adds weight / (60 + rank) of the sides where the candidate was found
 *            (Cormack, Clarke and Buettcher 2009).
 * Threading: plain data.
 * Failure:   none.
 */
#ifndef MNEME_CORE_SEARCH_FUSE_H
#define MNEME_CORE_SEARCH_FUSE_H

#include "core/search/search.h"

enum fuse_method { FUSE_STANDARD, FUSE_RANK };

enum fuse_known { FUSE_LEXICAL = 1, FUSE_VECTOR = 2 };

/* One candidate with the parts of its score. */
struct fuse_hit {
	uint64_t owner;
	uint32_t part;
	uint32_t known;        /* enum fuse_known: sides whose score is filled in */
	float lexical, vector; /* raw scores */
	float lexical_part, vector_part; /* what each side adds to `score` */
	float score;
	uint32_t lexical_rank, vector_rank; /* from 1; 0: not in that side's list */
};

/* What a side's scores look like over the whole collection. */
struct fuse_background {
	float lexical_mean, lexical_deviation;
	float vector_mean, vector_deviation;
};

struct fuse_options {
	enum fuse_method method;
	float lexical_weight, vector_weight; /* both 0: 1 and 1 */
};

/* The union of both lists, in no particular order; returns its size. out has room for both counts
 * together. */
unsigned fuse_collect(const struct search_hit *lexical, unsigned lexical_count,
		      const struct search_hit *vector, unsigned vector_count, struct fuse_hit *out);
/* Fills the parts and scores and sorts, best first (ties: lower owner, part). A raw vector score of
 * -INFINITY (no such vector) counts as the mean. */
void fuse_rank(struct fuse_hit *hits, unsigned count, const struct fuse_background *background,
	       const struct fuse_options *options);
/* Keeps the best hit of each owner, in order; returns how many. Hits must be ranked. */
unsigned fuse_best_of_owners(struct fuse_hit *hits, unsigned count);

#endif
