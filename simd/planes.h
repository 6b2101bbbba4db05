/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the template of b1_planes() for 512 bits, included after POPCOUNT(v), the ones of each
 *            64-bit lane, and tile.h.
 */
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
		out[i] = (uint32_t)reduce_epi64(sum);
	}
}
#undef POPCOUNT
