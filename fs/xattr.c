/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   extended attributes: user, trusted, security, and the two POSIX ACLs.
 * Invariants: setting an access ACL changes the mode with it; what ACLs and capabilities an inode has is
 *            noted in its record.
 * Threading: any handler thread.
 * Failure:   0 or -errno to the kernel: -ENODATA, -EEXIST, -ERANGE, -E2BIG, -EOPNOTSUPP (namespace).
 */
#include "core/memory/recall.h"
#include "fs/later.h"
#include "fs/search.h"
#include "pool/alloc.h"
#include "pool/frame.h"
#include "fs/fs.h"

#include "fs/acl.h"
#include "fs/durability.h"
#include "fs/virtual.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

enum { LIST_MAX = 65536 };

#define CAPABILITY_NAME "security.capability"

static int is_durability(const char *name)
{
	return !strcmp(name, DURABILITY_ATTRIBUTE);
}

static int is_acl(const char *name)
{
	return !strcmp(name, ACL_ACCESS_NAME) || !strcmp(name, ACL_DEFAULT_NAME);
}

static int check_name(const char *name)
{
	static const char *const spaces[] = {"user.", "trusted.", "security."};

	if (strlen(name) > NAMES_XATTR_NAME_MAX)
		return -ERANGE;
	for (int i = 0; i < 3; i++) {
		size_t length = strlen(spaces[i]);
		if (!strncmp(name, spaces[i], length))
			return name[length] ? 0 : -EINVAL;
	}
	return is_acl(name) ? 0 : -EOPNOTSUPP;
}

static struct mneme_key xattr_key(uint64_t ino, const char *name)
{
	return (struct mneme_key){.inode = ino,
				  .type = MNEME_TYPE_XATTR,
				  .sub = name,
				  .sub_length = (uint16_t)strlen(name)};
}

/* ---- get ---- */

static void get_and_reply(struct op *op, uint64_t ino, const char *name, size_t size)
{
	struct fs *fs = op->fs;
	struct mneme_key key = xattr_key(ino, name);
	struct buffer *buffer = NULL;
	void *value = NULL;
	size_t length = 0;
	int err = check_name(name);

	if (!err && size) {
		if (size > NAMES_XATTR_VALUE_MAX)
			size = NAMES_XATTR_VALUE_MAX;
		buffer = buffers_get(fs->buffers, size);
		value = buffer ? buffer->data : op_temporary(size);
		if (!value)
			err = -ENOMEM;
	}
	if (!err)
		err = mneme_get(fs->engine, &key, value, size, &length);
	if (err)
		op_reply_error(op, err == -ENOENT ? -ENODATA : err);
	else if (!size)
		op_reply_xattr_size(op, length);
	else
		op_reply_buffer(op, value, length);
	buffers_put(fs->buffers, buffer);
}

struct computed {
	uint64_t ino;
	const char *name; /* SEARCH_XATTR and which */
	size_t size;
};

/* Attributes that are made when they are asked for. */
static void computed_run(struct op *op, const void *args)
{
	const struct computed *c = args;
	char *text = NULL;
	size_t length = 0;
	int err = search_xattr(op, c->ino, c->name + sizeof(SEARCH_XATTR) - 1, &text, &length);

	if (err == SEARCH_XATTR_OTHER) {
		get_and_reply(op, c->ino, c->name, c->size);
		return;
	}
	if (!err && c->size && length > c->size)
		err = -ERANGE;
	if (err)
		op_reply_error(op, err);
	else if (!c->size)
		op_reply_xattr_size(op, length);
	else
		op_reply_buffer(op, text, length);
	alloc_free(text);
}

static void get_computed(struct op *op, uint64_t ino, const char *name, size_t size)
{
	struct computed computed = {ino, name, size};

	if (!search_is_elsewhere(op->fs) ||
	    !later_run(op, computed_run, &computed, sizeof(computed)))
		computed_run(op, &computed);
}

static void handle_getxattr(fuse_req_t req, fuse_ino_t nodeid, const char *name, size_t size)
{
	struct op op = op_begin(req, METRICS_GETXATTR);
	uint64_t ino = fs_inode_number(op.fs, nodeid);

	if (virtual_is(ino))
		virtual_getxattr(&op, ino, name, size);
	else if (op.fs->memory && !strncmp(name, SEARCH_XATTR, sizeof(SEARCH_XATTR) - 1))
		get_computed(&op, ino, name, size);
	else
		get_and_reply(&op, ino, name, size);
}

/* ---- list ---- */

struct list {
	char *names; /* NULL: only count */
	size_t used, capacity;
	int privileged;
};

static int each_name(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct list *list = arg;
	const char *name = key->sub;

	if (!list->privileged && key->sub_length >= 8 && !memcmp(name, "trusted.", 8))
		return 0;
	if (list->names) {
		if (list->used + key->sub_length + 1 > list->capacity)
			return -ERANGE;
		memcpy(list->names + list->used, name, key->sub_length);
		list->names[list->used + key->sub_length] = 0;
	}
	list->used += key->sub_length + 1u;
	return 0;
}

static void handle_listxattr(fuse_req_t req, fuse_ino_t nodeid, size_t size)
{
	struct op op = op_begin(req, METRICS_LISTXATTR);
	uint64_t ino = fs_inode_number(op.fs, nodeid);
	struct mneme_key first = names_key(ino, MNEME_TYPE_XATTR);
	struct mneme_key last = names_key(ino, MNEME_TYPE_XATTR + 1);
	struct list list = {.capacity = size < LIST_MAX ? size : LIST_MAX,
			    .privileged = fuse_req_ctx(req)->uid == 0};
	int err = 0;

	if (virtual_is(ino)) {
		virtual_listxattr(&op, ino, size);
		return;
	}
	if (size) {
		list.names = op_temporary(list.capacity);
		if (!list.names)
			err = -ENOMEM;
	}
	if (!err)
		err = mneme_scan(op.fs->engine, &first, &last, 0, each_name, &list);
	if (err)
		op_reply_error(&op, err);
	else if (!size)
		op_reply_xattr_size(&op, list.used);
	else
		op_reply_buffer(&op, list.names, list.used);
}

/* ---- set and remove ---- */

struct change {
	uint64_t ino;
	const char *name;
	const void *value; /* NULL: remove */
	size_t length;
	int flags;
	int drop_sgid; /* of an access ACL that is set: the caller may not keep it */
};

static int is_link(const char *name)
{
	return !strncmp(name, MEMORY_LINK_PREFIX, sizeof(MEMORY_LINK_PREFIX) - 1);
}

/* Notes in the record whether the attribute is there. */
static void note_state(struct names_inode *inode, const char *name, int there)
{
	uint32_t bit = !strcmp(name, ACL_ACCESS_NAME)     ? NAMES_HAS_ACL_ACCESS
		       : !strcmp(name, ACL_DEFAULT_NAME)  ? NAMES_HAS_ACL_DEFAULT
		       : !strcmp(name, CAPABILITY_NAME)   ? NAMES_HAS_CAPABILITY
		       : !strcmp(name, NAMES_ROBOTS)      ? NAMES_HAS_ROBOTS
		       : !strcmp(name, MEMORY_OWN_VECTOR) ? NAMES_HAS_VECTOR
		       : is_link(name)                    ? NAMES_HAS_LINKS
							  : 0;

	if (!there && bit == NAMES_HAS_LINKS)
		return; /* there may be others */
	inode->state = there ? inode->state | bit : inode->state & ~bit;
}

/* Turns an ACL that is to be set into what is stored: change->value becomes NULL when the mode says it
 * all. */
static int prepare_acl(struct change *change, struct names_inode *inode)
{
	if (S_ISLNK(inode->mode))
		return -EOPNOTSUPP;
	if (!change->value)
		return 0;
	if (change->length > ACL_SIZE_MAX)
		return -E2BIG;
	if (!strcmp(change->name, ACL_DEFAULT_NAME)) {
		if (!S_ISDIR(inode->mode))
			return -EACCES;
		if (change->length == sizeof(uint32_t)) {
			change->value = NULL; /* an empty list is none */
			return 0;
		}
		return acl_check(change->value, change->length);
	}
	int err = acl_check(change->value, change->length);
	if (err)
		return err;
	if (change->drop_sgid)
		inode->mode &= ~(uint32_t)S_ISGID;
	if (acl_to_mode(change->value, change->length, &inode->mode))
		change->value = NULL;
	return 0;
}

static int change_inside(struct mneme_txn *txn, struct change *change)
{
	struct mneme_key key = xattr_key(change->ino, change->name);
	int removing = !change->value;
	struct names_inode inode;
	size_t old_length;
	int err = inode_load(txn, change->ino, &inode);

	if (!err)
		err = inode_check_flags(&inode, 1);
	if (err)
		return err;
	int there = !mneme_txn_get(txn, &key, NULL, 0, &old_length);
	if (there && change->flags & XATTR_CREATE)
		return -EEXIST;
	if (!there && change->flags & XATTR_REPLACE)
		return -ENODATA;
	if (is_acl(change->name)) {
		err = prepare_acl(change, &inode);
		if (err)
			return err;
	} else if (!there && removing) {
		return -ENODATA;
	}
	note_state(&inode, change->name, change->value != NULL);
	inode.ctime_ns = fs_now();
	err = change->value ? mneme_txn_put_borrowed(txn, &key, change->value, change->length)
			    : mneme_txn_delete(txn, &key);
	return err ? err : inode_store(txn, change->ino, &inode);
}

static int is_setting(const char *name)
{
	return !strcmp(name, MEMORY_SETTING_DIM) || !strcmp(name, MEMORY_SETTING_METRIC) ||
	       !strcmp(name, MEMORY_SETTING_QUANTIZER) || !strcmp(name, MEMORY_SETTING_EMBEDDER);
}

/* Whether what is set has to be looked at by core/memory/use.h. */
static int is_of_use(const char *name)
{
	static const char *const names[] = {
		MEMORY_PINNED,        MEMORY_CONFIDENCE,    MEMORY_ACCESS_COUNT,
		MEMORY_LAST_ACCESS,   MEMORY_CREATED,       MEMORY_ACTIVATION,
		MEMORY_SETTING_LEARN, MEMORY_SETTING_DECAY, MEMORY_SETTING_NEIGHBOURS};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name))
			return 1;
	return 0;
}

/* What a changed attribute means to the memories. */
static void memory_follow(struct fs *fs, const struct change *change)
{
	if (!strcmp(change->name, NAMES_ROBOTS))
		memory_opt(fs->memory, 0);
	else if (!strcmp(change->name, MEMORY_OWN_VECTOR) || is_link(change->name))
		fs_touch(fs, change->ino);
	else if (is_setting(change->name))
		memory_settings_changed(fs->memory);
	else if (!strcmp(change->name, MEMORY_SETTING_NEIGHBOURS))
		memory_neighbours_changed(fs->memory);
	else if (!strcmp(change->name, MEMORY_CONFIDENCE) || !strcmp(change->name, MEMORY_PINNED))
		recall_touch(fs->memory, change->ino);
	memory_changed(fs->memory);
}

static int link_prepare(struct fs *fs, const struct change *change)
{
	struct names_inode inode;
	uint16_t weight;
	int err = inode_read(fs, change->ino, &inode);

	if (!err && (!S_ISREG(inode.mode) || !change->name[sizeof(MEMORY_LINK_PREFIX) - 1]))
		err = S_ISREG(inode.mode) ? -EINVAL : -EPERM;
	return err ? err : memory_link_weight(change->value, change->length, &weight);
}

static OWN_FRAME int embedder_prepare(struct fs *fs, const struct change *change)
{
	char why[MEMORY_REASON_MAX];

	return memory_embedder_check(fs->memory, change->value, change->length, why);
}

/* Attributes that memories read have to say something. A vector becomes what is stored: f32. */
static int memory_prepare(struct fs *fs, struct change *change)
{
	struct names_inode inode;
	uint32_t dim;

	if (!strcmp(change->name, MEMORY_SETTING_EMBEDDER))
		return embedder_prepare(fs, change);
	if (is_setting(change->name))
		return memory_setting_check(change->name, change->value, change->length);
	if (is_link(change->name))
		return link_prepare(fs, change);
	if (is_of_use(change->name))
		return memory_use_check(fs->memory, change->name, change->value, change->length);
	if (strcmp(change->name, MEMORY_OWN_VECTOR))
		return 0;
	float *vector = op_temporary(MEMORY_DIM_MAX * sizeof(*vector));
	int err = vector ? inode_read(fs, change->ino, &inode) : -ENOMEM;
	if (!err && !S_ISREG(inode.mode))
		err = -EPERM;
	if (!err)
		err = memory_vector_parse(change->value, change->length, vector, &dim);
	if (!err && !memory_vector_fits(fs->memory, change->ino, dim))
		err = -EINVAL;
	if (err)
		return err;
	change->value = vector;
	change->length = dim * sizeof(*vector);
	return 0;
}

static int change_try(struct fs *fs, struct change *change)
{
	struct mneme_txn *txn;
	int err = check_name(change->name);

	if (err)
		return err;
	if (virtual_is(change->ino))
		return -EPERM;
	err = fs_begin(fs, change->value ? 0 : MNEME_TXN_MAY_FILL, &change->ino, 1, &txn);
	if (err)
		return err;
	err = change_inside(txn, change);
	if (err) {
		mneme_txn_abort(txn);
		return err;
	}
	err = fs_commit(fs, txn, MNEME_DURABILITY_DEFAULT, &change->ino, 1);
	if (!err && fs->memory)
		memory_follow(fs, change);
	return err;
}

static int change_xattr(struct fs *fs, const struct change *asked)
{
	int err = -EAGAIN;

	for (int i = 0; i < FS_TRIES && err == -EAGAIN; i++) {
		struct change change = *asked; /* a try may alter it */
		err = change_try(fs, &change);
	}
	/* what was changed in another mode until now is not to be lost in this one */
	return !err && is_durability(asked->name) ? durability_changed(fs) : err;
}

static int prepare(struct fs *fs, struct change *change)
{
	if (is_durability(change->name))
		return durability_prepare(fs, change->value, change->length);
	if (fs->memory)
		return memory_prepare(fs, change);
	/* nobody would see to it that its texts are embedded anew */
	return strcmp(change->name, MEMORY_SETTING_EMBEDDER) ? 0 : -EOPNOTSUPP;
}

/* setgid survives only if the caller could set it with chmod. */
static int must_drop_sgid(struct op *op, uint64_t ino, const char *name)
{
	struct names_inode inode;

	if (fuse_req_ctx(op->req)->uid == 0 || strcmp(name, ACL_ACCESS_NAME))
		return 0;
	if (inode_read(op->fs, ino, &inode) || !(inode.mode & S_ISGID))
		return 0;
	return !fs_caller_in_group(op->req, inode.gid);
}

int fs_set_xattr(struct op *op, uint64_t ino, const char *name, const void *value, size_t length,
		 int flags)
{
	struct change change = {
		.ino = ino, .name = name, .value = value, .length = length, .flags = flags};
	int err = value ? prepare(op->fs, &change) : 0;

	return err ? err : change_xattr(op->fs, &change);
}

static void handle_setxattr(fuse_req_t req, fuse_ino_t nodeid, const char *name, const char *value,
			    size_t length, int flags)
{
	struct op op = op_begin(req, METRICS_SETXATTR);
	struct change change = {.ino = fs_inode_number(op.fs, nodeid),
				.name = name,
				.value = value ? value : "",
				.length = length,
				.flags = flags};
	int err;

	if (length > NAMES_XATTR_VALUE_MAX) {
		err = -E2BIG;
	} else if (virtual_is(change.ino)) {
		err = virtual_setxattr(&op, change.ino, name, change.value, length);
	} else {
		change.drop_sgid = must_drop_sgid(&op, change.ino, name);
		err = prepare(op.fs, &change);
		if (!err)
			err = change_xattr(op.fs, &change);
	}
	op_reply_error(&op, err);
}

static void handle_removexattr(fuse_req_t req, fuse_ino_t nodeid, const char *name)
{
	struct op op = op_begin(req, METRICS_REMOVEXATTR);
	struct change change = {.ino = fs_inode_number(op.fs, nodeid), .name = name};

	op_reply_error(&op, virtual_is(change.ino)
				    ? virtual_setxattr(&op, change.ino, name, NULL, 0)
				    : change_xattr(op.fs, &change));
}

void xattr_set_handlers(struct fuse_lowlevel_ops *ops)
{
	ops->getxattr = handle_getxattr;
	ops->listxattr = handle_listxattr;
	ops->setxattr = handle_setxattr;
	ops->removexattr = handle_removexattr;
}
