/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the open store: shards, their trees, and how the parts below hang together. Internal to
 *            the engine.
 *
 * Life of a change: a transaction locks its shards, prepares (pages on the path are copied into the
 *            dirty arena: the content does not change yet, and this is the last thing that can fail),
 *            applies, appends one log record, unlocks. A checkpoint closes the epoch under all shard
 *            locks, writes the closed slots to the heap, then the superblock, and at last moves the
 *            references of the open epoch from closed slots to their places in the heap.
 * Invariants: a page or value of the heap, or of a closed epoch, is never changed. A slot of the open
 *            epoch is reachable only from its shard's root.
 * Threading: lock order is the ranks of pool/lock.h.
 */
#ifndef MNEME_CORE_STORE_STORE_H
#define MNEME_CORE_STORE_STORE_H

#include "core/mneme.h"
#include "core/store/aside.h"
#include "core/store/dirty.h"
#include "core/store/fmt.h"
#include "core/store/heap.h"
#include "core/store/io.h"
#include "core/store/page.h"
#include "core/store/unlogged.h"
#include "core/store/wal.h"

#include <pthread.h>

/* Writes a sentence to *error (may be NULL) and returns rc. */
int store_refuse(struct mneme_error *error, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

enum {
	TREE_HEIGHT_MAX = 16,
	STORE_RANGES_MAX = 64,
};

/* Pages given up in an epoch: free once the checkpoint that closes it is durable (or, when they are
 * younger than the last durable one, written). An item is a page
 * number and, in bits 40..55, a count; with FMT_SCATTERED the page lists that many others, which go with
 * it; with FMT_DIRTY it is a slot number of the epoch before. */
struct freed_list {
	uint64_t *items;
	uint64_t count, capacity;
};

struct shard {
	struct lock lock;
	uint32_t index;                 /* [I] */
	uint64_t root;                  /* [lock] page reference; 0: empty */
	uint32_t height;                /* [lock] pages from root to leaf */
	uint64_t version;               /* [lock] one more for each commit */
	uint64_t shape;                 /* [lock] more each time that a page comes or goes */
	uint64_t arena_credit;          /* [lock] pages promised in advance, see commit.c */
	uint64_t heap_credit;           /* [lock] */
	uint64_t reserved;              /* [lock] values that room is set aside for (reserve.h) */
	_Atomic uint64_t commits;       /* [A] written under the lock */
	struct unlogged unlogged;       /* [lock] changes that are in no log and not durable yet */
	struct dirty_list open;         /* [lock] slots of the open epoch */
	struct freed_list freed;        /* [lock] in the open epoch */
	struct dirty_list closed;       /* [checkpoint] */
	struct freed_list closed_freed; /* [checkpoint] */
	uint32_t cursor;                /* [lock] next open slot whose references are to be moved */
	uint64_t freed_moved;           /* [lock] items of `freed` whose references were moved */
	uint64_t closed_root;           /* [checkpoint] */
	_Atomic uint64_t inode_next;    /* [A] */
} __attribute__((aligned(128)));

struct durability_range {
	uint64_t first, last; /* inodes, inclusive */
	uint32_t durability;
	uint32_t used;
};

/* What a transaction was promised. */
struct budget {
	uint32_t pages;    /* of arena and heap that it may still take */
	uint32_t lists;    /* pages of the heap alone, one for each slot of a value */
	uint64_t promised; /* in all */
	uint32_t kept;     /* of `pages` that applying may take */
	uint32_t stamp;    /* of a transaction that counts what it meets; else 0 */
	uint64_t shards;   /* that it has met */
	uint64_t freed;    /* items of freed lists reserved so far */
	uint64_t handed;   /* pages set aside that it may promise: it gives them back */
	uint64_t covers;   /* quads set aside that it claimed (aside.h), */
	uint64_t
		covered; /* its operations with none of the heap promised for their value, for these */
	uint64_t aside; /* applying: those that no slot was given yet */
	int64_t bare;   /* of `pages`, those of the arena that have none of the heap */
	uint32_t count; /* of its operations */
};

struct mneme {
	struct io *io;          /* [I] */
	struct fmt_super super; /* [checkpoint] the durable one */
	uint32_t shard_count;   /* [I] power of two */
	uint32_t shard_mask;    /* [I] */
	int read_only;          /* [I] opened so */
	_Atomic int failed;     /* [A] errno (positive) that made it read-only */
	_Atomic uint64_t epoch; /* changed under all shard locks, read under any */
	_Atomic uint64_t era;   /* likewise: the generation of the next durable checkpoint */
	struct shard shards[FMT_SHARDS_MAX];
	struct dirty dirty;
	struct heap heap;
	struct aside aside;
	_Atomic uint64_t reserved_values; /* [A] in all shards */
	struct wal wal;
	uint64_t keep_pages;                /* [I] free pages kept back for deletes */
	enum mneme_durability durability;   /* [I] */
	enum mneme_compression compression; /* [I] */
	struct mneme_options options;       /* [I] with defaults filled in */

	pthread_mutex_t ranges_run; /* one mneme_set_durability at a time; taken before any lock */
	struct lock ranges_lock;
	_Atomic uint32_t ranges_used;                     /* [A] */
	struct durability_range ranges[STORE_RANGES_MAX]; /* [ranges_lock] */

	struct checkpoint *checkpoint; /* core/store/checkpoint.h */
	struct background *background; /* core/store/background.h; NULL: none */
	struct txn_pool *txns;         /* core/store/txn.c */
	struct packing *packing;       /* core/store/packing.h */
	struct packer *packer;         /* core/store/packer.h; NULL: nothing is packed */
	struct named *named;           /* core/store/named.h; NULL: the log is not being replayed */
	_Atomic int may_name;          /* [A] runs_allow() */
	uint32_t run_least; /* [I] bytes of large values in a transaction from which on they
					* get runs (runs.h); 0: never */

	_Atomic uint32_t stamp; /* [A] last one given to a transaction */
	_Atomic uint64_t conflicts;
	uint64_t replayed_records, replayed_bytes, open_ns; /* [I] after open */
};

static inline struct shard *store_shard(struct mneme *m, uint64_t inode)
{
	return &m->shards[inode & m->shard_mask];
}

static inline uint64_t store_epoch(const struct mneme *m)
{
	/* relaxed: stable under any shard lock */
	return atomic_load_explicit(&((struct mneme *)m)->epoch, memory_order_relaxed);
}

/* An era has one epoch or, where the arena was spilled to the heap meanwhile, several. */
static inline uint64_t store_era(const struct mneme *m)
{
	/* relaxed: as store_epoch() */
	return atomic_load_explicit(&((struct mneme *)m)->era, memory_order_relaxed);
}

/* Writes a key as the tree orders it; returns its length. `out` has FMT_KEY_MAX bytes. */
static inline uint32_t store_encode_key(const struct mneme_key *key, uint8_t *out)
{
	uint64_t inode = __builtin_bswap64(key->inode);

	memcpy(out, &inode, 8);
	out[8] = key->type;
	if (key->sub_length)
		memcpy(out + FMT_KEY_HEAD, key->sub, key->sub_length);
	return FMT_KEY_HEAD + key->sub_length;
}

/* `key->sub` points into `in`. */
static inline void store_decode_key(struct page_key in, struct mneme_key *key)
{
	uint64_t inode;

	memcpy(&inode, in.bytes, 8);
	*key = (struct mneme_key){.inode = __builtin_bswap64(inode),
				  .type = in.bytes[8],
				  .sub = in.bytes + FMT_KEY_HEAD,
				  .sub_length = in.length - FMT_KEY_HEAD};
}

/* Turns a key into the smallest one behind it. `key->sub` must point to MNEME_SUBKEY_MAX bytes that
 * may be written. A key of full length is followed by the next of its bytes; 0 if there is none. */
static inline int store_key_after(struct mneme_key *key)
{
	uint8_t *sub = (uint8_t *)(uintptr_t)key->sub;

	if (key->sub_length < MNEME_SUBKEY_MAX) {
		sub[key->sub_length++] = 0;
		return 1;
	}
	while (key->sub_length && sub[key->sub_length - 1] == 0xff)
		key->sub_length--;
	if (key->sub_length)
		sub[key->sub_length - 1]++;
	else if (!++key->type)
		return 0; /* then the next inode's keys follow */
	return 1;
}

/* Makes the store read-only for good and says why on standard error, once, unless `rc` is a lack of
 * space or memory that left everything as it was. Returns `rc`. */
int store_fail(struct mneme *m, int rc, const char *what);
/* The same for what leaves nothing as it was, whatever `rc` is. */
int store_fail_for_good(struct mneme *m, int rc, const char *what);
/* 0, or -EROFS when the store cannot be written. */
int store_writable(const struct mneme *m);

/* At the end of a read that began when `faults` reads of the map had failed: `rc`, or -EIO with the
 * store read-only when one more has failed since. */
int store_read_fault(struct mneme *m, uint64_t faults, int rc);

/* How much of the heap may be mapped: what the arena leaves of the memory that a store may take. */
uint64_t store_map_bytes(const struct mneme *m);

/* The options that only tests need. */
struct store_tuning {
	uint64_t heap_reserve; /* bytes of address space; 0: default */
	int no_threads;        /* 1: no background thread; checkpoints only when asked for */
	uint32_t run_least; /* struct mneme; 0: default, which depends on the store's compression */
};
/* -EINVAL with its sentence for options that cannot be; NULL: the defaults. */
int store_create_check(const struct mneme_create_options *options, struct mneme_error *error);
/* Where there is no superblock: -ENOENT with what is missing and the way out. */
int store_refuse_absent(struct io *io, struct mneme_error *error);
int store_create(struct io *io, const struct mneme_create_options *options,
		 struct mneme_error *error);
/* Takes over `io`, also on failure. */
int store_open(struct io *io, const struct mneme_options *options,
	       const struct store_tuning *tuning, struct mneme **out, struct mneme_error *error);
/* Frees everything without writing anything: what a crash would leave (for tests). */
void store_abandon(struct mneme *m);

#endif
