/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a heap file that is cut short or unreadable under its map: turns the SIGBUS of the reading
 *            thread into an error of the operation.
 * Invariants: the handler puts a page of zeros in the place that could not be read, forgets that it, or
 *            a value with it, was verified and counts the fault. An operation that sees the count change
 *            while it ran answers -EIO, and the store goes read-only: what it read may have been zeros.
 *            The zeros stay. So after a fault nothing is verified by a copy of the file (heap.c), and
 *            what is given in place was touched.
 * Threading: the handler runs on the faulting thread and uses only what is safe there. A SIGBUS at any
 *            other address goes to the handler that was there before.
 * Failure:   -EMFILE: more than HEAP_FAULT_MAX heaps are open.
 */
#ifndef MNEME_CORE_STORE_HEAP_FAULT_H
#define MNEME_CORE_STORE_HEAP_FAULT_H

#include "core/store/heap.h"

enum { HEAP_FAULT_MAX = 64 };

int heap_fault_watch(struct heap *h);
void heap_fault_forget(struct heap *h);

static inline uint64_t heap_faults(const struct heap *h)
{
	/* relaxed: read by the thread in which the handler ran */
	return atomic_load_explicit(&((struct heap *)h)->faulted, memory_order_relaxed);
}

#endif
