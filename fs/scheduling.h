/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the scheduling class of the daemon's threads, decided here and nowhere else. In the class
 *            SCHED_IDLE a reply lets the client take the core of the thread that replied at once, so it
 *            stays there; in the usual class the kernel moves the client to another core that is idle,
 *            and has to wake that, with each request.
 * Invariants: the threads are in SCHED_IDLE only while the daemon shares its scheduling group with
 *            nobody (in that class they would wait for all others of their group), and while some core
 *            is idle at times (else there is nowhere to move to, and a thread of that class does not take
 *            a core from others of the usual one when it is woken). All threads
 *            but the watch have the same class, so that their shares among each other stay equal and none
 *            waits for a lock of one that gets no core. The class is entered only where leaving is
 *            permitted.
 * Threading: one thread, the watch, applies the class, looks how long the threads that serve requests
 *            waited for a core, and takes the usual class back when that was too long; it tries again
 *            later. It stays in the usual class itself.
 * Failure:   whatever is not known or not permitted means the usual class.
 */
#ifndef MNEME_FS_SCHEDULING_H
#define MNEME_FS_SCHEDULING_H

#include <stdint.h>

struct sched;

/* Why this process may not be alone in its scheduling group, NULL if it is. `root`: "", or the folder of
 * a test that has proc/ and sys/. Sources: sched(7) on autogroups, cgroups(7), cgroup_namespaces(7). */
const char *sched_shared(const char *root);

/* What the kernel says of a thread (its schedstat), ns and count since its start. */
struct sched_sample {
	uint64_t ran_ns, waited_ns, runs;
	int ready; /* it runs or waits for a core as this is taken */
};

/* Did a thread wait too long for a core in the `elapsed_ns` between two samples? */
int sched_starved(const struct sched_sample *before, const struct sched_sample *after,
		  uint64_t elapsed_ns);

/* Of the looks at the machine that found a core idle: a moving mean in hundredths, after one look more.
 * (What the kernel counts as idle time stands still while a core sleeps.) */
unsigned sched_spare_mean(unsigned mean, int is_idle);
/* Is that enough? A little less will do for who `was` in the class. */
int sched_spare(int was, unsigned mean);

/* Starts the watch. -ENOMEM, -EAGAIN (no thread). `refused`: why the threads keep the usual class for
 * good, a constant; NULL: the watch decides. */
int sched_start(const char *refused, struct sched **out);
/* Gives all threads the usual class back, and ends the watch; once more, and NULL: nothing. */
void sched_stop(struct sched *sched);
/* After sched_stop(), when nobody reads figures any more. NULL: nothing. */
void sched_free(struct sched *sched);

/* This thread serves requests: the watch looks after it. Cheap. */
void sched_serves(void);

struct sched_stats {
	int idle;            /* SCHED_IDLE is live */
	uint64_t taken_back; /* times that the watch took the usual class back */
	const char *why;     /* it is not; "" */
};

/* `sched` may be NULL. */
void sched_read_stats(const struct sched *sched, struct sched_stats *out);

#endif
