/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   event logs through the library: a head or an event that was changed, cut off or removed is
 *            found, and nothing is chained behind it.
 */
#include <mneme.h>

#include "library.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_SIZE = 8 + MNEME_HASH_SIZE, EVENTS = 5 };

static char directory[FOLDER_SIZE];
static struct mneme *m;
static const struct mneme_key head = {
	.type = MNEME_TYPE_LOG_HEAD, .sub = "run", .sub_length = 3}; /* one shard: inode 0 */

static void store_make(void)
{
	struct mneme_create_options options = {.shards = 1};

	folder_make(directory);
	ck_assert_int_eq(mneme_create(directory, &options, NULL), 0);
	ck_assert_int_eq(mneme_open(directory, NULL, &m, NULL), 0);
	for (int i = 0; i < EVENTS; i++)
		ck_assert_int_eq(mneme_log_append(m, "run", 3, "event", 5, NULL, 0), 0);
}

static void store_remove(void)
{
	ck_assert_int_eq(mneme_close(m), 0);
	folder_remove(directory);
}

static struct mneme_key event_key(unsigned sequence, uint8_t sub[12])
{
	memcpy(sub, "\3run\0\0\0\0\0\0\0", 11);
	sub[11] = sequence;
	return (struct mneme_key){.type = MNEME_TYPE_LOG, .sub = sub, .sub_length = 12};
}

static void event_remove(unsigned sequence)
{
	uint8_t sub[12];
	struct mneme_key key = event_key(sequence, sub);

	ck_assert_int_eq(mneme_delete(m, &key, 0), 0);
}

static void head_read(uint8_t bytes[HEAD_SIZE])
{
	size_t length;

	ck_assert_int_eq(mneme_get(m, &head, bytes, HEAD_SIZE, &length), 0);
	ck_assert_uint_eq(length, HEAD_SIZE);
}

/* It is found at `place`, and an append is refused and changes nothing. */
static void is_found_at(uint64_t place, uint64_t verified)
{
	uint64_t count = 99, bad = 99, sequence = 99;

	ck_assert_int_eq(mneme_log_verify(m, "run", 3, &count, &bad), -EUCLEAN);
	ck_assert_uint_eq(bad, place);
	ck_assert_uint_eq(count, verified);
	ck_assert_int_eq(mneme_log_append(m, "run", 3, "more", 4, &sequence, 0), -EUCLEAN);
	ck_assert_uint_eq(sequence, 99);
	ck_assert_int_eq(mneme_log_verify(m, "run", 3, &count, &bad), -EUCLEAN);
	ck_assert_uint_eq(count, verified);
}

START_TEST(test_log_head_with_a_false_hash_is_found)
{
	uint8_t bytes[HEAD_SIZE];
	uint64_t count;

	head_read(bytes);
	bytes[8] ^= 1;
	ck_assert_int_eq(mneme_put(m, &head, bytes, sizeof bytes, 0), 0);
	is_found_at(EVENTS, EVENTS);
	bytes[8] ^= 1;
	ck_assert_int_eq(mneme_put(m, &head, bytes, sizeof bytes, 0), 0);
	ck_assert_int_eq(mneme_log_verify(m, "run", 3, &count, NULL), 0);
	ck_assert_uint_eq(count, EVENTS);
	ck_assert_int_eq(mneme_log_append(m, "run", 3, "more", 4, &count, 0), 0);
	ck_assert_uint_eq(count, EVENTS + 1);
}
END_TEST

START_TEST(test_log_cut_off_together_with_its_head_is_found)
{
	uint8_t bytes[HEAD_SIZE];

	head_read(bytes);
	bytes[0] = EVENTS - 2; /* with the hash of the event that is no more */
	event_remove(EVENTS);
	event_remove(EVENTS - 1);
	ck_assert_int_eq(mneme_put(m, &head, bytes, sizeof bytes, 0), 0);
	is_found_at(EVENTS - 2, EVENTS - 2);
}
END_TEST

START_TEST(test_log_head_cut_back_overwrites_no_event)
{
	uint8_t bytes[HEAD_SIZE], sub[12], event[HEAD_SIZE + 8];
	struct mneme_key key = event_key(EVENTS - 2, sub);
	size_t length;

	head_read(bytes);
	ck_assert_int_eq(mneme_get(m, &key, event, sizeof event, &length), 0);
	bytes[0] = EVENTS - 2;
	memcpy(bytes + 8, event + 8, MNEME_HASH_SIZE); /* the right hash */
	ck_assert_int_eq(mneme_put(m, &head, bytes, sizeof bytes, 0), 0);
	is_found_at(EVENTS - 1, EVENTS);
}
END_TEST

START_TEST(test_log_without_its_last_event_is_found)
{
	event_remove(EVENTS);
	is_found_at(EVENTS, EVENTS - 1);
}
END_TEST

START_TEST(test_log_head_removed_overwrites_no_event)
{
	ck_assert_int_eq(mneme_delete(m, &head, 0), 0);
	is_found_at(1, EVENTS);
	event_remove(1);
	is_found_at(1, 0);
}
END_TEST

START_TEST(test_log_head_of_another_size_is_found)
{
	ck_assert_int_eq(mneme_put(m, &head, "short", 5, 0), 0);
	is_found_at(1, 0);
}
END_TEST

UNIT_MAIN_WITH("library_logs", store_make, store_remove, test_log_head_with_a_false_hash_is_found,
	       test_log_cut_off_together_with_its_head_is_found,
	       test_log_head_cut_back_overwrites_no_event, test_log_without_its_last_event_is_found,
	       test_log_head_removed_overwrites_no_event, test_log_head_of_another_size_is_found)
