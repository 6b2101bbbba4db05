/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the model of core/store/io_sim.h, case by case: what each kind of crash keeps and
 *            loses, and that a crash state can be built again.
 */
#include "tests/unit/sim_disk.h"

#include <time.h>

START_TEST(test_sim_what_was_synced_survives_every_crash)
{
	uint64_t size;
	const uint8_t *bytes;

	begin();
	durable_file(10000);
	for (int kind = 0; kind < SIM_CRASH_KINDS; kind++)
		for (uint64_t seed = 0; seed < 20; seed++) {
			crash(kind, seed);
			bytes = look("a", &size);
			ck_assert_ptr_nonnull(bytes);
			ck_assert_uint_eq(size, 10000);
			ck_assert(all_are(bytes, size, 1));
			sim_free(after);
		}
	finish();
}
END_TEST

START_TEST(test_sim_none_kept_loses_all_that_no_sync_covers)
{
	struct io_file *f, *g;
	uint64_t size;

	begin();
	f = durable_file(10000);
	put(f, twos, 100, 0);
	put(f, twos, 10000, 10000);
	g = open_file("b");
	put(g, ones, 100, 0);
	sync_file(g); /* its data, but not its name */
	crash(SIM_CRASH_NONE_KEPT, 0);
	ck_assert(all_are(look("a", &size), 10000, 1));
	ck_assert_uint_eq(size, 10000);
	ck_assert_ptr_null(look("b", &size));
	sim_free(after);
	finish();
}
END_TEST

START_TEST(test_sim_all_kept_keeps_everything)
{
	struct io_file *f;
	uint64_t size;

	begin();
	f = durable_file(10000);
	put(f, twos, 5000, 7000);
	ck_assert_int_eq(io->ops->mkdir(io, "d"), 0);
	put(open_file("d/b"), twos, 100, 0);
	ck_assert_int_eq(io->ops->truncate(f, 11000), 0);
	ck_assert_int_eq(io->ops->allocate(f, 0, 12000), 0);
	ck_assert_int_eq(io->ops->punch(f, 0, 100), 0);
	crash(SIM_CRASH_ALL_KEPT, 0);
	ck_assert(all_are(look("a", &size), 100, 0));
	ck_assert(all_are(look("a", &size) + 100, 6900, 1));
	ck_assert(all_are(look("a", &size) + 7000, 4000, 2));
	ck_assert(all_are(look("a", &size) + 11000, 1000, 0));
	ck_assert_uint_eq(size, 12000);
	ck_assert(all_are(look("d/b", &size), 100, 2));
	ck_assert_uint_eq(size, 100);
	sim_free(after);
	finish();
}
END_TEST

START_TEST(test_sim_subset_reaches_every_combination)
{
	struct io_file *f;
	unsigned seen = 0, sizes = 0;

	begin();
	f = durable_file(3 * 4096);
	for (int i = 0; i < 3; i++)
		put(f, twos, 4096, i * 4096);
	put(f, twos, 4096, 3 * 4096);
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		unsigned combination = 0;
		const uint8_t *bytes;
		uint64_t size;

		crash(SIM_CRASH_SUBSET, seed);
		bytes = look("a", &size);
		for (int i = 0; i < 3; i++) { /* whole, or not at all */
			ck_assert(all_are(bytes + i * 4096, 4096, bytes[i * 4096]));
			combination |= (bytes[i * 4096] == 2) << i;
		}
		seen |= 1u << combination;
		if (size == 3 * 4096) /* lost with its size */
			sizes |= 1;
		else if (all_are(bytes + 3 * 4096, 4096, 2))
			sizes |= 2;
		else if (all_are(bytes + 3 * 4096, 4096, 0)) /* the size alone survived */
			sizes |= 4;
		else
			ck_abort_msg("part of a write in a crash that tears none");
		sim_free(after);
	}
	ck_assert_uint_eq(seen, 255);
	ck_assert_uint_eq(sizes, 7);
	finish();
}
END_TEST

START_TEST(test_sim_torn_writes_lose_sectors)
{
	unsigned torn = 0, holes = 0, prefixes = 0, suffixes = 0;
	struct io_file *f;

	begin();
	f = durable_file(8192);
	put(f, twos, 4096, 1000); /* not aligned */
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		unsigned kept = 0, changes = 0;
		const uint8_t *bytes;
		uint64_t size;

		crash(SIM_CRASH_TORN, seed);
		bytes = look("a", &size);
		ck_assert(all_are(bytes, 1000, 1));
		ck_assert(all_are(bytes + 5096, 8192 - 5096, 1));
		for (uint64_t at = 1000; at < 5096; at++) {
			ck_assert(bytes[at] == 1 || bytes[at] == 2);
			kept += bytes[at] == 2;
			if (at > 1000 && bytes[at] != bytes[at - 1]) {
				ck_assert_uint_eq(at % 512, 0);
				changes++;
			}
		}
		torn += kept && kept < 4096;
		holes += changes > 1;
		prefixes += changes == 1 && bytes[1000] == 2;
		suffixes += changes == 1 && bytes[1000] == 1;
		sim_free(after);
	}
	ck_assert_uint_gt(torn, SEEDS / 10);
	ck_assert_uint_gt(holes, 0);
	ck_assert_uint_gt(prefixes, SEEDS / 40);
	ck_assert_uint_gt(suffixes, SEEDS / 40);
	finish();
}
END_TEST

START_TEST(test_sim_torn_write_keeps_its_size)
{
	struct io_file *f;
	unsigned lost_ends = 0;

	begin();
	f = durable_file(4096);
	put(f, twos, 4096, 4096);
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		const uint8_t *bytes;
		uint64_t size;

		crash(SIM_CRASH_TORN, seed);
		bytes = look("a", &size);
		ck_assert(size == 4096 || size == 8192);
		if (size == 8192)
			lost_ends += bytes[8191] == 0 && !all_are(bytes + 4096, 4096, 0);
		sim_free(after);
	}
	ck_assert_uint_gt(lost_ends, SEEDS / 40);
	finish();
}
END_TEST

START_TEST(test_sim_size_only_leaves_zeros)
{
	struct io_file *f;
	const uint8_t *bytes;
	uint64_t size;

	begin();
	f = durable_file(10000);
	put(f, twos, 4000, 8000);
	put(open_file("b"), twos, 300, 0);
	crash(SIM_CRASH_SIZE_ONLY, 0);
	bytes = look("a", &size);
	ck_assert_uint_eq(size, 12000);
	ck_assert(all_are(bytes, 10000, 1));
	ck_assert(all_are(bytes + 10000, 2000, 0));
	bytes = look("b", &size);
	ck_assert_uint_eq(size, 300);
	ck_assert(all_are(bytes, 300, 0));
	sim_free(after);
	ck_assert_int_eq(io->ops->truncate(f, 500), 0);
	crash(SIM_CRASH_SIZE_ONLY, 0);
	look("a", &size);
	ck_assert_uint_eq(size, 500);
	sim_free(after);
	finish();
}
END_TEST

START_TEST(test_sim_names_lost_keeps_data_alone)
{
	struct io_file *f;
	uint64_t size;

	begin();
	f = durable_file(10000);
	put(f, twos, 100, 0);
	put(open_file("b"), ones, 100, 0);
	ck_assert_int_eq(io->ops->rename(io, "a", "c"), 0);
	crash(SIM_CRASH_NAMES_LOST, 0);
	ck_assert(all_are(look("a", &size), 100, 2));
	ck_assert_ptr_null(look("b", &size));
	ck_assert_ptr_null(look("c", &size));
	sim_free(after);
	sync_names("");
	crash(SIM_CRASH_NAMES_LOST, 0);
	ck_assert_ptr_null(look("a", &size));
	ck_assert_ptr_nonnull(look("b", &size));
	ck_assert(all_are(look("c", &size), 100, 2));
	sim_free(after);
	finish();
}
END_TEST

START_TEST(test_sim_rename_is_whole_or_nothing)
{
	unsigned old_kept = 0, new_kept = 0;
	struct io_file *f;
	uint64_t size;

	begin();
	durable_file(100);
	f = open_file("new");
	put(f, twos, 200, 0);
	sync_file(f);
	sync_names("");
	ck_assert_int_eq(io->ops->rename(io, "new", "a"), 0);
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		crash(SIM_CRASH_SUBSET, seed);
		ck_assert_ptr_nonnull(look("a", &size));
		if (size == 100) {
			ck_assert_ptr_nonnull(look("new", &size));
			old_kept++;
		} else {
			ck_assert(all_are(look("a", &size), 200, 2));
			ck_assert_ptr_null(look("new", &size));
			new_kept++;
		}
		sim_free(after);
	}
	ck_assert_uint_gt(old_kept, SEEDS / 10);
	ck_assert_uint_gt(new_kept, SEEDS / 10);
	finish();
}
END_TEST

START_TEST(test_sim_rename_between_directories_needs_both_synced)
{
	uint64_t size;

	begin();
	ck_assert_int_eq(io->ops->mkdir(io, "d"), 0);
	durable_file(100);
	ck_assert_int_eq(io->ops->rename(io, "a", "d/a"), 0);
	sync_names("d");
	crash(SIM_CRASH_NONE_KEPT, 0);
	ck_assert_ptr_nonnull(look("a", &size));
	ck_assert_ptr_null(look("d/a", &size));
	sim_free(after);
	sync_names("");
	crash(SIM_CRASH_NONE_KEPT, 0);
	ck_assert_ptr_null(look("a", &size));
	ck_assert_ptr_nonnull(look("d/a", &size));
	sim_free(after);
	finish();
}
END_TEST

START_TEST(test_sim_unlink_may_be_undone)
{
	unsigned there = 0;
	uint64_t size;

	begin();
	io->ops->close(durable_file(100));
	ck_assert_int_eq(io->ops->unlink(io, "a"), 0);
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		crash(SIM_CRASH_SUBSET, seed);
		if (look("a", &size)) {
			ck_assert(all_are(look("a", &size), 100, 1));
			there++;
		}
		sim_free(after);
	}
	ck_assert_uint_gt(there, SEEDS / 10);
	ck_assert_uint_lt(there, SEEDS - SEEDS / 10);
	crash(SIM_CRASH_NONE_KEPT, 0);
	ck_assert_ptr_nonnull(look("a", &size));
	sim_free(after);
	sync_names("");
	crash(SIM_CRASH_NONE_KEPT, 0);
	ck_assert_ptr_null(look("a", &size));
	sim_free(after);
	finish();
}
END_TEST

START_TEST(test_sim_lost_directory_takes_its_files)
{
	struct io_file *f;
	uint64_t size;

	begin();
	ck_assert_int_eq(io->ops->mkdir(io, "d"), 0);
	ck_assert_int_eq(io->ops->mkdir(io, "d/e"), 0);
	f = open_file("d/e/a");
	put(f, ones, 100, 0);
	sync_file(f);
	sync_names("d");
	sync_names("d/e");
	crash(SIM_CRASH_NONE_KEPT, 0);
	ck_assert_ptr_null(look("d/e/a", &size));
	sim_free(after);
	sync_names("");
	crash(SIM_CRASH_NONE_KEPT, 0);
	ck_assert_ptr_nonnull(look("d/e/a", &size));
	sim_free(after);
	finish();
}
END_TEST

START_TEST(test_sim_every_prefix_is_a_crash_point)
{
	struct io_file *f;
	uint64_t start, size;

	begin();
	f = durable_file(100);
	start = sim_events(disk);
	put(f, twos, 10, 0);
	put(f, twos, 10, 10);
	sync_file(f);
	put(f, ones, 20, 0);
	ck_assert_uint_eq(sim_events(disk), start + 4);
	ck_assert_int_eq(sim_crash(disk, start + 5, SIM_CRASH_ALL_KEPT, 0, &after), -EINVAL);
	for (uint64_t point = start; point <= start + 4; point++) {
		uint64_t all = point - start >= 3 ? 2 : point - start;

		ck_assert_int_eq(sim_crash(disk, point, SIM_CRASH_ALL_KEPT, 0, &after), 0);
		if (point == start + 4)
			all = 0;
		ck_assert(all_are(look("a", &size), all * 10, 2));
		ck_assert(all_are(look("a", &size) + all * 10, 100 - all * 10, 1));
		sim_free(after);
		ck_assert_int_eq(sim_crash(disk, point, SIM_CRASH_NONE_KEPT, 0, &after), 0);
		all = point - start >= 3 ? 20 : 0;
		ck_assert(all_are(look("a", &size), all, 2));
		ck_assert(all_are(look("a", &size) + all, 100 - all, 1));
		sim_free(after);
	}
	ck_assert_int_eq(sim_crash(disk, 0, SIM_CRASH_ALL_KEPT, 0, &after), 0);
	ck_assert_ptr_null(look("a", &size));
	sim_free(after);
	finish();
}
END_TEST

START_TEST(test_sim_crashed_disk_starts_durable_and_crashes_again)
{
	struct sim *first;
	struct io_file *f;
	struct io *second;
	uint64_t size;

	begin();
	put(durable_file(100), twos, 50, 0);
	crash(SIM_CRASH_ALL_KEPT, 0);
	first = after;
	ck_assert_uint_eq(sim_events(first), 0);
	ck_assert_int_eq(sim_io_new(first, &second), 0);
	ck_assert_int_eq(second->ops->open(second, "a", IO_WRITE, &f), 0);
	ck_assert_int_eq(io_write_full(f, second, ones, 100, 50), 0);
	ck_assert_uint_eq(sim_events(first), 1);
	ck_assert_int_eq(sim_crash(first, 1, SIM_CRASH_NONE_KEPT, 0, &after), 0);
	ck_assert(all_are(look("a", &size), 50, 2));
	ck_assert(all_are(look("a", &size) + 50, 50, 1));
	ck_assert_uint_eq(size, 100);
	second->ops->destroy(second); /* with its file open, as a process dies */
	sim_free(first);
	ck_assert(all_are(look("a", &size), 50, 2)); /* outlives the disk it came from */
	sim_free(after);
	finish();
}
END_TEST

START_TEST(test_sim_crash_is_a_function_of_its_seed)
{
	struct io_file *f;
	unsigned different = 0;

	begin();
	f = durable_file(20000);
	for (int i = 0; i < 10; i++)
		put(f, twos, 2000, i * 2000);
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct sim *once;
		const uint8_t *bytes;
		uint8_t *first;
		uint64_t size;

		crash(SIM_CRASH_TORN, seed);
		once = after;
		ck_assert_int_eq(sim_file(once, "a", &first, &size), 0);
		crash(SIM_CRASH_TORN, seed);
		bytes = look("a", &size);
		ck_assert_mem_eq(first, bytes, 20000);
		sim_free(after);
		crash(SIM_CRASH_TORN, seed + 1);
		different += !!memcmp(first, look("a", &size), 20000);
		sim_free(after);
		sim_free(once);
	}
	ck_assert_uint_gt(different, 40);
	finish();
}
END_TEST

START_TEST(test_sim_map_and_crash_agree)
{
	const uint8_t *base;
	struct io_file *f;
	uint64_t size;

	begin();
	f = durable_file(8192);
	ck_assert_int_eq(io->ops->map(f, 1 << 30, &base), 0);
	put(f, twos, 4096, 4096);
	sync_file(f);
	put(f, twos, 100, 0);
	crash(SIM_CRASH_NONE_KEPT, 0);
	ck_assert(all_are(look("a", &size), 4096, 1));
	ck_assert(all_are(look("a", &size) + 4096, 4096, 2));
	ck_assert(all_are(base, 100, 2));
	sim_free(after);
	ck_assert_int_eq(io->ops->truncate(f, 100), 0);
	ck_assert_int_eq(io->ops->allocate(f, 0, 20000), 0);
	ck_assert_int_eq(io->ops->map_grow(f, 20000), 0);
	ck_assert(all_are(base, 100, 2));
	ck_assert(all_are(base + 100, 19900, 0));
	finish();
}
END_TEST

START_TEST(test_sim_file_may_be_corrupted)
{
	const uint8_t *base;
	struct io_file *f;
	uint8_t *bytes;
	uint64_t size;

	begin();
	f = durable_file(10000);
	ck_assert_int_eq(sim_clone(disk, &after), 0);
	ck_assert_int_eq(sim_file(disk, "none", &bytes, &size), -ENOENT);
	ck_assert_int_eq(sim_file(disk, "a", &bytes, &size), 0);
	bytes[9999] = 7;
	ck_assert_int_eq(io_read_full(f, io, back, 10000, 0), 0);
	ck_assert_uint_eq(back[9999], 7);
	ck_assert_int_eq(io->ops->map(f, 1 << 20, &base), 0);
	ck_assert_uint_eq(base[9999], 7);
	put(f, twos, 10, 0);
	ck_assert_int_eq(io_read_full(f, io, back, 10000, 0), 0);
	ck_assert_uint_eq(back[9999], 7);
	ck_assert(all_are(look("a", &size), 10000, 1)); /* the clone shares nothing that changes */
	sim_free(after);
	ck_assert_int_eq(sim_clone(disk, &after), 0);
	ck_assert_uint_eq(look("a", &size)[9999], 7);
	sim_free(after);
	finish();
}
END_TEST

START_TEST(test_sim_clone_keeps_its_history)
{
	struct sim *clone;
	uint64_t size;

	begin();
	put(durable_file(100), twos, 100, 0);
	ck_assert_int_eq(sim_clone(disk, &clone), 0);
	ck_assert_uint_eq(sim_events(clone), sim_events(disk));
	ck_assert_int_eq(sim_crash(clone, sim_events(clone), SIM_CRASH_NONE_KEPT, 0, &after), 0);
	ck_assert(all_are(look("a", &size), 100, 1));
	sim_free(after);
	ck_assert_int_eq(sim_crash(clone, sim_events(clone), SIM_CRASH_ALL_KEPT, 0, &after), 0);
	ck_assert(all_are(look("a", &size), 100, 2));
	sim_free(after);
	sim_free(clone);
	finish();
}
END_TEST

static void count_file(void *arg, const char *name, uint64_t size)
{
	uint64_t *total = arg, present;
	uint8_t *bytes;

	ck_assert_int_eq(sim_file(disk, name, &bytes, &present), 0);
	ck_assert_uint_eq(present, size);
	total[0]++;
	total[1] += size;
}

START_TEST(test_sim_each_file_names_them_all)
{
	uint64_t total[2] = {0, 0};

	begin();
	durable_file(1000);
	ck_assert_int_eq(io->ops->mkdir(io, "d"), 0);
	put(open_file("d/b"), ones, 10, 0);
	open_file("empty");
	sim_each_file(disk, count_file, total);
	ck_assert_uint_eq(total[0], 3);
	ck_assert_uint_eq(total[1], 1010);
	finish();
}
END_TEST

START_TEST(test_sim_mirror_that_is_used_again_shows_no_old_bytes)
{
	const uint8_t *base;
	struct io_file *f;

	for (int round = 0; round < 20; round++) {
		begin();
		f = open_file("a");
		ck_assert_int_eq(io->ops->allocate(f, 0, 100000), 0);
		put(f, twos, 100, 50000);
		ck_assert_int_eq(io->ops->map(f, 1 << 30, &base), 0);
		ck_assert(all_are(base, 50000, 0));
		ck_assert(all_are(base + 50100, 100000 - 50100, 0));
		ck_assert_int_eq(io->ops->truncate(f, 300000), 0);
		ck_assert_int_eq(io->ops->map_grow(f, 300000), 0);
		ck_assert(all_are(base + 50100, 300000 - 50100, 0));
		put(f, ones, 280000, 10000 + round);
		ck_assert_int_eq(io->ops->truncate(f, 270001), 0);
		ck_assert_int_eq(io->ops->punch(f, 60000, 50000), 0);
		finish();
	}
}
END_TEST

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A store's worth of files: a crash state of it has to be cheap, or there are no million of them.
 * The bound is 20 times what was measured, to catch a copy of everything and not a busy machine. */
START_TEST(test_sim_crash_states_are_cheap)
{
	enum { STATES = 2000 };
	uint64_t begun, spent;
	struct io_file *f;
	struct sim *base;

	begin();
	for (int i = 0; i < 5; i++) {
		char name[8];

		snprintf(name, sizeof(name), "f%d", i);
		f = open_file(name);
		for (int at = 0; at < BIG; at += 65536)
			put(f, ones, 65536, at);
	}
	crash(SIM_CRASH_ALL_KEPT, 0);
	base = after;
	io->ops->destroy(io);
	ck_assert_int_eq(sim_io_new(base, &io), 0);
	f = open_file("f0");
	for (int i = 0; i < 8; i++)
		put(f, twos, 4096, i * 4096);
	begun = now_ns();
	for (int i = 0; i < STATES; i++) {
		ck_assert_int_eq(sim_crash(base, 8, SIM_CRASH_TORN, (uint64_t)i, &after), 0);
		sim_free(after);
	}
	spent = (now_ns() - begun) / STATES;
	printf("a crash state of five files of 1 MiB: %llu ns\n", (unsigned long long)spent);
	ck_assert_uint_lt(spent, 400000);
	io->ops->destroy(io);
	sim_free(base);
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_sim");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_sim_what_was_synced_survives_every_crash);
	tcase_add_test(tc, test_sim_none_kept_loses_all_that_no_sync_covers);
	tcase_add_test(tc, test_sim_all_kept_keeps_everything);
	tcase_add_test(tc, test_sim_subset_reaches_every_combination);
	tcase_add_test(tc, test_sim_torn_writes_lose_sectors);
	tcase_add_test(tc, test_sim_torn_write_keeps_its_size);
	tcase_add_test(tc, test_sim_size_only_leaves_zeros);
	tcase_add_test(tc, test_sim_names_lost_keeps_data_alone);
	tcase_add_test(tc, test_sim_rename_is_whole_or_nothing);
	tcase_add_test(tc, test_sim_rename_between_directories_needs_both_synced);
	tcase_add_test(tc, test_sim_unlink_may_be_undone);
	tcase_add_test(tc, test_sim_lost_directory_takes_its_files);
	tcase_add_test(tc, test_sim_every_prefix_is_a_crash_point);
	tcase_add_test(tc, test_sim_crashed_disk_starts_durable_and_crashes_again);
	tcase_add_test(tc, test_sim_crash_is_a_function_of_its_seed);
	tcase_add_test(tc, test_sim_map_and_crash_agree);
	tcase_add_test(tc, test_sim_file_may_be_corrupted);
	tcase_add_test(tc, test_sim_clone_keeps_its_history);
	tcase_add_test(tc, test_sim_each_file_names_them_all);
	tcase_add_test(tc, test_sim_mirror_that_is_used_again_shows_no_old_bytes);
	tcase_add_test(tc, test_sim_crash_states_are_cheap);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
