/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of the record pool (pool/records.h), its free list and the thread slots. */
#include "pool/alloc.h"
#include "pool/records.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

START_TEST(test_records_capacity_is_exact_and_refuses_clearly)
{
	enum { CAPACITY = 1000 };
	struct records *pool;
	void *held[CAPACITY];
	struct records_stats stats;

	ck_assert_int_eq(records_new(48, CAPACITY, &pool), 0);
	for (int i = 0; i < CAPACITY; i++) {
		held[i] = records_acquire(pool);
		ck_assert_ptr_nonnull(held[i]);
		memset(held[i], i, 48);
	}
	ck_assert_ptr_null(records_acquire(pool));
	ck_assert_int_eq(records_validate(pool, CAPACITY), 0);
	records_read_stats(pool, &stats);
	ck_assert_uint_eq(stats.in_use, CAPACITY);
	ck_assert_uint_eq(stats.refused, 1);
	ck_assert_uint_eq(stats.high_water, CAPACITY);
	for (int i = 0; i < CAPACITY; i++) {
		for (int b = 0; b < 48; b++)
			ck_assert_uint_eq(((unsigned char *)held[i])[b], (unsigned char)i);
		records_release(pool, held[i]);
	}
	ck_assert_int_eq(records_validate(pool, 0), 0);
	ck_assert_int_eq(records_validate(pool, 1), -EUCLEAN);
	records_free(pool);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_records_rejects_bad_shapes_and_survives_no_memory)
{
	struct records *pool;

	ck_assert_int_eq(records_new(0, 10, &pool), -EINVAL);
	ck_assert_int_eq(records_new(8, 0, &pool), -EINVAL);
	ck_assert_int_eq(records_new(8, FREELIST_NIL, &pool), -EINVAL);
	ck_assert_int_eq(records_new(SIZE_MAX / 4, 1000, &pool), -EINVAL);
	for (int nth = 1; nth <= 3; nth++) {
		alloc_fail_arm(nth, 0);
		ck_assert_int_eq(records_new(64, 100, &pool), -ENOMEM);
		alloc_fail_arm(0, 0);
		ck_assert_int_eq(alloc_count_live(), 0);
	}
	/* without memory for a magazine the pool still works, through the central list */
	ck_assert_int_eq(records_new(64, 100, &pool), 0);
	alloc_fail_arm(1, 1);
	void *record = records_acquire(pool);
	ck_assert_ptr_nonnull(record);
	records_release(pool, record);
	alloc_fail_arm(0, 0);
	ck_assert_int_eq(records_validate(pool, 0), 0);
	records_free(pool);
}
END_TEST

START_TEST(test_records_warm_pool_allocates_nothing_and_hits_the_magazine)
{
	struct records *pool;
	struct records_stats stats;

	ck_assert_int_eq(records_new(64, 4096, &pool), 0);
	records_release(pool, records_acquire(pool));
	uint64_t before = alloc_count_thread();
	for (int i = 0; i < 100000; i++) {
		void *a = records_acquire(pool), *b = records_acquire(pool);
		records_release(pool, a);
		records_release(pool, b);
	}
	ck_assert_uint_eq(alloc_count_thread(), before);
	records_read_stats(pool, &stats);
	ck_assert_uint_ge(stats.hits * 100, stats.acquired * 99);
	ck_assert_uint_lt(stats.bytes_overhead * 10, stats.bytes_data);
	records_free(pool);
}
END_TEST

static void *take_all_and_end(void *arg)
{
	struct records *pool = arg;
	void *held[64];

	for (int i = 0; i < 64; i++)
		held[i] = records_acquire(pool);
	for (int i = 0; i < 64; i++)
		if (held[i])
			records_release(pool, held[i]);
	return NULL;
}

START_TEST(test_records_of_an_ended_thread_are_taken_back)
{
	struct records *pool;
	pthread_t thread;

	thread_slot(); /* this thread's slot is not the one that the other leaves */
	ck_assert_int_eq(records_new(64, 64, &pool), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, take_all_and_end, pool), 0);
	pthread_join(thread, NULL);
	for (int i = 0; i < 64; i++)
		ck_assert_ptr_nonnull(records_acquire(pool));
	ck_assert_ptr_null(records_acquire(pool));
	records_free(pool);
}
END_TEST

START_TEST(test_freelist_head_never_repeats_though_the_same_item_is_on_top)
{
	_Atomic uint32_t next[4];
	struct freelist list;
	const uint32_t items[4] = {0, 1, 2, 3};
	uint32_t out[4];

	freelist_init(&list, next);
	ck_assert_uint_eq(freelist_pop(&list, out, 4), 0);
	freelist_push(&list, items, 4);
	uint64_t before = atomic_load(&list.head);
	ck_assert_uint_eq(freelist_pop(&list, out, 1), 1);
	uint64_t popped = atomic_load(&list.head);
	freelist_push(&list, out, 1);
	uint64_t after = atomic_load(&list.head);
	/* a compare-and-swap with what was read before the two changes has to fail */
	ck_assert_uint_ne(before, after);
	ck_assert_uint_eq(before & FREELIST_INDEX_MASK, after & FREELIST_INDEX_MASK);
	ck_assert_uint_gt(popped >> 28, before >> 28);
	ck_assert_uint_gt(after >> 28, popped >> 28);
	ck_assert_int_eq(freelist_validate(&list, 4), 4);
	ck_assert_int_eq(freelist_validate(&list, 3), -1);
	ck_assert_uint_eq(freelist_pop(&list, out, 3), 3);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(out[i], i);
}
END_TEST

/* Stress: threads exchange records through shared cells; each record carries its owner's mark. */
enum { STRESS_THREADS = 4, STRESS_ROUNDS = 60000, STRESS_CELLS = 64 };
struct stress {
	struct records *pool;
	_Atomic(uint64_t *) cell[STRESS_CELLS];
	_Atomic int broken;
};

static void *stress_worker(void *arg)
{
	struct stress *stress = arg;
	uint64_t random = (uintptr_t)&random | 1;

	for (int i = 0; i < STRESS_ROUNDS; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		uint64_t *mine = records_acquire(stress->pool);
		if (mine) {
			mine[0] = random;
			mine[1] = ~random;
		}
		/* acq_rel: hands `mine` over to whoever takes it out, and takes over the other */
		uint64_t *other = atomic_exchange_explicit(
			&stress->cell[(random >> 33) % STRESS_CELLS], mine, memory_order_acq_rel);
		if (other) {
			if (other[0] != ~other[1])
				atomic_store_explicit(&stress->broken, 1, memory_order_relaxed);
			records_release(stress->pool, other);
		}
	}
	return NULL;
}

START_TEST(test_records_stress_no_record_has_two_owners)
{
	static struct stress stress;
	pthread_t thread[STRESS_THREADS];
	uint64_t held = 0;

	/* few records, so that the central list and the refusal are exercised */
	ck_assert_int_eq(records_new(64, 200, &stress.pool), 0);
	for (int i = 0; i < STRESS_THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, stress_worker, &stress), 0);
	for (int i = 0; i < STRESS_THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_int_eq(stress.broken, 0);
	for (int i = 0; i < STRESS_CELLS; i++)
		held += stress.cell[i] != NULL;
	ck_assert_int_eq(records_validate(stress.pool, held), 0);
	records_free(stress.pool);
}
END_TEST

enum { MANY_THREADS = THREAD_SLOTS + 8 };
static pthread_barrier_t many_barrier;

static void *many_worker(void *arg)
{
	struct records *pool = arg;

	thread_slot();
	pthread_barrier_wait(&many_barrier);
	for (int i = 0; i < 100; i++) {
		void *record = records_acquire(pool);
		if (record)
			records_release(pool, record);
	}
	pthread_barrier_wait(&many_barrier);
	return NULL;
}

START_TEST(test_records_more_threads_than_slots_share_the_central_list)
{
	static pthread_t thread[MANY_THREADS];
	struct records *pool;
	pthread_attr_t attr;

	ck_assert_int_eq(records_new(64, 100000, &pool), 0);
	pthread_barrier_init(&many_barrier, NULL, MANY_THREADS);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (int i = 0; i < MANY_THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], &attr, many_worker, pool), 0);
	for (int i = 0; i < MANY_THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_int_eq(records_validate(pool, 0), 0);
	struct records_stats stats;
	records_read_stats(pool, &stats);
	ck_assert_uint_eq(stats.in_use, 0);
	ck_assert_uint_eq(stats.acquired, MANY_THREADS * 100);
	records_free(pool);
}
END_TEST

UNIT_MAIN("records", test_records_capacity_is_exact_and_refuses_clearly,
	  test_records_rejects_bad_shapes_and_survives_no_memory,
	  test_records_warm_pool_allocates_nothing_and_hits_the_magazine,
	  test_records_of_an_ended_thread_are_taken_back,
	  test_freelist_head_never_repeats_though_the_same_item_is_on_top,
	  test_records_stress_no_record_has_two_owners,
	  test_records_more_threads_than_slots_share_the_central_list)
