/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   partitions: the codes of a row, coarse and fine, and how good the fine ones are.
 */
#include "core/search/index/partitions.h"
#include "pool/alloc.h"
#include "simd/simd.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Queries that measure the errors, and the rows each looks at. */
enum { MEASURE_QUERIES = 128, MEASURE_ROWS = 32 };

void partitions_row(const struct vectors *v, uint32_t row, float *out)
{
	const float *values = vectors_row_f32(v, row, out);
	float scale = v->config.metric == VECTORS_COSINE ? v->scales[row] : 1;

	for (uint32_t d = 0; d < v->config.dim; d++)
		out[d] = values[d] * scale;
}

int coder_new(const struct partitions *p, struct coder **out)
{
	size_t head = (sizeof(struct coder) + 63) & ~(size_t)63;
	size_t floats = (p->dim + 15) & ~(size_t)15;
	uint8_t *at = alloc_aligned(64, head + 3 * floats * sizeof(float) +
						QUANTIZER_PADDING * sizeof(float) + p->fine_bytes);

	if (!at)
		return -ENOMEM;
	struct coder *e = (struct coder *)at;
	e->x = (float *)(at + head);
	e->decoded = e->x + floats;
	e->scratch = e->decoded + floats;
	e->fine = (uint8_t *)(e->scratch + floats + QUANTIZER_PADDING);
	memset(e->fine, 0, p->fine_bytes);
	*out = e;
	return 0;
}

struct fit {
	float rr, re, ee; /* of the residual r and what its code stands for, e */
	float scale, add;
};

/* `square`: of the row itself, where it is to be taken off. */
static struct fit fit_make(const struct partitions *p, const float *centroid, const struct coder *e,
			   float square)
{
	struct fit f = {.rr = simd_pair(SIMD_F32, SIMD_DOT, e->x, e->x, p->dim),
			.re = simd_pair(SIMD_F32, SIMD_DOT, e->x, e->decoded, p->dim),
			.ee = simd_pair(SIMD_F32, SIMD_DOT, e->decoded, e->decoded, p->dim)};
	float cr = simd_pair(SIMD_F32, SIMD_DOT, centroid, e->x, p->dim);
	float ce = simd_pair(SIMD_F32, SIMD_DOT, centroid, e->decoded, p->dim);

	/* a code that points elsewhere says nothing */
	f.scale = f.re > 0 && f.re * f.re > f.rr * f.ee * 1e-6f ? f.rr / f.re : 0;
	f.add = cr - f.scale * ce - square / 2;
	return f;
}

static void fine_run(const struct partitions *p, const float *centroid, struct coder *e,
		     float square)
{
	quantizer_encode(&p->fine, e->x, e->scratch, e->fine + sizeof(struct fine_head),
			 e->decoded);
	struct fit f = fit_make(p, centroid, e, square);
	/* |r| times the tangent of the angle between r and e, over the other dimensions */
	float off = f.re > 0 ? f.rr * f.ee / (f.re * f.re) - 1 : 1;
	struct fine_head head = {
		f.scale, f.add,
		sqrtf(f.rr * (off > 0 ? off : 0) / (float)(p->dim > 1 ? p->dim - 1 : 1))};
	memcpy(e->fine, &head, sizeof(head));
}

void coder_run(const struct partitions *p, const float *centroid, struct coder *e)
{
	float square =
		p->metric == VECTORS_L2 ? simd_pair(SIMD_F32, SIMD_DOT, e->x, e->x, p->dim) : 0;

	for (uint32_t d = 0; d < p->dim; d++)
		e->x[d] -= centroid[d];
	pq4_encode(&p->pq, e->x, e->codes);
	pq4_decode(&p->pq, e->codes, e->decoded);
	struct fit f = fit_make(p, centroid, e, square);
	e->scale = f.scale;
	e->add = f.add;
	if (p->fine_bytes)
		fine_run(p, centroid, e, square);
}

void partitions_fine_finish(struct partitions *p)
{
	p->fine_bytes = p->fine.kind ? sizeof(struct fine_head) +
					       ((quantizer_code_bytes(&p->fine) + 3) & ~(size_t)3)
				     : 0;
}

struct measure {
	double sum, squares;
	unsigned count;
};

/* One row as a query against others of its cell. */
static void cell_measure(const struct partitions *p, const struct vectors *v, uint32_t cell,
			 uint32_t at, struct coder *e, const struct quantizer_query *query,
			 struct measure *m)
{
	const struct cell *c = &p->built[cell];
	const float *centroid = p->centroids + (size_t)cell * p->dim;
	float base = simd_pair(SIMD_F32, SIMD_DOT, e->x, centroid, p->dim);
	float away = sqrtf(simd_pair(SIMD_F32, SIMD_L2, e->x, centroid, p->dim));
	uint32_t rows = c->count < MEASURE_ROWS ? c->count : MEASURE_ROWS;

	for (uint32_t i = 0; i < rows; i++) {
		struct fine_head head;
		uint32_t slot = (at + 1 + i) % c->count;
		const uint8_t *fine = cell_fine(p, c, slot);
		memcpy(&head, fine, sizeof(head));
		float stated = head.error * away;
		if (slot == at || !(stated > 1e-20f))
			continue;
		partitions_row(v, cell_rows(&p->pq, c)[slot], e->decoded);
		float truth = simd_pair(SIMD_F32, SIMD_DOT, e->x, e->decoded, p->dim);
		if (p->metric == VECTORS_L2)
			truth -= simd_pair(SIMD_F32, SIMD_DOT, e->decoded, e->decoded, p->dim) / 2;
		double off = (double)(fine_estimate(p, query, base, fine) - truth) / stated;
		m->sum += off;
		m->squares += off * off;
		m->count++;
	}
}

int partitions_fine_measure(struct partitions *p, const struct vectors *v)
{
	struct measure m = {0};
	struct coder *e;
	struct quantizer_query query;
	size_t bytes = ((size_t)p->dim + QUANTIZER_PADDING + 63) & ~(size_t)63;

	if (!p->fine_bytes)
		return 0;
	int rc = coder_new(p, &e);
	if (rc)
		return rc;
	query.values = alloc_aligned(64, 2 * bytes);
	if (!query.values) {
		alloc_free(e);
		return -ENOMEM;
	}
	query.unpacked = query.values + bytes;
	for (unsigned i = 0; i < MEASURE_QUERIES; i++) {
		uint32_t cell = (uint32_t)((uint64_t)i * p->cells / MEASURE_QUERIES);
		const struct cell *c = &p->built[cell];
		if (c->count < 2)
			continue;
		uint32_t at = i % c->count;
		partitions_row(v, cell_rows(&p->pq, c)[at], e->x);
		quantizer_query_fill(&p->fine, e->x, e->scratch, &query);
		cell_measure(p, v, cell, at, e, &query, &m);
	}
	double mean = m.count ? m.sum / m.count : 0;
	double variance = m.count > 1 ? m.squares / m.count - mean * mean : 1;
	p->fine_mean = (float)mean;
	p->fine_deviation = (float)sqrt(variance > 0 ? variance : 0);
	alloc_free(query.values);
	alloc_free(e);
	return 0;
}
