/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the k best of a stream. Once the heap is full nearly every candidate loses, so blocks
 *            of 64 are compared with the bound by a vector filter and only the hits are looked at.
 */
#include "simd/topk.h"

#include "simd/simd.h"

#include <math.h>
#include <stdlib.h>

enum { FILTER_BLOCK = 512 };

/* Whether (value, id) is better than (value2, id2) for the order of `t`. */
static bool better(const struct topk *t, float value, uint32_t id, float value2, uint32_t id2)
{
	if (value != value2)
		return t->greatest ? value > value2 : value < value2;
	return id < id2;
}

static bool entry_better(const struct topk *t, const struct topk_entry *a,
			 const struct topk_entry *b)
{
	return better(t, a->value, a->id, b->value, b->id);
}

void topk_init(struct topk *t, struct topk_entry *entries, size_t k, bool greatest)
{
	t->entries = entries;
	t->k = k;
	t->count = 0;
	t->greatest = greatest;
	t->bound = greatest ? -INFINITY : INFINITY;
}

/* Restores the heap below `at`, whose entry may be better than its children. */
static void sift_down(struct topk *t, size_t at, size_t count)
{
	struct topk_entry moved = t->entries[at];

	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= count)
			break;
		if (child + 1 < count &&
		    entry_better(t, &t->entries[child], &t->entries[child + 1]))
			child++;
		if (!entry_better(t, &moved, &t->entries[child]))
			break;
		t->entries[at] = t->entries[child];
		at = child;
	}
	t->entries[at] = moved;
}

static void sift_up(struct topk *t, size_t at)
{
	struct topk_entry moved = t->entries[at];

	for (; at; at = (at - 1) / 2) {
		struct topk_entry *parent = &t->entries[(at - 1) / 2];
		if (!entry_better(t, parent, &moved))
			break;
		t->entries[at] = *parent;
	}
	t->entries[at] = moved;
}

void topk_push(struct topk *t, float value, uint32_t id)
{
	struct topk_entry e = {value, id};

	if (isnan(value))
		return;
	if (t->count < t->k) {
		t->entries[t->count] = e;
		sift_up(t, t->count++);
	} else if (entry_better(t, &e, &t->entries[0])) {
		t->entries[0] = e;
		sift_down(t, 0, t->count);
	}
	if (t->count == t->k)
		t->bound = t->entries[0].value;
}

void topk_push_many(struct topk *t, const float *values, const uint32_t *ids, uint32_t first,
		    size_t n)
{
	enum simd_compare op = t->greatest ? SIMD_GE : SIMD_LE;
	uint64_t hits[FILTER_BLOCK / 64];
	size_t i = 0;

	for (; i < n && t->count < t->k; i++)
		topk_push(t, values[i], ids ? ids[i] : first + (uint32_t)i);
	for (; i < n; i += FILTER_BLOCK) {
		size_t block = n - i < FILTER_BLOCK ? n - i : FILTER_BLOCK;
		if (!simd_active->filter_f32(values + i, block, op, t->bound, hits))
			continue;
		for (size_t w = 0; w < (block + 63) / 64; w++)
			for (uint64_t word = hits[w]; word; word &= word - 1) {
				size_t at = i + 64 * w + (size_t)__builtin_ctzll(word);
				topk_push(t, values[at], ids ? ids[at] : first + (uint32_t)at);
			}
	}
}

size_t topk_finish(struct topk *t)
{
	for (size_t left = t->count; left > 1; left--) {
		struct topk_entry worst = t->entries[0];
		t->entries[0] = t->entries[left - 1];
		t->entries[left - 1] = worst;
		sift_down(t, 0, left - 1);
	}
	return t->count;
}
