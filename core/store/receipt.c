/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see receipt.h.
 */
#include "core/store/receipt.h"
#include "pool/alloc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { FILTER_BITS = 20, LINE_MAX_BYTES = 64 };

static uint64_t rotate(uint64_t x, unsigned by)
{
	return by % 64 ? x << by % 64 | x >> (64 - by % 64) : x;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static void numbers_make(struct mneme_receipt *r)
{
	uint64_t state = r->salt;

	for (int i = 0; i < 256; i++) {
		uint64_t z = state += 0x9e3779b97f4a7c15u;
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		r->numbers[i] = z ^ (z >> 31);
	}
}

static int mark_add(struct mneme_receipt *r, uint64_t mark)
{
	if (r->count == r->capacity) {
		size_t capacity = r->capacity ? 2 * r->capacity : 64;
		uint64_t *more = alloc_resize(r->marks, capacity * sizeof *more);
		if (!more)
			return -ENOMEM;
		r->marks = more;
		r->capacity = capacity;
	}
	r->marks[r->count++] = mark;
	return 0;
}

int mneme_receipt_new(const uint8_t uuid[16], uint64_t memory, size_t length,
		      struct mneme_receipt **out)
{
	struct mneme_receipt *r = uuid && out ? alloc_zeroed(1, sizeof *r) : NULL;

	if (!r)
		return uuid && out ? -ENOMEM : -EINVAL;
	memcpy(r->uuid, uuid, sizeof r->uuid);
	r->memory = memory;
	r->window = length >= RECEIPT_WINDOW_LEAST && length < RECEIPT_WINDOW ? (uint32_t)length
									      : RECEIPT_WINDOW;
	if (getrandom(&r->salt, sizeof r->salt, 0) != sizeof r->salt) {
		alloc_free(r);
		return -EIO;
	}
	numbers_make(r);
	*out = r;
	return 0;
}

void mneme_receipt_free(struct mneme_receipt *r)
{
	if (r)
		alloc_free(r->marks);
	alloc_free(r);
}

static int is_plain(const uint8_t *bytes, uint32_t length)
{
	uint64_t seen[4] = {0};
	int distinct = 0;

	for (uint32_t i = 0; i < length; i++)
		seen[bytes[i] / 64] |= 1ull << bytes[i] % 64;
	for (int i = 0; i < 4; i++)
		distinct += __builtin_popcountll(seen[i]);
	return distinct < RECEIPT_DISTINCT;
}

static int window_mark(struct mneme_receipt *r, const uint8_t *bytes)
{
	uint64_t hash = 0;

	if (is_plain(bytes, r->window))
		return 0;
	for (uint32_t i = 0; i < r->window; i++)
		hash = rotate(hash, 1) ^ r->numbers[bytes[i]];
	return mark_add(r, hash);
}

int mneme_receipt_add(struct mneme_receipt *r, const void *bytes, size_t length)
{
	size_t windows = r ? length / r->window : 0;
	size_t step = (windows + RECEIPT_MARKS_MAX - 1) / RECEIPT_MARKS_MAX;
	int rc = !r || (length && !bytes) ? -EINVAL : 0;

	for (size_t i = 0; i < windows && rc == 0; i += step)
		rc = window_mark(r, (const uint8_t *)bytes + i * r->window);
	if (rc == 0 && windows && length % r->window)
		rc = window_mark(r, (const uint8_t *)bytes + length - r->window);
	return rc;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void receipt_seal(struct mneme_receipt *r)
{
	size_t kept = 0;

	if (r->count)
		qsort(r->marks, r->count, sizeof r->marks[0], compare);
	for (size_t i = 0; i < r->count; i++)
		if (!i || r->marks[i] != r->marks[i - 1])
			r->marks[kept++] = r->marks[i];
	r->count = kept;
}

/* ---- text ---- */

int mneme_receipt_text(struct mneme_receipt *r, char **text, size_t *length)
{
	if (!r || !text || !length)
		return -EINVAL;
	receipt_seal(r);
	size_t size = 6ul * LINE_MAX_BYTES + r->count * 17, used = 0;
	char *out = alloc_get(size);
	if (!out)
		return -ENOMEM;
	used += (size_t)snprintf(out, size, "mnemefs-receipt 1\nstore ");
	for (int i = 0; i < 16; i++)
		used += (size_t)snprintf(out + used, size - used, "%02x", r->uuid[i]);
	used += (size_t)snprintf(out + used, size - used,
				 "\nmemory %" PRIu64 "\nwindow %u\nsalt %016" PRIx64
				 "\nmarks %zu\n",
				 r->memory, r->window, r->salt, r->count);
	for (size_t i = 0; i < r->count; i++)
		used += (size_t)snprintf(out + used, size - used, "%016" PRIx64 "\n", r->marks[i]);
	used += (size_t)snprintf(out + used, size - used, "end\n");
	*text = out;
	*length = used;
	return 0;
}

struct lines {
	const char *text;
	size_t length, at;
};

/* The next line, without its end; NULL: there is none, or it is too long. */
static const char *line_take(struct lines *l, char line[LINE_MAX_BYTES])
{
	const char *begin = l->text + l->at;
	const char *end = l->at < l->length ? memchr(begin, '\n', l->length - l->at) : NULL;

	if (!end || end - begin >= LINE_MAX_BYTES)
		return NULL;
	memcpy(line, begin, (size_t)(end - begin));
	line[end - begin] = 0;
	l->at += (size_t)(end - begin) + 1;
	return line;
}

static int number_take(struct lines *l, const char *format, uint64_t *out)
{
	char line[LINE_MAX_BYTES];
	int end = 0;

	return line_take(l, line) && sscanf(line, format, out, &end) == 1 && end && !line[end]
		       ? 0
		       : -EINVAL;
}

static int uuid_take(struct lines *l, uint8_t uuid[16])
{
	char line[LINE_MAX_BYTES];

	if (!line_take(l, line) || strncmp(line, "store ", 6) || strlen(line) != 6 + 32)
		return -EINVAL;
	for (int i = 0; i < 16; i++)
		if (sscanf(line + 6 + 2 * i, "%2" SCNx8, &uuid[i]) != 1)
			return -EINVAL;
	return 0;
}

static int parse(struct lines *l, struct mneme_receipt *r)
{
	char line[LINE_MAX_BYTES];
	uint64_t window, count, mark;
	int rc = line_take(l, line) && !strcmp(line, "mnemefs-receipt 1") ? uuid_take(l, r->uuid)
									  : -EINVAL;

	if (rc == 0)
		rc = number_take(l, "memory %" SCNu64 "%n", &r->memory);
	if (rc == 0)
		rc = number_take(l, "window %" SCNu64 "%n", &window);
	if (rc == 0)
		rc = number_take(l, "salt %" SCNx64 "%n", &r->salt);
	if (rc == 0)
		rc = number_take(l, "marks %" SCNu64 "%n", &count);
	if (rc == 0 && (window < RECEIPT_WINDOW_LEAST || window > RECEIPT_WINDOW))
		rc = -EINVAL;
	for (uint64_t i = 0; rc == 0 && i < count; i++) {
		rc = number_take(l, "%" SCNx64 "%n", &mark);
		if (rc == 0)
			rc = mark_add(r, mark);
	}
	if (rc == 0 && (!line_take(l, line) || strcmp(line, "end")))
		rc = -EINVAL;
	if (rc == 0)
		r->window = (uint32_t)window;
	return rc;
}

int mneme_receipt_parse(const char *text, size_t length, size_t *used, struct mneme_receipt **out)
{
	struct lines l = {.text = text, .length = length};
	struct mneme_receipt *r;

	if (!text || !used || !out)
		return -EINVAL;
	r = alloc_zeroed(1, sizeof *r);
	if (!r)
		return -ENOMEM;
	int rc = parse(&l, r);
	if (rc < 0) {
		mneme_receipt_free(r);
		return rc;
	}
	numbers_make(r);
	receipt_seal(r);
	*used = l.at;
	*out = r;
	return 0;
}

uint64_t mneme_receipt_memory(const struct mneme_receipt *r)
{
	return r ? r->memory : 0;
}

/* ---- seeking ---- */

static uint64_t filter_bit(uint64_t hash)
{
	return hash >> (64 - FILTER_BITS);
}

int receipt_seeker_init(struct receipt_seeker *s, const struct mneme_receipt *r)
{
	*s = (struct receipt_seeker){.receipt = r};
	s->filter = alloc_zeroed((1u << FILTER_BITS) / 64, sizeof s->filter[0]);
	if (!s->filter)
		return -ENOMEM;
	for (size_t i = 0; i < r->count; i++)
		s->filter[filter_bit(r->marks[i]) / 64] |= 1ull << filter_bit(r->marks[i]) % 64;
	return 0;
}

void receipt_seeker_fini(struct receipt_seeker *s)
{
	alloc_free(s->filter);
	s->filter = NULL;
}

void receipt_seeker_break(struct receipt_seeker *s)
{
	s->filled = s->at = 0;
	s->hash = 0;
}

void receipt_seek(struct receipt_seeker *s, const void *bytes, size_t length,
		  void (*found)(void *arg, size_t mark), void *arg)
{
	const struct mneme_receipt *r = s->receipt;
	const uint8_t *in = bytes;

	for (size_t i = 0; i < length && r->count; i++) {
		s->hash = rotate(s->hash, 1) ^ r->numbers[in[i]];
		if (s->filled < r->window)
			s->filled++;
		else
			s->hash ^= rotate(r->numbers[s->window[s->at]], r->window);
		s->window[s->at] = in[i];
		s->at = s->at + 1 == r->window ? 0 : s->at + 1;
		uint64_t bit = filter_bit(s->hash);
		if (s->filled < r->window || !(s->filter[bit / 64] >> bit % 64 & 1))
			continue;
		const uint64_t *mark =
			bsearch(&s->hash, r->marks, r->count, sizeof r->marks[0], compare);
		if (mark)
			found(arg, (size_t)(mark - r->marks));
	}
}
