/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   durability of ranges of inodes, for operations that do not say theirs; kept in the store.
 * Invariants: where ranges overlap the narrowest holds, of equally narrow ones the strictest: so it does
 *            not matter in which order they were set, or loaded. A range is what is stored under its
 *            first inode; it is in force once that is durable.
 * Threading: all functions but ranges_load are thread-safe.
 */
#ifndef MNEME_CORE_STORE_RANGES_H
#define MNEME_CORE_STORE_RANGES_H

#include "core/store/store.h"

/* `asked`, or if that is the default the strictest that an inode of [first, last] has. */
enum mneme_durability ranges_durability(struct mneme *m, uint64_t first, uint64_t last,
					enum mneme_durability asked);
/* When a store is opened. */
int ranges_load(struct mneme *m, struct mneme_error *error);

#endif
