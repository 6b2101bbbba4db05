/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   tests of core/memory on a store without a mount: what is found, where in a text, and
 *            what is found no more.
 */
#include "core/memory/memory.h"
#include "tests/lib/notes.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <glob.h>

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
	memory_begin();
}

static void teardown(void)
{
	memory_close(memory);
	notes_free(&notes);
}

static void save(uint64_t number, const char *text)
{
	notes_write(&notes, number, text, strlen(text));
	memory_touch(memory, notes_inode(&notes, number));
	ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, number)), 0);
}

static void forget(uint64_t number)
{
	notes_remove(&notes, number);
	memory_drop(memory, notes_inode(&notes, number));
}

static struct memory_answer *ask(const char *text, enum memory_mode mode)
{
	struct memory_query query = {.text = text,
				     .length = strlen(text),
				     .scope = notes.root,
				     .mode = mode,
				     .limit = 100};
	struct memory_answer *answer;

	ck_assert_int_eq(memory_search(memory, &query, &answer), 0);
	return answer;
}

/* Its place among the answers from 1; 0: it is not there. */
static unsigned place(const char *text, enum memory_mode mode, uint64_t number)
{
	struct memory_answer *answer = ask(text, mode);
	unsigned at = 0;

	for (unsigned i = 0; i < answer->count && !at; i++)
		if (answer->results[i].inode == notes_inode(&notes, number))
			at = i + 1;
	memory_answer_free(answer);
	return at;
}

/* `lines` lines; those numbered a and b (from 1) say what they are given. */
static char *tale(unsigned lines, unsigned a, const char *first, unsigned b, const char *second)
{
	char *text = malloc(lines * 80 + 1), *at = text;

	for (unsigned i = 1; i <= lines; i++)
		at += i == a   ? sprintf(at, "%.70s\n", first)
		      : i == b ? sprintf(at, "%.70s\n", second)
			       : sprintf(at, "Line %u of this tale says nothing, quietly so.\n", i);
	return text;
}

START_TEST(test_memory_words_count_over_the_whole_text)
{
	char *both = tale(80, 10, "The pangolin sleeps.", 70, "The abacus is lent.");
	char *one = tale(70, 10, "The pangolin sleeps.", 0, "");

	setup();
	save(1, one);
	save(2, both);
	for (unsigned i = 3; i < 9; i++)
		save(i, "Somebody went for a walk in the rain.");
	ck_assert_uint_eq(place("pangolin abacus", MEMORY_LEXICAL, 2), 1);
	ck_assert_uint_eq(place("pangolin abacus", MEMORY_LEXICAL, 1), 2);
	ck_assert_uint_eq(place("pangolin abacus", MEMORY_LEXICAL, 3), 0);
	teardown();
	free(both);
	free(one);
}
END_TEST

static int allow_few(void *arg, uint64_t inode, uint64_t directory)
{
	unsigned *asked = arg;

	(void)directory;
	++*asked;
	return notes_number(&notes, inode) >= 390;
}

static int allow_counted(void *arg, uint64_t inode, uint64_t directory)
{
	unsigned *asked = arg;

	(void)inode;
	(void)directory;
	++*asked;
	return 1;
}

START_TEST(test_memory_of_others_takes_no_place_in_an_answer)
{
	unsigned asked = 0;
	char text[64];

	setup();
	/* Those that may not be read are better by words, and more than the candidates of a search. */
	for (unsigned i = 1; i < 400; i++) {
		snprintf(text, sizeof text, "pangolin %s %u", i < 390 ? "pangolin" : "rain and", i);
		notes_write(&notes, i, text, strlen(text));
		memory_touch(memory, notes_inode(&notes, i));
	}
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	for (enum memory_mode mode = MEMORY_HYBRID; mode <= MEMORY_SIMILAR; mode++) {
		struct memory_query query = {.text = "pangolin",
					     .length = 8,
					     .scope = notes.root,
					     .mode = mode,
					     .limit = 100,
					     .allow = allow_few,
					     .allow_arg = &asked};
		struct memory_answer *answer;
		ck_assert_int_eq(memory_search(memory, &query, &answer), 0);
		ck_assert_uint_eq(answer->count, 10);
		for (unsigned i = 0; i < answer->count; i++)
			ck_assert(allow_few(&asked, answer->results[i].inode, 0));
		memory_answer_free(answer);
		answer = ask("pangolin", mode);
		ck_assert_uint_eq(answer->count, 100);
		memory_answer_free(answer);
	}
	teardown();
}
END_TEST

START_TEST(test_memory_search_asks_only_for_what_it_returns)
{
	unsigned asked = 0;
	char text[64];
	struct memory_answer *answer;

	setup();
	for (unsigned i = 1; i <= 1000; i++) { /* the later the better */
		snprintf(text, sizeof text, "%.*s rain %u", (int)(9 * (i / 250 + 1)),
			 "pangolin pangolin pangolin pangolin pangolin ", i);
		notes_write(&notes, i, text, strlen(text));
		memory_touch(memory, notes_inode(&notes, i));
	}
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	struct memory_query query = {.text = "pangolin",
				     .length = 8,
				     .scope = notes.root,
				     .allow = allow_counted,
				     .allow_arg = &asked};
	ck_assert_int_eq(memory_search(memory, &query, &answer), 0);
	ck_assert_uint_eq(answer->count, 10);
	ck_assert_uint_le(asked, 2 * 200 + 10);
	memory_answer_free(answer);
	teardown();
}
END_TEST

START_TEST(test_memory_question_asked_again_is_answered_alike)
{
	setup();
	save(1, "The pangolin sleeps in the shade of the old tree.");
	save(2, "The abacus is lent to the neighbour.");
	char question[32];
	for (unsigned turn = 0; turn < 300; turn++) { /* more than are kept, and each one twice */
		snprintf(question, sizeof question, "%s %u", turn / 2 % 2 ? "abacus" : "pangolin",
			 turn / 2 % 100);
		ck_assert_uint_eq(place(question, MEMORY_VECTOR, turn / 2 % 2 ? 2 : 1), 1);
	}
	teardown();
}
END_TEST

static uint64_t repeated(void)
{
	struct memory_stats stats;

	memory_get_stats(memory, &stats);
	return stats.repeated;
}

static int allow_by_number(void *arg, uint64_t inode, uint64_t directory)
{
	(void)directory;
	return notes_number(&notes, inode) != *(const uint64_t *)arg;
}

/* The question as somebody who may not read that note: how many answers. */
static unsigned ask_as(uint64_t hidden, const char *text)
{
	struct memory_query query = {.text = text,
				     .length = strlen(text),
				     .scope = notes.root,
				     .allow = allow_by_number,
				     .allow_arg = &hidden,
				     .caller = &hidden,
				     .caller_length = sizeof hidden};
	struct memory_answer *answer;

	ck_assert_int_eq(memory_search(memory, &query, &answer), 0);
	unsigned count = answer->count;
	for (unsigned i = 0; i < count; i++)
		ck_assert_uint_ne(notes_number(&notes, answer->results[i].inode), hidden);
	memory_answer_free(answer);
	return count;
}

START_TEST(test_memory_answer_is_given_again_only_while_nothing_changes)
{
	const enum memory_mode mode = MEMORY_LEXICAL;
	uint64_t before;

	setup();
	save(1, "The pangolin sleeps in the shade.");
	ck_assert_uint_eq(place("pangolin", mode, 1), 1);
	/* an index that is still being written is a change, too */
	for (int tries = 0; tries < 1000 && !repeated(); tries++)
		ck_assert_uint_eq(place("pangolin", mode, 1), 1);
	before = repeated();
	ck_assert_uint_eq(before, 1); /* it was the same */
	ck_assert_uint_eq(place("pangolin", MEMORY_HYBRID, 1), 1);
	ck_assert_uint_eq(repeated(), before); /* another question */
	save(2, "A pangolin, a pangolin, a pangolin!");
	ck_assert_uint_ne(place("pangolin", mode, 2), 0);
	save(2, "An abacus.");
	ck_assert_uint_eq(place("pangolin", mode, 2), 0);
	ck_assert_uint_eq(place("pangolin", mode, 1), 1);
	forget(1);
	ck_assert_uint_eq(place("pangolin", mode, 1), 0);
	/* Who may read what is part of the question. */
	before = repeated();
	for (int tries = 0; tries < 1000 && repeated() < before + 2; tries++) {
		ck_assert_uint_eq(ask_as(2, "abacus"), 0);
		ck_assert_uint_eq(ask_as(1, "abacus"), 1);
	}
	ck_assert_uint_ge(repeated(), before + 2);
	teardown();
}
END_TEST

START_TEST(test_memory_answer_is_the_passage_with_the_words)
{
	char *text = tale(400, 57, "Here a pangolin sleeps.", 333, "There the abacus is lent.");

	setup();
	save(1, text);
	save(2, "Somebody went for a walk in the rain.");
	for (unsigned turn = 0; turn < 2; turn++) {
		unsigned line = turn ? 333 : 57;
		const char *word = turn ? "abacus" : "pangolin";
		struct memory_answer *answer = ask(word, MEMORY_LEXICAL);
		ck_assert_uint_eq(answer->count, 1);
		const struct memory_result *r = &answer->results[0];
		const char *at = strstr(text, word);
		ck_assert_uint_le(r->begin, (uint64_t)(at - text));
		ck_assert_uint_gt(r->end, (uint64_t)(at - text));
		ck_assert_uint_le(r->line, line);
		ck_assert_uint_gt(r->line, line - 20);
		ck_assert_msg(strstr(r->snippet, word) != NULL, "%s", r->snippet);
		memory_answer_free(answer);
	}
	teardown();
	free(text);
}
END_TEST

START_TEST(test_memory_of_a_changed_file_is_shown_as_it_is_now)
{
	char *text = tale(60, 20, "Here a pangolin sleeps.", 0, "");
	char *changed = tale(60, 50, "There a pangolin wakes.", 0, "");

	setup();
	save(1, text);
	notes_write(&notes, 1, changed,
		    strlen(changed)); /* not touched: the records are of before */
	struct memory_answer *answer = ask("pangolin", MEMORY_LEXICAL);
	ck_assert_uint_eq(answer->count, 1);
	ck_assert_uint_eq(answer->results[0].line, 50);
	ck_assert_ptr_nonnull(strstr(answer->results[0].snippet, "pangolin wakes"));
	memory_answer_free(answer);
	teardown();
	free(text);
	free(changed);
}
END_TEST

START_TEST(test_memory_that_is_gone_is_not_found)
{
	setup();
	save(1, "The heron stands in the reeds.");
	save(2, "The heron flies over the lake.");
	forget(1);
	save(2, "A bicycle leans on the wall.");
	for (enum memory_mode mode = MEMORY_HYBRID; mode <= MEMORY_LEXICAL; mode++)
		ck_assert_uint_eq(place("heron stands in the reeds", mode, 1), 0);
	ck_assert_uint_eq(place("heron", MEMORY_LEXICAL, 2), 0);
	ck_assert_uint_eq(place("bicycle", MEMORY_LEXICAL, 2), 1);
	memory_close(memory); /* and not after it is opened anew */
	memory_begin();
	ck_assert_uint_eq(place("heron", MEMORY_LEXICAL, 1), 0);
	ck_assert_uint_eq(place("heron", MEMORY_LEXICAL, 2), 0);
	ck_assert_uint_eq(place("bicycle", MEMORY_HYBRID, 2), 1);
	teardown();
}
END_TEST

/* A text that is only note n's. */
static void stones(char text[200], unsigned n)
{
	static const char *const words[] = {"amber", "birch", "cobalt", "dune", "ember", "fjord"};

	snprintf(text, 200, "Note %u of %s and %s, with %u stones.", n, words[n % 6],
		 words[n / 6 % 6], n * 7919 % 100003);
}

static void index_wait(void)
{
	struct memory_stats stats = {0};

	for (int i = 0; i < 3000 && !stats.cells; i++) {
		usleep(100000);
		memory_get_stats(memory, &stats);
	}
	ck_assert_uint_gt(stats.cells, 0);
}

START_TEST(test_memory_beyond_the_flat_size_follows_saves_and_deletes)
{
	enum { NOTES = 20100 };
	char text[200];

	setup();
	for (unsigned i = 0; i < NOTES; i++) {
		stones(text, i);
		notes_write(&notes, i, text, strlen(text));
		memory_touch(memory, notes_inode(&notes, i));
	}
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	index_wait();
	const char *heron = "The heron stands in the reeds and waits for a fish.";
	save(NOTES, heron);
	save(NOTES + 1, "The heron waits in the reeds for frogs.");
	ck_assert_uint_eq(place(heron, MEMORY_VECTOR, NOTES), 1);
	ck_assert_uint_eq(place(heron, MEMORY_VECTOR, NOTES + 1), 2);
	forget(NOTES);
	save(NOTES + 1, "Note of something else.");
	ck_assert_uint_eq(place(heron, MEMORY_VECTOR, NOTES), 0);
	ck_assert_uint_ne(place(heron, MEMORY_VECTOR, NOTES + 1), 1);
	stones(text, 77);
	ck_assert_uint_eq(place(text, MEMORY_VECTOR, 77), 1);
	forget(77);
	ck_assert_uint_eq(place(text, MEMORY_VECTOR, 77), 0);
	teardown();
}
END_TEST

/* Ends it as a mount does, and begins again: how many files were read again. */
static unsigned remount(void)
{
	struct memory_stats stats;

	if (memory)
		memory_close(memory);
	ck_assert_int_eq(mneme_close(notes.engine), 0);
	notes_open(&notes);
	memory_begin();
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	memory_get_stats(memory, &stats);
	return (unsigned)stats.loaded;
}

static void save_some(void)
{
	char text[200];

	for (unsigned i = 1; i <= 40; i++) {
		stones(text, i);
		save(i, text);
	}
}

/* Notes 1 to 40 are as save_some() left them, but for `gone`. */
static void check_some(unsigned gone)
{
	char text[200];

	for (unsigned i = 1; i <= 40; i++) {
		stones(text, i);
		ck_assert_uint_eq(place(text, MEMORY_VECTOR, i) == 1, i != gone);
		ck_assert_uint_eq(place(text, MEMORY_LEXICAL, i) == 1, i != gone);
	}
}

START_TEST(test_memory_indexes_are_kept_over_a_remount)
{
	setup();
	save_some();
	forget(7);
	ck_assert_uint_eq(remount(), 0);
	check_some(7);
	ck_assert_uint_eq(remount(), 0); /* nothing was changed */
	save(7, "Note 7 is another one.");
	ck_assert_uint_eq(place("Note 7 is another one", MEMORY_VECTOR, 7), 1);
	forget(8);
	ck_assert_uint_eq(remount(), 0);
	ck_assert_uint_eq(place("Note 7 is another one", MEMORY_VECTOR, 7), 1);
	ck_assert_uint_eq(place("Note 8 of amber", MEMORY_LEXICAL, 8), 0);
	teardown();
}
END_TEST

START_TEST(test_memory_words_of_what_is_gone_are_in_no_index_file)
{
	char command[1000];

	setup();
	save_some();
	save(50, "The zebumarker stands in the yard.");
	ck_assert_uint_eq(remount(), 0);
	snprintf(command, sizeof(command), "grep -rq zebumark %s/index", notes.store);
	ck_assert_int_eq(system(command), 0);
	forget(50);
	ck_assert_uint_eq(remount(), 0);
	ck_assert_int_ne(system(command), 0);
	check_some(0);
	teardown();
}
END_TEST

START_TEST(test_memory_catches_up_with_what_happened_without_it)
{
	const char *words = "The lapwing is back.";

	setup();
	save_some();
	memory_close(memory);
	memory = NULL;
	notes_remove(&notes, 3);
	notes_write(&notes, 4, words, strlen(words));
	notes_write(&notes, 50, words, strlen(words));
	ck_assert_uint_eq(remount(), 0); /* they are embedded, the others are as they were */
	ck_assert_uint_eq(place(words, MEMORY_VECTOR, 3), 0);
	ck_assert_uint_eq(place("Note 3 of", MEMORY_LEXICAL, 3), 0);
	ck_assert_uint_eq(place("Note 4 of", MEMORY_LEXICAL, 4), 0);
	ck_assert_uint_ne(place(words, MEMORY_VECTOR, 4), 0);
	ck_assert_uint_ne(place(words, MEMORY_LEXICAL, 50), 0);
	teardown();
}
END_TEST

START_TEST(test_memory_indexes_of_before_a_crash_are_completed)
{
	char kept[300], index[300], command[1000];

	setup();
	save_some();
	ck_assert_uint_eq(remount(), 0);
	snprintf(index, sizeof(index), "%s/index", notes.store);
	snprintf(kept, sizeof(kept), "%s/kept", notes.directory);
	snprintf(command, sizeof(command), "cp -r %s %s", index, kept);
	ck_assert_int_eq(system(command), 0);
	save(5, "The plover is new.");
	forget(6);
	memory_close(memory);
	memory = NULL;
	snprintf(command, sizeof(command), "rm -r %s && mv %s %s", index, kept, index);
	ck_assert_int_eq(system(command), 0);
	ck_assert_uint_eq(remount(), 1);
	ck_assert_uint_eq(place("The plover is new", MEMORY_VECTOR, 5), 1);
	ck_assert_uint_eq(place("Note 5 of", MEMORY_LEXICAL, 5), 0);
	ck_assert_uint_eq(place("Note 6 of", MEMORY_LEXICAL, 6), 0);
	teardown();
}
END_TEST

static void byte_flip(const char *name, long at)
{
	char pattern[320];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/index/%s", notes.store, name);
	ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
	FILE *f = fopen(found.gl_pathv[0], "r+");
	globfree(&found);
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
	int c = fgetc(f);
	fseek(f, -1, SEEK_CUR);
	fputc(c ^ 0x10, f);
	fclose(f);
}

START_TEST(test_memory_indexes_that_are_damaged_are_built_anew)
{
	static const char *const names[] = {"memory", "words", "vectors-????????"};
	static const long places[] = {0, 9, 20, 28, 62, 70, -1};

	setup();
	save_some();
	for (unsigned n = 0; n < 3; n++)
		for (unsigned p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
			memory_close(memory);
			byte_flip(names[n], places[p]);
			memory = NULL;
			ck_assert_uint_eq(remount(), 40);
			if (p == 0)
				check_some(0);
		}
	teardown();
}
END_TEST

START_TEST(test_memory_indexes_of_another_store_are_not_taken)
{
	struct notes other;
	char command[1000];

	setup();
	save_some();
	memory_close(memory);
	other = notes;
	notes_new(&notes);
	memory_begin();
	save(1, "The heron stands in the reeds.");
	memory_close(memory);
	memory = NULL;
	snprintf(command, sizeof(command), "rm -r %s/index && cp -r %s/index %s", notes.store,
		 other.store, notes.store);
	ck_assert_int_eq(system(command), 0);
	ck_assert_uint_eq(remount(), 1);
	ck_assert_uint_eq(place("heron in the reeds", MEMORY_VECTOR, 1), 1);
	struct memory_stats stats;
	memory_get_stats(memory, &stats);
	ck_assert_uint_eq(stats.files, 1);
	ck_assert_uint_eq(stats.passages, 1);
	notes_free(&other);
	teardown();
}
END_TEST

UNIT_MAIN("memory", test_memory_indexes_are_kept_over_a_remount,
	  test_memory_words_of_what_is_gone_are_in_no_index_file,
	  test_memory_catches_up_with_what_happened_without_it,
	  test_memory_indexes_of_before_a_crash_are_completed,
	  test_memory_indexes_that_are_damaged_are_built_anew,
	  test_memory_indexes_of_another_store_are_not_taken,
	  test_memory_words_count_over_the_whole_text,
	  test_memory_of_others_takes_no_place_in_an_answer,
	  test_memory_search_asks_only_for_what_it_returns,
	  test_memory_question_asked_again_is_answered_alike,
	  test_memory_answer_is_given_again_only_while_nothing_changes,
	  test_memory_answer_is_the_passage_with_the_words,
	  test_memory_beyond_the_flat_size_follows_saves_and_deletes,
	  test_memory_of_a_changed_file_is_shown_as_it_is_now,
	  test_memory_that_is_gone_is_not_found)
