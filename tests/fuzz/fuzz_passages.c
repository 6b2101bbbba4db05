/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes what any text meets: cutting into passages, normalisation, the fallback
 *            embedder. The first byte of an input sets the size of the blocks it is fed in.
 * Invariants: checked on every input: passages ascend, are the source's bytes, have at most 128
 *            tokens, and do not depend on the blocks.
 */
#include "core/memory/fallback.h"
#include "core/memory/lines.h"
#include "core/memory/passages.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct seen {
	const char *source;
	uint64_t begin;
	uint64_t end;
	uint64_t sum; /* over all ranges and hashes */
	uint32_t count;
};

static void demand(int condition)
{
	if (!condition)
		__builtin_trap();
}

static int see(void *context, const struct passage *p)
{
	static struct fallback_scratch scratch;
	struct seen *seen = context;
	static float vector[FALLBACK_DIM];
	static char text[PASSAGE_TEXT_MAX];
	uint64_t hash;

	demand(p->begin < p->end && p->end - p->begin == p->len);
	demand(!seen->count || (p->begin > seen->begin && p->end > seen->end));
	demand(p->len <= PASSAGE_BYTES_MAX && p->tokens <= 128);
	demand(!memcmp(p->text, seen->source + p->begin, p->len));
	memcpy(&hash, p->hash, sizeof(hash));
	seen->begin = p->begin;
	seen->end = p->end;
	seen->sum = (seen->sum ^ hash) * 31 + p->begin * 7 + p->end;
	seen->count++;
	const size_t len = passage_compose(p, text);
	demand(len <= sizeof(text));
	fallback_embed(&scratch, text, len, NULL, NULL, vector);
	for (int i = 0; i < FALLBACK_DIM; i++)
		demand(isfinite(vector[i]));
	return 0;
}

static int cut(const char *text, size_t len, size_t block, struct seen *seen)
{
	static struct passage_splitter *s;
	static const struct passage_settings settings;

	*seen = (struct seen){.source = text};
	if (!s)
		s = passages_new(&settings, see, seen);
	demand(s != NULL);
	passages_reset(s, see, seen);
	for (size_t at = 0; at < len; at += block)
		if (passages_feed(s, text + at, len - at < block ? len - at : block))
			break;
	return passages_finish(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole, parts;

	if (!size)
		return 0;
	const char *text = (const char *)data + 1;
	const int rc = cut(text, size - 1, 1 << 20, &whole);
	demand(rc == cut(text, size - 1, (size_t)data[0] * 17 + 1, &parts));
	demand(rc || (whole.sum == parts.sum && whole.count == parts.count));
	return 0;
}

/* Many paragraphs, so that buffers turn over. */
static size_t long_seed(uint8_t *buffer, size_t capacity)
{
	size_t at = 0;

	while (at + 200 < capacity && at < 60000)
		at += (size_t)sprintf(
			(char *)buffer + at,
			"%cSentence %zu has some words, e.g. these. And another one!%s",
			at ? ' ' : '!', at, at % 7 ? "" : "\n\n## Heading\n\n- item\n");
	return at;
}

size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	static const char *const seeds[] = {
		"\7# Title\n\nA sentence. Another one, by Dr. Who.\n\n```c\n# int x;\n```\n\n1. "
		"one\n* two\n",
		"\1caf\xc3\xa9 e\xcc\x81 \xef\xac\x81 \xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82 \xff "
		"\xed\xa0\x80",
		"\3    indented code\n\tmore\n~~~~\nfenced\n~~~\n~~~~\nafter\r\n\r\n",
	};

	if (number == sizeof(seeds) / sizeof(seeds[0]))
		return long_seed(buffer, capacity);
	if (number > sizeof(seeds) / sizeof(seeds[0]))
		return 0;
	return (size_t)snprintf((char *)buffer, capacity, "%s", seeds[number]);
}
