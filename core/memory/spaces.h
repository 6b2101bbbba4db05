/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the vectors that users bring: vector files and vectors of their own of other files.
 *            One space for each dimension and metric; the embedder's vectors are not here.
 *
 *   STORE/index/rows-S       the vectors of space S (8 hexadecimal digits: 65536 metric + dimension) and
 *                            their sealed segments (core/search/vectors_file.c)
 *   STORE/index/rowcells-S   their index, where there is one (core/search/index/index_file.c)
 *
 * Invariants: derived: what the files of STORE/index/ do not say is filled again from vector files and
 *            attributes when a store is opened. A file is in one space at most, and its rows lie one
 *            behind the other, the first part first.
 * Threading: locks of its own; a search sees all of a file's rows or none.
 * Failure:   -ENOMEM; -ENOSPC: more than SPACES_MAX spaces.
 */
#ifndef MNEME_CORE_MEMORY_SPACES_H
#define MNEME_CORE_MEMORY_SPACES_H

#include "core/search/index/index.h"

struct spaces;

enum { SPACES_MAX = 64 };

int spaces_new(struct spaces **out);
void spaces_free(struct spaces *s); /* accepts NULL */

/* Puts vectors of `dim` floats in the place of what there was of the file: _begin() takes that away,
 * _rows() adds `rows` vectors (`part`: rows that came before), _end() lets them be found, if `error` is
 * 0 and the file was not removed meanwhile. Each _begin() that succeeds has its _end(), by the same
 * thread: another one that puts waits. Returns `error`. */
int spaces_put_begin(struct spaces *s, uint32_t dim, enum vectors_metric metric, uint64_t inode);
int spaces_put_rows(struct spaces *s, uint64_t version, uint32_t part, const float *vectors,
		    uint32_t rows);
int spaces_put_end(struct spaces *s, int error);
void spaces_remove(struct spaces *s, uint64_t inode);
/* 1: all of these rows are there. */
int spaces_hold(struct spaces *s, uint32_t dim, enum vectors_metric metric, uint64_t inode,
		uint64_t version, uint32_t rows);
/* Each file that has vectors; more than once, maybe. Ends with the first result that is not 0. */
int spaces_each(struct spaces *s, int (*take)(void *arg, uint64_t inode), void *arg);
/* A file that is there wants such codes in the index: the finest that is wanted counts. */
void spaces_want_codes(struct spaces *s, uint32_t dim, enum vectors_metric metric,
		       enum quantizer_kind quantizer);
/* From here on none is wanted, until one is again. */
void spaces_want_no_codes(struct spaces *s);
/* 1: there are vectors of that dimension, or were. */
int spaces_have(struct spaces *s, uint32_t dim);
/* As collection_search(), *count 0 where there is no such space. `filter` is that of the query, without a
 * bitmap, and may be NULL; what is chosen here is put into both meanwhile. */
int spaces_search(struct spaces *s, uint32_t dim, enum vectors_metric metric,
		  struct index_query *query, struct search_filter *filter, struct search_hit *hits,
		  unsigned *count, int *partial);
/* Grows with each vector that comes or goes, and each index that is built. */
uint64_t spaces_changes(struct spaces *s);
struct spaces_stats {
	uint64_t vectors, bytes;
	uint64_t mapped;  /* bytes of files, which need not be in memory */
	uint64_t cells;   /* of indexes */
	uint64_t coded;   /* vectors with finer codes in an index */
	uint64_t scanned; /* vectors that are compared one by one: no index has them (yet) */
};
void spaces_get_stats(struct spaces *s, struct spaces_stats *out);

/* 1: spaces_tend() has something to do. */
int spaces_want(struct spaces *s);
/* collection_tend() for all; `always`: what has dead rows loses them, and their segments. */
int spaces_tend(struct spaces *s, int always, const _Atomic int *cancel);

/* A space in files; all of one number. */
struct spaces_file {
	uint32_t dim, metric;
};
/* No spaces_tend() meanwhile. Fills in which spaces have files now, and what spaces_changes() was. */
int spaces_save(struct spaces *s, struct io *io, uint64_t number,
		struct spaces_file files[SPACES_MAX], uint32_t *count, uint64_t *changes);
/* Whether a file of STORE/index/ is of one of these spaces (1), of another one (0), or of none
 * (-ENOENT). */
int spaces_owns(const char *name, const struct spaces_file *files, uint32_t count);
/* The table of a space's vectors, within STORE. */
void spaces_file_name(const struct spaces_file *file, char out[IO_NAME_MAX]);
/* While the memories are opened. -EUCLEAN: they are not what the number says. */
int spaces_load(struct spaces *s, struct io *io, uint64_t number, const struct spaces_file *file);

#endif
