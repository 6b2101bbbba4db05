/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   read-only opens beside a writer that rewrites, deletes and checkpoints: each shows one
 *            state, whole, for as long as it is open, and holds the space of that state no longer. As
 *            another program would: the shared library and its one header, each reader a process.
 */
#include <mneme.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEYS = 120, VALUE_MAX = 8192, SHARDS = 4, WAIT_MS_MAX = 60000 };

/* Between the processes of a test. */
static struct {
	_Atomic uint64_t rounds; /* checkpoints that the writer has ended */
	_Atomic int stop;
} * shared;
static char all[32],
	directory[64]; /* the first made and removed by the parent of the forked tests */

static void all_make(void)
{
	strcpy(all, "/tmp/test_readers.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(all));
}

static void all_remove(void)
{
	char command[96];

	snprintf(command, sizeof command, "rm -r %s", all);
	ck_assert_int_eq(system(command), 0);
}

static void begin(void)
{
	struct mneme_create_options options = {.shards = SHARDS, .segment_bytes = 65536};

	snprintf(directory, sizeof directory, "%s/XXXXXX", all);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(mneme_create(directory, &options, NULL), 0);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	ck_assert(shared != MAP_FAILED);
}

/* ---- a state: what every key holds follows from its version ---- */

static struct mneme_key key_of(const uint32_t *number)
{
	return (struct mneme_key){.inode = SHARDS * 1000 + *number % SHARDS,
				  .type = MNEME_TYPE_USER,
				  .sub = number,
				  .sub_length = sizeof *number};
}

static int is_there(uint32_t number, uint64_t version)
{
	return number == 0 || (number + version) % 5;
}

static size_t value_make(uint32_t number, uint64_t version, uint8_t *value)
{
	size_t length = 16 + (version * 37 + number * 101) % (VALUE_MAX - 16);

	if (number % 4 == 0) /* together enough to be written once: the log names them */
		length = VALUE_MAX;
	uint64_t mix = version * 0x9e3779b97f4a7c15ull + number;

	memcpy(value, &version, 8);
	for (size_t i = 8; i < length; i++) {
		mix = mix * 6364136223846793005ull + 1442695040888963407ull;
		value[i] = mix >> 56;
	}
	return length;
}

static int write_state(struct mneme_txn *txn, void *arg)
{
	uint64_t version = *(uint64_t *)arg;
	uint8_t value[VALUE_MAX];
	int rc = 0;

	for (uint32_t i = 0; i < KEYS && rc == 0; i++) {
		struct mneme_key key = key_of(&i);
		if (is_there(i, version))
			rc = mneme_txn_put(txn, &key, value, value_make(i, version, value));
		else
			rc = mneme_txn_delete(txn, &key);
	}
	return rc;
}

/* NULL, or what is wrong with the state that the store shows. */
static const char *state_problem(struct mneme *m, uint64_t *version)
{
	static char text[160];
	uint8_t expected[VALUE_MAX], value[VALUE_MAX];

	for (uint32_t i = 0; i < KEYS; i++) {
		struct mneme_key key = key_of(&i);
		size_t length = 0;
		int rc = mneme_get(m, &key, value, sizeof value, &length);
		if (i == 0 && rc == 0)
			memcpy(version, value, 8);
		if (rc != (is_there(i, *version) ? 0 : -ENOENT)) {
			snprintf(text, sizeof text, "key %u of version %llu: %s", i,
				 (unsigned long long)*version, strerror(-rc));
			return text;
		}
		if (rc == 0 && (length != value_make(i, *version, expected) ||
				memcmp(value, expected, length) != 0)) {
			snprintf(text, sizeof text, "key %u of version %llu: other bytes", i,
				 (unsigned long long)*version);
			return text;
		}
	}
	return NULL;
}

static int count_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	uint64_t *count = arg;
	uint8_t expected[VALUE_MAX];
	uint32_t number;

	memcpy(&number, key->sub, sizeof number);
	if (length != value_make(number, count[1], expected) ||
	    memcmp(value, expected, length) != 0)
		return -EBADMSG;
	count[0]++;
	return 0;
}

static const char *scan_problem(struct mneme *m, uint64_t version)
{
	uint64_t count[2] = {0, version}, expected = 0;

	for (uint32_t i = 0; i < KEYS; i++)
		expected += is_there(i, version);
	for (uint32_t shard = 0; shard < SHARDS; shard++) {
		struct mneme_key first = {.inode = SHARDS * 1000 + shard, .type = MNEME_TYPE_USER};
		struct mneme_key last = {.inode = first.inode, .type = MNEME_TYPE_USER + 1};
		if (mneme_scan(m, &first, &last, 0, count_each, count) != 0)
			return "a scan fails or finds other bytes";
	}
	return count[0] == expected ? NULL : "a scan finds other keys";
}

static void expect_state(struct mneme *m, uint64_t version)
{
	uint64_t seen = 0;
	const char *problem = state_problem(m, &seen);

	ck_assert_msg(!problem, "%s", problem);
	ck_assert_uint_eq(seen, version);
	problem = scan_problem(m, version);
	ck_assert_msg(!problem, "%s", problem);
}

/* ---- processes ---- */

static struct mneme *store_open(int read_only)
{
	struct mneme_options options = {
		.read_only = read_only, .dirty_bytes_max = 4 << 20, .flush_ms = 1};
	struct mneme_error error = {""};
	struct mneme *m = NULL;
	int rc = mneme_open(directory, &options, &m, &error);

	if (rc < 0)
		fprintf(stderr, "open: %s (%s)\n", error.message, strerror(-rc));
	return rc < 0 ? NULL : m;
}

static void rewrite(struct mneme *m, uint64_t version)
{
	enum mneme_durability how =
		version % 2 ? MNEME_DURABILITY_STRICT : MNEME_DURABILITY_BUFFERED;

	ck_assert_int_eq(mneme_txn_run(m, write_state, &version, how), 0);
}

static void rewrite_and_checkpoint(struct mneme *m, uint64_t from, uint64_t to)
{
	for (uint64_t version = from; version <= to; version++) {
		rewrite(m, version);
		ck_assert_int_eq(mneme_checkpoint(m), 0);
	}
}

/* Until the writer has made that many checkpoints more; 0 when it does not. */
static int rounds_pass(uint64_t count)
{
	uint64_t goal = atomic_load(&shared->rounds) + count;

	for (int ms = 0; ms < WAIT_MS_MAX && !atomic_load(&shared->stop); ms++) {
		if (atomic_load(&shared->rounds) >= goal)
			return 1;
		usleep(1000);
	}
	return 0;
}

/* Opens, looks, waits for checkpoints, looks again. The exit status: 0 when all was right. */
static int reader_main(int opens, int rounds)
{
	uint64_t before = 0;

	for (int i = 0; i < opens; i++) {
		uint64_t version = 0, again = 0;
		struct mneme *m = store_open(1);
		const char *problem = m ? NULL : "refused";
		/* Every other one meets what it reads for the first time after the checkpoints. */
		if (m && i % 2)
			problem = state_problem(m, &version);
		if (!problem && rounds && !rounds_pass(rounds))
			problem = "the writer stands still";
		if (!problem)
			problem = state_problem(m, &again);
		if (!problem && i % 2 && version != again)
			problem = "the state changes while it is open";
		if (!problem && again < before)
			problem = "an older state comes back";
		if (!problem)
			problem = scan_problem(m, again);
		before = again;
		if (m)
			mneme_close(m);
		if (problem) {
			fprintf(stderr, "open %d: %s\n", i, problem);
			return 1;
		}
	}
	return 0;
}

/* A process that ends with this one, also when the test has failed. */
static pid_t child_start(void)
{
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return child;
}

static pid_t reader_start(int opens, int rounds)
{
	pid_t child = child_start();

	if (child == 0)
		_exit(reader_main(opens, rounds));
	return child;
}

static void writer_main(void)
{
	struct mneme *m = store_open(0);

	for (uint64_t version = 2; !atomic_load(&shared->stop); version++) {
		if (version % 3) /* else the checkpoint has two of them */
			rewrite(m, version++);
		rewrite(m, version);
		ck_assert_int_eq(mneme_checkpoint(m), 0);
		atomic_fetch_add(&shared->rounds, 1);
	}
	ck_assert_int_eq(mneme_close(m), 0);
	_exit(0);
}

static void expect_end(pid_t child)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(status == 0, "a process ends with %#x", status);
}

START_TEST(test_readers_see_one_whole_state_beside_a_writer)
{
	struct mneme *m = store_open(0);

	rewrite_and_checkpoint(m, 1, 1);
	ck_assert_int_eq(mneme_close(m), 0);
	pid_t writer = child_start();
	if (writer == 0)
		writer_main();
	pid_t patient = reader_start(10, 12), quick = reader_start(400, 0);
	expect_end(quick);
	expect_end(patient);
	atomic_store(&shared->stop, 1);
	expect_end(writer);
}
END_TEST

/* Small commits, each in the log when it returns: there is hardly a moment when it does not grow. */
static void log_writer_main(void)
{
	struct mneme *m = store_open(0);
	uint64_t value[2];

	for (uint64_t i = 1; !atomic_load(&shared->stop); i++) {
		value[0] = value[1] = i;
		ck_assert_int_eq(
			mneme_kv_put(m, "k", 1, value, sizeof value, NULL, MNEME_DURABILITY_STRICT),
			0);
		atomic_store(&shared->rounds, i);
		if (i % 500 == 0)
			ck_assert_int_eq(mneme_checkpoint(m), 0);
	}
	ck_assert_int_eq(mneme_close(m), 0);
	_exit(0);
}

START_TEST(test_readers_open_while_the_log_grows)
{
	uint64_t value[2] = {0};
	size_t length;

	strcat(directory, "/big"); /* whole segments are read, which takes longer than a commit */
	ck_assert_int_eq(mneme_create(directory, NULL, NULL), 0);
	pid_t writer = child_start();
	if (writer == 0)
		log_writer_main();
	ck_assert(rounds_pass(1));
	for (int i = 0; i < 30; i++) {
		uint64_t durable = atomic_load(&shared->rounds);
		struct mneme *m = store_open(1);
		ck_assert_ptr_nonnull(m);
		ck_assert_int_eq(mneme_kv_get(m, "k", 1, value, sizeof value, &length, NULL), 0);
		ck_assert_uint_ge(value[0], durable);
		ck_assert_uint_eq(value[0], value[1]);
		ck_assert_int_eq(mneme_close(m), 0);
	}
	atomic_store(&shared->stop, 1);
	expect_end(writer);
}
END_TEST

/* A name that was read, and leads nowhere when it is opened: so does a spare segment that was removed. */
START_TEST(test_readers_do_without_a_segment_that_vanishes)
{
	struct mneme *m = store_open(0);
	char name[96];

	rewrite(m, 1);
	ck_assert_int_eq(mneme_sync(m), 0);
	snprintf(name, sizeof name, "%s/wal/0000ffff", directory);
	ck_assert_int_eq(symlink("nowhere", name), 0);
	struct mneme *reader = store_open(1);
	ck_assert_ptr_nonnull(reader);
	expect_state(reader, 1);
	ck_assert_int_eq(mneme_close(reader), 0);
	ck_assert_int_eq(mneme_close(m), 0);
}
END_TEST

/* ---- space ---- */

static uint64_t bytes_used(struct mneme *m)
{
	struct mneme_stats stats;

	mneme_get_stats(m, &stats);
	return stats.heap_bytes - stats.heap_free_bytes;
}

/* A process that has the store open read-only until it is killed. */
static pid_t sleeper_start(void)
{
	int ready[2];
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	pid_t child = child_start();
	if (child == 0) {
		if (!store_open(1) || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

START_TEST(test_readers_hold_space_until_they_close_or_die)
{
	struct mneme *m = store_open(0);

	rewrite_and_checkpoint(m, 1, 3);
	uint64_t plain = bytes_used(m), much = plain / 2;
	struct mneme *reader = store_open(1);
	rewrite_and_checkpoint(m, 4, 9);
	ck_assert_uint_gt(bytes_used(m), plain + 2 * much);
	expect_state(reader, 3);
	ck_assert_int_eq(mneme_close(reader), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_uint_lt(bytes_used(m), plain + much);
	pid_t sleeper = sleeper_start();
	rewrite_and_checkpoint(m, 10, 15);
	ck_assert_uint_gt(bytes_used(m), plain + 2 * much);
	int status;
	ck_assert_int_eq(kill(sleeper, SIGKILL), 0);
	ck_assert_int_eq(waitpid(sleeper, &status, 0), sleeper);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_uint_lt(bytes_used(m), plain + much);
	ck_assert_int_eq(mneme_close(m), 0);
}
END_TEST

START_TEST(test_readers_that_take_turns_hold_no_more_than_their_states)
{
	struct mneme *m = store_open(0), *reader, *next;

	rewrite_and_checkpoint(m, 1, 3);
	uint64_t plain = bytes_used(m);
	reader = store_open(1);
	for (uint64_t version = 4; version < 24; version += 2) {
		rewrite_and_checkpoint(m, version, version + 1);
		next = store_open(1); /* at no time is there none */
		expect_state(reader, version - 1);
		ck_assert_int_eq(mneme_close(reader), 0);
		reader = next;
	}
	expect_state(reader, 23);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_uint_lt(bytes_used(m), 6 * plain);
	ck_assert_int_eq(mneme_close(reader), 0);
	ck_assert_int_eq(mneme_close(m), 0);
}
END_TEST

START_TEST(test_readers_outlive_their_writer)
{
	struct mneme *m = store_open(0);

	rewrite_and_checkpoint(m, 1, 3);
	uint64_t plain = bytes_used(m);
	struct mneme *reader = store_open(1);
	rewrite_and_checkpoint(m, 4, 5);
	ck_assert_int_eq(mneme_close(m), 0);
	m = store_open(0); /* knows nothing of what the first one held */
	rewrite_and_checkpoint(m, 6, 12);
	expect_state(reader, 3);
	ck_assert_int_eq(mneme_close(reader), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	expect_state(m, 12);
	ck_assert_uint_lt(bytes_used(m), 2 * plain);
	ck_assert_int_eq(mneme_close(m), 0);
	struct mneme_check_result result;
	ck_assert_int_eq(mneme_check(directory, 0, NULL, NULL, &result, NULL), 0);
	ck_assert_uint_eq(result.findings, 0);
}
END_TEST

/* What it reaches is free in the newest state, where a repair takes its pages from. */
START_TEST(test_readers_keep_a_repair_waiting)
{
	struct mneme_check_result result;
	struct mneme *m = store_open(0);
	char path[96];
	uint8_t byte;

	rewrite_and_checkpoint(m, 1, 3);
	struct mneme *reader = store_open(1);
	rewrite_and_checkpoint(m, 4, 12);
	ck_assert_int_eq(mneme_close(m), 0);
	snprintf(path, sizeof path, "%s/super", directory);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &byte, 1, 300), 1);
	byte ^= 1;
	ck_assert_int_eq(pwrite(fd, &byte, 1, 300), 1);
	close(fd);
	ck_assert_int_eq(
		mneme_check(directory, MNEME_CHECK_REPAIR, NULL, NULL, &result, NULL), 0);
	ck_assert_uint_gt(result.findings, 0);
	ck_assert_uint_eq(result.repaired, 0);
	expect_state(reader, 3);
	ck_assert_int_eq(mneme_close(reader), 0);
	ck_assert_int_eq(
		mneme_check(directory, MNEME_CHECK_REPAIR, NULL, NULL, &result, NULL), 0);
	ck_assert_uint_gt(result.findings, 0);
	ck_assert_uint_eq(result.repaired, result.findings);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("readers");
	TCase *tc = tcase_create("readers");

	tcase_set_timeout(tc, 120);
	tcase_add_unchecked_fixture(tc, all_make, all_remove);
	tcase_add_checked_fixture(tc, begin, NULL);
	tcase_add_test(tc, test_readers_see_one_whole_state_beside_a_writer);
	tcase_add_test(tc, test_readers_open_while_the_log_grows);
	tcase_add_test(tc, test_readers_do_without_a_segment_that_vanishes);
	tcase_add_test(tc, test_readers_hold_space_until_they_close_or_die);
	tcase_add_test(tc, test_readers_that_take_turns_hold_no_more_than_their_states);
	tcase_add_test(tc, test_readers_outlive_their_writer);
	tcase_add_test(tc, test_readers_keep_a_repair_waiting);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
