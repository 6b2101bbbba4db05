/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   every structure that the engine writes to disk, in one place. All integers are
 *            little-endian; every structure is padded with zeros and covered by a CRC-32C.
 *
 * STORE/super: superblock A at byte 0, B at 4096; checkpoint g writes the one of g mod 2, and once
 *            that is durable the same into the other, so that damage to one does not bring an older
 *            state back. Then two space tables, A at FMT_SPACE_OFFSET, B at twice that, for even and
 *            odd g: one fmt_space for each heap group.
 * STORE/heap: groups of FMT_GROUP_PAGES pages of 4096 bytes. Pages 0 and 1 of a group are the two
 *            copies of its allocation bitmap (a bit a page, set: in use); the space table says which
 *            copy counts. The other pages are tree pages and runs of values.
 * STORE/wal/: segments: a fmt_segment in the first 4096 bytes, then blocks back to back, each a
 *            fmt_block and its records, 8-byte aligned; zeros behind the last one.
 *
 * A page reference is 8 bytes: page number in bits 0..39, low 23 bits of the page's CRC in bits
 * 40..62, so that a stale page which is whole in itself is still found out; bit 63 is zero on disk (in
 * memory it marks a page of the dirty arena). Zero is no page.
 */
#ifndef MNEME_CORE_STORE_FMT_H
#define MNEME_CORE_STORE_FMT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define FMT_SUPER_MAGIC 0x3153464d454e4du     /* "MNEMFS1" */
#define FMT_SEGMENT_MAGIC 0x474f4c454d454e4du /* "MNEMELOG" */
#define FMT_BLOCK_MAGIC 0x4b424e4du           /* "MNBK" */

enum {
	FMT_VERSION = 1,
	FMT_PAGE_SIZE = 4096,
	FMT_SHARDS_MAX = 64,
	FMT_GROUP_PAGES = 32512, /* 8 * (4096 - 32): what one bitmap page covers */
	FMT_GROUP_FIRST = 2,     /* first page of a group that can be allocated */
	FMT_SPACE_OFFSET = 1 << 20,
	FMT_SPACE_MAX = (1 << 20) / 16, /* groups: 8 TiB of heap */
	FMT_KEY_HEAD = 9,               /* inode (big-endian) and type, before the sub-key */
	FMT_KEY_MAX = 509,
	FMT_VALUE_MAX = 69632,
	FMT_VALUE_PAGES_MAX = FMT_VALUE_MAX / FMT_PAGE_SIZE,
	FMT_DICTIONARY_MAX = 16384,
};

/* Features. A reader refuses a store with an incompatible bit that it does not know. */
enum { FMT_COMPAT_NONE = 0 };
enum {
	FMT_INCOMPAT_ZSTD = 1,
	FMT_INCOMPAT_SCATTERED = 2, /* there may be values with FMT_SCATTERED */
	FMT_INCOMPAT_PACKED = 4, /* there is a dictionary, and there may be cells with FMT_PACKED */
	FMT_INCOMPAT_RUNS = 8,   /* the log may have operations FMT_OP_PUT_RUN */
	FMT_INCOMPAT_KNOWN = FMT_INCOMPAT_ZSTD | FMT_INCOMPAT_SCATTERED | FMT_INCOMPAT_PACKED |
			     FMT_INCOMPAT_RUNS,
};

/* A value outside of its leaf: a run of pages, or with FMT_SCATTERED single ones that a fmt_scatter
 * lists. */
struct fmt_value {
	uint64_t address;    /*  0 page number, the first or that of the list; FMT_SCATTERED */
	uint32_t length;     /*  8 bytes of the value */
	uint32_t stored;     /* 12 bytes in its pages (less than length: compressed) */
	uint32_t crc_stored; /* 16 of the bytes in its pages */
	uint32_t crc_plain;  /* 20 of the value */
	uint64_t birth;      /* 24 era */
};
static_assert(sizeof(struct fmt_value) == 32, "value reference");

/* 4096 bytes on disk, the rest zeros. crc covers the 4096 bytes with crc = 0. */
struct fmt_super {
	uint64_t magic;         /*    0 */
	uint32_t version;       /*    8 */
	uint32_t crc;           /*   12 */
	uint64_t compatible;    /*   16 feature bits */
	uint64_t incompatible;  /*   24 */
	uint8_t uuid[16];       /*   32 */
	uint64_t generation;    /*   48 the checkpoint's number; also the era it closed */
	uint64_t lsn;           /*   56 replay begins here */
	uint64_t heap_pages;    /*   64 */
	uint64_t created_ns;    /*   72 */
	uint64_t written_ns;    /*   80 */
	uint32_t shards;        /*   88 */
	uint32_t segment_bytes; /*   92 */
	uint32_t durability;    /*   96 enum mneme_durability */
	uint32_t compression;   /*  100 enum mneme_compression */
	uint32_t space_groups;  /*  104 entries of the space table */
	uint32_t space_crc;     /*  108 of those entries */
	uint8_t clean;          /*  112 1: closed, nothing to replay */
	uint8_t reserved[7];    /*  113 */
	uint64_t log_durable;   /*  120 the log reached at least here when this was written */
	uint64_t roots[FMT_SHARDS_MAX];      /*  128 page references */
	uint64_t inode_next[FMT_SHARDS_MAX]; /*  640 next sequence number of a shard's inodes */
	struct fmt_value dictionary[2];      /* 1152 its two copies; address 0: none */
	uint64_t packed_until;               /* 1216 era: older values were tried */
};
static_assert(sizeof(struct fmt_super) == 1224, "superblock");
static_assert(offsetof(struct fmt_super, dictionary) == 1152, "superblock");
static_assert(offsetof(struct fmt_super, roots) == 128, "superblock");
static_assert(offsetof(struct fmt_super, clean) == 112, "superblock");

/* One heap group. */
struct fmt_space {
	uint32_t crc;        /* 0 of the bitmap page that counts */
	uint32_t free;       /* 4 free pages */
	uint8_t copy;        /* 8 0 or 1: which page of the group it is */
	uint8_t reserved[7]; /* 9 */
};
static_assert(sizeof(struct fmt_space) == 16, "space table entry");

/* The bitmap page of a group. crc covers bytes 4..4095. */
struct fmt_bitmap {
	uint32_t crc;         /*  0 */
	uint32_t group;       /*  4 */
	uint64_t generation;  /*  8 */
	uint8_t reserved[16]; /* 16 */
	uint8_t bits[4064];   /* 32 bit i of byte i / 8 is page i of the group */
};
static_assert(sizeof(struct fmt_bitmap) == FMT_PAGE_SIZE, "bitmap page");
static_assert(sizeof(((struct fmt_bitmap *)0)->bits) * 8 == FMT_GROUP_PAGES, "bitmap page");

/* A tree page: header, slots growing up, cells growing down. crc covers bytes 4..4095. */
struct fmt_page {
	uint32_t crc;      /*  0 */
	uint8_t level;     /*  4 0: leaf */
	uint8_t shard;     /*  5 */
	uint16_t count;    /*  6 slots */
	uint64_t self;     /*  8 page number */
	uint64_t birth;    /* 16 era in which it was written */
	uint16_t top;      /* 24 lowest byte used by cells */
	uint16_t garbage;  /* 26 bytes of dead cells */
	uint16_t prefix;   /* 28 leading bytes that all keys share */
	uint16_t reserved; /* 30 */
};
static_assert(sizeof(struct fmt_page) == 32, "page header");

/* Slots are in key order. */
struct fmt_slot {
	uint16_t offset;     /* 0 of the cell */
	uint16_t key_length; /* 2 */
	uint32_t head; /* 4 the 4 key bytes behind the shared prefix, as a big-endian number */
};
static_assert(sizeof(struct fmt_slot) == 8, "slot");

/* Cell of a leaf: uint16_t value length (FMT_INDIRECT: a fmt_value is the value; else with FMT_PACKED: a
 * fmt_packed and what belongs to it are), key, value.
 * Cell of an inner page: uint64_t page reference, key: the child holds keys >= key (the first child
 * of a page: any). */
enum { FMT_INDIRECT = 0xffff, FMT_PACKED = 0x8000, FMT_CELL_MAX = 1000 };

/* A value that lies compressed inside of its leaf: this head, a zstd frame made with the store's
 * dictionary, and zeros up to the size of a fmt_value, which takes its place when it is changed. */
struct fmt_packed {
	uint32_t crc_plain;  /*  0 of the value */
	uint32_t length;     /*  4 bytes of the value: 1 to 4096 */
	uint16_t stored;     /*  8 bytes of the frame */
	uint16_t dictionary; /* 10 FMT_DICTIONARY */
};
static_assert(sizeof(struct fmt_packed) == 12, "packed value");
enum { FMT_DICTIONARY = 1, FMT_PACKED_LENGTH_MAX = FMT_PAGE_SIZE };

/* Where a value lies that found no run of free pages. 4096 bytes on disk, the rest zeros. crc covers
 * bytes 4..4095. */
struct fmt_scatter {
	uint32_t crc;                        /*  0 */
	uint32_t count;                      /*  4 pages of the value: 2 or more */
	uint64_t self;                       /*  8 page number of this list */
	uint64_t birth;                      /* 16 era */
	uint64_t pages[FMT_VALUE_PAGES_MAX]; /* 24 page numbers, in order */
};
static_assert(sizeof(struct fmt_scatter) == 160, "list of a value's pages");

/* Head of a log segment, 4096 bytes on disk. crc covers them with crc = 0. */
struct fmt_segment {
	uint64_t magic;    /*  0 */
	uint32_t version;  /*  8 */
	uint32_t crc;      /* 12 */
	uint8_t uuid[16];  /* 16 of the store */
	uint64_t sequence; /* 32 one more for each segment taken into use */
	uint64_t salt;     /* 40 in every block of this use of the file */
	uint64_t base;     /* 48 LSN of the first block */
	uint64_t bytes;    /* 56 size of the file */
};
static_assert(sizeof(struct fmt_segment) == 64, "segment head");

/* A block is what one flush wrote. LSN = segment base + offset behind the segment head. */
struct fmt_block {
	uint32_t magic;      /*  0 */
	uint32_t length;     /*  4 bytes with this head, without padding */
	uint64_t lsn;        /*  8 of this head */
	uint64_t durable;    /* 16 LSN that was durable when this block was written */
	uint64_t salt;       /* 24 */
	uint64_t generation; /* 32 newest durable checkpoint then */
	uint32_t records;    /* 40 */
	uint32_t head_crc;   /* 44 of bytes 0..43 */
	uint32_t crc; /* 48 of bytes 0..47 and the records, begun with the crc of the block before
			      * (of the segment's first block: with the low 32 bits of the salt) */
	uint32_t reserved; /* 52 */
};
static_assert(sizeof(struct fmt_block) == 56, "block head");

/* A record is one transaction: this head, then its operations. 8-byte aligned. */
struct fmt_record {
	uint32_t length; /* 0 with this head, without padding */
	uint32_t count;  /* 4 operations */
};
static_assert(sizeof(struct fmt_record) == 8, "record head");

enum fmt_op_kind {
	FMT_OP_PUT = 1,
	FMT_OP_DELETE = 2,
	FMT_OP_DELETE_RANGE = 3, /* value: the end key, as inode (8, big-endian), type, sub-key */
	FMT_OP_PATCH = 4,        /* value is put at `offset` */
	FMT_OP_TRUNCATE = 5,     /* to `offset` bytes */
	FMT_OP_PUT_RUN = 6,      /* value: a fmt_run, where the value of a put lies */
	FMT_OP_LAST = FMT_OP_PUT_RUN,
};

/* An operation: this head, the sub-key, the value; no padding. */
struct fmt_op {
	uint8_t kind;          /*  0 enum fmt_op_kind */
	uint8_t type;          /*  1 of the key */
	uint16_t sub_length;   /*  2 */
	uint32_t value_length; /*  4 */
	uint64_t inode;        /*  8 */
	uint32_t offset;       /* 16 */
	uint32_t reserved;     /* 20 */
};
static_assert(sizeof(struct fmt_op) == 24, "operation head");

/* A value that was written to the heap before the log named it: a run of pages, full ones. */
struct fmt_run {
	uint64_t page;   /*  0 the first */
	uint32_t length; /*  8 bytes: whole pages, FMT_VALUE_MAX at most */
	uint32_t crc;    /* 12 of them */
};
static_assert(sizeof(struct fmt_run) == 16, "run of the heap");

/* Page references. */
#define FMT_ADDRESS_MASK ((1ull << 40) - 1)
#define FMT_SCATTERED (1ull << 62) /* of a value's address */
#define FMT_DIRTY (1ull << 63)

/* Pages of a value's bytes. */
static inline uint32_t fmt_value_pages(const struct fmt_value *value)
{
	return (value->stored + (uint64_t)FMT_PAGE_SIZE - 1) / FMT_PAGE_SIZE;
}

static inline uint64_t fmt_reference(uint64_t page, uint32_t crc)
{
	return page | (uint64_t)(crc & 0x7fffff) << 40;
}

static inline int fmt_reference_fits(uint64_t reference, uint32_t crc)
{
	return (uint32_t)(reference >> 40 & 0x7fffff) == (crc & 0x7fffff);
}

#endif
