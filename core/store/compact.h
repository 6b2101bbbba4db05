/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   takes what was deleted or overwritten out of the store's files: after it no byte of that is
 *            in them any more.
 *
 * Where such bytes are, and what is done:
 *   free pages of the heap, and what is behind it      overwritten with zeros
 *   dead cells of pages that an older version wrote    the pages are written anew (page_squeeze)
 *   separators of inner pages: parts of removed keys   made anew of keys that are there
 *   the dictionary: samples of texts                   all values are unpacked, and it goes; the
 *                                                      packer trains another one later
 *   log segments                                       the log goes on in a fresh one; of the
 *                                                      others two are overwritten, the rest goes
 * Pages are not punched out: their room on the disk is promised to the checkpoints (heap.h).
 * Invariants: what a key holds never changes. Only pages that nobody reaches are overwritten: those that
 *            heap_alloc() could hand out, while they are claimed and no checkpoint runs. A crash
 *            leaves a store with all that is in it; run it again then.
 *            What is deleted while it runs is for the next one.
 * Threading: any thread without a shard lock; one at a time, others wait. Operations go on meanwhile.
 * Failure:   -EROFS, -ENOSPC, -ENOMEM, -EIO, -EUCLEAN: it is not done, nothing is lost.
 */
#ifndef MNEME_CORE_STORE_COMPACT_H
#define MNEME_CORE_STORE_COMPACT_H

#include "core/store/store.h"

int compact_run(struct mneme *m, struct mneme_compacted *out);

#endif
