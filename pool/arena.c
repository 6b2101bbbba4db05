/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the slow paths of arena.h, and the arena of each thread.
 * Invariants: blocks form a chain, the newest first; the oldest is the main block.
 */
#include "pool/arena.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

struct arena_block {
	struct arena_block *older;
	unsigned char *end;
	size_t bytes; /* with this header */
};

enum { HEADER_BYTES = (sizeof(struct arena_block) + 63) & ~63, ALIGN_MAX = 4096 };

static unsigned char *block_data(struct arena_block *block)
{
	return (unsigned char *)block + HEADER_BYTES;
}

/* Adds a block that has `room` bytes for data. */
static int block_add(struct arena *arena, size_t room)
{
	size_t bytes = room + HEADER_BYTES;

	if (bytes > arena->limit || arena->blocks_bytes > arena->limit - bytes)
		return -ENOSPC;
	struct arena_block *block = alloc_aligned(64, bytes);
	if (!block)
		return -ENOMEM;
	block->bytes = bytes;
	block->end = (unsigned char *)block + bytes;
	block->older = arena->newest;
	if (arena->newest)
		arena->used_older += (size_t)(arena->at - block_data(arena->newest));
	arena->newest = block;
	arena->blocks_bytes += bytes;
	arena->at = block_data(block);
	arena->end = block->end;
	return 0;
}

static void blocks_drop_newest(struct arena *arena)
{
	struct arena_block *block = arena->newest;

	arena->newest = block->older;
	arena->blocks_bytes -= block->bytes;
	alloc_free(block);
}

int arena_init(struct arena *arena, size_t first, size_t limit)
{
	memset(arena, 0, sizeof(*arena));
	if (!first || first > limit || limit > SIZE_MAX / 4)
		return -EINVAL;
	arena->limit = limit + HEADER_BYTES;
	return block_add(arena, first);
}

void arena_destroy(struct arena *arena)
{
	while (arena->newest)
		blocks_drop_newest(arena);
	memset(arena, 0, sizeof(*arena));
}

size_t arena_used(const struct arena *arena)
{
	return arena->used_older + (size_t)(arena->at - block_data(arena->newest));
}

static void used_note(struct arena *arena)
{
	size_t used = arena_used(arena);

	if (used > arena->used_max)
		arena->used_max = used;
}

void *arena_get_slow(struct arena *arena, size_t size, size_t align)
{
	DCHECK(align && align <= ALIGN_MAX && !(align & (align - 1)));
	if (size > arena->limit)
		goto refused;
	/* Twice what there is, so a growing request adds few blocks; what is just needed near the
	 * limit. */
	size_t least = size + align, room = arena->blocks_bytes * 2;
	if (room < least)
		room = least;
	used_note(arena);
	if (block_add(arena, room) && block_add(arena, least))
		goto refused;
	return arena_get_aligned(arena, size, align);
refused:
	arena->refused++;
	return NULL;
}

/* Replaces the chain by one block for the high-water mark; keeps the main block if that fails. */
static void blocks_merge(struct arena *arena)
{
	struct arena_block *main_block = arena->newest;

	while (main_block->older) {
		blocks_drop_newest(arena);
		main_block = arena->newest;
	}
	arena->newest = NULL;
	arena->blocks_bytes = 0;
	size_t room = arena->used_max + arena->used_max / 4 + ALIGN_MAX;
	if (room > arena->limit - HEADER_BYTES)
		room = arena->limit - HEADER_BYTES;
	arena->used_older = 0;
	if (block_add(arena, room) == 0) {
		alloc_free(main_block);
	} else {
		arena->newest = main_block;
		arena->blocks_bytes = main_block->bytes;
	}
}

void arena_reset(struct arena *arena)
{
	used_note(arena);
	if (__builtin_expect(arena->newest->older != NULL, 0))
		blocks_merge(arena);
	arena->used_older = 0;
	arena->at = block_data(arena->newest);
	arena->end = arena->newest->end;
}

struct arena_mark arena_get_mark(const struct arena *arena)
{
	return (struct arena_mark){arena->newest, arena->at, arena->used_older};
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
	used_note(arena);
	while (arena->newest != mark.block) {
		CHECK(arena->newest->older);
		blocks_drop_newest(arena);
	}
	arena->at = mark.at;
	arena->end = arena->newest->end;
	arena->used_older = mark.used_older;
}

static _Thread_local struct arena *thread_arena;
static pthread_key_t arena_key;
static pthread_once_t arena_once = PTHREAD_ONCE_INIT;
static int arena_key_error;

static void thread_arena_end(void *arg)
{
	arena_destroy(arg);
	alloc_free(arg);
	thread_arena = NULL;
}

static void arena_key_make(void)
{
	arena_key_error = pthread_key_create(&arena_key, thread_arena_end);
}

struct arena *arena_of_thread(void)
{
	if (__builtin_expect(thread_arena != NULL, 1))
		return thread_arena;
	pthread_once(&arena_once, arena_key_make);
	struct arena *arena = arena_key_error ? NULL : alloc_get(sizeof(*arena));
	if (!arena)
		return NULL;
	if (arena_init(arena, ARENA_THREAD_FIRST, ARENA_THREAD_LIMIT) ||
	    pthread_setspecific(arena_key, arena)) {
		thread_arena_end(arena);
		return NULL;
	}
	thread_arena = arena;
	return arena;
}
