/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the daemon: mounts a store and serves it. As mount.mnemefs or mount.fuse.mnemefs it is the
 *            helper of mount(8) (`mount -t mnemefs STORE DIR`, fstab); as umount.mnemefs or
 *            umount.fuse.mnemefs that of umount(8) (umount.h).
 * Invariants: without -f the command returns when the mount is usable, or with its error: the child
 *            reports through a pipe. The process forks before it has threads.
 * Failure:   exit 1 and a sentence; exit 2: usage. As the helper of mount(8): 1 usage, 32 failure.
 */
#include "fs/session.h"
#include "mount-tools/umount.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"usage: mnemefs STORE DIR [-f] [-o option,...]\n"
	"       mount.mnemefs STORE DIR [-sfnv] [-o option,...]     (called by mount(8))\n"
	"       umount.mnemefs DIR [-flnrv]     (called by umount(8); waits until the store is "
	"closed)\n"
	"Mounts the store STORE (made with mkfs.mnemefs) on the directory DIR. umount DIR ends "
	"it.\n\n"
	"  -f, --foreground   stay in the foreground\n"
	"  -o OPTIONS         mount options, below\n"
	"  -h, --help         this text\n"
	"  -V, --version\n\n"
	"Options (* is the default):\n"
	"  ro rw*                              read-only or not\n"
	"  durability=memory|buffered|strict   what an operation waits for (default: the store's)\n"
	"  cache_size=SIZE                     memory for changes that are not on disk yet "
	"(*512M)\n"
	"  embedder=builtin*|hash|http|command|none   what texts become vectors by, where no "
	"directory\n"
	"                                      chooses another one that is set up here by:\n"
	"  embedder_url=URL embedder_model=M   http: server and model; embedder_dim=N of its "
	"vectors;\n"
	"  embedder_key_file=F|embedder_key_env=VARIABLE   where its key is\n"
	"  embedder_command=\"PROGRAM ...\"     command: a line of JSON in, a line of numbers out\n"
	"  embedder_timeout=SECONDS            http, command: of one request (*10; it is tried "
	"twice)\n"
	"  transport=auto*|uring|classic       FUSE over io_uring or /dev/fuse\n"
	"  queue_depth=N threads=N             requests of a core's queue (*8), threads (*10)\n"
	"  open=fast*|checked                  checked: open(2) of immutable and append-only "
	"files\n"
	"                                      is refused at once, not at the first write\n"
	"  create=direct*|cached               how a new file's first writes go\n"
	"  sched=auto*|normal                  auto: the scheduling class that keeps callers on "
	"their core\n"
	"  atime: relatime* noatime strictatime\n"
	"  suid* nosuid dev* nodev exec* noexec sync dirsync private remount\n";

struct arguments {
	struct fs_options options;
	const char *store, *directory;
	int foreground;
	int helper; /* called by mount(8) */
	int verbose;
};

static int complain(const struct arguments *args, const char *sentence)
{
	fprintf(stderr, "%s: %s\n", args->helper ? "mount.mnemefs" : "mnemefs", sentence);
	return args->helper ? 1 : 2;
}

static int is_helper(const char *program)
{
	const char *name = strrchr(program, '/');

	name = name ? name + 1 : program;
	return !strncmp(name, "mount.", 6);
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct arguments *args)
{
	static const struct option options[] = {{"foreground", no_argument, NULL, 'f'},
						{"help", no_argument, NULL, 'h'},
						{"version", no_argument, NULL, 'V'},
						{NULL, 0, NULL, 0}};
	struct mneme_error error = {""};
	int option;

	while ((option = getopt_long(argc, argv, "fo:hVsnvt:", options, NULL)) != -1) {
		switch (option) {
		case 'f': /* mount(8) means "fake" by it: do everything but the mount */
			if (args->helper)
				return 0;
			args->foreground = 1;
			break;
		case 'o':
			if (fs_options_parse(&args->options, optarg, &error))
				return complain(args, error.message);
			break;
		case 's': /* sloppy */
		case 'n': /* no mtab */
		case 't': /* our own type */
			break;
		case 'v':
			args->verbose = 1;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts("mnemefs " MNEME_VERSION);
			return 0;
		default:
			fputs(usage, stderr);
			return args->helper ? 1 : 2;
		}
	}
	if (optind + 2 != argc)
		return complain(args, "usage: mnemefs STORE DIR [-f] [-o option,...] "
				      "(more: mnemefs --help)");
	args->store = argv[optind];
	args->directory = argv[optind + 1];
	return -1;
}

/* Leaves the terminal; the report goes through `pipe_fd` before. */
static void detach(int pipe_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	if (chdir("/"))
		return;
	char ready = 0;
	if (write(pipe_fd, &ready, 1) != 1)
		return;
	close(pipe_fd);
}

/* Mounts and serves; `pipe_fd` -1 in the foreground. Returns the exit status. */
static int serve(const struct arguments *args, int pipe_fd)
{
	struct mneme_error error = {""};
	struct fs_session *session;
	int err = fs_session_open(args->store, args->directory, &args->options, &session, &error);

	if (err) {
		complain(args, error.message[0] ? error.message : strerror(-err));
		return args->helper ? 32 : 1;
	}
	if (args->foreground || args->verbose)
		fprintf(stderr, "mnemefs: %s on %s, %s\n", args->store, args->directory,
			fs_session_describe(session));
	if (pipe_fd >= 0)
		detach(pipe_fd);
	err = fs_session_run(session, &error);
	if (err)
		complain(args, error.message);
	return err ? 1 : 0;
}

/* The status that the child reports, or its exit status when it ends before. */
static int wait_ready(int pipe_fd, int failure)
{
	char status;
	ssize_t got;

	do {
		got = read(pipe_fd, &status, 1);
	} while (got < 0 && errno == EINTR);
	return got == 1 ? status : failure;
}

static int run_background(const struct arguments *args)
{
	int ends[2], failure = args->helper ? 32 : 1;

	if (pipe2(ends, O_CLOEXEC)) {
		complain(args, strerror(errno));
		return failure;
	}
	pid_t child = fork();
	if (child < 0) {
		complain(args, strerror(errno));
		return failure;
	}
	if (child) {
		close(ends[1]);
		return wait_ready(ends[0], failure);
	}
	close(ends[0]);
	setsid();
	return serve(args, ends[1]);
}

int main(int argc, char **argv)
{
	struct arguments args = {.helper = is_helper(argv[0])};
	struct mneme_error error = {""};

	if (umount_is_called(argv[0]))
		return umount_main(argc, argv);
	int status = parse(argc, argv, &args);
	if (status >= 0)
		return status;
	if (args.options.remount) {
		if (!fs_session_remount(args.directory, &args.options, &error))
			return 0;
		complain(&args, error.message);
		return args.helper ? 32 : 1;
	}
	return args.foreground ? serve(&args, -1) : run_background(&args);
}
