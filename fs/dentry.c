/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   dentry.h. All names with one hash are neighbours; there is practically always only one.
 */
#include "fs/dentry.h"

#include <errno.h>
#include <string.h>

struct search {
	const char *name;
	size_t length;
	struct dentry found;
	uint64_t unused; /* the first position of the run that nobody has */
};

static int each_candidate(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct search *search = arg;
	struct names_dentry record;

	if (key->sub_length != 8 || length < sizeof(record))
		return -EUCLEAN;
	memcpy(&record, value, sizeof(record));
	if (length != sizeof(record) + record.name_length)
		return -EUCLEAN;
	uint64_t position = names_get_be64(key->sub);
	if (position == search->unused)
		search->unused++;
	if (record.name_length != search->length ||
	    memcmp((const char *)value + sizeof(record), search->name, search->length))
		return 0;
	search->found = (struct dentry){position, record.inode, record.type};
	return 1;
}

int dentry_find(struct fs *fs, struct mneme_txn *txn, uint64_t directory, const char *name,
		struct dentry *out)
{
	uint8_t first_sub[8], last_sub[8];
	struct search search = {.name = name, .length = strlen(name)};

	if (search.length > NAMES_NAME_MAX)
		return -ENAMETOOLONG;
	uint64_t position = names_position(fs->hash_key, name, search.length);
	search.unused = position;
	struct mneme_key first =
		names_key_number(directory, MNEME_TYPE_DENTRY, position, first_sub);
	struct mneme_key last = names_key_number(directory, MNEME_TYPE_DENTRY,
						 position + NAMES_DISCRIMINATORS, last_sub);
	int got = txn ? mneme_txn_scan(txn, &first, &last, 0, each_candidate, &search)
		      : mneme_view_scan(fs->engine, &first, &last, 0, each_candidate, &search);
	if (got < 0)
		return got;
	*out = search.found;
	if (!out->inode)
		out->position = search.unused < position + NAMES_DISCRIMINATORS ? search.unused : 0;
	return 0;
}

int dentry_peek(struct fs *fs, uint64_t directory, const char *name, struct dentry *out)
{
	int err = mneme_view_begin(fs->engine, directory);

	if (err)
		return err;
	err = dentry_find(fs, NULL, directory, name, out);
	mneme_view_end(fs->engine, directory);
	return err;
}

int dentry_put(struct mneme_txn *txn, uint64_t directory, uint64_t position, const char *name,
	       uint64_t ino, uint32_t mode)
{
	uint8_t value[sizeof(struct names_dentry) + NAMES_NAME_MAX], sub[16];
	size_t length = strlen(name);
	struct names_dentry record = {.inode = ino,
				      .type = (uint8_t)((mode & S_IFMT) >> 12),
				      .name_length = (uint8_t)length};

	if (!position)
		return -ENOSPC;
	memcpy(value, &record, sizeof(record));
	memcpy(value + sizeof(record), name, length);
	struct mneme_key key = names_key_number(directory, MNEME_TYPE_DENTRY, position, sub);
	int err = mneme_txn_put(txn, &key, value, sizeof(record) + length);
	if (err)
		return err;
	key = names_key_parent(ino, directory, position, sub);
	return mneme_txn_put(txn, &key, "", 0);
}

int dentry_drop_parent(struct mneme_txn *txn, uint64_t directory, uint64_t position, uint64_t ino)
{
	uint8_t sub[16];
	struct mneme_key key = names_key_parent(ino, directory, position, sub);

	return mneme_txn_delete(txn, &key);
}

int dentry_remove(struct mneme_txn *txn, uint64_t directory, uint64_t position, uint64_t ino)
{
	uint8_t sub[8];
	struct mneme_key key = names_key_number(directory, MNEME_TYPE_DENTRY, position, sub);
	int err = mneme_txn_delete(txn, &key);

	return err ? err : dentry_drop_parent(txn, directory, position, ino);
}
