/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the caller's searches on the mount: asks core/memory with the caller's permissions and
 *            writes answers as text, JSON and lists of names with targets.
 * Invariants: what the caller could not read by path is in no answer (permission.h).
 * Threading: any handler thread; a search takes about a millisecond and the encoder's time.
 * Failure:   -EOPNOTSUPP: the mount has no memories (-o memory=off); else as memory_search().
 */
#ifndef MNEME_FS_SEARCH_H
#define MNEME_FS_SEARCH_H

#include "core/memory/memory.h"
#include "fs/fs.h"

enum { SEARCH_LIMIT = 20, SEARCH_LIMIT_JSON = 100 };

/* At most `limit` memories below `directory` for a query, or like the file `like` if it is not 0. The
 * caller frees the answer with memory_answer_free(). */
int search_ask(struct op *op, uint64_t directory, const char *query, uint64_t like, unsigned limit,
	       struct memory_answer **out);

/* The file that `path` leads to from `directory`, without following links. -EACCES where the caller may
 * not search a directory on it. Changes `path`. */
int search_walk(struct op *op, uint64_t directory, char *path, uint64_t *ino);

/* Each makes a text of alloc_get(); the caller frees it. */
/* score, path:line, bytes begin-end, snippet; tabs between; a line a result. */
int search_write_text(const struct memory_answer *answer, char **text, size_t *length);
/* {"partial": false, "results": [{...}]}; a path that is no UTF-8 has U+FFFD for its bad bytes and
 * "path_hex" beside it. */
int search_write_json(const struct memory_answer *answer, char **text, size_t *length);
/* For each result a name ("001 0.873 note.md") and a target ("../../../note.md"), each ended by a zero
 * byte. */
int search_write_links(const struct memory_answer *answer, char **text, size_t *length);

/* Model, number of memories, how many wait: lines of a word and a value. */
int search_write_status(struct fs *fs, char **text, size_t *length);

/* The computed attributes user.mneme.*: `which` is what stands behind SEARCH_XATTR. *text is of
 * alloc_get(). SEARCH_XATTR_OTHER: not one of them, it may be a stored one. -ENODATA: nothing to say.
 *   state        indexed, pending, skipped: why, error: why
 *   similar      files like this one, as search_write_text()
 *   vector       the first passage's vector, little-endian f32
 *   dim, model, version   of that vector
 *   search:QUERY of a directory: the answer, as search_write_text() */
#define SEARCH_XATTR "user.mneme."
enum { SEARCH_XATTR_OTHER = 1 };
int search_xattr(struct op *op, uint64_t ino, const char *which, char **text, size_t *length);

#endif
