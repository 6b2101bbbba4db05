/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   flock, record locks of processes and of open files.
 */
#include "conformance.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>

static struct flock range(int type, off_t start, off_t length)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = start,
			       .l_len = length };
}

/* In a child: 1 if it gets the record lock, 0 if somebody else has it. */
struct attempt {
	int command, type;
	off_t start, length;
};

static int attempt_lock(void *arg)
{
	struct attempt *a = arg;
	struct flock lock = range(a->type, a->start, a->length);
	int fd = open("f", O_RDWR);

	if (fd < 0)
		return 2;
	if (fcntl(fd, a->command, &lock) == 0)
		return 1;
	return errno == EAGAIN || errno == EACCES ? 0 : 3;
}

static int other_gets(int type, off_t start, off_t length)
{
	return in_child(attempt_lock, &(struct attempt){ F_SETLK, type, start, length });
}

static int lock_range(int fd, int command, int type, off_t start, off_t length)
{
	struct flock lock = range(type, start, length);

	return fcntl(fd, command, &lock);
}

CASE(lock_record_write_excludes_others)
{
	make_file("f", "", 0644);
	int fd = OK(open("f", O_RDWR));
	OK(lock_range(fd, F_SETLK, F_WRLCK, 10, 10));
	EQ(other_gets(F_WRLCK, 10, 1), 0);
	EQ(other_gets(F_RDLCK, 19, 1), 0);
	EQ(other_gets(F_WRLCK, 20, 1), 1);
	EQ(other_gets(F_WRLCK, 0, 10), 1);
	EQ(other_gets(F_WRLCK, 0, 0), 0);
}

CASE(lock_record_read_is_shared)
{
	make_file("f", "", 0644);
	int fd = OK(open("f", O_RDWR));
	OK(lock_range(fd, F_SETLK, F_RDLCK, 0, 0));
	EQ(other_gets(F_RDLCK, 0, 0), 1);
	EQ(other_gets(F_WRLCK, 0, 0), 0);
}

CASE(lock_record_is_split_by_an_unlock)
{
	make_file("f", "", 0644);
	int fd = OK(open("f", O_RDWR));
	OK(lock_range(fd, F_SETLK, F_WRLCK, 0, 100));
	OK(lock_range(fd, F_SETLK, F_UNLCK, 40, 20));
	EQ(other_gets(F_WRLCK, 45, 5), 1);
	EQ(other_gets(F_WRLCK, 39, 1), 0);
	EQ(other_gets(F_WRLCK, 60, 1), 0);
}

CASE(lock_record_changes_kind)
{
	make_file("f", "", 0644);
	int fd = OK(open("f", O_RDWR));
	OK(lock_range(fd, F_SETLK, F_WRLCK, 0, 10));
	OK(lock_range(fd, F_SETLK, F_RDLCK, 0, 10));
	EQ(other_gets(F_RDLCK, 0, 10), 1);
}

CASE(lock_record_is_released_by_any_close)
{
	make_file("f", "", 0644);
	int fd = OK(open("f", O_RDWR)), second = OK(open("f", O_RDONLY));
	OK(lock_range(fd, F_SETLK, F_WRLCK, 0, 0));
	OK(close(second));
	EQ(other_gets(F_WRLCK, 0, 0), 1);
}

static int take_and_exit(void *arg)
{
	int fd = open("f", O_RDWR);

	(void)arg;
	return lock_range(fd, F_SETLK, F_WRLCK, 0, 0) ? 1 : 0;
}

CASE(lock_record_ends_with_its_process)
{
	make_file("f", "", 0644);
	EQ(in_child(take_and_exit, NULL), 0);
	EQ(other_gets(F_WRLCK, 0, 0), 1);
}

CASE(lock_record_holder_is_named)
{
	int ready[2], done[2];
	char byte;

	make_file("f", "", 0644);
	OK(pipe(ready));
	OK(pipe(done));
	pid_t child = OK(fork());
	if (child == 0) {
		int fd = open("f", O_RDWR);
		close(done[1]);
		if (lock_range(fd, F_SETLK, F_WRLCK, 5, 7) || write(ready[1], "x", 1) != 1)
			_exit(1);
		_exit(read(done[0], &byte, 1) != 0);
	}
	EQ(read(ready[0], &byte, 1), 1);
	int fd = OK(open("f", O_RDWR));
	struct flock lock = range(F_WRLCK, 0, 0);
	OK(fcntl(fd, F_GETLK, &lock));
	EQ(lock.l_type, F_WRLCK);
	EQ(lock.l_pid, child);
	EQ(lock.l_start, 5);
	EQ(lock.l_len, 7);
	OK(close(done[1]));
	OK(waitpid(child, NULL, 0));
	lock = range(F_WRLCK, 0, 0);
	OK(fcntl(fd, F_GETLK, &lock));
	EQ(lock.l_type, F_UNLCK);
}

CASE(lock_record_wants_the_right_open_mode)
{
	make_file("f", "", 0644);
	int reader = OK(open("f", O_RDONLY)), writer = OK(open("f", O_WRONLY));
	FAILS(lock_range(reader, F_SETLK, F_WRLCK, 0, 0), EBADF);
	FAILS(lock_range(writer, F_SETLK, F_RDLCK, 0, 0), EBADF);
	FAILS(lock_range(reader, F_SETLK, 99, 0, 0), EINVAL);
}

static int wait_for_lock(void *arg)
{
	(void)arg;
	return lock_range(open("f", O_RDWR), F_SETLKW, F_WRLCK, 0, 0) ? 1 : 0;
}

CASE(lock_record_waits_until_it_is_free)
{
	int status;

	make_file("f", "", 0644);
	int fd = OK(open("f", O_RDWR));
	OK(lock_range(fd, F_SETLK, F_WRLCK, 0, 0));
	pid_t child = OK(fork());
	if (child == 0)
		_exit(wait_for_lock(NULL));
	nanosleep(&(struct timespec){ 0, 200 * 1000 * 1000 }, NULL);
	EQ(waitpid(child, &status, WNOHANG), 0);
	OK(lock_range(fd, F_SETLK, F_UNLCK, 0, 0));
	OK(waitpid(child, &status, 0));
	EQ(status, 0);
}

static void nothing(int signal_number)
{
	(void)signal_number;
}

CASE(lock_record_wait_is_interrupted_by_a_signal)
{
	int status;

	make_file("f", "", 0644);
	int fd = OK(open("f", O_RDWR));
	OK(lock_range(fd, F_SETLK, F_WRLCK, 0, 0));
	pid_t child = OK(fork());
	if (child == 0) {
		struct sigaction action = { .sa_handler = nothing };
		sigaction(SIGUSR1, &action, NULL);
		_exit(wait_for_lock(NULL) == 1 && errno == EINTR ? 0 : 1);
	}
	nanosleep(&(struct timespec){ 0, 200 * 1000 * 1000 }, NULL);
	OK(kill(child, SIGUSR1));
	OK(waitpid(child, &status, 0));
	EQ(status, 0);
}

CASE(lock_record_deadlock_is_refused)
{
	int ready[2], status;
	char byte;

	make_file("f", "", 0644);
	OK(pipe(ready));
	int fd = OK(open("f", O_RDWR));
	OK(lock_range(fd, F_SETLK, F_WRLCK, 0, 1));
	pid_t child = OK(fork());
	if (child == 0) {
		int own = open("f", O_RDWR);
		if (lock_range(own, F_SETLK, F_WRLCK, 1, 1) || write(ready[1], "x", 1) != 1)
			_exit(1);
		_exit(lock_range(own, F_SETLKW, F_WRLCK, 0, 1) ? 2 : 0);
	}
	EQ(read(ready[0], &byte, 1), 1);
	nanosleep(&(struct timespec){ 0, 200 * 1000 * 1000 }, NULL);
	FAILS(lock_range(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
	OK(close(fd));
	OK(waitpid(child, &status, 0));
	EQ(status, 0);
}

CASE(lock_of_open_files_is_by_descriptor)
{
	make_file("f", "", 0644);
	int a = OK(open("f", O_RDWR)), b = OK(open("f", O_RDWR));
	OK(lock_range(a, F_OFD_SETLK, F_WRLCK, 0, 10));
	FAILS(lock_range(b, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
	OK(lock_range(b, F_OFD_SETLK, F_WRLCK, 10, 1));
	int twin = OK(dup(a));
	OK(close(a));
	FAILS(lock_range(b, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
	OK(close(twin));
	OK(lock_range(b, F_OFD_SETLK, F_WRLCK, 5, 1));
}

CASE(lock_flock_excludes_other_opens)
{
	make_file("f", "", 0644);
	int a = OK(open("f", O_RDONLY)), b = OK(open("f", O_RDONLY));
	OK(flock(a, LOCK_EX | LOCK_NB));
	FAILS(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	OK(flock(a, LOCK_SH | LOCK_NB));
	OK(flock(b, LOCK_SH | LOCK_NB));
	FAILS(flock(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	OK(flock(b, LOCK_UN));
	OK(flock(a, LOCK_EX | LOCK_NB));
}

CASE(lock_flock_belongs_to_the_open_file)
{
	make_file("f", "", 0644);
	int a = OK(open("f", O_RDONLY)), twin = OK(dup(a)), b = OK(open("f", O_RDONLY));
	OK(flock(a, LOCK_EX | LOCK_NB));
	OK(close(a));
	FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	OK(flock(twin, LOCK_UN));
	OK(flock(b, LOCK_EX | LOCK_NB));
}

CASE(lock_flock_and_records_do_not_meet)
{
	make_file("f", "", 0644);
	int a = OK(open("f", O_RDWR));
	OK(flock(a, LOCK_EX | LOCK_NB));
	EQ(other_gets(F_WRLCK, 0, 0), 1);
}

CASE(lock_flock_on_a_directory)
{
	int a = OK(open(".", O_RDONLY)), b = OK(open(".", O_RDONLY));
	OK(flock(a, LOCK_EX | LOCK_NB));
	FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
}

static int count_up(void *arg)
{
	int fd = open("f", O_RDWR);
	long value;

	(void)arg;
	for (int i = 0; i < 200; i++) {
		if (lock_range(fd, F_SETLKW, F_WRLCK, 0, 0) || pread(fd, &value, 8, 0) != 8)
			return 1;
		value++;
		if (pwrite(fd, &value, 8, 0) != 8 || lock_range(fd, F_SETLK, F_UNLCK, 0, 0))
			return 1;
	}
	return 0;
}

CASE(lock_guards_a_counter_of_four_processes)
{
	long value = 0;
	int status;
	int fd = OK(open("f", O_CREAT | O_RDWR, 0644));

	EQ(write(fd, &value, 8), 8);
	for (int i = 0; i < 4; i++)
		if (OK(fork()) == 0)
			_exit(count_up(NULL));
	for (int i = 0; i < 4; i++) {
		OK(wait(&status));
		EQ(status, 0);
	}
	EQ(pread(fd, &value, 8, 0), 8);
	EQ(value, 800);
}
