/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the engine's two threads: the flusher (log, spare segments, resident memory of the map)
 *            and the worker (checkpoints).
 * Invariants: committers only ever set a flag and bump a futex; both threads also look by themselves
 *            when their time has come. The flusher sleeps without a timeout while nothing is pending.
 * Threading: see checkpoint.h.
 */
#include "core/store/checkpoint_inside.h"
#include "pool/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WORK_TICK_MS = 200, LOG_SEGMENTS_BEFORE_CHECKPOINT = 16, FLUSH_IDLE_TICKS = 20 };

static void word_wake(_Atomic uint32_t *word)
{
	/* release: pairs with the acquire in word_wait */
	atomic_fetch_add_explicit(word, 1, memory_order_release);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void word_wait(_Atomic uint32_t *word, uint32_t seen, uint32_t timeout_ms)
{
	struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000l};

	if (atomic_load_explicit(word, memory_order_acquire) == seen)
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, timeout_ms ? &t : NULL, NULL, 0);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

static int work_is_due(struct mneme *m)
{
	uint64_t budget = atomic_load_explicit(&m->dirty.budget, memory_order_relaxed);
	uint64_t log = atomic_load_explicit(&m->wal.next, memory_order_relaxed) -
		       atomic_load_explicit(&m->checkpoint->log_begin, memory_order_relaxed);

	return budget > m->dirty.budget_max / 2 ||
	       log > (uint64_t)m->wal.segment_bytes * LOG_SEGMENTS_BEFORE_CHECKPOINT;
}

void checkpoint_poke(struct mneme *m)
{
	struct checkpoint *c = m->checkpoint;

	if (!c->threads)
		return;
	uint64_t pending = atomic_load_explicit(&m->wal.pending, memory_order_relaxed);
	if ((pending > m->options.flush_bytes ||
	     (pending && atomic_load_explicit(&c->flush_idle, memory_order_relaxed))) &&
	    !atomic_exchange_explicit(&c->flush_asked, 1, memory_order_relaxed))
		word_wake(&c->flush_word);
	if (work_is_due(m) && !atomic_load_explicit(&c->work_asked, memory_order_relaxed) &&
	    !atomic_exchange_explicit(&c->work_asked, 1, memory_order_relaxed))
		word_wake(&c->work_word);
}

/* Keeps the mapped part of the heap within its share of memory: the page cache keeps the bytes, so
 * what is dropped too much comes back without the disk. */
static void map_limit(struct mneme *m)
{
	char text[128];
	unsigned long size, resident, shared;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return;
	text[n] = 0;
	if (sscanf(text, "%lu %lu %lu", &size, &resident, &shared) == 3 &&
	    (uint64_t)shared * FMT_PAGE_SIZE > m->options.mapped_bytes_max)
		m->io->ops->map_drop(m->heap.file, 0,
				     atomic_load_explicit(&m->heap.pages, memory_order_relaxed) *
					     FMT_PAGE_SIZE);
}

static void *flusher_main(void *arg)
{
	struct mneme *m = arg;
	struct checkpoint *c = m->checkpoint;
	unsigned idle = 0;

	while (!atomic_load_explicit(&c->stop, memory_order_acquire)) {
		uint32_t seen = atomic_load_explicit(&c->flush_word, memory_order_acquire);
		atomic_store_explicit(&c->flush_asked, 0, memory_order_relaxed);
		uint64_t next = wal_next(&m->wal);
		if (next > atomic_load_explicit(&m->wal.durable, memory_order_relaxed)) {
			idle = 0;
			int rc = wal_sync_to(&m->wal, next);
			if (rc == -ENOSPC || rc == -ENOMEM)
				checkpoint_run(m);
			else if (rc < 0)
				store_fail(m, rc, "the log could not be written");
			wal_prepare(&m->wal);
		} else if (idle < FLUSH_IDLE_TICKS) {
			idle++;
		}
		map_limit(m);
		/* seq_cst with the append's count: either it sees `idle`, or this thread the bytes */
		atomic_store_explicit(&c->flush_idle, idle >= FLUSH_IDLE_TICKS,
				      memory_order_seq_cst);
		if (atomic_load_explicit(&m->wal.pending, memory_order_seq_cst))
			idle = 0;
		word_wait(&c->flush_word, seen,
			  idle >= FLUSH_IDLE_TICKS ? 5000 : m->options.flush_ms);
		atomic_store_explicit(&c->flush_idle, 0, memory_order_relaxed);
	}
	return NULL;
}

static void *worker_main(void *arg)
{
	struct mneme *m = arg;
	struct checkpoint *c = m->checkpoint;
	uint64_t last = now_ms();

	while (!atomic_load_explicit(&c->stop, memory_order_acquire)) {
		uint32_t seen = atomic_load_explicit(&c->work_word, memory_order_acquire);
		atomic_store_explicit(&c->work_asked, 0, memory_order_relaxed);
		int old = now_ms() - last > m->options.checkpoint_ms &&
			  atomic_load_explicit(&m->dirty.budget, memory_order_relaxed) > 0;
		if ((work_is_due(m) || old) && store_writable(m) == 0) {
			if (checkpoint_run(m) == 0 && old)
				dirty_trim(&m->dirty);
			last = now_ms();
			continue;
		}
		word_wait(&c->work_word, seen, WORK_TICK_MS);
	}
	return NULL;
}

int checkpoint_new(struct mneme *m)
{
	struct checkpoint *c = alloc_zeroed(1, sizeof *c);
	int rc = -ENOMEM;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->run, NULL);
	c->super_page = alloc_aligned(FMT_PAGE_SIZE, FMT_PAGE_SIZE);
	c->bitmap = alloc_aligned(FMT_PAGE_SIZE, FMT_PAGE_SIZE);
	c->stage.bytes = alloc_aligned(FMT_PAGE_SIZE, STAGE_BYTES);
	c->compressed = alloc_get(FMT_VALUE_MAX);
	m->checkpoint = c;
	if (c->super_page && c->bitmap && c->stage.bytes && c->compressed)
		rc = m->io->ops->open(m->io, "super", m->read_only ? IO_READ : IO_WRITE,
				      &c->super_file);
	if (rc < 0)
		checkpoint_free(m);
	return rc;
}

void checkpoint_free(struct mneme *m)
{
	struct checkpoint *c = m->checkpoint;

	if (!c)
		return;
	if (c->super_file)
		m->io->ops->close(c->super_file);
	alloc_free(c->super_page);
	alloc_free(c->bitmap);
	alloc_free(c->stage.bytes);
	alloc_free(c->compressed);
	alloc_free(c->table);
	pthread_mutex_destroy(&c->run);
	alloc_free(c);
	m->checkpoint = NULL;
}

int checkpoint_start(struct mneme *m)
{
	struct checkpoint *c = m->checkpoint;
	sigset_t all, old;

	/* Signals are the program's business, not these threads'. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&c->flusher, NULL, flusher_main, m);
	if (rc == 0) {
		rc = pthread_create(&c->worker, NULL, worker_main, m);
		if (rc) {
			atomic_store_explicit(&c->stop, 1, memory_order_release);
			word_wake(&c->flush_word);
			pthread_join(c->flusher, NULL);
		}
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	c->threads = rc == 0;
	return -rc;
}

void checkpoint_stop(struct mneme *m)
{
	struct checkpoint *c = m->checkpoint;

	if (!c || !c->threads)
		return;
	atomic_store_explicit(&c->stop, 1, memory_order_release);
	word_wake(&c->flush_word);
	word_wake(&c->work_word);
	pthread_join(c->flusher, NULL);
	pthread_join(c->worker, NULL);
	c->threads = 0;
}
