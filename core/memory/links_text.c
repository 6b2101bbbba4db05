/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   links_text.h.
 */
#include "core/memory/links_text.h"

#include <strings.h>

struct line {
	struct links_text *scan;
	const char *at, *end;
};

static int is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* scheme: of a URL (RFC 3986), or two slashes. */
static int is_url(const char *s, size_t n)
{
	size_t i = 0;

	if (n >= 2 && s[0] == '/' && s[1] == '/')
		return 1;
	while (i < n && ((s[i] | 32) >= 'a' && (s[i] | 32) <= 'z'))
		i++;
	while (i && i < n &&
	       (((s[i] | 32) >= 'a' && (s[i] | 32) <= 'z') || (s[i] >= '0' && s[i] <= '9') ||
		s[i] == '+' || s[i] == '-' || s[i] == '.'))
		i++;
	return i > 1 && i < n && s[i] == ':';
}

static int hex(char c)
{
	return c >= '0' && c <= '9'                 ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
						    : -1;
}

static size_t decode(const char *s, size_t n, char *out)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		int high = i + 2 < n && s[i] == '%' ? hex(s[i + 1]) : -1;
		int low = high >= 0 ? hex(s[i + 2]) : -1;
		out[used++] = low >= 0 ? (char)(high << 4 | low) : s[i];
		i += low >= 0 ? 2 : 0;
	}
	return used;
}

/* Hands over a label when it is one. */
static int give(const struct line *l, enum names_link_kind kind, const char *s, size_t n)
{
	char label[NAMES_LABEL_MAX];

	for (size_t i = 0; i < n; i++)
		if (s[i] == '#' || (kind == NAMES_LINK_MARKDOWN && s[i] == '?'))
			n = i;
	while (n && is_blank(s[0]))
		s++, n--;
	while (n && is_blank(s[n - 1]))
		n--;
	if (!n || n > sizeof label || is_url(s, n))
		return 0;
	memcpy(label, s, n);
	if (kind == NAMES_LINK_MARKDOWN)
		n = decode(s, n, label);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)label[i] < ' ' || label[i] == 0x7f)
			return 0;
	return l->scan->each(l->scan->arg, kind, label, n);
}

/* Behind "[[". */
static int take_wiki(struct line *l)
{
	const char *begin = l->at, *bar = NULL;

	for (const char *c = begin; c + 1 < l->end; c++) {
		if (c[0] == '|' && !bar)
			bar = c;
		if (c[0] == '[' && c[1] == '[')
			return 0;
		if (c[0] != ']' || c[1] != ']')
			continue;
		l->at = c + 2;
		return give(l, NAMES_LINK_WIKI, begin, (size_t)((bar ? bar : c) - begin));
	}
	return 0;
}

/* Where a destination ends that begins at `c`: at white space, or the bracket that closes. */
static const char *destination_end(const char *c, const char *end)
{
	int depth = 0;

	for (; c < end && !is_blank(*c); c++) {
		if (*c == '\\' && c + 1 < end)
			c++;
		else if (*c == '(')
			depth++;
		else if (*c == ')' && depth-- == 0)
			break;
	}
	return c;
}

/* A destination with what may stand around it. */
static int take_destination(struct line *l)
{
	const char *begin, *end;

	while (l->at < l->end && is_blank(*l->at))
		l->at++;
	begin = l->at;
	if (begin < l->end && *begin == '<') {
		end = memchr(begin, '>', (size_t)(l->end - begin));
		if (!end)
			return 0;
		begin++;
	} else {
		end = destination_end(begin, l->end);
	}
	l->at = end;
	return give(l, NAMES_LINK_MARKDOWN, begin, (size_t)(end - begin));
}

static size_t run_of(const struct line *l, const char *at)
{
	const char *c = at;

	while (c < l->end && *c == *at)
		c++;
	return (size_t)(c - at);
}

/* Over a code span, or over its ticks when nothing ends it. */
static void skip_code(struct line *l)
{
	size_t ticks = run_of(l, l->at);
	const char *c = l->at + ticks;

	l->at = c;
	while (c < l->end) {
		if (*c != '`') {
			c++;
			continue;
		}
		size_t n = run_of(l, c);
		c += n;
		if (n == ticks) {
			l->at = c;
			return;
		}
	}
}

/* [id]: at the begin of a line. */
static int take_definition(struct line *l)
{
	const char *c = l->at;

	for (int i = 0; i < 3 && c < l->end && *c == ' '; i++)
		c++;
	if (c == l->end || *c != '[' || c + 1 == l->end || c[1] == '[' || c[1] == '^')
		return 0;
	const char *close = memchr(c, ']', (size_t)(l->end - c));
	if (!close || close + 1 == l->end || close[1] != ':')
		return 0;
	l->at = close + 2;
	return take_destination(l);
}

/* 1: the line is a fence, or inside of one. */
static int is_code(struct links_text *s, const struct line *l)
{
	const char *c = l->at;

	for (int i = 0; i < 3 && c < l->end && *c == ' '; i++)
		c++;
	size_t n = c < l->end && (*c == '`' || *c == '~') ? run_of(l, c) : 0;
	if (!s->fence) {
		if (n < 3 || (*c == '`' && memchr(c + n, '`', (size_t)(l->end - c) - n)))
			return 0;
		s->fence = *c;
		s->fence_length = (unsigned)n;
	} else if (n >= s->fence_length && *c == s->fence) {
		for (c += n; c < l->end && is_blank(*c);)
			c++;
		s->fence = c == l->end ? 0 : s->fence;
	}
	return 1;
}

static int take_line(struct links_text *s, const char *text, size_t length)
{
	struct line l = {.scan = s, .at = text, .end = text + length};

	if (is_code(s, &l))
		return 0;
	int rc = take_definition(&l);
	while (rc == 0 && l.at < l.end) {
		if (*l.at == '`') {
			skip_code(&l);
		} else if (*l.at == '\\') {
			l.at += l.end - l.at > 1 ? 2 : 1;
		} else if (l.end - l.at > 1 && l.at[0] == '[' && l.at[1] == '[') {
			l.at += 2;
			rc = take_wiki(&l);
		} else if (l.end - l.at > 1 && l.at[0] == ']' && l.at[1] == '(') {
			l.at += 2;
			rc = take_destination(&l);
		} else {
			l.at++;
		}
	}
	return rc;
}

void links_text_begin(struct links_text *s, links_text_each *each, void *arg)
{
	s->each = each;
	s->arg = arg;
	s->fence = 0;
	s->held = 0;
}

int links_text_feed(struct links_text *s, const char *text, size_t length)
{
	int rc = 0;

	while (length && rc == 0) {
		const char *newline = memchr(text, '\n', length);
		size_t n = newline ? (size_t)(newline - text) : length;
		int ends = newline != NULL;
		if (n > sizeof s->line - s->held) {
			n = sizeof s->line - s->held;
			ends = 0;
		}
		memcpy(s->line + s->held, text, n);
		s->held += n;
		text += n + (size_t)ends;
		length -= n + (size_t)ends;
		if (ends || s->held == sizeof s->line) {
			rc = take_line(s, s->line, s->held);
			s->held = 0;
		}
	}
	return rc;
}

int links_text_end(struct links_text *s)
{
	int rc = take_line(s, s->line, s->held);

	s->held = 0;
	return rc;
}

int links_text_is_name(const char *name)
{
	static const char *const endings[] = {".md", ".markdown", ".txt"};
	const char *dot = strrchr(name, '.');

	if (!dot || dot == name)
		return 1;
	for (int i = 0; i < 3; i++)
		if (!strcasecmp(dot, endings[i]))
			return 1;
	return 0;
}
