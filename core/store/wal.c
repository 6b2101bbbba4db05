/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   append, group commit and segments of the log; see wal.h.
 */
#include "core/store/wal.h"
#include "core/store/clock.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t align8(uint64_t n)
{
	return (n + 7) & ~7ull;
}

/* relaxed: who changes it holds `append`, who only looks wants a hint */
static uint32_t records_now(const struct wal *w)
{
	return atomic_load_explicit(&((struct wal *)w)->records, memory_order_relaxed);
}

void wal_name(uint32_t file, char name[IO_NAME_MAX])
{
	snprintf(name, IO_NAME_MAX, "wal/%08x", file);
}

int wal_init(struct wal *w, struct io *io, const uint8_t uuid[16], uint32_t segment_bytes)
{
	memset(w, 0, sizeof *w);
	w->io = io;
	memcpy(w->uuid, uuid, 16);
	w->segment_bytes = segment_bytes;
	lock_init(&w->append, LOCK_WAL_APPEND);
	pthread_mutex_init(&w->segments, NULL);
	w->retired = alloc_zeroed(WAL_SEGMENTS_MAX, sizeof w->retired[0]);
	w->spare = alloc_zeroed(WAL_SEGMENTS_MAX, sizeof w->spare[0]);
	for (int i = 0; i < 2; i++)
		w->buffer[i] = alloc_range(WAL_BUFFER_HARD);
	if (w->retired && w->spare && w->buffer[0] && w->buffer[1])
		return 0;
	wal_fini(w);
	return -ENOMEM;
}

void wal_fini(struct wal *w)
{
	if (w->file)
		w->io->ops->close(w->file);
	for (int i = 0; i < 2; i++)
		alloc_range_free(w->buffer[i], WAL_BUFFER_HARD);
	alloc_free(w->retired);
	alloc_free(w->spare);
	pthread_mutex_destroy(&w->segments);
	memset(w, 0, sizeof *w);
}

/* ---- segments ---- */

/* Fills a file with `bytes` zeros. */
static int segment_zero(struct wal *w, struct io_file *f, uint64_t bytes)
{
	enum { ZEROS = 1 << 18 };
	static uint8_t zeros[ZEROS]; /* never written */
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < bytes; at += ZEROS)
		rc = io_write_full(f, w->io, zeros, bytes - at < ZEROS ? bytes - at : ZEROS, at);
	return rc < 0 ? rc : w->io->ops->sync(f);
}

/* Makes a file of `bytes` zeros, durable with its name. */
static int segment_create(struct wal *w, uint32_t file, uint64_t bytes)
{
	char name[IO_NAME_MAX];
	struct io_file *f;

	wal_name(file, name);
	int rc = w->io->ops->open(w->io, name, IO_WRITE | IO_CREATE, &f);
	if (rc < 0)
		return rc;
	rc = w->io->ops->allocate(f, 0, bytes);
	if (rc == 0)
		rc = segment_zero(w, f, bytes);
	w->io->ops->close(f);
	if (rc == 0)
		rc = SEEDED_BUG(12) ? 0 : w->io->ops->sync_dir(w->io, "wal");
	else
		w->io->ops->unlink(w->io, name);
	return rc;
}

static uint32_t file_number_take(struct wal *w)
{
	pthread_mutex_lock(&w->segments);
	uint32_t number = w->file_next++;
	pthread_mutex_unlock(&w->segments);
	return number;
}

static int spare_take(struct wal *w, uint32_t *file)
{
	int rc = -ENOENT;

	pthread_mutex_lock(&w->segments);
	if (w->spare_count) {
		*file = w->spare[0]; /* the oldest */
		memmove(w->spare, w->spare + 1, --w->spare_count * sizeof w->spare[0]);
		rc = 0;
	}
	pthread_mutex_unlock(&w->segments);
	return rc;
}

void wal_adopt_spare(struct wal *w, uint32_t file)
{
	pthread_mutex_lock(&w->segments);
	if (file >= w->file_next)
		w->file_next = file + 1;
	if (w->spare_count < WAL_SEGMENTS_MAX)
		w->spare[w->spare_count++] = file;
	pthread_mutex_unlock(&w->segments);
}

int wal_adopt(struct wal *w, uint32_t file, int standard, uint64_t end)
{
	int rc = 0;

	pthread_mutex_lock(&w->segments);
	if (file >= w->file_next)
		w->file_next = file + 1;
	if (w->retired_count < WAL_SEGMENTS_MAX)
		w->retired[w->retired_count++] =
			(struct wal_retired){.file = file, .standard = standard, .end = end};
	else
		rc = -EFBIG;
	pthread_mutex_unlock(&w->segments);
	return rc;
}

/* Asks for a spare with each eighth of the segment that was begun, as long as there is none. [leader] */
static void spare_consider(struct wal *w, uint64_t begin, uint64_t end)
{
	uint64_t eighth = w->file_bytes / 8;

	if ((begin - w->file_base) / eighth == (end - w->file_base) / eighth)
		return;
	pthread_mutex_lock(&w->segments);
	if (!w->spare_count)
		atomic_store_explicit(&w->wants_spare, 1, memory_order_relaxed);
	pthread_mutex_unlock(&w->segments);
}

int wal_prepare(struct wal *w)
{
	atomic_store_explicit(&w->wants_spare, 0, memory_order_relaxed);
	if (atomic_load_explicit(&w->failed, memory_order_relaxed))
		return -EROFS;
	pthread_mutex_lock(&w->segments);
	uint32_t have = w->spare_count;
	pthread_mutex_unlock(&w->segments);
	if (have)
		return 0;
	uint32_t file = file_number_take(w);
	int rc = segment_create(w, file, w->segment_bytes);
	if (rc == 0)
		wal_adopt_spare(w, file);
	return rc;
}

void wal_recycle(struct wal *w, uint64_t lsn)
{
	uint32_t kept = 0;
	int opening = w->io->ops->marked(w->io, IO_MARK_OPENING, IO_MARK_OPENING);

	pthread_mutex_lock(&w->segments);
	/* One that has been stopped in the midst of it may not stop the log too: its open will fail. */
	if (opening && w->retired_count < WAL_SEGMENTS_MAX / 2) {
		pthread_mutex_unlock(&w->segments);
		return;
	}
	for (uint32_t i = 0; i < w->retired_count; i++) {
		struct wal_retired r = w->retired[i];
		/* While none is in use, the newest old one shows where the log ends. */
		int shows_end = i + 1 == w->retired_count &&
				!(atomic_load_explicit(&w->started, memory_order_relaxed) &&
				  atomic_load_explicit(&w->in_use, memory_order_relaxed));
		if ((r.end > lsn && !SEEDED_BUG(15)) || shows_end) {
			w->retired[kept++] = r;
			continue;
		}
		/* To make one is to write its zeros: as long as the log runs, none is thrown away. */
		if (r.standard && w->spare_count < WAL_SPARES_BUSY) {
			w->spare[w->spare_count++] = r.file;
		} else {
			char name[IO_NAME_MAX];
			wal_name(r.file, name);
			w->io->ops->unlink(w->io, name);
		}
	}
	w->retired_count = kept;
	pthread_mutex_unlock(&w->segments);
}

uint32_t wal_trim(struct wal *w)
{
	uint32_t removed = 0;

	pthread_mutex_lock(&w->segments);
	for (; w->spare_count > WAL_SPARES_QUIET; removed++) {
		char name[IO_NAME_MAX];
		wal_name(w->spare[--w->spare_count], name);
		w->io->ops->unlink(w->io, name);
	}
	pthread_mutex_unlock(&w->segments);
	return removed;
}

/* Only the file's bytes: whatever a crash leaves of them, it is a spare one. */
static int spare_clean(struct wal *w)
{
	char name[IO_NAME_MAX];
	struct io_file *f;
	uint32_t file;

	if (spare_take(w, &file) < 0)
		return 0;
	wal_name(file, name);
	int rc = w->io->ops->open(w->io, name, IO_WRITE, &f);
	if (rc < 0) {
		wal_adopt_spare(w, file);
		return rc == -EMFILE || rc == -ENFILE ? -ENOMEM : rc;
	}
	rc = segment_zero(w, f, w->segment_bytes);
	w->io->ops->close(f);
	if (rc == 0)
		wal_adopt_spare(w, file);
	else
		w->io->ops->unlink(w->io, name);
	return rc;
}

int wal_clean(struct wal *w)
{
	int rc = 0;

	(void)wal_trim(w);
	for (int i = 0; i < WAL_SPARES_QUIET && rc == 0; i++) /* each time the oldest one */
		rc = spare_clean(w);
	return rc;
}

uint64_t wal_kept(struct wal *w, uint64_t lsn)
{
	uint64_t bytes = 0;

	pthread_mutex_lock(&w->segments);
	for (uint32_t i = 0; i < w->retired_count; i++)
		if (w->retired[i].end <= lsn)
			bytes += w->segment_bytes;
	pthread_mutex_unlock(&w->segments);
	return bytes;
}

uint64_t wal_free_bytes(struct wal *w)
{
	uint64_t count;

	pthread_mutex_lock(&w->segments);
	count = w->spare_count;
	for (uint32_t i = 0; i < w->retired_count; i++)
		count += w->retired[i].standard;
	pthread_mutex_unlock(&w->segments);
	return count > WAL_SPARES_QUIET ? (count - WAL_SPARES_QUIET) * w->segment_bytes : 0;
}

/* While a checkpoint runs the log may become as long as can be kept; it is what makes room for more. */
static int retired_check(struct wal *w)
{
	pthread_mutex_lock(&w->segments);
	int rc = w->retired_count < WAL_SEGMENTS_MAX - WAL_SEGMENTS_SLACK ? 0 : -ENOSPC;
	pthread_mutex_unlock(&w->segments);
	return rc;
}

/* Takes a segment that can hold `need` bytes of blocks into use. [leader] */
static int segment_next(struct wal *w, uint64_t lsn, uint64_t need)
{
	uint64_t bytes = w->segment_bytes;
	uint32_t file;
	char name[IO_NAME_MAX];
	struct fmt_segment *segment = (struct fmt_segment *)w->head;
	int rc = retired_check(w);

	if (rc < 0)
		return rc;
	if (need + WAL_SEGMENT_HEAD > bytes)
		bytes = (need + WAL_SEGMENT_HEAD + 4095) & ~4095ull;
	if (bytes != w->segment_bytes || spare_take(w, &file) < 0) {
		file = file_number_take(w);
		rc = segment_create(w, file, bytes);
		if (rc < 0)
			return rc;
	}
	if (w->file) {
		w->io->ops->close(w->file);
		w->file = NULL;
		atomic_store_explicit(&w->in_use, 0, memory_order_relaxed);
		rc = wal_adopt(w, w->file_number, w->file_bytes == w->segment_bytes, lsn);
		if (rc < 0)
			return rc;
	}
	wal_name(file, name);
	rc = w->io->ops->open(w->io, name, IO_WRITE, &w->file);
	if (rc < 0) {
		if (bytes == w->segment_bytes)
			wal_adopt_spare(w, file);
		else
			w->io->ops->unlink(w->io, name);
		return rc;
	}
	if (getrandom(&w->salt, sizeof w->salt, 0) != sizeof w->salt)
		return -EIO;
	w->file_number = file;
	w->file_base = lsn;
	w->file_bytes = bytes;
	w->chain = (uint32_t)w->salt;
	w->sequence++;
	memset(w->head, 0, sizeof w->head);
	segment->magic = FMT_SEGMENT_MAGIC;
	segment->version = FMT_VERSION;
	memcpy(segment->uuid, w->uuid, 16);
	segment->sequence = w->sequence;
	segment->salt = w->salt;
	segment->base = lsn;
	segment->bytes = bytes;
	segment->crc = crc32c(0, w->head, sizeof w->head);
	/* Durable together with the first block: the same sync covers both. */
	rc = io_write_full(w->file, w->io, w->head, sizeof w->head, 0);
	w->gap = 0;
	if (rc < 0) { /* no block may follow a head that is not there */
		w->io->ops->close(w->file);
		w->file = NULL;
		return rc;
	}
	atomic_store_explicit(&w->in_use, 1, memory_order_relaxed);
	return 0;
}

int wal_start(struct wal *w, uint64_t lsn, uint64_t sequence)
{
	CHECK(lsn == align8(lsn));
	if (w->file) { /* of a first try that failed */
		w->io->ops->close(w->file);
		w->file = NULL;
	}
	w->sequence = sequence;
	w->base = lsn;
	w->used = sizeof(struct fmt_block);
	atomic_store_explicit(&w->records, 0, memory_order_relaxed);
	atomic_store_explicit(&w->next, lsn, memory_order_relaxed);
	atomic_store_explicit(&w->durable, lsn, memory_order_relaxed);
	int rc = segment_next(w, lsn, 0);
	if (rc == 0)
		rc = w->io->ops->sync(w->file);
	if (rc == 0) {
		atomic_store_explicit(&w->started, 1, memory_order_relaxed);
		atomic_store_explicit(&w->written, lsn, memory_order_relaxed);
	}
	return rc;
}

/* ---- append ---- */

/* With so much pending: bytes for the buffer, or promised for that. Runs are in the heap. */
static uint64_t buffered_of(const struct wal *w, uint64_t pending)
{
	/* relaxed: hints; that of the runs may have grown since */
	uint64_t named = atomic_load_explicit(&((struct wal *)w)->named_pending,
					      memory_order_relaxed);

	return pending > named ? pending - named : 0;
}

static int is_full(const struct wal *w, uint64_t pending)
{
	return pending > WAL_NAMED_SOFT || buffered_of(w, pending) > WAL_BUFFER_SOFT;
}

int wal_promise(struct wal *w, uint32_t bytes)
{
	/* relaxed: a count that bounds memory; the buffer itself has its lock */
	uint64_t before = atomic_fetch_add_explicit(&w->pending, bytes, memory_order_relaxed);

	if (!is_full(w, before) && before + bytes + 4096 <= WAL_BUFFER_HARD)
		return 0;
	wal_unpromise(w, bytes);
	return -EAGAIN;
}

void wal_unpromise(struct wal *w, uint64_t bytes)
{
	atomic_fetch_sub_explicit(&w->pending, bytes, memory_order_relaxed);
}

uint8_t *wal_append_begin(struct wal *w, uint32_t bytes, uint32_t promised)
{
	CHECK(promised >= align8(bytes));
	uint64_t named = promised - align8(bytes);
	lock_write(&w->append);
	CHECK(w->used + bytes + 8 <= WAL_BUFFER_HARD);
	if (named) {
		/* relaxed: counts, written under the lock */
		atomic_fetch_add_explicit(&w->buffer_named, named, memory_order_relaxed);
		atomic_fetch_add_explicit(&w->named_pending, named, memory_order_relaxed);
		atomic_fetch_add_explicit(&w->named, named, memory_order_relaxed);
	}
	uint8_t *place = w->buffer[w->active] + w->used;
	memset(place + align8(bytes) - 8, 0, 8); /* padding */
	w->used += align8(bytes);
	atomic_store_explicit(&w->records, records_now(w) + 1, memory_order_relaxed);
	return place;
}

uint64_t wal_append_done(struct wal *w)
{
	uint64_t lsn = w->base + w->used;

	/* release: pairs with the acquire in wal_next() */
	atomic_store_explicit(&w->next, lsn, memory_order_release);
	lock_write_done(&w->append);
	return lsn;
}

/* ---- group commit ---- */

/* Makes sure that the segment in use has room for the block. [leader] */
static int segment_fit(struct wal *w, uint64_t lsn, uint32_t length)
{
	if (w->file && !w->gap && lsn - w->file_base + length <= w->file_bytes - WAL_SEGMENT_HEAD)
		return 0;
	return segment_next(w, lsn, length);
}

static int block_write(struct wal *w, uint8_t *block, uint32_t length, uint32_t records,
		       uint64_t lsn)
{
	struct fmt_block *head = (struct fmt_block *)block;

	*head = (struct fmt_block){
		.magic = FMT_BLOCK_MAGIC,
		.length = length,
		.lsn = lsn,
		.durable = atomic_load_explicit(&w->written, memory_order_relaxed),
		.salt = w->salt,
		.generation = atomic_load_explicit(&w->generation, memory_order_relaxed),
		.records = records,
	};
	head->head_crc = crc32c(0, block, offsetof(struct fmt_block, head_crc));
	uint32_t crc = crc32c(w->chain, block, offsetof(struct fmt_block, crc));
	head->crc = crc32c(crc, block + sizeof *head, length - sizeof *head);
	w->chain = head->crc;
	uint64_t offset = WAL_SEGMENT_HEAD + lsn - w->file_base;
	if (SEEDED_BUG(3))
		return io_write_full(w->file, w->io, block, length, offset);
	return w->io->ops->write_sync(w->file, block, length, offset);
}

/* Takes what was appended out of the buffer: w->stuck.length is 0 if there is nothing. [leader] */
static void buffer_take(struct wal *w)
{
	lock_write(&w->append);
	if (records_now(w)) {
		w->stuck.block = w->buffer[w->active];
		w->stuck.length = w->used;
		w->stuck.records = records_now(w);
		w->stuck.lsn = w->base;
		w->stuck.named = atomic_exchange_explicit(&w->buffer_named, 0, memory_order_relaxed);
		w->active ^= 1;
		w->base += w->used;
		w->used = sizeof(struct fmt_block);
		atomic_store_explicit(&w->records, 0, memory_order_relaxed);
	}
	lock_write_done(&w->append);
}

/* The stuck block is pending no more. [leader] */
static void stuck_settle(struct wal *w)
{
	atomic_fetch_sub_explicit(&w->named_pending, w->stuck.named, memory_order_relaxed);
	wal_unpromise(w, w->stuck.length - sizeof(struct fmt_block) + w->stuck.named);
	w->stuck.length = 0;
}

/* Nothing was spoilt. Without descriptors it is as without memory: a checkpoint opens nothing. */
static int is_lack(int rc)
{
	return rc == -ENOSPC || rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE;
}

/* Writes one block, the stuck one first. [leader] */
static int flush(struct wal *w)
{
	if (atomic_load_explicit(&w->failed, memory_order_relaxed))
		return -EROFS;
	if (!w->stuck.length)
		buffer_take(w);
	if (!w->stuck.length)
		return 0;
	uint32_t length = w->stuck.length;
	uint64_t end = w->stuck.lsn + length;
	if (SEEDED_BUG(4)) { /* claims durability too early */
		atomic_store_explicit(&w->written, end, memory_order_release);
		atomic_store_explicit(&w->durable, end, memory_order_release);
	}
	int rc = segment_fit(w, w->stuck.lsn, length);
	if (is_lack(rc))
		return rc == -ENOSPC ? rc : -ENOMEM;
	if (rc == 0 && w->stuck.named && !SEEDED_BUG(21))
		rc = w->before(w->before_arg);
	if (rc == 0)
		rc = block_write(w, w->stuck.block, length, w->stuck.records, w->stuck.lsn);
	if (rc < 0) {
		atomic_store_explicit(&w->failed, -rc, memory_order_release);
		return rc;
	}
	spare_consider(w, w->stuck.lsn, end);
	stuck_settle(w);
	atomic_fetch_add_explicit(&w->flushes, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&w->bytes, length, memory_order_relaxed);
	/* release: pairs with the acquire of whoever waits for this position */
	atomic_store_explicit(&w->written, end, memory_order_release);
	atomic_store_explicit(&w->durable, end, memory_order_release);
	return 0;
}

static void turn_wait(struct wal *w, uint32_t seen)
{
	atomic_fetch_add_explicit(&w->waiters, 1, memory_order_seq_cst);
	/* seq_cst: the leader must see this waiter, or this thread the new turn (Dekker) */
	if (atomic_load_explicit(&w->turn, memory_order_seq_cst) == seen)
		syscall(SYS_futex, &w->turn, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	atomic_fetch_sub_explicit(&w->waiters, 1, memory_order_relaxed);
}

/* Those whom a flush has just made durable come back with their next records, but whoever comes first
 * would lead a block without the others: it waits until as many records are there as committers were.
 * If most of them do not come, the next leader waits half as long. Where the heap is to be synced, that
 * takes so long that the next block has them all. [leader] */
static void crowd_gather(struct wal *w)
{
	uint32_t before = records_now(w);

	/* relaxed: a hint */
	if (before >= w->crowd ||
	    atomic_load_explicit(&w->buffer_named, memory_order_relaxed))
		return;
	uint64_t begin = clock_ns(CLOCK_MONOTONIC), longest = w->flush_ns / 2,
		 shortest = w->flush_ns / 32;
	uint64_t patience = w->patience_ns < longest ? w->patience_ns : longest;
	do
		sched_yield();
	while (records_now(w) < w->crowd && clock_ns(CLOCK_MONOTONIC) - begin < patience);
	if (records_now(w) - before > (w->crowd - before) / 2)
		w->patience_ns = longest;
	else
		w->patience_ns = patience / 2 > shortest ? patience / 2 : shortest;
}

/* [leader] */
static int flush_crowd(struct wal *w)
{
	crowd_gather(w);
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int rc = flush(w);
	int64_t error = (int64_t)(clock_ns(CLOCK_MONOTONIC) - begin) - (int64_t)w->flush_ns;
	w->flush_ns += error / 8;
	/* relaxed: a hint */
	w->crowd = atomic_load_explicit(&w->waiters, memory_order_relaxed) + 1;
	return rc;
}

static void turn_end(struct wal *w)
{
	atomic_store_explicit(&w->leader, 0, memory_order_release);
	atomic_fetch_add_explicit(&w->turn, 1, memory_order_seq_cst);
	if (atomic_load_explicit(&w->waiters, memory_order_seq_cst))
		syscall(SYS_futex, &w->turn, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

int wal_sync_to(struct wal *w, uint64_t lsn)
{
	for (;;) {
		uint32_t seen = atomic_load_explicit(&w->turn, memory_order_seq_cst);
		if (atomic_load_explicit(&w->durable, memory_order_acquire) >= lsn)
			return 0;
		int failed = atomic_load_explicit(&w->failed, memory_order_acquire);
		if (failed)
			return -failed;
		uint32_t nobody = 0;
		if (!atomic_compare_exchange_strong_explicit(
			    &w->leader, &nobody, 1, memory_order_acquire, memory_order_relaxed)) {
			turn_wait(w, seen);
			continue;
		}
		int rc = 0;
		if (atomic_load_explicit(&w->durable, memory_order_acquire) < lsn)
			rc = flush_crowd(w);
		turn_end(w);
		if (rc < 0)
			return rc;
	}
}

static void turn_take(struct wal *w)
{
	uint32_t seen, nobody = 0;

	for (;; nobody = 0) {
		seen = atomic_load_explicit(&w->turn, memory_order_seq_cst);
		if (atomic_compare_exchange_strong_explicit(
			    &w->leader, &nobody, 1, memory_order_acquire, memory_order_relaxed))
			return;
		turn_wait(w, seen);
	}
}

/* [leader] */
static int segment_renew(struct wal *w)
{
	lock_write(&w->append);
	uint64_t lsn = w->base; /* changes by the leader alone */
	lock_write_done(&w->append);
	if (w->file && !w->gap && w->file_base == lsn)
		return 0;
	int rc = segment_next(w, lsn, 0);
	if (is_lack(rc))
		return rc == -ENOSPC ? rc : -ENOMEM;
	if (rc == 0)
		rc = w->io->ops->sync(w->file);
	if (rc < 0)
		atomic_store_explicit(&w->failed, -rc, memory_order_release);
	return rc;
}

int wal_renew(struct wal *w)
{
	turn_take(w);
	int rc = flush(w);
	if (rc == 0)
		rc = segment_renew(w);
	turn_end(w);
	return rc;
}

void wal_leave_out(struct wal *w, uint64_t lsn)
{
	turn_take(w);
	uint64_t end = w->stuck.lsn + w->stuck.length;
	if (w->stuck.length && end <= lsn) {
		stuck_settle(w);
		w->gap = 1;
		atomic_store_explicit(&w->durable, end, memory_order_release);
	}
	turn_end(w);
}

int wal_drain(struct wal *w)
{
	while (is_full(w, atomic_load_explicit(&w->pending, memory_order_relaxed))) {
		int rc = wal_sync_to(w, wal_next(w));
		if (rc < 0)
			return rc;
	}
	return 0;
}
