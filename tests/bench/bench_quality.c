/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   how good the answers are, on collections with judgements: words, meaning and both,
 *            beside SQLite's FTS5 (bm25, porter) on the same texts in the same run.
 *
 *   MNEME_DATA_DIR=DIR [MNEME_MODEL=FILE] bench_quality [--json]
 *
 * DIR has cranfield/ and cacm/. Without a model the meaning side is the model-free embedder. Texts
 * are cut into passages as on saving for the vectors, words are those of the whole text; a document
 * ranks by its best passage. nDCG@10 has linear gain over
 * log2(rank + 1) and the ideal of all judged; R@5 counts any relevant; means over judged queries.
 */
#include "core/memory/embedder.h"
#include "core/memory/passages.h"
#include "core/search/flat.h"
#include "core/search/fuse.h"
#include "core/search/lexical.h"
#include "pool/check.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOCS_MAX = 4096, QUERIES_MAX = 256, TEXT_MAX = 1 << 15, CANDIDATES = 200, TOP = 10 };

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

static struct words *words;
static struct embedder_worker *embedder;
static uint32_t dim;
static struct lexical *lexical;
static struct vectors *vectors;

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

static int passage_take(void *arg, const struct passage *p)
{
	uint64_t owner = *(uint64_t *)arg;
	static float vector[EMBEDDER_DIM_MAX];
	static char composed[PASSAGE_TEXT_MAX];
	char why[EMBEDDER_WHY];

	size_t length = passage_compose(p, composed);
	const char *text = composed;
	CHECK(!embedder_embed(embedder, &text, &length, 1, vector, why));
	CHECK(!vectors_put(vectors, owner, p->number, 0, vector, NULL));
	return 0;
}

static void index_collection(void)
{
	struct passage_settings settings = {.count = embedder_count, .count_context = embedder};
	struct vectors_config config = {.dim = dim, .metric = VECTORS_COSINE};
	uint64_t owner;
	struct passage_splitter *splitter = passages_new(&settings, passage_take, &owner);

	CHECK(splitter && !lexical_new(&lexical) && !vectors_new(&config, &vectors));
	for (owner = 1; owner <= set.docs_count; owner++) {
		if (!set.docs[owner].length)
			continue;
		struct words_bag bag = {0};
		CHECK(!words_count(words, set.docs[owner].bytes, set.docs[owner].length, &bag));
		CHECK(!lexical_put(lexical, owner, 0, &bag));
		words_bag_free(&bag);
		passages_reset(splitter, passage_take, &owner);
		CHECK(!passages_feed(splitter, set.docs[owner].bytes, set.docs[owner].length));
		CHECK(!passages_finish(splitter));
	}
	passages_free(splitter);
}

/* ---- methods ---- */

struct method {
	const char *name;
	int lexical, vector;
	enum fuse_method fuse;
};

static const struct method methods[] = {
	{"words", 1, 0, FUSE_STANDARD},
	{"meaning", 0, 1, FUSE_STANDARD},
	{"hybrid, standardised", 1, 1, FUSE_STANDARD},
	{"hybrid, reciprocal rank", 1, 1, FUSE_RANK},
};

static unsigned answer(const struct method *method, const struct words_bag *bag,
		       const float *vector, uint64_t *docs)
{
	static struct search_hit by_words[CANDIDATES], by_meaning[CANDIDATES];
	static struct fuse_hit hits[2 * CANDIDATES];
	struct fuse_background background = {0, 1, 0, 1};
	struct fuse_options options = {method->fuse, 0, 0};
	unsigned words_count_ = 0, meaning_count = 0;

	if (method->lexical)
		CHECK(!lexical_search(lexical, bag, NULL, CANDIDATES, by_words, &words_count_,
				      NULL));
	if (method->vector)
		CHECK(!flat_search(vectors, vector, NULL, CANDIDATES, by_meaning, &meaning_count,
				   NULL));
	unsigned count = fuse_collect(by_words, words_count_, by_meaning, meaning_count, hits);
	for (unsigned i = 0; i < count; i++) { /* a side that is not asked adds nothing */
		if (!method->lexical)
			hits[i].lexical = -INFINITY;
		if (!method->vector)
			hits[i].vector = -INFINITY;
	}
	if (method->lexical && method->vector) {
		lexical_background(lexical, bag, &background.lexical_mean,
				   &background.lexical_deviation);
		CHECK(!flat_background(vectors, vector, &background.vector_mean,
				       &background.vector_deviation));
		for (unsigned i = 0; i < count; i++) {
			struct search_hit one = {.owner = hits[i].owner};
			if (!(hits[i].known & FUSE_LEXICAL)) {
				CHECK(!lexical_score_owners(lexical, bag, &one, 1));
				hits[i].lexical = one.score;
			}
			if (!(hits[i].known & FUSE_VECTOR)) {
				CHECK(!flat_score_owners(vectors, vector, &one, 1));
				hits[i].vector = one.score;
			}
		}
	}
	fuse_rank(hits, count, &background, &options);
	for (unsigned i = 0; i < count && i < TOP; i++)
		docs[i] = hits[i].owner;
	return count < TOP ? count : TOP;
}

static void run_methods(void)
{
	struct measure measures[sizeof(methods) / sizeof(*methods)] = {0};
	float *vector = malloc(dim * sizeof(*vector));
	char why[EMBEDDER_WHY];

	for (unsigned q = 1; q <= set.queries_count; q++) {
		const char *text = set.queries[q].bytes;
		size_t length = set.queries[q].length;
		struct words_bag bag = {0};
		uint64_t docs[TOP];
		if (!length)
			continue;
		CHECK(!words_count(words, text, length, &bag));
		CHECK(!embedder_embed(embedder, &text, &length, 1, vector, why));
		for (unsigned i = 0; i < sizeof(methods) / sizeof(*methods); i++)
			measure_add(&measures[i], q, docs, answer(&methods[i], &bag, vector, docs));
		words_bag_free(&bag);
	}
	for (unsigned i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		measure_print(methods[i].name, &measures[i]);
	free(vector);
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
	struct embedder_settings settings = {
		.kind = "builtin", .model = getenv("MNEME_MODEL"), .or_hash = 1};
	struct embedder *e;
	char why[EMBEDDER_WHY];

	json = argc > 1 && !strcmp(argv[1], "--json");
	if (!getenv("MNEME_DATA_DIR")) {
		fprintf(stderr, "bench_quality: set MNEME_DATA_DIR to the collections: skipped\n");
		return 77;
	}
	if (embedder_open(&settings, &e, why) || words_new(&words)) {
		fprintf(stderr, "bench_quality: %s\n", why);
		return 2;
	}
	embedder = embedder_worker_new(e);
	dim = embedder_dim(e);
	CHECK(embedder);
	if (!json)
		printf("embedder %s\n%-10s %-26s %8s %8s %8s %8s\n", embedder_name(e), "collection",
		       "method", "nDCG@10", "R@5", "R@10", "MRR");
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		read_collection(names[i]);
		index_collection();
		run_methods();
		run_fts5();
		lexical_free(lexical);
		vectors_free(vectors);
	}
	embedder_worker_free(embedder);
	embedder_close(e);
	words_free(words);
	return 0;
}
