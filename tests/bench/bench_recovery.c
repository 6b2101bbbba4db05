/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what a checkpoint costs the operations beside it, and how long a store takes to open after
 *            its process was killed.
 * Use:       bench_recovery [--quick] [--json] [--dir DIR] [--rounds N]
 *            The default writes about 3 GiB below DIR; --quick a tenth of it.
 */
#include "core/mneme.h"
#include "tests/bench/table.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { VALUE_BYTES = 3500, LATENCIES = 4000000 };

static struct table table;
static const char *directory;
static uint64_t dirty_bytes = 1ull << 30, keys = 1000000;
static unsigned rounds = 3;
static char path[400];
static uint32_t *latency;

static struct mneme *store_new(uint64_t dirty_max)
{
	struct mneme_options options = {.dirty_bytes_max = dirty_max, .checkpoint_ms = 3600000};
	char command[512];
	struct mneme *m;

	snprintf(command, sizeof command, "rm -rf '%s'", path);
	if (system(command) || mneme_create(path, NULL, NULL) < 0 ||
	    mneme_open(path, &options, &m, NULL) < 0)
		abort();
	return m;
}

static void put(struct mneme *m, uint32_t number, const void *value, size_t length,
		enum mneme_durability durability)
{
	if (mneme_kv_put(m, &number, sizeof number, value, length, NULL, durability) < 0)
		abort();
}

/* ---- beside a checkpoint ---- */

static _Atomic int checkpoint_done;

static void *checkpoint_main(void *arg)
{
	double begin = table_now_ns();

	if (mneme_checkpoint(arg) < 0)
		abort();
	table_add(&table, "checkpoint", "ms", (table_now_ns() - begin) / 1e6);
	atomic_store(&checkpoint_done, 1);
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	return (*(const uint32_t *)a > *(const uint32_t *)b) -
	       (*(const uint32_t *)a < *(const uint32_t *)b);
}

static void measure_checkpoint(void)
{
	struct mneme *m = store_new(3 * dirty_bytes);
	uint32_t count = dirty_bytes / 4096, n = 0;
	static uint8_t value[VALUE_BYTES];
	struct mneme_stats stats;
	pthread_t thread;

	for (uint32_t i = 0; i < count; i++)
		put(m, i, value, sizeof value, MNEME_DURABILITY_MEMORY);
	mneme_get_stats(m, &stats);
	table_add(&table, "dirty when it began", "MiB", stats.dirty_bytes / 1048576.0);
	atomic_store(&checkpoint_done, 0);
	pthread_create(&thread, NULL, checkpoint_main, m);
	double last = table_now_ns();
	while (!atomic_load(&checkpoint_done) && n < LATENCIES) {
		/* not `buffered`: behind `memory` changes of the key such a one waits for a checkpoint */
		put(m, n * 7919u % count, value, 200, MNEME_DURABILITY_MEMORY);
		double now = table_now_ns();
		latency[n++] = now - last > 4e9 ? 4000000000u : (uint32_t)(now - last);
		last = now;
	}
	pthread_join(thread, NULL);
	qsort(latency, n, sizeof latency[0], by_value);
	mneme_get_stats(m, &stats);
	table_add(&table, "put beside it, p50", "us", latency[n / 2] / 1e3);
	table_add(&table, "put beside it, p99", "us", latency[(uint64_t)n * 99 / 100] / 1e3);
	table_add(&table, "put beside it, p99.9", "us", latency[(uint64_t)n * 999 / 1000] / 1e3);
	table_add(&table, "put beside it, longest", "us", latency[n - 1] / 1e3);
	table_add(&table, "all shards held (freeze)", "us", stats.freeze_ns_max / 1e3);
	table_hold(&table, "put beside it, p99", "limit", 1000, 1);
	mneme_close(m);
}

/* ---- after kill -9 ---- */

static void fill_and_die(void)
{
	struct mneme *m = store_new(2ull << 30);
	uint8_t value[200];

	memset(value, 'v', sizeof value);
	for (uint64_t i = 0; i < keys; i++)
		put(m, (uint32_t)(i * 7919 % keys), value, sizeof value, MNEME_DURABILITY_BUFFERED);
	if (mneme_sync(m) < 0)
		abort();
	kill(getpid(), SIGKILL);
}

static void measure_recovery(void)
{
	struct mneme_options options = {.dirty_bytes_max = 2ull << 30};
	struct mneme_error error = {""};
	struct mneme_stats stats;
	struct mneme *m;
	int status;
	pid_t child = fork();

	if (child == 0) {
		fill_and_die();
		_exit(1);
	}
	if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
		abort();
	double begin = table_now_ns();
	if (mneme_open(path, &options, &m, &error) < 0) {
		fprintf(stderr, "open: %s\n", error.message);
		abort();
	}
	double seconds = (table_now_ns() - begin) / 1e9;
	mneme_get_stats(m, &stats);
	table_add(&table, "log replayed", "MiB", stats.replayed_bytes / 1048576.0);
	table_add(&table, "records replayed", "", stats.replayed_records);
	table_add(&table, "open after kill -9", "s", seconds);
	table_hold(&table, "open after kill -9", "limit", 2, 1);
	uint32_t last = (uint32_t)(keys - 1);
	uint8_t value[200];
	size_t length;
	if (mneme_kv_get(m, &last, sizeof last, value, sizeof value, &length, NULL) < 0)
		abort();
	mneme_close(m);
}

int main(int argc, char **argv)
{
	directory = bench_directory();
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick"))
			dirty_bytes = 100 << 20, keys = 100000, rounds = 1;
		else if (!strcmp(argv[i], "--json"))
			table.json = 1;
		else if (!strcmp(argv[i], "--dir") && i + 1 < argc)
			directory = argv[++i];
		else if (!strcmp(argv[i], "--rounds") && i + 1 < argc)
			rounds = strtoul(argv[++i], NULL, 10);
		else
			return fprintf(stderr,
				       "usage: bench_recovery [--quick] [--json] [--dir DIR] "
				       "[--rounds N]\n"),
			       2;
	}
	snprintf(path, sizeof path, "%s/recovery", directory);
	latency = malloc(LATENCIES * sizeof *latency);
	for (unsigned round = 0; round < rounds; round++) {
		measure_checkpoint();
		measure_recovery();
	}
	char command[512];
	snprintf(command, sizeof command, "rm -rf '%s'", path);
	if (system(command))
		return 1;
	table_print(&table);
	free(latency);
	return 0;
}
