/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   times: what sets them, and which operation marks which.
 */
#include "conformance.h"

#include <linux/falloc.h>
#include <sys/mman.h>
#include <time.h>
#include <sys/xattr.h>

static void set_times(const char *path, long atime, long atime_ns, long mtime, long mtime_ns)
{
	struct timespec times[2] = { { atime, atime_ns }, { mtime, mtime_ns } };

	OK(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
}

CASE(time_nanoseconds_are_kept)
{
	make_file("f", "", 0644);
	set_times("f", 1000000000, 123456789, 1100000000, 987654321);
	struct stat st = stat_of("f");
	EQ(st.st_atim.tv_sec, 1000000000);
	EQ(st.st_atim.tv_nsec, 123456789);
	EQ(st.st_mtim.tv_sec, 1100000000);
	EQ(st.st_mtim.tv_nsec, 987654321);
}

static void time_second_is_kept(long second)
{
	make_file("f", "", 0644);
	set_times("f", second, 5, second, 6);
	EQ(stat_of("f").st_mtim.tv_sec, second);
	EQ(stat_of("f").st_mtim.tv_nsec, 6);
	EQ(stat_of("f").st_atim.tv_sec, second);
}

__attribute__((constructor)) static void seconds_add(void)
{
	static const long seconds[] = { 0, 1, -1, -1000000000, 2147483647, 2147483648, 4294967296 };

	for (unsigned i = 0; i < sizeof seconds / sizeof *seconds; i++)
		case_addf(time_second_is_kept, seconds[i], "time_second_%ld_is_kept", seconds[i]);
}

CASE(time_now_and_omit)
{
	struct timespec times[2] = { { 0, UTIME_OMIT }, { 0, UTIME_NOW } };

	make_file("f", "", 0644);
	set_times("f", 1000, 0, 1000, 0);
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQ(stat_of("f").st_atim.tv_sec, 1000);
	YES(stat_of("f").st_mtim.tv_sec > 1000000);
	set_times("f", 1000, 0, 1000, 0);
	times[0].tv_nsec = UTIME_NOW;
	times[1].tv_nsec = UTIME_OMIT;
	OK(utimensat(AT_FDCWD, "f", times, 0));
	YES(stat_of("f").st_atim.tv_sec > 1000000);
	EQ(stat_of("f").st_mtim.tv_sec, 1000);
}

CASE(time_of_an_open_file)
{
	struct timespec times[2] = { { 7, 8 }, { 9, 10 } };

	make_file("f", "", 0644);
	int fd = OK(open("f", O_RDONLY));
	OK(futimens(fd, times));
	EQ(stat_of("f").st_mtim.tv_sec, 9);
	EQ(stat_of("f").st_atim.tv_nsec, 8);
}

CASE(time_of_a_symlink_is_its_own)
{
	make_file("f", "", 0644);
	OK(symlink("f", "s"));
	set_times("f", 500, 0, 500, 0);
	set_times("s", 600, 0, 700, 0);
	EQ(stat_of("s").st_mtim.tv_sec, 700);
	EQ(stat_of("f").st_mtim.tv_sec, 500);
}

CASE(time_invalid_nanoseconds_are_refused)
{
	struct timespec times[2] = { { 1, 1000000000 }, { 1, 0 } };

	make_file("f", "", 0644);
	FAILS(utimensat(AT_FDCWD, "f", times, 0), EINVAL);
}

CASE(time_set_marks_ctime)
{
	make_file("f", "", 0644);
	struct stat before = stat_of("f");
	let_time_pass();
	set_times("f", 1, 0, 1, 0);
	YES(time_compare(stat_of("f").st_ctim, before.st_ctim) > 0);
}

/* Operations on f (or d), which times of it they mark, and whether they mark the parent's. */
enum { M = 1, C = 2, PARENT = 4 };

static void op_write(void)
{
	int fd = OK(open("p/f", O_WRONLY));
	EQ(write(fd, "x", 1), 1);
	OK(close(fd));
}

static void op_truncate(void) { OK(truncate("p/f", 2)); }
static void op_truncate_up(void) { OK(truncate("p/f", 20000)); }
static void op_truncate_same(void) { OK(truncate("p/f", stat_of("p/f").st_size)); }
static void op_chmod(void) { OK(chmod("p/f", 0600)); }
static void op_chown(void) { OK(chown("p/f", ALICE, -1)); }
static void op_link(void) { OK(link("p/f", "p/hard")); }
static void op_link_elsewhere(void) { OK(link("p/f", "hard")); }
static void op_unlink_other_name(void) { OK(unlink("hard2")); }
static void op_rename(void) { OK(rename("p/f", "p/g")); OK(link("p/g", "p/f")); }
static void op_setxattr(void) { OK(setxattr("p/f", "user.a", "1", 1, 0)); }
static void op_removexattr(void) { OK(removexattr("p/f", "user.b")); }
static void op_create(void) { OK(open("p/new", O_CREAT | O_WRONLY, 0644)); }
static void op_mkdir(void) { OK(mkdir("p/new", 0755)); }
static void op_rmdir(void) { OK(rmdir("p/d")); }
static void op_symlink(void) { OK(symlink("x", "p/new")); }
static void op_mkfifo(void) { OK(mkfifo("p/new", 0644)); }
static void op_unlink(void) { OK(unlink("p/h")); }
static void op_open_existing(void) { OK(open("p/f", O_RDWR | O_CREAT, 0644)); }
static void op_stat(void) { stat_of("p/f"); }
static void op_failed_create(void) { FAILS(mkdir("p/f", 0755), EEXIST); }

static void op_fallocate(void)
{
	int fd = OK(open("p/f", O_WRONLY));
	if (fallocate(fd, 0, 0, 100000) && errno == EOPNOTSUPP)
		UNSUPPORTED("no fallocate");
}

static void op_punch(void)
{
	int fd = OK(open("p/f", O_WRONLY));
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2) && errno == EOPNOTSUPP)
		UNSUPPORTED("no punch hole");
}

static void op_mmap_write(void)
{
	int fd = OK(open("p/f", O_RDWR));
	char *map = mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	YES(map != MAP_FAILED);
	map[0] = 'M';
	OK(msync(map, 4, MS_SYNC));
	OK(munmap(map, 4));
	OK(close(fd));
}

static const struct op {
	const char *name;
	void (*fn)(void);
	int marks;
} ops[] = {
	{ "write", op_write, M | C },
	{ "truncate", op_truncate, M | C },
	{ "truncate_up", op_truncate_up, M | C },
	{ "truncate_to_same_size", op_truncate_same, M | C },
	{ "chmod", op_chmod, C },
	{ "chown", op_chown, C },
	{ "link", op_link, C | PARENT },
	{ "link_elsewhere", op_link_elsewhere, C },
	{ "unlink_other_name", op_unlink_other_name, C },
	{ "rename", op_rename, C | PARENT },
	{ "setxattr", op_setxattr, C },
	{ "removexattr", op_removexattr, C },
	{ "create", op_create, PARENT },
	{ "mkdir", op_mkdir, PARENT },
	{ "rmdir", op_rmdir, PARENT },
	{ "symlink", op_symlink, PARENT },
	{ "mkfifo", op_mkfifo, PARENT },
	{ "unlink", op_unlink, PARENT },
	{ "open_existing", op_open_existing, 0 },
	{ "stat", op_stat, 0 },
	{ "failed_create", op_failed_create, 0 },
	{ "fallocate_beyond_end", op_fallocate, M | C },
	{ "punch_hole", op_punch, M | C },
	{ "mmap_write", op_mmap_write, M | C },
};

static void time_marks(long i)
{
	OK(mkdir("p", 0755));
	OK(mkdir("p/d", 0755));
	make_file("p/f", "content", 0644);
	make_file("p/h", "", 0644);
	OK(link("p/f", "hard2"));
	OK(setxattr("p/f", "user.b", "1", 1, 0));
	let_time_pass();
	struct stat f = stat_of("p/f"), p = stat_of("p");
	let_time_pass();
	ops[i].fn();
	struct stat f2 = stat_of("p/f"), p2 = stat_of("p");
	EQ(time_compare(f2.st_mtim, f.st_mtim), !!(ops[i].marks & M));
	EQ(time_compare(f2.st_ctim, f.st_ctim), !!(ops[i].marks & C));
	EQ(time_compare(p2.st_mtim, p.st_mtim), !!(ops[i].marks & PARENT));
	EQ(time_compare(p2.st_ctim, p.st_ctim), !!(ops[i].marks & PARENT));
}

__attribute__((constructor)) static void marks_add(void)
{
	for (unsigned i = 0; i < sizeof ops / sizeof *ops; i++)
		case_addf(time_marks, i, "time_marks_of_%s", ops[i].name);
}

CASE(time_write_of_nothing_marks_nothing)
{
	make_file("f", "x", 0644);
	struct stat before = stat_of("f");
	let_time_pass();
	int fd = OK(open("f", O_WRONLY));
	EQ(write(fd, "", 0), 0);
	EQ(time_compare(stat_of("f").st_mtim, before.st_mtim), 0);
}

CASE(time_new_file_has_the_time_of_now)
{
	struct timespec before, after;

	clock_gettime(CLOCK_REALTIME_COARSE, &before);
	make_file("f", "", 0644);
	let_time_pass();
	clock_gettime(CLOCK_REALTIME, &after);
	struct stat st = stat_of("f");
	YES(time_compare(st.st_mtim, before) >= 0 && time_compare(st.st_mtim, after) <= 0);
	YES(time_compare(st.st_atim, before) >= 0 && time_compare(st.st_atim, after) <= 0);
	YES(time_compare(st.st_ctim, before) >= 0 && time_compare(st.st_ctim, after) <= 0);
}

CASE(time_of_birth_stays)
{
	struct statx first, later;

	make_file("f", "", 0644);
	OK(statx(AT_FDCWD, "f", 0, STATX_BTIME, &first));
	if (!(first.stx_mask & STATX_BTIME))
		UNSUPPORTED("no time of birth");
	let_time_pass();
	make_file("f", "changed", 0600);
	OK(rename("f", "g"));
	set_times("g", 1, 0, 1, 0);
	OK(statx(AT_FDCWD, "g", 0, STATX_BTIME, &later));
	EQ(first.stx_btime.tv_sec, later.stx_btime.tv_sec);
	EQ(first.stx_btime.tv_nsec, later.stx_btime.tv_nsec);
}

CASE(time_access_is_marked_when_older_than_the_change)
{
	char byte;

	make_file("f", "x", 0644);
	set_times("f", 1000, 0, 2000, 0);
	int fd = OK(open("f", O_RDONLY));
	EQ(read(fd, &byte, 1), 1);
	OK(close(fd));
	let_time_pass();
	YES(stat_of("f").st_atim.tv_sec > 2000);
}

CASE(time_set_after_write_is_not_overtaken)
{
	int fd = OK(open("f", O_CREAT | O_RDWR, 0644));
	EQ(write(fd, "text", 4), 4);
	struct timespec times[2] = { { 11, 0 }, { 12, 0 } };
	OK(futimens(fd, times));
	OK(fsync(fd));
	OK(close(fd));
	EQ(stat_of("f").st_mtim.tv_sec, 12);
	fd = OK(open("f", O_RDONLY));
	OK(close(fd));
	EQ(stat_of("f").st_mtim.tv_sec, 12);
}
