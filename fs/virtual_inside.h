/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the files behind virtual.h share: the table of nodes.
 * Threading: all of the table: its mutex. A node's text does not change.
 */
#ifndef MNEME_FS_VIRTUAL_INSIDE_H
#define MNEME_FS_VIRTUAL_INSIDE_H

#include "fs/virtual.h"

#include <pthread.h>

enum { SLOT_BITS = 12, VIRTUAL_POLLS = 8 };
_Static_assert(1 << SLOT_BITS == VIRTUAL_NODES, "slots");

enum kind {
	KIND_FREE,
	KIND_ROOT,
	KIND_METRICS,
	KIND_STATS,
	KIND_STATUS,
	KIND_CONFIG,
	KIND_QUERY,
	KIND_SEARCH, /* directory whose names are queries */
	KIND_VECTOR, /* directory whose names are files with .npy, .f32 or .json behind */
	KIND_NEAR,   /* directory whose names are files */
	KIND_RECALL, /* the same */
	KIND_RESULTS, /* directory of links: text is names and targets in turn, each ended by a zero */
	KIND_TEXT,    /* results as text, or a file's vectors */
	KIND_JSON,
	KIND_LINK, /* text is the target */
};

struct vnode {
	enum kind kind;
	uint64_t ino;      /* of the kernel: another one at each lookup */
	uint64_t shown;    /* the inode number that stat(2) gives: of its path, the same at each lookup */
	uint64_t above;    /* that of the directory that it was found in */
	uint64_t home;     /* the real directory that `.mneme` was looked up in */
	uint64_t lookups;  /* by the kernel */
	unsigned borrowed; /* by handlers; free when both are 0 */
	int64_t made_ns;
	char *text;
	size_t length;
	struct query *query; /* of KIND_QUERY */
	enum kind asked_in;  /* KIND_SEARCH, KIND_NEAR or KIND_RECALL, of an answer */
	char *asked;         /* its name there */
	int saved;           /* it is one of the directory's saved searches */
	char *why;       /* [mutex] of KIND_CONFIG: what was wrong with the last write; or NULL */
	uint64_t digest; /* of what the answer says but for the scores */
	/* who waits for another answer, the newest ones; a ring */
	struct fuse_pollhandle *polls[VIRTUAL_POLLS];
	unsigned polled;
	unsigned next_free;
};

struct virtual_table {
	pthread_mutex_t mutex;
	unsigned free; /* first free slot, VIRTUAL_NODES: none */
	uint64_t serial;
	int64_t begun_ns; /* [I] the time of all that is no answer: tar(1) looks whether it changes */
	pthread_mutex_t telling; /* who polls; taken before `mutex` */
	int ended;               /* [telling] there is no session to tell through */
	struct vnode nodes[VIRTUAL_NODES];
};

/* The node of an inode number, or NULL. With the mutex held. */
struct vnode *virtual_find(struct virtual_table *table, uint64_t ino);
/* A copy of the node, whose content stays valid until virtual_give_back(). -ESTALE. */
int virtual_borrow(struct fs *fs, uint64_t ino, struct vnode *out);
void virtual_give_back(struct fs *fs, const struct vnode *copy);
/* A node to be filled, in the request's memory; NULL without any. */
struct vnode *virtual_new_node(void);
/* Makes what `name` in `directory` is. */
int virtual_make_node(struct op *op, uint64_t directory, const char *name, struct vnode *node);
/* The text of the answer that node->home gives to `name`, asked in node->asked_in. */
int virtual_make_answer(struct op *op, const char *name, struct vnode *node);
/* Lines written to a config; the node keeps what was wrong with them. */
int virtual_config(struct op *op, const struct vnode *node, const char *lines, size_t length);
/* Replies with what was made, or with the error that making it gave. Takes its content over. */
void virtual_reply_node(struct op *op, struct vnode *made, int err);

#endif
