/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   keeps a function out of its caller, so that what it has on the stack is there only while it
 *            runs and not below the caller's other calls: handlers have 3 KiB (tests/stack).
 */
#ifndef MNEME_POOL_FRAME_H
#define MNEME_POOL_FRAME_H

#define OWN_FRAME __attribute__((noinline))

#endif
