/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   where in a file an answer lies: the passage, its line, and the words that are shown of it.
 * Invariants: a range is always within the file as it was when it was looked at. A file that was
 *            changed since it was cut into passages is shown by ranges of its bytes as they are now.
 * Threading: no lock of ours; `query` for as long as words are looked for.
 * Failure:   -errno; -ENOENT: the file went away.
 */
#include "core/memory/memory_inside.h"
#include "pool/alloc.h"

#include <errno.h>
#include <string.h>

enum {
	WINDOW = 512,      /* bytes of a range where there are no passages */
	LINE_BEFORE = 256, /* how far before a match its line is looked for */
	SHOWN_BEFORE = 60, /* bytes of a snippet before the match, at most */
	READ_BLOCK = 16 << 10,
};

/* The ranges that a file is divided into, and the lines on which they begin. */
struct division {
	struct memory_range *ranges;
	uint32_t *lines; /* 0: not known */
	uint32_t count, capacity;
	int is_cut; /* by the splitter: ranges are passages */
};

static int division_reserve(struct division *d, uint32_t capacity)
{
	d->ranges = alloc_get(capacity * sizeof *d->ranges);
	d->lines = alloc_zeroed(capacity, sizeof *d->lines);
	d->capacity = capacity;
	return d->ranges && d->lines ? 0 : -ENOMEM;
}

static void division_free(struct division *d)
{
	alloc_free(d->ranges);
	alloc_free(d->lines);
}

static int part_take(void *arg, const struct mneme_key *key, const void *value, size_t length)
{
	struct division *d = arg;
	struct memory_part part;

	if (key->sub_length != 4 || length != sizeof part || d->count == d->capacity)
		return 0;
	memcpy(&part, value, sizeof part);
	d->ranges[d->count] = (struct memory_range){part.begin, part.end};
	d->lines[d->count++] = part.line;
	return 0;
}

static int parts_load(struct memory *mem, uint64_t inode, struct division *d)
{
	struct mneme_key first = names_key(inode, MNEME_TYPE_PASSAGE), last = first;
	int rc = mneme_view_begin(mem->engine, inode);

	if (rc < 0)
		return rc;
	last.type++;
	rc = mneme_view_scan(mem->engine, &first, &last, 0, part_take, d);
	mneme_view_end(mem->engine, inode);
	return rc;
}

static int division_load(struct memory *mem, uint64_t inode, const struct names_inode *record,
			 struct division *d)
{
	static _Thread_local char reason[MEMORY_REASON_MAX + 1];
	struct memory_state state;
	int rc = memory_state_get(mem, inode, &state, reason);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	d->is_cut = rc == 0 && state.version == record->version && state.parts &&
		    state.parts <= MEMORY_PARTS_MAX;
	if (d->is_cut) {
		rc = division_reserve(d, state.parts);
		return rc ? rc : parts_load(mem, inode, d);
	}
	uint64_t size = record->size < MEMORY_FILE_MAX ? record->size : MEMORY_FILE_MAX;
	rc = division_reserve(d, size / WINDOW + 1);
	for (uint64_t at = 0; rc == 0 && at < size; at += WINDOW)
		d->ranges[d->count++] =
			(struct memory_range){at, at + WINDOW < size ? at + WINDOW : size};
	return rc;
}

/* How many lines end in the bytes from `from` to `to`. */
static int lines_count(struct memory *mem, const struct names_inode *record, uint64_t inode,
		       uint64_t from, uint64_t to, uint32_t *count)
{
	char *block = alloc_get(READ_BLOCK);
	int rc = block ? 0 : -ENOMEM;

	*count = 0;
	while (rc == 0 && from < to) {
		uint64_t want = to - from < READ_BLOCK ? to - from : READ_BLOCK;
		int n = memory_read(mem->engine, inode, record->size, from, block, want);
		if (n <= 0) {
			rc = n;
			break;
		}
		for (int i = 0; i < n; i++)
			*count += block[i] == '\n';
		from += n;
	}
	alloc_free(block);
	return rc;
}

/* Lines of the range and of the match, from that of its beginning. */
static int lines_fill(struct memory *mem, const struct names_inode *record, uint64_t match,
		      struct memory_result *r)
{
	uint64_t last = r->end > r->begin ? r->end - 1 : r->end;
	int rc = lines_count(mem, record, r->inode, r->begin, last, &r->line_end);

	r->line_end += r->line;
	r->line_match = 0;
	if (rc == 0 && match != UINT64_MAX && match > r->begin)
		rc = lines_count(mem, record, r->inode, r->begin, match, &r->line_match);
	r->line_match += r->line;
	return rc;
}

/* A range that no splitter made begins with the line of the match. */
static int window_settle(struct memory *mem, const struct names_inode *record, uint64_t match,
			 struct memory_result *r)
{
	char before[LINE_BEFORE];

	if (match != UINT64_MAX) {
		uint64_t from = match > sizeof before ? match - sizeof before : 0;
		int n = memory_read(mem->engine, r->inode, record->size, from, before,
				    match - from);
		while (n > 0 && before[n - 1] != '\n')
			n--;
		r->begin = n > 0 || !from ? from + (n > 0 ? n : 0) : match;
		r->end = r->begin + WINDOW < record->size ? r->begin + WINDOW : record->size;
	}
	int rc = lines_count(mem, record, r->inode, 0, r->begin, &r->line);
	r->line++;
	return rc;
}

/* One line of text from `begin`: white space folded, cut at a character. */
static void snippet_make(struct memory *mem, const struct names_inode *record, uint64_t begin,
			 struct memory_result *r)
{
	char text[MEMORY_SNIPPET_MAX];
	size_t out = 0;

	uint64_t length = r->end - begin;
	int n = memory_read(mem->engine, r->inode, record->size, begin, text,
			    length < sizeof text ? length : sizeof text);
	int at = 0;
	if (begin > r->begin) /* not with the rest of a word */
		while (at < n && (unsigned char)text[at] > ' ')
			at++;
	for (int i = at < n ? at : 0; i < n && out + 1 < sizeof r->snippet; i++) {
		unsigned char c = text[i];
		if (c <= ' ' || c == 0x7f) {
			if (out && r->snippet[out - 1] != ' ')
				r->snippet[out++] = ' ';
		} else {
			r->snippet[out++] = c;
		}
	}
	while (out && ((unsigned char)r->snippet[out - 1] & 0xc0) == 0x80)
		out--;
	if (out && (unsigned char)r->snippet[out - 1] >= 0xc0)
		out--;
	else if (out && n > 0 && out < (size_t)n && (r->snippet[out] & 0xc0) == 0x80)
		r->snippet[out] = 0;
	r->snippet[out] = 0;
}

/* Where in the passages from `first` on the words are. */
static int match_find(struct memory *mem, uint64_t inode, const struct memory_sought *sought,
		      const struct division *d, uint32_t first, uint32_t count,
		      struct memory_match *out)
{
	struct memory_match best = {.at = UINT64_MAX};

	pthread_mutex_lock(&mem->query.lock);
	int rc = memory_words_find(mem, mem->query.words, inode, d->ranges[first + count - 1].end,
				   sought, d->ranges + first, count, &best);
	pthread_mutex_unlock(&mem->query.lock);
	if (rc == 0 && best.at != UINT64_MAX)
		*out = (struct memory_match){first + best.range, best.at};
	return rc;
}

int memory_result_locate(struct memory *mem, const struct memory_sought *sought, int64_t part,
			 struct memory_result *r)
{
	struct memory_match match = {.range = part > 0 ? part : 0, .at = UINT64_MAX};
	struct names_inode record;
	struct division d = {0};
	int rc = memory_inode(mem->engine, r->inode, &record);

	if (rc == 0)
		rc = division_load(mem, r->inode, &record, &d);
	if (rc == 0 && !d.count)
		rc = -ENOENT; /* emptied meanwhile */
	if (rc == 0 && sought->bag->count) {
		int one = d.is_cut && part >= 0 && part < d.count;
		rc = match_find(mem, r->inode, sought, &d, one ? part : 0, one ? 1 : d.count,
				&match);
	}
	if (rc == 0) {
		uint32_t shown = match.range < d.count ? match.range : 0;
		r->part = d.is_cut ? shown : 0;
		r->begin = d.ranges[shown].begin;
		r->end = d.ranges[shown].end;
		r->line = d.lines[shown];
		if (!d.is_cut)
			rc = window_settle(mem, &record, match.at, r);
	}
	if (rc == 0)
		rc = lines_fill(mem, &record, match.at, r);
	if (rc == 0) {
		int far = match.at != UINT64_MAX && match.at - r->begin > 2 * SHOWN_BEFORE;
		snippet_make(mem, &record, far ? match.at - SHOWN_BEFORE : r->begin, r);
	}
	division_free(&d);
	return rc;
}
