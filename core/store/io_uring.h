/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what tests and benchmarks need of io_uring.c beyond io.h.
 * Threading: the hook is set while nobody writes; counters may be read at any time.
 */
#ifndef MNEME_CORE_STORE_IO_URING_H
#define MNEME_CORE_STORE_IO_URING_H

#include "core/store/io.h"

struct uring_counts {
	uint64_t chains;    /* linked write + sync submissions */
	uint64_t broken;    /* of these: the write was short, or the sync was cancelled */
	uint64_t overflows; /* operations done by plain calls because all rings were busy */
};

enum uring_use {
	URING_LINK_WRITES = 1, /* write_sync is a linked submission (MNEME_IO=uring-linked) */
	URING_EVERY_BATCH = 2, /* batches go through a ring even where plain calls are faster */
};

/* Sets where rings are used besides the default, an or of enum uring_use. Set while nobody writes.
 */
void uring_set_use(struct io *io, unsigned use);
void uring_read_counts(const struct io *io, struct uring_counts *out);
/* Calls `hook` behind every broken chain, before the rest is written. NULL removes it. */
void uring_on_broken_chain(struct io *io, void (*hook)(void *arg), void *arg);

#endif
