/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   hands out thread slots; see thread.h.
 * Invariants: the slot goes back in a thread-specific-data destructor. Destructors that run after
 *            it find thread_slot_state == -1 and take the shared paths.
 */
#include "pool/thread.h"
#include "pool/check.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

_Thread_local int thread_slot_state __attribute__((tls_model("initial-exec")));

static _Atomic unsigned char slot_taken[THREAD_SLOTS];
static _Atomic int slots_used;
static pthread_key_t slot_key;
static pthread_once_t slot_once = PTHREAD_ONCE_INIT;
static int slot_key_error;

static void slot_give_back(void *arg)
{
	(void)arg;
	int state = thread_slot_state;

	thread_slot_state = -1;
	if (state > 0)
		thread_slot_return(state - 1);
}

static void slot_key_make(void)
{
	slot_key_error = pthread_key_create(&slot_key, slot_give_back);
}

int thread_slot_borrow(int slot)
{
	unsigned char free_slot = 0;

	/* acquire: pairs with the release in thread_slot_return() */
	if (atomic_compare_exchange_strong_explicit(&slot_taken[slot], &free_slot, 1,
						    memory_order_acquire, memory_order_relaxed))
		return 0;
	return -EBUSY;
}

void thread_slot_return(int slot)
{
	DCHECK(atomic_load_explicit(&slot_taken[slot], memory_order_relaxed));
	/* release: pairs with the acquire in thread_slot_borrow() */
	atomic_store_explicit(&slot_taken[slot], 0, memory_order_release);
}

int thread_slots_used(void)
{
	return atomic_load_explicit(&slots_used, memory_order_acquire);
}

static void used_raise(int count)
{
	int seen = atomic_load_explicit(&slots_used, memory_order_relaxed);

	while (seen < count &&
	       !atomic_compare_exchange_weak_explicit(&slots_used, &seen, count,
						      memory_order_release, memory_order_relaxed))
		;
}

int thread_slot_take(void)
{
	if (thread_slot_state < 0)
		return -1;
	pthread_once(&slot_once, slot_key_make);
	thread_slot_state = -1;
	if (slot_key_error)
		return -1;
	for (int slot = 0; slot < THREAD_SLOTS; slot++) {
		if (atomic_load_explicit(&slot_taken[slot], memory_order_relaxed) ||
		    thread_slot_borrow(slot))
			continue;
		/* any value but NULL makes the destructor run at this thread's end */
		if (pthread_setspecific(slot_key, &slot_taken[slot])) {
			thread_slot_return(slot);
			return -1;
		}
		thread_slot_state = slot + 1;
		used_raise(slot + 1);
		return slot;
	}
	return -1;
}
