/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   values that are not in their leaf as they are: reading, compressing, copying into the dirty
 *            arena.
 * Invariants: a cell of up to FMT_CELL_MAX bytes holds its value itself; a longer value is a run of
 *            pages, single ones on a full disk, or lies packed in its leaf (packing.h). Compressed values
 *            are verified before (stored bytes) and after (plain bytes). What is changed in part gets a
 *            slot of the arena first.
 * Threading: as tree.h. The decompression buffer belongs to the thread.
 */
#ifndef MNEME_CORE_STORE_VALUE_H
#define MNEME_CORE_STORE_VALUE_H

#include "core/store/tree.h"

/* True when a value of that length has to lie outside of the leaf. */
static inline int value_is_indirect(uint32_t key_length, uint64_t length)
{
	return 2 + key_length + length > FMT_CELL_MAX;
}

/* Length of the value that an indirect or packed payload stands for, as the disk says it. */
static inline uint32_t value_length(const uint8_t *payload, enum page_kind kind)
{
	struct fmt_value value;
	struct fmt_packed packed;

	if (kind == PAGE_PACKED) {
		memcpy(&packed, payload, sizeof packed);
		return packed.length;
	}
	memcpy(&value, payload, sizeof value);
	return value.length;
}

/* The plain bytes of the leaf's value at the path: valid until the thread reads another value or
 * brief leaf (tree_find). NULL: *error. */
const uint8_t *value_read(struct mneme *m, const struct fmt_page *leaf, unsigned position,
			  uint32_t *length, int *error);

/* Arena pages that value_own may take for a value of the present length that becomes `length`. */
uint32_t value_pages(uint32_t length);
/* Makes the indirect or packed value at the path writable with room for `length` bytes: it is indirect
 * then, its content unchanged.
 * Returns its memory, or NULL with *error. */
uint8_t *value_own(struct mneme *m, struct shard *s, struct tree_path *path, uint32_t length,
		   struct budget *budget, int *error);

/* Apply functions: cannot fail after preparation. */
void value_put(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
	       const void *value, uint32_t length, struct budget *budget);
/* The same for a value that is in its run already (runs.h). */
struct commit_op;
void value_put_run(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
		   const struct commit_op *op, struct budget *budget);
void value_patch(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
		 uint32_t offset, const void *data, uint32_t length, struct budget *budget);
void value_truncate(struct mneme *m, struct shard *s, struct tree_path *path, struct page_key key,
		    uint32_t length, struct budget *budget);

/* Compresses `length` bytes into `out` (as large as the input): the stored length, or 0 when it does
 * not save a page. */
uint32_t value_compress(const void *plain, uint32_t length, void *out);

#endif
