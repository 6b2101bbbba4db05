/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see quantizer.h.
 *
 * A code of B bits, u in [0, 2^B), stands for u - (2^B - 1) / 2. It is stored in parts of 4, 2 and 1
 * bits, those that B is the sum of, the upper bits first; a part of w bits has ceil(dim * w / 8) = n
 * bytes, and field i of its byte j is of dimension j + i * n: so unpacking runs along the bytes.
 * With 8 bits (and sq8) a byte is u - 128.
 */
#include "core/search/quant/quantizer.h"
#include "core/search/clones.h"
#include "pool/alloc.h"
#include "simd/simd.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STRETCHES = 14, ROUNDS_SQUARE = 2, ROUNDS_OTHER = 4 };

static const float half_root = 0.70710678f;

static const char *const names[QUANTIZER_KINDS] = {"none",    "binary",  "rabitq2", "rabitq3",
						   "rabitq4", "rabitq5", "rabitq6", "rabitq7",
						   "rabitq8", "sq8"};

int quantizer_parse(const char *name, size_t length, enum quantizer_kind *out)
{
	for (unsigned i = 0; i < QUANTIZER_KINDS; i++)
		if (strlen(names[i]) == length && !memcmp(names[i], name, length)) {
			*out = (enum quantizer_kind)i;
			return 0;
		}
	return -EINVAL;
}

const char *quantizer_name(enum quantizer_kind kind)
{
	return names[kind];
}

/* ---- rotation ---- */

static uint32_t power_below(uint32_t n)
{
	return 1u << (31 - __builtin_clz(n));
}

SEARCH_CLONES
static void hadamard(float *x, uint32_t n)
{
	float by = 1 / sqrtf((float)n);

	for (uint32_t h = 1; h < n; h *= 2)
		for (uint32_t i = 0; i < n; i += 2 * h)
			for (uint32_t j = i; j < i + h; j++) {
				float a = x[j], b = x[j + h];
				x[j] = a + b;
				x[j + h] = a - b;
			}
	for (uint32_t i = 0; i < n; i++)
		x[i] *= by;
}

SEARCH_CLONES
static void kac_step(float *x, uint32_t half)
{
	for (uint32_t i = 0; i < half; i++) {
		float a = x[i], b = x[i + half];
		x[i] = (a + b) * half_root;
		x[i + half] = (a - b) * half_root;
	}
}

static void signs_apply(const float *signs, float *x, uint32_t dim)
{
	for (uint32_t d = 0; d < dim; d++)
		x[d] *= signs[d];
}

/* Each step is its own inverse but for the order. */
static void rotate(const struct quantizer *q, float *x)
{
	uint32_t n = power_below(q->dim);

	for (unsigned r = 0; r < q->rounds; r++) {
		signs_apply(q->signs + (size_t)r * q->dim, x, q->dim);
		hadamard(r % 2 ? x + (q->dim - n) : x, n);
		if (n != q->dim)
			kac_step(x, q->dim / 2);
	}
}

static void rotate_back(const struct quantizer *q, float *x)
{
	uint32_t n = power_below(q->dim);

	for (unsigned r = q->rounds; r-- > 0;) {
		if (n != q->dim)
			kac_step(x, q->dim / 2);
		hadamard(r % 2 ? x + (q->dim - n) : x, n);
		signs_apply(q->signs + (size_t)r * q->dim, x, q->dim);
	}
}

/* The same for all of that dimension, so that it need not be stored. */
static void signs_fill(struct quantizer *q)
{
	uint64_t state = q->dim;

	for (size_t i = 0; i < (size_t)q->rounds * q->dim; i++) {
		uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		q->signs[i] = z >> 63 ? 1 : -1;
	}
}

/* ---- training ---- */

int quantizer_new(enum quantizer_kind kind, uint32_t dim, struct quantizer *out)
{
	int trained = kind == QUANTIZER_SQ8;

	*out = (struct quantizer){0};
	if (kind <= QUANTIZER_NONE || kind >= QUANTIZER_KINDS || !dim)
		return -EINVAL;
	struct quantizer q = {.kind = kind, .dim = dim, .bits = trained ? 8 : kind};
	if (trained) {
		q.middles = alloc_zeroed(dim, sizeof(*q.middles));
		q.steps = alloc_zeroed(dim, sizeof(*q.steps));
	} else {
		q.rounds = power_below(dim) == dim ? ROUNDS_SQUARE : ROUNDS_OTHER;
		q.signs = alloc_get((size_t)q.rounds * dim * sizeof(*q.signs));
	}
	if (trained ? !q.middles || !q.steps : !q.signs) {
		quantizer_free(&q);
		return -ENOMEM;
	}
	if (!trained)
		signs_fill(&q);
	*out = q;
	return 0;
}

int quantizer_train(enum quantizer_kind kind, const float *points, size_t stride, uint32_t count,
		    uint32_t dim, struct quantizer *out)
{
	int rc = quantizer_new(kind, dim, out);

	for (uint32_t d = 0; !rc && kind == QUANTIZER_SQ8 && d < dim; d++) {
		float low = points[d], high = points[d];
		for (uint32_t i = 1; i < count; i++) {
			float x = points[i * stride + d];
			low = x < low ? x : low;
			high = x > high ? x : high;
		}
		out->middles[d] = low / 2 + high / 2;
		float step = high / 254 - low / 254;
		out->steps[d] = isfinite(step) ? step : 0;
	}
	return rc;
}

int quantizer_copy(const struct quantizer *q, struct quantizer *out)
{
	*out = (struct quantizer){0};
	int rc = q->kind ? quantizer_new(q->kind, q->dim, out) : 0;

	if (!rc && q->kind == QUANTIZER_SQ8) {
		memcpy(out->middles, q->middles, q->dim * sizeof(*q->middles));
		memcpy(out->steps, q->steps, q->dim * sizeof(*q->steps));
	}
	return rc;
}

void quantizer_free(struct quantizer *q)
{
	alloc_free(q->middles);
	alloc_free(q->steps);
	alloc_free(q->signs);
	*q = (struct quantizer){0};
}

/* ---- packing ---- */

static size_t part_bytes(uint32_t dim, unsigned width)
{
	return ((size_t)dim * width + 7) / 8;
}

size_t quantizer_code_bytes(const struct quantizer *q)
{
	size_t bytes = 0;

	for (unsigned width = 8; width; width /= 2)
		if (q->bits & width)
			bytes += part_bytes(q->dim, width);
	return bytes;
}

/* values: dim bytes below 2^bits. */
static void pack(const struct quantizer *q, const uint8_t *values, uint8_t *code)
{
	unsigned left = q->bits;

	for (unsigned width = 4; width; width /= 2) {
		size_t n = part_bytes(q->dim, width);
		if (!(q->bits & width))
			continue;
		left -= width;
		memset(code, 0, n);
		for (uint32_t d = 0; d < q->dim; d++) {
			unsigned field = values[d] >> left & ((1u << width) - 1);
			code[d % n] = (uint8_t)(code[d % n] | field << d / n * width);
		}
		code += n;
	}
}

/* Adds a part to `out`, which has room for 8 / width x n bytes. */
SEARCH_CLONES
static void part_unpack(const uint8_t *code, size_t n, unsigned width, unsigned shift, int is_first,
			uint8_t *out)
{
	uint8_t mask = (uint8_t)((1u << width) - 1);

	for (unsigned i = 0; i < 8 / width; i++) {
		uint8_t *to = out + i * n;
		unsigned down = i * width;
		if (is_first)
			for (size_t j = 0; j < n; j++)
				to[j] = (uint8_t)((code[j] >> down & mask) << shift);
		else
			for (size_t j = 0; j < n; j++)
				to[j] = (uint8_t)(to[j] + ((code[j] >> down & mask) << shift));
	}
}

/* `out` has room for dim + QUANTIZER_PADDING bytes. */
static void unpack(const struct quantizer *q, const uint8_t *code, uint8_t *out)
{
	unsigned left = q->bits;

	for (unsigned width = 4; width; width /= 2) {
		size_t n = part_bytes(q->dim, width);
		if (!(q->bits & width))
			continue;
		int is_first = left == q->bits;
		left -= width;
		part_unpack(code, n, width, left, is_first, out);
		code += n;
	}
}

/* ---- coding ---- */

/* Rounds t * x to the grid; <x, e>^2 / <e, e>. */
SEARCH_CLONES
static float grid_fit(const float *x, uint32_t dim, float t, float most)
{
	float xe = 0, ee = 0, shift = (most + 1) / 2;

	for (uint32_t d = 0; d < dim; d++) {
		float u = t * x[d] + shift;
		u = u < 0 ? 0 : u;
		u = u > most ? most : u;
		float e = (float)(int)u - most / 2;
		xe += x[d] * e;
		ee += e * e;
	}
	return ee > 0 ? xe * xe / ee : 0;
}

/* The values 0..most of a rotated vector, stretched so that they point where it does. */
static void grid_round(const float *x, uint32_t dim, unsigned bits, uint8_t *values)
{
	float least, greatest, best = -1, stretch = 1, most = (float)((1u << bits) - 1);

	simd_active->minmax_f32(x, dim, &least, &greatest);
	float widest = greatest > -least ? greatest : -least;
	float first = widest > 1e-30f ? (most + 1) / 2 / widest : 1;
	/* At `first` nothing is cut off; what is cut off further on makes all else finer. */
	for (unsigned i = 0; i < (bits > 1 ? STRETCHES : 1); i++) {
		float t = first * (1 + 0.125f * (float)i), fit = grid_fit(x, dim, t, most);
		if (fit > best) {
			best = fit;
			stretch = t;
		}
	}
	for (uint32_t d = 0; d < dim; d++) {
		float u = stretch * x[d] + (most + 1) / 2;
		values[d] = (uint8_t)(u < 0 ? 0 : u > most ? most : u);
	}
}

static void sq8_encode(const struct quantizer *q, const float *vector, uint8_t *code)
{
	for (uint32_t d = 0; d < q->dim; d++) {
		float c = q->steps[d] > 0 ? (vector[d] - q->middles[d]) / q->steps[d] : 0;
		c = c < -127 ? -127 : c > 127 ? 127 : c;
		code[d] = (uint8_t)(int8_t)lrintf(c);
	}
}

void quantizer_encode(const struct quantizer *q, const float *vector, float *scratch, uint8_t *code,
		      float *decoded)
{
	if (q->kind == QUANTIZER_SQ8) {
		sq8_encode(q, vector, code);
	} else {
		uint8_t *values = (uint8_t *)decoded;
		memcpy(scratch, vector, q->dim * sizeof(*scratch));
		rotate(q, scratch);
		grid_round(scratch, q->dim, q->bits, values);
		if (q->bits == 8)
			for (uint32_t d = 0; d < q->dim; d++)
				code[d] = values[d] ^ 0x80;
		else
			pack(q, values, code);
	}
	quantizer_decode(q, code, scratch, decoded);
}

void quantizer_decode(const struct quantizer *q, const uint8_t *code, float *scratch,
		      float *decoded)
{
	if (q->bits == 8) {
		int is_trained = q->kind == QUANTIZER_SQ8;
		for (uint32_t d = 0; d < q->dim; d++)
			decoded[d] = is_trained
					     ? q->middles[d] + q->steps[d] * (float)(int8_t)code[d]
					     : (float)(int8_t)code[d] + 0.5f;
	} else {
		uint8_t *values = (uint8_t *)scratch;
		unpack(q, code, values);
		for (uint32_t d = 0; d < q->dim; d++)
			decoded[d] = (float)values[d] - (float)((1u << q->bits) - 1) / 2;
	}
	if (q->kind != QUANTIZER_SQ8)
		rotate_back(q, decoded);
}

/* ---- estimating ---- */

void quantizer_query_fill(const struct quantizer *q, const float *query, float *scratch,
			  struct quantizer_query *out)
{
	float least, greatest, constant = 0;
	int64_t sum = 0;

	for (uint32_t d = 0; d < q->dim; d++)
		scratch[d] = query[d] * (q->steps ? q->steps[d] : 1);
	if (q->middles)
		constant = simd_pair(SIMD_F32, SIMD_DOT, query, q->middles, q->dim);
	else
		rotate(q, scratch);
	simd_active->minmax_f32(scratch, q->dim, &least, &greatest);
	float widest = greatest > -least ? greatest : -least;
	out->step = widest > 0 ? widest / 127 : 1;
	for (uint32_t d = 0; d < q->dim; d++) {
		out->values[d] = (int8_t)lrintf(scratch[d] / out->step);
		sum += out->values[d];
	}
	/* What a code stands for lies so far beside its integer. */
	float beside = q->middles ? 0 : q->bits == 8 ? 0.5f : -(float)((1u << q->bits) - 1) / 2;
	out->offset = constant + out->step * beside * (float)sum;
}

float quantizer_product(const struct quantizer *q, const struct quantizer_query *query,
			const uint8_t *code)
{
	const void *values = code;

	if (q->bits != 8) {
		unpack(q, code, (uint8_t *)query->unpacked);
		values = query->unpacked;
	}
	return query->step * simd_pair(SIMD_I8, SIMD_DOT, query->values, values, q->dim) +
	       query->offset;
}
