/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   recall.h, and the same in the binary form of core/mneme_ioctl.h.
 */
#include "fs/recall.h"

#include "fs/ioctl.h"
#include "fs/permission.h"
#include "fs/search.h"
#include "pool/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

_Static_assert(sizeof(struct mneme_ioc_recall) == 88, "recall");
_Static_assert(sizeof(struct mneme_ioc_recalled) == 24, "recalled");
_Static_assert((int)MNEME_IOC_RECALL_NARROWED == SPREAD_NARROWED &&
		       (int)MNEME_IOC_RECALL_BUDGET == SPREAD_BUDGET &&
		       (int)MNEME_IOC_RECALL_CUT == SPREAD_CUT,
	       "flags");
_Static_assert((int)MNEME_IOC_RECALL_OUT == SPREAD_OUT && (int)MNEME_IOC_RECALL_IN == SPREAD_IN,
	       "directions");

static int allow(void *arg, uint64_t ino, uint64_t directory)
{
	return permission_may_read(arg, ino, directory);
}

struct recall_query *recall_door_query(uint32_t limit)
{
	struct recall_query *q = op_temporary(sizeof(*q));

	if (q) {
		recall_defaults(q);
		q->spread.limit = limit;
	}
	return q;
}

/* The file at the end of a path, which the caller may read. */
OWN_FRAME static int find(struct op *op, uint64_t directory, char *path, uint64_t *ino)
{
	struct permission *caller = op_temporary(sizeof(*caller));
	struct names_inode inode;
	int err = caller ? search_walk(op, directory, path, ino) : -ENOMEM;

	if (err)
		return err;
	permission_of(caller, op->fs, op->req);
	if (!permission_may_read(caller, *ino, 0)) /* it was come by along a path */
		return -EACCES;
	err = inode_read(op->fs, *ino, &inode);
	return err ? err : S_ISDIR(inode.mode) ? -EISDIR : 0;
}

int recall_door_from(struct op *op, uint64_t directory, char *path, struct recall_query *q)
{
	uint64_t ino;
	int err = find(op, directory, path, &ino);

	return err ? err : recall_request_from(q, ino);
}

struct finder {
	struct op *op;
	uint64_t directory;
};

static int finder_find(void *arg, char *path, uint64_t *ino)
{
	struct finder *finder = arg;

	return find(finder->op, finder->directory, path, ino);
}

int recall_door_parse(struct op *op, uint64_t directory, const char *line, size_t length,
		      struct recall_query *q, char *why)
{
	struct finder finder = {op, directory};

	return recall_request_parse(line, length, finder_find, &finder, q, why);
}

int recall_door_ask(struct op *op, uint64_t directory, struct recall_query *q,
		    const struct recall_answer **out)
{
	struct permission *caller = op_temporary(sizeof(*caller));

	if (!op->fs->memory)
		return -EOPNOTSUPP;
	if (!caller)
		return -ENOMEM;
	permission_of(caller, op->fs, op->req);
	q->scope = directory;
	q->allow = allow;
	q->allow_arg = caller;
	return recall_ask(op->fs->memory, q, out);
}

/* ---- the binary form ---- */

static int number_take(struct recall_query *q, const char *name, double value)
{
	char why[RECALL_WHY];

	return value == 0 ? 0 : recall_request_number(q, name, value, why);
}

/* Kinds as core/mneme_ioctl.h numbers them. */
static int kinds_take(uint32_t kinds, struct recall_query *q)
{
	static const uint8_t types[] = {[MNEME_IOC_LINK_EXPLICIT] = GRAPH_EXPLICIT,
					[MNEME_IOC_LINK_WIKI] = GRAPH_WIKI,
					[MNEME_IOC_LINK_MARKDOWN] = GRAPH_MARKDOWN,
					[MNEME_IOC_LINK_SYMLINK] = GRAPH_SYMLINK,
					[MNEME_IOC_LINK_NEIGHBOUR] = GRAPH_NEIGHBOUR,
					[MNEME_IOC_LINK_COACCESS] = GRAPH_COACCESS};

	if (!kinds)
		return 0;
	if (kinds & (1u | 1u << MNEME_IOC_LINK_HARD) || kinds >> sizeof(types))
		return -EINVAL;
	q->spread.types = 0;
	for (unsigned k = 1; k < sizeof(types); k++)
		if (kinds >> k & 1)
			q->spread.types |= 1u << types[k];
	return 0;
}

OWN_FRAME static int params_take(const struct mneme_ioc_recall *in, struct recall_query *q)
{
	int err = kinds_take(in->kinds, q);

	if (!err && in->direction)
		err = in->direction > MNEME_IOC_RECALL_BOTH ? -EINVAL : 0;
	if (!err && in->direction)
		q->spread.direction = (enum spread_direction)in->direction;
	if (!err && in->decay < 0)
		q->spread.decay = 0;
	else if (!err)
		err = number_take(q, "decay", (double)in->decay);
	if (!err)
		err = number_take(q, "threshold", (double)in->threshold);
	if (!err)
		err = number_take(q, "hops", in->hops);
	if (!err && in->fan_out == MNEME_IOC_RECALL_ALL)
		q->spread.fan_out = 0;
	else if (!err)
		err = number_take(q, "fan_out", in->fan_out);
	if (!err)
		err = number_take(q, "nodes", in->nodes);
	if (!err)
		err = number_take(q, "limit", in->limit);
	if (!err)
		err = number_take(q, "deadline_ms", in->deadline_us / 1000.0);
	return err;
}

/* This file, and those that `data` begins with. *scope: this directory, or the root. */
OWN_FRAME static int from_take(struct op *op, uint64_t ino, const struct mneme_ioc_recall *in,
			       struct recall_query *q, uint64_t *scope)
{
	struct names_inode inode;
	uint64_t from;
	int err = inode_read(op->fs, ino, &inode);

	*scope = !err && S_ISDIR(inode.mode) ? ino : op->fs->root;
	if (!err && !S_ISDIR(inode.mode))
		err = recall_request_from(q, ino);
	for (uint32_t i = 0; i < in->from_count && !err; i++) {
		memcpy(&from, in->data + i * sizeof(from), sizeof(from));
		err = recall_request_from(q, from);
	}
	return err ? err : q->count && q->spread.nodes_max >= q->count ? 0 : -EINVAL;
}

static size_t via_length(const struct recall_result *r)
{
	const char *at = r->via;

	for (uint32_t i = 0; i < r->via_count; i++)
		at += strlen(at) + 1;
	return (size_t)(at - r->via);
}

static void answer_put(const struct recall_answer *answer, struct mneme_ioc_recall *out,
		       size_t room)
{
	const struct spread_report *report = &answer->report;

	out->flags = report->flags;
	out->active = report->active;
	out->predicted_us = (uint32_t)(report->predicted_ns / 1000);
	out->spent_us = (uint32_t)(report->spent_ns / 1000);
	out->count = out->data_length = 0;
	memset(out->data, 0, room);
	for (; out->count < answer->count; out->count++) {
		const struct recall_result *r = &answer->results[out->count];
		struct mneme_ioc_recalled head = {.inode = r->inode,
						  .activation = r->activation,
						  .hops = r->hops,
						  .path_length = (uint16_t)strlen(r->path),
						  .via_count = (uint16_t)r->via_count,
						  .via_length = (uint32_t)via_length(r)};
		size_t length =
			(sizeof(head) + head.path_length + head.via_length + 7) & ~(size_t)7;
		if (length > room - out->data_length)
			break;
		uint8_t *to = out->data + out->data_length;
		memcpy(to, &head, sizeof(head));
		memcpy(to + sizeof(head), r->path, head.path_length);
		memcpy(to + sizeof(head) + head.path_length, r->via, head.via_length);
		out->data_length += (uint32_t)length;
	}
	out->more = answer->count - out->count + answer->left_out;
}

int ioctl_recall(struct op *op, uint64_t ino, struct mneme_ioc_recall *recall, size_t size)
{
	const struct recall_answer *answer;
	struct recall_query *q = recall_door_query(REQUEST_LIMIT);
	uint64_t scope;

	if (!q)
		return -ENOMEM;
	if (size < sizeof(*recall) || recall->version != MNEME_IOC_VERSION || recall->reserved[0] ||
	    recall->reserved[1] || recall->flags ||
	    recall->from_count > (size - sizeof(*recall)) / sizeof(uint64_t))
		return -EINVAL;
	int err = params_take(recall, q);
	if (!err)
		err = from_take(op, ino, recall, q, &scope);
	if (!err)
		err = recall_door_ask(op, scope, q, &answer);
	if (err)
		return err;
	answer_put(answer, recall, size - sizeof(*recall));
	recall_end(op->fs->memory, answer);
	return 0;
}
