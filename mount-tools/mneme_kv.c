/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme kv: the store's key-value pairs.
 */
#include "mount-tools/mneme_records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t value[RECORDS_VALUE_MAX];

static int get(struct records *r, const struct tool_options *options)
{
	const char *key = options->words[1];
	uint64_t version;
	size_t length;
	int rc = records_kv_get(r, key, value, sizeof(value), &length, &version);

	if (rc)
		return records_fail("pair", key, rc);
	if (!options->json) {
		fwrite(value, 1, length, stdout);
		return TOOL_FOUND;
	}
	json_t *object = json_object();
	records_json_bytes(object, "key", key, strlen(key));
	json_object_set_new(object, "version", json_integer((json_int_t)version));
	records_json_bytes(object, "value", value, length);
	records_json_print(object);
	return TOOL_FOUND;
}

static int put(struct records *r, const struct tool_options *options)
{
	const char *key = options->words[1];
	uint64_t version;
	size_t length;
	int rc = records_read_value(options, value, &length);

	if (!rc)
		rc = records_kv_put(r, key, value, length,
				    options->has_version ? &options->version : NULL, &version);
	if (rc)
		return records_fail("pair", key, rc);
	if (options->json)
		records_json_print(json_pack("{s:I}", "version", (json_int_t)version));
	else
		printf("version %llu\n", (unsigned long long)version);
	return TOOL_FOUND;
}

static int delete (struct records *r, const struct tool_options *options)
{
	int rc = records_kv_delete(r, options->words[1]);

	if (rc)
		return records_fail("pair", options->words[1], rc);
	if (options->json)
		records_json_print(json_pack("{s:b}", "deleted", 1));
	return TOOL_FOUND;
}

struct listing {
	json_t *array; /* NULL: lines */
	size_t count;
};

static void list_one(void *arg, const void *key, size_t key_length, size_t length, uint64_t version)
{
	struct listing *l = arg;

	l->count++;
	if (l->array) {
		json_t *object = json_object();
		records_json_bytes(object, "key", key, key_length);
		json_object_set_new(object, "version", json_integer((json_int_t)version));
		json_object_set_new(object, "length", json_integer((json_int_t)length));
		json_array_append_new(l->array, object);
		return;
	}
	printf("%8llu %8zu  ", (unsigned long long)version, length);
	answer_put_bytes(key, key_length);
	putchar('\n');
}

static int list(struct records *r, const struct tool_options *options)
{
	const char *prefix = options->words_count > 1 ? options->words[1] : "";
	struct listing l = {.array = options->json ? json_array() : NULL};
	int rc = records_kv_list(r, prefix, list_one, &l);

	if (l.array && !rc)
		records_json_print(l.array);
	if (rc)
		return records_fail("prefix", prefix, rc);
	return l.count ? TOOL_FOUND : TOOL_NOTHING;
}

static const struct {
	const char *name;
	int words_min, words_max, writes;
	int (*run)(struct records *r, const struct tool_options *options);
} actions[] = {
	{"get", 2, 2, 0, get},
	{"put", 2, 3, 1, put},
	{"delete", 2, 2, 1, delete},
	{"list", 1, 2, 0, list},
};
enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

static int run(const struct tool_options *options)
{
	struct records r;

	for (int i = 0; i < ACTIONS; i++) {
		if (strcmp(actions[i].name, options->words[0]))
			continue;
		if (options->words_count < actions[i].words_min ||
		    options->words_count > actions[i].words_max ||
		    (options->has_version && strcmp(actions[i].name, "put")))
			break;
		if (records_open(options, actions[i].writes, &r) != TOOL_FOUND)
			return TOOL_ERROR;
		return records_close(&r, actions[i].run(&r, options));
	}
	return tool_fail("usage:\n%s", verb_kv.usage);
}

const struct tool_verb verb_kv = {
	.name = "kv",
	.accepts = "CSjv",
	.usage =
		"  kv [-C DIR | -S STORE] [--json] get KEY | put KEY [VALUE] | delete KEY | "
		"list [PREFIX]\n"
		"                the store's key-value pairs; without VALUE it is read from "
		"standard\n"
		"                input; put --if-version N: only if the pair has version N (0: is\n"
		"                not there); list prints version, length and key\n",
	.words_min = 1,
	.words_max = 3,
	.run = run,
};
