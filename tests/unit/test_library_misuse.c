/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what libmneme says to wrong arguments: an errno of its header and, where there is a
 *            sentence, one that helps; never a crash, a hang or a change of the store.
 */
#include <mneme.h>

#include "library.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[FOLDER_SIZE], directory[FOLDER_SIZE + 8];
static struct mneme *m;
static uint8_t large[MNEME_VALUE_MAX + 1];
static char long_sub[MNEME_SUBKEY_MAX + 1];
static const struct mneme_key key = {
	.inode = 100, .type = MNEME_TYPE_USER, .sub = "key", .sub_length = 3};
static const struct mneme_key too_long = {
	.inode = 100, .type = MNEME_TYPE_USER, .sub = long_sub, .sub_length = MNEME_SUBKEY_MAX + 1};
static const struct mneme_key no_sub = {.inode = 100, .type = MNEME_TYPE_USER, .sub_length = 3};
static const struct mneme_key end = {.inode = 100, .type = MNEME_TYPE_USER + 1};
static const enum mneme_durability no_durability = 4;

static void store_make(void)
{
	folder_make(base);
	snprintf(directory, sizeof directory, "%s/store", base);
	ck_assert_int_eq(mneme_create(directory, NULL, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, NULL, &m, NULL), 0);
	ck_assert_int_eq(mneme_put(m, &key, "value", 5, 0), 0);
}

static void store_remove(void)
{
	char value[8];
	size_t length;

	/* whatever was tried: the store goes on, and holds what it held */
	ck_assert_int_eq(mneme_get(m, &key, value, sizeof value, &length), 0);
	ck_assert_uint_eq(length, 5);
	ck_assert_int_eq(mneme_close(m), 0);
	folder_remove(base);
}

static void says(int rc, int wanted, const struct mneme_error *error, const char *words)
{
	ck_assert_msg(rc == wanted, "%s instead of %s: %s", strerror(-rc), strerror(-wanted),
		      error->message);
	ck_assert_msg(strstr(error->message, words), "no '%s' in: %s", words, error->message);
}

START_TEST(test_misuse_of_create)
{
	struct mneme_create_options shards = {.shards = 3}, segment = {.segment_bytes = 5000},
				    durability = {.durability = 9},
				    compression = {.compression = 2};
	struct mneme_error error = {""};
	char path[PATH_SIZE];

	says(mneme_create(NULL, NULL, &error), -EINVAL, &error, "directory");
	says(mneme_create("", NULL, &error), -ENOENT, &error, "No such file");
	says(mneme_create(directory, NULL, &error), -ENOTEMPTY, &error, "not empty");
	snprintf(path, sizeof path, "%s/absent/store", base);
	says(mneme_create(path, NULL, &error), -ENOENT, &error, path);
	snprintf(path, sizeof path, "%s/store/super", base);
	says(mneme_create(path, NULL, &error), -ENOTDIR, &error, path);
	snprintf(path, sizeof path, "%s/new", base);
	says(mneme_create(path, &shards, &error), -EINVAL, &error, "power of two");
	says(mneme_create(path, &segment, &error), -EINVAL, &error, "segment");
	says(mneme_create(path, &durability, &error), -EINVAL, &error, "durability");
	says(mneme_create(path, &compression, &error), -EINVAL, &error, "compression");
	ck_assert_int_lt(access(path, F_OK), 0); /* no directory was left there */
	ck_assert_int_eq(mneme_create(path, NULL, &error), 0);
}
END_TEST

START_TEST(test_misuse_of_open)
{
	struct mneme_options io = {.io = "paper"}, durability = {.durability = no_durability},
			     arena = {.dirty_bytes_max = 1 << 20};
	struct mneme_error error = {""};
	struct mneme *other = NULL;
	char path[PATH_SIZE];

	says(mneme_open(NULL, NULL, &other, &error), -EINVAL, &error, "directory");
	says(mneme_open(directory, NULL, NULL, &error), -EINVAL, &error, "out");
	says(mneme_open(directory, NULL, &other, &error), -EBUSY, &error, "in use by process");
	snprintf(path, sizeof path, "%s/absent", base);
	says(mneme_open(path, NULL, &other, &error), -ENOENT, &error, "mkfs.mnemefs");
	snprintf(path, sizeof path, "%s/store/super", base);
	says(mneme_open(path, NULL, &other, &error), -ENOTDIR, &error, path);
	says(mneme_open(directory, &io, &other, &error), -EINVAL, &error, "paper");
	says(mneme_open(directory, &durability, &other, &error), -EINVAL, &error, "durability");
	says(mneme_open(directory, &arena, &other, &error), -EINVAL, &error, "4 MiB");
	ck_assert_int_eq(mneme_open(NULL, NULL, &other, NULL), -EINVAL);
	ck_assert_ptr_null(other);
	ck_assert_int_eq(mneme_close(NULL), 0);
}
END_TEST

START_TEST(test_misuse_of_single_operations)
{
	char value[8];
	size_t length = 0;

	ck_assert_int_eq(mneme_get(m, NULL, value, sizeof value, &length), -EINVAL);
	ck_assert_int_eq(mneme_get(m, &key, value, sizeof value, NULL), -EINVAL);
	ck_assert_int_eq(mneme_get(m, &key, NULL, 8, &length), -EINVAL);
	ck_assert_int_eq(mneme_get(m, &no_sub, value, sizeof value, &length), -EINVAL);
	ck_assert_int_eq(mneme_get(m, &too_long, value, sizeof value, &length), -ENAMETOOLONG);
	ck_assert_int_eq(mneme_get(m, &key, value, 4, &length), -ERANGE);
	ck_assert_uint_eq(length, 5);
	ck_assert_int_eq(mneme_get(m, &key, NULL, 0, &length), 0);
	ck_assert_int_eq(mneme_put(m, NULL, "v", 1, 0), -EINVAL);
	ck_assert_int_eq(mneme_put(m, &key, NULL, 1, 0), -EINVAL);
	ck_assert_int_eq(mneme_put(m, &too_long, "v", 1, 0), -ENAMETOOLONG);
	ck_assert_int_eq(mneme_put(m, &key, large, sizeof large, 0), -E2BIG);
	ck_assert_int_eq(mneme_put(m, &key, large, SIZE_MAX, 0), -E2BIG);
	ck_assert_int_eq(mneme_put(m, &key, "v", 1, no_durability), -EINVAL);
	ck_assert_int_eq(mneme_put(m, &key, "v", 1, (enum mneme_durability) - 1), -EINVAL);
	ck_assert_int_eq(mneme_delete(m, NULL, 0), -EINVAL);
	ck_assert_int_eq(mneme_delete(m, &too_long, 0), -ENAMETOOLONG);
	ck_assert_int_eq(mneme_delete(m, &key, no_durability), -EINVAL);
	ck_assert_int_eq(mneme_delete(m, &end, no_durability), -EINVAL);
	ck_assert_int_eq(mneme_delete(m, &end, 0), -ENOENT);
	ck_assert_int_eq(mneme_compare_and_swap(m, NULL, "a", 1, "b", 1, 0), -EINVAL);
	ck_assert_int_eq(mneme_compare_and_swap(m, &key, "value", 5, NULL, 1, 0), -EINVAL);
	ck_assert_int_eq(mneme_compare_and_swap(m, &key, "value", 5, large, sizeof large, 0),
			 -E2BIG);
	ck_assert_int_eq(mneme_compare_and_swap(m, &key, "other", 5, "b", 1, 0), -ESTALE);
	ck_assert_int_eq(mneme_compare_and_swap(m, &key, "value", 4, "b", 1, 0), -ESTALE);
	ck_assert_int_eq(mneme_compare_and_swap(m, &key, NULL, 0, "b", 1, 0), -ESTALE);
	ck_assert_int_eq(mneme_compare_and_swap(m, &key, "value", 5, "b", 1, no_durability),
			 -EINVAL);
}
END_TEST

static int count_each(void *arg, const struct mneme_key *k, const void *value, size_t length)
{
	(void)k;
	(void)value;
	(void)length;
	++*(unsigned *)arg;
	return 0;
}

START_TEST(test_misuse_of_scans_and_views)
{
	unsigned count = 0;
	const void *value;
	size_t length;

	ck_assert_int_eq(mneme_scan(m, NULL, &end, 0, count_each, &count), -EINVAL);
	ck_assert_int_eq(mneme_scan(m, &key, NULL, 0, count_each, &count), -EINVAL);
	ck_assert_int_eq(mneme_scan(m, &key, &end, 0, NULL, NULL), -EINVAL);
	ck_assert_int_eq(mneme_scan(m, &too_long, &end, 0, count_each, &count), -ENAMETOOLONG);
	ck_assert_int_eq(mneme_scan(m, &key, &too_long, 0, count_each, &count), -ENAMETOOLONG);
	ck_assert_int_eq(mneme_scan(m, &end, &key, 0, count_each, &count), 0); /* backwards: none */
	ck_assert_int_eq(mneme_scan(m, &key, &key, 0, count_each, &count), 0);
	ck_assert_uint_eq(count, 0);
	ck_assert_int_eq(mneme_view_begin(m, 100), 0);
	ck_assert_int_eq(mneme_view_get(m, NULL, &value, &length), -EINVAL);
	ck_assert_int_eq(mneme_view_get(m, &key, NULL, &length), -EINVAL);
	ck_assert_int_eq(mneme_view_get(m, &key, &value, NULL), -EINVAL);
	ck_assert_int_eq(mneme_view_scan(m, &key, NULL, 0, count_each, &count), -EINVAL);
	ck_assert_int_eq(mneme_view_scan(m, &key, &too_long, 0, count_each, &count), -ENAMETOOLONG);
	ck_assert_int_eq(mneme_view_scan(m, &key, &end, 0, NULL, NULL), -EINVAL);
	mneme_view_end(m, 100);
}
END_TEST

/* The batch ended at the largest key of a shard's last inode: what came behind it was the first inode. */
START_TEST(test_scan_up_to_the_last_key_of_a_shard_ends)
{
	uint8_t sub[MNEME_SUBKEY_MAX];
	struct mneme_key last_key = {.inode = UINT64_MAX - 5, .type = 0xff, .sub = sub};
	struct mneme_key first = {.inode = UINT64_MAX - 5, .type = 0xff};
	struct mneme_key behind = {.inode = UINT64_MAX, .type = 0xff};
	unsigned count = 0;

	memset(sub, 0xff, sizeof sub);
	for (int i = 0; i < 64; i++) {
		sub[0] = i < 63 ? i : 0xff;
		last_key.sub_length = i < 63 ? 1 : MNEME_SUBKEY_MAX;
		ck_assert_int_eq(mneme_put(m, &last_key, "v", 1, 0), 0);
	}
	ck_assert_int_eq(mneme_scan(m, &first, &behind, 1000, count_each, &count), 0);
	ck_assert_uint_eq(count, 64);
}
END_TEST

static int never(struct mneme_txn *txn, void *arg)
{
	(void)txn;
	(void)arg;
	return -ECANCELED;
}

static int asks_again(struct mneme_txn *txn, void *arg)
{
	(void)txn;
	++*(unsigned *)arg;
	return -EAGAIN;
}

/* It went round for ever, with all shards locked. */
START_TEST(test_body_that_always_asks_for_another_try_ends)
{
	unsigned tries = 0;

	ck_assert_int_eq(mneme_txn_run(m, asks_again, &tries, 0), -EAGAIN);
	ck_assert_uint_eq(tries, 64);
	ck_assert_int_eq(mneme_put(m, &key, "value", 5, 0), 0); /* nothing is locked */
}
END_TEST

START_TEST(test_misuse_of_transactions_that_are_not_there)
{
	const void *value;
	size_t length;

	ck_assert_int_eq(mneme_txn_get(NULL, &key, NULL, 0, &length), -EINVAL);
	ck_assert_int_eq(mneme_txn_put(NULL, &key, "v", 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_put_borrowed(NULL, &key, "v", 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_put_parts(NULL, &key, "v", 1, "w", 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_borrow(NULL, &key, &value, &length), -EINVAL);
	ck_assert_int_eq(mneme_txn_patch_borrowed(NULL, &key, 0, "v", 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_truncate(NULL, &key, 0), -EINVAL);
	ck_assert_int_eq(mneme_txn_delete(NULL, &key), -EINVAL);
	ck_assert_int_eq(mneme_txn_delete_range(NULL, &key, &end), -EINVAL);
	ck_assert_int_eq(mneme_txn_scan(NULL, &key, &end, 0, count_each, NULL), -EINVAL);
	mneme_get_stats(m, NULL);
	mneme_uuid(m, NULL);
}
END_TEST

START_TEST(test_misuse_of_transactions)
{
	uint64_t inode = 100;
	struct mneme_txn *txn;
	const void *value;
	size_t length;

	ck_assert_int_eq(mneme_txn_begin(m, 0, NULL), -EINVAL);
	ck_assert_int_eq(mneme_txn_begin(m, 0x80, &txn), -EINVAL);
	ck_assert_int_eq(mneme_txn_begin_locked(m, 0, NULL, 1, &txn), -EINVAL);
	ck_assert_int_eq(mneme_txn_begin_locked(m, 0, &inode, 1, NULL), -EINVAL);
	ck_assert_int_eq(mneme_txn_begin_locked(m, 0x80, &inode, 1, &txn), -EINVAL);
	ck_assert_int_eq(mneme_txn_run(m, NULL, NULL, 0), -EINVAL);
	ck_assert_int_eq(mneme_txn_run(m, never, NULL, 0), -ECANCELED);
	ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
	ck_assert_int_eq(mneme_txn_get(txn, NULL, NULL, 0, &length), -EINVAL);
	ck_assert_int_eq(mneme_txn_get(txn, &key, NULL, 0, NULL), -EINVAL);
	ck_assert_int_eq(mneme_txn_put(txn, NULL, "v", 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_put(txn, &key, NULL, 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_put(txn, &key, large, sizeof large), -E2BIG);
	ck_assert_int_eq(mneme_txn_put(txn, &key, large, (1ull << 32) + 1), -E2BIG);
	ck_assert_int_eq(mneme_txn_put_borrowed(txn, &key, NULL, 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_put_parts(txn, &key, NULL, 1, "v", 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_put_parts(txn, &key, "v", 1, NULL, 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_put_parts(txn, NULL, "v", 1, "w", 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_put_parts(txn, &key, "v", MNEME_VALUE_MAX, "w", 1), -E2BIG);
	ck_assert_int_eq(mneme_txn_patch_borrowed(txn, &key, 0, NULL, 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_patch_borrowed(txn, &key, MNEME_VALUE_MAX, "v", 1), -E2BIG);
	ck_assert_int_eq(mneme_txn_patch_borrowed(txn, &key, SIZE_MAX, "v", 1), -E2BIG);
	ck_assert_int_eq(mneme_txn_truncate(txn, &key, sizeof large), -E2BIG);
	ck_assert_int_eq(mneme_txn_truncate(txn, NULL, 0), -EINVAL);
	ck_assert_int_eq(mneme_txn_delete(txn, NULL), -EINVAL);
	ck_assert_int_eq(mneme_txn_delete_range(txn, NULL, &end), -EINVAL);
	ck_assert_int_eq(mneme_txn_delete_range(txn, &key, NULL), -EINVAL);
	ck_assert_int_eq(mneme_txn_delete_range(txn, &key, &too_long), -ENAMETOOLONG);
	ck_assert_int_eq(mneme_txn_delete_range(txn, &end, &key), 0); /* backwards: none */
	ck_assert_int_eq(mneme_txn_scan(txn, NULL, &end, 0, count_each, NULL), -EINVAL);
	ck_assert_int_eq(mneme_txn_scan(txn, &key, NULL, 0, count_each, NULL), -EINVAL);
	ck_assert_int_eq(mneme_txn_scan(txn, &key, &end, 0, NULL, NULL), -EINVAL);
	ck_assert_int_eq(mneme_txn_borrow(txn, &key, &value, &length), -EINVAL); /* not locked */
	ck_assert_int_eq(mneme_txn_commit(txn, no_durability), -EINVAL); /* and it is gone */
	ck_assert_int_eq(mneme_txn_commit(NULL, 0), -EINVAL);
	mneme_txn_abort(NULL);
}
END_TEST

START_TEST(test_misuse_of_locked_and_read_only_transactions)
{
	struct mneme_key other = {.inode = 101, .type = MNEME_TYPE_USER};
	uint64_t inode = 100;
	struct mneme_txn *txn;
	const void *value;
	size_t length;

	ck_assert_int_eq(mneme_txn_begin_locked(m, 0, &inode, 1, &txn), 0);
	ck_assert_int_eq(mneme_txn_put(txn, &other, "v", 1), -EINVAL); /* of another shard */
	ck_assert_int_eq(mneme_txn_get(txn, &other, NULL, 0, &length), -EINVAL);
	ck_assert_int_eq(mneme_txn_borrow(txn, &key, NULL, &length), -EINVAL);
	ck_assert_int_eq(mneme_txn_borrow(txn, &key, &value, NULL), -EINVAL);
	mneme_txn_abort(txn);
	ck_assert_int_eq(mneme_txn_begin(m, MNEME_TXN_READ_ONLY, &txn), 0);
	ck_assert_int_eq(mneme_txn_put(txn, &key, "v", 1), -EROFS);
	ck_assert_int_eq(mneme_txn_delete(txn, &key), -EROFS);
	ck_assert_int_eq(mneme_txn_commit(txn, 0), 0);
	ck_assert_int_eq(mneme_txn_begin_locked(m, 0, NULL, 0, &txn), 0);
	ck_assert_int_eq(mneme_txn_put(txn, &key, "v", 1), -EINVAL);
	ck_assert_int_eq(mneme_txn_commit(txn, 0), 0);
}
END_TEST

START_TEST(test_misuse_of_durability_and_state)
{
	struct mneme_stats stats;

	mneme_get_stats(m, &stats);
	ck_assert_int_eq(mneme_sync_to(m, stats.lsn_next + 8),
			 -EINVAL); /* nothing lies there: it hung */
	ck_assert_int_eq(mneme_sync_to(m, UINT64_MAX), -EINVAL);
	ck_assert_int_eq(mneme_sync_to(m, stats.lsn_next), 0);
	ck_assert_int_eq(mneme_sync_to(m, 0), 0);
	ck_assert_int_eq(mneme_set_durability(m, 2, 1, MNEME_DURABILITY_STRICT), -EINVAL);
	ck_assert_int_eq(mneme_set_durability(m, 1, 2, no_durability), -EINVAL);
	for (uint64_t i = 0; i < 64; i++)
		ck_assert_int_eq(
			mneme_set_durability(m, 1000 + i, 1000 + i, MNEME_DURABILITY_MEMORY), 0);
	ck_assert_int_eq(mneme_set_durability(m, 5000, 5000, MNEME_DURABILITY_MEMORY), -ENOSPC);
	ck_assert_int_eq(mneme_set_durability(m, 1000, 1000, MNEME_DURABILITY_DEFAULT), 0);
	ck_assert_int_eq(mneme_set_durability(m, 5000, 5000, MNEME_DURABILITY_MEMORY), 0);
}
END_TEST

static int pair_each(void *arg, const void *k, size_t k_length, const void *value, size_t length,
		     uint64_t version)
{
	(void)arg, (void)k, (void)k_length, (void)value, (void)length, (void)version;
	return 0;
}

static int event_each(void *arg, const struct mneme_log_event *event)
{
	(void)arg, (void)event;
	return 0;
}

START_TEST(test_misuse_of_pairs_and_logs)
{
	uint64_t count = 0, version = 0;
	char value[8];
	size_t length;

	ck_assert_int_eq(mneme_kv_put(m, NULL, 1, "v", 1, NULL, 0), -EINVAL);
	ck_assert_int_eq(mneme_kv_put(m, "k", 0, "v", 1, NULL, 0), -EINVAL);
	ck_assert_int_eq(mneme_kv_put(m, long_sub, sizeof long_sub, "v", 1, NULL, 0),
			 -ENAMETOOLONG);
	ck_assert_int_eq(mneme_kv_put(m, "k", 1, NULL, 1, NULL, 0), -EINVAL);
	ck_assert_int_eq(mneme_kv_put(m, "k", 1, large, MNEME_VALUE_MAX, NULL, 0), -E2BIG);
	ck_assert_int_eq(mneme_kv_put(m, "k", 1, "v", 1, NULL, no_durability), -EINVAL);
	ck_assert_int_eq(mneme_kv_get(m, "k", 1, value, 8, &length, NULL), -ENOENT);
	ck_assert_int_eq(mneme_kv_put(m, "k", 1, NULL, 0, &version, 0), 0);
	ck_assert_int_eq(mneme_kv_get(m, "k", 1, value, 8, NULL, NULL), -EINVAL);
	ck_assert_int_eq(mneme_kv_get(m, "k", 1, NULL, 8, &length, NULL), -EINVAL);
	ck_assert_int_eq(mneme_kv_get(m, NULL, 1, value, 8, &length, NULL), -EINVAL);
	ck_assert_int_eq(mneme_kv_swap(m, "k", 1, 1, NULL, 1, &version, 0), -EINVAL);
	ck_assert_int_eq(mneme_kv_delete(m, NULL, 1, 0), -EINVAL);
	ck_assert_int_eq(mneme_kv_scan(m, NULL, 1, 0, pair_each, NULL), -EINVAL);
	ck_assert_int_eq(mneme_kv_scan(m, "", 0, 0, NULL, NULL), -EINVAL);
	ck_assert_int_eq(mneme_kv_scan(m, NULL, 0, 0, pair_each, NULL), 0);
	ck_assert_int_eq(mneme_kv_scan(m, long_sub, sizeof long_sub, 0, pair_each, NULL),
			 -ENAMETOOLONG);
	ck_assert_int_eq(mneme_kv_scan_after(m, NULL, 0, NULL, 1, 0, pair_each, NULL), -EINVAL);
	ck_assert_int_eq(mneme_log_append(m, NULL, 3, "e", 1, NULL, 0), -EINVAL);
	ck_assert_int_eq(mneme_log_append(m, "run", 0, "e", 1, NULL, 0), -EINVAL);
	ck_assert_int_eq(mneme_log_append(m, long_sub, 256, "e", 1, NULL, 0), -EINVAL);
	ck_assert_int_eq(mneme_log_append(m, "run", 3, NULL, 1, NULL, 0), -EINVAL);
	ck_assert_int_eq(mneme_log_append(m, "run", 3, large, MNEME_VALUE_MAX, NULL, 0), -E2BIG);
	ck_assert_int_eq(mneme_log_append(m, "run", 3, "e", 1, NULL, no_durability), -EINVAL);
	ck_assert_int_eq(mneme_log_verify(m, "run", 3, &count, NULL), -ENOENT);
	ck_assert_int_eq(mneme_log_append(m, "run", 3, NULL, 0, NULL, 0), 0);
	ck_assert_int_eq(mneme_log_verify(m, "run", 3, NULL, NULL), 0);
	ck_assert_int_eq(mneme_log_verify(m, NULL, 3, &count, NULL), -EINVAL);
	ck_assert_int_eq(mneme_log_replay(m, "run", 3, 1, NULL, NULL), -EINVAL);
	ck_assert_int_eq(mneme_log_replay(m, NULL, 3, 1, event_each, NULL), -EINVAL);
	ck_assert_int_eq(mneme_log_replay(m, "run", 3, UINT64_MAX, event_each, NULL), 0);
	ck_assert_int_eq(mneme_log_runs(m, NULL, NULL), -EINVAL);
	ck_assert_int_eq(mneme_kv_delete(m, "k", 1, 0), 0);
}
END_TEST

START_TEST(test_misuse_of_a_read_only_store)
{
	struct mneme_options read_only = {.read_only = 1};
	struct mneme_txn *txn;
	struct mneme *reader;
	uint64_t inode = 100;

	ck_assert_int_eq(mneme_sync(m), 0);
	ck_assert_int_eq(mneme_open(directory, &read_only, &reader, NULL), 0);
	ck_assert_int_eq(mneme_put(reader, &key, "v", 1, 0), -EROFS);
	ck_assert_int_eq(mneme_delete(reader, &key, 0), -EROFS);
	ck_assert_int_eq(mneme_compare_and_swap(reader, &key, NULL, 0, "v", 1, 0), -EROFS);
	ck_assert_int_eq(mneme_kv_put(reader, "k", 1, "v", 1, NULL, 0), -EROFS);
	ck_assert_int_eq(mneme_log_append(reader, "run", 3, "e", 1, NULL, 0), -EROFS);
	ck_assert_int_eq(mneme_set_durability(reader, 1, 2, MNEME_DURABILITY_MEMORY), -EROFS);
	ck_assert_int_eq(mneme_checkpoint(reader), -EROFS);
	ck_assert_int_eq(mneme_txn_begin_locked(reader, 0, &inode, 1, &txn), -EROFS);
	ck_assert_int_eq(mneme_txn_begin(reader, 0, &txn), 0);
	ck_assert_int_eq(mneme_txn_put(txn, &key, "v", 1), 0);
	ck_assert_int_eq(mneme_txn_commit(txn, 0), -EROFS);
	ck_assert_int_eq(mneme_sync(reader), 0); /* all that it has is durable */
	ck_assert_int_eq(mneme_close(reader), 0);
}
END_TEST

START_TEST(test_misuse_of_check_and_models)
{
	struct mneme_check_result result;
	struct mneme_error error = {""};
	struct mneme_model_info info;
	float vector[4];

	says(mneme_check(NULL, 0, NULL, NULL, &result, &error), -EINVAL, &error, "directory");
	says(mneme_check(base, 0, NULL, NULL, &result, &error), -ENOENT, &error, "store");
	says(mneme_check(directory, 0, NULL, NULL, &result, &error), -EBUSY, &error, "in use by");
	ck_assert_int_eq(mneme_check(directory, 0, NULL, NULL, NULL, NULL), -EBUSY);
	ck_assert_int_eq(mneme_check(directory, 0x80, NULL, NULL, NULL, NULL), -EINVAL);
	says(mneme_model_describe("/absent", &info, &error), -ENOENT, &error, "/absent");
	ck_assert_int_eq(mneme_model_describe("/absent", &info, NULL), -ENOENT);
	ck_assert_int_eq(mneme_model_describe(NULL, &info, &error), -EINVAL);
	ck_assert_int_eq(mneme_model_describe("/absent", NULL, &error), -EINVAL);
	ck_assert_int_eq(mneme_model_embed("/absent", "text", 4, vector, NULL, NULL), -ENOENT);
	ck_assert_int_eq(mneme_model_embed(NULL, "text", 4, vector, NULL, NULL), -EINVAL);
	ck_assert_int_eq(mneme_model_embed("/absent", NULL, 4, vector, NULL, NULL), -EINVAL);
	ck_assert_int_eq(mneme_model_embed("/absent", "text", 4, NULL, NULL, NULL), -EINVAL);
	ck_assert_int_eq(mneme_model_convert(NULL, "/absent/model", &error), -EINVAL);
	ck_assert_int_eq(mneme_model_convert("/absent", NULL, &error), -EINVAL);
	ck_assert_int_lt(mneme_model_convert("/absent", "/absent/model", NULL), 0);
}
END_TEST

UNIT_MAIN_WITH("library_misuse", store_make, store_remove, test_misuse_of_create,
	       test_misuse_of_open, test_misuse_of_single_operations,
	       test_misuse_of_scans_and_views, test_scan_up_to_the_last_key_of_a_shard_ends,
	       test_body_that_always_asks_for_another_try_ends,
	       test_misuse_of_transactions_that_are_not_there, test_misuse_of_transactions,
	       test_misuse_of_locked_and_read_only_transactions,
	       test_misuse_of_durability_and_state, test_misuse_of_pairs_and_logs,
	       test_misuse_of_a_read_only_store, test_misuse_of_check_and_models)
