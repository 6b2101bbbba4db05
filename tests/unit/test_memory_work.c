/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   embedding on the store's bridge: who waits comes first whatever else there is, a long file
 *            is done in pieces, nobody starves, an error is reported to whom it concerns and once, and
 *            closing in the middle loses nothing.
 * Invariants: no verdict depends on how fast something is: what has to happen is waited for, up to the
 *            time limit of the test.
 */
#include "core/memory/memory.h"
#include "core/store/background.h"
#include "pool/alloc.h"
#include "tests/lib/hold.h"
#include "tests/lib/notes.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>

enum { NEVER_QUIET = 3600000 };

static struct notes notes;
static struct memory *memory;

static void memory_begin(uint32_t quiet_ms)
{
	struct memory_options options = {.model = "/nonexistent", .quiet_ms = quiet_ms};
	struct mneme_error error;

	ck_assert_int_eq(memory_open(notes.engine, &options, &memory, &error), 0);
}

static void setup(uint32_t quiet_ms)
{
	notes_new(&notes);
	memory_begin(quiet_ms);
}

static void teardown(void)
{
	memory_close(memory);
	notes_free(&notes);
}

static void touch(uint64_t number, const char *text)
{
	notes_write(&notes, number, text, strlen(text));
	memory_touch(memory, notes_inode(&notes, number));
}

static int is(uint64_t number, const char *state)
{
	char text[64 + MEMORY_REASON_MAX];

	ck_assert_int_eq(memory_describe(memory, notes_inode(&notes, number), text, sizeof text),
			 0);
	return !strcmp(text, state);
}

static int finds(const char *text, uint64_t number)
{
	struct memory_query query = {.text = text,
				     .length = strlen(text),
				     .scope = notes.root,
				     .mode = MEMORY_LEXICAL,
				     .limit = 10};
	struct memory_answer *answer;
	int found = 0;

	ck_assert_int_eq(memory_search(memory, &query, &answer), 0);
	for (unsigned i = 0; i < answer->count; i++)
		found |= answer->results[i].inode == notes_inode(&notes, number);
	memory_answer_free(answer);
	return found;
}

static int search_ends(const char *text, uint64_t number, int found)
{
	for (int i = 0; i < 3000 && finds(text, number) != found; i++)
		usleep(10000);
	return finds(text, number) == found;
}

/* A text of many passages. */
static char *long_text(unsigned lines)
{
	char *text = malloc(lines * 64 + 1), *at = text;

	for (unsigned i = 0; i < lines; i++)
		at += sprintf(at, "The magpie counts its spoons, this is number %u.\n\n", i);
	return text;
}

static uint64_t tasks(enum bridge_priority priority)
{
	struct bridge_stats stats;

	bridge_read_stats(background_bridge(notes.engine), &stats);
	return stats.priority[priority].run;
}

START_TEST(test_memory_work_of_a_sync_is_raised_above_low_work)
{
	char *text = long_text(2000);

	setup(0);
	hold_low(background_bridge(notes.engine));
	touch(1, text); /* would be embedded first, were it not for the syncs */
	touch(2, "An otter swims by.");
	touch(3, "A heron waits.");
	ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, 2)), 0);
	ck_assert(finds("otter", 2));
	ck_assert(is(2, "indexed"));
	ck_assert(is(1, "pending"));
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	ck_assert(is(1, "indexed"));
	ck_assert(finds("heron", 3));
	hold_end();
	teardown();
	free(text);
}
END_TEST

START_TEST(test_memory_work_on_a_long_file_is_done_in_pieces)
{
	char *text = long_text(4000);
	struct memory_stats stats;

	setup(1);
	touch(1, text);
	while (!is(1, "indexed"))
		hold_nap();
	memory_get_stats(memory, &stats);
	ck_assert_uint_gt(stats.passages, 100);
	ck_assert_uint_gt(tasks(BRIDGE_LOW), stats.passages / 10); /* eight passages a task */
	ck_assert_uint_gt(tasks(BRIDGE_NORMAL), 0);                /* the index */
	ck_assert_uint_eq(tasks(BRIDGE_HIGH), 0);
	teardown();
	free(text);
}
END_TEST

START_TEST(test_memory_work_closed_in_the_middle_goes_on_at_the_next_open)
{
	enum { NOTES = 200 };
	char *text = long_text(2000), note[64];

	setup(1);
	touch(0, text);
	for (unsigned i = 1; i < NOTES; i++) {
		snprintf(note, sizeof note, "token%u is here", i);
		touch(i, note);
	}
	for (int round = 0; round < 3; round++) {
		memory_close(memory);
		memory_begin(1);
	}
	while (!is(0, "indexed"))
		hold_nap();
	for (unsigned i = 1; i < NOTES; i++) {
		snprintf(note, sizeof note, "token%u", i);
		while (!is(i, "indexed"))
			hold_nap();
		ck_assert(finds(note, i));
	}
	teardown();
	free(text);
}
END_TEST

START_TEST(test_memory_work_that_fails_is_reported_once_and_tried_again)
{
	setup(NEVER_QUIET);
	touch(1, "An otter swims by.");
	touch(2, "A heron waits.");
	ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, 2)), 0);
	ck_assert(search_ends("otter", 1, 1)); /* what fails is to be the job */
	alloc_fail_arm(1, 0);
	ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, 1)), -ENOMEM);
	alloc_fail_arm(0, 0);
	ck_assert(is(1, "pending"));
	ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, 2)), 0); /* not its error */
	ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, 1)), 0); /* tried again */
	ck_assert(finds("otter", 1));
	touch(1, "A magpie steals.");
	ck_assert(search_ends("magpie", 1, 1));
	alloc_fail_arm(1, 0);
	ck_assert_int_eq(memory_sync(memory, 0), -ENOMEM);
	alloc_fail_arm(0, 0);
	ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, 1)), 0);
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	ck_assert(finds("magpie", 1));
	teardown();
}
END_TEST

/* ---- many at once ---- */

enum { WRITERS = 8, EACH = 25 };

static void *save_each(void *arg)
{
	unsigned writer = *(unsigned *)arg;
	char note[64];

	for (unsigned i = 0; i < EACH; i++) {
		unsigned number = writer * EACH + i;
		snprintf(note, sizeof note, "token%u is here", number);
		touch(number, note);
		if (i % 2 == 0) {
			CHECK(!memory_sync(memory, notes_inode(&notes, number)));
			snprintf(note, sizeof note, "token%u", number);
			CHECK(finds(note, number));
		}
	}
	return NULL;
}

static _Atomic int syncs_end;

static void *sync_all(void *arg)
{
	while (!atomic_load(&syncs_end))
		CHECK(!memory_sync(memory, 0));
	return arg;
}

START_TEST(test_memory_work_for_many_that_wait_serves_them_all)
{
	char *text = long_text(500), note[64];
	pthread_t threads[WRITERS + 1];
	unsigned numbers[WRITERS];

	setup(1);
	touch(WRITERS * EACH, text);
	pthread_create(&threads[WRITERS], NULL, sync_all, NULL);
	for (unsigned i = 0; i < WRITERS; i++) {
		numbers[i] = i;
		pthread_create(&threads[i], NULL, save_each, &numbers[i]);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&syncs_end, 1);
	pthread_join(threads[WRITERS], NULL);
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	for (unsigned i = 0; i < WRITERS * EACH; i++) {
		snprintf(note, sizeof note, "token%u", i);
		ck_assert(finds(note, i));
	}
	ck_assert(is(WRITERS * EACH, "indexed"));
	teardown();
	free(text);
}
END_TEST

static void *write_again_and_again(void *arg)
{
	char note[64];

	for (unsigned i = 0; i < 300; i++) {
		snprintf(note, sizeof note, "version%u of a note", i);
		touch(1, note);
	}
	return arg;
}

START_TEST(test_memory_work_on_a_file_that_changes_ends_with_its_last_text)
{
	pthread_t writer;

	setup(1);
	touch(1, "version of before");
	pthread_create(&writer, NULL, write_again_and_again, NULL);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, 1)), 0);
	pthread_join(writer, NULL);
	ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, 1)), 0);
	ck_assert(finds("version299", 1));
	ck_assert(!finds("version298", 1));
	teardown();
}
END_TEST

/* An hour of quiet is not waited for. */
START_TEST(test_memory_words_are_found_before_the_file_is_quiet)
{
	setup(NEVER_QUIET);
	touch(1, "a kestrel in the tower");
	ck_assert(search_ends("kestrel", 1, 1));
	ck_assert(is(1, "pending"));
	touch(1, "an otter in the river");
	ck_assert(search_ends("otter", 1, 1));
	ck_assert(!finds("kestrel", 1));
	ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, 1)), 0);
	ck_assert(is(1, "indexed"));
	ck_assert(finds("otter", 1));
	touch(1, "a heron on the bank");
	ck_assert(search_ends("heron", 1, 1));
	notes_remove(&notes, 1);
	memory_drop(memory, notes_inode(&notes, 1));
	ck_assert(!finds("heron", 1));
	teardown();
}
END_TEST

START_TEST(test_memory_words_of_before_the_close_are_those_of_after_it)
{
	struct memory_stats stats;

	setup(NEVER_QUIET);
	touch(1, "a kestrel in the tower");
	ck_assert(search_ends("kestrel", 1, 1));
	memory_close(memory);
	memory_begin(1);
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	ck_assert(finds("kestrel", 1));
	memory_get_stats(memory, &stats);
	ck_assert_uint_eq(stats.files, 1);
	ck_assert_uint_eq(stats.passages, 1);
	teardown();
}
END_TEST

static void *touch_and_remove(void *arg)
{
	for (unsigned i = 0; i < 60; i++) {
		touch(1, "a kestrel in the tower");
		usleep(i % 7 * 500);
		notes_remove(&notes, 1);
		memory_drop(memory, notes_inode(&notes, 1));
	}
	return arg;
}

/* What is counted while it is removed does not come back. */
START_TEST(test_memory_words_of_what_is_gone_stay_gone)
{
	struct memory_stats stats;
	pthread_t thread;

	setup(NEVER_QUIET);
	pthread_create(&thread, NULL, touch_and_remove, NULL);
	pthread_join(thread, NULL);
	usleep(20000);
	memory_get_stats(memory, &stats);
	ck_assert_uint_eq(stats.files, 0);
	teardown();
}
END_TEST

UNIT_MAIN("memory_work", test_memory_words_are_found_before_the_file_is_quiet,
	  test_memory_words_of_before_the_close_are_those_of_after_it,
	  test_memory_words_of_what_is_gone_stay_gone,
	  test_memory_work_of_a_sync_is_raised_above_low_work,
	  test_memory_work_on_a_long_file_is_done_in_pieces,
	  test_memory_work_closed_in_the_middle_goes_on_at_the_next_open,
	  test_memory_work_that_fails_is_reported_once_and_tried_again,
	  test_memory_work_for_many_that_wait_serves_them_all,
	  test_memory_work_on_a_file_that_changes_ends_with_its_last_text)
