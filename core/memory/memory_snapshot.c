/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the indexes in files, so that a mount need not build them: derived data, never the truth.
 *
 *   STORE/index/words      the lexical index (core/search/lexical_file.c)
 *   STORE/index/vectors-M  the vectors of model M (8 hexadecimal digits) and their sealed segments
 *                          (core/search/vectors_file.c)
 *   STORE/index/cells-M    their index, where there is one (core/search/index/index_file.c)
 *   STORE/index/rows-S, rowcells-S: see core/memory/spaces.h
 *   STORE/index/memory     written last. Envelope of core/search/file.h, magic "MNEMMEM1", version 3;
 *     body: u8 uuid[16] of the store, u64 log position, u64 epoch, u32 choice, u32 models N,
 *           u32 flags, u32 pending P, u32 spaces S, u32 zero, (u32 model, u32 dim) x N,
 *           (u32 dim, u32 metric) x S, u64 inode x P
 *
 * The choice stands for the embedders that are set up: where it is another one now, some texts may
 * have to be embedded by another model.
 *
 * The position in each envelope is the number of the snapshot. Flag 1: nothing was changed after it, so
 * it stands for the store when log position and epoch are still the same. Flag 2: some inode has, or
 * had, user.xdg.robots.index.
 *
 * Invariants: where anything does not fit, the files are looked upon as out of date (memory_load()
 *            compares each text's version) or, if damaged or another store's, as not there.
 * Threading: at open, in the upkeep's task, and at close.
 * Failure:   a snapshot that cannot be written is said and left out: the next mount builds anew.
 */
#include "core/memory/memory_snapshot.h"

#include "core/memory/memory_inside.h"
#include "core/search/file.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char memory_manifest_magic[8] = {'M', 'N', 'E', 'M', 'M', 'E', 'M', '1'};
enum { SAVE_TRIES = 3 };

#define DIRECTORY "index"
#define WORDS DIRECTORY "/words"

static void say(const char *what, int rc)
{
	fprintf(stderr, "mneme: the search index: %s (%s)\n", what,
		rc == -EUCLEAN ? "damaged, or of another version" : strerror(-rc));
}

/* ---- loading ---- */

int memory_manifest_read(struct search_reader *r, struct memory_manifest *out)
{
	const void *head = search_reader_take(r, sizeof out->head);

	if (!head)
		return -EUCLEAN;
	memcpy(&out->head, head, sizeof out->head);
	out->models = search_reader_take(r, out->head.models *
						    (uint64_t)sizeof(struct memory_manifest_model));
	if (out->models)
		out->spaces = search_reader_take(r, out->head.spaces *
							    (uint64_t)sizeof(struct spaces_file));
	if (out->spaces)
		out->pending = search_reader_take(r, out->head.pending * 8ull);
	if (!out->models || !out->spaces || !out->pending || r->at != r->length)
		return -EUCLEAN;
	return 0;
}

/* Whether nothing has happened since: at most the checkpoint of the close. */
static int is_of_now(const struct memory *mem, const struct memory_manifest *m)
{
	return m->head.flags & MEMORY_MANIFEST_FINAL && m->head.lsn == mem->snapshot.opened_lsn &&
	       m->head.epoch + 1 >= mem->snapshot.opened_epoch &&
	       m->head.epoch <= mem->snapshot.opened_epoch;
}

static int words_load(struct memory *mem, uint64_t *position)
{
	struct lexical *lexical;
	struct lexical_stats stats;
	int rc = lexical_load(mem->snapshot.io, WORDS, &lexical, position);

	if (rc)
		return rc;
	lexical_get_stats(lexical, &stats);
	pthread_rwlock_wrlock(&mem->index);
	lexical_free(mem->lexical);
	mem->lexical = lexical;
	atomic_store_explicit(&mem->files, stats.passages, memory_order_relaxed);
	pthread_rwlock_unlock(&mem->index);
	return 0;
}

struct model_files {
	char vectors[IO_NAME_MAX], cells[IO_NAME_MAX];
};

static struct model_files files_of(uint32_t number)
{
	struct model_files f;

	snprintf(f.vectors, sizeof f.vectors, DIRECTORY "/vectors-%08x", number);
	snprintf(f.cells, sizeof f.cells, DIRECTORY "/cells-%08x", number);
	return f;
}

static int vectors_load_with_cells(struct memory *mem, struct memory_model *m, uint64_t *position)
{
	const struct model_files f = files_of(m->number);
	struct collection *collection = NULL;
	struct vectors *v;
	struct index *cells = NULL;
	uint64_t cells_position = 0;
	int rc = vectors_load(mem->snapshot.io, f.vectors, &v, position);

	if (rc)
		return rc;
	if (v->config.dim != memory_model_dim(m) || v->config.metric != VECTORS_COSINE ||
	    v->config.type != VECTORS_F16)
		rc = -EUCLEAN;
	if (rc == 0 && index_load(mem->snapshot.io, f.cells, v, &cells, &cells_position) == 0 &&
	    cells_position != *position) {
		index_free(cells); /* it is built anew when that is worth it */
		cells = NULL;
	}
	if (rc == 0)
		rc = collection_adopt(v, cells, &collection);
	if (rc) {
		index_free(cells);
		vectors_free(v);
		return rc;
	}
	mem->snapshot.models |= 1u << (m - mem->models.all);
	pthread_rwlock_wrlock(&mem->index);
	collection_free(m->vectors);
	m->vectors = collection;
	pthread_rwlock_unlock(&mem->index);
	return 0;
}

static int pending_load(struct memory *mem, const struct memory_manifest *m)
{
	int rc = 0;

	for (uint32_t i = 0; i < m->head.pending && rc == 0; i++) {
		uint64_t inode;
		memcpy(&inode, m->pending + 8ull * i, sizeof inode);
		rc = pending_add(&mem->pending, inode, 0);
	}
	return rc;
}

/* The vectors of all models. -EUCLEAN: of another number, or a model that there is no place for. */
static int models_load(struct memory *mem, uint64_t number, const struct memory_manifest *m)
{
	int rc = 0;

	for (uint32_t i = 0; i < m->head.models && rc == 0; i++) {
		struct memory_manifest_model named;
		uint64_t position = 0;
		memcpy(&named, m->models + i * sizeof named, sizeof named);
		struct memory_model *model = memory_model_meet(mem, named.number, named.dim);
		rc = model ? vectors_load_with_cells(mem, model, &position) : -EUCLEAN;
		if (rc == 0 && position != number)
			rc = -EUCLEAN;
	}
	return rc;
}

static int spaces_load_all(struct memory *mem, uint64_t number, const struct memory_manifest *m)
{
	int rc = 0;

	for (uint32_t i = 0; i < m->head.spaces && rc == 0; i++) {
		struct spaces_file file;
		memcpy(&file, m->spaces + i * sizeof file, sizeof file);
		rc = spaces_load(mem->spaces, mem->snapshot.io, number, &file);
	}
	return rc;
}

/* What the manifest names. 1: all of it, and it is of now. */
static int files_load(struct memory *mem, uint64_t number, const struct memory_manifest *m)
{
	uint64_t words = 0;
	uint8_t uuid[16];

	mneme_uuid(mem->engine, uuid);
	if (memcmp(uuid, m->head.uuid, sizeof uuid)) {
		say("it is another store's; it is built anew", -ESTALE);
		return 0;
	}
	mem->snapshot.number = number;
	int rc = words_load(mem, &words);
	if (rc == 0)
		rc = models_load(mem, number, m);
	if (rc == 0)
		rc = spaces_load_all(mem, number, m);
	if (rc == -ENOMEM)
		return rc;
	if (rc)
		say("a file of it cannot be used; it is built anew", rc);
	if (rc || m->head.choice != memory_models_choice(mem) || words != number ||
	    !is_of_now(mem, m))
		return 0;
	if (m->head.flags & MEMORY_MANIFEST_HIDES)
		atomic_store_explicit(&mem->hides, 1, memory_order_relaxed);
	mem->snapshot.is_saved = 1;
	memcpy(mem->snapshot.spaces, m->spaces, m->head.spaces * sizeof(struct spaces_file));
	mem->snapshot.spaces_count = m->head.spaces;
	rc = mem->read_only ? 0 : pending_load(mem, m);
	return rc ? rc : 1;
}

int memory_snapshot_load(struct memory *mem)
{
	struct memory_manifest manifest;
	struct search_reader r;

	if (!mem->snapshot.io)
		return 0;
	int rc = search_reader_open(&r, mem->snapshot.io, MEMORY_MANIFEST, memory_manifest_magic,
				    MEMORY_MANIFEST_FORMAT, 0);
	if (rc == 0) {
		rc = memory_manifest_read(&r, &manifest);
		if (rc == 0)
			rc = files_load(mem, r.position, &manifest);
		search_reader_close(&r);
	}
	if (rc == -ENOENT || rc >= 0 || rc == -ENOMEM)
		return rc == -ENOENT ? 0 : rc;
	say("it is built anew", rc);
	return 0;
}

/* ---- saving ---- */

/* Of a model that has no text any more nothing is kept. [index] */
static int is_kept(const struct memory *mem, const struct memory_model *m)
{
	return m->vectors && (m == mem->models.standard || memory_model_rows(m));
}

/* Full segments, one after the other: searches go on meanwhile. */
static int segments_save(struct memory *mem, struct memory_model *m)
{
	const struct model_files f = files_of(m->number);
	struct vectors_seal seal;

	for (;;) {
		pthread_rwlock_rdlock(&mem->index);
		int any = is_kept(mem, m) &&
			  vectors_seal_begin(collection_vectors(m->vectors), &seal);
		pthread_rwlock_unlock(&mem->index);
		if (!any)
			return 0;
		int rc = vectors_seal_write(&seal, mem->snapshot.io, f.vectors);
		pthread_rwlock_wrlock(&mem->index);
		collection_seal_end(m->vectors, &seal, rc);
		pthread_rwlock_unlock(&mem->index);
		if (rc)
			return rc;
	}
}

static int model_save(struct memory *mem, const struct memory_model *m, uint64_t number)
{
	const struct model_files f = files_of(m->number);
	struct io *io = mem->snapshot.io;

	if (!is_kept(mem, m))
		return 0;
	const struct vectors *v = collection_vectors(m->vectors);
	const struct index *cells = collection_index(m->vectors);
	int rc = vectors_save_table(v, io, f.vectors, number);
	if (rc == 0 && cells)
		return index_save(cells, v, io, f.cells, number);
	if (rc == 0)
		rc = io->ops->unlink(io, f.cells);
	return rc == -ENOENT ? 0 : rc;
}

/* Without the words of what is gone: a file is not where they should survive. */
static int words_save(struct memory *mem, uint64_t number)
{
	struct lexical *living = NULL;
	struct lexical_stats stats;
	int rc = 0;

	lexical_get_stats(mem->lexical, &stats);
	if (stats.deleted)
		rc = lexical_compact(mem->lexical, &living);
	if (rc == 0)
		rc = lexical_save(living ? living : mem->lexical, mem->snapshot.io, WORDS, number);
	lexical_free(living);
	return rc;
}

/* `index` is held for reading, so that all are of one moment. */
static int files_save(struct memory *mem, uint64_t number)
{
	int rc = words_save(mem, number);

	mem->snapshot.models = 0;
	for (unsigned i = 0; i < mem->models.count && rc == 0; i++) {
		rc = model_save(mem, &mem->models.all[i], number);
		if (is_kept(mem, &mem->models.all[i]))
			mem->snapshot.models |= 1u << i;
	}
	mem->snapshot.changes = mem->changes;
	return rc;
}

static int indexes_save(struct memory *mem, uint64_t number)
{
	int rc = -EAGAIN;

	for (int i = 0; i < SAVE_TRIES && rc == -EAGAIN; i++) {
		rc = 0;
		for (unsigned m = 0; m < mem->models.count && rc == 0; m++)
			rc = segments_save(mem, &mem->models.all[m]);
		if (rc)
			break;
		pthread_rwlock_rdlock(&mem->index);
		rc = files_save(mem, number);
		pthread_rwlock_unlock(&mem->index);
	}
	return rc;
}

static int brought_save(struct memory *mem, uint64_t number)
{
	struct memory_snapshot *s = &mem->snapshot;
	uint64_t changes;
	int rc = spaces_save(mem->spaces, s->io, number, s->spaces, &s->spaces_count, &changes);

	atomic_store_explicit(&s->brought, changes, memory_order_relaxed);
	return rc;
}

/* As spaces_owns(), for models. */
static int models_own(const struct memory *mem, const char *name)
{
	unsigned number = 0, at = 0;

	if (strncmp(name, "vectors", 7) && strncmp(name, "cells", 5))
		return -ENOENT;
	if (sscanf(name, "%*[a-z]-%8x", &number) != 1)
		number = 0;
	while (at < mem->models.count &&
	       (mem->models.all[at].number != number || !(mem->snapshot.models >> at & 1)))
		at++;
	return at < mem->models.count;
}

/* Files of what has no vectors any more, or that an older version made, are of no use. */
static int stranger_remove(void *arg, const char *name)
{
	const struct memory *mem = arg;
	const struct memory_snapshot *s = &mem->snapshot;
	char path[2 * IO_NAME_MAX];

	if ((models_own(mem, name) == 0 || spaces_owns(name, s->spaces, s->spaces_count) == 0) &&
	    snprintf(path, sizeof path, DIRECTORY "/%s", name) < IO_NAME_MAX)
		s->io->ops->unlink(s->io, path);
	return 0;
}

static int manifest_save(struct memory *mem, uint64_t number, int is_final)
{
	struct memory_manifest_head head = {.choice = memory_models_choice(mem),
					    .spaces = mem->snapshot.spaces_count};
	struct memory_manifest_model models[MEMORY_MODELS_MAX];
	struct mneme_stats stats;
	struct search_writer w;
	uint64_t *pending = NULL;
	int rc = 0;

	mneme_uuid(mem->engine, head.uuid);
	mneme_get_stats(mem->engine, &stats);
	head.lsn = stats.lsn_next;
	head.epoch = stats.epoch;
	if (is_final && !atomic_load_explicit(&mem->has_errors, memory_order_relaxed) &&
	    !atomic_load_explicit(&mem->opted, memory_order_relaxed))
		head.flags |= MEMORY_MANIFEST_FINAL;
	if (atomic_load_explicit(&mem->hides, memory_order_relaxed))
		head.flags |= MEMORY_MANIFEST_HIDES;
	for (unsigned i = 0; i < mem->models.count; i++) {
		const struct memory_model *m = &mem->models.all[i];
		if (mem->snapshot.models >> i & 1)
			models[head.models++] =
				(struct memory_manifest_model){m->number, memory_model_dim(m)};
	}
	if (is_final)
		rc = pending_list(&mem->pending, &pending, &head.pending);
	if (rc == 0)
		rc = search_writer_open(&w, mem->snapshot.io, MEMORY_MANIFEST);
	if (rc == 0) {
		search_writer_put(&w, &head, sizeof head);
		search_writer_put(&w, models, head.models * sizeof models[0]);
		search_writer_put(&w, mem->snapshot.spaces,
				  head.spaces * sizeof mem->snapshot.spaces[0]);
		search_writer_put(&w, pending, head.pending * sizeof *pending);
		rc = search_writer_close(&w, memory_manifest_magic, MEMORY_MANIFEST_FORMAT, number,
					 0);
	}
	alloc_free(pending);
	return rc;
}

static int save(struct memory *mem, int is_final)
{
	struct memory_snapshot *s = &mem->snapshot;
	uint64_t number = s->number;
	int rc = s->io->ops->mkdir(s->io, DIRECTORY);

	if (rc == 0)
		rc = s->io->ops->sync_dir(s->io, "");
	if (rc && rc != -EEXIST)
		return rc;
	rc = 0;
	if (!s->is_saved || mem->changes != s->changes ||
	    spaces_changes(mem->spaces) !=
		    atomic_load_explicit(&s->brought, memory_order_relaxed)) {
		s->is_saved = 0;
		rc = indexes_save(mem, ++number);
		if (rc == 0)
			rc = brought_save(mem, number);
	}
	if (rc == 0 &&
	    is_final) /* what the manifest says is of no use if the store does not get there */
		rc = mneme_checkpoint(mem->engine);
	if (rc == 0)
		rc = manifest_save(mem, number, is_final);
	if (rc == 0) {
		s->number = number;
		s->is_saved = 1;
		s->io->ops->list(s->io, DIRECTORY, stranger_remove, mem);
	}
	return rc;
}

/* Nothing is kept without a place for it. */
static int is_off(const struct memory *mem)
{
	return !mem->snapshot.io || mem->read_only;
}

int memory_snapshot_is_due(struct memory *mem)
{
	if (is_off(mem))
		return 0;
	pthread_rwlock_rdlock(&mem->index);
	int due = mem->changes - mem->snapshot.changes >= MEMORY_SNAPSHOT_CHANGES;
	pthread_rwlock_unlock(&mem->index);
	return due || spaces_changes(mem->spaces) - atomic_load_explicit(&mem->snapshot.brought,
									 memory_order_relaxed) >=
			      MEMORY_SNAPSHOT_CHANGES;
}

void memory_snapshot_save(struct memory *mem, int is_final)
{
	if (is_off(mem))
		return;
	int rc = save(mem, is_final);
	if (rc && rc != -EROFS)
		say("it could not be saved; the next mount builds it anew", rc);
}
