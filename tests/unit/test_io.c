/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   one suite over the implementations of core/store/io.h, so that what the simulator proves
 *            holds for the real ones.
 * Failure:   where the kernel does not permit io_uring its cases say so and pass.
 */
#include "tests/unit/io_kinds.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(test_io_reads_what_was_written)
{
	struct io_file *f;

	if (!begin(_i))
		return;
	f = open_new("a");
	ck_assert_int_eq(io_write_full(f, io, big, 10000, 5000), 0);
	ck_assert_uint_eq(size_of(f), 15000);
	check_zeros(f, 0, 5000);
	check_bytes(f, big, 5000, 10000);
	ck_assert_int_eq(io->ops->write(f, big + 7, 1, 5001), 1);
	check_bytes(f, big + 7, 5001, 1);
	check_bytes(f, big + 2, 5002, 9998);
	ck_assert_int_eq(io->ops->read(f, back, 100, 14950), 50);
	ck_assert_int_eq(io->ops->read(f, back, 100, 15000), 0);
	ck_assert_int_eq(io->ops->read(f, back, 100, 1 << 30), 0);
	ck_assert_int_eq(io_read_full(f, io, back, 100, 14950), -ENODATA);
	ck_assert_int_eq(io->ops->sync(f), 0);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_io_sizes_change_as_asked)
{
	struct io_file *f;

	if (!begin(_i))
		return;
	f = open_new("a");
	ck_assert_int_eq(io_write_full(f, io, big, 10000, 0), 0);
	ck_assert_int_eq(io->ops->truncate(f, 6000), 0);
	ck_assert_int_eq(io->ops->truncate(f, 9000), 0);
	check_bytes(f, big, 0, 6000);
	check_zeros(f, 6000, 3000);
	ck_assert_int_eq(io->ops->allocate(f, 0, 100), 0);
	ck_assert_uint_eq(size_of(f), 9000);
	ck_assert_int_eq(io->ops->allocate(f, 8192, 100000), 0);
	ck_assert_uint_eq(size_of(f), 108192);
	check_bytes(f, big, 0, 6000);
	check_zeros(f, 6000, 102192);
	ck_assert_int_eq(io_write_full(f, io, big, 20000, 0), 0);
	ck_assert_int_eq(io->ops->punch(f, 4096, 8192), 0);
	check_bytes(f, big, 0, 4096);
	check_zeros(f, 4096, 8192);
	check_bytes(f, big + 12288, 12288, 20000 - 12288);
	ck_assert_uint_eq(size_of(f), 108192);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_io_open_flags)
{
	struct io_file *f, *r;

	if (!begin(_i))
		return;
	ck_assert_int_eq(io->ops->open(io, "a", IO_WRITE, &f), -ENOENT);
	ck_assert_int_eq(io->ops->open(io, "no/a", IO_WRITE | IO_CREATE, &f), -ENOENT);
	f = open_new("a");
	ck_assert_int_eq(io->ops->open(io, "a", IO_WRITE | IO_CREATE | IO_EXCLUSIVE, &r), -EEXIST);
	ck_assert_int_eq(io_write_full(f, io, big, 100, 0), 0);
	ck_assert_int_eq(io->ops->open(io, "a", IO_WRITE | IO_CREATE, &r), 0);
	check_bytes(r, big, 0, 100);
	io->ops->close(r);
	ck_assert_int_eq(io->ops->open(io, "a", IO_READ, &r), 0);
	check_bytes(r, big, 0, 100);
	ck_assert_int_eq(io->ops->write(r, big, 10, 0), -EBADF);
	io->ops->close(r);
	io->ops->close(f);
	ck_assert_int_eq(io->ops->mkdir(io, "d"), 0);
	ck_assert_int_eq(io->ops->open(io, "d", IO_WRITE, &r), -EISDIR);
	finish();
}
END_TEST

START_TEST(test_io_refuses_names_that_leave_the_store)
{
	static const char *const bad[] = {"", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "."};
	struct io_file *f;
	char longest[IO_NAME_MAX + 2];

	if (!begin(_i))
		return;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(io->ops->open(io, bad[i], IO_WRITE | IO_CREATE, &f), -EINVAL);
		ck_assert_int_eq(io->ops->unlink(io, bad[i]), -EINVAL);
		ck_assert_int_eq(io->ops->mkdir(io, bad[i]), -EINVAL);
		ck_assert_int_eq(io->ops->rename(io, "a", bad[i]), -EINVAL);
		ck_assert_int_eq(io->ops->rename(io, bad[i], "a"), -EINVAL);
	}
	memset(longest, 'x', sizeof(longest) - 1);
	longest[IO_NAME_MAX + 1] = 0;
	ck_assert_int_eq(io->ops->open(io, longest, IO_WRITE | IO_CREATE, &f), -ENAMETOOLONG);
	longest[IO_NAME_MAX] = 0;
	f = open_new(longest);
	io->ops->close(f);
	finish();
}
END_TEST

struct seen {
	int count, stop_at;
	char names[8][IO_NAME_MAX + 1];
};

static int see(void *arg, const char *name)
{
	struct seen *seen = arg;

	ck_assert_int_lt(seen->count, 8);
	strcpy(seen->names[seen->count++], name);
	return seen->count == seen->stop_at ? 42 : 0;
}

static int saw(const struct seen *seen, const char *name)
{
	for (int i = 0; i < seen->count; i++)
		if (!strcmp(seen->names[i], name))
			return 1;
	return 0;
}

START_TEST(test_io_names_are_made_listed_renamed_and_removed)
{
	struct seen top = {0}, wal = {0}, few = {.stop_at = 2};
	struct io_file *f;

	if (!begin(_i))
		return;
	ck_assert_int_eq(io->ops->mkdir(io, "wal"), 0);
	ck_assert_int_eq(io->ops->mkdir(io, "wal"), -EEXIST);
	ck_assert_int_eq(io->ops->mkdir(io, "no/wal"), -ENOENT);
	io->ops->close(open_new("super"));
	io->ops->close(open_new("wal/1"));
	f = open_new("wal/2");
	ck_assert_int_eq(io_write_full(f, io, big, 10, 0), 0);
	ck_assert_int_eq(io->ops->rename(io, "wal/2", "wal/1"), 0);
	ck_assert_int_eq(io->ops->rename(io, "wal/2", "wal/3"), -ENOENT);
	ck_assert_int_eq(io->ops->rename(io, "wal/1", "new"), 0);
	check_bytes(f, big, 0, 10);
	io->ops->close(f);
	io->ops->close(open_new("wal/4"));
	ck_assert_int_eq(io->ops->rename(io, "super", "wal"), -EISDIR);
	ck_assert_int_eq(io->ops->list(io, "", see, &top), 0);
	ck_assert_int_eq(top.count, 3);
	ck_assert(saw(&top, "wal") && saw(&top, "super") && saw(&top, "new"));
	ck_assert_int_eq(io->ops->list(io, "wal", see, &wal), 0);
	ck_assert_int_eq(wal.count, 1);
	ck_assert(saw(&wal, "4"));
	ck_assert_int_eq(io->ops->list(io, "", see, &few), 42);
	ck_assert_int_eq(few.count, 2);
	ck_assert_int_eq(io->ops->list(io, "no", see, &few), -ENOENT);
	ck_assert_int_eq(io->ops->sync_dir(io, ""), 0);
	ck_assert_int_eq(io->ops->sync_dir(io, "wal"), 0);
	ck_assert_int_eq(io->ops->sync_dir(io, "no"), -ENOENT);
	ck_assert_int_eq(io->ops->unlink(io, "new"), 0);
	ck_assert_int_eq(io->ops->unlink(io, "new"), -ENOENT);
	ck_assert_int_eq(io->ops->unlink(io, "wal"), -EISDIR);
	finish();
}
END_TEST

START_TEST(test_io_an_unlinked_file_lives_until_close)
{
	struct io_file *f;

	if (!begin(_i))
		return;
	f = open_new("a");
	ck_assert_int_eq(io->ops->unlink(io, "a"), 0);
	ck_assert_int_eq(io_write_full(f, io, big, 5000, 0), 0);
	check_bytes(f, big, 0, 5000);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_io_map_shows_writes_and_never_moves)
{
	const uint8_t *base, *again;
	struct io_file *f, *r;

	if (!begin(_i))
		return;
	f = open_new("heap");
	ck_assert_int_eq(io->ops->map_grow(f, 0), -EINVAL);
	ck_assert_int_eq(io_write_full(f, io, big, 8192, 0), 0);
	ck_assert_int_eq(io->ops->map(f, 1ull << 36, &base), 0);
	ck_assert_int_eq(io->ops->map(f, 1ull << 36, &again), -EBUSY);
	ck_assert_mem_eq(base, big, 8192);
	ck_assert_int_eq(io_write_full(f, io, big + 77, 4096, 100), 0);
	ck_assert_mem_eq(base + 100, big + 77, 4096);
	ck_assert_int_eq(io->ops->map_grow(f, BIG), -EINVAL);
	ck_assert_int_eq(io->ops->allocate(f, 8192, BIG - 8192), 0);
	ck_assert_int_eq(io->ops->map_grow(f, BIG), 0);
	ck_assert_int_eq(io_write_full(f, io, big, BIG - 4096, 4096), 0);
	ck_assert_mem_eq(base + 4096, big, BIG - 4096);
	ck_assert_int_eq(io->ops->map_drop(f, 4096, BIG - 4096), 0);
	ck_assert_mem_eq(base + 4096, big, BIG - 4096);
	ck_assert_int_eq(io->ops->punch(f, 4096, 4096), 0);
	for (int i = 0; i < 4096; i++)
		ck_assert_uint_eq(base[4096 + i], 0);
	/* a second open file, as of a reader, maps the same bytes */
	ck_assert_int_eq(io->ops->open(io, "heap", IO_READ, &r), 0);
	ck_assert_int_eq(io->ops->map(r, 1ull << 36, &again), 0);
	ck_assert_mem_eq(again, base, BIG);
	io->ops->close(f);
	ck_assert_mem_eq(again + 8192, big + 4096, 4096);
	io->ops->close(r);
	finish();
}
END_TEST

START_TEST(test_io_map_reservation_is_a_limit)
{
	const uint8_t *base;
	struct io_file *f;

	if (!begin(_i))
		return;
	f = open_new("heap");
	ck_assert_int_eq(io_write_full(f, io, big, 16384, 0), 0);
	ck_assert_int_eq(io->ops->map(f, 8192, &base), -EFBIG);
	ck_assert_int_eq(io->ops->map(f, 20000, &base), 0);
	ck_assert_int_eq(io->ops->map_drop(f, 0, 16384), 0);
	ck_assert_mem_eq(base, big, 16384);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_io_batches_transfer_every_request)
{
	enum { COUNT = 150 }; /* more than IO_BATCH_MAX, and 7 is prime to it */
	struct io_request requests[COUNT];
	struct io_file *f;

	if (!begin(_i))
		return;
	f = open_new("heap");
	fill_requests(requests, COUNT, big);
	ck_assert_int_eq(io->ops->write_batch(f, requests, IO_BATCH_MAX), 0);
	for (unsigned i = 0; i < IO_BATCH_MAX; i++)
		ck_assert_int_eq(requests[i].result, 4096 - (int)i);
	ck_assert_int_eq(io_write_all(f, io, requests, COUNT), 0);
	fill_requests(requests, COUNT, back);
	memset(back, 0, sizeof(back));
	ck_assert_int_eq(io->ops->truncate(f, COUNT * 4096), 0);
	ck_assert_int_eq(io_read_all(f, io, requests, COUNT), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		ck_assert_int_eq(requests[i].result, 4096 - (int)i);
		ck_assert_mem_eq(back + i * 4096, big + i * 4096, 4096 - i);
	}
	requests[3].offset = COUNT * 4096 - 10; /* the file ends inside */
	ck_assert_int_eq(io->ops->read_batch(f, requests, 5), 0);
	ck_assert_int_eq(requests[3].result, 10);
	ck_assert_int_eq(io_read_all(f, io, requests, 5), -ENODATA);
	ck_assert_int_eq(requests[4].result, 4092);
	io->ops->close(f);
	ck_assert_int_eq(io->ops->open(io, "heap", IO_READ, &f), 0);
	ck_assert_int_eq(io_write_all(f, io, requests, 5), -EBADF);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_io_write_sync_writes_everything)
{
	struct io_file *f;

	if (!begin(_i))
		return;
	f = open_new("log");
	ck_assert_int_eq(io->ops->write_sync(f, big, 100000, 3), 0);
	check_bytes(f, big, 3, 100000);
	ck_assert_int_eq(io->ops->write_sync(f, big, 1, 0), 0);
	check_bytes(f, big, 0, 1);
	io->ops->close(f);
	ck_assert_int_eq(io->ops->open(io, "log", IO_READ, &f), 0);
	ck_assert_int_eq(io->ops->write_sync(f, big, 100, 0), -EBADF);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_io_lock_admits_one_writer_and_names_it)
{
	char mine[128] = "", theirs[128] = "the second", here[128];
	struct io *second, *reader;

	if (!begin(_i))
		return;
	ck_assert_int_eq(open_kind(_i, &second), 0);
	ck_assert_int_eq(open_kind(_i, &reader), 0);
	ck_assert_int_eq(reader->ops->lock(reader, "lock", NULL, 0), 0);
	ck_assert_int_eq(io->ops->lock(io, "lock", mine, sizeof(mine)), 0);
	snprintf(here, sizeof(here), "pid %ld on ", (long)getpid());
	ck_assert_int_eq(strncmp(mine, here, strlen(here)), 0);
	ck_assert_int_eq(second->ops->lock(second, "lock", theirs, sizeof(theirs)), -EBUSY);
	ck_assert_str_eq(theirs, mine);
	ck_assert_int_eq(second->ops->lock(second, "lock", NULL, 0), 0);
	second->ops->destroy(second);
	io->ops->destroy(io);
	ck_assert_int_eq(open_kind(_i, &io), 0);
	ck_assert_int_eq(open_kind(_i, &second), 0);
	strcpy(mine, "the first");
	ck_assert_int_eq(io->ops->lock(io, "lock", mine, sizeof(mine)), 0);
	ck_assert_int_eq(second->ops->lock(second, "lock", theirs, 6), -EBUSY);
	ck_assert_str_eq(theirs, "the f"); /* cut to the buffer */
	second->ops->destroy(second);
	reader->ops->destroy(reader);
	finish();
}
END_TEST

START_TEST(test_io_lock_ends_with_its_process)
{
	char holder[128] = "";
	int status, ready[2];
	char byte;
	pid_t child;

	if (!begin(_i))
		return;
	ck_assert_int_eq(pipe(ready), 0);
	child = fork();
	if (!child) {
		struct io *other;

		if (open_kind(_i, &other) || other->ops->lock(other, "lock", holder, 128))
			_exit(1);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(1);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	ck_assert_int_eq(io->ops->lock(io, "lock", holder, sizeof(holder)), -EBUSY);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	holder[0] = 0;
	ck_assert_int_eq(io->ops->lock(io, "lock", holder, sizeof(holder)), 0);
	close(ready[0]);
	close(ready[1]);
	finish();
}
END_TEST

START_TEST(test_io_marks_of_readers_are_seen_until_the_next_or_the_end)
{
	char holder[128] = "";
	struct io *reader;

	if (!begin(_i))
		return;
	ck_assert_int_eq(open_kind(_i, &reader), 0);
	/* Before there was a writer there is nothing to be told. */
	ck_assert_int_eq(reader->ops->lock(reader, "lock", NULL, 0), 0);
	ck_assert_int_eq(reader->ops->mark(reader, 7), 0);
	ck_assert_int_eq(reader->ops->has_writer(reader), 0);
	reader->ops->destroy(reader);
	ck_assert_int_eq(io->ops->lock(io, "lock", holder, sizeof(holder)), 0);
	ck_assert_int_eq(io->ops->marked(io, 0, IO_MARK_MAX), 0);
	ck_assert_int_eq(open_kind(_i, &reader), 0);
	ck_assert_int_eq(reader->ops->lock(reader, "lock", NULL, 0), 0);
	ck_assert_int_eq(reader->ops->has_writer(reader), 1);
	ck_assert_int_eq(io->ops->has_writer(io), 0);
	ck_assert_int_eq(io->ops->marked(io, IO_MARK_OPENING, IO_MARK_OPENING), 1);
	ck_assert_int_eq(io->ops->marked(io, 1, IO_MARK_MAX), 0);
	ck_assert_int_eq(reader->ops->mark(reader, 7), 0);
	ck_assert_int_eq(io->ops->marked(io, 0, 6), 0);
	ck_assert_int_eq(io->ops->marked(io, 8, IO_MARK_MAX), 0);
	ck_assert_int_eq(io->ops->marked(io, 7, 7), 1);
	ck_assert_int_eq(reader->ops->mark(reader, IO_MARK_MAX), 0);
	ck_assert_int_eq(io->ops->marked(io, 0, IO_MARK_MAX - 1), 0);
	ck_assert_int_eq(io->ops->marked(io, 0, IO_MARK_MAX), 1);
	ck_assert_int_eq(reader->ops->marked(reader, 0, IO_MARK_MAX), 0); /* its own */
	reader->ops->destroy(reader);
	ck_assert_int_eq(io->ops->marked(io, 0, IO_MARK_MAX), 0);
	finish();
}
END_TEST

static void *lock_it(void *arg)
{
	char holder[128] = "";
	struct io *other = arg;

	return (void *)(intptr_t)other->ops->lock(other, "lock", holder, sizeof(holder));
}

START_TEST(test_io_lock_waits_for_a_writer_that_closes)
{
	char holder[128] = "";
	pthread_t thread;
	struct io *other;
	void *result;

	if (!begin(_i))
		return;
	ck_assert_int_eq(open_kind(_i, &other), 0);
	ck_assert_int_eq(io->ops->lock(io, "lock", holder, sizeof(holder)), 0);
	io->ops->closing(io);
	ck_assert_int_eq(pthread_create(&thread, NULL, lock_it, other), 0);
	usleep(30000);
	io->ops->destroy(io);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_int_eq((int)(intptr_t)result, 0);
	io = other;
	finish();
}
END_TEST

START_TEST(test_io_space_is_plausible)
{
	uint64_t free_bytes = 0, total_bytes = 0;

	if (!begin(_i))
		return;
	ck_assert_int_eq(io->ops->space(io, &free_bytes, &total_bytes), 0);
	ck_assert_uint_gt(free_bytes, 0);
	ck_assert_uint_ge(total_bytes, free_bytes);
	finish();
}
END_TEST

enum { THREADS = 24, ROUNDS = 40 }; /* more threads than rings */

static void *work(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	struct io_request requests[8];
	uint8_t data[8 * 512], got[8 * 512];
	struct io_file *f;
	char name[16];

	snprintf(name, sizeof(name), "t%u", me);
	if (io->ops->open(io, name, IO_WRITE | IO_CREATE, &f))
		return (void *)1;
	for (unsigned round = 0; round < ROUNDS; round++) {
		memset(data, (int)(me * 7 + round), sizeof(data));
		for (unsigned i = 0; i < 8; i++)
			requests[i] = (struct io_request){data + i * 512, i * 512, 512, 0};
		if (io_write_all(f, io, requests, 8) ||
		    (round % 8 == 0 && io->ops->write_sync(f, data, 512, 4096)))
			return (void *)2;
		for (unsigned i = 0; i < 8; i++)
			requests[i].data = got + i * 512;
		if (io_read_all(f, io, requests, 8) || memcmp(data, got, sizeof(data)))
			return (void *)3;
	}
	io->ops->close(f);
	return NULL;
}

START_TEST(test_io_threads_do_not_mix_their_batches)
{
	pthread_t threads[THREADS];
	void *result;

	if (!begin(_i))
		return;
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)i), 0);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &result), 0);
		ck_assert_ptr_null(result);
	}
	finish();
}
END_TEST

START_TEST(test_io_warm_operations_allocate_nothing)
{
	struct io_request requests[IO_BATCH_MAX];
	struct io_file *f;
	uint64_t before;

	if (!begin(_i))
		return;
	f = open_new("heap");
	fill_requests(requests, IO_BATCH_MAX, big);
	ck_assert_int_eq(io_write_all(f, io, requests, IO_BATCH_MAX), 0);
	before = alloc_count_total();
	ck_assert_int_eq(io_write_all(f, io, requests, IO_BATCH_MAX), 0);
	ck_assert_int_eq(io_read_all(f, io, requests, IO_BATCH_MAX), 0);
	ck_assert_int_eq(io->ops->write_sync(f, big, 4096, 0), 0);
	ck_assert_int_eq(io->ops->sync(f), 0);
	ck_assert_uint_eq(alloc_count_total(), before);
	io->ops->close(f);
	finish();
}
END_TEST

START_TEST(test_io_running_out_of_memory_is_an_errno)
{
	struct io_file *f;
	struct io *other;

	if (!begin(_i))
		return;
	alloc_fail_arm(1, 0);
	ck_assert_int_eq(open_kind(_i, &other), -ENOMEM);
	alloc_fail_arm(1, 0);
	ck_assert_int_eq(io->ops->open(io, "a", IO_WRITE | IO_CREATE, &f), -ENOMEM);
	alloc_fail_arm(0, 0);
	f = open_new("a");
	io->ops->close(f);
	finish();
}
END_TEST

static void ignore_signal(int signal_number)
{
	(void)signal_number;
}

static _Atomic int storm_over;

static void *storm(void *arg)
{
	while (!atomic_load_explicit(&storm_over, memory_order_relaxed)) { /* a flag alone */
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
		usleep(20);
	}
	return NULL;
}

START_TEST(test_io_signals_do_not_break_transfers)
{
	struct sigaction action = {.sa_handler = ignore_signal}; /* no SA_RESTART */
	struct io_request requests[IO_BATCH_MAX];
	pthread_t self = pthread_self(), thread;
	struct io_file *f;

	if (!begin(_i))
		return;
	f = open_new("log");
	sigaction(SIGUSR1, &action, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, storm, &self), 0);
	for (int round = 0; round < 200; round++) {
		memset(back, 0, IO_BATCH_MAX * 4096);
		fill_requests(requests, IO_BATCH_MAX, big);
		ck_assert_int_eq(io->ops->write_sync(f, big + round, 9000, 1 << 20), 0);
		ck_assert_int_eq(io_write_all(f, io, requests, IO_BATCH_MAX), 0);
		fill_requests(requests, IO_BATCH_MAX, back);
		ck_assert_int_eq(io_read_all(f, io, requests, IO_BATCH_MAX), 0);
		for (unsigned i = 0; i < IO_BATCH_MAX; i++)
			ck_assert_mem_eq(back + i * 4096, big + i * 4096, 4096 - i);
	}
	atomic_store_explicit(&storm_over, 1, memory_order_relaxed);
	pthread_join(thread, NULL);
	io->ops->close(f);
	finish();
}
END_TEST

static void add_common(TCase *tc)
{
	tcase_add_loop_test(tc, test_io_reads_what_was_written, 0, KINDS);
	tcase_add_loop_test(tc, test_io_sizes_change_as_asked, 0, KINDS);
	tcase_add_loop_test(tc, test_io_open_flags, 0, KINDS);
	tcase_add_loop_test(tc, test_io_refuses_names_that_leave_the_store, 0, KINDS);
	tcase_add_loop_test(tc, test_io_names_are_made_listed_renamed_and_removed, 0, KINDS);
	tcase_add_loop_test(tc, test_io_an_unlinked_file_lives_until_close, 0, KINDS);
	tcase_add_loop_test(tc, test_io_map_shows_writes_and_never_moves, 0, KINDS);
	tcase_add_loop_test(tc, test_io_map_reservation_is_a_limit, 0, KINDS);
	tcase_add_loop_test(tc, test_io_batches_transfer_every_request, 0, KINDS);
	tcase_add_loop_test(tc, test_io_write_sync_writes_everything, 0, KINDS);
	tcase_add_loop_test(tc, test_io_lock_admits_one_writer_and_names_it, 0, KINDS);
	tcase_add_loop_test(tc, test_io_space_is_plausible, 0, KINDS);
	tcase_add_loop_test(tc, test_io_threads_do_not_mix_their_batches, 0, KINDS);
	tcase_add_loop_test(tc, test_io_signals_do_not_break_transfers, 0, KINDS);
}

int main(void)
{
	Suite *suite = suite_create("io");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(tc, make_roots, remove_roots);
	tcase_set_timeout(tc, 60);
	add_common(tc);
	tcase_add_loop_test(tc, test_io_lock_ends_with_its_process, 0, REAL_KINDS);
	tcase_add_loop_test(tc, test_io_lock_waits_for_a_writer_that_closes, 0, REAL_KINDS);
	tcase_add_loop_test(tc, test_io_marks_of_readers_are_seen_until_the_next_or_the_end, 0,
			    REAL_KINDS);
	tcase_add_loop_test(tc, test_io_warm_operations_allocate_nothing, 0, REAL_KINDS);
	tcase_add_loop_test(tc, test_io_running_out_of_memory_is_an_errno, 0, REAL_KINDS);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
