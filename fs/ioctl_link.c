/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   ioctl.h: links of a file in the binary form of core/mneme_ioctl.h.
 * Invariants: a link that the caller makes or removes is an attribute of the file: there is one truth.
 *            Of an end that the caller could not read he gets neither path nor inode, and no link
 *            that comes from there.
 */
#include "fs/ioctl.h"

#include "core/links.h"
#include "core/memory/memory.h"
#include "fs/permission.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(struct mneme_ioc_link) == 16, "link");
_Static_assert(sizeof(struct mneme_ioc_links) == 32, "links");
_Static_assert(sizeof(struct mneme_ioc_link_entry) == 24, "link entry");
_Static_assert(MNEME_IOC_LINK_EXPLICIT == NAMES_LINK_EXPLICIT, "kinds");
_Static_assert(MNEME_IOC_LINK_SYMLINK == NAMES_LINK_SYMLINK, "kinds");
_Static_assert(MNEME_IOC_LINK_HARD == NAMES_LINK_KINDS, "kinds");

enum { PREFIX = sizeof(MEMORY_LINK_PREFIX) - 1, WEIGHT_MAX = 32 };

int ioctl_link(struct op *op, uint64_t ino, unsigned number, const struct mneme_ioc_link *link,
	       size_t size)
{
	char *name = op_temporary(NAMES_XATTR_NAME_MAX + 1), weight[WEIGHT_MAX];
	int makes = number == MNEME_IOC_NR_LINK;

	if (size < sizeof(*link) || link->version != MNEME_IOC_VERSION || link->reserved ||
	    !link->label_length || link->label_length > size - sizeof(*link) ||
	    memchr(link->data, 0, link->label_length) || (!makes && link->weight != 0))
		return -EINVAL;
	if (link->label_length > NAMES_XATTR_NAME_MAX - (unsigned)PREFIX)
		return -ENAMETOOLONG;
	if (!op->fs->memory)
		return -EOPNOTSUPP;
	int err = name ? permission_check(op, ino, PERMISSION_WRITE) : -ENOMEM;
	if (err)
		return err;
	memcpy(name, MEMORY_LINK_PREFIX, PREFIX);
	memcpy(name + PREFIX, link->data, link->label_length);
	name[PREFIX + link->label_length] = 0;
	int n = snprintf(weight, sizeof(weight), "%.6g", (double)link->weight);
	return fs_set_xattr(op, ino, name, makes ? weight : NULL, (size_t)n, 0);
}

/* ---- listing ---- */

struct listing {
	struct fs *fs;
	struct permission *caller;
	struct mneme_ioc_links *out;
	size_t room;
	uint32_t skip;
	int back;
	char *path;
};

static int allow(void *arg, uint64_t ino, uint64_t directory)
{
	return permission_may_read(arg, ino, directory);
}

static void put(struct listing *l, const struct mneme_ioc_link_entry *entry, const char *label)
{
	size_t length =
		(sizeof(*entry) + entry->path_length + entry->label_length + 7) & ~(size_t)7;
	struct mneme_ioc_links *out = l->out;

	if (l->skip) {
		l->skip--;
		return;
	}
	if (out->more || length > l->room - out->data_length) {
		out->more++;
		return;
	}
	uint8_t *to = out->data + out->data_length;
	memset(to, 0, length);
	memcpy(to, entry, sizeof(*entry));
	memcpy(to + sizeof(*entry), l->path, entry->path_length);
	memcpy(to + sizeof(*entry) + entry->path_length, label, entry->label_length);
	out->data_length += (uint32_t)length;
	out->count++;
}

static int put_link(void *arg, const struct link *link, const char *label)
{
	struct listing *l = arg;
	struct mneme_ioc_link_entry entry = {.weight = (float)link->weight / NAMES_WEIGHT_ONE,
					     .kind = link->kind,
					     .back = (uint8_t)l->back,
					     .label_length = link->label_length};
	int next = 0;
	int leads = link->to && !memory_path(l->fs->memory, link->to, l->fs->root, allow, l->caller,
					     &next, l->path);

	if (leads) {
		entry.inode = link->to;
		entry.path_length = (uint16_t)strlen(l->path);
	}
	if (leads || !l->back)
		put(l, &entry, label);
	return 0;
}

/* The names of the file but the first, which the caller could list. */
static void put_names(struct listing *l, uint64_t ino)
{
	struct mneme_ioc_link_entry entry = {
		.inode = ino, .weight = 1, .kind = MNEME_IOC_LINK_HARD};
	int next = 0, first = 1;

	while (!memory_path(l->fs->memory, ino, l->fs->root, allow, l->caller, &next, l->path)) {
		entry.path_length = (uint16_t)strlen(l->path);
		if (!first)
			put(l, &entry, "");
		first = 0;
	}
}

int ioctl_links(struct op *op, uint64_t ino, struct mneme_ioc_links *links, size_t size)
{
	struct listing l = {.fs = op->fs, .out = links, .skip = links->first};
	int err = 0;

	if (size < sizeof(*links) || links->version != MNEME_IOC_VERSION || links->reserved[0] ||
	    links->reserved[1] || links->reserved[2])
		return -EINVAL;
	if (!op->fs->memory)
		return -EOPNOTSUPP;
	l.room = size - sizeof(*links);
	l.caller = op_temporary(sizeof(*l.caller));
	l.path = op_temporary(MEMORY_PATH_MAX);
	if (!l.caller || !l.path)
		return -ENOMEM;
	permission_of(l.caller, op->fs, op->req);
	err = permission_ask(l.caller, ino, PERMISSION_READ);
	if (!err)
		err = memory_sync(op->fs->memory, ino);
	links->count = links->more = links->data_length = 0;
	for (l.back = 0; l.back < 2 && !err; l.back++)
		err = links_of(op->fs->engine, ino, l.back, put_link, &l);
	if (!err)
		put_names(&l, ino);
	return err;
}
