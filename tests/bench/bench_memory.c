/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   memories through a real mount: how soon a note is found, how long a search takes, what
 *            saving costs more than without memories. Held against the targets.
 *
 *   [MNEME_MODEL=FILE] bench_memory [--quick] [--json] [--passages N]     default 100,000; quick 5,000
 *
 * Notes have PARTS passages each, of sentences made of the words of this project's documents. A new
 * question is ten such words that were not asked before; a repeated one was; "vector" asks for what
 * is near a note. First after mount: the daemon was ended and started again, its files are in the
 * page cache.
 * Failure:   exit 77 and a sentence where mounting is not possible.
 */
#include "tests/bench/table.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	VOCABULARY_MAX = 8192,
	WORD_MAX = 24,
	PARTS = 5,
	WORDS_OF_PART = 30,
	NOTES_OF_DIRECTORY = 1000,
	QUESTIONS = 300,
	ROUNDS = 5,
	SAVES = 1000,
	TEXT_MAX = 8192,
};

static char vocabulary[VOCABULARY_MAX][WORD_MAX];
static unsigned vocabulary_count;
static unsigned passages = 100000, rounds = ROUNDS;
static uint64_t seed = 88172645463325252ull;
static char work[256], mnt[300];
static struct table table;

static uint64_t random_next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void fail(const char *what)
{
	fprintf(stderr, "bench_memory: %s (%s)\n", what, strerror(errno));
	exit(2);
}

/* ---- words and texts ---- */

static void words_of(const char *name)
{
	char path[512], word[WORD_MAX];
	unsigned length = 0;
	int c;

	snprintf(path, sizeof(path), "%s/%s", getenv("MNEME_SOURCE"), name);
	FILE *f = fopen(path, "r");
	if (!f)
		return;
	do {
		c = fgetc(f);
		if (c != EOF && isalpha(c) && length + 1 < WORD_MAX) {
			word[length++] = (char)tolower(c);
			continue;
		}
		word[length] = 0;
		unsigned i = 0;
		while (i < vocabulary_count && strcmp(vocabulary[i], word) != 0)
			i++;
		if (length > 2 && i == vocabulary_count && i < VOCABULARY_MAX)
			memcpy(vocabulary[vocabulary_count++], word, length + 1);
		length = 0;
	} while (c != EOF);
	fclose(f);
}

static size_t words_put(char *out, unsigned count, char between)
{
	size_t length = 0;

	for (unsigned i = 0; i < count; i++) {
		/* the commoner the nearer to the front, as the documents have them */
		unsigned a = random_next() % vocabulary_count, b = random_next() % vocabulary_count;
		length += (size_t)sprintf(out + length, "%s%c", vocabulary[a < b ? a : b],
					  i + 1 < count ? between : 0);
	}
	return length - 1;
}

static size_t note_make(char *out)
{
	size_t length = 0;

	for (unsigned part = 0; part < PARTS; part++) {
		length += (size_t)sprintf(out + length, "# ");
		length += words_put(out + length, 2, ' ');
		length += (size_t)sprintf(out + length, "\n\n");
		for (unsigned s = 0; s < 3; s++) {
			length += words_put(out + length, WORDS_OF_PART / 3, ' ');
			length += (size_t)sprintf(out + length, ".\n");
		}
		length += (size_t)sprintf(out + length, "\n");
	}
	return length;
}

/* ---- the mount ---- */

static void unmount(void)
{
	for (int i = 0; i < 100 && umount(mnt) && errno == EBUSY; i++)
		usleep(50000);
	/* the store's lock is free once the daemon has written everything */
	char command[600];
	snprintf(command, sizeof(command), "'%s/fsck.mnemefs' -n '%s/store' >/dev/null 2>&1",
		 getenv("MNEME_BIN_DIR"), work);
	for (int i = 0; i < 600 && system(command) != 0; i++)
		usleep(50000);
}

static int mount_store(const char *memory)
{
	char command[1200];

	snprintf(command, sizeof(command), "'%s/mnemefs' '%s/store' '%s' -o memory=%s </dev/null",
		 getenv("MNEME_BIN_DIR"), work, mnt, memory);
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
	static char questions[QUESTIONS][512];
	char note[64];

	for (unsigned i = 0; i < QUESTIONS; i++) {
		words_put(questions[i], 10, ' ');
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
		unsigned n = random_next() % (passages / PARTS);
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
	char question[512];

	unmount();
	double begin = table_now_ns();
	if (mount_store("on"))
		fail("mount again");
	table_add(&table, "mount", "ms", (table_now_ns() - begin) / 1e6);
	words_put(question, 10, ' ');
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
	words_put(text, 60, ' ');
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

static void fill(void)
{
	static char text[TEXT_MAX];
	char path[400];

	double begin = table_now_ns();
	for (unsigned n = 0; n < passages / PARTS; n++) {
		snprintf(path, sizeof(path), "%s/d%u", mnt, n / NOTES_OF_DIRECTORY);
		if (n % NOTES_OF_DIRECTORY == 0 && mkdir(path, 0755))
			fail(path);
		snprintf(path, sizeof(path), "%s/d%u/note%u", mnt, n / NOTES_OF_DIRECTORY, n);
		file_put(path, text, note_make(text));
	}
	sync_all();
	table_add(&table, "saved and embedded", "1/s", passages / ((table_now_ns() - begin) / 1e9));
	table_hold(&table, "saved and embedded", "fallback", 10000, 0);
	/* the index of the vectors is built behind it: searches are measured with it */
	sleep(passages / 2000);
}

int main(int argc, char **argv)
{
	const char *base = getenv("TMPDIR");
	char command[600];

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick")) {
			passages = 5000;
			rounds = 3;
		} else if (!strcmp(argv[i], "--json")) {
			table.json = 1;
		} else if (!strcmp(argv[i], "--passages") && i + 1 < argc) {
			passages = (unsigned)atoi(argv[++i]);
		}
	}
	if (!getenv("MNEME_BIN_DIR") || !getenv("MNEME_SOURCE"))
		fail("run me through tests/bench/run");
	words_of("README.md");
	words_of("docs/ARCHITECTURE.md");
	words_of("docs/FORMAT.md");
	words_of("docs/mount.md");
	if (vocabulary_count < 500)
		fail("the documents of the source tree");
	snprintf(work, sizeof(work), "%.200s/bench-memory.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(work))
		fail(work);
	snprintf(mnt, sizeof(mnt), "%s/mnt", work);
	snprintf(command, sizeof(command), "'%s/mkfs.mnemefs' -q '%s/store'",
		 getenv("MNEME_BIN_DIR"), work);
	atexit(leave);
	if (mkdir(mnt, 0755) || system(command) || mount_store("on")) {
		fprintf(stderr, "bench_memory: a store cannot be mounted here: skipped\n");
		return 77;
	}
	fill();
	for (unsigned round = 0; round < rounds; round++) {
		search_round();
		words_round(round);
		saving_round();
		first_round();
	}
	unmount();
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
