/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the dirty arena; see dirty.h. Blocks of 32 pages are cut into slots of one size; a block
 *            whose slots are all free can be cut anew. Block 0 is never used, so slot 0 means none.
 */
#include "core/store/dirty.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Address space beyond the budget, for blocks that are not full. */
enum { RANGE_FACTOR = 4, BLOCKS_SLACK = 2 * DIRTY_ORDERS };

int dirty_init(struct dirty *d, uint64_t budget_bytes)
{
	memset(d, 0, sizeof *d);
	lock_init(&d->lock, LOCK_ARENA);
	d->budget_max = budget_bytes / FMT_PAGE_SIZE;
	d->blocks_max = RANGE_FACTOR * (d->budget_max / DIRTY_BLOCK_PAGES + 1) + 64;
	d->pages = (uint64_t)d->blocks_max * DIRTY_BLOCK_PAGES;
	d->base = alloc_range(d->pages * FMT_PAGE_SIZE);
	d->slots = alloc_range(d->pages * sizeof d->slots[0]);
	d->blocks = alloc_range(d->blocks_max * sizeof d->blocks[0]);
	d->blocks_used = 1;
	atomic_init(&d->empty, d->blocks_max - 1);
	if (d->base && d->slots && d->blocks)
		return 0;
	dirty_fini(d);
	return -ENOMEM;
}

void dirty_fini(struct dirty *d)
{
	alloc_range_free(d->base, d->pages * FMT_PAGE_SIZE);
	alloc_range_free(d->slots, d->pages * sizeof d->slots[0]);
	alloc_range_free(d->blocks, d->blocks_max * sizeof d->blocks[0]);
	memset(d, 0, sizeof *d);
}

int dirty_promise(struct dirty *d, uint64_t pages)
{
	/* relaxed: a count; the memory itself is handed over under `lock` */
	uint64_t before = atomic_fetch_add_explicit(&d->budget, pages, memory_order_relaxed);
	/* acquire: a slot that counts as live has taken its block out of `empty` before */
	uint64_t live = atomic_load_explicit(&d->live, memory_order_acquire);
	uint64_t empty = atomic_load_explicit(&d->empty, memory_order_relaxed);
	uint64_t promised = before + pages > live ? before + pages - live : 0;

	if (before + pages <= d->budget_max && promised / DIRTY_BLOCK_PAGES + BLOCKS_SLACK <= empty)
		return 0;
	dirty_unpromise(d, pages);
	return -EAGAIN;
}

void dirty_unpromise(struct dirty *d, uint64_t pages)
{
	uint64_t before = atomic_fetch_sub_explicit(&d->budget, pages, memory_order_relaxed);

	CHECK(before >= pages);
}

static void block_link(struct dirty *d, uint32_t *head, uint32_t block)
{
	d->blocks[block].previous = 0;
	d->blocks[block].next = *head;
	d->blocks[block].listed = 1;
	if (*head)
		d->blocks[*head].previous = block;
	*head = block;
}

static void block_unlink(struct dirty *d, uint32_t *head, uint32_t block)
{
	struct dirty_block *b = &d->blocks[block];

	if (b->previous)
		d->blocks[b->previous].next = b->next;
	else
		*head = b->next;
	if (b->next)
		d->blocks[b->next].previous = b->previous;
	b->listed = 0;
}

static uint32_t full_mask(unsigned order)
{
	unsigned slots = DIRTY_BLOCK_PAGES >> order;

	return slots == 32 ? ~0u : (1u << slots) - 1;
}

/* Sets *bare if the slot's block has no memory yet. */
static uint32_t slot_take(struct dirty *d, unsigned order, int *bare)
{
	uint32_t block = d->partial[order];

	if (!block) {
		block = d->spare;
		if (block) {
			block_unlink(d, &d->spare, block);
		} else {
			CHECK(d->blocks_used < d->blocks_max);
			block = d->blocks_used++;
		}
		atomic_fetch_sub_explicit(&d->empty, 1, memory_order_relaxed);
		d->blocks[block].order = order;
		d->blocks[block].used = 0;
		block_link(d, &d->partial[order], block);
	}
	struct dirty_block *b = &d->blocks[block];
	unsigned bit = __builtin_ctz(~b->used);
	*bare = !b->resident;
	if (*bare)
		atomic_fetch_add_explicit(&d->resident, 1, memory_order_relaxed);
	b->resident = 1;
	b->used |= 1u << bit;
	if (b->used == full_mask(order))
		block_unlink(d, &d->partial[order], block);
	return block * DIRTY_BLOCK_PAGES + (bit << order);
}

static void slot_give(struct dirty *d, uint32_t slot)
{
	uint32_t block = slot / DIRTY_BLOCK_PAGES;
	struct dirty_block *b = &d->blocks[block];
	unsigned bit = (slot % DIRTY_BLOCK_PAGES) >> b->order;

	CHECK(b->used >> bit & 1);
	b->used &= ~(1u << bit);
	if (b->used == 0) {
		if (b->listed)
			block_unlink(d, &d->partial[b->order], block);
		block_link(d, &d->spare, block);
		atomic_fetch_add_explicit(&d->empty, 1, memory_order_relaxed);
	} else if (!b->listed) {
		block_link(d, &d->partial[b->order], block);
	}
	/* Blocks of which little is in use would hold far more memory than the budget. */
	if (dirty_resident(d) / FMT_PAGE_SIZE > d->budget_max + d->budget_max / 4)
		madvise(dirty_memory(d, slot), (uint64_t)FMT_PAGE_SIZE << b->order, MADV_DONTNEED);
}

uint32_t dirty_alloc(struct dirty *d, struct dirty_list *list, enum dirty_kind kind, unsigned order,
		     uint64_t epoch, uint8_t shard)
{
	int bare;

	lock_write(&d->lock);
	uint32_t number = slot_take(d, order, &bare);
	lock_write_done(&d->lock);
	/* release: see dirty_promise() */
	atomic_fetch_add_explicit(&d->live, 1ull << order, memory_order_release);
	/* A page fault each would cost twice as much. Where the system does not know how, it faults. */
	if (bare)
		madvise(dirty_memory(d, number / DIRTY_BLOCK_PAGES * DIRTY_BLOCK_PAGES),
			DIRTY_BLOCK_PAGES * FMT_PAGE_SIZE, MADV_POPULATE_WRITE);

	struct dirty_slot *slot = &d->slots[number];
	memset(slot, 0, sizeof *slot);
	slot->kind = kind;
	slot->order = order;
	slot->epoch = epoch;
	slot->shard = shard;
	slot->previous = list->last;
	if (list->last)
		d->slots[list->last].next = number;
	else
		list->first = number;
	list->last = number;
	list->count++;
	return number;
}

void dirty_free(struct dirty *d, struct dirty_list *list, uint32_t number)
{
	struct dirty_slot *slot = &d->slots[number];

	CHECK(slot->kind != DIRTY_FREE && list->count > 0);
	if (slot->previous)
		d->slots[slot->previous].next = slot->next;
	else
		list->first = slot->next;
	if (slot->next)
		d->slots[slot->next].previous = slot->previous;
	else
		list->last = slot->previous;
	list->count--;
	slot->kind = DIRTY_FREE;
	atomic_fetch_sub_explicit(&d->live, 1ull << slot->order, memory_order_release);
	lock_write(&d->lock);
	slot_give(d, number);
	lock_write_done(&d->lock);
}

void dirty_free_list(struct dirty *d, struct dirty_list *list)
{
	enum { BATCH = 64 };
	uint64_t pages = 0;

	for (uint32_t number = list->first; number;) {
		lock_write(&d->lock);
		for (int i = 0; i < BATCH && number; i++) {
			struct dirty_slot *slot = &d->slots[number];
			uint32_t next = slot->next;
			pages += 1u << slot->order;
			slot->kind = DIRTY_FREE;
			slot_give(d, number);
			number = next;
		}
		lock_write_done(&d->lock);
	}
	*list = (struct dirty_list){0};
	atomic_fetch_sub_explicit(&d->live, pages, memory_order_release);
	dirty_unpromise(d, pages);
}

void dirty_trim(struct dirty *d)
{
	enum { BATCH = 8 };
	int more = 1;

	/* A few at a time: who wants a slot meanwhile waits for the lock. */
	for (uint32_t block = 1; more;) {
		lock_write(&d->lock);
		for (int i = 0; i < BATCH && block < d->blocks_used; i++, block++) {
			if (d->blocks[block].used || !d->blocks[block].resident)
				continue;
			madvise(d->base + (uint64_t)block * DIRTY_BLOCK_PAGES * FMT_PAGE_SIZE,
				DIRTY_BLOCK_PAGES * FMT_PAGE_SIZE, MADV_DONTNEED);
			d->blocks[block].resident = 0;
			atomic_fetch_sub_explicit(&d->resident, 1, memory_order_relaxed);
		}
		more = block < d->blocks_used;
		lock_write_done(&d->lock);
	}
}
