/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   passages of a text, see passages.h. Bytes become lines, lines become units (a
 *            sentence, an item, a heading, a line of code), units are gathered into passages.
 *
 *     buffer   |..kept for the passage..|..open unit..|..not yet a line..|
 *              base                                                      base + used
 *
 * Invariants: offsets are of the source; the buffer holds every byte from the first gathered unit
 *            on. Units ascend and do not overlap; gathered ones have at most `most` tokens and
 *            PASSAGE_BYTES_MAX bytes in all. A unit is at most UNIT_BYTES, an open one is cut
 *            there.
 */
#include "core/memory/passages.h"

#include "core/memory/lines.h"
#include "core/memory/text.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <string.h>

enum {
	UNIT_BYTES = 600,
	UNITS_MAX = 160,
	LINE_BYTES = 8192,   /* a longer line is taken in pieces */
	SECTION_MIN = 24,    /* a heading begins a passage if the one before has as many tokens */
	SNIFF_BYTES = 16384, /* what the judgement whether it is text rests on, beside zero bytes */
	TARGET = 100,
	MOST = 128,
	OVERLAP = 20,
};

struct unit {
	uint64_t begin;
	uint64_t end;
	uint32_t tokens;
	int heading;
};

struct passage_splitter {
	struct passage_settings settings;
	passage_sink sink;
	void *sink_context;
	const char *reason;
	int rc; /* first refusal; nothing goes on after it */
	uint32_t number;

	uint64_t base; /* source offset of buffer[0] */
	uint32_t used;
	uint64_t line; /* source offset of the first byte that was not taken as a line */
	int sniffed;
	int line_goes_on; /* the line before was cut, not ended */

	uint64_t open_begin; /* the sentence that is not over yet: [open_begin, open_end) */
	uint64_t open_end;
	char fence; /* inside a code block: its character */
	uint32_t fence_len;

	struct unit unit[UNITS_MAX];
	uint32_t units;
	uint32_t tokens;  /* of the gathered units */
	uint32_t carried; /* of the gathered units, those that the passage before has too */

	char context[PASSAGE_CONTEXT_MAX]; /* the heading in force */
	uint32_t context_len;
	uint32_t context_tokens;
	uint64_t context_end; /* a passage that begins before this holds the heading itself */
	char buffer[PASSAGE_BUFFER];
};

static const char *bytes_at(const struct passage_splitter *s, uint64_t offset)
{
	DCHECK(offset >= s->base && offset <= s->base + s->used);
	return s->buffer + (offset - s->base);
}

static uint32_t count_tokens(const struct passage_splitter *s, uint64_t begin, uint64_t end)
{
	return s->settings.count(s->settings.count_context, bytes_at(s, begin), end - begin);
}

uint32_t passage_estimate(void *context, const char *text, size_t len)
{
	uint32_t tokens = 0, run = 0;

	for (size_t i = 0; i < len; i++) {
		const uint8_t c = (uint8_t)text[i];

		if (c >= 0x80 || text_is_word(c)) {
			tokens += run % 6 == 0;
			run++;
		} else {
			tokens += c > ' ';
			run = 0;
		}
	}
	return tokens;
}

size_t passage_compose(const struct passage *p, char *out)
{
	size_t at = 0;

	if (p->context_len) {
		memcpy(out, p->context, p->context_len);
		at = p->context_len;
		out[at++] = ':';
		out[at++] = '\n';
	}
	memcpy(out + at, p->text, p->len);
	return at + p->len;
}

static void hash_passage(struct passage *p)
{
	const uint8_t context_len = (uint8_t)p->context_len;
	struct sha256_ctx sha;

	sha256_init(&sha);
	sha256_update(&sha, 1, &context_len);
	sha256_update(&sha, p->context_len, (const uint8_t *)p->context);
	sha256_update(&sha, p->len, (const uint8_t *)p->text);
	sha256_digest(&sha, PASSAGE_HASH, p->hash);
}

/* Tokens that the context costs a passage beginning at `begin`; 0 where it gets none. */
static uint32_t context_cost(const struct passage_splitter *s, uint64_t begin)
{
	return begin < s->context_end ? 0 : s->context_tokens;
}

/* Hands the gathered units out as a passage. */
static void emit(struct passage_splitter *s)
{
	const uint64_t begin = s->unit[0].begin, end = s->unit[s->units - 1].end;
	const uint32_t cost = context_cost(s, begin);
	struct passage p = {
		.begin = begin,
		.end = end,
		.text = bytes_at(s, begin),
		.len = end - begin,
		.context = s->context,
		.context_len = cost ? s->context_len : 0,
		.tokens = s->tokens + cost,
		.number = s->number++,
	};

	hash_passage(&p);
	if (!s->rc)
		s->rc = s->sink(s->sink_context, &p);
}

/* Ends the passage at a boundary of the text's structure: nothing is carried over. */
static void break_here(struct passage_splitter *s)
{
	if (s->units > s->carried)
		emit(s);
	s->units = s->carried = s->tokens = 0;
}

/* The last unit's tail of at most `budget` tokens, beginning at a word; no tokens: there is none.
 */
static struct unit tail_of(const struct passage_splitter *s, struct unit u, uint32_t budget)
{
	const char *text = bytes_at(s, u.begin);
	const uint64_t len = u.end - u.begin;
	uint64_t at = len - len * budget / u.tokens;

	while (at < len && text[at] != ' ' && text[at] != '\n' && text[at] != '\t')
		at++;
	while (at < len && (uint8_t)text[at] <= ' ')
		at++;
	u.begin += at;
	u.tokens = at < len ? count_tokens(s, u.begin, u.end) : 0;
	if (u.tokens > budget)
		u.tokens = 0;
	return u;
}

/* Ends the passage because it is full: its last units, up to the overlap, begin the next one. */
static void break_full(struct passage_splitter *s)
{
	const uint32_t budget = s->settings.overlap;
	uint32_t first = s->units, tokens = 0;

	emit(s);
	while (first > 0 && tokens + s->unit[first - 1].tokens <= budget)
		tokens += s->unit[--first].tokens;
	if (first == s->units && budget) {
		const struct unit tail = tail_of(s, s->unit[first - 1], budget);

		if (tail.tokens) {
			s->unit[--first] = tail;
			tokens = tail.tokens;
		}
	}
	if (first == 0) { /* everything fits the overlap: repeating it all would be no passage */
		first = s->units;
		tokens = 0;
	}
	s->units -= first;
	memmove(s->unit, s->unit + first, s->units * sizeof(s->unit[0]));
	s->carried = s->units;
	s->tokens = tokens;
}

static int fits(const struct passage_splitter *s, const struct unit *u)
{
	const uint64_t begin = s->units ? s->unit[0].begin : u->begin;

	return s->units < UNITS_MAX && u->end - begin <= PASSAGE_BYTES_MAX &&
	       s->tokens + u->tokens + context_cost(s, begin) <= s->settings.most;
}

static void gather(struct passage_splitter *s, struct unit u)
{
	const uint64_t begin = s->units ? s->unit[0].begin : u.begin;

	if (s->units > s->carried &&
	    (!fits(s, &u) || s->tokens + context_cost(s, begin) >= s->settings.target))
		break_full(s);
	if (!fits(s, &u)) /* even with what was carried alone */
		s->units = s->carried = s->tokens = 0;
	s->unit[s->units++] = u;
	s->tokens += u.tokens;
}

/* Takes [begin, end) as a unit, without the white space around it; cuts what has too many tokens.
 */
static void add_unit(struct passage_splitter *s, uint64_t begin, uint64_t end, int heading)
{
	const uint32_t most = s->settings.most - s->context_tokens;

	while (begin < end && !s->rc) {
		const char *text = bytes_at(s, begin);

		if ((uint8_t)*text <= ' ') {
			begin++;
			continue;
		}
		while ((uint8_t)text[end - begin - 1] <= ' ')
			end--;
		uint64_t len = end - begin;
		uint32_t tokens = 0;
		if (len > UNIT_BYTES)
			len = line_cut(text, len, UNIT_BYTES);
		while ((tokens = count_tokens(s, begin, begin + len)) > most && len > 1)
			len = line_cut(text, len, (len + 1) / 2);
		/* bytes without a token (marks that normalise away) still belong to a passage */
		gather(s, (struct unit){begin, begin + len, tokens ? tokens : 1, heading});
		begin += len;
	}
}

static void close_open(struct passage_splitter *s)
{
	if (s->open_end > s->open_begin)
		add_unit(s, s->open_begin, s->open_end, 0);
	s->open_begin = s->open_end = 0;
}

/* Prose goes on at [begin, end): sentences that end there become units, the rest stays open. */
static void add_prose(struct passage_splitter *s, uint64_t begin, uint64_t end)
{
	uint64_t from = begin;

	if (s->open_end == s->open_begin)
		s->open_begin = begin;
	s->open_end = end;
	while (s->open_begin < end) {
		const char *text = bytes_at(s, s->open_begin);
		const size_t len = end - s->open_begin;
		size_t cut = line_sentence_end(text, len, from - s->open_begin, UNIT_BYTES + 1);

		if (!cut && len > UNIT_BYTES)
			cut = line_cut(text, len, UNIT_BYTES);
		if (!cut)
			return;
		add_unit(s, s->open_begin, s->open_begin + cut, 0);
		s->open_begin += cut;
		from = s->open_begin;
	}
	s->open_begin = s->open_end = 0;
}

static void paragraph_break(struct passage_splitter *s)
{
	close_open(s);
	if (s->tokens >= s->settings.target / 2)
		break_here(s);
}

static void set_context(struct passage_splitter *s, uint64_t begin, uint64_t end)
{
	const char *text = bytes_at(s, begin);
	size_t len = end - begin;

	while (len && ((uint8_t)text[len - 1] <= ' ' || text[len - 1] == '#'))
		len--;
	if (len > PASSAGE_CONTEXT_MAX)
		len = line_cut(text, len, PASSAGE_CONTEXT_MAX);
	s->context_tokens = len ? count_tokens(s, begin, begin + len) + 1 : 0;
	if (s->context_tokens > s->settings.most / 4 || s->settings.no_context)
		len = s->context_tokens = 0;
	memcpy(s->context, text, len);
	s->context_len = (uint32_t)len;
	s->context_end = end;
}

static int only_headings(const struct passage_splitter *s)
{
	for (uint32_t i = 0; i < s->units; i++)
		if (!s->unit[i].heading)
			return 0;
	return 1;
}

static void add_heading(struct passage_splitter *s, uint64_t begin, uint64_t text, uint64_t end)
{
	close_open(s);
	if (s->tokens >= SECTION_MIN && !only_headings(s))
		break_here(s);
	set_context(s, text, end);
	add_unit(s, begin, end, 1);
}

static void add_fence(struct passage_splitter *s, const struct line *line, uint64_t begin,
		      uint64_t end)
{
	if (!s->fence) {
		paragraph_break(s);
		s->fence = line->fence;
		s->fence_len = line->level;
		add_unit(s, begin, end, 0);
	} else {
		add_unit(s, begin, end, 0);
		s->fence = 0;
		paragraph_break(s);
	}
}

static int closes_fence(const struct passage_splitter *s, const struct line *line)
{
	return line->kind == LINE_FENCE && line->bare && line->fence == s->fence &&
	       line->level >= s->fence_len;
}

/* Takes the line [begin, end) without its line end. */
static void add_line(struct passage_splitter *s, uint64_t begin, uint64_t end)
{
	struct line line = line_classify(bytes_at(s, begin), end - begin);

	if (s->line_goes_on)
		line.kind = line.kind == LINE_BLANK ? LINE_BLANK : LINE_PROSE;
	if (s->fence && !closes_fence(s, &line)) {
		if (line.kind != LINE_BLANK)
			add_unit(s, begin, end, 0);
		return;
	}
	switch (line.kind) {
	case LINE_BLANK:
		if (!s->line_goes_on)
			paragraph_break(s);
		break;
	case LINE_HEADING:
		add_heading(s, begin, begin + line.text, end);
		break;
	case LINE_FENCE:
		close_open(s);
		add_fence(s, &line, begin, end);
		break;
	case LINE_INDENTED:
		close_open(s);
		add_unit(s, begin, end, 0);
		break;
	case LINE_ITEM:
		close_open(s);
		add_prose(s, begin, end);
		break;
	case LINE_PROSE:
		add_prose(s, begin, end);
		break;
	}
}

/* White space that goes on and on must not keep the buffer full. */
static void bound_gap(struct passage_splitter *s)
{
	if (s->units && s->line - s->unit[0].begin > 2 * PASSAGE_BYTES_MAX) {
		close_open(s);
		break_here(s);
	}
}

/* Takes the lines that the buffer holds whole; `last` takes what is left as the last one. */
static void take_lines(struct passage_splitter *s, int last)
{
	const uint64_t end = s->base + s->used;

	for (; s->line < end && !s->rc; bound_gap(s)) {
		const char *text = bytes_at(s, s->line);
		const uint64_t left = end - s->line;
		const char *stop = memchr(text, '\n', left < LINE_BYTES ? left : LINE_BYTES);

		if (stop) {
			add_line(s, s->line, s->line + (stop - text));
			s->line += stop - text + 1;
			s->line_goes_on = 0;
		} else if (left > LINE_BYTES) {
			const uint64_t cut = line_cut(text, left, LINE_BYTES);

			add_line(s, s->line, s->line + cut);
			s->line += cut;
			s->line_goes_on = 1;
		} else {
			if (last) {
				add_line(s, s->line, end);
				s->line = end;
			}
			return;
		}
	}
}

/* Drops what no passage to come can hold. */
static void drop_used(struct passage_splitter *s)
{
	uint64_t keep = s->line;

	if (s->open_end > s->open_begin && s->open_begin < keep)
		keep = s->open_begin;
	if (s->units && s->unit[0].begin < keep)
		keep = s->unit[0].begin;
	const uint32_t drop = (uint32_t)(keep - s->base);
	memmove(s->buffer, s->buffer + drop, s->used - drop);
	s->used -= drop;
	s->base = keep;
}

static int sniff(struct passage_splitter *s)
{
	s->sniffed = 1;
	s->reason = line_binary_reason(s->buffer, s->used < SNIFF_BYTES ? s->used : SNIFF_BYTES);
	return s->reason ? -EILSEQ : 0;
}

int passages_feed(struct passage_splitter *s, const char *data, size_t len)
{
	if (!s->rc && len && memchr(data, 0, len)) {
		s->reason = "binary: it holds zero bytes";
		s->rc = -EILSEQ;
	}
	while (len && !s->rc) {
		size_t part = PASSAGE_BUFFER - s->used;

		if (part > len)
			part = len;
		CHECK(part > 0);
		memcpy(s->buffer + s->used, data, part);
		s->used += (uint32_t)part;
		data += part;
		len -= part;
		if (!s->sniffed && s->used < SNIFF_BYTES)
			continue;
		if (!s->sniffed)
			s->rc = sniff(s);
		if (!s->rc && s->used >= PASSAGE_BUFFER / 2) {
			take_lines(s, 0);
			drop_used(s);
		}
	}
	return s->rc;
}

int passages_finish(struct passage_splitter *s)
{
	if (!s->rc && !s->sniffed)
		s->rc = sniff(s);
	if (!s->rc) {
		take_lines(s, 1);
		close_open(s);
		break_here(s);
	}
	return s->rc;
}

const char *passages_reason(const struct passage_splitter *s)
{
	return s->reason ? s->reason : "";
}

void passages_reset(struct passage_splitter *s, passage_sink sink, void *sink_context)
{
	const struct passage_settings settings = s->settings;

	memset(s, 0, offsetof(struct passage_splitter, buffer));
	s->settings = settings;
	s->sink = sink;
	s->sink_context = sink_context;
}

struct passage_splitter *passages_new(const struct passage_settings *settings, passage_sink sink,
				      void *sink_context)
{
	struct passage_splitter *s = alloc_zeroed(1, sizeof(*s));

	if (!s)
		return NULL;
	s->settings = *settings;
	if (!s->settings.count)
		s->settings.count = passage_estimate;
	if (!s->settings.target)
		s->settings.target = TARGET;
	if (!s->settings.most)
		s->settings.most = MOST;
	if (!s->settings.overlap)
		s->settings.overlap = OVERLAP;
	else if (s->settings.overlap == UINT32_MAX)
		s->settings.overlap = 0;
	s->sink = sink;
	s->sink_context = sink_context;
	return s;
}

void passages_free(struct passage_splitter *s)
{
	alloc_free(s);
}
