/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the hash that orders the names of a directory (names.h has the format).
 * Invariants: SipHash-2-4, 64 bits; its values are on disk, so it can never change.
 * Threading: pure.
 * Failure:   none.
 */
#include "core/names.h"

struct siphash {
	uint64_t v0, v1, v2, v3;
};

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void siphash_round(struct siphash *s)
{
	s->v0 += s->v1;
	s->v1 = rotate_left(s->v1, 13) ^ s->v0;
	s->v0 = rotate_left(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate_left(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate_left(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate_left(s->v1, 17) ^ s->v2;
	s->v2 = rotate_left(s->v2, 32);
}

static void siphash_word(struct siphash *s, uint64_t word)
{
	s->v3 ^= word;
	siphash_round(s);
	siphash_round(s);
	s->v0 ^= word;
}

static uint64_t siphash_bytes(const uint8_t key[16], const void *data, size_t length)
{
	const uint8_t *bytes = data;
	uint64_t k0, k1, word;
	struct siphash s;

	memcpy(&k0, key, 8);
	memcpy(&k1, key + 8, 8);
	s.v0 = k0 ^ UINT64_C(0x736f6d6570736575);
	s.v1 = k1 ^ UINT64_C(0x646f72616e646f6d);
	s.v2 = k0 ^ UINT64_C(0x6c7967656e657261);
	s.v3 = k1 ^ UINT64_C(0x7465646279746573);
	size_t left = length;
	for (; left >= 8; left -= 8, bytes += 8) {
		memcpy(&word, bytes, 8);
		siphash_word(&s, word);
	}
	word = (uint64_t)length << 56;
	for (size_t i = 0; i < left; i++)
		word |= (uint64_t)bytes[i] << (8 * i);
	siphash_word(&s, word);
	s.v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		siphash_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t names_position(const uint8_t key[16], const char *name, size_t length)
{
	uint64_t position = siphash_bytes(key, name, length) >> 1 & ~UINT64_C(0xff);

	return position ? position : NAMES_POSITION_FIRST;
}

static int any_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	(void)arg;
	(void)key;
	(void)value;
	(void)length;
	return 1;
}

int names_any(struct mneme_txn *txn, const struct mneme_key *first, const struct mneme_key *last)
{
	return mneme_txn_scan(txn, first, last, 1, any_take, NULL);
}
