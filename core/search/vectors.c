/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see vectors.h: rows in segments, put, delete, compact.
 * Invariants: all segments but the last are full. A row exists when it is below rows.count; its
 *            bytes, scale and version are written before rows_append() counts it.
 */
#include "core/search/vectors.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "simd/simd.h"

#include <errno.h>
#include <math.h>
#include <string.h>

int vectors_new(const struct vectors_config *config, struct vectors **out)
{
	uint32_t rows = config->segment_rows ? config->segment_rows : VECTORS_SEGMENT_ROWS;

	if (!config->dim || config->dim > VECTORS_DIM_MAX || rows < 64 ||
	    rows > VECTORS_SEGMENT_ROWS || rows & (rows - 1) || config->metric > VECTORS_L2 ||
	    config->type > VECTORS_F16)
		return -EINVAL;
	struct vectors *v = alloc_zeroed(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->config = *config;
	v->config.segment_rows = rows;
	v->shift = (unsigned)__builtin_ctz(rows);
	v->stride = (config->dim * (config->type == VECTORS_F16 ? 2u : 4u) + 63) & ~63u;
	v->next_id = 1;
	*out = v;
	return 0;
}

void vectors_free(struct vectors *v)
{
	if (!v)
		return;
	for (uint32_t i = 0; i < v->segments_count; i++) {
		alloc_range_free(v->segments[i].owned, v->stride << v->shift);
		if (v->segments[i].file.body)
			search_reader_close(&v->segments[i].file);
	}
	alloc_free(v->segments);
	alloc_free(v->scales);
	alloc_free(v->versions);
	rows_free(&v->rows);
	alloc_free(v);
}

/* Room for the next row: in the arrays, and in an active segment. */
static int row_reserve(struct vectors *v)
{
	if (v->rows.count == v->scales_capacity) {
		uint32_t capacity = v->scales_capacity ? v->scales_capacity * 2 : 64;
		void *scales = alloc_resize(v->scales, capacity * sizeof(*v->scales));
		if (!scales)
			return -ENOMEM;
		v->scales = scales;
		void *versions = alloc_resize(v->versions, capacity * sizeof(*v->versions));
		if (!versions)
			return -ENOMEM;
		v->versions = versions;
		v->scales_capacity = capacity;
	}
	if (v->rows.count >> v->shift < v->segments_count)
		return 0;
	if (v->segments_count == v->segments_capacity) {
		uint32_t capacity = v->segments_capacity ? v->segments_capacity * 2 : 4;
		void *segments = alloc_resize(v->segments, capacity * sizeof(*v->segments));
		if (!segments)
			return -ENOMEM;
		v->segments = segments;
		v->segments_capacity = capacity;
	}
	/* not of the heap, which would keep what a sealed segment gives back */
	uint8_t *data = alloc_range(v->stride << v->shift);
	if (!data)
		return -ENOMEM;
	v->segments[v->segments_count++] = (struct vectors_segment){.owned = data, .data = data};
	return 0;
}

float vectors_scale(const struct vectors *v, const float *vector)
{
	if (v->config.metric == VECTORS_DOT)
		return 1;
	float square = simd_pair(SIMD_F32, SIMD_DOT, vector, vector, v->config.dim);
	if (v->config.metric == VECTORS_L2)
		return square;
	return square > 0 ? 1 / sqrtf(square) : 0;
}

int vectors_append(struct vectors *v, uint64_t owner, uint32_t part, uint64_t version,
		   const float *vector, uint32_t *row)
{
	uint32_t dim = v->config.dim;

	for (uint32_t i = 0; i < dim; i++)
		if (!isfinite(vector[i]) ||
		    (v->config.type == VECTORS_F16 && fabsf(vector[i]) > 65504))
			return -EINVAL;
	int rc = row_reserve(v);
	if (rc)
		return rc;
	uint32_t at = v->rows.count;
	struct vectors_segment *segment = &v->segments[at >> v->shift];
	uint8_t *to = segment->owned + (size_t)(at & ((1u << v->shift) - 1)) * v->stride;
	CHECK(segment->owned);
	memset(to + v->stride - 64, 0, 64);
	if (v->config.type == VECTORS_F16)
		simd_active->f32_to_f16(vector, (uint16_t *)to, dim);
	else
		memcpy(to, vector, dim * sizeof(*vector));
	v->scales[at] = vectors_scale(v, vector);
	v->versions[at] = version;
	rc = rows_append(&v->rows, owner, part);
	if (rc)
		return rc;
	segment->count++;
	if (row)
		*row = at;
	return 0;
}

int vectors_put(struct vectors *v, uint64_t owner, uint32_t part, uint64_t version,
		const float *vector, uint32_t *row)
{
	uint32_t old = rows_find(&v->rows, owner, part);
	int rc = vectors_append(v, owner, part, version, vector, row);

	if (!rc && old != ROWS_NONE)
		rows_kill(&v->rows, old);
	return rc;
}

unsigned vectors_delete(struct vectors *v, uint64_t owner)
{
	return rows_kill_owner(&v->rows, owner, 1, 0);
}

unsigned vectors_delete_part(struct vectors *v, uint64_t owner, uint32_t part)
{
	return rows_kill_owner(&v->rows, owner, 0, part);
}

const float *vectors_row_f32(const struct vectors *v, uint32_t row, float *buffer)
{
	const void *at = vectors_row(v, row);

	if (v->config.type == VECTORS_F32)
		return at;
	simd_active->f16_to_f32(at, buffer, v->config.dim);
	return buffer;
}

int vectors_get(const struct vectors *v, uint64_t owner, uint32_t part, float *out)
{
	uint32_t row = rows_find(&v->rows, owner, part);

	if (row == ROWS_NONE)
		return -ENOENT;
	const float *values = vectors_row_f32(v, row, out);
	if (values != out)
		memcpy(out, values, v->config.dim * sizeof(*out));
	return 0;
}

int vectors_compact(const struct vectors *v, struct vectors **out)
{
	struct vectors *to;
	float *buffer = alloc_get(v->config.dim * sizeof(*buffer));
	int rc = buffer ? vectors_new(&v->config, &to) : -ENOMEM;

	if (rc)
		goto out;
	to->next_id = v->next_id;
	for (uint32_t row = 0; !rc && row < v->rows.count; row++)
		if (!rows_is_dead(&v->rows, row))
			rc = vectors_append(to, v->rows.owners[row], v->rows.parts[row],
					    v->versions[row], vectors_row_f32(v, row, buffer),
					    NULL);
	if (rc)
		vectors_free(to);
	else
		*out = to;
out:
	alloc_free(buffer);
	return rc;
}

void vectors_get_stats(const struct vectors *v, struct vectors_stats *out)
{
	*out = (struct vectors_stats){
		.alive = v->rows.count - v->rows.dead_count,
		.deleted = v->rows.dead_count,
		.segments = v->segments_count,
		.bytes = sizeof(*v) + rows_bytes(&v->rows) + v->scales_capacity * 12ull +
			 v->segments_capacity * sizeof(*v->segments),
	};
	for (uint32_t i = 0; i < v->segments_count; i++) {
		uint64_t bytes = v->stride << v->shift;
		*(v->segments[i].owned ? &out->bytes : &out->mapped) += bytes;
	}
}
