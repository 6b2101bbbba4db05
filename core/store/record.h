/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a transaction as the log has it: one record of its operations (fmt.h).
 * Threading: record_append: the caller holds the shards of the operations.
 */
#ifndef MNEME_CORE_STORE_RECORD_H
#define MNEME_CORE_STORE_RECORD_H

#include "core/store/commit.h"

/* *bytes receives the length of the record. -E2BIG: there is none so long. */
int record_measure(const struct commit_op *ops, uint32_t count, uint32_t *bytes);
/* Appends it; `promised` bytes were, for all values in it. The bytes of those that have runs stay
 * pending. The LSN behind it. */
uint64_t record_append(struct mneme *m, const struct commit_op *ops, uint32_t count,
		       uint32_t promised);

#endif
