/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see words.h. ASCII goes a fast way; other characters through utf8proc's tables.
 * Invariants: the term buffer never overflows: what does not fit is dropped, the word goes on.
 *            The stem cache is direct-mapped; an entry is right or empty.
 */
#include "core/search/words.h"
#include "pool/alloc.h"

#include <errno.h>
#include <libstemmer.h>
#include <string.h>
#include <utf8proc.h>

enum { STEM_SLOTS = 4096, STEM_WORD_MAX = 23, FOLD_MAX = 8 };

struct stem_slot {
	uint8_t word_length, stem_length;
	char word[STEM_WORD_MAX], stem[STEM_WORD_MAX];
};

struct words {
	struct sb_stemmer *stemmer;
	struct stem_slot cache[STEM_SLOTS];
	/* the word being collected */
	char term[WORDS_TERM_MAX + 32];
	uint32_t term_length;
	uint32_t start; /* offset of the word */
	int open;       /* inside a word */
	int foreign;    /* it has a character that the stemmer does not know */
};

int words_new(struct words **out)
{
	struct words *w = alloc_zeroed(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->stemmer = sb_stemmer_new("english", "UTF_8");
	if (!w->stemmer) {
		alloc_free(w);
		return -ENOMEM;
	}
	*out = w;
	return 0;
}

void words_free(struct words *w)
{
	if (!w)
		return;
	sb_stemmer_delete(w->stemmer);
	alloc_free(w);
}

uint32_t words_hash(const char *term, size_t length)
{
	uint64_t h = 0x9e3779b97f4a7c15ull ^ length;

	while (length >= 8) {
		uint64_t v;
		memcpy(&v, term, 8);
		h = (h ^ v) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
		term += 8;
		length -= 8;
	}
	uint64_t v = 0;
	memcpy(&v, term, length);
	h = (h ^ v) * 0xff51afd7ed558ccdull;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ull;
	return (uint32_t)(h >> 32);
}

/* Replaces the collected word by its stem. */
static void term_stem(struct words *w)
{
	uint32_t length = w->term_length;

	if (length < 3 || w->foreign)
		return;
	struct stem_slot *slot = NULL;
	if (length <= STEM_WORD_MAX) {
		slot = &w->cache[words_hash(w->term, length) % STEM_SLOTS];
		if (slot->word_length == length && !memcmp(slot->word, w->term, length)) {
			memcpy(w->term, slot->stem, slot->stem_length);
			w->term_length = slot->stem_length;
			return;
		}
	}
	const sb_symbol *stem =
		sb_stemmer_stem(w->stemmer, (const sb_symbol *)w->term, (int)length);
	int stem_length = stem ? sb_stemmer_length(w->stemmer) : 0;
	if (stem_length <= 0 || stem_length > WORDS_TERM_MAX)
		return; /* the word stands for itself */
	if (slot && stem_length <= STEM_WORD_MAX) {
		slot->word_length = (uint8_t)length;
		memcpy(slot->word, w->term, length);
		slot->stem_length = (uint8_t)stem_length;
		memcpy(slot->stem, stem, (size_t)stem_length);
	}
	memcpy(w->term, stem, (size_t)stem_length);
	w->term_length = (uint32_t)stem_length;
}

static int word_close(struct words *w, uint32_t end, words_each_token *each, void *arg)
{
	w->open = 0;
	term_stem(w);
	if (!w->term_length)
		return 0;
	struct words_token token = {
		.term = w->term,
		.term_length = w->term_length,
		.offset = w->start,
		.length = end - w->start,
	};
	return each(arg, &token);
}

static void word_append(struct words *w, uint32_t offset, const char *bytes, uint32_t length)
{
	if (!w->open) {
		w->open = 1;
		w->start = offset;
		w->term_length = 0;
		w->foreign = 0;
	}
	if (w->term_length + length > WORDS_TERM_MAX)
		return;
	memcpy(w->term + w->term_length, bytes, length);
	w->term_length += length;
}

static int is_ideograph(int32_t c)
{
	return (c >= 0x3040 && c <= 0x30ff && c != 0x30fb) || (c >= 0x3400 && c <= 0x9fff) ||
	       (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

static int is_word_character(int32_t c)
{
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_NO:
		return 1;
	default:
		return 0;
	}
}

/* Folds one character into the word. */
static void word_append_folded(struct words *w, int32_t c, uint32_t offset)
{
	int simple_script = c < 0x590 || (c >= 0x1e00 && c < 0x2000);
	int options = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE |
		      (simple_script ? UTF8PROC_STRIPMARK : 0);
	utf8proc_int32_t folded[FOLD_MAX * 4];
	int boundary = 0;
	utf8proc_ssize_t n = utf8proc_decompose_char(c, folded, FOLD_MAX * 4,
						     (utf8proc_option_t)options, &boundary);

	if (n < 0 || n > FOLD_MAX * 4) {
		folded[0] = c;
		n = 1;
	}
	if (!n && !w->open)
		return;
	word_append(w, offset, "", 0);
	for (utf8proc_ssize_t i = 0; i < n; i++) {
		utf8proc_uint8_t bytes[4];
		utf8proc_ssize_t length = utf8proc_encode_char(folded[i], bytes);

		if (folded[i] >= 0x80)
			w->foreign = 1;
		word_append(w, offset, (char *)bytes, (uint32_t)length);
	}
}

static int is_ascii_alnum(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* An apostrophe belongs to the word when an ASCII letter follows it. */
static int apostrophe_inside(const struct words *w, const char *text, size_t length, size_t next)
{
	return w->open && next < length && is_ascii_alnum((unsigned char)text[next]);
}

/* One character that is not ASCII; *step receives its bytes. */
static int each_wide(struct words *w, const char *text, size_t length, size_t at, size_t *step,
		     words_each_token *each, void *arg)
{
	utf8proc_int32_t c;
	size_t rest = length - at;
	utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
					      rest > 4 ? 4 : (utf8proc_ssize_t)rest, &c);
	int rc = 0;

	*step = n > 0 ? (size_t)n : 1;
	if (n > 0 && c == 0x2019 && apostrophe_inside(w, text, length, at + 3)) {
		word_append(w, (uint32_t)at, "'", 1);
	} else if (n > 0 && is_ideograph(c)) {
		if (w->open)
			rc = word_close(w, (uint32_t)at, each, arg);
		word_append_folded(w, c, (uint32_t)at);
		if (!rc && w->open)
			rc = word_close(w, (uint32_t)(at + *step), each, arg);
	} else if (n > 0 && is_word_character(c)) {
		word_append_folded(w, c, (uint32_t)at);
	} else if (w->open) {
		rc = word_close(w, (uint32_t)at, each, arg);
	}
	return rc;
}

int words_each(struct words *w, const char *text, size_t length, words_each_token *each, void *arg)
{
	size_t at = 0;
	int rc = 0;

	if (length >= UINT32_MAX)
		return -E2BIG;
	w->open = 0;
	while (!rc && at < length) {
		unsigned char c = (unsigned char)text[at];
		size_t step = 1;

		if (is_ascii_alnum(c)) {
			char low = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
			word_append(w, (uint32_t)at, &low, 1);
		} else if (c >= 0x80) {
			rc = each_wide(w, text, length, at, &step, each, arg);
		} else if (c == '\'' && apostrophe_inside(w, text, length, at + 1)) {
			word_append(w, (uint32_t)at, "'", 1);
		} else if (w->open) {
			rc = word_close(w, (uint32_t)at, each, arg);
		}
		at += step;
	}
	if (!rc && w->open)
		rc = word_close(w, (uint32_t)length, each, arg);
	return rc;
}

static int bag_grow_slots(struct words_bag *bag)
{
	uint32_t size = bag->slots ? (bag->slots_mask + 1) * 2 : 64;
	uint32_t *slots = alloc_zeroed(size, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < bag->count; i++) {
		uint32_t at = bag->terms[i].hash & (size - 1);
		while (slots[at])
			at = (at + 1) & (size - 1);
		slots[at] = i + 1;
	}
	alloc_free(bag->slots);
	bag->slots = slots;
	bag->slots_mask = size - 1;
	return 0;
}

static int bag_reserve(struct words_bag *bag, uint32_t term_length)
{
	if (bag->count == bag->capacity) {
		uint32_t capacity = bag->capacity ? bag->capacity * 2 : 64;
		void *grown = alloc_resize(bag->terms, capacity * sizeof(*bag->terms));
		if (!grown)
			return -ENOMEM;
		bag->terms = grown;
		bag->capacity = capacity;
	}
	if (bag->bytes_used + term_length > bag->bytes_capacity) {
		uint32_t capacity = bag->bytes_capacity ? bag->bytes_capacity * 2 : 1024;
		void *grown = alloc_resize(bag->bytes, capacity);
		if (!grown)
			return -ENOMEM;
		bag->bytes = grown;
		bag->bytes_capacity = capacity;
	}
	if (!bag->slots || bag->count * 2 > bag->slots_mask)
		return bag_grow_slots(bag);
	return 0;
}

/* The slot of a term, or the free one where it belongs. There are slots. */
static uint32_t *bag_slot(const struct words_bag *bag, const char *term, uint32_t length,
			  uint32_t hash)
{
	uint32_t at = hash & bag->slots_mask;

	for (; bag->slots[at]; at = (at + 1) & bag->slots_mask) {
		const struct words_term *t = &bag->terms[bag->slots[at] - 1];
		if (t->hash == hash && t->length == length &&
		    !memcmp(bag->bytes + t->offset, term, length))
			break;
	}
	return &bag->slots[at];
}

uint32_t words_bag_find(const struct words_bag *bag, const char *term, uint32_t length)
{
	return bag->slots ? *bag_slot(bag, term, length, words_hash(term, length)) : 0;
}

int words_bag_add(void *arg, const struct words_token *token)
{
	struct words_bag *bag = arg;
	uint32_t hash = words_hash(token->term, token->term_length);
	int rc = bag_reserve(bag, token->term_length);

	if (rc)
		return rc;
	bag->tokens++;
	uint32_t *slot = bag_slot(bag, token->term, token->term_length, hash);
	if (*slot) {
		bag->terms[*slot - 1].count++;
		return 0;
	}
	bag->terms[bag->count] = (struct words_term){
		.hash = hash, .offset = bag->bytes_used, .length = token->term_length, .count = 1};
	memcpy(bag->bytes + bag->bytes_used, token->term, token->term_length);
	bag->bytes_used += token->term_length;
	*slot = ++bag->count;
	return 0;
}

int words_count(struct words *w, const char *text, size_t length, struct words_bag *bag)
{
	return words_each(w, text, length, words_bag_add, bag);
}

void words_bag_reset(struct words_bag *bag)
{
	if (bag->slots)
		memset(bag->slots, 0, (bag->slots_mask + 1) * sizeof(*bag->slots));
	bag->count = bag->bytes_used = bag->tokens = 0;
}

void words_bag_free(struct words_bag *bag)
{
	alloc_free(bag->terms);
	alloc_free(bag->bytes);
	alloc_free(bag->slots);
	*bag = (struct words_bag){0};
}
