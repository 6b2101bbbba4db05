/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   config.h.
 */
#include "fs/config.h"

#include "core/memory/memory.h"
#include "fs/durability.h"
#include "fs/permission.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TEXT = 2048 };

enum kind {
	KIND_DIM,
	KIND_METRIC,
	KIND_QUANTIZER,
	KIND_INDEX,
	KIND_EMBEDDER,
	KIND_DURABILITY,
	KIND_USE
};

static const struct setting {
	const char *name;
	enum kind kind;
	const char *attribute;
	const char *wants; /* what a value has to be; of a fixed one where it is chosen */
} settings[] = {
	{"dim", KIND_DIM, MEMORY_SETTING_DIM, "a number of dimensions from 1 to 4096"},
	{"metric", KIND_METRIC, MEMORY_SETTING_METRIC, "cosine, dot or l2"},
	{"quantizer", KIND_QUANTIZER, MEMORY_SETTING_QUANTIZER,
	 "none, binary, rabitq2 to rabitq8 or sq8"},
	{"index", KIND_INDEX, NAMES_ROBOTS, "yes or no"},
	{"embedder", KIND_EMBEDDER, MEMORY_SETTING_EMBEDDER,
	 "builtin, hash, http, command or none"},
	{"durability", KIND_DURABILITY, DURABILITY_ATTRIBUTE,
	 "buffered or strict (memory is of a whole mount: -o durability=memory)"},
	{"learn", KIND_USE, MEMORY_SETTING_LEARN, "yes or no"},
	{"decay", KIND_USE, MEMORY_SETTING_DECAY,
	 "days (of a half-life, from 0.0007 to 36500), never or no"},
	{"neighbours", KIND_USE, MEMORY_SETTING_NEIGHBOURS, "a number from 0 to 16"},
};
enum { SETTINGS = sizeof(settings) / sizeof(settings[0]) };

/* ---- showing ---- */

static const char *origin(struct fs *fs, uint64_t directory, const char *attribute, int is_set)
{
	struct mneme_key key = {.inode = directory,
				.type = MNEME_TYPE_XATTR,
				.sub = attribute,
				.sub_length = (uint16_t)strlen(attribute)};
	size_t length;

	return !mneme_get(fs->engine, &key, NULL, 0, &length) ? "set here"
	       : is_set                                       ? "set above"
							      : "default";
}

struct shown {
	char number[16], embedder[32], learn[32], decay[32], near[32],
		standard[MEMORY_NAME_MAX + 32];
};

int config_write_text(struct fs *fs, uint64_t directory, char **text, size_t *length)
{
	static const char *const metrics[] = {"cosine", "dot", "l2"};
	static const char *const modes[] = {"as the store", "memory", "buffered", "strict"};
	struct shown *s = op_temporary(sizeof(*s));
	enum vectors_metric metric;
	enum quantizer_kind quantizer;
	uint32_t dim;

	if (!fs->memory)
		return -EOPNOTSUPP;
	*text = alloc_get(TEXT);
	if (!*text || !s)
		return -ENOMEM;
	*s = (struct shown){0};
	memory_collection_of(fs->memory, directory, &dim, &metric);
	int is_quantized = memory_quantizer_of(fs->memory, directory, &quantizer);
	int is_hidden = memory_is_hidden(fs->memory, directory);
	int is_chosen = memory_embedder_of(fs->memory, directory, s->embedder);
	enum mneme_durability mode = durability_of(fs, &directory, 1);
	int has_near =
		memory_use_setting(fs->memory, directory, MEMORY_SETTING_NEIGHBOURS, s->near);
	int learns = memory_use_setting(fs->memory, directory, MEMORY_SETTING_LEARN, s->learn);
	int fades = memory_use_setting(fs->memory, directory, MEMORY_SETTING_DECAY, s->decay);
	snprintf(s->standard, sizeof(s->standard), " of the mount (%s)",
		 memory_embedder(fs->memory, NULL));
	if (dim)
		snprintf(s->number, sizeof(s->number), "%u", dim);
	int n = snprintf(
		*text, TEXT,
		"# Write NAME=VALUE lines to set them here, NAME= to take a setting away "
		"again.\n"
		"dim=%s  # of vectors that are brought: %s (empty: any)\n"
		"metric=%s  # of these vectors: %s\n"
		"quantizer=%s  # finer codes in the index of many of them: %s\n"
		"index=%s  # are texts and vectors searched: %s\n"
		"embedder=%s  # of texts: %s%s\n"
		"durability=%s  # of what is written: %s (the mount: %s)\n"
		"learn=%s  # are uses counted: %s\n"
		"decay=%s  # days until what is not used has faded by half: %s\n"
		"neighbours=%s  # links to so many files near by meaning: %s\n",
		s->number, origin(fs, directory, MEMORY_SETTING_DIM, dim != 0), metrics[metric],
		origin(fs, directory, MEMORY_SETTING_METRIC, metric != VECTORS_COSINE),
		quantizer_name(quantizer),
		origin(fs, directory, MEMORY_SETTING_QUANTIZER, is_quantized),
		is_hidden ? "no" : "yes", origin(fs, directory, NAMES_ROBOTS, is_hidden),
		s->embedder, origin(fs, directory, MEMORY_SETTING_EMBEDDER, is_chosen),
		is_chosen ? "" : s->standard, mode ? modes[mode] : "",
		origin(fs, directory, DURABILITY_ATTRIBUTE, mode != 0),
		modes[fs->options.durability], learns ? s->learn : "no",
		origin(fs, directory, MEMORY_SETTING_LEARN, learns), fades ? s->decay : "no",
		origin(fs, directory, MEMORY_SETTING_DECAY, fades), has_near ? s->near : "0",
		origin(fs, directory, MEMORY_SETTING_NEIGHBOURS, has_near));
	*length = n < TEXT ? (size_t)n : TEXT - 1;
	return 0;
}

/* ---- changing ---- */

struct line {
	const struct setting *setting;
	const char *value;
	size_t length; /* 0: it is taken away */
};

static const struct setting *setting_find(const char *name, size_t length)
{
	for (int i = 0; i < SETTINGS; i++)
		if (strlen(settings[i].name) == length && !memcmp(settings[i].name, name, length))
			return &settings[i];
	return NULL;
}

static int is_value(struct fs *fs, const struct line *line, char why[CONFIG_WHY])
{
	if (!line->length)
		return 1;
	if (line->setting->kind == KIND_EMBEDDER)
		return !memory_embedder_check(fs->memory, line->value, line->length, why);
	if (line->setting->kind == KIND_INDEX)
		return (line->length == 3 && !memcmp(line->value, "yes", 3)) ||
		       (line->length == 2 && !memcmp(line->value, "no", 2));
	if (line->setting->kind == KIND_DURABILITY)
		return !durability_prepare(fs, line->value, line->length);
	if (line->setting->kind == KIND_USE)
		return !memory_use_check(fs->memory, line->setting->attribute, line->value,
					 line->length);
	return !memory_setting_check(line->setting->attribute, line->value, line->length);
}

/* One line without its newline. 1: it says nothing. */
static int line_parse(struct fs *fs, const char *text, size_t length, struct line *out,
		      char why[CONFIG_WHY])
{
	const char *comment = memchr(text, '#', length);

	if (comment)
		length = (size_t)(comment - text);
	while (length && strchr(" \t\r", text[length - 1]))
		length--;
	if (!length)
		return 1;
	const char *equals = memchr(text, '=', length);
	size_t name = equals ? (size_t)(equals - text) : length;
	int shown = name < 64 ? (int)name : 64;
	*out = (struct line){.setting = setting_find(text, name)};
	if (!out->setting)
		snprintf(why, CONFIG_WHY,
			 "there is no setting '%.*s': dim, metric, quantizer, index, embedder, "
			 "durability, "
			 "learn, decay, neighbours",
			 shown, text);
	else if (!equals)
		snprintf(why, CONFIG_WHY, "%s wants a value: %s=...", out->setting->name,
			 out->setting->name);
	if (!out->setting || !equals)
		return -EINVAL;
	out->value = equals + 1;
	out->length = length - name - 1;
	if (is_value(fs, out, why))
		return 0;
	if (!why[0])
		snprintf(why, CONFIG_WHY, "%s wants %s, or nothing", out->setting->name,
			 out->setting->wants);
	return -EINVAL;
}

static int line_apply(struct op *op, uint64_t directory, const struct line *line)
{
	const char *value = line->length ? line->value : NULL;
	size_t length = line->length;

	if (line->setting->kind == KIND_INDEX) { /* what is opted out above is so below, too */
		value = length == 2 ? "false" : NULL;
		length = 5;
	}
	int err = fs_set_xattr(op, directory, line->setting->attribute, value, length, 0);
	return err == -ENODATA && !value ? 0 : err;
}

/* Goes through the lines; with `applies` they count. */
static int lines_run(struct op *op, uint64_t directory, const char *text, size_t length,
		     int applies, char why[CONFIG_WHY])
{
	int err = 0;

	while (length && err >= 0) {
		const char *newline = memchr(text, '\n', length);
		size_t n = newline ? (size_t)(newline - text) : length;
		struct line line;
		err = line_parse(op->fs, text, n, &line, why);
		if (!err && applies)
			err = line_apply(op, directory, &line);
		n += newline != NULL;
		text += n;
		length -= n;
	}
	return err < 0 ? err : 0;
}

int config_change(struct op *op, uint64_t directory, const char *lines, size_t length,
		  char why[CONFIG_WHY])
{
	why[0] = 0;
	if (!op->fs->memory)
		return -EOPNOTSUPP;
	if (length > CONFIG_WRITE_MAX)
		return -EFBIG;
	int err = lines_run(op, directory, lines, length, 0, why);
	if (!err)
		err = permission_check(op, directory, PERMISSION_WRITE | PERMISSION_SEARCH);
	if (!err)
		err = lines_run(op, directory, lines, length, 1, why);
	if (err && !why[0])
		snprintf(why, CONFIG_WHY, "%s", strerror(-err));
	return err;
}
