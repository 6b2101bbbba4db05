/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a heap that is larger than what may be mapped of it (core/store/heap_map.h): the limit
 *            holds, and what is read is right, by copies as well as in place.
 */
#include "core/mneme.h"
#include "core/store/io_sim.h"
#include "core/store/page.h"
#include "core/store/store.h"
#include "simd/crc32c.h"
#include "tests/unit/library.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

enum { KEYS = 60000, MAPPED = 8 << 20, PIECE = 2 << 20, LONG_EVERY = 50, LONG = 9000 };

static char folder[FOLDER_SIZE];

static void before(void)
{
	folder_make(folder);
}
static void after(void)
{
	folder_remove(folder);
}

/* ---- keys whose value follows from their number and turn ---- */

static struct mneme_key key_of(uint32_t number, uint8_t sub[4])
{
	/* in an order that has nothing to do with that of the puts */
	uint32_t mixed = number * 2654435761u;

	memcpy(sub, &mixed, 4);
	return (struct mneme_key){
		.inode = 16 + number % 4, .type = MNEME_TYPE_USER, .sub = sub, .sub_length = 4};
}

static size_t value_of(uint32_t number, uint32_t turn, uint8_t *value)
{
	size_t length = number % LONG_EVERY ? 100 + number % 400 : LONG;

	memset(value, 0, length);
	for (size_t i = 0; i + 4 <= length; i += 4) {
		uint32_t word = number * 31 + turn * 7 + (uint32_t)i;
		memcpy(value + i, &word, 4);
	}
	return length;
}

static void put(struct mneme *m, uint32_t number, uint32_t turn)
{
	static uint8_t value[LONG];
	uint8_t sub[4];
	struct mneme_key key = key_of(number, sub);
	size_t length = value_of(number, turn, value);

	ck_assert_int_eq(mneme_put(m, &key, value, length, MNEME_DURABILITY_MEMORY), 0);
}

static void expect(struct mneme *m, uint32_t number, uint32_t turn)
{
	static uint8_t wanted[LONG], seen[LONG];
	uint8_t sub[4];
	struct mneme_key key = key_of(number, sub);
	size_t length = value_of(number, turn, wanted), there;

	ck_assert_int_eq(mneme_get(m, &key, seen, sizeof seen, &there), 0);
	ck_assert_uint_eq(there, length);
	ck_assert_int_eq(memcmp(seen, wanted, length), 0);
}

/* ---- what is resident ---- */

/* Bytes of STORE/heap that this process has in its page tables. */
static uint64_t heap_resident(void)
{
	char line[600], path[FOLDER_SIZE + 20];
	uint64_t kib = 0, part;
	int inside = 0;
	FILE *smaps = fopen("/proc/self/smaps", "r");

	snprintf(path, sizeof path, "%s/s/heap", folder);
	ck_assert_ptr_nonnull(smaps);
	while (fgets(line, sizeof line, smaps)) {
		if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' '))
			inside = strstr(line, path) != NULL;
		else if (inside && sscanf(line, "Rss: %lu", &part) == 1)
			kib += part;
	}
	fclose(smaps);
	return kib * 1024;
}

struct scan {
	uint64_t keys, resident_most;
};

static int scan_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct scan *s = arg;

	(void)key, (void)value, (void)length;
	if (++s->keys % 4096 == 0 && heap_resident() > s->resident_most)
		s->resident_most = heap_resident();
	return 0;
}

START_TEST(no_more_is_mapped_than_may_be)
{
	struct mneme_options options = {.mapped_bytes_max = MAPPED, .dirty_bytes_max = 16 << 20};
	struct scan scan = {0};
	struct mneme *m;
	char path[PATH_SIZE];

	snprintf(path, sizeof path, "%s/s", folder);
	ck_assert_int_eq(mneme_create(path, NULL, NULL), 0);
	ck_assert_int_eq(mneme_open(path, &options, &m, NULL), 0);
	for (uint32_t turn = 0; turn < 2; turn++)
		for (uint32_t i = 0; i < KEYS; i++) {
			put(m, i, turn);
			if (i % 4096 == 0)
				ck_assert_uint_le(heap_resident(), MAPPED + PIECE);
		}
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	for (uint32_t i = 0; i < KEYS; i++) {
		expect(m, i, 1);
		if (i % 4096 == 0)
			ck_assert_uint_le(heap_resident(), MAPPED + PIECE);
	}
	ck_assert_uint_gt(heap_resident(), 0);
	for (uint32_t inode = 16; inode < 20; inode++) { /* a shard each */
		struct mneme_key first = {.inode = inode}, last = {.inode = inode + 1};
		ck_assert_int_eq(mneme_scan(m, &first, &last, 0, scan_each, &scan), 0);
	}
	ck_assert_uint_eq(scan.keys, KEYS);
	ck_assert_uint_le(scan.resident_most, MAPPED + PIECE);
	ck_assert_int_eq(mneme_close(m), 0);
}
END_TEST

/* ---- copies ---- */

static struct mneme *sim_store(struct sim *disk, int make)
{
	struct mneme_options options = {.dirty_bytes_max = 16 << 20, .mapped_bytes_max = 1};
	struct store_tuning tuning = {.heap_reserve = 256 << 20, .no_threads = 1};
	struct mneme *m;
	struct io *io;

	if (make) {
		ck_assert_int_eq(sim_io_new(disk, &io), 0);
		ck_assert_int_eq(store_create(io, NULL, NULL), 0);
		io->ops->destroy(io);
	}
	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_int_eq(store_open(io, &options, &tuning, &m, NULL), 0);
	return m;
}

/* Keys in turn 0, in a heap of which nothing was read since it was opened. */
static struct mneme *sim_store_filled(struct sim **disk)
{
	ck_assert_int_eq(sim_new(disk), 0);
	struct mneme *m = sim_store(*disk, 1);
	for (uint32_t i = 0; i < KEYS / 20; i++)
		put(m, i, 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	ck_assert_int_eq(mneme_close(m), 0);
	return sim_store(*disk, 0);
}

/* Pages are freed and given out again with other content: no copy of the old one is shown. */
START_TEST(a_copy_goes_with_its_page)
{
	struct sim *disk;

	ck_assert_int_eq(sim_new(&disk), 0);
	struct mneme *m = sim_store(disk, 1);
	for (uint32_t turn = 0; turn < 6; turn++) {
		for (uint32_t i = 0; i < KEYS / 20; i++)
			put(m, i, turn);
		ck_assert_int_eq(mneme_checkpoint(m), 0);
		for (uint32_t i = 0; i < KEYS / 20; i++)
			expect(m, i, turn);
	}
	ck_assert_uint_gt(atomic_load(&m->heap.map.copied), KEYS / 20);
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
}
END_TEST

/* ---- scans ---- */

struct inside {
	struct mneme_txn *txn; /* reads other leaves while the scan is at one; NULL: nothing does */
	uint32_t keys;
};

/* Another key of the same inode. */
static void expect_other(struct mneme_txn *txn, uint32_t number)
{
	static uint8_t wanted[LONG], seen[LONG];
	uint32_t other = (number + 1000) % (KEYS / 20);
	uint8_t sub[4];
	struct mneme_key key = key_of(other, sub);
	size_t length = value_of(other, 0, wanted), there;

	ck_assert_int_eq(mneme_txn_get(txn, &key, seen, sizeof seen, &there), 0);
	ck_assert_uint_eq(there, length);
	ck_assert_int_eq(memcmp(seen, wanted, length), 0);
}

static int inside_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	static uint8_t wanted[LONG];
	struct inside *in = arg;
	uint32_t mixed, inverse = 244002641u; /* of the multiplier of key_of() */
	_Static_assert(2654435761u * 244002641u == 1, "each other's inverse");

	memcpy(&mixed, key->sub, 4);
	uint32_t number = mixed * inverse;
	size_t there = value_of(number, 0, wanted);
	if (in->txn && there < 1000)
		expect_other(in->txn, number);
	ck_assert_uint_eq(length, there);
	ck_assert_int_eq(memcmp(value, wanted, length), 0);
	return ++in->keys % 3 == 0; /* a short one */
}

/* Scans here and there, of which each sees three keys. */
static void scan_shortly(struct mneme *m, int in_transactions)
{
	for (uint32_t i = 1; i < KEYS / 20; i += 7) {
		struct inside in = {0};
		uint8_t sub[4];
		struct mneme_key first = key_of(i, sub), last = {.inode = first.inode + 1};
		int rc;
		if (in_transactions) {
			ck_assert_int_eq(mneme_txn_begin_locked(m, MNEME_TXN_READ_ONLY,
								&first.inode, 1, &in.txn),
					 0);
			rc = mneme_txn_scan(in.txn, &first, &last, 0, inside_each, &in);
			mneme_txn_abort(in.txn);
		} else {
			rc = mneme_scan(m, &first, &last, 0, inside_each, &in);
		}
		ck_assert(rc == 0 || rc == 1);
	}
}

/* A piece of the map for three keys would cost as much as 50 copies. */
START_TEST(short_scans_map_nothing)
{
	struct sim *disk;
	struct mneme *m = sim_store_filled(&disk);
	uint64_t mapped = atomic_load(&m->heap.map.mapped);
	uint64_t copied = atomic_load(&m->heap.map.copied);
	scan_shortly(m, 0);
	ck_assert_uint_eq(atomic_load(&m->heap.map.mapped), mapped);
	ck_assert_uint_gt(atomic_load(&m->heap.map.copied), copied + KEYS / 20 / 7);
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
}
END_TEST

START_TEST(a_scan_keeps_its_leaf_while_its_transaction_reads)
{
	struct sim *disk;
	struct mneme *m = sim_store_filled(&disk);

	scan_shortly(m, 1);
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
}
END_TEST

/* ---- the copy that a thread made last ---- */

/* A heap on a disk of its own; its first page for a tree, which is 2, is taken. */
static void heap_make(struct sim *disk, struct heap *h)
{
	struct io_file *file;
	struct io *io;
	uint64_t page;

	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_int_eq(io->ops->open(io, "heap", IO_WRITE | IO_CREATE, &file), 0);
	io->ops->close(file);
	ck_assert_int_eq(heap_open(h, io, 0, 64 << 20, 0), 0);
	ck_assert_int_eq(heap_grow(h, 8), 0);
	ck_assert_int_eq(heap_alloc(h, 1, 1, &page), 1);
	heap_use(h, 1);
	ck_assert_uint_eq(page, FMT_GROUP_FIRST);
}

static void heap_end(struct heap *h)
{
	struct io *io = h->io;

	heap_close(h);
	io->ops->destroy(io);
}

/* Writes a leaf there whose only value begins with `mark`. `reference` is its reference, or, if that is
 * not 0, becomes its reference too: a number behind the mark is searched that makes it so. */
static uint64_t leaf_write(struct heap *h, char mark, uint64_t reference)
{
	_Alignas(8) uint8_t bytes[FMT_PAGE_SIZE] = {0};
	struct fmt_page *page = (struct fmt_page *)bytes;
	uint8_t name[FMT_KEY_HEAD] = {0}, value[5] = {(uint8_t)mark};
	struct page_key key = {name, sizeof name};
	uint16_t head = page_head(PAGE_PLAIN, sizeof value);

	page_format(page, 0, 0, 1);
	page->self = FMT_GROUP_FIRST;
	uint8_t *at = page_insert(page, 0, key, &head, value, sizeof value);
	ck_assert_ptr_eq(at + sizeof value, bytes + FMT_PAGE_SIZE);
	uint32_t before_number = crc32c(0, bytes + 4, FMT_PAGE_SIZE - 8);
	uint32_t number = 0;
	do {
		page->crc = crc32c(before_number, &number, 4);
	} while (reference && fmt_reference(FMT_GROUP_FIRST, page->crc) != reference && ++number);
	memcpy(at + 1, &number, 4);
	ck_assert_int_eq(io_write_full(h->file, h->io, bytes, FMT_PAGE_SIZE,
				       FMT_GROUP_FIRST * FMT_PAGE_SIZE),
			 0);
	return fmt_reference(FMT_GROUP_FIRST, page->crc);
}

static char leaf_mark(struct heap *h, uint64_t reference)
{
	enum page_kind kind;
	uint32_t length;
	int error = 0;
	const struct fmt_page *page = heap_page(h, reference, 1, &error);

	ck_assert_int_eq(error, 0);
	ck_assert_ptr_nonnull(page);
	return (char)*page_value(page, 0, &length, &kind);
}

/* A reference holds 23 bits of a checksum: what came into a page's place may have the same ones. */
START_TEST(the_last_copy_goes_with_its_page_and_its_heap)
{
	struct sim *disk, *other_disk;
	struct heap h, other;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(sim_new(&other_disk), 0);
	heap_make(disk, &h);
	heap_make(other_disk, &other);
	uint64_t reference = leaf_write(&h, 'a', 0);
	ck_assert_uint_eq(leaf_write(&other, 'b', reference), reference);
	ck_assert_int_eq(leaf_mark(&h, reference), 'a');
	ck_assert_int_eq(leaf_mark(&other, reference), 'b');
	ck_assert_int_eq(leaf_mark(&h, reference), 'a');
	heap_free_now(&h, FMT_GROUP_FIRST, 1);
	ck_assert_uint_eq(leaf_write(&h, 'c', reference), reference);
	ck_assert_int_eq(leaf_mark(&h, reference), 'c');
	heap_end(&h);
	heap_end(&other);
	sim_free(disk);
	sim_free(other_disk);
}
END_TEST

/* What cannot be read as a copy is read in place. */
START_TEST(a_copy_that_fails_is_read_in_place)
{
	struct sim *disk;

	ck_assert_int_eq(sim_new(&disk), 0);
	struct mneme *m = sim_store(disk, 1);
	for (uint32_t i = 0; i < 2000; i++)
		put(m, i, 0);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	sim_fail(disk, 1u << SIM_READ, 1, EIO, SIM_FAIL, 1);
	for (uint32_t i = 0; i < 2000; i++)
		expect(m, i, 0);
	sim_fail(disk, 0, 0, 0, SIM_FAIL, 0);
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
}
END_TEST

/* ---- when copies run out ---- */

/* More inner pages than copies can be kept of: they are read in place. */
START_TEST(an_inner_page_without_a_copy_is_mapped)
{
	static const union {
		struct fmt_page page;
		uint8_t bytes[FMT_PAGE_SIZE];
	} any;
	struct sim *disk;
	uint64_t kept = 0;
	struct mneme *m = sim_store_filled(&disk);
	uint64_t first = atomic_load(&m->heap.pages), mapped = atomic_load(&m->heap.map.mapped);
	ck_assert_int_eq(heap_extend(&m->heap, 20000), 0);
	heap_copies_forget(&m->heap, 0, (uint32_t)first); /* the roots: opening looks at them */
	while (heap_copy_keep(&m->heap, first + kept, &any.page))
		ck_assert_uint_lt(++kept, 20000);
	for (uint32_t i = 0; i < KEYS / 20; i++)
		expect(m, i, 0);
	ck_assert_uint_gt(atomic_load(&m->heap.map.mapped), mapped);
	heap_copies_forget(&m->heap, first, (uint32_t)kept);
	ck_assert_ptr_nonnull(heap_copy_keep(&m->heap, first, &any.page));
	heap_copies_forget(&m->heap, first, 1);
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
}
END_TEST

/* ---- the bound of a store that nobody tuned ---- */

START_TEST(by_default_all_stays_below_one_gibibyte)
{
	struct mneme *m;
	char path[PATH_SIZE];

	snprintf(path, sizeof path, "%s/s", folder);
	ck_assert_int_eq(mneme_create(path, NULL, NULL), 0);
	ck_assert_int_eq(mneme_open(path, NULL, &m, NULL), 0);
	for (uint32_t i = 0; i < KEYS; i++) {
		if (i % 8192 == 0)
			ck_assert_uint_le(store_map_bytes(m) + dirty_resident(&m->dirty) +
						  HEAP_COPIES_BYTES,
					  1ull << 30);
		put(m, i, 0);
	}
	ck_assert_uint_gt(dirty_resident(&m->dirty), 8 << 20);
	ck_assert_int_eq(mneme_checkpoint(m), 0); /* tells the map */
	ck_assert_uint_le(atomic_load(&m->heap.map.most) * HEAP_PIECE_BYTES, store_map_bytes(m));
	ck_assert_uint_gt(atomic_load(&m->heap.map.most), 0);
	ck_assert_int_eq(mneme_close(m), 0);
}
END_TEST

UNIT_MAIN_WITH("heap_map", before, after, no_more_is_mapped_than_may_be, a_copy_goes_with_its_page,
	       short_scans_map_nothing, a_scan_keeps_its_leaf_while_its_transaction_reads,
	       the_last_copy_goes_with_its_page_and_its_heap, a_copy_that_fails_is_read_in_place,
	       an_inner_page_without_a_copy_is_mapped, by_default_all_stays_below_one_gibibyte)
