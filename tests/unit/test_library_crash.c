/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what a program that links the library keeps when it is killed, and limits that a real disk
 *            and the default sizes have and the simulator's small stores have not.
 * Threading: the program that is killed is a child of the test.
 */
#include <mneme.h>

#include "library.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, ORDERS = 6 };

static char directory[FOLDER_SIZE];
static uint8_t value[MNEME_VALUE_MAX], found[MNEME_VALUE_MAX];

static void directory_make(void)
{
	folder_make(directory);
}

static void directory_remove(void)
{
	folder_remove(directory);
}

static struct mneme *store_open_with(const struct mneme_options *options)
{
	struct mneme_error error = {""};
	struct mneme *m;

	ck_assert_msg(mneme_open(directory, options, &m, &error) == 0, "%s", error.message);
	return m;
}

static struct mneme_key key_of(const uint32_t *number)
{
	return (struct mneme_key){
		.inode = *number % 16, .type = MNEME_TYPE_USER, .sub = number, .sub_length = 4};
}

static int put(struct mneme *m, uint32_t number, size_t length, enum mneme_durability durability)
{
	struct mneme_key key = key_of(&number);

	return mneme_put(m, &key, value, length, durability);
}

static int get(struct mneme *m, uint32_t number)
{
	struct mneme_key key = key_of(&number);
	size_t length;

	return mneme_get(m, &key, found, sizeof found, &length);
}

/* Puts in memory until a checkpoint begins in the background, syncs beside it, and dies. */
static void put_sync_die(int tell)
{
	struct mneme_options options = {.dirty_bytes_max = 64 << 20};
	struct mneme *m = store_open_with(&options);
	struct mneme_stats stats;
	uint32_t count = 0;

	mneme_get_stats(m, &stats);
	uint64_t epoch = stats.epoch;
	do {
		if (put(m, count++, 60000, MNEME_DURABILITY_MEMORY))
			_exit(1);
		mneme_get_stats(m, &stats);
	} while (stats.epoch == epoch);
	if (mneme_sync(m) || write(tell, &count, sizeof count) != sizeof count)
		_exit(2);
	kill(getpid(), SIGKILL);
}

START_TEST(test_library_sync_beside_a_checkpoint_keeps_what_is_in_memory)
{
	for (int round = 0; round < 3; round++) {
		struct mneme_create_options create = {.durability = MNEME_DURABILITY_MEMORY};
		int ends[2], status;
		uint32_t count = 0;

		if (round) {
			directory_remove();
			directory_make();
		}
		ck_assert_int_eq(mneme_create(directory, &create, NULL), 0);
		ck_assert_int_eq(pipe(ends), 0);
		pid_t child = fork();
		ck_assert_int_ge(child, 0);
		if (!child)
			put_sync_die(ends[1]);
		close(ends[1]);
		ck_assert_int_eq(read(ends[0], &count, sizeof count), sizeof count);
		close(ends[0]);
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFSIGNALED(status));
		struct mneme *m = store_open_with(NULL);
		for (uint32_t i = 0; i < count; i++)
			ck_assert_int_eq(get(m, i), 0);
		ck_assert_int_eq(mneme_close(m), 0);
	}
}
END_TEST

/* With the newest superblock damaged the state before it would come back without a word. */
START_TEST(test_library_second_superblock_is_as_new_as_the_first)
{
	struct mneme_create_options create = {.durability = MNEME_DURABILITY_MEMORY};
	char path[PATH_SIZE];
	uint8_t byte;

	ck_assert_int_eq(mneme_create(directory, &create, NULL), 0);
	struct mneme *m = store_open_with(NULL);
	for (uint32_t i = 1; i <= 3; i++) {
		ck_assert_int_eq(put(m, i, 100, MNEME_DURABILITY_DEFAULT), 0);
		ck_assert_int_eq(mneme_checkpoint(m), 0);
	}
	ck_assert_int_eq(mneme_close(m), 0);
	snprintf(path, sizeof path, "%s/super", directory);
	for (int copy = 0; copy < 2; copy++) {
		int fd = open(path, O_RDWR);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(pread(fd, &byte, 1, copy * PAGE + 300), 1);
		byte ^= 1;
		ck_assert_int_eq(pwrite(fd, &byte, 1, copy * PAGE + 300), 1);
		m = store_open_with(&(struct mneme_options){.read_only = 1});
		ck_assert_int_eq(get(m, 3), 0);
		ck_assert_int_eq(mneme_close(m), 0);
		byte ^= 1;
		ck_assert_int_eq(pwrite(fd, &byte, 1, copy * PAGE + 300), 1);
		close(fd);
	}
}
END_TEST

/* A checkpoint on a full disk must find the room for the table of space that it writes. */
START_TEST(test_library_tables_of_space_have_their_room_from_the_beginning)
{
	enum { TABLES = 3 << 20 };
	char path[PATH_SIZE];
	struct stat st;

	snprintf(path, sizeof path, "%s/probe", directory);
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	int can = fallocate(fd, 0, 0, TABLES) == 0 && fstat(fd, &st) == 0 &&
		  st.st_blocks * 512 >= TABLES;
	close(fd);
	unlink(path);
	if (!can) {
		puts("skipped: test_library_tables_of_space_have_their_room_from_the_beginning: "
		     "this filesystem allocates nothing in advance");
		return;
	}
	ck_assert_int_eq(mneme_create(directory, NULL, NULL), 0);
	snprintf(path, sizeof path, "%s/super", directory);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_ge(st.st_blocks * 512, TABLES);
}
END_TEST

/* Values of one size after the other, of which one in each block of the arena stays. */
START_TEST(test_library_arena_of_blocks_that_are_hardly_used)
{
	enum { ARENA = 64 << 20 };
	static uint32_t numbers[ARENA / PAGE];
	struct mneme_create_options create = {.shards = 1};
	struct mneme_options options = {.dirty_bytes_max = ARENA, .checkpoint_ms = 600000};
	struct mneme_stats stats;
	uint32_t next = 0;

	ck_assert_int_eq(mneme_create(directory, &create, NULL), 0);
	struct mneme *m = store_open_with(&options);
	for (unsigned order = 0; order < ORDERS; order++) {
		uint32_t length = order == 5 ? MNEME_VALUE_MAX : (PAGE << order) - 16;
		uint32_t count = 0, in_block = 32 >> order;
		for (;;) {
			mneme_get_stats(m, &stats);
			if (stats.dirty_bytes / PAGE + (1u << order) + 400 > ARENA / PAGE / 2)
				break;
			numbers[count] = next++;
			ck_assert_int_eq(put(m, numbers[count++], length, MNEME_DURABILITY_MEMORY),
					 0);
		}
		for (uint32_t i = 0; i < count; i++) {
			struct mneme_key key = key_of(&numbers[i]);
			if (in_block == 1 ? i : i % in_block)
				ck_assert_int_eq(mneme_delete(m, &key, MNEME_DURABILITY_MEMORY), 0);
		}
	}
	ck_assert_int_eq(mneme_close(m), 0);
}
END_TEST

START_TEST(test_library_arena_larger_than_can_be_is_refused_by_name)
{
	struct mneme_options options = {.dirty_bytes_max = UINT64_MAX};
	struct mneme_error error = {""};
	struct mneme *m;

	ck_assert_int_eq(mneme_create(directory, NULL, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, &options, &m, &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error.message, "dirty_bytes_max"));
}
END_TEST

UNIT_MAIN_WITH("library_crash", directory_make, directory_remove,
	       test_library_sync_beside_a_checkpoint_keeps_what_is_in_memory,
	       test_library_second_superblock_is_as_new_as_the_first,
	       test_library_tables_of_space_have_their_room_from_the_beginning,
	       test_library_arena_of_blocks_that_are_hardly_used,
	       test_library_arena_larger_than_can_be_is_refused_by_name)
