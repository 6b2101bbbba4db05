/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mneme: finds memories on a mount, links them, says how it goes with them, and keeps pairs
 *            and logs.
 * Failure:   status 0: found; 1: nothing found; 2: an error or wrong usage, with a sentence.
 */
#include "mount-tools/mneme_tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct tool_verb *const verbs[] = {
	&verb_search, &verb_near, &verb_recall, &verb_status, &verb_sync,
	&verb_stats,  &verb_kv,   &verb_log,    &verb_link,   &verb_unlink,
	&verb_config, &verb_pin,  &verb_unpin,  &verb_forget, &verb_compact};
enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static const char head[] =
	"usage: mneme VERB [options] [arguments]\n"
	"Finds memories in a directory of a mounted mnemefs, by meaning and by words.\n\n";

static const char tail[] =
	"\nOptions:\n"
	"  -C DIR        search below DIR (default: where you are; for near and recall: the\n"
	"                whole mount)\n"
	"  -S STORE      ask a store that is not mounted; DIR and FILE are then paths inside of "
	"it\n"
	"  -n N          at most N results, up to 1000 (default: 10)\n"
	"      --grep    PATH:LINE:TEXT, for editors and scripts\n"
	"      --explain the parts of each score\n"
	"      --json    for programs\n"
	"      --associate  what the best results link to, and what links to them, counts, too\n"
	"      --mode M  hybrid (default), vector, lexical, or similar: meaning alone, scored by "
	"it\n"
	"      --fuse F  how words and meaning are added up: standard scores (default) or rank\n"
	"      --name GLOB, --tag TAG, --attr NAME=VALUE, --after TIME, --before TIME\n"
	"                only such files; TIME is a date like 2026-01-31 or a span like 7d; of\n"
	"                several names one has to fit, of the others all\n"
	"      --decay D, --threshold T, --hops H, --fan-out F, --nodes N, --deadline MS,\n"
	"      --direction out|in|both, --kind explicit|wiki|markdown|symlink|\n"
	"                neighbour|coaccess\n"
	"                of recall: lost at each link (0.3), least activation (0.01), links one "
	"behind\n"
	"                the other (5), strongest links of a file (64; 0: all), files reached "
	"(4096),\n"
	"                time (0: none), which way (both), over which links (all; may be "
	"repeated)\n"
	"      --force   of forget: also what is pinned\n"
	"      --receipt PATH  of forget: what fsck.mnemefs --forgotten PATH STORE proves it by\n"
	"  -h, --help    this text\n"
	"  -V, --version\n"
	"  --            what follows is no option\n\n"
	"Status: 0 found, 1 nothing found, 2 error. Colours: on a terminal, unless NO_COLOR is "
	"set.\n"
	"The same without this tool:\n"
	"  cat 'DIR/.mneme/search/QUESTION.txt'     ls -l 'DIR/.mneme/search/QUESTION/'\n"
	"  cat DIR/.mneme/near/FILE.txt             cat DIR/.mneme/recall/FILE.txt\n"
	"  getfattr -n user.mneme.state FILE\n";

int tool_fail(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fputs("mneme: ", stderr);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
	va_end(list);
	return TOOL_ERROR;
}

static void help(void)
{
	fputs(head, stdout);
	for (int i = 0; i < VERBS; i++)
		fputs(verbs[i]->usage, stdout);
	fputs(tail, stdout);
}

static const struct tool_verb *verb_find(const char *name)
{
	for (int i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i]->name, name))
			return verbs[i];
	return NULL;
}

/* The long options that go into the request: val of getopt is FILTER + index. */
static const struct {
	const char *name;
	char accepts; /* of the verb */
} filter_names[] = {{"mode", 'f'},      {"fuse", 'f'},      {"name", 'f'},    {"tag", 'f'},
		    {"attr", 'f'},      {"after", 'f'},     {"before", 'f'},  {"decay", 'r'},
		    {"threshold", 'r'}, {"hops", 'r'},      {"fan-out", 'r'}, {"nodes", 'r'},
		    {"deadline", 'r'},  {"direction", 'r'}, {"kind", 'r'},    {"receipt", 'p'}};
enum { FILTERS = sizeof(filter_names) / sizeof(filter_names[0]), FILTER = 256 };

static int add_filter(struct tool_options *options, const char *name)
{
	json_t *list = json_object_get(options->filters, name), *value = json_string(optarg);

	if (!value)
		return tool_fail("the value of --%s is no UTF-8", name);
	if (!list) {
		list = json_array();
		json_object_set_new(options->filters, name, list);
	}
	json_array_append_new(list, value);
	return TOOL_FOUND;
}

static int set_count(struct tool_options *options, const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < 1 || n > TOOL_RESULTS_MAX)
		return tool_fail("-n wants a number from 1 to %d, not '%s'", TOOL_RESULTS_MAX,
				 text);
	options->count = (int)n;
	return TOOL_FOUND;
}

static int set_version(struct tool_options *options, const char *text)
{
	char *end;

	errno = 0;
	options->version = strtoull(text, &end, 10);
	options->has_version = 1;
	if (errno || end == text || *end || *text == '-')
		return tool_fail("--if-version wants a number, not '%s'", text);
	return TOOL_FOUND;
}

/* TOOL_FOUND: go on. -1: all is done. */
static int set_option(const struct tool_verb *verb, struct tool_options *options, int letter)
{
	if (letter == 'h' || letter == 'V') {
		if (letter == 'h')
			help();
		else
			puts("mneme " MNEME_VERSION);
		return -1;
	}
	if (!strchr(verb->accepts,
		    letter >= FILTER ? filter_names[letter - FILTER].accepts : letter))
		return tool_fail("%s does not know that option (mneme --help)", verb->name);
	if (letter >= FILTER)
		return add_filter(options, filter_names[letter - FILTER].name);
	switch (letter) {
	case 'C':
		options->directory = optarg;
		return *optarg ? TOOL_FOUND : tool_fail("-C wants a directory");
	case 'S':
		options->store = optarg;
		return *optarg ? TOOL_FOUND : tool_fail("-S wants a store");
	case 'v':
		return set_version(options, optarg);
	case 'n':
		return set_count(options, optarg);
	case 'j':
		options->json = 1;
		break;
	case 'e':
		options->explain = 1;
		break;
	case 'g':
		options->grep = 1;
		break;
	case 'F':
		options->force = 1;
		break;
	case 'a':
		json_object_set_new(options->filters, "associate", json_true());
		break;
	}
	return TOOL_FOUND;
}

static int parse(int argc, char **argv, const struct tool_verb *verb, struct tool_options *options)
{
	static const struct option flags[] = {
		{"json", no_argument, NULL, 'j'},      {"explain", no_argument, NULL, 'e'},
		{"grep", no_argument, NULL, 'g'},      {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},   {"if-version", required_argument, NULL, 'v'},
		{"associate", no_argument, NULL, 'a'}, {"force", no_argument, NULL, 'F'}};
	enum { FLAGS = sizeof(flags) / sizeof(flags[0]) };
	struct option long_options[FLAGS + FILTERS + 1] = {0};
	int letter, status = TOOL_FOUND;

	memcpy(long_options, flags, sizeof(flags));
	for (int i = 0; i < FILTERS; i++)
		long_options[FLAGS + i] =
			(struct option){filter_names[i].name, required_argument, NULL, FILTER + i};
	opterr = 0;
	while (status == TOOL_FOUND &&
	       (letter = getopt_long(argc, argv, ":C:S:n:hV", long_options, NULL)) != -1) {
		if (letter == ':')
			status = tool_fail("%s wants a value (mneme --help)", argv[optind - 1]);
		else if (letter == '?')
			status = tool_fail("there is no option '%s' (mneme --help; -- before words "
					   "that begin with a dash)",
					   argv[optind - 1]);
		else
			status = set_option(verb, options, letter);
	}
	options->words = argv + optind;
	options->words_count = argc - optind;
	if (status == TOOL_FOUND && options->json + options->grep + options->explain > 1)
		status = tool_fail("--json, --grep and --explain exclude each other");
	if (status == TOOL_FOUND &&
	    (options->words_count < verb->words_min || options->words_count > verb->words_max))
		status = tool_fail("wrong number of arguments; usage:\n%s", verb->usage);
	return status;
}

int main(int argc, char **argv)
{
	struct tool_options options = {0};
	const char *name = argc > 1 ? argv[1] : "";

	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		help();
		return TOOL_FOUND;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		puts("mneme " MNEME_VERSION);
		return TOOL_FOUND;
	}
	const struct tool_verb *verb = verb_find(name);
	if (!*name)
		return tool_fail("say what to do: search, near, recall, link, status, sync, "
				 "config, pin, forget, compact, stats, kv or log "
				 "(mneme --help)");
	if (!verb)
		return tool_fail("there is no verb '%s' (mneme --help)", name);
	options.filters = json_object();
	int status = parse(argc - 1, argv + 1, verb, &options);
	if (status == TOOL_FOUND)
		status = verb->run(&options);
	json_decref(options.filters);
	if (status < 0)
		status = TOOL_FOUND;
	if (fflush(stdout) || ferror(stdout))
		status = tool_fail("cannot write the answer");
	return status;
}
