/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   durability.h.
 */
#include "fs/durability.h"

#include "pool/frame.h"

#include <errno.h>
#include <string.h>

enum { VALUE_MAX = 16, DEPTH_MAX = 4096 };

static const struct mneme_key there_key = {
	.type = MNEME_TYPE_COLLECTION, .sub = "durability", .sub_length = 10};

/* MNEME_DURABILITY_DEFAULT: it is none. */
static enum mneme_durability parse(const char *value, size_t length)
{
	if (length == 8 && !memcmp(value, "buffered", 8))
		return MNEME_DURABILITY_BUFFERED;
	if (length == 6 && !memcmp(value, "strict", 6))
		return MNEME_DURABILITY_STRICT;
	return MNEME_DURABILITY_DEFAULT;
}

void durability_open(struct fs *fs)
{
	size_t length;

	if (mneme_get(fs->engine, &there_key, NULL, 0, &length) == 0)
		atomic_store_explicit(&fs->has_durabilities, 1, memory_order_relaxed);
}

int durability_prepare(struct fs *fs, const void *value, size_t length)
{
	if (parse(value, length) == MNEME_DURABILITY_DEFAULT)
		return -EINVAL;
	if (atomic_load_explicit(&fs->has_durabilities, memory_order_relaxed))
		return 0;
	int err = mneme_put(fs->engine, &there_key, "", 0, MNEME_DURABILITY_DEFAULT);
	if (!err)
		atomic_store_explicit(&fs->has_durabilities, 1, memory_order_relaxed);
	return err;
}

int durability_changed(struct fs *fs)
{
	return mneme_sync(fs->engine);
}

static OWN_FRAME enum mneme_durability durability_here(struct fs *fs, uint64_t ino)
{
	struct mneme_key key = {.inode = ino,
				.type = MNEME_TYPE_XATTR,
				.sub = DURABILITY_ATTRIBUTE,
				.sub_length = sizeof(DURABILITY_ATTRIBUTE) - 1};
	char value[VALUE_MAX];
	size_t length;

	return mneme_get(fs->engine, &key, value, sizeof(value), &length) ? MNEME_DURABILITY_DEFAULT
									  : parse(value, length);
}

/* The directory above, 0: none. */
static OWN_FRAME uint64_t above(struct fs *fs, uint64_t ino)
{
	struct names_inode inode;

	return ino == fs->root || inode_read(fs, ino, &inode) ? 0 : inode.parent;
}

static OWN_FRAME int is_there(struct fs *fs, uint64_t ino)
{
	struct names_inode inode;

	return !inode_read(fs, ino, &inode);
}

static enum mneme_durability durability_of_one(struct fs *fs, uint64_t ino)
{
	enum mneme_durability found = MNEME_DURABILITY_DEFAULT;

	for (int i = 0; i < DEPTH_MAX && ino >= fs->root && !found; i++) {
		found = durability_here(fs, ino);
		ino = above(fs, ino);
	}
	return found;
}

enum mneme_durability durability_of(struct fs *fs, const uint64_t *inodes, unsigned count)
{
	enum mneme_durability most = MNEME_DURABILITY_DEFAULT;
	int some_unset = 0;

	if (!atomic_load_explicit(&fs->has_durabilities, memory_order_relaxed))
		return most;
	for (unsigned i = 0; i < count; i++) {
		if (inodes[i] < fs->root || !is_there(fs, inodes[i]))
			continue; /* it is being made */
		enum mneme_durability one = durability_of_one(fs, inodes[i]);
		some_unset |= one == MNEME_DURABILITY_DEFAULT;
		most = one > most ? one : most;
	}
	if (!some_unset || most != MNEME_DURABILITY_BUFFERED)
		return most;
	/* the store's own mode, where the mount has none, may be more than buffered */
	return fs->options.durability && fs->options.durability <= most ? most
									: MNEME_DURABILITY_STRICT;
}
