/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes the reading of vector files (.f32 .npy .fvecs .bvecs): what is accepted lies
 *            within the file, and each of its rows can be read and is finite, or is refused.
 *
 *   The first byte of an input is the kind, the rest is the file.
 */
#include "core/memory/vecfile.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KINDS = 4, ROWS_READ = 64 };
static const enum vecfile_kind kinds[KINDS] = {VECFILE_RAW, VECFILE_NPY, VECFILE_FVECS,
					       VECFILE_BVECS};

static void read_rows(const struct vecfile *f, const uint8_t *file, size_t size)
{
	static float row[VECFILE_DIM_MAX];

	if (f->begin > size || !f->stride || (size - f->begin) / f->stride < f->rows)
		__builtin_trap();
	for (uint32_t i = 0; i < f->rows && i < ROWS_READ; i++) {
		/* a copy of just its bytes, so that a read behind them is seen */
		uint8_t *bytes = malloc(f->stride);
		memcpy(bytes, file + f->begin + (size_t)i * f->stride, f->stride);
		int rc = vecfile_row(f, bytes, row);
		for (uint32_t d = 0; rc == 0 && d < f->dim; d++)
			if (!isfinite(row[d]))
				__builtin_trap();
		free(bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[VECFILE_WHY] = "";
	struct vecfile f;

	if (!size)
		return 0;
	enum vecfile_kind kind = kinds[data[0] % KINDS];
	const uint8_t *file = data + 1;
	size--;
	size_t length = size < VECFILE_HEAD ? size : VECFILE_HEAD;
	uint8_t *head = malloc(length + 1);
	memcpy(head, file, length);
	int rc = vecfile_parse(kind, head, length, size, &f, why);
	free(head);
	if (memchr(why, 0, sizeof(why)) == NULL || (rc && !why[0]))
		__builtin_trap();
	if (!rc && (!f.rows || !f.dim || f.dim > VECFILE_DIM_MAX || f.rows > VECFILE_ROWS_MAX))
		__builtin_trap();
	if (!rc)
		read_rows(&f, file, size);
	return 0;
}

/* Two rows of three numbers each. */
size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	static const float numbers[] = {1, -2.5f, 3, 0, 1e-3f, 7};
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 255};
	static const uint32_t dim = 3;
	size_t used = 1;

	if (number >= KINDS || capacity < 256)
		return 0;
	buffer[0] = (uint8_t)number;
	if (kinds[number] == VECFILE_NPY)
		used += vecfile_npy_head(2, dim, buffer + used);
	for (int row = 0; row < 2; row++) {
		if (kinds[number] == VECFILE_FVECS || kinds[number] == VECFILE_BVECS) {
			memcpy(buffer + used, &dim, sizeof(dim));
			used += sizeof(dim);
		}
		const void *from = kinds[number] == VECFILE_BVECS ? (const void *)(bytes + row * 3)
								  : numbers + row * 3;
		size_t n = kinds[number] == VECFILE_BVECS ? 3 : 3 * sizeof(float);
		memcpy(buffer + used, from, n);
		used += n;
	}
	return used;
}
