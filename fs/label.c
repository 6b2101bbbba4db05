/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   label.h.
 */
#include "fs/label.h"

#include "fs/session.h"
#include "pool/frame.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>

_Static_assert(FS_LABEL_MAX == FSLABEL_MAX - 1, "a label and its end");

static const struct mneme_key label_key = {
	.type = MNEME_TYPE_COLLECTION, .sub = "label", .sub_length = 5};

int fs_set_label(struct mneme *engine, const char *label)
{
	size_t length = strlen(label);

	if (length > FS_LABEL_MAX)
		return -EINVAL;
	if (length)
		return mneme_put(engine, &label_key, label, length, MNEME_DURABILITY_STRICT);
	int err = mneme_delete(engine, &label_key, MNEME_DURABILITY_STRICT);
	return err == -ENOENT ? 0 : err;
}

static int label_set(struct op *op, const void *in, size_t in_size)
{
	if (in_size < FSLABEL_MAX || !memchr(in, 0, FSLABEL_MAX))
		return -EINVAL;
	if (fuse_req_ctx(op->req)->uid != 0)
		return -EPERM;
	if (atomic_load_explicit(&op->fs->read_only, memory_order_relaxed))
		return -EROFS;
	return fs_set_label(op->fs->engine, in);
}

static void reply(struct op *op, int err, const void *out, size_t size)
{
	if (err)
		op_reply_error(op, err);
	else
		op_reply_ioctl(op, 0, out, size);
}

static OWN_FRAME void label_get(struct op *op, size_t out_size)
{
	char label[FSLABEL_MAX] = "";
	size_t length;
	int err = out_size < sizeof(label)
			  ? -EINVAL
			  : mneme_get(op->fs->engine, &label_key, label, FS_LABEL_MAX, &length);

	reply(op, err == -ENOENT ? 0 : err, label, sizeof(label));
}

int label_answer(struct op *op, unsigned command, const void *in, size_t in_size, size_t out_size)
{
	switch (command) {
	case FS_IOC_GETFSLABEL:
		label_get(op, out_size);
		return 1;
	case FS_IOC_SETFSLABEL:
		reply(op, label_set(op, in, in_size), NULL, 0);
		return 1;
	default:
		return 0;
	}
}
