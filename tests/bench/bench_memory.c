/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   memories through a real mount: how soon a note is found, how long a search takes, what
 *            saving costs more than without memories. Held against the targets.
 *
 *   [MNEME_MODEL=FILE] bench_memory [--quick] [--json] [--passages N] [--rounds N] [--texts FOLDER]
 *                                   [--store STORE]
 *
 * Default: about 100,000 passages (quick: 5,000), five a note, of random words: the hard case, for their
 * vectors have no clusters, and none of their words is rare. With --texts they are the texts of that
 * folder. A new question has ten words and was not asked before (memory_texts.h); a repeated one was;
 * "vector" asks for what is near a note. First after mount: the daemon was ended and started again, its
 * files are in the page cache. With --store the store is kept, and used again as it is.
 * Failure:   exit 77 and a sentence where mounting is not possible.
 */
#include "tests/bench/memory_texts.h"
#include "tests/bench/table.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	PARTS = 5,
	NOTES_OF_DIRECTORY = 1000,
	QUESTIONS = 300,
	ROUNDS = 5,
	SAVES = 1000,
	QUIET_SECONDS = 600, /* for the index to be built, at most */
};

static unsigned passages = 100000, rounds = ROUNDS;
static char work[256], store[300], mnt[300];
static int is_kept;
static struct table table;

static void fail(const char *what)
{
	fprintf(stderr, "bench_memory: %s (%s)\n", what, strerror(errno));
	exit(2);
}

/* ---- the mount ---- */

static void unmount(void)
{
	for (int i = 0; i < 100 && umount(mnt) && errno == EBUSY; i++)
		usleep(50000);
	/* the store's lock is free once the daemon has written everything */
	char command[600];
	snprintf(command, sizeof(command), "'%s/fsck.mnemefs' -n '%s' >/dev/null 2>&1",
		 getenv("MNEME_BIN_DIR"), store);
	for (int i = 0; i < 600 && system(command) != 0; i++)
		usleep(50000);
}

static int mount_store(const char *memory)
{
	char command[1200];

	snprintf(command, sizeof(command), "'%s/mnemefs' '%s' '%s' -o memory=%s </dev/null",
		 getenv("MNEME_BIN_DIR"), store, mnt, memory);
	return system(command);
}

static int entry_remove(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
	(void)st;
	(void)kind;
	(void)walk;
	return remove(path);
}

static void leave(void)
{
	umount2(mnt, MNT_DETACH);
	nftw(work, entry_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void file_put(const char *path, const char *text, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, length) != (ssize_t)length || close(fd))
		fail(path);
}

static void sync_all(void)
{
	int fd = open(mnt, O_RDONLY | O_DIRECTORY);

	if (fd < 0 || fsync(fd))
		fail("sync of the mount");
	close(fd);
}

/* The answer's bytes. */
static size_t answer(const char *door, const char *what, char *out, size_t room)
{
	char path[1024];
	size_t length = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "%.200s/.mneme/%s/%.700s.txt", mnt, door, what);
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		fail(path);
	while ((n = read(fd, out + length, room - 1 - length)) > 0)
		length += (size_t)n;
	close(fd);
	out[length] = 0;
	return length;
}

/* ---- what is measured ---- */

static double quantile(double *values, unsigned count, double q)
{
	qsort(values, count, sizeof(*values), table_compare);
	return values[(unsigned)(q * (count - 1) + 0.5)];
}

static void search_round(void)
{
	static char text[1 << 20];
	static double fresh[QUESTIONS], again[QUESTIONS], near[QUESTIONS];
	static char questions[QUESTIONS][TEXTS_QUESTION_MAX];
	char note[64];

	for (unsigned i = 0; i < QUESTIONS; i++) {
		texts_question(passages / PARTS, questions[i]);
		double begin = table_now_ns();
		answer("search", questions[i], text, sizeof(text));
		fresh[i] = (table_now_ns() - begin) / 1e6;
	}
	for (unsigned i = 0; i < QUESTIONS; i++) {
		double begin = table_now_ns();
		answer("search", questions[i], text, sizeof(text));
		again[i] = (table_now_ns() - begin) / 1e6;
	}
	for (unsigned i = 0; i < QUESTIONS; i++) {
		unsigned n = texts_random() % (passages / PARTS);
		snprintf(note, sizeof(note), "d%u%%2Fnote%u", n / NOTES_OF_DIRECTORY, n);
		double begin = table_now_ns();
		answer("near", note, text, sizeof(text));
		near[i] = (table_now_ns() - begin) / 1e6;
	}
	table_add(&table, "search, new question, p50", "ms", quantile(fresh, QUESTIONS, .5));
	table_add(&table, "search, new question, p99", "ms", quantile(fresh, QUESTIONS, .99));
	table_add(&table, "search, repeated question, p50", "ms", quantile(again, QUESTIONS, .5));
	table_add(&table, "search, vector, p50", "ms", quantile(near, QUESTIONS, .5));
}

static void first_round(void)
{
	static char text[1 << 20];
	char question[TEXTS_QUESTION_MAX];

	unmount();
	double begin = table_now_ns();
	if (mount_store("on"))
		fail("mount again");
	table_add(&table, "mount", "ms", (table_now_ns() - begin) / 1e6);
	texts_question(passages / PARTS, question);
	begin = table_now_ns();
	answer("search", question, text, sizeof(text));
	table_add(&table, "first search after mount", "ms", (table_now_ns() - begin) / 1e6);
}

static void words_round(unsigned round)
{
	static char text[1 << 20];
	char path[400], body[200], question[64];

	for (unsigned i = 0; i < 20; i++) {
		snprintf(question, sizeof(question), "zebu%uqq%u", round, i);
		snprintf(path, sizeof(path), "%s/soon%u-%u", mnt, round, i);
		snprintf(body, sizeof(body), "A %s stands there.", question);
		file_put(path, body, strlen(body));
		double begin = table_now_ns();
		do
			answer("search", question, text, sizeof(text));
		while (!strstr(text, question) && table_now_ns() - begin < 5e9);
		table_add(&table, "found by its words after the save", "ms",
			  (table_now_ns() - begin) / 1e6);
	}
}

static double saves_time(const char *name)
{
	char path[400], text[1024];

	memset(text, 0, sizeof(text));
	texts_words(text, 60);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = text[i] ? text[i] : 'x';
	double begin = table_now_ns();
	for (unsigned i = 0; i < SAVES; i++) {
		snprintf(path, sizeof(path), "%s/%s%u", mnt, name, i);
		file_put(path, text, sizeof(text));
	}
	double ns = table_now_ns() - begin;
	for (unsigned i = 0; i < SAVES; i++) {
		snprintf(path, sizeof(path), "%s/%s%u", mnt, name, i);
		unlink(path);
	}
	return ns / SAVES / 1e3;
}

static void saving_round(void)
{
	double with = saves_time("save");
	unmount();
	if (mount_store("off"))
		fail("mount without memories");
	double without = saves_time("save");
	unmount();
	if (mount_store("on"))
		fail("mount again");
	table_add(&table, "save of 1 KiB, memories on", "us", with);
	table_add(&table, "save of 1 KiB, memories off", "us", without);
	table_add(&table, "save of 1 KiB, on / off", "x", with / without);
}

/* The value of a line of /.mneme/metrics. */
static double metric(const char *name)
{
	static char text[1 << 20];
	char path[400];

	snprintf(path, sizeof(path), "%s/.mneme/metrics", mnt);
	FILE *f = fopen(path, "r");
	if (!f)
		fail(path);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ' ')
			return atof(line + strlen(name));
	}
	return -1;
}

/* The index of the vectors is built behind the saves: searches are measured with it. */
static void index_wait(void)
{
	for (int i = 0; i < QUIET_SECONDS && metric("mneme_memory_passages") >= 20000 &&
			metric("mneme_memory_index_cells") <= 0;
	     i++)
		sleep(1);
	table_add(&table, "passages", "", metric("mneme_memory_passages"));
}

static void fill(void)
{
	static char text[TEXTS_NOTE_MAX];
	char path[400];

	double begin = table_now_ns();
	for (unsigned n = 0; n < passages / PARTS; n++) {
		snprintf(path, sizeof(path), "%s/d%u", mnt, n / NOTES_OF_DIRECTORY);
		if (n % NOTES_OF_DIRECTORY == 0 && mkdir(path, 0755))
			fail(path);
		snprintf(path, sizeof(path), "%s/d%u/note%u", mnt, n / NOTES_OF_DIRECTORY, n);
		file_put(path, text, texts_note(n, text));
	}
	sync_all();
	double seconds = (table_now_ns() - begin) / 1e9;
	table_add(&table, "saved and embedded", "1/s", metric("mneme_memory_passages") / seconds);
	if (!getenv("MNEME_MODEL"))
		table_hold(&table, "saved and embedded", "fallback", 10000, 0);
}

/* A store that is kept is filled when it is not there. */
static void store_open(void)
{
	char command[600];
	struct stat st;
	int is_there = is_kept && lstat(store, &st) == 0;

	snprintf(command, sizeof(command), "'%s/mkfs.mnemefs' -q '%s'", getenv("MNEME_BIN_DIR"),
		 store);
	if (mkdir(mnt, 0755) || (!is_there && system(command)) || mount_store("on")) {
		fprintf(stderr, "bench_memory: a store cannot be mounted here: skipped\n");
		exit(77);
	}
	if (!is_there)
		fill();
	index_wait();
}

static void options_read(int argc, char **argv)
{
	const char *texts = NULL, *base = getenv("TMPDIR");

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick")) {
			passages = 5000;
			rounds = 3;
		} else if (!strcmp(argv[i], "--json")) {
			table.json = 1;
		} else if (!strcmp(argv[i], "--passages") && i + 1 < argc) {
			passages = (unsigned)atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--rounds") && i + 1 < argc) {
			rounds = (unsigned)atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--texts") && i + 1 < argc) {
			texts = argv[++i];
		} else if (!strcmp(argv[i], "--store") && i + 1 < argc) {
			is_kept = 1;
			snprintf(store, sizeof(store), "%.280s", argv[++i]);
		}
	}
	if (!getenv("MNEME_BIN_DIR") || !getenv("MNEME_SOURCE"))
		fail("run me through tests/bench/run");
	texts_load(texts);
	snprintf(work, sizeof(work), "%.200s/bench-memory.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(work))
		fail(work);
	snprintf(mnt, sizeof(mnt), "%s/mnt", work);
	if (!is_kept)
		snprintf(store, sizeof(store), "%s/store", work);
}

int main(int argc, char **argv)
{
	options_read(argc, argv);
	atexit(leave);
	store_open();
	for (unsigned round = 0; round < rounds; round++) {
		search_round();
		words_round(round);
		saving_round();
		first_round();
	}
	unmount();
	if (!rounds) { /* the store was to be filled */
		table_print(&table);
		return 0;
	}
	table_hold(&table, "search, new question, p50", "target", 2, 1);
	table_hold(&table, "search, new question, p99", "target", 6, 1);
	table_hold(&table, "search, repeated question, p50", "target", 1, 1);
	table_hold(&table, "search, vector, p50", "target", 1, 1);
	table_hold(&table, "first search after mount", "target", 50, 1);
	table_hold(&table, "found by its words after the save", "target", 10, 1);
	table_hold(&table, "save of 1 KiB, on / off", "target", 1.1, 1);
	table_print(&table);
	return 0;
}
