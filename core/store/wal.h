/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the log. Committers append records to a buffer in memory; whoever needs durability first
 *            becomes the leader, writes everything that was appended as one block and syncs it.
 * Format:    fmt.h (segment, block, record). An LSN is a byte position in the endless log. A block
 *            begins with its head, so the first record of an empty buffer lies 56 bytes behind the
 *            buffer's base.
 * Invariants: blocks are written in LSN order by one leader at a time. `durable` only grows, and only
 *            after a sync that succeeded. After a failed write or sync nothing is written any more:
 *            `failed` holds the errno, and the store goes read-only.
 *            Running out of disk space is no such failure: the block that found no segment is kept
 *            (`stuck`), and the next leader tries again, unless a checkpoint has made it superfluous:
 *            then it is left out, `written` stays behind `durable`, and the log goes on in a segment
 *            that begins behind it.
 *            A block that names runs of the heap is written when the heap is synced (runs.h), and the
 *            bytes of those runs count as pending until then.
 *            A segment file is full of zeros (first use) or of blocks with another salt and smaller
 *            LSNs (reuse) behind the last block, so replay finds the end.
 * Threading: append under `append`; the leader owns the segment fields by winning `leader`; the lists
 *            of spare and retired segments have `segments`. No lock is held over I/O except `leader`,
 *            which nobody waits for inside another lock, and `segments` in background preparation.
 * Failure:   -errno of the disk; -EROFS once failed.
 */
#ifndef MNEME_CORE_STORE_WAL_H
#define MNEME_CORE_STORE_WAL_H

#include "core/store/fmt.h"
#include "core/store/io.h"
#include "pool/lock.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
	WAL_SEGMENTS_MAX = 4096,
	WAL_SEGMENTS_SLACK = 64,    /* fewer are filled: opened again, spare ones count too */
	WAL_SPARES_BUSY = 16,       /* kept while the log runs: what one checkpoint gives back */
	WAL_SPARES_QUIET = 2,       /* kept when it does not, or when the disk is full */
	WAL_BUFFER_SOFT = 8 << 20,  /* committers wait above this */
	WAL_NAMED_SOFT = 32 << 20,  /* and when that much is pending with the runs that are named */
	WAL_BUFFER_HARD = 48 << 20, /* address space of a buffer */
	WAL_SEGMENT_HEAD = 4096,
};

/* A segment file that replay may still need. */
struct wal_retired {
	uint32_t file;     /* number in its name */
	uint32_t standard; /* 1: of the usual size, can be used again */
	uint64_t end;      /* LSN behind its last block */
};

struct wal {
	struct io *io;               /* [I] */
	uint8_t uuid[16];            /* [I] */
	uint32_t segment_bytes;      /* [I] */
	_Atomic uint64_t generation; /* [A] newest durable checkpoint, for block heads */

	struct lock append __attribute__((aligned(64)));
	uint8_t *buffer[2];       /* [I] */
	unsigned active;          /* [append] which one is filled */
	uint64_t base;            /* [append] LSN of its first byte */
	uint32_t used;            /* [append] bytes, block head included */
	_Atomic uint32_t records; /* [A] written under append */
	_Atomic uint64_t next;    /* [A] LSN behind the last record */
	_Atomic uint64_t pending; /* [A] bytes appended or promised, not yet taken by a leader */
	_Atomic uint64_t
		buffer_named; /* [A] bytes of runs that the buffer names; written under append */
	_Atomic uint64_t named_pending; /* [A] of `pending`, those of runs; grows under append */
	_Atomic uint64_t named;         /* [A] of all runs that were named; written under append */
	int (*before)(void *arg);       /* [I] makes runs durable that a block names: 0 or -errno */
	void *before_arg;               /* [I] */

	_Atomic uint32_t leader __attribute__((aligned(64))); /* [A] 1: somebody flushes */
	_Atomic uint32_t turn;    /* [A] futex: one more after each flush */
	_Atomic uint32_t waiters; /* [A] */
	_Atomic uint64_t durable; /* [A] by the log, or by a checkpoint */
	_Atomic uint64_t written; /* [A] the log itself is durable up to here */
	_Atomic int failed;       /* [A] errno, positive */
	_Atomic int started;      /* [A] 1: a segment of this process is durable */
	_Atomic int in_use;       /* [A] `file` is a segment with its head; written by the leader */

	struct io_file *file;    /* [leader] the segment in use */
	uint32_t file_number;    /* [leader] */
	uint64_t file_base;      /* [leader] LSN of its first block */
	uint64_t file_bytes;     /* [leader] */
	uint64_t salt, sequence; /* [leader] */
	uint32_t chain;          /* [leader] crc of the block before */
	struct {
		uint8_t *block;
		uint32_t length, records;
		uint64_t lsn, named;
	} stuck;              /* [leader] taken from the buffer, not yet written */
	int gap;              /* [leader] a stuck block was left out behind `file` */
	uint32_t crowd;       /* [leader] committers that waited when a flush ended */
	uint64_t flush_ns;    /* [leader] what a flush takes, smoothed */
	uint64_t patience_ns; /* [leader] how long a leader waits for the crowd */
	/* [leader] segment head being written */
	uint8_t head[WAL_SEGMENT_HEAD] __attribute__((aligned(8)));

	pthread_mutex_t segments;
	struct wal_retired *retired; /* [segments] in LSN order */
	uint32_t retired_count;
	uint32_t *spare; /* [segments] numbers of files that can be used */
	uint32_t spare_count;
	uint32_t file_next;              /* [segments] number for a new file */
	_Atomic int wants_spare;         /* [A] wal_prepare() is worth its time */
	_Atomic uint64_t flushes, bytes; /* [A] statistics; each flush syncs once */
};

/* Prepares buffers and lists; no segment is in use yet. */
int wal_init(struct wal *w, struct io *io, const uint8_t uuid[16], uint32_t segment_bytes);
void wal_fini(struct wal *w);
/* Takes a fresh segment into use at `lsn` (8-aligned) with a sequence above `sequence`. */
int wal_start(struct wal *w, uint64_t lsn, uint64_t sequence);

/* Promises buffer room for a record of `bytes`: 0, or -EAGAIN (call wal_drain and try again). */
int wal_promise(struct wal *w, uint32_t bytes);
void wal_unpromise(struct wal *w, uint64_t bytes);
/* Starts a record of exactly `bytes`; what was promised beyond them are the bytes of the runs that it
 * names. Returns the place for head and operations (8-aligned) and keeps `append` locked until
 * wal_append_done, which returns the LSN behind it. */
uint8_t *wal_append_begin(struct wal *w, uint32_t bytes, uint32_t promised);
uint64_t wal_append_done(struct wal *w);

/* Makes everything up to `lsn` durable; leads or follows. */
int wal_sync_to(struct wal *w, uint64_t lsn);
/* Lets the buffer drain below its soft limit. */
int wal_drain(struct wal *w);
static inline uint64_t wal_next(const struct wal *w)
{
	return atomic_load_explicit(&((struct wal *)w)->next, memory_order_acquire);
}

/* Leaves a stuck block out that a durable checkpoint at `lsn` covers. */
void wal_leave_out(struct wal *w, uint64_t lsn);
/* Segments that end at or before `lsn` become spare, unless a reader is opening the store: it may
 * replay from an older checkpoint. The next call finds them again. */
void wal_recycle(struct wal *w, uint64_t lsn);
/* Removes spare segments but for WAL_SPARES_QUIET: how many. */
uint32_t wal_trim(struct wal *w);
/* Bytes that wal_trim() would give back behind a checkpoint. */
uint64_t wal_free_bytes(struct wal *w);
/* Lets the log go on in a fresh segment, so that the one in use is over: what was appended is
 * durable then. -ENOSPC, -ENOMEM: it goes on where it was. */
int wal_renew(struct wal *w);
/* Overwrites spare segments with zeros, and removes all but WAL_SPARES_QUIET. */
int wal_clean(struct wal *w);
/* Bytes of segments that end at or before `lsn` and are not spare: a reader may need them. */
uint64_t wal_kept(struct wal *w, uint64_t lsn);
/* Makes a spare segment if there is none: background work, asked for when an eighth of a segment is
 * written, so that a small log stays small. */
int wal_prepare(struct wal *w);
static inline int wal_wants_spare(const struct wal *w)
{
	return atomic_load_explicit(&((struct wal *)w)->wants_spare, memory_order_relaxed);
}
/* Puts a segment found at open on the list of retired or spare ones. */
int wal_adopt(struct wal *w, uint32_t file, int standard, uint64_t end);
void wal_adopt_spare(struct wal *w, uint32_t file);

void wal_name(uint32_t file, char name[IO_NAME_MAX]);

enum wal_replay_mode {
	WAL_REPLAY_READ,  /* of a reader: there may be a writer */
	WAL_REPLAY_LOOK,  /* of the writer, who replays it later */
	WAL_REPLAY_ADOPT, /* of the writer */
};
/* Replay: calls `each` for every record behind `from`, in order, and with NULL when a segment ends:
 * records stay valid until then. *end receives the LSN behind the last
 * whole block, *sequence the highest sequence seen. WAL_REPLAY_ADOPT puts the segments found on the
 * lists of `w`. -EUCLEAN: a bad block lies before one that proves it was durable, or the log does not
 * reach back to `from` or on to `durable`, or it knows a newer checkpoint than `generation`.
 * With WAL_REPLAY_READ there may be a writer, whose log goes on meanwhile: what is newer than what was
 * replayed is then no damage, and spare segments may vanish. */
typedef int wal_each(void *arg, uint64_t lsn_end, const struct fmt_record *record);
int wal_replay(struct wal *w, uint64_t from, uint64_t durable, uint64_t generation,
	       enum wal_replay_mode mode, wal_each *each, void *arg, uint64_t *end,
	       uint64_t *sequence);

#endif
