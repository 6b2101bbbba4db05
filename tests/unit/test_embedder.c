/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   tests of core/memory/embedder*.c. The http cases talk to a small server of this
 *            program's own on the loopback, which follows a script of answers; the command cases
 *            to shell scripts in files without names.
 */
#include "core/memory/embedder.h"
#include "core/memory/embedder_json.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char why[EMBEDDER_WHY];

/* A file without a name, which goes with this process: the path that leads to it. */
static void make_file(const char *body, char path[64])
{
	const int fd = memfd_create("mneme-test", 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dprintf(fd, "%s", body), (int)strlen(body));
	snprintf(path, 64, "/proc/%d/fd/%d", (int)getpid(), fd);
}

/* ---- the test double of a server ---- */

enum answer {
	GOOD, /* vectors of 4: the text's length, its first byte, 1, 0; indexes descending */
	ERROR_500,
	ERROR_400,
	ERROR_429, /* with Retry-After: 0 */
	ERROR_401, /* repeats the key */
	GARBAGE,
	WRONG_DIM,
	TRUNCATED, /* promises more than it sends */
	SLOW,      /* says nothing until the client goes away */
	HANG_UP,
	TOO_FEW,
	REDIRECT,
};

struct server {
	int fd;
	uint16_t port;
	pthread_t thread;
	const enum answer *script;
	int steps;
	_Atomic int served;
	char request[65536]; /* the last one */
	char all_headers[65536];
};

static void send_all(int fd, const char *data)
{
	size_t at = 0, len = strlen(data);

	while (at < len) {
		const ssize_t n = send(fd, data + at, len - at, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

static void reply(int fd, const char *status, const char *more, const char *body, size_t promised)
{
	char head[512];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n"
		 "Connection: close\r\n\r\n",
		 status, more, promised);
	send_all(fd, head);
	send_all(fd, body);
}

/* Counts the strings of "input":[..] and writes an answer for each, the last one first. */
static void good_body(const char *request, char *body, int dims, int leave_out)
{
	const char *at = strstr(request, "\"input\":["), *text[512];
	size_t len[512], n = 0, used = 0;

	ck_assert_ptr_nonnull(at);
	for (at += 9; *at == '"' || *at == ','; at++) {
		if (*at == ',')
			continue;
		text[n] = ++at;
		while (*at != '"')
			at += *at == '\\' ? 2 : 1;
		len[n] = (size_t)(at - text[n]);
		n++;
	}
	used += (size_t)sprintf(body, "{\"object\":\"list\",\"data\":[");
	for (size_t i = n; i-- > (size_t)leave_out;) {
		used += (size_t)sprintf(body + used, "%s{\"index\":%zu,\"embedding\":[%zu,%d",
					i + 1 < n ? "," : "", i, len[i], text[i][0]);
		for (int d = 2; d < dims; d++)
			used += (size_t)sprintf(body + used, ",%s", d == 2 ? "1.0" : "0e0");
		used += (size_t)sprintf(body + used, "]}");
	}
	sprintf(body + used, "]}");
}

/* Reads one request whole. */
static int read_request(struct server *s, int fd)
{
	size_t len = 0, want = 0;

	for (;;) {
		const ssize_t n = recv(fd, s->request + len, sizeof(s->request) - 1 - len, 0);

		if (n <= 0)
			return -1;
		len += (size_t)n;
		s->request[len] = 0;
		const char *end = strstr(s->request, "\r\n\r\n");
		const char *length = strcasestr(s->request, "Content-Length: ");
		if (end && length && !want)
			want = (size_t)(end + 4 - s->request) + strtoul(length + 16, NULL, 10);
		if (want && len >= want)
			return 0;
	}
}

static void answer(struct server *s, int fd, enum answer what)
{
	static char body[1 << 20];
	char byte;

	switch (what) {
	case GOOD:
	case WRONG_DIM:
	case TOO_FEW:
	case TRUNCATED:
		good_body(s->request, body, what == WRONG_DIM ? 3 : 4, what == TOO_FEW);
		reply(fd, "200 OK", "", body, strlen(body) + (what == TRUNCATED ? 50 : 0));
		break;
	case ERROR_500:
		reply(fd, "500 Oops", "", "{\"error\":\"out of luck\"}", 23);
		break;
	case ERROR_400:
		reply(fd, "400 No", "", "{\"error\":\"too long\"}", 20);
		break;
	case ERROR_429:
		reply(fd, "429 Slow down", "Retry-After: 0\r\n", "{}", 2);
		break;
	case ERROR_401:
		strcpy(body, "{\"error\":{\"message\":\"bad key sesame-open: go away\"}}");
		reply(fd, "401 No", "", body, strlen(body));
		break;
	case GARBAGE:
		reply(fd, "200 OK", "", "{\"data\": [nonsense", 18);
		break;
	case SLOW:
		while (recv(fd, &byte, 1, 0) > 0)
			;
		break;
	case REDIRECT:
		reply(fd, "302 Found", "Location: http://127.0.0.1:1/elsewhere\r\n", "", 0);
		break;
	case HANG_UP:
		break;
	}
}

static void *serve(void *arg)
{
	struct server *s = arg;

	for (int i = 0; i < s->steps; i++) {
		const int fd = accept(s->fd, NULL, NULL);

		if (fd < 0)
			break;
		if (!read_request(s, fd)) {
			atomic_fetch_add(&s->served, 1);
			answer(s, fd, s->script[i]);
		}
		shutdown(fd, SHUT_RDWR);
		close(fd);
	}
	return NULL;
}

static void server_start(struct server *s, const enum answer *script, int steps)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	memset(s, 0, sizeof(*s));
	s->script = script;
	s->steps = steps;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(s->fd, 16), 0);
	ck_assert_int_eq(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
	s->port = ntohs(at.sin_port);
	ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_end(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static struct embedder *open_http(const struct server *s, struct embedder_settings more)
{
	char url[64];
	struct embedder *e;

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1", s->port);
	more.kind = "http";
	more.url = url;
	more.model = "test-model";
	if (!more.backoff_ms)
		more.backoff_ms = 2;
	if (!more.timeout_ms)
		more.timeout_ms = 5000;
	ck_assert_msg(embedder_open(&more, &e, why) == 0, "%s", why);
	return e;
}

/* Embeds two texts with the answers of the script; the error, and how many requests were made. */
static int http_round(const enum answer *script, int steps, struct embedder_settings more,
		      int *served)
{
	static struct server s;
	const char *texts[] = {"seven77", "x"};
	const size_t lens[] = {7, 1};
	float out[8] = {0};

	server_start(&s, script, steps);
	more.dim = 4;
	struct embedder *e = open_http(&s, more);
	struct embedder_worker *w = embedder_worker_new(e);
	const int rc = embedder_embed(w, texts, lens, 2, out, why);
	if (!rc) {
		ck_assert_float_eq(out[0], 7);
		ck_assert_float_eq(out[1], 's');
		ck_assert_float_eq(out[4], 1);
		ck_assert_float_eq(out[5], 'x');
		ck_assert_float_eq(out[7], 0);
	}
	embedder_worker_free(w);
	embedder_close(e);
	server_end(&s);
	*served = atomic_load(&s.served);
	return rc;
}

#define ROUND(served, ...)                                                                         \
	http_round((enum answer[]){__VA_ARGS__},                                                   \
		   sizeof((enum answer[]){__VA_ARGS__}) / sizeof(int),                             \
		   (struct embedder_settings){0}, served)

START_TEST(test_http_vectors_come_in_the_order_of_their_indexes)
{
	int served;

	ck_assert_msg(ROUND(&served, GOOD) == 0, "%s", why);
	ck_assert_int_eq(served, 1);
}
END_TEST

START_TEST(test_http_tries_again_after_what_may_pass)
{
	int served;

	ck_assert_msg(ROUND(&served, ERROR_500, ERROR_429, HANG_UP, TRUNCATED, GOOD) == 0, "%s",
		      why);
	ck_assert_int_eq(served, 5);
	ck_assert_int_eq(ROUND(&served, ERROR_429, ERROR_429, ERROR_429, ERROR_429, ERROR_429),
			 -EAGAIN);
	ck_assert_int_eq(served, 5);
}
END_TEST

START_TEST(test_http_finds_the_text_that_is_refused)
{
	const struct embedder_settings once = {.attempts = 1};
	int served;

	/* the batch, a word, the first text, the second one */
	ck_assert_int_eq(
		http_round((enum answer[]){ERROR_500, GOOD, GOOD, ERROR_400}, 4, once, &served),
		-EBADMSG);
	ck_assert_int_eq(served, 4);
	ck_assert_str_eq(why, "the embedding server refused with 400: too long");
	ck_assert_int_eq(http_round((enum answer[]){ERROR_400, GOOD, ERROR_500}, 3, once, &served),
			 -EBADMSG);
	ck_assert_int_eq(served, 3);
	/* each alone is taken */
	ck_assert_int_eq(http_round((enum answer[]){ERROR_400, GOOD, GOOD, GOOD}, 4, once, &served),
			 0);
	/* a server that takes nothing, by any text */
	ck_assert_int_eq(http_round((enum answer[]){ERROR_500, ERROR_500}, 2, once, &served),
			 -EAGAIN);
	ck_assert_int_eq(served, 2);
	ck_assert_str_eq(why, "the embedding server answered 500: out of luck");
}
END_TEST

START_TEST(test_http_refuses_answers_that_are_none)
{
	int served;

	ck_assert_int_eq(ROUND(&served, GARBAGE), -EPROTO);
	ck_assert_ptr_nonnull(strstr(why, "not JSON"));
	ck_assert_int_eq(ROUND(&served, TOO_FEW), -EPROTO);
	ck_assert_int_eq(ROUND(&served, REDIRECT), -EPROTO);
	ck_assert_int_eq(served, 1);
}
END_TEST

START_TEST(test_http_refuses_another_dimension_with_a_sentence)
{
	int served;

	ck_assert_int_eq(ROUND(&served, WRONG_DIM), -EMEDIUMTYPE);
	ck_assert_ptr_nonnull(strstr(why, "3 dimensions instead of 4"));
	ck_assert_int_eq(served, 1);
}
END_TEST

START_TEST(test_http_slow_server_times_out)
{
	const struct embedder_settings quick = {.timeout_ms = 80, .attempts = 2};
	int served;

	ck_assert_int_eq(http_round((enum answer[]){SLOW, SLOW}, 2, quick, &served), -ETIMEDOUT);
	ck_assert_int_eq(served, 2);
	ck_assert_ptr_nonnull(strstr(why, "80 ms"));
}
END_TEST

static void *stop_soon(void *e)
{
	const struct timespec t = {0, 60000000};

	nanosleep(&t, NULL);
	embedder_stop(e);
	return NULL;
}

START_TEST(test_http_stop_ends_the_waiting)
{
	static struct server s;
	const char *text = "x";
	const size_t len = 1;
	struct timespec begin, end;
	float out[4];
	pthread_t t;

	server_start(&s, (enum answer[]){SLOW}, 1);
	struct embedder *e =
		open_http(&s, (struct embedder_settings){.dim = 4, .timeout_ms = 20000});
	struct embedder_worker *w = embedder_worker_new(e);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	pthread_create(&t, NULL, stop_soon, e);
	ck_assert_int_eq(embedder_embed(w, &text, &len, 1, out, why), -ECANCELED);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ck_assert_int_lt(end.tv_sec - begin.tv_sec, 10);
	pthread_join(t, NULL);
	embedder_worker_free(w);
	embedder_close(e);
	server_end(&s);
}
END_TEST

START_TEST(test_http_key_is_sent_and_never_shown)
{
	static struct server s;
	const char *text = "x";
	const size_t len = 1;
	float out[4];
	char path[64];

	make_file("sesame-open\n", path);
	server_start(&s, (enum answer[]){ERROR_401}, 1);
	struct embedder *e = open_http(&s, (struct embedder_settings){.dim = 4, .key_file = path});
	struct embedder_worker *w = embedder_worker_new(e);
	ck_assert_int_eq(embedder_embed(w, &text, &len, 1, out, why), -EACCES);
	ck_assert_ptr_null(strstr(why, "sesame"));
	ck_assert_ptr_nonnull(strstr(why, "401"));
	ck_assert_ptr_null(strstr(embedder_name(e), "sesame"));
	embedder_worker_free(w);
	embedder_close(e);
	server_end(&s);
	ck_assert_ptr_nonnull(strstr(s.request, "Authorization: Bearer sesame-open\r\n"));
	ck_assert_ptr_nonnull(strstr(s.request, "\"model\":\"test-model\""));
	ck_assert_ptr_nonnull(strstr(s.request, "POST /v1/embeddings "));
}
END_TEST

START_TEST(test_http_probe_learns_the_dimension_and_batches_are_cut)
{
	static struct server s;
	const char *texts[5] = {"a", "bb", "ccc", "dd\"d",
				"\xff"
				"e"};
	const size_t lens[5] = {1, 2, 3, 4, 2};
	float out[20];

	server_start(&s, (enum answer[]){GOOD, GOOD, GOOD, GOOD}, 4);
	struct embedder *e = open_http(&s, (struct embedder_settings){.batch = 2});
	struct embedder_worker *w = embedder_worker_new(e);
	ck_assert_uint_eq(embedder_dim(e), 0);
	ck_assert_int_eq(embedder_embed(w, texts, lens, 5, out, why), -EINVAL);
	ck_assert_msg(embedder_probe(w, why) == 0, "%s", why);
	ck_assert_uint_eq(embedder_dim(e), 4);
	ck_assert_msg(embedder_embed(w, texts, lens, 5, out, why) == 0, "%s", why);
	ck_assert_int_eq(atomic_load(&s.served), 4);
	for (int i = 0; i < 3; i++)
		ck_assert_float_eq(out[4 * i], (float)lens[i]);
	ck_assert_float_eq(out[17], (int)(char)'\xef'); /* U+FFFD in place of the broken byte */
	embedder_worker_free(w);
	embedder_close(e);
	server_end(&s);
}
END_TEST

START_TEST(test_http_server_that_is_not_there)
{
	static struct server s;
	const char *text = "x";
	const size_t len = 1;
	float out[4];

	server_start(&s, NULL, 0);
	server_end(&s);
	struct embedder *e = open_http(&s, (struct embedder_settings){.dim = 4, .attempts = 2});
	struct embedder_worker *w = embedder_worker_new(e);
	ck_assert_int_eq(embedder_embed(w, &text, &len, 1, out, why), -EAGAIN);
	ck_assert_ptr_nonnull(strstr(why, "cannot be reached"));
	embedder_worker_free(w);
	embedder_close(e);
}
END_TEST

/* ---- commands ---- */

static int command_round(const char *body, uint32_t timeout_ms, float *out, int rounds)
{
	const char *texts[3] = {"one", "two\nlines", "\"three\""};
	const size_t lens[3] = {3, 9, 7};
	char command[160], script[64], state[64];
	struct embedder *e;
	int rc = 0;

	make_file(body, script);
	make_file("", state);
	snprintf(command, sizeof(command), "  sh  %s %s ", script, state);
	const struct embedder_settings settings = {
		.kind = "command", .command = command, .dim = 2, .timeout_ms = timeout_ms};
	ck_assert_int_eq(embedder_open(&settings, &e, why), 0);
	ck_assert_str_eq(embedder_name(e), "command:sh");
	struct embedder_worker *w = embedder_worker_new(e);
	for (int i = 0; i < rounds; i++)
		rc = embedder_embed(w, texts, lens, 3, out, why);
	embedder_worker_free(w);
	embedder_close(e);
	return rc;
}

START_TEST(test_command_answers_line_by_line_and_is_kept)
{
	float out[6];

	ck_assert_msg(
		command_round(
			"n=0\nwhile read -r line; do n=$((n+1)); echo \"[$n, ${#line}]\"; done\n",
			5000, out, 2) == 0,
		"%s", why);
	for (int i = 0; i < 3; i++)
		ck_assert_float_eq(out[2 * i], (float)(i + 4)); /* still the same program */
	ck_assert_float_eq(out[1], 14);                         /* {"text":"one"} */
	ck_assert_float_eq(out[3], 21);                         /* the line end is escaped */
}
END_TEST

START_TEST(test_command_faults_are_sentences)
{
	float out[6];

	ck_assert_int_eq(command_round("exit 3\n", 5000, out, 1), -EPROTO);
	ck_assert_ptr_nonnull(strstr(why, "ended"));
	ck_assert_int_eq(command_round("read x; echo nonsense; cat >/dev/null\n", 5000, out, 1),
			 -EPROTO);
	ck_assert_int_eq(command_round("while read -r x; do echo '[1,2,3]'; done\n", 5000, out, 1),
			 -EMEDIUMTYPE);
	ck_assert_int_eq(command_round("while read -r x; do echo '[1,null]'; done\n", 5000, out, 1),
			 -EPROTO);
	ck_assert_int_eq(command_round("sleep 100 & wait\n", 100, out, 1), -ETIMEDOUT);
	ck_assert_int_eq(command_round("yes '[1,2]'\n", 5000, out, 1), -EPROTO);
}
END_TEST

START_TEST(test_command_is_started_again_after_it_died)
{
	float out[6];

	ck_assert_int_eq(command_round("read -r a; echo '[1,1]'; read -r a; echo '[1,1]'\n"
				       "read -r a; echo '[9,9]'; exit\n",
				       5000, out, 1),
			 0);
	ck_assert_int_eq(
		command_round("if [ -s \"$1\" ]; then while read -r a; do echo '[5,5]'; done; fi\n"
			      "echo died >\"$1\"\n",
			      5000, out, 2),
		0);
	ck_assert_float_eq(out[5], 5);
}
END_TEST

START_TEST(test_command_large_batches_do_not_block)
{
	enum { N = 200, LEN = 20000 };
	static char text[LEN];
	static const char *texts[N];
	static size_t lens[N];
	static float out[2 * N];
	char command[160], script[64];
	struct embedder *e;

	memset(text, 'a', LEN);
	for (int i = 0; i < N; i++) {
		texts[i] = text;
		lens[i] = LEN;
	}
	make_file("while read -r line; do echo \"[${#line},0]\"; done\n", script);
	snprintf(command, sizeof(command), "sh %s", script);
	const struct embedder_settings settings = {
		.kind = "command", .command = command, .dim = 2, .batch = N, .timeout_ms = 60000};
	ck_assert_int_eq(embedder_open(&settings, &e, why), 0);
	struct embedder_worker *w = embedder_worker_new(e);
	ck_assert_msg(embedder_embed(w, texts, lens, N, out, why) == 0, "%s", why);
	for (int i = 0; i < N; i++)
		ck_assert_float_eq(out[2 * i], LEN + 11);
	embedder_worker_free(w);
	embedder_close(e);
}
END_TEST

START_TEST(test_command_that_does_not_exist)
{
	const struct embedder_settings settings = {
		.kind = "command", .command = "/nonexistent/embed now", .dim = 2};
	const char *text = "x";
	const size_t len = 1;
	struct embedder *e;
	float out[2];

	ck_assert_int_eq(embedder_open(&settings, &e, why), 0);
	struct embedder_worker *w = embedder_worker_new(e);
	ck_assert_int_eq(embedder_embed(w, &text, &len, 1, out, why), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why, "/nonexistent/embed"));
	embedder_worker_free(w);
	embedder_close(e);
}
END_TEST

/* ---- settings, and the ways without a partner ---- */

START_TEST(test_embedder_settings_are_checked)
{
	struct embedder *e;
	const struct {
		struct embedder_settings settings;
		int rc;
	} cases[] = {
		{{.kind = NULL}, -EINVAL},
		{{.kind = "magic"}, -EINVAL},
		{{.kind = "http"}, -EINVAL},
		{{.kind = "http", .url = "file:///etc/passwd"}, -EINVAL},
		{{.kind = "http", .url = "http://h/v1", .key_env = "MNEME_NO_SUCH_KEY"}, -ENOENT},
		{{.kind = "http", .url = "http://h/v1", .key_file = "/nonexistent/key"}, -ENOENT},
		{{.kind = "http", .url = "http://h/v1", .dim = 1 << 20}, -EINVAL},
		{{.kind = "command", .command = "  "}, -EINVAL},
		{{.kind = "hash", .dim = 768}, -EMEDIUMTYPE},
		{{.kind = "builtin"}, -ENOENT},
		{{.kind = "builtin", .model = "/nonexistent/model"}, -ENOENT},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		why[0] = 0;
		ck_assert_int_eq(embedder_open(&cases[i].settings, &e, why), cases[i].rc);
		ck_assert_uint_gt(strlen(why), 10);
	}
}
END_TEST

START_TEST(test_embedder_builtin_without_a_model_falls_back_and_says_so)
{
	const struct embedder_settings settings = {
		.kind = "builtin", .model = "/nonexistent/model", .or_hash = 1};
	const char *texts[2] = {"a quiet river", "a quiet river"};
	const size_t lens[2] = {13, 13};
	static float out[2 * 512];
	struct embedder *e;

	ck_assert_int_eq(embedder_open(&settings, &e, why), 0);
	ck_assert_str_eq(embedder_name(e), "hash:512");
	ck_assert_ptr_nonnull(strstr(embedder_note(e), "/nonexistent/model"));
	ck_assert_uint_eq(embedder_dim(e), 512);
	struct embedder_worker *w = embedder_worker_new(e);
	ck_assert_int_eq(embedder_embed(w, texts, lens, 2, out, why), 0);
	ck_assert_mem_eq(out, out + 512, sizeof(float) * 512);
	ck_assert_uint_eq(embedder_count(w, "a quiet river", 13), 3);
	embedder_worker_free(w);
	embedder_close(e);
}
END_TEST

START_TEST(test_embedder_builtin_with_a_model)
{
	const struct embedder_settings settings = {
		.kind = "builtin", .model = getenv("MNEME_MODEL"), .dim = 512};
	const char *texts[3] = {"reset a forgotten password", "how do I change my login secret",
				"a cat sat on the mat"};
	const size_t lens[3] = {26, 31, 20};
	static float out[3 * 512];
	double near = 0, far = 0;
	struct embedder *e;

	if (!settings.model) {
		printf("skipped: MNEME_MODEL names no converted model\n");
		return;
	}
	ck_assert_msg(embedder_open(&settings, &e, why) == 0, "%s", why);
	ck_assert_str_eq(embedder_name(e), "builtin:use-lite-en");
	struct embedder_worker *w = embedder_worker_new(e);
	ck_assert_int_eq(embedder_embed(w, texts, lens, 3, out, why), 0);
	for (int i = 0; i < 512; i++) {
		near += (double)out[i] * out[512 + i];
		far += (double)out[i] * out[1024 + i];
	}
	ck_assert_double_gt(near, far + 0.1);
	ck_assert_uint_eq(embedder_count(w, "the cat", 7), 2);
	embedder_worker_free(w);
	embedder_close(e);
}
END_TEST

START_TEST(test_embedder_none_says_so)
{
	const struct embedder_settings settings = {.kind = "none"};
	const char *text = "x";
	const size_t len = 1;
	struct embedder *e;
	float out[1];

	ck_assert_int_eq(embedder_open(&settings, &e, why), 0);
	struct embedder_worker *w = embedder_worker_new(e);
	ck_assert_int_eq(embedder_embed(w, &text, &len, 1, out, why), -ENOTSUP);
	embedder_worker_free(w);
	embedder_close(e);
}
END_TEST

START_TEST(test_json_answers_that_are_hostile)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"data\":{}}",
		"{\"data\":[1]}",
		"{\"data\":[{\"embedding\":[]}]}",
		"{\"data\":[{\"index\":7,\"embedding\":[1,2]}]}",
		"{\"data\":[{\"index\":-1,\"embedding\":[1,2]}]}",
		"{\"data\":[{\"embedding\":[1,\"2\"]}]}",
		"{\"data\":[{\"embedding\":[1,1e999]}]}",
		"{\"data\":[{\"embedding\":[1,1e300]}]}",
		"{\"data\":[{\"embedding\":[1,NaN]}]}",
	};
	float out[2];
	uint32_t dim;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		dim = 2;
		ck_assert_int_eq(embedder_json_answer(bad[i], strlen(bad[i]), 1, out, &dim, why),
				 -EPROTO);
	}
	dim = 2;
	const char *good = "{\"data\":[{\"embedding\":[0.5,-1e-3]}]}";
	ck_assert_int_eq(embedder_json_answer(good, strlen(good), 1, out, &dim, why), 0);
	ck_assert_float_eq(out[1], -1e-3f);
	const char *twice =
		"{\"data\":[{\"index\":0,\"embedding\":[1,2]},{\"index\":0,\"embedding\":[1,2]}]}";
	ck_assert_int_eq(embedder_json_answer(twice, strlen(twice), 2, out, &dim, why), -EPROTO);
}
END_TEST

UNIT_MAIN("embedder", test_http_vectors_come_in_the_order_of_their_indexes,
	  test_http_tries_again_after_what_may_pass, test_http_finds_the_text_that_is_refused,
	  test_http_refuses_answers_that_are_none,
	  test_http_refuses_another_dimension_with_a_sentence, test_http_slow_server_times_out,
	  test_http_stop_ends_the_waiting, test_http_key_is_sent_and_never_shown,
	  test_http_probe_learns_the_dimension_and_batches_are_cut,
	  test_http_server_that_is_not_there, test_command_answers_line_by_line_and_is_kept,
	  test_command_faults_are_sentences, test_command_is_started_again_after_it_died,
	  test_command_large_batches_do_not_block, test_command_that_does_not_exist,
	  test_embedder_settings_are_checked,
	  test_embedder_builtin_without_a_model_falls_back_and_says_so,
	  test_embedder_builtin_with_a_model, test_embedder_none_says_so,
	  test_json_answers_that_are_hostile)
