/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a lexical index in one file, in the envelope of file.h: magic "MNEMLEX1", version 1.
 *
 *   body: u32 documents D, u32 terms T, u64 words of all documents
 *         u64 owner x D, u32 part x D, u32 length x D, u64 dead x ceil(D / 64)
 *         T times: u8 length of the term, its bytes, u32 blocks B, u8 postings of the tail (0..128)
 *                  B times: u32 last document, u8 bits of a document delta, u8 bits of a frequency,
 *                           16 x bits_doc bytes: deltas - 1, 16 x bits_tf bytes: frequencies - 1
 *                  tail: u32 document, u32 frequency each
 *
 * Invariants: loading accepts only what putting could have made: ascending document numbers, known
 *            documents, frequencies of at least 1, lengths that add up. Bounds are made anew.
 */
#include "core/search/file.h"
#include "core/search/lexical_private.h"
#include "pool/alloc.h"

#include <errno.h>
#include <string.h>

static const char lexical_magic[8] = {'M', 'N', 'E', 'M', 'L', 'E', 'X', '1'};
enum { LEXICAL_FORMAT = 1, BLOCK_BITS_MAX = 32 };

static void term_write(struct search_writer *w, const struct lexical *lx,
		       const struct lexical_term *term)
{
	uint8_t length = (uint8_t)term->length, tail_count = (uint8_t)term->tail_count;

	search_writer_put(w, &length, 1);
	search_writer_put(w, lx->text + term->text, length);
	search_writer_u32(w, term->blocks_count);
	search_writer_put(w, &tail_count, 1);
	for (uint32_t b = 0; b < term->blocks_count; b++) {
		const struct lexical_block *block = &term->blocks[b];
		search_writer_u32(w, block->last);
		search_writer_put(w, &block->bits_doc, 1);
		search_writer_put(w, &block->bits_tf, 1);
		search_writer_put(w, lexical_packed(lx, block->at), lexical_packed_bytes(block));
	}
	search_writer_put(w, lexical_tail(term), term->tail_count * sizeof(struct lexical_posting));
}

int lexical_save(const struct lexical *lx, struct io *io, const char *name, uint64_t position)
{
	struct search_writer w;
	int rc = search_writer_open(&w, io, name);

	if (rc)
		return rc;
	search_writer_u32(&w, lx->rows.count);
	search_writer_u32(&w, lx->terms_count);
	search_writer_u64(&w, lx->tokens);
	search_writer_put(&w, lx->rows.owners, lx->rows.count * sizeof(*lx->rows.owners));
	search_writer_put(&w, lx->rows.parts, lx->rows.count * sizeof(*lx->rows.parts));
	search_writer_put(&w, lx->lengths, lx->rows.count * sizeof(*lx->lengths));
	search_writer_put(&w, lx->rows.dead, (lx->rows.count + 63) / 64 * sizeof(*lx->rows.dead));
	for (uint32_t i = 0; i < lx->terms_count; i++)
		term_write(&w, lx, &lx->terms[i]);
	return search_writer_close(&w, lexical_magic, LEXICAL_FORMAT, position, 0);
}

static int docs_read(struct lexical *lx, struct search_reader *r, uint32_t docs, uint64_t tokens)
{
	const uint8_t *owners = search_reader_take(r, docs * 8ull);
	const uint8_t *parts = search_reader_take(r, docs * 4ull);
	const uint8_t *lengths = search_reader_take(r, docs * 4ull);
	const uint8_t *dead = search_reader_take(r, (docs + 63ull) / 64 * 8);

	if (r->overrun)
		return -EUCLEAN;
	for (uint32_t doc = 0; doc < docs; doc++) {
		uint64_t owner;
		uint32_t part, length;
		memcpy(&owner, owners + doc * 8ull, sizeof(owner));
		memcpy(&part, parts + doc * 4ull, sizeof(part));
		memcpy(&length, lengths + doc * 4ull, sizeof(length));
		int rc = lexical_append_doc(lx, owner, part, length);
		if (rc)
			return rc;
		if (dead[doc >> 3] >> (doc & 7) & 1)
			rows_kill(&lx->rows, doc);
	}
	return lx->tokens == tokens ? 0 : -EUCLEAN;
}

static int block_read(struct lexical *lx, struct lexical_term *term, struct search_reader *r)
{
	uint32_t base = term->blocks_count ? term->blocks[term->blocks_count - 1].last + 1 : 0;
	uint32_t docs[LEXICAL_BLOCK], tfs[LEXICAL_BLOCK];
	struct lexical_block block = {.last = search_reader_u32(r)};
	const uint8_t *bits = search_reader_take(r, 2);

	if (!bits || bits[0] > BLOCK_BITS_MAX || bits[1] > BLOCK_BITS_MAX)
		return -EUCLEAN;
	block.bits_doc = bits[0];
	block.bits_tf = bits[1];
	uint32_t bytes = lexical_packed_bytes(&block);
	const uint8_t *from = search_reader_take(r, bytes);
	uint8_t *packed = lexical_packed_reserve(lx, &block.at);
	if (!from || !packed)
		return from ? -ENOMEM : -EUCLEAN;
	memcpy(packed, from, bytes);
	memset(packed + bytes, 0, 8);
	lexical_unpack(packed, block.bits_doc, block.bits_tf, base, docs, tfs);
	lexical_bound_reset(&block);
	for (unsigned i = 0; i < LEXICAL_BLOCK; i++) {
		if (docs[i] < base || docs[i] >= lx->rows.count || !tfs[i])
			return -EUCLEAN;
		base = docs[i] + 1;
		lexical_bound_add(&block, tfs[i], lx->lengths[docs[i]]);
	}
	if (docs[LEXICAL_BLOCK - 1] != block.last)
		return -EUCLEAN;
	lexical_packed_use(lx, bytes);
	term->df += LEXICAL_BLOCK;
	lx->postings += LEXICAL_BLOCK;
	return lexical_append_block(lx, term, &block);
}

static int term_read(struct lexical *lx, struct search_reader *r)
{
	const uint8_t *length = search_reader_take(r, 1);
	const char *text = length ? search_reader_take(r, *length) : NULL;
	uint32_t blocks = search_reader_u32(r);
	const uint8_t *tail_count = search_reader_take(r, 1);
	int rc = 0;

	if (!text || !*length || !tail_count || *tail_count > LEXICAL_BLOCK)
		return -EUCLEAN;
	uint32_t hash = words_hash(text, *length);
	if (lexical_find_term(lx, text, *length, hash))
		return -EUCLEAN;
	uint32_t number = lexical_make_term(lx, text, *length, hash);
	if (!number)
		return -ENOMEM;
	struct lexical_term *term = &lx->terms[number - 1];
	for (uint32_t b = 0; !rc && b < blocks; b++)
		rc = block_read(lx, term, r);
	uint32_t next = !rc && blocks ? term->blocks[blocks - 1].last + 1 : 0;
	for (unsigned i = 0; !rc && i < *tail_count; i++) {
		uint32_t doc = search_reader_u32(r), tf = search_reader_u32(r);
		if (r->overrun || doc < next || doc >= lx->rows.count || !tf)
			return -EUCLEAN;
		next = doc + 1;
		rc = lexical_append_posting(lx, term, doc, tf);
	}
	return rc;
}

static int body_read(struct search_reader *r, struct lexical **out)
{
	struct lexical *lx;
	uint32_t docs = search_reader_u32(r), terms = search_reader_u32(r);
	uint64_t tokens = search_reader_u64(r);
	int rc = r->overrun ? -EUCLEAN : lexical_new(&lx);

	if (rc)
		return rc;
	rc = docs_read(lx, r, docs, tokens);
	for (uint32_t i = 0; !rc && i < terms; i++)
		rc = term_read(lx, r);
	if (!rc && r->at != r->length)
		rc = -EUCLEAN;
	if (rc)
		lexical_free(lx);
	else
		*out = lx;
	return rc;
}

int lexical_load(struct io *io, const char *name, struct lexical **out, uint64_t *position)
{
	struct search_reader r;
	int rc = search_reader_open(&r, io, name, lexical_magic, LEXICAL_FORMAT, 0);

	if (rc)
		return rc;
	*position = r.position;
	rc = body_read(&r, out);
	search_reader_close(&r);
	return rc;
}

int lexical_parse(const void *body, size_t length, struct lexical **out)
{
	struct search_reader r;

	search_reader_over(&r, body, length);
	return body_read(&r, out);
}
