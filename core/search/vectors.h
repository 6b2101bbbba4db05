/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the vectors of one collection: rows of one dimension, element type and metric, kept in
 *            segments. The last segment is active and takes what is put; a full one is sealed:
 *            immutable from then on, kept in a file of its own and mapped from there.
 * Invariants: rows are numbered over all segments (row / segment_rows is the segment) and never
 *            change in place: putting (owner, part) again makes a new row and kills the old one.
 *            Rows begin at multiples of 64 bytes; the padding is zero. For each row there is a
 *            scale: cosine: 1 / |v| (0 for a zero vector); L2: |v|^2; dot: 1.
 *            A dead row keeps its bytes until vectors_compact().
 * Threading: readers may run together; changes exclude all else. No lock of its own.
 * Failure:   0 or -errno. -EINVAL: dimension, NaN or infinity.
 */
#ifndef MNEME_CORE_SEARCH_VECTORS_H
#define MNEME_CORE_SEARCH_VECTORS_H

#include "core/search/file.h"
#include "core/search/rows.h"

#include <stddef.h>

enum { VECTORS_DIM_MAX = 4096, VECTORS_SEGMENT_ROWS = 16384 };

enum vectors_metric { VECTORS_COSINE, VECTORS_DOT, VECTORS_L2 };
enum vectors_type { VECTORS_F32, VECTORS_F16 };

struct vectors_config {
	uint32_t dim;
	enum vectors_metric metric;
	enum vectors_type type;
	uint32_t segment_rows; /* a power of two, 64 to VECTORS_SEGMENT_ROWS (0: that) */
};

struct vectors_segment {
	uint8_t *owned;            /* rows in memory, of alloc_range(), or NULL */
	const uint8_t *data;       /* rows: owned, or mapped */
	struct search_reader file; /* when mapped */
	uint32_t id;               /* names the file of a sealed one; 0: has none yet */
	uint32_t count;
};

struct vectors {
	struct vectors_config config; /* [I] */
	size_t stride;                /* bytes of a row, a multiple of 64 [I] */
	unsigned shift;               /* log2 of segment_rows [I] */
	struct rows rows;
	float *scales;      /* for each row */
	uint64_t *versions; /* for each row: of the file, as given */
	uint32_t scales_capacity;
	struct vectors_segment *segments;
	uint32_t segments_count, segments_capacity;
	uint32_t next_id;
};

int vectors_new(const struct vectors_config *config, struct vectors **out);
void vectors_free(struct vectors *v); /* accepts NULL */

/* Adds or replaces a vector of config.dim floats. *row may be NULL. */
int vectors_put(struct vectors *v, uint64_t owner, uint32_t part, uint64_t version,
		const float *vector, uint32_t *row);
/* The same where no living row is (owner, part): nothing is looked for, so it takes the same time
 * however many parts an owner has. */
int vectors_append(struct vectors *v, uint64_t owner, uint32_t part, uint64_t version,
		   const float *vector, uint32_t *row);
unsigned vectors_delete(struct vectors *v, uint64_t owner);
unsigned vectors_delete_part(struct vectors *v, uint64_t owner, uint32_t part);
/* Copies a vector out as floats; -ENOENT. */
int vectors_get(const struct vectors *v, uint64_t owner, uint32_t part, float *out);

static inline const void *vectors_row(const struct vectors *v, uint32_t row)
{
	return v->segments[row >> v->shift].data +
	       (size_t)(row & ((1u << v->shift) - 1)) * v->stride;
}
/* The row as floats: in place for f32, through `buffer` (config.dim floats) for f16. */
const float *vectors_row_f32(const struct vectors *v, uint32_t row, float *buffer);
/* For L2 and cosine bookkeeping of a query: the scale that a row with these values would have. */
float vectors_scale(const struct vectors *v, const float *vector);

/* A new collection with the living rows only, in order; rows are renumbered. Reads `v` only. */
int vectors_compact(const struct vectors *v, struct vectors **out);

struct vectors_stats {
	uint64_t alive, deleted, segments;
	uint64_t bytes;  /* memory in use, mapped rows not counted */
	uint64_t mapped; /* bytes mapped */
};
void vectors_get_stats(const struct vectors *v, struct vectors_stats *out);

/* Writes what is not in files yet: each full segment to NAME.<id>, then NAME itself with everything
 * else, the active segment's rows included. A crash in between leaves the old state whole. Files of
 * segments that NAME no longer names are removed. `name` at most VECTORS_NAME_MAX characters. */
enum { VECTORS_NAME_MAX = IO_NAME_MAX - 16 };
int vectors_save(struct vectors *v, struct io *io, const char *name, uint64_t position);
/* The same in steps, for a collection in use: as long as _seal_begin() says 1, _seal_write() (no lock at
 * all: a full segment does not change) and, with the result of that, _seal_end() (excludes all else);
 * then vectors_save_table() (reads only; -EAGAIN: a segment became full, seal again). No compaction in
 * between. */
struct vectors_seal {
	const uint8_t *data;
	size_t bytes;
	uint32_t segment, id;
	struct search_reader map;
};
int vectors_seal_begin(const struct vectors *v, struct vectors_seal *out);
int vectors_seal_write(struct vectors_seal *seal, struct io *io, const char *name);
void vectors_seal_end(struct vectors *v, struct vectors_seal *seal, int error);
int vectors_save_table(const struct vectors *v, struct io *io, const char *name, uint64_t position);
/* Sealed segments are mapped; their checksums are verified first. */
int vectors_load(struct io *io, const char *name, struct vectors **out, uint64_t *position);
/* The body of NAME from memory, of a collection without sealed segments: any bytes are safe; -EUCLEAN. */
int vectors_parse(const void *body, size_t length, struct vectors **out);

#endif
