/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   looks for a memory that should be forgotten: in the keys of a store, in pages and blocks of
 *            the log that nothing refers to any more, and by its marks in all bytes of the store's files.
 * Invariants: nothing is written. Any bytes are safe: pages and blocks count only where their checksums
 *            are right; what is damaged is looked at as bytes.
 * Threading: one thread; nobody else may write to the store meanwhile.
 * Failure:   0 when all could be looked at, else -errno.
 */
#ifndef MNEME_CORE_STORE_CHECK_FORGOTTEN_H
#define MNEME_CORE_STORE_CHECK_FORGOTTEN_H

#include "core/store/io.h"
#include "core/store/receipt.h"

enum { FORGOTTEN_REPORTED_MAX = 20 };

struct forgotten {
	const struct mneme_receipt *receipt; /* sealed */
	mneme_check_report *report;          /* or NULL */
	void *arg;
	struct mneme_forgotten *result;
	uint32_t reported[FORGOTTEN_REPORTED_MAX]; /* checksums of the sentences */
	unsigned reported_count;
};

/* `io` and `engine` are of the same store; the engine is open for reading. Adds to *f->result. */
int check_forgotten(struct forgotten *f, struct io *io, struct mneme *engine);
/* One finding: counted, and reported if it is one of the first sentences, and a new one. */
void check_forgotten_find(struct forgotten *f, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
