/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of spreading activation against an exact slow oracle; of its bounds, its deadline, its
 * threads, and of the predictor and the batch size on simulated times. */
#include "core/bridge/bridge.h"
#include "core/memory/spread_inside.h"
#include "pool/alloc.h"
#include "tests/unit/spread_oracle.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>

enum { HITS_MAX = 60000 };
static struct spread_hit hits[HITS_MAX], other_hits[HITS_MAX];

static struct spreader *spreader_of(unsigned threads, uint32_t concurrent, uint32_t records)
{
	const struct spreader_config config = {.threads = threads,
					       .concurrent = concurrent,
					       .nodes_max = 65536,
					       .records = records};
	struct spreader *spreader;

	ck_assert_int_eq(spreader_new(&config, &spreader), 0);
	return spreader;
}

static struct graph *graph_of(struct links *links, uint64_t seed, uint32_t nodes, size_t count)
{
	struct graph_change *changes = calloc(count, sizeof(*changes));
	struct graph *graph;

	for (size_t i = 0; i < count; i++) {
		changes[i] = links_random_change(&seed, nodes, 0);
		if (links)
			links_set(links, &changes[i].link);
	}
	ck_assert_int_eq(graph_build(changes, count, &graph), 0);
	free(changes);
	return graph;
}

static void check_path(const struct oracle *oracle, const struct oracle_node *node,
		       const struct spread_hit *hit)
{
	uint32_t at = hit->path_length;

	for (int origin = node->origin; origin >= 0; origin = oracle->node[origin].origin) {
		ck_assert_uint_gt(at, 0);
		ck_assert_uint_eq(hit->path[--at], oracle->node[origin].id);
	}
	ck_assert_uint_eq(at, 0);
}

static void check_order(const struct oracle_node *a, const struct oracle_node *b)
{
	ck_assert_uint_ge(a->activation, b->activation);
	if (a->activation > b->activation)
		return;
	ck_assert_int_le(a->hops, b->hops);
	if (a->hops < b->hops)
		return;
	ck_assert_uint_ge(a->best, b->best);
	if (a->best == b->best)
		ck_assert_uint_lt(a->id, b->id);
}

static void check_against_oracle(struct oracle *oracle, const struct spread_report *report)
{
	ck_assert_uint_eq(report->active, oracle->active);
	ck_assert_uint_eq(report->reached, oracle->reached);
	ck_assert_uint_eq(report->links, oracle->followed);
	ck_assert_uint_eq(report->hops, oracle->hops);
	ck_assert_uint_eq(report->flags, oracle->flags);
	ck_assert_uint_eq(report->count, oracle->active < oracle->params->limit
						 ? oracle->active
						 : oracle->params->limit);
	for (uint32_t i = 0; i < report->count; i++) {
		const struct spread_hit *hit = &hits[i];
		int n = oracle_find(oracle, hit->id, 0);
		ck_assert_int_ge(n, 0);
		ck_assert_uint_eq(hit->activation_exact, oracle->node[n].activation);
		ck_assert_int_eq((int)hit->hops, oracle->node[n].hops);
		check_path(oracle, &oracle->node[n], hit);
		if (i)
			check_order(&oracle->node[oracle_find(oracle, hit[-1].id, 0)],
				    &oracle->node[n]);
	}
	/* and those that are not listed are not stronger than the last that is */
	uint32_t stronger = 0;
	for (int n = 0; n < oracle->nodes; n++)
		stronger += report->count && oracle->node[n].hops > 0 &&
			    oracle->node[n].activation > hits[report->count - 1].activation_exact;
	ck_assert_uint_lt(stronger, report->count + 1);
}

static struct spread_params random_params(uint64_t *random)
{
	static const float thresholds[] = {0.0001f, 0.01f, 0.1f, 0.4f};
	struct spread_params params = spread_defaults();

	params.nodes_max = 65536;
	params.decay = (float)(links_random(random) % 10) / 10;
	params.threshold = thresholds[links_random(random) % 4];
	params.hops_max = 1 + links_random(random) % 7;
	params.fan_out = links_random(random) % 3 ? 1 + links_random(random) % 12 : 0;
	params.direction = 1 + links_random(random) % 3;
	params.limit = links_random(random) % 2 ? 1 + links_random(random) % 20 : 1000;
	if (links_random(random) % 3 == 0)
		params.types = 1 + links_random(random) % ((1u << GRAPH_TYPES) - 1);
	else if (links_random(random) % 2)
		params.nodes_max = 16 + links_random(random) % 120;
	return params;
}

START_TEST(test_spread_equals_the_oracle)
{
	struct spreader *spreader = spreader_of(1, 1, 0);
	uint64_t random = 99;
	unsigned budgets = 0, long_paths = 0;

	for (int g = 0; g < 12; g++) {
		uint32_t nodes = 10 + links_random(&random) % 150;
		struct links links = {0};
		struct graph *graph = graph_of(&links, random, nodes, nodes * 5);
		for (int i = 0; i < 40; i++) {
			struct spread_params params = random_params(&random);
			struct spread_seed seeds[4];
			struct spread_report report;
			struct oracle oracle;
			uint32_t n = 1 + links_random(&random) % 4;
			for (uint32_t s = 0; s < n; s++)
				seeds[s] = (struct spread_seed){
					links_id(links_random(&random) % nodes),
					(float)(1 + links_random(&random) % 100) / 100};
			ck_assert_int_eq(
				spread_run(spreader, graph, seeds, n, &params, hits, &report), 0);
			oracle_run(&oracle, &links, seeds, n, &params);
			check_against_oracle(&oracle, &report);
			budgets += (report.flags & SPREAD_BUDGET) != 0;
			for (uint32_t k = 0; k < report.count; k++)
				long_paths += hits[k].path_length > 2;
			oracle_end(&oracle);
		}
		graph_put(graph);
		free(links.link);
	}
	ck_assert_uint_gt(budgets, 10);
	ck_assert_uint_gt(long_paths, 100);
	spreader_free(spreader);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_spread_of_a_chain_by_hand)
{
	/* 1 -0.5-> 2 -1.0-> 3, decay 0.5: 0.25 at 2, 0.125 at 3 */
	const struct graph_change changes[] = {
		links_change(1, 2, GRAPH_WEIGHT_ONE / 2, GRAPH_WIKI),
		links_change(2, 3, GRAPH_WEIGHT_ONE, GRAPH_WIKI),
	};
	struct spreader *spreader = spreader_of(1, 1, 0);
	struct spread_params params = spread_defaults();
	struct spread_report report;
	struct graph *graph;

	params.decay = 0.5f;
	ck_assert_int_eq(graph_build(changes, 2, &graph), 0);
	ck_assert_int_eq(
		spread_run(spreader, graph, &(struct spread_seed){1, 1}, 1, &params, hits, &report),
		0);
	ck_assert_uint_eq(report.count, 2);
	ck_assert_uint_eq(hits[0].id, 2);
	ck_assert_uint_eq(hits[0].activation_exact, SPREAD_ONE / 4);
	ck_assert_uint_eq(hits[1].id, 3);
	ck_assert_float_eq(hits[1].activation, 0.125f);
	ck_assert_uint_eq(hits[1].hops, 2);
	ck_assert_uint_eq(hits[1].path_length, 2);
	ck_assert_uint_eq(hits[1].path[0], 1);
	ck_assert_uint_eq(hits[1].path[1], 2);
	/* a memory without links brings nothing to mind */
	ck_assert_int_eq(spread_run(spreader, graph, &(struct spread_seed){77, 1}, 1, &params, hits,
				    &report),
			 0);
	ck_assert_uint_eq(report.count, 0);
	graph_put(graph);
	spreader_free(spreader);
}
END_TEST

START_TEST(test_spread_refuses_bad_parameters)
{
	struct spreader *spreader = spreader_of(1, 1, 0), *none = NULL;
	struct spread_report report;
	struct graph *graph;

	ck_assert_int_eq(graph_build(NULL, 0, &graph), 0);
	for (int bad = 0; bad < 12; bad++) {
		struct spread_params params = spread_defaults();
		struct spread_seed seed = {1, 1};
		uint32_t n = bad == 11 ? 0 : 1;
		switch (bad) {
		case 0:
			params.decay = -0.1f;
			break;
		case 1:
			params.decay = NAN;
			break;
		case 2:
			params.threshold = 0;
			break;
		case 3:
			params.threshold = 1.5f;
			break;
		case 4:
			params.hops_max = 0;
			break;
		case 5:
			params.hops_max = SPREAD_HOPS_MAX + 1;
			break;
		case 6:
			params.nodes_max = 65537;
			break;
		case 7:
			params.types = 0;
			break;
		case 8:
			params.types = 1u << GRAPH_TYPES;
			break;
		case 9:
			params.direction = 4;
			break;
		case 10:
			seed.activation = NAN;
			break;
		}
		ck_assert_int_eq(spread_run(spreader, graph, &seed, n, &params, hits, &report),
				 -EINVAL);
	}
	ck_assert_int_eq(spreader_new(&(struct spreader_config){.threads = 9}, &none), -EINVAL);
	ck_assert_int_eq(spreader_new(&(struct spreader_config){.nodes_max = 5}, &none), -EINVAL);
	ck_assert_ptr_null(none);
	graph_put(graph);
	spreader_free(spreader);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

static void check_same(const struct spread_report *a, const struct spread_report *b)
{
	ck_assert_uint_eq(a->count, b->count);
	ck_assert_uint_eq(a->active, b->active);
	ck_assert_uint_eq(a->reached, b->reached);
	ck_assert_uint_eq(a->links, b->links);
	ck_assert_uint_eq(a->flags, b->flags);
	for (uint32_t i = 0; i < a->count; i++)
		ck_assert_int_eq(memcmp(&hits[i], &other_hits[i],
					offsetof(struct spread_hit, path) +
						hits[i].path_length * sizeof(uint64_t)),
				 0);
}

/* Large enough for helpers, and with a budget that binds in every second. */
START_TEST(test_spread_does_not_depend_on_threads_or_the_order_of_nodes)
{
	struct spreader *alone = spreader_of(1, 1, 0), *together = spreader_of(3, 1, 0);
	uint64_t random = 5;
	struct graph_change *changes = calloc(200000, sizeof(*changes));
	struct graph *fresh, *merged = NULL;

	for (size_t i = 0; i < 200000; i++)
		changes[i] = links_random_change(&random, 40000, 0);
	ck_assert_int_eq(graph_build(changes, 200000, &fresh), 0);
	for (size_t from = 0, to = 190000; from < 200000; from = to, to += 5000) {
		struct graph *next;
		ck_assert_int_eq(graph_merge(merged, changes + from, to - from, &next), 0);
		graph_put(merged);
		merged = next;
	}
	for (int i = 0; i < 8; i++) {
		struct spread_params params = spread_defaults();
		struct spread_report a, b;
		struct spread_seed seed = {links_id(links_random(&random) % 40000), 1};
		params.hops_max = 8;
		params.threshold = 0.0005f;
		params.decay = 0.1f;
		params.limit = HITS_MAX;
		params.nodes_max = i % 2 ? 20000 : 65536;
		ck_assert_int_eq(spread_run(alone, fresh, &seed, 1, &params, hits, &a), 0);
		ck_assert_int_eq(spread_run(together, merged, &seed, 1, &params, other_hits, &b),
				 0);
		ck_assert_uint_gt(a.links, 25000);
		ck_assert_uint_eq(a.threads, 1);
		ck_assert_uint_eq(b.threads, 3);
		ck_assert_uint_eq(a.flags, i % 2 ? SPREAD_BUDGET : 0);
		check_same(&a, &b);
	}
	graph_put(fresh);
	graph_put(merged);
	free(changes);
	spreader_free(alone);
	spreader_free(together);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_spread_allocates_nothing_once_warm)
{
	struct spreader *spreader = spreader_of(2, 1, 0);
	struct graph *graph = graph_of(NULL, 4, 40000, 200000);
	struct spread_params params = spread_defaults();
	struct spread_report report;
	struct spreader_stats stats;

	params.hops_max = 8;
	params.threshold = 0.0005f;
	for (uint64_t i = 0; i < 20; i++) {
		struct spread_seed seed = {links_id(i * 13), 1};
		uint64_t before = alloc_count_total();
		ck_assert_int_eq(spread_run(spreader, graph, &seed, 1, &params, hits, &report), 0);
		/* the first run makes the magazines of its threads; a helper may come late to its own */
		if (i > 10)
			ck_assert_uint_le(alloc_count_total() - before, 0);
	}
	spreader_read_stats(spreader, &stats);
	ck_assert_uint_eq(stats.runs, 20);
	ck_assert_uint_eq(stats.records_in_use, 0);
	ck_assert_uint_gt(stats.records_hits * 10, stats.records_acquired * 9);
	graph_put(graph);
	spreader_free(spreader);
}
END_TEST

/* A run within a run, as deep as it goes: the permission callback starts the next one. */
struct flood {
	struct spreader *spreader;
	const struct graph *graph;
	struct spread_params params;
	int depth, refused_at;
};

static enum spread_verdict flood_allow(void *arg, uint64_t id)
{
	struct flood *flood = arg;
	struct spread_report report;
	struct spread_hit hit;

	if (flood->refused_at)
		return SPREAD_LISTED;
	flood->depth++;
	int error = spread_run(flood->spreader, flood->graph, &(struct spread_seed){id, 1}, 1,
			       &flood->params, &hit, &report);
	if (error) {
		ck_assert_int_eq(error, -EAGAIN);
		flood->refused_at = flood->depth;
	}
	return SPREAD_LISTED;
}

static int flood_depth(uint32_t concurrent, uint32_t records)
{
	struct graph *graph = graph_of(NULL, 4, 100, 500);
	struct flood flood = {.spreader = spreader_of(1, concurrent, records),
			      .graph = graph,
			      .params = spread_defaults()};
	struct spread_report report;
	struct spread_hit hit;
	struct spreader_stats stats;

	flood.params.nodes_max = 65536;
	flood.params.allow = flood_allow;
	flood.params.allow_arg = &flood;
	flood.params.limit = 1;
	ck_assert_int_eq(spread_run(flood.spreader, graph, &(struct spread_seed){links_id(1), 1}, 1,
				    &flood.params, &hit, &report),
			 0);
	/* and afterwards there is room again */
	ck_assert_int_eq(spread_run(flood.spreader, graph, &(struct spread_seed){links_id(1), 1}, 1,
				    &flood.params, &hit, &report),
			 0);
	spreader_read_stats(flood.spreader, &stats);
	ck_assert_uint_eq(stats.refused, 1);
	ck_assert_uint_eq(stats.records_in_use, 0);
	spreader_free(flood.spreader);
	graph_put(graph);
	return flood.refused_at;
}

START_TEST(test_spread_refuses_a_flood)
{
	ck_assert_int_eq(flood_depth(3, 0), 3);         /* no workspace for a fourth */
	ck_assert_int_eq(flood_depth(8, 2 * 65536), 2); /* no records for a third */
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

static enum spread_verdict deny_odd(void *arg, uint64_t id)
{
	(void)arg;
	return id % 2 ? SPREAD_DENIED : id == 6 ? SPREAD_PASSED : SPREAD_LISTED;
}

START_TEST(test_spread_passes_nothing_through_what_may_not_be_seen)
{
	const struct graph_change changes[] = {
		links_change(2, 3, GRAPH_WEIGHT_ONE, 0), links_change(3, 4, GRAPH_WEIGHT_ONE, 0),
		links_change(2, 6, GRAPH_WEIGHT_ONE, 0), links_change(6, 8, GRAPH_WEIGHT_ONE, 0),
		links_change(8, 9, GRAPH_WEIGHT_ONE, 0),
	};
	struct spreader *spreader = spreader_of(1, 1, 0);
	struct spread_params params = spread_defaults();
	struct spread_report report;
	struct graph *graph;

	ck_assert_int_eq(graph_build(changes, 5, &graph), 0);
	params.allow = deny_odd;
	params.hops_max = 3; /* 9 is reached by the last hop */
	ck_assert_int_eq(
		spread_run(spreader, graph, &(struct spread_seed){2, 1}, 1, &params, hits, &report),
		0);
	ck_assert_uint_eq(report.count, 1);
	ck_assert_uint_eq(report.active, 1);
	ck_assert_uint_eq(hits[0].id, 8);
	ck_assert_uint_eq(hits[0].path[1], 6); /* which is not listed itself */
	graph_put(graph);
	spreader_free(spreader);
}
END_TEST

static enum spread_verdict deny_fourth(void *arg, uint64_t id)
{
	(void)arg;
	return id % 4 == 0 ? SPREAD_DENIED : SPREAD_LISTED;
}

/* The result is the one of a graph without them: they take no place in a fan-out or a budget. */
START_TEST(test_spread_goes_as_if_what_may_not_be_seen_were_not_there)
{
	static const uint32_t budgets[] = {8, 64, 65536};
	struct spreader *spreader = spreader_of(2, 1, 0);

	for (uint64_t seed = 1; seed < 40; seed++) {
		struct links links = {0}, visible = {0};
		struct graph *graph = graph_of(&links, seed, 120, 900);
		struct spread_params params = spread_defaults();
		struct spread_report report;
		struct oracle oracle;
		uint64_t from = links_id(seed);
		for (size_t i = 0; i < links.count; i++)
			if (links.link[i].from % 4 && links.link[i].to % 4)
				links_set(&visible, &links.link[i]);
		params.allow = deny_fourth;
		params.direction = 1 + seed % 3;
		params.fan_out = 1 + seed % 7;
		params.types = seed % 5 ? (1u << GRAPH_TYPES) - 1 : 5;
		params.nodes_max = budgets[seed % 3];
		ck_assert_int_eq(spread_run(spreader, graph, &(struct spread_seed){from, 1}, 1,
					    &params, hits, &report),
				 0);
		if (from % 4 == 0) {
			ck_assert_uint_eq(report.count + report.reached, 0);
		} else {
			oracle_run(&oracle, &visible, &(struct spread_seed){from, 1}, 1, &params);
			check_against_oracle(&oracle, &report);
			oracle_end(&oracle);
		}
		free(links.link);
		free(visible.link);
		graph_put(graph);
	}
	spreader_free(spreader);
}
END_TEST

static enum spread_verdict count_asked(void *arg, uint64_t id)
{
	(void)id;
	++*(uint32_t *)arg;
	return SPREAD_LISTED;
}

/* Asking costs more than spreading: what the budget keeps from firing is not asked about. */
START_TEST(test_spread_asks_of_what_it_may_reach_alone)
{
	enum { BUDGET = 256, FAN_OUT = 8 };
	struct spreader *spreader = spreader_of(1, 1, 0);
	struct graph *graph = graph_of(NULL, 8, 4000, 60000);
	struct spread_params params = spread_defaults();
	struct spread_seed seed = {links_id(3), 1};
	struct spread_report report;
	uint32_t asked = 0;

	params.direction = SPREAD_BOTH;
	params.fan_out = FAN_OUT;
	params.nodes_max = BUDGET;
	params.allow = count_asked;
	params.allow_arg = &asked;
	ck_assert_int_eq(spread_run(spreader, graph, &seed, 1, &params, hits, &report), 0);
	ck_assert_uint_eq(report.flags, SPREAD_BUDGET);
	ck_assert_uint_gt(report.reached, BUDGET - 2 * FAN_OUT);
	ck_assert_uint_ge(asked, report.reached);
	/* and of each hop the first that did not fit */
	ck_assert_uint_le(asked, report.reached + 2 * FAN_OUT * params.hops_max);
	graph_put(graph);
	spreader_free(spreader);
}
END_TEST

START_TEST(test_spread_that_would_pass_its_deadline_is_narrowed_before_it_starts)
{
	struct spreader *spreader = spreader_of(1, 1, 0);
	struct graph *graph = graph_of(NULL, 8, 4000, 60000);
	struct spread_params params = spread_defaults();
	struct spread_report narrowed, report;
	struct spread_seed seed = {links_id(3), 1};

	params.limit = HITS_MAX;
	params.hops_max = 8;
	params.deadline_ns = bridge_now_ns() + 3600 * 1000000000ull;
	ck_assert_int_eq(spread_run(spreader, graph, &seed, 1, &params, hits, &report), 0);
	ck_assert_uint_eq(report.flags, 0);
	ck_assert_uint_gt(report.predicted_ns, 0);
	/* a machine where each link takes seconds */
	const double slow[PREDICT_FEATURES] = {0, 1e10, 1e10, 1e10};
	predictor_init(&spreader->predictor, slow);
	ck_assert_int_eq(spread_run(spreader, graph, &seed, 1, &params, hits, &narrowed), 0);
	ck_assert_uint_eq(narrowed.flags, SPREAD_NARROWED);
	ck_assert_uint_eq(narrowed.fan_out, 8);
	ck_assert_uint_lt(narrowed.hops_max, 8);
	ck_assert_uint_lt(narrowed.links, report.links);
	/* the result is that of the narrower parameters */
	params.deadline_ns = 0;
	params.fan_out = narrowed.fan_out;
	params.hops_max = narrowed.hops_max;
	ck_assert_int_eq(spread_run(spreader, graph, &seed, 1, &params, other_hits, &report), 0);
	ck_assert_uint_eq(report.flags, 0);
	narrowed.flags = 0;
	check_same(&narrowed, &report);
	graph_put(graph);
	spreader_free(spreader);
}
END_TEST

START_TEST(test_spread_stops_at_a_deadline_that_has_passed)
{
	struct spreader *spreader = spreader_of(1, 1, 0);
	struct graph *graph = graph_of(NULL, 8, 4000, 60000);
	struct spread_params params = spread_defaults();
	struct spread_report report;
	struct spreader_stats stats;

	params.deadline_ns = 1;
	ck_assert_int_eq(spread_run(spreader, graph, &(struct spread_seed){links_id(3), 1}, 1,
				    &params, hits, &report),
			 0);
	ck_assert_uint_eq(report.flags & SPREAD_CUT, SPREAD_CUT);
	ck_assert_uint_eq(report.batches, 1);
	spreader_read_stats(spreader, &stats);
	ck_assert_uint_eq(stats.cut, 1);
	ck_assert_uint_eq(stats.records_in_use, 0);
	graph_put(graph);
	spreader_free(spreader);
}
END_TEST

/* Concurrent runs, one of which at a time has the helpers. */
static struct spreader *shared;
static const struct graph *shared_graph;
static struct spread_report shared_expected[8];
static _Atomic int shared_wrong;

static void *spread_many(void *arg)
{
	struct spread_hit mine[16];

	for (uint64_t i = 0; i < 24; i++) {
		struct spread_params params = spread_defaults();
		struct spread_report report;
		struct spread_seed seed = {links_id(i % 8), 1};
		params.hops_max = 8;
		params.threshold = 0.0005f;
		params.limit = 16;
		if (spread_run(shared, shared_graph, &seed, 1, &params, mine, &report) ||
		    report.active != shared_expected[i % 8].active ||
		    report.links != shared_expected[i % 8].links)
			shared_wrong++;
	}
	return NULL;
}

START_TEST(test_spread_concurrently_gives_the_same)
{
	pthread_t thread[4];
	struct graph *graph = graph_of(NULL, 4, 20000, 100000);
	struct spreader *alone = spreader_of(1, 1, 0);

	shared = spreader_of(3, 4, 0);
	shared_graph = graph;
	for (uint64_t i = 0; i < 8; i++) {
		struct spread_params params = spread_defaults();
		params.hops_max = 8;
		params.threshold = 0.0005f;
		params.limit = 16;
		ck_assert_int_eq(spread_run(alone, graph, &(struct spread_seed){links_id(i), 1}, 1,
					    &params, hits, &shared_expected[i]),
				 0);
	}
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, spread_many, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	ck_assert_int_eq(shared_wrong, 0);
	spreader_free(shared);
	spreader_free(alone);
	graph_put(graph);
}
END_TEST

START_TEST(test_spreader_new_without_memory_leaves_nothing_behind)
{
	struct spreader *spreader = NULL;
	const struct spreader_config config = {.threads = 2, .concurrent = 2};

	spreader_free(spreader_of(1, 1, 0)); /* the bandwidth is measured once */
	alloc_fail_arm(UINT64_MAX, 0);
	spreader_free(spreader_of(2, 2, 0));
	uint64_t calls = alloc_fail_arm(0, 0);
	for (uint64_t nth = 1; nth <= calls; nth++) {
		alloc_fail_arm(nth, 0);
		ck_assert_int_eq(spreader_new(&config, &spreader), -ENOMEM);
		alloc_fail_arm(0, 0);
		ck_assert_ptr_null(spreader);
		ck_assert_int_eq(alloc_count_live(), 0);
	}
}
END_TEST

/* Now and then a run goes without prefetching, and finds the same. */
START_TEST(test_spread_counts_what_it_does)
{
	enum { RUNS = 128 };
	struct spreader *spreader = spreader_of(1, 1, 0);
	struct graph *graph = graph_of(NULL, 8, 4000, 60000);
	struct spread_params params = spread_defaults();
	struct spread_seed seed = {links_id(3), 1};
	struct spread_report first, report;
	struct spreader_stats stats;

	params.hops_max = 3;
	ck_assert_int_eq(spread_run(spreader, graph, &seed, 1, &params, other_hits, &first), 0);
	for (int i = 1; i < RUNS; i++) {
		ck_assert_int_eq(spread_run(spreader, graph, &seed, 1, &params, hits, &report), 0);
		check_same(&first, &report);
	}
	spreader_read_stats(spreader, &stats);
	ck_assert_uint_eq(stats.links, RUNS * first.links);
	ck_assert_uint_eq(stats.sampled_links[0], 2 * first.links);
	ck_assert_uint_eq(stats.sampled_links[1], 2 * first.links);
	ck_assert_uint_gt(stats.sampled_ns[0], 0);
	ck_assert_uint_gt(stats.sampled_ns[1], 0);
	ck_assert_uint_ge(stats.batch_links, stats.links);
	ck_assert_uint_ge(stats.batch_room, stats.batch_links);
	/* what goes without prefetching says nothing of predictions */
	const struct spreader_off *off = spreader_read_off(spreader);
	ck_assert_uint_eq(histogram_count(&off->links), RUNS - 2);
	ck_assert_uint_eq(histogram_count(&off->work), RUNS - 2);
	graph_put(graph);
	spreader_free(spreader);
}
END_TEST

/* The predictor on made-up times. */
static uint64_t sample(uint64_t *random, double feature[PREDICT_FEATURES], double slowness)
{
	static const double cost[PREDICT_FEATURES] = {900, 2, 7,  15, 5,   9, 14,
						      8,   9, 22, 31, 800, 40};
	double ns = 0, noise = 0.95 + (double)(links_random(random) % 1000) / 10000;
	double links = pow(10, 2 + (double)(links_random(random) % 1000) / 250);

	for (int i = 0; i < PREDICT_FEATURES; i++) {
		feature[i] = (double)(links_random(random) % 1000) / 1000;
		feature[i] *= i && i < 7 ? links : i && i < 10 ? links / 8 : 10;
	}
	feature[0] = 1;
	for (int i = 0; i < PREDICT_FEATURES; i++)
		ns += cost[i] * feature[i];
	if (links_random(random) % 100 == 0)
		noise *= 20; /* taken off its core */
	return (uint64_t)(ns * noise * slowness);
}

static double share_within_a_fifth(struct predictor *predictor, uint64_t *random, double slowness,
				   int samples)
{
	int good = 0;

	for (int i = 0; i < samples; i++) {
		double feature[PREDICT_FEATURES];
		double spent = (double)sample(random, feature, slowness);
		double predicted = predictor_predict(predictor, feature);
		good += fabs(predicted - spent) <= spent / 5;
		predictor_learn(predictor, feature, spent, spent);
	}
	return (double)good / samples;
}

START_TEST(test_predictor_learns_and_follows_a_machine_that_becomes_slower)
{
	struct predictor predictor;
	double prior[PREDICT_FEATURES];
	uint64_t random = 11;

	spread_plan_prior(prior);
	predictor_init(&predictor, prior);
	share_within_a_fifth(&predictor, &random, 1, 1000);
	ck_assert_double_gt(share_within_a_fifth(&predictor, &random, 1, 10000), 0.95);
	share_within_a_fifth(&predictor, &random, 3, 3000);
	ck_assert_double_gt(share_within_a_fifth(&predictor, &random, 3, 10000), 0.95);
	share_within_a_fifth(&predictor, &random, 0.5, 3000);
	ck_assert_double_gt(share_within_a_fifth(&predictor, &random, 0.5, 10000), 0.95);
}
END_TEST

/* The batch of a spread, as the workspace has it, when a link suddenly takes four times as long. */
static unsigned batches_to_settle(struct batcher *batcher, uint64_t link_ns, unsigned *turns)
{
	unsigned settled = 0;
	int before = 0;

	*turns = 0;
	for (unsigned batch = 1; batch <= 400; batch++) {
		uint32_t size = batcher_size(batcher);
		batcher_observe(batcher, 1000000, size, size * link_ns);
		int move = (batcher_size(batcher) > size) - (batcher_size(batcher) < size);
		if (move) {
			settled = batch;
			*turns += before && move != before;
			before = move;
		}
	}
	return settled;
}

START_TEST(test_spread_batch_settles_after_a_step_and_does_not_oscillate)
{
	struct spreader *spreader = spreader_of(1, 1, 0);
	struct batcher *batcher = &spreader->workspace[0].batcher;
	unsigned turns;

	ck_assert_uint_le(batches_to_settle(batcher, 10, &turns), 40);
	ck_assert_uint_le(turns, 1);
	uint32_t fast = batcher_size(batcher);
	ck_assert_uint_le(batches_to_settle(batcher, 1000, &turns), 40);
	ck_assert_uint_eq(turns, 0);
	ck_assert_uint_lt(batcher_size(batcher), fast);
	ck_assert_uint_le(batches_to_settle(batcher, 10, &turns), 40);
	ck_assert_uint_eq(turns, 0);
	ck_assert_uint_eq(batcher_size(batcher), fast);
	spreader_free(spreader);
}
END_TEST

UNIT_MAIN("spread", test_spread_equals_the_oracle, test_spread_of_a_chain_by_hand,
	  test_spread_refuses_bad_parameters,
	  test_spread_does_not_depend_on_threads_or_the_order_of_nodes,
	  test_spread_allocates_nothing_once_warm, test_spread_refuses_a_flood,
	  test_spread_passes_nothing_through_what_may_not_be_seen,
	  test_spread_goes_as_if_what_may_not_be_seen_were_not_there,
	  test_spread_asks_of_what_it_may_reach_alone,
	  test_spread_that_would_pass_its_deadline_is_narrowed_before_it_starts,
	  test_spread_stops_at_a_deadline_that_has_passed, test_spread_concurrently_gives_the_same,
	  test_spreader_new_without_memory_leaves_nothing_behind,
	  test_spread_counts_what_it_does,
	  test_predictor_learns_and_follows_a_machine_that_becomes_slower,
	  test_spread_batch_settles_after_a_step_and_does_not_oscillate)
