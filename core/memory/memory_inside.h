/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the files behind memory.h share.
 */
#ifndef MNEME_CORE_MEMORY_MEMORY_INSIDE_H
#define MNEME_CORE_MEMORY_MEMORY_INSIDE_H

#include "core/memory/embedder.h"
#include "core/memory/memory.h"
#include "core/memory/passages.h"
#include "core/names.h"
#include "core/search/lexical.h"
#include "core/search/vectors.h"
#include "core/search/words.h"
#include "pool/lock.h"

#include <pthread.h>
#include <stdatomic.h>

/* Files that wait to be embedded, with the time when they are due. Open addressing. */
struct pending {
	struct lock lock;
	uint64_t *inodes; /* [lock] 0: free */
	uint64_t *due_ms; /* [lock] */
	uint32_t size;    /* [lock] power of two */
	_Atomic uint32_t count;
};

/* What it takes to cut and embed texts: one for the thread and memory_sync, one for queries. */
struct bench {
	pthread_mutex_t lock;
	struct embedder_worker *worker;
	struct words *words;
	struct words_bag bag;
	struct passage_splitter *splitter; /* not for queries */
};

struct memory {
	struct mneme *engine;      /* [I] */
	struct embedder *embedder; /* [I] */
	uint32_t dim;              /* [I] */
	uint32_t model;            /* [I] CRC-32C of the embedder's name */
	uint32_t quiet_ms;         /* [I] */
	int read_only;             /* [I] */
	struct bench work, query;
	pthread_rwlock_t index;
	struct lexical *lexical; /* [index] */
	struct vectors *vectors; /* [index] */
	uint64_t deleted;        /* [index] since the last compaction */
	struct pending pending;
	pthread_t thread;
	int has_thread;
	_Atomic uint32_t wake;     /* futex */
	_Atomic uint32_t sleeping; /* [A] the thread waits without a time-out */
	_Atomic int stop;
	_Atomic int hides;      /* [A] some inode has, or had, user.xdg.robots.index */
	_Atomic uint64_t opted; /* [A] ms; when to compare what is opted out with the states; 0: never */
	_Atomic uint64_t embedded, searches, search_ns, embed_ns, files;
};

uint64_t memory_now_ns(void);
/* Reads up to `length` bytes of a file at `offset` from its chunks; holes are zeros. */
int memory_read(struct mneme *engine, uint64_t inode, uint64_t size, uint64_t offset, void *out,
		size_t length);
int memory_inode(struct mneme *engine, uint64_t inode, struct names_inode *out);
int memory_state_get(struct memory *mem, uint64_t inode, struct memory_state *state, char *reason);

#define MEMORY_HIDDEN "opted out by " NAMES_ROBOTS
/* 1: by each of its names the file is opted out. */
int memory_is_hidden(struct memory *mem, uint64_t inode);
/* The path from `scope` to the file by a name that is not opted out and that the caller may use. -EXDEV:
 * there is none. `allow` may be NULL. */
int memory_place(struct memory *mem, uint64_t inode, uint64_t scope, memory_allow *allow, void *arg,
		 char *path, size_t size);

/* Embeds one file as it is now and commits its records; `work` is held. */
int memory_embed_file(struct memory *mem, uint64_t inode);
/* Brings the indexes in line with one file's parts. `texts` are what was embedded. */
struct memory_text {
	const char *text;
	uint32_t length;
};
int memory_index_put(struct memory *mem, uint64_t inode, uint64_t version, uint32_t parts,
		     const struct memory_text *texts, const float *vectors);
void memory_index_remove(struct memory *mem, uint64_t inode);
/* Fills the indexes from the records and finds pending files. */
int memory_index_load(struct memory *mem);
/* Makes files pending whose state does not say what memory_is_hidden() says. */
int memory_index_review(struct memory *mem);

int pending_init(struct pending *p);
void pending_fini(struct pending *p);
/* 0 or -ENOMEM. */
int pending_add(struct pending *p, uint64_t inode, uint64_t due_ms);
int pending_remove(struct pending *p, uint64_t inode);
int pending_has(struct pending *p, uint64_t inode);
/* Takes one that is due at `now_ms` out: its inode, or 0 with *next_ms the earliest time (0: none). */
uint64_t pending_take(struct pending *p, uint64_t now_ms, uint64_t *next_ms);

static inline struct mneme_key memory_key(uint64_t inode, enum mneme_type type, uint32_t part,
					  uint8_t sub[4])
{
	uint32_t big = __builtin_bswap32(part);

	memcpy(sub, &big, 4);
	return (struct mneme_key){.inode = inode, .type = type, .sub = sub, .sub_length = 4};
}

#endif
