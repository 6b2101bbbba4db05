/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the filters of a search: does a file fit by name, time, tag and attribute?
 * Invariants: of several name filters one has to fit, of the others all.
 * Threading: reads single records.
 */
#include "core/memory/filter.h"
#include "core/memory/memory_inside.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum { FRONT_MAX = 4096, ATTRIBUTE_MAX = 1024 };

/* ---- globs ---- */

/* Bytes of the character at `s`. */
static size_t step(const char *s)
{
	size_t n = 1;

	while (((unsigned char)s[n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* [abc], [a-z], [!abc] against one byte: the pattern behind it, or NULL where there is no ']'. */
static const char *class_match(const char *p, unsigned char c, int *fits)
{
	int negated = p[1] == '!' || p[1] == '^', found = 0;
	const char *at = p + 1 + negated, *first = at;

	for (; *at && (*at != ']' || at == first); at++) {
		unsigned char low = (unsigned char)*at, high = low;
		if (at[1] == '-' && at[2] && at[2] != ']') {
			high = (unsigned char)at[2];
			at += 2;
		}
		found |= c >= low && c <= high;
	}
	*fits = found != negated;
	return *at ? at + 1 : NULL;
}

/* One element of the pattern that is no star: the pattern behind it, or NULL. */
static const char *element_match(const char *p, const char *s)
{
	int fits;
	const char *next;

	if (*p == '?')
		return p + 1;
	if (*p == '[' && (next = class_match(p, (unsigned char)*s, &fits)))
		return fits ? next : NULL;
	if (*p == '\\' && p[1])
		p++;
	return *p == *s ? p + 1 : NULL;
}

int filter_glob(const char *pattern, const char *name)
{
	const char *p = pattern, *s = name, *star = NULL, *again = NULL;

	while (*s) {
		const char *next = NULL;
		if (*p == '*') {
			star = ++p;
			again = s;
			continue;
		}
		if (*p)
			next = element_match(p, s);
		if (next) {
			s += *p == '?' ? step(s) : 1;
			p = next;
		} else if (star) {
			p = star;
			s = ++again;
		} else {
			return 0;
		}
	}
	while (*p == '*')
		p++;
	return !*p;
}

int filter_name(const struct memory_query *q, const char *path)
{
	const char *slash = strrchr(path, '/');
	int asked = 0;

	for (unsigned i = 0; i < q->filters_count; i++) {
		const struct memory_filter *f = &q->filters[i];
		if (f->kind != MEMORY_FILTER_NAME)
			continue;
		asked = 1;
		if (filter_glob(f->value, slash && !strchr(f->value, '/') ? slash + 1 : path))
			return 1;
	}
	return !asked;
}

/* ---- tags ---- */

static int is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Is `tag` one of the items of a list that are parted by commas (quotes and blanks around them do not
 * count)? */
static int list_has(const char *list, size_t length, const char *tag)
{
	const char *end = list + length;
	size_t n = strlen(tag);

	while (list < end) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		const char *a = list, *b = comma ? comma : end;
		while (a < b && (is_blank(*a) || *a == '"' || *a == '\'' || *a == '#'))
			a++;
		while (b > a && (is_blank(b[-1]) || b[-1] == '"' || b[-1] == '\''))
			b--;
		if ((size_t)(b - a) == n && !strncasecmp(a, tag, n))
			return 1;
		list = comma ? comma + 1 : end;
	}
	return 0;
}

/* The line at `at`, and where the next one begins. */
static const char *line_end(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	return newline ? newline : end;
}

/* `tags: a, b`, `tags: [a, b]`, or `tags:` and lines `- a`, between the first line "---" and the next. */
int filter_front_matter(const char *text, size_t length, const char *tag)
{
	const char *end = text + length, *at = line_end(text, end);
	int listing = 0;

	if (length < 4 || memcmp(text, "---", 3) || (text[3] != '\n' && text[3] != '\r'))
		return 0;
	while (++at < end) {
		const char *stop = line_end(at, end), *item = at;
		if (!strncmp(at, "---", 3))
			return 0;
		while (item < stop && is_blank(*item))
			item++;
		if (listing && *item == '-' && list_has(item + 1, (size_t)(stop - item - 1), tag))
			return 1;
		listing = listing && *item == '-';
		if (!strncasecmp(at, "tags:", 5)) {
			const char *a = at + 5, *b = stop;
			listing = 1;
			while (a < b && (is_blank(*a) || *a == '['))
				a++;
			while (b > a && (is_blank(b[-1]) || b[-1] == ']'))
				b--;
			if (list_has(a, (size_t)(b - a), tag))
				return 1;
		}
		at = stop;
	}
	return 0;
}

static int attribute_get(struct memory *mem, uint64_t inode, const char *name, size_t name_length,
			 char *value, size_t *length)
{
	struct mneme_key key = {.inode = inode,
				.type = MNEME_TYPE_XATTR,
				.sub = name,
				.sub_length = (uint16_t)name_length};

	return mneme_get(mem->engine, &key, value, ATTRIBUTE_MAX, length);
}

static int has_tag(struct memory *mem, uint64_t inode, uint64_t size, const char *tag)
{
	static _Thread_local char text[FRONT_MAX + 1]; /* handlers have 3 KiB of stack */
	size_t length;

	if (attribute_get(mem, inode, "user.xdg.tags", 13, text, &length) == 0 &&
	    list_has(text, length, tag))
		return 1;
	int n = memory_read(mem->engine, inode, size, 0, text, FRONT_MAX);
	if (n <= 0)
		return 0;
	text[n] = 0;
	return filter_front_matter(text, (size_t)n, tag);
}

static int has_attribute(struct memory *mem, uint64_t inode, const char *wanted)
{
	static _Thread_local char value[ATTRIBUTE_MAX]; /* as above */
	size_t name = (size_t)(strchr(wanted, '=') - wanted), length;

	return attribute_get(mem, inode, wanted, name, value, &length) == 0 &&
	       length == strlen(wanted + name + 1) && !memcmp(value, wanted + name + 1, length);
}

int filter_file(struct memory *mem, const struct memory_query *q, uint64_t inode)
{
	struct names_inode record;

	if (!q->filters_count)
		return 1;
	if (memory_inode(mem->engine, inode, &record) < 0)
		return 0;
	for (unsigned i = 0; i < q->filters_count; i++) {
		const struct memory_filter *f = &q->filters[i];
		if ((f->kind == MEMORY_FILTER_AFTER && record.mtime_ns < f->time_ns) ||
		    (f->kind == MEMORY_FILTER_BEFORE && record.mtime_ns >= f->time_ns) ||
		    (f->kind == MEMORY_FILTER_TAG && !has_tag(mem, inode, record.size, f->value)) ||
		    (f->kind == MEMORY_FILTER_ATTRIBUTE && !has_attribute(mem, inode, f->value)))
			return 0;
	}
	return 1;
}
