/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   search.h.
 */
#include "fs/search.h"
#include "fs/dentry.h"
#include "fs/permission.h"
#include "fs/uring.h"
#include "pool/alloc.h"
#include "pool/frame.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { OTHERS_MAX = 1024, STATUS_LINE = 96 };

static int allow(void *arg, uint64_t ino, uint64_t directory)
{
	return permission_may_read(arg, ino, directory);
}

int search_is_elsewhere(struct fs *fs)
{
	return fs->memory && memory_asks_elsewhere(fs->memory);
}

int search_ask(struct op *op, uint64_t directory, struct request *r, unsigned limit,
	       struct memory_answer **out)
{
	struct permission *caller = op_temporary(sizeof(*caller));
	struct memory_query *q = &r->query;
	int err = request_check(r);

	if (!op->fs->memory)
		return -EOPNOTSUPP;
	if (!caller)
		return -ENOMEM;
	if (!err && r->like[0])
		err = search_walk(op, directory, r->like, &q->like);
	if (err)
		return err;
	uring_flush();
	permission_of(caller, op->fs, op->req);
	if (q->like && !permission_may_read(caller, q->like, 0)) /* it was come by along a path */
		return -EACCES;
	int asks = !permission_may_all(caller);
	request_complete(r, directory, limit, asks ? allow : NULL, caller);
	q->caller = asks ? permission_identity(caller, &q->caller_length) : NULL;
	return memory_search(op->fs->memory, q, out);
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

int search_vectors(struct op *op, uint64_t directory, char *path, enum memory_vectors_form form,
		   char **text, size_t *length)
{
	struct permission *caller = op_temporary(sizeof(*caller));
	uint64_t ino;

	if (!op->fs->memory)
		return -EOPNOTSUPP;
	int err = caller ? search_walk(op, directory, path, &ino) : -ENOMEM;
	if (err)
		return err;
	permission_of(caller, op->fs, op->req);
	if (!permission_may_read(caller, ino, 0)) /* it was come by along a path */
		return -EACCES;
	return memory_vectors_write(op->fs->memory, ino, form, text, length);
}

static int format_new(char **text, size_t *length, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int format_new(char **text, size_t *length, const char *format, ...)
{
	enum { ROOM = 2048 };
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

struct models_room {
	struct memory_model_stats models[MEMORY_MODELS_SHOWN];
	char others[OTHERS_MAX];
};

/* A line for each model but the first that has vectors. */
static void others_write(const struct memory_model_stats *models, unsigned count,
			 char others[OTHERS_MAX])
{
	size_t used = 0;

	others[0] = 0;
	for (unsigned i = 1; i < count; i++) {
		const struct memory_model_stats *m = &models[i];
		int n = snprintf(others + used, OTHERS_MAX - used, "%s      %s: %llu passages%s\n",
				 m->is_wanted ? "also " : "still", m->name,
				 (unsigned long long)m->passages,
				 !m->has_embedder ? ", found by their words: it is not at hand"
				 : m->is_failing  ? ", found by their words: it fails"
						  : "");
		if (n < 0 || used + (size_t)n >= OTHERS_MAX) {
			others[used] = 0;
			return;
		}
		used += (size_t)n;
	}
}

/* One line on the vectors that were brought, or nothing. */
static void brought_write(const struct memory_stats *stats, char out[STATUS_LINE])
{
	unsigned long long all = stats->brought, indexed = all - stats->brought_scanned;

	out[0] = 0;
	if (all && !indexed)
		snprintf(out, STATUS_LINE, "vectors    %llu brought, compared one by one\n", all);
	else if (all)
		snprintf(out, STATUS_LINE, "vectors    %llu brought, %llu of them in %llu cells\n",
			 all, indexed, (unsigned long long)stats->brought_cells);
}

int search_write_status(struct fs *fs, char **text, size_t *length)
{
	struct memory_stats stats;
	char brought[STATUS_LINE];
	const char *note;

	if (!fs->memory)
		return format_new(text, length, "memory     off (mount option memory=off)\n");
	memory_get_stats(fs->memory, &stats);
	const char *model = memory_embedder(fs->memory, &note);
	struct models_room *room = op_temporary(sizeof(*room));
	if (!room)
		return -ENOMEM;
	brought_write(&stats, brought);
	others_write(room->models, memory_get_models(fs->memory, room->models), room->others);
	return format_new(text, length,
			  "model      %s%s%s%s\n"
			  "files      %llu\n"
			  "passages   %llu\n"
			  "waiting    %llu\n"
			  "indexes    %llu KiB\n"
			  "%s%s",
			  model, note[0] ? ": " : "", note,
			  room->models[0].is_failing ? ": fails; it is tried again" : "",
			  (unsigned long long)stats.files, (unsigned long long)stats.passages,
			  (unsigned long long)stats.pending, (unsigned long long)stats.bytes / 1024,
			  brought, room->others);
}

/* ---- attributes ---- */

static int ask_text(struct op *op, uint64_t directory, const char *line, uint64_t like, char **text,
		    size_t *length)
{
	struct request *r = request_new();
	struct memory_answer *answer;
	int err = r ? 0 : -ENOMEM;

	if (!err && like)
		r->query.like = like;
	else if (!err)
		err = request_parse(r, line, strlen(line));
	if (!err)
		err = search_ask(op, directory, r, REQUEST_LIMIT, &answer);
	if (!err) {
		err = answer_write_text(answer, r->explain, text, length);
		memory_answer_free(answer);
	}
	request_free(r);
	return err;
}

static int vector_text(struct fs *fs, uint64_t ino, int want_dim, char **text, size_t *length)
{
	float *vector = alloc_get(MEMORY_DIM_MAX * sizeof(*vector));
	uint32_t dim = 0;
	int err = vector ? memory_vector_shown(fs->memory, ino, vector, MEMORY_DIM_MAX, &dim)
			 : -ENOMEM;

	if (!err && !want_dim) {
		*text = (char *)vector;
		*length = dim * sizeof(*vector);
		return 0;
	}
	alloc_free(vector);
	return err ? err : format_new(text, length, "%u", dim);
}

static OWN_FRAME int model_text(struct fs *fs, uint64_t ino, char **text, size_t *length)
{
	char name[MEMORY_NAME_MAX];
	int err = memory_model_name(fs->memory, ino, name);

	return err ? err : format_new(text, length, "%s", name);
}

/* Confidence, uses, activation. */
static OWN_FRAME int use_text(struct fs *fs, uint64_t ino, const char *which, char **text,
			      size_t *length)
{
	char name[64], value[64];

	if ((size_t)snprintf(name, sizeof(name), SEARCH_XATTR "%s", which) >= sizeof(name))
		return SEARCH_XATTR_OTHER;
	int err = memory_use_describe(fs->memory, ino, name, value, sizeof(value));
	if (err)
		return err == -ENOENT ? SEARCH_XATTR_OTHER : err;
	return format_new(text, length, "%s", value);
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
		return model_text(fs, ino, text, length);
	if (!strcmp(which, "version"))
		return format_new(text, length, "%llu", (unsigned long long)inode.version);
	return use_text(fs, ino, which, text, length);
}
