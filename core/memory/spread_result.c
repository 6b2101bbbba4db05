/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   orders: of the firings where the budget is short, and of the results.
 */
#include "core/memory/spread_inside.h"
#include "pool/check.h"

#include <string.h>

/* The firings of all partitions into `to`; returns how many. */
static uint32_t gather(const struct spread_run *run, struct firing *to)
{
	uint32_t count = 0;

	for (unsigned s = 0; s < run->spans; s++) {
		memcpy(to + count, run->span[s].list, run->span[s].count * sizeof(*to));
		count += run->span[s].count;
	}
	return count;
}

/* Sorts keys by their upper half, the largest first; `other` is room for as many. */
static uint64_t *radix_sort(uint64_t *keys, uint64_t *other, uint32_t count)
{
	enum { BITS = 8, BINS = 1 << BITS };

	for (unsigned shift = 32; shift < 64; shift += BITS) {
		uint32_t at[BINS + 1] = {0};
		for (uint32_t i = 0; i < count; i++)
			at[(~keys[i] >> shift & (BINS - 1)) + 1]++;
		for (unsigned b = 0; b < BINS; b++)
			at[b + 1] += at[b];
		for (uint32_t i = 0; i < count; i++)
			other[at[~keys[i] >> shift & (BINS - 1)]++] = keys[i];
		uint64_t *sorted = other;
		other = keys;
		keys = sorted;
	}
	return keys;
}

static uint64_t id_of(const struct spread_run *run, uint32_t record)
{
	return run->graph->nodes[run->records[record].node].id;
}

/* Sifts list[at] down in a heap whose root comes last in the order given by `before`. */
static void sift(const void *arg, uint32_t *list, uint32_t count, uint32_t at,
		 int (*before)(const void *arg, uint32_t a, uint32_t b))
{
	for (;;) {
		uint32_t child = 2 * at + 1;
		if (child >= count)
			return;
		if (child + 1 < count && before(arg, list[child], list[child + 1]))
			child++;
		if (!before(arg, list[at], list[child]))
			return;
		uint32_t number = list[at];
		list[at] = list[child];
		list[child] = number;
		at = child;
	}
}

static void heap_sort(const void *arg, uint32_t *list, uint32_t count,
		      int (*before)(const void *arg, uint32_t a, uint32_t b))
{
	for (uint32_t i = count / 2; i-- > 0;)
		sift(arg, list, count, i, before);
	for (uint32_t end = count; end > 1; end--) {
		uint32_t last = list[0];
		list[0] = list[end - 1];
		list[end - 1] = last;
		sift(arg, list, end - 1, 0, before);
	}
}

static int id_before(const void *arg, uint32_t a, uint32_t b)
{
	return id_of(arg, a) < id_of(arg, b);
}

/* The order of the results: see spread.h. */
static int is_before(const void *arg, uint32_t a, uint32_t b)
{
	const struct spread_run *run = arg;
	const struct spread_record *x = &run->records[a], *y = &run->records[b];

	if (x->activation != y->activation)
		return x->activation > y->activation;
	if (x->hops != y->hops)
		return x->hops < y->hops;
	return x->best != y->best ? x->best > y->best : id_of(run, a) < id_of(run, b);
}

uint32_t spread_sort_firings(struct spread_run *run)
{
	struct workspace *work = run->work;
	/* by number of the unsorted copy, which stands in the second half of its room */
	struct firing *from = work->sorted + run->spreader->nodes_max;
	uint32_t count = gather(run, from), *tied = work->partition[0].queue;
	uint64_t *keys = work->order;

	for (uint32_t i = 0; i < count; i++)
		keys[i] = (uint64_t)from[i].fire << 32 | i;
	keys = radix_sort(keys, keys + run->spreader->nodes_max, count);
	for (uint32_t low = 0, high; low < count; low = high) {
		for (high = low + 1; high < count && keys[high] >> 32 == keys[low] >> 32; high++)
			;
		if (high == low + 1) {
			work->sorted[low] = from[(uint32_t)keys[low]];
			continue;
		}
		for (uint32_t i = low; i < high; i++)
			tied[i - low] = from[(uint32_t)keys[i]].record;
		heap_sort(run, tied, high - low, id_before);
		/* of equal fire: any of them with another record and its own extents */
		for (uint32_t i = low; i < high; i++) {
			uint32_t fire = from[(uint32_t)keys[low]].fire;
			work->sorted[i] = run->is_unasked
						  ? spread_firing_unasked(run, tied[i - low])
						  : spread_firing(run, tied[i - low]);
			work->sorted[i].fire = fire; /* as it was when the hop began */
		}
	}
	return count;
}

void spread_best(void *arg, unsigned member, uint32_t p)
{
	struct spread_run *run = arg;
	struct partition *partition = &run->work->partition[p];
	uint32_t wanted = run->params->limit, *heap = partition->queue, count = 0;

	partition->active = 0;
	if (wanted > partition->capacity)
		wanted = partition->capacity;
	for (uint32_t i = 0; i < partition->members_count; i++) {
		uint32_t number = partition->members[i];
		const struct spread_record *record = &run->records[number];
		if (record->hops == NOT_ACTIVE || (!record->hops && !run->params->list_seeds) ||
		    (run->params->allow && spread_verdict_of(run, record->node) != SPREAD_LISTED))
			continue;
		partition->active += record->hops != 0;
		if (count < wanted) {
			heap[count++] = number;
			if (count == wanted)
				for (uint32_t k = count / 2; k-- > 0;)
					sift(run, heap, count, k, is_before);
		} else if (wanted && is_before(run, number, heap[0])) {
			heap[0] = number;
			sift(run, heap, count, 0, is_before);
		}
	}
	partition->queued = count;
}

static void hit_fill(const struct spread_run *run, uint32_t number, struct spread_hit *hit)
{
	const struct spread_record *record = &run->records[number];
	const struct graph_node *node = &run->graph->nodes[record->node];
	uint32_t length = 0;

	hit->id = node->id;
	hit->activation_exact = record->activation;
	hit->activation = (float)record->activation / (float)SPREAD_ONE;
	hit->confidence = (float)node->confidence / (float)GRAPH_WEIGHT_ONE;
	hit->hops = record->hops;
	hit->flags = node->flags;
	for (uint32_t at = record->origin; at != GRAPH_NONE; at = run->records[at].origin)
		length++;
	CHECK(length <= record->hops && (length || !record->hops));
	hit->path_length = length;
	for (uint32_t at = record->origin; at != GRAPH_NONE; at = run->records[at].origin)
		hit->path[--length] = id_of(run, at);
}

void spread_collect(struct spread_run *run, struct spread_hit *hits)
{
	struct spread_report *report = run->report;
	uint32_t *all = (uint32_t *)run->work->order, count = 0;

	spread_step(run, spread_best, run->partitions);
	report->active = report->reached = 0;
	for (unsigned p = 0; p < run->partitions; p++) {
		const struct partition *partition = &run->work->partition[p];
		memcpy(all + count, partition->queue, partition->queued * sizeof(*all));
		count += partition->queued;
		report->active += partition->active;
		report->reached += partition->members_count;
	}
	heap_sort(run, all, count, is_before);
	report->count = count < run->params->limit ? count : run->params->limit;
	for (uint32_t i = 0; i < report->count; i++)
		hit_fill(run, all[i], &hits[i]);
}
