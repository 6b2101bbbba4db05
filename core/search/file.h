/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the envelope of every file that search writes: written once under a temporary name,
 *            checksummed, synced, renamed; read or mapped whole and checked before use.
 *
 *   offset size  header (64 bytes), little-endian
 *        0    8  magic, chosen by the kind of file
 *        8    4  version of that kind's format
 *       12    4  CRC32C of the body
 *       16    8  bytes of the body, which follows the header
 *       24    8  position: the log position that the content reflects
 *       32   28  zero
 *       60    4  CRC32C of bytes 0..59
 *
 * Invariants: a file that has its name is whole. A reader never goes past the body's end: after an
 *            overrun it gives zeros and remembers the failure.
 * Threading: a writer or a reader belongs to one thread.
 * Failure:   0 or -errno; -EUCLEAN: not such a file, or damaged.
 */
#ifndef MNEME_CORE_SEARCH_FILE_H
#define MNEME_CORE_SEARCH_FILE_H

#include "core/store/io.h"

enum { SEARCH_FILE_HEADER = 64, SEARCH_FILE_BUFFER = 1 << 16 };

struct search_writer {
	struct io *io;
	struct io_file *file;
	char name[IO_NAME_MAX];
	uint8_t *buffer;
	uint64_t offset; /* bytes of the body so far */
	uint32_t used, crc;
	int error; /* the first, sticky */
};

/* `name` is at most IO_NAME_MAX - 5 characters. */
int search_writer_open(struct search_writer *w, struct io *io, const char *name);
void search_writer_put(struct search_writer *w, const void *data, size_t length);
void search_writer_u32(struct search_writer *w, uint32_t value);
void search_writer_u64(struct search_writer *w, uint64_t value);
/* Zeros up to a body offset that is a multiple of `align` (<= 64). */
void search_writer_align(struct search_writer *w, unsigned align);
/* Finishes the file, or removes it when anything failed; frees the writer's buffer either way.
 * `error` < 0: the caller gives up. */
int search_writer_close(struct search_writer *w, const char magic[8], uint32_t version,
			uint64_t position, int error);

struct search_reader {
	uint8_t *owned;      /* the body, when it was read */
	const uint8_t *body; /* the body, 64-byte aligned */
	uint64_t length, at;
	uint64_t position; /* of the header */
	struct io *io;
	struct io_file *file; /* when it is mapped */
	int overrun;
};

/* Reads (map 0) or maps (map 1) the file and checks it. With map 1 the body stays valid until
 * search_reader_close(); with map 0 too. */
int search_reader_open(struct search_reader *r, struct io *io, const char *name,
		       const char magic[8], uint32_t version, int map);
/* A reader over bytes in memory (a body without header), borrowed. */
void search_reader_over(struct search_reader *r, const void *body, uint64_t length);
void search_reader_close(struct search_reader *r);
/* The next `length` bytes, borrowed, or NULL past the end. */
const void *search_reader_take(struct search_reader *r, uint64_t length);
uint32_t search_reader_u32(struct search_reader *r);
uint64_t search_reader_u64(struct search_reader *r);
void search_reader_align(struct search_reader *r, unsigned align);

#endif
