/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the engines that bench_engine holds ours against, behind one face. What was not found when
 *            it was built is not in the list.
 */
#ifndef MNEME_TESTS_BENCH_ENGINE_PEERS_H
#define MNEME_TESTS_BENCH_ENGINE_PEERS_H

#include <stddef.h>

enum peer_class { PEER_MEMORY, PEER_BUFFERED, PEER_STRICT };

/* A store in a directory (or file) that does not exist yet. Errors end the program. */
struct peer {
	const char *name;
	void *(*open)(const char *path, enum peer_class class);
	void (*put)(void *store, const void *key, size_t key_length, const void *value,
		    size_t length);
	int (*get)(void *store, const void *key, size_t key_length, void *value, size_t capacity);
	void (*close)(void *store);
};

/* NULL-terminated. */
extern const struct peer *const peers[];

#endif
