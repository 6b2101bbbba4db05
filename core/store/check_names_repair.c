/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   the changes that repair names; see check_names_inside.h.
 * Invariants: each function is one transaction, so that a repair which is cut off leaves a store that
 *            can be checked again.
 */
#include "core/store/check_names_inside.h"
#include "core/store/store.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static const char lost_and_found[] = "lost+found";

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int names_put_record(struct names_check *n, uint64_t inode, const struct names_inode *record)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);

	return mneme_put(n->m, &key, record, sizeof *record, MNEME_DURABILITY_DEFAULT);
}

int names_make_record(struct names_check *n, const struct names_seen *seen)
{
	int64_t now = now_ns();
	struct names_inode record = {
		.mode = S_IFREG | 0600,
		.nlink = (uint32_t)seen->parents,
		.size = seen->end,
		.allocated = seen->allocated,
		.atime_ns = now,
		.mtime_ns = now,
		.ctime_ns = now,
		.btime_ns = now,
		.parent = seen->inode == n->root ? n->root : seen->parent_directory,
		.generation = NAMES_GENERATION_MIN,
		.state = seen->ranges ? NAMES_HAS_UNWRITTEN : 0,
	};

	if (seen->entries || seen->inode == n->root) {
		record.mode = S_IFDIR | 0700;
		record.size = seen->entries;
		record.nlink = 2;
	} else if (seen->target_length) {
		record.mode = S_IFLNK | 0777;
		record.size = seen->target_length;
	}
	return names_put_record(n, seen->inode, &record);
}

int names_delete(struct names_check *n, const struct mneme_key *key)
{
	return mneme_delete(n->m, key, MNEME_DURABILITY_DEFAULT);
}

int names_put_empty(struct names_check *n, const struct mneme_key *key)
{
	return mneme_put(n->m, key, "", 0, MNEME_DURABILITY_DEFAULT);
}

int names_cut_chunk(struct names_check *n, const struct names_row *row, uint64_t length)
{
	struct mneme_txn *txn;

	if (!length)
		return names_delete(n, &row->key);
	int rc = mneme_txn_begin(n->m, 0, &txn);
	if (rc < 0)
		return rc;
	rc = mneme_txn_truncate(txn, &row->key, length);
	if (rc < 0) {
		mneme_txn_abort(txn);
		return rc;
	}
	return mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT);
}

int names_skip_inode(struct names_check *n, uint64_t inode)
{
	struct shard *s = &n->m->shards[inode & (n->shards - 1)];

	atomic_store_explicit(&s->inode_next, inode / n->shards + 1, memory_order_relaxed);
	return mneme_checkpoint(n->m);
}

/* ---- lost+found ---- */

/* Where a name is in a directory (*inode is its inode), or where it can go (*inode is 0). */
static int name_place(struct names_check *n, uint64_t directory, const char *name,
		      uint64_t *position, uint64_t *inode)
{
	uint64_t first = names_position(n->uuid, name, strlen(name));
	char present[NAMES_NAME_MAX];
	struct names_dentry entry;

	*inode = 0;
	for (*position = first; *position < first + NAMES_DISCRIMINATORS; ++*position) {
		int rc = names_entry(n, directory, *position, &entry, present);
		if (rc == -ENOENT)
			return 0;
		if (rc < 0)
			return rc;
		if (entry.name_length == strlen(name) && !memcmp(present, name, strlen(name))) {
			*inode = entry.inode;
			return 0;
		}
	}
	return -ENOSPC;
}

struct link {
	uint64_t directory, position, inode;
	const char *name;
	struct names_inode record; /* of the inode */
	uint64_t old_directory;    /* 0: none */
	uint64_t old_position;
};

/* Takes the name that a directory has away. */
static int txn_unlink(struct mneme_txn *txn, const struct link *l)
{
	uint8_t sub[16];
	struct mneme_key key =
		names_key_number(l->old_directory, MNEME_TYPE_DENTRY, l->old_position, sub);
	int rc = mneme_txn_delete(txn, &key);

	if (rc == 0) {
		key = names_key_parent(l->inode, l->old_directory, l->old_position, sub);
		rc = mneme_txn_delete(txn, &key);
	}
	return rc;
}

static int txn_count(struct mneme_txn *txn, uint64_t directory, int entries, int subdirectories)
{
	struct mneme_key key = names_key(directory, MNEME_TYPE_INODE);
	struct names_inode record;
	size_t length;
	int rc = mneme_txn_get(txn, &key, &record, sizeof record, &length);

	if (rc < 0)
		return rc;
	record.size += entries;
	record.nlink += subdirectories;
	record.mtime_ns = record.ctime_ns = now_ns();
	return mneme_txn_put(txn, &key, &record, sizeof record);
}

static int txn_link(struct mneme_txn *txn, const struct link *l)
{
	uint8_t sub[16], value[NAMES_VALUE_KEPT];
	size_t length = strlen(l->name);
	struct names_dentry entry = {.inode = l->inode,
				     .type = (l->record.mode & S_IFMT) >> 12,
				     .name_length = (uint8_t)length};
	struct mneme_key key = names_key_number(l->directory, MNEME_TYPE_DENTRY, l->position, sub);
	int is_dir = S_ISDIR(l->record.mode);

	memcpy(value, &entry, sizeof entry);
	memcpy(value + sizeof entry, l->name, length);
	int rc = mneme_txn_put(txn, &key, value, sizeof entry + length);
	key = names_key_parent(l->inode, l->directory, l->position, sub);
	if (rc == 0)
		rc = mneme_txn_put(txn, &key, "", 0);
	key = names_key(l->inode, MNEME_TYPE_INODE);
	if (rc == 0)
		rc = mneme_txn_put(txn, &key, &l->record, sizeof l->record);
	return rc == 0 ? txn_count(txn, l->directory, 1, is_dir) : rc;
}

static int link_commit(struct names_check *n, const struct link *l)
{
	struct mneme_txn *txn;
	int rc = mneme_txn_begin(n->m, 0, &txn);

	if (rc < 0)
		return rc;
	if (l->old_directory) {
		rc = txn_unlink(txn, l);
		if (rc == 0)
			rc = txn_count(txn, l->old_directory, -1, -1);
	}
	if (rc == 0)
		rc = txn_link(txn, l);
	if (rc == 0)
		return mneme_txn_commit(txn, MNEME_DURABILITY_DEFAULT);
	mneme_txn_abort(txn);
	return rc;
}

/* The inode of /lost+found, which is made if it is not there. */
static int lost_directory(struct names_check *n, uint64_t *inode)
{
	struct link l = {.directory = n->root, .name = lost_and_found};
	int64_t now = now_ns();
	int rc = name_place(n, n->root, lost_and_found, &l.position, inode);

	if (rc < 0 || *inode)
		return rc;
	*inode = l.inode = mneme_inode_new(n->m, 0);
	l.record = (struct names_inode){.mode = S_IFDIR | 0700,
					.nlink = 2,
					.atime_ns = now,
					.mtime_ns = now,
					.ctime_ns = now,
					.btime_ns = now,
					.parent = n->root,
					.generation = NAMES_GENERATION_MIN};
	return link_commit(n, &l);
}

int names_save(struct names_check *n, const struct names_seen *seen)
{
	char name[32];
	uint64_t there;
	struct link l = {.inode = seen->inode,
			 .name = name,
			 .record = seen->record,
			 .old_directory = seen->parents ? seen->parent_directory : 0,
			 .old_position = seen->parent_position};
	int rc = lost_directory(n, &l.directory);

	snprintf(name, sizeof name, "#%llu", (unsigned long long)seen->inode);
	if (rc == 0)
		rc = name_place(n, l.directory, name, &l.position, &there);
	if (rc < 0)
		return rc;
	if (there)
		return -EEXIST;
	l.record.parent = l.directory;
	if (S_ISDIR(l.record.mode)) {
		l.record.nlink = 2 + (uint32_t)seen->subdirectories;
		l.record.size = seen->entries;
	} else {
		l.record.nlink = 1;
		l.record.allocated = seen->allocated;
	}
	return link_commit(n, &l);
}
