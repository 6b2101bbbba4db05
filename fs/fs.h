/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the files of fs/ share: the mounted filesystem, inode records inside transactions,
 *            and the frame of a request (struct op) that replies and measures.
 * Invariants: every handler begins with op_begin() and ends with exactly one op_reply_*(), which also
 *            gives the thread's arena back; or it hands the request over (later.h). An operation is one
 *            locked transaction. No reply and no notification is sent while a shard is locked. What comes
 *            behind a reply neither waits nor notifies (uring.h).
 * Threading: handlers run on any thread of the session. struct fs is immutable after the start,
 *            except what is tagged.
 * Failure:   functions return 0 or -errno; handlers turn them into the reply.
 */
#ifndef MNEME_FS_FS_H
#define MNEME_FS_FS_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#if FUSE_VERSION >= 317
#define FS_HAVE_TMPFILE 1
#endif

#include "core/mneme.h"
#include "core/names.h"
#include "fs/metrics.h"
#include "fs/node.h"
#include "fs/session.h"
#include "pool/arena.h"
#include "pool/buffers.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>

enum {
	/* -EAGAIN of a commit: it let go of its shards to make room, and somebody came in between */
	FS_TRIES = 1000,
	/* bytes that a request may carry; libfuse's buffer is larger */
	FS_REQUEST_MAX = 1 << 20,
};

struct fs {
	struct mneme *engine;                /* [I] */
	struct fuse_session *session;        /* [I] */
	struct node_table *nodes;            /* [I] */
	struct buffers *buffers;             /* [I] replies */
	struct metrics *metrics;             /* [I] */
	struct reaper *reaper;               /* [I] */
	struct sched *sched;                 /* [I] NULL: nothing is served from a mount */
	struct later *later;                 /* [I] */
	struct virtual_table *virtual_nodes; /* [I] */
	struct memory *memory;               /* [I] NULL: texts are not embedded */
	struct fs_options options;           /* [I] */
	uint64_t root;                       /* [I] inode of the root directory */
	uint32_t shards;                     /* [I] */
	uint8_t hash_key[16];                /* [I] of names_position() */
	_Atomic uint32_t read_only;          /* [A] 1: mounted ro */
	_Atomic uint32_t next_shard;         /* [A] where the next directory goes */
	_Atomic int has_durabilities;        /* [A] some inode has, or had, one of its own */
	_Atomic int over_uring;              /* [A] requests come over io_uring, forgets do not */
	int zero_open;                       /* [I] answer OPEN with ENOSYS */
	int direct_create;                   /* [I] new files are written past the page cache */
};

/* One request. */
struct op {
	fuse_req_t req;
	struct fs *fs;
	uint64_t start_ns;
	enum metrics_op kind;
	struct uring *ring; /* that took it, if it is answered by another thread; NULL: it is not */
};

struct op op_begin(fuse_req_t req, enum metrics_op kind);
/* `error`: 0 or -errno. */
void op_reply_error(struct op *op, int error);
void op_reply_none(struct op *op);
void op_reply_buffer(struct op *op, const void *data, size_t length);
void op_reply_write(struct op *op, size_t written);
void op_reply_xattr_size(struct op *op, size_t size);
/* Replies an entry and counts the kernel's reference; takes it back when the kernel did not get it. */
void op_reply_entry(struct op *op, uint64_t ino, const struct names_inode *inode);
void op_reply_create(struct op *op, uint64_t ino, const struct names_inode *inode,
		     struct fuse_file_info *fi);
void op_reply_negative(struct op *op);
void op_reply_attr(struct op *op, uint64_t ino, const struct names_inode *inode);
void op_reply_ioctl(struct op *op, int result, const void *data, size_t size);
/* Waits for what this request has committed and that its answer may not precede; the replies above that a
 * change can end with do that themselves. */
int op_settle(struct op *op);
/* A commit of this thread has to be durable before the answer; outside of a request, now. */
int op_commit(struct fs *fs, uint64_t lsn);
/* For replies that are sent otherwise: libfuse is called between op_sending() and op_sent(), unless
 * nobody waits for the answer any more (-ENOTCONN); op_end() ends the request. */
int op_sending(struct op *op);
void op_sent(struct op *op);
void op_end(struct op *op, int error);

/* Request temporary of this thread, valid until the reply; NULL without memory. */
void *op_temporary(size_t size);

/* The kernel names the root 1. */
static inline uint64_t fs_inode_number(const struct fs *fs, fuse_ino_t nodeid)
{
	return nodeid == FUSE_ROOT_ID ? fs->root : (uint64_t)nodeid;
}

static inline fuse_ino_t fs_nodeid(const struct fs *fs, uint64_t ino)
{
	return ino == fs->root ? FUSE_ROOT_ID : (fuse_ino_t)ino;
}

/* Now, in ns since 1970. */
int64_t fs_now(void);
uint32_t fs_shard_of(const struct fs *fs, uint64_t ino);

static inline uint64_t fs_free_bytes(const struct mneme_stats *stats)
{
	return stats->heap_free_bytes + stats->disk_free_bytes + stats->log_free_bytes;
}

/* What of it file chunks can have: the rest is kept for deletions, and for the records of the chunks. */
static inline uint64_t fs_available_bytes(const struct mneme_stats *stats)
{
	enum { PAGES = MNEME_RESERVE_LEAF * MNEME_CHUNK_SIZE / 4096 };
	uint64_t free_bytes = fs_free_bytes(stats);
	uint64_t pages =
		free_bytes > stats->kept_bytes ? (free_bytes - stats->kept_bytes) / 4096 : 0;

	return (pages - (pages + PAGES) / (PAGES + 1)) * 4096;
}

/* A locked transaction over the shards of `count` inodes. -EROFS on a read-only mount. `flags`:
 * MNEME_TXN_MAY_FILL for what frees space. */
int fs_begin(struct fs *fs, unsigned flags, const uint64_t *inodes, unsigned count,
	     struct mneme_txn **out);
/* Commits what this thread began last, and remembers for fsync that these inodes changed.
 * MNEME_DURABILITY_DEFAULT: as the directories of the inodes that it began with say. */
int fs_commit(struct fs *fs, struct mneme_txn *txn, enum mneme_durability durability,
	      const uint64_t *inodes, unsigned count);

/* After a commit that changed a file's bytes: its memory follows. */
void fs_touch(struct fs *fs, uint64_t ino);
/* After a commit that gave an inode this name: links may lead to it now. */
void fs_named(struct fs *fs, const char *name);

/* -ENOENT: no such inode; -EUCLEAN: not a record. */
int inode_load(struct mneme_txn *txn, uint64_t ino, struct names_inode *out);
int inode_store(struct mneme_txn *txn, uint64_t ino, const struct names_inode *inode);
/* The same outside of a transaction. */
int inode_read(struct fs *fs, uint64_t ino, struct names_inode *out);
/* As inode_read(), between mneme_view_begin() and _end() of that shard. */
int inode_view(struct fs *fs, uint64_t ino, struct names_inode *out);
void inode_to_stat(const struct fs *fs, uint64_t ino, const struct names_inode *inode,
		   struct stat *out);
/* -EPERM when FS_IMMUTABLE_FL (or, if `append` is not 0, FS_APPEND_FL) is set. */
int inode_check_flags(const struct names_inode *inode, int append);
/* The request if its caller is not root, else NULL. */
static inline fuse_req_t fs_unprivileged(fuse_req_t req)
{
	return fuse_req_ctx(req)->uid ? req : NULL;
}
/* Is the group one of the caller's? */
int fs_caller_in_group(fuse_req_t req, gid_t group);
/* Clears suid, sgid and file capabilities as a change of bytes or owner does. `caller`: of a change by
 * somebody without privileges; NULL: sgid without group execution stays. Returns 1 if something was
 * cleared, 0, or -errno. */
int inode_drop_privileges(struct mneme_txn *txn, uint64_t ino, struct names_inode *inode,
			  fuse_req_t caller);
/* Sets atime now if the mount's policy asks for it; for handlers of reads. */
void inode_touch_atime(struct fs *fs, uint64_t ino, const struct names_inode *seen);
/* Tells the kernel that attributes it may cache have changed. */
void fs_invalidate_attr(struct fs *fs, uint64_t ino);

/* Sets an attribute as setxattr(2) of that caller would (`value` NULL: removes it), when he may write
 * to the file. `flags`: XATTR_CREATE, XATTR_REPLACE. */
int fs_set_xattr(struct op *op, uint64_t ino, const char *name, const void *value, size_t length,
		 int flags);

/* Handlers, by file. */
void attr_set_handlers(struct fuse_lowlevel_ops *ops);
void dir_set_handlers(struct fuse_lowlevel_ops *ops);
void make_set_handlers(struct fuse_lowlevel_ops *ops);
void rename_set_handlers(struct fuse_lowlevel_ops *ops);
void list_set_handlers(struct fuse_lowlevel_ops *ops);
void file_set_handlers(struct fuse_lowlevel_ops *ops);
void space_set_handlers(struct fuse_lowlevel_ops *ops);
void xattr_set_handlers(struct fuse_lowlevel_ops *ops);
void ioctl_set_handlers(struct fuse_lowlevel_ops *ops);
void poll_set_handlers(struct fuse_lowlevel_ops *ops);

#endif
