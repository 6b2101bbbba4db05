/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the distance kernels against the core's own limits, measured by plain loops in the
 *            same run, and against SimSIMD/NumKong, compiled at run time from the headers below
 *            SIMSIMD_DIR. Times are of the thread, not of the clock, so that other work on the
 *            machine costs caches, not minutes.
 *              L1      one-to-one and one-to-many over 36 KiB: ns a distance; the limit is the
 *                      longer of loading the operands and of the multiplications
 *              memory  one-to-many over 256 MiB: GB/s; the limit is the best of three read loops
 *            Targets: 90 % of a limit; 100 % of a peer, with 5 % for the noise.
 * Failure:   without SIMSIMD_DIR the peer's columns are left out, with a line that says so.
 */
#include "simd/crc32cfold.h"
#include "simd/simd.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { ROUNDS = 9, L1_BYTES = 36 << 10 };
static const size_t stream_bytes = (size_t)256 << 20;
static const char *const type_names[] = {"f32", "f16", "bf16", "i8", "u8", "b1"};
static const char *const metric_names[] = {"l2", "dot", "cos"};
static bool json;
static volatile float sink;

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct figure {
	double rounds[ROUNDS];
};

static double median(struct figure *f)
{
	qsort(f->rounds, ROUNDS, sizeof(double), compare_doubles);
	return f->rounds[ROUNDS / 2];
}

/* One line of the table. `ratio` >= `target` is ok; a target of 0 asks for nothing. */
static void report(const char *name, double value, double spread, const char *unit,
		   const char *limit, double limit_value, double ratio, double target)
{
	const char *verdict = target == 0 ? "-" : ratio >= target ? "ok" : "short";

	if (json)
		printf("{\"name\":\"%s\",\"value\":%.4g,\"spread\":%.3f,\"unit\":\"%s\",\"limit\":"
		       "\"%s\",\"limit_value\":%.4g,\"ratio\":%.3f,\"verdict\":\"%s\"}\n",
		       name, value, spread, unit, limit, limit_value, ratio, verdict);
	else
		printf("%-26s %9.2f %-5s +-%2.0f%%  %-12s %9.2f  %5.0f%%  %s\n", name, value, unit,
		       spread * 100, limit, limit_value, ratio * 100, verdict);
}

static double spread_of(struct figure *f)
{
	double m = median(f);

	return m ? (f->rounds[ROUNDS - 2] - f->rounds[1]) / 2 / m : 0;
}

/* Limits: bytes loaded from L1 and multiplications a nanosecond, for the width in use. */
struct limits {
	double load_bytes, fma_floats;
};

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void loads_512(const uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 512)
		__asm__ volatile("vmovaps (%0), %%zmm0\n\tvmovaps 64(%0), %%zmm1\n\t"
				 "vmovaps 128(%0), %%zmm2\n\tvmovaps 192(%0), %%zmm3\n\t"
				 "vmovaps 256(%0), %%zmm4\n\tvmovaps 320(%0), %%zmm5\n\t"
				 "vmovaps 384(%0), %%zmm6\n\tvmovaps 448(%0), %%zmm7"
				 :
				 : "r"(p + i)
				 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
}

static void loads_256(const uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 256)
		__asm__ volatile("vmovaps (%0), %%ymm0\n\tvmovaps 32(%0), %%ymm1\n\t"
				 "vmovaps 64(%0), %%ymm2\n\tvmovaps 96(%0), %%ymm3\n\t"
				 "vmovaps 128(%0), %%ymm4\n\tvmovaps 160(%0), %%ymm5\n\t"
				 "vmovaps 192(%0), %%ymm6\n\tvmovaps 224(%0), %%ymm7"
				 :
				 : "r"(p + i)
				 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
}

#define FMAS(width)                                                                                \
	__asm__ volatile("vfmadd231ps %%" width "15, %%" width "15, %%" width "0\n\t"              \
			 "vfmadd231ps %%" width "15, %%" width "15, %%" width "1\n\t"              \
			 "vfmadd231ps %%" width "15, %%" width "15, %%" width "2\n\t"              \
			 "vfmadd231ps %%" width "15, %%" width "15, %%" width "3\n\t"              \
			 "vfmadd231ps %%" width "15, %%" width "15, %%" width "4\n\t"              \
			 "vfmadd231ps %%" width "15, %%" width "15, %%" width "5\n\t"              \
			 "vfmadd231ps %%" width "15, %%" width "15, %%" width "6\n\t"              \
			 "vfmadd231ps %%" width "15, %%" width "15, %%" width "7\n\t"              \
			 "vfmadd231ps %%" width "15, %%" width "15, %%" width "8\n\t"              \
			 "vfmadd231ps %%" width "15, %%" width "15, %%" width "9"                  \
			 :                                                                         \
			 :                                                                         \
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
			   "xmm9", "xmm15")

static struct limits limits_measure(const uint8_t *l1)
{
	struct limits best = {0};
	bool wide = simd_active->level == SIMD_AVX512;

	if (simd_active->level == SIMD_SCALAR)
		return best;
	for (int round = 0; round < 4 * ROUNDS; round++) {
		double start = now_ns();
		for (int i = 0; i < 1000; i++)
			wide ? loads_512(l1, L1_BYTES) : loads_256(l1, L1_BYTES);
		double loads = 1000.0 * L1_BYTES / (now_ns() - start);
		start = now_ns();
		for (int i = 0; i < 50000; i++)
			if (wide)
				FMAS("zmm");
			else
				FMAS("ymm");
		double fmas = 50000.0 * 10 * (wide ? 16 : 8) / (now_ns() - start);
		best.load_bytes = loads > best.load_bytes ? loads : best.load_bytes;
		best.fma_floats = fmas > best.fma_floats ? fmas : best.fma_floats;
	}
	return best;
}

__attribute__((target("avx512f"))) static void read_512(const uint8_t *p, size_t bytes)
{
	__m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;

	for (size_t i = 0; i < bytes; i += 256) {
		a = _mm512_or_si512(a, _mm512_loadu_si512(p + i));
		b = _mm512_or_si512(b, _mm512_loadu_si512(p + i + 64));
		c = _mm512_or_si512(c, _mm512_loadu_si512(p + i + 128));
		d = _mm512_or_si512(d, _mm512_loadu_si512(p + i + 192));
	}
	a = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
	sink = (float)_mm512_reduce_or_epi32(a);
}

__attribute__((target("avx2"))) static void read_256(const uint8_t *p, size_t bytes)
{
	__m256i a = _mm256_setzero_si256(), b = a;

	for (size_t i = 0; i < bytes; i += 64) {
		a = _mm256_or_si256(a, _mm256_loadu_si256((const void *)(p + i)));
		b = _mm256_or_si256(b, _mm256_loadu_si256((const void *)(p + i + 32)));
	}
	sink = (float)_mm256_extract_epi32(_mm256_or_si256(a, b), 0);
}
#else
static struct limits limits_measure(const uint8_t *l1)
{
	return (struct limits){0};
}
#endif

static void read_words(const uint8_t *p, size_t bytes)
{
	uint64_t all = 0, word;

	for (size_t i = 0; i < bytes; i += 8) {
		memcpy(&word, p + i, 8);
		all |= word;
	}
	sink = (float)all;
}

/* The best that a loop of reads gets from memory, GB/s. */
static double read_bandwidth(const uint8_t *p)
{
	double best = 0;

	for (int way = 0; way < 3; way++) {
		double start = now_ns();
#if defined(__x86_64__)
		if (way == 1 && simd_level_get(SIMD_AVX2))
			read_256(p, stream_bytes);
		else if (way == 2 && simd_level_get(SIMD_AVX512))
			read_512(p, stream_bytes);
		else
#endif
			read_words(p, stream_bytes);
		double got = (double)stream_bytes / (now_ns() - start);
		best = got > best ? got : best;
	}
	return best;
}

static void *peer;

static void peer_load(void)
{
	const char *dir = getenv("SIMSIMD_DIR"), *compiler = getenv("CC");
	char probe[600], command[2000], object[] = "/tmp/mneme-peer-XXXXXX";

	if (!dir) {
		fprintf(stderr, "bench_simd: no peer: clone github.com/ashvardanian/SimSIMD and "
				"set SIMSIMD_DIR to it\n");
		return;
	}
	snprintf(probe, sizeof(probe), "%s/include/numkong/numkong.h", dir);
	bool numkong = access(probe, R_OK) == 0;
	int fd = mkstemp(object);
	if (fd < 0)
		return;
	close(fd);
	snprintf(command, sizeof(command),
		 "%s -O3 -march=native -shared -fPIC -w %s -I'%s/include' -o %s '%s' -lm",
		 compiler ? compiler : "cc",
		 numkong ? "-DPEER_NUMKONG -DNK_NATIVE_BF16=0 -DNK_NATIVE_F16=0" : "", dir, object,
		 PEER_SOURCE);
	if (system(command) == 0)
		peer = dlopen(object, RTLD_NOW);
	if (!peer)
		fprintf(stderr, "bench_simd: no peer: its headers below %s do not compile here\n",
			dir);
	unlink(object);
}

static simd_pair_fn *peer_kernel(int type, int metric)
{
	char name[32];

	snprintf(name, sizeof(name), "peer_%s_%s", type_names[type], metric_names[metric]);
	return peer ? (simd_pair_fn *)(uintptr_t)dlsym(peer, name) : NULL;
}

struct l1_case {
	int type, metric;
	size_t dim, bytes, rows;
	const uint8_t *query, *base;
	float out[4096];
};

static double pair_round(struct l1_case *c, simd_pair_fn *fn)
{
	size_t times = 400000 / (c->bytes / 16 + 20) / c->rows + 1;
	double start = now_ns();

	for (size_t t = 0; t < times; t++)
		for (size_t i = 0; i < c->rows; i++)
			sink = fn(c->query, c->base + i * c->bytes, c->dim);
	return (now_ns() - start) / (double)(times * c->rows);
}

static double many_round(struct l1_case *c)
{
	size_t times = 400000 / (c->bytes / 16 + 20) / c->rows + 1;
	double start = now_ns();

	for (size_t t = 0; t < times; t++)
		simd_many(c->type, c->metric, c->query, c->base, c->bytes, NULL, c->rows, c->dim,
			  c->out);
	return (now_ns() - start) / (double)(times * c->rows);
}

static void l1_bench(struct l1_case *c, const struct limits *limits)
{
	struct figure ours, theirs, many;
	simd_pair_fn *mine = simd_active->pair[c->type][c->metric];
	simd_pair_fn *other = peer_kernel(c->type, c->metric);
	char name[64];

	for (int i = 0; i < ROUNDS; i++) {
		ours.rounds[i] = pair_round(c, mine);
		theirs.rounds[i] = other ? pair_round(c, other) : 0;
		many.rounds[i] = many_round(c);
	}
	double one = median(&ours), all = median(&many), them = median(&theirs);
	double products = c->type < SIMD_I8 ? (double)c->dim : 0;
	double fma = products * (c->metric == SIMD_COS ? 3 : 1) / limits->fma_floats;
	double load = 2 * (double)c->bytes / limits->load_bytes;
	double limit = fma > load ? fma : load;
	snprintf(name, sizeof(name), "pair %s %s %zu", type_names[c->type], metric_names[c->metric],
		 c->dim);
	if (limits->load_bytes)
		report(name, one, spread_of(&ours), "ns", "L1 limit", limit, limit / one,
		       c->type == SIMD_F32 ? 0.9 : 0);
	if (other)
		report(name, one, spread_of(&ours), "ns", *(char **)dlsym(peer, "peer_name"), them,
		       them / one, 0.95);
	fma = products * (c->metric == SIMD_COS ? 2.25 : 1) / limits->fma_floats;
	load = 1.25 * (double)c->bytes / limits->load_bytes;
	limit = fma > load ? fma : load;
	snprintf(name, sizeof(name), "many %s %s %zu", type_names[c->type], metric_names[c->metric],
		 c->dim);
	if (limits->load_bytes)
		report(name, all, spread_of(&many), "ns", "L1 limit", limit, limit / all,
		       c->type == SIMD_F32 ? 0.9 : 0);
	if (other)
		report(name, all, spread_of(&many), "ns", *(char **)dlsym(peer, "peer_name"), them,
		       them / all, 0.95);
}

static void stream_bench(int type, int metric, size_t dim, uint8_t *data, float *out)
{
	size_t bytes = simd_vector_bytes(type, dim), rows = stream_bytes / bytes;
	simd_pair_fn *other = peer_kernel(type, metric);
	struct figure ours, limit, ratio, theirs;
	char name[64];

	for (int i = 0; i < ROUNDS; i++) {
		limit.rounds[i] = read_bandwidth(data);
		double start = now_ns();
		simd_many(type, metric, data, data, bytes, NULL, rows, dim, out);
		ours.rounds[i] = (double)(rows * bytes) / (now_ns() - start);
		ratio.rounds[i] = ours.rounds[i] / limit.rounds[i];
		start = now_ns();
		for (size_t r = 0; other && r < rows; r++)
			out[r] = other(data, data + r * bytes, dim);
		theirs.rounds[i] = (double)(rows * bytes) / (now_ns() - start);
	}
	snprintf(name, sizeof(name), "stream %s %s %zu", type_names[type], metric_names[metric],
		 dim);
	report(name, median(&ours), spread_of(&ours), "GB/s", "read loop", median(&limit),
	       median(&ratio), 0.9);
	if (other)
		report(name, median(&ours), spread_of(&ours), "GB/s",
		       *(char **)dlsym(peer, "peer_name"), median(&theirs),
		       median(&ours) / median(&theirs), 0.95);
}

/* Many to many: 32 x 32 vectors that stay in the caches; the limit is the multiply-adds. */
static void block_bench(int type, int metric, size_t dim, const uint8_t *data, float *out,
			const struct limits *limits)
{
	size_t bytes = simd_vector_bytes(type, dim);
	struct figure f;
	char name[64];

	for (int i = 0; i < ROUNDS; i++) {
		double start = now_ns();
		for (int t = 0; t < 20; t++)
			simd_block(type, metric, data, bytes, 32, data + 32 * bytes, bytes, 32, dim,
				   out, 32);
		f.rounds[i] = 20 * 32.0 * 32 * (double)dim / (now_ns() - start);
	}
	snprintf(name, sizeof(name), "block %s %s %zu", type_names[type], metric_names[metric],
		 dim);
	report(name, median(&f), spread_of(&f), "Gmul", "FMA limit", limits->fma_floats,
	       median(&f) / limits->fma_floats,
	       type == SIMD_F32 && metric == SIMD_DOT && limits->fma_floats ? 0.9 : 0);
}

/* Rows named by random ids all over memory, against the same rows one call at a time. */
static void gather_bench(int type, size_t dim, const uint8_t *data, float *out)
{
	enum { IDS = 64, CALLS = 2000 };
	size_t bytes = simd_vector_bytes(type, dim), rows = stream_bytes / bytes;
	struct figure ours, single;
	uint32_t ids[IDS], state = 1;
	char name[64];

	for (int i = 0; i < ROUNDS; i++) {
		double times[2];
		for (int way = 0; way < 2; way++) {
			double start = now_ns();
			for (int c = 0; c < CALLS; c++) {
				for (int k = 0; k < IDS; k++)
					ids[k] = (uint32_t)((state = state * 1664525 + 1013904223) *
								    (uint64_t)rows >>
							    32);
				if (way)
					simd_many(type, SIMD_L2, data, data, bytes, ids, IDS, dim,
						  out);
				else
					for (int k = 0; k < IDS; k++)
						out[k] = simd_pair(type, SIMD_L2, data,
								   data + ids[k] * bytes, dim);
			}
			times[way] = (now_ns() - start) / (IDS * CALLS);
		}
		single.rounds[i] = times[0];
		ours.rounds[i] = times[1];
	}
	snprintf(name, sizeof(name), "gather %s l2 %zu", type_names[type], dim);
	report(name, median(&ours), spread_of(&ours), "ns", "one by one", median(&single),
	       median(&single) / median(&ours), 1);
}

/* Times `call` and reports the best level against the scalar one. */
#define BATCH_BENCH(name, unit, amount, call)                                                      \
	do {                                                                                       \
		const struct simd_kernels *k;                                                      \
		struct figure figures[2];                                                          \
		for (int i = 0; i < 2 * ROUNDS; i++) {                                             \
			k = i % 2 ? simd_active : simd_level_get(SIMD_SCALAR);                     \
			double start = now_ns();                                                   \
			for (int t = 0; t < 20; t++)                                               \
				call;                                                              \
			figures[i % 2].rounds[i / 2] = 20.0 * (amount) / (now_ns() - start);       \
		}                                                                                  \
		report(name, median(&figures[1]), spread_of(&figures[1]), unit, "scalar",          \
		       median(&figures[0]), median(&figures[1]) / median(&figures[0]), 1);         \
	} while (0)

static void batch_bench(const uint8_t *data, float *out)
{
	enum { N = 16384, CODES = 64 };
	static uint64_t bits[N / 64];
	float low, high;

	BATCH_BENCH("filter f32", "G/s", N,
		    sink = (float)k->filter_f32((const float *)data, N, SIMD_LT, 0.01f, bits));
	BATCH_BENCH("filter i64", "G/s", N,
		    sink = (float)k->filter_i64((const int64_t *)data, N, SIMD_LT, 5, bits));
	BATCH_BENCH("minmax f32", "G/s", N, k->minmax_f32((const float *)data, N, &low, &high));
	BATCH_BENCH("sum f32", "G/s", N, sink = (float)k->sum_f32((const float *)data, N));
	BATCH_BENCH("bitmap and", "GB/s", N * 8,
		    sink = (float)k->bitmap_and((const uint64_t *)data, (const uint64_t *)out,
						(uint64_t *)out, N));
	BATCH_BENCH("f32 to f16", "G/s", N, k->f32_to_f16((const float *)data, (uint16_t *)out, N));
	BATCH_BENCH("f16 to f32", "G/s", N, k->f16_to_f32((const uint16_t *)data, out, N));
	BATCH_BENCH("f32 to bf16", "G/s", N,
		    k->f32_to_bf16((const float *)data, (uint16_t *)out, N));
	BATCH_BENCH("pq4 scan, 32 codes of 32", "G/s", CODES * 32 * 32.0,
		    k->pq4_scan(data, CODES, 32, data, (uint16_t *)out));
	BATCH_BENCH("b1 x 4 planes, 768", "G/s", 256 * 768.0,
		    k->b1_planes(data, 4, data, 96, NULL, 256, 96, (uint32_t *)out));
}

static void crc_bench(const uint8_t *l1)
{
	static const char *const names[] = {"crc32c table", "crc32c streams", "crc32c fold"};

	for (int form = CRC32C_TABLE; form <= (int)crc32c_best(); form++) {
		for (size_t len = 256; len <= 16384; len *= 4) {
			size_t page = len == 1024 ? 4096 : len, times = 4000000 / page;
			struct figure f;
			char name[64];
			if (len == 4096)
				continue;
			for (int i = 0; i < ROUNDS; i++) {
				double start = now_ns();
				uint32_t crc = 0;
				for (size_t t = 0; t < times; t++)
					crc = crc32c_get(form)(crc, l1, page);
				f.rounds[i] = (double)(times * page) / (now_ns() - start);
				sink = (float)crc;
			}
			snprintf(name, sizeof(name), "%s %zu", names[form], page);
			report(name, median(&f), spread_of(&f), "GB/s", "-", 0, 0, 0);
		}
	}
}

int main(int argc, char **argv)
{
	static const size_t dims[] = {100, 128, 768, 1536};
	bool quick = false;

	for (int i = 1; i < argc; i++) {
		json |= !strcmp(argv[i], "--json");
		quick |= !strcmp(argv[i], "--quick");
	}
	uint8_t *data = aligned_alloc(4096, stream_bytes);
	float *out = malloc(stream_bytes / 13 * sizeof(float)); /* 100 bits are the least vector */
	static struct l1_case c;
	if (!data || !out)
		return fprintf(stderr, "bench_simd: needs 360 MiB of memory\n"), 1;
	for (size_t i = 0; i < stream_bytes / 4; i++) { /* 1.0 .. 1.5 as f32, f16 and bf16 */
		uint32_t word = 0x3c003f00u + ((uint32_t)(i * 2654435761u) >> 12 & 0x3f003f);
		memcpy(data + 4 * i, &word, 4);
	}
	peer_load();
	struct limits limits = limits_measure(data);
	fprintf(stderr, "level %s (%s), L1 loads %.0f GB/s, %.0f G multiply-adds/s\n",
		simd_active->name, simd_active->features, limits.load_bytes, limits.fma_floats);
	for (int type = 0; type < SIMD_TYPES; type++)
		for (int metric = 0; metric < SIMD_METRICS; metric++)
			for (size_t d = 0; d < sizeof(dims) / sizeof(*dims); d++) {
				size_t dim = type == SIMD_B1 && dims[d] == 100 ? 256 : dims[d];
				c.type = type;
				c.metric = metric;
				c.dim = dim;
				c.bytes = simd_vector_bytes(type, dim);
				c.rows = (L1_BYTES / c.bytes - 1) & ~(size_t)3;
				c.rows = c.rows ? c.rows : 3;
				c.query = data;
				c.base = data + c.bytes;
				l1_bench(&c, &limits);
			}
	for (int type = 0; type < SIMD_TYPES; type++)
		for (int metric = 0; metric < SIMD_METRICS; metric++)
			block_bench(type, metric, 768, data, out, &limits);
	batch_bench(data, out);
	crc_bench(data);
	for (int type = 0; type < SIMD_TYPES && !quick; type++) {
		gather_bench(type, 128, data, out);
		gather_bench(type, 768, data, out);
	}
	for (int type = 0; type < SIMD_TYPES && !quick; type++)
		for (size_t d = 0; d < sizeof(dims) / sizeof(*dims); d++)
			for (int metric = 0; metric < (type == SIMD_F32 ? 3 : 1); metric++)
				stream_bench(type, metric, dims[d], data, out);
	if (peer)
		dlclose(peer);
	free(data);
	free(out);
	return 0;
}
