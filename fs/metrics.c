/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   metrics.h: the records and the two texts.
 */
#include "fs/metrics.h"

#include "core/bridge/bridge.h"
#include "core/memory/recall.h"
#include "core/memory/use.h"
#include "core/store/background.h"
#include "fs/fs.h"
#include "fs/later.h"
#include "fs/scheduling.h"
#include "fs/stack.h"
#include "pool/alloc.h"
#include "pool/frame.h"
#include "pool/histogram.h"
#include "pool/layers.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

/* A figure with one decimal, for "%lu.%u": what prints a double takes a kilobyte of a handler's stack. */
#define TENTHS(x) (uint64_t)(x), (unsigned)((uint64_t)((x)*10.0) % 10)

enum { NS = 1000000000 };

/* Bucket bounds of the exposition: 1 us to about 1 s. */
enum { BOUND_FIRST_NS = 1024, BOUND_LAST_NS = 1 << 30 };

struct metrics {
	struct histogram latency[METRICS_OPS];
	_Atomic uint64_t errors[METRICS_OPS];
};

static const char *const names[METRICS_OPS] = {
	[METRICS_LOOKUP] = "lookup",
	[METRICS_FORGET] = "forget",
	[METRICS_GETATTR] = "getattr",
	[METRICS_SETATTR] = "setattr",
	[METRICS_READLINK] = "readlink",
	[METRICS_MKNOD] = "mknod",
	[METRICS_MKDIR] = "mkdir",
	[METRICS_UNLINK] = "unlink",
	[METRICS_RMDIR] = "rmdir",
	[METRICS_SYMLINK] = "symlink",
	[METRICS_RENAME] = "rename",
	[METRICS_LINK] = "link",
	[METRICS_OPEN] = "open",
	[METRICS_READ] = "read",
	[METRICS_WRITE] = "write",
	[METRICS_FLUSH] = "flush",
	[METRICS_RELEASE] = "release",
	[METRICS_FSYNC] = "fsync",
	[METRICS_OPENDIR] = "opendir",
	[METRICS_READDIR] = "readdir",
	[METRICS_READDIRPLUS] = "readdirplus",
	[METRICS_RELEASEDIR] = "releasedir",
	[METRICS_FSYNCDIR] = "fsyncdir",
	[METRICS_STATFS] = "statfs",
	[METRICS_SETXATTR] = "setxattr",
	[METRICS_GETXATTR] = "getxattr",
	[METRICS_LISTXATTR] = "listxattr",
	[METRICS_REMOVEXATTR] = "removexattr",
	[METRICS_CREATE] = "create",
	[METRICS_IOCTL] = "ioctl",
	[METRICS_FALLOCATE] = "fallocate",
	[METRICS_COPY_RANGE] = "copy_file_range",
	[METRICS_LSEEK] = "lseek",
	[METRICS_TMPFILE] = "tmpfile",
	[METRICS_STATX] = "statx",
	[METRICS_POLL] = "poll",
};

int metrics_new(struct metrics **out)
{
	*out = alloc_zeroed(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void metrics_free(struct metrics *metrics)
{
	alloc_free(metrics);
}

const char *metrics_op_name(enum metrics_op op)
{
	return names[op];
}

uint64_t metrics_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void metrics_record(struct metrics *metrics, enum metrics_op op, uint64_t ns, int error)
{
	histogram_record(&metrics->latency[op], ns);
	if (error)
		atomic_fetch_add_explicit(&metrics->errors[op], 1, memory_order_relaxed);
}

/* ---- texts ---- */

struct text {
	char *at;
	size_t used, capacity;
	const char *histogram, *label; /* of the one that is being written: its name and label */
	uint64_t one;                  /* what stands for 1 in its values */
};

__attribute__((format(printf, 2, 3))) static void print(struct text *text, const char *format, ...)
{
	va_list args;

	if (text->used >= text->capacity)
		return;
	va_start(args, format);
	int n = vsnprintf(text->at + text->used, text->capacity - text->used, format, args);
	va_end(args);
	text->used += n > 0 ? (size_t)n : 0;
}

static int finish(const struct text *text, size_t *length)
{
	*length = text->used;
	return text->used < text->capacity ? 0 : -ENOSPC;
}

/* To a millionth. */
static void print_value(struct text *text, const char *name, const char *type, const char *help,
			double value)
{
	uint64_t whole = value < 0 ? 0 : (uint64_t)value;
	unsigned millionths = value < 0 ? 0 : (unsigned)((value - (double)whole) * 1e6);

	print(text, "# HELP mneme_%s %s\n# TYPE mneme_%s %s\nmneme_%s %lu", name, help, name, type,
	      name, whole);
	if (millionths)
		print(text, ".%06u", millionths);
	print(text, "\n");
}

static int each_bucket(void *arg, uint64_t upper, uint64_t count)
{
	struct text *text = arg;

	if (upper == UINT64_MAX)
		print(text, "%s_bucket{%s,le=\"+Inf\"} %lu\n", text->histogram, text->label, count);
	else
		print(text, "%s_bucket{%s,le=\"%lu.%09lu\"} %lu\n", text->histogram, text->label,
		      upper / text->one, upper % text->one * NS / text->one, count);
	return 0;
}

/* Of values in parts of `one`, with boundaries from `first` to `last`. */
static void print_parts(struct text *text, const char *name, const char *label,
			const struct histogram *h, uint64_t one, uint64_t first, uint64_t last)
{
	text->histogram = name;
	text->label = label;
	text->one = one;
	histogram_each_cumulative(h, first, last, each_bucket, text);
	print(text, "%s_sum{%s} %lu.%09lu\n", name, label, histogram_sum(h) / one,
	      histogram_sum(h) % one * NS / one);
	print(text, "%s_count{%s} %lu\n", name, label, histogram_count(h));
}

static void print_histogram(struct text *text, const char *name, const char *label,
			    const struct histogram *h)
{
	print_parts(text, name, label, h, NS, BOUND_FIRST_NS, BOUND_LAST_NS);
}

static void print_operations(struct text *text, const struct metrics *metrics)
{
	print(text, "# HELP mneme_fuse_errors_total Requests that were answered with an error.\n"
		    "# TYPE mneme_fuse_errors_total counter\n");
	for (int op = 0; op < METRICS_OPS; op++)
		print(text, "mneme_fuse_errors_total{op=\"%s\"} %lu\n", names[op],
		      atomic_load_explicit(&metrics->errors[op], memory_order_relaxed));
	print(text,
	      "# HELP mneme_fuse_latency_seconds Time from a request's arrival to its reply.\n"
	      "# TYPE mneme_fuse_latency_seconds histogram\n");
	for (int op = 0; op < METRICS_OPS; op++) {
		const struct histogram *h = &metrics->latency[op];
		if (!histogram_count(h))
			continue;
		char label[64];
		snprintf(label, sizeof(label), "op=\"%s\"", names[op]);
		print_histogram(text, "mneme_fuse_latency_seconds", label, h);
	}
}

static void print_buffers(struct text *text, struct fs *fs)
{
	struct buffers_tier_stats tiers[BUFFERS_TIERS_MAX];
	unsigned count = buffers_read_stats(fs->buffers, tiers);

	print(text, "# HELP mneme_buffers Reply buffers that exist, in use, and at most in use.\n"
		    "# TYPE mneme_buffers gauge\n");
	for (unsigned i = 0; i < count; i++) {
		print(text, "mneme_buffers{size=\"%lu\",state=\"total\"} %lu\n", tiers[i].size,
		      tiers[i].total);
		print(text, "mneme_buffers{size=\"%lu\",state=\"in_use\"} %lu\n", tiers[i].size,
		      tiers[i].in_use);
		print(text, "mneme_buffers{size=\"%lu\",state=\"high_water\"} %lu\n", tiers[i].size,
		      tiers[i].high_water);
	}
	print(text, "# HELP mneme_buffer_gets_total Reply buffers taken, by where they came from.\n"
		    "# TYPE mneme_buffer_gets_total counter\n");
	for (unsigned i = 0; i < count; i++) {
		uint64_t hits = tiers[i].hits_thread + tiers[i].hits_central;
		print(text, "mneme_buffer_gets_total{size=\"%lu\",from=\"pool\"} %lu\n",
		      tiers[i].size, hits);
		print(text, "mneme_buffer_gets_total{size=\"%lu\",from=\"growth\"} %lu\n",
		      tiers[i].size, tiers[i].gets > hits ? tiers[i].gets - hits : 0);
		print(text, "mneme_buffer_gets_total{size=\"%lu\",from=\"refused\"} %lu\n",
		      tiers[i].size, tiers[i].refused);
	}
}

static void print_sched(struct text *text, struct fs *fs)
{
	struct sched_stats s;

	sched_read_stats(fs->sched, &s);
	print_value(text, "sched_idle", "gauge", "The daemon's threads are in SCHED_IDLE: 1.",
		    s.idle);
	print_value(text, "sched_taken_back_total", "counter",
		    "Times that they left it because requests had waited for a core.",
		    (double)s.taken_back);
}

static void print_later(struct text *text, struct fs *fs)
{
	struct later_stats s;

	later_read_stats(fs->later, &s);
	print_value(text, "requests_waiting", "gauge",
		    "Requests that wait in a thread of their own: for an embedder, a compaction.",
		    s.now);
	print_value(text, "requests_waited_total", "counter", "Requests that did.",
		    (double)s.total);
}

static void print_sched_line(struct text *text, struct fs *fs)
{
	struct sched_stats s;

	sched_read_stats(fs->sched, &s);
	print(text, "scheduling %s%s%s%s, taken back %lu times\n", s.idle ? "idle" : "normal",
	      s.idle ? "" : " (", s.idle ? "" : s.why, s.idle ? "" : ")", s.taken_back);
}

static void print_engine(struct text *text, struct fs *fs)
{
	struct mneme_stats s;

	mneme_get_stats(fs->engine, &s);
	print_value(text, "store_read_only", "gauge", "errno that made the store read-only, or 0.",
		    s.read_only);
	print_value(text, "heap_bytes", "gauge", "Size of the heap file.", (double)s.heap_bytes);
	print_value(text, "heap_free_bytes", "gauge", "Free bytes inside the heap file.",
		    (double)s.heap_free_bytes);
	print_value(text, "disk_free_bytes", "gauge", "Free bytes of the filesystem below.",
		    (double)s.disk_free_bytes);
	print_value(text, "log_free_bytes", "gauge",
		    "Bytes that the log gives back when the disk is full.",
		    (double)s.log_free_bytes);
	print_value(text, "dirty_bytes", "gauge", "Dirty arena in use.", (double)s.dirty_bytes);
	print_value(text, "log_position_bytes", "counter", "Log position of the next record.",
		    (double)s.lsn_next);
	print_value(text, "log_durable_bytes", "counter",
		    "Log position up to which all is durable.", (double)s.lsn_durable);
	print_value(text, "commits_total", "counter", "Transactions.", (double)s.commits);
	print_value(text, "conflicts_total", "counter", "Optimistic transactions that conflicted.",
		    (double)s.conflicts);
	print_value(text, "log_flushes_total", "counter", "Writes of the log, each with a sync.",
		    (double)s.log_flushes);
	print_value(text, "checkpoints_total", "counter", "Checkpoints.", (double)s.checkpoints);
	print_value(text, "checkpoint_pages_total", "counter", "Pages that checkpoints wrote.",
		    (double)s.checkpoint_pages);
	print_value(text, "packed_values_total", "counter",
		    "Small values that were packed into their leaf.", (double)s.packed_values);
	print_value(text, "packed_saved_bytes_total", "counter",
		    "Bytes of pages that packed values gave up, less what they take.",
		    (double)s.packed_saved_bytes);
	print_value(text, "checkpoint_seconds_last", "gauge", "Duration of the last checkpoint.",
		    (double)s.checkpoint_ns_last / 1e9);
	print_value(text, "checkpoint_freeze_seconds_max", "gauge",
		    "Longest time that a checkpoint held all shards.",
		    (double)s.freeze_ns_max / 1e9);
}

static const char *const priorities[BRIDGE_PRIORITIES] = {"critical", "high", "normal", "low"};

/* The time between submit and start, of a priority. To be freed. */
static struct histogram *bridge_latency(struct bridge *bridge, enum bridge_priority priority)
{
	struct histogram *h = alloc_zeroed(1, sizeof(*h)); /* too large for a handler's stack */

	if (h)
		bridge_merge_latency(bridge, priority, h);
	return h;
}

static void print_bridge(struct text *text, struct fs *fs)
{
	struct bridge *bridge = background_bridge(fs->engine);
	struct bridge_stats s;

	bridge_read_stats(bridge, &s);
	print_value(text, "bridge_workers", "gauge", "Threads for background work.", s.workers);
	print(text, "# HELP mneme_bridge_depth Tasks that wait, and at most waited.\n"
		    "# TYPE mneme_bridge_depth gauge\n");
	for (int p = 0; p < BRIDGE_PRIORITIES; p++) {
		print(text, "mneme_bridge_depth{priority=\"%s\",state=\"now\"} %lu\n",
		      priorities[p], s.priority[p].depth);
		print(text, "mneme_bridge_depth{priority=\"%s\",state=\"high_water\"} %lu\n",
		      priorities[p], s.priority[p].depth_max);
	}
	print(text, "# HELP mneme_bridge_tasks_total Tasks by how they ended.\n"
		    "# TYPE mneme_bridge_tasks_total counter\n");
	for (int p = 0; p < BRIDGE_PRIORITIES; p++) {
		const struct bridge_priority_stats *mine = &s.priority[p];
		print(text,
		      "mneme_bridge_tasks_total{priority=\"%s\",end=\"done\"} %lu\n"
		      "mneme_bridge_tasks_total{priority=\"%s\",end=\"refused\"} %lu\n"
		      "mneme_bridge_tasks_total{priority=\"%s\",end=\"expired\"} %lu\n",
		      priorities[p], mine->run, priorities[p], mine->refused, priorities[p],
		      mine->expired);
	}
	print(text, "# HELP mneme_bridge_latency_seconds Time from a task's submit to its start.\n"
		    "# TYPE mneme_bridge_latency_seconds histogram\n");
	for (int p = 0; p < BRIDGE_PRIORITIES; p++) {
		char label[32];
		struct histogram *h = bridge_latency(bridge, p);
		snprintf(label, sizeof(label), "priority=\"%s\"", priorities[p]);
		if (h)
			print_histogram(text, "mneme_bridge_latency_seconds", label, h);
		alloc_free(h);
	}
}

static void print_bridge_lines(struct text *text, struct fs *fs)
{
	struct bridge *bridge = background_bridge(fs->engine);
	struct bridge_stats s;

	bridge_read_stats(bridge, &s);
	for (int p = 0; p < BRIDGE_PRIORITIES; p++) {
		struct histogram *h = bridge_latency(bridge, p);
		if (!h)
			continue;
		print(text,
		      "%-10s %-9s %lu tasks done, %lu wait (at most %lu), %lu refused; started "
		      "after %lu us, p99 %lu us\n",
		      p ? "" : "bridge", priorities[p], s.priority[p].run, s.priority[p].depth,
		      s.priority[p].depth_max, s.priority[p].refused,
		      (uint64_t)(histogram_mean(h) / 1e3), histogram_quantile(h, 0.99) / 1000);
		alloc_free(h);
	}
}

static void print_memory(struct text *text, struct fs *fs)
{
	struct memory_stats s;

	if (!fs->memory)
		return;
	memory_get_stats(fs->memory, &s);
	print_value(text, "memory_files", "gauge", "Files that can be found.", (double)s.files);
	print_value(text, "memory_passages", "gauge", "Their passages.", (double)s.passages);
	print_value(text, "memory_former_passages", "gauge",
		    "Of these, by an embedder that is not wanted any more.", (double)s.former);
	print_value(text, "memory_pending", "gauge", "Files that wait to be embedded.",
		    (double)s.pending);
	print_value(text, "memory_index_bytes", "gauge", "Memory of the search indexes.",
		    (double)s.bytes);
	print_value(text, "memory_index_cells", "gauge",
		    "Cells of the index of the vectors; 0: they are compared one by one.",
		    (double)s.cells);
	print_value(text, "memory_index_mapped_bytes", "gauge",
		    "Vectors in files that are mapped, in memory or not.", (double)s.mapped);
	print_value(text, "memory_brought_vectors", "gauge", "Vectors of vector files.",
		    (double)s.brought);
	print_value(text, "memory_brought_cells", "gauge", "Cells of their indexes.",
		    (double)s.brought_cells);
	print_value(text, "memory_brought_coded", "gauge",
		    "Of these vectors, those with finer codes in an index (the setting quantizer).",
		    (double)s.brought_coded);
	print_value(text, "memory_brought_scanned", "gauge",
		    "Of these vectors, those that no index has (yet).", (double)s.brought_scanned);
	print_value(text, "memory_embedded_total", "counter", "Passages embedded.",
		    (double)s.embedded);
	print_value(text, "memory_embed_seconds_total", "counter",
		    "Time spent on reading, cutting, embedding and indexing files.",
		    (double)s.embed_ns / 1e9);
	print_value(text, "memory_searches_total", "counter", "Searches.", (double)s.searches);
	print_value(text, "memory_searches_repeated_total", "counter",
		    "Of these, answered as the last time: nothing had changed.",
		    (double)s.repeated);
	print_value(text, "memory_search_seconds_total", "counter", "Time spent on searches.",
		    (double)s.search_ns / 1e9);
}

static void print_use(struct text *text, struct fs *fs)
{
	struct use_stats s;

	use_read_stats(fs->memory, &s);
	print_value(text, "memory_uses_total", "counter", "Uses of memories that were counted.",
		    (double)s.counted);
	print_value(text, "memory_uses_dropped_total", "counter",
		    "Uses that were not, for want of room, or could not be written.",
		    (double)s.dropped);
	print_value(text, "memory_uses_waiting", "gauge", "Memories whose uses wait to be written.",
		    (double)s.waiting);
	print_value(text, "memory_pairs_total", "counter", "Pairs of memories used together.",
		    (double)s.pairs);
	print_value(text, "memory_pairs_dropped_total", "counter",
		    "Pairs that there was no room for.", (double)s.pairs_dropped);
	print(text,
	      "# HELP mneme_memory_edges_written_total Links written that nobody made.\n"
	      "# TYPE mneme_memory_edges_written_total counter\n"
	      "mneme_memory_edges_written_total{kind=\"coaccess\"} %lu\n"
	      "mneme_memory_edges_written_total{kind=\"neighbour\"} %lu\n",
	      s.pairs_written, s.neighbours_written);
}

static void print_graph(struct text *text, const struct graph_live_stats *g)
{
	static const char *const kinds[GRAPH_TYPES] = {"explicit", "wiki",      "markdown",
						       "symlink",  "neighbour", "coaccess"};

	print_value(text, "recall_memories", "gauge", "Memories in the graph of links.",
		    (double)g->nodes);
	print_value(text, "recall_links", "gauge", "Links in it.", (double)g->links);
	print(text, "# HELP mneme_recall_links_of_kind Links in it by kind.\n"
		    "# TYPE mneme_recall_links_of_kind gauge\n");
	for (int t = 0; t < GRAPH_TYPES; t++)
		print(text, "mneme_recall_links_of_kind{kind=\"%s\"} %lu\n", kinds[t], g->types[t]);
	print_value(text, "recall_graph_bytes", "gauge", "Its memory.", (double)g->bytes);
	print_value(text, "recall_waiting", "gauge", "Files whose links wait to get into it.",
		    (double)g->waiting);
	print_value(text, "recall_merges_total", "counter", "Merges of changes into it.",
		    (double)g->merges);
	print_value(text, "recall_merge_errors_total", "counter", "Of these, failed ones.",
		    (double)g->merge_errors);
	print_value(text, "recall_rescans_total", "counter", "Of these, with a read of all links.",
		    (double)g->rescans);
	print_value(text, "recall_merge_seconds_last", "gauge", "Duration of the last merge.",
		    (double)g->merge_ns_last / 1e9);
}

/* Some runs go without prefetching, and as many with it are counted beside them. */
static void print_samples(struct text *text, const struct spreader_stats *s)
{
	static const char *const prefetch[] = {"off", "on"};

	print(text, "# HELP mneme_recall_sampled_links_total Links of sampled spreads.\n"
		    "# TYPE mneme_recall_sampled_links_total counter\n");
	for (int i = 0; i < 2; i++)
		print(text, "mneme_recall_sampled_links_total{prefetch=\"%s\"} %lu\n", prefetch[i],
		      s->sampled_links[i]);
	print(text, "# HELP mneme_recall_sampled_seconds_total Their time on a core.\n"
		    "# TYPE mneme_recall_sampled_seconds_total counter\n");
	for (int i = 0; i < 2; i++)
		print(text, "mneme_recall_sampled_seconds_total{prefetch=\"%s\"} %lu.%09lu\n",
		      prefetch[i], s->sampled_ns[i] / NS, s->sampled_ns[i] % NS);
}

static void print_off(struct text *text, const struct memory *memory)
{
	enum { FIRST = SPREAD_OFF_ONE / 80, LAST = SPREAD_OFF_ONE / 5 * 8 };
	const struct spreader_off *off = recall_off(memory);
	static const char *const name = "mneme_recall_prediction_off";

	if (!off)
		return;
	print(text,
	      "# HELP %s |predicted - real| / real of what a spread takes.\n"
	      "# TYPE %s histogram\n",
	      name, name);
	print_parts(text, name, "of=\"work\"", &off->work, SPREAD_OFF_ONE, FIRST, LAST);
	print_parts(text, name, "of=\"links\"", &off->links, SPREAD_OFF_ONE, FIRST, LAST);
}

static void print_spreads(struct text *text, const struct spreader_stats *s)
{
	print_value(text, "recall_runs_total", "counter", "Spreads of activation.",
		    (double)s->runs);
	print_value(text, "recall_narrowed_total", "counter",
		    "Of these, with fewer links or hops to keep a deadline.", (double)s->narrowed);
	print_value(text, "recall_cut_total", "counter", "Of these, ended by their deadline.",
		    (double)s->cut);
	print_value(text, "recall_followed_total", "counter", "Links that were followed.",
		    (double)s->links);
	print_value(text, "recall_batches_total", "counter", "Batches of links.",
		    (double)s->batches);
	print_value(text, "recall_batch_links", "gauge", "Links that a batch may have now.",
		    (double)s->batch_size);
	print_value(text, "recall_batch_links_total", "counter",
		    "Links that the batches looked at.", (double)s->batch_links);
	print_value(text, "recall_batch_room_total", "counter",
		    "Links that the batches had room for.", (double)s->batch_room);
	print_samples(text, s);
	print(text, "# HELP mneme_recall_records Records of activation.\n"
		    "# TYPE mneme_recall_records gauge\n");
	print(text,
	      "mneme_recall_records{state=\"total\"} %lu\n"
	      "mneme_recall_records{state=\"in_use\"} %lu\n"
	      "mneme_recall_records{state=\"high_water\"} %lu\n",
	      s->records, s->records_in_use, s->records_high_water);
	print(text,
	      "# HELP mneme_recall_record_gets_total Records taken, by where they came from.\n"
	      "# TYPE mneme_recall_record_gets_total counter\n");
	print(text,
	      "mneme_recall_record_gets_total{from=\"thread\"} %lu\n"
	      "mneme_recall_record_gets_total{from=\"pool\"} %lu\n",
	      s->records_hits, s->records_acquired - s->records_hits);
}

OWN_FRAME static void print_recall(struct text *text, struct fs *fs)
{
	struct recall_stats s;

	if (!fs->memory)
		return;
	recall_read_stats(fs->memory, &s);
	print_graph(text, &s.graph);
	print_spreads(text, &s.spreader);
	print_off(text, fs->memory);
	print_use(text, fs);
	print_value(text, "recall_refused_total", "counter", "Recalls that were one too many.",
		    (double)s.refused);
	print(text, "# HELP mneme_recall_latency_seconds Time from being asked to the answer.\n"
		    "# TYPE mneme_recall_latency_seconds histogram\n");
	print_histogram(text, "mneme_recall_latency_seconds", "of=\"recall\"",
			recall_latency(fs->memory));
}

OWN_FRAME static void print_recall_line(struct text *text, struct fs *fs)
{
	const struct histogram *h = recall_latency(fs->memory);
	const struct spreader_off *off = recall_off(fs->memory);
	struct recall_stats s;

	recall_read_stats(fs->memory, &s);
	print(text,
	      "recall     %lu memories, %lu links, %lu wait; %lu runs, p50 %lu us, p95 %lu us, %lu "
	      "narrowed, %lu cut, %lu refused; half of the predictions off by up to %lu %%\n",
	      s.graph.nodes, s.graph.links, s.graph.waiting, s.spreader.runs,
	      histogram_quantile(h, 0.5) / 1000, histogram_quantile(h, 0.95) / 1000,
	      s.spreader.narrowed, s.spreader.cut, s.refused,
	      off ? histogram_quantile(&off->work, 0.5) * 100 / SPREAD_OFF_ONE : 0);
}

int metrics_write_prometheus(struct fs *fs, char *buffer, size_t capacity, size_t *length)
{
	struct text text = {.at = buffer, .capacity = capacity};

	print_operations(&text, fs->metrics);
	print_buffers(&text, fs);
	print_value(&text, "inodes_known", "gauge", "Inodes that the kernel knows now.",
		    (double)node_count(fs->nodes));
	print_value(&text, "stack_watermark_bytes", "gauge",
		    "Deepest stack of the requests that were looked at.",
		    (double)stack_watermark());
	print_value(&text, "stack_samples_total", "counter", "Requests whose stack was looked at.",
		    (double)stack_samples());
	print_value(&text, "stack_violations_total", "counter",
		    "Of these, requests over the stack budget.", (double)stack_violations());
	print_sched(&text, fs);
	print_later(&text, fs);
	print_engine(&text, fs);
	print_bridge(&text, fs);
	print_memory(&text, fs);
	print_recall(&text, fs);
	return finish(&text, length);
}

int metrics_write_stats(struct fs *fs, char *buffer, size_t capacity, size_t *length)
{
	struct text text = {.at = buffer, .capacity = capacity};
	struct mneme_stats s;

	mneme_get_stats(fs->engine, &s);
	print(&text, "%-16s %12s %10s %10s %10s %10s %8s\n", "operation", "count", "p50 us",
	      "p99 us", "p99.9 us", "max us", "errors");
	for (int op = 0; op < METRICS_OPS; op++) {
		const struct histogram *h = &fs->metrics->latency[op];
		if (!histogram_count(h))
			continue;
		print(&text, "%-16s %12lu %8lu.%u %8lu.%u %8lu.%u %8lu.%u %8lu\n", names[op],
		      histogram_count(h), TENTHS((double)histogram_quantile(h, 0.5) / 1e3),
		      TENTHS((double)histogram_quantile(h, 0.99) / 1e3),
		      TENTHS((double)histogram_quantile(h, 0.999) / 1e3),
		      TENTHS((double)histogram_max(h) / 1e3),
		      atomic_load_explicit(&fs->metrics->errors[op], memory_order_relaxed));
	}
	print(&text,
	      "\nstore      heap %lu.%u MiB (%lu.%u free), disk free %lu.%u MiB, dirty %lu.%u of "
	      "%lu.%u "
	      "MiB%s\n",
	      TENTHS((double)s.heap_bytes / 1048576), TENTHS((double)s.heap_free_bytes / 1048576),
	      TENTHS((double)s.disk_free_bytes / 1048576), TENTHS((double)s.dirty_bytes / 1048576),
	      TENTHS((double)s.dirty_bytes_max / 1048576),
	      s.read_only ? ", READ-ONLY after an error" : "");
	print(&text,
	      "log        %lu commits, %lu.%u MiB, %lu synced writes, %lu.%u KiB not durable\n",
	      s.commits, TENTHS((double)s.log_bytes / 1048576), s.log_flushes,
	      TENTHS((double)(s.lsn_next - s.lsn_durable) / 1024));
	print(&text, "checkpoint %lu, last %lu.%u ms, shards held at most %lu.%u us\n",
	      s.checkpoints, TENTHS((double)s.checkpoint_ns_last / 1e6),
	      TENTHS((double)s.freeze_ns_max / 1e3));
	print_bridge_lines(&text, fs);
	print(&text, "kernel     %lu inodes known; stack at most %lu bytes (%lu of %lu over %d)\n",
	      node_count(fs->nodes), stack_watermark(), stack_violations(), stack_samples(),
	      STACK_BUDGET);
	print_sched_line(&text, fs);
	if (fs->memory) {
		struct memory_stats m;
		memory_get_stats(fs->memory, &m);
		print(&text,
		      "memories   %lu files, %lu passages (%lu by an embedder of before), %lu "
		      "waiting; indexes %lu.%u MiB; %lu "
		      "searches, "
		      "mean %lu.%u ms\n",
		      m.files, m.passages, m.former, m.pending, TENTHS((double)m.bytes / 1048576),
		      m.searches,
		      TENTHS(m.searches ? (double)m.search_ns / 1e6 / (double)m.searches : 0));
		print_recall_line(&text, fs);
	}
	if (text.used < text.capacity)
		text.used += layers_print(text.at + text.used, text.capacity - text.used);
	return finish(&text, length);
}
