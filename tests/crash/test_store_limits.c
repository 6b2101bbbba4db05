/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the limits of memory and space: transactions that need more pages than are free, or than the
 *            dirty arena has, and a full disk whose free pages lie scattered.
 */
#include "core/store/check.h"
#include "core/store/store.h"
#include "tests/crash/history.h"
#include "tests/tier.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static struct sim *disk;
static uint8_t full_value[MNEME_VALUE_MAX], full_read[MNEME_VALUE_MAX];
static struct mneme *m;

static void begin(void)
{
	struct mneme_error error = {.message = ""};

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	int rc = history_open(disk, &m, &error);
	ck_assert_msg(rc == 0, "%s", error.message);
}

static void finish(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
}

static void close_and_check(void)
{
	struct mneme_check_result result;
	struct mneme_error error = {.message = ""};
	struct io *io;

	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_int_eq(store_check(io, 0, NULL, NULL, &result, &error), 0);
	io->ops->destroy(io);
	ck_assert_uint_eq(result.findings, 0);
}

static int put_many(uint32_t count)
{
	struct mneme_txn *txn;
	uint64_t inode = MODEL_FIRST_INODE;
	int rc = mneme_txn_begin_locked(m, 0, &inode, 1, &txn);

	for (uint32_t i = 0; i < count && rc == 0; i++) {
		struct mneme_key key = {
			.inode = inode, .type = MNEME_TYPE_USER, .sub = &i, .sub_length = 4};
		rc = mneme_txn_put(txn, &key, &i, sizeof i);
		if (rc < 0)
			mneme_txn_abort(txn);
	}
	return rc < 0 ? rc : mneme_txn_commit(txn, MNEME_DURABILITY_STRICT);
}

/* Such a commit tried again for ever: the heap seemed large enough to the one who makes it grow. */
START_TEST(test_store_transaction_needs_more_pages_than_are_free)
{
	begin();
	for (uint32_t count = 1; count <= 120; count++)
		ck_assert_int_eq(put_many(count), 0);
	finish();
}
END_TEST

/* Puts in any order, and long keys, of which a page has few: no fewer pages than are promised. */
START_TEST(test_store_transaction_of_many_puts)
{
	enum { PUTS = 10000, KEY = 400, ARENA = 160 << 20 };
	struct mneme_options options = {.dirty_bytes_max = ARENA};
	struct store_tuning tuning = {.no_threads = 1, .heap_reserve = 1 << 30};
	static uint8_t sub[KEY];
	uint64_t inode = MODEL_FIRST_INODE, random = tier_seed();
	struct mneme_txn *txn;
	struct io *io;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_int_eq(store_open(io, &options, &tuning, &m, NULL), 0);
	for (int round = 0; round < 3; round++) {
		ck_assert_int_eq(mneme_txn_begin_locked(m, 0, &inode, 1, &txn), 0);
		for (uint32_t i = 0; i < PUTS; i++) {
			struct mneme_key key = {
				.inode = inode, .type = MNEME_TYPE_USER, .sub = sub};
			/* descending, or anywhere; the bytes that tell keys apart come last */
			uint32_t number = round ? (uint32_t)random_next(&random) : PUTS - i;
			key.sub_length = round == 2 ? KEY : 20;
			for (int b = 0; b < 4; b++)
				sub[key.sub_length - 4 + b] = (uint8_t)(number >> (24 - 8 * b));
			ck_assert_int_eq(mneme_txn_put(txn, &key, full_value, 100), 0);
		}
		ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED), 0);
		ck_assert_uint_eq(m->dirty.budget, m->heap.promised);
		if (round)
			ck_assert_int_eq(mneme_checkpoint(m), 0);
	}
	close_and_check();
	sim_free(disk);
}
END_TEST

/* And one that needs more than the whole dirty arena made checkpoints for ever. */
START_TEST(test_store_transaction_larger_than_the_arena)
{
	uint32_t seen;
	size_t length;

	begin();
	ck_assert_int_eq(put_many(15000), -E2BIG);
	for (uint32_t i = 0; i < 15000; i += 7) {
		struct mneme_key key = {.inode = MODEL_FIRST_INODE,
					.type = MNEME_TYPE_USER,
					.sub = &i,
					.sub_length = 4};
		ck_assert_int_eq(mneme_get(m, &key, &seen, sizeof seen, &length), -ENOENT);
	}
	ck_assert_int_eq(put_many(100), 0);
	finish();
}
END_TEST

enum { RANGE_KEYS = 40000, RANGE_VALUE = 500, RANGE_ENDS = 37 };

static struct mneme_key range_key(uint32_t number, uint8_t sub[4])
{
	for (int i = 0; i < 4; i++)
		sub[i] = (uint8_t)(number >> (24 - 8 * i));
	return (struct mneme_key){
		.inode = MODEL_FIRST_INODE, .type = MNEME_TYPE_USER, .sub = sub, .sub_length = 4};
}

/* 1: the key is there, or it is an error; 0: it is not. */
static int range_has(uint32_t number)
{
	uint8_t sub[4], value[RANGE_VALUE];
	struct mneme_key key = range_key(number, sub);
	size_t length;

	return mneme_get(m, &key, value, sizeof value, &length) != -ENOENT;
}

static void range_check(uint32_t first, uint32_t last)
{
	for (uint32_t i = 0; i < RANGE_KEYS; i++)
		ck_assert_int_eq(range_has(i), i < first || i >= last);
}

static int range_remove(uint32_t first, uint32_t last)
{
	uint8_t first_sub[4], last_sub[4];
	struct mneme_key from = range_key(first, first_sub), to = range_key(last, last_sub);
	uint64_t inode = MODEL_FIRST_INODE;
	struct mneme_txn *txn;

	ck_assert_int_eq(mneme_txn_begin_locked(m, 0, &inode, 1, &txn), 0);
	ck_assert_int_eq(mneme_txn_delete_range(txn, &from, &to), 0);
	return mneme_txn_commit(txn, MNEME_DURABILITY_STRICT);
}

/* A range with more leaves than the arena has pages was too large, although few are needed at a time. */
START_TEST(test_store_range_larger_than_the_arena)
{
	static const uint8_t value[RANGE_VALUE] = {1};
	struct mneme_error error = {.message = ""};

	begin();
	for (uint32_t i = 0; i < RANGE_KEYS; i++) {
		uint8_t sub[4];
		struct mneme_key key = range_key(i, sub);
		ck_assert_int_eq(mneme_put(m, &key, value, sizeof value, MNEME_DURABILITY_BUFFERED),
				 0);
	}
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(range_remove(RANGE_ENDS, RANGE_KEYS - RANGE_ENDS), 0);
	range_check(RANGE_ENDS, RANGE_KEYS - RANGE_ENDS);
	store_abandon(m);
	ck_assert_int_eq(history_open(disk, &m, &error), 0);
	range_check(RANGE_ENDS, RANGE_KEYS - RANGE_ENDS);
	ck_assert_int_eq(range_remove(0, RANGE_KEYS), 0);
	range_check(0, RANGE_KEYS);
	ck_assert_uint_eq(m->dirty.budget, m->heap.promised);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_uint_eq(m->dirty.budget, 0);
	ck_assert_uint_eq(m->heap.promised, 0);
	finish();
}
END_TEST

/* ---- segments of the log ---- */

static void count_segment(void *arg, const char *name, uint64_t size)
{
	(void)size;
	*(uint32_t *)arg += !strncmp(name, "wal/", 4);
}

static uint32_t segments(void)
{
	uint32_t count = 0;

	sim_each_file(disk, count_segment, &count);
	return count;
}

/* While the log runs its segments are used again, not made anew; a store at rest keeps few. */
START_TEST(test_store_segments_are_used_again)
{
	uint64_t made[3];

	begin();
	for (int round = 0; round < 3; round++) {
		uint64_t before = sim_calls(disk, 1 << SIM_SYNC_DIR);
		for (uint32_t i = 0; i < 120; i++) {
			uint8_t sub[4];
			struct mneme_key key = range_key(i, sub);
			ck_assert_int_eq(
				mneme_put(m, &key, full_value, 6000, MNEME_DURABILITY_STRICT), 0);
		}
		ck_assert_int_eq(mneme_checkpoint(m), 0);
		made[round] = sim_calls(disk, 1 << SIM_SYNC_DIR) - before;
	}
	ck_assert_uint_gt(made[0], 8);
	ck_assert_uint_le(made[2], 1);
	ck_assert_uint_gt(segments(), 8);
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_uint_le(segments(), 3);
	sim_free(disk);
}
END_TEST

/* A log that grew beyond what can be kept, while one checkpoint was made, made the store read-only. */
START_TEST(test_store_log_as_long_as_can_be_kept)
{
	enum { PUTS = 2 * WAL_SEGMENTS_SLACK, LENGTH = 40000 }; /* a segment each */
	struct mneme_key key = {.inode = MODEL_FIRST_INODE, .type = MNEME_TYPE_USER};
	size_t length;

	begin();
	while (m->wal.retired_count < WAL_SEGMENTS_MAX - PUTS)
		m->wal.retired[m->wal.retired_count++] = (struct wal_retired){.file = UINT32_MAX};
	for (int i = 0; i < PUTS + 10; i++)
		ck_assert_int_eq(
			mneme_put(m, &key, full_value, LENGTH + i, MNEME_DURABILITY_STRICT), 0);
	ck_assert_int_eq(m->failed, 0);
	store_abandon(m);
	ck_assert_int_eq(history_open(disk, &m, NULL), 0);
	ck_assert_int_eq(mneme_get(m, &key, NULL, 0, &length), 0);
	ck_assert_uint_eq(length, LENGTH + PUTS + 9);
	finish();
}
END_TEST

/* ---- a full disk ---- */

enum { FULL_DISK = 11 << 20, FULL_KEYS = 3000 };

/* What was acknowledged: a length (0: no such key) and what the bytes follow from. */
static struct {
	uint32_t length, seed;
} kept[FULL_KEYS];

static struct mneme_key full_key(uint32_t *number)
{
	return (struct mneme_key){.inode = MODEL_FIRST_INODE + *number % MODEL_SHARDS,
				  .type = MNEME_TYPE_USER,
				  .sub = number,
				  .sub_length = sizeof *number};
}

static void full_bytes(uint32_t seed, uint32_t length)
{
	uint64_t random = seed;

	for (uint32_t i = 0; i < length; i += 8) {
		uint64_t word = random_next(&random);
		memcpy(full_value + i, &word, length - i < 8 ? length - i : 8);
	}
}

static int full_put(uint32_t number, uint32_t length, uint32_t seed)
{
	struct mneme_key key = full_key(&number);

	full_bytes(seed, length);
	int rc = mneme_put(m, &key, full_value, length, MNEME_DURABILITY_BUFFERED);
	ck_assert_msg(rc == 0 || rc == -ENOSPC, "put of %u bytes gave %s", length, strerror(-rc));
	if (rc == 0) {
		kept[number].length = length;
		kept[number].seed = seed;
	}
	return rc;
}

static void full_delete(uint32_t number)
{
	struct mneme_key key = full_key(&number);

	if (!kept[number].length)
		return;
	ck_assert_int_eq(mneme_delete(m, &key, MNEME_DURABILITY_BUFFERED), 0);
	kept[number].length = 0;
}

static void full_compare(void)
{
	for (uint32_t i = 0; i < FULL_KEYS; i++) {
		struct mneme_key key = full_key(&i);
		size_t length;
		int rc = mneme_get(m, &key, full_read, sizeof full_read, &length);
		ck_assert_int_eq(rc, kept[i].length ? 0 : -ENOENT);
		if (rc < 0)
			continue;
		ck_assert_uint_eq(length, kept[i].length);
		full_bytes(kept[i].seed, kept[i].length);
		ck_assert(!memcmp(full_value, full_read, length));
	}
}

static void full_reopen(void)
{
	struct mneme_error error = {.message = ""};

	close_and_check();
	int rc = history_open(disk, &m, &error);
	ck_assert_msg(rc == 0, "%s", error.message);
}

static uint32_t full_length(uint64_t *random)
{
	static const uint32_t lengths[] = {16000, 16384, 60000, 9000, 5000, 2000, 300};

	return lengths[random_below(random, sizeof lengths / sizeof lengths[0])];
}

static void full_begin(void)
{
	begin();
	sim_limit(disk, FULL_DISK);
	memset(kept, 0, sizeof kept);
}

/* What a reader of the first state reaches is given back to nobody: room ends, nothing else does. */
START_TEST(test_store_full_disk_beside_a_reader)
{
	enum { KEY_BYTES = 16384, ROUNDS = 2 * FULL_DISK / KEY_BYTES };
	int rc = 0;

	full_begin();
	ck_assert_int_eq(full_put(0, KEY_BYTES, 1), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	sim_set_reader(disk, 1, 1);
	for (uint32_t i = 0; i < ROUNDS && rc == 0; i++) {
		rc = full_put(0, KEY_BYTES, i);
		if (rc == 0 && mneme_checkpoint(m) < 0)
			break;
	}
	ck_assert_int_eq(rc, -ENOSPC);
	full_compare();
	full_reopen();
	full_compare();
	sim_set_reader(disk, 0, 0);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		ck_assert_int_eq(full_put(0, KEY_BYTES, i), 0);
		ck_assert_int_eq(mneme_checkpoint(m), 0);
	}
	full_compare();
	close_and_check();
	sim_free(disk);
}
END_TEST

static int reserve(int64_t values)
{
	uint64_t inode = MODEL_FIRST_INODE;
	struct mneme_txn *txn;
	int rc = mneme_txn_begin_locked(m, values < 0 ? MNEME_TXN_MAY_FILL : 0, &inode, 1, &txn);

	if (rc < 0)
		return rc;
	ck_assert_int_eq(mneme_txn_reserve(txn, inode, values), 0);
	return mneme_txn_commit(txn, MNEME_DURABILITY_STRICT);
}

/* Puts values into room that is set aside for them, in the shard where reserve() does so. */
static void reserve_fill(uint32_t first, uint32_t count)
{
	for (uint32_t number = first; number < first + count * MODEL_SHARDS;
	     number += MODEL_SHARDS) {
		struct mneme_key key = full_key(&number);
		struct mneme_txn *txn;
		full_bytes(number, MNEME_CHUNK_SIZE);
		ck_assert_int_eq(mneme_txn_begin_locked(m, MNEME_TXN_MAY_FILL, &key.inode, 1, &txn),
				 0);
		ck_assert_int_eq(mneme_txn_put(txn, &key, full_value, MNEME_CHUNK_SIZE), 0);
		ck_assert_int_eq(mneme_txn_reserve(txn, key.inode, -1), 0);
		ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED), 0);
		kept[number].length = MNEME_CHUNK_SIZE;
		kept[number].seed = number;
	}
}

static void full_crash(void)
{
	struct mneme_error error = {.message = ""};

	ck_assert_int_eq(mneme_sync(m), 0);
	store_abandon(m);
	int rc = history_open(disk, &m, &error);
	ck_assert_msg(rc == 0, "%s", error.message);
}

/* Values that there is room for: runs, and what is loose; the rest is for their leaves. */
static uint64_t set_aside(void)
{
	enum { LOOSE_PAGES = 5 };
	uint64_t leaves = (m->reserved_values + MNEME_RESERVE_LEAF - 1) / MNEME_RESERVE_LEAF;

	ck_assert_uint_ge(m->heap.reserved, leaves);
	ck_assert_uint_eq((m->heap.reserved - leaves) % LOOSE_PAGES, 0);
	uint64_t values = m->aside.quads + (m->heap.reserved - leaves) / LOOSE_PAGES;
	ck_assert_uint_eq(values, m->reserved_values);
	return values;
}

/* It is nobody else's, and is found when all the rest is full, also after a crash. */
START_TEST(test_store_room_that_is_set_aside)
{
	enum { VALUES = 40, FIRST = 2000, REST = FULL_DISK / 4096 };
	static const uint32_t lengths[] = {16000, 4000, 300};
	uint32_t number = 0;

	full_begin();
	ck_assert_int_eq(reserve(REST), -ENOSPC);
	ck_assert_int_eq(reserve(VALUES), 0);
	ck_assert_uint_eq(set_aside(), VALUES);
	for (int i = 0; i < 3; i++)
		while (full_put(number, lengths[i], number) == 0)
			ck_assert_uint_lt(++number, FIRST);
	ck_assert_int_eq(reserve(1), -ENOSPC);
	full_crash();
	ck_assert_uint_eq(set_aside(), VALUES);
	ck_assert_int_eq(full_put(number, lengths[2], number), -ENOSPC);
	reserve_fill(FIRST, VALUES / 2);
	ck_assert_uint_eq(set_aside(), VALUES / 2);
	full_crash();
	full_compare();
	reserve_fill(FIRST + VALUES, VALUES / 2);
	ck_assert_uint_eq(set_aside(), 0);
	full_delete(0);
	full_delete(1);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(reserve(1), 0);
	ck_assert_int_eq(reserve(-1), 0);
	ck_assert_uint_eq(set_aside(), 0);
	full_reopen();
	ck_assert_uint_eq(set_aside(), 0);
	finish();
}
END_TEST

/* No page of it goes to a list of pages, and what is cut to pieces beside it does not matter. */
START_TEST(test_store_sets_aside_all_that_is_free)
{
	enum { FIRST = 1000, SLACK = 40 };
	uint32_t number = 0;

	full_begin();
	ck_assert_int_eq(full_put(number, 4000, number), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	struct mneme_stats stats;
	mneme_get_stats(m, &stats);
	uint64_t bytes = stats.heap_free_bytes + stats.disk_free_bytes - stats.kept_bytes;
	uint32_t values =
		(uint32_t)(bytes / (MNEME_CHUNK_SIZE + 4096 / MNEME_RESERVE_LEAF)) - SLACK;
	ck_assert_uint_gt(values, 5 * SLACK);
	ck_assert_int_eq(reserve(values), 0);
	ck_assert_uint_eq(m->aside.quads, values);
	for (number = 1; full_put(number, 4000, number) == 0; number++)
		ck_assert_uint_lt(number, FIRST);
	full_crash();
	ck_assert_uint_eq(set_aside(), values);
	reserve_fill(FIRST, values);
	ck_assert_uint_eq(set_aside(), 0);
	full_crash();
	full_compare();
	full_delete(FIRST);
	finish();
}
END_TEST

/* Where free pages lie apart, values that are set aside need one more each, and get it. */
START_TEST(test_store_sets_aside_what_lies_apart)
{
	enum { FIRST = 2000 };
	uint32_t number = 0, values = 0;

	full_begin();
	while (full_put(number, 4096, number) == 0)
		ck_assert_uint_lt(++number, FIRST);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	for (uint32_t i = 0; i < number; i++)
		if (i / MODEL_SHARDS % 2)
			full_delete(i);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	while (reserve(1) == 0)
		values++;
	ck_assert_uint_gt(values, 16);
	ck_assert_uint_lt(m->aside.quads, values);
	full_crash();
	ck_assert_uint_eq(set_aside(), values);
	reserve_fill(FIRST, values / 2);
	ck_assert_int_eq(reserve(-(int64_t)(values - values / 2)), 0);
	ck_assert_uint_eq(set_aside(), 0);
	full_crash();
	full_compare();
	finish();
}
END_TEST

/* One that is opening needs the log from its checkpoint on: no segment of it is used again. */
START_TEST(test_store_keeps_the_log_for_a_reader_that_is_opening)
{
	struct mneme *reader;
	struct mneme_options options = {.read_only = 1};
	struct store_tuning tuning = {.no_threads = 1, .heap_reserve = 64 << 20};
	struct mneme_error error = {.message = ""};
	uint8_t *super, *now, old[2 * FMT_PAGE_SIZE];
	uint64_t size;
	struct io *io;

	begin();
	memset(kept, 0, sizeof kept);
	ck_assert_int_eq(full_put(0, 3000, 1), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(sim_file(disk, "super", &super, &size), 0);
	memcpy(old, super, sizeof old); /* what the reader has read */
	sim_set_reader(disk, 1, IO_MARK_OPENING);
	for (uint32_t i = 0; i < 200; i++) {
		ck_assert_int_eq(full_put(1, 16000, i), 0);
		ck_assert_int_eq(mneme_sync(m), 0);
		if (i == 100)
			ck_assert_int_eq(mneme_checkpoint(m), 0);
	}
	ck_assert_int_eq(sim_file(disk, "super", &now, &size), 0);
	memcpy(now, old, sizeof old);
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	int rc = store_open(io, &options, &tuning, &reader, &error);
	ck_assert_msg(rc == 0, "%s", error.message);
	store_abandon(m);
	m = reader;
	full_compare();
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
}
END_TEST

/* Flips a bit in each list of pages: the check and every reader notice. */
static void lists_damage(void)
{
	struct mneme_check_result result;
	struct mneme_error error = {.message = ""};
	uint64_t size, lists = 0, noticed = 0;
	struct io *io;
	uint8_t *heap;

	ck_assert_int_eq(sim_file(disk, "heap", &heap, &size), 0);
	for (uint64_t page = 0; page < size / FMT_PAGE_SIZE; page++) {
		struct fmt_scatter *list = (void *)(heap + page * FMT_PAGE_SIZE);
		if (list->self != page || list->count < 2 || list->count > FMT_VALUE_PAGES_MAX)
			continue;
		list->pages[1] ^= 1 << lists++ % 8;
	}
	ck_assert_uint_gt(lists, 0);
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_int_eq(store_check(io, 0, NULL, NULL, &result, &error), 0);
	io->ops->destroy(io);
	ck_assert_uint_gt(result.findings, 0);
	ck_assert_int_eq(history_open(disk, &m, &error), 0);
	for (uint32_t i = 0; i < FULL_KEYS; i++) {
		struct mneme_key key = full_key(&i);
		size_t length;
		int rc = mneme_get(m, &key, full_read, sizeof full_read, &length);
		noticed += rc == -EUCLEAN;
		if (rc < 0)
			continue;
		full_bytes(kept[i].seed, kept[i].length);
		ck_assert(!memcmp(full_value, full_read, length));
	}
	ck_assert_uint_gt(noticed, 0);
	store_abandon(m);
}

/* The free pages of a full disk lie one by one: a value then found no run, and its checkpoint failed,
 * although there were pages enough. */
START_TEST(test_store_full_disk_with_scattered_pages)
{
	uint64_t random = tier_seed();
	uint32_t rounds = tier_count(4, 10, 200);

	full_begin();
	for (uint32_t round = 0; round < rounds; round++) {
		uint32_t full = 0;
		for (int i = 0; i < 4000 && full < 20; i++) {
			uint32_t number = random_below(&random, FULL_KEYS);
			uint32_t length = round % 2 ? full_length(&random) : 1500;
			if (full_put(number, length, i + 1) < 0)
				full++;
			if (i % 50 == 0)
				(void)mneme_sync(m);
		}
		ck_assert_uint_eq(full, 20);
		for (uint32_t i = round / 2 % 2; i < FULL_KEYS; i += 2)
			full_delete(i);
		ck_assert_int_eq(mneme_checkpoint(m), 0);
		for (uint32_t i = 0; i < 10; i++)
			ck_assert_int_eq(full_put(i, 60000, i + 1), 0);
		if (round % 3 == 2) {
			full_reopen();
			full_compare();
		}
	}
	full_reopen();
	full_compare();
	ck_assert_uint_eq(m->super.incompatible,
			  FMT_INCOMPAT_ZSTD | FMT_INCOMPAT_SCATTERED | FMT_INCOMPAT_RUNS);
	ck_assert_int_eq(mneme_close(m), 0);
	lists_damage();
	sim_free(disk);
}
END_TEST

/* ---- crashes on a full disk ---- */

static void scatter_put(struct history *h, uint32_t key, uint32_t length)
{
	struct op op = {.kind = OP_PUT,
			.durability = MNEME_DURABILITY_BUFFERED,
			.count = 1,
			.effects = {{.kind = EFFECT_PUT, .key = key, .length = length}}};
	struct model_key k;

	model_key(key, &k);
	effect_bytes(&op.effects[0], full_value);
	ck_assert_int_eq(mneme_put(h->m, &k.key, full_value, length, op.durability), 0);
	model_apply(&h->base, &op.effects[0]);
}

static void add_size(void *arg, const char *name, uint64_t size)
{
	(void)name;
	*(uint64_t *)arg += size;
}

static void limit_to_what_is_used(struct sim *sim)
{
	uint64_t bytes = 0;

	sim_each_file(sim, add_size, &bytes);
	sim_limit(sim, bytes);
}

/* A full disk on which only runs of two pages are free: every second of many small values is gone. */
static void scatter_disk(struct history *h)
{
	enum { LARGE = 60, PAGES = 512, PER_LARGE = 4, PER_SMALL = 2, OTHERS = 24 };
	uint32_t filled = 0, count = 0;
	struct sim *made;

	ck_assert_int_eq(sim_new(&made), 0);
	ck_assert_int_eq(history_create(made), 0);
	struct model none = {0};
	history_begin(h, made, &none);
	limit_to_what_is_used(made);
	h->m->keep_pages = 0;
	for (; filled + OTHERS <= PAGES; count++) {
		scatter_put(h, count, count < LARGE ? 16000 : 8000);
		filled += count < LARGE ? PER_LARGE : PER_SMALL;
		if (count % 30 == 29)
			ck_assert_int_eq(mneme_checkpoint(h->m), 0);
	}
	ck_assert_int_eq(mneme_checkpoint(h->m), 0);
	for (uint32_t i = LARGE; i < count; i += 2) {
		struct effect gone = {.kind = EFFECT_DELETE, .key = i};
		struct model_key k;
		model_key(i, &k);
		ck_assert_int_eq(mneme_delete(h->m, &k.key, MNEME_DURABILITY_BUFFERED), 0);
		model_apply(&h->base, &gone);
	}
	ck_assert_int_eq(mneme_checkpoint(h->m), 0);
	history_abandon(h);
	struct sim *settled = disk_settled(made);
	struct model base;
	model_copy(&base, &h->base);
	history_end(h);
	history_begin(h, settled, &base);
	model_clear(&base);
	limit_to_what_is_used(settled);
	h->m->keep_pages = 0;
}

static void scatter_crash(const struct history *h, uint64_t point, unsigned kind, uint64_t seed)
{
	struct mneme_check_result result;
	struct mneme_error error = {.message = ""};
	struct sim *after;
	struct io *io;
	uint64_t sum;
	uint32_t c, p;

	ck_assert_int_eq(sim_crash(h->disk, point, kind, seed, &after), 0);
	ck_assert_int_eq(sim_io_new(after, &io), 0);
	ck_assert_int_eq(store_check(io, STORE_CHECK_CRASHED, NULL, NULL, &result, &error), 0);
	io->ops->destroy(io);
	ck_assert_uint_eq(result.findings, 0);
	int rc = history_open(after, &m, &error);
	ck_assert_msg(rc == 0, "point %llu, kind %u: %s", (unsigned long long)point, kind,
		      error.message);
	ck_assert_int_eq(store_sum(m, &sum), 0);
	ck_assert(history_allows(h, point, sum, &c, &p));
	store_abandon(m);
	sim_free(after);
}

/* Values that are scattered, read, replaced and freed, with a crash at every moment. */
START_TEST(test_store_full_disk_crashes)
{
	static const enum op_kind kinds[] = {OP_PUT, OP_PUT, OP_DELETE,     OP_PUT,
					     OP_PUT, OP_PUT, OP_CHECKPOINT, OP_REOPEN};
	static struct history h;
	uint64_t random = tier_seed(), seeds = tier_count(1, 1, 20);

	scatter_disk(&h);
	for (uint32_t i = 0; i < 24; i++) {
		struct op op = {.kind = kinds[i % 8], .durability = MNEME_DURABILITY_STRICT};
		if (i % 3 == 0 && op.kind == OP_PUT)
			op.durability = MNEME_DURABILITY_BUFFERED;
		op.count = op.kind < OP_SYNC;
		op.effects[0] =
			(struct effect){.kind = op.kind == OP_DELETE ? EFFECT_DELETE : EFFECT_PUT,
					.key = op.kind == OP_DELETE ? (i - 1) % 7 : i % 7,
					.length = op.kind == OP_DELETE ? 0 : 30000 + 6000 * (i % 5),
					.seed = i};
		history_run(&h, &op);
		h.m->keep_pages = 0;
	}
	ck_assert_uint_eq(h.m->super.incompatible,
			  FMT_INCOMPAT_ZSTD | FMT_INCOMPAT_SCATTERED | FMT_INCOMPAT_RUNS);
	history_compute(&h);
	for (uint64_t point = h.opened; point <= sim_events(h.disk); point++)
		for (unsigned kind = 0; kind < SIM_CRASH_KINDS; kind++) {
			if (tier_is_short() && (point + kind) % 4)
				continue;
			for (uint64_t seed = 0; seed < seeds; seed++)
				scatter_crash(&h, point, kind, random_next(&random));
		}
	history_end(&h);
}
END_TEST

/* ---- several threads on a full disk ---- */

enum { FILLERS = 4 };

struct filler {
	pthread_t thread;
	pthread_barrier_t *full;
	uint32_t number, count;
	int refused; /* of the deletes: how many, and why not */
	int rc;
};

static int filler_op(struct filler *f, uint32_t i, int remove)
{
	uint32_t sub[2] = {f->number, i};
	struct mneme_key key = {.inode = MODEL_FIRST_INODE + i % 64,
				.type = MNEME_TYPE_USER,
				.sub = sub,
				.sub_length = sizeof sub};

	return remove ? mneme_delete(m, &key, MNEME_DURABILITY_MEMORY)
		      : mneme_put(m, &key, full_value, 500, MNEME_DURABILITY_MEMORY);
}

static void *filler_main(void *arg)
{
	struct filler *f = arg;

	while ((f->rc = filler_op(f, f->count, 0)) == 0)
		f->count++;
	pthread_barrier_wait(f->full);
	for (uint32_t i = 0; i < f->count; i++)
		f->refused += filler_op(f, i, 1) != 0;
	return NULL;
}

/* What one thread had in hand made the delete of another one fail. */
START_TEST(test_store_full_disk_refuses_no_delete_of_several_threads)
{
	struct mneme_create_options create = {.shards = 64, .segment_bytes = 1 << 20};
	struct mneme_options options = {.dirty_bytes_max = 64 << 20};
	struct store_tuning tuning = {.no_threads = 1, .heap_reserve = 1 << 30};
	struct filler fillers[FILLERS] = {0};
	pthread_barrier_t full;
	struct io *io;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_int_eq(store_create(io, &create, NULL), 0);
	ck_assert_int_eq(store_open(io, &options, &tuning, &m, NULL), 0);
	sim_limit(disk, 24 << 20);
	pthread_barrier_init(&full, NULL, FILLERS);
	for (uint32_t i = 0; i < FILLERS; i++) {
		fillers[i].number = i;
		fillers[i].full = &full;
		ck_assert_int_eq(pthread_create(&fillers[i].thread, NULL, filler_main, &fillers[i]),
				 0);
	}
	uint32_t all = 0;
	for (uint32_t i = 0; i < FILLERS; i++) {
		pthread_join(fillers[i].thread, NULL);
		all += fillers[i].count;
		ck_assert_int_eq(fillers[i].rc, -ENOSPC);
		ck_assert_int_eq(fillers[i].refused, 0);
	}
	ck_assert_uint_gt(all, 10000);
	pthread_barrier_destroy(&full);
	close_and_check();
	sim_free(disk);
}
END_TEST

UNIT_MAIN("store_limits", test_store_full_disk_refuses_no_delete_of_several_threads,
	  test_store_transaction_needs_more_pages_than_are_free,
	  test_store_transaction_larger_than_the_arena, test_store_full_disk_with_scattered_pages,
	  test_store_full_disk_crashes, test_store_range_larger_than_the_arena,
	  test_store_segments_are_used_again, test_store_log_as_long_as_can_be_kept,
	  test_store_transaction_of_many_puts, test_store_room_that_is_set_aside,
	  test_store_sets_aside_all_that_is_free, test_store_sets_aside_what_lies_apart,
	  test_store_full_disk_beside_a_reader,
	  test_store_keeps_the_log_for_a_reader_that_is_opening)
