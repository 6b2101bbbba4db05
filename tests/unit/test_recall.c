/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   tests of core/memory/recall.h on a store without a mount: the graph follows the links of
 *            the tree, what may not be seen is not there, and a flood is refused.
 */
#include "core/links.h"
#include "core/memory/recall_request.h"
#include "pool/alloc.h"
#include "tests/lib/notes.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <math.h>

enum { FILES = 40 };
static struct notes notes;
static struct memory *memory;
static uint8_t hash_key[16];

static void memory_begin(void)
{
	struct memory_options options = {.store = notes.store, .model = "/nonexistent"};
	struct mneme_error error;

	ck_assert_int_eq(memory_open(notes.engine, &options, &memory, &error), 0);
}

static void setup(void)
{
	notes_new(&notes);
	mneme_uuid(notes.engine, hash_key);
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

struct to {
	uint64_t number;
	enum names_link_kind kind;
	double weight;
};

/* The links of a file become these, as its job does it. */
static void set(uint64_t from, const struct to *to, unsigned count)
{
	struct links old = {0}, new = {0};
	struct mneme_txn *txn;
	char label[32];

	CHECK(!links_load(notes.engine, notes_inode(&notes, from), &old));
	for (unsigned i = 0; i < count; i++) {
		int n = snprintf(label, sizeof label, "%u/%llu", i,
				 (unsigned long long)to[i].number);
		CHECK(!links_add(&new, hash_key, to[i].kind,
				 (uint16_t)(to[i].weight * NAMES_WEIGHT_ONE), label, (size_t)n));
		new.list[new.count - 1].to = notes_inode(&notes, to[i].number);
	}
	links_sort(&new);
	CHECK(!links_begin(notes.engine,
			   links_shards(notes.engine, notes_inode(&notes, from), &old, &new), 0,
			   &txn));
	CHECK(!links_write(notes.engine, txn, notes_inode(&notes, from), &old, &new));
	CHECK(!mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED));
	recall_touch(memory, notes_inode(&notes, from));
	links_fini(&old);
	links_fini(&new);
}

static struct recall_query query_of(uint64_t number)
{
	struct recall_query q;

	recall_defaults(&q);
	q.scope = notes.root;
	CHECK(!recall_request_from(&q, notes_inode(&notes, number)));
	return q;
}

static const struct recall_result *result_of(const struct recall_answer *answer, uint64_t number)
{
	for (uint32_t i = 0; i < answer->count; i++)
		if (answer->results[i].inode == notes_inode(&notes, number))
			return &answer->results[i];
	return NULL;
}

/* What `from` brings to mind of `number`; 0: nothing. */
static double activation(uint64_t from, uint64_t number, enum spread_direction direction)
{
	struct recall_query q = query_of(from);
	const struct recall_answer *answer;

	q.spread.direction = direction;
	ck_assert_int_eq(recall_ask(memory, &q, &answer), 0);
	const struct recall_result *r = result_of(answer, number);
	double value = r ? (double)r->activation : 0;
	recall_end(memory, answer);
	return value;
}

static void check_near(double value, double wanted)
{
	ck_assert_msg(fabs(value - wanted) < 1e-4, "%f, not %f", value, wanted);
}

START_TEST(test_recall_follows_the_links_of_the_tree)
{
	setup();
	check_near(activation(1, 2, SPREAD_BOTH), 0);
	set(1, (struct to[]){{2, NAMES_LINK_WIKI, 1}, {3, NAMES_LINK_EXPLICIT, 0.5}}, 2);
	set(2, (struct to[]){{4, NAMES_LINK_MARKDOWN, 1}}, 1);
	check_near(activation(1, 2, SPREAD_OUT), 0.7);
	check_near(activation(1, 3, SPREAD_OUT), 0.35);
	check_near(activation(1, 4, SPREAD_OUT), 0.49);
	check_near(activation(4, 1, SPREAD_OUT), 0);
	check_near(activation(4, 1, SPREAD_IN), 0.49);
	/* a weaker one, another kind, none */
	set(1, (struct to[]){{3, NAMES_LINK_EXPLICIT, 0.25}}, 1);
	check_near(activation(1, 2, SPREAD_OUT), 0);
	check_near(activation(1, 3, SPREAD_OUT), 0.175);
	set(1, (struct to[]){{3, NAMES_LINK_SYMLINK, 1}}, 1);
	check_near(activation(1, 3, SPREAD_OUT), 0.7);
	set(1, NULL, 0);
	check_near(activation(1, 3, SPREAD_BOTH), 0);
	/* two of a kind to the same file: the stronger one */
	set(1,
	    (struct to[]){{5, NAMES_LINK_WIKI, 0.25},
			  {5, NAMES_LINK_WIKI, 0.5},
			  {5, NAMES_LINK_WIKI, 0.125}},
	    3);
	check_near(activation(1, 5, SPREAD_OUT), 0.35);
	teardown();
}
END_TEST

static void say_touched(void *arg, uint64_t from)
{
	(void)arg;
	recall_touch(memory, from);
}

START_TEST(test_recall_of_a_file_that_goes)
{
	setup();
	set(1, (struct to[]){{2, NAMES_LINK_WIKI, 1}}, 1);
	set(2, (struct to[]){{3, NAMES_LINK_WIKI, 1}}, 1);
	check_near(activation(1, 3, SPREAD_OUT), 0.49);
	/* as the filesystem does it: no name, then no links, then no keys */
	struct mneme_key key = names_key(notes_inode(&notes, 2), MNEME_TYPE_INODE);
	struct names_inode record;
	size_t length;
	CHECK(!mneme_get(notes.engine, &key, &record, sizeof record, &length));
	record.nlink = 0;
	CHECK(!mneme_put(notes.engine, &key, &record, sizeof record, MNEME_DURABILITY_BUFFERED));
	ck_assert_int_eq(links_forget(notes.engine, key.inode, say_touched, NULL), 0);
	recall_touch(memory, key.inode);
	notes_remove(&notes, 2);
	memory_drop(memory, key.inode);
	check_near(activation(1, 3, SPREAD_BOTH), 0);
	check_near(activation(1, 2, SPREAD_BOTH), 0);
	struct recall_stats stats;
	recall_read_stats(memory, &stats);
	ck_assert_uint_eq(stats.graph.links, 0);
	teardown();
}
END_TEST

/* As setfattr does it; NULL: as setfattr -x. */
static void attribute_set(uint64_t number, const char *name, const char *value)
{
	struct mneme_key key = {.inode = notes_inode(&notes, number),
				.type = MNEME_TYPE_XATTR,
				.sub = name,
				.sub_length = (uint16_t)strlen(name)};

	if (value) {
		ck_assert_int_eq(memory_use_check(memory, name, value, strlen(value)), 0);
		CHECK(!mneme_put(notes.engine, &key, value, strlen(value),
				 MNEME_DURABILITY_BUFFERED));
	} else {
		CHECK(!mneme_delete(notes.engine, &key, MNEME_DURABILITY_BUFFERED));
	}
	recall_touch(memory, key.inode);
}

static void check_known(uint64_t from, uint64_t number, double confidence, int is_pinned)
{
	struct recall_query q = query_of(from);
	const struct recall_answer *answer;

	ck_assert_int_eq(recall_ask(memory, &q, &answer), 0);
	const struct recall_result *r = result_of(answer, number);
	ck_assert_ptr_nonnull(r);
	check_near((double)r->confidence, confidence);
	ck_assert_int_eq(r->is_pinned, is_pinned);
	recall_end(memory, answer);
}

START_TEST(test_recall_knows_how_sure_a_memory_is)
{
	setup();
	attribute_set(2, MEMORY_CONFIDENCE, "0.25"); /* before it is in the graph */
	set(1, (struct to[]){{2, NAMES_LINK_WIKI, 1}, {3, NAMES_LINK_WIKI, 1}}, 2);
	check_known(1, 2, 0.25, 0);
	check_known(1, 3, 1, 0);
	attribute_set(3, MEMORY_PINNED, "1"); /* while it is */
	attribute_set(1, MEMORY_CONFIDENCE, "0.5");
	check_known(1, 3, 1, 1);
	check_known(2, 1, 0.5, 0);
	memory_close(memory); /* and from the store alone */
	memory_begin();
	check_known(1, 2, 0.25, 0);
	check_known(1, 3, 1, 1);
	check_known(2, 1, 0.5, 0);
	attribute_set(2, MEMORY_CONFIDENCE, NULL);
	attribute_set(3, MEMORY_PINNED, NULL);
	check_known(1, 2, 1, 0);
	check_known(1, 3, 1, 0);
	teardown();
}
END_TEST

static uint64_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

/* All answers, as numbers. */
static uint64_t picture(void)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < FILES; i++) {
		struct recall_query q = query_of(i);
		const struct recall_answer *answer;
		q.spread.fan_out = 3;
		ck_assert_int_eq(recall_ask(memory, &q, &answer), 0);
		sum = sum * 31 + recall_digest(answer);
		recall_end(memory, answer);
	}
	return sum;
}

START_TEST(test_recall_that_followed_is_what_a_new_start_would_read)
{
	uint64_t state = 5;

	setup();
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 60; i++) {
			struct to to[6];
			uint64_t from = random_next(&state) % FILES;
			unsigned count = random_next(&state) % 6;
			for (unsigned k = 0; k < count; k++) {
				to[k].number = random_next(&state) % FILES;
				to[k].kind = 1 + random_next(&state) % (NAMES_LINK_KINDS - 1);
				to[k].weight = (double)(1 + random_next(&state) % 8) / 8;
			}
			set(from, to, count);
			if (i % 7 == 0)
				activation(from, 0, SPREAD_BOTH);
		}
		uint64_t followed = picture();
		memory_close(memory);
		memory_begin();
		ck_assert_uint_eq(picture(), followed);
	}
	teardown();
}
END_TEST

/* Nobody asks: the next snapshot comes all the same. */
START_TEST(test_recall_merges_in_the_background)
{
	struct recall_stats stats;

	setup();
	activation(1, 2, SPREAD_BOTH);
	set(1, (struct to[]){{2, NAMES_LINK_WIKI, 1}}, 1);
	do {
		usleep(1000);
		recall_read_stats(memory, &stats);
	} while (stats.graph.waiting || !stats.graph.links); /* or the test's time is over */
	ck_assert_uint_eq(stats.graph.links, 1);
	teardown();
}
END_TEST

/* Too large to be merged by who asks: then a change comes a little later, and comes by itself. */
START_TEST(test_recall_of_a_large_graph_follows_in_the_background)
{
	enum { MANY = 260 };
	static struct to to[MANY];
	struct recall_stats stats;

	setup();
	for (uint64_t i = FILES; i < MANY; i++)
		notes_write(&notes, i, "x", 1);
	for (unsigned k = 0; k < MANY; k++)
		to[k] = (struct to){k, NAMES_LINK_WIKI, 0.5};
	for (uint64_t i = 0; i < MANY; i++)
		set(i, to, MANY);
	memory_close(memory);
	memory_begin();
	check_near(activation(1, 2, SPREAD_OUT), 1);
	recall_read_stats(memory, &stats);
	ck_assert_uint_gt(stats.graph.links, RECALL_FRESH);
	set(1, NULL, 0);
	while (activation(1, 2, SPREAD_OUT) > 0) /* or the test's time is over */
		usleep(1000);
	recall_read_stats(memory, &stats);
	ck_assert_uint_eq(stats.graph.rescans, 1);
	ck_assert_uint_eq(stats.graph.waiting, 0);
	teardown();
}
END_TEST

static int allow_even(void *arg, uint64_t inode, uint64_t directory)
{
	(void)arg;
	(void)directory;
	return notes_number(&notes, inode) % 2 == 0;
}

START_TEST(test_recall_of_what_may_not_be_seen)
{
	const struct recall_answer *answer;

	setup();
	/* 2 -> 3 -> 4 is closed at 3; 2 -> 6 -> 8 is open; 2 -> 5 is stronger than 2 -> 6 */
	set(2,
	    (struct to[]){
		    {3, NAMES_LINK_WIKI, 1}, {5, NAMES_LINK_WIKI, 1}, {6, NAMES_LINK_WIKI, 0.5}},
	    3);
	set(3, (struct to[]){{4, NAMES_LINK_WIKI, 1}}, 1);
	set(6, (struct to[]){{8, NAMES_LINK_WIKI, 1}}, 1);
	set(7, (struct to[]){{2, NAMES_LINK_WIKI, 1}}, 1);
	struct recall_query q = query_of(2);
	q.allow = allow_even;
	q.spread.fan_out = 1;
	ck_assert_int_eq(recall_ask(memory, &q, &answer), 0);
	ck_assert_uint_eq(answer->count, 2);
	ck_assert_uint_eq(answer->report.active, 2);
	ck_assert_uint_eq(answer->report.flags, 0);
	ck_assert_str_eq(answer->results[0].path, "6");
	ck_assert_str_eq(answer->results[1].path, "8");
	ck_assert_uint_eq(answer->results[1].via_count, 2);
	ck_assert_str_eq(answer->results[1].via, "2");
	ck_assert_str_eq(answer->results[1].via + 2, "6");
	recall_end(memory, answer);
	/* nothing begins at what may not be seen */
	q = query_of(3);
	q.allow = allow_even;
	ck_assert_int_eq(recall_ask(memory, &q, &answer), 0);
	ck_assert_uint_eq(answer->count, 0);
	recall_end(memory, answer);
	teardown();
}
END_TEST

START_TEST(test_recall_refuses_a_flood)
{
	const struct recall_answer *answers[RECALL_RUNS], *more;
	struct recall_query q;
	struct recall_stats stats;

	setup();
	set(1, (struct to[]){{2, NAMES_LINK_WIKI, 1}}, 1);
	q = query_of(1);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < RECALL_RUNS; i++)
			ck_assert_int_eq(recall_ask(memory, &q, &answers[i]), 0);
		ck_assert_int_eq(recall_ask(memory, &q, &more), -EAGAIN);
		for (int i = 0; i < RECALL_RUNS; i++)
			recall_end(memory, answers[i]);
	}
	recall_read_stats(memory, &stats);
	ck_assert_uint_eq(stats.refused, 2);
	ck_assert_uint_eq(stats.busy, 0);
	ck_assert_uint_eq(stats.spreader.runs, 2 * RECALL_RUNS);
	ck_assert_uint_eq(stats.spreader.records_in_use, 0);
	teardown();
}
END_TEST

START_TEST(test_recall_allocates_nothing_once_warm)
{
	const struct recall_answer *answer;

	setup();
	for (uint64_t i = 0; i + 2 < FILES; i++)
		set(i, (struct to[]){{i + 1, NAMES_LINK_WIKI, 1}, {i + 2, NAMES_LINK_WIKI, 1}}, 2);
	struct recall_query q = query_of(1);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(recall_ask(memory, &q, &answer), 0);
		ck_assert_uint_gt(answer->count, 5);
		recall_end(memory, answer);
	}
	/* other threads of the memory take and give meanwhile: what a run kept would show in every try */
	int grown = 1;
	for (int tries = 0; tries < 10 && grown; tries++) {
		int64_t live = alloc_count_live();
		for (int i = 0; i < 100; i++) {
			uint64_t before = alloc_count_thread();
			ck_assert_int_eq(recall_ask(memory, &q, &answer), 0);
			recall_end(memory, answer);
			ck_assert_uint_eq(alloc_count_thread(), before);
		}
		grown = alloc_count_live() > live;
	}
	ck_assert(!grown);
	teardown();
}
END_TEST

/* ---- requests ---- */

static int find_number(void *arg, char *path, uint64_t *inode)
{
	(void)arg;
	*inode = strtoull(path, NULL, 10);
	return *inode ? 0 : -ENOENT;
}

START_TEST(test_recall_request_says_what_is_wrong)
{
	static const struct {
		const char *line, *why; /* NULL: nothing */
	} lines[] = {
		{"{\"recall\": \"1\"}", NULL},
		{"{\"recall\": [\"1\", \"2\", \"1\"], \"decay\": 0, \"threshold\": 1, \"hops\": "
		 "16}",
		 NULL},
		{"{\"recall_hex\": \"31\", \"fan_out\": 0, \"nodes\": 32768, \"limit\": 1000}",
		 NULL},
		{"{\"recall\": \"1\", \"kinds\": [\"wiki\", \"symlink\"], \"direction\": \"in\"}",
		 NULL},
		{"{\"recall\": \"1\", \"deadline_ms\": 0.5}", NULL},
		{"{\"recall\": \"1\", \"decay\": 1.1}", "decay"},
		{"{\"recall\": \"1\", \"decay\": -0.1}", "decay"},
		{"{\"recall\": \"1\", \"threshold\": 0}", "threshold"},
		{"{\"recall\": \"1\", \"hops\": 17}", "hops"},
		{"{\"recall\": \"1\", \"hops\": 1.5}", "whole"},
		{"{\"recall\": \"1\", \"nodes\": 32769}", "nodes"},
		{"{\"recall\": [\"1\", \"2\"], \"nodes\": 1}", "nodes"},
		{"{\"recall\": \"1\", \"limit\": 0}", "limit"},
		{"{\"recall\": \"1\", \"deadline_ms\": 60001}", "deadline"},
		{"{\"recall\": \"1\", \"direction\": \"up\"}", "direction"},
		{"{\"recall\": \"1\", \"kinds\": \"hard\"}", "hard"},
		{"{\"recall\": \"1\", \"kinds\": []}", "empty"},
		{"{\"recall\": \"1\", \"speed\": 1}", "speed"},
		{"{\"recall\": \"1\", \"hops\": \"5\"}", "hops"},
		{"{\"recall\": []}", "empty"},
		{"{\"recall\": 1}", "path"},
		{"{\"recall_hex\": \"3\"}", "path"},
	};

	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct recall_query q;
		char why[RECALL_WHY];
		size_t length = strlen(lines[i].line);
		recall_defaults(&q);
		ck_assert(recall_request_is(lines[i].line, length));
		int rc = recall_request_parse(lines[i].line, length, find_number, NULL, &q, why);
		ck_assert_msg(rc == (lines[i].why ? -EINVAL : 0), "%s: %d", lines[i].line, rc);
		ck_assert_msg(!lines[i].why || strstr(why, lines[i].why), "%s: %s", lines[i].line,
			      why);
	}
	ck_assert(!recall_request_is("{\"query\": \"\\\"recall\"}", 22));
	ck_assert(!recall_request_is("recall", 6));
	struct recall_query q;
	char why[RECALL_WHY];
	recall_defaults(&q);
	ck_assert_int_eq(recall_request_parse("{\"recall\": [\"7\", \"9\", \"7\"]}", 27,
					      find_number, NULL, &q, why),
			 0);
	ck_assert_uint_eq(q.count, 2);
	check_near((double)q.from[0].activation, 0.5);
	check_near((double)q.from[1].activation, 0.5);
}
END_TEST

UNIT_MAIN("recall", test_recall_follows_the_links_of_the_tree, test_recall_of_a_file_that_goes,
	  test_recall_knows_how_sure_a_memory_is,
	  test_recall_that_followed_is_what_a_new_start_would_read,
	  test_recall_merges_in_the_background,
	  test_recall_of_a_large_graph_follows_in_the_background,
	  test_recall_of_what_may_not_be_seen, test_recall_refuses_a_flood,
	  test_recall_allocates_nothing_once_warm, test_recall_request_says_what_is_wrong)
