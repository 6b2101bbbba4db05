/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   ranges of a file's chunks that room is set aside for (fallocate), a record each.
 * Invariants: a record is (inode, UNWRITTEN, end) with its first chunk; ranges of an inode neither
 *            overlap nor touch, and none of their chunks has a key. NAMES_HAS_UNWRITTEN is set in the
 *            inode's state if and only if there are any. Who changes a range changes `allocated` and
 *            what the shard has set aside (mneme_txn_reserve) with it: chunk.c.
 * Threading: changes inside the caller's locked transaction; the caller stores the inode record.
 * Failure:   0 or -errno; -EUCLEAN: a record is damaged.
 */
#ifndef MNEME_FS_UNWRITTEN_H
#define MNEME_FS_UNWRITTEN_H

#include "fs/fs.h"

enum { UNWRITTEN_MAP = 128 };

/* Chunks [first, end) that are taken out of ranges. */
struct unwritten_cut {
	uint64_t first, end;
	uint64_t count;                   /* result: those that were in one */
	uint64_t map[UNWRITTEN_MAP / 64]; /* result: which, of the first UNWRITTEN_MAP */
};

static inline int unwritten_was(const struct unwritten_cut *cut, uint64_t index)
{
	uint64_t bit = index - cut->first;

	return bit < UNWRITTEN_MAP && cut->map[bit / 64] >> (bit % 64) & 1;
}

/* Puts chunks [first, end), none of which has a key, into a range; *added: those that were in none. */
int unwritten_add(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode, uint64_t first,
		  uint64_t end, uint64_t *added);
int unwritten_cut(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode,
		  struct unwritten_cut *cut);
/* Is the chunk in a range? 1, 0 or -errno. */
int unwritten_has(struct mneme_txn *txn, uint64_t ino, uint64_t index);
/* The range of a record. */
int unwritten_parse(const struct mneme_key *key, const void *value, size_t length, uint64_t *first,
		    uint64_t *end);

#endif
