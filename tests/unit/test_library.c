/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: a program that knows nothing but mneme.h and links the shared library. */
#include <mneme.h>

#include "library.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char directory[FOLDER_SIZE];

static void directory_make(void)
{
	folder_make(directory);
}

static void directory_remove(void)
{
	folder_remove(directory);
}

START_TEST(test_library_stores_and_finds_again)
{
	struct mneme_error error = {""};
	struct mneme *m;
	char value[8];
	uint64_t version;
	size_t length;

	ck_assert_msg(mneme_create(directory, NULL, &error) == 0, "%s", error.message);
	ck_assert_msg(mneme_open(directory, NULL, &m, &error) == 0, "%s", error.message);
	ck_assert_int_eq(mneme_kv_put(m, "key", 3, "value", 5, &version, MNEME_DURABILITY_STRICT),
			 0);
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(mneme_open(directory, NULL, &m, &error), 0);
	ck_assert_int_eq(mneme_kv_get(m, "key", 3, value, sizeof value, &length, &version), 0);
	ck_assert_uint_eq(length, 5);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(memcmp(value, "value", 5), 0);
	ck_assert_int_eq(mneme_close(m), 0);
}
END_TEST

START_TEST(test_library_says_who_holds_the_store)
{
	struct mneme_error error = {""};
	struct mneme *writer, *second, *reader;
	struct mneme_options read_only = {.read_only = 1};
	uint64_t version;
	char value[8];
	size_t length;

	ck_assert_int_eq(mneme_create(directory, NULL, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, NULL, &writer, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, NULL, &second, &error), -EBUSY);
	ck_assert_ptr_nonnull(strstr(error.message, "in use by process"));
	ck_assert_int_eq(mneme_kv_put(writer, "k", 1, "v", 1, NULL, MNEME_DURABILITY_STRICT), 0);
	/* Readers come beside the writer, and change nothing. */
	ck_assert_msg(mneme_open(directory, &read_only, &reader, &error) == 0, "%s", error.message);
	ck_assert_int_eq(mneme_kv_get(reader, "k", 1, value, sizeof value, &length, &version), 0);
	ck_assert_int_eq(mneme_kv_put(reader, "k", 1, "w", 1, NULL, 0), -EROFS);
	ck_assert_int_eq(mneme_close(reader), 0);
	ck_assert_int_eq(mneme_close(writer), 0);
}
END_TEST

START_TEST(test_library_refuses_what_is_no_store_with_a_sentence)
{
	struct mneme_error error = {""};
	struct mneme *m;
	char path[PATH_SIZE];

	ck_assert_int_eq(mneme_open(directory, NULL, &m, &error), -ENOENT);
	ck_assert_ptr_nonnull(strstr(error.message, "mkfs.mnemefs"));
	snprintf(path, sizeof path, "%s/super", directory);
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fprintf(f, "something else");
	fclose(f);
	ck_assert_int_lt(mneme_open(directory, NULL, &m, &error), 0);
	ck_assert_int_gt(strlen(error.message), 10);
	ck_assert_int_eq(mneme_create(directory, NULL, &error), -ENOTEMPTY);
}
END_TEST

/* What both the engine and the check say; what the check finds beyond repair. */
static uint64_t refused(int rc, const char *words, const char *never)
{
	struct mneme_error error = {""}, check_error = {""};
	struct mneme_check_result result = {0};
	struct mneme *m;
	int opened = mneme_open(directory, NULL, &m, &error);

	ck_assert_msg(opened == rc, "%d: %s", opened, error.message);
	ck_assert_msg(strstr(error.message, words), "%s", error.message);
	ck_assert_msg(!strstr(error.message, never), "%s", error.message);
	int checked = mneme_check(directory, 0, NULL, NULL, &result, &check_error);
	if (checked == 0) {
		ck_assert_uint_gt(result.findings, 0);
		return result.beyond;
	}
	ck_assert_int_eq(checked, rc);
	ck_assert_msg(strstr(check_error.message, words), "%s", check_error.message);
	ck_assert_msg(!strstr(check_error.message, never), "%s", check_error.message);
	return 0;
}

static void store_with_a_pair(void)
{
	struct mneme *m;

	ck_assert_int_eq(mneme_create(directory, NULL, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, NULL, &m, NULL), 0);
	ck_assert_int_eq(mneme_kv_put(m, "k", 1, "v", 1, NULL, 0), 0);
	ck_assert_int_eq(mneme_close(m), 0);
}

static void file_rename(const char *from, const char *to)
{
	char a[PATH_SIZE], b[PATH_SIZE];

	snprintf(a, sizeof a, "%s/%s", directory, from);
	snprintf(b, sizeof b, "%s/%s", directory, to);
	ck_assert_int_eq(rename(a, b), 0);
}

/* It said that mkfs.mnemefs makes a store: over one that only lacks a file. */
START_TEST(test_library_names_the_file_that_is_missing)
{
	store_with_a_pair();
	file_rename("super", "aside");
	refused(-ENOENT, "the file super of this store is missing", "mkfs");
	file_rename("aside", "super");
	file_rename("heap", "aside");
	ck_assert_uint_eq(refused(-ENOENT, "the file heap is missing", "mkfs"), 1);
}
END_TEST

static uint32_t crc32c_slow(const uint8_t *bytes, size_t length)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* Both superblocks, with their checksums. */
static void super_set(long offset, uint32_t value, int is_whole)
{
	static uint8_t page[4096];
	uint32_t crc;
	char path[PATH_SIZE];

	snprintf(path, sizeof path, "%s/super", directory);
	FILE *f = fopen(path, "r+");
	ck_assert_ptr_nonnull(f);
	for (long copy = 0; copy < 2; copy++) {
		ck_assert_int_eq(fseek(f, copy * (long)sizeof page, SEEK_SET), 0);
		ck_assert_uint_eq(fread(page, sizeof page, 1, f), 1);
		memcpy(page + offset, &value, sizeof value);
		memset(page + 12, 0, sizeof crc);
		crc = crc32c_slow(page, sizeof page) ^ !is_whole;
		memcpy(page + 12, &crc, sizeof crc);
		ck_assert_int_eq(fseek(f, copy * (long)sizeof page, SEEK_SET), 0);
		ck_assert_uint_eq(fwrite(page, sizeof page, 1, f), 1);
	}
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(test_library_refuses_what_a_superblock_says_that_it_does_not_know)
{
	store_with_a_pair();
	super_set(100, 7, 1);
	refused(-EPROTONOSUPPORT, "compression 7", "damaged");
	super_set(100, 0, 1);
	super_set(8, UINT32_MAX, 1);
	refused(-EPROTONOSUPPORT, "format 4294967295", "-1");
	super_set(8, 0, 1);
	refused(-EPROTONOSUPPORT, "format 0", "a newer one");
	super_set(8, 1, 0);
	ck_assert_uint_eq(refused(-EUCLEAN, "no superblock is whole", "mkfs"), 1);
}
END_TEST

UNIT_MAIN_WITH("library", directory_make, directory_remove, test_library_stores_and_finds_again,
	       test_library_says_who_holds_the_store,
	       test_library_refuses_what_is_no_store_with_a_sentence,
	       test_library_names_the_file_that_is_missing,
	       test_library_refuses_what_a_superblock_says_that_it_does_not_know)
