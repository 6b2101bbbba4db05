/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   answer.h.
 */
#include "core/memory/answer_inside.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 1024 /* of an answer's line besides path and snippet */, NAME_BYTES_MAX = 255 };

int writer_begin(struct answer_writer *w, size_t size)
{
	w->used = 0;
	w->size = size;
	w->text = alloc_get(w->size);
	return w->text ? 0 : -ENOMEM;
}

/* Room for paths and snippets whose bytes are all escaped, and the paths' digits besides. */
static int writer_open(struct answer_writer *w, const struct memory_answer *answer)
{
	size_t size = LINE_BYTES;

	for (uint32_t i = 0; i < answer->count; i++)
		size += LINE_BYTES + 8 * strlen(answer->results[i].path) +
			6 * strlen(answer->results[i].snippet);
	return writer_begin(w, size);
}

static void writer_put_bytes(struct answer_writer *w, const char *bytes, size_t length)
{
	size_t room = w->size - 1 - w->used;

	length = length < room ? length : room;
	memcpy(w->text + w->used, bytes, length);
	w->used += length;
	w->text[w->used] = 0;
}

void writer_put(struct answer_writer *w, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	int n = vsnprintf(w->text + w->used, w->size - w->used, format, list);
	va_end(list);
	w->used += (size_t)n < w->size - w->used ? (size_t)n : w->size - w->used - 1;
}

/* Control characters and what JSON wants escaped; bytes that are no UTF-8 stay in text and become
 * U+FFFD in JSON. */
static size_t utf8_length(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n = p[0] < 0x80                   ? 1
		   : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
		   : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
		   : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
						 : 0;

	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if (n == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0)))
		return 0;
	if (n == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90)))
		return 0;
	return n;
}

void writer_put_escaped(struct answer_writer *w, const char *s, int json)
{
	const char *plain = s; /* from here to s nothing is escaped */

	while (*s) {
		unsigned char c = *s;
		size_t n = c < 0x80 ? 1 : utf8_length(s);
		if (c >= ' ' && c != 0x7f && c != '\\' && !(json && (c == '"' || !n))) {
			s += n ? n : 1;
			continue;
		}
		writer_put_bytes(w, plain, (size_t)(s - plain));
		if (c < ' ' || c == 0x7f)
			writer_put(w, json ? "\\u%04x" : "\\x%02x", c);
		else if (c == '\\' || c == '"')
			writer_put(w, "\\%c", c);
		else
			writer_put(w, "\\ufffd");
		plain = ++s;
	}
	writer_put_bytes(w, plain, (size_t)(s - plain));
}

/* A path that JSON cannot hold, byte by byte besides. The string before it is still open. */
void writer_put_exact(struct answer_writer *w, const char *path)
{
	const char *at = path;
	size_t n;

	while (*at && (n = utf8_length(at)))
		at += n;
	if (!*at)
		return;
	writer_put(w, "\", \"path_hex\": \"");
	for (at = path; *at; at++)
		writer_put(w, "%02x", (unsigned char)*at);
}

int writer_end(struct answer_writer *w, char **text, size_t *length)
{
	char *fitting = alloc_resize(w->text, w->used + 1);

	*text = fitting ? fitting : w->text;
	*length = w->used;
	return 0;
}

/* meaning -: not asked, or nothing of it */
static void put_explained(struct answer_writer *w, const struct memory_result *r)
{
	writer_put(w, "\t= %.3f meaning (cosine %.3f", r->cosine_part, r->cosine);
	if (r->cosine_rank)
		writer_put(w, ", rank %u", r->cosine_rank);
	writer_put(w, ") + %.3f words (BM25 %.3f", r->words_part, r->words);
	if (r->words_rank)
		writer_put(w, ", rank %u", r->words_rank);
	writer_put(w, ")");
	if (r->links_part != 0)
		writer_put(w, " + %.3f links", r->links_part);
	if (r->fade_part != 0)
		writer_put(w, " - %.3f faded", -r->fade_part);
	writer_put(w, ", lines %u-%u, passage %u\n", r->line, r->line_end, r->part);
}

int answer_write_text(const struct memory_answer *answer, int explain, char **text, size_t *length)
{
	struct answer_writer w;
	int err = writer_open(&w, answer);

	if (err)
		return err;
	for (uint32_t i = 0; i < answer->count; i++) {
		const struct memory_result *r = &answer->results[i];
		writer_put(&w, "%.3f\t", r->score);
		writer_put_escaped(&w, r->path, 0);
		writer_put(&w, ":%u\t%llu-%llu\t", r->line_match, (unsigned long long)r->begin,
			   (unsigned long long)r->end);
		writer_put_escaped(&w, r->snippet, 0);
		writer_put(&w, "\n");
		if (explain)
			put_explained(&w, r);
	}
	return writer_end(&w, text, length);
}

static void put_result_json(struct answer_writer *w, const struct memory_result *r, int associate)
{
	writer_put(w, "{\"path\": \"");
	writer_put_escaped(w, r->path, 1);
	writer_put_exact(w, r->path);
	writer_put(w,
		   "\", \"score\": %.4f, \"cosine\": %.4f, \"bm25\": %.4f, \"cosine_part\": %.4f, "
		   "\"bm25_part\": %.4f, \"cosine_rank\": %u, \"bm25_rank\": %u, ",
		   r->score, r->cosine, r->words, r->cosine_part, r->words_part, r->cosine_rank,
		   r->words_rank);
	writer_put(w,
		   "\"line\": %u, \"line_end\": %u, \"line_match\": %u, \"begin\": %llu, \"end\": "
		   "%llu, "
		   "\"part\": %u, \"snippet\": \"",
		   r->line, r->line_end, r->line_match, (unsigned long long)r->begin,
		   (unsigned long long)r->end, r->part);
	writer_put_escaped(w, r->snippet, 1);
	writer_put(w, associate ? "\", \"links_part\": %.4f" : "\"", r->links_part);
	writer_put(w, r->fade_part != 0 ? ", \"fade_part\": %.4f}" : "}", r->fade_part);
}

int answer_write_json(const struct memory_answer *answer, char **text, size_t *length)
{
	static const char *const modes[] = {"hybrid", "vector", "lexical", "similar"};
	struct answer_writer w;
	int err = writer_open(&w, answer);

	if (err)
		return err;
	writer_put(&w, "{");
	if (answer->unasked)
		writer_put(&w, "\"embedders_failing\": %u, ", answer->unasked);
	writer_put(&w, "\"partial\": %s, \"mode\": \"%s\", \"fuse\": \"%s\", ",
		   answer->partial ? "true" : "false", modes[answer->mode],
		   answer->rank_fusion ? "rank" : "standard");
	writer_put(
		&w,
		"\"background\": {\"bm25_mean\": %.4f, \"bm25_deviation\": %.4f, \"cosine_mean\": "
		"%.4f, \"cosine_deviation\": %.4f}, \"results\": [",
		answer->words_mean, answer->words_deviation, answer->cosine_mean,
		answer->cosine_deviation);
	for (uint32_t i = 0; i < answer->count; i++) {
		writer_put(&w, i ? ",\n" : "\n");
		put_result_json(&w, &answer->results[i], answer->associate);
	}
	writer_put(&w, "]}\n");
	return writer_end(&w, text, length);
}

int answer_write_error(int error, const char *why, char **text, size_t *length)
{
	const char *sentence = *why ? why : strerror(error);
	struct answer_writer w;
	int err = writer_begin(&w, LINE_BYTES + 6 * strlen(sentence));

	if (err)
		return err;
	writer_put(&w, "{\"error\": \"");
	writer_put_escaped(&w, sentence, 1);
	writer_put(&w, "\", \"errno\": %d}\n", error);
	return writer_end(&w, text, length);
}

/* The last part of a path, cut at a character so that the whole name fits. */
static void put_name(struct answer_writer *w, uint32_t number, float score, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t begin = w->used, n = strlen(name);

	writer_put(w, "%03u %.3f ", number, score);
	size_t room = NAME_BYTES_MAX - (w->used - begin);
	if (n > room)
		for (n = room; n && ((unsigned char)name[n] & 0xc0) == 0x80;)
			n--;
	writer_put(w, "%.*s", (int)n, name);
	w->text[w->used++] = 0;
}

void writer_put_link(struct answer_writer *w, uint32_t number, float score, const char *path)
{
	put_name(w, number, score, path);
	writer_put(w, "../../../%s", path);
	w->text[w->used++] = 0;
}

int answer_write_links(const struct memory_answer *answer, char **text, size_t *length)
{
	struct answer_writer w;
	int err = writer_open(&w, answer);

	if (err)
		return err;
	for (uint32_t i = 0; i < answer->count; i++)
		writer_put_link(&w, i + 1, answer->results[i].score, answer->results[i].path);
	return writer_end(&w, text, length);
}
