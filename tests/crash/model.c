/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the reference model; see model.h.
 */
#include "tests/crash/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model_value {
	uint32_t refs;
	uint32_t length;
	uint64_t hash;
	uint8_t bytes[];
};

static void *must(void *mem)
{
	if (!mem) {
		fprintf(stderr, "the test is out of memory\n");
		abort();
	}
	return mem;
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	h ^= h >> 29;
	h *= 0xa0761d6478bd642fu;
	return h ^ h >> 32;
}

static uint64_t bytes_hash(const void *bytes, size_t length)
{
	const uint8_t *p = bytes;
	uint64_t h = mix(length + 1);

	for (; length >= 8; length -= 8, p += 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		h = (h ^ word) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	for (; length; length--, p++)
		h = (h ^ *p) * 0x9e3779b97f4a7c15u;
	return mix(h);
}

static struct model_value *value_new(uint32_t length)
{
	struct model_value *v = must(malloc(sizeof *v + length));

	v->refs = 1;
	v->length = length;
	return v;
}

static void value_drop(struct model_value *v)
{
	if (v && --v->refs == 0)
		free(v);
}

static void model_set(struct model *model, uint32_t key, struct model_value *v)
{
	if (v)
		v->hash = bytes_hash(v->bytes, v->length);
	value_drop(model->values[key]);
	model->values[key] = v;
}

void model_copy(struct model *to, const struct model *from)
{
	*to = *from;
	for (uint32_t i = 0; i < MODEL_ALL; i++)
		if (to->values[i])
			to->values[i]->refs++;
}

void model_clear(struct model *model)
{
	for (uint32_t i = 0; i < MODEL_ALL; i++)
		value_drop(model->values[i]);
	memset(model, 0, sizeof *model);
}

const char effect_words[512] =
	"memory, vector, passage search, recall, nearest between against because another nothing "
	"written letters reading forgets keeping, holding leaving, finding morning evening, "
	"winter, "
	"summer, Thursday January harbour, village kitchen gardens, mother, father, brother "
	"sister, "
	"friends, nobody, whoever perhaps, certain already, tonight, yesterd early on, late in "
	"beside, beneath beyond, without within, through towards, around, behind, before, after, "
	"during, except, instead, despite, unless, whether, whereas although ";

void effect_bytes(const struct effect *effect, uint8_t *out)
{
	uint64_t state = effect->seed;

	for (uint32_t i = 0; i < effect->length; i += 8) {
		uint64_t word = random_next(&state);
		if (effect->seed >> 16 & 1)
			memcpy(&word, effect_words + word % 64 * 8, 8);
		memcpy(out + i, &word, effect->length - i < 8 ? effect->length - i : 8);
	}
}

static void apply_patch(struct model *model, const struct effect *e)
{
	const struct model_value *old = model->values[e->key];
	uint32_t old_length = old ? old->length : 0, end = e->offset + e->length;
	struct model_value *v = value_new(end > old_length ? end : old_length);

	memset(v->bytes, 0, v->length);
	if (old)
		memcpy(v->bytes, old->bytes, old_length);
	effect_bytes(e, v->bytes + e->offset);
	model_set(model, e->key, v);
}

void model_apply(struct model *model, const struct effect *e)
{
	struct model_value *v, *old = model->values[e->key];

	switch (e->kind) {
	case EFFECT_PUT:
		v = value_new(e->length);
		effect_bytes(e, v->bytes);
		model_set(model, e->key, v);
		break;
	case EFFECT_PATCH:
		apply_patch(model, e);
		break;
	case EFFECT_TRUNCATE:
		if (!old || old->length <= e->offset)
			break;
		v = value_new(e->offset);
		memcpy(v->bytes, old->bytes, e->offset);
		model_set(model, e->key, v);
		break;
	case EFFECT_DELETE:
		model_set(model, e->key, NULL);
		break;
	case EFFECT_RANGE:
		for (uint32_t k = e->key; k < e->end; k++)
			model_set(model, k, NULL);
		break;
	}
}

static uint64_t pair_sum(uint32_t key, uint64_t hash)
{
	return mix(hash + (key + 1) * 0x9e3779b97f4a7c15u);
}

uint64_t model_sum(const struct model *model)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < MODEL_ALL; i++)
		if (model->values[i])
			sum += pair_sum(i, model->values[i]->hash);
	return sum;
}

const uint8_t *model_get(const struct model *model, uint32_t key, size_t *length)
{
	const struct model_value *v = model->values[key];

	*length = v ? v->length : 0;
	return v ? v->bytes : NULL;
}

void model_key(uint32_t key, struct model_key *out)
{
	uint64_t index = __builtin_bswap64(key % MODEL_KEYS);

	memcpy(out->sub, &index, 8);
	out->key = (struct mneme_key){.inode = MODEL_FIRST_INODE + key / MODEL_KEYS,
				      .type = MNEME_TYPE_CHUNK,
				      .sub = out->sub,
				      .sub_length = 8};
}

/* ---- reading a store ---- */

struct reading {
	struct model *into; /* or NULL */
	uint64_t sum, previous;
	uint32_t shard;
};

static int key_index(const struct mneme_key *key, uint32_t shard, uint32_t *out)
{
	uint64_t index;

	if (key->inode != MODEL_FIRST_INODE + shard || key->type != MNEME_TYPE_CHUNK ||
	    key->sub_length != 8)
		return -EBADMSG;
	memcpy(&index, key->sub, 8);
	index = __builtin_bswap64(index);
	*out = shard * MODEL_KEYS + (uint32_t)index;
	return index < MODEL_KEYS ? 0 : -EBADMSG;
}

static int read_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct reading *r = arg;
	uint32_t index;
	int rc = key_index(key, r->shard, &index);

	if (rc < 0)
		return rc;
	if (index + 1 <= r->previous)
		return -EBADMSG; /* out of order, or twice */
	r->previous = index + 1;
	r->sum += pair_sum(index, bytes_hash(value, length));
	if (r->into) {
		struct model_value *v = value_new(length);
		if (length)
			memcpy(v->bytes, value, length);
		model_set(r->into, index, v);
	}
	return 0;
}

static int read_all(struct mneme *m, struct reading *r)
{
	int rc = 0;

	for (uint32_t s = 0; s < MODEL_SHARDS && rc == 0; s++) {
		struct mneme_key first = {.inode = s};
		struct mneme_key last = {.inode = ~0ull - 1 + s, .type = 0xff};
		r->shard = s;
		r->previous = 0;
		rc = mneme_scan(m, &first, &last, 0, read_each, r);
	}
	return rc;
}

static int get_all(struct mneme *m, uint64_t *sum)
{
	static uint8_t bytes[MNEME_VALUE_MAX];

	*sum = 0;
	for (uint32_t i = 0; i < MODEL_ALL; i++) {
		struct model_key k;
		size_t length;
		model_key(i, &k);
		int rc = mneme_get(m, &k.key, bytes, sizeof bytes, &length);
		if (rc == 0)
			*sum += pair_sum(i, bytes_hash(bytes, length));
		else if (rc != -ENOENT)
			return rc;
	}
	return 0;
}

int store_sum(struct mneme *m, uint64_t *sum)
{
	struct reading r = {0};
	uint64_t again;
	int rc = read_all(m, &r);

	if (rc == 0)
		rc = get_all(m, &again);
	*sum = r.sum;
	return rc == 0 && again != r.sum ? -EILSEQ : rc;
}

int store_load(struct mneme *m, struct model *out)
{
	struct reading r = {.into = out};

	memset(out, 0, sizeof *out);
	return read_all(m, &r);
}

void store_print_difference(struct mneme *m, const struct model *model)
{
	struct model seen;
	int rc = store_load(m, &seen);

	if (rc < 0)
		printf("  the store cannot be read: %s\n", strerror(-rc));
	for (uint32_t i = 0; i < MODEL_ALL; i++) {
		const struct model_value *a = seen.values[i], *b = model->values[i];
		if (!a && !b)
			continue;
		if (a && b && a->hash == b->hash)
			continue;
		printf("  key %u: %d bytes in the store, %d expected%s\n", i,
		       a ? (int)a->length : -1, b ? (int)b->length : -1,
		       a && b && a->length == b->length ? ", other content" : "");
	}
	model_clear(&seen);
}
