/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the best hits of a search bring to mind, blended into the ranking.
 *
 *   A memory's activation is that of its own match and what spreads to it from others (ACT-R, Anderson
 *   1983: base level and associative strength; Crestani 1997 for retrieval). The SEEDS best hits, as far
 *   as their scores are above 0, begin with SEED_BEST times their share of the best score s1. With
 *   r(m), what reached m over links besides its own,
 *
 *     score(m) += PART * s1 * r(m) / SEED_BEST
 *
 *   so what the best hit alone leads to by one link gains PART * (1 - decay) * s1. Seeds begin below 1
 *   because sums are held at 1. What was no hit comes in with the score 0, which for standardised
 *   scores is the mean of the collection.
 *
 * Invariants: the caller's filters and permissions hold for what comes in as for hits.
 * Threading: no lock is held.
 * Failure:   as recall_ask().
 */
#include "core/memory/memory_inside.h"
#include "core/memory/recall.h"
#include "pool/alloc.h"

#include <errno.h>
#include <math.h>

enum { SEEDS = 10, LISTED = 200 };
#define SEED_BEST 0.5f
#define PART 0.5f

static void seeds_take(struct recall_query *w, const struct fuse_hit *hits, unsigned count)
{
	for (unsigned i = 0; i < count && w->count < SEEDS && hits[i].score > 0; i++) {
		unsigned seen = 0;
		while (seen < w->count && w->from[seen].id != hits[i].owner)
			seen++;
		if (seen == w->count) /* of a vector file each row is a hit */
			w->from[w->count++] = (struct spread_seed){
				hits[i].owner, SEED_BEST * hits[i].score / hits[0].score};
	}
}

static float own_of(const struct recall_query *w, uint64_t inode)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (w->from[i].id == inode)
			return w->from[i].activation;
	return 0;
}

static int is_indexed(struct memory *mem, uint64_t inode)
{
	static _Thread_local char reason[MEMORY_REASON_MAX + 1]; /* handlers have 3 KiB of stack */
	struct memory_state state;

	return memory_state_get(mem, inode, &state, reason) == 0 && state.status == MEMORY_INDEXED;
}

static void add(struct memory *mem, const struct memory_ranking *ranking, uint64_t inode,
		float amount)
{
	unsigned found = 0;

	for (unsigned i = 0; i < *ranking->count; i++) {
		struct fuse_hit *h = &ranking->hits[i];
		if (h->owner != inode)
			continue;
		h->links_part += amount;
		h->score += amount;
		found++;
	}
	if (found || *ranking->count == ranking->capacity ||
	    !ranking->accept(ranking->arg, inode, 0) || !is_indexed(mem, inode))
		return;
	ranking->hits[(*ranking->count)++] = (struct fuse_hit){.owner = inode,
							       .lexical = -INFINITY,
							       .vector = -INFINITY,
							       .links_part = amount,
							       .score = amount};
}

int memory_associate(struct memory *mem, const struct memory_query *q,
		     const struct memory_ranking *ranking)
{
	struct recall_query *w = alloc_get(sizeof *w);
	const struct recall_answer *answer;

	if (!w)
		return -ENOMEM;
	recall_defaults(w);
	w->scope = q->scope;
	w->allow = q->allow;
	w->allow_arg = q->allow_arg;
	w->without_paths = w->spread.list_seeds = 1;
	w->spread.limit = LISTED;
	seeds_take(w, ranking->hits, *ranking->count);
	float best = w->count ? ranking->hits[0].score : 0;
	int rc = w->count ? recall_ask(mem, w, &answer) : 0;
	if (rc == 0 && w->count) {
		for (uint32_t i = 0; i < answer->count; i++) {
			const struct recall_result *r = &answer->results[i];
			float reached = r->activation - own_of(w, r->inode);
			if (reached > 0)
				add(mem, ranking, r->inode, PART * best * reached / SEED_BEST);
		}
		recall_end(mem, answer);
		fuse_sort(ranking->hits, *ranking->count);
	}
	alloc_free(w);
	return rc;
}
