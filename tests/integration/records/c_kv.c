/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   pairs through the mount's ioctl. A case's keys begin with its own name: pairs are the
 *            store's, not the directory's.
 */
#include "conformance.h"
#include "records.h"

#include <sys/wait.h>

union records_request request;
uint8_t records_durability;

enum { MANY = 400, TURNS = 200, BIG = MNEME_IOC_SIZE_MAX - 24 };

static int here(void)
{
	return OK(open(".", O_RDONLY | O_DIRECTORY));
}

CASE(kv_put_get_delete_with_versions)
{
	int fd = here();

	OK(kv_put(fd, "basic/a", "one"));
	EQ(request.kv.pair_version, 1);
	OK(kv_put(fd, "basic/a", "second"));
	EQ(request.kv.pair_version, 2);
	SAME(kv_get(fd, "basic/a"), "second");
	EQ(request.kv.pair_version, 2);
	OK(kv_delete(fd, "basic/a"));
	FAILS(kv_delete(fd, "basic/a"), ENOENT);
	YES(!kv_get(fd, "basic/a"));
	EQ(errno, ENOENT);
	OK(kv_put(fd, "basic/a", ""));
	EQ(request.kv.pair_version, 1);
	SAME(kv_get(fd, "basic/a"), "");
}

CASE(kv_works_on_any_file_of_the_mount)
{
	make_file("f", "x", 0600);
	int dir = here(), file = OK(open("f", O_RDONLY));

	OK(kv_put(file, "any/file", "v"));
	SAME(kv_get(dir, "any/file"), "v");
}

CASE(kv_swap_wants_the_version)
{
	int fd = here();

	FAILS(kv_swap(fd, "swap", 1, "no"), ESTALE);
	OK(kv_swap(fd, "swap", 0, "first"));
	EQ(request.kv.pair_version, 1);
	FAILS(kv_swap(fd, "swap", 0, "no"), ESTALE);
	OK(kv_swap(fd, "swap", 1, "second"));
	FAILS(kv_swap(fd, "swap", 1, "no"), ESTALE);
	SAME(kv_get(fd, "swap"), "second");
	EQ(request.kv.pair_version, 2);
}

/* One answer of a scan; returns its pairs and copies the last key to `after`. */
static unsigned scan_once(int fd, unsigned flags, const char *prefix, char *after, size_t room,
			  unsigned *expected)
{
	struct mneme_ioc_pair pair;
	size_t p = strlen(prefix), a = strlen(after);
	char key[64], value[64];

	memset(&request.scan, 0, sizeof request.scan);
	request.scan.version = MNEME_IOC_VERSION;
	request.scan.flags = flags;
	request.scan.prefix_length = p;
	request.scan.after_length = a;
	memcpy(request.scan.data, prefix, p);
	memcpy(request.scan.data + p, after, a);
	OK(records_send(fd, MNEME_IOC_NR_KV_SCAN, sizeof request.scan + p + a + room));
	const uint8_t *at = request.scan.data + p + a, *end = at + request.scan.data_length;
	for (unsigned i = 0; i < request.scan.count; i++) {
		memcpy(&pair, at, sizeof pair);
		sprintf(key, "%s%05u", prefix, *expected);
		sprintf(value, "value %u", *expected);
		EQ(pair.key_length, strlen(key));
		YES(!memcmp(at + sizeof pair, key, pair.key_length));
		EQ(pair.value_length, strlen(value));
		YES(flags || !memcmp(at + sizeof pair + pair.key_length, value, pair.value_length));
		EQ(pair.pair_version, 1);
		at += (sizeof pair + pair.key_length + (flags ? 0 : pair.value_length) + 7) & ~7ul;
		++*expected;
		strcpy(after, key);
	}
	EQ(at - end, 0);
	return request.scan.count;
}

CASE(kv_scan_gives_all_pairs_in_order_in_pages)
{
	char key[64], value[64], after[64] = "";
	int fd = here();

	for (int i = MANY; i-- > 0;) {
		sprintf(key, "many/%05d", i);
		sprintf(value, "value %d", i);
		OK(kv_put(fd, key, value));
	}
	OK(kv_put(fd, "manx", "before"));
	OK(kv_put(fd, "many0", "behind"));
	for (unsigned flags = 0; flags <= MNEME_IOC_SCAN_KEYS; flags++) {
		unsigned seen = 0, pages = 0;
		after[0] = 0;
		while (scan_once(fd, flags, "many/", after, 1000, &seen))
			pages++;
		EQ(seen, MANY);
		YES(pages > 3);
	}
}

CASE(kv_scan_refuses_what_does_not_fit)
{
	int fd = here();

	OK(kv_put(fd, "fit/a", "0123456789"));
	memset(&request.scan, 0, sizeof request.scan);
	request.scan.version = MNEME_IOC_VERSION;
	request.scan.prefix_length = 4;
	memcpy(request.scan.data, "fit/", 4);
	FAILS(records_send(fd, MNEME_IOC_NR_KV_SCAN, sizeof request.scan + 4 + 24), ERANGE);
	FAILS(records_send(fd, MNEME_IOC_NR_KV_SCAN, sizeof request.scan + 3), EINVAL);
	request.scan.flags = 2;
	FAILS(records_send(fd, MNEME_IOC_NR_KV_SCAN, sizeof request.scan + 100), EINVAL);
	request.scan.flags = 0;
	request.scan.reserved = 1;
	FAILS(records_send(fd, MNEME_IOC_NR_KV_SCAN, sizeof request.scan + 100), EINVAL);
}

CASE(kv_sizes_are_checked)
{
	static char value[BIG + 1];
	int fd = here();

	memset(value, 'v', BIG - 3);
	OK(kv_put(fd, "big", value)); /* the whole request is MNEME_IOC_SIZE_MAX bytes long */
	OK(records_kv(fd, MNEME_IOC_NR_KV_GET, "big", NULL, 0, BIG - 3, 0));
	YES(!memcmp(request.kv.data + 3, value, BIG - 3));
	EQ(request.kv.value_length, BIG - 3);
	FAILS(records_kv(fd, MNEME_IOC_NR_KV_GET, "big", NULL, 0, 100, 0), ERANGE);
	OK(records_kv(fd, MNEME_IOC_NR_KV_GET, "big", NULL, 0, 0, 0));
	EQ(request.kv.value_length, BIG - 3);
	/* a value that is longer than the struct, a key that is, no key */
	FAILS(records_kv(fd, MNEME_IOC_NR_KV_PUT, "short", value, 100, 50, 0), EINVAL);
	request.kv.key_length = 2000;
	FAILS(records_send(fd, MNEME_IOC_NR_KV_PUT, sizeof request.kv + 1999), EINVAL);
	FAILS(records_send(fd, MNEME_IOC_NR_KV_DELETE, sizeof request.kv + 3000), ENAMETOOLONG);
	request.kv.key_length = 0;
	FAILS(records_send(fd, MNEME_IOC_NR_KV_PUT, sizeof request.kv + 100), EINVAL);
	FAILS(records_send(fd, MNEME_IOC_NR_KV_PUT, sizeof request.kv - 1), EINVAL);
	FAILS(records_send(fd, MNEME_IOC_NR_KV_PUT, 8), EINVAL);
	FAILS(records_send(fd, MNEME_IOC_NR_KV_PUT, 0), EINVAL);
}

CASE(kv_request_beyond_the_limit_is_refused)
{
	static uint8_t large[1 << 14];
	struct mneme_ioc_kv head = {
		.version = MNEME_IOC_VERSION, .key_length = 1, .value_length = 1};
	int fd = here();

	memcpy(large, &head, sizeof head);
	large[sizeof head] = 'k';
	FAILS(ioctl(fd, MNEME_IOC_SIZED(MNEME_IOC_NR_KV_PUT, MNEME_IOC_SIZE_MAX + 1), large),
	      EINVAL);
	FAILS(ioctl(fd, MNEME_IOC_SIZED(MNEME_IOC_NR_KV_PUT, (1 << 14) - 1), large), EINVAL);
	YES(!kv_get(fd, "k"));
}

CASE(kv_reserved_fields_version_and_numbers_are_checked)
{
	int fd = here();

	OK(kv_put(fd, "strict", "v"));
	size_t size = sizeof request.kv + 7;
	request.kv.durability = MNEME_IOC_DURABILITY_STRICT;
	OK(records_send(fd, MNEME_IOC_NR_KV_PUT, size));
	request.kv.durability = MNEME_IOC_DURABILITY_STRICT + 1;
	FAILS(records_send(fd, MNEME_IOC_NR_KV_PUT, size), EINVAL);
	request.kv.durability = 0;
	request.kv.reserved = 1;
	FAILS(records_send(fd, MNEME_IOC_NR_KV_PUT, size), EINVAL);
	request.kv.reserved = 0;
	request.kv.reserved8 = 1;
	FAILS(records_send(fd, MNEME_IOC_NR_KV_PUT, size), EINVAL);
	request.kv.reserved8 = 0;
	request.kv.version = MNEME_IOC_VERSION + 1;
	FAILS(records_send(fd, MNEME_IOC_NR_KV_PUT, size), EINVAL);
	request.kv.version = MNEME_IOC_VERSION;
	FAILS(records_send(fd, 0x1f, size), ENOTTY);
	FAILS(ioctl(fd, _IO(MNEME_IOC_MAGIC, MNEME_IOC_NR_KV_PUT)), EINVAL);
	OK(records_send(fd, MNEME_IOC_NR_KV_PUT, size));
}

/* ---- two processes ---- */

static int count_up(void *arg)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY);

	(void)arg;
	for (int done = 0; done < TURNS;) {
		char next[32];
		const char *now = kv_get(fd, "counter");
		sprintf(next, "%d", now ? atoi(now) + 1 : 1);
		if (!kv_swap(fd, "counter", now ? request.kv.pair_version : 0, next))
			done++;
		else if (errno != ESTALE)
			return 1;
	}
	return 0;
}

static int write_files(void *arg)
{
	char name[32], text[256];

	(void)arg;
	for (int i = 0; i < TURNS; i++) {
		sprintf(name, "file%d", i % 20);
		sprintf(text, "%0200d", i);
		make_file(name, text, 0644);
	}
	return 0;
}

CASE(kv_swaps_of_two_processes_all_count_while_files_are_written)
{
	int (*work[])(void *) = {count_up, count_up, write_files};
	int status, fd = here();

	for (int i = 0; i < 3; i++)
		if (OK(fork()) == 0)
			_exit(work[i](NULL));
	for (int i = 0; i < 3; i++) {
		OK(wait(&status));
		EQ(status, 0);
	}
	EQ(atoi(kv_get(fd, "counter")), 2 * TURNS);
	EQ(request.kv.pair_version, 2 * TURNS);
	YES(exists("file19"));
}
