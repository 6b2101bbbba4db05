/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of words and the lexical index, against a plain scan in double. */
#include "core/search/lexical.h"
#include "pool/alloc.h"
#include "tests/unit/unit.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t seed = 42;

static uint32_t random_u32(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

struct spelled {
	char text[512];
	size_t used;
};

static int spell(void *arg, const struct words_token *t)
{
	struct spelled *s = arg;

	s->used += (size_t)snprintf(s->text + s->used, sizeof(s->text) - s->used, "%.*s@%u+%u ",
				    (int)t->term_length, t->term, t->offset, t->length);
	return 0;
}

static void check_words(const char *text, const char *expected)
{
	struct spelled s = {.used = 0};
	struct words *w;

	ck_assert_int_eq(words_new(&w), 0);
	ck_assert_int_eq(words_each(w, text, strlen(text), spell, &s), 0);
	ck_assert_str_eq(s.text, expected);
	words_free(w);
}

START_TEST(test_words_fold_and_stem)
{
	check_words("The Cats are running", "the@0+3 cat@4+4 are@9+3 run@13+7 ");
	check_words("don't 'quoted' dog's", "don't@0+5 quot@7+6 dog@15+5 ");
	check_words("snake_case a.b 3.14", "snake@0+5 case@6+4 a@11+1 b@13+1 3@15+1 14@17+2 ");
	check_words("", "");
}
END_TEST

START_TEST(test_words_other_scripts)
{
	check_words("Crème BRÛLÉE", "creme@0+6 brule@7+8 ");
	check_words("cre\xcc\x80me", "creme@0+7 ");
	check_words("Straße", "strass@0+7 ");
	check_words("Привет мир", "привет@0+12 мир@13+6 ");
	check_words("日本語x", "日@0+3 本@3+3 語@6+3 x@9+1 ");
	check_words("\xff\xfe"
		    "abc\xc3",
		    "abc@2+3 ");
}
END_TEST

/* ---- oracle ---- */

enum { DOCS = 6000, WORDS = 400, DOC_WORDS_MAX = 40 };

struct document {
	uint64_t owner;
	uint32_t part;
	uint32_t length;
	uint16_t words[DOC_WORDS_MAX];
	int dead;
};
static struct document documents[DOCS * 2];
static unsigned documents_count;

/* Few words are frequent, most are rare. */
static unsigned random_word(void)
{
	double u = (random_u32() % 1000000 + 1) / 1e6;

	return (unsigned)(WORDS * u * u * u) % WORDS;
}

static void bag_of(struct words *w, struct words_bag *bag, const uint16_t *words, unsigned count)
{
	char text[DOC_WORDS_MAX * 12];
	size_t used = 0;

	for (unsigned i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "w%uq ", words[i]);
	words_bag_reset(bag);
	ck_assert_int_eq(words_count(w, text, used, bag), 0);
}

static void add_document(struct lexical *lx, struct words *w, struct words_bag *bag, uint64_t owner,
			 uint32_t part)
{
	for (unsigned i = 0; i < documents_count; i++)
		if (documents[i].owner == owner && documents[i].part == part)
			documents[i].dead = 1;
	struct document *d = &documents[documents_count++];
	*d = (struct document){owner, part, random_u32() % DOC_WORDS_MAX, {0}, 0};
	for (unsigned i = 0; i < d->length; i++)
		d->words[i] = (uint16_t)random_word();
	bag_of(w, bag, d->words, d->length);
	ck_assert_int_eq(lexical_put(lx, owner, part, bag), 0);
}

static double oracle_score(const struct document *d, const uint16_t *query, unsigned terms)
{
	static unsigned df[WORDS];
	static unsigned df_of;
	static double mean;
	double score = 0;

	if (df_of != documents_count) {
		memset(df, 0, sizeof(df));
		mean = 0;
		for (unsigned i = 0; i < documents_count; i++) {
			char seen[WORDS] = {0};
			mean += documents[i].length;
			for (unsigned k = 0; k < documents[i].length; k++)
				if (!seen[documents[i].words[k]]++)
					df[documents[i].words[k]]++;
		}
		mean /= documents_count;
		df_of = documents_count;
	}
	for (unsigned q = 0; q < terms; q++) {
		unsigned tf = 0;
		for (unsigned k = 0; k < d->length; k++)
			tf += d->words[k] == query[q];
		double n = df[query[q]];
		score += log1p((documents_count - n + .5) / (n + .5)) * 2.2 * tf /
			 (tf + 1.2 * (.25 + .75 * d->length / mean));
	}
	return score;
}

static int compare_descending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y) - (x > y);
}

struct even {
	unsigned calls;
};

static int accept_even(void *arg, uint64_t owner, uint32_t part)
{
	((struct even *)arg)->calls++;
	return owner % 2 == 0;
}

/* Every hit's score is the oracle's, and the list of scores is the oracle's best. */
static void check_query(const struct lexical *lx, struct words *w, struct words_bag *bag,
			const uint16_t *query, unsigned terms, unsigned limit, int even_only)
{
	static double scores[DOCS * 2];
	struct search_hit hits[100];
	struct even even = {0};
	struct search_filter filter = {.accept = accept_even, .arg = &even};
	unsigned count, found = 0;

	bag_of(w, bag, query, terms);
	ck_assert_int_eq(
		lexical_search(lx, bag, even_only ? &filter : NULL, limit, hits, &count, NULL), 0);
	for (unsigned i = 0; i < documents_count; i++) {
		double score = oracle_score(&documents[i], query, terms);
		if (!documents[i].dead && score > 0 && (!even_only || documents[i].owner % 2 == 0))
			scores[found++] = score;
	}
	qsort(scores, found, sizeof(*scores), compare_descending);
	ck_assert_uint_eq(count, found < limit ? found : limit);
	for (unsigned h = 0; h < count; h++) {
		const struct document *d = NULL;
		for (unsigned i = 0; i < documents_count; i++)
			if (!documents[i].dead && documents[i].owner == hits[h].owner &&
			    documents[i].part == hits[h].part)
				d = &documents[i];
		ck_assert_ptr_nonnull(d);
		ck_assert_double_eq_tol(hits[h].score, scores[h], 1e-4 * (1 + scores[h]));
		ck_assert_double_eq_tol(hits[h].score, oracle_score(d, query, terms),
					1e-4 * (1 + scores[h]));
	}
	struct search_hit again[100];
	memcpy(again, hits, sizeof(hits[0]) * count);
	ck_assert_int_eq(lexical_score(lx, bag, again, count), 0);
	for (unsigned h = 0; h < count; h++)
		ck_assert_float_eq_tol(again[h].score, hits[h].score, 1e-4f * (1 + hits[h].score));
	for (unsigned h = 0; h < count && !even_only; h++) {
		struct search_hit best = {.owner = hits[h].owner};
		unsigned first = 0;
		while (hits[first].owner != best.owner)
			first++;
		ck_assert_int_eq(lexical_score_owners(lx, bag, &best, 1), 0);
		ck_assert_float_eq_tol(best.score, hits[first].score, 1e-4f * (1 + best.score));
	}
	if (even_only)
		ck_assert_uint_ge(even.calls, count);
}

static void check_queries(const struct lexical *lx, struct words *w, struct words_bag *bag,
			  unsigned queries)
{
	for (unsigned q = 0; q < queries; q++) {
		uint16_t query[12];
		unsigned terms = 1 + random_u32() % 12;
		for (unsigned i = 0; i < terms; i++)
			query[i] = (uint16_t)random_word();
		check_query(lx, w, bag, query, terms, 1 + random_u32() % 60, q % 3 == 0);
	}
}

static struct lexical *filled(struct words *w, struct words_bag *bag)
{
	struct lexical *lx;

	documents_count = 0;
	ck_assert_int_eq(lexical_new(&lx), 0);
	for (unsigned i = 0; i < DOCS; i++)
		add_document(lx, w, bag, 1 + i / 3, i % 3);
	return lx;
}

/* Drops the dead from the oracle, as compaction does. */
static void oracle_compact(void)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < documents_count; i++)
		if (!documents[i].dead)
			documents[kept++] = documents[i];
	documents_count = kept;
}

START_TEST(test_lexical_equals_the_scan_through_put_replace_delete_compact)
{
	struct words_bag bag = {0};
	struct words *w;
	struct lexical *smaller;
	struct lexical_stats stats;

	ck_assert_int_eq(words_new(&w), 0);
	struct lexical *lx = filled(w, &bag);
	check_queries(lx, w, &bag, 60);
	for (unsigned i = 0; i < 400; i++) {
		uint64_t owner = 1 + random_u32() % (DOCS / 3);
		if (i % 2) {
			add_document(lx, w, &bag, owner, random_u32() % 4);
			continue;
		}
		unsigned alive = 0;
		for (unsigned k = 0; k < documents_count; k++)
			if (documents[k].owner == owner && !documents[k].dead) {
				alive++;
				documents[k].dead = 1;
			}
		ck_assert_uint_eq(lexical_delete(lx, owner), alive);
	}
	check_queries(lx, w, &bag, 60);
	lexical_get_stats(lx, &stats);
	ck_assert_uint_gt(stats.deleted, 400);
	ck_assert_int_eq(lexical_compact(lx, &smaller), 0);
	lexical_free(lx);
	oracle_compact();
	check_queries(smaller, w, &bag, 60);
	lexical_get_stats(smaller, &stats);
	ck_assert_uint_eq(stats.deleted, 0);
	ck_assert_uint_eq(stats.passages, documents_count);
	lexical_free(smaller);
	words_bag_free(&bag);
	words_free(w);
}
END_TEST

static char directory[64];

static struct io *io_make(void)
{
	struct io *io;

	snprintf(directory, sizeof(directory), "/tmp/test_search_XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(io_posix_new(directory, 0, &io), 0);
	return io;
}

static void io_remove(struct io *io)
{
	io->ops->destroy(io);
	ck_assert_int_eq(rmdir(directory), 0);
}

static int file_holds(const char *name, const char *word)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *f = fopen(path, "rb");
	ck_assert_ptr_nonnull(f);
	static char bytes[1 << 20];
	size_t n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	return memmem(bytes, n, word, strlen(word)) != NULL;
}

START_TEST(test_lexical_saved_and_loaded_is_the_same)
{
	struct io *io = io_make();
	struct words_bag bag = {0};
	struct words *w;
	struct lexical *loaded;
	uint64_t position = 0;

	ck_assert_int_eq(words_new(&w), 0);
	struct lexical *lx = filled(w, &bag);
	documents[7].dead = 1;
	ck_assert_uint_eq(lexical_delete_part(lx, documents[7].owner, documents[7].part), 1);
	ck_assert_int_eq(lexical_save(lx, io, "words", 77), 0);
	lexical_free(lx);
	ck_assert_int_eq(lexical_load(io, "words", &loaded, &position), 0);
	ck_assert_uint_eq(position, 77);
	check_queries(loaded, w, &bag, 40);
	for (unsigned i = 0; i < 200; i++)
		add_document(loaded, w, &bag, 900000 + i, 0);
	check_queries(loaded, w, &bag, 20);
	lexical_free(loaded);
	io->ops->unlink(io, "words");
	words_bag_free(&bag);
	words_free(w);
	io_remove(io);
}
END_TEST

START_TEST(test_lexical_deleted_words_are_gone_after_compaction)
{
	struct io *io = io_make();
	struct words_bag bag = {0};
	struct words *w;
	struct lexical *lx, *compacted;

	ck_assert_int_eq(words_new(&w), 0);
	ck_assert_int_eq(lexical_new(&lx), 0);
	ck_assert_int_eq(words_count(w, "zanzibar", 8, &bag), 0);
	ck_assert_int_eq(lexical_put(lx, 1, 0, &bag), 0);
	words_bag_reset(&bag);
	ck_assert_int_eq(words_count(w, "kept", 4, &bag), 0);
	ck_assert_int_eq(lexical_put(lx, 2, 0, &bag), 0);
	ck_assert_uint_eq(lexical_delete(lx, 1), 1);
	ck_assert_uint_eq(lexical_delete(lx, 1), 0);
	ck_assert_int_eq(lexical_save(lx, io, "words", 0), 0);
	ck_assert_int_eq(file_holds("words", "zanzibar"), 1);
	ck_assert_int_eq(lexical_compact(lx, &compacted), 0);
	ck_assert_int_eq(lexical_save(compacted, io, "words", 0), 0);
	ck_assert_int_eq(file_holds("words", "zanzibar"), 0);
	ck_assert_int_eq(file_holds("words", "kept"), 1);
	lexical_free(lx);
	lexical_free(compacted);
	io->ops->unlink(io, "words");
	words_bag_free(&bag);
	words_free(w);
	io_remove(io);
}
END_TEST

/* Damage anywhere in the file is found; damage in the body alone (as by a fuzzer) does no harm. */
START_TEST(test_lexical_refuses_damage)
{
	struct io *io = io_make();
	struct words_bag bag = {0};
	struct words *w;
	struct lexical *got;
	uint64_t position, size;
	struct io_file *file;

	ck_assert_int_eq(words_new(&w), 0);
	struct lexical *lx = filled(w, &bag);
	ck_assert_int_eq(lexical_save(lx, io, "words", 0), 0);
	lexical_free(lx);
	ck_assert_int_eq(io->ops->open(io, "words", IO_WRITE, &file), 0);
	ck_assert_int_eq(io->ops->size(file, &size), 0);
	uint8_t *bytes = malloc(size);
	ck_assert_int_eq(io_read_full(file, io, bytes, size, 0), 0);
	for (unsigned i = 0; i < 120; i++) {
		uint64_t at = i < 64 ? i : random_u32() % size;
		uint8_t bad = bytes[at] ^ (uint8_t)(1 << random_u32() % 8);
		ck_assert_int_eq(io_write_full(file, io, &bad, 1, at), 0);
		ck_assert_int_eq(lexical_load(io, "words", &got, &position), -EUCLEAN);
		ck_assert_int_eq(io_write_full(file, io, bytes + at, 1, at), 0);
	}
	unsigned refused = 0;
	for (unsigned i = 0; i < 300; i++) {
		uint64_t at = 64 + random_u32() % (size - 64);
		uint8_t good = bytes[at];
		bytes[at] ^= (uint8_t)(1 + random_u32() % 255);
		uint64_t length = i % 4 ? size - 64 : random_u32() % (size - 64);
		int rc = lexical_parse(bytes + 64, length, &got);
		ck_assert(rc == 0 || rc == -EUCLEAN);
		refused += rc != 0;
		if (!rc) {
			struct search_hit hits[10];
			unsigned count;
			words_bag_reset(&bag);
			ck_assert_int_eq(words_count(w, "w0q w1q w9q w77q", 16, &bag), 0);
			ck_assert_int_eq(lexical_search(got, &bag, NULL, 10, hits, &count, NULL),
					 0);
			lexical_free(got);
		}
		bytes[at] = good;
	}
	ck_assert_uint_gt(refused, 75);
	free(bytes);
	io->ops->close(file);
	io->ops->unlink(io, "words");
	words_bag_free(&bag);
	words_free(w);
	io_remove(io);
}
END_TEST

START_TEST(test_lexical_survives_lack_of_memory)
{
	struct words_bag bag = {0}, query = {0};
	struct words *w;
	struct lexical *lx, *compacted;
	struct search_hit hits[10];
	unsigned count, failed = 0;

	ck_assert_int_eq(words_new(&w), 0);
	ck_assert_int_eq(lexical_new(&lx), 0);
	ck_assert_int_eq(words_count(w, "common", 6, &query), 0);
	unsigned put = 0;
	for (unsigned i = 0; i < 600; i++) {
		char text[64];
		int n = snprintf(text, sizeof(text), "common word%u other%u", i, i % 7);
		words_bag_reset(&bag);
		ck_assert_int_eq(words_count(w, text, (size_t)n, &bag), 0);
		alloc_fail_arm(1 + i % 3, 0);
		int rc = lexical_put(lx, i, 0, &bag);
		alloc_fail_arm(0, 0);
		ck_assert(rc == 0 || rc == -ENOMEM);
		failed += rc != 0;
		put += rc == 0;
	}
	ck_assert_uint_gt(failed, 5);
	struct search_hit *all = calloc(600, sizeof(*all));
	ck_assert_int_eq(lexical_search(lx, &query, NULL, 600, all, &count, NULL), 0);
	ck_assert_uint_eq(count, put);
	free(all);
	alloc_fail_arm(1, 0);
	ck_assert_int_eq(lexical_search(lx, &query, NULL, 10, hits, &count, NULL), -ENOMEM);
	int rc = -ENOMEM;
	for (unsigned n = 1; rc; n++) {
		int64_t live = alloc_count_live();
		alloc_fail_arm(n, 0);
		rc = lexical_compact(lx, &compacted);
		alloc_fail_arm(0, 0);
		if (rc) {
			ck_assert_int_eq(rc, -ENOMEM);
			ck_assert_int_eq(alloc_count_live(), live);
		}
	}
	lexical_free(compacted);
	lexical_free(lx);
	words_bag_free(&bag);
	words_bag_free(&query);
	words_free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("search_lexical");
	TCase *tc = tcase_create("lexical");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_words_fold_and_stem);
	tcase_add_test(tc, test_words_other_scripts);
	tcase_add_test(tc, test_lexical_equals_the_scan_through_put_replace_delete_compact);
	tcase_add_test(tc, test_lexical_saved_and_loaded_is_the_same);
	tcase_add_test(tc, test_lexical_deleted_words_are_gone_after_compaction);
	tcase_add_test(tc, test_lexical_refuses_damage);
	tcase_add_test(tc, test_lexical_survives_lack_of_memory);
	suite_add_tcase(s, tc);
	return unit_end(s);
}
