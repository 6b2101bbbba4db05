/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: a program that knows nothing but mneme.h and links the shared library. */
#include <mneme.h>

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char directory[64];

static void directory_make(void)
{
	strcpy(directory, "/tmp/test_library.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void directory_remove(void)
{
	char command[96];

	snprintf(command, sizeof command, "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0);
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
	char path[96];

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

int main(void)
{
	Suite *s = suite_create("library");
	TCase *tc = tcase_create("library");
	tcase_add_checked_fixture(tc, directory_make, directory_remove);
	tcase_add_test(tc, test_library_stores_and_finds_again);
	tcase_add_test(tc, test_library_says_who_holds_the_store);
	tcase_add_test(tc, test_library_refuses_what_is_no_store_with_a_sentence);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
