/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the allocation hook; see alloc.h.
 * Threading: counters are relaxed atomics: they are read for statistics and, when exactness is
 *            needed, by tests in which no other thread runs. The thread counter is thread-local.
 */
#include "pool/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic uint64_t calls_total;
static _Atomic int64_t calls_live;
static _Thread_local uint64_t calls_thread;

static _Atomic int fail_armed;
static _Atomic uint64_t fail_seen;
static uint64_t fail_nth;
static int fail_for_good;

static int call_refused(void)
{
	atomic_fetch_add_explicit(&calls_total, 1, memory_order_relaxed);
	calls_thread++;
	if (__builtin_expect(!atomic_load_explicit(&fail_armed, memory_order_relaxed), 1))
		return 0;
	uint64_t seen = atomic_fetch_add_explicit(&fail_seen, 1, memory_order_relaxed) + 1;
	return fail_nth && (fail_for_good ? seen >= fail_nth : seen == fail_nth);
}

static void *call_counted(void *mem)
{
	if (mem)
		atomic_fetch_add_explicit(&calls_live, 1, memory_order_relaxed);
	return mem;
}

void *alloc_get(size_t size)
{
	return call_refused() ? NULL : call_counted(malloc(size));
}

void *alloc_zeroed(size_t count, size_t size)
{
	return call_refused() ? NULL : call_counted(calloc(count, size));
}

void *alloc_resize(void *old, size_t size)
{
	if (call_refused())
		return NULL;
	void *mem = realloc(old, size);
	return old ? mem : call_counted(mem);
}

void *alloc_aligned(size_t align, size_t size)
{
	if (call_refused())
		return NULL;
	return call_counted(aligned_alloc(align, (size + align - 1) & ~(align - 1)));
}

void *alloc_range(size_t bytes)
{
	if (call_refused())
		return NULL;
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return call_counted(mem == MAP_FAILED ? NULL : mem);
}

void alloc_range_free(void *mem, size_t bytes)
{
	if (!mem)
		return;
	atomic_fetch_sub_explicit(&calls_live, 1, memory_order_relaxed);
	munmap(mem, bytes);
}

void alloc_free(void *mem)
{
	if (!mem)
		return;
	atomic_fetch_sub_explicit(&calls_live, 1, memory_order_relaxed);
	free(mem);
}

uint64_t alloc_count_total(void)
{
	return atomic_load_explicit(&calls_total, memory_order_relaxed);
}

uint64_t alloc_count_thread(void)
{
	return calls_thread;
}

int64_t alloc_count_live(void)
{
	return atomic_load_explicit(&calls_live, memory_order_relaxed);
}

uint64_t alloc_fail_arm(uint64_t nth, int for_good)
{
	uint64_t seen = atomic_exchange_explicit(&fail_seen, 0, memory_order_relaxed);
	fail_nth = nth;
	fail_for_good = for_good;
	atomic_store_explicit(&fail_armed, nth != 0, memory_order_relaxed);
	return seen;
}
