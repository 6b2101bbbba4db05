/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   session.h: open the store, mount, serve, unmount, close.
 * Invariants: signals that end the daemon are taken by one thread alone, which lets the kernel write
 *            back what it holds before the mount goes; only then the loop ends and the store is closed.
 * Threading: the caller's thread runs the loop; workers are libfuse's; one thread waits for signals.
 * Failure:   -errno and a sentence; everything that was made is taken down again in reverse order.
 */
#include "fs/session.h"
#include "core/memory/embedder.h"
#include "core/memory/memory.h"

#include "fs/durability.h"
#include "fs/fs.h"
#include "fs/later.h"
#include "fs/reaper.h"
#include "fs/scheduling.h"
#include "fs/virtual.h"
#include "pool/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mneme_ioctl.h"

enum { BUSY_GRACE_MS = 3000, BUSY_POLL_MS = 20 };
enum { THREADS_DEFAULT = 10, THREADS_WAITING = 32, QUEUE_DEPTH_DEFAULT = 8, BACKGROUND_MAX = 256 };

struct fs_session {
	struct fs fs;
	char directory[4096];
	char description[160];
	int uring; /* asked for */
	int mounted;
	pthread_t main; /* runs the loop */
	pthread_t signals, ender;
	int has_signals;    /* the thread runs */
	int has_ender;      /* of the thread for signals; after its end: of who closes */
	_Atomic int ending; /* [A] the loop is over */
};

static struct fuse_session *session_to_end; /* of the signal handler; one session a process */

static int fail(struct mneme_error *error, int err, const char *what)
{
	if (error)
		snprintf(error->message, sizeof(error->message), "%s: %s", what, strerror(-err));
	return err;
}

int fs_format(struct mneme *engine, uint32_t uid, uint32_t gid)
{
	uint64_t root = names_root(mneme_shards(engine));
	int64_t now = fs_now();
	struct names_inode inode = {
		.mode = S_IFDIR | 0755,
		.nlink = 2,
		.uid = uid,
		.gid = gid,
		.atime_ns = now,
		.mtime_ns = now,
		.ctime_ns = now,
		.btime_ns = now,
		.parent = root,
		.generation = NAMES_GENERATION_MIN,
	};
	struct mneme_key key = names_key(root, MNEME_TYPE_INODE);

	if (mneme_inode_new(engine, 0) != root)
		return -EEXIST; /* not a fresh store */
	return mneme_put(engine, &key, &inode, sizeof(inode), MNEME_DURABILITY_STRICT);
}

/* ---- negotiation with the kernel ---- */

static void want(struct fuse_conn_info *conn, uint64_t flag, int on)
{
#if FUSE_VERSION >= 317
	if (on)
		fuse_set_feature_flag(conn, flag);
	else
		fuse_unset_feature_flag(conn, flag);
#else
	if (on)
		conn->want |= conn->capable & (unsigned)flag;
	else
		conn->want &= ~(unsigned)flag;
#endif
}

static int can(struct fuse_conn_info *conn, uint64_t flag)
{
#if FUSE_VERSION >= 317
	return (conn->capable_ext & flag) != 0;
#else
	return (conn->capable & flag) != 0;
#endif
}

static void handle_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;

	want(conn, FUSE_CAP_DONT_MASK, 1);
	want(conn, FUSE_CAP_POSIX_ACL, 1);
	want(conn, FUSE_CAP_EXPORT_SUPPORT, 1);
	want(conn, FUSE_CAP_PARALLEL_DIROPS, 1);
	want(conn, FUSE_CAP_CACHE_SYMLINKS, 1);
	want(conn, FUSE_CAP_READDIRPLUS, 1);
	want(conn, FUSE_CAP_READDIRPLUS_AUTO, 1);
	want(conn, FUSE_CAP_IOCTL_DIR, 1);
	want(conn, FUSE_CAP_ASYNC_READ, 1);
	/* an asynchronous direct write leaves pages stale that were read meanwhile */
	want(conn, FUSE_CAP_ASYNC_DIO, 0);
	want(conn, FUSE_CAP_HANDLE_KILLPRIV, 1);
	/* locks are the kernel's own; it writes through; cached bytes are dropped when we say so */
	want(conn, FUSE_CAP_POSIX_LOCKS, 0);
	want(conn, FUSE_CAP_FLOCK_LOCKS, 0);
	want(conn, FUSE_CAP_WRITEBACK_CACHE, 0);
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC, 0);
	want(conn, FUSE_CAP_AUTO_INVAL_DATA, 0);
	want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, 1);
	want(conn, FUSE_CAP_SPLICE_READ, 0);
	want(conn, FUSE_CAP_SPLICE_WRITE, 0);
	want(conn, FUSE_CAP_SPLICE_MOVE, 0);
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
	want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2, 1);
#endif
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
	want(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP, 1);
#endif
	fs->zero_open = !fs->options.checked_open && can(conn, FUSE_CAP_NO_OPEN_SUPPORT) &&
			can(conn, FUSE_CAP_NO_OPENDIR_SUPPORT);
	fs->direct_create = !fs->options.cached_create;
	conn->time_gran = 1;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
#if FUSE_VERSION >= 318
	conn->no_interrupt = 1;
#endif
}

static void set_handlers(struct fuse_lowlevel_ops *ops)
{
	memset(ops, 0, sizeof(*ops));
	ops->init = handle_init;
	attr_set_handlers(ops);
	dir_set_handlers(ops);
	make_set_handlers(ops);
	rename_set_handlers(ops);
	list_set_handlers(ops);
	file_set_handlers(ops);
	space_set_handlers(ops);
	xattr_set_handlers(ops);
	ioctl_set_handlers(ops);
	poll_set_handlers(ops);
}

/* ---- mounting ---- */

static int kernel_has_uring(void)
{
	char value = 'N';
	int fd = open("/sys/module/fuse/parameters/enable_uring", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, &value, 1) != 1)
		value = 'N';
	close(fd);
	return value == 'Y';
}

/* Each change waits for the disk then. A ring has one thread for each core, and to hand the answers over
 * (op.c) costs more than to wait in one of many: 16 clients get 0.78 of the files. */
static int requests_wait(const struct fs_session *session)
{
	return session->fs.options.durability == MNEME_DURABILITY_STRICT;
}

static int choose_transport(struct fs_session *session, struct mneme_error *error)
{
	enum fs_transport asked = session->fs.options.transport;
	int library = FUSE_VERSION >= 318, kernel = kernel_has_uring();
	int waits = asked == FS_TRANSPORT_AUTO && requests_wait(session);

	session->uring = asked != FS_TRANSPORT_CLASSIC && !waits && library && kernel;
	if (asked == FS_TRANSPORT_URING && !session->uring) {
		snprintf(error->message, sizeof(error->message),
			 "transport=uring is not possible: %s",
			 !library ? "this program was built with a libfuse older than 3.18 (see "
				    "get-libfuse)"
				  : "the kernel's switch is off (as root: echo Y > "
				    "/sys/module/fuse/parameters/enable_uring)");
		return -EOPNOTSUPP;
	}
	snprintf(session->description, sizeof(session->description), "transport %s, libfuse %s%s",
		 session->uring ? "uring" : "classic", fuse_pkgversion(),
		 session->uring || asked == FS_TRANSPORT_CLASSIC ? ""
		 : waits    ? " (durability=strict: many requests wait at once)"
		 : !library ? " (FUSE over io_uring needs libfuse 3.18)"
			    : " (FUSE over io_uring is off in the kernel)");
	return 0;
}

/* Appends to a list of options; a comma or backslash in `value` is escaped. */
static void add_option(char *list, size_t size, const char *name, const char *value)
{
	size_t used = strlen(list);
	int n = snprintf(list + used, size - used, "%s%s", used ? "," : "", name);

	used += n > 0 ? (size_t)n : 0;
	for (; value && *value && used + 3 < size; value++) {
		if (*value == ',' || *value == '\\')
			list[used++] = '\\';
		list[used++] = *value;
		list[used] = 0;
	}
}

static void build_options(const struct fs_session *session, const char *store, char *list,
			  size_t size)
{
	const struct fs_options *o = &session->fs.options;
	char depth[32];
	int root = geteuid() == 0;

	list[0] = 0;
	add_option(list, size, "fsname=", o->source[0] ? o->source : store);
	add_option(list, size, "subtype=", o->subtype[0] ? o->subtype : "mnemefs");
	add_option(list, size, "default_permissions", NULL);
	if (root ? !o->private_access : o->allow_other) /* fusermount3 refuses it, or not */
		add_option(list, size, "allow_other", NULL);
	if (o->read_only)
		add_option(list, size, "ro", NULL);
	if (root) { /* libfuse's own default is nosuid,nodev */
		add_option(list, size, o->kernel_flags & MS_NOSUID ? "nosuid" : "suid", NULL);
		add_option(list, size, o->kernel_flags & MS_NODEV ? "nodev" : "dev", NULL);
	}
	if (o->kernel_flags & MS_NOEXEC)
		add_option(list, size, "noexec", NULL);
	if (o->kernel_flags & MS_SYNCHRONOUS)
		add_option(list, size, "sync", NULL);
	if (o->kernel_flags & MS_DIRSYNC)
		add_option(list, size, "dirsync", NULL);
	if (o->atime == FS_ATIME_NEVER)
		add_option(list, size, "noatime", NULL);
	if (session->uring) {
		snprintf(depth, sizeof(depth), "io_uring_q_depth=%u",
			 o->queue_depth ? o->queue_depth : QUEUE_DEPTH_DEFAULT);
		add_option(list, size, "io_uring", NULL);
		add_option(list, size, depth, NULL);
	}
}

static int new_session(struct fs_session *session, const char *store, struct mneme_error *error)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops ops;
	char list[2 * PATH_MAX + 1024]; /* room for a path of which all is escaped */
	int err = choose_transport(session, error);

	if (err)
		return err;
	set_handlers(&ops);
	build_options(session, store, list, sizeof(list));
	if (fuse_opt_add_arg(&args, "mnemefs") || fuse_opt_add_arg(&args, "-o") ||
	    fuse_opt_add_arg(&args, list)) {
		fuse_opt_free_args(&args);
		return fail(error, -ENOMEM, "mount options");
	}
	session->fs.session = fuse_session_new(&args, &ops, sizeof(ops), &session->fs);
	fuse_opt_free_args(&args);
	if (!session->fs.session)
		return fail(error, -EINVAL, "libfuse refused the session");
	return 0;
}

static int mount_session(struct fs_session *session, struct mneme_error *error)
{
	if (fuse_session_mount(session->fs.session, session->directory)) {
		snprintf(error->message, sizeof(error->message),
			 "cannot mount on %.200s (see the line above; is /dev/fuse there?)",
			 session->directory);
		return -EPERM;
	}
	session->mounted = 1;
	return 0;
}

static void close_session(struct fs_session *session)
{
	struct fs *fs = &session->fs;

	mneme_closing(fs->engine);
	if (session->mounted)
		fuse_session_unmount(fs->session);
	reaper_free(fs->reaper); /* it notifies the session */
	virtual_end(fs);
	session_to_end = NULL;
	if (fs->session)
		fuse_session_destroy(fs->session);
	if (session->has_ender) /* nothing of the mount can hold it now */
		pthread_join(session->ender, NULL);
	later_free(fs->later);
	memory_close(fs->memory);
	virtual_free(fs);
	sched_free(fs->sched);
	metrics_free(fs->metrics);
	buffers_free(fs->buffers);
	node_table_free(fs->nodes);
}

static void answers_changed(void *arg)
{
	virtual_changed(arg);
}

static const char *given(const char *text)
{
	return *text ? text : NULL;
}

static int open_memory(struct fs *fs, const char *store, const char *mounted_at,
		       struct mneme_error *error)
{
	const struct fs_embedder *e = &fs->options.embedder;
	const struct embedder_settings embedder = {.kind = given(e->kind),
						   .url = given(e->url),
						   .model = given(e->model),
						   .key_file = given(e->key_file),
						   .key_env = given(e->key_env),
						   .command = given(e->command),
						   .dim = e->dim,
						   .timeout_ms = e->timeout_s * 1000};
	struct memory_options options = {.store = store,
					 .embedder = &embedder,
					 .read_only = fs->options.read_only,
					 .mounted_at = mounted_at,
					 .changed = answers_changed,
					 .changed_arg = fs};

	return memory_open(fs->engine, &options, &fs->memory, error);
}

static int open_parts(struct fs *fs, const char *store, const char *mounted_at,
		      struct mneme_error *error)
{
	struct buffers_config config;
	struct names_inode inode;

	fs->shards = mneme_shards(fs->engine);
	fs->root = names_root(fs->shards);
	mneme_uuid(fs->engine, fs->hash_key);
	atomic_store_explicit(&fs->read_only, fs->options.read_only, memory_order_relaxed);
	int err = inode_read(fs, fs->root, &inode);
	if (err) {
		snprintf(error->message, sizeof(error->message),
			 "the store has no root directory (%s): make it with mkfs.mnemefs",
			 strerror(-err));
		return err == -ENOENT ? -EINVAL : err;
	}
	if (inode.state & NAMES_GUARDED || fs->options.atime == FS_ATIME_STRICT)
		fs->options.checked_open = 1;
	durability_open(fs);
	buffers_config_default(&config);
	err = node_table_new(&fs->nodes);
	if (!err)
		err = buffers_new(&config, &fs->buffers);
	if (!err)
		err = metrics_new(&fs->metrics);
	if (!err)
		err = later_new(&fs->later);
	if (!err)
		err = virtual_new(fs);
	if (!err)
		err = reaper_new(fs, &fs->reaper);
	if (!err && !fs->options.no_memory)
		err = open_memory(fs, store, mounted_at, error);
	if (!err && !fs->options.read_only)
		err = reaper_recover(fs);
	if (err && !error->message[0])
		fail(error, err, "cannot start the filesystem");
	return err;
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* umount(2) returns before the daemon knows of it: give the last one a moment to say that it closes. */
static int open_engine(const char *store, const struct mneme_options *options, struct mneme **out,
		       struct mneme_error *error)
{
	int err = mneme_open(store, options, out, error);

	for (int waited = 0; err == -EBUSY && waited < BUSY_GRACE_MS; waited += BUSY_POLL_MS) {
		usleep(BUSY_POLL_MS * 1000);
		err = mneme_open(store, options, out, error);
	}
	return err;
}

/* Is the memory of this process limited by a cgroup of version 1? */
static int in_limited_cgroup_1(void)
{
	static const char line_head[] = ":memory:";
	char line[512], path[640];
	unsigned long long limit = 0;
	FILE *file = fopen("/proc/self/cgroup", "re");

	for (path[0] = 0; file && fgets(line, sizeof line, file);) {
		const char *at = strstr(line, line_head);
		if (at)
			snprintf(path, sizeof path,
				 "/sys/fs/cgroup/memory%.*s/memory.limit_in_bytes",
				 (int)strcspn(at + strlen(line_head), "\n"),
				 at + strlen(line_head));
	}
	if (file)
		fclose(file);
	file = fopen(path, "re");
	int known = file && fscanf(file, "%llu", &limit) == 1;
	if (file)
		fclose(file);
	return known && limit / (unsigned)getpagesize() < (unsigned long)sysconf(_SC_PHYS_PAGES);
}

/* Who is short of memory may wait until dirty pages of this mount are written, and only these threads
 * write them: their own allocations are not to wait for that. Wants CAP_SYS_RESOURCE. Without it version
 * 1 of cgroups lets them wait, unless the kernel caches writes, with times and sizes of its own. */
static void never_wait_for_ourselves(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) && in_limited_cgroup_1())
		fprintf(stderr,
			"mnemefs: without CAP_SYS_RESOURCE programs that write through maps can "
			"hang this mount for good, where they share its cgroup (of version 1) and "
			"the limit of its memory: give it that right, or a cgroup of its own\n");
}

static int find_directory(const char *directory, char out[4096], struct mneme_error *error)
{
	struct stat st;

	if (!realpath(directory, out) || stat(out, &st))
		return fail(error, -errno,
			    errno == ENOTCONN ? "the mount there is dead, umount it first"
					      : directory);
	if (!S_ISDIR(st.st_mode)) /* the kernel mounts on files, too */
		return fail(error, -ENOTDIR, directory);
	return 0;
}

int fs_session_open(const char *store, const char *directory, const struct fs_options *options,
		    struct fs_session **out, struct mneme_error *error)
{
	struct mneme_options engine = {.read_only = options->read_only,
				       .dirty_bytes_max = options->cache_bytes,
				       .durability = options->durability};
	struct fs_session *session = alloc_zeroed(1, sizeof(*session));

	if (!session)
		return fail(error, -ENOMEM, "mount");
	block_signals();
	if (directory)
		never_wait_for_ourselves();
	session->fs.options = *options;
	int err = directory ? find_directory(directory, session->directory, error) : 0;
	if (!err)
		err = open_engine(store, &engine, &session->fs.engine, error);
	if (err) {
		alloc_free(session);
		return err;
	}
	err = open_parts(&session->fs, store, session->directory, error);
	if (!err)
		err = new_session(session, store, error);
	if (!err && directory)
		err = mount_session(session, error);
	if (err) {
		close_session(session);
		mneme_close(session->fs.engine);
		alloc_free(session);
		return err;
	}
	*out = session;
	return 0;
}

const char *fs_session_describe(const struct fs_session *session)
{
	return session->description;
}

/* ---- serving ---- */

static void on_end(int signal_number)
{
	if (session_to_end) /* this thread empties it before the session goes */
		fuse_session_exit(session_to_end);
}

/* Lets the kernel write back what is dirty, then takes the mount away. Who waits for an embedder would
 * keep it: they get what is durable or what words find, the next mount embeds the rest. This makes
 * requests of the mount itself, which may wait behind others. */
static void *end_mount(void *arg)
{
	struct fs_session *session = arg;

	if (session->fs.memory)
		memory_release(session->fs.memory);
	int fd = open(session->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		syncfs(fd);
		close(fd);
	}
	/* acquire: pairs with the release in stop_signals() */
	if (atomic_load_explicit(&session->ending, memory_order_acquire))
		return NULL;
	if (geteuid() == 0 && umount2(session->directory, 0) == 0)
		return NULL; /* the loop sees the end of the connection */
	if (geteuid() == 0)
		umount2(session->directory, MNT_DETACH);
	pthread_kill(session->main, SIGUSR1);
	return NULL;
}

static void *signals_main(void *arg)
{
	struct fs_session *session = arg;
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	/* the first one ends the mount politely, the next ones at once */
	for (int polite = 1; !sigwait(&set, &number); polite = 0) {
		/* acquire: pairs with the release in fs_session_run() */
		if (atomic_load_explicit(&session->ending, memory_order_acquire))
			break;
		if (polite && !pthread_create(&session->ender, NULL, end_mount, session))
			session->has_ender = 1;
		else
			pthread_kill(session->main, SIGUSR1);
	}
	return NULL;
}

static int start_signals(struct fs_session *session)
{
	struct sigaction action = {.sa_handler = on_end};
	sigset_t set;

	session->main = pthread_self();
	session_to_end = session->fs.session;
	sigaction(SIGUSR1, &action, NULL); /* no SA_RESTART: it has to end the loop's wait */
	int err = pthread_create(&session->signals, NULL, signals_main, session);
	if (err)
		return -err;
	session->has_signals = 1;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return 0;
}

static void stop_signals(struct fs_session *session)
{
	if (!session->has_signals)
		return;
	/* release: the thread that is woken sees it and leaves */
	atomic_store_explicit(&session->ending, 1, memory_order_release);
	pthread_kill(session->signals, SIGTERM);
	pthread_join(session->signals, NULL);
}

static int serve(struct fs_session *session)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	unsigned threads = session->fs.options.threads;

	if (!config)
		return -ENOMEM;
	if (!threads)
		threads = requests_wait(session) ? THREADS_WAITING : THREADS_DEFAULT;
	fuse_loop_cfg_set_clone_fd(config, !session->uring);
	fuse_loop_cfg_set_max_threads(config, threads);
	fuse_loop_cfg_set_idle_threads(config, threads);
	int got = fuse_session_loop_mt(session->fs.session, config);
	fuse_loop_cfg_destroy(config);
	return got < 0 ? got : 0;
}

struct fuse_session *fs_session_requests(struct fs_session *session)
{
	return session->fs.session;
}

int fs_session_close(struct fs_session *session, struct mneme_error *error)
{
	struct mneme *engine = session->fs.engine;

	close_session(session);
	int err = mneme_close(engine);
	alloc_free(session);
	return err ? fail(error, err, "closing the store") : 0;
}

/* Why the daemon keeps the usual scheduling class whatever its group is, or NULL. */
static const char *class_refused(const struct fs_options *options)
{
	return options->usual_class           ? "sched=normal"
	       : options->embedder.command[0] ? "the embedder's program is in its group"
					      : NULL;
}

int fs_session_run(struct fs_session *session, struct mneme_error *error)
{
	struct fs *fs = &session->fs;
	int err = start_signals(session);

	if (!err)
		err = sched_start(class_refused(&fs->options), &fs->sched);
	if (!err)
		err = serve(session);
	if (err)
		fail(error, err, "serving the mount");
	sched_stop(fs->sched);
	stop_signals(session);
	int closed = fs_session_close(session, err ? NULL : error);
	return err ? err : closed;
}

/* ---- remount ---- */

/* The kernel syncs nothing for a remount: what a read-only mount shows is on the disk all the same. */
static int sync_mount(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int err = fsync(fd) ? -errno : 0;
	close(fd);
	return err;
}

int fs_session_remount(const char *directory, const struct fs_options *options,
		       struct mneme_error *error)
{
	unsigned long flags = MS_REMOUNT | options->kernel_flags;
	struct mneme_ioc_stats stats;

	if (options->read_only)
		flags |= MS_RDONLY;
	if (mount("mnemefs", directory, "fuse.mnemefs", flags, NULL))
		return fail(error, -errno, directory);
	if (options->read_only) {
		int err = sync_mount(directory);
		return err ? fail(error, err, "read-only, but not synced") : 0;
	}
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int known = fd >= 0 && !ioctl(fd, MNEME_IOC_STATS, &stats);
	if (fd >= 0)
		close(fd);
	if (!known || !stats.read_only)
		return 0;
	mount("mnemefs", directory, "fuse.mnemefs", flags | MS_RDONLY, NULL);
	snprintf(error->message, sizeof(error->message),
		 "the store of %s is open read-only (%s): unmount it and mount it again with rw",
		 directory, strerror((int)stats.read_only));
	return -EROFS;
}
