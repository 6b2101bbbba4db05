/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the engine as -Dperf_diagnostics=true builds it (this program compiles core/store so): each
 *            layer's time is counted, and printed. Where the header for static probes was found, they
 *            are in the program.
 */
#include "core/mneme.h"
#include "pool/layers.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PUTS = 50 };
static char directory[64];

static void directory_make(void)
{
	strcpy(directory, "/tmp/test_layers.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void directory_remove(void)
{
	char command[96];

	snprintf(command, sizeof command, "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static int change(struct mneme_txn *txn, void *arg)
{
	struct mneme_key key = {.inode = 100, .type = MNEME_TYPE_USER, .sub = "k", .sub_length = 1};
	size_t length;

	(void)arg;
	mneme_txn_get(txn, &key, NULL, 0, &length);
	return mneme_txn_put(txn, &key, "v", 1);
}

/* The second column of the layer's line: how often it was counted. */
static unsigned long times_of(const char *table, const char *layer)
{
	const char *line = strstr(table, layer);

	ck_assert_msg(line && (line == table || line[-1] == '\n'), "no %s in:\n%s", layer, table);
	return strtoul(line + strlen(layer), NULL, 10);
}

START_TEST(test_layers_are_counted_and_printed)
{
	char table[1024], cut[40];
	struct mneme *m;

	ck_assert_int_eq(mneme_create(directory, NULL, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, NULL, &m, NULL), 0);
	for (int i = 0; i < PUTS; i++) {
		ck_assert_int_eq(mneme_kv_put(m, &i, sizeof i, "value", 5, NULL, 0), 0);
		ck_assert_int_eq(mneme_txn_run(m, change, NULL, MNEME_DURABILITY_STRICT), 0);
	}
	ck_assert_uint_gt(layers_print(table, sizeof table), 0);
	printf("%s", table);
	ck_assert_uint_ge(times_of(table, "snapshot "), 2 * PUTS);
	ck_assert_uint_ge(times_of(table, "lock "), 2 * PUTS);
	ck_assert_uint_ge(times_of(table, "apply "), 2 * PUTS);
	ck_assert_uint_ge(times_of(table, "log "), 3 * PUTS); /* the waits of strict, too */
	ck_assert_uint_eq(times_of(table, "index "), 0);      /* the engine has none */
	ck_assert_uint_eq(layers_print(cut, sizeof cut), sizeof cut - 1);
	ck_assert_int_eq(mneme_close(m), 0);
}
END_TEST

#ifdef MNEME_PROBES
START_TEST(test_layers_have_probes)
{
	static const char *const layers[] = {"snapshot", "lock", "apply", "log"};
	char command[160];

	for (int i = 0; i < 4; i++) {
		snprintf(command, sizeof command,
			 "readelf -n /proc/%d/exe | grep -A1 'Provider: mneme' | grep -q 'Name: "
			 "%s_begin'",
			 (int)getpid(), layers[i]);
		ck_assert_msg(system(command) == 0, "%s", layers[i]);
	}
}
END_TEST
#endif

int main(void)
{
	Suite *s = suite_create("layers");
	TCase *tc = tcase_create("layers");
	tcase_add_checked_fixture(tc, directory_make, directory_remove);
	tcase_add_test(tc, test_layers_are_counted_and_printed);
#ifdef MNEME_PROBES
	tcase_add_test(tc, test_layers_have_probes);
#endif
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
