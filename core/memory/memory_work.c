/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   which file is embedded next, on the store's bridge: files that were quiet, with low
 *            priority; files that a sync waits for, at once and with high priority.
 *
 *   A file is a job of several steps (memory_file.c), and each step is a task of its own: so a file of
 *   many passages keeps nobody waiting for longer than one step, and what the bridge has to do besides
 *   comes between the steps. All jobs share one bench (encoder, splitter), so one step runs at a time.
 *   Who waits takes turns with the others that wait, and now and then with the quiet files, so that
 *   nobody starves.
 *
 * Invariants: a file is in `pending`, or has a job, or its records say what is to be said. A file has at
 *            most one job. There are at most as many jobs as there are waiters, and one.
 *            A sync is over when a job that began after it (or had not read the file before the last
 *            change) has ended; its error goes to each who waits for it, once. Nothing of this is on
 *            disk: after a crash the records show which files are pending.
 *            `armed_ms` is when the alarm goes off (0: not). Who adds a file and sees an earlier alarm
 *            relies on it to see the file: a fence between the two, as in the alarm (Dekker).
 * Threading: `lock` for all but armed_ms. It is not held during a step: `running` keeps others out.
 * Failure:   a job that failed for lack of memory or by the disk is tried again RETRY_MS later.
 */
#include "core/bridge/bridge.h"
#include "core/memory/memory_inside.h"
#include "core/store/background.h"
#include "pool/check.h"

#include <errno.h>

enum { RETRY_MS = 30000, STALE_TRIES = 8, QUIET_TURN = 8, GONE_MS = 250 };

/* A sync that waits; on its thread's stack. */
struct memory_waiter {
	uint64_t inode;    /* 0: all that was pending at `until_ms` */
	uint64_t until_ms; /* for 0 */
	int begun;         /* the job that it waits for is in `jobs`; of 0: reviewed */
	uint64_t last;     /* of 0: the last job that it waits for; 0: not known yet */
	int tries;         /* jobs that found the file changed at their end */
	int done, rc;
	struct memory_waiter *next;
};

static uint64_t now_ms(void)
{
	return memory_now_ns() / 1000000;
}

/* ---- alarm ---- */

static void alarm_set(struct memory_work *w, uint64_t due_ms)
{
	uint64_t armed = atomic_load_explicit(&w->armed_ms, memory_order_relaxed);

	if (armed && armed <= due_ms)
		return;
	atomic_store_explicit(&w->armed_ms, due_ms, memory_order_relaxed);
	bridge_periodic_at(w->alarm, due_ms * 1000000);
}

void memory_work_add(struct memory *mem, uint64_t due_ms)
{
	if (!mem->work_queue.bridge)
		return;
	/* seq_cst: see the head of this file */
	atomic_thread_fence(memory_order_seq_cst);
	alarm_set(&mem->work_queue, due_ms);
}

static void pump(struct memory *mem, enum bridge_priority priority);

static void alarm_off(void *arg, int status)
{
	struct memory *mem = arg;

	(void)status;
	/* seq_cst: see the head of this file */
	atomic_store_explicit(&mem->work_queue.armed_ms, 0, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	pump(mem, BRIDGE_PRIORITIES);
}

/* ---- what is next ---- */

static int find_job(const struct memory_work *w, uint64_t inode)
{
	for (unsigned i = 0; i < w->count; i++)
		if (w->jobs[i].inode == inode)
			return (int)i;
	return -1;
}

/* A job that nobody waits for by name, the oldest: -1: none. */
static int quiet_job(const struct memory_work *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		const struct memory_waiter *waiter = w->waiters;
		while (waiter && waiter->inode != w->jobs[i].inode)
			waiter = waiter->next;
		if (!waiter)
			return (int)i;
	}
	return -1;
}

static void waiter_end(struct memory_work *w, struct memory_waiter *ended, int rc)
{
	struct memory_waiter **at = &w->waiters;

	while (*at != ended)
		at = &(*at)->next;
	*at = ended->next;
	w->waiting--;
	if (rc < 0)
		ended->rc = rc;
	ended->done = 1;
	pthread_cond_broadcast(&w->changed);
}

/* Puts the first waiter behind the others. */
static void waiters_turn(struct memory_work *w)
{
	struct memory_waiter *first = w->waiters, **at = &w->waiters;

	w->waiters = first->next;
	first->next = NULL;
	while (*at)
		at = &(*at)->next;
	*at = first;
}

/* From here on the file is read anew: what waits for it waits for this job. */
static void job_begins(struct memory_work *w, uint64_t inode)
{
	for (struct memory_waiter *waiter = w->waiters; waiter; waiter = waiter->next)
		if (waiter->inode == inode)
			waiter->begun = 1;
}

/* The job of a file, or a place for one. */
static int job_of(struct memory_work *w, uint64_t inode)
{
	int job = find_job(w, inode);

	if (job >= 0)
		return job;
	CHECK(w->count < MEMORY_JOBS_MAX);
	job_begins(w, inode);
	w->jobs[w->count] = (struct memory_work_job){.inode = inode, .number = ++w->born};
	return (int)w->count++;
}

/* `work` is held by `running`. */
static int review_if_due(struct memory *mem, uint64_t now)
{
	uint64_t due = atomic_load_explicit(&mem->opted, memory_order_acquire);

	if (!due || due > now)
		return 0;
	/* A request from here on finds 0 and asks again. */
	atomic_store_explicit(&mem->opted, 0, memory_order_release);
	return memory_index_review(mem);
}

/* A single file. A job that read it before its last change is of no use: it begins anew. */
static int next_of_file(struct memory_work *w, const struct memory_waiter *waiter)
{
	int job = job_of(w, waiter->inode);

	if (!waiter->begun) {
		memory_job_free(w->jobs[job].job);
		w->jobs[job].job = NULL;
		job_begins(w, waiter->inode);
	}
	return job;
}

/* All files that were pending. Once none is left the jobs that there are by then remain. */
static int next_of_all(struct memory *mem, struct memory_waiter *waiter)
{
	struct memory_work *w = &mem->work_queue;
	int job = quiet_job(w);
	uint64_t inode = 0, next;

	if (!waiter->last && job >= 0)
		return job;
	if (!waiter->last)
		inode = pending_take(&mem->pending, waiter->until_ms, &next);
	if (inode)
		return job_of(w, inode);
	if (!waiter->last)
		waiter->last = w->born + 1;
	for (unsigned i = 0; i < w->count; i++)
		if (w->jobs[i].number < waiter->last)
			return (int)i;
	waiter_end(w, waiter, 0);
	return -1;
}

/* The job whose step is next for the first waiter; -1: none. */
static int next_waited(struct memory *mem)
{
	struct memory_work *w = &mem->work_queue;
	struct memory_waiter *first = w->waiters;

	waiters_turn(w);
	if (first->inode)
		return next_of_file(w, first);
	if (first->begun)
		return next_of_all(mem, first);
	first->begun = 1;
	pthread_mutex_unlock(&w->lock);
	int rc = review_if_due(mem, UINT64_MAX);
	pthread_mutex_lock(&w->lock);
	if (rc < 0 && !w->released)
		waiter_end(w, first, rc);
	return -1;
}

/* The same for the files that were quiet. */
static int next_quiet(struct memory *mem)
{
	struct memory_work *w = &mem->work_queue;
	int job = quiet_job(w);
	uint64_t next;

	if (job >= 0)
		return job;
	uint64_t inode = pending_take(&mem->pending, now_ms(), &next);
	return inode ? job_of(w, inode) : -1;
}

/* ---- steps ---- */

static void ask(struct memory *mem, enum bridge_priority priority)
{
	struct memory_work *w = &mem->work_queue;

	if (w->tasks[priority].queued)
		return;
	w->tasks[priority].queued = 1;
	if (bridge_submit(w->bridge, &w->tasks[priority].task, priority, 0) == 0)
		return;
	w->tasks[priority].queued = 0; /* no room: later */
	alarm_set(w, now_ms() + 10);
}

/* What remains is asked for with the priority that it has. */
static void ask_next(struct memory *mem)
{
	struct memory_work *w = &mem->work_queue;
	uint64_t review = atomic_load_explicit(&mem->opted, memory_order_acquire);
	uint64_t now = now_ms(), next = 0;
	int job = quiet_job(w);

	if (w->stop)
		return;
	if (w->waiters) {
		ask(mem, BRIDGE_HIGH);
	} else if (job >= 0) {
		ask(mem, w->jobs[job].job && memory_job_stores(w->jobs[job].job) ? BRIDGE_NORMAL
										 : BRIDGE_LOW);
	} else if (pending_due(&mem->pending, now, &next) || (review && review <= now)) {
		ask(mem, BRIDGE_LOW);
	} else {
		if (review && (!next || review < next))
			next = review;
		if (next)
			alarm_set(w, next);
	}
}

/* A job has ended: tells those who wait for it. */
static void job_end(struct memory *mem, unsigned number, int rc)
{
	struct memory_work *w = &mem->work_queue;
	uint64_t inode = w->jobs[number].inode;
	struct memory_waiter *waiter = w->waiters, *next;
	int again = 0;

	w->jobs[number] = w->jobs[--w->count];
	memory_changed(mem);
	for (; waiter; waiter = next) {
		next = waiter->next;
		if (waiter->inode == inode && waiter->begun) {
			if (rc == -ESTALE && ++waiter->tries < STALE_TRIES) {
				waiter->begun = 0;
				again = 1;
			} else {
				waiter_end(w, waiter, rc == -ESTALE ? 0 : rc);
			}
		} else if (!waiter->inode && rc < 0 && rc != -ESTALE) {
			waiter->rc = rc;
		}
	}
	if (rc == -ESTALE && !again) /* after it has been quiet again */
		pending_add(&mem->pending, inode, now_ms() + mem->quiet_ms);
	else if (rc < 0 && rc != -ESTALE && rc != -EROFS)
		pending_add(&mem->pending, inode, now_ms() + RETRY_MS);
}

/* One step of a job, without the lock. */
static void job_step(struct memory *mem, unsigned number)
{
	struct memory_work *w = &mem->work_queue;
	struct memory_job *job = w->jobs[number].job;
	uint64_t inode = w->jobs[number].inode;
	int rc = 1;

	pthread_mutex_unlock(&w->lock);
	if (job) {
		rc = memory_job_step(job);
	} else {
		pending_remove(&mem->pending, inode); /* what changed until now is read now */
		rc = memory_job_new(mem, inode, &job);
		rc = rc == 0 ? 1 : rc == -ENOENT ? 0 : rc;
	}
	if (rc <= 0)
		memory_job_free(job);
	pthread_mutex_lock(&w->lock);
	/* only this thread takes jobs out, but others come in behind */
	CHECK(w->jobs[number].inode == inode);
	w->jobs[number].job = job;
	if (rc <= 0)
		job_end(mem, number, rc);
}

/* One step of what is next. `priority`: of the task that runs this. */
static void pump(struct memory *mem, enum bridge_priority priority)
{
	struct memory_work *w = &mem->work_queue;

	pthread_mutex_lock(&w->lock);
	if (priority < BRIDGE_PRIORITIES)
		w->tasks[priority].queued = 0;
	if (!w->running && !w->stop) {
		w->running = 1;
		int quiet = !w->waiters || ++w->turn % QUIET_TURN == 0;
		int job = quiet ? next_quiet(mem) : next_waited(mem);
		if (job >= 0) {
			job_step(mem, (unsigned)job);
		} else if (quiet) {
			pthread_mutex_unlock(&w->lock);
			review_if_due(mem, now_ms());
			pthread_mutex_lock(&w->lock);
		}
		w->running = 0;
		ask_next(mem);
	}
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void task_run(struct bridge_task *task, int status)
{
	struct memory_work_task *mine = (struct memory_work_task *)task;

	(void)status;
	pump(mine->memory, mine->priority);
}

/* ---- syncs ---- */

/* Waits for the next change: 0, or -EINTR. */
static int wait_for_change(struct memory_work *w, memory_gone *gone, void *arg)
{
	struct timespec until;

	if (!gone) {
		pthread_cond_wait(&w->changed, &w->lock);
		return 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GONE_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	if (pthread_cond_clockwait(&w->changed, &w->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
		return 0;
	pthread_mutex_unlock(&w->lock);
	int has_gone = gone(arg);
	pthread_mutex_lock(&w->lock);
	return has_gone ? -EINTR : 0;
}

int memory_work_sync(struct memory *mem, uint64_t inode, memory_gone *gone, void *arg)
{
	struct memory_work *w = &mem->work_queue;
	struct memory_waiter waiter = {.inode = inode, .until_ms = now_ms() + mem->quiet_ms};

	pthread_mutex_lock(&w->lock);
	int rc = 0;
	while (w->waiting == MEMORY_JOBS_MAX - 1 && !w->released && rc == 0)
		rc = wait_for_change(w, gone, arg);
	if (w->released || rc < 0) {
		pthread_mutex_unlock(&w->lock);
		return rc < 0 ? rc : -ECANCELED;
	}
	if (inode && !pending_has(&mem->pending, inode)) {
		if (find_job(w, inode) < 0) {
			pthread_mutex_unlock(&w->lock);
			return 0;
		}
		waiter.begun = 1;
	}
	waiter.next = w->waiters; /* those in a hurry take turns, so the place does not matter */
	w->waiters = &waiter;
	w->waiting++;
	ask(mem, BRIDGE_HIGH);
	while (!waiter.done)
		if (wait_for_change(w, gone, arg) < 0 && !waiter.done)
			waiter_end(w, &waiter, -EINTR);
	pthread_mutex_unlock(&w->lock);
	return waiter.rc;
}

void memory_work_release(struct memory *mem)
{
	struct memory_work *w = &mem->work_queue;

	if (!w->bridge)
		return;
	pthread_mutex_lock(&w->lock);
	w->released = 1;
	while (w->waiters)
		waiter_end(w, w->waiters, -ECANCELED);
	pthread_cond_broadcast(&w->changed); /* who waits for a place */
	pthread_mutex_unlock(&w->lock);
}

int memory_work_has(struct memory *mem, uint64_t inode)
{
	struct memory_work *w = &mem->work_queue;
	int has;

	if (!w->bridge)
		return pending_has(&mem->pending, inode);
	/* Under the lock: a file that leaves `pending` has its job by then. */
	pthread_mutex_lock(&w->lock);
	has = pending_has(&mem->pending, inode) || find_job(w, inode) >= 0;
	pthread_mutex_unlock(&w->lock);
	return has;
}

uint32_t memory_work_pending(struct memory *mem)
{
	struct memory_work *w = &mem->work_queue;
	uint32_t count = atomic_load_explicit(&mem->pending.count, memory_order_relaxed);

	if (!w->bridge)
		return count;
	pthread_mutex_lock(&w->lock);
	count += w->count;
	pthread_mutex_unlock(&w->lock);
	return count;
}

int memory_work_later(struct memory *mem, uint64_t inode)
{
	uint64_t due = now_ms() + RETRY_MS;
	int rc = pending_add(&mem->pending, inode, due);

	if (rc == 0)
		memory_work_add(mem, due);
	return rc;
}

/* ---- start and end ---- */

int memory_work_start(struct memory *mem)
{
	struct memory_work *w = &mem->work_queue;

	if (!background_bridge(mem->engine))
		return -EINVAL;
	for (unsigned p = 0; p < BRIDGE_PRIORITIES; p++)
		w->tasks[p] = (struct memory_work_task){{.run = task_run}, mem, p, 0};
	int rc = bridge_periodic_new(background_bridge(mem->engine), 0, BRIDGE_LOW, alarm_off, mem,
				     &w->alarm);
	if (rc < 0)
		return rc;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	w->bridge = background_bridge(mem->engine);
	pthread_mutex_lock(&w->lock);
	ask_next(mem); /* what was found pending */
	pthread_mutex_unlock(&w->lock);
	return 0;
}

void memory_work_stop(struct memory *mem)
{
	struct memory_work *w = &mem->work_queue;
	unsigned queued;

	if (!w->bridge)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = 1;
	pthread_mutex_unlock(&w->lock);
	bridge_periodic_stop(w->alarm);
	pthread_mutex_lock(&w->lock);
	do {
		queued = 0;
		for (unsigned p = 0; p < BRIDGE_PRIORITIES; p++)
			queued += (unsigned)w->tasks[p].queued;
		if (queued || w->running)
			pthread_cond_wait(&w->changed, &w->lock);
	} while (queued || w->running);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->count; i++) {
		if (pending_add(&mem->pending, w->jobs[i].inode, 0) < 0)
			atomic_store_explicit(&mem->has_errors, 1, memory_order_relaxed);
		memory_job_free(w->jobs[i].job);
	}
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	w->bridge = NULL;
}
