/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the pools cost, beside malloc of the C library, jemalloc and mimalloc in the
 *            same run; what padding of counters brings; the price of a ring, an epoch, a
 *            histogram.
 * Invariants: the subjects take turns, round by round, so what the machine does meanwhile meets
 *            them all. All allocators are called through a pointer, the record pool inline: that
 *            is how each is used.
 * Failure:   an allocator whose library is not installed is left out with a message.
 * Usage:     bench_pool [--json] [--quick]
 */
#include "pool/arena.h"
#include "pool/buffers.h"
#include "pool/counters.h"
#include "pool/epoch.h"
#include "pool/histogram.h"
#include "pool/records.h"
#include "pool/ring.h"
#include "tests/bench/table.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { RECORD_BYTES = 64, BURST = 48, THREADS_MAX = 16, COUNTS_A_PAIR = 25 };

static struct table table;
static int rounds = 21, pairs = 400000;

struct allocator {
	const char *name;
	void *(*get)(size_t size);
	void (*put)(void *mem);
};

static struct allocator allocators[3] = {{"malloc", malloc, free}};
static unsigned allocators_count = 1;

static void allocator_load(const char *name, const char *library, const char *get, const char *put)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

	if (!handle) {
		fprintf(stderr, "bench_pool: %s left out: %s\n", name, dlerror());
		return;
	}
	/* POSIX: a function's address through void * is what dlsym() is for */
	struct allocator one = {.name = name};
	*(void **)&one.get = dlsym(handle, get);
	*(void **)&one.put = dlsym(handle, put);
	if (!one.get || !one.put || (void *)one.get == (void *)malloc) {
		fprintf(stderr, "bench_pool: %s left out: no functions of its own in %s\n", name,
			library);
		return;
	}
	allocators[allocators_count++] = one;
}

/* Keeps the compiler from removing a pair, and makes the memory be touched as a user would. */
static inline void touch(void *mem)
{
	*(volatile uint64_t *)mem = 1;
}

static double per_pair(double begin, int count)
{
	return (table_now_ns() - begin) / count;
}

static double pair_allocator(const struct allocator *a, size_t bytes)
{
	double begin = table_now_ns();

	for (int i = 0; i < pairs; i++) {
		void *mem = a->get(bytes);
		touch(mem);
		a->put(mem);
	}
	return per_pair(begin, pairs);
}

static double burst_allocator(const struct allocator *a, size_t bytes)
{
	void *held[BURST];
	double begin = table_now_ns();

	for (int i = 0; i < pairs / BURST; i++) {
		for (int k = 0; k < BURST; k++) {
			held[k] = a->get(bytes);
			touch(held[k]);
		}
		for (int k = 0; k < BURST; k++)
			a->put(held[k]);
	}
	return per_pair(begin, pairs / BURST * BURST);
}

static double pair_records(struct records *pool)
{
	double begin = table_now_ns();

	for (int i = 0; i < pairs; i++) {
		void *mem = records_acquire(pool);
		touch(mem);
		records_release(pool, mem);
	}
	return per_pair(begin, pairs);
}

static double burst_records(struct records *pool)
{
	void *held[BURST];
	double begin = table_now_ns();

	for (int i = 0; i < pairs / BURST; i++) {
		for (int k = 0; k < BURST; k++) {
			held[k] = records_acquire(pool);
			touch(held[k]);
		}
		for (int k = 0; k < BURST; k++)
			records_release(pool, held[k]);
	}
	return per_pair(begin, pairs / BURST * BURST);
}

static void name_of(char *out, size_t size, const char *what, const char *who)
{
	snprintf(out, size, "%s: %s", what, who);
}

static void must(int error, const char *what)
{
	if (error) {
		fprintf(stderr, "bench_pool: %s: %s\n", what, strerror(-error));
		exit(1);
	}
}

static void bench_records(void)
{
	struct records *pool;
	char name[56];

	must(records_new(RECORD_BYTES, 100000, &pool), "records_new");
	for (int round = 0; round < rounds; round++) {
		table_add(&table, "64 B pair: record pool", "ns", pair_records(pool));
		for (unsigned a = 0; a < allocators_count; a++) {
			name_of(name, sizeof(name), "64 B pair", allocators[a].name);
			table_add(&table, name, "ns", pair_allocator(&allocators[a], RECORD_BYTES));
		}
		table_add(&table, "64 B x48 then back: record pool", "ns", burst_records(pool));
		for (unsigned a = 0; a < allocators_count; a++) {
			name_of(name, sizeof(name), "64 B x48 then back", allocators[a].name);
			table_add(&table, name, "ns",
				  burst_allocator(&allocators[a], RECORD_BYTES));
		}
	}
	double pair = table_median(&table, "64 B pair: record pool");
	double burst = table_median(&table, "64 B x48 then back: record pool");
	table_hold(&table, "64 B pair: record pool", "target", 10, 1);
	table_hold(&table, "64 B x48 then back: record pool", "target", 10, 1);
	for (unsigned a = 0; a < allocators_count; a++) {
		name_of(name, sizeof(name), "64 B pair", allocators[a].name);
		table_hold(&table, name, "record pool", pair, 0);
		name_of(name, sizeof(name), "64 B x48 then back", allocators[a].name);
		table_hold(&table, name, "record pool", burst, 0);
	}
	records_free(pool);
}

static double pair_buffers(struct buffers *pool, size_t bytes)
{
	double begin = table_now_ns();

	for (int i = 0; i < pairs; i++) {
		struct buffer *buffer = buffers_get(pool, bytes);
		touch(buffer->data);
		buffers_put(pool, buffer);
	}
	return per_pair(begin, pairs);
}

static double arena_request(struct arena *arena)
{
	double begin = table_now_ns();

	for (int i = 0; i < pairs / 8; i++) {
		for (int k = 0; k < 8; k++)
			touch(arena_get(arena, 200));
		arena_reset(arena);
	}
	return per_pair(begin, pairs / 8 * 8);
}

static void bench_buffers(void)
{
	static const size_t sizes[] = {1000, 4096, 16384};
	struct buffers_config config;
	struct buffers *pool;
	struct buffers_tier_stats stats[BUFFERS_TIERS_MAX];
	struct arena arena;
	char name[56];

	buffers_config_default(&config);
	must(buffers_new(&config, &pool), "buffers_new");
	must(arena_init(&arena, 4096, 1 << 20), "arena_init");
	for (int round = 0; round < rounds; round++) {
		for (int s = 0; s < 3; s++) {
			snprintf(name, sizeof(name), "%zu B pair: buffers", sizes[s]);
			table_add(&table, name, "ns", pair_buffers(pool, sizes[s]));
			for (unsigned a = 0; a < allocators_count; a++) {
				snprintf(name, sizeof(name), "%zu B pair: %s", sizes[s],
					 allocators[a].name);
				table_add(&table, name, "ns",
					  pair_allocator(&allocators[a], sizes[s]));
			}
		}
		table_add(&table, "200 B from an arena, reset each 8", "ns", arena_request(&arena));
	}
	for (int s = 0; s < 3; s++) {
		snprintf(name, sizeof(name), "%zu B pair: buffers", sizes[s]);
		double ours = table_median(&table, name);
		for (unsigned a = 0; a < allocators_count; a++) {
			snprintf(name, sizeof(name), "%zu B pair: %s", sizes[s],
				 allocators[a].name);
			table_hold(&table, name, "buffers", ours, 0);
		}
	}
	unsigned tiers = buffers_read_stats(pool, stats);
	for (unsigned t = 0; t < tiers; t++) {
		snprintf(name, sizeof(name), "%llu B tier: hit rate",
			 (unsigned long long)stats[t].size);
		table_add(&table, name, "%",
			  100.0 * (double)(stats[t].hits_thread + stats[t].hits_central) /
				  (double)stats[t].gets);
		table_hold(&table, name, "target", 90, 0);
		snprintf(name, sizeof(name), "%llu B tier: memory overhead",
			 (unsigned long long)stats[t].size);
		table_add(&table, name, "%",
			  100.0 * (double)stats[t].bytes_overhead / (double)stats[t].bytes_data);
		table_hold(&table, name, "target", 10, 1);
	}
	arena_destroy(&arena);
	buffers_free(pool);
}

/* Counters: each of T threads raises its own cell; only where the cells lie differs. */
enum layout { SHARED, ADJACENT, PADDED };
struct counting {
	enum layout layout;
	int index;
	pthread_barrier_t *start;
	double ns;
};
static struct counters padded;
static struct {
	alignas(CACHE_LINE) _Atomic uint64_t cell[THREADS_MAX];
} adjacent;

static void cell_raise(_Atomic uint64_t *cell)
{
	atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static void *count_thread(void *arg)
{
	struct counting *counting = arg;

	/* on a core of its own, or the effect does not show; where that is not permitted it may not
	 */
	cpu_set_t core;
	CPU_ZERO(&core);
	CPU_SET(counting->index, &core);
	pthread_setaffinity_np(pthread_self(), sizeof(core), &core);
	thread_slot();
	pthread_barrier_wait(counting->start);
	double begin = table_now_ns();
	int count = pairs * COUNTS_A_PAIR;
	for (int i = 0; i < count; i++) {
		switch (counting->layout) {
		case SHARED:
			atomic_fetch_add_explicit(&adjacent.cell[0], 1, memory_order_relaxed);
			break;
		case ADJACENT:
			cell_raise(&adjacent.cell[counting->index]);
			break;
		case PADDED:
			counters_add(&padded, 0, 1);
			break;
		}
	}
	counting->ns = per_pair(begin, count);
	return NULL;
}

static double count_run(enum layout layout, int threads)
{
	pthread_t thread[THREADS_MAX];
	struct counting counting[THREADS_MAX];
	pthread_barrier_t start;
	double sum = 0;

	pthread_barrier_init(&start, NULL, (unsigned)threads);
	for (int i = 0; i < threads; i++) {
		counting[i] = (struct counting){layout, i, &start, 0};
		must(-pthread_create(&thread[i], NULL, count_thread, &counting[i]), "thread");
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(thread[i], NULL);
		sum += counting[i].ns / threads;
	}
	pthread_barrier_destroy(&start);
	return sum;
}

static void bench_counters(void)
{
	static const char *const names[] = {"one shared atomic", "adjacent cells", "padded rows"};
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	char name[56];

	must(counters_init(&padded, 1), "counters_init");
	for (int threads = 1; threads <= THREADS_MAX && threads <= cores; threads *= 2) {
		for (int round = 0; round < rounds; round++)
			for (int layout = SHARED; layout <= PADDED; layout++) {
				snprintf(name, sizeof(name), "count, %d thread%s: %s", threads,
					 threads > 1 ? "s" : "", names[layout]);
				table_add(&table, name, "ns", count_run(layout, threads));
			}
		snprintf(name, sizeof(name), "count, %d thread%s: padded rows", threads,
			 threads > 1 ? "s" : "");
		double ours = table_median(&table, name);
		for (int layout = SHARED; layout < PADDED; layout++) {
			snprintf(name, sizeof(name), "count, %d thread%s: %s", threads,
				 threads > 1 ? "s" : "", names[layout]);
			table_hold(&table, name, "padded rows", ours, 0);
		}
	}
	counters_destroy(&padded);
}

static void bench_small_parts(void)
{
	static struct histogram histogram;
	static uint64_t scratch[1];
	struct ring ring;
	struct epoch *epoch;

	must(ring_init(&ring, 1024), "ring_init");
	must(epoch_new(&epoch), "epoch_new");
	for (int round = 0; round < rounds; round++) {
		double begin = table_now_ns();
		for (int i = 0; i < pairs; i++) {
			ring_push(&ring, &ring);
			touch(ring_pop(&ring) ? scratch : NULL);
		}
		table_add(&table, "ring push + pop", "ns", per_pair(begin, pairs));
		begin = table_now_ns();
		for (int i = 0; i < pairs; i++) {
			epoch_enter(epoch);
			epoch_leave(epoch);
		}
		table_add(&table, "epoch enter + leave", "ns", per_pair(begin, pairs));
		begin = table_now_ns();
		for (int i = 0; i < pairs; i++)
			histogram_record(&histogram, (uint64_t)i * 37);
		table_add(&table, "histogram record, any thread", "ns", per_pair(begin, pairs));
		begin = table_now_ns();
		for (int i = 0; i < pairs; i++)
			histogram_record_owned(&histogram, (uint64_t)i * 37);
		table_add(&table, "histogram record, one writer", "ns", per_pair(begin, pairs));
	}
	epoch_free(epoch);
	ring_destroy(&ring);
}

/* jemalloc wants more static thread-local space than the loader keeps for libraries that come late;
 * the loader reads the wish for more at the start only. */
static void restart_with_static_tls(char **argv)
{
	if (getenv("GLIBC_TUNABLES"))
		return;
	setenv("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=16384", 1);
	execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	restart_with_static_tls(argv);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json")) {
			table.json = 1;
		} else if (!strcmp(argv[i], "--quick")) {
			rounds = 5;
			pairs = 50000;
		} else {
			fprintf(stderr, "usage: bench_pool [--json] [--quick]\n");
			return 2;
		}
	}
	allocator_load("jemalloc", "libjemalloc.so.2", "malloc", "free");
	allocator_load("mimalloc", "libmimalloc.so.2.0", "mi_malloc", "mi_free");
	bench_records();
	bench_buffers();
	bench_counters();
	bench_small_parts();
	table_print(&table);
	return 0;
}
