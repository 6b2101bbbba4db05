/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   recall through its doors over a store of 1,000,000 files with 5,000,000 links: in process
 *            (mneme_memory_search) and by ioctl on a mount; with what asking for permission, finding
 *            paths and the kernel add to the spread itself (bench_activation).
 *
 *   Files are empty; each has five links (explicit, weights uniform 0.3 to 1) to others drawn
 *   uniformly, written through the engine with the records that attributes make. Both doors read the
 *   store alone, for a mount that may write would look at what the files say, and drop the links. A
 *   recall is one of a random file, with the defaults: both directions, 5 hops, fan-out 64, 4,096
 *   files, 20 results.
 *
 * usage: bench_recall [--quick] [--json]     --quick: 100,000 files
 * Failure: exit 77 and a sentence where mounting is not possible.
 */
#include "core/links.h"
#include "core/mneme_ioctl.h"
#include "tests/bench/table.h"
#include "tests/lib/notes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

enum { LINKS = 5, RUNS = 100, ROUNDS = 3, SIZE = 8192 };

static struct table table;
static struct notes notes;
static uint32_t shards;
static char mnt[300];
static uint64_t files = 1000000, random_state = 88172645463325252u;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* At the end, also after a failure. */
static void clean(void)
{
	for (int i = 0; mnt[0] && umount(mnt) && errno == EBUSY && i < 100; i++)
		usleep(50000);
	if (mnt[0])
		umount2(mnt, MNT_DETACH);
	if (notes.directory[0] && !(mnt[0] && rmdir(mnt) && errno != ENOENT))
		nftw(notes.directory, notes_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

static void must(int rc, const char *what)
{
	if (rc < 0) {
		fprintf(stderr, "bench_recall: %s: %s\n", what, strerror(-rc));
		exit(1);
	}
}

/* ---- the store ---- */

/* Found by its name, which is its number. */
static void file_make(const uint8_t hash_key[16], uint64_t number)
{
	struct {
		struct names_dentry head;
		char name[24];
	} entry = {.head = {.inode = notes_inode(&notes, number), .type = S_IFREG >> 12}};
	uint64_t inode = entry.head.inode;
	uint8_t sub[16];
	int n = snprintf(entry.name, sizeof entry.name, "%llu", (unsigned long long)number);
	uint64_t position = names_position(hash_key, entry.name, (size_t)n);

	entry.head.name_length = (uint8_t)n;
	struct mneme_key key = names_key_number(notes.root, MNEME_TYPE_DENTRY, position, sub);
	must(mneme_put(notes.engine, &key, &entry, sizeof entry.head + (size_t)n,
		       MNEME_DURABILITY_MEMORY),
	     "put");
	key = names_key_parent(inode, notes.root, position, sub);
	must(mneme_put(notes.engine, &key, "", 0, MNEME_DURABILITY_MEMORY), "put");
	notes_record(&notes, inode, S_IFREG | 0644, 0);
}

static void file_link(const uint8_t hash_key[16], uint64_t number)
{
	struct links none = {0}, new = {0};
	uint64_t from = notes_inode(&notes, number);
	struct mneme_txn *txn;
	char label[24];

	for (int i = 0; i < LINKS; i++) {
		uint64_t to = random_next() % files;
		uint16_t weight = (uint16_t)(NAMES_WEIGHT_ONE * 3 / 10 +
					     random_next() % (NAMES_WEIGHT_ONE * 7 / 10));
		int n = snprintf(label, sizeof label, "%llu", (unsigned long long)to);
		must(links_add(&new, hash_key, NAMES_LINK_EXPLICIT, weight, label, (size_t)n),
		     "links_add");
		new.list[new.count - 1].to = notes_inode(&notes, to);
	}
	links_sort(&new);
	must(links_begin(notes.engine, links_shards(notes.engine, from, &none, &new), 0, &txn),
	     "links_begin");
	must(links_write(notes.engine, txn, from, &none, &new), "links_write");
	must(mneme_txn_commit(txn, MNEME_DURABILITY_MEMORY), "commit");
	links_fini(&new);
}

static void store_make(void)
{
	uint8_t hash_key[16];

	notes_new(&notes);
	shards = mneme_shards(notes.engine);
	mneme_uuid(notes.engine, hash_key);
	for (uint64_t i = 0; i < files; i++) {
		file_make(hash_key, i);
		if (i % 10000 == 0)
			bench_progress("file %llu", (unsigned long long)i);
	}
	for (uint64_t i = 0; i < files; i++) {
		file_link(hash_key, i);
		if (i % 10000 == 0)
			bench_progress("links of file %llu", (unsigned long long)i);
	}
	must(mneme_sync(notes.engine), "sync");
	must(mneme_close(notes.engine), "close");
}

/* ---- the doors ---- */

static int compare(const void *a, const void *b)
{
	return table_compare(a, b);
}

/* `door` recalls what the file with that number brings to mind: how many. */
static void measure(const char *name, uint64_t (*door)(void *arg, uint64_t number), void *arg)
{
	static double took[RUNS];
	char row[56];

	for (int round = -1; round < ROUNDS; round++) {
		double found = 0;
		bench_progress("%s: round %d", name, round + 1);
		for (int i = 0; i < RUNS; i++) {
			uint64_t number = random_next() % files;
			double begin = table_now_ns();
			found += (double)door(arg, number);
			took[i] = (table_now_ns() - begin) / 1e6;
		}
		if (round < 0)
			continue; /* warm */
		qsort(took, RUNS, sizeof took[0], compare);
		snprintf(row, sizeof row, "recall, %s, results", name);
		table_add(&table, row, "", found / RUNS);
		snprintf(row, sizeof row, "recall, %s, p50", name);
		table_add(&table, row, "ms", took[RUNS / 2]);
		snprintf(row, sizeof row, "recall, %s, p95", name);
		table_add(&table, row, "ms", took[RUNS * 95 / 100]);
	}
	table_hold(&table, row, "target", 10, 1);
}

static uint64_t by_library(void *arg, uint64_t number)
{
	char request[64], *answer;
	struct mneme_error error;
	size_t length;
	int n = snprintf(request, sizeof request, "{\"recall\": \"%llu\", \"limit\": 20}",
			 (unsigned long long)number);

	must(mneme_memory_search(arg, "/", request, (size_t)n, MNEME_ANSWER_TEXT, &answer, &length,
				 &error),
	     "mneme_memory_search");
	uint64_t lines = 0;
	for (size_t i = 0; i < length; i++)
		lines += answer[i] == '\n';
	mneme_free(answer);
	return lines;
}

static void bench_library(void)
{
	const struct mneme_options options = {.read_only = 1};
	struct mneme_memory *memory;
	struct mneme_error error;
	struct mneme *m;

	must(mneme_open(notes.store, &options, &m, &error), "open");
	must(mneme_memory_open(m, notes.store, 1, &memory, &error), "mneme_memory_open");
	double begin = table_now_ns();
	by_library(memory, 0);
	table_add(&table, "first recall: the graph is built", "ms", (table_now_ns() - begin) / 1e6);
	measure("in process", by_library, memory);
	mneme_memory_close(memory);
	must(mneme_close(m), "close");
}

static uint64_t by_ioctl(void *arg, uint64_t number)
{
	static union {
		struct mneme_ioc_recall head;
		uint8_t bytes[SIZE];
	} request;
	uint64_t inode = notes.first + number * shards;

	memset(&request, 0, sizeof request.head);
	request.head.version = MNEME_IOC_VERSION;
	request.head.from_count = 1;
	memcpy(request.bytes + sizeof request.head, &inode, sizeof inode);
	if (ioctl(*(int *)arg, MNEME_IOC_SIZED(MNEME_IOC_NR_RECALL, SIZE), &request))
		must(-errno, "ioctl");
	return request.head.count;
}

static void bench_mount(void)
{
	const char *bin = getenv("MNEME_BIN_DIR");
	char command[1200];

	snprintf(mnt, sizeof mnt, "%s/mnt", notes.directory);
	snprintf(command, sizeof command, "'%s/mnemefs' '%s' '%s' -o ro </dev/null", bin ? bin : "",
		 notes.store, mnt);
	double begin = table_now_ns();
	if (mkdir(mnt, 0755) || system(command)) {
		fprintf(stderr, "bench_recall: a store cannot be mounted here: skipped\n");
		exit(77);
	}
	table_add(&table, "mount", "ms", (table_now_ns() - begin) / 1e6);
	int fd = open(mnt, O_RDONLY | O_DIRECTORY);
	must(fd < 0 ? -errno : 0, "open the mount");
	measure("ioctl", by_ioctl, &fd);
	close(fd);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--json"))
			table.json = 1;
		else if (!strcmp(argv[i], "--quick"))
			files = 100000;
		else
			must(-EINVAL, argv[i]);
	setenv("TMPDIR", bench_directory(), 1);
	atexit(clean);
	double begin = table_now_ns();
	store_make();
	table_add(&table, "files and links made", "s", (table_now_ns() - begin) / 1e9);
	bench_library();
	bench_mount();
	table_print(&table);
	return 0;
}
