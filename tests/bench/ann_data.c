/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see ann_data.h. */
#include "tests/bench/ann_data.h"
#include "core/search/flat.h"
#include "core/search/parallel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CANDIDATES = 100 };

void ann_fail(const char *what)
{
	fprintf(stderr, "bench_ann: %s\n", what);
	exit(2);
}

static float *rows_new(size_t rows, size_t dim)
{
	float *out = aligned_alloc(64, (rows * dim * sizeof(*out) + 63) & ~(size_t)63);

	if (!out)
		ann_fail("no memory");
	return out;
}

/* ---- files ---- */

/* Rows of 4-byte elements, each row with its length before it. */
static void *vecs_read(const char *path, size_t *count, size_t *dim)
{
	FILE *f = fopen(path, "rb");
	int32_t d = 0;

	if (!f || fread(&d, 4, 1, f) != 1 || d < 1 || d > VECTORS_DIM_MAX)
		ann_fail(path);
	fseek(f, 0, SEEK_END);
	size_t n = (size_t)ftell(f) / (4 + 4 * (size_t)d);
	rewind(f);
	float *out = rows_new(n, (size_t)d);
	for (size_t i = 0; i < n; i++)
		if (fread(&d, 4, 1, f) != 1 ||
		    fread(out + i * (size_t)d, 4, (size_t)d, f) != (size_t)d)
			ann_fail("a file of vectors is short");
	fclose(f);
	*count = n;
	*dim = (size_t)d;
	return out;
}

void ann_data_files(struct ann_data *d, const char *base, const char *queries)
{
	const char *slash = strrchr(base, '/');
	size_t dim;

	d->base = vecs_read(base, &d->count, &d->dim);
	d->queries = vecs_read(queries, &d->query_count, &dim);
	if (dim != d->dim)
		ann_fail("base and queries differ in dimension");
	snprintf(d->name, sizeof(d->name), "%s", slash ? slash + 1 : base);
}

static char *text_read(const char *path)
{
	FILE *f = fopen(path, "rb");

	if (!f)
		ann_fail(path);
	fseek(f, 0, SEEK_END);
	size_t size = (size_t)ftell(f);
	rewind(f);
	char *text = malloc(size + 1);
	if (!text || fread(text, 1, size, f) != size)
		ann_fail(path);
	text[size] = 0;
	fclose(f);
	return text;
}

void ann_data_words(struct ann_data *d, const char *path)
{
	char *text = text_read(path), *at = strstr(text, "\"dimensions\":"), *end;
	size_t dim = at ? strtoul(at + strlen("\"dimensions\":"), NULL, 10) : 0, room = 1 << 16;

	at = strstr(text, "\"vectors\":");
	if (!at || dim < 1 || dim > VECTORS_DIM_MAX)
		ann_fail("no \"vectors\" and \"dimensions\" in the file of words");
	float *rows = malloc(room * dim * sizeof(*rows));
	while (rows && (at = strchr(at, '[')) != NULL) {
		if (d->count == room) {
			room *= 2;
			rows = realloc(rows, room * dim * sizeof(*rows));
		}
		size_t i = 0;
		for (at++; rows && i < dim; i++, at = end + (*end == ',')) {
			rows[d->count * dim + i] = strtof(at, &end);
			if (end == at)
				break;
		}
		d->count += i == dim;
	}
	free(text);
	if (!rows || d->count < 2 * ANN_QUERIES)
		ann_fail("too few words");
	/* every so many-th word becomes a query */
	size_t step = d->count / ANN_QUERIES, kept = 0;
	d->dim = dim;
	d->base = rows_new(d->count, dim);
	d->queries = rows_new(ANN_QUERIES, dim);
	for (size_t i = 0; i < d->count; i++) {
		int is_query = i % step == step / 2 && d->query_count < ANN_QUERIES;
		float *to = is_query ? d->queries + d->query_count++ * dim : d->base + kept++ * dim;
		memcpy(to, rows + i * dim, dim * sizeof(*to));
	}
	free(rows);
	d->count = kept;
	d->cosine = 1;
	snprintf(d->name, sizeof(d->name), "words");
}

/* ---- generated ---- */

static uint64_t seed = 88172645463325252ull;

static double random_unit(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

static double random_normal(void)
{
	return sqrt(-2 * log(random_unit())) * cos(6.283185307179586 * random_unit());
}

void ann_data_generate(struct ann_data *d, size_t rows, size_t dim, size_t centres)
{
	if (!rows || dim < 1 || dim > VECTORS_DIM_MAX || !centres)
		ann_fail("--generated ROWS DIM");
	float *middles = rows_new(centres, dim), *widths = rows_new(1, dim);
	size_t all = rows + ANN_QUERIES;

	for (size_t i = 0; i < centres * dim; i++)
		middles[i] = (float)random_normal();
	for (size_t k = 0; k < dim; k++)
		widths[k] = (float)(0.9 * exp(-2.0 * (double)(k * 7919 % dim) / (double)dim) + 0.1);
	d->base = rows_new(all, dim);
	for (size_t i = 0; i < all; i++) {
		const float *c = middles + (size_t)(random_unit() * (double)centres) * dim;
		for (size_t k = 0; k < dim; k++)
			d->base[i * dim + k] = c[k] + widths[k] * (float)random_normal();
	}
	d->queries = d->base + rows * dim;
	d->count = rows;
	d->query_count = ANN_QUERIES;
	d->dim = dim;
	snprintf(d->name, sizeof(d->name), "generated");
	free(middles);
	free(widths);
}

void ann_data_limit(struct ann_data *d, size_t rows, size_t queries)
{
	if (rows && rows < d->count)
		d->count = rows;
	if (queries && queries < d->query_count)
		d->query_count = queries;
}

/* ---- truth ---- */

static void normalise(float *rows, size_t count, size_t dim)
{
	for (size_t i = 0; i < count; i++) {
		double sum = 0;
		for (size_t k = 0; k < dim; k++)
			sum += (double)rows[i * dim + k] * rows[i * dim + k];
		for (size_t k = 0; sum > 0 && k < dim; k++)
			rows[i * dim + k] /= (float)sqrt(sum);
	}
}

static double distance_exact(const struct ann_data *d, size_t row, const float *query)
{
	double sum = 0;

	for (size_t k = 0; k < d->dim; k++) {
		double off = (double)d->base[row * d->dim + k] - query[k];
		sum += off * off;
	}
	return sum;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct truth_job {
	struct ann_data *d;
	struct vectors *exact;
};

/* The nearest in float, many more than needed, then in double. */
static void truth_body(void *arg, uint64_t low, uint64_t high)
{
	struct truth_job *job = arg;

	for (uint64_t q = low; q < high; q++) {
		const float *query = job->d->queries + q * job->d->dim;
		struct search_hit hits[CANDIDATES];
		double distances[CANDIDATES];
		unsigned count;
		if (flat_search(job->exact, query, NULL, CANDIDATES, hits, &count, NULL))
			ann_fail("exact search");
		for (unsigned i = 0; i < count; i++)
			distances[i] = distance_exact(job->d, hits[i].row, query);
		qsort(distances, count, sizeof(*distances), compare_doubles);
		job->d->bars[q] = distances[ANN_K - 1];
	}
}

static void truth_search(struct ann_data *d, unsigned threads)
{
	struct vectors_config config = {.dim = (uint32_t)d->dim, .metric = VECTORS_L2};
	struct truth_job job = {.d = d};

	if (vectors_new(&config, &job.exact))
		ann_fail("no memory");
	for (size_t i = 0; i < d->count; i++)
		if (vectors_put(job.exact, i, 0, 0, d->base + i * d->dim, NULL))
			ann_fail("a vector is not finite, or no memory");
	parallel_run(d->query_count, 16, threads, truth_body, &job);
	vectors_free(job.exact);
}

static void truth_read(struct ann_data *d, const char *path)
{
	size_t rows, near;
	uint32_t *ids = vecs_read(path, &rows, &near);

	if (near < ANN_K || rows < d->query_count)
		ann_fail("the file of the true nearest does not fit");
	for (size_t q = 0; q < d->query_count; q++) {
		uint32_t last = ids[q * near + ANN_K - 1];
		if (last >= d->count)
			ann_fail("the file of the true nearest does not fit");
		d->bars[q] = distance_exact(d, last, d->queries + q * d->dim);
	}
	free(ids);
}

void ann_data_finish(struct ann_data *d, const char *truth, unsigned threads)
{
	if (d->count < CANDIDATES)
		ann_fail("too few vectors");
	if (d->cosine) {
		normalise(d->base, d->count, d->dim);
		normalise(d->queries, d->query_count, d->dim);
	}
	d->bars = malloc(d->query_count * sizeof(*d->bars));
	if (!d->bars)
		ann_fail("no memory");
	if (truth)
		truth_read(d, truth);
	else
		truth_search(d, threads);
}

double ann_data_recall(const struct ann_data *d, const uint32_t *ids)
{
	uint64_t found = 0;

	for (size_t q = 0; q < d->query_count; q++)
		for (unsigned i = 0; i < ANN_K; i++) {
			uint32_t row = ids[q * ANN_K + i];
			found +=
				row < d->count && distance_exact(d, row, d->queries + q * d->dim) <=
							  d->bars[q] * (1 + 1e-7) + 1e-12;
		}
	return (double)found / (double)(d->query_count * ANN_K);
}
