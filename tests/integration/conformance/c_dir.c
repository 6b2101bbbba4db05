/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   directories: making, removing, counting, listing while they change.
 */
#include "conformance.h"

#include <dirent.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { ENTRIES = 10000, DEPTH = 200 };

CASE(dir_new_is_empty_and_has_two_links)
{
	OK(mkdir("d", 0755));
	EQ(stat_of("d").st_nlink, 2);
	DIR *dir = opendir("d");
	int dots = 0;
	for (struct dirent *e; (e = readdir(dir));) {
		YES(!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."));
		dots++;
	}
	EQ(dots, 2);
	closedir(dir);
}

CASE(dir_link_count_follows_subdirectories)
{
	OK(mkdir("d", 0755));
	OK(mkdir("d/a", 0755));
	OK(mkdir("d/b", 0755));
	make_file("d/f", "", 0644);
	EQ(stat_of("d").st_nlink, 4);
	OK(rmdir("d/a"));
	OK(rename("d/b", "b"));
	EQ(stat_of("d").st_nlink, 2);
}

CASE(dir_mkdir_of_what_exists)
{
	make_file("f", "", 0644);
	OK(mkdir("d", 0755));
	OK(symlink("nowhere", "s"));
	FAILS(mkdir("f", 0755), EEXIST);
	FAILS(mkdir("d", 0755), EEXIST);
	FAILS(mkdir("s", 0755), EEXIST);
	FAILS(mkdir(".", 0755), EEXIST);
	FAILS(mkdir("..", 0755), EEXIST);
}

CASE(dir_rmdir_rules)
{
	make_file("f", "", 0644);
	OK(mkdir("d", 0755));
	OK(mkdir("d/e", 0755));
	FAILS(rmdir("f"), ENOTDIR);
	FAILS(rmdir("d"), ENOTEMPTY);
	FAILS(rmdir("d/."), EINVAL);
	FAILS(rmdir("d/e/.."), ENOTEMPTY);
	FAILS(unlink("d"), EISDIR);
	OK(rmdir("d/e"));
	OK(rmdir("d"));
}

CASE(dir_mode_takes_sticky_and_masks_the_rest)
{
	OK(mkdir("d", 01777));
	EQ(stat_of("d").st_mode & 01777, 01777);
}

CASE(dir_dot_dot_leads_up)
{
	OK(mkdir("a", 0755));
	OK(mkdir("a/b", 0755));
	EQ(stat_of("a/b/..").st_ino, stat_of("a").st_ino);
	EQ(stat_of("a/b/../..").st_ino, stat_of(".").st_ino);
	OK(rename("a/b", "c"));
	EQ(stat_of("c/..").st_ino, stat_of(".").st_ino);
}

CASE(dir_getcwd_follows_a_rename)
{
	char path[PATH_MAX];

	OK(mkdir("a", 0755));
	OK(mkdir("a/b", 0755));
	OK(chdir("a/b"));
	OK(rename("../../a", "../../renamed"));
	YES(getcwd(path, sizeof path) != NULL);
	YES(strstr(path, "/renamed/b") != NULL);
}

CASE(dir_removed_while_it_is_the_working_directory)
{
	char path[PATH_MAX];

	OK(mkdir("d", 0755));
	OK(chdir("d"));
	OK(rmdir("../d"));
	FAILS(open("f", O_CREAT | O_WRONLY, 0644), ENOENT);
	YES(getcwd(path, sizeof path) == NULL);
	EQ(errno, ENOENT);
	struct stat st;
	OK(stat(".", &st));
	EQ(st.st_nlink, 0);
}

CASE(dir_deep_tree)
{
	for (int i = 0; i < DEPTH; i++) {
		OK(mkdir("deep", 0755));
		OK(chdir("deep"));
	}
	make_file("f", "bottom", 0644);
	for (int i = 0; i < DEPTH; i++)
		OK(chdir(".."));
	YES(exists("deep/deep/deep"));
	EQ(system("rm -r deep"), 0);
}

CASE(dir_types_and_inode_numbers_of_entries)
{
	struct stat st;

	make_file("f", "", 0644);
	OK(mkdir("d", 0755));
	OK(symlink("f", "s"));
	OK(mkfifo("p", 0644));
	DIR *dir = opendir(".");
	for (struct dirent *e; (e = readdir(dir));) {
		OK(lstat(e->d_name, &st));
		if (e->d_type != DT_UNKNOWN)
			EQ(e->d_type, IFTODT(st.st_mode));
		if (e->d_name[0] != '.')
			EQ(e->d_ino, st.st_ino);
	}
	closedir(dir);
}

static void make_entries(int count)
{
	char name[32];

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof name, "e%05d", i);
		OK(close(OK(open(name, O_CREAT | O_WRONLY, 0644))));
	}
}

/* Reads the directory and counts how often each e%05d came; meanwhile calls fn(step). */
static void list_counting(unsigned char *seen, void (*fn)(int step))
{
	DIR *dir = opendir(".");
	int step = 0, number;

	YES(dir != NULL);
	for (struct dirent *e; (e = readdir(dir));) {
		if (sscanf(e->d_name, "e%05d", &number) == 1)
			seen[number]++;
		if (fn)
			fn(step++);
	}
	closedir(dir);
}

CASE(dir_lists_10000_entries_each_once)
{
	static unsigned char seen[ENTRIES];

	make_entries(ENTRIES);
	list_counting(seen, NULL);
	for (int i = 0; i < ENTRIES; i++)
		EQ(seen[i], 1);
}

static void churn(int step)
{
	char name[32];

	snprintf(name, sizeof name, "new%d", step);
	OK(close(OK(open(name, O_CREAT | O_WRONLY, 0644))));
	if (step % 3 == 0)
		OK(unlink(name));
	snprintf(name, sizeof name, "e%05d", step * 2 % ENTRIES); /* even ones go */
	if (step < ENTRIES / 2)
		unlink(name);
}

CASE(dir_listing_is_stable_while_entries_come_and_go)
{
	static unsigned char seen[ENTRIES];

	make_entries(ENTRIES);
	list_counting(seen, churn);
	for (int i = 1; i < ENTRIES; i += 2)
		EQ(seen[i], 1); /* those not touched: each once */
	for (int i = 0; i < ENTRIES; i += 2)
		YES(seen[i] <= 1);
}


CASE(dir_removing_what_is_listed_empties_it)
{
	make_entries(3000);
	DIR *dir = opendir(".");
	int removed = 0;
	for (struct dirent *e; (e = readdir(dir));)
		if (e->d_name[0] == 'e') {
			OK(unlink(e->d_name));
			removed++;
		}
	closedir(dir);
	EQ(removed, 3000);
}

CASE(dir_telldir_and_seekdir_come_back)
{
	long places[50];
	char names[50][256];
	int count = 0;

	make_entries(200);
	DIR *dir = opendir(".");
	for (int i = 0; i < 50; i++) {
		places[i] = telldir(dir);
		struct dirent *e = readdir(dir);
		YES(e != NULL);
		snprintf(names[i], sizeof names[i], "%s", e->d_name);
	}
	for (int i = 49; i >= 0; i -= 7) {
		seekdir(dir, places[i]);
		SAME(readdir(dir)->d_name, names[i]);
	}
	rewinddir(dir);
	while (readdir(dir))
		count++;
	EQ(count, 202);
	closedir(dir);
}

CASE(dir_rewinddir_sees_what_is_new)
{
	int found = 0;

	make_entries(10);
	DIR *dir = opendir(".");
	while (readdir(dir))
		;
	make_file("fresh", "", 0644);
	rewinddir(dir);
	for (struct dirent *e; (e = readdir(dir));)
		found += !strcmp(e->d_name, "fresh");
	EQ(found, 1);
	closedir(dir);
}

CASE(dir_getdents_with_a_small_buffer)
{
	char buffer[64];
	long got, total = 0;
	unsigned short length;

	make_entries(100);
	int fd = OK(open(".", O_RDONLY | O_DIRECTORY));
	while ((got = OK(syscall(SYS_getdents64, fd, buffer, sizeof buffer))) > 0)
		for (long at = 0; at < got; at += length) {
			memcpy(&length, buffer + at + offsetof(struct dirent64, d_reclen),
			       sizeof length);
			total++;
		}
	EQ(total, 102);
	FAILS(syscall(SYS_getdents64, OK(open(".", O_RDONLY)), buffer, 10), EINVAL);
}

CASE(dir_listing_of_a_removed_directory_is_empty)
{
	OK(mkdir("d", 0755));
	DIR *dir = opendir("d");
	OK(rmdir("d"));
	int names = 0;
	for (struct dirent *e; (e = readdir(dir));)
		names += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	EQ(names, 0);
	closedir(dir);
}

CASE(dir_not_emptied_by_open_deleted_files)
{
	OK(mkdir("d", 0755));
	make_file("d/f", "x", 0644);
	int fd = OK(open("d/f", O_RDONLY));
	OK(unlink("d/f"));
	OK(rmdir("d"));
	char byte;
	EQ(read(fd, &byte, 1), 1);
}

CASE(dir_names_that_are_similar_do_not_meet)
{
	char name[64], content[64];

	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof name, "%x.%x", i * 2654435761u, i);
		make_file(name, name, 0644);
	}
	for (int i = 0; i < 2000; i += 3) {
		snprintf(name, sizeof name, "%x.%x", i * 2654435761u, i);
		OK(unlink(name));
	}
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof name, "%x.%x", i * 2654435761u, i);
		EQ(exists(name), i % 3 != 0);
		if (i % 3) {
			snprintf(content, sizeof content, "%s", read_file(name));
			SAME(content, name);
		}
	}
}

enum { WORKERS = 4, WORKER_FILES = 300 };

CASE(dir_used_by_several_processes)
{
	char name[64];
	int status;

	for (int w = 0; w < WORKERS; w++)
		if (OK(fork()) == 0) {
			for (int i = 0; i < WORKER_FILES; i++) {
				snprintf(name, sizeof name, "w%d.%d", w, i);
				make_file(name, name, 0644);
				if (i % 2 == 0)
					OK(unlink(name));
			}
			_exit(0);
		}
	for (int w = 0; w < WORKERS; w++) {
		OK(wait(&status));
		EQ(status, 0);
	}
	int count = 0;
	DIR *dir = opendir(".");
	for (struct dirent *e; (e = readdir(dir));)
		count += e->d_name[0] == 'w';
	closedir(dir);
	EQ(count, WORKERS * WORKER_FILES / 2);
}
