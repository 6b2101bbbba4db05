/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   tests of core/memory/use.h and together.h on a store without a mount: what counts as a use,
 *            what is written of it and when, how what is not used fades, and which pairs become links.
 * Threading: one thread; the memory's own beside it.
 */
#include "core/edges.h"
#include "core/memory/memory_inside.h"
#include "core/memory/recall.h"
#include "tests/lib/notes.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <math.h>
#include <time.h>

enum { FILES = 12 };
static struct notes notes;
static struct memory *memory;

static void memory_begin(void)
{
	struct memory_options options = {.store = notes.store, .model = "/nonexistent"};
	struct mneme_error error;

	ck_assert_int_eq(memory_open(notes.engine, &options, &memory, &error), 0);
}

static void setup(void)
{
	notes_new(&notes);
	for (uint64_t i = 0; i < FILES; i++)
		notes_write(&notes, i, "x", 1);
	memory_begin();
	ck_assert_int_eq(memory_sync(memory, 0), 0);
}

static void teardown(void)
{
	memory_close(memory);
	notes_free(&notes);
}

static void again(void)
{
	memory_close(memory);
	memory_begin();
}

static void attribute_set(uint64_t inode, const char *name, const char *value)
{
	struct mneme_key key = {.inode = inode,
				.type = MNEME_TYPE_XATTR,
				.sub = name,
				.sub_length = (uint16_t)strlen(name)};

	ck_assert_int_eq(memory_use_check(memory, name, value, strlen(value)), 0);
	CHECK(!mneme_put(notes.engine, &key, value, strlen(value), MNEME_DURABILITY_BUFFERED));
}

static double shown(uint64_t number, const char *name)
{
	char text[64];

	ck_assert_int_eq(
		memory_use_describe(memory, notes_inode(&notes, number), name, text, sizeof text),
		0);
	return strtod(text, NULL);
}

static void use(uint64_t number)
{
	use_note(memory, (uint64_t[]){notes_inode(&notes, number)}, 1);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

START_TEST(test_use_takes_only_what_makes_sense)
{
	static const struct {
		const char *name, *value;
		int rc;
	} cases[] = {
		{MEMORY_CONFIDENCE, "0", 0},
		{MEMORY_CONFIDENCE, "1", 0},
		{MEMORY_CONFIDENCE, "1.01", -EINVAL},
		{MEMORY_CONFIDENCE, "-0.1", -EINVAL},
		{MEMORY_CONFIDENCE, "nan", -EINVAL},
		{MEMORY_CONFIDENCE, "", -EINVAL},
		{MEMORY_CONFIDENCE, "0.5 ", -EINVAL},
		{MEMORY_CONFIDENCE, "0.500000000000000000000000000000000000", -EINVAL},
		{MEMORY_PINNED, "1", 0},
		{MEMORY_PINNED, "0", -EINVAL},
		{MEMORY_SETTING_LEARN, "yes", 0},
		{MEMORY_SETTING_LEARN, "often", -EINVAL},
		{MEMORY_SETTING_DECAY, "no", 0},
		{MEMORY_SETTING_DECAY, "never", 0},
		{MEMORY_SETTING_DECAY, "0.001", 0},
		{MEMORY_SETTING_DECAY, "0", -EINVAL},
		{MEMORY_SETTING_DECAY, "1e9", -EINVAL},
		{MEMORY_SETTING_NEIGHBOURS, "16", 0},
		{MEMORY_SETTING_NEIGHBOURS, "17", -EINVAL},
		{MEMORY_SETTING_NEIGHBOURS, "1.5", -EINVAL},
		{MEMORY_ACCESS_COUNT, "1", -EPERM},
		{MEMORY_LAST_ACCESS, "1", -EPERM},
		{MEMORY_CREATED, "1", -EPERM},
		{MEMORY_ACTIVATION, "1", -EPERM},
	};

	setup();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int rc = memory_use_check(memory, cases[i].name, cases[i].value,
					  strlen(cases[i].value));
		ck_assert_msg(rc == cases[i].rc, "%s=%s: %d", cases[i].name, cases[i].value, rc);
	}
	teardown();
}
END_TEST

START_TEST(test_use_is_counted_where_a_directory_learns)
{
	struct use_stats stats;

	setup();
	use(1);
	ck_assert_double_eq(shown(1, MEMORY_ACCESS_COUNT), 0);
	attribute_set(notes.root, MEMORY_SETTING_LEARN, "yes");
	attribute_set(notes_inode(&notes, 2), MEMORY_SETTING_LEARN, "no"); /* the nearest counts */
	use(1);
	use(2);
	use_note(memory, (uint64_t[]){1u << 30}, 1); /* no such file */
	ck_assert_double_eq(shown(1, MEMORY_ACCESS_COUNT), 1);
	ck_assert_double_eq(shown(2, MEMORY_ACCESS_COUNT), 0);
	use_read_stats(memory, &stats);
	ck_assert_uint_eq(stats.counted, 1);
	ck_assert_uint_eq(stats.waiting, 1);
	ck_assert_uint_eq(stats.dropped, 0);
	teardown();
}
END_TEST

START_TEST(test_use_within_a_second_is_one)
{
	setup();
	attribute_set(notes.root, MEMORY_SETTING_LEARN, "yes");
	for (uint64_t i = 0;; i++) { /* or the test's time is over */
		uint64_t number = i % FILES;
		double before = shown(number, MEMORY_ACCESS_COUNT);
		int64_t begin = now_ns();
		use(number);
		use(number);
		if (now_ns() - begin >= USE_ONCE_MS * 1000000ll || before > 0)
			continue;
		ck_assert_double_eq(shown(number, MEMORY_ACCESS_COUNT), 1);
		break;
	}
	teardown();
}
END_TEST

/* What names_use record a file has; count 0: none. */
static struct names_use record_of(uint64_t number)
{
	struct mneme_key key = names_key(notes_inode(&notes, number), MNEME_TYPE_USE);
	struct names_use record = {0};
	size_t length;
	int rc = mneme_get(notes.engine, &key, &record, sizeof record, &length);

	ck_assert(rc == 0 || rc == -ENOENT);
	return record;
}

START_TEST(test_use_is_written_together_and_of_what_has_a_name)
{
	struct mneme_key key;
	struct names_inode inode;
	size_t length;

	setup();
	attribute_set(notes.root, MEMORY_SETTING_LEARN, "yes");
	for (uint64_t i = 1; i <= 3; i++)
		use(i);
	ck_assert_uint_eq(record_of(1).count, 0); /* nothing was committed for it */
	key = names_key(notes_inode(&notes, 2), MNEME_TYPE_INODE);
	CHECK(!mneme_get(notes.engine, &key, &inode, sizeof inode, &length));
	inode.nlink = 0;
	CHECK(!mneme_put(notes.engine, &key, &inode, sizeof inode, MNEME_DURABILITY_BUFFERED));
	use_drop(memory, notes_inode(&notes, 3));
	again();
	ck_assert_uint_eq(record_of(1).count, 1);
	ck_assert_uint_eq(record_of(2).count, 0);
	ck_assert_uint_eq(record_of(3).count, 0);
	ck_assert_double_eq(shown(1, MEMORY_ACCESS_COUNT), 1);
	use(1);
	ck_assert_double_eq(shown(1, MEMORY_ACCESS_COUNT), 2);
	again();
	ck_assert_uint_eq(record_of(1).count, 2);
	teardown();
}
END_TEST

START_TEST(test_use_without_room_is_dropped_and_said)
{
	struct use_stats stats;

	setup();
	attribute_set(notes.root, MEMORY_SETTING_LEARN, "yes");
	use(1);
	pthread_mutex_lock(&memory->use.lock);
	memory->use.count = USE_MAX;
	pthread_mutex_unlock(&memory->use.lock);
	use(2);
	use_read_stats(memory, &stats);
	ck_assert_uint_eq(stats.counted, 1);
	ck_assert_uint_eq(stats.dropped, 1);
	ck_assert_double_eq(shown(2, MEMORY_ACCESS_COUNT), 0);
	teardown();
}
END_TEST

static void used_before(uint64_t number, double days, uint64_t count)
{
	struct mneme_key key = names_key(notes_inode(&notes, number), MNEME_TYPE_USE);
	struct names_use record = {.count = count, .last_ns = now_ns() - (int64_t)(days * 86400e9)};

	CHECK(!mneme_put(notes.engine, &key, &record, sizeof record, MNEME_DURABILITY_BUFFERED));
}

static void check_near(double value, double wanted)
{
	ck_assert_msg(fabs(value - wanted) < 2e-3, "%f, not %f", value, wanted);
}

START_TEST(test_use_fades_as_it_says)
{
	setup();
	used_before(1, 10, 3);
	used_before(2, 10, 0);
	check_near(shown(1, MEMORY_ACTIVATION), 1);
	attribute_set(notes.root, MEMORY_SETTING_DECAY, "10");
	check_near(shown(1, MEMORY_ACTIVATION), exp2(-1 / (1 + log(4))));
	check_near(shown(2, MEMORY_ACTIVATION), 0.5);
	attribute_set(notes_inode(&notes, 2), MEMORY_CONFIDENCE, "0.5");
	check_near(shown(2, MEMORY_ACTIVATION), 0.25);
	attribute_set(notes_inode(&notes, 2), MEMORY_PINNED, "1");
	check_near(shown(2, MEMORY_ACTIVATION), 0.5);
	attribute_set(notes.root, MEMORY_SETTING_DECAY, "never");
	check_near(shown(1, MEMORY_ACTIVATION), 1);
	teardown();
}
END_TEST

START_TEST(test_use_ranks_and_leaves_nothing_out)
{
	struct fuse_hit hits[3];

	setup();
	for (uint64_t i = 0; i < 3; i++)
		hits[i] = (struct fuse_hit){.owner = notes_inode(&notes, i + 1),
					    .score = i < 2 ? 1 - 0.1f * (float)i : -1};
	ck_assert_int_eq(use_rank(memory, hits, 3), 0);
	attribute_set(notes.root, MEMORY_SETTING_DECAY, "1");
	attribute_set(notes_inode(&notes, 2), MEMORY_PINNED, "1");
	ck_assert_int_eq(use_rank(memory, hits, 3), 1); /* 1 and 3 were last changed in 1970 */
	ck_assert_uint_eq(hits[0].owner, notes_inode(&notes, 2));
	check_near((double)hits[0].score, 0.9);
	ck_assert_uint_eq(hits[1].owner, notes_inode(&notes, 1));
	check_near((double)hits[1].score, 0.5);
	check_near((double)hits[1].fade_part, -0.5);
	check_near((double)hits[2].score, -2);
	teardown();
}
END_TEST

/* ---- used together ---- */

static const struct edge *edge_of(struct edges *all, uint64_t from, uint64_t to)
{
	ck_assert_int_eq(edges_load(notes.engine, notes_inode(&notes, from), all), 0);
	for (uint32_t i = 0; i < all->count; i++)
		if (all->list[i].to == notes_inode(&notes, to))
			return &all->list[i];
	return NULL;
}

START_TEST(test_together_links_the_first_of_a_question)
{
	uint64_t used[TOGETHER_BEST + 2];
	struct use_stats stats;
	struct edges edges;

	setup();
	attribute_set(notes.root, MEMORY_SETTING_LEARN, "yes");
	for (uint64_t i = 0; i < TOGETHER_BEST + 2; i++)
		used[i] = notes_inode(&notes, TOGETHER_BEST + 2 - i); /* 7 .. 1, the best first */
	use_note(memory, used, TOGETHER_BEST + 2);
	use_note(memory, used, TOGETHER_BEST + 2); /* the same moment, or a second more */
	together_write(memory);
	use_read_stats(memory, &stats);
	ck_assert_uint_eq(stats.pairs_dropped, 0);
	ck_assert_uint_eq(stats.pairs_written, 10);
	/* from the older file to the newer, once */
	const struct edge *e = edge_of(&edges, 3, 7);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(e->kind, NAMES_EDGE_COACCESS);
	check_near((double)e->weight / NAMES_WEIGHT_ONE, 1 - pow(0.9, e->count));
	ck_assert_ptr_null(edge_of(&edges, 7, 3));
	ck_assert_ptr_null(edge_of(&edges, 2, 7)); /* the sixth of the answer */
	struct recall_stats links;
	uint64_t from = notes_inode(&notes, 3);
	struct recall_query q;
	const struct recall_answer *answer;
	recall_defaults(&q);
	q.scope = notes.root;
	q.from[q.count++] = (struct spread_seed){from, 1};
	ck_assert_int_eq(recall_ask(memory, &q, &answer), 0);
	ck_assert_uint_eq(answer->count, 4);
	recall_end(memory, answer);
	recall_read_stats(memory, &links);
	ck_assert_uint_eq(links.graph.types[GRAPH_COACCESS], 10);
	teardown();
}
END_TEST

START_TEST(test_together_grows_with_each_question)
{
	uint64_t pair[2], alone = 0;
	struct edges edges;

	setup();
	pair[0] = notes_inode(&notes, 5);
	pair[1] = notes_inode(&notes, 4);
	alone = pair[0];
	for (int i = 0; i < 3; i++)
		together_note(memory, pair, 2);
	together_note(memory, &alone, 1);
	together_note(memory, (uint64_t[]){alone, alone}, 2);
	together_write(memory);
	const struct edge *e = edge_of(&edges, 4, 5);
	ck_assert_ptr_nonnull(e);
	ck_assert_uint_eq(edges.count, 1);
	ck_assert_uint_eq(e->count, 3);
	check_near((double)e->weight / NAMES_WEIGHT_ONE, 1 - 0.9 * 0.9 * 0.9);
	together_note(memory, pair, 2); /* the close writes what waits */
	again();
	e = edge_of(&edges, 4, 5);
	ck_assert_ptr_nonnull(e);
	ck_assert_uint_eq(e->count, 4);
	teardown();
}
END_TEST

START_TEST(test_together_without_room_drops_and_says_so)
{
	enum { QUESTIONS = 1000 };
	struct use_stats stats;

	setup();
	for (uint64_t i = 0; i < QUESTIONS; i++) {
		uint64_t used[TOGETHER_BEST];
		for (uint64_t k = 0; k < TOGETHER_BEST; k++)
			used[k] = (1u << 30) + i * TOGETHER_BEST + k;
		together_note(memory, used, TOGETHER_BEST);
	}
	use_read_stats(memory, &stats);
	ck_assert_uint_eq(stats.pairs + stats.pairs_dropped, 10 * QUESTIONS);
	ck_assert_uint_le(stats.pairs, TOGETHER_MAX);
	ck_assert_uint_gt(stats.pairs, TOGETHER_MAX / 2);
	together_write(memory); /* of files that are not there nothing is */
	use_read_stats(memory, &stats);
	ck_assert_uint_eq(stats.pairs_written, 0);
	teardown();
}
END_TEST

UNIT_MAIN("use", test_use_takes_only_what_makes_sense, test_use_is_counted_where_a_directory_learns,
	  test_use_within_a_second_is_one, test_use_is_written_together_and_of_what_has_a_name,
	  test_use_without_room_is_dropped_and_said, test_use_fades_as_it_says,
	  test_use_ranks_and_leaves_nothing_out, test_together_links_the_first_of_a_question,
	  test_together_grows_with_each_question, test_together_without_room_drops_and_says_so)
