/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of the vectors that users bring, and of what a collection does for them: many at once,
 *          beside a build, and in files. What is found is held against an exact scan. */
#include "core/memory/spaces.h"
#include "core/search/collection.h"
#include "core/search/flat.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A sanitizer watches the scalar kernels, which take too long for an index. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { HAS_INDEX = 0, ROWS = 1500 };
#else
enum { HAS_INDEX = 1, ROWS = INDEX_FLAT_ROWS };
#endif
enum { DIM = 12, CENTRES = 60, K = 10, FILES = 10, PIECE = 300, SMALL = 400 };

static uint64_t seed = 7;
static float centres[CENTRES][DIM];

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

static void random_vector(float *v)
{
	const float *c = centres[random_u32() % CENTRES];

	for (unsigned d = 0; d < DIM; d++)
		v[d] = c[d] + random_normal() * .7f;
}

static void setup(void)
{
	for (unsigned c = 0; c < CENTRES; c++)
		for (unsigned d = 0; d < DIM; d++)
			centres[c][d] = random_normal();
}

/* ---- a collection ---- */

/* Of `rows` rows, part 0 of owners from 1 on, with an index though it is small. */
static struct collection *indexed(unsigned rows)
{
	struct vectors_config config = {DIM, VECTORS_L2, VECTORS_F32, 64};
	struct index_options options = {.kind = INDEX_PARTITIONS, .cells = 8, .probes = 4};
	struct collection *c;
	struct vectors *v;
	struct index *ix;
	float vector[DIM];

	ck_assert_int_eq(vectors_new(&config, &v), 0);
	for (unsigned i = 0; i < rows; i++) {
		random_vector(vector);
		ck_assert_int_eq(vectors_put(v, 1 + i, 0, 1, vector, NULL), 0);
	}
	ck_assert_int_eq(index_build(v, &options, &ix), 0);
	ck_assert_int_eq(collection_adopt(v, ix, &c), 0);
	return c;
}

/* Whether the nearest to `vector` is (owner, part), at no distance. */
static int is_found(const struct collection *c, const float *vector, uint64_t owner, uint32_t part)
{
	struct index_query query = {.vector = vector, .limit = K, .recall = .99f};
	struct search_hit hits[K];
	unsigned count;

	ck_assert_int_eq(collection_search(c, &query, hits, &count, NULL), 0);
	return count && hits[0].owner == owner && hits[0].part == part && hits[0].score == 0;
}

static float staged[3 * PIECE][DIM];

static unsigned found_staged(const struct collection *c, uint64_t owner, unsigned count)
{
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++)
		found += is_found(c, staged[i], owner, i);
	return found;
}

START_TEST(test_collection_shows_what_is_staged_at_once)
{
	struct collection *c = indexed(SMALL);
	const uint64_t owner = 5000;

	for (unsigned i = 0; i < 2 * PIECE; i++)
		random_vector(staged[i]);
	for (unsigned at = 0; at < 2 * PIECE; at += PIECE) {
		ck_assert_int_eq(collection_stage(c, owner, at, 3, staged[at], PIECE), 0);
		ck_assert_uint_eq(collection_staged(c), at + PIECE);
		ck_assert_uint_eq(found_staged(c, owner, 2 * PIECE), 0);
		ck_assert_uint_eq(collection_dead(c), 0);
	}
	collection_stage_end(c, 1);
	ck_assert_uint_eq(collection_staged(c), 0);
	ck_assert_uint_eq(collection_behind(c), 2 * PIECE);
	ck_assert_uint_eq(found_staged(c, owner, 2 * PIECE), 2 * PIECE);
	unsigned pieces = 0;
	for (int more = 1; more; pieces++) {
		more = collection_follow(c, 90);
		ck_assert_int_ge(more, 0);
		ck_assert_uint_eq(found_staged(c, owner, 2 * PIECE), 2 * PIECE);
	}
	ck_assert_uint_eq(pieces, (2 * PIECE + 89) / 90);
	ck_assert_uint_eq(collection_behind(c), 0);
	ck_assert_uint_eq(collection_delete(c, owner), 2 * PIECE);
	ck_assert_uint_eq(found_staged(c, owner, 2 * PIECE), 0);
	/* few go into the index at once, and what is not kept was never there */
	ck_assert_int_eq(collection_stage(c, owner, 0, 4, staged[0], 3), 0);
	collection_stage_end(c, 1);
	ck_assert_uint_eq(collection_behind(c), 0);
	ck_assert_uint_eq(found_staged(c, owner, 3), 3);
	ck_assert_int_eq(collection_stage(c, owner + 1, 0, 4, staged[3], 3), 0);
	collection_stage_end(c, 0);
	ck_assert(!is_found(c, staged[3], owner + 1, 0));
	ck_assert_uint_eq(collection_dead(c), 2 * PIECE + 3);
	collection_free(c);
}
END_TEST

START_TEST(test_collection_adopts_an_index_that_lacks_rows)
{
	struct collection *c = indexed(SMALL), *again;
	struct io *io;
	struct vectors *v;
	struct index *ix;
	uint64_t position;
	char directory[] = "/tmp/test_spaces_XXXXXX";

	for (unsigned i = 0; i < PIECE; i++)
		random_vector(staged[i]);
	for (unsigned i = 0; i < SMALL; i += 3)
		collection_delete(c, 1 + i);
	ck_assert_int_eq(collection_stage(c, 5000, 0, 3, staged[0], PIECE), 0);
	collection_stage_end(c, 1);
	ck_assert_int_eq(collection_follow(c, 100), 1);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(io_posix_new(directory, 0, &io), 0);
	ck_assert_int_eq(vectors_save((struct vectors *)collection_vectors(c), io, "v", 1), 0);
	ck_assert_int_eq(index_save(collection_index(c), collection_vectors(c), io, "i", 1), 0);
	ck_assert_int_eq(vectors_load(io, "v", &v, &position), 0);
	ck_assert_int_eq(index_load(io, "i", v, &ix, &position), 0);
	ck_assert_int_eq(collection_adopt(v, ix, &again), 0);
	ck_assert_uint_eq(collection_behind(again), PIECE - 100);
	ck_assert_uint_eq(found_staged(again, 5000, PIECE), PIECE);
	ck_assert_int_eq(collection_follow(again, PIECE), 0);
	ck_assert_uint_eq(found_staged(again, 5000, PIECE), PIECE);
	collection_free(again);
	collection_free(c);
	io->ops->destroy(io);
	char command[64];
	snprintf(command, sizeof command, "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

/* Rows move, as most are dead; vectors come in pieces, and go, before, during and after the build. */
START_TEST(test_collection_build_moves_what_is_staged)
{
	enum { OLD = 3000, LEFT = 700 };
	struct collection *c = indexed(OLD);
	struct collection_build *build;
	float stays[DIM], goes[DIM];

	for (unsigned i = 0; i < 3 * PIECE; i++)
		random_vector(staged[i]);
	for (unsigned i = LEFT; i < OLD; i++)
		collection_delete(c, 1 + i);
	ck_assert_int_eq(collection_wants_build(c), 1);
	random_vector(stays);
	random_vector(goes);
	ck_assert_int_eq(collection_put(c, 7001, 0, 1, goes), 0);
	ck_assert_int_eq(collection_stage(c, 5000, 0, 3, staged[0], PIECE), 0);
	ck_assert_int_eq(collection_build_begin(c, 0, &build), 0);
	ck_assert_int_eq(collection_stage(c, 5000, PIECE, 3, staged[PIECE], PIECE), 0);
	collection_stage_end(c, 1);
	ck_assert_int_eq(collection_build_run(build, 1, NULL), 0);
	ck_assert_int_eq(collection_put(c, 7002, 0, 1, goes), 0);
	ck_assert_int_eq(collection_put(c, 7000, 0, 1, stays), 0);
	ck_assert_uint_eq(collection_delete(c, 7001), 1);
	for (int more = 1; more;)
		ck_assert_int_ge(more = collection_build_follow(build, c), 0);
	ck_assert_uint_eq(collection_delete(c, 7002), 1); /* the result has it by now */
	ck_assert_int_eq(collection_stage(c, 6000, 0, 3, staged[2 * PIECE], 1), 0);
	ck_assert_int_eq(collection_build_end(c, build, 0), 0);
	ck_assert_uint_eq(collection_staged(c), 1);
	ck_assert_int_eq(collection_stage(c, 6000, 1, 3, staged[2 * PIECE + 1], 1), 0);
	ck_assert(!is_found(c, staged[2 * PIECE], 6000, 0));
	collection_stage_end(c, 1);
	ck_assert(is_found(c, staged[2 * PIECE], 6000, 0));
	ck_assert(is_found(c, staged[2 * PIECE + 1], 6000, 1));
	ck_assert_uint_eq(found_staged(c, 5000, 2 * PIECE), 2 * PIECE);
	ck_assert(is_found(c, stays, 7000, 0));
	ck_assert(!is_found(c, goes, 7001, 0) && !is_found(c, goes, 7002, 0));
	const struct rows *r = &collection_vectors(c)->rows;
	ck_assert_uint_eq(r->count - r->dead_count, LEFT + 2 * PIECE + 1 + 2);
	ck_assert_uint_eq(r->dead_count, 2); /* that came and went since it began */
	for (unsigned i = 0; i < LEFT; i++)
		ck_assert_uint_ne(rows_find(r, 1 + i, 0), ROWS_NONE);
	collection_free(c);
}
END_TEST

/* ---- spaces ---- */

/* Row `part` of a file, the same each time. */
static void row_make(uint64_t file, uint32_t part, float *out)
{
	uint64_t was = seed;

	seed = file * 1000003 + part * 7919 + 12345;
	for (int i = 0; i < 4; i++)
		random_u32();
	random_vector(out);
	seed = was;
}

static int put(struct spaces *s, enum vectors_metric metric, uint64_t file, uint64_t version,
	       unsigned rows)
{
	float vectors[PIECE][DIM];
	int rc = spaces_put_begin(s, DIM, metric, file);

	for (unsigned at = 0; at < rows && rc == 0; at += PIECE) {
		unsigned n = rows - at < PIECE ? rows - at : PIECE;
		for (unsigned i = 0; i < n; i++)
			row_make(file, at + i, vectors[i]);
		rc = spaces_put_rows(s, version, at, vectors[0], n);
	}
	return spaces_put_end(s, rc);
}

static struct spaces *filled(enum vectors_metric metric, unsigned files, unsigned rows)
{
	struct spaces *s;

	ck_assert_int_eq(spaces_new(&s), 0);
	for (unsigned i = 1; i <= files; i++)
		ck_assert_int_eq(put(s, metric, i, 1, rows), 0);
	return s;
}

static void tend(struct spaces *s)
{
	struct spaces_stats stats;

	ck_assert_int_eq(spaces_want(s), HAS_INDEX);
	ck_assert_int_eq(spaces_tend(s, 0, NULL), 0);
	ck_assert_int_eq(spaces_want(s), 0);
	spaces_get_stats(s, &stats);
	ck_assert_int_eq(stats.cells > 0, HAS_INDEX);
	ck_assert_uint_eq(stats.scanned, HAS_INDEX ? 0 : stats.vectors);
}

static unsigned ask(struct spaces *s, enum vectors_metric metric, const float *vector, float recall,
		    struct search_filter *filter, struct search_hit hits[K])
{
	struct index_query query = {
		.vector = vector, .limit = K, .recall = recall, .filter = filter};
	unsigned count;
	int partial = 0;

	ck_assert_int_eq(spaces_search(s, DIM, metric, &query, filter, hits, &count, &partial), 0);
	ck_assert_int_eq(partial, 0);
	return count;
}

/* Share of the exact answer that is found, through the filter. */
static double recall_of(struct spaces *s, enum vectors_metric metric, struct search_filter *filter,
			unsigned queries)
{
	unsigned found = 0, all = 0;

	for (unsigned q = 0; q < queries; q++) {
		struct search_hit exact[K], got[K];
		float vector[DIM];
		random_vector(vector);
		unsigned want = ask(s, metric, vector, 1, filter, exact);
		unsigned count = ask(s, metric, vector, 0, filter, got);
		for (unsigned i = 0; i < count; i++) {
			ck_assert(search_filter_accept(filter, got[i].owner, got[i].part));
			found += got[i].score >=
				 exact[want - 1].score - 1e-5f * (1 + fabsf(got[i].score));
		}
		all += want;
	}
	ck_assert_uint_gt(all, 0);
	return (double)found / all;
}

START_TEST(test_spaces_index_reaches_its_recall)
{
	for (int metric = VECTORS_COSINE; metric < VECTORS_L2; metric++) {
		struct spaces *s = filled(metric, FILES, ROWS / FILES);
		tend(s);
		ck_assert_double_ge(recall_of(s, metric, NULL, 60), .95);
		spaces_free(s);
	}
}
END_TEST

static int accept_file(void *arg, uint64_t owner, uint32_t part)
{
	return owner % *(unsigned *)arg == 0;
}

static void check_shares(struct spaces *s, const unsigned *one_of, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned step = one_of[i];
		struct search_filter filter = {.accept = accept_file, .arg = &step};
		ck_assert_double_ge(recall_of(s, VECTORS_L2, &filter, 30), .95);
	}
}

START_TEST(test_spaces_scopes_reach_it_too)
{
	static const unsigned files[] = {1, 2, 5, 10}, rows[] = {1, 2, 10, 100, 1000};
	struct spaces *s = filled(VECTORS_L2, FILES, ROWS / FILES);

	tend(s);
	ck_assert_double_ge(recall_of(s, VECTORS_L2, NULL, 60), .95);
	check_shares(s, files, 4);
	spaces_free(s);
	s = filled(VECTORS_L2, ROWS, 1); /* too many files to ask for each */
	tend(s);
	check_shares(s, rows, 5);
	spaces_free(s);
}
END_TEST

static int is_there(struct spaces *s, uint64_t file, uint32_t part)
{
	struct search_hit hits[K];
	float vector[DIM];

	row_make(file, part, vector);
	return ask(s, VECTORS_L2, vector, 0, NULL, hits) && hits[0].owner == file &&
	       hits[0].part == part && hits[0].score == 0;
}

static int never(void *arg, uint64_t owner)
{
	ck_assert_uint_ne(owner, *(uint64_t *)arg);
	return 0;
}

START_TEST(test_spaces_follow_files)
{
	enum { EACH = ROWS / FILES };
	struct spaces *s = filled(VECTORS_L2, FILES, EACH);
	struct spaces_stats stats;
	uint64_t changes;

	for (int round = 0; round < 1 + HAS_INDEX; round++) {
		ck_assert(is_there(s, 3, 0) && is_there(s, 3, EACH - 1));
		ck_assert(spaces_hold(s, DIM, VECTORS_L2, 3, 1, EACH));
		ck_assert(!spaces_hold(s, DIM, VECTORS_L2, 3, 2, EACH));
		ck_assert(!spaces_hold(s, DIM, VECTORS_L2, 3, 1, EACH - 1));
		ck_assert(!spaces_hold(s, DIM, VECTORS_DOT, 3, 1, EACH));
		/* shorter, longer, in another space, away */
		ck_assert_int_eq(put(s, VECTORS_L2, 4, 2, 5), 0);
		ck_assert(is_there(s, 4, 4) && !is_there(s, 4, 5));
		ck_assert_int_eq(put(s, VECTORS_L2, 4, 3, EACH + 1), 0);
		ck_assert(is_there(s, 4, EACH) && is_there(s, 4, 0));
		ck_assert_int_eq(put(s, VECTORS_DOT, 5, 2, 3), 0);
		ck_assert(!is_there(s, 5, 0) && spaces_hold(s, DIM, VECTORS_DOT, 5, 2, 3));
		spaces_remove(s, 6);
		uint64_t gone = 6;
		ck_assert(!is_there(s, 6, 0) && !is_there(s, 6, EACH - 1));
		ck_assert_int_eq(spaces_each(s, never, &gone), 0);
		/* away while it is put */
		float vector[DIM];
		row_make(7, 0, vector);
		ck_assert_int_eq(spaces_put_begin(s, DIM, VECTORS_L2, 7), 0);
		ck_assert_int_eq(spaces_put_rows(s, 2, 0, vector, 1), 0);
		spaces_remove(s, 7);
		ck_assert_int_eq(spaces_put_rows(s, 2, 1, vector, 1), 0);
		ck_assert_int_eq(spaces_put_end(s, 0), 0);
		ck_assert(!is_there(s, 7, 0));
		ck_assert_int_eq(put(s, VECTORS_L2, 7, 3, EACH), 0);
		ck_assert(is_there(s, 7, 0));
		/* nothing is no change */
		changes = spaces_changes(s);
		spaces_remove(s, 999);
		ck_assert_uint_eq(spaces_changes(s), changes);
		for (unsigned i = 4; i <= 6; i++)
			ck_assert_int_eq(put(s, VECTORS_L2, i, 1, EACH), 0);
		if (!round && HAS_INDEX)
			ck_assert_int_eq(spaces_tend(s, 0, NULL), 0);
	}
	spaces_get_stats(s, &stats);
	ck_assert_uint_eq(stats.vectors, FILES * EACH);
	ck_assert_int_eq(stats.cells > 0, HAS_INDEX);
	spaces_free(s);
}
END_TEST

static void files_remove(const char *directory)
{
	char command[80];

	snprintf(command, sizeof command, "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(test_spaces_survive_in_files)
{
	enum { EACH = ROWS / FILES };
	struct spaces *s = filled(VECTORS_L2, FILES, EACH), *again;
	struct spaces_file files[SPACES_MAX];
	struct spaces_stats was, is;
	uint64_t changes, position, gone = 2;
	uint32_t count;
	struct io *io;
	struct vectors *v;
	char directory[] = "/tmp/test_spaces_XXXXXX", name[IO_NAME_MAX];

	spaces_want_codes(s, DIM, VECTORS_L2, 3);
	spaces_want_codes(s, DIM, VECTORS_L2, QUANTIZER_NONE); /* the finest counts */
	tend(s);
	/* more bits are worth a build, fewer are not */
	spaces_want_codes(s, DIM, VECTORS_L2, QUANTIZER_SQ8);
	ck_assert_int_eq(spaces_want(s), HAS_INDEX);
	spaces_want_no_codes(s);
	ck_assert_int_eq(spaces_want(s), 0);
	ck_assert_int_eq(put(s, VECTORS_COSINE, 50, 1, 3), 0);
	ck_assert_int_eq(put(s, VECTORS_DOT, 51, 1, 3), 0);
	spaces_remove(s, 51); /* an empty space has no files */
	spaces_remove(s, gone);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(io_posix_new(directory, 0, &io), 0);
	ck_assert_int_eq(io->ops->mkdir(io, "index"), 0);
	ck_assert_int_eq(spaces_save(s, io, 8, files, &count, &changes), 0);
	ck_assert_uint_eq(count, 2);
	ck_assert_uint_eq(changes, spaces_changes(s));
	spaces_get_stats(s, &was);
	ck_assert_int_eq(spaces_new(&again), 0);
	ck_assert_int_eq(spaces_load(again, io, 9, &files[0]), -EUCLEAN);
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(spaces_load(again, io, 8, &files[i]), 0);
	spaces_get_stats(again, &is);
	ck_assert_uint_eq(is.vectors, was.vectors);
	ck_assert_uint_eq(is.cells, was.cells);
	ck_assert_uint_eq(is.scanned, was.scanned);
	ck_assert_uint_eq(is.coded, HAS_INDEX ? (FILES - 1) * EACH : 0);
	ck_assert(is_there(again, 1, 0) && is_there(again, FILES, EACH - 1));
	ck_assert(!is_there(again, gone, 0));
	ck_assert_double_ge(recall_of(again, VECTORS_L2, NULL, 30), .95);
	ck_assert_int_eq(put(again, VECTORS_L2, gone, 2, 3), 0);
	ck_assert(is_there(again, gone, 2));
	/* what is gone is out of the files after a move of the rows */
	spaces_remove(again, gone);
	ck_assert_int_eq(spaces_tend(again, 1, NULL), 0);
	ck_assert_int_eq(spaces_save(again, io, 9, files, &count, &changes), 0);
	for (uint32_t i = 0; i < count; i++) {
		spaces_file_name(&files[i], name);
		ck_assert_int_eq(spaces_owns(name + strlen("index/"), files, count), 1);
		ck_assert_int_eq(vectors_load(io, name, &v, &position), 0);
		ck_assert_uint_eq(position, 9);
		for (uint32_t row = 0; row < v->rows.count; row++)
			ck_assert_uint_ne(v->rows.owners[row], gone);
		vectors_free(v);
	}
	ck_assert_int_eq(spaces_owns("rows-00020abc.00000001", files, count), 0);
	ck_assert_int_eq(spaces_owns("words", files, count), -ENOENT);
	spaces_free(s);
	spaces_free(again);
	io->ops->destroy(io);
	files_remove(directory);
}
END_TEST

UNIT_MAIN_WITH("spaces", setup, NULL, test_collection_shows_what_is_staged_at_once,
	       test_collection_adopts_an_index_that_lacks_rows,
	       test_collection_build_moves_what_is_staged, test_spaces_index_reaches_its_recall,
	       test_spaces_scopes_reach_it_too, test_spaces_follow_files,
	       test_spaces_survive_in_files)
