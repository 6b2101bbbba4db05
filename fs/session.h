/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the daemon's door to the filesystem: parse mount options, mount a store on a directory
 *            and serve it until it is unmounted or a signal comes.
 * Invariants: after fs_session_run() returned 0 the store was checkpointed and closed cleanly.
 * Threading: one thread calls these; the session makes its own.
 * Failure:   -errno and a sentence with a way out in struct mneme_error.
 */
#ifndef MNEME_FS_SESSION_H
#define MNEME_FS_SESSION_H

#include "core/mneme.h"

#include <stddef.h>
#include <stdint.h>

enum fs_transport { FS_TRANSPORT_AUTO, FS_TRANSPORT_URING, FS_TRANSPORT_CLASSIC };
enum fs_atime { FS_ATIME_RELATIVE, FS_ATIME_NEVER, FS_ATIME_STRICT };

/* How texts become vectors; empty: not set. */
struct fs_embedder {
	char kind
		[16]; /* of what no directory chooses otherwise: builtin, hash, http, command, none */
	char url[256], model[128], key_file[256], key_env[64];
	char command[384];
	unsigned dim;
	unsigned timeout_s; /* of one request */
};

enum { EMBEDDER_TIMEOUT_MAX = 3600 };

/* Zeroed is the default. */
struct fs_options {
	int read_only;
	enum fs_atime atime;
	enum fs_transport transport;
	enum mneme_durability durability; /* overrides the store's */
	uint64_t cache_bytes;             /* dirty arena of the engine; 0: its default */
	unsigned threads;                 /* workers of the classic transport; 0: 10 */
	unsigned queue_depth;             /* requests of a core's io_uring queue; 0: 8 */
	int checked_open;                 /* 1: every open reaches the daemon */
	int usual_class;                  /* 1: never SCHED_IDLE (fs/scheduling.h) */
	int cached_create;                /* 1: new files are written through the page cache */
	int no_memory;                    /* 1: texts are neither embedded nor searched */
	int ask_often; /* 1: the kernel caches no names and attributes (for tests) */
	int remount;   /* 1: change an existing mount: only ro/rw and the kernel's flags */
	unsigned long
		kernel_flags; /* MS_* that mount(2) knows: nosuid, nodev, noexec, noatime, ... */
	int private_access;   /* 1: only the mounting user may use root's mount (no allow_other) */
	int allow_other;      /* 1: others may use the mount of a user, if fuse.conf allows it */
	char source[256];     /* what /proc/mounts shows; empty: the store's path */
	char subtype[32];     /* empty: mnemefs */
	struct fs_embedder embedder;
};

/* Reads one comma-separated list of mount options into `options` (several calls add up).
 * -EINVAL: an unknown option or a bad value; the sentence names it. */
int fs_options_parse(struct fs_options *options, const char *list, struct mneme_error *error);

struct fs_session;
struct fuse_session;

/* Opens the store and mounts it on `directory`. From then on the mount answers as soon as
 * fs_session_run() is called. `directory` NULL: no mount; requests are handed to
 * fs_session_requests(). */
int fs_session_open(const char *store, const char *directory, const struct fs_options *options,
		    struct fs_session **out, struct mneme_error *error);
/* Serves until the unmount or SIGTERM, SIGINT, SIGHUP; then unmounts, checkpoints and closes.
 * Frees the session whatever it returns. */
int fs_session_run(struct fs_session *session, struct mneme_error *error);
/* Ends a session that is not run: unmounts, checkpoints, closes. Frees it whatever it returns. */
int fs_session_close(struct fs_session *session, struct mneme_error *error);
/* libfuse's session, for requests that come another way than through a mount (fuse_session_custom_io(),
 * fuse_session_process_buf()). Valid until the session is closed. */
struct fuse_session *fs_session_requests(struct fs_session *session);
/* The sentence about this session for people: transport and library. Valid until run returns. */
const char *fs_session_describe(const struct fs_session *session);
/* Makes the root directory in a new store (for mkfs). */
int fs_format(struct mneme *engine, uint32_t uid, uint32_t gid);
/* Gives the store a label (for mkfs), durable on return; an empty one takes it away. -EINVAL: it has more
 * than FS_LABEL_MAX bytes. */
enum { FS_LABEL_MAX = 255 };
int fs_set_label(struct mneme *engine, const char *label);
/* Changes an existing mount: ro or rw, suid, dev, exec, sync. Everything else, the policy of access times
 * too, stays as the daemon was started with. Read-only: what was written before is durable on return. */
int fs_session_remount(const char *directory, const struct fs_options *options,
		       struct mneme_error *error);

#endif
