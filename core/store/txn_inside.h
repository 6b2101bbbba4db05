/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the files of the transaction share; see txn.h.
 */
#ifndef MNEME_CORE_STORE_TXN_INSIDE_H
#define MNEME_CORE_STORE_TXN_INSIDE_H

#include "core/store/commit.h"
#include "core/store/txn.h"

#include <errno.h>

enum { TXN_BLOCK_BYTES = 1 << 16, TXN_BLOCKS_KEPT = 2 };

/* Copies of keys and values live in blocks, which do not move. */
struct txn_block {
	struct txn_block *next;
	uint32_t size, used;
	uint8_t bytes[];
};

struct txn_read {
	struct mneme_key first; /* sub: in the blocks */
	struct mneme_key last;  /* scan only: where it ended */
	uint64_t hash;          /* of what was seen */
	uint8_t is_scan;
	uint8_t last_inclusive;
};

struct mneme_txn {
	struct mneme *m;
	struct mneme_txn *next; /* pool */
	unsigned flags;
	int is_locked;
	uint64_t lock_bits;             /* shards held */
	uint64_t read_bits, write_bits; /* shards touched */
	uint64_t filter; /* a bit for each own key: 0 means surely not written here */
	int has_range;
	struct commit_op *ops;
	uint32_t count, ops_size;
	struct txn_read *reads;
	uint32_t reads_count, reads_size;
	struct txn_block *blocks;          /* newest first */
	uint8_t *composed;                 /* FMT_VALUE_MAX bytes, made when first needed */
	uint64_t bytes;                    /* of writes, for the limit */
	uint64_t versions[FMT_SHARDS_MAX]; /* of the shards when they were locked */
};

struct txn_pool {
	struct lock lock;
	struct mneme_txn *free; /* [lock] */
	uint64_t hash_seed;     /* [I] */
};

void *txn_alloc(struct mneme_txn *txn, uint32_t size);
int txn_copy_key(struct mneme_txn *txn, const struct mneme_key *key, struct mneme_key *out);
uint64_t txn_key_bit(const struct mneme_key *key);
int txn_key_compare(const struct mneme_key *a, const struct mneme_key *b);
/* -EINVAL where a caller gives a length and no bytes. */
static inline int txn_bytes_check(const void *bytes, size_t length)
{
	return length && !bytes ? -EINVAL : 0;
}
int txn_key_check(const struct mneme *m, const struct mneme_key *key);
uint64_t txn_hash(uint64_t seed, const void *data, size_t length);

/* What the own writes make of a key whose present value is `base` (NULL: absent): 1 with *value and
 * *length, 0 when it is absent then; -ENOMEM. The value is valid until the next call. */
int txn_overlay(struct mneme_txn *txn, const struct mneme_key *key, const void *base,
		size_t base_length, const void **value, size_t *length);
int txn_read_note(struct mneme_txn *txn, const struct mneme_key *first,
		  const struct mneme_key *last, int last_inclusive, uint64_t hash);
/* 0, or -EAGAIN when something read is different now. All shards read are held. */
int txn_validate(struct mneme_txn *txn);
/* Scans the tree alone under the held lock; *hash takes in what was given to `each`. */
int txn_tree_scan(struct mneme *m, const struct mneme_key *first, const struct mneme_key *last,
		  int last_inclusive, uint64_t limit, mneme_scan_each *each, void *arg,
		  uint64_t *hash);
/* Value of one key under the held lock: 0, -ENOENT, -errno. Borrowed. */
int txn_tree_get(struct mneme *m, const struct mneme_key *key, const void **value, size_t *length);

#endif
