/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   who may do what: mode bits, ownership, set-id bits, sticky directories.
 */
#include "conformance.h"

#include <dirent.h>
#include <linux/falloc.h>

enum role { OWNER, GROUP, MEMBER, OTHER, ROLES };
static const char *const role_names[] = { "owner", "group", "member", "other" };
static const struct { uid_t uid; gid_t gid; long extra; } role_ids[] = {
	{ ALICE, CREW, -1 }, { BOB, STAFF, -1 }, { BOB, CREW, STAFF }, { BOB, CREW, -1 },
};

static void act_in_role(enum role role)
{
	act_as(role_ids[role].uid, role_ids[role].gid, role_ids[role].extra);
}

/* Mode with these three bits for the role, and all bits that are not meant for it set. */
static mode_t mode_for(enum role role, unsigned bits)
{
	int shift = role == OWNER ? 6 : role == OTHER ? 0 : 3;
	return (0777 & ~(7u << shift)) | bits << shift;
}

static void expect(long result, int allowed)
{
	if (allowed)
		OK(result);
	else
		FAILS(result, EACCES);
}

static void perm_file(long arg)
{
	enum role role = arg / 8;
	unsigned bits = arg % 8;

	make_file("f", "#!/bin/true\n", mode_for(role, bits));
	OK(chown("f", ALICE, STAFF));
	OK(chmod(".", 0777));
	act_in_role(role);
	expect(open("f", O_RDONLY), bits & 4);
	expect(open("f", O_WRONLY), bits & 2);
	expect(open("f", O_RDWR), (bits & 6) == 6);
	expect(open("f", O_WRONLY | O_TRUNC), bits & 2);
	expect(truncate("f", 3), bits & 2);
	expect(utimensat(AT_FDCWD, "f", NULL, 0), (bits & 2) || role == OWNER);
	expect(faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS), bits & 4);
	expect(faccessat(AT_FDCWD, "f", W_OK, AT_EACCESS), bits & 2);
	expect(faccessat(AT_FDCWD, "f", X_OK, AT_EACCESS), bits & 1);
	if (!(bits & 1))
		FAILS(execl("f", "f", NULL), EACCES);
}

static long list(const char *path)
{
	DIR *dir = opendir(path);

	return dir ? 0 : -1;
}

static void perm_directory(long arg)
{
	enum role role = arg / 8;
	unsigned bits = arg % 8;

	OK(mkdir("d", 0777));
	make_file("d/f", "", 0666);
	make_file("d/g", "", 0666);
	OK(mkdir("d/e", 0777));
	make_file("mine", "", 0666);
	OK(chown("mine", role_ids[role].uid, -1));
	OK(chown("d", ALICE, STAFF));
	OK(chmod("d", mode_for(role, bits)));
	OK(chmod(".", 0777));
	act_in_role(role);
	int change = (bits & 3) == 3;
	expect(list("d"), bits & 4);
	expect(open("d/f", O_RDONLY), bits & 1);
	expect(faccessat(AT_FDCWD, "d/f", F_OK, AT_EACCESS), bits & 1);
	expect(chdir("d/e"), bits & 1);
	if (bits & 1)
		OK(chdir("../.."));
	expect(open("d/new", O_CREAT | O_WRONLY, 0644), change);
	expect(mkdir("d/newdir", 0755), change);
	expect(symlink("x", "d/newlink"), change);
	expect(mkfifo("d/newfifo", 0644), change);
	expect(link("mine", "d/hard"), change);
	expect(rename("d/f", "d/h"), change);
	expect(unlink("d/g"), change);
	expect(rmdir("d/e"), change);
}

/* In a sticky directory only the owner of the entry or of the directory takes it away. */
static void perm_sticky(long arg)
{
	uid_t dir_owner = arg & 1 ? ALICE : CAROL, file_owner = arg & 2 ? ALICE : CAROL;
	int allowed = dir_owner == ALICE || file_owner == ALICE;

	OK(mkdir("d", 0777));
	make_file("d/f", "", 0666);
	make_file("d/g", "", 0666);
	make_file("d/mine", "", 0666);
	OK(mkdir("d/e", 0777));
	OK(chown("d/f", file_owner, -1));
	OK(chown("d/g", file_owner, -1));
	OK(chown("d/e", file_owner, -1));
	OK(chown("d/mine", ALICE, -1));
	OK(chown("d", dir_owner, -1));
	OK(chmod("d", 01777));
	act_as(ALICE, STAFF, -1);
	long results[3] = { 0 };
	int codes[3];
	results[0] = rename("d/mine", "d/g");
	codes[0] = errno;
	results[1] = unlink("d/f");
	codes[1] = errno;
	results[2] = rmdir("d/e");
	codes[2] = errno;
	for (int i = 0; i < 3; i++) {
		EQ(results[i], allowed ? 0 : -1);
		if (!allowed)
			EQ(codes[i], EPERM);
	}
	OK(mkdir("d/new", 0755));
	OK(rename("d/new", "d/newer"));
	OK(rmdir("d/newer"));
}

__attribute__((constructor)) static void perm_add(void)
{
	for (int role = 0; role < ROLES; role++)
		for (int bits = 0; bits < 8; bits++) {
			case_addf(perm_file, role * 8 + bits, "perm_file_%s_%d", role_names[role],
				  bits);
			case_addf(perm_directory, role * 8 + bits, "perm_directory_%s_%d",
				  role_names[role], bits);
		}
	for (int i = 0; i < 4; i++)
		case_addf(perm_sticky, i, "perm_sticky_dir_%s_file_%s", i & 1 ? "own" : "foreign",
			  i & 2 ? "own" : "foreign");
}

CASE(perm_root_reads_and_writes_everything_but_executes_with_a_bit)
{
	make_file("f", "#!/bin/true\n", 0);
	OK(chown("f", ALICE, STAFF));
	OK(open("f", O_RDWR));
	EQ(faccessat(AT_FDCWD, "f", X_OK, AT_EACCESS), -1);
	OK(chmod("f", 0001));
	OK(faccessat(AT_FDCWD, "f", X_OK, AT_EACCESS));
}

CASE(perm_access_uses_the_real_user)
{
	make_file("f", "", 0600);
	OK(chown("f", ALICE, -1));
	OK(chmod(".", 0777));
	act_as(ALICE, STAFF, -1);
	OK(access("f", R_OK)); /* the real user is root still */
	act_as_root();
	OK(setresuid(BOB, 0, 0));
	FAILS(access("f", R_OK), EACCES);
}

/* What a change of bytes by somebody without privileges leaves of suid and sgid: `how` is a way to
 * change bytes (low two bits), the group's execution bit (4) and membership (8). */
enum { BY_WRITE, BY_FALLOCATE, BY_PUNCH, BY_COPY };

static void perm_bits_after_change(long how)
{
	mode_t execution = how & 4 ? 0010 : 0;
	int fd, kept;

	make_file("f", "0123456789", 0);
	OK(chown("f", CAROL, CREW));
	OK(chmod("f", 06666 | execution));
	OK(chmod(".", 0777));
	act_as(ALICE, STAFF, how & 8 ? CREW : -1);
	fd = OK(open("f", O_RDWR));
	switch (how & 3) {
	case BY_WRITE:
		EQ(pwrite(fd, "x", 1, 0), 1);
		break;
	case BY_FALLOCATE:
	case BY_PUNCH:
		if (fallocate(fd, (how & 3) == BY_PUNCH ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0,
			      0, 4096) && errno == EOPNOTSUPP)
			UNSUPPORTED("fallocate does not know this mode");
		break;
	case BY_COPY: {
		off_t from = 0, to = 5;
		OK(copy_file_range(fd, &from, fd, &to, 3, 0));
	}
	}
	kept = how & 8 && !execution ? 02000 : 0;
	EQ(stat_of("f").st_mode & 07777, 0666 | execution | kept);
}

__attribute__((constructor)) static void perm_bits_add(void)
{
	static const char *const ways[] = {"write", "fallocate", "punch", "copy"};

	for (int how = 0; how < 16; how++)
		case_addf(perm_bits_after_change, how, "perm_bits_after_%s_%s_%s", ways[how & 3],
			  how & 4 ? "executable" : "plain", how & 8 ? "member" : "stranger");
}

CASE(perm_chmod_is_for_the_owner)
{
	make_file("f", "", 0666);
	act_as(ALICE, STAFF, -1);
	FAILS(chmod("f", 0600), EPERM);
	act_as_root();
	OK(chown("f", ALICE, STAFF));
	act_as(ALICE, STAFF, -1);
	OK(chmod("f", 0600));
	EQ(stat_of("f").st_mode & 07777, 0600);
}

CASE(perm_chmod_all_bits_are_kept)
{
	make_file("f", "", 0644);
	OK(mkdir("d", 0755));
	for (mode_t mode = 0; mode < 010000; mode += 0333) {
		OK(chmod("f", mode));
		EQ(stat_of("f").st_mode & 07777, mode);
		OK(chmod("d", mode | 0700));
		EQ(stat_of("d").st_mode & 07777, mode | 0700);
	}
}

CASE(perm_chmod_setgid_of_a_foreign_group_is_dropped)
{
	make_file("f", "", 0644);
	OK(chown("f", ALICE, CREW));
	act_as(ALICE, STAFF, -1);
	OK(chmod("f", 02755));
	EQ(stat_of("f").st_mode & 07777, 0755);
	act_as(ALICE, STAFF, CREW);
	OK(chmod("f", 02755));
	EQ(stat_of("f").st_mode & 07777, 02755);
}

CASE(perm_chmod_sticky_on_a_file_of_a_user)
{
	make_file("f", "", 0644);
	OK(chown("f", ALICE, STAFF));
	act_as(ALICE, STAFF, -1);
	OK(chmod("f", 01644)); /* Linux lets it be */
	EQ(stat_of("f").st_mode & 07777, 01644);
}

CASE(perm_fchmod_works_on_a_descriptor_opened_for_reading)
{
	make_file("f", "", 0644);
	int fd = OK(open("f", O_RDONLY));
	OK(fchmod(fd, 0400));
	EQ(stat_of("f").st_mode & 07777, 0400);
}

CASE(perm_chown_is_for_root)
{
	make_file("f", "", 0666);
	OK(chown("f", ALICE, STAFF));
	act_as(ALICE, STAFF, CREW);
	FAILS(chown("f", BOB, -1), EPERM);
	FAILS(chown("f", -1, 65599), EPERM);
	OK(chown("f", ALICE, -1));
	OK(chown("f", -1, CREW)); /* a group that the owner is in */
	EQ(stat_of("f").st_gid, CREW);
	act_as(BOB, STAFF, -1);
	FAILS(chown("f", -1, STAFF), EPERM);
}

CASE(perm_chown_keeps_what_is_minus_one)
{
	make_file("f", "", 0644);
	OK(chown("f", ALICE, STAFF));
	OK(chown("f", -1, CREW));
	EQ(stat_of("f").st_uid, ALICE);
	OK(chown("f", BOB, -1));
	EQ(stat_of("f").st_gid, CREW);
	OK(chown("f", -1, -1));
	EQ(stat_of("f").st_uid, BOB);
}

CASE(perm_chown_large_ids)
{
	make_file("f", "", 0644);
	OK(chown("f", 4000000000u, 4000000001u));
	EQ(stat_of("f").st_uid, 4000000000u);
	EQ(stat_of("f").st_gid, 4000000001u);
}

CASE(perm_chown_clears_set_id_bits_of_a_program)
{
	make_file("f", "", 06755);
	OK(chown("f", ALICE, STAFF));
	EQ(stat_of("f").st_mode & 07777, 0755);
	OK(chmod("f", 06755));
	act_as(ALICE, STAFF, CREW);
	OK(chown("f", -1, CREW));
	EQ(stat_of("f").st_mode & 07777, 0755);
}

CASE(perm_chown_of_a_directory_keeps_setgid)
{
	OK(mkdir("d", 0755));
	OK(chmod("d", 02755));
	OK(chown("d", ALICE, STAFF));
	EQ(stat_of("d").st_mode & 07777, 02755);
}

CASE(perm_lchown_changes_the_symlink)
{
	make_file("f", "", 0644);
	OK(symlink("f", "s"));
	OK(lchown("s", ALICE, STAFF));
	EQ(stat_of("s").st_uid, ALICE);
	EQ(stat_of("f").st_uid, 0);
}

/* What changes the content of a set-id program, done by a user who is not its owner. */
enum change { WRITE, PWRITE, TRUNCATE, FALLOCATE, PUNCH, CHANGES };
static const char *const change_names[] = { "write", "pwrite", "truncate", "fallocate", "punch" };

static void perm_change_clears_set_ids(long arg)
{
	mode_t mode = arg / CHANGES ? 02677 : 06777; /* setgid without group x is no set-id */
	long result;

	make_file("f", "long enough a text", mode);
	OK(chown("f", ALICE, CREW));
	OK(chmod("f", mode));
	act_as(BOB, STAFF, -1);
	int fd = OK(open("f", O_WRONLY));
	EQ(stat_of("f").st_mode & 07777, mode);
	switch ((enum change)(arg % CHANGES)) {
	case WRITE:
		result = write(fd, "x", 1);
		break;
	case PWRITE:
		result = pwrite(fd, "x", 1, 5);
		break;
	case TRUNCATE:
		result = ftruncate(fd, 3);
		break;
	case FALLOCATE:
		result = fallocate(fd, 0, 0, 100);
		break;
	default:
		result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4);
		break;
	}
	if (result < 0 && errno == EOPNOTSUPP)
		UNSUPPORTED("no fallocate");
	OK(result);
	EQ(stat_of("f").st_mode & 07777, mode & 0777);
}

CASE(perm_write_by_root_keeps_set_ids)
{
	make_file("f", "text", 06755);
	int fd = OK(open("f", O_WRONLY));
	EQ(write(fd, "x", 1), 1);
	EQ(stat_of("f").st_mode & 07777, 06755);
}

CASE(perm_open_for_writing_alone_keeps_set_ids)
{
	make_file("f", "text", 06777);
	act_as(BOB, STAFF, -1);
	int fd = OK(open("f", O_WRONLY));
	OK(close(fd));
	EQ(stat_of("f").st_mode & 07777, 06777);
}

__attribute__((constructor)) static void set_ids_add(void)
{
	for (int i = 0; i < CHANGES; i++)
		case_addf(perm_change_clears_set_ids, i, "perm_%s_clears_set_ids", change_names[i]);
}

CASE(perm_setuid_program_runs_as_its_owner)
{
	EQ(system("cp /usr/bin/id ./id"), 0);
	OK(chown("id", ALICE, STAFF));
	OK(chmod("id", 04755));
	OK(chmod(".", 0777));
	EQ(system("[ \"$(./id -u)\" = 65501 ]"), 0);
}

CASE(perm_unlink_needs_the_directory_not_the_file)
{
	OK(mkdir("d", 0777));
	make_file("d/f", "", 0);
	act_as(ALICE, STAFF, -1);
	OK(unlink("d/f"));
}

CASE(perm_link_of_a_file_that_is_neither_owned_nor_writable)
{
	FILE *f = fopen("/proc/sys/fs/protected_hardlinks", "r");
	int protected = f && fgetc(f) == '1';

	make_file("f", "", 0600);
	OK(chmod(".", 0777));
	act_as(ALICE, STAFF, -1);
	if (protected)
		FAILS(link("f", "g"), EPERM);
	else
		OK(link("f", "g"));
}

CASE(perm_utimes_by_others)
{
	struct timespec times[2] = { { 1, 0 }, { 2, 0 } };
	struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };

	make_file("f", "", 0666);
	make_file("g", "", 0644);
	act_as(ALICE, STAFF, -1);
	FAILS(utimensat(AT_FDCWD, "f", times, 0), EPERM);
	OK(utimensat(AT_FDCWD, "f", now, 0));
	OK(utimensat(AT_FDCWD, "f", NULL, 0));
	FAILS(utimensat(AT_FDCWD, "g", NULL, 0), EACCES);
	now[0].tv_nsec = UTIME_OMIT;
	FAILS(utimensat(AT_FDCWD, "f", now, 0), EPERM);
}

CASE(perm_opened_descriptor_outlives_the_permission)
{
	char byte;

	make_file("f", "x", 0644);
	OK(chmod(".", 0777));
	act_as(ALICE, STAFF, -1);
	int fd = OK(open("f", O_RDONLY));
	act_as_root();
	OK(chmod("f", 0));
	act_as(ALICE, STAFF, -1);
	EQ(read(fd, &byte, 1), 1);
	FAILS(open("f", O_RDONLY), EACCES);
}

CASE(perm_change_of_a_parent_is_seen_at_once)
{
	OK(mkdir("d", 0755));
	make_file("d/f", "", 0644);
	OK(chmod(".", 0755));
	act_as(ALICE, STAFF, -1);
	OK(open("d/f", O_RDONLY));
	act_as_root();
	OK(chmod("d", 0700));
	act_as(ALICE, STAFF, -1);
	FAILS(open("d/f", O_RDONLY), EACCES);
	act_as_root();
	OK(chown("d", ALICE, -1));
	act_as(ALICE, STAFF, -1);
	OK(open("d/f", O_RDONLY));
}
