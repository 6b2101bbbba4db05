/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   an index in one file, in the envelope of file.h: magic "MNEMIDX1", version 1.
 *
 *   body: u32 kind, u32 dim, u32 metric, u32 cells C, u32 groups G, u32 quantizer (quantizer.h; 0)
 *         3 x (f32 wanted, f32 measured, u32 cells, u32 rerank)
 *         kind partitions:
 *         u32 start x (G + 1): first dimension of each group
 *         aligned to 64: f32 value x 16 x dim
 *         aligned to 64: f32 centroid x C x dim
 *         with a quantizer: f32 mean, f32 deviation of its errors; sq8: f32 middle x dim, f32 step x dim
 *         u32 rows x C: rows of each cell
 *         aligned to 64: the cells' regions (partitions.h), one behind the other, each with as many
 *         blocks as its rows need
 *
 * Invariants: loading accepts only groups and rows within bounds, finite training, and slots whose
 *            rows exist in the collection; codes may be any. The regions are used in place.
 */
#include "core/search/index/index_private.h"
#include "core/search/file.h"
#include "pool/alloc.h"
#include "simd/simd.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const char index_magic[8] = {'M', 'N', 'E', 'M', 'I', 'D', 'X', '1'};
enum { INDEX_FORMAT = 1 };

static void partitions_write(struct search_writer *w, const struct partitions *p)
{
	search_writer_put(w, p->pq.starts, (p->pq.groups + 1) * sizeof(*p->pq.starts));
	search_writer_align(w, 64);
	search_writer_put(w, p->pq.values, (size_t)PQ4_VALUES * p->dim * sizeof(float));
	search_writer_align(w, 64);
	search_writer_put(w, p->centroids, (size_t)p->cells * p->dim * sizeof(float));
	if (p->fine.kind) {
		search_writer_put(w, &p->fine_mean, sizeof(float));
		search_writer_put(w, &p->fine_deviation, sizeof(float));
	}
	if (p->fine.kind == QUANTIZER_SQ8) {
		search_writer_put(w, p->fine.middles, p->dim * sizeof(float));
		search_writer_put(w, p->fine.steps, p->dim * sizeof(float));
	}
	for (uint32_t c = 0; c < p->cells; c++)
		search_writer_u32(w, p->built[c].count);
	search_writer_align(w, 64);
	for (uint32_t c = 0; c < p->cells; c++)
		search_writer_put(w, p->built[c].data, cell_bytes(p, p->built[c].blocks));
}

int index_save(const struct index *ix, const struct vectors *v, struct io *io, const char *name,
	       uint64_t position)
{
	struct partitions *clean = NULL;
	const struct partitions *p = ix->partitions;
	struct search_writer w;

	/* What was added lies in regions of its own: one region a cell is written. */
	int rc = p ? partitions_clean(p, v, &clean) : 0;
	if (!rc)
		rc = search_writer_open(&w, io, name);
	if (rc)
		goto out;
	p = clean;
	uint32_t head[] = {ix->kind,         p ? p->dim : 0,       p ? p->metric : 0,
			   p ? p->cells : 0, p ? p->pq.groups : 0, p ? p->fine.kind : 0};
	search_writer_put(&w, head, sizeof(head));
	search_writer_put(&w, ix->levels, sizeof(ix->levels));
	if (p)
		partitions_write(&w, p);
	rc = search_writer_close(&w, index_magic, INDEX_FORMAT, position, 0);
out:
	partitions_free(clean);
	return rc;
}

static int floats_copy(struct search_reader *r, float *to, size_t count)
{
	const void *from = search_reader_take(r, count * sizeof(*to));

	if (!from)
		return -EUCLEAN;
	memcpy(to, from, count * sizeof(*to));
	for (size_t i = 0; i < count; i++)
		if (!isfinite(to[i]))
			return -EUCLEAN;
	return 0;
}

static int codebook_read(struct search_reader *r, struct pq4 *pq, uint32_t groups)
{
	const void *starts = search_reader_take(r, (groups + 1ull) * sizeof(*pq->starts));

	if (!starts || !groups || groups > PQ4_GROUPS_MAX)
		return -EUCLEAN;
	pq->groups = groups;
	pq->starts = alloc_get((groups + 1ull) * sizeof(*pq->starts));
	pq->values = alloc_aligned(64, (size_t)PQ4_VALUES * pq->dim * sizeof(*pq->values));
	if (!pq->starts || !pq->values)
		return -ENOMEM;
	memcpy(pq->starts, starts, (groups + 1ull) * sizeof(*pq->starts));
	if (pq->starts[0] || pq->starts[groups] != pq->dim)
		return -EUCLEAN;
	for (uint32_t g = 0; g < groups; g++)
		if (pq->starts[g] >= pq->starts[g + 1] ||
		    pq->starts[g + 1] - pq->starts[g] > PQ4_WIDTH_MAX)
			return -EUCLEAN;
	search_reader_align(r, 64);
	return floats_copy(r, pq->values, (size_t)PQ4_VALUES * pq->dim);
}

static int quantizer_read(struct search_reader *r, struct partitions *p, uint32_t kind)
{
	if (kind == QUANTIZER_NONE)
		return 0;
	if (kind >= QUANTIZER_KINDS)
		return -EUCLEAN;
	int rc = quantizer_new((enum quantizer_kind)kind, p->dim, &p->fine);
	if (!rc)
		rc = floats_copy(r, &p->fine_mean, 1);
	if (!rc)
		rc = floats_copy(r, &p->fine_deviation, 1);
	if (!rc && kind == QUANTIZER_SQ8)
		rc = floats_copy(r, p->fine.middles, p->dim);
	if (!rc && kind == QUANTIZER_SQ8)
		rc = floats_copy(r, p->fine.steps, p->dim);
	partitions_fine_finish(p);
	return rc;
}

static int cells_map(struct search_reader *r, struct partitions *p, uint32_t rows_limit)
{
	const uint8_t *counts = search_reader_take(r, p->cells * 4ull);

	search_reader_align(r, 64);
	if (!counts || r->overrun)
		return -EUCLEAN;
	for (uint32_t c = 0; c < p->cells; c++) {
		struct cell *cell = &p->built[c];
		memcpy(&cell->count, counts + c * 4ull, 4);
		if (cell->count > rows_limit)
			return -EUCLEAN;
		cell->blocks = (cell->count + PQ4_BLOCK - 1) / PQ4_BLOCK;
		uint64_t bytes = cell_bytes(p, cell->blocks);
		cell->data = (uint8_t *)search_reader_take(r, bytes);
		if (!cell->data)
			return -EUCLEAN;
		p->memory_bytes += bytes;
		p->rows += cell->count;
		for (uint32_t i = 0; i < cell->count; i++)
			if (cell_rows(&p->pq, cell)[i] >= rows_limit)
				return -EUCLEAN;
		for (uint32_t i = cell->count; i < cell->blocks * PQ4_BLOCK; i++)
			if (!(cell_adds(&p->pq, cell)[i] <= PARTITIONS_NO_BAR * 2) ||
			    cell_rows(&p->pq, cell)[i] != 0 || cell_scales(&p->pq, cell)[i] != 0)
				return -EUCLEAN; /* padding never becomes a candidate */
	}
	return r->at == r->length ? 0 : -EUCLEAN;
}

static int partitions_read(struct search_reader *r, const struct vectors *v, const uint32_t *head,
			   struct partitions **out)
{
	struct partitions *p;

	if (head[1] != v->config.dim || head[2] != v->config.metric || !head[3] ||
	    head[3] > PARTITIONS_CELLS_MAX)
		return -EUCLEAN;
	int rc = partitions_new(v, head[3], &p);
	if (rc)
		return rc;
	p->pq.dim = p->dim;
	rc = codebook_read(r, &p->pq, head[4]);
	search_reader_align(r, 64);
	if (!rc)
		rc = floats_copy(r, p->centroids, (size_t)p->cells * p->dim);
	if (!rc)
		rc = quantizer_read(r, p, head[5]);
	if (!rc)
		rc = partitions_finish(p);
	if (!rc)
		rc = cells_map(r, p, v->rows.count);
	if (rc)
		partitions_free(p);
	else
		*out = p;
	return rc;
}

static int levels_read(struct search_reader *r, struct index *ix)
{
	const void *from = search_reader_take(r, sizeof(ix->levels));

	if (!from)
		return -EUCLEAN;
	memcpy(ix->levels, from, sizeof(ix->levels));
	for (unsigned i = 0; i < INDEX_LEVELS; i++)
		if (!(ix->levels[i].wanted >= 0 && ix->levels[i].wanted <= 1) ||
		    ix->levels[i].cells > PARTITIONS_CELLS_MAX ||
		    ix->levels[i].rerank > INDEX_RERANK_MAX)
			return -EUCLEAN;
	return 0;
}

/* `r` becomes the index's on success. */
static int body_read(struct search_reader *r, const struct vectors *v, struct index **out)
{
	struct index *ix = alloc_zeroed(1, sizeof(*ix));
	uint32_t head[6];

	if (!ix)
		return -ENOMEM;
	for (unsigned i = 0; i < 6; i++)
		head[i] = search_reader_u32(r);
	int rc = levels_read(r, ix);
	ix->kind = head[0];
	if (!rc && ix->kind == INDEX_PARTITIONS)
		rc = partitions_read(r, v, head, &ix->partitions);
	else if (!rc && (ix->kind != INDEX_FLAT || r->at != r->length))
		rc = -EUCLEAN;
	if (rc)
		index_free(ix);
	else
		*out = ix;
	return rc;
}

int index_load(struct io *io, const char *name, const struct vectors *v, struct index **out,
	       uint64_t *position)
{
	struct search_reader r;
	int rc = search_reader_open(&r, io, name, index_magic, INDEX_FORMAT, 1);

	if (rc)
		return rc;
	rc = body_read(&r, v, out);
	*position = r.position;
	if (!rc && (*out)->partitions)
		(*out)->partitions->file = r;
	else
		search_reader_close(&r);
	return rc;
}

int index_parse(const void *body, size_t length, const struct vectors *v, struct index **out)
{
	struct search_reader r;

	search_reader_over(&r, body, length);
	return body_read(&r, v, out);
}
