/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the lexical index inside, shared by lexical.c (change), lexical_search.c (ask) and
 *            lexical_file.c (keep).
 * Invariants: documents are numbered in the order in which they came. A term's postings are its
 *            full blocks, then its tail, document numbers ascending throughout. A block's
 *            `shortest[i]` is the least length of its documents with term frequency i + 1 (i = 3:
 *            four or more); 65535 also stands for everything longer. So its score is bounded
 *            whatever the mean length becomes.
 */
#ifndef MNEME_CORE_SEARCH_LEXICAL_PRIVATE_H
#define MNEME_CORE_SEARCH_LEXICAL_PRIVATE_H

#include "core/search/lexical.h"
#include "core/search/rows.h"

enum {
	LEXICAL_BLOCK = 128,                         /* postings of a block */
	LEXICAL_CHUNK = 1 << 20,                     /* bytes of a chunk of packed postings */
	LEXICAL_PACKED_MAX = LEXICAL_BLOCK * 8 + 16, /* bytes of one packed block, and slack */
	LEXICAL_SHORTEST = 4,
};

struct lexical_posting {
	uint32_t doc, tf;
};

struct lexical_block {
	uint32_t last; /* document number of its last posting */
	uint32_t at;   /* of its packed bytes: chunk, offset */
	uint8_t bits_doc, bits_tf;
	uint16_t tf_max;                     /* 65535: that or more */
	uint16_t shortest[LEXICAL_SHORTEST]; /* 65535 with no such document */
};

struct lexical_term {
	uint32_t hash;
	uint32_t text; /* offset of its characters */
	uint32_t length;
	uint32_t df; /* postings */
	struct lexical_block *blocks;
	uint32_t blocks_count, blocks_capacity;
	union {
		struct lexical_posting one; /* tail_capacity 0 */
		struct lexical_posting *many;
	} tail;
	uint16_t tail_count, tail_capacity;
};

struct lexical {
	/* documents, by number */
	struct rows rows;
	uint32_t *lengths; /* words */
	uint32_t lengths_capacity;
	uint64_t tokens; /* sum of lengths, dead ones included */
	/* terms */
	struct lexical_term *terms;
	uint32_t terms_count, terms_capacity;
	uint32_t *term_slots; /* 1 + term; open addressing */
	uint32_t term_mask;
	char *text;
	uint32_t text_used, text_capacity;
	/* packed postings */
	uint8_t **chunks;
	uint32_t chunks_count, chunks_capacity, chunk_used;
	uint64_t postings, tail_bytes, block_bytes;
};

#define BM25_K1 1.2f
#define BM25_B 0.75f

/* 1 + the term's number, or 0. */
uint32_t lexical_find_term(const struct lexical *lx, const char *text, uint32_t length,
			   uint32_t hash);
/* The same, made if it is not there; 0: no memory. */
uint32_t lexical_make_term(struct lexical *lx, const char *text, uint32_t length, uint32_t hash);
/* Appends a document; its number is lx->rows.count - 1. */
int lexical_append_doc(struct lexical *lx, uint64_t owner, uint32_t part, uint32_t length);
/* Appends a posting: doc is above all of the term's. */
int lexical_append_posting(struct lexical *lx, struct lexical_term *term, uint32_t doc,
			   uint32_t tf);
/* Room for one packed block; *at names it. */
uint8_t *lexical_packed_reserve(struct lexical *lx, uint32_t *at);
void lexical_packed_use(struct lexical *lx, uint32_t bytes);
int lexical_append_block(struct lexical *lx, struct lexical_term *term,
			 const struct lexical_block *block);

static inline const uint8_t *lexical_packed(const struct lexical *lx, uint32_t at)
{
	return lx->chunks[at / LEXICAL_CHUNK] + at % LEXICAL_CHUNK;
}

static inline uint32_t lexical_packed_bytes(const struct lexical_block *block)
{
	return (LEXICAL_BLOCK * (block->bits_doc + block->bits_tf)) / 8;
}

static inline const struct lexical_posting *lexical_tail(const struct lexical_term *term)
{
	return term->tail_capacity ? term->tail.many : &term->tail.one;
}

/* Unpacks one block; `base` is 1 + the last document before it (0 for a term's first block). */
void lexical_unpack(const uint8_t *packed, unsigned bits_doc, unsigned bits_tf, uint32_t base,
		    uint32_t docs[LEXICAL_BLOCK], uint32_t tfs[LEXICAL_BLOCK]);
void lexical_bound_reset(struct lexical_block *block);
void lexical_bound_add(struct lexical_block *block, uint32_t tf, uint32_t length);

#endif
