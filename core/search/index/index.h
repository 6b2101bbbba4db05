/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   approximate search over a collection of vectors (vectors.h), behind one interface.
 *              flat        no index: an exact scan (flat.h)
 *              partitions  the rows fall into cells around centroids; 4-bit codes of what is left
 *                          to the centroid are scanned 32 at a time; the best are compared by
 *                          finer codes where a quantizer is chosen, and those that are left exactly
 *              auto        flat below INDEX_FLAT_ROWS, partitions above
 * Invariants: an index refers to rows of the collection that it was built on; dead rows are never
 *            returned. Rows that it was not told of (index_add()) are not found. Scores returned
 *            are exact, as flat_search() gives them. With `recall` >= 1 the answer is exact.
 * Threading: searches may run together; index_add() excludes all else, as changes of the collection
 *            do.
 * Failure:   -ENOMEM; -EINVAL; -EUCLEAN for a damaged file.
 */
#ifndef MNEME_CORE_SEARCH_INDEX_H
#define MNEME_CORE_SEARCH_INDEX_H

#include "core/search/quant/quantizer.h"
#include "core/search/search.h"
#include "core/search/vectors.h"

enum { INDEX_FLAT_ROWS = 20000 };

enum index_kind { INDEX_AUTO, INDEX_FLAT, INDEX_PARTITIONS };

/* Zero means the default. */
struct index_options {
	enum index_kind kind;
	uint32_t cells; /* partitions: number of centroids; default about 4 sqrt(rows) */
	uint32_t width; /* partitions: dimensions of a code's group; default 2 while that is
			     * possible, which makes 2 bits a dimension */
	enum quantizer_kind quantizer; /* partitions: finer codes; default none */
	unsigned threads;              /* to build with; default 1 */
	unsigned probes;           /* queries that measure the recall after building; default 100 */
	const _Atomic int *cancel; /* build: once it is not 0, soon -ECANCELED; NULL: never */
};

struct index;

/* Builds over all living rows. */
int index_build(const struct vectors *v, const struct index_options *options, struct index **out);
void index_free(struct index *ix); /* accepts NULL */
/* Tells the index of a new row. */
int index_add(struct index *ix, const struct vectors *v, uint32_t row);
/* A new index of the same training without dead rows, for the same collection. Reads only. */
int index_clean(const struct index *ix, const struct vectors *v, struct index **out);

struct index_query {
	const float *vector; /* config.dim floats */
	unsigned limit;
	/* 0: limit. Less: the best so many are to be found with that recall; those behind them are the
	 * best of what was looked at on the way. */
	unsigned sure;
	float recall; /* wanted recall@10, by what was measured; 0: 0.95; >= 1: exact */
	/* Overrides what `recall` chooses, when not 0. */
	uint32_t cells, rerank;
	const struct search_filter *filter; /* may be NULL */
	uint64_t *compared;                 /* += vectors that were read; may be NULL */
	/* Of the rows, that filter->accept lets through, where that is known: the search goes as much
	 * further, or scans; 0: nothing is known. */
	float share;
};
/* hits has room for limit. *partial (may be NULL): 1 when the filter's deadline cut it short. */
int index_search(const struct index *ix, const struct vectors *v, const struct index_query *query,
		 struct search_hit *hits, unsigned *count, int *partial);

/* Measured when built: what a search visits for a recall@10 of .90, .95, .99. */
enum { INDEX_LEVELS = 3 };
struct index_level {
	float wanted, measured;
	uint32_t cells, rerank;
};

struct index_stats {
	enum index_kind kind;
	uint64_t rows, cells;
	uint64_t bytes; /* of codes, centroids and tables */
	struct index_level levels[INDEX_LEVELS];
	enum quantizer_kind quantizer;
	/* Errors of the quantizer's estimates, in deviations that theory gives them (quantizer.h). */
	float error_mean, error_deviation;
};
void index_get_stats(const struct index *ix, struct index_stats *out);

/* Recall@10 against the exact answer over `probes` rows taken as queries (each without itself). */
int index_measure(const struct index *ix, const struct vectors *v, float recall, unsigned probes,
		  float *measured);

/* Writes what lives, cleaned. */
int index_save(const struct index *ix, const struct vectors *v, struct io *io, const char *name,
	       uint64_t position);
/* Maps the file. -EUCLEAN also when it does not fit the collection. Rows put after the save are to
 * be told again by index_add(). */
int index_load(struct io *io, const char *name, const struct vectors *v, struct index **out,
	       uint64_t *position);
/* The body of such a file from memory (64-byte aligned, borrowed by the index): any bytes are
 * safe. */
int index_parse(const void *body, size_t length, const struct vectors *v, struct index **out);

#endif
