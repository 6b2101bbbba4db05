/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   partitions: training, building, adding, cleaning.
 * Invariants: a cell's unused slots have code 0, scale 0 and add PARTITIONS_NEVER, so that a scan
 *            of whole blocks never finds them.
 */
#include "core/search/index/partitions.h"
#include "core/search/parallel.h"
#include "core/search/quant/kmeans.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "simd/simd.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
	KMEANS_ITERATIONS = 8,
	SAMPLE_OF_CELL = 48, /* training points of a cell */
	CODE_SAMPLE = 16384, /* residuals that the codebooks are trained on */
	ROWS_OF_JOB = 512,
	COARSE_DIM = 256,       /* centroids as bytes from so many dimensions on, */
	COARSE_BYTES = 1 << 20, /* or where the caches do not hold them */
};

static void cell_clear(const struct partitions *p, struct cell *c, uint32_t from)
{
	const struct pq4 *pq = &p->pq;
	float *scales = cell_scales(pq, c), *adds = cell_adds(pq, c);
	uint32_t *rows = cell_rows(pq, c);

	for (uint32_t i = from; i < c->blocks * PQ4_BLOCK; i++) {
		scales[i] = 0;
		adds[i] = PARTITIONS_NEVER;
		rows[i] = 0;
	}
	uint32_t block = (from + PQ4_BLOCK - 1) / PQ4_BLOCK;
	memset(c->data + block * pq4_block_bytes(pq), 0, (c->blocks - block) * pq4_block_bytes(pq));
	memset(cell_fine(p, c, from), 0, (c->blocks * PQ4_BLOCK - from) * p->fine_bytes);
}

static void cell_put(const struct partitions *p, struct cell *c, const uint8_t *codes, float scale,
		     float add, const uint8_t *fine, uint32_t row)
{
	const struct pq4 *pq = &p->pq;
	uint32_t at = c->count++;

	pq4_block_put(pq, c->data + at / PQ4_BLOCK * pq4_block_bytes(pq), at % PQ4_BLOCK, codes);
	cell_scales(pq, c)[at] = scale;
	cell_adds(pq, c)[at] = add;
	cell_rows(pq, c)[at] = row;
	memcpy(cell_fine(p, c, at), fine, p->fine_bytes);
}

void partitions_free(struct partitions *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; p->added && i < p->cells; i++)
		alloc_free(p->added[i].data);
	alloc_free(p->memory);
	if (p->file.body)
		search_reader_close(&p->file);
	alloc_free(p->centroids);
	alloc_free(p->halves);
	alloc_free(p->built);
	alloc_free(p->added);
	pq4_free(&p->pq);
	quantizer_free(&p->fine);
	quantizer_free(&p->coarse);
	alloc_free(p->coarse_codes);
	alloc_free(p);
}

static uint32_t cells_default(uint64_t rows)
{
	double cells = 4 * sqrt((double)rows);

	return (uint32_t)(cells < 1                      ? 1
			  : cells > PARTITIONS_CELLS_MAX ? PARTITIONS_CELLS_MAX
							 : cells);
}

/* Groups of two dimensions, wider where that would be too many groups. */
static uint32_t width_default(uint32_t dim)
{
	uint32_t width = 2;

	while ((dim + width - 1) / width > PQ4_GROUPS_MAX)
		width++;
	return width;
}

int partitions_new(const struct vectors *v, uint32_t cells, struct partitions **out)
{
	struct partitions *p = alloc_zeroed(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->metric = v->config.metric;
	p->dim = v->config.dim;
	p->cells = cells;
	p->centroids = alloc_aligned(64, (size_t)cells * p->dim * sizeof(float));
	p->halves = alloc_aligned(64, cells * sizeof(float));
	p->built = alloc_zeroed(cells, sizeof(*p->built));
	p->added = alloc_zeroed(cells, sizeof(*p->added));
	if (!p->centroids || !p->halves || !p->built || !p->added) {
		partitions_free(p);
		return -ENOMEM;
	}
	*out = p;
	return 0;
}

/* The centroids as bytes. */
static int coarse_make(struct partitions *p)
{
	struct coder *e;

	if (p->dim < COARSE_DIM && (uint64_t)p->cells * p->dim * sizeof(float) < COARSE_BYTES)
		return 0;
	int rc = quantizer_train(QUANTIZER_SQ8, p->centroids, p->dim, p->cells, p->dim, &p->coarse);

	if (rc)
		return rc;
	p->coarse_stride = (p->dim + 63) & ~(size_t)63;
	p->coarse_codes = alloc_aligned(64, p->cells * p->coarse_stride);
	rc = p->coarse_codes ? coder_new(p, &e) : -ENOMEM;
	if (rc)
		return rc;
	for (uint32_t c = 0; c < p->cells; c++)
		quantizer_encode(&p->coarse, p->centroids + (size_t)c * p->dim, e->scratch,
				 p->coarse_codes + c * p->coarse_stride, e->decoded);
	alloc_free(e);
	return 0;
}

int partitions_finish(struct partitions *p)
{
	for (uint32_t c = 0; c < p->cells; c++) {
		const float *at = p->centroids + (size_t)c * p->dim;
		p->halves[c] = simd_pair(SIMD_F32, SIMD_DOT, at, at, p->dim) / 2;
	}
	return coarse_make(p);
}

/* Trains centroids and codebooks on a sample of the rows. */
static int train(struct partitions *p, const struct vectors *v, const uint32_t *rows,
		 uint32_t count, const struct index_options *options)
{
	uint64_t wanted = (uint64_t)p->cells * SAMPLE_OF_CELL;
	uint32_t sample = (uint32_t)(wanted < CODE_SAMPLE ? CODE_SAMPLE : wanted);
	if (sample > count)
		sample = count;
	float *points = alloc_aligned(64, (size_t)sample * p->dim * sizeof(*points));
	uint32_t *nearest = alloc_get(sample * sizeof(*nearest));
	int rc = points && nearest ? 0 : -ENOMEM;

	for (uint32_t i = 0; !rc && i < sample; i++)
		partitions_row(v, rows[(uint64_t)i * count / sample], points + (size_t)i * p->dim);
	if (!rc)
		rc = kmeans_train(points, p->dim, sample, p->dim, p->cells, KMEANS_ITERATIONS,
				  options->threads, p->centroids);
	uint32_t step = sample / CODE_SAMPLE + (sample < CODE_SAMPLE), kept = 0;
	for (uint32_t i = 0; !rc && i < sample; i += step, kept++)
		memmove(points + (size_t)kept * p->dim, points + (size_t)i * p->dim,
			p->dim * sizeof(*points));
	if (!rc)
		rc = kmeans_assign(points, p->dim, kept, p->dim, p->centroids, NULL, p->cells,
				   options->threads, nearest);
	for (uint32_t i = 0; !rc && i < kept; i++)
		for (uint32_t d = 0; d < p->dim; d++)
			points[(size_t)i * p->dim + d] -=
				p->centroids[(size_t)nearest[i] * p->dim + d];
	if (!rc)
		rc = pq4_train(points, p->dim, kept, p->dim,
			       options->width ? options->width : width_default(p->dim),
			       options->threads, &p->pq);
	if (!rc && options->quantizer)
		rc = quantizer_train(options->quantizer, points, p->dim, kept, p->dim, &p->fine);
	if (!rc)
		partitions_fine_finish(p);
	alloc_free(points);
	alloc_free(nearest);
	return rc;
}

struct build_job {
	struct partitions *p;
	const struct vectors *v;
	const uint32_t *rows;   /* to be indexed */
	uint32_t *nearest;      /* of each */
	const uint32_t *order;  /* rows by cell */
	const uint32_t *starts; /* of each cell in order */
	_Atomic int failed;     /* [A] relaxed: read after the join */
};

static void assign_body(void *arg, uint64_t low, uint64_t high)
{
	struct build_job *job = arg;
	uint32_t dim = job->p->dim, count = (uint32_t)(high - low);
	float *points = alloc_aligned(64, (size_t)count * dim * sizeof(*points));
	int rc = points ? 0 : -ENOMEM;

	for (uint32_t i = 0; !rc && i < count; i++)
		partitions_row(job->v, job->rows[low + i], points + (size_t)i * dim);
	if (!rc)
		rc = kmeans_assign(points, dim, count, dim, job->p->centroids, job->p->halves,
				   job->p->cells, 1, job->nearest + low);
	if (rc)
		atomic_store_explicit(&job->failed, 1, memory_order_relaxed);
	alloc_free(points);
}

static void encode_body(void *arg, uint64_t low, uint64_t high)
{
	struct build_job *job = arg;
	struct partitions *p = job->p;
	struct coder *e;

	if (coder_new(p, &e)) {
		atomic_store_explicit(&job->failed, 1, memory_order_relaxed);
		return;
	}
	for (uint64_t c = low; c < high; c++) {
		cell_clear(p, &p->built[c], 0);
		for (uint32_t i = job->starts[c]; i < job->starts[c + 1]; i++) {
			partitions_row(job->v, job->order[i], e->x);
			coder_run(p, p->centroids + c * p->dim, e);
			cell_put(p, &p->built[c], e->codes, e->scale, e->add, e->fine,
				 job->order[i]);
		}
	}
	alloc_free(e);
}

/* Lays out one region for all cells; counts[c] rows each. */
static int layout(struct partitions *p, const uint32_t *counts)
{
	uint64_t bytes = 0;

	for (uint32_t c = 0; c < p->cells; c++)
		bytes += cell_bytes(p, (counts[c] + PQ4_BLOCK - 1) / PQ4_BLOCK);
	p->memory = alloc_aligned(64, bytes + 64);
	if (!p->memory)
		return -ENOMEM;
	p->memory_bytes = bytes;
	uint8_t *at = p->memory;
	for (uint32_t c = 0; c < p->cells; c++) {
		p->built[c] = (struct cell){at, 0, (counts[c] + PQ4_BLOCK - 1) / PQ4_BLOCK};
		at += cell_bytes(p, p->built[c].blocks);
	}
	return 0;
}

/* Assigns and encodes `count` rows with what is trained. */
static int fill(struct partitions *p, const struct vectors *v, const uint32_t *rows, uint32_t count,
		unsigned threads)
{
	uint32_t *nearest = alloc_get((count + 1ull) * sizeof(*nearest));
	uint32_t *order = alloc_get((count + 1ull) * sizeof(*order));
	uint32_t *starts = alloc_zeroed(p->cells + 2ull, sizeof(*starts));
	uint32_t *counts = alloc_zeroed(p->cells, sizeof(*counts));
	struct build_job job = {
		.p = p, .v = v, .rows = rows, .nearest = nearest, .order = order, .starts = starts};
	int rc = nearest && order && starts && counts ? 0 : -ENOMEM;

	if (!rc)
		rc = parallel_run(count, ROWS_OF_JOB, threads, assign_body, &job);
	if (!rc && atomic_load_explicit(&job.failed, memory_order_relaxed))
		rc = -ENOMEM;
	for (uint32_t i = 0; !rc && i < count; i++)
		counts[nearest[i]]++;
	for (uint32_t c = 0; !rc && c < p->cells; c++)
		starts[c + 2] = starts[c + 1] + counts[c];
	/* starts[c + 1] runs from the cell's start to its end, and becomes the next one's start */
	for (uint32_t i = 0; !rc && i < count; i++)
		order[starts[nearest[i] + 1]++] = rows[i];
	if (!rc)
		rc = layout(p, counts);
	if (!rc)
		rc = parallel_run(p->cells, 8, threads, encode_body, &job);
	if (!rc && atomic_load_explicit(&job.failed, memory_order_relaxed))
		rc = -ENOMEM;
	p->rows = count;
	alloc_free(nearest);
	alloc_free(order);
	alloc_free(starts);
	alloc_free(counts);
	return rc;
}

int partitions_build(const struct vectors *v, const struct index_options *options,
		     struct partitions **out)
{
	struct partitions *p = NULL;
	uint32_t count = 0, *rows = alloc_get((v->rows.count + 1ull) * sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	for (uint32_t row = 0; row < v->rows.count; row++)
		if (!rows_is_dead(&v->rows, row))
			rows[count++] = row;
	uint32_t cells = options->cells ? options->cells : cells_default(count);
	if (cells > count)
		cells = count;
	int rc = count && cells <= PARTITIONS_CELLS_MAX ? partitions_new(v, cells, &p) : -EINVAL;
	if (!rc)
		rc = train(p, v, rows, count, options);
	if (!rc)
		rc = partitions_finish(p);
	if (!rc)
		rc = fill(p, v, rows, count, options->threads);
	if (!rc)
		rc = partitions_fine_measure(p, v);
	alloc_free(rows);
	if (rc)
		partitions_free(p);
	else
		*out = p;
	return rc;
}

static int cell_grow(struct partitions *p, struct cell *c)
{
	const struct pq4 *pq = &p->pq;

	if (c->count < c->blocks * PQ4_BLOCK)
		return 0;
	struct cell grown = {.count = c->count, .blocks = c->blocks ? c->blocks * 2 : 1};
	grown.data = alloc_aligned(64, cell_bytes(p, grown.blocks));
	if (!grown.data)
		return -ENOMEM;
	if (c->count) {
		memcpy(grown.data, c->data, c->blocks * pq4_block_bytes(pq));
		memcpy(cell_scales(pq, &grown), cell_scales(pq, c), c->count * sizeof(float));
		memcpy(cell_adds(pq, &grown), cell_adds(pq, c), c->count * sizeof(float));
		memcpy(cell_rows(pq, &grown), cell_rows(pq, c), c->count * sizeof(uint32_t));
		memcpy(cell_fine(p, &grown, 0), cell_fine(p, c, 0), c->count * p->fine_bytes);
	}
	cell_clear(p, &grown, grown.count);
	p->added_bytes += cell_bytes(p, grown.blocks) - cell_bytes(p, c->blocks);
	alloc_free(c->data);
	*c = grown;
	return 0;
}

int partitions_add(struct partitions *p, const struct vectors *v, uint32_t row)
{
	struct coder *e;
	uint32_t nearest = 0;
	int rc = coder_new(p, &e);

	if (rc)
		return rc;
	partitions_row(v, row, e->x);
	rc = kmeans_assign(e->x, p->dim, 1, p->dim, p->centroids, p->halves, p->cells, 1, &nearest);
	if (!rc)
		rc = cell_grow(p, &p->added[nearest]);
	if (!rc) {
		coder_run(p, p->centroids + (size_t)nearest * p->dim, e);
		cell_put(p, &p->added[nearest], e->codes, e->scale, e->add, e->fine, row);
		p->rows++;
	}
	alloc_free(e);
	return rc;
}

static void cell_copy(const struct partitions *p, const struct vectors *v, const struct cell *from,
		      struct cell *to)
{
	const struct pq4 *pq = &p->pq;
	uint8_t codes[PQ4_GROUPS_MAX];
	const uint32_t *rows = from->count ? cell_rows(pq, from) : NULL;

	for (uint32_t i = 0; i < from->count; i++) {
		if (rows_is_dead(&v->rows, rows[i]))
			continue;
		pq4_block_get(pq, from->data + i / PQ4_BLOCK * pq4_block_bytes(pq), i % PQ4_BLOCK,
			      codes);
		cell_put(p, to, codes, cell_scales(pq, from)[i], cell_adds(pq, from)[i],
			 cell_fine(p, from, i), rows[i]);
	}
}

static uint32_t cell_alive(const struct pq4 *pq, const struct vectors *v, const struct cell *c)
{
	uint32_t alive = 0;

	for (uint32_t i = 0; i < c->count; i++)
		alive += !rows_is_dead(&v->rows, cell_rows(pq, c)[i]);
	return alive;
}

static int training_copy(const struct partitions *from, struct partitions *to)
{
	const struct pq4 *pq = &from->pq;

	memcpy(to->centroids, from->centroids, (size_t)from->cells * from->dim * sizeof(float));
	int rc = partitions_finish(to);
	if (rc)
		return rc;
	to->pq = *pq;
	to->pq.starts = alloc_get((pq->groups + 1) * sizeof(*pq->starts));
	to->pq.values = alloc_get((size_t)PQ4_VALUES * pq->dim * sizeof(*pq->values));
	if (!to->pq.starts || !to->pq.values)
		return -ENOMEM;
	memcpy(to->pq.starts, pq->starts, (pq->groups + 1) * sizeof(*pq->starts));
	memcpy(to->pq.values, pq->values, (size_t)PQ4_VALUES * pq->dim * sizeof(*pq->values));
	to->fine_bytes = from->fine_bytes;
	to->fine_mean = from->fine_mean;
	to->fine_deviation = from->fine_deviation;
	return quantizer_copy(&from->fine, &to->fine);
}

int partitions_clean(const struct partitions *p, const struct vectors *v, struct partitions **out)
{
	struct partitions *to = NULL;
	uint32_t *counts = alloc_get(p->cells * sizeof(*counts));
	int rc = counts ? partitions_new(v, p->cells, &to) : -ENOMEM;

	if (!rc)
		rc = training_copy(p, to);
	for (uint32_t c = 0; !rc && c < p->cells; c++)
		counts[c] =
			cell_alive(&p->pq, v, &p->built[c]) + cell_alive(&p->pq, v, &p->added[c]);
	if (!rc)
		rc = layout(to, counts);
	for (uint32_t c = 0; !rc && c < p->cells; c++) {
		cell_clear(to, &to->built[c], 0);
		cell_copy(p, v, &p->built[c], &to->built[c]);
		cell_copy(p, v, &p->added[c], &to->built[c]);
		to->rows += to->built[c].count;
	}
	alloc_free(counts);
	if (rc)
		partitions_free(to);
	else
		*out = to;
	return rc;
}
