/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   damaged bytes in the superblocks, the heap and the log of stores that were closed or
 *            crashed: flipped, zeroed, overwritten, swapped, replayed from an older time, cut off.
 *            Opening and reading then says -EUCLEAN or -EIO, or gives the right data. Only the end of
 *            the log of a crashed store may be missing: damage there cannot be told from a write that
 *            was cut off.
 * Counts:    3,000; MNEME_LONG=1: 100,000.
 */
#include "core/store/store.h"
#include "tests/crash/history.h"
#include "tests/tier.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PREFIXES_MAX = 12, FILES_MAX = 16, HANG_SECONDS = 20 };

/* A damaged store may hold states[least] .. states[count - 1]; without damage the last one. */
struct victim {
	struct sim *disk, *older;
	struct model states[PREFIXES_MAX];
	uint64_t sums[PREFIXES_MAX];
	uint32_t count;
};

struct names {
	char list[FILES_MAX][IO_NAME_MAX];
	uint64_t sizes[FILES_MAX];
	uint32_t count;
};

static char context[200];
static uint64_t refused, intact, partial, shorter;

static void on_signal(int number)
{
	ssize_t ignored = write(STDOUT_FILENO, context, strlen(context));

	(void)ignored;
	signal(number, SIG_DFL);
	raise(number);
}

static void name_add(void *arg, const char *name, uint64_t size)
{
	struct names *n = arg;

	if (n->count < FILES_MAX && size && strcmp(name, "lock")) {
		snprintf(n->list[n->count], IO_NAME_MAX, "%s", name);
		n->sizes[n->count++] = size;
	}
}

/* ---- damage ---- */

/* A place in the file, with data if some is found soon. */
static uint64_t place(const uint8_t *bytes, uint64_t size, uint64_t *random)
{
	uint64_t at = 0;

	for (int i = 0; i < 30; i++) {
		at = random_below(random, size);
		if (bytes[at])
			break;
	}
	return at;
}

static void cut(struct sim *disk, const char *name, uint64_t size)
{
	struct io *io;
	struct io_file *file;

	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	ck_assert_int_eq(io->ops->open(io, name, IO_WRITE, &file), 0);
	ck_assert_int_eq(io->ops->truncate(file, size), 0);
	io->ops->close(file);
	io->ops->destroy(io);
}

static void swap_pages(uint8_t *a, uint8_t *b)
{
	uint8_t copy[4096];

	memcpy(copy, a, sizeof copy);
	memcpy(a, b, sizeof copy);
	memcpy(b, copy, sizeof copy);
}

/* Puts the bytes of an older time back: a page, or some sectors. */
static void replay_stale(const struct victim *v, const char *name, uint8_t *bytes, uint64_t size,
			 uint64_t at, uint64_t length)
{
	uint8_t *old;
	uint64_t old_size;

	if (sim_file(v->older, name, &old, &old_size) < 0)
		return;
	for (uint64_t i = at; i < at + length && i < size && i < old_size; i++)
		bytes[i] = old[i];
}

/* Returns whether the damage was one flipped bit. */
static int damage(const struct victim *v, struct sim *disk, uint64_t *random)
{
	struct names names = {.count = 0};
	uint8_t *bytes;
	uint64_t size;

	sim_each_file(disk, name_add, &names);
	/* super and heap are as likely as all of the log together */
	uint32_t file = random_below(random, 3);
	if (file == 2)
		file = random_below(random, names.count);
	const char *name = names.list[file];
	ck_assert_int_eq(sim_file(disk, name, &bytes, &size), 0);
	uint64_t at = place(bytes, size, random), kind = random_below(random, 8);
	uint64_t page = at & ~4095ull, length = 1ull << random_below(random, 14);
	snprintf(context + strlen(context), sizeof context - strlen(context),
		 " %s kind %d at %llu + %llu;", name, (int)kind, (unsigned long long)at,
		 (unsigned long long)length);
	if (length > size - at)
		length = size - at;
	uint64_t other = place(bytes, size, random) & ~4095ull;
	switch (kind) {
	case 0:
	case 1:
		bytes[at] ^= 1u << random_below(random, 8);
		return 1;
	case 2:
		memset(bytes + at, 0, length);
		break;
	case 3:
		for (uint64_t i = 0; i < length; i++)
			bytes[at + i] = random_next(random);
		break;
	case 4:
		cut(disk, name, at);
		break;
	case 5:
		if (page + 4096 <= size && other + 4096 <= size)
			swap_pages(bytes + page, bytes + other);
		break;
	case 6:
		replay_stale(v, name, bytes, size, page, 4096);
		break;
	default:
		replay_stale(v, name, bytes, size, at & ~511ull, 512 + length);
	}
	return 0;
}

/* ---- reading what is left ---- */

/* Is every key that can be read as in that state? */
static int keys_fit(struct mneme *m, const struct model *state)
{
	static uint8_t bytes[MNEME_VALUE_MAX];

	for (uint32_t i = 0; i < MODEL_ALL; i++) {
		struct model_key k;
		size_t length, expected;
		const uint8_t *value = model_get(state, i, &expected);
		model_key(i, &k);
		int rc = mneme_get(m, &k.key, bytes, sizeof bytes, &length);
		if (rc == -EUCLEAN || rc == -EIO)
			continue;
		ck_assert_msg(rc == 0 || rc == -ENOENT, "a read gave %s", strerror(-rc));
		if ((rc == 0) != (value != NULL) ||
		    (value && (length != expected || memcmp(value, bytes, length))))
			return 0;
	}
	return 1;
}

static void check_content(struct mneme *m, const struct victim *v, uint32_t least)
{
	uint64_t sum;
	int rc = store_sum(m, &sum);

	ck_assert_msg(rc == 0 || rc == -EUCLEAN || rc == -EIO, "a scan gave %s", strerror(-rc));
	for (uint32_t i = v->count; i-- > least;) {
		if (rc == 0 ? sum == v->sums[i] : keys_fit(m, &v->states[i])) {
			intact += rc == 0;
			partial += rc < 0;
			shorter += i + 1 < v->count;
			return;
		}
	}
	printf("%s\n", context);
	store_print_difference(m, &v->states[v->count - 1]);
	ck_abort_msg("a wrong answer");
}

/* Changes may be refused on a damaged store, and no more than that. */
static void use(struct mneme *m, uint64_t *random)
{
	static uint8_t value[5000];

	for (int i = 0; i < 6; i++) {
		struct model_key k;
		struct mneme_txn *txn;
		uint32_t key = random_below(random, MODEL_ALL);
		model_key(key, &k);
		struct mneme_key last = {.inode = k.key.inode, .type = MNEME_TYPE_CHUNK + 1};
		mneme_put(m, &k.key, value, random_below(random, sizeof value),
			  MNEME_DURABILITY_BUFFERED + i % 2);
		if (mneme_txn_begin(m, 0, &txn) == 0) {
			size_t length;
			model_key(random_below(random, MODEL_ALL), &k);
			mneme_txn_get(txn, &k.key, NULL, 0, &length);
			mneme_txn_truncate(txn, &k.key, 100);
			if (i == 4)
				mneme_txn_delete_range(txn, &k.key, &last);
			model_key(random_below(random, MODEL_ALL), &k);
			mneme_txn_put(txn, &k.key, value, 700);
			mneme_txn_commit(txn, 0);
		}
		mneme_delete(m, &k.key, 0);
		if (i == 3)
			mneme_checkpoint(m);
	}
}

static void corrupt_once(const struct victim *v, uint64_t seed)
{
	struct mneme_error error = {.message = ""};
	struct sim *disk = disk_settled(v->disk);
	uint64_t random = seed;
	struct mneme *m;
	uint32_t least = 0;

	snprintf(context, sizeof context, "seed %llu:", (unsigned long long)seed);
	alarm(HANG_SECONDS);
	uint64_t times = random_below(&random, 4) ? 1 : 3;
	for (uint64_t i = 0; i < times; i++)
		if (damage(v, disk, &random) && times == 1 && v->count > 1)
			least = v->count - 2; /* one bit hides no more than the last block */
	int rc = history_open(disk, &m, &error);
	if (rc < 0) {
		refused++;
		ck_assert_msg(rc == -EUCLEAN || rc == -EIO, "%s opening gave %s: %s", context,
			      strerror(-rc), error.message);
		ck_assert_int_ne(error.message[0], 0);
	} else {
		check_content(m, v, least);
		use(m, &random);
		(void)mneme_close(m);
	}
	sim_free(disk);
}

/* ---- victims ---- */

static void victim_state(struct victim *v, const struct history *h)
{
	history_model(h, h->count, h->count, &v->states[v->count]);
	v->sums[v->count] = model_sum(&v->states[v->count]);
	v->count++;
}

static void run_seeded(struct history *h, uint32_t count, uint64_t seed)
{
	uint64_t random = seed;

	for (uint32_t i = 0; i < count; i++) {
		struct op op;
		do
			op_make(&op, random_below(&random, op_templates() - 4),
				random_next(&random));
		while (op.wrong || op.kind == OP_DELETE);
		op.durability = MNEME_DURABILITY_STRICT;
		history_run(h, &op);
	}
}

static void victim_make(struct victim *v, int crashed, uint64_t seed)
{
	static struct history h;
	struct model empty = {0};
	struct sim *disk;

	memset(v, 0, sizeof *v);
	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	history_begin(&h, disk, &empty);
	run_seeded(&h, 10, seed);
	history_run(&h, &(struct op){.kind = OP_CHECKPOINT});
	run_seeded(&h, 3, seed + 1);
	v->older = disk_settled(h.disk);
	run_seeded(&h, 2, seed + 2);
	history_rest(&h);
	history_pack(&h);
	history_run(&h, &(struct op){.kind = OP_CHECKPOINT});
	for (int i = 0; crashed && i < 6; i++) {
		victim_state(v, &h);
		run_seeded(&h, 1, seed + 10 + i);
	}
	if (!crashed) {
		struct op op;
		op_make(&op, 0, seed); /* in no log */
		ck_assert_int_eq(op.durability, MNEME_DURABILITY_MEMORY);
		history_run(&h, &op);
		history_run(&h, &(struct op){.kind = OP_REOPEN});
	}
	victim_state(v, &h);
	history_abandon(&h);
	v->disk = disk_settled(h.disk);
	history_end(&h);
}

static void victim_free(struct victim *v)
{
	for (uint32_t i = 0; i < v->count; i++)
		model_clear(&v->states[i]);
	sim_free(v->disk);
	sim_free(v->older);
}

static void corrupt_many(int crashed)
{
	uint64_t count = tier_count(300, 1500, 50000), victims = tier_count(2, 6, 25);
	static struct victim v;

	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	signal(SIGALRM, on_signal);
	for (uint64_t i = 0; i < victims; i++) {
		victim_make(&v, crashed, tier_seed() * 1000 + i);
		for (uint64_t k = 0; k < count / victims; k++)
			corrupt_once(&v, tier_seed() * 1000000007 + i * 100003 + k);
		victim_free(&v);
	}
	alarm(0);
	printf("%s: %llu refused, %llu whole, %llu read in part, %llu without the end of the log\n",
	       crashed ? "crashed" : "closed", (unsigned long long)refused,
	       (unsigned long long)intact, (unsigned long long)partial,
	       (unsigned long long)shorter);
	ck_assert_uint_gt(refused, 0);
	if (!crashed || !tier_is_short()) /* rare in a crashed one: few runs may meet none */
		ck_assert_uint_gt(partial, 0);
}

START_TEST(test_store_corruption_of_a_closed_store)
{
	corrupt_many(0);
}
END_TEST

START_TEST(test_store_corruption_of_a_crashed_store)
{
	corrupt_many(1);
}
END_TEST

UNIT_MAIN("store_corruption", test_store_corruption_of_a_closed_store,
	  test_store_corruption_of_a_crashed_store)
