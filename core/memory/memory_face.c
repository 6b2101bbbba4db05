/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   core/mneme.h: memories for programs that link the engine.
 */
#include "core/memory/answer.h"
#include "core/memory/memory_inside.h"
#include "core/memory/recall_request.h"
#include "core/memory/request.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The public name of the same thing. */
static struct memory *inside(struct mneme_memory *memory)
{
	return (struct memory *)memory;
}

int mneme_memory_open(struct mneme *m, const char *directory, int read_only,
		      struct mneme_memory **out, struct mneme_error *error)
{
	struct memory_options options = {.store = directory, .read_only = read_only};
	struct mneme_error ignored;
	struct memory *mem;

	if (!error)
		error = &ignored;
	error->message[0] = 0;
	int rc = memory_open(m, &options, &mem, error);
	if (rc == 0)
		*out = (struct mneme_memory *)mem;
	return rc;
}

void mneme_memory_close(struct mneme_memory *memory)
{
	memory_close(inside(memory));
}

void mneme_free(void *memory)
{
	alloc_free(memory);
}

static int directory_find(struct memory *mem, const char *path, uint64_t *inode)
{
	struct names_inode record;
	int rc = memory_walk(mem, names_root(mneme_shards(mem->engine)), path, inode);

	if (rc == 0)
		rc = memory_inode(mem->engine, *inode, &record);
	return rc == 0 && !S_ISDIR(record.mode) ? -ENOTDIR : rc;
}

static int ask(struct memory *mem, const char *directory, struct request *r, uint32_t limit,
	       struct memory_answer **out)
{
	uint64_t scope;
	int rc = request_check(r);

	if (rc == 0)
		rc = directory_find(mem, directory, &scope);
	if (rc == 0 && r->like[0])
		rc = memory_walk(mem, scope, r->like, &r->query.like);
	if (rc < 0)
		return rc;
	request_complete(r, scope, limit, NULL, NULL);
	return memory_search(mem, &r->query, out);
}

/* ---- what comes to mind ---- */

struct finder {
	struct memory *mem;
	uint64_t scope;
};

static int find(void *arg, char *path, uint64_t *inode)
{
	const struct finder *f = arg;
	struct names_inode record;
	int rc = memory_walk(f->mem, f->scope, path, inode);

	if (rc == 0)
		rc = memory_inode(f->mem->engine, *inode, &record);
	return rc == 0 && S_ISDIR(record.mode) ? -EISDIR : rc;
}

static int recall(struct memory *mem, const char *directory, const char *request, size_t length,
		  enum mneme_answer form, char **text, size_t *text_length, char *why)
{
	struct recall_query *q = alloc_get(sizeof *q);
	const struct recall_answer *answer;
	struct finder finder = {.mem = mem};
	int rc = q ? directory_find(mem, directory, &finder.scope) : -ENOMEM;

	if (rc == 0) {
		recall_defaults(q);
		q->scope = finder.scope;
		q->spread.limit = form == MNEME_ANSWER_JSON ? REQUEST_LIMIT_JSON : REQUEST_LIMIT;
		rc = recall_request_parse(request, length, find, &finder, q, why);
	}
	if (rc == 0)
		rc = recall_ask(mem, q, &answer);
	if (rc == 0) {
		rc = form == MNEME_ANSWER_JSON ? recall_write_json(answer, text, text_length)
					       : recall_write_text(answer, text, text_length);
		recall_end(mem, answer);
	}
	alloc_free(q);
	return rc;
}

int mneme_memory_search(struct mneme_memory *memory, const char *directory, const char *request,
			size_t length, enum mneme_answer form, char **answer, size_t *answer_length,
			struct mneme_error *error)
{
	struct request *r;
	struct memory_answer *found;

	if (recall_request_is(request, length)) {
		char why[RECALL_WHY] = "";
		int failed = recall(inside(memory), directory, request, length, form, answer,
				    answer_length, why);
		if (failed < 0 && error)
			snprintf(error->message, sizeof error->message, "%s",
				 why[0] ? why : strerror(-failed));
		return failed;
	}
	r = request_new();
	int rc = r ? request_parse(r, request, length) : -ENOMEM;

	if (rc == 0)
		rc = ask(inside(memory), directory, r,
			 form == MNEME_ANSWER_JSON ? REQUEST_LIMIT_JSON : REQUEST_LIMIT, &found);
	if (rc == 0) {
		rc = form == MNEME_ANSWER_JSON
			     ? answer_write_json(found, answer, answer_length)
			     : answer_write_text(found, r->explain, answer, answer_length);
		memory_answer_free(found);
	}
	if (rc < 0 && error)
		snprintf(error->message, sizeof error->message, "%s",
			 r && r->why[0] ? r->why : strerror(-rc));
	request_free(r);
	return rc;
}
