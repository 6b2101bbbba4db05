/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the dirty arena: anonymous memory that holds every page and value changed since it was
 *            last written to the heap. A slot is a run of 1, 2, 4 .. 32 pages of 4 KiB.
 * Invariants: `budget` counts pages of live slots and of promises to operations under way; it stays
 *            at or below budget_max, so memory is bounded. What is promised beyond the live slots finds
 *            empty blocks, whatever sizes the others are cut into: a block is taken only when none of
 *            that size has room, so P pages need no more than P / DIRTY_BLOCK_PAGES blocks and one for
 *            each size. A slot is on exactly one list, that of its shard's open or closed epoch.
 * Threading: budget is atomic; slot allocation has its lock; slots and lists belong to their shard's
 *            lock (open epoch) or to the checkpoint (closed epoch).
 * Failure:   dirty_promise: -EAGAIN when the budget is used up.
 */
#ifndef MNEME_CORE_STORE_DIRTY_H
#define MNEME_CORE_STORE_DIRTY_H

#include "core/store/fmt.h"
#include "pool/lock.h"

#include <stdatomic.h>

enum { DIRTY_ORDERS = 6, DIRTY_BLOCK_PAGES = 32, DIRTY_NONE = 0 };
enum dirty_kind { DIRTY_FREE = 0, DIRTY_PAGE, DIRTY_VALUE };

struct dirty_slot {
	struct fmt_value
		value; /* [shard/checkpoint] where it went: address 0 until placed; for pages
				 * `address` is the whole page reference */
	uint32_t previous, next; /* list */
	uint64_t epoch;          /* in which it was made */
	uint8_t kind;            /* enum dirty_kind */
	uint8_t order;           /* log2 of its pages */
	uint8_t shard;
	uint8_t aside; /* its place is set aside (aside.h): no page of the heap was promised to it */
	uint32_t stamp; /* of the transaction that met it last, of those that ask (struct budget) */
};

struct dirty_list {
	uint32_t first, last; /* slot numbers, DIRTY_NONE: empty */
	uint64_t count;
};

struct dirty_block {
	uint32_t used; /* bit i: slot i of the block is taken */
	uint32_t previous, next;
	uint8_t order;
	uint8_t listed;
	uint8_t resident; /* the system has given its memory */
};

struct dirty {
	uint8_t *base;              /* [I] */
	struct dirty_slot *slots;   /* [I] one for each page of the range */
	struct dirty_block *blocks; /* [lock] */
	uint64_t pages;             /* [I] of the range */
	uint64_t budget_max;        /* [I] pages */
	_Atomic uint64_t budget;    /* [A] pages */
	_Atomic uint64_t live;      /* [A] of them, in slots: zero when all is at rest */
	_Atomic uint64_t empty;     /* [A] blocks that can be cut */
	_Atomic uint64_t resident;  /* [A] blocks with memory; changed under the lock */
	struct lock lock;
	uint32_t partial[DIRTY_ORDERS]; /* [lock] list of blocks with room */
	uint32_t spare;                 /* [lock] list of empty blocks */
	uint32_t blocks_used;           /* [lock] blocks ever taken from the range */
	uint32_t blocks_max;            /* [I] */
};

int dirty_init(struct dirty *d, uint64_t budget_bytes);
void dirty_fini(struct dirty *d);

/* Sets pages aside: 0 or -EAGAIN. dirty_unpromise gives back what was not used. */
int dirty_promise(struct dirty *d, uint64_t pages);
void dirty_unpromise(struct dirty *d, uint64_t pages);

static inline unsigned dirty_order(uint32_t bytes)
{
	unsigned pages = (bytes + FMT_PAGE_SIZE - 1) / FMT_PAGE_SIZE;

	return pages <= 1 ? 0 : 32 - __builtin_clz(pages - 1);
}

/* Heap pages that a slot may need: its own, and one that lists them where no run is free. */
static inline uint32_t dirty_places(unsigned order)
{
	return (1u << order) + (order > 0);
}

/* Takes a slot against an earlier promise and puts it on `list`. Returns its number. */
uint32_t dirty_alloc(struct dirty *d, struct dirty_list *list, enum dirty_kind kind, unsigned order,
		     uint64_t epoch, uint8_t shard);
/* Takes it off its list and gives the memory back; its pages are promised to the caller again. */
void dirty_free(struct dirty *d, struct dirty_list *list, uint32_t slot);
/* Gives a whole list back (a closed epoch), memory and budget. */
void dirty_free_list(struct dirty *d, struct dirty_list *list);
/* Gives the memory of empty blocks back to the system. */
void dirty_trim(struct dirty *d);

static inline uint64_t dirty_resident(const struct dirty *d)
{
	return atomic_load_explicit(&((struct dirty *)d)->resident, memory_order_relaxed) *
	       DIRTY_BLOCK_PAGES * FMT_PAGE_SIZE;
}

static inline void *dirty_memory(const struct dirty *d, uint32_t slot)
{
	return d->base + (uint64_t)slot * FMT_PAGE_SIZE;
}

static inline uint32_t dirty_slot_of(uint64_t reference)
{
	return (uint32_t)(reference & FMT_ADDRESS_MASK);
}

#endif
