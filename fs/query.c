/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   query.h.
 */
#include "fs/query.h"

#include "fs/ioctl.h"
#include "fs/recall.h"
#include "fs/search.h"
#include "pool/alloc.h"
#include "pool/frame.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

struct query {
	pthread_mutex_t mutex;
	uint64_t directory; /* [I] */
	char *request;      /* [mutex] */
	size_t request_length, request_size;
	char *answer; /* [mutex] NULL: the request is not complete */
	size_t answer_length;
};

struct query *query_new(uint64_t directory)
{
	struct query *q = alloc_zeroed(1, sizeof(*q));

	if (q) {
		pthread_mutex_init(&q->mutex, NULL);
		q->directory = directory;
	}
	return q;
}

void query_free(struct query *q)
{
	if (!q)
		return;
	pthread_mutex_destroy(&q->mutex);
	alloc_free(q->request);
	alloc_free(q->answer);
	alloc_free(q);
}

static int is_binary(const struct query *q)
{
	uint32_t version;

	if (q->request_length < sizeof(version))
		return 0;
	memcpy(&version, q->request, sizeof(version));
	return version == MNEME_IOC_VERSION;
}

static int is_complete(const struct query *q)
{
	uint32_t size;

	if (!is_binary(q))
		return q->request[q->request_length - 1] == '\n';
	if (q->request_length < sizeof(struct mneme_ioc_search))
		return 0;
	memcpy(&size, q->request + offsetof(struct mneme_ioc_search, size), sizeof(size));
	return q->request_length >= size;
}

static int answer_binary(struct op *op, struct query *q)
{
	struct memory_answer *answer;
	int err = ioctl_search_ask(op, q->directory, (struct mneme_ioc_search *)q->request,
				   q->request_length, &answer);

	if (err)
		return err;
	q->answer_length = ioctl_search_size(answer);
	q->answer = alloc_get(q->answer_length);
	if (q->answer)
		ioctl_search_write(answer, (struct mneme_ioc_search *)q->answer, q->answer_length);
	memory_answer_free(answer);
	return q->answer ? 0 : -ENOMEM;
}

OWN_FRAME static int answer_recall(struct op *op, struct query *q)
{
	struct recall_query *wish = recall_door_query(REQUEST_LIMIT_JSON);
	char *why = op_temporary(RECALL_WHY);
	const struct recall_answer *answer;
	int err = wish && why ? recall_door_parse(op, q->directory, q->request,
						  q->request_length - 1, wish, why)
			      : -ENOMEM;

	if (!err)
		err = recall_door_ask(op, q->directory, wish, &answer);
	if (!err) {
		err = recall_write_json(answer, &q->answer, &q->answer_length);
		recall_end(op->fs->memory, answer);
	} else if (why) {
		err = answer_write_error(-err, err == -EINVAL ? why : "", &q->answer,
					 &q->answer_length);
	}
	return err;
}

static int answer_line(struct op *op, struct query *q)
{
	if (recall_request_is(q->request, q->request_length - 1))
		return answer_recall(op, q);
	struct request *r = request_new();
	struct memory_answer *answer;
	int err = r ? request_parse(r, q->request, q->request_length - 1) : -ENOMEM;

	if (!err)
		err = search_ask(op, q->directory, r, REQUEST_LIMIT_JSON, &answer);
	if (!err) {
		err = answer_write_json(answer, &q->answer, &q->answer_length);
		memory_answer_free(answer);
	} else if (r) {
		err = answer_write_error(-err, r->why, &q->answer, &q->answer_length);
	}
	request_free(r);
	return err;
}

static int append(struct query *q, const void *data, size_t length, uint64_t offset)
{
	if (q->answer || offset != q->request_length)
		return -EINVAL;
	if (length > REQUEST_LINE_MAX - q->request_length)
		return -EFBIG;
	if (q->request_length + length > q->request_size) {
		size_t size = 2 * q->request_size + length;
		char *more = alloc_resize(q->request, size);
		if (!more)
			return -ENOMEM;
		q->request = more;
		q->request_size = size;
	}
	memcpy(q->request + q->request_length, data, length);
	q->request_length += length;
	return 0;
}

int query_write(struct op *op, struct query *q, const void *data, size_t length, uint64_t offset)
{
	if (!length)
		return 0;
	pthread_mutex_lock(&q->mutex);
	int err = append(q, data, length, offset);
	if (!err && is_complete(q)) {
		err = is_binary(q) ? answer_binary(op, q) : answer_line(op, q);
		if (err)
			q->request_length -= length;
	}
	pthread_mutex_unlock(&q->mutex);
	return err;
}

size_t query_size(struct query *q)
{
	pthread_mutex_lock(&q->mutex);
	size_t size = q->request_length + q->answer_length;
	pthread_mutex_unlock(&q->mutex);
	return size;
}

/* The part of [offset, offset + size) that lies in a piece which begins at `base`. */
static size_t piece_copy(const char *piece, size_t length, size_t base, char *out, size_t size,
			 uint64_t offset)
{
	if (offset < base || offset >= base + length)
		return 0;
	size_t at = (size_t)offset - base, n = size < length - at ? size : length - at;
	memcpy(out, piece + at, n);
	return n;
}

size_t query_read(struct query *q, void *out, size_t size, uint64_t offset)
{
	pthread_mutex_lock(&q->mutex);
	size_t n = piece_copy(q->request, q->request_length, 0, out, size, offset);
	n += piece_copy(q->answer, q->answer_length, q->request_length, (char *)out + n, size - n,
			offset + n);
	pthread_mutex_unlock(&q->mutex);
	return n;
}
