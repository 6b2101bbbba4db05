/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the replay of the log when a store is opened.
 */
#ifndef MNEME_CORE_STORE_RECOVER_H
#define MNEME_CORE_STORE_RECOVER_H

#include "core/store/store.h"

/* Applies everything behind the checkpoint's LSN. *end receives the LSN where the log ends, *sequence
 * its highest segment number. Unless the store is read-only it may make checkpoints on the way. */
int recover_replay(struct mneme *m, uint64_t *end, uint64_t *sequence);

#endif
