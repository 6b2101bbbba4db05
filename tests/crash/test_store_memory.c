/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   running out of memory: every allocation of every operation fails once. The operation gives
 *            -ENOMEM (or does without), has changed nothing, leaks nothing, and works the next time. And
 *            once warm, the short operations allocate nothing.
 */
#include "core/store/store.h"
#include "pool/alloc.h"
#include "tests/crash/history.h"
#include "tests/tier.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { ALLOCATIONS_MAX = 400 };

static struct sim *base_make(struct model *model, int closed)
{
	static struct history h;
	struct model empty = {0};
	struct sim *disk;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	history_begin(&h, disk, &empty);
	for (uint32_t i = 0; i < op_templates() - 4; i++) {
		struct op op;
		op_make(&op, i, i);
		op.durability = MNEME_DURABILITY_STRICT;
		history_run(&h, &op);
	}
	if (closed)
		history_run(&h, &(struct op){.kind = OP_REOPEN});
	history_abandon(&h);
	disk = disk_settled(h.disk);
	history_model(&h, h.count, h.count, model);
	history_end(&h);
	return disk;
}

/* Opening with the nth allocation failing: an errno and no leak, and the next one opens. */
START_TEST(test_store_open_without_memory)
{
	for (int closed = 0; closed < 2; closed++) {
		struct model model;
		struct sim *base = base_make(&model, closed);
		int refused = 0;
		for (uint64_t nth = 1; nth < ALLOCATIONS_MAX; nth++) {
			struct mneme_error error = {.message = ""};
			struct sim *disk = disk_settled(base);
			struct mneme *m;
			uint64_t sum;
			int64_t live = alloc_count_live();
			alloc_fail_arm(nth, 0);
			int rc = history_open(disk, &m, &error);
			uint64_t calls = alloc_fail_arm(0, 0);
			if (rc < 0) {
				refused++;
				ck_assert_msg(rc == -ENOMEM, "%s: %s", strerror(-rc),
					      error.message);
				ck_assert_int_ne(error.message[0], 0);
				ck_assert_int_eq(alloc_count_live(), live);
				ck_assert_int_eq(history_open(disk, &m, &error), 0);
			}
			ck_assert_int_eq(store_sum(m, &sum), 0);
			ck_assert_uint_eq(sum, model_sum(&model));
			store_abandon(m);
			ck_assert_int_eq(alloc_count_live(), live);
			sim_free(disk);
			if (calls < nth)
				break;
		}
		ck_assert_int_gt(refused, 5);
		model_clear(&model);
		sim_free(base);
	}
}
END_TEST

/* Every operation, on a store that was just opened (nothing is warm), with its nth allocation failing. */
static int fail_nth(const struct sim *base, const struct model *model, const struct op *op,
		    uint64_t nth)
{
	static struct history h;
	int64_t live = alloc_count_live();
	struct mneme_stats stats;
	int faulted;
	uint64_t sum;

	history_begin(&h, disk_settled(base), model);
	struct op first;
	op_make(&first, 0, 5);
	first.durability = MNEME_DURABILITY_BUFFERED;
	if (op->kind == OP_CHECKPOINT || op->kind == OP_SYNC)
		history_run(&h, &first);
	alloc_fail_arm(nth, 0);
	int rc = history_try(&h, op, &faulted);
	uint64_t calls = alloc_fail_arm(0, 0);
	if (faulted) {
		ck_assert_msg(rc == -ENOMEM, "%s gave %s", op_name(op), strerror(-rc));
		if (!h.m) /* a reopen: closed, or not even that */
			ck_assert_int_eq(history_open(h.disk, &h.m, NULL), 0);
		h.count--;
		mneme_get_stats(h.m, &stats);
		ck_assert_int_eq(stats.read_only, 0);
		history_run(&h, op);
	}
	history_compute(&h);
	ck_assert_int_eq(store_sum(h.m, &sum), 0);
	ck_assert_uint_eq(sum, h.sums[h.count][h.count]);
	history_run(&h, &(struct op){.kind = OP_CHECKPOINT});
	history_run(&h, &(struct op){.kind = OP_REOPEN});
	ck_assert_int_eq(store_sum(h.m, &sum), 0);
	ck_assert_uint_eq(sum, h.sums[h.count - 2][h.count - 2]);
	history_end(&h);
	ck_assert_msg(alloc_count_live() == live, "%s leaks", op_name(op));
	return calls >= nth;
}

START_TEST(test_store_every_allocation_fails)
{
	struct model model;
	struct sim *base = base_make(&model, 1);
	uint64_t tried = 0;

	for (uint32_t t = 0; t < op_templates(); t++) {
		struct op op;
		op_make(&op, t, 3);
		for (uint64_t nth = 1; fail_nth(base, &model, &op, nth); nth++)
			tried++;
	}
	printf("every allocation fails: %llu of them\n", (unsigned long long)tried);
	ck_assert_uint_gt(tried, 30);
	model_clear(&model);
	sim_free(base);
}
END_TEST

START_TEST(test_store_made_without_memory)
{
	struct mneme_create_options options = {.shards = 2, .segment_bytes = 65536};

	for (uint64_t nth = 1;; nth++) {
		struct sim *disk;
		struct io *io;
		int64_t live = alloc_count_live();
		ck_assert_int_eq(sim_new(&disk), 0);
		ck_assert_int_eq(sim_io_new(disk, &io), 0);
		alloc_fail_arm(nth, 0);
		int rc = store_create(io, &options, NULL);
		uint64_t calls = alloc_fail_arm(0, 0);
		io->ops->destroy(io);
		sim_free(disk);
		ck_assert_int_eq(alloc_count_live(), live);
		if (calls < nth) {
			ck_assert_int_eq(rc, 0);
			ck_assert_uint_gt(nth, 3);
			return;
		}
		ck_assert_int_eq(rc, -ENOMEM);
	}
}
END_TEST

/* ---- event logs and key-value pairs ---- */

static int extras(struct mneme *m, uint64_t n)
{
	char value[100];
	uint64_t version;
	size_t length;
	int rc = mneme_kv_put(m, "pair", 4, &n, sizeof n, &version, MNEME_DURABILITY_BUFFERED);

	if (rc == 0)
		rc = mneme_kv_get(m, "pair", 4, value, sizeof value, &length, &version);
	if (rc == 0)
		rc = mneme_log_append(m, "run", 3, &n, sizeof n, NULL, MNEME_DURABILITY_BUFFERED);
	if (rc == 0)
		rc = mneme_kv_put(m, "other", 5, &n, sizeof n, NULL, MNEME_DURABILITY_BUFFERED);
	return rc == 0 ? mneme_kv_delete(m, "other", 5, MNEME_DURABILITY_BUFFERED) : rc;
}

START_TEST(test_store_pairs_and_logs_without_memory)
{
	uint64_t bad, count, refused = 0;

	for (uint64_t nth = 1; nth < ALLOCATIONS_MAX; nth++) {
		struct model model;
		struct sim *disk = base_make(&model, 1);
		struct mneme *m;
		int64_t live = alloc_count_live();
		ck_assert_int_eq(history_open(disk, &m, NULL), 0);
		alloc_fail_arm(nth, 0);
		int rc = extras(m, nth);
		uint64_t calls = alloc_fail_arm(0, 0);
		ck_assert_msg(rc == 0 || rc == -ENOMEM, "%s", strerror(-rc));
		refused += rc < 0;
		ck_assert_int_eq(extras(m, nth), 0);
		ck_assert_int_eq(mneme_log_verify(m, "run", 3, &count, &bad), 0);
		ck_assert_int_eq(mneme_close(m), 0);
		ck_assert_int_eq(alloc_count_live(), live);
		sim_free(disk);
		model_clear(&model);
		if (calls < nth)
			break;
	}
	ck_assert_uint_gt(refused, 1);
}
END_TEST

/* ---- warm ---- */

static int bump(struct mneme_txn *txn, void *arg)
{
	struct model_key a, b;
	uint64_t value[2] = {0};
	size_t length;

	(void)arg;
	model_key(1, &a);
	model_key(MODEL_KEYS + 1, &b);
	int rc = mneme_txn_get(txn, &a.key, NULL, 0, &length);
	if (rc == 0 || rc == -ENOENT)
		rc = mneme_txn_put(txn, &a.key, value, sizeof value);
	return rc < 0 ? rc : mneme_txn_put(txn, &b.key, value, sizeof value);
}

static void warm_round(struct mneme *m, uint64_t n)
{
	struct model_key k;
	uint8_t value[400] = {0};
	size_t length;

	model_key(n % 40, &k);
	ck_assert_int_eq(mneme_put(m, &k.key, value, 100 + n % 300, MNEME_DURABILITY_BUFFERED), 0);
	ck_assert_int_eq(mneme_get(m, &k.key, value, sizeof value, &length), 0);
	ck_assert_int_eq(mneme_delete(m, &k.key, MNEME_DURABILITY_BUFFERED), 0);
	ck_assert_int_eq(mneme_txn_run(m, bump, NULL, MNEME_DURABILITY_BUFFERED), 0);
	ck_assert_int_eq(extras(m, n), 0);
	if (n % 50 == 0)
		ck_assert_int_eq(mneme_sync(m), 0);
}

START_TEST(test_store_warm_operations_allocate_nothing)
{
	struct model model;
	struct sim *disk = base_make(&model, 1);
	struct mneme *m;

	ck_assert_int_eq(history_open(disk, &m, NULL), 0);
	for (uint64_t n = 0; n < 400; n++)
		warm_round(m, n);
	uint64_t before = alloc_count_thread();
	for (uint64_t n = 0; n < 400; n++)
		warm_round(m, n);
	uint64_t rounds_cost = alloc_count_thread() - before;
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
	model_clear(&model);
	ck_assert_uint_eq(rounds_cost, 0);
}
END_TEST

UNIT_MAIN("store_memory", test_store_open_without_memory, test_store_every_allocation_fails,
	  test_store_made_without_memory, test_store_pairs_and_logs_without_memory,
	  test_store_warm_operations_allocate_nothing)
