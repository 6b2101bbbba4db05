/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the two halves of the check of names share: finding (check_names.c) and repairing
 *            (check_names_repair.c).
 */
#ifndef MNEME_CORE_STORE_CHECK_NAMES_INSIDE_H
#define MNEME_CORE_STORE_CHECK_NAMES_INSIDE_H

#include "core/names.h"
#include "core/store/check.h"

#include <sys/stat.h>

enum { NAMES_BATCH = 128, NAMES_VALUE_KEPT = sizeof(struct names_dentry) + NAMES_NAME_MAX };

struct names_row {
	struct mneme_key key; /* sub points to `sub` */
	uint8_t sub[MNEME_SUBKEY_MAX];
	uint8_t value[NAMES_VALUE_KEPT]; /* the first bytes of it */
	size_t value_length;
	size_t used; /* of a chunk: behind the last byte that is not zero */
};

/* What was seen of one inode. */
struct names_seen {
	uint64_t inode;
	struct names_inode record;
	int has_record, any;
	uint64_t parents, parent_directory, parent_position; /* how many, and the first one */
	uint64_t entries, subdirectories, dropped;
	uint64_t allocated, end; /* of chunks: bytes, and behind the last one that is not zero */
	uint64_t ranges,
		range_end; /* of chunks that room is set aside for; where the last one ends */
	uint64_t target_length;
	uint64_t last_position; /* of the dentry before */
	uint8_t last_name_length;
	char last_name[NAMES_NAME_MAX];
};

struct names_check {
	struct mneme *m;
	unsigned flags;
	mneme_check_report *report;
	void *arg;
	struct mneme_check_result *result;
	uint32_t shards;
	uint64_t root;
	uint8_t uuid[16];
	int records_only; /* the pass that makes lost inode records anew */
	uint64_t pass_findings;
	struct names_row *rows;
	uint32_t count;
	struct names_seen seen;
	uint64_t reserved; /* of the shard at hand: chunks that room is set aside for */
};

#define REPAIR(n, action) (names_repairs(n) ? (action) : 1)

static inline int names_repairs(const struct names_check *n)
{
	return (n->flags & STORE_CHECK_REPAIR) != 0;
}

/* One finding; `repair` is what repairing it gave (0: done), or 1 where it was not tried. */
void names_find(struct names_check *n, int repair, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Looks at a CHUNK or UNWRITTEN key of the inode at hand (check_chunks.c). */
void names_see_chunk(struct names_check *n, const struct names_row *row);
void names_see_range(struct names_check *n, const struct names_row *row);
/* Room is set aside for what was seen in the shard, and for nothing else. */
void names_check_reserved(struct names_check *n, uint32_t shard);
/* Looks at a LINK, BACKLINK or MENTION key (check_links.c). */
void check_links_row(struct names_check *n, const struct names_row *row);

/* Copies the record of an inode: 0, -ENOENT, -EUCLEAN (it is none) or -errno. */
int names_record(struct names_check *n, uint64_t inode, struct names_inode *out);
/* The entry at a position of a directory, and its name (NAMES_NAME_MAX bytes; may be NULL). */
int names_entry(struct names_check *n, uint64_t directory, uint64_t position,
		struct names_dentry *out, char *name);
int names_has(struct names_check *n, const struct mneme_key *key);

/* Repairs: 0 or -errno. */
int names_put_record(struct names_check *n, uint64_t inode, const struct names_inode *record);
/* Makes the record of an inode from the keys that are left of it. */
int names_make_record(struct names_check *n, const struct names_seen *seen);
int names_delete(struct names_check *n, const struct mneme_key *key);
int names_put_empty(struct names_check *n, const struct mneme_key *key);
/* Cuts the chunk of a row to what lies inside of the file. */
int names_cut_chunk(struct names_check *n, const struct names_row *row, uint64_t length);
/* Gives the inode a name in /lost+found; a directory that has one elsewhere loses that. */
int names_save(struct names_check *n, const struct names_seen *seen);
/* Lets the engine hand out no number up to this one again. */
int names_skip_inode(struct names_check *n, uint64_t inode);

#endif
