/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   finds the end of the log after a crash and hands out its records.
 * Invariants: replay follows the chain of blocks from the segment that covers `from`; when a segment
 *            has no further block, the chain goes on in the segment whose base is that very LSN.
 *            What lies behind the end was never acknowledged as durable, unless some block proves
 *            otherwise: every block names the LSN that was durable when it was written. Such a proof
 *            behind the end means that bytes were damaged, not that a write was cut off.
 * Threading: one thread, before the store is used.
 * Failure:   -EUCLEAN, -EIO, -ENOMEM; whatever `each` returns.
 */
#include "core/store/wal.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct found {
	struct fmt_segment head;
	uint64_t size;
	uint32_t file;
	int valid;
	int left; /* the chain went through it and on to another */
};

struct replay {
	struct wal *w;
	struct found *found;
	uint32_t count, capacity;
	uint8_t *bytes; /* of the segment being read */
	uint64_t bytes_size;
	uint64_t from, at; /* LSNs: where to begin, the end of what was followed so far */
	uint64_t reached;  /* LSN behind the last whole block */
	uint64_t generation;
	wal_each *each;
	void *arg;
	enum wal_replay_mode mode;
	int had_writer; /* when it began */
};

/* A writer appends to the log, and makes checkpoints, while it is read. */
static int beside_writer(const struct replay *r)
{
	return r->mode == WAL_REPLAY_READ && (r->had_writer || r->w->io->ops->has_writer(r->w->io));
}

static int found_add(void *arg, const char *name)
{
	struct replay *r = arg;
	char *rest;
	unsigned long file = strtoul(name, &rest, 16);

	if (*rest || rest == name)
		return 0;
	if (r->count == r->capacity) {
		uint32_t capacity = r->capacity ? 2 * r->capacity : 16;
		void *more = alloc_resize(r->found, capacity * sizeof r->found[0]);
		if (!more)
			return -ENOMEM;
		r->found = more;
		r->capacity = capacity;
	}
	r->found[r->count++] = (struct found){.file = (uint32_t)file};
	return 0;
}

static int found_compare(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->valid != y->valid)
		return x->valid - y->valid;
	return (x->head.sequence > y->head.sequence) - (x->head.sequence < y->head.sequence);
}

/* Reads a whole segment into r->bytes. */
static int segment_read(struct replay *r, struct found *f)
{
	const struct io *io = r->w->io;
	char name[IO_NAME_MAX];
	struct io_file *file;

	wal_name(f->file, name);
	int rc = io->ops->open(r->w->io, name, IO_READ, &file);
	if (rc < 0)
		return rc;
	rc = io->ops->size(file, &f->size);
	if (rc == 0 && f->size > r->bytes_size) {
		void *more = alloc_resize(r->bytes, f->size);
		if (more) {
			r->bytes = more;
			r->bytes_size = f->size;
		} else {
			rc = -ENOMEM;
		}
	}
	if (rc == 0 && f->size)
		rc = io_read_full(file, io, r->bytes, f->size, 0);
	io->ops->close(file);
	return rc;
}

static int segment_head_read(struct replay *r, struct found *f)
{
	const struct io *io = r->w->io;
	uint8_t bytes[WAL_SEGMENT_HEAD];
	char name[IO_NAME_MAX];
	struct io_file *file;

	wal_name(f->file, name);
	int rc = io->ops->open(r->w->io, name, IO_READ, &file);
	if (rc < 0) /* a spare one, gone since the names were read */
		return rc == -ENOENT && r->mode == WAL_REPLAY_READ ? 0 : rc;
	rc = io->ops->size(file, &f->size);
	if (rc == 0 && f->size >= sizeof bytes)
		rc = io_read_full(file, io, bytes, sizeof bytes, 0);
	else if (rc == 0)
		memset(bytes, 0, sizeof bytes);
	io->ops->close(file);
	if (rc < 0)
		return rc;
	memcpy(&f->head, bytes, sizeof f->head);
	struct fmt_segment *inside = (struct fmt_segment *)bytes;
	inside->crc = 0;
	f->valid = f->head.magic == FMT_SEGMENT_MAGIC && f->head.version == FMT_VERSION &&
		   f->head.bytes == f->size && !memcmp(f->head.uuid, r->w->uuid, 16) &&
		   crc32c(0, bytes, sizeof bytes) == f->head.crc;
	return 0;
}

/* The block at `offset` of r->bytes if it is whole and the chain's next, else NULL. */
static const struct fmt_block *block_at(const struct replay *r, const struct found *f,
					uint64_t offset, uint32_t chain)
{
	const struct fmt_block *b = (const void *)(r->bytes + offset);

	if (offset + sizeof *b > f->size || b->magic != FMT_BLOCK_MAGIC || b->length < sizeof *b ||
	    b->length > f->size - offset || b->salt != f->head.salt ||
	    b->lsn != f->head.base + offset - WAL_SEGMENT_HEAD)
		return NULL;
	uint32_t crc = crc32c(chain, b, offsetof(struct fmt_block, crc));
	crc = crc32c(crc, r->bytes + offset + sizeof *b, b->length - sizeof *b);
	return crc == b->crc || SEEDED_BUG(5) ? b : NULL;
}

static int block_replay(struct replay *r, const struct fmt_block *b)
{
	const uint8_t *bytes = (const uint8_t *)b;
	uint64_t at = sizeof *b;

	for (uint32_t i = 0; i < b->records; i++) {
		const struct fmt_record *record = (const void *)(bytes + at);
		if (at + sizeof *record > b->length || record->length < sizeof *record ||
		    record->length > b->length - at)
			return -EUCLEAN;
		at += (record->length + 7) & ~7ull;
		if (b->lsn + at <= r->from)
			continue;
		int rc = r->each(r->arg, b->lsn + at, record);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Follows the blocks of one segment: r->at ends behind the last. */
static int segment_follow(struct replay *r, struct found *f)
{
	int rc = segment_read(r, f);
	uint64_t offset = WAL_SEGMENT_HEAD;
	uint32_t chain = (uint32_t)f->head.salt;
	const struct fmt_block *b;

	if (rc < 0)
		return rc;
	r->at = f->head.base;
	while ((b = block_at(r, f, offset, chain))) {
		chain = b->crc;
		offset += (b->length + 7) & ~7ull;
		r->at = b->lsn + ((b->length + 7) & ~7ull);
		if (b->generation > r->generation && !beside_writer(r))
			return -EUCLEAN;
		rc = block_replay(r, b);
		if (rc < 0)
			return rc;
	}
	return r->each(r->arg, r->at, NULL);
}

/* The head of a block may also be a part of a value, as in a copy of a log: that is not of this segment,
 * or not where it says. What the segment is cannot be told without its own head. */
static int is_own_block(const struct found *f, const struct fmt_block *b, uint64_t offset)
{
	return !f->valid ||
	       (b->salt == f->head.salt && b->lsn == f->head.base + offset - WAL_SEGMENT_HEAD);
}

/* Looks in a segment's bytes for the head of a block that proves more durable than r->at. */
static int segment_proves_more(const struct replay *r, const struct found *f)
{
	for (uint64_t offset = WAL_SEGMENT_HEAD; offset + sizeof(struct fmt_block) <= f->size;
	     offset += 8) {
		const struct fmt_block *b = (const void *)(r->bytes + offset);
		if (b->magic == FMT_BLOCK_MAGIC && b->durable > r->at &&
		    is_own_block(f, b, offset) &&
		    crc32c(0, b, offsetof(struct fmt_block, head_crc)) == b->head_crc)
			return 1;
	}
	return 0;
}

/* A segment that the chain left for the next one cannot prove anything: it is not read again. */
static int segments_check_end(struct replay *r)
{
	for (uint32_t i = 0; i < r->count; i++) {
		if (r->found[i].left)
			continue;
		int rc = segment_read(r, &r->found[i]);
		if (rc == -ENOENT && r->mode == WAL_REPLAY_READ)
			continue;
		if (rc < 0)
			return rc;
		if (segment_proves_more(r, &r->found[i]) && !SEEDED_BUG(6) && !beside_writer(r))
			return -EUCLEAN;
	}
	return 0;
}

static int segments_follow(struct replay *r)
{
	struct found *start = NULL;

	for (uint32_t i = 0; i < r->count; i++)
		if (r->found[i].valid && r->found[i].head.base <= r->from)
			start = &r->found[i];
	if (!start)
		return -EUCLEAN;
	int rc = segment_follow(r, start);
	for (struct found *f = start + 1; rc == 0 && f < r->found + r->count; f++)
		if (f->valid && f->head.base == r->at) {
			start->left = 1;
			start = f;
			rc = segment_follow(r, f);
		}
	/* The checkpoint may hold records that no flush had written yet. */
	r->reached = r->at;
	if (rc == 0 && r->at < r->from)
		r->at = r->from;
	return rc;
}

/* A process that was killed leaves in the page cache what no sync has covered. What was replayed is
 * built upon from now on, so it has to be durable, and the names of all segments too. */
static int segments_settle(struct replay *r)
{
	const struct io *io = r->w->io;
	int rc = 0;

	for (uint32_t i = 0; i < r->count && rc == 0; i++) {
		const struct found *f = &r->found[i];
		char name[IO_NAME_MAX];
		struct io_file *file;
		if (!f->valid || f->head.base + f->size <= r->from)
			continue;
		wal_name(f->file, name);
		rc = io->ops->open(r->w->io, name, IO_WRITE, &file);
		if (rc < 0)
			break;
		rc = io->ops->sync(file);
		io->ops->close(file);
	}
	return rc < 0 ? rc : io->ops->sync_dir(r->w->io, "wal");
}

static int segments_adopt(struct replay *r)
{
	struct wal *w = r->w;

	for (uint32_t i = 0; i < r->count; i++) {
		struct found *f = &r->found[i];
		int standard = f->size == w->segment_bytes, rc = 0;
		if (f->valid && f->head.base >= r->from && f->head.base > r->at)
			f->valid = 0; /* made behind the end, never reached */
		if (f->valid) {
			/* a segment ends at the latest where the next one begins */
			uint64_t end = r->at;
			if (i + 1 < r->count && r->found[i + 1].head.base < end)
				end = r->found[i + 1].head.base;
			rc = wal_adopt(w, f->file, standard, end);
		} else if (standard) {
			wal_adopt_spare(w, f->file);
		} else {
			char name[IO_NAME_MAX];
			wal_name(f->file, name);
			w->io->ops->unlink(w->io, name);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

int wal_replay(struct wal *w, uint64_t from, uint64_t durable, uint64_t generation,
	       enum wal_replay_mode mode, wal_each *each, void *arg, uint64_t *end,
	       uint64_t *sequence)
{
	struct replay r = {.w = w,
			   .from = from,
			   .at = from,
			   .generation = generation,
			   .each = each,
			   .arg = arg,
			   .mode = mode,
			   .had_writer = mode == WAL_REPLAY_READ && w->io->ops->has_writer(w->io)};
	int rc = w->io->ops->list(w->io, "wal", found_add, &r);

	for (uint32_t i = 0; rc == 0 && i < r.count; i++)
		rc = segment_head_read(&r, &r.found[i]);
	if (rc < 0)
		goto out;
	qsort(r.found, r.count, sizeof r.found[0], found_compare);
	*sequence = r.count && r.found[r.count - 1].valid ? r.found[r.count - 1].head.sequence : 0;
	rc = segments_follow(&r);
	if (rc == 0 && r.reached < durable)
		rc = -EUCLEAN;
	if (rc == 0 && !r.had_writer && mode != WAL_REPLAY_LOOK)
		rc = segments_check_end(&r);
	if (rc == 0 && mode == WAL_REPLAY_ADOPT && !SEEDED_BUG(11))
		rc = segments_settle(&r);
	if (rc == 0 && mode == WAL_REPLAY_ADOPT)
		rc = segments_adopt(&r);
	atomic_store_explicit(&w->written, r.reached, memory_order_relaxed);
	*end = r.at;
out:
	alloc_free(r.found);
	alloc_free(r.bytes);
	return rc;
}
