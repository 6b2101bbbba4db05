/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of the quantizers between codes and vectors: packing, errors, their bounds. */
#include "core/search/quant/quantizer.h"
#include "pool/alloc.h"
#include "simd/simd.h"
#include "tests/unit/unit.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <string.h>

enum { DIM_MAX = 200, ROOM = DIM_MAX + QUANTIZER_PADDING };

static uint64_t seed = 4711;
static float vector[DIM_MAX], query[DIM_MAX], decoded[DIM_MAX], scratch[ROOM];
static uint8_t code[DIM_MAX];
static _Alignas(64) int8_t values[ROOM], unpacked[ROOM];

static float random_normal(void)
{
	float sum = -6;

	for (int i = 0; i < 12; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		sum += (float)(seed >> 40) / 0x1000000;
	}
	return sum;
}

static void random_fill(float *v, uint32_t dim)
{
	for (uint32_t d = 0; d < dim; d++)
		v[d] = random_normal() * (d % 5 ? 1 : 4);
}

static double product(const float *a, const float *b, uint32_t dim)
{
	double sum = 0;

	for (uint32_t d = 0; d < dim; d++)
		sum += (double)a[d] * b[d];
	return sum;
}

static struct quantizer made(enum quantizer_kind kind, uint32_t dim)
{
	static float points[64 * DIM_MAX];
	struct quantizer q;

	random_fill(points, 64 * dim);
	ck_assert_int_eq(quantizer_train(kind, points, dim, 64, dim, &q), 0);
	return q;
}

START_TEST(test_quantizer_names_are_those_that_it_reads)
{
	enum quantizer_kind kind;

	for (unsigned i = 0; i < QUANTIZER_KINDS; i++) {
		const char *name = quantizer_name((enum quantizer_kind)i);
		ck_assert_int_eq(quantizer_parse(name, strlen(name), &kind), 0);
		ck_assert_uint_eq(kind, i);
	}
	ck_assert_int_eq(quantizer_parse("sq", 2, &kind), -EINVAL);
	ck_assert_int_eq(quantizer_parse("sq80", 4, &kind), -EINVAL);
	ck_assert_int_eq(quantizer_parse("", 0, &kind), -EINVAL);
}
END_TEST

/* Scaled to the vector's length along it, a code is off by no more than its bits allow; and the integer
 * product is that with the decoded code, but for the rounding of the query. */
START_TEST(test_quantizer_codes_stand_for_what_was_coded)
{
	static const uint32_t dims[] = {1, 2, 3, 7, 64, 65, 100, 127, 200};
	static const double off[] = {0, .68, .38, .22, .12, .065, .034, .018, .01, .1};

	for (unsigned kind = 1; kind < QUANTIZER_KINDS; kind++)
		for (unsigned i = 0; i < sizeof(dims) / sizeof(*dims); i++) {
			uint32_t dim = dims[i];
			struct quantizer q = made((enum quantizer_kind)kind, dim);
			struct quantizer_query prepared = {.values = values, .unpacked = unpacked};
			ck_assert_uint_le(quantizer_code_bytes(&q), DIM_MAX);
			random_fill(vector, dim);
			random_fill(query, dim);
			quantizer_encode(&q, vector, scratch, code, decoded);
			double xx = product(vector, vector, dim),
			       xe = product(vector, decoded, dim),
			       ee = product(decoded, decoded, dim);
			/* sin of the angle between vector and code, the mean of few dimensions wide */
			double away = sqrt(fmax(0, 1 - xe * xe / (xx * ee)));
			ck_assert_double_gt(xe, 0);
			ck_assert_double_lt(away, off[kind] * (dim < 64 ? 1.4 : 1.1) + 1e-3);
			quantizer_query_fill(&q, query, scratch, &prepared);
			double bound = 0;
			for (uint32_t d = 0; d < dim; d++)
				bound += prepared.step *
					 (kind == QUANTIZER_SQ8 ? 127 : 0.5 * ((1u << q.bits) - 1));
			ck_assert_double_eq_tol(quantizer_product(&q, &prepared, code),
						product(query, decoded, dim),
						bound / 2 + 1e-4 * sqrt(ee * dim));
			quantizer_free(&q);
		}
}
END_TEST

/* Estimates of the product with queries near the vector: their mean is the truth, and their deviation
 * what the angle between vector and code says. */
START_TEST(test_quantizer_estimates_are_unbiased_with_the_stated_deviation)
{
	enum { DIM = 96, TRIES = 3000 };

	for (unsigned kind = 1; kind < QUANTIZER_KINDS; kind++) {
		struct quantizer q = made((enum quantizer_kind)kind, DIM);
		struct quantizer_query prepared = {.values = values, .unpacked = unpacked};
		double sum = 0, squares = 0;
		for (unsigned i = 0; i < TRIES; i++) {
			random_fill(vector, DIM);
			for (unsigned d = 0; d < DIM; d++)
				query[d] = vector[d] + 2 * random_normal();
			quantizer_encode(&q, vector, scratch, code, decoded);
			quantizer_query_fill(&q, query, scratch, &prepared);
			double xx = product(vector, vector, DIM),
			       xe = product(vector, decoded, DIM),
			       ee = product(decoded, decoded, DIM);
			double scale = xx / xe;
			double truth = product(query, vector, DIM);
			/* of the query only what is across the vector matters */
			double across = product(query, query, DIM) - truth * truth / xx;
			double stated = sqrt(across * (xx * ee / (xe * xe) - 1) * xx / (DIM - 1));
			double error =
				(scale * quantizer_product(&q, &prepared, code) - truth) / stated;
			sum += error / TRIES;
			squares += error * error / TRIES;
		}
		/* the mean of so many has a deviation of 0.018 */
		ck_assert_msg(fabs(sum) < 0.08, "%s: mean %f", quantizer_name(q.kind), sum);
		/* the query's rounding adds to that of 7 and 8 bits; sq8 is not rotated */
		double most = q.bits < 6 ? 1.1 : q.bits < 7 ? 1.3 : 4;
		ck_assert_msg(sqrt(squares) < most && sqrt(squares) > 0.8, "%s: deviation %f",
			      quantizer_name(q.kind), sqrt(squares));
		quantizer_free(&q);
	}
}
END_TEST

START_TEST(test_quantizer_takes_what_has_no_direction)
{
	for (unsigned kind = 1; kind < QUANTIZER_KINDS; kind++) {
		struct quantizer q = made((enum quantizer_kind)kind, 33), copy;
		struct quantizer_query prepared = {.values = values, .unpacked = unpacked};
		memset(vector, 0, sizeof(vector));
		quantizer_encode(&q, vector, scratch, code, decoded);
		quantizer_query_fill(&q, vector, scratch, &prepared);
		ck_assert(isfinite(quantizer_product(&q, &prepared, code)));
		vector[5] = 3e38f;
		vector[6] = -1e-40f;
		quantizer_encode(&q, vector, scratch, code, decoded);
		/* any bytes are a code, and a copy reads them alike */
		memset(code, 0xa5, sizeof(code));
		random_fill(query, 33);
		quantizer_query_fill(&q, query, scratch, &prepared);
		float once = quantizer_product(&q, &prepared, code);
		ck_assert(isfinite(once));
		ck_assert_int_eq(quantizer_copy(&q, &copy), 0);
		quantizer_query_fill(&copy, query, scratch, &prepared);
		ck_assert(once == quantizer_product(&copy, &prepared, code));
		quantizer_free(&copy);
		alloc_fail_arm(1, 0);
		ck_assert_int_eq(quantizer_copy(&q, &copy), -ENOMEM);
		alloc_fail_arm(0, 0);
		quantizer_free(&q);
	}
}
END_TEST

UNIT_MAIN("quantizer", test_quantizer_names_are_those_that_it_reads,
	  test_quantizer_codes_stand_for_what_was_coded,
	  test_quantizer_estimates_are_unbiased_with_the_stated_deviation,
	  test_quantizer_takes_what_has_no_direction)
