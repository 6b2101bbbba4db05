/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   finds what does not fit together among names and inodes; see check_names.h.
 * Invariants: keys come in order, so all of an inode are seen together, its record first. Whatever
 *            another inode must know of it is looked up. A repair changes what was found wrong; the
 *            passes are repeated until one finds nothing, PASSES_MAX times at most.
 */
#include "core/store/check_names.h"
#include "core/store/check_names_inside.h"
#include "core/store/store.h"
#include "pool/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { PASSES_MAX = 6, CLIMB_MAX = 1 << 20 };

void names_find(struct names_check *n, int repair, const char *format, ...)
{
	char text[MNEME_MESSAGE_SIZE];
	va_list list;

	n->result->findings++;
	n->result->repaired += repair == 0;
	n->pass_findings++;
	if (!n->report)
		return;
	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	n->report(n->arg, text, repair == 0);
}

int names_has(struct names_check *n, const struct mneme_key *key)
{
	size_t length;

	return mneme_get(n->m, key, NULL, 0, &length) == 0;
}

int names_record(struct names_check *n, uint64_t inode, struct names_inode *out)
{
	struct mneme_key key = names_key(inode, MNEME_TYPE_INODE);
	size_t length = 0;
	int rc = mneme_get(n->m, &key, out, sizeof *out, &length);

	return rc == -ERANGE || (rc == 0 && length != sizeof *out) ? -EUCLEAN : rc;
}

int names_entry(struct names_check *n, uint64_t directory, uint64_t position,
		struct names_dentry *out, char *name)
{
	uint8_t sub[8], value[NAMES_VALUE_KEPT];
	struct mneme_key key = names_key_number(directory, MNEME_TYPE_DENTRY, position, sub);
	size_t length = 0;
	int rc = mneme_get(n->m, &key, value, sizeof value, &length);

	if (rc == -ERANGE || (rc == 0 && length < sizeof *out))
		return -EUCLEAN;
	if (rc < 0)
		return rc;
	memcpy(out, value, sizeof *out);
	if (name)
		memcpy(name, value + sizeof *out, length - sizeof *out);
	return length == sizeof *out + out->name_length ? 0 : -EUCLEAN;
}

/* ---- rows ---- */

static void see_record(struct names_check *n, const struct names_row *row)
{
	struct names_seen *s = &n->seen;

	memcpy(&s->record, row->value, sizeof s->record);
	s->has_record = row->value_length == sizeof s->record && row->key.sub_length == 0 &&
			(s->record.mode & S_IFMT) != 0;
}

static void see_parent(struct names_check *n, const struct names_row *row)
{
	struct names_seen *s = &n->seen;
	struct names_dentry entry;

	if (row->key.sub_length == 16) {
		uint64_t directory = names_get_be64(row->sub);
		uint64_t position = names_get_be64(row->sub + 8);
		if (names_entry(n, directory, position, &entry, NULL) == 0 &&
		    entry.inode == row->key.inode) {
			if (!s->parents++) {
				s->parent_directory = directory;
				s->parent_position = position;
			}
			return;
		}
	}
	if (!n->records_only)
		names_find(n, REPAIR(n, names_delete(n, &row->key)),
			   "inode %llu refers to a name that is not there, or is another's",
			   (unsigned long long)row->key.inode);
}

/* What is wrong with a directory entry in itself; NULL if nothing. */
static const char *entry_problem(const struct names_check *n, const struct names_row *row,
				 const struct names_dentry *entry)
{
	const char *name = (const char *)row->value + sizeof *entry;
	const struct names_seen *s = &n->seen;
	uint8_t length = entry->name_length;

	if (row->key.sub_length != 8 || row->value_length != sizeof *entry + length || !length)
		return "is no entry";
	if (memchr(name, '/', length) || memchr(name, 0, length) ||
	    (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'))))
		return "has a name that is none";
	uint64_t position = names_get_be64(row->sub);
	if ((position & ~0xffull) != names_position(n->uuid, name, length))
		return "lies under the hash of another name";
	if (s->last_position >> 8 == position >> 8 && s->last_name_length == length &&
	    !memcmp(s->last_name, name, length))
		return "is there twice";
	return NULL;
}

/* The entry and the inode it names must know each other. */
static void check_target(struct names_check *n, const struct names_row *row,
			 const struct names_dentry *entry, const struct names_inode *target)
{
	struct names_seen *s = &n->seen;
	const char *name = (const char *)row->value + sizeof *entry;
	uint8_t sub[16], value[NAMES_VALUE_KEPT];
	struct mneme_key parent =
		names_key_parent(entry->inode, s->inode, names_get_be64(row->sub), sub);

	s->entries++;
	s->subdirectories += S_ISDIR(target->mode);
	if (!names_has(n, &parent))
		names_find(n, REPAIR(n, names_put_empty(n, &parent)),
			   "directory %llu: inode %llu does not refer back to its name '%.*s'",
			   (unsigned long long)s->inode, (unsigned long long)entry->inode,
			   entry->name_length, name);
	if (entry->type == (target->mode & S_IFMT) >> 12)
		return;
	struct names_dentry right = *entry;
	right.type = (target->mode & S_IFMT) >> 12;
	memcpy(value, row->value, sizeof value);
	memcpy(value, &right, sizeof right);
	names_find(n,
		   REPAIR(n, mneme_put(n->m, &row->key, value, row->value_length,
				       MNEME_DURABILITY_DEFAULT)),
		   "directory %llu: '%.*s' has the type of another kind of file",
		   (unsigned long long)s->inode, entry->name_length, name);
}

static void see_entry(struct names_check *n, const struct names_row *row)
{
	struct names_seen *s = &n->seen;
	struct names_dentry entry;
	struct names_inode target;

	memcpy(&entry, row->value, sizeof entry);
	if (n->records_only) {
		s->entries++;
		return;
	}
	const char *problem = entry_problem(n, row, &entry);
	if (!problem && names_record(n, entry.inode, &target) < 0)
		problem = "leads to an inode that is not there";
	if (!problem) {
		s->last_position = names_get_be64(row->sub);
		s->last_name_length = entry.name_length;
		memcpy(s->last_name, row->value + sizeof entry, entry.name_length);
		check_target(n, row, &entry, &target);
		return;
	}
	int done = REPAIR(n, names_delete(n, &row->key));
	s->dropped += done == 0;
	s->entries += done != 0;
	names_find(n, done, "directory %llu: the entry '%.*s' %s", (unsigned long long)s->inode,
		   row->value_length > sizeof entry ? (int)(row->value_length - sizeof entry) : 0,
		   (const char *)row->value + sizeof entry, problem);
}

static void see_orphan(struct names_check *n, const struct names_row *row)
{
	struct names_inode record;

	if (n->records_only)
		return;
	if (row->key.sub_length == 8 && names_record(n, names_get_be64(row->sub), &record) == 0 &&
	    record.nlink == 0)
		return;
	names_find(n, REPAIR(n, names_delete(n, &row->key)),
		   "an inode that is there no more, or has names, is marked for removal");
}

/* ---- inodes ---- */

/* Whether a directory hangs below the root: follows the records upwards. */
static int is_connected(struct names_check *n, uint64_t inode)
{
	struct names_inode record;

	for (uint32_t i = 0; i < CLIMB_MAX; i++) {
		if (inode == n->root)
			return 1;
		if (names_record(n, inode, &record) < 0 || !S_ISDIR(record.mode))
			return 0;
		inode = record.parent;
	}
	return 0;
}

/* Compares one number of the record; `right` is what was counted. */
static int number_differs(struct names_check *n, const char *what, uint64_t is, uint64_t right,
			  int expected)
{
	if (is == right)
		return 0;
	if (!expected) /* it differs because of a repair that was just made */
		names_find(n, names_repairs(n) ? 0 : 1, "inode %llu: %s is %llu, it should be %llu",
			   (unsigned long long)n->seen.inode, what, (unsigned long long)is,
			   (unsigned long long)right);
	return 1;
}

static int check_numbers(struct names_check *n, struct names_inode *fixed)
{
	struct names_seen *s = &n->seen;
	const struct names_inode *r = &s->record;
	int is_root = s->inode == n->root, expected = s->dropped != 0, differs = 0;

	*fixed = *r;
	if (S_ISDIR(r->mode)) {
		fixed->nlink = 2 + (uint32_t)s->subdirectories;
		fixed->size = s->entries;
		fixed->parent = is_root ? n->root : s->parent_directory;
		differs |= number_differs(n, "the directory above", r->parent, fixed->parent, 0);
		differs |=
			number_differs(n, "the number of entries", r->size, fixed->size, expected);
	} else {
		fixed->nlink = (uint32_t)s->parents;
		if (S_ISLNK(r->mode))
			fixed->size = s->target_length;
		differs |= number_differs(n, "the length", r->size, fixed->size, 0);
		fixed->allocated = s->allocated;
		differs |= number_differs(n, "the allocated size", r->allocated, s->allocated,
					  expected);
	}
	if (s->ranges)
		fixed->state |= NAMES_HAS_UNWRITTEN;
	differs |= number_differs(n, "the state", r->state, fixed->state, 0);
	differs |= number_differs(n, "the link count", r->nlink, fixed->nlink,
				  expected && S_ISDIR(r->mode));
	return differs;
}

static void check_place(struct names_check *n)
{
	struct names_seen *s = &n->seen;
	uint8_t sub[8];
	struct mneme_key orphan =
		names_key_number(s->inode & (n->shards - 1), MNEME_TYPE_ORPHAN, s->inode, sub);
	int is_root = s->inode == n->root;
	struct names_inode fixed;

	if (!is_root && !s->parents) {
		if (s->record.nlink == 0 && names_has(n, &orphan))
			return; /* goes at the next mount */
		names_find(n, REPAIR(n, names_save(n, s)),
			   "inode %llu (%s of %llu bytes) has no name%s",
			   (unsigned long long)s->inode,
			   S_ISDIR(s->record.mode) ? "a directory" : "a file",
			   (unsigned long long)s->record.size,
			   names_repairs(n) ? ": it is put into lost+found" : "");
		return;
	}
	if (check_numbers(n, &fixed) && names_repairs(n))
		(void)names_put_record(n, s->inode, &fixed); /* the next pass sees the outcome */
	if (is_root || !S_ISDIR(s->record.mode))
		return;
	if (s->parents > 1)
		names_find(n, 1, "directory %llu has more than one name",
			   (unsigned long long)s->inode);
	else if (fixed.parent == s->record.parent && !is_connected(n, s->inode))
		names_find(n, REPAIR(n, names_save(n, s)),
			   "directory %llu does not hang below the root%s",
			   (unsigned long long)s->inode,
			   names_repairs(n) ? ": it is put into lost+found" : "");
}

static void inode_end(struct names_check *n)
{
	struct names_seen *s = &n->seen;

	if (!s->any)
		return;
	if (!s->has_record) {
		names_find(n, REPAIR(n, names_make_record(n, s)),
			   "inode %llu has keys, but no record", (unsigned long long)s->inode);
		return;
	}
	if (n->records_only)
		return;
	if (s->inode / n->shards >=
	    atomic_load_explicit(&n->m->shards[s->inode & (n->shards - 1)].inode_next,
				 memory_order_relaxed))
		names_find(n, REPAIR(n, names_skip_inode(n, s->inode)),
			   "inode %llu has a number that would be handed out again",
			   (unsigned long long)s->inode);
	check_place(n);
}

static void see_row(struct names_check *n, const struct names_row *row)
{
	struct names_seen *s = &n->seen;

	if (row->key.inode < n->shards) {
		if (row->key.type == MNEME_TYPE_ORPHAN)
			see_orphan(n, row);
		else if (row->key.type == MNEME_TYPE_MENTION || row->key.type == MNEME_TYPE_EDGE)
			check_links_row(n, row);
		return;
	}
	if (row->key.type > MNEME_TYPE_UNWRITTEN) {
		check_links_row(n, row);
		return;
	}
	if (!s->any || s->inode != row->key.inode) {
		inode_end(n);
		*s = (struct names_seen){.inode = row->key.inode, .any = 1};
	}
	switch (row->key.type) {
	case MNEME_TYPE_INODE:
		see_record(n, row);
		break;
	case MNEME_TYPE_PARENT:
		see_parent(n, row);
		break;
	case MNEME_TYPE_DENTRY:
		see_entry(n, row);
		break;
	case MNEME_TYPE_SYMLINK:
		s->target_length = row->value_length;
		break;
	case MNEME_TYPE_CHUNK:
		names_see_chunk(n, row);
		break;
	case MNEME_TYPE_UNWRITTEN:
		names_see_range(n, row);
		break;
	default:
		break;
	}
}

/* ---- passes ---- */

static int each_row(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct names_check *n = arg;
	struct names_row *row = &n->rows[n->count++];

	row->key = *key;
	row->key.sub = row->sub;
	memcpy(row->sub, key->sub, key->sub_length);
	row->value_length = length;
	memset(row->value, 0, sizeof(struct names_dentry));
	memcpy(row->value, value, length < sizeof row->value ? length : sizeof row->value);
	row->used = 0;
	if (key->type == MNEME_TYPE_CHUNK)
		for (row->used = length; row->used; row->used--)
			if (((const uint8_t *)value)[row->used - 1])
				break;
	return n->count == NAMES_BATCH;
}

static int scan_shard(struct names_check *n, uint32_t shard)
{
	uint8_t sub[MNEME_SUBKEY_MAX];
	struct mneme_key next = {.inode = shard};
	struct mneme_key last = {.inode = UINT64_MAX - (n->shards - 1) + shard, .type = 0xff};

	n->seen.any = 0;
	n->reserved = 0;
	for (;;) {
		n->count = 0;
		int rc = mneme_scan(n->m, &next, &last, 0, each_row, n);
		if (rc < 0)
			return rc;
		for (uint32_t i = 0; i < n->count; i++)
			see_row(n, &n->rows[i]);
		if (rc == 0)
			break;
		const struct names_row *row = &n->rows[n->count - 1];
		next = row->key;
		next.sub = sub;
		memcpy(sub, row->sub, row->key.sub_length);
		if (!store_key_after(&next)) {
			if (next.inode > UINT64_MAX - n->shards)
				break;
			next = (struct mneme_key){.inode = next.inode + n->shards};
		}
	}
	inode_end(n);
	names_check_reserved(n, shard);
	return 0;
}

static int pass(struct names_check *n)
{
	int rc = 0;

	n->pass_findings = 0;
	for (uint32_t i = 0; i < n->shards && rc == 0; i++)
		rc = scan_shard(n, i);
	return rc;
}

static int check_root(struct names_check *n)
{
	struct names_inode record;
	uint8_t sub[8];
	struct mneme_key first = names_key_number(n->root, MNEME_TYPE_DENTRY, 0, sub);
	int rc = names_record(n, n->root, &record);

	if (rc == 0)
		return S_ISDIR(record.mode) ? 0 : -EUCLEAN;
	if (rc != -ENOENT)
		return rc;
	/* No filesystem was made here, unless there are entries of a root. */
	struct mneme_key last = names_key(n->root, MNEME_TYPE_DENTRY + 1);
	n->count = 0;
	rc = mneme_scan(n->m, &first, &last, 1, each_row, n);
	return rc < 0 ? rc : n->count ? 0 : 1;
}

int check_names(struct mneme *m, unsigned flags, mneme_check_report *report, void *arg,
		struct mneme_check_result *result)
{
	struct names_check *n = alloc_zeroed(1, sizeof *n);
	int rc = -ENOMEM;

	if (!n)
		return rc;
	*n = (struct names_check){.m = m,
				  .flags = flags,
				  .report = report,
				  .arg = arg,
				  .result = result,
				  .shards = mneme_shards(m)};
	n->root = names_root(n->shards);
	mneme_uuid(m, n->uuid);
	n->rows = alloc_get(NAMES_BATCH * sizeof n->rows[0]);
	if (n->rows)
		rc = check_root(n);
	if (rc == 0 && names_repairs(n)) {
		n->records_only = 1;
		rc = pass(n);
		n->records_only = 0;
	}
	for (int i = 0; rc == 0 && i < PASSES_MAX; i++) {
		rc = pass(n);
		if (!names_repairs(n) || !n->pass_findings)
			break;
	}
	alloc_free(n->rows);
	alloc_free(n);
	return rc > 0 ? 0 : rc;
}
