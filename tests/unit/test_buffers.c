/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of the reply buffers (pool/buffers.h) and the arena (pool/arena.h). */
#include "pool/alloc.h"
#include "pool/arena.h"
#include "pool/buffers.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static struct buffers *buffers_small(uint32_t limit)
{
	struct buffers_config config = {
		.tiers = 2,
		.tier = {{1024, 32, limit}, {4096, 32, limit}},
	};
	struct buffers *pool;

	ck_assert_int_eq(buffers_new(&config, &pool), 0);
	return pool;
}

START_TEST(test_buffers_default_tiers_fit_and_are_aligned)
{
	struct buffers_config config;
	struct buffers *pool;
	struct buffers_tier_stats stats[BUFFERS_TIERS_MAX];
	static const struct {
		size_t ask;
		uint32_t get;
	} cases[] = {{0, 1024},    {1, 1024},     {1024, 1024},  {1025, 4096},
		     {4096, 4096}, {4097, 16384}, {16384, 16384}};

	buffers_config_default(&config);
	ck_assert_int_eq(buffers_new(&config, &pool), 0);
	ck_assert_uint_eq(buffers_read_stats(pool, stats), 3);
	ck_assert_uint_eq(stats[0].total, 128);
	ck_assert_uint_eq(stats[1].total, 64);
	ck_assert_uint_eq(stats[2].total, 32);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buffer *buffer = buffers_get(pool, cases[i].ask);
		ck_assert_ptr_nonnull(buffer);
		ck_assert_uint_eq(buffer->size, cases[i].get);
		ck_assert_uint_eq((uintptr_t)buffer->data % 64, 0);
		memset(buffer->data, 0xa5, buffer->size);
		buffers_put(pool, buffer);
	}
	ck_assert_ptr_null(buffers_get(pool, 16385));
	ck_assert_int_eq(buffers_validate(pool, 0), 0);
	buffers_read_stats(pool, stats);
	for (int i = 0; i < 3; i++) /* memory overhead below 10 % */
		ck_assert_uint_lt(stats[i].bytes_overhead * 10, stats[i].bytes_data);
	buffers_free(pool);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_buffers_warm_gets_allocate_nothing)
{
	struct buffers_config config;
	struct buffers *pool;
	struct buffers_tier_stats stats[BUFFERS_TIERS_MAX];

	buffers_config_default(&config);
	ck_assert_int_eq(buffers_new(&config, &pool), 0);
	buffers_put(pool, buffers_get(pool, 1));
	uint64_t before = alloc_count_thread();
	for (int round = 0; round < 20000; round++) {
		struct buffer *held[24];
		for (int i = 0; i < 24; i++)
			held[i] = buffers_get(pool, 1000);
		for (int i = 0; i < 24; i++)
			buffers_put(pool, held[i]);
	}
	ck_assert_uint_eq(alloc_count_thread(), before);
	buffers_read_stats(pool, stats);
	ck_assert_uint_eq(stats[0].grown, 0);
	ck_assert_uint_eq(stats[0].hits_thread + stats[0].hits_central, stats[0].gets);
	ck_assert_uint_eq(stats[0].in_use, 0);
	buffers_free(pool);
}
END_TEST

START_TEST(test_buffers_grow_to_the_limit_spill_upwards_then_refuse_then_shrink)
{
	struct buffers *pool = buffers_small(64);
	struct buffer *held[128];
	struct buffers_tier_stats stats[BUFFERS_TIERS_MAX];

	for (int i = 0; i < 128; i++) {
		held[i] = buffers_get(pool, 1024);
		ck_assert_ptr_nonnull(held[i]);
		ck_assert_uint_eq(held[i]->size, i < 64 ? 1024 : 4096);
		memset(held[i]->data, i, held[i]->size);
	}
	ck_assert_ptr_null(buffers_get(pool, 1024));
	ck_assert_ptr_null(buffers_get(pool, 4096));
	ck_assert_int_eq(buffers_validate(pool, 128), 0);
	for (int i = 0; i < 128; i++) {
		for (uint32_t b = 0; b < held[i]->size; b++)
			ck_assert_uint_eq(held[i]->data[b], i);
		buffers_put(pool, held[i]);
	}
	buffers_read_stats(pool, stats);
	ck_assert_uint_eq(stats[0].total, 64);
	ck_assert_uint_eq(stats[0].high_water, 64);
	ck_assert_uint_gt(stats[0].refused, 0);

	/* the peak counts for its interval and the next one, then the surplus goes */
	ck_assert_uint_eq(buffers_shrink_idle(pool), 0);
	ck_assert_uint_eq(buffers_shrink_idle(pool), 0);
	ck_assert_uint_gt(buffers_shrink_idle(pool), 32 * (1024 + 4096));
	buffers_read_stats(pool, stats);
	ck_assert_uint_eq(stats[0].total, 32);
	ck_assert_uint_eq(stats[1].total, 32);
	ck_assert_uint_eq(stats[0].shrunk, 1);
	ck_assert_int_eq(buffers_validate(pool, 0), 0);
	for (int i = 0; i < 64; i++)
		ck_assert_ptr_nonnull(held[i] = buffers_get(pool, 1024));
	for (int i = 0; i < 64; i++)
		buffers_put(pool, held[i]);
	buffers_free(pool);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_buffers_vector_is_all_or_nothing)
{
	struct buffers *pool = buffers_small(32);
	struct buffer *out[80];

	ck_assert_int_eq(buffers_get_vector(pool, 0, out, 4), -EINVAL);
	ck_assert_int_eq(buffers_get_vector(pool, 4 * 4096 + 1, out, 4), -EINVAL);
	ck_assert_int_eq(buffers_get_vector(pool, 3 * 4096 + 10, out, 4), 4);
	ck_assert_uint_eq(out[0]->size, 4096);
	ck_assert_uint_eq(out[3]->size, 1024);
	for (int i = 0; i < 4; i++)
		buffers_put(pool, out[i]);
	ck_assert_int_eq(buffers_get_vector(pool, 33 * 4096, out, 80), -ENOBUFS);
	ck_assert_int_eq(buffers_validate(pool, 0), 0);
	buffers_free(pool);
}
END_TEST

START_TEST(test_buffers_survive_no_memory_and_bad_configs)
{
	struct buffers *pool;
	struct buffers_config config;

	buffers_config_default(&config);
	for (int nth = 1; nth <= 12; nth++) {
		alloc_fail_arm(nth, 0);
		ck_assert_int_eq(buffers_new(&config, &pool), -ENOMEM);
		alloc_fail_arm(0, 0);
		ck_assert_int_eq(alloc_count_live(), 0);
	}
	config.tier[1].size = 1000;
	ck_assert_int_eq(buffers_new(&config, &pool), -EINVAL);
	config.tier[1].size = 1024;
	ck_assert_int_eq(buffers_new(&config, &pool), -EINVAL);
	config.tiers = 0;
	ck_assert_int_eq(buffers_new(&config, &pool), -EINVAL);

	pool = buffers_small(64);
	struct buffer *held[64];
	alloc_fail_arm(1, 1); /* no cache, no growth: what is there is still handed out */
	for (int i = 0; i < 64; i++)
		ck_assert_ptr_nonnull(held[i] = buffers_get(pool, 1));
	ck_assert_ptr_null(buffers_get(pool, 1));
	alloc_fail_arm(0, 0);
	for (int i = 0; i < 64; i++)
		buffers_put(pool, held[i]);
	ck_assert_int_eq(buffers_validate(pool, 0), 0);
	buffers_free(pool);
}
END_TEST

enum { STRESS_THREADS = 4, STRESS_ROUNDS = 30000, STRESS_CELLS = 96 };
static struct buffers *stress_pool;
static _Atomic(struct buffer *) stress_cell[STRESS_CELLS];
static _Atomic int stress_broken, stress_ended;

static void *stress_worker(void *arg)
{
	uint64_t random = (uintptr_t)&random | 1;

	for (int i = 0; i < STRESS_ROUNDS; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		struct buffer *mine = buffers_get(stress_pool, random >> 52);
		if (mine) {
			memcpy(mine->data, &random, sizeof(random));
			memcpy(mine->data + mine->size - sizeof(random), &random, sizeof(random));
		}
		/* acq_rel: hands `mine` over to whoever takes it out, and takes over the other */
		struct buffer *other = atomic_exchange_explicit(
			&stress_cell[(random >> 33) % STRESS_CELLS], mine, memory_order_acq_rel);
		if (other &&
		    memcmp(other->data, other->data + other->size - sizeof(random), sizeof(random)))
			atomic_store_explicit(&stress_broken, 1, memory_order_relaxed);
		buffers_put(stress_pool, other);
	}
	atomic_fetch_add_explicit(&stress_ended, 1, memory_order_release);
	return arg;
}

START_TEST(test_buffers_stress_with_a_shrinker_keeps_every_buffer_once)
{
	pthread_t thread[STRESS_THREADS];
	uint64_t held = 0;

	/* fewer buffers than the cells and the caches would hold: threads at the limit empty the
	 * caches of others all the time */
	stress_pool = buffers_small(64);
	for (int i = 0; i < STRESS_THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, stress_worker, NULL), 0);
	while (atomic_load_explicit(&stress_ended, memory_order_acquire) < STRESS_THREADS)
		buffers_shrink_idle(stress_pool);
	for (int i = 0; i < STRESS_THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_int_eq(stress_broken, 0);
	for (int i = 0; i < STRESS_CELLS; i++)
		held += stress_cell[i] != NULL;
	ck_assert_int_eq(buffers_validate(stress_pool, held), 0);
	buffers_free(stress_pool);
}
END_TEST

START_TEST(test_arena_resets_merges_and_stops_allocating)
{
	struct arena arena;

	ck_assert_int_eq(arena_init(&arena, 4096, 1 << 20), 0);
	for (int round = 0; round < 3; round++) {
		uint64_t before = alloc_count_thread();
		unsigned char *piece[100];
		for (int i = 0; i < 100; i++) {
			piece[i] = arena_get(&arena, 1000);
			ck_assert_ptr_nonnull(piece[i]);
			ck_assert_uint_eq((uintptr_t)piece[i] % 16, 0);
			memset(piece[i], i, 1000);
		}
		for (int i = 0; i < 100; i++)
			ck_assert(piece[i][0] == i && piece[i][999] == i);
		ck_assert_uint_ge(arena_used(&arena), 100000);
		arena_reset(&arena);
		ck_assert_uint_eq(arena_used(&arena), 0);
		if (round)
			ck_assert_uint_eq(alloc_count_thread(), before);
		else
			ck_assert_uint_gt(alloc_count_thread(), before);
	}
	ck_assert_uint_eq((uintptr_t)arena_get_aligned(&arena, 100, 4096) % 4096, 0);
	arena_destroy(&arena);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_arena_is_bounded_and_rewinds)
{
	struct arena arena;

	ck_assert_int_eq(arena_init(&arena, 0, 10), -EINVAL);
	ck_assert_int_eq(arena_init(&arena, 1024, 16384), 0);
	ck_assert_ptr_null(arena_get(&arena, 20000));
	ck_assert_ptr_null(arena_get(&arena, SIZE_MAX - 8));
	ck_assert_ptr_nonnull(arena_get(&arena, 512));
	struct arena_mark mark = arena_get_mark(&arena);
	size_t used = arena_used(&arena);
	ck_assert_ptr_nonnull(arena_get(&arena, 8000));
	ck_assert_ptr_null(arena_get(&arena, 16000));
	ck_assert_uint_eq(arena.refused, 3);
	arena_rewind(&arena, mark);
	ck_assert_uint_eq(arena_used(&arena), used);
	/* a failing merge keeps the main block */
	ck_assert_ptr_nonnull(arena_get(&arena, 8000));
	alloc_fail_arm(1, 1);
	arena_reset(&arena);
	ck_assert_ptr_nonnull(arena_get(&arena, 512));
	ck_assert_ptr_null(arena_get(&arena, 8000));
	alloc_fail_arm(0, 0);
	arena_destroy(&arena);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

static void *arena_user(void *arg)
{
	*(struct arena **)arg = arena_of_thread();
	return arena_get(*(struct arena **)arg, 100);
}

START_TEST(test_arena_of_thread_is_own_and_ends_with_the_thread)
{
	struct arena *mine = arena_of_thread(), *theirs = NULL;
	int64_t live = alloc_count_live();
	pthread_t thread;

	ck_assert_ptr_nonnull(mine);
	ck_assert_ptr_eq(mine, arena_of_thread());
	ck_assert_int_eq(pthread_create(&thread, NULL, arena_user, &theirs), 0);
	pthread_join(thread, NULL);
	ck_assert_ptr_nonnull(theirs);
	ck_assert_ptr_ne(mine, theirs);
	ck_assert_int_eq(alloc_count_live(), live);
}
END_TEST

UNIT_MAIN("buffers", test_buffers_default_tiers_fit_and_are_aligned,
	  test_buffers_warm_gets_allocate_nothing,
	  test_buffers_grow_to_the_limit_spill_upwards_then_refuse_then_shrink,
	  test_buffers_vector_is_all_or_nothing, test_buffers_survive_no_memory_and_bad_configs,
	  test_buffers_stress_with_a_shrinker_keeps_every_buffer_once,
	  test_arena_resets_merges_and_stops_allocating, test_arena_is_bounded_and_rewinds,
	  test_arena_of_thread_is_own_and_ends_with_the_thread)
