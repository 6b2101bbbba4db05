/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   finds what does not fit together among a file's chunks, the ranges of those that room is set
 *            aside for, and how much a shard has set aside; see check_names_inside.h.
 * Invariants: an inode's chunks come before its ranges. What is repaired takes room that was set aside
 *            away, never bytes of a file, but for those behind its end.
 */
#include "core/store/check_names_inside.h"
#include "core/store/store.h"

#include <endian.h>
#include <errno.h>

#define CHUNKS_MAX (NAMES_FILE_SIZE_MAX / MNEME_CHUNK_SIZE)

void names_see_chunk(struct names_check *n, const struct names_row *row)
{
	struct names_seen *s = &n->seen;
	uint64_t index = row->key.sub_length == 8 ? names_get_be64(row->sub) : UINT64_MAX;
	size_t length = row->value_length;

	if (index > CHUNKS_MAX || length > MNEME_CHUNK_SIZE) {
		names_find(n, REPAIR(n, names_delete(n, &row->key)),
			   "inode %llu has bytes at a place where no file has any",
			   (unsigned long long)s->inode);
		return;
	}
	uint64_t start = index * MNEME_CHUNK_SIZE;
	int gone = 0;
	if (s->has_record && s->record.nlink && S_ISREG(s->record.mode) && row->used &&
	    start + row->used > s->record.size) {
		size_t keep = s->record.size > start ? s->record.size - start : 0;
		int cuts = !(n->flags & MNEME_CHECK_LOSE_NOTHING);
		int done = cuts ? REPAIR(n, names_cut_chunk(n, row, keep)) : 1;
		names_find(n, done, "inode %llu has bytes behind its end",
			   (unsigned long long)s->inode);
		if (done == 0) {
			s->dropped++;
			length = keep;
			gone = !keep;
		}
	}
	n->reserved += !row->value_length;
	if (!gone)
		s->allocated += length ? (length + 511) & ~511ull : MNEME_CHUNK_SIZE;
	if (row->used && start + row->used > s->end)
		s->end = start + row->used;
}

static int each_any(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	(void)arg, (void)key, (void)value, (void)length;
	return 1;
}

/* What is wrong with a range; NULL if nothing. */
static const char *range_problem(struct names_check *n, uint64_t first, uint64_t end)
{
	const struct names_seen *s = &n->seen;
	uint8_t first_sub[8], last_sub[8];
	struct mneme_key from = names_key_number(s->inode, MNEME_TYPE_CHUNK, first, first_sub);
	struct mneme_key to = names_key_number(s->inode, MNEME_TYPE_CHUNK, end, last_sub);

	if (first >= end || end > CHUNKS_MAX)
		return "at a place where no file has any bytes";
	if (s->ranges && first <= s->range_end)
		return "twice";
	if (s->has_record && !S_ISREG(s->record.mode))
		return "and is no file";
	if (mneme_scan(n->m, &from, &to, 1, each_any, NULL) > 0)
		return "where it has bytes";
	return NULL;
}

void names_see_range(struct names_check *n, const struct names_row *row)
{
	struct names_seen *s = &n->seen;
	uint64_t first = 0, end = 0;

	if (row->key.sub_length == 8 && row->value_length == sizeof first) {
		memcpy(&first, row->value, sizeof first);
		first = le64toh(first);
		end = names_get_be64(row->sub);
	}
	const char *problem = range_problem(n, first, end);
	if (problem) {
		int done = REPAIR(n, names_delete(n, &row->key));
		names_find(n, done, "inode %llu has room set aside %s",
			   (unsigned long long)s->inode, problem);
		s->dropped += done == 0;
		if (done == 0 || first >= end || end > CHUNKS_MAX)
			return;
	}
	s->ranges++;
	s->range_end = end;
	s->allocated += (end - first) * MNEME_CHUNK_SIZE;
	n->reserved += end - first;
}

void names_check_reserved(struct names_check *n, uint32_t shard)
{
	struct mneme_key key = names_key(shard, MNEME_TYPE_RESERVED);
	uint64_t record = 0;
	size_t length = 0;
	int rc = mneme_get(n->m, &key, &record, sizeof record, &length);

	if (n->records_only ||
	    (rc == -ENOENT ? !n->reserved
			   : rc == 0 && length == sizeof record && le64toh(record) == n->reserved))
		return;
	uint64_t right = htole64(n->reserved);
	names_find(n,
		   REPAIR(n, mneme_put(n->m, &key, &right, sizeof right, MNEME_DURABILITY_DEFAULT)),
		   "shard %u: the room that is set aside is that of %llu chunks, it should be %llu",
		   shard, (unsigned long long)le64toh(record), (unsigned long long)n->reserved);
}
