/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   values that the log names; see runs.h.
 */
#include "core/store/runs.h"
#include "core/store/txn_inside.h"
#include "pool/check.h"
#include "simd/crc32c.h"

enum {
	VALUE_LEAST = 8192, /* bytes: what is shorter costs more here than it saves */
	PATCHES_MAX = 8,    /* of one transaction, that are compared with its values */
};

static int is_large(const struct commit_op *op)
{
	return op->kind == FMT_OP_PUT && op->length >= VALUE_LEAST &&
	       op->length % FMT_PAGE_SIZE == 0;
}

static int changes_in_part(const struct commit_op *op)
{
	return op->kind == FMT_OP_PATCH || op->kind == FMT_OP_TRUNCATE;
}

/* What the transaction itself changes in part needs a slot of the arena. */
static int is_changed(const struct commit_op *ops, uint32_t count, const struct commit_op *op)
{
	for (uint32_t i = 0; i < count; i++)
		if (changes_in_part(&ops[i]) && !txn_key_compare(&ops[i].key, &op->key))
			return 1;
	return 0;
}

/* Bytes of large values; 0 where they are to go the way of all others. */
static uint64_t bytes_of(const struct mneme *m, const struct commit_op *ops, uint32_t count)
{
	uint64_t bytes = 0;
	uint32_t patches = 0;

	for (uint32_t i = 0; i < count; i++) {
		bytes += is_large(&ops[i]) ? ops[i].length : 0;
		patches += changes_in_part(&ops[i]);
	}
	if (!bytes || !m->run_least || bytes < m->run_least || patches > PATCHES_MAX)
		return 0;
	for (uint32_t i = 0; i < count && patches; i++)
		if (is_large(&ops[i]) && is_changed(ops, count, &ops[i]))
			return 0;
	return bytes;
}

/* Pages for the large values, in order, as far as there are runs: how many pages that were. */
static uint64_t runs_take(struct heap *h, struct commit_op *ops, uint32_t count, uint64_t wanted)
{
	uint64_t at = 0, taken = 0;
	uint32_t left = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t pages = ops[i].length / FMT_PAGE_SIZE;
		if (!is_large(&ops[i]))
			continue;
		if (left < pages) {
			if (left)
				heap_unclaim(h, at, left);
			int rc = heap_alloc_run(h, (uint32_t)(wanted - taken), pages, &at);
			left = rc > 0 ? (uint32_t)rc : 0;
			if (!left)
				break;
		}
		ops[i].run = at;
		at += pages;
		left -= pages;
		taken += pages;
	}
	if (left)
		heap_unclaim(h, at, left);
	return taken;
}

/* Adjacent values with adjacent runs are one write. */
static int runs_put(struct mneme *m, struct commit_op *ops, uint32_t count)
{
	const uint8_t *from = NULL;
	uint64_t page = 0, bytes = 0;
	int rc = 0;

	for (uint32_t i = 0; i <= count && rc == 0; i++) {
		if (i < count && !ops[i].run)
			continue;
		if (i < count && bytes && ops[i].value == from + bytes &&
		    ops[i].run == page + bytes / FMT_PAGE_SIZE) {
			bytes += ops[i].length;
			continue;
		}
		if (bytes)
			rc = io_write_full(m->heap.file, m->io, from, bytes, page * FMT_PAGE_SIZE);
		if (i < count) {
			from = ops[i].value;
			page = ops[i].run;
			bytes = ops[i].length;
		}
	}
	return rc;
}

uint64_t runs_give_up(struct mneme *m, struct commit_op *ops, uint32_t count)
{
	uint64_t given = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t pages = ops[i].run ? ops[i].length / FMT_PAGE_SIZE : 0;
		if (pages)
			heap_free_now(&m->heap, ops[i].run, pages);
		ops[i].run = 0;
		given += pages;
	}
	return given;
}

int runs_write(struct mneme *m, struct commit_op *ops, uint32_t count, int64_t keep)
{
	struct heap *h = &m->heap;
	uint64_t wanted = bytes_of(m, ops, count) / FMT_PAGE_SIZE;

	/* acquire: pairs with the release in runs_allow() */
	if (!wanted || !atomic_load_explicit(&m->may_name, memory_order_acquire) ||
	    heap_promise(h, wanted, keep) < 0)
		return 0;
	uint64_t taken = runs_take(h, ops, count, wanted);
	heap_use(h, (uint32_t)taken);
	heap_unpromise(h, wanted);
	int rc = runs_put(m, ops, count);
	if (rc < 0) {
		runs_give_up(m, ops, count);
		/* Nothing refers to what was written: the values go the other way. */
		return rc == -ENOSPC ? 0
				     : store_fail_for_good(m, rc, "a value could not be written");
	}
	for (uint32_t i = 0; i < count && taken; i++)
		if (ops[i].run)
			ops[i].run_crc = crc32c(0, ops[i].value, ops[i].length);
	return 0;
}

void runs_allow(struct mneme *m, const struct fmt_super *super)
{
	/* release: the superblock is durable */
	atomic_store_explicit(&m->may_name, !!(super->incompatible & FMT_INCOMPAT_RUNS),
			      memory_order_release);
}
