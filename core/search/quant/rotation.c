/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see rotation.h. Where the dimension is no power of two, the transform takes the first
 *            elements in even rounds and the last in odd ones, and the two halves are mixed between.
 */
#include "core/search/quant/rotation.h"
#include "core/search/clones.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <math.h>
#include <string.h>

int rotation_init(struct rotation *r, uint32_t dim)
{
	uint64_t seed = 0x2545f4914f6cdd1dull + dim;

	CHECK(dim && dim % 16 == 0);
	*r = (struct rotation){.dim = dim, .power = 16};
	while (r->power * 2 <= dim)
		r->power *= 2;
	r->signs = alloc_aligned(64, (size_t)ROTATION_ROUNDS * dim * sizeof(*r->signs));
	if (!r->signs)
		return -ENOMEM;
	float scale = 1 / sqrtf((float)r->power);
	for (uint32_t i = 0; i < ROTATION_ROUNDS * dim; i++) {
		uint32_t d = i % dim, odd = i / dim % 2;
		int inside = odd ? d >= dim - r->power : d < r->power;
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		r->signs[i] = (seed >> 40 & 1 ? 1.0f : -1.0f) * (inside ? scale : 1);
	}
	return 0;
}

void rotation_free(struct rotation *r)
{
	alloc_free(r->signs);
	*r = (struct rotation){0};
}

SEARCH_CLONES
static void signs_apply(float *x, const float *signs, uint32_t dim)
{
	for (uint32_t d = 0; d < dim; d++)
		x[d] *= signs[d];
}

/* One stage: sums and differences of the halves, interleaved. As many as the power has bits are the
 * transform, each with the same accesses. */
SEARCH_CLONES
static void stage(const float *restrict from, float *restrict to, uint32_t half)
{
	for (uint32_t i = 0; i < half; i++) {
		to[2 * i] = from[i] + from[i + half];
		to[2 * i + 1] = from[i] - from[i + half];
	}
}

static void hadamard(float *x, float *spare, uint32_t power)
{
	float *from = x, *to = spare;

	for (uint32_t left = power; left > 1; left /= 2) {
		stage(from, to, power / 2);
		float *t = from;
		from = to;
		to = t;
	}
	if (from != x)
		memcpy(x, from, power * sizeof(*x));
}

SEARCH_CLONES
static void halves_mix(float *x, uint32_t half)
{
	for (uint32_t i = 0; i < half; i++) {
		float a = x[i], b = x[i + half];
		x[i] = (a + b) * 0.70710678f;
		x[i + half] = (a - b) * 0.70710678f;
	}
}

void rotation_apply(const struct rotation *r, float *vector)
{
	for (unsigned round = 0; round < ROTATION_ROUNDS; round++) {
		float *from = vector + (round % 2 ? r->dim - r->power : 0);
		signs_apply(vector, r->signs + (size_t)round * r->dim, r->dim);
		hadamard(from, vector + r->dim, r->power);
		if (r->power != r->dim)
			halves_mix(vector, r->dim / 2);
	}
}
