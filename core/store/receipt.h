/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the receipt of a memory that is forgotten (core/mneme.h): marks of what it held, and the
 *            search for them in other bytes.
 *
 *   A mark is the 64-bit hash of `window` bytes: the sum (xor) over its bytes of a number that the salt
 *   gives to the byte's value, rotated by its distance from the window's end. So the hash of the next
 *   window follows from that of this one (Cohen 1997, "Recursive hashing functions for n-grams"), and
 *   every offset of a store can be compared in one pass. What was held is marked in windows that lie
 *   side by side, and in the last one: each copy of 2 * window - 1 bytes of it has a whole marked
 *   window.
 *
 * Text form: lines, "mnemefs-receipt 1", "store UUID", "memory N", "window N", "salt S", "marks N", then
 *            N lines of 16 hexadecimal digits, ascending, then "end".
 * Invariants: windows of fewer than RECEIPT_DISTINCT different bytes are not marked, because they are
 *            everywhere. Marks are sorted and unique once receipt_seal() was called.
 * Threading: plain data.
 * Failure:   -ENOMEM; -EINVAL: a text that is no receipt.
 */
#ifndef MNEME_CORE_STORE_RECEIPT_H
#define MNEME_CORE_STORE_RECEIPT_H

#include "core/mneme.h"

enum {
	RECEIPT_WINDOW = 32,
	RECEIPT_WINDOW_LEAST = 8, /* of a text that is shorter than a window */
	RECEIPT_DISTINCT = 5,
	RECEIPT_MARKS_MAX =
		1 << 16, /* of one range of bytes; of a longer one some windows are marked */
};

struct mneme_receipt {
	uint8_t uuid[16];
	uint64_t memory, salt;
	uint32_t window;
	uint64_t *marks;
	size_t count, capacity;
	uint64_t numbers[256]; /* what the salt gives to each byte */
};

/* Sorts the marks, and makes them unique. */
void receipt_seal(struct mneme_receipt *r);

/* Looks for the marks of a sealed receipt in bytes that come in pieces. */
struct receipt_seeker {
	const struct mneme_receipt *receipt;
	uint64_t *filter; /* a bit for each value of a hash's upper bits */
	uint64_t hash;
	uint32_t filled, at;
	uint8_t window[RECEIPT_WINDOW];
};

int receipt_seeker_init(struct receipt_seeker *s, const struct mneme_receipt *r);
void receipt_seeker_fini(struct receipt_seeker *s);
/* What comes next does not follow what was there. */
void receipt_seeker_break(struct receipt_seeker *s);
/* Calls found(arg, mark) with the index of each mark that ends in these bytes. */
void receipt_seek(struct receipt_seeker *s, const void *bytes, size_t length,
		  void (*found)(void *arg, size_t mark), void *arg);

#endif
