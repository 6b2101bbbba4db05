/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   readdir and readdirplus.
 * Invariants: the cookie of an entry is its position in hash order, so a listing that is continued
 *            gives every entry that was there all the time exactly once. "." is 1, ".." is 2.
 * Threading: any handler thread. Names are copied out in batches under the shard's read lock;
 *            the attributes of entries in other shards are read after it.
 * Failure:   0 or -errno to the kernel; an entry whose inode vanished in between is listed without
 *            attributes.
 */
#include "fs/fs.h"

#include "fs/virtual.h"

#include <errno.h>
#include <string.h>

enum {
	LIST_BATCH = 64,
	LIST_BYTES_MAX = 128 << 10,
	COOKIE_DOT = 1,
	COOKIE_DOT_DOT = 2,
};

struct listed {
	uint64_t position;
	uint64_t ino;
	struct names_inode inode; /* readdirplus: valid if has_inode */
	uint8_t type;
	uint8_t has_inode;
	char name[NAMES_NAME_MAX + 1];
};

struct batch {
	struct fs *fs;
	unsigned count;
	struct listed entries[LIST_BATCH];
};

/* A reply in the making. */
struct list {
	struct op *op;
	char *buffer;
	size_t capacity, used;
	int plus;
};

static int each_entry(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct batch *batch = arg;
	struct listed *entry = &batch->entries[batch->count];
	struct names_dentry record;

	if (key->sub_length != 8 || length < sizeof(record))
		return -EUCLEAN;
	memcpy(&record, value, sizeof(record));
	if (length != sizeof(record) + record.name_length)
		return -EUCLEAN;
	entry->position = names_get_be64(key->sub);
	entry->ino = record.inode;
	entry->type = record.type;
	entry->has_inode = 0;
	memcpy(entry->name, (const char *)value + sizeof(record), record.name_length);
	entry->name[record.name_length] = 0;
	return ++batch->count == LIST_BATCH;
}

/* Reads the next entries behind cookie `after`, with the attributes that are in the same shard. */
static int read_batch(struct fs *fs, uint64_t directory, uint64_t after, int plus,
		      struct batch *batch)
{
	uint8_t sub[8];
	struct mneme_key first = names_key_number(directory, MNEME_TYPE_DENTRY, after + 1, sub);
	struct mneme_key last = names_key(directory, MNEME_TYPE_DENTRY + 1);

	batch->count = 0;
	int err = mneme_view_begin(fs->engine, directory);
	if (err)
		return err;
	err = mneme_view_scan(fs->engine, &first, &last, 0, each_entry, batch);
	for (unsigned i = 0; plus && err >= 0 && i < batch->count; i++) {
		struct listed *entry = &batch->entries[i];
		if (fs_shard_of(fs, entry->ino) == fs_shard_of(fs, directory))
			entry->has_inode = !inode_view(fs, entry->ino, &entry->inode);
	}
	mneme_view_end(fs->engine, directory);
	if (err < 0)
		return err;
	for (unsigned i = 0; plus && i < batch->count; i++) {
		struct listed *entry = &batch->entries[i];
		if (fs_shard_of(fs, entry->ino) != fs_shard_of(fs, directory))
			entry->has_inode = !inode_read(fs, entry->ino, &entry->inode);
	}
	return 0;
}

/* Appends one entry; 0 when it does not fit any more. `counts`: the kernel takes a reference. */
static int add(struct list *list, const char *name, uint64_t ino, uint32_t type, uint64_t cookie,
	       const struct names_inode *inode, int counts)
{
	struct fs *fs = list->op->fs;
	size_t left = list->capacity - list->used, needed;
	char *at = list->buffer + list->used;

	if (list->plus) {
		struct fuse_entry_param entry;
		memset(&entry, 0, sizeof(entry));
		entry.attr.st_ino = ino;
		entry.attr.st_mode = type << 12;
		if (inode && counts) {
			entry.ino = fs_nodeid(fs, ino);
			entry.generation = inode->generation;
			inode_to_stat(fs, ino, inode, &entry.attr);
			entry.attr_timeout = entry.entry_timeout =
				fs->options.ask_often ? 0 : 86400;
		}
		needed = fuse_add_direntry_plus(list->op->req, at, left, name, &entry,
						(off_t)cookie);
		if (needed <= left && entry.ino && node_ref(fs->nodes, ino))
			return 0;
	} else {
		struct stat st = {.st_ino = ino, .st_mode = type << 12};
		needed = fuse_add_direntry(list->op->req, at, left, name, &st, (off_t)cookie);
	}
	if (needed > left)
		return 0;
	list->used += needed;
	return 1;
}

static int add_dots(struct list *list, uint64_t ino, const struct names_inode *inode,
		    uint64_t *cookie)
{
	if (*cookie < COOKIE_DOT) {
		if (!add(list, ".", ino, S_IFDIR >> 12, COOKIE_DOT, NULL, 0))
			return 0;
		*cookie = COOKIE_DOT;
	}
	if (*cookie < COOKIE_DOT_DOT) {
		if (!add(list, "..", inode->parent, S_IFDIR >> 12, COOKIE_DOT_DOT, NULL, 0))
			return 0;
		*cookie = COOKIE_DOT_DOT;
	}
	return 1;
}

static int add_all(struct list *list, uint64_t directory, uint64_t cookie)
{
	struct batch *batch = op_temporary(sizeof(*batch));

	if (!batch)
		return -ENOMEM;
	do {
		int err = read_batch(list->op->fs, directory, cookie, list->plus, batch);
		if (err)
			return err;
		for (unsigned i = 0; i < batch->count; i++) {
			struct listed *entry = &batch->entries[i];
			if (!add(list, entry->name, entry->ino, entry->type, entry->position,
				 entry->has_inode ? &entry->inode : NULL, 1))
				return 0;
			cookie = entry->position;
		}
	} while (batch->count == LIST_BATCH);
	return 0;
}

static void list_and_reply(struct op *op, fuse_ino_t nodeid, size_t size, off_t offset, int plus)
{
	uint64_t directory = fs_inode_number(op->fs, nodeid), cookie = (uint64_t)offset;
	struct list list = {
		.op = op, .plus = plus, .capacity = size < LIST_BYTES_MAX ? size : LIST_BYTES_MAX};
	struct names_inode inode;

	if (virtual_is(directory)) {
		virtual_list(op, directory, size, offset, plus);
		return;
	}
	list.buffer = op_temporary(list.capacity);
	int err = list.buffer ? inode_read(op->fs, directory, &inode) : -ENOMEM;
	if (!err && !S_ISDIR(inode.mode))
		err = -ENOTDIR;
	if (!err && add_dots(&list, directory, &inode, &cookie))
		err = add_all(&list, directory, cookie);
	if (err && !list.used) {
		op_reply_error(op, err);
		return;
	}
	if (!offset)
		inode_touch_atime(op->fs, directory, &inode);
	op_reply_buffer(op, list.buffer, list.used);
}

static void handle_readdir(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
			   struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_READDIR);

	list_and_reply(&op, nodeid, size, offset, 0);
}

static void handle_readdirplus(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
			       struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_READDIRPLUS);

	list_and_reply(&op, nodeid, size, offset, 1);
}

static void handle_opendir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_OPENDIR);

	if (op.fs->zero_open) {
		op_reply_error(&op, -ENOSYS);
		return;
	}
	fi->cache_readdir = fi->keep_cache = !virtual_is(fs_inode_number(op.fs, nodeid)) &&
					     op.fs->options.atime != FS_ATIME_STRICT;
	fuse_reply_open(req, fi);
	op_end(&op, 0);
}

static void handle_releasedir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, METRICS_RELEASEDIR);

	op_reply_error(&op, 0);
}

void list_set_handlers(struct fuse_lowlevel_ops *ops)
{
	ops->opendir = handle_opendir;
	ops->readdir = handle_readdir;
	ops->readdirplus = handle_readdirplus;
	ops->releasedir = handle_releasedir;
}
