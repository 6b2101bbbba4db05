/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme recall: what files bring to mind.
 */
#include "mount-tools/mneme_tool.h"

#include <stdlib.h>
#include <string.h>

/* The options, as strings, become what the request calls them. Of a number the last one counts. */
static int options_take(const struct tool_options *options, json_t *request)
{
	static const char *const names[][2] = {
		{"decay", "decay"},         {"threshold", "threshold"}, {"hops", "hops"},
		{"fan-out", "fan_out"},     {"nodes", "nodes"},         {"deadline", "deadline_ms"},
		{"direction", "direction"}, {"kind", "kinds"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		json_t *list = json_object_get(options->filters, names[i][0]), *value = NULL;
		const json_t *last = json_array_get(list, json_array_size(list) - 1);
		const char *text = json_string_value(last);
		char *end = NULL;
		if (!text)
			continue;
		if (i >= 6)
			value = json_incref(i == 6 ? (json_t *)last : list);
		else
			value = json_real(strtod(text, &end));
		if (!value || (end && (end == text || *end))) {
			json_decref(value);
			return tool_fail("--%s wants a number, not '%s'", names[i][0], text);
		}
		json_object_set_new(request, names[i][1], value);
	}
	return TOOL_FOUND;
}

/* Paths stand in an array each for what JSON can hold and what it cannot. */
static int files_take(const struct tool_options *options, char *root, json_t *request)
{
	static char name[TOOL_PATH_MAX];

	for (int i = 0; i < options->words_count; i++) {
		const char *directory = i ? root : options->directory, *path = options->words[i];
		const char *member;
		if (!options->store) {
			if (door_below(path, directory, root, name) != TOOL_FOUND)
				return TOOL_ERROR;
			path = name;
		}
		json_t *value = door_path(path, &member, "recall", "recall_hex");
		json_t *list = json_object_get(request, member);
		if (!list) {
			list = json_array();
			json_object_set_new(request, member, list);
		}
		json_array_append_new(list, value);
	}
	return TOOL_FOUND;
}

static int run(const struct tool_options *options)
{
	static char root[TOOL_PATH_MAX];
	struct tool_options plain = *options;
	json_t *request = json_object();
	int status = files_take(options, root, request);

	if (status == TOOL_FOUND)
		status = options_take(options, request);
	if (status != TOOL_FOUND) {
		json_decref(request);
		return status;
	}
	plain.filters = NULL; /* they are in the request */
	return answer_show(!options->store      ? root
			   : options->directory ? options->directory
						: "",
			   request, &plain);
}

const struct tool_verb verb_recall = {
	.name = "recall",
	.accepts = "CSnjr",
	.usage = "  recall [-C DIR] [-n N] [--json] [--decay D] [--hops H] ... FILE...\n"
		 "                what FILE brings to mind: what links lead to from it, directly "
		 "and "
		 "over\n"
		 "                others, and on which path\n",
	.words_min = 1,
	.words_max = 64,
	.run = run,
};
