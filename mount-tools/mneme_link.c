/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme link, mneme unlink: links between files of a mount.
 * Invariants: a link is made under the path from the file's directory to the other file, so that both can
 *            be moved together; where that is too long, under the path from the mount's root.
 */
#include "core/mneme_ioctl.h"
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LABEL_MAX = 255 - (int)sizeof("user.mneme.link.") + 1 };

/* A file of a mount. */
struct file {
	const char *said;
	int fd;
	char real[PATH_MAX], root[PATH_MAX];
};

static int file_open(const char *path, struct file *f)
{
	char hidden[PATH_MAX + 8];

	f->said = path;
	f->fd = -1;
	if (!realpath(path, f->real))
		return tool_fail("%s: %s", path, strerror(errno));
	if (door_root(path, f->root, sizeof(f->root)) != TOOL_FOUND)
		return TOOL_ERROR;
	snprintf(hidden, sizeof(hidden), "%s/.mneme", f->root);
	if (access(hidden, F_OK))
		return tool_fail("%s is not in a mounted mnemefs", path);
	f->fd = open(f->real, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return f->fd < 0 ? tool_fail("%s: %s", path, strerror(errno)) : TOOL_FOUND;
}

static int fail(const char *path, int err)
{
	if (err == EOPNOTSUPP)
		return tool_fail("%s is mounted with memory=off: mount it without that for links",
				 path);
	return tool_fail("%s: %s", path, strerror(err));
}

/* ---- reading ---- */

static int block_each(const struct mneme_ioc_links *links, link_each_entry *each, void *arg)
{
	static struct mneme_ioc_link_entry head;
	static char path[PATH_MAX], label[PATH_MAX];
	const struct link_entry entry = {&head, path, label};
	int status = 0;

	for (__u32 i = 0, at = 0; i < links->count && !status; i++) {
		memcpy(&head, links->data + at, sizeof(head));
		const char *bytes = (const char *)links->data + at + sizeof(head);
		snprintf(path, sizeof(path), "%.*s", head.path_length, bytes);
		snprintf(label, sizeof(label), "%.*s", head.label_length, bytes + head.path_length);
		at += (__u32)((sizeof(head) + head.path_length + head.label_length + 7) &
			      ~(size_t)7);
		status = each(arg, &entry);
	}
	return status;
}

int link_each(int fd, link_each_entry *each, void *arg)
{
	static union {
		struct mneme_ioc_links links;
		char bytes[MNEME_IOC_SIZE_MAX];
	} block;
	__u32 first = 0;
	int status = 0;

	do {
		memset(&block.links, 0, sizeof(block.links));
		block.links.version = MNEME_IOC_VERSION;
		block.links.first = first;
		if (ioctl(fd, MNEME_IOC_SIZED(MNEME_IOC_NR_LINKS, sizeof(block)), &block))
			return -errno;
		status = block_each(&block.links, each, arg);
		first += block.links.count;
	} while (!status && block.links.more && block.links.count);
	return status;
}

static int links_each(const struct file *f, link_each_entry *each, void *arg)
{
	int status = link_each(f->fd, each, arg);

	return status < 0 ? fail(f->said, -status) : status;
}

/* ---- listing ---- */

const char *link_kind(unsigned kind)
{
	static const char *const kinds[] = {"?", "explicit", "wiki", "markdown", "symlink", "hard"};

	return kinds[kind <= MNEME_IOC_LINK_HARD ? kind : 0];
}

struct listing {
	const char *root;
	json_t *array; /* NULL: lines */
	int count;
};

static json_t *bytes(const char *text)
{
	json_t *string = json_string(text);

	return string ? string : json_null();
}

static int show(void *arg, const struct link_entry *e)
{
	struct listing *l = arg;
	const char *kind = link_kind(e->head->kind);

	l->count++;
	if (l->array) {
		json_array_append_new(
			l->array, json_pack("{s:b, s:s, s:f, s:o, s:o}", "back", e->head->back,
					    "kind", kind, "weight", (double)e->head->weight, "path",
					    e->head->inode ? bytes(e->path) : json_null(), "label",
					    bytes(e->label)));
		return 0;
	}
	printf("%s %-8s %.3f  ", e->head->back ? "<-" : "->", kind, (double)e->head->weight);
	if (e->head->inode) {
		answer_put(l->root);
		putchar('/');
		answer_put(e->path);
	} else {
		printf("nowhere: ");
		answer_put(e->label);
	}
	putchar('\n');
	return 0;
}

static int list(const struct file *f, const struct tool_options *options)
{
	struct listing l = {.root = f->root, .array = options->json ? json_array() : NULL};
	int status = links_each(f, show, &l);

	if (l.array && !status) {
		json_dumpf(l.array, stdout, JSON_INDENT(1));
		putchar('\n');
	}
	json_decref(l.array);
	return status ? status : l.count ? TOOL_FOUND : TOOL_NOTHING;
}

/* ---- changing ---- */

struct wanted {
	__u64 inode;
	const char *said;
	char label[PATH_MAX];
	int others; /* links to it that are no attributes */
};

/* Finds an explicit link to a file: 1 ends the search. */
static int find(void *arg, const struct link_entry *e)
{
	struct wanted *w = arg;
	int same = w->inode ? e->head->inode == w->inode : !strcmp(e->label, w->said);

	if (e->head->back || !same)
		return 0;
	if (e->head->kind != MNEME_IOC_LINK_EXPLICIT) {
		w->others++;
		return 0;
	}
	snprintf(w->label, sizeof(w->label), "%s", e->label);
	return 1;
}

/* The path from the directory of `from` to `to`. */
static int label_make(const struct file *from, const struct file *to, char *label, size_t size)
{
	const char *a = from->real, *b = to->real;
	size_t common = 0, used = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '/')
			common = i + 1;
	for (const char *c = strchr(a + common, '/'); c && used < size; c = strchr(c + 1, '/'))
		used += (size_t)snprintf(label + used, size - used, "../");
	if (used < size)
		used += (size_t)snprintf(label + used, size - used, "%s", b + common);
	if (used >= size)
		used = (size_t)snprintf(label, size, "%s", b + strlen(to->root));
	return used < size ? TOOL_FOUND
			   : tool_fail("the path from %s to %s is longer than %d bytes", from->said,
				       to->said, LABEL_MAX);
}

static int change(const struct file *f, unsigned number, const char *label, float weight)
{
	union {
		struct mneme_ioc_link link;
		char bytes[sizeof(struct mneme_ioc_link) + LABEL_MAX];
	} request = {.link = {.version = MNEME_IOC_VERSION,
			      .weight = weight,
			      .label_length = (__u32)strlen(label)}};

	memcpy(request.link.data, label, request.link.label_length);
	return ioctl(f->fd,
		     MNEME_IOC_SIZED(number, sizeof(request.link) + request.link.label_length),
		     &request)
		       ? fail(f->said, errno)
		       : TOOL_FOUND;
}

static int weight_parse(const char *text, float *weight)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end || !(number > 0 && number <= 1))
		return tool_fail("a weight is a number above 0, up to 1, not '%s'", text);
	*weight = (float)number;
	return TOOL_FOUND;
}

static int make(const struct file *from, const struct tool_options *options)
{
	static struct file to;
	struct wanted w = {.said = options->words[1]};
	float weight = 1;
	struct stat st;
	int status =
		options->words_count > 2 ? weight_parse(options->words[2], &weight) : TOOL_FOUND;

	if (status == TOOL_FOUND)
		status = file_open(options->words[1], &to);
	if (status != TOOL_FOUND)
		return status;
	if (fstat(to.fd, &st) || S_ISDIR(st.st_mode))
		status = tool_fail("%s is a directory: links lead to files", to.said);
	else if (strcmp(from->root, to.root))
		status = tool_fail("%s and %s are not in the same mount", from->said, to.said);
	else if (!strcmp(from->real, to.real))
		status = tool_fail("%s and %s are the same file", from->said, to.said);
	w.inode = st.st_ino;
	if (status == TOOL_FOUND)
		status = links_each(from, find, &w);
	if (status == TOOL_FOUND) /* there is none yet */
		status = label_make(from, &to, w.label, LABEL_MAX + 1);
	else if (status == 1)
		status = TOOL_FOUND;
	close(to.fd);
	return status == TOOL_FOUND ? change(from, MNEME_IOC_NR_LINK, w.label, weight) : status;
}

static int run_link(const struct tool_options *options)
{
	static struct file from;
	int status = file_open(options->words[0], &from);

	if (status != TOOL_FOUND)
		return status;
	status = options->words_count > 1 ? make(&from, options) : list(&from, options);
	close(from.fd);
	return status;
}

/* The other file need not be there any more: then it is a label. */
static int run_unlink(const struct tool_options *options)
{
	static struct file from;
	struct wanted w = {.said = options->words[1]};
	int status = file_open(options->words[0], &from), removed = 0;
	struct stat st;

	if (status != TOOL_FOUND)
		return status;
	if (!stat(options->words[1], &st))
		w.inode = st.st_ino;
	while (status == TOOL_FOUND && (status = links_each(&from, find, &w)) == 1) {
		status = change(&from, MNEME_IOC_NR_UNLINK, w.label, 0);
		removed++;
		w.others = 0;
	}
	close(from.fd);
	if (status == TOOL_FOUND && !removed && w.others)
		return tool_fail("%s leads to %s by what is written in it: edit it there",
				 options->words[0], options->words[1]);
	return status == TOOL_FOUND && !removed ? TOOL_NOTHING : status;
}

const struct tool_verb verb_link = {
	.name = "link",
	.accepts = "j",
	.usage = "  link FILE OTHER [WEIGHT] | link [--json] FILE\n"
		 "                makes FILE lead to OTHER, wherever they move (weight above 0, up "
		 "to 1),\n"
		 "                or lists its links: -> that it has, <- that lead to it; also "
		 "those "
		 "of\n"
		 "                its text ([[wiki]], markdown) and of symbolic and hard links\n",
	.words_min = 1,
	.words_max = 3,
	.run = run_link,
};

const struct tool_verb verb_unlink = {
	.name = "unlink",
	.accepts = "",
	.usage = "  unlink FILE OTHER\n"
		 "                takes a link that 'link' made away (1: there is none)\n",
	.words_min = 2,
	.words_max = 2,
	.run = run_unlink,
};
