/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the check of names finds and repairs every one of a set of seeded inconsistencies, and
 *            the public mneme_check() and its -n change nothing, name the holder of a store in use,
 *            and repair a store in a directory.
 * Threading: one thread a test.
 */
#include "core/links.h"
#include "core/names.h"
#include "core/store/check.h"
#include "core/store/check_names.h"
#include "core/store/io_sim.h"
#include "core/store/store.h"
#include "simd/crc32c.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHARDS = 4, ROOT = SHARDS, FILE_BYTES = 20000 };

/* Inodes of the tree that tree_make makes. */
enum {
	DIR_A = 2 * SHARDS + 1,  /* /a */
	DIR_B = 2 * SHARDS + 2,  /* /a/b */
	FILE_X = 2 * SHARDS,     /* /x and /a/x2 */
	FILE_Y = 3 * SHARDS + 2, /* /a/b/y */
	LINK_L = 3 * SHARDS,     /* /l */
};

static uint8_t uuid[16];

static int put(struct mneme *m, const struct mneme_key *key, const void *value, size_t length)
{
	return mneme_put(m, key, value, length, MNEME_DURABILITY_BUFFERED);
}

static void put_inode(struct mneme *m, uint64_t inode, const struct names_inode *record)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);

	ck_assert_int_eq(put(m, &key, record, sizeof *record), 0);
}

static void get_inode(struct mneme *m, uint64_t inode, struct names_inode *record)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);
	size_t length;

	ck_assert_int_eq(mneme_get(m, &key, record, sizeof *record, &length), 0);
}

static void put_entry(struct mneme *m, uint64_t directory, const char *name, uint64_t inode,
		      uint32_t mode, uint64_t position)
{
	uint8_t value[sizeof(struct names_dentry) + NAMES_NAME_MAX], sub[8];
	struct names_dentry entry = {
		.inode = inode, .type = mode >> 12, .name_length = strlen(name)};
	struct mneme_key key = names_key_number(directory, MNEME_TYPE_DENTRY, position, sub);

	memcpy(value, &entry, sizeof entry);
	memcpy(value + sizeof entry, name, strlen(name));
	ck_assert_int_eq(put(m, &key, value, sizeof entry + strlen(name)), 0);
}

static uint64_t position_of(const char *name)
{
	return names_position(uuid, name, strlen(name));
}

static void link_name(struct mneme *m, uint64_t directory, const char *name, uint64_t inode,
		      uint32_t mode)
{
	uint8_t sub[16];
	struct mneme_key key = names_key_parent(inode, directory, position_of(name), sub);

	put_entry(m, directory, name, inode, mode, position_of(name));
	ck_assert_int_eq(put(m, &key, "", 0), 0);
}

static void put_directory(struct mneme *m, uint64_t inode, uint64_t parent, uint64_t entries,
			  uint32_t subdirectories)
{
	put_inode(m, inode,
		  &(struct names_inode){.mode = S_IFDIR | 0755,
					.nlink = 2 + subdirectories,
					.size = entries,
					.parent = parent,
					.generation = 1});
}

static void put_file(struct mneme *m, uint64_t inode, uint64_t parent, uint32_t nlink)
{
	static uint8_t bytes[MNEME_CHUNK_SIZE];
	uint8_t sub[8];
	struct mneme_key key = names_key_number(inode, MNEME_TYPE_CHUNK, 0, sub);

	memset(bytes, 'f', sizeof bytes);
	ck_assert_int_eq(put(m, &key, bytes, MNEME_CHUNK_SIZE), 0);
	key = names_key_number(inode, MNEME_TYPE_CHUNK, 1, sub);
	ck_assert_int_eq(put(m, &key, bytes, FILE_BYTES - MNEME_CHUNK_SIZE), 0);
	put_inode(m, inode,
		  &(struct names_inode){.mode = S_IFREG | 0644,
					.nlink = nlink,
					.size = FILE_BYTES,
					.allocated = (FILE_BYTES + 511) / 512 * 512,
					.parent = parent,
					.generation = 1});
}

/* A link of FILE_Y to FILE_X and one that leads nowhere. */
static void links_make(struct mneme *m)
{
	struct links none = {0}, links = {0};
	struct mneme_txn *txn;

	ck_assert_int_eq(links_add(&links, uuid, NAMES_LINK_WIKI, 100, "../../x", 7), 0);
	ck_assert_int_eq(links_add(&links, uuid, NAMES_LINK_MARKDOWN, 200, "nosuch.md", 9), 0);
	links.list[0].to = FILE_X;
	links_sort(&links);
	ck_assert_int_eq(links_begin(m, links_shards(m, FILE_Y, &none, &links), 0, &txn), 0);
	ck_assert_int_eq(links_write(m, txn, FILE_Y, &none, &links), 0);
	ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED), 0);
	links_fini(&links);
}

static void tree_make(struct mneme *m)
{
	struct mneme_key key = names_key(LINK_L, MNEME_TYPE_SYMLINK);

	mneme_uuid(m, uuid);
	for (int i = 0; i < 6 * SHARDS; i++)
		mneme_inode_new(m, i % SHARDS);
	put_directory(m, ROOT, ROOT, 3, 1);
	link_name(m, ROOT, "a", DIR_A, S_IFDIR);
	link_name(m, ROOT, "x", FILE_X, S_IFREG);
	link_name(m, ROOT, "l", LINK_L, S_IFLNK);
	put_directory(m, DIR_A, ROOT, 2, 1);
	link_name(m, DIR_A, "b", DIR_B, S_IFDIR);
	link_name(m, DIR_A, "x2", FILE_X, S_IFREG);
	put_directory(m, DIR_B, DIR_A, 1, 0);
	link_name(m, DIR_B, "y", FILE_Y, S_IFREG);
	put_file(m, FILE_X, ROOT, 2);
	put_file(m, FILE_Y, DIR_B, 1);
	ck_assert_int_eq(put(m, &key, "target", 6), 0);
	put_inode(m, LINK_L,
		  &(struct names_inode){.mode = S_IFLNK | 0777,
					.nlink = 1,
					.size = 6,
					.parent = ROOT,
					.generation = 1});
	links_make(m);
}

static struct mneme *store_on(struct sim *sim)
{
	struct mneme_options options = {.dirty_bytes_max = 8 << 20};
	struct store_tuning tuning = {.heap_reserve = 64 << 20, .no_threads = 1};
	struct mneme_error error = {""};
	struct mneme *m;
	struct io *io;

	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_msg(store_open(io, &options, &tuning, &m, &error) == 0, "%s", error.message);
	return m;
}

static struct sim *disk_with_tree(void)
{
	struct mneme_create_options options = {.shards = SHARDS, .segment_bytes = 1 << 16};
	struct sim *sim;
	struct io *io;

	ck_assert_int_eq(sim_new(&sim), 0);
	ck_assert_int_eq(sim_io_new(sim, &io), 0);
	ck_assert_int_eq(store_create(io, &options, NULL), 0);
	io->ops->destroy(io);
	struct mneme *m = store_on(sim);
	tree_make(m);
	ck_assert_int_eq(mneme_close(m), 0);
	return sim;
}

/* ---- seeds ---- */

static void change_inode(struct mneme *m, uint64_t inode, int nlink, int size, int allocated)
{
	struct names_inode record;

	get_inode(m, inode, &record);
	record.nlink += nlink;
	record.size += size;
	record.allocated += allocated;
	put_inode(m, inode, &record);
}

static void delete_key(struct mneme *m, const struct mneme_key *key)
{
	ck_assert_int_eq(mneme_delete(m, key, MNEME_DURABILITY_BUFFERED), 0);
}

static void delete_entry(struct mneme *m, uint64_t directory, const char *name)
{
	uint8_t sub[8];
	struct mneme_key key =
		names_key_number(directory, MNEME_TYPE_DENTRY, position_of(name), sub);

	delete_key(m, &key);
}

static void seed_link_count(struct mneme *m)
{
	change_inode(m, FILE_X, 1, 0, 0);
}

static void seed_directory_link_count(struct mneme *m)
{
	change_inode(m, DIR_A, -1, 0, 0);
}

static void seed_directory_size(struct mneme *m)
{
	change_inode(m, DIR_B, 0, 4, 0);
}

static void seed_allocated(struct mneme *m)
{
	change_inode(m, FILE_Y, 0, 0, 512);
}

static void seed_size(struct mneme *m)
{
	change_inode(m, FILE_Y, 0, -7000, 0);
}

static void seed_target_length(struct mneme *m)
{
	change_inode(m, LINK_L, 0, 1, 0);
}

static void seed_lost_record(struct mneme *m)
{
	struct mneme_key key = names_key(FILE_Y, MNEME_TYPE_INODE);

	delete_key(m, &key);
}

static void seed_lost_directory_record(struct mneme *m)
{
	struct mneme_key key = names_key(DIR_A, MNEME_TYPE_INODE);

	delete_key(m, &key);
}

static void seed_lost_inode(struct mneme *m)
{
	struct mneme_key first = names_key(FILE_Y, 0), last = names_key(FILE_Y + SHARDS, 0);
	struct mneme_txn *txn;

	ck_assert_int_eq(mneme_txn_begin(m, 0, &txn), 0);
	ck_assert_int_eq(mneme_txn_delete_range(txn, &first, &last), 0);
	ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED), 0);
}

static void seed_lost_entry(struct mneme *m)
{
	delete_entry(m, DIR_B, "y");
}

static void seed_lost_directory_entry(struct mneme *m)
{
	delete_entry(m, ROOT, "a");
}

static void seed_lost_parent(struct mneme *m)
{
	uint8_t sub[16];
	struct mneme_key key = names_key_parent(FILE_X, DIR_A, position_of("x2"), sub);

	delete_key(m, &key);
}

static void seed_foreign_parent(struct mneme *m)
{
	uint8_t sub[16];
	struct mneme_key key = names_key_parent(FILE_X, DIR_A, position_of("b"), sub);

	ck_assert_int_eq(put(m, &key, "", 0), 0);
}

static void seed_type(struct mneme *m)
{
	put_entry(m, ROOT, "x", FILE_X, S_IFIFO, position_of("x"));
}

static void seed_hash(struct mneme *m)
{
	put_entry(m, ROOT, "other", FILE_X, S_IFREG, position_of("x"));
}

static void seed_name(struct mneme *m)
{
	put_entry(m, ROOT, "a/b", FILE_X, S_IFREG, position_of("a/b"));
}

static void seed_orphan_mark(struct mneme *m)
{
	uint8_t sub[8];
	struct mneme_key key = names_key_number(FILE_X % SHARDS, MNEME_TYPE_ORPHAN, FILE_X, sub);

	ck_assert_int_eq(put(m, &key, "", 0), 0);
}

/* /a/b becomes the directory above /a. */
static void seed_circle(struct mneme *m)
{
	struct names_inode record;
	uint8_t sub[16];
	struct mneme_key key = names_key_parent(DIR_A, ROOT, position_of("a"), sub);

	delete_entry(m, ROOT, "a");
	delete_key(m, &key);
	change_inode(m, ROOT, -1, -1, 0);
	link_name(m, DIR_B, "a", DIR_A, S_IFDIR);
	change_inode(m, DIR_B, 1, 1, 0);
	get_inode(m, DIR_A, &record);
	record.parent = DIR_B;
	put_inode(m, DIR_A, &record);
}

static void seed_chunk_far_out(struct mneme *m)
{
	uint8_t sub[8];
	struct mneme_key key = names_key_number(FILE_X, MNEME_TYPE_CHUNK, 1ull << 40, sub);

	ck_assert_int_eq(put(m, &key, "x", 1), 0);
}

static void seed_room(struct mneme *m)
{
	struct mneme_key key = names_key(FILE_X % SHARDS, MNEME_TYPE_RESERVED);
	uint64_t three = 3;

	ck_assert_int_eq(put(m, &key, &three, sizeof three), 0);
}

/* A chunk that room was set aside for, and the record of that is lost. */
static void seed_room_not_set_aside(struct mneme *m)
{
	uint8_t sub[8];
	struct mneme_key key = names_key_number(FILE_X, MNEME_TYPE_CHUNK, 2, sub);
	struct names_inode record;

	ck_assert_int_eq(put(m, &key, "", 0), 0);
	get_inode(m, FILE_X, &record);
	record.allocated += MNEME_CHUNK_SIZE;
	put_inode(m, FILE_X, &record);
}

/* Sets chunks [first, end) of FILE_X aside: the range, `allocated` and the state; the shard's number is
 * `reserved`. */
static void put_range(struct mneme *m, uint64_t first, uint64_t end, uint64_t reserved)
{
	uint8_t sub[8];
	struct mneme_key key = names_key_number(FILE_X, MNEME_TYPE_UNWRITTEN, end, sub);
	struct names_inode record;

	ck_assert_int_eq(put(m, &key, &first, sizeof first), 0);
	key = names_key(FILE_X % SHARDS, MNEME_TYPE_RESERVED);
	ck_assert_int_eq(put(m, &key, &reserved, sizeof reserved), 0);
	get_inode(m, FILE_X, &record);
	record.allocated += (end - first) * MNEME_CHUNK_SIZE;
	record.state |= NAMES_HAS_UNWRITTEN;
	put_inode(m, FILE_X, &record);
}

static void seed_range_over_bytes(struct mneme *m)
{
	put_range(m, 1, 7, 6);
}

static void seed_range_far_out(struct mneme *m)
{
	put_range(m, NAMES_FILE_SIZE_MAX / MNEME_CHUNK_SIZE - 2,
		  NAMES_FILE_SIZE_MAX / MNEME_CHUNK_SIZE + 1, 3);
}

static void seed_ranges_that_touch(struct mneme *m)
{
	put_range(m, 5, 7, 2);
	put_range(m, 7, 9, 4);
}

static void seed_range_not_counted(struct mneme *m)
{
	put_range(m, 5, 7, 1);
}

static void seed_range_without_a_mark(struct mneme *m)
{
	struct names_inode record;

	put_range(m, 5, 7, 2);
	get_inode(m, FILE_X, &record);
	record.state &= ~(uint32_t)NAMES_HAS_UNWRITTEN;
	put_inode(m, FILE_X, &record);
}

static void seed_range_without_an_inode(struct mneme *m)
{
	struct mneme_key key = names_key(FILE_X, MNEME_TYPE_INODE);

	put_range(m, 5, 7, 2);
	delete_key(m, &key);
}

static void seed_inode_number(struct mneme *m)
{
	uint64_t inode = 1000 * SHARDS;

	put_file(m, inode, ROOT, 1);
	link_name(m, ROOT, "far", inode, S_IFREG);
	change_inode(m, ROOT, 0, 1, 0);
}

static struct mneme_key link_key(const char *label, uint8_t *sub)
{
	return names_key_link(FILE_Y, strchr(label, 'x') ? NAMES_LINK_WIKI : NAMES_LINK_MARKDOWN,
			      position_of(label), sub);
}

static struct mneme_key backlink_key(uint64_t to, uint8_t *sub)
{
	return names_key_backlink(to, FILE_Y, NAMES_LINK_WIKI, position_of("../../x"), sub);
}

static void seed_lost_link(struct mneme *m)
{
	uint8_t sub[NAMES_LINK_SUB];
	struct mneme_key key = link_key("../../x", sub);

	delete_key(m, &key);
}

static void seed_lost_backlink(struct mneme *m)
{
	uint8_t sub[NAMES_BACKLINK_SUB];
	struct mneme_key key = backlink_key(FILE_X, sub);

	delete_key(m, &key);
}

static void seed_foreign_backlink(struct mneme *m)
{
	uint8_t sub[NAMES_BACKLINK_SUB];
	struct mneme_key key = backlink_key(LINK_L, sub);

	ck_assert_int_eq(put(m, &key, "", 0), 0);
}

static void seed_link_to_nothing(struct mneme *m)
{
	struct {
		struct names_link record;
		char label[7];
	} __attribute__((packed)) value = {.record = {.to = 99 * SHARDS, .weight = 100}};
	uint8_t sub[NAMES_LINK_SUB];
	struct mneme_key key = link_key("../../x", sub);

	memcpy(value.label, "../../x", 7);
	ck_assert_int_eq(put(m, &key, &value, sizeof value), 0);
}

static void seed_link_that_is_none(struct mneme *m)
{
	uint8_t sub[NAMES_LINK_SUB];
	struct mneme_key key = link_key("nosuch.md", sub);

	ck_assert_int_eq(put(m, &key, "short", 5), 0);
}

static void seed_link_of_no_file(struct mneme *m)
{
	struct {
		struct names_link record;
		char label[7];
	} __attribute__((packed)) value = {.record = {.to = FILE_X, .weight = 100}};
	uint8_t sub[NAMES_LINK_SUB];
	struct mneme_key key =
		names_key_link(99 * SHARDS, NAMES_LINK_WIKI, position_of("../../x"), sub);

	memcpy(value.label, "../../x", 7);
	ck_assert_int_eq(put(m, &key, &value, sizeof value), 0);
}

static void seed_lost_mention(struct mneme *m)
{
	uint8_t sub[NAMES_MENTION_SUB];
	struct mneme_key key = names_key_mention(SHARDS, position_of("nosuch"), FILE_Y, sub);

	delete_key(m, &key);
}

static void seed_foreign_mention(struct mneme *m)
{
	uint8_t sub[NAMES_MENTION_SUB];
	struct mneme_key key = names_key_mention(SHARDS, position_of("other"), FILE_Y, sub);

	ck_assert_int_eq(put(m, &key, "", 0), 0);
}

struct seed {
	void (*edit)(struct mneme *m);
	const char *says;
	const char *must_be; /* a name of the root that is there after the repair */
};

static const struct seed seeds[] = {
	{seed_link_count, "the link count is 3, it should be 2", "x"},
	{seed_directory_link_count, "the link count is 2, it should be 3", "a"},
	{seed_directory_size, "the number of entries is 5, it should be 1", "a"},
	{seed_allocated, "the allocated size", "a"},
	{seed_size, "has bytes behind its end", "a"},
	{seed_target_length, "the length is 7, it should be 6", "l"},
	{seed_lost_record, "has keys, but no record", "a"},
	{seed_lost_directory_record, "has keys, but no record", "a"},
	{seed_lost_inode, "leads to an inode that is not there", "a"},
	{seed_lost_entry, "has no name", "lost+found"},
	{seed_lost_directory_entry, "has no name", "lost+found"},
	{seed_lost_parent, "does not refer back to its name 'x2'", "x"},
	{seed_foreign_parent, "refers to a name that is not there, or is another's", "x"},
	{seed_type, "has the type of another kind of file", "x"},
	{seed_hash, "lies under the hash of another name", "a"},
	{seed_name, "has a name that is none", "x"},
	{seed_orphan_mark, "is marked for removal", "x"},
	{seed_circle, "does not hang below the root", "lost+found"},
	{seed_chunk_far_out, "at a place where no file has any", "x"},
	{seed_lost_link, "notes a link from somewhere", "x"},
	{seed_lost_backlink, "does not know that the link '../../x'", "x"},
	{seed_foreign_backlink, "notes a link from somewhere", "l"},
	{seed_link_to_nothing, "leads to an inode that is not there", "x"},
	{seed_link_that_is_none, "has a link that is none", "x"},
	{seed_link_of_no_file, "has a link that belongs to no file", "x"},
	{seed_lost_mention, "a name in the link 'nosuch.md' is not watched for", "x"},
	{seed_foreign_mention, "is watched for that is in no link", "x"},
	{seed_room, "is that of 3 chunks, it should be 0", "x"},
	{seed_room_not_set_aside, "is that of 0 chunks, it should be 1", "x"},
	{seed_range_over_bytes, "has room set aside where it has bytes", "x"},
	{seed_range_far_out, "has room set aside at a place where no file", "x"},
	{seed_ranges_that_touch, "has room set aside twice", "x"},
	{seed_range_not_counted, "is that of 1 chunks, it should be 2", "x"},
	{seed_range_without_a_mark, "the state is 0, it should be 128", "x"},
	{seed_range_without_an_inode, "has keys, but no record", "x"},
	{seed_inode_number, "would be handed out again", "far"},
};

struct told {
	const char *says;
	unsigned count, repaired, matching;
};

static void note_finding(void *arg, const char *finding, int repaired)
{
	struct told *told = arg;

	told->count++;
	told->repaired += repaired != 0;
	told->matching += strstr(finding, told->says) != NULL;
	if (getenv("MNEME_TEST_VERBOSE"))
		fprintf(stderr, "%s%s\n", finding, repaired ? " (repaired)" : "");
}

static void check_on(struct sim *sim, unsigned flags, struct told *told)
{
	struct mneme_check_result result = {0};
	struct mneme *m = store_on(sim);

	ck_assert_int_eq(check_names(m, flags, note_finding, told, &result), 0);
	ck_assert_uint_eq(result.findings, told->count);
	ck_assert_uint_eq(result.repaired, told->repaired);
	ck_assert_int_eq(mneme_close(m), 0);
}

static int root_has(struct sim *sim, const char *name)
{
	struct mneme *m = store_on(sim);
	uint8_t sub[8];
	struct mneme_key key = names_key_number(ROOT, MNEME_TYPE_DENTRY, position_of(name), sub);
	size_t length;
	int rc = mneme_get(m, &key, NULL, 0, &length);

	ck_assert_int_eq(mneme_close(m), 0);
	return rc == 0;
}

static void seed_and_repair(struct sim *sound, const struct seed *seed)
{
	struct told found = {.says = seed->says}, repaired = {.says = seed->says},
		    again = {.says = ""};
	struct sim *sim;

	ck_assert_int_eq(sim_clone(sound, &sim), 0);
	struct mneme *m = store_on(sim);
	seed->edit(m);
	ck_assert_int_eq(mneme_close(m), 0);
	if (seed->edit == seed_inode_number) { /* as if the number had not been noted */
		m = store_on(sim);
		m->shards[0].inode_next = 10;
		ck_assert_int_eq(mneme_checkpoint(m), 0);
		ck_assert_int_eq(mneme_close(m), 0);
	}
	check_on(sim, 0, &found);
	ck_assert_msg(found.matching > 0, "not found: %s", seed->says);
	ck_assert_uint_eq(found.repaired, 0);
	check_on(sim, STORE_CHECK_REPAIR, &repaired);
	ck_assert_msg(repaired.repaired == repaired.count, "%u of %u repaired: %s",
		      repaired.repaired, repaired.count, seed->says);
	check_on(sim, 0, &again);
	ck_assert_msg(again.count == 0, "not clean after the repair: %s", seed->says);
	ck_assert_msg(root_has(sim, seed->must_be), "/%s is not there: %s", seed->must_be,
		      seed->says);
	sim_free(sim);
}

START_TEST(test_check_finds_and_repairs_every_seeded_wrong_name)
{
	struct sim *sound = disk_with_tree();
	struct told told = {.says = ""};

	check_on(sound, 0, &told);
	ck_assert_uint_eq(told.count, 0);
	for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++)
		seed_and_repair(sound, &seeds[i]);
	sim_free(sound);
}
END_TEST

/* ---- a store in a directory ---- */

static char directory[] = "/tmp/mneme-check-XXXXXX";

static void directory_remove(void)
{
	char command[64];

	snprintf(command, sizeof command, "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static uint64_t file_sum(const char *path)
{
	static uint8_t bytes[1 << 16];
	int fd = open(path, O_RDONLY);
	uint64_t sum = 1;
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	while ((n = read(fd, bytes, sizeof bytes)) > 0)
		sum = sum * 31 + crc32c(0, bytes, (size_t)n) + (uint64_t)n;
	close(fd);
	return sum;
}

/* Over all names and bytes below a directory, two levels deep. */
static uint64_t directory_sum(const char *path)
{
	DIR *dir = opendir(path);
	uint64_t sum = 7;
	struct dirent *entry;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		char below[512];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
		sum += crc32c(0, below, strlen(below)) *
		       (entry->d_type == DT_DIR ? directory_sum(below) : file_sum(below));
	}
	closedir(dir);
	return sum;
}

static void damage_file(const char *name, off_t at)
{
	char path[128];
	uint8_t byte;

	snprintf(path, sizeof path, "%s/s/%s", directory, name);
	int fd = open(path, O_RDWR);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static int check_directory(unsigned flags, struct told *told, struct mneme_error *error)
{
	struct mneme_check_result result;
	char path[64];

	snprintf(path, sizeof path, "%s/s", directory);
	*told = (struct told){.says = ""};
	int rc = mneme_check(path, flags, note_finding, told, &result, error);
	if (rc == 0)
		ck_assert_uint_eq(result.findings, told->count);
	return rc;
}

static struct mneme *directory_make(void)
{
	struct mneme_create_options options = {.shards = SHARDS, .segment_bytes = 1 << 16};
	struct mneme_error error = {""};
	struct mneme *m;
	char path[64];

	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/s", directory);
	ck_assert_msg(mneme_create(path, &options, &error) == 0, "%s", error.message);
	ck_assert_msg(mneme_open(path, NULL, &m, &error) == 0, "%s", error.message);
	tree_make(m);
	return m;
}

START_TEST(test_check_refuses_a_store_in_use)
{
	struct mneme *m = directory_make();
	struct mneme_error error = {""};
	struct told told;
	char self[32];

	snprintf(self, sizeof self, "process %d", (int)getpid());
	ck_assert_int_eq(check_directory(0, &told, &error), -EBUSY);
	ck_assert_msg(strstr(error.message, self) != NULL, "%s", error.message);
	ck_assert_int_eq(check_directory(MNEME_CHECK_REPAIR, &told, &error), -EBUSY);
	ck_assert_int_eq(mneme_close(m), 0);
	ck_assert_int_eq(check_directory(0, &told, &error), 0);
	ck_assert_uint_eq(told.count, 0);
	directory_remove();
}
END_TEST

START_TEST(test_check_changes_no_byte_unless_asked)
{
	struct mneme *m = directory_make();
	struct mneme_error error = {""};
	struct told told;

	change_inode(m, FILE_X, 5, 0, 0);
	ck_assert_int_eq(mneme_sync(m), 0);
	store_abandon(m); /* a log to be replayed */
	uint64_t sum = directory_sum(directory);
	ck_assert_int_eq(check_directory(0, &told, &error), 0);
	ck_assert_uint_eq(told.count, 1);
	ck_assert_uint_eq(directory_sum(directory), sum);
	ck_assert_int_eq(check_directory(MNEME_CHECK_REPAIR, &told, &error), 0);
	ck_assert_uint_eq(told.count, 1);
	ck_assert_uint_eq(told.repaired, 1);
	ck_assert_int_eq(check_directory(0, &told, &error), 0);
	ck_assert_uint_eq(told.count, 0);
	damage_file("super", 100);
	damage_file("heap", 40);
	sum = directory_sum(directory);
	ck_assert_int_eq(check_directory(0, &told, &error), 0);
	ck_assert_uint_ge(told.count, 1);
	ck_assert_uint_eq(directory_sum(directory), sum);
	ck_assert_int_eq(check_directory(MNEME_CHECK_REPAIR, &told, &error), 0);
	ck_assert_uint_eq(told.repaired, told.count);
	ck_assert_int_eq(check_directory(0, &told, &error), 0);
	ck_assert_uint_eq(told.count, 0);
	directory_remove();
}
END_TEST

START_TEST(test_check_says_that_there_is_no_store)
{
	struct mneme_error error = {""};
	struct told told;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(check_directory(0, &told, &error), -ENOENT);
	ck_assert_uint_gt(strlen(error.message), 0);
	directory_remove();
}
END_TEST

UNIT_MAIN("check_names", test_check_finds_and_repairs_every_seeded_wrong_name,
	  test_check_refuses_a_store_in_use, test_check_changes_no_byte_unless_asked,
	  test_check_says_that_there_is_no_store)
