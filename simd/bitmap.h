/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the template of the kernels of bitmaps: loops over words, which the compiler turns into
 *            the vectors, and counts of ones, of the file that includes it.
 */
static size_t bitmap_count(const uint64_t *a, size_t words)
{
	size_t ones = 0;

	for (size_t i = 0; i < words; i++)
		ones += (size_t)__builtin_popcountll(a[i]);
	return ones;
}

#define BATCH_BITMAP(name, expression)                                                             \
	static size_t bitmap_##name(const uint64_t *a, const uint64_t *b, uint64_t *out,           \
				    size_t words)                                                  \
	{                                                                                          \
		size_t ones = 0;                                                                   \
		for (size_t i = 0; i < words; i++) {                                               \
			uint64_t word = expression;                                                \
			out[i] = word;                                                             \
			ones += (size_t)__builtin_popcountll(word);                                \
		}                                                                                  \
		return ones;                                                                       \
	}
BATCH_BITMAP(and, a[i] & b[i])
BATCH_BITMAP(or, a[i] | b[i])
BATCH_BITMAP(andnot, a[i] & ~b[i])
