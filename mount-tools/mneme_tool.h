/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   what the verbs of the tool `mneme` share: options, the mount's doors, answers.
 * Invariants: the tool has no rights of its own: it uses files and attributes below `.mneme`, and
 *            ioctls, as any program of the caller could.
 * Threading: one thread.
 * Failure:   a sentence on standard error with the way out, and a status of enum tool_status.
 */
#ifndef MNEME_TOOL_H
#define MNEME_TOOL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define TOOL_PINNED "user.mneme.pinned"
enum tool_status { TOOL_FOUND = 0, TOOL_NOTHING = 1, TOOL_ERROR = 2 };
enum { TOOL_RESULTS_MAX = 1000, TOOL_PATH_MAX = 4096 };

/* What stands behind the verb. Each verb accepts some of it: its `accepts` letters. */
struct tool_options {
	const char *directory; /* -C, or NULL */
	const char *store;     /* -S, or NULL: a mount */
	int count;             /* -n; 0: not said */
	int json, explain, grep;
	int force;
	int has_version; /* --if-version */
	uint64_t version;
	json_t *filters; /* --mode, --decay ...: what goes into the request; owned by main() */
	char **words;    /* what is no option */
	int words_count;
};

struct tool_verb {
	const char *name;
	const char *accepts; /* of "CSnjegvfraFp"; f: mode, fuse and filters; r: of recall;
			     * F: --force; p: --receipt */
	const char *usage;   /* lines of the help */
	int words_min, words_max;
	int (*run)(const struct tool_options *options);
};

extern const struct tool_verb verb_search, verb_near, verb_recall, verb_status, verb_sync,
	verb_stats, verb_kv, verb_log, verb_link, verb_unlink, verb_config, verb_compact, verb_pin,
	verb_unpin, verb_forget;

/* "mneme: sentence" and TOOL_ERROR. */
int tool_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- doors ---- */

/* The answer of DIRECTORY to a request (JSON), or NULL (said). A new reference. */
json_t *door_ask(const char *directory, const char *request);
/* The same from the store that is not mounted, DIRECTORY a path inside of it. */
json_t *store_ask(const char *store, const char *directory, const char *request);
/* Opens a text of DIRECTORY/.mneme for reading: the descriptor, or -1 (said). */
int door_open(const char *directory, const char *path);
/* Prints it. TOOL_FOUND or TOOL_ERROR (said). */
int door_print(const char *directory, const char *path);
/* The path of `file` from `directory`, or with NULL from its mount's root, which `root` then has. Both
 * have room for TOOL_PATH_MAX. */
int door_below(const char *file, const char *directory, char *root, char *name);
/* A path as a value of a request. One that JSON cannot hold goes as digits: *member is what the value is
 * then called, `hex` in place of `plain`. */
json_t *door_path(const char *path, const char **member, const char *plain, const char *hex);
/* The mount's root directory above `path`. */
int door_root(const char *path, char *root, size_t size);

/* ---- compaction ---- */

struct mneme_ioc_compact;
/* Compacts the mount that `directory` is in. TOOL_FOUND or TOOL_ERROR (said). */
int compact_mount(const char *directory, struct mneme_ioc_compact *out);
/* Says what had to stay; TOOL_FOUND: nothing. */
int compact_conclude(const struct mneme_ioc_compact *done);

/* ---- links ---- */

/* An end of a link of a file, as MNEME_IOC_LINKS has it. Valid during the call. */
struct mneme_ioc_link_entry;
struct link_entry {
	const struct mneme_ioc_link_entry *head;
	const char *path, *label; /* NUL-terminated; the path is from the mount's root */
};
/* 0: go on. */
typedef int link_each_entry(void *arg, const struct link_entry *entry);
/* The links of an open file, in both directions. -errno, or what `each` returned. */
int link_each(int fd, link_each_entry *each, void *arg);
/* The name of a MNEME_IOC_LINK_... */
const char *link_kind(unsigned kind);

/* ---- answers ---- */

/* Asks below `directory`, and prints as the options say. Takes `request` over. */
int answer_show(const char *directory, json_t *request, const struct tool_options *options);
/* Text for a terminal: control characters as \xNN. */
void answer_put(const char *text);
void answer_put_bytes(const void *bytes, size_t length);

#endif
