/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the k best of a stream of scored ids: the last step of every search.
 * Invariants: the entries are a binary heap with the worst kept entry at its root; `bound` is its
 *            value once k are held. Equal values are ordered by id, the lesser id being better, so
 *            a result does not depend on the order of arrival. NaN is never kept.
 * Threading: one owner at a time.
 * Failure:   none; the caller provides the memory.
 */
#ifndef MNEME_SIMD_TOPK_H
#define MNEME_SIMD_TOPK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct topk_entry {
	float value;
	uint32_t id;
};

struct topk {
	struct topk_entry *entries;
	size_t k, count;
	float bound;   /* a value that is not better than this cannot enter; infinite until full */
	bool greatest; /* the best are the greatest values, not the least */
};

/* `entries` has room for k >= 1 entries and is borrowed until the last call. */
void topk_init(struct topk *t, struct topk_entry *entries, size_t k, bool greatest);
/* Offers one candidate. */
void topk_push(struct topk *t, float value, uint32_t id);
/* Offers n candidates; their ids are ids[i], or first + i where `ids` is NULL. */
void topk_push_many(struct topk *t, const float *values, const uint32_t *ids, uint32_t first,
		    size_t n);
/* Sorts what is kept, best first; returns how many. Afterwards only topk_init() may be called. */
size_t topk_finish(struct topk *t);

#endif
