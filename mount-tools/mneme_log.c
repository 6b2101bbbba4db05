/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme log: the store's event logs.
 */
#include "mount-tools/mneme_records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NS = 1000000000, TIME_SIZE = 64 };

static uint8_t event_bytes[RECORDS_VALUE_MAX];

static int append(struct records *r, const struct tool_options *options)
{
	const char *run = options->words[1];
	uint64_t sequence;
	size_t length;
	int rc = records_read_value(options, event_bytes, &length);

	if (!rc)
		rc = records_log_append(r, run, event_bytes, length, &sequence);
	if (rc)
		return records_fail("log", run, rc);
	if (options->json)
		records_json_print(json_pack("{s:I}", "sequence", (json_int_t)sequence));
	else
		printf("event %llu\n", (unsigned long long)sequence);
	return TOOL_FOUND;
}

static int verify(struct records *r, const struct tool_options *options)
{
	const char *run = options->words[1];
	uint64_t count = 0, bad = 0;
	int rc = records_log_verify(r, run, &count, &bad);

	if (rc && rc != -EUCLEAN)
		return records_fail("log", run, rc);
	if (options->json) {
		json_t *object = json_pack("{s:b, s:I}", "whole", !rc, "events", (json_int_t)count);
		if (rc)
			json_object_set_new(object, "bad", json_integer((json_int_t)bad));
		records_json_print(object);
	} else if (!rc) {
		printf("%llu events, each is as it was appended\n", (unsigned long long)count);
	}
	return rc ? tool_fail("log '%s': event %llu is missing or not as it was appended; the %llu "
			      "before it are",
			      run, (unsigned long long)bad, (unsigned long long)count)
		  : TOOL_FOUND;
}

static void time_print(uint64_t time_ns, char *out)
{
	time_t seconds = (time_t)(time_ns / NS);
	struct tm tm;
	size_t used = strftime(out, TIME_SIZE, "%FT%T", gmtime_r(&seconds, &tm));

	snprintf(out + used, TIME_SIZE - used, ".%09uZ", (unsigned)(time_ns % NS));
}

struct replay {
	json_t *array; /* NULL: lines */
};

static int replay_one(void *arg, const struct mneme_log_event *event)
{
	struct replay *p = arg;
	char when[TIME_SIZE];

	time_print(event->time_ns, when);
	if (p->array) {
		char hash[2 * MNEME_HASH_SIZE + 1];
		for (int i = 0; i < MNEME_HASH_SIZE; i++)
			sprintf(hash + 2 * i, "%02x", event->hash[i]);
		json_t *object =
			json_pack("{s:I, s:s, s:s}", "sequence", (json_int_t)event->sequence,
				  "time", when, "sha256", hash);
		records_json_bytes(object, "data", event->data, event->length);
		json_array_append_new(p->array, object);
		return 0;
	}
	printf("%llu %s ", (unsigned long long)event->sequence, when);
	answer_put_bytes(event->data, event->length);
	putchar('\n');
	return 0;
}

static int replay(struct records *r, const struct tool_options *options)
{
	const char *run = options->words[1],
		   *from = options->words_count > 2 ? options->words[2] : "1";
	struct replay p = {.array = options->json ? json_array() : NULL};
	char *end;

	errno = 0;
	unsigned long long sequence = strtoull(from, &end, 10);
	if (errno || end == from || *end || *from == '-')
		return tool_fail("replay wants the number of an event, not '%s'", from);
	int rc = records_log_replay(r, run, sequence, replay_one, &p);
	if (p.array && !rc)
		records_json_print(p.array);
	return rc ? records_fail("log", run, rc) : TOOL_FOUND;
}

static const struct {
	const char *name;
	int words_max, writes;
	int (*run)(struct records *r, const struct tool_options *options);
} actions[] = {
	{"append", 3, 1, append},
	{"verify", 2, 0, verify},
	{"replay", 3, 0, replay},
};
enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

static int run(const struct tool_options *options)
{
	struct records r;

	for (int i = 0; i < ACTIONS; i++) {
		if (strcmp(actions[i].name, options->words[0]))
			continue;
		if (options->words_count > actions[i].words_max)
			break;
		if (records_open(options, actions[i].writes, &r) != TOOL_FOUND)
			return TOOL_ERROR;
		return records_close(&r, actions[i].run(&r, options));
	}
	return tool_fail("usage:\n%s", verb_log.usage);
}

const struct tool_verb verb_log = {
	.name = "log",
	.accepts = "CSj",
	.usage = "  log [-C DIR | -S STORE] [--json] append RUN [TEXT] | verify RUN | replay RUN "
		 "[FROM]\n"
		 "                event logs, a chain of hashes for each RUN; without TEXT the "
		 "event is\n"
		 "                read from standard input; verify: 2 and where, if any event was "
		 "changed\n",
	.words_min = 2,
	.words_max = 3,
	.run = run,
};
