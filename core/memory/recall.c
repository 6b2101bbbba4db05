/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   recall.h: runs: admission, the task on the bridge, names of what was found.
 * Invariants: a run belongs to who took its bit of `busy`, until it is given back. Its task has ended
 *            before that.
 * Threading: `made` for what the first runs make; else as recall_graph.c.
 */
#include "core/memory/recall_inside.h"
#include "core/memory/use.h"
#include "pool/alloc.h"

#include <errno.h>
#include <string.h>

enum { NAMES_FIRST = 64 << 10, NAMES_MAX = 4 << 20, LIMIT = 20 };

void recall_defaults(struct recall_query *q)
{
	*q = (struct recall_query){.spread = spread_defaults()};
	q->spread.direction = SPREAD_BOTH;
	q->spread.nodes_max = RECALL_NODES;
	q->spread.limit = LIMIT;
}

/* ---- names ---- */

/* Puts the path of a memory behind the other names: where it begins. -ERANGE: there is no room;
 * else as memory_path(). */
static int64_t name_put(struct recall_run *run, uint64_t inode, int inside)
{
	const struct recall_query *q = run->query;
	struct memory *mem = run->recall->mem;
	uint64_t root = names_root(mneme_shards(mem->engine));
	int next = 0;

	run->path[0] = '/';
	int rc = memory_path(mem, inode, q->scope, q->allow, q->allow_arg, &next, run->path + 1);
	int below = rc == 0;
	if (!below && !inside && q->scope != root) {
		next = 0;
		rc = memory_path(mem, inode, root, q->allow, q->allow_arg, &next, run->path + 1);
	}
	if (rc < 0)
		return rc;
	const char *name = run->path + below;
	size_t length = strlen(name) + 1;
	if (length > run->names_size - run->names_used) {
		size_t size = 2 * run->names_size;
		char *more = size <= NAMES_MAX ? alloc_resize(run->names, size) : NULL;
		if (!more)
			return size <= NAMES_MAX ? -ENOMEM : -ERANGE;
		run->names = more;
		run->names_size = size;
	}
	memcpy(run->names + run->names_used, name, length);
	run->names_used += length;
	return (int64_t)(run->names_used - length);
}

/* 0; -ERANGE, -ENOMEM; another error: it is gone, or closed, since the run. */
static int hit_name(struct recall_run *run, const struct spread_hit *hit, size_t *path, size_t *via)
{
	int64_t at = name_put(run, hit->id, 1);

	*path = (size_t)at;
	*via = run->names_used;
	for (uint32_t i = 0; i < hit->path_length && at >= 0; i++)
		at = name_put(run, hit->path[i], 0);
	return at < 0 ? (int)at : 0;
}

/* The names may move while more come: offsets become pointers at the end. */
static int hits_name(struct recall_run *run)
{
	struct recall_answer *answer = &run->answer;
	uint32_t found = answer->report.count;

	run->names_used = 0;
	for (uint32_t i = 0; i < found; i++) {
		const struct spread_hit *hit = &run->hits[i];
		struct recall_result *r = &run->results[answer->count];
		size_t before = run->names_used, path = 0, via = 0;
		int rc = run->query->without_paths ? 0 : hit_name(run, hit, &path, &via);
		if (rc == -ENOMEM)
			return rc;
		if (rc == -ERANGE) {
			answer->left_out = found - i;
			break;
		}
		if (rc < 0) {
			run->names_used = before;
			continue;
		}
		*r = (struct recall_result){.inode = hit->id,
					    .activation = hit->activation,
					    .confidence = hit->confidence,
					    .hops = hit->hops,
					    .is_pinned = (hit->flags & GRAPH_PINNED) != 0,
					    .via_count = hit->path_length};
		run->offsets[answer->count][0] = path;
		run->offsets[answer->count++][1] = via;
	}
	for (uint32_t i = 0; i < answer->count && !run->query->without_paths; i++) {
		run->results[i].path = run->names + run->offsets[i][0];
		run->results[i].via = run->names + run->offsets[i][1];
	}
	return 0;
}

/* ---- a run, on a worker of the bridge ---- */

static enum spread_verdict verdict(void *arg, uint64_t inode)
{
	struct recall_run *run = arg;
	const struct recall_query *q = run->query;
	struct memory *mem = run->recall->mem;
	int next = 0;

	if (!memory_is_open_to(mem, inode, q->allow, q->allow_arg))
		return SPREAD_DENIED;
	if (q->scope == names_root(mneme_shards(mem->engine)))
		return SPREAD_LISTED;
	return memory_path(mem, inode, q->scope, q->allow, q->allow_arg, &next, run->path) == 0
		       ? SPREAD_LISTED
		       : SPREAD_PASSED;
}

static int run_spread(struct recall_run *run)
{
	struct recall *recall = run->recall;
	const struct recall_query *q = run->query;
	struct spread_params params = q->spread;

	params.allow = verdict;
	params.allow_arg = run;
	if (params.deadline_ns)
		params.deadline_ns += run->begin_ns;
	int rc = recall_freshen(recall);
	if (rc == 0)
		rc = recall_make_spreader(recall);
	if (rc < 0)
		return rc;
	struct graph *graph = graph_live_get(recall->live);
	rc = spread_run(recall->spreader, graph, q->from, q->count, &params, run->hits,
			&run->answer.report);
	graph_put(graph);
	return rc == 0 ? hits_name(run) : rc;
}

static void run_task(struct bridge_task *task, int status)
{
	struct recall_run *run = (struct recall_run *)task;
	int rc = status ? status : run_spread(run);

	pthread_mutex_lock(&run->recall->lock);
	run->status = rc;
	run->done = 1;
	pthread_cond_broadcast(&run->recall->changed);
	pthread_mutex_unlock(&run->recall->lock);
}

/* ---- admission ---- */

static struct recall_run *run_take(struct recall *recall)
{
	struct recall_run *run = NULL;

	pthread_mutex_lock(&recall->lock);
	for (int i = 0; i < RECALL_RUNS && !run; i++)
		if (!recall->runs[i].is_busy)
			run = &recall->runs[i];
	if (run)
		run->is_busy = 1;
	else
		recall->refused++;
	pthread_mutex_unlock(&recall->lock);
	return run;
}

static void run_give(struct recall_run *run)
{
	pthread_mutex_lock(&run->recall->lock);
	run->is_busy = 0;
	pthread_mutex_unlock(&run->recall->lock);
}

static int run_reserve(struct recall_run *run)
{
	if (run->names)
		return 0;
	if (!run->hits)
		run->hits = alloc_get(RECALL_RESULTS_MAX * sizeof run->hits[0]);
	if (!run->results)
		run->results = alloc_get(RECALL_RESULTS_MAX * sizeof run->results[0]);
	if (!run->offsets)
		run->offsets = alloc_get(RECALL_RESULTS_MAX * sizeof run->offsets[0]);
	if (!run->hits || !run->results || !run->offsets)
		return -ENOMEM;
	run->names = alloc_get(NAMES_FIRST);
	run->names_size = NAMES_FIRST;
	return run->names ? 0 : -ENOMEM;
}

static int run_wait(struct recall_run *run)
{
	struct recall *recall = run->recall;

	pthread_mutex_lock(&recall->lock);
	while (!run->done)
		pthread_cond_wait(&recall->changed, &recall->lock);
	pthread_mutex_unlock(&recall->lock);
	return run->status;
}

/* What was asked about, and what came of it, was used. */
static void note(struct memory *mem, struct recall_run *run)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < run->query->count; i++)
		run->used[count++] = run->query->from[i].id;
	for (uint32_t i = 0; i < run->answer.count && i < USE_BEST; i++)
		run->used[count++] = run->answer.results[i].inode;
	use_note(mem, run->used, count);
}

int recall_ask(struct memory *mem, const struct recall_query *q, const struct recall_answer **out)
{
	struct recall *recall = mem->recall;
	uint64_t begin = bridge_now_ns();

	if (!q->count || q->count > RECALL_SEEDS_MAX || !q->spread.limit ||
	    q->spread.limit > RECALL_RESULTS_MAX)
		return -EINVAL;
	int rc = recall_wait(recall);
	if (rc < 0)
		return rc;
	struct recall_run *run = run_take(recall);
	if (!run)
		return -EAGAIN;
	rc = run_reserve(run);
	if (rc == 0) {
		run->task = (struct bridge_task){.run = run_task};
		run->query = q;
		run->begin_ns = begin;
		run->done = 0;
		run->answer = (struct recall_answer){.results = run->results};
		rc = bridge_submit(recall->bridge, &run->task, BRIDGE_HIGH, 0);
	}
	if (rc == 0)
		rc = run_wait(run);
	if (rc < 0) {
		run_give(run);
		return rc;
	}
	histogram_record(&recall->latency, bridge_now_ns() - begin);
	if (!q->without_paths)
		note(mem, run);
	*out = &run->answer;
	return 0;
}

void recall_end(struct memory *mem, const struct recall_answer *answer)
{
	struct recall *recall = mem->recall;

	for (int i = 0; i < RECALL_RUNS; i++)
		if (&recall->runs[i].answer == answer)
			run_give(&recall->runs[i]);
}

void recall_read_stats(struct memory *mem, struct recall_stats *out)
{
	struct recall *recall = mem->recall;

	*out = (struct recall_stats){0};
	graph_live_read_stats(recall->live, &out->graph);
	out->graph.waiting += atomic_load_explicit(&recall->touched.count, memory_order_relaxed);
	pthread_mutex_lock(&recall->lock);
	if (recall->spreader)
		spreader_read_stats(recall->spreader, &out->spreader);
	out->refused = recall->refused;
	for (int i = 0; i < RECALL_RUNS; i++)
		out->busy += (uint32_t)recall->runs[i].is_busy;
	pthread_mutex_unlock(&recall->lock);
}

const struct spreader_off *recall_off(const struct memory *mem)
{
	struct recall *recall = mem->recall;

	pthread_mutex_lock(&recall->lock);
	const struct spreader *spreader = recall->spreader;
	pthread_mutex_unlock(&recall->lock);
	return spreader ? spreader_read_off(spreader) : NULL;
}

const struct histogram *recall_latency(const struct memory *mem)
{
	return &mem->recall->latency;
}
