/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of pool/. */
#include "pool/alloc.h"
#include "pool/lock.h"
#include "tests/unit/unit.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>

START_TEST(test_alloc_fail_arm_fails_the_chosen_call_once)
{
	alloc_fail_arm(2, 0);
	void *first = alloc_get(8), *second = alloc_get(8), *third = alloc_get(8);
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_null(second);
	ck_assert_ptr_nonnull(third);
	ck_assert_uint_eq(alloc_fail_arm(0, 0), 3);
	alloc_free(first);
	alloc_free(third);
}
END_TEST

enum { LOCK_THREADS = 4, LOCK_ROUNDS = 20000 };
static struct lock guard;
static long guarded;

static void *lock_worker(void *arg)
{
	for (int i = 0; i < LOCK_ROUNDS; i++) {
		if (i % 4) {
			lock_read(&guard);
			long seen = guarded;
			ck_assert_int_eq(seen, guarded);
			lock_read_done(&guard);
		} else {
			lock_write(&guard);
			guarded++;
			lock_write_done(&guard);
		}
	}
	return arg;
}

START_TEST(test_lock_excludes_writers_and_wakes_everybody)
{
	pthread_t t[LOCK_THREADS];

	lock_init(&guard, LOCK_LEAF);
	for (int i = 0; i < LOCK_THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, lock_worker, NULL), 0);
	for (int i = 0; i < LOCK_THREADS; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(guarded, LOCK_THREADS * LOCK_ROUNDS / 4);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pool");
	TCase *tc = tcase_create("pool");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_alloc_fail_arm_fails_the_chosen_call_once);
	tcase_add_test(tc, test_lock_excludes_writers_and_wakes_everybody);
	suite_add_tcase(s, tc);
	return unit_end(s);
}
