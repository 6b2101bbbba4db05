/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the mount's doors, as files: requests and answers.
 * Format:    a request goes through `.mneme/query`; on a mount that is read-only it is a name of
 *            `.mneme/search`, in which %2F stands for '/' and %25 for '%'.
 */
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Says why a door did not open. */
static void explain(const char *directory, int err)
{
	char hidden[TOOL_PATH_MAX];
	struct stat st;

	if (stat(directory, &st)) {
		tool_fail("%s: %s", directory, strerror(errno));
		return;
	}
	snprintf(hidden, sizeof(hidden), "%s/.mneme", directory);
	if (!S_ISDIR(st.st_mode))
		tool_fail("%s is no directory", directory);
	else if (stat(hidden, &st))
		tool_fail("%s is not in a mounted mnemefs: go into one, or name one with -C DIR",
			  directory);
	else if (err == EOPNOTSUPP)
		tool_fail("%s is mounted with memory=off: mount it without that to search",
			  directory);
	else
		tool_fail("%s: %s", directory, strerror(err));
}

int door_open(const char *directory, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		explain(directory, errno);
	return fd;
}

/* DIRECTORY/.mneme/search/REQUEST.json */
static int name_path(const char *directory, const char *request, char *path, size_t size)
{
	static const char ending[] = ".json";
	char name[NAME_MAX + 1];
	size_t used = 0;

	for (const char *c = request; *c; c++) {
		const char *code = *c == '/' ? "%2F" : *c == '%' ? "%25" : NULL;
		size_t length = code ? 3 : 1;
		if (used + length + sizeof(ending) > sizeof(name))
			return tool_fail("the question is too long for a mount that is read-only");
		memcpy(name + used, code ? code : c, length);
		used += length;
	}
	name[used] = 0;
	int length = snprintf(path, size, "%s/.mneme/search/%s%s", directory, name, ending);
	if (length < 0 || (size_t)length >= size)
		return tool_fail("the path of %s is too long", directory);
	return TOOL_FOUND;
}

/* A file whose rest is the answer, or -1 (said). */
static int ask_open(const char *directory, const char *request)
{
	char path[TOOL_PATH_MAX];
	size_t length = strlen(request);

	int n = snprintf(path, sizeof(path), "%s/.mneme/query", directory);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		tool_fail("the path of %s is too long", directory);
		return -1;
	}
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == EROFS)
		return name_path(directory, request, path, sizeof(path)) == TOOL_FOUND
			       ? door_open(directory, path)
			       : -1;
	if (fd < 0) {
		explain(directory, errno);
	} else if (write(fd, request, length) != (ssize_t)length || write(fd, "\n", 1) != 1) {
		tool_fail("%s: %s", path, strerror(errno));
		close(fd);
		fd = -1;
	}
	return fd;
}

json_t *door_ask(const char *directory, const char *request)
{
	json_error_t error;
	int fd = ask_open(directory, request);

	if (fd < 0)
		return NULL;
	json_t *answer = json_loadfd(fd, 0, &error);
	close(fd);
	if (!answer)
		tool_fail("the mount's answer cannot be read: %s", error.text);
	const char *why = json_string_value(json_object_get(answer, "error"));
	if (why && json_integer_value(json_object_get(answer, "errno")) == EOPNOTSUPP)
		explain(directory, EOPNOTSUPP);
	else if (why)
		tool_fail("%s", why);
	if (why) {
		json_decref(answer);
		return NULL;
	}
	return answer;
}

int door_print(const char *directory, const char *path)
{
	char block[4096];
	int fd = door_open(directory, path), status = TOOL_FOUND;
	ssize_t n;

	if (fd < 0)
		return TOOL_ERROR;
	while ((n = read(fd, block, sizeof(block))) > 0)
		fwrite(block, 1, (size_t)n, stdout);
	if (n < 0)
		status = tool_fail("%s: %s", path, strerror(errno));
	close(fd);
	return status;
}

int door_below(const char *file, const char *directory, char *root, char *name)
{
	char real[PATH_MAX], above[PATH_MAX];
	size_t n;

	if (!realpath(file, real))
		return tool_fail("%s: %s", file, strerror(errno));
	if (directory && strlen(directory) >= TOOL_PATH_MAX)
		return tool_fail("the path of %s is too long", directory);
	if (directory && directory != root)
		strcpy(root, directory);
	else if (!directory && door_root(file, root, TOOL_PATH_MAX) != TOOL_FOUND)
		return TOOL_ERROR;
	if (!realpath(root, above))
		return tool_fail("%s: %s", root, strerror(errno));
	n = strlen(above);
	if (strncmp(real, above, n) || real[n] != '/')
		return tool_fail("%s does not lie in %s", file, root);
	strcpy(name, real + n + 1);
	return TOOL_FOUND;
}

json_t *door_path(const char *path, const char **member, const char *plain, const char *hex)
{
	char digits[2 * TOOL_PATH_MAX + 1];
	json_t *string = json_string(path);

	*member = string ? plain : hex;
	if (string)
		return string;
	for (size_t n = 0; path[n] && n < TOOL_PATH_MAX; n++)
		snprintf(digits + 2 * n, 3, "%02x", (unsigned char)path[n]);
	return json_string(digits);
}

int door_root(const char *path, char *root, size_t size)
{
	char real[PATH_MAX], up[PATH_MAX];
	struct stat st, above;

	if (!realpath(path, real) || stat(real, &st))
		return tool_fail("%s: %s", path, strerror(errno));
	for (;;) {
		char *slash = strrchr(real, '/');
		snprintf(up, sizeof(up), "%.*s", slash == real ? 1 : (int)(slash - real), real);
		if (!strcmp(real, "/") || stat(up, &above) || above.st_dev != st.st_dev)
			break;
		strcpy(real, up);
	}
	if (strlen(real) >= size)
		return tool_fail("the path of %s is too long", path);
	strcpy(root, real);
	return TOOL_FOUND;
}
