/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   append-only event logs with a hash chain (core/mneme.h).
 * Format:    run R lies in the shard of a hash of its name, inode = shard number.
 *            LOG_HEAD, sub = R: sequence (8), hash (32) of the last event.
 *            LOG, sub = length of R (1), R, sequence (8, big-endian): time (8), hash (32), data.
 *            hash n = SHA-256(hash n-1, sequence, time, data), all integers little-endian; hash 0 is
 *            SHA-256 of the run's name.
 * Invariants: head and event are written in one transaction. Nothing is chained behind a head that is
 *            not that of the run's last event.
 * Threading: all functions are thread-safe.
 * Source:    FIPS 180-4 (SHA-256), by the nettle library.
 */
#include "core/mneme.h"
#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <string.h>
#include <time.h>

enum { RUN_MAX = 255, EVENT_HEAD = 8 + MNEME_HASH_SIZE, REPLAY_BATCH = 32 };

struct log_head {
	uint64_t sequence;
	uint8_t hash[MNEME_HASH_SIZE];
};

static uint64_t run_inode(const struct mneme *m, const void *run, size_t length)
{
	return crc32c(0, run, length) & (mneme_shards(m) - 1);
}

static uint16_t event_sub(const void *run, size_t length, uint64_t sequence, uint8_t *sub)
{
	uint64_t big = __builtin_bswap64(sequence);

	sub[0] = length;
	memcpy(sub + 1, run, length);
	memcpy(sub + 1 + length, &big, 8);
	return 1 + length + 8;
}

static void hash_first(const void *run, size_t length, uint8_t *hash)
{
	struct sha256_ctx c;

	sha256_init(&c);
	sha256_update(&c, length, run);
	sha256_digest(&c, MNEME_HASH_SIZE, hash);
}

/* hash becomes that of the next event. */
static void hash_next(uint8_t *hash, uint64_t sequence, uint64_t time_ns, const void *data,
		      size_t length)
{
	struct sha256_ctx c;

	sha256_init(&c);
	sha256_update(&c, MNEME_HASH_SIZE, hash);
	sha256_update(&c, sizeof sequence, (const uint8_t *)&sequence);
	sha256_update(&c, sizeof time_ns, (const uint8_t *)&time_ns);
	sha256_update(&c, length, data);
	sha256_digest(&c, MNEME_HASH_SIZE, hash);
}

struct append {
	const void *run, *data;
	size_t run_length, length;
	uint64_t inode, time_ns;
	struct log_head head; /* out */
};

/* The keys of the run's events from `sequence` on; the sub-keys have 1 + RUN_MAX + 8 bytes. */
static void events_from(uint64_t inode, const void *run, size_t length, uint64_t sequence,
			uint8_t *first_sub, uint8_t *last_sub, struct mneme_key *first,
			struct mneme_key *last)
{
	*first = *last = (struct mneme_key){.inode = inode, .type = MNEME_TYPE_LOG};
	first->sub = first_sub;
	first->sub_length = event_sub(run, length, sequence, first_sub);
	last->sub = last_sub;
	last->sub_length = event_sub(run, length, UINT64_MAX, last_sub);
}

static int event_decode(const struct mneme_key *key, const void *value, size_t length,
			struct mneme_log_event *event)
{
	const uint8_t *bytes = value;
	uint64_t big;

	if (length < EVENT_HEAD || key->sub_length < 10)
		return -EUCLEAN;
	memcpy(&big, (const uint8_t *)key->sub + key->sub_length - 8, 8);
	event->sequence = __builtin_bswap64(big);
	memcpy(&event->time_ns, bytes, 8);
	memcpy(event->hash, bytes + 8, MNEME_HASH_SIZE);
	event->data = bytes + EVENT_HEAD;
	event->length = length - EVENT_HEAD;
	return 0;
}

struct tail {
	const struct log_head *head;
	uint64_t seen;
};

static int tail_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct tail *t = arg;
	struct mneme_log_event event;
	int rc = event_decode(key, value, length, &event);

	if (rc < 0)
		return rc;
	return t->seen++ || event.sequence != t->head->sequence ||
			       memcmp(event.hash, t->head->hash, MNEME_HASH_SIZE)
		       ? -EUCLEAN
		       : 0;
}

/* -EUCLEAN if the head is not that of the run's last event. */
static int tail_check(struct mneme_txn *txn, const struct append *a)
{
	/* not on the stack: handlers have 3 KiB, and the scan is below */
	static _Thread_local uint8_t first_sub[1 + RUN_MAX + 8], last_sub[1 + RUN_MAX + 8];
	struct tail t = {.head = &a->head};
	struct mneme_key first, last;

	events_from(a->inode, a->run, a->run_length, a->head.sequence, first_sub, last_sub, &first,
		    &last);
	int rc = mneme_txn_scan(txn, &first, &last, 2, tail_each, &t);
	return rc == 0 && t.seen != (a->head.sequence != 0) ? -EUCLEAN : rc;
}

static int append_body(struct mneme_txn *txn, struct append *a)
{
	struct mneme_key head_key = {.inode = a->inode,
				     .type = MNEME_TYPE_LOG_HEAD,
				     .sub = a->run,
				     .sub_length = a->run_length};
	uint8_t sub[1 + RUN_MAX + 8], event[EVENT_HEAD];
	size_t length;
	int rc = mneme_txn_get(txn, &head_key, &a->head, sizeof a->head, &length);

	if (rc == -ENOENT) {
		a->head.sequence = 0;
		hash_first(a->run, a->run_length, a->head.hash);
	} else if (rc == -ERANGE || (rc == 0 && length != sizeof a->head)) {
		return -EUCLEAN;
	} else if (rc < 0) {
		return rc;
	}
	rc = tail_check(txn, a);
	if (rc < 0)
		return rc;
	a->head.sequence++;
	hash_next(a->head.hash, a->head.sequence, a->time_ns, a->data, a->length);
	memcpy(event, &a->time_ns, 8);
	memcpy(event + 8, a->head.hash, MNEME_HASH_SIZE);
	struct mneme_key key = {.inode = a->inode, .type = MNEME_TYPE_LOG, .sub = sub};
	key.sub_length = event_sub(a->run, a->run_length, a->head.sequence, sub);
	rc = mneme_txn_put_parts(txn, &key, event, sizeof event, a->data, a->length);
	return rc < 0 ? rc : mneme_txn_put_borrowed(txn, &head_key, &a->head, sizeof a->head);
}

int mneme_log_append(struct mneme *m, const void *run, size_t run_length, const void *data,
		     size_t length, uint64_t *sequence, enum mneme_durability durability)
{
	struct append a = {.run = run, .run_length = run_length, .data = data, .length = length};
	struct timespec t;
	int rc;

	if (!run || run_length == 0 || run_length > RUN_MAX || (length && !data))
		return -EINVAL;
	if (length > MNEME_VALUE_MAX - EVENT_HEAD)
		return -E2BIG;
	a.inode = run_inode(m, run, run_length);
	clock_gettime(CLOCK_REALTIME, &t);
	a.time_ns = t.tv_sec * 1000000000ull + t.tv_nsec;
	do {
		struct mneme_txn *txn;
		rc = mneme_txn_begin_locked(m, 0, &a.inode, 1, &txn);
		if (rc < 0)
			return rc;
		rc = append_body(txn, &a);
		if (rc < 0) {
			mneme_txn_abort(txn);
			return rc;
		}
		rc = mneme_txn_commit(txn, durability);
	} while (rc == -EAGAIN);
	if (rc == 0 && sequence)
		*sequence = a.head.sequence;
	return rc;
}

/* ---- reading ---- */

struct walk {
	mneme_log_each *each;
	void *arg;
	uint64_t seen;
};

static int walk_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct walk *w = arg;
	struct mneme_log_event event;
	int rc = event_decode(key, value, length, &event);

	w->seen++;
	return rc < 0 ? rc : w->each(w->arg, &event);
}

static int run_read_head(struct mneme *m, const void *run, size_t run_length, struct log_head *head)
{
	size_t length;

	if (!run || run_length == 0 || run_length > RUN_MAX)
		return -EINVAL;
	struct mneme_key key = {.inode = run_inode(m, run, run_length),
				.type = MNEME_TYPE_LOG_HEAD,
				.sub = run,
				.sub_length = run_length};
	int rc = mneme_get(m, &key, head, sizeof *head, &length);
	return rc == -ERANGE || (rc == 0 && length != sizeof *head) ? -EUCLEAN : rc;
}

int mneme_log_replay(struct mneme *m, const void *run, size_t run_length, uint64_t sequence,
		     mneme_log_each *each, void *arg)
{
	/* not on the stack: handlers have 3 KiB, and the scan and SHA-256 are below */
	static _Thread_local uint8_t first_sub[1 + RUN_MAX + 8], last_sub[1 + RUN_MAX + 8];
	struct walk w = {.each = each, .arg = arg};
	struct mneme_key first, last;
	struct log_head head;
	int headless, rc = each ? run_read_head(m, run, run_length, &head) : -EINVAL;

	headless = rc == -ENOENT;
	if (rc < 0 && !headless)
		return rc;
	events_from(run_inode(m, run, run_length), run, run_length, sequence, first_sub, last_sub,
		    &first, &last);
	rc = mneme_scan(m, &first, &last, 0, walk_each, &w);
	return rc == 0 && headless && !w.seen ? -ENOENT : rc;
}

struct verify {
	struct log_head head; /* as it was before the events were read */
	uint8_t hash[MNEME_HASH_SIZE];
	uint64_t count, bad;
};

/* The first `count` events fit: does the head, if it is that of the last of them? */
static int verify_head(struct verify *v)
{
	if (v->count != v->head.sequence || !v->count ||
	    !memcmp(v->hash, v->head.hash, MNEME_HASH_SIZE))
		return 0;
	v->bad = v->count;
	return -EUCLEAN;
}

static int verify_each(void *arg, const struct mneme_log_event *event)
{
	struct verify *v = arg;

	hash_next(v->hash, v->count + 1, event->time_ns, event->data, event->length);
	if (event->sequence != v->count + 1 || memcmp(v->hash, event->hash, MNEME_HASH_SIZE)) {
		v->bad = v->count + 1;
		return -EUCLEAN;
	}
	v->count++;
	return verify_head(v);
}

/* Appends go on meanwhile, each with its head: so the events must reach the head that was read before
 * them, and a head that is read behind them must reach the events. */
static int verify_ends(struct mneme *m, const void *run, size_t run_length, struct verify *v)
{
	struct log_head now = {0};

	if (v->count < v->head.sequence) {
		v->bad = v->count + 1;
		return -EUCLEAN;
	}
	int rc = v->count > v->head.sequence ? run_read_head(m, run, run_length, &now) : 0;
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (v->count > v->head.sequence && now.sequence < v->count) {
		v->bad = now.sequence + 1;
		return -EUCLEAN;
	}
	return 0;
}

int mneme_log_verify(struct mneme *m, const void *run, size_t run_length, uint64_t *count,
		     uint64_t *bad)
{
	struct verify v = {.bad = 1};
	int rc = run_read_head(m, run, run_length, &v.head);

	if (rc == 0 && !v.head.sequence)
		rc = -EUCLEAN;
	if (rc == -ENOENT)
		v.head.sequence = 0;
	if (rc == 0 || rc == -ENOENT) {
		hash_first(run, run_length, v.hash);
		rc = mneme_log_replay(m, run, run_length, 1, verify_each, &v);
	}
	if (rc == 0)
		rc = verify_ends(m, run, run_length, &v);
	if (count)
		*count = v.count;
	if (bad && rc == -EUCLEAN)
		*bad = v.bad;
	return rc;
}

struct runs {
	mneme_log_run *each;
	void *arg;
};

static int runs_each(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct runs *r = arg;
	struct log_head head;

	if (length != sizeof head)
		return -EUCLEAN;
	memcpy(&head, value, sizeof head);
	return r->each(r->arg, key->sub, key->sub_length, head.sequence);
}

int mneme_log_runs(struct mneme *m, mneme_log_run *each, void *arg)
{
	struct runs r = {each, arg};
	int rc = each ? 0 : -EINVAL;

	for (uint32_t shard = 0; shard < mneme_shards(m) && rc == 0; shard++) {
		struct mneme_key first = {.inode = shard, .type = MNEME_TYPE_LOG_HEAD};
		struct mneme_key last = {.inode = shard, .type = MNEME_TYPE_LOG_HEAD + 1};
		rc = mneme_scan(m, &first, &last, 0, runs_each, &r);
	}
	return rc;
}
