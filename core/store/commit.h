/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the one way into the store: a list of operations, applied and logged as one.
 * Invariants: either all operations take effect and are in one log record, or none. Resources are
 *            promised first (log buffer, arena, heap space), paths are prepared, then nothing fails.
 * Threading: the caller holds all shards of the operations for writing.
 * Failure:   -EAGAIN log buffer full, -ENOBUFS arena full, -ENOSPC heap full, -EINPROGRESS unlogged
 *            changes of the same keys have to be durable first: unlock, call commit_make_room() with
 *            that, try again. Else -ENOMEM, -EUCLEAN, -EIO, -EROFS, -E2BIG.
 */
#ifndef MNEME_CORE_STORE_COMMIT_H
#define MNEME_CORE_STORE_COMMIT_H

#include "core/store/store.h"

enum {
	COMMIT_OPS_MAX = 16384,
	COMMIT_BYTES_MAX = 16 << 20,
	COMMIT_RANGE_KEYS_MAX = 1 << 22, /* 32 MiB of what they free, in memory */
};

struct commit_op {
	uint8_t kind;          /* enum fmt_op_kind */
	struct mneme_key key;  /* of a range: the first */
	struct mneme_key last; /* of a range: behind the last key */
	const void *value;
	uint32_t length;  /* of value */
	uint32_t offset;  /* of a patch; new length of a truncate */
	uint32_t run_crc; /* of the value in its run */
	uint64_t run;     /* where a value was put that the log only names (runs.h); 0: nowhere */
};

/* With `log` 0 nothing is logged, unless a shard does for the time being (unlogged.h). *lsn receives the
 * position behind the record (0: not logged). */
int commit_apply(struct mneme *m, struct commit_op *ops, uint32_t count, unsigned flags, int log,
		 uint64_t *lsn);
/* For replay: no log, no limits but memory. */
int commit_replay(struct mneme *m, const struct commit_op *op);
/* Puts a value that lies in a run of its own back into its leaf, packed: `packed` has `length` bytes, a
 * fmt_packed and its frame. What the key holds stays the same, so nothing is logged and no transaction
 * sees a change. -ESTALE: the value is not `was` any more. Takes the shard's lock itself. */
int commit_pack(struct mneme *m, struct page_key key, const struct fmt_value *was,
		const void *packed, uint32_t length);
/* Has the pages on the way to a key written anew, with the separator left of its leaf made of a key
 * that is there; a packed value gets a slot of its own. What the key holds stays the same, as
 * above. 0 also when there is no such key. */
int commit_renew(struct mneme *m, struct page_key key);
/* After so many tries on a full disk, this thread's last transaction is refused. */
int commit_gives_up(int tries);
/* Called without locks after one of the four codes above, with that code, by the thread that met it:
 * 0 to try again, or why it is of no use. */
int commit_make_room(struct mneme *m, int why);
/* Empties the arena; sees to it that so many heap pages are free. */
int commit_make_arena_room(struct mneme *m);
int commit_make_heap_room(struct mneme *m, uint64_t pages);
static inline int commit_durability_is_known(enum mneme_durability durability)
{
	return (unsigned)durability <= MNEME_DURABILITY_STRICT;
}
/* How many there were since the open, logged or not: another number after each. It is counted before the
 * locks are given up. */
uint64_t commit_count(struct mneme *m);
/* After unlocking: notes the position for mneme_lsn_last(), and wakes the background where it is due. */
void commit_done(struct mneme *m, uint64_t lsn);
/* Lock, apply, unlock, finish for operations of one shard, with room made as needed. */
int commit_single(struct mneme *m, struct commit_op *op, enum mneme_durability durability);

#endif
