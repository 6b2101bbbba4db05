/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the check of a store finds nothing in sound stores, also after crashes, and finds every
 *            one of a set of seeded inconsistencies.
 * Threading: one thread a test.
 */
#include "core/store/check.h"
#include "core/store/io_sim.h"
#include "core/store/store.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

enum { SEGMENT = 1 << 16, SHARDS = 4 };

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void print_finding(void *arg, const char *finding, int repaired)
{
	(void)arg;
	fprintf(stderr, "finding: %s%s\n", finding, repaired ? " (repaired)" : "");
}

static uint64_t findings(struct sim *sim, unsigned flags, mneme_check_report *report)
{
	struct mneme_check_result result;
	struct mneme_error error;
	struct io *io;

	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_int_eq(store_check(io, flags, report, NULL, &result, &error), 0);
	io->ops->destroy(io);
	return result.findings;
}

static struct mneme *store_on(struct sim *sim)
{
	struct mneme_options options = {.dirty_bytes_max = 8 << 20};
	struct store_tuning tuning = {.heap_reserve = 64 << 20, .no_threads = 1};
	struct mneme_error error = {""};
	struct mneme *m;
	struct io *io;

	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_msg(store_open(io, &options, &tuning, &m, &error) == 0, "%s", error.message);
	return m;
}

static struct sim *disk_new(enum mneme_compression compression)
{
	struct mneme_create_options options = {
		.shards = SHARDS, .segment_bytes = SEGMENT, .compression = compression};
	struct sim *sim;
	struct io *io;

	ck_assert_int_eq(sim_new(&sim), 0);
	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_int_eq(store_create(io, &options, NULL), 0);
	io->ops->destroy(io);
	return sim;
}

/* One random change. */
static void change(struct mneme *m, uint64_t *state)
{
	static const uint32_t lengths[] = {0, 8, 60, 300, 900, 1100, 4096, 9000, 16384, 40000};
	static uint8_t value[65536];
	uint64_t r = random_next(state);
	uint8_t sub[8] = {0, 0, 0, 0, 0, 0, (uint8_t)(r >> 8 & 3), (uint8_t)(r >> 16)};
	struct mneme_key key = {
		.inode = 16 + (r >> 24) % 8, .type = 0x80, .sub = sub, .sub_length = 8};
	struct mneme_key end = {.inode = key.inode, .type = 0x81};
	uint32_t length = lengths[(r >> 32) % 10];
	struct mneme_txn *txn;

	memset(value, (int)(r >> 40), sizeof value);
	for (uint32_t i = 0; i < length; i += 64)
		value[i] = (uint8_t)random_next(state);
	ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
	if (r % 16 < 10)
		ck_assert_int_eq(mneme_txn_put(txn, &key, value, length), 0);
	else if (r % 16 < 12)
		ck_assert_int_eq(mneme_txn_delete(txn, &key), 0);
	else if (r % 16 < 14)
		ck_assert_int_eq(mneme_txn_truncate(txn, &key, length / 2), 0);
	else if (r % 16 < 15)
		ck_assert_int_eq(mneme_txn_patch_borrowed(txn, &key, 20, value, length / 4), 0);
	else if ((r >> 48) % 16 == 0)
		ck_assert_int_eq(mneme_txn_delete_range(txn, &key, &end), 0);
	ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED), 0);
}

static void sound_store(enum mneme_compression compression)
{
	struct sim *sim = disk_new(compression);
	uint64_t state = 7 + compression;

	ck_assert_uint_eq(findings(sim, 0, print_finding), 0);
	struct mneme *m = store_on(sim);
	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 100; i++)
			change(m, &state);
		if (round % 3 == 0)
			ck_assert_int_eq(mneme_sync(m), 0);
		if (round % 5 == 0)
			ck_assert_int_eq(mneme_checkpoint(m), 0);
		ck_assert_uint_eq(findings(sim, 0, print_finding), 0);
		if (round % 10 == 9) {
			ck_assert_int_eq(mneme_close(m), 0);
			ck_assert_uint_eq(findings(sim, 0, print_finding), 0);
			m = store_on(sim);
		}
	}
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(sim);
}

START_TEST(test_check_finds_nothing_in_a_sound_store)
{
	sound_store(MNEME_COMPRESSION_NONE);
	sound_store(MNEME_COMPRESSION_ZSTD);
}
END_TEST

START_TEST(test_check_finds_nothing_after_a_crash)
{
	struct sim *sim = disk_new(MNEME_COMPRESSION_NONE);
	struct mneme *m = store_on(sim);
	uint64_t state = 11, begun = sim_events(sim);

	for (int i = 0; i < 40; i++) {
		change(m, &state);
		if (i % 4 == 0)
			ck_assert_int_eq(mneme_sync(m), 0);
		if (i % 10 == 9)
			ck_assert_int_eq(mneme_checkpoint(m), 0);
	}
	for (uint64_t point = begun; point <= sim_events(sim); point++) {
		for (int kind = 0; kind < SIM_CRASH_KINDS; kind++) {
			struct sim *crashed;
			ck_assert_int_eq(sim_crash(sim, point, kind, point * 31 + kind, &crashed),
					 0);
			ck_assert_uint_eq(findings(crashed, STORE_CHECK_CRASHED, print_finding), 0);
			sim_free(crashed);
		}
	}
	store_abandon(m);
	sim_free(sim);
}
END_TEST

UNIT_MAIN("check", test_check_finds_nothing_in_a_sound_store,
	  test_check_finds_nothing_after_a_crash)
