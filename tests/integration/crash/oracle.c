/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the oracle of the crash tests: writes files with known content on the mount and notes,
 *            outside of it, what has become durable; after a crash, checks what is there.
 * Invariants: a slot's file is replaced whole (write aside, fsync, rename, fsync of the directory) or
 *            removed (unlink, fsync of the directory); every third one has room set aside beyond its
 *            end; a log file is appended to, record by record, with fsync. Before each step an intent
 *            is noted, after it that it is durable.
 * Failure:   "verify" names what was lost, half there or invented; status 1.
 *
 * The note: one struct note a step, appended by one write(2) to a file outside the mount, which
 * outlives the daemon as it is the daemon that is killed, not the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4, SLOTS = 40, RECORD = 137, ABSENT = 0, ROOM = 1 << 20 };
enum { CONTENT_USUAL = 40000, CONTENT_MAX = 400000 };
enum phase { INTENT = 1, DURABLE = 2 };

struct note {
	uint32_t phase, worker, slot; /* slot == SLOTS: the worker's log, generation: its records */
	uint32_t generation;          /* ABSENT: the file is removed */
};

/* What a slot may be after a crash: the last durable state, or the one intended since. What is found
 * then has become durable, and is noted as such. */
struct state {
	uint32_t durable, last; /* generations */
	int removal_intended;
	uint32_t top; /* the highest generation ever intended */
};

static struct state states[WORKERS][SLOTS + 1];

static uint32_t mix(uint32_t a, uint32_t b)
{
	uint32_t h = a * 0x9e3779b1u ^ b * 0x85ebca77u;

	h ^= h >> 15;
	h *= 0x2c1b3c6du;
	h ^= h >> 13;
	return h;
}

/* Some are so large that the store writes their chunks once (core/store/runs.h). */
static size_t content(char *buffer, uint32_t worker, uint32_t slot, uint32_t generation)
{
	uint32_t seed = mix(worker * SLOTS + slot, generation);
	size_t most = generation % 5 ? 3000 : slot % 4 ? CONTENT_USUAL : CONTENT_MAX;
	size_t length = 20 + seed % (most - 20);
	int head = sprintf(buffer, "%u.%u.%u\n", worker, slot, generation);

	for (size_t i = head; i < length; i++)
		buffer[i] = 'a' + mix(seed, i / 4) % 26;
	return length;
}

static void log_record(char *buffer, uint32_t worker, uint32_t number)
{
	int head = sprintf(buffer, "log %u record %u ", worker, number);

	memset(buffer + head, 'a' + mix(worker, number) % 26, RECORD - head - 1);
	buffer[RECORD - 1] = '\n';
}

static void note(int fd, enum phase phase, uint32_t worker, uint32_t slot, uint32_t generation)
{
	struct note n = { phase, worker, slot, generation };

	if (write(fd, &n, sizeof n) != sizeof n) {
		perror("oracle");
		exit(2);
	}
}

/* What is set aside for a file of that generation. */
static off_t room_of(uint32_t generation)
{
	return generation % 3 ? 0 : ROOM;
}

static int write_file(int dir, const char *name, const char *buffer, size_t length, off_t room)
{
	int fd = openat(dir, name, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	if (fd < 0)
		return -1;
	if (room && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, room))
		return close(fd), -1;
	for (size_t at = 0; at < length;) {
		size_t step = length - at < 4096 || length > CONTENT_USUAL ? length - at : 4096;
		ssize_t n = write(fd, buffer + at, step);
		if (n < 0)
			return close(fd), -1;
		at += n;
	}
	int result = fsync(fd);
	return close(fd), result;
}

/* One step of a worker on a slot; -1 when the mount has gone. */
static int step_slot(int dir, int oracle, uint32_t worker, uint32_t slot, uint32_t generation)
{
	static char buffer[CONTENT_MAX];
	char name[32], aside[40];

	snprintf(name, sizeof name, "w%u.s%u", worker, slot);
	snprintf(aside, sizeof aside, "%s.aside", name);
	if (generation % 7 == 6) {
		note(oracle, INTENT, worker, slot, ABSENT);
		if ((unlinkat(dir, name, 0) && errno != ENOENT) || fsync(dir))
			return -1;
		note(oracle, DURABLE, worker, slot, ABSENT);
		return 0;
	}
	note(oracle, INTENT, worker, slot, generation);
	size_t length = content(buffer, worker, slot, generation);
	if (write_file(dir, aside, buffer, length, room_of(generation)) ||
	    renameat(dir, aside, dir, name) || fsync(dir))
		return -1;
	note(oracle, DURABLE, worker, slot, generation);
	return 0;
}

static int step_log(int dir, int oracle, uint32_t worker, uint32_t number)
{
	char name[32], record[RECORD];

	snprintf(name, sizeof name, "w%u.log", worker);
	int fd = openat(dir, name, O_CREAT | O_WRONLY | O_APPEND, 0644);
	if (fd < 0)
		return -1;
	log_record(record, worker, number);
	note(oracle, INTENT, worker, SLOTS, number + 1);
	/* a tail that an earlier crash cut is overwritten, not appended to */
	int result = ftruncate(fd, (off_t)number * RECORD) || write(fd, record, RECORD) != RECORD ||
		     fsync(fd) || (number == 0 && fsync(dir));
	close(fd);
	if (result)
		return -1;
	note(oracle, DURABLE, worker, SLOTS, number + 1);
	return 0;
}

static void load(int oracle)
{
	struct note n;

	while (read(oracle, &n, sizeof n) == sizeof n) {
		struct state *s = &states[n.worker][n.slot];
		if (n.phase == DURABLE) {
			s->durable = s->last = n.generation;
			s->removal_intended = 0;
		} else if (n.generation == ABSENT) {
			s->removal_intended = 1;
		} else {
			s->last = n.generation;
		}
		s->top = n.generation > s->top ? n.generation : s->top;
	}
}

static int run_worker(int dir, int oracle, uint32_t worker, uint32_t seed)
{
	uint32_t records = states[worker][SLOTS].durable;

	for (uint32_t i = 0;; i++) {
		uint32_t slot = mix(seed + worker, i) % (SLOTS + 4);
		if (slot >= SLOTS) {
			if (step_log(dir, oracle, worker, records))
				return 0;
			records++;
		} else {
			if (step_slot(dir, oracle, worker, slot, ++states[worker][slot].top))
				return 0;
		}
	}
}

static int complain(const char *name, const char *what, const struct state *s)
{
	printf("%s: %s (durable generation %u, last intended %u%s)\n", name, what, s->durable, s->last,
	       s->removal_intended ? ", removal intended" : "");
	return 1;
}

static int verify_slot(int dir, int oracle, uint32_t worker, uint32_t slot)
{
	static char found[CONTENT_MAX + 1], expected[CONTENT_MAX];
	const struct state *s = &states[worker][slot];
	char name[32];
	uint32_t w, sl, generation;

	snprintf(name, sizeof name, "w%u.s%u", worker, slot);
	int fd = openat(dir, name, O_RDONLY);
	if (fd < 0) {
		if (errno != ENOENT)
			return complain(name, strerror(errno), s);
		if (s->durable != ABSENT && !s->removal_intended)
			return complain(name, "lost", s);
		note(oracle, DURABLE, worker, slot, ABSENT);
		return 0;
	}
	struct stat st;
	ssize_t length = read(fd, found, CONTENT_MAX);
	int err = length < 0 || fstat(fd, &st) ? errno : 0;
	close(fd);
	if (err)
		return complain(name, strerror(err), s);
	found[length] = 0;
	if (sscanf(found, "%u.%u.%u\n", &w, &sl, &generation) != 3)
		return complain(name, "not one of its contents", s);
	if (length != (ssize_t)content(expected, worker, slot, generation) ||
	    memcmp(found, expected, length))
		return complain(name, "half there", s);
	if (st.st_blocks * 512 < room_of(generation))
		return complain(name, "without the room that was set aside", s);
	if (generation != s->durable && generation != s->last)
		return complain(name, "an old content", s);
	note(oracle, DURABLE, worker, slot, generation);
	return 0;
}

static int verify_log(int dir, int oracle, uint32_t worker)
{
	const struct state *s = &states[worker][SLOTS];
	char name[32], found[RECORD], expected[RECORD];
	uint32_t number = 0;

	snprintf(name, sizeof name, "w%u.log", worker);
	int fd = openat(dir, name, O_RDONLY);
	if (fd < 0)
		return s->durable ? complain(name, strerror(errno), s) : 0;
	ssize_t got;
	while ((got = read(fd, found, RECORD)) > 0) {
		log_record(expected, worker, number);
		if (memcmp(found, expected, got))
			return close(fd), complain(name, "a record is not what was written", s);
		number += got == RECORD;
	}
	close(fd);
	if (got < 0)
		return complain(name, strerror(errno), s);
	if (number < s->durable)
		return complain(name, "records are lost", s);
	if (number > s->last)
		return complain(name, "records are invented", s);
	note(oracle, DURABLE, worker, SLOTS, number);
	return 0;
}

int main(int argc, char **argv)
{
	int bad = 0;

	if (argc < 4) {
		fprintf(stderr, "usage: %s write|verify DIRECTORY NOTES [SEED]\n", argv[0]);
		return 2;
	}
	int dir = open(argv[2], O_RDONLY | O_DIRECTORY);
	int oracle = open(argv[3], O_RDWR | O_CREAT | O_APPEND, 0644);
	if (dir < 0 || oracle < 0) {
		perror(dir < 0 ? argv[2] : argv[3]);
		return 2;
	}
	load(oracle);
	if (!strcmp(argv[1], "write")) {
		for (uint32_t w = 0; w < WORKERS; w++)
			if (fork() == 0) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				_exit(run_worker(dir, oracle, w, argc > 4 ? atoi(argv[4]) : 1));
			}
		while (wait(NULL) > 0)
			;
		return 0;
	}
	for (uint32_t w = 0; w < WORKERS; w++) {
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			bad += verify_slot(dir, oracle, w, slot);
		bad += verify_log(dir, oracle, w);
	}
	printf("%d slots, %d wrong\n", WORKERS * (SLOTS + 1), bad);
	return bad != 0;
}
