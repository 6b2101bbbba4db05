/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the I/O seam costs over the raw calls, and which implementation of it does what
 *            better: log writes with their sync (4 KiB over preallocated, zero-written blocks),
 *            batches of random reads, warm and cold, batches of writes.
 * Invariants: the variants of one table take turns, round by round, in one run, on one file: what
 * the machine does meanwhile meets them all. A row is the median over rounds of the mean time of an
 * operation; spread is (p90 - p10) / median of the rounds. Failure:   prints what failed and exits
 * with 1. Usage: bench_io [--json] [--dir DIR] [--rounds N]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core/store/io.h"
#include "core/store/io_uring.h"

enum { BLOCK = 4096, FILE_BLOCKS = 16384, LOG_OPS = 32, ROUNDS_MAX = 1000 };

struct place {
	struct io *io;
	struct io_file *file;
	int fd; /* the same file for the raw calls */
};

static char directory[256] = ".";
static int json, rounds = 40;
static uint8_t *memory; /* IO_BATCH_MAX blocks, aligned */
static struct place posix, uring;
static int direct_fd;
static uint64_t random_state = 1;

static void fail(const char *what, int rc)
{
	fprintf(stderr, "bench_io: %s: %s\n", what, strerror(-rc));
	exit(1);
}

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- log writes: one 4 KiB write made durable ---- */

static int log_raw(uint64_t offset)
{
	if (pwrite(posix.fd, memory, BLOCK, (off_t)offset) != BLOCK || fdatasync(posix.fd))
		return -errno;
	return 0;
}

static int log_dsync(uint64_t offset)
{
	struct iovec v = {memory, BLOCK};

	return pwritev2(posix.fd, &v, 1, (off_t)offset, RWF_DSYNC) == BLOCK ? 0 : -errno;
}

static int log_direct(uint64_t offset)
{
	struct iovec v = {memory, BLOCK};

	if (direct_fd < 0)
		return -EOPNOTSUPP;
	return pwritev2(direct_fd, &v, 1, (off_t)offset, RWF_DSYNC) == BLOCK ? 0 : -errno;
}

static int log_posix(uint64_t offset)
{
	return posix.io->ops->write_sync(posix.file, memory, BLOCK, offset);
}

static int log_uring(uint64_t offset)
{
	return uring.io->ops->write_sync(uring.file, memory, BLOCK, offset);
}

/* ---- batches of 64 random blocks; the time is that of the whole batch ---- */

static void fill(struct io_request *requests)
{
	for (unsigned i = 0; i < IO_BATCH_MAX; i++)
		requests[i] = (struct io_request){memory + i * BLOCK,
						  next_random() % FILE_BLOCKS * BLOCK, BLOCK, 0};
}

static int reads_raw(uint64_t unused)
{
	for (unsigned i = 0; i < IO_BATCH_MAX; i++)
		if (pread(posix.fd, memory + i * BLOCK, BLOCK,
			  (off_t)(next_random() % FILE_BLOCKS * BLOCK)) != BLOCK)
			return -EIO;
	return 0;
}

static int reads(struct place *p)
{
	struct io_request requests[IO_BATCH_MAX];

	fill(requests);
	return io_read_all(p->file, p->io, requests, IO_BATCH_MAX);
}

static int reads_posix(uint64_t unused)
{
	return reads(&posix);
}

static int reads_uring(uint64_t unused)
{
	return reads(&uring);
}

static int reads_ring(uint64_t unused)
{
	int rc;

	uring_set_use(uring.io, URING_EVERY_BATCH);
	rc = reads(&uring);
	uring_set_use(uring.io, URING_LINK_WRITES);
	return rc;
}

static int writes_raw(uint64_t unused)
{
	for (unsigned i = 0; i < IO_BATCH_MAX; i++)
		if (pwrite(posix.fd, memory + i * BLOCK, BLOCK,
			   (off_t)(next_random() % FILE_BLOCKS * BLOCK)) != BLOCK)
			return -EIO;
	return 0;
}

static int writes(struct place *p)
{
	struct io_request requests[IO_BATCH_MAX];

	fill(requests);
	return io_write_all(p->file, p->io, requests, IO_BATCH_MAX);
}

static int writes_posix(uint64_t unused)
{
	return writes(&posix);
}

static int writes_uring(uint64_t unused)
{
	return writes(&uring);
}

static int writes_ring(uint64_t unused)
{
	int rc;

	uring_set_use(uring.io, URING_EVERY_BATCH);
	rc = writes(&uring);
	uring_set_use(uring.io, URING_LINK_WRITES);
	return rc;
}

/* ---- tables ---- */

struct variant {
	const char *name;
	int (*run)(uint64_t offset);
	double us[ROUNDS_MAX];
	int missing; /* cannot run here */
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void evict(void)
{
	if (fdatasync(posix.fd) || posix_fadvise(posix.fd, 0, 0, POSIX_FADV_DONTNEED))
		fail("evict", -errno);
}

static void run_rounds(struct variant *v, unsigned count, int ops, int cold)
{
	for (int round = 0; round < rounds; round++)
		for (unsigned i = 0; i < count; i++) {
			uint64_t at = next_random() % (FILE_BLOCKS - ops) * BLOCK;
			double begun;
			int rc = 0;

			if (v[i].missing)
				continue;
			if (cold)
				evict();
			begun = now_us();
			for (int op = 0; !rc && op < ops; op++)
				rc = v[i].run(at + (uint64_t)op * BLOCK);
			v[i].us[round] = (now_us() - begun) / ops;
			if (rc == -EOPNOTSUPP || rc == -EINVAL)
				v[i].missing = 1;
			else if (rc)
				fail(v[i].name, rc);
		}
}

/* The first variant is the limit that the others are held against. */
static void table(const char *title, struct variant *v, unsigned count, int ops, int cold)
{
	double limit = 0;

	run_rounds(v, count, ops, cold);
	if (!json)
		printf("\n%s\n  %-28s %10s %8s %7s\n", title, "", "us", "spread", "ratio");
	for (unsigned i = 0; i < count; i++) {
		double median, spread;

		if (v[i].missing) {
			if (!json)
				printf("  %-28s not supported here\n", v[i].name);
			continue;
		}
		qsort(v[i].us, (size_t)rounds, sizeof(double), compare);
		median = v[i].us[rounds / 2];
		spread = (v[i].us[rounds * 9 / 10] - v[i].us[rounds / 10]) / median;
		if (!i)
			limit = median;
		if (json)
			printf("{\"table\":\"%s\",\"variant\":\"%s\",\"us\":%.2f,\"spread\":%.2f,"
			       "\"ratio\":%.3f,\"ok\":%s}\n",
			       title, v[i].name, median, spread, median / limit,
			       median <= 1.2 * limit ? "true" : "false");
		else
			printf("  %-28s %10.2f %8.2f %7.2f %s\n", v[i].name, median, spread,
			       median / limit, median <= 1.2 * limit ? "ok" : "short");
	}
}

static void open_places(const char *store)
{
	char path[300];
	int rc = io_posix_new(store, 1, &posix.io);

	if (rc)
		fail("open", rc);
	rc = posix.io->ops->open(posix.io, "file", IO_WRITE | IO_CREATE, &posix.file);
	if (rc)
		fail("open", rc);
	snprintf(path, sizeof(path), "%s/file", store);
	posix.fd = open(path, O_RDWR | O_CLOEXEC);
	if (posix.fd < 0)
		fail(path, -errno);
	memset(memory, 0, (size_t)BLOCK * IO_BATCH_MAX);
	for (unsigned at = 0; at < FILE_BLOCKS; at += IO_BATCH_MAX) {
		rc = io_write_full(posix.file, posix.io, memory, (size_t)BLOCK * IO_BATCH_MAX,
				   (uint64_t)at * BLOCK);
		if (rc)
			fail("write", rc);
	}
	rc = posix.io->ops->sync(posix.file);
	if (rc)
		fail("sync", rc);
	direct_fd = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);
	if (!io_uring_new(store, 0, &uring.io)) {
		rc = uring.io->ops->open(uring.io, "file", IO_WRITE, &uring.file);
		if (rc)
			fail("open", rc);
		uring_set_use(uring.io, URING_LINK_WRITES);
	}
}

static void close_places(const char *store)
{
	close(posix.fd);
	if (direct_fd >= 0)
		close(direct_fd);
	posix.io->ops->close(posix.file);
	posix.io->ops->unlink(posix.io, "file");
	posix.io->ops->destroy(posix.io);
	if (uring.io) {
		uring.io->ops->close(uring.file);
		uring.io->ops->destroy(uring.io);
	}
	rmdir(store);
}

static void read_arguments(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			json = 1;
		else if (!strcmp(argv[i], "--dir") && i + 1 < argc)
			snprintf(directory, sizeof(directory), "%s", argv[++i]);
		else if (!strcmp(argv[i], "--rounds") && i + 1 < argc)
			rounds = atoi(argv[++i]);
		else
			rounds = 0;
	}
	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_io [--json] [--dir DIR] [--rounds 1..%d]\n",
			ROUNDS_MAX);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static struct variant logs[] = {{"raw pwrite + fdatasync", log_raw},
					{"seam, posix", log_posix},
					{"seam, uring linked", log_uring},
					{"raw pwritev2 RWF_DSYNC", log_dsync},
					{"raw O_DIRECT RWF_DSYNC", log_direct}};
	static struct variant warm[] = {{"raw pread", reads_raw},
					{"seam, posix", reads_posix},
					{"seam, uring", reads_uring},
					{"seam, uring, all in a ring", reads_ring}};
	static struct variant cold[] = {{"raw pread", reads_raw},
					{"seam, posix", reads_posix},
					{"seam, uring", reads_uring},
					{"seam, uring, all in a ring", reads_ring}};
	static struct variant many[] = {{"raw pwrite", writes_raw},
					{"seam, posix", writes_posix},
					{"seam, uring", writes_uring},
					{"seam, uring, all in a ring", writes_ring}};
	char store[290];

	read_arguments(argc, argv);
	snprintf(store, sizeof(store), "%s/bench-io-%ld", directory, (long)getpid());
	memory = aligned_alloc(BLOCK, (size_t)BLOCK * IO_BATCH_MAX);
	if (!memory)
		fail("memory", -ENOMEM);
	open_places(store);
	logs[2].missing = !uring.io;
	for (int i = 2; i < 4; i++)
		warm[i].missing = cold[i].missing = many[i].missing = !uring.io;
	table("log: 4 KiB write made durable", logs, 5, LOG_OPS, 0);
	table("64 random 4 KiB reads, warm", warm, 4, 16, 0);
	table("64 random 4 KiB reads, cold", cold, 4, 1, 1);
	table("64 random 4 KiB writes", many, 4, 4, 0);
	close_places(store);
	free(memory);
	return 0;
}
