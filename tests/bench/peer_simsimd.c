/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   one-to-one kernels of SimSIMD 6 (simsimd/simsimd.h) or NumKong 7 (numkong/numkong.h)
 *            behind one signature. bench_simd compiles this at run time against the headers that
 *            SIMSIMD_DIR names; the build never does. The kernels called are those that their own
 *            dispatch picks on a processor with AVX-512, VNNI and BF16.
 */
#include <stddef.h>

#ifdef PEER_NUMKONG
#include <numkong/numkong.h>
const char *peer_name = "NumKong 7";
#define PEER(name, kernel, type, result)                                                           \
	float peer_##name(const void *a, const void *b, size_t dim)                                \
	{                                                                                          \
		result out;                                                                        \
		nk_##kernel((const type *)a, (const type *)b, dim, &out);                          \
		return (float)out;                                                                 \
	}
PEER(f32_l2, sqeuclidean_f32_skylake, nk_f32_t, nk_f64_t)
PEER(f32_dot, dot_f32_skylake, nk_f32_t, nk_f64_t)
PEER(f32_cos, angular_f32_skylake, nk_f32_t, nk_f64_t)
PEER(f16_l2, sqeuclidean_f16_skylake, nk_f16_t, nk_f32_t)
PEER(f16_dot, dot_f16_skylake, nk_f16_t, nk_f32_t)
PEER(f16_cos, angular_f16_skylake, nk_f16_t, nk_f32_t)
PEER(bf16_l2, sqeuclidean_bf16_genoa, nk_bf16_t, nk_f32_t)
PEER(bf16_dot, dot_bf16_genoa, nk_bf16_t, nk_f32_t)
PEER(bf16_cos, angular_bf16_genoa, nk_bf16_t, nk_f32_t)
PEER(i8_l2, sqeuclidean_i8_icelake, nk_i8_t, nk_u32_t)
PEER(i8_dot, dot_i8_icelake, nk_i8_t, nk_i32_t)
PEER(i8_cos, angular_i8_icelake, nk_i8_t, nk_f32_t)
PEER(u8_l2, sqeuclidean_u8_icelake, nk_u8_t, nk_u32_t)
PEER(u8_dot, dot_u8_icelake, nk_u8_t, nk_u32_t)
PEER(u8_cos, angular_u8_icelake, nk_u8_t, nk_f32_t)
PEER(b1_l2, hamming_u1_icelake, nk_u1x8_t, nk_u32_t)
#else
#include <simsimd/simsimd.h>
const char *peer_name = "SimSIMD 6";
#define PEER(name, kernel, type, per_word)                                                         \
	float peer_##name(const void *a, const void *b, size_t dim)                                \
	{                                                                                          \
		simsimd_distance_t out;                                                            \
		simsimd_##kernel((const type *)a, (const type *)b, dim / per_word, &out);          \
		return (float)out;                                                                 \
	}
PEER(f32_l2, l2sq_f32_skylake, simsimd_f32_t, 1)
PEER(f32_dot, dot_f32_skylake, simsimd_f32_t, 1)
PEER(f32_cos, cos_f32_skylake, simsimd_f32_t, 1)
PEER(f16_l2, l2sq_f16_haswell, simsimd_f16_t, 1)
PEER(f16_dot, dot_f16_haswell, simsimd_f16_t, 1)
PEER(f16_cos, cos_f16_haswell, simsimd_f16_t, 1)
PEER(bf16_l2, l2sq_bf16_genoa, simsimd_bf16_t, 1)
PEER(bf16_dot, dot_bf16_genoa, simsimd_bf16_t, 1)
PEER(bf16_cos, cos_bf16_genoa, simsimd_bf16_t, 1)
PEER(i8_l2, l2sq_i8_ice, simsimd_i8_t, 1)
PEER(i8_dot, dot_i8_ice, simsimd_i8_t, 1)
PEER(i8_cos, cos_i8_ice, simsimd_i8_t, 1)
PEER(u8_l2, l2sq_u8_ice, simsimd_u8_t, 1)
PEER(u8_dot, dot_u8_ice, simsimd_u8_t, 1)
PEER(u8_cos, cos_u8_ice, simsimd_u8_t, 1)
PEER(b1_l2, hamming_b8_ice, simsimd_b8_t, 8)
#endif
