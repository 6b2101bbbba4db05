/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a simulated disk and files on it, before and after a crash: what the tests of
 *            core/store/io_sim.h share.
 */
#ifndef TESTS_UNIT_SIM_DISK_H
#define TESTS_UNIT_SIM_DISK_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/store/io_sim.h"

enum { BIG = 1 << 20, SEEDS = 400 };

static struct sim *disk, *after;
static struct io *io;
static uint8_t ones[BIG], twos[BIG], back[BIG];

static inline void begin(void)
{
	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	memset(ones, 1, sizeof(ones));
	memset(twos, 2, sizeof(twos));
}

static inline void finish(void)
{
	io->ops->destroy(io);
	sim_free(disk);
}

static inline struct io_file *open_file(const char *name)
{
	struct io_file *f;

	ck_assert_int_eq(io->ops->open(io, name, IO_WRITE | IO_CREATE, &f), 0);
	return f;
}

static inline void put(struct io_file *f, const uint8_t *data, size_t length, uint64_t offset)
{
	ck_assert_int_eq(io_write_full(f, io, data, length, offset), 0);
}

static inline void sync_file(struct io_file *f)
{
	ck_assert_int_eq(io->ops->sync(f), 0);
}

static inline void sync_names(const char *directory)
{
	ck_assert_int_eq(io->ops->sync_dir(io, directory), 0);
}

/* A file "a" of `length` ones, durable with its name. */
static inline struct io_file *durable_file(size_t length)
{
	struct io_file *f = open_file("a");

	put(f, ones, length, 0);
	sync_file(f);
	sync_names("");
	return f;
}

static inline void crash(enum sim_crash kind, uint64_t seed)
{
	ck_assert_int_eq(sim_crash(disk, sim_events(disk), kind, seed, &after), 0);
}

/* The bytes of a file of the crashed disk; NULL when its name is not there. */
static inline const uint8_t *look(const char *name, uint64_t *size)
{
	uint8_t *bytes;

	return sim_file(after, name, &bytes, size) ? NULL : bytes;
}

static inline int all_are(const uint8_t *bytes, uint64_t length, uint8_t value)
{
	for (uint64_t i = 0; i < length; i++)
		if (bytes[i] != value)
			return 0;
	return 1;
}

#endif
