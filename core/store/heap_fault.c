/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   heap_fault.h.
 */
#include "core/store/heap_fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic(struct heap *) watched[HEAP_FAULT_MAX];
static struct sigaction previous;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct heap *heap_of(uintptr_t address)
{
	for (int i = 0; i < HEAP_FAULT_MAX; i++) {
		/* acquire: pairs with the release in heap_fault_watch() */
		struct heap *h = atomic_load_explicit(&watched[i], memory_order_acquire);
		if (h && address - (uintptr_t)h->base < h->reserve)
			return h;
	}
	return NULL;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(number, info, context);
	} else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
		previous.sa_handler(number);
	} else {
		struct sigaction plain = {.sa_handler = SIG_DFL};
		sigaction(SIGBUS, &plain, NULL); /* the access is repeated and ends the process */
	}
}

static void handle(int number, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr;
	struct heap *h = heap_of(address);
	int saved = errno;

	if (!h) {
		pass_on(number, info, context);
		return;
	}
	uint64_t page = (address - (uintptr_t)h->base) / FMT_PAGE_SIZE;
	void *at = (void *)((uintptr_t)h->base + page * FMT_PAGE_SIZE);
	if (mmap(at, FMT_PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
	    at) {
		pass_on(number, info, context);
		return;
	}
	/* The bit of a value is that of its first page. */
	for (uint64_t p = page - (page < FMT_VALUE_PAGES_MAX ? page : FMT_VALUE_PAGES_MAX - 1);
	     p <= page; p++)
		atomic_fetch_and_explicit(&h->verified[p / 64], ~(1ull << (p % 64)),
					  memory_order_relaxed);
	atomic_fetch_add_explicit(&h->faulted, 1, memory_order_relaxed);
	errno = saved;
}

static void install(void)
{
	struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigaction(SIGBUS, &action, &previous);
}

int heap_fault_watch(struct heap *h)
{
	pthread_once(&once, install);
	for (int i = 0; i < HEAP_FAULT_MAX; i++) {
		struct heap *none = NULL;
		if (atomic_compare_exchange_strong_explicit(
			    &watched[i], &none, h, memory_order_release, memory_order_relaxed))
			return 0;
	}
	return -EMFILE;
}

void heap_fault_forget(struct heap *h)
{
	for (int i = 0; i < HEAP_FAULT_MAX; i++) {
		struct heap *expected = h;
		atomic_compare_exchange_strong_explicit(&watched[i], &expected, NULL,
							memory_order_relaxed, memory_order_relaxed);
	}
}
