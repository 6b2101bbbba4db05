/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mount options (session.h).
 * Invariants: an option that is not known is refused by name; nothing is ignored but what mount(8) and
 *            fstab add for themselves: for a remount mount(8) repeats what the mount table shows, with
 *            user_id= and group_id= of the kernel.
 * Threading: pure.
 * Failure:   -EINVAL and a sentence.
 */
#include "core/memory/embedder.h"
#include "fs/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

static const struct {
	const char *name;
	unsigned long set, clear;
} kernel_flags[] = {
	{"suid", 0, MS_NOSUID},      {"nosuid", MS_NOSUID, 0},     {"dev", 0, MS_NODEV},
	{"nodev", MS_NODEV, 0},      {"exec", 0, MS_NOEXEC},       {"noexec", MS_NOEXEC, 0},
	{"sync", MS_SYNCHRONOUS, 0}, {"async", 0, MS_SYNCHRONOUS}, {"dirsync", MS_DIRSYNC, 0},
};

/* Options that say nothing to us: of mount(8), fstab and systemd, or what is always so. */
static const char *const accepted[] = {"defaults",
				       "auto",
				       "noauto",
				       "nofail",
				       "_netdev",
				       "user",
				       "nouser",
				       "users",
				       "owner",
				       "group",
				       "default_permissions",
				       "nodiratime",
				       "diratime"};

static int refuse(struct mneme_error *error, const char *option, const char *why)
{
	snprintf(error->message, sizeof(error->message), "mount option '%.120s': %s", option, why);
	return -EINVAL;
}

/* "64M" to bytes; -EINVAL. */
static int parse_size(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);
	if (end == text || errno || *text == '-')
		return -EINVAL;
	int shift = *end == 'K' || *end == 'k' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
	if (shift)
		end++;
	if (*end || number > UINT64_MAX >> shift)
		return -EINVAL;
	*out = (uint64_t)number << shift;
	return 0;
}

static int parse_number(const char *text, unsigned least, unsigned most, unsigned *out)
{
	uint64_t number;

	if (parse_size(text, &number) || number < least || number > most)
		return -EINVAL;
	*out = (unsigned)number;
	return 0;
}

/* The index of `value` in a NULL-terminated list, or -1. */
static int choice(const char *value, const char *const *list)
{
	for (int i = 0; list[i]; i++) {
		if (!strcmp(value, list[i]))
			return i;
	}
	return -1;
}

static int parse_embedder(struct fs_embedder *e, const char *option, const char *name,
			  const char *value, struct mneme_error *error)
{
	static const char *const kinds[] = {"builtin", "hash", "http", "command", "none", NULL};
	const struct {
		const char *name;
		char *to;
		size_t room;
	} texts[] = {
		{"embedder", e->kind, sizeof(e->kind)},
		{"embedder_url", e->url, sizeof(e->url)},
		{"embedder_model", e->model, sizeof(e->model)},
		{"embedder_key_file", e->key_file, sizeof(e->key_file)},
		{"embedder_key_env", e->key_env, sizeof(e->key_env)},
		{"embedder_command", e->command, sizeof(e->command)},
	};

	if (!strcmp(name, "embedder_key"))
		return refuse(error, name,
			      "everybody could read it; put the key into a file that only you can "
			      "read, and say embedder_key_file=/PATH");
	if (!strcmp(name, "embedder_dim"))
		return parse_number(value, 1, EMBEDDER_DIM_MAX, &e->dim)
			       ? refuse(error, option, "say a number from 1 to 4096")
			       : 0;
	if (!strcmp(name, "embedder_timeout"))
		return parse_number(value, 1, EMBEDDER_TIMEOUT_MAX, &e->timeout_s)
			       ? refuse(error, option, "say seconds, from 1 to 3600")
			       : 0;
	if (!strcmp(name, "embedder") && choice(value, kinds) < 0)
		return refuse(error, option, "say builtin, hash, http, command or none");
	if (!strcmp(name, "embedder_key_file") && *value != '/')
		return refuse(error, option, "say a path from /");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (strcmp(name, texts[i].name))
			continue;
		if (strlen(value) >= texts[i].room)
			return refuse(error, option, "too long");
		memcpy(texts[i].to, value, strlen(value) + 1);
		return 0;
	}
	return refuse(error, option, "unknown; mnemefs --help lists them");
}

static int parse_pair(struct fs_options *o, const char *option, const char *name, const char *value,
		      struct mneme_error *error)
{
	static const char *const modes[] = {"memory", "buffered", "strict", NULL};
	static const char *const transports[] = {"auto", "uring", "classic", NULL};
	static const char *const opens[] = {"fast", "checked", NULL};
	static const char *const switches[] = {"on", "off", NULL};
	static const char *const creates[] = {"direct", "cached", NULL};
	static const char *const classes[] = {"auto", "normal", NULL};
	int i;

	if (!strcmp(name, "durability")) {
		if ((i = choice(value, modes)) < 0)
			return refuse(error, option, "say memory, buffered or strict");
		o->durability = (enum mneme_durability)(MNEME_DURABILITY_MEMORY + i);
	} else if (!strcmp(name, "transport")) {
		if ((i = choice(value, transports)) < 0)
			return refuse(error, option, "say auto, uring or classic");
		o->transport = (enum fs_transport)i;
	} else if (!strcmp(name, "open")) {
		if ((i = choice(value, opens)) < 0)
			return refuse(error, option, "say fast or checked");
		o->checked_open = i;
	} else if (!strcmp(name, "create")) {
		if ((i = choice(value, creates)) < 0)
			return refuse(error, option, "say direct or cached");
		o->cached_create = i;
	} else if (!strcmp(name, "sched")) {
		if ((i = choice(value, classes)) < 0)
			return refuse(error, option, "say auto or normal");
		o->usual_class = i;
	} else if (!strcmp(name, "memory")) {
		if ((i = choice(value, switches)) < 0)
			return refuse(error, option, "say on or off");
		o->no_memory = i;
	} else if (!strncmp(name, "embedder", 8)) {
		return parse_embedder(&o->embedder, option, name, value, error);
	} else if (!strcmp(name, "cache_size")) {
		if (parse_size(value, &o->cache_bytes) || o->cache_bytes < 4 << 20)
			return refuse(error, option, "say a size of at least 4M, as in 512M");
	} else if (!strcmp(name, "threads")) {
		if (parse_number(value, 1, 256, &o->threads))
			return refuse(error, option, "say a number from 1 to 256");
	} else if (!strcmp(name, "queue_depth")) {
		if (parse_number(value, 1, 256, &o->queue_depth))
			return refuse(error, option, "say a number from 1 to 256");
	} else if (!strcmp(name, "fsname") || !strcmp(name, "subtype")) {
		char *to = name[0] == 'f' ? o->source : o->subtype;
		size_t room = name[0] == 'f' ? sizeof(o->source) : sizeof(o->subtype);
		if (strlen(value) >= room)
			return refuse(error, option, "too long");
		memcpy(to, value, strlen(value) + 1);
	} else if (strncmp(name, "x-", 2) && strcmp(name, "comment") && strcmp(name, "user_id") &&
		   strcmp(name, "group_id")) {
		return refuse(error, option, "unknown; mnemefs --help lists them");
	}
	return 0;
}

static int parse_word(struct fs_options *o, const char *word, struct mneme_error *error)
{
	for (size_t i = 0; i < sizeof(kernel_flags) / sizeof(kernel_flags[0]); i++) {
		if (!strcmp(word, kernel_flags[i].name)) {
			o->kernel_flags |= kernel_flags[i].set;
			o->kernel_flags &= ~kernel_flags[i].clear;
			return 0;
		}
	}
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
		if (!strcmp(word, accepted[i]))
			return 0;
	}
	if (!strcmp(word, "ro"))
		o->read_only = 1;
	else if (!strcmp(word, "rw"))
		o->read_only = 0;
	else if (!strcmp(word, "noatime"))
		o->atime = FS_ATIME_NEVER;
	else if (!strcmp(word, "relatime") || !strcmp(word, "atime"))
		o->atime = FS_ATIME_RELATIVE;
	else if (!strcmp(word, "strictatime"))
		o->atime = FS_ATIME_STRICT;
	else if (!strcmp(word, "remount"))
		o->remount = 1;
	else if (!strcmp(word, "nocache"))
		o->ask_often = 1;
	else if (!strcmp(word, "allow_other"))
		o->allow_other = 1;
	else if (!strcmp(word, "private"))
		o->private_access = 1;
	else if (strncmp(word, "x-", 2))
		return refuse(error, word, "unknown; mnemefs --help lists them");
	return 0;
}

int fs_options_parse(struct fs_options *options, const char *list, struct mneme_error *error)
{
	char option[512];

	while (*list) {
		size_t length = strcspn(list, ",");
		if (length >= sizeof(option))
			return refuse(error, "...", "an option is too long");
		memcpy(option, list, length);
		option[length] = 0;
		list += length + (list[length] == ',');
		if (!length)
			continue;
		char *value = strchr(option, '=');
		int err;
		if (value) {
			char whole[512];
			memcpy(whole, option, length + 1);
			*value++ = 0;
			err = parse_pair(options, whole, option, value, error);
		} else {
			err = parse_word(options, option, error);
		}
		if (err)
			return err;
	}
	return 0;
}
