/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what io_uring.c shares with io_posix.c: both are the same store directory and the same
 *            files; the former replaces a few operations only.
 * Invariants: `base`, once set, stays until close; [0, mapped) of it shows the file, the rest of
 *            [0, reserve) is PROT_NONE.
 * Threading: `mapped` changes under `map_lock`; everything else is fixed after open.
 */
#ifndef MNEME_CORE_STORE_IO_POSIX_H
#define MNEME_CORE_STORE_IO_POSIX_H

#include "core/store/io.h"
#include "pool/lock.h"

#include <errno.h>

struct posix_io {
	struct io io;  /* first member */
	int directory; /* [I] O_PATH-like directory descriptor */
	int lock_file; /* [map_lock of nobody: lock() is called once] -1 until lock() */
	uint64_t mark; /* [one thread opens a store] of a reader with a lock file */
};

struct posix_file {
	struct posix_io *owner; /* [I] */
	int fd;                 /* [I] */
	struct lock map_lock;
	uint8_t *base;    /* [map_lock] NULL: not mapped */
	uint64_t reserve; /* [map_lock] bytes of address space */
	uint64_t mapped;  /* [map_lock] bytes shown, a multiple of the page size */
	/* [A] enum posix_nowait: does the filesystem read / write without waiting when it is asked?
	 */
	_Atomic uint8_t nowait_read, nowait_write;
	_Atomic uint8_t unsynced; /* [A] it was changed since the last sync began */
};

enum posix_nowait { NOWAIT_UNKNOWN, NOWAIT_YES, NOWAIT_NO };

extern const struct io_ops io_posix_ops;

static inline struct posix_file *posix_file(struct io_file *file)
{
	return (struct posix_file *)(void *)file;
}

/* What a positive errno is for the callers: where a quota ends, or a limit of the size of files, the disk
 * is full for this store. */
static inline int posix_error(int error)
{
	return error == EDQUOT || error == EFBIG ? -ENOSPC : -error;
}

/* Whoever changes the file without posix_write() says so before. */
static inline void posix_changes(struct io_file *file)
{
	/* release: pairs with the exchange before a sync */
	atomic_store_explicit(&posix_file(file)->unsynced, 1, memory_order_release);
}

/* Opens (and makes, with `create`) the directory and sets the fields; `posix_close_directory`
 * undoes it without freeing `self`. */
int posix_open_directory(struct posix_io *self, const char *directory, int create);
void posix_close_directory(struct posix_io *self);

/* One transfer each; a number of bytes or -errno. */
ssize_t posix_read(struct io_file *file, void *data, size_t length, uint64_t offset);
ssize_t posix_write(struct io_file *file, const void *data, size_t length, uint64_t offset);
/* Reads what the page cache has, without waiting. Results of the others are short or -EAGAIN, of
 * all where the filesystem cannot do this; returns how many those are. */
unsigned posix_read_cached(struct io_file *file, struct io_request *requests, unsigned count);
int posix_cannot_read_cached(struct io_file *file);
/* Tries one write without waiting, to learn whether the filesystem can: enum posix_nowait. Done or
 * not, it may be done again. */
enum posix_nowait posix_probe_write(struct io_file *file, const struct io_request *request);
int posix_read_batch(struct io_file *file, struct io_request *requests, unsigned count);
int posix_write_batch(struct io_file *file, struct io_request *requests, unsigned count);
int posix_write_sync(struct io_file *file, const void *data, size_t length, uint64_t offset);
int posix_sync(struct io_file *file);

#endif
