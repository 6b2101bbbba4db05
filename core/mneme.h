/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmneme: the engine of mnemefs as a library.
 *
 * Purpose:   one ordered, transactional key space in a store directory, with a log and background
 *            checkpoints; on top of it versioned key-value pairs and hash-chained event logs.
 * Invariants: a transaction is there wholly or not at all, also after a crash. What was reported
 *            durable is never lost. Values returned are copies unless a function says "borrowed".
 * Threading: a `struct mneme` may be used by any number of threads. A `struct mneme_txn` belongs to
 *            one thread at a time.
 * Failure:   functions return 0 (or a count where said) or -errno. Those that callers meet:
 *              -ENOENT  no such key            -EEXIST  the key is there already
 *              -EAGAIN  conflict: try again    -ESTALE  compare-and-swap: the value is another one
 *              -ENOSPC  the disk is full       -ENOMEM  out of memory
 *                       (or a quota, or the limit of the size of a file, reached)
 *              -EROFS   read-only open, or the store went read-only after an I/O error
 *              -EUCLEAN the store's bytes are corrupt   -EIO  the disk failed
 *              -EINVAL  an argument is out of its limits  -ENAMETOOLONG, -E2BIG: key, value too long
 *              -EBUSY   another process has the store open for writing
 *              -ERANGE  the caller's buffer is too small (the needed length is reported)
 *            Functions with a `struct mneme_error` also fill a sentence with a way out; it may be NULL.
 *            A NULL where an argument is needed is -EINVAL (nothing happens where there is no result),
 *            except for the handle itself. A handle is used no more after mneme_close(), nor are
 *            transactions of it.
 * Processes: a handle belongs to the process that opened it. After fork() the child must not use it, not
 *            even to close it (its background threads and locks are not there, and it would write
 *            beside its parent): it calls exec or _exit. While such a child lives, also when the parent
 *            has ended, the store stays locked for writing.
 * Limits:    a transaction has at most 16,384 operations and 16 MiB in the log, keys and values together,
 *            and one removed range at most 2^22 keys (-E2BIG); a key and a value: see below. It has to
 *            fit into the dirty arena as a whole (-E2BIG too): a small one has room for less, and the
 *            default one for some 9,000 operations where deletes are mixed with others. A handle
 *            takes 4 TiB of address space, of which a process has 128 as a rule: some 30 handles have
 *            that; those behind them, or under a limit, take what there is, at least 4 GiB (else
 *            -ENOMEM), and their stores cannot grow beyond it.
 */
#ifndef MNEME_H
#define MNEME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MNEME_EXPORT __attribute__((visibility("default")))

enum {
	MNEME_SUBKEY_MAX = 500,   /* bytes of a sub-key */
	MNEME_VALUE_MAX = 69632,  /* bytes of a value: 64 KiB of user data and a header */
	MNEME_CHUNK_SIZE = 16384, /* bytes of a file chunk */
	MNEME_RESERVE_LEAF = 16,  /* so many that are set aside take 4 KiB more (mneme_txn_reserve) */
	MNEME_SHARDS_MAX = 64,
	MNEME_MESSAGE_SIZE = 320,
};

struct mneme;
struct mneme_txn;

/* A sentence for people, beside the errno. Always NUL-terminated. */
struct mneme_error {
	char message[MNEME_MESSAGE_SIZE];
};

enum mneme_durability {
	MNEME_DURABILITY_DEFAULT = 0, /* of the key range, else of the store */
	MNEME_DURABILITY_MEMORY,      /* applied in memory; lost in a crash since the last sync */
	MNEME_DURABILITY_BUFFERED,    /* in the log buffer: written every 100 ms or 1 MiB */
	MNEME_DURABILITY_STRICT,      /* durable when the call returns */
};

enum mneme_compression { MNEME_COMPRESSION_NONE = 0, MNEME_COMPRESSION_ZSTD = 1 };

/* Zero in a field means its default. */
struct mneme_create_options {
	uint32_t shards;        /* power of two, 1..64; default 16 */
	uint32_t segment_bytes; /* of a log segment, multiple of 4096, >= 64 KiB; default 16 MiB */
	enum mneme_durability durability;   /* default MNEME_DURABILITY_BUFFERED */
	enum mneme_compression compression; /* of out-of-line values; default none */
};

struct mneme_options {
	/* 1: changes nothing. Shows the last checkpoint and the log as they are when it is opened, and
	 * nothing that comes later; also beside a writer, and after it. As long as it is open, the
	 * pages of that state are not used again: what a writer deletes or overwrites meanwhile gives no
	 * space back before its next checkpoint after the close, and on a full disk -ENOSPC comes
	 * sooner. The close is also that of a process that dies. */
	int read_only;
	uint64_t dirty_bytes_max; /* dirty arena; default 512 MiB, 4 MiB to 64 GiB */
	/* resident bytes of the heap map, in pieces of 2 MiB (below: none that need not be); default:
	 * what the dirty arena leaves of 896 MiB, but at least 128 MiB */
	uint64_t mapped_bytes_max;
	uint32_t flush_ms;    /* group commit of `buffered`: time; default 100 */
	uint32_t flush_bytes; /* and size; default 1 MiB */
	uint32_t
		checkpoint_ms; /* a dirty store is checkpointed at least this often; default 30000 */
	enum mneme_durability durability; /* overrides the store's for this open */
	const char *io;                   /* "uring", "posix" or NULL for the better one found */
};

/* Makes a store in `directory`, which must be absent or empty (else -EEXIST/-ENOTEMPTY). */
MNEME_EXPORT int mneme_create(const char *directory, const struct mneme_create_options *options,
			      struct mneme_error *error);
/* Opens a store, recovering it if it was not closed. `options` and `error` may be NULL.
 * On success *out is owned by the caller: mneme_close(). */
MNEME_EXPORT int mneme_open(const char *directory, const struct mneme_options *options,
			    struct mneme **out, struct mneme_error *error);
/* Says that mneme_close() will follow soon: whoever opens the store meanwhile waits for it instead of
 * being refused. */
MNEME_EXPORT void mneme_closing(struct mneme *m);
/* Checkpoints and closes. Returns the first error that lost data, but always frees the handle. */
MNEME_EXPORT int mneme_close(struct mneme *m);

/* ---- keys -----------------------------------------------------------------------------------
 * Keys are ordered by (inode, type, sub-key bytes as memcmp, shorter first). The inode names the
 * shard: inode mod shards. Transactions inside one shard take one lock. */

enum mneme_type {
	MNEME_TYPE_INODE = 0x10,  /* attributes of a file */
	MNEME_TYPE_PARENT = 0x18, /* sub: parent inode, name hash: the names that lead here */
	MNEME_TYPE_XATTR = 0x20,  /* sub: name */
	MNEME_TYPE_DENTRY = 0x28, /* sub: name hash, then a discriminator */
	MNEME_TYPE_SYMLINK = 0x30,
	MNEME_TYPE_CHUNK = 0x38,     /* sub: chunk index, 8 bytes big-endian */
	MNEME_TYPE_UNWRITTEN = 0x3c, /* sub: the end of a range of chunks, 8 bytes big-endian */
	MNEME_TYPE_VECTOR = 0x40,    /* sub: part */
	MNEME_TYPE_PASSAGE = 0x44,   /* sub: part */
	MNEME_TYPE_WORDS = 0x48,
	MNEME_TYPE_USE = 0x4c,        /* how often and when a memory was used */
	MNEME_TYPE_LINK = 0x50,       /* sub: kind, place: where a file leads */
	MNEME_TYPE_EDGE = 0x52,       /* sub: inode, kind, inode: links that nobody wrote */
	MNEME_TYPE_BACKLINK = 0x54,   /* sub: inode, kind, place: what leads here */
	MNEME_TYPE_MENTION = 0x56,    /* sub: name hash, inode that has it in a link */
	MNEME_TYPE_COLLECTION = 0x58, /* settings of a directory */
	MNEME_TYPE_KV = 0x60,         /* sub: user key */
	MNEME_TYPE_LOG = 0x68,        /* sub: run, sequence */
	MNEME_TYPE_LOG_HEAD = 0x6c,   /* sub: run */
	MNEME_TYPE_SETTING = 0x70,    /* of the engine itself */
	MNEME_TYPE_ORPHAN = 0x74,     /* sub: inode: to be removed at the next mount */
	MNEME_TYPE_RESERVED = 0x76,   /* of a shard: mneme_txn_reserve() */
	MNEME_TYPE_USER = 0x80,       /* 0x80..0xff: free for programs that link the engine */
};

/* Inodes below MNEME_INODE_SYSTEM_END(shards) * 1 are the engine's: inode s of shard s holds its
 * key-value pairs, logs and settings. The root directory is the first inode of shard 0. */
struct mneme_key {
	uint64_t inode;
	const void *sub; /* borrowed for the call */
	uint16_t sub_length;
	uint8_t type;
};

/* Number of shards of this store. */
MNEME_EXPORT uint32_t mneme_shards(const struct mneme *m);
/* A new inode number of that shard; never handed out twice, also not after a crash (provided that
 * a key of it was committed). Thread-safe, no I/O. */
MNEME_EXPORT uint64_t mneme_inode_new(struct mneme *m, uint32_t shard);

/* ---- single operations ----------------------------------------------------------------------- */

/* Copies the value into `value` (capacity bytes). *length receives the value's length, also with
 * -ERANGE. `value` may be NULL with capacity 0 to ask for the length (returns 0 then). */
MNEME_EXPORT int mneme_get(struct mneme *m, const struct mneme_key *key, void *value,
			   size_t capacity, size_t *length);
MNEME_EXPORT int mneme_put(struct mneme *m, const struct mneme_key *key, const void *value,
			   size_t length, enum mneme_durability durability);
/* -ENOENT if the key is not there. */
MNEME_EXPORT int mneme_delete(struct mneme *m, const struct mneme_key *key,
			      enum mneme_durability durability);
/* Puts `value` if the present value equals `expected` (expected NULL: if the key is not there),
 * else -ESTALE. */
MNEME_EXPORT int mneme_compare_and_swap(struct mneme *m, const struct mneme_key *key,
					const void *expected, size_t expected_length,
					const void *value, size_t length,
					enum mneme_durability durability);

/* Called for each key of a scan, in order. key->sub and value are borrowed until it returns. It must not
 * call the engine, also not with another store; in a scan of a locked transaction it may read through
 * that one, after which the value is gone. Non-zero ends the scan, and is what the scan returns. */
typedef int mneme_scan_each(void *arg, const struct mneme_key *key, const void *value,
			    size_t length);
/* Keys first <= key < last that share first's shard, in order, until `limit` were given (0: all).
 * One consistent view for each 64 or so keys: between those batches writers may come in. */
MNEME_EXPORT int mneme_scan(struct mneme *m, const struct mneme_key *first,
			    const struct mneme_key *last, uint64_t limit, mneme_scan_each *each,
			    void *arg);

/* ---- transactions ----------------------------------------------------------------------------- */

enum mneme_txn_flags {
	MNEME_TXN_READ_ONLY = 1,
	MNEME_TXN_MAY_FILL = 2, /* may use the last reserve of space: for deletes on a full disk */
};

/* Optimistic: reads are remembered and validated at commit. *out comes from a pool. */
MNEME_EXPORT int mneme_txn_begin(struct mneme *m, unsigned flags, struct mneme_txn **out);
/* Locked: takes the shards of `inodes` (any order, duplicates allowed) at once and keeps them until
 * commit or abort; reads and writes are confined to those shards (-EINVAL else). For short
 * operations: no I/O and no waiting in between. A commit of it gives -EAGAIN only in the rare case
 * that memory or log space ran out in the middle, or a checkpoint had to be made (see durability), and
 * others came in between: begin anew then. */
MNEME_EXPORT int mneme_txn_begin_locked(struct mneme *m, unsigned flags, const uint64_t *inodes,
					unsigned count, struct mneme_txn **out);
/* As mneme_get, and sees this transaction's own writes. */
MNEME_EXPORT int mneme_txn_get(struct mneme_txn *txn, const struct mneme_key *key, void *value,
			       size_t capacity, size_t *length);
/* Writes are kept in the transaction until commit. `value` is copied, except that with
 * mneme_txn_put_borrowed it must stay valid until commit or abort. */
MNEME_EXPORT int mneme_txn_put(struct mneme_txn *txn, const struct mneme_key *key,
			       const void *value, size_t length);
MNEME_EXPORT int mneme_txn_put_borrowed(struct mneme_txn *txn, const struct mneme_key *key,
					const void *value, size_t length);
/* The two parts one behind the other as one value; both are copied. */
MNEME_EXPORT int mneme_txn_put_parts(struct mneme_txn *txn, const struct mneme_key *key,
				     const void *head, size_t head_length, const void *tail,
				     size_t tail_length);
/* As mneme_txn_get without copying; for locked transactions only (-EINVAL else). Borrowed until the next
 * call of this thread, also of another transaction or handle. */
MNEME_EXPORT int mneme_txn_borrow(struct mneme_txn *txn, const struct mneme_key *key,
				  const void **value, size_t *length);
/* Overwrites value bytes [offset, offset + length), growing it with zeros; makes the key if it is
 * not there. Borrowed as above. Costs `length`, not the value's size, in the log. */
MNEME_EXPORT int mneme_txn_patch_borrowed(struct mneme_txn *txn, const struct mneme_key *key,
					  size_t offset, const void *data, size_t length);
/* Cuts the value to `length` bytes if it is longer; 0 also when the key is not there. */
MNEME_EXPORT int mneme_txn_truncate(struct mneme_txn *txn, const struct mneme_key *key,
				    size_t length);
/* 0 also when the key is not there. */
MNEME_EXPORT int mneme_txn_delete(struct mneme_txn *txn, const struct mneme_key *key);
/* Keys first <= key < last of one inode's shard. */
MNEME_EXPORT int mneme_txn_delete_range(struct mneme_txn *txn, const struct mneme_key *first,
					const struct mneme_key *last);
/* Sets room on the disk aside for `values` more values of MNEME_CHUNK_SIZE in the inode's shard, or
 * (negative) gives it back: the transaction that does has it for its own writes, and all others do
 * without. Kept in the store. -ENOSPC from commit: there is not so much. */
MNEME_EXPORT int mneme_txn_reserve(struct mneme_txn *txn, uint64_t inode, int64_t values);
/* As mneme_scan inside the transaction; own writes are seen. `each` may not write. */
MNEME_EXPORT int mneme_txn_scan(struct mneme_txn *txn, const struct mneme_key *first,
				const struct mneme_key *last, uint64_t limit, mneme_scan_each *each,
				void *arg);
/* Applies and logs everything, frees the transaction whatever it returns. -EAGAIN: a read value
 * changed meanwhile, nothing was applied. */
MNEME_EXPORT int mneme_txn_commit(struct mneme_txn *txn, enum mneme_durability durability);
/* The same without waiting for the disk. *lsn is 0, or the position that mneme_sync_to() has to reach
 * before the changes are as durable as `durability` says; others may see them before that. */
MNEME_EXPORT int mneme_txn_commit_async(struct mneme_txn *txn, enum mneme_durability durability,
					uint64_t *lsn);
MNEME_EXPORT void mneme_txn_abort(struct mneme_txn *txn); /* accepts NULL */

/* Runs `body` in an optimistic transaction and commits, again after -EAGAIN with jittered
 * exponential backoff; after 8 tries it gets the right of way, so that others cannot hold it up. `body`
 * returns 0 to commit, or an -errno which aborts and is returned, but for -EAGAIN, which tries again
 * as well. After 64 tries, less than a tenth of a second of waiting, -EAGAIN is returned. `body` may
 * run several times and must use nothing of the engine but its transaction. */
typedef int mneme_txn_body(struct mneme_txn *txn, void *arg);
MNEME_EXPORT int mneme_txn_run(struct mneme *m, mneme_txn_body *body, void *arg,
			       enum mneme_durability durability);

/* ---- borrowed reads ---------------------------------------------------------------------------
 * Between begin and end the shard is held for reading: be brief, do not call anything else on it. */
MNEME_EXPORT int mneme_view_begin(struct mneme *m, uint64_t inode);
/* The value's bytes, in place where they can be; valid until the next call of this thread. */
MNEME_EXPORT int mneme_view_get(struct mneme *m, const struct mneme_key *key, const void **value,
				size_t *length);
MNEME_EXPORT int mneme_view_scan(struct mneme *m, const struct mneme_key *first,
				 const struct mneme_key *last, uint64_t limit,
				 mneme_scan_each *each, void *arg);
MNEME_EXPORT void mneme_view_end(struct mneme *m, uint64_t inode);

/* ---- durability -------------------------------------------------------------------------------
 * Operations of different durabilities may be mixed. The changes of one key become durable in the order
 * in which they were made: a `buffered` or `strict` one of a key that may have changes in memory only,
 * an event behind events of its run included, makes a checkpoint first, and the shard's `memory`
 * operations are logged like `buffered` ones until the next checkpoint but one, not counting those that
 * such changes ask for. Between different keys
 * that is not so: a `strict` change that was computed from another key, which was put with `memory`, may
 * be there after a crash without it. Put both in one transaction, give both the same durability, or call
 * mneme_sync() in between. */

/* Everything that returned before this call is durable when it returns 0. */
MNEME_EXPORT int mneme_sync(struct mneme *m);
/* Position just behind this thread's last commit; 0 if there was none or it was not logged. If it was to
 * another handle: the end of the log of this one. */
MNEME_EXPORT uint64_t mneme_lsn_last(const struct mneme *m);
/* Everything up to that position is durable when it returns 0. -EINVAL: nothing lies there yet. */
MNEME_EXPORT int mneme_sync_to(struct mneme *m, uint64_t lsn);
MNEME_EXPORT uint64_t mneme_lsn_durable(const struct mneme *m);
/* Writes everything to the heap and recycles the log; waits for it. */
MNEME_EXPORT int mneme_checkpoint(struct mneme *m);
/* Durability of inodes first <= i <= last where an operation says DEFAULT; kept in the store, and in
 * force when it returns. A range goes by its first inode: setting one again replaces it, and DEFAULT
 * removes it (0 also if it was not set). Where ranges overlap the narrowest holds, of equally narrow ones
 * the strictest, whatever the order in which they were set. A transaction is as durable as the strictest
 * of all inodes that it changes, those of a removed range of keys included. At most 64 ranges
 * (-ENOSPC). */
MNEME_EXPORT int mneme_set_durability(struct mneme *m, uint64_t first_inode, uint64_t last_inode,
				      enum mneme_durability durability);

/* ---- key-value pairs --------------------------------------------------------------------------
 * Keys 1..MNEME_SUBKEY_MAX bytes, any content. Each pair has a version: 1 when it is made, one more
 * at each put. */
MNEME_EXPORT int mneme_kv_put(struct mneme *m, const void *key, size_t key_length,
			      const void *value, size_t length, uint64_t *version,
			      enum mneme_durability durability);
MNEME_EXPORT int mneme_kv_get(struct mneme *m, const void *key, size_t key_length, void *value,
			      size_t capacity, size_t *length, uint64_t *version);
MNEME_EXPORT int mneme_kv_delete(struct mneme *m, const void *key, size_t key_length,
				 enum mneme_durability durability);
/* Puts only if the pair's version is `expected` (0: only if it is not there), else -ESTALE. */
MNEME_EXPORT int mneme_kv_swap(struct mneme *m, const void *key, size_t key_length,
			       uint64_t expected, const void *value, size_t length,
			       uint64_t *version, enum mneme_durability durability);
/* All pairs whose key begins with `prefix`, in key order over all shards. */
typedef int mneme_kv_each(void *arg, const void *key, size_t key_length, const void *value,
			  size_t length, uint64_t version);
MNEME_EXPORT int mneme_kv_scan(struct mneme *m, const void *prefix, size_t prefix_length,
			       uint64_t limit, mneme_kv_each *each, void *arg);
/* The same from behind the key `after` on (after_length 0: from the first), to go on with a listing. */
MNEME_EXPORT int mneme_kv_scan_after(struct mneme *m, const void *prefix, size_t prefix_length,
				     const void *after, size_t after_length, uint64_t limit,
				     mneme_kv_each *each, void *arg);

/* ---- event logs -------------------------------------------------------------------------------
 * Append-only, one chain a run (1..255 bytes of name). Event n holds SHA-256 over (hash of n-1,
 * sequence, time, data), so that any change, loss or reordering inside a run is found. */
enum { MNEME_HASH_SIZE = 32 };
struct mneme_log_event {
	uint64_t sequence; /* from 1 */
	uint64_t time_ns;  /* since the epoch, of the append */
	uint8_t hash[MNEME_HASH_SIZE];
	const void *data; /* borrowed */
	size_t length;    /* <= MNEME_VALUE_MAX - 64 */
};
/* -EUCLEAN: the run's head is not that of its last event; nothing is chained behind it. */
MNEME_EXPORT int mneme_log_append(struct mneme *m, const void *run, size_t run_length,
				  const void *data, size_t length, uint64_t *sequence,
				  enum mneme_durability durability);
typedef int mneme_log_each(void *arg, const struct mneme_log_event *event);
/* Events from `sequence` on, in order. `each` must not call the engine. */
MNEME_EXPORT int mneme_log_replay(struct mneme *m, const void *run, size_t run_length,
				  uint64_t sequence, mneme_log_each *each, void *arg);
/* Recomputes the chain up to the run's head, which holds the number and the hash of the last event.
 * -EUCLEAN: *bad receives the first sequence that does not fit: of an event that is another one, or is
 * missing, or lies behind the head, or has not the hash that the head says. *count receives the number
 * of events that fit each other. Both may be NULL. -ENOENT: no such run. */
MNEME_EXPORT int mneme_log_verify(struct mneme *m, const void *run, size_t run_length,
				  uint64_t *count, uint64_t *bad);
/* Calls `each` for every run: name and number of events. `each` must not call the engine. */
typedef int mneme_log_run(void *arg, const void *run, size_t run_length, uint64_t events);
MNEME_EXPORT int mneme_log_runs(struct mneme *m, mneme_log_run *each, void *arg);

/* ---- state ------------------------------------------------------------------------------------ */

struct mneme_stats {
	uint64_t heap_bytes;      /* size of the heap file */
	uint64_t heap_free_bytes; /* of it, free */
	uint64_t disk_free_bytes; /* of the filesystem below */
	uint64_t log_free_bytes;  /* what the log gives back to it when it is full */
	uint64_t kept_bytes;      /* of all these, for what frees space: MNEME_TXN_MAY_FILL */
	uint64_t disk_total_bytes;
	uint64_t dirty_bytes; /* dirty arena in use */
	uint64_t dirty_bytes_max;
	uint64_t lsn_next, lsn_durable, lsn_checkpoint; /* log positions, bytes */
	uint64_t epoch;
	uint64_t commits, conflicts, log_bytes, log_flushes; /* each flush is one sync */
	uint64_t checkpoints, checkpoint_pages, checkpoint_ns_last, freeze_ns_last, freeze_ns_max;
	uint64_t pages_verified, replayed_records, replayed_bytes, open_ns;
	uint64_t packed_values, packed_saved_bytes; /* small values packed since it was opened */
	int read_only; /* 0, or the errno (positive) that made the store read-only */
	char io[8];    /* "uring", "posix", "sim" */
};
MNEME_EXPORT void mneme_get_stats(const struct mneme *m, struct mneme_stats *out);
MNEME_EXPORT void mneme_uuid(const struct mneme *m, uint8_t out[16]);

/* ---- check ------------------------------------------------------------------------------------ */

enum mneme_check_flags {
	MNEME_CHECK_REPAIR = 1,
	MNEME_CHECK_LOSE_NOTHING = 2, /* with REPAIR: only what loses no byte that can be read */
};
/* A finding: a sentence, and whether it was repaired. */
typedef void mneme_check_report(void *arg, const char *finding, int repaired);
struct mneme_check_result {
	uint64_t pages, values, keys; /* looked at */
	uint64_t findings, repaired;
	uint64_t beyond; /* of the findings: nothing repairs them */
};
/* Checks a store that nobody has open for writing (-EBUSY else). Without MNEME_CHECK_REPAIR nothing
 * is changed; nor with it while somebody has the store open for reading. 0: it could be checked, see
 * result->findings. */
MNEME_EXPORT int mneme_check(const char *directory, unsigned flags, mneme_check_report *report,
			     void *arg, struct mneme_check_result *result,
			     struct mneme_error *error);

/* ---- memories of a store that is not mounted ---- */

struct mneme_memory;

/* The searchable texts of an open store that a mount has filled; with `read_only` none that waits is
 * embedded. `directory` is that of the store, for its model file ($MNEME_MODEL goes first). */
MNEME_EXPORT int mneme_memory_open(struct mneme *m, const char *directory, int read_only,
				   struct mneme_memory **out, struct mneme_error *error);
/* Before mneme_close(). Accepts NULL. */
MNEME_EXPORT void mneme_memory_close(struct mneme_memory *memory);

enum mneme_answer { MNEME_ANSWER_JSON = 0, MNEME_ANSWER_TEXT = 1 };

/* Searches below `directory`, a path of the store ("" or "/": all). The request (`length` bytes) is
 * a line of words and options or a JSON object, and the answer what a mount answers to it in
 * `.mneme/search/REQUEST.json` or `.txt`; nobody's permissions are asked. *answer (*answer_length bytes)
 * is the caller's: mneme_free(). A JSON object with "recall" asks for what files bring to mind (see
 * docs/search.md; -EAGAIN: too many at once). -EINVAL, -E2BIG: `error` says what is wrong with the
 * request; -ENOENT, -ENOTDIR: the directory; -ENODATA: the file to be like has no vector. Thread-safe. */
MNEME_EXPORT int mneme_memory_search(struct mneme_memory *memory, const char *directory,
				     const char *request, size_t length, enum mneme_answer form,
				     char **answer, size_t *answer_length,
				     struct mneme_error *error);
MNEME_EXPORT void mneme_free(void *memory); /* accepts NULL */

/* ---- compaction ---- */

struct mneme_compacted {
	uint64_t cleaned_bytes; /* of the heap, overwritten */
	uint64_t
		kept_bytes; /* that a program may still read that has the store open read-only: run it
	                           again when that has ended */
};
/* Takes what was deleted or overwritten before the call out of the store's files: no byte of it is
 * in them afterwards, but for what kept_bytes says. `memory`: that of the same store (NULL: it has
 * none open; what STORE/index/ has is then removed, and made again by the next mount). Operations
 * go on meanwhile. `out` may be NULL. 0; -EROFS, -ENOSPC, -EIO, -EUCLEAN: it was not finished, and
 * nothing is lost; likewise after a crash. */
MNEME_EXPORT int mneme_compact(struct mneme *m, struct mneme_memory *memory,
			       struct mneme_compacted *out);

/* ---- forgotten memories ---- */

/* What is kept of a memory that is forgotten, to prove that it is: its number, and salted hashes of
 * pieces of what it held (core/store/receipt.h). Its bytes cannot be read from it, but who guesses a
 * piece can see that it was there. */
struct mneme_receipt;
/* An empty one of the memory in the store with that uuid, whose text has `length` bytes. */
MNEME_EXPORT int mneme_receipt_new(const uint8_t uuid[16], uint64_t memory, size_t length,
				   struct mneme_receipt **out);
/* Marks bytes that the memory held. -ENOMEM. */
MNEME_EXPORT int mneme_receipt_add(struct mneme_receipt *receipt, const void *bytes, size_t length);
/* As lines of text: *text is the caller's, mneme_free(). */
MNEME_EXPORT int mneme_receipt_text(struct mneme_receipt *receipt, char **text, size_t *length);
/* The first receipt in a text; *used bytes of it are that. -EINVAL: there is none. */
MNEME_EXPORT int mneme_receipt_parse(const char *text, size_t length, size_t *used,
				     struct mneme_receipt **out);
MNEME_EXPORT uint64_t mneme_receipt_memory(const struct mneme_receipt *receipt);
MNEME_EXPORT void mneme_receipt_free(struct mneme_receipt *receipt); /* accepts NULL */

struct mneme_forgotten {
	uint64_t findings;  /* 0: it is forgotten */
	uint64_t keys;      /* that were looked at */
	uint64_t bytes;     /* of files that were looked through */
	uint64_t marks;     /* that were sought in them */
	uint64_t shared;    /* not sought: another memory holds the same bytes */
	uint64_t shared_by; /* one that does: its number, or that of a pair's shard */
	uint32_t unknown;   /* 1: the store has no trace that it ever gave out that number */
	uint32_t reserved;
};
/* Looks for a memory in a store that nobody has open for writing (-EBUSY else): for records that are
 * its own or name it, in use or not, in the tree and the log; for its words and vectors in the index
 * files; for its marks in all files of the store. The store should be sound (mneme_check()). -ESTALE: the
 * receipt is of another store; one whose uuid is zeros is of any. */
MNEME_EXPORT int mneme_check_forgotten(const char *directory, const struct mneme_receipt *receipt,
				       mneme_check_report *report, void *arg,
				       struct mneme_forgotten *result, struct mneme_error *error);

/* ---- sentence encoders ---- */

/* What a model file says about itself. Strings are NUL-terminated. */
struct mneme_model_info {
	char name[64];
	char licence[64];   /* SPDX expression, as the package states it */
	char source[128];   /* package and version */
	uint8_t sha256[32]; /* of the package's weights */
	uint32_t dimensions;
	uint32_t tokens_max; /* of a text: what is beyond is not seen */
	uint32_t pieces;     /* of the vocabulary */
	uint64_t bytes;      /* of the file */
};

/* Converts the unpacked package of an encoder to a model file, which appears only complete. */
MNEME_EXPORT int mneme_model_convert(const char *package_directory, const char *path,
				     struct mneme_error *error);
/* Checks a model file whole, and describes it. */
MNEME_EXPORT int mneme_model_describe(const char *path, struct mneme_model_info *out,
				      struct mneme_error *error);
/* The vector[dimensions] of a text, length 1, and how many tokens it has in all (may be NULL). */
MNEME_EXPORT int mneme_model_embed(const char *path, const char *text, size_t length, float *vector,
				   uint32_t *tokens, struct mneme_error *error);

#ifdef __cplusplus
}
#endif
#endif
