/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   search.h.
 */
#include "fs/search.h"
#include "fs/dentry.h"
#include "fs/permission.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 2 * MEMORY_PATH_MAX + 6 * MEMORY_SNIPPET_MAX + 512 };

static int allow(void *arg, uint64_t ino, uint64_t directory)
{
	return permission_may_read(arg, ino, directory);
}

int search_ask(struct op *op, uint64_t directory, const char *query, uint64_t like, unsigned limit,
	       struct memory_answer **out)
{
	struct permission *caller = op_temporary(sizeof(*caller));

	if (!op->fs->memory)
		return -EOPNOTSUPP;
	if (!caller)
		return -ENOMEM;
	permission_of(caller, op->fs, op->req);
	if (like && !permission_may_read(caller, like, 0)) /* it was come by along a path */
		return -EACCES;
	struct memory_query ask = {
		.text = like ? NULL : query,
		.length = like ? 0 : strlen(query),
		.like = like,
		.scope = directory,
		.mode = like ? MEMORY_VECTOR : MEMORY_HYBRID,
		.limit = limit,
		.allow = allow,
		.allow_arg = caller,
	};
	return memory_search(op->fs->memory, &ask, out);
}

int search_walk(struct op *op, uint64_t directory, char *path, uint64_t *ino)
{
	struct permission *caller = op_temporary(sizeof(*caller));
	char *rest = path, *name;
	struct dentry found;

	if (!caller)
		return -ENOMEM;
	permission_of(caller, op->fs, op->req);
	while ((name = strsep(&rest, "/"))) {
		if (!permission_may_search(caller, directory))
			return -EACCES;
		int err = dentry_peek(op->fs, directory, name, &found);
		if (err || !found.inode)
			return err ? err : -ENOENT;
		directory = found.inode;
	}
	*ino = directory;
	return 0;
}

/* A text that grows by whole pieces. */
struct writer {
	char *text;
	size_t used, size;
};

static int writer_open(struct writer *w, const struct memory_answer *answer)
{
	w->used = 0;
	w->size = (answer->count + 1) * (size_t)LINE_MAX_BYTES;
	w->text = alloc_get(w->size);
	return w->text ? 0 : -ENOMEM;
}

static void put(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct writer *w, const char *format, ...)
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

static void put_escaped(struct writer *w, const char *s, int json)
{
	while (*s) {
		unsigned char c = *s;
		size_t n = utf8_length(s);
		if (c < ' ' || c == 0x7f)
			put(w, json ? "\\u%04x" : "\\x%02x", c);
		else if (c == '\\' || (json && c == '"'))
			put(w, "\\%c", c);
		else if (json && !n)
			put(w, "\\ufffd");
		else
			put(w, "%.*s", n ? (int)n : 1, s);
		s += n ? n : 1;
	}
}

/* A path that JSON cannot hold, byte by byte besides. The string before it is still open. */
static void put_exact(struct writer *w, const char *path)
{
	const char *at = path;
	size_t n;

	while (*at && (n = utf8_length(at)))
		at += n;
	if (!*at)
		return;
	put(w, "\", \"path_hex\": \"");
	for (at = path; *at; at++)
		put(w, "%02x", (unsigned char)*at);
}

static int finish(struct writer *w, char **text, size_t *length)
{
	char *fitting = alloc_resize(w->text, w->used + 1);

	*text = fitting ? fitting : w->text;
	*length = w->used;
	return 0;
}

int search_write_text(const struct memory_answer *answer, char **text, size_t *length)
{
	struct writer w;
	int err = writer_open(&w, answer);

	if (err)
		return err;
	for (uint32_t i = 0; i < answer->count; i++) {
		const struct memory_result *r = &answer->results[i];
		put(&w, "%.3f\t", r->score);
		put_escaped(&w, r->path, 0);
		put(&w, ":%u\t%llu-%llu\t", r->line, (unsigned long long)r->begin,
		    (unsigned long long)r->end);
		put_escaped(&w, r->snippet, 0);
		put(&w, "\n");
	}
	return finish(&w, text, length);
}

int search_write_json(const struct memory_answer *answer, char **text, size_t *length)
{
	struct writer w;
	int err = writer_open(&w, answer);

	if (err)
		return err;
	put(&w, "{\"partial\": %s, \"results\": [", answer->partial ? "true" : "false");
	for (uint32_t i = 0; i < answer->count; i++) {
		const struct memory_result *r = &answer->results[i];
		put(&w, "%s\n{\"path\": \"", i ? "," : "");
		put_escaped(&w, r->path, 1);
		put_exact(&w, r->path);
		put(&w,
		    "\", \"score\": %.4f, \"cosine\": %.4f, \"bm25\": %.4f, \"line\": %u, "
		    "\"begin\": %llu, \"end\": %llu, \"part\": %u, \"snippet\": \"",
		    r->score, r->cosine, r->words, r->line, (unsigned long long)r->begin,
		    (unsigned long long)r->end, r->part);
		put_escaped(&w, r->snippet, 1);
		put(&w, "\"}");
	}
	put(&w, "]}\n");
	return finish(&w, text, length);
}

/* The last part of a path, cut at a character so that the whole name fits. */
static void put_name(struct writer *w, uint32_t number, const struct memory_result *r)
{
	const char *slash = strrchr(r->path, '/');
	const char *name = slash ? slash + 1 : r->path;
	size_t begin = w->used, n = strlen(name);

	put(w, "%03u %.3f ", number, r->score);
	size_t room = NAMES_NAME_MAX - (w->used - begin);
	if (n > room)
		for (n = room; n && ((unsigned char)name[n] & 0xc0) == 0x80;)
			n--;
	put(w, "%.*s", (int)n, name);
	w->text[w->used++] = 0;
}

int search_write_links(const struct memory_answer *answer, char **text, size_t *length)
{
	struct writer w;
	int err = writer_open(&w, answer);

	if (err)
		return err;
	for (uint32_t i = 0; i < answer->count; i++) {
		put_name(&w, i + 1, &answer->results[i]);
		put(&w, "../../../%s", answer->results[i].path);
		w.text[w.used++] = 0;
	}
	return finish(&w, text, length);
}

static int format_new(char **text, size_t *length, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int format_new(char **text, size_t *length, const char *format, ...)
{
	enum { ROOM = 1024 };
	va_list list;

	*text = alloc_get(ROOM);
	if (!*text)
		return -ENOMEM;
	va_start(list, format);
	int n = vsnprintf(*text, ROOM, format, list);
	va_end(list);
	*length = n < ROOM ? (size_t)n : ROOM - 1;
	return 0;
}

int search_write_status(struct fs *fs, char **text, size_t *length)
{
	struct memory_stats stats;
	const char *note;

	if (!fs->memory)
		return format_new(text, length, "memory     off (mount option memory=off)\n");
	memory_get_stats(fs->memory, &stats);
	const char *model = memory_embedder(fs->memory, &note);
	return format_new(text, length,
			  "model      %s%s%s\n"
			  "files      %llu\n"
			  "passages   %llu\n"
			  "waiting    %llu\n"
			  "indexes    %.1f MiB\n",
			  model, note[0] ? ": " : "", note, (unsigned long long)stats.files,
			  (unsigned long long)stats.passages, (unsigned long long)stats.pending,
			  (double)stats.bytes / 1048576);
}

/* ---- attributes ---- */

static int ask_text(struct op *op, uint64_t directory, const char *query, uint64_t like,
		    char **text, size_t *length)
{
	struct memory_answer *answer;
	int err = search_ask(op, directory, query, like, SEARCH_LIMIT, &answer);

	if (err)
		return err;
	err = search_write_text(answer, text, length);
	memory_answer_free(answer);
	return err;
}

static int vector_text(struct fs *fs, uint64_t ino, int want_dim, char **text, size_t *length)
{
	enum { DIM_MAX = 4096 };
	float *vector = alloc_get(DIM_MAX * sizeof(*vector));
	uint32_t dim = 0;
	int err = vector ? memory_vector(fs->memory, ino, 0, vector, DIM_MAX, &dim) : -ENOMEM;

	if (!err && !want_dim) {
		*text = (char *)vector;
		*length = dim * sizeof(*vector);
		return 0;
	}
	alloc_free(vector);
	return err ? err : format_new(text, length, "%u", dim);
}

int search_xattr(struct op *op, uint64_t ino, const char *which, char **text, size_t *length)
{
	struct fs *fs = op->fs;
	struct names_inode inode;
	char state[MEMORY_REASON_MAX + 32];
	int err = inode_read(fs, ino, &inode);

	if (err)
		return err;
	if (!strncmp(which, "search:", 7))
		return S_ISDIR(inode.mode) ? ask_text(op, ino, which + 7, 0, text, length)
					   : -ENODATA;
	if (!S_ISREG(inode.mode))
		return SEARCH_XATTR_OTHER;
	if (!strcmp(which, "state")) {
		err = memory_describe(fs->memory, ino, state, sizeof(state));
		return err ? err : format_new(text, length, "%s", state);
	}
	if (!strcmp(which, "similar"))
		return ask_text(op, fs->root, NULL, ino, text, length);
	if (!strcmp(which, "vector") || !strcmp(which, "dim"))
		return vector_text(fs, ino, which[0] == 'd', text, length);
	if (!strcmp(which, "model"))
		return format_new(text, length, "%s", memory_embedder(fs->memory, NULL));
	if (!strcmp(which, "version"))
		return format_new(text, length, "%llu", (unsigned long long)inode.version);
	return SEARCH_XATTR_OTHER;
}
