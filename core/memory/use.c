/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see use.h.
 */
#include "core/memory/use.h"

#include "core/edges.h"
#include "core/memory/memory_inside.h"
#include "core/store/background.h"
#include "pool/alloc.h"
#include "pool/frame.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 2 * USE_MAX, BATCH = 256, TRIES = 8, VALUE_MAX = 32, PLACES = 64 };
#define DAY_NS 86400e9

static const struct mneme_key on_key = {
	.type = MNEME_TYPE_COLLECTION, .sub = "use", .sub_length = 3};
static const struct mneme_key described_key = {
	.type = MNEME_TYPE_COLLECTION, .sub = "described", .sub_length = 9};

static int64_t now_real_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int is_on(struct memory *mem)
{
	return atomic_load_explicit(&mem->use.on, memory_order_relaxed);
}

/* ---- settings and attributes ---- */

/* The value at the inode itself or the nearest directory above: 1. */
OWN_FRAME static int setting_above(struct memory *mem, uint64_t inode, const char *name,
				   char value[MEMORY_SETTING_MAX])
{
	do {
		if (memory_setting_get(mem, inode, name, value) == 0)
			return 1;
	} while ((inode = memory_parent(mem, inode)));
	return 0;
}

static int number_parse(const char *text, double least, double most, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return end == text || *end || !(*out >= least && *out <= most) ? -EINVAL : 0;
}

/* Days of a half-life; 0: nothing fades. */
static int decay_parse(const char *text, double *days)
{
	*days = 0;
	if (!strcmp(text, "no"))
		return 0;
	*days = INFINITY;
	return strcmp(text, "never") ? number_parse(text, 1.0 / 1440, 36500, days) : 0;
}

static int is_yes_or_no(const char *text)
{
	return !strcmp(text, "yes") || !strcmp(text, "no");
}

/* From now on the store says so. */
static int flag_set(struct memory *mem, _Atomic int *flag, const struct mneme_key *key)
{
	if (atomic_load_explicit(flag, memory_order_relaxed))
		return 0;
	int rc = mneme_put(mem->engine, key, "", 0, MNEME_DURABILITY_DEFAULT);
	if (rc == 0)
		atomic_store_explicit(flag, 1, memory_order_relaxed);
	return rc;
}

static void flag_load(struct memory *mem, _Atomic int *flag, const struct mneme_key *key)
{
	size_t length;

	if (mneme_get(mem->engine, key, NULL, 0, &length) == 0)
		atomic_store_explicit(flag, 1, memory_order_relaxed);
}

static int setting_is_sound(const char *name, const char *text)
{
	double number;

	if (!strcmp(name, MEMORY_PINNED))
		return !strcmp(text, "1");
	if (!strcmp(name, MEMORY_CONFIDENCE))
		return !number_parse(text, 0, 1, &number);
	if (!strcmp(name, MEMORY_SETTING_LEARN))
		return is_yes_or_no(text);
	if (!strcmp(name, MEMORY_SETTING_NEIGHBOURS))
		return !number_parse(text, 0, EDGES_MAX, &number) && number == floor(number);
	return !decay_parse(text, &number);
}

int memory_use_check(struct memory *mem, const char *name, const void *value, size_t length)
{
	static const char *const computed[] = {MEMORY_ACCESS_COUNT, MEMORY_LAST_ACCESS,
					       MEMORY_CREATED, MEMORY_ACTIVATION};
	char text[VALUE_MAX];

	for (int i = 0; i < 4; i++)
		if (!strcmp(name, computed[i]))
			return -EPERM;
	if (length >= sizeof text)
		return -EINVAL;
	memcpy(text, value, length);
	text[length] = 0;
	if (!setting_is_sound(name, text))
		return -EINVAL;
	if (!strcmp(name, MEMORY_PINNED) || !strcmp(name, MEMORY_CONFIDENCE))
		return flag_set(mem, &mem->use.described, &described_key);
	return flag_set(mem, &mem->use.on, &on_key);
}

int memory_use_setting(struct memory *mem, uint64_t inode, const char *name, char *value)
{
	return is_on(mem) && setting_above(mem, inode, name, value);
}

static double decay_of(struct memory *mem, uint64_t inode)
{
	char value[MEMORY_SETTING_MAX];
	double days;

	return memory_use_setting(mem, inode, MEMORY_SETTING_DECAY, value) &&
			       decay_parse(value, &days) == 0
		       ? days
		       : 0;
}

static int learns(struct memory *mem, uint64_t inode)
{
	char value[MEMORY_SETTING_MAX];

	return memory_use_setting(mem, inode, MEMORY_SETTING_LEARN, value) && !strcmp(value, "yes");
}

static double confidence_of(struct memory *mem, uint64_t inode)
{
	char value[MEMORY_SETTING_MAX];
	double number;

	return memory_setting_get(mem, inode, MEMORY_CONFIDENCE, value) == 0 &&
			       number_parse(value, 0, 1, &number) == 0
		       ? number
		       : 1;
}

/* ---- uses that wait ---- */

static uint32_t slot_of(const struct use_entry *table, uint64_t inode)
{
	uint32_t at = (uint32_t)(inode * 0x9e3779b97f4a7c15u >> 32) & (SLOTS - 1);

	while (table[at].inode && table[at].inode != inode)
		at = (at + 1) & (SLOTS - 1);
	return at;
}

/* [lock] 1: it counts. */
static int entry_count(struct memory_use *use, uint64_t inode, int64_t now)
{
	if (!use->waiting)
		use->waiting = alloc_zeroed(SLOTS, sizeof use->waiting[0]);
	if (!use->waiting) {
		use->dropped++;
		return 0;
	}
	struct use_entry *e = &use->waiting[slot_of(use->waiting, inode)];
	if (!e->inode && use->count == USE_MAX) {
		use->dropped++;
		return 0;
	}
	if (e->inode && now >= e->last_ns && now - e->last_ns < USE_ONCE_MS * 1000000ll)
		return 0;
	use->count += !e->inode;
	e->inode = inode;
	e->count++;
	e->last_ns = now;
	use->counted++;
	return 1;
}

OWN_FRAME void use_note(struct memory *mem, const uint64_t *inodes, unsigned count)
{
	struct memory_use *use = &mem->use;
	uint64_t together[TOGETHER_BEST];
	int64_t now = now_real_ns();
	unsigned best = 0, counted = 0;

	if (!is_on(mem) || !use->alarm)
		return;
	for (unsigned i = 0; i < count; i++) {
		if (!learns(mem, inodes[i]))
			continue;
		pthread_mutex_lock(&use->lock);
		counted += (unsigned)entry_count(use, inodes[i], now);
		pthread_mutex_unlock(&use->lock);
		if (best < TOGETHER_BEST)
			together[best++] = inodes[i];
	}
	if (!counted) /* all of it is the question of a moment ago */
		return;
	together_note(mem, together, best);
	bridge_periodic_at(use->alarm, bridge_now_ns() + USE_WRITE_S * 1000000000ull);
}

OWN_FRAME void use_note_answer(struct memory *mem, uint64_t asked,
			       const struct memory_answer *answer)
{
	uint64_t inodes[1 + USE_BEST];
	unsigned count = 0;

	if (!is_on(mem))
		return;
	if (asked)
		inodes[count++] = asked;
	for (uint32_t i = 0; i < answer->count && i < USE_BEST; i++)
		inodes[count++] = answer->results[i].inode;
	use_note(mem, inodes, count);
}

void use_drop(struct memory *mem, uint64_t inode)
{
	struct memory_use *use = &mem->use;

	pthread_mutex_lock(&use->lock);
	if (use->waiting) {
		struct use_entry *e = &use->waiting[slot_of(use->waiting, inode)];
		e->count = 0; /* its slot stays, for those that lie behind it */
	}
	pthread_mutex_unlock(&use->lock);
}

void use_read_stats(struct memory *mem, struct use_stats *out)
{
	struct memory_use *use = &mem->use;

	*out = (struct use_stats){0};
	pthread_mutex_lock(&use->lock);
	out->counted = use->counted;
	out->dropped = use->dropped;
	out->waiting = use->count;
	pthread_mutex_unlock(&use->lock);
	together_read_stats(mem, out);
}

/* ---- records ---- */

static int record_get(struct memory *mem, uint64_t inode, struct names_use *out)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_USE);
	size_t length = 0;
	int rc = mneme_get(mem->engine, &key, out, sizeof *out, &length);

	if (rc < 0 || length != sizeof *out)
		*out = (struct names_use){0};
	return rc == -ENOENT ? 0 : rc;
}

/* What the store has, and what waits. */
static void use_read(struct memory *mem, uint64_t inode, struct names_use *out)
{
	struct memory_use *use = &mem->use;

	if (record_get(mem, inode, out) < 0)
		return;
	pthread_mutex_lock(&use->lock);
	if (use->waiting) {
		const struct use_entry *e = &use->waiting[slot_of(use->waiting, inode)];
		out->count += e->count;
		if (e->count && e->last_ns > out->last_ns)
			out->last_ns = e->last_ns;
	}
	pthread_mutex_unlock(&use->lock);
}

/* An inode that has no name any more gets no record: it would stay behind. */
OWN_FRAME static int entry_write(struct mneme_txn *txn, const struct use_entry *e)
{
	struct mneme_key key = names_key(e->inode, MNEME_TYPE_INODE);
	struct names_inode inode;
	struct names_use record;
	size_t length = 0;
	int rc = mneme_txn_get(txn, &key, &inode, sizeof inode, &length);

	if (rc < 0 || !inode.nlink || !e->count)
		return rc == -ENOENT ? 0 : rc;
	key = names_key(e->inode, MNEME_TYPE_USE);
	rc = mneme_txn_get(txn, &key, &record, sizeof record, &length);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc < 0 || length != sizeof record)
		record = (struct names_use){0};
	record.count += e->count;
	if (e->last_ns > record.last_ns)
		record.last_ns = e->last_ns;
	return mneme_txn_put(txn, &key, &record, sizeof record);
}

/* Entries of one shard. */
static int batch_write(struct memory *mem, const struct use_entry *list, uint32_t count)
{
	int rc = -EAGAIN;

	for (int i = 0; i < TRIES && rc == -EAGAIN; i++) {
		struct mneme_txn *txn;
		rc = mneme_txn_begin_locked(mem->engine, 0, &list[0].inode, 1, &txn);
		for (uint32_t k = 0; k < count && rc == 0; k++) {
			rc = entry_write(txn, &list[k]);
			if (rc < 0)
				mneme_txn_abort(txn);
		}
		if (rc == 0)
			rc = mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT);
	}
	return rc;
}

static _Thread_local uint64_t shard_mask; /* of the comparison */

static int compare_shards(const void *a, const void *b)
{
	const struct use_entry *x = a, *y = b;
	uint64_t p = x->inode & shard_mask, q = y->inode & shard_mask;

	if (p != q)
		return p < q ? -1 : 1;
	return (x->inode > y->inode) - (x->inode < y->inode);
}

static void table_write(struct memory *mem, struct use_entry *table)
{
	struct memory_use *use = &mem->use;
	uint32_t count = 0, end;

	for (uint32_t i = 0; i < SLOTS; i++)
		if (table[i].inode)
			table[count++] = table[i];
	shard_mask = mneme_shards(mem->engine) - 1;
	qsort(table, count, sizeof table[0], compare_shards);
	for (uint32_t at = 0; at < count; at = end) {
		for (end = at + 1; end < count && end - at < BATCH &&
				   !((table[end].inode ^ table[at].inode) & shard_mask);
		     end++)
			;
		if (batch_write(mem, table + at, end - at) < 0) {
			pthread_mutex_lock(&use->lock);
			use->dropped += end - at;
			pthread_mutex_unlock(&use->lock);
		}
	}
}

static void write_waiting(void *arg, int status)
{
	struct memory *mem = arg;
	struct memory_use *use = &mem->use;

	(void)status;
	pthread_mutex_lock(&use->lock);
	struct use_entry *table = use->waiting;
	use->waiting = NULL;
	use->count = 0;
	pthread_mutex_unlock(&use->lock);
	if (table)
		table_write(mem, table);
	alloc_free(table);
	together_write(mem);
}

int use_start(struct memory *mem)
{
	struct bridge *bridge = background_bridge(mem->engine);

	pthread_mutex_init(&mem->use.lock, NULL);
	flag_load(mem, &mem->use.on, &on_key);
	flag_load(mem, &mem->use.described, &described_key);
	if (mem->read_only)
		return 0;
	return bridge ? bridge_periodic_new(bridge, 0, BRIDGE_LOW, write_waiting, mem,
					    &mem->use.alarm)
		      : -EINVAL;
}

void use_stop(struct memory *mem)
{
	if (!mem->use.alarm)
		return;
	bridge_periodic_stop(mem->use.alarm);
	mem->use.alarm = NULL;
	write_waiting(mem, 0);
}

/* ---- activation ---- */

static int is_pinned(struct memory *mem, uint64_t inode)
{
	char value[MEMORY_SETTING_MAX];

	return memory_setting_get(mem, inode, MEMORY_PINNED, value) == 0;
}

void use_describe(struct memory *mem, uint64_t inode, double *confidence, int *pinned)
{
	int described = atomic_load_explicit(&mem->use.described, memory_order_relaxed);

	*confidence = described ? confidence_of(mem, inode) : 1;
	*pinned = described && is_pinned(mem, inode);
}

OWN_FRAME static double activation_of(struct memory *mem, uint64_t inode, double days, int64_t now)
{
	double confidence = confidence_of(mem, inode);
	struct names_inode record;
	struct names_use use;

	if (!days || isinf(days) || is_pinned(mem, inode) ||
	    memory_inode(mem->engine, inode, &record) < 0)
		return confidence;
	use_read(mem, inode, &use);
	int64_t last = record.mtime_ns > use.last_ns ? record.mtime_ns : use.last_ns;
	double age = now > last ? (double)(now - last) / DAY_NS : 0;
	return confidence * exp2(-age / (days * (1 + log1p((double)use.count))));
}

/* The half-lives of directories that were looked up for one ranking. */
struct places {
	struct {
		uint64_t directory;
		double days;
	} known[PLACES];
};

static double decay_known(struct memory *mem, uint64_t inode, struct places *places)
{
	uint64_t directory = memory_parent(mem, inode);
	unsigned at = (unsigned)(directory * 0x9e3779b97f4a7c15u >> 32) % PLACES;

	if (!directory)
		return 0;
	if (places->known[at].directory != directory) {
		places->known[at].days = decay_of(mem, directory);
		places->known[at].directory = directory;
	}
	return places->known[at].days;
}

int use_rank(struct memory *mem, struct fuse_hit *hits, unsigned count)
{
	struct places *places = is_on(mem) && count ? alloc_zeroed(1, sizeof *places) : NULL;
	int64_t now = now_real_ns();
	int fades = 0;

	for (unsigned i = 0; i < count && places; i++) {
		double days = decay_known(mem, hits[i].owner, places);
		if (!days)
			continue;
		float part = (float)(1 + activation_of(mem, hits[i].owner, days, now)) / 2;
		float score = hits[i].score > 0 ? hits[i].score * part : hits[i].score / part;
		hits[i].fade_part = score - hits[i].score;
		hits[i].score = score;
		fades = 1;
	}
	alloc_free(places);
	if (fades)
		fuse_sort(hits, count);
	return fades;
}

/* ---- what is shown ---- */

static void time_show(int64_t ns, char *text, size_t size)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

int memory_use_describe(struct memory *mem, uint64_t inode, const char *name, char *text,
			size_t size)
{
	struct names_inode record;
	struct names_use use;
	int rc = memory_inode(mem->engine, inode, &record);

	if (rc < 0)
		return rc;
	use_read(mem, inode, &use);
	if (!strcmp(name, MEMORY_CONFIDENCE)) {
		snprintf(text, size, "%g", confidence_of(mem, inode));
	} else if (!strcmp(name, MEMORY_ACTIVATION)) {
		snprintf(text, size, "%.4f",
			 activation_of(mem, inode, decay_of(mem, inode), now_real_ns()));
	} else if (!strcmp(name, MEMORY_CREATED)) {
		time_show(record.btime_ns, text, size);
	} else if (!strcmp(name, MEMORY_ACCESS_COUNT)) {
		snprintf(text, size, "%llu", (unsigned long long)use.count);
	} else if (strcmp(name, MEMORY_LAST_ACCESS)) {
		return -ENOENT;
	} else if (!use.last_ns) {
		return -ENODATA;
	} else {
		time_show(use.last_ns, text, size);
	}
	return 0;
}
