/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   after a power loss at any moment the store opens, holds every operation that was
 *            acknowledged as durable, and is a state that the history went through (history.h). All
 *            sequences of one and two operations, sampled longer ones, crashes during recovery, and
 *            stores that crash again and again.
 * Counts:    at least 10,000 states; MNEME_LONG=1: 1,000,000. MNEME_SEED chooses the samples.
 */
#include "core/store/check.h"
#include "core/store/store.h"
#include "tests/crash/history.h"
#include "tests/tier.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { BASES = 5 };

/* What sequences begin with. */
struct base {
	struct sim *disk;
	struct model model;
};

static struct base bases[BASES];
static uint64_t states, reopened;

struct crash_at {
	uint64_t point, seed;
	enum sim_crash kind;
};

static void print_crash(const struct history *h, const struct crash_at *at, const char *what)
{
	printf("%s: point %llu kind %d seed %llu\n", what, (unsigned long long)at->point, at->kind,
	       (unsigned long long)at->seed);
	history_print(h, at->point);
}

static void print_finding(void *arg, const char *finding, int repaired)
{
	(void)arg;
	(void)repaired;
	printf("  finding: %s\n", finding);
}

/* The structure of the store, which nobody has open. */
static void check_structure(const struct history *h, struct sim *disk, const struct crash_at *at)
{
	struct mneme_check_result result;
	struct mneme_error error = {.message = ""};
	struct io *io;

	ck_assert_int_eq(sim_io_new(disk, &io), 0);
	int rc = store_check(io, STORE_CHECK_CRASHED, print_finding, NULL, &result, &error);
	io->ops->destroy(io);
	if (rc < 0 || result.findings)
		print_crash(h, at, "its structure is damaged");
	ck_assert_msg(rc == 0, "the check gave %s: %s", strerror(-rc), error.message);
	ck_assert_uint_eq(result.findings, 0);
}

/* Opens the disk and checks what it holds; the cut is that of the history. */
static void check_disk(const struct history *h, struct sim *disk, const struct crash_at *at,
		       uint32_t *c, uint32_t *p, struct mneme **out)
{
	struct mneme_error error = {.message = ""};
	struct mneme *m;
	uint64_t sum;

	if (states++ % 4 == 0)
		check_structure(h, disk, at);
	int rc = history_open(disk, &m, &error);
	if (rc < 0)
		print_crash(h, at, "it does not open");
	ck_assert_msg(rc == 0, "open gave %s: %s", strerror(-rc), error.message);
	rc = store_sum(m, &sum);
	if (rc < 0)
		print_crash(h, at, "it cannot be read");
	ck_assert_msg(rc == 0, "reading gave %s", strerror(-rc));
	if (!history_allows(h, at->point, sum, c, p)) {
		struct model all;
		print_crash(h, at, "a state that the history never had");
		history_model(h, h->count, h->count, &all);
		printf(" against the whole history:\n");
		store_print_difference(m, &all);
		ck_abort_msg("wrong state");
	}
	if (out)
		*out = m;
	else
		store_abandon(m);
}

/* A recovered store has to be of use: change it, checkpoint, close, open, compare. */
static void check_use(const struct history *h, struct sim *disk, const struct crash_at *at)
{
	struct history again;
	struct model model;
	struct mneme *m;
	struct op op;
	uint32_t c, p;

	check_disk(h, disk, at, &c, &p, &m);
	store_abandon(m);
	history_model(h, c, p, &model);
	history_begin(&again, disk, &model);
	model_clear(&model);
	uint64_t random = at->seed;
	for (int i = 0; i < 6; i++) {
		op_make(&op, random_below(&random, op_templates()), random_next(&random));
		history_run(&again, &op);
	}
	op = (struct op){.kind = OP_REOPEN};
	history_run(&again, &op);
	history_compute(&again);
	uint64_t sum;
	ck_assert_int_eq(store_sum(again.m, &sum), 0);
	ck_assert_uint_eq(sum, again.sums[again.count][again.count]);
	history_abandon(&again);
	check_structure(&again, again.disk, at);
	history_end(&again);
	reopened++;
}

static struct sim *crash_disk(const struct history *h, const struct crash_at *at)
{
	struct sim *disk;

	ck_assert_int_eq(sim_crash(h->disk, at->point, at->kind, at->seed, &disk), 0);
	return disk;
}

/* The recovery is cut off as well, at any of its events. */
static void check_twice(const struct history *h, const struct crash_at *at)
{
	struct sim *disk = crash_disk(h, at);
	struct mneme *m;
	uint32_t c, p;
	uint64_t random = at->seed + 77;

	check_disk(h, disk, at, &c, &p, &m);
	store_abandon(m);
	for (int i = 0; i < 4; i++) {
		struct sim *second;
		ck_assert_int_eq(sim_crash(disk, random_below(&random, sim_events(disk) + 1),
					   random_below(&random, SIM_CRASH_KINDS),
					   random_next(&random), &second),
				 0);
		check_disk(h, second, at, &c, &p, NULL);
		sim_free(second);
	}
	sim_free(disk);
}

static void check_one(const struct history *h, const struct crash_at *at)
{
	uint64_t which = at->seed * 31 + at->point * 7 + at->kind;
	uint32_t c, p;

	if (which % 11 == 0) {
		check_twice(h, at);
		return;
	}
	struct sim *disk = crash_disk(h, at);
	if (which % 13 == 0) {
		check_use(h, disk, at); /* frees the disk */
		return;
	}
	check_disk(h, disk, at, &c, &p, NULL);
	sim_free(disk);
}

/* Every point and kind, `seeds` of those kinds that are random. */
static void check_all(const struct history *h, uint64_t seeds)
{
	for (uint64_t point = 0; point <= sim_events(h->disk); point++)
		for (unsigned kind = 0; kind < SIM_CRASH_KINDS; kind++) {
			int random = kind == SIM_CRASH_SUBSET || kind == SIM_CRASH_TORN;
			for (uint64_t seed = 1; seed <= (random ? seeds : 1); seed++) {
				struct crash_at at = {point, seed + tier_seed(), kind};
				check_one(h, &at);
			}
		}
}

static void check_some(const struct history *h, uint64_t count, uint64_t *random)
{
	for (uint64_t i = 0; i < count; i++) {
		struct crash_at at = {.point = random_below(random, sim_events(h->disk) + 1),
				      .kind = random_below(random, SIM_CRASH_KINDS),
				      .seed = random_next(random)};
		check_one(h, &at);
	}
}

/* ---- bases ---- */

/* Abandons the store and keeps what its disk holds. */
static void base_keep(struct base *base, struct history *h)
{
	struct mneme *m;

	history_abandon(h);
	base->disk = disk_settled(h->disk);
	struct sim *copy = disk_settled(h->disk);
	ck_assert_ptr_nonnull(base->disk);
	ck_assert_ptr_nonnull(copy);
	ck_assert_int_eq(history_open(copy, &m, NULL), 0);
	ck_assert_int_eq(store_load(m, &base->model), 0);
	store_abandon(m);
	sim_free(copy);
	history_end(h);
}

static void run_template(struct history *h, uint32_t template, uint64_t seed)
{
	struct op op;

	op_make(&op, template, seed);
	history_run(h, &op);
}

static void base_begin(struct history *h, const struct base *base)
{
	struct sim *disk = disk_settled(base->disk);

	ck_assert_ptr_nonnull(disk);
	history_begin(h, disk, &base->model);
}

/* 0: just made. 1: full trees, closed. 2: the same, and work in the log. 3: opened and closed often, and
 * something to pack. 4: with packed values. */
static void bases_make(void)
{
	const struct op reopen = {.kind = OP_REOPEN};
	struct history h;
	struct sim *disk;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	bases[0].disk = disk_settled(disk);
	sim_free(disk);
	for (int b = 1; b < BASES; b++) {
		base_begin(&h, &bases[b - 1]);
		for (int i = 0; b == 1 && i < 5; i++)
			run_template(&h, op_template(OP_LOCKED, 30), i);
		for (uint32_t i = 0; i < 12; i++) {
			run_template(&h, (i * 5 + b) % (op_templates() - 4), i + b);
			if (b >= 3 && i % 3 == 0)
				history_run(&h, &reopen);
		}
		if (b >= 3)
			history_rest(&h);
		if (b == 4)
			history_pack(&h);
		if (b != 2)
			history_run(&h, &reopen);
		else
			run_template(&h, op_template(OP_SYNC, 0), 0);
		base_keep(&bases[b], &h);
	}
}

static void bases_free(void)
{
	for (int b = 0; b < BASES; b++) {
		sim_free(bases[b].disk);
		model_clear(&bases[b].model);
	}
}

static void begin(void)
{
	states = reopened = 0;
	bases_make();
}

static void finish(const char *what)
{
	printf("%s: %llu crash states, %llu of them used again\n", what, (unsigned long long)states,
	       (unsigned long long)reopened);
	bases_free();
}

/* ---- tests ---- */

START_TEST(test_crash_states_one_operation)
{
	uint64_t seeds = tier_count(1, 1, 8);

	begin();
	for (int b = 0; b < BASES; b++)
		for (uint32_t t = 0; t < op_templates(); t++) {
			struct history h;
			if (tier_is_short() && (t + b) % 8)
				continue;
			base_begin(&h, &bases[b]);
			run_template(&h, t, tier_seed() + b);
			history_compute(&h);
			check_all(&h, seeds);
			history_end(&h);
		}
	finish("one operation");
}
END_TEST

START_TEST(test_crash_states_two_operations)
{
	uint64_t random = tier_seed(), some = tier_count(1, 6, 0);

	begin();
	for (uint32_t t = 0; t < op_templates(); t++)
		for (uint32_t u = 0; u < op_templates(); u++) {
			struct history h;
			if (tier_is_short() && random_below(&random, 4))
				continue;
			base_begin(&h, &bases[random_below(&random, BASES)]);
			run_template(&h, t, random_next(&random));
			run_template(&h, u, random_next(&random));
			history_compute(&h);
			if (some)
				check_some(&h, some, &random);
			else
				check_all(&h, 2);
			history_end(&h);
		}
	finish("two operations");
}
END_TEST

START_TEST(test_crash_states_many_operations)
{
	uint64_t random = tier_seed() + 1, sequences = tier_count(60, 500, 35000);

	begin();
	for (uint64_t s = 0; s < sequences; s++) {
		struct history h;
		uint64_t length = 3 + random_below(&random, 22);
		base_begin(&h, &bases[random_below(&random, BASES)]);
		for (uint64_t i = 0; i < length; i++) {
			run_template(&h, random_below(&random, op_templates()),
				     random_next(&random));
			/* Pages that were placed and given up between two checkpoints. */
			if (s & 1 && random_below(&random, 2))
				run_template(&h, op_template(OP_SPILL, 0), 0);
		}
		history_compute(&h);
		check_some(&h, 12, &random);
		history_end(&h);
	}
	finish("many operations");
}
END_TEST

static void run_random(struct history *h, uint64_t count, uint64_t *random)
{
	int spills = random_below(random, 2);

	for (uint64_t i = 0; i < count; i++) {
		run_template(h, random_below(random, op_templates()), random_next(random));
		if (spills)
			run_template(h, op_template(OP_SPILL, 0), 0);
	}
	history_compute(h);
}

/* The process is killed and the store opened again, with nothing settled on the disk in between; then
 * the power fails. `h` goes on from what was found. */
static void kill_and_open(struct history *h)
{
	struct mneme *m;
	struct model model;
	struct sim *disk = h->disk;
	uint64_t killed = sim_events(disk), sum;
	uint32_t c, p;

	history_abandon(h);
	ck_assert_int_eq(history_open(disk, &m, NULL), 0);
	ck_assert_int_eq(store_sum(m, &sum), 0);
	ck_assert(history_allows(h, killed, sum, &c, &p));
	for (uint64_t point = killed; point <= sim_events(disk); point++)
		for (unsigned kind = 0; kind < SIM_CRASH_KINDS; kind++) {
			struct crash_at at = {.point = point, .kind = kind, .seed = killed};
			struct sim *after = crash_disk(h, &at);
			check_disk(h, after, &at, &c, &p, NULL);
			sim_free(after);
		}
	ck_assert_int_eq(store_load(m, &model), 0);
	model_clear(&h->base);
	*h = (struct history){.disk = disk, .m = m, .base = model, .opened = sim_events(disk)};
}

/* A store that is killed, crashes, is opened, goes on and crashes again, life after life. */
START_TEST(test_crash_states_many_lives)
{
	uint64_t random = tier_seed() + 2, stores = tier_count(4, 20, 500);
	static struct history h;

	begin();
	for (uint64_t s = 0; s < stores; s++) {
		struct sim *disk = disk_settled(bases[s % BASES].disk);
		struct model model;
		model_copy(&model, &bases[s % BASES].model);
		for (int life = 0; life < 25; life++) {
			uint32_t c, p;
			history_begin(&h, disk, &model);
			model_clear(&model);
			run_random(&h, random_below(&random, 8), &random);
			if (life % 3 == 2) {
				kill_and_open(&h);
				run_random(&h, random_below(&random, 8), &random);
			}
			uint64_t last = sim_events(h.disk) - h.opened;
			struct crash_at at = {.point = h.opened + random_below(&random, last + 1),
					      .kind = random_below(&random, SIM_CRASH_KINDS),
					      .seed = random_next(&random)};
			disk = crash_disk(&h, &at);
			struct sim *probe = disk_settled(disk);
			check_disk(&h, probe, &at, &c, &p, NULL);
			sim_free(probe);
			history_model(&h, c, p, &model);
			history_end(&h);
		}
		model_clear(&model);
		sim_free(disk);
	}
	finish("many lives");
}
END_TEST

/* One transaction of many values: `length` bytes each, of the keys from `first` on. */
static void run_many(struct history *h, enum mneme_durability durability, uint32_t first,
		     uint32_t count, uint32_t length, uint64_t seed)
{
	struct op op = {.kind = OP_LOCKED, .durability = durability, .count = count};

	for (uint32_t i = 0; i < count; i++)
		op.effects[i] = (struct effect){.kind = EFFECT_PUT,
						.key = (first + i * 7) % MODEL_ALL,
						.length = length,
						.seed = seed * 1000 + i};
	history_run(h, &op);
}

/* Spill after spill, with checkpoints in between: so many that places are used again, first those of
 * pages that no checkpoint reached; but not those of runs that the log names. */
START_TEST(test_crash_states_many_spills)
{
	const struct op spill = {.kind = OP_SPILL}, checkpoint = {.kind = OP_CHECKPOINT};
	uint64_t random = tier_seed() + 3, sequences = tier_count(2, 8, 300);

	begin();
	for (uint64_t s = 0; s < sequences; s++) {
		static struct history h;
		base_begin(&h, &bases[1 + s % (BASES - 1)]);
		for (int i = 0; i < 22; i++) {
			struct op op;
			op_make(&op, op_template(OP_LOCKED, 30), random_next(&random));
			op.durability =
				i % 9 == 8 ? MNEME_DURABILITY_BUFFERED : MNEME_DURABILITY_MEMORY;
			if (s & 1)
				run_many(&h, MNEME_DURABILITY_STRICT, i % 3, 40, 16384,
					 random_next(&random));
			else
				history_run(&h, &op);
			history_run(&h, i == 3 || i == 6 ? &checkpoint : &spill);
		}
		history_compute(&h);
		check_some(&h, 40, &random);
		history_end(&h);
	}
	finish("many spills");
}
END_TEST

/* A log that names runs, and has so much else that its recovery makes checkpoints in the midst of it. */
static void run_long_log(struct history *h, uint64_t seed)
{
	enum { RUN = 16384, LOGGED = 60001 };
	const enum mneme_durability buffered = MNEME_DURABILITY_BUFFERED;
	const struct op sync = {.kind = OP_SYNC};

	for (uint32_t round = 0; round < 3; round++) {
		run_many(h, buffered, 0, 30, RUN, seed + round);
		run_template(h, op_template(OP_PATCH, 1), seed + round);
		run_many(h, buffered, 3 + round * 5, 40, LOGGED, seed + 10 + round);
		run_many(h, buffered, 0, 30, RUN, seed + 20 + round); /* of the same keys */
		run_template(h, op_template(OP_DELETE, 1), seed + round);
		run_template(h, op_template(OP_RANGE, 1), seed + round);
		run_many(h, buffered, 90 + round * 11, 40, LOGGED, seed + 30 + round);
	}
	history_run(h, &sync);
}

/* Opens what a crash left, again and again, each time with a crash in the midst of it: with another
 * arena, so that a recovery may find more applied than it has when it makes its own checkpoint. */
static void check_recoveries(const struct history *h, uint64_t *random)
{
	struct crash_at at = {.point = sim_events(h->disk), .kind = SIM_CRASH_NONE_KEPT};
	struct sim *disk = crash_disk(h, &at);
	struct mneme *m;
	uint32_t c, p;

	for (int life = 0; life < 6; life++) {
		struct sim *next;
		history_arena(life & 1 ? 0 : 7 << 20);
		check_structure(h, disk, &at);
		check_disk(h, disk, &at, &c, &p, &m);
		ck_assert_uint_gt(m->super.generation, 1);
		store_abandon(m);
		uint64_t last = sim_events(disk);
		ck_assert_int_eq(sim_crash(disk, life & 1 ? random_below(random, last + 1) : last,
					   random_below(random, SIM_CRASH_KINDS),
					   random_next(random), &next),
				 0);
		sim_free(disk);
		disk = next;
	}
	check_use(h, disk, &at); /* frees the disk */
}

/* The runs that a log names are where it says, however often its recovery ends in a crash. */
START_TEST(test_crash_states_long_recoveries)
{
	uint64_t random = tier_seed() + 4, sequences = tier_count(1, 4, 300);

	begin();
	for (uint64_t s = 0; s < sequences; s++) {
		static struct history h;
		history_arena(64 << 20);
		base_begin(&h, &bases[1 + s % (BASES - 1)]);
		run_long_log(&h, random_next(&random));
		history_compute(&h);
		check_recoveries(&h, &random);
		history_arena(0);
		history_end(&h);
	}
	finish("long recoveries");
}
END_TEST

/* A store being made is there wholly or is refused, and once made it stays. */
START_TEST(test_crash_states_making_a_store)
{
	struct sim *disk, *after;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	for (uint64_t point = 0; point <= sim_events(disk); point++)
		for (unsigned kind = 0; kind < SIM_CRASH_KINDS; kind++)
			for (uint64_t seed = 0; seed < 5; seed++) {
				struct mneme *m;
				struct mneme_error error;
				uint64_t sum;
				ck_assert_int_eq(sim_crash(disk, point, kind, seed, &after), 0);
				int rc = history_open(after, &m, &error);
				if (point == sim_events(disk))
					ck_assert_msg(rc == 0, "%s", error.message);
				if (rc == 0) {
					ck_assert_int_eq(store_sum(m, &sum), 0);
					ck_assert_uint_eq(sum, 0);
					ck_assert_int_eq(mneme_checkpoint(m), 0);
					store_abandon(m);
				} else {
					ck_assert(rc == -ENOENT || rc == -EUCLEAN);
				}
				sim_free(after);
			}
	sim_free(disk);
}
END_TEST

/* Inode numbers that were used are not given out again, by the log or by the checkpoint. */
START_TEST(test_crash_states_inodes_are_given_out_once)
{
	uint64_t seen[200];
	uint32_t count = 0;
	struct sim *disk, *after;

	ck_assert_int_eq(sim_new(&disk), 0);
	ck_assert_int_eq(history_create(disk), 0);
	for (int life = 0; life < 10; life++) {
		struct mneme *m;
		ck_assert_int_eq(history_open(disk, &m, NULL), 0);
		for (int i = 0; i < 20; i++) {
			struct mneme_key key = {.inode = mneme_inode_new(m, i % MODEL_SHARDS),
						.type = MNEME_TYPE_INODE};
			for (uint32_t k = 0; k < count; k++)
				ck_assert_uint_ne(seen[k], key.inode);
			ck_assert_uint_eq(key.inode % MODEL_SHARDS, i % MODEL_SHARDS);
			seen[count++] = key.inode;
			ck_assert_int_eq(mneme_put(m, &key, "x", 1, MNEME_DURABILITY_STRICT), 0);
		}
		if (life % 3 == 1)
			ck_assert_int_eq(mneme_checkpoint(m), 0);
		store_abandon(m);
		ck_assert_int_eq(sim_crash(disk, sim_events(disk), SIM_CRASH_NONE_KEPT, 0, &after),
				 0);
		sim_free(disk);
		disk = after;
	}
	sim_free(disk);
}
END_TEST

UNIT_MAIN("crash_states", test_crash_states_inodes_are_given_out_once,
	  test_crash_states_one_operation, test_crash_states_two_operations,
	  test_crash_states_many_operations, test_crash_states_many_lives,
	  test_crash_states_many_spills, test_crash_states_long_recoveries,
	  test_crash_states_making_a_store)
