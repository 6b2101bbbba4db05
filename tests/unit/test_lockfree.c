/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of the ring, the epochs, the counters and the histogram (pool/). */
#include "pool/alloc.h"
#include "pool/counters.h"
#include "pool/epoch.h"
#include "pool/histogram.h"
#include "pool/ring.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <string.h>

START_TEST(test_ring_is_first_in_first_out_and_bounded)
{
	struct ring ring;

	ck_assert_int_eq(ring_init(&ring, 1), -EINVAL);
	ck_assert_int_eq(ring_init(&ring, 5), 0);
	for (uintptr_t round = 0; round < 5; round++) {
		ck_assert_ptr_null(ring_pop(&ring));
		for (uintptr_t i = 1; i <= 8; i++)
			ck_assert_int_eq(ring_push(&ring, (void *)(i + round)), 0);
		ck_assert_int_eq(ring_push(&ring, (void *)9), -EAGAIN);
		ck_assert_uint_eq(ring_depth(&ring), 8);
		ck_assert_int_eq(ring_validate(&ring), 0);
		for (uintptr_t i = 1; i <= 8; i++)
			ck_assert_uint_eq((uintptr_t)ring_pop(&ring), i + round);
		ck_assert_int_eq(ring_validate(&ring), 0);
	}
	ring.cells[3].sequence++;
	ck_assert_int_eq(ring_validate(&ring), -EUCLEAN);
	ring_destroy(&ring);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

enum { RING_SIDE = 2, RING_ITEMS = 40000 };
static struct ring stress_ring;
static _Atomic unsigned char ring_seen[RING_SIDE * RING_ITEMS + 1];
static _Atomic long ring_taken, ring_disorder;

static void *ring_producer(void *arg)
{
	uintptr_t first = (uintptr_t)arg * RING_ITEMS;

	for (uintptr_t i = 1; i <= RING_ITEMS;)
		if (ring_push(&stress_ring, (void *)(first + i)) == 0)
			i++;
		else
			sched_yield();
	return NULL;
}

static void *ring_consumer(void *arg)
{
	uintptr_t last[RING_SIDE] = {0};

	while (atomic_load_explicit(&ring_taken, memory_order_relaxed) < RING_SIDE * RING_ITEMS) {
		uintptr_t item = (uintptr_t)ring_pop(&stress_ring);
		if (!item) {
			sched_yield();
			continue;
		}
		atomic_fetch_add_explicit(&ring_taken, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&ring_seen[item], 1, memory_order_relaxed);
		/* one consumer sees one producer's items in their order */
		uintptr_t producer = (item - 1) / RING_ITEMS;
		if (item <= last[producer])
			atomic_fetch_add_explicit(&ring_disorder, 1, memory_order_relaxed);
		last[producer] = item;
	}
	return arg;
}

START_TEST(test_ring_stress_every_item_once_and_in_order)
{
	pthread_t thread[2 * RING_SIDE];

	ck_assert_int_eq(ring_init(&stress_ring, 64), 0);
	for (uintptr_t i = 0; i < RING_SIDE; i++) {
		ck_assert_int_eq(pthread_create(&thread[i], NULL, ring_producer, (void *)i), 0);
		ck_assert_int_eq(pthread_create(&thread[RING_SIDE + i], NULL, ring_consumer, NULL),
				 0);
	}
	for (int i = 0; i < 2 * RING_SIDE; i++)
		pthread_join(thread[i], NULL);
	for (int i = 1; i <= RING_SIDE * RING_ITEMS; i++)
		ck_assert_int_eq(ring_seen[i], 1);
	ck_assert_int_eq(ring_disorder, 0);
	ck_assert_int_eq(ring_validate(&stress_ring), 0);
	ring_destroy(&stress_ring);
}
END_TEST

struct node {
	struct epoch_node retired;
	uint64_t value, check;
};
static _Atomic int nodes_released;

static void node_release(struct epoch_node *retired)
{
	struct node *node = (struct node *)retired;

	node->check = 0;
	alloc_free(node);
	atomic_fetch_add_explicit(&nodes_released, 1, memory_order_relaxed);
}

static struct node *node_new(uint64_t value)
{
	struct node *node = alloc_get(sizeof(*node));

	ck_assert_ptr_nonnull(node);
	node->value = value;
	node->check = ~value;
	return node;
}

START_TEST(test_epoch_keeps_a_node_while_a_reader_is_inside)
{
	struct epoch *epoch;

	ck_assert_int_eq(epoch_new(&epoch), 0);
	nodes_released = 0;
	epoch_enter(epoch);
	epoch_enter(epoch);
	epoch_retire(epoch, &node_new(1)->retired, node_release);
	epoch_leave(epoch);
	for (int i = 0; i < 10; i++)
		epoch_collect(epoch);
	ck_assert_int_eq(nodes_released, 0);
	ck_assert_uint_eq(epoch_pending(epoch), 1);
	epoch_leave(epoch);
	for (int i = 0; i < 3; i++)
		epoch_collect(epoch);
	ck_assert_int_eq(nodes_released, 1);
	ck_assert_uint_eq(epoch_pending(epoch), 0);
	epoch_retire(epoch, &node_new(2)->retired, node_release);
	epoch_free(epoch);
	ck_assert_int_eq(nodes_released, 2);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

enum { EPOCH_CELLS = 8, EPOCH_ROUNDS = 20000, EPOCH_THREADS = 4 };
static struct epoch *stress_epoch;
static _Atomic(struct node *) epoch_cell[EPOCH_CELLS];
static _Atomic int epoch_broken;

static void *epoch_worker(void *arg)
{
	uint64_t random = (uintptr_t)&random | 1;

	for (int i = 0; i < EPOCH_ROUNDS; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		_Atomic(struct node *) *cell = &epoch_cell[(random >> 33) % EPOCH_CELLS];

		epoch_enter(stress_epoch);
		struct node *node = atomic_load_explicit(cell, memory_order_acquire);
		if (node && node->check != ~node->value)
			atomic_store_explicit(&epoch_broken, 1, memory_order_relaxed);
		if ((random >> 60) < 6) {
			struct node *old = atomic_exchange_explicit(cell, node_new(random),
								    memory_order_acq_rel);
			if (old)
				epoch_retire(stress_epoch, &old->retired, node_release);
		}
		if (node && node->check != ~node->value)
			atomic_store_explicit(&epoch_broken, 1, memory_order_relaxed);
		epoch_leave(stress_epoch);
	}
	return arg;
}

START_TEST(test_epoch_stress_no_reader_sees_a_released_node)
{
	pthread_t thread[EPOCH_THREADS];

	ck_assert_int_eq(epoch_new(&stress_epoch), 0);
	for (int i = 0; i < EPOCH_THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, epoch_worker, NULL), 0);
	for (int i = 0; i < EPOCH_THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_int_eq(epoch_broken, 0);
	ck_assert_int_gt(nodes_released, 0);
	for (int i = 0; i < EPOCH_CELLS; i++)
		alloc_free(epoch_cell[i]);
	epoch_free(stress_epoch);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

static struct counters stress_counters;

static void *counters_worker(void *arg)
{
	for (int i = 0; i < 100000; i++) {
		counters_add(&stress_counters, 3, 2);
		counters_add(&stress_counters, 9, (uint64_t)-1);
	}
	return arg;
}

START_TEST(test_counters_sum_is_exact_over_ended_threads)
{
	pthread_t thread[4];

	ck_assert_int_eq(counters_init(&stress_counters, 0), -EINVAL);
	ck_assert_int_eq(counters_init(&stress_counters, 10), 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 4; i++)
			ck_assert_int_eq(pthread_create(&thread[i], NULL, counters_worker, NULL),
					 0);
		for (int i = 0; i < 4; i++)
			pthread_join(thread[i], NULL);
	}
	ck_assert_uint_eq(counters_sum(&stress_counters, 3), 8 * 200000);
	ck_assert_int_eq((int64_t)counters_sum(&stress_counters, 9), -8 * 100000);
	ck_assert_uint_eq(counters_sum(&stress_counters, 0), 0);
	counters_destroy(&stress_counters);
}
END_TEST

START_TEST(test_histogram_buckets_cover_every_value_without_gaps)
{
	for (unsigned b = 0; b + 1 < HISTOGRAM_BUCKETS; b++) {
		ck_assert_uint_lt(histogram_lower(b), histogram_lower(b + 1));
		ck_assert_uint_eq(histogram_bucket(histogram_lower(b)), b);
		ck_assert_uint_eq(histogram_bucket(histogram_lower(b + 1) - 1), b);
	}
	ck_assert_uint_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}
END_TEST

START_TEST(test_histogram_quantiles_are_within_a_sixteenth)
{
	static struct histogram h, half, merged;

	ck_assert_uint_eq(histogram_quantile(&h, 0.5), 0);
	for (uint64_t v = 1; v <= 100000; v++) {
		histogram_record(&h, v * 37);
		histogram_record_owned(&half, v * 37);
	}
	for (int q = 1; q <= 100; q++) {
		double exact = q * 1000 * 37.0, got = (double)histogram_quantile(&h, q / 100.0);
		ck_assert_double_ge(got, exact * 0.999);
		ck_assert_double_le(got, exact * (1 + 1 / 16.0));
	}
	ck_assert_uint_eq(histogram_count(&h), 100000);
	ck_assert_uint_eq(histogram_max(&h), 3700000);
	ck_assert_double_eq_tol(histogram_mean(&h), 37 * 50000.5, 0.01);
	histogram_merge(&merged, &h);
	histogram_merge(&merged, &half);
	ck_assert_uint_eq(histogram_count(&merged), 200000);
	ck_assert_uint_eq(histogram_sum(&merged), 2 * histogram_sum(&h));
	ck_assert_uint_eq(histogram_max(&merged), 3700000);
}
END_TEST

struct boundaries {
	uint64_t upper[40], count[40];
	unsigned n;
};

static int boundary_note(void *arg, uint64_t upper, uint64_t count)
{
	struct boundaries *seen = arg;

	seen->upper[seen->n] = upper;
	seen->count[seen->n++] = count;
	return 0;
}

START_TEST(test_histogram_cumulative_iteration_counts_all)
{
	static struct histogram h;
	struct boundaries seen = {.n = 0};

	for (uint64_t v = 0; v < 4096; v++)
		histogram_record(&h, v);
	histogram_record(&h, UINT64_MAX);
	ck_assert_int_eq(histogram_each_cumulative(&h, 64, 1 << 20, boundary_note, &seen), 0);
	ck_assert_uint_eq(seen.n, 16);
	ck_assert_uint_eq(seen.count[0], 64);
	ck_assert_uint_eq(seen.count[5], 2048);
	ck_assert_uint_eq(seen.count[14], 4096);
	ck_assert_uint_eq(seen.upper[15], UINT64_MAX);
	ck_assert_uint_eq(seen.count[15], 4097);
}
END_TEST

UNIT_MAIN("lockfree", test_ring_is_first_in_first_out_and_bounded,
	  test_ring_stress_every_item_once_and_in_order,
	  test_epoch_keeps_a_node_while_a_reader_is_inside,
	  test_epoch_stress_no_reader_sees_a_released_node,
	  test_counters_sum_is_exact_over_ended_threads,
	  test_histogram_buckets_cover_every_value_without_gaps,
	  test_histogram_quantiles_are_within_a_sixteenth,
	  test_histogram_cumulative_iteration_counts_all)
