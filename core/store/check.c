/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the order of the check, and its public side; see check.h.
 */
#include "core/store/check_inside.h"
#include "core/store/check_names.h"
#include "core/store/io_posix.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { HOLDER_SIZE = 160 };

void check_find(struct check *c, enum check_class class, const char *format, ...)
{
	char text[MNEME_MESSAGE_SIZE];
	va_list list;

	if (c->mute)
		return;
	c->result->findings++;
	c->found |= 1u << class;
	c->result->beyond += class == CHECK_BEYOND;
	va_start(list, format);
	int length = vsnprintf(text, sizeof text, format, list);
	va_end(list);
	if (c->flags & STORE_CHECK_REPAIR) {
		struct check_finding *f = alloc_get(sizeof *f + sizeof text);
		if (f) {
			f->next = NULL;
			f->class = class;
			memcpy(f->text, text,
			       length < (int)sizeof text ? length + 1 : (int)sizeof text);
			*c->findings_end = f;
			c->findings_end = &f->next;
			return;
		}
	}
	if (c->report)
		c->report(c->arg, text, 0);
}

/* Reports what waited for its repair. */
static void findings_report(struct check *c)
{
	for (struct check_finding *f = c->findings, *next; f; f = next) {
		int repaired = c->repaired >> f->class & 1;
		next = f->next;
		c->result->repaired += repaired;
		if (c->report)
			c->report(c->arg, f->text, repaired);
		alloc_free(f);
	}
	c->findings = NULL;
}

int check_read(struct check *c, void *data, uint64_t length, uint64_t offset)
{
	int rc = io_read_full(c->heap_file, c->io, data, length, offset);

	c->unread += rc < 0 && rc != -ENODATA;
	return rc;
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

int check_open(struct check *c)
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
		check_find(c, CHECK_BEYOND,
			   "the file heap is missing, which holds everything in the store: put it "
			   "back, or restore the store from a backup");
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

void check_close(struct check *c)
{
	if (c->super_file)
		c->io->ops->close(c->super_file);
	if (c->heap_file)
		c->io->ops->close(c->heap_file);
	check_salvage_end(c);
	alloc_free(c->table);
	alloc_free(c->segments);
	alloc_free(c->busy);
	alloc_free(c->before);
	alloc_free(c->reached);
	alloc_free(c->named);
	alloc_free(c->buffers);
	alloc_free(c->stored);
	alloc_free(c->plain);
	ZSTD_freeDDict(c->dictionary);
	ZSTD_freeDCtx(c->context);
}

static int repair(struct check *c)
{
	uint32_t classes = 1u << CHECK_SUPER | 1u << CHECK_SPACE;

	if (!(c->flags & MNEME_CHECK_LOSE_NOTHING))
		classes |= 1u << CHECK_TREE | 1u << CHECK_LOG;
	if (!(c->found & classes) || !c->heap_file)
		return 0;
	/* What cannot be read now may be read another time: it must not be given up. */
	if (c->unread) {
		check_find(c, CHECK_BEYOND,
			   "nothing was repaired, because the disk failed %u reads: copy the store "
			   "to a sound disk and repair the copy",
			   c->unread);
		return 0;
	}
	/* What a reader of an older state reaches is free for a repair, which would write there. */
	if (c->io->ops->marked(c->io, IO_MARK_OPENING, IO_MARK_MAX)) {
		check_find(c, CHECK_BEYOND,
			   "nothing was repaired, because a reader has the store open: end it first");
		return 0;
	}
	/* What a damaged tree uses is not known before it is built anew. */
	if ((c->lost || c->damaged) && !(classes >> CHECK_TREE & 1))
		return 0;
	return check_repair(c, c->found & classes);
}

static int run(struct check *c)
{
	int rc = check_open(c);

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
	if (rc == 0 && c->flags & STORE_CHECK_REPAIR)
		rc = repair(c);
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
	c->findings_end = &c->findings;
	int rc = run(c);
	findings_report(c);
	check_close(c);
	alloc_free(c);
	if (result)
		*result = own;
	return rc;
}

/* ---- the public check ---- */

struct check_call {
	const char *directory;
	unsigned flags;
	mneme_check_report *report;
	void *arg;
	struct mneme_check_result *result;
	struct mneme_error *error;
};

static int call_refuse(const struct check_call *call, int rc, const char *what)
{
	struct check c = {.error = call->error};

	return check_refuse(&c, rc, "%s: %s%s", what, strerror(-rc),
			    rc == -ENOENT ? "; no store is there" : "");
}

/* The names of a store whose structure is sound; opens it as the engine does. */
static int names_run(const struct check_call *call, unsigned flags, mneme_check_report *report)
{
	struct mneme_options options = {.read_only = !(flags & STORE_CHECK_REPAIR), .io = "posix"};
	struct mneme *m;
	int rc = mneme_open(call->directory, &options, &m, call->error);

	if (rc < 0)
		return rc;
	rc = check_names(m, flags, report, call->arg, call->result);
	if (rc < 0)
		call_refuse(call, rc, "the names cannot be read");
	int closed = mneme_close(m);
	if (rc == 0 && closed < 0)
		rc = call_refuse(call, closed, "the repair could not be written");
	return rc;
}

static int names_check(const struct check_call *call, struct io **io)
{
	struct mneme_check_result before = *call->result;
	int repairs = call->flags & STORE_CHECK_REPAIR;

	if (before.findings != before.repaired)
		return 0; /* first things first */
	int rc = names_run(call, 0, repairs ? NULL : call->report);
	if (rc < 0 || !repairs || call->result->findings == before.findings)
		return rc;
	/* The engine takes the lock itself. */
	(*io)->ops->destroy(*io);
	*io = NULL;
	*call->result = before;
	return names_run(call, call->flags, call->report);
}

/* A lock file is made only in a store. */
static int is_store(struct io *io)
{
	struct io_file *file;

	if (io->ops->open(io, "super", IO_READ, &file) < 0)
		return 0;
	io->ops->close(file);
	return 1;
}

static int lock_take(const struct check_call *call, struct io *io)
{
	struct check c = {.error = call->error};
	char holder[HOLDER_SIZE] = "";
	int rc = call->flags & STORE_CHECK_REPAIR
			 ? io->ops->lock(io, "lock", holder, sizeof holder)
			 : io_posix_lock_out_writers(io, "lock", holder, sizeof holder);

	if (rc == -EBUSY)
		return check_refuse(&c, rc, "the store is in use by %s; unmount it there first",
				    holder);
	return rc < 0 ? call_refuse(call, rc, "the lock file cannot be used") : 0;
}

int mneme_check(const char *directory, unsigned flags, mneme_check_report *report, void *arg,
		struct mneme_check_result *result, struct mneme_error *error)
{
	struct mneme_check_result own;
	struct check_call call = {.directory = directory,
				  .flags = flags & (MNEME_CHECK_REPAIR | MNEME_CHECK_LOSE_NOTHING),
				  .report = report,
				  .arg = arg,
				  .result = result ? result : &own,
				  .error = error};
	struct io *io = NULL;
	int rc = flags & ~(unsigned)(MNEME_CHECK_REPAIR | MNEME_CHECK_LOSE_NOTHING) || !directory
			 ? -EINVAL
			 : io_posix_new(directory, 0, &io);

	*call.result = (struct mneme_check_result){0};
	if (rc < 0)
		return call_refuse(&call, rc, directory ? directory : "no directory was given");
	rc = is_store(io) ? lock_take(&call, io) : store_refuse_absent(io, error);
	if (rc == 0)
		rc = store_check(io, call.flags, report, arg, call.result, error);
	if (rc == 0)
		rc = names_check(&call, &io);
	if (io)
		io->ops->destroy(io);
	return rc;
}
