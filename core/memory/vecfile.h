/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the formats of files that hold vectors, by the name's ending.
 *              .f32 .vec  one vector: little-endian f32, nothing else
 *              .npy       numpy, format 1 to 3: f2, f4, f8, i1, u1, little-endian, C order; one
 *                         dimension is one vector, of two the first counts rows
 *              .fvecs     rows of an int32 count and that many f32 (the texmex collections)
 *              .bvecs     the same with bytes
 * Invariants: nothing is read outside of what was given; sizes are checked against the file's.
 * Threading: plain data.
 * Failure:   -EINVAL with a sentence.
 */
#ifndef MNEME_CORE_MEMORY_VECFILE_H
#define MNEME_CORE_MEMORY_VECFILE_H

#include <stddef.h>
#include <stdint.h>

enum {
	VECFILE_HEAD = 4096, /* bytes of a file that vecfile_parse() wants, or all there are */
	VECFILE_WHY = 120,
	VECFILE_DIM_MAX = 4096,
	VECFILE_ROWS_MAX = 16 << 20,
};

enum vecfile_kind { VECFILE_NONE, VECFILE_RAW, VECFILE_NPY, VECFILE_FVECS, VECFILE_BVECS };
enum vecfile_type { VECFILE_F32, VECFILE_F16, VECFILE_F64, VECFILE_U8, VECFILE_I8 };

struct vecfile {
	uint32_t dim, rows;
	uint64_t begin;  /* byte of the first row */
	uint32_t stride; /* bytes from row to row */
	uint32_t lead;   /* of them, the row's own count in front */
	enum vecfile_type type;
};

enum vecfile_kind vecfile_kind(const char *name);
/* `head`: the first `length` bytes of a file of `size` bytes. */
int vecfile_parse(enum vecfile_kind kind, const uint8_t *head, size_t length, uint64_t size,
		  struct vecfile *out, char why[VECFILE_WHY]);
/* A row's `stride` bytes as floats. -EINVAL: another count in front, or a number that is not finite. */
int vecfile_row(const struct vecfile *f, const uint8_t *row, float *out);

/* The head of a .npy file of rows x dim little-endian f32: `out` has room for 128 bytes; returns
 * how many, a multiple of 64. */
size_t vecfile_npy_head(uint64_t rows, uint32_t dim, uint8_t out[128]);

#endif
