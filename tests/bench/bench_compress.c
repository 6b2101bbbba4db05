/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what a trained zstd dictionary would save on small texts: in bytes, and in the pages
 *            that a value takes. Then what a store takes that holds texts of 1 to 4 KiB: as it is
 *            made by default, with zstd, and with zstd once they are packed (core/store/packer.h),
 *            and what reads cost there. MNEME_TEXTS names a folder of texts (default:
 *            /usr/share/doc). They are cut into pieces of three classes of sizes; the dictionary is
 *            trained on half of the files and measured on the other half.
 * Failure:   without enough texts: a sentence, status 2.
 */
#include "core/store/fmt.h"
#include "core/store/packer.h"
#include "core/store/value.h"
#include "tests/bench/table.h"

#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <zdict.h>
#include <zstd.h>

enum {
	FILE_MAX = 1 << 20,
	CORPUS_MAX = 48 << 20,
	PIECES_MAX = 1 << 16,
	FILES_MAX = 20000,
	DICTIONARY_BYTES = 32768,
	LEVEL = 3,
	SAMPLES_MAX = DICTIONARY_BYTES * 100, /* bytes: as ZDICT's manual advises */
	INLINE_MAX = FMT_CELL_MAX - 32,       /* with a key, and a head for the compressed value */
};

static struct {
	size_t least, most;
	const char *name;
} classes[] = {{1024, 4096, "1-4 KiB"}, {4097, 8192, "4-8 KiB"}, {8193, 16384, "8-16 KiB"}};

static struct table table;
static char *paths[FILES_MAX];
static unsigned path_count;
static uint8_t corpus[CORPUS_MAX], file_bytes[FILE_MAX], out[2 * FILE_MAX], sample[SAMPLES_MAX];
static size_t pieces[PIECES_MAX], samples[PIECES_MAX];
static uint32_t random_state;

static uint32_t next_random(void)
{
	random_state = random_state * 1664525u + 1013904223u;
	return random_state >> 8;
}

static int is_quick;

static int collect(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	if (type == FTW_F && st->st_size >= 1024 && path_count < FILES_MAX)
		paths[path_count++] = strdup(path);
	return 0;
}

static int path_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In an order that is no order, and the same at each run. */
static void paths_shuffle(void)
{
	qsort(paths, path_count, sizeof paths[0], path_compare);
	random_state = 1;
	for (unsigned i = path_count; i > 1; i--) {
		unsigned k = next_random() % i;
		char *path = paths[i - 1];
		paths[i - 1] = paths[k];
		paths[k] = path;
	}
}

static size_t file_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t length = f ? fread(file_bytes, 1, sizeof file_bytes, f) : 0;

	if (f)
		fclose(f);
	return memchr(file_bytes, 0, length) ? 0 : length; /* no text */
}

/* Cuts files first <= i < last into pieces of the class; returns how many. */
static unsigned cut(unsigned class, unsigned first, unsigned last)
{
	size_t used = 0;
	unsigned count = 0;

	for (unsigned i = first; i < last; i++) {
		size_t length = file_read(paths[i]);
		for (size_t at = 0; at < length;) {
			size_t span = classes[class].most - classes[class].least + 1;
			size_t want = classes[class].least + next_random() % span;
			if (want > length - at)
				want = length - at;
			if (want < classes[class].least || used + want > sizeof corpus ||
			    count == PIECES_MAX)
				break;
			memcpy(corpus + used, file_bytes + at, want);
			pieces[count++] = want;
			used += want;
			at += want;
		}
	}
	return count;
}

static ZSTD_CDict *train(unsigned class, unsigned count)
{
	static uint8_t dictionary[DICTIONARY_BYTES];
	size_t used = 0, at = 0, total = 0;
	unsigned taken = 0;

	for (unsigned i = 0; i < count; i++)
		total += pieces[i];
	for (unsigned i = 0; i < count; at += pieces[i++]) {
		if (next_random() % 1000 > 1000.0 * SAMPLES_MAX / (double)total ||
		    used + pieces[i] > sizeof sample)
			continue;
		memcpy(sample + used, corpus + at, pieces[i]);
		samples[taken++] = pieces[i];
		used += pieces[i];
	}
	double begin = table_now_ns();
	size_t length =
		ZDICT_trainFromBuffer(dictionary, sizeof dictionary, sample, samples, taken);
	char name[56];
	snprintf(name, sizeof name, "%s: training", classes[class].name);
	table_add(&table, name, "ms", (table_now_ns() - begin) / 1e6);
	return ZDICT_isError(length) ? NULL : ZSTD_createCDict(dictionary, length, LEVEL);
}

static size_t pages_of(size_t length)
{
	return (length + FMT_PAGE_SIZE - 1) / FMT_PAGE_SIZE;
}

static void add(unsigned class, const char *what, const char *unit, double value)
{
	char name[56];

	snprintf(name, sizeof name, "%s: %s", classes[class].name, what);
	table_add(&table, name, unit, value);
}

static void measure(unsigned class, unsigned count, const ZSTD_CDict *dictionary)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	double bytes = 0, zstd = 0, trained = 0, pages = 0, zstd_pages = 0, trained_pages = 0;
	unsigned fits = 0, trained_fits = 0;
	size_t at = 0;

	for (unsigned i = 0; i < count; at += pieces[i++]) {
		size_t n = pieces[i];
		size_t plain = ZSTD_compressCCtx(context, out, sizeof out, corpus + at, n, LEVEL);
		size_t with = ZSTD_compress_usingCDict(context, out, sizeof out, corpus + at, n,
						       dictionary);
		uint32_t stored = value_compress(corpus + at, (uint32_t)n, out);
		bytes += (double)n;
		zstd += (double)(plain < n ? plain : n);
		trained += (double)(with < n ? with : n);
		pages += (double)pages_of(n);
		zstd_pages += (double)pages_of(stored ? stored : n); /* as the store does it */
		trained_pages += (double)pages_of(with < n ? with : n);
		fits += plain <= INLINE_MAX;
		trained_fits += with <= INLINE_MAX;
	}
	ZSTD_freeCCtx(context);
	add(class, "bytes, zstd", "% of plain", 100 * zstd / bytes);
	add(class, "bytes, zstd with dictionary", "% of plain", 100 * trained / bytes);
	add(class, "pages, zstd (values of more than 4 KiB)", "% of plain",
	    100 * zstd_pages / pages);
	add(class, "pages, zstd with dictionary", "% of plain", 100 * trained_pages / pages);
	add(class, "fit into a leaf, zstd", "% of pieces", 100.0 * fits / count);
	add(class, "fit into a leaf, with dictionary", "% of pieces", 100.0 * trained_fits / count);
}

/* ---- a store ---- */

enum { READ_ROUNDS = 3 };

static struct mneme *store_make(const char *name, enum mneme_compression compression)
{
	const struct mneme_create_options create = {.compression = compression};
	const struct mneme_options options = {.checkpoint_ms = 3600000};
	struct mneme_error error = {""};
	char path[256];
	struct mneme *m;

	snprintf(path, sizeof path, "%s/%s", bench_directory(), name);
	if (mneme_create(path, &create, &error) < 0 || mneme_open(path, &options, &m, &error) < 0) {
		fprintf(stderr, "bench_compress: %s\n", error.message);
		exit(2);
	}
	return m;
}

static struct mneme_key store_key(const uint64_t *number)
{
	return (struct mneme_key){
		.inode = 1000 + *number, .type = MNEME_TYPE_USER, .sub = number, .sub_length = 8};
}

static void store_must(int rc)
{
	if (rc < 0) {
		fprintf(stderr, "bench_compress: the store says %s\n", strerror(-rc));
		exit(2);
	}
}

static void store_fill(struct mneme *m, unsigned count)
{
	size_t at = 0;

	for (uint64_t i = 0; i < count; at += pieces[i++]) {
		struct mneme_key key = store_key(&i);
		store_must(mneme_put(m, &key, corpus + at, pieces[i], 0));
	}
	store_must(mneme_checkpoint(m));
}

/* What the heap takes and what a read takes, in random order; every byte is compared. */
static void store_measure(struct mneme *m, unsigned count, size_t bytes, const char *what)
{
	static size_t begins[PIECES_MAX];
	struct mneme_stats stats;
	double best = 0;
	char name[64];

	for (unsigned i = 1; i < count; i++)
		begins[i] = begins[i - 1] + pieces[i - 1];
	for (int round = 0; round < READ_ROUNDS; round++) {
		double begin = table_now_ns();
		for (unsigned i = 0; i < count; i++) {
			uint64_t number = next_random() % count;
			struct mneme_key key = store_key(&number);
			size_t length;
			store_must(mneme_get(m, &key, file_bytes, sizeof file_bytes, &length));
			if (length != pieces[number] ||
			    memcmp(file_bytes, corpus + begins[number], length))
				store_must(-EILSEQ);
		}
		double each = (table_now_ns() - begin) / count;
		best = round && best < each ? best : each;
	}
	store_must(mneme_checkpoint(m)); /* gives back what the one before freed */
	mneme_get_stats(m, &stats);
	snprintf(name, sizeof name, "store, %s: heap in use", what);
	table_add(&table, name, "% of plain",
		  100.0 * (double)(stats.heap_bytes - stats.heap_free_bytes) / (double)bytes);
	snprintf(name, sizeof name, "store, %s: get and compare", what);
	table_add(&table, name, "ns", best);
}

static void measure_stores(void)
{
	unsigned count = cut(0, 0, path_count), most = is_quick ? 4000 : 20000;
	struct mneme_stats stats;
	size_t bytes = 0;

	count = count < most ? count : most;
	for (unsigned i = 0; i < count; i++)
		bytes += pieces[i];
	table_add(&table, "store: texts of 1-4 KiB", "texts", count);
	table_add(&table, "store: their mean length", "bytes", (double)bytes / count);
	struct mneme *m = store_make("none", MNEME_COMPRESSION_NONE);
	store_fill(m, count);
	store_measure(m, count, bytes, "no compression");
	store_must(mneme_close(m));
	m = store_make("zstd", MNEME_COMPRESSION_ZSTD);
	store_fill(m, count);
	store_measure(m, count, bytes, "zstd, not packed");
	double begin = table_now_ns();
	store_must(packer_run(m));
	table_add(&table, "store: packing with the training", "us a text",
		  (table_now_ns() - begin) / 1e3 / count);
	mneme_get_stats(m, &stats);
	table_add(&table, "store: packed", "% of texts",
		  100.0 * (double)stats.packed_values / count);
	store_must(mneme_checkpoint(m));
	store_measure(m, count, bytes, "zstd, packed");
	store_must(mneme_close(m));
}

int main(int argc, char **argv)
{
	const char *folder = getenv("MNEME_TEXTS") ? getenv("MNEME_TEXTS") : "/usr/share/doc";

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			table.json = 1;
		else if (!strcmp(argv[i], "--quick"))
			is_quick = 1;
		else
			return fprintf(stderr, "usage: bench_compress [--quick] [--json]\n"), 2;
	}
	nftw(folder, collect, 16, FTW_PHYS);
	paths_shuffle();
	for (unsigned class = 0; class < sizeof classes / sizeof *classes; class ++) {
		bench_progress("%s", classes[class].name);
		unsigned half = path_count / 2, learnt = cut(class, 0, half);
		ZSTD_CDict *dictionary = train(class, learnt);
		unsigned count = dictionary ? cut(class, half, path_count) : 0;
		if (!count) {
			fprintf(stderr, "bench_compress: %s has too few texts: set MNEME_TEXTS\n",
				folder);
			return 2;
		}
		measure(class, count, dictionary);
		ZSTD_freeCDict(dictionary);
	}
	bench_progress("%s", "stores");
	measure_stores();
	bench_progress("%s", "");
	table_print(&table);
	for (unsigned i = 0; i < path_count; i++)
		free(paths[i]);
	return 0;
}
