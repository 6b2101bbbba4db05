/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the steps of a hop: emit, merge, settle; see spread_inside.h.
 */
#include "core/memory/spread_inside.h"
#include "pool/check.h"

#include <string.h>

enum { AHEAD_NODES = 6, AHEAD_SLOTS = 24, AHEAD_RECORDS = 12, AHEAD_SETTLE = 8 };

void spread_step(struct spread_run *run, team_work *step, uint32_t count)
{
	if (run->with_team && count > 1) {
		team_step(run->spreader->team, step, run, count);
		return;
	}
	for (uint32_t part = 0; part < count; part++)
		step(run, 0, part);
}

enum spread_verdict spread_verdict_of(const struct spread_run *run, uint32_t node)
{
	uint8_t *verdict = &run->work->verdicts[node];

	if (!*verdict)
		*verdict = (uint8_t)(1 + run->params->allow(run->params->allow_arg,
							    run->graph->nodes[node].id));
	return *verdict - 1;
}

/* emit */

static struct contribution *emit_links(const struct spread_run *run, const struct graph_edge *edge,
				       uint32_t count, const struct firing *firing,
				       struct contribution *out)
{
	uint32_t types = run->params->types;
	const uint8_t *verdicts = run->params->allow ? run->work->verdicts : NULL;

	for (uint32_t k = 0; k < count; k++) {
		if (verdicts && verdicts[edge[k].to] <= SPREAD_DENIED + 1)
			continue;
		uint32_t amount = (uint32_t)((uint64_t)firing->fire * edge[k].weight >> 15);
		out->to = edge[k].to;
		out->amount = amount;
		out->from = firing->record;
		out += (types >> edge[k].type & 1) && amount;
	}
	return out;
}

/* Links low .. high - 1 of those that this firing looks at. */
static struct contribution *emit_node(const struct spread_run *run, const struct firing *firing,
				      uint32_t low, uint32_t high, struct contribution *out)
{
	const struct graph *graph = run->graph;
	const struct graph_node *node = &graph->nodes[firing->node];
	uint32_t near_end = firing->out_extent < GRAPH_NEAR ? firing->out_extent : GRAPH_NEAR;

	if (low < near_end) {
		uint32_t end = high < near_end ? high : near_end;
		out = emit_links(run, node->near + low, end - low, firing, out);
		low = end;
	}
	if (low < high && low < firing->out_extent) {
		uint32_t end = high < firing->out_extent ? high : firing->out_extent;
		out = emit_links(run, graph->out + node->out_begin + low - GRAPH_NEAR, end - low,
				 firing, out);
		low = end;
	}
	if (low < high)
		out = emit_links(run, graph->in + node->in_begin + low - firing->out_extent,
				 high - low, firing, out);
	return out;
}

/* The firing that has this link of the hop; *span is where it is. */
static uint32_t find_firing(const struct spread_run *run, uint64_t link, unsigned *span)
{
	unsigned s = 0;

	while (link >= run->span[s].base + run->span[s].links)
		s++;
	const struct span *in = &run->span[s];
	uint32_t low = 0, high = in->count;
	while (high - low > 1) {
		uint32_t middle = (low + high) / 2;
		if (in->base + in->list[middle].begin <= link)
			low = middle;
		else
			high = middle;
	}
	*span = s;
	return low;
}

/* Sorts a chunk by partition. */
static void scatter(const struct spread_run *run, const struct contribution *from, uint32_t count,
		    struct contribution *to, uint16_t *begin)
{
	uint16_t at[PARTITIONS_MAX + 1] = {0};

	for (uint32_t i = 0; i < count; i++)
		at[spread_partition(run, from[i].to) + 1]++;
	for (unsigned p = 0; p < run->partitions; p++)
		at[p + 1] = (uint16_t)(at[p + 1] + at[p]);
	memcpy(begin, at, sizeof(at));
	for (uint32_t i = 0; i < count; i++)
		to[at[spread_partition(run, from[i].to)]++] = from[i];
}

void spread_emit(void *arg, unsigned member, uint32_t chunk)
{
	struct spread_run *run = arg;
	struct contribution *chunk_out = run->work->contributions + (size_t)chunk * CHUNK_LINKS;
	struct contribution *first =
		run->partitions > 1 ? run->work->scratch + (size_t)member * CHUNK_LINKS : chunk_out;
	struct contribution *out = first;
	uint64_t link = run->batch_first + (uint64_t)chunk * CHUNK_LINKS, end = link + CHUNK_LINKS;
	unsigned s;

	if (end > run->batch_end)
		end = run->batch_end;
	uint32_t at = find_firing(run, link, &s);
	while (link < end) {
		const struct span *span = &run->span[s];
		if (at == span->count) {
			s++;
			at = 0;
			continue;
		}
		const struct firing *firing = &span->list[at++];
		const uint32_t ahead = spread_ahead(run, span->count);
		if (at + AHEAD_NODES < ahead)
			__builtin_prefetch(&run->graph->nodes[firing[AHEAD_NODES].node]);
		if (at + AHEAD_NODES / 2 < ahead && firing[AHEAD_NODES / 2].extent > GRAPH_NEAR)
			__builtin_prefetch(
				&run->graph->out[run->graph->nodes[firing[AHEAD_NODES / 2].node]
							 .out_begin]);
		uint64_t low = link - span->base - firing->begin, high = low + (end - link);
		if (high > firing->extent)
			high = firing->extent;
		out = emit_node(run, firing, (uint32_t)low, (uint32_t)high, out);
		link += high - low;
	}
	uint32_t count = (uint32_t)(out - first);
	uint16_t *begin = run->work->chunk_begin[chunk];
	if (run->partitions > 1) {
		scatter(run, first, count, chunk_out, begin);
	} else {
		begin[0] = 0;
		begin[1] = (uint16_t)count;
	}
	atomic_fetch_add_explicit(&run->followed, count, memory_order_relaxed);
}

/* merge */

struct spread_record *spread_reach(struct spread_run *run, struct partition *partition,
				   uint32_t node)
{
	uint32_t *slot = &run->work->slots[node];

	if (*slot)
		return &run->records[*slot - 1];
	if (partition->members_count == partition->capacity) {
		partition->overflow = 1;
		return NULL;
	}
	struct spread_record *record = records_acquire(run->spreader->records);
	CHECK(record); /* promised to this run, and what magazines hold comes on top */
	*record = (struct spread_record){.node = node, .origin = GRAPH_NONE, .hops = NOT_ACTIVE};
	uint32_t number = (uint32_t)(record - run->records);
	*slot = number + 1;
	partition->members[partition->members_count++] = number;
	return record;
}

static int origin_is_better(const struct spread_run *run, uint32_t from, uint32_t than)
{
	return than == GRAPH_NONE || run->graph->nodes[run->records[from].node].id <
					     run->graph->nodes[run->records[than].node].id;
}

static void take_contribution(struct spread_run *run, struct partition *partition,
			      const struct contribution *one)
{
	struct spread_record *record = spread_reach(run, partition, one->to);

	if (!record)
		return;
	uint32_t sum = record->activation + one->amount; /* below 2^31 */
	record->activation = sum < SPREAD_ONE ? sum : SPREAD_ONE;
	if (record->hops <= run->hop)
		return;
	if (one->amount > record->best ||
	    (one->amount == record->best && origin_is_better(run, one->from, record->origin))) {
		record->best = one->amount;
		record->origin = one->from;
	}
	if (record->hops == NOT_ACTIVE && sum >= run->threshold) {
		record->hops = (uint8_t)(run->hop + 1);
		partition->queue[partition->queued++] = (uint32_t)(record - run->records);
	}
}

static void merge_chunk(struct spread_run *run, struct partition *partition,
			const struct contribution *list, uint32_t count)
{
	const uint32_t *slots = run->work->slots;
	const uint32_t ahead = spread_ahead(run, count);

	for (uint32_t i = 0; i < count; i++) {
		if (i + AHEAD_SLOTS < ahead)
			__builtin_prefetch(&slots[list[i + AHEAD_SLOTS].to], 1);
		if (i + AHEAD_RECORDS < ahead) {
			uint32_t slot = slots[list[i + AHEAD_RECORDS].to];
			__builtin_prefetch(&run->records[slot ? slot - 1 : 0], 1);
		}
		take_contribution(run, partition, &list[i]);
	}
}

void spread_merge(void *arg, unsigned member, uint32_t p)
{
	struct spread_run *run = arg;
	uint32_t chunks =
		(uint32_t)((run->batch_end - run->batch_first + CHUNK_LINKS - 1) / CHUNK_LINKS);

	for (uint32_t c = 0; c < chunks; c++) {
		const uint16_t *begin = run->work->chunk_begin[c];
		merge_chunk(run, &run->work->partition[p],
			    run->work->contributions + (size_t)c * CHUNK_LINKS + begin[p],
			    begin[p + 1] - begin[p]);
	}
}

/* settle */

/* How many links of the list hold the `fan_out` strongest of the types asked for, to what the run may
 * know of. */
static uint32_t extent_of(const struct spread_run *run, const struct graph_node *node,
			  uint32_t count, int in, uint32_t *leads_on)
{
	uint32_t types = run->params->types, wanted = run->fan_out ? run->fan_out : GRAPH_NONE;

	if (types == (1u << GRAPH_TYPES) - 1 && !run->params->allow) {
		uint32_t all = count < wanted ? count : wanted;
		*leads_on += all;
		return all;
	}
	uint32_t extent = 0;
	for (uint32_t k = 0; k < count && wanted; k++) {
		const struct graph_edge *edge =
			in ? &run->graph->in[node->in_begin + k] : graph_out(run->graph, node, k);
		if (types >> edge->type & 1 &&
		    (!run->params->allow || spread_verdict_of(run, edge->to) != SPREAD_DENIED)) {
			wanted--;
			++*leads_on;
			extent = k + 1;
		}
	}
	return extent;
}

struct firing spread_firing_unasked(const struct spread_run *run, uint32_t number)
{
	const struct spread_record *record = &run->records[number];
	const struct graph_node *node = &run->graph->nodes[record->node];
	uint32_t most = run->fan_out ? run->fan_out : GRAPH_NONE;
	struct firing firing = {.record = number, .node = record->node};

	firing.fire = (uint32_t)((uint64_t)record->activation * run->keep >> 15);
	if (run->params->direction & SPREAD_OUT)
		firing.out_extent = node->out_count < most ? node->out_count : most;
	firing.extent = firing.out_extent;
	if (run->params->direction & SPREAD_IN)
		firing.extent += node->in_count < most ? node->in_count : most;
	firing.count = firing.extent;
	return firing;
}

struct firing spread_firing(const struct spread_run *run, uint32_t number)
{
	const struct spread_record *record = &run->records[number];
	const struct graph_node *node = &run->graph->nodes[record->node];
	enum spread_direction direction = run->params->direction;
	struct firing firing = {.record = number, .node = record->node};

	firing.fire = (uint32_t)((uint64_t)record->activation * run->keep >> 15);
	if (direction & SPREAD_OUT)
		firing.out_extent = extent_of(run, node, node->out_count, 0, &firing.count);
	firing.extent = firing.out_extent;
	if (direction & SPREAD_IN)
		firing.extent += extent_of(run, node, node->in_count, 1, &firing.count);
	return firing;
}

void spread_settle(void *arg, unsigned member, uint32_t p)
{
	struct spread_run *run = arg;
	struct partition *partition = &run->work->partition[p];

	partition->firings_begin = partition->firings_end;
	partition->links = partition->counted = 0;
	const uint32_t ahead = spread_ahead(run, partition->queued);
	for (uint32_t i = 0; i < partition->queued; i++) {
		if (i + AHEAD_SETTLE < ahead)
			__builtin_prefetch(
				&run->graph->nodes[run->records[partition->queue[i + AHEAD_SETTLE]]
							   .node]);
		struct firing firing = run->is_unasked
					       ? spread_firing_unasked(run, partition->queue[i])
					       : spread_firing(run, partition->queue[i]);
		if (!firing.fire || !firing.count)
			continue;
		firing.begin = (uint32_t)partition->links;
		partition->links += firing.extent;
		partition->counted += firing.count;
		partition->firings[partition->firings_end++] = firing;
	}
	partition->queued = 0;
}
