/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the same spread as core/memory/spread.h by other means: over plain arrays, and with igraph.
 * Failure:   activation_igraph_new() returns NULL where igraph is not installed.
 */
#ifndef MNEME_TESTS_BENCH_ACTIVATION_PEERS_H
#define MNEME_TESTS_BENCH_ACTIVATION_PEERS_H

#include "core/memory/graph_build.h"

struct plain_links {
	uint32_t nodes, links;
	uint32_t *begin; /* nodes + 1 */
	uint32_t *to;    /* strongest first, in the order of numbers as they were drawn */
	uint16_t *weight;
	uint8_t *type;
};

struct walk {
	uint32_t keep, threshold, hops_max, fan_out;
};

/* State of a walk, an entry a node; all zero before and after. */
struct walk_state {
	uint32_t *activation, *best, *origin;
	uint8_t *hops;              /* hops + 1 */
	uint32_t *reached, *active; /* lists */
};

struct igraph_peer;
struct igraph_peer *activation_igraph_new(const struct plain_links *links);
void activation_igraph_free(struct igraph_peer *peer);
/* Both return the number of active nodes without the seed. */
uint32_t activation_igraph(struct igraph_peer *peer, struct walk_state *state,
			   const struct walk *walk, uint32_t seed);
uint32_t activation_plain(const struct plain_links *links, struct walk_state *state,
			  const struct walk *walk, uint32_t seed);

#endif
