/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   batch queues.
 * Invariants: `scheduled` is 1 exactly while the token is in the priority's ring or has its turn;
 *            only who changes it from 0 to 1 puts the token into the ring.
 * Threading: a submitter pushes, then exchanges `scheduled`; the turn stores 0 by an exchange,
 *            then looks at the ring. Both exchanges are acq_rel on one word: if the turn's is
 *            later its look sees the push, else the submitter finds 0 and schedules the token.
 *            The turn's fields pass from worker to worker with the token.
 */
#include "core/bridge/internal.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <string.h>

enum { QUEUE_DEPTH_DEFAULT = 4096, QUEUE_DEPTH_MAX = 1 << 24, ITEM_BYTES_DEFAULT = 4096 };

/* Marks a token; workers never call it, they give the queue its turn. */
static void token_run(struct bridge_task *task, int status)
{
	CHECK(!"a queue's token is not a task");
}

int task_is_token(const struct bridge_task *task)
{
	return task->run == token_run;
}

static int queue_config_fill(struct bridge_queue_config *config)
{
	if (!config->handle || !config->name || (unsigned)config->priority >= BRIDGE_PRIORITIES)
		return -EINVAL;
	if (!config->depth)
		config->depth = QUEUE_DEPTH_DEFAULT;
	if (!config->item_bytes)
		config->item_bytes = ITEM_BYTES_DEFAULT;
	if (!config->batch_min)
		config->batch_min = 1;
	if (!config->batch_max || config->batch_max > BRIDGE_BATCH_MAX)
		config->batch_max = BRIDGE_BATCH_MAX;
	if (config->batch_min > config->batch_max || config->depth > QUEUE_DEPTH_MAX)
		return -EINVAL;
	return 0;
}

static void queue_free(struct bridge_queue *queue)
{
	ring_destroy(&queue->ring);
	alloc_free(queue->batch);
	alloc_free(queue);
}

static int queue_make(struct bridge *bridge, const struct bridge_queue_config *config,
		      struct bridge_queue **out)
{
	struct bridge_queue *queue = alloc_aligned(CACHE_LINE, sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	memset((void *)queue, 0, sizeof(*queue));
	queue->token.run = token_run;
	queue->bridge = bridge;
	queue->config = *config;
	int error = queue_config_fill(&queue->config);
	if (error)
		goto out_free;
	const struct batcher_config batcher = {
		.item_bytes = queue->config.item_bytes,
		.batch_min = queue->config.batch_min,
		.batch_max = queue->config.batch_max,
		.servers = 1, /* one batch of a queue at a time */
		.budget_ns = queue->config.budget_ns,
	};
	batcher_init(&queue->batcher, &batcher, machine_facts());
	gate_init(&queue->gate, queue->config.depth);
	queue->batch = alloc_get(queue->batcher.limit * sizeof(*queue->batch));
	error = queue->batch ? ring_init(&queue->ring, queue->config.depth + 1) : -ENOMEM;
	if (error)
		goto out_free;
	*out = queue;
	return 0;
out_free:
	queue_free(queue);
	return error;
}

int bridge_queue_new(struct bridge *bridge, const struct bridge_queue_config *config,
		     struct bridge_queue **out)
{
	int error = -ENOSPC;

	pthread_mutex_lock(&bridge->mutex);
	uint32_t count = atomic_load_explicit(&bridge->queues_count, memory_order_relaxed);
	if (count < BRIDGE_QUEUES_MAX)
		error = queue_make(bridge, config, out);
	if (!error) {
		bridge->queues[count] = *out;
		/* release: pairs with the acquire in stats.c */
		atomic_store_explicit(&bridge->queues_count, count + 1, memory_order_release);
	}
	pthread_mutex_unlock(&bridge->mutex);
	return error;
}

void queues_free(struct bridge *bridge)
{
	for (uint32_t i = 0; i < atomic_load_explicit(&bridge->queues_count, memory_order_acquire);
	     i++)
		queue_free(bridge->queues[i]);
}

static void token_schedule(struct bridge_queue *queue)
{
	struct bridge *bridge = queue->bridge;

	queue->token.queued_ns = bridge_now_ns();
	ring_put(&bridge->ring[queue->config.priority], &queue->token);
	workers_signal(bridge, queue->config.priority);
}

int bridge_queue_submit(struct bridge_queue *queue, struct bridge_task *task, unsigned flags)
{
	struct bridge *bridge = queue->bridge;
	enum bridge_priority priority = queue->config.priority;
	int wait = (flags & BRIDGE_WAIT) && !worker_self;
	int error = inflight_enter(bridge);

	if (error)
		goto refused;
	error = gate_enter(&queue->gate, wait, task->deadline_ns);
	if (error) {
		inflight_leave(bridge, 1);
		goto refused;
	}
	counters_add(&bridge->counts, COUNT_SUBMITTED + priority, 1);
	atomic_fetch_add_explicit(&queue->submitted, 1, memory_order_relaxed);
	task->queued_ns = bridge_now_ns();
	ring_put(&queue->ring, task);
	/* acq_rel: see the head of this file */
	if (!atomic_exchange_explicit(&queue->scheduled, 1, memory_order_acq_rel))
		token_schedule(queue);
	return 0;
refused:
	counters_add(&bridge->counts, COUNT_REFUSED + priority, 1);
	atomic_fetch_add_explicit(&queue->refused, 1, memory_order_relaxed);
	return error;
}

/* Takes up to `want` tasks; finishes those that are not to be done. Sets *taken to all of them and
 * returns how many are left to do in queue->batch. */
static uint32_t batch_take(struct worker *worker, struct bridge_queue *queue, uint32_t want,
			   uint64_t now, uint32_t *taken)
{
	enum bridge_priority priority = queue->config.priority;
	int cancel = atomic_load_explicit(&queue->bridge->cancel, memory_order_relaxed);
	uint32_t count = 0;

	for (*taken = 0; *taken < want; ++*taken) {
		struct bridge_task *task = ring_pop(&queue->ring);
		if (!task)
			break;
		worker_note_latency(worker, task, priority, now);
		if (cancel)
			worker_finish(worker, task, priority, -ECANCELED);
		else if (task->deadline_ns && now > task->deadline_ns)
			worker_finish(worker, task, priority, -ETIME);
		else
			queue->batch[count++] = task;
	}
	if (*taken)
		gate_leave(&queue->gate, *taken);
	return count;
}

void queue_turn(struct worker *worker, struct bridge_task *token)
{
	struct bridge_queue *queue = (struct bridge_queue *)token;
	uint64_t begin = bridge_now_ns(), waiting = ring_depth(&queue->ring);
	uint32_t taken, count;

	count = batch_take(worker, queue, batcher_size(&queue->batcher), begin, &taken);
	if (count) {
		int result = queue->config.handle(queue->config.ctx, queue->batch, count);
		for (uint32_t i = 0; i < count; i++)
			worker_finish(worker, queue->batch[i], queue->config.priority, result);
		batcher_observe(&queue->batcher, waiting, count, bridge_now_ns() - begin);
		histogram_record_owned(&queue->sizes, count);
	}
	if (!ring_ready(&queue->ring)) {
		/* acq_rel: see the head of this file */
		atomic_exchange_explicit(&queue->scheduled, 0, memory_order_acq_rel);
		if (ring_ready(&queue->ring) &&
		    !atomic_exchange_explicit(&queue->scheduled, 1, memory_order_acq_rel))
			token_schedule(queue);
	} else {
		token_schedule(queue);
	}
	/* last: so drained means that the token rests too, or will find nothing */
	if (taken)
		inflight_leave(worker->bridge, taken);
}
