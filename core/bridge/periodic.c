/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   periodic tasks: one thread that sleeps until the next is due, and hands it to the
 *            workers.
 * Invariants: a periodic is in the ring at most once (`busy`), so it needs no place at a gate:
 *            the rings have BRIDGE_PERIODICS_MAX places besides. What bridge_periodic_at() asked
 *            for is never left out: it waits until the call before it has ended.
 * Threading: all under timer.mutex, which is never held while fn runs.
 */
#include "core/bridge/internal.h"
#include "pool/check.h"

#include <time.h>

enum { PERIOD_NS_MIN = 1000000 };
#define NEVER UINT64_MAX

static _Thread_local struct bridge_periodic *periodic_running;

static void periodic_run(struct bridge_task *task, int status)
{
	struct bridge_periodic *periodic = (struct bridge_periodic *)task;
	struct timer *timer = &periodic->bridge->timer;

	pthread_mutex_lock(&timer->mutex);
	int active = periodic->active;
	pthread_mutex_unlock(&timer->mutex);
	if (active && !status) {
		periodic_running = periodic;
		periodic->fn(periodic->arg, status);
		periodic_running = NULL;
	}
	pthread_mutex_lock(&timer->mutex);
	periodic->busy = 0;
	if (periodic->asked) /* while it ran */
		pthread_cond_signal(&timer->changed);
	pthread_cond_broadcast(&timer->rested);
	pthread_mutex_unlock(&timer->mutex);
}

int task_is_periodic(const struct bridge_task *task)
{
	return task->run == periodic_run;
}

/* Hands what is due to the workers, and finds when it is due next. Under the mutex. */
static void periodic_due(struct bridge *bridge, struct bridge_periodic *periodic, uint64_t now)
{
	struct timer *timer = &bridge->timer;

	if (periodic->busy && periodic->asked)
		return;
	if (periodic->busy) {
		timer->left_out++;
	} else if (inflight_enter(bridge) == 0) {
		periodic->busy = 1;
		periodic->task.queued_ns = now;
		counters_add(&bridge->counts, COUNT_SUBMITTED + periodic->priority, 1);
		ring_put(&bridge->ring[periodic->priority], &periodic->task);
		workers_signal(bridge, periodic->priority);
	}
	periodic->asked = 0;
	if (!periodic->period_ns)
		periodic->due_ns = NEVER;
	else if (periodic->due_ns + periodic->period_ns > now)
		periodic->due_ns += periodic->period_ns;
	else
		periodic->due_ns = now + periodic->period_ns;
}

/* Submits what is due; returns when the next is due, NEVER if there is none. Under the mutex. */
static uint64_t timer_submit_due(struct bridge *bridge, uint64_t now)
{
	struct timer *timer = &bridge->timer;
	uint64_t next = NEVER;

	for (unsigned i = 0; i < BRIDGE_PERIODICS_MAX; i++) {
		struct bridge_periodic *periodic = &timer->periodic[i];

		if (!periodic->active)
			continue;
		if (periodic->due_ns <= now)
			periodic_due(bridge, periodic, now);
		if (periodic->due_ns > now && periodic->due_ns < next)
			next = periodic->due_ns;
	}
	return next;
}

static void *timer_main(void *arg)
{
	struct bridge *bridge = arg;
	struct timer *timer = &bridge->timer;

	pthread_mutex_lock(&timer->mutex);
	while (!timer->quit) {
		uint64_t next = timer_submit_due(bridge, bridge_now_ns());
		struct timespec until = {
			.tv_sec = (time_t)(next / 1000000000u),
			.tv_nsec = (long)(next % 1000000000u),
		};

		timer->next_ns = next;
		if (next != NEVER)
			pthread_cond_timedwait(&timer->changed, &timer->mutex, &until);
		else
			pthread_cond_wait(&timer->changed, &timer->mutex);
	}
	pthread_mutex_unlock(&timer->mutex);
	return NULL;
}

int timer_start(struct bridge *bridge)
{
	struct timer *timer = &bridge->timer;
	pthread_condattr_t attr;

	pthread_mutex_init(&timer->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&timer->changed, &attr);
	pthread_cond_init(&timer->rested, &attr);
	pthread_condattr_destroy(&attr);
	return -pthread_create(&timer->thread, NULL, timer_main, bridge);
}

void timer_stop(struct bridge *bridge)
{
	struct timer *timer = &bridge->timer;

	pthread_mutex_lock(&timer->mutex);
	timer->quit = 1;
	for (unsigned i = 0; i < BRIDGE_PERIODICS_MAX; i++)
		timer->periodic[i].active = 0;
	pthread_cond_signal(&timer->changed);
	pthread_mutex_unlock(&timer->mutex);
	pthread_join(timer->thread, NULL);
}

int bridge_periodic_new(struct bridge *bridge, uint64_t period_ns, enum bridge_priority priority,
			void (*fn)(void *arg, int status), void *arg, struct bridge_periodic **out)
{
	struct timer *timer = &bridge->timer;
	int error = -ENOSPC;

	if ((period_ns && period_ns < PERIOD_NS_MIN) || (unsigned)priority >= BRIDGE_PRIORITIES ||
	    !fn)
		return -EINVAL;
	pthread_mutex_lock(&timer->mutex);
	for (unsigned i = 0; i < BRIDGE_PERIODICS_MAX && error; i++) {
		struct bridge_periodic *periodic = &timer->periodic[i];

		if (periodic->active || periodic->busy)
			continue;
		*periodic = (struct bridge_periodic){
			.task = {.run = periodic_run},
			.bridge = bridge,
			.fn = fn,
			.arg = arg,
			.period_ns = period_ns,
			.due_ns = period_ns ? bridge_now_ns() + period_ns : NEVER,
			.priority = priority,
			.active = 1,
		};
		*out = periodic;
		error = 0;
	}
	pthread_cond_signal(&timer->changed);
	pthread_mutex_unlock(&timer->mutex);
	return error;
}

int bridge_periodic_set(struct bridge_periodic *periodic, uint64_t period_ns)
{
	struct timer *timer = &periodic->bridge->timer;

	if (period_ns < PERIOD_NS_MIN)
		return -EINVAL;
	pthread_mutex_lock(&timer->mutex);
	periodic->period_ns = period_ns;
	periodic->due_ns = bridge_now_ns() + period_ns;
	pthread_cond_signal(&timer->changed);
	pthread_mutex_unlock(&timer->mutex);
	return 0;
}

void bridge_periodic_at(struct bridge_periodic *periodic, uint64_t when_ns)
{
	struct timer *timer = &periodic->bridge->timer;

	pthread_mutex_lock(&timer->mutex);
	if (when_ns < periodic->due_ns) {
		periodic->due_ns = when_ns;
		periodic->asked = 1;
		if (when_ns < timer->next_ns)
			pthread_cond_signal(&timer->changed);
	}
	pthread_mutex_unlock(&timer->mutex);
}

int bridge_periodic_stop(struct bridge_periodic *periodic)
{
	struct timer *timer = &periodic->bridge->timer;

	if (periodic_running == periodic)
		return -EDEADLK;
	pthread_mutex_lock(&timer->mutex);
	periodic->active = 0;
	while (periodic->busy)
		pthread_cond_wait(&timer->rested, &timer->mutex);
	pthread_mutex_unlock(&timer->mutex);
	return 0;
}
