/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   spreading activation: what else some memories bring to mind. From Collins & Loftus (1975),
 *            "A spreading-activation theory of semantic processing"; with the constraints of
 *            Crestani (1997), "Application of spreading activation techniques in information
 *            retrieval": distance, fan-out, threshold, kinds of links; the weighted sum over sources is
 *            that of ACT-R (Anderson 1983).
 *
 *   All quantities are integers: activation in units of 2^-30, weight and decay in units of 2^-15,
 *   each product rounded down, each sum held at 1.0. A sum that saturates does not depend on the
 *   order of its terms, so the result depends on seeds, parameters and links alone, not on
 *   threads, batches or the order of nodes in memory.
 *
 *     A(n) = its seed's activation, else 0. Hop h = 0. The seeds at or above the threshold are active
 *     with hops 0.
 *     1. Each node n that became active at hop h fires, once in a spread:
 *        e = A(n) * (1 - decay), with A(n) as it was when hop h began.
 *        For its links in the direction asked for, of the types asked for, the `fan_out` strongest
 *        (each way): A(to) = min(1, A(to) + e * weight).
 *     2. A node that is not active and has A >= threshold now becomes active with hops h + 1. Its
 *        origin is the node whose single contribution so far was the largest (of equal ones, the
 *        smaller id): the strongest path is the chain of origins, and hops fall along it.
 *     3. h = h + 1; again from 1, while h < hops_max and nodes became active.
 *     Activation that reaches an active node adds to it, but is not passed on again.
 *
 *   Results are in the order of their activation; of equal ones (many, where links are dense and sums
 *   are held at 1.0) fewer hops come first, then the larger single contribution of the origin, then the
 *   smaller id.
 *
 *   The node budget. Every node that is reached takes a record, active or not. When the links of
 *   a hop could reach more nodes than are left in `nodes_max`, its nodes fire in the order of what
 *   they pass on (of equal ones, by id), as far as their links fit for sure, again and again with
 *   what is really left; the others do not fire, and the report says SPREAD_BUDGET.
 *
 *   The deadline. After the first hops, which are cheap and show how the graph branches here, the
 *   work of the rest is predicted (spread_plan.c, predict.h), with regard to how fast this run was up
 *   to there. Waiting for a core is not foreseen.
 *   What would come too late is begun again with a smaller fan-out, then with fewer hops, as the
 *   report says (SPREAD_NARROWED): the result is the one that the narrower parameters have. If the
 *   prediction was wrong, the spread stops between two batches when the deadline is there, and
 *   the sums are partial (SPREAD_CUT).
 *
 *   Permission. A memory that `allow` says SPREAD_DENIED of does not exist for the run: links to it are
 *   passed over, also where the strongest are counted, so it takes no place from others. Of
 *   SPREAD_PASSED ones activation comes and goes, but they are not listed.
 *
 * Threading: spread_run() from any thread, concurrently up to `concurrent` runs; one of them at a time
 *            has the helper threads, and only for work that is large enough.
 * Memory:    everything is reserved by spreader_new(): workspaces, and records from a lock-free
 *            pool (pool/records.h). A run first takes its whole budget of records; what is not
 *            to be had is -EAGAIN at once. A run allocates nothing, but five bytes a node when a
 *            workspace first meets a graph of more nodes than before (-ENOMEM).
 */
#ifndef MNEME_CORE_MEMORY_SPREAD_H
#define MNEME_CORE_MEMORY_SPREAD_H

#include "core/memory/graph.h"
#include "pool/histogram.h"

#include <stdint.h>

enum {
	SPREAD_HOPS_MAX = 16,
	SPREAD_SEEDS_MAX = 256,
	SPREAD_THREADS_MAX = 8,
	SPREAD_CONCURRENT_MAX = 64,
};
#define SPREAD_ONE (1u << 30) /* activation 1.0 */

enum spread_direction { SPREAD_OUT = 1, SPREAD_IN = 2, SPREAD_BOTH = 3 };

enum spread_flags {
	SPREAD_NARROWED = 1, /* parameters were reduced before the start to keep the deadline */
	SPREAD_BUDGET = 2,   /* some nodes did not fire for lack of budget */
	SPREAD_CUT = 4,      /* the deadline came; partial */
};

struct spread_seed {
	uint64_t id;
	float activation; /* > 0, <= 1 */
};

/* What a run may do with a memory; see above. */
enum spread_verdict { SPREAD_DENIED = 0, SPREAD_LISTED = 1, SPREAD_PASSED = 2 };

/* The same of a memory each time that it is asked for in a run. */
typedef enum spread_verdict spread_allow(void *arg, uint64_t id);

struct spread_params {
	float decay;        /* lost at each hop: 0 .. 1 */
	float threshold;    /* > 0, <= 1 */
	uint32_t hops_max;  /* 1 .. SPREAD_HOPS_MAX */
	uint32_t fan_out;   /* links of a node, each way; 0: all */
	uint32_t nodes_max; /* budget; at most the spreader's */
	uint32_t types;     /* 1 << enum graph_type, or'ed */
	enum spread_direction direction;
	uint32_t limit;       /* results wanted: room in `hits` */
	int list_seeds;       /* 1: also the seeds, with hops 0; activation with their own */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	spread_allow
		*allow; /* NULL: everything; called by the calling thread, which is alone then */
	void *allow_arg;
};

struct spread_hit {
	uint64_t id;
	float activation, confidence; /* 0 .. 1 */
	uint32_t activation_exact;    /* of SPREAD_ONE */
	uint32_t hops;
	uint32_t flags;                 /* enum graph_flags */
	uint32_t path_length;           /* 1 .. hops; of a seed 0 */
	uint64_t path[SPREAD_HOPS_MAX]; /* from a seed to the node before this one */
};

struct spread_report {
	uint32_t count;   /* hits */
	uint32_t active;  /* active nodes, without the seeds */
	uint32_t reached; /* nodes with a record */
	uint32_t hops;    /* hops made */
	uint64_t links;   /* links followed */
	uint32_t batches;
	uint32_t threads;           /* that could take part */
	uint32_t flags;             /* enum spread_flags */
	uint32_t hops_max, fan_out; /* that counted */
	/* predicted: of the thread's work, of which planned_ns were spent by then; 0: it was over
	 * before. work: of the calling thread on a core, without what `allow` took.
	 * spent: by the clock; more than work where a core had to be waited for. */
	uint64_t predicted_ns, planned_ns, work_ns, spent_ns;
	uint64_t predicted_links; /* what the prediction is of; 0 as above */
};

struct spreader_config {
	unsigned threads;    /* 0: the cores, at most SPREAD_THREADS_MAX; 1: no helpers */
	uint32_t concurrent; /* runs at a time; 0: 4 */
	uint32_t nodes_max;  /* largest budget of a run; 0: 32768 */
	uint32_t records;    /* of all runs together; 0: concurrent * nodes_max */
	/* What work is measured by; NULL: the thread's time on a core, in ns. */
	uint64_t (*work_now)(void);
};

struct spreader_stats {
	uint64_t runs, refused, narrowed, cut;
	uint64_t records, records_in_use, records_high_water, records_hits, records_acquired;
	uint64_t bytes_reserved; /* touched only as far as they were needed */
	uint64_t batch_size;     /* links, of the workspace that ran last */
	uint64_t links, batches; /* followed, made, by all runs */
	/* Links that all batches looked at, and that they had room for. */
	uint64_t batch_links, batch_room;
	/* Of the runs that were sampled without ([0]) and with prefetching: the same work, apart from
	 * that. */
	uint64_t sampled_links[2], sampled_ns[2];
};

/* How far off predictions were, |predicted - real| / real, in parts of SPREAD_OFF_ONE. */
enum { SPREAD_OFF_ONE = 5120 }; /* a fifth is a boundary between buckets */
struct spreader_off {
	struct histogram work, links;
};

struct spreader;

/* decay 0.3, threshold 0.01, 5 hops, fan-out 64, nodes_max 32768, all types, out, 100 results. */
struct spread_params spread_defaults(void);
/* config may be NULL. -EINVAL, -ENOMEM, -EAGAIN (no thread). Measures the memory's bandwidth once in a
 * process (tens of milliseconds). Owned by the caller until spreader_free(). */
int spreader_new(const struct spreader_config *config, struct spreader **out);
/* No run is under way. Accepts NULL. */
void spreader_free(struct spreader *spreader);
/* Spreads from n seeds (ids that the graph lacks count for nothing) over `graph`, which the caller
 * keeps. hits[] has room for params->limit; best first. -EINVAL; -EAGAIN: too many
 * runs. The report says what was done. */
int spread_run(struct spreader *spreader, const struct graph *graph,
	       const struct spread_seed *seeds, uint32_t n, const struct spread_params *params,
	       struct spread_hit *hits, struct spread_report *report);
void spreader_read_stats(struct spreader *spreader, struct spreader_stats *out);
/* Valid as long as the spreader. */
const struct spreader_off *spreader_read_off(const struct spreader *spreader);

#endif
