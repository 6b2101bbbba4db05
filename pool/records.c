/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the slow paths of records.h: refill and flush magazines, take back what ended threads
 *            left behind, statistics, validation.
 */
#include "pool/records.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <string.h>

static uint32_t record_index(const struct records *pool, const void *record)
{
	size_t offset = (size_t)((const unsigned char *)record - pool->base);

	DCHECK(offset % pool->stride == 0);
	size_t index = offset / pool->stride;
	CHECK(index < pool->capacity);
	return (uint32_t)index;
}

static void *record_at(const struct records *pool, uint32_t index)
{
	return pool->base + (size_t)index * pool->stride;
}

int records_new(size_t record_size, uint32_t capacity, struct records **out)
{
	if (!record_size || record_size > SIZE_MAX / 2 || !capacity || capacity >= FREELIST_NIL)
		return -EINVAL;
	size_t stride = (record_size + 7) & ~(size_t)7;
	if (stride > SIZE_MAX / 2 / capacity)
		return -EINVAL;

	struct records *pool = alloc_aligned(CACHE_LINE, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	memset(pool, 0, sizeof(*pool));
	pool->stride = stride;
	pool->capacity = capacity;
	pool->magazine = capacity / 16 < 1 ? 1 : capacity / 16;
	if (pool->magazine > RECORDS_MAGAZINE_MAX)
		pool->magazine = RECORDS_MAGAZINE_MAX;
	pool->base = alloc_aligned(CACHE_LINE, stride * capacity);
	_Atomic uint32_t *next = alloc_get(sizeof(*next) * capacity);
	freelist_init(&pool->central, next);
	if (!pool->base || !next) {
		records_free(pool);
		return -ENOMEM;
	}
	*out = pool;
	return 0;
}

void records_free(struct records *pool)
{
	if (!pool)
		return;
	for (int slot = 0; slot < THREAD_SLOTS; slot++)
		alloc_free(atomic_load_explicit(&pool->magazines[slot], memory_order_acquire));
	alloc_free((void *)pool->central.next);
	alloc_free(pool->base);
	alloc_free(pool);
}

/* The calling thread's magazine, made on first use; NULL without a slot or without memory. */
static struct records_magazine *magazine_mine(struct records *pool)
{
	int slot = thread_slot();

	if (slot < 0)
		return NULL;
	struct records_magazine *mag =
		atomic_load_explicit(&pool->magazines[slot], memory_order_relaxed);
	if (mag)
		return mag;
	mag = alloc_aligned(CACHE_LINE, sizeof(*mag));
	if (!mag)
		return NULL;
	memset(mag, 0, sizeof(*mag));
	/* release: pairs with the acquire loads of the statistics and of magazines_take_back() */
	atomic_store_explicit(&pool->magazines[slot], mag, memory_order_release);
	return mag;
}

static void outside_add(struct records *pool, uint32_t count)
{
	uint32_t now =
		atomic_fetch_add_explicit(&pool->outside, count, memory_order_relaxed) + count;
	uint32_t max = atomic_load_explicit(&pool->outside_max, memory_order_relaxed);

	while (max < now &&
	       !atomic_compare_exchange_weak_explicit(&pool->outside_max, &max, now,
						      memory_order_relaxed, memory_order_relaxed))
		;
}

static void central_push(struct records *pool, const uint32_t *index, unsigned count)
{
	/* before the push: whoever pops adds again, so `outside` never passes the capacity upwards
	 */
	atomic_fetch_sub_explicit(&pool->outside, count, memory_order_relaxed);
	freelist_push(&pool->central, index, count);
}

/* Takes up to `want` indexes: used ones first, they are warm; then fresh ones. */
static unsigned central_pop(struct records *pool, uint32_t *index, unsigned want)
{
	unsigned count = freelist_pop(&pool->central, index, want);
	uint32_t fresh = atomic_load_explicit(&pool->fresh, memory_order_relaxed);

	while (count < want && fresh < pool->capacity) {
		uint32_t take = want - count;
		if (take > pool->capacity - fresh)
			take = pool->capacity - fresh;
		/* relaxed: a fresh record holds nothing that anybody wrote */
		if (atomic_compare_exchange_weak_explicit(&pool->fresh, &fresh, fresh + take,
							  memory_order_relaxed,
							  memory_order_relaxed)) {
			for (uint32_t i = 0; i < take; i++)
				index[count++] = fresh + i;
			break;
		}
	}
	if (count)
		outside_add(pool, count);
	return count;
}

/* Moves what ended threads left in their magazines to the central list. Returns how many. */
static unsigned magazines_take_back(struct records *pool)
{
	unsigned total = 0;

	for (int slot = 0; slot < thread_slots_used(); slot++) {
		uint32_t index[2 * RECORDS_MAGAZINE_MAX];

		if (thread_slot_borrow(slot))
			continue;
		struct records_magazine *mag =
			atomic_load_explicit(&pool->magazines[slot], memory_order_acquire);
		uint32_t count = mag ? atomic_load_explicit(&mag->count, memory_order_relaxed) : 0;
		for (uint32_t i = 0; i < count; i++)
			index[i] = record_index(pool, mag->item[i]);
		if (count) {
			atomic_store_explicit(&mag->count, 0, memory_order_relaxed);
			central_push(pool, index, count);
		}
		thread_slot_return(slot);
		total += count;
	}
	return total;
}

void *records_acquire_slow(struct records *pool)
{
	struct records_magazine *mag = magazine_mine(pool);
	unsigned want = mag ? pool->magazine : 1;
	uint32_t index[RECORDS_MAGAZINE_MAX];
	unsigned count = central_pop(pool, index, want);

	if (!count && magazines_take_back(pool))
		count = central_pop(pool, index, want);
	if (!count) {
		atomic_fetch_add_explicit(&pool->refused, 1, memory_order_relaxed);
		return NULL;
	}
	if (!mag) {
		atomic_fetch_add_explicit(&pool->shared_acquired, 1, memory_order_relaxed);
		return record_at(pool, index[0]);
	}
	/* the magazine is empty, or this function would not have been called */
	for (unsigned i = 1; i < count; i++)
		mag->item[i - 1] = record_at(pool, index[count - i]);
	atomic_store_explicit(&mag->count, count - 1, memory_order_relaxed);
	records_count_one(&mag->acquired);
	records_count_one(&mag->refills);
	return record_at(pool, index[0]);
}

void records_release_slow(struct records *pool, void *record)
{
	struct records_magazine *mag = magazine_mine(pool);
	uint32_t index[RECORDS_MAGAZINE_MAX];

	if (!mag) {
		index[0] = record_index(pool, record);
		central_push(pool, index, 1);
		atomic_fetch_add_explicit(&pool->shared_released, 1, memory_order_relaxed);
		return;
	}
	uint32_t count = atomic_load_explicit(&mag->count, memory_order_relaxed);
	if (count == 2 * pool->magazine) {
		/* the older half goes: the younger is still in this core's cache */
		for (uint32_t i = 0; i < pool->magazine; i++)
			index[i] = record_index(pool, mag->item[i]);
		central_push(pool, index, pool->magazine);
		count -= pool->magazine;
		memmove(mag->item, mag->item + pool->magazine, count * sizeof(mag->item[0]));
	}
	mag->item[count] = record;
	atomic_store_explicit(&mag->count, count + 1, memory_order_relaxed);
	records_count_one(&mag->released);
}

void records_read_stats(struct records *pool, struct records_stats *out)
{
	uint64_t released = atomic_load_explicit(&pool->shared_released, memory_order_relaxed);
	uint64_t shared = atomic_load_explicit(&pool->shared_acquired, memory_order_relaxed);
	uint64_t refills = 0, magazines = 0;

	memset(out, 0, sizeof(*out));
	out->acquired = shared;
	for (int slot = 0; slot < THREAD_SLOTS; slot++) {
		struct records_magazine *mag =
			atomic_load_explicit(&pool->magazines[slot], memory_order_acquire);
		if (!mag)
			continue;
		magazines++;
		out->cached += atomic_load_explicit(&mag->count, memory_order_relaxed);
		out->acquired += atomic_load_explicit(&mag->acquired, memory_order_relaxed);
		released += atomic_load_explicit(&mag->released, memory_order_relaxed);
		refills += atomic_load_explicit(&mag->refills, memory_order_relaxed);
	}
	out->capacity = pool->capacity;
	out->in_use = out->acquired > released ? out->acquired - released : 0;
	out->high_water = atomic_load_explicit(&pool->outside_max, memory_order_relaxed);
	out->hits = out->acquired - shared - refills;
	out->refused = atomic_load_explicit(&pool->refused, memory_order_relaxed);
	out->bytes_data = (uint64_t)pool->capacity * pool->stride;
	out->bytes_overhead = sizeof(*pool) + (uint64_t)pool->capacity * sizeof(uint32_t) +
			      magazines * sizeof(struct records_magazine);
}

/* Marks one record; -EUCLEAN if it was marked before. */
static int mark_once(unsigned char *seen, uint32_t index)
{
	if (seen[index])
		return -EUCLEAN;
	seen[index] = 1;
	return 0;
}

int records_validate(struct records *pool, uint64_t in_use)
{
	uint32_t fresh = atomic_load_explicit(&pool->fresh, memory_order_acquire);
	int64_t listed = freelist_validate(&pool->central, fresh);
	uint64_t cached = 0;
	int error = 0;

	if (fresh > pool->capacity || listed < 0)
		return -EUCLEAN;
	unsigned char *seen = alloc_zeroed(pool->capacity, 1);
	if (!seen)
		return -ENOMEM;
	uint32_t at = (uint32_t)(atomic_load_explicit(&pool->central.head, memory_order_acquire) &
				 FREELIST_INDEX_MASK);
	for (; at != FREELIST_NIL && !error;
	     at = atomic_load_explicit(&pool->central.next[at], memory_order_relaxed))
		error = mark_once(seen, at);
	for (int slot = 0; slot < THREAD_SLOTS && !error; slot++) {
		struct records_magazine *mag =
			atomic_load_explicit(&pool->magazines[slot], memory_order_acquire);
		uint32_t count = mag ? atomic_load_explicit(&mag->count, memory_order_relaxed) : 0;
		for (uint32_t i = 0; i < count && !error; i++, cached++)
			error = mark_once(seen, record_index(pool, mag->item[i]));
	}
	if (!error && (uint64_t)listed + cached + in_use != fresh)
		error = -EUCLEAN;
	alloc_free(seen);
	return error;
}
