/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the engine against LMDB, SQLite and RocksDB on the same keys in one run, and its layers
 *            against each other: A0 the raw tree (no log), A1 with transaction and log, B through the
 *            kv and log interfaces.
 * Use:       bench_engine [--quick] [--json] [--dir DIR] [--keys N] [--value BYTES] [--zipf]
 *            [--rounds N] [--only peers|layers|threads] [--peers NAME,...]. DIR should lie on the disk
 *            that is to be measured (default: $MNEME_BENCH_DIR, which tests/bench/run sets). A
 *            terminal sees what runs.
 * Invariants: every engine gets the same sequence of keys; a round is a fresh store; all engines of a
 *            class come in turn in each round. Durability classes: `memory` (no log, no sync),
 *            `buffered` (log without waiting: LMDB NOSYNC, SQLite WAL NORMAL, RocksDB WAL without
 *            sync), `strict` (each put waits for the disk: LMDB default, SQLite WAL FULL, RocksDB sync).
 */
#include "core/mneme.h"
#include "core/store/io.h"
#include "pool/layers.h"
#include "tests/bench/engine_peers.h"
#include "tests/bench/table.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct setting {
	const char *directory;
	uint64_t keys;
	uint32_t value_length;
	int zipf, quick;
	const char *only;    /* a part; NULL: all */
	const char *engines; /* of the peers: names with commas; NULL: all */
	unsigned rounds;
	uint64_t strict_puts;
};

static struct table table;
static struct setting set = {
	.keys = 1000000, .value_length = 200, .rounds = 3, .strict_puts = 2000};
static uint32_t *sequence; /* key numbers in the order of the puts */
static uint32_t *latency;  /* of each operation, ns */

static void remove_tree(const char *path)
{
	char command[512];

	snprintf(command, sizeof command, "rm -rf '%s'", path);
	if (system(command))
		abort();
}

static int by_value(const void *a, const void *b)
{
	return (*(const uint32_t *)a > *(const uint32_t *)b) -
	       (*(const uint32_t *)a < *(const uint32_t *)b);
}

static double quantile_us(uint64_t n, double q)
{
	qsort(latency, n, sizeof latency[0], by_value);
	return latency[(uint64_t)((double)(n - 1) * q)] / 1e3;
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Uniform: every key once, in a random order. Zipfian: exponent near 1, by inversion. */
static void sequence_make(void)
{
	uint64_t state = 88172645463325252ull;

	for (uint64_t i = 0; i < set.keys; i++)
		sequence[i] = i;
	for (uint64_t i = set.keys - 1; i > 0; i--) {
		uint64_t j = random_next(&state) % (i + 1);
		uint32_t t = sequence[i];
		sequence[i] = sequence[j];
		sequence[j] = t;
	}
	if (!set.zipf)
		return;
	uint32_t *shuffled = malloc(set.keys * sizeof *shuffled);
	memcpy(shuffled, sequence, set.keys * sizeof *shuffled);
	for (uint64_t i = 0; i < set.keys; i++) {
		double u = (double)(random_next(&state) >> 11) / 9007199254740992.0;
		uint64_t rank = (uint64_t)(__builtin_pow((double)set.keys, u)) - 1;
		sequence[i] = shuffled[rank < set.keys ? rank : set.keys - 1];
	}
	free(shuffled);
}

/* ---- mneme behind the same face as the peers ---- */

struct ours {
	struct mneme *m;
	enum mneme_durability durability;
};

static void *ours_open(const char *path, enum peer_class class)
{
	struct mneme_options options = {0};
	struct ours *o = calloc(1, sizeof *o);

	o->durability = class == PEER_MEMORY   ? MNEME_DURABILITY_MEMORY
			: class == PEER_STRICT ? MNEME_DURABILITY_STRICT
					       : MNEME_DURABILITY_BUFFERED;
	if (mneme_create(path, NULL, NULL) < 0 || mneme_open(path, &options, &o->m, NULL) < 0)
		abort();
	return o;
}

static void ours_put(void *arg, const void *key, size_t key_length, const void *value,
		     size_t length)
{
	struct ours *o = arg;

	if (mneme_kv_put(o->m, key, key_length, value, length, NULL, o->durability) < 0)
		abort();
}

static int ours_get(void *arg, const void *key, size_t key_length, void *value, size_t capacity)
{
	struct ours *o = arg;
	size_t length;

	return mneme_kv_get(o->m, key, key_length, value, capacity, &length, NULL);
}

static void ours_close(void *arg)
{
	struct ours *o = arg;

	if (mneme_close(o->m) < 0)
		abort();
	free(o);
}

static const struct peer mneme_peer = {"mneme", ours_open, ours_put, ours_get, ours_close};

/* ---- one engine, one class ---- */

static const char *const classes[] = {"memory", "buffered", "strict"};

static void key_write(uint8_t key[16], uint32_t number)
{
	/* 16 bytes, as a user key would be; numbers far apart share no order with the puts */
	memcpy(key, "key-000000000000", 16);
	for (int i = 15; number; i--, number /= 10)
		key[i] = '0' + number % 10;
}

/* The most memory that the process has had since peak_begin(), beyond what it had then; pages of mapped
 * files count. */
static uint64_t peak_base_kib;

static uint64_t status_kib(const char *field)
{
	char line[128];
	uint64_t kib = 0;
	FILE *status = fopen("/proc/self/status", "r");

	while (status && fgets(line, sizeof line, status))
		if (!strncmp(line, field, strlen(field)))
			kib = strtoull(line + strlen(field), NULL, 10);
	if (status)
		fclose(status);
	return kib;
}

static void peak_begin(void)
{
	FILE *refs = fopen("/proc/self/clear_refs", "w");

	if (refs) {
		fputs("5", refs);
		fclose(refs);
	}
	peak_base_kib = status_kib("VmRSS:");
}

static double peak_mib(void)
{
	uint64_t peak = status_kib("VmHWM:");

	return peak > peak_base_kib ? (double)(peak - peak_base_kib) / 1024 : 0;
}

static void measure(const struct peer *peer, enum peer_class class, uint64_t puts)
{
	char path[400], name[56];
	uint8_t key[16], *value = malloc(set.value_length), *out = malloc(set.value_length + 64);

	bench_progress("%s %s", peer->name, classes[class]);
	snprintf(path, sizeof path, "%s/%s", set.directory, peer->name);
	remove_tree(path);
	peak_begin();
	void *store = peer->open(path, class);
	memset(value, 'v', set.value_length);
	double begin = table_now_ns(), last = begin;
	for (uint64_t i = 0; i < puts; i++) {
		key_write(key, sequence[i]);
		memcpy(value, &i, sizeof i < set.value_length ? sizeof i : set.value_length);
		peer->put(store, key, sizeof key, value, set.value_length);
		double now = table_now_ns();
		latency[i] = now - last;
		last = now;
	}
	snprintf(name, sizeof name, "%s %s put/s", peer->name, classes[class]);
	table_add(&table, name, "ops/s", (double)puts / (last - begin) * 1e9);
	snprintf(name, sizeof name, "%s %s put p50", peer->name, classes[class]);
	table_add(&table, name, "us", quantile_us(puts, 0.5));
	snprintf(name, sizeof name, "%s %s put p99", peer->name, classes[class]);
	table_add(&table, name, "us", quantile_us(puts, 0.99));
	if (class == PEER_BUFFERED) {
		begin = last = table_now_ns();
		for (uint64_t i = 0; i < puts; i++) {
			key_write(key, sequence[(i * 7919) % puts]);
			if (peer->get(store, key, sizeof key, out, set.value_length + 64))
				abort();
			double now = table_now_ns();
			latency[i] = now - last;
			last = now;
		}
		snprintf(name, sizeof name, "%s get/s", peer->name);
		table_add(&table, name, "ops/s", (double)puts / (last - begin) * 1e9);
		snprintf(name, sizeof name, "%s get p50", peer->name);
		table_add(&table, name, "us", quantile_us(puts, 0.5));
	}
	snprintf(name, sizeof name, "%s %s resident", peer->name, classes[class]);
	table_add(&table, name, "MiB", peak_mib());
	if (peer == &mneme_peer)
		table_hold(&table, name, "limit", 1024, 1);
	peer->close(store);
	remove_tree(path);
	free(value);
	free(out);
}

/* ---- layers ---- */

static double layer_ns(int layer, struct mneme *m, uint64_t n)
{
	uint8_t sub[16], value[4096];
	double begin = table_now_ns();

	memset(value, 'v', sizeof value);
	for (uint64_t i = 0; i < n; i++) {
		key_write(sub, sequence[i]);
		struct mneme_key key = {.inode = sequence[i] % mneme_shards(m),
					.sub = sub,
					.type = MNEME_TYPE_USER,
					.sub_length = sizeof sub};
		int rc;
		if (layer == 0)
			rc = mneme_put(m, &key, value, set.value_length, MNEME_DURABILITY_MEMORY);
		else if (layer == 1)
			rc = mneme_put(m, &key, value, set.value_length, MNEME_DURABILITY_BUFFERED);
		else if (layer == 2)
			rc = mneme_kv_put(m, sub, sizeof sub, value, set.value_length, NULL,
					  MNEME_DURABILITY_BUFFERED);
		else
			rc = mneme_log_append(m, "run", 3, value, set.value_length, NULL,
					      MNEME_DURABILITY_BUFFERED);
		if (rc < 0)
			abort();
	}
	return (table_now_ns() - begin) / (double)n;
}

static void measure_layers(void)
{
	static const char *const names[] = {"A0 raw tree", "A1 with transaction and log",
					    "B kv put", "B log append"};
	uint64_t n = set.keys < 200000 ? set.keys : 200000;
	double ns[4];
	char path[400], name[56];

	snprintf(path, sizeof path, "%s/layers", set.directory);
	for (int layer = 0; layer < 4; layer++) {
		struct mneme *m;
		remove_tree(path);
		if (mneme_create(path, NULL, NULL) < 0 || mneme_open(path, NULL, &m, NULL) < 0)
			abort();
		ns[layer] = layer_ns(layer, m, n);
		snprintf(name, sizeof name, "%s", names[layer]);
		table_add(&table, name, "ns", ns[layer]);
		mneme_close(m);
	}
	remove_tree(path);
	table_add(&table, "A1 / A0", "x", ns[1] / ns[0]);
	table_hold(&table, "A1 / A0", "limit", 10, 1);
	table_add(&table, "B / A1", "x", ns[2] / ns[1]);
	table_hold(&table, "B / A1", "limit", 2, 1);
	table_hold(&table, "B log append", "limit", 10000, 1);
}

/* ---- threads ---- */

struct worker {
	struct mneme *m;
	pthread_t thread;
	uint32_t number, threads;
	uint64_t puts;
	enum mneme_durability durability;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint8_t sub[16], value[200];

	memset(value, 'v', sizeof value);
	for (uint64_t i = 0; i < w->puts; i++) {
		uint32_t number = (uint32_t)(i * w->threads + w->number);
		key_write(sub, number);
		struct mneme_key key = {.inode = w->number % mneme_shards(w->m),
					.sub = sub,
					.type = MNEME_TYPE_USER,
					.sub_length = sizeof sub};
		int rc = mneme_put(w->m, &key, value, sizeof value, w->durability);
		if (rc < 0) {
			fprintf(stderr, "put %llu: %s\n", (unsigned long long)i, strerror(-rc));
			abort();
		}
	}
	return NULL;
}

static double threads_rate(uint32_t threads, uint64_t puts, enum mneme_durability durability)
{
	struct worker workers[64];
	char path[400];
	struct mneme *m;

	snprintf(path, sizeof path, "%s/threads.%d", set.directory, (int)getpid());
	remove_tree(path);
	if (mneme_create(path, NULL, NULL) < 0 || mneme_open(path, NULL, &m, NULL) < 0)
		abort();
	double begin = table_now_ns();
	for (uint32_t i = 0; i < threads; i++) {
		workers[i] = (struct worker){.m = m,
					     .number = i,
					     .threads = threads,
					     .puts = puts / threads,
					     .durability = durability};
		pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
	}
	for (uint32_t i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	double rate = (double)puts / (table_now_ns() - begin) * 1e9;
	mneme_close(m);
	remove_tree(path);
	return rate;
}

/* What the machine gives: a process for each core, with a store of its own. All begin when the last
 * one is ready; the rate is that of the slowest. */
static double processes_rate(uint32_t count, uint64_t puts)
{
	pthread_barrierattr_t shared;
	struct gate {
		pthread_barrier_t ready;
		double rates[64];
	} *gate =
		mmap(NULL, sizeof *gate, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double slowest;

	if (gate == MAP_FAILED || count > 64)
		abort();
	pthread_barrierattr_init(&shared);
	pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&gate->ready, &shared, count);
	for (uint32_t i = 0; i < count; i++) {
		pid_t child = fork();
		if (child < 0)
			abort();
		if (child == 0) {
			pthread_barrier_wait(&gate->ready);
			gate->rates[i] = threads_rate(1, puts / count, MNEME_DURABILITY_MEMORY);
			_exit(0);
		}
	}
	for (uint32_t i = 0; i < count; i++)
		wait(NULL);
	slowest = gate->rates[0];
	for (uint32_t i = 1; i < count; i++)
		slowest = gate->rates[i] < slowest ? gate->rates[i] : slowest;
	munmap(gate, sizeof *gate);
	return slowest * count;
}

/* In turn, the best of each: what else the machine does at the time hits them alike. */
static void measure_threads(void)
{
	enum { TRIES = 3 };
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	double one = 0, two = 0, apart = 0;

	for (int i = 0; i < TRIES; i++) {
		one = fmax(one, threads_rate(1, 400000, MNEME_DURABILITY_MEMORY));
		two = fmax(two, threads_rate(2, 400000, MNEME_DURABILITY_MEMORY));
		apart = fmax(apart, processes_rate(2, 400000));
	}
	table_add(&table, "disjoint keys, 2 threads / 1", "x", two / one);
	table_hold(&table, "disjoint keys, 2 threads / 1", "target", 1.8, 0);
	table_add(&table, "stores of their own, 2 processes / 1", "x", apart / one);
	if (cores >= 8) {
		double eight = threads_rate(8, 800000, MNEME_DURABILITY_MEMORY);
		table_add(&table, "disjoint keys, 8 threads / 1", "x", eight / one);
		table_hold(&table, "disjoint keys, 8 threads / 1", "target", 6, 0);
	}
	double strict_one = 0, strict_many = 0;
	for (int i = 0; i < TRIES; i++) {
		strict_one =
			fmax(strict_one, threads_rate(1, set.strict_puts, MNEME_DURABILITY_STRICT));
		strict_many = fmax(strict_many,
				   threads_rate(16, set.strict_puts * 4, MNEME_DURABILITY_STRICT));
	}
	table_add(&table, "strict, 16 writers / 1", "x", strict_many / strict_one);
	table_hold(&table, "strict, 16 writers / 1", "target", 8, 0);
}

/* The disk's own rate: overwrite of preallocated, zero-written blocks and fdatasync. */
static double sync_us(void)
{
	enum { ROUNDS = 300, BYTES = 4096, FILE_BYTES = 1 << 20 };
	char path[400];
	static uint8_t block[BYTES];

	snprintf(path, sizeof path, "%s/sync", set.directory);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		abort();
	for (int at = 0; at < FILE_BYTES; at += BYTES)
		if (pwrite(fd, block, BYTES, at) != BYTES)
			abort();
	fdatasync(fd);
	for (int i = 0; i < ROUNDS; i++) {
		double begin = table_now_ns();
		block[0] = i;
		if (pwrite(fd, block, BYTES, i * BYTES % FILE_BYTES) != BYTES || fdatasync(fd))
			abort();
		latency[i] = table_now_ns() - begin;
	}
	close(fd);
	unlink(path);
	return quantile_us(ROUNDS, 0.5);
}

static double median_of(const char *name)
{
	return table_median(&table, name);
}

/* Holds ours against the best peer of each row, and against the absolute targets. */
static void judge(void)
{
	static const char *const rows[] = {"memory put/s", "buffered put/s", "strict put/s",
					   "get/s"};
	char name[56], ours[56], best_name[32] = "";

	for (unsigned r = 0; r < sizeof rows / sizeof rows[0]; r++) {
		double best = 0;
		for (unsigned p = 0; peers[p]; p++) {
			snprintf(name, sizeof name, "%s %s", peers[p]->name, rows[r]);
			if (median_of(name) > best) {
				best = median_of(name);
				snprintf(best_name, sizeof best_name, "%s", peers[p]->name);
			}
		}
		snprintf(ours, sizeof ours, "mneme %s", rows[r]);
		table_hold(&table, ours, best_name, best, 0);
	}
	table_hold(&table, "mneme memory put p50", "limit", 8, 1);
	table_hold(&table, "mneme buffered put p50", "limit", 20, 1);
	table_hold(&table, "mneme buffered put p99", "limit", 50, 1);
	table_hold(&table, "mneme get p50", "limit", 5, 1);
	table_hold(&table, "mneme strict put p50", "sync + 20 %", 1.2 * median_of("disk sync"), 1);
}

static int arguments(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick"))
			set.quick = 1, set.keys = 100000, set.rounds = 1, set.strict_puts = 300;
		else if (!strcmp(argv[i], "--json"))
			table.json = 1;
		else if (!strcmp(argv[i], "--zipf"))
			set.zipf = 1;
		else if (!strcmp(argv[i], "--dir") && i + 1 < argc)
			set.directory = argv[++i];
		else if (!strcmp(argv[i], "--keys") && i + 1 < argc)
			set.keys = strtoull(argv[++i], NULL, 10);
		else if (!strcmp(argv[i], "--value") && i + 1 < argc)
			set.value_length = strtoul(argv[++i], NULL, 10);
		else if (!strcmp(argv[i], "--rounds") && i + 1 < argc)
			set.rounds = strtoul(argv[++i], NULL, 10);
		else if (!strcmp(argv[i], "--only") && i + 1 < argc)
			set.only = argv[++i];
		else if (!strcmp(argv[i], "--peers") && i + 1 < argc)
			set.engines = argv[++i];
		else
			return -1;
	}
	return set.keys < 1000 || set.value_length < 8 || set.value_length > 4096 ||
			       set.rounds < 1 || set.rounds > 100
		       ? -1
		       : 0;
}

static int wanted(const char *part)
{
	return !set.only || !strcmp(set.only, part);
}

int main(int argc, char **argv)
{
	char layers[1024];

	set.directory = bench_directory();
	if (arguments(argc, argv)) {
		fprintf(stderr, "usage: bench_engine [--quick] [--json] [--dir DIR] [--keys N] "
				"[--value 8..4096] [--zipf] [--rounds N] "
				"[--only peers|layers|threads] [--peers NAME,...]\n");
		return 2;
	}
	sequence = malloc(set.keys * sizeof *sequence);
	latency = malloc(set.keys * sizeof *latency);
	sequence_make();
	for (unsigned round = 0; round < set.rounds; round++) {
		for (int class = PEER_MEMORY; class <= PEER_STRICT && wanted("peers"); class ++) {
			uint64_t puts = class == PEER_STRICT ? set.strict_puts : set.keys;
			if (class == PEER_STRICT) /* just before: disks have moods */
				table_add(&table, "disk sync", "us", sync_us());
			measure(&mneme_peer, class, puts);
			for (unsigned p = 0; peers[p]; p++)
				if (!set.engines || strstr(set.engines, peers[p]->name))
					measure(peers[p], class, puts);
		}
		if (wanted("layers"))
			measure_layers();
		if (wanted("threads"))
			measure_threads();
	}
	if (wanted("peers"))
		judge();
	table_print(&table);
	if (layers_print(layers, sizeof layers))
		fprintf(stderr, "\n%s", layers);
	free(sequence);
	free(latency);
	return 0;
}
