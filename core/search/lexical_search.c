/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the best k passages for a bag of words, without looking at most of the postings.
 *
 * Documents are worked through in windows of WINDOW numbers. For each window every term has an
 * upper bound (the largest of its blocks there). Terms are sorted by it; as long as the sum of the
 * smallest ones stays under the bar (the k-th best score so far), those are "optional": a document
 * that has only them cannot win. Postings of the other terms are added up in an array of the
 * window; then the documents touched that can still win with the optional bounds are completed, the
 * greatest bound first: looked up one by one where they are few, else with all postings of the window.
 *
 * Invariants: a bound is never below the score that it bounds (a small factor covers rounding), so
 *            the answer is that of a full scan.
 * Threading: all state is in one scratch block of the call.
 */
#include "core/search/lexical_private.h"
#include "pool/alloc.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 4096, LOOKUP_COST = 12 /* postings that are added in the time of one look-up */ };
#define BOUND_SLACK 1.00001f
#define BLOCK_NONE UINT32_MAX

struct cursor {
	const struct lexical_term *term;
	float weight; /* idf x (k1 + 1) x occurrences in the query */
	float bound;  /* in this window; 0: no posting there */
	float tail_bound;
	uint32_t block;  /* the first block whose last document is not behind the position */
	uint32_t loaded; /* block that docs[] and tfs[] hold, or BLOCK_NONE */
	uint32_t count;  /* of them */
	uint32_t docs[LEXICAL_BLOCK], tfs[LEXICAL_BLOCK];
};

struct scratch {
	const struct lexical *lx;
	float norm_base, norm_length; /* k1 (1 - b), k1 b / mean length */
	unsigned terms;
	struct cursor *order[LEXICAL_QUERY_TERMS_MAX]; /* by bound, ascending */
	float bound_sum[LEXICAL_QUERY_TERMS_MAX + 1];  /* of order[0..i) */
	uint64_t touched[WINDOW / 64];
	float sums[WINDOW];
	struct cursor cursors[LEXICAL_QUERY_TERMS_MAX];
};

static float score_of(const struct scratch *s, const struct cursor *c, uint32_t tf, uint32_t length)
{
	return c->weight * (float)tf / ((float)tf + s->norm_base + s->norm_length * (float)length);
}

static float bound_of(const struct scratch *s, const struct cursor *c,
		      const struct lexical_block *block)
{
	float best = 0;

	for (uint32_t i = 0; i < LEXICAL_SHORTEST; i++) {
		uint32_t tf = i + 1 < LEXICAL_SHORTEST ? i + 1 : block->tf_max;
		if (block->shortest[i] == UINT16_MAX && tf > block->tf_max)
			continue;
		float score = score_of(s, c, tf, block->shortest[i]);
		if (block->tf_max == UINT16_MAX && i + 1 == LEXICAL_SHORTEST)
			score = c->weight;
		if (score > best)
			best = score;
	}
	return best * BOUND_SLACK;
}

static float tail_bound(const struct scratch *s, const struct cursor *c)
{
	struct lexical_block block;
	const struct lexical_posting *tail = lexical_tail(c->term);

	lexical_bound_reset(&block);
	for (uint32_t i = 0; i < c->term->tail_count; i++)
		lexical_bound_add(&block, tail[i].tf, s->lx->lengths[tail[i].doc]);
	return c->term->tail_count ? bound_of(s, c, &block) : 0;
}

static int has_block(const struct cursor *c, uint32_t b)
{
	return b < c->term->blocks_count || (b == c->term->blocks_count && c->term->tail_count);
}

static uint32_t block_base(const struct cursor *c, uint32_t b)
{
	return b ? c->term->blocks[b - 1].last + 1 : 0;
}

static uint32_t block_last(const struct cursor *c, uint32_t b)
{
	return b < c->term->blocks_count ? c->term->blocks[b].last
					 : lexical_tail(c->term)[c->term->tail_count - 1].doc;
}

static void block_load(const struct scratch *s, struct cursor *c, uint32_t b)
{
	if (c->loaded == b)
		return;
	c->loaded = b;
	if (b < c->term->blocks_count) {
		const struct lexical_block *block = &c->term->blocks[b];
		lexical_unpack(lexical_packed(s->lx, block->at), block->bits_doc, block->bits_tf,
			       block_base(c, b), c->docs, c->tfs);
		c->count = LEXICAL_BLOCK;
		return;
	}
	const struct lexical_posting *tail = lexical_tail(c->term);
	c->count = c->term->tail_count;
	for (uint32_t i = 0; i < c->count; i++) {
		c->docs[i] = tail[i].doc;
		c->tfs[i] = tail[i].tf;
	}
}

static float block_bound(const struct scratch *s, const struct cursor *c, uint32_t b)
{
	return b < c->term->blocks_count ? bound_of(s, c, &c->term->blocks[b]) : c->tail_bound;
}

/* Moves each cursor to the window, computes bounds, sorts. */
static void window_begin(struct scratch *s, uint32_t low, uint32_t high)
{
	for (unsigned i = 0; i < s->terms; i++) {
		struct cursor *c = &s->cursors[i];
		c->bound = 0;
		while (has_block(c, c->block) && block_last(c, c->block) < low)
			c->block++;
		for (uint32_t b = c->block; has_block(c, b) && block_base(c, b) < high; b++) {
			float bound = block_bound(s, c, b);
			if (bound > c->bound)
				c->bound = bound;
		}
		unsigned at = i;
		for (; at && s->order[at - 1]->bound > c->bound; at--)
			s->order[at] = s->order[at - 1];
		s->order[at] = c;
	}
	s->bound_sum[0] = 0;
	for (unsigned i = 0; i < s->terms; i++)
		s->bound_sum[i + 1] = s->bound_sum[i] + s->order[i]->bound;
}

/* Adds a block's postings of the window into sums. */
static void block_add(struct scratch *s, struct cursor *c, uint32_t b, uint32_t low, uint32_t high)
{
	uint32_t i = 0, end;

	block_load(s, c, b);
	end = c->count;
	while (i < end && c->docs[i] < low)
		i++;
	while (end > i && c->docs[end - 1] >= high)
		end--;
	for (; i < end; i++) {
		uint32_t doc = c->docs[i];
		s->sums[doc - low] += score_of(s, c, c->tfs[i], s->lx->lengths[doc]);
	}
}

/* Adds a needed term's postings of the window. A block whose documents cannot pass the bar even with
 * everybody else's bound is left out. */
static void window_add(struct scratch *s, struct cursor *c, uint32_t low, uint32_t high, float bar)
{
	float others = s->bound_sum[s->terms] - c->bound;

	for (uint32_t b = c->block; has_block(c, b) && block_base(c, b) < high; b++) {
		if ((block_bound(s, c, b) + others) * BOUND_SLACK < bar)
			continue;
		block_add(s, c, b, low, high);
		for (uint32_t i = 0; i < c->count; i++) {
			uint32_t slot = c->docs[i] - low; /* before the window: beyond its end */
			if (slot < high - low)
				s->touched[slot >> 6] |= 1ull << (slot & 63);
		}
	}
}

/* The term's score for one document of the window at hand, 0 if it is not there. */
static float lookup(const struct scratch *s, struct cursor *c, uint32_t doc)
{
	uint32_t b = c->loaded != BLOCK_NONE && c->loaded >= c->block && has_block(c, c->loaded) &&
				     block_base(c, c->loaded) <= doc
			     ? c->loaded
			     : c->block;

	while (has_block(c, b) && block_last(c, b) < doc)
		b++;
	if (!has_block(c, b) || block_base(c, b) > doc)
		return 0;
	block_load(s, c, b);
	uint32_t low = 0, high = c->count;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (c->docs[middle] < doc)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == c->count || c->docs[low] != doc)
		return 0;
	return score_of(s, c, c->tfs[low], s->lx->lengths[doc]);
}

static void offer(struct scratch *s, struct search_heap *heap, const struct search_filter *filter,
		  uint32_t doc, float score)
{
	const struct lexical *lx = s->lx;
	struct search_hit hit = {lx->rows.owners[doc], lx->rows.parts[doc], doc, score};

	if (score > search_heap_bar(heap) && !rows_is_dead(&lx->rows, doc) &&
	    search_filter_row(filter, doc) && search_filter_accept(filter, hit.owner, hit.part))
		search_heap_push(heap, &hit);
}

/* Leaves touched what can still win with the bounds of the terms below `i`: how many. */
static unsigned window_narrow(struct scratch *s, float bar, unsigned i)
{
	unsigned count = 0;

	for (unsigned w = 0; w < WINDOW / 64; w++)
		for (uint64_t bits = s->touched[w]; bits; bits &= bits - 1) {
			unsigned at = (unsigned)__builtin_ctzll(bits);
			int wins = (s->sums[w * 64 + at] + s->bound_sum[i]) * BOUND_SLACK >= bar;
			s->touched[w] &= ~((uint64_t)!wins << at);
			count += (unsigned)wins;
		}
	return count;
}

/* Adds an optional term's scores to the `count` documents that are touched: by looking each up, or by all
 * of its postings where that is less work. */
static void window_complete(struct scratch *s, struct cursor *c, uint32_t low, uint32_t high,
			    unsigned count)
{
	uint32_t b = c->block;

	while (has_block(c, b) && block_base(c, b) < high)
		b++;
	if ((uint64_t)count * LOOKUP_COST >= (uint64_t)(b - c->block) * LEXICAL_BLOCK) {
		for (b = c->block; has_block(c, b) && block_base(c, b) < high; b++)
			block_add(s, c, b, low, high);
		return;
	}
	for (unsigned w = 0; w < WINDOW / 64; w++)
		for (uint64_t bits = s->touched[w]; bits; bits &= bits - 1) {
			uint32_t slot = w * 64 + (unsigned)__builtin_ctzll(bits);
			s->sums[slot] += lookup(s, c, low + slot);
		}
}

static void window_finish(struct scratch *s, struct search_heap *heap,
			  const struct search_filter *filter, unsigned optional, uint32_t low)
{
	for (unsigned i = optional; i; i--) {
		unsigned count = window_narrow(s, search_heap_bar(heap), i);
		if (!count)
			break;
		window_complete(s, s->order[i - 1], low, low + WINDOW, count);
	}
	for (unsigned w = 0; w < WINDOW / 64; w++) {
		for (uint64_t bits = s->touched[w]; bits; bits &= bits - 1) {
			uint32_t slot = w * 64 + (unsigned)__builtin_ctzll(bits);
			if (s->sums[slot] > search_heap_bar(heap))
				offer(s, heap, filter, low + slot, s->sums[slot]);
		}
		s->touched[w] = 0;
	}
	memset(s->sums, 0, sizeof(s->sums));
}

/* Keeps the rarest terms when there are too many; *weakest is where the commonest one sits. */
static void cursor_add(struct scratch *s, const struct lexical_term *term, uint32_t count)
{
	double n = term->df;
	float weight =
		(float)(log1p((s->lx->rows.count - n + 0.5) / (n + 0.5)) * (BM25_K1 + 1) * count);
	struct cursor *c = NULL;

	if (s->terms < LEXICAL_QUERY_TERMS_MAX) {
		c = &s->cursors[s->terms++];
	} else {
		for (unsigned i = 0; i < s->terms; i++)
			if (!c || s->cursors[i].term->df > c->term->df)
				c = &s->cursors[i];
		if (c->term->df <= term->df)
			return;
	}
	c->term = term;
	c->weight = weight;
	c->block = 0;
	c->loaded = BLOCK_NONE;
	c->bound = 0;
}

static int scratch_new(const struct lexical *lx, const struct words_bag *query,
		       struct scratch **out)
{
	struct scratch *s = alloc_get(sizeof(*s));

	if (!s)
		return -ENOMEM;
	memset(s, 0, offsetof(struct scratch, cursors));
	s->lx = lx;
	float mean =
		lx->rows.count && lx->tokens ? (float)((double)lx->tokens / lx->rows.count) : 1;
	s->norm_base = BM25_K1 * (1 - BM25_B);
	s->norm_length = BM25_K1 * BM25_B / mean;
	for (uint32_t i = 0; i < query->count; i++) {
		const struct words_term *t = &query->terms[i];
		uint32_t number =
			lexical_find_term(lx, query->bytes + t->offset, t->length, t->hash);
		if (number && lx->terms[number - 1].df)
			cursor_add(s, &lx->terms[number - 1], t->count);
	}
	for (unsigned i = 0; i < s->terms; i++)
		s->cursors[i].tail_bound = tail_bound(s, &s->cursors[i]);
	*out = s;
	return 0;
}

int lexical_search(const struct lexical *lx, const struct words_bag *query,
		   const struct search_filter *filter, unsigned limit, struct search_hit *hits,
		   unsigned *count, int *partial)
{
	struct search_heap heap = {.hits = hits, .limit = limit};
	struct scratch *s;
	int rc = scratch_new(lx, query, &s);

	*count = 0;
	if (partial)
		*partial = 0;
	if (rc)
		return rc;
	for (uint32_t low = 0; s->terms && limit && low < lx->rows.count; low += WINDOW) {
		uint32_t high = low + WINDOW;
		float bar = search_heap_bar(&heap);
		unsigned optional = 0;

		if (search_deadline_passed(filter)) {
			if (partial)
				*partial = 1;
			break;
		}
		window_begin(s, low, high);
		while (optional < s->terms && s->bound_sum[optional + 1] * BOUND_SLACK < bar)
			optional++;
		if (optional == s->terms || s->bound_sum[s->terms] == 0)
			continue;
		for (unsigned i = s->terms; i-- > optional;)
			window_add(s, s->order[i], low, high, bar);
		window_finish(s, &heap, filter, optional, low);
	}
	search_heap_finish(&heap);
	*count = heap.count;
	alloc_free(s);
	return 0;
}

/* Any document's score, whatever was looked at before. */
static float doc_score(struct scratch *s, uint32_t doc)
{
	float score = 0;

	for (unsigned i = 0; i < s->terms; i++) {
		struct cursor *c = &s->cursors[i];
		uint32_t low = 0, high = c->term->blocks_count;
		if (c->block < high && block_base(c, c->block) <= doc &&
		    c->term->blocks[c->block].last >= doc)
			low = high = c->block; /* as the last one */
		while (low < high) {
			uint32_t middle = (low + high) / 2;
			if (c->term->blocks[middle].last < doc)
				low = middle + 1;
			else
				high = middle;
		}
		c->block = low;
		score += lookup(s, c, doc);
	}
	return score;
}

int lexical_score(const struct lexical *lx, const struct words_bag *query, struct search_hit *hits,
		  unsigned count)
{
	struct scratch *s;
	int rc = scratch_new(lx, query, &s);

	if (rc)
		return rc;
	for (unsigned h = 0; h < count; h++) {
		hits[h].row = rows_find(&lx->rows, hits[h].owner, hits[h].part);
		hits[h].score = hits[h].row == ROWS_NONE ? 0 : doc_score(s, hits[h].row);
	}
	alloc_free(s);
	return 0;
}

static void owner_score(struct scratch *s, struct search_hit *hit)
{
	const struct rows *rows = &s->lx->rows;

	hit->score = -INFINITY;
	hit->row = ROWS_NONE;
	for (uint32_t doc = rows_latest(rows, hit->owner); doc != ROWS_NONE;
	     doc = rows_before(rows, doc)) {
		float score = rows_is_dead(rows, doc) ? -INFINITY : doc_score(s, doc);
		if (score > hit->score)
			*hit = (struct search_hit){hit->owner, rows->parts[doc], doc, score};
	}
}

/* A hit by its document: neighbours are in the same blocks, which are unpacked once then. */
struct by_doc {
	uint32_t doc, hit;
};

static int compare_docs(const void *a, const void *b)
{
	const struct by_doc *x = a, *y = b;

	return (x->doc > y->doc) - (x->doc < y->doc);
}

int lexical_score_owners(const struct lexical *lx, const struct words_bag *query,
			 struct search_hit *hits, unsigned count)
{
	struct by_doc *order = alloc_get((count + 1) * sizeof(*order));
	struct scratch *s;
	int rc = order ? scratch_new(lx, query, &s) : -ENOMEM;

	if (rc) {
		alloc_free(order);
		return rc;
	}
	for (unsigned h = 0; h < count; h++)
		order[h] = (struct by_doc){rows_latest(&lx->rows, hits[h].owner), h};
	qsort(order, count, sizeof(*order), compare_docs);
	for (unsigned h = 0; h < count; h++)
		owner_score(s, &hits[order[h].hit]);
	alloc_free(order);
	alloc_free(s);
	return 0;
}
