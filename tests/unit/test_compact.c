/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   after a compaction no byte of what was deleted or overwritten is in any file of the store:
 *            values, keys, what is left of keys in inner pages, log, dictionary; and all else is there.
 * Threading: one thread.
 */
#include "core/store/check.h"
#include "core/store/compact.h"
#include "core/store/packer.h"
#include "core/store/packing.h"
#include "core/store/store.h"
#include "tests/unit/library.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

enum { SHARDS = 2, KEYS = 400, VALUE = 600, LARGE = 2 * 4096, TEXTS = 640, TEXT = 2000 };
#define GONE "qvanishedx" /* in all that goes, and in nothing else */

static char folder[FOLDER_SIZE];
static struct mneme *m;

static int store_open_at(int read_only, struct mneme **out)
{
	struct mneme_options options = {.dirty_bytes_max = 4 << 20, .read_only = read_only};
	struct store_tuning tuning = {
		.heap_reserve = 256 << 20, .no_threads = 1, .run_least = LARGE};
	struct mneme_error error = {""};
	struct io *io;

	ck_assert_int_eq(io_posix_new(folder, 0, &io), 0);
	return store_open(io, &options, &tuning, out, &error);
}

static void store_begin(enum mneme_compression compression)
{
	struct mneme_create_options create = {
		.shards = SHARDS, .segment_bytes = 65536, .compression = compression};

	folder_make(folder);
	ck_assert_int_eq(mneme_create(folder, &create, NULL), 0);
	ck_assert_int_eq(store_open_at(0, &m), 0);
}

static void print_finding(void *arg, const char *finding, int repaired)
{
	(void)arg;
	fprintf(stderr, "finding: %s%s\n", finding, repaired ? " (repaired)" : "");
}

static void store_end(void)
{
	struct mneme_check_result result;
	struct mneme_error error = {""};

	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(mneme_check(folder, 0, print_finding, NULL, &result, &error), 0);
	ck_assert_uint_eq(result.findings, 0);
	folder_remove(folder);
}

/* How many files have the word. */
static int files_with(const char *word)
{
	char command[FOLDER_SIZE + 100], line[16] = "";

	snprintf(command, sizeof command, "grep -raF -l -- '%s' '%s' | wc -l", word, folder);
	FILE *pipe = popen(command, "r");
	ck_assert_ptr_nonnull(pipe);
	ck_assert_ptr_nonnull(fgets(line, sizeof line, pipe));
	ck_assert_int_eq(pclose(pipe), 0);
	return atoi(line);
}

/* Names begin with `lead`; all are in one shard, in the order of their numbers. */
static struct mneme_key key_of(const char *lead, unsigned i, char sub[32])
{
	return (struct mneme_key){.inode = 16,
				  .type = MNEME_TYPE_USER,
				  .sub = sub,
				  .sub_length = (uint16_t)snprintf(sub, 32, "%s-%04u", lead, i)};
}

static void put(const char *lead, unsigned i, const char *word, size_t length)
{
	static char value[LARGE];
	char sub[32];
	struct mneme_key key = key_of(lead, i, sub);

	for (size_t at = 0; at < length; at++)
		value[at] = at % 32 < strlen(word) ? word[at % 32] : (char)('a' + (at * i) % 26);
	ck_assert_int_eq(mneme_put(m, &key, value, length, MNEME_DURABILITY_BUFFERED), 0);
}

static void delete (const char *lead, unsigned i)
{
	char sub[32];
	struct mneme_key key = key_of(lead, i, sub);

	ck_assert_int_eq(mneme_delete(m, &key, MNEME_DURABILITY_BUFFERED), 0);
}

static void holds(const char *lead, unsigned i, const char *word, size_t length)
{
	static char value[LARGE];
	char sub[32];
	struct mneme_key key = key_of(lead, i, sub);
	size_t found;

	ck_assert_int_eq(mneme_get(m, &key, value, sizeof value, &found), 0);
	ck_assert_uint_eq(found, length);
	ck_assert_int_eq(memcmp(value, word, strlen(word)), 0);
}

static struct mneme_compacted compact(void)
{
	struct mneme_compacted done;

	ck_assert_int_eq(compact_run(m, &done), 0);
	return done;
}

/* What lies beside each other in leaves; the keys that go are in separators. */
static void fill(void)
{
	for (unsigned i = 0; i < KEYS; i++) {
		put("a", i, i % 3 ? "stays" : GONE, VALUE);
		put("b" GONE, i, "none", 40);
		put("c", i, "stays", VALUE);
		if (i % 50 == 0)
			put("d", i, GONE, LARGE);
	}
	ck_assert_int_eq(mneme_sync(m), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
}

static void spoil(void)
{
	for (unsigned i = 0; i < KEYS; i++) {
		if (i % 3 == 0)
			put("a", i, "other", i % 2 ? VALUE : 90);
		delete ("b" GONE, i);
		if (i % 100 == 0)
			delete ("d", i);
		else if (i % 50 == 0)
			put("d", i, "other", LARGE);
	}
}

static void holds_the_rest(void)
{
	for (unsigned i = 0; i < KEYS; i++) {
		holds("a", i, i % 3 ? "stays" : "other", i % 3 || i % 2 ? VALUE : 90);
		holds("c", i, "stays", VALUE);
		if (i % 100 == 50)
			holds("d", i, "other", LARGE);
	}
}

START_TEST(test_compact_leaves_no_byte_of_what_is_gone)
{
	store_begin(MNEME_COMPRESSION_NONE);
	fill();
	spoil();
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_ge(files_with(GONE), 2); /* heap and log */
	ck_assert_uint_gt(compact().cleaned_bytes, 0);
	ck_assert_int_eq(files_with(GONE), 0);
	ck_assert_int_ge(files_with("stays"), 1);
	holds_the_rest();
	/* What has nothing to clean writes nothing over. */
	(void)compact();
	ck_assert_uint_le(compact().cleaned_bytes, 64 << 10);
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(store_open_at(0, &m), 0);
	holds_the_rest();
	store_end();
}
END_TEST

/* A leaf that began with a key that is gone has that on its left in the page above. */
/* Pages that are set aside for values to come had others in them. */
START_TEST(test_compact_cleans_what_is_set_aside)
{
	enum { VALUES = 200 };
	uint64_t inode = 16;
	struct mneme_txn *txn;

	store_begin(MNEME_COMPRESSION_NONE);
	for (unsigned i = 0; i < VALUES; i++)
		put("gone", i, GONE, LARGE);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	for (unsigned i = 0; i < VALUES; i++)
		delete ("gone", i);
	for (int i = 0; i < 2; i++) {
		put("kept", (unsigned)i, "word", 100);
		ck_assert_int_eq(mneme_checkpoint(m), 0);
	}
	ck_assert_int_eq(mneme_txn_begin_locked(m, 0, &inode, 1, &txn), 0);
	ck_assert_int_eq(mneme_txn_reserve(txn, inode, VALUES), 0);
	ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED), 0);
	ck_assert_uint_eq(m->aside.quads, VALUES);
	ck_assert_int_gt(files_with(GONE), 0);
	compact();
	ck_assert_int_eq(files_with(GONE), 0);
	ck_assert_uint_eq(m->aside.quads, VALUES);
	ck_assert_int_eq(mneme_txn_begin_locked(m, 0, &inode, 1, &txn), 0);
	ck_assert_int_eq(mneme_txn_reserve(txn, inode, -VALUES), 0);
	ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED), 0);
	store_end();
}
END_TEST

START_TEST(test_compact_makes_separators_of_keys_that_are_there)
{
	store_begin(MNEME_COMPRESSION_NONE);
	for (unsigned i = 0; i < 50; i++)
		put("a", i, "stays", VALUE);
	for (unsigned i = 0; i < KEYS; i++)
		put("b" GONE, i, "none", 40);
	for (unsigned i = 0; i < 50; i++)
		put("c", i, "stays", VALUE);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	for (unsigned i = 0; i < KEYS; i++)
		delete ("b" GONE, i);
	(void)compact();
	ck_assert_int_eq(files_with(GONE), 0);
	for (unsigned i = 0; i < 50; i++) {
		holds("a", i, "stays", VALUE);
		holds("c", i, "stays", VALUE);
	}
	store_end();
}
END_TEST

/* Log segments are used again by who writes on; a crash then finds what was written. */
START_TEST(test_compact_the_log_goes_on)
{
	store_begin(MNEME_COMPRESSION_NONE);
	fill();
	for (unsigned i = 0; i < 200; i++)
		put("e", i, GONE, LARGE);
	spoil();
	for (unsigned i = 0; i < 200; i++)
		delete ("e", i);
	(void)compact();
	ck_assert_int_eq(files_with(GONE), 0);
	for (unsigned i = 0; i < 100; i++)
		put("e", i, "later", LARGE);
	ck_assert_int_eq(mneme_sync(m), 0);
	store_abandon(m);
	ck_assert_int_eq(store_open_at(0, &m), 0);
	for (unsigned i = 0; i < 100; i++)
		holds("e", i, "later", LARGE);
	holds_the_rest();
	store_end();
}
END_TEST

START_TEST(test_compact_says_what_a_reader_keeps)
{
	struct mneme *reader;

	store_begin(MNEME_COMPRESSION_NONE);
	fill();
	ck_assert_int_eq(store_open_at(1, &reader), 0);
	spoil();
	ck_assert_uint_gt(compact().kept_bytes, 0);
	ck_assert_int_ge(files_with(GONE), 1);
	struct mneme *writer = m;
	m = reader;
	for (unsigned i = 0; i < KEYS; i += 3)
		holds("a", i, GONE, VALUE);
	ck_assert_int_eq(mneme_close(reader), 0);
	m = writer;
	ck_assert_uint_eq(compact().kept_bytes, 0);
	ck_assert_int_eq(files_with(GONE), 0);
	holds_the_rest();
	store_end();
}
END_TEST

START_TEST(test_compact_of_a_store_that_is_only_read)
{
	struct mneme_compacted done;

	store_begin(MNEME_COMPRESSION_NONE);
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(store_open_at(1, &m), 0);
	ck_assert_int_eq(compact_run(m, &done), -EROFS);
	store_end();
}
END_TEST

static void text_put(unsigned i)
{
	static const char *const words[] = {"memory ", "harbour ", "winter ", "letter ",
					    "window ", "evening ", "nobody ", "river ",
					    "kept ",   "mother "};
	char text[TEXT + 32], sub[32];
	struct mneme_key key = key_of("t", i, sub);
	uint32_t state = i + 1;
	int used = 0;

	while (used < TEXT) {
		state = state * 1664525u + 1013904223u;
		used += sprintf(text + used, "%s",
				i % 2 && state >> 30 == 0 ? GONE " " : words[state % 10]);
	}
	ck_assert_int_eq(mneme_put(m, &key, text, TEXT, MNEME_DURABILITY_BUFFERED), 0);
}

START_TEST(test_compact_takes_samples_out_of_the_dictionary)
{
	struct packer_stats stats;
	char sub[32], text[TEXT];
	size_t length;
	int error;

	store_begin(MNEME_COMPRESSION_ZSTD);
	for (unsigned i = 0; i < TEXTS * 2; i++)
		text_put(i);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(packer_run(m), 0);
	ck_assert_int_eq(packing_state(m->packing), PACKING_DURABLE);
	for (unsigned i = 1; i < TEXTS * 2; i += 2)
		delete ("t", i);
	/* The dictionary has it, and only that. */
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	const uint8_t *dictionary = heap_value(&m->heap, &m->super.dictionary[0], NULL, &error);
	ck_assert_ptr_nonnull(dictionary);
	ck_assert_ptr_nonnull(
		memmem(dictionary, m->super.dictionary[0].length, GONE, strlen(GONE)));
	(void)compact();
	ck_assert_int_eq(files_with(GONE), 0);
	ck_assert_int_eq(packing_state(m->packing), PACKING_NONE);
	ck_assert_uint_eq(m->super.dictionary[0].address, 0);
	for (int turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < TEXTS * 2; i += 2) {
			struct mneme_key key = key_of("t", i, sub);
			ck_assert_int_eq(mneme_get(m, &key, text, sizeof text, &length), 0);
			ck_assert_uint_eq(length, TEXT);
		}
		/* Packed again, with a dictionary of what is there. */
		ck_assert_int_eq(packer_run(m), 0);
		ck_assert_int_eq(packing_state(m->packing), PACKING_DURABLE);
	}
	packer_get_stats(m, &stats);
	ck_assert_uint_gt(stats.values, TEXTS * 2);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(files_with(GONE), 0);
	store_end();
}
END_TEST

UNIT_MAIN("compact", test_compact_leaves_no_byte_of_what_is_gone,
	  test_compact_cleans_what_is_set_aside,
	  test_compact_makes_separators_of_keys_that_are_there, test_compact_the_log_goes_on,
	  test_compact_says_what_a_reader_keeps, test_compact_of_a_store_that_is_only_read,
	  test_compact_takes_samples_out_of_the_dictionary)
