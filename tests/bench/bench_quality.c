/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   how good the answers are, on collections with judgements: words, meaning and both,
 *            beside SQLite's FTS5 (bm25, porter) on the same texts in the same run.
 *
 *   MNEME_DATA_DIR=DIR [MNEME_MODEL=FILE] bench_quality [--json]
 *
 * DIR has cranfield/ and cacm/. Without a model the meaning side is the model-free embedder. The
 * documents are files of a store under TMPDIR, embedded and searched by core/memory, as on a mount.
 * nDCG@10 has linear gain over log2(rank + 1) and the ideal of all judged; R@5 counts any relevant;
 * means over judged queries.
 */
#include "core/memory/memory.h"
#include "pool/check.h"
#include "tests/lib/notes.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOCS_MAX = 4096, QUERIES_MAX = 256, TEXT_MAX = 1 << 15, TOP = 10 };

struct text {
	char *bytes;
	size_t length;
};

static struct collection {
	const char *name;
	struct text docs[DOCS_MAX], queries[QUERIES_MAX]; /* by number, from 1 */
	uint8_t gains[QUERIES_MAX][DOCS_MAX];
	unsigned docs_count, queries_count;
} set;

static struct notes notes; /* note n is document n */
static struct memory *memory;

/* ---- reading ---- */

static FILE *open_file(const char *folder, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s/%s", getenv("MNEME_DATA_DIR"), folder, name);
	FILE *f = fopen(path, "r");
	if (!f) {
		fprintf(stderr, "bench_quality: cannot read %s\n", path);
		exit(2);
	}
	return f;
}

/* Records begin with ".I n"; the text is that of the fields whose letters are in `fields`. With
 * `count_on` records are numbered 1, 2, ... instead. */
static unsigned read_records(const char *folder, const char *name, const char *fields, int count_on,
			     struct text *out, unsigned room)
{
	FILE *f = open_file(folder, name);
	char line[4096];
	unsigned number = 0, most = 0, records = 0;
	int wanted = 0;

	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, ".I ", 3)) {
			number = count_on ? ++records : (unsigned)atoi(line + 3);
			CHECK(number < room); /* one collection ends with a record 0 */
			most = number > most ? number : most;
			wanted = 0;
			if (number && !out[number].bytes)
				out[number].bytes = calloc(1, TEXT_MAX);
		} else if (line[0] == '.' && line[1] >= 'A' && line[1] <= 'Z' &&
			   (line[2] == '\n' || line[2] == '\r' || !line[2])) {
			wanted = strchr(fields, line[1]) != NULL;
		} else if (wanted && number) {
			size_t length = strlen(line);
			CHECK(out[number].length + length < TEXT_MAX);
			memcpy(out[number].bytes + out[number].length, line, length);
			out[number].length += length;
		}
	}
	fclose(f);
	return most;
}

static void read_judgements(const char *folder, const char *name, int graded)
{
	FILE *f = open_file(folder, name);
	char line[256];

	while (fgets(line, sizeof(line), f)) {
		int query, doc, grade = 0;
		if (sscanf(line, "%d %d %d", &query, &doc, &grade) < 2)
			continue;
		CHECK(query > 0 && query < QUERIES_MAX && doc > 0 && doc < DOCS_MAX);
		if (!graded)
			set.gains[query][doc] = 1;
		else if (grade >= 1 && grade <= 4)
			set.gains[query][doc] = (uint8_t)(5 - grade);
	}
	fclose(f);
}

static void read_collection(const char *name)
{
	for (unsigned i = 0; i < DOCS_MAX; i++)
		free(set.docs[i].bytes);
	for (unsigned i = 0; i < QUERIES_MAX; i++)
		free(set.queries[i].bytes);
	memset(&set, 0, sizeof(set));
	set.name = name;
	if (!strcmp(name, "cranfield")) {
		set.docs_count = read_records(name, "cran.all.1400", "W", 0, set.docs, DOCS_MAX);
		set.queries_count =
			read_records(name, "cran.qry", "W", 1, set.queries, QUERIES_MAX);
		read_judgements(name, "cranqrel", 1);
	} else {
		set.docs_count = read_records(name, "cacm.all", "TW", 0, set.docs, DOCS_MAX);
		set.queries_count =
			read_records(name, "query.text", "W", 0, set.queries, QUERIES_MAX);
		read_judgements(name, "qrels.text", 0);
	}
}

/* ---- measures ---- */

struct measure {
	double ndcg, recall5, recall10, reciprocal;
	unsigned queries;
};

static int compare_gains(const void *a, const void *b)
{
	return *(const uint8_t *)b - *(const uint8_t *)a;
}

static void measure_add(struct measure *m, unsigned query, const uint64_t *docs, unsigned count)
{
	uint8_t ideal[DOCS_MAX];
	double gain = 0, best = 0, found5 = 0, found10 = 0, relevant = 0, first = 0;

	memcpy(ideal, set.gains[query], sizeof(ideal));
	qsort(ideal, DOCS_MAX, 1, compare_gains);
	for (unsigned i = 0; i < DOCS_MAX && ideal[i]; i++)
		relevant++;
	if (relevant == 0)
		return;
	for (unsigned i = 0; i < TOP; i++)
		best += ideal[i] / log2(i + 2.0);
	for (unsigned i = 0; i < count && i < TOP; i++) {
		unsigned g = set.gains[query][docs[i]];
		gain += g / log2(i + 2.0);
		found5 += g && i < 5;
		found10 += g > 0;
		if (g && first == 0)
			first = 1.0 / (i + 1);
	}
	m->ndcg += gain / best;
	m->recall5 += found5 / relevant;
	m->recall10 += found10 / relevant;
	m->reciprocal += first;
	m->queries++;
}

static int json;

static void measure_print(const char *name, const struct measure *m)
{
	double n = m->queries ? m->queries : 1;

	if (json)
		printf("{\"collection\":\"%s\",\"method\":\"%s\",\"ndcg10\":%.4f,\"r5\":%.4f,"
		       "\"r10\":%.4f,\"mrr\":%.4f,\"queries\":%u}\n",
		       set.name, name, m->ndcg / n, m->recall5 / n, m->recall10 / n,
		       m->reciprocal / n, m->queries);
	else
		printf("%-10s %-26s %8.4f %8.4f %8.4f %8.4f\n", set.name, name, m->ndcg / n,
		       m->recall5 / n, m->recall10 / n, m->reciprocal / n);
}

/* ---- indexing ---- */

static void index_collection(void)
{
	struct memory_options options = {.model = getenv("MNEME_MODEL")};
	struct mneme_error error = {.message = ""};

	notes_new(&notes);
	for (unsigned doc = 1; doc <= set.docs_count; doc++)
		notes_write(&notes, doc, set.docs[doc].bytes, set.docs[doc].length);
	if (memory_open(notes.engine, &options, &memory, &error)) {
		fprintf(stderr, "bench_quality: %s\n", error.message);
		exit(2);
	}
	CHECK(!memory_sync(memory, 0));
}

/* ---- methods ---- */

struct method {
	const char *name;
	enum memory_mode mode;
	int rank_fusion;
};

static const struct method methods[] = {
	{"words", MEMORY_LEXICAL, 0},
	{"meaning", MEMORY_VECTOR, 0},
	{"hybrid, standardised", MEMORY_HYBRID, 0},
	{"hybrid, reciprocal rank", MEMORY_HYBRID, 1},
};

static unsigned answer(const struct method *method, const struct text *text, uint64_t *docs)
{
	struct memory_query query = {.text = text->bytes,
				     .length = text->length,
				     .scope = notes.root,
				     .mode = method->mode,
				     .rank_fusion = method->rank_fusion,
				     .limit = TOP};
	struct memory_answer *found;

	CHECK(!memory_search(memory, &query, &found));
	unsigned count = found->count;
	for (unsigned i = 0; i < count; i++)
		docs[i] = notes_number(&notes, found->results[i].inode);
	memory_answer_free(found);
	return count;
}

static void run_methods(void)
{
	struct measure measures[sizeof(methods) / sizeof(*methods)] = {0};

	for (unsigned q = 1; q <= set.queries_count; q++) {
		uint64_t docs[TOP];
		if (!set.queries[q].length)
			continue;
		for (unsigned i = 0; i < sizeof(methods) / sizeof(*methods); i++)
			measure_add(&measures[i], q, docs,
				    answer(&methods[i], &set.queries[q], docs));
	}
	for (unsigned i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		measure_print(methods[i].name, &measures[i]);
}

/* ---- the peer ---- */

/* All words of the query, each in quotes, joined by OR. */
static void expression_make(const char *text, size_t length, char *out)
{
	int inside = 0, any = 0;

	for (size_t i = 0; i <= length; i++) {
		unsigned char c = i < length ? (unsigned char)text[i] : ' ';
		int letter =
			(c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (letter && !inside)
			out += sprintf(out, "%s\"", any ? " OR " : "");
		if (letter)
			*out++ = (char)c;
		if (!letter && inside)
			*out++ = '"';
		any |= letter;
		inside = letter;
	}
	*out = 0;
}

static void run_fts5(void)
{
	struct measure m = {0};
	static char expression[8 * TEXT_MAX];
	sqlite3 *db;
	sqlite3_stmt *put, *ask;

	CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
	if (sqlite3_exec(db, "CREATE VIRTUAL TABLE t USING fts5(body, tokenize='porter unicode61')",
			 NULL, NULL, NULL) != SQLITE_OK) {
		fprintf(stderr, "bench_quality: SQLite has no FTS5: no peer\n");
		sqlite3_close(db);
		return;
	}
	CHECK(sqlite3_prepare_v2(db, "INSERT INTO t(rowid, body) VALUES (?, ?)", -1, &put, NULL) ==
	      SQLITE_OK);
	for (unsigned i = 1; i <= set.docs_count; i++) {
		if (!set.docs[i].length)
			continue;
		sqlite3_bind_int(put, 1, (int)i);
		sqlite3_bind_text(put, 2, set.docs[i].bytes, (int)set.docs[i].length,
				  SQLITE_STATIC);
		CHECK(sqlite3_step(put) == SQLITE_DONE);
		sqlite3_reset(put);
	}
	sqlite3_finalize(put);
	CHECK(sqlite3_prepare_v2(db,
				 "SELECT rowid FROM t WHERE t MATCH ? ORDER BY bm25(t) LIMIT 10",
				 -1, &ask, NULL) == SQLITE_OK);
	for (unsigned q = 1; q <= set.queries_count; q++) {
		uint64_t docs[TOP];
		unsigned count = 0;
		if (!set.queries[q].length)
			continue;
		expression_make(set.queries[q].bytes, set.queries[q].length, expression);
		sqlite3_bind_text(ask, 1, expression, -1, SQLITE_STATIC);
		while (count < TOP && sqlite3_step(ask) == SQLITE_ROW)
			docs[count++] = (uint64_t)sqlite3_column_int64(ask, 0);
		sqlite3_reset(ask);
		measure_add(&m, q, docs, count);
	}
	sqlite3_finalize(ask);
	sqlite3_close(db);
	measure_print("SQLite FTS5 bm25", &m);
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"cranfield", "cacm"};

	json = argc > 1 && !strcmp(argv[1], "--json");
	if (!getenv("MNEME_DATA_DIR")) {
		fprintf(stderr, "bench_quality: set MNEME_DATA_DIR to the collections: skipped\n");
		return 77;
	}
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		read_collection(names[i]);
		index_collection();
		if (!json && !i)
			printf("embedder %s\n%-10s %-26s %8s %8s %8s %8s\n",
			       memory_embedder(memory, NULL), "collection", "method", "nDCG@10",
			       "R@5", "R@10", "MRR");
		run_methods();
		run_fts5();
		memory_close(memory);
		notes_free(&notes);
	}
	return 0;
}
