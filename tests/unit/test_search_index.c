/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of quantisers and approximate indexes, against decoded codes and exact search. */
#include "core/search/collection.h"
#include "core/search/flat.h"
#include "core/search/index/index.h"
#include "core/search/quant/kmeans.h"
#include "core/search/quant/pq4.h"
#include "pool/alloc.h"
#include "simd/simd.h"
#include "tests/unit/unit.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The sanitizer watches the scalar kernels, for which an index of 12000 rows takes a minute. */
#if defined(__SANITIZE_ADDRESS__)
enum { ROWS = 4000 };
#else
enum { ROWS = 12000 };
#endif
enum { DIM = 30, CENTRES = 150, K = 10 };

static uint64_t seed = 99;
static char directory[64];

static uint32_t random_u32(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 24);
}

static float random_normal(void)
{
	float sum = 0;

	for (int i = 0; i < 12; i++)
		sum += (float)(random_u32() & 0xffffff) / 0x1000000;
	return sum - 6;
}

static float centres[CENTRES][DIM];

/* Clustered, and wider in some dimensions than in others. */
static void random_vector(float *v)
{
	const float *c = centres[random_u32() % CENTRES];

	for (unsigned d = 0; d < DIM; d++)
		v[d] = c[d] + random_normal() * (d % 3 ? 0.7f : 0.3f);
}

static struct vectors *filled(enum vectors_metric metric, enum vectors_type type, unsigned rows)
{
	struct vectors_config config = {DIM, metric, type, 4096};
	struct vectors *v;
	float vector[DIM];

	for (unsigned c = 0; c < CENTRES; c++)
		for (unsigned d = 0; d < DIM; d++)
			centres[c][d] = random_normal();
	ck_assert_int_eq(vectors_new(&config, &v), 0);
	for (unsigned i = 0; i < rows; i++) {
		random_vector(vector);
		ck_assert_int_eq(vectors_put(v, 1000 + i / 2, i % 2, 1, vector, NULL), 0);
	}
	return v;
}

static struct index *built(const struct vectors *v, unsigned threads, enum quantizer_kind quantizer)
{
	struct index_options options = {
		.kind = INDEX_PARTITIONS, .quantizer = quantizer, .threads = threads, .probes = 60};
	struct index *ix;

	ck_assert_int_eq(index_build(v, &options, &ix), 0);
	return ix;
}

/* Share of the exact answer found; each hit's score must be exact and its row allowed. */
static double recall(const struct index *ix, const struct vectors *v, float wanted,
		     const struct search_filter *filter, unsigned queries)
{
	unsigned found = 0, all = 0;

	for (unsigned q = 0; q < queries; q++) {
		float vector[DIM];
		struct index_query query = {
			.vector = vector, .limit = K, .recall = wanted, .filter = filter};
		struct search_hit exact[K], got[K];
		unsigned exact_count, count;
		random_vector(vector);
		ck_assert_int_eq(flat_search(v, vector, filter, K, exact, &exact_count, NULL), 0);
		ck_assert_int_eq(index_search(ix, v, &query, got, &count, NULL), 0);
		ck_assert_uint_le(count, exact_count);
		for (unsigned i = 0; i < count; i++) {
			float score;
			ck_assert_int_eq(flat_score_rows(v, vector, &got[i].row, 1, &score), 0);
			ck_assert_float_eq_tol(score, got[i].score, 1e-4f * (1 + fabsf(score)));
			ck_assert(!rows_is_dead(&v->rows, got[i].row));
			ck_assert(search_filter_row(filter, got[i].row));
			ck_assert(search_filter_accept(filter, got[i].owner, got[i].part));
			ck_assert(!i || got[i - 1].score >= got[i].score);
			found += got[i].score >=
				 exact[exact_count - 1].score - 1e-5f * (1 + fabsf(got[i].score));
		}
		all += exact_count;
	}
	return all ? (double)found / all : 1;
}

START_TEST(test_pq4_tables_give_the_products_of_decoded_codes)
{
	enum { COUNT = 500, WIDTH = 3 };
	static float points[COUNT * DIM], decoded[DIM];
	uint8_t codes[PQ4_GROUPS_MAX], back[PQ4_GROUPS_MAX];
	struct pq4 pq;

	for (unsigned i = 0; i < COUNT * DIM; i++)
		points[i] = random_normal();
	ck_assert_int_eq(pq4_train(points, DIM, COUNT, DIM, WIDTH, 2, &pq), 0);
	ck_assert_uint_eq(pq.groups, DIM / WIDTH);
	uint8_t *block = alloc_aligned(64, pq4_block_bytes(&pq));
	uint8_t *bytes = alloc_aligned(64, 16 * pq.groups);
	float *scratch = alloc_aligned(64, 16 * pq.groups * sizeof(float)), query[DIM];
	struct pq4_table table = {.bytes = bytes};
	memset(block, 0xff, pq4_block_bytes(&pq));
	for (unsigned i = 0; i < PQ4_BLOCK; i++) {
		pq4_encode(&pq, points + i * DIM, codes);
		pq4_block_put(&pq, block, i, codes);
	}
	for (unsigned d = 0; d < DIM; d++)
		query[d] = random_normal();
	pq4_table_fill(&pq, query, scratch, &table);
	uint16_t sums[PQ4_BLOCK];
	simd_active->pq4_scan(block, 1, pq.groups, bytes, sums);
	double error = 0, energy = 0;
	for (unsigned i = 0; i < PQ4_BLOCK; i++) {
		pq4_encode(&pq, points + i * DIM, codes);
		pq4_block_get(&pq, block, i, back);
		ck_assert_mem_eq(codes, back, pq.groups);
		pq4_decode(&pq, codes, decoded);
		double product = 0;
		for (unsigned d = 0; d < DIM; d++) {
			product += query[d] * decoded[d];
			error += (points[i * DIM + d] - decoded[d]) *
				 (points[i * DIM + d] - decoded[d]);
			energy += points[i * DIM + d] * points[i * DIM + d];
		}
		ck_assert_double_eq_tol(table.step * sums[i] + table.offset, product,
					table.step * pq.groups);
	}
	/* 4 bits for three dimensions: the theory's bound is 0.16 of the energy, a grid has 0.3 */
	ck_assert_double_lt(error / energy, 0.3);
	alloc_free(block);
	alloc_free(bytes);
	alloc_free(scratch);
	pq4_free(&pq);
}
END_TEST

START_TEST(test_kmeans_finds_separated_clusters)
{
	enum { COUNT = 900, CLUSTERS = 9, WIDE = 24 };
	static float points[COUNT * WIDE], centroids[CLUSTERS * WIDE];
	static uint32_t nearest[COUNT];

	for (unsigned i = 0; i < COUNT; i++)
		for (unsigned d = 0; d < WIDE; d++)
			points[i * WIDE + d] = (d == i % CLUSTERS ? 50 : 0) + random_normal();
	ck_assert_int_eq(kmeans_train(points, WIDE, COUNT, WIDE, CLUSTERS, 20, 2, centroids), 0);
	ck_assert_int_eq(kmeans_assign(points, WIDE, COUNT, WIDE, centroids, NULL, CLUSTERS, 2, nearest),
			 0);
	for (unsigned i = 0; i < COUNT; i++) {
		double best = INFINITY;
		unsigned winner = 0;
		for (unsigned c = 0; c < CLUSTERS; c++) {
			double sum = 0;
			for (unsigned d = 0; d < WIDE; d++)
				sum += pow(points[i * WIDE + d] - centroids[c * WIDE + d], 2);
			if (sum < best) {
				best = sum;
				winner = c;
			}
		}
		ck_assert_uint_eq(nearest[i], winner);
	}
}
END_TEST

START_TEST(test_index_reaches_the_recall_that_it_is_asked_for)
{
	static const enum quantizer_kind quantizers[] = {QUANTIZER_NONE, 4, QUANTIZER_SQ8};

	for (int metric = VECTORS_COSINE; metric <= VECTORS_L2; metric++) {
		struct vectors *v =
			filled(metric, metric == VECTORS_L2 ? VECTORS_F16 : VECTORS_F32, ROWS);
		struct index *ix = built(v, 1 + metric % 2, quantizers[metric]);
		struct index_stats stats;
		float measured;
		index_get_stats(ix, &stats);
		ck_assert_int_eq(stats.quantizer, quantizers[metric]);
		if (stats.quantizer) {
			ck_assert_float_le(fabsf(stats.error_mean), .3f);
			ck_assert_float_ge(stats.error_deviation, .6f);
			ck_assert_float_le(stats.error_deviation,
					   stats.quantizer == QUANTIZER_SQ8 ? 4 : 1.3f);
		}
		/* 600 answers: three deviations of a binomial are 0.037 at .90, 0.012 at .99;
		 * the probes that chose the setting have the same spread */
		ck_assert_double_ge(recall(ix, v, .90f, NULL, 60), .83);
		ck_assert_double_ge(recall(ix, v, .99f, NULL, 60), .965);
		ck_assert_double_eq(recall(ix, v, 1, NULL, 10), 1);
		ck_assert_int_eq(index_measure(ix, v, .95f, 50, &measured), 0);
		ck_assert_float_ge(measured, .91f);
		index_free(ix);
		vectors_free(v);
	}
}
END_TEST

START_TEST(test_index_auto_is_flat_when_small)
{
	struct vectors *v = filled(VECTORS_COSINE, VECTORS_F32, 500);
	struct index_stats stats;
	struct index *ix;

	ck_assert_int_eq(index_build(v, NULL, &ix), 0);
	index_get_stats(ix, &stats);
	ck_assert_int_eq(stats.kind, INDEX_FLAT);
	ck_assert_double_eq(recall(ix, v, .9f, NULL, 10), 1);
	index_free(ix);
	vectors_free(v);
}
END_TEST

START_TEST(test_index_follows_inserts_and_deletes)
{
	struct vectors *v = filled(VECTORS_COSINE, VECTORS_F32, ROWS);
	struct index *ix = built(v, 2, 3), *clean;
	struct index_stats before, after;

	for (unsigned i = 0; i < ROWS; i++) {
		float vector[DIM];
		uint32_t row;
		random_vector(vector);
		ck_assert_int_eq(vectors_put(v, 1000 + i, 7, 2, vector, &row), 0);
		ck_assert_int_eq(index_add(ix, v, row), 0);
		if (i % 3 == 0)
			vectors_delete_part(v, 1000 + i / 2, i & 1);
	}
	ck_assert_double_ge(recall(ix, v, .95f, NULL, 60), .88);
	ck_assert_int_eq(index_clean(ix, v, &clean), 0);
	index_get_stats(ix, &before);
	index_get_stats(clean, &after);
	ck_assert_uint_eq(before.rows, 2 * ROWS);
	ck_assert_uint_eq(after.rows, v->rows.count - v->rows.dead_count);
	ck_assert_uint_lt(after.bytes, before.bytes);
	ck_assert_double_ge(recall(clean, v, .95f, NULL, 60), .88);
	index_free(ix);
	index_free(clean);
	vectors_free(v);
}
END_TEST

static int accept_some(void *arg, uint64_t owner, uint32_t part)
{
	return owner % *(unsigned *)arg == 0;
}

START_TEST(test_index_filters_at_any_selectivity)
{
	static const unsigned one_of[] = {1, 2, 10, 100, 1000};
	struct vectors *v = filled(VECTORS_L2, VECTORS_F32, ROWS);
	struct index *ix = built(v, 2, 1);
	uint64_t bitmap[(ROWS + 63) / 64];

	for (unsigned i = 0; i < sizeof(one_of) / sizeof(*one_of); i++) {
		unsigned step = one_of[i];
		struct search_filter by_row = {.bitmap = bitmap, .bitmap_rows = ROWS};
		struct search_filter by_owner = {.accept = accept_some, .arg = &step};
		memset(bitmap, 0, sizeof(bitmap));
		for (uint32_t row = 0; row < ROWS; row += step)
			bitmap[row / 64] |= 1ull << row % 64;
		ck_assert_double_ge(recall(ix, v, .95f, &by_row, 30), .88);
		ck_assert_double_ge(recall(ix, v, .95f, &by_owner, 30), .88);
		by_row.accept = accept_some;
		by_row.arg = &step;
		ck_assert_double_ge(recall(ix, v, .95f, &by_row, 10), .85);
	}
	index_free(ix);
	vectors_free(v);
}
END_TEST

START_TEST(test_index_stops_at_the_deadline)
{
	struct vectors *v = filled(VECTORS_L2, VECTORS_F32, ROWS);
	struct index *ix = built(v, 2, QUANTIZER_NONE);
	struct search_filter filter = {.deadline_ns = 1};
	float vector[DIM] = {0};
	struct index_query query = {.vector = vector, .limit = K, .filter = &filter};
	struct search_hit hits[K];
	unsigned count;
	int partial = 0;

	ck_assert_int_eq(index_search(ix, v, &query, hits, &count, &partial), 0);
	ck_assert_int_eq(partial, 1);
	filter.deadline_ns = UINT64_MAX;
	ck_assert_int_eq(index_search(ix, v, &query, hits, &count, &partial), 0);
	ck_assert_int_eq(partial, 0);
	ck_assert_uint_eq(count, K);
	vector[2] = NAN;
	ck_assert_int_eq(index_search(ix, v, &query, hits, &count, &partial), -EINVAL);
	index_free(ix);
	vectors_free(v);
}
END_TEST

/* Cells far apart, of vectors so wide that they are found by their centroids' bytes: few have to be
 * visited for the vector that the query was made of. */
START_TEST(test_index_finds_cells_of_wide_vectors)
{
	enum { WIDE = 256, ROWS_WIDE = 1600, CELLS = 64, TRIES = 100 };
	struct vectors_config config = {.dim = WIDE, .metric = VECTORS_L2};
	struct index_options options = {.kind = INDEX_PARTITIONS, .cells = CELLS, .probes = 10};
	static float middles[CELLS][WIDE];
	struct vectors *v;
	struct index *ix;
	unsigned found = 0;

	ck_assert_int_eq(vectors_new(&config, &v), 0);
	for (unsigned i = 0; i < ROWS_WIDE; i++) {
		float row[WIDE];
		for (unsigned d = 0; d < WIDE; d++) {
			if (i < CELLS)
				middles[i][d] = random_normal() + 3;
			row[d] = middles[i % CELLS][d] + random_normal() * 0.3f;
		}
		ck_assert_int_eq(vectors_put(v, i, 0, 0, row, NULL), 0);
	}
	ck_assert_int_eq(index_build(v, &options, &ix), 0);
	for (unsigned i = 0; i < TRIES; i++) {
		float query[WIDE];
		struct search_hit hit;
		uint64_t compared = 0;
		struct index_query q = {.vector = query,
					.limit = 1,
					.cells = 3,
					.rerank = 5,
					.compared = &compared};
		unsigned count, row = i * 13 % ROWS_WIDE;
		memcpy(query, vectors_row_f32(v, row, query), sizeof(query));
		for (unsigned d = 0; d < WIDE; d++)
			query[d] += random_normal() * 0.1f;
		ck_assert_int_eq(index_search(ix, v, &q, &hit, &count, NULL), 0);
		ck_assert_uint_le(compared, 5);
		found += count && hit.row == row;
	}
	ck_assert_uint_ge(found, TRIES - 3);
	index_free(ix);
	vectors_free(v);
}
END_TEST

static void check_same_answers(const struct index *a, const struct index *b,
			       const struct vectors *v)
{
	for (unsigned q = 0; q < 30; q++) {
		float vector[DIM];
		struct index_query query = {.vector = vector, .limit = K};
		struct search_hit one[K], two[K];
		unsigned one_count, two_count;
		random_vector(vector);
		ck_assert_int_eq(index_search(a, v, &query, one, &one_count, NULL), 0);
		ck_assert_int_eq(index_search(b, v, &query, two, &two_count, NULL), 0);
		ck_assert_uint_eq(one_count, two_count);
		for (unsigned i = 0; i < one_count; i++)
			ck_assert_uint_eq(one[i].row, two[i].row);
	}
}

START_TEST(test_index_saved_and_mapped_is_the_same)
{
	struct vectors *v = filled(VECTORS_COSINE, VECTORS_F32, ROWS);
	struct index *ix = built(v, 2, QUANTIZER_SQ8), *loaded, *bad;
	struct io *io;
	uint64_t position, size;
	struct io_file *file;

	snprintf(directory, sizeof(directory), "/tmp/test_search_XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(io_posix_new(directory, 0, &io), 0);
	for (unsigned i = 0; i < 100; i++) {
		float vector[DIM];
		uint32_t row;
		random_vector(vector);
		ck_assert_int_eq(vectors_put(v, i, 0, 0, vector, &row), 0);
		ck_assert_int_eq(index_add(ix, v, row), 0);
	}
	ck_assert_int_eq(index_save(ix, v, io, "index", 12), 0);
	ck_assert_int_eq(index_load(io, "index", v, &loaded, &position), 0);
	ck_assert_uint_eq(position, 12);
	check_same_answers(ix, loaded, v);
	for (unsigned i = 0; i < 100; i++) {
		float vector[DIM];
		uint32_t row;
		random_vector(vector);
		ck_assert_int_eq(vectors_put(v, i, 1, 0, vector, &row), 0);
		ck_assert_int_eq(index_add(ix, v, row), 0);
		ck_assert_int_eq(index_add(loaded, v, row), 0);
	}
	check_same_answers(ix, loaded, v);
	index_free(loaded);
	/* any bytes are refused or harmless */
	ck_assert_int_eq(io->ops->open(io, "index", IO_READ, &file), 0);
	ck_assert_int_eq(io->ops->size(file, &size), 0);
	uint8_t *body = alloc_aligned(64, size), *copy = alloc_aligned(64, size);
	ck_assert_int_eq(io_read_full(file, io, body, size - 64, 64), 0);
	io->ops->close(file);
	unsigned refused = 0;
	for (unsigned i = 0; i < 400; i++) {
		memcpy(copy, body, size - 64);
		for (unsigned k = 0; k < 1 + i % 3; k++)
			copy[i < 100 ? random_u32() % 100 : random_u32() % (size - 64)] ^=
				(uint8_t)(1 + random_u32() % 255);
		size_t length = i % 5 ? size - 64 : random_u32() % (size - 64);
		int rc = index_parse(copy, length, v, &bad);
		ck_assert(rc == 0 || rc == -EUCLEAN);
		refused += rc != 0;
		if (rc)
			continue;
		float vector[DIM];
		struct index_query query = {.vector = vector, .limit = K};
		struct search_hit hits[K];
		unsigned count;
		random_vector(vector);
		ck_assert_int_eq(index_search(bad, v, &query, hits, &count, NULL), 0);
		index_free(bad);
	}
	ck_assert_uint_gt(refused, 80);
	alloc_free(body);
	alloc_free(copy);
	index_free(ix);
	vectors_free(v);
	io->ops->unlink(io, "index");
	io->ops->destroy(io);
	ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

START_TEST(test_index_survives_lack_of_memory)
{
	struct vectors *v = filled(VECTORS_L2, VECTORS_F32, 300);
	struct index_options options = {
		.kind = INDEX_PARTITIONS, .cells = 4, .quantizer = QUANTIZER_SQ8, .probes = 2};
	struct index *ix = NULL;
	int rc = -ENOMEM;
	float vector[DIM] = {0};
	uint32_t row;

	for (unsigned n = 1; rc; n++) {
		int64_t live = alloc_count_live();
		alloc_fail_arm(n, 0);
		rc = index_build(v, &options, &ix);
		alloc_fail_arm(0, 0);
		ck_assert(rc == 0 || rc == -ENOMEM);
		if (rc)
			ck_assert_int_eq(alloc_count_live(), live);
	}
	ck_assert_int_eq(vectors_put(v, 1, 1, 1, vector, &row), 0);
	for (unsigned n = 1; n < 4; n++) {
		alloc_fail_arm(n, 0);
		rc = index_add(ix, v, row);
		alloc_fail_arm(0, 0);
		ck_assert(rc == 0 || rc == -ENOMEM);
	}
	struct index_query query = {.vector = vector, .limit = K};
	struct search_hit hits[K];
	unsigned count;
	alloc_fail_arm(1, 0);
	ck_assert_int_eq(index_search(ix, v, &query, hits, &count, NULL), -ENOMEM);
	alloc_fail_arm(0, 0);
	index_free(ix);
	vectors_free(v);
}
END_TEST

/* Exact when the answer is compared as (owner, part): rows are renumbered. */
static void check_collection(const struct collection *c, const struct vectors *truth, double least)
{
	unsigned found = 0;

	for (unsigned q = 0; q < 40; q++) {
		float vector[DIM];
		struct index_query query = {.vector = vector, .limit = K};
		struct search_hit exact[K], got[K];
		unsigned exact_count, count;
		random_vector(vector);
		ck_assert_int_eq(flat_search(truth, vector, NULL, K, exact, &exact_count, NULL), 0);
		ck_assert_int_eq(collection_search(c, &query, got, &count, NULL), 0);
		for (unsigned i = 0; i < count; i++) {
			found += got[i].score >= exact[exact_count - 1].score - 1e-5f;
			ck_assert_uint_ne(rows_find(&truth->rows, got[i].owner, got[i].part),
					  ROWS_NONE);
		}
	}
	ck_assert_double_ge(found / (40.0 * K), least);
}

static void both_put(struct collection *c, struct vectors *truth, uint64_t owner, uint32_t part)
{
	float vector[DIM];

	random_vector(vector);
	ck_assert_int_eq(collection_put(c, owner, part, 1, vector), 0);
	ck_assert_int_eq(vectors_put(truth, owner, part, 1, vector, NULL), 0);
}

START_TEST(test_collection_builds_aside_while_it_changes)
{
	struct vectors_config config = {DIM, VECTORS_COSINE, VECTORS_F32, 4096};
	struct vectors *truth = filled(VECTORS_COSINE, VECTORS_F32, 0);
	struct collection_build *build;
	struct collection *c;

	ck_assert_int_eq(collection_new(&config, &c), 0);
	for (unsigned i = 0; i < INDEX_FLAT_ROWS; i++)
		both_put(c, truth, i / 2, i % 2);
	check_collection(c, truth, 1);
	ck_assert_int_eq(collection_wants_build(c), 1);
	ck_assert_int_eq(collection_build_begin(c, 0, &build), 0);
	for (unsigned i = 0; i < 1500; i++) {
		both_put(c, truth, i, i % 3);
		ck_assert_uint_eq(collection_delete(c, 5000 + i), vectors_delete(truth, 5000 + i));
	}
	ck_assert_int_eq(collection_build_run(build, 2, NULL), 0);
	ck_assert_int_eq(collection_build_end(c, build, 0), 0);
	ck_assert_ptr_nonnull(collection_index(c));
	ck_assert_int_eq(collection_wants_build(c), 0);
	check_collection(c, truth, .88);
	for (unsigned i = 0; i < 2000; i++)
		both_put(c, truth, 90000 + i, 0);
	check_collection(c, truth, .88);
	/* after much is deleted, a build leaves the dead behind and no index */
	for (unsigned i = 0; i < 5000; i++)
		ck_assert_uint_eq(collection_delete(c, i), vectors_delete(truth, i));
	ck_assert_int_eq(collection_wants_build(c), 1);
	ck_assert_int_eq(collection_build_begin(c, 0, &build), 0);
	ck_assert_int_eq(collection_build_run(build, 2, NULL), 0);
	ck_assert_int_eq(collection_build_end(c, build, 0), 0);
	ck_assert_ptr_null(collection_index(c));
	ck_assert_uint_eq(collection_vectors(c)->rows.dead_count, 0);
	check_collection(c, truth, 1);
	collection_free(c);
	vectors_free(truth);
}
END_TEST

/* More comes, goes and is replaced than one piece brings, between all pieces. */
START_TEST(test_collection_build_follows_while_it_changes)
{
	struct vectors_config config = {DIM, VECTORS_COSINE, VECTORS_F32, 4096};
	struct vectors *truth = filled(VECTORS_COSINE, VECTORS_F32, 0);
	struct collection_build *build;
	struct collection *c;
	unsigned pieces = 0;

	ck_assert_int_eq(collection_new(&config, &c), 0);
	for (unsigned i = 0; i < INDEX_FLAT_ROWS; i++)
		both_put(c, truth, i, 0);
	ck_assert_int_eq(collection_build_begin(c, 0, &build), 0);
	for (unsigned i = 0; i < 2000; i++)
		both_put(c, truth, 90000 + i, 0);
	ck_assert_int_eq(collection_build_run(build, 2, NULL), 0);
	for (int more = 1; more; pieces++) {
		more = collection_build_follow(build, c);
		ck_assert_int_ge(more, 0);
		for (unsigned i = 0; i < 60 && pieces < 20; i++) {
			uint64_t owner = i % 3 ? 90000 + (pieces * 997 + i * 31) % 3000
					       : (pieces * 389 + i * 57) % INDEX_FLAT_ROWS;
			if (i % 4)
				both_put(c, truth, owner, 0);
			else
				ck_assert_uint_eq(collection_delete(c, owner),
						  vectors_delete(truth, owner));
		}
	}
	ck_assert_uint_gt(pieces, 8);
	both_put(c, truth, 7, 0);
	ck_assert_int_eq(collection_build_end(c, build, 0), 0);
	const struct rows *got = &collection_vectors(c)->rows, *want = &truth->rows;
	ck_assert_uint_eq(got->count - got->dead_count, want->count - want->dead_count);
	for (uint32_t row = 0; row < want->count; row++)
		if (!rows_is_dead(want, row)) {
			float stored[2][DIM];
			uint32_t at = rows_find(got, want->owners[row], want->parts[row]);
			ck_assert_uint_ne(at, ROWS_NONE);
			ck_assert_mem_eq(vectors_row_f32(collection_vectors(c), at, stored[0]),
					 vectors_row_f32(truth, row, stored[1]),
					 DIM * sizeof(float));
		}
	ck_assert_ptr_nonnull(collection_index(c));
	check_collection(c, truth, .88);
	collection_free(c);
	vectors_free(truth);
}
END_TEST

START_TEST(test_collection_build_can_be_canceled)
{
	struct vectors_config config = {DIM, VECTORS_COSINE, VECTORS_F32, 4096};
	struct vectors *truth = filled(VECTORS_COSINE, VECTORS_F32, 0);
	struct collection_build *build;
	struct collection *c;
	_Atomic int cancel = 1;

	ck_assert_int_eq(collection_new(&config, &c), 0);
	for (unsigned i = 0; i < INDEX_FLAT_ROWS; i++)
		both_put(c, truth, i, 0);
	ck_assert_int_eq(collection_build_begin(c, 0, &build), 0);
	ck_assert_int_eq(collection_build_run(build, 2, &cancel), -ECANCELED);
	ck_assert_int_eq(collection_build_end(c, build, -ECANCELED), -ECANCELED);
	ck_assert_ptr_null(collection_index(c));
	check_collection(c, truth, 1);
	/* while it takes in what came meanwhile, which may be much */
	cancel = 0;
	ck_assert_int_eq(collection_build_begin(c, 0, &build), 0);
	ck_assert_int_eq(collection_build_run(build, 2, &cancel), 0);
	for (unsigned i = 0; i < 100; i++)
		both_put(c, truth, 90000 + i, 0);
	cancel = 1;
	ck_assert_int_eq(collection_build_end(c, build, 0), -ECANCELED);
	ck_assert_ptr_null(collection_index(c));
	check_collection(c, truth, 1);
	collection_free(c);
	vectors_free(truth);
}
END_TEST

START_TEST(test_collection_keeps_what_it_has_when_a_build_fails)
{
	struct vectors_config config = {DIM, VECTORS_COSINE, VECTORS_F32, 4096};
	struct vectors *truth = filled(VECTORS_COSINE, VECTORS_F32, 0);
	struct collection_build *build;
	struct collection *c;

	ck_assert_int_eq(collection_new(&config, &c), 0);
	for (unsigned i = 0; i < 300; i++)
		both_put(c, truth, i, 0);
	int64_t live = alloc_count_live();
	int rc = -ENOMEM;
	for (unsigned n = 1; rc; n++) {
		alloc_fail_arm(n, 0);
		rc = collection_build_begin(c, 0, &build);
		if (!rc)
			rc = collection_build_end(c, build, collection_build_run(build, 1, NULL));
		alloc_fail_arm(0, 0);
		ck_assert(rc == 0 || rc == -ENOMEM);
		if (rc)
			ck_assert_int_eq(alloc_count_live(), live);
		check_collection(c, truth, 1);
	}
	collection_free(c);
	vectors_free(truth);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("search_index");
	TCase *tc = tcase_create("index");
	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, test_pq4_tables_give_the_products_of_decoded_codes);
	tcase_add_test(tc, test_kmeans_finds_separated_clusters);
	tcase_add_test(tc, test_index_reaches_the_recall_that_it_is_asked_for);
	tcase_add_test(tc, test_index_auto_is_flat_when_small);
	tcase_add_test(tc, test_index_follows_inserts_and_deletes);
	tcase_add_test(tc, test_index_filters_at_any_selectivity);
	tcase_add_test(tc, test_index_stops_at_the_deadline);
	tcase_add_test(tc, test_index_finds_cells_of_wide_vectors);
	tcase_add_test(tc, test_index_saved_and_mapped_is_the_same);
	tcase_add_test(tc, test_index_survives_lack_of_memory);
	tcase_add_test(tc, test_collection_builds_aside_while_it_changes);
	tcase_add_test(tc, test_collection_build_follows_while_it_changes);
	tcase_add_test(tc, test_collection_build_can_be_canceled);
	tcase_add_test(tc, test_collection_keeps_what_it_has_when_a_build_fails);
	suite_add_tcase(s, tc);
	return unit_end(s);
}
