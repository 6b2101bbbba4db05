/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   which keys of a shard may have changes that are in no log and not durable yet, so that no
 *            logged change goes ahead of them: after a crash it would be there without them.
 * Invariants: a bit for each of so many hashes of keys, for the present era and the one that a checkpoint
 *            is about to make durable; a clear bit says surely not. After a logged change had to wait,
 *            the shard's changes are logged up to the end of the next era, so that it waits only once. An
 *            era that ends because of another shard's waiting does not count: they would wait in turns.
 * Threading: the shard's lock, for writing.
 */
#ifndef MNEME_CORE_STORE_UNLOGGED_H
#define MNEME_CORE_STORE_UNLOGGED_H

#include <stdint.h>

enum { UNLOGGED_WORDS = 128 };

struct unlogged {
	uint64_t eras[2];      /* to which the bits belong */
	uint64_t logged_until; /* era */
	int waited;            /* a change of this era had to */
	uint64_t bits[2][UNLOGGED_WORDS];
};

/* Changes of `era` in no log: of the key with this hash, or of any key. */
void unlogged_note(struct unlogged *u, uint64_t era, uint64_t hash);
void unlogged_note_all(struct unlogged *u, uint64_t era);
/* Whether there may be one of that key; the eras up to `durable` are. */
int unlogged_may_have(const struct unlogged *u, uint64_t durable, uint64_t hash);

/* Whether there may be one of any key. */
static inline int unlogged_any(const struct unlogged *u, uint64_t durable)
{
	return u->eras[0] > durable || u->eras[1] > durable;
}

/* Whether there is one of this era. */
static inline int unlogged_in(const struct unlogged *u, uint64_t era)
{
	return u->eras[era & 1] == era;
}

#endif
