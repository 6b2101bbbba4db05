/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   embedding by a program that is started once a worker and kept: a line in, a line out.
 * Invariants: no shell; the program has its own process group, so that all of it is ended. Writing
 *            and reading go on together, so neither side waits for the other with a full pipe. Its
 *            input is a socket (a write to a program that is gone is an error there, not a
 *            signal).
 * Failure:   after any failure the program is ended; the next batch starts it again.
 */
#include "core/memory/embedder_json.h"
#include "core/memory/embedder_private.h"

#include "pool/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { LINE_MAX_BYTES = 1 << 20, POLL_MS = 50, END_WAIT_MS = 500 };

struct command_worker {
	struct embedder *e;
	pid_t pid; /* 0: not running */
	int in;    /* the program's standard input */
	int out;   /* the program's standard output, not blocking */
	char *line;
	size_t len;
	uint64_t deadline_ms;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int command_open(struct embedder *e, const struct embedder_settings *s, char *why)
{
	size_t words = 0, len;
	char *copy, *save = NULL;

	if (!s->command || !s->command[strspn(s->command, " ")])
		return embedder_fail(why, -EINVAL, "the command embedder needs a command");
	len = strlen(s->command);
	e->argv = alloc_zeroed(1, (len / 2 + 2) * sizeof(char *) + len + 1);
	if (!e->argv)
		return embedder_fail(why, -ENOMEM, "out of memory");
	copy = (char *)(e->argv + len / 2 + 2);
	memcpy(copy, s->command, len);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		e->argv[words++] = word;
	const char *base = strrchr(e->argv[0], '/');
	snprintf(e->name, sizeof(e->name), "command:%s",
		 s->model ? s->model
		 : base   ? base + 1
			  : e->argv[0]);
	return 0;
}

static void command_close(struct embedder *e)
{
	alloc_free(e->argv);
}

static void *command_worker_new(struct embedder *e)
{
	struct command_worker *w = alloc_zeroed(1, sizeof(*w));

	if (!w)
		return NULL;
	w->e = e;
	w->line = alloc_get(LINE_MAX_BYTES);
	if (!w->line) {
		alloc_free(w);
		return NULL;
	}
	return w;
}

/* The program learns by the end of its input that it is over; what does not go is killed. Its
 * number stays its own until it is reaped, so its group is signalled before that. */
static void end_program(struct command_worker *w)
{
	siginfo_t info = {0};

	if (!w->pid)
		return;
	close(w->in);
	close(w->out);
	for (int waited = 0; waited < END_WAIT_MS && !info.si_pid; waited += 5) {
		const struct timespec t = {0, 5000000};

		if (waited == END_WAIT_MS / 2)
			kill(-w->pid, SIGTERM);
		if (!waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
		    !info.si_pid)
			nanosleep(&t, NULL);
	}
	kill(-w->pid, SIGKILL);
	waitpid(w->pid, NULL, 0);
	w->pid = 0;
}

static void command_worker_free(void *state)
{
	struct command_worker *w = state;

	end_program(w);
	alloc_free(w->line);
	alloc_free(w);
}

static int spawn(struct command_worker *w, int in, int out)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, pipe_only;
	int rc;

	sigemptyset(&none);
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &pipe_only);
	rc = posix_spawnp(&w->pid, w->e->argv[0], &actions, &attr, w->e->argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (rc)
		w->pid = 0;
	return -rc;
}

static int start_program(struct command_worker *w, char *why)
{
	int in[2], out[2], rc;

	if (w->pid)
		return 0;
	w->len = 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in))
		return embedder_fail(why, -errno, "no socket for the command: %s", strerror(errno));
	if (pipe2(out, O_CLOEXEC)) {
		rc = embedder_fail(why, -errno, "no pipe for the command: %s", strerror(errno));
		close(in[0]);
		close(in[1]);
		return rc;
	}
	rc = spawn(w, in[1], out[1]);
	close(in[1]);
	close(out[1]);
	if (rc) {
		close(in[0]);
		close(out[0]);
		return embedder_fail(why, rc, "cannot start %.150s: %s", w->e->argv[0],
				     strerror(-rc));
	}
	w->in = in[0];
	w->out = out[0];
	fcntl(w->in, F_SETFL, O_NONBLOCK);
	fcntl(w->out, F_SETFL, O_NONBLOCK);
	return 0;
}

/* What is still to be written. */
struct outgoing {
	char *bytes;
	size_t len;
	size_t at;
};

static int write_some(struct command_worker *w, struct outgoing *o, char *why)
{
	const ssize_t n = send(w->in, o->bytes + o->at, o->len - o->at, MSG_NOSIGNAL);

	if (n > 0)
		o->at += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		return embedder_fail(why, -EPROTO,
				     "the command ended before it had read its input");
	return 0;
}

static int read_some(struct command_worker *w, char *why)
{
	if (w->len == LINE_MAX_BYTES)
		return embedder_fail(why, -EPROTO, "the command's line is longer than %d bytes",
				     LINE_MAX_BYTES);
	const ssize_t n = read(w->out, w->line + w->len, LINE_MAX_BYTES - w->len);

	if (n == 0)
		return embedder_fail(why, -EPROTO, "the command ended without an answer");
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return embedder_fail(why, -errno, "the command cannot be read: %s",
				     strerror(errno));
	if (n > 0)
		w->len += (size_t)n;
	return 0;
}

/* Waits for either side, and moves bytes. */
static int exchange(struct command_worker *w, struct outgoing *o, char *why)
{
	struct pollfd fds[2] = {{.fd = w->out, .events = POLLIN},
				{.fd = o->at < o->len ? w->in : -1, .events = POLLOUT}};
	int rc = 0;

	if (embedder_is_stopped(w->e))
		return embedder_fail(why, -ECANCELED, "the embedder is being stopped");
	if (now_ms() >= w->deadline_ms)
		return embedder_fail(why, -ETIMEDOUT, "the command did not answer in %u ms",
				     w->e->timeout_ms);
	if (poll(fds, 2, POLL_MS) <= 0)
		return 0;
	if (fds[0].revents)
		rc = read_some(w, why);
	if (!rc && fds[1].revents)
		rc = write_some(w, o, why);
	return rc;
}

/* Takes the next line of the answer out of the buffer, exchanging bytes until there is one. */
static int take_line(struct command_worker *w, struct outgoing *o, float *vector, uint32_t *dim,
		     char *why)
{
	char *stop;
	int rc;

	while (!(stop = memchr(w->line, '\n', w->len))) {
		rc = exchange(w, o, why);
		if (rc)
			return rc;
	}
	const size_t len = (size_t)(stop - w->line);
	rc = embedder_json_vector(w->line, len, vector, dim, why);
	w->len -= len + 1;
	memmove(w->line, stop + 1, w->len);
	return rc;
}

static int make_lines(struct outgoing *o, const char *const *texts, const size_t *lens, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *line = embedder_json_line(texts[i], lens[i]);
		const size_t len = line ? strlen(line) : 0;
		char *grown = line ? alloc_resize(o->bytes, o->len + len + 1) : NULL;

		if (grown) {
			memcpy(grown + o->len, line, len);
			grown[o->len + len] = '\n';
			o->bytes = grown;
			o->len += len + 1;
		}
		alloc_free(line);
		if (!grown)
			return -ENOMEM;
	}
	return 0;
}

static int command_embed(struct embedder *e, void *state, const char *const *texts,
			 const size_t *lens, size_t n, float *vectors, uint32_t *dim, char *why)
{
	struct command_worker *w = state;
	struct outgoing o = {0};
	int rc = make_lines(&o, texts, lens, n);

	if (rc)
		embedder_fail(why, rc, "out of memory");
	else
		rc = start_program(w, why);
	w->deadline_ms = now_ms() + e->timeout_ms;
	for (size_t i = 0; i < n && !rc; i++)
		rc = take_line(w, &o, vectors ? vectors + i * *dim : NULL, dim, why);
	if (!rc && (w->len || o.at < o.len))
		rc = embedder_fail(why, -EPROTO, "the command answered more than it was asked");
	if (rc)
		end_program(w);
	alloc_free(o.bytes);
	return rc;
}

const struct embedder_way embedder_way_command = {
	.kind = "command",
	.is_elsewhere = 1,
	.open = command_open,
	.close = command_close,
	.worker_new = command_worker_new,
	.worker_free = command_worker_free,
	.embed = command_embed,
};
