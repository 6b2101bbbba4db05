/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the links of files as records (core/names.h has the format): all links of one file are
 *            replaced at once, and those of a file that goes are undone at both ends.
 * Invariants: LINK, BACKLINK and MENTION keys change together, in one transaction over all shards
 *            that have to do with it. A link leads to an inode that has a name when the link is
 *            committed.
 * Threading: plain data of the caller; transactions as in core/mneme.h.
 * Failure:   0 or -errno; -EAGAIN: somebody changed the links meanwhile, nothing was done.
 */
#ifndef MNEME_CORE_LINKS_H
#define MNEME_CORE_LINKS_H

#include "core/names.h"

enum {
	LINKS_MAX = 1000,   /* of a file; what is behind them in its text is left out */
	LINKS_MENTIONS = 2, /* names of a label that are watched for: the last ones */
};

struct link {
	uint64_t to;    /* 0: nowhere */
	uint64_t place; /* with `kind` the key */
	uint32_t label; /* offset in links.labels */
	uint16_t label_length, weight;
	uint8_t kind;
};

/* Links of one file, in the order of their keys once links_sort() was called. */
struct links {
	struct link *list;
	uint32_t count, capacity;
	char *labels;
	uint32_t used, size;
};

void links_fini(struct links *l);
/* Adds a link that leads nowhere yet; a second one of that kind and label is left out. -E2BIG:
 * there are LINKS_MAX. `hash_key`: of names_position(). */
int links_add(struct links *l, const uint8_t hash_key[16], enum names_link_kind kind,
	      uint16_t weight, const char *label, size_t length);
void links_sort(struct links *l);
/* The same link (kind and label) in sorted links, or NULL. */
const struct link *links_find(const struct links *l, const struct links *in,
			      const struct link *wanted);
/* 1: the same links lead to the same files with the same weights. Both sorted. */
int links_equal(const struct links *a, const struct links *b);
/* The links that are stored; `out` is initialised. */
int links_load(struct mneme *m, uint64_t from, struct links *out);
int links_load_inside(struct mneme_txn *txn, uint64_t from, struct links *out);

/* Bits of the shards that a transaction must hold which turns `old` links into new ones. */
uint64_t links_shards(struct mneme *m, uint64_t from, const struct links *old,
		      const struct links *new);
/* A locked transaction over those shards. */
int links_begin(struct mneme *m, uint64_t shards, unsigned flags, struct mneme_txn **out);
/* Inside of it: -EAGAIN if the stored links are not `old`. A link of `new` to an inode that has no
 * name any more is stored as leading nowhere. */
int links_write(struct mneme *m, struct mneme_txn *txn, uint64_t from, const struct links *old,
		const struct links *new);

/* Before the keys of an inode without a name are removed: its links go, and those that led to it
 * lead nowhere; those of core/edges.h go. `each` gets whose they are: they are to be looked at
 * again. */
typedef void links_each_from(void *arg, uint64_t from);
int links_forget(struct mneme *m, uint64_t inode, links_each_from *each, void *arg);
/* 1: there are links from or to it (or -errno). Inside of a transaction that holds its shard. */
int links_any(struct mneme_txn *txn, uint32_t shards, uint64_t inode);

/* Who has this name in a label. 1: somebody has (or -errno). */
int links_mentioned(struct mneme *m, const char *name, links_each_from *each, void *arg);
/* All of them, some more than once. `each` NULL: is there any? */
int links_mentions(struct mneme *m, links_each_from *each, void *arg);
/* Positions under which a label is mentioned: how many. */
unsigned links_positions(const uint8_t hash_key[16], const char *label, size_t length,
			 uint64_t out[LINKS_MENTIONS]);

/* The links of an inode, outward or (`back`) towards it: then link->to is where it comes from, with
 * weight and label as they are there. -errno, or what `each` returned. `each` may call the engine.
  * */
typedef int links_each(void *arg, const struct link *link, const char *label);
int links_of(struct mneme *m, uint64_t inode, int back, links_each *each, void *arg);

#endif
