/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   versioned key-value pairs on the engine's transactions (core/mneme.h).
 * Format:    a pair lies under (inode = shard number, MNEME_TYPE_KV, key); the shard follows from a
 *            hash of the key, so that pairs spread. Value: version (8 bytes, little-endian), then the
 *            user's bytes.
 * Threading: all functions are thread-safe.
 */
#include "core/mneme.h"
#include "pool/alloc.h"
#include "simd/crc32c.h"

#include <errno.h>
#include <string.h>

enum { VERSION_BYTES = 8 };

static int kv_key(struct mneme *m, const void *key, size_t key_length, struct mneme_key *out)
{
	if (!key || key_length == 0)
		return -EINVAL;
	if (key_length > MNEME_SUBKEY_MAX)
		return -ENAMETOOLONG;
	*out = (struct mneme_key){.inode = crc32c(0, key, key_length) & (mneme_shards(m) - 1),
				  .type = MNEME_TYPE_KV,
				  .sub = key,
				  .sub_length = key_length};
	return 0;
}

struct kv_change {
	const void *value;
	size_t length;
	int checks; /* compare the version first */
	uint64_t expected;
	uint64_t version; /* out */
};

static int kv_change(struct mneme_txn *txn, const struct mneme_key *key, struct kv_change *c)
{
	uint8_t head[VERSION_BYTES];
	uint64_t version = 0;
	const void *present;
	size_t length;
	int rc = mneme_txn_borrow(txn, key, &present, &length);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == 0) {
		if (length < VERSION_BYTES)
			return -EUCLEAN;
		memcpy(&version, present, VERSION_BYTES);
	}
	if (c->checks && version != c->expected)
		return -ESTALE;
	c->version = version + 1;
	memcpy(head, &c->version, VERSION_BYTES);
	return mneme_txn_put_parts(txn, key, head, VERSION_BYTES, c->value, c->length);
}

static int kv_commit(struct mneme *m, const void *key, size_t key_length, struct kv_change *c,
		     uint64_t *version, enum mneme_durability durability)
{
	struct mneme_key k;
	int rc = kv_key(m, key, key_length, &k);

	if (rc < 0)
		return rc;
	if (c->length && !c->value)
		return -EINVAL;
	if (c->length > MNEME_VALUE_MAX - VERSION_BYTES)
		return -E2BIG;
	do {
		struct mneme_txn *txn;
		rc = mneme_txn_begin_locked(m, 0, &k.inode, 1, &txn);
		if (rc < 0)
			return rc;
		rc = kv_change(txn, &k, c);
		if (rc < 0) {
			mneme_txn_abort(txn);
			return rc;
		}
		rc = mneme_txn_commit(txn, durability);
	} while (rc == -EAGAIN);
	if (rc == 0 && version)
		*version = c->version;
	return rc;
}

int mneme_kv_put(struct mneme *m, const void *key, size_t key_length, const void *value,
		 size_t length, uint64_t *version, enum mneme_durability durability)
{
	struct kv_change c = {.value = value, .length = length};

	return kv_commit(m, key, key_length, &c, version, durability);
}

int mneme_kv_swap(struct mneme *m, const void *key, size_t key_length, uint64_t expected,
		  const void *value, size_t length, uint64_t *version,
		  enum mneme_durability durability)
{
	struct kv_change c = {.value = value, .length = length, .checks = 1, .expected = expected};

	return kv_commit(m, key, key_length, &c, version, durability);
}

int mneme_kv_get(struct mneme *m, const void *key, size_t key_length, void *value, size_t capacity,
		 size_t *length, uint64_t *version)
{
	struct mneme_key k;
	const void *seen;
	size_t n;
	int rc = kv_key(m, key, key_length, &k);

	if (rc == 0 && (!length || (capacity && !value)))
		rc = -EINVAL;
	if (rc < 0)
		return rc;
	mneme_view_begin(m, k.inode);
	rc = mneme_view_get(m, &k, &seen, &n);
	if (rc == 0 && n < VERSION_BYTES)
		rc = -EUCLEAN;
	if (rc == 0) {
		*length = n - VERSION_BYTES;
		if (version)
			memcpy(version, seen, VERSION_BYTES);
		if (capacity && *length > capacity)
			rc = -ERANGE;
		else if (capacity && *length)
			memcpy(value, (const uint8_t *)seen + VERSION_BYTES, *length);
	}
	mneme_view_end(m, k.inode);
	return rc;
}

int mneme_kv_delete(struct mneme *m, const void *key, size_t key_length,
		    enum mneme_durability durability)
{
	struct mneme_key k;
	int rc = kv_key(m, key, key_length, &k);

	return rc < 0 ? rc : mneme_delete(m, &k, durability);
}

/* ---- scan: a merge of the shards ---- */

/* The next pair of a shard, copied. Shards are asked one key at a time: scans of pairs are for
 * listing, and this way no lock is held while the caller works. */
struct kv_cursor {
	uint8_t key[MNEME_SUBKEY_MAX + 1];
	uint16_t key_length;
	uint8_t there;
};

struct kv_scan {
	struct kv_cursor cursor[MNEME_SHARDS_MAX];
	uint8_t value[MNEME_VALUE_MAX];
	size_t length;
	uint8_t prefix[MNEME_SUBKEY_MAX];
	size_t prefix_length;
	struct kv_cursor first; /* where every shard begins */
};

static int cursor_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct kv_cursor *c = arg;

	(void)value;
	(void)length;
	memcpy(c->key, key->sub, key->sub_length);
	c->key_length = key->sub_length;
	c->there = 1;
	return 0;
}

/* Finds the first key >= c->key of a shard. */
static int cursor_seek(struct mneme *m, uint32_t shard, const struct kv_scan *scan,
		       struct kv_cursor *c)
{
	struct mneme_key first = {
		.inode = shard, .type = MNEME_TYPE_KV, .sub = c->key, .sub_length = c->key_length};
	struct mneme_key last = {.inode = shard, .type = MNEME_TYPE_KV + 1};

	c->there = 0;
	int rc = mneme_scan(m, &first, &last, 1, cursor_take, c);
	if (rc == 0 && c->there &&
	    (c->key_length < scan->prefix_length ||
	     memcmp(c->key, scan->prefix, scan->prefix_length)))
		c->there = 0;
	return rc;
}

static int cursor_less(const struct kv_cursor *a, const struct kv_cursor *b)
{
	size_t common = a->key_length < b->key_length ? a->key_length : b->key_length;
	int order = memcmp(a->key, b->key, common);

	return order ? order < 0 : a->key_length < b->key_length;
}

/* Turns the cursor's key into the smallest one behind it; one without bytes: there is none. */
static void cursor_step(struct kv_cursor *c)
{
	if (c->key_length < MNEME_SUBKEY_MAX) {
		c->key[c->key_length++] = 0;
		return;
	}
	/* the longest key has no successor of its length: step over by its last byte */
	while (c->key_length && ++c->key[c->key_length - 1] == 0)
		c->key_length--;
}

static int scan_run(struct mneme *m, struct kv_scan *scan, uint64_t limit, mneme_kv_each *each,
		    void *arg)
{
	uint32_t shards = mneme_shards(m);
	int rc = 0;

	for (uint32_t i = 0; i < shards && rc == 0; i++) {
		scan->cursor[i] = scan->first;
		rc = cursor_seek(m, i, scan, &scan->cursor[i]);
	}
	for (uint64_t given = 0; rc == 0 && (!limit || given < limit);) {
		struct kv_cursor *next = NULL;
		uint64_t version;
		for (uint32_t i = 0; i < shards; i++)
			if (scan->cursor[i].there && (!next || cursor_less(&scan->cursor[i], next)))
				next = &scan->cursor[i];
		if (!next)
			return 0;
		rc = mneme_kv_get(m, next->key, next->key_length, scan->value, sizeof scan->value,
				  &scan->length, &version);
		if (rc == 0) {
			given++;
			rc = each(arg, next->key, next->key_length, scan->value, scan->length,
				  version);
		} else if (rc == -ENOENT) { /* deleted since it was found */
			rc = 0;
		}
		cursor_step(next);
		if (!next->key_length)
			next->there = 0;
		else if (rc == 0)
			rc = cursor_seek(m, next - scan->cursor, scan, next);
	}
	return rc;
}

int mneme_kv_scan_after(struct mneme *m, const void *prefix, size_t prefix_length,
			const void *after, size_t after_length, uint64_t limit, mneme_kv_each *each,
			void *arg)
{
	if (prefix_length > MNEME_SUBKEY_MAX || after_length > MNEME_SUBKEY_MAX)
		return -ENAMETOOLONG;
	if (!each || (prefix_length && !prefix) || (after_length && !after))
		return -EINVAL;
	struct kv_scan *scan = alloc_zeroed(1, sizeof *scan);
	if (!scan)
		return -ENOMEM;
	size_t common = prefix_length < after_length ? prefix_length : after_length;
	int order = common ? memcmp(after, prefix, common) : 0;
	int begins_after = after_length && (order > 0 || (!order && after_length >= prefix_length));
	if (prefix_length)
		memcpy(scan->prefix, prefix, prefix_length);
	scan->prefix_length = prefix_length;
	scan->first.key_length = begins_after ? after_length : prefix_length;
	if (scan->first.key_length)
		memcpy(scan->first.key, begins_after ? after : prefix, scan->first.key_length);
	if (begins_after)
		cursor_step(&scan->first);
	int none = begins_after && !scan->first.key_length;
	int rc = none ? 0 : scan_run(m, scan, limit, each, arg);
	alloc_free(scan);
	return rc;
}

int mneme_kv_scan(struct mneme *m, const void *prefix, size_t prefix_length, uint64_t limit,
		  mneme_kv_each *each, void *arg)
{
	return mneme_kv_scan_after(m, prefix, prefix_length, NULL, 0, limit, each, arg);
}
