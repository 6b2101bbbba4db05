/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what all implementations of the I/O seam have in common: the choice between them,
 * names, and the loops that continue after short transfers and interruptions. Invariants: a
 * transfer that makes no progress ends with an error, so no loop here is endless. Threading: as
 * io.h. Failure:   0 or -errno. A failed batch leaves the requests' offsets and lengths as they
 * were.
 */
#include "core/store/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/store/io_uring.h"

int io_open_directory(const char *directory, int create, struct io **out)
{
	const char *forced = getenv("MNEME_IO");
	int rc;

	if (forced && !strcmp(forced, "posix"))
		return io_posix_new(directory, create, out);
	if (forced && (!strcmp(forced, "uring") || !strcmp(forced, "uring-linked"))) {
		rc = io_uring_new(directory, create, out);
		if (!rc && !strcmp(forced, "uring-linked"))
			uring_set_use(*out, URING_LINK_WRITES);
		return rc;
	}
	if (forced && *forced)
		return -EINVAL;
	rc = io_uring_new(directory, create, out);
	if (rc == -ENOSYS || rc == -EPERM || rc == -EACCES)
		rc = io_posix_new(directory, create, out);
	return rc;
}

int io_check_name(const char *name)
{
	size_t length = strnlen(name, IO_NAME_MAX + 1);
	const char *part = name;

	if (length > IO_NAME_MAX)
		return -ENAMETOOLONG;
	for (;;) {
		size_t bytes = strcspn(part, "/");

		if (!bytes || (bytes == 1 && part[0] == '.') ||
		    (bytes == 2 && part[0] == '.' && part[1] == '.'))
			return -EINVAL;
		if (!part[bytes])
			return 0;
		part += bytes + 1;
	}
}

void io_describe_process(char *text, size_t size)
{
	char host[65] = "", command[256] = "";
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, command, sizeof(command) - 1);

	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i + 1 < length; i++)
		if (!command[i])
			command[i] = ' ';
	if (gethostname(host, sizeof(host) - 1))
		snprintf(host, sizeof(host), "this machine");
	snprintf(text, size, "pid %ld on %s: %s", (long)getpid(), host, command);
}

int io_read_full(struct io_file *file, const struct io *io, void *data, size_t length,
		 uint64_t offset)
{
	uint8_t *to = data;

	while (length) {
		ssize_t n = io->ops->read(file, to, length, offset);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
		if (!n)
			return -ENODATA;
		to += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

int io_write_full(struct io_file *file, const struct io *io, const void *data, size_t length,
		  uint64_t offset)
{
	const uint8_t *from = data;

	while (length) {
		ssize_t n = io->ops->write(file, from, length, offset);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
		if (!n)
			return -EIO;
		from += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

/* Finishes what the batch left of one request; the first error of a batch is its answer. */
static int finish_request(struct io_file *file, const struct io *io, struct io_request *r,
			  int writing)
{
	uint32_t done = r->result > 0 ? (uint32_t)r->result : 0;
	int rc;

	if (r->result < 0 && r->result != -EINTR && r->result != -EAGAIN)
		return r->result;
	if (done == r->length)
		return 0;
	if (writing)
		rc = io_write_full(file, io, (uint8_t *)r->data + done, r->length - done,
				   r->offset + done);
	else
		rc = io_read_full(file, io, (uint8_t *)r->data + done, r->length - done,
				  r->offset + done);
	r->result = rc ? rc : (int32_t)r->length;
	return rc;
}

static int transfer_all(struct io_file *file, const struct io *io, struct io_request *requests,
			unsigned count, int writing)
{
	int first = 0;

	for (unsigned at = 0; at < count; at += IO_BATCH_MAX) {
		unsigned n = count - at < IO_BATCH_MAX ? count - at : IO_BATCH_MAX;
		int rc = writing ? io->ops->write_batch(file, requests + at, n)
				 : io->ops->read_batch(file, requests + at, n);

		if (rc)
			return first ? first : rc;
		for (unsigned i = 0; i < n; i++) {
			rc = finish_request(file, io, &requests[at + i], writing);
			if (rc && !first)
				first = rc;
		}
		if (first)
			return first;
	}
	return 0;
}

int io_read_all(struct io_file *file, const struct io *io, struct io_request *requests,
		unsigned count)
{
	return transfer_all(file, io, requests, count, 0);
}

int io_write_all(struct io_file *file, const struct io *io, struct io_request *requests,
		 unsigned count)
{
	return transfer_all(file, io, requests, count, 1);
}
