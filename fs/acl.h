/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   POSIX access control lists in the form in which the kernel passes them as extended
 *            attributes (linux/posix_acl_xattr.h): check, inherit, keep in step with the mode bits.
 *            Permissions themselves are checked by the kernel.
 * Invariants: an ACL that says no more than the mode bits is not stored.
 * Threading: pure functions.
 * Failure:   -EINVAL: not a valid list.
 */
#ifndef MNEME_FS_ACL_H
#define MNEME_FS_ACL_H

#include <stddef.h>
#include <stdint.h>

enum { ACL_SIZE_MAX = 4096 /* the kernel reads no more */ };

#define ACL_ACCESS_NAME "system.posix_acl_access"
#define ACL_DEFAULT_NAME "system.posix_acl_default"

/* 0, or -EINVAL. Entries have to be in order and complete (POSIX.1e draft 17, 23.3). */
int acl_check(const void *acl, size_t length);
/* Puts the ACL's permissions into the low nine bits of *mode. Returns 1 if the mode then says all that
 * the list says, 0 if the list says more. */
int acl_to_mode(const void *acl, size_t length, uint32_t *mode);
/* chmod: puts the mode's bits into the list. */
void acl_from_mode(void *acl, size_t length, uint32_t mode);
/* Creation under a default ACL: cuts the list down to what *mode asks for, and *mode to what the list
 * grants. Returns as acl_to_mode(). */
int acl_inherit(void *acl, size_t length, uint32_t *mode);

#endif
