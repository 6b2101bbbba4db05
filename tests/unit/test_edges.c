/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   links that nobody wrote: they grow, the weakest makes room, they are there at both ends or
 *            at none, they need files with names, and they go with either; the check sees one that has
 *            lost an end.
 * Threading: one thread.
 */
#include "core/edges.h"
#include "core/links.h"
#include "core/store/check_names.h"
#include "tests/unit/library.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { SHARDS = 4, FIRST = 16 };

static char folder[FOLDER_SIZE];
static struct mneme *m;

static void file_put(uint64_t inode, uint32_t nlink)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);
	struct names_inode record = {.mode = S_IFREG | 0600, .nlink = nlink};

	ck_assert_int_eq(mneme_put(m, &key, &record, sizeof record, 0), 0);
}

static void begin(void)
{
	struct mneme_create_options create = {.shards = SHARDS, .segment_bytes = 65536};

	folder_make(folder);
	ck_assert_int_eq(mneme_create(folder, &create, NULL), 0);
	ck_assert_int_eq(mneme_open(folder, NULL, &m, NULL), 0);
	for (uint64_t i = 0; i < 2 * EDGES_MAX; i++)
		file_put(FIRST + i, 1);
}

static void end(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	folder_remove(folder);
}

static const struct edge *found(struct edges *all, uint64_t from, uint8_t kind, uint64_t to)
{
	ck_assert_int_eq(edges_load(m, from, all), 0);
	for (uint32_t i = 0; i < all->count; i++)
		if (all->list[i].kind == kind && all->list[i].to == to)
			return &all->list[i];
	return NULL;
}

static int count(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	(void)key;
	(void)value;
	(void)length;
	++*(unsigned *)arg;
	return 0;
}

/* Records of all links. */
static unsigned records(void)
{
	unsigned n = 0;

	for (uint32_t shard = 0; shard < SHARDS; shard++) {
		struct mneme_key first = names_key(shard, MNEME_TYPE_EDGE);
		struct mneme_key last = names_key(shard, MNEME_TYPE_EDGE + 1);
		ck_assert_int_eq(mneme_scan(m, &first, &last, 0, count, &n), 0);
	}
	return n;
}

START_TEST(test_edges_grow)
{
	struct edges all;
	uint16_t before = 0;

	for (uint32_t i = 1; i <= 200; i++) {
		ck_assert_int_eq(edges_strengthen(m, FIRST, FIRST + 1, 1), 0);
		const struct edge *e = found(&all, FIRST, NAMES_EDGE_COACCESS, FIRST + 1);
		ck_assert_uint_eq(e->count, i);
		ck_assert_uint_ge(e->weight, before);
		ck_assert_uint_le(e->weight, NAMES_WEIGHT_ONE);
		before = e->weight;
	}
	ck_assert_uint_eq(before, NAMES_WEIGHT_ONE);
	ck_assert_uint_eq(records(), 2);
	ck_assert_int_eq(edges_strengthen(m, FIRST, FIRST, 1), -EINVAL);
}
END_TEST

START_TEST(test_edges_weakest_makes_room)
{
	struct edges all;

	for (uint64_t i = 1; i <= EDGES_MAX; i++)
		ck_assert_int_eq(edges_strengthen(m, FIRST, FIRST + i, i == 3 ? 1 : 2), 0);
	ck_assert_int_eq(edges_strengthen(m, FIRST, FIRST + EDGES_MAX + 1, 1), 0);
	ck_assert_ptr_null(found(&all, FIRST, NAMES_EDGE_COACCESS, FIRST + 3));
	ck_assert_uint_eq(all.count, EDGES_MAX);
	ck_assert_uint_eq(records(), 2 * EDGES_MAX);
}
END_TEST

START_TEST(test_edges_need_names)
{
	file_put(FIRST + 1, 0);
	ck_assert_int_eq(edges_strengthen(m, FIRST, FIRST + 1, 1), -ENOENT);
	ck_assert_int_eq(edges_strengthen(m, FIRST, 9999, 1), -ENOENT);
	ck_assert_uint_eq(records(), 0);
}
END_TEST

START_TEST(test_edges_set)
{
	struct edge list[] = {{.to = FIRST + 1, .weight = 100}, {.to = FIRST + 2, .weight = 200}};
	struct edges all;

	ck_assert_int_eq(edges_strengthen(m, FIRST, FIRST + 3, 1), 0);
	ck_assert_int_eq(edges_set(m, FIRST, NAMES_EDGE_NEIGHBOUR, list, 2), 1);
	ck_assert_int_eq(edges_set(m, FIRST, NAMES_EDGE_NEIGHBOUR, list, 2), 0);
	list[0].weight = 300;
	ck_assert_int_eq(edges_set(m, FIRST, NAMES_EDGE_NEIGHBOUR, list, 1), 1);
	ck_assert_uint_eq(found(&all, FIRST, NAMES_EDGE_NEIGHBOUR, FIRST + 1)->weight, 300);
	ck_assert_ptr_null(found(&all, FIRST, NAMES_EDGE_NEIGHBOUR, FIRST + 2));
	ck_assert_ptr_nonnull(found(&all, FIRST, NAMES_EDGE_COACCESS, FIRST + 3));
	ck_assert_int_eq(edges_set(m, FIRST, NAMES_EDGE_NEIGHBOUR, NULL, 0), 1);
	ck_assert_uint_eq(records(), 2);
}
END_TEST

static void add(void *arg, uint64_t other)
{
	*(uint64_t *)arg += other;
}

START_TEST(test_edges_go_with_either_file)
{
	struct mneme_txn *txn;
	uint64_t inode = FIRST + 5, told = 0, wanted = 0;

	for (uint64_t i = 0; i < 2 * EDGES_MAX; i++) {
		if (FIRST + i == inode)
			continue;
		ck_assert_int_eq(edges_strengthen(m, i % 2 ? inode : FIRST + i,
						  i % 2 ? FIRST + i : inode, 1),
				 0);
		wanted += FIRST + i;
	}
	ck_assert_int_eq(edges_strengthen(m, FIRST, FIRST + 1, 1), 0);
	file_put(inode, 0);
	ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
	ck_assert_int_eq(links_any(txn, SHARDS, inode), 1);
	mneme_txn_abort(txn);
	ck_assert_int_eq(links_forget(m, inode, add, &told), 0);
	ck_assert_uint_eq(told, wanted);
	ck_assert_uint_eq(records(), 2);
	told = 0;
	ck_assert_int_eq(edges_sources(m, add, &told), 0);
	ck_assert_uint_eq(told, FIRST);
}
END_TEST

static void keep(void *arg, const char *finding, int repaired)
{
	(void)repaired;
	*(int *)arg += strstr(finding, "one end only") != NULL;
}

START_TEST(test_edges_check_finds_a_lost_end)
{
	struct mneme_check_result result = {0};
	uint8_t sub[NAMES_EDGE_SUB];
	int ends = 0;

	const uint64_t root = names_root(SHARDS); /* there are names to check */
	struct mneme_key root_key = names_key(root, MNEME_TYPE_INODE);
	struct names_inode record = {.mode = S_IFDIR | 0755, .nlink = 2, .parent = root};

	ck_assert_int_eq(mneme_put(m, &root_key, &record, sizeof record, 0), 0);
	ck_assert_int_eq(edges_strengthen(m, FIRST, FIRST + 1, 1), 0);
	ck_assert_int_eq(check_names(m, 0, keep, &ends, &result), 0);
	ck_assert_int_eq(ends, 0);
	struct mneme_key key = names_key_edge(SHARDS, FIRST + 1,
					      NAMES_EDGE_COACCESS | NAMES_EDGE_BACK, FIRST, sub);
	ck_assert_int_eq(mneme_delete(m, &key, 0), 0);
	ck_assert_int_eq(check_names(m, 0, keep, &ends, &result), 0);
	ck_assert_int_eq(ends, 1);
	(void)check_names(m, MNEME_CHECK_REPAIR, NULL, NULL, &result);
	ck_assert_uint_eq(records(), 0);
}
END_TEST

UNIT_MAIN_WITH("edges", begin, end, test_edges_grow, test_edges_weakest_makes_room,
	       test_edges_need_names, test_edges_set, test_edges_go_with_either_file,
	       test_edges_check_finds_a_lost_end)
