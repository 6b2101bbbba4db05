/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   stack.h.
 */
#include "fs/stack.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#define PAINT UINT64_C(0xA5A5A5A5A5A5A5A5)

static _Thread_local unsigned turn;
static _Thread_local volatile uint64_t *painted; /* lowest painted word, NULL: not this time */
static _Thread_local unsigned char *top;
static _Atomic uint64_t watermark, samples, violations; /* [A] relaxed: figures only */

/* Fills the stack below its caller's frame. */
__attribute__((noinline)) static void paint(void)
{
	volatile uint64_t area[STACK_WATCH_BYTES / sizeof(uint64_t)];

	for (size_t i = 0; i < STACK_WATCH_BYTES / sizeof(area[0]); i++)
		area[i] = PAINT;
	painted = (volatile uint64_t *)((unsigned char *)__builtin_frame_address(0) - sizeof(area));
}

/* With AddressSanitizer frames lie elsewhere and reads of dead frames are reported. */
#if defined(__SANITIZE_ADDRESS__)
#define STACK_WATCHED 0
#else
#define STACK_WATCHED 1
#endif

void stack_enter(void)
{
	if (!STACK_WATCHED || ++turn % STACK_SAMPLE)
		return;
	top = __builtin_frame_address(0);
	paint();
}

void stack_leave(void)
{
	if (!painted)
		return;
	volatile uint64_t *at = painted;
	while ((unsigned char *)at < top && *at == PAINT)
		at++;
	uint64_t used = (uint64_t)(top - (unsigned char *)at);
	uint64_t seen = atomic_load_explicit(&watermark, memory_order_relaxed);
	painted = NULL;
	atomic_fetch_add_explicit(&samples, 1, memory_order_relaxed);
	if (used > STACK_BUDGET)
		atomic_fetch_add_explicit(&violations, 1, memory_order_relaxed);
	while (used > seen &&
	       !atomic_compare_exchange_weak_explicit(&watermark, &seen, used, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

uint64_t stack_watermark(void)
{
	return atomic_load_explicit(&watermark, memory_order_relaxed);
}

uint64_t stack_samples(void)
{
	return atomic_load_explicit(&samples, memory_order_relaxed);
}

uint64_t stack_violations(void)
{
	return atomic_load_explicit(&violations, memory_order_relaxed);
}
