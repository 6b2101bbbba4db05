/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see rows.h. */
#include "core/search/rows.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <string.h>

void rows_free(struct rows *r)
{
	alloc_free(r->owners);
	alloc_free(r->parts);
	alloc_free(r->before);
	alloc_free(r->dead);
	alloc_free(r->slots);
	*r = (struct rows){0};
}

static int grow(void *array, size_t size, uint32_t capacity)
{
	void **at = array;
	void *grown = alloc_resize(*at, size * capacity);

	if (!grown)
		return -ENOMEM;
	*at = grown;
	return 0;
}

static int arrays_reserve(struct rows *r)
{
	if (r->count < r->capacity)
		return 0;
	if (r->count >= 1u << 31)
		return -ENOSPC;
	uint32_t capacity = r->capacity ? r->capacity * 2 : 64;
	if (grow(&r->owners, sizeof(*r->owners), capacity) ||
	    grow(&r->parts, sizeof(*r->parts), capacity) ||
	    grow(&r->before, sizeof(*r->before), capacity) ||
	    grow(&r->dead, sizeof(*r->dead), capacity / 64))
		return -ENOMEM;
	memset(r->dead + r->capacity / 64, 0, (capacity - r->capacity) / 8);
	r->capacity = capacity;
	return 0;
}

/* The slot of an owner, or the free one where it belongs. */
static uint32_t *slot_of(const struct rows *r, uint64_t owner)
{
	uint32_t at = (uint32_t)((owner * 0x9e3779b97f4a7c15ull) >> 32) & r->slots_mask;

	while (r->slots[at] && r->owners[r->slots[at] - 1] != owner)
		at = (at + 1) & r->slots_mask;
	return &r->slots[at];
}

static int slots_reserve(struct rows *r)
{
	if (r->slots && (r->owners_count + 1ull) * 2 <= r->slots_mask)
		return 0;
	uint32_t size = r->slots ? (r->slots_mask + 1) * 2 : 64;
	uint32_t *old = r->slots, old_size = old ? r->slots_mask + 1 : 0;
	uint32_t *slots = alloc_zeroed(size, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	r->slots = slots;
	r->slots_mask = size - 1;
	for (uint32_t i = 0; i < old_size; i++)
		if (old[i])
			*slot_of(r, r->owners[old[i] - 1]) = old[i];
	alloc_free(old);
	return 0;
}

int rows_append(struct rows *r, uint64_t owner, uint32_t part)
{
	int rc = arrays_reserve(r);

	if (!rc)
		rc = slots_reserve(r);
	if (rc)
		return rc;
	uint32_t row = r->count, *slot = slot_of(r, owner);
	r->owners[row] = owner;
	r->parts[row] = part;
	r->before[row] = *slot;
	r->owners_count += !*slot;
	*slot = row + 1;
	r->count++;
	return 0;
}

void rows_kill(struct rows *r, uint32_t row)
{
	CHECK(row < r->count && !rows_is_dead(r, row));
	r->dead[row >> 6] |= 1ull << (row & 63);
	r->dead_count++;
}

void rows_revive(struct rows *r, uint32_t row)
{
	CHECK(row < r->count && rows_is_dead(r, row));
	r->dead[row >> 6] &= ~(1ull << (row & 63));
	r->dead_count--;
}

unsigned rows_kill_owner(struct rows *r, uint64_t owner, int all, uint32_t part)
{
	unsigned killed = 0;

	if (!r->slots)
		return 0;
	uint32_t *link = slot_of(r, owner), head = *link;
	for (uint32_t next = head; next;) {
		uint32_t row = next - 1;
		next = r->before[row];
		if (!rows_is_dead(r, row) && (all || r->parts[row] == part)) {
			rows_kill(r, row);
			killed++;
		}
		if (rows_is_dead(r, row) && row + 1 != head)
			*link = next;
		else
			link = &r->before[row];
	}
	return killed;
}

uint32_t rows_latest(const struct rows *r, uint64_t owner)
{
	return r->slots ? *slot_of(r, owner) - 1u : ROWS_NONE;
}

uint32_t rows_find(const struct rows *r, uint64_t owner, uint32_t part)
{
	uint32_t row = rows_latest(r, owner);

	while (row != ROWS_NONE && (r->parts[row] != part || rows_is_dead(r, row)))
		row = rows_before(r, row);
	return row;
}

uint64_t rows_bytes(const struct rows *r)
{
	return (uint64_t)r->capacity * 16 + r->capacity / 8 +
	       (r->slots ? (r->slots_mask + 1ull) * sizeof(*r->slots) : 0);
}
