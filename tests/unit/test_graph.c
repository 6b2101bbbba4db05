/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of the graph of memories: snapshots, merges, the live graph under concurrent edits. */
#include "core/bridge/bridge.h"
#include "core/memory/graph_live.h"
#include "pool/alloc.h"
#include "tests/unit/graph_links.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

static int has_link(const struct graph *graph, const struct graph_link *link)
{
	uint32_t n = graph_find(graph, link->from);

	if (n == GRAPH_NONE)
		return 0;
	const struct graph_node *node = &graph->nodes[n];
	for (uint32_t k = 0; k < node->out_count; k++) {
		const struct graph_edge *edge = graph_out(graph, node, k);
		if (graph->nodes[edge->to].id == link->to && edge->type == link->type)
			return edge->weight == link->weight;
	}
	return 0;
}

static void check_equal(const struct graph *graph, const struct links *links)
{
	ck_assert_int_eq(graph_validate(graph), 0);
	ck_assert_uint_eq(graph->links, links->count);
	for (size_t i = 0; i < links->count; i++)
		ck_assert(has_link(graph, &links->link[i]));
}

START_TEST(test_graph_of_nothing_finds_nothing)
{
	struct graph *graph;

	ck_assert_int_eq(graph_build(NULL, 0, &graph), 0);
	ck_assert_uint_eq(graph->count, 0);
	ck_assert_uint_eq(graph_find(graph, 1), GRAPH_NONE);
	ck_assert_int_eq(graph_validate(graph), 0);
	graph_put(graph);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_graph_build_keeps_the_last_word_on_each_link)
{
	const struct graph_change changes[] = {
		links_change(1, 2, 100, GRAPH_WIKI),  links_change(1, 2, 200, GRAPH_EXPLICIT),
		links_change(1, 2, 300, GRAPH_WIKI),  links_change(3, 1, 5, GRAPH_SYMLINK),
		links_change(3, 1, 0, GRAPH_SYMLINK), links_change(2, 2, 5, GRAPH_WIKI),
	};
	struct graph *graph;

	ck_assert_int_eq(graph_build(changes, 6, &graph), 0);
	ck_assert_int_eq(graph_validate(graph), 0);
	ck_assert_uint_eq(graph->links, 2);
	ck_assert(has_link(graph, &(struct graph_link){1, 2, 300, GRAPH_WIKI}));
	ck_assert(has_link(graph, &(struct graph_link){1, 2, 200, GRAPH_EXPLICIT}));
	/* the strongest first, and the other end knows */
	const struct graph_node *one = &graph->nodes[graph_find(graph, 1)];
	ck_assert_uint_eq(one->near[0].weight, 300);
	ck_assert_uint_eq(graph->nodes[graph_find(graph, 2)].in_count, 2);
	graph_put(graph);
}
END_TEST

START_TEST(test_graph_refuses_what_is_out_of_bounds)
{
	struct graph_change change = links_change(1, 2, GRAPH_WEIGHT_ONE + 1, 0);
	struct graph *graph = NULL;

	ck_assert_int_eq(graph_build(&change, 1, &graph), -EINVAL);
	change = links_change(1, 2, 1, GRAPH_TYPES);
	ck_assert_int_eq(graph_build(&change, 1, &graph), -EINVAL);
	change = (struct graph_change){.is_memory = 1,
				       .memory = {.id = 1, .confidence = GRAPH_WEIGHT_ONE + 1}};
	ck_assert_int_eq(graph_build(&change, 1, &graph), -EINVAL);
	ck_assert_ptr_null(graph);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_graph_merges_equal_the_plain_list)
{
	uint64_t random = 42;
	struct links links = {0};
	struct graph *graph = NULL;

	for (int round = 0; round < 60; round++) {
		struct graph_change changes[64];
		size_t n = links_random(&random) % 64;
		for (size_t i = 0; i < n; i++) {
			/* the graph grows, so some merges put it in order again */
			changes[i] = links_random_change(&random, 20 + 4 * (unsigned)round, 1);
			links_set(&links, &changes[i].link);
		}
		struct graph *next;
		ck_assert_int_eq(graph_merge(graph, changes, n, &next), 0);
		check_equal(next, &links);
		graph_put(graph);
		graph = next;
	}
	ck_assert_uint_gt(links.count, 200);
	graph_put(graph);
	free(links.link);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_graph_carries_what_is_known_of_memories)
{
	struct graph_change changes[] = {
		links_change(1, 2, 100, GRAPH_WIKI),
		{.is_memory = 1, .memory = {.id = 2, .confidence = 77, .flags = GRAPH_PINNED}},
	};
	struct graph *graph, *next;

	ck_assert_int_eq(graph_build(changes, 2, &graph), 0);
	changes[0] = links_change(9, 1, 3, GRAPH_COACCESS);
	ck_assert_int_eq(graph_merge(graph, changes, 1, &next), 0);
	const struct graph_node *two = &next->nodes[graph_find(next, 2)];
	ck_assert_uint_eq(two->confidence, 77);
	ck_assert_uint_eq(two->flags, GRAPH_PINNED);
	ck_assert_uint_eq(next->nodes[graph_find(next, 1)].confidence, GRAPH_WEIGHT_ONE);
	graph_put(graph);
	graph_put(next);
}
END_TEST

START_TEST(test_graph_merge_without_memory_leaves_nothing_behind)
{
	uint64_t random = 7, calls;
	struct graph_change changes[100];
	struct graph *old, *next;

	for (size_t i = 0; i < 100; i++)
		changes[i] = links_random_change(&random, i < 50 ? 20 : 60, 0);
	ck_assert_int_eq(graph_build(changes, 50, &old), 0);
	int64_t live = alloc_count_live();
	alloc_fail_arm(UINT64_MAX, 0);
	ck_assert_int_eq(graph_merge(old, changes + 50, 50, &next), 0);
	calls = alloc_fail_arm(0, 0);
	ck_assert_uint_eq(next->ordered, next->count); /* so this one was put in order too */
	graph_put(next);
	for (uint64_t nth = 1; nth <= calls; nth++) {
		alloc_fail_arm(nth, 0);
		ck_assert_int_eq(graph_merge(old, changes + 50, 50, &next), -ENOMEM);
		alloc_fail_arm(0, 0);
		ck_assert_int_eq(alloc_count_live(), live);
	}
	ck_assert_int_eq(graph_validate(old), 0);
	graph_put(old);
}
END_TEST

START_TEST(test_graph_validate_sees_damage)
{
	uint64_t random = 3;
	struct graph_change changes[200];
	struct graph *graph;

	for (size_t i = 0; i < 200; i++)
		changes[i] = links_random_change(&random, 20, 0);
	ck_assert_int_eq(graph_build(changes, 200, &graph), 0);
	ck_assert_int_eq(graph_validate(graph), 0);
	graph->nodes[0].near[0].weight ^= 1;
	ck_assert_int_eq(graph_validate(graph), -EUCLEAN);
	graph->nodes[0].near[0].weight ^= 1;
	graph->in[5].to ^= 1;
	ck_assert_int_eq(graph_validate(graph), -EUCLEAN);
	graph->in[5].to ^= 1;
	graph->nodes[3].id++;
	ck_assert_int_eq(graph_validate(graph), -EUCLEAN);
	graph->nodes[3].id--;
	ck_assert_int_eq(graph_validate(graph), 0);
	graph_put(graph);
}
END_TEST

/* A source as a tree would be: changed first, then told of. */
struct truth {
	pthread_mutex_t mutex;
	struct links links;
	int fails;
};

static int truth_read(void *arg, graph_take *take, void *take_arg)
{
	struct truth *truth = arg;
	int error = truth->fails;

	pthread_mutex_lock(&truth->mutex);
	for (size_t i = 0; i < truth->links.count && !error; i++) {
		struct graph_change change = {.link = truth->links.link[i]};
		error = take(take_arg, &change);
	}
	pthread_mutex_unlock(&truth->mutex);
	return error;
}

static void truth_set(struct truth *truth, struct graph_live *live,
		      const struct graph_change *change)
{
	/* told under the same lock: two changes of one link are told in their order */
	pthread_mutex_lock(&truth->mutex);
	links_set(&truth->links, &change->link);
	ck_assert_int_eq(graph_live_change(live, change), 0);
	pthread_mutex_unlock(&truth->mutex);
}

static struct graph_live *live_new(struct truth *truth, uint32_t changes_max, struct bridge *bridge)
{
	const struct graph_live_config config = {.source = truth_read,
						 .arg = truth,
						 .bridge = bridge,
						 .period_ns = 2000000,
						 .changes_max = changes_max};
	struct graph_live *live;

	pthread_mutex_init(&truth->mutex, NULL);
	ck_assert_int_eq(graph_live_new(&config, &live), 0);
	return live;
}

START_TEST(test_graph_live_shows_a_change_after_a_merge_and_old_snapshots_stay)
{
	struct truth truth = {0};
	struct graph_live *live = live_new(&truth, 0, NULL);
	struct graph_change change = links_change(5, 6, 9, GRAPH_WIKI);

	truth_set(&truth, live, &change);
	struct graph *before = graph_live_get(live);
	ck_assert_int_eq(graph_live_merge(live), 0);
	struct graph *after = graph_live_get(live);
	ck_assert_uint_eq(before->links, 0);
	ck_assert_int_eq(graph_validate(before), 0);
	ck_assert_uint_eq(after->links, 1);
	ck_assert_uint_gt(after->generation, before->generation);
	graph_live_free(live);
	ck_assert(has_link(after, &change.link));
	graph_put(before);
	graph_put(after);
	free(truth.links.link);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

START_TEST(test_graph_live_reads_the_source_when_more_waits_than_there_is_room_for)
{
	struct truth truth = {0};
	struct graph_live *live = live_new(&truth, 8, NULL);
	struct graph_live_stats stats;
	uint64_t random = 1;

	for (int i = 0; i < 100; i++) {
		struct graph_change change = links_random_change(&random, 50, 1);
		truth_set(&truth, live, &change);
	}
	ck_assert_int_eq(graph_live_merge(live), 0);
	struct graph *graph = graph_live_get(live);
	check_equal(graph, &truth.links);
	graph_put(graph);
	graph_live_read_stats(live, &stats);
	ck_assert_uint_eq(stats.rescans, 1);
	ck_assert_uint_eq(stats.waiting, 0);
	graph_live_free(live);
	free(truth.links.link);
}
END_TEST

START_TEST(test_graph_live_loses_nothing_when_a_merge_fails)
{
	struct truth truth = {0};
	struct graph_live *live = live_new(&truth, 0, NULL);
	struct graph_change change = links_change(5, 6, 9, GRAPH_WIKI);

	truth_set(&truth, live, &change);
	alloc_fail_arm(1, 1);
	ck_assert_int_eq(graph_live_merge(live), -ENOMEM);
	alloc_fail_arm(0, 0);
	truth.fails = -EIO;
	ck_assert_int_eq(graph_live_merge(live), -EIO);
	truth.fails = 0;
	ck_assert_int_eq(graph_live_merge(live), 0);
	struct graph *graph = graph_live_get(live);
	check_equal(graph, &truth.links);
	graph_put(graph);
	graph_live_free(live);
	free(truth.links.link);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

/* Concurrent edits: writers change links, the bridge merges, readers check whole snapshots. */
enum { WRITERS = 2, READERS = 2, EDITS = 3000 };

struct edits {
	struct truth truth;
	struct graph_live *live;
	_Atomic int writers_left;
	_Atomic int broken, seen;
};

static void *edit(void *arg)
{
	struct edits *edits = arg;
	uint64_t random = (uintptr_t)&random;

	for (int i = 0; i < EDITS; i++) {
		struct graph_change change = links_random_change(&random, 60, 1);
		truth_set(&edits->truth, edits->live, &change);
		if (i % 16 == 0)
			sched_yield();
	}
	edits->writers_left--;
	return NULL;
}

static void *look(void *arg)
{
	struct edits *edits = arg;
	uint64_t last = 0;

	while (edits->writers_left) {
		struct graph *graph = graph_live_get(edits->live);
		if (graph_validate(graph) || graph->generation < last)
			edits->broken++;
		edits->seen += graph->generation != last;
		last = graph->generation;
		graph_put(graph);
	}
	return NULL;
}

START_TEST(test_graph_live_survives_concurrent_edits)
{
	static struct edits edits;
	pthread_t thread[WRITERS + READERS];
	struct bridge *bridge;

	ck_assert_int_eq(bridge_new(NULL, &bridge), 0);
	edits.live = live_new(&edits.truth, 256, bridge);
	edits.writers_left = WRITERS;
	for (int i = 0; i < WRITERS + READERS; i++)
		ck_assert_int_eq(
			pthread_create(&thread[i], NULL, i < WRITERS ? edit : look, &edits), 0);
	for (int i = 0; i < WRITERS + READERS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_int_eq(edits.broken, 0);
	ck_assert_int_gt(edits.seen, 0);
	/* without being asked, the last changes get there too */
	struct graph_live_stats stats;
	do {
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		graph_live_read_stats(edits.live, &stats);
	} while (stats.waiting || stats.links != edits.truth.links.count);
	struct graph *graph = graph_live_get(edits.live);
	check_equal(graph, &edits.truth.links);
	graph_put(graph);
	graph_live_free(edits.live);
	bridge_free(bridge, 0);
	free(edits.truth.links.link);
	ck_assert_int_eq(alloc_count_live(), 0);
}
END_TEST

UNIT_MAIN("graph", test_graph_of_nothing_finds_nothing,
	  test_graph_build_keeps_the_last_word_on_each_link,
	  test_graph_refuses_what_is_out_of_bounds, test_graph_merges_equal_the_plain_list,
	  test_graph_carries_what_is_known_of_memories,
	  test_graph_merge_without_memory_leaves_nothing_behind, test_graph_validate_sees_damage,
	  test_graph_live_shows_a_change_after_a_merge_and_old_snapshots_stay,
	  test_graph_live_reads_the_source_when_more_waits_than_there_is_room_for,
	  test_graph_live_loses_nothing_when_a_merge_fails,
	  test_graph_live_survives_concurrent_edits)
