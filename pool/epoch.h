/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   epoch-based reclamation: readers walk shared structures without locks; what a writer
 *            has unlinked is freed when no reader can hold it any more.
 * Invariants: the global epoch g grows by one. What was retired in epoch t is freed once g >= t +
 *            2.
 * Threading: any thread; enter/leave nest. Threads beyond THREAD_SLOTS count as guests: they hold
 *            the epoch still while inside.
 *
 * Why it is right
 *   (1) Entering stores the announcement, then passes a fence, then reads the structure.
 *       Advancing from e to e + 1 passes a fence, checks that every announcement is e and no
 *       guest is inside, then swaps g. The fences are sequentially consistent, for two threads
 *       each store one location and load the other: either the advance's fence is later and it
 *       sees the announcement, or the entry's is later and the reader sees every unlinking that
 *       came before the advance.
 *   (2) So while a thread stays inside, g rises at most once after its fence: by a check that
 *       came before the fence (all such checks that still matter are of the same e, and one swap
 *       wins), or, if its announcement equals g, by one later check; after either its
 *       announcement is not g.
 *   (3) A node is retired inside, after it was unlinked, with the tag t = g read after a fence. A
 *       reader that may hold it passed its fence before the unlinking was visible, thus before g
 *       could pass t; by (2) g stays <= t + 1 until it leaves. At g = t + 2 nobody holds the
 *       node.
 *   (4) Leaving is a release store, and the check reads announcements with acquire: what the
 *       reader did inside happened before the free.
 *   (5) Three lists suffice, t % 3. The thread that moved g to t + 2 is inside with an
 *       announcement of t + 1, so by (2) g stays t + 2 until it has taken the list; nobody has
 *       the tag t + 3, which shares that list, before. And a retiring thread is inside from
 *       reading its tag to the push, so by (2) no push with tag t comes after g reached t + 2.
 *       The push onto a list is a release that pairs with the acquire exchange that takes the
 *       list.
 * Failure:   none; memory waits while a reader stays inside. epoch_pending() counts it.
 */
#ifndef MNEME_POOL_EPOCH_H
#define MNEME_POOL_EPOCH_H

#include "pool/thread.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

/* Embedded in what is retired: retiring allocates nothing. */
struct epoch_node {
	struct epoch_node *next;
	void (*release)(struct epoch_node *node);
};

struct epoch_slot {
	alignas(CACHE_LINE) _Atomic uint64_t announced; /* [A] epoch, or EPOCH_OUTSIDE */
	uint32_t depth;                                 /* slot's owner: nesting */
};

struct epoch {
	alignas(CACHE_LINE) _Atomic uint64_t global; /* [A] */
	alignas(CACHE_LINE) _Atomic uint64_t guests; /* [A] threads without a slot inside */
	_Atomic(struct epoch_node *) limbo[3];       /* [A] by tag % 3 */
	_Atomic uint64_t pending;                    /* [A] retired, not yet released */
	_Atomic uint64_t released;                   /* [A] */
	struct epoch_slot slot[THREAD_SLOTS];
};

#define EPOCH_OUTSIDE UINT64_MAX

/* -ENOMEM. */
int epoch_new(struct epoch **out);
/* Releases all that is retired, then the domain. No thread is inside; accepts NULL. */
void epoch_free(struct epoch *epoch);

/* Between enter and leave, pointers read from the shared structure stay valid. Do not sleep inside.
 */
void epoch_enter(struct epoch *epoch);
void epoch_leave(struct epoch *epoch);
/* Hands over a node that no new reader can find. `release` is called later, from any thread that
 * retires or collects; it may retire further nodes. May be called inside or outside. */
void epoch_retire(struct epoch *epoch, struct epoch_node *node,
		  void (*release)(struct epoch_node *node));
/* Tries to advance the epoch once; releases what became free. Returns the number released. */
uint64_t epoch_collect(struct epoch *epoch);
/* Nodes that wait. */
uint64_t epoch_pending(const struct epoch *epoch);

#endif
