/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what durability promises through the library: of ranges of inodes, the same before and after
 *            a reopening, and of operations of different durabilities, after a kill.
 */
#include <mneme.h>

#include "library.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEFAULT, MEMORY, BUFFERED, STRICT };

static char directory[FOLDER_SIZE];
static struct mneme *m;
/* The log is flushed, and a checkpoint made, only where something asks for it. */
static const struct mneme_options slow = {
	.flush_ms = 600000, .checkpoint_ms = 600000, .flush_bytes = 64 << 20};

static void directory_make(void)
{
	struct mneme_create_options options = {.shards = 2};

	folder_make(directory);
	ck_assert_int_eq(mneme_create(directory, &options, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, &slow, &m, NULL), 0);
}

static void directory_remove(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	folder_remove(directory);
}

static void reopen(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(mneme_open(directory, &slow, &m, NULL), 0);
}

/* ---- ranges ---- */

static int durability_seen(void)
{
	uint64_t lsn = mneme_lsn_last(m);

	return !lsn ? MEMORY : mneme_lsn_durable(m) >= lsn ? STRICT : BUFFERED;
}

static int durability_of(uint64_t inode)
{
	static unsigned number;
	char sub[16];
	struct mneme_key key = {.inode = inode, .type = MNEME_TYPE_USER, .sub = sub};

	key.sub_length = snprintf(sub, sizeof sub, "%u", number++);
	ck_assert_int_eq(mneme_put(m, &key, "v", 1, MNEME_DURABILITY_DEFAULT), 0);
	return durability_seen();
}

static void overlapping_are_as_said(void)
{
	ck_assert_int_eq(durability_of(99), BUFFERED);
	ck_assert_int_eq(durability_of(100), MEMORY);
	ck_assert_int_eq(durability_of(140), STRICT); /* the narrowest of three */
	ck_assert_int_eq(durability_of(150), STRICT);
	ck_assert_int_eq(durability_of(161), MEMORY);
	ck_assert_int_eq(durability_of(305), STRICT); /* of two as narrow */
	ck_assert_int_eq(durability_of(300), MEMORY);
	ck_assert_int_eq(durability_of(311), STRICT);
}

START_TEST(test_overlapping_ranges_mean_the_same_after_a_reopening)
{
	struct {
		uint64_t first, last;
		enum mneme_durability durability;
	} ranges[] = {{140, 160, MNEME_DURABILITY_STRICT},
		      {100, 200, MNEME_DURABILITY_MEMORY},
		      {130, 170, MNEME_DURABILITY_MEMORY},
		      {300, 310, MNEME_DURABILITY_MEMORY},
		      {302, 312, MNEME_DURABILITY_STRICT}};

	for (int backwards = 0; backwards < 2; backwards++) {
		for (int i = 0; i < 5; i++) {
			int k = backwards ? 4 - i : i;
			ck_assert_int_eq(mneme_set_durability(m, ranges[k].first, ranges[k].last,
							      ranges[k].durability),
					 0);
		}
		overlapping_are_as_said();
		reopen();
		overlapping_are_as_said();
		for (int i = 0; i < 5; i++)
			ck_assert_int_eq(
				mneme_set_durability(m, ranges[i].first, ranges[i].last, 0), 0);
		ck_assert_int_eq(durability_of(150), BUFFERED);
		reopen();
		ck_assert_int_eq(durability_of(150), BUFFERED);
	}
}
END_TEST

START_TEST(test_default_of_a_range_that_is_not_set_needs_no_room)
{
	for (uint64_t i = 0; i < 64; i++)
		ck_assert_int_eq(mneme_set_durability(m, i, i, MNEME_DURABILITY_MEMORY), 0);
	ck_assert_int_eq(mneme_set_durability(m, 99, 99, MNEME_DURABILITY_DEFAULT), 0);
	ck_assert_int_eq(mneme_set_durability(m, 99, 99, MNEME_DURABILITY_MEMORY), -ENOSPC);
	ck_assert_int_eq(durability_of(99), BUFFERED);
	reopen();
	ck_assert_int_eq(durability_of(99), BUFFERED);
	ck_assert_int_eq(durability_of(63), MEMORY);
}
END_TEST

static void range_delete(uint64_t first_inode, uint64_t last_inode)
{
	struct mneme_key first = {.inode = first_inode, .type = MNEME_TYPE_USER};
	struct mneme_key last = {.inode = last_inode};
	struct mneme_txn *txn;

	ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
	ck_assert_int_eq(mneme_txn_delete_range(txn, &first, &last), 0);
	ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT), 0);
}

START_TEST(test_removed_range_is_as_durable_as_the_strictest_inode_of_it)
{
	ck_assert_int_eq(mneme_set_durability(m, 100, 200, MNEME_DURABILITY_MEMORY), 0);
	ck_assert_int_eq(mneme_set_durability(m, 140, 160, MNEME_DURABILITY_STRICT), 0);
	range_delete(100, 140);
	ck_assert_int_eq(durability_seen(), MEMORY);
	range_delete(100, 142);
	ck_assert_int_eq(durability_seen(), STRICT);
	range_delete(160, 162);
	ck_assert_int_eq(durability_seen(), STRICT);
	range_delete(162, 200);
	ck_assert_int_eq(durability_seen(), MEMORY);
	range_delete(162, 204);
	ck_assert_int_eq(durability_seen(), BUFFERED);
	range_delete(0, 300);
	ck_assert_int_eq(durability_seen(), STRICT);
}
END_TEST

START_TEST(test_transaction_is_as_durable_as_its_strictest_key)
{
	struct mneme_key plain = {.inode = 100, .type = MNEME_TYPE_USER};
	struct mneme_key strict = {.inode = 150, .type = MNEME_TYPE_USER};
	struct mneme_txn *txn;

	ck_assert_int_eq(mneme_set_durability(m, 100, 200, MNEME_DURABILITY_MEMORY), 0);
	ck_assert_int_eq(mneme_set_durability(m, 140, 160, MNEME_DURABILITY_STRICT), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
		ck_assert_int_eq(mneme_txn_put(txn, i ? &plain : &strict, "v", 1), 0);
		ck_assert_int_eq(mneme_txn_put(txn, i ? &strict : &plain, "v", 1), 0);
		ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT), 0);
		ck_assert_int_eq(durability_seen(), STRICT);
	}
}
END_TEST

/* ---- mixed durabilities ---- */

/* What `work` does in a process that is gone then, as with kill -9; the store is left as it is. */
static void crashed_after(void (*work)(void))
{
	int status;

	ck_assert_int_eq(mneme_close(m), 0);
	pid_t child = fork();
	if (child == 0) {
		if (mneme_open(directory, &slow, &m, NULL) < 0)
			_exit(1);
		work();
		_exit(0);
	}
	ck_assert_int_gt(child, 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}

static void killed_after(void (*work)(void))
{
	crashed_after(work);
	ck_assert_int_eq(mneme_open(directory, &slow, &m, NULL), 0);
}

static void must(int rc)
{
	if (rc < 0)
		_exit(2);
}

static void event_add(enum mneme_durability durability)
{
	must(mneme_log_append(m, "run", 3, "event", 5, NULL, durability));
}

static void events_in_memory_then_strict(void)
{
	event_add(MNEME_DURABILITY_STRICT);
	event_add(MNEME_DURABILITY_MEMORY);
	event_add(MNEME_DURABILITY_MEMORY);
	event_add(MNEME_DURABILITY_STRICT);
	event_add(MNEME_DURABILITY_STRICT);
}

/* The events in between were missing, so the chain was broken for good. */
START_TEST(test_strict_event_behind_those_in_memory_is_there_with_them)
{
	uint64_t count = 0;

	killed_after(events_in_memory_then_strict);
	ck_assert_int_eq(mneme_log_verify(m, "run", 3, &count, NULL), 0);
	ck_assert_uint_eq(count, 5);
}
END_TEST

static const struct mneme_key patched = {
	.inode = 100, .type = MNEME_TYPE_USER, .sub = "p", .sub_length = 1};

static void patch_strictly(void)
{
	struct mneme_txn *txn;

	must(mneme_txn_begin(m, 0, &txn));
	must(mneme_txn_patch_borrowed(txn, &patched, 4, "bb", 2));
	must(mneme_txn_commit(txn, MNEME_DURABILITY_STRICT));
}

static void put_in_memory_then_patch(void)
{
	must(mneme_put(m, &patched, "aaaaaaaa", 8, MNEME_DURABILITY_MEMORY));
	patch_strictly();
}

static void remove_in_memory_then_patch(void)
{
	struct mneme_key behind = {.inode = 102};
	struct mneme_txn *txn;

	must(mneme_txn_begin(m, 0, &txn));
	must(mneme_txn_delete_range(txn, &patched, &behind));
	must(mneme_txn_commit(txn, MNEME_DURABILITY_MEMORY));
	patch_strictly();
}

static void patched_is(const char *wanted, size_t length)
{
	char value[16];
	size_t seen;

	ck_assert_int_eq(mneme_get(m, &patched, value, sizeof value, &seen), 0);
	ck_assert_uint_eq(seen, length);
	ck_assert_int_eq(memcmp(value, wanted, length), 0);
}

START_TEST(test_strict_patch_is_there_with_what_it_is_put_upon)
{
	killed_after(put_in_memory_then_patch);
	patched_is("aaaabbaa", 8);
	killed_after(remove_in_memory_then_patch);
	patched_is("\0\0\0\0bb", 6);
}
END_TEST

START_TEST(test_mixed_durabilities_cost_few_checkpoints)
{
	struct mneme_key other = {
		.inode = 100, .type = MNEME_TYPE_USER, .sub = "other", .sub_length = 5};
	struct mneme_stats stats;

	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(mneme_put(m, &other, "v", 1, MNEME_DURABILITY_MEMORY), 0);
		ck_assert_int_eq(mneme_put(m, &patched, "v", 1, MNEME_DURABILITY_BUFFERED), 0);
	}
	mneme_get_stats(m, &stats);
	ck_assert_uint_eq(stats.checkpoints, 0); /* keys that have nothing to do with each other */
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(mneme_put(m, &other, "v", 1, MNEME_DURABILITY_BUFFERED), 0);
		ck_assert_int_eq(mneme_put(m, &other, "v", 1, MNEME_DURABILITY_MEMORY), 0);
	}
	mneme_get_stats(m, &stats);
	ck_assert_uint_eq(stats.checkpoints, 1);
}
END_TEST

/* Each shard had to wait anew, because the checkpoint of the other one had ended its time of logging. */
START_TEST(test_mixed_durabilities_in_several_shards_cost_few_checkpoints)
{
	struct mneme_key key = {.type = MNEME_TYPE_USER};
	struct mneme_stats stats;

	for (int i = 0; i < 100; i++) {
		key.inode = 100 + i % 2;
		ck_assert_int_eq(mneme_put(m, &key, "v", 1, MNEME_DURABILITY_MEMORY), 0);
		ck_assert_int_eq(mneme_put(m, &key, "w", 1, MNEME_DURABILITY_BUFFERED), 0);
	}
	mneme_get_stats(m, &stats);
	ck_assert_uint_le(stats.checkpoints, 2);
}
END_TEST

/* ---- a log in a log ---- */

static uint32_t crc32c_of(const uint8_t *bytes, size_t length)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* A value that is the head of a block of a longer log; docs/FORMAT.md, struct fmt_block. */
static void put_a_block_of_another_log(void)
{
	struct mneme_key key = {
		.inode = 100, .type = MNEME_TYPE_USER, .sub = "8 bytes.", .sub_length = 8};
	uint32_t magic = 0x4b424e4d, length = 56;
	uint64_t durable = 1ull << 40;
	uint8_t block[56] = {0};

	memcpy(block, &magic, 4);
	memcpy(block + 4, &length, 4);
	memcpy(block + 16, &durable, 8);
	uint32_t crc = crc32c_of(block, 44);
	memcpy(block + 44, &crc, 4);
	must(mneme_put(m, &key, block, sizeof block, MNEME_DURABILITY_STRICT));
}

/* It was taken for a proof that the end of the log is damaged: after a crash a store with such a file, as
 * from a copy of another store, could not be opened. */
START_TEST(test_a_copy_of_another_log_proves_nothing)
{
	struct mneme_check_result result;

	crashed_after(put_a_block_of_another_log);
	ck_assert_int_eq(mneme_check(directory, 0, NULL, NULL, &result, NULL), 0);
	ck_assert_uint_eq(result.findings, 0);
	ck_assert_int_eq(mneme_open(directory, &slow, &m, NULL), 0);
}
END_TEST

/* ---- positions and inodes ---- */

/* A position of one store was taken for one of another, which had it durable already. */
START_TEST(test_last_position_is_of_the_store_that_is_asked)
{
	struct mneme_key key = {.inode = 100, .type = MNEME_TYPE_USER};
	char other_directory[FOLDER_SIZE];
	struct mneme *other;

	folder_make(other_directory);
	ck_assert_int_eq(mneme_create(other_directory, NULL, NULL), 0);
	ck_assert_int_eq(mneme_open(other_directory, &slow, &other, NULL), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(mneme_put(m, &key, "v", 1, MNEME_DURABILITY_BUFFERED), 0);
	ck_assert_int_eq(mneme_sync(m), 0);
	ck_assert_int_eq(mneme_put(m, &key, "w", 1, MNEME_DURABILITY_BUFFERED), 0);
	struct mneme_stats before;
	mneme_get_stats(m, &before);
	ck_assert_uint_eq(mneme_lsn_last(m), before.lsn_next);
	ck_assert_int_eq(mneme_put(other, &key, "v", 1, MNEME_DURABILITY_BUFFERED), 0);
	ck_assert_int_eq(mneme_sync_to(m, mneme_lsn_last(m)), 0);
	ck_assert_uint_ge(mneme_lsn_durable(m), before.lsn_next);
	ck_assert_int_eq(mneme_sync_to(other, mneme_lsn_last(other)), 0);
	ck_assert_int_eq(mneme_put(other, &key, "v", 1, MNEME_DURABILITY_MEMORY), 0);
	ck_assert_uint_eq(mneme_lsn_last(other), 0);
	ck_assert_int_eq(mneme_close(other), 0);
	folder_remove(other_directory);
}
END_TEST

START_TEST(test_an_async_commit_says_what_to_wait_for)
{
	const enum mneme_durability asked[] = {MNEME_DURABILITY_MEMORY, MNEME_DURABILITY_BUFFERED,
					       MNEME_DURABILITY_STRICT};
	struct mneme_key key = {.inode = 8, .type = MNEME_TYPE_USER};
	struct mneme_txn *txn;
	uint64_t lsn = 7;

	ck_assert_int_eq(mneme_txn_commit_async(NULL, 0, &lsn), -EINVAL);
	ck_assert_uint_eq(lsn, 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
		ck_assert_int_eq(mneme_txn_put(txn, &key, &asked[i], sizeof asked[i]), 0);
		ck_assert_int_eq(mneme_txn_commit_async(txn, asked[i], &lsn), 0);
		ck_assert_int_eq(lsn != 0, asked[i] == MNEME_DURABILITY_STRICT);
	}
	ck_assert_uint_eq(lsn, mneme_lsn_last(m));
	ck_assert_int_eq(mneme_sync_to(m, lsn), 0);
	ck_assert_uint_ge(mneme_lsn_durable(m), lsn);
	ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0); /* nothing in it */
	ck_assert_int_eq(mneme_txn_commit_async(txn, MNEME_DURABILITY_STRICT, &lsn), 0);
	ck_assert_uint_eq(lsn, 0);
}
END_TEST

static void put_at_the_largest_inode(void)
{
	struct mneme_key key = {.inode = UINT64_MAX, .type = MNEME_TYPE_USER};

	must(mneme_put(m, &key, "v", 1, MNEME_DURABILITY_STRICT));
}

/* Recovery went on behind it, which is the engine's own inode again. */
START_TEST(test_inodes_that_are_given_out_are_not_the_engines)
{
	killed_after(put_at_the_largest_inode);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_ge(mneme_inode_new(m, i % 2), mneme_shards(m));
}
END_TEST

UNIT_MAIN_WITH("library_durability", directory_make, directory_remove,
	       test_overlapping_ranges_mean_the_same_after_a_reopening,
	       test_default_of_a_range_that_is_not_set_needs_no_room,
	       test_removed_range_is_as_durable_as_the_strictest_inode_of_it,
	       test_transaction_is_as_durable_as_its_strictest_key,
	       test_strict_event_behind_those_in_memory_is_there_with_them,
	       test_strict_patch_is_there_with_what_it_is_put_upon,
	       test_mixed_durabilities_cost_few_checkpoints,
	       test_mixed_durabilities_in_several_shards_cost_few_checkpoints,
	       test_a_copy_of_another_log_proves_nothing,
	       test_last_position_is_of_the_store_that_is_asked,
	       test_an_async_commit_says_what_to_wait_for,
	       test_inodes_that_are_given_out_are_not_the_engines)
