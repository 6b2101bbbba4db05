/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a bump allocator for what one request needs for its time: taking is an addition, and
 *            all is given back at once after the reply.
 * Invariants: what arena_get() returned stays where it is until arena_reset() or a rewind below
 *            it. When the main block is full, overflow blocks are added; the next reset replaces
 *            main and overflow by one block as large as the most that was ever needed. So after a
 *            warm-up nothing is allocated any more.
 * Threading: one thread at a time. arena_of_thread() is the calling thread's own.
 * Failure:   NULL when the limit is reached or memory is short; the arena stays usable.
 */
#ifndef MNEME_POOL_ARENA_H
#define MNEME_POOL_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;

struct arena {
	unsigned char *at;  /* next free byte of the newest block */
	unsigned char *end; /* end of the newest block */
	struct arena_block *newest;
	size_t blocks_bytes; /* bytes of all blocks */
	size_t used_older;   /* bytes used in blocks before the newest */
	size_t used_max;     /* high-water mark of used bytes, padding included */
	size_t limit;        /* most bytes of all blocks */
	uint64_t refused;    /* takes that met the limit or a lack of memory */
};

/* A place to rewind to. */
struct arena_mark {
	struct arena_block *block;
	unsigned char *at;
	size_t used_older;
};

/* Makes an arena with a first block of `first` bytes that grows to at most `limit` bytes.
 * -EINVAL if first is 0 or exceeds limit; -ENOMEM. Release with arena_destroy(). */
int arena_init(struct arena *arena, size_t first, size_t limit);
void arena_destroy(struct arena *arena);

void *arena_get_slow(struct arena *arena, size_t size, size_t align);

/* `size` bytes aligned to `align` (a power of two up to 4096), unspecified content, or NULL. Valid
 * until the reset. */
static inline void *arena_get_aligned(struct arena *arena, size_t size, size_t align)
{
	uintptr_t at = ((uintptr_t)arena->at + align - 1) & ~(uintptr_t)(align - 1);

	if (__builtin_expect(at > (uintptr_t)arena->end || size > (uintptr_t)arena->end - at, 0))
		return arena_get_slow(arena, size, align);
	arena->at = (unsigned char *)at + size;
	return (void *)at;
}

static inline void *arena_get(struct arena *arena, size_t size)
{
	return arena_get_aligned(arena, size, 16);
}

/* Gives everything back. */
void arena_reset(struct arena *arena);

/* For a temporary inside a request: what was taken after the mark is given back. */
struct arena_mark arena_get_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);

/* Bytes in use now, padding included. */
size_t arena_used(const struct arena *arena);

enum { ARENA_THREAD_FIRST = 64 << 10, ARENA_THREAD_LIMIT = 16 << 20 };
/* The calling thread's request arena (ARENA_THREAD_FIRST bytes, growing to ARENA_THREAD_LIMIT),
 * made on first use and freed at the thread's end; NULL without memory. Whoever answers a request
 * resets it. */
struct arena *arena_of_thread(void);

#endif
