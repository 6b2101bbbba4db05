/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the parts of the check share.
 */
#ifndef MNEME_CORE_STORE_CHECK_INSIDE_H
#define MNEME_CORE_STORE_CHECK_INSIDE_H

#include "core/store/check.h"
#include "core/store/store.h"

enum { CHECK_DEPTH_MAX = TREE_HEIGHT_MAX + 1, CHECK_KEY_TEXT = 96 };

struct check {
	struct io *io;
	unsigned flags;
	mneme_check_report *report;
	void *arg;
	struct mneme_check_result *result;
	struct mneme_error *error;

	struct io_file *super_file, *heap_file;
	struct fmt_super super; /* the one that counts */
	struct fmt_space *table;
	int have_super;
	uint64_t pages;          /* of the heap that can be referred to */
	uint64_t *reached;       /* a bit a page: something refers to it */
	uint8_t *buffers;        /* CHECK_DEPTH_MAX pages: the path being walked */
	uint8_t *stored, *plain; /* FMT_VALUE_MAX bytes and a page */
	uint32_t lost;           /* parts of a tree that could not be entered */
	struct fmt_bitmap bitmap;
};

/* One finding: counted and reported. */
void check_find(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Fills the sentence of an error; returns `rc`. */
int check_refuse(struct check *c, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Both superblocks and the space table of the one that counts: fills super and table where there is
 * one. -errno: the check cannot go on. */
int check_supers(struct check *c);
/* Every page and value that the roots reach. */
int check_trees(struct check *c);
/* The bitmaps against `reached`. */
int check_space(struct check *c);
/* The log from the checkpoint on. */
int check_log(struct check *c);

static inline int check_reached(const struct check *c, uint64_t page)
{
	return c->reached[page / 64] >> (page % 64) & 1;
}

static inline uint8_t *check_buffer(struct check *c, uint32_t depth)
{
	return c->buffers + (uint64_t)depth * FMT_PAGE_SIZE;
}

#endif
