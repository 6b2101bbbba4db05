/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the words of a stored text: counted for the index, and found again for an answer.
 * Invariants: a text is read in blocks that end between words, so that it is never in memory as a
 *            whole. A word longer than a block is cut there.
 * Threading: a tokenizer belongs to its caller while a function runs.
 * Failure:   -errno; -ENOMEM.
 */
#include "core/memory/memory_inside.h"
#include "pool/alloc.h"

#include <errno.h>
#include <string.h>

enum { BLOCK = 64 << 10, CUT_WITHIN = 4096 };

/* What a walk hands to its callback beside the token. */
struct walk {
	struct words *words;
	words_each_token *each;
	void *arg;
	uint64_t base; /* of the block; token offsets count from it */
};

static int is_between_words(unsigned char c)
{
	return c <= ' ' || c == ',' || c == ';' || c == '.' || c == ')' || c == '/';
}

/* Where to cut n bytes so that no word is divided, if that can be. */
static size_t block_cut(const char *block, size_t n)
{
	for (size_t at = n; at && n - at < CUT_WITHIN; at--)
		if (is_between_words((unsigned char)block[at - 1]))
			return at;
	return n;
}

/* From walk->base on, up to `length`. */
static int text_walk(struct memory *mem, uint64_t inode, uint64_t length, struct walk *walk)
{
	size_t size = length - walk->base < BLOCK ? length - walk->base : BLOCK, held = 0;
	char *block = alloc_get(size + 1);
	int rc = block ? 0 : -ENOMEM;

	while (rc == 0) {
		int n = memory_read(mem->engine, inode, length, walk->base + held, block + held,
				    size - held);
		if (n < 0)
			rc = n;
		if (n < 0 || held + n == 0)
			break;
		held += n;
		size_t cut = walk->base + held < length ? block_cut(block, held) : held;
		rc = words_each(walk->words, block, cut, walk->each, walk->arg);
		walk->base += cut;
		held -= cut;
		memmove(block, block + cut, held);
	}
	alloc_free(block);
	return rc;
}

int memory_words_count(struct memory *mem, struct words *words, uint64_t inode, uint64_t length,
		       struct words_bag *bag)
{
	struct walk walk = {.words = words, .each = words_bag_add, .arg = bag};

	words_bag_reset(bag);
	return text_walk(mem, inode, length, &walk);
}

/* ---- finding ---- */

struct found {
	struct walk walk;
	const struct memory_sought *sought;
	const struct memory_range *ranges;
	uint32_t count, first; /* ranges before `first` lie behind the token */
	uint8_t *seen;         /* count x terms of the query: how often, at most 255 */
	uint64_t *at;          /* of each range its first match, UINT64_MAX: none */
};

static int token_find(void *arg, const struct words_token *token)
{
	struct found *f = arg;
	const struct words_bag *bag = f->sought->bag;
	uint64_t offset = f->walk.base + token->offset;

	while (f->first < f->count && f->ranges[f->first].end <= offset)
		f->first++;
	uint32_t term = words_bag_find(bag, token->term, token->term_length);
	if (!term)
		return 0;
	for (uint32_t i = f->first; i < f->count && f->ranges[i].begin <= offset; i++) {
		uint8_t *seen = &f->seen[(size_t)i * bag->count + term - 1];
		*seen += *seen < UINT8_MAX;
		if (f->at[i] == UINT64_MAX)
			f->at[i] = offset;
	}
	return 0;
}

static float range_score(const struct found *f, uint32_t range)
{
	const struct memory_sought *sought = f->sought;
	float score = 0;

	for (uint32_t t = 0; t < sought->bag->count; t++) {
		float n = f->seen[(size_t)range * sought->bag->count + t];
		score += sought->weights[t] * n / (n + 1.2f); /* BM25's saturation */
	}
	return score;
}

int memory_words_find(struct memory *mem, struct words *words, uint64_t inode, uint64_t length,
		      const struct memory_sought *sought, const struct memory_range *ranges,
		      uint32_t count, struct memory_match *out)
{
	struct found f = {.walk = {.words = words,
				   .each = token_find,
				   .arg = &f,
				   .base = count ? ranges[0].begin : 0},
			  .sought = sought,
			  .ranges = ranges,
			  .count = count};
	float best = 0;
	int rc = -ENOMEM;

	*out = (struct memory_match){.at = UINT64_MAX};
	f.seen = alloc_zeroed((size_t)count * sought->bag->count + 1, 1);
	f.at = alloc_get(count * sizeof *f.at + 1);
	if (f.seen && f.at) {
		memset(f.at, 0xff, count * sizeof *f.at);
		rc = text_walk(mem, inode, length, &f.walk);
	}
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		float score = f.at[i] == UINT64_MAX ? 0 : range_score(&f, i);
		if (score <= best)
			continue;
		best = score;
		*out = (struct memory_match){.range = i, .at = f.at[i]};
	}
	alloc_free(f.seen);
	alloc_free(f.at);
	return rc;
}
