/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   spreading activation: admission, the hops of a run, the budget; see spread.h.
 */
#include "core/memory/spread_inside.h"
#include "core/memory/graph_inside.h"
#include "core/bridge/bridge.h"
#include "core/bridge/machine.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

enum {
	CONCURRENT = 4,
	NODES_MAX = 32768,
	NODES_MAX_LEAST = 1024,
	PARTITIONS_A_THREAD = 2,
	TEAM_LINKS = 8192,     /* a hop with fewer is made alone */
	TEAM_SHARE_MIN = 4096, /* links of a batch for each thread: some chunks to share out */
	BATCH_LINKS_MIN = 256,
	BATCH_BUDGET_NS = 250000, /* the deadline is looked at between two batches */
	AHEAD_RELEASE = 8,
	SAMPLE_EVERY = 64, /* of so many runs one goes without prefetching, for comparison */
	LINK_BYTES = 96,   /* read and written for a link: for a first idea of its time */
};

struct spread_params spread_defaults(void)
{
	return (struct spread_params){.decay = 0.3f,
				      .threshold = 0.01f,
				      .hops_max = 5,
				      .fan_out = 64,
				      .nodes_max = NODES_MAX,
				      .types = (1u << GRAPH_TYPES) - 1,
				      .direction = SPREAD_OUT,
				      .limit = 100};
}

/* making and freeing */

int spread_make_slots(struct workspace *work, uint32_t nodes)
{
	uint64_t count = SLOTS_FIRST;

	if (nodes <= work->slots_count)
		return 0;
	while (count < nodes)
		count *= 2;
	alloc_free(work->slots);
	alloc_free(work->verdicts);
	work->slots_count = 0;
	work->slots = graph_room(count, sizeof(*work->slots));
	work->verdicts = alloc_zeroed(count, sizeof(*work->verdicts));
	if (!work->slots || !work->verdicts)
		return -ENOMEM;
	memset(work->slots, 0, count * sizeof(*work->slots));
	work->slots_count = count < GRAPH_NONE ? (uint32_t)count : GRAPH_NONE;
	return 0;
}

static int workspace_init(struct spreader *spreader, struct workspace *work)
{
	size_t nodes = spreader->nodes_max;
	const struct batcher_config config = {
		.item_bytes = sizeof(struct contribution) + sizeof(struct spread_record) +
			      2 * sizeof(uint64_t),
		.batch_min = BATCH_LINKS_MIN,
		.batch_max = BATCH_LINKS_MAX,
		.servers = 1,
		.budget_ns = BATCH_BUDGET_NS,
	};
	uint64_t link_ns = LINK_BYTES * 1000 / machine_bandwidth() + 1;

	work->contributions =
		alloc_aligned(CACHE_LINE, BATCH_LINKS_MAX * sizeof(struct contribution));
	work->scratch = alloc_aligned(CACHE_LINE, (size_t)spreader->threads * CHUNK_LINKS *
							  sizeof(struct contribution));
	work->chunk_begin = alloc_get(CHUNKS_MAX * sizeof(*work->chunk_begin));
	work->members = alloc_aligned(CACHE_LINE, 2 * nodes * sizeof(uint32_t));
	work->queue = alloc_aligned(CACHE_LINE, 2 * nodes * sizeof(uint32_t));
	work->order = alloc_aligned(CACHE_LINE, 2 * nodes * sizeof(uint64_t));
	work->firings = alloc_aligned(CACHE_LINE, 2 * nodes * sizeof(struct firing));
	work->sorted = alloc_aligned(CACHE_LINE, 2 * nodes * sizeof(struct firing));
	if (!work->contributions || !work->scratch || !work->chunk_begin || !work->members ||
	    !work->queue || !work->order || !work->firings || !work->sorted)
		return -ENOMEM;
	batcher_init(&work->batcher, &config, machine_facts());
	batcher_observe(&work->batcher, 0, BATCH_LINKS_MIN, BATCH_LINKS_MIN * link_ns);
	return spread_make_slots(work, SLOTS_FIRST);
}

static uint64_t workspace_bytes(const struct spreader *spreader)
{
	uint64_t nodes = spreader->nodes_max;

	return (BATCH_LINKS_MAX + spreader->threads * CHUNK_LINKS) * sizeof(struct contribution) +
	       CHUNKS_MAX * sizeof(uint16_t) * (PARTITIONS_MAX + 1) +
	       2 * nodes * (2 * sizeof(uint32_t) + sizeof(uint64_t) + 2 * sizeof(struct firing));
}

static void workspace_free(struct workspace *work)
{
	alloc_free(work->contributions);
	alloc_free(work->scratch);
	alloc_free(work->chunk_begin);
	alloc_free(work->slots);
	alloc_free(work->verdicts);
	alloc_free(work->members);
	alloc_free(work->queue);
	alloc_free(work->order);
	alloc_free(work->firings);
	alloc_free(work->sorted);
}

/* Time of this thread on a core. */
static uint64_t processor_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int spreader_configure(struct spreader *spreader, const struct spreader_config *config)
{
	uint64_t records;

	spreader->threads = config->threads ? config->threads : machine_facts()->cores;
	if (!config->threads && spreader->threads > SPREAD_THREADS_MAX)
		spreader->threads = SPREAD_THREADS_MAX;
	spreader->concurrent = config->concurrent ? config->concurrent : CONCURRENT;
	spreader->nodes_max = config->nodes_max ? config->nodes_max : NODES_MAX;
	spreader->work_now = config->work_now ? config->work_now : processor_ns;
	records = config->records ? config->records
				  : (uint64_t)spreader->concurrent * spreader->nodes_max;
	if (spreader->threads > SPREAD_THREADS_MAX ||
	    spreader->concurrent > SPREAD_CONCURRENT_MAX || spreader->nodes_max < NODES_MAX_LEAST ||
	    spreader->nodes_max > 1u << 27 || records < spreader->nodes_max || records > 1u << 27)
		return -EINVAL;
	spreader->records_max = (uint32_t)records;
	while (1u << spreader->partitions_log < spreader->threads * PARTITIONS_A_THREAD)
		spreader->partitions_log++;
	return 0;
}

int spreader_new(const struct spreader_config *config, struct spreader **out)
{
	const struct spreader_config defaults = {0};
	struct spreader *spreader = alloc_zeroed(1, sizeof(*spreader));
	double prior[PREDICT_FEATURES];

	if (!spreader)
		return -ENOMEM;
	int error = spreader_configure(spreader, config ? config : &defaults);
	/* what other threads keep in their magazines comes on top */
	if (!error)
		error = records_new(sizeof(struct spread_record),
				    spreader->records_max + THREAD_SLOTS * 2 * RECORDS_MAGAZINE_MAX,
				    &spreader->records);
	if (!error) {
		spreader->workspace =
			alloc_aligned(CACHE_LINE, spreader->concurrent * sizeof(struct workspace));
		error = spreader->workspace ? 0 : -ENOMEM;
	}
	if (!error)
		memset(spreader->workspace, 0, spreader->concurrent * sizeof(struct workspace));
	for (uint32_t i = 0; i < spreader->concurrent && !error; i++)
		error = workspace_init(spreader, &spreader->workspace[i]);
	if (!error && spreader->threads > 1)
		error = team_new(spreader->threads - 1, &spreader->team);
	if (error) {
		spreader_free(spreader);
		return error;
	}
	graph_room_advise(spreader->records->base,
			  (size_t)spreader->records_max * sizeof(struct spread_record));
	spread_plan_prior(prior);
	predictor_init(&spreader->predictor, prior);
	predictor_init(&spreader->predictor_begun, prior);
	spreader->bytes_reserved = spreader->concurrent * workspace_bytes(spreader) +
				   (uint64_t)spreader->records_max * sizeof(struct spread_record);
	*out = spreader;
	return 0;
}

void spreader_free(struct spreader *spreader)
{
	if (!spreader)
		return;
	team_free(spreader->team);
	for (uint32_t i = 0; spreader->workspace && i < spreader->concurrent; i++)
		workspace_free(&spreader->workspace[i]);
	alloc_free(spreader->workspace);
	records_free(spreader->records);
	alloc_free(spreader);
}

/* admission */

static int promise_records(struct spreader *spreader, uint32_t count)
{
	uint32_t promised = atomic_load_explicit(&spreader->promised, memory_order_relaxed);

	do {
		if (count > spreader->records_max - promised)
			return -EAGAIN;
	} while (!atomic_compare_exchange_weak_explicit(&spreader->promised, &promised,
							promised + count, memory_order_acquire,
							memory_order_relaxed));
	return 0;
}

static int workspace_take(struct spreader *spreader, struct workspace **out)
{
	uint64_t busy = atomic_load_explicit(&spreader->busy, memory_order_relaxed);
	unsigned free_one;

	do {
		free_one = ~busy ? (unsigned)__builtin_ctzll(~busy) : 64;
		if (free_one >= spreader->concurrent)
			return -EAGAIN;
		/* acquire: pairs with the release in leave() */
	} while (!atomic_compare_exchange_weak_explicit(
		&spreader->busy, &busy, busy | 1ull << free_one, memory_order_acquire,
		memory_order_relaxed));
	*out = &spreader->workspace[free_one];
	return 0;
}

static int enter(struct spreader *spreader, uint32_t nodes_max, struct workspace **out)
{
	int error = promise_records(spreader, nodes_max);

	if (!error) {
		error = workspace_take(spreader, out);
		if (error)
			atomic_fetch_sub_explicit(&spreader->promised, nodes_max,
						  memory_order_release);
	}
	if (error)
		atomic_fetch_add_explicit(&spreader->refused, 1, memory_order_relaxed);
	return error;
}

static void leave(struct spreader *spreader, uint32_t nodes_max, const struct workspace *work)
{
	uint64_t bit = 1ull << (work - spreader->workspace);

	atomic_store_explicit(&spreader->batch_size, batcher_size(&work->batcher),
			      memory_order_relaxed);
	/* release: pairs with the acquire of the next owner */
	atomic_fetch_and_explicit(&spreader->busy, ~bit, memory_order_release);
	atomic_fetch_sub_explicit(&spreader->promised, nodes_max, memory_order_release);
}

/* a run */

void spread_divide(struct spread_run *run)
{
	const struct spreader *spreader = run->spreader;
	struct workspace *work = run->work;

	run->partitions_log = run->with_team ? spreader->partitions_log : 0;
	run->partitions = 1u << run->partitions_log;
	uint32_t capacity = run->partitions > 1 ? 2 * spreader->nodes_max / run->partitions
						: spreader->nodes_max;
	for (unsigned p = 0; p < run->partitions; p++) {
		work->partition[p] = (struct partition){
			.members = work->members + (size_t)p * capacity,
			.queue = work->queue + (size_t)p * capacity,
			.firings = work->firings + (size_t)p * capacity,
			.capacity = capacity,
		};
	}
}

void spread_release(void *arg, unsigned member, uint32_t p)
{
	struct spread_run *run = arg;
	const struct partition *partition = &run->work->partition[p];
	const uint32_t ahead = spread_ahead(run, partition->members_count);

	for (uint32_t i = 0; i < partition->members_count; i++) {
		struct spread_record *record = &run->records[partition->members[i]];
		if (i + AHEAD_RELEASE < ahead)
			__builtin_prefetch(
				&run->work->slots
					 [run->records[partition->members[i + AHEAD_RELEASE]].node],
				1);
		run->work->slots[record->node] = 0;
		records_release(run->spreader->records, record);
	}
}

static void plant_seeds(struct spread_run *run)
{
	for (uint32_t i = 0; i < run->seeds_count; i++) {
		uint32_t node = graph_find(run->graph, run->seeds[i].id);
		if (node == GRAPH_NONE ||
		    (run->params->allow && spread_verdict_of(run, node) == SPREAD_DENIED))
			continue;
		struct partition *partition = &run->work->partition[spread_partition(run, node)];
		struct spread_record *record = spread_reach(run, partition, node);
		if (!record)
			continue;
		uint32_t sum = record->activation +
			       (uint32_t)lrint((double)run->seeds[i].activation * SPREAD_ONE);
		record->activation = sum < SPREAD_ONE ? sum : SPREAD_ONE;
		if (record->hops == NOT_ACTIVE && record->activation >= run->threshold) {
			record->hops = 0;
			partition->queue[partition->queued++] = (uint32_t)(record - run->records);
		}
	}
}

uint64_t spread_work(const struct spread_run *run)
{
	uint64_t work = run->spreader->work_now() - run->begin_work_ns;

	return work > run->asked_ns ? work - run->asked_ns : 0;
}

static uint32_t reached(const struct spread_run *run)
{
	uint32_t count = 0;

	for (unsigned p = 0; p < run->partitions; p++)
		count += run->work->partition[p].members_count;
	return count;
}

/* Asks for all that the firings of the hop lead to. A run that asks has one partition. */
static void ask_all(struct spread_run *run)
{
	struct partition *partition = &run->work->partition[0];
	uint32_t kept = partition->firings_begin;

	partition->links = partition->counted = 0;
	for (uint32_t i = partition->firings_begin; i < partition->firings_end; i++) {
		struct firing firing = spread_firing(run, partition->firings[i].record);
		if (!firing.count)
			continue;
		firing.begin = (uint32_t)partition->links;
		partition->links += firing.extent;
		partition->counted += firing.count;
		partition->firings[kept++] = firing;
	}
	partition->firings_end = kept;
	run->is_unasked = 0;
}

/* What became active turns into firings. What permission costs is no work of the spread. Where the budget
 * may bind, it is asked for firing by firing, as far as they fire: most never do. */
static void settle(struct spread_run *run)
{
	uint64_t begin = run->params->allow ? run->spreader->work_now() : 0;

	run->is_unasked = run->params->allow != NULL;
	spread_step(run, spread_settle, run->partitions);
	if (!run->params->allow)
		return;
	if (run->work->partition[0].counted <= run->params->nodes_max - reached(run))
		ask_all(run);
	run->asked_ns += run->spreader->work_now() - begin;
}

/* The firings of all partitions as one sequence of links. Returns its length. */
static uint64_t line_up(struct spread_run *run)
{
	uint64_t links = 0;

	run->spans = 0;
	run->counted = 0;
	for (unsigned p = 0; p < run->partitions; p++) {
		const struct partition *partition = &run->work->partition[p];
		uint32_t count = partition->firings_end - partition->firings_begin;
		if (!count)
			continue;
		run->span[run->spans++] =
			(struct span){.list = partition->firings + partition->firings_begin,
				      .count = count,
				      .base = links,
				      .links = partition->links};
		links += partition->links;
		run->counted += partition->counted;
	}
	return links;
}

static int is_too_late(const struct spread_run *run, uint64_t now)
{
	return run->params->deadline_ns && now >= run->params->deadline_ns;
}

/* Links 0 .. links - 1 of the spans, in batches. 0: the deadline came. */
static int fire_links(struct spread_run *run, uint64_t links)
{
	struct batcher *batcher = &run->work->batcher;
	int had_team = run->with_team;

	run->with_team = had_team && links >= TEAM_LINKS;
	uint64_t share = run->with_team ? run->report->threads : 1, begin = bridge_now_ns();
	for (uint64_t first = 0; first < links; first = run->batch_end) {
		uint64_t size = batcher_size(batcher) * share;
		if (run->with_team && size < share * TEAM_SHARE_MIN)
			size = share * TEAM_SHARE_MIN;
		size = (size + CHUNK_LINKS - 1) / CHUNK_LINKS * CHUNK_LINKS;
		if (size > BATCH_LINKS_MAX)
			size = BATCH_LINKS_MAX;
		run->batch_first = first;
		run->batch_end = links - first < size ? links : first + size;
		uint32_t taken = (uint32_t)(run->batch_end - first);
		spread_step(run, spread_emit, (taken + CHUNK_LINKS - 1) / CHUNK_LINKS);
		spread_step(run, spread_merge, run->partitions);
		run->report->batches++;
		run->batch_links += taken;
		run->batch_room += size;
		uint64_t now = bridge_now_ns();
		/* the batcher thinks of one thread's batch */
		if (taken / share)
			batcher_observe(batcher, (links - first) / share, (uint32_t)(taken / share),
					now - begin);
		begin = now;
		if (is_too_late(run, now)) {
			run->report->flags |= SPREAD_CUT;
			break;
		}
	}
	run->with_team = had_team;
	return !(run->report->flags & SPREAD_CUT);
}

/* From list[at] on, as far as what they lead to surely fits: where that ends. *links: looked at. */
static uint32_t take_fitting(struct spread_run *run, uint32_t at, uint32_t count, uint32_t *links)
{
	uint64_t begin = run->is_unasked ? run->spreader->work_now() : 0;
	uint32_t room = run->params->nodes_max - reached(run);
	struct firing *list = run->work->sorted;

	for (*links = 0; at < count; at++) {
		if (run->is_unasked) {
			uint32_t fire = list[at].fire; /* as it was when the hop began */
			list[at] = spread_firing(run, list[at].record);
			list[at].fire = fire;
		}
		if (list[at].count > room)
			break;
		list[at].begin = *links;
		*links += list[at].extent;
		room -= list[at].count;
	}
	if (run->is_unasked)
		run->asked_ns += run->spreader->work_now() - begin;
	return at;
}

/* Fires the strongest nodes of the hop as far as the budget surely allows. */
static int fire_within_budget(struct spread_run *run)
{
	uint32_t count = spread_sort_firings(run), at = 0;
	struct firing *list = run->work->sorted;

	while (at < count) {
		uint32_t first = at, links;
		at = take_fitting(run, at, count, &links);
		if (at == first) {
			run->report->flags |= SPREAD_BUDGET;
			return 1;
		}
		run->span[0] = (struct span){list + first, at - first, 0, links};
		run->spans = 1;
		if (!fire_links(run, links))
			return 0;
	}
	return 1;
}

enum outcome { DONE, AGAIN };

static int has_overflow(const struct spread_run *run)
{
	for (unsigned p = 0; p < run->partitions; p++)
		if (run->work->partition[p].overflow)
			return 1;
	return 0;
}

static enum outcome make_hops(struct spread_run *run)
{
	plant_seeds(run);
	for (run->hop = 0; run->hop < run->hops_max; run->hop++) {
		settle(run);
		uint64_t links = line_up(run);
		if (!links)
			return DONE;
		if (!run->planned && links >= PLAN_LINKS && spread_plan(run))
			return AGAIN;
		int in_time = run->counted <= run->params->nodes_max - reached(run)
				      ? fire_links(run, links)
				      : fire_within_budget(run);
		run->report->hops = run->hop + 1;
		if (!in_time)
			return DONE;
		if (has_overflow(run)) {
			/* most nodes of this run are in one partition: one that holds all then */
			team_give(run->spreader->team);
			run->with_team = 0;
			run->report->threads = 1;
			return AGAIN;
		}
	}
	return DONE;
}

static int params_are_sound(const struct spreader *spreader, const struct spread_seed *seeds,
			    uint32_t n, const struct spread_params *params)
{
	for (uint32_t i = 0; i < n; i++)
		if (!(seeds[i].activation > 0 && seeds[i].activation <= 1))
			return 0;
	return n && n <= SPREAD_SEEDS_MAX && params->decay >= 0 && params->decay <= 1 &&
	       params->threshold > 0 && params->threshold <= 1 && params->hops_max &&
	       params->hops_max <= SPREAD_HOPS_MAX && params->nodes_max >= n &&
	       params->nodes_max <= spreader->nodes_max && params->types &&
	       !(params->types >> GRAPH_TYPES) && params->direction >= SPREAD_OUT &&
	       params->direction <= SPREAD_BOTH;
}

/* Takes turns: what is not in a hurry is sampled now and then, without prefetching and with. */
static void sample_begin(struct spread_run *run)
{
	uint64_t turn = atomic_load_explicit(&run->spreader->runs, memory_order_relaxed);

	if (run->params->deadline_ns)
		return;
	run->sample = turn % SAMPLE_EVERY == SAMPLE_EVERY / 4       ? WITHOUT_PREFETCH
		      : turn % SAMPLE_EVERY == 3 * SAMPLE_EVERY / 4 ? WITH_PREFETCH
								    : NOT_SAMPLED;
}

static void sample_end(struct spread_run *run)
{
	int with = run->sample == WITH_PREFETCH;

	if (run->sample == NOT_SAMPLED || !run->planned || run->with_team)
		return;
	atomic_fetch_add_explicit(&run->spreader->sampled_links[with], run->report->links,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&run->spreader->sampled_ns[with], run->report->work_ns,
				  memory_order_relaxed);
}

static uint64_t off_of(uint64_t predicted, uint64_t real)
{
	double off = fabs((double)predicted - (double)real) / (real ? (double)real : 1);

	return (uint64_t)(off * SPREAD_OFF_ONE);
}

static void learn(struct spread_run *run)
{
	const struct spread_report *report = run->report;
	struct spreader *spreader = run->spreader;

	if (!run->planned || report->flags & SPREAD_CUT || run->sample == WITHOUT_PREFETCH)
		return;
	histogram_record(&spreader->off.work, off_of(report->predicted_ns, report->work_ns));
	histogram_record(&spreader->off.links, off_of(report->predicted_links, report->links));
	double begun = (double)report->planned_ns, whole = (double)report->work_ns;
	if (!(begun > 0 && whole >= begun)) /* a clock of the machine's that stood still */
		return;
	predictor_learn(&spreader->predictor_begun, run->begun, begun, begun);
	predictor_learn(&spreader->predictor, run->feature, (whole - begun) / run->pace, whole);
}

static void finish(struct spread_run *run)
{
	struct spreader *spreader = run->spreader;
	struct spread_report *report = run->report;

	report->predicted_links = (uint64_t)(run->guess_links + 0.5);
	report->links = atomic_load_explicit(&run->followed, memory_order_relaxed);
	report->hops_max = run->hops_max;
	report->fan_out = run->fan_out;
	report->spent_ns = bridge_now_ns() - run->begin_ns;
	report->work_ns = spread_work(run);
	learn(run);
	sample_end(run);
	atomic_fetch_add_explicit(&spreader->runs, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&spreader->links, report->links, memory_order_relaxed);
	atomic_fetch_add_explicit(&spreader->batches, report->batches, memory_order_relaxed);
	atomic_fetch_add_explicit(&spreader->batch_links, run->batch_links, memory_order_relaxed);
	atomic_fetch_add_explicit(&spreader->batch_room, run->batch_room, memory_order_relaxed);
	if (report->flags & SPREAD_NARROWED)
		atomic_fetch_add_explicit(&spreader->narrowed, 1, memory_order_relaxed);
	if (report->flags & SPREAD_CUT)
		atomic_fetch_add_explicit(&spreader->cut, 1, memory_order_relaxed);
}

int spread_run(struct spreader *spreader, const struct graph *graph,
	       const struct spread_seed *seeds, uint32_t n, const struct spread_params *params,
	       struct spread_hit *hits, struct spread_report *report)
{
	struct spread_run run = {
		.spreader = spreader,
		.graph = graph,
		.params = params,
		.seeds = seeds,
		.seeds_count = n,
		.report = report,
		.records = (struct spread_record *)spreader->records->base,
		.hops_max = params->hops_max,
		.fan_out = params->fan_out,
		.begin_ns = bridge_now_ns(),
		.begin_work_ns = spreader->work_now(),
	};

	if (!params_are_sound(spreader, seeds, n, params))
		return -EINVAL;
	int error = enter(spreader, params->nodes_max, &run.work);
	if (error)
		return error;
	uint32_t threshold = (uint32_t)lrint((double)params->threshold * SPREAD_ONE);
	run.threshold = threshold ? threshold : 1;
	run.keep = GRAPH_WEIGHT_ONE - (uint32_t)lrint((double)params->decay * GRAPH_WEIGHT_ONE);
	*report = (struct spread_report){.threads = 1};
	error = spread_make_slots(run.work, graph->count);
	if (error) {
		leave(spreader, params->nodes_max, run.work);
		return error;
	}
	sample_begin(&run);
	spread_divide(&run);
	while (make_hops(&run) == AGAIN) {
		spread_step(&run, spread_release, run.partitions);
		report->hops = report->batches = 0;
		report->flags &= SPREAD_NARROWED;
		atomic_store_explicit(&run.followed, 0, memory_order_relaxed);
		spread_divide(&run);
	}
	spread_collect(&run, hits);
	spread_step(&run, spread_release, run.partitions);
	if (params->allow)
		memset(run.work->verdicts, 0, graph->count);
	if (run.with_team)
		team_give(spreader->team);
	finish(&run);
	leave(spreader, params->nodes_max, run.work);
	return 0;
}

void spreader_read_stats(struct spreader *spreader, struct spreader_stats *out)
{
	struct records_stats records;

	records_read_stats(spreader->records, &records);
	*out = (struct spreader_stats){
		.runs = atomic_load_explicit(&spreader->runs, memory_order_relaxed),
		.refused = atomic_load_explicit(&spreader->refused, memory_order_relaxed),
		.narrowed = atomic_load_explicit(&spreader->narrowed, memory_order_relaxed),
		.cut = atomic_load_explicit(&spreader->cut, memory_order_relaxed),
		.batch_size = atomic_load_explicit(&spreader->batch_size, memory_order_relaxed),
		.links = atomic_load_explicit(&spreader->links, memory_order_relaxed),
		.batches = atomic_load_explicit(&spreader->batches, memory_order_relaxed),
		.batch_links = atomic_load_explicit(&spreader->batch_links, memory_order_relaxed),
		.batch_room = atomic_load_explicit(&spreader->batch_room, memory_order_relaxed),
		.records = spreader->records_max,
		.records_in_use = records.in_use,
		.records_high_water = records.high_water,
		.records_hits = records.hits,
		.records_acquired = records.acquired,
		.bytes_reserved = spreader->bytes_reserved,
	};
	for (int with = 0; with < 2; with++) {
		out->sampled_links[with] =
			atomic_load_explicit(&spreader->sampled_links[with], memory_order_relaxed);
		out->sampled_ns[with] =
			atomic_load_explicit(&spreader->sampled_ns[with], memory_order_relaxed);
	}
}

const struct spreader_off *spreader_read_off(const struct spreader *spreader)
{
	return &spreader->off;
}
