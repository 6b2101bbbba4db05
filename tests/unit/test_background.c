/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the store's work in the background: it is done without being asked for, the log's comes
 *            before all other, a log that fills up does not wait for long low work, and closing
 *            neither loses nor waits for what is only queued.
 * Invariants: no verdict depends on how fast something is: what has to happen is waited for, up to the
 *            time limit of the test.
 */
#include "core/store/background.h"
#include "core/bridge/bridge.h"
#include "core/mneme.h"
#include "core/store/checkpoint_inside.h"
#include "core/store/store.h"
#include "tests/lib/hold.h"
#include "tests/unit/unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char directory[64];
static struct mneme *m;

static void store_begin(const struct mneme_options *options)
{
	const struct mneme_create_options create = {.segment_bytes = 64 << 10};

	snprintf(directory, sizeof directory, "/tmp/test-background-%d", (int)getpid());
	ck_assert_int_eq(mneme_create(directory, &create, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, options, &m, NULL), 0);
}

static void store_remove(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", directory);
	ck_assert_int_eq(system(command), 0);
}

static void put(unsigned number, size_t length)
{
	static const char bytes[60000];

	ck_assert_int_eq(mneme_kv_put(m, &number, sizeof number, bytes, length, NULL,
				      MNEME_DURABILITY_BUFFERED),
			 0);
}

static uint64_t checkpoints(void)
{
	struct mneme_stats stats;

	mneme_get_stats(m, &stats);
	return stats.checkpoints;
}

static int everything_durable(void)
{
	struct mneme_stats stats;

	mneme_get_stats(m, &stats);
	return stats.lsn_durable == stats.lsn_next;
}

START_TEST(test_background_flushes_what_nobody_waits_for)
{
	const struct mneme_options options = {.flush_ms = 5};

	store_begin(&options);
	hold_low(background_bridge(m)); /* the log's priority is another one */
	for (unsigned round = 0; round < 20; round++) {
		put(round, 100);
		while (!everything_durable())
			hold_nap();
	}
	hold_end();
	ck_assert_int_eq(mneme_close(m), 0);
	store_remove();
}
END_TEST

START_TEST(test_background_flushes_by_size_before_the_time_has_come)
{
	const struct mneme_options options = {.flush_ms = 3600000, .flush_bytes = 1 << 16};

	store_begin(&options);
	put(1, 100);
	for (int i = 0; i < 50; i++)
		hold_nap();
	ck_assert(!everything_durable()); /* an hour has not passed */
	put(2, 60000);
	put(3, 60000);
	while (!everything_durable())
		hold_nap();
	ck_assert_int_eq(mneme_close(m), 0);
	store_remove();
}
END_TEST

START_TEST(test_background_checkpoints_a_store_that_is_dirty_for_long)
{
	const struct mneme_options options = {.checkpoint_ms = 20};

	store_begin(&options);
	for (unsigned round = 1; round <= 3; round++) {
		uint64_t before = checkpoints();
		put(round, 100);
		while (checkpoints() == before)
			hold_nap();
	}
	ck_assert_int_eq(mneme_close(m), 0);
	store_remove();
}
END_TEST

/* What the last checkpoint empties, long after the last commit. */
START_TEST(test_background_gives_the_memory_of_the_arena_back)
{
	const struct mneme_options options = {.checkpoint_ms = 2500};

	store_begin(&options);
	for (unsigned i = 0; i < 200; i++)
		put(i, 60000);
	while (dirty_resident(&m->dirty))
		hold_nap();
	ck_assert_int_eq(mneme_close(m), 0);
	store_remove();
}
END_TEST

static uint64_t packed(void)
{
	struct mneme_stats stats;

	mneme_get_stats(m, &stats);
	return stats.packed_values;
}

/* Nobody asks for it: samples, the dictionary, and then all that fits. */
START_TEST(test_background_packs_small_values)
{
	const struct mneme_create_options create = {.compression = MNEME_COMPRESSION_ZSTD};
	const struct mneme_options options = {.checkpoint_ms = 20};
	static char text[2000];

	snprintf(directory, sizeof directory, "/tmp/test-background-%d", (int)getpid());
	ck_assert_int_eq(mneme_create(directory, &create, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, &options, &m, NULL), 0);
	for (unsigned i = 0; i < 600; i++) {
		for (unsigned at = 0; at + 21 < sizeof text; at += 21)
			snprintf(text + at, 22, "entry %06u line %02x;", i * 7919 % 999983,
				 (i + at) & 255);
		ck_assert_int_eq(mneme_kv_put(m, &i, sizeof i, text, sizeof text, NULL,
					      MNEME_DURABILITY_BUFFERED),
				 0);
	}
	while (packed() < 600)
		hold_nap();
	ck_assert_int_eq(mneme_close(m), 0);
	store_remove();
}
END_TEST

/* A checkpoint is low work; but with all places for that taken, the log must not fill up. */
START_TEST(test_background_raises_a_checkpoint_that_is_late)
{
	const struct mneme_options options = {.checkpoint_ms = 3600000};

	store_begin(&options);
	hold_low(background_bridge(m));
	for (unsigned i = 0; i < 30; i++) /* 16 segments ask for one */
		put(i, 40000);
	while (!checkpoints())
		hold_nap();
	ck_assert_int_gt(atomic_load(&hold_inside), 0);
	hold_end();
	ck_assert_int_eq(mneme_close(m), 0);
	store_remove();
}
END_TEST

static _Atomic int flood_stop, low_ran;

static void flood(void *arg, int status)
{
	if (!status && !atomic_load(&flood_stop))
		bridge_call(background_bridge(m), flood, arg, BRIDGE_CRITICAL, 0, 0);
}

static void low_work(void *arg, int status)
{
	atomic_fetch_add(&low_ran, 1);
}

START_TEST(test_background_low_work_goes_on_under_a_flood_of_critical_work)
{
	store_begin(NULL);
	struct bridge *bridge = background_bridge(m);
	for (unsigned i = 0; i < 4 * bridge_workers(bridge); i++)
		ck_assert_int_eq(bridge_call(bridge, flood, NULL, BRIDGE_CRITICAL, 0, 0), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(bridge_call(bridge, low_work, NULL, BRIDGE_LOW, 0, 0), 0);
	while (atomic_load(&low_ran) < 100)
		hold_nap();
	atomic_store(&flood_stop, 1);
	ck_assert_int_eq(mneme_close(m), 0);
	store_remove();
}
END_TEST

/* What was acknowledged is there after a close while work was queued, and no checkpoint is made twice
 * for it: the queued one leaves it to the close. */
START_TEST(test_background_close_with_queued_work_loses_nothing)
{
	char value[100];
	size_t length;

	for (int round = 0; round < 20; round++) {
		if (round == 0)
			store_begin(NULL);
		else
			ck_assert_int_eq(mneme_open(directory, NULL, &m, NULL), 0);
		hold_low(background_bridge(m));
		for (unsigned i = 0; i < 30; i++)
			put(1000 * round + i, 40000);
		put(1000 * round + 999, 100);
		hold_end();
		ck_assert_int_eq(mneme_close(m), 0);
		ck_assert_int_eq(atomic_load(&hold_inside), 0);
	}
	ck_assert_int_eq(mneme_open(directory, NULL, &m, NULL), 0);
	for (unsigned round = 0; round < 20; round++) {
		unsigned number = 1000 * round + 999;
		ck_assert_int_eq(
			mneme_kv_get(m, &number, sizeof number, value, sizeof value, &length, NULL),
			0);
		ck_assert_uint_eq(length, 100);
	}
	ck_assert_int_eq(mneme_close(m), 0);
	store_remove();
}
END_TEST

/* A spill makes nothing durable: neither one that was there before the time has come, nor one that runs
 * at that very moment, may be taken for the checkpoint that is due. */
START_TEST(test_background_checkpoints_what_was_spilled)
{
	const struct mneme_options options = {.dirty_bytes_max = 4 << 20, .checkpoint_ms = 1500};
	static const char bytes[50000];

	store_begin(&options);
	uint64_t before = checkpoints(), begin;
	put(1, 100);
	ck_assert_int_eq(checkpoint_spill(m), 0);
	while (checkpoints() == before)
		usleep(10000);

	before = checkpoints();
	pthread_mutex_lock(&m->checkpoint->run);
	for (unsigned i = 0; i < 40; i++) /* more than half of the arena: asks for room */
		ck_assert_int_eq(mneme_kv_put(m, &i, sizeof i, bytes, sizeof bytes, NULL,
					      MNEME_DURABILITY_MEMORY),
				 0);
	for (begin = bridge_now_ns(); bridge_now_ns() < begin + 2000000000ull;)
		usleep(10000);
	pthread_mutex_unlock(&m->checkpoint->run);
	while (checkpoints() == before)
		usleep(10000);
	ck_assert_int_eq(mneme_close(m), 0);
	store_remove();
}
END_TEST

UNIT_MAIN("background", test_background_checkpoints_what_was_spilled,
	  test_background_flushes_what_nobody_waits_for,
	  test_background_flushes_by_size_before_the_time_has_come,
	  test_background_checkpoints_a_store_that_is_dirty_for_long,
	  test_background_gives_the_memory_of_the_arena_back, test_background_packs_small_values,
	  test_background_raises_a_checkpoint_that_is_late,
	  test_background_low_work_goes_on_under_a_flood_of_critical_work,
	  test_background_close_with_queued_work_loses_nothing)
