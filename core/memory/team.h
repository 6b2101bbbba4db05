/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a few threads that help one other thread with a step of a few microseconds: much shorter
 *            than what a queue (core/bridge) or starting threads (core/search/parallel.h) is for.
 * Invariants: a step is `count` parts, each done once by some thread. The caller does parts too and
 *            needs no helper: one that comes late, or never, costs speed only.
 * Threading: team_take() by any thread; who got it calls team_step() and team_give().
 *            The step's generation, size and next part are one word: a part is claimed by a
 *            compare-and-swap (acquire; pairs with the release that began the step), so nobody claims a
 *            part of a step that is over. Function and argument change only when all parts
 *            are done (release by the doer; acquire by the caller).
 *            A helper without work spins for some microseconds and then sleeps on `bell`.
 * Failure:   -ENOMEM, -EAGAIN: no thread.
 */
#ifndef MNEME_CORE_MEMORY_TEAM_H
#define MNEME_CORE_MEMORY_TEAM_H

#include <stdint.h>

enum { TEAM_PARTS_MAX = 65535 };

struct team;

/* member: 0 the caller, 1 .. the helpers. */
typedef void team_work(void *arg, unsigned member, uint32_t part);

int team_new(unsigned helpers, struct team **out);
void team_free(struct team *team);
/* 0, or -EBUSY: another thread has it. */
int team_take(struct team *team);
void team_give(struct team *team);
/* Does parts 0 .. count - 1; returns when all are done. */
void team_step(struct team *team, team_work *work, void *arg, uint32_t count);

#endif
