/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   ioctl.h: compaction. Deleted files go first, then what is left of them in the store's files.
 * Threading: the work has a thread of its own, for its stack; the handler waits for it.
 */
#include "fs/ioctl.h"

#include "core/memory/memory.h"
#include "fs/reaper.h"

#include <errno.h>
#include <pthread.h>

/* The kernel gives up what it knows of a file soon after its last name and user are gone. */
enum { ORPHANS_MS = 1000, REMOVAL_MS = 600000 };

struct work {
	struct fs *fs;
	struct mneme_ioc_compact *out;
	int err;
};

static int compact(struct fs *fs, struct mneme_ioc_compact *out)
{
	struct mneme_compacted done;

	(void)reaper_settle(fs->reaper, 0, REMOVAL_MS);
	int64_t open_files = reaper_orphans(fs, ORPHANS_MS);
	if (open_files < 0)
		return (int)open_files;
	(void)reaper_settle(fs->reaper, 0, REMOVAL_MS);
	int err = fs->memory ? memory_compact(fs->memory, &done)
			     : mneme_compact(fs->engine, NULL, &done);
	if (err)
		return err;
	out->open_files = (uint64_t)open_files;
	out->cleaned_bytes = done.cleaned_bytes;
	out->kept_bytes = done.kept_bytes;
	return 0;
}

static void *compact_main(void *arg)
{
	struct work *work = arg;

	work->err = compact(work->fs, work->out);
	return NULL;
}

int ioctl_compact(struct op *op, struct mneme_ioc_compact *out, size_t size)
{
	uid_t uid = fuse_req_ctx(op->req)->uid;
	struct work work = {.fs = op->fs, .out = out};
	struct names_inode root;
	pthread_t thread;

	if (size != sizeof(*out) || out->version != MNEME_IOC_VERSION || out->reserved ||
	    out->reserved64[0] || out->reserved64[1])
		return -EINVAL;
	int err = inode_read(op->fs, op->fs->root, &root);
	if (!err && uid != 0 && uid != root.uid)
		err = -EPERM;
	if (!err && atomic_load_explicit(&op->fs->read_only, memory_order_relaxed))
		err = -EROFS;
	if (!err)
		err = -pthread_create(&thread, NULL, compact_main, &work);
	if (err)
		return err;
	pthread_join(thread, NULL);
	return work.err;
}
