/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: graphs for the tests of core/memory's graph and spreading: random links, and a plain list of
 * links as the truth that snapshots are held against. */
#ifndef MNEME_TESTS_GRAPH_LINKS_H
#define MNEME_TESTS_GRAPH_LINKS_H

#include "core/memory/graph_build.h"

#include <stdlib.h>
#include <string.h>

struct links {
	struct graph_link *link;
	size_t count, capacity;
};

static inline uint64_t links_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33 ^ *state >> 48;
}

/* Not the numbers of nodes, and not in their order. */
static inline uint64_t links_id(uint64_t n)
{
	return n * 0x9E3779B97F4A7C15u % 1000003 + 7;
}

/* Sets a link, or with weight 0 removes it. */
static inline void links_set(struct links *links, const struct graph_link *link)
{
	for (size_t i = 0; i < links->count; i++) {
		struct graph_link *old = &links->link[i];
		if (old->from != link->from || old->to != link->to || old->type != link->type)
			continue;
		*old = *link;
		if (!link->weight)
			*old = links->link[--links->count];
		return;
	}
	if (!link->weight || link->from == link->to)
		return;
	if (links->count == links->capacity) {
		links->capacity = links->capacity ? links->capacity * 2 : 256;
		links->link = realloc(links->link, links->capacity * sizeof(*links->link));
		if (!links->link)
			abort();
	}
	links->link[links->count++] = *link;
}

static inline struct graph_change links_change(uint64_t from, uint64_t to, uint16_t weight,
					       uint8_t type)
{
	return (struct graph_change){
		.link = {.from = from, .to = to, .weight = weight, .type = type}};
}

/* One among `nodes` nodes; every eighth goes to one of four hubs. */
static inline struct graph_change links_random_change(uint64_t *state, uint32_t nodes, int removals)
{
	uint64_t from = links_random(state) % nodes, to = links_random(state) % nodes;

	if (links_random(state) % 8 == 0)
		to %= 4;
	uint16_t weight = (uint16_t)(1 + links_random(state) % GRAPH_WEIGHT_ONE);
	if (links_random(state) % 2) /* equal ones too, for what is decided by id */
		weight = (uint16_t)((1 + weight / 8192) * 8192 > GRAPH_WEIGHT_ONE
					    ? GRAPH_WEIGHT_ONE
					    : (1 + weight / 8192) * 8192);
	if (removals && links_random(state) % 3 == 0)
		weight = 0;
	return links_change(links_id(from), links_id(to), weight,
			    (uint8_t)(links_random(state) % GRAPH_TYPES));
}

#endif
