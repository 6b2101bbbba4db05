/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   hard and symbolic links, fifos, sockets, devices, file handles.
 */
#include "conformance.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

CASE(link_shares_the_file)
{
	make_file("f", "text", 0644);
	OK(link("f", "g"));
	EQ(stat_of("f").st_ino, stat_of("g").st_ino);
	EQ(stat_of("f").st_nlink, 2);
	OK(chmod("g", 0600));
	EQ(stat_of("f").st_mode & 07777, 0600);
	OK(truncate("g", 1));
	SAME(read_file("f"), "t");
	OK(unlink("f"));
	EQ(stat_of("g").st_nlink, 1);
}

CASE(link_refusals)
{
	make_file("f", "", 0644);
	OK(mkdir("d", 0755));
	OK(symlink("x", "s"));
	FAILS(link("f", "d"), EEXIST);
	FAILS(link("f", "s"), EEXIST);
	FAILS(link("f", "f"), EEXIST);
	FAILS(link("d", "e"), EPERM);
}

CASE(link_to_a_symlink_and_through_it)
{
	make_file("f", "", 0644);
	OK(symlink("f", "s"));
	OK(link("s", "t"));
	YES(S_ISLNK(stat_of("t").st_mode));
	EQ(stat_of("s").st_nlink, 2);
	OK(linkat(AT_FDCWD, "s", AT_FDCWD, "g", AT_SYMLINK_FOLLOW));
	EQ(stat_of("g").st_ino, stat_of("f").st_ino);
}

CASE(link_by_descriptor)
{
	make_file("f", "text", 0644);
	int fd = OK(open("f", O_RDONLY));
	OK(linkat(fd, "", AT_FDCWD, "g", AT_EMPTY_PATH));
	EQ(stat_of("f").st_nlink, 2);
	OK(unlink("f"));
	OK(unlink("g"));
	FAILS(linkat(fd, "", AT_FDCWD, "h", AT_EMPTY_PATH), ENOENT);
}

CASE(link_of_fifos_and_devices)
{
	OK(mkfifo("p", 0644));
	OK(link("p", "q"));
	EQ(stat_of("q").st_nlink, 2);
	YES(S_ISFIFO(stat_of("q").st_mode));
}

CASE(link_1000_names)
{
	char name[32];

	make_file("f", "", 0644);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "l%d", i);
		OK(link("f", name));
	}
	EQ(stat_of("f").st_nlink, 1001);
	OK(unlink("l500"));
	EQ(stat_of("f").st_nlink, 1000);
}

static void symlink_length(long length)
{
	static char target[PATH_MAX + 1], got[PATH_MAX + 1];

	memset(target, 't', length);
	for (int i = 200; i < length; i += 200)
		target[i] = '/';
	OK(symlink(target, "s"));
	EQ(stat_of("s").st_size, length);
	EQ(readlink("s", got, sizeof got), length);
	EQ(memcmp(got, target, length), 0);
	YES((stat_of("s").st_mode & 07777) == 0777);
}

__attribute__((constructor)) static void symlinks_add(void)
{
	static const int lengths[] = { 1, 59, 60, 61, 255, 1000, 4094, 4095 };

	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
		case_addf(symlink_length, lengths[i], "symlink_of_%d_bytes", lengths[i]);
}

CASE(symlink_refusals)
{
	static char target[PATH_MAX + 1];

	memset(target, 't', PATH_MAX);
	FAILS(symlink(target, "s"), ENAMETOOLONG);
	FAILS(symlink("", "s"), ENOENT);
	make_file("f", "", 0644);
	FAILS(symlink("x", "f"), EEXIST);
	FAILS(readlink("f", target, 1), EINVAL);
}

CASE(symlink_read_is_cut_to_the_buffer)
{
	char got[4] = "";

	OK(symlink("abcdef", "s"));
	EQ(readlink("s", got, 3), 3);
	SAME(got, "abc");
}

CASE(symlink_leads_out_and_through_directories)
{
	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	make_file("b/f", "text", 0644);
	OK(symlink("../b", "a/up"));
	SAME(read_file("a/up/f"), "text");
	OK(symlink("/proc/self/status", "out"));
	YES(strlen(read_file("out")) > 0);
}

CASE(symlink_chain_of_40_is_followed_and_of_41_is_not)
{
	char name[16], next[16];

	make_file("n0", "end", 0644);
	for (int i = 1; i <= 41; i++) {
		snprintf(name, sizeof name, "n%d", i);
		snprintf(next, sizeof next, "n%d", i - 1);
		OK(symlink(next, name));
	}
	SAME(read_file("n40"), "end");
	FAILS(open("n41", O_RDONLY), ELOOP);
}

CASE(symlink_is_removed_not_its_target)
{
	OK(mkdir("d", 0755));
	OK(symlink("d", "s"));
	FAILS(rmdir("s"), ENOTDIR);
	OK(unlink("s"));
	YES(exists("d"));
}

CASE(fifo_passes_bytes_between_processes)
{
	char buffer[8] = "";
	int status;

	OK(mkfifo("p", 0644));
	if (OK(fork()) == 0) {
		int fd = OK(open("p", O_WRONLY));
		_exit(write(fd, "hello", 5) != 5);
	}
	int fd = OK(open("p", O_RDONLY));
	EQ(read(fd, buffer, 7), 5);
	SAME(buffer, "hello");
	EQ(read(fd, buffer, 7), 0);
	OK(wait(&status));
	EQ(status, 0);
	OK(close(fd));
	FAILS(open("p", O_WRONLY | O_NONBLOCK), ENXIO);
}

CASE(socket_accepts_a_connection)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "s" };
	int server = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	int client = OK(socket(AF_UNIX, SOCK_STREAM, 0));

	OK(bind(server, (struct sockaddr *)&address, sizeof address));
	YES(S_ISSOCK(stat_of("s").st_mode));
	FAILS(open("s", O_RDWR), ENXIO);
	OK(listen(server, 1));
	OK(connect(client, (struct sockaddr *)&address, sizeof address));
	FAILS(bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&address, sizeof address),
	      EADDRINUSE);
	OK(unlink("s"));
	FAILS(connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&address,
		      sizeof address), ENOENT);
}

CASE(device_null_works_and_keeps_its_number)
{
	char byte;

	OK(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	struct stat st = stat_of("null");
	YES(S_ISCHR(st.st_mode));
	EQ(st.st_rdev, makedev(1, 3));
	int fd = open("null", O_RDWR);
	if (fd < 0 && errno == EACCES)
		UNSUPPORTED("mounted nodev");
	OK(fd);
	EQ(write(fd, "x", 1), 1);
	EQ(read(fd, &byte, 1), 0);
}

CASE(device_large_numbers_are_kept)
{
	OK(mknod("b", S_IFBLK | 0600, makedev(300, 70000)));
	EQ(stat_of("b").st_rdev, makedev(300, 70000));
}

CASE(device_is_made_by_root_only)
{
	OK(chmod(".", 0777));
	act_as(ALICE, STAFF, -1);
	FAILS(mknod("c", S_IFCHR | 0666, makedev(1, 3)), EPERM);
	FAILS(mknod("b", S_IFBLK | 0666, makedev(1, 3)), EPERM);
	OK(mknod("p", S_IFIFO | 0666, 0));
}

struct handle {
	struct file_handle head;
	unsigned char bytes[MAX_HANDLE_SZ];
};

static int get_handle(const char *path, struct handle *handle)
{
	int mount_id;

	handle->head.handle_bytes = MAX_HANDLE_SZ;
	int result = name_to_handle_at(AT_FDCWD, path, &handle->head, &mount_id, 0);
	if (result && errno == EOPNOTSUPP)
		UNSUPPORTED("no file handles");
	return result;
}

CASE(handle_opens_a_renamed_file)
{
	struct handle handle;
	char text[8] = "";

	OK(mkdir("d", 0755));
	make_file("f", "text", 0644);
	OK(get_handle("f", &handle));
	OK(rename("f", "d/g"));
	int fd = OK(open_by_handle_at(OK(open(".", O_RDONLY)), &handle.head, O_RDONLY));
	EQ(read(fd, text, 7), 4);
	SAME(text, "text");
}

CASE(handle_of_a_deleted_file_is_stale)
{
	struct handle handle;

	make_file("f", "text", 0644);
	OK(get_handle("f", &handle));
	OK(unlink("f"));
	for (int i = 0; i < 50; i++) { /* a reused inode number must not be taken for it */
		char name[16];
		snprintf(name, sizeof name, "n%d", i);
		make_file(name, "other", 0644);
	}
	FAILS(open_by_handle_at(OK(open(".", O_RDONLY)), &handle.head, O_RDONLY), ESTALE);
}

CASE(handle_of_a_directory_finds_its_parent)
{
	struct handle handle;
	struct stat st;

	OK(mkdir("a", 0755));
	OK(mkdir("a/b", 0755));
	OK(get_handle("a/b", &handle));
	int fd = OK(open_by_handle_at(OK(open(".", O_RDONLY)), &handle.head, O_RDONLY));
	OK(fstatat(fd, "..", &st, 0));
	EQ(st.st_ino, stat_of("a").st_ino);
}
