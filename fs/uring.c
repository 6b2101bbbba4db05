/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   uring.h. io_uring_submit() and io_uring_submit_and_wait() are defined here for the whole
 *            program; they go on to the library's for all rings but libfuse's, which are known by their
 *            long entries (IORING_SETUP_SQE128).
 * Threading: `mutex` for what has no other tag. `callers` is raised before the ring's thread is woken, so
 *            that it sees the caller before it waits again.
 */
#include "fs/uring.h"

#include "fs/fs.h"

#if FUSE_VERSION >= 318

#include "pool/alloc.h"
#include "pool/check.h"

#include <dlfcn.h>
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct uring {
	struct io_uring *ring; /* [I] libfuse's */
	struct io_uring bell;  /* sends messages to it */
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	_Atomic unsigned callers; /* [A] who waits to be let in */
	_Atomic unsigned held;    /* [A] requests; changed under the mutex */
	int is_open;              /* its thread stands still and lets others in */
	int is_taken;             /* one is in */
	int is_over;              /* its thread has ended */
	void (*hurry)(void *);
	void *hurry_arg;
};

static int (*library_submit)(struct io_uring *ring);
static int (*library_wait)(struct io_uring *ring, unsigned count);
static pthread_key_t end_key;
static int has_key;
static _Thread_local struct uring *own;    /* the ring of this thread */
static _Thread_local struct uring *inside; /* that it was let into */
static _Thread_local int is_guest;

static void end(void *arg);

__attribute__((constructor)) static void find_library(void)
{
	*(void **)&library_submit = dlsym(RTLD_NEXT, "io_uring_submit");
	*(void **)&library_wait = dlsym(RTLD_NEXT, "io_uring_submit_and_wait");
	CHECK(library_submit && library_wait); /* this program is linked with the library */
	has_key = !pthread_key_create(&end_key, end);
}

/* ---- the ring's thread ---- */

/* The last of the thread. Others may still work for requests of the ring: they find nobody to answer to,
 * and libfuse frees the requests when this thread is gone. */
static void end(void *arg)
{
	struct uring *u = arg;

	pthread_mutex_lock(&u->mutex);
	u->is_over = 1;
	pthread_cond_broadcast(&u->changed);
	void (*hurry)(void *) = u->held ? u->hurry : NULL;
	pthread_mutex_unlock(&u->mutex);
	if (hurry)
		hurry(u->hurry_arg);
	pthread_mutex_lock(&u->mutex);
	while (u->held)
		pthread_cond_wait(&u->changed, &u->mutex);
	pthread_mutex_unlock(&u->mutex);
	io_uring_queue_exit(&u->bell);
	pthread_cond_destroy(&u->changed);
	pthread_mutex_destroy(&u->mutex);
	alloc_free(u);
}

/* The first wait of a ring. Out of memory: it stays as libfuse made it. */
static void begin(struct io_uring *ring)
{
	struct uring *u = has_key ? alloc_zeroed(1, sizeof(*u)) : NULL;

	if (!u)
		return;
	if (io_uring_queue_init(1, &u->bell, 0) < 0) {
		alloc_free(u);
		return;
	}
	u->ring = ring;
	pthread_mutex_init(&u->mutex, NULL);
	pthread_cond_init(&u->changed, NULL);
	if (pthread_setspecific(end_key, u)) {
		io_uring_queue_exit(&u->bell);
		alloc_free(u);
		return;
	}
	/* libfuse cancels the thread when it wakes it for the end; it ends by itself */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	own = u;
}

static void let_in(struct uring *u)
{
	/* acquire: pairs with the release of who calls */
	if (!atomic_load_explicit(&u->callers, memory_order_acquire))
		return;
	pthread_mutex_lock(&u->mutex);
	u->is_open = 1;
	pthread_cond_broadcast(&u->changed);
	while (u->is_taken || atomic_load_explicit(&u->callers, memory_order_relaxed))
		pthread_cond_wait(&u->changed, &u->mutex);
	u->is_open = 0;
	pthread_mutex_unlock(&u->mutex);
}

__attribute__((visibility("default"))) int io_uring_submit_and_wait(struct io_uring *ring,
								    unsigned count)
{
	if (ring->flags & IORING_SETUP_SQE128) {
		if (!own)
			begin(ring);
		if (own && own->ring == ring)
			let_in(own);
	}
	return library_wait(ring, count);
}

__attribute__((visibility("default"))) int io_uring_submit(struct io_uring *ring)
{
	if (ring->flags & IORING_SETUP_SQE128) {
		if ((own && own->ring == ring) || (inside && inside->ring == ring))
			return 0;
		CHECK(!own && !is_guest); /* it was not let in */
	}
	return library_submit(ring);
}

struct uring *uring_of_thread(void)
{
	return own;
}

void uring_flush(void)
{
	if (own && own->ring->sq.sqe_head != own->ring->sq.sqe_tail)
		library_submit(own->ring);
}

int uring_has_more(void)
{
	return own && (atomic_load_explicit(&own->held, memory_order_relaxed) ||
		       io_uring_cq_ready(own->ring) > 1);
}

void uring_hold(struct uring *u, void (*hurry)(void *), void *arg)
{
	pthread_mutex_lock(&u->mutex);
	u->held++;
	u->hurry = hurry;
	u->hurry_arg = arg;
	pthread_mutex_unlock(&u->mutex);
}

/* ---- the others ---- */

/* A message to the ring ends the wait of its thread. libfuse takes it for a request that the end of a
 * mount gave back, and passes over it. [mutex] */
static void wake(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->bell);
	struct io_uring_cqe *cqe;

	CHECK(sqe); /* one at a time */
	io_uring_prep_msg_ring(sqe, u->ring->ring_fd, (unsigned)-ENOTCONN, 0, 0);
	int sent = library_wait(&u->bell, 1);
	CHECK(sent == 1 || sent == -EINTR);
	while (io_uring_wait_cqe(&u->bell, &cqe) == -EINTR)
		;
	CHECK(cqe->res >= 0); /* the ring is open as long as a request is held */
	io_uring_cqe_seen(&u->bell, cqe);
}

void uring_guest(void)
{
	is_guest = 1;
}

int uring_enter(struct uring *u)
{
	pthread_mutex_lock(&u->mutex);
	/* release: see let_in() */
	atomic_fetch_add_explicit(&u->callers, 1, memory_order_release);
	if (!u->is_over && !u->is_open)
		wake(u);
	while (!u->is_over && (!u->is_open || u->is_taken))
		pthread_cond_wait(&u->changed, &u->mutex);
	atomic_fetch_sub_explicit(&u->callers, 1, memory_order_relaxed);
	int is_over = u->is_over;
	u->is_taken = !is_over;
	pthread_mutex_unlock(&u->mutex);
	inside = is_over ? NULL : u;
	return is_over ? -ENOTCONN : 0;
}

void uring_leave(struct uring *u)
{
	inside = NULL;
	pthread_mutex_lock(&u->mutex);
	u->is_taken = 0;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->mutex);
}

void uring_drop(struct uring *u)
{
	pthread_mutex_lock(&u->mutex);
	u->held--;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->mutex);
}

#else

#include <errno.h>
#include <stddef.h>

struct uring *uring_of_thread(void)
{
	return NULL;
}

void uring_flush(void)
{
}

int uring_has_more(void)
{
	return 0;
}

void uring_hold(struct uring *u, void (*hurry)(void *), void *arg)
{
}

void uring_guest(void)
{
}

int uring_enter(struct uring *u)
{
	return -ENOTCONN;
}

void uring_leave(struct uring *u)
{
}

void uring_drop(struct uring *u)
{
}

#endif
