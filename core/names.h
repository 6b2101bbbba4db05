/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the on-disk format of the filesystem's own records: what the values under the keys of
 *            MNEME_TYPE_INODE, DENTRY, PARENT, XATTR, SYMLINK, CHUNK, UNWRITTEN, RESERVED, LINK,
 *            BACKLINK, MENTION and ORPHAN mean.
 * Invariants: all integers little-endian, except the numbers inside sub-keys, which are big-endian so
 *            that they sort. Reserved bytes are zero.
 *
 *   key (inode, type, sub)                    value
 *   (i, INODE, -)                             struct names_inode
 *   (dir, DENTRY, position 8 BE)              struct names_dentry, then the name (1..255 bytes)
 *   (i, PARENT, dir 8 BE, position 8 BE)      empty: this dentry leads here; one for each name of i
 *   (i, XATTR, full name 1..255 bytes)        the value, 0..65536 bytes, as it was set
 *   (i, SYMLINK, -)                           the target, 1..4095 bytes
 *   (i, CHUNK, index 8 BE)                    file bytes [index * 16 KiB ...); shorter: zeros follow;
 *                                             no bytes: zeros, reserved by fallocate, of stores made
 *                                             before UNWRITTEN; missing: reserved, or a hole
 *   (i, UNWRITTEN, end 8 BE)                  u64: first; chunks [first, end), which have no CHUNK
 *                                             key, are zeros, reserved by fallocate. Ranges of an
 *                                             inode neither overlap nor touch
 *   (s, RESERVED, -)                          u64: how many reserved chunks the inodes of shard s have;
 *                                             the engine keeps room for them (mneme_txn_reserve)
 *   (i, USE, -)                               struct names_use
 *   (i, LINK, kind 1, place 8 BE)             struct names_link, then its label: what i says of where
 *                                             it leads, 1..NAMES_LABEL_MAX bytes
 *   (i, BACKLINK, from 8 BE, kind 1, place 8 BE)   empty: that link of `from` leads to i
 *   (s, MENTION, position 8 BE, i 8 BE)       empty: a label of i has a name with that position (without
 *                                             .md or .txt); s = position >> 8 mod shards
 *   (s, EDGE, i 8 BE, kind 1, to 8 BE)       struct names_edge; s = shard of i
 *   (s, EDGE, i 8 BE, kind | 0x80, from 8 BE) empty: that one of `from` leads to i; s = shard of i
 *   (s, ORPHAN, i 8 BE)                       empty; s = shard of i. i has no name, remove it when
 *                                             nobody has it open, at the latest at the next mount
 *
 *   position = hash of the name (55 bits, keyed with the store's uuid) << 8 | discriminator. It is
 *   also the readdir cookie, so a listing goes on where it was, whatever is made or removed.
 *   Positions below NAMES_POSITION_FIRST are "." (1) and ".." (2).
 *
 *   place = position of the label as if it were a name, and a discriminator. A link is there if and
 *   only if the backlink is, unless it leads nowhere (to 0), and with all its mentions. Hard links need
 *   no more than their PARENT keys.
 *
 *   Every inode but the root and the orphans has at least one PARENT key; nlink of a file is the
 *   number of them. A directory has exactly one, `parent` names it, nlink is 2 + subdirectories and
 *   size is the number of its entries. `allocated` is the sum over chunks of the value's length
 *   rounded up to 512, and of 16 KiB for a reserved one.
 * Failure:   none: definitions only.
 */
#ifndef MNEME_CORE_NAMES_H
#define MNEME_CORE_NAMES_H

#include "core/mneme.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are read in place");

enum {
	NAMES_NAME_MAX = 255,
	NAMES_TARGET_MAX = 4095,
	NAMES_XATTR_NAME_MAX = 255,
	NAMES_XATTR_VALUE_MAX = 65536,
	NAMES_LINK_MAX = 1000000,
	NAMES_POSITION_FIRST = 256,
	NAMES_DISCRIMINATORS = 256,
	NAMES_GENERATION_MIN = 1,
	NAMES_LABEL_MAX = 1023,
	NAMES_WEIGHT_ONE = 1 << 15, /* the weight 1.0 of a link */
};
#define NAMES_FILE_SIZE_MAX (UINT64_C(16) << 40)

/* names_inode.state: what else there is under the inode, to save a search for it. */
enum names_state {
	NAMES_HAS_ACL_ACCESS = 1,
	NAMES_HAS_ACL_DEFAULT = 2,
	NAMES_HAS_CAPABILITY = 4, /* security.capability */
	NAMES_GUARDED = 8, /* of the root: the store has, or had, immutable or append-only files */
	NAMES_HAS_ROBOTS = 16, /* user.xdg.robots.index */
	NAMES_HAS_VECTOR = 32, /* user.mneme.vector */
	NAMES_HAS_LINKS = 64,  /* has, or had, user.mneme.link.* */
	NAMES_HAS_UNWRITTEN = 128,
};

#define NAMES_ROBOTS "user.xdg.robots.index" /* "false": not to be indexed, nor what is below */

struct names_inode {
	uint32_t mode; /* type and permissions, as st_mode */
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint64_t size;      /* bytes; of a directory: entries; of a symlink: bytes of the target */
	uint64_t allocated; /* bytes, multiple of 512 */
	int64_t atime_ns;   /* since 1970, UTC */
	int64_t mtime_ns;
	int64_t ctime_ns;
	int64_t btime_ns;
	uint64_t parent;  /* of a directory: the one above (the root: itself); else the first one */
	uint64_t version; /* one more at each change of the bytes */
	uint32_t rdev;    /* of a device: as the kernel's new_encode_dev */
	uint32_t
		flags; /* FS_*_FL of linux/fs.h: immutable, append, nodump, noatime, sync, dirsync */
	uint32_t generation;
	uint32_t state; /* enum names_state */
	uint64_t reserved[2];
};
_Static_assert(sizeof(struct names_inode) == 112, "inode record");
_Static_assert(offsetof(struct names_inode, size) == 16, "inode record");
_Static_assert(offsetof(struct names_inode, atime_ns) == 32, "inode record");
_Static_assert(offsetof(struct names_inode, parent) == 64, "inode record");
_Static_assert(offsetof(struct names_inode, rdev) == 80, "inode record");
_Static_assert(offsetof(struct names_inode, reserved) == 96, "inode record");

struct names_dentry {
	uint64_t inode;
	uint8_t type; /* DT_*: (mode & S_IFMT) >> 12 */
	uint8_t name_length;
	uint8_t reserved[6];
};
_Static_assert(sizeof(struct names_dentry) == 16, "dentry record");
_Static_assert(offsetof(struct names_dentry, type) == 8, "dentry record");

/* The first byte of a LINK's sub-key. */
enum names_link_kind {
	NAMES_LINK_EXPLICIT = 1, /* user.mneme.link.LABEL */
	NAMES_LINK_WIKI = 2,     /* [[label]] */
	NAMES_LINK_MARKDOWN = 3, /* [text](label) */
	NAMES_LINK_SYMLINK = 4,  /* the target */
	NAMES_LINK_KINDS,
};

struct names_link {
	uint64_t to;     /* inode; 0: nowhere */
	uint16_t weight; /* 1..NAMES_WEIGHT_ONE */
	uint8_t reserved[6];
};
_Static_assert(sizeof(struct names_link) == 16, "link record");
_Static_assert(offsetof(struct names_link, weight) == 8, "link record");

/* Links that follow from how files are used, and what they mean. */
enum names_edge_kind {
	NAMES_EDGE_NEIGHBOUR = 1, /* near by meaning */
	NAMES_EDGE_COACCESS = 2,  /* used together */
	NAMES_EDGE_KINDS,
};
enum { NAMES_EDGE_BACK = 0x80, NAMES_EDGE_SUB = 17 };

struct names_edge {
	uint16_t weight; /* 1..NAMES_WEIGHT_ONE */
	uint16_t reserved;
	uint32_t count; /* how often they were used together */
};
_Static_assert(sizeof(struct names_edge) == 8, "edge record");
_Static_assert(offsetof(struct names_edge, count) == 4, "edge record");

struct names_use {
	uint64_t count;
	int64_t last_ns; /* since 1970, UTC */
};
_Static_assert(sizeof(struct names_use) == 16, "use record");
_Static_assert(offsetof(struct names_use, last_ns) == 8, "use record");

static inline void names_put_be64(uint8_t out[8], uint64_t number)
{
	uint64_t swapped = __builtin_bswap64(number);

	memcpy(out, &swapped, 8);
}

static inline uint64_t names_get_be64(const uint8_t in[8])
{
	uint64_t swapped;

	memcpy(&swapped, in, 8);
	return __builtin_bswap64(swapped);
}

/* The root directory: the first inode of shard 0. */
static inline uint64_t names_root(uint32_t shards)
{
	return shards;
}

/* A key with an empty sub-key. */
static inline struct mneme_key names_key(uint64_t inode, enum mneme_type type)
{
	return (struct mneme_key){.inode = inode, .type = type};
}

/* A key whose sub-key is one big-endian number; `sub` must outlive it. */
static inline struct mneme_key names_key_number(uint64_t inode, enum mneme_type type,
						uint64_t number, uint8_t sub[8])
{
	names_put_be64(sub, number);
	return (struct mneme_key){.inode = inode, .type = type, .sub = sub, .sub_length = 8};
}

static inline struct mneme_key names_key_parent(uint64_t inode, uint64_t directory,
						uint64_t position, uint8_t sub[16])
{
	names_put_be64(sub, directory);
	names_put_be64(sub + 8, position);
	return (struct mneme_key){
		.inode = inode, .type = MNEME_TYPE_PARENT, .sub = sub, .sub_length = 16};
}

/* `sub` has NAMES_LINK_SUB or NAMES_BACKLINK_SUB bytes. */
enum { NAMES_LINK_SUB = 9, NAMES_BACKLINK_SUB = 17, NAMES_MENTION_SUB = 16 };

static inline struct mneme_key names_key_link(uint64_t from, uint8_t kind, uint64_t place,
					      uint8_t *sub)
{
	sub[0] = kind;
	names_put_be64(sub + 1, place);
	return (struct mneme_key){
		.inode = from, .type = MNEME_TYPE_LINK, .sub = sub, .sub_length = NAMES_LINK_SUB};
}

static inline struct mneme_key names_key_backlink(uint64_t to, uint64_t from, uint8_t kind,
						  uint64_t place, uint8_t *sub)
{
	names_put_be64(sub, from);
	sub[8] = kind;
	names_put_be64(sub + 9, place);
	return (struct mneme_key){.inode = to,
				  .type = MNEME_TYPE_BACKLINK,
				  .sub = sub,
				  .sub_length = NAMES_BACKLINK_SUB};
}

/* `sub` has NAMES_MENTION_SUB bytes. */
static inline struct mneme_key names_key_mention(uint32_t shards, uint64_t position, uint64_t from,
						 uint8_t *sub)
{
	names_put_be64(sub, position);
	names_put_be64(sub + 8, from);
	return (struct mneme_key){.inode = position >> 8 & (shards - 1),
				  .type = MNEME_TYPE_MENTION,
				  .sub = sub,
				  .sub_length = NAMES_MENTION_SUB};
}

/* `sub` has NAMES_EDGE_SUB bytes. */
static inline struct mneme_key names_key_edge(uint32_t shards, uint64_t inode, uint8_t kind,
					      uint64_t other, uint8_t *sub)
{
	names_put_be64(sub, inode);
	sub[8] = kind;
	names_put_be64(sub + 9, other);
	return (struct mneme_key){.inode = inode & (shards - 1),
				  .type = MNEME_TYPE_EDGE,
				  .sub = sub,
				  .sub_length = NAMES_EDGE_SUB};
}

/* 1: the transaction sees a key from `first` on and before `last`. */
int names_any(struct mneme_txn *txn, const struct mneme_key *first, const struct mneme_key *last);

/* Hash of a name as a position with discriminator 0 (SipHash-2-4 of Aumasson and Bernstein, keyed
 * with the store's uuid, so that nobody can prepare names that collide). */
uint64_t names_position(const uint8_t key[16], const char *name, size_t length);

#endif
