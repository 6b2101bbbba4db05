/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   tests of core/memory where a store has vectors of several embedders: after a change of the
 *            embedder, in its midst, and where directories choose. The second embedder is a shell script
 *            that counts words, and fails when it is told to.
 */
#include "core/memory/embedder.h"
#include "core/memory/memory.h"
#include "tests/lib/notes.h"
#include "tests/unit/unit.h"

#include <errno.h>

enum { NOTES = 40 };

static struct notes notes;
static struct memory *memory;
static char script[320], command[360];
static int is_read_only;

/* Ends after `lines` answers of `dim` numbers, counted over all its runs; -1: never. */
static void program_write(int lines, int dim)
{
	snprintf(script, sizeof script, "%.250s/embed.sh", notes.directory);
	snprintf(command, sizeof command, "sh %s", script);
	FILE *f = fopen(script, "w");
	ck_assert_ptr_nonnull(f);
	fprintf(f,
		"said=%s.said lines=%d zeros=%d left=$lines\n"
		"[ ! -f $said ] || left=$((lines - $(wc -l <$said)))\n"
		"count() { n=0; while [ \"$line\" != \"${line#*$1}\" ]; do n=$((n + 1)) "
		"line=${line#*$1}; "
		"done; }\n"
		"while IFS= read -r text; do\n"
		"  if [ $lines -ge 0 ]; then\n"
		"    [ $left -gt 0 ] || exit 1\n"
		"    left=$((left - 1)); echo said >>$said\n"
		"  fi\n"
		"  line=$text; count heron; herons=$n; line=$text; count abacus\n"
		"  answer=\"[$((3 * herons)),$((3 * n)),$((1 + ${#text} %% 7))\"\n"
		"  for i in $(seq $zeros); do answer=$answer,0; done\n"
		"  echo \"$answer]\"\n"
		"done\n",
		script, lines, dim - 3);
	fclose(f);
}

/* Opens the memories by that kind of embedder. */
static int begin(const char *kind)
{
	struct embedder_settings embedder = {.kind = kind, .command = command};
	struct memory_options options = {.store = notes.store,
					 .model = "/nonexistent",
					 .embedder = &embedder,
					 .read_only = is_read_only};
	struct mneme_error error = {0};

	ck_assert_ptr_null(memory);
	return memory_open(notes.engine, &options, &memory, &error);
}

static void end(void)
{
	memory_close(memory);
	memory = NULL;
}

/* As a mount that ends does it, and the next one. */
static void again(const char *kind)
{
	end();
	ck_assert_int_eq(mneme_close(notes.engine), 0);
	notes_open(&notes);
	ck_assert_int_eq(begin(kind), 0);
}

static void note_text(char text[100], unsigned n)
{
	snprintf(text, 100, "Note %u has %u stones, and %s.", n, n * 7919 % 100003,
		 n % 10 == 3 ? "a heron" : "no bird");
}

static void setup(void)
{
	char text[100];

	notes_new(&notes);
	program_write(-1, 4);
	ck_assert_int_eq(begin("hash"), 0);
	for (unsigned i = 1; i <= NOTES; i++) {
		note_text(text, i);
		notes_write(&notes, i, text, strlen(text));
		memory_touch(memory, notes_inode(&notes, i));
	}
	ck_assert_int_eq(memory_sync(memory, 0), 0);
}

static void teardown(void)
{
	end();
	notes_free(&notes);
}

static int allow_odd(void *arg, uint64_t inode, uint64_t directory)
{
	(void)arg;
	(void)directory;
	return notes_number(&notes, inode) % 2;
}

/* How often note `number` is among the answers; *count: how many there are. */
static unsigned times(const char *text, enum memory_mode mode, uint64_t number, unsigned *count)
{
	struct memory_query query = {.text = text,
				     .length = strlen(text),
				     .scope = notes.root,
				     .mode = mode,
				     .limit = 100,
				     .allow = allow_odd};
	struct memory_answer *answer;
	unsigned found = 0;

	ck_assert_int_eq(memory_search(memory, &query, &answer), 0);
	for (unsigned i = 0; i < answer->count; i++) {
		found += answer->results[i].inode == notes_inode(&notes, number);
		ck_assert(allow_odd(NULL, answer->results[i].inode, 0));
	}
	*count = answer->count;
	memory_answer_free(answer);
	return found;
}

/* Each note that may be read is there once, by meaning too; the question's own words are the best. */
static void check_all_are_found(void)
{
	unsigned count;

	for (unsigned i = 1; i <= NOTES; i += 2)
		for (enum memory_mode mode = MEMORY_HYBRID; mode <= MEMORY_SIMILAR; mode++) {
			ck_assert_uint_eq(times("note with a heron and stones", mode, i, &count),
					  1);
			ck_assert_uint_eq(count, NOTES / 2);
		}
}

static uint64_t passages_of(const char *prefix)
{
	struct memory_model_stats models[MEMORY_MODELS_SHOWN];
	unsigned count = memory_get_models(memory, models);

	for (unsigned i = 0; i < count; i++)
		if (!strncmp(models[i].name, prefix, strlen(prefix)))
			return models[i].passages;
	return 0;
}

static const char *state_of(unsigned number)
{
	static char text[300];

	ck_assert_int_eq(memory_describe(memory, notes_inode(&notes, number), text, sizeof text),
			 0);
	return text;
}

START_TEST(test_models_change_embeds_all_again)
{
	float vector[MEMORY_DIM_MAX];
	uint32_t dim;

	setup();
	ck_assert_uint_eq(passages_of("hash"), NOTES);
	again("command");
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	ck_assert_uint_eq(passages_of("hash"), 0);
	ck_assert_uint_eq(passages_of("command"), NOTES);
	ck_assert_int_eq(
		memory_vector(memory, notes_inode(&notes, 7), 0, vector, MEMORY_DIM_MAX, &dim), 0);
	ck_assert_uint_eq(dim, 4);
	ck_assert_str_eq(state_of(7), "indexed");
	check_all_are_found();
	again("command"); /* nothing is left to do, and nothing is read again */
	struct memory_stats stats;
	memory_get_stats(memory, &stats);
	ck_assert_uint_eq(stats.loaded + stats.pending + stats.former, 0);
	check_all_are_found();
	teardown();
}
END_TEST

/* With the embedder ending after some texts: what is done is kept, and the rest is found as before. */
START_TEST(test_models_both_are_searched_until_all_is_done)
{
	unsigned count;

	setup();
	program_write(15, 4);
	again("command");
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	uint64_t done = passages_of("command");
	ck_assert_uint_gt(done, 0);
	ck_assert_uint_lt(done, NOTES);
	ck_assert_uint_eq(passages_of("hash"), NOTES - done);
	unsigned waiting = 0;
	for (unsigned i = 1; i <= NOTES; i++)
		waiting += strstr(state_of(i), "pending: found by hash") == state_of(i);
	ck_assert_uint_eq(waiting, NOTES - done);
	/* its answers are used up: those that it has are found by their words */
	for (unsigned i = 1; i <= NOTES; i += 2)
		ck_assert_uint_eq(times("note with a heron and stones", MEMORY_HYBRID, i, &count),
				  1);
	program_write(-1, 4);
	end();
	is_read_only = 1; /* nothing goes on */
	ck_assert_int_eq(begin("command"), 0);
	check_all_are_found();
	ck_assert_uint_eq(passages_of("command"), done);
	end();
	ck_assert_int_eq(begin("hash"), 0);
	check_all_are_found();
	is_read_only = 0;
	end(); /* and the log has it all, as after kill -9: no index is of now */
	char wipe[400];
	snprintf(wipe, sizeof wipe, "rm -r %s/index", notes.store);
	ck_assert_int_eq(system(wipe), 0);
	ck_assert_int_eq(begin("hash"), 0); /* back to the first one, in the midst */
	check_all_are_found();
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	ck_assert_uint_eq(passages_of("hash"), NOTES);
	ck_assert_uint_eq(passages_of("command"), 0);
	check_all_are_found();
	teardown();
}
END_TEST

START_TEST(test_models_in_the_midst_go_on_after_the_next_open)
{
	setup();
	program_write(15, 4);
	again("command");
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	uint64_t done = passages_of("command");
	program_write(-1, 4);
	again("command");
	check_all_are_found();
	ck_assert_uint_ge(passages_of("command"), done);
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	ck_assert_uint_eq(passages_of("command"), NOTES);
	ck_assert_uint_eq(passages_of("hash"), 0);
	struct memory_stats stats;
	memory_get_stats(memory, &stats);
	ck_assert_uint_eq(stats.embedded, NOTES - done); /* what was done is not done again */
	teardown();
}
END_TEST

START_TEST(test_models_another_dimension_is_refused_with_a_sentence)
{
	setup();
	again("command");
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	program_write(-1, 3);
	again("command");
	const char *text = "A heron that is new.";
	notes_write(&notes, 77, text, strlen(text));
	memory_touch(memory, notes_inode(&notes, 77));
	ck_assert_int_eq(memory_sync(memory, notes_inode(&notes, 77)), 0);
	ck_assert_ptr_nonnull(strstr(state_of(77), "error: "));
	ck_assert_ptr_nonnull(strstr(state_of(77), "3 dimensions instead of 4"));
	unsigned count; /* its words are there */
	ck_assert_uint_eq(times("heron new", MEMORY_LEXICAL, 77, &count), 1);
	ck_assert_uint_eq(passages_of("command"), NOTES);
	teardown();
}
END_TEST

START_TEST(test_models_none_leaves_words)
{
	unsigned count;

	setup();
	again("none");
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	ck_assert_uint_eq(passages_of("hash"), 0);
	ck_assert_str_eq(state_of(3), "indexed");
	ck_assert_uint_eq(times("heron", MEMORY_HYBRID, 3, &count), 1);
	again("hash");
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	check_all_are_found();
	teardown();
}
END_TEST

START_TEST(test_models_of_before_leave_no_file)
{
	char look[400];

	setup();
	again("hash"); /* its files are there */
	again("command");
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	again("command");
	snprintf(look, sizeof look, "test $(ls %s/index | grep -c '^vectors-.*[^.]\\{8\\}$') = 1",
		 notes.store);
	ck_assert_int_eq(system(look), 0);
	teardown();
}
END_TEST

START_TEST(test_models_like_a_file_of_the_other_one)
{
	struct memory_query query = {.mode = MEMORY_SIMILAR, .limit = 100};
	struct memory_answer *answer;

	setup();
	program_write(15, 4);
	again("command");
	ck_assert_int_eq(memory_sync(memory, 0), 0);
	program_write(-1, 4);
	again("command");
	query.scope = notes.root;
	query.like = notes_inode(&notes, NOTES);
	ck_assert_int_eq(memory_search(memory, &query, &answer), 0);
	ck_assert_uint_eq(answer->count, NOTES - 1);
	memory_answer_free(answer);
	teardown();
}
END_TEST

UNIT_MAIN("models", test_models_change_embeds_all_again,
	  test_models_both_are_searched_until_all_is_done,
	  test_models_in_the_midst_go_on_after_the_next_open,
	  test_models_another_dimension_is_refused_with_a_sentence, test_models_none_leaves_words,
	  test_models_of_before_leave_no_file, test_models_like_a_file_of_the_other_one)
