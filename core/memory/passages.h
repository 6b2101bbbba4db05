/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   cuts a text into passages that an encoder can take whole: along sentences and
 *            structure (paragraphs, headings, list items, code blocks), about `target` tokens
 *            each, never more than `most`, with overlap where a passage ends only because it is
 *            full.
 * Invariants: passages ascend by begin and by end; each is a byte range of the source, and all that
 *            is not white space lies in at least one. Memory is bounded (PASSAGE_BUFFER) whatever
 *            the text's length: it is fed in blocks of any size, and the result does not depend on
 *            them.
 * Threading: a splitter belongs to one thread; after passages_new() it allocates nothing.
 * Failure:   -EILSEQ when the bytes turn out not to be text (passages_reason() says why); what the
 *            sink returns, if not 0.
 */
#ifndef MNEME_CORE_MEMORY_PASSAGES_H
#define MNEME_CORE_MEMORY_PASSAGES_H

#include <stddef.h>
#include <stdint.h>

enum {
	PASSAGE_HASH = 16,
	PASSAGE_BYTES_MAX = 4096,  /* of a passage's range */
	PASSAGE_CONTEXT_MAX = 160, /* bytes of the heading above */
	PASSAGE_TEXT_MAX = PASSAGE_BYTES_MAX + PASSAGE_CONTEXT_MAX + 2,
	PASSAGE_BUFFER = 64 << 10,
};

struct passage {
	uint64_t begin; /* source bytes [begin, end) */
	uint64_t end;
	const char *text; /* those bytes; valid during the call */
	size_t len;
	const char *context; /* text of the heading that the passage stands under, "" for none */
	size_t context_len;
	uint32_t tokens;            /* of context and text */
	uint32_t number;            /* 0, 1, ... in this text */
	uint8_t hash[PASSAGE_HASH]; /* of context and text: the same hash needs no new embedding */
};

/* Takes a passage; not 0 stops the cutting with that value. */
typedef int (*passage_sink)(void *context, const struct passage *p);
/* Tokens of a text, as the encoder will count them. */
typedef uint32_t (*passage_counter)(void *context, const char *text, size_t len);

struct passage_settings {
	passage_counter count; /* NULL: passage_estimate() */
	void *count_context;
	uint32_t target;  /* 0: 100 */
	uint32_t most;    /* 0: 128 */
	uint32_t overlap; /* tokens; 0: 20; UINT32_MAX: none */
	int no_context;   /* headings above are not put in front of passages */
};

struct passage_splitter;

/* A splitter of the caller's (NULL: out of memory), about 75 KiB, ready for a text. */
struct passage_splitter *passages_new(const struct passage_settings *settings, passage_sink sink,
				      void *sink_context);
void passages_free(struct passage_splitter *s);
/* Begins another text. */
void passages_reset(struct passage_splitter *s, passage_sink sink, void *sink_context);
/* The next `len` bytes of the text. */
int passages_feed(struct passage_splitter *s, const char *data, size_t len);
/* The end of the text: the last passages come out. */
int passages_finish(struct passage_splitter *s);
/* Why passages_feed() answered -EILSEQ: a constant sentence. */
const char *passages_reason(const struct passage_splitter *s);

/* Writes what is to be embedded, context and text, to out[PASSAGE_TEXT_MAX]; returns its length. */
size_t passage_compose(const struct passage *p, char *out);
/* Tokens without a vocabulary: a rough count for Latin scripts. */
uint32_t passage_estimate(void *context, const char *text, size_t len);

#endif
