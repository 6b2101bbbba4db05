/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   brings the indexes in line with the store after it was opened: those kept in files
 *            (memory_snapshot.c) where they are of this state, else what differs, file by file.
 * Invariants: when memory_load() returns, what the indexes hold is what the records say, and what has no
 *            record of its present version is pending.
 * Threading: before anything else runs.
 * Failure:   the open's.
 */
#include "core/memory/memory_inside.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- all files ---- */

struct walk {
	struct memory *mem;
	uint64_t *inodes;
	uint32_t count, capacity;
	uint64_t at; /* the inode whose key came last; 0: none came */
};

static int walk_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct walk *w = arg;
	struct names_inode inode;

	w->at = key->inode;
	if (key->type != MNEME_TYPE_INODE || length < sizeof inode)
		return 0;
	memcpy(&inode, value, sizeof inode);
	if (inode.state & NAMES_HAS_ROBOTS)
		atomic_store_explicit(&w->mem->hides, 1, memory_order_relaxed);
	if ((!S_ISREG(inode.mode) && !S_ISLNK(inode.mode)) || !inode.nlink)
		return 0;
	if (w->count == w->capacity) {
		uint32_t capacity = w->capacity ? 2 * w->capacity : 4096;
		void *more = alloc_resize(w->inodes, capacity * sizeof w->inodes[0]);
		if (!more)
			return -ENOMEM;
		w->inodes = more;
		w->capacity = capacity;
	}
	w->inodes[w->count++] = key->inode;
	return 0;
}

/* All regular files and symbolic links. Looks at one key of each inode, never at their bytes. */
static int walk_run(struct walk *w)
{
	uint32_t shards = mneme_shards(w->mem->engine);
	int rc = 0;

	for (uint32_t shard = 0; shard < shards && rc == 0; shard++) {
		uint64_t next = shard + shards; /* what is below is the engine's */
		do {
			struct mneme_key first = {.inode = next};
			struct mneme_key last = {.inode = UINT64_MAX, .type = 0xff};
			w->at = 0;
			rc = mneme_scan(w->mem->engine, &first, &last, 1, walk_take, w);
			next = w->at + shards;
		} while (rc == 0 && w->at);
	}
	return rc;
}

/* ---- one file ---- */

/* Where a file's last part ends: its words are taken from what is before. */
static int part_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	uint64_t *end = arg;
	struct memory_part part;

	if (key->sub_length != 4 || length != sizeof part)
		return 0;
	memcpy(&part, value, sizeof part);
	*end = part.end > *end ? part.end : *end;
	return 0;
}

/* Puts a file into the indexes from its records and bytes, with its words alone where `model` is NULL. */
static int parts_load(struct memory *mem, uint64_t inode, const struct memory_state *state,
		      struct memory_model *model)
{
	uint32_t dim = model ? memory_model_dim(model) : 0;
	struct mneme_key first = names_key(inode, MNEME_TYPE_PASSAGE), last = first;
	float *vectors = NULL;
	uint64_t end = 0;
	int rc = 0;

	atomic_fetch_add_explicit(&mem->reread, 1, memory_order_relaxed);
	if (dim)
		vectors = alloc_get((size_t)state->parts * dim * sizeof *vectors);
	if (dim && !vectors)
		return -ENOMEM;
	for (uint32_t i = 0; vectors && i < state->parts && rc == 0; i++) {
		uint32_t found = 0;
		rc = memory_vector(mem, inode, i, vectors + (size_t)i * dim, dim, &found);
		if (rc == 0 && found != dim)
			rc = -EUCLEAN;
	}
	last.type++;
	if (rc == 0)
		rc = mneme_scan(mem->engine, &first, &last, 0, part_take, &end);
	if (rc == 0)
		rc = memory_words_count(mem, mem->work.words, inode, end, &mem->work.bag);
	if (rc == 0)
		rc = memory_index_put(mem, inode, state->version, &mem->work.bag, model,
				      state->parts, vectors);
	alloc_free(vectors);
	return rc;
}

/* Does the record say what the file is now, and may it be found? A text that could not be embedded
 * has its words. */
static int is_current(const struct memory_state *state, const struct names_inode *record,
		      int hidden)
{
	return state->version == record->version && !hidden && state->parts &&
	       state->parts <= MEMORY_PARTS_MAX && state->model != MEMORY_MODEL_ROWS &&
	       (state->status == MEMORY_INDEXED || state->status == MEMORY_ERROR);
}

/* A text is found by what its records hold, until it has vectors of the model that is wanted now. */
static int text_load(struct memory *mem, uint64_t inode, const struct memory_state *state)
{
	struct memory_model *model =
		state->dim ? memory_model_meet(mem, state->model, state->dim) : NULL;
	const struct memory_model *wanted = memory_model_wanted(mem, inode, NULL);
	int rc = 0;

	if (!memory_index_holds(mem, inode, state->version, model, model ? state->parts : 0))
		rc = parts_load(mem, inode, state, model);
	if (rc == 0 && !mem->read_only &&
	    (state->status == MEMORY_ERROR || (wanted && wanted->number != state->model)))
		rc = pending_add(&mem->pending, inode, 0);
	return rc;
}

/* Vectors that the file brings. 1: it is a vector file and done with. */
static int rows_load(struct memory *mem, uint64_t inode)
{
	static _Thread_local char reason[MEMORY_REASON_MAX + 1];
	struct names_inode record;
	struct memory_state state;
	struct memory_rows rows;
	int rc = memory_inode(mem->engine, inode, &record);

	if (rc == 0)
		rc = memory_state_get(mem, inode, &state, reason);
	if (rc < 0 || !record.nlink || state.version != record.version ||
	    (state.model != MEMORY_MODEL_ROWS && !(record.state & NAMES_HAS_VECTOR)) ||
	    memory_is_hidden(mem, inode) || !strcmp(reason, MEMORY_HIDDEN)) {
		spaces_remove(mem->spaces, inode);
		return 0;
	}
	if (state.status == MEMORY_INDEXED)
		rc = memory_rows_index(mem, inode, &record, &rows, reason);
	else
		spaces_remove(mem->spaces, inode);
	return rc == -ENOMEM ? rc : state.model == MEMORY_MODEL_ROWS;
}

static int file_load(struct memory *mem, uint64_t inode)
{
	static _Thread_local char reason[MEMORY_REASON_MAX + 1];
	struct names_inode record;
	struct memory_state state;
	int rc = memory_inode(mem->engine, inode, &record);

	if (rc == -ENOENT || (rc == 0 && !record.nlink)) {
		memory_index_remove(mem, inode);
		spaces_remove(mem->spaces, inode);
		return 0;
	}
	if (rc == 0 && !mem->read_only && (S_ISLNK(record.mode) || record.state & NAMES_HAS_LINKS))
		rc = pending_add(&mem->pending, inode, 0); /* nobody knows when they were set */
	if (rc == 0 && S_ISLNK(record.mode))
		return 0;
	if (rc == 0)
		rc = rows_load(mem, inode);
	if (rc == 1) {
		memory_index_remove(mem, inode);
		return 0;
	}
	if (rc == 0)
		rc = memory_state_get(mem, inode, &state, reason);
	if (rc < 0 && rc != -ENOENT && rc != -EUCLEAN)
		return rc;
	int hidden = memory_is_hidden(mem, inode);
	if (rc == 0 && is_current(&state, &record, hidden)) {
		rc = text_load(mem, inode, &state);
		if (rc == 0 || rc == -ENOMEM)
			return rc;
	}
	memory_index_remove(mem, inode);
	if (rc == 0 && state.version == record.version && state.status == MEMORY_SKIPPED &&
	    hidden == !strcmp(reason, MEMORY_HIDDEN))
		return 0;
	return mem->read_only ? 0 : pending_add(&mem->pending, inode, 0);
}

/* ---- all of them ---- */

static int compare_inodes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Owners in the indexes that the walk did not meet. */
struct strangers {
	const struct walk *known;
	struct walk found;
};

static int stranger_take(void *arg, uint64_t owner)
{
	struct strangers *s = arg;
	struct names_inode record = {.mode = S_IFREG, .nlink = 1};
	struct mneme_key key = names_key(owner, MNEME_TYPE_INODE);

	if (bsearch(&owner, s->known->inodes, s->known->count, sizeof owner, compare_inodes))
		return 0;
	return walk_take(&s->found, &key, &record, sizeof record);
}

static int owners_take(struct strangers *s, const struct vectors *v)
{
	int rc = 0;

	for (uint32_t row = 0; row < v->rows.count && rc == 0; row++)
		if (!rows_is_dead(&v->rows, row))
			rc = stranger_take(s, v->rows.owners[row]);
	return rc;
}

static int strangers_load(struct memory *mem, struct walk *known)
{
	struct strangers s = {.known = known, .found = {.mem = mem}};
	int rc;

	if (known->count)
		qsort(known->inodes, known->count, sizeof known->inodes[0], compare_inodes);
	pthread_rwlock_rdlock(&mem->index);
	rc = lexical_each(mem->lexical, stranger_take, &s);
	for (unsigned i = 0; i < mem->models.count && rc == 0; i++)
		if (mem->models.all[i].vectors)
			rc = owners_take(&s, collection_vectors(mem->models.all[i].vectors));
	pthread_rwlock_unlock(&mem->index);
	if (rc == 0)
		rc = spaces_each(mem->spaces, stranger_take, &s);
	for (uint32_t i = 0; i < s.found.count && rc == 0; i++)
		rc = file_load(mem, s.found.inodes[i]);
	alloc_free(s.found.inodes);
	return rc;
}

int memory_load(struct memory *mem)
{
	struct walk w = {.mem = mem};
	int rc = memory_snapshot_load(mem), caught_up = rc == 1;

	if (rc >= 0 && memory_links_load(mem, caught_up) < 0)
		rc = -EIO;
	if (rc < 0 || caught_up)
		return rc < 0 ? rc : 0;
	rc = walk_run(&w);
	for (uint32_t i = 0; i < w.count && rc == 0; i++) {
		rc = file_load(mem, w.inodes[i]);
		rc = rc < 0 ? rc : 0;
	}
	if (rc == 0)
		rc = strangers_load(mem, &w);
	alloc_free(w.inodes);
	return rc;
}

/* Has the directory of a text come to choose another model? */
static int is_misplaced(struct memory *mem, uint64_t inode, const struct memory_state *state)
{
	if (!atomic_load_explicit(&mem->models.chosen, memory_order_relaxed) || !state->parts ||
	    state->model == MEMORY_MODEL_ROWS)
		return 0;
	const struct memory_model *wanted = memory_model_wanted(mem, inode, NULL);
	return wanted && wanted->number != state->model;
}

int memory_index_review(struct memory *mem)
{
	struct walk w = {.mem = mem};
	char reason[MEMORY_REASON_MAX + 1];
	struct memory_state state;
	int settings = atomic_exchange_explicit(&mem->settings, 0, memory_order_relaxed);
	int rc = walk_run(&w);

	if (settings)
		spaces_want_no_codes(mem->spaces);
	for (uint32_t i = 0; i < w.count && rc == 0; i++) {
		if (memory_state_get(mem, w.inodes[i], &state, reason) < 0)
			continue; /* it is pending anyhow, or gone */
		if (memory_is_hidden(mem, w.inodes[i]) != !strcmp(reason, MEMORY_HIDDEN) ||
		    (settings && state.model == MEMORY_MODEL_ROWS) ||
		    is_misplaced(mem, w.inodes[i], &state))
			rc = pending_add(&mem->pending, w.inodes[i], 0);
	}
	alloc_free(w.inodes);
	return rc;
}
