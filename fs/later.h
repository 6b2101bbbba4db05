/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   requests that wait for something slow (an embedder, a compaction) are finished by threads of
 *            their own, so that others of the same core go on: over io_uring one thread takes all
 *            requests of a core (uring.h). With the classic transport they stay where they are, with one
 *            of its workers.
 * Invariants: what libfuse gave to the handler stays valid until the answer, but for its struct
 *            fuse_file_info. A request is answered once, by who has it.
 * Threading: threads are started when there is work and none is free, and stay.
 * Failure:   who cannot hand a request over does its work at once.
 */
#ifndef MNEME_FS_LATER_H
#define MNEME_FS_LATER_H

#include "fs/fs.h"

/* As many requests can wait at once, of all cores. */
enum { LATER_MAX = 512, LATER_ARGS = 512 };

struct later_stats {
	uint64_t total; /* requests that were handed over */
	uint32_t now;   /* of these, not answered yet */
};

int later_new(struct later **out);
/* When no request is open any more. NULL: nothing. */
void later_free(struct later *later);
void later_read_stats(struct later *later, struct later_stats *out);

/* Hands the rest of a request over: `run` will be called with a copy of `args` and is to answer as a
 * handler does. 1: the handler returns now, and leaves the request alone. 0: it has to do that itself. */
int later_run(struct op *op, void (*run)(struct op *op, const void *args), const void *args,
	      size_t size);

#endif
