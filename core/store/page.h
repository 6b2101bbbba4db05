/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   one tree page in memory: find, insert, remove, split, merge. Layout: fmt.h.
 * Invariants: slots are in strict key order; cells do not overlap; `garbage` counts dead cell bytes;
 *            every slot's head is that of its key behind the page's shared prefix. Inner pages: the
 *            key of slot 0 is not looked at (its child takes all that is smaller than slot 1's).
 * Threading: none of its own: readers hold the shard for reading, writers for writing.
 * Failure:   page_verify gives -EUCLEAN for bytes that are no page; the others expect a verified one.
 */
#ifndef MNEME_CORE_STORE_PAGE_H
#define MNEME_CORE_STORE_PAGE_H

#include "core/store/fmt.h"

#include <string.h>

/* A key as the tree compares it: inode big-endian, type, sub-key. */
struct page_key {
	const uint8_t *bytes;
	uint32_t length;
};

static inline const struct fmt_slot *page_slots(const struct fmt_page *page)
{
	return (const struct fmt_slot *)(page + 1);
}

static inline const uint8_t *page_cell(const struct fmt_page *page, unsigned position)
{
	return (const uint8_t *)page + page_slots(page)[position].offset;
}

/* Bytes of a cell before its key. */
static inline unsigned page_cell_head(const struct fmt_page *page)
{
	return page->level ? 8 : 2;
}

static inline struct page_key page_key_at(const struct fmt_page *page, unsigned position)
{
	return (struct page_key){page_cell(page, position) + page_cell_head(page),
				 page_slots(page)[position].key_length};
}

static inline int page_key_compare(struct page_key a, struct page_key b)
{
	uint32_t common = a.length < b.length ? a.length : b.length;
	int order = memcmp(a.bytes, b.bytes, common);

	return order ? order : (a.length > b.length) - (a.length < b.length);
}

static inline uint64_t page_child(const struct fmt_page *page, unsigned position)
{
	uint64_t child;

	memcpy(&child, page_cell(page, position), sizeof child);
	return child;
}

static inline void page_set_child(struct fmt_page *page, unsigned position, uint64_t child)
{
	memcpy((uint8_t *)page + page_slots(page)[position].offset, &child, sizeof child);
}

/* What the payload of a leaf's cell is. */
enum page_kind {
	PAGE_PLAIN,    /* the value */
	PAGE_INDIRECT, /* a struct fmt_value */
	PAGE_PACKED, /* a struct fmt_packed and its frame: at least sizeof(struct fmt_value) bytes */
};

/* Bytes and kind of the payload, from the cell's length field. */
static inline uint32_t page_payload(const uint8_t *cell, enum page_kind *kind)
{
	uint16_t head;

	memcpy(&head, cell, sizeof head);
	*kind = !(head & FMT_PACKED)   ? PAGE_PLAIN
		: head == FMT_INDIRECT ? PAGE_INDIRECT
				       : PAGE_PACKED;
	return *kind == PAGE_INDIRECT ? sizeof(struct fmt_value) : head & ~FMT_PACKED;
}

/* The length field of a cell. */
static inline uint16_t page_head(enum page_kind kind, uint32_t length)
{
	return kind == PAGE_INDIRECT ? FMT_INDIRECT
	       : kind == PAGE_PACKED ? FMT_PACKED | length
				     : length;
}

/* Payload of a leaf's cell. */
static inline const uint8_t *page_value(const struct fmt_page *page, unsigned position,
					uint32_t *length, enum page_kind *kind)
{
	const uint8_t *cell = page_cell(page, position);

	*length = page_payload(cell, kind);
	return cell + 2 + page_slots(page)[position].key_length;
}

/* Makes an empty page; only the header is written. */
void page_format(struct fmt_page *page, uint8_t level, uint8_t shard, uint64_t birth);
/* Position of the first key >= `key`; *found: it is equal. */
unsigned page_find(const struct fmt_page *page, struct page_key key, int *found);
/* Inner page: position of the child that holds `key`. */
unsigned page_find_child(const struct fmt_page *page, struct page_key key);
/* Free bytes, garbage included. */
unsigned page_room(const struct fmt_page *page);
/* Bytes that one more cell of that size takes. */
static inline unsigned page_cost(unsigned cell_length)
{
	return cell_length + sizeof(struct fmt_slot);
}
/* Makes a cell at `position`: `head` and `payload` around the key (an inner page has no payload).
 * Returns the payload's place inside the page, or NULL when the page is too full. */
uint8_t *page_insert(struct fmt_page *page, unsigned position, struct page_key key,
		     const void *head, const void *payload, unsigned payload_length);
/* Puts another payload, which is not longer, into a leaf's cell where it is. */
void page_shrink_value(struct fmt_page *page, unsigned position, enum page_kind kind,
		       const void *payload, uint32_t length);
/* Removes one slot and its cell. */
void page_remove(struct fmt_page *page, unsigned position);
/* Removes the slots first <= position < last. */
void page_remove_range(struct fmt_page *page, unsigned first, unsigned last);
/* Moves the slots from `position` on to the empty page `right`. */
void page_split(struct fmt_page *page, unsigned position, struct fmt_page *right);
/* Where to split a full page into which a cell of `cell_length` goes at `position`. Of an inner page
 * both parts have room for one more cell then. */
unsigned page_split_position(const struct fmt_page *page, unsigned position, unsigned cell_length);
/* Appends all cells of `right`, if they fit (then 1). */
int page_merge(struct fmt_page *page, const struct fmt_page *right);
/* Whether it has bytes that belong to none of its keys: what page_squeeze() takes out. */
int page_is_loose(const struct fmt_page *page);
/* Moves the cells together, and empties the key of an inner page that is not looked at. Before the
 * page is written: then no byte of a removed key is left behind `top`. */
void page_squeeze(struct fmt_page *page);
/* Offsets, lengths and order make sense: 0 or -EUCLEAN. */
int page_verify(const struct fmt_page *page);

static inline uint32_t page_used(const struct fmt_page *page)
{
	return FMT_PAGE_SIZE - sizeof(struct fmt_page) - page_room(page);
}

#endif
