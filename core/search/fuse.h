/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   one ranking of memories out of two: by words (BM25) and by meaning (vectors).
 * Invariants: a memory (an owner) ranks by its best part on each side; the sides may divide a text
 *            differently. FUSE_STANDARD adds standardised scores: how many standard deviations a
 *            memory lies above the mean of the collection, for each side, times the side's weight.
 *            Both sides must be scored for every candidate: where fuse_collect() leaves one
 *            unknown, the caller fills it (lexical_score_owners(), flat_score_owners()). FUSE_RANK
 *            adds weight / (60 + rank) of the sides where the memory was found (Cormack, Clarke and
 *            Buettcher 2009).
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
	uint32_t known;                  /* enum fuse_known: sides whose score is filled in */
	uint32_t lexical_at, vector_at;  /* the part that is its best, where known */
	float lexical, vector;           /* raw scores; -INFINITY: this side has nothing of it */
	float lexical_part, vector_part; /* what each side adds to `score` */
	float links_part;                /* what others add, after the ranking */
	float fade_part;                 /* and what its not being used takes away */
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

/* The owners of both lists (each best first), each owner once, in no particular order; returns how
 * many. out has room for both counts together. Ranks count owners. */
unsigned fuse_collect(const struct search_hit *lexical, unsigned lexical_count,
		      const struct search_hit *vector, unsigned vector_count, struct fuse_hit *out);
/* Fills the parts and scores and sorts, best first (ties: lower owner). A side with nothing of a
 * memory counts as its mean. */
void fuse_rank(struct fuse_hit *hits, unsigned count, const struct fuse_background *background,
	       const struct fuse_options *options);

/* By score, best first (ties: lower owner). */
void fuse_sort(struct fuse_hit *hits, unsigned count);

#endif
