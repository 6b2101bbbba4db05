/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   transactions: read set, write set, validation. The public side is in core/mneme.h.
 * Invariants: writes stay in the transaction until commit. An optimistic transaction remembers for
 *            each read key a hash of what it saw, and for each scan one of the whole range; at commit
 *            they are computed again under the locks. Reads are compared by value: a value that was
 *            changed and changed back is no conflict, which is serialisable all the same.
 * Threading: a transaction belongs to one thread; the pool has a lock.
 */
#ifndef MNEME_CORE_STORE_TXN_H
#define MNEME_CORE_STORE_TXN_H

#include "core/store/store.h"

int txn_pool_new(struct mneme *m);
void txn_pool_free(struct mneme *m);

#endif
