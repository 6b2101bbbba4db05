/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   scheduling.h: the class of all threads, and the watch over it.
 * Invariants: a change of class reaches every thread: the list is gone through until nothing is left to
 *            change, and once more a look later, for a thread that was being made. With the class goes
 *            who made a thread: threads made in between have the one or the other.
 * Threading: see scheduling.h. serving[] is written by the threads that serve, and emptied by the watch.
 */
#include "fs/scheduling.h"

#include "fs/metrics.h"
#include "pool/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

enum { SERVING_MAX = 256 };
/* A look while requests flow, and otherwise. */
#define LOOK_NS (100 * MS)
#define LOOK_QUIET_NS (500 * MS)
/* Waited too long: this share of the time, in pieces of this length at the mean. Where all goes well a
 * thread waits for a few us at a time, where others compute in their own groups for a slice of 3 ms. */
#define STARVED_SHARE 10 /* a tenth */
#define STARVED_WAIT_NS (5 * MS)
/* When the class is tried again after that. */
#define RETRY_NS (10 * SECOND)
#define RETRY_NS_MAX (640 * SECOND)
/* Looks that find a core idle, in hundredths: this much makes the class worth while, less than that ends
 * it. A look counts for an eighth of the mean. */
#define SPARE_ENOUGH 25
#define SPARE_LEAST 10
#define SPARE_LOOKS 8

struct served {
	pid_t tid; /* of the samples; 0: none yet */
	struct sched_sample sample;
};

struct sched {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t end;
	int ending;  /* under the mutex */
	int watched; /* there is a thread; of who starts and stops it */
	/* of the watch alone */
	pid_t self;
	uint64_t retry_ns, retry_at_ns, entered_ns, looked_ns;
	unsigned spare_mean; /* see sched_spare_mean() */
	int spare;           /* a core is idle, at least at times */
	int unsettled;       /* the last change is to be made once more */
	struct served served[SERVING_MAX];
	/* figures */
	_Atomic int idle;            /* [A] */
	_Atomic uint64_t taken_back; /* [A] */
	const char *_Atomic why;     /* [A] */
};

static _Atomic pid_t serving[SERVING_MAX]; /* [A] threads that serve requests; 0: free */

void sched_serves(void)
{
	static _Thread_local int known;

	if (__builtin_expect(known, 1))
		return;
	known = 1;
	for (int i = 0; i < SERVING_MAX; i++) {
		pid_t none = 0;
		if (atomic_compare_exchange_strong_explicit(&serving[i], &none, gettid(),
							    memory_order_relaxed,
							    memory_order_relaxed))
			return;
	}
}

/* ---- the class ---- */

static int set_class(pid_t tid, int policy)
{
	const struct sched_param param = {0};

	return sched_setscheduler(tid, policy, &param);
}

/* Gives every thread but the watch the class. Threads that were given another one by hand keep it. */
static void set_all(const struct sched *sched, int from, int to)
{
	for (int changed = 1; changed;) {
		DIR *dir = opendir("/proc/self/task");

		changed = 0;
		for (struct dirent *entry; dir && (entry = readdir(dir));) {
			pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
			if (tid > 0 && tid != sched->self && sched_getscheduler(tid) == from)
				changed |= !set_class(tid, to);
		}
		if (dir)
			closedir(dir);
	}
}

static void *leave_main(void *arg)
{
	*(int *)arg = !set_class(0, SCHED_IDLE) && !set_class(0, SCHED_OTHER);
	return NULL;
}

/* May this process take the class back? Tried on a thread that ends with it. */
static int may_leave(void)
{
	pthread_t thread;
	int may = 0;

	if (pthread_create(&thread, NULL, leave_main, &may))
		return 0;
	pthread_join(thread, NULL);
	return may;
}

static const char *why_not(void)
{
	if (sched_getscheduler(0) != SCHED_OTHER)
		return "it was started in a class of its own";
	const char *why = sched_shared("");
	return why ? why : may_leave() ? NULL : "it may not leave the idle class again";
}

/* ---- the watch ---- */

int sched_starved(const struct sched_sample *before, const struct sched_sample *after,
		  uint64_t elapsed_ns)
{
	uint64_t waited = after->waited_ns - before->waited_ns, runs = after->runs - before->runs;

	if (before->ready && after->ready && after->ran_ns == before->ran_ns && !runs)
		waited = elapsed_ns; /* the kernel adds it up when the thread runs again */
	return waited * STARVED_SHARE > elapsed_ns && waited > STARVED_WAIT_NS * (runs ? runs : 1);
}

/* -errno: the thread is gone. */
static int read_thread(pid_t tid, const char *what, char *text, size_t room)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, what);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t length = read(fd, text, room - 1);
	close(fd);
	text[length > 0 ? length : 0] = 0;
	return length > 0 ? 0 : -ESRCH;
}

static int read_sample(pid_t tid, struct sched_sample *out)
{
	char text[512];
	int err = read_thread(tid, "schedstat", text, sizeof(text));

	if (err)
		return err;
	if (sscanf(text, "%lu %lu %lu", &out->ran_ns, &out->waited_ns, &out->runs) != 3)
		return -EINVAL;
	err = read_thread(tid, "stat", text, sizeof(text));
	const char *name_end = err ? NULL : strrchr(text, ')');
	out->ready = name_end && !strncmp(name_end, ") R", 3);
	return err;
}

/* Looks at all threads that serve. Returns 1: one waited too long. *busy: requests came since the last
 * look. */
static int look(struct sched *sched, int *busy)
{
	uint64_t now = metrics_now(), elapsed = now - sched->looked_ns;
	int starved = 0;

	*busy = 0;
	sched->looked_ns = now;
	for (int i = 0; i < SERVING_MAX; i++) {
		struct served *served = &sched->served[i];
		struct sched_sample sample;
		pid_t tid = atomic_load_explicit(&serving[i], memory_order_relaxed);

		if (!tid)
			continue;
		if (read_sample(tid, &sample)) {
			served->tid = 0;
			atomic_store_explicit(&serving[i], 0, memory_order_relaxed);
			continue;
		}
		if (served->tid == tid) {
			*busy |= sample.ready || sample.runs != served->sample.runs;
			starved |= sched_starved(&served->sample, &sample, elapsed);
		}
		*served = (struct served){.tid = tid, .sample = sample};
	}
	return starved;
}

unsigned sched_spare_mean(unsigned mean, int is_idle)
{
	return (mean * (SPARE_LOOKS - 1) + (is_idle ? 100 : 0)) / SPARE_LOOKS;
}

int sched_spare(int was, unsigned mean)
{
	return mean >= (was ? SPARE_LEAST : SPARE_ENOUGH);
}

/* Has the machine a core that is idle at times? This thread runs as it asks, and not in between. */
static int find_spare(struct sched *sched)
{
	unsigned ready = UINT_MAX;
	FILE *file = fopen("/proc/loadavg", "re");

	if (file && fscanf(file, "%*s %*s %*s %u/", &ready) != 1)
		ready = UINT_MAX;
	if (file)
		fclose(file);
	sched->spare_mean = sched_spare_mean(sched->spare_mean, ready <= (unsigned)get_nprocs());
	return sched->spare = sched_spare(sched->spare, sched->spare_mean);
}

/* Leaves the usual class if nothing speaks against it. */
static void take_idle(struct sched *sched)
{
	uint64_t now = metrics_now();
	const char *why = sched->spare ? why_not() : "no core is idle";

	if (sched->spare && why)
		sched->retry_at_ns = now + RETRY_NS;
	atomic_store_explicit(&sched->why, why ? why : "", memory_order_relaxed);
	if (why)
		return;
	set_all(sched, SCHED_OTHER, SCHED_IDLE);
	memset(sched->served, 0, sizeof(sched->served));
	sched->unsettled = 1;
	sched->entered_ns = now;
	atomic_store_explicit(&sched->idle, 1, memory_order_relaxed);
}

static void take_usual(struct sched *sched, const char *why)
{
	set_all(sched, SCHED_IDLE, SCHED_OTHER);
	sched->unsettled = 1;
	atomic_store_explicit(&sched->idle, 0, memory_order_relaxed);
	atomic_store_explicit(&sched->why, why, memory_order_relaxed);
}

/* Requests waited, whoever may be the cause: not again for some time. */
static void take_back(struct sched *sched)
{
	uint64_t now = metrics_now();

	take_usual(sched, "requests had waited for a core");
	atomic_fetch_add_explicit(&sched->taken_back, 1, memory_order_relaxed);
	if (now - sched->entered_ns > 2 * sched->retry_ns)
		sched->retry_ns = RETRY_NS;
	else if (sched->retry_ns < RETRY_NS_MAX)
		sched->retry_ns *= 2;
	sched->retry_at_ns = now + sched->retry_ns;
}

/* One turn of the watch; returns when the next is due. */
static uint64_t turn(struct sched *sched)
{
	int idle = atomic_load_explicit(&sched->idle, memory_order_relaxed), busy = 0;
	int spare = find_spare(sched);
	uint64_t now = metrics_now();

	if (sched->unsettled)
		set_all(sched, idle ? SCHED_OTHER : SCHED_IDLE, idle ? SCHED_IDLE : SCHED_OTHER);
	sched->unsettled = 0;
	if (idle && look(sched, &busy))
		take_back(sched);
	else if (idle && !spare)
		take_usual(sched, "no core is idle");
	else if (!idle && now >= sched->retry_at_ns)
		take_idle(sched);
	if (!idle && sched->retry_at_ns > now)
		return sched->retry_at_ns;
	return now + (busy || sched->unsettled ? LOOK_NS : LOOK_QUIET_NS);
}

static void *watch_main(void *arg)
{
	struct sched *sched = arg;

	sched->self = gettid();
	find_spare(sched);
	pthread_mutex_lock(&sched->mutex);
	while (!sched->ending) {
		pthread_mutex_unlock(&sched->mutex);
		uint64_t next = turn(sched);
		struct timespec until = {.tv_sec = (time_t)(next / SECOND),
					 .tv_nsec = (long)(next % SECOND)};
		pthread_mutex_lock(&sched->mutex);
		if (!sched->ending)
			pthread_cond_timedwait(&sched->end, &sched->mutex, &until);
	}
	pthread_mutex_unlock(&sched->mutex);
	if (atomic_load_explicit(&sched->idle, memory_order_relaxed)) /* nobody watches any more */
		set_all(sched, SCHED_IDLE, SCHED_OTHER);
	return NULL;
}

int sched_start(const char *refused, struct sched **out)
{
	struct sched *sched = alloc_zeroed(1, sizeof(*sched));
	pthread_condattr_t attr;

	if (!sched)
		return -ENOMEM;
	pthread_mutex_init(&sched->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&sched->end, &attr);
	pthread_condattr_destroy(&attr);
	sched->retry_ns = RETRY_NS;
	atomic_init(&sched->why, refused ? refused : "not decided yet");
	sched->watched = !refused;
	int err = refused ? 0 : pthread_create(&sched->thread, NULL, watch_main, sched);
	if (err) {
		sched->watched = 0;
		sched_free(sched);
		return -err;
	}
	*out = sched;
	return 0;
}

void sched_stop(struct sched *sched)
{
	if (!sched || !sched->watched)
		return;
	pthread_mutex_lock(&sched->mutex);
	sched->ending = 1;
	pthread_cond_signal(&sched->end);
	pthread_mutex_unlock(&sched->mutex);
	pthread_join(sched->thread, NULL);
	sched->watched = 0;
}

void sched_free(struct sched *sched)
{
	if (!sched)
		return;
	pthread_cond_destroy(&sched->end);
	pthread_mutex_destroy(&sched->mutex);
	alloc_free(sched);
}

void sched_read_stats(const struct sched *sched, struct sched_stats *out)
{
	*out = (struct sched_stats){.why = "no mount"};
	if (!sched)
		return;
	out->idle = atomic_load_explicit(&sched->idle, memory_order_relaxed);
	out->taken_back = atomic_load_explicit(&sched->taken_back, memory_order_relaxed);
	out->why = atomic_load_explicit(&sched->why, memory_order_relaxed);
}
