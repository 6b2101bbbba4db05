/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   poll(2): a file can always be read and written, as everywhere; an answer below `.mneme`
 *            (virtual.h) is silent until it would be another one.
 * Threading: any handler thread.
 * Failure:   0 or -errno to the kernel.
 */
#include "fs/fs.h"
#include "fs/virtual.h"

#include <poll.h>

static void handle_poll(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *fi,
			struct fuse_pollhandle *handle)
{
	struct op op = op_begin(req, METRICS_POLL);
	uint64_t ino = fs_inode_number(op.fs, nodeid);
	unsigned events = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
	int err = 0;

	(void)fi;
	if (virtual_is(ino))
		err = virtual_poll(&op, ino, handle, &events);
	else if (handle)
		fuse_pollhandle_destroy(handle);
	if (err) {
		op_reply_error(&op, err);
		return;
	}
	fuse_reply_poll(req, events);
	op_end(&op, 0);
}

void poll_set_handlers(struct fuse_lowlevel_ops *ops)
{
	ops->poll = handle_poll;
}
