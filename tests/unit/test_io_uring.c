/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what io_uring.c alone has to get right, and which implementation is chosen.
 * Failure:   where the kernel does not permit io_uring its cases say so and pass.
 */
#include "tests/unit/io_kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void lift_file_limit(void *arg)
{
	struct rlimit limit;

	++*(int *)arg;
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void set_file_limit(uint64_t bytes)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, SIG_IGN);
}

START_TEST(test_uring_chain_broken_by_a_short_write_is_finished)
{
	struct uring_counts counts;
	struct io_file *f;
	int hooked = 0;

	if (!begin(URING))
		return;
	uring_set_use(io, URING_LINK_WRITES);
	f = open_new("log");
	uring_on_broken_chain(io, lift_file_limit, &hooked);
	set_file_limit(5000); /* the kernel writes up to here, and cancels the linked sync */
	ck_assert_int_eq(io->ops->write_sync(f, big, 20000, 0), 0);
	ck_assert_int_eq(hooked, 1);
	uring_read_counts(io, &counts);
	ck_assert_uint_eq(counts.chains, 1);
	ck_assert_uint_eq(counts.broken, 1);
	check_bytes(f, big, 0, 20000);
	ck_assert_int_eq(io->ops->write_sync(f, big, 20000, 0), 0);
	uring_read_counts(io, &counts);
	ck_assert_uint_eq(counts.broken, 1);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_uring_chain_that_cannot_be_finished_is_an_error)
{
	struct uring_counts counts;
	struct io_file *f;

	if (!begin(URING))
		return;
	uring_set_use(io, URING_LINK_WRITES);
	f = open_new("log");
	set_file_limit(5000);
	ck_assert_int_eq(io->ops->write_sync(f, big, 20000, 0), -ENOSPC);
	uring_read_counts(io, &counts);
	ck_assert_uint_eq(counts.broken, 1);
	ck_assert_uint_eq(size_of(f), 5000);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_uring_failed_sync_is_not_tried_again)
{
	struct uring_counts counts;
	struct io_file *f;
	char path[96];

	if (!begin(URING))
		return;
	uring_set_use(io, URING_LINK_WRITES);
	snprintf(path, sizeof(path), "%s/null", root);
	ck_assert_int_eq(symlink("/dev/null", path), 0); /* takes every write, refuses to sync */
	ck_assert_int_eq(io->ops->open(io, "null", IO_WRITE, &f), 0);
	ck_assert_int_eq(io->ops->write_sync(f, big, 4096, 0), -EINVAL);
	uring_read_counts(io, &counts);
	ck_assert_uint_eq(counts.chains, 1);
	ck_assert_uint_eq(counts.broken, 0);
	io->ops->close(f);
	snprintf(path, sizeof(path), "%s/full", root);
	ck_assert_int_eq(symlink("/dev/full", path), 0); /* refuses every write */
	ck_assert_int_eq(io->ops->open(io, "full", IO_WRITE, &f), 0);
	ck_assert_int_eq(io->ops->write_sync(f, big, 4096, 0), -ENOSPC);
	uring_read_counts(io, &counts);
	ck_assert_uint_eq(counts.broken, 0);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_uring_chain_results_become_one_answer)
{
	static const struct {
		int32_t wrote, synced;
		int want, broken;
	} cases[] = {
		{100, 0, 0, 0},
		{100, -ECANCELED, 0, 1},
		{40, -ECANCELED, 0, 1},
		{40, 0, 0, 1},
		{0, -ECANCELED, 0, 1},
		{-EINTR, -ECANCELED, 0, 1},
		{100, -EIO, -EIO, 0},
		{40, -EIO, -EIO, 0},
		{-EIO, -ECANCELED, -EIO, 0},
		{-ENOSPC, 0, -ENOSPC, 0},
		{-EINTR, -EIO, -EIO, 0},
	};
	struct uring_counts before, now;
	struct io_file *f;

	if (!begin(URING))
		return;
	f = open_new("log");
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uring_read_counts(io, &before);
		ck_assert_int_eq(io->ops->truncate(f, 0), 0);
		if (cases[i].wrote > 0) /* as the kernel did */
			ck_assert_int_eq(io_write_full(f, io, big, (size_t)cases[i].wrote, 7), 0);
		ck_assert_int_eq(
			uring_finish_chain(f, big, 100, 7, cases[i].wrote, cases[i].synced),
			cases[i].want);
		uring_read_counts(io, &now);
		ck_assert_uint_eq(now.broken - before.broken, (unsigned)cases[i].broken);
		if (!cases[i].want)
			check_bytes(f, big, 7, 100);
	}
	io->ops->close(f);
	finish();
}
END_TEST

/* Puts something else in the place of every ring of this process; how many there were. */
static int break_rings(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), count = 0;

	for (int fd = 3; fd < 64; fd++) {
		char path[32], target[64];
		ssize_t length;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		length = readlink(path, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = 0;
		if (strstr(target, "[io_uring]") && ++count)
			ck_assert_int_eq(dup2(null, fd), fd);
	}
	close(null);
	return count;
}

START_TEST(test_uring_ring_that_fails_is_replaced)
{
	struct io_request requests[IO_BATCH_MAX];
	struct uring_counts counts;
	struct io_file *f;

	if (!begin(FORCED))
		return;
	f = open_new("log");
	ck_assert_int_eq(break_rings(), 1);
	fill_requests(requests, IO_BATCH_MAX, big);
	ck_assert_int_eq(io->ops->write_batch(f, requests, IO_BATCH_MAX), 0);
	for (unsigned i = 0; i < IO_BATCH_MAX; i++)
		ck_assert_int_eq(requests[i].result, 4096 - (int)i);
	fill_requests(requests, IO_BATCH_MAX, back);
	ck_assert_int_eq(io->ops->read_batch(f, requests, IO_BATCH_MAX), 0);
	for (unsigned i = 0; i < IO_BATCH_MAX; i++)
		ck_assert_mem_eq(back + i * 4096, big + i * 4096, 4096 - i);
	ck_assert_int_eq(break_rings(), 1); /* the read made a new one */
	ck_assert_int_eq(io->ops->write_sync(f, big, 100000, 0), 0);
	check_bytes(f, big, 0, 100000);
	ck_assert_int_eq(io->ops->write_sync(f, big, 100000, 0), 0);
	uring_read_counts(io, &counts);
	ck_assert_uint_eq(counts.chains, 2);
	ck_assert_uint_eq(counts.broken, 1);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_io_open_directory_chooses_by_itself)
{
	int uring_here;

	if (!begin(POSIX))
		return;
	io->ops->destroy(io);
	uring_here = !io_uring_new(root, 0, &io);
	if (uring_here)
		io->ops->destroy(io);
	ck_assert_int_eq(io_open_directory(root, 0, &io), 0);
	ck_assert_str_eq(io->ops->name, uring_here ? "uring" : "posix");
	io->ops->destroy(io);
	setenv("MNEME_IO", "posix", 1);
	ck_assert_int_eq(io_open_directory(root, 0, &io), 0);
	ck_assert_str_eq(io->ops->name, "posix");
	io->ops->destroy(io);
	setenv("MNEME_IO", "uring-linked", 1);
	ck_assert_int_eq(io_open_directory(root, 0, &io), uring_here ? 0 : -EPERM);
	if (uring_here)
		io->ops->destroy(io);
	setenv("MNEME_IO", "nonsense", 1);
	ck_assert_int_eq(io_open_directory(root, 0, &io), -EINVAL);
	unsetenv("MNEME_IO");
	ck_assert_int_eq(rmdir(root), 0);
	ck_assert_int_eq(io_open_directory(root, 0, &io), -ENOENT);
	ck_assert_int_eq(io_open_directory(root, 1, &io), 0);
	finish();
}
END_TEST

/* ---- what reaches the kernel ---- */

static _Atomic int whole_syncs, range_syncs;

/* In place of the C library's: counts, and does the same. */
int fdatasync(int fd)
{
	whole_syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

#undef pwritev2
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags);
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
{
	range_syncs += flags & RWF_DSYNC ? 1 : 0;
	return syscall(SYS_pwritev2, fd, parts, count, offset, 0, flags);
}

static void counts_clear(void)
{
	whole_syncs = range_syncs = 0;
}

START_TEST(test_io_every_sync_reaches_the_kernel)
{
	struct io_request request = {.data = big, .length = 100, .offset = 8192};
	struct io_file *f;

	if (!begin(_i))
		return;
	f = open_new("log");
	counts_clear();
	ck_assert_int_eq(io->ops->write_sync(f, big, 4096, 0), 0);
	ck_assert_int_eq(whole_syncs, 1); /* a new file: its size and what others wrote */
	for (int i = 1; i < 4; i++) {
		counts_clear();
		ck_assert_int_eq(io->ops->write_sync(f, big, 100, i * 100), 0);
		ck_assert_int_eq(whole_syncs + range_syncs, 1);
	}
	/* whatever else has changed the file, all of it is synced */
	ck_assert_int_eq(io->ops->write(f, big, 10, 9000), 10);
	counts_clear();
	ck_assert_int_eq(io->ops->write_sync(f, big, 100, 400), 0);
	ck_assert_int_eq(whole_syncs, 1);
	ck_assert_int_eq(io->ops->write_batch(f, &request, 1), 0);
	counts_clear();
	ck_assert_int_eq(io->ops->write_sync(f, big, 100, 500), 0);
	ck_assert_int_eq(whole_syncs, 1);
	ck_assert_int_eq(io->ops->truncate(f, 20000), 0);
	counts_clear();
	ck_assert_int_eq(io->ops->write_sync(f, big, 100, 600), 0);
	ck_assert_int_eq(whole_syncs, 1);
	ck_assert_int_eq(io->ops->allocate(f, 20000, 4096), 0);
	counts_clear();
	ck_assert_int_eq(io->ops->write_sync(f, big, 100, 700), 0);
	ck_assert_int_eq(whole_syncs, 1);
	counts_clear();
	ck_assert_int_eq(io->ops->sync(f), 0);
	ck_assert_int_eq(whole_syncs, 1);
	io->ops->close(f);
	finish();
}
END_TEST

/* From here on the system call that makes a ring fails as a container's filter lets it. */
static void forbid_rings(int error)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {.len = 4, .filter = program};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

START_TEST(test_io_is_plain_where_rings_are_forbidden)
{
	static const int errors[] = {EPERM, ENOSYS, EACCES};
	struct io_file *f;

	if (!begin(POSIX))
		return;
	io->ops->destroy(io);
	forbid_rings(errors[_i]); /* for good: each case is a process of its own */
	ck_assert_int_eq(io_uring_new(root, 0, &io), -errors[_i]);
	ck_assert_int_eq(io_open_directory(root, 0, &io), 0);
	ck_assert_str_eq(io->ops->name, "posix");
	f = open_new("log");
	ck_assert_int_eq(io->ops->write_sync(f, big, 20000, 0), 0);
	ck_assert_int_eq(io->ops->write_sync(f, big, 300, 20000), 0);
	check_bytes(f, big, 0, 20000);
	io->ops->close(f);
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_uring");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(tc, make_roots, remove_roots);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_uring_chain_broken_by_a_short_write_is_finished);
	tcase_add_test(tc, test_uring_chain_that_cannot_be_finished_is_an_error);
	tcase_add_test(tc, test_uring_failed_sync_is_not_tried_again);
	tcase_add_test(tc, test_uring_chain_results_become_one_answer);
	tcase_add_test(tc, test_uring_ring_that_fails_is_replaced);
	tcase_add_test(tc, test_io_open_directory_chooses_by_itself);
	tcase_add_loop_test(tc, test_io_every_sync_reaches_the_kernel, POSIX, FORCED);
	if (getenv("CK_FORK") && !strcmp(getenv("CK_FORK"), "no"))
		puts("skipped: test_io_is_plain_where_rings_are_forbidden: it needs CK_FORK=yes");
	else
		tcase_add_loop_test(tc, test_io_is_plain_where_rings_are_forbidden, 0, 3);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
