/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   parts of the heap that cannot be read any more under an open store (core/store/
 *            heap_fault.h): an error, and never other bytes, also when they can be read again later.
 */
#include "core/mneme.h"
#include "core/store/page.h"
#include "core/store/tree.h"
#include "tests/unit/library.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum {
	KEYS = 24000,
	LENGTH = 150,
	LARGE = 4 * FMT_PAGE_SIZE,
	LARGE_LENGTH = LARGE - 7,
	LOW = 16,
	INODE = 16
};

static char folder[FOLDER_SIZE], path[PATH_SIZE], heap[PATH_SIZE + 20];
static uint8_t large[LARGE], seen[LARGE];
static char rest[16 << 20];

static void before(void)
{
	struct mneme_create_options options = {.shards = 1};

	folder_make(folder);
	snprintf(path, sizeof path, "%s/s", folder);
	snprintf(heap, sizeof heap, "%s/heap", path);
	ck_assert_int_eq(mneme_create(path, &options, NULL), 0);
	for (unsigned i = 0; i < LARGE; i++)
		large[i] = (uint8_t)(i * 7 + i / 251 + 1) | 1;
}
static void after(void)
{
	folder_remove(folder);
}

/* ---- a store whose upper leaves and large value lie behind its root ---- */

static struct mneme_key key_of(uint32_t number, uint8_t sub[4])
{
	for (int i = 0; i < 4; i++)
		sub[i] = (uint8_t)(number >> (24 - 8 * i));
	return (struct mneme_key){
		.inode = INODE, .type = MNEME_TYPE_USER, .sub = sub, .sub_length = 4};
}

static int put(struct mneme *m, uint32_t number, size_t length)
{
	uint8_t sub[4];
	struct mneme_key key = key_of(number, sub);

	return mneme_put(m, &key, large + number % 7, length, MNEME_DURABILITY_MEMORY);
}

/* 1 right, 0 an error; anything else ends the test. */
static int get(struct mneme *m, uint32_t number, size_t length)
{
	uint8_t sub[4];
	struct mneme_key key = key_of(number, sub);
	size_t there;
	int rc = mneme_get(m, &key, seen, sizeof seen, &there);

	ck_assert_msg(rc == 0 || rc == -EIO || rc == -EUCLEAN, "key %u: %d", number, rc);
	if (rc < 0)
		return 0;
	ck_assert_uint_eq(there, length);
	ck_assert_msg(memcmp(seen, large + number % 7, length) == 0, "key %u: other bytes", number);
	return 1;
}

/* Where the large value begins. */
static uint64_t large_page(struct mneme *m)
{
	uint8_t bytes[FMT_KEY_MAX], sub[4];
	struct mneme_key key = key_of(KEYS, sub);
	struct page_key encoded = {bytes, store_encode_key(&key, bytes)};
	struct tree_path at;
	struct fmt_value value;
	enum page_kind kind;
	uint32_t length;

	ck_assert_int_eq(tree_find(m, &m->shards[0], encoded, &at), 0);
	ck_assert_int_eq(at.found, 1);
	const uint8_t *cell =
		page_value(at.pages[at.depth - 1], at.positions[at.depth - 1], &length, &kind);
	ck_assert_int_eq(kind, PAGE_INDIRECT);
	memcpy(&value, cell, sizeof value);
	return value.address & FMT_ADDRESS_MASK;
}

/* Small keys, behind them a large one and another small one. The way to the last two is written again,
 * before all other pages. Returns where the large value begins, before the leaves. */
static uint64_t fill(struct mneme *m)
{
	for (uint32_t i = 0; i < LOW; i++)
		ck_assert_int_eq(put(m, i, LARGE_LENGTH), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	for (uint32_t i = 0; i < KEYS; i++)
		ck_assert_int_eq(put(m, i, LENGTH), 0);
	ck_assert_int_eq(put(m, KEYS, LARGE_LENGTH), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	m->heap.cursor = FMT_GROUP_FIRST;
	ck_assert_int_eq(put(m, KEYS + 1, LENGTH), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	return large_page(m);
}

static unsigned get_all(struct mneme *m)
{
	unsigned right = 0;

	for (uint32_t i = 0; i < KEYS; i++)
		right += (unsigned)get(m, i, LENGTH);
	return right;
}

static int count_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	(void)key, (void)value, (void)length;
	++*(unsigned *)arg;
	return 0;
}

/* All keys, or an error. */
static void scan_all(struct mneme *m)
{
	struct mneme_key first = {.inode = INODE}, last = {.inode = INODE + 1};
	unsigned count = 0;
	int rc = mneme_scan(m, &first, &last, 0, count_each, &count);

	if (rc == 0)
		ck_assert_uint_eq(count, KEYS + 2);
	else
		ck_assert_msg(rc == -EIO || rc == -EUCLEAN, "scan: %d", rc);
}

/* ---- cutting ---- */

static off_t cut(uint64_t page)
{
	int fd = open(heap, O_RDONLY | O_CLOEXEC);
	off_t at = (off_t)(page * FMT_PAGE_SIZE);
	ssize_t n = pread(fd, rest, sizeof rest, at);

	close(fd);
	ck_assert_int_gt(n, 0);
	ck_assert_int_lt(n, (ssize_t)sizeof rest);
	ck_assert_int_eq(truncate(heap, at), 0);
	return n;
}

static void bring_back(uint64_t page, off_t bytes)
{
	int fd = open(heap, O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(pwrite(fd, rest, (size_t)bytes, (off_t)(page * FMT_PAGE_SIZE)), bytes);
	close(fd);
}

static const uint64_t limits[] = {0, 1, 2 * HEAP_PIECE_BYTES};

static struct mneme *opened(int limit)
{
	struct mneme_options options = {.mapped_bytes_max = limits[limit]};
	struct mneme *m;

	ck_assert_int_eq(mneme_open(path, &options, &m, NULL), 0);
	return m;
}

static void expect_failed(struct mneme *m)
{
	struct mneme_stats stats;

	mneme_get_stats(m, &stats);
	ck_assert_int_eq(stats.read_only, EIO);
	ck_assert_int_eq(put(m, 1, 1), -EROFS);
}

/* The first page of a value is there, the others are not. */
START_TEST(a_value_that_is_cut_is_an_error_each_time)
{
	struct mneme *m = opened(_i);
	uint64_t page = fill(m) + 1;

	for (int turn = 0; turn < 2; turn++) {
		ck_assert_int_eq(get(m, KEYS, LARGE_LENGTH), 1);
		ck_assert_int_eq(get(m, KEYS + 1, LENGTH), 1);
	}
	off_t bytes = cut(page);
	for (int turn = 0; turn < 3; turn++) {
		ck_assert_int_eq(get(m, KEYS + 1, LENGTH), 1);
		ck_assert_int_eq(get(m, KEYS, LARGE_LENGTH), 0);
		expect_failed(m);
	}
	bring_back(page, bytes);
	for (int turn = 0; turn < 3; turn++) {
		(void)get(m, KEYS, LARGE_LENGTH);
		scan_all(m);
	}
	ck_assert_int_eq(mneme_close(m), -EIO);
}
END_TEST

START_TEST(leaves_that_come_back_are_read_right_or_not_at_all)
{
	struct mneme *m = opened(_i);
	uint64_t page = fill(m) + 400;

	ck_assert_uint_eq(get_all(m), KEYS);
	off_t bytes = cut(page);
	ck_assert_uint_lt(get_all(m), KEYS);
	expect_failed(m);
	scan_all(m);
	bring_back(page, bytes);
	for (int turn = 0; turn < 3; turn++) {
		(void)get_all(m);
		scan_all(m);
	}
	ck_assert_int_eq(mneme_close(m), -EIO);
}
END_TEST

/* A delete makes a leaf so thin that it would join the one behind it, which is not there any more. */
START_TEST(a_change_that_meets_a_lost_leaf_fails_like_a_read)
{
	struct mneme *m = opened(1);
	uint64_t page = fill(m) + 400;
	uint32_t number = 0;
	int rc = 0;

	ck_assert_uint_eq(get_all(m), KEYS);
	(void)cut(page);
	for (; number < KEYS && rc == 0; number++) {
		uint8_t sub[4];
		struct mneme_key key = key_of(number, sub);
		rc = mneme_delete(m, &key, MNEME_DURABILITY_MEMORY);
	}
	ck_assert_int_eq(rc, -EIO);
	ck_assert_uint_gt(number, 1);
	expect_failed(m);
	ck_assert_int_eq(mneme_close(m), -EIO);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("heap_fault");
	TCase *tc = tcase_create("heap_fault");
	int kinds = sizeof limits / sizeof limits[0];

	tcase_set_timeout(tc, UNIT_TIMEOUT_SECONDS);
	tcase_add_checked_fixture(tc, before, after);
	tcase_add_loop_test(tc, a_value_that_is_cut_is_an_error_each_time, 0, kinds);
	tcase_add_loop_test(tc, leaves_that_come_back_are_read_right_or_not_at_all, 0, kinds);
	tcase_add_test(tc, a_change_that_meets_a_lost_leaf_fails_like_a_read);
	suite_add_tcase(s, tc);
	return unit_end(s);
}
