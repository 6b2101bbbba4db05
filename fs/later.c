/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   later.h: a queue and its threads.
 * Threading: `mutex` for everything. A job belongs to the thread that took it until it is free again.
 */
#include "fs/later.h"

#include "core/memory/memory.h"
#include "fs/stack.h"
#include "fs/uring.h"
#include "pool/alloc.h"
#include "pool/check.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

struct job {
	struct op op;
	void (*run)(struct op *op, const void *args);
	_Alignas(16) char args[LATER_ARGS];
	struct job *next; /* that waits, or is free */
};

struct later {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct job jobs[LATER_MAX];
	struct job *free, *first, **last; /* `last`: where the next one goes */
	pthread_t threads[LATER_MAX];
	uint32_t count; /* threads */
	uint32_t now;
	uint64_t total;
	int ending;
};

int later_new(struct later **out)
{
	struct later *later = alloc_zeroed(1, sizeof(*later));

	if (!later)
		return -ENOMEM;
	pthread_mutex_init(&later->mutex, NULL);
	pthread_cond_init(&later->changed, NULL);
	later->last = &later->first;
	for (int i = 0; i < LATER_MAX; i++) {
		later->jobs[i].next = later->free;
		later->free = &later->jobs[i];
	}
	*out = later;
	return 0;
}

void later_free(struct later *later)
{
	if (!later)
		return;
	pthread_mutex_lock(&later->mutex);
	CHECK(!later->now);
	later->ending = 1;
	pthread_cond_broadcast(&later->changed);
	pthread_mutex_unlock(&later->mutex);
	for (uint32_t i = 0; i < later->count; i++)
		pthread_join(later->threads[i], NULL);
	pthread_cond_destroy(&later->changed);
	pthread_mutex_destroy(&later->mutex);
	alloc_free(later);
}

void later_read_stats(struct later *later, struct later_stats *out)
{
	pthread_mutex_lock(&later->mutex);
	*out = (struct later_stats){.total = later->total, .now = later->now};
	pthread_mutex_unlock(&later->mutex);
}

/* Gives the job back before the ring: when that has ended, no job is left (later_free()). */
static void job_do(struct later *later, struct job *job)
{
	struct uring *ring = job->op.ring;

	job->run(&job->op, job->args);
	pthread_mutex_lock(&later->mutex);
	job->next = later->free;
	later->free = job;
	later->now--;
	pthread_mutex_unlock(&later->mutex);
	uring_drop(ring);
}

static void *later_main(void *arg)
{
	struct later *later = arg;

	uring_guest();
	pthread_mutex_lock(&later->mutex);
	while (!later->ending) {
		struct job *job = later->first;
		if (!job) {
			pthread_cond_wait(&later->changed, &later->mutex);
			continue;
		}
		later->first = job->next;
		if (!later->first)
			later->last = &later->first;
		pthread_mutex_unlock(&later->mutex);
		job_do(later, job);
		pthread_mutex_lock(&later->mutex);
	}
	pthread_mutex_unlock(&later->mutex);
	return NULL;
}

/* One thread more; the signals of the process are not for it. [mutex] */
static int thread_start(struct later *later)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&later->threads[later->count], NULL, later_main, later);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	later->count += !err;
	return -err;
}

static void hurry(void *arg)
{
	struct fs *fs = arg;

	if (fs->memory)
		memory_release(fs->memory);
}

int later_run(struct op *op, void (*run)(struct op *op, const void *args), const void *args,
	      size_t size)
{
	struct later *later = op->fs->later;
	struct uring *ring = uring_of_thread();

	CHECK(size <= LATER_ARGS);
	if (!ring || op->ring)
		return 0;
	pthread_mutex_lock(&later->mutex);
	struct job *job = later->free;
	/* one for each that waits: none of them may have to wait for another one */
	uint32_t waiting = later->now + 1;
	if (!job || (later->count < waiting && thread_start(later))) {
		pthread_mutex_unlock(&later->mutex);
		return 0;
	}
	later->free = job->next;
	job->op = *op;
	job->op.ring = ring;
	job->run = run;
	if (size)
		memcpy(job->args, args, size);
	job->next = NULL;
	*later->last = job;
	later->last = &job->next;
	later->now++;
	later->total++;
	uring_hold(ring, hurry, op->fs);
	pthread_cond_signal(&later->changed);
	pthread_mutex_unlock(&later->mutex);
	stack_leave();
	return 1;
}
