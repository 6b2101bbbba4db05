/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see together.h.
 */
#include "core/memory/together.h"

#include "core/edges.h"
#include "core/memory/memory_inside.h"
#include "core/memory/recall.h"
#include "core/store/background.h"
#include "pool/alloc.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROBES = 16, SETTLE_MS = 500 };

/* ---- used together ---- */

/* [lock] A table without room close to its place takes no more. */
static void pair_count(struct memory_together *t, uint64_t from, uint64_t to)
{
	uint64_t hash = (from * 0x9e3779b97f4a7c15u ^ to) * 0x9e3779b97f4a7c15u;

	for (unsigned i = 0; i < PROBES; i++) {
		struct together_pair *p = &t->waiting[((hash >> 40) + i) & (TOGETHER_MAX - 1)];
		if (p->from && (p->from != from || p->to != to))
			continue;
		p->from = from;
		p->to = to;
		p->times++;
		t->pairs++;
		return;
	}
	t->dropped++;
}

void together_note(struct memory *mem, const uint64_t *inodes, unsigned count)
{
	struct memory_together *t = &mem->together;

	if (count > TOGETHER_BEST)
		count = TOGETHER_BEST;
	if (count < 2)
		return;
	pthread_mutex_lock(&t->lock);
	if (!t->waiting)
		t->waiting = alloc_zeroed(TOGETHER_MAX, sizeof t->waiting[0]);
	for (unsigned i = 0; i < count && t->waiting; i++)
		for (unsigned k = i + 1; k < count; k++)
			if (inodes[i] != inodes[k])
				pair_count(t, inodes[i] < inodes[k] ? inodes[i] : inodes[k],
					   inodes[i] < inodes[k] ? inodes[k] : inodes[i]);
	pthread_mutex_unlock(&t->lock);
}

void together_write(struct memory *mem)
{
	struct memory_together *t = &mem->together;

	pthread_mutex_lock(&t->lock);
	struct together_pair *pairs = t->waiting;
	t->waiting = NULL;
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < TOGETHER_MAX && pairs; i++)
		if (pairs[i].from && edges_strengthen(mem->engine, pairs[i].from, pairs[i].to,
						      pairs[i].times) == 0) {
			atomic_fetch_add_explicit(&t->written, 1, memory_order_relaxed);
			recall_touch(mem, pairs[i].from);
		}
	alloc_free(pairs);
}

void together_read_stats(struct memory *mem, struct use_stats *out)
{
	struct memory_together *t = &mem->together;

	pthread_mutex_lock(&t->lock);
	out->pairs = t->pairs;
	out->pairs_dropped = t->dropped;
	pthread_mutex_unlock(&t->lock);
	out->pairs_written = atomic_load_explicit(&t->written, memory_order_relaxed);
	out->neighbours_written = atomic_load_explicit(&t->near_written, memory_order_relaxed);
}

/* ---- near by meaning ---- */

static unsigned wanted_of(struct memory *mem, uint64_t inode)
{
	char value[MEMORY_SETTING_MAX];

	if (!memory_use_setting(mem, inode, MEMORY_SETTING_NEIGHBOURS, value))
		return 0;
	unsigned long wanted = strtoul(value, NULL, 10);
	return wanted > EDGES_MAX ? EDGES_MAX : (unsigned)wanted;
}

static uint32_t nearest_find(struct memory *mem, uint64_t inode, unsigned wanted,
			     struct edge list[EDGES_MAX])
{
	const struct memory_query q = {.like = inode,
				       .scope = names_root(mneme_shards(mem->engine)),
				       .mode = MEMORY_SIMILAR,
				       .limit = wanted,
				       .uncounted = 1};
	struct memory_answer *answer;
	uint32_t count = 0;

	if (!wanted || memory_search(mem, &q, &answer) < 0)
		return 0;
	for (uint32_t i = 0; i < answer->count; i++) {
		float near = answer->results[i].cosine;
		uint32_t weight = near > 0 ? (uint32_t)lrintf(near * NAMES_WEIGHT_ONE) : 0;
		if (!weight || answer->results[i].inode == inode)
			continue;
		list[count++] = (struct edge){
			.to = answer->results[i].inode,
			.weight = (uint16_t)(weight > NAMES_WEIGHT_ONE ? NAMES_WEIGHT_ONE : weight),
			.kind = NAMES_EDGE_NEIGHBOUR};
	}
	memory_answer_free(answer);
	return count;
}

static int owner_add(void *arg, uint64_t owner)
{
	struct memory *mem = arg;

	return pending_add(&mem->near_waiting, owner, 0);
}

static void neighbours_find(void *arg, int status)
{
	struct memory *mem = arg;
	struct edge list[EDGES_MAX];
	uint64_t inode, next;

	(void)status;
	if (atomic_exchange_explicit(&mem->together.all, 0, memory_order_relaxed)) {
		pthread_rwlock_rdlock(&mem->index);
		(void)lexical_each(mem->lexical, owner_add, mem);
		pthread_rwlock_unlock(&mem->index);
	}
	while (!atomic_load_explicit(&mem->upkeep.stop, memory_order_relaxed) &&
	       (inode = pending_take(&mem->near_waiting, UINT64_MAX, &next))) {
		uint32_t count = nearest_find(mem, inode, wanted_of(mem, inode), list);
		if (edges_set(mem->engine, inode, NAMES_EDGE_NEIGHBOUR, list, count) > 0) {
			atomic_fetch_add_explicit(&mem->together.near_written, count,
						  memory_order_relaxed);
			recall_touch(mem, inode);
		}
	}
}

void together_embedded(struct memory *mem, uint64_t inode)
{
	struct memory_together *t = &mem->together;

	if (!t->alarm || !atomic_load_explicit(&mem->use.on, memory_order_relaxed))
		return;
	if (inode)
		(void)pending_add(&mem->near_waiting, inode, 0);
	else
		atomic_store_explicit(&t->all, 1, memory_order_relaxed);
	bridge_periodic_at(t->alarm, bridge_now_ns() + SETTLE_MS * 1000000ull);
}

void memory_neighbours_changed(struct memory *mem)
{
	together_embedded(mem, 0);
}

int together_start(struct memory *mem)
{
	struct bridge *bridge = background_bridge(mem->engine);

	pthread_mutex_init(&mem->together.lock, NULL);
	int rc = pending_init(&mem->near_waiting);
	if (rc < 0 || mem->read_only)
		return rc;
	return bridge ? bridge_periodic_new(bridge, 0, BRIDGE_LOW, neighbours_find, mem,
					    &mem->together.alarm)
		      : -EINVAL;
}

void together_stop(struct memory *mem)
{
	if (mem->together.alarm)
		bridge_periodic_stop(mem->together.alarm);
	mem->together.alarm = NULL;
	pending_fini(&mem->near_waiting);
	alloc_free(mem->together.waiting);
	mem->together.waiting = NULL;
}
