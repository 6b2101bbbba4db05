/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   opening, creating and naming files; files that are open without a name.
 */
#include "conformance.h"

#include <sys/wait.h>

CASE(open_create_takes_mode_and_umask)
{
	umask(027);
	OK(open("f", O_CREAT | O_WRONLY, 0666));
	EQ(stat_of("f").st_mode & 07777, 0640);
	OK(mkdir("d", 0777));
	EQ(stat_of("d").st_mode & 07777, 0750);
}

CASE(open_create_takes_special_mode_bits)
{
	OK(open("f", O_CREAT | O_WRONLY, 06711));
	EQ(stat_of("f").st_mode & 07777, 06711);
}

CASE(open_create_with_mode_0_gives_a_usable_descriptor)
{
	OK(chmod(".", 0777));
	act_as(ALICE, STAFF, -1);
	int fd = OK(open("f", O_CREAT | O_RDWR, 0));
	EQ(write(fd, "x", 1), 1);
	FAILS(open("f", O_RDONLY), EACCES);
}

CASE(open_create_belongs_to_the_caller)
{
	OK(chmod(".", 0777));
	act_as(ALICE, STAFF, -1);
	OK(open("f", O_CREAT | O_WRONLY, 0644));
	OK(mkdir("d", 0755));
	OK(symlink("f", "s"));
	OK(mkfifo("p", 0644));
	const char *const names[] = { "f", "d", "s", "p" };
	for (int i = 0; i < 4; i++) {
		EQ(stat_of(names[i]).st_uid, ALICE);
		EQ(stat_of(names[i]).st_gid, STAFF);
	}
}

CASE(open_create_in_setgid_directory_takes_its_group)
{
	OK(mkdir("d", 0777));
	OK(chown("d", -1, CREW));
	OK(chmod("d", 02777));
	act_as(ALICE, STAFF, -1);
	OK(open("d/f", O_CREAT | O_WRONLY, 0644));
	OK(mkdir("d/e", 0755));
	EQ(stat_of("d/f").st_gid, CREW);
	EQ(stat_of("d/e").st_gid, CREW);
	EQ(stat_of("d/e").st_mode & 07777, 02755);
}

CASE(open_create_setgid_file_of_a_foreign_group_loses_the_bit)
{
	OK(mkdir("d", 0777));
	OK(chown("d", -1, CREW));
	OK(chmod("d", 02777));
	act_as(ALICE, STAFF, -1);
	OK(open("d/f", O_CREAT | O_WRONLY, 02755));
	EQ(stat_of("d/f").st_mode & 07777, 0755);
}

CASE(open_excl_refuses_what_exists)
{
	make_file("f", "", 0644);
	OK(mkdir("d", 0755));
	OK(symlink("nowhere", "dangling"));
	FAILS(open("f", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	FAILS(open("d", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	FAILS(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	OK(open("g", O_CREAT | O_EXCL | O_WRONLY, 0644));
}

CASE(open_create_through_a_dangling_symlink_makes_its_target)
{
	OK(symlink("target", "s"));
	OK(open("s", O_CREAT | O_WRONLY, 0644));
	YES(S_ISREG(stat_of("target").st_mode));
}

CASE(open_existing_with_create_keeps_its_mode)
{
	make_file("f", "text", 0600);
	OK(open("f", O_CREAT | O_RDWR, 0777));
	EQ(stat_of("f").st_mode & 07777, 0600);
	SAME(read_file("f"), "text");
}

CASE(open_trunc_empties_and_marks_the_times)
{
	make_file("f", "text", 0644);
	struct stat before = stat_of("f");
	let_time_pass();
	OK(open("f", O_WRONLY | O_TRUNC));
	struct stat after = stat_of("f");
	EQ(after.st_size, 0);
	YES(time_compare(after.st_mtim, before.st_mtim) > 0);
	YES(time_compare(after.st_ctim, before.st_ctim) > 0);
}

CASE(open_directory_flag_wants_a_directory)
{
	make_file("f", "", 0644);
	FAILS(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	OK(open(".", O_RDONLY | O_DIRECTORY));
}

CASE(open_nofollow_refuses_a_symlink)
{
	make_file("f", "", 0644);
	OK(symlink("f", "s"));
	FAILS(open("s", O_RDONLY | O_NOFOLLOW), ELOOP);
	OK(open("f", O_RDONLY | O_NOFOLLOW));
}

CASE(open_path_of_a_symlink_is_the_symlink)
{
	struct stat st;
	char target[16];

	OK(symlink("f", "s"));
	int fd = OK(open("s", O_PATH | O_NOFOLLOW));
	OK(fstat(fd, &st));
	YES(S_ISLNK(st.st_mode));
	EQ(readlinkat(fd, "", target, sizeof target), 1);
	FAILS(read(fd, target, 1), EBADF);
}

CASE(open_modes_allow_only_their_direction)
{
	char byte;

	make_file("f", "text", 0644);
	int reader = OK(open("f", O_RDONLY)), writer = OK(open("f", O_WRONLY));
	FAILS(write(reader, "x", 1), EBADF);
	FAILS(read(writer, &byte, 1), EBADF);
	FAILS(ftruncate(reader, 0), EINVAL);
}

CASE(open_directory_for_writing_is_refused)
{
	OK(mkdir("d", 0755));
	FAILS(open("d", O_WRONLY), EISDIR);
	FAILS(open("d", O_RDWR), EISDIR);
	FAILS(open("d", O_RDONLY | O_CREAT, 0644), EISDIR);
	FAILS(open("d", O_WRONLY | O_TRUNC), EISDIR);
}

CASE(open_trailing_slash_wants_a_directory)
{
	make_file("f", "", 0644);
	FAILS(open("f/", O_RDONLY), ENOTDIR);
	FAILS(open("new/", O_CREAT | O_WRONLY, 0644), EISDIR);
	FAILS(unlink("f/"), ENOTDIR);
	OK(mkdir("d/", 0755));
	OK(rmdir("d/"));
}

CASE(open_append_writes_at_the_end)
{
	make_file("f", "one", 0644);
	int a = OK(open("f", O_WRONLY | O_APPEND)), b = OK(open("f", O_WRONLY | O_APPEND));
	EQ(write(a, "two", 3), 3);
	EQ(write(b, "three", 5), 5);
	OK(lseek(a, 0, SEEK_SET));
	EQ(write(a, "four", 4), 4);
	SAME(read_file("f"), "onetwothreefour");
}

CASE(open_noatime_is_for_the_owner)
{
	make_file("f", "x", 0666);
	OK(open("f", O_RDONLY | O_NOATIME));
	act_as(ALICE, STAFF, -1);
	FAILS(open("f", O_RDONLY | O_NOATIME), EPERM);
}

CASE(open_duplicates_share_the_offset)
{
	char byte;

	make_file("f", "abc", 0644);
	int fd = OK(open("f", O_RDONLY)), twin = OK(dup(fd)), other = OK(open("f", O_RDONLY));
	EQ(read(fd, &byte, 1), 1);
	EQ(read(twin, &byte, 1), 1);
	EQ(byte, 'b');
	EQ(read(other, &byte, 1), 1);
	EQ(byte, 'a');
}

CASE(open_at_resolves_from_the_descriptor)
{
	OK(mkdir("d", 0755));
	int dir = OK(open("d", O_RDONLY | O_DIRECTORY));
	OK(openat(dir, "f", O_CREAT | O_WRONLY, 0644));
	OK(mkdirat(dir, "e", 0755));
	OK(symlinkat("f", dir, "s"));
	OK(renameat(dir, "f", dir, "g"));
	OK(unlinkat(dir, "e", AT_REMOVEDIR));
	YES(exists("d/g") && exists("d/s") && !exists("d/e"));
	int file = OK(open("d/g", O_RDONLY));
	FAILS(openat(file, "x", O_RDONLY), ENOTDIR);
}

CASE(open_in_a_removed_directory_fails)
{
	OK(mkdir("d", 0755));
	int dir = OK(open("d", O_RDONLY | O_DIRECTORY));
	OK(rmdir("d"));
	FAILS(openat(dir, "f", O_CREAT | O_WRONLY, 0644), ENOENT);
	FAILS(mkdirat(dir, "e", 0755), ENOENT);
	FAILS(symlinkat("x", dir, "s"), ENOENT);
}

CASE(open_deleted_file_by_its_descriptor_path)
{
	char path[64];

	make_file("f", "text", 0644);
	int fd = OK(open("f", O_RDWR));
	OK(unlink("f"));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	SAME(read_file(path), "text");
}

CASE(open_deleted_file_keeps_working)
{
	char text[8] = "";
	struct stat st;

	make_file("f", "text", 0644);
	int fd = OK(open("f", O_RDWR));
	OK(unlink("f"));
	OK(fstat(fd, &st));
	EQ(st.st_nlink, 0);
	EQ(pwrite(fd, "T", 1, 0), 1);
	OK(ftruncate(fd, 6));
	OK(fchmod(fd, 0600));
	OK(fsync(fd));
	EQ(pread(fd, text, 7, 0), 6);
	EQ(memcmp(text, "Text\0\0", 6), 0);
	make_file("f", "another", 0644);
	EQ(pread(fd, text, 1, 0), 1);
	EQ(text[0], 'T');
}

CASE(open_file_outlives_all_its_names)
{
	char text[8] = "";

	make_file("f", "text", 0644);
	OK(link("f", "g"));
	int fd = OK(open("f", O_RDONLY));
	OK(unlink("f"));
	OK(unlink("g"));
	EQ(read(fd, text, 7), 4);
	SAME(text, "text");
}

CASE(open_tmpfile_has_no_name_until_it_is_linked)
{
	char path[64];
	struct stat st;

	int fd = open(".", O_TMPFILE | O_RDWR, 0640);
	if (fd < 0 && errno == EOPNOTSUPP)
		UNSUPPORTED("no O_TMPFILE");
	OK(fd);
	OK(fstat(fd, &st));
	EQ(st.st_nlink, 0);
	EQ(st.st_mode & 07777, 0640);
	EQ(write(fd, "text", 4), 4);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	SAME(read_file("named"), "text");
	EQ(stat_of("named").st_nlink, 1);
}

CASE(open_tmpfile_excl_cannot_be_linked)
{
	int fd = OK(open(".", O_TMPFILE | O_EXCL | O_RDWR, 0640));
	FAILS(linkat(fd, "", AT_FDCWD, "named", AT_EMPTY_PATH), ENOENT);
}

CASE(open_tmpfile_wants_a_directory_and_write_access)
{
	make_file("f", "", 0644);
	FAILS(open("f", O_TMPFILE | O_RDWR, 0600), ENOTDIR);
	FAILS(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
	OK(chmod(".", 0755));
	act_as(ALICE, STAFF, -1);
	FAILS(open(".", O_TMPFILE | O_RDWR, 0600), EACCES);
}

CASE(open_write_with_sync_flags)
{
	int fd = OK(open("f", O_CREAT | O_WRONLY | O_SYNC, 0644));
	EQ(write(fd, "a", 1), 1);
	fd = OK(open("f", O_WRONLY | O_DSYNC | O_APPEND));
	EQ(write(fd, "b", 1), 1);
	SAME(read_file("f"), "ab");
}

CASE(open_mknod_makes_a_regular_file)
{
	OK(mknod("f", S_IFREG | 0640, 0));
	EQ(stat_of("f").st_mode, S_IFREG | 0640);
	FAILS(mknod("f", S_IFREG | 0640, 0), EEXIST);
}

static const char *const odd_names[] = {
	"with space", "new\nline", "tab\tname", "quote'\"name", "back\\slash", "*?[x]", "-dash",
	"...", "..x", ".hidden", "\xff\xfe", "\xe4\xbd\xa0\xe5\xa5\xbd", "\xf0\x9f\x90\x98",
	"\x01\x02",
	"name.", "CON", "a:b", "~", "$(x)", "%2F",
};

static void name_is_kept(long i)
{
	const char *name = odd_names[i];
	char command[64];

	make_file(name, "text", 0644);
	SAME(read_file(name), "text");
	OK(rename(name, "x"));
	OK(link("x", name));
	snprintf(command, sizeof command, "[ $(ls -A | wc -l) -ge 2 ]");
	EQ(system(command), 0);
	OK(unlink(name));
	YES(!exists(name));
}

static void name_length(long length)
{
	char name[256];

	memset(name, 'x', length);
	name[length] = 0;
	make_file(name, "text", 0644);
	SAME(read_file(name), "text");
	name[length - 1] = 'y';
	YES(!exists(name));
	OK(mkdir(name, 0755));
	OK(rmdir(name));
}

__attribute__((constructor)) static void names_add(void)
{
	static const int lengths[] = { 1, 15, 16, 63, 64, 127, 128, 254, 255 };

	for (unsigned i = 0; i < sizeof odd_names / sizeof *odd_names; i++)
		case_addf(name_is_kept, i, "name_odd_%u", i);
	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
		case_addf(name_length, lengths[i], "name_of_%d_bytes", lengths[i]);
}

CASE(name_case_matters)
{
	make_file("a", "small", 0644);
	make_file("A", "large", 0644);
	SAME(read_file("a"), "small");
}

CASE(name_bytes_are_not_normalised)
{
	make_file("\xc3\xa9", "composed", 0644);
	YES(!exists("e\xcc\x81"));
}

enum { RACERS = 4, RACE_ROUNDS = 200 };

static void race(int (*attempt)(const char *path))
{
	int winners = 0, status, gate[2];
	char path[32];

	for (int round = 0; round < RACE_ROUNDS; round++) {
		snprintf(path, sizeof path, "r%d", round);
		OK(pipe(gate));
		for (int i = 0; i < RACERS; i++) {
			if (OK(fork()) == 0) {
				char byte;
				close(gate[1]);
				read(gate[0], &byte, 1) < 0 ? _exit(2) : (void)0;
				_exit(attempt(path) >= 0);
			}
		}
		close(gate[0]);
		close(gate[1]);
		for (int i = 0; i < RACERS; i++) {
			OK(wait(&status));
			winners += WEXITSTATUS(status);
		}
		EQ(winners, round + 1);
	}
}

static int race_open(const char *path)
{
	return open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
}

static int race_mkdir(const char *path)
{
	return mkdir(path, 0755);
}

static int race_symlink(const char *path)
{
	return symlink("x", path);
}

CASE(race_exclusive_create_has_one_winner)
{
	race(race_open);
}

CASE(race_mkdir_has_one_winner)
{
	race(race_mkdir);
}

CASE(race_symlink_has_one_winner)
{
	race(race_symlink);
}

CASE(race_replaced_file_is_always_there)
{
	int status;
	pid_t writer;

	make_file("target", "0", 0644);
	writer = OK(fork());
	if (writer == 0) {
		for (int i = 0; i < 2000; i++) {
			int fd = open("new", O_CREAT | O_WRONLY | O_TRUNC, 0644);
			if (fd < 0 || write(fd, "1", 1) != 1 || close(fd) || rename("new", "target"))
				_exit(1);
		}
		_exit(0);
	}
	do {
		int fd = OK(open("target", O_RDONLY));
		char byte = 0;
		EQ(read(fd, &byte, 1), 1);
		OK(close(fd));
	} while (OK(waitpid(writer, &status, WNOHANG)) == 0);
	EQ(status, 0);
}
