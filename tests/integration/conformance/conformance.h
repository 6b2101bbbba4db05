/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the harness of the conformance test: what a Linux user may expect of a filesystem,
 *            case by case. Source of the expectations: POSIX.1-2017 and the Linux manual pages.
 * Invariants: each case runs as root in a process of its own, with an empty directory of its own as
 *            working directory and umask 0; it ends that process by a failed check, or returns.
 * Threading: cases run one after the other; those that race fork their own processes.
 * Failure:   a check that does not hold prints "file:line: what" and ends the case.
 */
#ifndef TESTS_INTEGRATION_CONFORMANCE_H
#define TESTS_INTEGRATION_CONFORMANCE_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* Users of the cases; they need not exist in the user database. */
enum { ALICE = 65501, BOB = 65502, CAROL = 65503, STAFF = 65511, CREW = 65512 };

/* Registers a case, from a constructor. `name` must outlive the program; fn gets arg. */
void case_add(const char *name, void (*fn)(long arg), long arg);
/* The same with a name made by printf's rules. */
void case_addf(void (*fn)(long arg), long arg, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Defines and registers a case without argument. */
#define CASE(name)                                                                  \
	static void name(long arg);                                                 \
	__attribute__((constructor)) static void name##_add(void)                   \
	{                                                                           \
		case_add(#name, name, 0);                                           \
	}                                                                           \
	static void name(long arg __attribute__((unused)))

/* Checks. OK: the call succeeds (and its value is returned). FAILS: it answers -1 with the errno. */
#define OK(call) check_ok((long)(call), #call, __FILE__, __LINE__)
#define FAILS(call, code) check_fails((long)(call), code, #call, __FILE__, __LINE__)
#define EQ(a, b) check_equal((long)(a), (long)(b), #a " == " #b, __FILE__, __LINE__)
#define YES(cond) check_true(!!(cond), #cond, __FILE__, __LINE__)
#define SAME(text, with) check_text(text, with, #text, __FILE__, __LINE__)
#define UNSUPPORTED(why) case_skip(why)

/* What the macros call, with the place and the words of the check. */
long check_ok(long result, const char *what, const char *file, int line);
void check_fails(long result, int code, const char *what, const char *file, int line);
void check_equal(long a, long b, const char *what, const char *file, int line);
void check_true(int holds, const char *what, const char *file, int line);
void check_text(const char *text, const char *with, const char *what, const char *file, int line);
/* Ends the case as skipped. */
void case_skip(const char *why) __attribute__((noreturn));

/* Acts as a user (effective ids, no capabilities) in group `gid` and, unless -1, group `extra`. */
void act_as(uid_t uid, gid_t gid, long extra);
/* Root again. */
void act_as_root(void);

/* Makes a file with content and mode; the descriptor is closed. */
void make_file(const char *path, const char *content, mode_t mode);
/* The whole content of a small file, NUL-terminated, valid until the next call. */
const char *read_file(const char *path);
/* lstat of a path; the case fails if it is not there. */
struct stat stat_of(const char *path);
int exists(const char *path);
/* Sleeps past the granularity of file times. */
void let_time_pass(void);
int time_compare(struct timespec a, struct timespec b);
/* Runs fn(arg) in a child; returns its exit status, or 128 + signal. */
int in_child(int (*fn)(void *), void *arg);

#endif
