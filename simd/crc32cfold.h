/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the forms of crc32c() and their start; private to simd/, its tests and benchmarks.
 */
#ifndef MNEME_SIMD_CRC32CFOLD_H
#define MNEME_SIMD_CRC32CFOLD_H

#include "simd/crc32c.h"

enum crc32c_form {
	CRC32C_TABLE,
	CRC32C_STREAMS, /* SSE4.2, PCLMULQDQ */
	CRC32C_FOLD,    /* AVX-512 F BW DQ VL, VPCLMULQDQ */
	CRC32C_FORMS
};

typedef uint32_t crc32c_fn(uint32_t crc, const void *data, size_t len);

/* Fills the tables of all forms and makes one active. The caller knows that it can run. */
void crc32c_start(enum crc32c_form form);
/* A form, or NULL if this build lacks it; whether the machine can run it is another question. */
crc32c_fn *crc32c_get(enum crc32c_form form);
/* The fastest form that this machine can run. */
enum crc32c_form crc32c_best(void);
/* x^exponent modulo the polynomial, reflected. */
uint32_t crc32c_power(unsigned exponent);

/* What crc32c_fold() multiplies by: for each 128-bit lane of a register the two factors (of its low
 * and of its high half) that carry the lane over a distance in bytes; filled by crc32c_start(). */
enum { CRC32C_FOLD_STEP = 64, CRC32C_FOLD_WIDE = 4 * CRC32C_FOLD_STEP };
enum crc32c_distance {
	CRC32C_OVER_WIDE,
	CRC32C_OVER_STEP,
	CRC32C_OVER_LANES, /* from each lane to the last one */
	CRC32C_DISTANCES
};
extern uint64_t crc32c_fold_factors[CRC32C_DISTANCES][8];

uint32_t crc32c_fold(uint32_t crc, const void *data, size_t len);

#endif
