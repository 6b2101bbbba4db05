/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the order of the check, and its public side; see check.h.
 */
#include "core/store/check_inside.h"
#include "core/store/io_posix.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { HOLDER_SIZE = 160 };

void check_find(struct check *c, const char *format, ...)
{
	char text[MNEME_MESSAGE_SIZE];
	va_list list;

	c->result->findings++;
	if (!c->report)
		return;
	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	c->report(c->arg, text, 0);
}

int check_refuse(struct check *c, int rc, const char *format, ...)
{
	va_list list;

	if (c->error) {
		va_start(list, format);
		vsnprintf(c->error->message, sizeof c->error->message, format, list);
		va_end(list);
	}
	return rc;
}

static int files_open(struct check *c)
{
	uint64_t size = 0;
	int rc = c->io->ops->open(c->io, "super", IO_READ, &c->super_file);

	if (rc < 0)
		return check_refuse(c, rc, "%s",
				    rc == -ENOENT ? "there is no mnemefs store here"
						  : strerror(-rc));
	rc = c->io->ops->open(c->io, "heap", IO_READ, &c->heap_file);
	if (rc == 0)
		rc = c->io->ops->size(c->heap_file, &size);
	if (rc == -ENOENT) {
		check_find(c, "the heap file is missing: everything in the store is lost");
		rc = 0;
	}
	c->pages = size / FMT_PAGE_SIZE;
	return rc < 0 ? check_refuse(c, rc, "the heap cannot be read: %s", strerror(-rc)) : 0;
}

static int memory_get(struct check *c)
{
	if (c->pages > c->super.heap_pages)
		c->pages = c->super.heap_pages;
	c->reached = alloc_zeroed(c->pages / 64 + 1, sizeof c->reached[0]);
	c->buffers = alloc_get(CHECK_DEPTH_MAX * FMT_PAGE_SIZE);
	c->stored = alloc_get(FMT_VALUE_MAX + FMT_PAGE_SIZE);
	c->plain = alloc_get(FMT_VALUE_MAX + FMT_PAGE_SIZE);
	return c->reached && c->buffers && c->stored && c->plain
		       ? 0
		       : check_refuse(c, -ENOMEM, "out of memory");
}

static void free_all(struct check *c)
{
	if (c->super_file)
		c->io->ops->close(c->super_file);
	if (c->heap_file)
		c->io->ops->close(c->heap_file);
	alloc_free(c->table);
	alloc_free(c->reached);
	alloc_free(c->buffers);
	alloc_free(c->stored);
	alloc_free(c->plain);
}

static int run(struct check *c)
{
	int rc = files_open(c);

	if (rc == 0)
		rc = check_supers(c);
	if (rc < 0 || !c->have_super)
		return rc;
	rc = memory_get(c);
	if (rc == 0 && c->heap_file)
		rc = check_trees(c);
	if (rc == 0 && c->heap_file)
		rc = check_space(c);
	if (rc == 0)
		rc = check_log(c);
	return rc;
}

int store_check(struct io *io, unsigned flags, mneme_check_report *report, void *arg,
		struct mneme_check_result *result, struct mneme_error *error)
{
	struct mneme_check_result own = {0};
	struct check *c = alloc_zeroed(1, sizeof *c);

	if (!c)
		return -ENOMEM;
	c->io = io;
	c->flags = flags;
	c->report = report;
	c->arg = arg;
	c->result = &own;
	c->error = error;
	int rc = run(c);
	free_all(c);
	alloc_free(c);
	if (result)
		*result = own;
	return rc;
}

int mneme_check(const char *directory, unsigned flags, mneme_check_report *report, void *arg,
		struct mneme_check_result *result, struct mneme_error *error)
{
	struct check c = {.error = error};
	char holder[HOLDER_SIZE] = "";
	struct io *io;
	int rc = io_posix_new(directory, 0, &io);

	if (result)
		*result = (struct mneme_check_result){0};
	if (rc < 0)
		return check_refuse(&c, rc, "%s: %s", directory, strerror(-rc));
	rc = io_posix_lock_out_writers(io, "lock", holder, sizeof holder);
	if (rc == -EBUSY)
		check_refuse(&c, rc, "the store is in use by %s; unmount it there first", holder);
	else if (rc < 0)
		check_refuse(&c, rc, "the lock file cannot be used: %s", strerror(-rc));
	else
		rc = store_check(io, flags & MNEME_CHECK_REPAIR, report, arg, result, error);
	io->ops->destroy(io);
	return rc;
}
