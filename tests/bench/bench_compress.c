/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what a trained zstd dictionary would save on small texts: in bytes, and in the pages that a
 *            value takes, which is what counts as long as a value has whole pages of its own.
 *            MNEME_TEXTS names a folder of texts (default: /usr/share/doc). They are cut into pieces of
 *            three classes of sizes; the dictionary is trained on half of the files and measured on
 *            the other half.
 * Failure:   without enough texts: a sentence, status 2.
 */
#include "core/store/fmt.h"
#include "core/store/value.h"
#include "tests/bench/table.h"

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
	add(class, "pages, zstd (the store today)", "% of plain", 100 * zstd_pages / pages);
	add(class, "pages, zstd with dictionary", "% of plain", 100 * trained_pages / pages);
	add(class, "would fit into a leaf, zstd", "% of pieces", 100.0 * fits / count);
	add(class, "would fit into a leaf, with dictionary", "% of pieces",
	    100.0 * trained_fits / count);
}

int main(int argc, char **argv)
{
	const char *folder = getenv("MNEME_TEXTS") ? getenv("MNEME_TEXTS") : "/usr/share/doc";

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			table.json = 1;
		else if (strcmp(argv[i], "--quick"))
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
	bench_progress("%s", "");
	table_print(&table);
	for (unsigned i = 0; i < path_count; i++)
		free(paths[i]);
	return 0;
}
