/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the index kind `graph`: each row is a vertex with edges to 32 others around it, and
 *            beside the edges lie 1-bit codes of where they lead. A search walks towards the query:
 *            one pass over a vertex's region of memory estimates the distances of all its
 *            neighbours, and only the vertices that it visits are compared exactly.
 * Source:    codes: RaBitQ (Gao and Long, SIGMOD 2024); codes beside the edges: SymphonyQG (Gou et
 *            al., SIGMOD 2025); choice of the edges: Vamana (Subramanya et al., NeurIPS 2019).
 *
 * All distances are squared and between rows as the index sees them: of length 1 where the metric is
 * cosine. With v a vertex, x a neighbour, r = R(x - v) its rotated offset, e the signs of r (each 1
 * or -1), m the mean of the rows, and s = |r|^2 / <r, e>:
 *     |q - x|^2 = |q - v|^2 + |r|^2 - 2 <R(q - v), r>   and   <R(q - v), r> is about
 *     s <R(q - v), e> = s <R(q - m), e> - s <R(v - m), e>
 * so with add = |r|^2 + 2 s <R(v - m), e> and scale = -2 s, both made when the edge is, the estimate
 * is |q - v|^2 + add + scale <R(q - m), e>, and one table of the query serves all vertices.
 *
 * A vertex's block:
 *     u32 id x 32 (VGRAPH_NONE: no edge; edges come first; VGRAPH_SPARE is added to the id of one
 *     that only fills up); f32 add x 32; f32 scale x 32;
 *     codes: 16 x padded / 4 bytes as simd's pq4_scan() wants them, a group being 4 dimensions
 * A vertex has the number of its row. Blocks are kept in chunks: those built or mapped lie in one
 * region, those added or changed after mapping in memory of their own.
 *
 * Invariants: an edge leads to a vertex that is in the graph. What is dead is walked over, never
 *            returned. The graph is the same for any number of threads.
 * Threading: as index.h.
 * Failure:   -ENOMEM, -ECANCELED.
 */
#ifndef MNEME_CORE_SEARCH_VGRAPH_H
#define MNEME_CORE_SEARCH_VGRAPH_H

#include "core/search/index/index.h"
#include "core/search/quant/rotation.h"
#include "simd/simd.h"

enum {
	VGRAPH_DEGREE = 32,
	VGRAPH_CHUNK = 8,          /* vertices of a chunk */
	VGRAPH_ENTRIES_MAX = 1024, /* where walks begin */
	VGRAPH_CODES = VGRAPH_DEGREE * 12,
};
#define VGRAPH_NONE UINT32_MAX
/* The add of a slot without an edge; every distance is below VGRAPH_NO_BAR. */
#define VGRAPH_NEVER 3e38f
#define VGRAPH_NO_BAR 1e38f
#define VGRAPH_SPARE (1u << 31) /* rows are below it */

struct vgraph {
	enum vectors_metric metric; /* cosine or L2 */
	uint32_t dim, padded;
	size_t block_bytes; /* a multiple of 64 */
	struct rotation rotation;
	float *mean;         /* dim */
	uint32_t *entries;   /* vertices */
	float *entries_rows; /* of each, dim floats */
	uint32_t entries_count;
	uint32_t rows, count; /* in the graph; 1 + the last of them */
	uint8_t **chunks;     /* NULL: nothing there */
	uint32_t chunks_capacity;
	uint8_t *region; /* chunks that are not allocated one by one */
	uint64_t region_bytes, chunks_bytes;
	int is_mapped; /* the region is `file`'s, and read only */
	struct search_reader file;
};

/* A vertex and its distance, or what it is estimated at. */
struct vgraph_near {
	float distance;
	uint32_t id;
};

/* Without entries and edges. The blocks of `count` vertices (rounded up to whole chunks) lie in one
 * region: a new one, not filled, or `mapped` if that is not NULL, which is then only read. */
int vgraph_new(const struct vectors *v, uint32_t count, const uint8_t *mapped, struct vgraph **out);
void vgraph_free(struct vgraph *g); /* accepts NULL */
int vgraph_build(const struct vectors *v, const struct index_options *options, struct vgraph **out);
int vgraph_add(struct vgraph *g, const struct vectors *v, uint32_t row);
int vgraph_copy(const struct vgraph *g, const struct vectors *v, struct vgraph **out);
uint64_t vgraph_bytes(const struct vgraph *g);

/* Walks with a beam of `width` and pushes what lives and what the filter accepts. `apart`: a row that
 * is not there, or ROWS_NONE. *partial is set to 1 when the deadline passes. *passed: how many of
 * the vertices visited live and pass the filter, by what was asked of it. */
int vgraph_search(const struct vgraph *g, const struct vectors *v, const float *query,
		  uint32_t width, uint32_t apart, const struct search_filter *filter,
		  struct search_heap *heap, int *partial, uint32_t *passed);
/* Room for walks of one thread with beams of at most `width`. */
struct walk;
int vgraph_walk_new(const struct vgraph *g, const struct vectors *v, uint32_t width,
		    struct walk **out);
void vgraph_walk_free(struct walk *w); /* accepts NULL */
/* The vertices visited on the way to a row, as they came; returns how many, at most `limit`. */
uint32_t vgraph_visit(struct walk *w, uint32_t row, uint32_t width, struct vgraph_near *visited,
		      uint32_t limit);

/* The row as the index sees it. */
void vgraph_load(const struct vgraph *g, const struct vectors *v, uint32_t row, float *out);
/* R(x - m) of such a row; `out` has room for twice `padded`. */
void vgraph_rotate(const struct vgraph *g, const float *row, float *out);
/* Between two rows. */
float vgraph_distance(const struct vgraph *g, const struct vectors *v, uint32_t a, uint32_t b);

static inline uint64_t vgraph_region_bytes(const struct vgraph *g, uint32_t count)
{
	return (count + VGRAPH_CHUNK - 1ull) / VGRAPH_CHUNK * VGRAPH_CHUNK * g->block_bytes;
}

static inline uint8_t *vgraph_block(const struct vgraph *g, uint32_t vertex)
{
	return g->chunks[vertex / VGRAPH_CHUNK] + vertex % VGRAPH_CHUNK * g->block_bytes;
}

static inline uint32_t *vgraph_ids(uint8_t *block)
{
	return (uint32_t *)block;
}

static inline float *vgraph_adds(uint8_t *block)
{
	return (float *)block + VGRAPH_DEGREE;
}

static inline float *vgraph_scales(uint8_t *block)
{
	return (float *)block + 2 * VGRAPH_DEGREE;
}

/* The block of a vertex to be changed; there is one for each number below g->count. */
int vgraph_block_own(struct vgraph *g, uint32_t vertex, uint8_t **block);
/* Makes blocks without edges up to that vertex. */
int vgraph_extend(struct vgraph *g, uint32_t vertex);
/* Puts the edge from v to x into slot 0..31 of v's block; both rotated. */
void vgraph_edge_put(const struct vgraph *g, uint8_t *block, unsigned slot, const float *v,
		     const float *x, uint32_t id);
void vgraph_edges_clear(const struct vgraph *g, uint8_t *block);

#endif
