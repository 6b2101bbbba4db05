/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   pairs and event logs for the verbs `kv` and `log`: of a mounted directory through its
 *            ioctls, or of a store that is not mounted through the library, with the same calls.
 * Invariants: on a mount the caller's rights count (those of the root directory); for a store, those of
 *            its files. A request to a mount has at most MNEME_IOC_SIZE_MAX bytes (about 16 KiB).
 * Threading: one thread.
 * Failure:   0 or -errno as core/mneme.h says; -E2BIG for what does not fit a request to a mount.
 */
#ifndef MNEME_RECORDS_H
#define MNEME_RECORDS_H

#include "core/mneme.h"
#include "mount-tools/mneme_tool.h"

enum { RECORDS_VALUE_MAX = MNEME_VALUE_MAX };

struct records {
	int fd;              /* of the mounted directory, or -1 */
	struct mneme *store; /* or this */
};

/* -S STORE, -C DIR, or where you are. TOOL_FOUND or TOOL_ERROR (said). */
int records_open(const struct tool_options *options, int writes, struct records *out);
/* The status: TOOL_ERROR (said) when `status` is TOOL_FOUND and the store could not be closed whole. */
int records_close(struct records *r, int status);

/* As mneme_kv_get(), mneme_kv_put(), mneme_kv_delete(), durable when they return (on a mount: as the
 * mount is). A pair of a mount is read up to what fits a request, else -ERANGE. */
int records_kv_get(struct records *r, const char *key, void *value, size_t capacity, size_t *length,
		   uint64_t *version);
/* `expected`: NULL, or the version that the pair must have, else -ESTALE. */
int records_kv_put(struct records *r, const char *key, const void *value, size_t length,
		   const uint64_t *expected, uint64_t *version);
int records_kv_delete(struct records *r, const char *key);
/* Keys, versions and lengths of all pairs whose key begins with `prefix`, in order. */
typedef void records_kv_each(void *arg, const void *key, size_t key_length, size_t length,
			     uint64_t version);
int records_kv_list(struct records *r, const char *prefix, records_kv_each *each, void *arg);

/* As mneme_log_append(), as durable as pairs. */
int records_log_append(struct records *r, const char *run, const void *data, size_t length,
		       uint64_t *sequence);
/* As mneme_log_verify() and mneme_log_replay(). */
int records_log_verify(struct records *r, const char *run, uint64_t *count, uint64_t *bad);
int records_log_replay(struct records *r, const char *run, uint64_t sequence, mneme_log_each *each,
		       void *arg);

/* ---- what both verbs print ---- */

/* Says what went wrong with a thing of that name. TOOL_NOTHING: it is not there; else TOOL_ERROR. */
int records_fail(const char *what, const char *name, int rc);
/* What is to be stored: the third word, or all of standard input; at most RECORDS_VALUE_MAX bytes.
 * -E2BIG; -errno. */
int records_read_value(const struct tool_options *options, uint8_t *out, size_t *length);
/* "name": the bytes as text, or "name_hex" where they are not UTF-8. */
void records_json_bytes(json_t *object, const char *name, const void *bytes, size_t length);
void records_json_print(json_t *object);

#endif
