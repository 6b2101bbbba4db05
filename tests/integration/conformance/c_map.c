/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   files mapped into memory, and programs run from the filesystem.
 */
#include "conformance.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { PAGES = 4, PAGE = 4096 };

static char *map_file(int fd, int prot, int flags)
{
	char *map = mmap(NULL, PAGES * PAGE, prot, flags, fd, 0);

	YES(map != MAP_FAILED);
	return map;
}

static int new_file(void)
{
	int fd = OK(open("f", O_CREAT | O_RDWR | O_TRUNC, 0644));

	OK(ftruncate(fd, PAGES * PAGE));
	return fd;
}

CASE(map_shared_write_is_read_by_calls)
{
	char byte = 0;
	int fd = new_file();
	char *map = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED);

	map[5000] = 'm';
	EQ(pread(fd, &byte, 1, 5000), 1);
	EQ(byte, 'm');
	int other = OK(open("f", O_RDONLY));
	EQ(pread(other, &byte, 1, 5000), 1);
	EQ(byte, 'm');
}

CASE(map_sees_what_calls_write)
{
	int fd = new_file();
	char *map = map_file(fd, PROT_READ, MAP_SHARED);

	EQ(map[100], 0);
	EQ(pwrite(fd, "w", 1, 100), 1);
	EQ(map[100], 'w');
}

CASE(map_private_keeps_its_changes)
{
	char byte;
	int fd = new_file();
	char *map = map_file(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	map[0] = 'p';
	EQ(pread(fd, &byte, 1, 0), 1);
	EQ(byte, 0);
	EQ(pwrite(fd, "x", 1, PAGE), 1);
	EQ(map[PAGE], 'x');
}

CASE(map_is_kept_after_close_and_unlink)
{
	int fd = new_file();
	char *map = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED);

	OK(close(fd));
	map[0] = 'a';
	OK(unlink("f"));
	map[PAGE] = 'b';
	OK(msync(map, PAGES * PAGE, MS_SYNC));
	EQ(map[0], 'a');
}

CASE(map_content_is_there_after_unmapping)
{
	char byte = 0;
	int fd = new_file();
	char *map = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED);

	memset(map, 'z', PAGES * PAGE);
	OK(munmap(map, PAGES * PAGE));
	OK(close(fd));
	fd = OK(open("f", O_RDONLY));
	EQ(pread(fd, &byte, 1, PAGES * PAGE - 1), 1);
	EQ(byte, 'z');
}

static int touch_past_the_end(void *arg)
{
	volatile char *map = arg;

	signal(SIGBUS, SIG_DFL); /* a sanitizer has a handler of its own */
	return map[2 * PAGE];
}

CASE(map_past_the_end_of_the_file_is_a_bus_error)
{
	int fd = new_file();
	char *map = map_file(fd, PROT_READ, MAP_SHARED);

	OK(ftruncate(fd, PAGE + 10));
	EQ(map[PAGE + 9], 0);
	EQ(map[PAGE + 11], 0);
	EQ(in_child(touch_past_the_end, map), 128 + SIGBUS);
}

CASE(map_truncated_tail_reads_zero_when_it_grows_again)
{
	int fd = new_file();
	char *map = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED);

	memset(map, 'q', PAGES * PAGE);
	OK(ftruncate(fd, 100));
	OK(ftruncate(fd, PAGES * PAGE));
	EQ(map[99], 'q');
	EQ(map[100], 0);
	EQ(map[3 * PAGE], 0);
}

static int write_in_map(void *arg)
{
	int fd = open("f", O_RDWR);
	char *map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)arg;
	if (map == MAP_FAILED)
		return 1;
	map[PAGE * 3] = 'c';
	return 0;
}

CASE(map_is_shared_between_processes)
{
	int fd = new_file();
	char *map = map_file(fd, PROT_READ, MAP_SHARED);

	EQ(in_child(write_in_map, NULL), 0);
	EQ(map[PAGE * 3], 'c');
}

CASE(map_wants_the_right_open_mode)
{
	new_file();
	int reader = OK(open("f", O_RDONLY)), writer = OK(open("f", O_WRONLY));
	YES(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0) == MAP_FAILED);
	EQ(errno, EACCES);
	YES(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, writer, 0) == MAP_FAILED);
	EQ(errno, EACCES);
}

CASE(map_of_a_hole_reads_zero_and_can_be_filled)
{
	char byte;
	int fd = new_file();
	OK(ftruncate(fd, 1 << 20));
	char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	YES(map != MAP_FAILED);
	EQ(map[500000], 0);
	map[500000] = 'h';
	OK(msync(map, 1 << 20, MS_SYNC));
	EQ(pread(fd, &byte, 1, 500000), 1);
	EQ(byte, 'h');
}

CASE(program_runs_from_here)
{
	EQ(system("cp /bin/true ./t && ./t"), 0);
	EQ(system("printf '#!/bin/sh\\nexit 3\\n' > s && chmod 755 s"), 0);
	EQ(WEXITSTATUS(system("./s")), 3);
}

CASE(program_that_runs_cannot_be_written)
{
	EQ(system("cp /bin/sleep ./s"), 0);
	int ends[2];
	char none;
	OK(pipe2(ends, O_CLOEXEC));
	pid_t child = OK(fork());
	if (child == 0) {
		execl("./s", "s", "30", NULL);
		_exit(1);
	}
	OK(close(ends[1]));
	EQ(read(ends[0], &none, 1), 0); /* it runs: an open before that would keep it from starting */
	int fd = open("s", O_WRONLY);
	int code = errno;
	OK(kill(child, SIGKILL));
	OK(waitpid(child, NULL, 0));
	EQ(fd, -1);
	EQ(code, ETXTBSY);
}

CASE(program_open_for_writing_does_not_run)
{
	EQ(system("cp /bin/true ./t"), 0);
	OK(open("t", O_WRONLY));
	pid_t child = OK(fork());
	if (child == 0) {
		execl("./t", "t", NULL);
		_exit(errno == ETXTBSY ? 7 : 1);
	}
	int status;
	OK(waitpid(child, &status, 0));
	EQ(WEXITSTATUS(status), 7);
}
