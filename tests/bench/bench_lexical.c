/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the lexical index at size, beside SQLite FTS5 (bm25, porter) in the same run: passages
 *            put a second, queries of ten words, bytes a passage.
 *
 *   bench_lexical [PASSAGES] [--json]     default 100,000; generated: words by Zipf's law
 *
 * Query times are processor time of the asking thread.
 */
#include "core/search/lexical.h"
#include "pool/check.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	VOCABULARY = 200000,
	PASSAGE_WORDS = 100,
	QUERY_WORDS = 10,
	QUERIES = 300,
	TEXT_MAX = 4096,
	LIMIT_US = 1000
};

static uint64_t seed = 12345;

static double random_unit(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

/* Rank r with a probability of about 1 / r. */
static unsigned random_word(void)
{
	return (unsigned)exp(random_unit() * log(VOCABULARY));
}

static size_t word_spell(char *out, unsigned word)
{
	size_t length = 0;

	for (word += 20; word; word /= 20)
		out[length++] = "bcdfghjklmnpqrtvwxyz"[word % 20];
	out[length++] = ' ';
	return length;
}

static size_t text_make(char *out, unsigned words)
{
	size_t length = 0;

	for (unsigned i = 0; i < words; i++)
		length += word_spell(out + length, random_word());
	return length;
}

static double used_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct peer {
	sqlite3 *db;
	sqlite3_stmt *put, *ask;
};

static void peer_open(struct peer *p)
{
	CHECK(sqlite3_open(":memory:", &p->db) == SQLITE_OK);
	CHECK(sqlite3_exec(p->db,
			   "CREATE VIRTUAL TABLE t USING fts5(body, tokenize='porter unicode61');"
			   "BEGIN",
			   NULL, NULL, NULL) == SQLITE_OK);
	CHECK(!sqlite3_prepare_v2(p->db, "INSERT INTO t(rowid, body) VALUES (?, ?)", -1, &p->put,
				  0));
	CHECK(!sqlite3_prepare_v2(p->db,
				  "SELECT rowid FROM t WHERE t MATCH ? ORDER BY bm25(t) LIMIT 10",
				  -1, &p->ask, NULL));
}

static void peer_ask(struct peer *p, const char *text, size_t length)
{
	char expression[TEXT_MAX];
	size_t used = 0;

	for (size_t i = 0, start = 0; i < length; i++)
		if (text[i] == ' ') {
			used += (size_t)sprintf(expression + used, "%s%.*s", used ? " OR " : "",
						(int)(i - start), text + start);
			start = i + 1;
		}
	sqlite3_bind_text(p->ask, 1, expression, -1, SQLITE_STATIC);
	while (sqlite3_step(p->ask) == SQLITE_ROW)
		continue;
	sqlite3_reset(p->ask);
}

int main(int argc, char **argv)
{
	unsigned passages = 100000;
	int json = 0;
	static double ours[QUERIES], theirs[QUERIES];
	struct lexical_stats stats;
	struct words_bag bag = {0};
	struct words *words;
	struct lexical *lx;
	struct peer peer;
	char text[TEXT_MAX];
	double put_ns = 0, peer_put_ns = 0;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--json"))
			json = 1;
		else
			passages = (unsigned)atoi(argv[i]);
	CHECK(!words_new(&words) && !lexical_new(&lx));
	peer_open(&peer);
	for (unsigned i = 0; i < passages; i++) {
		size_t length = text_make(text, PASSAGE_WORDS);
		double start = used_ns();
		words_bag_reset(&bag);
		CHECK(!words_count(words, text, length, &bag));
		CHECK(!lexical_put(lx, i, 0, &bag));
		double middle = used_ns();
		sqlite3_bind_int(peer.put, 1, (int)i + 1);
		sqlite3_bind_text(peer.put, 2, text, (int)length, SQLITE_STATIC);
		CHECK(sqlite3_step(peer.put) == SQLITE_DONE);
		sqlite3_reset(peer.put);
		put_ns += middle - start;
		peer_put_ns += used_ns() - middle;
	}
	CHECK(!sqlite3_exec(peer.db, "COMMIT; INSERT INTO t(t) VALUES ('optimize')", 0, 0, 0));
	for (unsigned q = 0; q < QUERIES; q++) {
		struct search_hit hits[10];
		unsigned count;
		size_t length = text_make(text, QUERY_WORDS);
		double start = used_ns();
		words_bag_reset(&bag);
		CHECK(!words_count(words, text, length, &bag));
		CHECK(!lexical_search(lx, &bag, NULL, 10, hits, &count, NULL));
		double middle = used_ns();
		peer_ask(&peer, text, length);
		ours[q] = (middle - start) / 1e3;
		theirs[q] = (used_ns() - middle) / 1e3;
	}
	qsort(ours, QUERIES, sizeof(*ours), compare);
	qsort(theirs, QUERIES, sizeof(*theirs), compare);
	lexical_get_stats(lx, &stats);
	const char *format =
		json ? "{\"figure\":\"%s\",\"value\":%.1f,\"peer\":%.1f,\"ratio\":%.2f,"
		       "\"verdict\":\"%s\"}\n"
		     : "%-28s %12.1f %12.1f %8.2f %s\n";
	if (!json)
		printf("%u passages of %u words, %lu terms, %lu postings; beside SQLite FTS5\n",
		       passages, PASSAGE_WORDS, (unsigned long)stats.terms,
		       (unsigned long)stats.postings);
	double put = passages / put_ns * 1e9, peer_put = passages / peer_put_ns * 1e9;
	double p50 = ours[QUERIES / 2], peer50 = theirs[QUERIES / 2];
	double p99 = ours[QUERIES * 99 / 100], peer99 = theirs[QUERIES * 99 / 100];
	printf(format, "passages put / s", put, peer_put, put / peer_put,
	       put > peer_put ? "ok" : "short");
	printf(format, "query of 10 words, p50 us", p50, peer50, peer50 / p50,
	       p50 < LIMIT_US ? "ok" : "short");
	printf(format, "query of 10 words, p99 us", p99, peer99, peer99 / p99,
	       p99 < LIMIT_US ? "ok" : "short");
	printf(format, "bytes a passage", (double)stats.bytes / passages, 0.0, 0.0, "ok");
	words_bag_free(&bag);
	words_free(words);
	lexical_free(lx);
	sqlite3_finalize(peer.put);
	sqlite3_finalize(peer.ask);
	sqlite3_close(peer.db);
	return 0;
}
