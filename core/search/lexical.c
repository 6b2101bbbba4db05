/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the lexical index: documents, terms, postings; putting, deleting, compacting.
 * Invariants: see lexical_private.h. A document is visible when its number is below rows.count and
 *            it is not dead; lexical_put reserves everything that may fail per term before it
 *            appends, and marks the document dead when a term fails half way.
 */
#include "core/search/lexical_private.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <math.h>
#include <string.h>

int lexical_new(struct lexical **out)
{
	*out = alloc_zeroed(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void lexical_free(struct lexical *lx)
{
	if (!lx)
		return;
	for (uint32_t i = 0; i < lx->terms_count; i++) {
		alloc_free(lx->terms[i].blocks);
		if (lx->terms[i].tail_capacity)
			alloc_free(lx->terms[i].tail.many);
	}
	for (uint32_t i = 0; i < lx->chunks_count; i++)
		alloc_free(lx->chunks[i]);
	alloc_free(lx->chunks);
	alloc_free(lx->terms);
	alloc_free(lx->term_slots);
	alloc_free(lx->text);
	alloc_free(lx->lengths);
	rows_free(&lx->rows);
	alloc_free(lx);
}

/* ---- documents ---- */

static int grow(void *array, size_t size, uint32_t capacity)
{
	void **at = array;
	void *grown = alloc_resize(*at, size * capacity);

	if (!grown)
		return -ENOMEM;
	*at = grown;
	return 0;
}

static int lengths_reserve(struct lexical *lx)
{
	if (lx->rows.count < lx->lengths_capacity)
		return 0;
	uint32_t capacity = lx->lengths_capacity ? lx->lengths_capacity * 2 : 64;
	if (grow(&lx->lengths, sizeof(*lx->lengths), capacity))
		return -ENOMEM;
	lx->lengths_capacity = capacity;
	return 0;
}

int lexical_append_doc(struct lexical *lx, uint64_t owner, uint32_t part, uint32_t length)
{
	int rc = lengths_reserve(lx);

	if (!rc)
		rc = rows_append(&lx->rows, owner, part);
	if (rc)
		return rc;
	lx->lengths[lx->rows.count - 1] = length;
	lx->tokens += length;
	return 0;
}

unsigned lexical_delete(struct lexical *lx, uint64_t owner)
{
	return rows_kill_owner(&lx->rows, owner, 1, 0);
}

unsigned lexical_delete_part(struct lexical *lx, uint64_t owner, uint32_t part)
{
	return rows_kill_owner(&lx->rows, owner, 0, part);
}

int lexical_has(const struct lexical *lx, uint64_t owner, uint32_t part)
{
	return rows_find(&lx->rows, owner, part) != ROWS_NONE;
}

int lexical_each(const struct lexical *lx, int (*each)(void *arg, uint64_t owner), void *arg)
{
	int rc = 0;

	for (uint32_t doc = 0; !rc && doc < lx->rows.count; doc++)
		if (!rows_is_dead(&lx->rows, doc))
			rc = each(arg, lx->rows.owners[doc]);
	return rc;
}

/* ---- terms ---- */

uint32_t lexical_find_term(const struct lexical *lx, const char *text, uint32_t length,
			   uint32_t hash)
{
	if (!lx->term_slots)
		return 0;
	for (uint32_t at = hash & lx->term_mask; lx->term_slots[at];
	     at = (at + 1) & lx->term_mask) {
		const struct lexical_term *t = &lx->terms[lx->term_slots[at] - 1];
		if (t->hash == hash && t->length == length &&
		    !memcmp(lx->text + t->text, text, length))
			return lx->term_slots[at];
	}
	return 0;
}

static int term_slots_reserve(struct lexical *lx)
{
	if (lx->term_slots && (lx->terms_count + 1) * 2 <= lx->term_mask)
		return 0;
	uint32_t size = lx->term_slots ? (lx->term_mask + 1) * 2 : 256;
	uint32_t *slots = alloc_zeroed(size, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < lx->terms_count; i++) {
		uint32_t at = lx->terms[i].hash & (size - 1);
		while (slots[at])
			at = (at + 1) & (size - 1);
		slots[at] = i + 1;
	}
	alloc_free(lx->term_slots);
	lx->term_slots = slots;
	lx->term_mask = size - 1;
	return 0;
}

static int terms_reserve(struct lexical *lx, uint32_t length)
{
	if (lx->terms_count == lx->terms_capacity) {
		uint32_t capacity = lx->terms_capacity ? lx->terms_capacity * 2 : 128;
		if (grow(&lx->terms, sizeof(*lx->terms), capacity))
			return -ENOMEM;
		lx->terms_capacity = capacity;
	}
	if (lx->text_used + length > lx->text_capacity) {
		if (lx->text_capacity >= 1u << 31)
			return -ENOSPC;
		uint32_t capacity = lx->text_capacity ? lx->text_capacity * 2 : 4096;
		if (grow(&lx->text, 1, capacity))
			return -ENOMEM;
		lx->text_capacity = capacity;
	}
	return term_slots_reserve(lx);
}

uint32_t lexical_make_term(struct lexical *lx, const char *text, uint32_t length, uint32_t hash)
{
	uint32_t found = lexical_find_term(lx, text, length, hash);

	if (found)
		return found;
	if (terms_reserve(lx, length))
		return 0;
	lx->terms[lx->terms_count] =
		(struct lexical_term){.hash = hash, .text = lx->text_used, .length = length};
	memcpy(lx->text + lx->text_used, text, length);
	lx->text_used += length;
	uint32_t at = hash & lx->term_mask;
	while (lx->term_slots[at])
		at = (at + 1) & lx->term_mask;
	return lx->term_slots[at] = ++lx->terms_count;
}

/* ---- postings ---- */

void lexical_bound_reset(struct lexical_block *block)
{
	block->tf_max = 0;
	for (unsigned i = 0; i < LEXICAL_SHORTEST; i++)
		block->shortest[i] = UINT16_MAX;
}

void lexical_bound_add(struct lexical_block *block, uint32_t tf, uint32_t length)
{
	unsigned i = tf < LEXICAL_SHORTEST ? tf - 1 : LEXICAL_SHORTEST - 1;
	uint16_t capped = (uint16_t)(length < UINT16_MAX ? length : UINT16_MAX);

	if (capped < block->shortest[i])
		block->shortest[i] = capped;
	if (tf > block->tf_max)
		block->tf_max = (uint16_t)(tf < UINT16_MAX ? tf : UINT16_MAX);
}

uint8_t *lexical_packed_reserve(struct lexical *lx, uint32_t *at)
{
	if (!lx->chunks_count || lx->chunk_used + LEXICAL_PACKED_MAX > LEXICAL_CHUNK) {
		if (lx->chunks_count == UINT32_MAX / LEXICAL_CHUNK)
			return NULL;
		if (lx->chunks_count == lx->chunks_capacity) {
			uint32_t capacity = lx->chunks_capacity ? lx->chunks_capacity * 2 : 16;
			if (grow(&lx->chunks, sizeof(*lx->chunks), capacity))
				return NULL;
			lx->chunks_capacity = capacity;
		}
		uint8_t *chunk = alloc_get(LEXICAL_CHUNK);
		if (!chunk)
			return NULL;
		lx->chunks[lx->chunks_count++] = chunk;
		lx->chunk_used = 0;
	}
	*at = (lx->chunks_count - 1) * LEXICAL_CHUNK + lx->chunk_used;
	return lx->chunks[lx->chunks_count - 1] + lx->chunk_used;
}

void lexical_packed_use(struct lexical *lx, uint32_t bytes)
{
	lx->chunk_used += bytes;
}

static unsigned bits_needed(uint32_t value)
{
	return value ? 32u - (unsigned)__builtin_clz(value) : 0;
}

/* Writes LEXICAL_BLOCK values of `bits` bits each; returns the bytes written. */
static uint32_t pack_bits(uint8_t *to, const uint32_t *values, unsigned bits)
{
	uint64_t word = 0;
	unsigned held = 0;
	uint8_t *at = to;

	for (unsigned i = 0; i < LEXICAL_BLOCK; i++) {
		word |= (uint64_t)values[i] << held;
		held += bits;
		while (held >= 8) {
			*at++ = (uint8_t)word;
			word >>= 8;
			held -= 8;
		}
	}
	CHECK(!held);
	return (uint32_t)(at - to);
}

static void unpack_bits(const uint8_t *from, uint32_t *values, unsigned bits)
{
	uint64_t mask = (1ull << bits) - 1;

	for (unsigned i = 0; i < LEXICAL_BLOCK; i++) {
		unsigned bit = i * bits;
		uint64_t word;
		memcpy(&word, from + (bit >> 3), sizeof(word)); /* the slack behind makes it safe */
		values[i] = (uint32_t)(word >> (bit & 7) & mask);
	}
}

void lexical_unpack(const uint8_t *packed, unsigned bits_doc, unsigned bits_tf, uint32_t base,
		    uint32_t docs[LEXICAL_BLOCK], uint32_t tfs[LEXICAL_BLOCK])
{
	unpack_bits(packed, docs, bits_doc);
	unpack_bits(packed + LEXICAL_BLOCK / 8 * bits_doc, tfs, bits_tf);
	for (unsigned i = 0; i < LEXICAL_BLOCK; i++) {
		docs[i] += base;
		base = docs[i] + 1;
		tfs[i]++;
	}
}

int lexical_append_block(struct lexical *lx, struct lexical_term *term,
			 const struct lexical_block *block)
{
	if (term->blocks_count == term->blocks_capacity) {
		uint32_t capacity = term->blocks_capacity ? term->blocks_capacity * 2 : 1;
		if (grow(&term->blocks, sizeof(*term->blocks), capacity))
			return -ENOMEM;
		lx->block_bytes += (capacity - term->blocks_capacity) * sizeof(*term->blocks);
		term->blocks_capacity = capacity;
	}
	term->blocks[term->blocks_count++] = *block;
	return 0;
}

/* Packs the full tail into a block. */
static int tail_pack(struct lexical *lx, struct lexical_term *term)
{
	const struct lexical_posting *tail = term->tail.many;
	uint32_t base = term->blocks_count ? term->blocks[term->blocks_count - 1].last + 1 : 0;
	uint32_t docs[LEXICAL_BLOCK], tfs[LEXICAL_BLOCK], doc_or = 0, tf_or = 0;
	struct lexical_block block;

	lexical_bound_reset(&block);
	for (unsigned i = 0; i < LEXICAL_BLOCK; i++) {
		docs[i] = tail[i].doc - base;
		base = tail[i].doc + 1;
		tfs[i] = tail[i].tf - 1;
		doc_or |= docs[i];
		tf_or |= tfs[i];
		lexical_bound_add(&block, tail[i].tf, lx->lengths[tail[i].doc]);
	}
	block.last = tail[LEXICAL_BLOCK - 1].doc;
	block.bits_doc = (uint8_t)bits_needed(doc_or);
	block.bits_tf = (uint8_t)bits_needed(tf_or);
	uint8_t *packed = lexical_packed_reserve(lx, &block.at);
	if (!packed || lexical_append_block(lx, term, &block))
		return -ENOMEM;
	uint32_t bytes = pack_bits(packed, docs, block.bits_doc);
	bytes += pack_bits(packed + bytes, tfs, block.bits_tf);
	lexical_packed_use(lx, bytes);
	term->tail_count = 0;
	return 0;
}

/* Makes room for one more posting in the tail. */
static int tail_reserve(struct lexical *lx, struct lexical_term *term)
{
	if (term->tail_count == LEXICAL_BLOCK)
		return tail_pack(lx, term);
	if (term->tail_count < (term->tail_capacity ? term->tail_capacity : 1))
		return 0;
	uint16_t capacity = (uint16_t)(term->tail_capacity ? term->tail_capacity * 2 : 4);
	struct lexical_posting *many = alloc_resize(term->tail_capacity ? term->tail.many : NULL,
						    capacity * sizeof(*many));
	if (!many)
		return -ENOMEM;
	if (!term->tail_capacity)
		many[0] = term->tail.one;
	lx->tail_bytes += (uint64_t)(capacity - term->tail_capacity) * sizeof(*many);
	term->tail.many = many;
	term->tail_capacity = capacity;
	return 0;
}

int lexical_append_posting(struct lexical *lx, struct lexical_term *term, uint32_t doc, uint32_t tf)
{
	int rc = tail_reserve(lx, term);

	if (rc)
		return rc;
	struct lexical_posting *tail = term->tail_capacity ? term->tail.many : &term->tail.one;
	tail[term->tail_count++] = (struct lexical_posting){doc, tf};
	term->df++;
	lx->postings++;
	return 0;
}

int lexical_put(struct lexical *lx, uint64_t owner, uint32_t part, const struct words_bag *bag)
{
	rows_kill_owner(&lx->rows, owner, 0, part);
	int rc = lexical_append_doc(lx, owner, part, bag->tokens);
	if (rc)
		return rc;
	uint32_t doc = lx->rows.count - 1;
	for (uint32_t i = 0; !rc && i < bag->count; i++) {
		const struct words_term *t = &bag->terms[i];
		uint32_t number = lexical_make_term(lx, bag->bytes + t->offset, t->length, t->hash);
		rc = number ? lexical_append_posting(lx, &lx->terms[number - 1], doc, t->count)
			    : -ENOMEM;
	}
	if (rc)
		rows_kill(&lx->rows, doc);
	return rc;
}

/* ---- statistics and compaction ---- */

float lexical_idf(const struct lexical *lx, const char *term, size_t length)
{
	uint32_t number = lexical_find_term(lx, term, (uint32_t)length, words_hash(term, length));

	if (!number)
		return 0;
	double n = lx->terms[number - 1].df;
	return (float)log1p((lx->rows.count - n + 0.5) / (n + 0.5));
}

void lexical_background(const struct lexical *lx, const struct words_bag *query, float *mean,
			float *deviation)
{
	double sum = 0, variance = 0;

	for (uint32_t i = 0; i < query->count; i++) {
		const struct words_term *t = &query->terms[i];
		uint32_t number =
			lexical_find_term(lx, query->bytes + t->offset, t->length, t->hash);
		if (!number)
			continue;
		double n = lx->terms[number - 1].df, share = n / lx->rows.count;
		double idf = log1p((lx->rows.count - n + 0.5) / (n + 0.5)) * t->count;
		sum += idf * share;
		variance += idf * idf * share * (1 - share);
	}
	*mean = (float)sum;
	*deviation = (float)sqrt(variance);
}

void lexical_get_stats(const struct lexical *lx, struct lexical_stats *out)
{
	*out = (struct lexical_stats){
		.passages = lx->rows.count - lx->rows.dead_count,
		.deleted = lx->rows.dead_count,
		.terms = lx->terms_count,
		.postings = lx->postings,
		.tokens = lx->tokens,
		.bytes = sizeof(*lx) + rows_bytes(&lx->rows) + lx->lengths_capacity * 4ull +
			 (lx->term_slots ? (lx->term_mask + 1ull) * 4 : 0) +
			 lx->terms_capacity * sizeof(*lx->terms) + lx->text_capacity +
			 (uint64_t)lx->chunks_count * LEXICAL_CHUNK + lx->tail_bytes +
			 lx->block_bytes,
	};
}

/* Copies a term's living postings; `moved` maps old document numbers to 1 + new ones. */
static int term_copy(const struct lexical *from, const struct lexical_term *term,
		     const uint32_t *moved, struct lexical *to)
{
	uint32_t docs[LEXICAL_BLOCK], tfs[LEXICAL_BLOCK], number = 0;
	const struct lexical_posting *tail = lexical_tail(term);

	for (uint32_t b = 0; b <= term->blocks_count; b++) {
		uint32_t count = LEXICAL_BLOCK;
		if (b < term->blocks_count) {
			const struct lexical_block *block = &term->blocks[b];
			lexical_unpack(lexical_packed(from, block->at), block->bits_doc,
				       block->bits_tf, b ? term->blocks[b - 1].last + 1 : 0, docs,
				       tfs);
		} else {
			count = term->tail_count;
			for (uint32_t i = 0; i < count; i++) {
				docs[i] = tail[i].doc;
				tfs[i] = tail[i].tf;
			}
		}
		for (uint32_t i = 0; i < count; i++) {
			uint32_t doc = moved[docs[i]];
			if (!doc)
				continue;
			if (!number)
				number = lexical_make_term(to, from->text + term->text,
							   term->length, term->hash);
			if (!number ||
			    lexical_append_posting(to, &to->terms[number - 1], doc - 1, tfs[i]))
				return -ENOMEM;
		}
	}
	return 0;
}

int lexical_compact(const struct lexical *lx, struct lexical **out)
{
	struct lexical *to = NULL;
	uint32_t *moved = alloc_zeroed(lx->rows.count + 1, sizeof(*moved));
	int rc = moved ? lexical_new(&to) : -ENOMEM;

	for (uint32_t doc = 0; !rc && doc < lx->rows.count; doc++) {
		if (rows_is_dead(&lx->rows, doc))
			continue;
		rc = lexical_append_doc(to, lx->rows.owners[doc], lx->rows.parts[doc],
					lx->lengths[doc]);
		if (!rc)
			moved[doc] = to->rows.count;
	}
	for (uint32_t i = 0; !rc && i < lx->terms_count; i++)
		rc = term_copy(lx, &lx->terms[i], moved, to);
	alloc_free(moved);
	if (rc)
		lexical_free(to);
	else
		*out = to;
	return rc;
}
