/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   keys with changes in no log; see unlogged.h. Two eras at most are not durable, one odd and
 *            one even.
 */
#include "core/store/unlogged.h"

#include <string.h>

static uint64_t *bits_of(struct unlogged *u, uint64_t era)
{
	uint64_t *bits = u->bits[era & 1];

	if (!unlogged_in(u, era)) {
		memset(bits, 0, sizeof u->bits[0]);
		u->eras[era & 1] = era;
	}
	return bits;
}

void unlogged_note(struct unlogged *u, uint64_t era, uint64_t hash)
{
	bits_of(u, era)[hash / 64 % UNLOGGED_WORDS] |= 1ull << hash % 64;
}

void unlogged_note_all(struct unlogged *u, uint64_t era)
{
	memset(bits_of(u, era), 0xff, sizeof u->bits[0]);
}

int unlogged_may_have(const struct unlogged *u, uint64_t durable, uint64_t hash)
{
	for (int i = 0; i < 2; i++)
		if (u->eras[i] > durable && u->bits[i][hash / 64 % UNLOGGED_WORDS] >> hash % 64 & 1)
			return 1;
	return 0;
}
