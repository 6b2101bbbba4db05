/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   spaces.h: the spaces in files.
 * Invariants: as of vectors_file.c: a table is written after its segments, so each finds them whole. All
 *            tables of one number are of one moment.
 * Threading: at open, in the upkeep's task, and at close.
 */
#include "core/memory/spaces_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SAVE_TRIES = 3 };

#define ROWS "rows-"
#define CELLS "rowcells-"

static uint32_t number_of(const struct spaces_file *file)
{
	return file->metric << 16 | file->dim;
}

void spaces_file_name(const struct spaces_file *file, char out[IO_NAME_MAX])
{
	snprintf(out, IO_NAME_MAX, "index/" ROWS "%08x", number_of(file));
}

static void cells_name(const struct spaces_file *file, char out[IO_NAME_MAX])
{
	snprintf(out, IO_NAME_MAX, "index/" CELLS "%08x", number_of(file));
}

int spaces_owns(const char *name, const struct spaces_file *files, uint32_t count)
{
	unsigned number = 0;

	if (strncmp(name, ROWS, strlen(ROWS)) && strncmp(name, CELLS, strlen(CELLS)))
		return -ENOENT;
	if (sscanf(name, "%*[a-z]-%8x", &number) != 1)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		if (number_of(&files[i]) == number)
			return 1;
	return 0;
}

/* [lock] */
static int is_empty(const struct space *space)
{
	const struct rows *r = &collection_vectors(space->vectors)->rows;

	return r->count == r->dead_count;
}

/* Full segments, one after the other: searches go on meanwhile. */
static int segments_save(struct spaces *s, struct space *space, struct io *io)
{
	char name[IO_NAME_MAX];
	struct vectors_seal seal;

	spaces_file_name(&space->is, name);
	for (;;) {
		pthread_rwlock_rdlock(&s->lock);
		int any = !is_empty(space) &&
			  vectors_seal_begin(collection_vectors(space->vectors), &seal);
		pthread_rwlock_unlock(&s->lock);
		if (!any)
			return 0;
		int rc = vectors_seal_write(&seal, io, name);
		pthread_rwlock_wrlock(&s->lock);
		collection_seal_end(space->vectors, &seal, rc);
		pthread_rwlock_unlock(&s->lock);
		if (rc)
			return rc;
	}
}

/* [lock] */
static int tables_save(const struct space *space, struct io *io, uint64_t number)
{
	const struct vectors *v = collection_vectors(space->vectors);
	const struct index *cells = collection_index(space->vectors);
	char name[IO_NAME_MAX];

	spaces_file_name(&space->is, name);
	int rc = vectors_save_table(v, io, name, number);
	cells_name(&space->is, name);
	if (rc == 0 && cells)
		return index_save(cells, v, io, name, number);
	if (rc == 0)
		rc = io->ops->unlink(io, name);
	return rc == -ENOENT ? 0 : rc;
}

/* -EAGAIN: a segment became full meanwhile. */
static int all_save(struct spaces *s, struct io *io, uint64_t number,
		    struct spaces_file files[SPACES_MAX], uint32_t *count, uint64_t *changes)
{
	int rc = 0;

	*count = 0;
	pthread_rwlock_rdlock(&s->lock);
	for (unsigned i = 0; i < s->count && rc == 0; i++) {
		if (is_empty(&s->spaces[i]))
			continue;
		rc = tables_save(&s->spaces[i], io, number);
		files[(*count)++] = s->spaces[i].is;
	}
	*changes = spaces_changes(s);
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

int spaces_save(struct spaces *s, struct io *io, uint64_t number,
		struct spaces_file files[SPACES_MAX], uint32_t *count, uint64_t *changes)
{
	int rc = -EAGAIN;

	for (int try = 0; try < SAVE_TRIES && rc == -EAGAIN; try++) {
		pthread_rwlock_rdlock(&s->lock);
		unsigned spaces = s->count;
		pthread_rwlock_unlock(&s->lock);
		rc = 0;
		for (unsigned i = 0; i < spaces && rc == 0; i++)
			rc = segments_save(s, &s->spaces[i], io);
		if (rc == 0)
			rc = all_save(s, io, number, files, count, changes);
	}
	return rc;
}

int spaces_load(struct spaces *s, struct io *io, uint64_t number, const struct spaces_file *file)
{
	struct collection *c = NULL;
	struct index *cells = NULL;
	struct vectors *v;
	uint64_t position = 0, cells_position = 0;
	char name[IO_NAME_MAX];

	spaces_file_name(file, name);
	int rc = vectors_load(io, name, &v, &position);
	if (rc)
		return rc;
	cells_name(file, name);
	if (position != number || v->config.dim != file->dim || v->config.metric != file->metric ||
	    v->config.type != VECTORS_F32 || s->count == SPACES_MAX)
		rc = -EUCLEAN;
	if (rc == 0 && index_load(io, name, v, &cells, &cells_position) == 0 &&
	    cells_position != position) {
		index_free(cells); /* it is built anew */
		cells = NULL;
	}
	if (rc == 0)
		rc = collection_adopt(v, cells, &c);
	if (rc) {
		index_free(cells);
		vectors_free(v);
		return rc;
	}
	pthread_rwlock_wrlock(&s->lock);
	struct index_stats stats = {0};
	if (cells)
		index_get_stats(cells, &stats);
	collection_set_quantizer(c, stats.quantizer);
	s->spaces[s->count++] =
		(struct space){.is = *file, .vectors = c, .quantizer = stats.quantizer};
	pthread_rwlock_unlock(&s->lock);
	return 0;
}
