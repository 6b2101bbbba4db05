/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of vector collections, exact search and fusion, against plain loops in double. */
#include "core/search/flat.h"
#include "core/search/fuse.h"
#include "pool/alloc.h"
#include "tests/unit/unit.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIM = 37, ROWS = 700, SEGMENT = 128 };

static uint64_t seed = 7;
static char directory[64];

static float random_float(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (float)((double)(seed >> 40) / (1 << 23) - 1);
}

static void random_vector(float *v)
{
	for (unsigned i = 0; i < DIM; i++)
		v[i] = random_float();
}

static struct vectors *collection(enum vectors_metric metric, enum vectors_type type)
{
	struct vectors_config config = {DIM, metric, type, SEGMENT};
	struct vectors *v;

	ck_assert_int_eq(vectors_new(&config, &v), 0);
	return v;
}

/* ROWS rows of three parts an owner; some replaced, some deleted. */
static struct vectors *filled(enum vectors_metric metric, enum vectors_type type)
{
	struct vectors *v = collection(metric, type);
	float vector[DIM];
	uint32_t row;

	for (unsigned i = 0; i < ROWS; i++) {
		random_vector(vector);
		ck_assert_int_eq(vectors_put(v, 10 + i / 3, i % 3, i, vector, &row), 0);
		ck_assert_uint_eq(row, i);
	}
	for (unsigned i = 0; i < 60; i++) {
		random_vector(vector);
		ck_assert_int_eq(vectors_put(v, 10 + i * 2, 1, 5000 + i, vector, NULL), 0);
		if (i % 3 == 0)
			ck_assert_uint_ge(vectors_delete(v, 11 + i * 2), 1);
	}
	return v;
}

static double oracle_score(const struct vectors *v, const float *query, uint32_t row)
{
	float buffer[DIM];
	const float *r = vectors_row_f32(v, row, buffer);
	double dot = 0, qq = 0, rr = 0, l2 = 0;

	for (unsigned i = 0; i < DIM; i++) {
		dot += (double)query[i] * r[i];
		qq += (double)query[i] * query[i];
		rr += (double)r[i] * r[i];
		l2 += ((double)query[i] - r[i]) * ((double)query[i] - r[i]);
	}
	switch (v->config.metric) {
	case VECTORS_COSINE:
		return qq > 0 && rr > 0 ? dot / sqrt(qq * rr) : 0;
	case VECTORS_L2:
		return -l2;
	default:
		return dot;
	}
}

static int accept_even(void *arg, uint64_t owner, uint32_t part)
{
	return owner % 2 == 0;
}

static int compare_descending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y) - (x > y);
}

static void check_search(const struct vectors *v, const float *query, unsigned limit, int even_only,
			 const uint64_t *bitmap)
{
	struct search_filter filter = {.accept = even_only ? accept_even : NULL,
				       .bitmap = bitmap,
				       .bitmap_rows = v->rows.count};
	double *scores = malloc((v->rows.count + 1) * sizeof(*scores));
	struct search_hit hits[64];
	unsigned count, found = 0;
	double tolerance = v->config.type == VECTORS_F16 ? 2e-2 : 1e-4;

	ck_assert_int_eq(flat_search(v, query, &filter, limit, hits, &count, NULL), 0);
	for (uint32_t row = 0; row < v->rows.count; row++)
		if (!rows_is_dead(&v->rows, row) && (!even_only || v->rows.owners[row] % 2 == 0) &&
		    (!bitmap || bitmap[row / 64] >> row % 64 & 1))
			scores[found++] = oracle_score(v, query, row);
	qsort(scores, found, sizeof(*scores), compare_descending);
	ck_assert_uint_eq(count, found < limit ? found : limit);
	for (unsigned i = 0; i < count; i++) {
		ck_assert_double_eq_tol(hits[i].score, scores[i], tolerance);
		ck_assert_double_eq_tol(hits[i].score, oracle_score(v, query, hits[i].row),
					tolerance);
		ck_assert_uint_eq(rows_find(&v->rows, hits[i].owner, hits[i].part), hits[i].row);
	}
	free(scores);
}

START_TEST(test_flat_equals_the_scan)
{
	for (int metric = VECTORS_COSINE; metric <= VECTORS_L2; metric++)
		for (int type = VECTORS_F32; type <= VECTORS_F16; type++) {
			struct vectors *v = filled(metric, type);
			uint64_t bitmap[(ROWS + 64) / 64 + 1] = {0};
			float query[DIM];
			for (unsigned i = 0; i < 40; i++)
				bitmap[i * 13 / 64] |= 1ull << i * 13 % 64;
			for (unsigned i = 0; i < 20; i++) {
				random_vector(query);
				check_search(v, query, 1 + i * 3, i % 2, i % 3 ? NULL : bitmap);
			}
			memset(query, 0, sizeof(query));
			check_search(v, query, 10, 0, NULL);
			query[3] = NAN;
			struct search_hit hit;
			unsigned count;
			ck_assert_int_eq(flat_search(v, query, NULL, 1, &hit, &count, NULL),
					 -EINVAL);
			ck_assert_int_eq(vectors_put(v, 1, 1, 1, query, NULL), -EINVAL);
			vectors_free(v);
		}
}
END_TEST

START_TEST(test_flat_stops_at_the_deadline)
{
	struct vectors *v = filled(VECTORS_COSINE, VECTORS_F32);
	struct search_filter filter = {.deadline_ns = 1};
	struct search_hit hits[5];
	unsigned count;
	int partial = 0;
	float query[DIM] = {1};

	ck_assert_int_eq(flat_search(v, query, &filter, 5, hits, &count, &partial), 0);
	ck_assert_int_eq(partial, 1);
	filter.deadline_ns = UINT64_MAX;
	ck_assert_int_eq(flat_search(v, query, &filter, 5, hits, &count, &partial), 0);
	ck_assert_int_eq(partial, 0);
	ck_assert_uint_eq(count, 5);
	vectors_free(v);
}
END_TEST

START_TEST(test_vectors_replace_delete_and_compact)
{
	struct vectors *v = filled(VECTORS_COSINE, VECTORS_F32), *smaller;
	struct vectors_stats stats, after;
	float vector[DIM], got[DIM];

	random_vector(vector);
	ck_assert_int_eq(vectors_put(v, 999, 7, 1, vector, NULL), 0);
	ck_assert_int_eq(vectors_get(v, 999, 7, got), 0);
	ck_assert_mem_eq(vector, got, sizeof(got));
	random_vector(vector);
	ck_assert_int_eq(vectors_put(v, 999, 7, 2, vector, NULL), 0);
	ck_assert_int_eq(vectors_get(v, 999, 7, got), 0);
	ck_assert_mem_eq(vector, got, sizeof(got));
	ck_assert_int_eq(vectors_get(v, 999, 8, got), -ENOENT);
	vectors_get_stats(v, &stats);
	ck_assert_uint_gt(stats.deleted, 60);
	ck_assert_int_eq(vectors_compact(v, &smaller), 0);
	vectors_get_stats(smaller, &after);
	ck_assert_uint_eq(after.alive, stats.alive);
	ck_assert_uint_eq(after.deleted, 0);
	for (uint32_t row = 0; row < v->rows.count; row++) {
		uint32_t moved = rows_find(&smaller->rows, v->rows.owners[row], v->rows.parts[row]);
		if (rows_is_dead(&v->rows, row))
			continue;
		ck_assert_uint_ne(moved, ROWS_NONE);
		ck_assert_mem_eq(vectors_row(v, row), vectors_row(smaller, moved), v->stride);
		ck_assert_uint_eq(v->versions[row], smaller->versions[moved]);
	}
	ck_assert_uint_eq(vectors_delete(smaller, 999), 1);
	ck_assert_uint_eq(vectors_delete(smaller, 999), 0);
	ck_assert_int_eq(vectors_get(smaller, 999, 7, got), -ENOENT);
	vectors_free(v);
	vectors_free(smaller);
}
END_TEST

static struct io *io_make(void)
{
	struct io *io;

	snprintf(directory, sizeof(directory), "/tmp/test_search_XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(io_posix_new(directory, 0, &io), 0);
	return io;
}

static int count_each(void *arg, const char *name)
{
	(*(unsigned *)arg)++;
	return 0;
}

static int remove_each(void *arg, const char *name)
{
	struct io *io = arg;

	return io->ops->unlink(io, name);
}

static void check_same(const struct vectors *a, const struct vectors *b)
{
	ck_assert_uint_eq(a->rows.count, b->rows.count);
	ck_assert_uint_eq(a->rows.dead_count, b->rows.dead_count);
	for (uint32_t row = 0; row < a->rows.count; row++) {
		ck_assert_mem_eq(vectors_row(a, row), vectors_row(b, row), a->stride);
		ck_assert_uint_eq(a->rows.owners[row], b->rows.owners[row]);
		ck_assert_uint_eq(a->rows.parts[row], b->rows.parts[row]);
		ck_assert_uint_eq(a->versions[row], b->versions[row]);
		ck_assert_float_eq(a->scales[row], b->scales[row]);
		ck_assert_int_eq(rows_is_dead(&a->rows, row), rows_is_dead(&b->rows, row));
	}
}

START_TEST(test_vectors_saved_and_loaded_are_the_same)
{
	struct io *io = io_make();
	struct vectors *v = filled(VECTORS_COSINE, VECTORS_F16), *loaded, *smaller;
	uint64_t position;
	float vector[DIM];
	unsigned files = 0;

	ck_assert_int_eq(vectors_save(v, io, "vec", 33), 0);
	ck_assert_int_eq(vectors_load(io, "vec", &loaded, &position), 0);
	ck_assert_uint_eq(position, 33);
	check_same(v, loaded);
	for (unsigned i = 0; i < 300; i++) {
		random_vector(vector);
		ck_assert_int_eq(vectors_put(loaded, 5000 + i, 0, i, vector, NULL), 0);
	}
	ck_assert_int_eq(vectors_save(loaded, io, "vec", 34), 0);
	check_search(loaded, vector, 10, 0, NULL);
	vectors_free(v);
	ck_assert_int_eq(vectors_load(io, "vec", &v, &position), 0);
	check_same(v, loaded);
	/* compaction leaves no file of the old segments behind */
	for (unsigned i = 0; i < 150; i++)
		vectors_delete(loaded, 10 + i);
	ck_assert_int_eq(vectors_compact(loaded, &smaller), 0);
	ck_assert_int_eq(vectors_save(smaller, io, "vec", 35), 0);
	ck_assert_int_eq(io->ops->list(io, "", count_each, &files), 0);
	ck_assert_uint_eq(files, 1 + smaller->rows.count / SEGMENT);
	vectors_free(v);
	ck_assert_int_eq(vectors_load(io, "vec", &v, &position), 0);
	check_same(v, smaller);
	vectors_free(v);
	vectors_free(loaded);
	vectors_free(smaller);
	io->ops->list(io, "", remove_each, io);
	io->ops->destroy(io);
	ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

static void damage(struct io *io, const char *name, uint64_t at)
{
	struct io_file *file;
	uint8_t byte;

	ck_assert_int_eq(io->ops->open(io, name, IO_WRITE, &file), 0);
	ck_assert_int_eq(io_read_full(file, io, &byte, 1, at), 0);
	byte ^= 0x10;
	ck_assert_int_eq(io_write_full(file, io, &byte, 1, at), 0);
	io->ops->close(file);
}

START_TEST(test_vectors_refuse_damage)
{
	struct io *io = io_make();
	struct vectors *v = filled(VECTORS_L2, VECTORS_F32), *loaded;
	static const char *const names[] = {"vec", "vec.00000001", "vec.00000003"};
	uint64_t position;

	ck_assert_int_eq(vectors_save(v, io, "vec", 1), 0);
	for (unsigned i = 0; i < 90; i++) {
		uint64_t at = i < 64 ? i : 64 + i * 101;
		damage(io, names[i % 3], at);
		ck_assert_int_eq(vectors_load(io, "vec", &loaded, &position), -EUCLEAN);
		damage(io, names[i % 3], at);
	}
	ck_assert_int_eq(vectors_load(io, "vec", &loaded, &position), 0);
	vectors_free(loaded);
	ck_assert_int_eq(io->ops->unlink(io, names[1]), 0);
	ck_assert_int_eq(vectors_load(io, "vec", &loaded, &position), -EUCLEAN);
	vectors_free(v);
	io->ops->list(io, "", remove_each, io);
	io->ops->destroy(io);
	ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

START_TEST(test_vectors_survive_lack_of_memory)
{
	struct vectors *v = collection(VECTORS_COSINE, VECTORS_F32);
	float vector[DIM];
	unsigned put = 0, failed = 0;

	for (unsigned i = 0; i < 600; i++) {
		random_vector(vector);
		alloc_fail_arm(1 + i % 4, 0);
		int rc = vectors_put(v, i, 0, 0, vector, NULL);
		alloc_fail_arm(0, 0);
		ck_assert(rc == 0 || rc == -ENOMEM);
		put += !rc;
		failed += !!rc;
		ck_assert_uint_eq(v->rows.count, put);
	}
	ck_assert_uint_gt(failed, 5);
	check_search(v, vector, 20, 0, NULL);
	vectors_free(v);
}
END_TEST

START_TEST(test_fuse_standardises_both_sides)
{
	struct search_hit words[] = {{1, 0, 0, 12}, {2, 0, 0, 8}};
	struct search_hit meaning[] = {{3, 0, 0, .9f}, {1, 0, 0, .5f}};
	struct fuse_background background = {2, 2, .1f, .2f};
	struct fuse_options options = {FUSE_STANDARD, 0, 0};
	struct fuse_hit hits[4];

	unsigned count = fuse_collect(words, 2, meaning, 2, hits);
	ck_assert_uint_eq(count, 3);
	for (unsigned i = 0; i < count; i++) {
		if (hits[i].owner == 2) {
			ck_assert_uint_eq(hits[i].known, FUSE_LEXICAL);
			hits[i].vector = .3f;
		} else if (hits[i].owner == 3) {
			ck_assert_uint_eq(hits[i].known, FUSE_VECTOR);
			hits[i].lexical = 0;
		}
	}
	fuse_rank(hits, count, &background, &options);
	ck_assert_uint_eq(hits[0].owner, 1); /* 5 + 2 */
	ck_assert_float_eq_tol(hits[0].score, 7, 1e-5);
	ck_assert_uint_eq(hits[1].owner, 2); /* 3 + 1 */
	ck_assert_float_eq_tol(hits[1].lexical_part, 3, 1e-5);
	ck_assert_float_eq_tol(hits[1].vector_part, 1, 1e-5);
	ck_assert_uint_eq(hits[2].owner, 3); /* -1 + 4 */
	ck_assert_float_eq_tol(hits[2].score, 3, 1e-5);
	options.method = FUSE_RANK;
	fuse_rank(hits, count, &background, &options);
	ck_assert_uint_eq(hits[0].owner, 1);
	ck_assert_float_eq_tol(hits[0].score, 1.f / 61 + 1.f / 62, 1e-7);
	ck_assert_uint_eq(hits[1].owner, 3);
}
END_TEST

START_TEST(test_fuse_ranks_owners_by_their_best_parts)
{
	struct search_hit words[] = {{7, 3, 0, 12}, {7, 1, 0, 9}, {8, 0, 0, 8}};
	struct search_hit meaning[] = {{8, 4, 0, .9f}, {8, 5, 0, .8f}, {7, 2, 0, .5f}};
	struct fuse_hit hits[6];

	ck_assert_uint_eq(fuse_collect(words, 3, meaning, 3, hits), 2);
	ck_assert_uint_eq(hits[0].owner, 7);
	ck_assert_uint_eq(hits[0].known, FUSE_LEXICAL | FUSE_VECTOR);
	ck_assert_uint_eq(hits[0].lexical_at, 3);
	ck_assert_uint_eq(hits[0].vector_at, 2);
	ck_assert_uint_eq(hits[0].vector_rank, 2);
	ck_assert_uint_eq(hits[1].lexical_rank, 2);
	ck_assert_uint_eq(hits[1].vector_at, 4);
	ck_assert_float_eq(hits[1].vector, .9f);
	ck_assert_float_eq(hits[1].lexical, 8);
}
END_TEST

START_TEST(test_flat_scores_an_owner_by_its_best_part)
{
	struct vectors *v = filled(VECTORS_DOT, VECTORS_F32);
	struct search_hit all[ROWS + 60], hit;
	float query[DIM];
	unsigned count;

	random_vector(query);
	ck_assert_int_eq(flat_search(v, query, NULL, ROWS + 60, all, &count, NULL), 0);
	for (uint64_t owner = 5; owner < 150; owner++) {
		hit.owner = owner;
		ck_assert_int_eq(flat_score_owners(v, query, &hit, 1), 0);
		unsigned i = 0;
		while (i < count && all[i].owner != owner)
			i++;
		ck_assert_uint_eq(hit.row, i < count ? all[i].row : ROWS_NONE);
		if (i < count)
			ck_assert_uint_eq(hit.part, all[i].part);
	}
	vectors_free(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("search_vectors");
	TCase *tc = tcase_create("vectors");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_flat_equals_the_scan);
	tcase_add_test(tc, test_flat_stops_at_the_deadline);
	tcase_add_test(tc, test_vectors_replace_delete_and_compact);
	tcase_add_test(tc, test_vectors_saved_and_loaded_are_the_same);
	tcase_add_test(tc, test_vectors_refuse_damage);
	tcase_add_test(tc, test_vectors_survive_lack_of_memory);
	tcase_add_test(tc, test_fuse_standardises_both_sides);
	tcase_add_test(tc, test_fuse_ranks_owners_by_their_best_parts);
	tcase_add_test(tc, test_flat_scores_an_owner_by_its_best_part);
	suite_add_tcase(s, tc);
	return unit_end(s);
}
