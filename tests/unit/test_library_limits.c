/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a store under limits of its process: no descriptor to be had, no larger file allowed. It
 *            says so, loses nothing, and goes on when the limit is gone.
 */
#include <mneme.h>

#include "library.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

enum { SEGMENT = 65536, VALUE = 40000, DESCRIPTORS = 64, FILE_MOST = 12 << 20 };

static char directory[FOLDER_SIZE];
static struct mneme *m;
static uint8_t value[VALUE], seen[VALUE];

static void store_make(void)
{
	struct mneme_create_options create = {.shards = 1, .segment_bytes = SEGMENT};

	folder_make(directory);
	ck_assert_int_eq(mneme_create(directory, &create, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, NULL, &m, NULL), 0);
}

static void store_remove(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	folder_remove(directory);
}

static void limit_set(int which, rlim_t bytes)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(which, &limit), 0);
	limit.rlim_cur = bytes ? bytes : limit.rlim_max;
	ck_assert_int_eq(setrlimit(which, &limit), 0);
}

static struct mneme_key key_of(const uint32_t *number)
{
	return (struct mneme_key){
		.inode = 100, .type = MNEME_TYPE_USER, .sub = number, .sub_length = 4};
}

static int put(uint32_t number, enum mneme_durability durability)
{
	struct mneme_key key = key_of(&number);

	memset(value, (int)number, sizeof value);
	return mneme_put(m, &key, value, sizeof value, durability);
}

static void is_there(uint32_t number)
{
	struct mneme_key key = key_of(&number);
	size_t length;

	ck_assert_int_eq(mneme_get(m, &key, seen, sizeof seen, &length), 0);
	ck_assert_uint_eq(length, VALUE);
	ck_assert_uint_eq(seen[VALUE - 1], (uint8_t)number);
}

static void is_writable(void)
{
	struct mneme_stats stats;

	mneme_get_stats(m, &stats);
	ck_assert_int_eq(stats.read_only, 0);
}

/* A log segment that could not be opened made the store read-only for good. */
START_TEST(test_without_descriptors_what_is_strict_is_durable_all_the_same)
{
	enum { PUTS = 100 };
	int taken[DESCRIPTORS], count = 0;

	limit_set(RLIMIT_NOFILE, DESCRIPTORS);
	while ((taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		count++;
	ck_assert_int_eq(errno, EMFILE);
	for (uint32_t i = 0; i < PUTS; i++)
		ck_assert_int_eq(put(i, MNEME_DURABILITY_STRICT), 0);
	is_writable();
	while (count)
		close(taken[--count]);
	for (uint32_t i = 0; i < PUTS; i++)
		ck_assert_int_eq(put(PUTS + i, MNEME_DURABILITY_STRICT), 0);
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(mneme_open(directory, NULL, &m, NULL), 0);
	for (uint32_t i = 0; i < 2 * PUTS; i++)
		is_there(i);
}
END_TEST

/* As on a full disk, and not with an error that nobody waits for. */
START_TEST(test_the_largest_file_allowed_is_a_full_disk)
{
	uint32_t count = 0;
	int rc;

	signal(SIGXFSZ, SIG_IGN);
	limit_set(RLIMIT_FSIZE, FILE_MOST);
	while ((rc = put(count, MNEME_DURABILITY_BUFFERED)) == 0)
		count++;
	ck_assert_int_eq(rc, -ENOSPC);
	ck_assert_uint_gt(count, FILE_MOST / VALUE / 4);
	for (uint32_t i = 0; i < count; i++)
		is_there(i);
	for (uint32_t i = 0; i < count; i++) {
		struct mneme_key key = key_of(&i);
		ck_assert_int_eq(mneme_delete(m, &key, MNEME_DURABILITY_BUFFERED), 0);
	}
	for (uint32_t i = 0; i < count / 2; i++)
		ck_assert_int_eq(put(i, MNEME_DURABILITY_STRICT), 0);
	is_writable();
	limit_set(RLIMIT_FSIZE, 0);
	for (uint32_t i = 0; i < 2 * count; i++)
		ck_assert_int_eq(put(i, MNEME_DURABILITY_BUFFERED), 0);
	for (uint32_t i = 0; i < 2 * count; i++)
		is_there(i);
}
END_TEST

UNIT_MAIN_WITH("library_limits", store_make, store_remove,
	       test_without_descriptors_what_is_strict_is_durable_all_the_same,
	       test_the_largest_file_allowed_is_a_full_disk)
