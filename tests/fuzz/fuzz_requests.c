/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   fuzzes what arrives on /dev/fuse: requests with odd sizes, names, inodes and arguments,
 *            ioctls with them, through libfuse into every handler, without a mount.
 * Invariants: an input is a run of requests: opcode 1, length of the arguments 2 (little-endian), node 1,
 *            arguments. The node names the input's own directory, the root, one of the inodes that
 *            the last answers brought, or a number that was never given out.
 * Threading: requests come one at a time; the engine's own threads run beside.
 * Failure:   no room for a store ends the program with a message.
 */
#include "core/mneme_ioctl.h"
#include "tests/fuzz/fuzz.h"
#include "tests/requests.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>

enum {
	KNOWN_NODES = 8,
	REQUESTS_MAX = 64,
	INPUTS_A_STORE = 20000,
	HEAD = 4, /* of a request in the input */
	RESERVE_MAX = 64 << 20,
};

static struct {
	struct requests requests;
	uint64_t home;               /* the input's directory */
	uint64_t known[KNOWN_NODES]; /* of the last answers */
	unsigned next_known;
	unsigned inputs;
	uint32_t opcode; /* of the request that is answered */
} fuzz;

/* The store lives on between inputs, with pointers in maps that the leak checker does not look into:
 * what it would call a leak is not one. Leaks are the unit tests' subject. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* Remembers the inode that an answer brings. */
static void take_answer(const uint8_t *answer, size_t length)
{
	struct fuse_out_header head;
	struct fuse_entry_out entry;

	memcpy(&head, answer, sizeof(head));
	if (length < sizeof(head) || head.len != length)
		__builtin_trap();
	if (!head.unique || head.error || length < sizeof(head) + sizeof(entry))
		return;
	switch (fuzz.opcode) {
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_LINK:
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		memcpy(&entry, answer + sizeof(head), sizeof(entry));
		fuzz.known[fuzz.next_known++ % KNOWN_NODES] = entry.nodeid;
	}
}

static void request(uint32_t opcode, uint64_t node, const void *arguments, size_t length)
{
	static uint8_t answer[REQUESTS_ANSWER_MAX];

	fuzz.opcode = opcode;
	requests_send(&fuzz.requests, opcode, node, arguments, length);
	while ((length = requests_receive(&fuzz.requests, answer, sizeof(answer))))
		take_answer(answer, length);
}

static void open_store(void)
{
	struct fs_options options = {.transport = FS_TRANSPORT_CLASSIC,
				     .durability = MNEME_DURABILITY_MEMORY,
				     .cache_bytes = 64 << 20};

	requests_open(&fuzz.requests, &options);
}

static void remove_store(void)
{
	requests_close(&fuzz.requests);
}

/* A directory of its own for each input, so that inputs mean the same in any order. */
static void make_home(void)
{
	struct {
		struct fuse_mkdir_in in;
		char name[16];
	} arguments = {.in = {.mode = 0777}};

	if (!fuzz.inputs)
		atexit(remove_store);
	if (fuzz.inputs++ % INPUTS_A_STORE == 0) {
		remove_store();
		open_store();
	}
	snprintf(arguments.name, sizeof(arguments.name), "%u", fuzz.inputs);
	fuzz.next_known = 0;
	request(FUSE_MKDIR, FUSE_ROOT_ID, &arguments,
		sizeof(arguments.in) + strlen(arguments.name) + 1);
	fuzz.home = fuzz.known[0];
	for (int i = 0; i < KNOWN_NODES; i++)
		fuzz.known[i] = fuzz.home;
}

/* A reservation is as long as the disk below has room, a key for each 16 KiB: on a large disk one that
 * is made by chance takes longer than an input may. */
static void request_fallocate(uint64_t node, const uint8_t *arguments, size_t length)
{
	struct fuse_fallocate_in in = {0};

	memcpy(&in, arguments, length < sizeof(in) ? length : sizeof(in));
	if (!(in.mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) && in.length <= INT64_MAX)
		in.length %= RESERVE_MAX;
	request(FUSE_FALLOCATE, node, &in, length < sizeof(in) ? length : sizeof(in));
}

static uint64_t node_of(uint8_t byte)
{
	if (byte < 128)
		return fuzz.home;
	if (byte < 128 + KNOWN_NODES)
		return fuzz.known[byte - 128];
	if (byte < 200)
		return FUSE_ROOT_ID;
	return byte < 210 ? byte : UINT64_C(0x1111111111111111) * (byte & 15);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	make_home();
	for (int i = 0; i < REQUESTS_MAX && size >= HEAD; i++) {
		size_t length = data[1] | (size_t)data[2] << 8;
		uint64_t node = node_of(data[3]);
		uint32_t opcode = data[0];

		if (length > size - HEAD)
			length = size - HEAD;
		/* the session's own: the kernel sends them once, at its ends */
		if (opcode == FUSE_FALLOCATE)
			request_fallocate(node, data + HEAD, length);
		else if (opcode != FUSE_INIT && opcode != FUSE_DESTROY)
			request(opcode, node, data + HEAD, length);
		data += HEAD + length;
		size -= HEAD + length;
	}
	return 0;
}

/* ---- seeds ---- */

struct seed {
	uint8_t *at;
	size_t used, capacity;
};

static void seed_add(struct seed *seed, uint8_t opcode, uint8_t node, const void *arguments,
		     size_t length, const void *tail, size_t tail_length)
{
	size_t all = length + tail_length;
	uint8_t head[HEAD] = {opcode, (uint8_t)all, (uint8_t)(all >> 8), node};

	if (seed->capacity - seed->used < HEAD + all)
		return;
	memcpy(seed->at + seed->used, head, HEAD);
	if (length)
		memcpy(seed->at + seed->used + HEAD, arguments, length);
	if (tail_length)
		memcpy(seed->at + seed->used + HEAD + length, tail, tail_length);
	seed->used += HEAD + all;
}

enum { SEED_HOME = 0, SEED_FILE = 128, SEED_ROOT = 150 };

static void seed_names(struct seed *seed)
{
	static const struct fuse_mknod_in mknod = {.mode = 0100644};
	static const struct fuse_rename2_in rename = {.newdir = FUSE_ROOT_ID, .flags = 2};
	static const struct fuse_link_in link = {.oldnodeid = FUSE_ROOT_ID};
	static const struct fuse_forget_in forget = {.nlookup = 1};

	seed_add(seed, FUSE_MKNOD, SEED_HOME, &mknod, sizeof(mknod), "node", 5);
	seed_add(seed, FUSE_SYMLINK, SEED_HOME, NULL, 0, "link\0target", 12);
	seed_add(seed, FUSE_READLINK, SEED_FILE + 2, NULL, 0, NULL, 0);
	seed_add(seed, FUSE_LOOKUP, SEED_HOME, NULL, 0, "node", 5);
	seed_add(seed, FUSE_RENAME2, SEED_HOME, &rename, sizeof(rename), "node\0other", 11);
	seed_add(seed, FUSE_LINK, SEED_HOME, &link, sizeof(link), "again", 6);
	seed_add(seed, FUSE_UNLINK, SEED_HOME, NULL, 0, "node", 5);
	seed_add(seed, FUSE_RMDIR, SEED_HOME, NULL, 0, "link", 5);
	seed_add(seed, FUSE_FORGET, SEED_FILE + 1, &forget, sizeof(forget), NULL, 0);
}

static void seed_bytes(struct seed *seed)
{
	static const struct fuse_create_in create = {.flags = 2, .mode = 0100644};
	static const struct fuse_write_in write = {.offset = 5, .size = 10};
	static const struct fuse_read_in read = {.size = 100};
	static const struct fuse_fallocate_in fallocate = {.length = 40000, .mode = 3};
	static const struct fuse_setattr_in setattr = {.valid = 8, .size = 3};
	static const struct fuse_lseek_in lseek = {.whence = 4};
	static const struct fuse_fsync_in fsync;
	static const struct fuse_copy_file_range_in copy = {.nodeid_out = FUSE_ROOT_ID, .len = 9};

	seed_add(seed, FUSE_CREATE, SEED_HOME, &create, sizeof(create), "file", 5);
	seed_add(seed, FUSE_WRITE, SEED_FILE + 1, &write, sizeof(write), "0123456789", 10);
	seed_add(seed, FUSE_READ, SEED_FILE + 1, &read, sizeof(read), NULL, 0);
	seed_add(seed, FUSE_FALLOCATE, SEED_FILE + 1, &fallocate, sizeof(fallocate), NULL, 0);
	seed_add(seed, FUSE_SETATTR, SEED_FILE + 1, &setattr, sizeof(setattr), NULL, 0);
	seed_add(seed, FUSE_LSEEK, SEED_FILE + 1, &lseek, sizeof(lseek), NULL, 0);
	seed_add(seed, FUSE_FSYNC, SEED_FILE + 1, &fsync, sizeof(fsync), NULL, 0);
	seed_add(seed, FUSE_COPY_FILE_RANGE, SEED_FILE + 1, &copy, sizeof(copy), NULL, 0);
}

static void seed_xattrs(struct seed *seed)
{
	static const struct fuse_getxattr_in get = {.size = 100};
	/* the short form, without the flags of its extension */
	static const uint32_t set[2] = {3, 0};

	seed_add(seed, FUSE_SETXATTR, SEED_HOME, set, sizeof(set), "user.a\0abc", 10);
	seed_add(seed, FUSE_GETXATTR, SEED_HOME, &get, sizeof(get), "user.a", 7);
	seed_add(seed, FUSE_GETXATTR, SEED_HOME, &get, sizeof(get), "user.mneme.search:x", 20);
	seed_add(seed, FUSE_LISTXATTR, SEED_HOME, &get, sizeof(get), NULL, 0);
	seed_add(seed, FUSE_REMOVEXATTR, SEED_HOME, NULL, 0, "user.a", 7);
}

static void seed_lists(struct seed *seed)
{
	static const struct fuse_read_in read = {.size = 4096};

	seed_add(seed, FUSE_READDIR, SEED_HOME, &read, sizeof(read), NULL, 0);
	seed_add(seed, FUSE_READDIRPLUS, SEED_HOME, &read, sizeof(read), NULL, 0);
	seed_add(seed, FUSE_LOOKUP, SEED_HOME, NULL, 0, ".mneme", 7);
	seed_add(seed, FUSE_READDIRPLUS, SEED_FILE + 1, &read, sizeof(read), NULL, 0);
	seed_add(seed, FUSE_LOOKUP, SEED_FILE + 1, NULL, 0, "search", 7);
	seed_add(seed, FUSE_LOOKUP, SEED_FILE + 2, NULL, 0, "a b", 4);
	seed_add(seed, FUSE_READDIR, SEED_FILE + 3, &read, sizeof(read), NULL, 0);
	seed_add(seed, FUSE_LOOKUP, SEED_FILE + 1, NULL, 0, "status", 7);
	seed_add(seed, FUSE_READ, SEED_FILE + 4, &read, sizeof(read), NULL, 0);
}

static void seed_ioctl(struct seed *seed, unsigned command, const void *data, size_t length)
{
	struct fuse_ioctl_in in = {
		.cmd = command, .in_size = (uint32_t)length, .out_size = (uint32_t)length};

	seed_add(seed, FUSE_IOCTL, SEED_ROOT, &in, sizeof(in), data, length);
}

static void seed_ioctls(struct seed *seed)
{
	static const uint8_t log[] = {1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0,   0,   0,   0,
				      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'r', 'e', 'f', 0};
	static const uint8_t kv[sizeof(log)] = {1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0,   0,   0,   0,
						0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'k', 'v', 'w', 0};
	static const uint64_t flags;
	static const struct mneme_ioc_stats stats;

	seed_ioctl(seed, MNEME_IOC_STATS, &stats, sizeof(stats));
	for (unsigned number = MNEME_IOC_NR_IDENTITY; number <= MNEME_IOC_NR_WRITE; number++)
		seed_ioctl(seed, _IOC(_IOC_READ | _IOC_WRITE, MNEME_IOC_MAGIC, number, sizeof(log)),
			   number < MNEME_IOC_NR_LOG_APPEND ? kv : log, sizeof(log));
	seed_ioctl(seed, FS_IOC_SETFLAGS, &flags, sizeof(flags));
	seed_ioctl(seed, FS_IOC_GETFLAGS, &flags, sizeof(flags));
}

size_t fuzz_seed(unsigned number, uint8_t *buffer, size_t capacity)
{
	static void (*const makers[])(struct seed *) = {seed_names, seed_bytes, seed_xattrs,
							seed_lists, seed_ioctls};
	struct seed seed = {.at = buffer, .capacity = capacity};

	if (number >= sizeof(makers) / sizeof(makers[0]))
		return 0;
	makers[number](&seed);
	return seed.used;
}
