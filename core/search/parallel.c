/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: see parallel.h. Ranges are handed out by one atomic counter. */
#include "core/search/parallel.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum { NICE = 10 };

struct parallel_job {
	_Atomic uint64_t
		next; /* [A] first number not handed out; relaxed: join orders the results */
	uint64_t count, grain;
	parallel_body *body;
	void *arg;
	const _Atomic int *cancel; /* or NULL */
};

static _Thread_local const _Atomic int *canceled_by;

static int is_set(const _Atomic int *cancel)
{
	return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

void parallel_cancel_by(const _Atomic int *cancel)
{
	canceled_by = cancel;
}

int parallel_is_canceled(void)
{
	return is_set(canceled_by);
}

static void *worker(void *arg)
{
	struct parallel_job *job = arg;

	for (;;) {
		uint64_t low =
			atomic_fetch_add_explicit(&job->next, job->grain, memory_order_relaxed);
		if (low >= job->count || is_set(job->cancel))
			return NULL;
		job->body(job->arg, low,
			  job->count - low < job->grain ? job->count : low + job->grain);
	}
}

/* Where others want the core, the thread that asked goes first: it may be all that there is for them. */
static void *helper(void *arg)
{
	(void)setpriority(PRIO_PROCESS, 0, NICE); /* of the calling thread, in Linux */
	return worker(arg);
}

int parallel_run(uint64_t count, uint64_t grain, unsigned threads, parallel_body *body, void *arg)
{
	struct parallel_job job = {
		.count = count, .grain = grain, .body = body, .arg = arg, .cancel = canceled_by};
	pthread_t others[PARALLEL_THREADS_MAX];
	unsigned started = 0;

	if (threads > PARALLEL_THREADS_MAX)
		threads = PARALLEL_THREADS_MAX;
	while (started + 1 < threads && (uint64_t)started * grain < count &&
	       !pthread_create(&others[started], NULL, helper, &job))
		started++;
	worker(&job);
	while (started)
		pthread_join(others[--started], NULL);
	return parallel_is_canceled() ? -ECANCELED : 0;
}
