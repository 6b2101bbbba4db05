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
/* A chain's two results (as of the kernel, the sync's -ECANCELED where it did not run) into the
 * answer of write_sync; writes and syncs what a broken chain left. Public for the results that no
 * kernel gives on demand. */
int uring_finish_chain(struct io_file *file, const void *data, size_t length, uint64_t offset,
		       int32_t wrote, int32_t synced);
/* Calls `hook` behind every broken chain, before the rest is written. NULL removes it. */
void uring_on_broken_chain(struct io *io, void (*hook)(void *arg), void *arg);

#endif
