/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the only door to the general-purpose allocator. Counts calls, so that a test can show
 *            that a warm path allocates nothing, and fails any chosen call, so that a test can show
 *            that running out of memory is an errno and no leak.
 * Threading: thread-safe. The fail hook is for single-threaded tests.
 * Failure:   NULL, as malloc(3).
 */
#ifndef MNEME_POOL_ALLOC_H
#define MNEME_POOL_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* Returns `size` bytes aligned to 16, or NULL. Release with alloc_free(). */
void *alloc_get(size_t size);
/* The same, zeroed; NULL if count * size overflows. */
void *alloc_zeroed(size_t count, size_t size);
/* Grows or shrinks; on failure NULL, and `old` stays valid and owned by the caller. */
void *alloc_resize(void *old, size_t size);
/* Returns `size` bytes aligned to `align` (a power of two >= 16), or NULL. */
void *alloc_aligned(size_t align, size_t size);
/* A range of `bytes` zeros that takes memory only where it is written, aligned to a page; or NULL. */
void *alloc_range(size_t bytes);
/* Accepts NULL. */
void alloc_range_free(void *mem, size_t bytes);
/* Accepts NULL. Frees what the functions above returned, but for ranges. */
void alloc_free(void *mem);

/* Allocation calls (get, zeroed, resize, aligned, range) of this process / this thread since start. */
uint64_t alloc_count_total(void);
uint64_t alloc_count_thread(void);
/* Live allocations (calls minus frees of non-NULL) of this process; exact when no thread runs. */
int64_t alloc_count_live(void);

/* Fail the nth call from now (1 = the next one) once, or from then on for good; 0 disarms.
 * Returns the number of calls seen since it was armed last. */
uint64_t alloc_fail_arm(uint64_t nth, int for_good);

#endif
