/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   many threads on few keys: get, put, compare-and-swap and delete are linearizable,
 *            whatever durability each has, with checkpoints, packing, scans and views going on
 *            beside them in a tiny arena.
 * How:       rounds of a few operations for each thread. Every operation notes a ticket before and
 *            after; behind the round, an order that fits both the tickets and all results is
 *            searched for each key. What the store holds after closing and opening has to be the
 *            last state.
 * Counts:    60,000 operations; MNEME_LONG=1: 10,000,000.
 */
#include "core/store/checkpoint.h"
#include "core/store/store.h"
#include "pool/check.h"
#include "tests/crash/history.h"
#include "tests/tier.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { THREADS = 4, ROUND_OPS = 3, KEYS = 2, ROUNDS_A_STORE = 1500, VALUE_MOST = 8192 };

enum call_kind { CALL_GET, CALL_PUT, CALL_SWAP, CALL_DELETE };

struct call {
	enum call_kind kind;
	uint32_t key;
	uint64_t put, expected; /* ids of values; 0: no value */
	uint64_t seen;          /* by a get */
	int rc;
	uint64_t begin, end; /* tickets */
};

static struct mneme *m;
static struct call calls[THREADS][ROUND_OPS];
static uint64_t states[KEYS];
static _Atomic uint64_t ticket, next_id, looked, packed;
static _Atomic int stop, store_ends;
static pthread_barrier_t begin_round, end_round;

/* Values tell their id, and are long, so long that the log only names them, or short by it. */
static size_t value_make(uint64_t id, uint64_t *words)
{
	size_t length = id % 5 == 0 ? 1000 + id % 2000 : 16 + id % 64;

	if (id % 5 == 1)
		length = VALUE_MOST;
	length &= ~7ull;
	for (size_t i = 0; i < length / 8; i++)
		words[i] = id + i;
	return length;
}

/* The id of a value, or ~0 for one that nobody wrote. */
static uint64_t value_id(const void *value, size_t length)
{
	uint64_t expected[VALUE_MOST / 8 + 1], id;

	if (length < 8 || length > VALUE_MOST)
		return ~0ull;
	memcpy(&id, value, 8);
	return value_make(id, expected) == length && !memcmp(expected, value, length) ? id : ~0ull;
}

static void call_run(struct call *c, enum mneme_durability durability)
{
	uint64_t value[VALUE_MOST / 8 + 1], expected[VALUE_MOST / 8 + 1];
	struct model_key k;
	size_t length;

	model_key(c->key * MODEL_KEYS, &k);
	size_t put = value_make(c->put, value), old = value_make(c->expected, expected);
	c->begin = atomic_fetch_add(&ticket, 1);
	switch (c->kind) {
	case CALL_GET:
		c->rc = mneme_get(m, &k.key, value, sizeof value, &length);
		break;
	case CALL_PUT:
		c->rc = mneme_put(m, &k.key, value, put, durability);
		break;
	case CALL_SWAP:
		c->rc = mneme_compare_and_swap(m, &k.key, c->expected ? expected : NULL, old, value,
					       put, durability);
		break;
	case CALL_DELETE:
		c->rc = mneme_delete(m, &k.key, durability);
		break;
	}
	c->end = atomic_fetch_add(&ticket, 1);
	if (c->kind == CALL_GET)
		c->seen = c->rc == 0 ? value_id(value, length) : 0;
}

static void *caller_main(void *arg)
{
	uint64_t number = (uintptr_t)arg, random = tier_seed() + number, last[KEYS] = {0};

	for (;;) {
		pthread_barrier_wait(&begin_round);
		if (atomic_load(&stop))
			return NULL;
		for (int i = 0; i < ROUND_OPS; i++) {
			struct call *c = &calls[number][i];
			uint64_t r = random_next(&random);
			*c = (struct call){.kind = r % 4, .key = r >> 8 & 1};
			c->put = atomic_fetch_add(&next_id, 1);
			c->expected = last[c->key];
			call_run(c, MNEME_DURABILITY_MEMORY + (r >> 16) % 16 / 7);
			if (c->kind == CALL_GET)
				last[c->key] = c->seen;
			else if (c->rc == 0)
				last[c->key] = c->kind == CALL_DELETE ? 0 : c->put;
		}
		pthread_barrier_wait(&end_round);
	}
}

/* ---- is there an order? ---- */

/* Applies a call to a state: 1 if its result fits. */
static int call_fits(const struct call *c, uint64_t *state)
{
	switch (c->kind) {
	case CALL_GET:
		return c->rc == (*state ? 0 : -ENOENT) && c->seen == *state;
	case CALL_PUT:
		*state = c->put;
		return c->rc == 0;
	case CALL_SWAP:
		if (c->rc == -ESTALE)
			return *state != c->expected;
		if (c->rc || *state != c->expected)
			return 0;
		*state = c->put;
		return 1;
	default:
		if (c->rc != (*state ? 0 : -ENOENT))
			return 0;
		*state = 0;
		return 1;
	}
}

/* Tries every call that may come next; `done` has a bit for each call that came. Depth is bounded
 * by the calls of a round. */
static int order_exists(struct call *const *list, uint32_t count, uint32_t done, uint64_t state,
			uint64_t last)
{
	uint64_t first_end = ~0ull;

	if (done == (1u << count) - 1)
		return state == last;
	for (uint32_t i = 0; i < count; i++)
		if (!(done >> i & 1) && list[i]->end < first_end)
			first_end = list[i]->end;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t after = state;
		if (!(done >> i & 1) && list[i]->begin < first_end && call_fits(list[i], &after) &&
		    order_exists(list, count, done | 1u << i, after, last))
			return 1;
	}
	return 0;
}

static uint64_t state_of(uint32_t key)
{
	uint64_t value[VALUE_MOST / 8 + 1];
	struct model_key k;
	size_t length;

	model_key(key * MODEL_KEYS, &k);
	int rc = mneme_get(m, &k.key, value, sizeof value, &length);
	ck_assert(rc == 0 || rc == -ENOENT);
	return rc == 0 ? value_id(value, length) : 0;
}

static void check_round(void)
{
	for (uint32_t key = 0; key < KEYS; key++) {
		struct call *list[THREADS * ROUND_OPS];
		uint32_t count = 0;
		for (int t = 0; t < THREADS; t++)
			for (int i = 0; i < ROUND_OPS; i++)
				if (calls[t][i].key == key)
					list[count++] = &calls[t][i];
		uint64_t last = state_of(key);
		if (!order_exists(list, count, 0, states[key], last)) {
			printf("key %u: %llu before, %llu after\n", key,
			       (unsigned long long)states[key], (unsigned long long)last);
			for (uint32_t i = 0; i < count; i++)
				printf("  %llu..%llu kind %d put %llu expected %llu: %d, saw "
				       "%llu\n",
				       (unsigned long long)list[i]->begin,
				       (unsigned long long)list[i]->end, list[i]->kind,
				       (unsigned long long)list[i]->put,
				       (unsigned long long)list[i]->expected, list[i]->rc,
				       (unsigned long long)list[i]->seen);
			ck_abort_msg("no order of the calls explains their results");
		}
		states[key] = last;
	}
}

/* ---- beside them ---- */

static int look_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	(void)arg;
	(void)key;
	return value_id(value, length) == ~0ull ? -EBADMSG : 0;
}

/* A long value of a key that nobody else changes: it comes to rest and is packed. */
static void put_resting(uint64_t *random)
{
	uint64_t value[VALUE_MOST / 8 + 1];
	struct model_key k;

	model_key(random_below(random, MODEL_SHARDS) * MODEL_KEYS + 1 + random_below(random, 20),
		  &k);
	size_t length = value_make(5 * (1 + random_below(random, 1000)), value);
	CHECK(mneme_put(m, &k.key, value, length, MNEME_DURABILITY_BUFFERED) == 0);
}

/* Scans, views, checkpoints and syncs until the store is to be closed. */
static void *looker_main(void *arg)
{
	uint64_t random = 5;

	(void)arg;
	while (!atomic_load(&store_ends)) {
		uint32_t shard = random_below(&random, MODEL_SHARDS);
		struct mneme_key first = {.inode = shard};
		struct mneme_key last = {.inode = ~0ull - 1 + shard, .type = 0xff};
		struct model_key k;
		const void *value;
		size_t length;
		CHECK(mneme_scan(m, &first, &last, 0, look_each, NULL) == 0);
		model_key(shard * MODEL_KEYS, &k);
		mneme_view_begin(m, k.key.inode);
		int rc = mneme_view_get(m, &k.key, &value, &length);
		CHECK(rc == -ENOENT || (rc == 0 && value_id(value, length) != ~0ull));
		mneme_view_end(m, k.key.inode);
		if (random_below(&random, 20) == 0)
			CHECK(mneme_checkpoint(m) == 0);
		if (random_below(&random, 4) == 0)
			CHECK(checkpoint_spill(m) == 0);
		if (random_below(&random, 20) == 0)
			CHECK(mneme_sync(m) == 0);
		if (random_below(&random, 20) == 0)
			put_resting(&random);
		atomic_fetch_add(&looked, 1);
	}
	return NULL;
}

/* ---- stores ---- */

/* Each second one with so small a map that leaves and values are read by copying. */
static void store_begin(struct sim *disk)
{
	static unsigned stores;
	struct mneme_options options = {.dirty_bytes_max = 4 << 20,
					.mapped_bytes_max = ++stores & 1,
					.flush_ms = 1,
					.checkpoint_ms = 20};
	struct store_tuning tuning = {.heap_reserve = 64 << 20, .run_least = VALUE_MOST};
	struct io *io;

	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_int_eq(store_open(io, &options, &tuning, &m, NULL), 0);
	ck_assert_int_eq(history_adopt(m), 0);
}

static void one_store(uint64_t rounds)
{
	struct sim *disk, *settled;
	struct mneme_stats stats;
	pthread_t looker;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	store_begin(disk);
	memset(states, 0, sizeof states);
	atomic_store(&store_ends, 0);
	ck_assert_int_eq(pthread_create(&looker, NULL, looker_main, NULL), 0);
	for (uint64_t r = 0; r < rounds; r++) {
		pthread_barrier_wait(&begin_round);
		pthread_barrier_wait(&end_round);
		check_round();
	}
	atomic_store(&store_ends, 1);
	pthread_join(looker, NULL);
	mneme_get_stats(m, &stats);
	atomic_fetch_add(&packed, stats.packed_values);
	ck_assert_int_eq(mneme_close(m), 0);
	settled = disk_settled(disk);
	sim_free(disk);
	store_begin(settled);
	for (uint32_t key = 0; key < KEYS; key++)
		ck_assert_uint_eq(state_of(key), states[key]);
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(settled);
}

START_TEST(test_store_threads_calls_are_linearizable)
{
	uint64_t rounds = tier_count(9000, 60000, 10000000) / (THREADS * ROUND_OPS);
	pthread_t threads[THREADS];

	atomic_store(&next_id, 1);
	pthread_barrier_init(&begin_round, NULL, THREADS + 1);
	pthread_barrier_init(&end_round, NULL, THREADS + 1);
	for (uintptr_t t = 0; t < THREADS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, caller_main, (void *)t), 0);
	for (uint64_t done = 0; done <= rounds; done += ROUNDS_A_STORE)
		one_store(ROUNDS_A_STORE);
	atomic_store(&stop, 1);
	pthread_barrier_wait(&begin_round);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	printf("%llu calls in order, %llu looks and %llu packed values beside them\n",
	       (unsigned long long)atomic_load(&next_id), (unsigned long long)atomic_load(&looked),
	       (unsigned long long)atomic_load(&packed));
	ck_assert_uint_gt(atomic_load(&looked), 0);
}
END_TEST

/* ---- sixteen threads want one key ---- */

enum { CROWD = 16 };

static _Atomic uint64_t worst_wait_ns;

static int count_up(struct mneme_txn *txn, void *arg)
{
	struct model_key k;
	uint64_t count = 0;
	size_t length;

	(void)arg;
	model_key(0, &k);
	int rc = mneme_txn_get(txn, &k.key, &count, sizeof count, &length);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	count++;
	return mneme_txn_put(txn, &k.key, &count, sizeof count);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void *crowd_main(void *arg)
{
	for (uintptr_t i = 0; i < (uintptr_t)arg; i++) {
		uint64_t begin = now_ns();
		CHECK(mneme_txn_run(m, count_up, NULL, MNEME_DURABILITY_BUFFERED) == 0);
		uint64_t wait = now_ns() - begin, worst = atomic_load(&worst_wait_ns);
		while (wait > worst && !atomic_compare_exchange_weak(&worst_wait_ns, &worst, wait))
			;
	}
	return NULL;
}

START_TEST(test_store_threads_every_one_of_a_crowd_finishes)
{
	uint64_t each = tier_count(100, 500, 20000), count = 0;
	pthread_t threads[CROWD];
	struct sim *disk;
	struct model_key k;
	size_t length;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	store_begin(disk);
	for (int t = 0; t < CROWD; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, crowd_main, (void *)each), 0);
	for (int t = 0; t < CROWD; t++)
		pthread_join(threads[t], NULL);
	model_key(0, &k);
	ck_assert_int_eq(mneme_get(m, &k.key, &count, sizeof count, &length), 0);
	ck_assert_uint_eq(count, CROWD * each);
	printf("16 threads on one key: worst wait %.1f ms\n",
	       (double)atomic_load(&worst_wait_ns) / 1e6);
	ck_assert_uint_lt(atomic_load(&worst_wait_ns), 5000000000ull);
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
}
END_TEST

UNIT_MAIN("store_threads", test_store_threads_calls_are_linearizable,
	  test_store_threads_every_one_of_a_crowd_finishes)
