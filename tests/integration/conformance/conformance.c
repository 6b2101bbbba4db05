/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   main program of the conformance test: runs the registered cases in a directory.
 * Invariants: the directory is empty again afterwards; a case that fails, hangs or crashes does not
 *            keep the others from running.
 * Failure:   prints "FAIL NAME: why" and ends with status 1.
 */
#include "conformance.h"

#include <ftw.h>
#include <grp.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>

enum { CASES_MAX = 2048, CASE_SECONDS_MAX = 60, SKIP = 77, REASON_MAX = 512, READ_MAX = 65536 };

static struct test_case {
	const char *name;
	void (*fn)(long arg);
	long arg;
} cases[CASES_MAX];
static int case_count;
static int report_fd = -1;

void case_add(const char *name, void (*fn)(long arg), long arg)
{
	if (case_count == CASES_MAX) {
		fprintf(stderr, "more than %d cases\n", CASES_MAX);
		exit(2);
	}
	cases[case_count++] = (struct test_case){ name, fn, arg };
}

void case_addf(void (*fn)(long arg), long arg, const char *format, ...)
{
	char *name;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&name, format, ap) < 0)
		exit(2);
	va_end(ap);
	case_add(name, fn, arg); /* kept until the program ends */
}

static void case_end(int status, const char *format, ...)
{
	char why[REASON_MAX];
	va_list ap;

	va_start(ap, format);
	int length = vsnprintf(why, sizeof why, format, ap);
	va_end(ap);
	if (length >= (int)sizeof why)
		length = sizeof why - 1;
	if (report_fd >= 0 && write(report_fd, why, length) < 0)
		perror("report");
	_exit(status);
}

long check_ok(long result, const char *what, const char *file, int line)
{
	if (result < 0)
		case_end(1, "%s:%d: %s: %s", file, line, what, strerror(errno));
	return result;
}

void check_fails(long result, int code, const char *what, const char *file, int line)
{
	if (result >= 0)
		case_end(1, "%s:%d: %s succeeds, expected %s", file, line, what,
			 strerrorname_np(code));
	if (errno != code)
		case_end(1, "%s:%d: %s fails with %s, expected %s", file, line, what,
			 strerrorname_np(errno), strerrorname_np(code));
}

void check_equal(long a, long b, const char *what, const char *file, int line)
{
	if (a != b)
		case_end(1, "%s:%d: %s: %ld (0%lo) and %ld (0%lo)", file, line, what, a, a, b, b);
}

void check_true(int holds, const char *what, const char *file, int line)
{
	if (!holds)
		case_end(1, "%s:%d: not so: %s", file, line, what);
}

void check_text(const char *text, const char *with, const char *what, const char *file, int line)
{
	if (strcmp(text, with))
		case_end(1, "%s:%d: %s is \"%.100s\", expected \"%.100s\"", file, line, what, text,
			 with);
}

void case_skip(const char *why)
{
	case_end(SKIP, "%s", why);
	_exit(SKIP);
}

void act_as_root(void)
{
	check_ok(setresuid(-1, 0, -1), "setresuid", __FILE__, __LINE__);
	check_ok(setresgid(-1, 0, -1), "setresgid", __FILE__, __LINE__);
	check_ok(setgroups(0, NULL), "setgroups", __FILE__, __LINE__);
}

void act_as(uid_t uid, gid_t gid, long extra)
{
	gid_t groups[1] = { extra };

	act_as_root();
	check_ok(setgroups(extra >= 0 ? 1 : 0, groups), "setgroups", __FILE__, __LINE__);
	check_ok(setresgid(-1, gid, -1), "setresgid", __FILE__, __LINE__);
	check_ok(setresuid(-1, uid, -1), "setresuid", __FILE__, __LINE__);
}

void make_file(const char *path, const char *content, mode_t mode)
{
	int fd = OK(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
	EQ(write(fd, content, strlen(content)), strlen(content));
	OK(fchmod(fd, mode));
	OK(close(fd));
}

const char *read_file(const char *path)
{
	static char content[READ_MAX + 1];
	int fd = OK(open(path, O_RDONLY));
	long length = OK(read(fd, content, READ_MAX));

	OK(close(fd));
	content[length] = 0;
	return content;
}

struct stat stat_of(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		case_end(1, "lstat %s: %s", path, strerror(errno));
	return st;
}

int exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

void let_time_pass(void)
{
	nanosleep(&(struct timespec){ 0, 20 * 1000 * 1000 }, NULL);
}

int time_compare(struct timespec a, struct timespec b)
{
	if (a.tv_sec != b.tv_sec)
		return a.tv_sec < b.tv_sec ? -1 : 1;
	return a.tv_nsec < b.tv_nsec ? -1 : a.tv_nsec > b.tv_nsec;
}

int in_child(int (*fn)(void *), void *arg)
{
	int status;
	pid_t pid = OK(fork());

	if (pid == 0)
		_exit(fn(arg));
	OK(waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)kind;
	if (ftw->level == 0)
		return 0;
	if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) {
		int flags = 0, fd = open(path, O_RDONLY | O_NONBLOCK);
		if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 &&
		    (flags & (FS_IMMUTABLE_FL | FS_APPEND_FL))) {
			flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
			ioctl(fd, FS_IOC_SETFLAGS, &flags);
		}
		if (fd >= 0)
			close(fd);
	}
	return remove(path);
}

/* The whole of a directory but itself; flags of entries are taken off on the way. */
static int empty_directory(const char *path)
{
	for (int i = 0; i < 2; i++) /* a second time: what an append-only directory kept */
		nftw(path, remove_entry, 64, FTW_DEPTH | FTW_PHYS);
	return rmdir(path);
}

/* Runs one case in its own process group; returns its status and fills why. */
static int run_case(const struct test_case *c, char *why)
{
	int pipe_fd[2], status;
	pid_t pid;

	if (mkdir("case", 0777) || pipe(pipe_fd))
		return snprintf(why, REASON_MAX, "cannot begin: %s", strerror(errno)), 1;
	pid = fork();
	if (pid == 0) {
		report_fd = pipe_fd[1];
		setpgid(0, 0);
		umask(0);
		alarm(CASE_SECONDS_MAX);
		if (chdir("case"))
			case_end(1, "chdir: %s", strerror(errno));
		c->fn(c->arg);
		_exit(0);
	}
	close(pipe_fd[1]);
	ssize_t length = read(pipe_fd[0], why, REASON_MAX - 1);
	why[length > 0 ? length : 0] = 0;
	close(pipe_fd[0]);
	waitpid(pid, &status, 0);
	kill(-pid, SIGKILL);
	if (WIFSIGNALED(status))
		snprintf(why, REASON_MAX, "ended by signal %d", WTERMSIG(status));
	if (empty_directory("case") && !(WIFEXITED(status) && WEXITSTATUS(status) == 1))
		return snprintf(why, REASON_MAX, "cannot clean up: %s", strerror(errno)), 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* The reason for which a file names the case as an exception of this filesystem, or NULL. Lines:
 * FILESYSTEM CASE REASON... */
static const char *exception_of(const char *list, const char *filesystem, const char *name)
{
	static char reason[REASON_MAX];
	char line[1024], fs[64], pattern[256];
	int at;
	FILE *file = list ? fopen(list, "r") : NULL;

	while (file && fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "%63s %255s %n", fs, pattern, &at) == 2 && !strcmp(fs, filesystem) &&
		    !strcmp(pattern, name)) {
			snprintf(reason, sizeof reason, "%s", line + at);
			fclose(file);
			return reason;
		}
	}
	if (file)
		fclose(file);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *directory = argc > 1 ? argv[1] : NULL, *filesystem = argc > 2 ? argv[2] : "";
	const char *list = argc > 3 ? argv[3] : NULL, *pattern = argc > 4 ? argv[4] : "";
	char why[REASON_MAX];
	int failed = 0;

	if (!directory) {
		fprintf(stderr, "usage: %s DIRECTORY [FILESYSTEM EXCEPTIONS [PATTERN]]\n", argv[0]);
		return 2;
	}
	if (geteuid() || chdir(directory)) {
		fprintf(stderr, "%s: %s\n", directory,
			geteuid() ? "only root can run this" : strerror(errno));
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	umask(0);
	for (int i = 0; i < case_count; i++) {
		if (!strstr(cases[i].name, pattern))
			continue;
		const char *reason = exception_of(list, filesystem, cases[i].name);
		int status = run_case(&cases[i], why);
		if (status == 0)
			printf("ok %s%s\n", cases[i].name,
			       reason ? " (an exception that passes)" : "");
		else if (reason)
			printf("excepted %s on %s: %s\n", cases[i].name, filesystem, reason);
		else if (status == SKIP)
			printf("skipped: %s: %s\n", cases[i].name, why);
		else
			printf("FAIL %s: %s\n", cases[i].name, why);
		failed += status && status != SKIP && !reason;
	}
	return failed ? 1 : 0;
}
