/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   every call to the disk fails once, and from then on for good, with every error and in every
 *            way that the simulator knows. Whatever comes of it: a clear errno, no half operation in
 *            memory, no second sync after a failed one, and after opening the disk again (as the process
 *            left it, and as a power loss would) everything that was acknowledged as durable.
 */
#include "core/store/store.h"
#include "tests/crash/history.h"
#include "tests/tier.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct fault {
	enum sim_site site;
	enum sim_effect effect;
	int error, for_good;
	uint64_t nth; /* call of that site since the store is opened */
};

static uint64_t runs, refused;

static void print_fault(const struct history *h, const struct fault *f)
{
	printf("fault: site %d effect %d error %d nth %llu%s\n", f->site, f->effect, f->error,
	       (unsigned long long)f->nth, f->for_good ? " for good" : "");
	history_print(h, sim_events(h->disk));
}

/* Checks what the disk holds at the end, after a power loss of that kind (SIM_CRASH_KINDS: none). */
static void check_disk(const struct history *h, const struct fault *f, unsigned kind)
{
	struct mneme_error error = {.message = ""};
	struct sim *disk;
	struct mneme *m;
	uint64_t sum;
	uint32_t c, p;

	if (kind == SIM_CRASH_KINDS)
		disk = disk_settled(h->disk);
	else
		ck_assert_int_eq(sim_crash(h->disk, sim_events(h->disk), kind, f->nth, &disk), 0);
	int rc = history_open(disk, &m, &error);
	if (rc < 0)
		print_fault(h, f);
	ck_assert_msg(rc == 0, "after crash kind %u: %s: %s", kind, strerror(-rc), error.message);
	rc = store_sum(m, &sum);
	if (rc < 0 || !history_allows(h, sim_events(h->disk), sum, &c, &p)) {
		struct model all;
		print_fault(h, f);
		history_model(h, h->count, h->count, &all);
		store_print_difference(m, &all);
		ck_abort_msg("crash kind %u: %s", kind, rc ? strerror(-rc) : "wrong state");
	}
	ck_assert_int_eq(mneme_delete(m, &(struct mneme_key){.inode = 2}, 0), -ENOENT);
	ck_assert_int_eq(mneme_checkpoint(m), 0);
	store_abandon(m);
	sim_free(disk);
}

static void check_errno(const struct history *h, const struct fault *f, int rc)
{
	if (rc != -f->error && rc != -EROFS)
		print_fault(h, f);
	ck_assert_msg(rc == -f->error || rc == -EROFS, "got %s instead of %s", strerror(-rc),
		      strerror(f->error));
}

/* Opens again after a fault at closing or opening: what is there now is what the history goes on from. */
static void open_again(struct history *h, const struct fault *f)
{
	struct mneme_error error = {.message = ""};

	sim_fail(h->disk, 0, 0, 0, 0, 0);
	int rc = history_open(h->disk, &h->m, &error);
	if (rc < 0)
		print_fault(h, f);
	ck_assert_msg(rc == 0, "opening again: %s: %s", strerror(-rc), error.message);
	history_compute(h);
	uint64_t sum;
	uint32_t c, p;
	ck_assert_int_eq(store_sum(h->m, &sum), 0);
	if (!history_allows(h, sim_events(h->disk), sum, &c, &p)) {
		print_fault(h, f);
		ck_abort_msg("a wrong state after opening again");
	}
	model_clear(&h->base);
	ck_assert_int_eq(store_load(h->m, &h->base), 0);
	h->count = 0;
}

/* After a failure that made the store read-only it is read, and refuses changes. */
static void check_read_only(const struct history *h)
{
	struct mneme_stats stats;
	struct model_key k;

	model_key(0, &k);
	mneme_get_stats(h->m, &stats);
	if (!stats.read_only)
		return;
	ck_assert_int_eq(mneme_put(h->m, &k.key, "x", 1, MNEME_DURABILITY_BUFFERED), -EROFS);
	ck_assert_int_lt(mneme_sync(h->m), 0);
	ck_assert_int_lt(mneme_checkpoint(h->m), 0);
}

static void run_ops(struct history *h, const struct fault *f, const struct op *ops, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		int faulted, rc = history_try(h, &ops[i], &faulted);
		if (faulted) {
			check_errno(h, f, rc);
			refused++;
		}
		if (!h->m && f->for_good)
			return;
		if (!h->m)
			open_again(h, f);
	}
}

static void run_fault(const struct sim *base, const struct model *model, const struct fault *f,
		      const struct op *ops, uint32_t count)
{
	static struct history h;
	struct mneme_error error = {.message = ""};

	runs++;
	memset(&h, 0, sizeof h);
	h.disk = disk_settled(base);
	model_copy(&h.base, model);
	sim_fail(h.disk, 1u << f->site, f->nth, f->error, f->effect, f->for_good);
	int rc = history_open(h.disk, &h.m, &error);
	if (rc < 0) {
		check_errno(&h, f, rc);
		ck_assert_int_ne(error.message[0], 0);
		open_again(&h, f);
	}
	run_ops(&h, f, ops, count);
	if (h.m)
		check_read_only(&h);
	sim_fail(h.disk, 0, 0, 0, 0, 0);
	if (sim_syncs_after_failure(h.disk))
		print_fault(&h, f);
	ck_assert_uint_eq(sim_syncs_after_failure(h.disk), 0);
	history_compute(&h);
	check_disk(&h, f, SIM_CRASH_KINDS);
	check_disk(&h, f, SIM_CRASH_NONE_KEPT);
	check_disk(&h, f, f->nth % 2 ? SIM_CRASH_SUBSET : SIM_CRASH_TORN);
	history_end(&h);
}

/* ---- which faults ---- */

static int effect_fits(enum sim_site site, enum sim_effect effect, int error, int for_good)
{
	int transfers = site == SIM_READ || site == SIM_WRITE;

	if (effect == SIM_HALF_THEN_FAIL)
		return site == SIM_WRITE && error != EINTR;
	if (effect == SIM_SHORT)
		return transfers && error == EIO;
	/* Interrupted for ever is nothing that a system does. */
	return !(transfers && error == EINTR && for_good);
}

static uint64_t calls_needed(const struct sim *base, const struct model *model, enum sim_site site,
			     const struct op *ops, uint32_t count)
{
	static struct history h;

	history_begin(&h, disk_settled(base), model);
	for (uint32_t i = 0; i < count; i++)
		history_run(&h, &ops[i]);
	uint64_t calls = sim_calls(h.disk, 1u << site);
	history_end(&h);
	return calls;
}

static void fail_everything(const struct sim *base, const struct model *model, const struct op *ops,
			    uint32_t count, uint64_t stride)
{
	static const int errors[] = {EIO, ENOSPC, EINTR};
	uint64_t turn = 0;

	for (struct fault f = {0}; f.site < SIM_SITES; f.site++) {
		uint64_t calls = calls_needed(base, model, f.site, ops, count);
		for (f.nth = 1; f.nth <= calls; f.nth++)
			for (int variant = 0; variant < 18; variant++) {
				f.for_good = variant & 1;
				f.error = errors[variant / 2 % 3];
				f.effect = variant / 6;
				if (effect_fits(f.site, f.effect, f.error, f.for_good) &&
				    turn++ % stride == 0)
					run_fault(base, model, &f, ops, count);
			}
	}
}

static uint32_t ops_make(struct op *ops, uint64_t seed)
{
	static const enum op_kind fixed[] = {OP_SYNC, OP_COMPACT, OP_REOPEN, OP_CHECKPOINT};
	uint64_t random = seed;
	uint32_t count = 0;

	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 4; i++)
			op_make(&ops[count++], random_below(&random, op_templates() - 4),
				random_next(&random));
		ops[count++] = (struct op){.kind = fixed[round]};
	}
	return count;
}

/* A disk with full trees and work in its log, and what it holds. */
static struct sim *base_make(uint64_t seed, struct model *model)
{
	static struct history h;
	struct model empty = {0};
	struct sim *disk;
	uint64_t random = seed;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	history_begin(&h, disk, &empty);
	for (int i = 0; i < 20; i++) {
		struct op op;
		op_make(&op, random_below(&random, op_templates()), random_next(&random));
		op.durability = MNEME_DURABILITY_STRICT;
		history_run(&h, &op);
	}
	history_abandon(&h);
	disk = disk_settled(h.disk);
	history_model(&h, h.count, h.count, model);
	history_end(&h);
	return disk;
}

/* The engine says on standard error what made it read-only: thousands of times here. */
static void quiet(void)
{
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
	setvbuf(stdout, NULL, _IOLBF, 0);
}

START_TEST(test_store_every_disk_call_fails)
{
	quiet();
	for (uint64_t s = 0; s < tier_count(1, 3, 60); s++) {
		struct model model;
		struct op ops[24];
		struct sim *base = base_make(tier_seed() + s, &model);
		uint32_t count = ops_make(ops, tier_seed() + 100 + s);
		fail_everything(base, &model, ops, count, tier_count(13, 1, 1));
		model_clear(&model);
		sim_free(base);
	}
	printf("every disk call fails: %llu runs, %llu operations refused\n",
	       (unsigned long long)runs, (unsigned long long)refused);
}
END_TEST

/* A disk without room for what the heap has reserved is another thing than a heap without a run of pages:
 * what was to be written then is not written anywhere else. */
START_TEST(test_store_a_write_without_space_fails_the_checkpoint)
{
	enum { VALUES = 100, LENGTH = 16000 }; /* more than is written at a time */
	static uint8_t values[VALUES][LENGTH], seen[LENGTH];
	uint64_t random = 1;
	struct sim *disk;
	struct mneme *m;

	quiet();
	for (uint32_t i = 0; i < VALUES * LENGTH; i++) /* nothing to compress */
		values[i / LENGTH][i % LENGTH] = (uint8_t)(random_next(&random) >> 32);
	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	ck_assert_int_eq(history_open(disk, &m, NULL), 0);
	for (uint32_t i = 0; i < VALUES; i++) {
		struct mneme_key key = {
			.inode = 16, .type = MNEME_TYPE_USER, .sub = &i, .sub_length = sizeof i};
		ck_assert_int_eq(mneme_put(m, &key, values[i], LENGTH, MNEME_DURABILITY_MEMORY), 0);
	}
	sim_fail(disk, 1u << SIM_WRITE, 1, ENOSPC, SIM_FAIL, 0);
	ck_assert_int_eq(mneme_checkpoint(m), -ENOSPC);
	for (uint32_t i = 0; i < VALUES; i++) {
		struct mneme_key key = {
			.inode = 16, .type = MNEME_TYPE_USER, .sub = &i, .sub_length = sizeof i};
		size_t length;
		ck_assert_int_eq(mneme_get(m, &key, seen, sizeof seen, &length), 0);
		ck_assert_int_eq(memcmp(seen, values[i], LENGTH), 0);
	}
	store_abandon(m);
	sim_free(disk);
}
END_TEST

/* Where no file can be opened for the log, a checkpoint takes its place; then older segments, whose heads
 * are still whole, must not be all that is left to show where the log ended. */
START_TEST(test_store_a_log_without_a_new_segment_keeps_its_end)
{
	static uint8_t value[60000]; /* nearly a segment */

	quiet();
	for (uint64_t nth = 1; nth < 60; nth++) {
		struct mneme_error error = {.message = ""};
		struct mneme_key key = {.inode = 16, .type = MNEME_TYPE_USER, .sub_length = 4};
		struct sim *disk;
		struct mneme *m;
		size_t length;
		ck_assert_int_eq(sim_new(&disk), 0);
		ck_assert_int_eq(history_create(disk), 0);
		ck_assert_int_eq(history_open(disk, &m, NULL), 0);
		sim_fail(disk, 1u << SIM_OPEN, nth / 2 + 1, ENOSPC, SIM_FAIL, nth & 1);
		for (uint32_t i = 0; i < 12; i++) {
			key.sub = &i;
			value[0] = (uint8_t)i;
			length = i % 3 ? 4000 + 4000 * i : sizeof value;
			ck_assert_int_eq(mneme_put(m, &key, value, length, MNEME_DURABILITY_STRICT),
					 0);
			if (i % 4 == 3)
				ck_assert_int_eq(mneme_checkpoint(m), 0);
		}
		ck_assert_int_eq(mneme_close(m), 0);
		sim_fail(disk, 0, 0, 0, SIM_FAIL, 0);
		ck_assert_msg(history_open(disk, &m, &error) == 0, "%s", error.message);
		for (uint32_t i = 0; i < 12; i++) {
			key.sub = &i;
			ck_assert_int_eq(mneme_get(m, &key, value, sizeof value, &length), 0);
			ck_assert_uint_eq(value[0], i);
		}
		store_abandon(m);
		sim_free(disk);
	}
}
END_TEST

UNIT_MAIN("store_faults", test_store_a_log_without_a_new_segment_keeps_its_end,
	  test_store_a_write_without_space_fails_the_checkpoint, test_store_every_disk_call_fails)
