/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   asks the processor (libcpuid) and the operating system (XCR0) once, before main(), and
 *            chooses the table of kernels.
 * Invariants: a table is offered only if every instruction of its file may run: the feature bits of
 *            the processor and the saving of its registers by the system are both checked.
 * Threading: a constructor writes; afterwards all is constant (simd_level_force() is for tests).
 * Failure:   a MNEME_SIMD that cannot be had is a sentence on standard error; the best level is
 * used.
 */
#include "simd/crc32cfold.h"
#include "simd/kernels.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <libcpuid/libcpuid.h>
#endif

const struct simd_kernels *simd_active = &simd_kernels_scalar;
/* It lives here so that whoever links crc32c() links the constructor below with it. */
uint32_t (*crc32c_active)(uint32_t crc, const void *data, size_t len) = crc32c_scalar;
static const struct simd_kernels *tables[SIMD_LEVELS] = {[SIMD_SCALAR] = &simd_kernels_scalar};
static enum crc32c_form crc_of_level[SIMD_LEVELS];
static const char *const level_names[SIMD_LEVELS] = {
	[SIMD_SCALAR] = "scalar",
	[SIMD_AVX2] = "avx2",
	[SIMD_AVX512] = "avx512",
	[SIMD_NEON] = "neon",
};

#if defined(__x86_64__)
/* XCR0 (Intel SDM volume 1, 13.3): SSE and AVX state; opmask, upper ZMM and high ZMM state. */
enum { XCR0_AVX = 0x6, XCR0_AVX512 = 0xe6 };

static uint32_t xcr0_read(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low;
}

/* Bits of leaf 7 (Intel SDM volume 2, CPUID). They are read from libcpuid's raw registers: its
 * older versions know no names for some, and do not look for AVX-512 on AMD's processors. */
enum {
	LEAF7_EBX_AVX512F = 1 << 16,
	LEAF7_EBX_AVX512DQ = 1 << 17,
	LEAF7_EBX_AVX512BW = 1 << 30,
	LEAF7_ECX_VPCLMULQDQ = 1 << 10,
	LEAF7_ECX_VNNI = 1 << 11,
	LEAF7_ECX_VPOPCNTDQ = 1 << 14,
	LEAF7_1_EAX_BF16 = 1 << 5,
};
#define LEAF7_EBX_AVX512VL (1u << 31)
#define LEAF7_EBX_NEEDED                                                                           \
	(LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512DQ | LEAF7_EBX_AVX512BW | LEAF7_EBX_AVX512VL)

static bool leaf7_has_bf16(void)
{
	uint32_t regs[4] = {7, 0, 1, 0};

	cpu_exec_cpuid_ext(regs);
	return regs[0] & LEAF7_1_EAX_BF16;
}

static struct simd_kernels avx512_table;

static void avx512_offer(const uint32_t *leaf7)
{
	static char features[64];

	if ((leaf7[1] & LEAF7_EBX_NEEDED) != LEAF7_EBX_NEEDED)
		return;
	avx512_table = simd_kernels_avx512;
	if (leaf7[2] & LEAF7_ECX_VNNI) {
		simd_avx512_use_vnni(&avx512_table);
		strcat(features, " vnni");
	}
	if (leaf7[2] & LEAF7_ECX_VPOPCNTDQ) {
		simd_avx512_use_vpopcntdq(&avx512_table);
		strcat(features, " vpopcntdq");
	}
	if (leaf7[0] >= 1 && leaf7_has_bf16()) {
		simd_avx512_use_bf16(&avx512_table);
		strcat(features, " bf16");
	}
	avx512_table.features = features + (features[0] == ' ');
	tables[SIMD_AVX512] = &avx512_table;
	crc_of_level[SIMD_AVX512] =
		leaf7[2] & LEAF7_ECX_VPCLMULQDQ ? CRC32C_FOLD : crc_of_level[SIMD_AVX2];
}

static void tables_fill(void)
{
	struct cpu_raw_data_t raw;
	struct cpu_id_t id;

	if (!cpuid_present() || cpuid_get_raw_data(&raw) || cpu_identify(&raw, &id))
		return;
	const uint8_t *has = id.flags;
	if (!has[CPU_FEATURE_OSXSAVE] || (xcr0_read() & XCR0_AVX) != XCR0_AVX)
		return;
	if (!has[CPU_FEATURE_AVX2] || !has[CPU_FEATURE_FMA3] || !has[CPU_FEATURE_F16C] ||
	    !has[CPU_FEATURE_POPCNT])
		return;
	tables[SIMD_AVX2] = &simd_kernels_avx2;
	if (has[CPU_FEATURE_SSE4_2] && has[CPU_FEATURE_PCLMUL])
		crc_of_level[SIMD_AVX2] = CRC32C_STREAMS;
#if defined(__SANITIZE_ADDRESS__)
	/* The sanitizer sees what the streams read too, and the table takes most of a test's time. */
	crc_of_level[SIMD_SCALAR] = crc_of_level[SIMD_AVX2];
#endif
	if ((xcr0_read() & XCR0_AVX512) == XCR0_AVX512)
		avx512_offer(raw.basic_cpuid[7]);
}
#elif defined(__aarch64__)
static void tables_fill(void)
{
	tables[SIMD_NEON] = &simd_kernels_neon; /* part of the base architecture */
}
#else
static void tables_fill(void)
{
}
#endif

const struct simd_kernels *simd_level_get(enum simd_level level)
{
	return level < SIMD_LEVELS ? tables[level] : NULL;
}

int simd_level_parse(const char *name, enum simd_level *level)
{
	for (int i = 0; i < SIMD_LEVELS; i++)
		if (!strcmp(name, level_names[i])) {
			*level = (enum simd_level)i;
			return 0;
		}
	return -EINVAL;
}

int simd_level_force(enum simd_level level)
{
	const struct simd_kernels *table = simd_level_get(level);

	if (!table)
		return -ENOTSUP;
	simd_active = table;
	return 0;
}

__attribute__((constructor)) static void dispatch_start(void)
{
	const char *asked = getenv("MNEME_SIMD");
	enum simd_level level;

	tables_fill();
	for (int i = 0; i < SIMD_LEVELS; i++)
		if (tables[i])
			simd_active = tables[i];
	if (!asked || !*asked)
		asked = simd_active->name;
	if (simd_level_parse(asked, &level))
		fprintf(stderr,
			"mneme: MNEME_SIMD=%s is not one of scalar, avx2, avx512, neon; using %s\n",
			asked, simd_active->name);
	else if (simd_level_force(level))
		fprintf(stderr, "mneme: MNEME_SIMD=%s: this machine lacks it; using %s\n", asked,
			simd_active->name);
	crc32c_start(crc_of_level[simd_active->level]);
}

enum crc32c_form crc32c_best(void)
{
	enum crc32c_form best = CRC32C_TABLE;

	for (int i = 0; i < SIMD_LEVELS; i++)
		if (crc_of_level[i] > best)
			best = crc_of_level[i];
	return best;
}
