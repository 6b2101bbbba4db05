/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what pairs, logs and compare-and-swap writes leave behind: after an unmount ("keep", then
 *            "kept"), on a read-only mount ("refused"), after kill -9 of the daemon ("write" notes each
 *            step when it has returned, outside of the mount; "verify" compares).
 *            "tamper" changes an event of a store that is not mounted.
 * Invariants: a worker's step n puts pair "worker/W" to n, appends "n" to the run "worker W", and swaps
 *            bytes of the file W to n; then n is noted. With MODE strict each ioctl asks for strict, with
 *            mount the mount is strict, with sync an fsync of the root directory comes before the note.
 * Failure:   a sentence, status 1. "write" ends with status 0 when the mount dies.
 */
#include "core/mneme.h"
#include "records.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct note {
	int worker, pid;
	unsigned n; /* this step has returned */
};
enum { WORKERS = 2, DIGITS = 8, STEPS_MAX = 1000000 };
union records_request request;
uint8_t records_durability;

#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			exit((printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #cond,                 \
				     strerror(errno)),                                             \
			      1));                                                                 \
	} while (0)

static int directory_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	MUST(fd >= 0);
	return fd;
}

static int keep(int fd)
{
	MUST(!kv_put(fd, "kept", "one") && !kv_put(fd, "kept", "two"));
	for (int i = 0; i < 3; i++)
		MUST(!log_append(fd, "kept", "event"));
	return 0;
}

static int kept(int fd)
{
	const char *value = kv_get(fd, "kept");

	MUST(value && !strcmp(value, "two") && request.kv.pair_version == 2);
	MUST(!log_verify(fd, "kept") && request.log.count == 3);
	return 0;
}

static int refused(int fd)
{
	MUST(kv_put(fd, "kept", "no") && errno == EROFS);
	MUST(kv_swap(fd, "kept", 2, "no") && errno == EROFS);
	MUST(kv_delete(fd, "kept") && errno == EROFS);
	MUST(log_append(fd, "kept", "no") && errno == EROFS);
	return kept(fd);
}

/* ---- kill -9 ---- */

static int swap_file(int fd, unsigned from, unsigned to)
{
	char text[2 * DIGITS + 1];

	memset(&request.write, 0, sizeof request.write);
	request.write.version = MNEME_IOC_VERSION;
	request.write.expected_length = request.write.length = DIGITS;
	request.write.durability = records_durability;
	snprintf(text, sizeof text, "%08u%08u", from, to);
	memcpy(request.write.data, text, 2 * DIGITS);
	return records_send(fd, MNEME_IOC_NR_WRITE, sizeof request.write + 2 * DIGITS);
}

/* The three in an order that changes, so that each of them is the last one in its turn. */
static int step(int dir, int file, int worker, unsigned n)
{
	char name[32], text[16];
	int rc = 0;

	sprintf(text, "%u", n);
	for (unsigned i = n; i < n + 3 && !rc; i++) {
		sprintf(name, i % 3 ? "worker %d" : "worker/%d", worker);
		if (i % 3 == 0)
			rc = kv_put(dir, name, text);
		else if (i % 3 == 1)
			rc = log_append(dir, name, text);
		else
			rc = swap_file(file, n - 1, n);
	}
	return rc;
}

static int work(const char *mount, int notes, int worker, const char *mode)
{
	int syncs = !strcmp(mode, "sync");
	char path[4096];
	int dir = directory_open(mount);

	snprintf(path, sizeof path, "%s/%d-%d", mount, worker, (int)getpid());
	int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	MUST(file >= 0 && write(file, "00000000", DIGITS) == DIGITS && !fsync(file) && !fsync(dir));
	for (unsigned n = 1; n < STEPS_MAX; n++) {
		if (step(dir, file, worker, n) || (syncs && fsync(dir))) {
			MUST(errno == ENOTCONN || errno == ECONNABORTED || errno == EIO);
			return 0;
		}
		struct note note = {worker, (int)getpid(), n};
		MUST(write(notes, &note, sizeof note) == sizeof note);
	}
	return 0;
}

static int write_steps(const char *mount, const char *notes_path, const char *mode)
{
	int notes = open(notes_path, O_WRONLY | O_CREAT | O_APPEND, 0600), status, bad = 0;

	MUST(notes >= 0);
	if (!strcmp(mode, "strict"))
		records_durability = MNEME_IOC_DURABILITY_STRICT;
	for (int w = 0; w < WORKERS; w++)
		if (fork() == 0)
			exit(work(mount, notes, w, mode));
	for (int w = 0; w < WORKERS; w++) {
		MUST(wait(&status) > 0);
		bad |= status;
	}
	return bad != 0;
}

static void verify_worker(const char *mount, int dir, int worker, int pid, unsigned n)
{
	char path[4096], text[DIGITS + 1] = "";

	sprintf(path, "worker/%d", worker);
	const char *value = kv_get(dir, path);
	unsigned put = value ? (unsigned)atoi(value) : 0;
	snprintf(path, sizeof path, "%s/%d-%d", mount, worker, pid);
	int file = open(path, O_RDONLY);
	MUST(file >= 0 && read(file, text, DIGITS) == DIGITS);
	unsigned swapped = (unsigned)atoi(text);
	close(file);
	printf("worker %d: noted %u, pair %u, file %u\n", worker, n, put, swapped);
	MUST(put == n || put == n + 1); /* the step that was under way may be there */
	MUST(swapped == n || swapped == n + 1);
	sprintf(path, "worker %d", worker);
	MUST(!log_verify(dir, path));
	MUST(request.log.count >= n);
}

static int verify(const char *mount, const char *notes_path)
{
	struct note note, last[WORKERS] = {0};
	int notes = open(notes_path, O_RDONLY), dir = directory_open(mount);

	MUST(notes >= 0);
	while (read(notes, &note, sizeof note) == sizeof note)
		last[note.worker % WORKERS] = note;
	for (int w = 0; w < WORKERS; w++) {
		MUST(last[w].n);
		verify_worker(mount, dir, w, last[w].pid, last[w].n);
	}
	return 0;
}

/* One byte of an event of a store that is not mounted is another one. */
static int tamper(const char *store, const char *run, unsigned char sequence)
{
	struct mneme_error error = {""};
	uint8_t sub[300], event[4096];
	size_t length, n = strlen(run);
	struct mneme *m;

	sub[0] = (uint8_t)n;
	memcpy(sub + 1, run, n);
	memset(sub + 1 + n, 0, 7);
	sub[n + 8] = sequence;
	if (mneme_open(store, NULL, &m, &error))
		return printf("%s\n", error.message), 1;
	for (uint32_t shard = 0; shard < mneme_shards(m); shard++) {
		struct mneme_key key = {.inode = shard,
					.type = MNEME_TYPE_LOG,
					.sub = sub,
					.sub_length = (uint16_t)(n + 9)};
		if (mneme_get(m, &key, event, sizeof event, &length))
			continue;
		event[length - 1] ^= 1;
		MUST(!mneme_put(m, &key, event, length, MNEME_DURABILITY_STRICT));
		return mneme_close(m) != 0;
	}
	return printf("there is no such event\n"), 1;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[1] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(verb, "keep"))
		return keep(directory_open(argv[2]));
	if (!strcmp(verb, "kept"))
		return kept(directory_open(argv[2]));
	if (!strcmp(verb, "refused"))
		return refused(directory_open(argv[2]));
	if (!strcmp(verb, "write") && argc == 5)
		return write_steps(argv[2], argv[3], argv[4]);
	if (!strcmp(verb, "verify") && argc == 4)
		return verify(argv[2], argv[3]);
	if (!strcmp(verb, "tamper") && argc == 5)
		return tamper(argv[2], argv[3], (unsigned char)atoi(argv[4]));
	fprintf(stderr,
		"usage: %s keep|kept|refused MOUNT | write MOUNT NOTES strict|mount|sync | "
		"verify MOUNT NOTES | tamper STORE RUN EVENT\n",
		argv[0]);
	return 2;
}
