/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   spreading activation done slowly from the text of core/memory/spread.h: over a plain list of
 *            links, without snapshot, partitions, batches or tables.
 */
#ifndef MNEME_TESTS_SPREAD_ORACLE_H
#define MNEME_TESTS_SPREAD_ORACLE_H

#include "core/memory/spread.h"
#include "tests/unit/graph_links.h"

#include <math.h>

struct oracle_node {
	uint64_t id;
	uint64_t activation, best;
	int origin; /* or -1 */
	int hops;   /* or -1: not active */
	int reached;
};

struct oracle_firing {
	int node;
	uint64_t fire;
	uint32_t begin, count; /* of its links in oracle.way */
};

struct oracle_way {
	int to;
	uint16_t weight;
	uint8_t type;
};

struct oracle {
	const struct links *links;
	const struct spread_params *params;
	struct oracle_node *node;
	int nodes;
	uint32_t reached, active, flags, hops;
	uint64_t followed;
	struct oracle_way *way;
	struct oracle_firing *firing;
	int firings;
};

static inline int oracle_find(struct oracle *oracle, uint64_t id, int make)
{
	for (int n = 0; n < oracle->nodes; n++)
		if (oracle->node[n].id == id)
			return n;
	if (make)
		oracle->node[oracle->nodes] =
			(struct oracle_node){.id = id, .origin = -1, .hops = -1};
	return make ? oracle->nodes++ : -1;
}

static inline int oracle_compare_ways(const void *a, const void *b, void *arg)
{
	const struct oracle_way *x = a, *y = b;
	const struct oracle_node *node = ((struct oracle *)arg)->node;

	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	if (x->to != y->to)
		return node[x->to].id < node[y->to].id ? -1 : 1;
	return x->type - y->type;
}

static inline int oracle_compare_firings(const void *a, const void *b, void *arg)
{
	const struct oracle_firing *x = a, *y = b;
	const struct oracle_node *node = ((struct oracle *)arg)->node;

	if (x->fire != y->fire)
		return x->fire > y->fire ? -1 : 1;
	return node[x->node].id < node[y->node].id ? -1 : 1;
}

/* Adds the links of node n one way, the strongest of the types asked for; returns the new end. */
static inline uint32_t oracle_ways(struct oracle *oracle, int n, int in, uint32_t end)
{
	const struct spread_params *params = oracle->params;
	uint32_t begin = end;

	for (size_t i = 0; i < oracle->links->count; i++) {
		const struct graph_link *link = &oracle->links->link[i];
		if ((in ? link->to : link->from) != oracle->node[n].id ||
		    !(params->types >> link->type & 1))
			continue;
		oracle->way[end++] =
			(struct oracle_way){oracle_find(oracle, in ? link->from : link->to, 0),
					    link->weight, link->type};
	}
	qsort_r(oracle->way + begin, end - begin, sizeof(*oracle->way), oracle_compare_ways,
		oracle);
	return params->fan_out && end - begin > params->fan_out ? begin + params->fan_out : end;
}

static inline void oracle_give(struct oracle *oracle, int from, int to, uint64_t amount, int hop)
{
	struct oracle_node *node = &oracle->node[to];

	if (!amount)
		return;
	oracle->followed++;
	oracle->reached += !node->reached;
	node->reached = 1;
	node->activation =
		node->activation + amount < SPREAD_ONE ? node->activation + amount : SPREAD_ONE;
	if (node->hops >= 0 && node->hops <= hop)
		return;
	if (amount > node->best || (amount == node->best && node->origin >= 0 &&
				    oracle->node[from].id < oracle->node[node->origin].id)) {
		node->best = amount;
		node->origin = from;
	}
}

static inline void oracle_fire(struct oracle *oracle, const struct oracle_firing *firing, int hop)
{
	for (uint32_t k = 0; k < firing->count; k++) {
		const struct oracle_way *way = &oracle->way[firing->begin + k];
		oracle_give(oracle, firing->node, way->to, firing->fire * way->weight >> 15, hop);
	}
}

static inline void oracle_hop(struct oracle *oracle, int hop)
{
	const struct spread_params *params = oracle->params;
	uint32_t total = 0, end = 0;
	uint64_t keep =
		GRAPH_WEIGHT_ONE - (uint64_t)lrint((double)params->decay * GRAPH_WEIGHT_ONE);

	oracle->firings = 0;
	for (int n = 0; n < oracle->nodes; n++) {
		if (oracle->node[n].hops != hop)
			continue;
		uint32_t begin = end;
		if (params->direction & SPREAD_OUT)
			end = oracle_ways(oracle, n, 0, end);
		if (params->direction & SPREAD_IN)
			end = oracle_ways(oracle, n, 1, end);
		uint64_t fire = oracle->node[n].activation * keep >> 15;
		if (fire && end > begin) {
			oracle->firing[oracle->firings++] =
				(struct oracle_firing){n, fire, begin, end - begin};
			total += end - begin;
		}
	}
	if (!oracle->firings)
		return;
	oracle->hops = (uint32_t)hop + 1;
	int at = 0, limited = total > params->nodes_max - oracle->reached;
	if (limited)
		qsort_r(oracle->firing, (size_t)oracle->firings, sizeof(*oracle->firing),
			oracle_compare_firings, oracle);
	while (at < oracle->firings) {
		uint32_t room = limited ? params->nodes_max - oracle->reached : UINT32_MAX;
		int first = at;
		for (; at < oracle->firings && oracle->firing[at].count <= room; at++) {
			room -= oracle->firing[at].count;
			oracle_fire(oracle, &oracle->firing[at], hop);
		}
		if (at == first) {
			oracle->flags |= SPREAD_BUDGET;
			return;
		}
	}
}

/* Spreads; oracle->node[] then says how it ended. Freed by oracle_end(). */
static inline void oracle_run(struct oracle *oracle, const struct links *links,
			      const struct spread_seed *seeds, uint32_t n,
			      const struct spread_params *params)
{
	uint64_t threshold = (uint64_t)lrint((double)params->threshold * SPREAD_ONE);

	*oracle = (struct oracle){.links = links, .params = params};
	oracle->node = calloc(2 * links->count + n + 1, sizeof(*oracle->node));
	oracle->way = calloc(2 * links->count + 1, sizeof(*oracle->way));
	oracle->firing = calloc(2 * links->count + n + 1, sizeof(*oracle->firing));
	for (size_t i = 0; i < links->count; i++) {
		oracle_find(oracle, links->link[i].from, 1);
		oracle_find(oracle, links->link[i].to, 1);
	}
	for (uint32_t i = 0; i < n; i++) {
		int s = oracle_find(oracle, seeds[i].id, 0);
		if (s < 0)
			continue;
		struct oracle_node *seed = &oracle->node[s];
		uint64_t sum = seed->activation +
			       (uint64_t)lrint((double)seeds[i].activation * SPREAD_ONE);
		oracle->reached += !seed->reached;
		seed->reached = 1;
		seed->activation = sum < SPREAD_ONE ? sum : SPREAD_ONE;
		if (seed->activation >= threshold)
			seed->hops = 0;
	}
	for (int hop = 0; hop < (int)params->hops_max; hop++) {
		oracle_hop(oracle, hop);
		for (int k = 0; k < oracle->nodes; k++)
			if (oracle->node[k].hops < 0 && oracle->node[k].activation >= threshold)
				oracle->node[k].hops = hop + 1;
	}
	for (int k = 0; k < oracle->nodes; k++)
		oracle->active += oracle->node[k].hops > 0;
}

static inline void oracle_end(struct oracle *oracle)
{
	free(oracle->node);
	free(oracle->way);
	free(oracle->firing);
}

#endif
