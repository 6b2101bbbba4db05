/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see vgraph.h: the vertices' blocks, edges and their codes, distances. */
#include "core/search/index/vgraph.h"
#include "core/search/clones.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static int is_in_region(const struct vgraph *g, const uint8_t *chunk)
{
	return chunk >= g->region && chunk < g->region + g->region_bytes;
}

void vgraph_free(struct vgraph *g)
{
	if (!g)
		return;
	for (uint32_t i = 0; g->chunks && i < g->chunks_capacity; i++)
		if (!is_in_region(g, g->chunks[i]))
			alloc_free(g->chunks[i]);
	if (g->is_mapped)
		search_reader_close(&g->file);
	else
		alloc_free(g->region);
	alloc_free(g->chunks);
	alloc_free(g->mean);
	alloc_free(g->entries);
	alloc_free(g->entries_rows);
	rotation_free(&g->rotation);
	alloc_free(g);
}

/* Points the chunks at the region. */
static int region_set(struct vgraph *g, uint32_t count, const uint8_t *mapped)
{
	g->region_bytes = vgraph_region_bytes(g, count);
	g->is_mapped = mapped != NULL;
	g->region = mapped ? (uint8_t *)(uintptr_t)mapped : alloc_aligned(64, g->region_bytes + 64);
	if (!g->region)
		return -ENOMEM;
	for (uint32_t i = 0; i < (count + VGRAPH_CHUNK - 1) / VGRAPH_CHUNK; i++)
		g->chunks[i] = g->region + (uint64_t)i * VGRAPH_CHUNK * g->block_bytes;
	g->count = count;
	return 0;
}

int vgraph_new(const struct vectors *v, uint32_t count, const uint8_t *mapped, struct vgraph **out)
{
	struct vgraph *g = alloc_zeroed(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->metric = v->config.metric;
	g->dim = v->config.dim;
	g->padded = (g->dim + 15) & ~15u;
	g->block_bytes = VGRAPH_CODES + 4ull * g->padded;
	g->chunks_capacity = count / VGRAPH_CHUNK + 1;
	g->mean = alloc_zeroed(g->dim, sizeof(float));
	g->entries = alloc_get(VGRAPH_ENTRIES_MAX * sizeof(*g->entries));
	g->entries_rows = alloc_aligned(64, (size_t)VGRAPH_ENTRIES_MAX * g->dim * sizeof(float));
	g->chunks = alloc_zeroed(g->chunks_capacity, sizeof(*g->chunks));
	int rc = g->mean && g->entries && g->entries_rows && g->chunks ? 0 : -ENOMEM;
	if (!rc)
		rc = rotation_init(&g->rotation, g->padded);
	if (!rc)
		rc = region_set(g, count, mapped);
	if (rc)
		vgraph_free(g);
	else
		*out = g;
	return rc;
}

uint64_t vgraph_bytes(const struct vgraph *g)
{
	return sizeof(*g) + g->region_bytes + g->chunks_bytes +
	       g->chunks_capacity * sizeof(*g->chunks) +
	       g->entries_count * (sizeof(*g->entries) + g->dim * sizeof(float)) +
	       (g->dim + (uint64_t)ROTATION_ROUNDS * g->padded) * sizeof(float);
}

static int chunk_own(struct vgraph *g, uint32_t chunk)
{
	uint8_t *old = g->chunks[chunk];
	size_t bytes = VGRAPH_CHUNK * g->block_bytes;

	if (old && !(g->is_mapped && is_in_region(g, old)))
		return 0;
	uint8_t *fresh = alloc_aligned(64, bytes);
	if (!fresh)
		return -ENOMEM;
	if (old)
		memcpy(fresh, old, bytes);
	for (unsigned i = 0; !old && i < VGRAPH_CHUNK; i++)
		vgraph_edges_clear(g, fresh + i * g->block_bytes);
	g->chunks[chunk] = fresh;
	g->chunks_bytes += bytes;
	return 0;
}

int vgraph_block_own(struct vgraph *g, uint32_t vertex, uint8_t **block)
{
	int rc = chunk_own(g, vertex / VGRAPH_CHUNK);

	if (!rc)
		*block = vgraph_block(g, vertex);
	return rc;
}

int vgraph_extend(struct vgraph *g, uint32_t vertex)
{
	uint32_t wanted = vertex / VGRAPH_CHUNK + 1, capacity = g->chunks_capacity;

	while (capacity < wanted)
		capacity *= 2;
	if (capacity > g->chunks_capacity) {
		uint8_t **chunks = alloc_resize(g->chunks, capacity * sizeof(*chunks));
		if (!chunks)
			return -ENOMEM;
		memset(chunks + g->chunks_capacity, 0,
		       (capacity - g->chunks_capacity) * sizeof(*chunks));
		g->chunks = chunks;
		g->chunks_capacity = capacity;
	}
	for (uint32_t chunk = g->count / VGRAPH_CHUNK; chunk < wanted; chunk++) {
		int rc = g->chunks[chunk] ? 0 : chunk_own(g, chunk);
		if (rc)
			return rc;
	}
	if (g->count <= vertex)
		g->count = vertex + 1;
	return 0;
}

void vgraph_load(const struct vgraph *g, const struct vectors *v, uint32_t row, float *out)
{
	const float *values = vectors_row_f32(v, row, out);
	float scale = g->metric == VECTORS_COSINE ? v->scales[row] : 1;

	for (uint32_t d = 0; d < g->dim; d++)
		out[d] = values[d] * scale;
}

void vgraph_rotate(const struct vgraph *g, const float *row, float *out)
{
	for (uint32_t d = 0; d < g->dim; d++)
		out[d] = row[d] - g->mean[d];
	memset(out + g->dim, 0, (g->padded - g->dim) * sizeof(*out));
	rotation_apply(&g->rotation, out);
}

float vgraph_distance(const struct vgraph *g, const struct vectors *v, uint32_t a, uint32_t b)
{
	enum simd_type type = v->config.type == VECTORS_F16 ? SIMD_F16 : SIMD_F32;
	const void *x = vectors_row(v, a), *y = vectors_row(v, b);

	if (g->metric == VECTORS_L2)
		return simd_pair(type, SIMD_L2, x, y, g->dim);
	return 2 - 2 * v->scales[a] * v->scales[b] * simd_pair(type, SIMD_DOT, x, y, g->dim);
}

struct edge_sums {
	float absolute, square, along;
};

/* sum|r|, |r|^2 and <v, e> of r = x - v. */
SEARCH_CLONES
static void edge_sum(const float *v, const float *x, uint32_t dim, struct edge_sums *out)
{
	float absolute = 0, square = 0, along = 0;

	for (uint32_t d = 0; d < dim; d++) {
		float r = x[d] - v[d];
		absolute += fabsf(r);
		square += r * r;
		along += r < 0 ? -v[d] : v[d];
	}
	*out = (struct edge_sums){absolute, square, along};
}

void vgraph_edge_put(const struct vgraph *g, uint8_t *block, unsigned slot, const float *v,
		     const float *x, uint32_t id)
{
	struct edge_sums sums;
	unsigned shift = slot < 16 ? 0 : 4;
	uint8_t *codes = block + VGRAPH_CODES + (slot & 15);

	edge_sum(v, x, g->padded, &sums);
	float s = sums.absolute > 0 ? sums.square / sums.absolute : 0;
	vgraph_ids(block)[slot] = id;
	vgraph_adds(block)[slot] = sums.square + 2 * s * sums.along;
	vgraph_scales(block)[slot] = -2 * s;
	for (uint32_t d = 0; d < g->padded; d += 4, codes += 16) {
		unsigned bits = 0;
		for (unsigned k = 0; k < 4; k++)
			bits |= (unsigned)!(x[d + k] - v[d + k] < 0) << k;
		*codes = (uint8_t)((*codes & (0xf0 >> shift)) | bits << shift);
	}
}

void vgraph_edges_clear(const struct vgraph *g, uint8_t *block)
{
	memset(block, 0, g->block_bytes);
	for (unsigned i = 0; i < VGRAPH_DEGREE; i++) {
		vgraph_ids(block)[i] = VGRAPH_NONE;
		vgraph_adds(block)[i] = VGRAPH_NEVER;
	}
}

int vgraph_copy(const struct vgraph *g, const struct vectors *v, struct vgraph **out)
{
	int rc = vgraph_new(v, g->count, NULL, out);

	if (rc)
		return rc;
	struct vgraph *to = *out;
	memcpy(to->mean, g->mean, g->dim * sizeof(*g->mean));
	memcpy(to->entries, g->entries, g->entries_count * sizeof(*g->entries));
	memcpy(to->entries_rows, g->entries_rows,
	       (size_t)g->entries_count * g->dim * sizeof(float));
	to->entries_count = g->entries_count;
	to->rows = g->rows;
	for (uint32_t i = 0; i < vgraph_region_bytes(g, g->count) / g->block_bytes; i++)
		memcpy(vgraph_block(to, i), vgraph_block(g, i), g->block_bytes);
	return 0;
}
