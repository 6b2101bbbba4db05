/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a store with many small files in its root directory, made through the engine with the
 *            records that the filesystem makes: for what is measured or tested without a mount.
 * Invariants: the store lies in a new directory under TMPDIR, which notes_free() removes.
 * Threading: one thread.
 * Failure:   ends the program.
 */
#ifndef MNEME_TESTS_LIB_NOTES_H
#define MNEME_TESTS_LIB_NOTES_H

#include "core/names.h"
#include "pool/check.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct notes {
	char directory[256], store[280];
	struct mneme *engine;
	uint64_t root;
	uint64_t first; /* inode of note 0 */
};

static inline void notes_record(struct notes *n, uint64_t inode, uint32_t mode, uint64_t size)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);
	struct names_inode record = {
		.mode = mode, .nlink = 1, .size = size, .parent = n->root, .version = 1};
	struct names_inode old;
	size_t length;

	if (!mneme_get(n->engine, &key, &old, sizeof(old), &length))
		record.version = old.version + 1;
	CHECK(!mneme_put(n->engine, &key, &record, sizeof(record), MNEME_DURABILITY_BUFFERED));
}

static inline uint64_t notes_inode(const struct notes *n, uint64_t number)
{
	return n->first + number * mneme_shards(n->engine);
}

static inline uint64_t notes_number(const struct notes *n, uint64_t inode)
{
	return (inode - n->first) / mneme_shards(n->engine);
}

static inline void notes_open(struct notes *n)
{
	struct mneme_error error;

	if (mneme_open(n->store, NULL, &n->engine, &error)) {
		fprintf(stderr, "%s\n", error.message);
		exit(2);
	}
	n->root = names_root(mneme_shards(n->engine));
	n->first = n->root + mneme_shards(n->engine) + 1; /* all in shard 1 */
}

static inline void notes_new(struct notes *n)
{
	struct mneme_error error;
	const char *base = getenv("TMPDIR");

	snprintf(n->directory, sizeof(n->directory), "%.200s/notes.XXXXXX", base ? base : "/tmp");
	CHECK(mkdtemp(n->directory));
	snprintf(n->store, sizeof(n->store), "%s/store", n->directory);
	if (mneme_create(n->store, NULL, &error)) {
		fprintf(stderr, "%s\n", error.message);
		exit(2);
	}
	notes_open(n);
	notes_record(n, n->root, S_IFDIR | 0755, 0);
}

/* Makes note `number` or writes it anew. */
static inline void notes_write(struct notes *n, uint64_t number, const char *text, size_t length)
{
	uint64_t inode = notes_inode(n, number), position = (number + 1) * NAMES_POSITION_FIRST;
	struct {
		struct names_dentry head;
		char name[24];
	} entry = {.head = {.inode = inode, .type = S_IFREG >> 12}};
	uint8_t sub[16];

	for (size_t at = 0; at < length; at += MNEME_CHUNK_SIZE) {
		struct mneme_key key =
			names_key_number(inode, MNEME_TYPE_CHUNK, at / MNEME_CHUNK_SIZE, sub);
		size_t part = length - at < MNEME_CHUNK_SIZE ? length - at : MNEME_CHUNK_SIZE;
		CHECK(!mneme_put(n->engine, &key, text + at, part, MNEME_DURABILITY_BUFFERED));
	}
	struct mneme_key key = names_key_number(n->root, MNEME_TYPE_DENTRY, position, sub);
	entry.head.name_length = (uint8_t)snprintf(entry.name, sizeof(entry.name), "%llu",
						   (unsigned long long)number);
	CHECK(!mneme_put(n->engine, &key, &entry, sizeof(entry.head) + entry.head.name_length,
			 MNEME_DURABILITY_BUFFERED));
	key = names_key_parent(inode, n->root, position, sub);
	CHECK(!mneme_put(n->engine, &key, "", 0, MNEME_DURABILITY_BUFFERED));
	notes_record(n, inode, S_IFREG | 0644, length);
}

/* Removes it with all that is kept of it, as the filesystem does. */
static inline void notes_remove(struct notes *n, uint64_t number)
{
	uint64_t inode = notes_inode(n, number), position = (number + 1) * NAMES_POSITION_FIRST;
	struct mneme_key first = {.inode = inode}, last = {.inode = inode, .type = 0xff};
	struct mneme_txn *txn;
	uint8_t sub[8];

	struct mneme_key key = names_key_number(n->root, MNEME_TYPE_DENTRY, position, sub);
	CHECK(!mneme_delete(n->engine, &key, MNEME_DURABILITY_BUFFERED));
	CHECK(!mneme_txn_begin(n->engine, 0, &txn) && !mneme_txn_delete_range(txn, &first, &last) &&
	      !mneme_txn_commit(txn, MNEME_DURABILITY_BUFFERED));
}

static inline int notes_unlink(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
	(void)st;
	(void)kind;
	(void)walk;
	return remove(path);
}

static inline void notes_free(struct notes *n)
{
	CHECK(!mneme_close(n->engine));
	nftw(n->directory, notes_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
