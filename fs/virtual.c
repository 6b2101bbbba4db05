/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   virtual.h: the table of nodes, and the names below `.mneme`.
 *
 *   inode number: VIRTUAL_BIT | serial << 12 | slot; the serial grows with each use of a slot
 *
 *   To add a name: give it a kind, a line in `children`, and a case in make_text().
 * Threading: all of the table: its mutex. A node's text does not change while the kernel holds the node.
 */
#include "fs/virtual.h"

#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <pthread.h>

enum { SLOT_BITS = 12, TEXT_MAX = 512 << 10 };
_Static_assert(1 << SLOT_BITS == VIRTUAL_NODES, "slots");

enum kind { KIND_FREE, KIND_ROOT, KIND_METRICS, KIND_STATS };

struct vnode {
	enum kind kind;
	uint64_t ino;
	uint64_t above;   /* inode of the directory that it was found in */
	uint64_t lookups;
	int64_t made_ns;
	char *text;
	size_t length;
	unsigned next_free;
};

struct virtual_table {
	pthread_mutex_t mutex;
	unsigned free;    /* first free slot, VIRTUAL_NODES: none */
	uint64_t serial;
	struct vnode nodes[VIRTUAL_NODES];
};

static const struct {
	const char *name;
	enum kind kind;
} children[] = {{"metrics", KIND_METRICS}, {"stats", KIND_STATS}};
enum { CHILDREN = sizeof(children) / sizeof(children[0]) };

int virtual_new(struct fs *fs)
{
	struct virtual_table *table = alloc_zeroed(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	pthread_mutex_init(&table->mutex, NULL);
	for (unsigned i = 0; i < VIRTUAL_NODES; i++)
		table->nodes[i].next_free = i + 1;
	fs->virtual_nodes = table;
	return 0;
}

void virtual_free(struct fs *fs)
{
	if (!fs->virtual_nodes)
		return;
	for (unsigned i = 0; i < VIRTUAL_NODES; i++)
		alloc_free(fs->virtual_nodes->nodes[i].text);
	pthread_mutex_destroy(&fs->virtual_nodes->mutex);
	alloc_free(fs->virtual_nodes);
}

/* The node of an inode number, or NULL. With the mutex held. */
static struct vnode *find(struct virtual_table *table, uint64_t ino)
{
	struct vnode *node = &table->nodes[ino & (VIRTUAL_NODES - 1)];

	return node->kind != KIND_FREE && node->ino == ino ? node : NULL;
}

static int make_text(struct fs *fs, struct vnode *node)
{
	int err = 0;

	if (node->kind == KIND_ROOT)
		return 0;
	char *text = alloc_get(TEXT_MAX);
	if (!text)
		return -ENOMEM;
	if (node->kind == KIND_METRICS)
		err = metrics_write_prometheus(fs, text, TEXT_MAX, &node->length);
	else
		err = metrics_write_stats(fs, text, TEXT_MAX, &node->length);
	if (err) {
		alloc_free(text);
		return err;
	}
	char *fitting = alloc_resize(text, node->length ? node->length : 1);
	node->text = fitting ? fitting : text;
	return 0;
}

/* Puts a finished node into the table. */
static int publish(struct virtual_table *table, struct vnode *node)
{
	int err = -ENFILE;

	pthread_mutex_lock(&table->mutex);
	if (table->free < VIRTUAL_NODES) {
		unsigned slot = table->free;
		table->free = table->nodes[slot].next_free;
		node->ino = VIRTUAL_BIT | ++table->serial << SLOT_BITS | slot;
		table->nodes[slot] = *node;
		err = 0;
	}
	pthread_mutex_unlock(&table->mutex);
	return err;
}

static void attr_of(const struct vnode *node, struct stat *out)
{
	memset(out, 0, sizeof(*out));
	out->st_ino = node->ino;
	out->st_mode = node->kind == KIND_ROOT ? S_IFDIR | 0555 : S_IFREG | 0444;
	out->st_nlink = node->kind == KIND_ROOT ? 2 : 1;
	out->st_size = (off_t)node->length;
	out->st_blksize = 4096;
	out->st_atim.tv_sec = node->made_ns / 1000000000;
	out->st_atim.tv_nsec = node->made_ns % 1000000000;
	out->st_mtim = out->st_ctim = out->st_atim;
}

/* What `name` in `directory` is; KIND_FREE: nothing. */
static enum kind kind_of(struct fs *fs, uint64_t directory, const char *name)
{
	enum kind above = KIND_FREE;

	if (!virtual_is(directory))
		return directory == fs->root && virtual_is_name(name) ? KIND_ROOT : KIND_FREE;
	pthread_mutex_lock(&fs->virtual_nodes->mutex);
	struct vnode *node = find(fs->virtual_nodes, directory);
	if (node)
		above = node->kind;
	pthread_mutex_unlock(&fs->virtual_nodes->mutex);
	for (int i = 0; above == KIND_ROOT && i < CHILDREN; i++) {
		if (!strcmp(children[i].name, name))
			return children[i].kind;
	}
	return KIND_FREE;
}

void virtual_lookup(struct op *op, uint64_t directory, const char *name)
{
	struct fs *fs = op->fs;
	struct fuse_entry_param entry;
	struct vnode node = {.kind = kind_of(fs, directory, name),
			     .above = directory,
			     .lookups = 1,
			     .made_ns = fs_now()};

	if (node.kind == KIND_FREE) {
		op_reply_error(op, -ENOENT);
		return;
	}
	int err = make_text(fs, &node);
	if (!err) {
		err = publish(fs->virtual_nodes, &node);
		if (err)
			alloc_free(node.text);
	}
	if (err) {
		op_reply_error(op, err);
		return;
	}
	memset(&entry, 0, sizeof(entry));
	entry.ino = node.ino;
	entry.generation = 1;
	attr_of(&node, &entry.attr);
	if (fuse_reply_entry(op->req, &entry) < 0)
		virtual_forget(fs, node.ino, 1);
	op_end(op, 0);
}

void virtual_forget(struct fs *fs, uint64_t ino, uint64_t count)
{
	struct virtual_table *table = fs->virtual_nodes;
	char *text = NULL;

	pthread_mutex_lock(&table->mutex);
	struct vnode *node = find(table, ino);
	if (node) {
		node->lookups -= count < node->lookups ? count : node->lookups;
		if (!node->lookups) {
			text = node->text;
			*node = (struct vnode){.next_free = table->free};
			table->free = (unsigned)(node - table->nodes);
		}
	}
	pthread_mutex_unlock(&table->mutex);
	alloc_free(text);
}

/* A copy of the node; its text stays valid while the kernel holds the inode, so until the reply. */
static int borrow(struct fs *fs, uint64_t ino, struct vnode *out)
{
	pthread_mutex_lock(&fs->virtual_nodes->mutex);
	struct vnode *node = find(fs->virtual_nodes, ino);
	if (node)
		*out = *node;
	pthread_mutex_unlock(&fs->virtual_nodes->mutex);
	return node ? 0 : -ESTALE;
}

void virtual_getattr(struct op *op, uint64_t ino)
{
	struct vnode node;
	struct stat st;
	int err = borrow(op->fs, ino, &node);

	if (err) {
		op_reply_error(op, err);
		return;
	}
	attr_of(&node, &st);
	fuse_reply_attr(op->req, &st, 0);
	op_end(op, 0);
}

void virtual_readlink(struct op *op, uint64_t ino)
{
	op_reply_error(op, -EINVAL); /* no kind is a symbolic link */
}

void virtual_read(struct op *op, uint64_t ino, size_t size, off_t offset)
{
	struct vnode node;
	int err = borrow(op->fs, ino, &node);

	if (!err && node.kind == KIND_ROOT)
		err = -EISDIR;
	if (err) {
		op_reply_error(op, err);
		return;
	}
	size_t at = (size_t)offset < node.length ? (size_t)offset : node.length;
	op_reply_buffer(op, node.text + at, size < node.length - at ? size : node.length - at);
}

void virtual_list(struct op *op, uint64_t ino, size_t size, off_t offset, int plus)
{
	struct vnode node;
	char *buffer = op_temporary(size);
	size_t used = 0;
	int err = buffer ? borrow(op->fs, ino, &node) : -ENOMEM;

	if (!err && node.kind != KIND_ROOT)
		err = -ENOTDIR;
	if (err) {
		op_reply_error(op, err);
		return;
	}
	for (int i = (int)offset; i >= 0 && i < CHILDREN + 2; i++) {
		const char *name = i == 0 ? "." : i == 1 ? ".." : children[i - 2].name;
		struct fuse_entry_param entry;
		memset(&entry, 0, sizeof(entry));
		entry.attr.st_mode = i < 2 ? S_IFDIR : S_IFREG;
		entry.attr.st_ino = i == 0 ? node.ino : i == 1 ? node.above : node.ino + 1;
		size_t needed = plus ? fuse_add_direntry_plus(op->req, buffer + used, size - used,
							      name, &entry, i + 1)
				     : fuse_add_direntry(op->req, buffer + used, size - used, name,
							 &entry.attr, i + 1);
		if (needed > size - used)
			break;
		used += needed;
	}
	op_reply_buffer(op, buffer, used);
}
