/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the ioctls that carry data (core/mneme_ioctl.h): pairs, logs, compare-and-swap writes.
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

/* -EINVAL for an unknown one. */
int ioctl_durability(uint8_t durability, enum mneme_durability *out);

#endif
