/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the data of bench_ann: vectors, queries, and how far the true nearest are.
 * Failure:   a sentence and exit status 2: it is a program's input.
 */
#ifndef MNEME_TESTS_BENCH_ANN_DATA_H
#define MNEME_TESTS_BENCH_ANN_DATA_H

#include <stddef.h>
#include <stdint.h>

enum { ANN_K = 10, ANN_QUERIES = 1000, ANN_ROOM = 20000 };

struct ann_data {
	char name[64];
	float *base, *queries; /* rows of dim floats, 64-byte aligned; of length 1 with cosine */
	size_t count, query_count, dim;
	int cosine;
	double *bars; /* of each query: the squared distance of the tenth nearest */
};

_Noreturn void ann_fail(const char *what);
/* Files: vectors as fvecs; the true nearest, row numbers, as ivecs (NULL: they are searched). */
void ann_data_files(struct ann_data *d, const char *base, const char *queries);
/* The vectors of an object {"vectors": {"word": [number, ...], ...}} with "dimensions" in it; some are
 * taken out as queries. */
void ann_data_words(struct ann_data *d, const char *path);
/* Gaussian mixture: `centres` of variance 1, noise whose deviation falls over the dimensions. */
void ann_data_generate(struct ann_data *d, size_t rows, size_t dim, size_t centres);
/* At most so many rows and queries; 0: all. Call before ann_data_finish(). */
void ann_data_limit(struct ann_data *d, size_t rows, size_t queries);
/* Normalises with cosine, and finds the bars: of the ivecs file, or by exact search in double. */
void ann_data_finish(struct ann_data *d, const char *truth, unsigned threads);
/* Of ids[query_count * ANN_K]: ties count as found. */
double ann_data_recall(const struct ann_data *d, const uint32_t *ids);

#endif
