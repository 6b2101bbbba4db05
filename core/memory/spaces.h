/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the vectors that users bring: vector files and vectors of their own of other files.
 *            One space for each dimension and metric; the embedder's vectors are not here.
 * Invariants: derived: all of it is filled again from files and attributes when a store is opened. A file
 *            is in one space at most.
 * Threading: a lock of its own; a search sees all of a file's rows or none.
 * Failure:   -ENOMEM; -ENOSPC: more than SPACES_MAX spaces.
 */
#ifndef MNEME_CORE_MEMORY_SPACES_H
#define MNEME_CORE_MEMORY_SPACES_H

#include "core/search/search.h"
#include "core/search/vectors.h"

struct spaces;

enum { SPACES_MAX = 64 };

int spaces_new(struct spaces **out);
void spaces_free(struct spaces *s); /* accepts NULL */

/* Puts `rows` vectors of `dim` floats in the place of what there was of the file. */
int spaces_put(struct spaces *s, uint32_t dim, enum vectors_metric metric, uint64_t inode,
	       uint64_t version, const float *vectors, uint32_t rows);
void spaces_remove(struct spaces *s, uint64_t inode);
/* 1: there are vectors of that dimension, or were. */
int spaces_have(struct spaces *s, uint32_t dim);
/* As collection_search(), *count 0 where there is no such space. */
int spaces_search(struct spaces *s, uint32_t dim, enum vectors_metric metric, const float *vector,
		  const struct search_filter *filter, unsigned limit, struct search_hit *hits,
		  unsigned *count, int *partial);
/* How often something was put or removed. */
uint64_t spaces_changes(struct spaces *s);
/* Vectors and bytes of all. */
void spaces_get_stats(struct spaces *s, uint64_t *vectors, uint64_t *bytes);

#endif
