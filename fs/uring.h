/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   libfuse's rings, for what libfuse (3.18) itself has no safe way to do: answer a request from
 *            another thread than the one that took it.
 *
 *   FUSE over io_uring has a ring and a thread for each core. That thread waits, runs the handlers of
 *   what came, and sends their answers with its next wait, without a lock: a second thread that answered
 *   would damage the ring's submission queue, and to the kernel the requests that follow would be that
 *   thread's. So libfuse's calls of io_uring_submit() and io_uring_submit_and_wait() come here first,
 *   and another thread asks to be let in (uring_enter()): a message to the ring wakes the ring's thread,
 *   which stands still between two batches of requests while the other one answers, and then sends that
 *   answer as its own.
 *   A request that is answered later is held (uring_hold()): the ring and what the request carries stay
 *   until it is dropped, also when the mount ends before.
 *
 * Invariants: a ring is submitted to by its own thread only. A handler that has answered neither waits
 *            nor tells the kernel anything before it returns: its answer may still be in the queue.
 * Threading: uring_of_thread(), uring_flush(), uring_has_more() and uring_hold(): the ring's thread. The
 *            others: any other.
 * Failure:   where libfuse's calls do not come here (another libfuse, no rings) there is no ring of a
 *            thread, and nothing can be held.
 * Source:    io_uring_enter(2), IORING_OP_MSG_RING; Documentation/filesystems/fuse-io-uring.rst of Linux.
 */
#ifndef MNEME_FS_URING_H
#define MNEME_FS_URING_H

struct uring;

/* The ring whose requests this thread takes, or NULL. */
struct uring *uring_of_thread(void);
/* Sends the answers of this thread that are still in its queue: before something that takes long. */
void uring_flush(void);
/* 1: more requests have come to this thread than the one that it serves. */
int uring_has_more(void);
/* One request more stays open after its handler. When the ring's thread ends, `hurry` is called there: it
 * lets those end soon that work on such requests. */
void uring_hold(struct uring *ring, void (*hurry)(void *), void *arg);
/* Of a thread that answers for others: it is caught where it does that without uring_enter(). */
void uring_guest(void);
/* libfuse may be called to answer one of the ring's requests, until uring_leave(). -ENOTCONN: nobody
 * waits for it any more; uring_leave() is not to be called then. */
int uring_enter(struct uring *ring);
void uring_leave(struct uring *ring);
/* A request that was held is done with: neither it nor the ring may be used any more. */
void uring_drop(struct uring *ring);

#endif
