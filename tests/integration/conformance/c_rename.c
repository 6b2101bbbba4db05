/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   rename: the matrix of kinds and flags, and the rules that it does not show.
 */
#include "conformance.h"

#include <linux/fs.h>
#include <sys/syscall.h>

enum kind { NOTHING, FILE_, LINK, FIFO, EMPTY, FULL, KINDS };
static const char *const kind_names[] = { "nothing", "file", "symlink", "fifo", "empty_dir",
					  "full_dir" };
static const unsigned flag_values[] = { 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
static const char *const flag_names[] = { "plain", "noreplace", "exchange" };

static int rename2(const char *from, const char *to, unsigned flags)
{
	return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void make_kind(enum kind kind, const char *path)
{
	char below[64];

	switch (kind) {
	case FILE_:
		make_file(path, path, 0644);
		break;
	case LINK:
		OK(symlink(path, path));
		break;
	case FIFO:
		OK(mkfifo(path, 0644));
		break;
	case EMPTY:
		OK(mkdir(path, 0755));
		break;
	case FULL:
		OK(mkdir(path, 0755));
		snprintf(below, sizeof below, "%s/below", path);
		make_file(below, "x", 0644);
		break;
	default:
		break;
	}
}

static int is_dir(enum kind kind)
{
	return kind == EMPTY || kind == FULL;
}

/* The errno that rename(2) answers, or 0. */
static int expected(enum kind from, enum kind to, unsigned flags)
{
	if (flags == RENAME_EXCHANGE)
		return to == NOTHING ? ENOENT : 0;
	if (to == NOTHING)
		return 0;
	if (flags == RENAME_NOREPLACE)
		return EEXIST;
	if (is_dir(from) != is_dir(to))
		return is_dir(from) ? ENOTDIR : EISDIR;
	return to == FULL ? ENOTEMPTY : 0;
}

static void rename_matrix(long arg)
{
	enum kind from = arg % KINDS, to = arg / KINDS % KINDS;
	unsigned flags = flag_values[arg / KINDS / KINDS];
	int code = expected(from, to, flags);

	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	OK(chdir("a"));
	make_kind(from, "from");
	OK(chdir("../b"));
	make_kind(to, "to");
	OK(chdir(".."));
	ino_t from_ino = stat_of("a/from").st_ino, to_ino = to ? stat_of("b/to").st_ino : 0;
	if (code) {
		FAILS(rename2("a/from", "b/to", flags), code);
		EQ(stat_of("a/from").st_ino, from_ino);
		if (to)
			EQ(stat_of("b/to").st_ino, to_ino);
	} else {
		OK(rename2("a/from", "b/to", flags));
		EQ(stat_of("b/to").st_ino, from_ino);
		if (flags == RENAME_EXCHANGE)
			EQ(stat_of("a/from").st_ino, to_ino);
		else
			YES(!exists("a/from"));
	}
	int a_dirs = exists("a/from") && S_ISDIR(stat_of("a/from").st_mode);
	int b_dirs = exists("b/to") && S_ISDIR(stat_of("b/to").st_mode);
	EQ(stat_of("a").st_nlink, 2 + a_dirs);
	EQ(stat_of("b").st_nlink, 2 + b_dirs);
	if (a_dirs)
		EQ(stat_of("a/from/..").st_ino, stat_of("a").st_ino);
	if (b_dirs)
		EQ(stat_of("b/to/..").st_ino, stat_of("b").st_ino);
	if (exists("b/to/below"))
		SAME(read_file("b/to/below"), "x");
}

__attribute__((constructor)) static void rename_add(void)
{
	for (int flag = 0; flag < 3; flag++)
		for (int to = NOTHING; to < KINDS; to++)
			for (int from = FILE_; from < KINDS; from++)
				case_addf(rename_matrix, (flag * KINDS + to) * KINDS + from,
					  "rename_%s_%s_over_%s", flag_names[flag], kind_names[from],
					  kind_names[to]);
}

CASE(rename_onto_itself_changes_nothing)
{
	make_file("a", "text", 0644);
	OK(rename("a", "a"));
	SAME(read_file("a"), "text");
}

CASE(rename_between_hard_links_keeps_both)
{
	make_file("a", "text", 0644);
	OK(link("a", "b"));
	OK(rename("a", "b"));
	YES(exists("a") && exists("b"));
	EQ(stat_of("a").st_nlink, 2);
}

CASE(rename_directory_below_itself_is_refused)
{
	OK(mkdir("a", 0755));
	OK(mkdir("a/b", 0755));
	FAILS(rename("a", "a/b/c"), EINVAL);
	FAILS(rename("a", "a/c"), EINVAL);
	FAILS(rename2("a", "a/b", RENAME_EXCHANGE), EINVAL);
	FAILS(rename("a/b", "a"), ENOTEMPTY);
}

CASE(rename_of_dot_is_refused)
{
	OK(mkdir("a", 0755));
	FAILS(rename("a/.", "b"), EBUSY);
	FAILS(rename("a/..", "b"), EBUSY);
	FAILS(rename("a", "."), EBUSY);
}

CASE(rename_unknown_flags_are_refused)
{
	make_file("a", "", 0644);
	FAILS(rename2("a", "b", 1u << 20), EINVAL);
	FAILS(rename2("a", "b", RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
}

static void check_whiteout(const char *path)
{
	struct stat st = stat_of(path);

	EQ(st.st_mode, S_IFCHR);
	EQ(st.st_rdev, 0);
	EQ(st.st_nlink, 1);
	OK(unlink(path));
	YES(!exists(path));
}

CASE(rename_with_whiteout_leaves_one)
{
	make_file("a", "text", 0644);
	OK(mkdir("d", 0755));
	make_file("d/b", "old", 0644);
	ino_t ino = stat_of("a").st_ino;
	FAILS(rename2("a", "d/b", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
	FAILS(rename2("a", "d/b", RENAME_WHITEOUT | RENAME_NOREPLACE), EEXIST);
	EQ(stat_of("a").st_ino, ino);
	OK(rename2("a", "d/b", RENAME_WHITEOUT));
	EQ(stat_of("d/b").st_ino, ino);
	SAME(read_file("d/b"), "text");
	check_whiteout("a");
	OK(rename2("d/b", "d/c", RENAME_WHITEOUT | RENAME_NOREPLACE));
	SAME(read_file("d/c"), "text");
	check_whiteout("d/b");
	OK(unlink("d/c"));
	OK(rmdir("d"));
}

CASE(rename_of_a_directory_with_whiteout)
{
	OK(mkdir("a", 0755));
	OK(mkdir("a/d", 0755));
	OK(mkdir("b", 0755));
	make_file("a/d/f", "below", 0644);
	OK(rename2("a/d", "b/d", RENAME_WHITEOUT));
	EQ(stat_of("a").st_nlink, 2);
	EQ(stat_of("b").st_nlink, 3);
	SAME(read_file("b/d/f"), "below");
	FAILS(rmdir("a"), ENOTEMPTY);
	check_whiteout("a/d");
	OK(rmdir("a"));
}

CASE(rename_over_an_open_file_keeps_its_content)
{
	char byte;

	make_file("a", "new", 0644);
	make_file("b", "old", 0644);
	int fd = OK(open("b", O_RDONLY));
	OK(rename("a", "b"));
	EQ(read(fd, &byte, 1), 1);
	EQ(byte, 'o');
	struct stat st;
	OK(fstat(fd, &st));
	EQ(st.st_nlink, 0);
	SAME(read_file("b"), "new");
}

CASE(rename_follows_an_open_file)
{
	make_file("a", "", 0644);
	int fd = OK(open("a", O_WRONLY));
	OK(rename("a", "b"));
	EQ(write(fd, "text", 4), 4);
	SAME(read_file("b"), "text");
}

CASE(rename_updates_times_of_both_parents_and_ctime)
{
	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	make_file("a/f", "", 0644);
	struct stat a = stat_of("a"), b = stat_of("b"), f = stat_of("a/f");
	let_time_pass();
	OK(rename("a/f", "b/f"));
	YES(time_compare(stat_of("a").st_mtim, a.st_mtim) > 0);
	YES(time_compare(stat_of("b").st_mtim, b.st_mtim) > 0);
	YES(time_compare(stat_of("a").st_ctim, a.st_ctim) > 0);
	YES(time_compare(stat_of("b/f").st_ctim, f.st_ctim) > 0);
	EQ(time_compare(stat_of("b/f").st_mtim, f.st_mtim), 0);
}

CASE(rename_with_trailing_slash)
{
	make_file("f", "", 0644);
	OK(mkdir("d", 0755));
	FAILS(rename("f", "g/"), ENOTDIR);
	FAILS(rename("f/", "g"), ENOTDIR);
	OK(rename("d/", "e/"));
	YES(exists("e"));
}

CASE(rename_replaced_file_loses_a_link)
{
	make_file("a", "a", 0644);
	make_file("b", "b", 0644);
	OK(link("b", "c"));
	OK(rename("a", "b"));
	EQ(stat_of("c").st_nlink, 1);
	SAME(read_file("c"), "b");
}

CASE(rename_of_a_directory_moves_what_is_below)
{
	OK(mkdir("a", 0755));
	OK(mkdir("a/b", 0755));
	OK(mkdir("a/b/c", 0755));
	make_file("a/b/c/f", "deep", 0644);
	OK(mkdir("x", 0755));
	int fd = OK(open("a/b/c", O_RDONLY | O_DIRECTORY));
	OK(rename("a/b", "x/y"));
	SAME(read_file("x/y/c/f"), "deep");
	YES(faccessat(fd, "f", F_OK, 0) == 0);
	YES(faccessat(fd, "../../../x", F_OK, 0) == 0);
}

CASE(rename_directory_of_another_user_needs_write_in_it)
{
	OK(mkdir("a", 0777));
	OK(mkdir("b", 0777));
	OK(mkdir("a/d", 0755));
	act_as(ALICE, STAFF, -1);
	FAILS(rename("a/d", "b/d"), EACCES); /* its ".." would change */
	act_as_root();
	OK(chmod("a/d", 0777));
	act_as(ALICE, STAFF, -1);
	OK(rename("a/d", "b/d"));
}

CASE(rename_needs_write_in_both_directories)
{
	OK(mkdir("a", 0777));
	OK(mkdir("b", 0755));
	make_file("a/f", "", 0666);
	make_file("b/f", "", 0666);
	act_as(ALICE, STAFF, -1);
	FAILS(rename("a/f", "b/g"), EACCES);
	FAILS(rename("b/f", "a/g"), EACCES);
	OK(rename("a/f", "a/g"));
}
