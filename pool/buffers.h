/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   reply buffers in tiers (1, 4 and 16 KiB by default), aligned to 64 bytes, that cost
 *            no allocation once warm: first from the thread's cache, then from the tier's
 *            lock-free list, then by growth up to a limit; given back to the system when they
 *            were idle for a while.
 * Invariants: a buffer is in one place: in use, in one thread's cache, or in its tier's list.
 *            Buffers of a tier live in chunks; a chunk is freed only when all its buffers were
 *            taken out of the list by the shrinker. The links of the list are not inside the
 *            chunks, so a thread that walks a stale link never touches freed memory.
 * Threading: any thread may get, any may put. Growth and shrinking of a tier take its mutex. The
 *            list's proof is in freelist.h. A cache has an owner, who comes often, and visitors,
 *            who come rarely: the shrinker, or a thread at the limit. The owner stores `busy`,
 *            then loads `visited`; a visitor stores `visited`, then loads `busy`; who finds the
 *            other's flag stays out, so never are both inside. For that each store must be
 *            visible before the load after it. The visitor has the kernel put a barrier into
 *            every thread of the process, membarrier(2), between its two; so the owner needs no
 *            locked instruction: either its store came before that barrier, and the visitor sees
 *            it, or its load comes after it, and sees the visitor's flag. Where the call is not
 *            permitted the owner uses a sequentially consistent exchange. Leaving is a release
 *            store that pairs with the other side's load.
 * Failure:   NULL when the fitting tier and all larger ones are at their limits and every cache is
 *            empty, or when the size is above the largest tier.
 */
#ifndef MNEME_POOL_BUFFERS_H
#define MNEME_POOL_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

enum { BUFFERS_TIERS_MAX = 4 };

struct buffer {
	unsigned char *data; /* [I] aligned to 64; `size` bytes */
	uint32_t size;       /* [I] bytes, the tier's */
	uint32_t used;       /* the holder's: bytes filled; 0 after a get */
	uint32_t index;      /* [I] in its tier */
	uint32_t tier;       /* [I] */
};

struct buffers_tier_config {
	uint32_t size;    /* bytes, a multiple of 64, ascending from tier to tier */
	uint32_t initial; /* buffers at the start, and the least after a shrink; >= 1 */
	uint32_t limit;   /* most buffers, rounded up to whole chunks; >= initial */
};

struct buffers_config {
	unsigned tiers; /* 1 .. BUFFERS_TIERS_MAX */
	struct buffers_tier_config tier[BUFFERS_TIERS_MAX];
};

struct buffers_tier_stats {
	uint64_t size;           /* bytes a buffer */
	uint64_t total;          /* buffers that exist */
	uint64_t limit;          /* most that may exist */
	uint64_t in_use;         /* held by callers; exact when no thread is inside the pool */
	uint64_t cached;         /* in thread caches */
	uint64_t high_water;     /* most that were in use or cached at once */
	uint64_t gets;           /* successful gets from this tier */
	uint64_t hits_thread;    /* of these, from the thread's cache */
	uint64_t hits_central;   /* of these, from the list: a hit as well, nothing was allocated */
	uint64_t grown;          /* chunks added */
	uint64_t shrunk;         /* chunks given back */
	uint64_t refused;        /* gets that found this tier at its limit */
	uint64_t bytes_data;     /* total * size */
	uint64_t bytes_overhead; /* descriptors, links, caches, alignment */
};

struct buffers;

/* 1 KiB x128, 4 KiB x64, 16 KiB x32, each growing to 32 times that. */
void buffers_config_default(struct buffers_config *out);
/* -EINVAL, -ENOMEM. Owned by the caller until buffers_free(). */
int buffers_new(const struct buffers_config *config, struct buffers **out);
/* All buffers must have been put back, or are lost with the pool; accepts NULL. */
void buffers_free(struct buffers *pool);

/* A buffer of at least `size` bytes (a larger tier's when the fitting one is exhausted), or NULL.
 * Content is unspecified, `used` is 0. Put it back with buffers_put(). */
struct buffer *buffers_get(struct buffers *pool, size_t size);
/* Accepts NULL. */
void buffers_put(struct buffers *pool, struct buffer *buffer);
/* Buffers of the largest tier for `bytes` bytes together (the last one of the smallest tier that
 * fits). Returns their number; -EINVAL if more than `max` would be needed or bytes is 0; -ENOBUFS,
 * and then none is held. */
int buffers_get_vector(struct buffers *pool, size_t bytes, struct buffer **out, unsigned max);

/* Called periodically (every second or so): gives back chunks beyond what this interval and the one
 * before needed at their peaks, and beyond `initial`. Returns the bytes freed. */
size_t buffers_shrink_idle(struct buffers *pool);

/* Fills `out[0 .. n)` and returns n, the number of tiers. */
unsigned buffers_read_stats(struct buffers *pool, struct buffers_tier_stats out[BUFFERS_TIERS_MAX]);
/* 0, or -EUCLEAN when a buffer is in two places or lost, given that the caller holds `in_use`
 * buffers of all tiers together. Only while no other thread is at work. */
int buffers_validate(struct buffers *pool, uint64_t in_use);

#endif
