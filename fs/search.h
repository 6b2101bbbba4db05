/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the caller's searches on the mount: asks core/memory with the caller's permissions.
 * Invariants: what the caller could not read by path is in no answer (permission.h).
 * Threading: any handler thread; a search takes about a millisecond and the encoder's time.
 * Failure:   -EOPNOTSUPP: the mount has no memories (-o memory=off); else as memory_search().
 */
#ifndef MNEME_FS_SEARCH_H
#define MNEME_FS_SEARCH_H

#include "core/memory/answer.h"
#include "core/memory/request.h"
#include "fs/fs.h"

/* Memories below `directory` as `r` asks (request.h), its path `like` included. `limit`: where it does
 * not say. The caller frees the answer with memory_answer_free(). After a failure r->why may have a
 * sentence. */
int search_ask(struct op *op, uint64_t directory, struct request *r, unsigned limit,
	       struct memory_answer **out);

/* 1: a search may have to wait for another process, for any time: it is handed over (later.h). */
int search_is_elsewhere(struct fs *fs);

/* The file that `path` leads to from `directory`, without following links. -EACCES where the caller may
 * not search a directory on it. Changes `path`. */
int search_walk(struct op *op, uint64_t directory, char *path, uint64_t *ino);

/* The vectors of the file that `path` leads to, which the caller may read. Changes `path`. -ENODATA: it
 * has none. *text is of alloc_get(). */
int search_vectors(struct op *op, uint64_t directory, char *path, enum memory_vectors_form form,
		   char **text, size_t *length);

/* Model, number of memories, how many wait: lines of a word and a value. */
int search_write_status(struct fs *fs, char **text, size_t *length);

/* The computed attributes user.mneme.*: `which` is what stands behind SEARCH_XATTR. *text is of
 * alloc_get(). SEARCH_XATTR_OTHER: not one of them, it may be a stored one. -ENODATA: nothing to say.
 *   state        indexed, pending, skipped: why, error: why
 *   similar      files like this one, as answer_write_text()
 *   vector       the one that was set, or of a vector file's first row, or the first passage's;
 *                little-endian f32
 *   dim, model, version   of that vector
 *   search:QUERY of a directory: the answer, as answer_write_text() */
#define SEARCH_XATTR "user.mneme."
enum { SEARCH_XATTR_OTHER = 1 };
int search_xattr(struct op *op, uint64_t ino, const char *which, char **text, size_t *length);

#endif
