/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the mount, held against the local filesystem below it and against other FUSE filesystems,
 *            all in one run.
 *
 *   small     create: open(O_CREAT|O_EXCL), write of 512 B, close; openread: open, read, close, warm;
 *             stat of existing files; miss: stat of a name that is not there; setxattr and getxattr of
 *             16 B; ioctl: the identity; fsync: pwrite of 512 B and fsync; rename within the directory;
 *             unlink of those; mixed: 70 % openread, 20 % overwrite, 10 % listing of 128 files
 *   strict    creates on a store that waits for the disk, against the disk's own rate
 *   bulk      a large file in order and at random
 *   tree      many small files: tar x, cp -a, git status, rm -rf
 *
 * usage: bench_fuse [--quick] [--json] [--clients N] [--rounds N] [--only PART] [--memory]
 *                   [--tree FILES] [--transport NAME]
 *   --memory   files are embedded meanwhile (default: memory=off, the filesystem alone)
 *   MNEME_FUSE_PEERS="NAME=DIR ..."   mounted directories of other filesystems; passthrough_ll and
 *              passthrough_hp are libfuse's examples.
 * The floor (fuse_floor.c) is mounted by this program, with the same transport.
 * Failure:   exit 77 and a sentence where mounting is not possible.
 */
#include "tests/bench/fuse_bench.h"

#include <sys/stat.h>

static struct fuse_bench bench = {
	.transport = "auto",
	.memory = "off",
	.rounds = 5,
	.clients = 1,
	.files = 2000,
	.mebibytes = 1024,
	.tree_files = 100000,
};

int fuse_mount(const struct fuse_bench *b, const char *name, const char *durability,
	       const char *dir)
{
	const char *bin = getenv("MNEME_BIN_DIR");
	char command[3000];

	if (!bin || mkdir(dir, 0755))
		return -1;
	snprintf(command, sizeof(command),
		 "'%s/mkfs.mnemefs' -q '%s/%s' && '%s/mnemefs' '%s/%s' '%s' "
		 "-o transport=%s,memory=%s,durability=%s </dev/null",
		 bin, b->work, name, bin, b->work, name, dir, b->transport, b->memory, durability);
	return system(command) ? -1 : 0;
}

int fuse_unmount(const char *dir)
{
	char command[FUSE_PATH + 16];

	snprintf(command, sizeof(command), "umount '%s'", dir);
	return system(command) ? -1 : 0;
}

void fuse_add(struct fuse_bench *b, const char *what, int place, const char *unit, double value,
	      double mine)
{
	char name[56];

	snprintf(name, sizeof(name), "%s, %s", what, b->places[place].name);
	table_add(&b->table, name, unit, value);
	if (place == 0)
		return;
	snprintf(name, sizeof(name), "%s / %s", what, b->places[place].name);
	table_add(&b->table, name, "x", mine / value);
}

void fuse_hold(struct fuse_bench *b, const char *what, const char *place, double target,
	       int lower_is_good)
{
	char name[56];

	snprintf(name, sizeof(name), "%s / %s", what, place);
	for (unsigned i = 0; i < b->table.rows; i++)
		if (!strcmp(b->table.row[i].name, name))
			table_hold(&b->table, name, "target", target, lower_is_good);
}

/* Mounts the floor, whose program lies beside this one. */
static void floor_mount(struct fuse_bench *b)
{
	struct place *place = &b->places[b->place_count];
	char self[FUSE_PATH] = "", command[3 * FUSE_PATH];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash = length > 0 ? strrchr(self, '/') : NULL;

	if (!slash)
		return;
	*slash = 0;
	strcpy(place->name, "floor");
	snprintf(place->dir, sizeof(place->dir), "%s/floor", b->work);
	/* a libfuse without it refuses the option; a kernel without it is asked the classic way */
	snprintf(command, sizeof(command),
		 "%s '%s/fuse_floor' '%s' uring 2>/dev/null || '%s/fuse_floor' '%s'",
		 strcmp(b->transport, "classic") ? "" : "false &&", self, place->dir, self,
		 place->dir);
	if (mkdir(place->dir, 0755) || system(command)) {
		fprintf(stderr, "bench_fuse: the floor could not be mounted\n");
		return;
	}
	b->floor = b->place_count++;
}

/* Takes in the places of MNEME_FUSE_PEERS. */
static int peers_find(struct fuse_bench *b)
{
	const char *at = getenv("MNEME_FUSE_PEERS");
	size_t length_of_dir;
	int length = 0;

	for (; at && *at; at += length) {
		if (b->place_count == PLACES_MAX)
			return -1;
		struct place *place = &b->places[b->place_count];
		if (sscanf(at, " %23[^= ]=%400s%n", place->name, place->dir, &length) != 2)
			return -1;
		if (access(place->dir, W_OK))
			return -1;
		length_of_dir = strlen(place->dir);
		snprintf(place->dir + length_of_dir, sizeof(place->dir) - length_of_dir,
			 "/bench.%d.%d", (int)getpid(), b->place_count);
		if (mkdir(place->dir, 0755))
			return -1;
		b->place_count++;
		at += strspn(at + length, " ");
	}
	return 0;
}

static int parse(int argc, char **argv, const char **only)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick")) {
			bench.rounds = 3;
			bench.files = 500;
			bench.mebibytes = 128;
			bench.tree_files = 5000;
		} else if (!strcmp(argv[i], "--json")) {
			bench.table.json = 1;
		} else if (!strcmp(argv[i], "--memory")) {
			bench.memory = "on";
		} else if (!strcmp(argv[i], "--clients") && i + 1 < argc) {
			bench.clients = atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--rounds") && i + 1 < argc) {
			bench.rounds = (unsigned)atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--tree") && i + 1 < argc) {
			bench.tree_files = atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
			*only = argv[++i];
		} else if (!strcmp(argv[i], "--transport") && i + 1 < argc) {
			bench.transport = argv[++i];
		} else {
			return -1;
		}
	}
	return bench.clients < 1 || bench.clients > CLIENTS_MAX || bench.rounds < 1 ||
			       bench.rounds > TABLE_ROUNDS_MAX || bench.tree_files < 1
		       ? -1
		       : 0;
}

static const struct {
	const char *name;
	int (*run)(struct fuse_bench *b);
} parts[] = {
	{"small", fuse_small}, {"strict", fuse_strict}, {"bulk", fuse_bulk}, {"tree", fuse_tree}};
enum { PARTS = sizeof(parts) / sizeof(parts[0]) };

/* Removes what the places got, unmounts, removes the folder. */
static int clean(struct fuse_bench *b)
{
	char command[FUSE_PATH];
	int rc = 0;

	if (b->floor)
		rc |= fuse_unmount(b->places[b->floor].dir);
	for (int p = b->place_count - 1; p > 0; p--) {
		if (p == b->floor)
			continue;
		snprintf(command, sizeof(command), "rm -rf '%s'", b->places[p].dir);
		rc |= system(command);
	}
	rc |= fuse_unmount(b->places[0].dir);
	/* the daemon makes its checkpoint: it holds the store's lock until then */
	snprintf(command, sizeof(command), "flock -w 60 '%s/store/lock' true; rm -rf '%s'", b->work,
		 b->work);
	return rc | system(command);
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	int status = 0, known = 0;

	if (parse(argc, argv, &only)) {
		fprintf(stderr, "usage: bench_fuse [--quick] [--json] [--clients 1..16] "
				"[--rounds 1..101] [--only small|strict|bulk|tree] [--memory] "
				"[--tree FILES] [--transport auto|uring|classic]\n");
		return 2;
	}
	snprintf(bench.work, sizeof(bench.work), "%s/bench_fuse.XXXXXX", bench_directory());
	bench.place_count = 2;
	strcpy(bench.places[0].name, "mnemefs");
	strcpy(bench.places[1].name, "local");
	if (!mkdtemp(bench.work))
		return perror(bench.work), 1;
	snprintf(bench.places[0].dir, sizeof(bench.places[0].dir), "%s/mnt", bench.work);
	snprintf(bench.places[1].dir, sizeof(bench.places[1].dir), "%s/local", bench.work);
	if (fuse_mount(&bench, "store", "buffered", bench.places[0].dir)) {
		fprintf(stderr, "skipped: fuse: no mount (MNEME_BIN_DIR, /dev/fuse, rights?)\n");
		return 77;
	}
	status = mkdir(bench.places[1].dir, 0755);
	floor_mount(&bench);
	if (!status && (status = peers_find(&bench)))
		fprintf(stderr,
			"bench_fuse: MNEME_FUSE_PEERS is NAME=DIR ..., directories that "
			"can be written to, %d at most\n",
			PLACES_MAX - 3);
	for (int i = 0; i < PARTS && !status; i++)
		if (!only || !strcmp(only, parts[i].name)) {
			known = 1;
			status = parts[i].run(&bench);
		}
	if (!known && !status)
		fprintf(stderr, "bench_fuse: there is no part %s\n", only);
	if (!status && known)
		table_print(&bench.table);
	return clean(&bench) || status || !known;
}
