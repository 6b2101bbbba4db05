/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of everything the store
 * writes. Threading: pure; thread-safe. The form is chosen once, before main(), with the level of
 * simd.h: scalar has the table, avx2 three streams of the CRC32 instruction, avx512 folding.
 */
#ifndef MNEME_SIMD_CRC32C_H
#define MNEME_SIMD_CRC32C_H

#include <stddef.h>
#include <stdint.h>

extern uint32_t (*crc32c_active)(uint32_t crc, const void *data, size_t len);

/* Continues `crc` (0 to begin with) over `len` bytes: crc32c(crc32c(0, a), b) == crc32c(0, ab). */
static inline uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	return crc32c_active(crc, data, len);
}

/* The portable oracle of the above. */
uint32_t crc32c_scalar(uint32_t crc, const void *data, size_t len);

#endif
