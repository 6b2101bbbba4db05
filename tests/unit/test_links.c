/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   links are found in texts as they are meant, and their records fit together at both ends
 *            whatever is changed and removed at once: also by many threads.
 * Threading: as the test says.
 */
#include "core/links.h"
#include "core/memory/links_text.h"
#include "pool/check.h"
#include "tests/lib/notes.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>

/* ---- texts ---- */

struct said {
	char text[1024];
};

static int say(void *arg, enum names_link_kind kind, const char *label, size_t length)
{
	struct said *said = arg;
	size_t used = strlen(said->text);

	snprintf(said->text + used, sizeof said->text - used, "%c:%.*s|",
		 kind == NAMES_LINK_WIKI ? 'w' : 'm', (int)length, label);
	return 0;
}

static const struct {
	const char *text, *links;
} texts[] = {
	{"see [[bread]] and [[a b|x]]", "w:bread|w:a b|"},
	{"[[a#part]] [[#part]] [[ ]] [[]] [[a]", "w:a|"},
	{"[[a [[b]]", "w:b|"},
	{"[[a\n]]", ""},
	{"[x](a.md) [y](<b c.md>) [z](d%20e.md#f)", "m:a.md|m:b c.md|m:d e.md|"},
	{"![p](p.png \"title\") [q](a(1).md)", "m:p.png|m:a(1).md|"},
	{"[u](https://x.org/a) [m](mailto:a@b) [v](//x/y) [c](c:d) [w](ab+c:d)", "m:c:d|"},
	{"[x](#part) [x](?q) [x]() [x]", ""},
	{"[id]: a.md 'title'\n [id2]:<b.md>\n[^1]: note.md\n[[w]]: x", "m:a.md|m:b.md|w:w|"},
	{"`[[a]]` ``[[b]] ` [[c]]`` [[d]] `[[e]]", "w:d|w:e|"},
	{"\\[[a]] \\\\[[b]] \\", "w:b|"},
	{"```c\n[[a]]\n``\n[[b]]\n```\n[[c]]\n", "w:c|"},
	{"~~~~\n[[a]]\n~~~\n[[b]]\n~~~~~ \n[[c]]", "w:c|"},
	{"``` a`b [[c]]", "w:c|"},
	{"    ```\n[[a]]", "w:a|"},
	{"```\n[[a]]", ""},
	{"[[a\x01"
	 "b]] [x](a%00b) [x](a%zz)",
	 "m:a%zz|"},
	{"[[日本]] [[a]][[b]]\r\n[x](y)\r\n", "w:日本|w:a|w:b|m:y|"},
};

START_TEST(test_links_are_found_in_texts)
{
	static struct links_text scan;

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		size_t length = strlen(texts[i].text);
		for (size_t block = 1; block <= length; block += block < 4 ? 1 : length) {
			struct said said = {""};
			links_text_begin(&scan, say, &said);
			for (size_t at = 0; at < length; at += block)
				ck_assert_int_eq(
					links_text_feed(&scan, texts[i].text + at,
							length - at < block ? length - at : block),
					0);
			ck_assert_int_eq(links_text_end(&scan), 0);
			ck_assert_msg(!strcmp(said.text, texts[i].links), "'%s': %s, not %s",
				      texts[i].text, said.text, texts[i].links);
		}
	}
}
END_TEST

/* ---- records ---- */

enum { FILES = 24, ROUNDS = 400, THREADS = 3 };
static struct notes notes;
static uint8_t hash_key[16];

static void setup(void)
{
	notes_new(&notes);
	mneme_uuid(notes.engine, hash_key);
	for (uint64_t i = 0; i < FILES; i++)
		notes_write(&notes, i, "x", 1);
}

/* The links of a file become those to `count` others, `first` and behind it. -EAGAIN: not. */
static int set(uint64_t from, uint64_t first, unsigned count)
{
	struct links old = {0}, new = {0};
	struct mneme_txn *txn;
	char label[32];

	CHECK(!links_load(notes.engine, notes_inode(&notes, from), &old));
	for (unsigned i = 0; i < count; i++) {
		uint64_t to = (first + i) % FILES;
		int n = snprintf(label, sizeof label, "to/%llu.md", (unsigned long long)to);
		CHECK(!links_add(&new, hash_key, NAMES_LINK_WIKI, 1, label, (size_t)n));
		new.list[new.count - 1].to = notes_inode(&notes, to);
	}
	links_sort(&new);
	CHECK(!links_begin(notes.engine,
			   links_shards(notes.engine, notes_inode(&notes, from), &old, &new), 0,
			   &txn));
	int rc = links_write(notes.engine, txn, notes_inode(&notes, from), &old, &new);
	if (rc == 0)
		rc = mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED);
	else
		mneme_txn_abort(txn);
	CHECK(rc == 0 || rc == -EAGAIN);
	links_fini(&old);
	links_fini(&new);
	return rc;
}

struct count {
	unsigned links, nowhere;
};

static int count_link(void *arg, const struct link *link, const char *label)
{
	struct count *c = arg;

	(void)label;
	c->links++;
	c->nowhere += !link->to;
	return 0;
}

static struct count count_of(uint64_t number, int back)
{
	struct count c = {0};

	CHECK(!links_of(notes.engine, notes_inode(&notes, number), back, count_link, &c));
	return c;
}

static void each_from(void *arg, uint64_t from)
{
	uint64_t *mask = arg;

	*mask |= 1ull << notes_number(&notes, from);
}

static uint64_t mentioned(const char *name)
{
	uint64_t mask = 0;

	CHECK(links_mentioned(notes.engine, name, each_from, &mask) >= 0);
	return mask;
}

/* What the filesystem does to a file that is gone: it has no name, then its links go. */
static int forget(uint64_t number, uint64_t *mask)
{
	struct mneme_key key = names_key(notes_inode(&notes, number), MNEME_TYPE_INODE);
	struct names_inode record;
	size_t length;

	CHECK(!mneme_get(notes.engine, &key, &record, sizeof record, &length));
	record.nlink = 0;
	CHECK(!mneme_put(notes.engine, &key, &record, sizeof record, MNEME_DURABILITY_BUFFERED));
	return links_forget(notes.engine, key.inode, each_from, mask);
}

static void say_finding(void *arg, const char *finding, int repaired)
{
	(void)repaired;
	*(unsigned *)arg += strstr(finding, "a link") || strstr(finding, "the link '") ||
			    strstr(finding, "watched");
	if (getenv("MNEME_TEST_VERBOSE"))
		fprintf(stderr, "%s\n", finding);
}

/* Asks the check of the closed store what it thinks of the links. */
static unsigned findings(void)
{
	struct mneme_check_result result;
	unsigned count = 0;

	CHECK(!mneme_close(notes.engine));
	CHECK(!mneme_check(notes.store, 0, say_finding, &count, &result, NULL));
	notes_open(&notes);
	return count;
}

START_TEST(test_links_go_with_either_end)
{
	uint64_t mask = 0;

	setup();
	ck_assert_int_eq(set(1, 2, 3), 0);
	ck_assert_int_eq(set(5, 3, 1), 0);
	ck_assert_uint_eq(count_of(3, 1).links, 2);
	ck_assert_uint_eq(mentioned("3.md"), 1 << 1 | 1 << 5);
	ck_assert_uint_eq(mentioned("3"), 1 << 1 | 1 << 5);
	ck_assert_uint_eq(mentioned("to"), 1 << 1 | 1 << 5);
	ck_assert_uint_eq(mentioned("9.md"), 0);
	ck_assert_int_eq(forget(3, &mask), 0);
	ck_assert_uint_eq(mask, 1 << 1 | 1 << 5);
	ck_assert_uint_eq(count_of(1, 0).links, 3);
	ck_assert_uint_eq(count_of(1, 0).nowhere, 1);
	ck_assert_uint_eq(count_of(3, 1).links, 0);
	/* a name that went cannot be led to any more */
	ck_assert_int_eq(set(1, 3, 1), 0);
	ck_assert_uint_eq(count_of(1, 0).nowhere, 1);
	ck_assert_int_eq(set(1, 2, 3), 0);
	ck_assert_int_eq(forget(1, &mask), 0);
	ck_assert_uint_eq(count_of(1, 0).links, 0);
	ck_assert_uint_eq(count_of(2, 1).links, 0);
	ck_assert_uint_eq(mentioned("3"), 1 << 5);
	ck_assert_uint_eq(findings(), 0);
	notes_free(&notes);
}
END_TEST

START_TEST(test_links_of_a_file_with_a_name_are_not_forgotten)
{
	setup();
	ck_assert_int_eq(set(1, 2, 3), 0);
	ck_assert_int_eq(links_forget(notes.engine, notes_inode(&notes, 1), NULL, NULL), -EEXIST);
	ck_assert_uint_eq(count_of(1, 0).links, 3);
	notes_free(&notes);
}
END_TEST

START_TEST(test_links_are_bounded)
{
	struct links links = {0};
	char label[NAMES_LABEL_MAX + 1];
	int rc = 0, n = 0;

	for (; rc == 0; n++) {
		snprintf(label, sizeof label, "%d", n);
		rc = links_add(&links, hash_key, NAMES_LINK_WIKI, 1, label, strlen(label));
	}
	ck_assert_int_eq(rc, -E2BIG);
	ck_assert_uint_eq(links.count, LINKS_MAX);
	ck_assert_int_eq(links_add(&links, hash_key, NAMES_LINK_WIKI, 1, "7", 1), 0);
	memset(label, 'x', sizeof label);
	ck_assert_int_eq(links_add(&links, hash_key, NAMES_LINK_WIKI, 1, label, sizeof label),
			 -EINVAL);
	ck_assert_int_eq(links_add(&links, hash_key, NAMES_LINK_WIKI, 1, "", 0), -EINVAL);
	links_fini(&links);
}
END_TEST

/* The most that one transaction can have to change: all links of a file, by others. */
START_TEST(test_links_of_a_file_can_all_be_replaced)
{
	struct links sets[3] = {{0}, {0}, {0}};
	char label[64];

	setup();
	for (int s = 1; s < 3; s++) {
		for (int i = 0; i < LINKS_MAX; i++) {
			int n = snprintf(label, sizeof label, "d%d-%d/n%d-%d", s, i, s, i);
			ck_assert_int_eq(
				links_add(&sets[s], hash_key, NAMES_LINK_WIKI, 1, label, (size_t)n),
				0);
			sets[s].list[i].to = notes_inode(&notes, 2 + (uint64_t)i % 9);
		}
		links_sort(&sets[s]);
	}
	for (int s = 0; s < 2; s++) {
		uint64_t from = notes_inode(&notes, 1);
		struct mneme_txn *txn;
		ck_assert_int_eq(
			links_begin(notes.engine,
				    links_shards(notes.engine, from, &sets[s], &sets[s + 1]), 0,
				    &txn),
			0);
		ck_assert_int_eq(links_write(notes.engine, txn, from, &sets[s], &sets[s + 1]), 0);
		ck_assert_int_eq(mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED), 0);
	}
	ck_assert_uint_eq(count_of(1, 0).links, LINKS_MAX);
	ck_assert_uint_eq(mentioned("n1-5"), 0);
	ck_assert_uint_eq(mentioned("d2-5"), 2);
	for (int s = 0; s < 3; s++)
		links_fini(&sets[s]);
	notes_free(&notes);
}
END_TEST

static void *change_links(void *arg)
{
	unsigned seed = *(unsigned *)arg;

	for (int i = 0; i < ROUNDS; i++) {
		seed = seed * 1103515245 + 12345;
		set(seed >> 16 & 7, seed >> 8 & 31, seed >> 20 & 7);
	}
	return NULL;
}

START_TEST(test_links_changed_by_many_threads_fit_together)
{
	pthread_t threads[THREADS];
	unsigned seeds[THREADS];
	uint64_t mask = 0;

	setup();
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = i;
		pthread_create(&threads[i], NULL, change_links, &seeds[i]);
	}
	for (uint64_t number = FILES - 1; number >= 8; number--)
		CHECK(!forget(number, &mask));
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (uint64_t number = 8; number < FILES; number++)
		ck_assert_uint_eq(count_of(number, 1).links, 0);
	ck_assert_uint_eq(findings(), 0);
	notes_free(&notes);
}
END_TEST

UNIT_MAIN("links", test_links_are_found_in_texts, test_links_go_with_either_end,
	  test_links_of_a_file_with_a_name_are_not_forgotten, test_links_are_bounded,
	  test_links_of_a_file_can_all_be_replaced, test_links_changed_by_many_threads_fit_together)
