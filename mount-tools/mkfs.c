/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   mkfs.mnemefs: makes a store with an empty root directory.
 * Failure:   exit 1 and a sentence; a store is never overwritten. Exit 2: usage.
 */
#include "core/mneme.h"
#include "fs/session.h"

#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char usage[] =
	"usage: mkfs.mnemefs [options] STORE\n"
	"Makes an empty store in the directory STORE, which is made, or must be empty.\n\n"
	"  -d, --durability MODE   memory, buffered (default) or strict\n"
	"  -z, --compress          store the bytes of files zstd-compressed\n"
	"  -s, --shards N          allocation groups: a power of two from 1 to 64 (default 16)\n"
	"  -L, --label LABEL       the store's name, up to 255 bytes\n"
	"  -o, --owner UID:GID     owner of the root directory (default: the caller)\n"
	"  -q, --quiet             say nothing on success\n"
	"  -h, --help              this text\n"
	"  -V, --version\n\n"
	"Mount it with: mnemefs STORE DIR, or mount -t mnemefs STORE DIR\n";

struct arguments {
	struct mneme_create_options create;
	uint32_t uid, gid;
	const char *label;
	int quiet;
};

static int usage_error(const char *sentence, const char *what)
{
	fprintf(stderr, "mkfs.mnemefs: %s%s\n%s", sentence, what, usage);
	return 2;
}

static int set_durability(struct arguments *args, const char *text)
{
	if (!strcmp(text, "memory"))
		args->create.durability = MNEME_DURABILITY_MEMORY;
	else if (!strcmp(text, "buffered"))
		args->create.durability = MNEME_DURABILITY_BUFFERED;
	else if (!strcmp(text, "strict"))
		args->create.durability = MNEME_DURABILITY_STRICT;
	else
		return usage_error("unknown durability: ", text);
	return 0;
}

static int set_shards(struct arguments *args, const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (end == text || *end || number < 1 || number > MNEME_SHARDS_MAX || number & (number - 1))
		return usage_error("shards must be a power of two from 1 to 64, not ", text);
	args->create.shards = (uint32_t)number;
	return 0;
}

/* The number before `end`. The greatest of 32 bits is no user or group. */
static int parse_id(const char *text, char end, uint32_t *out, const char **rest)
{
	char *after;
	unsigned long number = strtoul(text, &after, 10);

	if (*text < '0' || *text > '9' || *after != end || number >= UINT32_MAX)
		return -1;
	*out = (uint32_t)number;
	*rest = after + 1;
	return 0;
}

static int set_owner(struct arguments *args, const char *text)
{
	const char *rest = text;

	if (parse_id(rest, ':', &args->uid, &rest) || parse_id(rest, 0, &args->gid, &rest))
		return usage_error("owner must be UID:GID, not ", text);
	return 0;
}

static int set_label(const char **label, const char *text)
{
	if (strlen(text) > FS_LABEL_MAX)
		return usage_error("a label has up to 255 bytes, not as many as ", text);
	*label = text;
	return 0;
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct arguments *args)
{
	static const struct option options[] = {{"durability", required_argument, NULL, 'd'},
						{"compress", no_argument, NULL, 'z'},
						{"shards", required_argument, NULL, 's'},
						{"label", required_argument, NULL, 'L'},
						{"owner", required_argument, NULL, 'o'},
						{"quiet", no_argument, NULL, 'q'},
						{"help", no_argument, NULL, 'h'},
						{"version", no_argument, NULL, 'V'},
						{NULL, 0, NULL, 0}};
	int option, status = 0;

	while (!status && (option = getopt_long(argc, argv, "d:zs:L:o:qhV", options, NULL)) != -1) {
		switch (option) {
		case 'd':
			status = set_durability(args, optarg);
			break;
		case 'z':
			args->create.compression = MNEME_COMPRESSION_ZSTD;
			break;
		case 's':
			status = set_shards(args, optarg);
			break;
		case 'L':
			status = set_label(&args->label, optarg);
			break;
		case 'o':
			status = set_owner(args, optarg);
			break;
		case 'q':
			args->quiet = 1;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts("mkfs.mnemefs " MNEME_VERSION);
			return 0;
		default:
			return usage_error("unknown option", "");
		}
	}
	return status ? status : -1;
}

/* The engine keeps about three log segments: on a small disk they are smaller. */
static void choose_segment(struct mneme_create_options *create, const char *store)
{
	enum { LEAST = 4 << 20, MOST = 16 << 20, SHARE = 16 };
	char parent[4096];
	struct statvfs disk;

	if (snprintf(parent, sizeof(parent), "%s", store) >= (int)sizeof(parent))
		return;
	if (statvfs(parent, &disk) && statvfs(dirname(parent), &disk))
		return;
	uint64_t bytes = (uint64_t)disk.f_bavail * disk.f_frsize / SHARE;
	if (bytes < MOST)
		create->segment_bytes = bytes < LEAST ? LEAST : (uint32_t)(bytes & ~UINT64_C(4095));
}

int main(int argc, char **argv)
{
	struct arguments args = {.uid = getuid(), .gid = getgid()};
	struct mneme_error error = {""};
	struct mneme *engine;
	int status = parse(argc, argv, &args);

	if (status >= 0)
		return status;
	if (optind + 1 != argc)
		return usage_error("name one directory", "");
	const char *store = argv[optind];
	choose_segment(&args.create, store);
	int err = mneme_create(store, &args.create, &error);
	if (!err)
		err = mneme_open(store, NULL, &engine, &error);
	if (err) {
		fprintf(stderr, "mkfs.mnemefs: %s: %s\n", store,
			error.message[0] ? error.message : strerror(-err));
		return 1;
	}
	err = fs_format(engine, args.uid, args.gid);
	if (!err && args.label)
		err = fs_set_label(engine, args.label);
	int closed = mneme_close(engine);
	if (err || closed) {
		fprintf(stderr, "mkfs.mnemefs: %s: %s\n", store, strerror(-(err ? err : closed)));
		return 1;
	}
	if (!args.quiet)
		printf("%s is an empty store. Mount it with: mnemefs %s DIR\n", store, store);
	return 0;
}
