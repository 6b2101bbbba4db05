/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   umount.h. umount(2) of a FUSE mount returns before its daemon has closed the store; this
 *            waits for the daemon's end.
 * Method:    the daemon is the process that holds a write lock on the file `lock` of a store; its store
 *            is the mount's when its superblock has the uuid that the mount answers with. A mount that
 *            must not be asked (-f) or does not answer goes by its source in mountinfo, the store's path.
 * Invariants: the daemon is found before the unmount, and held by a pidfd. No wait with -l, for a mount
 *            that is read-only (it writes nothing), and while the filesystem is mounted elsewhere, too.
 */
#include "mount-tools/umount.h"

#include "core/mneme_ioctl.h"
#include "fs/session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STATUS_USAGE = 1, STATUS_FAILED = 32, STATUS_NOT_CLOSED = 64, CLOSING_MS = 60000 };

struct request {
	const char *directory;
	char path[PATH_MAX]; /* of the directory, resolved */
	int lazy, force, read_only, verbose;
};

/* An entry of mountinfo. */
struct mounted {
	unsigned major, minor;
	int known, read_only;
	char type[64], source[PATH_MAX];
};

struct wanted {
	int has_uuid;
	int by_source; /* only a store at this path: a copy of it has the same uuid */
	unsigned char uuid[16];
	const char *source;
};

extern char **environ;

__attribute__((format(printf, 2, 3))) static int say(int status, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fputs("umount.mnemefs: ", stderr);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
	va_end(list);
	return status;
}

int umount_is_called(const char *program)
{
	const char *name = strrchr(program, '/');

	return !strncmp(name ? name + 1 : program, "umount.", 7);
}

/* ---- the mount ---- */

/* mountinfo writes blanks and backslashes as \ooo. */
static void unescape(const char *from, char *to, size_t size)
{
	size_t n = 0;

	while (*from && n + 1 < size) {
		if (from[0] == '\\' && from[1] && from[2] && from[3]) {
			to[n++] = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
					 (from[3] - '0'));
			from += 4;
		} else {
			to[n++] = *from++;
		}
	}
	to[n] = 0;
}

static int parse_line(char *line, struct mounted *m, char *point)
{
	char *fields = strstr(line, " - "), *save, *word;

	if (!fields || sscanf(line, "%*s %*s %u:%u", &m->major, &m->minor) != 2)
		return 0;
	*fields = 0;
	strtok_r(line, " ", &save);
	for (int i = 0; i < 3; i++)
		strtok_r(NULL, " ", &save);
	word = strtok_r(NULL, " ", &save);
	if (!word)
		return 0;
	unescape(word, point, PATH_MAX);
	word = strtok_r(fields + 3, " ", &save);
	snprintf(m->type, sizeof(m->type), "%s", word ? word : "");
	word = strtok_r(NULL, " ", &save);
	unescape(word ? word : "", m->source, sizeof(m->source));
	word = strtok_r(NULL, " \n", &save);
	m->read_only = word && !strncmp(word, "ro", strcspn(word, ","));
	m->known = 1;
	return 1;
}

/* The uppermost mount on `path`; with path NULL any of the filesystem `*out`. Returns whether there is
 * one. */
static int find_mount(const char *path, struct mounted *out)
{
	static char line[8 * PATH_MAX], point[PATH_MAX];
	static struct mounted m;
	FILE *file = fopen("/proc/self/mountinfo", "re");
	int found = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (!parse_line(line, &m, point))
			continue;
		if (path ? strcmp(point, path) : m.major != out->major || m.minor != out->minor)
			continue;
		*out = m;
		found = 1;
	}
	if (file)
		fclose(file);
	return found;
}

/* Nothing but mnemefs answers it. Returns whether it did. */
static int ask_uuid(const char *path, struct wanted *wanted)
{
	struct mneme_ioc_identity identity = {0};
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	wanted->has_uuid = !ioctl(fd, MNEME_IOC_IDENTITY, &identity);
	close(fd);
	memcpy(wanted->uuid, identity.uuid, sizeof(wanted->uuid));
	return wanted->has_uuid;
}

/* ---- its daemon ---- */

/* Only a store's writer takes a write lock on its lock file. */
static int holds_write_lock(const char *process, const char *fd)
{
	char path[128], line[256];
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%.20s/fdinfo/%.20s", process, fd);
	FILE *file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, "OFDLCK") && strstr(line, "WRITE");
	if (file)
		fclose(file);
	return found;
}

/* `store`: as that process sees it, which may have another root than this one. */
static int is_store(const char *process, const char *store, const struct wanted *wanted)
{
	static char path[PATH_MAX + 64], super[2 * 4096];

	if (wanted->by_source && strcmp(store, wanted->source))
		return 0;
	if (!wanted->has_uuid)
		return wanted->by_source;
	snprintf(path, sizeof(path), "/proc/%.20s/root%s/super", process, store);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : pread(fd, super, sizeof(super), 0);
	if (fd >= 0)
		close(fd);
	return n > 0 && memmem(super, (size_t)n, wanted->uuid, sizeof(wanted->uuid));
}

static int has_store(const char *process, const struct wanted *wanted)
{
	static char link[PATH_MAX];
	char path[64];
	struct dirent *entry;
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", process);
	DIR *fds = opendir(path);
	while (fds && !found && (entry = readdir(fds))) {
		ssize_t n = readlinkat(dirfd(fds), entry->d_name, link, sizeof(link) - 1);
		if (n < 6 || memcmp(link + n - 5, "/lock", 5))
			continue;
		link[n - 5] = 0;
		found = holds_write_lock(process, entry->d_name) && is_store(process, link, wanted);
	}
	if (fds)
		closedir(fds);
	return found;
}

static int find_writer(const struct wanted *wanted)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	int pidfd = -1;

	while (processes && pidfd < 0 && (entry = readdir(processes))) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
		    has_store(entry->d_name, wanted))
			pidfd = (int)syscall(SYS_pidfd_open, atoi(entry->d_name), 0);
	}
	if (processes)
		closedir(processes);
	return pidfd;
}

/* A pidfd of the process that writes to the store, or -1. */
static int find_daemon(struct wanted *wanted)
{
	wanted->by_source = 1;
	int pidfd = find_writer(wanted);
	wanted->by_source = 0;
	return pidfd < 0 && wanted->has_uuid ? find_writer(wanted) : pidfd;
}

/* ---- unmounting ---- */

/* Whom the kernel refuses may unmount what is their own through the program that mounted it. */
static int by_fusermount(const struct request *r)
{
	/* -q: the sentence is said here */
	const char *arguments[] = {"fusermount3", "-u", "-q", r->lazy ? "-z" : "--", r->path, NULL};
	pid_t child;
	int status;

	if (posix_spawnp(&child, arguments[0], NULL, NULL, (char **)(void *)arguments, environ))
		return -EPERM;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status ? -EPERM : 0;
}

static int take_away(const struct request *r)
{
	struct fs_options options = {.read_only = 1};
	struct mneme_error error = {""};
	int flags = UMOUNT_NOFOLLOW | (r->lazy ? MNT_DETACH : 0) | (r->force ? MNT_FORCE : 0);
	int err = umount2(r->path, flags) ? -errno : 0;

	if (err == -EPERM && geteuid() != 0)
		err = by_fusermount(r);
	if (err == -EBUSY && r->read_only) {
		if (fs_session_remount(r->path, &options, &error))
			return say(STATUS_FAILED, "%s: %s", r->directory, error.message);
		return say(0, "%s: target is busy: it is read-only now", r->directory);
	}
	if (err == -EBUSY)
		return say(STATUS_FAILED, "%s: target is busy", r->directory);
	if (err)
		return say(STATUS_FAILED, "%s: %s", r->directory, strerror(-err));
	if (r->verbose)
		printf("%s unmounted\n", r->directory);
	return 0;
}

static int wait_closed(const struct request *r, int daemon)
{
	struct pollfd end = {.fd = daemon, .events = POLLIN};
	int got;

	if (daemon < 0)
		return say(STATUS_NOT_CLOSED,
			   "%s is unmounted, but its daemon was not found: whether it still writes "
			   "to the store is not known",
			   r->directory);
	do
		got = poll(&end, 1, CLOSING_MS);
	while (got < 0 && errno == EINTR);
	return got > 0 ? 0
		       : say(STATUS_NOT_CLOSED,
			     "%s is unmounted, but its daemon still has the store after %d s: it "
			     "is busy, "
			     "or another mount namespace has a copy of the mount",
			     r->directory, CLOSING_MS / 1000);
}

static int enter_namespace(const char *name)
{
	char path[64];
	int number = name[strspn(name, "0123456789")] == 0;

	snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", name);
	int fd = open(number ? path : name, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 || setns(fd, CLONE_NEWNS) ? errno : 0;
	if (fd >= 0)
		close(fd);
	return err ? say(STATUS_FAILED, "namespace %s: %s", name, strerror(err)) : 0;
}

/* Returns 0 to go on, else the exit status. */
static int parse(int argc, char **argv, struct request *r)
{
	int option, status = 0;

	while (!status && (option = getopt(argc, argv, "flnrvN:t:")) != -1) {
		switch (option) {
		case 'f':
			r->force = 1;
			break;
		case 'l':
			r->lazy = 1;
			break;
		case 'r':
			r->read_only = 1;
			break;
		case 'v':
			r->verbose = 1;
			break;
		case 'N':
			status = enter_namespace(optarg);
			break;
		case 'n': /* no mtab */
		case 't': /* our own type */
			break;
		default:
			status = STATUS_USAGE;
		}
	}
	if (!status && optind + 1 != argc)
		status = STATUS_USAGE;
	if (status == STATUS_USAGE)
		return say(status, "usage: umount.mnemefs DIR [-flnrv] [-N namespace] [-t type]");
	r->directory = argv[optind];
	return status;
}

int umount_main(int argc, char **argv)
{
	static struct request r;
	static struct mounted mount;
	static struct wanted wanted;
	static char source[PATH_MAX];
	int daemon = -1, status = parse(argc, argv, &r);

	if (status)
		return status;
	if (!realpath(r.directory, r.path)) /* of a dead mount there is none */
		snprintf(r.path, sizeof(r.path), "%s", r.directory);
	if (!find_mount(r.path, &mount) || strncmp(mount.type, "fuse", 4))
		return say(STATUS_FAILED, "%s: no mnemefs is mounted there", r.directory);
	wanted.source = realpath(mount.source, source) ? source : mount.source;
	int answers = !r.force && ask_uuid(r.path, &wanted);
	if (!answers && strcmp(mount.type, "fuse.mnemefs"))
		return say(STATUS_FAILED, "%s: no mnemefs is mounted there", r.directory);
	int waits = !r.lazy && !mount.read_only;
	if (waits)
		daemon = find_daemon(&wanted);
	waits = waits && (daemon >= 0 || answers); /* a dead daemon has closed all */
	status = take_away(&r);
	if (!status && waits && !find_mount(NULL, &mount))
		status = wait_closed(&r, daemon);
	if (daemon >= 0)
		close(daemon);
	return status;
}
