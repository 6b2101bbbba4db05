/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   small-file operations, from one client or several; and creates that wait for the disk.
 */
#include "core/mneme_ioctl.h"
#include "tests/bench/fuse_bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { MIXED_FILES = 128 };

struct client {
	char dir[512];
	int fd;
	int number, files, operations;
	uint64_t random;
	int failed;
	int (*op)(struct client *client, int k);
};

static char sample[SAMPLE_BYTES];

static int pick(struct client *c)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return (int)(c->random % (uint64_t)c->files);
}

static const char *path_of(const struct client *c, const char *prefix, int k, char out[FUSE_PATH])
{
	snprintf(out, FUSE_PATH, "%s/%s%d", c->dir, prefix, k);
	return out;
}

static int put(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);

	if (fd < 0)
		return -1;
	int wrote = write(fd, sample, SAMPLE_BYTES) == SAMPLE_BYTES;
	return close(fd) || !wrote ? -1 : 0;
}

static int op_create(struct client *c, int k)
{
	char path[FUSE_PATH];
	return put(path_of(c, "f", k, path), O_EXCL);
}

static int op_openread(struct client *c, int k)
{
	char path[FUSE_PATH], bytes[4096];
	int fd = open(path_of(c, "f", pick(c), path), O_RDONLY);

	if (fd < 0)
		return -1;
	int got = read(fd, bytes, sizeof(bytes)) == SAMPLE_BYTES;
	return close(fd) || !got ? -1 : 0;
}

static int op_stat(struct client *c, int k)
{
	char path[FUSE_PATH];
	struct stat st;
	return stat(path_of(c, "f", pick(c), path), &st);
}

static int op_miss(struct client *c, int k)
{
	char path[FUSE_PATH];
	struct stat st;
	return stat(path_of(c, "none", k, path), &st) && errno == ENOENT ? 0 : -1;
}

static int op_setxattr(struct client *c, int k)
{
	return fsetxattr(c->fd, "user.m", sample, 16, 0);
}

static int op_getxattr(struct client *c, int k)
{
	char value[64];
	return fgetxattr(c->fd, "user.m", value, sizeof(value)) == 16 ? 0 : -1;
}

static int op_ioctl(struct client *c, int k)
{
	struct mneme_ioc_identity identity;
	return ioctl(c->fd, MNEME_IOC_IDENTITY, &identity);
}

static int op_fsync(struct client *c, int k)
{
	return pwrite(c->fd, sample, SAMPLE_BYTES, 0) == SAMPLE_BYTES ? fsync(c->fd) : -1;
}

static int op_mixed(struct client *c, int k)
{
	char path[FUSE_PATH];
	int choice = pick(c) % 100, seen = 0;

	if (choice < 70)
		return op_openread(c, k);
	if (choice < 90)
		return put(path_of(c, "f", pick(c), path), 0);
	snprintf(path, sizeof(path), "%.500s/list", c->dir);
	DIR *dir = opendir(path);
	if (!dir)
		return -1;
	while (readdir(dir))
		seen++;
	closedir(dir);
	return seen >= MIXED_FILES ? 0 : -1; /* "." and ".." are not everywhere */
}

static int op_rename(struct client *c, int k)
{
	char from[FUSE_PATH], to[FUSE_PATH];
	return rename(path_of(c, "f", k, from), path_of(c, "r", k, to));
}

static int op_unlink(struct client *c, int k)
{
	char path[FUSE_PATH];
	return unlink(path_of(c, "r", k, path));
}

/* Untimed: a file that was written past the cache is read once, so that the next reads find it there. */
static int op_warm(struct client *c, int k)
{
	char path[FUSE_PATH], bytes[4096];
	struct stat st;
	int fd = open(path_of(c, "f", k, path), O_RDONLY);

	if (fd < 0)
		return -1;
	int got = read(fd, bytes, sizeof(bytes)) == SAMPLE_BYTES;
	return close(fd) || !got || stat(path, &st) ? -1 : 0;
}

struct workload {
	const char *name; /* NULL: untimed */
	int (*op)(struct client *c, int k);
	int tenths; /* operations for ten files */
};

static const struct workload workloads[] = {
	{"create", op_create, 10},     {NULL, op_warm, 10},       {"openread", op_openread, 100},
	{"stat", op_stat, 100},        {"miss", op_miss, 10},     {"setxattr", op_setxattr, 10},
	{"getxattr", op_getxattr, 10}, {"ioctl", op_ioctl, 10},   {"fsync", op_fsync, 1},
	{"mixed", op_mixed, 10},       {"rename", op_rename, 10}, {"unlink", op_unlink, 10},
};
enum { WORKLOADS = sizeof(workloads) / sizeof(workloads[0]) };

/* On a core of its own, as far as there are any: moved about, a client would measure the scheduler. */
static void *client_main(void *arg)
{
	struct client *c = arg;
	cpu_set_t core;

	CPU_ZERO(&core);
	CPU_SET(c->number % sysconf(_SC_NPROCESSORS_ONLN), &core);
	pthread_setaffinity_np(pthread_self(), sizeof(core), &core);
	for (int k = 0; k < c->operations && !c->failed; k++)
		c->failed = c->op(c, k) ? errno : 0;
	return NULL;
}

/* Operations a second of all clients together; 0: this place cannot do it; -1 and errno. */
static double run_one(const struct workload *w, struct client *all, int clients, int files)
{
	pthread_t threads[CLIENTS_MAX];
	double begin = table_now_ns();
	int failed = 0, each = files * w->tenths / 10;

	for (int i = 0; i < clients; i++) {
		all[i].op = w->op;
		all[i].number = i;
		all[i].files = files;
		all[i].operations = each;
		all[i].failed = 0;
		if (pthread_create(&threads[i], NULL, client_main, &all[i]))
			abort();
	}
	for (int i = 0; i < clients; i++) {
		pthread_join(threads[i], NULL);
		if (all[i].failed)
			failed = all[i].failed;
	}
	errno = failed;
	if (failed == ENOTTY || failed == EOPNOTSUPP)
		return 0;
	return failed ? -1 : (double)each * clients / (table_now_ns() - begin) * 1e9;
}

static int prepare(const char *dir, unsigned round, struct client *all, int clients)
{
	char path[FUSE_PATH];

	memset(sample, 'm', sizeof(sample));
	for (int i = 0; i < clients; i++) {
		struct client *c = &all[i];
		*c = (struct client){.random = UINT64_C(0x9E3779B97F4A7C15) * (unsigned)(i + 1)};
		snprintf(c->dir, sizeof(c->dir), "%.480s/r%u-%d", dir, round, i);
		snprintf(path, sizeof(path), "%.500s/list", c->dir);
		if (mkdir(c->dir, 0755) || mkdir(path, 0755))
			return -1;
		for (int k = 0; k < MIXED_FILES; k++) {
			snprintf(path, sizeof(path), "%.500s/list/%d", c->dir, k);
			if (put(path, O_EXCL))
				return -1;
		}
		snprintf(path, sizeof(path), "%.500s/open", c->dir);
		c->fd = open(path, O_RDWR | O_CREAT, 0644);
		if (c->fd < 0)
			return -1;
	}
	return 0;
}

static int run_round(struct fuse_bench *b, unsigned round)
{
	struct client all[CLIENTS_MAX];
	double mine[WORKLOADS];

	for (int p = 0; p < b->place_count; p++) {
		const struct place *place = &b->places[p];
		bench_progress("%s, round %u", place->name, round);
		if (prepare(place->dir, round, all, b->clients)) {
			perror(place->dir);
			return -1;
		}
		for (int w = 0; w < WORKLOADS; w++) {
			double rate = run_one(&workloads[w], all, b->clients, b->files);
			if (rate < 0) {
				fprintf(stderr, "bench_fuse: %s on %s: %s\n",
					workloads[w].name ? workloads[w].name : "warming",
					place->name, strerror(errno));
				return -1;
			}
			if (p == 0)
				mine[w] = rate;
			if (rate > 0 && workloads[w].name)
				fuse_add(b, workloads[w].name, p, "ops/s", rate, mine[w]);
		}
		for (int i = 0; i < b->clients; i++)
			close(all[i].fd);
	}
	return 0;
}

static void hold_absolute(struct fuse_bench *b, const char *what, double target)
{
	char name[56];

	snprintf(name, sizeof(name), "%s, mnemefs", what);
	table_hold(&b->table, name, "target", target, 0);
}

static void judge(struct fuse_bench *b)
{
	for (int w = 0; w < WORKLOADS; w++) {
		if (!workloads[w].name)
			continue;
		if (workloads[w].op != op_fsync) /* the floor waits for no disk */
			fuse_hold(b, workloads[w].name, "floor", 1 / 1.15, 0);
		for (int p = 2; p < b->place_count; p++)
			if (strcmp(b->places[p].name, "floor"))
				fuse_hold(b, workloads[w].name, b->places[p].name, 1, 0);
	}
	fuse_hold(b, "stat", "local", 1, 0);
	fuse_hold(b, "create", "local", 1 / 1.5, 0);
	fuse_hold(b, "create", "floor", 1, 0);
	fuse_hold(b, "create", "passthrough_hp", 2, 0);
	if (b->clients == 1) {
		hold_absolute(b, "openread", 150000);
		hold_absolute(b, "mixed", 30000);
	} else if (b->clients == 4) {
		hold_absolute(b, "mixed", 50000);
	}
}

int fuse_small(struct fuse_bench *b)
{
	for (unsigned round = 0; round < b->rounds; round++)
		if (run_round(b, round))
			return -1;
	judge(b);
	return 0;
}

/* ---- creates that wait for the disk ---- */

/* Creates a second, on a store that was just made. */
static double strict_rate(struct fuse_bench *b, unsigned round, int clients, int files)
{
	struct client all[CLIENTS_MAX];
	char name[48], dir[FUSE_PATH];
	double rate = -1;

	snprintf(name, sizeof(name), "strict%u-%d", round, clients);
	snprintf(dir, sizeof(dir), "%s/%s.mnt", b->work, name);
	if (fuse_mount(b, name, "strict", dir))
		return -1;
	if (prepare(dir, round, all, clients) == 0) {
		rate = run_one(&workloads[0], all, clients, files);
		for (int i = 0; i < clients; i++)
			close(all[i].fd);
	}
	return fuse_unmount(dir) ? -1 : rate;
}

/* The disk's own rate: overwrites of a written file, each with fdatasync. */
static double sync_rate(const struct fuse_bench *b)
{
	enum { SYNCS = 200, BYTES = 1 << 20 };
	static char block[4096];
	char path[FUSE_PATH];
	int bad = 0;

	snprintf(path, sizeof(path), "%s/sync", b->work);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	for (int at = 0; at < BYTES; at += (int)sizeof(block))
		bad |= pwrite(fd, block, sizeof(block), at) != sizeof(block);
	bad |= fdatasync(fd);
	double begin = table_now_ns();
	for (int i = 0; i < SYNCS; i++)
		bad |= pwrite(fd, block, sizeof(block), i * (int)sizeof(block) % BYTES) !=
			       sizeof(block) ||
		       fdatasync(fd);
	double rate = SYNCS / (table_now_ns() - begin) * 1e9;
	close(fd);
	unlink(path);
	return bad ? -1 : rate;
}

int fuse_strict(struct fuse_bench *b)
{
	int files = b->files / 10;

	for (unsigned round = 0; round < b->rounds; round++) {
		bench_progress("strict, round %u", round);
		double disk = sync_rate(b), one = strict_rate(b, round, 1, files),
		       many = strict_rate(b, round, 16, files);
		if (disk < 0 || one < 0 || many < 0) {
			fprintf(stderr, "bench_fuse: strict creates failed: %s\n", strerror(errno));
			return -1;
		}
		table_add(&b->table, "disk syncs", "ops/s", disk);
		table_add(&b->table, "strict create, 1 client", "ops/s", one);
		table_add(&b->table, "strict create, 16 clients", "ops/s", many);
		table_add(&b->table, "strict create / disk sync", "x", one / disk);
		table_add(&b->table, "strict create, 16 clients / 1", "x", many / one);
	}
	table_hold(&b->table, "strict create / disk sync", "target", 1 / 1.2, 0);
	table_hold(&b->table, "strict create, 16 clients / 1", "target", 8, 0);
	return 0;
}
