/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a lock-free pool of records of one size: acquire and release cost a few nanoseconds,
 *            because both are served from the calling thread's magazine.
 * Invariants: a record is in exactly one place: in use, in one thread's magazine, in the central
 *            free list, or never used yet (index >= fresh). All memory is reserved by
 *            records_new(), and the kernel gives pages as records are first used; nothing is
 *            allocated later but one magazine for each thread that comes.
 * Threading: any thread may acquire, any thread may release what another acquired. The caller
 *            hands a record over with an acquire/release pair of its own. A magazine belongs to
 *            the owner of its thread slot (thread.h), which is why its fields need no stronger
 *            order than relaxed; the central list's proof is in freelist.h. What the last owner
 *            wrote into a record is ordered before the next owner's use: same thread, or release
 *            in freelist_push() to acquire in freelist_pop().
 * Failure:   acquire returns NULL at the capacity. Up to 2 * magazine records may then rest in the
 *            magazine of each other living thread; those of ended threads are taken back first.
 */
#ifndef MNEME_POOL_RECORDS_H
#define MNEME_POOL_RECORDS_H

#include "pool/freelist.h"

#include <stddef.h>

enum { RECORDS_MAGAZINE_MAX = 32 };

struct records_magazine {
	alignas(CACHE_LINE) _Atomic uint32_t count; /* [A] written by the slot's owner alone */
	_Atomic uint64_t acquired;                  /* [A] the same */
	_Atomic uint64_t released;                  /* [A] the same; on any thread, so it may exceed
						     * acquired */
	_Atomic uint64_t refills;                   /* [A] the same: trips to the central list */
	void *item[2 * RECORDS_MAGAZINE_MAX];       /* slot's owner */
};

struct records {
	size_t stride;       /* [I] bytes from record to record */
	uint32_t capacity;   /* [I] records */
	uint32_t magazine;   /* [I] records moved at a time */
	unsigned char *base; /* [I] aligned to a cache line */
	_Atomic(struct records_magazine *) magazines[THREAD_SLOTS]; /* [A] set once */
	struct freelist central;
	alignas(CACHE_LINE) _Atomic uint32_t fresh; /* [A] records below it were used before */
	_Atomic uint32_t outside;                   /* [A] records in use or in magazines */
	_Atomic uint32_t outside_max;               /* [A] its high-water mark */
	_Atomic uint64_t shared_acquired;           /* [A] by threads without a slot */
	_Atomic uint64_t shared_released;           /* [A] */
	_Atomic uint64_t refused;                   /* [A] */
};

struct records_stats {
	uint64_t capacity;       /* records */
	uint64_t in_use;         /* records; exact when no thread is inside the pool */
	uint64_t cached;         /* records in magazines */
	uint64_t high_water;     /* most records that were outside the central list at once */
	uint64_t acquired;       /* successful acquires */
	uint64_t hits;           /* of these, from the thread's magazine without a trip */
	uint64_t refused;        /* acquires that found the pool exhausted */
	uint64_t bytes_data;     /* capacity * stride */
	uint64_t bytes_overhead; /* links, magazines and this struct */
};

/* Makes a pool of `capacity` records (1 .. 2^28 - 2) of `record_size` bytes (>= 1). A record is
 * aligned to 8, to 16 if its size is a multiple of 16, and to 64 if it is a multiple of 64.
 * -EINVAL, -ENOMEM. Owned by the caller until records_free(). */
int records_new(size_t record_size, uint32_t capacity, struct records **out);
/* Frees the pool with all records, also those in use; accepts NULL. */
void records_free(struct records *pool);
void records_read_stats(struct records *pool, struct records_stats *out);
/* 0, or -EUCLEAN when a record is in two places or lost, given that `in_use` records are held by
 * the caller. Only while no other thread is at work. */
int records_validate(struct records *pool, uint64_t in_use);

void *records_acquire_slow(struct records *pool);
void records_release_slow(struct records *pool, void *record);

static inline void records_count_one(_Atomic uint64_t *counter)
{
	/* one writer: no locked instruction needed */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* A record with unspecified content, or NULL at the capacity. */
static inline void *records_acquire(struct records *pool)
{
	int slot = thread_slot();

	if (__builtin_expect(slot >= 0, 1)) {
		struct records_magazine *mag =
			atomic_load_explicit(&pool->magazines[slot], memory_order_relaxed);
		uint32_t count;

		if (__builtin_expect(mag && (count = atomic_load_explicit(&mag->count,
									  memory_order_relaxed)),
				     1)) {
			atomic_store_explicit(&mag->count, count - 1, memory_order_relaxed);
			records_count_one(&mag->acquired);
			return mag->item[count - 1];
		}
	}
	return records_acquire_slow(pool);
}

/* Gives a record of this pool back; `record` is not NULL. */
static inline void records_release(struct records *pool, void *record)
{
	int slot = thread_slot();

	if (__builtin_expect(slot >= 0, 1)) {
		struct records_magazine *mag =
			atomic_load_explicit(&pool->magazines[slot], memory_order_relaxed);
		uint32_t count;

		if (__builtin_expect(mag && (count = atomic_load_explicit(&mag->count,
									  memory_order_relaxed)) <
						     2 * pool->magazine,
				     1)) {
			mag->item[count] = record;
			atomic_store_explicit(&mag->count, count + 1, memory_order_relaxed);
			records_count_one(&mag->released);
			return;
		}
	}
	records_release_slow(pool, record);
}

#endif
