/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the ioctls of a mount: on any open file or directory of it.
 * Invariants: every struct begins with the version of this interface; reserved fields must be zero. A
 *            struct with a `data` tail may have any length up to MNEME_IOC_SIZE_MAX: make the command
 *            with MNEME_IOC_SIZED(), so that a small request copies little.
 * Threading: as the file descriptor's.
 * Failure:   -1 and errno:
 *              EINVAL  unknown version, reserved field not zero, lengths that do not fit the struct
 *              ENOTTY  not a mount of mnemefs, or a command that this version does not know
 *              ERANGE  the answer does not fit into `data`
 *              EAGAIN  too many recalls at once
 *              EOPNOTSUPP  a search on a mount with memory=off
 *              EACCES  the caller may not write (read) the root directory: pairs and logs belong to the
 *                      whole store; for WRITE: may not write the file, whatever it was opened for
 *              EROFS   the mount is read-only
 *              EPERM   the file (for pairs and logs: the root directory) is immutable
 *              else as core/mneme.h says.
 */
#ifndef MNEME_IOCTL_H
#define MNEME_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MNEME_IOC_VERSION 1
#define MNEME_IOC_MAGIC 'M'
#define MNEME_IOC_SIZE_MAX 16376

/* Durability of one operation; 0: the mount's. */
#define MNEME_IOC_DURABILITY_MEMORY 1
#define MNEME_IOC_DURABILITY_BUFFERED 2
#define MNEME_IOC_DURABILITY_STRICT 3

/* Filled by the mount. */
struct mneme_ioc_identity {
	__u32 version;
	__u32 shards;
	__u8 uuid[16];
	__u64 inode;        /* of this file */
	__u64 file_version; /* one more at each change of this file's bytes */
	__u64 reserved[3];
};

/* Filled by the mount: the engine's counters (core/mneme.h: struct mneme_stats). */
struct mneme_ioc_stats {
	__u32 version;
	__u32 read_only; /* 0, or the errno that made the store read-only */
	__u64 heap_bytes, heap_free_bytes, disk_free_bytes, disk_total_bytes;
	__u64 dirty_bytes, dirty_bytes_max;
	__u64 lsn_next, lsn_durable, lsn_checkpoint, epoch;
	__u64 commits, conflicts, log_bytes, log_flushes, reserved_zero;
	__u64 checkpoints, checkpoint_pages, checkpoint_ns_last, freeze_ns_last, freeze_ns_max;
	__u64 inodes_known; /* by the kernel, now */
	__u64 reserved[3];
};

/* data: the key, then the value. GET fills pair_version and value_length and puts the value behind the
 * key; without a byte of room there it only asks for them. PUT and SWAP fill pair_version. SWAP puts only
 * if the pair's version is `pair_version` (0: only if there is none), else ESTALE. */
struct mneme_ioc_kv {
	__u32 version;
	__u16 key_length;
	__u8 durability;
	__u8 reserved8;
	__u32 value_length;
	__u32 reserved;
	__u64 pair_version;
	__u8 data[];
};

/* data: the prefix, then the key to go on behind (after_length 0: from the first). SCAN fills `count`
 * pairs whose keys begin with the prefix, in key order, as many as fit behind those two, and
 * data_length, the bytes filled. No pair: that was the last one. */
#define MNEME_IOC_SCAN_KEYS 1 /* without the values; their lengths are there */
struct mneme_ioc_scan {
	__u32 version;
	__u32 flags;
	__u16 prefix_length;
	__u16 after_length;
	__u32 data_length;
	__u32 count;
	__u32 reserved;
	__u8 data[];
};

/* One pair of a SCAN: key, then value. The next one begins at the next multiple of 8 behind it. */
struct mneme_ioc_pair {
	__u64 pair_version;
	__u32 value_length;
	__u16 key_length;
	__u16 reserved;
	__u8 data[];
};

/* data: the name of the run, then for APPEND the event. APPEND fills `sequence`. VERIFY fills `count`;
 * if the chain is broken it fails with EUCLEAN, and `sequence` is the first event that does not fit.
 * REPLAY fills `count` events from `sequence` on, as many as fit behind the name, sets `sequence` to the
 * next one, and data_length to the bytes filled. */
struct mneme_ioc_log {
	__u32 version;
	__u16 run_length;
	__u8 durability;
	__u8 reserved8;
	__u32 data_length;
	__u32 reserved;
	__u64 sequence;
	__u64 count;
	__u8 data[];
};

/* One event of a REPLAY; the next one begins at the next multiple of 8 behind its data. */
struct mneme_ioc_event {
	__u64 sequence;
	__u64 time_ns;
	__u8 hash[32];
	__u32 length;
	__u32 reserved;
	__u8 data[];
};

/* Writes the new bytes at `offset` of this file if the bytes there equal the expected ones, else ESTALE;
 * both happen at once for everybody. data: `expected_length` bytes, then `length` bytes. With
 * MNEME_IOC_IF_VERSION the file's version has to be `file_version`, too. Fills file_version. The end of
 * the file counts as zero bytes; the file grows if needed. Readers that have the file in
 * the page cache see the new bytes a moment later: read with O_DIRECT where that matters. */
#define MNEME_IOC_IF_VERSION 1
struct mneme_ioc_write {
	__u32 version;
	__u32 flags;
	__u64 offset;
	__u64 file_version;
	__u32 expected_length;
	__u32 length;
	__u8 durability;
	__u8 reserved[7];
	__u8 data[];
};

/* One search for memories below the directory that the descriptor is of (ENOTDIR: of a file). data:
 * a request as names of `.mneme/search` are (words and options, see docs/mount.md; or a JSON
 * object), then, at the next multiple of 4, `dim` floats: the vector to search by, with a line of
 * options only. Fills `count`, `more` (results that did not fit), `partial` (1: time was up) and,
 * from the start of data, as many results as fit within `size`. */
struct mneme_ioc_search {
	__u32 version;
	__u32 size; /* of this struct with its tail; in a batch a multiple of 8 */
	__u32 line_length;
	__u32 dim; /* 0: no vector */
	__u32 count;
	__u32 more;
	__u32 partial;
	__u32 error; /* of a batch: the errno of this search */
	__u64 reserved[2];
	__u8 data[];
};

/* One result; the next one begins at the next multiple of 8 behind its data. data: the path from the
 * directory, then the snippet. */
struct mneme_ioc_result {
	__u64 inode;
	__u64 begin, end; /* bytes of the passage */
	__u32 part;
	__u32 line, line_end, line_match;
	float score;
	float cosine, bm25;           /* its sources */
	float cosine_part, bm25_part; /* what they add to the score */
	__u16 path_length, snippet_length;
	__u8 data[];
};

/* data: `count` struct mneme_ioc_search back to back, each answered in its own place. */
struct mneme_ioc_batch {
	__u32 version;
	__u32 count;
	__u64 reserved[3];
	__u8 data[];
};

/* A link of this file, as setting (UNLINK: removing) its attribute user.mneme.link.LABEL. data: the
 * label, a path from the file's directory, or with a / in front from the root of the mount.
 * ENAMETOOLONG: the attribute's name is longer than 255 bytes. UNLINK: ENODATA where there is no such
 * link. */
struct mneme_ioc_link {
	__u32 version;
	float weight; /* in (0, 1]; UNLINK: 0 */
	__u32 label_length;
	__u32 reserved;
	__u8 data[];
};

/* The links of this file, in both directions, as far as the caller could read the other end. Fills
 * from the link number `first` on as many as fit: `count`, data_length, and `more`, how many follow
 * them. What was saved in the file before is among them. */
struct mneme_ioc_links {
	__u32 version;
	__u32 first;
	__u32 count;
	__u32 more;
	__u32 data_length;
	__u32 reserved[3];
	__u8 data[];
};

#define MNEME_IOC_LINK_EXPLICIT 1
#define MNEME_IOC_LINK_WIKI 2
#define MNEME_IOC_LINK_MARKDOWN 3
#define MNEME_IOC_LINK_SYMLINK 4
#define MNEME_IOC_LINK_HARD 5      /* another name of this file */
#define MNEME_IOC_LINK_NEIGHBOUR 6 /* near by meaning: of a recall only, as is COACCESS */
#define MNEME_IOC_LINK_COACCESS 7  /* used together */

/* One link; the next one begins at the next multiple of 8 behind its data. data: the path of the
 * other end from the root of the mount, then the label as it is where the link comes from. */
struct mneme_ioc_link_entry {
	__u64 inode; /* the other end; 0: the label leads nowhere (that the caller could read) */
	float weight;
	__u8 kind;
	__u8 back; /* 1: it leads here */
	__u16 path_length;
	__u16 label_length;
	__u16 reserved[3];
	__u8 data[];
};

/* What this file brings to mind: the memories that links lead to from it, directly and over others. Of
 * a directory's descriptor: below it, from the files in `data`. data: `from_count` inode numbers (8 bytes
 * each) of further files to begin with, 64 in all; of one that the caller could not read nothing
 * begins. Each begins with its share of 1. Fills, from the start of data on, `count` results as far as
 * they fit, and `more`, how many do not. EAGAIN: too many at once.
 * A zero in a parameter is its default. */
#define MNEME_IOC_RECALL_OUT 1
#define MNEME_IOC_RECALL_IN 2
#define MNEME_IOC_RECALL_BOTH 3
#define MNEME_IOC_RECALL_ALL 0xffffffffu
#define MNEME_IOC_RECALL_NARROWED 1 /* fan_out or hops were reduced to keep the deadline */
#define MNEME_IOC_RECALL_BUDGET 2   /* there were more memories than `nodes` */
#define MNEME_IOC_RECALL_CUT 4      /* the deadline came all the same: partial */
struct mneme_ioc_recall {
	__u32 version;
	__u32 from_count;
	float decay;       /* lost at each link, up to 1; 0.3. Below 0: nothing */
	float threshold;   /* least activation that goes on; 0.01 */
	__u32 hops;        /* up to 16; 5 */
	__u32 fan_out;     /* strongest links of a memory, each way; 64. MNEME_IOC_RECALL_ALL */
	__u32 nodes;       /* memories that may be reached, up to 32768; 4096 */
	__u32 limit;       /* results, up to 1000; 20 */
	__u32 deadline_us; /* up to a minute; none */
	__u32 kinds;       /* of links: 1 << MNEME_IOC_LINK_EXPLICIT, ..., SYMLINK, and
			    * NEIGHBOUR, COACCESS; 0: all */
	__u32 direction;   /* MNEME_IOC_RECALL_OUT, ...; both */
	__u32 flags;       /* from here on filled: MNEME_IOC_RECALL_NARROWED, ... */
	__u32 count, more;
	__u32 data_length;
	__u32 active; /* memories that came to mind in all */
	__u32 predicted_us, spent_us;
	__u64 reserved[2];
	__u8 data[];
};

/* One result; the next one begins at the next multiple of 8 behind its data. data: its path, then
 * via_count names, each ended by a zero byte: the strongest path that led to it, from where it began.
 * Paths are from the directory (of a file's descriptor: from the root of the mount); what lies outside
 * of it on the way has a / in front and its path from the root. */
struct mneme_ioc_recalled {
	__u64 inode;
	float activation;
	__u32 hops;
	__u16 path_length;
	__u16 via_count;
	__u32 via_length;
	__u8 data[];
};

/* Takes what was deleted or overwritten before out of the store's files (core/mneme.h:
 * mneme_compact). The caller is root, or owns the root directory of the mount: else EPERM. The rest
 * is filled. */
struct mneme_ioc_compact {
	__u32 version;
	__u32 reserved;
	__u64 cleaned_bytes; /* overwritten */
	__u64 kept_bytes; /* a program that has the store open read-only may read them: again, later */
	__u64 open_files; /* deleted, but still open: what they hold stays */
	__u64 reserved64[2];
};

enum mneme_ioc_number {
	MNEME_IOC_NR_IDENTITY = 1,
	MNEME_IOC_NR_STATS = 2,
	MNEME_IOC_NR_KV_GET = 0x10,
	MNEME_IOC_NR_KV_PUT = 0x11,
	MNEME_IOC_NR_KV_SWAP = 0x12,
	MNEME_IOC_NR_KV_DELETE = 0x13,
	MNEME_IOC_NR_KV_SCAN = 0x14,
	MNEME_IOC_NR_LOG_APPEND = 0x20,
	MNEME_IOC_NR_LOG_VERIFY = 0x21,
	MNEME_IOC_NR_LOG_REPLAY = 0x22,
	MNEME_IOC_NR_WRITE = 0x30,
	MNEME_IOC_NR_SEARCH = 0x40,
	MNEME_IOC_NR_SEARCH_BATCH = 0x41,
	MNEME_IOC_NR_LINK = 0x50,
	MNEME_IOC_NR_UNLINK = 0x51,
	MNEME_IOC_NR_LINKS = 0x52,
	MNEME_IOC_NR_RECALL = 0x53,
	MNEME_IOC_NR_COMPACT = 0x60,
};

#define MNEME_IOC_IDENTITY _IOR(MNEME_IOC_MAGIC, MNEME_IOC_NR_IDENTITY, struct mneme_ioc_identity)
#define MNEME_IOC_STATS _IOR(MNEME_IOC_MAGIC, MNEME_IOC_NR_STATS, struct mneme_ioc_stats)
/* The command `number` with a struct of `size` bytes, tail included. */
#define MNEME_IOC_SIZED(number, size) _IOC(_IOC_READ | _IOC_WRITE, MNEME_IOC_MAGIC, number, size)

#endif
