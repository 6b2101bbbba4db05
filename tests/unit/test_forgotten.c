/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the proof that a memory is forgotten: marks are found wherever bytes lie and however
 *            they are cut, records wherever they name the memory; what another memory holds is passed
 *            over; no text is taken for a receipt that is none.
 * Threading: one thread.
 */
#include "core/names.h"
#include "core/store/receipt.h"
#include "tests/unit/library.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SHARDS = 2, MEMORY = 16, OTHER = 18, LENGTH = 5000, VALUE = 600 };

static char folder[FOLDER_SIZE], last[MNEME_MESSAGE_SIZE];
static uint8_t uuid[16], text[LENGTH];
static struct mneme *m;

static void text_fill(uint8_t *out, size_t length, uint64_t seed)
{
	for (size_t i = 0; i < length; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		out[i] = (uint8_t)('a' + (seed >> 33) % 26);
	}
}

static struct mneme_receipt *receipt_of(const void *bytes, size_t length)
{
	struct mneme_receipt *r;

	ck_assert_int_eq(mneme_receipt_new(uuid, MEMORY, length, &r), 0);
	ck_assert_int_eq(mneme_receipt_add(r, bytes, length), 0);
	receipt_seal(r);
	return r;
}

static void count(void *arg, size_t mark)
{
	(void)mark;
	++*(unsigned *)arg;
}

/* How many marks are in bytes that come in pieces of that size. */
static unsigned sought(const struct mneme_receipt *r, const uint8_t *bytes, size_t length,
		       size_t piece)
{
	struct receipt_seeker s;
	unsigned found = 0;

	ck_assert_int_eq(receipt_seeker_init(&s, r), 0);
	for (size_t at = 0; at < length; at += piece)
		receipt_seek(&s, bytes + at, length - at < piece ? length - at : piece, count,
			     &found);
	receipt_seeker_fini(&s);
	return found;
}

START_TEST(test_receipt_finds_each_piece)
{
	struct mneme_receipt *r = receipt_of(text, LENGTH);
	const size_t whole = 2 * RECEIPT_WINDOW - 1;

	ck_assert_uint_eq(r->count, LENGTH / RECEIPT_WINDOW + 1);
	for (size_t piece = 1; piece < 100; piece += 7)
		ck_assert_uint_eq(sought(r, text, LENGTH, piece), r->count);
	for (size_t at = 0; at + whole <= LENGTH; at++)
		ck_assert_uint_ge(sought(r, text + at, whole, whole), 1);
	uint8_t other[LENGTH];
	text_fill(other, LENGTH, 99);
	ck_assert_uint_eq(sought(r, other, LENGTH, LENGTH), 0);
	mneme_receipt_free(r);
}
END_TEST

START_TEST(test_receipt_of_little)
{
	static const uint8_t plain[200] = "aaaa";
	struct mneme_receipt *r = receipt_of(text, 20);

	ck_assert_uint_eq(r->count, 1);
	ck_assert_uint_eq(sought(r, text, LENGTH, 64), 1);
	mneme_receipt_free(r);
	r = receipt_of(text, RECEIPT_WINDOW_LEAST - 1);
	ck_assert_uint_eq(r->count, 0);
	mneme_receipt_free(r);
	r = receipt_of(plain, sizeof plain); /* is everywhere */
	ck_assert_uint_eq(r->count, 0);
	mneme_receipt_free(r);
}
END_TEST

START_TEST(test_receipt_is_text)
{
	struct mneme_receipt *r = receipt_of(text, LENGTH), *again;
	size_t length, used;
	char *lines;

	ck_assert_int_eq(mneme_receipt_text(r, &lines, &length), 0);
	ck_assert_int_eq(mneme_receipt_parse(lines, length, &used, &again), 0);
	ck_assert_uint_eq(used, length);
	ck_assert_uint_eq(mneme_receipt_memory(again), MEMORY);
	ck_assert_mem_eq(again->uuid, uuid, sizeof uuid);
	ck_assert_uint_eq(sought(again, text, LENGTH, LENGTH), r->count);
	mneme_receipt_free(again);
	for (size_t cut = 0; cut < length; cut += cut < 200 ? 1 : 97)
		ck_assert_int_eq(mneme_receipt_parse(lines, cut, &used, &again), -EINVAL);
	lines[strlen("mnemefs-receipt ")] = '2';
	ck_assert_int_eq(mneme_receipt_parse(lines, length, &used, &again), -EINVAL);
	mneme_free(lines);
	mneme_receipt_free(r);
}
END_TEST

/* ---- stores ---- */

static void store_begin(enum mneme_compression compression)
{
	struct mneme_create_options create = {
		.shards = SHARDS, .segment_bytes = 65536, .compression = compression};

	folder_make(folder);
	ck_assert_int_eq(mneme_create(folder, &create, NULL), 0);
	ck_assert_int_eq(mneme_open(folder, NULL, &m, NULL), 0);
	mneme_uuid(m, uuid);
}

static void put(uint64_t inode, uint8_t type, const void *sub, uint16_t sub_length,
		const void *value, size_t length)
{
	struct mneme_key key = {.inode = inode, .type = type, .sub = sub, .sub_length = sub_length};

	ck_assert_int_eq(mneme_put(m, &key, value, length, MNEME_DURABILITY_DEFAULT), 0);
}

static void drop(uint64_t inode, uint8_t type, const void *sub, uint16_t sub_length)
{
	struct mneme_key key = {.inode = inode, .type = type, .sub = sub, .sub_length = sub_length};

	ck_assert_int_eq(mneme_delete(m, &key, MNEME_DURABILITY_DEFAULT), 0);
}

static void keep(void *arg, const char *finding, int repaired)
{
	(void)arg;
	(void)repaired;
	snprintf(last, sizeof last, "%s", finding);
}

/* Closes and opens the store around a proof: what it found. */
static uint64_t findings(const struct mneme_receipt *r, struct mneme_forgotten *out)
{
	struct mneme_error error = {""};

	last[0] = 0;
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_msg(!mneme_check_forgotten(folder, r, keep, NULL, out, &error), "%s",
		      error.message);
	ck_assert_int_eq(mneme_open(folder, NULL, &m, NULL), 0);
	return out->findings;
}

static void store_end(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	folder_remove(folder);
}

static void deleted_then_compacted(enum mneme_compression compression)
{
	struct mneme_forgotten seen;
	struct mneme_receipt *r;
	uint8_t other[VALUE];

	store_begin(compression);
	r = receipt_of(text, LENGTH);
	ck_assert_uint_eq(findings(r, &seen), 0);
	text_fill(other, sizeof other, 5);
	put(OTHER, MNEME_TYPE_USER, "o", 1, other, sizeof other);
	put(MEMORY, MNEME_TYPE_USER, "x", 1, text, LENGTH);
	ck_assert_uint_gt(findings(r, &seen), 0);
	ck_assert_uint_eq(seen.marks, r->count);
	drop(MEMORY, MNEME_TYPE_USER, "x", 1);
	ck_assert_uint_gt(findings(r, &seen), 0);
	ck_assert_int_eq(mneme_compact(m, NULL, NULL), 0);
	ck_assert_msg(!findings(r, &seen), "%s", last);
	mneme_receipt_free(r);
	store_end();
}

START_TEST(test_forgotten_after_a_compaction_only)
{
	deleted_then_compacted(MNEME_COMPRESSION_NONE);
}
END_TEST

START_TEST(test_forgotten_in_a_compressed_store)
{
	deleted_then_compacted(MNEME_COMPRESSION_ZSTD);
}
END_TEST

START_TEST(test_forgotten_is_not_what_is_named)
{
	struct mneme_forgotten seen;
	struct mneme_receipt *r;
	uint8_t sub[24] = {0}, value[24] = {MEMORY};
	const struct {
		uint8_t type;
		unsigned at, length; /* where in the sub-key the memory stands; 24: in the value */
	} named[] = {{MNEME_TYPE_DENTRY, 24, 8},
		     {MNEME_TYPE_LINK, 24, NAMES_LINK_SUB},
		     {MNEME_TYPE_BACKLINK, 0, NAMES_BACKLINK_SUB},
		     {MNEME_TYPE_MENTION, 8, NAMES_MENTION_SUB},
		     {MNEME_TYPE_ORPHAN, 0, 8}};

	store_begin(MNEME_COMPRESSION_NONE);
	r = receipt_of(text, LENGTH);
	for (unsigned i = 0; i < sizeof named / sizeof named[0]; i++) {
		memset(sub, 0, sizeof sub);
		if (named[i].at < sizeof sub)
			names_put_be64(sub + named[i].at, MEMORY);
		put(OTHER, named[i].type, sub, (uint16_t)named[i].length, value, sizeof value);
		ck_assert_uint_gt(findings(r, &seen), 0);
		drop(OTHER, named[i].type, sub, (uint16_t)named[i].length);
		ck_assert_int_eq(mneme_compact(m, NULL, NULL), 0);
		ck_assert_msg(!findings(r, &seen), "%u: %s", i, last);
	}
	mneme_receipt_free(r);
	store_end();
}
END_TEST

/* The same bytes in another memory, there across two chunks, are that one's. */
START_TEST(test_forgotten_passes_over_what_others_hold)
{
	static uint8_t large[2 * MNEME_CHUNK_SIZE];
	struct mneme_forgotten seen;
	struct mneme_receipt *r;
	uint8_t sub[8];

	store_begin(MNEME_COMPRESSION_NONE);
	r = receipt_of(text, LENGTH);
	text_fill(large, sizeof large, 3);
	memcpy(large + MNEME_CHUNK_SIZE - 1001, text, LENGTH);
	for (uint64_t i = 0; i < 2; i++) {
		names_put_be64(sub, i);
		put(OTHER, MNEME_TYPE_CHUNK, sub, 8, large + i * MNEME_CHUNK_SIZE,
		    MNEME_CHUNK_SIZE);
	}
	ck_assert_msg(!findings(r, &seen), "%s", last);
	ck_assert_uint_eq(seen.shared, r->count);
	ck_assert_uint_eq(seen.shared_by, OTHER);
	r->uuid[0] ^= 1;
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(mneme_check_forgotten(folder, r, NULL, NULL, NULL, NULL), -ESTALE);
	ck_assert_int_eq(mneme_open(folder, NULL, &m, NULL), 0);
	mneme_receipt_free(r);
	store_end();
}
END_TEST

static void begin(void)
{
	text_fill(text, LENGTH, 1);
}

UNIT_MAIN_WITH("forgotten", begin, NULL, test_receipt_finds_each_piece, test_receipt_of_little,
	       test_receipt_is_text, test_forgotten_after_a_compaction_only,
	       test_forgotten_in_a_compressed_store, test_forgotten_is_not_what_is_named,
	       test_forgotten_passes_over_what_others_hold)
