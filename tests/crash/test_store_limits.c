/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the limits of memory and space: transactions that need more pages than are free, or than the
 *            dirty arena has.
 */
#include "core/store/store.h"
#include "tests/crash/history.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static struct sim *disk;
static struct mneme *m;

static void begin(void)
{
	struct mneme_error error = {.message = ""};

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	int rc = history_open(disk, &m, &error);
	ck_assert_msg(rc == 0, "%s", error.message);
}

static void finish(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	sim_free(disk);
}

static int put_many(uint32_t count)
{
	struct mneme_txn *txn;
	uint64_t inode = MODEL_FIRST_INODE;
	int rc = mneme_txn_begin_locked(m, 0, &inode, 1, &txn);

	for (uint32_t i = 0; i < count && rc == 0; i++) {
		struct mneme_key key = {
			.inode = inode, .type = MNEME_TYPE_USER, .sub = &i, .sub_length = 4};
		rc = mneme_txn_put(txn, &key, &i, sizeof i);
		if (rc < 0)
			mneme_txn_abort(txn);
	}
	return rc < 0 ? rc : mneme_txn_commit(txn, MNEME_DURABILITY_STRICT);
}

/* Such a commit tried again for ever: the heap seemed large enough to the one who makes it grow. */
START_TEST(test_store_transaction_needs_more_pages_than_are_free)
{
	begin();
	for (uint32_t count = 1; count <= 120; count++)
		ck_assert_int_eq(put_many(count), 0);
	finish();
}
END_TEST

/* And one that needs more than the whole dirty arena made checkpoints for ever. */
START_TEST(test_store_transaction_larger_than_the_arena)
{
	uint32_t seen;
	size_t length;

	begin();
	ck_assert_int_eq(put_many(15000), -E2BIG);
	for (uint32_t i = 0; i < 15000; i += 7) {
		struct mneme_key key = {.inode = MODEL_FIRST_INODE,
					.type = MNEME_TYPE_USER,
					.sub = &i,
					.sub_length = 4};
		ck_assert_int_eq(mneme_get(m, &key, &seen, sizeof seen, &length), -ENOENT);
	}
	ck_assert_int_eq(put_many(100), 0);
	finish();
}
END_TEST

UNIT_MAIN("store_limits", test_store_transaction_needs_more_pages_than_are_free,
	  test_store_transaction_larger_than_the_arena)
