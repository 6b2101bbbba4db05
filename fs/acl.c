/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   acl.h.
 *
 *   list:   version u32 = 2, then entries of tag u16, permissions u16, id u32, little-endian
 *   order:  USER_OBJ, USER..., GROUP_OBJ, GROUP..., MASK (needed after USER or GROUP), OTHER
 */
#include "fs/acl.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>

/* struct posix_acl_xattr_entry at any address: behind a name in a request it is not aligned. */
struct entry {
	uint16_t e_tag, e_perm;
	uint32_t e_id;
} __attribute__((packed));
_Static_assert(sizeof(struct entry) == sizeof(struct posix_acl_xattr_entry), "entry");
_Static_assert(sizeof(struct posix_acl_xattr_header) == 4, "header");

static size_t count_of(size_t length)
{
	return (length - sizeof(struct posix_acl_xattr_header)) / sizeof(struct entry);
}

static struct entry *entries_of(const void *acl)
{
	return (struct entry *)((uintptr_t)acl + sizeof(struct posix_acl_xattr_header));
}

/* The place of a tag in the order, -1 for an unknown one. */
static int rank_of(unsigned tag)
{
	static const uint16_t order[] = {ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ,
					 ACL_GROUP,    ACL_MASK, ACL_OTHER};

	for (int rank = 0; rank < 6; rank++) {
		if (order[rank] == tag)
			return rank;
	}
	return -1;
}

int acl_check(const void *acl, size_t length)
{
	uint32_t version;
	int seen[6] = {0}, last = -1;

	if (length < sizeof(version) || length > ACL_SIZE_MAX || (length - sizeof(version)) % 8)
		return -EINVAL;
	memcpy(&version, acl, sizeof(version));
	if (version != POSIX_ACL_XATTR_VERSION)
		return -EINVAL;
	const struct entry *entry = entries_of(acl);
	for (size_t i = 0, n = count_of(length); i < n; i++, entry++) {
		int rank = rank_of(entry->e_tag);
		if (rank < last || rank < 0 || entry->e_perm & ~7)
			return -EINVAL;
		last = rank;
		seen[rank]++;
	}
	/* one of each owner, group, other; the mask exactly when there are named entries, or alone */
	if (seen[0] != 1 || seen[2] != 1 || seen[5] != 1 || seen[4] > 1)
		return -EINVAL;
	return (seen[1] || seen[3]) && !seen[4] ? -EINVAL : 0;
}

int acl_to_mode(const void *acl, size_t length, uint32_t *mode)
{
	const struct entry *entry = entries_of(acl);
	uint32_t bits = 0, group = 0;
	int same = 1, mask = -1;

	for (size_t i = 0, n = count_of(length); i < n; i++, entry++) {
		switch (entry->e_tag) {
		case ACL_USER_OBJ:
			bits |= (uint32_t)entry->e_perm << 6;
			break;
		case ACL_GROUP_OBJ:
			group = entry->e_perm;
			break;
		case ACL_OTHER:
			bits |= entry->e_perm;
			break;
		case ACL_MASK:
			mask = entry->e_perm;
			same = 0;
			break;
		default:
			same = 0;
		}
	}
	bits |= (mask >= 0 ? (uint32_t)mask : group) << 3;
	*mode = (*mode & ~0777u) | bits;
	return same;
}

/* The entry that the group bits of the mode stand for: the mask if there is one. */
static struct entry *group_entry(void *acl, size_t length)
{
	struct entry *entry = entries_of(acl), *found = NULL;

	for (size_t i = 0, n = count_of(length); i < n; i++, entry++) {
		if (entry->e_tag == ACL_MASK || (entry->e_tag == ACL_GROUP_OBJ && !found))
			found = entry;
	}
	return found;
}

void acl_from_mode(void *acl, size_t length, uint32_t mode)
{
	struct entry *entry = entries_of(acl);
	struct entry *group = group_entry(acl, length);

	for (size_t i = 0, n = count_of(length); i < n; i++, entry++) {
		if (entry->e_tag == ACL_USER_OBJ)
			entry->e_perm = mode >> 6 & 7;
		else if (entry->e_tag == ACL_OTHER)
			entry->e_perm = mode & 7;
	}
	if (group)
		group->e_perm = mode >> 3 & 7;
}

int acl_inherit(void *acl, size_t length, uint32_t *mode)
{
	struct entry *entry = entries_of(acl);
	struct entry *group = group_entry(acl, length);

	for (size_t i = 0, n = count_of(length); i < n; i++, entry++) {
		if (entry->e_tag == ACL_USER_OBJ)
			entry->e_perm &= *mode >> 6 & 7;
		else if (entry->e_tag == ACL_OTHER)
			entry->e_perm &= *mode & 7;
	}
	if (group)
		group->e_perm &= *mode >> 3 & 7;
	return acl_to_mode(acl, length, mode);
}
