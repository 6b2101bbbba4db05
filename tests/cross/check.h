/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the few words of Check that tests/unit/test_simd.c uses, for an architecture whose
 *            libcheck is not at hand. The first failure ends the program.
 */
#ifndef MNEME_TESTS_CROSS_CHECK_H
#define MNEME_TESTS_CROSS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check_run {
	void (*tests[64])(void);
	const char *names[64];
	int count;
};
#define Suite struct check_run
#define TCase struct check_run
#define SRunner struct check_run
enum { CK_ENV };
static struct check_run check_all;

#define START_TEST(name) static void name(void)
#define END_TEST
#define ck_abort_msg(...)                                                                          \
	do {                                                                                       \
		fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                    \
		fprintf(stderr, __VA_ARGS__);                                                      \
		fputc('\n', stderr);                                                               \
		exit(1);                                                                           \
	} while (0)
#define ck_assert_msg(condition, ...)                                                              \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ck_abort_msg(__VA_ARGS__);                                                 \
	} while (0)
#define ck_assert(condition) ck_assert_msg(condition, "%s", #condition)
#define ck_assert_int_eq(a, b) ck_assert((a) == (b))
#define ck_assert_int_gt(a, b) ck_assert((a) > (b))
#define ck_assert_uint_eq(a, b) ck_assert((a) == (b))
#define ck_assert_float_eq(a, b) ck_assert((a) == (b))
#define ck_assert_ptr_ne(a, b) ck_assert((a) != (b))
#define ck_assert_ptr_nonnull(a) ck_assert((a) != NULL)
#define ck_assert_str_eq(a, b) ck_assert(!strcmp(a, b))
#define ck_assert_mem_eq(a, b, n) ck_assert(!memcmp(a, b, n))

#define suite_create(name) (&check_all)
#define tcase_create(name) (&check_all)
#define tcase_set_timeout(tc, seconds) ((void)(tc))
#define suite_add_tcase(s, tc) ((void)(tc))
#define srunner_create(s) (s)
#define srunner_free(r) ((void)(r))
#define srunner_ntests_failed(r) 0
#define tcase_add_test(tc, test)                                                                   \
	((tc)->names[(tc)->count] = #test, (tc)->tests[(tc)->count++] = (test))

static inline void srunner_run_all(SRunner *r, int mode)
{
	for (int i = 0; i < r->count; i++) {
		r->tests[i]();
		printf("ok %s\n", r->names[i]);
	}
}

#endif
