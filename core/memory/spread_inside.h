/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the files of the spreading share.
 *
 *   A hop is made in batches of links. A batch has two steps, each done in parts by the team:
 *     emit    the links of the firing nodes become contributions (to, amount, from), in chunks of
 *             CHUNK_LINKS; within a chunk sorted by the partition of `to`.
 *     merge   each partition takes its contributions of all chunks into its records. A node belongs to
 *             one partition, and so do its neighbours in memory: partitions share no cache line.
 *   After the last batch of a hop, `settle` turns the nodes that became active into the next
 *   firings. A small spread has one partition and no team: the same steps, one after the other.
 *   The random access is thereby in two loops that know what comes next, and prefetch it.
 *
 * Threading: a workspace belongs to one run; in a step, chunk c and partition p to whoever claimed it.
 */
#ifndef MNEME_CORE_MEMORY_SPREAD_INSIDE_H
#define MNEME_CORE_MEMORY_SPREAD_INSIDE_H

#include "core/bridge/batcher.h"
#include "core/memory/predict.h"
#include "core/memory/spread.h"
#include "core/memory/team.h"
#include "pool/records.h"

enum {
	CHUNK_LINKS = 512,
	BATCH_LINKS_MAX = 1 << 16,
	CHUNKS_MAX = BATCH_LINKS_MAX / CHUNK_LINKS,
	PARTITIONS_MAX = 16,
	SLOTS_FIRST = 4096,     /* nodes that a workspace has slots for to begin with */
	PLAN_LINKS = 128,       /* a hop with that many links shows how the graph branches */
	PARALLEL_LINKS = 16384, /* worth waking helpers for */
	NOT_ACTIVE = 255,       /* hops of a record */
};

/* A node that was reached. */
struct spread_record {
	uint32_t node;
	uint32_t activation; /* of SPREAD_ONE */
	uint32_t best;       /* largest contribution that came before it was active */
	uint32_t origin;     /* the record that it came from, or GRAPH_NONE */
	uint8_t hops;        /* or NOT_ACTIVE */
	uint8_t zero[15];
};
static_assert(sizeof(struct spread_record) == 32, "two records a cache line");

struct contribution {
	uint32_t to, amount;
	uint32_t from; /* record */
};

/* A node that fires in this hop; its links are numbers begin .. of the partition's links. */
struct firing {
	uint32_t record, node;
	uint32_t fire; /* what it passes on */
	uint32_t begin;
	uint32_t out_extent, extent; /* links out that are looked at; out and in */
	uint32_t count;              /* of these, that lead on */
};

struct partition {
	alignas(CACHE_LINE) uint32_t *members; /* all records of the partition */
	uint32_t members_count, queued;
	uint32_t *queue; /* of these, that became active in this hop; at the end: its best */
	uint32_t active; /* at the end: active nodes without seeds */
	struct firing *firings;
	uint32_t firings_begin, firings_end; /* of this hop */
	uint64_t links, counted;             /* of these: looked at; that lead on */
	uint32_t capacity;                   /* of members, queue and firings */
	int overflow;                        /* more nodes than that are of this partition */
};

/* Firings with consecutive links. */
struct span {
	const struct firing *list;
	uint32_t count;
	uint64_t base, links; /* the hop's number of its first link; how many */
};

struct workspace {
	struct partition partition[PARTITIONS_MAX];
	struct contribution *contributions; /* BATCH_LINKS_MAX */
	struct contribution *scratch;       /* CHUNK_LINKS a member of the team */
	uint16_t (*chunk_begin)[PARTITIONS_MAX + 1];
	uint32_t *slots; /* by node: its record + 1, or 0; all 0 between runs */
	uint32_t slots_count;
	uint8_t *verdicts; /* by node: enum spread_verdict + 1 once asked; all 0 between runs */
	uint32_t *members, *queue;
	uint64_t *order; /* for sorting: 2 * nodes_max */
	struct firing *firings, *sorted;
	struct batcher batcher;
};

struct spreader {
	struct records *records;
	struct workspace *workspace;
	unsigned threads;                 /* [I] */
	unsigned partitions_log;          /* [I] of a run with the team */
	uint32_t concurrent;              /* [I] */
	uint32_t nodes_max;               /* [I] */
	uint32_t records_max;             /* [I] */
	uint64_t bytes_reserved;          /* [I] */
	struct team *team;                /* NULL without helpers */
	uint64_t (*work_now)(void);       /* [I] */
	struct predictor predictor;       /* of what comes after the plan, at the usual speed */
	struct predictor predictor_begun; /* and of what comes before it: how fast is this run? */
	_Atomic uint64_t busy;            /* [A] a bit a workspace */
	_Atomic uint32_t promised;        /* [A] records that runs may take */
	_Atomic uint64_t runs, refused, narrowed, cut, batch_size, links, batches; /* [A] */
	_Atomic uint64_t batch_links, batch_room, sampled_links[2], sampled_ns[2]; /* [A] */
	struct spreader_off off;
};

struct spread_run {
	struct spreader *spreader;
	struct workspace *work;
	const struct graph *graph;
	const struct spread_params *params;
	const struct spread_seed *seeds;
	uint32_t seeds_count;
	struct spread_report *report;
	struct spread_record *records; /* base of the pool */
	uint32_t threshold, keep;      /* integers: of SPREAD_ONE, of GRAPH_WEIGHT_ONE */
	uint32_t hops_max, fan_out;
	unsigned partitions, partitions_log, hop;
	int with_team;
	uint64_t asked_ns; /* of the thread's work, for asking permission */
	int is_unasked;    /* the firings of this hop may lead to what was not asked for yet */
	struct span span[PARTITIONS_MAX];
	unsigned spans;
	uint64_t batch_first, batch_end; /* links of the hop */
	uint64_t counted;                /* of the hop: links that lead on */
	uint64_t batch_links, batch_room;
	enum { NOT_SAMPLED, WITHOUT_PREFETCH, WITH_PREFETCH } sample;
	_Atomic uint64_t followed; /* [A] links that were not of another type */
	uint64_t begin_ns, begin_work_ns;
	/* of the plan: what is to come, and how fast this run is against the usual */
	double feature[PREDICT_FEATURES], begun[PREDICT_FEATURES], pace, guess_links;
	int planned;
};

/* The partition of a node: nodes whose slots share a cache line are in the same. */
static inline unsigned spread_partition(const struct spread_run *run, uint32_t node)
{
	return (unsigned)((uint64_t)((node >> 4) * 0x9E3779B1u) >> (32 - run->partitions_log));
}

/* As far as a loop over `count` things may prefetch. */
static inline uint32_t spread_ahead(const struct spread_run *run, uint32_t count)
{
	return run->sample == WITHOUT_PREFETCH ? 0 : count;
}

/* May the run know of this node? Only with params->allow. */
enum spread_verdict spread_verdict_of(const struct spread_run *run, uint32_t node);
/* Makes room for the nodes of a graph. -ENOMEM. */
int spread_make_slots(struct workspace *work, uint32_t nodes);

/* Steps: team_work over chunks, partitions. */
void spread_emit(void *run, unsigned member, uint32_t chunk);
void spread_merge(void *run, unsigned member, uint32_t partition);
void spread_settle(void *run, unsigned member, uint32_t partition);
void spread_best(void *run, unsigned member, uint32_t partition);
void spread_release(void *run, unsigned member, uint32_t partition);
/* The thread's work in this run so far, without what permission took. */
uint64_t spread_work(const struct spread_run *run);
/* Does a step with the team or alone. */
void spread_step(struct spread_run *run, team_work *step, uint32_t count);

/* Empties the partitions and divides the workspace among them. */
void spread_divide(struct spread_run *run);
/* The record of a node; made if there is none. NULL: the partition is full. */
struct spread_record *spread_reach(struct spread_run *run, struct partition *partition,
				   uint32_t node);
/* What the node of a record passes on, and through how many links. */
struct firing spread_firing(const struct spread_run *run, uint32_t record);
/* The same as far as it is known without asking: its counts are the most that it can have. */
struct firing spread_firing_unasked(const struct spread_run *run, uint32_t record);
/* Copies the hop's firings to work->sorted, the strongest first; of equal ones by id. */
uint32_t spread_sort_firings(struct spread_run *run);
/* Fills hits and counts from the records. */
void spread_collect(struct spread_run *run, struct spread_hit *hits);

/* Predicts the rest of a run from this hop's firings; changes its parameters if the deadline asks for
 * it. 1: it has to begin again, with these parameters or with the team. */
int spread_plan(struct spread_run *run);
/* Nanoseconds for a unit of each feature, to begin with. */
void spread_plan_prior(double prior[PREDICT_FEATURES]);

#endif
