/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   durability of ranges of inodes; see ranges.h.
 * Format:    SETTING of inode 0, sub = first inode (8, big-endian): struct stored_range.
 */
#include "core/store/ranges.h"
#include "core/store/commit.h"

#include <errno.h>
#include <stdio.h>

struct stored_range {
	uint64_t last;
	uint32_t durability;
	uint32_t reserved;
};

/* ---- what is in force ---- */

/* Whether `a` goes before `b` where both hold. */
static int range_precedes(const struct durability_range *a, const struct durability_range *b)
{
	uint64_t a_length = a->last - a->first, b_length = b->last - b->first;

	return a_length != b_length ? a_length < b_length : a->durability > b->durability;
}

/* Under ranges_lock. */
static enum mneme_durability durability_at(const struct mneme *m, uint64_t inode)
{
	const struct durability_range *found = NULL;

	for (int i = 0; i < STORE_RANGES_MAX; i++) {
		const struct durability_range *r = &m->ranges[i];
		if (r->used && inode >= r->first && inode <= r->last &&
		    (!found || range_precedes(r, found)))
			found = r;
	}
	return found ? found->durability : m->durability;
}

enum mneme_durability ranges_durability(struct mneme *m, uint64_t first, uint64_t last,
					enum mneme_durability asked)
{
	if (asked != MNEME_DURABILITY_DEFAULT)
		return asked;
	if (!atomic_load_explicit(&m->ranges_used, memory_order_acquire))
		return m->durability;
	lock_read(&m->ranges_lock);
	enum mneme_durability most = durability_at(m, first);
	/* It changes only where a range begins or ends. */
	for (int i = 0; i < STORE_RANGES_MAX && first < last; i++) {
		const struct durability_range *r = &m->ranges[i];
		uint64_t edges[] = {r->first, r->last + 1};
		for (int k = 0; k < 2 && r->used; k++) {
			if (edges[k] <= first || edges[k] > last)
				continue;
			enum mneme_durability d = durability_at(m, edges[k]);
			most = d > most ? d : most;
		}
	}
	lock_read_done(&m->ranges_lock);
	return most;
}

/* ---- setting ---- */

/* That of `first`, else a free one; NULL: none is free. Only setters change them, one at a time. */
static struct durability_range *range_slot(struct mneme *m, uint64_t first)
{
	struct durability_range *free_range = NULL;

	for (int i = 0; i < STORE_RANGES_MAX; i++) {
		struct durability_range *r = &m->ranges[i];
		if (r->used && r->first == first)
			return r;
		if (!r->used && !free_range)
			free_range = r;
	}
	return free_range;
}

static void range_write(struct mneme *m, struct durability_range *slot,
			struct durability_range range)
{
	lock_write(&m->ranges_lock);
	atomic_fetch_add_explicit(&m->ranges_used, range.used - slot->used, memory_order_release);
	*slot = range;
	lock_write_done(&m->ranges_lock);
}

/* What is in force follows what is stored. */
static int range_set(struct mneme *m, uint64_t first, uint64_t last,
		     enum mneme_durability durability)
{
	struct stored_range stored = {.last = last, .durability = durability};
	struct durability_range *slot = range_slot(m, first);
	uint64_t sub = __builtin_bswap64(first);
	struct mneme_key key = {.type = MNEME_TYPE_SETTING, .sub = &sub, .sub_length = sizeof sub};
	int is_set = slot && slot->used, rc;

	if (durability == MNEME_DURABILITY_DEFAULT) {
		rc = is_set ? mneme_delete(m, &key, MNEME_DURABILITY_STRICT) : 0;
		if (rc == 0 && is_set)
			range_write(m, slot, (struct durability_range){0});
		return rc;
	}
	if (!slot)
		return -ENOSPC;
	rc = mneme_put(m, &key, &stored, sizeof stored, MNEME_DURABILITY_STRICT);
	if (rc == 0)
		range_write(m, slot, (struct durability_range){first, last, durability, 1});
	return rc;
}

int mneme_set_durability(struct mneme *m, uint64_t first, uint64_t last,
			 enum mneme_durability durability)
{
	if (first > last || !commit_durability_is_known(durability))
		return -EINVAL;
	int rc = store_writable(m);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&m->ranges_run);
	rc = range_set(m, first, last, durability);
	pthread_mutex_unlock(&m->ranges_run);
	return rc;
}

/* ---- loading ---- */

static int range_load(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct mneme *m = arg;
	struct stored_range stored;
	uint64_t first;

	if (key->sub_length != sizeof first || length != sizeof stored)
		return 0;
	memcpy(&first, key->sub, sizeof first);
	first = __builtin_bswap64(first);
	memcpy(&stored, value, sizeof stored);
	if (first > stored.last || !stored.durability ||
	    stored.durability > MNEME_DURABILITY_STRICT)
		return 0; /* no setting of this engine's */
	struct durability_range *slot = range_slot(m, first);
	if (!slot)
		return -EUCLEAN;
	range_write(m, slot, (struct durability_range){first, stored.last, stored.durability, 1});
	return 0;
}

int ranges_load(struct mneme *m, struct mneme_error *error)
{
	struct mneme_key first = {.type = MNEME_TYPE_SETTING},
			 last = {.type = MNEME_TYPE_SETTING + 1};
	int rc = mneme_scan(m, &first, &last, 0, range_load, m);

	if (rc < 0 && error)
		snprintf(error->message, sizeof error->message,
			 "the settings cannot be read: %s; fsck.mnemefs tells more", strerror(-rc));
	return rc;
}
