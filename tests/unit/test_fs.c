/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of the parts of fs/ that need no mount: names, nodes, ACLs, mount options. */
#include "core/names.h"
#include "fs/acl.h"
#include "fs/node.h"
#include "fs/session.h"
#include "pool/alloc.h"

#include <check.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

/* ---- names ---- */

START_TEST(test_names_position_is_the_published_siphash)
{
	/* the reference vector of SipHash-2-4: key 00..0f, message 00..0e */
	uint8_t key[16], message[15];
	for (int i = 0; i < 16; i++)
		key[i] = (uint8_t)i;
	for (int i = 0; i < 15; i++)
		message[i] = (uint8_t)i;
	uint64_t expected = (UINT64_C(0xa129ca6149be45e5) >> 1) & ~UINT64_C(0xff);
	ck_assert_uint_eq(names_position(key, (const char *)message, 15), expected);
}
END_TEST

START_TEST(test_names_position_is_a_valid_cookie)
{
	uint8_t key[16] = {7};
	char name[16];
	for (int i = 0; i < 10000; i++) {
		int length = snprintf(name, sizeof(name), "file%d", i);
		uint64_t position = names_position(key, name, (size_t)length);
		ck_assert_uint_ge(position, NAMES_POSITION_FIRST);
		ck_assert_uint_eq(position & 0xff, 0);
		ck_assert_int_gt((int64_t)(position + 255), 0);
	}
}
END_TEST

START_TEST(test_names_numbers_in_keys_sort_as_bytes)
{
	uint8_t low[8], high[8];
	names_put_be64(low, 255);
	names_put_be64(high, 256);
	ck_assert_int_lt(memcmp(low, high, 8), 0);
	ck_assert_uint_eq(names_get_be64(high), 256);
}
END_TEST

/* ---- nodes ---- */

START_TEST(test_node_orphan_goes_with_the_last_reference)
{
	struct node_table *table;
	ck_assert_int_eq(node_table_new(&table), 0);
	ck_assert_int_eq(node_ref(table, 100), 0);
	ck_assert_int_eq(node_ref(table, 100), 0);
	ck_assert_int_eq(node_set_orphan(table, 100, 1), 0);
	ck_assert_int_eq(node_unref(table, 100, 1), 0);
	ck_assert_int_eq(node_unref(table, 100, 1), 1);
	/* the kernel does not know it any more: whoever makes it an orphan removes it */
	ck_assert_int_eq(node_set_orphan(table, 100, 1), 1);
	ck_assert_uint_eq(node_count(table), 0);
	node_table_free(table);
}
END_TEST

START_TEST(test_node_that_got_a_name_again_stays)
{
	struct node_table *table;
	ck_assert_int_eq(node_table_new(&table), 0);
	ck_assert_int_eq(node_ref(table, 100), 0);
	ck_assert_int_eq(node_set_orphan(table, 100, 1), 0);
	ck_assert_int_eq(node_set_orphan(table, 100, 0), 0);
	ck_assert_int_eq(node_unref(table, 100, 1), 0);
	node_table_free(table);
}
END_TEST

START_TEST(test_node_position_survives_being_forgotten)
{
	struct node_table *table;
	ck_assert_int_eq(node_table_new(&table), 0);
	ck_assert_int_eq(node_ref(table, 100), 0);
	node_set_lsn(table, 100, 5000);
	node_set_lsn(table, 100, 4000);
	ck_assert_uint_eq(node_get_lsn(table, 100), 5000);
	ck_assert_int_eq(node_unref(table, 100, 9), 0);
	ck_assert_uint_ge(node_get_lsn(table, 100), 5000);
	ck_assert_int_eq(node_ref(table, 100), 0);
	ck_assert_uint_ge(node_get_lsn(table, 100), 5000);
	node_table_free(table);
}
END_TEST

START_TEST(test_node_table_grows_and_then_allocates_nothing)
{
	enum { NODES = 50000 };
	struct node_table *table;
	ck_assert_int_eq(node_table_new(&table), 0);
	for (uint64_t i = 0; i < NODES; i++)
		ck_assert_int_eq(node_ref(table, i), 0);
	ck_assert_uint_eq(node_count(table), NODES);
	for (uint64_t i = 0; i < NODES; i++)
		node_unref(table, i, 1);
	uint64_t before = alloc_count_thread();
	for (uint64_t i = 0; i < NODES; i++)
		ck_assert_int_eq(node_ref(table, i), 0);
	ck_assert_uint_eq(alloc_count_thread(), before);
	node_table_free(table);
}
END_TEST

START_TEST(test_node_without_memory_is_an_error_and_no_leak)
{
	struct node_table *table;
	int64_t live = alloc_count_live();
	for (uint64_t nth = 1; nth < 100; nth++) {
		alloc_fail_arm(nth, 0);
		int err = node_table_new(&table);
		if (!err)
			err = node_ref(table, 1);
		else
			table = NULL;
		alloc_fail_arm(0, 0);
		ck_assert(err == 0 || err == -ENOMEM);
		node_table_free(table);
		ck_assert_int_eq(alloc_count_live(), live);
		if (!err)
			return;
	}
	ck_abort_msg("it always fails");
}
END_TEST

/* ---- ACLs ---- */

struct list {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} entry[8];
};

static const struct list minimal = {
	2, {{ACL_USER_OBJ, 6, ~0u}, {ACL_GROUP_OBJ, 4, ~0u}, {ACL_OTHER, 0, ~0u}}};
static const struct list named = {2,
				  {{ACL_USER_OBJ, 7, ~0u},
				   {ACL_USER, 5, 1000},
				   {ACL_GROUP_OBJ, 5, ~0u},
				   {ACL_MASK, 7, ~0u},
				   {ACL_OTHER, 1, ~0u}}};
enum { MINIMAL_SIZE = 4 + 3 * 8, NAMED_SIZE = 4 + 5 * 8 };

START_TEST(test_acl_check_accepts_complete_lists_only)
{
	struct list bad = named;
	ck_assert_int_eq(acl_check(&minimal, MINIMAL_SIZE), 0);
	ck_assert_int_eq(acl_check(&named, NAMED_SIZE), 0);
	ck_assert_int_eq(acl_check(&named, NAMED_SIZE - 1), -EINVAL);
	ck_assert_int_eq(acl_check(&named, NAMED_SIZE - 8), -EINVAL);
	ck_assert_int_eq(acl_check(&named, 0), -EINVAL);
	bad.entry[3].tag = ACL_OTHER; /* no mask */
	ck_assert_int_eq(acl_check(&bad, NAMED_SIZE), -EINVAL);
	bad = named;
	bad.entry[1].perm = 8;
	ck_assert_int_eq(acl_check(&bad, NAMED_SIZE), -EINVAL);
	bad = named;
	bad.version = 1;
	ck_assert_int_eq(acl_check(&bad, NAMED_SIZE), -EINVAL);
}
END_TEST

START_TEST(test_acl_mode_follows_the_mask)
{
	uint32_t mode = 0100000;
	ck_assert_int_eq(acl_to_mode(&minimal, MINIMAL_SIZE, &mode), 1);
	ck_assert_uint_eq(mode, 0100640);
	ck_assert_int_eq(acl_to_mode(&named, NAMED_SIZE, &mode), 0);
	ck_assert_uint_eq(mode, 0100771);
}
END_TEST

START_TEST(test_acl_chmod_changes_the_mask_not_the_group)
{
	struct list list = named;
	acl_from_mode(&list, NAMED_SIZE, 0640);
	ck_assert_uint_eq(list.entry[0].perm, 6);
	ck_assert_uint_eq(list.entry[2].perm, 5);
	ck_assert_uint_eq(list.entry[3].perm, 4);
	ck_assert_uint_eq(list.entry[4].perm, 0);
}
END_TEST

START_TEST(test_acl_inherit_cuts_both_ways)
{
	struct list list = named;
	uint32_t mode = 0100666;
	ck_assert_int_eq(acl_inherit(&list, NAMED_SIZE, &mode), 0);
	ck_assert_uint_eq(mode, 0100660);
	ck_assert_uint_eq(list.entry[0].perm, 6);
	ck_assert_uint_eq(list.entry[1].perm, 5);
	ck_assert_uint_eq(list.entry[3].perm, 6);
	ck_assert_uint_eq(list.entry[4].perm, 0);
}
END_TEST

/* ---- options ---- */

START_TEST(test_options_are_read)
{
	struct fs_options o = {0};
	struct mneme_error error;
	const char *list = "ro,nosuid,noatime,durability=strict,cache_size=64M,transport=classic,"
			   "allow_other,x-systemd.automount,open=checked,fsname=a,"
			   "sched=normal";
	ck_assert_int_eq(fs_options_parse(&o, list, &error), 0);
	ck_assert_int_eq(o.read_only, 1);
	ck_assert_uint_eq(o.kernel_flags, MS_NOSUID);
	ck_assert_int_eq(o.atime, FS_ATIME_NEVER);
	ck_assert_int_eq(o.durability, MNEME_DURABILITY_STRICT);
	ck_assert_uint_eq(o.cache_bytes, 64 << 20);
	ck_assert_int_eq(o.transport, FS_TRANSPORT_CLASSIC);
	ck_assert_int_eq(o.checked_open, 1);
	ck_assert_int_eq(o.usual_class, 1);
	ck_assert_str_eq(o.source, "a");
	ck_assert_int_eq(fs_options_parse(&o, "rw,suid", &error), 0);
	ck_assert_int_eq(o.read_only, 0);
	ck_assert_uint_eq(o.kernel_flags, 0);
}
END_TEST

START_TEST(test_options_unknown_ones_are_refused_by_name)
{
	static const char *const bad[] = {"frobnicate",   "ro,frobnicate=3", "durability=always",
					  "cache_size=1", "cache_size=12Q",  "threads=0",
					  "transport=",   "queue_depth=-1",  "sched=idle"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct fs_options o = {0};
		struct mneme_error error = {""};
		const char *comma = strchr(bad[i], ',');
		ck_assert_int_eq(fs_options_parse(&o, bad[i], &error), -EINVAL);
		ck_assert_ptr_nonnull(strstr(error.message, comma ? comma + 1 : bad[i]));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fs");
	TCase *tests = tcase_create("fs");
	suite_add_tcase(suite, tests);
	tcase_add_test(tests, test_names_position_is_the_published_siphash);
	tcase_add_test(tests, test_names_position_is_a_valid_cookie);
	tcase_add_test(tests, test_names_numbers_in_keys_sort_as_bytes);
	tcase_add_test(tests, test_node_orphan_goes_with_the_last_reference);
	tcase_add_test(tests, test_node_that_got_a_name_again_stays);
	tcase_add_test(tests, test_node_position_survives_being_forgotten);
	tcase_add_test(tests, test_node_table_grows_and_then_allocates_nothing);
	tcase_add_test(tests, test_node_without_memory_is_an_error_and_no_leak);
	tcase_add_test(tests, test_acl_check_accepts_complete_lists_only);
	tcase_add_test(tests, test_acl_mode_follows_the_mask);
	tcase_add_test(tests, test_acl_chmod_changes_the_mask_not_the_group);
	tcase_add_test(tests, test_acl_inherit_cuts_both_ways);
	tcase_add_test(tests, test_options_are_read);
	tcase_add_test(tests, test_options_unknown_ones_are_refused_by_name);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
