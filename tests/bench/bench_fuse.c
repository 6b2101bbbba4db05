/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   small-file operations through the mount, held against the local filesystem below it and,
 *            where MNEME_FUSE_FLOOR names a mounted directory of a filesystem that does nothing, against
 *            that floor, all in one run.
 *
 *   create    open(O_CREAT|O_EXCL) + write 512 B + close     openread  open + read 512 B + close, warm
 *   stat      stat of existing files                         miss      stat of a name that is not there
 *   setxattr  fsetxattr of 16 B      getxattr  of 16 B       fsync     pwrite 512 B + fsync
 *   rename    within the directory                           unlink    of what create made
 *   mixed     70 % openread, 20 % overwrite, 10 % listing of 128 files
 *
 * usage: bench_fuse [--quick] [--json] [--clients N] [--rounds N] [--memory] [--transport NAME]
 *   --memory   files are embedded meanwhile (default: memory=off, the filesystem alone)
 * Failure:   exit 77 and a sentence where mounting is not possible.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 16, ROUNDS_MAX = 15, PLACES_MAX = 3, SAMPLE_BYTES = 512, MIXED_FILES = 128 };

struct client {
	char dir[512];
	int fd;
	int files;
	uint64_t random;
	int failed;
	int (*op)(struct client *client, int k);
};

struct place {
	const char *name;
	char dir[480];
};

static int clients = 1, rounds = 5, files = 2000, as_json;
static const char *transport = "auto", *memory = "off";
static char sample[SAMPLE_BYTES];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int pick(struct client *c)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return (int)(c->random % (uint64_t)c->files);
}

static const char *path_of(const struct client *c, const char *prefix, int k, char out[600])
{
	snprintf(out, 600, "%s/%s%d", c->dir, prefix, k);
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
	char path[600];
	return put(path_of(c, "f", k, path), O_EXCL);
}

static int op_openread(struct client *c, int k)
{
	char path[600], bytes[4096];
	int fd = open(path_of(c, "f", pick(c), path), O_RDONLY);

	if (fd < 0)
		return -1;
	int got = read(fd, bytes, sizeof(bytes)) == SAMPLE_BYTES;
	return close(fd) || !got ? -1 : 0;
}

static int op_stat(struct client *c, int k)
{
	char path[600];
	struct stat st;
	return stat(path_of(c, "f", pick(c), path), &st);
}

static int op_miss(struct client *c, int k)
{
	char path[600];
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

static int op_fsync(struct client *c, int k)
{
	return pwrite(c->fd, sample, SAMPLE_BYTES, 0) == SAMPLE_BYTES ? fsync(c->fd) : -1;
}

static int op_mixed(struct client *c, int k)
{
	char path[600];
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
	char from[600], to[600];
	return rename(path_of(c, "f", k, from), path_of(c, "r", k, to));
}

static int op_unlink(struct client *c, int k)
{
	char path[600];
	return unlink(path_of(c, "r", k, path));
}

static const struct {
	const char *name;
	int (*op)(struct client *c, int k);
	int share; /* of the files: 1/share operations */
} workloads[] = {
	{"create", op_create, 1}, {"openread", op_openread, 1}, {"stat", op_stat, 1},
	{"miss", op_miss, 1},     {"setxattr", op_setxattr, 1}, {"getxattr", op_getxattr, 1},
	{"fsync", op_fsync, 10},  {"mixed", op_mixed, 1},       {"rename", op_rename, 1},
	{"unlink", op_unlink, 1},
};
enum { WORKLOADS = sizeof(workloads) / sizeof(workloads[0]) };

/* Operations per second: [workload][place][round]. */
static double results[WORKLOADS][PLACES_MAX][ROUNDS_MAX];

static void *client_main(void *arg)
{
	struct client *c = arg;

	for (int k = 0; k < c->files; k++)
		c->failed |= c->op(c, k) != 0;
	return NULL;
}

static int run_one(int workload, struct client *all, double *rate)
{
	pthread_t threads[CLIENTS_MAX];
	uint64_t start = now_ns();
	int failed = 0, each = files / workloads[workload].share;

	for (int i = 0; i < clients; i++) {
		all[i].op = workloads[workload].op;
		all[i].files = each;
		if (pthread_create(&threads[i], NULL, client_main, &all[i]))
			return -1;
	}
	for (int i = 0; i < clients; i++) {
		pthread_join(threads[i], NULL);
		failed |= all[i].failed;
	}
	*rate = (double)each * clients / ((double)(now_ns() - start) / 1e9);
	return failed ? -1 : 0;
}

static int prepare(const struct place *place, int round, struct client *all)
{
	char path[600];

	for (int i = 0; i < clients; i++) {
		struct client *c = &all[i];
		*c = (struct client){.random = UINT64_C(0x9E3779B97F4A7C15) * (unsigned)(i + 1)};
		snprintf(c->dir, sizeof(c->dir), "%s/r%d-%d", place->dir, round, i);
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

static int run_round(const struct place *place, int which, int round)
{
	struct client all[CLIENTS_MAX];

	if (prepare(place, round, all))
		return -1;
	for (int w = 0; w < WORKLOADS; w++) {
		if (run_one(w, all, &results[w][which][round])) {
			fprintf(stderr, "bench_fuse: %s failed on %s: %s\n", workloads[w].name,
				place->name, strerror(errno));
			return -1;
		}
	}
	for (int i = 0; i < clients; i++)
		close(all[i].fd);
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void print_results(const struct place *places, int count)
{
	if (!as_json)
		printf("%-10s %-8s %12s %10s %8s\n", "workload", "place", "median op/s", "spread %",
		       "ratio");
	for (int w = 0; w < WORKLOADS; w++) {
		double first = 0;
		for (int p = 0; p < count; p++) {
			double *r = results[w][p];
			qsort(r, (size_t)rounds, sizeof(*r), compare);
			double median = r[rounds / 2];
			double spread = 100 * (r[rounds - 1] - r[0]) / median;
			if (!p)
				first = median;
			if (as_json)
				printf("{\"bench\":\"fuse\",\"workload\":\"%s\",\"place\":\"%s\","
				       "\"clients\":%d,\"value\":%.0f,\"spread\":%.1f,"
				       "\"ratio\":%.3f}\n",
				       workloads[w].name, places[p].name, clients, median, spread,
				       first / median);
			else
				printf("%-10s %-8s %12.0f %10.1f %8.2f\n", workloads[w].name,
				       places[p].name, median, spread, first / median);
		}
	}
}

static int mount_store(const char *work, struct place *place)
{
	char command[1600];
	const char *bin = getenv("MNEME_BIN_DIR");

	if (!bin)
		return -1;
	place->name = "mnemefs";
	snprintf(place->dir, sizeof(place->dir), "%s/mnt", work);
	if (mkdir(place->dir, 0755))
		return -1;
	snprintf(command, sizeof(command),
		 "'%s/mkfs.mnemefs' -q '%s/store' && '%s/mnemefs' '%s/store' '%s' "
		 "-o transport=%s,memory=%s </dev/null",
		 bin, work, bin, work, place->dir, transport, memory);
	return system(command) ? -1 : 0;
}

static int parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick")) {
			rounds = 3;
			files = 500;
		} else if (!strcmp(argv[i], "--json")) {
			as_json = 1;
		} else if (!strcmp(argv[i], "--memory")) {
			memory = "on";
		} else if (!strcmp(argv[i], "--clients") && i + 1 < argc) {
			clients = atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--rounds") && i + 1 < argc) {
			rounds = atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--transport") && i + 1 < argc) {
			transport = argv[++i];
		} else {
			return -1;
		}
	}
	return clients < 1 || clients > CLIENTS_MAX || rounds < 1 || rounds > ROUNDS_MAX ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct place places[PLACES_MAX];
	const char *floor_dir = getenv("MNEME_FUSE_FLOOR"), *tmp = getenv("TMPDIR");
	char work[256], command[640];
	int count = 2, status = 0;

	if (parse(argc, argv)) {
		fprintf(stderr, "usage: bench_fuse [--quick] [--json] [--clients 1..16] "
				"[--rounds 1..15] [--memory] [--transport auto|uring|classic]\n");
		return 2;
	}
	snprintf(work, sizeof(work), "%s/bench_fuse.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(work) || mount_store(work, &places[0])) {
		fprintf(stderr, "skipped: fuse: no mount (MNEME_BIN_DIR, /dev/fuse, rights?)\n");
		return 77;
	}
	memset(sample, 'm', sizeof(sample));
	places[1].name = "local";
	snprintf(places[1].dir, sizeof(places[1].dir), "%s/local", work);
	status |= mkdir(places[1].dir, 0755);
	if (floor_dir) {
		places[count].name = "floor";
		snprintf(places[count++].dir, sizeof(places[0].dir), "%s", floor_dir);
	}
	for (int round = 0; round < rounds && !status; round++) {
		for (int p = 0; p < count && !status; p++)
			status = run_round(&places[p], p, round);
	}
	if (!status)
		print_results(places, count);
	snprintf(command, sizeof(command), "umount '%s/mnt'; sleep 1; rm -rf '%s'", work, work);
	return system(command) || status ? 1 : 0;
}
