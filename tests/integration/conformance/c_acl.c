/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   POSIX access control lists, through the attributes that the kernel keeps them in:
 *            u32 version 2, then entries of u16 tag, u16 permissions, u32 id, all little-endian.
 *            Source: acl(5), POSIX.1e draft 17.
 */
#include "conformance.h"

#include <sys/xattr.h>

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

enum { ENTRIES_MAX = 16, NO_ID = -1 };
enum tag { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

struct entry {
	uint16_t tag, perm;
	uint32_t id;
};

struct acl {
	uint32_t version;
	struct entry entries[ENTRIES_MAX];
};

static int set_acl(const char *path, const char *name, const struct entry *entries, int count)
{
	struct acl acl = { .version = 2 };

	memcpy(acl.entries, entries, count * sizeof *entries);
	return setxattr(path, name, &acl, 4 + count * sizeof *entries, 0);
}

#define SET(path, name, ...)                                                                     \
	set_acl(path, name, (struct entry[]){ __VA_ARGS__ },                                     \
		sizeof((struct entry[]){ __VA_ARGS__ }) / sizeof(struct entry))

/* Permissions of an entry of a path's list, or -1. */
static int perm_of(const char *path, const char *name, enum tag tag, uint32_t id)
{
	struct acl acl;
	ssize_t length = getxattr(path, name, &acl, sizeof acl);

	for (int i = 0; i < (length - 4) / (ssize_t)sizeof(struct entry); i++)
		if (acl.entries[i].tag == tag && acl.entries[i].id == id)
			return acl.entries[i].perm;
	return -1;
}

static int can_read(const char *path, uid_t uid, gid_t gid)
{
	act_as(uid, gid, -1);
	int fd = open(path, O_RDONLY);
	act_as_root();
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int set_basic(const char *path)
{
	return SET(path, ACCESS, { USER_OBJ, 6, NO_ID }, { USER, 6, ALICE }, { GROUP_OBJ, 0, NO_ID },
		   { GROUP, 4, CREW }, { MASK, 6, NO_ID }, { OTHER, 0, NO_ID });
}

CASE(acl_named_user_and_group_get_access)
{
	make_file("f", "x", 0600);
	OK(set_basic("f"));
	YES(can_read("f", ALICE, STAFF));
	YES(can_read("f", BOB, CREW));
	YES(!can_read("f", BOB, STAFF));
	act_as(ALICE, STAFF, -1);
	OK(open("f", O_RDWR));
	act_as(BOB, CREW, -1);
	FAILS(open("f", O_RDWR), EACCES);
}

CASE(acl_mask_limits_and_shows_in_the_group_bits)
{
	make_file("f", "x", 0600);
	OK(set_basic("f"));
	EQ(stat_of("f").st_mode & 0777, 0660);
	OK(chmod("f", 0640));
	EQ(perm_of("f", ACCESS, MASK, NO_ID), 4);
	EQ(perm_of("f", ACCESS, USER, ALICE), 6);
	act_as(ALICE, STAFF, -1);
	OK(open("f", O_RDONLY));
	FAILS(open("f", O_WRONLY), EACCES);
	act_as_root();
	OK(chmod("f", 0600));
	YES(!can_read("f", ALICE, STAFF));
}

CASE(acl_named_user_wins_over_groups)
{
	make_file("f", "x", 0644);
	OK(SET("f", ACCESS, { USER_OBJ, 6, NO_ID }, { USER, 0, ALICE }, { GROUP_OBJ, 4, NO_ID },
	       { MASK, 4, NO_ID }, { OTHER, 4, NO_ID }));
	YES(!can_read("f", ALICE, 0));
	YES(can_read("f", BOB, STAFF));
}

CASE(acl_any_matching_group_suffices_and_other_does_not_help_a_member)
{
	make_file("f", "x", 0644);
	OK(chown("f", -1, STAFF));
	OK(SET("f", ACCESS, { USER_OBJ, 6, NO_ID }, { GROUP_OBJ, 0, NO_ID }, { GROUP, 4, CREW },
	       { MASK, 4, NO_ID }, { OTHER, 4, NO_ID }));
	act_as(BOB, STAFF, CREW);
	OK(open("f", O_RDONLY));
	act_as(BOB, STAFF, -1);
	FAILS(open("f", O_RDONLY), EACCES);
}

CASE(acl_minimal_list_is_the_mode)
{
	make_file("f", "x", 0600);
	OK(SET("f", ACCESS, { USER_OBJ, 6, NO_ID }, { GROUP_OBJ, 4, NO_ID }, { OTHER, 4, NO_ID }));
	EQ(stat_of("f").st_mode & 0777, 0644);
	FAILS(getxattr("f", ACCESS, NULL, 0), ENODATA);
}

CASE(acl_removed_list_leaves_the_mode)
{
	make_file("f", "x", 0600);
	OK(set_basic("f"));
	OK(removexattr("f", ACCESS));
	YES(!can_read("f", ALICE, STAFF));
	FAILS(getxattr("f", ACCESS, NULL, 0), ENODATA);
}

CASE(acl_nonsense_is_refused)
{
	make_file("f", "x", 0600);
	FAILS(setxattr("f", ACCESS, "12", 2, 0), EINVAL);
	FAILS(SET("f", ACCESS, { USER_OBJ, 6, NO_ID }, { USER, 4, ALICE }, { GROUP_OBJ, 4, NO_ID },
		  { OTHER, 4, NO_ID }), EINVAL); /* no mask */
	FAILS(SET("f", ACCESS, { GROUP_OBJ, 4, NO_ID }, { OTHER, 4, NO_ID }), EINVAL);
	FAILS(SET("f", ACCESS, { USER_OBJ, 15, NO_ID }, { GROUP_OBJ, 4, NO_ID },
		  { OTHER, 4, NO_ID }), EINVAL);
	FAILS(SET("f", DEFAULT, { USER_OBJ, 6, NO_ID }, { GROUP_OBJ, 4, NO_ID },
		  { OTHER, 4, NO_ID }), EACCES); /* only directories have one */
}

CASE(acl_is_set_by_the_owner_only)
{
	make_file("f", "x", 0666);
	act_as(ALICE, STAFF, -1);
	FAILS(set_basic("f"), EPERM);
	act_as_root();
	OK(chown("f", ALICE, -1));
	act_as(ALICE, STAFF, -1);
	OK(set_basic("f"));
}

static void make_default(const char *path)
{
	OK(mkdir(path, 0777));
	OK(SET(path, DEFAULT, { USER_OBJ, 7, NO_ID }, { USER, 7, ALICE }, { GROUP_OBJ, 5, NO_ID },
	       { MASK, 7, NO_ID }, { OTHER, 0, NO_ID }));
}

CASE(acl_default_is_inherited_by_a_file)
{
	umask(077); /* has no effect where there is a default list */
	make_default("d");
	OK(open("d/f", O_CREAT | O_WRONLY, 0666));
	EQ(stat_of("d/f").st_mode & 0777, 0660);
	EQ(perm_of("d/f", ACCESS, USER, ALICE), 7);
	EQ(perm_of("d/f", ACCESS, MASK, NO_ID), 6);
	EQ(perm_of("d/f", ACCESS, GROUP_OBJ, NO_ID), 5);
	FAILS(getxattr("d/f", DEFAULT, NULL, 0), ENODATA);
	OK(chmod("d", 0755));
	YES(can_read("d/f", ALICE, STAFF));
	YES(!can_read("d/f", BOB, STAFF));
}

CASE(acl_default_is_inherited_by_a_directory)
{
	make_default("d");
	OK(mkdir("d/e", 0700));
	EQ(stat_of("d/e").st_mode & 0777, 0700);
	EQ(perm_of("d/e", ACCESS, USER, ALICE), 7);
	EQ(perm_of("d/e", ACCESS, MASK, NO_ID), 0);
	EQ(perm_of("d/e", DEFAULT, USER, ALICE), 7);
	EQ(perm_of("d/e", DEFAULT, MASK, NO_ID), 7);
	OK(mkdir("d/e/f", 0777));
	EQ(perm_of("d/e/f", ACCESS, MASK, NO_ID), 7);
}

CASE(acl_default_does_not_change_access_of_the_directory)
{
	make_default("d");
	EQ(stat_of("d").st_mode & 0777, 0777);
	FAILS(getxattr("d", ACCESS, NULL, 0), ENODATA);
	OK(removexattr("d", DEFAULT));
	OK(open("d/f", O_CREAT | O_WRONLY, 0644));
	FAILS(getxattr("d/f", ACCESS, NULL, 0), ENODATA);
}

CASE(acl_default_is_inherited_by_fifos_and_not_by_symlinks)
{
	make_default("d");
	OK(mkfifo("d/p", 0666));
	EQ(perm_of("d/p", ACCESS, USER, ALICE), 7);
	OK(symlink("x", "d/s"));
	EQ(stat_of("d/s").st_mode & 0777, 0777);
}

CASE(acl_umask_applies_without_a_default)
{
	umask(027);
	OK(mkdir("d", 0777));
	OK(open("d/f", O_CREAT | O_WRONLY, 0666));
	EQ(stat_of("d").st_mode & 0777, 0750);
	EQ(stat_of("d/f").st_mode & 0777, 0640);
}

CASE(acl_directory_search_by_a_named_user)
{
	OK(mkdir("d", 0700));
	make_file("d/f", "x", 0644);
	OK(SET("d", ACCESS, { USER_OBJ, 7, NO_ID }, { USER, 1, ALICE }, { GROUP_OBJ, 0, NO_ID },
	       { MASK, 1, NO_ID }, { OTHER, 0, NO_ID }));
	YES(can_read("d/f", ALICE, STAFF));
	YES(!can_read("d", ALICE, STAFF));
	YES(!can_read("d/f", BOB, STAFF));
}

CASE(acl_setting_drops_setgid_of_a_foreign_group)
{
	make_file("f", "x", 0644);
	OK(chown("f", ALICE, CREW));
	OK(chmod("f", 02755));
	act_as(ALICE, STAFF, -1);
	OK(SET("f", ACCESS, { USER_OBJ, 7, NO_ID }, { GROUP_OBJ, 5, NO_ID }, { OTHER, 5, NO_ID }));
	EQ(stat_of("f").st_mode & 07777, 0755);
}

CASE(acl_survives_rename_and_a_write)
{
	make_file("f", "x", 0600);
	OK(set_basic("f"));
	OK(rename("f", "g"));
	int fd = OK(open("g", O_WRONLY));
	EQ(write(fd, "y", 1), 1);
	EQ(perm_of("g", ACCESS, GROUP, CREW), 4);
	YES(can_read("g", ALICE, STAFF));
}

CASE(acl_setting_marks_ctime)
{
	make_file("f", "x", 0600);
	struct stat before = stat_of("f");
	let_time_pass();
	OK(set_basic("f"));
	YES(time_compare(stat_of("f").st_ctim, before.st_ctim) > 0);
}
