/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   embedding by a server that speaks OpenAI's /v1/embeddings, through libcurl.
 * Invariants: only http and https, no redirects (the key goes to the server that was named and
 *            nowhere else). What a server says is cut, made printable and freed of the key before
 *            it is shown.
 * Threading: one handle a worker; curl_global_init() once.
 * Failure:   429, 5xx and broken connections are tried again after a growing, jittered pause (or
 *            the server's Retry-After); other refusals are final.
 */
#include "core/memory/embedder_json.h"
#include "core/memory/embedder_private.h"

#include "pool/alloc.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
	KEY_MAX = 4096,
	ANSWER_MAX = 64 << 20,
	PAUSE_MAX_MS = 30000,
	SAID_MAX = 160,
};

struct http_worker {
	CURL *curl;
	struct curl_slist *headers;
	struct embedder *e;
	char *answer;
	size_t len;
	size_t capacity;
	int too_long;
	char error[CURL_ERROR_SIZE];
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_begin(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int set_key(struct embedder *e, const char *from, size_t len, char *why)
{
	while (len && (uint8_t)from[len - 1] <= ' ')
		len--;
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)from[i] <= ' ' || from[i] == 0x7f)
			return embedder_fail(why, -EINVAL, "the key holds a space or a line end");
	if (!len || len > KEY_MAX)
		return embedder_fail(why, -EINVAL, "the key is empty or too long");
	e->key = alloc_zeroed(1, len + 1);
	if (!e->key)
		return embedder_fail(why, -ENOMEM, "out of memory");
	memcpy(e->key, from, len);
	return 0;
}

static int read_key(struct embedder *e, const struct embedder_settings *s, char *why)
{
	char buffer[KEY_MAX + 2];

	if (s->key_file) {
		const int fd = open(s->key_file, O_RDONLY | O_CLOEXEC);
		const ssize_t n = fd < 0 ? -1 : read(fd, buffer, sizeof(buffer));
		const int err = errno;

		if (fd >= 0)
			close(fd);
		if (n < 0)
			return embedder_fail(why, -err, "cannot read the key file %.150s: %s",
					     s->key_file, strerror(err));
		const int rc = set_key(e, buffer, (size_t)n, why);
		explicit_bzero(buffer, sizeof(buffer));
		return rc;
	}
	const char *value = s->key_env ? getenv(s->key_env) : NULL;
	if (s->key_env && !value)
		return embedder_fail(why, -ENOENT, "the environment has no %.60s with the key",
				     s->key_env);
	return value ? set_key(e, value, strlen(value), why) : 0;
}

static int http_open(struct embedder *e, const struct embedder_settings *s, char *why)
{
	static const char tail[] = "/embeddings";

	if (!s->url || (strncmp(s->url, "http://", 7) && strncmp(s->url, "https://", 8)))
		return embedder_fail(why, -EINVAL,
				     "the http embedder needs a url like http://127.0.0.1:8080/v1");
	size_t len = strlen(s->url);
	while (len && s->url[len - 1] == '/')
		len--;
	const size_t has = sizeof(tail) - 1;
	const int whole = len > has && !memcmp(s->url + len - has, tail, has);
	e->url = alloc_zeroed(1, len + sizeof(tail));
	if (s->model)
		e->model_name = embedder_copy(s->model);
	if (!e->url || (s->model && !e->model_name))
		return embedder_fail(why, -ENOMEM, "out of memory");
	memcpy(e->url, s->url, len);
	if (!whole)
		memcpy(e->url + len, tail, sizeof(tail));
	snprintf(e->name, sizeof(e->name), "http:%s", s->model ? s->model : "default");
	pthread_once(&curl_once, curl_begin);
	return read_key(e, s, why);
}

static void http_close(struct embedder *e)
{
	if (e->key)
		explicit_bzero(e->key, strlen(e->key));
	alloc_free(e->key);
	alloc_free(e->url);
	alloc_free(e->model_name);
}

static size_t take_bytes(char *data, size_t one, size_t len, void *context)
{
	struct http_worker *w = context;

	if (len > ANSWER_MAX - w->len) {
		w->too_long = 1;
		return 0;
	}
	if (w->len + len > w->capacity) {
		size_t capacity = w->capacity ? w->capacity : 65536;

		while (capacity < w->len + len)
			capacity *= 2;
		char *grown = alloc_resize(w->answer, capacity);
		if (!grown)
			return 0;
		w->answer = grown;
		w->capacity = capacity;
	}
	memcpy(w->answer + w->len, data, len);
	w->len += len;
	return len;
}

static int watch(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	struct http_worker *w = context;

	return embedder_is_stopped(w->e);
}

static void http_worker_free(void *state)
{
	struct http_worker *w = state;

	if (!w)
		return;
	for (struct curl_slist *h = w->headers; h; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(w->headers);
	curl_easy_cleanup(w->curl);
	alloc_free(w->answer);
	alloc_free(w);
}

static int add_header(struct http_worker *w, const char *header)
{
	struct curl_slist *list = curl_slist_append(w->headers, header);

	if (!list)
		return -ENOMEM;
	w->headers = list;
	return 0;
}

static int add_headers(struct http_worker *w)
{
	char header[KEY_MAX + 32];
	int rc = add_header(w, "Content-Type: application/json");

	if (!rc)
		rc = add_header(w, "Expect:");
	if (!rc && w->e->key) {
		snprintf(header, sizeof(header), "Authorization: Bearer %s", w->e->key);
		rc = add_header(w, header);
		explicit_bzero(header, sizeof(header));
	}
	return rc;
}

static void *http_worker_new(struct embedder *e)
{
	struct http_worker *w = alloc_zeroed(1, sizeof(*w));

	if (!w)
		return NULL;
	w->e = e;
	w->curl = curl_easy_init();
	if (!w->curl || add_headers(w)) {
		http_worker_free(w);
		return NULL;
	}
	curl_easy_setopt(w->curl, CURLOPT_URL, e->url);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(w->curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(w->curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, w->headers);
	curl_easy_setopt(w->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(w->curl, CURLOPT_TIMEOUT_MS, (long)e->timeout_ms);
	curl_easy_setopt(w->curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(w->curl, CURLOPT_WRITEDATA, w);
	curl_easy_setopt(w->curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(w->curl, CURLOPT_XFERINFOFUNCTION, watch);
	curl_easy_setopt(w->curl, CURLOPT_XFERINFODATA, w);
	curl_easy_setopt(w->curl, CURLOPT_ERRORBUFFER, w->error);
	return w;
}

/* What the server said, as far as it may be shown. */
static void said(const struct http_worker *w, char *out)
{
	embedder_json_error(w->answer, w->len, out, SAID_MAX);
	if (w->e->key && strstr(out, w->e->key))
		snprintf(out, SAID_MAX, "(it repeats the key)");
	else if (w->e->key && w->len > SAID_MAX &&
		 memmem(w->answer, w->len, w->e->key, strlen(w->e->key)))
		snprintf(out, SAID_MAX, "(it repeats the key)"); /* it may be cut in the middle */
}

/* Refusals that may be about these texts: one is too long for the model, for example. */
static int is_of_the_texts(long status)
{
	return status == 400 || status == 413 || status == 422;
}

/* One attempt: 0, -EAGAIN, -ETIMEDOUT or -EREMOTEIO to try again, another error that is final. */
static int attempt(struct http_worker *w, char *why)
{
	char text[SAID_MAX];
	long status = 0;

	w->len = 0;
	w->too_long = 0;
	w->error[0] = 0;
	const CURLcode code = curl_easy_perform(w->curl);
	if (code == CURLE_ABORTED_BY_CALLBACK)
		return embedder_fail(why, -ECANCELED, "the embedder is being stopped");
	if (w->too_long)
		return embedder_fail(why, -EPROTO, "the server's answer is longer than %d MiB",
				     ANSWER_MAX >> 20);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return embedder_fail(why, -ETIMEDOUT,
				     "the embedding server did not answer in %u ms",
				     w->e->timeout_ms);
	if (code)
		return embedder_fail(why, -EAGAIN, "the embedding server cannot be reached: %.200s",
				     w->error[0] ? w->error : curl_easy_strerror(code));
	curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status == 200)
		return 0;
	said(w, text);
	if (status == 429 || status >= 500)
		return embedder_fail(why, status == 500 ? -EREMOTEIO : -EAGAIN,
				     "the embedding server answered %ld: %s", status, text);
	return embedder_fail(why,
			     status == 401 || status == 403 ? -EACCES
			     : is_of_the_texts(status)      ? -EBADMSG
							    : -EPROTO,
			     "the embedding server refused with %ld: %s", status, text);
}

/* Half of the doubled pause for certain, the other half by chance: clients drift apart. */
static uint64_t pause_before(const struct http_worker *w, uint32_t number)
{
	uint64_t pause = (uint64_t)w->e->backoff_ms << (number < 16 ? number : 16);
	curl_off_t asked = 0;
	uint32_t chance = 0;

	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != sizeof(chance))
		chance = 0;
	if (pause > PAUSE_MAX_MS)
		pause = PAUSE_MAX_MS;
	pause = pause / 2 + pause / 2 * (chance >> 8) / (1 << 24);
	if (!curl_easy_getinfo(w->curl, CURLINFO_RETRY_AFTER, &asked) && asked > 0 &&
	    pause < (uint64_t)asked * 1000)
		pause = (uint64_t)asked * 1000 < PAUSE_MAX_MS ? (uint64_t)asked * 1000
							      : PAUSE_MAX_MS;
	return pause;
}

static int http_embed(struct embedder *e, void *state, const char *const *texts, const size_t *lens,
		      size_t n, float *vectors, uint32_t *dim, char *why)
{
	struct http_worker *w = state;
	char *request = embedder_json_request(e->model_name, texts, lens, n);
	int rc = -EAGAIN;

	if (!request)
		return embedder_fail(why, -ENOMEM, "out of memory");
	curl_easy_setopt(w->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request));
	curl_easy_setopt(w->curl, CURLOPT_POSTFIELDS, request);
	for (uint32_t i = 0; i < e->attempts; i++) {
		rc = attempt(w, why);
		if (rc != -EAGAIN && rc != -ETIMEDOUT && rc != -EREMOTEIO)
			break;
		if (i + 1 < e->attempts && embedder_wait(e, pause_before(w, i))) {
			rc = embedder_fail(why, -ECANCELED, "the embedder is being stopped");
			break;
		}
	}
	curl_easy_setopt(w->curl, CURLOPT_POSTFIELDS, NULL);
	alloc_free(request);
	if (rc)
		return rc == -EREMOTEIO ? -EBADMSG : rc;
	return embedder_json_answer(w->answer, w->len, n, vectors, dim, why);
}

const struct embedder_way embedder_way_http = {
	.kind = "http",
	.is_elsewhere = 1,
	.open = http_open,
	.close = http_close,
	.worker_new = http_worker_new,
	.worker_free = http_worker_free,
	.embed = http_embed,
};
