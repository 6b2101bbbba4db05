/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: tests of core/memory/passages.c, lines.c and text.c. */
#include "core/memory/lines.h"
#include "core/memory/passages.h"
#include "core/memory/text.h"
#include "pool/alloc.h"
#include "tests/unit/unit.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEN_MAX = 4096 };

struct seen {
	const char *source;
	uint32_t count;
	struct passage passage[SEEN_MAX];
	uint32_t most;
	uint64_t covered; /* all that is not white space below this lies in a passage */
	int stop_after;
};

static int see(void *context, const struct passage *p)
{
	struct seen *seen = context;

	ck_assert_uint_lt(p->begin, p->end);
	ck_assert_uint_eq(p->len, p->end - p->begin);
	ck_assert_uint_le(p->len, PASSAGE_BYTES_MAX);
	ck_assert_uint_le(p->tokens, seen->most);
	ck_assert_uint_eq(p->number, seen->count);
	if (seen->source) {
		ck_assert_mem_eq(p->text, seen->source + p->begin, p->len);
		for (; seen->covered < p->begin; seen->covered++)
			ck_assert_msg((uint8_t)seen->source[seen->covered] <= ' ',
				      "byte %llu lies in no passage",
				      (unsigned long long)seen->covered);
		seen->covered = p->end;
	}
	if (seen->count) {
		const struct passage *last = &seen->passage[(seen->count - 1) % SEEN_MAX];

		ck_assert_uint_gt(p->begin, last->begin);
		ck_assert_uint_gt(p->end, last->end);
	}
	seen->passage[seen->count++ % SEEN_MAX] = *p;
	return seen->stop_after && (int)seen->count == seen->stop_after ? -ECANCELED : 0;
}

static struct seen seen;

static int cut_blocks(const char *text, size_t len, size_t block)
{
	const struct passage_settings settings = {0};
	struct passage_splitter *s = passages_new(&settings, see, &seen);
	int rc = 0;

	seen = (struct seen){.source = text, .most = 128, .stop_after = seen.stop_after};
	for (size_t at = 0; at < len && !rc; at += block)
		rc = passages_feed(s, text + at, len - at < block ? len - at : block);
	rc = passages_finish(s);
	for (; !rc && seen.covered < len; seen.covered++)
		ck_assert_uint_le((uint8_t)text[seen.covered], ' ');
	passages_free(s);
	return rc;
}

static int cut(const char *text)
{
	return cut_blocks(text, strlen(text), 1 << 20);
}

static int holds(const struct passage *p, const char *what)
{
	return memmem(seen.source + p->begin, p->end - p->begin, what, strlen(what)) != NULL;
}

static const char *prose(char *out, size_t sentences)
{
	static const char *const words[] = {"storage", "river",    "quietly", "remembers",
					    "the",     "letters",  "of",      "an",
					    "old",     "engineer", "in",      "spring"};
	size_t at = 0;
	uint32_t seed = 7;

	for (size_t i = 0; i < sentences; i++) {
		for (int w = 0; w < 12; w++) {
			seed = seed * 1664525 + 1013904223;
			at += sprintf(out + at, "%s%s", w ? " " : "", words[(seed >> 16) % 12]);
		}
		at += sprintf(out + at, ". ");
	}
	return out;
}

START_TEST(test_passages_short_text_is_one_passage)
{
	ck_assert_int_eq(cut("  A cat sat on the mat.\nIt slept.\n\n"), 0);
	ck_assert_uint_eq(seen.count, 1);
	ck_assert_uint_eq(seen.passage[0].begin, 2);
	ck_assert_uint_eq(seen.passage[0].end, strlen("  A cat sat on the mat.\nIt slept."));
}
END_TEST

START_TEST(test_passages_empty_or_blank_text_has_none)
{
	ck_assert_int_eq(cut(""), 0);
	ck_assert_uint_eq(seen.count, 0);
	ck_assert_int_eq(cut(" \n\n\t \r\n"), 0);
	ck_assert_uint_eq(seen.count, 0);
}
END_TEST

START_TEST(test_passages_long_prose_overlaps_and_ends_at_sentences)
{
	char *text = calloc(1, 1 << 20);

	for (char *p = (char *)prose(text, 400); *p; p++) /* sentences begin with a capital */
		if (p == text || (p[-1] == ' ' && p[-2] == '.'))
			*p -= 32;
	ck_assert_int_eq(cut(text), 0);
	ck_assert_uint_gt(seen.count, 30);
	for (uint32_t i = 0; i + 1 < seen.count; i++) {
		const struct passage *p = &seen.passage[i];

		ck_assert_int_eq(text[p->end - 1], '.');
		ck_assert_uint_ge(p->tokens, 80);
		ck_assert_uint_lt(seen.passage[i + 1].begin, p->end);
	}
	free(text);
}
END_TEST

START_TEST(test_passages_result_does_not_depend_on_blocks)
{
	char *text = calloc(1, 1 << 20);
	struct passage *whole = malloc(sizeof(seen.passage));
	static const size_t blocks[] = {1, 7, 4095, 70000};

	sprintf(text + strlen(prose(text, 900)),
		"\n\n# Heading\n\n- item one\n- item two\n\n```\n"
		"code here\n```\n\n\xe4\xb8\xad\xe6\x96\x87\xe3\x80\x82 end");
	ck_assert_int_eq(cut(text), 0);
	const uint32_t count = seen.count;
	memcpy(whole, seen.passage, sizeof(seen.passage));
	for (size_t b = 0; b < sizeof(blocks) / sizeof(blocks[0]); b++) {
		ck_assert_int_eq(cut_blocks(text, strlen(text), blocks[b]), 0);
		ck_assert_uint_eq(seen.count, count);
		for (uint32_t i = 0; i < count; i++) {
			ck_assert_uint_eq(seen.passage[i].begin, whole[i].begin);
			ck_assert_uint_eq(seen.passage[i].end, whole[i].end);
			ck_assert_mem_eq(seen.passage[i].hash, whole[i].hash, PASSAGE_HASH);
		}
	}
	free(whole);
	free(text);
}
END_TEST

static char *sections(const char *inserted)
{
	char *text = calloc(1, 1 << 18);
	size_t at = 0;

	for (int i = 0; i < 12; i++) {
		char body[8192];

		at += sprintf(text + at, "## Section %d\n\n%s\n\n", i, prose(body, 3 + i % 4));
		if (i == 5)
			at += sprintf(text + at, "%s", inserted);
	}
	return text;
}

START_TEST(test_passages_headings_begin_passages_and_give_context)
{
	char *text = sections("");
	uint32_t at_heading = 0, with_context = 0;

	ck_assert_int_eq(cut(text), 0);
	for (uint32_t i = 0; i < seen.count; i++) {
		const struct passage *p = &seen.passage[i];

		at_heading += !memcmp(text + p->begin, "## Section", 10);
		with_context += p->context_len > 0;
		ck_assert(p->context_len == 0 || memcmp(text + p->begin, "##", 2));
	}
	ck_assert_uint_eq(at_heading, 12);
	ck_assert_uint_eq(at_heading + with_context, seen.count);
	free(text);
}
END_TEST

START_TEST(test_passages_unchanged_ones_keep_their_hash_after_an_edit)
{
	char *before = sections(""), *after = sections("A sentence that was put in later.\n\n");
	uint8_t(*hash)[PASSAGE_HASH] = calloc(SEEN_MAX, PASSAGE_HASH);
	uint32_t kept = 0;

	ck_assert_int_eq(cut(before), 0);
	const uint32_t count = seen.count;
	for (uint32_t i = 0; i < count; i++)
		memcpy(hash[i], seen.passage[i].hash, PASSAGE_HASH);
	ck_assert_int_eq(cut(after), 0);
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t j = 0; j < seen.count; j++)
			if (!memcmp(hash[i], seen.passage[j].hash, PASSAGE_HASH)) {
				kept++;
				break;
			}
	ck_assert_uint_ge(kept + 2, count);
	ck_assert_uint_ge(seen.count, count);
	free(hash);
	free(before);
	free(after);
}
END_TEST

START_TEST(test_passages_code_block_stays_together_and_hides_headings)
{
	char text[16384], body[8192];

	sprintf(text, "Intro. %s\n\n```sh\n# not a heading\nmake install\n```\n\nAfter it.",
		prose(body, 8));
	ck_assert_int_eq(cut(text), 0);
	uint32_t found = 0;
	for (uint32_t i = 0; i < seen.count; i++)
		found += holds(&seen.passage[i], "# not a heading") &&
			 holds(&seen.passage[i], "make install");
	ck_assert_uint_eq(found, 1);
	ck_assert_uint_eq(seen.passage[seen.count - 1].context_len, 0);
}
END_TEST

START_TEST(test_passages_one_line_of_megabytes_is_cut_in_bounded_memory)
{
	const size_t len = 1 << 20;
	char *text = malloc(len);
	const int64_t live = alloc_count_live();

	memset(text, 'x', len); /* not even a space */
	ck_assert_int_eq(cut_blocks(text, len, 65536), 0);
	ck_assert_uint_gt(seen.count, 500);
	memset(text + 1, ' ', len - 2); /* a gap of megabytes */
	ck_assert_int_eq(cut_blocks(text, len, 65536), 0);
	ck_assert_uint_eq(seen.count, 2);
	memset(text + 1, '\n', len - 2);
	ck_assert_int_eq(cut_blocks(text, len, 65536), 0);
	ck_assert_uint_eq(seen.count, 2);
	ck_assert_int_eq(alloc_count_live(), live);
	free(text);
}
END_TEST

START_TEST(test_passages_feeding_allocates_nothing)
{
	const struct passage_settings settings = {0};
	struct passage_splitter *s = passages_new(&settings, see, &seen);
	char *text = calloc(1, 1 << 20);

	seen = (struct seen){.most = 128};
	prose(text, 1000);
	const uint64_t before = alloc_count_total();
	ck_assert_int_eq(passages_feed(s, text, strlen(text)), 0);
	ck_assert_int_eq(passages_finish(s), 0);
	ck_assert_uint_eq(alloc_count_total(), before);
	ck_assert_uint_gt(seen.count, 50);
	passages_free(s);
	free(text);
}
END_TEST

START_TEST(test_passages_binary_is_refused_with_a_reason)
{
	const struct passage_settings settings = {0};
	struct passage_splitter *s = passages_new(&settings, see, &seen);
	static const char elf[] = "\x7f"
				  "ELF\2\1\1\0\0\0\0\0\0\0\0\0";

	seen = (struct seen){.most = 128};
	ck_assert_int_eq(passages_feed(s, elf, sizeof(elf)), -EILSEQ);
	ck_assert_str_eq(passages_reason(s), "binary: it holds zero bytes");
	ck_assert_int_eq(passages_finish(s), -EILSEQ);
	passages_reset(s, see, &seen);
	ck_assert_int_eq(passages_feed(s,
				       "\xff\xfe"
				       "h",
				       3),
			 0);
	ck_assert_int_eq(passages_finish(s), -EILSEQ);
	ck_assert_str_eq(passages_reason(s), "UTF-16 text, not UTF-8");
	passages_reset(s, see, &seen);
	char noise[512];
	for (int i = 0; i < 512; i++)
		noise[i] = (char)(0x80 + i * 37 % 128);
	passages_feed(s, noise, sizeof(noise));
	ck_assert_int_eq(passages_finish(s), -EILSEQ);
	ck_assert_uint_eq(seen.count, 0);
	passages_reset(s, see, &seen);
	ck_assert_int_eq(passages_feed(s, "text again", 10), 0);
	ck_assert_int_eq(passages_finish(s), 0);
	ck_assert_uint_eq(seen.count, 1);
	passages_free(s);
}
END_TEST

START_TEST(test_passages_broken_utf8_does_no_harm)
{
	ck_assert_int_eq(cut("caf\xe9 latin, a cut char \xe4\xb8 and \xc0\xaf overlong, the end."),
			 0);
	ck_assert_uint_eq(seen.count, 1);
}
END_TEST

START_TEST(test_passages_sink_can_stop)
{
	char *text = sections("");

	seen.stop_after = 3;
	ck_assert_int_eq(cut(text), -ECANCELED);
	ck_assert_uint_eq(seen.count, 3);
	seen.stop_after = 0;
	free(text);
}
END_TEST

START_TEST(test_lines_classify_markdown)
{
	static const struct {
		const char *text;
		enum line_kind kind;
		uint32_t level;
	} cases[] = {
		{"", LINE_BLANK, 0},          {"  \t", LINE_BLANK, 0},
		{"# A", LINE_HEADING, 1},     {"###### A", LINE_HEADING, 6},
		{"####### A", LINE_PROSE, 0}, {"#tag", LINE_PROSE, 0},
		{"- a", LINE_ITEM, 0},        {"12. a", LINE_ITEM, 0},
		{"12.5 a", LINE_PROSE, 0},    {"-a", LINE_PROSE, 0},
		{"```c", LINE_FENCE, 3},      {"~~~~", LINE_FENCE, 4},
		{"``a``", LINE_PROSE, 0},     {"``` a ```", LINE_PROSE, 0},
		{"    x", LINE_INDENTED, 0},  {"    # x", LINE_INDENTED, 0},
		{"#", LINE_HEADING, 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct line line = line_classify(cases[i].text, strlen(cases[i].text));

		ck_assert_msg(line.kind == cases[i].kind && line.level == cases[i].level,
			      "'%s': kind %d level %u", cases[i].text, line.kind, line.level);
	}
}
END_TEST

static size_t sentence(const char *text)
{
	return line_sentence_end(text, strlen(text), 0, SIZE_MAX);
}

START_TEST(test_lines_sentences_end_where_people_end_them)
{
	ck_assert_uint_eq(sentence("One. Two."), 4);
	ck_assert_uint_eq(sentence("See Dr. Smith. Then"), 14);
	ck_assert_uint_eq(sentence("Costs 3.14 now. Next"), 15);
	ck_assert_uint_eq(sentence("He said \"no.\" Then"), 13);
	ck_assert_uint_eq(sentence("e.g. this one"), 0);
	ck_assert_uint_eq(sentence("1. First thing"), 0);
	ck_assert_uint_eq(sentence("What?! Yes"), 6);
	ck_assert_uint_eq(sentence("file.txt is here"), 0);
	ck_assert_uint_eq(sentence("\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82\xe5\x86\x8d"), 9);
}
END_TEST

static void reads_as(const char *text, const char *want)
{
	struct text_reader r;
	struct text_char c;
	char out[256];
	size_t at = 0;

	text_reader_init(&r, text, strlen(text));
	while (text_next(&r, &c))
		at += text_encode(c.code, out + at);
	out[at] = 0;
	ck_assert_str_eq(out, want);
}

START_TEST(test_text_is_normalised)
{
	reads_as("plain\ttext\n", "plain text ");
	reads_as("\xef\xac\x81ne", "fine");                    /* the ligature fi */
	reads_as("e\xcc\x81t\xc3\xa9", "\xc3\xa9t\xc3\xa9");   /* e + acute composes */
	reads_as("a\xcc\xa7\xcc\x81 b", "\xc3\xa1\xcc\xa7 b"); /* marks in canonical order */
	reads_as("\xe3\x8e\x92", "MHz");
	reads_as("x\xc2\xa0y\xe2\x80\x83z", "x y z"); /* kinds of space */
	reads_as("\xff"
		 "a\xe2\x82",
		 "\xef\xbf\xbd"
		 "a\xef\xbf\xbd\xef\xbf\xbd");
	reads_as("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* a surrogate */
	reads_as("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"); /* Hangul */
}
END_TEST

START_TEST(test_text_marks_without_end_are_bounded)
{
	char text[40000];
	struct text_reader r;
	struct text_char c;
	size_t chars = 0;

	for (size_t i = 0; i < sizeof(text); i += 2)
		memcpy(text + i, i % 4 ? "\xcc\x81" : "\xcc\xa7", 2);
	text_reader_init(&r, text, sizeof(text));
	while (text_next(&r, &c))
		chars++;
	ck_assert_uint_eq(chars, sizeof(text) / 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("passages");
	TCase *tc = tcase_create("passages");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_passages_short_text_is_one_passage);
	tcase_add_test(tc, test_passages_empty_or_blank_text_has_none);
	tcase_add_test(tc, test_passages_long_prose_overlaps_and_ends_at_sentences);
	tcase_add_test(tc, test_passages_result_does_not_depend_on_blocks);
	tcase_add_test(tc, test_passages_headings_begin_passages_and_give_context);
	tcase_add_test(tc, test_passages_unchanged_ones_keep_their_hash_after_an_edit);
	tcase_add_test(tc, test_passages_code_block_stays_together_and_hides_headings);
	tcase_add_test(tc, test_passages_one_line_of_megabytes_is_cut_in_bounded_memory);
	tcase_add_test(tc, test_passages_feeding_allocates_nothing);
	tcase_add_test(tc, test_passages_binary_is_refused_with_a_reason);
	tcase_add_test(tc, test_passages_broken_utf8_does_no_harm);
	tcase_add_test(tc, test_passages_sink_can_stop);
	tcase_add_test(tc, test_lines_classify_markdown);
	tcase_add_test(tc, test_lines_sentences_end_where_people_end_them);
	tcase_add_test(tc, test_text_is_normalised);
	tcase_add_test(tc, test_text_marks_without_end_are_bounded);
	suite_add_tcase(s, tc);
	return unit_end(s);
}
