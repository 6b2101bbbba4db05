/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the flags of chattr(1): immutable, append-only, nodump; what statx tells.
 */
#include "conformance.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/xattr.h>

/* Sets these flags of the ones tested here, and leaves the others as they are. */
static void set_flags(const char *path, int flags)
{
	int all = 0, fd = OK(open(path, O_RDONLY));
	int result = ioctl(fd, FS_IOC_GETFLAGS, &all);

	all = (all & ~(FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL)) | flags;
	if (!result)
		result = ioctl(fd, FS_IOC_SETFLAGS, &all);

	if (result && (errno == ENOTTY || errno == EOPNOTSUPP))
		UNSUPPORTED("no file flags");
	OK(result);
	OK(close(fd));
}

static int get_flags(const char *path)
{
	int flags = 0, fd = OK(open(path, O_RDONLY));

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) && (errno == ENOTTY || errno == EOPNOTSUPP))
		UNSUPPORTED("no file flags");
	OK(close(fd));
	return flags;
}

CASE(flags_are_kept)
{
	make_file("f", "", 0644);
	EQ(get_flags("f") & (FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL), 0);
	set_flags("f", FS_NODUMP_FL);
	EQ(get_flags("f") & FS_NODUMP_FL, FS_NODUMP_FL);
	set_flags("f", 0);
	EQ(get_flags("f") & FS_NODUMP_FL, 0);
}

CASE(flags_immutable_file)
{
	make_file("f", "text", 0644);
	set_flags("f", FS_IMMUTABLE_FL);
	FAILS(open("f", O_WRONLY), EPERM);
	FAILS(truncate("f", 0), EPERM);
	FAILS(unlink("f"), EPERM);
	FAILS(rename("f", "g"), EPERM);
	FAILS(link("f", "g"), EPERM);
	FAILS(chmod("f", 0600), EPERM);
	FAILS(chown("f", ALICE, -1), EPERM);
	FAILS(utimensat(AT_FDCWD, "f", NULL, 0), EPERM);
	FAILS(setxattr("f", "user.a", "1", 1, 0), EPERM);
	SAME(read_file("f"), "text");
	set_flags("f", 0);
	OK(unlink("f"));
}

static void write_through_map(int fd)
{
	char *map = mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	YES(map != MAP_FAILED);
	memcpy(map, "evil", 4);
	FAILS(msync(map, 4, MS_SYNC), EPERM);
	OK(munmap(map, 4));
	OK(close(fd));
	for (int i = 0; i < 1000 && strcmp(read_file("f"), "text"); i++)
		usleep(10000);
}

/* Where the open is not refused (open=fast), nobody goes on reading what is refused later. */
CASE(flags_immutable_file_through_a_map)
{
	make_file("f", "text", 0644);
	set_flags("f", FS_IMMUTABLE_FL);
	int fd = open("f", O_RDWR);
	if (fd >= 0)
		write_through_map(fd);
	SAME(read_file("f"), "text");
	set_flags("f", 0);
}

CASE(flags_immutable_directory)
{
	OK(mkdir("d", 0755));
	make_file("d/f", "text", 0644);
	set_flags("d", FS_IMMUTABLE_FL);
	FAILS(open("d/g", O_CREAT | O_WRONLY, 0644), EPERM);
	FAILS(mkdir("d/e", 0755), EPERM);
	FAILS(unlink("d/f"), EPERM);
	FAILS(rename("d/f", "f"), EPERM);
	OK(truncate("d/f", 0)); /* the file itself is not protected */
	set_flags("d", 0);
	OK(unlink("d/f"));
}

CASE(flags_append_only_file)
{
	make_file("f", "text", 0644);
	set_flags("f", FS_APPEND_FL);
	FAILS(open("f", O_WRONLY), EPERM);
	FAILS(open("f", O_WRONLY | O_APPEND | O_TRUNC), EPERM);
	FAILS(truncate("f", 0), EPERM);
	FAILS(unlink("f"), EPERM);
	FAILS(rename("f", "g"), EPERM);
	int fd = OK(open("f", O_WRONLY | O_APPEND));
	EQ(write(fd, " more", 5), 5);
	FAILS(ftruncate(fd, 0), EPERM);
	SAME(read_file("f"), "text more");
	set_flags("f", 0);
}

CASE(flags_append_only_directory)
{
	OK(mkdir("d", 0755));
	set_flags("d", FS_APPEND_FL);
	make_file("d/f", "text", 0644);
	FAILS(unlink("d/f"), EPERM);
	FAILS(rename("d/f", "d/g"), EPERM);
	set_flags("d", 0);
	OK(unlink("d/f"));
}

CASE(flags_immutable_is_set_by_root_only)
{
	make_file("f", "", 0644);
	get_flags("f");
	OK(chown("f", ALICE, -1));
	act_as(ALICE, STAFF, -1);
	int flags = FS_IMMUTABLE_FL, fd = OK(open("f", O_RDONLY));
	FAILS(ioctl(fd, FS_IOC_SETFLAGS, &flags), EPERM);
	act_as(BOB, STAFF, -1);
	flags = FS_NODUMP_FL;
	fd = OK(open("f", O_RDONLY));
	YES(ioctl(fd, FS_IOC_SETFLAGS, &flags) == -1 && (errno == EPERM || errno == EACCES));
}

CASE(stat_numbers_agree)
{
	struct statx stx;

	make_file("f", "12345", 0640);
	struct stat st = stat_of("f");
	OK(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &stx));
	EQ(stx.stx_size, 5);
	EQ(stx.stx_ino, st.st_ino);
	EQ(stx.stx_mode, st.st_mode);
	EQ(stx.stx_nlink, 1);
	EQ(stx.stx_mtime.tv_nsec, st.st_mtim.tv_nsec);
	YES(st.st_blksize >= 512);
	EQ(st.st_dev, stat_of(".").st_dev);
}

CASE(stat_inode_numbers_are_unique_and_stay)
{
	char name[16];
	ino_t numbers[200];

	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "f%d", i);
		make_file(name, "", 0644);
		numbers[i] = stat_of(name).st_ino;
		for (int j = 0; j < i; j++)
			YES(numbers[i] != numbers[j]);
	}
	OK(rename("f7", "renamed"));
	EQ(stat_of("renamed").st_ino, numbers[7]);
	EQ(stat_of("f100").st_ino, numbers[100]);
}

CASE(stat_size_of_kinds)
{
	make_file("f", "", 0644);
	EQ(stat_of("f").st_blocks, 0);
	OK(symlink("12345", "s"));
	EQ(stat_of("s").st_size, 5);
	OK(mkfifo("p", 0644));
	EQ(stat_of("p").st_size, 0);
}
