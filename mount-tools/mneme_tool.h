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

enum tool_status { TOOL_FOUND = 0, TOOL_NOTHING = 1, TOOL_ERROR = 2 };
enum { TOOL_RESULTS_MAX = 100, TOOL_PATH_MAX = 4096 };

/* What stands behind the verb. Each verb accepts some of it: its `accepts` letters. */
struct tool_options {
	const char *directory; /* -C, or NULL */
	const char *store;     /* -S, or NULL */
	int count;             /* -n; 10 */
	int json, explain, grep;
	int has_version; /* --if-version */
	uint64_t version;
	char **words; /* what is no option */
	int words_count;
};

struct tool_verb {
	const char *name;
	const char *accepts; /* of "CSnjegv" */
	const char *usage;   /* lines of the help */
	int words_min, words_max;
	int (*run)(const struct tool_options *options);
};

extern const struct tool_verb verb_search, verb_near, verb_status, verb_sync, verb_stats, verb_kv,
	verb_log;

/* "mneme: sentence" and TOOL_ERROR. */
int tool_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- doors ---- */

/* Path of a question: DIRECTORY/.mneme/DOOR/QUESTION.ENDING with what a name cannot hold encoded.
 * TOOL_FOUND or TOOL_ERROR (said). */
int door_path(const char *directory, const char *door, const char *question, const char *ending,
	      char *path, size_t size);
/* Opens a text of DIRECTORY/.mneme for reading: the descriptor, or -1 (said). */
int door_open(const char *directory, const char *path);
/* Prints it. TOOL_FOUND or TOOL_ERROR (said). */
int door_print(const char *directory, const char *path);
/* The mount's root directory above `path`. */
int door_root(const char *path, char *root, size_t size);

/* ---- answers ---- */

/* Asks, and prints as the options say. */
int answer_show(const char *directory, const char *door, const char *question,
		const struct tool_options *options);
/* Text for a terminal: control characters as \xNN. */
void answer_put(const char *text);
void answer_put_bytes(const void *bytes, size_t length);

#endif
