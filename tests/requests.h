/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   a session without a mount: requests as the kernel writes them, through libfuse into the
 *            handlers, on the caller's thread; the answers come back.
 * Invariants: a message lies at the start of a buffer as large as the daemon's, zeros behind it: the
 *            kernel ends names with a zero, and libfuse relies on that.
 *            Answers come through a pair of sockets that libfuse takes for /dev/fuse.
 * Threading: one thread sends; the engine's own threads run beside.
 * Failure:   what cannot be set up ends the program with a message.
 */
#ifndef TESTS_REQUESTS_H
#define TESTS_REQUESTS_H

#include "fs/session.h"

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <limits.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUESTS_MESSAGE_MAX = (1 << 20) + 4096, REQUESTS_ANSWER_MAX = 2 << 20 };

struct requests {
	struct fs_session *session;
	uint64_t unique;
	uint8_t *message;          /* REQUESTS_MESSAGE_MAX bytes */
	int kernel;                /* our end of the sockets */
	char store[PATH_MAX - 16]; /* the rest is for what is put around it */
};

static void requests_give_up(const char *what)
{
	perror(what);
	exit(2);
}

/* Hands libfuse one end of a pair of sockets, as a descriptor of /dev/fuse is handed over. */
static void requests_connect(struct requests *r)
{
	int ends[2], room = 2 * REQUESTS_ANSWER_MAX;
	char path[32];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		requests_give_up("socketpair");
	if (setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
		setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
	if (fuse_session_mount(fs_session_requests(r->session), path))
		requests_give_up("fuse_session_mount");
	r->kernel = ends[1];
}

/* Sends one request, and takes no answer. */
static void requests_send(struct requests *r, uint32_t opcode, uint64_t node, const void *arguments,
			  size_t length)
{
	struct fuse_in_header head = {
		.len = (uint32_t)(sizeof(head) + length),
		.opcode = opcode,
		.unique = ++r->unique,
		.nodeid = node,
		.pid = (uint32_t)getpid(),
	};
	struct fuse_buf buffer = {.size = head.len, .mem = r->message};

	memcpy(r->message, &head, sizeof(head));
	if (length)
		memcpy(r->message + sizeof(head), arguments, length);
	fuse_session_process_buf(fs_session_requests(r->session), &buffer);
	memset(r->message, 0, head.len);
}

/* The next message of the session, an answer or a notification; its bytes, 0: there is none. */
static size_t requests_receive(struct requests *r, void *answer, size_t capacity)
{
	ssize_t n = recv(r->kernel, answer, capacity, MSG_DONTWAIT);

	return n > 0 ? (size_t)n : 0;
}

/* A session on the store that is there. */
static void requests_start(struct requests *r, const struct fs_options *options)
{
	const struct fuse_init_in init = {.major = FUSE_KERNEL_VERSION,
					  .minor = 38,
					  .max_readahead = 131072,
					  .flags = ~0u & ~(uint32_t)FUSE_INIT_EXT};
	static uint8_t answer[4096];
	struct mneme_error error = {""};

	if (fs_session_open(r->store, NULL, options, &r->session, &error)) {
		fprintf(stderr, "%s\n", error.message);
		exit(2);
	}
	requests_connect(r);
	requests_send(r, FUSE_INIT, 0, &init, sizeof(init));
	while (requests_receive(r, answer, sizeof(answer)))
		;
}

/* Closes the session; its store stays. */
static void requests_stop(struct requests *r)
{
	struct mneme_error error;

	if (fs_session_close(r->session, &error))
		abort();
	r->session = NULL;
	close(r->kernel);
}

/* A session on a new, empty store in TMPDIR. */
static void requests_open(struct requests *r, const struct fs_options *options)
{
	struct mneme_create_options create = {.shards = 4};
	struct mneme_options engine = {.durability = MNEME_DURABILITY_MEMORY};
	struct mneme_error error = {""};
	struct mneme *made;
	const char *folder = getenv("TMPDIR");

	if (!r->message && !(r->message = calloc(1, REQUESTS_MESSAGE_MAX)))
		requests_give_up("calloc");
	snprintf(r->store, sizeof(r->store), "%s/requests.XXXXXX", folder ? folder : "/tmp");
	if (!mkdtemp(r->store))
		requests_give_up(r->store);
	if (mneme_create(r->store, &create, &error) ||
	    mneme_open(r->store, &engine, &made, &error) || fs_format(made, 0, 0) ||
	    mneme_close(made)) {
		fprintf(stderr, "%s\n", error.message);
		exit(2);
	}
	requests_start(r, options);
}

/* Closes the session and removes its store. */
static void requests_close(struct requests *r)
{
	char command[PATH_MAX];

	if (!r->session)
		return;
	requests_stop(r);
	snprintf(command, sizeof(command), "rm -rf '%s'", r->store);
	if (system(command))
		requests_give_up(command);
}

#endif
