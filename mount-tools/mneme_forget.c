/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme forget: removes files and what the store has of them, down to the bytes.
 * Invariants: nothing is removed before everything was looked at: kind, pins, names elsewhere, the
 *            right to compact. The receipt is on the disk before the first file goes. No name that
 *            was not given is removed.
 */
#include "core/mneme.h"
#include "core/mneme_ioctl.h"
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { FILES_MAX = 256, NUMBERS = 4096 };

/* One name of a file that is to go. */
struct victim {
	const char *said;
	int fd;
	struct stat st;
	struct mneme_ioc_identity identity;
	struct mneme_receipt *receipt; /* of the first of several names */
};

/* ---- looking ---- */

static int victim_open(struct victim *v, const char *path, char *root)
{
	char above[TOOL_PATH_MAX];
	char pinned;

	v->said = path;
	if (lstat(path, &v->st))
		return tool_fail("%s: %s", path, strerror(errno));
	if (!S_ISREG(v->st.st_mode))
		return tool_fail("%s is no file: forget the files in it, or behind it", path);
	if (door_root(path, above, sizeof(above)) != TOOL_FOUND)
		return TOOL_ERROR;
	if (*root && strcmp(root, above))
		return tool_fail("%s is in another mount than the files before it", path);
	strcpy(root, above);
	v->fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (v->fd < 0)
		return tool_fail("%s: %s", path, strerror(errno));
	if (ioctl(v->fd, MNEME_IOC_IDENTITY, &v->identity))
		return tool_fail("%s is not in a mounted mnemefs", path);
	if (fgetxattr(v->fd, TOOL_PINNED, &pinned, 1) >= 0 || errno == ERANGE)
		return 1;
	return TOOL_FOUND;
}

static int names_look(const struct victim *list, int count)
{
	for (int i = 0; i < count; i++) {
		unsigned long named = 0;
		for (int k = 0; k < count; k++)
			named += list[k].st.st_ino == list[i].st.st_ino;
		if (named < list[i].st.st_nlink)
			return tool_fail("%s has %lu other names: name them all (find ROOT "
					 "-samefile '%s' lists them), or remove them first",
					 list[i].said, list[i].st.st_nlink - named, list[i].said);
	}
	return TOOL_FOUND;
}

static int may_compact(const char *root)
{
	struct stat st;

	if (stat(root, &st))
		return tool_fail("%s: %s", root, strerror(errno));
	if (geteuid() != 0 && geteuid() != st.st_uid)
		return tool_fail("only root, and who owns %s, can have bytes removed from the "
				 "store: nothing was done",
				 root);
	return TOOL_FOUND;
}

static int all_open(const struct tool_options *options, struct victim *list, char *root)
{
	int status = TOOL_FOUND;

	for (int i = 0; i < options->words_count && status == TOOL_FOUND; i++) {
		status = victim_open(&list[i], options->words[i], root);
		if (status == 1 && options->force)
			status = TOOL_FOUND;
		else if (status == 1)
			status = tool_fail("%s is pinned: mneme unpin, or --force",
					   options->words[i]);
	}
	if (status == TOOL_FOUND)
		status = names_look(list, options->words_count);
	return status == TOOL_FOUND ? may_compact(root) : status;
}

/* ---- the receipt ---- */

/* The vectors of a file, as the mount shows them and as the store keeps those of a text. */
static int vectors_add(struct victim *v, const char *root, const char *name)
{
	static char path[3 * TOOL_PATH_MAX];
	static float full[NUMBERS];
	static _Float16 half[NUMBERS];
	size_t count;
	int rc = 0;

	snprintf(path, sizeof(path), "%s/.mneme/vector/%s.f32", root, name);
	FILE *in = fopen(path, "re");
	if (!in)
		return 0; /* it has none */
	while (rc == 0 && (count = fread(full, sizeof(full[0]), NUMBERS, in)) > 0) {
		for (size_t i = 0; i < count; i++)
			half[i] = (_Float16)full[i];
		rc = mneme_receipt_add(v->receipt, full, count * sizeof(full[0]));
		if (rc == 0)
			rc = mneme_receipt_add(v->receipt, half, count * sizeof(half[0]));
	}
	fclose(in);
	return rc;
}

static int text_add(struct victim *v)
{
	size_t size = (size_t)v->st.st_size;

	if (!size)
		return 0;
	void *text = mmap(NULL, size, PROT_READ, MAP_PRIVATE, v->fd, 0);
	if (text == MAP_FAILED)
		return -errno;
	int rc = mneme_receipt_add(v->receipt, text, size);
	munmap(text, size);
	return rc;
}

static int receipt_make(struct victim *v)
{
	static char root[TOOL_PATH_MAX], name[TOOL_PATH_MAX];
	int rc = mneme_receipt_new(v->identity.uuid, v->identity.inode, (size_t)v->st.st_size,
				   &v->receipt);

	if (door_below(v->said, NULL, root, name) != TOOL_FOUND)
		return TOOL_ERROR;
	if (rc == 0)
		rc = text_add(v);
	if (rc == 0)
		rc = vectors_add(v, root, name);
	return rc ? tool_fail("%s: no receipt can be made (%s)", v->said, strerror(-rc))
		  : TOOL_FOUND;
}

static int receipt_write(struct victim *v, FILE *out)
{
	char *text;
	size_t length;
	int rc = mneme_receipt_text(v->receipt, &text, &length);

	if (rc == 0 && fwrite(text, 1, length, out) != length)
		rc = -errno;
	if (rc == 0)
		mneme_free(text);
	return rc;
}

static int is_first(const struct victim *list, int i)
{
	for (int k = 0; k < i; k++)
		if (list[k].st.st_ino == list[i].st.st_ino)
			return 0;
	return 1;
}

static int receipts_write(struct victim *list, int count, const char *path)
{
	int status = TOOL_FOUND, rc = 0;

	for (int i = 0; i < count && status == TOOL_FOUND; i++)
		if (is_first(list, i))
			status = receipt_make(&list[i]);
	if (status != TOOL_FOUND)
		return status;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out)
		return tool_fail("%s: %s; nothing was forgotten", path, strerror(errno));
	for (int i = 0; i < count && rc == 0; i++)
		if (list[i].receipt)
			rc = receipt_write(&list[i], out);
	if (rc == 0 && (fflush(out) || fsync(fd)))
		rc = -errno;
	fclose(out);
	if (rc)
		unlink(path);
	return rc ? tool_fail("%s: %s; nothing was forgotten", path, strerror(-rc)) : TOOL_FOUND;
}

/* ---- removing ---- */

static int all_remove(struct victim *list, int count)
{
	int status = TOOL_FOUND;

	for (int i = 0; i < count; i++) {
		if (unlink(list[i].said))
			status = tool_fail("%s: %s; it was not removed", list[i].said,
					   strerror(errno));
		close(list[i].fd);
		list[i].fd = -1;
	}
	return status;
}

static int forget(const struct tool_options *options, struct victim *list)
{
	char root[TOOL_PATH_MAX] = "";
	struct mneme_ioc_compact done = {0};
	int count = options->words_count;
	const char *receipt =
		json_string_value(json_array_get(json_object_get(options->filters, "receipt"), 0));
	int status = all_open(options, list, root);

	if (status == TOOL_FOUND && receipt)
		status = receipts_write(list, count, receipt);
	if (status != TOOL_FOUND)
		return status;
	int removed = all_remove(list, count);
	status = compact_mount(root, &done);
	if (status == TOOL_FOUND)
		status = compact_conclude(&done);
	if (status != TOOL_FOUND || removed != TOOL_FOUND)
		return TOOL_ERROR;
	for (int i = 0; i < count; i++)
		if (is_first(list, i))
			printf("forgotten: %s (memory %llu)\n", list[i].said,
			       (unsigned long long)list[i].identity.inode);
	return TOOL_FOUND;
}

static int run(const struct tool_options *options)
{
	static struct victim list[FILES_MAX];

	for (int i = 0; i < options->words_count; i++)
		list[i].fd = -1;
	int status = forget(options, list);
	for (int i = 0; i < options->words_count; i++) {
		if (list[i].fd >= 0)
			close(list[i].fd);
		mneme_receipt_free(list[i].receipt);
	}
	return status;
}

const struct tool_verb verb_forget = {
	.name = "forget",
	.accepts = "Fp",
	.usage = "  forget [--force] [--receipt PATH] FILE...\n"
		 "                remove files, and all that the store has of them, down to the "
		 "bytes; of a\n"
		 "                file with several names, name all. fsck.mnemefs --forgotten "
		 "proves it\n",
	.words_min = 1,
	.words_max = FILES_MAX,
	.run = run,
};
