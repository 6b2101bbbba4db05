/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: the main function of a unit test program: UNIT_MAIN("name", test, test, ...), and with what is
 *          done before and after each test UNIT_MAIN_WITH("name", before, after, test, ...). */
#ifndef MNEME_TESTS_UNIT_H
#define MNEME_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

enum { UNIT_TIMEOUT_SECONDS = 120, UNIT_LONG_FACTOR = 30 };

/* Runs the suite, frees it, and says with what status the program ends. */
static inline int unit_end(Suite *suite)
{
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline int unit_run(const char *name, SFun before, SFun after, const TTest *const *tests,
			   size_t count)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);

	const char *is_long = getenv("MNEME_LONG");
	tcase_set_timeout(tcase, UNIT_TIMEOUT_SECONDS *
					 (is_long && *is_long == '1' ? UNIT_LONG_FACTOR : 1));
	tcase_add_checked_fixture(tcase, before, after);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	return unit_end(suite);
}

#define UNIT_MAIN_WITH(name, before, after, ...)                                                   \
	int main(void)                                                                             \
	{                                                                                          \
		const TTest *const tests[] = {__VA_ARGS__};                                        \
		return unit_run(name, before, after, tests, sizeof(tests) / sizeof(tests[0]));     \
	}
#define UNIT_MAIN(name, ...) UNIT_MAIN_WITH(name, NULL, NULL, __VA_ARGS__)

#endif
