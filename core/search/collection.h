/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a collection of vectors together with its index: one door for those who keep memories.
 *            Small ones are scanned; large ones get an index, built aside while the collection goes
 *            on being used, and without the dead rows.
 * Invariants: a search sees every vector put before it. collection_vectors() is another object
 *            after collection_build_end(): rows are then renumbered.
 * Threading: searches may run together; put, delete and build_end exclude all else, build_begin
 *            and build_follow exclude changes. build_run() needs no lock at all: it works on what
 *            build_begin() took. At most one build at a time; no collection_seal_end() between
 *            build_begin() and build_end().
 * Failure:   0 or -errno. A vector that was put stays put if the index cannot take it for lack of
 *            memory: then the index is given up, and searches scan until the next build.
 */
#ifndef MNEME_CORE_SEARCH_COLLECTION_H
#define MNEME_CORE_SEARCH_COLLECTION_H

#include "core/search/index/index.h"

struct collection;
struct collection_build;

int collection_new(const struct vectors_config *config, struct collection **out);
/* Takes over vectors that were loaded, and an index of them (NULL: none yet). */
int collection_adopt(struct vectors *v, struct index *ix, struct collection **out);
void collection_free(struct collection *c); /* accepts NULL */

/* Adds or replaces a vector; deletes as vectors.h. What an index under construction misses is put in
 * when it takes over. */
int collection_put(struct collection *c, uint64_t owner, uint32_t part, uint64_t version,
		   const float *vector);
unsigned collection_delete(struct collection *c, uint64_t owner);
unsigned collection_delete_part(struct collection *c, uint64_t owner, uint32_t part);

/* As index_search(); exact while there is no index. */
int collection_search(const struct collection *c, const struct index_query *query,
		      struct search_hit *hits, unsigned *count, int *partial);

/* For flat_score_owners(), flat_background(), vectors_get() and statistics; borrowed. */
const struct vectors *collection_vectors(const struct collection *c);
const struct index *collection_index(const struct collection *c); /* NULL: none */

/* As vectors_seal_end(); vectors_seal_begin() and vectors_save_table() take collection_vectors(). */
void collection_seal_end(struct collection *c, struct vectors_seal *seal, int error);

/* Whether a build is worth its time: there is no index and INDEX_FLAT_ROWS rows live, they doubled
 * since it was trained, or a third of all rows is dead. */
int collection_wants_build(const struct collection *c);
int collection_build_begin(const struct collection *c, struct collection_build **out);
/* Takes seconds where there are many rows. `threads` to build with. Once *cancel (may be NULL; valid
 * until build_end()) is not 0, soon -ECANCELED, there too. */
int collection_build_run(struct collection_build *b, unsigned threads, const _Atomic int *cancel);
/* Brings a part of what changed meanwhile to the result, so that build_end() has little to bring: 1:
 * there is more; 0; or -errno for build_end(). Changes nothing that others see. */
int collection_build_follow(struct collection_build *b, const struct collection *c);
/* Brings the rest of it, and goes over to the result. Frees the build, also after an error
 * of build_run() (`error` != 0: nothing else is done) and of its own: then all stays as it was. */
int collection_build_end(struct collection *c, struct collection_build *b, int error);

#endif
