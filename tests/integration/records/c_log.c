/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   event logs and compare-and-swap writes through the mount's ioctl.
 */
#include "conformance.h"
#include "records.h"

#include <sys/wait.h>

enum { EVENTS = 300, TURNS = 200 };

static int here(void)
{
	return OK(open(".", O_RDONLY | O_DIRECTORY));
}

/* One answer of a replay from `sequence` on: the events must be "PREFIX N" with N the sequence. */
static unsigned replay_once(int fd, const char *run, size_t room, uint64_t *sequence)
{
	static const uint8_t no_hash[32];
	struct mneme_ioc_event event;
	char text[64];

	OK(records_log(fd, MNEME_IOC_NR_LOG_REPLAY, run, NULL, 0, room, *sequence));
	const uint8_t *at = request.log.data + strlen(run), *end = at + request.log.data_length;
	for (unsigned i = 0; i < request.log.count; i++) {
		memcpy(&event, at, sizeof event);
		EQ(event.sequence, *sequence);
		sprintf(text, "event %d", (int)event.sequence);
		EQ(event.length, strlen(text));
		YES(!memcmp(at + sizeof event, text, event.length));
		YES(memcmp(event.hash, no_hash, sizeof no_hash) && event.time_ns &&
		    !event.reserved);
		at += (sizeof event + event.length + 7) & ~7ul;
		++*sequence;
	}
	EQ(end - at, 0);
	EQ(request.log.sequence, *sequence);
	return request.log.count;
}

CASE(log_append_verify_and_replay_from_any_point)
{
	const uint64_t points[] = {0, 1, 2, 150, EVENTS, EVENTS + 1, 1ull << 40};
	char text[64];
	int fd = here();

	for (int i = 1; i <= EVENTS; i++) {
		sprintf(text, "event %d", i);
		OK(log_append(fd, "run", text));
		EQ(request.log.sequence, i);
	}
	OK(log_append(fd, "run of another", "event 1"));
	EQ(request.log.sequence, 1);
	OK(log_verify(fd, "run"));
	EQ(request.log.count, EVENTS);
	for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
		uint64_t next = points[i] ? points[i] : 1, begin = next;
		while (replay_once(fd, "run", 2000, &next))
			;
		EQ(next, begin > EVENTS ? begin : EVENTS + 1);
	}
}

CASE(log_from_sequence_zero_is_from_the_first)
{
	int fd = here();

	OK(log_append(fd, "zero", "event 1"));
	OK(records_log(fd, MNEME_IOC_NR_LOG_REPLAY, "zero", NULL, 0, 1000, 0));
	EQ(request.log.count, 1);
	EQ(request.log.sequence, 2);
}

CASE(log_errors)
{
	static char large[MNEME_IOC_SIZE_MAX];
	int fd = here();

	FAILS(log_verify(fd, "no such run"), ENOENT);
	FAILS(records_log(fd, MNEME_IOC_NR_LOG_REPLAY, "no such run", NULL, 0, 100, 1), ENOENT);
	OK(log_append(fd, "errors", ""));
	OK(log_append(fd, "errors", "0123456789"));
	FAILS(records_log(fd, MNEME_IOC_NR_LOG_REPLAY, "errors", NULL, 0, 56 + 9, 2), ERANGE);
	memset(large, 'x', sizeof large);
	large[256] = 0;
	FAILS(log_append(fd, large, "name of 256 bytes"), EINVAL);
	large[255] = 0;
	OK(log_append(fd, large, "name of 255 bytes"));
	FAILS(records_log(fd, MNEME_IOC_NR_LOG_APPEND, "errors", large, 100, 50, 0), EINVAL);
	FAILS(log_append(fd, "", "no name"), EINVAL);
	OK(log_append(fd, "errors", "x"));
	EQ(request.log.sequence, 3);
	size_t size = sizeof request.log + 7;
	request.log.reserved = 1;
	FAILS(records_send(fd, MNEME_IOC_NR_LOG_APPEND, size), EINVAL);
	request.log.reserved = 0;
	request.log.reserved8 = 1;
	FAILS(records_send(fd, MNEME_IOC_NR_LOG_APPEND, size), EINVAL);
	request.log.reserved8 = 0;
	request.log.version = 0;
	FAILS(records_send(fd, MNEME_IOC_NR_LOG_APPEND, size), EINVAL);
	request.log.version = MNEME_IOC_VERSION;
	request.log.durability = 4;
	FAILS(records_send(fd, MNEME_IOC_NR_LOG_APPEND, size), EINVAL);
	FAILS(records_send(fd, MNEME_IOC_NR_LOG_APPEND, sizeof request.log - 1), EINVAL);
	OK(log_verify(fd, "errors"));
	EQ(request.log.count, 3);
}

static int append_many(void *arg)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY);
	uint64_t last = 0;

	(void)arg;
	for (int i = 0; i < TURNS; i++) {
		if (log_append(fd, "shared", "same text") || request.log.sequence <= last)
			return 1;
		last = request.log.sequence;
	}
	return 0;
}

CASE(log_appends_of_two_processes_make_one_chain)
{
	int status, fd = here();

	for (int i = 0; i < 2; i++)
		if (OK(fork()) == 0)
			_exit(append_many(NULL));
	for (int i = 0; i < 200; i++)
		make_file("beside", "text", 0644);
	for (int i = 0; i < 2; i++) {
		OK(wait(&status));
		EQ(status, 0);
	}
	OK(log_verify(fd, "shared"));
	EQ(request.log.count, 2 * TURNS);
}

/* ---- compare-and-swap writes ---- */

/* Past the page cache, which follows a moment later. */
static const char *bytes_of(const char *path)
{
	static char bytes[4096] __attribute__((aligned(4096)));
	int fd = OK(open(path, O_RDONLY | O_DIRECT));
	long length = OK(read(fd, bytes, sizeof bytes - 1));

	OK(close(fd));
	bytes[length] = 0;
	return bytes;
}

/* The page cache follows. */
static void comes_to(const char *path, const char *text)
{
	for (int i = 0; i < 500 && strcmp(read_file(path), text); i++)
		let_time_pass();
	SAME(read_file(path), text);
}

static int swap_bytes(int fd, const char *expected, const char *bytes, uint64_t offset)
{
	size_t e = strlen(expected), n = strlen(bytes);

	memset(&request.write, 0, sizeof request.write);
	request.write.version = MNEME_IOC_VERSION;
	request.write.offset = offset;
	request.write.expected_length = e;
	request.write.length = n;
	memcpy(request.write.data, expected, e);
	memcpy(request.write.data + e, bytes, n);
	return records_send(fd, MNEME_IOC_NR_WRITE, sizeof request.write + e + n);
}

CASE(write_if_the_bytes_are_as_expected)
{
	make_file("f", "hello world", 0644);
	int fd = OK(open("f", O_RDWR));

	OK(swap_bytes(fd, "world", "there", 6));
	uint64_t version = request.write.file_version;
	FAILS(swap_bytes(fd, "world", "again", 6), ESTALE);
	SAME(bytes_of("f"), "hello there");
	OK(swap_bytes(fd, "there", "everybody", 6));
	EQ(request.write.file_version, version + 1);
	comes_to("f", "hello everybody");
	EQ(stat_of("f").st_size, 15);
	struct mneme_ioc_identity identity;
	OK(ioctl(fd, MNEME_IOC_IDENTITY, &identity));
	EQ(identity.file_version, version + 1);
}

CASE(write_if_the_version_is_as_expected)
{
	make_file("f", "abc", 0644);
	int fd = OK(open("f", O_RDWR));
	struct mneme_ioc_identity identity;

	OK(ioctl(fd, MNEME_IOC_IDENTITY, &identity));
	swap_bytes(fd, "nothing so", "x", 0); /* fills the request */
	request.write.expected_length = 0;
	request.write.flags = MNEME_IOC_IF_VERSION;
	request.write.file_version = identity.file_version + 1;
	memcpy(request.write.data, "X", 1);
	size_t size = sizeof request.write + 1;
	FAILS(records_send(fd, MNEME_IOC_NR_WRITE, size), ESTALE);
	request.write.file_version = identity.file_version;
	OK(records_send(fd, MNEME_IOC_NR_WRITE, size));
	SAME(bytes_of("f"), "Xbc");
}

CASE(write_arguments_are_checked)
{
	make_file("f", "abc", 0644);
	int fd = OK(open("f", O_RDWR)), dir = here();

	FAILS(swap_bytes(fd, "abc", "", 0), EINVAL);
	FAILS(swap_bytes(dir, "", "x", 0), EINVAL);
	FAILS(swap_bytes(fd, "", "x", 16ull << 40), EFBIG);
	FAILS(swap_bytes(fd, "", "x", UINT64_MAX), EFBIG);
	FAILS(swap_bytes(fd, "abcd", "x", 0), ESTALE); /* behind the end: zeros */
	swap_bytes(fd, "zzz", "x", 0);
	size_t size = sizeof request.write + 4;
	request.write.flags = 2;
	FAILS(records_send(fd, MNEME_IOC_NR_WRITE, size), EINVAL);
	request.write.flags = 0;
	request.write.reserved[6] = 1;
	FAILS(records_send(fd, MNEME_IOC_NR_WRITE, size), EINVAL);
	request.write.reserved[6] = 0;
	request.write.length = 5;
	FAILS(records_send(fd, MNEME_IOC_NR_WRITE, size), EINVAL);
	request.write.length = UINT32_MAX;
	request.write.expected_length = 2;
	FAILS(records_send(fd, MNEME_IOC_NR_WRITE, size), EINVAL);
	request.write.version = 9;
	FAILS(records_send(fd, MNEME_IOC_NR_WRITE, size), EINVAL);
	SAME(read_file("f"), "abc");
}

static int count_in_file(void *arg)
{
	int fd = open("n", O_RDWR);
	char now[16], next[16];

	(void)arg;
	for (int done = 0, value = 0; done < TURNS;) {
		sprintf(now, "%08d", value);
		sprintf(next, "%08d", value + 1);
		if (!swap_bytes(fd, now, next, 0)) {
			done++;
			value++;
		} else if (errno == ESTALE) {
			value++; /* it only grows: what it is now lies ahead */
			if (value > 2 * TURNS)
				value = 0;
		} else {
			return 1;
		}
	}
	return 0;
}

CASE(write_swaps_of_two_processes_all_count)
{
	int status;

	make_file("n", "00000000", 0644);
	for (int i = 0; i < 2; i++)
		if (OK(fork()) == 0)
			_exit(count_in_file(NULL));
	for (int i = 0; i < 2; i++) {
		OK(wait(&status));
		EQ(status, 0);
	}
	int fd = OK(open("n", O_RDWR));
	char last[16];
	sprintf(last, "%08d", 2 * TURNS);
	OK(swap_bytes(fd, last, "done....", 0));
}
