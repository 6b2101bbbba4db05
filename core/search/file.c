/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see file.h. */
#include "core/search/file.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "files are written as they are in memory");

struct file_header {
	char magic[8];
	uint32_t version, body_crc;
	uint64_t body_length, position;
	uint8_t zero[28];
	uint32_t header_crc;
};
_Static_assert(sizeof(struct file_header) == SEARCH_FILE_HEADER, "layout");

static void temporary_name(char out[IO_NAME_MAX], const char *name)
{
	snprintf(out, IO_NAME_MAX, "%.*s.new", IO_NAME_MAX - 5, name);
}

int search_writer_open(struct search_writer *w, struct io *io, const char *name)
{
	char temporary[IO_NAME_MAX];

	*w = (struct search_writer){.io = io};
	if (strlen(name) > IO_NAME_MAX - 5)
		return -ENAMETOOLONG;
	snprintf(w->name, sizeof(w->name), "%s", name);
	w->buffer = alloc_get(SEARCH_FILE_BUFFER);
	if (!w->buffer)
		return -ENOMEM;
	temporary_name(temporary, name);
	int rc = io->ops->open(io, temporary, IO_WRITE | IO_CREATE, &w->file);
	if (!rc) {
		rc = io->ops->truncate(w->file, 0);
		if (rc)
			io->ops->close(w->file);
	}
	if (rc) {
		alloc_free(w->buffer);
		w->buffer = NULL;
	}
	return rc;
}

static void writer_flush(struct search_writer *w)
{
	if (w->used && !w->error)
		w->error = io_write_full(w->file, w->io, w->buffer, w->used,
					 SEARCH_FILE_HEADER + w->offset - w->used);
	w->crc = crc32c(w->crc, w->buffer, w->used);
	w->used = 0;
}

void search_writer_put(struct search_writer *w, const void *data, size_t length)
{
	const uint8_t *from = data;

	while (length) {
		size_t part = SEARCH_FILE_BUFFER - w->used;
		if (part > length)
			part = length;
		memcpy(w->buffer + w->used, from, part);
		w->used += (uint32_t)part;
		w->offset += part;
		from += part;
		length -= part;
		if (w->used == SEARCH_FILE_BUFFER)
			writer_flush(w);
	}
}

void search_writer_u32(struct search_writer *w, uint32_t value)
{
	search_writer_put(w, &value, sizeof(value));
}

void search_writer_u64(struct search_writer *w, uint64_t value)
{
	search_writer_put(w, &value, sizeof(value));
}

void search_writer_align(struct search_writer *w, unsigned align)
{
	static const uint8_t zeros[64];

	CHECK(align <= sizeof(zeros));
	search_writer_put(w, zeros, (align - w->offset % align) % align);
}

int search_writer_close(struct search_writer *w, const char magic[8], uint32_t version,
			uint64_t position, int error)
{
	struct file_header header = {.version = version, .position = position};
	char temporary[IO_NAME_MAX], directory[IO_NAME_MAX];

	writer_flush(w);
	memcpy(header.magic, magic, 8);
	header.body_crc = w->crc;
	header.body_length = w->offset;
	header.header_crc = crc32c(0, &header, sizeof(header) - sizeof(header.header_crc));
	int rc = error ? error : w->error;
	if (!rc)
		rc = io_write_full(w->file, w->io, &header, sizeof(header), 0);
	if (!rc)
		rc = w->io->ops->sync(w->file);
	w->io->ops->close(w->file);
	alloc_free(w->buffer);
	w->buffer = NULL;
	temporary_name(temporary, w->name);
	if (!rc)
		rc = w->io->ops->rename(w->io, temporary, w->name);
	if (rc) {
		w->io->ops->unlink(w->io, temporary);
		return rc;
	}
	snprintf(directory, sizeof(directory), "%s", w->name);
	char *slash = strrchr(directory, '/');
	directory[slash ? slash - directory : 0] = 0;
	return w->io->ops->sync_dir(w->io, directory);
}

static int header_check(const struct file_header *h, const char magic[8], uint32_t version,
			uint64_t size)
{
	if (memcmp(h->magic, magic, 8) || h->version != version ||
	    h->header_crc != crc32c(0, h, sizeof(*h) - sizeof(h->header_crc)) ||
	    h->body_length != size - sizeof(*h))
		return -EUCLEAN;
	return 0;
}

int search_reader_open(struct search_reader *r, struct io *io, const char *name,
		       const char magic[8], uint32_t version, int map)
{
	struct file_header header;
	uint64_t size = 0;
	const uint8_t *base = NULL;

	*r = (struct search_reader){.io = io};
	int rc = io->ops->open(io, name, IO_READ, &r->file);
	if (rc)
		return rc;
	rc = io->ops->size(r->file, &size);
	if (!rc && size < sizeof(header))
		rc = -EUCLEAN;
	if (!rc)
		rc = io_read_full(r->file, io, &header, sizeof(header), 0);
	if (!rc)
		rc = header_check(&header, magic, version, size);
	if (!rc && map) {
		rc = io->ops->map(r->file, size, &base);
		r->body = base + sizeof(header);
	} else if (!rc) {
		r->owned = alloc_aligned(64, header.body_length + 64);
		r->body = r->owned;
		rc = r->owned ? io_read_full(r->file, io, r->owned, header.body_length,
					     sizeof(header))
			      : -ENOMEM;
	}
	if (!rc && crc32c(0, r->body, header.body_length) != header.body_crc)
		rc = -EUCLEAN;
	if (rc == -ENODATA)
		rc = -EUCLEAN; /* it became shorter while it was read */
	r->length = header.body_length;
	r->position = header.position;
	if (rc || !map) {
		io->ops->close(r->file);
		r->file = NULL;
	}
	if (rc) {
		alloc_free(r->owned);
		r->owned = NULL;
	}
	return rc;
}

void search_reader_over(struct search_reader *r, const void *body, uint64_t length)
{
	*r = (struct search_reader){.body = body, .length = length};
}

void search_reader_close(struct search_reader *r)
{
	if (r->file)
		r->io->ops->close(r->file);
	alloc_free(r->owned);
	r->file = NULL;
	r->owned = NULL;
	r->body = NULL;
}

const void *search_reader_take(struct search_reader *r, uint64_t length)
{
	if (r->overrun || length > r->length - r->at) {
		r->overrun = 1;
		return NULL;
	}
	const void *at = r->body + r->at;
	r->at += length;
	return at;
}

uint32_t search_reader_u32(struct search_reader *r)
{
	const void *at = search_reader_take(r, 4);
	uint32_t value = 0;

	if (at)
		memcpy(&value, at, sizeof(value));
	return value;
}

uint64_t search_reader_u64(struct search_reader *r)
{
	const void *at = search_reader_take(r, 8);
	uint64_t value = 0;

	if (at)
		memcpy(&value, at, sizeof(value));
	return value;
}

void search_reader_align(struct search_reader *r, unsigned align)
{
	search_reader_take(r, (align - r->at % align) % align);
}
