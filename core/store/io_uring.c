/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the I/O seam with io_uring: batches in one system call, and a log write with its sync
 * as one linked submission. Everything else is io_posix.c. Invariants: a ring has one user at a
 * time: it is taken from the bit set `idle` and put back with nothing in flight, so a completion
 * always belongs to the call that reaps it. No lock is held during I/O: who finds no idle ring uses
 * plain calls. Rings are made at first use (the first one at open, to learn whether the kernel
 * permits them) and kept, so a warm operation allocates nothing. A call returns only when all that
 * it submitted has completed: buffers are the caller's. A linked chain: write, then fdatasync. A
 * short write cancels the sync: the rest is then written, and synced, by plain calls. A sync that
 * ran and failed is the answer, and is not tried again. Threading: as io.h. Failure:   as io.h. A
 * ring that fails by itself is drained and closed; its slot makes a new one later, and the requests
 * that it never took are done by plain calls.
 */
#include "core/store/io_uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <string.h>

#include "core/store/io_posix.h"
#include "pool/alloc.h"
#include "pool/check.h"

enum { RINGS = 16 };

#define NOT_DONE INT32_MIN /* the result of a request that no completion answered */

struct ring {
	struct io_uring uring; /* [taken] */
	int made;              /* [taken] */
};

struct uring_io {
	struct posix_io posix; /* first member */
	struct io_ops ops;     /* [I] the plain operations, with ours in their places */
	_Atomic uint32_t idle; /* [A] bit i: rings[i] may be taken */
	_Atomic uint64_t chains, broken, overflows; /* [A] */
	unsigned use;                               /* enum uring_use; set while nobody writes */
	void (*on_broken)(void *arg);               /* set while nobody writes */
	void *on_broken_arg;
	struct ring rings[RINGS];
};

static struct uring_io *uring_io(const struct io *io)
{
	return (struct uring_io *)(uintptr_t)io;
}

static struct uring_io *owner_of(struct io_file *file)
{
	return uring_io(&posix_file(file)->owner->io);
}

static int ring_make(struct ring *ring)
{
	int rc = io_uring_queue_init(IO_BATCH_MAX, &ring->uring, IORING_SETUP_COOP_TASKRUN);

	if (rc == -EINVAL) /* before Linux 5.19 */
		rc = io_uring_queue_init(IO_BATCH_MAX, &ring->uring, 0);
	ring->made = !rc;
	return rc;
}

static void ring_close(struct ring *ring)
{
	if (ring->made)
		io_uring_queue_exit(&ring->uring);
	ring->made = 0;
}

static void ring_put(struct uring_io *self, struct ring *ring)
{
	uint32_t bit = 1u << (ring - self->rings);

	/* release: pairs with the acquire in ring_take(); the next user sees the ring as we left it
	 */
	atomic_fetch_or_explicit(&self->idle, bit, memory_order_release);
}

/* An idle ring, or NULL: then plain calls do the work. The lowest is taken, so few are made. */
static struct ring *ring_take(struct uring_io *self)
{
	uint32_t idle = atomic_load_explicit(&self->idle, memory_order_relaxed);
	struct ring *ring;

	do {
		if (!idle)
			goto busy;
		/* acquire: pairs with the release in ring_put() */
	} while (!atomic_compare_exchange_weak_explicit(
		&self->idle, &idle, idle & (idle - 1), memory_order_acquire, memory_order_relaxed));
	ring = &self->rings[__builtin_ctz(idle)];
	if (ring->made || !ring_make(ring))
		return ring;
	ring_put(self, ring);
busy:
	atomic_fetch_add_explicit(&self->overflows, 1, memory_order_relaxed);
	return NULL;
}

static void reap(struct ring *ring, int32_t *results, unsigned *in_flight)
{
	struct io_uring_cqe *cqe;

	while (*in_flight && !io_uring_peek_cqe(&ring->uring, &cqe)) {
		results[io_uring_cqe_get_data64(cqe)] =
			cqe->res < 0 ? posix_error(-cqe->res) : cqe->res;
		io_uring_cqe_seen(&ring->uring, cqe);
		--*in_flight;
	}
}

/* Submits `count` prepared entries (user data: 0 .. count-1) and waits for all of them. Results of
 * entries that the kernel never took stay NOT_DONE, and the ring is closed. */
static void ring_run(struct ring *ring, int32_t *results, unsigned count)
{
	unsigned left = count, in_flight = 0;
	int failed = 0;

	for (unsigned i = 0; i < count; i++)
		results[i] = NOT_DONE;
	while (left || in_flight) {
		int n = left ? io_uring_submit_and_wait(&ring->uring, in_flight + left)
			     : io_uring_enter((unsigned)ring->uring.ring_fd, 0, in_flight,
					      IORING_ENTER_GETEVENTS, NULL);

		if (n < 0 && n != -EINTR && (!in_flight || (n != -EAGAIN && n != -EBUSY))) {
			CHECK(left || !in_flight); /* waiting alone does not fail */
			left = 0;
			failed = 1;
		} else if (n > 0 && left) {
			left -= (unsigned)n;
			in_flight += (unsigned)n;
		}
		reap(ring, results, &in_flight);
	}
	if (failed)
		ring_close(ring);
}

/* Hands the requests that are not complete to a ring; those that it never took, to plain calls. */
static void ring_transfer(struct ring *ring, struct io_file *file, struct io_request *requests,
			  unsigned count, int writing)
{
	int fd = posix_file(file)->fd;
	int32_t results[IO_BATCH_MAX];
	uint8_t which[IO_BATCH_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct io_request *r = &requests[i];
		struct io_uring_sqe *sqe;

		if (r->result == (int32_t)r->length)
			continue;
		sqe = io_uring_get_sqe(&ring->uring);
		CHECK(sqe);
		if (writing)
			io_uring_prep_write(sqe, fd, r->data, r->length, r->offset);
		else
			io_uring_prep_read(sqe, fd, r->data, r->length, r->offset);
		io_uring_sqe_set_data64(sqe, n);
		which[n++] = (uint8_t)i;
	}
	ring_run(ring, results, n);
	for (unsigned i = 0; i < n; i++) {
		struct io_request *r = &requests[which[i]];

		r->result = results[i];
		if (results[i] == NOT_DONE && writing)
			posix_write_batch(file, r, 1);
		else if (results[i] == NOT_DONE)
			posix_read_batch(file, r, 1);
	}
}

/* What the page cache has is copied by plain calls (a ring only adds to that); what it has not goes
 * to the disk all at once, unless each read would go through a worker thread. */
static int uring_read_batch(struct io_file *file, struct io_request *requests, unsigned count)
{
	struct uring_io *self = owner_of(file);
	struct ring *ring;

	CHECK(count <= IO_BATCH_MAX);
	if (self->use & URING_EVERY_BATCH) {
		for (unsigned i = 0; i < count; i++)
			requests[i].result = NOT_DONE;
	} else {
		if (count == 1)
			return posix_read_batch(file, requests, count);
		if (!posix_read_cached(file, requests, count))
			return 0;
		if (posix_cannot_read_cached(file))
			return posix_read_batch(file, requests, count);
	}
	ring = ring_take(self);
	if (!ring)
		return posix_read_batch(file, requests, count);
	ring_transfer(ring, file, requests, count, 0);
	ring_put(self, ring);
	return 0;
}

/* A filesystem that cannot write without waiting makes the kernel hand each write of a ring to a
 * worker thread, which costs more than the write: plain calls then. */
static int uring_write_batch(struct io_file *file, struct io_request *requests, unsigned count)
{
	struct uring_io *self = owner_of(file);
	struct ring *ring = NULL;

	CHECK(count <= IO_BATCH_MAX);
	if (self->use & URING_EVERY_BATCH ||
	    (count > 1 && posix_probe_write(file, requests) == NOWAIT_YES))
		ring = ring_take(self);
	if (!ring)
		return posix_write_batch(file, requests, count);
	for (unsigned i = 0; i < count; i++)
		requests[i].result = NOT_DONE;
	posix_changes(file);
	ring_transfer(ring, file, requests, count, 1);
	ring_put(self, ring);
	return 0;
}

int uring_finish_chain(struct io_file *file, const void *data, size_t length, uint64_t offset,
		       int32_t wrote, int32_t synced)
{
	struct uring_io *self = owner_of(file);
	size_t done = wrote > 0 ? (size_t)wrote : 0;

	if (synced < 0 && synced != -ECANCELED && synced != NOT_DONE)
		return synced; /* it ran and failed: never again */
	if (wrote < 0 && wrote != -EINTR && wrote != -EAGAIN && wrote != -ECANCELED &&
	    wrote != NOT_DONE)
		return wrote;
	if (done == length && !synced)
		return 0;
	atomic_fetch_add_explicit(&self->broken, 1, memory_order_relaxed);
	if (self->on_broken)
		self->on_broken(self->on_broken_arg);
	return posix_write_sync(file, (const uint8_t *)data + done, length - done, offset + done);
}

static int uring_write_sync(struct io_file *file, const void *data, size_t length, uint64_t offset)
{
	struct uring_io *self = owner_of(file);
	int fd = posix_file(file)->fd;
	struct ring *ring = NULL;
	struct io_uring_sqe *sqe;
	int32_t results[2];

	if (self->use & URING_LINK_WRITES && length <= INT32_MAX)
		ring = ring_take(self);
	if (!ring)
		return posix_write_sync(file, data, length, offset);
	posix_changes(file);
	sqe = io_uring_get_sqe(&ring->uring);
	CHECK(sqe);
	io_uring_prep_write(sqe, fd, data, (unsigned)length, offset);
	io_uring_sqe_set_data64(sqe, 0);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = io_uring_get_sqe(&ring->uring);
	CHECK(sqe);
	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data64(sqe, 1);
	ring_run(ring, results, 2);
	ring_put(self, ring);
	atomic_fetch_add_explicit(&self->chains, 1, memory_order_relaxed);
	return uring_finish_chain(file, data, length, offset, results[0], results[1]);
}

static void uring_destroy(struct io *io)
{
	struct uring_io *self = uring_io(io);

	for (unsigned i = 0; i < RINGS; i++)
		ring_close(&self->rings[i]);
	posix_close_directory(&self->posix);
	alloc_free(self);
}

void uring_read_counts(const struct io *io, struct uring_counts *out)
{
	const struct uring_io *self = uring_io(io);

	/* relaxed: statistics */
	out->chains = atomic_load_explicit(&self->chains, memory_order_relaxed);
	out->broken = atomic_load_explicit(&self->broken, memory_order_relaxed);
	out->overflows = atomic_load_explicit(&self->overflows, memory_order_relaxed);
}

void uring_set_use(struct io *io, unsigned use)
{
	uring_io(io)->use = use;
}

void uring_on_broken_chain(struct io *io, void (*hook)(void *arg), void *arg)
{
	uring_io(io)->on_broken = hook;
	uring_io(io)->on_broken_arg = arg;
}

int io_uring_new(const char *directory, int create, struct io **out)
{
	struct uring_io *self = alloc_zeroed(1, sizeof(*self));
	int rc;

	if (!self)
		return -ENOMEM;
	rc = ring_make(&self->rings[0]);
	if (rc)
		goto fail;
	rc = posix_open_directory(&self->posix, directory, create);
	if (rc)
		goto fail;
	self->ops = io_posix_ops;
	self->ops.name = "uring";
	self->ops.read_batch = uring_read_batch;
	self->ops.write_batch = uring_write_batch;
	self->ops.write_sync = uring_write_sync;
	self->ops.destroy = uring_destroy;
	self->posix.io.ops = &self->ops;
	atomic_init(&self->idle, (1u << RINGS) - 1);
	*out = &self->posix.io;
	return 0;
fail:
	ring_close(&self->rings[0]);
	alloc_free(self);
	return rc;
}
