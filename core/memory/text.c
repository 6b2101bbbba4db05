/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   normalised characters of a text, by utf8proc where they are not plain ASCII.
 * Invariants: an ASCII character that an ASCII character follows is normal already and composes
 *            with nothing, so runs begin at an ASCII character before a non-ASCII one at the
 *            earliest and end before the next ASCII character.
 */
#include "core/memory/text.h"

#include <string.h>
#include <utf8proc.h>

void text_reader_init(struct text_reader *r, const char *text, size_t len)
{
	r->bytes = (const uint8_t *)text;
	r->len = len;
	r->at = 0;
	r->queued = r->next = 0;
	r->run_begin = 0;
}

uint32_t text_decode(const uint8_t *at, const uint8_t *end, uint32_t *code)
{
	const uint8_t lead = at[0];
	uint32_t need, value, least;

	*code = lead;
	if (lead < 0x80)
		return 1;
	*code = TEXT_REPLACEMENT;
	if (lead >= 0xc2 && lead < 0xe0)
		need = 1, value = lead & 0x1f, least = 0x80;
	else if (lead >= 0xe0 && lead < 0xf0)
		need = 2, value = lead & 0x0f, least = 0x800;
	else if (lead >= 0xf0 && lead < 0xf5)
		need = 3, value = lead & 0x07, least = 0x10000;
	else
		return 1;
	if ((size_t)(end - at) <= need)
		return 1;
	for (uint32_t i = 1; i <= need; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 1;
		value = value << 6 | (at[i] & 0x3f);
	}
	if (value < least || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
		return 1;
	*code = value;
	return need + 1;
}

uint32_t text_encode(uint32_t code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

int text_is_word(uint32_t code)
{
	if (code < 0x80)
		return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') ||
		       (code >= '0' && code <= '9') || code == '_';
	switch (utf8proc_category((utf8proc_int32_t)code)) {
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

uint32_t text_lower(uint32_t code)
{
	if (code < 0x80)
		return code >= 'A' && code <= 'Z' ? code + 32 : code;
	return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

static int is_space(uint32_t code)
{
	return code <= ' ' || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
	       code == 0x200b || code == 0xfeff;
}

static int plain(const struct text_reader *r, size_t at)
{
	return r->bytes[at] < 0x80 && (at + 1 == r->len || r->bytes[at + 1] < 0x80);
}

/* Canonical order of marks: stable insertion sort by combining class between starters. */
static void order_marks(int32_t *run, uint32_t len)
{
	for (uint32_t i = 1; i < len; i++) {
		const int32_t code = run[i];
		const int class = utf8proc_get_property(code)->combining_class;
		uint32_t j = i;

		while (class && j && utf8proc_get_property(run[j - 1])->combining_class > class) {
			run[j] = run[j - 1];
			j--;
		}
		run[j] = code;
	}
}

/* Normalises the run at r->at into the queue. */
static void fill_run(struct text_reader *r)
{
	const uint8_t *const end = r->bytes + r->len;
	const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
	uint32_t used = 0;
	int last_class = 0;

	r->run_begin = r->at;
	for (uint32_t i = 0; i < TEXT_RUN && r->at < r->len; i++) {
		uint32_t code;

		if (i && r->bytes[r->at] < 0x80)
			break;
		r->at += text_decode(r->bytes + r->at, end, &code);
		const utf8proc_ssize_t n = utf8proc_decompose_char(
			(int32_t)code, r->run + used, TEXT_DECOMPOSED, options, &last_class);
		if (n > 0 && n <= TEXT_DECOMPOSED)
			used += (uint32_t)n;
		else
			r->run[used++] = TEXT_REPLACEMENT;
	}
	order_marks(r->run, used);
	const utf8proc_ssize_t left = utf8proc_normalize_utf32(r->run, used, options);
	r->queued = left > 0 ? (uint32_t)left : 0;
	r->next = 0;
}

int text_next(struct text_reader *r, struct text_char *out)
{
	while (r->next == r->queued) {
		if (r->at == r->len)
			return 0;
		if (plain(r, r->at)) {
			const uint8_t c = r->bytes[r->at];

			out->code = is_space(c) ? TEXT_SPACE : c;
			out->begin = r->at++;
			out->end = r->at;
			return 1;
		}
		fill_run(r);
	}
	const uint32_t code = (uint32_t)r->run[r->next++];
	out->code = is_space(code) ? TEXT_SPACE : code;
	out->begin = r->run_begin;
	out->end = r->at;
	return 1;
}
