/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   operations on one tree page; see page.h.
 */
#include "core/store/page.h"
#include "pool/check.h"

#include <errno.h>

static struct fmt_slot *slots_of(struct fmt_page *page)
{
	return (struct fmt_slot *)(page + 1);
}

static unsigned slots_end(const struct fmt_page *page)
{
	return sizeof *page + page->count * sizeof(struct fmt_slot);
}

static uint32_t head_of(struct page_key key, unsigned prefix)
{
	uint32_t head = 0;
	unsigned left = key.length > prefix ? key.length - prefix : 0;

	if (left >= 4) {
		memcpy(&head, key.bytes + prefix, 4);
		return __builtin_bswap32(head);
	}
	for (unsigned i = 0; i < left; i++)
		head |= (uint32_t)key.bytes[prefix + i] << (24 - 8 * i);
	return head;
}

static unsigned common_prefix(struct page_key a, struct page_key b)
{
	unsigned limit = a.length < b.length ? a.length : b.length;
	unsigned i = 0;

	while (i < limit && a.bytes[i] == b.bytes[i])
		i++;
	return i;
}

/* First slot whose key counts: an inner page's slot 0 stands for "everything smaller". */
static unsigned first_keyed(const struct fmt_page *page)
{
	return page->level ? 1 : 0;
}

static void heads_refresh(struct fmt_page *page)
{
	unsigned first = first_keyed(page);

	page->prefix = 0;
	if (page->count <= first)
		return;
	page->prefix = common_prefix(page_key_at(page, first), page_key_at(page, page->count - 1));
	for (unsigned i = first; i < page->count; i++)
		slots_of(page)[i].head = head_of(page_key_at(page, i), page->prefix);
}

void page_format(struct fmt_page *page, uint8_t level, uint8_t shard, uint64_t birth)
{
	memset(page, 0, sizeof *page);
	page->level = level;
	page->shard = shard;
	page->birth = birth;
	page->top = FMT_PAGE_SIZE;
}

/* First of the slots low <= i < high, which are some, whose head is not smaller; `high`: there is none.
 * No branch depends on a head: nothing could foretell which way it goes. */
static unsigned heads_lower(const struct fmt_slot *slots, unsigned low, unsigned high,
			    uint32_t head)
{
	for (unsigned left = high - low; left > 1;) {
		unsigned half = left / 2;
		low += half & -(unsigned)(slots[low + half - 1].head < head);
		left -= half;
	}
	return low + (slots[low].head < head);
}

/* The same by the keys. */
static unsigned keys_lower(const struct fmt_page *page, unsigned low, unsigned high,
			   struct page_key key, int *found)
{
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order = page_key_compare(key, page_key_at(page, middle));
		if (order == 0) {
			*found = 1;
			return middle;
		}
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

unsigned page_find(const struct fmt_page *page, struct page_key key, int *found)
{
	const struct fmt_slot *slots = page_slots(page);
	unsigned low = first_keyed(page), high = page->count;

	*found = 0;
	if (low >= high)
		return low;
	if (page->prefix) {
		struct page_key lead = page_key_at(page, low);
		unsigned common = key.length < page->prefix ? key.length : page->prefix;
		int order = memcmp(key.bytes, lead.bytes, common);
		if (order < 0 || (order == 0 && key.length < page->prefix))
			return low;
		if (order > 0)
			return high;
	}
	uint32_t head = head_of(key, page->prefix);
	low = heads_lower(slots, low, high, head);
	if (low == high || slots[low].head != head)
		return low;
	/* Mostly it is the only one of this head. */
	if (low + 1 == high || slots[low + 1].head != head)
		high = low + 1;
	else if (head != UINT32_MAX)
		high = heads_lower(slots, low + 1, high, head + 1);
	return keys_lower(page, low, high, key, found);
}

unsigned page_find_child(const struct fmt_page *page, struct page_key key)
{
	int found;
	unsigned position = page_find(page, key, &found);

	return found ? position : position - 1;
}

unsigned page_room(const struct fmt_page *page)
{
	return page->top - slots_end(page) + page->garbage;
}

static unsigned cell_length(const struct fmt_page *page, unsigned position)
{
	unsigned length = page_cell_head(page) + page_slots(page)[position].key_length;

	if (page->level == 0) {
		enum page_kind kind;
		length += page_payload(page_cell(page, position), &kind);
	}
	return length;
}

/* Squeezes the garbage out. */
static void compact(struct fmt_page *page)
{
	static _Thread_local uint8_t
		copy[FMT_PAGE_SIZE]; /* not on the stack: handlers have 3 KiB */
	unsigned base = page->top;
	unsigned top = FMT_PAGE_SIZE;
	uint8_t *bytes = (uint8_t *)page;

	memcpy(copy, bytes + base, FMT_PAGE_SIZE - base);
	for (unsigned i = 0; i < page->count; i++) {
		struct fmt_slot *slot = &slots_of(page)[i];
		unsigned head = page->level ? 8 : 2;
		const uint8_t *cell = copy + slot->offset - base;
		unsigned length = head + slot->key_length;
		enum page_kind kind;
		if (!page->level)
			length += page_payload(cell, &kind);
		top -= length;
		memcpy(bytes + top, cell, length);
		slot->offset = top;
	}
	page->top = top;
	page->garbage = 0;
}

int page_is_loose(const struct fmt_page *page)
{
	const struct fmt_slot *first = page_slots(page);

	return page->garbage || (page->level && page->count && (first->key_length || first->head));
}

void page_squeeze(struct fmt_page *page)
{
	struct fmt_slot *first = slots_of(page);

	if (page->level && page->count) {
		page->garbage += first->key_length;
		first->key_length = 0;
		first->head = 0;
	}
	if (page->garbage)
		compact(page);
}

/* A new key may be shorter in common with the others than the prefix so far. */
static void prefix_adapt(struct fmt_page *page, unsigned position)
{
	unsigned first = first_keyed(page);
	struct page_key key = page_key_at(page, position);

	if (position < first)
		return;
	if (page->count == first + 1) {
		page->prefix = key.length;
	} else {
		unsigned other = position == first ? first + 1 : first;
		unsigned common = common_prefix(key, page_key_at(page, other));
		if (common < page->prefix) {
			page->prefix = common;
			for (unsigned i = first; i < page->count; i++)
				slots_of(page)[i].head = head_of(page_key_at(page, i), common);
			return;
		}
	}
	slots_of(page)[position].head = head_of(key, page->prefix);
}

uint8_t *page_insert(struct fmt_page *page, unsigned position, struct page_key key,
		     const void *head, const void *payload, unsigned payload_length)
{
	unsigned head_length = page_cell_head(page);
	unsigned length = head_length + key.length + payload_length;

	DCHECK(position <= page->count);
	if (page_room(page) < page_cost(length))
		return NULL;
	if (page->top - slots_end(page) < page_cost(length))
		compact(page);
	page->top -= length;
	uint8_t *cell = (uint8_t *)page + page->top;
	memcpy(cell, head, head_length);
	memcpy(cell + head_length, key.bytes, key.length);
	if (payload)
		memcpy(cell + head_length + key.length, payload, payload_length);
	struct fmt_slot *slots = slots_of(page);
	memmove(&slots[position + 1], &slots[position], (page->count - position) * sizeof slots[0]);
	slots[position] = (struct fmt_slot){.offset = page->top, .key_length = key.length};
	page->count++;
	prefix_adapt(page, position);
	if (page->level && position == 0)
		heads_refresh(page);
	return cell + head_length + key.length;
}

void page_shrink_value(struct fmt_page *page, unsigned position, enum page_kind kind,
		       const void *payload, uint32_t length)
{
	uint8_t *cell = (uint8_t *)page + page_slots(page)[position].offset;
	enum page_kind old;
	uint32_t old_length = page_payload(cell, &old);
	uint16_t head = page_head(kind, length);

	CHECK(page->level == 0 && length <= old_length);
	memcpy(cell, &head, sizeof head);
	memcpy(cell + sizeof head + page_slots(page)[position].key_length, payload, length);
	page->garbage += old_length - length;
}

void page_remove_range(struct fmt_page *page, unsigned first, unsigned last)
{
	struct fmt_slot *slots = slots_of(page);

	DCHECK(first <= last && last <= page->count);
	for (unsigned i = first; i < last; i++)
		page->garbage += cell_length(page, i);
	memmove(&slots[first], &slots[last], (page->count - last) * sizeof slots[0]);
	page->count -= last - first;
	if (page->count == 0) {
		page->top = FMT_PAGE_SIZE;
		page->garbage = 0;
		page->prefix = 0;
	} else if (page->level && first == 0) {
		heads_refresh(page);
	}
}

void page_remove(struct fmt_page *page, unsigned position)
{
	page_remove_range(page, position, position + 1);
}

static void append_cells(struct fmt_page *to, const struct fmt_page *from, unsigned first,
			 unsigned last)
{
	for (unsigned i = first; i < last; i++) {
		unsigned length = cell_length(from, i);
		to->top -= length;
		memcpy((uint8_t *)to + to->top, page_cell(from, i), length);
		slots_of(to)[to->count++] = (struct fmt_slot){
			.offset = to->top, .key_length = page_slots(from)[i].key_length};
	}
	heads_refresh(to);
}

void page_split(struct fmt_page *page, unsigned position, struct fmt_page *right)
{
	DCHECK(right->count == 0 && right->level == page->level);
	append_cells(right, page, position, page->count);
	page_remove_range(page, position, page->count);
	heads_refresh(page);
}

unsigned page_split_position(const struct fmt_page *page, unsigned position, unsigned length)
{
	unsigned half = 0, left = 0;

	/* Keys that only ever grow: leave the page full, begin an empty one. */
	if (position == page->count && !page->level)
		return page->count;
	for (unsigned i = 0; i < page->count; i++)
		half += page_cost(cell_length(page, i));
	half = position == page->count ? half / 3 * 2 : (half + page_cost(length)) / 2;
	for (unsigned i = 0; i < page->count; i++) {
		if (i == position)
			left += page_cost(length);
		/* The cell before it and the new one, both large, are too much for the left part:
		 * then both go to the right, where less than one such cell is. */
		if (left > FMT_PAGE_SIZE - sizeof *page)
			return i - 1;
		if (left >= half)
			return i ? i : 1;
		left += page_cost(cell_length(page, i));
	}
	return page->count - 1;
}

int page_merge(struct fmt_page *page, const struct fmt_page *right)
{
	if (page_room(page) < page_used(right))
		return 0;
	compact(page);
	append_cells(page, right, 0, right->count);
	return 1;
}

static int cell_verify(const struct fmt_page *page, unsigned position)
{
	const struct fmt_slot *slot = &page_slots(page)[position];
	unsigned end = slot->offset + page_cell_head(page) + slot->key_length;

	if (slot->offset < page->top || slot->key_length > FMT_KEY_MAX || end > FMT_PAGE_SIZE)
		return -EUCLEAN;
	if (page->level == 0) {
		enum page_kind kind;
		uint32_t length = page_payload(page_cell(page, position), &kind);
		if (end + length > FMT_PAGE_SIZE || slot->key_length < FMT_KEY_HEAD ||
		    (kind == PAGE_PACKED && length < sizeof(struct fmt_value)))
			return -EUCLEAN;
	}
	return 0;
}

int page_verify(const struct fmt_page *page)
{
	unsigned first = first_keyed(page);

	if (slots_end(page) > page->top || page->top > FMT_PAGE_SIZE ||
	    page->garbage > FMT_PAGE_SIZE - page->top || page->level > 16 ||
	    (page->level && page->count == 0))
		return -EUCLEAN;
	for (unsigned i = 0; i < page->count; i++) {
		if (cell_verify(page, i) < 0)
			return -EUCLEAN;
		if (i >= first &&
		    (page_slots(page)[i].key_length < page->prefix ||
		     page_slots(page)[i].head != head_of(page_key_at(page, i), page->prefix)))
			return -EUCLEAN;
		if (i > first &&
		    page_key_compare(page_key_at(page, i - 1), page_key_at(page, i)) >= 0)
			return -EUCLEAN;
	}
	return 0;
}
