/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   search by words: an inverted index in memory, ranked by BM25.
 * Source:    Robertson and Zaragoza, The Probabilistic Relevance Framework (2009): k1 1.2, b 0.75,
 *            idf = ln(1 + (N - n + 0.5) / (n + 0.5)). Skipping: MaxScore over windows of documents
 *            with block maxima (Turtle and Flood 1995; Ding and Suel 2011).
 * Invariants: a document is one passage, named by (owner, part); putting it again replaces it. What
 *            is deleted is never found from then on; its words leave memory (and the next file)
 *            with the next compaction. Until then it still counts in N, n and the mean length.
 * Threading: searches may run together; everything that changes the index excludes all else. The
 *            index has no lock of its own: its owner has.
 * Failure:   -ENOMEM leaves the index as it was (a document that was replaced is then gone).
 */
#ifndef MNEME_CORE_SEARCH_LEXICAL_H
#define MNEME_CORE_SEARCH_LEXICAL_H

#include "core/search/search.h"
#include "core/search/words.h"
#include "core/store/io.h"

struct lexical;

enum { LEXICAL_QUERY_TERMS_MAX = 64 };

int lexical_new(struct lexical **out);
void lexical_free(struct lexical *lx); /* accepts NULL */

/* Adds or replaces a passage. The bag (words_count()) stays the caller's. */
int lexical_put(struct lexical *lx, uint64_t owner, uint32_t part, const struct words_bag *bag);
/* Whether that passage is there. */
int lexical_has(const struct lexical *lx, uint64_t owner, uint32_t part);
/* Every passage that is there; `each` must not change the index, and ends the walk with non-zero,
 * which is then returned. */
int lexical_each(const struct lexical *lx, int (*each)(void *arg, uint64_t owner), void *arg);
/* Returns the number of passages deleted (0: there was none). */
unsigned lexical_delete(struct lexical *lx, uint64_t owner);
unsigned lexical_delete_part(struct lexical *lx, uint64_t owner, uint32_t part);

/* The best `limit` passages for the words of the bag, best first; ties: older first. A bag of more
 * than LEXICAL_QUERY_TERMS_MAX distinct known terms keeps the rarest. `filter` may be NULL.
 * hits has room for `limit`; *count receives how many. *partial (may be NULL): 1 when the filter's
 * deadline ended the search early. Allocates one block of scratch memory. */
int lexical_search(const struct lexical *lx, const struct words_bag *query,
		   const struct search_filter *filter, unsigned limit, struct search_hit *hits,
		   unsigned *count, int *partial);
/* Scores of given passages (0: no word in common, or not there): fills score of each hit. */
int lexical_score(const struct lexical *lx, const struct words_bag *query, struct search_hit *hits,
		  unsigned count);
/* Of each hit's owner the best part: fills score, part and row; score -INFINITY when the owner has
 * none. */
int lexical_score_owners(const struct lexical *lx, const struct words_bag *query,
			 struct search_hit *hits, unsigned count);
/* idf of a term; 0 if it is not known. */
float lexical_idf(const struct lexical *lx, const char *term, size_t length);

/* Mean and standard deviation of the query's scores over all passages, those without a common word
 * included, as if each term appeared once in passages of mean length and independently of the
 * others: mean = sum idf n / N, variance = sum idf^2 (n / N)(1 - n / N). */
void lexical_background(const struct lexical *lx, const struct words_bag *query, float *mean,
			float *deviation);

struct lexical_stats {
	uint64_t passages, deleted; /* alive, and dead but not yet compacted */
	uint64_t terms, postings, tokens;
	uint64_t bytes; /* memory in use */
};
void lexical_get_stats(const struct lexical *lx, struct lexical_stats *out);

/* A new index without the dead: *out is the caller's, who puts it in the place of the old one.
 * Only reads the old one. */
int lexical_compact(const struct lexical *lx, struct lexical **out);

/* One file (format in lexical_file.c). `position` is kept with it. */
int lexical_save(const struct lexical *lx, struct io *io, const char *name, uint64_t position);
int lexical_load(struct io *io, const char *name, struct lexical **out, uint64_t *position);
/* The body of such a file from memory: any bytes are safe; -EUCLEAN. */
int lexical_parse(const void *body, size_t length, struct lexical **out);

#endif
