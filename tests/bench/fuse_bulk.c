/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a large file read and written in order and at random; a tree of small files unpacked,
 *            copied, looked through by git and removed.
 */
#include "tests/bench/fuse_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { BLOCK = 1 << 20, RANDOM_READS = 100000, RANDOM_BYTES = 4096 };

/* ---- a large file ---- */

static int caches_drop(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
	int rc = fd < 0 || write(fd, "3", 1) != 1 ? -1 : 0;

	if (fd >= 0)
		close(fd);
	return rc;
}

static int write_all(const char *path, int mebibytes, char *block)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644), bad = fd < 0;

	for (int i = 0; i < mebibytes && !bad; i++) {
		memset(block, i, BLOCK);
		bad = write(fd, block, BLOCK) != BLOCK;
	}
	bad = bad || fsync(fd);
	return fd >= 0 && close(fd) ? -1 : -bad;
}

static int read_all(const char *path, int mebibytes, char *block)
{
	int fd = open(path, O_RDONLY), bad = fd < 0;

	for (int i = 0; i < mebibytes && !bad; i++)
		bad = read(fd, block, BLOCK) != BLOCK || block[0] != (char)i;
	return fd >= 0 && close(fd) ? -1 : -bad;
}

static int read_random(const char *path, int mebibytes, char *block)
{
	int fd = open(path, O_RDONLY), bad = fd < 0;
	uint64_t random = 88172645463325252u, pages = (uint64_t)mebibytes * (BLOCK / RANDOM_BYTES);

	for (int i = 0; i < RANDOM_READS && !bad; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		off_t at = (off_t)(random % pages * RANDOM_BYTES);
		bad = pread(fd, block, RANDOM_BYTES, at) != RANDOM_BYTES;
	}
	return fd >= 0 && close(fd) ? -1 : -bad;
}

static const struct {
	const char *name, *unit;
	int (*run)(const char *path, int mebibytes, char *block);
	int cold, random;
} passes[] = {
	{"write in order, fsync", "MiB/s", write_all, 0, 0},
	{"read in order, cold", "MiB/s", read_all, 1, 0},
	{"read in order, cached", "MiB/s", read_all, 0, 0},
	{"read 4 KiB at random, cached", "ops/s", read_random, 0, 1},
};
enum { PASSES = sizeof(passes) / sizeof(passes[0]) };

int fuse_bulk(struct fuse_bench *b)
{
	char path[FUSE_PATH], *block = malloc(BLOCK);
	double mine[PASSES];
	int rc = 0;

	for (unsigned round = 0; round < b->rounds && !rc; round++)
		for (int p = 0; p < b->place_count && !rc; p++) {
			snprintf(path, sizeof(path), "%s/large", b->places[p].dir);
			for (int i = 0; i < PASSES && !rc; i++) {
				bench_progress("%s: %s", b->places[p].name, passes[i].name);
				if (passes[i].cold && caches_drop())
					continue;
				double begin = table_now_ns();
				rc = passes[i].run(path, b->mebibytes, block);
				double seconds = (table_now_ns() - begin) / 1e9;
				double rate =
					(passes[i].random ? RANDOM_READS : b->mebibytes) / seconds;
				if (p == 0)
					mine[i] = rate;
				if (rc)
					fprintf(stderr, "bench_fuse: %s on %s: %s\n",
						passes[i].name, b->places[p].name, strerror(errno));
				else
					fuse_add(b, passes[i].name, p, passes[i].unit, rate,
						 mine[i]);
			}
			unlink(path);
		}
	free(block);
	for (int i = 0; i < PASSES; i++)
		fuse_hold(b, passes[i].name, "local", passes[i].random ? 1 : 0.8, 0);
	return rc;
}

/* ---- a tree of small files ---- */

static int shell(const struct place *place, const char *command)
{
	char line[2 * FUSE_PATH];

	snprintf(line, sizeof(line), "cd '%s' && %s", place->dir, command);
	return system(line) ? -1 : 0;
}

/* A tar file of small files in folders of a hundred, 1/1 to N/100. */
static int tree_make(const struct fuse_bench *b)
{
	enum { FOLDER_FILES = 100 };
	char path[FUSE_PATH], bytes[SAMPLE_BYTES];
	int bad;

	memset(bytes, 'm', sizeof(bytes));
	snprintf(path, sizeof(path), "%s/tree", b->work);
	bad = mkdir(path, 0755);
	for (int k = 0; k < b->tree_files && !bad; k++) {
		int folder = k / FOLDER_FILES + 1, file = k % FOLDER_FILES + 1;
		snprintf(path, sizeof(path), "%s/tree/%d", b->work, folder);
		if (file == 1)
			bad = mkdir(path, 0755);
		snprintf(path, sizeof(path), "%s/tree/%d/%d", b->work, folder, file);
		int fd = bad ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
		bad = fd < 0 || write(fd, bytes, sizeof(bytes)) != SAMPLE_BYTES || close(fd);
	}
	snprintf(path, sizeof(path), "cd '%.400s/tree' && tar cf ../tree.tar * && rm -rf ../tree",
		 b->work);
	return bad || system(path) ? -1 : 0;
}

static const struct {
	const char *name, *command;
	int timed;
} steps[] = {
	{"tar x", "mkdir t && tar xf \"$TREE\" -C t", 1},
	{"cp -a", "cp -a t u", 1},
	{"git add", "cd t && git init -q . && git add .", 0},
	{"git status", "cd t && git status --short >/dev/null", 1},
	{"rm -rf", "rm -rf u", 1},
	{"rm -rf t", "rm -rf t", 0},
};
enum { STEPS = sizeof(steps) / sizeof(steps[0]) };

int fuse_tree(struct fuse_bench *b)
{
	double mine[STEPS];
	char path[FUSE_PATH];

	bench_progress("a tree of %d files", b->tree_files);
	snprintf(path, sizeof(path), "%s/tree.tar", b->work);
	if (tree_make(b) || setenv("TREE", path, 1)) {
		fprintf(stderr, "bench_fuse: no tree could be made in %s\n", b->work);
		return -1;
	}
	for (unsigned round = 0; round < b->rounds; round++)
		for (int p = 0; p < b->place_count; p++)
			for (int i = 0; i < STEPS; i++) {
				bench_progress("%s: %s", b->places[p].name, steps[i].name);
				double begin = table_now_ns();
				if (shell(&b->places[p], steps[i].command)) {
					fprintf(stderr, "bench_fuse: %s failed on %s\n",
						steps[i].name, b->places[p].name);
					return -1;
				}
				double seconds = (table_now_ns() - begin) / 1e9;
				if (p == 0)
					mine[i] = seconds;
				if (steps[i].timed)
					fuse_add(b, steps[i].name, p, "s", seconds, mine[i]);
			}
	for (int i = 0; i < STEPS; i++)
		if (steps[i].timed)
			fuse_hold(b, steps[i].name, "local", 2, 1);
	return 0;
}
