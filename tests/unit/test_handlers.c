/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: the mount's handlers without a mount: once a thread is warm, no request allocates. What
 *          libfuse and the system's libraries take for themselves is not counted. And what
 *          earlier versions left in stores. */
#include "core/mneme_ioctl.h"
#include "core/names.h"
#include "pool/alloc.h"
#include "tests/requests.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/fs.h>
#include <stddef.h>
#include <sys/ioctl.h>

enum { ROUNDS = 300, WARM_PASSES = 3, FILE_BYTES = 40000, ANSWER_BYTES = 1 << 17 };

static struct requests requests;
static uint64_t file;    /* node of a file of FILE_BYTES */
static uint64_t last;    /* node that the last entry brought */
static int last_error;   /* of the last answer, 0 or negative */
static uint64_t counted; /* allocations in handlers, of the step that is looked at */

/* Sends one request and takes its answer; what it allocates on this thread is counted. */
static void request(uint32_t opcode, uint64_t node, const void *arguments, size_t length)
{
	static uint8_t answer[ANSWER_BYTES];
	struct fuse_out_header head;
	struct fuse_entry_out entry;
	uint64_t before = alloc_count_thread();

	requests_send(&requests, opcode, node, arguments, length);
	counted += alloc_count_thread() - before;
	last_error = 1;
	for (size_t n; (n = requests_receive(&requests, answer, sizeof(answer)));) {
		memcpy(&head, answer, sizeof(head));
		if (head.unique != requests.unique)
			continue; /* a notification */
		last_error = head.error;
		if (n >= sizeof(head) + sizeof(entry)) {
			memcpy(&entry, answer + sizeof(head), sizeof(entry));
			last = entry.nodeid;
		}
	}
}

/* The same with a fixed part and a text with its zero behind it. */
static void request_text(uint32_t opcode, uint64_t node, const void *fixed, size_t length,
			 const char *text, size_t text_length)
{
	static uint8_t arguments[1 << 17];

	memcpy(arguments, fixed, length);
	memcpy(arguments + length, text, text_length);
	request(opcode, node, arguments, length + text_length);
}

#define TEXT(text) text, sizeof(text)
#define FIXED(value) &(value), sizeof(value)

static void forget(uint64_t node)
{
	const struct fuse_forget_in in = {.nlookup = 1};

	request(FUSE_FORGET, node, FIXED(in));
}

static void lookup(const char *name)
{
	request(FUSE_LOOKUP, FUSE_ROOT_ID, name, strlen(name) + 1);
}

static void unlink_name(const char *name)
{
	request(FUSE_UNLINK, FUSE_ROOT_ID, name, strlen(name) + 1);
	ck_assert_int_eq(last_error, 0);
}

/* ---- steps: each may send several requests; what ends with an error says so itself ---- */

static void step_lookup(unsigned turn)
{
	lookup("file");
	ck_assert_int_eq(last_error, 0);
	forget(last);
}

static void step_lookup_missing(unsigned turn)
{
	lookup("missing");
}

static void step_attributes(unsigned turn)
{
	const struct fuse_getattr_in get = {0};
	const struct fuse_setattr_in set = {
		.valid = FATTR_MODE | FATTR_MTIME, .mode = 0100600 + turn % 2, .mtime = turn};

	request(FUSE_GETATTR, file, FIXED(get));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_SETATTR, file, FIXED(set));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_STATFS, FUSE_ROOT_ID, NULL, 0);
	ck_assert_int_eq(last_error, 0);
}

static void step_node(unsigned turn)
{
	const struct fuse_mknod_in in = {.mode = 0100644};

	request_text(FUSE_MKNOD, FUSE_ROOT_ID, FIXED(in), TEXT("node"));
	ck_assert_int_eq(last_error, 0);
	uint64_t node = last;
	unlink_name("node");
	forget(node);
}

static void step_directory(unsigned turn)
{
	const struct fuse_mkdir_in in = {.mode = 0755};

	request_text(FUSE_MKDIR, FUSE_ROOT_ID, FIXED(in), TEXT("directory"));
	ck_assert_int_eq(last_error, 0);
	uint64_t node = last;
	request(FUSE_RMDIR, FUSE_ROOT_ID, TEXT("directory"));
	ck_assert_int_eq(last_error, 0);
	forget(node);
}

static void step_links(unsigned turn)
{
	const struct fuse_link_in in = {.oldnodeid = file};

	request(FUSE_SYMLINK, FUSE_ROOT_ID, TEXT("symbolic\0target"));
	ck_assert_int_eq(last_error, 0);
	uint64_t node = last;
	request(FUSE_READLINK, node, NULL, 0);
	ck_assert_int_eq(last_error, 0);
	unlink_name("symbolic");
	forget(node);
	request_text(FUSE_LINK, FUSE_ROOT_ID, FIXED(in), TEXT("hard"));
	ck_assert_int_eq(last_error, 0);
	unlink_name("hard");
	forget(last);
}

static void step_rename(unsigned turn)
{
	const struct fuse_rename2_in in = {.newdir = FUSE_ROOT_ID};

	if (turn % 2)
		request_text(FUSE_RENAME2, FUSE_ROOT_ID, FIXED(in), TEXT("file\0moved"));
	else
		request_text(FUSE_RENAME2, FUSE_ROOT_ID, FIXED(in), TEXT("moved\0file"));
	ck_assert_int_eq(last_error, 0);
}

static void step_create_and_write(unsigned turn)
{
	const struct fuse_create_in in = {.flags = O_WRONLY | O_CREAT, .mode = 0100644};
	struct fuse_write_in write = {.size = 1000};
	static const char bytes[1000] = "bytes";

	request_text(FUSE_CREATE, FUSE_ROOT_ID, FIXED(in), TEXT("created"));
	ck_assert_int_eq(last_error, 0);
	uint64_t node = last;
	request_text(FUSE_WRITE, node, FIXED(write), bytes, sizeof(bytes));
	ck_assert_int_eq(last_error, 0);
	unlink_name("created");
	forget(node);
}

static void step_write_inside(unsigned turn)
{
	struct fuse_write_in write = {.offset = turn * 61u % FILE_BYTES, .size = 1000};
	static const char bytes[1000] = "inside";

	request_text(FUSE_WRITE, file, FIXED(write), bytes, sizeof(bytes));
	ck_assert_int_eq(last_error, 0);
}

static void step_read(unsigned turn)
{
	const struct fuse_read_in small = {.offset = turn, .size = 4096}, large = {.size = 1 << 16};

	request(FUSE_READ, file, FIXED(small));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_READ, file, FIXED(large));
	ck_assert_int_eq(last_error, 0);
}

static void step_list(unsigned turn)
{
	const struct fuse_read_in in = {.size = 4096};

	request(FUSE_READDIR, FUSE_ROOT_ID, FIXED(in));
	ck_assert_int_eq(last_error, 0);
}

static void step_attribute_of_a_user(unsigned turn)
{
	const uint32_t set[2] = {3, 0}; /* the short form, without the flags of its extension */
	const struct fuse_getxattr_in get = {.size = 100};

	request_text(FUSE_SETXATTR, file, FIXED(set), TEXT("user.a\0abc"));
	ck_assert_int_eq(last_error, 0);
	request_text(FUSE_GETXATTR, file, FIXED(get), TEXT("user.a"));
	ck_assert_int_eq(last_error, 0);
	request_text(FUSE_GETXATTR, file, FIXED(get), TEXT("user.none"));
	request(FUSE_LISTXATTR, file, FIXED(get));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_REMOVEXATTR, file, TEXT("user.a"));
	ck_assert_int_eq(last_error, 0);
}

static void step_space(unsigned turn)
{
	const struct fuse_fallocate_in punch = {.offset = 4096, .length = 8192, .mode = 3};
	const struct fuse_lseek_in seek = {.whence = SEEK_HOLE};
	const struct fuse_setattr_in cut = {.valid = FATTR_SIZE, .size = FILE_BYTES - turn % 100};
	const struct fuse_copy_file_range_in copy = {
		.nodeid_out = file, .off_out = 20000, .len = 5000};

	request(FUSE_FALLOCATE, file, FIXED(punch));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_LSEEK, file, FIXED(seek));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_SETATTR, file, FIXED(cut));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_COPY_FILE_RANGE, file, FIXED(copy));
	ck_assert_int_eq(last_error, 0);
}

/* Sets room aside behind the end, writes into the middle of it, and gives it back. */
static void step_room(unsigned turn)
{
	const struct fuse_fallocate_in keep = {.offset = 1 << 20, .length = 1 << 20, .mode = 1};
	const struct fuse_fallocate_in punch = {.offset = 1 << 20, .length = 1 << 20, .mode = 3};
	const struct fuse_setattr_in cut = {.valid = FATTR_SIZE, .size = FILE_BYTES};
	struct fuse_write_in write = {.offset = 1500000, .size = FILE_BYTES};
	static char bytes[FILE_BYTES];

	request(FUSE_FALLOCATE, file, FIXED(keep));
	ck_assert_int_eq(last_error, 0);
	request_text(FUSE_WRITE, file, FIXED(write), bytes, sizeof(bytes));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_FALLOCATE, file, FIXED(punch));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_SETATTR, file, FIXED(cut));
	ck_assert_int_eq(last_error, 0);
}

static void step_ioctl(unsigned turn)
{
	const struct fuse_ioctl_in in = {
		.cmd = FS_IOC_GETFLAGS, .out_size = sizeof(long), .in_size = 0};

	request(FUSE_IOCTL, file, FIXED(in));
	ck_assert_int_eq(last_error, 0);
}

/* fsync of a directory makes a checkpoint where something was changed past the log. */
static void checkpoint(void)
{
	struct {
		struct fuse_ioctl_in in;
		struct mneme_ioc_kv kv;
		char data[16];
	} put = {.in = {.in_size = sizeof(put) - sizeof(put.in),
			.out_size = sizeof(put) - sizeof(put.in)},
		 .kv = {.version = MNEME_IOC_VERSION,
			.key_length = 3,
			.value_length = 3,
			.durability = MNEME_IOC_DURABILITY_MEMORY},
		 .data = "keyabc"};
	const struct fuse_fsync_in in = {0};

	put.in.cmd = MNEME_IOC_SIZED(MNEME_IOC_NR_KV_PUT, sizeof(put) - sizeof(put.in));
	request(FUSE_IOCTL, FUSE_ROOT_ID, FIXED(put));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_FSYNCDIR, FUSE_ROOT_ID, FIXED(in));
	ck_assert_int_eq(last_error, 0);
}

static void step_sync(unsigned turn)
{
	const struct fuse_fsync_in in = {0};

	request(FUSE_FSYNC, file, FIXED(in));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_FSYNCDIR, FUSE_ROOT_ID, FIXED(in));
	ck_assert_int_eq(last_error, 0);
}

static const struct {
	const char *name;
	void (*run)(unsigned turn);
} steps[] = {
	{"lookup", step_lookup},
	{"lookup of a missing name", step_lookup_missing},
	{"getattr, setattr, statfs", step_attributes},
	{"mknod, unlink, forget", step_node},
	{"mkdir, rmdir", step_directory},
	{"symlink, readlink, link, unlink", step_links},
	{"rename", step_rename},
	{"create, write, unlink", step_create_and_write},
	{"write inside", step_write_inside},
	{"read", step_read},
	{"readdir", step_list},
	{"xattrs", step_attribute_of_a_user},
	{"fallocate, lseek, truncate, copy_file_range", step_space},
	{"room that is set aside", step_room},
	{"ioctl", step_ioctl},
	{"fsync", step_sync},
};

static void make_file(void)
{
	const struct fuse_create_in in = {.flags = O_RDWR | O_CREAT, .mode = 0100644};
	static char bytes[FILE_BYTES];
	struct fuse_write_in write = {.size = sizeof(bytes)};

	memset(bytes, 'x', sizeof(bytes));
	request_text(FUSE_CREATE, FUSE_ROOT_ID, FIXED(in), TEXT("moved"));
	ck_assert_int_eq(last_error, 0);
	file = last;
	request_text(FUSE_WRITE, file, FIXED(write), bytes, sizeof(bytes));
	ck_assert_int_eq(last_error, 0);
	step_rename(0);
}

START_TEST(test_handlers_that_are_warm_allocate_nothing)
{
	struct fs_options options = {.transport = FS_TRANSPORT_CLASSIC, .cache_bytes = 64 << 20};
	unsigned failures = 0;

	requests_open(&requests, &options);
	make_file();
	for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
		/* what is freed is listed until the next checkpoint but one */
		for (int pass = 0; pass < WARM_PASSES; pass++, checkpoint())
			for (unsigned turn = 1; turn <= 2 * ROUNDS; turn++)
				steps[s].run(turn);
		counted = 0;
		for (unsigned turn = 1; turn <= ROUNDS; turn++)
			steps[s].run(turn);
		if (counted)
			fprintf(stderr, "%s: %lu allocations in %d rounds\n", steps[s].name,
				counted, ROUNDS);
		failures += counted != 0;
	}
	requests_close(&requests);
	ck_assert_uint_eq(failures, 0);
}
END_TEST

enum { OLD_FIRST = 10, OLD_END = 13, CHUNKS = 16 };

/* Sets the file's chunks OLD_FIRST to OLD_END aside as the first versions did: a key for each. */
static void put_old_keys(struct mneme *m)
{
	uint64_t count = OLD_END - OLD_FIRST;
	struct names_inode inode;
	struct mneme_key key = names_key(file, MNEME_TYPE_INODE);
	uint8_t sub[8];
	size_t length;

	ck_assert_int_eq(mneme_get(m, &key, &inode, sizeof(inode), &length), 0);
	inode.size = CHUNKS * MNEME_CHUNK_SIZE;
	inode.allocated += count * MNEME_CHUNK_SIZE;
	ck_assert_int_eq(mneme_put(m, &key, &inode, sizeof(inode), MNEME_DURABILITY_DEFAULT), 0);
	key = names_key(file % mneme_shards(m), MNEME_TYPE_RESERVED);
	ck_assert_int_eq(mneme_put(m, &key, &count, sizeof(count), MNEME_DURABILITY_DEFAULT), 0);
	for (uint64_t i = OLD_FIRST; i < OLD_END; i++) {
		key = names_key_number(file, MNEME_TYPE_CHUNK, i, sub);
		ck_assert_int_eq(mneme_put(m, &key, "", 0, MNEME_DURABILITY_DEFAULT), 0);
	}
}

/* Two of them are filled and punched, the third stays; the holes before and behind are set aside anew. */
static void check_new_keys(struct mneme *m)
{
	const uint64_t holes = OLD_FIRST - (FILE_BYTES + MNEME_CHUNK_SIZE - 1) / MNEME_CHUNK_SIZE +
			       CHUNKS - OLD_END;
	struct mneme_key key = names_key(file % mneme_shards(m), MNEME_TYPE_RESERVED);
	uint64_t count;
	uint8_t sub[8];
	size_t length;

	ck_assert_int_eq(mneme_get(m, &key, &count, sizeof(count), &length), 0);
	ck_assert_uint_eq(count, holes + 1);
	for (uint64_t i = OLD_FIRST; i < OLD_END; i++) {
		key = names_key_number(file, MNEME_TYPE_CHUNK, i, sub);
		ck_assert_int_eq(mneme_get(m, &key, NULL, 0, &length),
				 i == OLD_FIRST + 1 ? -ENOENT : 0);
		if (i != OLD_FIRST + 1)
			ck_assert_uint_eq(length, i == OLD_FIRST ? MNEME_CHUNK_SIZE : 0);
	}
}

static void with_engine(void (*use)(struct mneme *m))
{
	struct mneme_options options = {0};
	struct mneme_error error;
	struct mneme *m;

	ck_assert_msg(!mneme_open(requests.store, &options, &m, &error), "%s", error.message);
	use(m);
	ck_assert_int_eq(mneme_close(m), 0);
}

START_TEST(test_chunks_set_aside_by_keys_of_their_own)
{
	const struct fuse_fallocate_in all = {.length = CHUNKS * MNEME_CHUNK_SIZE};
	const struct fuse_fallocate_in punch = {.offset = (OLD_FIRST + 1) * MNEME_CHUNK_SIZE,
						.length = MNEME_CHUNK_SIZE,
						.mode = 3};
	struct fuse_write_in write = {.offset = OLD_FIRST * MNEME_CHUNK_SIZE + 5, .size = 100};
	struct fs_options options = {.transport = FS_TRANSPORT_CLASSIC, .cache_bytes = 64 << 20};
	struct mneme_check_result result;
	struct mneme_error error;
	static char bytes[100];

	requests_open(&requests, &options);
	make_file();
	requests_stop(&requests);
	with_engine(put_old_keys);
	ck_assert_int_eq(mneme_check(requests.store, 0, NULL, NULL, &result, &error), 0);
	ck_assert_uint_eq(result.findings, 0);
	requests_start(&requests, &options);
	lookup("file");
	request(FUSE_FALLOCATE, file, FIXED(all));
	ck_assert_int_eq(last_error, 0);
	request_text(FUSE_WRITE, file, FIXED(write), bytes, sizeof(bytes));
	ck_assert_int_eq(last_error, 0);
	request(FUSE_FALLOCATE, file, FIXED(punch));
	ck_assert_int_eq(last_error, 0);
	requests_stop(&requests);
	with_engine(check_new_keys);
	ck_assert_int_eq(mneme_check(requests.store, 0, NULL, NULL, &result, &error), 0);
	ck_assert_uint_eq(result.findings, 0);
	requests_start(&requests, &options);
	requests_close(&requests);
}
END_TEST

UNIT_MAIN("handlers", test_handlers_that_are_warm_allocate_nothing,
	  test_chunks_set_aside_by_keys_of_their_own)
