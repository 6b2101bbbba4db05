/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   lines and sentences, see lines.h.
 */
#include "core/memory/lines.h"

#include "core/memory/text.h"

#include <string.h>

static int is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

static int is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t run_of(const char *text, size_t len, size_t at, char c)
{
	const size_t begin = at;

	while (at < len && text[at] == c)
		at++;
	return at - begin;
}

static struct line classify_fence(const char *text, size_t len, size_t at)
{
	struct line line = {.kind = LINE_PROSE, .text = at, .fence = text[at]};
	const size_t run = run_of(text, len, at, text[at]);

	if (run < 3)
		return line;
	line.kind = LINE_FENCE;
	line.level = (uint32_t)run;
	line.bare = 1;
	for (size_t i = at + run; i < len; i++) {
		if (text[i] == '`' && line.fence == '`')
			line.kind = LINE_PROSE; /* code in a line of prose */
		if (!is_blank(text[i]))
			line.bare = 0;
	}
	return line;
}

/* Length of a list marker and the space after it, 0 for none. */
static size_t item_marker(const char *text, size_t len, size_t at)
{
	size_t i = at;

	if (strchr("-*+", text[i]))
		i++;
	else {
		while (i < len && is_digit(text[i]) && i - at < 9)
			i++;
		if (i == at || i == len || (text[i] != '.' && text[i] != ')'))
			return 0;
		i++;
	}
	if (i == len || (text[i] != ' ' && text[i] != '\t'))
		return 0;
	return i + 1 - at;
}

struct line line_classify(const char *text, size_t len)
{
	struct line line = {.kind = LINE_PROSE};
	size_t at = 0, columns = 0, marker;

	while (at < len && is_blank(text[at]))
		columns += text[at++] == '\t' ? 4 : 1;
	line.text = at;
	if (at == len) {
		line.kind = LINE_BLANK;
		return line;
	}
	if (columns < 4 && text[at] == '#') {
		const size_t level = run_of(text, len, at, '#');

		if (level <= 6 && (at + level == len || is_blank(text[at + level]))) {
			line.kind = LINE_HEADING;
			line.level = (uint32_t)level;
			for (at += level; at < len && is_blank(text[at]);)
				at++;
			line.text = at;
			return line;
		}
	}
	if (columns < 4 && (text[at] == '`' || text[at] == '~')) {
		const struct line fence = classify_fence(text, len, at);

		if (fence.kind == LINE_FENCE)
			return fence;
	}
	marker = item_marker(text, len, at);
	if (marker) {
		line.kind = LINE_ITEM;
		line.text = at + marker;
	} else if (columns >= 4) {
		line.kind = LINE_INDENTED;
	}
	return line;
}

/* Words before whose full stop a sentence seldom ends. */
static int is_abbreviation(const char *word, size_t len)
{
	static const char *const known[] = {"e.g", "i.e", "Dr", "Mr", "Mrs", "Ms",     "Prof",
					    "vs",  "Fig", "cf", "No", "St",  "approx", "Inc"};

	if (len == 1)
		return word[0] >= 'A' && word[0] <= 'Z';
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i]) == len && !memcmp(known[i], word, len))
			return 1;
	return 0;
}

/* Whether the full stop at `at` belongs to an abbreviation or to a number at the sentence's start.
 */
static int stop_within(const char *text, size_t at)
{
	size_t word = at, digits = 0;

	while (word > 0 && !is_blank(text[word - 1]) && text[word - 1] != '(')
		word--;
	while (digits < at && is_digit(text[digits]))
		digits++;
	return digits == at || is_abbreviation(text + word, at - word);
}

/* Bytes of a mark that ends a sentence without a space after it. */
static size_t full_width_mark(const char *text, size_t len, size_t at)
{
	static const char marks[3][4] = {"\xe3\x80\x82", "\xef\xbc\x81", "\xef\xbc\x9f"};

	for (int i = 0; i < 3 && len - at >= 3; i++)
		if (!memcmp(text + at, marks[i], 3))
			return 3;
	return 0;
}

size_t line_sentence_end(const char *text, size_t len, size_t from, size_t most)
{
	for (size_t at = from; at < len && at < most; at++) {
		const size_t wide = (text[at] & 0x80) ? full_width_mark(text, len, at) : 0;

		if (wide)
			return at + wide;
		if (text[at] != '.' && text[at] != '!' && text[at] != '?')
			continue;
		size_t end = at + 1;
		while (end < len && text[end] && strchr("\"')]}*_.!?", text[end]))
			end++;
		if (end < len && !is_blank(text[end]))
			continue;
		size_t next = end;
		while (next < len && is_blank(text[next]))
			next++;
		if (next < len && text[next] >= 'a' && text[next] <= 'z')
			continue;
		if (text[at] == '.' && stop_within(text, at))
			continue;
		return end;
	}
	return 0;
}

size_t line_cut(const char *text, size_t len, size_t most)
{
	size_t at = most;

	for (; at > most / 2; at--)
		if (text[at - 1] == '\n')
			return at;
	for (at = most; at > most / 2; at--)
		if (is_blank(text[at - 1]))
			return at;
	for (at = most; at > most / 2 && at < len && (text[at] & 0xc0) == 0x80;)
		at--;
	return at > most / 2 ? at : most;
}

const char *line_binary_reason(const char *bytes, size_t len)
{
	const uint8_t *at = (const uint8_t *)bytes, *end = at + len;
	size_t malformed = 0, controls = 0;

	if (len >= 2 && (!memcmp(bytes, "\xff\xfe", 2) || !memcmp(bytes, "\xfe\xff", 2)))
		return "UTF-16 text, not UTF-8";
	if (len && memchr(bytes, 0, len))
		return "binary: it holds zero bytes";
	while (at < end) {
		uint32_t code;
		const uint32_t size = text_decode(at, end, &code);

		malformed += size == 1 && *at >= 0x80;
		controls += code < ' ' && !is_blank((char)code) && code != 0x1b && code != '\b';
		at += size;
	}
	if (controls * 50 > len)
		return "binary: it holds many control characters";
	if (malformed * 4 > len && malformed > 3)
		return "binary: most of it is not UTF-8";
	return NULL;
}
