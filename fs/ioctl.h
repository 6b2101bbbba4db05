/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the ioctls that carry data (core/mneme_ioctl.h): pairs, logs, compare-and-swap writes,
 *            searches.
 * Invariants: `data` is the caller's struct in memory of the request, `size` bytes, filled in place.
 * Threading: within a request.
 * Failure:   0 or -errno for the caller.
 */
#ifndef MNEME_FS_IOCTL_H
#define MNEME_FS_IOCTL_H

#include "core/mneme_ioctl.h"
#include "fs/fs.h"

/* Pairs. `kv` has `size` bytes with its tail. */
int ioctl_kv(struct op *op, unsigned number, struct mneme_ioc_kv *kv, size_t size);
int ioctl_scan(struct op *op, struct mneme_ioc_scan *scan, size_t size);
/* Logs. -EUCLEAN when the chain of a run is broken: `log` says where. */
int ioctl_log(struct op *op, unsigned number, struct mneme_ioc_log *log, size_t size);
/* Compare-and-swap write of the file `ino`. -ESTALE when the bytes or the version are others. */
int ioctl_write(struct op *op, uint64_t ino, struct mneme_ioc_write *write, size_t size);

/* Searches below the directory `ino`, answered in place; all of them only give what the caller may
 * read. */
int ioctl_search(struct op *op, uint64_t ino, struct mneme_ioc_search *search, size_t size);
int ioctl_search_batch(struct op *op, uint64_t ino, struct mneme_ioc_batch *batch, size_t size);
/* The parts of it, for answers of any size: asks (the caller frees *out), says how many bytes all results
 * take, and writes as many as fit into `size` bytes. */
struct memory_answer;
int ioctl_search_ask(struct op *op, uint64_t directory, const struct mneme_ioc_search *in,
		     size_t size, struct memory_answer **out);
size_t ioctl_search_size(const struct memory_answer *answer);
void ioctl_search_write(const struct memory_answer *answer, struct mneme_ioc_search *out,
			size_t size);

/* Links of the file `ino`: one more or less, or all of them. */
int ioctl_link(struct op *op, uint64_t ino, unsigned number, const struct mneme_ioc_link *link,
	       size_t size);
int ioctl_links(struct op *op, uint64_t ino, struct mneme_ioc_links *links, size_t size);

/* What comes to mind: from the file `ino`, or below the directory. */
int ioctl_recall(struct op *op, uint64_t ino, struct mneme_ioc_recall *recall, size_t size);
/* Compaction of the whole store. */
int ioctl_compact(struct op *op, struct mneme_ioc_compact *compact, size_t size);

/* -EINVAL for an unknown one. */
int ioctl_durability(uint8_t durability, enum mneme_durability *out);

#endif
