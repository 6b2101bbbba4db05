/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   extended attributes: flags, sizes, namespaces, permissions.
 */
#include "conformance.h"

#include <sys/xattr.h>

enum { VALUE_MAX = 65536, MANY = 100 };

static char value[VALUE_MAX + 1];

/* Is `name` in the list of the path's attributes? */
static int listed(const char *path, const char *name)
{
	static char list[65536];
	ssize_t length = OK(listxattr(path, list, sizeof list));

	for (char *at = list; at < list + length; at += strlen(at) + 1)
		if (!strcmp(at, name))
			return 1;
	return 0;
}

CASE(xattr_set_get_list_remove)
{
	make_file("f", "", 0644);
	OK(setxattr("f", "user.a", "one", 3, 0));
	OK(setxattr("f", "user.b", "two!", 4, 0));
	EQ(getxattr("f", "user.a", value, sizeof value), 3);
	EQ(memcmp(value, "one", 3), 0);
	YES(listed("f", "user.a") && listed("f", "user.b"));
	OK(removexattr("f", "user.a"));
	YES(!listed("f", "user.a"));
	FAILS(getxattr("f", "user.a", value, sizeof value), ENODATA);
	FAILS(removexattr("f", "user.a"), ENODATA);
}

CASE(xattr_create_and_replace_flags)
{
	make_file("f", "", 0644);
	FAILS(setxattr("f", "user.a", "1", 1, XATTR_REPLACE), ENODATA);
	OK(setxattr("f", "user.a", "1", 1, XATTR_CREATE));
	FAILS(setxattr("f", "user.a", "2", 1, XATTR_CREATE), EEXIST);
	OK(setxattr("f", "user.a", "longer", 6, XATTR_REPLACE));
	EQ(getxattr("f", "user.a", value, sizeof value), 6);
	FAILS(setxattr("f", "user.a", "2", 1, 64), EINVAL);
}

CASE(xattr_sizes_are_asked_with_0)
{
	make_file("f", "", 0644);
	OK(setxattr("f", "user.a", "12345", 5, 0));
	EQ(getxattr("f", "user.a", NULL, 0), 5);
	FAILS(getxattr("f", "user.a", value, 4), ERANGE);
	ssize_t length = OK(listxattr("f", NULL, 0));
	YES(length >= 7);
	FAILS(listxattr("f", value, length - 1), ERANGE);
	EQ(listxattr("f", value, length), length);
}

CASE(xattr_empty_value)
{
	make_file("f", "", 0644);
	OK(setxattr("f", "user.a", "", 0, 0));
	EQ(getxattr("f", "user.a", value, sizeof value), 0);
	YES(listed("f", "user.a"));
}

CASE(xattr_binary_value)
{
	make_file("f", "", 0644);
	OK(setxattr("f", "user.a", "\0\xff\n\0", 4, 0));
	EQ(getxattr("f", "user.a", value, sizeof value), 4);
	EQ(memcmp(value, "\0\xff\n\0", 4), 0);
}

CASE(xattr_name_of_255_bytes)
{
	char name[300] = "user.";

	make_file("f", "", 0644);
	memset(name + 5, 'n', 250);
	OK(setxattr("f", name, "1", 1, 0));
	YES(listed("f", name));
	name[255] = 'n';
	FAILS(setxattr("f", name, "1", 1, 0), ERANGE);
	FAILS(setxattr("f", "user.", "1", 1, 0), EINVAL);
}

CASE(xattr_value_of_64_kib)
{
	make_file("f", "", 0644);
	memset(value, 'v', sizeof value);
	OK(setxattr("f", "user.big", value, VALUE_MAX, 0));
	memset(value, 0, sizeof value);
	EQ(getxattr("f", "user.big", value, VALUE_MAX), VALUE_MAX);
	EQ(value[VALUE_MAX - 1], 'v');
}

CASE(xattr_value_beyond_64_kib_is_refused)
{
	make_file("f", "", 0644);
	FAILS(setxattr("f", "user.big", value, VALUE_MAX + 1, 0), E2BIG);
}

CASE(xattr_value_changes_length)
{
	make_file("f", "", 0644);
	memset(value, 'v', sizeof value);
	for (int length = 0; length < 3000; length += 271) {
		OK(setxattr("f", "user.a", value, length, 0));
		EQ(getxattr("f", "user.a", NULL, 0), length);
		OK(setxattr("f", "user.b", value, 3000 - length, 0));
	}
	EQ(getxattr("f", "user.b", NULL, 0), 3000 - 2981);
}

CASE(xattr_many_on_one_file)
{
	char name[32], got[32];

	make_file("f", "", 0644);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "user.n%03d", i);
		OK(setxattr("f", name, name, strlen(name), 0));
	}
	for (int i = 0; i < MANY; i += 2) {
		snprintf(name, sizeof name, "user.n%03d", i);
		OK(removexattr("f", name));
	}
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "user.n%03d", i);
		EQ(listed("f", name), i % 2);
		if (i % 2)
			EQ(getxattr("f", name, got, sizeof got), strlen(name));
	}
}

CASE(xattr_on_directories_descriptors_and_after_rename)
{
	OK(mkdir("d", 0755));
	OK(setxattr("d", "user.a", "dir", 3, 0));
	OK(rename("d", "e"));
	EQ(getxattr("e", "user.a", value, sizeof value), 3);
	make_file("f", "", 0644);
	int fd = OK(open("f", O_RDONLY));
	OK(fsetxattr(fd, "user.a", "x", 1, 0));
	EQ(fgetxattr(fd, "user.a", value, sizeof value), 1);
	YES(flistxattr(fd, value, sizeof value) >= 7);
	OK(fremovexattr(fd, "user.a"));
	FAILS(fgetxattr(fd, "user.a", value, sizeof value), ENODATA);
}

CASE(xattr_goes_with_the_file)
{
	make_file("f", "", 0644);
	OK(setxattr("f", "user.a", "1", 1, 0));
	OK(link("f", "g"));
	EQ(getxattr("g", "user.a", value, 1), 1);
	OK(unlink("f"));
	OK(unlink("g"));
	make_file("f", "", 0644);
	FAILS(getxattr("f", "user.a", value, 1), ENODATA);
}

CASE(xattr_user_only_on_files_and_directories)
{
	OK(symlink("x", "s"));
	OK(mkfifo("p", 0644));
	FAILS(lsetxattr("s", "user.a", "1", 1, 0), EPERM);
	FAILS(setxattr("p", "user.a", "1", 1, 0), EPERM);
	FAILS(lgetxattr("s", "user.a", value, 1), ENODATA);
}

CASE(xattr_follows_links_unless_told)
{
	make_file("f", "", 0644);
	OK(symlink("f", "s"));
	OK(setxattr("s", "user.a", "1", 1, 0));
	EQ(getxattr("f", "user.a", value, 1), 1);
	FAILS(lgetxattr("s", "user.a", value, 1), ENODATA);
	OK(lsetxattr("s", "trusted.a", "2", 1, 0));
	FAILS(getxattr("f", "trusted.a", value, 1), ENODATA);
}

CASE(xattr_user_follows_the_mode_bits)
{
	make_file("f", "", 0644);
	OK(setxattr("f", "user.a", "1", 1, 0));
	make_file("g", "", 0622);
	OK(setxattr("g", "user.a", "1", 1, 0));
	act_as(ALICE, STAFF, -1);
	EQ(getxattr("f", "user.a", value, 1), 1);
	FAILS(setxattr("f", "user.a", "2", 1, 0), EACCES);
	FAILS(removexattr("f", "user.a"), EACCES);
	FAILS(getxattr("g", "user.a", value, 1), EACCES);
	OK(setxattr("g", "user.a", "2", 1, 0));
	OK(listxattr("g", value, sizeof value));
}

CASE(xattr_user_in_sticky_directory_is_for_its_owner)
{
	OK(mkdir("d", 0777));
	OK(chmod("d", 01777));
	act_as(ALICE, STAFF, -1);
	FAILS(setxattr("d", "user.a", "1", 1, 0), EPERM);
}

CASE(xattr_trusted_is_for_root)
{
	make_file("f", "", 0666);
	OK(setxattr("f", "trusted.a", "1", 1, 0));
	YES(listed("f", "trusted.a"));
	act_as(ALICE, STAFF, -1);
	FAILS(getxattr("f", "trusted.a", value, 1), ENODATA);
	FAILS(setxattr("f", "trusted.a", "1", 1, 0), EPERM);
}

CASE(xattr_security_namespace)
{
	make_file("f", "", 0644);
	OK(setxattr("f", "security.note", "1", 1, 0));
	EQ(getxattr("f", "security.note", value, sizeof value), 1);
	YES(listed("f", "security.note"));
	OK(removexattr("f", "security.note"));
}

CASE(xattr_security_capability_is_dropped_by_a_write)
{
	/* VFS_CAP_REVISION_2, cap_net_raw permitted and effective */
	static const unsigned char cap[20] = { 1, 0, 0, 2, 0, 0x20 };

	make_file("f", "", 0755);
	OK(setxattr("f", "security.capability", cap, sizeof cap, 0));
	EQ(getxattr("f", "security.capability", value, sizeof value), sizeof cap);
	int fd = OK(open("f", O_WRONLY));
	EQ(write(fd, "x", 1), 1);
	OK(close(fd));
	FAILS(getxattr("f", "security.capability", value, sizeof value), ENODATA);
}

CASE(xattr_unknown_namespaces_are_refused)
{
	make_file("f", "", 0644);
	FAILS(setxattr("f", "nowhere.a", "1", 1, 0), EOPNOTSUPP);
	FAILS(setxattr("f", "plain", "1", 1, 0), EOPNOTSUPP);
	FAILS(getxattr("f", "nowhere.a", value, 1), EOPNOTSUPP);
}
