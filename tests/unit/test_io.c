/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   one suite over the three implementations of core/store/io.h, so that what the simulator
 *            proves holds for the real ones.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/store/io.h"
#include "core/store/io_sim.h"

enum { POSIX, URING, SIM, KINDS };

static struct sim *disk;
static struct io *io;
static char root[64];
static uint8_t big[1 << 20], back[1 << 20];

static int open_kind(int kind)
{
	switch (kind) {
	case POSIX:
		return io_posix_new(root, 0, &io);
	case URING:
		return io_uring_new(root, 0, &io);
	default:
		return sim_io_new(disk, &io);
	}
}

static int begin(int kind)
{
	snprintf(root, sizeof(root), "/tmp/mneme-io-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_assert_int_eq(sim_new(&disk), 0);
	if (open_kind(kind)) {
		fprintf(stderr, "test_io: io_uring is not permitted here, skipped\n");
		return 0;
	}
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 2654435761u >> 13 | 1);
	return 1;
}

static int remove_one(void *arg, const char *name)
{
	char path[IO_NAME_MAX + 1];

	snprintf(path, sizeof(path), "%s%s%s", (char *)arg, *(char *)arg ? "/" : "", name);
	if (io->ops->unlink(io, path))
		io->ops->list(io, path, remove_one, path);
	return 0;
}

static void finish(void)
{
	char command[96];

	io->ops->list(io, "", remove_one, (char[]){""});
	io->ops->destroy(io);
	sim_free(disk);
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	ck_assert_int_eq(system(command), 0);
}

static struct io_file *open_new(const char *name)
{
	struct io_file *f;

	ck_assert_int_eq(io->ops->open(io, name, IO_WRITE | IO_CREATE | IO_EXCLUSIVE, &f), 0);
	return f;
}

START_TEST(test_io_reads_what_was_written)
{
	struct io_file *f;
	uint64_t size;

	if (!begin(_i))
		return;
	f = open_new("a");
	ck_assert_int_eq(io_write_full(f, io, big, 10000, 5000), 0);
	ck_assert_int_eq(io->ops->size(f, &size), 0);
	ck_assert_uint_eq(size, 15000);
	ck_assert_int_eq(io_read_full(f, io, back, 15000, 0), 0);
	for (int i = 0; i < 5000; i++)
		ck_assert_uint_eq(back[i], 0);
	ck_assert_mem_eq(back + 5000, big, 10000);
	ck_assert_int_eq(io->ops->read(f, back, 100, 14950), 50);
	ck_assert_int_eq(io->ops->read(f, back, 100, 15000), 0);
	ck_assert_int_eq(io_read_full(f, io, back, 100, 14950), -ENODATA);
	ck_assert_int_eq(io->ops->truncate(f, 6000), 0);
	ck_assert_int_eq(io->ops->truncate(f, 9000), 0);
	ck_assert_int_eq(io_read_full(f, io, back, 9000, 0), 0);
	ck_assert_mem_eq(back + 5000, big, 1000);
	for (int i = 6000; i < 9000; i++)
		ck_assert_uint_eq(back[i], 0);
	io->ops->close(f);
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, test_io_reads_what_was_written, 0, KINDS);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
