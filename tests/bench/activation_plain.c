/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see activation_peers.h. What one writes first: links in arrays by node, in the order in
 * which they came, and an entry a node for each thing that a walk has to know. With the path, as ours. */
#include "tests/bench/activation_peers.h"

enum { ONE = 1 << 30 };

struct plain_walk {
	const struct plain_links *links;
	struct walk_state *state;
	const struct walk *walk;
	uint32_t reached, end;
};

static void give(struct plain_walk *run, uint32_t from, uint32_t to, uint32_t amount, uint32_t hop)
{
	struct walk_state *state = run->state;

	if (!state->activation[to])
		state->reached[run->reached++] = to;
	uint32_t sum = state->activation[to] + amount;
	state->activation[to] = sum < ONE ? sum : ONE;
	if (state->hops[to] && state->hops[to] <= hop + 1)
		return;
	if (amount > state->best[to] || (amount == state->best[to] && from < state->origin[to])) {
		state->best[to] = amount;
		state->origin[to] = from;
	}
	if (!state->hops[to] && sum >= run->walk->threshold) {
		state->hops[to] = (uint8_t)(hop + 2);
		state->active[run->end++] = to;
	}
}

uint32_t activation_plain(const struct plain_links *links, struct walk_state *state,
			  const struct walk *walk, uint32_t seed)
{
	struct plain_walk run = {links, state, walk, 0, 0};
	uint32_t begin = 0;

	state->activation[seed] = ONE;
	state->hops[seed] = 1;
	state->reached[run.reached++] = seed;
	state->active[run.end++] = seed;
	for (uint32_t hop = 0; hop < walk->hops_max && begin < run.end; hop++) {
		uint32_t level_end = run.end;
		/* what passes on is what was there when the hop began; best is free from now on */
		for (uint32_t i = begin; i < level_end; i++)
			state->best[state->active[i]] = state->activation[state->active[i]];
		for (; begin < level_end; begin++) {
			uint32_t node = state->active[begin];
			uint64_t fire = (uint64_t)state->best[node] * walk->keep >> 15;
			uint32_t count = links->begin[node + 1] - links->begin[node];
			if (walk->fan_out && count > walk->fan_out)
				count = walk->fan_out;
			for (uint32_t k = links->begin[node]; count; count--, k++) {
				uint32_t amount = (uint32_t)(fire * links->weight[k] >> 15);
				if (amount)
					give(&run, node, links->to[k], amount, hop);
			}
		}
	}
	for (uint32_t i = 0; i < run.reached; i++) {
		uint32_t node = state->reached[i];
		state->activation[node] = state->best[node] = state->origin[node] = 0;
		state->hops[node] = 0;
	}
	return run.end - 1;
}
