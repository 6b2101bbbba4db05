/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme forget: removes files and what the store has of them, down to the bytes.
 * Invariants: nothing is removed before everything was looked at: kind, pins, names elsewhere, what
 *            keeps a file from being removed, the right to compact. The receipt is on the disk
 *            before the first file goes; where one stays all the same, it is replaced by one
 *            without it. No name that was not given is removed; of other files only the links that
 *            `mneme link` made to it.
 */
#include "core/mneme.h"
#include "core/mneme_ioctl.h"
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
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
	struct stat st, above; /* `above`: of its directory */
	struct mneme_ioc_identity identity;
	int repeated;                  /* the same name was given before */
	struct mneme_receipt *receipt; /* of the first of several names */
	int error;                     /* errno of the unlink() that failed */
};

/* Links of other files to those that are to go: an array of [index of it, kind, path from the mount's
 * root, label]. */
struct linkings {
	json_t *array;
	int of; /* whose are being listed */
};

/* ---- looking ---- */

/* Why a file cannot be removed, or NULL. `directory` may be -1: it cannot be read, so that its flags
 * are not known. */
static const char *what_keeps(const struct victim *v, const char *above, int directory)
{
	int of_file = 0, of_directory = 0;
	uid_t me = geteuid();

	if (ioctl(v->fd, FS_IOC_GETFLAGS, &of_file))
		of_file = 0;
	if (directory < 0 || ioctl(directory, FS_IOC_GETFLAGS, &of_directory))
		of_directory = 0;
	if (of_file & FS_IMMUTABLE_FL)
		return "it is immutable (chattr -i)";
	if (of_file & FS_APPEND_FL)
		return "it is append-only (chattr -a)";
	if (of_directory & FS_IMMUTABLE_FL)
		return "its directory is immutable (chattr -i)";
	if (of_directory & FS_APPEND_FL)
		return "its directory is append-only (chattr -a)";
	if (faccessat(AT_FDCWD, above, W_OK | X_OK, AT_EACCESS))
		return strerror(errno);
	if (v->above.st_mode & S_ISVTX && me != 0 && me != v->st.st_uid && me != v->above.st_uid)
		return "its directory is sticky, and both are others'";
	return NULL;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int may_remove(struct victim *v)
{
	char above[TOOL_PATH_MAX];
	int length = (int)(base_of(v->said) - v->said);

	snprintf(above, sizeof(above), "%.*s", length ? length : 1, length ? v->said : ".");
	if (stat(above, &v->above))
		return tool_fail("%s: %s; nothing was forgotten", above, strerror(errno));
	int directory = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *why = what_keeps(v, above, directory);
	if (directory >= 0)
		close(directory);
	return why ? tool_fail("%s cannot be removed: %s; nothing was forgotten", v->said, why)
		   : TOOL_FOUND;
}

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

static int is_same_name(const struct victim *a, const struct victim *b)
{
	return a->above.st_ino == b->above.st_ino && !strcmp(base_of(a->said), base_of(b->said));
}

static int names_look(struct victim *list, int count)
{
	for (int i = 1; i < count; i++)
		for (int k = 0; k < i && !list[i].repeated; k++)
			list[i].repeated = is_same_name(&list[i], &list[k]);
	for (int i = 0; i < count; i++) {
		unsigned long named = 0;
		for (int k = 0; k < count; k++)
			named += !list[k].repeated && list[k].st.st_ino == list[i].st.st_ino;
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
		status = may_compact(root);
	for (int i = 0; i < options->words_count && status == TOOL_FOUND; i++)
		status = may_remove(&list[i]);
	if (status == TOOL_FOUND)
		status = names_look(list, options->words_count);
	return status;
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

/* The name of a memory that could not be removed, or NULL: it is forgotten, or will be. */
static const struct victim *kept(const struct victim *list, int count, const struct victim *v)
{
	for (int i = 0; i < count; i++)
		if (list[i].error && list[i].st.st_ino == v->st.st_ino)
			return &list[i];
	return NULL;
}

/* Writes a new file with the receipts of what is not kept, on the disk. */
static int receipts_write(struct victim *list, int count, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = 0;
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");

	if (!out)
		return -errno;
	for (int i = 0; i < count && rc == 0; i++)
		if (list[i].receipt && !kept(list, count, &list[i]))
			rc = receipt_write(&list[i], out);
	if (rc == 0 && (fflush(out) || fsync(fd)))
		rc = -errno;
	fclose(out);
	if (rc)
		unlink(path);
	return rc;
}

static int receipts_make(struct victim *list, int count, const char *path)
{
	int status = TOOL_FOUND;

	for (int i = 0; i < count && status == TOOL_FOUND; i++)
		if (is_first(list, i))
			status = receipt_make(&list[i]);
	if (status != TOOL_FOUND)
		return status;
	int rc = receipts_write(list, count, path);
	return rc ? tool_fail("%s: %s; nothing was forgotten", path, strerror(-rc)) : TOOL_FOUND;
}

/* After a file was kept: without it. */
static int receipts_replace(struct victim *list, int count, const char *path)
{
	char other[TOOL_PATH_MAX];
	int left = 0, rc = 0;

	for (int i = 0; i < count; i++)
		left += list[i].receipt && !kept(list, count, &list[i]);
	if (!left) {
		rc = unlink(path) ? -errno : 0;
	} else {
		snprintf(other, sizeof(other), "%s.new", path);
		rc = strlen(path) + sizeof(".new") > sizeof(other)
			     ? -ENAMETOOLONG
			     : receipts_write(list, count, other);
		if (rc == 0 && rename(other, path))
			rc = -errno;
	}
	return rc ? tool_fail("%s names what was not forgotten, too: %s", path, strerror(-rc))
		  : TOOL_FOUND;
}

/* ---- links to it ---- */

static int linking_add(void *arg, const struct link_entry *e)
{
	struct linkings *l = arg;

	if (!e->head->back || !e->head->inode || e->head->kind == MNEME_IOC_LINK_HARD)
		return 0;
	/* they need not be UTF-8, and are not written as JSON */
	json_t *link = json_pack("[i, i, o, o]", l->of, (int)e->head->kind,
				 json_string_nocheck(e->path), json_string_nocheck(e->label));
	return json_array_append_new(l->array, link) ? -ENOMEM : 0;
}

/* A link that was made last is on its way to the other end yet: a sync waits for it. */
static int linkings_wait(const char *root)
{
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		rc = -errno;
	close(fd);
	return rc;
}

static int linkings_look(struct linkings *l, const struct victim *list, int count, const char *root)
{
	int rc = linkings_wait(root);

	for (int i = 0; i < count && rc == 0; i++) {
		l->of = i;
		if (is_first(list, i))
			rc = link_each(list[i].fd, linking_add, l);
	}
	if (rc == -EOPNOTSUPP) {
		fputs("mneme: the mount has memory=off: links of other files to what is forgotten "
		      "stay\n",
		      stderr);
		return TOOL_FOUND;
	}
	return rc ? tool_fail("%s: its links cannot be read (%s); nothing was forgotten",
			      list[l->of].said, strerror(-rc))
		  : TOOL_FOUND;
}

static int linking_remove(unsigned kind, const char *path, const char *label)
{
	char attribute[sizeof("user.mneme.link.") + NAME_MAX];
	struct stat st;

	snprintf(attribute, sizeof(attribute), "user.mneme.link.%s", label);
	if (lstat(path, &st) && errno == ENOENT)
		return TOOL_FOUND; /* it went, too */
	if (kind == MNEME_IOC_LINK_EXPLICIT && lremovexattr(path, attribute) && errno != ENODATA)
		return tool_fail("%s: %s; its link to what is forgotten stays: %s", path,
				 strerror(errno), attribute);
	fputs(kind == MNEME_IOC_LINK_EXPLICIT ? "link removed: " : "names it yet: ", stdout);
	answer_put(path);
	if (kind == MNEME_IOC_LINK_EXPLICIT)
		putchar('\n');
	else
		printf(" (%s)\n", link_kind(kind));
	return TOOL_FOUND;
}

static int linkings_remove(const struct linkings *l, const struct victim *list, int count,
			   const char *root)
{
	static char path[2 * TOOL_PATH_MAX];
	int status = TOOL_FOUND;
	json_t *link;
	size_t i;

	json_array_foreach(l->array, i, link)
	{
		unsigned kind = (unsigned)json_integer_value(json_array_get(link, 1));
		const char *below = json_string_value(json_array_get(link, 2));
		const char *label = json_string_value(json_array_get(link, 3));
		if (kept(list, count, &list[json_integer_value(json_array_get(link, 0))]))
			continue;
		snprintf(path, sizeof(path), "%s/%s", root, below);
		if (linking_remove(kind, path, label) != TOOL_FOUND)
			status = TOOL_ERROR;
	}
	return status;
}

/* ---- removing ---- */

static int all_remove(struct victim *list, int count)
{
	int status = TOOL_FOUND;

	for (int i = 0; i < count; i++) {
		if (!list[i].repeated && unlink(list[i].said)) {
			list[i].error = errno;
			status = TOOL_ERROR;
		}
		close(list[i].fd);
		list[i].fd = -1;
	}
	return status;
}

/* `is_clean`: and the store's files have nothing of what was removed. */
static void all_say(const struct victim *list, int count, int is_clean)
{
	for (int i = 0; i < count; i++) {
		unsigned long long memory = list[i].identity.inode;
		const struct victim *stays = kept(list, count, &list[i]);
		if (list[i].error)
			printf("not forgotten: %s (memory %llu): it cannot be removed: %s\n",
			       list[i].said, memory, strerror(list[i].error));
		else if (stays && !list[i].repeated)
			printf("not forgotten: %s (memory %llu): the name is removed, but %s "
			       "stays\n",
			       list[i].said, memory, stays->said);
		else if (!stays && is_first(list, i))
			printf("%s: %s (memory %llu)\n",
			       is_clean ? "forgotten" : "removed, but not forgotten yet",
			       list[i].said, memory);
	}
}

static int all_forget(struct victim *list, int count, const struct linkings *links,
		      const char *root, const char *receipt)
{
	struct mneme_ioc_compact done = {0};
	int status = all_remove(list, count);

	if (status != TOOL_FOUND && receipt)
		receipts_replace(list, count, receipt);
	if (linkings_remove(links, list, count, root) != TOOL_FOUND)
		status = TOOL_ERROR;
	int clean = compact_mount(root, &done);
	if (clean == TOOL_FOUND)
		clean = compact_conclude(&done);
	all_say(list, count, clean == TOOL_FOUND);
	return clean == TOOL_FOUND ? status : TOOL_ERROR;
}

static int forget(const struct tool_options *options, struct victim *list)
{
	char root[TOOL_PATH_MAX] = "";
	struct linkings links = {.array = json_array()};
	int count = options->words_count;
	const char *receipt =
		json_string_value(json_array_get(json_object_get(options->filters, "receipt"), 0));
	int status = all_open(options, list, root);

	if (status == TOOL_FOUND)
		status = linkings_look(&links, list, count, root);
	if (status == TOOL_FOUND && receipt)
		status = receipts_make(list, count, receipt);
	if (status == TOOL_FOUND)
		status = all_forget(list, count, &links, root, receipt);
	json_decref(links.array);
	return status;
}

static int run(const struct tool_options *options)
{
	static struct victim list[FILES_MAX];

	if (options->words_count > FILES_MAX)
		return tool_fail(
			"forget takes at most %d files at once, these are %d: give them in "
			"parts (xargs -n %d mneme forget), the names of one file together",
			FILES_MAX, options->words_count, FILES_MAX);
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
		 "                file with several names, name all; at most 256 files. "
		 "fsck.mnemefs\n"
		 "                --forgotten proves it\n",
	.words_min = 1,
	.words_max = INT_MAX,
	.run = run,
};
