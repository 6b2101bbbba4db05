/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the engine against a model: every operation, with checkpoints and reopening in between,
 *            must leave the same keys and bytes as an array does.
 */
#include "core/mneme.h"
#include "core/store/checkpoint.h"
#include "core/store/io_sim.h"
#include "core/store/store.h"
#include "pool/alloc.h"
#include "tests/tier.h"
#include "tests/unit/unit.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEYS = 600, SHARDS = 2, VALUE_MOST = 20000 };

/* The model: key i is (inode i % 3 .., type, sub), value bytes or absent. */
struct model_key {
	uint8_t *value;
	size_t length;
	int there;
};

struct world {
	struct sim *sim;
	struct mneme *m;
	uint64_t mapped; /* bytes of the heap that may be; 0: the default, more than there is */
	struct model_key keys[KEYS];
	uint64_t random;
	uint8_t bytes[MNEME_VALUE_MAX];
};

static const struct store_tuning tuning = {.heap_reserve = 256 << 20, .no_threads = 1};

static uint64_t world_random(struct world *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static struct mneme_key key_of(unsigned i, char sub[32])
{
	/* Some keys are long, so that inner pages split too. */
	int n = snprintf(sub, 32, i % 5 ? "k%05u" : "a-longer-key-with-a-tail-%05u", i);

	return (struct mneme_key){
		.inode = 16 + i % 3, .type = MNEME_TYPE_USER + i % 2, .sub = sub, .sub_length = n};
}

static void world_open(struct world *w)
{
	struct mneme_options options = {.dirty_bytes_max = 4 << 20, .mapped_bytes_max = w->mapped};
	struct mneme_error error = {""};
	struct io *io;

	ck_assert_int_eq(sim_io_new(w->sim, &io), 0);
	int rc = store_open(io, &options, &tuning, &w->m, &error);
	ck_assert_msg(rc == 0, "%d %s", rc, error.message);
}

static struct world *world_new(uint64_t seed, enum mneme_compression compression)
{
	struct mneme_create_options create = {
		.shards = SHARDS, .segment_bytes = 65536, .compression = compression};
	struct world *w = calloc(1, sizeof *w);
	struct io *io;

	w->random = seed * 2654435761u + 1;
	w->mapped = seed & 1;
	ck_assert_int_eq(sim_new(&w->sim), 0);
	ck_assert_int_eq(sim_io_new(w->sim, &io), 0);
	ck_assert_int_eq(store_create(io, &create, NULL), 0);
	io->ops->destroy(io);
	world_open(w);
	return w;
}

static void world_free(struct world *w)
{
	ck_assert_int_eq(mneme_close(w->m), 0);
	sim_free(w->sim);
	for (int i = 0; i < KEYS; i++)
		free(w->keys[i].value);
	free(w);
}

static void model_resize(struct model_key *k, size_t length)
{
	k->value = realloc(k->value, length + 1);
	if (length > k->length || !k->there)
		memset(k->value + (k->there ? k->length : 0), 0,
		       length - (k->there ? k->length : 0));
	k->length = length;
	k->there = 1;
}

static size_t length_some(struct world *w)
{
	switch (world_random(w) % 4) {
	case 0:
		return world_random(w) % 40;
	case 1:
		return world_random(w) % 1200;
	case 2:
		return world_random(w) % VALUE_MOST;
	default:
		return 200;
	}
}

static void bytes_fill(struct world *w, size_t length)
{
	uint8_t with = world_random(w);

	for (size_t i = 0; i < length; i++)
		w->bytes[i] = with + i / 16;
}

/* One change of one key inside a transaction, and of the model. */
static void change(struct world *w, struct mneme_txn *txn, unsigned i)
{
	char sub[32];
	struct mneme_key key = key_of(i, sub);
	struct model_key *k = &w->keys[i];
	size_t length = length_some(w), offset = world_random(w) % 3000;
	static uint8_t patches[64][MNEME_VALUE_MAX];
	static unsigned patch_at;

	bytes_fill(w, length);
	switch (world_random(w) % 6) {
	case 0:
		ck_assert_int_eq(mneme_txn_delete(txn, &key), 0);
		k->there = 0;
		k->length = 0;
		break;
	case 1: {
		uint8_t *stays = patches[patch_at++ % 64];
		memcpy(stays, w->bytes, length);
		ck_assert_int_eq(mneme_txn_patch_borrowed(txn, &key, offset, stays, length), 0);
		if (!k->there || k->length < offset + length)
			model_resize(k, offset + length);
		memcpy(k->value + offset, w->bytes, length);
		break;
	}
	case 2:
		ck_assert_int_eq(mneme_txn_truncate(txn, &key, offset), 0);
		if (k->there && k->length > offset)
			k->length = offset;
		break;
	default:
		ck_assert_int_eq(mneme_txn_put(txn, &key, w->bytes, length), 0);
		model_resize(k, length);
		memcpy(k->value, w->bytes, length);
	}
}

static void key_compare(struct world *w, unsigned i)
{
	char sub[32];
	struct mneme_key key = key_of(i, sub);
	size_t length = 0;
	int rc = mneme_get(w->m, &key, w->bytes, sizeof w->bytes, &length);

	ck_assert_int_eq(rc, w->keys[i].there ? 0 : -ENOENT);
	if (rc == 0) {
		ck_assert_uint_eq(length, w->keys[i].length);
		ck_assert_int_eq(memcmp(w->bytes, w->keys[i].value, length), 0);
	}
}

struct counted {
	uint64_t keys;
	struct mneme_key last;
	char sub[64];
};

static int count_ordered(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct counted *c = arg;

	(void)value;
	(void)length;
	if (c->keys && c->last.inode == key->inode && c->last.type == key->type) {
		size_t common =
			c->last.sub_length < key->sub_length ? c->last.sub_length : key->sub_length;
		int order = memcmp(c->sub, key->sub, common);
		ck_assert(order < 0 || (order == 0 && c->last.sub_length < key->sub_length));
	}
	c->last = *key;
	memcpy(c->sub, key->sub, key->sub_length);
	c->keys++;
	return 0;
}

static void world_compare(struct world *w)
{
	uint64_t there = 0;
	struct counted c = {0};

	for (unsigned i = 0; i < KEYS; i++) {
		key_compare(w, i);
		there += w->keys[i].there;
	}
	for (uint64_t inode = 16; inode < 16 + SHARDS; inode++) {
		struct mneme_key first = {.inode = inode}, last = {.inode = 1000};
		ck_assert_int_eq(mneme_scan(w->m, &first, &last, 0, count_ordered, &c), 0);
	}
	ck_assert_uint_eq(c.keys, there);
}

static void range_remove(struct world *w)
{
	unsigned a = world_random(w) % KEYS, b = a + world_random(w) % 120;
	char sub_a[32], sub_b[32];
	struct mneme_key first = key_of(a, sub_a), last;
	struct mneme_txn *txn;

	last = key_of(b, sub_b);
	last.inode = first.inode;
	last.type = first.type;
	ck_assert_int_eq(mneme_txn_begin(w->m, 0, &txn), 0);
	ck_assert_int_eq(mneme_txn_delete_range(txn, &first, &last), 0);
	for (unsigned i = 0; i < KEYS; i++) {
		char sub[32];
		struct mneme_key k = key_of(i, sub);
		if (k.inode == first.inode && k.type == first.type && strcmp(sub, sub_a) >= 0 &&
		    strcmp(sub, sub_b) < 0)
			w->keys[i].there = 0, w->keys[i].length = 0;
	}
	ck_assert_int_eq(mneme_txn_commit(txn, 0), 0);
}

static void world_run(struct world *w, int steps)
{
	for (int step = 0; step < steps; step++) {
		struct mneme_txn *txn;
		unsigned changes = world_random(w) % 10 == 0 ? 30 : 1 + world_random(w) % 3;
		ck_assert_int_eq(mneme_txn_begin(w->m, 0, &txn), 0);
		for (unsigned n = 0; n < changes; n++)
			change(w, txn, world_random(w) % KEYS);
		int rc = mneme_txn_commit(txn, 1 + world_random(w) % 3);
		ck_assert_int_eq(rc, 0);
		key_compare(w, world_random(w) % KEYS);
		if (world_random(w) % 50 == 0)
			ck_assert_int_eq(checkpoint_spill(w->m), 0);
		switch (world_random(w) % 200) {
		case 0:
			ck_assert_int_eq(mneme_checkpoint(w->m), 0);
			break;
		case 1:
			ck_assert_int_eq(mneme_close(w->m), 0);
			world_open(w);
			break;
		case 2:
			ck_assert_int_eq(mneme_sync(w->m), 0);
			store_abandon(w->m);
			world_open(w);
			break;
		case 3:
			range_remove(w);
			break;
		case 4:
			world_compare(w);
			break;
		}
	}
	world_compare(w);
}

START_TEST(test_engine_equals_a_model_over_random_operations)
{
	struct world *w = world_new(_i + 1, _i % 2);

	world_run(w, 4000);
	world_free(w);
}
END_TEST

START_TEST(test_engine_gives_space_back_after_everything_is_deleted)
{
	struct world *w = world_new(7, 0);
	struct mneme_stats before, after;
	char sub[32];

	ck_assert_int_eq(mneme_checkpoint(w->m), 0);
	mneme_get_stats(w->m, &before);
	for (int round = 0; round < 5; round++) {
		for (unsigned i = 0; i < KEYS; i++) {
			struct mneme_key key = key_of(i, sub);
			bytes_fill(w, 5000);
			ck_assert_int_eq(mneme_put(w->m, &key, w->bytes, 5000, 0), 0);
		}
		ck_assert_int_eq(mneme_checkpoint(w->m), 0);
		for (unsigned i = 0; i < KEYS; i++) {
			struct mneme_key key = key_of(i, sub);
			ck_assert_int_eq(mneme_delete(w->m, &key, 0), 0);
		}
		ck_assert_int_eq(mneme_checkpoint(w->m), 0);
	}
	mneme_get_stats(w->m, &after);
	uint64_t used_before = before.heap_bytes - before.heap_free_bytes;
	uint64_t used_after = after.heap_bytes - after.heap_free_bytes;
	ck_assert_uint_le(used_after, used_before + 64 * 4096);
	world_free(w);
}
END_TEST

/* A full leaf, a cell of the largest size put behind one of the largest size just below its middle: the
 * left half had no room for both. Every place and many sizes of the cells before it. */
START_TEST(test_a_full_leaf_splits_beside_two_large_cells)
{
	enum { LARGE = FMT_CELL_MAX - 2 - FMT_KEY_HEAD - 2, OVERHEAD = 2 + FMT_KEY_HEAD + 2 + 8 };
	static const uint8_t bytes[LARGE];

	for (unsigned small = 20; small < 500; small += 7)
		for (unsigned large = 0; large < 8; large++) {
			struct world *w = world_new(1, 0);
			unsigned room = FMT_PAGE_SIZE - sizeof(struct fmt_page), i = 0;
			uint8_t sub[2] = {0, 0};
			struct mneme_key key = {
				.inode = 16, .type = MNEME_TYPE_USER, .sub = sub, .sub_length = 2};
			for (; room > OVERHEAD; i++) {
				unsigned length = i == large ? LARGE : small;
				if (length > room - OVERHEAD)
					length = room - OVERHEAD;
				sub[0] = i;
				room -= length + OVERHEAD;
				ck_assert_int_eq(mneme_put(w->m, &key, bytes, length, 0), 0);
			}
			sub[0] = large;
			sub[1] = 1;
			ck_assert_int_eq(mneme_put(w->m, &key, bytes, LARGE, 0), 0);
			world_free(w);
		}
}
END_TEST

START_TEST(test_txn_conflict_is_found_and_nothing_is_applied)
{
	struct world *w = world_new(9, 0);
	char sub[32], other_sub[32];
	struct mneme_key key = key_of(1, sub), other = key_of(2, other_sub);
	struct mneme_txn *txn;
	size_t length;
	char value[16];

	ck_assert_int_eq(mneme_txn_begin(w->m, 0, &txn), 0);
	ck_assert_int_eq(mneme_txn_get(txn, &key, value, sizeof value, &length), -ENOENT);
	ck_assert_int_eq(mneme_txn_put(txn, &other, "x", 1), 0);
	ck_assert_int_eq(mneme_put(w->m, &key, "in between", 10, 0), 0);
	ck_assert_int_eq(mneme_txn_commit(txn, 0), -EAGAIN);
	ck_assert_int_eq(mneme_get(w->m, &other, value, sizeof value, &length), -ENOENT);
	mneme_delete(w->m, &key, 0);
	world_free(w);
}
END_TEST

static int count_up(struct mneme_txn *txn, void *arg)
{
	struct mneme_key key = {.inode = 20, .type = MNEME_TYPE_USER};
	uint64_t n = 0;
	size_t length;
	int rc = mneme_txn_get(txn, &key, &n, sizeof n, &length);

	(void)arg;
	if (rc < 0 && rc != -ENOENT)
		return rc;
	n++;
	return mneme_txn_put(txn, &key, &n, sizeof n);
}

enum { COUNT_THREADS = 16, COUNT_ROUNDS = 300 };

static void *count_thread(void *arg)
{
	struct world *w = arg;

	for (int i = 0; i < COUNT_ROUNDS; i++)
		ck_assert_int_eq(mneme_txn_run(w->m, count_up, NULL, 0), 0);
	return NULL;
}

START_TEST(test_txn_run_lets_every_thread_finish_on_one_key)
{
	struct world *w = world_new(11, 0);
	struct mneme_key key = {.inode = 20, .type = MNEME_TYPE_USER};
	pthread_t threads[COUNT_THREADS];
	uint64_t n;
	size_t length;

	for (int i = 0; i < COUNT_THREADS; i++)
		pthread_create(&threads[i], NULL, count_thread, w);
	for (int i = 0; i < COUNT_THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(mneme_get(w->m, &key, &n, sizeof n, &length), 0);
	ck_assert_uint_eq(n, COUNT_THREADS * COUNT_ROUNDS);
	world_free(w);
}
END_TEST

static int event_count(void *arg, const struct mneme_log_event *event)
{
	uint64_t *expected = arg;

	ck_assert_uint_eq(event->sequence, *expected);
	++*expected;
	return 0;
}

START_TEST(test_log_verifies_and_finds_a_changed_event)
{
	struct world *w = world_new(13, 0);
	uint64_t sequence, count, bad = 0, expected = 40;

	for (int i = 1; i <= 100; i++) {
		ck_assert_int_eq(mneme_log_append(w->m, "run", 3, &i, sizeof i, &sequence, 0), 0);
		ck_assert_uint_eq(sequence, i);
	}
	ck_assert_int_eq(mneme_log_verify(w->m, "run", 3, &count, &bad), 0);
	ck_assert_uint_eq(count, 100);
	ck_assert_int_eq(mneme_log_replay(w->m, "run", 3, 40, event_count, &expected), 0);
	ck_assert_uint_eq(expected, 101);
	ck_assert_int_eq(mneme_log_verify(w->m, "none", 4, &count, &bad), -ENOENT);
	/* Change event 50 behind the log's back. */
	uint8_t sub[12] = {3, 'r', 'u', 'n', 0, 0, 0, 0, 0, 0, 0, 50}, value[256];
	size_t length;
	struct mneme_key key = {.type = MNEME_TYPE_LOG, .sub = sub, .sub_length = sizeof sub};
	for (key.inode = 0; key.inode < SHARDS; key.inode++)
		if (mneme_get(w->m, &key, value, sizeof value, &length) == 0)
			break;
	ck_assert_uint_lt(key.inode, SHARDS);
	value[length - 1] ^= 1;
	ck_assert_int_eq(mneme_put(w->m, &key, value, length, 0), 0);
	ck_assert_int_eq(mneme_log_verify(w->m, "run", 3, &count, &bad), -EUCLEAN);
	ck_assert_uint_eq(bad, 50);
	mneme_delete(w->m, &key, 0);
	ck_assert_int_eq(mneme_log_verify(w->m, "run", 3, &count, &bad), -EUCLEAN);
	ck_assert_uint_eq(bad, 50);
	world_free(w);
}
END_TEST

/* A listing went round for ever behind a key of full length whose bytes are all 0xff. */
static int pair_counted(void *arg, const void *key, size_t key_length, const void *value,
			size_t length, uint64_t version)
{
	unsigned *count = arg;

	(void)key;
	(void)key_length;
	(void)value;
	(void)length;
	(void)version;
	return ++*count > 10;
}

START_TEST(test_kv_scan_ends_behind_the_last_possible_key)
{
	struct world *w = world_new(16, 0);
	uint8_t last[MNEME_SUBKEY_MAX];
	unsigned count = 0;

	memset(last, 0xff, sizeof last);
	ck_assert_int_eq(mneme_kv_put(w->m, last, sizeof last, "v", 1, NULL, 0), 0);
	ck_assert_int_eq(mneme_kv_put(w->m, "first", 5, "v", 1, NULL, 0), 0);
	ck_assert_int_eq(mneme_kv_scan(w->m, "", 0, 0, pair_counted, &count), 0);
	ck_assert_uint_eq(count, 2);
	count = 0;
	ck_assert_int_eq(
		mneme_kv_scan_after(w->m, "", 0, last, sizeof last, 0, pair_counted, &count), 0);
	ck_assert_uint_eq(count, 0);
	world_free(w);
}
END_TEST

static int pair_given(void *arg, const void *key, size_t key_length, const void *value,
		      size_t length, uint64_t version)
{
	char *given = arg;

	(void)value;
	(void)length;
	(void)version;
	strncat(given, key, key_length);
	return 0;
}

START_TEST(test_kv_scan_goes_on_behind_a_key)
{
	static const struct {
		const char *prefix, *after, *given;
	} cases[] = {
		{"", "", "abab/bc"},  {"", "a", "abab/bc"}, {"", "ab", "ab/bc"},
		{"a", "b", ""},       {"b", "a", "b"},      {"b", "b", ""},
		{"ab", "a", "abab/"}, {"ab", "ab", "ab/"},  {"ab/", "ab", "ab/"},
		{"", "zz", ""},
	};
	struct world *w = world_new(17, 0);
	static const char *const keys[] = {"ab", "ab/", "b", "c"};

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(mneme_kv_put(w->m, keys[i], strlen(keys[i]), "v", 1, NULL, 0), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char given[64] = "";
		ck_assert_int_eq(mneme_kv_scan_after(w->m, cases[i].prefix, strlen(cases[i].prefix),
						     cases[i].after, strlen(cases[i].after), 0,
						     pair_given, given),
				 0);
		ck_assert_msg(!strcmp(given, cases[i].given), "prefix %s after %s: %s",
			      cases[i].prefix, cases[i].after, given);
	}
	world_free(w);
}
END_TEST

static int pair_ordered(void *arg, const void *key, size_t key_length, const void *value,
			size_t length, uint64_t version)
{
	char *last = arg;

	(void)value;
	ck_assert_uint_eq(length, 1);
	ck_assert_uint_ge(version, 1);
	ck_assert_int_lt(strncmp(last, key, key_length), 0);
	memcpy(last, key, key_length);
	last[31]++;
	return 0;
}

START_TEST(test_kv_versions_swap_and_ordered_scan)
{
	struct world *w = world_new(15, 0);
	uint64_t version;
	char name[16], last[32] = "";

	for (int i = 0; i < 100; i++) {
		int n = snprintf(name, sizeof name, "pair%03d", i * 37 % 100);
		ck_assert_int_eq(mneme_kv_put(w->m, name, n, "v", 1, &version, 0), 0);
		ck_assert_uint_eq(version, 1);
	}
	ck_assert_int_eq(mneme_kv_put(w->m, "other", 5, "v", 1, &version, 0), 0);
	ck_assert_int_eq(mneme_kv_scan(w->m, "pair", 4, 0, pair_ordered, last), 0);
	ck_assert_int_eq(last[31], 100);
	ck_assert_int_eq(mneme_kv_swap(w->m, "other", 5, 7, "w", 1, &version, 0), -ESTALE);
	ck_assert_int_eq(mneme_kv_swap(w->m, "other", 5, 1, "w", 1, &version, 0), 0);
	ck_assert_uint_eq(version, 2);
	ck_assert_int_eq(mneme_kv_swap(w->m, "new", 3, 0, "w", 1, &version, 0), 0);
	ck_assert_int_eq(mneme_kv_delete(w->m, "new", 3, 0), 0);
	ck_assert_int_eq(mneme_kv_delete(w->m, "new", 3, 0), -ENOENT);
	world_free(w);
}
END_TEST

enum { GROW_THREADS = 8, GROW_PUTS = 4000 };

struct grower {
	struct mneme *m;
	pthread_t thread;
	uint32_t number;
	int rc;
};

static void *grow_thread(void *arg)
{
	struct grower *g = arg;
	uint8_t value[200] = {0};

	for (uint32_t i = 0; i < GROW_PUTS && g->rc == 0; i++) {
		uint32_t sub = i * 2654435761u;
		struct mneme_key key = {.inode = g->number,
					.type = MNEME_TYPE_USER,
					.sub = &sub,
					.sub_length = sizeof sub};
		g->rc = mneme_put(g->m, &key, value, sizeof value, MNEME_DURABILITY_MEMORY);
	}
	return NULL;
}

START_TEST(test_heap_grows_for_many_threads_that_promise_at_once)
{
	struct mneme_create_options create = {.shards = 16, .segment_bytes = 65536};
	struct grower growers[GROW_THREADS];
	struct mneme *m;
	struct sim *sim;
	struct io *io;

	ck_assert_int_eq(sim_new(&sim), 0);
	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_int_eq(store_create(io, &create, NULL), 0);
	ck_assert_int_eq(store_open(io, NULL, &tuning, &m, NULL), 0);
	for (uint32_t i = 0; i < GROW_THREADS; i++) {
		growers[i] = (struct grower){.m = m, .number = i};
		pthread_create(&growers[i].thread, NULL, grow_thread, &growers[i]);
	}
	for (uint32_t i = 0; i < GROW_THREADS; i++)
		pthread_join(growers[i].thread, NULL);
	for (uint32_t i = 0; i < GROW_THREADS; i++)
		ck_assert_msg(growers[i].rc == 0, "thread %u: %s", i, strerror(-growers[i].rc));
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(sim);
}
END_TEST

static int read_all(struct mneme *m, int *failed)
{
	int found = 0;

	*failed = 0;
	for (uint32_t i = 0; i < 4000; i++) {
		uint8_t value[600];
		size_t length;
		int rc = mneme_kv_get(m, &i, sizeof i, value, sizeof value, &length, NULL);
		ck_assert_msg(rc == 0 || rc == -EIO || rc == -EUCLEAN, "key %u: %d", i, rc);
		if (rc == 0) {
			ck_assert_uint_eq(length, 500);
			ck_assert_uint_eq(value[499], (uint8_t)i);
			found++;
		} else {
			++*failed;
		}
	}
	return found;
}

START_TEST(test_heap_cut_short_under_the_map_is_an_error_not_a_death)
{
	char directory[] = "/tmp/test_engine.XXXXXX", path[64], heap[96];
	struct mneme_stats stats;
	struct mneme *m;
	int failed;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/store", directory);
	snprintf(heap, sizeof heap, "%s/heap", path);
	ck_assert_int_eq(mneme_create(path, NULL, NULL), 0);
	ck_assert_int_eq(mneme_open(path, NULL, &m, NULL), 0);
	for (uint32_t i = 0; i < 4000; i++) {
		uint8_t value[500];
		memset(value, (uint8_t)i, sizeof value);
		ck_assert_int_eq(mneme_kv_put(m, &i, sizeof i, value, sizeof value, NULL, 0), 0);
	}
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(mneme_open(path, NULL, &m, NULL), 0);
	ck_assert_int_eq(read_all(m, &failed), 4000);
	ck_assert_int_eq(truncate(heap, 64 * 4096), 0); /* behind the engine's back */
	ck_assert_int_lt(read_all(m, &failed), 4000);
	ck_assert_int_gt(failed, 0);
	mneme_get_stats(m, &stats);
	ck_assert_int_eq(stats.read_only, EIO);
	ck_assert_int_eq(mneme_kv_put(m, "k", 1, "v", 1, NULL, 0), -EROFS);
	ck_assert_int_ne(mneme_close(m), 0);
	char command[128];
	snprintf(command, sizeof command, "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine");
	TCase *tc = tcase_create("engine");
	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, test_engine_equals_a_model_over_random_operations, 0,
			    (int)tier_count(2, 6, 60));
	tcase_add_test(tc, test_engine_gives_space_back_after_everything_is_deleted);
	tcase_add_test(tc, test_a_full_leaf_splits_beside_two_large_cells);
	tcase_add_test(tc, test_txn_conflict_is_found_and_nothing_is_applied);
	tcase_add_test(tc, test_txn_run_lets_every_thread_finish_on_one_key);
	tcase_add_test(tc, test_log_verifies_and_finds_a_changed_event);
	tcase_add_test(tc, test_kv_versions_swap_and_ordered_scan);
	tcase_add_test(tc, test_kv_scan_ends_behind_the_last_possible_key);
	tcase_add_test(tc, test_kv_scan_goes_on_behind_a_key);
	tcase_add_test(tc, test_heap_grows_for_many_threads_that_promise_at_once);
	tcase_add_test(tc, test_heap_cut_short_under_the_map_is_an_error_not_a_death);
	suite_add_tcase(s, tc);
	return unit_end(s);
}
