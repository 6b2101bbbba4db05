/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme_records.h.
 */
#include "mount-tools/mneme_records.h"
#include "core/mneme_ioctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static union {
	struct mneme_ioc_kv kv;
	struct mneme_ioc_scan scan;
	struct mneme_ioc_log log;
	uint8_t bytes[MNEME_IOC_SIZE_MAX];
} request;

static int open_store(const char *path, int writes, struct records *out)
{
	struct mneme_options options = {.read_only = !writes};
	struct mneme_error error;

	if (mneme_open(path, &options, &out->store, &error))
		return tool_fail("%s", error.message);
	return TOOL_FOUND;
}

static int open_mount(const char *directory, struct records *out)
{
	struct mneme_ioc_identity identity;

	out->fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (out->fd < 0)
		return tool_fail("%s: %s", directory, strerror(errno));
	if (!ioctl(out->fd, MNEME_IOC_IDENTITY, &identity))
		return TOOL_FOUND;
	tool_fail("%s is not in a mounted mnemefs: go into one, name one with -C DIR, or a store "
		  "that is not mounted with -S STORE",
		  directory);
	close(out->fd);
	return TOOL_ERROR;
}

int records_open(const struct tool_options *options, int writes, struct records *out)
{
	*out = (struct records){.fd = -1};
	if (options->store && options->directory)
		return tool_fail("give -C DIR or -S STORE, not both");
	if (options->store)
		return open_store(options->store, writes, out);
	return open_mount(options->directory ? options->directory : ".", out);
}

int records_close(struct records *r, int status)
{
	int rc = r->store ? mneme_close(r->store) : 0;

	if (r->fd >= 0)
		close(r->fd);
	return rc && status == TOOL_FOUND
		       ? tool_fail("the store cannot be closed: %s", strerror(-rc))
		       : status;
}

static int send(const struct records *r, unsigned number, size_t size)
{
	return ioctl(r->fd, MNEME_IOC_SIZED(number, size), &request) ? -errno : 0;
}

/* ---- pairs ---- */

/* A kv request with room for `length` bytes behind the key; its size, or -E2BIG. */
static ssize_t kv_request(const char *key, size_t length)
{
	size_t key_length = strlen(key), size = sizeof(request.kv) + key_length + length;

	if (size > sizeof(request))
		return -E2BIG;
	memset(&request.kv, 0, sizeof(request.kv));
	request.kv.version = MNEME_IOC_VERSION;
	request.kv.key_length = (uint16_t)key_length;
	memcpy(request.kv.data, key, key_length);
	return (ssize_t)size;
}

int records_kv_get(struct records *r, const char *key, void *value, size_t capacity, size_t *length,
		   uint64_t *version)
{
	size_t key_length = strlen(key), room = sizeof(request) - sizeof(request.kv) - key_length;

	if (r->store)
		return mneme_kv_get(r->store, key, key_length, value, capacity, length, version);
	ssize_t size = kv_request(key, capacity < room ? capacity : room);
	int rc = size < 0 ? (int)size : send(r, MNEME_IOC_NR_KV_GET, (size_t)size);
	if (rc)
		return rc;
	*length = request.kv.value_length;
	*version = request.kv.pair_version;
	memcpy(value, request.kv.data + key_length, *length);
	return 0;
}

int records_kv_put(struct records *r, const char *key, const void *value, size_t length,
		   const uint64_t *expected, uint64_t *version)
{
	size_t key_length = strlen(key);

	if (r->store && expected)
		return mneme_kv_swap(r->store, key, key_length, *expected, value, length, version,
				     MNEME_DURABILITY_STRICT);
	if (r->store)
		return mneme_kv_put(r->store, key, key_length, value, length, version,
				    MNEME_DURABILITY_STRICT);
	ssize_t size = kv_request(key, length);
	if (size < 0)
		return (int)size;
	request.kv.value_length = (uint32_t)length;
	request.kv.pair_version = expected ? *expected : 0;
	memcpy(request.kv.data + key_length, value, length);
	int rc = send(r, expected ? MNEME_IOC_NR_KV_SWAP : MNEME_IOC_NR_KV_PUT, (size_t)size);
	*version = request.kv.pair_version;
	return rc;
}

int records_kv_delete(struct records *r, const char *key)
{
	if (r->store)
		return mneme_kv_delete(r->store, key, strlen(key), MNEME_DURABILITY_STRICT);
	ssize_t size = kv_request(key, 0);
	return size < 0 ? (int)size : send(r, MNEME_IOC_NR_KV_DELETE, (size_t)size);
}

struct lister {
	records_kv_each *each;
	void *arg;
};

static int list_one(void *arg, const void *key, size_t key_length, const void *value, size_t length,
		    uint64_t version)
{
	struct lister *l = arg;

	(void)value;
	l->each(l->arg, key, key_length, length, version);
	return 0;
}

static int list_page(struct records *r, const char *prefix, uint8_t *after, size_t *after_length,
		     struct lister *l)
{
	size_t prefix_length = strlen(prefix);
	struct mneme_ioc_pair pair;

	if (prefix_length > MNEME_SUBKEY_MAX)
		return -ENAMETOOLONG;
	memset(&request.scan, 0, sizeof(request.scan));
	request.scan.version = MNEME_IOC_VERSION;
	request.scan.flags = MNEME_IOC_SCAN_KEYS;
	request.scan.prefix_length = (uint16_t)prefix_length;
	request.scan.after_length = (uint16_t)*after_length;
	memcpy(request.scan.data, prefix, prefix_length);
	memcpy(request.scan.data + prefix_length, after, *after_length);
	const uint8_t *at = request.scan.data + prefix_length + *after_length;
	int rc = send(r, MNEME_IOC_NR_KV_SCAN, sizeof(request));
	for (uint32_t i = 0; !rc && i < request.scan.count; i++) {
		memcpy(&pair, at, sizeof(pair));
		at += sizeof(pair);
		l->each(l->arg, at, pair.key_length, pair.value_length, pair.pair_version);
		*after_length = pair.key_length;
		memcpy(after, at, pair.key_length);
		at += (pair.key_length + 7) & ~7u;
	}
	return rc;
}

int records_kv_list(struct records *r, const char *prefix, records_kv_each *each, void *arg)
{
	struct lister l = {each, arg};
	uint8_t after[MNEME_SUBKEY_MAX];
	size_t after_length = 0;
	int rc;

	if (r->store)
		return mneme_kv_scan(r->store, prefix, strlen(prefix), 0, list_one, &l);
	do
		rc = list_page(r, prefix, after, &after_length, &l);
	while (!rc && request.scan.count);
	return rc;
}

/* ---- logs ---- */

/* A log request with `length` bytes behind the run's name; its size, or -E2BIG. */
static ssize_t log_request(const char *run, size_t length, uint64_t sequence)
{
	size_t run_length = strlen(run), size = sizeof(request.log) + run_length + length;

	if (size > sizeof(request))
		return -E2BIG;
	memset(&request.log, 0, sizeof(request.log));
	request.log.version = MNEME_IOC_VERSION;
	request.log.run_length = (uint16_t)run_length;
	request.log.sequence = sequence;
	memcpy(request.log.data, run, run_length);
	return (ssize_t)size;
}

int records_log_append(struct records *r, const char *run, const void *data, size_t length,
		       uint64_t *sequence)
{
	if (r->store)
		return mneme_log_append(r->store, run, strlen(run), data, length, sequence,
					MNEME_DURABILITY_STRICT);
	ssize_t size = log_request(run, length, 0);
	if (size < 0)
		return (int)size;
	request.log.data_length = (uint32_t)length;
	memcpy(request.log.data + strlen(run), data, length);
	int rc = send(r, MNEME_IOC_NR_LOG_APPEND, (size_t)size);
	*sequence = request.log.sequence;
	return rc;
}

int records_log_verify(struct records *r, const char *run, uint64_t *count, uint64_t *bad)
{
	if (r->store)
		return mneme_log_verify(r->store, run, strlen(run), count, bad);
	ssize_t size = log_request(run, 0, 0);
	int rc = size < 0 ? (int)size : send(r, MNEME_IOC_NR_LOG_VERIFY, (size_t)size);
	*count = request.log.count;
	*bad = request.log.sequence;
	return rc;
}

static int replay_page(struct records *r, const char *run, uint64_t *sequence, mneme_log_each *each,
		       void *arg)
{
	size_t run_length = strlen(run);
	struct mneme_ioc_event head;

	if (log_request(run, 0, *sequence) < 0)
		return -EINVAL;
	const uint8_t *at = request.log.data + run_length;
	int rc = send(r, MNEME_IOC_NR_LOG_REPLAY, sizeof(request));
	for (uint64_t i = 0; !rc && i < request.log.count; i++) {
		memcpy(&head, at, sizeof(head));
		at += sizeof(head);
		struct mneme_log_event event = {.sequence = head.sequence,
						.time_ns = head.time_ns,
						.data = at,
						.length = head.length};
		memcpy(event.hash, head.hash, sizeof(event.hash));
		rc = each(arg, &event);
		at += (head.length + 7) & ~7u;
	}
	*sequence = request.log.sequence;
	return rc;
}

int records_log_replay(struct records *r, const char *run, uint64_t sequence, mneme_log_each *each,
		       void *arg)
{
	int rc;

	if (r->store)
		return mneme_log_replay(r->store, run, strlen(run), sequence, each, arg);
	do
		rc = replay_page(r, run, &sequence, each, arg);
	while (!rc && request.log.count);
	return rc;
}

/* ---- what both verbs print ---- */

int records_fail(const char *what, const char *name, int rc)
{
	if (rc == -ENOENT) {
		tool_fail("there is no %s '%s'", what, name);
		return TOOL_NOTHING;
	}
	if (rc == -E2BIG || rc == -ERANGE)
		return tool_fail("%s '%s': too long; through a mount a request has at most %d "
				 "bytes, names included, with -S STORE a value at most 64 KiB",
				 what, name, MNEME_IOC_SIZE_MAX);
	if (rc == -EACCES)
		return tool_fail("%s '%s': it belongs to the whole store: that wants the right to "
				 "the mount's root directory",
				 what, name);
	if (rc == -ESTALE)
		return tool_fail("%s '%s': its version is another one", what, name);
	return tool_fail("%s '%s': %s", what, name, strerror(-rc));
}

int records_read_value(const struct tool_options *options, uint8_t *out, size_t *length)
{
	if (options->words_count > 2) {
		*length = strlen(options->words[2]);
		if (*length > RECORDS_VALUE_MAX)
			return -E2BIG;
		memcpy(out, options->words[2], *length);
		return 0;
	}
	*length = fread(out, 1, RECORDS_VALUE_MAX, stdin);
	if (ferror(stdin))
		return -errno;
	return *length == RECORDS_VALUE_MAX && getchar() != EOF ? -E2BIG : 0;
}

void records_json_bytes(json_t *object, const char *name, const void *bytes, size_t length)
{
	static char hex[2 * RECORDS_VALUE_MAX + 1];
	char name_hex[32];
	json_t *text = json_stringn(bytes, length);

	if (text) {
		json_object_set_new(object, name, text);
		return;
	}
	for (size_t i = 0; i < length; i++)
		sprintf(hex + 2 * i, "%02x", ((const uint8_t *)bytes)[i]);
	snprintf(name_hex, sizeof(name_hex), "%s_hex", name);
	json_object_set_new(object, name_hex, json_stringn(hex, 2 * length));
}

void records_json_print(json_t *object)
{
	json_dumpf(object, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(object);
}
