/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the template of the kernels of f32, f16 and bf16, which all sum in floats. A file includes
 *            it after defining
 *              PS            a vector of floats, one that the compiler adds and subtracts
 *              PS_BYTES      bytes of it
 *              FMA(acc, a, b)  acc + a * b, rounded once
 *              F32_LOAD, F32_TAIL, F16_LOAD, F16_TAIL   LOAD and LOAD_TAIL of tile.h, to PS
 *              WORDS         a vector of as many 32-bit words
 *              WORDS_LOAD, WORDS_TAIL   LOAD and LOAD_TAIL of it
 *              ODD(words), EVEN(words)  PS of the odd bf16 of each word and of the even ones
 *              BF16_PAIR_UNROLL         PAIR_UNROLL of bf16
 *            and sum_ps(v), sum_ps_four(out, v).
 */
static inline PS mac_l2(PS acc, PS q, PS r)
{
	PS d = q - r;

	return FMA(acc, d, d);
}

/* A word of two bf16: the odd element is a float once the even one is masked off, the even one
 * once it is shifted up. No lane is crossed. */
struct two_ps {
	PS even, odd;
};

static inline struct two_ps two_ps_split(WORDS words)
{
	return (struct two_ps){EVEN(words), ODD(words)};
}

static inline struct two_ps two_ps_mac(struct two_ps acc, struct two_ps q, struct two_ps r)
{
	return (struct two_ps){FMA(acc.even, q.even, r.even), FMA(acc.odd, q.odd, r.odd)};
}

static inline struct two_ps two_ps_mac_l2(struct two_ps acc, struct two_ps q, struct two_ps r)
{
	return (struct two_ps){mac_l2(acc.even, q.even, r.even), mac_l2(acc.odd, q.odd, r.odd)};
}

static inline struct two_ps two_ps_add(struct two_ps a, struct two_ps b)
{
	return (struct two_ps){a.even + b.even, a.odd + b.odd};
}

static inline float sum_two_ps(struct two_ps acc)
{
	return sum_ps(acc.even + acc.odd);
}

static inline void sum_two_ps_four(float *out, const struct two_ps *acc)
{
	PS v[4];

	for (int i = 0; i < 4; i++)
		v[i] = acc[i].even + acc[i].odd;
	sum_ps_four(out, v);
}

#define TYPE f32
#define VEC PS
#define ACC PS
#define VEC_BYTES PS_BYTES
#define DIM_BYTES(d) ((d)*4)
#define LOAD(p) F32_LOAD(p)
#define LOAD_TAIL(p, left, total) F32_TAIL(p, left, total)
#define MAC_DOT(acc, q, r) FMA(acc, q, r)
#define MAC_L2(acc, q, r) mac_l2(acc, q, r)
#define MAC_NORM(acc, v) FMA(acc, v, v)
#define ACC_ADD(a, b) ((a) + (b))
#define SUM sum_ps
#define PAIR_UNROLL 4
#define ACC_REGS 1
#include "simd/tile.h"

#define TYPE f16
#define VEC PS
#define ACC PS
#define VEC_BYTES (PS_BYTES / 2)
#define DIM_BYTES(d) ((d)*2)
#define LOAD(p) F16_LOAD(p)
#define LOAD_TAIL(p, left, total) F16_TAIL(p, left, total)
#define MAC_DOT(acc, q, r) FMA(acc, q, r)
#define MAC_L2(acc, q, r) mac_l2(acc, q, r)
#define MAC_NORM(acc, v) FMA(acc, v, v)
#define ACC_ADD(a, b) ((a) + (b))
#define SUM sum_ps
#define PAIR_UNROLL 4
#define ACC_REGS 1
#include "simd/tile.h"

#define TYPE bf16
#define VEC struct two_ps
#define ACC struct two_ps
#define VEC_BYTES PS_BYTES
#define DIM_BYTES(d) ((d)*2)
#define LOAD(p) two_ps_split(WORDS_LOAD(p))
#define LOAD_TAIL(p, left, total) two_ps_split(WORDS_TAIL(p, left, total))
#define MAC_DOT(acc, q, r) two_ps_mac(acc, q, r)
#define MAC_L2(acc, q, r) two_ps_mac_l2(acc, q, r)
#define MAC_NORM(acc, v) two_ps_mac(acc, v, v)
#define ACC_ADD(a, b) two_ps_add(a, b)
#define SUM sum_two_ps
#define PAIR_UNROLL BF16_PAIR_UNROLL
#define ACC_REGS 2
#include "simd/tile.h"
