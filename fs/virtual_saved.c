/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   virtual.h: saved searches as directories of `.mneme/search`, and waiting for another answer.
 * Invariants: a handle of poll(2) is in the node that it waits for, or was told. What it is told is
 *            only that something changed: the kernel asks again then, and the question is put again
 *            with the rights of who waits.
 * Threading: any handler thread; virtual_changed() a thread of the bridge.
 */
#include "fs/config.h"
#include "fs/saved.h"
#include "fs/search.h"
#include "fs/virtual_inside.h"
#include "pool/alloc.h"
#include "pool/frame.h"

#include <errno.h>
#include <poll.h>

enum { NOTIFY_BATCH = 64 };

/* ---- saved searches ---- */

/* The real directory whose `.mneme/search` this is. -EPERM: it is another one. */
OWN_FRAME static int search_home(struct op *op, uint64_t directory, uint64_t *home)
{
	struct vnode above;
	int err = virtual_borrow(op->fs, directory, &above);

	if (err)
		return err;
	*home = above.home;
	err = above.kind == KIND_SEARCH ? 0 : -EPERM;
	virtual_give_back(op->fs, &above);
	return err;
}

void virtual_mkdir(struct op *op, uint64_t directory, const char *name)
{
	struct vnode *node = virtual_new_node();
	uint64_t home;
	int err = node ? search_home(op, directory, &home) : -ENOMEM;

	if (!err)
		err = saved_make(op, home, name);
	virtual_reply_node(op, node, err ? err : virtual_make_node(op, directory, name, node));
}

int virtual_rmdir(struct op *op, uint64_t directory, const char *name)
{
	uint64_t home;
	int err = search_home(op, directory, &home);

	if (!err)
		err = saved_remove(op, home, name);
	return err == -ENODATA ? -EPERM : err; /* a question is there, but not saved */
}

int virtual_config(struct op *op, const struct vnode *node, const char *lines, size_t length)
{
	char *why = alloc_get(CONFIG_WHY);
	int err = why ? config_change(op, node->home, lines, length, why) : -ENOMEM;

	if (!err || !why) {
		alloc_free(why);
		return err;
	}
	pthread_mutex_lock(&op->fs->virtual_nodes->mutex);
	struct vnode *kept = virtual_find(op->fs->virtual_nodes, node->ino);
	char *old = kept->why; /* it is borrowed, so it is there */
	kept->why = why;
	pthread_mutex_unlock(&op->fs->virtual_nodes->mutex);
	alloc_free(old);
	return err;
}

/* What was wrong with the last write to a config. */
static int why_of(struct op *op, uint64_t ino, char **out)
{
	struct virtual_table *table = op->fs->virtual_nodes;
	int err = -ENODATA;

	*out = op_temporary(CONFIG_WHY);
	if (!*out)
		return -ENOMEM;
	pthread_mutex_lock(&table->mutex);
	const struct vnode *node = virtual_find(table, ino);
	if (node && node->why) {
		memcpy(*out, node->why, strlen(node->why) + 1);
		err = 0;
	}
	pthread_mutex_unlock(&table->mutex);
	return err;
}

/* The query of a saved search; its vnode is to be given back after 0. */
static int query_of(struct op *op, uint64_t ino, const char *name, struct vnode *node, char **query)
{
	int err = strcmp(name, SAVED_QUERY) ? -ENODATA : virtual_borrow(op->fs, ino, node);

	if (err)
		return err;
	*query = op_temporary(SAVED_QUERY_MAX + 1);
	if (!*query)
		err = -ENOMEM;
	else if (!node->saved || node->kind != KIND_RESULTS)
		err = -ENODATA;
	else
		err = saved_get(op, node->home, node->asked, strlen(node->asked), *query);
	if (err)
		virtual_give_back(op->fs, node);
	return err == -ENOENT ? -ENODATA : err;
}

void virtual_getxattr(struct op *op, uint64_t ino, const char *name, size_t size)
{
	struct vnode node;
	char *query;
	int err = !strcmp(name, VIRTUAL_WHY) ? why_of(op, ino, &query)
					     : query_of(op, ino, name, &node, &query);

	if (!err) {
		if (strcmp(name, VIRTUAL_WHY))
			virtual_give_back(op->fs, &node);
		err = size && strlen(query) > size ? -ERANGE : 0;
	}
	if (err)
		op_reply_error(op, err);
	else if (!size)
		op_reply_xattr_size(op, strlen(query));
	else
		op_reply_buffer(op, query, strlen(query));
}

void virtual_listxattr(struct op *op, uint64_t ino, size_t size)
{
	struct vnode node;
	char *query;
	size_t length = sizeof(SAVED_QUERY);

	if (query_of(op, ino, SAVED_QUERY, &node, &query))
		length = 0;
	else
		virtual_give_back(op->fs, &node);
	if (!size || !length)
		op_reply_xattr_size(op, length);
	else if (size < length)
		op_reply_error(op, -ERANGE);
	else
		op_reply_buffer(op, SAVED_QUERY, length);
}

int virtual_setxattr(struct op *op, uint64_t ino, const char *name, const void *value,
		     size_t length)
{
	struct vnode node;
	char *query;
	int err = query_of(op, ino, name, &node, &query);

	if (err)
		return err == -ENODATA ? -EPERM : err;
	err = value ? saved_set(op, node.home, node.asked, value, length) : -EPERM;
	virtual_give_back(op->fs, &node);
	return err;
}

/* ---- waiting for another answer ---- */

/* The node keeps the handle; a ninth one takes the place of the oldest. */
static void keep_handle(struct fs *fs, uint64_t ino, struct fuse_pollhandle *handle)
{
	struct fuse_pollhandle *unused = handle;

	pthread_mutex_lock(&fs->virtual_nodes->mutex);
	struct vnode *node = virtual_find(fs->virtual_nodes, ino);
	if (node) {
		unsigned at = node->polled++ % VIRTUAL_POLLS;
		unused = node->polls[at];
		node->polls[at] = handle;
	}
	pthread_mutex_unlock(&fs->virtual_nodes->mutex);
	if (unused)
		fuse_pollhandle_destroy(unused);
}

/* Would the same question get another answer now? */
static int answer_differs(struct op *op, const struct vnode *node)
{
	struct vnode *now = virtual_new_node();

	if (!now)
		return 1;
	now->home = node->home;
	now->asked_in = node->asked_in;
	int err = virtual_make_answer(op, node->asked, now);
	int differs = err || now->digest != node->digest;

	alloc_free(now->text);
	return differs;
}

int virtual_poll(struct op *op, uint64_t ino, struct fuse_pollhandle *handle, unsigned *events)
{
	struct vnode node;
	int err = virtual_borrow(op->fs, ino, &node);

	if (err || !node.asked) {
		if (handle)
			fuse_pollhandle_destroy(handle);
		*events = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
	} else {
		/* first the handle, then the look: what changes behind the look wakes the caller */
		if (handle) {
			keep_handle(op->fs, ino, handle);
			memory_watch(op->fs->memory);
		}
		*events = answer_differs(op, &node) ? POLLIN | POLLRDNORM | POLLPRI : 0;
	}
	if (!err)
		virtual_give_back(op->fs, &node);
	return err;
}

/* Takes up to NOTIFY_BATCH handles out of the table. */
static unsigned take_handles(struct virtual_table *table, struct fuse_pollhandle **out)
{
	unsigned count = 0;

	pthread_mutex_lock(&table->mutex);
	for (unsigned i = 0; i < VIRTUAL_NODES; i++)
		for (unsigned k = 0; k < VIRTUAL_POLLS && count < NOTIFY_BATCH; k++)
			if (table->nodes[i].polls[k]) {
				out[count++] = table->nodes[i].polls[k];
				table->nodes[i].polls[k] = NULL;
			}
	pthread_mutex_unlock(&table->mutex);
	return count;
}

void virtual_changed(struct fs *fs)
{
	struct fuse_pollhandle *handles[NOTIFY_BATCH];
	unsigned count = 0;

	pthread_mutex_lock(&fs->virtual_nodes->telling);
	do {
		count = fs->virtual_nodes->ended ? 0 : take_handles(fs->virtual_nodes, handles);
		for (unsigned i = 0; i < count; i++) {
			fuse_lowlevel_notify_poll(handles[i]);
			fuse_pollhandle_destroy(handles[i]);
		}
	} while (count == NOTIFY_BATCH);
	pthread_mutex_unlock(&fs->virtual_nodes->telling);
}

void virtual_end(struct fs *fs)
{
	if (!fs->virtual_nodes)
		return;
	pthread_mutex_lock(&fs->virtual_nodes->telling);
	fs->virtual_nodes->ended = 1;
	pthread_mutex_unlock(&fs->virtual_nodes->telling);
}
