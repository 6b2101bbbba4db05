/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the parts of the check share.
 */
#ifndef MNEME_CORE_STORE_CHECK_INSIDE_H
#define MNEME_CORE_STORE_CHECK_INSIDE_H

#include "core/store/check.h"
#include "core/store/store.h"

#include <zstd.h>

enum { CHECK_DEPTH_MAX = TREE_HEIGHT_MAX + 1, CHECK_KEY_TEXT = 96 };

/* Findings of a class are repaired together. */
enum check_class {
	CHECK_SUPER,  /* a superblock: written anew */
	CHECK_SPACE,  /* the space map: built from what the trees reach */
	CHECK_TREE,   /* a tree: built from what can be read of it */
	CHECK_LOG,    /* the log: its damaged end is cut off */
	CHECK_BEYOND, /* cannot be repaired */
};

/* A finding that waits for its repair. */
struct check_finding {
	struct check_finding *next;
	enum check_class class;
	char text[];
};

struct bounds {
	struct page_key low, high; /* low <= key < high; bytes NULL: no bound */
};

/* A page to be looked at, and what its parent says of it. */
struct check_step {
	uint64_t reference;
	struct bounds bounds;
	uint64_t birth; /* of the page above: the largest that this one may have */
	int level;      /* expected; -1: any */
	uint32_t shard, depth;
};

/* What came of looking at a page or value. */
struct check_seen {
	const char *problem; /* NULL: none */
	int soft;            /* the bytes can be trusted all the same */
	int marked;          /* its pages were marked as reached */
};

struct check_segment {
	struct fmt_segment head;
	uint64_t size;
	uint32_t file;
	int whole, followed;
};

struct check {
	struct io *io;
	unsigned flags;
	mneme_check_report *report;
	void *arg;
	struct mneme_check_result *result;
	struct mneme_error *error;

	struct io_file *super_file, *heap_file;
	struct fmt_super super; /* the one that counts */
	uint32_t super_copy;    /* its place */
	struct fmt_space *table;
	int have_super, table_lost;
	uint64_t pages;                         /* of the heap that can be referred to */
	uint64_t *reached;                      /* a bit a page: something refers to it */
	uint8_t *buffers;                       /* CHECK_DEPTH_MAX pages: the path being walked */
	uint8_t *stored, *plain;                /* FMT_VALUE_MAX bytes and a page */
	ZSTD_DDict *dictionary;                 /* NULL: none, or no copy of it can be read */
	ZSTD_DCtx *context;                     /* made with the dictionary */
	uint32_t copies_damaged, copies_marked; /* of the dictionary, a bit each */
	uint32_t lost;                          /* parts of a tree that could not be entered */
	uint64_t damaged;                       /* shards with findings, a bit each */
	uint32_t found;                         /* classes with findings, a bit each */
	uint32_t repaired;                      /* of them, those that were repaired */
	int mute;                               /* findings are known already */
	uint32_t unread;                        /* reads of the heap that the disk failed */
	struct check_finding *findings, **findings_end; /* with STORE_CHECK_REPAIR */

	struct check_segment *segments; /* of the log, in order of their sequence */
	uint32_t segments_count, segments_capacity;
	uint64_t *named;         /* a bit a page: the log names it; NULL: none */
	uint64_t log_at;         /* LSN behind the last whole block */
	uint64_t log_generation; /* newest checkpoint that a block speaks of */
	int log_begins;          /* it reaches back to the checkpoint */

	uint64_t *busy;            /* repair: pages that must not be written */
	uint64_t *before;          /* repair: `reached` as it was found */
	uint64_t cursor;           /* repair: where the last free page was */
	struct check_leaf *leaves; /* repair: found again, in key order */
	uint64_t leaves_count, leaves_capacity;
	struct fmt_bitmap bitmap;
};

/* One finding: counted, and reported now or, with STORE_CHECK_REPAIR, when its repair was tried. */
void check_find(struct check *c, enum check_class class, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Fills the sentence of an error; returns `rc`. */
int check_refuse(struct check *c, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Opens the files of the store behind c->io; check_close() also after a failure. */
int check_open(struct check *c);
/* Frees what the check has, but not itself. */
void check_close(struct check *c);
/* Both superblocks and the space table of the one that counts: fills super and table where there is
 * one. -errno: the check cannot go on. */
int check_supers(struct check *c);
/* Marks and reads the copies of the dictionary. -ENOMEM. */
int check_dictionary(struct check *c);
/* Every page and value that the roots reach. */
int check_trees(struct check *c);
/* The bitmaps against `reached`. */
int check_space(struct check *c);
/* The log from the checkpoint on. */
int check_log(struct check *c);

/* Reads from the heap; a failure of the disk is noted. */
int check_read(struct check *c, void *data, uint64_t length, uint64_t offset);
/* Looks at one page: it is in check_buffer(c, step->depth) then. */
void check_page(struct check *c, const struct check_step *step, struct check_seen *seen);
/* Looks at the value of a leaf's cell; nothing to see where it is in the cell itself. */
void check_value(struct check *c, const struct fmt_page *leaf, unsigned position,
		 struct check_seen *seen);
/* Walks the tree of one shard. */
void check_shard(struct check *c, uint32_t shard);
/* What is wrong inside a page whose checksum is right; NULL if nothing. */
const char *check_inside(const struct fmt_page *page);
/* Steps to the child at a position. */
struct check_step check_child(const struct check_step *step, const struct fmt_page *page,
			      unsigned position);
int check_key_fits(const struct check *c, const struct check_step *step, struct page_key key);
void check_key_text(struct page_key key, char out[CHECK_KEY_TEXT]);
void check_unmark(struct check *c, uint64_t page, uint64_t count);
/* The same for the pages of a value that were marked. */
void check_unmark_value(struct check *c, const struct fmt_value *v);
/* Reads the bitmap that counts of a group into c->bitmap: what is wrong with it, or NULL. */
const char *check_bitmap(struct check *c, uint32_t group);

/* Repairs the classes in `classes` (bits) and sets c->repaired. -errno: it could not be written. */
int check_repair(struct check *c, uint32_t classes);
/* Builds the tree of a damaged shard anew: its root in *root. -ENOSPC: no free page. */
int check_rebuild(struct check *c, struct io_file *heap, uint32_t shard, uint64_t generation,
		  uint64_t *root);
/* Collects the leaves that the space map says are in use and that nothing refers to. */
int check_salvage_begin(struct check *c);
void check_salvage_end(struct check *c);
/* Takes a free page for the repair: 0 or -ENOSPC. */
int check_take_page(struct check *c, uint64_t *page);
/* Cuts the log behind its last whole block. */
int check_log_cut(struct check *c);

static inline int check_reached(const struct check *c, uint64_t page)
{
	return c->reached[page / 64] >> (page % 64) & 1;
}

static inline uint8_t *check_buffer(struct check *c, uint32_t depth)
{
	return c->buffers + (uint64_t)depth * FMT_PAGE_SIZE;
}

#endif
