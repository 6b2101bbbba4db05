/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see fuse.h. */
#include "core/search/fuse.h"
#include "pool/alloc.h"

#include <math.h>
#include <stdlib.h>

enum { RANK_OFFSET = 60 };

static int compare_name(const struct fuse_hit *a, const struct fuse_hit *b)
{
	if (a->owner != b->owner)
		return a->owner < b->owner ? -1 : 1;
	return (a->part > b->part) - (a->part < b->part);
}

static int compare_names(const void *a, const void *b)
{
	return compare_name(a, b);
}

static int compare_scores(const void *a, const void *b)
{
	const struct fuse_hit *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return compare_name(x, y);
}

unsigned fuse_collect(const struct search_hit *lexical, unsigned lexical_count,
		      const struct search_hit *vector, unsigned vector_count, struct fuse_hit *out)
{
	unsigned all = 0, kept = 0;

	for (unsigned i = 0; i < lexical_count; i++)
		out[all++] = (struct fuse_hit){.owner = lexical[i].owner,
					       .part = lexical[i].part,
					       .known = FUSE_LEXICAL,
					       .lexical = lexical[i].score,
					       .lexical_rank = i + 1};
	for (unsigned i = 0; i < vector_count; i++)
		out[all++] = (struct fuse_hit){.owner = vector[i].owner,
					       .part = vector[i].part,
					       .known = FUSE_VECTOR,
					       .vector = vector[i].score,
					       .vector_rank = i + 1};
	if (all)
		qsort(out, all, sizeof(*out), compare_names);
	for (unsigned i = 0; i < all; i++) {
		if (!kept || compare_name(&out[kept - 1], &out[i])) {
			out[kept++] = out[i];
			continue;
		}
		struct fuse_hit *same = &out[kept - 1];
		if (out[i].known & FUSE_LEXICAL) {
			same->lexical = out[i].lexical;
			same->lexical_rank = out[i].lexical_rank;
		} else {
			same->vector = out[i].vector;
			same->vector_rank = out[i].vector_rank;
		}
		same->known |= out[i].known;
	}
	return kept;
}

static float standard(float score, float mean, float deviation)
{
	return isfinite(score) && deviation > 0 ? (score - mean) / deviation : 0;
}

void fuse_rank(struct fuse_hit *hits, unsigned count, const struct fuse_background *background,
	       const struct fuse_options *options)
{
	float words = options->lexical_weight, meaning = options->vector_weight;

	if (words == 0 && meaning == 0)
		words = meaning = 1;
	for (unsigned i = 0; i < count; i++) {
		struct fuse_hit *h = &hits[i];
		if (options->method == FUSE_RANK) {
			h->lexical_part = h->lexical_rank ? 1.f / (RANK_OFFSET + h->lexical_rank) : 0;
			h->vector_part = h->vector_rank ? 1.f / (RANK_OFFSET + h->vector_rank) : 0;
		} else {
			h->lexical_part = standard(h->lexical, background->lexical_mean,
						   background->lexical_deviation);
			h->vector_part = standard(h->vector, background->vector_mean,
						  background->vector_deviation);
		}
		h->lexical_part *= words;
		h->vector_part *= meaning;
		h->score = h->lexical_part + h->vector_part;
	}
	if (count)
		qsort(hits, count, sizeof(*hits), compare_scores);
}

/* Owners seen so far: open addressing over indexes into the kept hits. */
unsigned fuse_best_of_owners(struct fuse_hit *hits, unsigned count)
{
	unsigned kept = 0, size = 16;

	while (size < count * 2)
		size *= 2;
	uint32_t *slots = alloc_zeroed(size, sizeof(*slots));
	for (unsigned i = 0; i < count; i++) {
		int seen = 0;
		if (slots) {
			uint32_t at = (uint32_t)((hits[i].owner * 0x9e3779b97f4a7c15ull) >> 32);
			for (at &= size - 1; slots[at]; at = (at + 1) & (size - 1))
				if (hits[slots[at] - 1].owner == hits[i].owner) {
					seen = 1;
					break;
				}
			if (!seen)
				slots[at] = kept + 1;
		} else { /* without memory: slower, the same answer */
			for (unsigned k = 0; k < kept && !seen; k++)
				seen = hits[k].owner == hits[i].owner;
		}
		if (!seen)
			hits[kept++] = hits[i];
	}
	alloc_free(slots);
	return kept;
}
