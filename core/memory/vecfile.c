/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   vecfile.h.
 */
#include "core/memory/vecfile.h"
#include "simd/simd.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NPY_TEXT_MAX = 512 };

static int refuse(char why[VECFILE_WHY], const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static int refuse(char why[VECFILE_WHY], const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(why, VECFILE_WHY, format, list);
	va_end(list);
	return -EINVAL;
}

enum vecfile_kind vecfile_kind(const char *name)
{
	static const struct {
		const char *ending;
		enum vecfile_kind kind;
	} endings[] = {{".f32", VECFILE_RAW},
		       {".vec", VECFILE_RAW},
		       {".npy", VECFILE_NPY},
		       {".fvecs", VECFILE_FVECS},
		       {".bvecs", VECFILE_BVECS}};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && dot != name && i < sizeof(endings) / sizeof(endings[0]); i++)
		if (!strcmp(dot, endings[i].ending))
			return endings[i].kind;
	return VECFILE_NONE;
}

static uint32_t type_bytes(enum vecfile_type type)
{
	static const uint32_t bytes[] = {4, 2, 8, 1, 1};

	return bytes[type];
}

/* Dimension and rows are known: the rest follows. */
static int layout(struct vecfile *f, uint64_t dim, uint64_t rows, uint64_t size,
		  char why[VECFILE_WHY])
{
	if (!dim || dim > VECFILE_DIM_MAX)
		return refuse(why, "%llu dimensions; 1 to %d can be searched",
			      (unsigned long long)dim, VECFILE_DIM_MAX);
	if (!rows || rows > VECFILE_ROWS_MAX)
		return refuse(why, "%llu rows; 1 to %d can be searched", (unsigned long long)rows,
			      VECFILE_ROWS_MAX);
	f->dim = (uint32_t)dim;
	f->rows = (uint32_t)rows;
	f->stride = f->lead + f->dim * type_bytes(f->type);
	if (f->begin + rows * f->stride != size)
		return refuse(why, "%llu bytes, where %llu rows of %llu take %llu",
			      (unsigned long long)size, (unsigned long long)rows,
			      (unsigned long long)dim,
			      (unsigned long long)(f->begin + rows * f->stride));
	return 0;
}

/* fvecs and bvecs: the first row's count is that of all. */
static int parse_counted(const uint8_t *head, size_t length, uint64_t size, struct vecfile *f,
			 char why[VECFILE_WHY])
{
	int32_t dim = 0;

	if (length < sizeof(dim))
		return refuse(why, "%llu bytes are no row", (unsigned long long)size);
	memcpy(&dim, head, sizeof(dim));
	if (dim < 1 || dim > VECFILE_DIM_MAX)
		return refuse(why, "%d dimensions; 1 to %d can be searched", (int)dim,
			      VECFILE_DIM_MAX);
	f->lead = sizeof(dim);
	uint64_t stride = f->lead + (uint64_t)dim * type_bytes(f->type);
	if (size % stride)
		return refuse(why, "%llu bytes are no whole rows of %d numbers",
			      (unsigned long long)size, (int)dim);
	return layout(f, (uint64_t)dim, size / stride, size, why);
}

/* The value of a key of the dictionary, or NULL. */
static const char *npy_value(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	if (!at)
		return NULL;
	at += strlen(key);
	while (*at == ' ' || *at == ':')
		at++;
	return at;
}

static int npy_type(const char *text, enum vecfile_type *type)
{
	static const char *const names[] = {"<f4", "<f2", "<f8", "|u1", "|i1"};
	const char *descr = npy_value(text, "'descr'");

	for (int i = 0; descr && *descr == '\'' && i < 5; i++)
		if (!strncmp(descr + 1, names[i], 3) && descr[4] == '\'') {
			*type = (enum vecfile_type)i;
			return 0;
		}
	return -EINVAL;
}

/* (dim,) or (rows, dim) */
static int npy_shape(const char *text, uint64_t *rows, uint64_t *dim)
{
	const char *shape = npy_value(text, "'shape'");
	char *end;

	if (!shape || *shape != '(')
		return -EINVAL;
	*rows = 1;
	*dim = strtoull(shape + 1, &end, 10);
	if (end == shape + 1 || *end != ',')
		return -EINVAL;
	while (*++end == ' ')
		;
	if (*end != ')') {
		const char *second = end;
		*rows = *dim;
		*dim = strtoull(second, &end, 10);
		if (end == second)
			return -EINVAL;
	}
	return *end == ')' ? 0 : -EINVAL;
}

static int parse_npy(const uint8_t *head, size_t length, uint64_t size, struct vecfile *f,
		     char why[VECFILE_WHY])
{
	char text[NPY_TEXT_MAX];
	uint64_t rows, dim;
	uint32_t begin, bytes = 0;

	if (length < 12 || memcmp(head, "\x93NUMPY", 6) || head[6] < 1 || head[6] > 3)
		return refuse(why, "no numpy file of format 1 to 3");
	begin = head[6] == 1 ? 10 : 12;
	memcpy(&bytes, head + 8, begin - 8);
	if (bytes >= sizeof(text) || begin + bytes > length)
		return refuse(why, "a numpy head that is no array's");
	memcpy(text, head + begin, bytes);
	text[bytes] = 0;
	if (npy_type(text, &f->type))
		return refuse(why, "numbers that are none of f2, f4, f8, i1, u1 (little-endian)");
	const char *order = npy_value(text, "'fortran_order'");
	if (!order || strncmp(order, "False", 5))
		return refuse(why, "an array in Fortran order");
	if (npy_shape(text, &rows, &dim))
		return refuse(why, "an array that has not one or two dimensions");
	f->begin = begin + bytes;
	return layout(f, dim, rows, size, why);
}

int vecfile_parse(enum vecfile_kind kind, const uint8_t *head, size_t length, uint64_t size,
		  struct vecfile *out, char why[VECFILE_WHY])
{
	*out = (struct vecfile){.type = kind == VECFILE_BVECS ? VECFILE_U8 : VECFILE_F32};
	if (kind == VECFILE_NPY)
		return parse_npy(head, length, size, out, why);
	if (kind != VECFILE_RAW)
		return parse_counted(head, length, size, out, why);
	if (size % sizeof(float))
		return refuse(why, "%llu bytes are no f32 numbers", (unsigned long long)size);
	return layout(out, size / sizeof(float), 1, size, why);
}

int vecfile_row(const struct vecfile *f, const uint8_t *row, float *out)
{
	uint32_t count;

	if (f->lead) {
		memcpy(&count, row, sizeof(count));
		if (count != f->dim)
			return -EINVAL;
		row += f->lead;
	}
	for (uint32_t i = 0; i < f->dim; i++) {
		double wide;
		uint16_t half;
		switch (f->type) {
		case VECFILE_F32:
			memcpy(&out[i], row + i * sizeof(float), sizeof(float));
			break;
		case VECFILE_F16:
			memcpy(&half, row + i * sizeof(half), sizeof(half));
			simd_active->f16_to_f32(&half, &out[i], 1);
			break;
		case VECFILE_F64:
			memcpy(&wide, row + i * sizeof(wide), sizeof(wide));
			out[i] = (float)wide;
			break;
		case VECFILE_U8:
			out[i] = row[i];
			break;
		case VECFILE_I8:
			out[i] = (int8_t)row[i];
			break;
		}
		if (!isfinite(out[i]))
			return -EINVAL;
	}
	return 0;
}

size_t vecfile_npy_head(uint64_t rows, uint32_t dim, uint8_t out[128])
{
	memset(out, ' ', 128);
	int n = snprintf((char *)out + 10, 118,
			 "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %u), }",
			 (unsigned long long)rows, dim);
	out[10 + n] = ' ';
	memcpy(out, "\x93NUMPY\x01\x00\x76\x00", 10);
	out[127] = '\n';
	return 128;
}
