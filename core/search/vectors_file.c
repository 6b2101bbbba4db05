/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a collection of vectors in files, each in the envelope of file.h.
 *
 *   NAME.<id, 8 hexadecimal digits>: a sealed segment. Magic "MNEMSEG1", version 1.
 *     body: rows x stride bytes: the rows as in memory, the first at a multiple of 64
 *   NAME: magic "MNEMVEC1", version 1.
 *     body: u32 dim, u32 metric, u32 type, u32 rows of a segment R, u32 next id, u32 rows N
 *           u32 id x floor(N / R); aligned to 8: u64 owner x N, u64 version x N, u32 part x N,
 *           f32 scale x N; aligned to 8: u64 dead x ceil(N / 64)
 *           aligned to 64: the N mod R rows of the active segment
 *
 * Invariants: NAME is written after the segments that it names, and segments are never rewritten,
 *            so every NAME finds its segments whole.
 */
#include "core/search/vectors.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char vectors_magic[8] = {'M', 'N', 'E', 'M', 'V', 'E', 'C', '1'};
static const char segment_magic[8] = {'M', 'N', 'E', 'M', 'S', 'E', 'G', '1'};
enum { VECTORS_FORMAT = 1 };

static void segment_name(char out[IO_NAME_MAX], const char *name, uint32_t id)
{
	snprintf(out, IO_NAME_MAX, "%.*s.%08x", VECTORS_NAME_MAX, name, id);
}

int vectors_seal_begin(const struct vectors *v, struct vectors_seal *out)
{
	uint32_t full = v->rows.count >> v->shift;

	for (uint32_t i = 0; i < full; i++)
		if (!v->segments[i].id) {
			*out = (struct vectors_seal){.data = v->segments[i].data,
						     .bytes = v->stride << v->shift,
						     .segment = i,
						     .id = v->next_id};
			return 1;
		}
	return 0;
}

int vectors_seal_write(struct vectors_seal *seal, struct io *io, const char *name)
{
	struct search_writer w;
	char file[IO_NAME_MAX];

	segment_name(file, name, seal->id);
	int rc = search_writer_open(&w, io, file);
	if (rc)
		return rc;
	search_writer_put(&w, seal->data, seal->bytes);
	rc = search_writer_close(&w, segment_magic, VECTORS_FORMAT, seal->id, 0);
	if (!rc && search_reader_open(&seal->map, io, file, segment_magic, VECTORS_FORMAT, 1))
		seal->map = (struct search_reader){0}; /* the copy in memory stays in use */
	return rc;
}

void vectors_seal_end(struct vectors *v, struct vectors_seal *seal, int error)
{
	struct vectors_segment *segment = &v->segments[seal->segment];

	if (error)
		return;
	CHECK(segment->data == seal->data && v->next_id == seal->id);
	segment->id = v->next_id++;
	if (!seal->map.body)
		return;
	segment->file = seal->map;
	segment->data = seal->map.body;
	alloc_range_free(segment->owned, seal->bytes);
	segment->owned = NULL;
}

struct sweep {
	const struct vectors *v;
	struct io *io;
	const char *base; /* last part of NAME */
	char directory[IO_NAME_MAX];
};

static int sweep_each(void *arg, const char *name)
{
	struct sweep *s = arg;
	size_t length = strlen(s->base);
	unsigned id;
	int end = 0;
	char path[2 * IO_NAME_MAX];

	if (strncmp(name, s->base, length) || sscanf(name + length, ".%8x%n", &id, &end) != 1 ||
	    name[length + (size_t)end])
		return 0;
	for (uint32_t i = 0; i < s->v->segments_count; i++)
		if (s->v->segments[i].id == id)
			return 0;
	snprintf(path, sizeof(path), "%s%s%s", s->directory, *s->directory ? "/" : "", name);
	s->io->ops->unlink(s->io, path);
	return 0;
}

/* Removes segment files that nobody names. What cannot be removed is found again the next time. */
static void segments_sweep(const struct vectors *v, struct io *io, const char *name)
{
	struct sweep s = {.v = v, .io = io};
	const char *slash = strrchr(name, '/');

	s.base = slash ? slash + 1 : name;
	snprintf(s.directory, sizeof(s.directory), "%.*s", slash ? (int)(slash - name) : 0, name);
	io->ops->list(io, s.directory, sweep_each, &s);
}

int vectors_save(struct vectors *v, struct io *io, const char *name, uint64_t position)
{
	struct vectors_seal seal;
	int rc = strlen(name) > VECTORS_NAME_MAX ? -ENAMETOOLONG : 0;

	while (!rc && vectors_seal_begin(v, &seal)) {
		rc = vectors_seal_write(&seal, io, name);
		vectors_seal_end(v, &seal, rc);
	}
	return rc ? rc : vectors_save_table(v, io, name, position);
}

int vectors_save_table(const struct vectors *v, struct io *io, const char *name, uint64_t position)
{
	struct search_writer w;
	struct vectors_seal seal;
	uint32_t rows = v->rows.count, full = rows >> v->shift;

	if (vectors_seal_begin(v, &seal))
		return -EAGAIN;
	int rc = search_writer_open(&w, io, name);
	if (rc)
		return rc;
	uint32_t head[] = {v->config.dim,          v->config.metric, v->config.type,
			   v->config.segment_rows, v->next_id,       rows};
	search_writer_put(&w, head, sizeof(head));
	for (uint32_t i = 0; i < full; i++)
		search_writer_u32(&w, v->segments[i].id);
	search_writer_align(&w, 8);
	search_writer_put(&w, v->rows.owners, rows * 8ull);
	search_writer_put(&w, v->versions, rows * 8ull);
	search_writer_put(&w, v->rows.parts, rows * 4ull);
	search_writer_put(&w, v->scales, rows * 4ull);
	search_writer_align(&w, 8);
	search_writer_put(&w, v->rows.dead, (rows + 63ull) / 64 * 8);
	search_writer_align(&w, 64);
	if (full < v->segments_count)
		search_writer_put(&w, v->segments[full].data,
				  v->stride * (rows & ((1u << v->shift) - 1)));
	rc = search_writer_close(&w, vectors_magic, VECTORS_FORMAT, position, 0);
	if (!rc)
		segments_sweep(v, io, name);
	return rc;
}

static int segments_load(struct vectors *v, struct io *io, const char *name, const uint8_t *ids,
			 uint32_t full)
{
	int rc = 0;

	v->segments_capacity = full + 1;
	v->segments = alloc_zeroed(v->segments_capacity, sizeof(*v->segments));
	if (!v->segments)
		return -ENOMEM;
	for (uint32_t i = 0; !rc && i < full; i++) {
		struct vectors_segment *segment = &v->segments[i];
		char file[IO_NAME_MAX];
		memcpy(&segment->id, ids + i * 4ull, 4);
		segment_name(file, name, segment->id);
		rc = search_reader_open(&segment->file, io, file, segment_magic, VECTORS_FORMAT, 1);
		if (rc) {
			memset(&segment->file, 0, sizeof(segment->file));
			return rc == -ENOENT ? -EUCLEAN : rc;
		}
		v->segments_count++;
		segment->data = segment->file.body;
		segment->count = v->config.segment_rows;
		if (segment->file.length != v->stride << v->shift)
			rc = -EUCLEAN;
	}
	return rc;
}

static int active_load(struct vectors *v, struct search_reader *r, uint32_t count)
{
	if (!count)
		return 0;
	const void *data = search_reader_take(r, count * v->stride);
	uint8_t *owned = data ? alloc_range(v->stride << v->shift) : NULL;
	if (!owned)
		return data ? -ENOMEM : -EUCLEAN;
	memcpy(owned, data, count * v->stride);
	v->segments[v->segments_count++] =
		(struct vectors_segment){.owned = owned, .data = owned, .count = count};
	return 0;
}

static int rows_load(struct vectors *v, struct search_reader *r, uint32_t rows)
{
	const uint8_t *owners = search_reader_take(r, rows * 8ull);
	const uint8_t *versions = search_reader_take(r, rows * 8ull);
	const uint8_t *parts = search_reader_take(r, rows * 4ull);
	const uint8_t *scales = search_reader_take(r, rows * 4ull);
	search_reader_align(r, 8);
	const uint8_t *dead = search_reader_take(r, (rows + 63ull) / 64 * 8);

	if (r->overrun)
		return -EUCLEAN;
	v->scales_capacity = rows;
	v->scales = rows ? alloc_get(rows * 4ull) : NULL;
	v->versions = rows ? alloc_get(rows * 8ull) : NULL;
	if (rows && (!v->scales || !v->versions))
		return -ENOMEM;
	if (rows) {
		memcpy(v->scales, scales, rows * 4ull);
		memcpy(v->versions, versions, rows * 8ull);
	}
	for (uint32_t row = 0; row < rows; row++) {
		uint64_t owner;
		uint32_t part;
		memcpy(&owner, owners + row * 8ull, sizeof(owner));
		memcpy(&part, parts + row * 4ull, sizeof(part));
		int rc = isfinite(v->scales[row]) ? rows_append(&v->rows, owner, part) : -EUCLEAN;
		if (rc)
			return rc;
		if (dead[row >> 3] >> (row & 7) & 1)
			rows_kill(&v->rows, row);
	}
	return 0;
}

/* `io` NULL: there are no files of segments. */
static int body_read(struct search_reader *r, struct io *io, const char *name, struct vectors **out)
{
	struct vectors *v = NULL;
	uint32_t head[6];

	for (unsigned i = 0; i < 6; i++)
		head[i] = search_reader_u32(r);
	struct vectors_config config = {head[0], head[1], head[2], head[3]};
	int rc = r->overrun || !config.segment_rows ? -EUCLEAN : vectors_new(&config, &v);
	if (rc)
		return rc == -ENOMEM ? rc : -EUCLEAN;
	v->next_id = head[4];
	uint32_t full = head[5] >> v->shift;
	const uint8_t *ids = search_reader_take(r, full * 4ull);
	search_reader_align(r, 8);
	rc = ids && (io || !full) ? segments_load(v, io, name, ids, full) : -EUCLEAN;
	if (!rc)
		rc = rows_load(v, r, head[5]);
	search_reader_align(r, 64);
	if (!rc)
		rc = active_load(v, r, head[5] & (config.segment_rows - 1));
	if (rc)
		vectors_free(v);
	else
		*out = v;
	return rc;
}

int vectors_load(struct io *io, const char *name, struct vectors **out, uint64_t *position)
{
	struct search_reader r;

	if (strlen(name) > VECTORS_NAME_MAX)
		return -ENAMETOOLONG;
	int rc = search_reader_open(&r, io, name, vectors_magic, VECTORS_FORMAT, 0);
	if (rc)
		return rc;
	rc = body_read(&r, io, name, out);
	*position = r.position;
	search_reader_close(&r);
	return rc;
}

int vectors_parse(const void *body, size_t length, struct vectors **out)
{
	struct search_reader r;

	search_reader_over(&r, body, length);
	return body_read(&r, NULL, "", out);
}
