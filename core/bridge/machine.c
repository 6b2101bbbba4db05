/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   asks libcpuid and sysconf(3); see machine.h.
 */
#include "core/bridge/machine.h"
#include "pool/alloc.h"

#include <libcpuid/libcpuid.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { L1D_BYTES = 32 << 10, L2_BYTES = 256 << 10, L3_BYTES = 2 << 20 }; /* of a small machine */
enum { READ_BYTES_MAX = 64 << 20, READ_PASSES = 3, BANDWIDTH_SMALL = 4000 };

static struct machine_facts facts;
static pthread_once_t facts_once = PTHREAD_ONCE_INIT;
static uint64_t bandwidth = BANDWIDTH_SMALL;
static pthread_once_t bandwidth_once = PTHREAD_ONCE_INIT;

/* The first that is known: libcpuid's answer in KiB, the system's in bytes, the small machine's. */
static size_t first_known(long cpuid_kib, int name, size_t fallback)
{
	if (cpuid_kib > 0)
		return (size_t)cpuid_kib << 10;
	long bytes = sysconf(name);
	return bytes > 0 ? (size_t)bytes : fallback;
}

static unsigned cores_usable(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned)CPU_COUNT(&set);
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (unsigned)online : 1;
}

static void facts_find(void)
{
	struct cpu_raw_data_t raw;
	struct cpu_id_t id = {.l1_data_cache = -1, .l2_cache = -1, .l3_cache = -1};

	if (cpuid_present() && cpuid_get_raw_data(&raw) == 0 && cpu_identify(&raw, &id) != 0)
		id.l1_data_cache = id.l2_cache = id.l3_cache = -1;
	facts.l1d_bytes = first_known(id.l1_data_cache, _SC_LEVEL1_DCACHE_SIZE, L1D_BYTES);
	facts.l2_bytes = first_known(id.l2_cache, _SC_LEVEL2_CACHE_SIZE, L2_BYTES);
	facts.l3_bytes = first_known(id.l3_cache, _SC_LEVEL3_CACHE_SIZE, L3_BYTES);
	facts.cores = cores_usable();
}

const struct machine_facts *machine_facts(void)
{
	pthread_once(&facts_once, facts_find);
	return &facts;
}

static uint64_t read_pass_ns(const uint64_t *words, size_t count)
{
	struct timespec begin, end;
	uint64_t sum[4] = {0};

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (size_t i = 0; i + 4 <= count; i += 4)
		for (unsigned k = 0; k < 4; k++)
			sum[k] += words[i + k];
	*(volatile uint64_t *)sum = sum[0] + sum[1] + sum[2] + sum[3];
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000u + (uint64_t)end.tv_nsec -
	       (uint64_t)begin.tv_nsec;
}

/* The best of some passes over more than the caches hold. */
static void bandwidth_find(void)
{
	size_t bytes = 2 * machine_facts()->l3_bytes;
	uint64_t best = UINT64_MAX;

	if (bytes > READ_BYTES_MAX)
		bytes = READ_BYTES_MAX;
	uint64_t *words = alloc_get(bytes);
	if (!words)
		return;
	memset(words, 1, bytes);
	for (int pass = 0; pass < READ_PASSES; pass++) {
		uint64_t spent = read_pass_ns(words, bytes / sizeof(*words));
		best = spent < best ? spent : best;
	}
	alloc_free(words);
	if (best && bytes * 1000 / best)
		bandwidth = bytes * 1000 / best;
}

uint64_t machine_bandwidth(void)
{
	pthread_once(&bandwidth_once, bandwidth_find);
	return bandwidth;
}
