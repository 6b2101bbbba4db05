/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   reading what the filesystem wrote: inode records, bytes, paths.
 * Threading: single gets and views; the tree may change in between, which a caller sees as -ENOENT.
 */
#include "core/memory/memory_inside.h"

#include <errno.h>
#include <string.h>

enum { DEPTH_MAX = 256 };

int memory_inode(struct mneme *engine, uint64_t inode, struct names_inode *out)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);
	size_t length;
	int rc = mneme_get(engine, &key, out, sizeof *out, &length);

	return rc == 0 && length < sizeof *out ? -EUCLEAN : rc;
}

int memory_read(struct mneme *engine, uint64_t inode, uint64_t size, uint64_t offset, void *out,
		size_t length)
{
	uint8_t *to = out;

	if (offset >= size)
		return 0;
	if (length > size - offset)
		length = size - offset;
	for (size_t done = 0; done < length;) {
		uint64_t at = offset + done;
		size_t within = at % MNEME_CHUNK_SIZE, part = MNEME_CHUNK_SIZE - within, there = 0;
		uint8_t sub[8];
		struct mneme_key key =
			names_key_number(inode, MNEME_TYPE_CHUNK, at / MNEME_CHUNK_SIZE, sub);
		const void *bytes;
		if (part > length - done)
			part = length - done;
		mneme_view_begin(engine, inode);
		int rc = mneme_view_get(engine, &key, &bytes, &there);
		if (rc == 0 && there > within) {
			there = there - within < part ? there - within : part;
			memcpy(to + done, (const uint8_t *)bytes + within, there);
		} else {
			there = 0;
		}
		mneme_view_end(engine, inode);
		if (rc < 0 && rc != -ENOENT)
			return rc;
		memset(to + done + there, 0, part - there);
		done += part;
	}
	return (int)length;
}

struct first_parent {
	uint64_t directory, position;
	int found;
};

static int parent_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct first_parent *p = arg;

	(void)value;
	(void)length;
	if (key->sub_length != 16)
		return -EUCLEAN;
	p->directory = names_get_be64(key->sub);
	p->position = names_get_be64((const uint8_t *)key->sub + 8);
	p->found = 1;
	return 1;
}

/* One step up: the directory that holds `inode` and the name it has there (put in front of what is in
 * `path` from *at on). With several names the first one that is asked for counts. */
static int step_up(struct mneme *engine, uint64_t *inode, char *path, size_t *at)
{
	struct mneme_key first = names_key(*inode, MNEME_TYPE_PARENT);
	struct mneme_key last = names_key(*inode, MNEME_TYPE_PARENT + 1);
	struct first_parent p = {0};
	uint8_t sub[8], entry[sizeof(struct names_dentry) + NAMES_NAME_MAX];
	size_t length;
	int rc = mneme_scan(engine, &first, &last, 1, parent_take, &p);

	if (rc < 0 || !p.found)
		return rc < 0 ? rc : -ENOENT;
	struct mneme_key key = names_key_number(p.directory, MNEME_TYPE_DENTRY, p.position, sub);
	rc = mneme_get(engine, &key, entry, sizeof entry, &length);
	if (rc < 0)
		return rc;
	size_t name = length - sizeof(struct names_dentry);
	if (length <= sizeof(struct names_dentry) || *at < name + 1)
		return length <= sizeof(struct names_dentry) ? -EUCLEAN : -ENAMETOOLONG;
	if (path[*at])
		path[--*at] = '/';
	*at -= name;
	memcpy(path + *at, entry + sizeof(struct names_dentry), name);
	*inode = p.directory;
	return 0;
}

int memory_path(struct mneme *engine, uint64_t inode, uint64_t scope, char *path, size_t size)
{
	size_t at = size - 1;
	uint64_t root = names_root(mneme_shards(engine));

	path[at] = 0;
	for (int depth = 0; inode != scope; depth++) {
		if (inode == root || depth == DEPTH_MAX)
			return -EXDEV;
		int rc = step_up(engine, &inode, path, &at);
		if (rc < 0)
			return rc;
	}
	memmove(path, path + at, size - at);
	return 0;
}
