/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what transactions promise through the library: own writes are seen as the commit will leave
 *            them, whatever was read counts, and the limits are those of the header.
 */
#include <mneme.h>

#include "library.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { SHARDS = 2, INODE = 100, ARENA_LEAST = 4 << 20, OPERATIONS_MAX = 16384 };

static char directory[FOLDER_SIZE];
static struct mneme *m;
static uint8_t large[MNEME_VALUE_MAX];

static void store_make(uint32_t shards, const struct mneme_options *options)
{
	struct mneme_create_options create = {.shards = shards};

	ck_assert_int_eq(mneme_create(directory, &create, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, options, &m, NULL), 0);
}

static void directory_make(void)
{
	folder_make(directory);
}

static void directory_remove(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	folder_remove(directory);
}

static struct mneme_key key_of(uint64_t inode, const uint32_t *number)
{
	return (struct mneme_key){
		.inode = inode, .type = MNEME_TYPE_USER, .sub = number, .sub_length = 4};
}

static int put(uint64_t inode, uint32_t number, const char *value)
{
	struct mneme_key key = key_of(inode, &number);

	return mneme_put(m, &key, value, strlen(value), MNEME_DURABILITY_MEMORY);
}

/* ---- reading ---- */

static int end_at_once(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	(void)key, (void)value, (void)length;
	return *(int *)arg;
}

/* A scan that its caller ends by an error code of his own was not looked at again. */
START_TEST(test_what_a_scan_saw_counts_however_it_was_ended)
{
	struct mneme_key last = {.inode = INODE, .type = MNEME_TYPE_USER + 1};
	uint32_t zero = 0, one = 1;
	struct mneme_key seen = key_of(INODE, &zero), other = key_of(INODE, &one);
	struct mneme_txn *txn;

	store_make(SHARDS, NULL);
	for (int answer = -1; answer <= 1; answer++) {
		ck_assert_int_eq(put(INODE, 0, "before"), 0);
		ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
		ck_assert_int_eq(mneme_txn_scan(txn, &seen, &last, 0, end_at_once, &answer),
				 answer);
		ck_assert_int_eq(mneme_txn_put(txn, &other, "computed", 8), 0);
		ck_assert_int_eq(put(INODE, 0, "after"), 0);
		ck_assert_int_eq(mneme_txn_commit(txn, 0), -EAGAIN);
	}
}
END_TEST

/* Inodes between the ends of a removed range that another shard has stay, and have to be seen. */
START_TEST(test_removed_range_is_seen_in_its_own_shard_only)
{
	uint32_t zero = 0;
	struct mneme_key first = key_of(INODE, &zero), same = key_of(INODE + SHARDS, &zero),
			 beside = key_of(INODE + 1, &zero), end = {.inode = INODE + 2 * SHARDS};
	struct mneme_txn *txn;
	size_t length;

	store_make(SHARDS, NULL);
	for (int locked = 0; locked < 2; locked++) {
		uint64_t inodes[] = {INODE, INODE + 1};
		ck_assert_int_eq(put(INODE, 0, "goes"), 0);
		ck_assert_int_eq(put(INODE + SHARDS, 0, "goes"), 0);
		ck_assert_int_eq(put(INODE + 1, 0, "stays"), 0);
		ck_assert_int_eq(locked ? mneme_txn_begin_locked(m, 0, inodes, 2, &txn)
					: mneme_txn_begin(m, 0, &txn),
				 0);
		ck_assert_int_eq(mneme_txn_delete_range(txn, &first, &end), 0);
		ck_assert_int_eq(mneme_txn_get(txn, &first, NULL, 0, &length), -ENOENT);
		ck_assert_int_eq(mneme_txn_get(txn, &same, NULL, 0, &length), -ENOENT);
		ck_assert_int_eq(mneme_txn_get(txn, &beside, NULL, 0, &length), 0);
		ck_assert_int_eq(mneme_txn_commit(txn, 0), 0);
		ck_assert_int_eq(mneme_get(m, &same, NULL, 0, &length), -ENOENT);
		ck_assert_int_eq(mneme_get(m, &beside, NULL, 0, &length), 0);
	}
}
END_TEST

/* ---- limits ---- */

static int put_values(uint32_t first, uint32_t count)
{
	struct mneme_txn *txn;
	int rc = mneme_txn_begin(m, 0, &txn);

	for (uint32_t i = first; i < first + count && rc == 0; i++) {
		struct mneme_key key = key_of(INODE, &i);
		rc = mneme_txn_put_borrowed(txn, &key, large, sizeof large);
		if (rc < 0)
			mneme_txn_abort(txn);
	}
	return rc < 0 ? rc : mneme_txn_commit(txn, MNEME_DURABILITY_MEMORY);
}

/* Until the arena is so full that who begins makes room first. */
static void *arena_fill(void *arg)
{
	struct mneme_stats stats;

	(void)arg;
	do {
		static uint32_t next;
		ck_assert_int_eq(put_values(next++ % 200, 1), 0);
		mneme_get_stats(m, &stats);
	} while (stats.dirty_bytes <= stats.dirty_bytes_max / 4 * 3);
	return NULL;
}

/* Who began another one was taken to want as much again, and refused as long as others filled the
 * arena. */
START_TEST(test_a_transaction_too_large_for_the_arena_refuses_none_behind_it)
{
	struct mneme_options options = {.dirty_bytes_max = ARENA_LEAST, .checkpoint_ms = 600000};
	uint32_t absent = UINT32_MAX;
	struct mneme_key key = key_of(INODE, &absent);
	pthread_t filler;

	store_make(1, &options);
	for (int round = 0; round < 20; round++) {
		ck_assert_int_eq(put_values(0, ARENA_LEAST / sizeof large + 1), -E2BIG);
		ck_assert_int_eq(pthread_create(&filler, NULL, arena_fill, NULL), 0);
		ck_assert_int_eq(pthread_join(filler, NULL), 0);
		ck_assert_int_eq(mneme_delete(m, &key, MNEME_DURABILITY_MEMORY), -ENOENT);
	}
}
END_TEST

static int commit_many(int remove, enum mneme_durability durability)
{
	uint64_t inode = INODE;
	struct mneme_txn *txn;
	int rc = mneme_txn_begin_locked(m, 0, &inode, 1, &txn);

	ck_assert_int_eq(rc, 0);
	for (uint32_t i = 0; i < OPERATIONS_MAX; i++) {
		uint32_t number = i * 2654435761u; /* anywhere */
		struct mneme_key key = key_of(INODE, &number);
		ck_assert_int_eq(remove ? mneme_txn_delete(txn, &key)
					: mneme_txn_put(txn, &key, large, 200),
				 0);
	}
	uint32_t more = 1;
	struct mneme_key key = key_of(INODE, &more);
	ck_assert_int_eq(mneme_txn_put(txn, &key, "v", 1), -E2BIG);
	return mneme_txn_commit(txn, durability);
}

/* Each delete counted as if it copied all of its way down, so half of them were too many. */
START_TEST(test_transactions_have_as_many_operations_as_the_header_says)
{
	struct mneme_stats stats;
	uint32_t kept = 7;
	struct mneme_key key = key_of(INODE + 1, &kept);
	size_t length;

	store_make(1, NULL);
	ck_assert_int_eq(put(INODE + 1, kept, "kept"), 0);
	for (int round = 0; round < 2; round++) {
		ck_assert_int_eq(commit_many(0, MNEME_DURABILITY_BUFFERED), 0);
		ck_assert_int_eq(commit_many(1, MNEME_DURABILITY_BUFFERED), 0);
		ck_assert_int_eq(commit_many(1, MNEME_DURABILITY_BUFFERED), 0); /* none is there */
	}
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	mneme_get_stats(m, &stats);
	ck_assert_uint_eq(stats.dirty_bytes, 0);
	ck_assert_int_eq(mneme_get(m, &key, NULL, 0, &length), 0);
}
END_TEST

UNIT_MAIN_WITH("library_transactions", directory_make, directory_remove,
	       test_what_a_scan_saw_counts_however_it_was_ended,
	       test_removed_range_is_seen_in_its_own_shard_only,
	       test_a_transaction_too_large_for_the_arena_refuses_none_behind_it,
	       test_transactions_have_as_many_operations_as_the_header_says)
