/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the store's label, as FS_IOC_GETFSLABEL and FS_IOC_SETFSLABEL know it.
 * Invariants: the record (0, COLLECTION, "label") has its 1 to FS_LABEL_MAX bytes; without one it is
 *            empty. A label that was set is durable, in every mode.
 * Threading: any handler thread.
 * Failure:   0 or -errno to the kernel: -EINVAL (too long), -EPERM, -EROFS.
 */
#ifndef MNEME_FS_LABEL_H
#define MNEME_FS_LABEL_H

#include "fs/fs.h"

/* Answers the two commands; `in` is what the caller gave. Returns 1 when it was one of them. */
int label_answer(struct op *op, unsigned command, const void *in, size_t in_size, size_t out_size);

#endif
