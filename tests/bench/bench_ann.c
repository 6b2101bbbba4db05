/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   approximate search beside other libraries, on the same data in the same run: queries a
 *            second on one thread at a recall@10 of .90, .95 and .99, build time, bytes a vector.
 *
 *   bench_ann --base FILE.fvecs --queries FILE.fvecs [--cosine]
 *   bench_ann --generated ROWS DIM [--centres N]   mixture of Gaussians with anisotropic noise
 *   options: --threads N (to build), --runs N, --f16, --only NAME, --no-peers, --json, --curves
 *
 * Recall counts ties as found; the truth is computed in double. A library's figure at a recall is
 * its fastest setting that reaches it (median of the runs over all queries, in
 * processor time of the searching thread; the spread is
 * largest against smallest).
 */
#include "ann_peers.h"
#include "core/search/flat.h"
#include "core/search/index/index.h"
#include "core/search/parallel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { K = 10, CANDIDATES = 100, RUNS_MAX = 15 };

static const float wanted[3] = {.90f, .95f, .99f};

static struct {
	float *base, *queries;
	size_t count, query_count, dim;
	unsigned threads, runs, centres;
	int cosine, json, half, peers, curves;
	const char *only;
	double *bars; /* the 10th smallest distance of each query */
	struct vectors *v;
} bench = {.threads = 2, .runs = 3, .peers = 1, .centres = 10000};

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Processor time of this thread: what wall time would be on an idle machine. */
static double seconds_used(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what)
{
	fprintf(stderr, "bench_ann: %s\n", what);
	exit(2);
}

static float *fvecs_read(const char *path, size_t *count, size_t *dim)
{
	FILE *f = fopen(path, "rb");
	int32_t d = 0;

	if (!f || fread(&d, 4, 1, f) != 1 || d < 1 || d > VECTORS_DIM_MAX)
		fail(path);
	fseek(f, 0, SEEK_END);
	size_t n = (size_t)ftell(f) / (4 + 4 * (size_t)d);
	rewind(f);
	float *out = aligned_alloc(64, (n * (size_t)d * 4 + 63) & ~63ul);
	for (size_t i = 0; i < n; i++)
		if (fread(&d, 4, 1, f) != 1 ||
		    fread(out + i * (size_t)d, 4, (size_t)d, f) != (size_t)d)
			fail("short file");
	fclose(f);
	*count = n;
	*dim = (size_t)d;
	return out;
}

static uint64_t seed = 88172645463325252ull;

static double random_unit(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

static double random_normal(void)
{
	return sqrt(-2 * log(random_unit())) * cos(6.283185307179586 * random_unit());
}

/* Centres of variance 1; noise whose deviation falls over the dimensions, shuffled. */
static void generate(size_t rows, size_t dim)
{
	float *centres = malloc(bench.centres * dim * 4), *widths = malloc(dim * 4);
	size_t all = rows + 1000;

	for (size_t i = 0; i < bench.centres * dim; i++)
		centres[i] = (float)random_normal();
	for (size_t d = 0; d < dim; d++)
		widths[d] = (float)(0.9 * exp(-2.0 * (double)(d * 7919 % dim) / (double)dim) + 0.1);
	bench.base = aligned_alloc(64, (all * dim * 4 + 63) & ~63ul);
	for (size_t i = 0; i < all; i++) {
		const float *c = centres + (size_t)(random_unit() * bench.centres) * dim;
		for (size_t d = 0; d < dim; d++)
			bench.base[i * dim + d] = c[d] + widths[d] * (float)random_normal();
	}
	bench.queries = bench.base + rows * dim;
	bench.count = rows;
	bench.query_count = 1000;
	bench.dim = dim;
	free(centres);
	free(widths);
}

static void normalise(float *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		double sum = 0;
		for (size_t d = 0; d < bench.dim; d++)
			sum += (double)rows[i * bench.dim + d] * rows[i * bench.dim + d];
		for (size_t d = 0; sum > 0 && d < bench.dim; d++)
			rows[i * bench.dim + d] /= (float)sqrt(sum);
	}
}

static double distance_exact(size_t row, const float *query)
{
	double sum = 0;

	for (size_t d = 0; d < bench.dim; d++) {
		double off = (double)bench.base[row * bench.dim + d] - query[d];
		sum += off * off;
	}
	return sum;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The nearest in float, many more than needed, then in double. */
static void truth_body(void *arg, uint64_t low, uint64_t high)
{
	struct vectors *exact = arg;

	for (uint64_t q = low; q < high; q++) {
		const float *query = bench.queries + q * bench.dim;
		struct search_hit hits[CANDIDATES];
		double distances[CANDIDATES];
		unsigned count;
		if (flat_search(exact, query, NULL, CANDIDATES, hits, &count, NULL))
			fail("exact search");
		for (unsigned i = 0; i < count; i++)
			distances[i] = distance_exact(hits[i].row, query);
		qsort(distances, count, sizeof(*distances), compare_doubles);
		bench.bars[q] = distances[K - 1];
	}
}

static struct vectors *collection(enum vectors_type type)
{
	struct vectors_config config = {.dim = (uint32_t)bench.dim,
					.metric = bench.cosine ? VECTORS_COSINE : VECTORS_L2,
					.type = type};
	struct vectors *v;

	if (vectors_new(&config, &v))
		fail("collection");
	for (size_t i = 0; i < bench.count; i++)
		if (vectors_put(v, i, 0, 0, bench.base + i * bench.dim, NULL))
			fail("put");
	return v;
}

struct result {
	char name[64];
	double qps[3], spread[3], build_s, bytes;
};
static struct result results[16];
static unsigned results_count;

static double recall_of(const uint32_t *ids)
{
	uint64_t found = 0;

	for (size_t q = 0; q < bench.query_count; q++)
		for (unsigned i = 0; i < K; i++) {
			uint32_t row = ids[q * K + i];
			if (row < bench.count &&
			    distance_exact(row, bench.queries + q * bench.dim) <=
				    bench.bars[q] * (1 + 1e-7) + 1e-12)
				found++;
		}
	return (double)found / (double)(bench.query_count * K);
}

/* One setting: recall, then queries a second. `search` fills ids of one query. */
typedef void search_one(void *index, const float *query, unsigned effort, unsigned rerank,
			uint32_t *ids);

static double setting_run(struct result *r, search_one *search, void *index, unsigned effort,
			  unsigned rerank)
{
	uint32_t *ids = malloc(bench.query_count * K * sizeof(*ids));
	double qps[RUNS_MAX];

	for (unsigned run = 0; run < bench.runs; run++) {
		double start = seconds_used();
		for (size_t q = 0; q < bench.query_count; q++)
			search(index, bench.queries + q * bench.dim, effort, rerank, ids + q * K);
		qps[run] = (double)bench.query_count / (seconds_used() - start);
	}
	double recall = recall_of(ids);
	free(ids);
	qsort(qps, bench.runs, sizeof(*qps), compare_doubles);
	double median = qps[bench.runs / 2];
	for (unsigned i = 0; i < 3; i++)
		if (recall >= wanted[i] && median > r->qps[i]) {
			r->qps[i] = median;
			r->spread[i] = qps[bench.runs - 1] / qps[0];
		}
	if (bench.curves)
		printf("  %-24s effort %5u rerank %5u recall %.4f qps %.0f\n", r->name, effort,
		       rerank, recall, median);
	return recall;
}

static void peer_search(void *index, const float *query, unsigned effort, unsigned rerank,
			uint32_t *ids);
static const struct ann_peer *peer_now;

static void peer_search(void *index, const float *query, unsigned effort, unsigned rerank,
			uint32_t *ids)
{
	peer_now->search(index, query, K, effort, rerank, ids);
}

static void peer_run(const struct ann_peer *peer)
{
	struct result *r = &results[results_count];

	snprintf(r->name, sizeof(r->name), "%s", peer->name);
	double start = seconds_now();
	void *index = peer->build(bench.base, bench.count, bench.dim, bench.threads);
	if (!index)
		return;
	r->build_s = seconds_now() - start;
	r->bytes = (double)peer->bytes(index) / (double)bench.count;
	peer_now = peer;
	for (const unsigned *rerank = peer->reranks; *rerank; rerank++)
		for (const unsigned *effort = peer->efforts; *effort; effort++)
			if (setting_run(r, peer_search, index, *effort, *rerank) > .995)
				break;
	peer->release(index);
	results_count++;
}

static void ours_search(void *index, const float *query, unsigned effort, unsigned rerank,
			uint32_t *ids)
{
	struct index_query q = {.vector = query, .limit = K, .cells = effort, .rerank = rerank};
	struct search_hit hits[K];
	unsigned count;

	if (effort == 0) { /* its own setting for that recall */
		q.recall = (float)rerank / 1000;
		q.rerank = 0;
	}
	if (index_search(index, bench.v, &q, hits, &count, NULL))
		fail("search");
	for (unsigned i = 0; i < K; i++)
		ids[i] = i < count ? hits[i].row : UINT32_MAX;
}

static void ours_run(void)
{
	static const unsigned efforts[] = {1,  2,  3,   4,   6,   8,   12,  16,  24,   32,  48,
					   64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536};
	static const unsigned reranks[] = {20, 40, 80, 160, 320, 640};
	struct result *r = &results[results_count++], *self = &results[results_count++];
	struct index_options options = {.kind = INDEX_PARTITIONS, .threads = bench.threads};
	struct index_stats stats;
	struct vectors_stats vstats;
	struct index *ix;

	snprintf(r->name, sizeof(r->name), "ours, partitions");
	snprintf(self->name, sizeof(self->name), "ours, settings of its own");
	bench.v = collection(bench.half ? VECTORS_F16 : VECTORS_F32);
	double start = seconds_now();
	if (index_build(bench.v, &options, &ix))
		fail("build");
	r->build_s = self->build_s = seconds_now() - start;
	index_get_stats(ix, &stats);
	vectors_get_stats(bench.v, &vstats);
	r->bytes = self->bytes = (double)(stats.bytes + vstats.bytes) / (double)bench.count;
	for (unsigned k = 0; k < sizeof(reranks) / sizeof(*reranks); k++)
		for (unsigned e = 0; e < sizeof(efforts) / sizeof(*efforts); e++)
			if (setting_run(r, ours_search, ix, efforts[e], reranks[k]) > .995)
				break;
	for (unsigned i = 0; i < INDEX_LEVELS; i++) {
		if (bench.curves)
			printf("  level %.2f: cells %u rerank %u measured %.3f\n",
			       stats.levels[i].wanted, stats.levels[i].cells,
			       stats.levels[i].rerank, stats.levels[i].measured);
		setting_run(self, ours_search, ix, 0,
			    (unsigned)(stats.levels[i].wanted * 1000 + .5f));
	}
	index_free(ix);
	vectors_free(bench.v);
}

static double best_peer(unsigned level)
{
	double best = 0;

	for (unsigned i = 0; i < results_count; i++)
		if (strncmp(results[i].name, "ours", 4) && results[i].qps[level] > best)
			best = results[i].qps[level];
	return best;
}

static void print_results(void)
{
	printf("%zu x %zu, %s, %zu queries, one thread; build with %u threads\n", bench.count,
	       bench.dim, bench.cosine ? "cosine" : "L2", bench.query_count, bench.threads);
	printf("%-26s %9s %9s %9s %8s %8s %22s\n", "queries/s at recall@10", ".90", ".95", ".99",
	       "build s", "B/vector", "against the best peer");
	for (unsigned i = 0; i < results_count; i++) {
		const struct result *r = &results[i];
		printf("%-26s %9.0f %9.0f %9.0f %8.1f %8.0f", r->name, r->qps[0], r->qps[1],
		       r->qps[2], r->build_s, r->bytes);
		for (unsigned k = 0; k < 3; k++)
			if (!strncmp(r->name, "ours", 4) && best_peer(k) > 0)
				printf("  %.2f", r->qps[k] / best_peer(k));
		printf("\n");
	}
}

static void print_json(void)
{
	printf("{\"rows\":%zu,\"dim\":%zu,\"metric\":\"%s\",\"results\":[", bench.count, bench.dim,
	       bench.cosine ? "cosine" : "l2");
	for (unsigned i = 0; i < results_count; i++) {
		const struct result *r = &results[i];
		printf("%s{\"name\":\"%s\",\"build_s\":%.2f,\"bytes_per_vector\":%.1f,\"levels\":[",
		       i ? "," : "", r->name, r->build_s, r->bytes);
		for (unsigned k = 0; k < 3; k++) {
			double peer = best_peer(k), ratio = peer > 0 ? r->qps[k] / peer : 0;
			printf("%s{\"recall\":%.2f,\"qps\":%.0f,\"spread\":%.2f,\"ratio\":%.2f,"
			       "\"verdict\":\"%s\"}",
			       k ? "," : "", wanted[k], r->qps[k], r->spread[k], ratio,
			       peer <= 0      ? "no peer"
			       : ratio >= 1.3 ? "ok"
					      : "short");
		}
		printf("]}");
	}
	printf("]}\n");
}

static void arguments(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--base") && i + 1 < argc)
			bench.base = fvecs_read(argv[++i], &bench.count, &bench.dim);
		else if (!strcmp(argv[i], "--queries") && i + 1 < argc)
			bench.queries = fvecs_read(argv[++i], &bench.query_count, &bench.dim);
		else if (!strcmp(argv[i], "--centres") && i + 1 < argc)
			bench.centres = (unsigned)atoi(argv[++i]);
		else if (!strcmp(argv[i], "--generated") && i + 2 < argc) {
			generate((size_t)atol(argv[i + 1]), (size_t)atol(argv[i + 2]));
			i += 2;
		} else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
			bench.threads = (unsigned)atoi(argv[++i]);
		else if (!strcmp(argv[i], "--runs") && i + 1 < argc)
			bench.runs = (unsigned)atoi(argv[++i]);
		else if (!strcmp(argv[i], "--only") && i + 1 < argc)
			bench.only = argv[++i];
		else if (!strcmp(argv[i], "--cosine"))
			bench.cosine = 1;
		else if (!strcmp(argv[i], "--f16"))
			bench.half = 1;
		else if (!strcmp(argv[i], "--no-peers"))
			bench.peers = 0;
		else if (!strcmp(argv[i], "--curves"))
			bench.curves = 1;
		else if (!strcmp(argv[i], "--json"))
			bench.json = 1;
		else
			fail("unknown argument; see the head of bench_ann.c");
	}
	if (!bench.base || !bench.queries || bench.count < CANDIDATES)
		fail("give --base and --queries, or --generated ROWS DIM");
	if (bench.runs < 1 || bench.runs > RUNS_MAX)
		fail("--runs is 1 to 15");
}

int main(int argc, char **argv)
{
	arguments(argc, argv);
	if (bench.cosine) {
		normalise(bench.base, bench.count);
		normalise(bench.queries, bench.query_count);
	}
	bench.bars = malloc(bench.query_count * sizeof(*bench.bars));
	struct vectors *exact = collection(VECTORS_F32);
	parallel_run(bench.query_count, 16, bench.threads, truth_body, exact);
	vectors_free(exact);
	if (!bench.only || !strcmp(bench.only, "ours"))
		ours_run();
	for (const struct ann_peer *p = ann_peers; bench.peers && p->name; p++)
		if (!bench.only || !strcmp(bench.only, p->name))
			peer_run(p);
	if (bench.json)
		print_json();
	else
		print_results();
	return 0;
}
