/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see activation_peers.h. The links of a node come from igraph_incident(), their ends from
 * igraph_to(), as igraph's documentation has it; weights stand in a vector by link. */
#include "tests/bench/activation_peers.h"

#ifdef HAVE_IGRAPH
#include <igraph/igraph.h>

enum { ONE = 1 << 30 };

struct igraph_peer {
	igraph_t graph;
	igraph_vector_int_t incident;
	const struct plain_links *links;
};

struct igraph_peer *activation_igraph_new(const struct plain_links *links)
{
	struct igraph_peer *peer = calloc(1, sizeof(*peer));
	igraph_vector_int_t ends;

	if (!peer || igraph_vector_int_init(&ends, 2 * (igraph_integer_t)links->links))
		abort();
	for (uint32_t n = 0; n < links->nodes; n++)
		for (uint32_t k = links->begin[n]; k < links->begin[n + 1]; k++) {
			VECTOR(ends)[2 * (size_t)k] = n;
			VECTOR(ends)[2 * (size_t)k + 1] = links->to[k];
		}
	if (igraph_create(&peer->graph, &ends, links->nodes, IGRAPH_DIRECTED) ||
	    igraph_vector_int_init(&peer->incident, 0))
		abort();
	igraph_vector_int_destroy(&ends);
	peer->links = links;
	return peer;
}

void activation_igraph_free(struct igraph_peer *peer)
{
	igraph_vector_int_destroy(&peer->incident);
	igraph_destroy(&peer->graph);
	free(peer);
}

uint32_t activation_igraph(struct igraph_peer *peer, struct walk_state *state,
			   const struct walk *walk, uint32_t seed)
{
	uint32_t reached = 0, begin = 0, end = 0, active = 0;

	state->activation[seed] = ONE;
	state->hops[seed] = 1;
	state->reached[reached++] = seed;
	state->active[end++] = seed;
	for (uint32_t hop = 0; hop < walk->hops_max && begin < end; hop++) {
		uint32_t level_end = end, level_begin = begin;
		/* what passes on is what was there when the hop began */
		for (uint32_t i = level_begin; i < level_end; i++)
			state->best[state->active[i]] = state->activation[state->active[i]];
		for (; begin < level_end; begin++) {
			uint32_t node = state->active[begin];
			uint64_t fire = (uint64_t)state->best[node] * walk->keep >> 15;
			igraph_incident(&peer->graph, &peer->incident, node, IGRAPH_OUT);
			igraph_integer_t count = igraph_vector_int_size(&peer->incident);
			for (igraph_integer_t k = 0; k < count; k++) {
				igraph_integer_t link = VECTOR(peer->incident)[k];
				uint32_t to = (uint32_t)IGRAPH_TO(&peer->graph, link);
				uint32_t amount =
					(uint32_t)(fire * peer->links->weight[link] >> 15);
				if (!amount)
					continue;
				if (!state->activation[to])
					state->reached[reached++] = to;
				uint32_t sum = state->activation[to] + amount;
				state->activation[to] = sum < ONE ? sum : ONE;
				if (!state->hops[to] && sum >= walk->threshold) {
					state->hops[to] = (uint8_t)(hop + 2);
					state->active[end++] = to;
				}
			}
		}
	}
	active = end - 1;
	for (uint32_t i = 0; i < reached; i++) {
		uint32_t node = state->reached[i];
		state->activation[node] = state->best[node] = 0;
		state->hops[node] = 0;
	}
	return active;
}
#else
struct igraph_peer *activation_igraph_new(const struct plain_links *links)
{
	return NULL;
}

void activation_igraph_free(struct igraph_peer *peer)
{
}

uint32_t activation_igraph(struct igraph_peer *peer, struct walk_state *state,
			   const struct walk *walk, uint32_t seed)
{
	return 0;
}
#endif
