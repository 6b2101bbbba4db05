/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   watches the stack budget of the handlers (3 KiB): every 64th request of a thread paints
 *            the stack below its handler and looks afterwards how far down it was overwritten.
 * Invariants: painting stays inside STACK_WATCH_BYTES below the frame of op_begin().
 * Threading: per-thread state, shared high-water mark.
 * Failure:   none.
 */
#ifndef MNEME_FS_STACK_H
#define MNEME_FS_STACK_H

#include <stdint.h>

enum { STACK_BUDGET = 3072, STACK_WATCH_BYTES = 16384, STACK_SAMPLE = 64 };

void stack_enter(void);
void stack_leave(void);
/* Deepest use seen so far, bytes; requests looked at; of these, those over STACK_BUDGET. */
uint64_t stack_watermark(void);
uint64_t stack_samples(void);
uint64_t stack_violations(void);

#endif
