/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the template of the kernels of packed bits for 512 bits, included after POPCOUNT(v), the
 *            ones of each 64-bit lane.
 */
#define TYPE b1
#define VEC __m512i
#define ACC __m512i
#define VEC_BYTES 64
#define DIM_BYTES(d) (((d) + 7) / 8)
#define LOAD(p) _mm512_loadu_si512(p)
#define LOAD_TAIL(p, left, total) _mm512_maskz_loadu_epi8(mask64(left), p)
#define MAC_DOT(acc, q, r) _mm512_add_epi64(acc, POPCOUNT(_mm512_and_si512(q, r)))
#define MAC_L2(acc, q, r) _mm512_add_epi64(acc, POPCOUNT(_mm512_xor_si512(q, r)))
#define MAC_NORM(acc, v) _mm512_add_epi64(acc, POPCOUNT(v))
#define ACC_ADD(a, b) _mm512_add_epi64(a, b)
#define SUM sum_u64
#define PAIR_UNROLL 1
#define ACC_REGS 1
#include "simd/tile.h"

static void b1_planes(const void *query, size_t planes, const void *base, size_t stride,
		      const uint32_t *ids, size_t count, size_t bytes, uint32_t *out)
{
	for (size_t i = 0; i < count; i++) {
		const uint8_t *code = (const uint8_t *)base + (ids ? ids[i] : i) * stride;
		__m512i sum = _mm512_setzero_si512();
		if (ids && i + 4 < count)
			row_prefetch((const uint8_t *)base + ids[i + 4] * stride, bytes);
		for (size_t k = 0; k < bytes; k += 64) {
			__mmask64 live = bytes - k < 64 ? mask64(bytes - k) : ~UINT64_C(0);
			__m512i c = _mm512_maskz_loadu_epi8(live, code + k);
			const uint8_t *q = (const uint8_t *)query + k;
			for (size_t p = 0; p < planes; p++, q += bytes) {
				__m512i both =
					_mm512_and_si512(c, _mm512_maskz_loadu_epi8(live, q));
				sum = _mm512_add_epi64(sum,
						       _mm512_sll_epi64(POPCOUNT(both),
									_mm_cvtsi32_si128((int)p)));
			}
		}
		out[i] = (uint32_t)_mm512_reduce_add_epi64(sum);
	}
}
#undef POPCOUNT
