/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the reference that the engine is compared with: an ordered map of a few hundred keys, and
 *            the changes that operations make to it.
 * Invariants: key k of shard s is (inode 16 + s, MNEME_TYPE_CHUNK, k as 8 bytes big-endian), so the order
 *            of the indexes is the order of the keys. Two models are equal if their sums are (64 bits
 *            of hash over keys, lengths and bytes).
 * Threading: one thread at a time.
 * Failure:   running out of memory ends the program.
 */
#ifndef MNEME_TESTS_CRASH_MODEL_H
#define MNEME_TESTS_CRASH_MODEL_H

#include "core/mneme.h"

enum { MODEL_SHARDS = 2, MODEL_KEYS = 96, MODEL_ALL = MODEL_SHARDS * MODEL_KEYS };
enum { MODEL_FIRST_INODE = 16 };

struct model_value; /* shared between models */

struct model {
	struct model_value *values[MODEL_ALL]; /* NULL: no such key */
};

enum effect_kind { EFFECT_PUT, EFFECT_DELETE, EFFECT_RANGE, EFFECT_PATCH, EFFECT_TRUNCATE };

/* One change. The bytes that it writes follow from the seed. */
struct effect {
	enum effect_kind kind;
	uint32_t key;    /* 0 .. MODEL_ALL - 1 */
	uint32_t end;    /* of a range: behind its last key, in the same shard */
	uint32_t offset; /* of a patch; the new length of a truncate */
	uint32_t length;
	uint64_t seed;
};

void model_copy(struct model *to, const struct model *from); /* `to` is uninitialised or cleared */
void model_clear(struct model *model);
void model_apply(struct model *model, const struct effect *effect);
uint64_t model_sum(const struct model *model);
/* Bytes of a value or NULL; *length. Valid until the model changes. */
const uint8_t *model_get(const struct model *model, uint32_t key, size_t *length);

/* The bytes that an effect writes: half of the effects write words of this list, the others noise. */
extern const char effect_words[512];
void effect_bytes(const struct effect *effect, uint8_t *out);

struct model_key {
	struct mneme_key key; /* its sub points to `sub` */
	uint8_t sub[8];
};
void model_key(uint32_t key, struct model_key *out);

/* Reads a whole store. 0 or -errno; -EBADMSG: it holds a key that no model has. Every value is read by
 * mneme_get as well and compared with what the scan gave (-EILSEQ if they differ). */
int store_sum(struct mneme *m, uint64_t *sum);
/* The same, into a model. */
int store_load(struct mneme *m, struct model *out);
/* Prints what differs. */
void store_print_difference(struct mneme *m, const struct model *model);

static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return random_next(state) % limit;
}

#endif
