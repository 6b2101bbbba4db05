/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the adaptive batch size; the rules are in batcher.h.
 */
#include "core/bridge/batcher.h"
#include "pool/check.h"

enum { Q8 = 256, WEIGHT = 8 };

static uint32_t clamp_u32(uint64_t value, uint32_t min, uint32_t max)
{
	return value < min ? min : value > max ? max : (uint32_t)value;
}

void batcher_init(struct batcher *batcher, const struct batcher_config *config,
		  const struct machine_facts *machine)
{
	CHECK(config->item_bytes && config->batch_min && config->servers);
	CHECK(config->batch_max >= config->batch_min);
	uint64_t by_l2 = machine->l2_bytes / 2 / config->item_bytes;
	uint64_t by_l3 = machine->l3_bytes / 2 / machine->cores / config->item_bytes;

	batcher->min = config->batch_min;
	batcher->limit =
		clamp_u32(by_l2 < by_l3 ? by_l2 : by_l3, config->batch_min, config->batch_max);
	batcher->servers = config->servers;
	batcher->budget_ns = config->budget_ns;
	batcher->backlog_q8 = 0;
	batcher->item_ns_q8 = 0;
	atomic_store_explicit(&batcher->size, batcher->min, memory_order_relaxed);
}

/* Moves an average by 1/WEIGHT of the way to `sample`, both times Q8. */
static uint64_t smooth(uint64_t average, uint64_t sample)
{
	return sample >= average ? average + (sample - average + WEIGHT - 1) / WEIGHT
				 : average - (average - sample + WEIGHT - 1) / WEIGHT;
}

/* The most that the time budget allows. */
static uint32_t budget_bound(const struct batcher *batcher)
{
	if (!batcher->budget_ns || !batcher->item_ns_q8)
		return batcher->limit;
	return clamp_u32(batcher->budget_ns * Q8 / batcher->item_ns_q8, batcher->min,
			 batcher->limit);
}

void batcher_observe(struct batcher *batcher, uint64_t waiting, uint32_t taken, uint64_t spent_ns)
{
	uint32_t size = batcher_size(batcher);
	uint64_t item_q8 = spent_ns * Q8 / taken;

	batcher->backlog_q8 = smooth(batcher->backlog_q8, waiting * Q8 / batcher->servers);
	batcher->item_ns_q8 = batcher->item_ns_q8 ? smooth(batcher->item_ns_q8, item_q8)
						  : (item_q8 ? item_q8 : 1);
	uint32_t bound = budget_bound(batcher);
	uint64_t backlog = batcher->backlog_q8 / Q8;

	if (size > bound) {
		size = bound;
	} else if (backlog > size) {
		uint32_t grown = size + (size / 4 ? size / 4 : 1);
		uint32_t stop = bound == batcher->limit ? bound : bound - bound / 8;
		if (grown > stop)
			grown = stop;
		if (grown > size)
			size = grown;
	} else if (backlog < size / 4) {
		size -= size / 8 ? size / 8 : 1;
	}
	atomic_store_explicit(&batcher->size, clamp_u32(size, batcher->min, batcher->limit),
			      memory_order_relaxed);
}
