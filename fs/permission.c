/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   permission.h.
 * Source:    POSIX.1e draft 17, 23.1.5 (ACL access check algorithm).
 */
#include "fs/permission.h"
#include "fs/acl.h"
#include "fs/proc.h"
#include "pool/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DEPTH_MAX = 256 };

/* Capabilities count in the namespace that the inodes' owners are of: the daemon's. */
static int in_own_namespace(pid_t pid)
{
	char path[PROC_PATH];
	struct stat theirs, ours;

	proc_path(path, pid, "ns/user");
	return !stat(path, &theirs) && !stat("/proc/self/ns/user", &ours) &&
	       theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

/* Being user 0 is not enough: its capabilities may be dropped. */
static int overrides_of(pid_t pid)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = pid};
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

	/* pid 0: of another pid namespace; capget() would speak of the daemon */
	if (pid <= 0 || syscall(SYS_capget, &head, caps))
		return 0;
	int granted = 0;
	if (caps[0].effective & 1u << CAP_DAC_OVERRIDE)
		granted = PERMISSION_READ | PERMISSION_WRITE | PERMISSION_SEARCH;
	else if (caps[0].effective & 1u << CAP_DAC_READ_SEARCH)
		granted = PERMISSION_READ | PERMISSION_SEARCH;
	return granted && in_own_namespace(pid) ? granted : 0;
}

static int overrides(struct permission *p, unsigned want)
{
	if (p->overrides < 0)
		p->overrides = overrides_of(fuse_req_ctx(p->req)->pid);
	return (p->overrides & want) == want;
}

void permission_of(struct permission *p, struct fs *fs, fuse_req_t req)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);

	p->fs = fs;
	p->req = req;
	p->uid = caller->uid;
	p->gid = caller->gid;
	p->overrides = p->groups_count = -1;
	memset(p->verdicts, 0, sizeof(p->verdicts));
}

/* As fuse_req_getgroups(), without its printf and its allocation. What is not known grants nothing. */
static int groups_read(struct permission *p)
{
	static _Thread_local char status[PROC_STATUS_SIZE]; /* not on the stack */
	char *end;
	int count = 0;

	proc_read(fuse_req_ctx(p->req)->pid, "status", status, sizeof(status));
	const char *at = strstr(status, "\nGroups:");
	if (!at)
		return 0;
	for (at += sizeof("\nGroups:") - 1; count < PERMISSION_GROUPS_MAX; at = end) {
		at += strspn(at, " \t");
		unsigned long gid = strtoul(at, &end, 10);
		if (end == at || !*end) /* the line's end; cut off: not known whole */
			break;
		p->groups[count++] = (gid_t)gid;
	}
	return count;
}

const void *permission_identity(struct permission *p, size_t *length)
{
	overrides(p, 0);
	if (p->groups_count < 0)
		p->groups_count = groups_read(p);
	*length = offsetof(struct permission, groups) - offsetof(struct permission, uid) +
		  (size_t)p->groups_count * sizeof(p->groups[0]);
	return &p->uid;
}

static int in_group(struct permission *p, gid_t gid)
{
	if (p->gid == gid)
		return 1;
	if (p->groups_count < 0)
		p->groups_count = groups_read(p);
	for (int i = 0; i < p->groups_count; i++)
		if (p->groups[i] == gid)
			return 1;
	return 0;
}

static int by_mode(struct permission *p, const struct names_inode *inode, unsigned want)
{
	unsigned bits = inode->mode & 7;

	if (p->uid == inode->uid)
		bits = inode->mode >> 6 & 7;
	else if (in_group(p, inode->gid))
		bits = inode->mode >> 3 & 7;
	return (bits & want) == want;
}

static int by_acl(struct permission *p, const struct names_inode *inode, const uint8_t *acl,
		  size_t length, unsigned want)
{
	struct posix_acl_xattr_entry e;
	unsigned mask = 7, other = 0, group_bits = 0;
	int group_seen = 0, user_seen = 0;
	unsigned user_bits = 0;

	if (p->uid == inode->uid)
		return (inode->mode >> 6 & want) == want;
	for (size_t at = sizeof(struct posix_acl_xattr_header); at + sizeof(e) <= length;
	     at += sizeof(e)) {
		memcpy(&e, acl + at, sizeof(e));
		unsigned tag = e.e_tag, id = e.e_id, bits = e.e_perm;
		if (tag == ACL_MASK) {
			mask = bits;
		} else if (tag == ACL_OTHER) {
			other = bits;
		} else if (tag == ACL_USER && id == p->uid) {
			user_seen = 1;
			user_bits = bits;
		} else if ((tag == ACL_GROUP && in_group(p, id)) ||
			   (tag == ACL_GROUP_OBJ && in_group(p, inode->gid))) {
			group_seen = 1;
			if ((bits & want) == want)
				group_bits = bits;
		}
	}
	if (user_seen)
		return (user_bits & mask & want) == want;
	if (group_seen)
		return (group_bits & mask & want) == want;
	return (other & want) == want;
}

static int allows(struct permission *p, uint64_t ino, const struct names_inode *inode,
		  unsigned want)
{
	static _Thread_local uint8_t acl[ACL_SIZE_MAX]; /* not on the stack: handlers have 3 KiB */
	size_t length;

	if (!(inode->state & NAMES_HAS_ACL_ACCESS))
		return by_mode(p, inode, want);
	struct mneme_key key = {.inode = ino,
				.type = MNEME_TYPE_XATTR,
				.sub = ACL_ACCESS_NAME,
				.sub_length = sizeof(ACL_ACCESS_NAME) - 1};
	int err = mneme_get(p->fs->engine, &key, acl, sizeof(acl), &length);
	if (err == -ENOENT)
		return by_mode(p, inode, want);
	return !err && by_acl(p, inode, acl, length, want);
}

OWN_FRAME int permission_ask(struct permission *p, uint64_t ino, unsigned want)
{
	struct names_inode inode;
	int err = inode_read(p->fs, ino, &inode);

	if (err)
		return err;
	if (want & PERMISSION_WRITE) {
		if (atomic_load_explicit(&p->fs->read_only, memory_order_relaxed))
			return -EROFS;
		if (inode_check_flags(&inode, 0))
			return -EPERM;
	}
	return allows(p, ino, &inode, want) || overrides(p, want) ? 0 : -EACCES;
}

int permission_check(struct op *op, uint64_t ino, unsigned want)
{
	struct permission *caller = op_temporary(sizeof(*caller));

	if (!caller)
		return -ENOMEM;
	permission_of(caller, op->fs, op->req);
	return permission_ask(caller, ino, want);
}

static int first_parent(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	(void)value;
	(void)length;
	if (key->sub_length != 16)
		return -EUCLEAN;
	*(uint64_t *)arg = names_get_be64(key->sub);
	return 1;
}

/* The directory of the inode's first name, 0 if there is none. */
OWN_FRAME static uint64_t parent_of(struct fs *fs, uint64_t ino)
{
	struct mneme_key first = names_key(ino, MNEME_TYPE_PARENT);
	struct mneme_key last = names_key(ino, MNEME_TYPE_PARENT + 1);
	uint64_t parent = 0;
	int got = mneme_view_begin(fs->engine, ino);

	if (got)
		return 0;
	got = mneme_view_scan(fs->engine, &first, &last, 1, first_parent, &parent);
	mneme_view_end(fs->engine, ino);
	return got == 1 ? parent : 0;
}

/* Searches meet many records: a caller who may read them all is spared the look at each. */
int permission_may_all(struct permission *p)
{
	return p->uid == 0 && overrides(p, PERMISSION_READ | PERMISSION_SEARCH);
}

static int way_is_open(struct permission *p, uint64_t directory)
{
	for (int depth = 0; directory && depth < DEPTH_MAX; depth++) {
		if (permission_ask(p, directory, PERMISSION_SEARCH))
			return 0;
		if (directory == p->fs->root)
			return 1;
		directory = parent_of(p->fs, directory);
	}
	return 0;
}

int permission_may_search(struct permission *p, uint64_t directory)
{
	/* Fibonacci hashing: inode numbers are a whole number of shards apart */
	unsigned at = (unsigned)(directory * 0x9e3779b97f4a7c15u >> 58) % PERMISSION_VERDICTS;

	if (permission_may_all(p))
		return 1;
	if (p->verdicts[at].directory != directory || !directory) {
		p->verdicts[at].may_search = way_is_open(p, directory);
		p->verdicts[at].directory = directory;
	}
	return p->verdicts[at].may_search;
}

int permission_may_read(struct permission *p, uint64_t ino, uint64_t directory)
{
	if (permission_may_all(p))
		return 1;
	return !permission_ask(p, ino, PERMISSION_READ) &&
	       (!directory || permission_may_search(p, directory));
}
