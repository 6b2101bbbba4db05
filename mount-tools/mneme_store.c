/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   questions to a store that is not mounted: -S STORE.
 */
#include "core/mneme.h"
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <string.h>

static json_t *search(struct mneme *engine, const char *store, const char *directory,
		      const char *request)
{
	struct mneme_memory *memory;
	struct mneme_error error;
	json_error_t bad;
	json_t *answer = NULL;
	char *text;
	size_t length;

	if (mneme_memory_open(engine, store, 1, &memory, &error)) {
		tool_fail("%s", error.message);
		return NULL;
	}
	int err = mneme_memory_search(memory, directory, request, strlen(request),
				      MNEME_ANSWER_JSON, &text, &length, &error);
	mneme_memory_close(memory);
	if (err == -ENOENT || err == -ENOTDIR)
		tool_fail("%s in %s: %s", directory, store, error.message);
	else if (err)
		tool_fail("%s", error.message);
	if (err)
		return NULL;
	answer = json_loadb(text, length, 0, &bad);
	mneme_free(text);
	if (!answer)
		tool_fail("the answer cannot be read: %s", bad.text);
	return answer;
}

json_t *store_ask(const char *store, const char *directory, const char *request)
{
	struct mneme_options options = {.read_only = 1};
	struct mneme_error error;
	struct mneme *engine;

	if (mneme_open(store, &options, &engine, &error)) {
		tool_fail("%s", error.message);
		return NULL;
	}
	json_t *answer = search(engine, store, directory, request);
	mneme_close(engine);
	return answer;
}
