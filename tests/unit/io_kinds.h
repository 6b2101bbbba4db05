/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   an implementation of core/store/io.h, chosen by its kind, in a directory of its own: what
 *            the tests of I/O share.
 * Failure:   where the kernel does not permit io_uring, begin() says so and returns 0.
 */
#ifndef TESTS_UNIT_IO_KINDS_H
#define TESTS_UNIT_IO_KINDS_H

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/store/io.h"
#include "core/store/io_sim.h"
#include "core/store/io_uring.h"
#include "pool/alloc.h"

enum { POSIX, URING, FORCED, SIM, KINDS, REAL_KINDS = SIM };
enum { BIG = 1 << 20 };

static char all_roots[32]; /* made and removed by the parent of the forked tests */
static char root[64];
static struct sim *disk;
static struct io *io;
static uint8_t big[BIG], back[BIG];

static inline void make_roots(void)
{
	snprintf(all_roots, sizeof(all_roots), "/tmp/mneme-io-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(all_roots));
}

static inline int remove_path(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline void remove_roots(void)
{
	nftw(all_roots, remove_path, 16, FTW_DEPTH | FTW_PHYS);
}

static inline int open_kind(int kind, struct io **out)
{
	int rc;

	switch (kind) {
	case POSIX:
		return io_posix_new(root, 0, out);
	case URING:
		return io_uring_new(root, 0, out);
	case FORCED: /* everything through rings */
		rc = io_uring_new(root, 0, out);
		if (!rc)
			uring_set_use(*out, URING_LINK_WRITES | URING_EVERY_BATCH);
		return rc;
	default:
		return sim_io_new(disk, out);
	}
}

/* 0 when this kind cannot run here. */
static inline int begin(int kind)
{
	int rc;

	snprintf(root, sizeof(root), "%s/XXXXXX", all_roots);
	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_assert_int_eq(sim_new(&disk), 0);
	rc = open_kind(kind, &io);
	if ((kind == URING || kind == FORCED) && (rc == -EPERM || rc == -ENOSYS)) {
		fprintf(stderr, "skipped: io_uring is not permitted here\n");
		sim_free(disk);
		return 0;
	}
	ck_assert_int_eq(rc, 0);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (uint8_t)(i * 2654435761u >> 13 | 1);
	return 1;
}

static inline void finish(void)
{
	io->ops->destroy(io);
	sim_free(disk);
	ck_assert_int_eq(alloc_count_live(), 0);
}

static inline struct io_file *open_new(const char *name)
{
	struct io_file *f;

	ck_assert_int_eq(io->ops->open(io, name, IO_WRITE | IO_CREATE | IO_EXCLUSIVE, &f), 0);
	return f;
}

static inline void check_bytes(struct io_file *f, const uint8_t *want, uint64_t offset,
			       size_t length)
{
	ck_assert_int_eq(io_read_full(f, io, back, length, offset), 0);
	ck_assert_mem_eq(back, want, length);
}

static inline void check_zeros(struct io_file *f, uint64_t offset, size_t length)
{
	ck_assert_int_eq(io_read_full(f, io, back, length, offset), 0);
	for (size_t i = 0; i < length; i++)
		ck_assert_uint_eq(back[i], 0);
}

static inline uint64_t size_of(struct io_file *f)
{
	uint64_t size;

	ck_assert_int_eq(io->ops->size(f, &size), 0);
	return size;
}

static inline void fill_requests(struct io_request *requests, unsigned count, uint8_t *data)
{
	for (unsigned i = 0; i < count; i++)
		requests[i] = (struct io_request){data + i * 4096, (uint64_t)i * 7 % count * 4096,
						  4096 - i, 0};
}

#endif
