/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   operation sequences on the simulator; see history.h.
 */
#include "tests/crash/history.h"
#include "core/store/checkpoint.h"
#include "core/store/compact.h"
#include "core/store/packer.h"
#include "core/store/packing.h"
#include "core/store/store.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAP_RESERVE = 64 << 20, SEGMENT_BYTES = 65536, DIRTY_BYTES = 4 << 20, RUN_BYTES = 8192 };

static uint64_t arena = DIRTY_BYTES;

void history_arena(uint64_t bytes)
{
	arena = bytes ? bytes : DIRTY_BYTES;
}

int history_open(struct sim *disk, struct mneme **out, struct mneme_error *error)
{
	/* Each second time so small a map that leaves and values are read by copying. */
	static unsigned opens;
	struct mneme_options options = {.dirty_bytes_max = arena, .mapped_bytes_max = ++opens & 1};
	struct store_tuning tuning = {
		.heap_reserve = HEAP_RESERVE, .no_threads = 1, .run_least = RUN_BYTES};
	struct io *io;
	int rc = sim_io_new(disk, &io);

	*out = NULL;
	return rc < 0 ? rc : store_open(io, &options, &tuning, out, error);
}

int history_create(struct sim *disk)
{
	struct mneme_create_options options = {.shards = MODEL_SHARDS,
					       .segment_bytes = SEGMENT_BYTES,
					       .compression = MNEME_COMPRESSION_ZSTD};
	struct io *io;
	int rc = sim_io_new(disk, &io);

	if (rc < 0)
		return rc;
	rc = store_create(io, &options, NULL);
	io->ops->destroy(io);
	return rc;
}

struct sim *disk_settled(const struct sim *disk)
{
	struct sim *out = NULL;
	int rc = sim_crash(disk, sim_events(disk), SIM_CRASH_ALL_KEPT, 0, &out);

	return rc < 0 ? NULL : out;
}

/* ---- templates ---- */

/* Hot keys are hit again and again, so that operations meet; the others make the tree grow. */
enum { HOT = 3 };

struct template
{
	const char *name;
	enum op_kind kind;
	enum effect_kind effect;
	uint32_t offset, length;
	int wrong, durabilities;
};

static const struct template templates[] = {
	{"put small", OP_PUT, EFFECT_PUT, 0, 60, 0, 1},
	{"put empty", OP_PUT, EFFECT_PUT, 0, 0, 0, 0},
	{"put large", OP_PUT, EFFECT_PUT, 0, 9000, 0, 1},
	{"put huge", OP_PUT, EFFECT_PUT, 0, 60000, 0, 0},
	{"put run", OP_PUT, EFFECT_PUT, 0, RUN_BYTES, 0, 1},
	{"patch inside", OP_PATCH, EFFECT_PATCH, 20, 30, 0, 1},
	{"patch beyond the end", OP_PATCH, EFFECT_PATCH, 700, 100, 0, 0},
	{"patch large", OP_PATCH, EFFECT_PATCH, 5000, 6000, 0, 1},
	{"truncate short", OP_TRUNCATE, EFFECT_TRUNCATE, 10, 0, 0, 1},
	{"truncate long", OP_TRUNCATE, EFFECT_TRUNCATE, 3000, 0, 0, 0},
	{"delete", OP_DELETE, EFFECT_DELETE, 0, 0, 0, 1},
	{"delete range", OP_RANGE, EFFECT_RANGE, 0, 2, 0, 1},
	{"delete all", OP_RANGE, EFFECT_RANGE, 0, MODEL_KEYS, 0, 0},
	{"txn", OP_TXN, EFFECT_PUT, 0, 300, 0, 1},
	{"locked txn", OP_LOCKED, EFFECT_PUT, 0, 2000, 0, 1},
	{"locked runs", OP_LOCKED, EFFECT_PUT, 0, 2 * RUN_BYTES, 0, 0},
	{"fill", OP_LOCKED, EFFECT_PUT, 0, 640, 2, 0},
	{"swap", OP_SWAP, EFFECT_PUT, 0, 90, 0, 1},
	{"swap in vain", OP_SWAP, EFFECT_PUT, 0, 90, 1, 0},
	{"pack", OP_PACK, 0, 0, 0, 0, 0},
	{"spill", OP_SPILL, 0, 0, 0, 0, 0},
	{"sync", OP_SYNC, 0, 0, 0, 0, 0},
	{"checkpoint", OP_CHECKPOINT, 0, 0, 0, 0, 0},
	{"compact", OP_COMPACT, 0, 0, 0, 0, 0},
	{"reopen", OP_REOPEN, 0, 0, 0, 0, 0},
};

enum { TEMPLATES = sizeof templates / sizeof templates[0], DURABILITIES = 3 };

/* The first durability of every template, then the two others of those that have them. */
static const struct template *template_find(uint32_t n, enum mneme_durability *durability)
{
	for (uint32_t i = 0; i < TEMPLATES; i++) {
		uint32_t variants = templates[i].durabilities ? DURABILITIES : 1;
		if (n < variants) {
			*durability = MNEME_DURABILITY_MEMORY + (variants == 1 ? 2 : n);
			return &templates[i];
		}
		n -= variants;
	}
	abort();
}

uint32_t op_templates(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < TEMPLATES; i++)
		n += templates[i].durabilities ? DURABILITIES : 1;
	return n;
}

static void effects_spread(struct op *op, const struct template *t, uint64_t *random)
{
	op->count = t->wrong == 2 ? 40 : 4;
	for (uint32_t i = 0; i < op->count; i++) {
		struct effect *e = &op->effects[i];
		e->seed = random_next(random);
		e->length = t->length + (t->length % RUN_BYTES ? i : 0);
		e->kind = EFFECT_PUT;
		if (t->wrong == 2)
			e->key = (i & 1) * MODEL_KEYS + HOT + (e->seed % (MODEL_KEYS - HOT));
		else
			e->key = (i & 1) * MODEL_KEYS + e->seed % HOT;
		if (i == 2 && t->kind == OP_TXN)
			e->kind = EFFECT_DELETE;
	}
}

void op_make(struct op *op, uint32_t template, uint64_t seed)
{
	enum mneme_durability durability;
	const struct template *t = template_find(template, &durability);
	uint64_t random = seed * 0x2545f4914f6cdd1du + template;
	struct effect *e = &op->effects[0];

	memset(op, 0, sizeof *op);
	op->kind = t->kind;
	op->durability = durability;
	op->wrong = t->wrong == 1;
	if (t->kind == OP_PACK || t->kind == OP_SPILL)
		op->durability = MNEME_DURABILITY_BUFFERED;
	if (t->kind >= OP_PACK)
		return;
	if (t->kind == OP_TXN || t->kind == OP_LOCKED) {
		effects_spread(op, t, &random);
		return;
	}
	op->count = 1;
	e->kind = t->effect;
	e->seed = random_next(&random);
	e->key = (e->seed & 1) * MODEL_KEYS + (e->seed >> 8) % HOT;
	e->offset = t->offset;
	e->length = t->length;
	if (t->kind == OP_RANGE) {
		uint32_t shard_end = (e->key / MODEL_KEYS + 1) * MODEL_KEYS;
		if (t->length == MODEL_KEYS)
			e->key = shard_end - MODEL_KEYS;
		e->end = e->key + t->length < shard_end ? e->key + t->length : shard_end;
		e->length = 0;
	}
}

uint32_t op_template(enum op_kind kind, uint32_t effects_least)
{
	struct op op;

	for (uint32_t t = 0; t < op_templates(); t++) {
		op_make(&op, t, 1);
		if (op.kind == kind && op.count >= effects_least)
			return t;
	}
	ck_abort_msg("no such template");
}

const char *op_name(const struct op *op)
{
	static const char *const kinds[] = {
		"put",  "patch", "truncate", "delete", "range",      "txn",     "locked txn",
		"swap", "pack",  "spill",    "sync",   "checkpoint", "compact", "reopen",
	};
	static const char *const durabilities[] = {"", " memory", " buffered", " strict"};
	static char text[96];

	snprintf(text, sizeof text, "%s%s of key %u, %u bytes at %u%s", kinds[op->kind],
		 op->kind >= OP_PACK ? "" : durabilities[op->durability], op->effects[0].key,
		 op->effects[0].length, op->effects[0].offset, op->wrong ? ", in vain" : "");
	return text;
}

/* ---- running ---- */

static uint8_t effect_memory[OP_EFFECTS_MAX][MNEME_VALUE_MAX];

static int effect_add(struct mneme_txn *txn, const struct effect *e, uint8_t *bytes)
{
	struct model_key k, last;

	model_key(e->key, &k);
	switch (e->kind) {
	case EFFECT_PUT:
		return mneme_txn_put(txn, &k.key, bytes, e->length);
	case EFFECT_PATCH:
		return mneme_txn_patch_borrowed(txn, &k.key, e->offset, bytes, e->length);
	case EFFECT_TRUNCATE:
		return mneme_txn_truncate(txn, &k.key, e->offset);
	case EFFECT_DELETE:
		return mneme_txn_delete(txn, &k.key);
	default:
		model_key(e->end - 1, &last);
		/* The end is exclusive: the last key with a zero byte behind it. */
		uint8_t sub[9] = {0};
		memcpy(sub, last.sub, 8);
		last.key.sub = sub;
		last.key.sub_length = 9;
		return mneme_txn_delete_range(txn, &k.key, &last.key);
	}
}

static int run_txn(struct mneme *m, const struct op *op)
{
	uint64_t inodes[2] = {MODEL_FIRST_INODE, MODEL_FIRST_INODE + 1};
	struct mneme_txn *txn;
	size_t length;
	int rc;

	if (op->kind == OP_TXN)
		rc = mneme_txn_begin(m, 0, &txn);
	else
		rc = mneme_txn_begin_locked(m, 0, inodes, 2, &txn);
	for (uint32_t i = 0; i < op->count && rc == 0; i++) {
		struct model_key k;
		model_key(op->effects[i].key, &k);
		rc = mneme_txn_get(txn, &k.key, NULL, 0, &length);
		if (rc == 0 || rc == -ENOENT)
			rc = effect_add(txn, &op->effects[i], effect_memory[i]);
		if (rc < 0)
			mneme_txn_abort(txn);
	}
	return rc < 0 ? rc : mneme_txn_commit(txn, op->durability);
}

int history_adopt(struct mneme *m)
{
	if (packing_state(m->packing) != PACKING_NONE)
		return 0;
	int rc = packing_adopt(m, effect_words, sizeof effect_words);
	return rc < 0 ? rc : mneme_checkpoint(m);
}

static int run_pack(struct mneme *m)
{
	int rc = history_adopt(m);

	return rc < 0 ? rc : packer_run(m);
}

static int run_reopen(struct history *h)
{
	int rc = mneme_close(h->m);

	h->acknowledged[h->count - 1] = rc == 0;
	h->m = NULL;
	if (rc == 0)
		rc = history_open(h->disk, &h->m, NULL);
	return rc;
}

static int run_swap(struct history *h, const struct op *op, const struct model *before)
{
	const struct effect *e = &op->effects[0];
	struct model_key k;
	size_t length;
	const uint8_t *expected = model_get(before, e->key, &length);
	uint8_t other = 1;

	model_key(e->key, &k);
	if (op->wrong)
		return mneme_compare_and_swap(h->m, &k.key, expected ? NULL : &other, 1,
					      effect_memory[0], e->length, op->durability);
	return mneme_compare_and_swap(h->m, &k.key, expected, length, effect_memory[0], e->length,
				      op->durability);
}

static int run_op(struct history *h, const struct op *op, const struct model *before)
{
	const struct effect *e = &op->effects[0];
	struct model_key k;

	model_key(e->key, &k);
	for (uint32_t i = 0; i < op->count; i++)
		effect_bytes(&op->effects[i], effect_memory[i]);
	switch (op->kind) {
	case OP_PUT:
		return mneme_put(h->m, &k.key, effect_memory[0], e->length, op->durability);
	case OP_DELETE:
		return mneme_delete(h->m, &k.key, op->durability);
	case OP_SWAP:
		return run_swap(h, op, before);
	case OP_PACK:
		return run_pack(h->m);
	case OP_SPILL:
		return checkpoint_spill(h->m);
	case OP_SYNC:
		return mneme_sync(h->m);
	case OP_CHECKPOINT:
		return mneme_checkpoint(h->m);
	case OP_COMPACT:
		return compact_run(h->m, &(struct mneme_compacted){0});
	case OP_REOPEN:
		return run_reopen(h);
	default:
		return run_txn(h->m, op);
	}
}

/* What an operation has to return without faults. */
static int expected_result(const struct op *op, const struct model *before)
{
	size_t length;

	if (op->kind == OP_DELETE && !model_get(before, op->effects[0].key, &length))
		return -ENOENT;
	return op->kind == OP_SWAP && op->wrong ? -ESTALE : 0;
}

static void apply_op(struct model *model, const struct op *op)
{
	for (uint32_t i = 0; i < op->count; i++)
		model_apply(model, &op->effects[i]);
}

void history_begin(struct history *h, struct sim *disk, const struct model *base)
{
	struct mneme_error error = {.message = ""};

	memset(h, 0, sizeof *h);
	h->disk = disk;
	model_copy(&h->base, base);
	int rc = history_open(disk, &h->m, &error);
	ck_assert_msg(rc == 0, "opening: %s: %s", strerror(-rc), error.message);
	h->opened = sim_events(disk);
}

int history_try(struct history *h, const struct op *op, int *faulted)
{
	struct model before;

	ck_assert_uint_lt(h->count, HISTORY_MAX);
	uint32_t i = h->count++;

	history_model(h, i, i, &before);
	h->ops[i] = *op;
	h->acknowledged[i] = 0;
	h->begun[i] = sim_events(h->disk);
	int expected = expected_result(op, &before), rc = run_op(h, op, &before);
	h->returned[i] = sim_events(h->disk);
	*faulted = rc != expected;
	h->logged[i] = op->durability != MNEME_DURABILITY_MEMORY;
	if (rc == 0) {
		h->acknowledged[i] = 1;
		if (op->kind < OP_PACK)
			h->logged[i] = mneme_lsn_last(h->m) != 0;
	}
	if (rc < 0 && !*faulted)
		h->ops[i].count = 0;
	if (*faulted && h->m) {
		uint64_t seen, without = model_sum(&before);
		int read = store_sum(h->m, &seen);
		ck_assert_msg(read == 0, "after %s the store cannot be read: %s", strerror(-rc),
			      strerror(-read));
		apply_op(&before, op);
		if (seen == without)
			h->ops[i].count = 0;
		else
			ck_assert_msg(seen == model_sum(&before), "half of %s was applied",
				      op_name(op));
	}
	model_clear(&before);
	return rc;
}

void history_run(struct history *h, const struct op *op)
{
	int faulted, rc = history_try(h, op, &faulted);

	ck_assert_msg(!faulted, "operation %u (%s) gave %s", h->count - 1, op_name(op),
		      strerror(-rc));
}

void history_rest(struct history *h)
{
	struct op op;

	for (uint64_t i = 0; i < 6; i++) {
		op_make(&op, op_template(OP_LOCKED, 4), i + 50);
		op.durability = MNEME_DURABILITY_STRICT;
		history_run(h, &op);
	}
	history_run(h, &(struct op){.kind = OP_CHECKPOINT});
}

void history_pack(struct history *h)
{
	struct packer_stats before, after;
	struct op op;

	op_make(&op, op_template(OP_PACK, 0), 0);
	packer_get_stats(h->m, &before);
	history_run(h, &op);
	packer_get_stats(h->m, &after);
	ck_assert_uint_gt(after.values, before.values);
}

void history_abandon(struct history *h)
{
	if (h->m)
		store_abandon(h->m);
	h->m = NULL;
}

void history_end(struct history *h)
{
	history_abandon(h);
	sim_free(h->disk);
	model_clear(&h->base);
}

/* ---- what a crash may leave ---- */

void history_model(const struct history *h, uint32_t c, uint32_t p, struct model *out)
{
	model_copy(out, &h->base);
	for (uint32_t i = 0; i < p; i++)
		if (i < c || h->logged[i])
			apply_op(out, &h->ops[i]);
}

void history_compute(struct history *h)
{
	for (uint32_t c = 0; c <= h->count; c++) {
		struct model model;
		history_model(h, c, c, &model);
		h->sums[c][c] = model_sum(&model);
		for (uint32_t p = c; p < h->count; p++) {
			if (h->logged[p])
				apply_op(&model, &h->ops[p]);
			h->sums[c][p + 1] = model_sum(&model);
		}
		model_clear(&model);
	}
}

int history_allows(const struct history *h, uint64_t point, uint64_t sum, uint32_t *c, uint32_t *p)
{
	uint32_t c_least = 0, p_least = 0, p_most = 0;

	for (uint32_t i = 0; i < h->count; i++) {
		if (h->begun[i] <= point)
			p_most = i + 1;
		if (h->returned[i] > point || !h->acknowledged[i])
			continue;
		if (h->ops[i].kind >= OP_SYNC)
			c_least = p_least = i + 1;
		else if (h->ops[i].kind < OP_PACK &&
			 h->ops[i].durability == MNEME_DURABILITY_STRICT)
			p_least = i + 1;
	}
	for (*c = c_least; *c <= p_most; ++*c)
		for (*p = *c > p_least ? *c : p_least; *p <= p_most; ++*p)
			if (h->sums[*c][*p] == sum)
				return 1;
	return 0;
}

void history_print(const struct history *h, uint64_t point)
{
	printf("  opened at event %llu, crash behind event %llu\n", (unsigned long long)h->opened,
	       (unsigned long long)point);
	for (uint32_t i = 0; i < h->count; i++)
		printf("  %u: events %llu to %llu: %s\n", i, (unsigned long long)h->begun[i],
		       (unsigned long long)h->returned[i], op_name(&h->ops[i]));
}
