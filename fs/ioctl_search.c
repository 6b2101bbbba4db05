/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   ioctl.h: searches in the binary form of core/mneme_ioctl.h.
 * Invariants: the request is copied out of the caller's struct before the answer goes into its place.
 */
#include "fs/ioctl.h"
#include "fs/search.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

_Static_assert(sizeof(struct mneme_ioc_search) == 48, "search");
_Static_assert(sizeof(struct mneme_ioc_result) == 64, "result");
_Static_assert(sizeof(struct mneme_ioc_batch) == 32, "batch");

/* Reads line and vector of a search that has `size` bytes. */
static int search_read(const struct mneme_ioc_search *in, size_t size, struct request *r)
{
	if (in->version != MNEME_IOC_VERSION || in->size != size || in->reserved[0] ||
	    in->reserved[1] || in->error)
		return -EINVAL;
	size_t room = size - sizeof(*in), vector = (in->line_length + (size_t)3) & ~(size_t)3;
	if (in->line_length > room || (in->dim && vector > room) || in->dim > MEMORY_DIM_MAX ||
	    in->dim * sizeof(float) > room - (in->dim ? vector : 0))
		return -EINVAL;
	int err = request_parse(r, (const char *)in->data, in->line_length);
	if (!err && in->dim)
		err = request_vector(r, (const float *)(in->data + vector), in->dim);
	return err;
}

static size_t result_size(const struct memory_result *r)
{
	return (sizeof(struct mneme_ioc_result) + strlen(r->path) + strlen(r->snippet) + 7) &
	       ~(size_t)7;
}

static void result_write(const struct memory_result *r, uint8_t *to)
{
	struct mneme_ioc_result out = {
		.inode = r->inode,
		.begin = r->begin,
		.end = r->end,
		.part = r->part,
		.line = r->line,
		.line_end = r->line_end,
		.line_match = r->line_match,
		.score = r->score,
		.cosine = r->cosine,
		.bm25 = r->words,
		.cosine_part = r->cosine_part,
		.bm25_part = r->words_part,
		.path_length = (uint16_t)strlen(r->path),
		.snippet_length = (uint16_t)strlen(r->snippet),
	};

	memset(to, 0, result_size(r));
	memcpy(to, &out, sizeof(out));
	memcpy(to + sizeof(out), r->path, out.path_length);
	memcpy(to + sizeof(out) + out.path_length, r->snippet, out.snippet_length);
}

int ioctl_search_ask(struct op *op, uint64_t directory, const struct mneme_ioc_search *in,
		     size_t size, struct memory_answer **out)
{
	struct request *r = request_new();
	int err = r ? search_read(in, size, r) : -ENOMEM;

	if (!err)
		err = search_ask(op, directory, r, REQUEST_LIMIT, out);
	request_free(r);
	return err;
}

size_t ioctl_search_size(const struct memory_answer *answer)
{
	size_t size = sizeof(struct mneme_ioc_search);

	for (uint32_t i = 0; i < answer->count; i++)
		size += result_size(&answer->results[i]);
	return size;
}

void ioctl_search_write(const struct memory_answer *answer, struct mneme_ioc_search *out,
			size_t size)
{
	size_t used = 0, room = size - sizeof(*out);

	*out = (struct mneme_ioc_search){.version = MNEME_IOC_VERSION,
					 .size = (uint32_t)size,
					 .partial = answer->partial != 0};
	for (; out->count < answer->count; out->count++) {
		const struct memory_result *r = &answer->results[out->count];
		if (result_size(r) > room - used)
			break;
		result_write(r, out->data + used);
		used += result_size(r);
	}
	out->more = answer->count - out->count;
	memset(out->data + used, 0, room - used);
}

static int check_directory(struct op *op, uint64_t ino)
{
	struct names_inode inode;
	int err = inode_read(op->fs, ino, &inode);

	return err ? err : S_ISDIR(inode.mode) ? 0 : -ENOTDIR;
}

int ioctl_search(struct op *op, uint64_t ino, struct mneme_ioc_search *search, size_t size)
{
	struct memory_answer *answer;
	int err = size < sizeof(*search) ? -EINVAL : check_directory(op, ino);

	if (!err)
		err = ioctl_search_ask(op, ino, search, size, &answer);
	if (err)
		return err;
	ioctl_search_write(answer, search, size);
	memory_answer_free(answer);
	return 0;
}

int ioctl_search_batch(struct op *op, uint64_t ino, struct mneme_ioc_batch *batch, size_t size)
{
	int err = size < sizeof(*batch) ? -EINVAL : check_directory(op, ino);

	if (err)
		return err;
	if (batch->version != MNEME_IOC_VERSION || batch->reserved[0] || batch->reserved[1] ||
	    batch->reserved[2])
		return -EINVAL;
	size_t at = 0, room = size - sizeof(*batch);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct mneme_ioc_search *one = (void *)(batch->data + at);
		struct memory_answer *answer;
		if (room - at < sizeof(*one) || one->size < sizeof(*one) || one->size % 8 ||
		    one->size > room - at)
			return -EINVAL;
		size_t own = one->size;
		err = ioctl_search_ask(op, ino, one, own, &answer);
		if (!err) {
			ioctl_search_write(answer, one, own);
			memory_answer_free(answer);
		} else {
			one->count = one->more = 0;
			one->error = (uint32_t)-err;
		}
		at += own;
	}
	return 0;
}
