/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the check of a store finds nothing in sound stores, also after crashes, and finds every
 *            one of a set of seeded inconsistencies.
 * Threading: one thread a test.
 */
#include "core/store/check.h"
#include "core/store/io_sim.h"
#include "core/store/store.h"
#include "tests/tier.h"
#include "tests/unit/check_seeds.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SEGMENT = 1 << 16, SHARDS = 4 };

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void print_finding(void *arg, const char *finding, int repaired)
{
	(void)arg;
	fprintf(stderr, "finding: %s%s\n", finding, repaired ? " (repaired)" : "");
}

static uint64_t findings(struct sim *sim, unsigned flags, mneme_check_report *report)
{
	struct mneme_check_result result;
	struct mneme_error error;
	struct io *io;

	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_int_eq(store_check(io, flags, report, NULL, &result, &error), 0);
	io->ops->destroy(io);
	return result.findings;
}

static struct mneme *store_on(struct sim *sim)
{
	struct mneme_options options = {.dirty_bytes_max = 8 << 20};
	struct store_tuning tuning = {.heap_reserve = 64 << 20, .no_threads = 1};
	struct mneme_error error = {""};
	struct mneme *m;
	struct io *io;

	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_msg(store_open(io, &options, &tuning, &m, &error) == 0, "%s", error.message);
	return m;
}

static struct sim *disk_new(enum mneme_compression compression)
{
	struct mneme_create_options options = {
		.shards = SHARDS, .segment_bytes = SEGMENT, .compression = compression};
	struct sim *sim;
	struct io *io;

	ck_assert_int_eq(sim_new(&sim), 0);
	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_int_eq(store_create(io, &options, NULL), 0);
	io->ops->destroy(io);
	return sim;
}

/* One random change. */
static void change(struct mneme *m, uint64_t *state)
{
	static const uint32_t lengths[] = {0, 8, 60, 300, 900, 1100, 4096, 9000, 16384, 40000};
	static uint8_t value[65536];
	uint64_t r = random_next(state);
	uint8_t sub[8] = {0, 0, 0, 0, 0, 0, (uint8_t)(r >> 8 & 3), (uint8_t)(r >> 16)};
	struct mneme_key key = {
		.inode = 16 + (r >> 24) % 8, .type = 0x80, .sub = sub, .sub_length = 8};
	struct mneme_key end = {.inode = key.inode, .type = 0x81};
	uint32_t length = lengths[(r >> 32) % 10];
	struct mneme_txn *txn;

	memset(value, (int)(r >> 40), sizeof value);
	for (uint32_t i = 0; i < length; i += 64)
		value[i] = (uint8_t)random_next(state);
	ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
	if (r % 16 < 10)
		ck_assert_int_eq(mneme_txn_put(txn, &key, value, length), 0);
	else if (r % 16 < 12)
		ck_assert_int_eq(mneme_txn_delete(txn, &key), 0);
	else if (r % 16 < 14)
		ck_assert_int_eq(mneme_txn_truncate(txn, &key, length / 2), 0);
	else if (r % 16 < 15)
		ck_assert_int_eq(mneme_txn_patch_borrowed(txn, &key, 20, value, length / 4), 0);
	else if ((r >> 48) % 16 == 0)
		ck_assert_int_eq(mneme_txn_delete_range(txn, &key, &end), 0);
	ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED), 0);
}

static void sound_store(enum mneme_compression compression)
{
	struct sim *sim = disk_new(compression);
	uint64_t state = 7 + compression;

	ck_assert_uint_eq(findings(sim, 0, print_finding), 0);
	struct mneme *m = store_on(sim);
	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 100; i++)
			change(m, &state);
		if (round % 3 == 0)
			ck_assert_int_eq(mneme_sync(m), 0);
		if (round % 5 == 0)
			ck_assert_int_eq(mneme_checkpoint(m), 0);
		ck_assert_uint_eq(findings(sim, 0, print_finding), 0);
		if (round % 10 == 9) {
			ck_assert_int_eq(mneme_close(m), 0);
			ck_assert_uint_eq(findings(sim, 0, print_finding), 0);
			m = store_on(sim);
		}
	}
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(sim);
}

START_TEST(test_check_finds_nothing_in_a_sound_store)
{
	sound_store(MNEME_COMPRESSION_NONE);
	sound_store(MNEME_COMPRESSION_ZSTD);
}
END_TEST

START_TEST(test_check_finds_nothing_after_a_crash)
{
	struct sim *sim = disk_new(MNEME_COMPRESSION_NONE);
	struct mneme *m = store_on(sim);
	uint64_t state = 11, begun = sim_events(sim);

	for (int i = 0; i < 40; i++) {
		change(m, &state);
		if (i % 4 == 0)
			ck_assert_int_eq(mneme_sync(m), 0);
		if (i % 10 == 9)
			ck_assert_int_eq(mneme_checkpoint(m), 0);
	}
	for (uint64_t point = begun; point <= sim_events(sim); point++) {
		for (int kind = 0; kind < SIM_CRASH_KINDS; kind++) {
			struct sim *crashed;
			ck_assert_int_eq(sim_crash(sim, point, kind, point * 31 + kind, &crashed),
					 0);
			ck_assert_uint_eq(findings(crashed, STORE_CHECK_CRASHED, print_finding), 0);
			sim_free(crashed);
		}
	}
	store_abandon(m);
	sim_free(sim);
}
END_TEST

/* ---- seeded inconsistencies of the structure ---- */

/* A closed store with inner pages, values outside of leaves and a log behind its checkpoint. */
static struct sim *disk_full(void)
{
	struct sim *sim = disk_new(MNEME_COMPRESSION_NONE);
	struct mneme *m = store_on(sim);
	uint64_t state = 3;

	for (int i = 0; i < 3000; i++) {
		change(m, &state);
		if (i % 500 == 0)
			ck_assert_int_eq(mneme_checkpoint(m), 0);
	}
	ck_assert_int_eq(mneme_close(m), 0);
	return sim;
}

static void seed_leaked_page(struct image *image)
{
	struct fmt_bitmap *bitmap = image_bitmap(image);
	uint32_t i = FMT_GROUP_FIRST;

	while (bitmap->bits[i / 8] >> (i % 8) & 1)
		i++;
	bitmap->bits[i / 8] |= 1u << (i % 8);
	image->table[0].free--;
	image_seal(image, 0);
}

static void seed_lost_page(struct image *image)
{
	uint64_t page = image_descend(image, 1, 0, 1)->self;

	image_bitmap(image)->bits[page / 8] &= ~(1u << (page % 8));
	image->table[0].free++;
	image_seal(image, 0);
}

static void seed_bitmap_bytes(struct image *image)
{
	image_bitmap(image)->bits[9] ^= 4;
}

static void seed_free_count(struct image *image)
{
	image->table[0].free += 3;
	image_seal(image, 0);
}

static void seed_space_table(struct image *image)
{
	image->table[0].reserved[2] ^= 1;
}

static void seed_superblock(struct image *image)
{
	image->super->lsn ^= 8;
}

static void seed_other_superblock(struct image *image)
{
	image->other->segment_bytes ^= 1;
}

static void seed_differing_superblocks(struct image *image)
{
	image->other->written_ns++;
	image->other->crc = super_crc(image->other);
}

static void seed_foreign_superblock(struct image *image)
{
	image->other->uuid[3]++;
	image->other->crc = super_crc(image->other);
}

static void seed_reserved_bytes(struct image *image)
{
	image->super->reserved[3] = 1;
	image_seal(image, 0);
}

static void seed_root_of_no_shard(struct image *image)
{
	image->super->roots[SHARDS] = image->super->roots[0];
	image_seal(image, 0);
}

static void seed_leaf_bytes(struct image *image)
{
	((uint8_t *)image_descend(image, 2, 0, 1))[2000] ^= 1;
}

static void seed_root_bytes(struct image *image)
{
	((uint8_t *)image_descend(image, 2, 1, 0))[40] ^= 1;
}

static void seed_stale_page(struct image *image)
{
	struct fmt_page *parent = image_descend(image, 0, 1, 0);

	page_set_child(parent, 2, page_child(parent, 2) ^ 5ull << 40);
	image_seal(image, page_child(parent, 2) & FMT_ADDRESS_MASK);
}

static void seed_level(struct image *image)
{
	struct fmt_page *parent = image_descend(image, 0, 1, 0);
	uint64_t child = page_child(parent, 1);

	page_set_child(parent, 1, image->super->roots[3]);
	(void)child;
	image_seal(image, 0);
}

static void seed_shard(struct image *image)
{
	image_descend(image, 1, 0, 2)->shard = 0;
	image_seal(image, 0);
}

static void seed_birth(struct image *image)
{
	image_descend(image, 1, 0, 2)->birth = image->super->generation + 4;
	image_seal(image, 0);
}

static void seed_order(struct image *image)
{
	struct fmt_page *leaf = image_descend(image, 1, 0, 2);
	struct fmt_slot *slots = (struct fmt_slot *)(leaf + 1), first = slots[0];

	slots[0] = slots[1];
	slots[1] = first;
	image_seal(image, 0);
}

static void seed_garbage(struct image *image)
{
	image_descend(image, 1, 0, 2)->garbage += 8;
	image_seal(image, 0);
}

/* Puts another inode in front of the last key of a leaf. */
static void last_key_becomes(struct image *image, unsigned turn, uint64_t inode)
{
	struct fmt_page *leaf = image_descend(image, 1, 0, turn);
	unsigned last = leaf->count - 1;
	uint8_t copy[FMT_CELL_MAX + 16], *key = copy + 2;
	struct page_key old = page_key_at(leaf, last);
	uint32_t length;
	enum page_kind kind;
	const uint8_t *value = page_value(leaf, last, &length, &kind);

	memcpy(copy, page_cell(leaf, last), 2u + old.length + length);
	inode = __builtin_bswap64(inode);
	memcpy(key, &inode, sizeof inode);
	value = copy + 2 + old.length;
	page_remove(leaf, last);
	ck_assert_ptr_nonnull(
		page_insert(leaf, last, (struct page_key){key, old.length}, copy, value, length));
	image_seal(image, 0);
}

static void seed_key_outside(struct image *image)
{
	last_key_becomes(image, 0, SHARDS * 1000 + 1);
}

static void seed_key_of_other_shard(struct image *image)
{
	last_key_becomes(image, 1000, SHARDS * 1000 + 2);
}

static void seed_run_twice(struct image *image)
{
	unsigned first = 0, second = 1;
	struct value_in_place *a = image_value(image, image->super->roots[0], &first);
	struct value_in_place *b = image_value(image, image->super->roots[0], &second);

	*a = *b;
	image_seal(image, 0);
}

static void seed_child_twice(struct image *image)
{
	struct fmt_page *parent = image_descend(image, 0, 1, 0);

	page_set_child(parent, 1, page_child(parent, 2));
	image_seal(image, 0);
}

static void seed_value_bytes(struct image *image)
{
	unsigned nth = 3;
	struct value_in_place *v = image_value(image, image->super->roots[0], &nth);

	image->heap[v->v.address * FMT_PAGE_SIZE + 5] ^= 1;
}

static void seed_value_length(struct image *image)
{
	unsigned nth = 3;

	image_value(image, image->super->roots[0], &nth)->v.stored = 0x40000000;
	image_seal(image, 0);
}

static void seed_value_in_space_map(struct image *image)
{
	unsigned nth = 3;

	image_value(image, image->super->roots[0], &nth)->v.address = 1;
	image_seal(image, 0);
}

static void seed_value_birth(struct image *image)
{
	unsigned nth = 3;

	image_value(image, image->super->roots[0], &nth)->v.birth = image->super->generation + 2;
	image_seal(image, 0);
}

/* Clears the heads of all log segments. */
static void clear_segment(void *arg, const char *name, uint64_t size)
{
	struct image *image = arg;
	uint8_t *bytes;

	if (!strncmp(name, "wal/", 4) && sim_file(image->sim, name, &bytes, &size) == 0)
		memset(bytes, 0, FMT_PAGE_SIZE);
}

static void seed_log_heads(struct image *image)
{
	sim_each_file(image->sim, clear_segment, image);
}

static void seed_log_durable(struct image *image)
{
	image->super->log_durable += 4096;
	image_seal(image, 0);
}

/* What it seeds, what the finding says, and whether keys may be lost by the repair. */
struct seed {
	void (*edit)(struct image *image);
	const char *says;
	int loses;
};

static const struct seed seeds[] = {
	{seed_leaked_page, "nothing refers to them", 0},
	{seed_lost_page, "marked as free", 0},
	{seed_bitmap_bytes, "the bitmap of group 0", 0},
	{seed_free_count, "the space table says", 0},
	{seed_space_table, "space table of superblock", 0},
	{seed_superblock, "is damaged: its checksum is wrong", 0},
	{seed_other_superblock, "is damaged: its checksum is wrong", 0},
	{seed_differing_superblocks, "have one generation and are not the same", 0},
	{seed_foreign_superblock, "belong to different stores", 0},
	{seed_reserved_bytes, "reserved bytes", 0},
	{seed_root_of_no_shard, "names a root for shard", 0},
	{seed_leaf_bytes, "has a wrong checksum", 1},
	{seed_root_bytes, "has a wrong checksum", 0},
	{seed_stale_page, "it is an old one", 1},
	{seed_level, "belongs to another shard", 1},
	{seed_shard, "belongs to another shard", 1},
	{seed_birth, "is younger than", 0},
	{seed_order, "keys are out of order", 1},
	{seed_garbage, "count of dead bytes", 1},
	{seed_key_outside, "is outside of what its parent says", 1},
	{seed_key_of_other_shard, "belongs to another shard", 1},
	{seed_run_twice, "is referred to twice", 1},
	{seed_child_twice, "is referred to twice", 1},
	{seed_value_bytes, "has a wrong checksum", 1},
	{seed_value_length, "has a length that is not possible", 1},
	{seed_value_in_space_map, "covers pages of the space map", 1},
	{seed_value_birth, "is younger than its leaf", 0},
	{seed_log_heads, "does not reach back", 0},
	{seed_log_durable, "was durable up to", 0},
};

struct told {
	const char *says;
	unsigned count, repaired, matching;
};

static void note_finding(void *arg, const char *finding, int repaired)
{
	struct told *told = arg;

	told->count++;
	told->repaired += repaired != 0;
	told->matching += strstr(finding, told->says) != NULL;
	if (getenv("MNEME_TEST_VERBOSE"))
		print_finding(NULL, finding, repaired);
}

static void check_on(struct sim *sim, unsigned flags, struct told *told)
{
	struct mneme_check_result result;
	struct mneme_error error = {""};
	struct io *io;

	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_msg(store_check(io, flags, note_finding, told, &result, &error) == 0, "%s",
		      error.message);
	ck_assert_uint_eq(result.findings, told->count);
	ck_assert_uint_eq(result.repaired, told->repaired);
	io->ops->destroy(io);
}

static int count_key(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	uint64_t *sum = arg;

	sum[0]++;
	sum[1] +=
		crc32c(crc32c(crc32c(0, &key->inode, 8), key->sub, key->sub_length), value, length);
	return 0;
}

/* Number of keys, and a sum over them and their values. */
static void keys_sum(struct sim *sim, uint64_t sum[2])
{
	struct mneme *m = store_on(sim);

	sum[0] = sum[1] = 0;
	for (uint32_t i = 0; i < SHARDS; i++) {
		struct mneme_key first = {.inode = i};
		struct mneme_key last = {.inode = UINT64_MAX - (SHARDS - 1) + i, .type = 0xff};
		ck_assert_int_eq(mneme_scan(m, &first, &last, 0, count_key, sum), 0);
	}
	ck_assert_int_eq(mneme_close(m), 0);
}

static void seed_and_repair(struct sim *sound, const struct seed *seed)
{
	struct told found = {.says = seed->says}, repaired = {.says = seed->says},
		    again = {.says = ""};
	uint64_t before[2], after[2];
	struct image image;
	struct sim *sim;

	ck_assert_int_eq(sim_clone(sound, &sim), 0);
	keys_sum(sound, before);
	image_open(&image, sim);
	seed->edit(&image);
	uint64_t sum = files_sum(sim);
	check_on(sim, 0, &found);
	ck_assert_msg(found.matching > 0, "not found: %s", seed->says);
	ck_assert_uint_eq(found.repaired, 0);
	ck_assert_msg(files_sum(sim) == sum, "the check changed something: %s", seed->says);
	check_on(sim, STORE_CHECK_REPAIR, &repaired);
	ck_assert_msg(repaired.repaired == repaired.count, "%u of %u repaired: %s",
		      repaired.repaired, repaired.count, seed->says);
	check_on(sim, 0, &again);
	ck_assert_msg(again.count == 0, "not clean after the repair: %s", seed->says);
	keys_sum(sim, after);
	ck_assert_msg(after[0] > before[0] / 2, "too much is lost: %s", seed->says);
	ck_assert_msg(seed->loses || (after[0] == before[0] && after[1] == before[1]),
		      "keys are lost: %s", seed->says);
	sim_free(sim);
}

START_TEST(test_check_finds_and_repairs_every_seeded_inconsistency)
{
	struct sim *sound = disk_full();

	for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++)
		seed_and_repair(sound, &seeds[i]);
	sim_free(sound);
}
END_TEST

/* A log with blocks behind the checkpoint: one of them damaged, with later ones that prove it. */
START_TEST(test_check_cuts_a_damaged_log)
{
	static const char says[] = "what lies between";
	struct told found = {.says = says}, safe = {.says = says}, repaired = {.says = says};
	struct sim *sim = disk_new(MNEME_COMPRESSION_NONE);
	struct mneme *m = store_on(sim);
	uint64_t state = 5, size, keys[2];
	uint8_t *bytes;

	for (int i = 0; i < 12; i++) {
		change(m, &state);
		ck_assert_int_eq(mneme_sync(m), 0);
	}
	store_abandon(m);
	/* the second segment is the one in use: the first one is mkfs's */
	ck_assert_int_eq(sim_file(sim, "wal/00000001", &bytes, &size), 0);
	struct fmt_block *block = (struct fmt_block *)(bytes + FMT_PAGE_SIZE);
	block = (struct fmt_block *)((uint8_t *)block + ((block->length + 7) & ~7u));
	ck_assert_uint_eq(block->magic, FMT_BLOCK_MAGIC);
	((uint8_t *)block)[60] ^= 1;
	uint64_t sum = files_sum(sim);
	check_on(sim, 0, &found);
	ck_assert_uint_eq(found.matching, 1);
	ck_assert_uint_eq(files_sum(sim), sum);
	check_on(sim, STORE_CHECK_REPAIR | MNEME_CHECK_LOSE_NOTHING, &safe);
	ck_assert_uint_eq(safe.count, 1);
	ck_assert_uint_eq(safe.repaired, 0);
	check_on(sim, STORE_CHECK_REPAIR, &repaired);
	ck_assert_uint_eq(repaired.repaired, repaired.count);
	ck_assert_uint_eq(findings(sim, 0, print_finding), 0);
	keys_sum(sim, keys);
	ck_assert_uint_le(keys[0], 1);
	sim_free(sim);
}
END_TEST

/* Long keys make a high tree: lost inner pages of each level, whose leaves are found again. */
START_TEST(test_check_finds_leaves_below_lost_pages_again)
{
	struct sim *sound = disk_new(MNEME_COMPRESSION_NONE);
	struct mneme *m = store_on(sound);
	uint8_t sub[MNEME_SUBKEY_MAX] = {0};
	uint64_t before[2], after[2];

	for (uint32_t i = 0; i < 4000; i++) {
		struct mneme_key key = {
			.inode = 5, .type = 0x80, .sub = sub, .sub_length = sizeof sub};
		sub[400] = i % 61;
		sub[401] = i % 67;
		ck_assert_int_eq(mneme_put(m, &key, &i, sizeof i, MNEME_DURABILITY_BUFFERED), 0);
	}
	ck_assert_int_eq(mneme_close(m), 0);
	keys_sum(sound, before);
	for (unsigned level = 1; level <= 4; level++) {
		struct told repaired = {.says = "found again"};
		struct image image;
		struct sim *sim;
		ck_assert_int_eq(sim_clone(sound, &sim), 0);
		image_open(&image, sim);
		struct fmt_page *root = image_page(&image, image.super->roots[1]);
		if (root->level < level) {
			ck_assert_uint_ge(root->level, 3);
			sim_free(sim);
			break;
		}
		((uint8_t *)image_descend(&image, 1, level, 0))[50] ^= 1;
		check_on(sim, STORE_CHECK_REPAIR, &repaired);
		ck_assert_uint_ge(repaired.matching, 1);
		ck_assert_uint_eq(repaired.repaired, repaired.count);
		ck_assert_uint_eq(findings(sim, 0, print_finding), 0);
		keys_sum(sim, after);
		ck_assert_uint_eq(before[0], after[0]);
		ck_assert_uint_eq(before[1], after[1]);
		sim_free(sim);
	}
	sim_free(sound);
}
END_TEST

/* Any bytes: the check ends, and what it calls repaired is sound. */
START_TEST(test_check_survives_random_damage)
{
	static const char *const names[] = {"heap", "heap", "super", "wal/00000001"};
	struct sim *sound = disk_full();
	uint64_t state = 17;

	for (int round = 0; round < 400; round++) {
		struct told told = {.says = ""};
		struct sim *sim;
		ck_assert_int_eq(sim_clone(sound, &sim), 0);
		for (int edits = 1 + random_next(&state) % 20; edits; edits--) {
			uint8_t *bytes;
			uint64_t size, r = random_next(&state);
			if (sim_file(sim, names[r % 4], &bytes, &size) < 0 || !size)
				continue;
			if (r % 4 == 2 && r >> 8 & 1)
				size = 2 * FMT_PAGE_SIZE;
			bytes[(r >> 16) % size] ^= 1u << (r >> 2 & 7);
		}
		check_on(sim, STORE_CHECK_REPAIR, &told);
		if (told.repaired == told.count)
			ck_assert_uint_eq(findings(sim, 0, print_finding), 0);
		sim_free(sim);
	}
	sim_free(sound);
}
END_TEST

/* One call to the disk fails, of any kind, once or for good: what was damaged can still be repaired. */
START_TEST(test_check_repair_that_failed_can_be_made_again)
{
	static const uint32_t sites = 1u << SIM_OPEN | 1u << SIM_READ | 1u << SIM_WRITE |
				      1u << SIM_SYNC | 1u << SIM_SYNC_DIR | 1u << SIM_UNLINK;
	struct sim *sound = disk_full();
	uint64_t before[2], after[2], failed = 0, step = tier_count(4, 16, 64);

	keys_sum(sound, before);
	for (uint64_t turn = 2; turn < 4000; turn += 1 + turn / step) {
		uint64_t nth = turn / 2, for_good = turn % 2;
		struct told told = {.says = ""};
		struct mneme_check_result result;
		struct image image;
		struct sim *sim;
		struct io *io;
		ck_assert_int_eq(sim_clone(sound, &sim), 0);
		image_open(&image, sim);
		seed_root_bytes(&image);
		seed_log_durable(&image);
		ck_assert_int_eq(sim_io_new(sim, &io), 0);
		sim_fail(sim, sites, nth, EIO, SIM_FAIL, for_good);
		failed += store_check(io, STORE_CHECK_REPAIR, NULL, NULL, &result, NULL) < 0;
		sim_fail(sim, sites, 0, 0, SIM_FAIL, 0);
		io->ops->destroy(io);
		check_on(sim, STORE_CHECK_REPAIR, &told);
		ck_assert_uint_eq(told.repaired, told.count);
		ck_assert_uint_eq(findings(sim, 0, print_finding), 0);
		keys_sum(sim, after);
		ck_assert_uint_eq(before[0], after[0]); /* what could not be read is kept */
		ck_assert_uint_eq(before[1], after[1]);
		sim_free(sim);
	}
	ck_assert_uint_gt(failed, 10);
	sim_free(sound);
}
END_TEST

UNIT_MAIN("check", test_check_finds_nothing_in_a_sound_store,
	  test_check_finds_nothing_after_a_crash,
	  test_check_finds_and_repairs_every_seeded_inconsistency, test_check_cuts_a_damaged_log,
	  test_check_finds_leaves_below_lost_pages_again, test_check_survives_random_damage,
	  test_check_repair_that_failed_can_be_made_again)
