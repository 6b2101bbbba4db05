/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the bridge counted.
 */
#include "core/bridge/internal.h"

#include <string.h>

static uint64_t count_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void gate_read(const struct gate *gate, struct bridge_priority_stats *out)
{
	uint32_t max = atomic_load_explicit(&gate->depth_max, memory_order_relaxed);

	out->depth += gate_depth(gate);
	if (out->depth_max < max)
		out->depth_max = max;
}

void bridge_read_stats(struct bridge *bridge, struct bridge_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->workers = bridge->workers_count;
	/* acquire: pairs with the release in bridge_queue_new() */
	out->queues = atomic_load_explicit(&bridge->queues_count, memory_order_acquire);
	out->inflight = INFLIGHT_TASKS(count_read(&bridge->inflight));
	out->wakes = count_read(&bridge->wakes);
	for (unsigned p = 0; p < BRIDGE_PRIORITIES; p++) {
		struct bridge_priority_stats *mine = &out->priority[p];

		mine->submitted = counters_sum(&bridge->counts, COUNT_SUBMITTED + p);
		mine->refused = counters_sum(&bridge->counts, COUNT_REFUSED + p);
		gate_read(&bridge->gate[p], mine);
		for (unsigned i = 0; i < bridge->workers_count; i++) {
			mine->run += count_read(&bridge->workers[i].run[p]);
			mine->expired += count_read(&bridge->workers[i].expired[p]);
			mine->canceled += count_read(&bridge->workers[i].canceled[p]);
		}
	}
	for (unsigned i = 0; i < out->queues; i++)
		gate_read(&bridge->queues[i]->gate,
			  &out->priority[bridge->queues[i]->config.priority]);
	for (unsigned i = 0; i < bridge->workers_count; i++)
		out->sleeps += count_read(&bridge->workers[i].sleeps);
	pthread_mutex_lock(&bridge->timer.mutex);
	out->periodic_left_out = bridge->timer.left_out;
	pthread_mutex_unlock(&bridge->timer.mutex);
}

void bridge_merge_latency(struct bridge *bridge, enum bridge_priority priority,
			  struct histogram *into)
{
	for (unsigned i = 0; i < bridge->workers_count; i++)
		histogram_merge(into, &bridge->workers[i].latency[priority]);
}

int bridge_queue_read_stats(struct bridge *bridge, unsigned index, struct bridge_queue_stats *out,
			    struct histogram *sizes)
{
	if (index >= atomic_load_explicit(&bridge->queues_count, memory_order_acquire))
		return -ENOENT;
	struct bridge_queue *queue = bridge->queues[index];

	*out = (struct bridge_queue_stats){
		.name = queue->config.name,
		.depth = gate_depth(&queue->gate),
		.depth_max = atomic_load_explicit(&queue->gate.depth_max, memory_order_relaxed),
		.submitted = count_read(&queue->submitted),
		.refused = count_read(&queue->refused),
		.batches = histogram_count(&queue->sizes),
		.batch_now = batcher_size(&queue->batcher),
		.batch_limit = queue->batcher.limit,
	};
	if (sizes)
		histogram_merge(sizes, &queue->sizes);
	return 0;
}
