/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   walks the log from the checkpoint on, as recovery will, without applying anything.
 * Invariants: a torn end is no finding: that is what a crash leaves. Findings are: a log that does not
 *            begin at the checkpoint, that ends before what is known to have been durable, or that
 *            holds operations which cannot be replayed. The walk is written apart from the one of
 *            recovery, so that a mistake in one of them is seen.
 */
#include "core/store/check_inside.h"
#include "core/store/named.h"
#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <stdlib.h>

enum { WINDOW_BYTES = 1 << 18 };

struct log_walk {
	struct check *c;
	uint8_t *bytes; /* of one block, or a window */
	uint64_t bytes_size;
	struct io_file *file;
};

static int segment_add(void *arg, const char *name)
{
	struct log_walk *w = arg;
	struct check *c = w->c;
	char *rest;
	unsigned long file = strtoul(name, &rest, 16);

	char expected[IO_NAME_MAX];

	wal_name((uint32_t)file, expected);
	if (*rest || rest == name || strcmp(name, expected + strlen("wal/"))) {
		check_find(c, CHECK_BEYOND, "the file wal/%.32s is none of the log's; move it away",
			   name);
		return 0;
	}
	if (c->segments_count == c->segments_capacity) {
		uint32_t capacity = c->segments_capacity ? 2 * c->segments_capacity : 16;
		void *more = alloc_resize(c->segments, capacity * sizeof c->segments[0]);
		if (!more)
			return -ENOMEM;
		c->segments = more;
		c->segments_capacity = capacity;
	}
	c->segments[c->segments_count++] = (struct check_segment){.file = (uint32_t)file};
	return 0;
}

static int segment_compare(const void *a, const void *b)
{
	const struct check_segment *x = a, *y = b;

	if (x->whole != y->whole)
		return x->whole - y->whole;
	return (x->head.sequence > y->head.sequence) - (x->head.sequence < y->head.sequence);
}

static int segment_open(struct log_walk *w, const struct check_segment *s)
{
	char name[IO_NAME_MAX];

	wal_name(s->file, name);
	return w->c->io->ops->open(w->c->io, name, IO_READ, &w->file);
}

static void segment_close(struct log_walk *w)
{
	w->c->io->ops->close(w->file);
	w->file = NULL;
}

static int bytes_need(struct log_walk *w, uint64_t size)
{
	if (size <= w->bytes_size)
		return 0;
	void *more = alloc_resize(w->bytes, size);
	if (!more)
		return -ENOMEM;
	w->bytes = more;
	w->bytes_size = size;
	return 0;
}

static int head_read(struct log_walk *w, struct check_segment *s)
{
	struct check *c = w->c;
	int rc = segment_open(w, s);

	if (rc < 0)
		return rc;
	rc = c->io->ops->size(w->file, &s->size);
	if (rc == 0 && s->size >= WAL_SEGMENT_HEAD)
		rc = io_read_full(w->file, c->io, w->bytes, WAL_SEGMENT_HEAD, 0);
	else if (rc == 0)
		memset(w->bytes, 0, WAL_SEGMENT_HEAD);
	segment_close(w);
	if (rc < 0)
		return rc;
	memcpy(&s->head, w->bytes, sizeof s->head);
	((struct fmt_segment *)w->bytes)->crc = 0;
	s->whole = s->head.magic == FMT_SEGMENT_MAGIC && s->head.version == FMT_VERSION &&
		   s->head.bytes == s->size &&
		   !memcmp(s->head.uuid, c->super.uuid, sizeof s->head.uuid) &&
		   crc32c(0, w->bytes, WAL_SEGMENT_HEAD) == s->head.crc;
	return 0;
}

/* ---- records ---- */

static const char *op_problem(const struct fmt_op *op)
{
	uint64_t end = (uint64_t)op->offset + op->value_length;

	if (op->kind < FMT_OP_PUT || op->kind > FMT_OP_LAST)
		return "an operation that is none";
	if (op->sub_length > MNEME_SUBKEY_MAX)
		return "a key that is too long";
	if (end > FMT_VALUE_MAX)
		return "a value that is too long";
	if (op->kind == FMT_OP_DELETE_RANGE &&
	    (op->value_length < FMT_KEY_HEAD || op->value_length > FMT_KEY_MAX))
		return "a range without an end";
	return NULL;
}

/* Reads what a record names; a repair leaves it alone from then on. */
static const char *run_problem(struct check *c, const uint8_t *bytes, uint32_t length)
{
	struct fmt_run run;
	uint64_t size = 0;

	if (named_decode(bytes, length, &run) < 0)
		return "a run of the heap that is none";
	uint64_t pages = run.length / FMT_PAGE_SIZE;
	if (!c->heap_file || c->io->ops->size(c->heap_file, &size) < 0 ||
	    run.page + pages > size / FMT_PAGE_SIZE)
		return "a run of the heap that lies behind its end";
	if (!c->named)
		c->named = alloc_zeroed(c->pages / 64 + 1, sizeof c->named[0]);
	if (!c->named)
		return "a run of the heap that there is no memory for";
	for (uint64_t p = run.page; p < run.page + pages && p < c->pages; p++)
		c->named[p / 64] |= 1ull << p % 64;
	if (check_read(c, c->stored, run.length, run.page * FMT_PAGE_SIZE) < 0 ||
	    crc32c(0, c->stored, run.length) != run.crc)
		return "a value in a run of the heap whose bytes are damaged,";
	return NULL;
}

/* Of a record that the checkpoint covers, only the form is looked at. */
static const char *record_problem(struct check *c, const uint8_t *bytes, uint64_t left, int covered)
{
	struct fmt_record record;

	if (left < sizeof record)
		return "a record without its head";
	memcpy(&record, bytes, sizeof record);
	if (record.length < sizeof record || record.length > left)
		return "a record that is longer than its block";
	left = record.length - sizeof record;
	bytes += sizeof record;
	for (uint32_t i = 0; i < record.count; i++) {
		struct fmt_op op;
		if (left < sizeof op)
			return "a record with fewer operations than it says";
		memcpy(&op, bytes, sizeof op);
		uint64_t need = sizeof op + op.sub_length + (uint64_t)op.value_length;
		if (left < need)
			return "an operation that is longer than its record";
		const char *problem = op_problem(&op);
		if (!problem && op.kind == FMT_OP_PUT_RUN && !covered)
			problem =
				run_problem(c, bytes + sizeof op + op.sub_length, op.value_length);
		if (problem)
			return problem;
		bytes += need;
		left -= need;
	}
	return NULL;
}

/* As the log counts it; 0: it has no head. */
static uint64_t record_length(const uint8_t *bytes, uint64_t left)
{
	struct fmt_record record;

	if (left < sizeof record)
		return 0;
	memcpy(&record, bytes, sizeof record);
	return (record.length + 7) & ~7ull;
}

/* 1: the block can be replayed. */
static int check_block(struct check *c, const struct fmt_block *b)
{
	const uint8_t *bytes = (const uint8_t *)b;
	uint64_t at = sizeof *b;

	if (b->generation > c->super.generation && b->generation > c->log_generation) {
		c->log_generation = b->generation;
		check_find(
			c, CHECK_LOG,
			"the log at %llu speaks of checkpoint %llu, the superblock is that of %llu",
			(unsigned long long)b->lsn, (unsigned long long)b->generation,
			(unsigned long long)c->super.generation);
	}
	for (uint32_t i = 0; i < b->records; i++) {
		struct fmt_record record;
		uint64_t left = at < b->length ? b->length - at : 0,
			 length = record_length(bytes + at, left);
		const char *problem =
			record_problem(c, bytes + at, left, b->lsn + at + length <= c->super.lsn);
		if (problem) {
			check_find(c, CHECK_LOG, "the log holds %s at %llu", problem,
				   (unsigned long long)(b->lsn + at));
			return 0;
		}
		memcpy(&record, bytes + at, sizeof record);
		at += (record.length + 7) & ~7ull;
	}
	return 1;
}

/* Reads the block at `offset` into w->bytes. 1: it is whole and the chain's next; 0: it is not. */
static int block_read(struct log_walk *w, const struct check_segment *s, uint64_t offset,
		      uint32_t chain)
{
	struct check *c = w->c;
	struct fmt_block b;

	if (offset + sizeof b > s->size)
		return 0;
	int rc = io_read_full(w->file, c->io, &b, sizeof b, offset);
	if (rc < 0)
		return rc;
	if (b.magic != FMT_BLOCK_MAGIC || b.length < sizeof b || b.length > s->size - offset ||
	    b.salt != s->head.salt || b.lsn != s->head.base + offset - WAL_SEGMENT_HEAD)
		return 0;
	rc = bytes_need(w, b.length);
	if (rc == 0)
		rc = io_read_full(w->file, c->io, w->bytes, b.length, offset);
	if (rc < 0)
		return rc;
	uint32_t crc = crc32c(chain, w->bytes, offsetof(struct fmt_block, crc));
	crc = crc32c(crc, w->bytes + sizeof b, b.length - sizeof b);
	return crc == b.crc;
}

/* Follows the blocks of one segment: c->log_at ends behind the last. */
static int segment_follow(struct log_walk *w, struct check_segment *s)
{
	struct check *c = w->c;
	uint64_t offset = WAL_SEGMENT_HEAD;
	uint32_t chain = (uint32_t)s->head.salt;
	int rc = segment_open(w, s);

	if (rc < 0)
		return rc;
	s->followed = 1;
	c->log_at = s->head.base;
	while ((rc = block_read(w, s, offset, chain)) == 1) {
		const struct fmt_block *b = (const void *)w->bytes;
		if (!check_block(c, b)) {
			rc = 0;
			break;
		}
		chain = b->crc;
		offset += (b->length + 7) & ~7ull;
		c->log_at = s->head.base + offset - WAL_SEGMENT_HEAD;
	}
	segment_close(w);
	return rc;
}

/* Whether a head of a block at `offset` proves more durable than `proven`. Not one that some value
 * holds: of another segment, or not where it says. Where the segment's head is lost, nobody can tell. */
static int block_proves(const struct check_segment *s, const struct fmt_block *b, uint64_t offset,
			uint64_t proven)
{
	if (b->magic != FMT_BLOCK_MAGIC || b->durable <= proven)
		return 0;
	if (s->whole &&
	    (b->salt != s->head.salt || b->lsn != s->head.base + offset - WAL_SEGMENT_HEAD))
		return 0;
	return crc32c(0, b, offsetof(struct fmt_block, head_crc)) == b->head_crc;
}

/* Looks for block heads that prove more durable than `end_at`. */
static int segment_prove(struct log_walk *w, const struct check_segment *s, uint64_t end_at,
			 uint64_t *proven)
{
	struct check *c = w->c;
	uint64_t step = WINDOW_BYTES - sizeof(struct fmt_block);
	int rc = segment_open(w, s);

	for (uint64_t at = WAL_SEGMENT_HEAD; rc == 0 && at < s->size; at += step) {
		uint64_t length = s->size - at < WINDOW_BYTES ? s->size - at : WINDOW_BYTES;
		rc = io_read_full(w->file, c->io, w->bytes, length, at);
		for (uint64_t i = 0; rc == 0 && i + sizeof(struct fmt_block) <= length; i += 8) {
			const struct fmt_block *b = (const void *)(w->bytes + i);
			uint64_t least = *proven > end_at ? *proven : end_at;
			if (block_proves(s, b, at + i, least))
				*proven = b->durable;
		}
	}
	if (w->file)
		segment_close(w);
	return rc;
}

static int follow_all(struct log_walk *w)
{
	struct check *c = w->c;
	struct check_segment *start = NULL, *end = c->segments + c->segments_count;
	uint64_t reached, end_at, proven = c->super.log_durable;
	int rc;

	for (struct check_segment *s = c->segments; s < end; s++)
		if (s->whole && s->head.base <= c->super.lsn)
			start = s;
	if (!start) {
		check_find(c, CHECK_LOG, "the log does not reach back to the checkpoint at %llu",
			   (unsigned long long)c->super.lsn);
		return 0;
	}
	c->log_begins = 1;
	rc = segment_follow(w, start);
	for (struct check_segment *s = start + 1; rc == 0 && s < end; s++)
		if (s->whole && s->head.base == c->log_at)
			rc = segment_follow(w, s);
	/* The checkpoint may hold records that no flush had written yet. */
	reached = c->log_at;
	end_at = reached < c->super.lsn ? c->super.lsn : reached;
	for (const struct check_segment *s = c->segments; rc == 0 && s < end; s++)
		rc = segment_prove(w, s, end_at, &proven);
	if (rc == 0 && (reached < c->super.log_durable || proven > end_at))
		check_find(c, CHECK_LOG,
			   "the log ends at %llu, but it was durable up to %llu: what lies between "
			   "is damaged",
			   (unsigned long long)reached, (unsigned long long)proven);
	return rc;
}

int check_log(struct check *c)
{
	struct log_walk w = {.c = c};
	int rc = bytes_need(&w, WINDOW_BYTES);

	if (rc == 0)
		rc = c->io->ops->list(c->io, "wal", segment_add, &w);
	if (rc == -ENOENT) {
		check_find(c, CHECK_LOG, "the directory of the log is missing");
		rc = 0;
	}
	for (uint32_t i = 0; rc == 0 && i < c->segments_count; i++)
		rc = head_read(&w, &c->segments[i]);
	if (rc == 0 && c->segments_count)
		qsort(c->segments, c->segments_count, sizeof c->segments[0], segment_compare);
	if (rc == 0)
		rc = follow_all(&w);
	alloc_free(w.bytes);
	return rc < 0 ? check_refuse(c, rc, "the log cannot be read: %s", strerror(-rc)) : 0;
}

/* ---- cutting ---- */

/* Zeros a segment behind the last whole block. */
static int segment_cut(struct check *c, const struct check_segment *s)
{
	enum { ZEROS = 1 << 16 };
	uint64_t at = WAL_SEGMENT_HEAD + c->log_at - s->head.base;
	char name[IO_NAME_MAX];
	struct io_file *file;
	uint8_t *zeros = alloc_zeroed(1, ZEROS);

	if (!zeros)
		return -ENOMEM;
	wal_name(s->file, name);
	int rc = c->io->ops->open(c->io, name, IO_WRITE, &file);
	if (rc < 0)
		goto out;
	for (; rc == 0 && at < s->size; at += ZEROS)
		rc = io_write_full(file, c->io, zeros, s->size - at < ZEROS ? s->size - at : ZEROS,
				   at);
	if (rc == 0)
		rc = c->io->ops->sync(file);
	c->io->ops->close(file);
out:
	alloc_free(zeros);
	return rc;
}

/* A log with nothing in it. */
static int log_begin(struct check *c)
{
	struct wal *wal = alloc_zeroed(1, sizeof *wal);

	if (!wal)
		return -ENOMEM;
	int rc = wal_init(wal, c->io, c->super.uuid, c->super.segment_bytes);
	if (rc == 0) {
		rc = wal_start(wal, c->super.lsn, 0);
		wal_fini(wal);
	}
	alloc_free(wal);
	return rc;
}

int check_log_cut(struct check *c)
{
	int rc = c->io->ops->mkdir(c->io, "wal");

	if (rc == -EEXIST)
		rc = 0;
	for (uint32_t i = 0; i < c->segments_count && rc == 0; i++) {
		const struct check_segment *s = &c->segments[i];
		char name[IO_NAME_MAX];
		if (s->followed && c->log_at - s->head.base <= s->size - WAL_SEGMENT_HEAD) {
			rc = segment_cut(c, s);
		} else if (!s->followed) {
			wal_name(s->file, name);
			rc = c->io->ops->unlink(c->io, name);
		}
	}
	if (rc == 0)
		rc = c->io->ops->sync_dir(c->io, "wal");
	return rc == 0 && !c->log_begins ? log_begin(c) : rc;
}
