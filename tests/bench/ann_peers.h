/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   indexes, ours and those of other libraries, behind one C interface, for bench_ann. Squared
 *            L2 distance throughout.
 *            A library that is not compiled in comes as a shared object in the folder that
 *            ANN_PEERS_DIR names: each *.so there that has a symbol ann_peers as below is taken.
 * Threading: searches may run together; add excludes them.
 * Failure:   build returns NULL when the library refuses.
 */
#ifndef MNEME_TESTS_BENCH_ANN_PEERS_H
#define MNEME_TESTS_BENCH_ANN_PEERS_H

#include <stddef.h>
#include <stdint.h>

struct ann_peer {
	const char *name;
	/* Of `count` rows with ids from 0; `room` more may be added. */
	void *(*build)(const float *base, size_t count, size_t room, size_t dim, unsigned threads);
	/* The k nearest of one query; unused places are UINT32_MAX. */
	void (*search)(void *index, const float *query, unsigned k, unsigned effort,
		       unsigned rerank, uint32_t *ids);
	void (*add)(void *index, const float *vector, uint32_t id); /* NULL: not measured */
	void (*release)(void *index);
	size_t (*bytes)(void *index); /* vectors included */
	const unsigned *efforts;      /* to sweep, ended by 0 */
	const unsigned *reranks;      /* the same; {1, 0} where there is nothing to choose */
};

/* A list that ends with a NULL name. */
extern const struct ann_peer ann_peers[];

#endif
