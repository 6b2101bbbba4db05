/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what spaces.c and spaces_file.c share.
 */
#ifndef MNEME_CORE_MEMORY_SPACES_INSIDE_H
#define MNEME_CORE_MEMORY_SPACES_INSIDE_H

#include "core/memory/spaces.h"
#include "core/search/collection.h"

#include <pthread.h>

struct space {
	struct spaces_file is;         /* [I] */
	struct collection *vectors;    /* [I]; what it holds: [lock] */
	enum quantizer_kind quantizer; /* [lock] */
};

struct spaces {
	pthread_mutex_t put; /* one file at a time; taken before `lock` */
	pthread_rwlock_t lock;
	_Atomic uint64_t changes;        /* [A] */
	unsigned count;                  /* [lock] only grows, and what is below stays */
	struct space spaces[SPACES_MAX]; /* [lock] */
	struct space *into;              /* [put] what the file's rows are put into */
	uint64_t putting; /* [lock] the file; 0: it went meanwhile, or there is none */
};

#endif
