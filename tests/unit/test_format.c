/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   docs/FORMAT.md and the headers say the same, and a store that is written byte by byte from
 *            that page, with none of the engine's structures, is read by today's engine.
 * Failure:   MNEME_SOURCE_DIR names the source tree; without it the comparison is skipped.
 */
#include "core/names.h"
#include "core/store/check.h"
#include "core/store/check_names.h"
#include "core/store/fmt.h"
#include "core/store/io_sim.h"
#include "core/store/store.h"
#include "simd/crc32c.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

/* ---- tables ---- */

struct field {
	const char *structure, *name;
	size_t offset, size, whole;
	int seen;
};

#define F(s, f)                                                                                    \
	{                                                                                          \
#s, #f, offsetof(struct s, f), sizeof(((struct s *)0)->f), sizeof(struct s), 0     \
	}

static struct field fields[] = {
	F(fmt_super, magic),
	F(fmt_super, version),
	F(fmt_super, crc),
	F(fmt_super, compatible),
	F(fmt_super, incompatible),
	F(fmt_super, uuid),
	F(fmt_super, generation),
	F(fmt_super, lsn),
	F(fmt_super, heap_pages),
	F(fmt_super, created_ns),
	F(fmt_super, written_ns),
	F(fmt_super, shards),
	F(fmt_super, segment_bytes),
	F(fmt_super, durability),
	F(fmt_super, compression),
	F(fmt_super, space_groups),
	F(fmt_super, space_crc),
	F(fmt_super, clean),
	F(fmt_super, reserved),
	F(fmt_super, log_durable),
	F(fmt_super, roots),
	F(fmt_super, inode_next),
	F(fmt_super, dictionary),
	F(fmt_super, packed_until),
	F(fmt_space, crc),
	F(fmt_space, free),
	F(fmt_space, copy),
	F(fmt_space, reserved),
	F(fmt_bitmap, crc),
	F(fmt_bitmap, group),
	F(fmt_bitmap, generation),
	F(fmt_bitmap, reserved),
	F(fmt_bitmap, bits),
	F(fmt_page, crc),
	F(fmt_page, level),
	F(fmt_page, shard),
	F(fmt_page, count),
	F(fmt_page, self),
	F(fmt_page, birth),
	F(fmt_page, top),
	F(fmt_page, garbage),
	F(fmt_page, prefix),
	F(fmt_page, reserved),
	F(fmt_slot, offset),
	F(fmt_slot, key_length),
	F(fmt_slot, head),
	F(fmt_value, address),
	F(fmt_value, length),
	F(fmt_value, stored),
	F(fmt_value, crc_stored),
	F(fmt_value, crc_plain),
	F(fmt_value, birth),
	F(fmt_packed, crc_plain),
	F(fmt_packed, length),
	F(fmt_packed, stored),
	F(fmt_packed, dictionary),
	F(fmt_scatter, crc),
	F(fmt_scatter, count),
	F(fmt_scatter, self),
	F(fmt_scatter, birth),
	F(fmt_scatter, pages),
	F(fmt_segment, magic),
	F(fmt_segment, version),
	F(fmt_segment, crc),
	F(fmt_segment, uuid),
	F(fmt_segment, sequence),
	F(fmt_segment, salt),
	F(fmt_segment, base),
	F(fmt_segment, bytes),
	F(fmt_block, magic),
	F(fmt_block, length),
	F(fmt_block, lsn),
	F(fmt_block, durable),
	F(fmt_block, salt),
	F(fmt_block, generation),
	F(fmt_block, records),
	F(fmt_block, head_crc),
	F(fmt_block, crc),
	F(fmt_block, reserved),
	F(fmt_record, length),
	F(fmt_record, count),
	F(fmt_op, kind),
	F(fmt_op, type),
	F(fmt_op, sub_length),
	F(fmt_op, value_length),
	F(fmt_op, inode),
	F(fmt_op, offset),
	F(fmt_op, reserved),
	F(fmt_run, page),
	F(fmt_run, length),
	F(fmt_run, crc),
	F(names_edge, weight),
	F(names_edge, reserved),
	F(names_edge, count),
	F(names_use, count),
	F(names_use, last_ns),
	F(names_inode, mode),
	F(names_inode, nlink),
	F(names_inode, uid),
	F(names_inode, gid),
	F(names_inode, size),
	F(names_inode, allocated),
	F(names_inode, atime_ns),
	F(names_inode, mtime_ns),
	F(names_inode, ctime_ns),
	F(names_inode, btime_ns),
	F(names_inode, parent),
	F(names_inode, version),
	F(names_inode, rdev),
	F(names_inode, flags),
	F(names_inode, generation),
	F(names_inode, state),
	F(names_inode, reserved),
	F(names_link, to),
	F(names_link, weight),
	F(names_link, reserved),
	F(names_dentry, inode),
	F(names_dentry, type),
	F(names_dentry, name_length),
	F(names_dentry, reserved),
};
enum { FIELDS = sizeof fields / sizeof fields[0] };

static struct field *field_find(const char *structure, const char *name)
{
	for (int i = 0; i < FIELDS; i++)
		if (!strcmp(fields[i].structure, structure) && !strcmp(fields[i].name, name))
			return &fields[i];
	return NULL;
}

START_TEST(test_format_page_agrees_with_the_headers)
{
	const char *source = getenv("MNEME_SOURCE_DIR");
	char path[512], line[512], structure[64] = "", name[64], heading[64];
	size_t offset, size, whole = 0, expected = 0;

	if (!source) {
		fprintf(stderr, "skipped: MNEME_SOURCE_DIR is not set\n");
		return;
	}
	snprintf(path, sizeof path, "%s/docs/FORMAT.md", source);
	FILE *page = fopen(path, "r");
	ck_assert_msg(page != NULL, "%s cannot be read", path);
	while (fgets(line, sizeof line, page)) {
		if (sscanf(line, "### struct %63s (%zu bytes)", heading, &whole) == 2) {
			strcpy(structure, heading);
			expected =
				0; /* fields follow one another, but for the C rules of alignment */
			continue;
		}
		if (sscanf(line, "| %zu | %zu | `%63[^`]` |", &offset, &size, name) != 3)
			continue;
		struct field *f = field_find(structure, name);
		ck_assert_msg(f != NULL, "%s.%s is in no header", structure, name);
		ck_assert_msg(f->offset == offset && f->size == size && f->whole == whole,
			      "%s.%s: the page says %zu, %zu of %zu; the header %zu, %zu of %zu",
			      structure, name, offset, size, whole, f->offset, f->size, f->whole);
		ck_assert_msg(offset == expected, "%s has bytes without a name before %s",
			      structure, name);
		expected = offset + size;
		f->seen++;
	}
	fclose(page);
	for (int i = 0; i < FIELDS; i++)
		ck_assert_msg(fields[i].seen == 1, "%s.%s is %d times on the page",
			      fields[i].structure, fields[i].name, fields[i].seen);
}
END_TEST

/* ---- a store by hand: numbers only, as docs/FORMAT.md gives them ---- */

enum { PAGE = 4096, HEAP_PAGES = 512, RUN = 2, LEAF = 3, VALUE_BYTES = 3000, SEGMENT = 65536 };
enum { LSN = 4096, NAMED = 4 };

static void put_bytes(uint8_t *at, uint64_t number, int bytes)
{
	for (int i = 0; i < bytes; i++)
		at[i] = (uint8_t)(number >> (8 * i));
}

static void put_big(uint8_t *at, uint64_t number)
{
	for (int i = 0; i < 8; i++)
		at[i] = (uint8_t)(number >> (56 - 8 * i));
}

static uint8_t value_byte(int i)
{
	return (uint8_t)(i * 7 + i / 256);
}

/* One leaf: (1, 0x80, "a") is "hello", (1, 0x80, "b") a run. */
static uint64_t golden_leaf(uint8_t *heap)
{
	uint8_t *page = heap + LEAF * PAGE, *run = heap + RUN * PAGE;
	uint8_t *a = page + PAGE - 17, *b = a - 44;

	for (int i = 0; i < VALUE_BYTES; i++)
		run[i] = value_byte(i);
	put_bytes(a, 5, 2);
	put_big(a + 2, 1);
	memcpy(a + 10,
	       "\x80"
	       "ahello",
	       7);
	put_bytes(b, 0xffff, 2);
	put_big(b + 2, 1);
	memcpy(b + 10,
	       "\x80"
	       "b",
	       2);
	put_bytes(b + 12, RUN, 8);
	put_bytes(b + 20, VALUE_BYTES, 4);
	put_bytes(b + 24, VALUE_BYTES, 4);
	put_bytes(b + 28, crc32c_scalar(0, run, VALUE_BYTES), 4);
	put_bytes(b + 32, crc32c_scalar(0, run, VALUE_BYTES), 4);
	put_bytes(b + 36, 1, 8);
	page[4] = 0;               /* level */
	page[5] = 1;               /* shard */
	put_bytes(page + 6, 2, 2); /* slots */
	put_bytes(page + 8, LEAF, 8);
	put_bytes(page + 16, 1, 8); /* birth */
	put_bytes(page + 24, (uint64_t)(b - page), 2);
	put_bytes(page + 28, 9, 2); /* inode and type are common */
	put_bytes(page + 32, (uint64_t)(a - page), 2);
	put_bytes(page + 34, 10, 2);
	put_bytes(page + 36, (uint64_t)'a' << 24, 4);
	put_bytes(page + 40, (uint64_t)(b - page), 2);
	put_bytes(page + 42, 10, 2);
	put_bytes(page + 44, (uint64_t)'b' << 24, 4);
	uint32_t crc = crc32c_scalar(0, page + 4, PAGE - 4);
	put_bytes(page, crc, 4);
	return LEAF | (uint64_t)(crc & 0x7fffff) << 40;
}

/* Returns the CRC of the bitmap of group 0: pages 0 to 3 are in use. */
static uint32_t golden_bitmap(uint8_t *heap)
{
	put_bytes(heap + 8, 1, 8);
	heap[32] = 0x0f;
	uint32_t crc = crc32c_scalar(0, heap + 4, PAGE - 4);
	put_bytes(heap, crc, 4);
	return crc;
}

static void golden_super(uint8_t *file, uint64_t root, uint32_t bitmap_crc, int names)
{
	uint8_t *super = file + PAGE, *table = file + 2 * 1048576; /* generation 1: B */

	put_bytes(table, bitmap_crc, 4);
	put_bytes(table + 4, HEAP_PAGES - 4, 4);
	memcpy(super, "MNEMFS1", 8);
	put_bytes(super + 8, 1, 4);
	put_bytes(super + 24, names ? 8 : 0, 8);
	memcpy(super + 32, "0123456789abcdef", 16);
	put_bytes(super + 48, 1, 8); /* generation */
	put_bytes(super + 56, LSN, 8);
	put_bytes(super + 64, HEAP_PAGES, 8);
	put_bytes(super + 88, 2, 4); /* shards */
	put_bytes(super + 92, SEGMENT, 4);
	put_bytes(super + 96, 2, 4); /* buffered */
	put_bytes(super + 104, 1, 4);
	put_bytes(super + 108, crc32c_scalar(0, table, 16), 4);
	super[112] = 1;
	put_bytes(super + 120, LSN, 8);
	put_bytes(super + 136, root, 8); /* of shard 1 */
	put_bytes(super + 640, 1, 8);
	put_bytes(super + 648, 1, 8);
	put_bytes(super + 12, crc32c_scalar(0, super, PAGE), 4);
}

/* Names a page of the heap that no bitmap has: (1, 0x80, "d") lies there. Returns the bytes of that. */
static int golden_run(uint8_t *op, uint8_t *heap)
{
	uint8_t *page = heap + NAMED * PAGE;

	for (int i = 0; i < PAGE; i++)
		page[i] = value_byte(i + 1);
	op[0] = 6;
	op[1] = 0x80;
	put_bytes(op + 2, 1, 2);
	put_bytes(op + 4, 16, 4);
	put_bytes(op + 8, 1, 8);
	op[24] = 'd';
	put_bytes(op + 25, NAMED, 8);
	put_bytes(op + 33, PAGE, 4);
	put_bytes(op + 37, crc32c_scalar(0, page, PAGE), 4);
	return 24 + 1 + 16;
}

/* One block with one record: (1, 0x80, "c") becomes "logged"; and with `names` another value is named. */
static void golden_segment(uint8_t *file, uint8_t *heap, int names)
{
	uint8_t *block = file + PAGE, *record = block + 56, *op = record + 8;
	uint64_t salt = 0x1122334455667788;
	int more = names ? golden_run(op + 24 + 7, heap) : 0, padded = (39 + more + 7) & ~7;

	memcpy(file, "MNEMELOG", 8);
	put_bytes(file + 8, 1, 4);
	memcpy(file + 16, "0123456789abcdef", 16);
	put_bytes(file + 32, 1, 8);
	put_bytes(file + 40, salt, 8);
	put_bytes(file + 48, LSN, 8);
	put_bytes(file + 56, SEGMENT, 8);
	put_bytes(file + 12, crc32c_scalar(0, file, PAGE), 4);
	op[0] = 1;
	op[1] = 0x80;
	put_bytes(op + 2, 1, 2);
	put_bytes(op + 4, 6, 4);
	put_bytes(op + 8, 1, 8);
	memcpy(op + 24, "clogged", 7);
	put_bytes(record, 8 + 24 + 7 + more, 4);
	put_bytes(record + 4, names ? 2 : 1, 4);
	memcpy(block, "MNBK", 4);
	put_bytes(block + 4, 56 + padded, 4);
	put_bytes(block + 8, LSN, 8);
	put_bytes(block + 16, LSN, 8);
	put_bytes(block + 24, salt, 8);
	put_bytes(block + 32, 1, 8);
	put_bytes(block + 40, 1, 4);
	put_bytes(block + 44, crc32c_scalar(0, block, 44), 4);
	uint32_t crc = crc32c_scalar((uint32_t)salt, block, 48);
	put_bytes(block + 48, crc32c_scalar(crc, block + 56, padded), 4);
}

static void write_file(struct sim *sim, const char *name, const void *bytes, size_t length)
{
	struct io_file *file;
	struct io *io;

	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	(void)io->ops->mkdir(io, "wal");
	ck_assert_int_eq(io->ops->open(io, name, IO_WRITE | IO_CREATE, &file), 0);
	ck_assert_int_eq(io_write_full(file, io, bytes, length, 0), 0);
	io->ops->close(file);
	io->ops->destroy(io);
}

static void expect(struct mneme *m, const char *sub, const void *value, size_t length)
{
	struct mneme_key key = {.inode = 1, .type = 0x80, .sub = sub, .sub_length = 1};
	uint8_t present[PAGE];
	size_t n = 0;

	ck_assert_int_eq(mneme_get(m, &key, present, sizeof present, &n), 0);
	ck_assert_uint_eq(n, length);
	ck_assert_mem_eq(present, value, length);
}

static uint64_t findings(struct sim *sim)
{
	struct mneme_check_result result;
	struct io *io;

	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_int_eq(store_check(io, 0, NULL, NULL, &result, NULL), 0);
	io->ops->destroy(io);
	return result.findings;
}

static struct mneme *golden_open(struct sim *sim)
{
	struct store_tuning tuning = {.heap_reserve = 64 << 20, .no_threads = 1};
	struct mneme_options options = {.dirty_bytes_max = 4 << 20};
	struct mneme_error error = {""};
	struct mneme *m;
	struct io *io;

	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_msg(store_open(io, &options, &tuning, &m, &error) == 0, "%s", error.message);
	return m;
}

static void golden_check(int names)
{
	static uint8_t heap[HEAP_PAGES * PAGE], super[3 * 1048576], segment[SEGMENT];
	uint8_t value[PAGE + 1];
	struct sim *sim;

	memset(heap, 0, sizeof heap);
	memset(super, 0, sizeof super);
	memset(segment, 0, sizeof segment);
	for (int i = 0; i <= PAGE; i++)
		value[i] = value_byte(i);
	ck_assert_int_eq(sim_new(&sim), 0);
	golden_super(super, golden_leaf(heap), golden_bitmap(heap), names);
	golden_segment(segment, heap, names);
	write_file(sim, "heap", heap, sizeof heap);
	write_file(sim, "super", super, sizeof super);
	write_file(sim, "wal/00000000", segment, sizeof segment);
	ck_assert_uint_eq(findings(sim), 0);
	for (int turn = 0; turn < 2; turn++) { /* as it was written, and after a checkpoint */
		struct mneme *m = golden_open(sim);
		ck_assert_uint_eq(mneme_shards(m), 2);
		expect(m, "a", "hello", 5);
		expect(m, "b", value, VALUE_BYTES);
		expect(m, "c", "logged", 6);
		if (names)
			expect(m, "d", value + 1, PAGE);
		ck_assert_int_eq(mneme_close(m), 0);
		ck_assert_uint_eq(findings(sim), 0);
	}
	sim_free(sim);
}

START_TEST(test_format_store_written_by_hand_opens)
{
	golden_check(0);
	golden_check(1);
}
END_TEST

/* The hash of names is on disk. */
START_TEST(test_format_hash_of_names_never_changes)
{
	uint8_t key[16];

	for (int i = 0; i < 16; i++)
		key[i] = (uint8_t)i;
	/* SipHash-2-4 of the reference: key 00..0f, input empty and 00..0e */
	ck_assert_uint_eq(names_position(key, "", 0), 0x726fdb47dd0e0e31 >> 1 & ~0xffull);
	ck_assert_uint_eq(names_position(key, "\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16", 15),
			  0xa129ca6149be45e5 >> 1 & ~0xffull);
}
END_TEST

UNIT_MAIN("format", test_format_page_agrees_with_the_headers,
	  test_format_store_written_by_hand_opens, test_format_hash_of_names_never_changes)
