/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   every call that takes a path, against every way in which a path can be wrong.
 */
#include "conformance.h"

#include <dirent.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

static int call_open(const char *p) { return open(p, O_RDONLY); }
static int call_create(const char *p) { return open(p, O_RDWR | O_CREAT, 0644); }
static int call_mkdir(const char *p) { return mkdir(p, 0755); }
static int call_rmdir(const char *p) { return rmdir(p); }
static int call_unlink(const char *p) { return unlink(p); }
static int call_link_from(const char *p) { return link(p, "made"); }
static int call_link_to(const char *p) { return link("plain", p); }
static int call_symlink(const char *p) { return symlink("plain", p); }
static int call_rename_from(const char *p) { return rename(p, "made"); }
static int call_rename_to(const char *p) { return rename("plain", p); }
static int call_mkfifo(const char *p) { return mkfifo(p, 0644); }
static int call_mknod(const char *p) { return mknod(p, S_IFREG | 0644, 0); }
static int call_chmod(const char *p) { return chmod(p, 0600); }
static int call_chown(const char *p) { return chown(p, -1, -1); }
static int call_lchown(const char *p) { return lchown(p, -1, -1); }
static int call_truncate(const char *p) { return truncate(p, 0); }
static int call_utimes(const char *p) { return utimensat(AT_FDCWD, p, NULL, 0); }
static int call_access(const char *p) { return faccessat(AT_FDCWD, p, F_OK, AT_EACCESS); }
static int call_chdir(const char *p) { return chdir(p); }

static int call_stat(const char *p)
{
	struct stat st;
	return stat(p, &st);
}

static int call_lstat(const char *p)
{
	struct stat st;
	return lstat(p, &st);
}

static int call_readlink(const char *p)
{
	char buffer[16];
	return readlink(p, buffer, sizeof buffer);
}

static int call_statvfs(const char *p)
{
	struct statvfs st;
	return statvfs(p, &st);
}

static int call_opendir(const char *p)
{
	return opendir(p) ? 0 : -1;
}

static int call_getxattr(const char *p)
{
	char buffer[16];
	return getxattr(p, "user.a", buffer, sizeof buffer);
}

static int call_setxattr(const char *p) { return setxattr(p, "user.a", "1", 1, 0); }
static int call_listxattr(const char *p) { return listxattr(p, NULL, 0); }

static const struct call {
	const char *name;
	int (*fn)(const char *path);
	int no_follow; /* a symbolic link as last component is not followed */
	int makes;     /* a missing last component is no error */
} calls[] = {
	{ "open", call_open, 0, 0 },          { "create", call_create, 0, 1 },
	{ "mkdir", call_mkdir, 1, 1 },        { "rmdir", call_rmdir, 1, 0 },
	{ "unlink", call_unlink, 1, 0 },      { "link_from", call_link_from, 1, 0 },
	{ "link_to", call_link_to, 1, 1 },    { "symlink", call_symlink, 1, 1 },
	{ "rename_from", call_rename_from, 1, 0 }, { "rename_to", call_rename_to, 1, 1 },
	{ "mkfifo", call_mkfifo, 1, 1 },      { "mknod", call_mknod, 1, 1 },
	{ "chmod", call_chmod, 0, 0 },        { "chown", call_chown, 0, 0 },
	{ "lchown", call_lchown, 1, 0 },      { "truncate", call_truncate, 0, 0 },
	{ "utimensat", call_utimes, 0, 0 },   { "access", call_access, 0, 0 },
	{ "chdir", call_chdir, 0, 0 },        { "stat", call_stat, 0, 0 },
	{ "lstat", call_lstat, 1, 0 },        { "readlink", call_readlink, 1, 0 },
	{ "statvfs", call_statvfs, 0, 0 },    { "opendir", call_opendir, 0, 0 },
	{ "getxattr", call_getxattr, 0, 0 },  { "setxattr", call_setxattr, 0, 0 },
	{ "listxattr", call_listxattr, 0, 0 },
};

static void file_as_directory(long i)
{
	make_file("plain", "", 0644);
	FAILS(calls[i].fn("plain/below"), ENOTDIR);
}

static void missing_directory(long i)
{
	make_file("plain", "", 0644);
	FAILS(calls[i].fn("absent/below"), ENOENT);
}

static void missing_name(long i)
{
	make_file("plain", "", 0644);
	FAILS(calls[i].fn("absent"), ENOENT);
}

static void empty_path(long i)
{
	make_file("plain", "", 0644);
	FAILS(calls[i].fn(""), ENOENT);
}

static void name_of_256_bytes(long i)
{
	char name[257];

	make_file("plain", "", 0644);
	memset(name, 'n', 256);
	name[256] = 0;
	FAILS(calls[i].fn(name), ENAMETOOLONG);
}

static void path_of_4096_bytes(long i)
{
	char path[4097];

	make_file("plain", "", 0644);
	for (int at = 0; at < 4096; at += 2)
		memcpy(path + at, "./", 2);
	path[4096] = 0;
	FAILS(calls[i].fn(path), ENAMETOOLONG);
}

static void loop_of_links(long i)
{
	make_file("plain", "", 0644);
	OK(symlink("two", "one"));
	OK(symlink("one", "two"));
	FAILS(calls[i].fn("one/below"), ELOOP);
	if (!calls[i].no_follow)
		FAILS(calls[i].fn("one"), ELOOP);
}

static void closed_directory(long i)
{
	make_file("plain", "", 0666);
	OK(mkdir("closed", 0700));
	make_file("closed/below", "", 0666);
	OK(chmod(".", 0777));
	act_as(ALICE, STAFF, -1);
	FAILS(calls[i].fn("closed/below"), EACCES);
}

__attribute__((constructor)) static void errors_add(void)
{
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		const char *name = calls[i].name;
		case_addf(file_as_directory, i, "error_%s_below_a_file", name);
		case_addf(missing_directory, i, "error_%s_below_nothing", name);
		if (!calls[i].makes)
			case_addf(missing_name, i, "error_%s_of_nothing", name);
		case_addf(empty_path, i, "error_%s_empty_path", name);
		case_addf(name_of_256_bytes, i, "error_%s_name_too_long", name);
		case_addf(path_of_4096_bytes, i, "error_%s_path_too_long", name);
		case_addf(loop_of_links, i, "error_%s_loop", name);
		case_addf(closed_directory, i, "error_%s_in_closed_directory", name);
	}
}
