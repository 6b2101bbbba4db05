/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the kernels for Advanced SIMD of the base ARMv8-A: the primitives of 128 bits, from
 *            which tile.h and batch.h make the rest.
 * Invariants: the end of a vector is read by a load that ends with it and overlaps what is already
 *            summed; the overlap is masked to zero. A vector shorter than one load is copied.
 */
#include "simd/kernels.h"

#include <arm_neon.h>

enum { BLOCK_Q = 4, BLOCK_R = 4, BLOCK_COS_Q = 2, BLOCK_COS_R = 4, COS_UNROLL = 1 };

/* 16 zeros, then ones: a load from `left` keeps the last `left` bytes. */
static const uint8_t keep_last[32] = {[16] = 255, 255, 255, 255, 255, 255, 255, 255,
				      255,        255, 255, 255, 255, 255, 255, 255};

/* The last `left` < 16 bytes of a vector of `total`, which end at p + left, in the upper lanes;
 * zeros below. A short vector comes in the lower lanes. */
static inline uint8x16_t tail16(const uint8_t *p, size_t left, size_t total)
{
	if (total >= 16)
		return vandq_u8(vld1q_u8(p + left - 16), vld1q_u8(keep_last + left));
	uint8_t copy[16] = {0};
	for (size_t i = 0; i < left; i++)
		copy[i] = p[i];
	return vld1q_u8(copy);
}

static inline uint8x8_t tail8(const uint8_t *p, size_t left, size_t total)
{
	if (total >= 8)
		return vand_u8(vld1_u8(p + left - 8), vld1_u8(keep_last + 8 + left));
	uint8_t copy[8] = {0};
	for (size_t i = 0; i < left; i++)
		copy[i] = p[i];
	return vld1_u8(copy);
}

static inline float sum_ps(float32x4_t v)
{
	return vaddvq_f32(v);
}

static inline void sum_ps_four(float *out, const float32x4_t *v)
{
	vst1q_f32(out, vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3])));
}

static inline float sum_u32(uint32x4_t v)
{
	return (float)vaddvq_u32(v);
}

static inline float sum_i32(uint32x4_t v)
{
	return (float)(int32_t)vaddvq_u32(v);
}

static inline uint32x4_t add_u32_four(const uint32x4_t *v)
{
	return vpaddq_u32(vpaddq_u32(v[0], v[1]), vpaddq_u32(v[2], v[3]));
}

static inline void sum_u32_four(float *out, const uint32x4_t *v)
{
	vst1q_f32(out, vcvtq_f32_u32(add_u32_four(v)));
}

static inline void sum_i32_four(float *out, const uint32x4_t *v)
{
	vst1q_f32(out, vcvtq_f32_s32(vreinterpretq_s32_u32(add_u32_four(v))));
}

#define PS float32x4_t
#define PS_BYTES 16
#define FMA(acc, a, b) vfmaq_f32(acc, a, b)
#define F32_LOAD(p) vreinterpretq_f32_u8(vld1q_u8(p))
#define F32_TAIL(p, left, total) vreinterpretq_f32_u8(tail16(p, left, total))
#define F16_LOAD(p) vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)))
#define F16_TAIL(p, left, total) vcvt_f32_f16(vreinterpret_f16_u8(tail8(p, left, total)))
#define WORDS uint32x4_t
#define WORDS_LOAD(p) vreinterpretq_u32_u8(vld1q_u8(p))
#define WORDS_TAIL(p, left, total) vreinterpretq_u32_u8(tail16(p, left, total))
#define EVEN(words) vreinterpretq_f32_u32(vshlq_n_u32(words, 16))
#define ODD(words) vreinterpretq_f32_u32(vandq_u32(words, vdupq_n_u32(0xffff0000u)))
#define BF16_PAIR_UNROLL 2
#include "simd/floats.h"

/* Bytes are widened to 16 bits, products accumulated in 32. Lanes wrap modulo 2^32, and so does
 * their sum: the result is right as long as it fits, which SIMD_DIM_MAX sees to. */
static inline uint32x4_t mac_s16(uint32x4_t acc, int16x8_t a, int16x8_t b)
{
	int32x4_t s = vreinterpretq_s32_u32(acc);

	s = vmlal_s16(s, vget_low_s16(a), vget_low_s16(b));
	return vreinterpretq_u32_s32(vmlal_high_s16(s, a, b));
}

static inline uint32x4_t mac_l2_s16(uint32x4_t acc, int16x8_t q, int16x8_t r)
{
	int16x8_t d = vsubq_s16(q, r);

	return mac_s16(acc, d, d);
}

#define TYPE i8
#define VEC int16x8_t
#define ACC uint32x4_t
#define VEC_BYTES 8
#define DIM_BYTES(d) (d)
#define LOAD(p) vmovl_s8(vreinterpret_s8_u8(vld1_u8(p)))
#define LOAD_TAIL(p, left, total) vmovl_s8(vreinterpret_s8_u8(tail8(p, left, total)))
#define MAC_DOT(acc, q, r) mac_s16(acc, q, r)
#define MAC_L2(acc, q, r) mac_l2_s16(acc, q, r)
#define MAC_NORM(acc, v) mac_s16(acc, v, v)
#define ACC_ADD(a, b) vaddq_u32(a, b)
#define SUM sum_u32
#define SUM_DOT sum_i32
#define PAIR_UNROLL 4
#define ACC_REGS 1
#include "simd/tile.h"

#define TYPE u8
#define VEC int16x8_t
#define ACC uint32x4_t
#define VEC_BYTES 8
#define DIM_BYTES(d) (d)
#define LOAD(p) vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p)))
#define LOAD_TAIL(p, left, total) vreinterpretq_s16_u16(vmovl_u8(tail8(p, left, total)))
#define MAC_DOT(acc, q, r) mac_s16(acc, q, r)
#define MAC_L2(acc, q, r) mac_l2_s16(acc, q, r)
#define MAC_NORM(acc, v) mac_s16(acc, v, v)
#define ACC_ADD(a, b) vaddq_u32(a, b)
#define SUM sum_u32
#define PAIR_UNROLL 4
#define ACC_REGS 1
#include "simd/tile.h"

/* Adds the ones of v, byte by byte, to 32-bit lanes. */
static inline uint32x4_t mac_ones(uint32x4_t acc, uint8x16_t v)
{
	return vpadalq_u16(acc, vpaddlq_u8(vcntq_u8(v)));
}

#define TYPE b1
#define VEC uint8x16_t
#define ACC uint32x4_t
#define VEC_BYTES 16
#define DIM_BYTES(d) (((d) + 7) / 8)
#define LOAD(p) vld1q_u8(p)
#define LOAD_TAIL(p, left, total) tail16(p, left, total)
#define MAC_DOT(acc, q, r) mac_ones(acc, vandq_u8(q, r))
#define MAC_L2(acc, q, r) mac_ones(acc, veorq_u8(q, r))
#define MAC_NORM(acc, v) mac_ones(acc, v)
#define ACC_ADD(a, b) vaddq_u32(a, b)
#define SUM sum_u32
#define PAIR_UNROLL 2
#define ACC_REGS 1
#include "simd/tile.h"

static void f32_to_f16(const float *in, uint16_t *out, size_t n)
{
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
		vst1_u16(out + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(in + i))));
	for (; i < n; i++)
		out[i] = f16_from_f32(in[i]);
}

static void f16_to_f32(const uint16_t *in, float *out, size_t n)
{
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
		vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(in + i))));
	for (; i < n; i++)
		out[i] = f32_from_f16(in[i]);
}

/* Lane k of a comparison keeps bit k; the sum of the lanes is the mask. */
static inline __attribute__((always_inline)) uint64_t
mask64_f32(const float *values, const enum simd_compare op, float bound)
{
	const uint32x4_t bits = {1, 2, 4, 8};
	const float32x4_t b = vdupq_n_f32(bound);
	uint64_t word = 0;

	for (int lane = 0; lane < 64; lane += 4) {
		float32x4_t v = vld1q_f32(values + lane);
		uint32x4_t hit = op == SIMD_LT   ? vcltq_f32(v, b)
				 : op == SIMD_LE ? vcleq_f32(v, b)
				 : op == SIMD_GT ? vcgtq_f32(v, b)
				 : op == SIMD_GE ? vcgeq_f32(v, b)
						 : vceqq_f32(v, b);
		word |= (uint64_t)vaddvq_u32(vandq_u32(hit, bits)) << lane;
	}
	return op == SIMD_NE ? ~word : word;
}

static inline __attribute__((always_inline)) uint64_t
mask64_i64(const int64_t *values, const enum simd_compare op, int64_t bound)
{
	const int64x2_t b = vdupq_n_s64(bound);
	uint64_t word = 0;

	for (int lane = 0; lane < 64; lane += 2) {
		int64x2_t v = vld1q_s64(values + lane);
		uint64x2_t hit = op == SIMD_LT   ? vcltq_s64(v, b)
				 : op == SIMD_LE ? vcleq_s64(v, b)
				 : op == SIMD_GT ? vcgtq_s64(v, b)
				 : op == SIMD_GE ? vcgeq_s64(v, b)
						 : vceqq_s64(v, b);
		uint64_t two = (vgetq_lane_u64(hit, 0) & 1) | (vgetq_lane_u64(hit, 1) & 2);
		word |= two << lane;
	}
	return op == SIMD_NE ? ~word : word;
}
#define MASK64_F32(values, op, bound) mask64_f32(values, op, bound)
#define MASK64_I64(values, op, bound) mask64_i64(values, op, bound)

static void pq4_scan(const uint8_t *codes, size_t blocks, size_t m, const uint8_t *lut,
		     uint16_t *out)
{
	for (; blocks; blocks--, codes += 16 * m, out += 32) {
		uint16x8_t sum[4];
		for (int i = 0; i < 4; i++)
			sum[i] = vdupq_n_u16(0);
		for (size_t s = 0; s < m; s++) {
			uint8x16_t c = vld1q_u8(codes + 16 * s), table = vld1q_u8(lut + 16 * s);
			uint8x16_t low = vqtbl1q_u8(table, vandq_u8(c, vdupq_n_u8(15)));
			uint8x16_t high = vqtbl1q_u8(table, vshrq_n_u8(c, 4));
			sum[0] = vaddw_u8(sum[0], vget_low_u8(low));
			sum[1] = vaddw_high_u8(sum[1], low);
			sum[2] = vaddw_u8(sum[2], vget_low_u8(high));
			sum[3] = vaddw_high_u8(sum[3], high);
		}
		for (int i = 0; i < 4; i++)
			vst1q_u16(out + 8 * i, sum[i]);
	}
}

static uint32_t planes_one(const uint8_t *query, size_t planes, const uint8_t *code, size_t bytes)
{
	uint32_t sum = 0;

	for (size_t p = 0; p < planes; p++, query += bytes) {
		uint32x4_t ones = vdupq_n_u32(0);
		size_t k = 0;
		for (; k + 16 <= bytes; k += 16)
			ones = mac_ones(ones, vandq_u8(vld1q_u8(code + k), vld1q_u8(query + k)));
		if (k < bytes)
			ones = mac_ones(ones, vandq_u8(tail16(code + k, bytes - k, bytes),
						       tail16(query + k, bytes - k, bytes)));
		sum += vaddvq_u32(ones) << p;
	}
	return sum;
}

static void b1_planes(const void *query, size_t planes, const void *base, size_t stride,
		      const uint32_t *ids, size_t count, size_t bytes, uint32_t *out)
{
	for (size_t i = 0; i < count; i++) {
		if (ids && i + 4 < count)
			row_prefetch((const uint8_t *)base + ids[i + 4] * stride, bytes);
		out[i] = planes_one(query, planes,
				    (const uint8_t *)base + (ids ? ids[i] : i) * stride, bytes);
	}
}

#include "simd/batch.h"

const struct simd_kernels simd_kernels_neon = {
	.level = SIMD_NEON, .name = "neon", .features = "", KERNEL_ENTRIES};
