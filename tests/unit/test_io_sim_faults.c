/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the simulated disk's faults: what one does at each kind of site, and a disk that is full.
 */
#include "tests/unit/sim_disk.h"

/* Does one call of the kind; its result. */
static int call_site(enum sim_site site, struct io_file *f)
{
	const uint8_t *base;
	struct io_file *g;
	int rc;

	switch (site) {
	case SIM_OPEN:
		rc = io->ops->open(io, "a", IO_READ, &g);
		if (!rc)
			io->ops->close(g);
		return rc;
	case SIM_READ:
		return (int)io->ops->read(f, back, 10, 0);
	case SIM_WRITE:
		return (int)io->ops->write(f, twos, 10, 0);
	case SIM_SYNC:
		return io->ops->sync(f);
	case SIM_SYNC_DIR:
		return io->ops->sync_dir(io, "");
	case SIM_TRUNCATE:
		return io->ops->truncate(f, 50);
	case SIM_ALLOCATE:
		return io->ops->allocate(f, 0, 200);
	case SIM_RENAME:
		return io->ops->rename(io, "a", "z");
	case SIM_UNLINK:
		return io->ops->unlink(io, "a");
	case SIM_MKDIR:
		return io->ops->mkdir(io, "m");
	default:
		return io->ops->map(f, 1 << 20, &base);
	}
}

START_TEST(test_sim_fault_at_each_kind_of_site)
{
	enum sim_site site = _i;
	struct io_file *f;
	uint64_t events;

	begin();
	f = durable_file(100);
	events = sim_events(disk);
	sim_fail(disk, 1u << site, 1, EIO, SIM_FAIL, 0);
	for (int other = 0; other < SIM_SITES; other++) /* others are left alone */
		if (other == SIM_READ && site != SIM_READ)
			ck_assert_int_eq(call_site(other, f), 10);
	ck_assert_int_eq(call_site(site, f), -EIO);
	ck_assert_uint_eq(sim_events(disk), events);
	ck_assert_int_ge(call_site(site, f), 0); /* once */
	sim_fail(disk, 1u << site, 2, ENOSPC, SIM_FAIL, 1);
	if (site != SIM_RENAME && site != SIM_UNLINK && site != SIM_MKDIR && site != SIM_MAP)
		ck_assert_int_ge(call_site(site, f), 0);
	else
		call_site(site, f);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(call_site(site, f), -ENOSPC); /* for good */
	sim_fail(disk, 0, 0, 0, SIM_FAIL, 0);
	ck_assert_int_ne(call_site(site, f), -ENOSPC);
	ck_assert_uint_eq(sim_calls(disk, 1u << site),
			  7 + (site == SIM_OPEN || site == SIM_WRITE || site == SIM_SYNC ||
			       site == SIM_SYNC_DIR));
	finish();
}
END_TEST

START_TEST(test_sim_short_transfers_are_continued)
{
	struct io_file *f;

	begin();
	f = durable_file(100);
	sim_fail(disk, 1u << SIM_WRITE, 1, 0, SIM_SHORT, 0);
	ck_assert_int_eq(io->ops->write(f, twos, 100, 0), 50);
	sim_fail(disk, 1u << SIM_READ, 1, 0, SIM_SHORT, 0);
	ck_assert_int_eq(io->ops->read(f, back, 100, 0), 50);
	sim_fail(disk, 1u << SIM_READ | 1u << SIM_WRITE, 1, 0, SIM_SHORT, 1);
	ck_assert_int_eq(io->ops->write(f, twos, 1, 0), 1);
	ck_assert_int_eq(io_write_full(f, io, twos, 100, 0), 0);
	ck_assert_int_eq(io_read_full(f, io, back, 100, 0), 0);
	ck_assert(all_are(back, 100, 2));
	ck_assert_int_eq(io->ops->write_sync(f, ones, 100, 0), 0);
	ck_assert_int_eq(io_read_full(f, io, back, 100, 0), 0);
	ck_assert(all_are(back, 100, 1));
	finish();
}
END_TEST

START_TEST(test_sim_interrupted_transfers_are_continued)
{
	struct io_request requests[2] = {{twos, 0, 100, 0}, {twos, 100, 100, 0}};
	struct io_file *f;

	begin();
	f = durable_file(100);
	sim_fail(disk, 1u << SIM_WRITE, 2, EINTR, SIM_FAIL, 0);
	ck_assert_int_eq(io->ops->write_batch(f, requests, 2), 0);
	ck_assert_int_eq(requests[1].result, -EINTR);
	sim_fail(disk, 1u << SIM_WRITE, 2, EINTR, SIM_FAIL, 0);
	ck_assert_int_eq(io_write_all(f, io, requests, 2), 0);
	ck_assert_int_eq(requests[1].result, 100);
	sim_fail(disk, 1u << SIM_READ, 1, EINTR, SIM_FAIL, 0);
	ck_assert_int_eq(io_read_full(f, io, back, 200, 0), 0);
	ck_assert(all_are(back, 200, 2));
	finish();
}
END_TEST

START_TEST(test_sim_half_a_write_then_an_error)
{
	struct io_file *f;

	begin();
	f = durable_file(100);
	sim_fail(disk, 1u << SIM_WRITE, 1, EIO, SIM_HALF_THEN_FAIL, 0);
	ck_assert_int_eq(io->ops->write(f, twos, 100, 0), -EIO);
	ck_assert_int_eq(io_read_full(f, io, back, 100, 0), 0);
	ck_assert(all_are(back, 50, 2));
	ck_assert(all_are(back + 50, 50, 1));
	finish();
}
END_TEST

START_TEST(test_sim_failed_sync_makes_nothing_durable_and_is_watched)
{
	struct io_file *f;
	uint64_t size;

	begin();
	f = durable_file(100);
	put(f, twos, 100, 0);
	sim_fail(disk, 1u << SIM_SYNC, 1, EIO, SIM_FAIL, 0);
	ck_assert_int_eq(io->ops->sync(f), -EIO);
	crash(SIM_CRASH_NONE_KEPT, 0);
	ck_assert(all_are(look("a", &size), 100, 1));
	sim_free(after);
	ck_assert_uint_eq(sim_syncs_after_failure(disk), 0);
	ck_assert_int_eq(io->ops->write_sync(f, twos, 10, 0), 0);
	ck_assert_uint_eq(sim_syncs_after_failure(disk), 1);
	io->ops->destroy(io); /* a new process may sync */
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	sync_file(open_file("a"));
	ck_assert_uint_eq(sim_syncs_after_failure(disk), 1);
	finish();
}
END_TEST

START_TEST(test_sim_limit_is_a_full_disk)
{
	uint64_t free_bytes, total;
	struct io_file *f;

	begin();
	f = durable_file(1000);
	sim_limit(disk, 1500);
	ck_assert_int_eq(io->ops->space(io, &free_bytes, &total), 0);
	ck_assert_uint_eq(free_bytes, 500);
	ck_assert_uint_eq(total, 1500);
	ck_assert_int_eq(io->ops->allocate(f, 0, 1501), -ENOSPC);
	ck_assert_int_eq(io->ops->truncate(f, 1501), -ENOSPC);
	ck_assert_int_eq(io->ops->write(f, ones, 1000, 600), 900); /* as far as it goes */
	ck_assert_int_eq(io_write_full(f, io, ones, 1000, 600), -ENOSPC);
	put(f, twos, 1500, 0);
	ck_assert_int_eq(io->ops->truncate(f, 100), 0);
	ck_assert_int_eq(io->ops->allocate(f, 0, 1500), 0);
	sim_limit(disk, 0);
	ck_assert_int_eq(io->ops->allocate(f, 0, 15000), 0);
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_sim_faults");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_sim_fault_at_each_kind_of_site, 0, SIM_SITES);
	tcase_add_test(tc, test_sim_short_transfers_are_continued);
	tcase_add_test(tc, test_sim_interrupted_transfers_are_continued);
	tcase_add_test(tc, test_sim_half_a_write_then_an_error);
	tcase_add_test(tc, test_sim_failed_sync_makes_nothing_durable_and_is_watched);
	tcase_add_test(tc, test_sim_limit_is_a_full_disk);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
