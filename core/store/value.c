/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   values outside of their leaf; see value.h.
 */
#include "core/store/value.h"
#include "core/store/commit.h"
#include "core/store/packing.h"
#include "pool/check.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <zstd.h>

enum { COMPRESSION_LEVEL = 3 };

/* Not on the stack: handlers have 3 KiB. */
static _Thread_local uint8_t plain_buffer[FMT_VALUE_MAX];
static _Thread_local uint8_t copy_buffer[FMT_VALUE_MAX];
static _Thread_local uint8_t small[FMT_CELL_MAX]; /* an inline value being rebuilt */

static const uint8_t *value_decompress(struct mneme *m, const struct fmt_value *v,
				       const uint8_t *stored, int *error)
{
	*error = packing_decompress(m->packing, stored, v->stored, plain_buffer, v->length);
	if (*error == 0 && crc32c(0, plain_buffer, v->length) != v->crc_plain)
		*error = -EUCLEAN;
	return *error ? NULL : plain_buffer;
}

static const uint8_t *value_bytes(struct mneme *m, const struct fmt_value *v, int *error)
{
	if (v->address & FMT_DIRTY)
		return dirty_memory(&m->dirty, dirty_slot_of(v->address));
	const uint8_t *stored = heap_value(&m->heap, v, copy_buffer, error);
	if (!stored || v->stored == v->length)
		return stored;
	return value_decompress(m, v, stored, error);
}

/* Out of line: most values are plain, and what reads them is hot. */
static __attribute__((noinline)) const uint8_t *value_read_far(struct mneme *m, const uint8_t *cell,
							       enum page_kind kind,
							       uint32_t *length, int *error)
{
	struct fmt_value v;

	if (kind == PAGE_PACKED) {
		*error = packing_read(m->packing, cell, *length, plain_buffer, length);
		return *error ? NULL : plain_buffer;
	}
	memcpy(&v, cell, sizeof v);
	*length = v.length;
	return value_bytes(m, &v, error);
}

const uint8_t *value_read(struct mneme *m, const struct fmt_page *leaf, unsigned position,
			  uint32_t *length, int *error)
{
	enum page_kind kind;
	const uint8_t *cell = page_value(leaf, position, length, &kind);

	return __builtin_expect(kind == PAGE_PLAIN, 1)
		       ? cell
		       : value_read_far(m, cell, kind, length, error);
}

uint32_t value_compress(const void *plain, uint32_t length, void *out)
{
	uint32_t pages = (length + FMT_PAGE_SIZE - 1) / FMT_PAGE_SIZE;

	if (pages < 2)
		return 0;
	size_t n =
		ZSTD_compress(out, (pages - 1) * FMT_PAGE_SIZE, plain, length, COMPRESSION_LEVEL);
	return ZSTD_isError(n) ? 0 : (uint32_t)n;
}

uint32_t value_pages(uint32_t length)
{
	return 1u << dirty_order(length);
}

/* A slot of the open epoch holding `v`'s cell, or 0. */
static uint32_t open_slot(const struct mneme *m, const struct fmt_value *v, uint32_t length)
{
	uint32_t slot = dirty_slot_of(v->address);

	if (!(v->address & FMT_DIRTY) || m->dirty.slots[slot].epoch != store_epoch(m) ||
	    (FMT_PAGE_SIZE << m->dirty.slots[slot].order) < length)
		return 0;
	return slot;
}

static uint8_t *value_place(struct mneme *m, struct shard *s, uint32_t length,
			    struct budget *budget, struct fmt_value *out)
{
	unsigned order = dirty_order(length);
	int aside = budget->aside && 1u << order <= ASIDE_PAGES;

	if (aside) { /* what was promised instead stays with the transaction */
		budget->aside--;
		budget->bare -= 1 << order;
		budget->lists += order > 0;
	}
	uint32_t slot = tree_take_slot(m, s, DIRTY_VALUE, order, budget);
	m->dirty.slots[slot].aside = (uint8_t)aside;
	*out = (struct fmt_value){.address = FMT_DIRTY | slot,
				  .length = length,
				  .stored = length,
				  .birth = store_era(m)};
	return dirty_memory(&m->dirty, slot);
}

static enum page_kind kind_at(const struct tree_path *path)
{
	enum page_kind kind;

	page_payload(page_cell(path->pages[path->depth - 1], path->positions[path->depth - 1]),
		     &kind);
	return kind;
}

static void cell_get(struct tree_path *path, struct fmt_value *v)
{
	uint32_t length;
	enum page_kind kind;
	const uint8_t *cell = page_value(path->pages[path->depth - 1],
					 path->positions[path->depth - 1], &length, &kind);

	CHECK(kind == PAGE_INDIRECT);
	memcpy(v, cell, sizeof *v);
}

static void cell_set(struct tree_path *path, const struct fmt_value *v)
{
	uint32_t length;
	enum page_kind kind;
	const uint8_t *cell = page_value(path->pages[path->depth - 1],
					 path->positions[path->depth - 1], &length, &kind);

	memcpy((uint8_t *)cell, v, sizeof *v);
}

/* Gives a packed value a slot of its own. */
static uint8_t *value_unpack(struct mneme *m, struct shard *s, struct tree_path *path,
			     uint32_t length, struct budget *budget, int *error)
{
	struct fmt_page *leaf = path->pages[path->depth - 1];
	unsigned position = path->positions[path->depth - 1];
	struct fmt_value v;
	uint32_t present;
	const uint8_t *bytes = value_read(m, leaf, position, &present, error);

	if (!bytes)
		return NULL;
	uint8_t *memory = value_place(m, s, length > present ? length : present, budget, &v);
	memcpy(memory, bytes, present);
	v.length = v.stored = present;
	page_shrink_value(leaf, position, PAGE_INDIRECT, &v, sizeof v);
	return memory;
}

uint8_t *value_own(struct mneme *m, struct shard *s, struct tree_path *path, uint32_t length,
		   struct budget *budget, int *error)
{
	struct fmt_value old, new;

	if (kind_at(path) == PAGE_PACKED)
		return value_unpack(m, s, path, length, budget, error);
	cell_get(path, &old);
	uint32_t slot = open_slot(m, &old, length);
	if (slot)
		return dirty_memory(&m->dirty, slot);
	const uint8_t *bytes = value_bytes(m, &old, error);
	if (!bytes)
		return NULL;
	uint8_t *memory =
		value_place(m, s, length > old.length ? length : old.length, budget, &new);
	memcpy(memory, bytes, old.length);
	new.length = new.stored = old.length;
	cell_set(path, &new);
	tree_free_value(m, s, &old, budget);
	return memory;
}

void value_put(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
	       const void *value, uint32_t length, struct budget *budget)
{
	struct fmt_value v;

	if (!value_is_indirect(key.length, length)) {
		tree_put(m, s, path, key, value, length, PAGE_PLAIN, budget);
		return;
	}
	if (path->found && kind_at(path) == PAGE_INDIRECT) {
		cell_get(path, &v);
		uint32_t slot = open_slot(m, &v, length);
		if (slot && m->dirty.slots[slot].order == dirty_order(length)) {
			memcpy(dirty_memory(&m->dirty, slot), value, length);
			v.length = v.stored = length;
			cell_set(path, &v);
			return;
		}
	}
	memcpy(value_place(m, s, length, budget, &v), value, length);
	tree_put(m, s, path, key, &v, sizeof v, PAGE_INDIRECT, budget);
}

void value_put_run(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
		   const struct commit_op *op, struct budget *budget)
{
	struct fmt_value v = {.address = op->run,
			      .length = op->length,
			      .stored = op->length,
			      .crc_stored = op->run_crc,
			      .crc_plain = op->run_crc,
			      .birth = store_era(m)};

	tree_put(m, s, path, key, &v, sizeof v, PAGE_INDIRECT, budget);
}

void value_patch(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
		 uint32_t offset, const void *data, uint32_t length, struct budget *budget)
{
	uint32_t old_length = 0, end = offset + length;
	const uint8_t *old = NULL;
	enum page_kind kind = PAGE_PLAIN;
	int error = 0;

	if (path->found)
		old = page_value(path->pages[path->depth - 1], path->positions[path->depth - 1],
				 &old_length, &kind);
	if (kind != PAGE_PLAIN) {
		uint8_t *memory = value_own(m, s, path, end, budget, &error);
		struct fmt_value v;
		CHECK(memory);
		cell_get(path, &v);
		if (offset > v.length && !SEEDED_BUG(20))
			memset(memory + v.length, 0, offset - v.length);
		memcpy(memory + offset, data, length);
		if (end > v.length)
			v.length = v.stored = end;
		cell_set(path, &v);
		return;
	}
	if (path->found && end <= old_length) {
		memcpy((uint8_t *)old + offset, data, length);
		return;
	}
	/* An inline value grows: built anew, in the arena or aside. */
	uint32_t new_length = end > old_length ? end : old_length;
	uint8_t *memory = small;
	struct fmt_value v;
	int outside = value_is_indirect(key.length, new_length);
	if (outside)
		memory = value_place(m, s, new_length, budget, &v);
	if (old_length)
		memcpy(memory, old, old_length);
	if (offset > old_length && !SEEDED_BUG(20))
		memset(memory + old_length, 0, offset - old_length);
	memcpy(memory + offset, data, length);
	if (outside)
		tree_put(m, s, path, key, &v, sizeof v, PAGE_INDIRECT, budget);
	else
		tree_put(m, s, path, key, small, new_length, PAGE_PLAIN, budget);
}

void value_truncate(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
		    uint32_t length, struct budget *budget)
{
	uint32_t old_length;
	enum page_kind kind;
	int error = 0;

	if (!path->found)
		return;
	const uint8_t *old = page_value(path->pages[path->depth - 1],
					path->positions[path->depth - 1], &old_length, &kind);
	if (kind != PAGE_PLAIN) {
		struct fmt_value v;
		cell_get(path, &v);
		if (v.length <= length)
			return;
		uint8_t *memory = value_own(m, s, path, v.length, budget, &error);
		CHECK(memory);
		if (value_is_indirect(key.length, length)) {
			cell_get(path, &v);
			v.length = v.stored = length;
			cell_set(path, &v);
			return;
		}
		memcpy(small, memory, length);
	} else {
		if (old_length <= length)
			return;
		memcpy(small, old, length);
	}
	tree_put(m, s, path, key, small, length, PAGE_PLAIN, budget);
}
