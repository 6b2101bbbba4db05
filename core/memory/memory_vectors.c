/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   vectors that users bring: a vector file's rows, or the vector that was set as an
 *            attribute of a file. Which collection they belong to, and whether they fit it.
 * Invariants: the file's bytes are the truth; what is in `spaces` follows from them.
 * Threading: reads single records and ranges; a file that changes meanwhile is pending anyhow.
 * Failure:   -EINVAL with a sentence that user.mneme.state then shows.
 */
#include "core/memory/memory_inside.h"
#include "core/memory/spaces.h"
#include "core/memory/vecfile.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 20, SHOWN_NUMBERS = 8 };

static int attribute_get(struct memory *mem, uint64_t inode, const char *name, void *value,
			 size_t size, size_t *length)
{
	struct mneme_key key = {.inode = inode,
				.type = MNEME_TYPE_XATTR,
				.sub = name,
				.sub_length = (uint16_t)strlen(name)};

	return mneme_get(mem->engine, &key, value, size, length);
}

/* ---- settings of collections ---- */

int memory_metric_parse(const char *text, enum vectors_metric *out)
{
	static const char *const names[] = {"cosine", "dot", "l2"};

	for (int i = 0; i < 3; i++)
		if (!strcmp(text, names[i])) {
			*out = (enum vectors_metric)i;
			return 0;
		}
	return -EINVAL;
}

int memory_setting_check(const char *name, const void *value, size_t length)
{
	char text[MEMORY_SETTING_MAX], *end;
	enum vectors_metric metric;
	enum quantizer_kind quantizer;

	if (!strcmp(name, MEMORY_SETTING_QUANTIZER))
		return quantizer_parse(value, length, &quantizer);
	if (length >= sizeof text)
		return -EINVAL;
	memcpy(text, value, length);
	text[length] = 0;
	if (!strcmp(name, MEMORY_SETTING_METRIC))
		return memory_metric_parse(text, &metric);
	unsigned long dim = strtoul(text, &end, 10);
	return *end || dim < 1 || dim > MEMORY_DIM_MAX || text[0] == '-' ? -EINVAL : 0;
}

int memory_is_vector_name(const char *name)
{
	return vecfile_kind(name) != VECFILE_NONE;
}

int memory_setting_get(struct memory *mem, uint64_t inode, const char *name,
		       char value[MEMORY_SETTING_MAX])
{
	size_t length;
	int rc = attribute_get(mem, inode, name, value, MEMORY_SETTING_MAX - 1, &length);

	if (rc == 0)
		value[length] = 0;
	return rc;
}

void memory_collection_of(struct memory *mem, uint64_t inode, uint32_t *dim,
			  enum vectors_metric *metric)
{
	char value[MEMORY_SETTING_MAX];
	int has_metric = 0;

	*dim = 0;
	*metric = VECTORS_COSINE;
	do {
		if (!*dim && memory_setting_get(mem, inode, MEMORY_SETTING_DIM, value) == 0)
			*dim = (uint32_t)strtoul(value, NULL, 10);
		if (!has_metric &&
		    memory_setting_get(mem, inode, MEMORY_SETTING_METRIC, value) == 0)
			has_metric = memory_metric_parse(value, metric) == 0;
	} while ((!*dim || !has_metric) && (inode = memory_parent(mem, inode)));
}

int memory_quantizer_of(struct memory *mem, uint64_t inode, enum quantizer_kind *quantizer)
{
	char value[MEMORY_SETTING_MAX];

	*quantizer = QUANTIZER_NONE;
	do {
		if (memory_setting_get(mem, inode, MEMORY_SETTING_QUANTIZER, value) == 0 &&
		    quantizer_parse(value, strlen(value), quantizer) == 0)
			return 1;
	} while ((inode = memory_parent(mem, inode)));
	return 0;
}

/* ---- reading ---- */

/* [1, 2.5, ...] in `text`, which ends with a zero byte. */
static int numbers_parse(const char *text, float *out, uint32_t *dim)
{
	char *end;

	for (*dim = 0; *dim < MEMORY_DIM_MAX; text = end) {
		out[*dim] = strtof(text + 1, &end);
		if (end == text + 1)
			return -EINVAL;
		++*dim;
		end += strspn(end, " \n\t");
		if (*end == ']')
			return end[1 + strspn(end + 1, " \n\t")] ? -EINVAL : 0;
		if (*end != ',')
			return -EINVAL;
	}
	return -EINVAL;
}

int memory_vector_parse(const void *value, size_t length, float *out, uint32_t *dim)
{
	struct vecfile raw = {.type = VECFILE_F32};
	int rc = -EINVAL;

	if (length && *(const char *)value == '[') {
		char *text = alloc_get(length + 1);
		if (!text)
			return -ENOMEM;
		memcpy(text, value, length);
		text[length] = 0;
		rc = numbers_parse(text, out, dim);
		alloc_free(text);
	}
	if (rc == 0 || !length || length % sizeof(float) || length > MEMORY_DIM_MAX * sizeof(float))
		return rc;
	*dim = raw.dim = length / sizeof(float);
	return vecfile_row(&raw, value, out);
}

int memory_vector_fits(struct memory *mem, uint64_t inode, uint32_t dim)
{
	enum vectors_metric metric;
	uint32_t wanted;

	memory_collection_of(mem, inode, &wanted, &metric);
	return !wanted || wanted == dim;
}

static int own_load(struct memory *mem, uint64_t inode, struct memory_rows *out)
{
	size_t length;

	out->values = alloc_get(MEMORY_DIM_MAX * sizeof(float));
	if (!out->values)
		return -ENOMEM;
	int rc = attribute_get(mem, inode, MEMORY_OWN_VECTOR, out->values,
			       MEMORY_DIM_MAX * sizeof(float), &length);
	out->dim = length / sizeof(float);
	out->rows = 1;
	out->is_own = 1;
	return rc;
}

static int file_parse(struct memory *mem, uint64_t inode, const struct names_inode *record,
		      struct vecfile *f, char *why)
{
	static _Thread_local char name[NAMES_NAME_MAX + 2]; /* handlers have 3 KiB of stack */

	if (memory_name(mem, inode, name) < 0)
		return 1;
	enum vecfile_kind kind = vecfile_kind(name);
	if (kind == VECFILE_NONE)
		return 1;
	if (record->size > MEMORY_VECTORS_FILE_MAX) {
		snprintf(why, VECFILE_WHY, "larger than %d MiB", MEMORY_VECTORS_FILE_MAX >> 20);
		return -EINVAL;
	}
	uint8_t *head = alloc_get(VECFILE_HEAD);
	int n = head ? memory_read(mem->engine, inode, record->size, 0, head, VECFILE_HEAD)
		     : -ENOMEM;
	int rc = n < 0 ? n : vecfile_parse(kind, head, (size_t)n, record->size, f, why);
	alloc_free(head);
	return rc;
}

static uint32_t block_rows(const struct vecfile *f)
{
	return BLOCK / f->stride ? BLOCK / f->stride : 1;
}

/* Rows [first, first + count) as floats. */
static int rows_read(struct memory *mem, uint64_t inode, const struct names_inode *record,
		     const struct vecfile *f, uint32_t first, uint32_t count, float *out, char *why)
{
	uint32_t batch = block_rows(f);
	uint8_t *block = alloc_get((size_t)batch * f->stride);
	int rc = block ? 0 : -ENOMEM;

	for (uint32_t done = 0; done < count && rc == 0; done += batch) {
		uint32_t n = count - done < batch ? count - done : batch;
		rc = memory_read(mem->engine, inode, record->size,
				 f->begin + (uint64_t)(first + done) * f->stride, block,
				 (size_t)n * f->stride);
		rc = rc < 0 ? rc : 0;
		for (uint32_t i = 0; i < n && rc == 0; i++) {
			rc = vecfile_row(f, block + (size_t)i * f->stride,
					 out + (size_t)(done + i) * f->dim);
			if (rc < 0)
				snprintf(why, VECFILE_WHY,
					 "row %u has another length, or a number that is not "
					 "finite",
					 first + done + i);
		}
	}
	alloc_free(block);
	return rc;
}

int memory_rows_load(struct memory *mem, uint64_t inode, const struct names_inode *record,
		     uint32_t limit, struct memory_rows *out, char *why)
{
	struct vecfile f;

	*out = (struct memory_rows){0};
	if (record->state & NAMES_HAS_VECTOR)
		return own_load(mem, inode, out);
	int rc = file_parse(mem, inode, record, &f, why);
	if (rc)
		return rc;
	out->dim = f.dim;
	out->all = f.rows;
	out->rows = limit && limit < f.rows ? limit : f.rows;
	out->values = alloc_get((size_t)out->rows * f.dim * sizeof(float));
	return out->values ? rows_read(mem, inode, record, &f, 0, out->rows, out->values, why)
			   : -ENOMEM;
}

/* ---- indexing ---- */

/* Of the collection that the file is in. -EINVAL: it takes others. */
static int metric_find(struct memory *mem, uint64_t inode, uint32_t dim,
		       enum vectors_metric *metric, char *why)
{
	uint32_t wanted;

	memory_collection_of(mem, inode, &wanted, metric);
	if (!wanted || wanted == dim)
		return 0;
	snprintf(why, VECFILE_WHY, "%u dimensions, where the collection has %u", dim, wanted);
	return -EINVAL;
}

/* The rows of a file, a block at a time. */
static int file_put(struct memory *mem, uint64_t inode, const struct names_inode *record,
		    const struct vecfile *f, enum vectors_metric metric, char *why)
{
	uint32_t batch = block_rows(f);
	float *values = alloc_get((size_t)batch * f->dim * sizeof(*values));
	int rc = values ? spaces_put_begin(mem->spaces, f->dim, metric, inode) : -ENOMEM;

	if (rc == 0) {
		for (uint32_t at = 0; at < f->rows && rc == 0; at += batch) {
			uint32_t count = f->rows - at < batch ? f->rows - at : batch;
			rc = rows_read(mem, inode, record, f, at, count, values, why);
			if (rc == 0)
				rc = spaces_put_rows(mem->spaces, record->version, at, values,
						     count);
		}
		rc = spaces_put_end(mem->spaces, rc);
	}
	alloc_free(values);
	return rc;
}

/* What the directory wants for an index counts for the space. */
static void codes_want(struct memory *mem, uint64_t inode, uint32_t dim, enum vectors_metric metric)
{
	enum quantizer_kind quantizer;

	if (memory_quantizer_of(mem, inode, &quantizer))
		spaces_want_codes(mem->spaces, dim, metric, quantizer);
}

static int own_index(struct memory *mem, uint64_t inode, const struct names_inode *record,
		     struct memory_rows *rows, char *why)
{
	enum vectors_metric metric;
	int rc = own_load(mem, inode, rows);

	if (rc == 0)
		rc = metric_find(mem, inode, rows->dim, &metric, why);
	if (rc == 0)
		rc = spaces_put_begin(mem->spaces, rows->dim, metric, inode);
	if (rc == 0) {
		rc = spaces_put_rows(mem->spaces, record->version, 0, rows->values, 1);
		rc = spaces_put_end(mem->spaces, rc);
	}
	if (rc == 0)
		codes_want(mem, inode, rows->dim, metric);
	alloc_free(rows->values);
	rows->values = NULL;
	return rc;
}

static int file_index(struct memory *mem, uint64_t inode, const struct names_inode *record,
		      struct memory_rows *rows, char *why)
{
	enum vectors_metric metric;
	struct vecfile f;
	int rc = file_parse(mem, inode, record, &f, why);

	if (rc)
		return rc;
	rows->dim = f.dim;
	rows->rows = rows->all = f.rows;
	rc = metric_find(mem, inode, f.dim, &metric, why);
	if (rc == 0 && !spaces_hold(mem->spaces, f.dim, metric, inode, record->version, f.rows))
		rc = file_put(mem, inode, record, &f, metric, why);
	if (rc == 0)
		codes_want(mem, inode, f.dim, metric);
	return rc;
}

static void upkeep_poke_if_due(struct memory *mem)
{
	if (spaces_want(mem->spaces) || memory_snapshot_is_due(mem))
		memory_upkeep_poke(mem);
}

int memory_rows_index(struct memory *mem, uint64_t inode, const struct names_inode *record,
		      struct memory_rows *rows, char *why)
{
	*rows = (struct memory_rows){0};
	int rc = record->state & NAMES_HAS_VECTOR ? own_index(mem, inode, record, rows, why)
						  : file_index(mem, inode, record, rows, why);
	if (rc)
		spaces_remove(mem->spaces, inode);
	if (rc == -ENOSPC) {
		snprintf(why, VECFILE_WHY, "more than %d kinds of vectors", SPACES_MAX);
		rc = -EINVAL;
	}
	upkeep_poke_if_due(mem);
	return rc;
}

void memory_rows_remove(struct memory *mem, uint64_t inode)
{
	spaces_remove(mem->spaces, inode);
	upkeep_poke_if_due(mem);
}

/* ---- showing ---- */

int memory_vector_shown(struct memory *mem, uint64_t inode, float *vector, size_t capacity,
			uint32_t *dim)
{
	static _Thread_local char why[VECFILE_WHY]; /* as above */
	struct names_inode record;
	struct memory_rows rows = {0};
	int rc = memory_inode(mem->engine, inode, &record);

	if (rc == 0)
		rc = memory_rows_load(mem, inode, &record, 1, &rows, why);
	if (rc == 1)
		return memory_vector(mem, inode, 0, vector, capacity, dim);
	if (rc == 0) {
		*dim = rows.dim;
		if (rows.dim <= capacity)
			memcpy(vector, rows.values, rows.dim * sizeof *vector);
		else
			rc = -ERANGE;
	}
	alloc_free(rows.values);
	return rc == -EINVAL ? -ENODATA : rc;
}

int memory_rows_locate(struct memory *mem, uint64_t inode, uint32_t part, struct memory_result *r)
{
	char why[VECFILE_WHY], reason[MEMORY_REASON_MAX + 1];
	struct memory_state state;
	struct names_inode record;
	struct vecfile f;
	int rc = memory_state_get(mem, inode, &state, reason);

	if (rc < 0 || state.model != MEMORY_MODEL_ROWS)
		return rc == 0 || rc == -ENOENT ? 1 : rc;
	r->part = part;
	r->begin = r->end = 0;
	r->line = r->line_end = r->line_match = 1;
	rc = memory_inode(mem->engine, inode, &record);
	if (rc < 0 || record.state & NAMES_HAS_VECTOR) {
		snprintf(r->snippet, sizeof r->snippet, "a vector of its own");
		return rc;
	}
	rc = file_parse(mem, inode, &record, &f, why);
	if (rc || part >= f.rows)
		return -ENOENT; /* changed meanwhile */
	r->begin = f.begin + (uint64_t)part * f.stride;
	r->end = r->begin + f.stride;
	float *row = alloc_get(f.dim * sizeof *row);
	rc = row ? rows_read(mem, inode, &record, &f, part, 1, row, why) : -ENOMEM;
	int n = snprintf(r->snippet, sizeof r->snippet, "row %u of %u:", part, f.rows);
	for (uint32_t i = 0; rc == 0 && i < f.dim && i < SHOWN_NUMBERS; i++)
		n += snprintf(r->snippet + n, sizeof r->snippet - (size_t)n, " %.5g",
			      (double)row[i]);
	if (rc == 0 && f.dim > SHOWN_NUMBERS)
		snprintf(r->snippet + n, sizeof r->snippet - (size_t)n, " ...");
	alloc_free(row);
	return rc;
}

/* ---- as files ---- */

/* All vectors of a file: those that were brought, else those of its passages. */
static int all_load(struct memory *mem, uint64_t inode, struct memory_rows *rows)
{
	char why[VECFILE_WHY], reason[MEMORY_REASON_MAX + 1];
	struct memory_state state;
	struct names_inode record;
	int rc = memory_inode(mem->engine, inode, &record);

	if (rc == 0)
		rc = memory_rows_load(mem, inode, &record, 0, rows, why);
	if (rc != 1)
		return rc == -EINVAL ? -ENODATA : rc;
	rc = memory_state_get(mem, inode, &state, reason);
	if (rc < 0 || !state.parts || !state.dim || state.model == MEMORY_MODEL_ROWS)
		return rc < 0 && rc != -ENOENT ? rc : -ENODATA;
	rows->dim = state.dim;
	rows->rows = state.parts;
	rows->values = alloc_get((size_t)rows->rows * rows->dim * sizeof(float));
	rc = rows->values ? 0 : -ENOMEM;
	for (uint32_t i = 0; i < rows->rows && rc == 0; i++) {
		uint32_t dim;
		rc = memory_vector(mem, inode, i, rows->values + (size_t)i * rows->dim, rows->dim,
				   &dim);
	}
	return rc;
}

static int json_write(const struct memory_rows *rows, char **out, size_t *length)
{
	enum { NUMBER_MAX = 20 };
	size_t count = (size_t)rows->rows * rows->dim, used = 1;
	char *text = alloc_get(count * NUMBER_MAX + rows->rows * 4 + 8);

	if (!text)
		return -ENOMEM;
	text[0] = '[';
	for (size_t i = 0; i < count; i++) {
		const char *between = i % rows->dim ? ", " : i ? "],\n[" : "[";
		used += (size_t)sprintf(text + used, "%s%.9g", between, (double)rows->values[i]);
	}
	memcpy(text + used, "]]\n", 3);
	*out = text;
	*length = used + 3;
	return 0;
}

int memory_vectors_write(struct memory *mem, uint64_t inode, enum memory_vectors_form form,
			 char **out, size_t *length)
{
	struct memory_rows rows = {0};
	uint8_t head[128];
	int rc = all_load(mem, inode, &rows);
	size_t bytes = (size_t)rows.rows * rows.dim * sizeof(float);

	if (rc == 0 && form == MEMORY_VECTORS_JSON) {
		rc = json_write(&rows, out, length);
	} else if (rc == 0) {
		size_t begin = form == MEMORY_VECTORS_NPY
				       ? vecfile_npy_head(rows.rows, rows.dim, head)
				       : 0;
		*length = begin + bytes;
		*out = alloc_get(*length);
		rc = *out ? 0 : -ENOMEM;
		if (rc == 0) {
			memcpy(*out, head, begin);
			memcpy(*out + begin, rows.values, bytes);
		}
	}
	alloc_free(rows.values);
	return rc;
}
