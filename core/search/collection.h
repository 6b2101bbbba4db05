/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a collection of vectors together with its index: one door for those who keep memories.
 *            Small ones are scanned; large ones get an index, built aside while the collection goes
 *            on being used, and without the dead rows.
 * Invariants: a search sees every vector put before it. collection_vectors() may be another object
 *            after collection_build_end(): then rows are renumbered.
 * Threading: searches may run together; put, stage, delete, follow and build_end exclude all else,
 *            build_begin and build_follow exclude changes. build_run() needs no lock at all: it works
 *            on what build_begin() took. At most one build at a time; no collection_seal_end()
 *            between build_begin() and build_end(). collection_tend() sees to all of this.
 * Failure:   0 or -errno. A vector that was put stays put if the index cannot take it for lack of
 *            memory: then the index is given up, and searches scan until the next build.
 */
#ifndef MNEME_CORE_SEARCH_COLLECTION_H
#define MNEME_CORE_SEARCH_COLLECTION_H

#include "core/search/index/index.h"

#include <pthread.h>

struct collection;
struct collection_build;

int collection_new(const struct vectors_config *config, struct collection **out);
/* Takes over vectors that were loaded, and an index of them (NULL: none yet). */
int collection_adopt(struct vectors *v, struct index *ix, struct collection **out);
void collection_free(struct collection *c); /* accepts NULL */

/* Adds or replaces a vector, while nothing is staged; deletes as vectors.h. What an index under
 * construction misses is put in when it takes over. */
int collection_put(struct collection *c, uint64_t owner, uint32_t part, uint64_t version,
		   const float *vector);
unsigned collection_delete(struct collection *c, uint64_t owner);
unsigned collection_delete_part(struct collection *c, uint64_t owner, uint32_t part);

/* Many vectors of one owner that has none: `count`, parts from `part` on, in as many calls as one likes,
 * between which nothing else is put. No search finds them before _stage_end() with keep 1, and then
 * all; with keep 0 (as after a failure, or where the owner was deleted meanwhile) they are gone. An index
 * has them after collection_follow(); they are scanned until then. */
int collection_stage(struct collection *c, uint64_t owner, uint32_t part, uint64_t version,
		     const float *vectors, uint32_t count);
uint32_t collection_staged(const struct collection *c); /* how many are */
void collection_stage_end(struct collection *c, int keep);
/* Puts at most `most` vectors that the index does not have into it. 1: there are more; 0; or -errno. */
int collection_follow(struct collection *c, uint32_t most);
uint32_t
collection_behind(const struct collection *c); /* how many it does not have; 0 without one */

/* As index_search(); exact while there is no index. */
int collection_search(const struct collection *c, const struct index_query *query,
		      struct search_hit *hits, unsigned *count, int *partial);

/* The finer codes of an index that is built from now on; at first none. */
void collection_set_quantizer(struct collection *c, enum quantizer_kind quantizer);

/* For flat_score_owners(), flat_background(), vectors_get() and statistics; borrowed. */
const struct vectors *collection_vectors(const struct collection *c);
const struct index *collection_index(const struct collection *c); /* NULL: none */

/* As vectors_seal_end(); vectors_seal_begin() and vectors_save_table() take collection_vectors(). */
void collection_seal_end(struct collection *c, struct vectors_seal *seal, int error);

/* Whether a build is worth its time: there is no index and INDEX_FLAT_ROWS rows live, they doubled
 * since it was trained, or a third of all rows is dead. */
int collection_wants_build(const struct collection *c);
uint32_t collection_dead(const struct collection *c); /* rows that a build leaves out */
/* `always`: rows move, and no dead one stays; else where few are dead they stay where they are. */
int collection_build_begin(const struct collection *c, int always, struct collection_build **out);
/* Takes seconds where there are many rows. `threads` to build with. Once *cancel (may be NULL; valid
 * until build_end()) is not 0, soon -ECANCELED, there too. */
int collection_build_run(struct collection_build *b, unsigned threads, const _Atomic int *cancel);
/* Brings a part of what changed meanwhile to the result, so that build_end() has little to bring: 1:
 * there is more; 0; or -errno for build_end(). Changes nothing that others see. */
int collection_build_follow(struct collection_build *b, const struct collection *c);
/* Brings the rest of it, and goes over to the result. Frees the build, also after an error
 * of build_run() (`error` != 0: nothing else is done) and of its own: then all stays as it was. */
int collection_build_end(struct collection *c, struct collection_build *b, int error);

/* All work of that kind that is due, or (`always`) a build in any case, beside searches and changes:
 * takes `lock`, which guards the collection, for moments. `cancel` as above. 1: another index is in use;
 * 0; or -errno. One call at a time. */
int collection_tend(struct collection *c, pthread_rwlock_t *lock, int always,
		    const _Atomic int *cancel);

#endif
