/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   int8 packing of weights, and a double-array trie over the vocabulary.
 * Invariants: the trie's pieces are sorted first, so each node is a range of them, and nodes are
 *            placed breadth first: work is bounded by slots, recursion is not used.
 */
#include "core/memory/model_pack.h"

#include "core/memory/model_format.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void model_pack_i8(const float *w, uint32_t rows, uint32_t cols, uint8_t *section)
{
	int8_t *data = (int8_t *)section;
	uint8_t *scales = section + (size_t)rows * cols, *sums = scales + 4 * (size_t)cols;

	CHECK(rows % 4 == 0 && cols % 16 == 0);
	for (uint32_t c = 0; c < cols; c++) {
		float top = 0;
		int32_t sum = 0;

		for (uint32_t r = 0; r < rows; r++)
			top = fmaxf(top, fabsf(w[(size_t)r * cols + c]));
		const float scale = top > 0 ? top / 127 : 1;
		for (uint32_t r = 0; r < rows; r++) {
			const size_t at =
				((size_t)(c / 16) * (rows / 4) + r / 4) * 64 + c % 16 * 4 + r % 4;

			data[at] = (int8_t)lrintf(w[(size_t)r * cols + c] / scale);
			sum += data[at];
		}
		memcpy(scales + 4 * (size_t)c, &scale, 4);
		memcpy(sums + 4 * (size_t)c, &sum, 4);
	}
}

struct ranked_piece {
	const char *bytes;
	uint32_t len;
	uint32_t piece;
};

static int ranked_order(const void *a, const void *b)
{
	const struct ranked_piece *x = a, *y = b;
	const uint32_t len = x->len < y->len ? x->len : y->len;
	const int by_bytes = memcmp(x->bytes, y->bytes, len);

	if (by_bytes)
		return by_bytes;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return x->piece < y->piece ? -1 : 1;
}

/* A node that is still to be given its children: pieces [begin, end) share `depth` bytes. */
struct trie_node {
	uint32_t slot;
	uint32_t begin;
	uint32_t end;
	uint32_t depth;
};

struct trie_build {
	struct ranked_piece *piece;
	struct trie_node *queue;
	uint32_t queue_len;
	struct model_trie_slot *slot;
	uint8_t *used;
	uint32_t capacity;
	uint32_t count;     /* slots in use, the highest one + 1 */
	uint32_t first_gap; /* no free slot below */
};

static int trie_reserve(struct trie_build *b, uint32_t need)
{
	uint32_t capacity = b->capacity ? b->capacity : 4096;

	if (need <= b->capacity)
		return 0;
	while (capacity < need)
		capacity *= 2;
	struct model_trie_slot *slot = alloc_resize(b->slot, capacity * sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	b->slot = slot;
	uint8_t *used = alloc_resize(b->used, capacity);
	if (!used)
		return -ENOMEM;
	b->used = used;
	memset(used + b->capacity, 0, capacity - b->capacity);
	for (uint32_t i = b->capacity; i < capacity; i++)
		slot[i] = (struct model_trie_slot){.base = 0, .check = UINT32_MAX, .piece = -1};
	b->capacity = capacity;
	return 0;
}

/* The lowest base at which every label finds a free slot. */
static int trie_find_base(struct trie_build *b, const uint8_t *label, uint32_t labels,
			  uint32_t *base)
{
	while (b->first_gap < b->capacity && b->used[b->first_gap])
		b->first_gap++;
	for (uint32_t at = b->first_gap > label[0] ? b->first_gap - label[0] : 1;; at++) {
		uint32_t i = 0;
		const int rc = trie_reserve(b, at + 256);

		if (rc)
			return rc;
		while (i < labels && !b->used[at + label[i]])
			i++;
		if (i == labels) {
			*base = at;
			return 0;
		}
	}
}

/* Gives one node its children and puts them into the queue. */
static int trie_expand(struct trie_build *b, struct trie_node node)
{
	uint8_t label[256];
	uint32_t start[257], labels = 0, base, i = node.begin;

	while (i < node.end && b->piece[i].len == node.depth) {
		if (b->slot[node.slot].piece < 0)
			b->slot[node.slot].piece = (int32_t)b->piece[i].piece;
		i++;
	}
	for (; i < node.end; i++) {
		const uint8_t byte = (uint8_t)b->piece[i].bytes[node.depth];

		if (!labels || label[labels - 1] != byte) {
			label[labels] = byte;
			start[labels++] = i;
		}
	}
	if (!labels)
		return 0;
	start[labels] = node.end;
	const int rc = trie_find_base(b, label, labels, &base);
	if (rc)
		return rc;
	b->slot[node.slot].base = (int32_t)base;
	for (i = 0; i < labels; i++) {
		const uint32_t child = base + label[i];

		b->used[child] = 1;
		b->slot[child].check = node.slot;
		if (child + 1 > b->count)
			b->count = child + 1;
		b->queue[b->queue_len++] =
			(struct trie_node){child, start[i], start[i + 1], node.depth + 1};
	}
	return 0;
}

int model_build_trie(const uint32_t *begin, const char *bytes, uint32_t pieces,
		     struct model_trie_slot **slots, uint32_t *count)
{
	struct trie_build b = {0};
	uint32_t ranked = 0;
	int rc = -ENOMEM;

	/* a node but the root costs at least one byte of a piece */
	b.queue = alloc_get(((size_t)begin[pieces] + 1) * sizeof(*b.queue));
	b.piece = alloc_get(pieces * sizeof(*b.piece));
	if (!b.queue || !b.piece || trie_reserve(&b, 256))
		goto out;
	for (uint32_t i = MODEL_CONTROLS; i < pieces; i++)
		if (begin[i + 1] > begin[i])
			b.piece[ranked++] =
				(struct ranked_piece){bytes + begin[i], begin[i + 1] - begin[i], i};
	qsort(b.piece, ranked, sizeof(*b.piece), ranked_order);
	b.used[0] = 1;
	b.count = 1;
	b.queue[b.queue_len++] = (struct trie_node){0, 0, ranked, 0};
	for (uint32_t i = 0; i < b.queue_len; i++) {
		rc = trie_expand(&b, b.queue[i]);
		if (rc)
			goto out;
	}
	*slots = b.slot;
	*count = b.count;
	b.slot = NULL;
	rc = 0;
out:
	alloc_free(b.queue);
	alloc_free(b.piece);
	alloc_free(b.used);
	alloc_free(b.slot);
	return rc;
}
