/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   spreading activation: how long it takes over graphs of 1,000 and of 1,000,000 nodes,
 *            beside the same walk over plain arrays and with igraph in the same run; what two
 *            threads bring, what records and memory cost, how well times are predicted, how long
 *            a merge takes.
 * Invariants: the subjects take turns on the same seeds, and must activate the same number of nodes.
 *            "work" is the thread's time on a core, so that what else the machine does counts as little
 *            as can be; "clock" is the clock's. Ours is held against plain arrays with an empty list of
 *            results, for those list nothing.
 *            Links as the reference has them: five a node, weights uniform 0.3 to 1, either ends
 *            drawn uniformly, or by a power law (rank^-0.8, both ends: hubs have 60,000 links).
 *            With --instructions the prediction alone, of instructions instead of time, which no
 *            other work on the machine disturbs: `valgrind --tool=callgrind --instr-atstart=no
 *            --collect-atstart=no --callgrind-out-file=$MNEME_BENCH_DIR/calls bench_activation
 *            --instructions`, with graphs of 100,000 nodes.
 * Usage:     bench_activation [--json] [--quick] [--instructions]
 */
#include "core/bridge/bridge.h"
#include "core/memory/spread.h"
#include "pool/records.h"
#include "tests/bench/activation_peers.h"
#include "tests/bench/table.h"

#include <errno.h>
#include <math.h>
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_TOGGLE_COLLECT
#define CALLGRIND_DUMP_STATS
#endif

enum { SMALL_NODES = 1000, LARGE_NODES = 1000000, LINKS_A_NODE = 5, HITS = 100, ROUNDS = 7 };

static struct table table;
static int quick, instructions;
static uint32_t large_nodes = LARGE_NODES;
static struct spread_hit hits[HITS];

struct subject {
	const char *name;
	struct plain_links plain;
	struct graph *graph;
};

static void must(int error, const char *what)
{
	if (error) {
		fprintf(stderr, "bench_activation: %s: %s\n", what, strerror(-error));
		exit(1);
	}
}

static void *room(size_t count, size_t size)
{
	void *mem = calloc(count, size);

	must(mem ? 0 : -ENOMEM, "memory");
	return mem;
}

static uint64_t random_state = 88172645463325252u;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static double random_unit(void)
{
	return (double)(random_next() >> 11) / (double)(1ull << 53);
}

static uint32_t draw(uint32_t nodes, int power_law, const uint32_t *shuffled)
{
	/* density of rank^-0.8: the inverse of its sum is u^5 */
	return power_law ? shuffled[(uint32_t)(nodes * pow(random_unit(), 5))]
			 : (uint32_t)(random_next() % nodes);
}

static int compare_links(const void *a, const void *b)
{
	const struct graph_change *x = a, *y = b;

	if (x->link.from != y->link.from)
		return x->link.from < y->link.from ? -1 : 1;
	if (x->link.weight != y->link.weight)
		return x->link.weight > y->link.weight ? -1 : 1;
	return (x->link.to > y->link.to) - (x->link.to < y->link.to);
}

/* The same links in plain arrays; doubles were left out by the caller. */
static void plain_make(struct plain_links *plain, const struct graph_change *links, size_t n,
		       uint32_t nodes)
{
	plain->nodes = nodes;
	plain->links = (uint32_t)n;
	plain->begin = room(nodes + 1, sizeof(*plain->begin));
	plain->to = room(n, sizeof(*plain->to));
	plain->weight = room(n, sizeof(*plain->weight));
	plain->type = room(n, sizeof(*plain->type));
	for (size_t i = 0; i < n; i++) {
		plain->begin[links[i].link.from + 1]++;
		plain->to[i] = (uint32_t)links[i].link.to;
		plain->weight[i] = links[i].link.weight;
	}
	for (uint32_t k = 0; k < nodes; k++)
		plain->begin[k + 1] += plain->begin[k];
}

static int compare_ends(const void *a, const void *b)
{
	const struct graph_link *x = &((const struct graph_change *)a)->link;
	const struct graph_link *y = &((const struct graph_change *)b)->link;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return (x->to > y->to) - (x->to < y->to);
}

static void subject_make(struct subject *subject, const char *name, uint32_t nodes, int power_law)
{
	size_t n = (size_t)nodes * LINKS_A_NODE, kept = 0;
	struct graph_change *links = room(n, sizeof(*links));
	uint32_t *shuffled = room(nodes, sizeof(*shuffled));

	subject->name = name;
	for (uint32_t i = 0; i < nodes; i++) {
		uint32_t other = (uint32_t)(random_next() % (i + 1));
		shuffled[i] = shuffled[other];
		shuffled[other] = i;
	}
	for (size_t i = 0; i < n; i++) {
		links[i].link.from = draw(nodes, power_law, shuffled);
		links[i].link.to = draw(nodes, power_law, shuffled);
		links[i].link.weight = (uint16_t)(GRAPH_WEIGHT_ONE * (0.3 + 0.7 * random_unit()));
	}
	qsort(links, n, sizeof(*links), compare_ends);
	for (size_t i = 0; i < n; i++)
		if (links[i].link.from != links[i].link.to &&
		    (!kept || compare_ends(&links[kept - 1], &links[i])))
			links[kept++] = links[i];
	double begin = table_now_ns();
	must(graph_build(links, kept, &subject->graph), "graph_build");
	if (nodes == LARGE_NODES) {
		char row[56];
		snprintf(row, sizeof(row), "%s: build from all links", name);
		table_add(&table, row, "ms", (table_now_ns() - begin) / 1e6);
	}
	qsort(links, kept, sizeof(*links), compare_links);
	plain_make(&subject->plain, links, kept, nodes);
	free(links);
	free(shuffled);
}

static void subject_free(struct subject *subject)
{
	graph_put(subject->graph);
	free(subject->plain.begin);
	free(subject->plain.to);
	free(subject->plain.weight);
	free(subject->plain.type);
}

static struct walk_state state_new(uint32_t nodes)
{
	return (struct walk_state){room(nodes, 4), room(nodes, 4), room(nodes, 4),
				   room(nodes, 1), room(nodes, 4), room(nodes, 4)};
}

static void state_free(struct walk_state *state)
{
	free(state->activation);
	free(state->best);
	free(state->origin);
	free(state->hops);
	free(state->reached);
	free(state->active);
}

static int compare_doubles(const void *a, const void *b)
{
	return table_compare(a, b);
}

static double quantile(double *values, unsigned n, double q)
{
	qsort(values, n, sizeof(*values), compare_doubles);
	return values[(unsigned)(q * (n - 1) + 0.5)];
}

static double work_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static struct spread_report spread(struct spreader *spreader, const struct graph *graph,
				   uint64_t seed, const struct spread_params *params)
{
	struct spread_report report;

	must(spread_run(spreader, graph, &(struct spread_seed){seed, 1}, 1, params, hits, &report),
	     "spread_run");
	return report;
}

static void add(const struct subject *subject, const char *what, const char *unit, double value)
{
	char row[56];

	snprintf(row, sizeof(row), "%s: %s", subject->name, what);
	table_add(&table, row, unit, value);
}

static void hold(const struct subject *subject, const char *what, const char *peer, double limit)
{
	char row[56];

	snprintf(row, sizeof(row), "%s: %s", subject->name, what);
	table_hold(&table, row, peer, limit, 1);
}

/* Ours, the plain arrays and igraph in turns over the same seeds. */
static void bench_latency(struct subject *subject, struct spreader *spreader, double target_ms,
			  int with_igraph)
{
	enum { RUNS = 100 };
	struct spread_params params = spread_defaults();
	const struct walk walk = {GRAPH_WEIGHT_ONE - (uint32_t)lrint(0.3f * GRAPH_WEIGHT_ONE),
				  (uint32_t)lrint((double)params.threshold * SPREAD_ONE),
				  params.hops_max, params.fan_out};
	struct walk_state state = state_new(subject->plain.nodes);
	struct igraph_peer *igraph = with_igraph ? activation_igraph_new(&subject->plain) : NULL;
	double ours[RUNS], by_clock[RUNS], plain[RUNS], peer[RUNS];
	int rounds = quick ? 3 : ROUNDS;

	for (int round = -1; round < rounds; round++) {
		double links = 0, bound = 0, mean_ours = 0, mean_plain = 0;
		bench_progress("%s: round %d", subject->name, round + 1);
		for (int i = 0; i < RUNS; i++) {
			uint32_t seed = (uint32_t)(random_next() % subject->plain.nodes);
			double begin = work_now_ns();
			if (igraph)
				activation_igraph(igraph, &state, &walk, seed);
			peer[i] = (work_now_ns() - begin) / 1e6;
			begin = work_now_ns();
			uint32_t active = activation_plain(&subject->plain, &state, &walk, seed);
			plain[i] = (work_now_ns() - begin) / 1e6;
			params.limit = 0;
			struct spread_report report =
				spread(spreader, subject->graph, seed, &params);
			if (!(report.flags & SPREAD_BUDGET)) {
				mean_ours += (double)report.work_ns / 1e6;
				mean_plain += plain[i];
				if (active != report.active)
					must(-EUCLEAN, "another number of active nodes");
			}
			/* with results, and after another walk: nothing of this one is in the cache */
			activation_plain(&subject->plain, &state, &walk,
					 (uint32_t)(random_next() % subject->plain.nodes));
			params.limit = HITS;
			report = spread(spreader, subject->graph, seed, &params);
			ours[i] = (double)report.work_ns / 1e6;
			by_clock[i] = (double)report.spent_ns / 1e6;
			links += (double)report.links;
			bound += (report.flags & SPREAD_BUDGET) != 0;
		}
		if (round < 0)
			continue; /* warm */
		add(subject, "links a spread, mean", "", links / RUNS);
		add(subject, "spreads that the budget bounds", "%", bound * 100 / RUNS);
		if (mean_plain > 0)
			add(subject, "ours to plain layout, work", "x", mean_ours / mean_plain);
		add(subject, "spread, work, p50", "ms", quantile(ours, RUNS, 0.5));
		add(subject, "spread, work, p95", "ms", quantile(ours, RUNS, 0.95));
		add(subject, "spread, clock, p95", "ms", quantile(by_clock, RUNS, 0.95));
		add(subject, "plain layout, work, p95", "ms", quantile(plain, RUNS, 0.95));
		if (igraph)
			add(subject, "igraph, work, p95", "ms", quantile(peer, RUNS, 0.95));
	}
	hold(subject, "spread, work, p95", "target", target_ms);
	hold(subject, "spread, clock, p95", "target", target_ms);
	hold(subject, "ours to plain layout, work", "target", 0.8);
	if (igraph)
		activation_igraph_free(igraph);
	state_free(&state);
}

static void bench_threads(const struct subject *subject)
{
	struct spreader *one, *two;
	struct spread_params params = spread_defaults();
	struct spreader_config config = {.threads = 1, .concurrent = 1, .nodes_max = LARGE_NODES};
	int rounds = quick ? 5 : 15;
	uint64_t best[2] = {0, 0};

	params.fan_out = 0;
	params.decay = 0.1f;
	params.threshold = 0.0002f;
	params.hops_max = 12;
	params.nodes_max = LARGE_NODES;
	must(spreader_new(&config, &one), "spreader_new");
	config.threads = 2;
	must(spreader_new(&config, &two), "spreader_new");
	for (int round = -1; round < rounds; round++) {
		uint64_t seed = random_next() % LARGE_NODES;
		bench_progress("threads: round %d", round + 1);
		struct spread_report a = spread(one, subject->graph, seed, &params);
		struct spread_report b = spread(two, subject->graph, seed, &params);
		if (a.active != b.active)
			must(-EUCLEAN, "two threads differ");
		if (round < 0 || a.links < 1000000)
			continue;
		add(subject, "large spread, 1 thread", "ms", (double)a.spent_ns / 1e6);
		add(subject, "large spread, 2 threads", "ms", (double)b.spent_ns / 1e6);
		add(subject, "large spread, ns a link, 1 thread", "ns",
		    (double)a.spent_ns / (double)a.links);
		best[0] = best[0] && best[0] < a.spent_ns ? best[0] : a.spent_ns;
		best[1] = best[1] && best[1] < b.spent_ns ? best[1] : b.spent_ns;
	}
	add(subject, "speed of 2 threads, best runs", "x",
	    best[1] ? (double)best[0] / (double)best[1] : 0);
	char row[56];
	snprintf(row, sizeof(row), "%s: speed of 2 threads, best runs", subject->name);
	table_hold(&table, row, "target", 1.8, 0);
	spreader_free(one);
	spreader_free(two);
}

static double resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages = 0;

	if (file && fscanf(file, "%*d %ld", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* What runs touch, and places for near links that stay empty, in parts of the snapshot. */
static void bench_memory(const struct subject *subject)
{
	struct spreader *spreader;
	struct spread_params params = spread_defaults();
	uint64_t empty = 0;

	double before = resident_bytes();
	must(spreader_new(&(struct spreader_config){.threads = 1}, &spreader), "spreader_new");
	for (int i = 0; i < 100; i++)
		spread(spreader, subject->graph, random_next() % LARGE_NODES, &params);
	double touched = resident_bytes() - before;
	for (uint32_t n = 0; n < subject->graph->count; n++)
		if (subject->graph->nodes[n].out_count < GRAPH_NEAR)
			empty += GRAPH_NEAR - subject->graph->nodes[n].out_count;
	add(subject, "snapshot", "MiB", (double)subject->graph->bytes / 1048576);
	add(subject, "memory beyond it, of the snapshot", "%",
	    (touched + (double)empty * sizeof(struct graph_edge)) * 100 /
		    (double)subject->graph->bytes);
	hold(subject, "memory beyond it, of the snapshot", "target", 10);
	spreader_free(spreader);
}

static void bench_records(void)
{
	enum { PAIRS = 400000 };
	struct records *pool;

	must(records_new(32, 65536, &pool), "records_new");
	for (int round = 0; round < ROUNDS; round++) {
		double begin = table_now_ns();
		for (int i = 0; i < PAIRS; i++) {
			void *record = records_acquire(pool);
			*(volatile uint64_t *)record = 1;
			records_release(pool, record);
		}
		table_add(&table, "record, acquire and release", "ns",
			  (table_now_ns() - begin) / PAIRS);
	}
	table_hold(&table, "record, acquire and release", "target", 10, 1);
	records_free(pool);
}

static void bench_merge(const struct subject *subject)
{
	enum { CHANGES = 1000 };
	struct graph_change changes[CHANGES] = {0};

	for (int round = 0; round < (quick ? 2 : 5); round++) {
		struct graph *next;
		for (int i = 0; i < CHANGES; i++)
			changes[i].link = (struct graph_link){random_next() % LARGE_NODES,
							      random_next() % LARGE_NODES,
							      GRAPH_WEIGHT_ONE, GRAPH_WIKI};
		double begin = table_now_ns();
		must(graph_merge(subject->graph, changes, CHANGES, &next), "graph_merge");
		add(subject, "merge of 1,000 changes", "ms", (table_now_ns() - begin) / 1e6);
		graph_put(next);
	}
}

/* A run of the mix, which is made twice, at times that have nothing to do with each other. */
struct mixed {
	const struct subject *subject;
	struct spread_params params;
	uint64_t seed;
	double work_ns; /* of the first time; 0: not made yet */
};

/* All graphs, 2 to 6 hops, fan-outs of 4 to 64, thresholds, seeds. */
static struct mixed mixed_draw(const struct subject *subjects, unsigned count)
{
	struct mixed one = {.subject = &subjects[random_next() % count],
			    .params = spread_defaults()};

	one.params.hops_max = (uint32_t)(2 + random_next() % 5);
	one.params.fan_out = 4u << random_next() % 5;
	one.params.threshold = random_next() % 2 ? 0.01f : 0.03f;
	one.seed = random_next() % one.subject->plain.nodes;
	return one;
}

static double off(double guess, double real)
{
	return fabs(guess - real) / real;
}

struct misses {
	int counted, tiny, good, links_good, again, again_good;
	double error;
};

static void mixed_count(struct misses *m, struct mixed *one, const struct spread_report *report)
{
	double work = (double)report->work_ns;

	if (!report->predicted_ns) {
		m->tiny++;
		return;
	}
	m->counted++;
	m->good += off((double)report->predicted_ns, work) <= 0.2;
	m->links_good += off((double)report->predicted_links, (double)report->links) <= 0.2;
	m->error += off((double)report->predicted_ns, work);
	if (one->work_ns > 0) {
		m->again++;
		m->again_good += off(one->work_ns, work) <= 0.2;
	}
	one->work_ns = work;
}

/* Instructions so far. Callgrind tells them in a file alone, those since the last one. */
static uint64_t instructions_now(void)
{
	static uint64_t all;
	static unsigned files;
	char path[4096], line[256];
	unsigned long long some = 0;

	CALLGRIND_DUMP_STATS;
	CALLGRIND_TOGGLE_COLLECT;
	snprintf(path, sizeof(path), "%s/calls.%u", bench_directory(), ++files);
	FILE *file = fopen(path, "r");
	if (!file)
		must(-errno, path);
	while (fgets(line, sizeof(line), file) && sscanf(line, "totals: %llu", &some) != 1 &&
	       sscanf(line, "summary: %llu", &some) != 1)
		;
	fclose(file);
	unlink(path);
	all += some;
	CALLGRIND_TOGGLE_COLLECT;
	return all;
}

/* The floor of the prediction's error is what the machine makes of the same run at another time. */
static void bench_prediction(const struct subject *subjects, unsigned count)
{
	struct spreader *spreader;
	struct spreader_stats stats;
	int runs = instructions ? 2000 : quick ? 3000 : 10000;
	const struct spreader_config config = {.threads = 1,
					       .work_now = instructions ? instructions_now : NULL};
	struct mixed *mix = room((size_t)runs / 2, sizeof(*mix));
	uint32_t *order = room((size_t)runs, sizeof(*order));
	struct misses m = {0};

	must(spreader_new(&config, &spreader), "spreader_new");
	for (int i = 0; i < runs; i++) {
		int other = (int)(random_next() % (unsigned)(i + 1));
		order[i] = order[other];
		order[other] = (uint32_t)i / 2;
		mix[i / 2] = mixed_draw(subjects, count);
	}
	if (instructions) {
		CALLGRIND_START_INSTRUMENTATION;
		CALLGRIND_TOGGLE_COLLECT;
	}
	for (int i = -1000; i < runs; i++) {
		struct mixed warm = mixed_draw(subjects, count);
		struct mixed *one = i < 0 ? &warm : &mix[order[i]];
		struct spread_report report =
			spread(spreader, one->subject->graph, one->seed, &one->params);
		if (i >= 0)
			mixed_count(&m, one, &report);
	}
	spreader_read_stats(spreader, &stats);
	table_add(&table, "prediction: work within 20 %", "%", m.good * 100.0 / m.counted);
	table_hold(&table, "prediction: work within 20 %", "target", 95, 0);
	table_add(&table, "the same run again: work within 20 %", "%",
		  m.again_good * 100.0 / m.again);
	table_add(&table, "prediction: links within 20 %", "%", m.links_good * 100.0 / m.counted);
	table_hold(&table, "prediction: links within 20 %", "target", 95, 0);
	table_add(&table, "prediction: mean error", "%", m.error * 100 / m.counted);
	table_add(&table, "prediction: runs over before it, of all", "%", m.tiny * 100.0 / runs);
	for (int with = 0; with < 2; with++)
		table_add(&table, with ? "a link, with prefetching" : "a link, without prefetching",
			  instructions ? "" : "ns",
			  (double)stats.sampled_ns[with] / (double)stats.sampled_links[with]);
	spreader_free(spreader);
	free(order);
	free(mix);
}

int main(int argc, char **argv)
{
	struct subject subjects[3];
	struct spreader *spreader;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--json"))
			table.json = 1;
		else if (!strcmp(argv[i], "--quick"))
			quick = 1;
		else if (!strcmp(argv[i], "--instructions"))
			instructions = 1;
		else
			must(-EINVAL, argv[i]);
	if (instructions)
		large_nodes = LARGE_NODES / 10;
	bench_progress("making the graphs");
	subject_make(&subjects[0], "1k/5k", SMALL_NODES, 0);
	subject_make(&subjects[1], "1M/5M", large_nodes, 0);
	subject_make(&subjects[2], "1M/5M power law", large_nodes, 1);
	if (instructions) {
		bench_prediction(subjects, 3);
		table_print(&table);
		return 0;
	}
	must(spreader_new(&(struct spreader_config){.threads = 1}, &spreader), "spreader_new");
	bench_memory(&subjects[1]);
	bench_latency(&subjects[0], spreader, 0.2, 1);
	bench_latency(&subjects[1], spreader, 10, 1);
	bench_latency(&subjects[2], spreader, 10, 0);
	spreader_free(spreader);
	bench_threads(&subjects[1]);
	bench_threads(&subjects[2]);
	bench_records();
	bench_merge(&subjects[1]);
	bench_prediction(subjects, 3);
	for (int i = 0; i < 3; i++)
		subject_free(&subjects[i]);
	table_print(&table);
	return 0;
}
