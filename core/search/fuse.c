/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see fuse.h. */
#include "core/search/fuse.h"

#include <math.h>
#include <stdlib.h>

enum { RANK_OFFSET = 60 };

/* By owner; of one owner lexical hits first, in order of rank. */
static int compare_owners(const void *a, const void *b)
{
	const struct fuse_hit *x = a, *y = b;

	if (x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
	if (x->known != y->known)
		return x->known < y->known ? -1 : 1;
	uint32_t one = x->lexical_rank + x->vector_rank, two = y->lexical_rank + y->vector_rank;
	return (one > two) - (one < two);
}

static int compare_scores(const void *a, const void *b)
{
	const struct fuse_hit *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return (x->owner > y->owner) - (x->owner < y->owner);
}

static int compare_ranks(const void *a, const void *b)
{
	const struct fuse_hit *x = a, *y = b;
	uint32_t one = x->lexical_rank + x->vector_rank, two = y->lexical_rank + y->vector_rank;

	return (one > two) - (one < two);
}

/* Keeps each owner's best of one side's list and numbers those that stay. */
static unsigned side_collect(const struct search_hit *list, unsigned count, enum fuse_known side,
			     struct fuse_hit *out)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++)
		out[i] = (struct fuse_hit){.owner = list[i].owner,
					   .known = side,
					   .lexical_at = list[i].part,
					   .vector_at = list[i].part,
					   .lexical = list[i].score,
					   .vector = list[i].score,
					   .lexical_rank = i + 1};
	if (count)
		qsort(out, count, sizeof(*out), compare_owners);
	for (unsigned i = 0; i < count; i++)
		if (!kept || out[kept - 1].owner != out[i].owner)
			out[kept++] = out[i];
	if (kept)
		qsort(out, kept, sizeof(*out), compare_ranks);
	for (unsigned i = 0; i < kept; i++) {
		out[i].lexical_rank = side == FUSE_LEXICAL ? i + 1 : 0;
		out[i].vector_rank = side == FUSE_VECTOR ? i + 1 : 0;
	}
	return kept;
}

unsigned fuse_collect(const struct search_hit *lexical, unsigned lexical_count,
		      const struct search_hit *vector, unsigned vector_count, struct fuse_hit *out)
{
	unsigned all = side_collect(lexical, lexical_count, FUSE_LEXICAL, out), kept = 0;

	all += side_collect(vector, vector_count, FUSE_VECTOR, out + all);
	if (all)
		qsort(out, all, sizeof(*out), compare_owners);
	for (unsigned i = 0; i < all; i++) {
		if (!kept || out[kept - 1].owner != out[i].owner) {
			out[kept++] = out[i];
			continue;
		}
		struct fuse_hit *same = &out[kept - 1];
		same->vector = out[i].vector;
		same->vector_at = out[i].vector_at;
		same->vector_rank = out[i].vector_rank;
		same->known |= FUSE_VECTOR;
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
			h->lexical_part =
				h->lexical_rank ? 1.f / (RANK_OFFSET + h->lexical_rank) : 0;
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
	fuse_sort(hits, count);
}

void fuse_sort(struct fuse_hit *hits, unsigned count)
{
	if (count)
		qsort(hits, count, sizeof(*hits), compare_scores);
}
