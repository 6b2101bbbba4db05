/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the form of values that lie packed in their leaf, the dictionary that they are packed
 *            with, and the contexts of zstd. What is packed, and when, is packer.h.
 *
 * The dictionary: a store of small texts has one, trained on them, number FMT_DICTIONARY. It never
 *            changes. A checkpoint writes it, twice, into runs that only the superblock refers to;
 *            nothing is packed before that is durable. One copy is enough to read.
 * Invariants: packing_make() gives nothing that packing_read() does not turn into the same bytes
 *            again. Nothing decoded is taken on trust: lengths are bounded and the plain bytes have
 *            their CRC.
 * Threading: packing_make() and packing_adopt(): one thread, the packer; packing_unwritten() and
 *            packing_written(): the checkpoint; the others: any. Contexts are kept, so a warm read
 *            allocates nothing.
 * Failure:   -EUCLEAN: damaged, or the dictionary is; -ENOMEM.
 */
#ifndef MNEME_CORE_STORE_PACKING_H
#define MNEME_CORE_STORE_PACKING_H

#include "core/store/store.h"

struct packing;

enum packing_state {
	PACKING_NONE,    /* there is no dictionary */
	PACKING_NEW,     /* the next checkpoint writes it */
	PACKING_DURABLE, /* values may be packed */
	PACKING_LOST,    /* no copy of it can be read */
};

int packing_new(struct packing **out);
/* Accepts NULL. */
void packing_free(struct packing *p);
/* Reads the dictionary that the superblock names. A damaged one is PACKING_LOST and no failure: all
 * that is not packed can be read. */
int packing_load(struct mneme *m);
enum packing_state packing_state(const struct packing *p);

/* Takes a dictionary over for a store without one; heap pages are promised for it. -EINVAL: zstd
 * does not take it; -ENOSPC, -ENOMEM. */
int packing_adopt(struct mneme *m, const void *dictionary, uint32_t length);
/* The dictionary where a copy of it is still to be written into super->dictionary; NULL: none is.
 * Borrowed, for good. */
const uint8_t *packing_unwritten(const struct mneme *m, const struct fmt_super *super,
				 uint32_t *length);
/* `super` is durable. */
void packing_written(struct packing *p, const struct fmt_super *super);

/* Forgets the dictionary, in memory and in m->super; nothing is packed, and its pages are given up.
 * [run of the checkpoint; no packing_make() meanwhile] */
void packing_drop(struct mneme *m);

/* Decompresses `stored` bytes into exactly `length` bytes: 0, -EUCLEAN, -ENOMEM. */
int packing_decompress(struct packing *p, const void *from, uint32_t stored, void *out,
		       uint32_t length);
/* Reads a cell's payload of `bytes` bytes into `out` (FMT_PACKED_LENGTH_MAX): 0 and *length,
 * -EUCLEAN, -ENOMEM. */
int packing_read(struct packing *p, const uint8_t *payload, uint32_t bytes, uint8_t *out,
		 uint32_t *length);
/* Packs a value of up to FMT_PACKED_LENGTH_MAX bytes into at most `room` (<= FMT_CELL_MAX) bytes of
 * `out`: the payload's length, or 0 when it does not fit. */
uint32_t packing_make(struct packing *p, const uint8_t *plain, uint32_t length, uint32_t room,
		      uint8_t *out);

#endif
