/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   who owns the rows of a searchable structure: row number -> (owner, part), owner -> its
 *            rows, and which rows are dead.
 * Invariants: rows are numbered from 0 in the order in which they came. An owner's rows form a
 *            chain from the latest to the first; the head stays in the chain, dead or alive (the
 *            hash slot finds the owner through it), dead rows behind it are unlinked.
 * Threading: readers may run together; changes exclude all else.
 * Failure:   -ENOMEM, -ENOSPC (2^31 rows); nothing has changed then.
 */
#ifndef MNEME_CORE_SEARCH_ROWS_H
#define MNEME_CORE_SEARCH_ROWS_H

#include <stdint.h>

struct rows {
	uint64_t *owners;
	uint32_t *parts;
	uint32_t *before; /* 1 + the owner's row before this one; 0: none */
	uint64_t *dead;   /* bitmap */
	uint32_t count, capacity, dead_count;
	uint32_t *slots; /* owner -> 1 + its latest row; open addressing */
	uint32_t slots_mask, owners_count;
};

enum { ROWS_NONE = UINT32_MAX };

void rows_free(struct rows *r); /* leaves it zero: empty and usable */
int rows_append(struct rows *r, uint64_t owner, uint32_t part);
void rows_kill(struct rows *r, uint32_t row); /* it is alive */
void rows_revive(struct rows *r,
		 uint32_t row); /* it was killed by rows_kill(), and nothing since */
/* Kills the owner's living rows (all 1), or those of one part; returns how many. */
unsigned rows_kill_owner(struct rows *r, uint64_t owner, int all, uint32_t part);
/* The living row of (owner, part), or ROWS_NONE. */
uint32_t rows_find(const struct rows *r, uint64_t owner, uint32_t part);
/* The owner's rows, latest first, alive or not: start with rows_latest(), then rows_before(). */
uint32_t rows_latest(const struct rows *r, uint64_t owner);
/* Bytes of memory in use. */
uint64_t rows_bytes(const struct rows *r);

static inline uint32_t rows_before(const struct rows *r, uint32_t row)
{
	return r->before[row] - 1u; /* 0 becomes ROWS_NONE */
}

static inline int rows_is_dead(const struct rows *r, uint32_t row)
{
	return r->dead[row >> 6] >> (row & 63) & 1;
}

#endif
