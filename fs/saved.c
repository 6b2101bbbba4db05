/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   saved.h.
 */
#include "fs/saved.h"

#include "core/memory/request.h"
#include "fs/permission.h"
#include "fs/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PREFIX = sizeof(SAVED_PREFIX) - 1 };

/* The attribute's name, NULL where it is too long. */
static char *attribute(const char *name, size_t length)
{
	char *out = length && length <= NAMES_XATTR_NAME_MAX - (size_t)PREFIX
			    ? op_temporary(NAMES_XATTR_NAME_MAX + 1)
			    : NULL;

	if (out) {
		memcpy(out, SAVED_PREFIX, PREFIX);
		memcpy(out + PREFIX, name, length);
		out[PREFIX + length] = 0;
	}
	return out;
}

int saved_get(struct op *op, uint64_t directory, const char *name, size_t length, char *query)
{
	char *full = attribute(name, length);
	struct mneme_key key = {.inode = directory, .type = MNEME_TYPE_XATTR, .sub = full};
	size_t n;

	if (!full)
		return -ENOENT;
	key.sub_length = (uint16_t)strlen(full);
	int err = mneme_get(op->fs->engine, &key, query, SAVED_QUERY_MAX, &n);
	if (!err)
		query[n] = 0;
	return err == -ERANGE ? -E2BIG : err;
}

static int change(struct op *op, uint64_t directory, const char *name, const char *query,
		  size_t length, int flags)
{
	char *full = attribute(name, strlen(name));
	int err = full ? permission_check(op, directory, PERMISSION_WRITE | PERMISSION_SEARCH)
		       : -ENAMETOOLONG;

	return err ? err : fs_set_xattr(op, directory, full, query, length, flags);
}

static int ends_in(const char *name, const char *ending)
{
	size_t n = strlen(name), m = strlen(ending);

	return n >= m && !strcmp(name + n - m, ending);
}

int saved_make(struct op *op, uint64_t directory, const char *name)
{
	if (ends_in(name, ".txt") || ends_in(name, ".json"))
		return -EINVAL;
	return change(op, directory, name, "", 0, XATTR_CREATE);
}

int saved_set(struct op *op, uint64_t directory, const char *name, const char *query, size_t length)
{
	struct request *r = length > SAVED_QUERY_MAX ? NULL : request_new();
	int err = r ? request_parse(r, query, length) : length > SAVED_QUERY_MAX ? -E2BIG : -ENOMEM;

	if (!err)
		err = request_check(r);
	request_free(r);
	return err ? err : change(op, directory, name, query, length, XATTR_REPLACE);
}

int saved_remove(struct op *op, uint64_t directory, const char *name)
{
	return change(op, directory, name, NULL, 0, 0);
}

struct list {
	char *text;
	size_t used;
};

static int each_name(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct list *list = arg;
	size_t n = key->sub_length - (size_t)PREFIX;

	(void)value;
	(void)length;
	if (n + 1 > SAVED_LIST_MAX - list->used)
		return 1;
	memcpy(list->text + list->used, (const char *)key->sub + PREFIX, n);
	list->text[list->used + n] = 0;
	list->used += n + 1;
	return 0;
}

int saved_list(struct op *op, uint64_t directory, char **text, size_t *length)
{
	static const char behind[] = "user.mneme.saved/"; /* '/' follows '.' */
	struct mneme_key first = {.inode = directory,
				  .type = MNEME_TYPE_XATTR,
				  .sub = SAVED_PREFIX,
				  .sub_length = PREFIX};
	struct mneme_key last = first;
	struct list list = {.text = op_temporary(SAVED_LIST_MAX)};

	if (!list.text)
		return -ENOMEM;
	last.sub = behind;
	int err = mneme_scan(op->fs->engine, &first, &last, 0, each_name, &list);
	*text = list.text;
	*length = list.used;
	return err < 0 ? err : 0;
}

int saved_is_being_made(struct op *op)
{
	char text[32];
	size_t n = proc_read(fuse_req_ctx(op->req)->pid, "syscall", text, sizeof(text));

	long number = strtol(text, NULL, 10);
#ifdef SYS_mkdir
	if (n > 0 && number == SYS_mkdir)
		return 1;
#endif
	return n > 0 && number == SYS_mkdirat;
}
