/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see team.h.
 */
#include "core/memory/team.h"
#include "core/bridge/futex.h"
#include "pool/alloc.h"
#include "pool/check.h"
#include "pool/thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>

enum { SPINS_BEFORE_SLEEP = 4000, SPINS_BEFORE_YIELD = 2000 };

struct team {
	alignas(CACHE_LINE) _Atomic uint64_t step; /* [A] generation 32 | count 16 | next 16 */
	alignas(CACHE_LINE) _Atomic uint32_t done; /* [A] parts of this step */
	alignas(CACHE_LINE) _Atomic uint32_t bell; /* [A] futex: changes when work may have come */
	_Atomic uint32_t sleepers;                 /* [A] */
	_Atomic uint32_t stop;                     /* [A] */
	_Atomic uint32_t taken;                    /* [A] */
	team_work *work; /* written before a step begins, read by those who claimed a part */
	void *arg;       /* the same */
	unsigned helpers;
	pthread_t thread[];
};

struct start {
	struct team *team;
	unsigned member;
	_Atomic uint32_t *taken_over;
};

/* Claims a part and does it; 0 when there is none. */
static int do_part(struct team *team, unsigned member)
{
	uint64_t step = atomic_load_explicit(&team->step, memory_order_relaxed);

	for (;;) {
		if ((step & 0xffff) >= (step >> 16 & 0xffff))
			return 0;
		if (atomic_compare_exchange_weak_explicit(&team->step, &step, step + 1,
							  memory_order_acquire,
							  memory_order_relaxed))
			break;
	}
	team->work(team->arg, member, (uint32_t)(step & 0xffff));
	atomic_fetch_add_explicit(&team->done, 1, memory_order_release);
	return 1;
}

static void sleep_until_rung(struct team *team, uint32_t bell)
{
	atomic_fetch_add_explicit(&team->sleepers, 1, memory_order_relaxed);
	futex_sleep(&team->bell, bell, 0);
	atomic_fetch_sub_explicit(&team->sleepers, 1, memory_order_relaxed);
}

static void *helper(void *arg)
{
	struct start start = *(struct start *)arg;
	struct team *team = start.team;

	atomic_store_explicit(start.taken_over, 1, memory_order_release);
	while (!atomic_load_explicit(&team->stop, memory_order_acquire)) {
		/* acquire: what rang the bell before is seen below, or the sleep ends at once */
		uint32_t bell = atomic_load_explicit(&team->bell, memory_order_acquire);
		unsigned spins = 0;
		while (spins++ < SPINS_BEFORE_SLEEP) {
			if (do_part(team, start.member))
				spins = 0;
			else
				thread_pause();
		}
		if (!atomic_load_explicit(&team->stop, memory_order_acquire))
			sleep_until_rung(team, bell);
	}
	return NULL;
}

static void ring(struct team *team)
{
	/* release: pairs with the acquire in helper() */
	atomic_fetch_add_explicit(&team->bell, 1, memory_order_release);
	futex_wake(&team->bell, INT_MAX);
}

int team_new(unsigned helpers, struct team **out)
{
	struct team *team = alloc_aligned(CACHE_LINE, sizeof(*team) + helpers * sizeof(pthread_t));
	sigset_t all, before;
	int error = 0;

	if (!team)
		return -ENOMEM;
	*team = (struct team){.helpers = 0};
	/* signals are for other threads */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < helpers && !error; i++) {
		_Atomic uint32_t taken_over = 0;
		struct start start = {team, i + 1, &taken_over};
		error = -pthread_create(&team->thread[i], NULL, helper, &start);
		while (!error && !atomic_load_explicit(&taken_over, memory_order_acquire))
			sched_yield();
		team->helpers += !error;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		team_free(team);
	else
		*out = team;
	return error;
}

void team_free(struct team *team)
{
	if (!team)
		return;
	atomic_store_explicit(&team->stop, 1, memory_order_release);
	ring(team);
	for (unsigned i = 0; i < team->helpers; i++)
		pthread_join(team->thread[i], NULL);
	alloc_free(team);
}

int team_take(struct team *team)
{
	uint32_t free_word = 0;

	/* acquire: pairs with the release in team_give() */
	return atomic_compare_exchange_strong_explicit(&team->taken, &free_word, 1,
						       memory_order_acquire, memory_order_relaxed)
		       ? 0
		       : -EBUSY;
}

void team_give(struct team *team)
{
	atomic_store_explicit(&team->taken, 0, memory_order_release);
}

void team_step(struct team *team, team_work *work, void *arg, uint32_t count)
{
	uint64_t generation = (atomic_load_explicit(&team->step, memory_order_relaxed) >> 32) + 1;
	unsigned spins = 0;

	CHECK(count <= TEAM_PARTS_MAX);
	team->work = work;
	team->arg = arg;
	atomic_store_explicit(&team->done, 0, memory_order_relaxed);
	/* release: pairs with the acquire of whoever claims a part */
	atomic_store_explicit(&team->step, generation << 32 | (uint64_t)count << 16,
			      memory_order_release);
	if (atomic_load_explicit(&team->sleepers, memory_order_relaxed))
		ring(team);
	while (do_part(team, 0))
		;
	/* acquire: pairs with the release in do_part() */
	while (atomic_load_explicit(&team->done, memory_order_acquire) < count) {
		thread_pause();
		if (++spins > SPINS_BEFORE_YIELD)
			sched_yield();
	}
}
