/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fsck.mnemefs: checks a store, and repairs what can be repaired without guessing.
 * Failure:   exit status of fsck(8): 0 no errors, 1 errors corrected, 4 errors left uncorrected,
 *            8 the check could not be made, 16 usage, 32 cancelled. 2 (restart the system) never
 *            happens: a store that is in use is not touched.
 */
#include "core/mneme.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	EXIT_CLEAN = 0,
	EXIT_CORRECTED = 1,
	EXIT_UNCORRECTED = 4,
	EXIT_OPERATION = 8,
	EXIT_USAGE = 16,
	EXIT_CANCELLED = 32,
};

enum { BUSY_GRACE_MS = 1000, BUSY_POLL_MS = 20 };

static const char usage[] =
	"usage: fsck.mnemefs [options] STORE\n"
	"Checks the store in the directory STORE, which must not be mounted.\n\n"
	"  -n    change nothing: say what is found\n"
	"  -y    repair everything that can be repaired, also where something is lost by it\n"
	"        (a damaged end of the log, damaged pages): what is lost is listed\n"
	"  -p    repair without questions what loses nothing, leave the rest (-a: the same)\n"
	"  -f    check also a store that looks clean (it is always checked)\n"
	"  -v    say what was looked at\n"
	"  --forgotten WHAT\n"
	"        if the store is sound: prove that a memory is forgotten. WHAT is its number, or\n"
	"        the file that mneme forget --receipt wrote: then its bytes are sought, too.\n"
	"        Status 4: it is not forgotten; 8: the store never gave out that number\n"
	"  -h, --help\n"
	"  -V, --version\n\n"
	"Without -n, -y, -p it asks on a terminal, and changes nothing elsewhere.\n"
	"Exit status: 0 no errors, 1 errors corrected, 4 errors left, 8 the store could not be\n"
	"checked, 16 usage, 32 interrupted.\n";

enum mode { MODE_ASK, MODE_NO, MODE_YES, MODE_SAFE };

struct run {
	const char *store;
	enum mode mode;
	int verbose;
	const char *forgotten; /* NULL: not asked for */
	struct mneme_check_result result;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static int usage_error(const char *sentence, const char *what)
{
	fprintf(stderr, "fsck.mnemefs: %s%s\n%s", sentence, what, usage);
	return EXIT_USAGE;
}

static void print_finding(void *arg, const char *finding, int repaired)
{
	const struct run *run = arg;

	printf("%s: %s%s\n", run->store, finding, repaired ? " (repaired)" : "");
}

static int check(struct run *run, unsigned flags)
{
	struct mneme_error error = {""};
	int rc = mneme_check(run->store, flags, print_finding, run, &run->result, &error);

	/* umount(8) returns before the daemon knows of it, and says that it closes the store */
	for (int waited = 0; rc == -EBUSY && waited < BUSY_GRACE_MS; waited += BUSY_POLL_MS) {
		usleep(BUSY_POLL_MS * 1000);
		rc = mneme_check(run->store, flags, print_finding, run, &run->result, &error);
	}
	if (rc < 0)
		fprintf(stderr, "fsck.mnemefs: %s: %s\n", run->store,
			error.message[0] ? error.message : strerror(-rc));
	return rc;
}

static int ask(const struct run *run)
{
	char line[16];

	printf("%s: repair? What is lost by it will be listed. [y/N] ", run->store);
	fflush(stdout);
	return fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static int conclude(const struct run *run)
{
	const struct mneme_check_result *r = &run->result;
	unsigned long long left = r->findings - r->repaired;

	if (run->verbose)
		printf("%s: %llu pages, %llu values outside of pages, %llu keys\n", run->store,
		       (unsigned long long)r->pages, (unsigned long long)r->values,
		       (unsigned long long)r->keys);
	if (!r->findings)
		printf("%s: clean\n", run->store);
	else
		printf("%s: %llu findings, %llu repaired, %llu left%s\n", run->store,
		       (unsigned long long)r->findings, (unsigned long long)r->repaired, left,
		       !left                   ? ""
		       : left <= r->beyond     ? "; fsck.mnemefs cannot repair that"
		       : run->mode != MODE_YES ? "; fsck.mnemefs -y repairs what it can"
					       : "");
	if (interrupted)
		return EXIT_CANCELLED;
	if (left)
		return EXIT_UNCORRECTED;
	return r->findings ? EXIT_CORRECTED : EXIT_CLEAN;
}

static unsigned flags_of(enum mode mode)
{
	return mode == MODE_YES    ? MNEME_CHECK_REPAIR
	       : mode == MODE_SAFE ? MNEME_CHECK_REPAIR | MNEME_CHECK_LOSE_NOTHING
				   : 0;
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct run *run)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'},
						{"version", no_argument, NULL, 'V'},
						{"forgotten", required_argument, NULL, 'F'},
						{NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "nypafvhV", options, NULL)) != -1) {
		enum mode wanted = option == 'n' ? MODE_NO : option == 'y' ? MODE_YES : MODE_SAFE;
		switch (option) {
		case 'n':
		case 'y':
		case 'p':
		case 'a':
			if (run->mode != MODE_ASK && run->mode != wanted)
				return usage_error("choose one of -n, -y and -p", "");
			run->mode = wanted;
			break;
		case 'f':
			break;
		case 'v':
			run->verbose = 1;
			break;
		case 'F':
			run->forgotten = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts("fsck.mnemefs " MNEME_VERSION);
			return 0;
		default:
			return usage_error("unknown option", "");
		}
	}
	if (optind + 1 != argc)
		return usage_error("name one directory", "");
	run->store = argv[optind];
	return -1;
}

/* ---- what is forgotten ---- */

/* Any error or finding ends in the status of it. */
static int prove(struct run *run, const struct mneme_receipt *receipt)
{
	unsigned long long memory = mneme_receipt_memory(receipt);
	struct mneme_error error = {""};
	struct mneme_forgotten seen;
	int rc = mneme_check_forgotten(run->store, receipt, print_finding, run, &seen, &error);

	if (rc < 0) {
		fprintf(stderr, "fsck.mnemefs: %s: %s\n", run->store,
			error.message[0] ? error.message : strerror(-rc));
		return EXIT_OPERATION;
	}
	if (seen.shared)
		printf("%s: %llu marks of memory %llu were passed over, because others hold the "
		       "same "
		       "bytes (memory %llu does)\n",
		       run->store, (unsigned long long)seen.shared, memory,
		       (unsigned long long)seen.shared_by);
	if (seen.findings)
		printf("%s: memory %llu is not forgotten: %llu findings\n", run->store, memory,
		       (unsigned long long)seen.findings);
	else if (seen.unknown)
		printf("%s: nothing is proven: the store never gave out the number %llu\n",
		       run->store, memory);
	else
		printf("%s: memory %llu is forgotten: no record, passage, vector or word of it, "
		       "and no link that leads to it, in %llu keys, none of %llu marks in %llu "
		       "bytes; its name in other files is not sought\n",
		       run->store, memory, (unsigned long long)seen.keys,
		       (unsigned long long)seen.marks, (unsigned long long)seen.bytes);
	return seen.findings ? EXIT_UNCORRECTED : seen.unknown ? EXIT_OPERATION : EXIT_CLEAN;
}

/* A number, of any store and without marks. 0: it is none. */
static uint64_t number_of(const char *what)
{
	char *end;

	errno = 0;
	uint64_t number = strtoull(what, &end, 10);
	return errno || *end || *what == '-' ? 0 : number;
}

static int prove_number(struct run *run, uint64_t number)
{
	static const uint8_t any_store[16];
	struct mneme_receipt *receipt;
	int rc = mneme_receipt_new(any_store, number, 0, &receipt);

	if (rc < 0) {
		fprintf(stderr, "fsck.mnemefs: %s\n", strerror(-rc));
		return EXIT_OPERATION;
	}
	int status = prove(run, receipt);
	mneme_receipt_free(receipt);
	return status;
}

static int prove_text(struct run *run, const char *text, size_t length)
{
	int status = EXIT_CLEAN;

	for (size_t at = 0, used = 0; at < length; at += used) {
		struct mneme_receipt *receipt;
		int rc = mneme_receipt_parse(text + at, length - at, &used, &receipt);
		if (rc < 0) {
			fprintf(stderr, "fsck.mnemefs: %s: %s\n", run->forgotten,
				rc == -EINVAL ? "that is no receipt of mneme forget"
					      : strerror(-rc));
			return EXIT_OPERATION;
		}
		int one = prove(run, receipt);
		mneme_receipt_free(receipt);
		status = one > status ? one : status;
	}
	return status;
}

static int prove_all(struct run *run)
{
	uint64_t number = number_of(run->forgotten);
	struct stat st = {0};

	if (number)
		return prove_number(run, number);
	int fd = open(run->forgotten, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || !st.st_size) {
		fprintf(stderr, "fsck.mnemefs: %s: %s\n", run->forgotten,
			fd < 0 ? strerror(errno) : "that is no receipt of mneme forget");
		if (fd >= 0)
			close(fd);
		return EXIT_OPERATION;
	}
	size_t length = (size_t)st.st_size;
	char *text = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (text == MAP_FAILED) {
		fprintf(stderr, "fsck.mnemefs: %s: %s\n", run->forgotten, strerror(errno));
		return EXIT_OPERATION;
	}
	int status = prove_text(run, text, length);
	munmap(text, length);
	return status;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct run run = {0};
	int status = parse(argc, argv, &run);

	if (status >= 0)
		return status;
	/* A repair that was begun is ended: it writes its superblock last. */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (check(&run, flags_of(run.mode)) < 0)
		return EXIT_OPERATION;
	if (run.mode == MODE_ASK && run.result.findings && !interrupted && isatty(STDIN_FILENO) &&
	    ask(&run) && check(&run, MNEME_CHECK_REPAIR) < 0)
		return EXIT_OPERATION;
	status = conclude(&run);
	if (run.forgotten && (status == EXIT_CLEAN || status == EXIT_CORRECTED)) {
		int proof = prove_all(&run);
		status = proof > status ? proof : status;
	}
	return status;
}
