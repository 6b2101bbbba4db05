/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   sched_shared() of scheduling.h. Which scheduling group a process is in:
 *
 *   its cgroup with the controller cpu is        the group is
 *   the machine's root                           its session's, if autogroups are on; else everybody's
 *   another one                                  that cgroup
 *
 *            In a cgroup namespace the path says "/" for what is not the machine's root; the number of
 *            the namespace that the machine starts with is fixed.
 * Failure:   what cannot be read counts as shared.
 */
#include "fs/scheduling.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char first_namespace[] = "cgroup:[4026531835]"; /* PROC_CGROUP_INIT_INO */

enum { PATH_ROOM = 1024 };

/* Has the list, separated by one of `separators`, this word? */
static int has_word(const char *list, const char *separators, const char *word)
{
	for (size_t length; *list; list += length + (list[length] != 0)) {
		length = strcspn(list, separators);
		if (length == strlen(word) && !strncmp(list, word, length))
			return 1;
	}
	return 0;
}

/* The first line of ROOT/NAME, "" if there is none. */
static void read_line(const char *root, const char *name, char *line, int room)
{
	char path[PATH_ROOM + 256];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	FILE *file = fopen(path, "re");
	if (!file || !fgets(line, room, file))
		line[0] = 0;
	line[strcspn(line, "\n")] = 0;
	if (file)
		fclose(file);
}

/* Finds the process' cgroup with the controller cpu: the hierarchy's folder below ROOT/sys/fs/cgroup and
 * the path in it. Returns the version of the hierarchy, 0 if none has the controller. */
static int find_cgroup(const char *root, char *path, size_t room)
{
	char line[PATH_ROOM], name[PATH_ROOM];
	int version = 0;

	path[0] = 0;
	snprintf(name, sizeof(name), "%s/proc/self/cgroup", root);
	FILE *file = fopen(name, "re");
	while (file && version != 1 && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		char *controllers = strchr(line, ':');
		char *at = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!at)
			continue;
		*controllers++ = *at++ = 0;
		if (has_word(controllers, ",", "cpu"))
			version = 1;
		else if (!strcmp(line, "0"))
			version = 2;
		else
			continue;
		snprintf(path, room, "%s", at);
	}
	if (file)
		fclose(file);
	return version;
}

/* Of version 2: leaves the part of `path` whose cgroup has the controller, "/" for the top. */
static void climb_to_controller(const char *root, char *path)
{
	char name[PATH_ROOM + 64], controllers[256];

	while (strcmp(path, "/")) {
		snprintf(name, sizeof(name), "sys/fs/cgroup%s/cgroup.controllers", path);
		read_line(root, name, controllers, sizeof(controllers));
		if (has_word(controllers, " ", "cpu"))
			return;
		*strrchr(path, '/') = 0;
		if (!*path)
			strcpy(path, "/");
	}
}

static int has_folders(const char *path)
{
	DIR *dir = opendir(path);
	int found = !dir;

	for (struct dirent *entry; dir && (entry = readdir(dir));)
		found |= entry->d_type == DT_DIR && entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return found;
}

/* Is this process the only one of the cgroup and those below it? */
static int is_alone(const char *root, int version, const char *path)
{
	char folder[PATH_ROOM + 64], name[PATH_ROOM + 128], line[32];
	long found = 0;
	int count = 0;

	snprintf(folder, sizeof(folder), "%s/sys/fs/cgroup%s%s", root, version == 1 ? "/cpu" : "",
		 path);
	snprintf(name, sizeof(name), "%s/cgroup.procs", folder);
	FILE *file = fopen(name, "re");
	while (file && fgets(line, sizeof(line), file)) {
		found = strtol(line, NULL, 10);
		count++;
	}
	if (file)
		fclose(file);
	return count == 1 && found == getpid() && !has_folders(folder);
}

static int in_first_namespace(const char *root)
{
	char name[PATH_ROOM], target[64];

	snprintf(name, sizeof(name), "%s/proc/self/ns/cgroup", root);
	ssize_t length = readlink(name, target, sizeof(target) - 1);
	target[length > 0 ? length : 0] = 0;
	return !strcmp(target, first_namespace);
}

const char *sched_shared(const char *root)
{
	char own[PATH_ROOM], path[PATH_ROOM], line[16];
	int version = find_cgroup(root, own, sizeof(own));

	if (!version)
		return "its cgroup is not known";
	snprintf(path, sizeof(path), "%s", own);
	if (version == 2)
		climb_to_controller(root, path);
	if (strcmp(path, "/") || !in_first_namespace(root))
		return strcmp(path, own) || !is_alone(root, version, path)
			       ? "its cgroup may have other processes"
			       : NULL;
	read_line(root, "proc/sys/kernel/sched_autogroup_enabled", line, sizeof(line));
	if (strcmp(line, "1"))
		return "the kernel's switch sched_autogroup_enabled is off";
	return getsid(0) == getpid() ? NULL : "it shares its session with other programs";
}
