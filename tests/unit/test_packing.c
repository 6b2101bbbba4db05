/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   small values packed into their leaves: what a key holds stays the same through packing,
 *            every change, a crash and reopening; one copy of the dictionary is enough; damage is told.
 * Threading: one thread.
 */
#include "core/store/check.h"
#include "core/store/commit.h"
#include "core/store/io_sim.h"
#include "core/store/packer.h"
#include "core/store/packing.h"
#include "core/store/store.h"
#include "core/store/tree.h"
#include "tests/unit/check_seeds.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { KEYS = 640, SHARDS = 2, VALUE_MOST = 9000 };

/* What the store has to hold; length -1: nothing. */
static struct {
	uint8_t bytes[VALUE_MOST];
	int length;
} texts[KEYS];

static struct sim *disk;
static struct mneme *m;

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static void text_make(uint8_t *out, int length, uint32_t seed)
{
	static const char *const words[] = {
		"memory ",  "harbour ", "winter ",  "letter ",  "the ",     "of ",     "and ",
		"because ", "window ",  "evening ", "nobody ",  "river ",   "in ",     "was ",
		"kept ",    "a ",       "mother ",  "Thursday", "brother",  "kitchen", "until ",
		"never ",   "it ",      "had ",     "garden ",  "morning ", "quietly", "paper, ",
		"with ",    "from ",    "said ",    "to "};
	int used = 0;

	while (used < length) {
		const char *word = words[next_random(&seed) % (sizeof words / sizeof words[0])];
		for (; *word && used < length; word++)
			out[used++] = (uint8_t)*word;
	}
}

static struct mneme_key key_of(unsigned i, uint8_t sub[4])
{
	sub[0] = sub[1] = 0;
	sub[2] = (uint8_t)(i >> 8);
	sub[3] = (uint8_t)i;
	return (struct mneme_key){
		.inode = 16 + i % 5, .type = MNEME_TYPE_USER, .sub = sub, .sub_length = 4};
}

static uint64_t findings(void *report_arg, mneme_check_report *report, unsigned flags)
{
	struct mneme_check_result result;
	struct mneme_error error = {""};
	struct io *io;

	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_msg(store_check(io, flags, report, report_arg, &result, &error) == 0, "%s",
		      error.message);
	io->ops->destroy(io);
	return result.findings;
}

static void print_finding(void *arg, const char *finding, int repaired)
{
	(void)arg;
	fprintf(stderr, "finding: %s%s\n", finding, repaired ? " (repaired)" : "");
}

static int store_try(int read_only)
{
	struct mneme_options options = {.dirty_bytes_max = 4 << 20, .read_only = read_only};
	struct store_tuning tuning = {.heap_reserve = 64 << 20, .no_threads = 1};
	struct mneme_error error = {""};
	struct io *io;

	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	return store_open(io, &options, &tuning, &m, &error);
}

static void store_reopen(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_uint_eq(findings(NULL, print_finding, 0), 0);
	ck_assert_int_eq(store_try(0), 0);
}

/* The power fails once all is synced: the log is replayed. */
static void store_crash(void)
{
	ck_assert_int_eq(mneme_sync(m), 0);
	store_abandon(m);
	ck_assert_uint_eq(findings(NULL, print_finding, 0), 0);
	ck_assert_int_eq(store_try(0), 0);
}

static void put(unsigned i, int length, uint32_t seed)
{
	uint8_t sub[4];
	struct mneme_key key = key_of(i, sub);

	text_make(texts[i].bytes, length, seed);
	texts[i].length = length;
	ck_assert_int_eq(mneme_put(m, &key, texts[i].bytes, length, MNEME_DURABILITY_BUFFERED), 0);
}

/* Texts of 1,050 to 4,096 bytes, all of them packed, but for the last 40: those are noise. */
static void store_packed(void)
{
	struct mneme_create_options create = {
		.shards = SHARDS, .segment_bytes = 65536, .compression = MNEME_COMPRESSION_ZSTD};
	struct packer_stats stats;
	uint32_t state = 1;
	struct io *io;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_int_eq(store_create(io, &create, NULL), 0);
	io->ops->destroy(io);
	ck_assert_int_eq(store_try(0), 0);
	for (unsigned i = 0; i < KEYS; i++) {
		uint8_t sub[4];
		struct mneme_key key = key_of(i, sub);
		put(i, 1050 + (int)(i * 37 % 3047), i);
		for (int k = 0; i >= KEYS - 40 && k < texts[i].length; k++)
			texts[i].bytes[k] = (uint8_t)next_random(&state);
		ck_assert_int_eq(mneme_put(m, &key, texts[i].bytes, texts[i].length, 0), 0);
	}
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(packer_run(m), 0);
	ck_assert_int_eq(packing_state(m->packing), PACKING_DURABLE);
	packer_get_stats(m, &stats);
	ck_assert_uint_eq(stats.values, KEYS - 40);
	ck_assert_uint_gt(stats.saved_bytes, (KEYS - 40) * 3000ull);
}

static void store_end(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
}

static int value_get(unsigned i, uint8_t *out, size_t *length)
{
	uint8_t sub[4];
	struct mneme_key key = key_of(i, sub);

	return mneme_get(m, &key, out, VALUE_MOST, length);
}

static int one_more(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	const uint8_t *sub = key->sub;
	unsigned i = sub[2] << 8 | sub[3];

	ck_assert_int_eq(texts[i].length, (int)length);
	ck_assert_int_eq(memcmp(texts[i].bytes, value, length), 0);
	++*(unsigned *)arg;
	return 0;
}

/* By get and by scan: what is expected, and nothing else. */
static void store_holds(void)
{
	static uint8_t seen[VALUE_MOST];
	unsigned there = 0, scanned = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		size_t length;
		int rc = value_get(i, seen, &length);
		ck_assert_msg(rc == (texts[i].length < 0 ? -ENOENT : 0), "key %u: %d", i, rc);
		there += rc == 0;
		ck_assert_msg(rc || ((int)length == texts[i].length &&
				     !memcmp(seen, texts[i].bytes, length)),
			      "key %u has other bytes", i);
	}
	for (uint32_t s = 0; s < SHARDS; s++) {
		struct mneme_key first = {.inode = s};
		struct mneme_key last = {.inode = UINT64_MAX - (SHARDS - 1) + s, .type = 0xff};
		ck_assert_int_eq(mneme_scan(m, &first, &last, 0, one_more, &scanned), 0);
	}
	ck_assert_uint_eq(scanned, there);
}

static uint64_t heap_used(void)
{
	struct mneme_stats stats;

	mneme_get_stats(m, &stats);
	return stats.heap_bytes - stats.heap_free_bytes;
}

START_TEST(test_packing_keeps_every_value_and_gives_pages_back)
{
	store_packed();
	store_holds();
	uint64_t before = heap_used();
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_uint_lt(heap_used(), before / 2);
	ck_assert_uint_eq(m->super.incompatible, FMT_INCOMPAT_ZSTD | FMT_INCOMPAT_PACKED);
	store_reopen();
	store_holds();
	/* Nothing is left to do, also for the noise that does not fit. */
	struct packer_stats stats;
	ck_assert_int_eq(packer_run(m), 0);
	packer_get_stats(m, &stats);
	ck_assert_uint_eq(stats.values, 0);
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(store_try(1), 0);
	store_holds();
	store_end();
}
END_TEST

/* A pack is in no log: a crash before the checkpoint leaves the values where they were. */
START_TEST(test_packing_is_undone_by_a_crash)
{
	struct packer_stats stats;

	store_packed();
	store_crash();
	store_holds();
	ck_assert_int_eq(packing_state(m->packing), PACKING_DURABLE);
	ck_assert_int_eq(packer_run(m), 0);
	packer_get_stats(m, &stats);
	ck_assert_uint_eq(stats.values, KEYS - 40);
	store_holds();
	store_end();
}
END_TEST

/* ---- changes ---- */

enum { CHANGES = 10 };

/* Change number `kind` of key i, in the transaction and of what is expected. */
static void change(struct mneme_txn *txn, unsigned i, unsigned kind)
{
	static uint8_t patch[KEYS][VALUE_MOST];
	static const struct {
		char op;
		int offset, length;
	} changes[CHANGES] = {{'p', 100, 30}, {'p', 4000, 200}, {'p', 700, 6000}, {'t', 900, 0},
			      {'t', 1040, 0}, {'t', 0, 0},      {'t', 5000, 0},   {'w', 0, 1030},
			      {'w', 0, 20},   {'d', 0, 0}};
	int offset = changes[kind].offset, length = changes[kind].length;
	uint8_t sub[4];
	struct mneme_key key = key_of(i, sub);

	text_make(patch[i], length, i + 9000);
	switch (changes[kind].op) {
	case 'p':
		ck_assert_int_eq(mneme_txn_patch_borrowed(txn, &key, offset, patch[i], length), 0);
		if (offset > texts[i].length)
			memset(texts[i].bytes + texts[i].length, 0, offset - texts[i].length);
		memcpy(texts[i].bytes + offset, patch[i], length);
		if (offset + length > texts[i].length)
			texts[i].length = offset + length;
		break;
	case 't':
		ck_assert_int_eq(mneme_txn_truncate(txn, &key, offset), 0);
		if (texts[i].length > offset)
			texts[i].length = offset;
		break;
	case 'w':
		ck_assert_int_eq(mneme_txn_put(txn, &key, patch[i], length), 0);
		memcpy(texts[i].bytes, patch[i], length);
		texts[i].length = length;
		break;
	default:
		ck_assert_int_eq(mneme_txn_delete(txn, &key), 0);
		texts[i].length = -1;
	}
}

/* `together` changes in each transaction. */
static void change_all(unsigned together)
{
	for (unsigned i = 0; i < KEYS; i += together) {
		struct mneme_txn *txn;
		int rc;
		ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
		for (unsigned k = i; k < i + together && k < KEYS; k++)
			change(txn, k, (k / 3) % CHANGES);
		rc = mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED);
		ck_assert_int_eq(rc, 0);
	}
	store_holds();
	store_crash();
	store_holds();
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(packer_run(m), 0);
	store_holds();
	store_reopen();
	store_holds();
}

START_TEST(test_packing_and_one_change)
{
	store_packed();
	change_all(1);
	store_end();
}
END_TEST

START_TEST(test_packing_and_many_changes_at_once)
{
	store_packed();
	store_reopen();
	change_all(32);
	store_end();
}
END_TEST

START_TEST(test_packing_and_ranges)
{
	struct mneme_txn *txn;

	store_packed();
	store_reopen();
	for (unsigned inode = 16; inode < 21; inode += 2) {
		struct mneme_key first = {.inode = inode, .type = MNEME_TYPE_USER};
		struct mneme_key last = {.inode = inode, .type = MNEME_TYPE_USER + 1};
		ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
		ck_assert_int_eq(mneme_txn_delete_range(txn, &first, &last), 0);
		ck_assert_int_eq(mneme_txn_commit(txn, 0), 0);
		for (unsigned i = inode - 16; i < KEYS; i += 5)
			texts[i].length = -1;
	}
	store_holds();
	store_crash();
	store_holds();
	store_end();
}
END_TEST

/* The reference of a value that lies outside of its leaf, and its packed form. */
static uint32_t packed_form(unsigned i, struct fmt_value *v, uint8_t *packed)
{
	uint8_t sub[4], bytes[FMT_KEY_MAX];
	struct mneme_key key = key_of(i, sub);
	struct page_key encoded = {bytes, store_encode_key(&key, bytes)};
	struct tree_path path;
	enum page_kind kind;
	uint32_t length;

	ck_assert_int_eq(tree_seek(m, store_shard(m, key.inode), encoded, &path), 0);
	ck_assert_int_eq(path.found, 1);
	const uint8_t *payload = page_value(path.pages[path.depth - 1],
					    path.positions[path.depth - 1], &length, &kind);
	ck_assert_int_eq(kind, PAGE_INDIRECT);
	memcpy(v, payload, sizeof *v);
	length = packing_make(m->packing, texts[i].bytes, texts[i].length, 900, packed);
	ck_assert_uint_gt(length, 0);
	return length;
}

static int pack_one(unsigned i, const struct fmt_value *was, const uint8_t *packed, uint32_t length)
{
	uint8_t sub[4], bytes[FMT_KEY_MAX];
	struct mneme_key key = key_of(i, sub);
	struct page_key encoded = {bytes, store_encode_key(&key, bytes)};

	return commit_pack(m, encoded, was, packed, length);
}

/* A value that has changed between being looked at and being packed is not put back. */
START_TEST(test_packing_does_not_bring_back_an_older_value)
{
	uint8_t packed[3][FMT_CELL_MAX];
	struct fmt_value was[3];
	uint32_t length[3];
	uint8_t sub[4];
	struct mneme_key key = key_of(8, sub);

	store_packed();
	for (unsigned i = 0; i < 3; i++)
		put(7 + i, 2000, i + 500);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	for (unsigned i = 0; i < 3; i++)
		length[i] = packed_form(7 + i, &was[i], packed[i]);
	put(7, 2000, 600);
	ck_assert_int_eq(mneme_delete(m, &key, 0), 0);
	texts[8].length = -1;
	ck_assert_int_eq(pack_one(7, &was[0], packed[0], length[0]), -ESTALE);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(pack_one(7, &was[0], packed[0], length[0]), -ESTALE);
	ck_assert_int_eq(pack_one(8, &was[1], packed[1], length[1]), -ESTALE);
	ck_assert_int_eq(pack_one(9, &was[2], packed[2], length[2]), 0);
	ck_assert_int_eq(pack_one(9, &was[2], packed[2], length[2]), -ESTALE);
	store_holds();
	store_reopen();
	store_holds();
	store_end();
}
END_TEST

/* Puts between the steps of a pass. */
START_TEST(test_packing_leaves_what_changes_alone)
{
	store_packed();
	for (unsigned i = 0; i < KEYS; i++)
		put(i, texts[i].length, i + 20000);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	for (int rc = 1, i = 0; rc > 0; i++) {
		rc = packer_step(m);
		ck_assert_int_ge(rc, 0);
		put(i * 7 % KEYS, 1500 + i, i);
	}
	store_holds();
	store_crash();
	store_holds();
	store_end();
}
END_TEST

/* Where the arena is in use by others a step waits. */
START_TEST(test_packing_gives_way)
{
	static uint8_t bytes[60000];

	store_packed();
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	for (unsigned i = 0; i < KEYS; i++)
		put(i, texts[i].length, i + 30000);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	for (unsigned i = 0; i < 30; i++) {
		struct mneme_key key = {.inode = 1000 + i, .type = MNEME_TYPE_USER};
		ck_assert_int_eq(mneme_put(m, &key, bytes, sizeof bytes, 0), 0);
	}
	ck_assert_int_eq(packer_step(m), -EBUSY);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(packer_step(m), 1);
	store_end();
}
END_TEST

/* ---- damage ---- */

static void copy_damage(unsigned copy)
{
	struct image image;

	image_open(&image, disk);
	ck_assert_uint_ne(image.super->dictionary[copy].address, 0);
	image.heap[image.super->dictionary[copy].address * FMT_PAGE_SIZE + 77] ^= 1;
}

static void count_lost(void *arg, const char *finding, int repaired)
{
	*(unsigned *)arg += strstr(finding, "lost: ") == finding;
	(void)repaired;
}

START_TEST(test_packing_needs_one_copy_of_the_dictionary)
{
	unsigned lost = 0;

	store_packed();
	for (unsigned copy = 0; copy < 2; copy++) {
		ck_assert_int_eq(mneme_close(m), 0);
		copy_damage(copy);
		ck_assert_int_eq(store_try(0), 0);
		store_holds();
		ck_assert_int_eq(mneme_close(m), 0);
		ck_assert_uint_eq(findings(&lost, count_lost, 0), 1);
		unsigned flags = STORE_CHECK_REPAIR | MNEME_CHECK_LOSE_NOTHING;
		ck_assert_uint_eq(findings(&lost, count_lost, flags), 1);
		ck_assert_uint_eq(lost, 0);
		ck_assert_uint_eq(findings(NULL, print_finding, 0), 0);
		/* The next checkpoint writes the missing copy. */
		ck_assert_int_eq(store_try(0), 0);
		ck_assert_uint_eq(m->super.dictionary[copy].address, 0);
		put(3, 1800, copy);
		ck_assert_int_eq(mneme_checkpoint(m), 0);
		ck_assert_uint_ne(m->super.dictionary[copy].address, 0);
		store_reopen();
		store_holds();
	}
	store_end();
}
END_TEST

START_TEST(test_packing_without_the_dictionary_is_damage)
{
	static uint8_t seen[VALUE_MOST];
	unsigned refused = 0, lost = 0;
	size_t length;

	store_packed();
	put(1, 30, 1);
	ck_assert_int_eq(mneme_close(m), 0);
	copy_damage(0);
	copy_damage(1);
	ck_assert_int_eq(store_try(0), 0);
	for (unsigned i = 0; i < KEYS; i++) {
		int rc = value_get(i, seen, &length);
		ck_assert_msg(rc == 0 || rc == -EUCLEAN, "key %u: %d", i, rc);
		refused += rc < 0;
		if (rc == 0)
			ck_assert_int_eq(memcmp(seen, texts[i].bytes, length), 0);
	}
	ck_assert_uint_eq(refused, KEYS - 40 - 1);
	/* What is packed can be replaced, not changed in part. */
	put(5, 1700, 5);
	uint8_t sub[4];
	struct mneme_key key = key_of(6, sub);
	struct mneme_txn *txn;
	ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
	ck_assert_int_eq(mneme_txn_patch_borrowed(txn, &key, 5, "patch", 5), 0);
	ck_assert_int_eq(mneme_txn_commit(txn, 0), -EUCLEAN);
	ck_assert_int_eq(packer_run(m), 0);
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_uint_ge(findings(NULL, NULL, 0), KEYS - 42);
	findings(&lost, count_lost, STORE_CHECK_REPAIR);
	ck_assert_uint_eq(lost, KEYS - 42);
	ck_assert_uint_eq(findings(NULL, print_finding, 0), 0);
	ck_assert_int_eq(store_try(0), 0);
	ck_assert_int_eq(packing_state(m->packing), PACKING_NONE);
	ck_assert_int_eq(value_get(5, seen, &length), 0);
	store_end();
}
END_TEST

/* The first packed cell of a tree: its payload. */
static uint8_t *packed_cell(const struct image *image, uint64_t reference)
{
	struct fmt_page *page = image_page(image, reference);
	uint8_t *found = NULL;

	for (unsigned i = 0; i < page->count && !found; i++) {
		enum page_kind kind;
		uint32_t length;
		if (page->level) {
			found = packed_cell(image, page_child(page, i));
			continue;
		}
		const uint8_t *payload = page_value(page, i, &length, &kind);
		if (kind == PAGE_PACKED)
			found = (uint8_t *)(uintptr_t)payload;
	}
	return found;
}

/* Every field of the head, with right checksums all around. */
START_TEST(test_packing_takes_nothing_on_trust)
{
	static const struct {
		unsigned at;
		uint32_t value;
		unsigned bytes;
	} edits[] = {{offsetof(struct fmt_packed, crc_plain), 77, 4},
		     {offsetof(struct fmt_packed, length), 0, 4},
		     {offsetof(struct fmt_packed, length), 1049, 4},
		     {offsetof(struct fmt_packed, length), 4097, 4},
		     {offsetof(struct fmt_packed, length), 69632, 4},
		     {offsetof(struct fmt_packed, length), 0xffffffff, 4},
		     {offsetof(struct fmt_packed, stored), 0, 2},
		     {offsetof(struct fmt_packed, stored), 20, 2},
		     {offsetof(struct fmt_packed, stored), 0xffff, 2},
		     {offsetof(struct fmt_packed, dictionary), 0, 2},
		     {offsetof(struct fmt_packed, dictionary), 2, 2},
		     {sizeof(struct fmt_packed), 0, 4},
		     {sizeof(struct fmt_packed) + 8, 0xffffffff, 4}};
	static uint8_t seen[VALUE_MOST];

	store_packed();
	ck_assert_int_eq(mneme_close(m), 0);
	struct sim *sound = disk;
	for (size_t e = 0; e < sizeof edits / sizeof edits[0]; e++) {
		struct image image;
		unsigned refused = 0, lost = 0;
		size_t length;
		ck_assert_int_eq(sim_clone(sound, &disk), 0);
		image_open(&image, disk);
		uint8_t *cell = packed_cell(&image, image.super->roots[0]);
		ck_assert_ptr_nonnull(cell);
		memcpy(cell + edits[e].at, &edits[e].value, edits[e].bytes);
		image_seal(&image, 0);
		ck_assert_msg(findings(NULL, NULL, 0) == 1, "edit %zu", e);
		ck_assert_int_eq(store_try(0), 0);
		for (unsigned i = 0; i < KEYS; i++) {
			uint8_t sub[4];
			struct mneme_key key = key_of(i, sub);
			struct mneme_txn *txn;
			int rc = value_get(i, seen, &length);
			if (rc == 0)
				continue;
			ck_assert_msg(rc == -EUCLEAN, "edit %zu: %d", e, rc);
			refused++;
			ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
			ck_assert_int_eq(mneme_txn_truncate(txn, &key, 1), 0);
			ck_assert_int_eq(mneme_txn_commit(txn, 0), -EUCLEAN);
			texts[i].length = -1;
		}
		ck_assert_msg(refused == 1, "edit %zu: %u refused", e, refused);
		ck_assert_int_eq(mneme_close(m), 0);
		findings(&lost, count_lost, STORE_CHECK_REPAIR);
		ck_assert_uint_eq(lost, 1);
		ck_assert_uint_eq(findings(NULL, print_finding, 0), 0);
		ck_assert_int_eq(store_try(0), 0);
		store_holds();
		store_end();
		for (unsigned i = 0; i < KEYS; i++)
			if (texts[i].length < 0)
				texts[i].length = 1050 + (int)(i * 37 % 3047);
	}
	sim_free(sound);
}
END_TEST

START_TEST(test_packing_needs_the_feature)
{
	struct image image;

	store_packed();
	ck_assert_int_eq(mneme_close(m), 0);
	image_open(&image, disk);
	image.super->incompatible &= ~(uint64_t)FMT_INCOMPAT_PACKED;
	image_seal(&image, 0);
	ck_assert_uint_gt(findings(NULL, NULL, 0), KEYS - 41);
	sim_free(disk);
}
END_TEST

UNIT_MAIN("packing", test_packing_keeps_every_value_and_gives_pages_back,
	  test_packing_is_undone_by_a_crash, test_packing_and_one_change,
	  test_packing_and_many_changes_at_once, test_packing_and_ranges,
	  test_packing_does_not_bring_back_an_older_value, test_packing_leaves_what_changes_alone,
	  test_packing_gives_way, test_packing_needs_one_copy_of_the_dictionary,
	  test_packing_without_the_dictionary_is_damage, test_packing_takes_nothing_on_trust,
	  test_packing_needs_the_feature)
