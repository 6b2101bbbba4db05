/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   every level of simd/ against the scalar one, within the error that simd.h states.
 *            Vectors lie against unreadable pages, so that a read beyond either end is a crash.
 *            MNEME_LONG=1 runs ten times the cases, MNEME_SHORT=1 and a sanitizer a fifth.
 */
#include "simd/crc32cfold.h"
#include "simd/kernels.h"
#include "simd/simd.h"
#include "simd/topk.h"
#include "tests/tier.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DIM_MAX = 4096, FENCE = 4096, AREA = 1 << 20, ROWS_MAX = 13 };

static const char *const type_names[] = {"f32", "f16", "bf16", "i8", "u8", "b1"};
static const char *const metric_names[] = {"l2", "dot", "cos"};
static uint64_t seed = 88172645463325252u;

static uint64_t random_next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1du >> 11;
}

static size_t random_below(size_t n)
{
	return random_next() % n;
}

static float random_unit(void)
{
	return (float)((double)random_next() * 0x1p-53 * 2 - 1);
}

static size_t cases(size_t n)
{
	return tier_count(n / 5, n, 10 * n);
}

/* AREA readable bytes with a fence on each side. */
struct area {
	uint8_t *start;
};

static struct area area_new(void)
{
	uint8_t *map = mmap(NULL, AREA + 2 * FENCE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(map, MAP_FAILED);
	ck_assert_int_eq(mprotect(map + FENCE, AREA, PROT_READ | PROT_WRITE), 0);
	return (struct area){map + FENCE};
}

static void area_free(struct area a)
{
	munmap(a.start - FENCE, AREA + 2 * FENCE);
}

/* `bytes` bytes: at the start, against the end, or anywhere, so at any alignment. */
static uint8_t *area_place(struct area a, size_t bytes)
{
	switch (random_below(4)) {
	case 0:
		return a.start;
	case 1:
		return a.start + AREA - bytes;
	default:
		return a.start + random_below(AREA - bytes);
	}
}

enum flavour { UNIT, HUGE_ONES, TINY, SUBNORMAL, SPARSE, SPECIAL, ANY_BITS, EXTREME, FLAVOURS };

static float random_float(enum flavour f)
{
	static const float special[] = {NAN, INFINITY, -INFINITY, 0, -0.0f, 1, -1, FLT_MAX};

	switch (f) {
	case HUGE_ONES:
		return random_unit() * 1e18f;
	case TINY:
		return random_unit() * 1e-18f;
	case SUBNORMAL:
		return random_unit() * 1e-38f;
	case SPARSE:
		return random_below(8) ? 0 : random_unit();
	case SPECIAL:
		return random_below(64) ? random_unit() : special[random_below(8)];
	case ANY_BITS:
		return float_of_bits((uint32_t)random_next());
	case EXTREME:
		return random_below(2) ? 255 : -128;
	default:
		return random_unit();
	}
}

static void fill_vector(enum simd_type type, size_t dim, enum flavour f, uint8_t *out)
{
	for (size_t i = 0; i < dim; i++) {
		float v = random_float(f);
		uint16_t h = type == SIMD_F16 ? f16_from_f32(f == TINY ? v * 1e12f : v)
					      : bf16_from_f32(v);
		switch (type) {
		case SIMD_F32:
			memcpy(out + 4 * i, &v, 4);
			break;
		case SIMD_F16:
		case SIMD_BF16:
			memcpy(out + 2 * i, &h, 2);
			break;
		case SIMD_B1:
			out[i / 8] = (uint8_t)((i % 8 ? out[i / 8] : 0) |
					       (f == EXTREME || random_next() % 2) << i % 8);
			break;
		default:
			out[i] = (uint8_t)(f == EXTREME  ? (type == SIMD_I8 ? 128 : 255)
					   : f == SPARSE ? 0
							 : random_next());
		}
	}
}

/* What the error of a result is measured by, in double. */
struct sums {
	double ab, aa, bb, l2, magnitude;
	bool special, subnormal, zero_a, zero_b;
};

static double element(enum simd_type type, const uint8_t *v, size_t i, bool *subnormal)
{
	uint32_t word;
	uint16_t h;
	float f;

	if (type == SIMD_F32) {
		memcpy(&word, v + 4 * i, 4);
		f = float_of_bits(word);
	} else {
		memcpy(&h, v + 2 * i, 2);
		f = type == SIMD_F16 ? f32_from_f16(h) : f32_from_bf16(h);
	}
	*subnormal |= fpclassify(f) == FP_SUBNORMAL;
	return f;
}

static struct sums sums_of(enum simd_type type, const uint8_t *a, const uint8_t *b, size_t dim)
{
	struct sums s = {.zero_a = true, .zero_b = true};

	for (size_t i = 0; i < dim; i++) {
		double x = element(type, a, i, &s.subnormal), y = element(type, b, i, &s.subnormal);
		s.special |= !isfinite(x) || !isfinite(y);
		s.zero_a &= x == 0;
		s.zero_b &= y == 0;
		s.ab += x * y;
		s.aa += x * x;
		s.bb += y * y;
		s.l2 += (x - y) * (x - y);
		if (isfinite(x * y))
			s.magnitude += fabs(x * y);
	}
	return s;
}

static bool same_class(float got, float want)
{
	return isnan(want) ? isnan(got) : got == want;
}

static bool cos_close(const struct sums *s, size_t dim, float got, float want, double g)
{
	if (s->special || s->aa > 0.99 * FLT_MAX || s->bb > 0.99 * FLT_MAX)
		return isnan(got) || (!s->special && got >= 0 && got <= 2);
	if (s->zero_a || s->zero_b)
		return got == 1;
	if (fmin(s->aa, s->bb) < (double)dim * 0x1p-100)
		return got >= 0 && got <= 2;
	return fabs((double)got - want) <= 4 * g;
}

/* Whether `got` is within the stated error of what the oracle says, `want`. */
static bool close_enough(enum simd_type type, enum simd_metric metric, const struct sums *s,
			 size_t dim, float got, float want)
{
	double g = ((double)dim / 16 + 16) * 0x1p-24, tiny = (double)dim * 0x1p-126;
	bool flushes = type == SIMD_BF16 && metric != SIMD_L2 && s->subnormal;

	if (type >= SIMD_I8)
		return metric == SIMD_COS ? fabs((double)got - want) <= 4 * g : got == want;
	if (flushes && (s->special || metric == SIMD_COS))
		return true; /* 0 * infinity is NaN, subnormal * infinity is not: not promised */
	if (metric == SIMD_COS)
		return cos_close(s, dim, got, want, g);
	double exact = metric == SIMD_L2 ? s->l2 : s->ab;
	double scale = metric == SIMD_L2 ? s->l2 : s->magnitude;
	if (scale > 0.99 * FLT_MAX && !isnan(exact))
		return !isfinite(got) || fabs(got - exact) <= g * scale;
	if (!isfinite(exact))
		return same_class(got, want);
	if (flushes)
		tiny += (double)dim * 0x1p-126 * FLT_MAX;
	return fabs(got - exact) <= g * scale + tiny;
}

static size_t random_dim(void)
{
	size_t kind = random_below(20);

	return 1 + random_below(kind < 14 ? 160 : kind < 19 ? 1100 : DIM_MAX);
}

static void check_result(const struct simd_kernels *k, enum simd_type type, enum simd_metric metric,
			 const struct sums *s, size_t dim, float got, float want)
{
	if (!close_enough(type, metric, s, dim, got, want))
		ck_abort_msg("%s %s %s dim %zu: got %.9g, the oracle %.9g (exact l2 %g dot %g)",
			     k->name, type_names[type], metric_names[metric], dim, got, want, s->l2,
			     s->ab);
}

START_TEST(test_simd_pair_equals_the_oracle)
{
	struct area x = area_new(), y = area_new();

	for (size_t n = cases(100000); n; n--) {
		enum simd_type type = (enum simd_type)random_below(SIMD_TYPES);
		enum flavour f = (enum flavour)random_below(FLAVOURS);
		size_t dim = random_dim(), bytes = simd_vector_bytes(type, dim);
		uint8_t *a = area_place(x, bytes), *b = area_place(y, bytes);
		fill_vector(type, dim, f, a);
		fill_vector(type, dim, random_below(4) ? f : UNIT, b);
		if (random_below(32) == 0)
			memset(b, 0, bytes);
		struct sums s = type < SIMD_I8 ? sums_of(type, a, b, dim) : (struct sums){0};
		for (int m = 0; m < SIMD_METRICS; m++) {
			float want = simd_kernels_scalar.pair[type][m](a, b, dim);
			for (int level = 0; level < SIMD_LEVELS; level++) {
				const struct simd_kernels *k = simd_level_get(level);
				if (k)
					check_result(k, type, m, &s, dim,
						     k->pair[type][m](a, b, dim), want);
			}
		}
	}
	area_free(x);
	area_free(y);
}
END_TEST

struct rows_case {
	enum simd_type type;
	size_t dim, stride, count, query_count;
	const uint8_t *queries, *rows;
};

static void check_many(const struct simd_kernels *k, const struct rows_case *c, const uint32_t *ids)
{
	float out[ROWS_MAX + 1];

	for (int m = 0; m < SIMD_METRICS; m++) {
		out[c->count] = 12345;
		k->many[c->type][m](c->queries, c->rows, c->stride, ids, c->count, c->dim, out);
		ck_assert(out[c->count] == 12345);
		for (size_t i = 0; i < c->count; i++) {
			const uint8_t *row = c->rows + (ids ? ids[i] : i) * c->stride;
			struct sums s = c->type < SIMD_I8
						? sums_of(c->type, c->queries, row, c->dim)
						: (struct sums){0};
			check_result(k, c->type, m, &s, c->dim, out[i],
				     simd_kernels_scalar.pair[c->type][m](c->queries, row, c->dim));
		}
	}
}

static void check_block(const struct simd_kernels *k, const struct rows_case *c)
{
	float out[ROWS_MAX * (ROWS_MAX + 2)];
	size_t wide = c->count + 2;

	for (int m = 0; m < SIMD_METRICS; m++) {
		for (size_t i = 0; i < ROWS_MAX * wide; i++)
			out[i] = 12345;
		k->block[c->type][m](c->queries, c->stride, c->query_count, c->rows, c->stride,
				     c->count, c->dim, out, wide);
		for (size_t i = 0; i < c->query_count; i++) {
			const uint8_t *q = c->queries + i * c->stride;
			for (size_t j = 0; j < c->count; j++) {
				const uint8_t *r = c->rows + j * c->stride;
				struct sums s = c->type < SIMD_I8 ? sums_of(c->type, q, r, c->dim)
								  : (struct sums){0};
				check_result(k, c->type, m, &s, c->dim, out[i * wide + j],
					     simd_kernels_scalar.pair[c->type][m](q, r, c->dim));
			}
			ck_assert(out[i * wide + c->count] == 12345);
		}
	}
}

START_TEST(test_simd_many_and_block_equal_the_oracle)
{
	struct area x = area_new(), y = area_new();
	uint32_t ids[ROWS_MAX];

	for (size_t n = cases(1500); n; n--) {
		enum flavour f = random_below(3) ? UNIT : SPECIAL;
		struct rows_case c = {.type = (enum simd_type)random_below(SIMD_TYPES),
				      .dim = 1 + random_below(random_below(8) ? 200 : 2000),
				      .count = random_below(ROWS_MAX + 1),
				      .query_count = random_below(ROWS_MAX + 1)};
		size_t bytes = simd_vector_bytes(c.type, c.dim);
		c.stride = bytes + random_below(2) * random_below(70);
		size_t all = (ROWS_MAX - 1) * c.stride + bytes;
		uint8_t *q = area_place(x, all), *r = area_place(y, all);
		for (size_t i = 0; i < ROWS_MAX; i++) {
			fill_vector(c.type, c.dim, f, q + i * c.stride);
			fill_vector(c.type, c.dim, f, r + i * c.stride);
			ids[i] = (uint32_t)random_below(ROWS_MAX);
		}
		c.queries = q;
		c.rows = r;
		for (int level = 0; level < SIMD_LEVELS; level++) {
			const struct simd_kernels *k = simd_level_get(level);
			if (!k)
				continue;
			check_many(k, &c, NULL);
			check_many(k, &c, ids);
			check_block(k, &c);
		}
	}
	area_free(x);
	area_free(y);
}
END_TEST

/* More rows than the caches hold take other paths: short rows four at a time, long ones singly. */
START_TEST(test_simd_scans_beyond_the_caches_equal_the_oracle)
{
	enum { SCAN = 3 << 19 };
	uint8_t *rows = malloc(SCAN), query[2048];
	float *out = malloc(SCAN / 32 * sizeof(float));

	for (int type = 0; type < SIMD_TYPES; type++)
		for (size_t dim = 256 + 13; dim <= 512; dim += 211) {
			size_t bytes = simd_vector_bytes(type, dim), count = SCAN / bytes;
			fill_vector(type, dim, UNIT, query);
			for (size_t i = 0; i < count; i++)
				fill_vector(type, dim, UNIT, rows + i * bytes);
			for (int level = 1; level < SIMD_LEVELS; level++)
				for (int m = 0; simd_level_get(level) && m < SIMD_METRICS; m++) {
					const struct simd_kernels *k = simd_level_get(level);
					k->many[type][m](query, rows, bytes, NULL, count, dim, out);
					for (size_t i = 0; i < count; i += 7) {
						uint8_t *row = rows + i * bytes;
						struct sums s = {0};
						if (type < SIMD_I8)
							s = sums_of(type, query, row, dim);
						check_result(k, type, m, &s, dim, out[i],
							     simd_kernels_scalar.pair[type][m](
								     query, row, dim));
					}
				}
		}
	free(rows);
	free(out);
}
END_TEST

START_TEST(test_simd_integers_hold_at_the_greatest_dimension)
{
	uint8_t *a = malloc(SIMD_DIM_MAX), *b = malloc(SIMD_DIM_MAX);

	for (int level = 0; level < SIMD_LEVELS; level++) {
		const struct simd_kernels *k = simd_level_get(level);
		if (!k)
			continue;
		memset(a, 255, SIMD_DIM_MAX);
		memset(b, 0, SIMD_DIM_MAX);
		ck_assert_float_eq(k->pair[SIMD_U8][SIMD_L2](a, b, SIMD_DIM_MAX), 4261478400.0f);
		ck_assert_float_eq(k->pair[SIMD_U8][SIMD_DOT](a, a, SIMD_DIM_MAX), 4261478400.0f);
		memset(a, 128, SIMD_DIM_MAX);
		memset(b, 127, SIMD_DIM_MAX);
		ck_assert_float_eq(k->pair[SIMD_I8][SIMD_L2](a, b, SIMD_DIM_MAX), 4261478400.0f);
		ck_assert_float_eq(k->pair[SIMD_I8][SIMD_DOT](a, a, SIMD_DIM_MAX), 1073741824.0f);
		ck_assert_float_eq(k->pair[SIMD_I8][SIMD_DOT](a, b, SIMD_DIM_MAX), -1065353216.0f);
		ck_assert(fabsf(k->pair[SIMD_I8][SIMD_COS](a, b, SIMD_DIM_MAX) - 2) < 1e-6f);
	}
	free(a);
	free(b);
}
END_TEST

START_TEST(test_simd_cosine_of_zero_is_one_and_of_itself_zero)
{
	float zero[40] = {0}, one[40];

	for (int i = 0; i < 40; i++)
		one[i] = (float)i - 20;
	for (int level = 0; level < SIMD_LEVELS; level++) {
		const struct simd_kernels *k = simd_level_get(level);
		if (!k)
			continue;
		simd_pair_fn *cosine = k->pair[SIMD_F32][SIMD_COS];
		ck_assert(cosine(zero, zero, 40) == 1);
		ck_assert(cosine(zero, one, 40) == 1);
		ck_assert(fabsf(cosine(one, one, 40)) < 1e-6f);
		ck_assert(cosine(one, one, 0) == 1);
		ck_assert(k->pair[SIMD_F32][SIMD_DOT](one, one, 0) == 0);
		one[7] = INFINITY;
		ck_assert(isnan(cosine(one, zero, 40)));
		one[7] = -13;
	}
}
END_TEST

START_TEST(test_simd_f16_and_bf16_round_as_ieee_says)
{
	for (uint32_t h = 0; h < 65536; h++) {
		float f = f32_from_f16((uint16_t)h);
		if (isnan(f)) {
			ck_assert((h & 0x7fff) > 0x7c00);
			continue;
		}
		ck_assert_uint_eq(f16_from_f32(f), h);
		ck_assert_uint_eq(bf16_from_f32(f32_from_bf16((uint16_t)h)) & 0xff80, h & 0xff80);
	}
	for (size_t n = cases(500000); n; n--) {
		float f = float_of_bits((uint32_t)random_next());
		if (random_below(2))
			f = random_unit() * (random_below(2) ? 1e-5f : 66000);
		_Float16 other = (_Float16)f; /* the compiler's own conversion */
		uint16_t want;
		memcpy(&want, &other, 2);
		if (!isnan(f))
			ck_assert_msg(f16_from_f32(f) == want, "%a: %x, not %x", f, f16_from_f32(f),
				      want);
	}
	ck_assert_uint_eq(bf16_from_f32(1.00390625f), 0x3f80); /* ties go to even */
	ck_assert_uint_eq(bf16_from_f32(1.01171875f), 0x3f82);
	ck_assert_uint_eq(bf16_from_f32(FLT_MAX), 0x7f80);
}
END_TEST

enum { BATCH_MAX = 700 };

START_TEST(test_simd_conversions_equal_the_oracle)
{
	static float in[BATCH_MAX], back[2][BATCH_MAX];
	static uint16_t half[2][BATCH_MAX], from[BATCH_MAX];
	const struct simd_kernels *o = &simd_kernels_scalar;

	for (size_t n = cases(3000); n; n--) {
		size_t count = random_below(BATCH_MAX);
		for (size_t i = 0; i < count; i++) {
			in[i] = random_float((enum flavour)random_below(FLAVOURS));
			from[i] = (uint16_t)random_next();
		}
		for (int level = 1; level < SIMD_LEVELS; level++) {
			const struct simd_kernels *k = simd_level_get(level);
			if (!k)
				continue;
			o->f32_to_f16(in, half[0], count);
			k->f32_to_f16(in, half[1], count);
			ck_assert_mem_eq(half[0], half[1], 2 * count);
			o->f32_to_bf16(in, half[0], count);
			k->f32_to_bf16(in, half[1], count);
			ck_assert_mem_eq(half[0], half[1], 2 * count);
			o->f16_to_f32(from, back[0], count);
			k->f16_to_f32(from, back[1], count);
			ck_assert_mem_eq(back[0], back[1], 4 * count);
			o->bf16_to_f32(from, back[0], count);
			k->bf16_to_f32(from, back[1], count);
			ck_assert_mem_eq(back[0], back[1], 4 * count);
		}
	}
}
END_TEST

static void check_batch(const struct simd_kernels *k, const float *f, const int64_t *l, size_t n)
{
	const struct simd_kernels *o = &simd_kernels_scalar;
	uint64_t bits[2][BATCH_MAX / 64 + 1];
	float fl[4];
	int64_t il[4];
	double magnitude = 0;

	for (int op = 0; op < SIMD_COMPARES; op++) {
		float bound = n && random_below(2) ? f[random_below(n)] : 0;
		int64_t whole = n && random_below(2) ? l[random_below(n)] : 0;
		ck_assert_uint_eq(o->filter_f32(f, n, op, bound, bits[0]),
				  k->filter_f32(f, n, op, bound, bits[1]));
		ck_assert_mem_eq(bits[0], bits[1], (n + 63) / 64 * 8);
		ck_assert_uint_eq(o->filter_i64(l, n, op, whole, bits[0]),
				  k->filter_i64(l, n, op, whole, bits[1]));
		ck_assert_mem_eq(bits[0], bits[1], (n + 63) / 64 * 8);
	}
	o->minmax_f32(f, n, &fl[0], &fl[1]);
	k->minmax_f32(f, n, &fl[2], &fl[3]);
	ck_assert(fl[0] == fl[2] && fl[1] == fl[3]);
	o->minmax_i64(l, n, &il[0], &il[1]);
	k->minmax_i64(l, n, &il[2], &il[3]);
	ck_assert(il[0] == il[2] && il[1] == il[3]);
	ck_assert_int_eq(o->sum_i64(l, n), k->sum_i64(l, n));
	for (size_t i = 0; i < n; i++)
		magnitude += fabs(f[i]);
	double got = k->sum_f32(f, n), want = o->sum_f32(f, n);
	ck_assert(isfinite(want) ? fabs(got - want) <= (double)n * 0x1p-52 * magnitude
		  : isnan(want)  ? isnan(got)
				 : got == want);
}

START_TEST(test_simd_filters_and_sums_equal_the_oracle)
{
	static float f[BATCH_MAX];
	static int64_t l[BATCH_MAX];

	for (size_t n = cases(3000); n; n--) {
		size_t at = random_below(4), count = random_below(BATCH_MAX - 4);
		enum flavour flavour = random_below(3) ? UNIT : SPECIAL;
		for (size_t i = 0; i < BATCH_MAX; i++) {
			f[i] = random_float(flavour);
			l[i] = (int64_t)(random_next() << random_below(12)) >> random_below(64);
			if (random_below(2))
				l[i] = -l[i];
		}
		for (int level = 1; level < SIMD_LEVELS; level++)
			if (simd_level_get(level))
				check_batch(simd_level_get(level), f + at, l + at, count);
	}
}
END_TEST

static void check_bitmaps(const struct simd_kernels *k, const uint64_t *a, const uint64_t *b,
			  size_t words)
{
	const struct simd_kernels *o = &simd_kernels_scalar;
	uint64_t want[40], got[40];

	ck_assert_uint_eq(k->bitmap_count(a, words), o->bitmap_count(a, words));
#define SAME(operation)                                                                            \
	ck_assert_uint_eq(o->operation(a, b, want, words), k->operation(a, b, got, words));        \
	ck_assert_mem_eq(want, got, 8 * words);                                                    \
	memcpy(got, a, 8 * words);                                                                 \
	k->operation(got, b, got, words);                                                          \
	ck_assert_mem_eq(want, got, 8 * words)
	SAME(bitmap_and);
	SAME(bitmap_or);
	SAME(bitmap_andnot);
#undef SAME
}

START_TEST(test_simd_bitmaps_equal_the_oracle)
{
	uint64_t a[40], b[40];

	for (size_t n = cases(3000); n; n--) {
		size_t words = random_below(40);
		for (size_t i = 0; i < words; i++) {
			a[i] = random_next() << 20 ^ random_next();
			b[i] = random_next() << 20 ^ random_next();
		}
		for (int level = 1; level < SIMD_LEVELS; level++)
			if (simd_level_get(level))
				check_bitmaps(simd_level_get(level), a, b, words);
	}
}
END_TEST

START_TEST(test_simd_scans_of_codes_equal_the_oracle)
{
	struct area x = area_new(), y = area_new();
	const struct simd_kernels *o = &simd_kernels_scalar;
	uint16_t sums[2][32 * 5];
	uint32_t dots[2][ROWS_MAX], ids[ROWS_MAX];

	for (size_t n = cases(2000); n; n--) {
		size_t m = 1 + random_below(random_below(4) ? 40 : 256), blocks = random_below(6);
		size_t planes = 1 + random_below(8), bytes = 1 + random_below(200);
		size_t stride = bytes + random_below(20), count = random_below(ROWS_MAX + 1);
		uint8_t *codes = area_place(x, blocks * 16 * m), *lut = area_place(y, 16 * m);
		for (size_t i = 0; i < blocks * 16 * m; i++)
			codes[i] = (uint8_t)random_next();
		for (size_t i = 0; i < 16 * m; i++)
			lut[i] = n % 8 ? (uint8_t)random_next() : 255;
		uint8_t *code = area_place(x, (ROWS_MAX - 1) * stride + bytes);
		uint8_t *query = area_place(y, planes * bytes);
		for (int level = 1; level < SIMD_LEVELS; level++) {
			const struct simd_kernels *k = simd_level_get(level);
			if (!k)
				continue;
			o->pq4_scan(codes, blocks, m, lut, sums[0]);
			k->pq4_scan(codes, blocks, m, lut, sums[1]);
			ck_assert_mem_eq(sums[0], sums[1], blocks * 64);
			for (size_t i = 0; i < ROWS_MAX; i++)
				ids[i] = (uint32_t)random_below(ROWS_MAX);
			const uint32_t *by = random_below(2) ? ids : NULL;
			o->b1_planes(query, planes, code, stride, by, count, bytes, dots[0]);
			k->b1_planes(query, planes, code, stride, by, count, bytes, dots[1]);
			ck_assert_mem_eq(dots[0], dots[1], 4 * count);
		}
	}
	area_free(x);
	area_free(y);
}
END_TEST

static bool topk_greatest;

static int compare_entries(const void *a, const void *b)
{
	const struct topk_entry *x = a, *y = b;

	if (x->value != y->value)
		return (x->value < y->value) != topk_greatest ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

START_TEST(test_topk_keeps_what_sorting_would)
{
	static float values[5000];
	static struct topk_entry all[5000], kept[300];
	static uint32_t ids[5000];

	for (size_t n = cases(300); n; n--) {
		size_t count = random_below(5000), k = 1 + random_below(300), real = 0;
		struct topk t;
		topk_greatest = n % 2;
		for (size_t i = 0; i < count; i++) {
			values[i] = n % 3 ? random_unit() : (float)random_below(20);
			if (random_below(50) == 0)
				values[i] = NAN;
			ids[i] = (uint32_t)(n % 5 ? 7 + i : count - i);
			if (!isnan(values[i]))
				all[real++] = (struct topk_entry){values[i], ids[i]};
		}
		qsort(all, real, sizeof(all[0]), compare_entries);
		topk_init(&t, kept, k, topk_greatest);
		size_t half = count ? random_below(count) : 0;
		topk_push_many(&t, values, n % 5 ? NULL : ids, 7, half);
		topk_push_many(&t, values + half, n % 5 ? NULL : ids + half, 7 + (uint32_t)half,
			       count - half);
		size_t got = topk_finish(&t);
		ck_assert_uint_eq(got, real < k ? real : k);
		ck_assert_mem_eq(kept, all, got * sizeof(all[0]));
	}
}
END_TEST

START_TEST(test_crc32c_forms_equal_the_table)
{
	static uint8_t data[40000];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)random_next();
	ck_assert_uint_eq(crc32c_scalar(0, "123456789", 9), 0xe3069283);
	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
	for (int form = CRC32C_TABLE; form <= (int)crc32c_best(); form++) {
		crc32c_fn *crc = crc32c_get(form);
		ck_assert_ptr_nonnull(crc);
		for (size_t len = 0; len <= 300; len++)
			for (size_t at = 0; at < 16; at++)
				ck_assert_uint_eq(crc((uint32_t)len, data + at, len),
						  crc32c_scalar((uint32_t)len, data + at, len));
		for (size_t n = cases(500); n; n--) {
			size_t at = random_below(100), len = random_below(sizeof(data) - 100);
			size_t cut = len ? random_below(len) : 0;
			uint32_t want = crc32c_scalar(0, data + at, len);
			ck_assert_uint_eq(crc(0, data + at, len), want);
			ck_assert_uint_eq(crc(crc(0, data + at, cut), data + at + cut, len - cut),
					  want);
		}
	}
}
END_TEST

/* Runs this program again, which prints the level in use, under MNEME_SIMD=asked. An emulator that
 * runs it is named by MNEME_TEST_RUNNER. */
static void level_under(const char *asked, char *out, size_t size)
{
	char command[256], self[128] = {0};

	ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	const char *runner = getenv("MNEME_TEST_RUNNER");
	snprintf(command, sizeof(command),
		 "MNEME_SIMD=%s %s '%s' level 2>&1 | grep -v \"TCG doesn't support\"", asked,
		 runner ? runner : "", self);
	FILE *f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	out[fread(out, 1, size - 1, f)] = 0;
	pclose(f);
}

START_TEST(test_dispatch_obeys_the_environment)
{
	char out[512];
	const char *best = simd_active->name;

	level_under("scalar", out, sizeof(out));
	ck_assert_str_eq(out, "scalar\n");
	level_under("sideways", out, sizeof(out));
	ck_assert_ptr_nonnull(strstr(out, "MNEME_SIMD=sideways is not one of"));
	ck_assert_ptr_nonnull(strstr(out, best));
	for (int level = 0; level < SIMD_LEVELS; level++) {
		static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};
		level_under(names[level], out, sizeof(out));
		if (simd_level_get(level))
			ck_assert_int_eq(strncmp(out, names[level], strlen(names[level])), 0);
		else
			ck_assert_ptr_nonnull(strstr(out, "this machine lacks it"));
	}
}
END_TEST

START_TEST(test_dispatch_finds_what_the_compiler_finds)
{
#if defined(__x86_64__)
	bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	bool avx512 = avx2 && __builtin_cpu_supports("avx512bw") &&
		      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
	ck_assert_int_eq(simd_level_get(SIMD_AVX2) != NULL, avx2);
	ck_assert_int_eq(simd_level_get(SIMD_AVX512) != NULL, avx512);
	if (!avx512)
		return;
	const char *features = simd_level_get(SIMD_AVX512)->features;
	ck_assert_int_eq(strstr(features, "vnni") != NULL, !!__builtin_cpu_supports("avx512vnni"));
	ck_assert_int_eq(strstr(features, "vpopcntdq") != NULL,
			 !!__builtin_cpu_supports("avx512vpopcntdq"));
	ck_assert_int_eq(crc32c_best() == CRC32C_FOLD, !!__builtin_cpu_supports("vpclmulqdq"));
#elif defined(__aarch64__)
	ck_assert_ptr_nonnull(simd_level_get(SIMD_NEON));
#endif
	ck_assert_ptr_nonnull(simd_level_get(SIMD_SCALAR));
}
END_TEST

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "level"))
		return puts(simd_active->name) < 0;

	Suite *s = suite_create("simd");
	TCase *tc = tcase_create("simd");
	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, test_simd_pair_equals_the_oracle);
	tcase_add_test(tc, test_simd_many_and_block_equal_the_oracle);
	tcase_add_test(tc, test_simd_scans_beyond_the_caches_equal_the_oracle);
	tcase_add_test(tc, test_simd_integers_hold_at_the_greatest_dimension);
	tcase_add_test(tc, test_simd_conversions_equal_the_oracle);
	tcase_add_test(tc, test_simd_filters_and_sums_equal_the_oracle);
	tcase_add_test(tc, test_simd_bitmaps_equal_the_oracle);
	tcase_add_test(tc, test_simd_scans_of_codes_equal_the_oracle);
	suite_add_tcase(s, tc);
	/* Short enough to be run under an emulator too (tests/cross). */
	tc = tcase_create("quick");
	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, test_simd_cosine_of_zero_is_one_and_of_itself_zero);
	tcase_add_test(tc, test_simd_f16_and_bf16_round_as_ieee_says);
	tcase_add_test(tc, test_topk_keeps_what_sorting_would);
	tcase_add_test(tc, test_crc32c_forms_equal_the_table);
	tcase_add_test(tc, test_dispatch_obeys_the_environment);
	tcase_add_test(tc, test_dispatch_finds_what_the_compiler_finds);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
